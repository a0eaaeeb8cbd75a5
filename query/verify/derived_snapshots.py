"""A snapshot beside the changes and the baseline that it claims to be made of.

Invariant: no run is asked. Of every item the last change at the instant is looked for among the rows of all segments
that the log names before the snapshot's end; what that left, or the baseline shows, must be what the snapshot says.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

import pyarrow as pa

from archiver.format.description import BaselineDescription
from archiver.format.layout import BaselineName
from query.answer import plain_text
from query.derived.description import SnapshotDescription
from query.derived.key_range import RowKey
from query.derived.members import Span
from query.derived.names import SnapshotName
from query.derived.segment_table import SealedSegment
from query.engine import Engine, Question
from query.gate import EvidenceFile
from query.run_rows import read_sources
from query.runs import digested
from query.source import Source, StoredObject
from query.verify.derived_files import Derived, DerivedCheck, History
from query.verify.derived_part import SNAPSHOT, Differs, check_digest, rows_of_part
from query.verify.inventory import Inventory


class SnapshotCheck(DerivedCheck):
    """One snapshot, step by step; each rests on those before it."""

    snapshot: SnapshotDescription

    def __init__(self, source: Source, derived: Derived, history: History, name: SnapshotName) -> None:
        super().__init__(source, derived, history, name.folder, name.description)
        self.name = name
        self._segments: list[SealedSegment] = []
        self._floor: BaselineDescription | None = None

    def consists_of(self) -> set[str]:
        """The full names of its files, as its description lists them."""
        self.snapshot = self.description(SnapshotDescription.parse)
        if self.snapshot.name != self.name:
            raise Differs(self.json, "it describes another snapshot")
        return {self.json, *(self.folder + file.name for file in self.snapshot.files)}

    def compare_with_log(self, held: Inventory) -> None:
        """What the description says of the log, the baseline that it names, and the sizes of its files."""
        history, said = self.history, self.snapshot
        if self.name.end > history.size or not history.is_end(self.name.end):
            raise Differs(self.json, "it does not end where a seal does")
        last = history.seals_to(self.name.end)[-1]
        if (said.root, said.seal) != (last.seal.after.root.hex(), digested(last)):
            raise Differs(self.json, "the log says otherwise of root or seal")
        self._segments = [one for one in history.segments if one.entry < self.name.end]
        self._floor = self._baseline(held)
        self.compare_sizes(said.files)

    def _baseline(self, held: Inventory) -> BaselineDescription:
        """The baseline that it rests on. Raises Differs."""
        made_of = self.snapshot.baseline
        stored = None if made_of is None else held.sealed.get(made_of.name) or held.unsealed.get(made_of.name)
        if made_of is None or stored is None:
            raise Differs(self.json, "it names no baseline that is there")
        content = self.evidence.fetch([stored])[0].read_bytes()
        if sha256(content).hexdigest() != made_of.sha256:
            raise Differs(self.json, "it was made of another baseline of that name")
        described = BaselineDescription.parse(content)
        if not described.complete or described.to_ms > self.name.at_ms:
            raise Differs(self.json, "its baseline is not complete, or taken later")
        return described

    def compare_rows(self, new_engine: Callable[[], Engine]) -> None:
        """Every item, its order, and its plain twin."""
        files = self.files([part.file for part in self.snapshot.parts])
        for part, file in zip(self.snapshot.parts, files, strict=True):
            check_digest(part, file)
        self._check_order(files, self.files([part.items for part in self.snapshot.parts]))
        with new_engine().ask() as question:
            read_sources(question, [], self.segment_files(self._segments), self._segments)
            self._check_spans([Span(*row) for row in question.rows("run_spans")])
            self._check_items(question, files)

    def _check_order(self, files: Sequence[EvidenceFile], items: Sequence[EvidenceFile]) -> None:
        before: RowKey | None = None
        for number, part in enumerate(self.snapshot.parts):
            for table in rows_of_part(SNAPSHOT, part, files[number], None, items[number], self.snapshot.writer):
                for key in _keys(table):
                    if before is not None and key <= before:
                        raise Differs(files[number].name, "its items are not in order, or there twice")
                    before = key
                twins = pa.array([plain_text(image) for image in table.column("image").to_pylist()], pa.binary())
                if not table.column("item").cast(pa.binary()).equals(pa.chunked_array([twins])):
                    raise Differs(files[number].name, "the plain twin of an image is another one")

    def _check_spans(self, told: Sequence[Span]) -> None:
        """That the spans of the runs that it was made of are together those of its segments."""
        if _together(self.snapshot.spans) != _together(told):
            raise Differs(self.json, "what its segments say is otherwise of spans")

    def _check_items(self, question: Question, files: Sequence[EvidenceFile]) -> None:
        floor = self._floor
        assert floor is not None
        assert self.snapshot.baseline is not None
        folder = self.trail.prefix + BaselineName.parse(self.snapshot.baseline.name).folder
        stored = [StoredObject(folder + part.name, part.bytes) for part in floor.parts]
        parts = [
            EvidenceFile(path, one.name, sha256=part.sha256)
            for path, one, part in zip(self.evidence.fetch(stored), stored, floor.parts, strict=True)
        ]
        question.read_baseline("floor", parts)
        at = {"at_ms": self.name.at_ms, "floor_ms": floor.from_ms, "label": floor.stream_label}
        question.set("snapshot", at)
        question.run("snapshot_winners")
        if not files:
            if question.rows("snapshot_has_items")[0][0]:
                raise Differs(self.json, "it has no items, and evidence tells of some")
            return
        question.check(files, "snapshot")
        question.set("snapshot_files", [str(file.path) for file in files])
        for item_key, differ in question.rows("snapshot_differs"):
            raise Differs(self.json, f"evidence says otherwise of {item_key}: {differ}")


def _keys(table: pa.Table) -> Iterator[RowKey]:
    columns = (table.column(name).to_pylist() for name in ("pk", "sk", "item_key"))
    return (RowKey(*row) for row in zip(*columns, strict=True))


def _together(spans: Sequence[Span]) -> dict[str, tuple[int, int, int, str, str]]:
    """Of each stream label: earliest and latest time, rows, least and greatest sequence number."""
    found: dict[str, tuple[int, int, int, str, str]] = {}
    for one in spans:
        here = (one.first_ms, one.last_ms, one.rows, one.first_sequence, one.last_sequence)
        known = found.get(one.stream_label)
        found[one.stream_label] = (
            here
            if known is None
            else (
                min(known[0], here[0]),
                max(known[1], here[1]),
                known[2] + here[2],
                min(known[3], here[3]),
                max(known[4], here[4]),
            )
        )
    return found
