"""What archiving costs: the arithmetic by hand, the limits of a batch, the price file, and the pages that show it."""

import contextlib
import io
import json
import re
import shlex
import tomllib
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.layout import Trail
from archiver.sealer import Sealer, Sealing
from archiver.signer import create_key, load_signer
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.telemetry import report_batch, report_sealing
from archiver.writer import Writer
from benchmarks import figures as benchmark
from infra.cloudformation import sam_template
from query.cli import run
from query.errors import UsageError
from query.operate import cost, cost_traffic
from query.operate.cost import ARCHIVING, GROUPS, SEALING, STORAGE, WATCHING, Setup, bill_of
from query.operate.cost_figures import Figures, ItemFigures, load_figures
from query.operate.cost_prices import Assumptions, Price, PriceList, Prices, load_prices
from query.operate.cost_traffic import MONTH_S, Seen, Workload, most_records, traffic_of, traffic_seen
from query.render.text import amount
from tests.archiving.strategies import PROPERTY
from tests.delivery import delivered

ROOT = Path(__file__).parents[2]
SHIPPED = files("query.operate").joinpath("prices.toml").read_text(encoding="utf-8")

# Round numbers, so that every line can be reckoned by hand. A batch of n records takes 0.01 + n/10,000 s and becomes a
# segment of 2,000 + 500 n bytes, a record is 1,000 bytes of event whatever the item.
ROUND = ItemFigures(1000, 1000, ((1, 0.0101, 2500), (10_001, 1.0101, 5_002_500)))
FIGURES = Figures(
    "2026-11-25", "a desk", start_cpu_s=1, start_puts=1, puts_per_batch=1, log_bytes_per_batch=524, items=(ROUND,)
)
ONE_DOLLAR = {name: Price(1, 1, "unit") for name in PriceList.__dataclass_fields__}
NO_ASSUMPTIONS = Assumptions(
    core_factor=1,
    put_wait_s=0,
    starts_per_shard_day=0,
    kms_puts_per_request=1,
    kms_bucket_key_life_s=MONTH_S,
    seal_start_cpu_s=0,
    seal_cpu_s_per_record=0,
    seal_bytes=0,
    seal_log_bytes=0,
    seal_starts_per_day=0,
    platform_log_bytes=500,
)
AT_A_DOLLAR = Prices("nowhere", "2026-11", PriceList(**ONE_DOLLAR), NO_ASSUMPTIONS)
GB = 2**30
DEPLOYED = Setup()
LISTED = load_prices()


def priced(**prices):
    return replace(AT_A_DOLLAR, list=replace(AT_A_DOLLAR.list, **prices))


def assuming(**values):
    return replace(AT_A_DOLLAR, assumptions=replace(NO_ASSUMPTIONS, **values))


def lines(bill):
    return {line.item: line for line in bill.lines}


def quantities(traffic, setup=DEPLOYED, prices=AT_A_DOLLAR):
    return {item: line.quantity for item, line in lines(bill_of(traffic, setup, FIGURES, prices)).items()}


# --- batches ---


def test_the_window_closes_batches_of_a_slow_table():
    """10 writes a second in one shard, 60 s: 600 records a batch, 2,628,000 s / 60 s = 43,800 batches a month."""
    traffic = traffic_of(Workload(10, 1000, shards=1, window_s=60), FIGURES)
    assert traffic.batches == pytest.approx(43_800)
    assert traffic.records_per_batch == pytest.approx(600)
    assert traffic.writes == 10 * 2_628_000


def test_the_batch_size_closes_batches_before_the_window_does():
    """100 writes a second and 500 records: a batch every 5 s, not every 60."""
    traffic = traffic_of(Workload(100, 1000, shards=1, window_s=60, batch_size=500), FIGURES)
    assert traffic.records_per_batch == pytest.approx(500)
    assert traffic.batches == pytest.approx(2_628_000 / 5)


def test_six_megabytes_close_batches_before_the_batch_size_does():
    """A record of 1,000 bytes: 6 x 1,048,576 / 1,000 = 6,291 records, fewer than 10,000."""
    workload = Workload(1000, 1000, shards=1, window_s=300, batch_size=10_000)
    assert most_records(workload, FIGURES) == 6291
    assert traffic_of(workload, FIGURES).records_per_batch == pytest.approx(6291)


@pytest.mark.parametrize(("rate", "records"), [(6291 / 60 - 0.001, "window"), (6291 / 60 + 0.001, "full")])
def test_the_limit_changes_where_the_window_is_just_filled(rate, records):
    """The last rate at which the window ends first, and the first at which 6 MB do."""
    traffic = traffic_of(Workload(rate, 1000, shards=1, window_s=60), FIGURES)
    assert (traffic.records_per_batch < 6291) == (records == "window")
    assert traffic.records_per_batch <= 6291 + 1e-6


def test_a_record_larger_than_a_batch_still_makes_one():
    """The largest item is just below 6 MB twice over: never less than one record."""
    huge = replace(FIGURES, items=(replace(ROUND, event_bytes=7 * 2**20),))
    assert most_records(Workload(1, 1000), huge) == 1


