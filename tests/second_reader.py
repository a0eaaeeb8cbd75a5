"""A naive second reader: an archive read by the letter of `docs/format.md`, with nothing of the project's own code.

Standard library and `pyarrow.parquet` only. It reads every object of a trail, derives every column, leaf and root again
and trusts no name; what does not hold is a *problem*, one line of text, and never an exception. Of a log it says whether
it is one, and whether its entries are of the evidence that is there; signatures are for others to check. What it returns are
records in the shape in which Lambda delivers them, so that an oracle can be fed from what was archived. Slow on purpose.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq

SEGMENT_COLUMNS = {
    "change_id": ("string", False),
    "op": ("string", False),
    "changed_at": ("timestamp[ms, tz=UTC]", False),
    "sequence_number": ("string", False),
    "stream_label": ("string", False),
    "item_key": ("string", False),
    "pk": ("string", True),
    "sk": ("string", True),
    "old_image": ("string", True),
    "new_image": ("string", True),
    "user_identity": ("string", True),
    "event": ("string", False),
}
BASELINE_COLUMNS = {
    "item_key": ("string", False),
    "pk": ("string", True),
    "sk": ("string", True),
    "image": ("string", False),
}
STREAM_MEMBERS = {"format", "key_schema", "stream_arn", "table_id", "view_type"}
BASELINE_MEMBERS = {
    "format", "complete", "from_ms", "to_ms", "items", "key_schema", "origin", "parts", "stream_label", "table_id",
}  # fmt: skip

_TRAIL = re.compile(r"v1/account=([0-9]{12})/region=([a-z][a-z0-9-]+)/table_name=([A-Za-z0-9_.-]{3,255})/")
_ARN = re.compile(r"arn:aws[a-z-]*:dynamodb:([a-z][a-z0-9-]+):([0-9]{12}):table/([A-Za-z0-9_.-]{3,255})/stream/([^/]+)")
_SEGMENT = re.compile(r"segments/dt=(\d{4}-\d\d-\d\d)/hour=(\d\d)/(\d{40})-([0-9a-f]{64})\.parquet", re.ASCII)
_NUMBER = re.compile(r"([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?")


class Listing(Protocol):
    """Anything with names and contents: a folder, a bucket, a dict in a test."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]: ...
    def get(self, name: str) -> bytes: ...


class Folder:
    """An archive in a folder. Files that begin with `.partial-` are what a stopped writer left: nobody's object."""

    def __init__(self, root: Path):
        self.root = root

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if path.is_file() and name.startswith(prefix) and not path.name.startswith(".partial-"):
                yield name, path.stat().st_size

    def get(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


@dataclass
class LogRead:
    """The log of a trail: its seals as parsed JSON, in order, and all their entries. `notes`: each head as it was signed, and
    its signature lines as (name, key id, signature).
    """

    seals: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    notes: list[tuple[str, list[tuple[str, bytes, bytes]]]] = field(default_factory=list)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["type"] == kind]

    def sealed(self) -> set[str]:
        """Every path that an entry is about, descriptions among them."""
        paths = {entry["path"] for kind in ("segment", "quarantine", "baseline") for entry in self.of_type(kind)}
        return paths | {
            f"streams/{entry['stream_label']}.json" for entry in self.of_type("open") if entry["description_sha256"]
        }


