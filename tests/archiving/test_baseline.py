"""A baseline is the whole table or nothing: every file checked, every item exact, and the description written last.

No export of AWS can be made here, so exports are made by hand in the documented form (*DynamoDB table export output
format*, DynamoDB Developer Guide): manifests with checksums, keys with and without prefix, gzipped data files.
"""

import base64
import gzip
import hashlib
import io
import itertools
from pathlib import Path

import boto3
import moto
import moto.dynamodb.models
import orjson
import pyarrow.parquet as pq
import pytest

from archiver.baseline import BaselineExists, BaselineWriter
from archiver.errors import ExportRefused
from archiver.export import open_export
from archiver.export_files import ExportFolder, find_export
from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import BaselineName, Trail, label_time_ms
from archiver.format.record import item_key_text
from archiver.scan import scan_items
from archiver.streams import label_at
from archiver.tables import label_when_taken, trail_of_table
from query.cli.import_baseline import baseline
from tests.simulator.memory_store import MemoryStore
from tests.simulator.values import NUMBERS, VALUES

TRAIL = Trail("111122223333", "eu-west-1", "orders")
TABLE_ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders"
EXPORT_ID = "01693685827463-2d8752fd"
EXPORT_TIME = "2026-11-04T07:28:34.028Z"
EXPORT_TIME_MS = 1_793_777_314_028
LABEL = "2026-01-04T09:12:00.000"
TABLE_ID = "12345a12-abcd-123a-ab12-1234abc12345"
SUMMARY = {
    "version": "2020-06-30",
    "exportArn": f"{TABLE_ARN}/export/{EXPORT_ID}",
    "startTime": EXPORT_TIME,
    "endTime": "2026-11-04T07:33:43.897Z",
    "tableArn": TABLE_ARN,
    "tableId": TABLE_ID,
    "exportTime": EXPORT_TIME,
    "s3Bucket": "exports",
    "s3Prefix": "nightly",
    "s3SseAlgorithm": "AES256",
    "s3SseKmsKeyId": None,
    "manifestFilesS3Key": f"AWSDynamoDB/{EXPORT_ID}/manifest-files.json",
    "billedSizeBytes": 0,
    "outputFormat": "DYNAMODB_JSON",
    "exportType": "FULL_EXPORT",
}


def item(number: int) -> dict:
    return {"pk": {"S": f"o-{number % 7}"}, "sk": {"N": str(number)}, "value": VALUES[number % len(VALUES)]}


