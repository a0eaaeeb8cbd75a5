"""Made `tests/golden/v1/`, once. It refuses to make it again: the archive stands for all that were ever written.

`python -m tests.golden.make` archives `events.jsonl` (one Lambda event a line, overlapping on purpose) at a fixed time,
lays a baseline beside it and writes `v1.sha256`, the digest of every object. A new version of the format gets a new folder.
"""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from archiver.format.description import BaselineDescription, BaselinePart
from archiver.format.keytext import key_text
from archiver.format.layout import BaselineName, StreamSource, Trail
from archiver.format.record import item_key_text
from archiver.segment import encode_baseline_part
from archiver.store import FolderStore, ObjectStore
from archiver.streams import Streams
from archiver.writer import Writer

FOLDER = Path(__file__).parent
EVENTS = FOLDER / "events.jsonl"
ARCHIVE = FOLDER / "v1"
DIGESTS = FOLDER / "v1.sha256"

ORDERS = Trail("111122223333", "eu-west-1", "orders")
ARRIVED_MS = round(datetime(2028, 3, 2, 12, tzinfo=UTC).timestamp() * 1000)
TABLE_IDS = {
    "2028-02-01T08:00:00.000": "0b7f4a52-6c0e-4f0f-9a5e-2d3c1b0a9f81",
    "2028-03-01T10:00:00.000": "c41d9e77-30b8-4d1a-8f5b-77aa01e2d9c4",
    "2028-02-10T00:00:00.000": "5e0f6d21-9b1c-4a3e-b2d7-0c9a8b7f6e5d",
}
SCHEMAS = {"orders": [("pk", "HASH"), ("sk", "RANGE")], "files": [("digest", "HASH")]}

BASELINE_FROM_MS = round(datetime(2028, 3, 1, 11, tzinfo=UTC).timestamp() * 1000)
BASELINE_ITEMS = [
    {"pk": {"S": "CUST#1"}, "sk": {"N": "1"}, "status": {"S": "NEW again"}},
    {"pk": {"S": "CUST#5"}, "sk": {"N": "-1"}, "note": {"S": "never seen to change"}},
    {"pk": {"S": "CUST#5"}, "sk": {"N": "10"}, "tags": {"SS": ["b", "a"]}},
]


def load_batches() -> list[list[Any]]:
    """The records of each event, in order of arrival."""
    return [json.loads(line)["Records"] for line in EVENTS.read_text().splitlines()]


def new_writer(store: ObjectStore) -> Writer:
    """The writer of a new container, which can ask about every table but `ledger`."""
    return Writer(store, Streams(describe_table=_describe))


def write_events(store: ObjectStore) -> None:
    """Archives every event, each in a container of its own."""
    for records in load_batches():
        new_writer(store).archive(records, now_ms=ARRIVED_MS)


def write_baseline(store: ObjectStore) -> None:
    """A complete baseline of the second `orders`, in two parts."""
    name = BaselineName(BASELINE_FROM_MS)
    rows = [_baseline_row(item) for item in BASELINE_ITEMS]
    parts = []
    for number, items in enumerate((rows[:1], rows[1:])):
        content = encode_baseline_part(items)
        digest = sha256(content).hexdigest()
        part = name.part(number, digest)
        store.put_if_absent(ORDERS.prefix + part, content)
        parts.append(BaselinePart(part.removeprefix(name.folder), len(content), len(items), digest))
    description = BaselineDescription(
        complete=True,
        from_ms=BASELINE_FROM_MS,
        to_ms=BASELINE_FROM_MS + 45_000,
        items=len(rows),
        key_schema=(("pk", "S"), ("sk", "N")),
        origin="written by hand",
        parts=tuple(parts),
        stream_label="2028-03-01T10:00:00.000",
        table_id=TABLE_IDS["2028-03-01T10:00:00.000"],
    )
    store.put_if_absent(ORDERS.prefix + name.description, description.compose())


def main() -> None:
    if ARCHIVE.exists():
        sys.exit(f"{ARCHIVE} is there; it is never made again, a new format gets a new folder")
    write_events(FolderStore(ARCHIVE))
    write_baseline(FolderStore(ARCHIVE))
    DIGESTS.write_text("".join(f"{digest}  {name}\n" for name, digest in digests(ARCHIVE).items()))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def _describe(source: StreamSource) -> Mapping[str, Any]:
    """DescribeTable, asked while the stream was the table's latest."""
    schema = SCHEMAS.get(source.trail.table_name)
    if schema is None:
        return {}
    return {
        "LatestStreamLabel": source.stream_label,
        "TableId": TABLE_IDS[source.stream_label],
        "KeySchema": [{"AttributeName": name, "KeyType": role} for name, role in schema],
    }


def _baseline_row(item: Mapping[str, Any]) -> tuple[bytes, str | None, str | None, bytes]:
    image = json.dumps(item, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    key = {name: item[name] for name in ("pk", "sk")}
    return item_key_text(key), key_text(key["pk"]), key_text(key["sk"]), image


if __name__ == "__main__":
    main()