@dataclass
class TrailRead:
    """All that a trail holds.

    `records`: Lambda-shaped, one for each change (each content of a conflict), in order; `leaves`: segment name to the
    leaves of its rows, hex; `baselines`: dicts with `s` and `e` (seconds), `label`, `is_complete`, `items` (pairs of key
    and image); `table_ids`: stream label to table id; `late`: segments that have a marker; `quarantined`: texts.
    """

    prefix: str
    records: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    conflicts: dict[Hashable, list[dict[str, Any]]] = field(default_factory=dict)
    leaves: dict[str, list[str]] = field(default_factory=dict)
    table_ids: dict[str, str | None] = field(default_factory=dict)
    key_schemas: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    baselines: list[dict[str, Any]] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    quarantined: list[bytes] = field(default_factory=list)
    log: LogRead = field(default_factory=lambda: LogRead())

    def history(self, keys: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The changes of one item, in order."""
        wanted = attributes_value(keys)
        return [record for record in self.records if attributes_value(record["dynamodb"]["Keys"]) == wanted]

    def item_keys(self) -> dict[Hashable, dict[str, Any]]:
        """Every item with a change, by value."""
        return {attributes_value(record["dynamodb"]["Keys"]): record["dynamodb"]["Keys"] for record in self.records}


# --- the whole archive and one trail ---


def trails(source: Path | Listing) -> list[str]:
    """The prefixes of all trails, in order."""
    found = (_TRAIL.match(name) for name, _ in _listing(source).list("v1/"))
    return sorted({match[0] for match in found if match})


def read_archive(source: Path | Listing) -> tuple[dict[str, TrailRead], list[bytes], list[str]]:
    """Every trail by prefix, the quarantined records without a trail, and all problems."""
    listing = _listing(source)
    read = {prefix: read_trail(listing, prefix) for prefix in trails(listing)}
    problems = [problem for trail in read.values() for problem in trail.problems]
    homeless = []
    for name, _ in listing.list(""):
        if name.startswith("v1/quarantine/"):
            homeless.append(listing.get(name))
            problems += _quarantine_problems(name, name.removeprefix("v1/"), homeless[-1])
        elif _TRAIL.match(name) is None:
            problems.append(f"{name}: no object of an archive of format 1 has this name")
    return read, homeless, problems


def read_trail(source: Path | Listing, trail_prefix: str) -> TrailRead:
    """Everything below one trail's prefix (`v1/account=…/region=…/table_name=…/`)."""
    listing, trail = _listing(source), TrailRead(trail_prefix)
    names = [name.removeprefix(trail_prefix) for name, _ in listing.list(trail_prefix)]
    rows: list[tuple[str, dict[str, Any]]] = []
    described: dict[str, list[str]] = {}
    seals: list[tuple[str, bytes]] = []
    for name in names:
        kind, content = name.partition("/")[0], listing.get(trail_prefix + name)
        match kind:
            case "segments":
                _add_segment(trail, name, content, rows)
            case "streams":
                trail.problems += _read_stream(trail, name, content)
            case "late":
                trail.problems += _read_late(trail, name, content)
            case "quarantine":
                trail.quarantined.append(content)
                trail.problems += _quarantine_problems(trail_prefix + name, name, content)
            case "seals":
                seals.append((name, content))
            case "runs" | "snapshots":
                pass  # described elsewhere
            case "baselines":
                described.setdefault(name.rpartition("/")[0] + "/", []).append(name)
            case _:
                trail.problems.append(f"{trail_prefix}{name}: nothing of format 1 has this name")
    for folder, members in described.items():
        _add_baseline(trail, listing, folder, members)
    _deduplicate(trail, rows)
    _check_hints(trail, rows)
    _read_log(trail, listing, seals, rows)
    return trail


def _listing(source: Path | Listing) -> Listing:
    return Folder(source) if isinstance(source, Path) else source


# --- segments ---


def _add_segment(trail: TrailRead, name: str, content: bytes, rows: list[tuple[str, dict[str, Any]]]) -> None:
    problems, found = _read_segment(trail.prefix, name, content)
    trail.problems += [f"{trail.prefix}{name}: {problem}" for problem in problems]
    trail.leaves[name] = [row["leaf"] for row in found]
    rows += [(name, row) for row in found]


@lru_cache(maxsize=10_000)  # objects never change: the same bytes under the same name are read once
def _read_segment(prefix: str, name: str, content: bytes) -> tuple[tuple[str, ...], tuple[dict[str, Any], ...]]:
    match = _SEGMENT.fullmatch(name)
    if match is None:
        return ("not the name of a segment",), ()
    day, hour, first, root = match.groups()
    try:
        rows, metadata = _rows(content, SEGMENT_COLUMNS, "segment")
        for row in rows:
            row["leaf"] = _check_row(row, prefix, f"{day}T{hour}")
    except Exception as error:  # whatever a damaged file makes pyarrow or us say
        return (f"not a segment: {error!r}",), ()
    problems = []
    if not rows:
        problems.append("no rows")
    elif rows[0]["sequence_number"] != first:
        problems.append("the first sequence number is not that of the name")
    if len({row["stream_label"] for row in rows}) > 1:
        problems.append("more than one stream label")
    order = [(row["sequence_number"], row["change_id"].encode(), row["leaf"]) for row in rows]
    if sorted(set(order)) != order:
        problems.append("rows are not in order, or one is there twice")
    found = tree_root([bytes.fromhex(row["leaf"]) for row in rows]).hex()
    if root != found:
        problems.append(f"the rows have root {found}")
    if metadata.get(b"ddbtrail.root") != root.encode():
        problems.append("the root in the metadata is not that of the name")
    return tuple(problems), tuple(rows)


def _rows(content: bytes, columns: dict[str, tuple[str, bool]], kind: str) -> tuple[list[dict[str, Any]], dict]:
    file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
    metadata = file.metadata.metadata or {}
    _require(metadata.get(b"ddbtrail.format") == b"1", "the metadata does not say format 1")
    _require(metadata.get(b"ddbtrail.kind") == kind.encode(), f"the metadata does not say {kind}")
    _require(_digest_of_itself(content, metadata.get(b"ddbtrail.digest", b"")), "the bytes are not those of its digest")
    found = {column.name: (str(column.type), column.nullable) for column in file.schema_arrow}
    _require(list(found.items()) == list(columns.items()), "the columns are others")
    table = file.read(use_threads=False)
    if "changed_at" in columns:
        at = table.column_names.index("changed_at")
        table = table.set_column(at, "changed_at", table.column(at).cast("int64"))
    return table.to_pylist(), metadata


def _digest_of_itself(content: bytes, stated: bytes) -> bool:
    before, found, after = content.rpartition(stated)
    return len(stated) == 64 and found == stated and sha256(before + 64 * b"0" + after).hexdigest().encode() == stated


def _check_row(row: dict[str, Any], prefix: str, hour: str) -> str:
    """The leaf (hex) of a row all of whose columns agree. Raises ValueError for one that does not."""
    event = parse_canonical(row["event"])
    item_key, old, new = (
        None if row[name] is None else parse_canonical(row[name]) for name in ("item_key", "old_image", "new_image")
    )
    _require(isinstance(event, dict) and isinstance(event.get("dynamodb"), dict), "event is not a record")
    delivered = event["dynamodb"]
    _require(not {"eventID", "eventName", "userIdentity"} & set(event), "event repeats a column")
    _require(not {"OldImage", "NewImage"} & set(delivered), "event repeats an image")
    _require(event.get("eventSource") == "aws:dynamodb", "eventSource is another")
    _require(row["op"] in {"INSERT", "MODIFY", "REMOVE"}, "op is unknown")
    _require(row["change_id"] != "", "change_id is empty")
    keys = delivered.get("Keys", item_key)
    _require(normal_key(keys) == item_key, "item_key is not the key by value")
    _require("Keys" not in delivered or canonical(keys) != row["item_key"], "event repeats the item key")
    for image in (old, new):
        attributes_value({} if image is None else image)
    sequence = delivered["SequenceNumber"]
    _require(re.fullmatch("[0-9]{21,40}", sequence) is not None, "SequenceNumber is not 21 to 40 digits")
    _require(row["sequence_number"] == sequence.rjust(40, "0"), "sequence_number is not SequenceNumber")
    created_ms = milliseconds(delivered["ApproximateCreationDateTime"])
    _require(row["changed_at"] == created_ms, "changed_at is not ApproximateCreationDateTime")
    _require(1_325_376_000_000 <= created_ms < 4_102_444_800_000, "changed_at is not within 2012 to 2100")
    _require(f"{datetime.fromtimestamp(created_ms // 1000, UTC):%Y-%m-%dT%H}" == hour, "changed_at is of another hour")
    _require(source_of(event["eventSourceARN"]) == (prefix, row["stream_label"]), "the stream is another's")
    return sha256(b"\x00" + envelope(row).encode()).hexdigest()


def envelope(row: Mapping[str, Any]) -> str:
    """The canonical envelope of a row: what its leaf is the digest of."""
    event = json.loads(row["event"])
    delivered = event.pop("dynamodb")
    keys = canonical(delivered.pop("Keys")) if "Keys" in delivered else row["item_key"]
    made: dict[str, Any] = {"v": 1, "event_id": row["change_id"], "event_name": row["op"]}
    made["keys"] = sha256(b"ddbtrail/v1/key\x00" + keys.encode()).hexdigest()
    for member, column in (("old", "old_image"), ("new", "new_image")):
        image = row[column]
        made[member] = None if image is None else sha256(b"ddbtrail/v1/image\x00" + image.encode()).hexdigest()
    if row["user_identity"] is not None:
        made["user_identity"] = parse_canonical(row["user_identity"])
    for outer, names in (
        (event, {"eventSourceARN": "stream_arn", "eventVersion": "event_version", "awsRegion": "region"}),
        (
            delivered,
            {
                "SequenceNumber": "seq",
                "ApproximateCreationDateTime": "ts",
                "StreamViewType": "view_type",
                "SizeBytes": "size_bytes",
            },
        ),
    ):
        for name, member in names.items():
            if name in outer:
                made[member] = outer.pop(name)
    extra = event | ({"dynamodb": delivered} if delivered else {})
    return canonical(made | ({"extra": extra} if extra else {}))


def delivered_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The record as Lambda delivered it, its creation time a number again."""
    record = json.loads(row["event"])
    stream = {"Keys": json.loads(row["item_key"])} | record["dynamodb"]
    if isinstance(stream["ApproximateCreationDateTime"], str):
        stream["ApproximateCreationDateTime"] = float(stream["ApproximateCreationDateTime"])
    for member, column in (("OldImage", "old_image"), ("NewImage", "new_image")):
        if row[column] is not None:
            stream[member] = json.loads(row[column])
    if row["user_identity"] is not None:
        record["userIdentity"] = json.loads(row["user_identity"])
    return record | {"eventID": row["change_id"], "eventName": row["op"], "dynamodb": stream}


def tree_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, by its definition: split at the largest power of two below the size."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


# --- what the rows say together ---


def _deduplicate(trail: TrailRead, rows: list[tuple[str, dict[str, Any]]]) -> None:
    changes: dict[tuple, dict[Hashable, tuple[str, dict[str, Any]]]] = {}
    for _, row in rows:
        record = delivered_record(row)
        stream = record["dynamodb"]
        identity = row["stream_label"], int(row["sequence_number"]), attributes_value(stream["Keys"])
        content = (
            record["eventName"],
            Fraction(str(stream["ApproximateCreationDateTime"])),
            None if "OldImage" not in stream else attributes_value(stream["OldImage"]),
            None if "NewImage" not in stream else attributes_value(stream["NewImage"]),
        )
        contents = changes.setdefault(identity, {})
        if content not in contents or row["leaf"] < contents[content][0]:  # of spellings, the one with the least leaf
            contents[content] = row["leaf"], record
    for identity, contents in sorted(changes.items(), key=lambda change: (*change[0][:2], repr(change[0][2]))):
        found = [record for _, record in sorted(contents.values(), key=lambda entry: entry[0])]
        trail.records += found
        if len(found) > 1:
            trail.conflicts[identity] = found


def _check_hints(trail: TrailRead, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Key text is a hint, but a wrong one hides rows from a reader that prunes."""
    for name, row in rows:
        keys = json.loads(row["item_key"])
        schema = trail.key_schemas.get(row["stream_label"])
        problem = hint_problem(keys, row["pk"], row["sk"], [name for name, _ in schema] if schema else None)
        if problem:
            trail.problems.append(f"{trail.prefix}{name}: {row['change_id']}: {problem}")


def hint_problem(keys: Mapping[str, Any], pk: str | None, sk: str | None, names: list[str] | None) -> str | None:
    """What is wrong with the key text of a row, if anything."""
    if pk is None and sk is None:
        return None
    orders = [names] if names else [list(keys), list(reversed(keys))]
    texts = [[key_text(keys[name]) for name in order] for order in orders if set(order) == set(keys)]
    if [pk, sk][: len(keys)] not in texts or (len(keys) == 1 and sk is not None):
        return f"pk and sk are not the key text of {dict(keys)}"
    return None


# --- descriptions, markers, quarantine, baselines ---


def _read_stream(trail: TrailRead, name: str, content: bytes) -> list[str]:
    try:
        described = parse_canonical(content.decode())
        _require(set(described) == STREAM_MEMBERS and described["format"] == 1, "other members, or another format")
        prefix, label = source_of(described["stream_arn"])
        _require((prefix, f"streams/{label}.json") == (trail.prefix, name), "the stream is another's")
        trail.key_schemas[label] = _key_schema(described["key_schema"])
        for member in ("table_id", "view_type"):
            _require(described[member] is None or isinstance(described[member], str), f"{member} is no text")
        trail.table_ids[label] = described["table_id"]
    except (ValueError, KeyError, TypeError) as error:
        return [f"{trail.prefix}{name}: not a description of a stream: {error!r}"]
    return []


def _key_schema(elements: Any) -> list[tuple[str, str]]:
    _require(all(set(element) == {"name", "type"} for element in elements), "a key schema has names and types")
    schema = [(element["name"], element["type"]) for element in elements]
    _require(len(schema) in {1, 2} and all(kind in {"S", "N", "B"} for _, kind in schema), "not a key schema")
    return schema


def _read_late(trail: TrailRead, name: str, content: bytes) -> list[str]:
    match = re.fullmatch(r"late/([0-9]{4}-[0-9]{2}-[0-9]{2})/(.+)", name)
    if match is None or _SEGMENT.fullmatch(match[2]) is None or content:
        return [f"{trail.prefix}{name}: not an empty late marker"]
    trail.late.add(match[2])
    return []


def _quarantine_problems(full_name: str, name: str, content: bytes) -> list[str]:
    is_right = name == f"quarantine/{sha256(content).hexdigest()}.json" and content.isascii()
    return [] if is_right else [f"{full_name}: the name is not the SHA-256 of the content"]


def _add_baseline(trail: TrailRead, listing: Listing, folder: str, names: list[str]) -> None:
    """A baseline counts when it is described; parts that no description lists are orphans, not problems."""
    if folder + "baseline.json" not in names:
        return
    try:
        described = parse_canonical(listing.get(trail.prefix + folder + "baseline.json").decode())
        _require(set(described) == BASELINE_MEMBERS and described["format"] == 1, "other members, or another format")
        start = datetime.strptime(folder, "baselines/%Y-%m-%dT%H-%M-%SZ/").replace(tzinfo=UTC).timestamp()
        _require(described["from_ms"] // 1000 == start, "the name has another instant")
        _require(described["from_ms"] <= described["to_ms"], "the interval ends before it begins")
        schema = [name for name, _ in _key_schema(described["key_schema"])]
        items: list[tuple[dict, dict]] = []
        for part in described["parts"]:
            _require(set(part) == {"name", "bytes", "items", "sha256"}, "other members in a part")
            items += _baseline_items(listing.get(trail.prefix + folder + part["name"]), part, schema)
        _require(len(items) == described["items"], "the number of items is another")
    except Exception as error:
        trail.problems.append(f"{trail.prefix}{folder}: not a baseline: {error!r}")
        return
    trail.baselines.append(
        {
            "s": described["from_ms"] / 1000,
            "e": described["to_ms"] / 1000,
            "label": described["stream_label"],
            "is_complete": described["complete"],
            "items": items,
        }
    )


def _baseline_items(content: bytes, part: dict[str, Any], schema: list[str]) -> list[tuple[dict, dict]]:
    digest = sha256(content).hexdigest()
    _require((digest, len(content)) == (part["sha256"], part["bytes"]), "a part has other bytes")
    _require(re.fullmatch(f"part-[0-9]+-{digest[:16]}.parquet", part["name"]) is not None, "a part has another name")
    rows, _ = _rows(content, BASELINE_COLUMNS, "baseline")
    _require(len(rows) == part["items"], "a part has another number of items")
    items = []
    for row in rows:
        keys, image = parse_canonical(row["item_key"]), parse_canonical(row["image"])
        _require(normal_key(keys) == keys, "item_key is not the key by value")
        _require(
            attributes_value(keys) == attributes_value({name: image[name] for name in keys}), "image of another key"
        )
        _require(hint_problem(keys, row["pk"], row["sk"], schema) is None, "pk and sk are another's")
        items.append((keys, image))
    return items


# --- the log ---

SEAL_MEMBERS = {"format", "checkpoint", "entries", "previous_sha256", "roots", "size", "size_before"}
ENTRY_MEMBERS = {
    "open": {"stream_label", "description_sha256"},
    "close": {"stream_label"},
    "segment": {
        "path", "stream_label", "file_sha256", "bytes", "records", "root", "first_sequence", "last_sequence", "first_changed_at_ms",
        "last_changed_at_ms", "writer",
    },
    "quarantine": {"path", "bytes"},
    "baseline": {"path", "file_sha256"},
    "acknowledge": {"path", "from_ms", "to_ms", "reason"},
    "key-rotation": {"public_key"},
    "interval": {"from_ms", "to_ms", "sealed_at_ms", "previous_notice"},
}  # fmt: skip
ORDER_OF_ENTRIES = ["open", "segment", "quarantine", "baseline", "close", "acknowledge", "key-rotation", "interval"]


def _read_log(
    trail: TrailRead, listing: Listing, seals: list[tuple[str, bytes]], rows: list[tuple[str, dict[str, Any]]]
) -> None:
    """Every seal against the ones before it, by the definitions: the whole tree anew for each."""
    previous: tuple[dict[str, Any], bytes] | None = None
    newest_notice = None
    leaves: list[bytes] = []
    for name, content in seals:
        try:
            seal = parse_canonical(content.decode())
            _require(set(seal) == SEAL_MEMBERS and seal["format"] == 1, "other members, or another format")
            _require(name == f"seals/{seal['size_before']:020d}.json", "it is the seal of another size")
            _require(seal["size_before"] == len(leaves), f"a log of {len(leaves)} entries is not what it extends")
            entries = seal["entries"]
            for entry in entries:
                _require(set(entry) == ENTRY_MEMBERS[entry["type"]] | {"type"}, "an entry has other members")
            kinds = [ORDER_OF_ENTRIES.index(entry["type"]) for entry in entries]
            _require(kinds == sorted(kinds) and kinds.count(7) == 1, "entries stand in another order")
            paths = [entry["path"] for entry in entries if entry["type"] == "segment"]
            _require(paths == sorted(paths), "segments stand in another order")
            leaves += [sha256(b"\x00" + canonical(entry).encode()).digest() for entry in entries]
            _require(seal["size"] == len(leaves), "its size is not that of the log")
            _require(seal["roots"] == _subtree_roots(leaves), "its roots are not those of the log")
            digest = None if previous is None else sha256(previous[1]).hexdigest()
            _require(seal["previous_sha256"] == digest, "it names another seal before it")
            _require(entries[-1]["previous_notice"] == newest_notice, "it leads to other notices")
            _check_times(entries[-1], previous[0]["entries"][-1] if previous else None)
            note = _checkpoint(seal["checkpoint"], trail.prefix, leaves)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            trail.problems.append(f"{trail.prefix}{name}: not the next seal: {error!r}")
            return
        trail.log.seals.append(seal)
        trail.log.entries += entries
        trail.log.notes.append(note)
        previous = seal, content
        if any(entry["type"] not in {"segment", "interval"} for entry in entries):
            newest_notice = seal["size_before"]
    if seals:
        trail.problems += [f"{trail.prefix}{problem}" for problem in _statement_problems(trail, listing, rows)]


def _subtree_roots(leaves: list[bytes]) -> list[str]:
    """The complete subtrees of a log, the largest first: as many leaves each as its size has binary digits for."""
    roots, start = [], 0
    for power in reversed(range(len(leaves).bit_length())):
        if len(leaves) & 1 << power:
            roots.append(tree_root(leaves[start : start + (1 << power)]).hex())
            start += 1 << power
    return roots


def _check_times(interval: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    _require(interval["from_ms"] <= interval["to_ms"] <= interval["sealed_at_ms"], "its times fall")
    if before is not None:
        _require(interval["from_ms"] <= before["to_ms"], "nobody has looked at the time before it")
        _require(interval["to_ms"] >= before["to_ms"], "it looked less far than the seal before it")
        _require(interval["sealed_at_ms"] >= before["sealed_at_ms"], "it was made before the seal before it")


def _checkpoint(note: str, prefix: str, leaves: list[bytes]) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    account, region, table = _TRAIL.fullmatch(prefix).groups()
    origin = f"ddbtrail/{account}/{region}/{table}"
    text = f"{origin}\n{len(leaves)}\n{base64.b64encode(tree_root(leaves)).decode()}\n"
    _require(note.startswith(text + "\n"), "its checkpoint is not of this log")
    lines = note.removeprefix(text + "\n").split("\n")
    _require(lines.pop() == "" and lines != [], "its checkpoint has no signatures")
    signatures = []
    for line in lines:
        dash, name, encoded = line.split(" ")
        signed = base64_value(encoded)
        _require(dash == "—" and len(signed) > 4, "a line is no signature")
        signatures.append((name, signed[:4], signed[4:]))
    _require(origin in {name for name, _, _ in signatures}, "the log itself has not signed")
    return text, signatures


def _statement_problems(trail: TrailRead, listing: Listing, rows: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """What the entries say, against the objects that are there."""
    said: dict[tuple[str, str], dict[str, Any]] = {}
    rows_of: dict[str, list[dict[str, Any]]] = {}
    for name, row in rows:
        rows_of.setdefault(name, []).append(row)
    for entry in trail.log.entries:
        kind = entry["type"]
        if kind == "open":
            key = entry["stream_label"]
            if entry["description_sha256"] is None:
                if (kind, key) in said:
                    yield f"{key} is opened twice"
                said.setdefault((kind, key), entry)
                continue
            earlier = said.get((kind, key))
            if earlier is not None and earlier["description_sha256"] is not None:
                yield f"{key} is opened twice"
            said[kind, key] = entry
            yield from _content_problems(listing, f"{trail.prefix}streams/{key}.json", entry["description_sha256"])
            continue
        if kind not in {"segment", "quarantine", "baseline"}:
            continue
        if said.setdefault((kind, entry["path"]), entry) != entry:
            yield f"two entries contradict each other about {entry['path']}"
        name = entry["path"] if entry["path"].startswith("v1/") else trail.prefix + entry["path"]
        digest = re.search("[0-9a-f]{64}", name)[0] if kind == "quarantine" else entry["file_sha256"]
        yield from _content_problems(listing, name, digest, entry.get("bytes"))
        if kind == "segment" and _segment_members(entry["path"], rows_of.get(entry["path"], [])) - entry.items():
            yield f"the rows of {entry['path']} are not what its entry says"
        if kind == "segment" and not entry["writer"]:
            yield f"nobody wrote {entry['path']}"


def _segment_members(path: str, rows: list[dict[str, Any]]) -> set[tuple[str, Any]]:
    if not rows:
        return {("no", "rows")}
    sequences = [row["sequence_number"] for row in rows]
    times = [row["changed_at"] for row in rows]
    return {
        ("type", "segment"),
        ("path", path),
        ("stream_label", rows[0]["stream_label"]),
        ("records", len(rows)),
        ("root", tree_root([bytes.fromhex(row["leaf"]) for row in rows]).hex()),
        ("first_sequence", min(sequences)),
        ("last_sequence", max(sequences)),
        ("first_changed_at_ms", min(times)),
        ("last_changed_at_ms", max(times)),
    }


def _content_problems(listing: Listing, name: str, digest: str, size_bytes: int | None = None) -> Iterator[str]:
    try:
        content = listing.get(name)
    except (OSError, KeyError):
        yield f"{name} is sealed, and gone"
        return
    if sha256(content).hexdigest() != digest or size_bytes not in {None, len(content)}:
        yield f"{name} is not what was sealed"


# --- names, text, values ---


def source_of(stream_arn: str) -> tuple[str, str]:
    """The trail's prefix and the stream label that an ARN names."""
    match = _ARN.fullmatch(stream_arn)
    _require(match is not None, f"{stream_arn} is not the ARN of a stream")
    region, account, table, label = match.groups()
    return f"v1/account={account}/region={region}/table_name={table}/", label


def canonical(value: Any) -> str:
    """RFC 8785 for a value whose only numbers are integers: member names in order of their UTF-16 code units."""
    return json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    return [_sorted(element) for element in value] if isinstance(value, list) else value


def parse_canonical(text: str) -> Any:
    """The value of a text that is canonical. Raises ValueError for any other spelling."""
    value = json.loads(text, parse_float=_no_fraction)
    _require(canonical(value) == text, "the JSON text is not canonical")
    return value


def _no_fraction(text: str) -> None:
    raise ValueError(f"{text} is not a canonical number")


def milliseconds(created: int | str) -> int:
    """A creation time, in canonical form, as epoch milliseconds, cut."""
    _require(isinstance(created, str) or type(created) is int, "the creation time is not a number")
    return int(Fraction(created) * 1000)


def number_value(text: str) -> tuple[bool, str, int]:
    """Sign, significant digits without zeros at either end, exponent of the first digit; zero has no digits."""
    match = _NUMBER.fullmatch(text)
    _require(match is not None and bool(match[2] or match[3]), f"{text} is not a number")
    sign, whole, fraction, exponent = match.groups()
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return False, "", 0
    first = len(whole) - 1 - (len(whole + fraction) - len(digits)) + int(exponent or 0)
    return sign == "-", digits.rstrip("0"), first


def attribute_value(attribute: Mapping[str, Any], level: int = 1) -> Hashable:
    """A value, equal for equal values. Raises ValueError for what is not one attribute value."""
    _require(isinstance(attribute, dict) and len(attribute) == 1, "an attribute value has one type tag")
    ((tag, content),) = attribute.items()
    match tag:
        case "S" if isinstance(content, str):
            return tag, content
        case "N" if isinstance(content, str):
            return tag, number_value(content)
        case "B" if isinstance(content, str):
            return tag, base64_value(content)
        case "BOOL" if isinstance(content, bool):
            return tag, content
        case "NULL" if content is True:
            return tag, content
        case "SS" | "NS" | "BS" if isinstance(content, list):
            return tag, frozenset(attribute_value({tag[0]: element}) for element in content)
        case "L" if isinstance(content, list):
            _require(level < 64, "nested deeper than 64 levels")
            return tag, tuple(attribute_value(element, level + 1) for element in content)
        case "M":
            _require(level < 64, "nested deeper than 64 levels")
            return tag, attributes_value(content, level + 1)
    raise ValueError(f"{tag} holds something else")


def attributes_value(attributes: Mapping[str, Any], level: int = 1) -> Hashable:
    """An image or a key, equal for equal values."""
    _require(isinstance(attributes, dict), "attributes are an object")
    return frozenset((name, attribute_value(value, level)) for name, value in attributes.items())


def base64_value(text: str) -> bytes:
    content = base64.b64decode(text, validate=True)
    _require(base64.b64encode(content).decode() == text, "base64 text is not canonical")
    return content


def normal_key(keys: Mapping[str, Any]) -> dict[str, Any]:
    """A key by value: numbers in their normal spelling, all else as delivered."""
    attributes_value(keys)
    _require(len(keys) in {1, 2}, "a key has one or two attributes")
    _require(all(set(value) <= {"S", "N", "B"} for value in keys.values()), "a key attribute is S, N or B")
    return {name: {"N": normal_number(value["N"])} if "N" in value else dict(value) for name, value in keys.items()}


def normal_number(text: str) -> str:
    """The normal spelling: no exponent from 1E-130 up to below 1E+126, a normal exponent outside."""
    negative, digits, exponent = number_value(text)
    if not digits:
        return "0"
    if -130 <= exponent <= 125:
        return format(Decimal((negative, tuple(map(int, digits)), exponent - len(digits) + 1)), "f")
    mantissa = digits[0] + ("." + digits[1:] if digits[1:] else "")
    return f"{'-' if negative else ''}{mantissa}E{exponent:+d}"


def key_text(attribute: Mapping[str, str]) -> str | None:
    """Key text of one key attribute; None for a number that has none."""
    ((tag, content),) = attribute.items()
    if tag == "S":
        return content
    if tag == "B":
        return base64_value(content).hex()
    negative, digits, exponent = number_value(content)
    if not digits:
        return "0"
    if not -130 <= exponent <= 125 or len(digits) > 38:
        return None
    if negative:
        return f"-{125 - exponent:03d}{''.join(str(9 - int(digit)) for digit in digits)}~"
    return f"1{130 + exponent:03d}{digits}"


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
