"""The command `cost`: what archiving a table costs a month, from measured figures and a list of prices."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from query.cli.exits import FOUND
from query.cli.options import DEFAULTS, Options

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.operate.cost import Bill, Setup
    from query.operate.cost_figures import Figures
    from query.operate.cost_prices import Prices
    from query.operate.cost_traffic import Traffic, Workload
    from query.render.sheet import Sheet

_ITEM_BYTES_MAX: Final = 400 * 1024
_COUNT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kMG]?)")
# What a partition of a table takes is 1,000 write units a second (*Burst and adaptive capacity*); a stream has about
# one open shard for each.
_WRITE_UNITS_MAX: Final = 1000
_THOUSANDS: Final = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
_MILLION: Final = 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the answer. `usd_per_million_writes` is None where a month has no write."""

    group: str
    item: str
    quantity: float | None
    unit: str | None
    usd_per_month: float
    usd_per_million_writes: float | None


def cost(
    *,
    writes: Annotated[str | None, Parameter(help="Writes a month, such as 1M or 250k.")] = None,
    writes_per_second: Annotated[
        float | None, Parameter(validator=Number(gte=0, lte=1e7), help="The same as a rate.")
    ] = None,
    item_bytes: Annotated[
        int,
        Parameter(validator=Number(gte=1, lte=_ITEM_BYTES_MAX), help="Mean size of an item, as DynamoDB counts it."),
    ] = 1024,
    shards: Annotated[
        int, Parameter(validator=Number(gte=1, lte=100_000), help="Open shards of the stream: one a table partition.")
    ] = 4,
    batching_window: Annotated[
        int, Parameter(validator=Number(gte=1, lte=300), help="BatchingWindowSeconds of the stack.")
    ] = 60,
    batch_size: Annotated[int, Parameter(validator=Number(gte=1, lte=10_000), help="BatchSize of the stack.")] = 10_000,
    memory: Annotated[int, Parameter(validator=Number(gte=128, lte=10_240), help="MemorySize of the stack, MB.")] = 512,
    retention_months: Annotated[
        int, Parameter(validator=Number(gte=1, lte=1200), help="For how many months segments have been kept.")
    ] = 36,
    table: Annotated[
        str | None, Parameter(help="Take the traffic from what the archive holds of this table, by listing only.")
    ] = None,
    days: Annotated[
        int, Parameter(validator=Number(gte=1, lte=36_500), help="With --table: from so many days back.")
    ] = 30,
    prices: Annotated[Path | None, Parameter(help="A price list of your own, in TOML.")] = None,
    options: Options = DEFAULTS,
) -> int:
    """Show what archiving a table costs a month, line by line.

    A model: CPU and bytes were measured on one machine, prices are list prices, and what nobody measured is assumed and
    named. docs/cost.md tells what is counted and what is not. The month is that in which the archive is as old as
    --retention-months.
    """
    from query.cli.invocation import Invocation
    from query.operate.cost import Setup, bill_of
    from query.operate.cost_figures import load_figures
    from query.operate.cost_prices import load_prices
    from query.operate.cost_traffic import Workload, traffic_of

    run = Invocation(options)
    listed, figures = load_prices(prices), load_figures()
    setup = Setup(memory_mb=memory, months=retention_months)
    workload = None
    if table is None:
        rate = _rate(writes, writes_per_second)
        workload = Workload(rate, item_bytes, shards, batching_window, batch_size)
        traffic = traffic_of(workload, figures)
        _tell_workload(run, workload, traffic, figures)
    else:
        _refuse_both(writes, writes_per_second)
        traffic = _seen(run, table, days, item_bytes, shards, figures)
    bill = bill_of(traffic, setup, figures, listed)
    floors = [] if workload is None else _floors(workload, setup, figures, listed)
    run.write(_sheet([*_rows(bill), *floors]))
    run.note(f"prices: {listed.region}, {listed.month}; measured {figures.date} on {figures.machine}")
    return FOUND


# --- the traffic ---


def _rate(writes: str | None, writes_per_second: float | None) -> float:
    """Writes a second. Raises UsageError."""
    from query.errors import UsageError
    from query.operate.cost_traffic import MONTH_S

    if writes is not None and writes_per_second is not None:
        raise UsageError("the writes were given twice", hint="type either --writes or --writes-per-second")
    if writes_per_second is not None:
        return writes_per_second
    if writes is None:
        raise UsageError(
            "how much is written was not said",
            why="the cost depends on it",
            hint="type --writes 1M (a month), --writes-per-second 40, or --table TABLE -a ARCHIVE",
        )
    found = _COUNT.fullmatch(writes)
    if found is None:
        raise UsageError(
            f"--writes {writes} is not a number of writes", why="k, M and G are thousands", hint="type --writes 2.5M"
        )
    return float(found[1]) * _THOUSANDS[found[2]] / MONTH_S


