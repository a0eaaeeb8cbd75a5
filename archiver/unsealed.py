"""Evidence that the log does not name yet, checked and as entries; what fails its check is told instead.

Invariant: an entry is made only of bytes that were read here and agree with everything they say of themselves
(`docs/format.md` §12). Time is an argument.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from archiver.errors import NotEvidence
from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import (
    HOUR_MS,
    ROOT,
    BaselineName,
    SegmentName,
    StreamSource,
    Trail,
    hour_folder,
    parse_late_name,
    parse_quarantine_name,
    parse_stream_name,
)
from archiver.format.log_entry import BaselineEntry, OpenEntry, QuarantineEntry, SegmentEntry
from archiver.segment import SegmentFile
from archiver.store import ObjectStore

# A stream keeps a record for 24 hours and a segment holds one hour of changes; one hour more for whoever is slow.
TAIL_MS: Final = 26 * HOUR_MS
DAY_MS: Final = 24 * HOUR_MS
# Creation times are DynamoDB's, the hour of the tail is this machine's.
AHEAD_MS: Final = HOUR_MS


@dataclass(frozen=True, slots=True)
class Refused:
    """An object that failed its check, by its full name, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class _Described:
    """A description of a stream: the digest of its bytes (hex), and the key attributes in schema order."""

    sha256: str
    key_names: tuple[str, ...]


