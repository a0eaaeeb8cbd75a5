"""What the cost model reckons with: prices and assumptions (`prices.toml`), measurements (`figures.toml`).

Invariant: a file of prices is complete and holds nothing else. An entry that is missing, misspelled or no number is an
error that names the file, the line where there is one, and the entry; nothing is filled in from another file.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from query.errors import UsageError

_PRICES: Final = "prices.toml"
_FIGURES: Final = "figures.toml"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for `per` units."""

    usd: float
    per: float
    unit: str

    def of(self, quantity: float) -> float:
        """US dollars for a quantity of the unit."""
        return quantity / self.per * self.usd


@dataclass(frozen=True, slots=True)
class PriceList:
    """A price for everything that is counted. The names are those in the file."""

    lambda_request: Price
    lambda_gb_s: Price
    s3_put: Price
    s3_standard: Price
    s3_frequent: Price
    s3_infrequent: Price
    s3_archive_instant: Price
    s3_transition: Price
    s3_monitoring: Price
    kms_request: Price
    cloudwatch_alarm: Price
    cloudwatch_metric: Price
    cloudwatch_dashboard: Price
    log_ingestion: Price
    log_storage: Price


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What nobody measured. `prices.toml` gives each its unit and its reason."""

    core_factor: float
    put_wait_s: float
    starts_per_shard_day: float
    kms_puts_per_request: float
    kms_bucket_key_life_s: float
    platform_log_bytes: float


@dataclass(frozen=True, slots=True)
class Prices:
    """A file of prices: what it says of itself, and what is in it."""

    region: str
    month: str
    list: PriceList
    assumptions: Assumptions


@dataclass(frozen=True, slots=True)
class ItemFigures:
    """One size of item: event bytes a record, and (records, CPU seconds, segment bytes) of whole batches, growing."""

    bytes: float
    event_bytes: float
    batches: tuple[tuple[float, float, float], ...]

    def cpu_s(self, records: float) -> float:
        """CPU seconds of a batch on the machine that was measured."""
        return _between([(n, cpu_s) for n, cpu_s, _ in self.batches], records)

    def segment_bytes(self, records: float) -> float:
        """Bytes of the segment of a batch."""
        return _between([(n, size) for n, _, size in self.batches], records)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured, when and on what; sizes of items grow."""

    date: str
    machine: str
    start_cpu_s: float
    start_puts: float
    puts_per_batch: float
    log_bytes_per_batch: float
    items: tuple[ItemFigures, ...]

    def of(self, item_bytes: float) -> Callable[[float], "BatchFigures"]:
        """Figures of a batch of so many records, for one size of item, from the sizes measured next to it.

        An item smaller than the smallest that was measured counts as that one.
        """
        item_bytes = max(item_bytes, self.items[0].bytes)

        def batch(records: float) -> BatchFigures:
            return BatchFigures(
                _between([(item.bytes, item.cpu_s(records)) for item in self.items], item_bytes),
                _between([(item.bytes, item.segment_bytes(records)) for item in self.items], item_bytes),
            )

        return batch

    def event_bytes(self, item_bytes: float) -> float:
        """Bytes of a record in the event that Lambda delivers."""
        return _between([(item.bytes, item.event_bytes) for item in self.items], max(item_bytes, self.items[0].bytes))


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """CPU seconds on the machine that was measured, and bytes of the segment, of one batch."""

    cpu_s: float
    segment_bytes: float


def _between(points: Sequence[tuple[float, float]], place: float) -> float:
    """The straight line between the two points around a place; outside, the line of the two points next to it."""
    if len(points) == 1:
        return points[0][1] * place / points[0][0]
    after = min(max(bisect_right([at for at, _ in points], place), 1), len(points) - 1)
    (left, low), (right, high) = points[after - 1], points[after]
    return low + (high - low) * (place - left) / (right - left)


# --- files ---


def load_prices(path: Path | None = None) -> Prices:
    """The prices of a file, or those that come with ddbtrail. Raises UsageError that names what is wrong in it."""
    text, name = _text_of(path), str(path) if path is not None else _PRICES
    document = _parsed(text, name)
    _check_names(document, {"about", "price", "assumption"}, (), text, name)
    return Prices(
        region=_said(document, "region", name),
        month=_said(document, "month", name),
        list=PriceList(**_entries(document, "price", PriceList, _price, text, name)),
        assumptions=Assumptions(**_entries(document, "assumption", Assumptions, _assumed, text, name)),
    )


def load_figures() -> Figures:
    """The measurements that come with ddbtrail."""
    document = tomllib.loads(files(__package__).joinpath(_FIGURES).read_text(encoding="utf-8"))
    return figures_of(document)


