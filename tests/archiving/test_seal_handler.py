"""The Lambda function that seals: environment in, seals out, one log line and one blob of metrics; and its failures told.

The sealer, the store and the key are real: a folder, and a key in a file. KMS stands behind the same name of the key,
asked through botocore with its answers stubbed (what a deployed function does with a KMS: tests/system/test_sam.py).
"""

import json
import os
import subprocess
import sys

import boto3
import pytest
from botocore.stub import Stubber
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from archiver import handler, seal_handler, telemetry
from archiver.config import SealConfig
from archiver.errors import NotConfigured
from archiver.format.layout import Trail
from archiver.format.log_entry import KeyRotationEntry, QuarantineEntry, SegmentEntry
from archiver.format.note import SignedNote
from archiver.format.seal import Seal, origin_of, seal_name
from archiver.seal_handler import EvidenceRefused
from archiver.sealed_log import SealRefused
from archiver.sealer import Sealer
from archiver.signer import KeyRefused, check_signature, create_key, load_signer, open_signer, public_key_text
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from tests.archiving.batches import CHANGED_AT_S, HOUR_S, arn_of, record
from tests.archiving.test_handler import Context, CurrentStdout, blobs, metrics_of

TRAIL = Trail("111122223333", "eu-west-1", "orders")
SEALS = f"{TRAIL.prefix}seals/"
NOW_S = CHANGED_AT_S + 600
KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"


