"""A table by its ARN, and DescribeTable: the one question asked of the table itself, and what its answer says.

The only import of boto3 for DynamoDB tables. Invariant: a question has short timeouts, so that a table that does not
answer never holds up a batch for long.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from archiver.format.layout import StreamSource, Trail
from archiver.streams import DescribeTable, TableUnreadable, label_at

_FINAL: Final = frozenset({"AccessDeniedException", "ResourceNotFoundException", "UnrecognizedClientException"})
_TABLE_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:dynamodb:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):table/(?P<table_name>[A-Za-z0-9_.-]+)"
)


def trail_of_table(table_arn: str) -> Trail:
    """The trail of `arn:aws:dynamodb:<region>:<account>:table/<name>`. Raises ValueError for anything else."""
    match = _TABLE_ARN.fullmatch(table_arn)
    if match is None:
        raise ValueError(f"{table_arn!r} is not the ARN of a DynamoDB table")
    return Trail(**match.groupdict())


def table_describer(*, endpoint_url: str | None = None, profile: str | None = None) -> DescribeTable:
    """A function that describes a stream's table, with short timeouts: it must never hold up a batch for long."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415

    session = boto3.Session(profile_name=profile)
    limits = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})

    def describe(source: StreamSource) -> Mapping[str, Any]:
        client = session.client("dynamodb", region_name=source.trail.region, endpoint_url=endpoint_url, config=limits)
        try:
            return client.describe_table(TableName=source.trail.table_name)["Table"]
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise TableUnreadable(str(error), is_final=code in _FINAL) from error
        except NoCredentialsError as error:
            raise TableUnreadable(str(error), is_final=True) from error
        except BotoCoreError as error:
            raise TableUnreadable(str(error), is_final=False) from error

    return describe


def key_of_table(live: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The key attributes of a described table in schema order, and their types."""
    roles = {element["KeyType"]: element["AttributeName"] for element in live["KeySchema"]}
    types = {one["AttributeName"]: one["AttributeType"] for one in live["AttributeDefinitions"]}
    names = tuple(roles[role] for role in ("HASH", "RANGE") if role in roles)
    return names, {name: types[name] for name in names}


def enabled_label(live: Mapping[str, Any]) -> str | None:
    """The label of a described table's stream, None if it is off."""
    return live.get("LatestStreamLabel") if live.get("StreamSpecification", {}).get("StreamEnabled") else None


def label_when_taken(live: Mapping[str, Any], described: Iterable[str], taken_ms: int) -> str | None:
    """The stream that was on at an instant of the past (epoch ms), among those that the archive describes and the
    table's latest (`live` may be empty); None if nobody can know.

    A stream that is off today may have been off then.
    """
    latest = live.get("LatestStreamLabel")
    label = label_at([*described, *([latest] if latest else [])], taken_ms)
    return None if label == latest and enabled_label(live) is None else label
