"""The options that every reading command takes, after its name. What they mean together, `invocation` decides.

Values stay text here: `query.config_values` reads them as it reads files and environment, so a mistake is told alike.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Group, Parameter

_ARCHIVE: Final = Group("Archive", sort_key=10)
_OUTPUT: Final = Group("Output", sort_key=11)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the archive is, and how the answer is written. None: not given."""

    archive: Annotated[
        str | None,
        Parameter(name=["--archive", "-a"], group=_ARCHIVE, help="Name, folder or s3:// URL. [DDBTRAIL_ARCHIVE]"),
    ] = None
    key_schema: Annotated[
        str | None, Parameter(group=_ARCHIVE, help="Key attributes: `pk,sk`, or `orders=pk,sk;customers=id`.")
    ] = None
    profile: Annotated[str | None, Parameter(group=_ARCHIVE, help="Profile of the AWS configuration.")] = None
    region: Annotated[str | None, Parameter(group=_ARCHIVE, help="AWS region.")] = None
    endpoint_url: Annotated[str | None, Parameter(group=_ARCHIVE, help="Where S3 answers, if not at AWS.")] = None
    cache_dir: Annotated[str | None, Parameter(group=_ARCHIVE, help="Folder for copies of what lies in S3.")] = None
    no_seals: Annotated[
        bool,
        Parameter(group=_ARCHIVE, negative=(), help="Answer without looking at seals. [DDBTRAIL_CHECK_SEALS=false]"),
    ] = False
    derived: Annotated[
        str | None, Parameter(group=_ARCHIVE, help="Folder or s3:// URL of runs and snapshots. [DDBTRAIL_DERIVED]")
    ] = None
    no_derived: Annotated[
        bool, Parameter(group=_ARCHIVE, negative=(), help="Answer from evidence alone: no runs, no snapshots.")
    ] = False
    memory_limit: Annotated[str | None, Parameter(group=_ARCHIVE, help="Memory of the engine, such as 4GB.")] = None
    threads: Annotated[str | None, Parameter(group=_ARCHIVE, help="Threads of the engine.")] = None
    output: Annotated[
        str | None,
        Parameter(
            name=["--output", "-o"],
            group=_OUTPUT,
            help="table, json, jsonl, csv, tsv, parquet, md, html or ddb-json; a pipe gets jsonl. [DDBTRAIL_OUTPUT]",
        ),
    ] = None
    output_file: Annotated[
        str | None,
        Parameter(name=["--output-file", "-O"], group=_OUTPUT, help="Write a file; its ending is the format."),
    ] = None
    columns: Annotated[
        str | None, Parameter(name=["--columns", "-c"], group=_OUTPUT, help="Columns, separated by commas.")
    ] = None
    full: Annotated[bool, Parameter(group=_OUTPUT, negative=(), help="Cut nothing to the width of the terminal.")] = (
        False
    )
    tz: Annotated[
        str | None,
        Parameter(group=_OUTPUT, help="Zone of times typed without one; adds local times to tables. [DDBTRAIL_TZ]"),
    ] = None
    color: Annotated[str | None, Parameter(group=_OUTPUT, help="auto, always or never. [NO_COLOR, FORCE_COLOR]")] = None
    no_pager: Annotated[bool, Parameter(group=_OUTPUT, negative=(), help="Never page on a terminal. [PAGER]")] = False
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], group=_OUTPUT, negative=(), help="Nothing on stderr but errors.")
    ] = False


DEFAULTS: Final = Options()

# --- what several commands take, in the same words ---

Key = Annotated[str, Parameter(show=True, help="Key values in schema order; only the first for a whole collection.")]
OneKey = Annotated[str, Parameter(help="Key values in schema order.")]
NamedKey = Annotated[
    tuple[str, ...],
    Parameter(name="--key", negative=(), help="`name=value` for each, or a JSON object, plain or typed."),
]
Table = Annotated[str, Parameter(help="Name, region/name, account/region/name or ARN.")]
Attributes = Annotated[
    tuple[str, ...], Parameter(name="--attr", negative=(), help="Only changes of this attribute, such as lines[2].qty.")
]
Explain = Annotated[bool, Parameter(negative=(), help="Show what would be read and why, and read nothing more.")]
Where = Annotated[str | None, Parameter(help="SQL condition, such as \"item->>'$.status' = 'OPEN'\".")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which changes are asked about."""

    since: Annotated[str | None, Parameter(help="From this instant on.")] = None
    until: Annotated[str | None, Parameter(help="Before this instant.")] = None
    during: Annotated[
        str | None, Parameter(help="A period: 2026, 2026-Q3, 2026-09, 2026-W38, 2026-09-16, last-week.")
    ] = None
    attr: Attributes = ()
    op: Annotated[str | None, Parameter(help="insert, modify, remove, separated by commas.")] = None
    actor: Annotated[
        str | None, Parameter(help="Only changes made by this actor; dynamodb-ttl made those of items that expired.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How many of them are shown, and how."""

    limit: Annotated[int | None, Parameter(name=["-n", "--limit"], help="At most so many.")] = None
    patch: Annotated[
        bool, Parameter(name=["--patch", "-p"], negative=(), help="Show what changed, attribute by attribute.")
    ] = False
    reverse: Annotated[bool, Parameter(negative=(), help="Oldest first.")] = False


ALL: Final = Which()
PLAIN: Final = Shown()
