"""Where evidence is put: a folder or S3. Every write is create-only, and "already there" is success.

Invariant: an object is either absent or whole. Nothing is ever replaced or deleted here.
This is the only file that imports boto3 for S3.
"""

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from archiver.errors import NotConfigured, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# Answers that only a person can change; everything else may pass, so Lambda's retry may help.
_REFUSALS: Final = frozenset(
    {
        "AccessDenied",
        "NoSuchBucket",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "KMS.DisabledException",
        "403",
        "404",
    }
)
_FULL_OR_FORBIDDEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})
_PARTIAL_PREFIX: Final = ".partial-"
# 409 means that a concurrent write of the name conflicts: "retry the upload" (*How to prevent object overwrites with
# conditional writes*, S3 User Guide). 5xx and lost answers are boto3's own retries.
_CONFLICT_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8)


class ObjectStore(Protocol):
    """What the writer needs of an archive. Names are relative to the archive's URL."""

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Stores an object if none has its name. True if it was written now, False if one was already there.

        Raises StoreUnavailable or StoreRefused; after either the object may or may not be there, never in part.
        """
        ...

    def get(self, name: str) -> bytes:
        """The content of an object. Raises FileNotFoundError if there is none."""
        ...

    def list(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, int]]:
        """Names and sizes (bytes) of the objects below a prefix, in order of name."""
        ...


def open_store(
    url: str, *, endpoint_url: str | None = None, profile: str | None = None, region: str | None = None
) -> ObjectStore:
    """The store behind `s3://bucket/prefix`, `file://` or a folder's path. Raises NotConfigured for other URLs."""
    if not url:
        raise NotConfigured("no archive is named", hint="set DDBTRAIL_ARCHIVE to s3://bucket/prefix or a folder")
    parts = urlsplit(url)
    if parts.scheme == "s3":
        if not parts.netloc:
            raise NotConfigured(f"{url} names no bucket", hint="write s3://bucket/prefix")
        return S3Store(_s3_client(endpoint_url, profile, region), parts.netloc, parts.path.strip("/"))
    if parts.scheme == "file":
        return FolderStore(Path(parts.path))
    if "://" in url:
        raise NotConfigured(f"{url} is neither S3 nor a folder", hint="write s3://bucket/prefix or a folder's path")
    return FolderStore(Path(url))


