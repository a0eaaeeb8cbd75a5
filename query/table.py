"""A table: state at an instant, changes in a range, and the way to its items."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from archiver.format.layout import ROOT, Trail
from query.actor import NOBODY_NAMED, Attribution
from query.catalog import Evidence
from query.changes import Changes, changes_of
from query.conflicts import EVER, Conflict, find_conflicts
from query.coverage import Coverage, TableEnd, coverage_of
from query.cut import change_named, cut_at
from query.derived.by_key import Wanted
from query.engine import Engine, Question
from query.errors import DerivedGone
from query.held_back import HeldBack, read_held_back
from query.image_chain import MOST_BREAKS, ImageChain, image_chain
from query.instant import Instant
from query.key import parse_key, parse_partition
from query.key_schema import KeySchema
from query.known_keys import key_schema_of, typed_schema
from query.plan import ReadPlan, StatePlan, plan_changes
from query.redaction import NOTHING_REDACTED, Redaction
from query.rev import Rev
from query.reviewed import Reviewed
from query.rows import Reader
from query.selection import Selection
from query.source import Source
from query.state import Moment
from query.table_at import layers_of_table, plan_of_table, state_of_table
from query.table_state import TableState
from query.when import parse_when_or_rev

if TYPE_CHECKING:
    from query.collection import Collection
    from query.item import Item

Answer = TypeVar("Answer")

When = Any  # str of the time grammar, aware datetime, whenever.Instant, Instant or Rev


class Table(Reviewed):
    """The trail of one table, as its evidence stands now."""

    def __init__(
        self,
        evidence: Evidence,
        reader: Reader,
        engine: Engine,
        *,
        key_names: tuple[str, ...] | None,
        now_ms: Callable[[], int],
        zone: str | None,
        choose_anew: "Callable[[bool], tuple[Evidence, Reader]] | None" = None,
        attribution: Attribution = NOBODY_NAMED,
        redaction: Redaction = NOTHING_REDACTED,
    ) -> None:
        self.evidence = evidence
        self.engine = engine
        self.reader = reader
        self.attribution = attribution
        self.redaction = redaction
        self._choose_anew = choose_anew
        self._key_names = key_names
        self._now_ms = now_ms
        self._zone = zone

    @property
    def trail(self) -> Trail:
        """Its account, region and table name, and where in the archive it lies."""
        return self.evidence.trail

    @property
    def name(self) -> str:
        """Its name in DynamoDB, without account and region."""
        return self.trail.table_name

    @property
    def sealed_to_ms(self) -> int | None:
        """The end of what the newest seal looked at (epoch ms); None without seals, or if they were not checked."""
        return self.evidence.sealed_to_ms

    def asked(self, work: "Callable[[Table], Answer]") -> "Answer":
        """What `work` finds out of this table. Where derived data went meanwhile, it is asked once more with what there
        is then, and at last without any.
        """
        for with_runs in (True, False):
            try:
                return work(self)
            except DerivedGone:
                if self._choose_anew is None:
                    raise
                self.evidence, self.reader = self._choose_anew(with_runs)
        return work(self)

    @cached_property
    def key_schema(self) -> KeySchema | None:
        """The key schema: from the newest stream description, else from the configured names and a record's types."""
        known = key_schema_of(self.evidence, self._key_names)
        if known is not None or self._key_names is None:
            return known
        keys = [part.keys.first.item_key for run in self.evidence.runs[-1:] for part in run.description.parts[:1]]
        if not keys:
            with self.engine.ask() as question:
                self.reader.read_segments(question, self.evidence.segments[-1:])
                keys = [row[0] for row in question.rows("one_key")]
        return typed_schema(self._key_names, keys[0], self.name) if keys else None

    def coverage(self) -> Coverage:
        """The stretches that the trail can answer for, and the gaps between them.

        Reads the labels and times of every segment. Raises UnreadableArchive, SealMismatch or CorruptSegment.
        """

        def read(table: "Table") -> Coverage:
            selection = Selection(table.evidence.segments)
            with table.engine.ask() as question:
                table.reader.read(question, selection)
                return _coverage(table, question, selection)

        return self.asked(read)

    @property
    def ends(self) -> tuple[TableEnd, ...]:
        """Where the table was deleted and made again; coverage is only read where that may be."""
        tables = {stream.table_id for stream in self.evidence.streams.values()} - {None}
        return self.coverage().ends if len(tables) > 1 else ()

    def image_chain(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        most: int = MOST_BREAKS,
        coverage: Coverage | None = None,
    ) -> ImageChain:
        """Where changes are missing, as the images of neighbouring changes tell: at most `most` breaks that overlap a
        half-open range (epoch ms), and how many there are in all. Reads every segment and every complete baseline;
        `coverage` is that of the table, where it was read already.
        """

        def read(table: "Table") -> ImageChain:
            evidence = table.evidence
            with table.engine.ask() as question:
                table.reader.read(question)
                covered = _coverage(table, question) if coverage is None else coverage
                return image_chain(
                    question, table.reader, evidence, covered, since_ms=since_ms, until_ms=until_ms, most=most
                )

        return self.asked(read)

    def held_back(self, source: Source) -> HeldBack:
        """What an S3 on-failure destination, or a copy of it, holds of this table, and how much is not archived."""

        def read(table: "Table") -> HeldBack:
            with table.engine.ask() as question:
                table.reader.read(question)
                return read_held_back(source, table.trail, question)

        return self.asked(read)

    def quarantined(self) -> int:
        """How many records were set aside because they were not understood, also those that do not say their table."""
        listed = (self.reader.source.objects(f"{folder}quarantine/") for folder in (self.trail.prefix, f"{ROOT}/"))
        return sum(len(objects) for objects in listed)

    def item(self, *key: object, named: Sequence[str] = (), json_text: str | None = None) -> "Item":
        """One item, by key values in schema order (types from the schema), `name=value` texts or JSON.

        Raises KeyMismatch with the schema for a key that does not fit it, UsageError for a mask in place of a value.
        """
        from query.item import Item  # noqa: PLC0415  item and table name each other

        typed = parse_key(self.key_schema, key, named=named, json_text=json_text, table=self.name)
        self.redaction.refuse_masks(typed)
        return Item(self, typed)

    def collection(self, *key: object, named: Sequence[str] = (), json_text: str | None = None) -> "Collection":
        """The items that share a partition key. Raises KeyMismatch; UsageError for a mask in place of the value."""
        from query.collection import Collection  # noqa: PLC0415

        typed = parse_partition(self.key_schema, key, named=named, json_text=json_text, table=self.name)
        self.redaction.refuse_masks(typed)
        return Collection(self, typed)

    def as_of(self, when: When, *, where: str | None = None, best_effort: bool = False) -> TableState:
        """The table as of an instant (inclusive), or cut at a change (`@ID`).

        `where` is a SQL condition on item_key, item, image, changed_at, change_id and valid_from. Raises UsageError for
        a `when` that is none, UnreadableArchive for evidence that cannot be read.
        """
        return state_of_table(self, self.resolve(when), where=where, best_effort=best_effort)

    def plan_as_of(self, at: Instant | Rev, moment: Moment) -> ReadPlan:
        """What `as_of` reads, without reading it."""
        layers = layers_of_table(self, at, moment)
        return plan_of_table(self, at, moment).read if layers is None else layers.read

    def plan_item_state(self, at: Instant | Rev, moment: Moment, wanted: Wanted) -> StatePlan:
        """What the state of an item reads, which has to tell an item that was deleted from one that never was."""
        plan = plan_of_table(self, at, moment, tells_absences_apart=True)
        parts = self.reader.parts_of_items(wanted)
        if parts is None:
            return plan
        runs = {part.name for run in plan.runs for part in run.parts}
        files = (*parts, *(file for file in plan.read.files if file.name not in runs))
        return replace(plan, read=replace(plan.read, files=files))

    def changes(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        ops: Sequence[str] | None = None,
        where: str | None = None,
        actor: str | None = None,
        attributes: Sequence[str] = (),
        limit: int | None = None,
        reverse: bool = False,
    ) -> Changes:
        """The changes of a half-open range of `changed_at` (epoch ms), each once.

        `attributes` are names or paths (`lines[2].qty`): a change is about one of them unless its images show that it
        is not. Raises UsageError, UnreadableArchive, SealMismatch or CorruptSegment.
        """
        return changes_of(
            self,
            since_ms=since_ms,
            until_ms=until_ms,
            ops=ops,
            where=where,
            actor=actor,
            attributes=attributes,
            limit=limit,
            reverse=reverse,
        )

    def plan_changes(self, since_ms: int | None = None, until_ms: int | None = None) -> ReadPlan:
        """The plan of `changes`, without carrying it out."""

        def planned(table: "Table") -> ReadPlan:
            chosen = table.reader.between(table.evidence, since_ms, until_ms)
            return plan_changes(table.evidence, f"changes of {table.name}", chosen)

        return self.asked(planned)

    def conflicts(self) -> tuple[Conflict, ...]:
        """Every change that segments contradict each other about."""

        def read(table: "Table") -> tuple[Conflict, ...]:
            with table.engine.ask() as question:
                table.reader.read(question)
                return find_conflicts(question.rows("range_conflicts", EVER), table.reader.tellers(), table.redaction)

        return self.asked(read)

    def resolve(self, when: When) -> Instant | Rev:
        """A `when` as an instant or a revision. Raises UsageError; coverage is only read for `start` and `end`."""
        if isinstance(when, Instant | Rev):
            return when
        coverage = None
        if isinstance(when, str) and when.strip() in {"start", "end"}:
            found = self.coverage()
            if found.covered_since_ms is not None and found.newest_change_ms is not None:
                coverage = found.covered_since_ms, found.newest_change_ms
        return parse_when_or_rev(when, now_ms=self._now_ms(), zone=self._zone, coverage=coverage)

    def moment(self, at: Instant | Rev) -> Moment:
        """What `as_of` cuts at. Raises UsageError for a revision that names no single change of the table."""
        if isinstance(at, Instant):
            return Moment(at.ms)
        prefix = change_named(at, self.name)

        def read(table: "Table") -> list[tuple[Any, ...]]:
            with table.engine.ask() as question:
                table.reader.read(question)
                return question.rows("change_by_id", {"prefix": prefix})

        return cut_at(at, self.asked(read), self.name)


def _coverage(table: Table, question: Question, selection: Selection | None = None) -> Coverage:
    descriptions = [baseline.description for baseline in table.evidence.baselines]
    return coverage_of(table.reader.spans(question, selection), table.evidence.streams, descriptions)