@dataclass
class Unsealed:
    """Looks once for evidence of one trail, and collects what fails its check; `sealed`: paths as entries have them."""

    store: ObjectStore
    trail: Trail
    refused: list[Refused] = field(default_factory=list)
    announced: set[SegmentName] = field(default_factory=set)
    _listed: set[SegmentName] = field(default_factory=set)
    _described: dict[str, _Described] | None = None

    def segments(self, since_ms: int | None, now_ms: int) -> set[SegmentName]:
        """The segments of the tail (epoch ms; None: of every hour), and those announced as late.

        The markers are listed first: a segment is put after its own.
        """
        folder = f"{self.trail.prefix}segments/"
        first = self.trail.prefix + hour_folder(since_ms) if since_ms is not None else ""
        end = self.trail.prefix + hour_folder(now_ms + AHEAD_MS + HOUR_MS)
        self.announced.update(self._late(since_ms))
        for name, _ in self.store.list(folder, start_after=first):
            if name >= end:
                break
            try:
                place = SegmentName.parse(name.removeprefix(self.trail.prefix))
            except ValueError as error:
                self.refused.append(Refused(name, str(error)))
                continue
            self._listed.add(place)
        return self.announced | self._listed

    def _late(self, since_ms: int | None) -> Iterator[SegmentName]:
        """Segments that `late/` announces from the day before the end of the last interval on; None: on any day."""
        folder, first = f"{self.trail.prefix}late/", ""
        if since_ms is not None:
            day = datetime.fromtimestamp((since_ms + TAIL_MS - DAY_MS) / 1000, UTC)
            first = f"{folder}{day:%Y-%m-%d}"
        for name, size_bytes in self.store.list(folder, start_after=first):
            try:
                _, place = parse_late_name(name.removeprefix(self.trail.prefix))
                if size_bytes:
                    raise ValueError("a late marker has content")  # noqa: TRY301
            except ValueError as error:
                self.refused.append(Refused(name, str(error)))
                continue
            yield place

    def segment(self, place: SegmentName) -> SegmentEntry | None:
        """The entry of a segment; None if it failed its check or is not there."""
        name = self.trail.prefix + place.compose()
        try:
            content = self.store.get(name)
        except FileNotFoundError:
            if place in self._listed:
                self.refused.append(Refused(name, "it was listed, and is gone"))
            return None  # else announced, and its writer was stopped before it was written
        try:
            file = SegmentFile.open(content)
            label = file.stream_label
            described = self._streams().get(label)
            leaves = file.check(StreamSource(self.trail, label), place, described.key_names if described else None)
            first_ms, last_ms = file.span_ms
            return SegmentEntry(
                path=place.compose(),
                stream_label=label,
                file_sha256=sha256(content).hexdigest(),
                bytes=len(content),
                records=len(leaves),
                root=place.root,
                first_sequence=place.first_sequence,
                last_sequence=file.last_sequence,
                first_changed_at_ms=first_ms,
                last_changed_at_ms=last_ms,
                writer=file.writer,
            )
        except (NotEvidence, ValueError) as error:
            self.refused.append(Refused(name, str(error)))
            return None

    def _streams(self) -> dict[str, _Described]:
        """Every stream description, by label; looked for once."""
        if self._described is None:
            self._described = self._read_streams()
        return self._described

    def _read_streams(self) -> dict[str, _Described]:
        found = {}
        for name, _ in self.store.list(f"{self.trail.prefix}streams/"):
            try:
                label = parse_stream_name(name.removeprefix(self.trail.prefix))
                content = self.store.get(name)
                described = StreamDescription.parse(content)
                if StreamSource.parse(described.stream_arn) != StreamSource(self.trail, label):
                    raise ValueError(f"it describes {described.stream_arn}")  # noqa: TRY301  as the parser refuses
            except (ValueError, FileNotFoundError) as error:
                self.refused.append(Refused(name, str(error)))
                continue
            found[label] = _Described(sha256(content).hexdigest(), described.key_names)
        return found

    def opened(self, labels: Collection[str], known: Collection[OpenEntry]) -> Iterator[OpenEntry]:
        """An entry for each label, or description of one, that no earlier entry opens."""
        streams = self._streams()
        for label in sorted({*labels, *streams}):
            told = [entry.description_sha256 for entry in known if entry.stream_label == label]
            described = streams.get(label)
            digest = described.sha256 if described else None
            digests = {one for one in told if one is not None}
            if digests - {digest} and digest is not None:
                name = f"{self.trail.prefix}streams/{label}.json"
                self.refused.append(Refused(name, "it is not the description that was sealed"))
            elif not told or (digest is not None and not digests):
                yield OpenEntry(label, digest)

    def quarantined(self, sealed: Collection[str]) -> Iterator[QuarantineEntry]:
        """An entry for each record that was set aside, also those whose trail nobody could tell."""
        for folder, inside in ((f"{self.trail.prefix}quarantine/", self.trail.prefix), (f"{ROOT}/quarantine/", "")):
            for name, _ in self.store.list(folder):
                path = name.removeprefix(inside)
                if path in sealed:
                    continue
                try:
                    digest = parse_quarantine_name(path.removeprefix(f"{ROOT}/"))
                    content = self.store.get(name)
                    if sha256(content).hexdigest() != digest:
                        raise ValueError("its digest is not its name")  # noqa: TRY301
                except (ValueError, FileNotFoundError) as error:
                    self.refused.append(Refused(name, str(error)))
                    continue
                yield QuarantineEntry(path, len(content))

    def baselines(self, sealed: Collection[str]) -> Iterator[BaselineEntry]:
        """An entry for each baseline whose description and parts agree."""
        listed = dict(self.store.list(f"{self.trail.prefix}baselines/"))
        for name in listed:
            path = name.removeprefix(self.trail.prefix)
            try:
                place = BaselineName.parse(path)
                if path != place.description or path in sealed:
                    continue
                content = self.store.get(name)
                self._check_parts(place, BaselineDescription.parse(content), listed)
            except (ValueError, FileNotFoundError) as error:
                self.refused.append(Refused(name, str(error)))
                continue
            yield BaselineEntry(path, sha256(content).hexdigest())

    def _check_parts(self, place: BaselineName, description: BaselineDescription, listed: Mapping[str, int]) -> None:
        """Raises ValueError unless every part is there with the bytes that the description states.

        Names and sizes first: parts may be many gigabytes, and are looked at again in every pass until all is right.
        """
        if place.instant_ms != description.from_ms - description.from_ms % 1000:
            raise ValueError("the baseline begins at another instant than its name says")
        for part in description.parts:
            number = part.name.split("-")[1] if part.name.count("-") == 2 else ""  # noqa: PLR2004  part-NUMBER-DIGEST
            if not number.isdecimal() or f"{place.folder}{part.name}" != place.part(int(number), part.sha256):
                raise ValueError(f"{part.name} is not named after its number and its digest")
            size_bytes = listed.get(f"{self.trail.prefix}{place.folder}{part.name}")
            if size_bytes != part.bytes:
                found = "is missing" if size_bytes is None else f"has {size_bytes} bytes"
                raise ValueError(f"{part.name} {found}; {part.bytes} bytes were described")
        for part in description.parts:
            content = self.store.get(f"{self.trail.prefix}{place.folder}{part.name}")
            if len(content) != part.bytes or sha256(content).hexdigest() != part.sha256:
                raise ValueError(f"{part.name} is not the part that was described")
