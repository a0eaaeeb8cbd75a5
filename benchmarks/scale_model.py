"""The tables of docs/scale.md: `python -m benchmarks.scale_model` prints them. Arithmetic alone: it measures nothing.

What was measured or assumed stands in `INPUTS`, with where it comes from; prices and the figures of the archiver are
those of `ddbtrail cost`, and what a run needs in the function is asked of `query.derived.outgrown`. A month has 730
hours, a year twelve of them; bytes are decimal here (GB is 10^9), but for prices, which are of 2^30.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from archiver.sealed_log import _MOST_SEALS
from archiver.sealer import RECORDS_PER_SEAL, SEGMENTS_PER_SEAL
from query.derived.description import MOST_PART_ROWS
from query.derived.outgrown import Room, Work, need_of
from query.derived.parts import PART_BYTES
from query.derived.tail import TAIL_MS
from query.operate.cost import ARCHIVING, SEAL_MEMORY_MB, SEALING, STORAGE, WATCHING, Setup, bill_of
from query.operate.cost_figures import load_figures
from query.operate.cost_prices import load_prices
from query.operate.cost_traffic import MONTH_S, TIERED_BYTES, Traffic, Workload, most_records, traffic_of

RATES: Final = (10, 1_000, 100_000, 1_000_000)
HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
YEAR_S: Final = 12 * MONTH_S
TAIL_S: Final = TAIL_MS / 1000
GB: Final = 2**30
ONE_VCPU_MB: Final = 1769
COMPACTION_MEMORY_MB: Final = 3_538  # the template's default
FIGURES: Final = load_figures()
PRICES: Final = load_prices()
LISTED_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Age:
    """How old an archive is, and how many months of storage its bill is for."""

    text: str
    seconds: float
    months: int
    live_runs: int  # at worst, in the last hour of a month: months that are over, 30 days, 23 hours


AGES: Final = (
    Age("1 day", DAY_S, 1, 23),
    Age("1 year", YEAR_S, 12, 11 + 30 + 23),
    Age("10 years", 10 * YEAR_S, 120, 119 + 30 + 23),
)


@dataclass(frozen=True, slots=True)
class Input:
    """A number that goes in."""

    value: float
    what: str
    is_measured: bool
    source: str


# On two cores of a busy machine, changes of items with two images of 210 bytes, unless `source` says otherwise.
INPUTS: Final = {
    "segment_bytes": Input(
        3_000,
        "bytes of a segment beside its rows",
        True,
        "performance.md: 64 bytes a row with 463 in a segment, 58 with 4,630",
    ),
    "row_bytes": Input(58, "bytes of a row in a segment", True, "the same"),
    "run_row_bytes": Input(59, "bytes of a row in a run: 1.0 times the segments", True, "10 million changes"),
    "item_bytes": Input(88, "bytes of an item in a snapshot, items files included", True, "1 million items"),
    "index_share": Input(65e3 / 27.5e6, "bytes of an index for a byte of its part", True, "65 KB beside 27.5 MB"),
    "items_share": Input(0.095, "bytes of an items file for a byte of its part", True, "86 MB beside 899 MB"),
    "levels": Input(
        3.8, "times the segments that hour, day and month write", True, "performance.md; time goes with it"
    ),
    "compact_rows_s": Input(170_000, "rows/s that compaction writes, one level", True, "10 million in 45 to 60 s"),
    "compact_cpu_s": Input(4.4e-6, "CPU s a row and level", True, "the same"),
    "spill_bytes": Input(890, "bytes of disk a row while a run is made", True, "operations.md: 3.4 million rows"),
    "run_requests": Input(3, "requests a run for one item, nothing cached", True, "190 for 58 runs in 1,000 days"),
    "run_requests_known": Input(1, "the same, descriptions and indexes cached", True, "74 for 58 runs"),
    "other_requests": Input(16, "other requests for one item, one segment an hour", True, "190 less 3 for each run"),
    "group_bytes": Input(
        256 * 1024, "bytes of rows read of a run for one item", True, "14 MB for 58 runs, indexes included"
    ),
    "part_entry_bytes": Input(621, "bytes of a part in run.json", True, "one composed, keys of 15 characters"),
    "segment_entry_bytes": Input(82, "bytes of a segment in a run's table of segments", True, "50,000 segments"),
    "log_entry_bytes": Input(614, "bytes of an entry in a seal", True, "264,356 bytes of a seal with 430 entries"),
    "log_entry_s": Input(10e-6, "CPU s to read it", True, "performance.md"),
    "verify_rows_s": Input(102_000, "rows/s and core of `verify --full`", True, "performance.md: 10 million changes"),
    "verify_cores": Input(1.9, "times as fast with two processes", True, "performance.md"),
    "verify_disk_bytes": Input(
        110, "bytes of disk a row of `verify --full`, beyond 1 GB of memory", True, "performance.md"
    ),
    "layer_row_s": Input(
        0.32e-6, "CPU s a row of `as-of`", True, "decision 0012: 2.0 to 3.2 for 10 million, provisional"
    ),
    "seal_row_s": Input(
        PRICES.assumptions.seal_cpu_s_per_record,
        "CPU s a row of sealing",
        True,
        "prices.toml: once, items of 1 KB",
    ),
    "layer_item_bytes": Input(
        60, "bytes of memory an item of `as-of`", False, "a digest of 16 bytes, a place, and a hash table half full"
    ),
    "shard_writes_s": Input(
        500, "writes/s of a shard, of 4 shards at the least", False, "half of what a partition takes"
    ),
    "window_s": Input(60, "s of the batching window", False, "the template's default"),
    "item_change_s": Input(9 * DAY_S, "s between two changes of an item", False, "as in the benchmarks: 10 in 90 days"),
    "snapshots_month": Input(2, "snapshots a month, none ever deleted", False, "its end, and 18 days of changes once"),
    "fresh_s": Input(
        100 * 60, "s of changes that no run holds, at worst", False, "the function comes 40 minutes after an hour"
    ),
    "wait_s": Input(PRICES.assumptions.put_wait_s, "s for an answer of S3", False, "prices.toml"),
    "core_factor": Input(PRICES.assumptions.core_factor, "times as slow a core of Lambda's is", False, "prices.toml"),
    "dynamodb_usd": Input(
        0.625, "dollars that DynamoDB asks for a million writes", False, "on demand, us-east-1, as quoted in public"
    ),
}


def given(name: str) -> float:
    """The value of an input."""
    return INPUTS[name].value


# --- what there is ---


@dataclass(frozen=True, slots=True)
class Load:
    """A table with so many writes a second, evenly spread. What ends with `_s` in its name is a rate."""

    writes_s: float

    @property
    def shards(self) -> int:
        return max(4, math.ceil(self.writes_s / given("shard_writes_s")))

    @property
    def traffic(self) -> Traffic:
        """A month of it, as `ddbtrail cost` has it, with the segment sizes of this model."""
        work = Workload(self.writes_s, item_bytes=256, shards=self.shards, window_s=given("window_s"))
        month = traffic_of(work, FIGURES)
        stored = month.puts * given("segment_bytes") + month.writes * given("row_bytes")
        is_tiered = stored / month.puts >= TIERED_BYTES
        return replace(
            month,
            stored_bytes=stored,
            tiered_bytes=stored if is_tiered else 0.0,
            tiered_objects=month.puts if is_tiered else 0.0,
        )

    def segments(self, seconds: float) -> float:
        return self.traffic.puts * seconds / MONTH_S

    def segment_bytes(self, seconds: float) -> float:
        return self.traffic.stored_bytes * seconds / MONTH_S

    def rows(self, seconds: float) -> float:
        return self.writes_s * seconds

    def seals(self, seconds: float) -> float:
        """One each 15 minutes, more where there is more than one seal takes."""
        full = max(self.segments(seconds) / SEGMENTS_PER_SEAL, self.rows(seconds) / RECORDS_PER_SEAL)
        return max(seconds / (15 * 60), full)

    def parts(self, seconds: float) -> float:
        """Parts of runs: closed by rows or by bytes, whichever comes first."""
        return max(self.rows(seconds) / MOST_PART_ROWS, self.rows(seconds) * given("run_row_bytes") / PART_BYTES)

    def run_bytes(self, seconds: float) -> float:
        return self.rows(seconds) * given("run_row_bytes") * (1 + given("index_share") + given("items_share"))

    @property
    def items(self) -> float:
        return self.writes_s * given("item_change_s")

    def snapshot_bytes(self, age: Age) -> float:
        """Of all snapshots; none in the first month."""
        months = age.seconds // MONTH_S
        return months * given("snapshots_month") * self.items * given("item_bytes")


def _per_run(load: Load, seconds: float) -> float:
    return max(1.0, load.parts(seconds))


# --- requests and bytes of a question ---


@dataclass(frozen=True, slots=True)
class ItemCost:
    """What the history of one item asks of S3 with nothing cached, by where it comes from; `known_requests` are those
    of runs whose descriptions and indexes are cached.
    """

    run_requests: float
    known_requests: float
    tail_requests: float
    fresh_requests: float
    run_bytes: float
    description_bytes: float
    table_bytes: float
    fresh_bytes: float

    @property
    def requests(self) -> float:
        return self.run_requests + self.tail_requests + self.fresh_requests

    @property
    def bytes(self) -> float:
        return self.run_bytes + self.description_bytes + self.table_bytes + self.fresh_bytes


def item_cost(load: Load, age: Age) -> ItemCost:
    """One group and one index of each run; the listed tail; what is in no run yet, whole."""
    fresh_s = given("fresh_s")
    part = min(load.run_bytes(age.seconds) / age.live_runs, MOST_PART_ROWS * given("run_row_bytes"), PART_BYTES)
    return ItemCost(
        run_requests=age.live_runs * given("run_requests") + given("other_requests"),
        known_requests=age.live_runs * given("run_requests_known") + given("other_requests"),
        tail_requests=load.segments(min(age.seconds, TAIL_S)) / LISTED_AT_ONCE,
        fresh_requests=load.segments(fresh_s),
        run_bytes=age.live_runs * (part * given("index_share") + min(part, given("group_bytes"))),
        description_bytes=max(age.live_runs, load.parts(age.seconds)) * given("part_entry_bytes"),
        # Just after a month was merged its table has all the month; in the first day, what there is.
        table_bytes=load.segments(min(age.seconds, MONTH_S)) * given("segment_entry_bytes"),
        fresh_bytes=load.segment_bytes(fresh_s) + load.segments(fresh_s) * given("log_entry_bytes"),
    )


def asof_rows(load: Load) -> float:
    """Rows of the nearest snapshot, and of the changes until the next one is due (or of a month's end)."""
    return load.items + load.rows(min(2 * given("item_change_s"), MONTH_S))


# --- dollars ---


def dollars(load: Load, age: Age) -> dict[str, float]:
    """US dollars a month when the archive is so old."""
    assumed = replace(PRICES.assumptions, seal_bytes=given("log_entry_bytes"))
    listed = PRICES.list
    bill = bill_of(load.traffic, Setup(months=age.months), FIGURES, replace(PRICES, assumptions=assumed))
    part_of_month = min(1.0, age.seconds / MONTH_S)
    cpu_s = load.rows(MONTH_S) * given("levels") * given("compact_cpu_s") * assumed.core_factor
    requests = compaction_requests(load)
    begun_s = MONTH_S / HOUR_S * need_of(Work(0, 0, 0), 1).seconds
    making = listed.lambda_gb_s.of((cpu_s * ONE_VCPU_MB + begun_s * COMPACTION_MEMORY_MB) / 1024)
    making += listed.s3_put.of(requests["PUT"] + requests["LIST"]) + listed.s3_get.of(requests["GET"])
    return {
        "archiving": bill.usd(ARCHIVING),
        "sealing": bill.usd(SEALING),
        "segments": bill.usd(STORAGE) * part_of_month,
        "compaction": making,
        "runs": listed.s3_standard.of(load.run_bytes(age.seconds) / GB),
        "snapshots": listed.s3_standard.of(load.snapshot_bytes(age) / GB),
        "watching": bill.usd(WATCHING),
    }


def compaction_requests(load: Load) -> dict[str, float]:
    """Of a month: each segment read once, what hours and days made read once more, and all of it put."""
    hours, days = MONTH_S / HOUR_S, MONTH_S / DAY_S
    by_hour, by_day = hours * _per_run(load, HOUR_S), days * _per_run(load, DAY_S)
    runs = hours + days + 1
    return {
        "PUT": 3 * (by_hour + by_day + _per_run(load, MONTH_S)) + 2 * runs,
        "GET": load.segments(MONTH_S) + load.seals(MONTH_S) + by_hour + by_day + 2 * runs,
        "LIST": 4 * hours,
    }


def sealer_requests(load: Load) -> dict[str, float]:
    """Of a month: calls by the clock, each of which lists the tail."""
    calls = MONTH_S / (15 * 60)
    return {
        "PUT": load.seals(MONTH_S),
        "GET": load.segments(MONTH_S) + calls,
        "LIST": calls * (7 + load.segments(TAIL_S) / LISTED_AT_ONCE),
    }


# --- where each part stops ---


def most(fits: Callable[[float], bool], low: float = 1e-3, high: float = 1e9) -> float:
    """The most writes a second for which something still fits; at least `low`."""
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def segment_rows() -> float:
    """Rows of a full batch."""
    return most_records(Workload(1.0, item_bytes=256), FIGURES)


def archiver_shard_writes_s() -> float:
    """What one container archives that waits for each PUT, with 512 MB."""
    cpu_s = FIGURES.of(256)(segment_rows()).cpu_s * given("core_factor") / (512 / ONE_VCPU_MB)
    return segment_rows() / (cpu_s + given("wait_s"))


def sealing_s(load: Load, seconds: float, slower: float = 1.0) -> float:
    """How long one sealer checks what came in so much time, a segment after the other, on a core so much slower."""
    return load.segments(seconds) * given("wait_s") + load.rows(seconds) * given("seal_row_s") * slower


def sealer_writes_s(slower: float = 1.0) -> float:
    """The rate at which one sealer has to work all the time."""
    return most(lambda writes_s: sealing_s(Load(writes_s), DAY_S, slower) <= DAY_S)


def function_writes_s(seconds: float, memory_mb: int) -> float:
    """The rate at which a run of so much time is still one that the function makes (10,240 MB of disk)."""
    room = Room(memory_mb * 1024**2, 10_240 * 10**6, memory_mb / ONE_VCPU_MB, 900 - 120)

    def fits(writes_s: float) -> bool:
        load = Load(writes_s)
        objects = load.segments(HOUR_S) if seconds == HOUR_S else load.parts(seconds)
        work = Work(round(load.rows(seconds)), round(objects), round(load.rows(seconds) * given("run_row_bytes")))
        return need_of(work, room.cores).exceeds(room) is None

    return most(fits)


@dataclass(frozen=True, slots=True)
class Limit:
    """Where a part stops: at how many writes a second, on what that rests, and what takes over."""

    part: str
    stops: str
    writes_s: float
    basis: str
    then: str


NOTHING: Final = "nothing yet"
SPARK: Final = "the job on Spark, not measured"
MEASURED: Final = "measured"
ASSUMED: Final = "assumed"
BOTH: Final = "both"
WRITTEN: Final = "documented"


def item_limit(fits: Callable[[ItemCost], bool], age: Age) -> float:
    """The most writes a second for which the history of one item still fits."""
    return most(lambda writes_s: fits(item_cost(Load(writes_s), age)))


def limits() -> Iterator[Limit]:
    yield from _limits_of_writing()
    yield from _limits_of_reading()
    yield from _limits_of_compaction()
    yield from _limits_of_whole_tables()


def _limits_of_writing() -> Iterator[Limit]:
    shard, half = archiver_shard_writes_s(), given("core_factor") / (SEAL_MEMORY_MB / ONE_VCPU_MB)
    yield Limit(
        "archiver", "more than one container of 512 MB for a shard", shard, BOTH, "more shards; DynamoDB makes them"
    )
    yield Limit("archiver", "1,000 containers at once, Lambda's default", 1_000 * shard, BOTH, "a higher quota")
    yield Limit(
        "archiver", "3,500 PUTs a second of one prefix", 3_500 * segment_rows(), WRITTEN, "S3 divides prefixes, slowly"
    )
    yield Limit(
        "sealer", "more than the function, 1,024 MB", sealer_writes_s(half), BOTH, "`ddbtrail seal` on a machine"
    )
    yield Limit("sealer", "more than one core of a machine", sealer_writes_s(), BOTH, NOTHING)
    seals = most(lambda writes_s: Load(writes_s).seals(10 * YEAR_S) <= _MOST_SEALS)
    yield Limit("log", f"{_MOST_SEALS:,} seals in 10 years: the sealer refuses more", seals, WRITTEN, NOTHING)
    yield Limit(
        "log",
        "a seal of 2 million changes each 0.3 s",
        RECORDS_PER_SEAL / 0.3,
        ASSUMED,
        "a trail has one log: nothing",
    )


def _limits_of_reading() -> Iterator[Limit]:
    year, decade, fresh_s = AGES[1], AGES[2], given("fresh_s")
    whole = most(lambda writes_s: Load(writes_s).segments(YEAR_S) * given("log_entry_s") <= 60)
    yield Limit("log, no runs", "60 s to read a year of it", whole, MEASURED, "runs: only later seals are read")
    later = most(lambda writes_s: Load(writes_s).segments(fresh_s) * given("log_entry_s") <= 2)
    yield Limit("log, runs", "2 s to read what is later than runs", later, BOTH, NOTHING)
    listed = most(lambda writes_s: Load(writes_s).segments(TAIL_S) / LISTED_AT_ONCE * given("wait_s") <= 2)
    yield Limit("tail", "2 s to list 26 hours", listed, BOTH, NOTHING)
    few = item_limit(lambda cost: cost.requests <= 300, year)
    yield Limit("one item", "300 requests: changes in no run", few, BOTH, "a window of 300 s: a fifth of them")
    fresh = item_limit(lambda cost: cost.fresh_bytes <= 60e6, year)
    yield Limit("one item", "60 MB of changes in no run", fresh, BOTH, NOTHING)
    for age in (year, decade):
        described = item_limit(lambda cost: cost.description_bytes <= 60e6, age)
        yield Limit("one item", f"60 MB of run.json, {age.text}", described, MEASURED, "the cache, once it has them")
    merged = item_limit(lambda cost: cost.table_bytes <= 60e6, year)
    yield Limit(
        "one item", "60 MB of segment table, a month just merged", merged, MEASURED, "the cache, until the next run"
    )


def _limits_of_compaction() -> Iterator[Limit]:
    name = "compaction"
    for text, seconds, then in (
        ("an hour", HOUR_S, "`ddbtrail compact` on a machine"),
        ("a day", DAY_S, "hours stay; a machine merges them"),
        ("a month", MONTH_S, "days stay; a machine merges them"),
    ):
        yield Limit(
            name,
            f"more than the function, {COMPACTION_MEMORY_MB:,} MB: {text}",
            function_writes_s(seconds, COMPACTION_MEMORY_MB),
            BOTH,
            then,
        )
    largest = function_writes_s(DAY_S, 10_240)
    yield Limit(name, "more than the largest function: a day", largest, BOTH, "the same: disk is what lacks")
    disk = 2e12 / given("spill_bytes") / MONTH_S
    yield Limit(name, "2 TB of disk: a month", disk, MEASURED, "more disk")
    slow = given("compact_rows_s") * DAY_S / MONTH_S
    yield Limit(name, "a day on two cores: a month", slow, MEASURED, "more cores, not measured")
    yield Limit(name, "two cores all day: all levels", given("compact_rows_s") / given("levels"), MEASURED, SPARK)


def _limits_of_whole_tables() -> Iterator[Limit]:
    keys = 4e9 / given("layer_item_bytes") / given("item_change_s")
    yield Limit("as-of", "4 GB for the digests of all items", keys, ASSUMED, "disk: the engine spills")
    slow = most(lambda writes_s: asof_rows(Load(writes_s)) * given("layer_row_s") <= 2 * 600)
    yield Limit("as-of", "10 minutes on two cores, 18 days after a snapshot", slow, BOTH, SPARK)
    name, two_cores = "verify --full", given("verify_rows_s") * given("verify_cores") * DAY_S
    yield Limit(name, "more than one core for what comes", given("verify_rows_s"), MEASURED, "a process for each core")
    yield Limit(name, "a day on two cores: 1 year", two_cores / YEAR_S, MEASURED, "more cores")
    yield Limit(name, "a day on two cores: 10 years", two_cores / (10 * YEAR_S), MEASURED, "more cores")
    yield Limit(name, "1 TB of disk: 1 year", 1e12 / given("verify_disk_bytes") / YEAR_S, MEASURED, "more disk")


# --- the tables ---


def amount(number: float) -> str:
    """Two or three digits and a letter: k 10^3, M 10^6, G 10^9, T 10^12."""
    if 0 < number < 0.0995:
        return f"{number:.1g}" if number >= 1e-4 else f"{number:.2g}"
    letters = ["", " k", " M", " G", " T", " P"]
    place = 0
    while number >= 999.5 and place < len(letters) - 1:
        number, place = number / 1000, place + 1
    digits = 0 if number >= 99.5 else 1 if number >= 9.95 else 2
    text = f"{number:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + letters[place]


def table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    first, rule = "| " + " | ".join(head) + " |", "|" + "---|" * len(head)
    return "\n".join([first, rule, *("| " + " | ".join(row) + " |" for row in rows)])


def _plain(number: float) -> str:
    return f"{number:,.12g}" if number >= 0.1 else f"{number:.3g}"


def inputs_table() -> str:
    rows = [
        (_plain(one.value), one.what, "measured" if one.is_measured else "assumed", one.source)
        for one in INPUTS.values()
    ]
    return table(("value", "of what", "", "where from"), rows)


def _loads() -> Iterator[tuple[Load, Age]]:
    yield from ((Load(rate), age) for rate in RATES for age in AGES)


def objects_table() -> str:
    rows = [
        (
            f"{load.writes_s:,}",
            age.text,
            *(
                amount(math.ceil(number))
                for number in (
                    load.rows(age.seconds),
                    load.segments(age.seconds),
                    load.seals(age.seconds),
                    age.live_runs,
                    max(age.live_runs, load.parts(age.seconds)),
                )
            ),
        )
        for load, age in _loads()
    ]
    return table(("writes/s", "after", "changes", "segments", "seals", "live runs", "their parts"), rows)


def bytes_table() -> str:
    rows = []
    for load, age in _loads():
        stored = load.segment_bytes(age.seconds), load.segments(age.seconds) * given("log_entry_bytes")
        derived = load.run_bytes(age.seconds), load.snapshot_bytes(age)
        texts = (f"{amount(size)}B" if size else "0" for size in (*stored, *derived))
        rows.append((f"{load.writes_s:,}", age.text, *texts))
    return table(("writes/s", "after", "segments", "seals", "runs", "snapshots"), rows)


def requests_table() -> str:
    rows = []
    for rate in RATES:
        load = Load(rate)
        sealer, compaction = sealer_requests(load), compaction_requests(load)
        numbers = [load.traffic.puts, *(of[kind] for of in (sealer, compaction) for kind in ("PUT", "GET", "LIST"))]
        rows.append((f"{rate:,}", *map(amount, numbers)))
    made = [f"{who} {kind}" for who in ("sealer", "compaction") for kind in ("PUT", "GET", "LIST")]
    return table(("writes/s", "archiver PUT", *made), rows)


def question_table() -> str:
    rows = []
    for load, age in _loads():
        cost = item_cost(load, age)
        parts = cost.run_bytes, cost.description_bytes, cost.table_bytes, cost.fresh_bytes
        requests = cost.run_requests, cost.known_requests, cost.tail_requests, cost.fresh_requests
        whole = (amount(math.ceil(number)) for number in requests)
        rows.append((f"{load.writes_s:,}", age.text, *whole, *(amount(part / 1e6) for part in parts)))
    head = (
        "writes/s",
        "after",
        "requests: runs",
        "indexes cached",
        "tail",
        "fresh",
        "MB: runs",
        "run.json",
        "segment table",
        "fresh",
    )
    return table(head, rows)


def asof_table() -> str:
    rows = []
    for rate in RATES:
        load = Load(rate)
        hours = asof_rows(load) * given("layer_row_s") / HOUR_S
        objects = load.items * given("item_bytes") / PART_BYTES + load.parts(min(2 * given("item_change_s"), MONTH_S))
        memory = load.items * given("layer_item_bytes")
        rows.append((f"{rate:,}", *map(amount, (load.items, asof_rows(load), math.ceil(objects), hours, memory / 1e9))))
    return table(("writes/s", "items", "rows read", "objects", "CPU hours", "GB of digests"), rows)


def dollars_table() -> str:
    rows = []
    for load, age in _loads():
        bill = dollars(load, age)
        share = sum(bill.values()) / (load.rows(MONTH_S) / 1e6 * given("dynamodb_usd"))
        rows.append(
            (f"{load.writes_s:,}", age.text, *map(amount, (*bill.values(), sum(bill.values()))), f"{share:.0%}")
        )
    names = tuple(dollars(Load(RATES[0]), AGES[0]))
    return table(("writes/s", "after", *names, "together", "of the writes' price"), rows)


def hours_table() -> str:
    rows = []
    for rate in RATES:
        load = Load(rate)
        by_day = load.rows(DAY_S) * given("levels") / given("compact_rows_s") / HOUR_S
        month = load.rows(MONTH_S) / given("compact_rows_s") / HOUR_S
        sealing = sealing_s(load, DAY_S) / HOUR_S
        listing = load.segments(TAIL_S) / LISTED_AT_ONCE * given("wait_s")
        verify = [load.rows(seconds) / given("verify_rows_s") / HOUR_S for seconds in (DAY_S, YEAR_S)]
        disk = load.rows(MONTH_S) * given("spill_bytes") / 1e12
        rows.append((f"{rate:,}", *map(amount, (sealing, by_day, month, disk, listing, *verify))))
    head = (
        "writes/s",
        "sealing a day, h",
        "compacting a day, h",
        "merging a month, h",
        "its disk, TB",
        "listing the tail once, s",
        "verifying a day, core h",
        "a year, core h",
    )
    return table(head, rows)


def limits_table() -> str:
    rows = [(one.part, one.stops, amount(one.writes_s), one.basis, one.then) for one in limits()]
    return table(("part", "stops where it takes", "above writes/s", "", "what takes over"), rows)


TABLES: Final = {
    "What goes in": inputs_table,
    "Objects": objects_table,
    "Bytes": bytes_table,
    "Requests a month": requests_table,
    "One item": question_table,
    "A whole table": asof_table,
    "Hours": hours_table,
    "Dollars a month": dollars_table,
    "Where each part stops": limits_table,
}

if __name__ == "__main__":
    for title, made in TABLES.items():
        print(f"## {title}\n\n{made()}\n")
