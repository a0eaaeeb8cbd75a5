"""What `doctor` and `status` share: their options, and how AWS is asked about one table.

The AWS that the table is in is named by flags, or by AWS's own settings; the archive may lie somewhere else, and then
the configuration says where, as for every command that reads.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Group, Parameter

from query.cli.options import Options

if TYPE_CHECKING:
    from archiver.format.layout import Trail
    from query.cli.invocation import Invocation
    from query.operate.answers import Missing, Unknown
    from query.operate.facts import TrailFacts
    from query.operate.gather import Gathering
    from query.settings import Settings
    from query.source import Access, Source

_ARCHIVE: Final = Group("Archive", sort_key=10)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Operating(Options):
    """The options of a reading command, and where failed batches go."""

    endpoint_url: Annotated[str | None, Parameter(group=_ARCHIVE, help="Where AWS answers, if not at AWS.")] = None
    # No engine is asked for more than the newest hour, and the key is the live table's.
    key_schema: Annotated[str | None, Parameter(parse=False)] = None
    memory_limit: Annotated[str | None, Parameter(parse=False)] = None
    threads: Annotated[str | None, Parameter(parse=False)] = None
    on_failure: Annotated[
        str | None,
        Parameter(group=_ARCHIVE, help="Where failed batches go, if not as the mapping says. [DDBTRAIL_ON_FAILURE]"),
    ] = None


OPERATING: Final = Operating()


def gathering(run: "Invocation", options: Operating, table: str) -> "Gathering":
    """The questions about one table. Raises UsageError for what names no table."""
    from query.operate.aws import Aws
    from query.operate.gather import Asked, Gathering
    from query.table_ref import parse_table_ref

    settings = run.settings
    asked = Asked(parse_table_ref(table), settings.archive_url, settings.on_failure_url, settings.derived_url)
    data = Aws(options.profile, options.region, options.endpoint_url)
    kept = data
    if settings.archive_url is not None:
        kept = Aws(settings.profile, settings.region, settings.endpoint_url)

    def tail(url: str, trail: "Trail") -> "TrailFacts | Missing | Unknown":
        from query.operate.tail import read_tail

        return read_tail(lambda: open_archive(settings, url), trail)

    return Gathering(asked=asked, data=data, kept=kept, read_trail=tail, now_ms=wall_ms)


def open_archive(settings: "Settings", url: str) -> "Source":
    """The evidence at a URL. Raises UnreadableArchive or UsageError."""
    from query.source import open_source

    return open_source(url, access_of(settings))


def access_of(settings: "Settings") -> "Access":
    """How what lies outside this machine is reached."""
    from query.source import Access

    return Access(
        profile=settings.profile,
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        cache_dir=settings.cache_dir,
        cache_limit_bytes=settings.cache_limit_bytes,
    )


def wall_ms() -> int:
    """The time of the clock, in epoch ms: unlike `Invocation.now_ms`, read anew each time."""
    return time.time_ns() // 1_000_000