def figures_of(document: Mapping[str, Any]) -> Figures:
    """Measurements as `benchmarks.figures` writes them."""
    measured = document["measured"]
    items = tuple(
        ItemFigures(
            item["bytes"],
            item["event_bytes_per_record"],
            tuple(
                (
                    batch["records"],
                    batch["cpu_s_per_1000_records"] * batch["records"] / 1000,
                    batch["segment_bytes_per_record"] * batch["records"],
                )
                for batch in item["batch"]
            ),
        )
        for item in document["item"]
    )
    assert items
    assert all(one.bytes < next_one.bytes for one, next_one in pairwise(items))
    assert all(one[0] < next_one[0] for item in items for one, next_one in pairwise(item.batches))
    return Figures(
        date=measured["date"],
        machine=measured["machine"],
        start_cpu_s=measured["start_cpu_s"],
        start_puts=measured["start_puts"],
        puts_per_batch=measured["puts_per_batch"],
        log_bytes_per_batch=measured["log_bytes_per_batch"],
        items=items,
    )


def _text_of(path: Path | None) -> str:
    if path is None:
        return files(__package__).joinpath(_PRICES).read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"could not read {path}", why=why.lower(), hint="type --prices with a TOML file") from error


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is not TOML", why=str(error).lower(), hint=_HINT) from error


_HINT: Final = "copy the file query/operate/prices.toml of ddbtrail and change its values"


def _check_names(found: Mapping[str, Any], wanted: set[str], above: tuple[str, ...], text: str, name: str) -> None:
    for key in found:
        if key not in wanted:
            full = ".".join((*above, key))
            raise UsageError(
                f"{name}{_line_of(text, full)}: {full} is not known",
                why=f"known here: {', '.join(sorted(wanted))}",
                hint=_HINT,
            )
    for key in sorted(wanted - found.keys()):
        raise UsageError(f"{name}: {'.'.join((*above, key))} is missing", hint=_HINT)


def _line_of(text: str, full: str) -> str:
    """`, line 7` for the entry's own heading or its assignment below one; nothing if it is written another way."""
    heading, key = "", full.rpartition(".")
    for number, line in enumerate(text.splitlines(), 1):
        table = re.match(r"\s*\[([^\[\]]+)\]", line)
        heading = table[1].strip() if table else heading
        assigned = re.match(r"\s*([\w-]+)\s*=", line)
        if (table and (heading == full or heading.startswith(f"{full}."))) or (
            assigned and assigned[1] == key[2] and heading == key[0]
        ):
            return f", line {number}"
    return ""


def _said(document: Mapping[str, Any], key: str, name: str) -> str:
    value = document["about"].get(key) if isinstance(document["about"], dict) else None
    if not isinstance(value, str):
        raise UsageError(f"{name}: about.{key} is missing", why="it is a text", hint=_HINT)
    return value


def _entries(
    document: Mapping[str, Any],
    section: str,
    kind: type,
    read: Callable[[Mapping[str, Any], str], Any],
    text: str,
    name: str,
) -> dict[str, Any]:
    wanted = {field.name for field in fields(kind)}
    found = document[section]
    if not isinstance(found, dict):
        raise UsageError(f"{name}: {section} is not a table", hint=_HINT)
    _check_names(found, wanted, (section,), text, name)
    entries = {}
    for key, entry in found.items():
        full = f"{section}.{key}"
        if not isinstance(entry, dict):
            raise UsageError(f"{name}{_line_of(text, full)}: {full} is not a table", hint=_HINT)
        values = {"usd", "per"} if section == "price" else {"value"}
        _check_names(entry, values | {"unit", "evidence"}, (section, key), text, name)
        for value in sorted(values):
            _check_number(entry[value], f"{full}.{value}", is_divisor=value == "per", text=text, name=name)
        for value in ("unit", "evidence"):
            if not isinstance(entry[value], str) or not entry[value].strip():
                raise UsageError(f"{name}{_line_of(text, f'{full}.{value}')}: {full}.{value} is no text", hint=_HINT)
        entries[key] = read(entry, full)
    return entries


def _check_number(value: object, full: str, *, is_divisor: bool, text: str, name: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (value > 0 if is_divisor else value >= 0) or value == float("inf"):  # type: ignore[operator]
        what = "a number above 0" if is_divisor else "a number, 0 or more"
        raise UsageError(f"{name}{_line_of(text, full)}: {full} is {value!r}", why=f"it has to be {what}", hint=_HINT)


def _price(entry: Mapping[str, Any], _full: str) -> Price:
    return Price(float(entry["usd"]), float(entry["per"]), entry["unit"])


def _assumed(entry: Mapping[str, Any], _full: str) -> float:
    return float(entry["value"])
