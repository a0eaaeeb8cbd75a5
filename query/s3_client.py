"""Who asks S3: obstore's client, with credentials, region and endpoint as the AWS CLI would find them.

Where all of them stand in the environment and nothing else has a say, botocore (a tenth of a second) is not imported;
what it would have found, is found. No client of boto3 is made to learn an endpoint: that takes a quarter of a second.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from query.errors import UnreadableArchive
from query.source import Access

DEFAULT_REGION: Final = "us-east-1"
# Whatever of these is set may say otherwise, or that the keys expire: botocore knows how.
_HAVE_A_SAY: Final = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
# What may tell of an endpoint, or that none counts: where any of them is, botocore reads it.
_FILES: Final = ("~/.aws/config", "~/.aws/credentials")
_NAMES_OF_FILES: Final = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")


@dataclass(frozen=True, slots=True)
class _Found:
    """`credentials` provides keys, as obstore asks for them."""

    region: str
    endpoint_url: str | None
    credentials: Callable[[], Any]


def s3_client(bucket: str, access: Access) -> Any:
    """An `S3Store` for a bucket. Raises UnreadableArchive where there are no credentials."""
    from obstore.store import S3Store  # noqa: PLC0415

    found = _in_environment(access, os.environ) or _by_botocore(bucket, access)
    # Never keys as options: for what is not given obstore would look into the environment itself, by other names.
    options: dict[str, Any] = {"region": found.region, "credential_provider": found.credentials}
    if found.endpoint_url:
        options |= {"endpoint": found.endpoint_url, "virtual_hosted_style_request": False}
    return S3Store(bucket, client_options={"allow_http": bool(found.endpoint_url)}, **options)


def _in_environment(access: Access, environ: Mapping[str, str]) -> _Found | None:
    """What botocore would find, where it would look into the environment only."""
    region = access.region or environ.get("AWS_DEFAULT_REGION")
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    endpoint_url = access.endpoint_url or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    if access.profile or not (region and key and secret) or any(name in environ for name in _HAVE_A_SAY):
        return None
    if not access.endpoint_url:
        has_files = any(Path(name).expanduser().exists() for name in _FILES)
        if has_files or any(name in environ for name in _NAMES_OF_FILES):
            return None
    token = environ.get("AWS_SESSION_TOKEN") or None
    keys = {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}
    return _Found(region, endpoint_url or None, lambda: keys)


def _by_botocore(bucket: str, access: Access) -> _Found:
    import boto3  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    from botocore.session import get_session  # noqa: PLC0415
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415

    try:
        configured = get_session()
        session = boto3.Session(botocore_session=configured, profile_name=access.profile, region_name=access.region)
        credentials = Boto3CredentialProvider(session)
        endpoint_url = access.endpoint_url or _configured_endpoint(configured, os.environ)
    except (BotoCoreError, ValueError) as error:
        raise UnreadableArchive(
            f"no credentials for s3://{bucket}", why=str(error), hint="set AWS_PROFILE or --profile, as for the AWS CLI"
        ) from error
    return _Found(session.region_name or DEFAULT_REGION, endpoint_url, credentials)


def _configured_endpoint(session: Any, environ: Mapping[str, str]) -> str | None:
    """The endpoint of S3 that the environment or the configuration tells of, in the order of the AWS SDKs' reference
    ("Service-specific endpoints"); `session` is one of botocore.
    """
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    profile = session.get_scoped_config()
    services = session.full_config.get("services", {}).get(profile.get("services"), {})
    of_service = services.get("s3")
    return (
        environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
        or (of_service.get("endpoint_url") if isinstance(of_service, dict) else None)
        or profile.get("endpoint_url")
    )
