"""The key grammar: what people type for an item or an item collection, brought to DynamoDB JSON.

A typed key is a dict `{attribute name: {"S"|"N"|"B": text}}`, partition key first. Invariants: a key is given in one
way only: bare values in schema order, `name=value`, or JSON; types come from the key schema, so that nobody types them;
where the schema is not known, nothing is guessed and the typed form is asked for. Nothing is read but what is given.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from query.errors import KeyMismatch, UsageError
from query.key_schema import KeyAttribute, KeySchema, KeyType, mismatch, unknown_schema
from query.key_value import NumberText, tag_of, typed_value

TypedKey = dict[str, dict[str, str]]

_TYPED_EXAMPLE = """--key '{"pk":{"S":"CUST#7"},"sk":{"S":"ORDER#0001"}}'"""


def parse_key(
    schema: KeySchema | None,
    positionals: Sequence[object] = (),
    *,
    named: Sequence[str] = (),
    json_text: str | None = None,
    table: str = "this table",
) -> TypedKey:
    """The full key of one item.

    `positionals` are bare values in schema order (str, int, Decimal, bytes), or one mapping; `named` are the values
    of `--key`: `name=value`, or a JSON object. Exactly one of the ways is used. Raises KeyMismatch with the schema
    for a missing, unknown or ill-typed attribute.
    """
    key = parse_item_or_collection(schema, positionals, named=named, json_text=json_text, table=table)
    wanted = 2 if schema is None else len(schema.attributes)
    if len(key) < wanted:
        missing = "its sort key" if schema is None or schema.sort is None else schema.sort.name
        hint = f"type {_TYPED_EXAMPLE}" if schema is None else "type both values, partition key first"
        raise mismatch(schema, table, f"{missing} is missing", hint)
    return key


def parse_partition(
    schema: KeySchema | None,
    positionals: Sequence[object] = (),
    *,
    named: Sequence[str] = (),
    json_text: str | None = None,
    table: str = "this table",
) -> TypedKey:
    """The partition key alone, which names a whole item collection. Raises KeyMismatch as `parse_key` does."""
    if schema is None:
        raise unknown_schema(table, "type --key-schema pk,sk with the names of the two attributes")
    key = parse_item_or_collection(schema, positionals, named=named, json_text=json_text, table=table)
    if len(key) > 1:
        raise mismatch(schema, table, "a whole collection has no sort key", f"type {schema.partition.name} only")
    return key


def parse_item_or_collection(
    schema: KeySchema | None,
    positionals: Sequence[object] = (),
    *,
    named: Sequence[str] = (),
    json_text: str | None = None,
    table: str = "this table",
) -> TypedKey:
    """The key of an item, or of a whole collection where the sort key is left out. Raises KeyMismatch."""
    jsons = [text for text in (json_text, *named) if text is not None and text.lstrip().startswith("{")]
    pairs = [text for text in named if not text.lstrip().startswith("{")]
    mappings = [value for value in positionals if isinstance(value, Mapping)]
    if json_text is not None and json_text not in jsons:
        jsons.append(json_text)
    ways = bool(positionals) + bool(pairs) + len(jsons)
    if ways != 1 or (mappings and len(positionals) > 1):
        what = "no key was given" if not ways else "the key was given in more than one way"
        raise mismatch(schema, table, what, f"type the bare values, --key name=value for each, or {_TYPED_EXAMPLE}")
    if jsons:
        return key_of_mapping(schema, load_key_json(jsons[0]), table)
    if mappings:
        return key_of_mapping(schema, mappings[0], table)
    return _of_pairs(schema, pairs, table) if pairs else _of_positionals(schema, positionals, table)


def _of_positionals(schema: KeySchema | None, values: Sequence[object], table: str) -> TypedKey:
    if schema is None:
        raise unknown_schema(table, "type --key-schema pk,sk with the names of the two attributes")
    if len(values) > len(schema.attributes):
        what = f"{len(values)} values were given for {len(schema.attributes)}"
        raise mismatch(schema, table, what, "quote values with spaces, or type --key name=value")
    return {
        attribute.name: typed_value(schema, attribute, value, table)
        for attribute, value in zip(schema.attributes, values, strict=False)
    }


def _of_pairs(schema: KeySchema | None, pairs: Sequence[str], table: str) -> TypedKey:
    if schema is None:
        raise unknown_schema(table, f"type {_TYPED_EXAMPLE}, with the types of the two attributes")
    given: dict[str, Any] = {}
    for pair in pairs:
        name, value = _split_pair(schema, pair, table)
        if name in given:
            raise mismatch(schema, table, f"{name} was given twice", f"type --key {name}=… once")
        given[name] = value
    return key_of_mapping(schema, given, table)


def _split_pair(schema: KeySchema, pair: str, table: str) -> tuple[str, str]:
    """Name and value of `name=value`. An attribute name may hold `=` itself: names of the schema are tried first."""
    for attribute in sorted(schema.attributes, key=lambda attribute: -len(attribute.name)):
        if pair.startswith(f"{attribute.name}="):
            return attribute.name, pair[len(attribute.name) + 1 :]
    name, equals, value = pair.partition("=")
    if not equals:
        raise mismatch(schema, table, f"{pair!r} is not name=value", f"type --key {schema.partition.name}=…")
    return name, value


def key_of_mapping(schema: KeySchema | None, given: Mapping[str, Any], table: str, *, ours: bool = False) -> TypedKey:
    """A key from a mapping of bare or typed values; `ours` if we wrote it, where binary is bare base64."""
    if schema is None:
        return _of_typed_mapping(given, table)
    names = [attribute.name for attribute in schema.attributes]
    for name in given:
        if name not in names:
            raise mismatch(schema, table, f"{name!r} is not one of them", f"type --key {names[0]}=…")
    if names[0] not in given:
        raise mismatch(schema, table, f"{names[0]} is missing", f"type --key {names[0]}=…")
    return {
        attribute.name: typed_value(schema, attribute, given[attribute.name], table, ours=ours)
        for attribute in schema.attributes
        if attribute.name in given
    }


def _of_typed_mapping(given: Mapping[str, Any], table: str) -> TypedKey:
    """A key of a table whose schema is not known: every value must bear its type."""
    key: TypedKey = {}
    for name, value in given.items():
        if tag_of(value) is None:
            raise unknown_schema(table, f"type {_TYPED_EXAMPLE}, with the types of the two attributes")
        tag: KeyType = tag_of(value) or "S"
        attribute = KeyAttribute(name, tag)
        key[name] = typed_value(KeySchema(attribute), attribute, value, table)
    if len(key) > 2:  # noqa: PLR2004  a key has one or two
        raise KeyMismatch(f"a key of {table} has at most two attributes", hint=f"type {_TYPED_EXAMPLE}")
    return key


def load_key_json(text: str) -> dict[str, Any]:
    """A JSON object, numbers as they were written, a name twice refused."""
    try:
        loaded = json.loads(
            text,
            parse_int=NumberText,
            parse_float=NumberText,
            parse_constant=_refuse_constant,
            object_pairs_hook=_distinct_names,
        )
    except (ValueError, RecursionError) as error:
        raise _not_json(text, str(error)) from error
    if not isinstance(loaded, dict):
        raise _not_json(text, "it is not an object")
    return loaded


def _not_json(text: str, why: str) -> UsageError:
    shown = text if len(text) <= 60 else f"{text[:60]}…"  # noqa: PLR2004  one line of a terminal
    return UsageError(f"{shown!r} is not a key in JSON", why=why, hint=f"type {_TYPED_EXAMPLE}")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a value of a key")


def _distinct_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands in it twice")
    return found
