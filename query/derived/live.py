"""The runs and snapshots that exist, read from what they say of themselves.

Invariants: what has no description, or one that cannot be read, is not there; a description is looked at only after
its name; nothing is taken for derived from a log that it was not made of: its last seal must be the one that the log
has there.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from archiver.format.layout import Trail
from query.derived.description import RunDescription, SnapshotDescription
from query.derived.levels import cover
from query.derived.names import RUNS, SNAPSHOTS, RunName, SnapshotName
from query.source import Source, StoredObject


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that can be read: its folder (full, with its slash) and what it says of itself."""

    folder: str
    description: RunDescription

    @property
    def name(self) -> RunName:
        return self.description.name

    @property
    def parts(self) -> tuple[StoredObject, ...]:
        """Its parts as objects."""
        return tuple(StoredObject(self.folder + part.file.name, part.file.bytes) for part in self.description.parts)

    @property
    def items(self) -> tuple[StoredObject, ...]:
        """The items files of its parts as objects."""
        return tuple(StoredObject(self.folder + part.items.name, part.items.bytes) for part in self.description.parts)

    @property
    def last_ms(self) -> int:
        """The latest `changed_at` in it (epoch ms)."""
        return max((span.last_ms for span in self.description.spans), default=0)

    @property
    def first_ms(self) -> int:
        """The earliest `changed_at` in it (epoch ms)."""
        return min((span.first_ms for span in self.description.spans), default=1 << 62)


@dataclass(frozen=True, slots=True)
class LiveSnapshot:
    """A snapshot that can be read: its folder (full, with its slash) and what it says of itself."""

    folder: str
    description: SnapshotDescription

    @property
    def name(self) -> SnapshotName:
        return self.description.name

    @property
    def parts(self) -> tuple[StoredObject, ...]:
        """Its parts as objects."""
        return tuple(StoredObject(self.folder + part.file.name, part.file.bytes) for part in self.description.parts)

    @property
    def items(self) -> tuple[StoredObject, ...]:
        """The items files of its parts as objects."""
        return tuple(StoredObject(self.folder + part.items.name, part.items.bytes) for part in self.description.parts)


def is_whole(live: LiveRun | LiveSnapshot, held: Mapping[str, int]) -> bool:
    """Whether all files that a run or a snapshot lists are there, by full names and sizes (bytes) of what is."""
    return all(held.get(live.folder + file.name) == file.bytes for file in live.description.files)


def live_runs(source: Source, trail: Trail, *, anew: bool = False) -> tuple[LiveRun, ...]:
    """The fewest runs that cover the log of a trail from its first entry, as far as there are any. `anew`: whatever a
    cache says.
    """
    names = set(run_names(source, trail))
    read: dict[RunName, LiveRun] = {}
    while True:
        chosen = cover(sorted(names))
        unread = [name for name in chosen if name not in read]
        if not unread:
            stray = _stray([read[name] for name in chosen])
            if stray is None:
                return tuple(read[name] for name in chosen)
            names.discard(stray)
            continue
        contents = source.read([trail.prefix + name.description for name in unread], anew=anew)
        for name, content in zip(unread, contents, strict=True):
            run = None if content is None else _run(trail, name, content)
            if run is None:
                names.discard(name)
            else:
                read[name] = run


def _stray(runs: Sequence[LiveRun]) -> RunName | None:
    """The last run after which one follows that was made of another log; that the last of all is of this one, is for
    whoever reads the log.
    """
    for run, following in reversed(list(pairwise(runs))):
        if following.description.previous_sha256 != run.description.seal.sha256:
            return run.name
    return None


def run_names(source: Source, trail: Trail) -> list[RunName]:
    """The folders of runs, live or not."""
    found = []
    for folder in source.folders(trail.prefix + RUNS):
        with suppress(ValueError):
            found.append(RunName.parse(folder))
    return found


def snapshot_names(source: Source, trail: Trail) -> list[SnapshotName]:
    """The folders of snapshots, live or not."""
    found = []
    for folder in source.folders(trail.prefix + SNAPSHOTS):
        with suppress(ValueError):
            found.append(SnapshotName.parse(folder))
    return found


def read_run(source: Source, trail: Trail, name: RunName, *, anew: bool = False) -> LiveRun | None:
    """A run, if it is live."""
    (content,) = source.read([trail.prefix + name.description], anew=anew)
    return None if content is None else _run(trail, name, content)


def read_snapshot(source: Source, trail: Trail, name: SnapshotName, *, anew: bool = False) -> LiveSnapshot | None:
    """A snapshot, if it is live."""
    (content,) = source.read([trail.prefix + name.description], anew=anew)
    if content is None:
        return None
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        description = SnapshotDescription.parse(content)
        if description.name == name:
            return LiveSnapshot(trail.prefix + name.folder, description)
    return None


def _run(trail: Trail, name: RunName, content: bytes) -> LiveRun | None:
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        description = RunDescription.parse(content)
        if description.name == name:
            return LiveRun(trail.prefix + name.folder, description)
    return None
