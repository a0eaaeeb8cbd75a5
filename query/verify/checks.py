"""Which objects are read, and what each has to be: what the log says of it, or, where it says nothing, in every detail.

Invariant: every object that the log names is either read or, where that was not asked for, compared in size; one that
it does not name is always read whole.
"""

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Final

from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import HOUR_MS, BaselineName, SegmentName, parse_stream_name
from archiver.format.log_entry import SegmentEntry
from query.errors import UnreadableArchive
from query.source import Source, StoredObject
from query.verify.contents import Check
from query.verify.inventory import Inventory
from query.verify.problem import Problem
from query.verify.verification import Demand, Level, Verification

# A description that cannot be read, or is none: its own check says why.
_NO_DESCRIPTION: Final = (ValueError, OSError, UnreadableArchive)


def checks(found: Verification, source: Source, held: Inventory) -> Iterator[Check]:
    """Every object that is to be read. What a listing tells already becomes a finding of `found`.

    Parts belong to what covers their baseline: where that is not read again, they are only there, and of their size.
    """
    demand, trail, said = found.demand, held.trail, held.said
    is_full = demand.level is Level.FULL
    names = _key_names(source, held)
    for inside, stored in held.sealed.items():
        if said.places[inside] < demand.checks_from or not is_in_range(inside, demand):
            _compare_size(found, stored, said.segments.get(inside))
            continue
        if inside in said.segments:
            entry = said.segments[inside]
            yield Check(stored, trail, entry.file_sha256, entry, is_full, key_names=names)
        else:
            digest = said.baselines[inside].file_sha256 if inside in said.baselines else said.descriptions[inside]
            yield Check(stored, trail, digest)
    for inside, stored in held.unsealed.items():
        if is_in_range(inside, demand):
            # Nobody has vouched for it: its own name has to.
            yield Check(stored, trail, reads_rows=True, key_names=names)
    yield from (Check(stored, trail) for stored in held.quarantined.values())
    for inside in (*said.baselines, *(name for name in held.unsealed if name.startswith("baselines/"))):
        is_covered = inside in said.baselines and said.places[inside] < demand.checks_from
        for check in _parts(found, source, held, inside, reads_rows=is_full or inside in held.unsealed):
            if not is_covered:
                yield check


def _key_names(source: Source, held: Inventory) -> dict[str, tuple[str, ...]]:
    """The key attributes of each stream, as its description says. One that is not as it should be is told elsewhere."""
    names = {}
    for inside, stored in (*held.sealed.items(), *held.unsealed.items()):
        if inside.startswith("streams/"):
            with suppress(*_NO_DESCRIPTION):
                content = _content(source, stored, held.said.descriptions.get(inside))
                names[parse_stream_name(inside)] = StreamDescription.parse(content).key_names
    return names


def _content(source: Source, stored: StoredObject, digest: str | None) -> bytes:
    """The bytes of an object, if they are those that the log says. Raises ValueError if they are not."""
    content = source.fetch([stored])[0].read_bytes()
    if digest not in {None, sha256(content).hexdigest()}:
        raise ValueError("it has another digest")
    return content


def _compare_size(found: Verification, stored: StoredObject, entry: SegmentEntry | None) -> None:
    """All that a listing tells of the content of an object that is not read."""
    if entry is not None and stored.size_bytes != entry.bytes:
        told = f"it has {stored.size_bytes} bytes, the log says {entry.bytes}"
        found.add(Problem("digest-mismatch", stored.name, told))


def is_in_range(inside: str, demand: Demand) -> bool:
    """Whether an object, by its name inside the trail, may hold changes of the range that was asked for."""
    if not inside.startswith("segments/") or not demand.has_range:
        return True
    hour_ms = SegmentName.parse(inside).hour_ms
    return (demand.since_ms is None or hour_ms + HOUR_MS > demand.since_ms) and (
        demand.until_ms is None or hour_ms < demand.until_ms
    )


def _parts(found: Verification, source: Source, held: Inventory, inside: str, *, reads_rows: bool) -> Iterator[Check]:
    """The parts that a baseline states. A description that cannot be read is a finding of its own."""
    stored = held.sealed.get(inside) or held.unsealed.get(inside)
    if stored is None:
        return  # missing, and told
    try:
        entry = held.said.baselines.get(inside)
        description = BaselineDescription.parse(_content(source, stored, None if entry is None else entry.file_sha256))
        folder = BaselineName.parse(inside).folder
    except _NO_DESCRIPTION:
        return
    for part in description.parts:
        there: StoredObject | None = held.parts.get(folder + part.name)
        if there is None:
            found.add(Problem("object-missing", held.trail.prefix + folder + part.name, "its baseline states it"))
        elif there.size_bytes != part.bytes or not part.name.endswith(f"-{part.sha256[:16]}.parquet"):
            told = f"its baseline says {part.bytes} bytes, digest {part.sha256[:16]}…, it has {there.size_bytes} bytes"
            found.add(Problem("digest-mismatch", there.name, told))
        else:
            schema, items = description.key_schema, part.items
            yield Check(there, held.trail, part.sha256, reads_rows=reads_rows, key_schema=schema, items=items)
