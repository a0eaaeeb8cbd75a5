"""Where a DynamoDB table export lies, and its files by name: in a folder, or below an S3 prefix.

This module alone knows that an export may be in S3; what its files mean, `export` knows. Invariant: an export is taken
only where exactly one can be meant. boto3's exceptions are imported where S3 is asked, so that a folder needs none.
"""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import urlsplit

from archiver.errors import ExportRefused, StoreRefused

SUMMARY: Final = "manifest-summary"


class ExportFiles(Protocol):
    """The files of one export, by their names below the folder that holds its manifests."""

    @property
    def url(self) -> str: ...
    def open(self, name: str) -> IO[bytes]:
        """Raises FileNotFoundError."""
        ...


@dataclass(frozen=True)
class ExportFolder:
    """An export that was copied to this machine."""

    folder: Path

    @property
    def url(self) -> str:
        return str(self.folder)

    def open(self, name: str) -> IO[bytes]:
        return (self.folder / name).open("rb")


@dataclass(frozen=True)
class ExportInS3:
    """An export where DynamoDB put it. Files come through a temporary file, one at a time."""

    client: Any
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def open(self, name: str) -> IO[bytes]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        file = tempfile.TemporaryFile()  # noqa: SIM115  closed by the caller
        try:
            self.client.download_fileobj(self.bucket, f"{self.prefix}/{name}".lstrip("/"), file)
        except (BotoCoreError, ClientError) as error:
            file.close()
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            if code in {"404", "NoSuchKey"}:
                raise FileNotFoundError(name) from error
            raise StoreRefused(
                f"{self.url}/{name} could not be read: {error}", hint="the reader needs s3:GetObject and s3:ListBucket"
            ) from error
        file.seek(0)
        return file


def find_export(url: str, client: Callable[[], Any]) -> ExportFiles:
    """The export in a folder or below `s3://bucket/prefix`: there itself, or the only one in its `AWSDynamoDB`.

    `client` makes an S3 client when one is needed. Raises ExportRefused for none and for several.
    """
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    below = f"AWSDynamoDB/*/{SUMMARY}.json"
    found: list[ExportFiles]
    if parts.scheme == "s3":
        s3 = client()
        found = [ExportInS3(s3, parts.netloc, folder) for folder in _export_folders(s3, parts.netloc, prefix)]
    else:
        root = Path(parts.path if parts.scheme == "file" else url)
        summaries = [root / f"{SUMMARY}.json"] if (root / f"{SUMMARY}.json").exists() else sorted(root.glob(below))
        found = [ExportFolder(summary.parent) for summary in summaries]
    if len(found) != 1:
        raise ExportRefused(
            f"{url} holds {len(found) or 'no'} exports" + "".join(f"\n  {export.url}" for export in found),
            hint=f"name the folder that holds {SUMMARY}.json, as in s3://bucket/prefix/AWSDynamoDB/<export id>",
        )
    return found[0]


def _export_folders(client: Any, bucket: str, prefix: str) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    wanted = re.compile(rf"(?P<folder>{re.escape(prefix)}(?:/?AWSDynamoDB/[^/]+)?)/?{SUMMARY}\.json")
    folders = []
    try:
        # Data files are not listed: the delimiter stops at the folders of the exports.
        for start in (f"{prefix}/".lstrip("/"), f"{prefix}/AWSDynamoDB/".lstrip("/")):
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start, Delimiter="/")
            for page in pages:
                names = [entry["Key"] for entry in page.get("Contents", ())]
                names += [f"{entry['Prefix']}{SUMMARY}.json" for entry in page.get("CommonPrefixes", ())]
                folders += [match["folder"].rstrip("/") for name in names if (match := wanted.fullmatch(name))]
    except (BotoCoreError, ClientError) as error:
        raise StoreRefused(
            f"s3://{bucket}/{prefix} could not be listed: {error}", hint="allow s3:ListBucket"
        ) from error
    return folders
