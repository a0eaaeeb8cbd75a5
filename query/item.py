"""One item, and one item collection: history, state at an instant, difference between two versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import orjson

from archiver.format.keytext import key_text
from archiver.format.record import item_key_text, key_hints
from query.answer import Basis, Change, Outcome, State, Version
from query.diff import AttributeChange, parse_path, touches
from query.diff import changes as attribute_changes
from query.errors import AlreadyDeleted, NotYetCreated, NoVersion, OutsideCoverage, UsageError
from query.history import History, Row, changes_of_item, conflict_error, conflicts_of, versions_of
from query.instant import Instant, format_ms
from query.plan import ReadPlan, StatePlan, plan_changes
from query.rev import Rev
from query.state import Conflict, reconstruct

if TYPE_CHECKING:
    from query.table import Table, When

_RAISE: Final = object()
_SHORT_ID: Final = 8


@dataclass(frozen=True, slots=True)
class ItemState:
    """The state of an item at a moment, the version that was valid then (if a change began it), and why, in words."""

    state: State
    version: Version | None
    at: Instant | Rev
    explanation: str
    plan: ReadPlan


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two versions of an item; None stands for "no item"."""

    item_key: str
    older: Version | None
    newer: Version | None
    changes: tuple[AttributeChange, ...]


