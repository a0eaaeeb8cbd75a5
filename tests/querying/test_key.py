"""The key grammar: bare values become typed keys by the key schema, and nothing is guessed without one."""

import base64
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import archiver.streams
from query import keys_file as key_module
from query.errors import KeyMismatch, UsageError
from query.key import parse_item_or_collection, parse_key, parse_partition
from query.key_schema import KeyAttribute, KeySchema, parse_key_schema, parse_key_schemas
from query.keys_file import parse_keys_file
from query.sort_condition import SortCondition, parse_sort_condition
from query.table_ref import TableRef, parse_table_ref

TEXTS = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))
ORDERS = KeySchema(KeyAttribute("customer_id", "N"), KeyAttribute("order_date", "S"))
BLOBS = KeySchema(KeyAttribute("id", "B"))
READINGS = KeySchema(KeyAttribute("device", "B"), KeyAttribute("at", "N"))
NAMES = {"pk": {"S": "CUST#7"}, "sk": {"S": "ORDER#0001"}}


def test_positionals_come_in_schema_order():
    """The main form: nobody types an attribute name or a type tag."""
    assert parse_key(TEXTS, ["CUST#7", "ORDER#0001"]) == NAMES
    assert list(parse_key(TEXTS, ["CUST#7", "ORDER#0001"])) == ["pk", "sk"]


@pytest.mark.parametrize(
    "ways",
    [
        {"named": ["pk=CUST#7", "sk=ORDER#0001"]},
        {"named": ["sk=ORDER#0001", "pk=CUST#7"]},
        {"named": ['{"pk":"CUST#7","sk":"ORDER#0001"}']},
        {"json_text": '{"sk":"ORDER#0001","pk":"CUST#7"}'},
        {"json_text": '{"pk":{"S":"CUST#7"},"sk":{"S":"ORDER#0001"}}'},
        {"json_text": ' {"pk":{"S":"CUST#7"},"sk":"ORDER#0001"}'},
        {"positionals": [{"pk": "CUST#7", "sk": {"S": "ORDER#0001"}}]},
    ],
)
def test_every_way_gives_the_same_key_in_the_same_order(ways):
    """The order of attributes is the schema's, so that equal keys are equal texts."""
    key = parse_key(TEXTS, **ways)
    assert key == NAMES
    assert list(key) == ["pk", "sk"]


