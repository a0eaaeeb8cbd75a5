"""The tables of docs/scale.md are those of the model; and the model agrees with what was measured, and with itself."""

from __future__ import annotations

import inspect
import re
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import scale_model as model
from query.operate.cost_figures import load_figures

PAGE = (Path(__file__).parents[2] / "docs/scale.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())


@pytest.mark.parametrize("title", model.TABLES)
def test_a_table_of_the_page_is_what_the_model_prints(title):
    """Figures are measured anew: the page changes with them, or this fails."""
    assert f"\n\n{model.TABLES[title]()}\n\n" in PAGE


def test_every_table_of_the_page_is_checked():
    """Only the summary at the end is written by hand."""
    heads = re.findall(r"^(\|.*\|)\n\|---", PAGE, re.MULTILINE)
    printed = [made().splitlines()[0] for made in model.TABLES.values()]
    assert heads == [*printed, "| part | holds | |"]


def limit(part: str, begins: str) -> float:
    (found,) = [one for one in model.limits() if one.part == part and one.stops.startswith(begins)]
    return found.writes_s


LARGEST = model.Load(1_000_000)
MEASURED = model.Age("1,000 days", 1_000 * model.DAY_S, 33, live_runs=58)


@pytest.mark.parametrize(
    ("number", "step", "words"),
    [
        (limit("sealer", "more than the function"), 100, "**From {}** the sealer's function"),
        (limit("sealer", "more than one core"), 1_000, "**from {}** any sealer falls behind"),
        (limit("compaction", "two cores all day"), 1_000, "**From {}** compaction on two cores"),
        (limit("log", "6,000,000 seals"), 1_000, "in 10 years at {} writes a second"),
        (limit("one item", "60 MB of changes"), 1, "Bytes pass 60 MB at {} writes a second"),
        (limit("compaction", "more than the function, 3,538 MB: an hour"), 10, "hours up to {} writes a second"),
        (LARGEST.shards, 1, "At 1 million writes a second {} shards"),
        (LARGEST.segments(1), 1, "and {} PUTs a second are far from"),
        (LARGEST.writes_s / model.archiver_shard_writes_s(), 10, "keep some {} containers busy"),
        (LARGEST.segments(model.TAIL_S) / 1000, 500, "every question lists {} pages of names"),
        (model.sealing_s(LARGEST, 1), 1, "{} cores' work, and it uses one"),
        (LARGEST.segments(30 * 3600) * model.given("log_entry_bytes") / 1e9, 1, "of 30 hours: {} GB at 1 million"),
        (model.segment_rows(), 1, "batches are full, at {} such records"),
    ],
)
def test_a_figure_of_the_prose_is_the_model_s(number, step, words):
    """What is written in a sentence goes stale more quietly than a table."""
    assert words.format(f"{round(number / step) * step:,}") in PROSE


def test_the_model_gives_back_what_it_was_measured_from():
    """58 runs in 1,000 days: 190 requests with nothing cached, 74 with indexes; 582 MB in 2,160 segments."""
    cost = model.item_cost(model.Load(1), MEASURED)
    assert (cost.run_requests, cost.known_requests) == (190, 74)
    assert 2_160 * model.given("segment_bytes") + 10e6 * model.given("row_bytes") == pytest.approx(582e6, rel=0.02)


def test_every_input_is_used():
    """One that is not would be on the page for nothing."""
    asked = set(re.findall(r'given\("(\w+)"\)', inspect.getsource(model)))
    assert asked == set(model.INPUTS)


def test_more_writes_take_more_of_everything():
    """Else a limit would not be the only one: it is searched for as if everything grew."""
    few, many = (model.Load(rate) for rate in (999, 1_001))
    for age in model.AGES:
        for name in ("requests", "bytes"):
            assert getattr(model.item_cost(few, age), name) <= getattr(model.item_cost(many, age), name)
    for one, other in pairwise(model.Load(rate) for rate in (0.01, *model.RATES)):
        assert one.segments(1) < other.segments(1)
        assert one.seals(model.YEAR_S) <= other.seals(model.YEAR_S)
        assert model.sealing_s(one, 1) < model.sealing_s(other, 1)


def test_a_limit_is_where_it_just_fits():
    """At the rate that is printed, and no longer a thousandth above it."""
    rate = limit("tail", "2 s to list")
    listed_s = [model.Load(at).segments(model.TAIL_S) / 1000 * model.given("wait_s") for at in (rate, rate * 1.001)]
    assert listed_s[0] <= 2 < listed_s[1]


def test_bytes_and_dollars_grow_with_age_and_writes():
    """Ten times the years are ten times the bytes; a bill is never smaller for an older archive."""
    for rate in model.RATES:
        load, bills = model.Load(rate), [sum(model.dollars(model.Load(rate), age).values()) for age in model.AGES]
        assert bills == sorted(bills)
        assert load.segment_bytes(10 * model.YEAR_S) == pytest.approx(10 * load.segment_bytes(model.YEAR_S))
    tenth, whole = (model.dollars(model.Load(rate), model.AGES[2])["runs"] for rate in (100_000, 1_000_000))
    assert whole == pytest.approx(10 * tenth)


def test_a_full_batch_is_the_one_that_was_measured():
    """Segments are counted by batches of 6 MB, which `figures.toml` has."""
    assert model.segment_rows() == load_figures().items[0].batches[-1][0]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *[(0, "0"), (0.0004, "0.0004"), (0.02, "0.02"), (0.5, "0.5"), (9.94, "9.94"), (9.96, "10"), (99.4, "99.4")],
        *[(99.6, "100"), (999.4, "999"), (999.5, "1 k"), (19_500, "19.5 k"), (999_600, "1 M"), (3.15e14, "315 T")],
    ],
)
def test_an_amount_has_three_digits(number, text):
    """At the last value of each form, and the first of the next."""
    assert model.amount(number) == text
