"""A file of keys in JSON Lines, or of our own output.

Invariants: a key counts once, at its first appearance; a mistake names its line; the number of keys is limited.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from query.errors import UsageError
from query.key import TypedKey, key_of_mapping, load_key_json, parse_key
from query.key_schema import KeySchema
from query.redaction import NOTHING_REDACTED, Redaction

KEYS_LIMIT = 1_000_000  # keys in one file: more is a question about the table, not about items


def parse_keys_file(
    schema: KeySchema | None,
    lines: Iterable[str],
    *,
    table: str = "this table",
    redaction: Redaction = NOTHING_REDACTED,
) -> list[TypedKey]:
    """The keys in JSON Lines, each once, in the order of first appearance.

    A line is a key as after `--key`, or a line of our own output, whose `item_key` is taken. Empty lines are passed
    over. Raises KeyMismatch or UsageError naming the line, counted from 1, also for a mask of `redaction`.
    """
    return distinct(_of_lines(schema, lines, table), redaction)


def distinct(keys: Iterable[tuple[str, TypedKey]], redaction: Redaction = NOTHING_REDACTED) -> list[TypedKey]:
    """Each key once, in the order of first appearance; keys come with their places: `line 4`.

    Raises UsageError for more than `KEYS_LIMIT`, and for a mask in place of a value that `redaction` hides.
    """
    found: dict[str, TypedKey] = {}
    for place, key in keys:
        with named(place):
            redaction.refuse_masks(key)
        found.setdefault(json.dumps(key, sort_keys=True), key)
        if len(found) > KEYS_LIMIT:
            raise UsageError(
                f"{place}: more than {KEYS_LIMIT} keys",
                why="that many items are quicker read as a table",
                hint="use as-of or log with --where, or split the file",
            )
    return list(found.values())


def _of_lines(schema: KeySchema | None, lines: Iterable[str], table: str) -> Iterator[tuple[str, TypedKey]]:
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("\ufeff")
        if not text:
            continue
        place = f"line {number}"
        with named(place):
            key = key_of_line(schema, text, table)
        yield place, key


@contextmanager
def named(place: str) -> Iterator[None]:
    """Says of an error where it is."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{place}: {error.message}", why=error.why, hint=error.hint) from error


def key_of_line(schema: KeySchema | None, text: str, table: str) -> TypedKey:
    """One key in JSON, as after `--key`, or in a line of our own output. Raises KeyMismatch or UsageError."""
    line = load_key_json(text)
    key_names = () if schema is None else tuple(attribute.name for attribute in schema.attributes)
    ours = "item_key" not in key_names and isinstance(line.get("item_key"), Mapping)
    key = key_of_mapping(schema, line["item_key"] if ours else line, table, ours=ours)
    return parse_key(schema, [key], table=table)
