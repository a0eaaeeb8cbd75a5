"""What is derived, as it lies there: listed, its files read and digested, beside what the log says at each size.

Invariant: bytes are digested, or compared with what the log makes, before anything believes them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from hashlib import sha256
from itertools import accumulate
from typing import Any, Final, TypeVar

from archiver.format.layout import Trail
from query.derived.levels import until_ms
from query.derived.members import File
from query.derived.names import RUNS, SNAPSHOTS, RunName, SnapshotName
from query.derived.segment_table import SealedSegment
from query.engine import Engine
from query.gate import EvidenceFile
from query.runs import sealed_segments
from query.seal_log import ReadSeal, SealLog
from query.source import Source, StoredObject
from query.verify.derived_part import Differs

Parsed = TypeVar("Parsed")

_FOLDERS: Final = ("runs/", "snapshots/")


@dataclass(frozen=True, slots=True)
class DerivedPlace:
    """Where derived data lies, and what makes an engine to sort rows with."""

    source: Source
    new_engine: Callable[[], Engine]


@dataclass(frozen=True, slots=True)
class Derived:
    """The derived data of a trail as it was listed before its log was read: a run that is made meanwhile, of a log that
    has grown, is none of it. `sizes` are bytes by full name.
    """

    place: DerivedPlace
    trail: Trail
    sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def listed(cls, place: DerivedPlace, trail: Trail) -> "Derived":
        """Raises UnreadableArchive."""
        listed = [stored for folder in _FOLDERS for stored in place.source.objects(trail.prefix + folder)]
        return cls(place, trail, {stored.name: stored.size_bytes for stored in listed})

    def runs(self) -> list[RunName]:
        """The runs that have a description, in order."""
        return sorted(self._described(RUNS, "run.json", RunName.parse))

    def snapshots(self) -> list[SnapshotName]:
        """The snapshots that have a description, in order."""
        return sorted(self._described(SNAPSHOTS, "snapshot.json", SnapshotName.parse))

    def _described(self, below: str, description: str, parse: Callable[[str], Parsed]) -> Iterator[Parsed]:
        for name in self.sizes:
            folder, _, file = name.removeprefix(self.trail.prefix + below).partition("/")
            if file == description and name.startswith(self.trail.prefix + below):
                with suppress(ValueError):  # no reader looks there
                    yield parse(folder)


class History:
    """What the log says at each size at which a seal ends."""

    def __init__(self, log: SealLog) -> None:
        self.seals = log.read
        self.size = log.size
        self.segments = [segment for seal in log.read for segment in sealed_segments(seal)]
        self._ends = {one.seal.after.size: number for number, one in enumerate(log.read, 1)}
        self._until_ms = [0, *accumulate(log.read, lambda before, one: until_ms(one.seal, before), initial=0)][1:]

    def is_end(self, size: int) -> bool:
        """Whether a seal begins or ends there."""
        return size == 0 or size in self._ends

    def seals_to(self, size: int) -> Sequence[ReadSeal]:
        """The seals before a size at which one ends."""
        return self.seals[: self._ends[size]]

    def until_ms(self, size: int) -> int:
        """The time that the seal that ends there belongs to."""
        return self._until_ms[self._ends[size]]


class DerivedCheck:
    """Something derived that has a description, and files that it lists. Whatever differs is raised as Differs."""

    def __init__(self, source: Source, derived: Derived, history: History, folder: str, description: str) -> None:
        self.folder = derived.trail.prefix + folder
        self.json = derived.trail.prefix + description
        self.trail = derived.trail
        self.evidence = source
        self.place = derived.place.source
        self.history = history
        self._sizes = derived.sizes

    def is_live(self) -> bool:
        """Whether its description is still there."""
        return self.place.read([self.json], anew=True)[0] is not None

    def description(self, parse: Callable[[bytes], Parsed]) -> Parsed:
        """What it says of itself."""
        content = self._content(self.json)
        try:
            return parse(content)
        except Exception as error:
            raise Differs(self.json, f"it describes nothing that is derived: {error}") from error

    def compare_sizes(self, files: Iterable[File]) -> None:
        """The sizes of files as they were listed, and that they were. Raises FileNotFoundError."""
        for file in files:
            size = self._sizes.get(self.folder + file.name)
            if size is None:
                raise FileNotFoundError(self.folder + file.name)
            if size != file.bytes:
                raise Differs(self.folder + file.name, f"it has {size} bytes, {file.bytes} are described")

    def checked(self, file: File) -> bytes:
        """The content of a small file, with the digest that the description says."""
        content = self._content(self.folder + file.name)
        digest = sha256(content).hexdigest()
        if (len(content), digest) != (file.bytes, file.sha256):
            told = f"its digest is {digest[:16]}…, {file.sha256[:16]}… is described"
            raise Differs(self.folder + file.name, told)
        return content

    def parsed(self, file: File, parse: Callable[[bytes], Parsed], content: bytes) -> Parsed:
        """The content of a file, parsed."""
        try:
            return parse(content)
        except MemoryError:
            raise
        except Exception as error:
            raise Differs(self.folder + file.name, f"it cannot be read: {error}") from error

    def _content(self, name: str) -> bytes:
        (content,) = self.place.read([name], anew=True)
        if content is None:
            raise FileNotFoundError(name)
        return content

    def files(self, described: Sequence[File]) -> list[EvidenceFile]:
        """Files on this machine, with the digests that are described."""
        stored = [StoredObject(self.folder + file.name, file.bytes) for file in described]
        paths = self.place.fetch(stored)
        return [
            EvidenceFile(path, one.name, sha256=file.sha256)
            for path, one, file in zip(paths, stored, described, strict=True)
        ]

    def segment_files(self, segments: Sequence[SealedSegment]) -> list[EvidenceFile]:
        """Segments on this machine."""
        sealed = [StoredObject(self.trail.prefix + segment.path, segment.bytes) for segment in segments]
        return [
            EvidenceFile(path, one.name, sha256=segment.file_sha256, is_sealed=True)
            for path, one, segment in zip(self.evidence.fetch(sealed), sealed, segments, strict=True)
        ]

    def demand_alike(self, told: Any, said: Any, by: str) -> None:
        """That two descriptions are one. Raises Differs with the members that differ."""
        differ = [one.name for one in fields(told) if getattr(told, one.name) != getattr(said, one.name)]
        if differ:
            raise Differs(self.json, f"{by} says otherwise of {', '.join(differ)}")
