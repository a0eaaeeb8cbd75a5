"""The environment as one frozen value. Every name a person can set is here."""

from collections.abc import Mapping
from dataclasses import dataclass

from archiver.errors import NotConfigured
from archiver.streams import parse_key_schema

_OFF = frozenset({"0", "off", "false", "no"})


@dataclass(frozen=True, slots=True)
class Config:
    """What the Lambda function is told: `DDBTRAIL_ARCHIVE`, `DDBTRAIL_KEY_SCHEMA`, `DDBTRAIL_DESCRIBE_TABLE`,
    `DDBTRAIL_ENDPOINT_URL` (for archives outside AWS).
    """

    archive_url: str
    key_schema: Mapping[str, tuple[str, ...]]
    describes_tables: bool
    endpoint_url: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Config":
        """Raises NotConfigured, naming the variable, for a missing archive or a malformed key schema."""
        archive_url = environment.get("DDBTRAIL_ARCHIVE", "")
        if not archive_url:
            raise NotConfigured("DDBTRAIL_ARCHIVE is not set", hint="set it to s3://bucket/prefix or a folder")
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