@pytest.mark.parametrize(
    ("given_number", "text"),
    [
        ("42", "42"), ("042", "42"), ("4.20e1", "42"), ("-0", "0"), ("+7", "7"), (".5", "0.5"),
        (42, "42"), (-5, "-5"), (Decimal("1E+3"), "1000"), (Decimal("0.10"), "0.1"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        (12345678901234567890123456789012345678, "12345678901234567890123456789012345678"),
    ],
)  # fmt: skip
def test_numbers_are_brought_to_one_form(given_number, text):
    """DynamoDB keeps one spelling of a number; 38 digits pass through untouched."""
    assert parse_key(ORDERS, [given_number, "d"])["customer_id"] == {"N": text}


def test_number_text_of_json_is_never_a_float():
    """A double would lose digits of a key, and with them the item."""
    digits = "0.1234567890123456789012345678901234567"
    for text in (
        f'{{"customer_id":{digits},"order_date":"d"}}',
        f'{{"customer_id":{{"N":"{digits}"}},"order_date":"d"}}',
    ):
        assert parse_key(ORDERS, json_text=text)["customer_id"] == {"N": digits}


@pytest.mark.parametrize(
    "bad",
    [
        "abc",
        "",
        "1_000",
        "0x10",
        "NaN",
        "inf",
        "1e",
        "٣",
        0.1,
        True,
        None,
        b"1",
        Decimal("NaN"),
        "1e126",
        "1e-131",
        "9" * 39,
        [1],
    ],
)
def test_what_is_no_number_is_answered_with_the_schema(bad):
    """The schema in the answer is what the person is missing; a float is refused because it is not what it shows."""
    with pytest.raises(KeyMismatch) as caught:
        parse_key(ORDERS, [bad, "d"], table="orders")
    assert caught.value.message.startswith("orders has keys: customer_id (N), order_date (S). ")
    assert "customer_id" in caught.value.hint


def test_the_message_for_a_wrong_type():
    """The wording that `surfaces` promises."""
    with pytest.raises(KeyMismatch) as caught:
        parse_key(ORDERS, ["abc", "d"], table="orders")
    assert str(caught.value) == "orders has keys: customer_id (N), order_date (S). 'abc' is not a number"
    assert (caught.value.exit_code, caught.value.code) == (2, "key-mismatch")


@pytest.mark.parametrize("bad", ["", 5, b"x", True, None, "\ud800", Decimal(5), ["x"]])
def test_what_is_no_text_is_refused(bad):
    """A number given for a text key is a slip worth telling; an empty key value does not exist in DynamoDB."""
    with pytest.raises(KeyMismatch, match="pk \\(S\\), sk \\(S\\)"):
        parse_key(TEXTS, [bad, "x"])


def test_a_json_number_is_not_text():
    """`{"pk": 7}` for a text key is a mistake, not "7"."""
    with pytest.raises(KeyMismatch, match="'7' is not text"):
        parse_key(TEXTS, json_text='{"pk":7,"sk":"x"}')


@pytest.mark.parametrize(
    ("value", "octets"),
    [("b64:3q2+7w==", "deadbeef"), ("hex:deadbeef", "deadbeef"), ("hex:DEADBEEF", "deadbeef"), (b"\x00", "00"),
     (bytearray(b"ab"), "6162"), (memoryview(b"ab"), "6162")],
)  # fmt: skip
def test_binary_keys_take_base64_hex_and_bytes(value, octets):
    """Whatever the spelling, the typed key holds padded base64, as evidence does."""
    assert parse_key(BLOBS, [value]) == {"id": {"B": base64.b64encode(bytes.fromhex(octets)).decode()}}


@pytest.mark.parametrize(
    "bad",
    [
        "deadbeef",
        "b64:3q2+7w",
        "b64:3q2+ 7w==",
        "b64:3q2-7w==",
        "b64:",
        "hex:",
        "hex:abc",
        "hex:xy",
        "",
        b"",
        5,
        "B64:aa==",
    ],
)
def test_what_is_no_binary_is_refused(bad):
    """`deadbeef` is both hex and base64 of different bytes, so a bare text is never taken."""
    with pytest.raises(KeyMismatch, match="id \\(B\\)"):
        parse_key(BLOBS, [bad])


@pytest.mark.parametrize(
    ("schema", "ways", "what"),
    [
        (ORDERS, {"positionals": ["1"]}, "order_date is missing"),
        (ORDERS, {"named": ["order_date=d"]}, "customer_id is missing"),
        (ORDERS, {"named": ["customer_id=1", "colour=red"]}, "'colour' is not one of them"),
        (ORDERS, {"named": ["customer_id=1", "customer_id=2"]}, "customer_id was given twice"),
        (ORDERS, {"named": ["customer_id"]}, "'customer_id' is not name=value"),
        (ORDERS, {"positionals": ["1", "d", "e"]}, "3 values were given for 2"),
        (ORDERS, {}, "no key was given"),
        (ORDERS, {"positionals": ["1", "d"], "named": ["customer_id=1"]}, "more than one way"),
        (ORDERS, {"named": ['{"customer_id":1}', "order_date=d"]}, "more than one way"),
        (ORDERS, {"positionals": [{"customer_id": 1}, "d"]}, "more than one way"),
        (ORDERS, {"json_text": '{"customer_id":{"S":"1"},"order_date":"d"}'}, "is not a value of customer_id"),
        (ORDERS, {"json_text": '{"customer_id":{"N":1},"order_date":"d"}'}, "is not a value of customer_id"),
        (ORDERS, {"json_text": '{"customer_id":{"M":{}},"order_date":"d"}'}, "is not a value of customer_id"),
        (ORDERS, {"json_text": '{"customer_id":[1],"order_date":"d"}'}, "is not a number"),
        (BLOBS, {"positionals": [b"x", b"y"]}, "2 values were given for 1"),
    ],
)
def test_a_key_that_does_not_fit_is_answered_with_the_schema(schema, ways, what):
    """A key half understood would ask for another item."""
    with pytest.raises(KeyMismatch) as caught:
        parse_key(schema, **ways, table="orders")
    assert caught.value.message.startswith(f"orders has keys: {schema.text}. ")
    assert what in caught.value.message


@pytest.mark.parametrize(
    "text", ['{"pk"', '{"pk":NaN,"sk":"x"}', '{"pk":"a","pk":"b","sk":"x"}', '["a","b"]', '"a"', "", "[" * 100_000]
)
def test_json_that_is_no_key_is_refused(text):
    """A name twice has no meaning in JSON: one reader takes the first, another the last."""
    with pytest.raises(UsageError):
        parse_key(TEXTS, json_text=text)


def test_attribute_names_and_values_may_hold_an_equals_sign():
    """DynamoDB allows any UTF-8 name; the schema tells where the name ends."""
    schema = KeySchema(KeyAttribute("a", "S"), KeyAttribute("a=b", "S"))
    assert parse_key(schema, named=["a=b=c", "a=x=y"]) == {"a": {"S": "x=y"}, "a=b": {"S": "c"}}


def test_the_partition_key_alone_names_a_collection():
    """One positional of a composite key is the whole item collection."""
    assert parse_partition(ORDERS, ["42"]) == {"customer_id": {"N": "42"}}
    assert parse_item_or_collection(ORDERS, ["42"]) == {"customer_id": {"N": "42"}}
    assert parse_item_or_collection(ORDERS, ["42", "d"]) == {"customer_id": {"N": "42"}, "order_date": {"S": "d"}}
    assert parse_partition(BLOBS, [b"x"]) == parse_key(BLOBS, [b"x"])
    with pytest.raises(KeyMismatch, match="has no sort key"):
        parse_partition(ORDERS, ["42", "d"])


# --- no schema known ---


def test_without_a_schema_positionals_ask_for_one():
    """The stream does not say which of two attributes is the partition key, and a guess would read the wrong item."""
    for parse in (parse_key, parse_partition):
        with pytest.raises(KeyMismatch) as caught:
            parse(None, ["CUST#7", "ORDER#0001"], table="orders")
        assert caught.value.message == "the key schema of orders is not known"
        assert "--key-schema pk,sk" in caught.value.hint


@pytest.mark.parametrize("ways", [{"named": ["pk=CUST#7", "sk=x"]}, {"json_text": '{"pk":"CUST#7","sk":"x"}'}])
def test_without_a_schema_names_ask_for_types(ways):
    """A text may be S or B, so the typed form is shown."""
    with pytest.raises(KeyMismatch) as caught:
        parse_key(None, **ways)
    assert '{"pk":{"S":"CUST#7"}' in caught.value.hint


def test_without_a_schema_a_typed_key_is_enough():
    """An item is its key by value: names and types are all that is needed."""
    assert parse_key(None, json_text='{"pk":{"N":"1.0"},"sk":{"B":"3q2+7w=="}}') == {
        "pk": {"N": "1"},
        "sk": {"B": "3q2+7w=="},
    }
    for text in (
        '{"pk":{"S":"a"}}',
        '{"a":{"S":"a"},"b":{"S":"b"},"c":{"S":"c"}}',
        '{"pk":{"N":"x"},"sk":{"S":"b"}}',
        "{}",
    ):
        with pytest.raises(KeyMismatch):
            parse_key(None, json_text=text)


# --- many keys ---


def test_keys_come_from_json_lines_and_from_our_own_output():
    """`… | ddbtrail history orders --keys -` reads what another command of ours wrote, each item once."""
    lines = [
        '\ufeff{"customer_id":1,"order_date":"a"}\n',
        "\n",
        '{"customer_id":{"N":"2"},"order_date":{"S":"b"}}\n',
        '{"table_name":"orders","item_key":{"customer_id":1.0,"order_date":"a"},"op":"MODIFY"}\n',
    ]
    assert parse_keys_file(ORDERS, lines) == [
        {"customer_id": {"N": "1"}, "order_date": {"S": "a"}},
        {"customer_id": {"N": "2"}, "order_date": {"S": "b"}},
    ]
    assert parse_keys_file(ORDERS, []) == []


def test_binary_in_our_own_output_is_bare_base64():
    """The plain twin of an item key holds base64; a line typed by a person needs its prefix."""
    assert parse_keys_file(BLOBS, ['{"item_key":{"id":"3q2+7w=="}}']) == [{"id": {"B": "3q2+7w=="}}]
    assert parse_keys_file(BLOBS, ['{"id":{"B":"3q2+7w=="}}']) == [{"id": {"B": "3q2+7w=="}}]
    for line in ('{"id":"3q2+7w=="}', '{"id":{"B":"3q2+7w"}}', '{"item_key":{"id":"?"}}'):
        with pytest.raises(KeyMismatch):
            parse_keys_file(BLOBS, [line])


def test_a_key_attribute_may_be_called_item_key():
    """Then the line is the key itself, not a line of ours."""
    schema = KeySchema(KeyAttribute("item_key", "S"))
    assert parse_keys_file(schema, ['{"item_key":{"S":"x"}}']) == [{"item_key": {"S": "x"}}]


@pytest.mark.parametrize("bad", ["{", '{"customer_id":"x","order_date":"a"}', '{"customer_id":1}', "[]"])
def test_a_bad_line_is_named(bad):
    """Among a thousand keys, only the number of the line helps."""
    with pytest.raises(UsageError, match=r"^line 3: "):
        parse_keys_file(ORDERS, ['{"customer_id":1,"order_date":"a"}', "", bad])


def test_the_number_of_keys_is_limited(monkeypatch):
    """A file without end must not fill the memory; the last key inside the limit is taken."""
    monkeypatch.setattr(key_module, "KEYS_LIMIT", 2)
    lines = [json.dumps({"customer_id": number, "order_date": "a"}) for number in (1, 2, 2, 3)]
    assert len(parse_keys_file(ORDERS, lines[:3])) == 2
    with pytest.raises(UsageError, match="line 4: more than 2 keys"):
        parse_keys_file(ORDERS, lines)


# --- sort-key conditions ---


def test_sort_conditions_are_typed_by_the_schema():
    """A prefix or a range, both ends included, as DynamoDB's own `begins_with` and `BETWEEN`."""
    assert parse_sort_condition(TEXTS) is None
    assert parse_sort_condition(TEXTS, prefix="ORDER#") == SortCondition("sk", "prefix", {"S": "ORDER#"})
    assert parse_sort_condition(READINGS, between=("9", "10.0")) == SortCondition(
        "at", "between", {"N": "9"}, {"N": "10"}
    )
    assert parse_sort_condition(READINGS, between=(-1, -1)) == SortCondition("at", "between", {"N": "-1"}, {"N": "-1"})


@pytest.mark.parametrize(
    ("schema", "asked", "what"),
    [
        (BLOBS, {"prefix": "x"}, "no sort key"),
        (READINGS, {"prefix": "1"}, "a number has no prefix"),
        (READINGS, {"between": ("10", "9")}, "'10' is greater than '9'"),
        (READINGS, {"between": ("-1", "-2")}, "greater"),
        (READINGS, {"between": ("a", "b")}, "'a' is not a number"),
        (TEXTS, {"between": ("b", "a")}, "greater"),
        (TEXTS, {"between": ("\U00010000", "\uffff")}, "greater"),  # by UTF-8 bytes, not by UTF-16 units
        (TEXTS, {"prefix": "a", "between": ("a", "b")}, "not both"),
        (TEXTS, {"prefix": ""}, "is empty"),
        (None, {"prefix": "a"}, "not known"),
    ],
)
def test_sort_conditions_that_can_match_nothing_are_refused(schema, asked, what):
    """An empty answer to a question asked the wrong way round would look like silence."""
    with pytest.raises(KeyMismatch) as caught:
        parse_sort_condition(schema, **asked)
    assert what in caught.value.message + caught.value.hint


# --- tables and schemas ---

TABLES = [
    ("orders", TableRef(None, None, "orders")),
    ("eu-west-1/orders", TableRef(None, "eu-west-1", "orders")),
    ("111122223333/us-gov-west-1/My.table_1-x", TableRef("111122223333", "us-gov-west-1", "My.table_1-x")),
]


@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_references_read_both_ways(text, table):
    """Candidates are listed in the form that can be typed."""
    assert parse_table_ref(text) == table
    assert table.text == text


@pytest.mark.parametrize("tail", ["", "/stream/2026-12-01T00:00:00.000"])
@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_arns_of_tables_and_streams_name_the_table(partition, tail):
    """People copy ARNs from the console, of the table or of its stream."""
    arn = f"arn:{partition}:dynamodb:us-east-1:123456789012:table/Example-Table{tail}"
    assert parse_table_ref(arn) == TableRef("123456789012", "us-east-1", "Example-Table")


@pytest.mark.parametrize(
    "text",
    ["", "/orders", "orders/", "a/b/c/d", "1/eu-west-1/orders", "eu west/orders", "or ders", "*", "a" * 256, "EU/orders",
     "arn:aws:s3:::bucket", "arn:aws:dynamodb:us-east-1:123456789012:table/a/index/b",
     "arn:aws:dynamodb:us-east-1:12345678901:table/a", "orders\n"],
)  # fmt: skip
def test_what_names_no_table_is_refused(text):
    """A part that cannot be an account or a region must not be passed over."""
    with pytest.raises(UsageError, match="does not name a table"):
        parse_table_ref(text)


def test_key_schemas_are_read_from_flags_and_environment():
    """`--key-schema` speaks of the table at hand, the variable of several."""
    assert parse_key_schema("pk,sk") == ("pk", "sk")
    assert parse_key_schema(" id ") == ("id",)
    assert parse_key_schemas("orders=pk,sk; customers=id;") == {"orders": ("pk", "sk"), "customers": ("id",)}
    assert parse_key_schemas("") == {}


@pytest.mark.parametrize("text", ["", ",", "pk,", "a,b,c", "pk,pk"])
def test_what_is_no_key_schema_is_refused(text):
    """A key has one or two attributes, and they differ."""
    with pytest.raises(UsageError, match="is not a key schema"):
        parse_key_schema(text)


@pytest.mark.parametrize("text", ["pk,sk", "=pk", "orders=", "orders=a;orders=b", "or ders=a"])
def test_what_is_no_list_of_key_schemas_is_refused(text):
    """Two schemas for one table cannot both be right."""
    with pytest.raises(UsageError):
        parse_key_schemas(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "orders=pk,sk",
        " orders = pk , sk ;; customers=id;",
        "orders=pk,pk",
        "orders=",
        "=pk",
        "orders=a;orders=b",
        "x=,",
    ],
)
def test_the_archiver_reads_the_variable_alike(text):
    """One variable, two programs: what one of them refuses the other must not write evidence by."""
    try:
        read = parse_key_schemas(text)
    except UsageError:
        with pytest.raises(ValueError):
            archiver.streams.parse_key_schema(text)
    else:
        assert archiver.streams.parse_key_schema(text) == read


# --- one property ---

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
_NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20)
_VALUES = {"S": _TEXTS, "N": _NUMBERS, "B": st.binary(min_size=1)}


@st.composite
def schemas_and_values(draw):
    types = draw(st.lists(st.sampled_from("SNB"), min_size=1, max_size=2))
    attributes = [KeyAttribute(f"k{number}", tag) for number, tag in enumerate(types)]
    return KeySchema(*attributes), [draw(_VALUES[tag]) for tag in types]


@given(schemas_and_values())
def test_a_typed_key_reads_back_as_itself(drawn):
    """`image`-like output pasted after `--key` names the same item, with or without a schema."""
    schema, values = drawn
    key = parse_key(schema, values)
    assert parse_key(schema, json_text=json.dumps(key)) == key
    if schema.sort:
        assert parse_key(None, json_text=json.dumps(key)) == key
    for (tag, text), value in zip([next(iter(typed.items())) for typed in key.values()], values, strict=True):
        assert {"S": str, "N": Decimal, "B": base64.b64decode}[tag](text) == value
