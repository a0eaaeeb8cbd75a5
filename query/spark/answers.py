"""What a trail answers, on Spark: changes, versions and the state of a table at an instant, from evidence alone.

The rules are those of `docs/answers.md`, and the statements stand in `sql/` beside this file, values bound. What
evidence there is, the reader of the project says: listing, sealed digests, descriptions and coverage are its own.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession

from archiver.format.values import same_attributes
from query.coverage import Coverage, LabelSpan, coverage_of
from query.descriptions import Baseline
from query.instant import Instant
from query.plan import neighbours
from query.sealed import missing
from query.spark.files import Place, RowFile, evidence_rows, plain_rows
from query.state import is_of_former_table, is_of_later_table
from query.table import Table

_VERSION_COLUMNS: Final = (
    *("item_key", "pk", "sk", "change_id", "op", "changed_at", "valid_from", "valid_to", "image"),
    *("sequence_number", "stream_label", "old_image", "new_image", "user_identity", "event", "segment", "is_sealed"),
)
_BASELINE_COLUMNS: Final = ("item_key", "image")
_SPAN_COLUMNS: Final = ("stream_label", "changed_at")


class SparkTable:
    """The trail of one table as Spark reads it. Answers are DataFrames, and nothing is read before one is asked for its
    rows; what a task refuses is raised there (`query.spark.files.refusals`).

    `table` was opened without derived data, `place` says where tasks find its files. With `item_keys` (canonical keys)
    the answers are those of these items alone.
    """

    def __init__(
        self, session: SparkSession, table: Table, place: Place, item_keys: Sequence[str] | None = None
    ) -> None:
        self._session = session
        self._table = table
        self._place = place
        self._item_keys = item_keys
        self._known_coverage: Coverage | None = None
        self._kept: DataFrame | None = None
        session.udf.register("contradict", _contradict, "boolean")
        session.udf.register("agree", same_attributes, "boolean")

    def item(self, item_key: str) -> "SparkTable":
        """The same trail, of which one item is asked, by its canonical key."""
        found = SparkTable(self._session, self._table, self._place, [item_key])
        found._known_coverage = self._known_coverage
        return found

    def keep(self) -> "SparkTable":
        """Lets the executors keep what the first question reads, for the ones after it; `forget` gives it back."""
        if self._kept is None:
            self._kept = self._versions().persist()
        return self

    def forget(self) -> None:
        """Drops what `keep` kept."""
        if self._kept is not None:
            self._kept.unpersist()
            self._kept = None

    def versions(self) -> DataFrame:
        """The versions of all items that are not in conflict: one row for each change, which begins one.

        Columns as a change has them, and `image` (NULL: deleted), `valid_from`, `valid_to` (effective times; NULL:
        still current). In no order.
        """
        return self._versions().where("NOT is_refused").select(*_VERSION_COLUMNS)

    def conflicts(self) -> DataFrame:
        """`item_key`, `stream_label`, `sequence_number` of each change that evidence tells in two ways."""
        return self._versions().where("is_contradicted").select("item_key", "stream_label", "sequence_number")

    def as_of(self, at_ms: int) -> DataFrame:
        """The state of every item that any fact tells of, at an instant (epoch ms, inclusive).

        Columns `item_key`, `outcome`, `basis`, `image`, `reason`, `change_id`, `changed_at`, `valid_from`, `is_guess`,
        as in `query.answer.State`; `outcome` is also `conflict`, without an image, where the answer would rest on a
        change that evidence tells in two ways. In no order.
        """
        coverage = self.coverage()
        floor, ceiling = neighbours(self._table.evidence.baselines, at_ms, is_cut=False)
        values = _moment(coverage, floor, ceiling, at_ms)
        relations = {
            "versions": self._versions(),
            "floor": self._baseline(floor),
            "ceiling": self._baseline(ceiling),
        }
        sides = self._asked("sides", relations, values)
        return self._asked("states", {"sides": sides}, values)

    def resolve(self, when: Any) -> int:
        """A `when` of the time grammar as epoch ms. Raises UsageError."""
        at = self._table.resolve(when)
        if not isinstance(at, Instant):
            from query.errors import UsageError  # noqa: PLC0415

            raise UsageError(
                f"{at.text} is a cut at a change", why="on Spark a table is asked at an instant", hint="type an instant"
            )
        return at.ms

    def coverage(self) -> Coverage:
        """The stretches that the trail can answer for. Reads every segment, once for all questions."""
        if self._known_coverage is None:
            evidence = self._table.evidence
            rows = evidence_rows(self._session, self._place, self._segments(), "segment", _SPAN_COLUMNS)
            found = plain_rows(self._asked("spans", {"evidence": rows}))
            spans = [LabelSpan(**span) for span in found]
            baselines = [baseline.description for baseline in evidence.baselines]
            self._known_coverage = coverage_of(spans, evidence.streams, baselines)
        return self._known_coverage

    # --- relations ---

    def _changes(self) -> DataFrame:
        rows = evidence_rows(self._session, self._place, self._segments(), "segment", item_keys=self._item_keys)
        return self._asked("changes", {"evidence": rows})

    def _versions(self) -> DataFrame:
        if self._kept is not None:
            return self._kept
        return self._asked("versions", {"changes": self._changes()})

    def _segments(self) -> list[RowFile]:
        segments = self._table.evidence.segments
        gone = [segment.stored.name for segment in segments if segment.is_missing]
        if gone:
            raise missing(gone)
        return [RowFile(segment.stored, segment.place.root, segment.sha256, segment.is_sealed) for segment in segments]

    def _baseline(self, baseline: Baseline | None) -> DataFrame:
        parts = (
            []
            if baseline is None
            else [
                RowFile(stored, sha256=part.sha256, is_sealed=baseline.is_sealed)
                for stored, part in zip(baseline.parts, baseline.description.parts, strict=True)
            ]
        )
        return evidence_rows(
            self._session, self._place, parts, "baseline", _BASELINE_COLUMNS, item_keys=self._item_keys
        )

    def _asked(
        self, statement: str, relations: Mapping[str, DataFrame], values: Mapping[str, Any] | None = None
    ) -> DataFrame:
        return ask(self._session, statement, relations, values)


def ask(
    session: SparkSession, statement: str, relations: Mapping[str, DataFrame], values: Mapping[str, Any] | None = None
) -> DataFrame:
    """One of the statements in `sql/`, over the relations that it names."""
    text = files("query.spark").joinpath("sql", f"{statement}.sql").read_text(encoding="utf-8")
    for name, rows in relations.items():
        rows.createOrReplaceTempView(name)
    try:
        return session.sql(text, args=dict(values or {}))
    finally:
        # A name is bound when the statement is analyzed; the next question has other rows under it.
        for name in relations:
            session.catalog.dropTempView(name)


def _moment(coverage: Coverage, floor: Baseline | None, ceiling: Baseline | None, at_ms: int) -> dict[str, Any]:
    """What the statements are told of an instant, beside the rows."""
    table_label, next_label = coverage.table_at(at_ms)
    is_floor_of_former_table = is_of_former_table(floor, coverage, table_label)
    if ceiling is not None and is_of_later_table(ceiling, coverage, next_label):
        ceiling = None
    return {
        "at_ms": at_ms,
        "covering_label": coverage.covering(at_ms),
        "is_before_coverage": coverage.is_before(at_ms),
        "table_label": table_label,
        "next_table_label": next_label,
        "is_floor_of_former_table": is_floor_of_former_table,
        **_interval("floor", floor),
        **_interval("ceiling", ceiling),
    }


def _interval(role: str, baseline: Baseline | None) -> dict[str, Any]:
    description = None if baseline is None else baseline.description
    return {
        f"{role}_from_ms": description and description.from_ms,
        f"{role}_to_ms": description and description.to_ms,
        f"{role}_label": description and description.stream_label,
    }


def _contradict(tellings: Sequence[Any] | None) -> bool:
    """Whether tellings of one change (operation, time, images) differ as values."""
    if not tellings:
        return False
    (op, changed_at, old_image, new_image), *others = tellings
    return any(
        (op, changed_at) != (other[0], other[1])
        or not same_attributes(old_image, other[2])
        or not same_attributes(new_image, other[3])
        for other in others
    )
