"""Object names: composed, parsed, and nothing accepted that was never composed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.layout import (
    HOUR_MS,
    BaselineName,
    SegmentName,
    StreamSource,
    Trail,
    hour_folder,
    hour_of,
    label_time_ms,
    late_name,
    parse_late_name,
    parse_quarantine_name,
    parse_stream_name,
    quarantine_name,
    sequence_text,
    stream_name,
)
from tests.archiving.strategies import PROPERTY

ORDERS = Trail("111122223333", "eu-west-1", "orders")
PREFIX = "v1/account=111122223333/region=eu-west-1/table_name=orders/"
ROOT = "ab" * 32
SEQUENCE = "4" * 40
LABEL = "2026-01-01T00:00:00.000"

hours = st.integers(1_325_376_000_000 // HOUR_MS, 4_102_444_799_999 // HOUR_MS).map(lambda hour: hour * HOUR_MS)
segments = st.builds(
    SegmentName,
    hours,
    st.text("0123456789", min_size=40, max_size=40),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)


def test_the_worked_example_of_the_layout_holds():
    """The path grammar is the interface to Athena, Spark and whoever lists a bucket."""
    place = SegmentName(1_795_392_000_000 + 6 * HOUR_MS, SEQUENCE, ROOT)
    assert ORDERS.prefix + place.compose() == f"{PREFIX}segments/dt=2026-11-23/hour=06/{SEQUENCE}-{ROOT}.parquet"
    assert ORDERS.prefix + stream_name(LABEL) == f"{PREFIX}streams/{LABEL}.json"
    assert ORDERS.prefix + quarantine_name(ROOT) == f"{PREFIX}quarantine/{ROOT}.json"
    assert late_name(1_795_392_000_000 + 30 * HOUR_MS, place) == f"late/2026-11-24/{place.compose()}"


@PROPERTY
@given(segments)
def test_a_segment_name_comes_back(place):
    """What a listing tells of a segment is all in its name."""
    assert SegmentName.parse(place.compose()) == place
    assert Trail.parse(ORDERS.prefix + place.compose()) == (ORDERS, place.compose())


@PROPERTY
@given(segments, st.integers(1_325_376_000_000, 4_102_444_799_999))
def test_a_late_name_comes_back(place, arrived_ms):
    """A marker names its segment, so that a reader who lists few prefixes misses nothing."""
    day, segment = parse_late_name(late_name(arrived_ms, place))
    assert segment == place
    assert hour_folder(hour_of(arrived_ms)).startswith(f"segments/dt={day}/")


@PROPERTY
@given(st.integers(0, 4_102_444_799).map(lambda second: second * 1000), st.integers(0, 999))
def test_a_baseline_name_comes_back(instant_ms, number):
    """A baseline's folder says from when on it stands for the table."""
    name = BaselineName(instant_ms)
    assert BaselineName.parse(name.description) == name
    assert BaselineName.parse(name.part(number, ROOT)) == name


@pytest.mark.parametrize(
    ("arn", "source"),
    [
        (f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{LABEL}", StreamSource(ORDERS, LABEL)),
        (
            "arn:aws-us-gov:dynamodb:us-gov-west-1:000000000001:table/a.b_c-9/stream/2024-02-29T23:59:59.999",
            StreamSource(Trail("000000000001", "us-gov-west-1", "a.b_c-9"), "2024-02-29T23:59:59.999"),
        ),
        (
            f"arn:aws:dynamodb:eu-west-1:111122223333:table/{'x' * 255}/stream/{LABEL}",
            StreamSource(Trail("111122223333", "eu-west-1", "x" * 255), LABEL),
        ),
    ],
)
def test_an_arn_names_its_source(arn, source):
    """The ARN is the only member of a record that says whose it is."""
    assert StreamSource.parse(arn) == source


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "arn:aws:dynamodb:eu-west-1:111122223333:table/orders",
        f"arn:aws:dynamodb:eu-west-1:111122223333:table/ab/stream/{LABEL}",
        f"arn:aws:dynamodb:eu-west-1:111122223333:table/{'x' * 256}/stream/{LABEL}",
        f"arn:aws:dynamodb:eu-west-1:111122223333:table/../x/stream/{LABEL}",
        f"arn:aws:dynamodb:eu-west-1:111122223333:table/a=b/stream/{LABEL}",
        f"arn:aws:dynamodb:eu-west-1:11112222333:table/orders/stream/{LABEL}",
        f"arn:aws:dynamodb:eu-west-1:١١١١٢٢٢٢٣٣٣٣:table/orders/stream/{LABEL}",
        f"arn:aws:dynamodb:EU:111122223333:table/orders/stream/{LABEL}",
        f"arn:aws:sqs:eu-west-1:111122223333:table/orders/stream/{LABEL}",
        f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{LABEL}\n",
        "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/../../x",
    ],
)
def test_what_is_no_stream_arn_is_refused(arn):
    """A name made from it would point anywhere, outside the trail too."""
    with pytest.raises(ValueError):
        StreamSource.parse(arn)