def _refuse_both(writes: str | None, writes_per_second: float | None) -> None:
    from query.errors import UsageError

    if writes is not None or writes_per_second is not None:
        raise UsageError(
            "the traffic was given twice", hint="type --table, or --writes or --writes-per-second, not both"
        )


def _seen(run: "Invocation", table: str, days: int, item_bytes: int, shards: int, figures: "Figures") -> "Traffic":
    """The traffic of the last days, from the names and sizes of segments. Raises UsageError for an empty trail."""
    from archiver.format.layout import HOUR_MS, hour_of
    from query.catalog import first_hour_ms, segments_between
    from query.errors import UsageError
    from query.operate.cost_traffic import Seen, traffic_seen
    from query.render.text import counted, size_text
    from query.table_ref import parse_table_ref
    from query.trails import find_trail, trails

    source = run.archive.source
    trail = find_trail(trails(source), parse_table_ref(table))
    since_ms = hour_of(run.now_ms - days * 24 * HOUR_MS)
    chosen = segments_between(source, trail, since_ms, run.now_ms)
    if not chosen:
        raise UsageError(
            f"the archive holds no segment of {trail.table_name} of the last {counted(days, 'day')}",
            hint="type a larger --days, or give the traffic with --writes",
        )
    # A trail that began later is told from its beginning on.
    since_ms = max(since_ms, first_hour_ms(source, trail) or since_ms)
    seen = Seen.of((segment.stored.size_bytes for segment in chosen), (run.now_ms - since_ms) / (24 * HOUR_MS))
    traffic = traffic_seen(seen, item_bytes=item_bytes, shards=shards, figures=figures)
    run.note(
        f"{trail.table_name}: {counted(seen.segments, 'segment')}, {size_text(seen.bytes)} in {seen.days:.1f} days; "
        f"{seen.segments / seen.days / 24:.1f} an hour, {size_text(seen.bytes // seen.segments)} each"
    )
    run.note(
        f"from the listing alone: no row was read. Writes are told from bytes, for items of {item_bytes} bytes: "
        f"about {traffic.writes / _MILLION:.3g} million a month"
    )
    return traffic


def _tell_workload(run: "Invocation", workload: "Workload", traffic: "Traffic", figures: "Figures") -> None:
    from query.operate.cost_traffic import most_records
    from query.render.text import amount, counted

    run.note(
        f"{amount(traffic.writes)} writes a month of {workload.item_bytes:g} bytes "
        f"in {counted(workload.shards, 'shard')}"
    )
    if not traffic.batches:
        run.note("no write, no batch")
        return
    units = workload.writes_per_second * -(-workload.item_bytes // 1024) / workload.shards
    if units > _WRITE_UNITS_MAX:
        run.warn(f"{amount(units)} write units a second are more than a shard takes; type a larger --shards")
    most = most_records(workload, figures)
    limit = "BatchSize" if most == workload.batch_size else "6 MB"
    is_full = traffic.records_per_batch >= most
    run.note(
        f"batches of {amount(traffic.records_per_batch)} records, closed by "
        + (f"{limit}" if is_full else f"the window of {workload.window_s:g} s; {limit} would close them at {most}")
    )


# --- the answer ---


def _rows(bill: "Bill") -> Iterator[Row]:
    from query.operate.cost import GROUPS

    def row(group: str, item: str, usd: float, quantity: float | None = None, unit: str | None = None) -> Row:
        return Row(group, item, quantity, unit, usd, usd / bill.writes * _MILLION if bill.writes else None)

    for line in bill.lines:
        yield row(line.group, line.item, line.usd, line.quantity, line.unit)
    for group in GROUPS:
        yield row("total", group, bill.usd(group))
    yield row("total", "all", bill.usd())


def _floors(workload: "Workload", setup: "Setup", figures: "Figures", prices: "Prices") -> Iterator[Row]:
    """What is paid at least: by a table that nobody writes to, and with one write in every window of each shard."""
    from query.operate.cost import bill_of
    from query.operate.cost_traffic import traffic_of

    trickle = workload.shards / workload.window_s
    for item, rate in (("no write at all", 0.0), ("one write in each window and shard", trickle)):
        bill = bill_of(traffic_of(replace(workload, writes_per_second=rate), figures), setup, figures, prices)
        yield Row("floor", item, bill.writes, "write", bill.usd(), None)


def _sheet(rows: list[Row]) -> "Sheet":
    from query.render.sheet import Column, Sheet

    columns = (
        Column("group", lambda row: row.group),
        Column("item", lambda row: row.item),
        Column("quantity", lambda row: row.quantity, "number"),
        Column("unit", lambda row: row.unit),
        Column("usd_per_month", lambda row: row.usd_per_month, "number"),
        Column("usd_per_million_writes", lambda row: row.usd_per_million_writes, "number"),
    )
    names = tuple(column.name for column in columns)
    return Sheet(columns, rows, names, names)