def test_a_window_in_which_nothing_is_written_makes_no_batch():
    """One write an hour in each of 4 shards makes 4 x 730 batches of one record a month, not one each minute."""
    traffic = traffic_of(Workload(4 / 3600, 1000, shards=4), FIGURES)
    assert traffic.batches == pytest.approx(4 * 730)
    assert traffic.records_per_batch == pytest.approx(1)
    assert traffic.puts == pytest.approx(4 * 730)


def test_a_batch_that_spans_the_turn_of_an_hour_is_put_twice():
    """One write a second, 60 s: 60 records lie 59 s apart, so 59 of 3,600 batches span it: 43,800 x (1 + 59/3600)."""
    traffic = traffic_of(Workload(1, 1000, shards=1, window_s=60), FIGURES)
    assert traffic.puts == pytest.approx(43_800 * (1 + 59 / 3600))


# --- lines ---


def test_lambda_is_paid_for_cpu_at_its_share_of_a_core_and_for_waiting():
    """43,800 batches of 600 records take 0.01 + 0.06 = 0.07 s on a whole core; 512 of 1,769 MB are 0.2894 of one, and
    the core is half as fast: 0.07 x 2 / 0.2894 = 0.4837 s. Each PUT waits 0.1 s more. A GB-s is half of that second."""
    workload = Workload(10, 1000, shards=1, window_s=60)
    traffic = traffic_of(workload, FIGURES)
    puts = 43_800 * (1 + 599 / 10 / 3600)
    found = quantities(traffic, Setup(memory_mb=512), assuming(core_factor=2, put_wait_s=0.1))
    assert found["Lambda requests"] == pytest.approx(43_800)
    assert found["Lambda GB-s"] == pytest.approx((43_800 * 0.07 * 2 * 1769 / 512 + puts * 0.1) * 512 / 1024)
    assert found["S3 PUT"] == pytest.approx(puts)


def test_more_memory_than_one_core_makes_nothing_faster():
    """A batch is worked on by one thread: at twice 1,769 MB it takes as long, and costs twice as much."""
    traffic = traffic_of(Workload(10, 1000, shards=1), FIGURES)
    assert quantities(traffic, Setup(memory_mb=3538))["Lambda GB-s"] == pytest.approx(
        2 * quantities(traffic, Setup(memory_mb=1769))["Lambda GB-s"]
    )
    assert quantities(traffic, Setup(memory_mb=512))["Lambda GB-s"] == pytest.approx(
        quantities(traffic, Setup(memory_mb=1769))["Lambda GB-s"]
    )


def test_starts_are_counted_but_never_more_than_batches():
    """2 shards, 12 starts a day, 30.4 days: 730 starts, each 1 s of CPU and one PUT; a table of one batch has one."""
    busy = traffic_of(Workload(10, 1000, shards=2), FIGURES)
    prices = assuming(starts_per_shard_day=12)
    assert quantities(busy, prices=prices)["S3 PUT"] - busy.puts == pytest.approx(2 * 12 * 2_628_000 / 86_400)
    quiet = traffic_of(Workload(1 / MONTH_S, 1000, shards=1), FIGURES)
    assert quantities(quiet, prices=prices)["S3 PUT"] == pytest.approx(2)


def test_kms_is_asked_for_one_put_in_a_hundred_but_once_in_each_life_of_a_bucket_key():
    """43,800 PUTs and a key that lives 300 s: 8,760 requests; with 10 million PUTs one in a hundred is more."""
    prices = assuming(kms_puts_per_request=100, kms_bucket_key_life_s=300)
    slow = replace(traffic_of(Workload(10, 1000, shards=1), FIGURES), puts=43_800)
    assert quantities(slow, prices=prices)["KMS requests"] == pytest.approx(8_760)
    assert quantities(replace(slow, puts=1e7), prices=prices)["KMS requests"] == pytest.approx(1e5)
    assert quantities(replace(slow, puts=3), prices=prices)["KMS requests"] == pytest.approx(3)


def test_small_segments_stay_in_standard_for_as_long_as_they_are_kept():
    """2 GB a month in objects below 128 KB, kept 30 months: 24, 24 and 12 GB-months at $1."""
    traffic = replace(traffic_of(Workload(1, 1000), FIGURES), stored_bytes=2 * GB, tiered_bytes=0, tiered_objects=0)
    prices = priced(s3_frequent=Price(99, 1, ""), s3_infrequent=Price(99, 1, ""), s3_archive_instant=Price(99, 1, ""))
    found = lines(bill_of(traffic, Setup(months=30), FIGURES, prices))
    years = [found[f"S3, segments in year {year}"] for year in (1, 2, 3)]
    assert [(line.quantity, line.usd) for line in years] == [(24, 24), (24, 24), (12, 12)]
    assert "S3, segments in year 4" not in found
    assert found["S3, monitored there"].quantity == found["S3, moved to Intelligent-Tiering"].quantity == 0


