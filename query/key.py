"""The key grammar: what people type for an item, an item collection or a table, brought to DynamoDB JSON.

A typed key is a dict `{attribute name: {"S"|"N"|"B": text}}`, partition key first: numbers in their normal form,
binary in padded base64, as in `item_key`. Types come from the key schema, so that nobody types them; where the
schema is not known, nothing is guessed and the typed form is asked for. Nothing is read but what is given.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from archiver.format.keytext import key_text
from archiver.format.values import normal_number
from query.errors import KeyMismatch, UsageError

KeyType = Literal["S", "N", "B"]
TypedKey = dict[str, dict[str, str]]

KEYS_LIMIT = 1_000_000  # keys in one file: more is a question about the table, not about items

_TYPE_NAMES: Mapping[str, str] = {"S": "text", "N": "a number", "B": "binary"}
_TAGS: Mapping[str, KeyType] = {"S": "S", "N": "N", "B": "B"}
_TYPED_EXAMPLE = """--key '{"pk":{"S":"CUST#7"},"sk":{"S":"ORDER#0001"}}'"""

# Names of tables and accounts: "Naming Rules" in the DynamoDB developer guide; emulators use regions of their own.
_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}", re.ASCII)
_SLASHED = re.compile(
    rf"(?:(?:(?P<account>\d{{12}})/)?(?P<region>[a-z0-9-]{{1,40}})/)?(?P<name>{_TABLE_NAME.pattern})", re.ASCII
)
_ARN = re.compile(
    r"arn:[a-z-]+:dynamodb:(?P<region>[a-z0-9-]{1,40}):(?P<account>\d{12}):"
    rf"table/(?P<name>{_TABLE_NAME.pattern})(?:/stream/[^/]+)?",
    re.ASCII,
)


class _NumberText(str):
    """A number of a JSON text, digits as they were written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a key: its name and DynamoDB type."""

    name: str
    type: KeyType


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The partition key of a table, and its sort key if it has one."""

    partition: KeyAttribute
    sort: KeyAttribute | None = None

    @property
    def attributes(self) -> tuple[KeyAttribute, ...]:
        """Partition key first."""
        return (self.partition,) if self.sort is None else (self.partition, self.sort)

    @property
    def text(self) -> str:
        """`customer_id (N), order_date (S)`."""
        return ", ".join(f"{attribute.name} ({attribute.type})" for attribute in self.attributes)


@dataclass(frozen=True, slots=True)
class SortCondition:
    """Which items of a collection: those whose sort key begins with `low`, or lies in `low … high`, both included.

    `low` and `high` are typed values such as `{"S": "ORDER#"}`; `high` is None for a prefix.
    """

    name: str
    kind: Literal["prefix", "between"]
    low: dict[str, str]
    high: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class TableRef:
    """A table as far as it was named: None matches any account, any region."""

    account: str | None
    region: str | None
    table_name: str

    @property
    def text(self) -> str:
        """`account/region/name`, as far as known; `parse_table_ref` reads it back."""
        return "/".join(part for part in (self.account, self.region, self.table_name) if part is not None)


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
        raise _mismatch(schema, table, f"{missing} is missing", hint)
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
        raise _unknown_schema(table, "type --key-schema pk,sk with the names of the two attributes")
    key = parse_item_or_collection(schema, positionals, named=named, json_text=json_text, table=table)
    if len(key) > 1:
        raise _mismatch(schema, table, "a whole collection has no sort key", f"type {schema.partition.name} only")
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
        raise _mismatch(schema, table, what, f"type the bare values, --key name=value for each, or {_TYPED_EXAMPLE}")
    if jsons:
        return _of_mapping(schema, _load_json(jsons[0]), table)
    if mappings:
        return _of_mapping(schema, mappings[0], table)
    return _of_pairs(schema, pairs, table) if pairs else _of_positionals(schema, positionals, table)


