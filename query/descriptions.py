"""What the streams and baselines of a trail say of themselves.

Invariants: a sealed description is parsed only after its digest matched; one that is sealed and not there is an error,
since every answer rests on them.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import BaselineName, StreamSource, Trail, parse_stream_name
from query.errors import UnreadableArchive
from query.sealed import Sealed, check_sealed, missing
from query.source import Source, StoredObject

_FOLDERS: Final = ("streams/", "baselines/")


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline's description and its parts as objects. `is_sealed` is as of segments."""

    name: BaselineName
    description: BaselineDescription
    parts: tuple[StoredObject, ...]
    is_sealed: bool | None = None


@dataclass(frozen=True, slots=True)
class Descriptions:
    """What was found below the folders of streams and baselines of a trail: the objects by full name, and the contents
    of those that are descriptions. Nothing is checked yet.
    """

    trail: Trail
    stored: Mapping[str, StoredObject]
    contents: Mapping[str, bytes]

    @classmethod
    def read(cls, source: Source, trail: Trail, known: Self | None = None) -> Self:
        """Lists and fetches them, but for the contents of those that are `known`. Raises UnreadableArchive."""
        with ThreadPoolExecutor(len(_FOLDERS)) as together:  # each waits for an answer of its own
            listed = list(together.map(lambda folder: source.objects(trail.prefix + folder), _FOLDERS))
        stored = {one.name: one for objects in listed for one in objects}
        described = [name for name in stored if _is_description(name.removeprefix(trail.prefix))]
        contents = {} if known is None else {name: known.contents[name] for name in described if name in known.contents}
        unread = [name for name in described if name not in contents]
        contents |= _read(source, [stored[name] for name in unread])
        return cls(trail, stored, {name: contents[name] for name in described})

    def has_all(self, sealed: Sealed) -> bool:
        """Whether everything that the log names was there."""
        return all(self.trail.prefix + path in self.stored for path in sealed.descriptions)

    def streams(self, sealed: Sealed | None) -> dict[str, StreamDescription]:
        """By stream label. Raises SealedObjectMissing, SealMismatch or UnreadableArchive."""
        described = {}
        for name, content in self._checked("streams/", sealed).items():
            try:
                label = parse_stream_name(name.removeprefix(self.trail.prefix))
                description = StreamDescription.parse(content)
                if StreamSource.parse(description.stream_arn) != StreamSource(self.trail, label):
                    raise ValueError(f"it describes {description.stream_arn}")  # noqa: TRY301  told like what the parser refuses
                described[label] = description
            except (ValueError, KeyError, TypeError) as error:
                raise _not_a_description(name, error) from error
        return described

    def baselines(self, sealed: Sealed | None) -> tuple[Baseline, ...]:
        """Raises SealedObjectMissing, SealMismatch or UnreadableArchive."""
        return tuple(
            self._baseline(name, content, sealed) for name, content in self._checked("baselines/", sealed).items()
        )

    def _checked(self, folder: str, sealed: Sealed | None) -> dict[str, bytes]:
        """The descriptions of a folder, each with its sealed digest, if it is sealed."""
        named = () if sealed is None else (self.trail.prefix + path for path in sealed.descriptions)
        gone = sorted(name for name in named if name.startswith(self.trail.prefix + folder) and name not in self.stored)
        if gone:
            raise missing(gone)
        found = {name: self.contents[name] for name in self.contents if name.startswith(self.trail.prefix + folder)}
        for name, content in found.items():
            said = None if sealed is None else sealed.descriptions.get(name.removeprefix(self.trail.prefix))
            if said is not None:
                check_sealed(name, sha256(content).hexdigest(), said.sha256)
        return found

    def _baseline(self, full_name: str, content: bytes, sealed: Sealed | None) -> Baseline:
        inside = full_name.removeprefix(self.trail.prefix)
        try:
            name = BaselineName.parse(inside)
            description = BaselineDescription.parse(content)
        except (ValueError, KeyError, TypeError) as error:
            raise _not_a_description(full_name, error) from error
        parts = []
        for part in description.parts:
            part_name = f"{self.trail.prefix}{name.folder}{part.name}"
            if part_name not in self.stored or self.stored[part_name].size_bytes != part.bytes:
                raise UnreadableArchive(
                    f"{part_name} is missing or has another size than its baseline says",
                    why="the baseline cannot be used in part",
                    hint="restore the object from the bucket's versions",
                )
            parts.append(self.stored[part_name])
        return Baseline(
            name, description, tuple(parts), is_sealed=None if sealed is None else inside in sealed.descriptions
        )


def _read(source: Source, wanted: Sequence[StoredObject]) -> dict[str, bytes]:
    found = {}
    for one, content in zip(wanted, source.read([one.name for one in wanted]), strict=True):
        if content is None or len(content) != one.size_bytes:  # a copy in a cache may have been cut
            (content,) = source.read([one.name], anew=True)  # noqa: PLW2901
        if content is None:
            raise UnreadableArchive(
                f"{one.name} is gone", why="it was listed a moment ago", hint="find out who deleted it: ddbtrail verify"
            )
        found[one.name] = content
    return found


def _is_description(path: str) -> bool:
    """Whether a name inside a trail is that of a description: beside those of baselines lie their parts."""
    return path.startswith("streams/") or path.endswith("/baseline.json")


def _not_a_description(name: str, error: Exception) -> UnreadableArchive:
    return UnreadableArchive(
        f"{name} is not what its name says", why=str(error), hint="restore the object from the bucket's versions"
    )
