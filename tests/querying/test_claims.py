"""What a footer states of its rows, true and false: a false statement hides rows from whoever prunes by it."""

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import NotEvidence
from archiver.format.claims import Extent
from archiver.format.columns import SEGMENT_COLUMNS
from archiver.segment import check_segment, encode_baseline_part, encode_segment
from query.evidence_rows import CheckedSegment, check_baseline_part, check_segment_file
from tests.archiving.strategies import PROPERTY
from tests.querying.footers import (
    BINARY,
    BLOOM_FILTER,
    DISTINCT,
    GREATEST,
    GROUPS,
    I32,
    I64,
    LEAST,
    NULLS,
    ROWS,
    ROWS_IN_ALL,
    STATISTICS,
    TOTAL_BYTES,
    TYPE,
    VALUES,
    Struct,
    chunk_of,
    group_of,
    with_footer,
)
from tests.querying.test_evidence_rows import ITEMS, SCHEMA, TRAIL, planned, refuses, rewritten

PLACES = {column.name: place for place, column in enumerate(SEGMENT_COLUMNS)}
SEGMENT = planned(10)
CONTENT = encode_segment(SEGMENT)
IN_GROUPS = rewritten(CONTENT)  # of 4, 4 and 2 rows, and with statistics of every column


def checked(content: bytes) -> CheckedSegment:
    return check_segment_file(content, TRAIL, SEGMENT.place)


def statistics_of(footer: Struct, column: str, group: int = 0) -> Struct:
    statistics: Struct = chunk_of(footer, PLACES[column], group)[STATISTICS][1]
    return statistics


def test_a_footer_that_is_written_back_is_the_same():
    """Else it could be the writing that is refused below."""
    for content in (CONTENT, IN_GROUPS, encode_baseline_part(ITEMS)):
        assert with_footer(content, lambda footer: None) == content


def test_what_is_stated_truly_is_right():
    """Of some columns, of all of them, in many groups or one, or nothing at all."""
    for content in (CONTENT, IN_GROUPS, rewritten(CONTENT, write_statistics=False)):
        assert checked(content).records == 10


def milliseconds(value: int) -> bytes:
    return value.to_bytes(8, "little")


FALSE_ENDS = {
    "a text from later on": ("pk", LEAST, b"CUST#1"),
    "a text from before": ("pk", LEAST, b"CUST#"),
    "a text to before": ("pk", GREATEST, b"CUST#2"),
    "a text to later on": ("pk", GREATEST, b"CUST#4"),
    "no UTF-8": ("pk", GREATEST, b"\xff"),
    "a time from later on": ("changed_at", LEAST, milliseconds(1_795_414_530_001)),
    "a time to before": ("changed_at", GREATEST, milliseconds(1_795_414_529_999)),
    "a column without a reader that prunes": ("event", LEAST, b""),
}


@pytest.mark.parametrize(("column", "end", "value"), FALSE_ENDS.values(), ids=FALSE_ENDS)
@pytest.mark.parametrize("group", [0, 1])
def test_a_false_end_is_refused(column, end, value, group):
    """Either end, of any column and group: who prunes would leave out rows that are there, or find none."""

    def lie(footer: Struct) -> None:
        statistics_of(footer, column, group)[end] = BINARY, value

    with refuses(f"footer states that {column} is from"):
        checked(with_footer(IN_GROUPS, lie))


def test_the_ends_are_those_of_the_group_and_not_of_the_file():
    """A group that states the ends of another one hides its own rows."""

    def swap(footer: Struct) -> None:
        first, last = (chunk_of(footer, PLACES["sequence_number"], group) for group in (0, 2))
        first[STATISTICS], last[STATISTICS] = last[STATISTICS], first[STATISTICS]

    with refuses("footer states that sequence_number is from"):
        checked(with_footer(IN_GROUPS, swap))


def test_one_end_alone_says_nothing():
    """The library takes the two together, and so does who prunes; what is not stated is not false."""

    def forget(footer: Struct) -> None:
        for group in range(3):
            for column in SEGMENT_COLUMNS:
                for end in (1, 2, LEAST, GREATEST):
                    statistics_of(footer, column.name, group).pop(end, None)

    assert checked(with_footer(IN_GROUPS, forget)).records == 10


@pytest.mark.parametrize(("column", "nulls"), [("pk", 1), ("pk", -1), ("user_identity", 3), ("user_identity", 0)])
def test_a_false_count_of_nulls_is_refused(column, nulls):
    """Who asks for items without a key text, or for changes by nobody, skips groups by it."""

    def lie(footer: Struct) -> None:
        statistics_of(footer, column)[NULLS] = I64, nulls

    with refuses(f"footer states {nulls} NULLs in {column}, there are {4 if column == 'user_identity' else 0}"):
        checked(with_footer(IN_GROUPS, lie))


def test_nulls_need_not_be_counted():
    """A footer that leaves the count out states nothing of it, also where there are some."""

    def forget(footer: Struct) -> None:
        for group in range(3):
            del statistics_of(footer, "user_identity", group)[NULLS]

    assert checked(with_footer(IN_GROUPS, forget)).records == 10


def test_a_count_of_different_values_is_refused():
    """Nobody writes one, and nothing here would find it false."""

    def count(footer: Struct) -> None:
        statistics_of(footer, "pk")[DISTINCT] = I64, 4

    with refuses("how many different values pk has"):
        checked(with_footer(IN_GROUPS, count))