def parse_keys_file(schema: KeySchema | None, lines: Iterable[str], *, table: str = "this table") -> list[TypedKey]:
    """The keys in JSON Lines, each once, in the order of first appearance.

    A line is a key as after `--key`, or a line of our own output, whose `item_key` is taken. Empty lines are passed
    over. Raises KeyMismatch or UsageError naming the line, counted from 1.
    """
    keys: dict[str, TypedKey] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("\ufeff")
        if not text:
            continue
        try:
            key = _of_line(schema, text, table)
        except UsageError as error:
            raise type(error)(f"line {number}: {error.message}", why=error.why, hint=error.hint) from error
        keys.setdefault(json.dumps(key, sort_keys=True), key)
        if len(keys) > KEYS_LIMIT:
            raise UsageError(
                f"line {number}: more than {KEYS_LIMIT} keys",
                why="that many items are quicker read as a table",
                hint="use as-of or log with --where, or split the file",
            )
    return list(keys.values())


def parse_sort_condition(
    schema: KeySchema | None,
    *,
    prefix: object = None,
    between: tuple[object, object] | None = None,
    table: str = "this table",
) -> SortCondition | None:
    """The condition of `--sk-prefix A` or `--sk-between A B` (both included); None if neither is given.

    Raises KeyMismatch if the table has no sort key, a prefix is asked of a number, or A is greater than B.
    """
    if prefix is None and between is None:
        return None
    if schema is None:
        raise _unknown_schema(table, "type --key-schema pk,sk with the names of the two attributes")
    sort = schema.sort
    if sort is None:
        raise _mismatch(schema, table, "it has no sort key", "leave --sk-prefix and --sk-between out")
    if prefix is not None and between is not None:
        raise _mismatch(schema, table, "two conditions on one sort key", "type --sk-prefix or --sk-between, not both")
    if between is None:
        if sort.type == "N":
            raise _mismatch(schema, table, "a number has no prefix", "type --sk-between A B")
        return SortCondition(sort.name, "prefix", _typed(schema, sort, prefix, table))
    low, high = (_typed(schema, sort, end, table) for end in between)
    if key_text(low) > key_text(high):
        what = f"{between[0]!r} is greater than {between[1]!r}"
        raise _mismatch(schema, table, what, "type the lower end first")
    return SortCondition(sort.name, "between", low, high)


def parse_table_ref(text: str) -> TableRef:
    """A table named by `name`, `region/name`, `account/region/name`, or the ARN of the table or of its stream.

    Raises UsageError.
    """
    found = _ARN.fullmatch(text) or _SLASHED.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} does not name a table",
            why="a table is name, region/name, account/region/name, or the ARN of the table or its stream",
            hint="type orders, eu-west-1/orders or 111122223333/eu-west-1/orders",
        )
    return TableRef(found["account"], found["region"], found["name"])


def parse_key_schema(text: str) -> tuple[str, ...]:
    """`pk,sk` or `id`: the names of the key attributes, partition key first. Raises UsageError."""
    names = tuple(name.strip() for name in text.split(","))
    if len(names) > 2 or "" in names or len(set(names)) < len(names):  # noqa: PLR2004  a key has one or two
        raise UsageError(
            f"{text!r} is not a key schema",
            why="a key has a partition key and at most one sort key, by different names",
            hint="type --key-schema pk,sk with the names of the attributes",
        )
    return names


def parse_key_schemas(text: str) -> dict[str, tuple[str, ...]]:
    """`orders=pk,sk;customers=id`, as in DDBTRAIL_KEY_SCHEMA: key attributes by table name. Raises UsageError."""
    schemas: dict[str, tuple[str, ...]] = {}
    for entry in (part.strip() for part in text.split(";")):
        if not entry:
            continue
        table_name, equals, names = (part.strip() for part in entry.partition("="))
        if not equals or _TABLE_NAME.fullmatch(table_name) is None or table_name in schemas:
            raise UsageError(
                f"{entry!r} is not the key schema of a table",
                why=f"in {text!r} each table has one entry, name=attributes",
                hint="type orders=pk,sk;customers=id",
            )
        schemas[table_name] = parse_key_schema(names)
    return schemas


# --- ways to give a key ---


