"""What an archive costs: from traffic, measurements and prices to the lines of a monthly bill. Pure.

Invariants: every line is a quantity times a price of the list; nothing is counted that the stack does not do, and what
is left out stands in `docs/cost.md`. A month has 730 hours, as in AWS's own calculator; a GB is 2**30 bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from query.operate.cost_figures import Figures
from query.operate.cost_prices import Price, Prices
from query.operate.cost_traffic import MONTH_S, Traffic

_GB: Final = 2**30
_MB_PER_GB: Final = 1024
_DAY_S: Final = 86_400
_HOURS: Final = MONTH_S / 3600
# "At 1,769 MB, a function has the equivalent of one vCPU" (*Configure Lambda function memory*); a batch uses no more.
_ONE_VCPU_MB: Final = 1769
_YEAR_MONTHS: Final = 12

# What infra/template.yaml makes; a test counts there. HeartbeatAlarm compares two metrics and is charged as two alarms.
ALARM_METRICS: Final = 14.0
METRICS: Final = 8.0
SEAL_METRICS: Final = 4.0  # reported with every sealing, whether anybody writes or not
SEAL_MEMORY_MB: Final = 1024
SEAL_EVERY_MINUTES: Final = 15
DASHBOARDS: Final = 1.0
LOG_RETENTION_DAYS: Final = 90
# Age in months at which the lifecycle rule moves a segment, and at which Intelligent-Tiering moves it on: 30 days after
# its last access, and 90 (*How S3 Intelligent-Tiering works*). Nobody is taken to read it in between.
_MOVED_MONTHS: Final = 1
_INFREQUENT_MONTHS: Final = 2
_ARCHIVE_MONTHS: Final = 4

# What one call of the sealer asks of S3, counted: it lists seals, segments, late markers, streams, two folders of
# quarantine and baselines, and reads the description of the stream. A new container also reads the seals of 30 hours.
_SEAL_LISTS: Final = 7
_SEAL_GETS: Final = 1
_SEALED_AGAIN_H: Final = 30
_TAIL_H: Final = 26
_LISTED_AT_ONCE: Final = 1000

ARCHIVING: Final = "archiving"
SEALING: Final = "sealing"
STORAGE: Final = "storage"
WATCHING: Final = "watching"
GROUPS: Final = (ARCHIVING, SEALING, STORAGE, WATCHING)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a monthly bill: a quantity, its unit and its price in US dollars."""

    group: str
    item: str
    quantity: float
    unit: str
    usd: float


@dataclass(frozen=True, slots=True)
class Setup:
    """What the stack was deployed with, and for how many months segments are kept."""

    memory_mb: int = 512
    months: int = 36


@dataclass(frozen=True, slots=True)
class Bill:
    """The bill of the month in which the archive is `months` old. `writes` are those of that month."""

    lines: tuple[Line, ...]
    writes: float

    def usd(self, *groups: str) -> float:
        """The sum of some groups of lines, or of all."""
        return sum(line.usd for line in self.lines if line.group in (groups or GROUPS))


def bill_of(traffic: Traffic, setup: Setup, figures: Figures, prices: Prices) -> Bill:
    """What a month of this traffic costs."""
    lines = [
        *_archiving(traffic, setup, figures, prices),
        *_sealing(traffic, setup, prices),
        *_storage(traffic, setup, prices),
        *_watching(traffic, figures, prices),
    ]
    return Bill(tuple(lines), traffic.writes)


def _line(group: str, item: str, quantity: float, price: Price) -> Line:
    return Line(group, item, quantity, price.unit, price.of(quantity))


# --- archiving ---


def _archiving(traffic: Traffic, setup: Setup, figures: Figures, prices: Prices) -> Iterator[Line]:
    assumed, listed = prices.assumptions, prices.list
    starts = min(traffic.batches, traffic.shards * assumed.starts_per_shard_day * MONTH_S / _DAY_S)
    puts = traffic.puts + starts * figures.start_puts
    # Work takes longer on less than one vCPU, waiting does not.
    cpu_s = (traffic.cpu_s + starts * figures.start_cpu_s) * assumed.core_factor
    paid_s = cpu_s / min(1.0, setup.memory_mb / _ONE_VCPU_MB) + puts * assumed.put_wait_s
    yield _line(ARCHIVING, "Lambda requests", traffic.batches, listed.lambda_request)
    yield _line(ARCHIVING, "Lambda GB-s", paid_s * setup.memory_mb / _MB_PER_GB, listed.lambda_gb_s)
    yield _line(ARCHIVING, "S3 PUT", puts, listed.s3_put)
    # A bucket key saves most requests, but none after it has run out: at least one in each of its lives with a PUT.
    lives = min(puts, MONTH_S / assumed.kms_bucket_key_life_s)
    yield _line(ARCHIVING, "KMS requests", max(puts / assumed.kms_puts_per_request, lives), listed.kms_request)


