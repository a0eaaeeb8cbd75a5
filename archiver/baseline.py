"""Baselines: the whole table, imported from a DynamoDB export or a scan, with the interval of time it stands for.

Invariants: a baseline exists when its description does, and the description is written last, over parts that are all
there; nothing is imported from an export unless every file has the digest and the number of items that its manifest
says; an item is kept exactly as DynamoDB gave it. Memory is bounded by the part, not by the table.
The export format is that of *DynamoDB table export output format* (DynamoDB Developer Guide).
"""

import base64
import binascii
import gzip
import hashlib
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import urlsplit

import orjson

from archiver.errors import ArchiverError, ExportRefused, StoreRefused
from archiver.format.canonical import canonical
from archiver.format.description import BaselineDescription, BaselinePart, KeySchema, StreamDescription
from archiver.format.layout import BaselineName, Trail, label_time_ms, parse_stream_name
from archiver.format.record import item_key_text, key_hints
from archiver.format.values import check_attributes
from archiver.segment import encode_baseline_part
from archiver.store import ObjectStore
from archiver.stream import wire

# Images of one part before compression. Items are in key order within a part, not across parts: sorting a table of any
# size would need its size in memory or on disk, and a reader prunes by the key range of each part all the same.
PART_BYTES: Final = 64 * 1024 * 1024
SECOND_MS: Final = 1000
# The time of an export may be off by one minute from other clocks (*DynamoDB data export to Amazon S3: how it works*).
EXPORT_TOLERANCE_MS: Final = 60 * SECOND_MS

_TABLE_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:dynamodb:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):table/(?P<table_name>[A-Za-z0-9_.-]+)"
)
_SUMMARY: Final = "manifest-summary"
_FILES: Final = "manifest-files"
_CHECKSUMS: Final = (".checksum", ".md5")  # the page shows the one in its tree and the other in its list
_KEY_OF_FILE: Final = re.compile(r"(?:.*/)?AWSDynamoDB/[^/]+/(?P<inside>data/[^/]+)")
_NARROWED: Final = re.compile(r"filter|projection|condition", re.IGNORECASE)
_CHUNK_BYTES: Final = 1024 * 1024
_LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024  # an item has 400 KB; as JSON at most some times that

# One row of a part: item key, partition and sort key text, image.
_Row = tuple[bytes, str | None, str | None, bytes]


class BaselineExists(ArchiverError):  # noqa: N818
    """Another baseline stands for an interval that begins in the same second. Nothing was replaced."""


def trail_of_table(table_arn: str) -> Trail:
    """The trail of `arn:aws:dynamodb:<region>:<account>:table/<name>`. Raises ValueError for anything else."""
    match = _TABLE_ARN.fullmatch(table_arn)
    if match is None:
        raise ValueError(f"{table_arn!r} is not the ARN of a DynamoDB table")
    return Trail(**match.groupdict())


# --- writing ---


@dataclass(frozen=True, slots=True)
class Written:
    """A baseline in the archive: its description, and whether it was there before."""

    name: str
    description: BaselineDescription
    is_new: bool