@pytest.mark.parametrize(
    "options",
    [{"write_page_index": True}, {"bloom_filter_options": {"op": {"ndv": 10}}}],
    ids=["page index", "Bloom filter"],
)
def test_filters_and_indexes_are_refused(options):
    """They would hide rows as statistics do, and nobody writes them."""
    with refuses("a filter or an index"):
        checked(rewritten(CONTENT, **options))


def test_a_filter_that_is_only_stated_is_refused():
    """Wherever it is said to be."""

    def filtered(footer: Struct) -> None:
        chunk_of(footer, PLACES["event"], 2)[BLOOM_FILTER] = I64, 4

    with refuses("its column event has a filter or an index"):
        checked(with_footer(IN_GROUPS, filtered))


def test_a_stated_order_is_refused():
    """Rows have the order of the format, and a reader that trusts another one searches in the wrong half."""
    with refuses("or an order"):
        checked(rewritten(CONTENT, sorting_columns=[pq.SortingColumn(PLACES["pk"])]))


@pytest.mark.parametrize("rows", [0, 3, 5, 2**40])
def test_a_group_has_as_many_rows_as_it_states(rows):
    """A reader that counts by the footer, or stops by it, would not see the others."""

    def count(footer: Struct) -> None:
        group_of(footer, 1)[ROWS] = I64, rows

    with refuses("rows|footer states"):
        checked(with_footer(IN_GROUPS, count))
    with refuses("rows"):
        checked(with_footer(rewritten(CONTENT, write_statistics=False), count))


def test_a_count_that_is_made_up_for_elsewhere_is_false_too():
    """The file has as many rows as it states, the group has not."""
    content = rewritten(CONTENT, write_statistics=False)

    def count(footer: Struct) -> None:
        group_of(footer, 1)[ROWS] = I64, 5
        footer[ROWS_IN_ALL] = I64, 11
        for column in PLACES.values():
            chunk_of(footer, column, 1)[VALUES] = I64, 5

    with refuses("a group of 4 rows is stated to have 5"):
        checked(with_footer(content, count))


@pytest.mark.parametrize("values", [3, 5])
def test_a_column_has_a_value_or_null_in_each_row(values):
    """Engines answer how many there are by the footer alone."""

    def count(footer: Struct) -> None:
        chunk_of(footer, PLACES["pk"], 1)[VALUES] = I64, values

    with refuses(f"its footer states {values} values of pk in 4 rows"):
        checked(with_footer(IN_GROUPS, count))


def test_the_sealer_believes_no_footer_either():
    """What verify would not let pass is not sealed; it reads by code of its own."""
    for content in (CONTENT, IN_GROUPS):
        assert len(check_segment(content, SEGMENT.source, SEGMENT.place)) == 10
    for column, end, value in FALSE_ENDS.values():

        def lie(footer: Struct, lied: tuple[str, int, bytes] = (column, end, value)) -> None:
            statistics_of(footer, lied[0], 1)[lied[1]] = BINARY, lied[2]

        with pytest.raises(NotEvidence, match=f"footer states that {column} is from"):
            check_segment(with_footer(IN_GROUPS, lie), SEGMENT.source, SEGMENT.place)


@pytest.mark.parametrize("rows", [-1, 0, 9, 11])
def test_a_file_has_as_many_rows_as_it_states(rows):
    """Engines answer how many rows there are by the footer alone."""

    def count(footer: Struct) -> None:
        footer[ROWS_IN_ALL] = I64, rows

    with refuses("rows"):
        checked(with_footer(IN_GROUPS, count))


@pytest.mark.parametrize(("column", "kind"), [("pk", 2), ("changed_at", 6)])
def test_a_group_has_the_types_of_the_schema(column, kind):
    """The library ends the process when it is asked for statistics of another type."""

    def retype(footer: Struct) -> None:
        chunk_of(footer, PLACES[column], 2)[TYPE] = I32, kind

    with refuses(f"footer states that {column} is .* in a group"):
        checked(with_footer(IN_GROUPS, retype))


@pytest.mark.parametrize("size_bytes", [-(2**62), -1, 0, 1, 2**62])
def test_a_false_size_of_a_group_hides_nothing(size_bytes):
    """By it rows are only taken some at a time: each is looked at, or the file is refused."""

    def resize(footer: Struct) -> None:
        for group in footer[GROUPS][1][1]:
            group[TOTAL_BYTES] = I64, size_bytes

    assert checked(with_footer(IN_GROUPS, resize)).records == 10


def test_parts_of_baselines_state_the_truth_too():
    """An item is looked for by `pk` there."""
    content = encode_baseline_part(ITEMS)
    assert check_baseline_part(content, SCHEMA) == 4

    def lie(footer: Struct) -> None:
        chunk_of(footer, 1)[STATISTICS][1][LEAST] = BINARY, b"b"

    with refuses("footer states that pk is from"):
        check_baseline_part(with_footer(content, lie), SCHEMA)


@given(st.lists(st.lists(st.none() | st.integers(-3, 3), max_size=4), max_size=5))
@PROPERTY
def test_an_extent_taken_piece_by_piece_is_that_of_the_whole(pieces):
    """Values come some at a time, and all of a piece may be NULL."""
    extent = Extent()
    for piece in pieces:
        values = [value for value in piece if value is not None]
        extent.take(min(values, default=None), max(values, default=None), len(piece) - len(values))
    everything = [value for piece in pieces for value in piece]
    values = [value for value in everything if value is not None]
    assert extent.nulls == len(everything) - len(values)
    assert (extent.least, extent.greatest) == (min(values, default=None), max(values, default=None))
