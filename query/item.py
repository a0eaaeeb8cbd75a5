"""One item: its versions, its state at an instant, the difference between two of its versions.

Invariants: `state` answers for every instant, and what it cannot know it calls unknown; the other questions raise where
there is no answer, and say which of the reasons it is. The item's changes are read once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from archiver.format.record import item_key_text, key_hints
from query.answer import Basis, Change, Outcome, State, Version
from query.blame import ItemBlame, blame, seen_by
from query.derived.by_key import Wanted
from query.derived.key_range import RowKey
from query.descriptions import Baseline
from query.diff import AttributeChange, parse_path
from query.diff import changes as attribute_changes
from query.errors import AlreadyDeleted, NotYetCreated, NoVersion, OutsideCoverage
from query.explain import explain
from query.history import ChangeRow, changes_of_item, conflict_error, versions_of
from query.instant import Instant
from query.masked import Masked
from query.plan import ReadPlan, plan_item
from query.redaction import NOTHING_REDACTED, Redaction
from query.rev import Rev
from query.shown import Shown, Tabular
from query.state import reconstruct
from query.uncollected import uncollected
from query.versioned import Versioned, version_at

if TYPE_CHECKING:
    from query.table import Table, When

_RAISE: Final = object()


@dataclass(frozen=True, slots=True, repr=False)
class ItemState(Masked, Shown):
    """The state of an item at a moment, the version that was valid then (if a change began it), and why, in words.

    `is_sealed`: every change of the item is sealed, and every baseline that was asked; None in a trail without seals.
    """

    state: State
    version: Version | None
    at: Instant | Rev
    explanation: str
    plan: ReadPlan
    is_sealed: bool | None = None
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)


@dataclass(frozen=True, slots=True, repr=False)
class Diff(Masked, Tabular):
    """What differs between two versions of an item; None stands for "no item"."""

    item_key: str
    older: Version | None
    newer: Version | None
    changes: tuple[AttributeChange, ...]
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)


class Item(Versioned):
    """One item of a table, by its key."""

    def __init__(self, table: "Table", key: Mapping[str, Any]) -> None:
        self.table = table
        self.key = dict(key)
        self.item_key = item_key_text(key).decode()

    @property
    def named(self) -> str:
        """Its key as it is named in words: masked where a key attribute is redacted."""
        return self.table.redaction.key(self.item_key)

    @property
    def redaction(self) -> Redaction:
        return self.table.redaction

    @cached_property
    def versions(self) -> list[Version]:
        """Its versions, oldest first. Raises IdentityConflict if evidence contradicts itself about the item."""
        with uncollected():
            return versions_of(self._changes, self.redaction)

    @cached_property
    def _changes(self) -> list[Change]:
        wanted = self._wanted

        def read(table: "Table") -> list[Change]:
            with table.engine.ask() as question:
                table.reader.read_items(question, wanted)
                if wanted.item is None:
                    rows = question.arrow("item_rows_without_hint", {"item_key": self.item_key})
                else:
                    rows = question.arrow("item_rows", {"item_key": self.item_key, "pk": wanted.item.pk})
            with uncollected():
                return changes_of_item(
                    table.trail, ChangeRow.all_of(rows), table.reader.tellers(), table.attribution, table.redaction
                )

        return self.table.asked(read)

    @cached_property
    def _wanted(self) -> Wanted:
        """Where its rows stand in what is sorted by key."""
        schema = self.table.key_schema
        names = tuple(attribute.name for attribute in schema.attributes) if schema else None
        pk, sk = key_hints(self.key, names)
        return Wanted() if pk is None else Wanted(item=RowKey(pk, sk, self.item_key))

    @property
    def plan(self) -> ReadPlan:
        """What its history reads: of runs, which are sorted by key, a little; and every segment beside them."""

        def planned(table: "Table") -> ReadPlan:
            parts = table.reader.parts_of_items(self._wanted)
            return plan_item(table.evidence, f"history of {self.named}", parts)

        return self.table.asked(planned)

    def plan_state(self, at: Instant) -> ReadPlan:
        """What its state at an instant reads."""
        return self.table.asked(lambda table: table.plan_item_state(at, table.moment(at), self._wanted).read)

    def state(self, when: "When" = "now", *, best_effort: bool = False) -> ItemState:
        """The item at an instant or at one of its changes; never raises for an answer that is no.

        With `best_effort` an unknown state carries the image of the best guess, if there is one; it stays unknown.
        Raises UsageError for a `when` that is none, IdentityConflict, UnreadableArchive.
        """
        at = self.table.resolve(when)
        if isinstance(at, Rev):
            return self._state_of_version(at)
        return self.table.asked(lambda table: self._state_at(table, at, best_effort=best_effort))

    def _state_at(self, table: "Table", at: Instant, *, best_effort: bool) -> ItemState:
        moment = table.moment(at)
        plan = table.plan_item_state(at, moment, self._wanted)
        states = reconstruct(
            table.engine.ask(), table.reader, table.evidence, plan, moment, [self.item_key], self._wanted
        )
        try:
            if states.conflicts:
                raise conflict_error(states.conflicts, table.redaction)
            state = next(iter(states.all()), None) or State(
                self.item_key, Outcome.UNKNOWN, Basis.NOTHING, reason="no-fact"
            )
            image = None if state.is_guess and not best_effort else state.image
            state = replace(state, image=image, redaction=self.redaction)
            version = self._version_of(state)
            words = explain(
                state, at, changes=lambda: self._changes, version=version, plan=plan, coverage=states.coverage
            )
            baselines = [baseline for baseline in (plan.floor, plan.ceiling) if baseline is not None]
            is_sealed = self._is_sealed(plan.read, baselines)
            return ItemState(state, version, at, words, plan.read, is_sealed, self.redaction)
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

    def blame(
        self,
        when: "When" = "now",
        *,
        attributes: Sequence[str] = (),
        nested: bool = False,
        removed: bool = False,
    ) -> ItemBlame:
        """Which change set each attribute that the item had then: those of top level, each nested value, or some.

        Raises NotYetCreated, AlreadyDeleted or OutsideCoverage where it had none; IdentityConflict, UsageError.
        """
        answer = self.state(when)
        if answer.state.image is None or answer.state.outcome is not Outcome.EXISTED:
            raise self._no_version(answer)
        at_ms, seen = seen_by(answer.at, answer.version, self._changes)
        rows = blame(
            seen,
            answer.state.image,
            at_ms,
            ends=self.table.ends,
            paths=[parse_path(path) for path in attributes],
            is_nested=nested,
            with_removed=removed,
        )
        shown = tuple(replace(row, redaction=self.redaction) for row in rows)
        return ItemBlame(shown, self.table.name, self.item_key, self.redaction)

    def diff(self, older: "When" = "~1", newer: "When" = "last") -> Diff:
        """The attribute changes from one moment or change to another; by default those of the last change.

        A side on which the item did not exist has no attributes. Raises OutsideCoverage where a side is not known,
        NoVersion for a change that is none of the item's, UsageError, IdentityConflict.
        """
        before, after = self._image_at(older), self._image_at(newer)
        return Diff(
            self.item_key,
            before[0],
            after[0],
            tuple(replace(one, redaction=self.redaction) for one in attribute_changes(before[1], after[1])),
            self.redaction,
        )

    def _image_at(self, when: "When") -> tuple[Version | None, str | None]:
        at = self.table.resolve(when)
        if isinstance(at, Rev):
            if at.base == "last" and at.back and at.back == len(self.versions):
                return None, self._changes[0].old_image  # what the first change says of the moment before it
            version = self._version_at(at)
            if version.image is None and version.change is not None and version.change.op != "REMOVE":
                raise OutsideCoverage(
                    f"the stream carried no image for {at.text} of {self.named}",
                    why="its view type leaves out new images",
                    hint="only a stream of type NEW_AND_OLD_IMAGES can tell",
                )
            return version, version.image
        answer = self.state(at)
        if answer.state.outcome is Outcome.UNKNOWN:
            raise self._no_version(answer)
        return answer.version, answer.state.image

    def _version_at(self, rev: Rev) -> Version:
        versions = self.versions
        if not versions:
            raise OutsideCoverage(
                f"the trail of {self.table.name} has no change of {self.named}",
                hint="check the key; ddbtrail as-of answers from baselines too",
            )
        return version_at(rev, versions, self.named)

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
            redaction=self.redaction,
        )
        words = explain(state, rev, changes=lambda: self._changes, version=version, plan=None, coverage=None)
        return ItemState(state, version, rev, words, self.plan, self._is_sealed(self.plan), self.redaction)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Its changes, in order. Raises IdentityConflict."""
        return tuple(self._changes)

    @property
    def unsealed(self) -> int:
        """How many of its changes are not sealed yet; 0 in a trail without seals."""
        return sum(change.is_sealed is False for change in self._changes)

    def _is_sealed(self, plan: ReadPlan, baselines: Sequence[Baseline] = ()) -> bool | None:
        if self.table.sealed_to_ms is None:
            return None
        if not plan.unsealed:
            return True  # and the item's changes need not be read for it
        return all(baseline.is_sealed for baseline in baselines) and all(change.is_sealed for change in self._changes)

    def _version_of(self, state: State) -> Version | None:
        """The version that a state belongs to: the one its change began, or one that began before any change."""
        if state.change_id is not None:
            for version in self.versions:
                if version.change_id == state.change_id and version.image == state.image:
                    return version
        if state.outcome is not Outcome.EXISTED:
            return None
        first = self.versions[0] if self.versions else None
        following = first.valid_from_ms if first is not None and state.basis is Basis.OLD_IMAGE else None
        return Version(self.item_key, state.image, valid_to_ms=following, redaction=self.redaction)

    def _no_version(self, answer: ItemState) -> NoVersion:
        message = f"{self.named} at {answer.at.text}: {answer.state.outcome.value}"
        match answer.state.outcome:
            case Outcome.NOT_YET_CREATED:
                return NotYetCreated(message, why=answer.explanation, hint="ask for a later instant")
            case Outcome.ALREADY_DELETED:
                last = next((version for version in reversed(self.versions) if version.image is not None), None)
                return AlreadyDeleted(
                    message, why=answer.explanation, hint="last_version holds its last content", last_version=last
                )
            case _:
                covered = self.table.coverage().covered
                hint = "state(…) gives a best-effort guess"
                return OutsideCoverage(message, why=answer.explanation, hint=hint, covered=covered)
