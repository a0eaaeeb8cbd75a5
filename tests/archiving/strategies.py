"""Hypothesis strategies for what a DynamoDB stream can deliver, from the AWS pages, not from the code under test."""

import base64
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

# Machines are noisy, so no deadline; and no database, so that a run depends on nothing but the code.
PROPERTY = settings(deadline=None, database=None, max_examples=100)

STREAM_ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"

# Where UTF-16, UTF-8 and code points disagree, and what JSON must escape.
AWKWARD = ["", "a", "\uffff", "😀", "\ue000", "\ud7ff", "\x00", '"', "\\", "\u2028", "\x7f", "e\u0301", "é"]
texts = st.sampled_from(AWKWARD) | st.text(max_size=12)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """A number that DynamoDB stores (38 digits, 1E-130 to 9.9E+125), in any spelling."""
    digits = str(draw(st.integers(1, 10 ** draw(st.integers(1, 38)) - 1)))
    exponent = draw(st.integers(-130, 125)) - (len(digits) - 1)
    sign = draw(st.sampled_from(["", "-", "+"]))
    if -40 < exponent < 0 and draw(st.booleans()):
        padded = digits.zfill(1 - exponent)
        return f"{sign}{padded[:exponent]}.{padded[exponent:]}{'0' * draw(st.integers(0, 2))}"
    if 0 <= exponent < 40 and draw(st.booleans()):
        return f"{sign}{'0' * draw(st.integers(0, 2))}{digits}{'0' * exponent}"
    return f"{sign}{digits}{draw(st.sampled_from('eE'))}{exponent:+d}"


all_numbers = (
    st.sampled_from(["0", "-0", "0.0", "1", "1.10", "1E-130", "-9.9999999999999999999999999999999999999E+125"])
    | numbers()
)
binaries = st.binary(max_size=8).map(lambda content: base64.b64encode(content).decode())

_scalars = st.one_of(
    texts.map(lambda text: {"S": text}),
    all_numbers.map(lambda number: {"N": number}),
    binaries.map(lambda binary: {"B": binary}),
    st.booleans().map(lambda claim: {"BOOL": claim}),
    st.just({"NULL": True}),
    st.lists(texts, min_size=1, max_size=3, unique=True).map(lambda members: {"SS": members}),
    st.lists(all_numbers, min_size=1, max_size=3, unique=True).map(lambda members: {"NS": members}),
    st.lists(binaries, min_size=1, max_size=3, unique=True).map(lambda members: {"BS": members}),
)
values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda members: {"L": members})
        | st.dictionaries(texts, inner, max_size=3).map(lambda members: {"M": members})
    ),
    max_leaves=6,
)
images = st.dictionaries(texts, values, max_size=5)
key_values = st.one_of(
    texts.filter(bool).map(lambda text: {"S": text}),
    all_numbers.map(lambda number: {"N": number}),
    binaries.filter(bool).map(lambda binary: {"B": binary}),
)
keys = st.dictionaries(texts, key_values, min_size=1, max_size=2)

json_values = st.recursive(
    st.none() | st.booleans() | texts | st.integers(-(2**53), 2**53) | st.floats(-1e12, 1e12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
# Seconds within the first and the last year that counts, with and without a fraction.
times = st.integers(1_325_376_000, 4_102_444_799) | st.integers(1_325_376_000, 4_102_444_799).map(float)
fractional_times = st.integers(1_325_376_000_000, 4_102_444_799_999).map(lambda ms: ms / 1000)


@st.composite
def records(draw: st.DrawFn, *, is_ordinary: bool = False) -> dict[str, Any]:
    """A record as Lambda delivers it, members in any order; `is_ordinary`: with exactly the fields of today."""
    stream: dict[str, Any] = {
        "ApproximateCreationDateTime": draw(times if is_ordinary else times | fractional_times),
        "Keys": draw(keys),
        "SequenceNumber": draw(st.text("0123456789", min_size=21, max_size=40)),
        "SizeBytes": draw(st.integers(0, 2**53)),
        "StreamViewType": draw(st.sampled_from(["NEW_AND_OLD_IMAGES", "KEYS_ONLY"]) | texts),
    }
    for name in ("OldImage", "NewImage"):
        if draw(st.booleans()):
            stream[name] = draw(images)
    record: dict[str, Any] = {
        "eventID": draw(st.from_regex(r"[0-9a-f]{32}", fullmatch=True)),
        "eventName": draw(st.sampled_from(["INSERT", "MODIFY", "REMOVE"])),
        "eventVersion": draw(st.just("1.1") | texts),
        "eventSource": "aws:dynamodb",
        "awsRegion": draw(st.just("eu-west-1") | texts),
        "eventSourceARN": STREAM_ARN,
    }
    if not is_ordinary:
        record["eventID"] = draw(st.just(record["eventID"]) | texts.filter(bool))
        record |= draw(
            st.fixed_dictionaries({}, optional={"userIdentity": json_values, "😀": json_values, "\uffff": json_values})
        )
        stream |= draw(
            st.fixed_dictionaries(
                {}, optional={"new": json_values, "SizeBytes": json_values, "StreamViewType": json_values}
            )
        )
        for lost in draw(st.sets(st.sampled_from(["eventVersion", "awsRegion"]))):
            del record[lost]
        for lost in draw(st.sets(st.sampled_from(["SizeBytes", "StreamViewType"]))):
            del stream[lost]
    record["dynamodb"] = dict(draw(st.permutations(list(stream.items()))))
    return dict(draw(st.permutations(list(record.items()))))
