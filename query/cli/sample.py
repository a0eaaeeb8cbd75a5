"""Writes the sample archive, with the code that writes any archive: writer, baselines, sealer. No AWS, no clock.

Invariants: the same bytes whoever writes it, since all that happens in it is given; nothing is replaced: a sample that
is there stays, and a folder that holds anything else is left alone.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from archiver.baseline import BaselineWriter
from archiver.format.layout import StreamSource, Trail
from archiver.sealer import Sealer
from archiver.signer import Signer, load_signer, public_pem
from archiver.store import ObjectStore, open_store
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli.sample_story import DAY_S, QUARTER_END, tables
from query.cli.sample_table import ACCOUNT, REGION, SampleTable
from query.errors import UsageError

ARCHIVE: Final = "archive"
KEY: Final = "sample.key"
LIVE: Final = "stock-now.jsonl"
CONFIG: Final = "ddbtrail.toml"
_TABLE_ID: Final = "00000000-0000-4000-8000-000000000000"
# RFC 8410: what stands before the 32 bytes of an Ed25519 key in PKCS 8.
_ED25519: Final = bytes.fromhex("302e020100300506032b657004220420")

_CONFIG_TEXT: Final = f"""\
# The sample of ddbtrail: every command below this folder reads it.
default_archive = "sample"

[archives.sample]
url = "{ARCHIVE}"

[archives.sample.tables.customers]
actor_attribute = "updated_by"
redact = ["card_number"]

[archives.sample.tables.orders]
actor_attribute = "updated_by"

[archives.sample.tables.stock]
actor_attribute = "updated_by"
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was written into `folder`: how many changes, of how many tables; `is_new` is false if it was there."""

    folder: Path
    changes: int
    tables: int
    is_new: bool


def write_sample(folder: Path) -> Sample:
    """Writes the sample into a folder that is empty, or not there. Raises UsageError for any other."""
    story = tables()
    changes = sum(len(batch.records) for table in story for batch in table.batches if not batch.is_lost)
    config = folder / CONFIG
    is_there = all((folder / name).exists() for name in (ARCHIVE, KEY, f"{KEY}.pub", LIVE))
    if is_there and config.is_file() and config.read_text(encoding="utf-8") == _CONFIG_TEXT:
        return Sample(folder, changes, len(story), is_new=False)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} holds something else, or a sample that was interrupted",
            why="a sample goes into a folder of its own, and nothing is replaced",
            hint="name a folder that is not there yet, or remove this one",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"could not make the folder {folder}",
            why=error.strerror or str(error),
            hint="name a folder in a place that you may write to",
        ) from error
    signer = _signer(folder / KEY)
    store = open_store(str(folder / ARCHIVE))
    for table in story:
        _write(table, store, signer)
    live = [
        json.dumps(item, sort_keys=True) for table in story if table.name == "stock" for item in table.items.values()
    ]
    (folder / LIVE).write_text("\n".join(sorted(live)) + "\n", encoding="utf-8")
    # Last of all: where it stands, the sample is whole.
    config.write_text(_CONFIG_TEXT, encoding="utf-8")
    return Sample(folder, changes, len(story), is_new=True)


def _write(table: SampleTable, store: ObjectStore, signer: Signer) -> None:
    """The evidence of a table, as it would have come: batches, baselines, and a seal at the end of each month."""
    trail = Trail(ACCOUNT, REGION, table.name)
    writer = Writer(store, Streams(describe_table=lambda source: _described(table, source)))
    sealer = Sealer(store, trail, signer)
    seals = iter(range(QUARTER_END - 92 * DAY_S, QUARTER_END + 1, 30 * DAY_S + DAY_S // 2))
    seal_s = next(seals)
    for batch in table.batches:
        while batch.changed_at_s >= seal_s:
            sealer.seal(seal_s * 1000)
            seal_s = next(seals)
        if not batch.is_lost:
            writer.archive(batch.records, now_ms=batch.changed_at_s * 1000)
        _write_baselines(table, store, trail, until_s=batch.changed_at_s)
    sealer.seal((QUARTER_END + DAY_S) * 1000, sweep=True)


def _write_baselines(table: SampleTable, store: ObjectStore, trail: Trail, *, until_s: int) -> None:
    """The baselines that were read by now. Each is there once, however often it is written."""
    for at_s in [at_s for at_s in table.baselines if at_s <= until_s]:
        label, items = table.baselines.pop(at_s)
        names = tuple(name for name, _ in table.key)
        baseline = BaselineWriter(store, trail, at_s * 1000, names, dict(table.key))
        parts = baseline.parts(("an item", item) for item in items)
        baseline.describe(
            parts, to_ms=(at_s + 20) * 1000, origin="consistent scan", stream_label=label, table_id=_TABLE_ID
        )


def _described(table: SampleTable, source: StreamSource) -> Mapping[str, Any]:
    """What DescribeTable said of the table while this stream was on."""
    roles = zip(("HASH", "RANGE"), table.key, strict=False)
    return {
        "TableId": _TABLE_ID,
        "LatestStreamLabel": source.stream_label,
        "KeySchema": [{"AttributeName": name, "KeyType": role} for role, (name, _) in roles],
    }


def _signer(path: Path) -> Signer:
    """The key of every sample: it is made of a word that everybody knows, and proves nothing but how proving works."""
    if not path.exists():
        secret = _ED25519 + hashlib.sha256(b"the sample archive of ddbtrail").digest()
        text = f"-----BEGIN PRIVATE KEY-----\n{b64encode(secret).decode()}\n-----END PRIVATE KEY-----\n"
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")
    signer = load_signer(path)
    path.with_name(f"{path.name}.pub").write_bytes(public_pem(signer.public_key))
    return signer
