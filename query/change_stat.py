"""How many changes there are in a range: by operation, actor, attribute and stretch of time.

Counted by the engine over the columns that are needed; no image of a row reaches Python. Invariant: the changes that
are counted are those that `Table.changes` gives, each once, without the items in conflict.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from archiver.format.values import normal_number
from query.actor import CARRIED, NOBODY_NAMED, NOT_CONFIGURED, TTL_ACTOR, WROTE, Attribution
from query.conflicts import Conflict, find_conflicts
from query.diff import Step, changed_attributes, parse_path
from query.engine import Question
from query.instant import format_ms
from query.plan import ReadPlan
from query.redaction import NOTHING_REDACTED, Redaction
from query.repeated import find_repeated
from query.shown import Tabular

if TYPE_CHECKING:
    from query.changes import Changes
    from query.table import Table

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
_FINE_RANGE_MS: Final = 6 * 3_600_000  # up to this, changes are counted by minute


@dataclass(frozen=True, slots=True)
class Count:
    """One line: what is counted by (`op`, `actor`, `attribute`, `day` or `minute`), the value, and how many changes.

    `value` is None where it is not known. `source` says how an actor is known, or why it is not; `is_number` that its
    attribute holds a number.
    """

    by: str
    value: str | None
    changes: int
    source: str | None = None
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class ChangeStat(Tabular):
    """The counts, the changes in all, and the items left out because evidence contradicts itself about them.

    What counts hold is masked where it is shown.
    """

    counts: tuple[Count, ...]
    total: int
    conflicts: tuple[Conflict, ...]
    plan: ReadPlan
    table_name: str = ""
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)
    attribution: Attribution = field(default=NOBODY_NAMED, repr=False, compare=False)

    def of(self, by: str) -> dict[str | None, int]:
        """How many changes there are by one thing, whatever the source."""
        found: Counter[str | None] = Counter()
        for count in self.counts:
            if count.by == by:
                found[count.value] += count.changes
        return dict(found)


def bucket_ms(since_ms: int | None, until_ms: int) -> int:
    """Minutes for a range of a few hours, else days."""
    return MINUTE_MS if since_ms is not None and until_ms - since_ms <= _FINE_RANGE_MS else DAY_MS


def change_stat(
    table: "Table",
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    ops: Sequence[str] | None = None,
    actor: str | None = None,
    attributes: Sequence[str] = (),
    where: str | None = None,
    bucket: int = DAY_MS,
    top_items: int = 0,
) -> ChangeStat:
    """Counts the changes of a half-open range of `changed_at` (epoch ms) by stretches of `bucket` ms,
    and those of the items that have most (`item`, by key) as far as asked for.

    An attribute of top level counts as changed where its text differs, and a nested path (`lines[2].qty`) where the
    text of what stands there does; a change without its images may be about any. Raises as `Table.changes`.
    """
    steps = table.attribution.steps
    if where is not None or (actor is not None and table.redaction.covers(steps)):
        # A condition meets masked rows, and so does the name of a masked actor: those are not the engine's to see.
        asked: dict[str, Any] = {"since_ms": since_ms, "until_ms": until_ms, "ops": ops, "where": where}
        return stat_of_changes(table.changes(**asked, actor=actor, attributes=attributes), bucket, table.redaction)
    paths = [parse_path(attribute) for attribute in attributes]
    values: dict[str, Any] = {
        "since_ms": since_ms,
        "until_ms": until_ms,
        "ops": list(ops) if ops else None,
        "actor": actor,
        "pointer_to_actor": pointer(steps) if steps else None,
        **_about(paths),
    }

    def read(table: "Table") -> tuple[tuple[Count, ...], tuple[Conflict, ...]]:
        selection = table.reader.between(table.evidence, since_ms, until_ms)
        with table.engine.ask() as question:
            table.reader.read(question, selection)
            for name, value in values.items():
                question.set(name, value)
            question.run("stat_macros")
            kinds = _open_rows(question)
            has_repeated = find_repeated(question, kinds, selection.runs)
            conflicts: tuple[Conflict, ...] = ()
            if has_repeated:
                tellers = table.reader.tellers(selection)
                conflicts = find_conflicts(question.rows("stat_conflicts"), tellers, table.redaction)
                question.set("conflicting", [conflict.item_key for conflict in conflicts])
                question.run("stat_dropped")
            question.run("stat_chosen")
            question.run("stat_chosen_once" if has_repeated else "stat_chosen_all")
            counts = _counts(question, table, bucket)
            for item_key, changes in question.rows("stat_by_item", {"most": top_items}) if top_items else ():
                counts.append(Count("item", item_key, changes))
            return tuple(counts), conflicts

    counts, conflicts = table.asked(read)
    total = sum(count.changes for count in counts if count.by == "op")
    plan = table.plan_changes(since_ms, until_ms)
    return ChangeStat(counts, total, conflicts, plan, table.name, table.redaction, table.attribution)


def stat_of_changes(found: "Changes", bucket: int, redaction: Redaction = NOTHING_REDACTED) -> ChangeStat:
    """The same of changes that were read, such as those for which a condition holds; attributes are compared as values.

    Actors that are masked come out masked.
    """
    by_op: Counter[str] = Counter()
    by_time: Counter[int] = Counter()
    by_actor: Counter[tuple[str | None, str]] = Counter()
    by_attribute: Counter[str | None] = Counter()
    for change in found:
        actor = redaction.made_by(change)
        by_op[change.op] += 1
        by_time[change.changed_at_ms - change.changed_at_ms % bucket] += 1
        by_actor[actor.name, actor.source or actor.reason or ""] += 1
        is_told = change.is_comparable
        by_attribute.update(changed_attributes(change.old_image, change.new_image) if is_told else [None])
    actors = sorted(by_actor.items(), key=lambda one: (-one[1], one[0][0] or "", one[0][1]))
    counts = _told(
        by_op, [Count("actor", name, n, source) for (name, source), n in actors], by_attribute, by_time, bucket
    )
    return ChangeStat(tuple(counts), len(found), found.conflicts, found.plan, found.table_name)


def _open_rows(question: Question) -> list[str]:
    """Makes the relation `stat_rows` of what the question has opened: segments, runs, or neither (it was loaded)."""
    opened = {name for (name,) in question.rows("stat_sources")}
    kinds = [kind for kind, view in (("segments", "segment_changes"), ("runs", "run_changes")) if view in opened]
    for kind in kinds or ["loaded"]:
        question.run(f"stat_rows_of_{kind}")
    question.run(f"stat_rows_from_{'both' if len(kinds) > 1 else (kinds or ['loaded'])[0]}")
    return kinds


def _counts(question: Question, table: "Table", bucket: int) -> list[Count]:
    by_op: Counter[str] = Counter()
    by_time: Counter[int] = Counter()
    by_ttl: Counter[bool] = Counter()
    for op, began_ms, is_by_ttl, changes in question.rows("stat_by_op_and_time", {"bucket_ms": bucket}):
        by_op[op] += changes
        by_time[began_ms] += changes
        by_ttl[is_by_ttl] += changes
    actors = _actors(question, table) if table.attribution.steps else _actors_unknown(by_ttl)
    return _told(by_op, actors, dict(question.rows("stat_by_attribute")), by_time, bucket)


def _told(
    by_op: Mapping[str, int],
    actors: Sequence[Count],
    by_attribute: Mapping[str | None, int],
    by_time: Mapping[int, int],
    bucket: int,
) -> list[Count]:
    """All counts, those by actor and attribute in order of how many."""
    unit = "minute" if bucket == MINUTE_MS else "day"
    length = len("2026-09-15T10:30") if bucket == MINUTE_MS else len("2026-09-15")
    attributes = sorted(by_attribute.items(), key=lambda row: (-row[1], row[0] or ""))
    return [
        *(Count("op", op, changes) for op, changes in sorted(by_op.items())),
        *actors,
        *(Count("attribute", name, changes) for name, changes in attributes),
        *(Count(unit, format_ms(began_ms)[:length], changes) for began_ms, changes in sorted(by_time.items())),
    ]


def _actors(question: Question, table: "Table") -> list[Count]:
    found: Counter[tuple[str | None, str, bool]] = Counter()
    for name, known, is_number, before, changes in _told_of_actors(question, table.attribution.steps):
        is_same = before is not None and normal_number(before) == normal_number(name)
        found[name, CARRIED if known == WROTE and is_same else known, is_number] += changes
    path = table.attribution.path
    counts = []
    for (name, known, is_number), changes in sorted(
        found.items(), key=lambda one: (-one[1], one[0][0] or "", one[0][1])
    ):
        source = f"{known}:{path}" if known in {WROTE, CARRIED} else known
        counts.append(Count("actor", name, changes, source, is_number))
    return counts


def _told_of_actors(question: Question, steps: Sequence[Step]) -> list[tuple[Any, ...]]:
    """The rows of `stat_by_actor.sql`; old images are read only where they decide."""
    values = {"actor_attribute": steps[0]}
    if len(steps) == 1:
        rows = question.rows("stat_by_actor_at_top", values)
        if not any(is_doubtful for *_, is_doubtful in rows):
            return [row[:-1] for row in rows]
    return question.rows("stat_by_actor", values)


def _actors_unknown(by_ttl: Mapping[bool, int]) -> list[Count]:
    """Where no attribute is configured."""
    counts = [
        Count("actor", TTL_ACTOR, by_ttl.get(True, 0), TTL_ACTOR),
        Count("actor", None, by_ttl.get(False, 0), NOT_CONFIGURED),
    ]
    return sorted((count for count in counts if count.changes), key=lambda count: (-count.changes, count.value or ""))


def _about(paths: Sequence[Sequence[Step]]) -> dict[str, list[str] | None]:
    names = [str(path[0]) for path in paths if len(path) == 1]
    nested = [pointer(path) for path in paths if len(path) > 1]
    return {"about_names": names if paths else None, "about_paths": nested if paths else None}


def pointer(steps: Sequence[Step]) -> str:
    """The JSON pointer (RFC 6901) of a path in an image, where each value stands below its type."""
    first, *rest = steps
    told = f"/{_escaped(first)}"
    return told + "".join(f"/{'M' if isinstance(step, str) else 'L'}/{_escaped(step)}" for step in rest)


def _escaped(step: Step) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")
