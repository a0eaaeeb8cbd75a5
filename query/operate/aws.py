"""AWS as this machine reaches it: sessions, clients, one question, and what kind of answer its errors are.

The only file of the reader that imports boto3, but for the credentials that `query.s3_source` reads with. Invariant:
an error becomes `Missing` only if its code says so for that very question; every other one is `Unknown`, and a refusal
names the action that would have to be allowed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from query.errors import QueryError
from query.operate.answers import Answer, Listing, Missing, Pages, Unknown

_DENIED: Final = frozenset(
    {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AuthorizationError", "Forbidden"}
    | {"NotAuthorized", "UnauthorizedOperation"}
)
_NO_CREDENTIALS: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken"}
    | {"IncompleteSignature", "SignatureDoesNotMatch", "TokenRefreshRequired", "UnrecognizedClientException"}
)
_LONGEST_MESSAGE: Final = 200


class AwsUnavailable(QueryError):  # noqa: N818  named as the reader's other errors are
    """AWS cannot be asked at all, as it was configured."""

    code = "aws-unavailable"


@dataclass(frozen=True)
class Aws:
    """How AWS is reached; None leaves it to AWS's own chain of settings. One session for all its clients."""

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None

    def client(
        self, service: str, *, region: str | None = None, connections: int = 10, is_patient: bool = False
    ) -> Any:
        """A client of a service, in `region` if none was configured; a patient one slows down when throttled, and
        goes on for minutes.

        Raises what boto3 raises for a profile that is unknown, or a region that nobody names.
        """
        from botocore.config import Config  # noqa: PLC0415

        limits = Config(retries=_retries(is_patient=is_patient), max_pool_connections=connections)
        if not is_patient:
            limits = limits.merge(Config(connect_timeout=5, read_timeout=20))
        return self._session.client(
            service, region_name=self.region or region, endpoint_url=self.endpoint_url, config=limits
        )

    @cached_property
    def _session(self) -> Any:
        """Reading what a session knows of AWS takes longer than most of the questions."""
        import boto3  # noqa: PLC0415

        return boto3.Session(profile_name=self.profile)

    def asker(self, service: str, *, region: str | None = None) -> "Asker":
        """Asks one service. Raises AwsUnavailable if no client can be made."""
        try:
            return Asker(self.client(service, region=region))
        except Exception as error:
            if not is_of_aws(error) and not isinstance(error, ValueError):  # ValueError: an endpoint that is no URL
                raise
            raise AwsUnavailable(
                "AWS cannot be asked", why=str(error), hint="check --profile, --region and --endpoint-url"
            ) from error


class Asker:
    """One service, and the three kinds of answer it gives."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def ask(self, operation: str, action: str, *, missing: Mapping[str, str] | None = None, **request: Any) -> Answer:
        """The answer to one call of `operation`. `action` is the permission it needs, `missing` what an error code
        that means "there is none" says there is none of.
        """
        answer: Answer = self._sorted(lambda: getattr(self._client, operation)(**request), action, missing or {})
        return answer

    def list(
        self,
        operation: str,
        action: str,
        member: str,
        *,
        most_pages: int,
        missing: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Listing:
        """The elements of `member` over all pages, or over the first `most_pages`."""

        def read() -> Pages:
            items: list[Any] = []
            for number, page in enumerate(self._client.get_paginator(operation).paginate(**request)):
                if number == most_pages:
                    return Pages(tuple(items), is_whole=False)
                items.extend(page.get(member) or ())
            return Pages(tuple(items), is_whole=True)

        listing: Listing = self._sorted(read, action, missing or {})
        return listing

    def _sorted(self, call: Callable[[], Any], action: str, missing: Mapping[str, str]) -> Any:
        from botocore.exceptions import (  # noqa: PLC0415
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            PartialCredentialsError,
            TokenRetrievalError,
        )

        try:
            return call()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in missing:
                return Missing(missing[code])
            if code in _NO_CREDENTIALS:
                return Unknown(f"AWS does not take the credentials: {code}")
            if code in _DENIED:
                return Unknown(f"not allowed: needs {action}")
            message = error.response.get("Error", {}).get("Message") or ""
            return Unknown(f"AWS answered {code or 'an error'} to {action}: {message[:_LONGEST_MESSAGE]}".rstrip(": "))
        except (NoCredentialsError, PartialCredentialsError, TokenRetrievalError) as error:
            return Unknown(f"no credentials: {_one_line(error)}")
        except BotoCoreError as error:
            return Unknown(f"not reached: {_one_line(error)}")


def _retries(*, is_patient: bool) -> Any:
    return (
        {"mode": "adaptive", "total_max_attempts": 10} if is_patient else {"mode": "standard", "total_max_attempts": 3}
    )


def is_of_aws(error: Exception) -> bool:
    """Whether an error tells of AWS, or of how it is reached, and not of a mistake of ours."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    return isinstance(error, BotoCoreError | ClientError)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_MESSAGE]