def _of_positionals(schema: KeySchema | None, values: Sequence[object], table: str) -> TypedKey:
    if schema is None:
        raise _unknown_schema(table, "type --key-schema pk,sk with the names of the two attributes")
    if len(values) > len(schema.attributes):
        what = f"{len(values)} values were given for {len(schema.attributes)}"
        raise _mismatch(schema, table, what, "quote values with spaces, or type --key name=value")
    return {
        attribute.name: _typed(schema, attribute, value, table)
        for attribute, value in zip(schema.attributes, values, strict=False)
    }


def _of_pairs(schema: KeySchema | None, pairs: Sequence[str], table: str) -> TypedKey:
    if schema is None:
        raise _unknown_schema(table, f"type {_TYPED_EXAMPLE}, with the types of the two attributes")
    given: dict[str, Any] = {}
    for pair in pairs:
        name, value = _split_pair(schema, pair, table)
        if name in given:
            raise _mismatch(schema, table, f"{name} was given twice", f"type --key {name}=… once")
        given[name] = value
    return _of_mapping(schema, given, table)


def _split_pair(schema: KeySchema, pair: str, table: str) -> tuple[str, str]:
    """Name and value of `name=value`. An attribute name may hold `=` itself: names of the schema are tried first."""
    for attribute in sorted(schema.attributes, key=lambda attribute: -len(attribute.name)):
        if pair.startswith(f"{attribute.name}="):
            return attribute.name, pair[len(attribute.name) + 1 :]
    name, equals, value = pair.partition("=")
    if not equals:
        raise _mismatch(schema, table, f"{pair!r} is not name=value", f"type --key {schema.partition.name}=…")
    return name, value


def _of_mapping(schema: KeySchema | None, given: Mapping[str, Any], table: str, *, ours: bool = False) -> TypedKey:
    """A key from a mapping of bare or typed values; `ours` if we wrote it, where binary is bare base64."""
    if schema is None:
        return _of_typed_mapping(given, table)
    names = [attribute.name for attribute in schema.attributes]
    for name in given:
        if name not in names:
            raise _mismatch(schema, table, f"{name!r} is not one of them", f"type --key {names[0]}=…")
    if names[0] not in given:
        raise _mismatch(schema, table, f"{names[0]} is missing", f"type --key {names[0]}=…")
    return {
        attribute.name: _typed(schema, attribute, given[attribute.name], table, ours=ours)
        for attribute in schema.attributes
        if attribute.name in given
    }


def _of_typed_mapping(given: Mapping[str, Any], table: str) -> TypedKey:
    """A key of a table whose schema is not known: every value must bear its type."""
    key: TypedKey = {}
    for name, value in given.items():
        if _tag_of(value) is None:
            raise _unknown_schema(table, f"type {_TYPED_EXAMPLE}, with the types of the two attributes")
        tag: KeyType = _tag_of(value) or "S"
        attribute = KeyAttribute(name, tag)
        key[name] = _typed(KeySchema(attribute), attribute, value, table)
    if len(key) > 2:  # noqa: PLR2004  a key has one or two
        raise KeyMismatch(f"a key of {table} has at most two attributes", hint=f"type {_TYPED_EXAMPLE}")
    return key


def _of_line(schema: KeySchema | None, text: str, table: str) -> TypedKey:
    line = _load_json(text)
    key_names = () if schema is None else tuple(attribute.name for attribute in schema.attributes)
    ours = "item_key" not in key_names and isinstance(line.get("item_key"), Mapping)
    key = _of_mapping(schema, line["item_key"] if ours else line, table, ours=ours)
    return parse_key(schema, [key], table=table)