def test_large_segments_grow_cheaper_with_age():
    """1 GB a month, 14 months: one month Standard ($16), one Frequent ($8), two Infrequent ($4), then Archive Instant
    ($1): year 1 is 16 + 8 + 2 x 4 + 8 x 1 = 40, year 2 is 2 x 1; 7 objects are moved once and watched 13 months."""
    traffic = replace(traffic_of(Workload(1, 1000), FIGURES), stored_bytes=GB, tiered_bytes=GB, tiered_objects=7)
    prices = priced(s3_standard=Price(16, 1, ""), s3_frequent=Price(8, 1, ""), s3_infrequent=Price(4, 1, ""))
    found = lines(bill_of(traffic, Setup(months=14), FIGURES, prices))
    assert found["S3, segments in year 1"].usd == pytest.approx(40)
    assert found["S3, segments in year 2"].usd == pytest.approx(2)
    assert found["S3, moved to Intelligent-Tiering"].quantity == 7
    assert found["S3, monitored there"].quantity == 7 * 13
    one_month = lines(bill_of(traffic, Setup(months=1), FIGURES, prices))
    assert one_month["S3, segments in year 1"].usd == pytest.approx(16)
    assert one_month["S3, moved to Intelligent-Tiering"].quantity == 0


@pytest.mark.parametrize(("records", "is_tiered"), [(258, False), (259, True)])
def test_a_segment_is_large_from_128_kilobytes_on(records, is_tiered):
    """2,000 + 500 x 258 = 131,000 bytes stay, 2,000 + 500 x 259 = 131,500 are moved: the limit is 131,072."""
    traffic = traffic_of(Workload(1000, 1000, shards=1, batch_size=records), FIGURES)
    assert (traffic.tiered_bytes > 0) == is_tiered
    assert traffic.tiered_bytes in {0, traffic.stored_bytes}


def test_watching_is_paid_by_what_the_stack_makes():
    """14 alarm metrics, 8 metrics in the hours with a batch and 4 of the sealer, a dashboard; 1,024 bytes of log a
    batch and 500 for each of 2,920 sealings, kept 90 days."""
    traffic = replace(traffic_of(Workload(1, 1000), FIGURES), batches=365)
    found = quantities(traffic)
    assert (found["CloudWatch alarms"], found["CloudWatch dashboard"]) == (14, 1)
    assert found["CloudWatch metrics"] == pytest.approx(8 * 365 / 730 + 4)
    logged = 365 * 1024 + 2_920 * 500
    assert found["CloudWatch logs, written"] == pytest.approx(logged / GB)
    assert found["CloudWatch logs, kept"] == pytest.approx(logged / GB * 90 * 86_400 / 2_628_000)
    assert quantities(replace(traffic, batches=1e6))["CloudWatch metrics"] == 12
    told = quantities(traffic, prices=assuming(seal_log_bytes=1_000))
    assert told["CloudWatch logs, written"] == pytest.approx((logged + 2_920 * 1_000) / GB)


def test_sealing_is_paid_by_the_clock_and_by_what_is_sealed():
    """Every 15 minutes 2,920 calls a month, 12 cold starts a day 365; in ten months 29,200 seals, which a cold start
    lists: 365 x 29.2 pages. 260 segments in 26 hours are 0.26 pages a call. 7 lists and a put a call; a get a call,
    one for each segment, and 120 seals a cold start."""
    traffic = replace(traffic_of(Workload(1, 1000), FIGURES), puts=7_300, writes=1e6)
    assumed = assuming(
        core_factor=2,
        put_wait_s=0.1,
        seal_starts_per_day=12,
        seal_start_cpu_s=1,
        seal_cpu_s_per_record=1e-4,
        seal_bytes=1_000,
    )
    found = quantities(traffic, Setup(months=10), assumed)
    writes, reads = 2_920 * 8 + 365 * 29.2 + 2_920 * 0.26, 2_920 + 7_300 + 365 * 120
    assert found["Lambda requests to seal"] == pytest.approx(2_920)
    assert found["S3 writes and lists to seal"] == pytest.approx(writes)
    assert found["S3 reads to seal"] == pytest.approx(reads)
    cpu_s = (365 * 1 + 1e6 * 1e-4) * 2 / (1_024 / 1_769)
    assert found["Lambda GB-s to seal"] == pytest.approx(cpu_s + (writes + reads) * 0.1)
    assert (found["KMS signatures"], found["KMS key"]) == (pytest.approx(2_920 + 365), 1)
    assert found["S3, seals"] == pytest.approx((29_200 + 73_000) * 1_000 / GB)


def test_no_sealing_is_a_cold_start_twice():
    """However short a container lives."""
    often = quantities(traffic_of(Workload(1), FIGURES), prices=assuming(seal_starts_per_day=1_000))
    assert often["KMS signatures"] == pytest.approx(2 * 2_920)


class Counting:
    """A store in memory that counts what it is asked."""

    def __init__(self):
        self.objects, self.asked = {}, Counter()

    def put_if_absent(self, name, content):
        self.asked["put"] += 1
        return self.objects.setdefault(name, content) is content

    def get(self, name):
        self.asked["get"] += 1
        return self.objects[name]

    def list(self, prefix, start_after=""):
        self.asked["list"] += 1
        return iter(
            sorted(
                (name, len(held))
                for name, held in self.objects.items()
                if name.startswith(prefix) and name > start_after
            )
        )


