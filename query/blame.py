"""Which change set each attribute of an item last, and how often it changed. Pure; `docs/answers.md`, *Blame*.

An item is followed from one observation to the next: what each change found (its old image), what it left (its new
one), and at last its state at the instant asked about. Two observations that differ name who was between them: one
change, none (then it is missing), or several. Invariants: a change is blamed only for what lies between its own
neighbours; what no recorded change can have done is put down to none, with a reason; a life of the item begins where it
did not exist.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from query.answer import Change, Version
from query.coverage import TableEnd
from query.diff import Step, at_path, changes, compose_path
from query.instant import Instant
from query.masked import Masked
from query.redaction import NOTHING_REDACTED, Redaction
from query.rev import Rev
from query.shown import Tabular

BEFORE_FIRST: Final = "before-first"  # it had this value when the first recorded change found the item
NOT_RECORDED: Final = "not-recorded"  # it changed between two recorded changes, and no record tells of it
ONE_OF_SEVERAL: Final = "one-of-several"  # several changes in a row carried no image to tell which of them it was
TOLD_BY_NEIGHBOUR: Final = (
    "told-by-neighbour"  # the change carried one image only; the one before or after tells the rest
)

Steps = tuple[Step, ...]
Image = Mapping[str, Any]
_ABSENT: Final[Image] = {}


@dataclass(frozen=True, slots=True, repr=False)
class Blame(Masked):
    """One attribute: its value (DynamoDB JSON, None if it is removed), and the change that set it so.

    `change` is None where no recorded change can be blamed; `reason` says why, or that blame rests on a neighbour.
    It happened at or after `since_ms` and at or before `until_ms` (effective times, epoch ms; None: open).
    `times_changed` counts the recorded changes that changed it, since the item was last created.
    """

    path: str
    steps: Steps
    value: Mapping[str, Any] | None
    change: Change | None
    reason: str | None
    since_ms: int | None
    until_ms: int | None
    times_changed: int
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)

    @property
    def is_removed(self) -> bool:
        """Whether the item has no such attribute any more."""
        return self.value is None


@dataclass(frozen=True, slots=True, repr=False)
class ItemBlame(Masked, Tabular):
    """The attributes of one item, to be counted, indexed, iterated, and sliced into fewer."""

    rows: tuple[Blame, ...]
    table_name: str
    item_key: str
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Blame]:
        return iter(self.rows)

    # As of a history, not `@overload`.
    def __getitem__(self, index: int | slice) -> Any:
        return self.rows[index] if isinstance(index, int) else replace(self, rows=self.rows[index])


@dataclass(slots=True)
class _Touch:
    """The last time that an attribute changed."""

    change: Change | None
    reason: str | None
    since_ms: int | None
    until_ms: int | None
    times: int


class _Life:
    """What is known of each attribute since the item was last created; every path that ever changed, at any depth."""

    def __init__(self) -> None:
        self.touches: dict[Steps, _Touch] = {}
        self.first = _Touch(None, BEFORE_FIRST, None, None, 0)  # of what never changed since the item was first found
        self._image: Image | None = None  # the last observation that is known
        self._between: list[Change] = []  # changes since then
        self._is_own = False  # the last observation is what the one change since then found
        self._last_ms: int | None = None
        self._parsed: tuple[str, Image] = ("", {})  # what a change left is mostly what the next one finds

    def see(self, change: Change) -> None:
        """What a change found, and what it left."""
        before = _ABSENT if change.op == "INSERT" else self._read(change.old_image)
        if before is not None:
            self._observe(before, change.effective_ms)
        self._is_own = before is not None
        self._between.append(change)
        after = _ABSENT if change.op == "REMOVE" else self._read(change.new_image)
        if after is not None:
            self._observe(after, change.effective_ms)
        self._is_own = False

    def end_of_table(self) -> None:
        """The table was deleted and made again: no REMOVE tells of it."""
        self._observe(_ABSENT, self._last_ms)

    def end(self, image: Image, at_ms: int | None) -> None:
        """What the item is at last."""
        self._observe(image, at_ms)

    def _read(self, image: str | None) -> Image | None:
        if image is None:
            return None
        if image != self._parsed[0]:
            self._parsed = image, orjson.loads(image)
        return self._parsed[1]

    def _observe(self, image: Image, at_ms: int | None) -> None:
        if self._image is None:
            self.first = _Touch(None, ONE_OF_SEVERAL if self._between else BEFORE_FIRST, None, at_ms, 0)
        elif image is not _ABSENT and self._image != image:
            self._touch(self._image, image, at_ms)
        if image is _ABSENT:
            self.touches = {}
        self._image, self._between, self._is_own = image, [], False
        self._last_ms = at_ms

    def _touch(self, before: Image, after: Image, at_ms: int | None) -> None:
        change, reason = self._culprit()
        since_ms = self._last_ms if reason else at_ms
        for path in _differing(before, after):
            times = self.touches[path].times if path in self.touches else 0
            counted = times + (change is not None)
            self.touches[path] = _Touch(change, reason, since_ms, at_ms, counted)

    def _culprit(self) -> tuple[Change | None, str | None]:
        if not self._between:
            return None, NOT_RECORDED
        if len(self._between) > 1:
            return None, ONE_OF_SEVERAL
        return self._between[0], None if self._is_own else TOLD_BY_NEIGHBOUR


def seen_by(at: Instant | Rev, version: Version | None, changes: Sequence[Change]) -> tuple[int | None, list[Change]]:
    """The time of an answer (epoch ms), and those of an item's changes that it includes: up to an instant, or up to the
    one that a revision names.
    """
    if isinstance(at, Instant):
        return at.ms, [change for change in changes if change.effective_ms <= at.ms]
    last = None if version is None else version.change
    if last is None:
        return None, []
    return last.effective_ms, [change for change in changes if change.order <= last.order]


def blame(
    seen: Sequence[Change],
    image: str,
    at_ms: int | None,
    *,
    ends: Sequence[TableEnd] = (),
    paths: Sequence[Steps] = (),
    is_nested: bool = False,
    with_removed: bool = False,
) -> tuple[Blame, ...]:
    """The attributes of an item whose image is `image` at `at_ms`, after the changes `seen` (all of them, in order).

    By default those of top level; with `is_nested` each value that holds no other; or those at `paths`. Removed ones
    are those that went since the item was last created: asked for with `with_removed`, or by path.
    """
    life, label = _Life(), ""
    for change in seen:
        if any(label < end.stream_label <= change.stream_label for end in ends if label):
            life.end_of_table()
        life.see(change)
        label = change.stream_label
    if any(label < end.stream_label and (at_ms is None or end.at_ms <= at_ms) for end in ends if label):
        life.end_of_table()
    item = orjson.loads(image)
    life.end(item, at_ms)
    chosen = list(paths) or list(_leaves({"M": item}) if is_nested else ((name,) for name in sorted(item)))
    if with_removed and not paths:
        chosen += sorted(_removed(life, item, is_nested=is_nested), key=compose_path)
    return tuple(row for path in chosen if (row := _row(life, item, path)) is not None)


def _row(life: _Life, item: Image, path: Steps) -> Blame | None:
    value, touch = at_path({"M": item}, path), life.touches.get(path)
    if value is None and touch is None:
        return None
    touch = touch or life.first
    return Blame(
        compose_path(path), path, value, touch.change, touch.reason, touch.since_ms, touch.until_ms, touch.times
    )


def _removed(life: _Life, item: Image, *, is_nested: bool) -> Iterator[Steps]:
    """The paths that led somewhere and do not any more, where what held them is still there."""
    for path in life.touches:
        is_gone = at_path({"M": item}, path) is None and at_path({"M": item}, path[:-1]) is not None
        if is_gone and (is_nested or len(path) == 1):
            yield path


def _differing(before: Image, after: Image) -> set[Steps]:
    """Every path at which the two differ: what changed, what holds it, and all that came or went with it."""
    found: set[Steps] = set()
    for change in changes(before, after):
        found.update(change.steps[:length] for length in range(1, len(change.steps) + 1))
        for value in (change.old_value, change.new_value):
            if value is not None:
                found.update(change.steps + below for below in _below(value))
    return found


def _below(value: Mapping[str, Any]) -> Iterator[Steps]:
    """Every path below a value."""
    for step, held in _inside(value):
        yield (step,)
        yield from ((step, *below) for below in _below(held))


def _leaves(value: Mapping[str, Any]) -> Iterator[Steps]:
    """The paths of those values that hold no other."""
    for step, held in _inside(value):
        below = list(_leaves(held))
        yield from ((step, *path) for path in below or [()])


def _inside(value: Mapping[str, Any]) -> Iterable[tuple[Step, Mapping[str, Any]]]:
    ((tag, content),) = value.items()
    return sorted(content.items()) if tag == "M" else enumerate(content) if tag == "L" else ()
