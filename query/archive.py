"""An archive: the tables it holds trails of."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from archiver.format.layout import Trail
from query.actor import Attribution
from query.catalog import Evidence, Tail
from query.coverage import coverage_of
from query.derived.live import live_runs
from query.derived.segment_table import read_segment_table
from query.derived.tail import TAIL_MS
from query.descriptions import Descriptions
from query.engine import Engine
from query.errors import DerivedGone
from query.key_schema import ANY_TABLE, KeySchema
from query.known_keys import key_schema_of
from query.period import parse_period
from query.redaction import Redaction, random_key
from query.rows import Reader
from query.sealed import Sealed, SealReader
from query.selection import Selection
from query.settings import Settings
from query.source import Source
from query.table import Table
from query.table_ref import parse_table_ref
from query.time_range import parse_range
from query.trails import find_trail, trails

if TYPE_CHECKING:
    from query.sql_session import SqlAnswer, SqlSession
    from query.surface import Between
    from query.table import When
    from query.verify.verification import Verification

Clock = Callable[[], int]
# Tails of 26 hours that are listed before it is known how many of them are needed.
_TAILS_AHEAD: Final = 3


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One trail in a few figures; times are epoch ms, None without any record."""

    account: str
    region: str
    table_name: str
    key_schema: KeySchema | None
    covered_since_ms: int | None
    newest_change_ms: int | None
    changes: int
    items: int
    gaps: int
    quarantined: int