class Item:
    """One item of a table, by its key."""

    def __init__(self, table: "Table", key: Mapping[str, Any]) -> None:
        self.table = table
        self.key = dict(key)
        self.item_key = item_key_text(key).decode()

    @cached_property
    def _versions(self) -> list[Version]:
        return versions_of(self._changes)

    @cached_property
    def _changes(self) -> list[Change]:
        table = self.table
        schema = table.key_schema
        names = tuple(attribute.name for attribute in schema.attributes) if schema else None
        pk, _ = key_hints(self.key, names)
        segments = [segment.stored.name for segment in table.evidence.segments]
        with table.engine.ask() as question:
            table.reader.read_segments(question, table.evidence.segments)
            if pk is None:
                rows = question.arrow("item_rows_without_hint", {"item_key": self.item_key})
            else:
                rows = question.arrow("item_rows", {"item_key": self.item_key, "pk": pk})
        return changes_of_item(table.trail, rows.to_pylist(), segments)

    @property
    def plan(self) -> ReadPlan:
        """What its history reads: any segment can tell of the item, until runs sort them by key."""
        return plan_changes(self.table.evidence, f"history of {self.item_key}", since_ms=None, until_ms=None)

    def history(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        ops: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> History:
        """The versions of the item, newest first; `changed_at` from `since_ms` (inclusive) to `until_ms` (exclusive).

        Raises IdentityConflict if evidence contradicts itself about the item.
        """
        return _select(self._versions, self.plan, since_ms, until_ms, ops, attributes, limit, reverse=reverse)

    def state(self, when: "When" = "now", *, best_effort: bool = False) -> ItemState:
        """The item at an instant or at one of its changes; never raises for an answer that is no.

        With `best_effort` an unknown state carries the image of the best guess, if there is one; it stays unknown.
        Raises UsageError for a `when` that is none, IdentityConflict, UnreadableArchive.
        """
        at = self.table.resolve(when)
        if isinstance(at, Rev):
            return self._state_of_version(at)
        moment = self.table.moment(at)
        plan = self.table.plan_as_of(at, moment, tells_absences_apart=True)
        table = self.table
        states = reconstruct(table.engine.ask(), table.reader, table.evidence, plan, moment, [self.item_key])
        try:
            if states.conflicts:
                raise conflict_error(states.conflicts)
            state = next(iter(states.all()), None) or State(
                self.item_key, Outcome.UNKNOWN, Basis.NOTHING, reason="no-fact"
            )
            if state.is_guess and not best_effort:
                state = replace(state, image=None)
            version = self._version_of(state)
            return ItemState(state, version, at, self._explain(state, at, plan, states.coverage), plan.read)
        finally:
            states.close()

    def as_of(self, when: "When" = "now", default: Any = _RAISE) -> Version:
        """The version that was valid at an instant.

        Raises NotYetCreated, AlreadyDeleted (with `last_version`) or OutsideCoverage (with `covered`), unless a
        default is given.
        """
        answer = self.state(when)
        if answer.version is not None and answer.state.outcome is Outcome.EXISTED:
            return answer.version
        if default is not _RAISE:
            return default  # type: ignore[no-any-return]
        raise self._no_version(answer)

    def version(self, rev: "Rev | str") -> Version:
        """The version that a revision names: `@ID`, `first`, `last`, `~N` and `@ID~N`. Raises NoVersion, UsageError."""
        resolved = self.table.resolve(rev)
        if isinstance(resolved, Instant):
            return self.as_of(resolved)
        return self._version_at(resolved)

    def diff(self, older: "When" = "~1", newer: "When" = "last") -> Diff:
        """The attribute changes from one version to another; by default those of the last change."""
        before, after = self._image_at(older), self._image_at(newer)
        return Diff(
            self.item_key,
            before[0],
            after[0],
            tuple(attribute_changes(before[1], after[1])),
        )

    def _image_at(self, when: "When") -> tuple[Version | None, str | None]:
        at = self.table.resolve(when)
        if isinstance(at, Rev):
            if at.base == "last" and at.back and at.back == len(self._versions):
                return None, self._changes[0].old_image  # what the first change says of the moment before it
            version = self._version_at(at)
            if version.image is None and version.change is not None and version.change.op != "REMOVE":
                raise OutsideCoverage(
                    f"the stream carried no image for {at.text} of {self.item_key}",
                    why="its view type leaves out new images",
                    hint="only a stream of type NEW_AND_OLD_IMAGES can tell",
                )
            return version, version.image
        answer = self.state(at)
        if answer.state.outcome is Outcome.UNKNOWN:
            raise self._no_version(answer)
        return answer.version, answer.state.image

    def _version_at(self, rev: Rev) -> Version:
        versions = self._versions
        if not versions:
            raise OutsideCoverage(
                f"the trail of {self.table.name} has no change of {self.item_key}",
                hint="check the key; ddbtrail as-of answers from baselines too",
            )
        index = self._index_of(rev, versions) - rev.back
        if index < 0:
            raise NoVersion(
                f"{rev.text} lies before the first recorded change of {self.item_key}",
                why=f"{len(versions)} changes are recorded",
                hint="ddbtrail history lists them",
            )
        return versions[index]

    def _index_of(self, rev: Rev, versions: Sequence[Version]) -> int:
        if rev.base == "first":
            return 0
        if rev.base == "last":
            return len(versions) - 1
        prefix = rev.change_id_prefix or ""
        found = [index for index, version in enumerate(versions) if (version.change_id or "").startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise NoVersion(
                f"no change of {self.item_key} has an id that begins with {prefix}",
                hint="ddbtrail history lists its changes",
            )
        raise UsageError(
            f"{rev.text} fits {len(found)} changes of {self.item_key}",
            why=", ".join(f"@{versions[index].change_id}" for index in found[:5]),
            hint="write more of the id",
        )

    def _state_of_version(self, rev: Rev) -> ItemState:
        version = self._version_at(rev)
        change = version.change
        assert change is not None
        if change.op == "REMOVE":
            outcome, reason = Outcome.ALREADY_DELETED, None
        elif version.image is None:
            outcome, reason = Outcome.UNKNOWN, "missing-image"
        else:
            outcome, reason = Outcome.EXISTED, None
        state = State(
            self.item_key,
            outcome,
            Basis.CHANGE,
            version.image,
            reason,
            change.change_id,
            change.changed_at_ms,
            change.effective_ms,
        )
        return ItemState(state, version, rev, self._explain(state, rev, None, None), self.plan)

    def _version_of(self, state: State) -> Version | None:
        """The version that a state belongs to: the one its change began, or one that began before any change."""
        if state.change_id is not None:
            for version in self._versions:
                if version.change_id == state.change_id and version.image == state.image:
                    return version
        if state.outcome is not Outcome.EXISTED:
            return None
        first = self._versions[0] if self._versions else None
        following = first.valid_from_ms if first is not None and state.basis is Basis.OLD_IMAGE else None
        return Version(self.item_key, state.image, valid_to_ms=following)

    def _explain(self, state: State, at: Instant | Rev, plan: StatePlan | None, coverage: Any) -> str:
        spelled = at.spelled if isinstance(at, Instant) else at.text
        match state.outcome:
            case Outcome.EXISTED:
                return self._explain_existed(state, spelled)
            case Outcome.NOT_YET_CREATED:
                first = self._changes[0] if self._changes else None
                if first is None:
                    return "a complete baseline shows no such item, and no change of it is recorded"
                return (
                    f"first recorded change is {_article(first.op)} at {format_ms(first.effective_ms)} "
                    f"(@{first.change_id[:_SHORT_ID]})"
                )
            case Outcome.ALREADY_DELETED:
                return self._explain_deleted(state)
            case Outcome.UNKNOWN:
                return self._explain_unknown(state, spelled, plan, coverage)

    def _explain_existed(self, state: State, spelled: str) -> str:
        if state.change_id is not None and state.valid_from_ms is not None:
            version = self._version_of(state)
            until = version.valid_to_ms if version else None
            shown = "now" if until is None else format_ms(until)
            return (
                f"as of {spelled}: version @{state.change_id[:_SHORT_ID]}, "
                f"valid {format_ms(state.valid_from_ms)} → {shown}"
            )
        if state.basis is Basis.OLD_IMAGE:
            return f"as of {spelled}: from the old image of its next change, the first one recorded after that"
        return f"as of {spelled}: from a baseline"

    def _explain_deleted(self, state: State) -> str:
        if state.basis is Basis.TABLE_END:
            return "its table was deleted and made again"
        removal = next((change for change in reversed(self._changes) if change.change_id == state.change_id), None)
        if removal is None:
            return "a later fact shows that it no longer existed"
        by = " by DynamoDB TTL" if removal.actor_source else ""
        return (
            f"REMOVE at {format_ms(removal.effective_ms)}{by} (@{removal.change_id[:_SHORT_ID]}). "
            f"Last content: ddbtrail get … --at @{removal.change_id[:_SHORT_ID]}~1"
        )

    def _explain_unknown(self, state: State, spelled: str, plan: StatePlan | None, coverage: Any) -> str:
        hint = "; add --best-effort for the best guess" if state.is_guess else ""
        match state.reason:
            case "missing-image":
                return f"the stream did not carry the image that would answer for {spelled} (view type){hint}"
            case "before-coverage":
                since = coverage.covered_since_ms if coverage else None
                began = f" ({format_ms(since)})" if since is not None else ""
                floor = "" if plan and plan.ceiling else ". No baseline was taken"
                return f"{spelled} is before coverage starts{began}{floor}{self._first_hint()}{hint}"
            case "no-fact":
                return f"no change of this item is recorded, and no complete baseline tells of it{hint}"
            case _:
                return f"a gap of the trail lies between {spelled} and what is known of the item{hint}"

    def _first_hint(self) -> str:
        if not self._changes:
            return ""
        first = self._changes[0]
        if first.op == "INSERT" or first.old_image is None:
            return f". The first recorded change is {_article(first.op)} at {format_ms(first.effective_ms)}"
        return (
            f". The first change at {format_ms(first.effective_ms)} is {_article(first.op)}; "
            "its old image shows the item existed then"
        )

    def _no_version(self, answer: ItemState) -> NoVersion:
        message = f"{self.item_key} at {answer.at.text}: {answer.state.outcome.value}"
        match answer.state.outcome:
            case Outcome.NOT_YET_CREATED:
                return NotYetCreated(message, why=answer.explanation, hint="ask for a later instant")
            case Outcome.ALREADY_DELETED:
                last = next((version for version in reversed(self._versions) if version.image is not None), None)
                return AlreadyDeleted(
                    message, why=answer.explanation, hint="last_version holds its last content", last_version=last
                )
            case _:
                return OutsideCoverage(message, why=answer.explanation, hint="state(…) gives a best-effort guess")


class Collection:
    """The items that share a partition key."""

    def __init__(self, table: "Table", partition: Mapping[str, Any]) -> None:
        self.table = table
        self.key = dict(partition)

    @cached_property
    def _rows(self) -> dict[str, list[Row]]:
        table = self.table
        ((name, value),) = self.key.items()
        rows: dict[str, list[Row]] = {}
        with table.engine.ask() as question:
            table.reader.read_segments(question, table.evidence.segments)
            for row in question.arrow("collection_rows", {"pk": key_text(value)}).to_pylist():
                if row["pk"] is not None or orjson.loads(row["item_key"]).get(name) == value:
                    rows.setdefault(row["item_key"], []).append(row)
        return rows

    @property
    def plan(self) -> ReadPlan:
        return plan_changes(self.table.evidence, f"history of {self.key}", since_ms=None, until_ms=None)

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The changes of the collection that evidence contradicts itself about."""
        segments = [segment.stored.name for segment in self.table.evidence.segments]
        return tuple(conflict for rows in self._rows.values() for conflict in conflicts_of(rows, segments))

    def items(self) -> list[Item]:
        """The items of the collection that have a recorded change, in order of item key."""
        return [Item(self.table, orjson.loads(item_key)) for item_key in sorted(self._rows)]

    def history(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        ops: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> History:
        """The versions of all items of the collection in one list, newest first; without those in `conflicts`."""
        segments = [segment.stored.name for segment in self.table.evidence.segments]
        versions = [
            version
            for rows in self._rows.values()
            if not conflicts_of(rows, segments)
            for version in versions_of(changes_of_item(self.table.trail, rows, segments))
        ]
        versions.sort(key=lambda version: (version.change.order, version.item_key) if version.change else ((), ""))
        return _select(versions, self.plan, since_ms, until_ms, ops, attributes, limit, reverse=reverse)


def _select(
    versions: Sequence[Version],
    plan: ReadPlan,
    since_ms: int | None,
    until_ms: int | None,
    ops: Sequence[str] | None,
    attributes: Sequence[str] | None,
    limit: int | None,
    *,
    reverse: bool,
) -> History:
    chosen = [
        version
        for version in versions
        if version.change and _is_chosen(version.change, since_ms, until_ms, ops, attributes)
    ]
    if not reverse:
        chosen.reverse()
    first = versions[0].change if versions else None
    return History(chosen[:limit], total=len(versions), first_change=first, plan=plan)


def _is_chosen(
    change: Change,
    since_ms: int | None,
    until_ms: int | None,
    ops: Sequence[str] | None,
    attributes: Sequence[str] | None,
) -> bool:
    if since_ms is not None and change.changed_at_ms < since_ms:
        return False
    if until_ms is not None and change.changed_at_ms >= until_ms:
        return False
    if ops and change.op not in ops:
        return False
    return not attributes or _touches(change, attributes)


def _touches(change: Change, attributes: Sequence[str]) -> bool:
    """Whether a change is about one of some attributes, given by name or by nested path."""
    asked = [parse_path(name) for name in attributes]
    found = attribute_changes(change.old_image, change.new_image)
    return any(touches(one.steps, path) for one in found for path in asked)


def _article(op: str) -> str:
    return f"an {op}" if op == "INSERT" else f"a {op}"
