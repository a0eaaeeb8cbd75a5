"""The API of DynamoDB Streams as boto3 gives it: a client, and one call with its errors sorted.

The only file that imports boto3 for streams. Invariant: every error of AWS becomes one of three, by what helps: ask
again (`Passing`), begin again from the position (`IteratorRefused`), or tell a person (StreamUnavailable, with a hint).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from archiver.errors import NotConfigured, StreamUnavailable
from archiver.format.layout import StreamSource

_PASSING: Final = frozenset(
    {
        "InternalServerError",
        "InternalFailure",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
    }
)
_SERVER_ERRORS: Final = range(500, 600)
_OF_ITERATORS: Final = frozenset({"ExpiredIteratorException", "TrimmedDataAccessException"})


class StreamsApi(Protocol):
    """What is asked of DynamoDB Streams; boto3's client of `dynamodbstreams` has it."""

    def describe_stream(self, **request: Any) -> Mapping[str, Any]: ...
    def get_shard_iterator(self, **request: Any) -> Mapping[str, Any]: ...
    def get_records(self, **request: Any) -> Mapping[str, Any]: ...


def streams_client(
    stream_arn: str, *, endpoint_url: str | None = None, region: str | None = None, profile: str | None = None
) -> StreamsApi:
    """A client, for the stream's own region if none is named. Raises ValueError for what is no ARN, NotConfigured."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        session = boto3.Session(profile_name=profile)
    except BotoCoreError as error:
        raise NotConfigured(str(error), hint="correct --profile, or add the profile to ~/.aws/config") from error
    limits = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
    region = region or StreamSource.parse(stream_arn).trail.region
    client: Any = session.client("dynamodbstreams", region_name=region, endpoint_url=endpoint_url, config=limits)
    return client  # type: ignore[no-any-return]


class Passing(Exception):  # noqa: N818
    """Throttling, a server error or the network: asking again can help."""


class IteratorRefused(Exception):  # noqa: N818
    """An iterator that is not good any more, or a position that the stream has trimmed; `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class StreamGone(StreamUnavailable):
    """AWS knows no such stream, or no such shard of it: not any more, or not here."""


def ask(call: Callable[..., Mapping[str, Any]], request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer to one request. Raises Passing, IteratorRefused or StreamUnavailable (StreamGone among them)."""
    from botocore.exceptions import (  # noqa: PLC0415
        BotoCoreError,
        ClientError,
        ConnectionError,  # noqa: A004
        HTTPClientError,
    )

    try:
        return call(**request)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _OF_ITERATORS:
            raise IteratorRefused(code) from error
        if code in _PASSING or status in _SERVER_ERRORS:
            raise Passing(str(error)) from error
        kind = StreamGone if code == "ResourceNotFoundException" else StreamUnavailable
        raise kind(f"the stream could not be read: {error}", hint=_hint(code)) from error
    except (ConnectionError, HTTPClientError) as error:
        raise Passing(str(error)) from error
    except BotoCoreError as error:
        raise StreamUnavailable(
            f"the stream could not be read: {error}", hint="check credentials, --profile and --region"
        ) from error


def _hint(code: str) -> str:
    match code:
        case "ResourceNotFoundException":
            return "a stream is gone 24 hours after it was disabled; the table's own: aws dynamodb describe-table"
        case "AccessDeniedException":
            return "allow dynamodb:DescribeStream, dynamodb:GetShardIterator and dynamodb:GetRecords on the stream"
        case _:
            return "check the ARN, credentials, --profile and --region"