class Archive:
    """One URL (`s3://bucket/prefix` or a folder) holding any number of trails."""

    def __init__(
        self,
        source: Source,
        new_engine: Callable[[], Engine],
        *,
        key_schema: Mapping[str, tuple[str, ...]] | None = None,
        now_ms: Clock,
        zone: str | None = None,
        seals: SealReader | None = None,
        derived: Source | None = None,
        actor_attribute: Mapping[str, str] | None = None,
        settings: Settings | None = None,
        redact: Mapping[str, Sequence[str]] | None = None,
        redaction_key: bytes | None = None,
    ) -> None:
        self.url = source.url
        self._source = source
        self._derived = derived
        self._new_engine = new_engine
        self._key_schema = key_schema or {}
        self._now_ms = now_ms
        self._zone = zone
        self._sql: dict[Between, SqlSession] = {}
        self._seals = seals
        self._actor_attribute = actor_attribute or {}
        self._settings = settings or Settings()
        self._redact = redact or {}
        self._redaction_key = redaction_key or random_key()

    @property
    def source(self) -> Source:
        """Where the evidence lies, for what needs a listing and no row."""
        return self._source

    @property
    def traffic(self) -> tuple[int, int]:
        """How many requests were made until now, and how many bytes they brought."""
        sources = {id(source): source for source in (self._source, self._derived) if source is not None}
        spent = [source.traffic for source in sources.values()]
        return sum(one.requests for one in spent), sum(one.bytes for one in spent)

    def tables(self) -> list[TableSummary]:
        """A summary of every trail, in order of account, region and table name. Reads every segment.

        Raises UnreadableArchive, SealMismatch or CorruptSegment for the first trail that cannot be read.
        """
        return [self._summary(trail) for trail in trails(self._source)]

    def table(self, ref: str, *, with_derived: bool = True) -> Table:
        """The table that a name, `region/name`, `account/region/name` or ARN means.

        Answers come from runs and snapshots where there are any, and are the same as from evidence alone
        (`with_derived` is false). Raises UnknownTable with the closest names, or AmbiguousTable with the candidates;
        SealMismatch for a trail whose log does not hold together, is not signed with the pinned key, or names what is
        not there.
        """
        return self._table(self.trail(ref), with_derived=with_derived)

    def trail(self, ref: str) -> Trail:
        """The trail that a reference names; nothing of it is listed. Raises as `table`."""
        return find_trail(trails(self._source), parse_table_ref(ref))

    def verify(
        self,
        ref: str,
        *,
        pinned_key: str | Path | None = None,
        during: str | None = None,
        full: bool = False,
        max_age_h: float | None = None,
    ) -> "Verification":
        """Whether the evidence of a table, in a folder, is what its signed log says; what `ddbtrail verify` looks at.

        `pinned_key` is the public key (PEM) of the sealer, without which nothing is verified; `during` a period that
        must be sealed to its end; `max_age_h` how many hours old the newest seal may be (None: of any age, as of a
        copy). Raises UsageError for an archive in S3.
        """
        from query.verify.asked import verify_evidence  # noqa: PLC0415  cryptography takes its time

        trail, now_ms = self.trail(ref), self._now_ms()
        period = None if during is None else parse_period(during, now_ms=now_ms, zone=self._zone)
        return verify_evidence(
            self._source,
            trail,
            open_table=lambda: self.table(ref, with_derived=False),
            now_ms=now_ms,
            period=(None, None) if period is None else (period.since_ms, period.until_ms),
            pinned_key=pinned_key,
            full=full,
            max_age_h=max_age_h,
            redaction=Redaction.of(self._redact.get(trail.table_name, ()), self._redaction_key),
        )

    def sql(
        self, statement: str, *, since: "When | None" = None, until: "When | None" = None, during: str | None = None
    ) -> "SqlAnswer":
        """The answer to one SQL statement that reads; `docs/sql.md` names the relations. What is redacted is masked.

        Only what the statement names is read, once for each archive opened and range. Of a range (`since` inclusive,
        `until` exclusive, or `during` a period such as `2026-Q3`) only its changes are read, and relations that need
        all are refused. Raises UsageError, with the engine's words, for what is no such statement; SealMismatch,
        CorruptSegment or UnreadableArchive for evidence.
        """
        between = parse_range(since, until, during, now_ms=self._now_ms(), zone=self._zone)
        if between not in self._sql:
            # One database for all of time, and one for the range asked about last: ends such as `1h ago` never recur.
            self._sql = {kept: session for kept, session in self._sql.items() if kept == (None, None)}
            self._sql[between] = self.sql_session(between=between)
        return self._sql[between].ask(statement)

    def schemas(self) -> "dict[str, Trail]":
        """The trails, by the name that the table of each has as a schema of SQL."""
        from query.surface import schema_names  # noqa: PLC0415

        return schema_names(trails(self._source))

    def sql_session(self, *, with_derived: bool = True, between: "Between" = (None, None)) -> "SqlSession":
        """A database of its own for statements, about the changes of a range (epoch ms) or all; with runs or, as
        `table`, without.
        """
        from query.locked import LockedDatabase  # noqa: PLC0415
        from query.sql_session import SqlSession  # noqa: PLC0415

        return SqlSession(
            self.schemas(),
            lambda trail: self._table(trail, with_derived=with_derived),
            LockedDatabase(memory_limit=self._settings.memory_limit, threads=self._settings.threads),
            now_ms=self._now_ms,
            between=between,
        )

    def _table(self, trail: Trail, *, with_derived: bool) -> Table:
        names = self._key_schema.get(trail.table_name) or self._key_schema.get(ANY_TABLE)
        with ThreadPoolExecutor(1) as beside:  # an engine begins while answers are waited for
            engine = beside.submit(self._new_engine)
            evidence, reader = self._chosen(trail, with_runs=with_derived)
        return Table(
            evidence,
            reader,
            engine.result(),
            key_names=names,
            now_ms=self._now_ms,
            zone=self._zone,
            choose_anew=lambda with_runs: self._chosen(trail, with_runs=with_runs and with_derived, anew=True),
            attribution=Attribution.of(self._actor_attribute.get(trail.table_name)),
            redaction=Redaction.of(self._redact.get(trail.table_name, ()), self._redaction_key),
        )

    def _chosen(self, trail: Trail, *, with_runs: bool, anew: bool = False) -> tuple[Evidence, Reader]:
        """What there is of a trail by now, and how it is read."""
        derived = self._derived if with_runs and self._seals is not None else None
        with ThreadPoolExecutor(1) as beside:
            described = beside.submit(Descriptions.read, self._source, trail)
            found = None if derived is None else self._beside_runs(trail, derived, described, anew=anew)
            if found is None:
                sealed = None if self._seals is None else self._seals.read(trail)
                evidence = Evidence.of(self._source, trail, sealed, described.result())
            else:
                evidence = Evidence.of(self._source, trail, *found)
        everything = Selection(evidence.segments, evidence.runs)
        return evidence, Reader(self._source, trail, everything, derived if evidence.runs else None)

    def _beside_runs(
        self, trail: Trail, derived: Source, described: "Future[Descriptions]", *, anew: bool
    ) -> tuple[Sealed, Descriptions, Tail | None] | None:
        """What is sealed beside the runs that there are, and what may not be; None without runs, or if they are of
        another log. `described` are the descriptions as they are being read.
        """
        assert self._seals is not None
        runs = live_runs(derived, trail, anew=anew)
        if not runs:
            return None

        sealed_to_ms = runs[-1].description.sealed_to_ms

        def unsealed() -> tuple[Descriptions, Tail | None]:
            # From where the log of the runs ends: maybe more than the tail of what is sealed by now, but not months. In
            # this order: a stream is described before it has a segment.
            is_recent = self._now_ms() - sealed_to_ms < _TAILS_AHEAD * TAIL_MS
            tail = Tail.read(self._source, trail, sealed_to_ms) if is_recent else None
            return Descriptions.read(self._source, trail, described.result()), tail

        with ThreadPoolExecutor(2) as beside:
            table = beside.submit(read_segment_table, derived, runs[-1])
            rest: list[Future[tuple[Descriptions, Tail | None]]] = []
            # After the seals: what a seal does not name yet is in the tail, or came later.
            sealed = self._seals.read_after(trail, runs, listed=lambda: rest.append(beside.submit(unsealed)))
        if sealed is None:
            return None
        try:
            return sealed.with_names(segment.path for segment in table.result()), *rest[0].result()
        except DerivedGone:
            return None

    def _summary(self, trail: Trail) -> TableSummary:
        sealed = None if self._seals is None else self._seals.read(trail, may_be_unsealed=True)
        evidence = Evidence.of(self._source, trail, sealed)
        with self._new_engine().ask() as question:
            reader = Reader(self._source, trail, Selection(evidence.segments))
            reader.read(question)
            descriptions = [baseline.description for baseline in evidence.baselines]
            coverage = coverage_of(reader.spans(question), evidence.streams, descriptions)
            changes, items = question.rows("count_changes")[0]
        return TableSummary(
            account=trail.account,
            region=trail.region,
            table_name=trail.table_name,
            key_schema=key_schema_of(evidence, self._key_schema.get(trail.table_name)),
            covered_since_ms=coverage.covered_since_ms,
            newest_change_ms=coverage.newest_change_ms,
            changes=changes,
            items=items,
            gaps=len(coverage.gaps),
            quarantined=len(self._source.objects(f"{trail.prefix}quarantine/")),
        )
