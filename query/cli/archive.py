"""The command `archive`: recorded events, from files or standard input, into the archive.

Invariant: what is in the archive when the command stops early is said all the same.
"""

from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from query.cli.progress import Stderr, Total
from query.cli.writing import (
    OK,
    Archive,
    DataSource,
    DescribeLiveTable,
    Destination,
    EndpointUrl,
    KeySchema,
    Profile,
    Quiet,
    Region,
    exit_code,
    now_ms,
)
from query.errors import UsageError

_MOST_MERGED_RECORDS: Final = 10_000


def archive(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True, help="Files of events; `-` is standard input.")],
    archive: Archive = None,
    key_schema: KeySchema = None,
    describe_table: DescribeLiveTable = False,
    batch: Annotated[
        int, Parameter(validator=Number(gte=1, lte=_MOST_MERGED_RECORDS), help="Merge events up to so many records.")
    ] = 1,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    profile: Profile = None,
    quiet: Quiet = False,
) -> int:
    """Archive recorded Lambda events of DynamoDB streams.

    Takes JSON (an event, or an array of events) and JSON Lines, plain, gzip or zstd, and the objects that Lambda leaves
    in an S3 on-failure destination. What is in the archive already is left as it is, so a file can be archived again.
    """

    def work(say: Stderr) -> int:
        from archiver.recorded import iter_events, merge

        if not files:
            raise UsageError("no file was named", hint="type ddbtrail archive FILE, or - for standard input")
        into = Destination.resolve(archive, key_schema, source)
        writer = into.writer(source.describer() if describe_table else None, say)
        total = Total(into.url)
        try:
            with say.counting("records") as advance:
                for file in files:
                    for _, records in merge(iter_events(_file(file)), batch):
                        advance(total.add(writer.archive(records, now_ms=now_ms())))
        finally:
            say.line(total.summary())  # what stands in the archive, also when the next line says why it ended
        return OK

    source = DataSource(endpoint_url, region, profile)
    return exit_code(work, Stderr(quiet))


def _file(name: str) -> str:
    if name.startswith("-") and name != "-":
        raise UsageError(f"unknown option {name}", hint=f"for a file of that name type ./{name}")
    return name
