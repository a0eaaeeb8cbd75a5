"""The environment as one frozen value. Every name a person can set is here."""

from collections.abc import Mapping
from dataclasses import dataclass

from archiver.errors import NotConfigured
from archiver.format.layout import Trail
from archiver.streams import parse_key_schema

_OFF = frozenset({"0", "off", "false", "no"})


@dataclass(frozen=True, slots=True)
class Config:
    """What the function that archives is told: `DDBTRAIL_ARCHIVE`, `DDBTRAIL_KEY_SCHEMA`, `DDBTRAIL_DESCRIBE_TABLE`,
    `DDBTRAIL_ENDPOINT_URL` (for archives outside AWS).
    """

    archive_url: str
    key_schema: Mapping[str, tuple[str, ...]]
    describes_tables: bool
    endpoint_url: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Config":
        """Raises NotConfigured, naming the variable, for a missing archive or a malformed key schema."""
        archive_url = _required(environment, "DDBTRAIL_ARCHIVE", "s3://bucket/prefix or a folder")
        try:
            key_schema = parse_key_schema(environment.get("DDBTRAIL_KEY_SCHEMA", ""))
        except ValueError as error:
            raise NotConfigured(f"DDBTRAIL_KEY_SCHEMA: {error}", hint="write orders=pk,sk;customers=id") from error
        return cls(
            archive_url=archive_url,
            key_schema=key_schema,
            describes_tables=environment.get("DDBTRAIL_DESCRIBE_TABLE", "on").lower() not in _OFF,
            endpoint_url=environment.get("DDBTRAIL_ENDPOINT_URL") or None,
        )


@dataclass(frozen=True, slots=True)
class SealConfig:
    """What the function that seals is told: `DDBTRAIL_ARCHIVE` and `DDBTRAIL_ENDPOINT_URL` as above,
    `DDBTRAIL_SIGNING_KEY` (the ARN of a KMS key, or the path of a private key file) and `DDBTRAIL_SEAL_TABLE`
    (`account/region/table`: the one trail that it seals).
    """

    archive_url: str
    signing_key: str
    trail: Trail
    endpoint_url: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "SealConfig":
        """Raises NotConfigured, naming the variable, for one that is missing or names no table."""
        table = _required(environment, "DDBTRAIL_SEAL_TABLE", "account/region/table")
        try:
            account, region, table_name = table.split("/")
            trail = Trail(account, region, table_name)
        except ValueError as error:
            raise NotConfigured(
                f"DDBTRAIL_SEAL_TABLE is {table}, which names no table", hint="write account/region/table"
            ) from error
        return cls(
            archive_url=_required(environment, "DDBTRAIL_ARCHIVE", "s3://bucket/prefix or a folder"),
            signing_key=_required(environment, "DDBTRAIL_SIGNING_KEY", "the ARN of a KMS key for signing"),
            trail=trail,
            endpoint_url=environment.get("DDBTRAIL_ENDPOINT_URL") or None,
        )


def _required(environment: Mapping[str, str], name: str, what: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise NotConfigured(f"{name} is not set", hint=f"set it to {what}")
    return value
