"""The history of an item as people read it: newest change first, what changed marked with + - and ~, like a log.

orders  pk=CUST#7 sk=ORDER#0001        times are UTC, 1 s resolution

@9f31c2  2026-09-28 12:27:04Z  MODIFY  bob            2 attributes
    ~ status   "PAID" → "SHIPPED"
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from archiver.format.values import plain, plain_attributes
from query.actor import Actor
from query.diff import AttributeChange
from query.instant import format_ms
from query.redaction import Redaction
from query.render.ids import short_ids
from query.render.sheet import dump, local_text
from query.render.text import Look, counted, elide, pad, visible, width_of
from query.render.views import ChangeView

_INDENT: Final = "    "
_WIDEST_PATH: Final = 32  # paths beyond it do not push every value to the right
_SHOWN_OF_WHOLE_ITEM: Final = 2  # attributes shown of an item that appears or goes, unless all are asked for
_NOT_CARRIED: Final = "what changed is not known: the stream carried no image of one side"


@dataclass(frozen=True, slots=True)
class Telling:
    """What a history shows: patches or one line each, and whether lines name their item (a collection, many keys)."""

    look: Look
    with_patches: bool = False
    names_items: bool = False


def key_text(item_key: str, redaction: Redaction) -> str:
    """`pk=CUST#7 sk=ORDER#0001`."""
    masked = redaction.image(item_key)
    assert masked is not None
    values = plain_attributes(orjson.loads(masked))
    return " ".join(f"{visible(name)}={_bare(value)}" for name, value in values.items())


def heading(table_name: str, named: str, look: Look) -> str:
    """The first line: which item, and what the times are."""
    line = f"{look.paint(table_name, 'head')}  {named}"
    note = "times are UTC, 1 s resolution"
    gap = max(2, 39 - width_of(table_name) - 2 - width_of(named))
    together = width_of(table_name) + 2 + width_of(named) + gap + len(note)
    if look.width is not None and together > look.width:
        return f"{line}\n{look.paint(note, 'dim')}\n"
    return f"{line}{' ' * gap}{look.paint(note, 'dim')}\n"


def story(views: Sequence[ChangeView], telling: Telling) -> Iterator[str]:
    """The changes, each a line, with patches one more for each changed attribute."""
    names = short_ids(view.change.change_id for view in views)
    id_width = max(map(len, names.values()), default=0)
    actor_width = max((width_of(_actor(view)) for view in views), default=0)
    for view in views:
        yield _line(view, visible(names[view.change.change_id]), id_width, actor_width, telling)
        if telling.with_patches:
            yield from _patch(view, telling.look)


def patch_lines(changes: Sequence[AttributeChange], look: Look, indent: str = "") -> Iterator[str]:
    """`~ status   "PAID" → "SHIPPED"`, one line for each attribute."""
    paths = [visible(change.path) for change in changes]
    path_width = min(max(map(width_of, paths), default=0), _WIDEST_PATH)
    for change, path in zip(changes, paths, strict=True):
        room = None if look.width is None or look.is_full else look.width - len(indent) - 2
        yield f"{indent}{look.paint(change.kind, change.kind)} {_elided(pad(path, path_width), change, room)}\n"


def _line(view: ChangeView, name: str, id_width: int, actor_width: int, telling: Telling) -> str:
    change, look = view.change, telling.look
    time = format_ms(change.changed_at_ms).replace("T", " ")
    if look.zone is not None:
        time += f" ({local_text(change.changed_at_ms, look.zone).replace('T', ' ')})"
    parts = [look.paint(pad(name, id_width), "id"), time, change.op]
    if actor_width:
        parts.append(pad(_actor(view), actor_width))
    if telling.names_items:
        parts.append(key_text(change.item_key, view.redaction))
    attributes = view.changed_attributes
    parts.append("? attributes" if attributes is None else counted(len(attributes), "attribute"))
    return "  ".join(parts).rstrip() + "\n"


def _patch(view: ChangeView, look: Look) -> Iterator[str]:
    if view.changes is None:
        yield f"{_INDENT}{_NOT_CARRIED}\n"
        return
    is_whole = view.change.op != "MODIFY"
    shown = view.changes
    if is_whole and not look.is_full and len(shown) > _SHOWN_OF_WHOLE_ITEM + 1:
        keys = orjson.loads(view.change.item_key)
        shown = tuple(change for change in shown if change.path not in keys)[:_SHOWN_OF_WHOLE_ITEM]
    yield from patch_lines(shown, look, _INDENT)
    if len(shown) < len(view.changes):
        yield f"{_INDENT}… {len(view.changes) - len(shown)} more (--full)\n"


def _elided(path: str, change: AttributeChange, room: int | None) -> str:
    """Path and values within `room` cells, both sides of a change given the same share."""
    values = [visible(dump(plain(value))) for value in (change.old_value, change.new_value) if value is not None]
    arrow = " → "
    if room is not None:
        path = elide(path, max(room // 2, 8))
        share = (room - width_of(path) - 2 - len(arrow) * (len(values) - 1)) // len(values)
        values = [elide(value, max(share, 1)) for value in values]
    return f"{path}  {arrow.join(values)}"


def _actor(view: ChangeView) -> str:
    return actor_text(view.made_by)


def actor_text(actor: Actor) -> str:
    """`bob`, or `bob?` where the change only carries the name along; nothing where nobody is named."""
    return "" if actor.name is None else visible(actor.name) + ("" if actor.is_certain else "?")


def _bare(value: object) -> str:
    """A key value as it would be typed."""
    return visible(value) if isinstance(value, str) else visible(dump(value))
