"""Rows of runs by key: only the row groups that can hold an item are read, and of them only what was checked.

Invariant: a row group is left out only where its keys say that nothing asked for stands in it; the index of a part is
parsed only after its digest matched, and is remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from query.derived.columns import RUN_SCHEMA
from query.derived.index import PartIndex
from query.derived.key_range import RowKey
from query.derived.live import LiveRun
from query.derived.members import Part
from query.derived.ranges import Where, chunk_ranges, read_groups
from query.errors import DerivedGone
from query.seal_log import SealMismatch
from query.sealed import check_sealed
from query.source import Source, StoredObject

_REMEMBERED_BYTES: Final = 64_000_000
# What the relation `changes` is made of.
_COLUMNS: Final = tuple(name for name in RUN_SCHEMA.names if name not in ("changed_attributes", "position", "repeats"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows asked for: of one item by its key text and key, or of all items that share a partition key's text.

    Without either, of everything: where the order of the key's attributes is not known.
    """

    item: RowKey | None = None
    pk: str | None = None

    @property
    def is_everything(self) -> bool:
        return self.item is None and self.pk is None

    def groups(self, index: PartIndex) -> tuple[int, ...]:
        """The row groups of a part that may hold such rows."""
        if self.item is not None:
            return index.groups_for(self._places())
        return index.all_groups() if self.pk is None else index.groups_for_partition(self.pk)

    def may_be_in(self, part: Part) -> bool:
        """Whether a part may hold such rows."""
        if self.item is not None:
            return any(part.keys.may_hold(key) for key in self._places())
        return self.pk is None or part.keys.may_hold_partition(self.pk)

    @property
    def where(self) -> Where | None:
        """Which rows of row groups these are; None: all of them."""
        if self.item is not None:
            return Where("item_key", partial(pc.equal, self.item.item_key))
        if self.pk is not None:
            # A row of which the partition key is not known may be one.
            return Where("pk", lambda pk: pc.fill_null(pc.equal(pk, self.pk), fill_value=True))
        return None

    def _places(self) -> tuple[RowKey, RowKey]:
        """Where an item may stand: under its key text, or among those whose key text was not known."""
        assert self.item is not None
        return self.item, RowKey(None, None, self.item.item_key)


class RunsByKey:
    """Reads rows of runs by key, and remembers the indexes that it has read; and the rows that were asked for last, as
    the state of an item and its history are asked for one after the other.
    """

    def __init__(self, derived: Source) -> None:
        self._derived = derived
        self._indexes: dict[str, PartIndex] = {}
        self._last: tuple[Wanted, tuple[str, ...], pa.Table] | None = None

    def groups(self, runs: Sequence[LiveRun], wanted: Wanted) -> list[tuple[StoredObject, PartIndex, tuple[int, ...]]]:
        """The row groups that may hold what is wanted: part, its index, and the numbers of the groups."""
        parts = [
            (StoredObject(run.folder + part.file.name, part.file.bytes), part, run.folder)
            for run in runs
            for part in run.description.parts
            if wanted.may_be_in(part)
        ]
        self._learn([(folder, part) for _, part, folder in parts])
        found = []
        for stored, _, _ in parts:
            index = self._indexes[stored.name]
            numbers = wanted.groups(index)
            if numbers:
                found.append((stored, index, numbers))
        return found

    def extents(self, runs: Sequence[LiveRun], wanted: Wanted) -> list[tuple[StoredObject, int, int]]:
        """What is read of each part that may hold what is wanted: the part, how many bytes, and in how many ranges.

        Raises as `rows`.
        """
        found = []
        for stored, index, numbers in self.groups(runs, wanted):
            ranges = chunk_ranges(index, numbers)
            ends = [(index.chunk_range(one[0])[0], index.chunk_range(one[-1])[1]) for one in ranges]
            found.append((stored, sum(end - start for start, end in ends), len(ranges)))
        return found

    def rows(self, runs: Sequence[LiveRun], wanted: Wanted) -> pa.Table:
        """The rows wanted, in order of runs and keys, each with its `row_number`.

        Raises SealMismatch for what is not the file that its run describes, DerivedGone for one that has gone.
        """
        names = tuple(part.name for run in runs for part in run.parts)
        if self._last is not None and self._last[:2] == (wanted, names):
            return self._last[2]
        try:
            found = read_groups(self._derived, self.groups(runs, wanted), _COLUMNS, wanted.where)
        except FileNotFoundError as error:
            raise DerivedGone(str(error)) from error
        found = found.append_column("row_number", pa.array(range(found.num_rows), pa.int64()))
        self._last = (wanted, names, found) if found.nbytes <= _REMEMBERED_BYTES else None
        return found

    def _learn(self, parts: Sequence[tuple[str, Part]]) -> None:
        fresh = [(folder, part) for folder, part in parts if folder + part.file.name not in self._indexes]
        files = [(folder + part.index.name, part.index) for folder, part in fresh if part.index is not None]
        contents = self._derived.read([name for name, _ in files])
        for (folder, part), (name, file), content in zip(fresh, files, contents, strict=True):
            if content is None:
                raise DerivedGone(name)
            check_sealed(name, sha256(content).hexdigest(), file.sha256)
            try:
                self._indexes[folder + part.file.name] = PartIndex.parse(content)
            except ValueError as error:
                raise SealMismatch(
                    f"{name} cannot be read", why=str(error), hint="delete the run; ddbtrail compact makes it anew"
                ) from error