class Machine:
    """A container of the function, its archive, and the clock that it reads."""

    def __init__(self, folder, monkeypatch):
        self.store, self.key, self.now_s = FolderStore(folder / "archive"), folder / "key", NOW_S
        self.public_key = create_key(self.key)
        for name in [name for name in os.environ if name.startswith("DDBTRAIL_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("DDBTRAIL_ARCHIVE", str(folder / "archive"))
        monkeypatch.setenv("DDBTRAIL_SIGNING_KEY", str(self.key))
        monkeypatch.setenv("DDBTRAIL_SEAL_TABLE", "111122223333/eu-west-1/orders")
        monkeypatch.setattr(telemetry.logger.registered_handler, "stream", CurrentStdout())
        monkeypatch.setattr(handler.time, "time_ns", lambda: self.now_s * 1_000_000_000)

    def archive(self, *records):
        Writer(self.store, Streams(key_schema={"orders": ("id",)})).archive(list(records), now_ms=self.now_s * 1_000)

    def seals(self):
        return [Seal.parse(self.store.get(name)) for name, _ in self.store.list(SEALS)]

    def entries(self, kind):
        return [entry for seal in self.seals() for entry in seal.entries if isinstance(entry, kind)]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    seal_handler._sealer.cache_clear()
    telemetry.report_cold_start.cache_clear()
    yield Machine(tmp_path, monkeypatch)
    seal_handler._sealer.cache_clear()


def invoke():
    return handler.seal({"source": "aws.events"}, Context())


def told(capsys):
    """What was logged, and the metrics of the one blob beside the cold start's (none: an empty mapping)."""
    out = capsys.readouterr().out
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    found = [metrics_of(blob) for blob in blobs(out) if blob.get("table")]
    assert len(found) <= 1
    return [line for line in lines if "_aws" not in line], (found[0] if found else {})


def change(number, **kwargs):
    return record(number, arn=arn_of("orders"), **kwargs)


def spoil(machine, inside):
    """Another byte in one object of the trail, and the object's name."""
    (name,) = (name for name, _ in machine.store.list(f"{TRAIL.prefix}{inside}/"))
    path = machine.store.root / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    return name


def test_what_was_archived_is_sealed_and_counted(machine, capsys):
    """The claim of this file: evidence in, a signed seal out that names it, and metrics that alarms are built on."""
    machine.archive(change(1), change(2), change(3, changed_at_s=CHANGED_AT_S - 1), "not a record")
    assert invoke() == {"seals": 1, "open": 1, "segment": 2, "quarantine": 1, "interval": 1}
    (seal,) = machine.seals()
    assert [segment.records for segment in machine.entries(SegmentEntry)] == [1, 2]
    assert seal.interval.sealed_at_ms == NOW_S * 1_000
    check_signature(seal.checkpoint, origin_of(TRAIL), machine.public_key)
    lines, metrics = told(capsys)
    assert metrics == {
        "SealAgeSeconds": (0.0, "Seconds"),
        "SegmentsSealed": (2.0, "Count"),
        "EvidenceRefused": (0.0, "Count"),
    }
    (line,) = (line for line in lines if line["message"] == "trail sealed")
    assert (line["table"], line["seals"]) == ("orders", [seal_name(0)])
    assert SignedNote.parse(line["checkpoint"].encode()) == seal.checkpoint, (
        "what a reviewer pins can be had from the log"
    )


def test_the_metrics_have_the_dimensions_of_the_archivers(machine, capsys):
    """One name in an alarm, whoever emits it."""
    invoke()
    (blob,) = (blob for blob in blobs(capsys.readouterr().out) if "SealAgeSeconds" in blob)
    assert (blob["service"], blob["table"]) == (telemetry.SERVICE, "orders")


def test_each_call_goes_on_from_the_last_and_an_empty_one_is_a_statement(machine):
    """The container is used again; so is a new one."""
    machine.archive(change(1))
    invoke()
    machine.now_s += 900
    assert invoke() == {"seals": 1, "interval": 1}
    seal_handler._sealer.cache_clear()
    machine.now_s += 900
    machine.archive(change(2, changed_at_s=CHANGED_AT_S + HOUR_S))
    assert invoke()["segment"] == 1
    first, second, third = machine.seals()
    assert second.size_before == len(first.entries)
    assert third.size_before == second.size_before + 1
    assert third.interval.to_ms == machine.now_s * 1_000


def test_evidence_that_fails_its_check_is_told_after_all_the_rest_was_sealed(machine, capsys):
    """One damaged object must hold up neither the others nor the alarm."""
    machine.archive(change(1))
    name = spoil(machine, "segments")
    machine.archive(change(2, changed_at_s=CHANGED_AT_S + HOUR_S), "not a record")
    with pytest.raises(EvidenceRefused, match=name):
        invoke()
    (segment,) = machine.entries(SegmentEntry)
    assert f"{TRAIL.prefix}{segment.path}" != name
    assert len(machine.entries(QuarantineEntry)) == 1
    lines, metrics = told(capsys)
    assert (metrics["EvidenceRefused"], metrics["SegmentsSealed"]) == ((1.0, "Count"), (1.0, "Count"))
    assert metrics["SealAgeSeconds"] == (0.0, "Seconds"), "the trail is sealed, and the rest is another alarm"
    (line,) = (line for line in lines if line["message"] == "evidence refused")
    assert line["object"] == name
    assert line["reason"]
    with pytest.raises(EvidenceRefused, match=name):
        invoke()


def test_several_that_are_refused_are_counted(machine):
    """The error names the first; the log has a line for each."""
    for number in (1, 2, 3):
        machine.archive(change(number, changed_at_s=CHANGED_AT_S + number))
    for name, _ in list(machine.store.list(f"{TRAIL.prefix}segments/")):
        (machine.store.root / name).write_bytes(b"no Parquet")
    with pytest.raises(EvidenceRefused, match=r"and 2 more$"):
        invoke()


def test_a_failure_is_raised_and_tells_how_old_the_newest_seal_is(machine, capsys):
    """Lambda counts the error; the age goes on growing where the alarm looks. Of two seals it is the younger one's."""
    invoke()
    machine.now_s += 900
    invoke()
    capsys.readouterr()
    seal_handler._sealer.cache_clear()
    os.remove(machine.key)
    machine.now_s += 7_201
    with pytest.raises(KeyRefused, match="could not be read"):
        invoke()
    lines, metrics = told(capsys)
    assert metrics == {"SealAgeSeconds": (7_201.0, "Seconds")}
    (line,) = (line for line in lines if line["message"] == "sealing failed")
    assert line["table"] == "orders"
    assert line["hint"]
    assert len(machine.seals()) == 2


def test_a_trail_that_was_never_sealed_has_no_age(machine, capsys):
    """No metric at all is what the alarm takes for bad news; an age of zero would be good news."""
    os.remove(machine.key)
    with pytest.raises(KeyRefused):
        invoke()
    assert told(capsys)[1] == {}


def test_an_age_that_cannot_be_read_hides_nothing(machine, capsys):
    """The first failure is the one that is raised, whatever else is broken."""
    invoke()
    (machine.store.root / f"{TRAIL.prefix}{seal_name(0)}").write_bytes(b"{}")
    seal_handler._sealer.cache_clear()
    capsys.readouterr()
    with pytest.raises(SealRefused, match="does not continue the log"):
        invoke()
    lines, metrics = told(capsys)
    assert metrics == {}
    assert {"sealing failed", "the age of the newest seal is not known"} <= {line["message"] for line in lines}


def test_after_a_failure_everything_is_looked_at_anew(machine, tmp_path):
    """A key that was handed over must not need another container."""
    invoke()
    following = create_key(tmp_path / "next")
    rotation = KeyRotationEntry(public_key_text(following))
    Sealer(machine.store, TRAIL, load_signer(machine.key)).seal((NOW_S + 60) * 1_000, also=[rotation])
    os.replace(tmp_path / "next", machine.key)
    machine.now_s += 900
    with pytest.raises(SealRefused, match="handed over to another key"):
        invoke()
    assert invoke() == {"seals": 1, "interval": 1}
    check_signature(machine.seals()[-1].checkpoint, origin_of(TRAIL), following)


def test_a_foreign_object_among_the_seals_is_refused_and_hides_no_age(machine, capsys):
    """It stops nothing: the next seal follows from the last one, and the age is that one's."""
    invoke()
    machine.store.put_if_absent(f"{SEALS}readme.txt", b"somebody was here")
    with pytest.raises(EvidenceRefused, match=r"readme\.txt"):
        invoke()
    capsys.readouterr()
    seal_handler._sealer.cache_clear()
    os.remove(machine.key)
    machine.now_s += 60
    with pytest.raises(KeyRefused):
        invoke()
    assert told(capsys)[1] == {"SealAgeSeconds": (60.0, "Seconds")}


@pytest.mark.parametrize("name", ["DDBTRAIL_ARCHIVE", "DDBTRAIL_SIGNING_KEY", "DDBTRAIL_SEAL_TABLE"])
def test_each_variable_is_needed_and_named(machine, monkeypatch, capsys, name):
    """A function with half an environment must say which half."""
    monkeypatch.delenv(name)
    with pytest.raises(NotConfigured, match=name) as refused:
        invoke()
    assert refused.value.hint
    assert told(capsys)[1] == {}


@pytest.mark.parametrize(
    "table", ["orders", "eu-west-1/orders", "1111/eu-west-1/orders", "a/b/c/d", "111122223333/eu-west-1/o r"]
)
def test_what_names_no_table_is_refused(table):
    """A trail that nobody has would be sealed for ever, and empty."""
    told = {"DDBTRAIL_ARCHIVE": "x", "DDBTRAIL_SIGNING_KEY": "x", "DDBTRAIL_SEAL_TABLE": table}
    with pytest.raises(NotConfigured, match="which names no table"):
        SealConfig.from_environment(told)


def test_other_tables_of_the_archive_are_left_alone(machine):
    """One function seals one trail, with the rights for it."""
    machine.archive(record(1, arn=arn_of("customers")), change(2))
    invoke()
    assert {Trail.parse(name)[0] for name, _ in machine.store.list("v1/") if "/seals/" in name} == {TRAIL}


def test_a_key_of_kms_is_asked_in_its_own_region(tmp_path, monkeypatch):
    """Archive and key may be in two regions: the ARN says which one is meant."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    public_key = create_key(tmp_path / "key")
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    client = boto3.client("kms", region_name="eu-central-1")
    asked = []
    monkeypatch.setattr(
        boto3.Session, "client", lambda _self, name, **given: asked.append((name, given["region_name"])) or client
    )
    with Stubber(client) as stub:
        stub.add_response("get_public_key", {"PublicKey": der, "KeyUsage": "SIGN_VERIFY"}, {"KeyId": KEY_ARN})
        assert open_signer(KEY_ARN).public_key == public_key
    assert asked == [("kms", "eu-central-1")]


@pytest.mark.parametrize(
    "arn", ["arn:aws:s3:::bucket", "arn:aws:kms:eu-west-1:1111:key/x", "arn:aws:kms::111122223333:key/x"]
)
def test_an_arn_of_something_else_is_no_key(arn):
    """Else boto3 would say something about endpoints."""
    with pytest.raises(KeyRefused, match="not the ARN of a KMS key"):
        open_signer(arn)


def test_a_path_is_the_key_in_that_file(tmp_path):
    """The same setting for those who seal without KMS."""
    made = create_key(tmp_path / "key")
    assert open_signer(str(tmp_path / "key")).public_key == load_signer(tmp_path / "key").public_key == made


def test_the_function_that_archives_loads_nothing_of_the_sealer():
    """A cold start delays a batch: cryptography, and boto3 where no store is opened, are not in it."""
    script = """if True:
        import sys
        import archiver.handler
        heavy = {"cryptography", "boto3", "archiver.sealer", "archiver.seal_handler", "archiver.signer"}
        print(sorted(heavy & sys.modules.keys()))
        import archiver.seal_handler
        print(sorted(heavy & sys.modules.keys()))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert before == "[]"
    assert after == "['archiver.seal_handler', 'archiver.sealer', 'archiver.signer', 'cryptography']"