def test_a_sealing_asks_as_much_of_s3_as_is_counted(tmp_path):
    """The sealer itself, in a container that lives and in a new one, which reads again what was sealed in 30 hours if
    there is something new to compare it with. The model takes it that there always is."""
    trail, now_ms = Trail("111122223333", "eu-west-1", "orders"), 1_790_000_900_000
    create_key(tmp_path / "key")
    store, signer = Counting(), load_signer(tmp_path / "key")
    Writer(store, Streams(key_schema={"orders": ("id",)})).archive([record(1)], now_ms=now_ms)
    sealer = Sealer(store, trail, signer)
    for number in range(400):
        store.asked.clear()
        sealer.seal(now_ms + number * 900_000)
    assert store.asked == {"list": cost._SEAL_LISTS, "get": cost._SEAL_GETS, "put": 1}
    changed_at_s = now_ms // 1_000 + 400 * 900 - 60
    Writer(store, Streams()).archive([record(2, changed_at_s)], now_ms=changed_at_s * 1_000)
    store.asked.clear()
    assert Sealer(store, trail, signer).seal(now_ms + 400 * 900_000).entries["segment"] == 1
    again = store.asked.pop("get") - cost._SEAL_GETS - 1
    assert store.asked == {"list": cost._SEAL_LISTS, "put": 1}
    assert again == pytest.approx(cost._SEALED_AGAIN_H * 60 / cost.SEAL_EVERY_MINUTES, abs=10)


def test_a_sealing_reports_as_many_metrics_as_are_counted(capsys):
    """Those of its table, and `ColdStart` of its function."""
    report_sealing(Sealing(), table="orders")
    blobs = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "CloudWatchMetrics" in line]
    named = {
        metric["Name"] for blob in blobs for told in blob["_aws"]["CloudWatchMetrics"] for metric in told["Metrics"]
    }
    assert len(named) + len({"ColdStart"}) == cost.SEAL_METRICS


def test_a_price_is_for_so_many_units():
    """$0.005 per 1,000 PUTs: 43,800 cost 21.9 cents."""
    assert Price(0.005, 1000, "request").of(43_800) == pytest.approx(0.219)


def test_without_writes_only_the_floor_is_left():
    """Nothing is archived or stored: what is left is the clock's sealing, alarms, the dashboard, the sealer's metrics
    and log."""
    bill = bill_of(traffic_of(Workload(0), FIGURES), Setup(), load_figures(), load_prices())
    assert bill.usd(ARCHIVING) == bill.usd(STORAGE) == 0
    watched = 14 * 0.10 + 3.00 + 4 * 0.30
    assert bill.usd(WATCHING) == pytest.approx(watched, abs=0.01)
    assert bill.usd(WATCHING) > watched
    assert bill.usd(SEALING) > 1.00, "the key alone"
    assert bill.usd() == pytest.approx(bill.usd(WATCHING) + bill.usd(SEALING))


def test_puts_of_a_quiet_table_follow_shards_and_windows_and_not_writes():
    """One write in each window, or a hundred: the PUTs are the same but for batches that span an hour; with twice the
    shards they double."""
    once = traffic_of(Workload(4 / 60, shards=4), FIGURES)
    often = traffic_of(Workload(400 / 60, shards=4), FIGURES)
    assert once.puts == pytest.approx(4 * 43_800)
    assert often.puts == pytest.approx(once.puts, rel=0.02)
    assert traffic_of(Workload(8 / 60, shards=8), FIGURES).puts == pytest.approx(2 * once.puts)


# --- figures ---


def test_between_two_measurements_lies_a_straight_line():
    """Of batches and of item sizes; an item smaller than the smallest counts as that one."""
    double = ItemFigures(2000, 2000, tuple((n, 2 * cpu, 2 * size) for n, cpu, size in ROUND.batches))
    both = replace(FIGURES, items=(ROUND, double))
    assert ROUND.cpu_s(101) == pytest.approx(0.0201)
    assert both.of(1500)(101).cpu_s == pytest.approx(1.5 * 0.0201)
    assert both.of(1500)(101).segment_bytes == pytest.approx(1.5 * 52_500)
    assert both.event_bytes(1500) == pytest.approx(1500)
    assert both.of(10)(101) == both.of(1000)(101)
    assert both.event_bytes(10) == 1000


def test_the_shipped_figures_are_those_of_the_benchmark():
    """Every size and batch that the benchmark measures stands in the file, from one record to a full batch."""
    figures = load_figures()
    assert tuple(item.bytes for item in figures.items) == benchmark.ITEM_BYTES
    for item in figures.items:
        records = [n for n, *_ in item.batches]
        assert records == benchmark.batches(int(item.bytes), 1_795_392_000)
        sizes = [size for *_, size in item.batches]
        assert all(low < high for low, high in pairwise(sizes))
    assert figures.puts_per_batch == 1