def md5_base64(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


class MadeExport:
    """A full export in a folder, made by hand; what it holds can be damaged before `write`."""

    def __init__(self, root: Path, files: list[list[dict]], prefix: str = "") -> None:
        self.folder = root / "AWSDynamoDB" / EXPORT_ID
        self.summary = {**SUMMARY, "itemCount": sum(map(len, files))}
        self.checksum_suffix = ".checksum"
        self.data: dict[str, bytes] = {}
        self.manifest: list[dict] = []
        for number, items in enumerate(files):
            name = f"data/part{number}abcdef.json.gz"
            content = gzip.compress(b"".join(orjson.dumps({"Item": each}) + b"\n" for each in items))
            self.data[name] = content
            self.manifest.append(
                {
                    "itemCount": len(items),
                    "md5Checksum": md5_base64(content),
                    "etag": f"{hashlib.md5(content).hexdigest()}-1",
                    "dataFileS3Key": f"{prefix}AWSDynamoDB/{EXPORT_ID}/{name}",
                }
            )

    def write(self) -> Path:
        (self.folder / "data").mkdir(parents=True)
        for name, content in self.data.items():
            (self.folder / name).write_bytes(content)
        manifest = b"".join(orjson.dumps(line) + b"\n" for line in self.manifest)
        for name, content in {"manifest-summary": orjson.dumps(self.summary), "manifest-files": manifest}.items():
            (self.folder / f"{name}.json").write_bytes(content)
            (self.folder / f"{name}{self.checksum_suffix}").write_text(md5_base64(content))
        (self.folder / "_started").write_bytes(b"")
        return self.folder


FILES = [[item(n) for n in range(40)], [], [item(n) for n in range(40, 97)]]
ITEMS = list(itertools.chain.from_iterable(FILES))


def import_into(store, folder: Path, **options):
    export = open_export(ExportFolder(folder))
    from_ms, to_ms = export.interval_ms
    writer = BaselineWriter(store, export.trail, from_ms, ("pk", "sk"), {}, **options)
    origin = f"export {export.arn}"
    return writer.describe(
        writer.parts(export.items()), to_ms=to_ms, origin=origin, stream_label=LABEL, table_id=export.table_id
    )


def rows_of(store, written) -> list[dict]:
    folder = written.name.rpartition("/")[0]
    rows = []
    for part in written.description.parts:
        content = store.get(f"{folder}/{part.name}")
        assert hashlib.sha256(content).hexdigest() == part.sha256
        assert len(content) == part.bytes
        rows += pq.read_table(io.BytesIO(content)).to_pylist()
    return rows


def test_a_baseline_holds_every_item_exactly(tmp_path):
    """What an export holds is evidence: no number is parsed, no set is sorted."""
    store = MemoryStore()
    written = import_into(store, MadeExport(tmp_path, FILES).write())
    rows = {row["item_key"]: orjson.loads(row["image"]) for row in rows_of(store, written)}
    assert rows == {item_key_text({"pk": each["pk"], "sk": each["sk"]}).decode(): each for each in ITEMS}
    assert written.description.items == 97


def test_the_description_says_what_the_baseline_stands_for(tmp_path):
    """Export time plus and minus a minute, cut outward to whole seconds, so that no second is claimed in part."""
    store = MemoryStore()
    written = import_into(store, MadeExport(tmp_path, FILES).write())
    described = BaselineDescription.parse(store.get(written.name))
    assert described == written.description
    assert described.complete
    assert (described.from_ms, described.to_ms) == (1_793_777_254_000, 1_793_777_375_000)
    assert EXPORT_TIME_MS - 60_999 <= described.from_ms <= EXPORT_TIME_MS - 60_000
    assert EXPORT_TIME_MS + 60_000 <= described.to_ms <= EXPORT_TIME_MS + 60_999
    assert described.key_schema == (("pk", "S"), ("sk", "N"))
    assert (described.table_id, described.stream_label) == (TABLE_ID, LABEL)
    assert written.name == TRAIL.prefix + BaselineName(described.from_ms).description


def test_an_export_time_of_a_whole_second_is_not_widened(tmp_path):
    """The last value inside: a minute is a minute, not a minute and a second."""
    made = MadeExport(tmp_path, FILES)
    made.summary["exportTime"] = "2026-11-04T07:28:34Z"
    assert open_export(ExportFolder(made.write())).interval_ms == (1_793_777_254_000, 1_793_777_374_000)


def test_the_description_comes_last(tmp_path):
    """A stop at any point before it leaves no baseline at all, rather than a part of one."""
    store = MemoryStore()
    written = import_into(store, MadeExport(tmp_path, FILES).write(), part_bytes=1000)
    names = [name for name, _, _ in store.journal]
    assert len(names) > 3
    assert names.index(written.name) == len(names) - 1


def test_parts_are_bounded_and_in_key_order(tmp_path):
    """Memory follows the part, not the table; a reader prunes by the key range of each part."""
    store = MemoryStore()
    written = import_into(store, MadeExport(tmp_path, FILES).write(), part_bytes=2000)
    folder = written.name.rpartition("/")[0]
    for part in written.description.parts:
        rows = pq.read_table(io.BytesIO(store.get(f"{folder}/{part.name}"))).to_pylist()
        assert [(row["pk"], row["sk"]) for row in rows] == sorted((row["pk"], row["sk"]) for row in rows)
        largest = max(len(row["image"]) for row in rows)
        assert sum(len(row["image"].encode()) for row in rows) < 2000 + 4 * largest
    assert len(rows_of(store, written)) == 97


def test_importing_the_same_export_again_changes_nothing(tmp_path):
    """An import that was interrupted, or is not remembered, is simply run again."""
    store, folder = MemoryStore(), MadeExport(tmp_path, FILES).write()
    first = import_into(store, folder)
    before = dict(store.objects)
    again = import_into(store, folder)
    assert (first.is_new, again.is_new) == (True, False)
    assert store.objects == before
    assert again.description == first.description


def test_another_library_version_makes_the_same_baseline(tmp_path):
    """Parquet bytes may differ between versions while the items do not: that is no contradiction."""
    store, folder = MemoryStore(), MadeExport(tmp_path, FILES).write()
    first = import_into(store, folder)
    again = import_into(store, folder, part_bytes=1000)
    assert not again.is_new
    assert again.description == first.description


def test_another_baseline_of_the_same_second_is_not_replaced(tmp_path):
    """Evidence is never overwritten, and a second import must not pretend that it was stored."""
    store = MemoryStore()
    import_into(store, MadeExport(tmp_path / "one", FILES).write())
    other = MadeExport(tmp_path / "other", FILES[:1])
    before = set(store.objects)
    with pytest.raises(BaselineExists, match="items 97, not 40"):
        import_into(store, other.write())
    assert {name for name in set(store.objects) - before if name.endswith(".json")} == set()


def test_an_empty_table_is_a_baseline_too():
    """That nothing existed is worth knowing; the types of the key must then come from elsewhere."""
    store = MemoryStore()
    writer = BaselineWriter(store, TRAIL, 1_793_777_254_000, ("pk",), {"pk": "S"})
    written = writer.describe(writer.parts([]), to_ms=1_793_777_255_000, origin="a test")
    assert (written.description.items, written.description.parts) == (0, ())
    untyped = BaselineWriter(store, TRAIL, 1_793_777_000_000, ("pk",), {})
    with pytest.raises(ExportRefused, match="type of pk"):
        untyped.describe((), to_ms=1_793_777_001_000, origin="a test")


# --- where an export lies ---


@pytest.mark.parametrize("prefix", ["", "nightly/", "a/b/"])
def test_keys_with_and_without_prefix_are_found(tmp_path, prefix):
    """Samples of the manifest have both, and a copy may lie anywhere."""
    assert import_into(MemoryStore(), MadeExport(tmp_path, FILES, prefix).write()).description.items == 97


@pytest.mark.parametrize("below", ["", "AWSDynamoDB", f"AWSDynamoDB/{EXPORT_ID}"])
def test_an_export_is_found_from_its_prefix(tmp_path, below):
    """People name the folder they told AWS to write to; the manifests lie two folders below."""
    folder = MadeExport(tmp_path, FILES).write()
    if below == "AWSDynamoDB":
        with pytest.raises(ExportRefused, match="holds no exports"):
            find_export(str(tmp_path / below), boto3.client)
    else:
        assert find_export(str(tmp_path / below), boto3.client) == ExportFolder(folder)


def test_two_exports_are_not_chosen_between(tmp_path):
    """The wrong one would be evidence for ever."""
    folder = MadeExport(tmp_path, FILES).write()
    (tmp_path / "AWSDynamoDB/other").mkdir()
    (tmp_path / "AWSDynamoDB/other/manifest-summary.json").write_bytes(b"{}")
    with pytest.raises(ExportRefused, match="holds 2 exports") as raised:
        find_export(str(tmp_path), boto3.client)
    assert str(folder) in str(raised.value)


def test_an_export_without_a_type_is_full(tmp_path):
    """The oldest exports have no exportType: there was only one."""
    made = MadeExport(tmp_path, FILES)
    del made.summary["exportType"]
    assert import_into(MemoryStore(), made.write()).description.items == 97


def test_both_suffixes_of_checksum_files_are_read(tmp_path):
    """The page shows .md5 in its tree and .checksum in its list."""
    made = MadeExport(tmp_path, FILES)
    made.checksum_suffix = ".md5"
    assert import_into(MemoryStore(), made.write()).description.items == 97


# --- what is refused ---


def rewrite(made: MadeExport, name: str, content: bytes) -> None:
    """Replaces a data file and its digest, as whoever wrote it wrongly would have."""
    made.data[name] = content
    for line in made.manifest:
        if line["dataFileS3Key"].endswith(name):
            line["md5Checksum"] = md5_base64(content)


def lines(*members: object) -> bytes:
    return gzip.compress(b"".join(orjson.dumps(each) + b"\n" for each in members))


FIRST = "data/part0abcdef.json.gz"
WRONG = {
    "incremental": (lambda made: made.summary.update(exportType="INCREMENTAL_EXPORT"), "INCREMENTAL_EXPORT"),
    "incremental by its times": (lambda made: made.summary.update(exportFromTime=EXPORT_TIME), "full export|FULL"),
    "Ion": (lambda made: made.summary.update(outputFormat="ION"), "ION"),
    "filtered": (
        lambda made: made.summary.update(filterSpecification={"FilterExpression": "a = :b"}),
        "filterSpecification",
    ),
    "no table": (lambda made: made.summary.pop("tableArn"), "tableArn"),
    "a time without zone": (lambda made: made.summary.update(exportTime="2026-11-04T07:28:34"), "no zone"),
    "one item too few in a file": (
        lambda made: rewrite(made, FIRST, lines(*({"Item": item(n)} for n in range(39)))),
        f"{FIRST} holds 39 items, its manifest says 40",
    ),
    "one item too many in all": (lambda made: made.summary.update(itemCount=96), "97 items, .* says 96"),
    "another digest": (lambda made: made.manifest[0].update(md5Checksum=md5_base64(b"")), f"{FIRST} has MD5"),
    "a damaged file": (
        lambda made: made.data.update({FIRST: made.data[FIRST][:-9] + b"x" + made.data[FIRST][-8:]}),
        f"{FIRST} has MD5",
    ),
    "a missing file": (lambda made: made.data.pop(FIRST), f"{FIRST} is missing"),
    "a gzip file cut short": (
        lambda made: rewrite(made, FIRST, made.data[FIRST][:-9]),
        f"{FIRST} cannot be read",
    ),
    "a line that is no JSON": (lambda made: rewrite(made, FIRST, gzip.compress(b"{\n")), f"{FIRST} line 1"),
    "a line of an incremental export": (
        lambda made: rewrite(made, FIRST, lines({"Keys": {}, "NewImage": {}})),
        f"{FIRST} line 1",
    ),
    "an item of an unknown type": (
        lambda made: rewrite(made, FIRST, lines({"Item": {**item(1), "odd": {"X": "1"}}})),
        f"{FIRST} line 1 .*unknown type tag",
    ),
    "an item without its key": (
        lambda made: rewrite(made, FIRST, lines({"Item": item(1)}, {"Item": {"pk": {"S": "a"}}})),
        f"{FIRST} line 2 has no attribute 'sk'",
    ),
    "a key of two types": (
        lambda made: rewrite(made, FIRST, lines({"Item": item(1)}, {"Item": {**item(2), "sk": {"S": "2"}}})),
        f"{FIRST} line 2 has sk of type S",
    ),
    "two items of one key": (
        lambda made: rewrite(made, FIRST, lines(*({"Item": item(n // 2)} for n in range(40)))),
        "two items have the key",
    ),
    "a file outside the export": (
        lambda made: made.manifest[0].update(dataFileS3Key=f"AWSDynamoDB/{EXPORT_ID}/data/../../secret"),
        "does not lie in the data folder",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_export_is_refused_and_leaves_no_baseline(tmp_path, damage, said):
    """An incomplete baseline says of every missing item that it did not exist."""
    made, store = MadeExport(tmp_path, FILES), MemoryStore()
    damage(made)
    with pytest.raises(ExportRefused, match=said) as raised:
        import_into(store, made.write())
    assert raised.value.hint
    assert not [name for name in store.objects if name.endswith("baseline.json")]


@pytest.mark.parametrize("name", ["manifest-summary.json", "manifest-files.json"])
@pytest.mark.parametrize("damage", ["missing", "changed", "no checksum"])
def test_a_manifest_is_checked_like_every_file(tmp_path, name, damage):
    """A manifest cut short would vouch for a smaller table."""
    folder = MadeExport(tmp_path, FILES).write()
    file = folder / name
    if damage == "missing":
        file.unlink()
    elif damage == "changed":
        file.write_bytes(file.read_bytes() + b" ")
    else:
        file.with_suffix(".checksum").unlink()
    with pytest.raises(ExportRefused, match=name.partition(".")[0]):
        open_export(ExportFolder(folder))


@pytest.mark.parametrize(
    "arn",
    ["", "orders", f"{TABLE_ARN}/stream/{LABEL}", TABLE_ARN.replace("1111", "11"), TABLE_ARN.replace("dynamodb", "s3")],
)
def test_only_the_arn_of_a_table_names_a_trail(arn):
    """A baseline in the wrong trail would answer for another table."""
    assert trail_of_table(TABLE_ARN) == TRAIL
    with pytest.raises(ValueError):
        trail_of_table(arn)


def test_the_label_of_a_baseline_was_enabled_when_its_interval_began():
    """A stream enabled inside the interval has missed the changes before it."""
    labels = ["2026-01-04T09:12:00.000", "2026-01-04T09:13:00.000"]
    at = 1_767_517_980_000  # 2026-01-04T09:13:00Z
    assert label_at(labels, at) == labels[1]
    assert label_at(labels, at - 1) == labels[0]
    assert label_at(labels, at - 60_001) is None
    assert label_at([], at) is None


# --- the command, on a folder ---


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """No configuration and no account of whoever runs the tests."""
    for name in ("DDBTRAIL_ARCHIVE", "DDBTRAIL_KEY_SCHEMA", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MOTO_ACCOUNT_ID": "111122223333",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def described_in(folder: Path) -> BaselineDescription:
    (name,) = folder.glob("v1/*/*/*/baselines/*/baseline.json")
    return BaselineDescription.parse(name.read_bytes())


def put_stream(folder: Path, label: str, key_schema: tuple[tuple[str, str], ...]) -> None:
    path = folder / TRAIL.prefix / f"streams/{label}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(StreamDescription(f"{TABLE_ARN}/stream/{label}", key_schema, None, "NEW_AND_OLD_IMAGES").compose())


@pytest.mark.parametrize("table", ["orders", "eu-west-1/orders", "111122223333/eu-west-1/orders", TABLE_ARN])
def test_the_command_imports_an_export(elsewhere, table, capsys):
    """Every way to name a table works; the export itself says which one it is."""
    folder = MadeExport(elsewhere, FILES).write()
    options = {"from_export": str(folder), "archive": "archive", "key_schema": "pk,sk", "describe_table": False}
    assert baseline(table, **options) == 0
    described = described_in(elsewhere / "archive")
    assert (described.items, described.stream_label) == (97, None)
    said = capsys.readouterr().err
    assert "97 items in 1 part" in said
    assert "adds no coverage" in said, "without a stream the consequence is explained"
    assert baseline(table, **options) == 0
    assert "was there already" in capsys.readouterr().err


def test_an_export_of_another_table_is_not_imported(elsewhere, capsys):
    """A mistyped folder must not end in the wrong trail."""
    folder = MadeExport(elsewhere, FILES).write()
    options = {"from_export": str(folder), "archive": "archive", "key_schema": "pk,sk", "describe_table": False}
    assert baseline("customers", **options) == 2
    assert "is of 111122223333/eu-west-1/orders, not of customers" in capsys.readouterr().err
    assert not (elsewhere / "archive").exists()


def test_key_and_stream_come_from_the_archive_if_it_knows_them(elsewhere):
    """The newest stream that was on when the interval began; a newer one was not."""
    archive = elsewhere / "archive"
    put_stream(archive, "2025-01-04T09:12:00.000", (("pk", "S"), ("sk", "N")))
    put_stream(archive, LABEL, (("pk", "S"), ("sk", "N")))
    put_stream(archive, "2026-11-04T07:28:00.000", (("pk", "S"), ("sk", "N")))
    folder = MadeExport(elsewhere, FILES).write()
    assert baseline("orders", from_export=str(folder), archive="archive", describe_table=False) == 0
    assert described_in(archive).stream_label == LABEL


@pytest.mark.parametrize(
    ("latest", "is_on", "described", "expected"),
    [
        (LABEL, True, [], LABEL),
        (LABEL, False, [], None),
        (LABEL, False, [LABEL], None),
        (None, False, [LABEL], LABEL),
        ("2027-01-01T00:00:00.000", False, [LABEL], LABEL),
        ("2027-01-01T00:00:00.000", True, [], None),
    ],
)
def test_a_stream_that_is_off_today_vouches_for_nothing(latest, is_on, described, expected):
    """It may have been off when the export was taken, and a baseline that names it would claim coverage."""
    live = {"LatestStreamLabel": latest, "StreamSpecification": {"StreamEnabled": is_on}} if latest else {}
    taken_ms = label_time_ms(LABEL) + 1000
    assert label_when_taken(live, described, taken_ms) == expected


def test_without_a_known_key_the_command_asks_for_it(elsewhere, capsys):
    """An export holds whole items; guessing which attributes name them would merge items."""
    folder = MadeExport(elsewhere, FILES).write()
    assert baseline("orders", from_export=str(folder), archive="archive", describe_table=False) == 2
    assert "--key-schema pk,sk" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{}, {"scan": True, "from_export": "x"}])
def test_one_source_is_needed(elsewhere, options, capsys):
    """Neither and both are questions, not answers."""
    assert baseline("orders", archive="archive", **options) == 2
    assert "--from-export" in capsys.readouterr().err


# --- live tables and exports in S3, on moto ---


@pytest.fixture
def aws(elsewhere):
    with moto.mock_aws():
        yield


@pytest.fixture
def table(aws, monkeypatch):
    """An empty table with a stream. moto gives tables no TableId; AWS always does."""
    describe = moto.dynamodb.models.Table.describe

    def with_table_id(self, *args, **options):
        answer = describe(self, *args, **options)
        next(iter(answer.values()))["TableId"] = TABLE_ID
        return answer

    monkeypatch.setattr(moto.dynamodb.models.Table, "describe", with_table_id)
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return client


def test_a_scan_is_a_baseline_of_the_live_table(table, elsewhere):
    """Binary comes as bytes from boto3 and is kept as DynamoDB's own text; numbers keep their digits."""
    blob = b"\x00\x01*A"
    for number, text in enumerate(NUMBERS[:8]):
        item = {"pk": {"S": "o-1"}, "sk": {"N": str(number)}, "n": {"N": text}, "b": {"B": blob}, "s": {"BS": [blob]}}
        table.put_item(TableName="orders", Item=item)
    live = table.describe_table(TableName="orders")["Table"]
    assert baseline("orders", scan=True, archive="archive", threads=3) == 0
    described = described_in(elsewhere / "archive")
    assert (described.items, described.stream_label, described.table_id) == (
        8,
        live["LatestStreamLabel"],
        live["TableId"],
    )
    assert described.key_schema == (("pk", "S"), ("sk", "N"))
    assert described.from_ms % 1000 == described.to_ms % 1000 == 0
    assert 0 <= described.to_ms - described.from_ms <= 60_000
    (part,) = (elsewhere / "archive").glob("v1/*/*/*/baselines/*/*.parquet")
    images = [orjson.loads(row["image"]) for row in pq.read_table(io.BytesIO(part.read_bytes())).to_pylist()]
    assert [image["n"] for image in images] == [{"N": text} for text in NUMBERS[:8]]
    assert all(image["b"] == {"B": "AAEqQQ=="} and image["s"] == {"BS": ["AAEqQQ=="]} for image in images)


class Pages:
    """A table of many pages: `scan` as documented, one page of two items at a time."""

    def __init__(self, items: list[dict]) -> None:
        self.items, self.requests = items, []

    def scan(self, **request):
        self.requests.append(request)
        mine = self.items[request["Segment"] :: request["TotalSegments"]]
        start = int(request["ExclusiveStartKey"]["sk"]["N"]) if "ExclusiveStartKey" in request else 0
        more = {"LastEvaluatedKey": {"sk": {"N": str(start + 2)}}} if start + 2 < len(mine) else {}
        return {"Items": mine[start : start + 2], **more}


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_scan_reads_every_page_of_every_segment_consistently(threads):
    """A page left out is an item that "did not exist"; an old read is a state that never was."""
    pages = Pages(ITEMS)
    found = [each for _, each in scan_items(pages, "orders", threads=threads)]
    assert sorted(map(orjson.dumps, found)) == sorted(map(orjson.dumps, ITEMS))
    assert all(request["ConsistentRead"] is True for request in pages.requests)


def test_a_scan_that_fails_leaves_no_baseline(elsewhere):
    """Half a table must not pass for a whole one."""

    class Failing(Pages):
        def scan(self, **request):
            if "ExclusiveStartKey" in request:
                raise OSError("connection lost")
            return super().scan(**request)

    store = MemoryStore()
    writer = BaselineWriter(store, TRAIL, 1_793_777_254_000, ("pk", "sk"), {}, part_bytes=10)
    with pytest.raises(OSError, match="connection lost"):
        writer.parts(scan_items(Failing(ITEMS), "orders", threads=2))
    assert not [name for name in store.objects if name.endswith(".json")]


def test_a_table_that_does_not_exist_ends_with_4(aws, capsys):
    """What AWS says is passed on, without a traceback."""
    assert baseline("orders", scan=True, archive="archive") == 4
    assert "ResourceNotFoundException" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["s3://exports/nightly", f"s3://exports/nightly/AWSDynamoDB/{EXPORT_ID}/"])
def test_an_export_is_read_where_aws_put_it(aws, elsewhere, url):
    """Nothing has to be copied first; prefix and folder both name it."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="exports", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    MadeExport(elsewhere / "made", FILES, "nightly/").write()
    for path in (elsewhere / "made").rglob("*"):
        if path.is_file():
            key = path.relative_to(elsewhere / "made").as_posix()
            s3.put_object(Bucket="exports", Key=f"nightly/{key}", Body=path.read_bytes())
    options = {"archive": "archive", "key_schema": "pk,sk", "describe_table": False}
    assert baseline("orders", from_export=url, **options) == 0
    assert described_in(elsewhere / "archive").items == 97
    s3.delete_object(Bucket="exports", Key=f"nightly/AWSDynamoDB/{EXPORT_ID}/{FIRST}")
    assert baseline("orders", from_export=url, **options) == 4


def test_the_live_table_tells_key_and_stream_only_if_it_is_the_exported_one(table, elsewhere, capsys):
    """A table made anew under the name has another key, another stream, another history."""
    made = MadeExport(elsewhere / "another", FILES)
    made.summary["tableId"] = TABLE_ID[::-1]
    assert baseline("orders", from_export=str(made.write()), archive="archive") == 2
    assert "another table today" in capsys.readouterr().err
    folder = MadeExport(elsewhere, FILES).write()
    assert baseline("orders", from_export=str(folder), archive="archive") == 0
    assert described_in(elsewhere / "archive").key_schema == (("pk", "S"), ("sk", "N"))