# --- sealing ---


def _sealing(traffic: Traffic, setup: Setup, prices: Prices) -> Iterator[Line]:
    """Calls by the clock, each with its seal; every segment is read and checked once."""
    assumed, listed = prices.assumptions, prices.list
    calls = MONTH_S / 60 / SEAL_EVERY_MINUTES
    starts = min(calls, assumed.seal_starts_per_day * MONTH_S / _DAY_S)
    seals = calls * setup.months
    # A new container lists all seals there are; every call lists the segments of the tail.
    pages = starts * seals / _LISTED_AT_ONCE + calls * traffic.puts * _TAIL_H / _HOURS / _LISTED_AT_ONCE
    writing = calls * (1 + _SEAL_LISTS) + pages
    reading = traffic.puts + calls * _SEAL_GETS + starts * _SEALED_AGAIN_H * 60 / SEAL_EVERY_MINUTES
    cpu_s = (starts * assumed.seal_start_cpu_s + traffic.writes * assumed.seal_cpu_s_per_record) * assumed.core_factor
    paid_s = cpu_s / min(1.0, SEAL_MEMORY_MB / _ONE_VCPU_MB) + (writing + reading) * assumed.put_wait_s
    yield _line(SEALING, "Lambda requests to seal", calls, listed.lambda_request)
    yield _line(SEALING, "Lambda GB-s to seal", paid_s * SEAL_MEMORY_MB / _MB_PER_GB, listed.lambda_gb_s)
    yield _line(SEALING, "S3 writes and lists to seal", writing, listed.s3_put)
    yield _line(SEALING, "S3 reads to seal", reading, listed.s3_get)
    yield _line(SEALING, "KMS signatures", calls + starts, listed.kms_asymmetric)  # each start asks for the public key
    yield _line(SEALING, "KMS key", 1.0, listed.kms_key)
    kept_gb = (seals + traffic.puts * setup.months) * assumed.seal_bytes / _GB
    yield _line(SEALING, "S3, seals", kept_gb, listed.s3_standard)


# --- storage ---


def _storage(traffic: Traffic, setup: Setup, prices: Prices) -> Iterator[Line]:
    """What is kept of all months so far, by the year of its age: what one month's segments cost in all those years."""
    listed = prices.list
    for year in range(-(-setup.months // _YEAR_MONTHS)):
        ages = range(year * _YEAR_MONTHS, min(setup.months, (year + 1) * _YEAR_MONTHS))
        small_gb = (traffic.stored_bytes - traffic.tiered_bytes) / _GB
        usd = sum(listed.s3_standard.of(small_gb) + _tier(age, prices).of(traffic.tiered_bytes / _GB) for age in ages)
        quantity = len(ages) * traffic.stored_bytes / _GB
        yield Line(STORAGE, f"S3, segments in year {year + 1}", quantity, "GB-month", usd)
    moved_months = max(0, setup.months - _MOVED_MONTHS)
    moved = traffic.tiered_objects if moved_months else 0.0
    yield _line(STORAGE, "S3, moved to Intelligent-Tiering", moved, listed.s3_transition)
    yield _line(STORAGE, "S3, monitored there", traffic.tiered_objects * moved_months, listed.s3_monitoring)


def _tier(age_months: int, prices: Prices) -> Price:
    """The price of a segment of 128 KB or more in the month of its age."""
    if age_months < _MOVED_MONTHS:
        return prices.list.s3_standard
    if age_months < _INFREQUENT_MONTHS:
        return prices.list.s3_frequent
    return prices.list.s3_infrequent if age_months < _ARCHIVE_MONTHS else prices.list.s3_archive_instant


# --- watching ---


def _watching(traffic: Traffic, figures: Figures, prices: Prices) -> Iterator[Line]:
    listed = prices.list
    assumed, calls = prices.assumptions, MONTH_S / 60 / SEAL_EVERY_MINUTES
    logged = traffic.batches * figures.log_bytes_per_batch + calls * assumed.seal_log_bytes
    logged_gb = (logged + (traffic.batches + calls) * assumed.platform_log_bytes) / _GB
    yield _line(WATCHING, "CloudWatch alarms", ALARM_METRICS, listed.cloudwatch_alarm)
    # A metric is paid by the hour in which something is reported.
    reported = METRICS * min(1.0, traffic.batches / _HOURS) + SEAL_METRICS
    yield _line(WATCHING, "CloudWatch metrics", reported, listed.cloudwatch_metric)
    yield _line(WATCHING, "CloudWatch dashboard", DASHBOARDS, listed.cloudwatch_dashboard)
    yield _line(WATCHING, "CloudWatch logs, written", logged_gb, listed.log_ingestion)
    kept_gb_months = logged_gb * LOG_RETENTION_DAYS * _DAY_S / MONTH_S
    yield _line(WATCHING, "CloudWatch logs, kept", kept_gb_months, listed.log_storage)
