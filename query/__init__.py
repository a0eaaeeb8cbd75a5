"""Reads, reconstructs and proves the change history that the archiver keeps.

    import query

    archive = query.open("s3://acme-audit/ddbtrail")
    orders = archive.table("orders")
    orders.item("CUST#7", "ORDER#0001").as_of("2026-09-16T00:00:00Z").item

Times go in as text of the time grammar, aware `datetime`s or `whenever.Instant`s, and come out as epoch milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from query.errors import (
    AlreadyDeleted,
    IdentityConflict,
    NaiveTimeError,
    NotYetCreated,
    NoVersion,
    OutsideCoverage,
    QueryError,
    UnreadableArchive,
    UsageError,
)

if TYPE_CHECKING:
    from query.archive import Archive
    from query.opening import open_archive as open  # noqa: A004  the name a user types

_LAZY = {"open": ("query.opening", "open_archive"), "Archive": ("query.archive", "Archive")}

__all__ = [
    "AlreadyDeleted",
    "Archive",
    "IdentityConflict",
    "NaiveTimeError",
    "NoVersion",
    "NotYetCreated",
    "OutsideCoverage",
    "QueryError",
    "UnreadableArchive",
    "UsageError",
    "open",
]


def __getattr__(name: str) -> Any:
    """The engine and what it needs are imported when an archive is opened: `ddbtrail --help` must not wait for them."""
    if name not in _LAZY:
        raise AttributeError(f"module 'query' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)
