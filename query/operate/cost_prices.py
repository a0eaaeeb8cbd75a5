"""Prices and assumptions of the cost model, as they stand in `prices.toml` or in a file of one's own."""

from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Final

from query.errors import UsageError
from query.operate.cost_price_file import HINT, PriceFile

_SHIPPED: Final = "prices.toml"


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
    s3_get: Price
    s3_standard: Price
    s3_frequent: Price
    s3_infrequent: Price
    s3_archive_instant: Price
    s3_transition: Price
    s3_monitoring: Price
    kms_request: Price
    kms_asymmetric: Price
    kms_key: Price
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
    seal_start_cpu_s: float
    seal_cpu_s_per_record: float
    seal_bytes: float
    seal_log_bytes: float
    seal_starts_per_day: float
    platform_log_bytes: float


@dataclass(frozen=True, slots=True)
class Prices:
    """A file of prices: what it says of itself, and what is in it."""

    region: str
    month: str
    list: PriceList
    assumptions: Assumptions


def load_prices(path: Path | None = None) -> Prices:
    """The prices of a file, or those that come with ddbtrail. Raises UsageError that names what is wrong in it."""
    file = PriceFile(_SHIPPED if path is None else str(path), _text_of(path))
    prices = file.entries("price", _names(PriceList), ("usd", "per"))
    assumptions = file.entries("assumption", _names(Assumptions), ("value",))
    return Prices(
        region=file.about("region"),
        month=file.about("month"),
        list=PriceList(**{name: Price(entry["usd"], entry["per"], entry["unit"]) for name, entry in prices.items()}),
        assumptions=Assumptions(**{name: entry["value"] for name, entry in assumptions.items()}),
    )


def _names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def _text_of(path: Path | None) -> str:
    if path is None:
        return files(__package__).joinpath(_SHIPPED).read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"could not read {path}", why=why.lower(), hint=HINT) from error