def _load_json(text: str) -> dict[str, Any]:
    """A JSON object, numbers as they were written, a name twice refused."""
    try:
        loaded = json.loads(
            text,
            parse_int=_NumberText,
            parse_float=_NumberText,
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


# --- values ---


def _tag_of(value: object) -> KeyType | None:
    """The type that a value bears in DynamoDB JSON, None if it is bare."""
    if isinstance(value, Mapping) and len(value) == 1:
        (tag,) = value
        return _TAGS.get(tag)
    return None


def _typed(schema: KeySchema, attribute: KeyAttribute, value: Any, table: str, *, ours: bool = False) -> dict[str, str]:
    """`{type: text}` of a bare or typed value. Raises KeyMismatch with the schema."""
    bare, is_base64 = value, ours
    if isinstance(value, Mapping):
        tag = _tag_of(value)
        if tag != attribute.type or type(value[tag]) is not str:
            spelled = json.dumps({attribute.name: {attribute.type: "…"}}, ensure_ascii=False)
            what = f"{json.dumps(value, default=str)} is not a value of {attribute.name}"
            raise _mismatch(schema, table, what, f"type --key '{spelled}' with the value as text")
        bare, is_base64 = value[tag], True
    try:
        return {attribute.type: _text_of(attribute.type, bare, is_base64=is_base64)}
    except ValueError as error:
        raise _mismatch(schema, table, str(error), _example(attribute)) from error


def _text_of(key_type: KeyType, value: object, *, is_base64: bool) -> str:
    match key_type:
        case "S":
            return _text(value)
        case "N":
            return _number(value)
        case "B":
            return _binary(value, is_base64=is_base64)


def _text(value: object) -> str:
    if not isinstance(value, str) or isinstance(value, _NumberText):
        raise ValueError(f"{_shown(value)} is not text")
    if not value:
        raise ValueError("'' is empty, and a key never is")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{value!r} is not valid Unicode") from error
    return value


def _number(value: object) -> str:
    """The normal form. A float is refused: 0.1 is not the number that it looks like."""
    if not isinstance(value, str | int | Decimal):
        raise ValueError(f"{_shown(value)} is not a number")
    try:
        number = normal_number(str(value))
    except ValueError as error:
        raise ValueError(f"{_shown(value)} is not a number") from error
    key_text({"N": number})  # refuses what no key of DynamoDB can hold
    return number


def _binary(value: object, *, is_base64: bool) -> str:
    """Padded base64 of `b64:…`, `hex:…`, bytes, or of bare base64 where a machine wrote it."""
    if isinstance(value, bytes | bytearray | memoryview):
        octets = bytes(value)
    elif isinstance(value, str) and not isinstance(value, _NumberText):
        octets = _octets(value, is_base64=is_base64)
    else:
        raise ValueError(f"{_shown(value)} is not binary")
    if not octets:
        raise ValueError(f"{_shown(value)} is empty, and a key never is")
    return base64.b64encode(octets).decode()


def _octets(text: str, *, is_base64: bool) -> bytes:
    form, colon, digits = text.partition(":")
    try:
        if colon and form == "hex":
            return bytes.fromhex(digits)
        if colon and form == "b64":
            return base64.b64decode(digits, validate=True)
        if is_base64:
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"{text!r} is not binary: {str(error).lower()}") from error
    raise ValueError(f"{text!r} is not binary: it begins with neither b64: nor hex:")


def _shown(value: object) -> str:
    shown = repr(str(value)) if isinstance(value, str) else f"{value} ({type(value).__name__})"
    return shown if len(shown) <= 60 else f"{shown[:60]}…"  # noqa: PLR2004  one line of a terminal


# --- errors ---


def _mismatch(schema: KeySchema | None, table: str, what: str, hint: str) -> KeyMismatch:
    known = f"{table} has keys: {schema.text}" if schema else f"the key schema of {table} is not known"
    return KeyMismatch(f"{known}. {what}", hint=hint)


def _example(attribute: KeyAttribute) -> str:
    forms = {"S": "the text as it is", "N": "digits, as in 42 or -0.5", "B": "b64:3q2+7w== or hex:deadbeef"}
    return f"type {attribute.name} as {_TYPE_NAMES[attribute.type]}: {forms[attribute.type]}"


def _unknown_schema(table: str, hint: str) -> KeyMismatch:
    return KeyMismatch(
        f"the key schema of {table} is not known",
        why="its key has two attributes, and the stream does not say which of them is the partition key",
        hint=hint,
    )