@dataclass
class BaselineWriter:
    """Writes one baseline: `parts` takes all items, then `describe` makes them a baseline.

    `from_ms` (epoch ms, whole seconds) is the start of its interval; `key_names` the key attributes in schema order.
    """

    store: ObjectStore
    trail: Trail
    from_ms: int
    key_names: tuple[str, ...]
    key_types: dict[str, str]
    part_bytes: int = PART_BYTES

    def parts(self, items: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[BaselinePart, ...]:
        """Stores items, each with the place it came from, as parts; learns the types of the key.

        Raises ExportRefused, naming the place, for what is no item of this key schema, or twice the same key.
        """
        return tuple(self._put(number, rows) for number, rows in enumerate(self._portions(items)))

    def describe(
        self,
        parts: tuple[BaselinePart, ...],
        *,
        to_ms: int,
        origin: str,
        stream_label: str | None = None,
        table_id: str | None = None,
    ) -> Written:
        """Stores the description, after which the baseline counts. `to_ms` (epoch ms) ends its interval.

        The same import once more finds its own bytes and succeeds. Raises BaselineExists if another one is there.
        """
        description = BaselineDescription(
            complete=True,
            from_ms=self.from_ms,
            to_ms=to_ms,
            items=sum(part.items for part in parts),
            key_schema=self._key_schema(),
            origin=origin,
            parts=parts,
            stream_label=stream_label,
            table_id=table_id,
        )
        name = self.trail.prefix + BaselineName(self.from_ms).description
        # Last of all: a stop before this leaves parts that no description lists, which no reader looks at and the next
        # attempt finds in place. Written first, it would promise a complete table while parts are missing.
        if self.store.put_if_absent(name, description.compose()):
            return Written(name, description, is_new=True)
        try:
            found = BaselineDescription.parse(self.store.get(name))
        except ValueError as error:
            raise BaselineExists(f"{name} is already there: {error}", hint="nothing was replaced") from error
        # Another version of the Parquet library writes other bytes for the same items.
        if replace(found, parts=()) != replace(description, parts=()):
            raise BaselineExists(
                f"{name} is already there and says otherwise: {_differences(found, description)}",
                hint="evidence is never replaced: use the baseline that is there, or import a newer export or scan",
            )
        return Written(name, found, is_new=False)

    def _key_schema(self) -> KeySchema:
        unknown = [name for name in self.key_names if name not in self.key_types]
        if unknown:
            raise ExportRefused(
                f"the table is empty, so nothing tells the type of {', '.join(unknown)}",
                hint="allow dynamodb:DescribeTable and leave out --no-describe-table",
            )
        return tuple((name, self.key_types[name]) for name in self.key_names)

    def _portions(self, items: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[list[_Row]]:
        rows: list[_Row] = []
        size_bytes = 0
        for place, item in items:
            row = self._row(place, item)
            rows.append(row)
            size_bytes += len(row[-1])
            if size_bytes >= self.part_bytes:
                yield rows
                rows, size_bytes = [], 0
        if rows:
            yield rows

    def _row(self, place: str, item: Mapping[str, Any]) -> _Row:
        try:
            check_attributes(item)
            keys = {name: item[name] for name in self.key_names}
            item_key = item_key_text(keys)
            image = canonical(item)
        except KeyError as error:
            raise ExportRefused(
                f"{place} has no attribute {error}, which should be part of its key",
                hint="correct --key-schema: partition key, then sort key",
            ) from error
        except (ValueError, TypeError) as error:
            raise ExportRefused(f"{place} is no item: {error}", hint="nothing was imported; fetch it again") from error
        types = {name: next(iter(value)) for name, value in keys.items()}
        for name, kind in types.items():
            if self.key_types.setdefault(name, kind) != kind:
                raise ExportRefused(
                    f"{place} has {name} of type {kind}, other items of type {self.key_types[name]}",
                    hint="a key attribute has one type: correct --key-schema",
                )
        return item_key, *key_hints(keys, self.key_names), image

    def _put(self, number: int, rows: list[_Row]) -> BaselinePart:
        rows.sort(key=lambda row: (row[1] or "", row[2] or "", row[0]))
        keys = [row[0] for row in rows]
        if len(set(keys)) < len(keys):
            twice = next(key for index, key in enumerate(keys[1:]) if keys[index] == key)
            raise ExportRefused(
                f"two items have the key {twice.decode()}",
                hint="a key names one item: is the sort key missing from --key-schema?",
            )
        content = encode_baseline_part(rows)
        digest = hashlib.sha256(content).hexdigest()
        name = BaselineName(self.from_ms).part(number, digest)
        self.store.put_if_absent(self.trail.prefix + name, content)
        return BaselinePart(name.rpartition("/")[2], len(content), len(rows), digest)


def _differences(found: BaselineDescription, ours: BaselineDescription) -> str:
    names = [name for name in BaselineDescription.__slots__ if name != "parts"]
    return ", ".join(
        f"{name} {getattr(found, name)!r}, not {getattr(ours, name)!r}"
        for name in names
        if getattr(found, name) != getattr(ours, name)
    )


# --- what else is known ---


def described_streams(store: ObjectStore, trail: Trail) -> dict[str, StreamDescription]:
    """What the archive says of the streams of a table, by stream label, newest first."""
    described = {}
    for name, _ in sorted(store.list(f"{trail.prefix}streams/"), reverse=True):
        label = parse_stream_name(name.removeprefix(trail.prefix))
        described[label] = StreamDescription.parse(store.get(name))
    return described


def label_at(stream_labels: Iterable[str], from_ms: int) -> str | None:
    """The newest stream that was already enabled when the interval began (epoch ms); None if there was none.

    A stream enabled later has missed changes inside the interval: it must not cover the interval's beginning.
    """
    return max((label for label in stream_labels if label_time_ms(label) <= from_ms), default=None)


# --- exports ---


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
    below = f"AWSDynamoDB/*/{_SUMMARY}.json"
    found: list[ExportFiles]
    if parts.scheme == "s3":
        s3 = client()
        found = [ExportInS3(s3, parts.netloc, folder) for folder in _export_folders(s3, parts.netloc, prefix)]
    else:
        root = Path(parts.path if parts.scheme == "file" else url)
        summaries = [root / f"{_SUMMARY}.json"] if (root / f"{_SUMMARY}.json").exists() else sorted(root.glob(below))
        found = [ExportFolder(summary.parent) for summary in summaries]
    if len(found) != 1:
        raise ExportRefused(
            f"{url} holds {len(found) or 'no'} exports" + "".join(f"\n  {export.url}" for export in found),
            hint=f"name the folder that holds {_SUMMARY}.json, as in s3://bucket/prefix/AWSDynamoDB/<export id>",
        )
    return found[0]


def _export_folders(client: Any, bucket: str, prefix: str) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    wanted = re.compile(rf"(?P<folder>{re.escape(prefix)}(?:/?AWSDynamoDB/[^/]+)?)/?{_SUMMARY}\.json")
    folders = []
    try:
        # Data files are not listed: the delimiter stops at the folders of the exports.
        for start in (f"{prefix}/".lstrip("/"), f"{prefix}/AWSDynamoDB/".lstrip("/")):
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start, Delimiter="/")
            for page in pages:
                names = [entry["Key"] for entry in page.get("Contents", ())]
                names += [f"{entry['Prefix']}{_SUMMARY}.json" for entry in page.get("CommonPrefixes", ())]
                folders += [match["folder"].rstrip("/") for name in names if (match := wanted.fullmatch(name))]
    except (BotoCoreError, ClientError) as error:
        raise StoreRefused(
            f"s3://{bucket}/{prefix} could not be listed: {error}", hint="allow s3:ListBucket"
        ) from error
    return folders


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
        start = self.time_ms - EXPORT_TOLERANCE_MS
        end = self.time_ms + EXPORT_TOLERANCE_MS
        return start - start % SECOND_MS, end + -end % SECOND_MS

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
            raise _refused(f"the export holds {total} items, {_SUMMARY}.json says {self.item_count}", self.files)


def open_export(files: ExportFiles) -> Export:
    """Reads and checks the manifests of an export. Raises ExportRefused, naming the file, for what is not a full, whole
    export in DynamoDB JSON."""
    summary = _json(_manifest(files, _SUMMARY), f"{_SUMMARY}.json", files)
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
    return round(at.timestamp() * SECOND_MS)


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


# --- scans ---


def scan_items(client: Any, table_name: str, *, threads: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every item of a live table by a consistent parallel scan, `threads` segments at once, in no order.

    `client` is boto3's low-level DynamoDB client. At most two pages (of 1 MB) of each segment are in memory.
    """

    def page(segment: int, start: Mapping[str, Any] | None) -> Mapping[str, Any]:
        request = {"TableName": table_name, "ConsistentRead": True, "Segment": segment, "TotalSegments": threads}
        answer: Mapping[str, Any] = client.scan(**request, **({"ExclusiveStartKey": start} if start else {}))
        return answer

    place = f"an item of {table_name}"
    with ThreadPoolExecutor(threads) as pool:
        waiting: dict[Future[Mapping[str, Any]], int] = {pool.submit(page, n, None): n for n in range(threads)}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    segment, answer = waiting.pop(future), future.result()
                    if answer.get("LastEvaluatedKey"):
                        waiting[pool.submit(page, segment, answer["LastEvaluatedKey"])] = segment
                    yield from ((place, wire(item)) for item in answer["Items"])
        finally:
            for future in waiting:
                future.cancel()