@pytest.mark.parametrize(
    "trail", [("1", "eu-west-1", "orders"), ("111122223333", "", "orders"), ("111122223333", "eu-west-1", "a/b")]
)
def test_a_trail_refuses_what_is_no_table(trail):
    """The core types refuse nonsense when they are made, not when a path turns out wrong."""
    with pytest.raises(ValueError, match="not a table of DynamoDB"):
        Trail(*trail)


GOOD = f"segments/dt=2026-11-23/hour=06/{SEQUENCE}-{ROOT}.parquet"


@pytest.mark.parametrize(
    ("parse", "name"),
    [
        (SegmentName.parse, GOOD.replace("hour=06", "hour=24")),
        (SegmentName.parse, GOOD.replace("hour=06", "hour=6")),
        (SegmentName.parse, GOOD.replace("2026-11-23", "2026-02-29")),
        (SegmentName.parse, GOOD.replace("2026-11-23", "2026-13-01")),
        (SegmentName.parse, GOOD.replace(SEQUENCE, SEQUENCE[1:])),
        (SegmentName.parse, GOOD.replace(ROOT, ROOT.upper())),
        (SegmentName.parse, GOOD.replace(ROOT, ROOT[1:])),
        (SegmentName.parse, GOOD + "\n"),
        (SegmentName.parse, GOOD + ".tmp"),
        (SegmentName.parse, "/" + GOOD),
        (SegmentName.parse, GOOD.replace("segments", "late")),
        (parse_late_name, GOOD),
        (parse_late_name, f"late/2026-02-30/{GOOD}"),
        (parse_late_name, f"late/2026-11-24/x/{GOOD}"),
        (parse_stream_name, "streams/latest.json"),
        (parse_stream_name, f"streams/{LABEL}.json.bak"),
        (parse_quarantine_name, "quarantine/x.json"),
        (parse_quarantine_name, f"quarantine/{ROOT.upper()}.json"),
        (BaselineName.parse, "baselines/2026-11-23T06-00-00Z/"),
        (BaselineName.parse, "baselines/2026-11-31T06-00-00Z/baseline.json"),
        (BaselineName.parse, "baselines/2026-11-23T06-00-00Z/part-x.parquet"),
        (Trail.parse, "v2/account=111122223333/region=eu-west-1/table_name=orders/x"),
        (Trail.parse, "v1/quarantine/x.json"),
        (Trail.parse, "account=111122223333/region=eu-west-1/table_name=orders/x"),
    ],
)
def test_a_parser_accepts_only_what_its_composer_makes(parse, name):
    """An object under a name that we never write is a finding, not evidence."""
    with pytest.raises(ValueError):
        parse(name)


@pytest.mark.parametrize("label", ["latest", "../x", "", "2026-01-01T00:00:00.000/x"])
def test_a_stream_name_is_made_of_a_label_only(label):
    """A label comes out of a delivered record: it must not reach outside its folder."""
    with pytest.raises(ValueError):
        stream_name(label)


@pytest.mark.parametrize(
    ("instant_ms", "folder"),
    [
        (1_795_391_999_999, "segments/dt=2026-11-22/hour=23/"),
        (1_795_392_000_000, "segments/dt=2026-11-23/hour=00/"),
        (1_795_395_599_999, "segments/dt=2026-11-23/hour=00/"),
        (1_795_395_600_000, "segments/dt=2026-11-23/hour=01/"),
        (1_835_395_199_999, "segments/dt=2028-02-28/hour=23/"),
        (1_835_395_200_000, "segments/dt=2028-02-29/hour=00/"),
        (1_835_481_600_000, "segments/dt=2028-03-01/hour=00/"),
        (1_798_761_599_999, "segments/dt=2026-12-31/hour=23/"),
        (1_798_761_600_000, "segments/dt=2027-01-01/hour=00/"),
    ],
)
def test_an_instant_belongs_to_its_hour(instant_ms, folder):
    """The last millisecond inside and the first outside: hour, day, leap day, year."""
    assert hour_folder(hour_of(instant_ms)) == folder


def test_sequence_numbers_compare_as_text():
    """They cross digit lengths within a stream: 9 comes before 10 only when padded."""
    assert sequence_text("9" * 21) < sequence_text("1" + "0" * 21)
    assert len(sequence_text("1" * 21)) == len(sequence_text("1" * 40)) == 40


def test_a_label_tells_when_its_stream_was_enabled():
    """Cut to the second: the grain of every other time in a trail."""
    assert label_time_ms("2026-11-23T00:00:00.999") == 1_795_392_000_000
    assert label_time_ms("2026-11-23T00:00:01.000") == 1_795_392_001_000
