"""What the commands that write evidence share: their options, where from, where to, the clock, and how they end.

The reader's command line meets the archiver in these commands alone. The clock and the environment are read here and
handed down. Invariant: the AWS that data comes from and the archive that it goes to are two places; flags name the
first, and the second only where no file says otherwise.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from cyclopts import Parameter

from archiver.errors import ArchiverError, NotConfigured
from query.cli.exits import FAILED, INTERRUPTED, tell, tell_lines
from query.cli.progress import Stderr
from query.config import load
from query.errors import QueryError
from query.operate.aws import Aws, is_of_aws
from query.settings import Settings, require_archive

if TYPE_CHECKING:
    from archiver.store import ObjectStore
    from archiver.streams import DescribeTable
    from archiver.writer import Writer

OK: Final = 0
USAGE: Final = 2

Archive = Annotated[str | None, Parameter(name=["--archive", "-a"], help="Name, folder or s3:// URL of the archive.")]
KeySchema = Annotated[str | None, Parameter(help="Key attributes: `pk,sk`, or `orders=pk,sk;customers=id`.")]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative=(), help="Say nothing but errors.")]
EndpointUrl = Annotated[str | None, Parameter(help="Where AWS answers, if not at AWS.")]
Region = Annotated[str | None, Parameter(help="AWS region.")]
Profile = Annotated[str | None, Parameter(help="Profile of the AWS configuration.")]
DescribeLiveTable = Annotated[bool, Parameter(help="Ask the live table for its key schema and table id.")]


@dataclass(frozen=True, slots=True)
class DataSource:
    """How AWS is reached where the data comes from, as typed; the archive may lie somewhere else."""

    endpoint_url: str | None
    region: str | None
    profile: str | None

    def client(self, service: str, *, region: str | None = None, connections: int = 10) -> Any:
        aws = Aws(self.profile, self.region, self.endpoint_url)
        return aws.client(service, region=region, connections=connections, is_patient=True)

    def describer(self) -> "DescribeTable":
        """DescribeTable in the region of the ARN, or the one typed: an emulator's ARNs may name one of their own."""
        from archiver.tables import table_describer

        describe = table_describer(endpoint_url=self.endpoint_url, profile=self.profile)
        region = self.region
        if region is None:
            return describe
        return lambda stream: describe(replace(stream, trail=replace(stream.trail, region=region)))


@dataclass(frozen=True, slots=True)
class Destination:
    """The archive that is written to, as flags, environment and configuration files name it."""

    settings: Settings
    url: str

    @classmethod
    def resolve(
        cls, archive: str | None, key_schema: str | None, source: DataSource, *, on_failure: str | None = None
    ) -> Self:
        flags = {
            "archive": archive,
            "key_schema": key_schema,
            "on_failure": on_failure,
            "endpoint_url": source.endpoint_url,
            "region": source.region,
            "profile": source.profile,
        }
        settings = load(flags, os.environ, cwd=Path.cwd(), home=Path.home())
        return cls(settings, require_archive(settings))

    def store(self) -> "ObjectStore":
        from archiver.store import open_store

        settings = self.settings
        return open_store(
            self.url, endpoint_url=settings.endpoint_url, profile=settings.profile, region=settings.region
        )

    def writer(self, describe: "DescribeTable | None", say: Stderr) -> "Writer":
        from archiver.streams import Streams
        from archiver.writer import Writer

        streams = Streams(key_schema=_KeySchemas(self.settings), describe_table=describe, warn=say.warning)
        return Writer(store=self.store(), streams=streams)


class _KeySchemas(Mapping[str, tuple[str, ...]]):
    """Key attributes by table name, as configured; `--key-schema pk,sk` holds for every table."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __getitem__(self, table_name: str) -> tuple[str, ...]:
        names = self._settings.key_schema_for(table_name)
        if names is None:
            raise KeyError(table_name)
        return names

    def __iter__(self) -> Iterator[str]:
        return iter({*self._settings.key_schema, *self._settings.tables})

    def __len__(self) -> int:
        return len(list(iter(self)))


def now_ms() -> int:
    """The time of the clock, in epoch ms."""
    return time.time_ns() // 1_000_000


def exit_code(work: Callable[[Stderr], int], say: Stderr) -> int:
    """Runs a command; every error that a person can act on becomes lines on stderr and an exit code."""
    try:
        return work(say)
    except QueryError as error:
        return tell(error)
    except ArchiverError as error:
        tell_lines(filter(None, (str(error), error.hint)))
        return USAGE if isinstance(error, NotConfigured) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if not is_of_aws(error):
            raise
        tell_lines([f"AWS did not answer: {error}", "check credentials, --profile, --region and --endpoint-url"])
        return FAILED
