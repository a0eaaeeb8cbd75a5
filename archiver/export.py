"""A DynamoDB table export: its manifests read and checked, its items one by one.

This module alone knows the format, which is that of *DynamoDB table export output format* (DynamoDB Developer Guide).
Invariants: nothing is parsed before its MD5 is found right; an export is full, unfiltered and whole, and every file
holds the number of items that its manifest says, or it is refused; an item is given exactly as DynamoDB wrote it. One
line is in memory at a time.
"""

import base64
import binascii
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Final

import orjson

from archiver.errors import ExportRefused
from archiver.export_files import SUMMARY, ExportFiles
from archiver.format.layout import Trail
from archiver.tables import trail_of_table

_SECOND_MS: Final = 1000
# The time of an export may be off by one minute from other clocks (*DynamoDB data export to Amazon S3: how it works*).
_TOLERANCE_MS: Final = 60 * _SECOND_MS

_FILES: Final = "manifest-files"
_CHECKSUMS: Final = (".checksum", ".md5")  # the page shows the one in its tree and the other in its list
_KEY_OF_FILE: Final = re.compile(r"(?:.*/)?AWSDynamoDB/[^/]+/(?P<inside>data/[^/]+)")
_NARROWED: Final = re.compile(r"filter|projection|condition", re.IGNORECASE)
_CHUNK_BYTES: Final = 1024 * 1024
_LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024  # an item has 400 KB; as JSON at most some times that


@dataclass(frozen=True, slots=True)
class DataFile:
    """One line of `manifest-files.json`: the file, how many items it holds, and its MD5 in base64."""

    name: str
    items: int
    md5: str


@dataclass(frozen=True, slots=True)
class Export:
    """A full export, its manifests checked: what it is of, when, and its data files. Times in epoch ms."""

    files: ExportFiles
    arn: str
    trail: Trail
    table_id: str | None
    time_ms: int
    item_count: int
    data: tuple[DataFile, ...]

    @property
    def interval_ms(self) -> tuple[int, int]:
        """The closed interval that the items stand for, cut outward to whole seconds."""
        start = self.time_ms - _TOLERANCE_MS
        end = self.time_ms + _TOLERANCE_MS
        return start - start % _SECOND_MS, end + -end % _SECOND_MS

    def items(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every item with the place it stands at. Raises ExportRefused for a damaged, missing or short file."""
        total = 0
        for data in self.data:
            with _checked(self.files, data.name, data.md5) as file:
                count = 0
                for count, item in enumerate(_lines(file, data.name), start=1):
                    yield f"{data.name} line {count}", item
            if count != data.items:
                raise _refused(f"{data.name} holds {count} items, its manifest says {data.items}", self.files)
            total += count
        if total != self.item_count:
            raise _refused(f"the export holds {total} items, {SUMMARY}.json says {self.item_count}", self.files)


def open_export(files: ExportFiles) -> Export:
    """Reads and checks the manifests of an export. Raises ExportRefused, naming the file, for what is not a full, whole
    export in DynamoDB JSON."""
    summary = _json(_manifest(files, SUMMARY), f"{SUMMARY}.json", files)
    kind = summary.get("exportType", "FULL_EXPORT")  # the oldest exports, all full, do not say
    if kind != "FULL_EXPORT" or "exportFromTime" in summary:
        raise _refused(
            f"this is {kind}", files, hint="a baseline needs a full export: aws dynamodb export-table-to-point-in-time"
        )
    if summary.get("outputFormat") != "DYNAMODB_JSON":
        raise _refused(f"its format is {summary.get('outputFormat')}", files, hint="export it as DYNAMODB_JSON")
    narrowed = [name for name, value in summary.items() if _NARROWED.search(name) and value]
    if narrowed:
        raise _refused(
            f"it was filtered ({', '.join(narrowed)})", files, hint="a baseline needs every item: export without filter"
        )
    try:
        lines = _manifest(files, _FILES).splitlines()
        return Export(
            files=files,
            arn=str(summary["exportArn"]),
            trail=trail_of_table(summary["tableArn"]),
            table_id=summary.get("tableId"),
            time_ms=_instant_ms(summary["exportTime"]),
            item_count=int(summary["itemCount"]),
            data=tuple(_data_file(_json(line, f"{_FILES}.json", files)) for line in lines if line.strip()),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(f"its manifests are not as documented: {error!r}", files) from error


def _instant_ms(text: str) -> int:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return round(at.timestamp() * _SECOND_MS)


def _data_file(line: Mapping[str, Any]) -> DataFile:
    # "Keys appear with and without the prefix", and a copy may lie anywhere: what counts is the place in the export.
    match = _KEY_OF_FILE.fullmatch(line["dataFileS3Key"])
    if match is None:
        raise ValueError(f"{line['dataFileS3Key']!r} does not lie in the data folder of an export")
    return DataFile(match["inside"], int(line["itemCount"]), line["md5Checksum"])


def _manifest(files: ExportFiles, name: str) -> bytes:
    for suffix in _CHECKSUMS:
        try:
            with files.open(name + suffix) as file:
                expected = file.read(_CHUNK_BYTES).decode(errors="replace").strip()
        except FileNotFoundError:
            continue
        with _checked(files, f"{name}.json", expected) as file:
            return file.read()
    raise _refused(f"{name}{_CHECKSUMS[0]} is missing", files)


def _checked(files: ExportFiles, name: str, expected_md5: str) -> IO[bytes]:
    """A file at its beginning, its MD5 (base64 or hex) found right before anything is parsed."""
    try:
        file = files.open(name)
    except FileNotFoundError as error:
        raise _refused(f"{name} is missing", files) from error
    except OSError as error:
        raise _refused(f"{name} cannot be read: {error.strerror}", files) from error
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    found = digest.digest()
    if expected_md5 not in {base64.b64encode(found).decode(), binascii.hexlify(found).decode()}:
        file.close()
        raise _refused(f"{name} has MD5 {base64.b64encode(found).decode()}, its manifest says {expected_md5}", files)
    file.seek(0)
    return file


def _lines(file: IO[bytes], name: str) -> Iterator[Mapping[str, Any]]:
    try:
        with gzip.open(file) if name.endswith(".gz") else file as lines:
            for number, line in enumerate(iter(lambda: lines.readline(_LONGEST_LINE_BYTES), b""), start=1):
                yield _item(line, f"{name} line {number}")
    except (OSError, EOFError, zlib.error) as error:
        raise ExportRefused(f"{name} cannot be read: {error}", hint="fetch the file again") from error


def _item(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        members = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ExportRefused(f"{place} is not JSON: {error}", hint="make a new export") from error
    if not isinstance(members, dict) or members.keys() != {"Item"}:
        raise ExportRefused(f'{place} is not {{"Item": ...}}', hint="a baseline needs a full export in DynamoDB JSON")
    item: Mapping[str, Any] = members["Item"]
    return item


def _json(content: bytes, name: str, files: ExportFiles) -> dict[str, Any]:
    try:
        members = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _refused(f"{name} is not JSON: {error}", files) from error
    if not isinstance(members, dict):
        raise _refused(f"{name} holds no object", files)
    return members


def _refused(why: str, files: ExportFiles, *, hint: str = "") -> ExportRefused:
    return ExportRefused(
        f"the export in {files.url} cannot be imported: {why}",
        hint=hint or "fetch the whole folder again (aws s3 sync), manifests and checksums too, or make a new export",
    )
