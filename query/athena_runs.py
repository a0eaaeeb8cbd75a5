"""Athena's view of the runs of a trail: the statements that make it, and the manifest that names their parts, as text.

A partition cannot be projected here: beside the parts of a run lie indexes and a description, which Athena would take
for Parquet, and a folder may hold a run that a larger one has replaced. So a manifest names the parts that are read.
"""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from query.athena import LOCATION, Place, Statement, as_view, statement_text
from query.derived.columns import RUN_SCHEMA
from query.derived.live import LiveRun
from query.errors import UsageError

_TYPES: Final = {
    pa.string(): "string",
    pa.timestamp("ms", tz="UTC"): "timestamp",
    pa.list_(pa.string()): "array<string>",
    pa.bool_(): "boolean",
    pa.int64(): "bigint",
}
# As every engine of Hive's family reads files that a text names (Athena: *Create tables for ETL jobs*, symlinks).
_READ_AS: Final = """ROW FORMAT SERDE 'org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe'
STORED AS INPUTFORMAT 'org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'"""


def manifest(derived_url: str, runs: Sequence[LiveRun]) -> list[str]:
    """The parts of runs as `s3://` URLs, a line each."""
    return [f"{derived_url.rstrip('/')}/{part.name}" for run in runs for part in run.parts]


def manifest_location(url: str) -> str:
    """The folder that holds the manifest and nothing else. Raises UsageError for what Athena cannot read."""
    location = f"{url.rstrip('/')}/"
    if LOCATION.fullmatch(location) is None:
        raise UsageError(
            f"--manifest {url} cannot stand in a statement of Athena",
            why="it is no s3://bucket/folder of letters, digits and / - _ . =",
            hint="type for example --manifest s3://my-bucket/manifests/orders",
        )
    return location


def run_statements(location: str, place: Place) -> tuple[Statement, ...]:
    """The table over the runs that the manifest at `location` names, and its changes, each once."""
    table = place.quoted("_runs", mark="`")
    columns = ",\n".join(f"  `{column.name}` {_TYPES[column.type]}" for column in RUN_SCHEMA)
    made = f"CREATE EXTERNAL TABLE {table} (\n{columns}\n)\n{_READ_AS}\nLOCATION '{location}'"
    before = f"runs AS (SELECT * FROM {place.quoted('_runs')}),\n"  # noqa: S608  names are checked
    rows = f"{before}segments AS (\n{statement_text('athena_run_rows')}\n)"
    return (
        Statement("table", f"{place.name}_runs", made),
        Statement("view", f"{place.name}_run_changes", as_view(place.quoted("_run_changes"), rows, "athena_changes")),
    )