class FolderStore:
    """An archive in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put_if_absent(self, name: str, content: bytes) -> bool:
        path = self.root / name
        try:
            return _link_new(path, content)
        except OSError as error:
            kind = StoreRefused if error.errno in _FULL_OR_FORBIDDEN else StoreUnavailable
            raise kind(
                f"could not write {path}: {error.strerror}", hint="free or repair the archive's folder"
            ) from error

    def get(self, name: str) -> bytes:
        path = self.root / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            kind = StoreRefused if error.errno in _FULL_OR_FORBIDDEN else StoreUnavailable
            raise kind(f"could not read {path}: {error.strerror}", hint="repair the archive's folder") from error

    def list(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, int]]:
        folder = self.root / prefix.rpartition("/")[0]
        found = []
        for parent, folders, files in os.walk(folder, onerror=_refuse_unlisted):
            folders.sort()
            for file in files:
                path = Path(parent, file)
                name = path.relative_to(self.root).as_posix()
                if name.startswith(prefix) and name > start_after and not file.startswith(_PARTIAL_PREFIX):
                    found.append((name, path.stat().st_size))
        yield from sorted(found)


def _refuse_unlisted(error: OSError) -> None:
    """A folder that cannot be looked into may hold anything: a listing without it would pass for the whole."""
    if not isinstance(error, FileNotFoundError):
        kind = StoreRefused if error.errno in _FULL_OR_FORBIDDEN else StoreUnavailable
        raise kind(f"could not list {error.filename}: {error.strerror}", hint="repair the archive's folder") from error


def _link_new(path: Path, content: bytes) -> bool:
    """Writes a file under a name of its own, then gives it its true name, which fails if that name is taken.

    The order is what makes it safe: content and fsync first, so that a name never stands for half an object; `link`
    and not `rename`, which would silently replace; the folder's fsync last, before anyone is told. A stop before
    the link
    leaves a partial file that no reader lists.
    """
    _make_folder(path.parent)
    partial = path.parent / f"{_PARTIAL_PREFIX}{secrets.token_hex(8)}"
    is_new = True
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            is_new = False
        finally:
            partial.unlink()
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    # Also when the name was taken: whoever took it may have been stopped before this line.
    _sync_folder(path.parent)
    return is_new


def _make_folder(folder: Path) -> None:
    """Makes a folder and its parents, each one's entry on disk before anything is put inside."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class S3Store:
    """An archive in an S3 bucket. Needs `s3:PutObject`; `get` and `list` are for others than the Lambda function."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def put_if_absent(self, name: str, content: bytes) -> bool:
        for pause_s in _CONFLICT_PAUSES_S:
            written = self._put(name, content)
            if written is not None:
                return written
            time.sleep(pause_s)
        raise StoreUnavailable(
            f"could not write s3://{self._bucket}/{self._prefix}{name}: others keep writing it",
            hint="the batch is not acknowledged and is sent again",
        )

    def _put(self, name: str, content: bytes) -> bool | None:
        """True if written, False if already there, None if another write of the same name was under way."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            # A lost answer makes boto3 try again and find its own object: the 412 below is then our own write. The
            # name is made from the records, so whoever wrote it wrote the same rows.
            self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + name, Body=content, IfNoneMatch="*", ChecksumAlgorithm="SHA256"
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in {"PreconditionFailed", "412"}:
                return False
            if code in {"ConditionalRequestConflict", "409"}:
                return None
            kind = StoreRefused if code in _REFUSALS else StoreUnavailable
            raise kind(
                f"could not write s3://{self._bucket}/{self._prefix}{name}: {error}", hint=_hint(code)
            ) from error
        except BotoCoreError as error:
            raise StoreUnavailable(
                f"could not write s3://{self._bucket}/{self._prefix}{name}: {error}",
                hint="check credentials and network",
            ) from error
        return True

    def get(self, name: str) -> bytes:
        with self._reading(name, "s3:GetObject"):
            try:
                return self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
            except self._client.exceptions.NoSuchKey as error:
                raise FileNotFoundError(name) from error

    def list(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, int]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket,
            Prefix=self._prefix + prefix,
            StartAfter=self._prefix + start_after if start_after else "",
        )
        with self._reading(prefix, "s3:ListBucket"):
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield entry["Key"].removeprefix(self._prefix), entry["Size"]
                if page.get("IsTruncated") and not page.get("NextContinuationToken"):  # boto3 takes that for the end
                    raise StoreUnavailable(
                        f"the listing of s3://{self._bucket}/{self._prefix}{prefix} was cut short", hint="try again"
                    )

    @contextmanager
    def _reading(self, name: str, action: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            kind = StoreRefused if code in _REFUSALS else StoreUnavailable
            hint = (
                f"the role needs {action}" if code in {"AccessDenied", "403"} else "check the bucket's name and region"
            )
            raise kind(f"could not read s3://{self._bucket}/{self._prefix}{name}: {error}", hint=hint) from error
        except BotoCoreError as error:
            raise StoreUnavailable(
                f"could not read s3://{self._bucket}/{self._prefix}{name}: {error}",
                hint="check credentials and network",
            ) from error


def _s3_client(endpoint_url: str | None, profile: str | None, region: str | None) -> "S3Client":
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    session = boto3.Session(profile_name=profile, region_name=region)
    retries = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=30)
    return session.client("s3", endpoint_url=endpoint_url, config=retries)


def _hint(code: str) -> str:
    match code:
        case "AccessDenied" | "403":
            return "the role needs s3:PutObject on this prefix (and kms:GenerateDataKey on the bucket's key)"
        case "NoSuchBucket" | "404":
            return "create the bucket, or correct DDBTRAIL_ARCHIVE"
        case _:
            return "the batch is not acknowledged and is sent again"