@pytest.mark.parametrize("size_bytes", benchmark.ITEM_BYTES)
def test_the_benchmark_makes_items_of_the_size_it_says(size_bytes):
    """Sizes are billed sizes: names and values in UTF-8, numbers two digits a byte, and the overhead of a map."""
    assert benchmark.dynamodb_bytes({"M": {"zip": {"N": "12.345"}}}) == 3 + 1 + 3 + (3 + 1)
    assert benchmark.dynamodb_bytes({"SS": ["é", "a"]}) == 3
    event = json.loads(benchmark.event_of(3, size_bytes, 1_795_392_000))
    for made in event["Records"]:
        for image in (made["dynamodb"]["NewImage"], made["dynamodb"]["OldImage"]):
            assert abs(benchmark.item_bytes_of(image) - size_bytes) <= 6  # the old status is another word


def test_a_million_writes_at_full_batches_cost_two_cents_at_most():
    """The budget of the design, from the figures and prices that are shipped: 1 KB each, batches closed by 6 MB."""
    figures, prices = load_figures(), load_prices()
    workload = Workload(4 * 1000, 1024, shards=4, window_s=300)
    traffic = traffic_of(workload, figures)
    assert traffic.records_per_batch == pytest.approx(most_records(workload, figures))
    bill = bill_of(traffic, Setup(), figures, prices)
    assert bill.usd(ARCHIVING) / bill.writes * 1e6 <= 0.02
    # Not because something was left out: the PUTs and the CPU alone, without factor, wait or start, are a third of it.
    puts = 1e6 / 2212 * 0.005 / 1000
    cpu = figures.of(1024)(2212).cpu_s * 1e6 / 2212 * 1769 / 1024 * 0.0000133334
    assert bill.usd(ARCHIVING) / bill.writes * 1e6 >= puts + cpu


# --- properties ---

WORKLOADS = st.builds(
    Workload,
    writes_per_second=st.floats(1e-6, 1e4),
    item_bytes=st.floats(1, 400 * 1024),
    shards=st.integers(1, 1000),
    window_s=st.integers(1, 300),
    batch_size=st.integers(1, 10_000),
)


def usd_of(workload, setup=DEPLOYED, prices=None):
    return bill_of(traffic_of(workload, FIGURES), setup, FIGURES, prices or LISTED).usd()


@PROPERTY
@given(WORKLOADS, st.floats(1, 100))
def test_more_writes_never_cost_less(workload, factor):
    """Archiving and watching grow with the writes. Storage too, but where larger segments reach the cheaper tiers."""
    more = replace(workload, writes_per_second=workload.writes_per_second * factor)
    for group in (ARCHIVING, WATCHING):
        less_usd, more_usd = (
            bill_of(traffic_of(one, FIGURES), DEPLOYED, FIGURES, LISTED).usd(group) for one in (workload, more)
        )
        assert less_usd <= more_usd * (1 + 1e-9)
    assert traffic_of(workload, FIGURES).stored_bytes <= traffic_of(more, FIGURES).stored_bytes * (1 + 1e-9)


@PROPERTY
@given(WORKLOADS, st.integers(1, 300))
def test_a_longer_window_never_makes_more_batches(workload, window_s):
    """Cost falls with the window: it is the lever of the stack."""
    shorter, longer = sorted((workload.window_s, window_s))
    few, many = (traffic_of(replace(workload, window_s=window), FIGURES) for window in (longer, shorter))
    assert few.batches <= many.batches * (1 + 1e-9)
    assert few.cpu_s <= many.cpu_s * (1 + 1e-9)


@PROPERTY
@given(WORKLOADS, st.integers(1, 10))
def test_more_shards_never_make_fewer_batches(workload, factor):
    """The same writes spread over more shards fill batches less."""
    spread = traffic_of(replace(workload, shards=workload.shards * factor), FIGURES)
    assert traffic_of(workload, FIGURES).batches <= spread.batches * (1 + 1e-9)


@PROPERTY
@given(WORKLOADS)
def test_every_write_is_in_a_batch_and_no_batch_exceeds_its_limits(workload):
    """Batches times records are the writes; a batch has one record at least, and never more than the three limits."""
    traffic = traffic_of(workload, FIGURES)
    assert traffic.batches * traffic.records_per_batch == pytest.approx(traffic.writes)
    assert traffic.records_per_batch >= 1 - 1e-9
    assert traffic.records_per_batch <= most_records(workload, FIGURES) * (1 + 1e-9)
    assert traffic.records_per_batch <= max(1, workload.writes_per_second / workload.shards * workload.window_s) * (
        1 + 1e-9
    )
    assert traffic.batches - 1e-6 <= traffic.puts <= 2 * traffic.batches + 730 * workload.shards


@PROPERTY
@given(WORKLOADS, st.integers(1, 60), st.sampled_from(sorted(PriceList.__dataclass_fields__)))
def test_no_price_makes_the_bill_smaller_when_it_rises(workload, months, name):
    """Every price of the list is used with its sign."""
    price = getattr(LISTED.list, name)
    dearer = replace(LISTED, list=replace(LISTED.list, **{name: replace(price, usd=price.usd * 2)}))
    setup = Setup(months=months)
    assert usd_of(workload, setup) <= usd_of(workload, setup, dearer)


