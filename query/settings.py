"""The resolved configuration, and what it says of a table. Pure data.

Invariant: every value knows its origin, so that a person can be told which file, variable or flag to mend.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from query.config_values import SECRETS, SETTINGS
from query.errors import UsageError
from query.key_schema import ANY_TABLE

DEFAULT = "default"
_NOT_SHOWN = "(set, not shown)"

_DEFAULT_CACHE_LIMIT_BYTES = 10_000_000_000

# The attribute of each setting, by the name that it has in a file.
ATTRIBUTES = {name: name for name in SETTINGS} | {
    "archive": "archive_url",
    "derived": "derived_url",
    "on_failure": "on_failure_url",
    "cache_limit": "cache_limit_bytes",
}


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What is configured of one table of an archive. `canary_keys` are what `coverage --canary` takes."""

    actor_attribute: str | None = None
    redact: tuple[str, ...] = ()
    key_schema: tuple[str, ...] | None = None
    canary_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """The resolved configuration. None means: not given, the one who uses it decides.

    URLs are `s3://bucket/prefix` or absolute folders. `origins` says of each name, as it is typed in a file, where its
    value came from. Sizes are bytes; `memory_limit` is a size as DuckDB reads it. `pinned_key` is the file of the
    public key that must have signed the seals.
    """

    archive_url: str | None = None
    archive_name: str | None = None
    derived_url: str | None = None
    on_failure_url: str | None = None
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    tz: str | None = None
    output: str | None = None
    color: str = "auto"
    check_seals: bool = True
    pinned_key: Path | None = None
    cache_dir: Path = Path()
    cache_limit_bytes: int = _DEFAULT_CACHE_LIMIT_BYTES
    memory_limit: str | None = None
    threads: int | None = None
    key_schema: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables: Mapping[str, TableSettings] = field(default_factory=dict)
    redaction_key: str | None = field(default=None, repr=False)
    archive_names: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    def key_schema_for(self, table_name: str) -> tuple[str, ...] | None:
        """The configured key attributes of a table, partition key first; None if nothing says."""
        named = self.key_schema.get(table_name) or self.key_schema.get(ANY_TABLE)
        return named or self.table(table_name).key_schema

    def table(self, table_name: str) -> TableSettings:
        """What is configured of a table in the archive in use."""
        return self.tables.get(table_name, TableSettings())

    @property
    def redaction_key_bytes(self) -> bytes | None:
        """The key of the digests that stand for redacted values."""
        return None if self.redaction_key is None else self.redaction_key.encode()

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """(name, value, origin) of every setting, as `ddbtrail config show --origin` prints them."""
        for name, attribute in ATTRIBUTES.items():
            value = getattr(self, attribute)
            yield name, _NOT_SHOWN if name in SECRETS and value else value, self.origins.get(name, DEFAULT)
        for table_name, table in sorted(self.tables.items()):
            for attribute in table.__slots__:
                name = f"tables.{table_name}.{attribute}"
                yield name, getattr(table, attribute), self.origins.get(name, DEFAULT)


def require_archive(settings: Settings) -> str:
    """The URL or folder of the archive in use. Raises UsageError if none was named."""
    if settings.archive_url is None:
        known = f"configured archives: {', '.join(settings.archive_names)}" if settings.archive_names else ""
        raise UsageError(
            "no archive was named",
            why=known or "no flag, environment variable or configuration file names one",
            hint="add -a s3://bucket/prefix or -a FOLDER, or set DDBTRAIL_ARCHIVE",
        )
    return settings.archive_url