def test_every_price_and_assumption_matters():
    """One that changes no bill would be an ornament."""
    shipped = load_prices()
    workloads = [Workload(1000, 4096), Workload(1, 1024), Workload(40_000, 1024, shards=100)]

    def bills(prices):
        return [usd_of(workload, Setup(months=36), prices) for workload in workloads]

    for section, names in (("list", PriceList), ("assumptions", Assumptions)):
        for name in names.__dataclass_fields__:
            value = getattr(getattr(shipped, section), name)
            changed = replace(value, usd=value.usd * 2) if section == "list" else value * 2
            part = replace(getattr(shipped, section), **{name: changed})
            assert bills(replace(shipped, **{section: part})) != bills(shipped), name


# --- what a listing says ---


def test_a_listing_tells_puts_and_bytes_and_writes_by_the_size_of_items():
    """3 days, 72 segments of 52,000 bytes each = 2,000 + 500 x 100: 100 records a segment, 730 segments a month."""
    seen = Seen.of([52_000] * 72, days=3)
    traffic = traffic_seen(seen, item_bytes=1000, shards=1, figures=FIGURES)
    assert traffic.puts == traffic.batches == pytest.approx(730)
    assert traffic.records_per_batch == pytest.approx(100, rel=1e-4)
    assert traffic.writes == pytest.approx(73_000, rel=1e-4)
    assert traffic.stored_bytes == pytest.approx(730 * 52_000)
    assert traffic.cpu_s == pytest.approx(730 * 0.02, rel=1e-4)


def test_a_listing_tells_large_segments_from_small_ones():
    """Only those of 131,072 bytes and more are moved."""
    seen = Seen.of([131_071, 131_072, 500_000], days=30.416_666_666_667)
    traffic = traffic_seen(seen, item_bytes=1000, shards=1, figures=FIGURES)
    assert traffic.tiered_objects == pytest.approx(2)
    assert traffic.tiered_bytes == pytest.approx(631_072)


@PROPERTY
@given(WORKLOADS)
def test_a_listing_of_a_workload_tells_the_workload(workload):
    """What the model says a table writes, listed, gives the same traffic back, but for segments cut at the hour."""
    made = traffic_of(workload, FIGURES)
    size = made.stored_bytes / made.batches
    seen = Seen(MONTH_S / 86_400, made.batches, made.stored_bytes, 0, 0)
    back = traffic_seen(seen, item_bytes=workload.item_bytes, shards=workload.shards, figures=FIGURES)
    assert back.records_per_batch == pytest.approx(made.records_per_batch, rel=1e-3)
    assert back.writes == pytest.approx(made.writes, rel=1e-3)
    assert size >= 2500 - 1e-6


# --- the stack ---


def resources(kind):
    """Those of a stack without compaction, which is not counted."""
    found = sam_template()["Resources"].items()
    return {
        name: made["Properties"] for name, made in found if made["Type"] == kind and made.get("Condition") != "Compacts"
    }


def test_the_stack_makes_what_is_counted():
    """An alarm over a formula is paid once for each metric it looks at; there is one dashboard, and logs stay so long."""
    alarms = resources("AWS::CloudWatch::Alarm").values()
    metrics = [sum("MetricStat" in one for one in alarm["Metrics"]) if "Metrics" in alarm else 1 for alarm in alarms]
    assert sum(metrics) == cost.ALARM_METRICS
    assert len(resources("AWS::CloudWatch::Dashboard")) == cost.DASHBOARDS
    parameters = sam_template()["Parameters"]
    assert parameters["LogRetentionDays"]["Default"] == cost.LOG_RETENTION_DAYS
    assert parameters["MemorySize"]["Default"] == Setup().memory_mb
    assert parameters["SealEveryMinutes"]["Default"] == cost.SEAL_EVERY_MINUTES
    assert resources("AWS::Serverless::Function")["SealFunction"]["MemorySize"] == cost.SEAL_MEMORY_MB
    assert len(resources("AWS::KMS::Key")) == 1
    assert parameters["BatchSize"]["Default"] == Workload(1).batch_size == cost_traffic.BATCH_SIZE_MAX
    assert parameters["BatchingWindowSeconds"]["Default"] == Workload(1).window_s
    assert parameters["BatchingWindowSeconds"]["MaxValue"] == cost_traffic.WINDOW_S_MAX


def test_the_lifecycle_rule_moves_segments_when_the_model_says():
    """After 30 days, and only objects of 128 KB and more."""
    lifecycle = resources("AWS::S3::Bucket")["Archive"]["LifecycleConfiguration"]
    assert lifecycle["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    moves = [move for rule in lifecycle["Rules"] for move in rule.get("Transitions", ())]
    assert moves == [{"StorageClass": "INTELLIGENT_TIERING", "TransitionInDays": 30}]


def record(number, changed_at_s=1_790_000_000):
    return delivered(
        "INSERT",
        {"id": {"S": f"{number}"}},
        None,
        {"text": {"S": "x" * 500}},
        sequence_number=4_000_000_000_000_000_000_000 + number,
        changed_at_s=changed_at_s,
        arn="arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-09-01T00:00:00.000",
        event_id=f"{number:032x}",
    )


def test_a_batch_reports_as_many_metrics_as_are_counted(tmp_path, capsys):
    """Those of its table, and `ColdStart` of its function; `BatchesFailed` is only reported when something fails."""
    report = Writer(FolderStore(tmp_path), Streams()).archive([record(1)], now_ms=1_790_000_000_000)
    capsys.readouterr()
    report_batch(report, now_ms=1_790_000_000_000)
    blobs = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "CloudWatchMetrics" in line]
    named = {
        metric["Name"] for blob in blobs for told in blob["_aws"]["CloudWatchMetrics"] for metric in told["Metrics"]
    }
    assert len(named) + len({"ColdStart"}) == cost.METRICS


# --- the price file ---


def test_the_shipped_prices_have_a_unit_and_evidence_each():
    """A price that nobody can check is a rumour."""
    document = tomllib.loads(SHIPPED)
    for section in ("price", "assumption"):
        for name, entry in document[section].items():
            assert entry["unit"].strip(), name
            assert entry["evidence"].strip(), name
    assert load_prices().region == "us-east-1"


def line_of(text, part):
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


WRONG = {
    "an unknown price": ("[price.s3_put]", "[price.s3_putt]", "line {}: price.s3_putt is not known"),
    "an unknown section": ("[about]", "[abuot]", "line {}: abuot is not known"),
    "a misspelled section": ("[price.s3_put]", "[prices.s3_put]", "line {}: prices is not known"),
    "an unknown value": ("usd = 0.03\n", "usd = 0.03\neur = 0.03\n", "line {}: price.{name}.eur is not known"),
    "a price that is a text": ("usd = 3.00", 'usd = "3.00"', "line {}: price.cloudwatch_dashboard.usd is '3.00'"),
    "a price below nothing": ("usd = 3.00", "usd = -3", "line {}: price.cloudwatch_dashboard.usd is -3"),
    "per nothing": ("per = 10_000", "per = 0", "line {}: price.kms_request.per is 0"),
    "not a number": ("value = 2.0", "value = nan", "line {}: assumption.core_factor.value is nan"),
    "yes": ("usd = 3.00", "usd = true", "line {}: price.cloudwatch_dashboard.usd is True"),
    "an unknown table": (
        "[price.kms_request]",
        "[price.kms_request.more]",
        "line {}: price.kms_request.more is not",
    ),
    "no end": ("value = 2.0", "value = inf", "line {}: assumption.core_factor.value is inf"),
    "no evidence": (
        'evidence = "not measured against S3"',
        'evidence = ""',
        "assumption.put_wait_s.evidence is no text",
    ),
    "no TOML": ("usd = 3.00", "usd = ", "is not TOML"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_price_file_is_told_with_the_line_and_the_entry(mistake, tmp_path):
    """Nothing is skipped and nothing is filled in: a bill from half a price list is a wrong bill."""
    old, new, message = WRONG[mistake]
    assert old in SHIPPED
    text = SHIPPED.replace(old, new, 1)
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_prices(file)
    number = line_of(text, "eur" if "eur" in new else new.splitlines()[0])
    expected = message.format(number, name="kms_request" if "eur" in new else "")
    assert expected in caught.value.message
    assert str(file) in caught.value.message
    assert caught.value.hint


def test_a_missing_price_is_told(tmp_path):
    """A file that is complete for an older version misses what was added."""
    start, end = SHIPPED.index("[price.kms_request]"), SHIPPED.index("[price.kms_asymmetric]")
    file = tmp_path / "mine.toml"
    file.write_text(SHIPPED[:start] + SHIPPED[end:], encoding="utf-8")
    with pytest.raises(UsageError, match=r"price\.kms_request is missing"):
        load_prices(file)


# --- the command ---


def answer(command):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(shlex.split(command))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """No configuration of the person who runs the tests."""
    for name in ("DDBTRAIL_ARCHIVE", "DDBTRAIL_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def rows_of(command):
    code, out, err = answer(command)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_the_totals_are_the_sums_of_the_lines():
    """By group and in all; a million writes cost a million times one."""
    rows = rows_of("cost --writes 2M --item-bytes 700 -o jsonl")
    for group in GROUPS:
        (total,) = [row for row in rows if row["group"] == "total" and row["item"] == group]
        assert total["usd_per_month"] == pytest.approx(sum(r["usd_per_month"] for r in rows if r["group"] == group))
    (everything,) = [row for row in rows if row["item"] == "all"]
    assert everything["usd_per_month"] == pytest.approx(sum(r["usd_per_month"] for r in rows if r["group"] in GROUPS))
    assert everything["usd_per_million_writes"] == pytest.approx(everything["usd_per_month"] / 2)


def test_a_rate_and_a_number_of_writes_mean_the_same():
    """A month has 2,628,000 seconds."""
    assert rows_of("cost --writes 2628k -o jsonl") == rows_of("cost --writes-per-second 1 -o jsonl")


def test_the_floor_is_shown_beside_the_bill():
    """What a table costs that nobody writes to, and one with a single write in each window of each shard."""
    rows = rows_of("cost --writes 1M --shards 4 -o jsonl")
    nothing, trickle = [row for row in rows if row["group"] == "floor"]
    (idle,) = [row for row in rows_of("cost --writes 0 -o jsonl") if row["item"] == "all"]
    assert nothing["usd_per_month"] == idle["usd_per_month"]
    assert trickle["quantity"] == pytest.approx(4 * 43_800)
    (same,) = [row for row in rows_of("cost --writes 175200 --shards 4 -o jsonl") if row["item"] == "all"]
    assert trickle["usd_per_month"] == pytest.approx(same["usd_per_month"])


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("cost", "how much is written was not said"),
        ("cost --writes 1M --writes-per-second 1", "the writes were given twice"),
        ("cost --writes many", "--writes many is not a number of writes"),
        ("cost --writes 1M --table orders", "the traffic was given twice"),
        ("cost --writes 1M --batching-window 301", "300"),
        ("cost --writes 1M --item-bytes 409601", "409600"),
        ("cost --writes 1M --prices nowhere.toml", "could not read nowhere.toml"),
    ],
)
def test_what_cannot_be_reckoned_is_a_usage_error(typed, told):
    """Exit code 2, and what to type instead."""
    code, out, err = answer(typed)
    assert (code, out) == (2, "")
    assert told in err


def test_traffic_is_taken_from_the_listing_of_an_archive_alone(tmp_path, monkeypatch):
    """Segments, bytes and hours as they lie there, and no row: files of the same size that are no Parquet do as well."""
    hour_s = 1_790_000_000 // 3600 * 3600
    writer = Writer(FolderStore(tmp_path / "archive"), Streams())
    for hour in range(5):
        writer.archive([record(hour * 10 + n, hour_s + hour * 3600) for n in range(10)], now_ms=hour_s * 1000)
    segments = list((tmp_path / "archive").rglob("*.parquet"))
    for segment in segments:
        segment.write_bytes(b"\0" * segment.stat().st_size)
    monkeypatch.setattr("time.time_ns", lambda: (hour_s + 5 * 3600) * 10**9)
    command = f"cost --table orders -a {tmp_path / 'archive'} -o jsonl"
    code, out, err = answer(command)
    assert code == 0, err
    assert "5 segments" in err
    assert "no row was read" in err
    found = {row["item"]: row["quantity"] for row in map(json.loads, out.splitlines())}
    assert found["Lambda requests"] == pytest.approx(730)  # one an hour
    stored = sum(segment.stat().st_size for segment in segments) / 5 * 730
    assert found["S3, segments in year 1"] == pytest.approx(12 * stored / GB)
    code, _, err = answer(f"cost --table orders --days 1 -a {tmp_path / 'archive'}")
    assert code == 0
    monkeypatch.setattr("time.time_ns", lambda: (hour_s + 400 * 3600) * 10**9)
    code, _, err = answer(f"cost --table orders --days 1 -a {tmp_path / 'archive'}")
    assert code == 2
    assert "no segment of orders of the last 1 day" in err


def test_numbers_are_numbers_in_every_format(tmp_path):
    """Unrounded for machines, rounded for people: a spreadsheet adds them up, and nobody reads twelve decimals."""
    (row,) = [row for row in rows_of("cost --writes 1M -o jsonl") if row["item"] == "S3 PUT"]
    code, _, err = answer("cost --writes 1M -O bill.parquet")
    assert code == 0, err
    bill = pq.read_table("bill.parquet")
    assert {bill.schema.field(name).type for name in ("quantity", "usd_per_month")} == {pa.float64()}
    assert [kept for kept in bill.to_pylist() if kept["item"] == "S3 PUT"] == [row]
    _, out, _ = answer("cost --writes 1M -o csv")
    (line,) = [line.split(",") for line in out.splitlines() if "S3 PUT" in line]
    assert [float(cell) for cell in line[4:]] == [row["usd_per_month"], row["usd_per_million_writes"]]
    _, out, _ = answer("cost --writes 1M -o md")
    assert f"| {row['usd_per_month']:.4f} |" in out


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *[(0, "0.00"), (0.0000031, "0.000003"), (0.0099999, "0.010000"), (0.01, "0.0100"), (0.99994, "0.9999")],
        *[(1, "1.00"), (999.994, "999.99"), (1000, "1 000"), (172_799.6, "172 800")],
    ],
)
def test_an_amount_has_as_many_decimals_as_it_needs(number, text):
    """At the last value of each form, and the first of the next."""
    assert amount(number) == text


# --- the pages ---

PAGES = ("docs/cost.md", "docs/operations.md")
_SHOWN = re.compile(r"^```text\n\$ ddbtrail (cost (?!--help).*)\n((?:.*\n)*?)```$", re.MULTILINE)


def shown():
    return [(page, *found) for page in PAGES for found in _SHOWN.findall((ROOT / page).read_text(encoding="utf-8"))]


def test_both_pages_show_what_the_command_says():
    """A rule over no blocks holds for ever."""
    assert {page for page, *_ in shown()} == set(PAGES)


@pytest.mark.parametrize(("page", "command", "text"), shown())
def test_the_tables_of_the_pages_are_the_command_s_own(page, command, text):
    """Figures are measured anew and prices change: the page changes with them or the test fails."""
    code, out, err = answer(f"{command} --color never")
    assert code == 0, err
    assert text == out, f"{page}: {command}"
