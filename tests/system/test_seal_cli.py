"""The commands that seal, on a folder and on S3: what they print, how they end, and two processes of them at once.

`python -m tests.system.test_seal_cli URL KEY` is one of those processes: a line on stdin is a pass, a line on stdout what
it sealed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from archiver.sealer import Sealer
from archiver.signer import load_signer
from archiver.store import FolderStore, S3Store, open_store
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from tests import second_reader
from tests.archiving.batches import record
from tests.archiving.test_sealer import TRAIL, is_signed, sealed_segments
from tests.system.drop_proxy import DropProxy
from tests.system.parts import AwsEndpoint

REPOSITORY = Path(__file__).parents[2]
RACES = [6, pytest.param(20, marks=pytest.mark.long)]
GAP = "2026-01-01T00:00:00Z/2026-01-01T01:00:00Z"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def archive(store, *numbers: int) -> list[str]:
    """A change a minute ago for each number, in segments of their own; their names inside the trail."""
    changed_at_s = now_ms() // 1000 - 60
    writer = Writer(store, Streams())
    reports = [writer.archive([record(number, changed_at_s=changed_at_s)], now_ms=now_ms()) for number in numbers]
    return [segment.place.compose() for report in reports for segment in report.segments]


def read(source, public_key_path: Path) -> second_reader.LogRead:
    """The log, with nothing wrong in the whole archive, and every head signed by one key."""
    trails, _, problems = second_reader.read_archive(source)
    assert problems == []
    log = trails[TRAIL.prefix].log
    key = load_pem_public_key(public_key_path.read_bytes())
    assert all(any(is_signed(key, text, *one) for one in signatures) for text, signatures in log.notes)
    return log


class Answer:
    """What a command wrote, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def head(self) -> tuple[str, int]:
        """Origin and size of the checkpoint on standard output, which is nothing else: three lines and a signature."""
        lines = self.out.split("\n")
        assert lines[3] == lines[5] == ""
        assert len(lines) == 6
        assert len(base64.b64decode(lines[2], validate=True)) == 32
        assert lines[4].startswith(f"— {lines[0]} ")
        return lines[0], int(lines[1])


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """Runs a command in this process, where nothing is configured."""
    for name in [*os.environ]:
        if name.startswith(("DDBTRAIL_", "AWS_")) or name in {"NO_COLOR", "FORCE_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def asked(*tokens: object) -> Answer:
        code = run([str(token) for token in tokens])
        return Answer(code, *capsys.readouterr())

    return asked


@pytest.fixture
def folder(tmp_path) -> FolderStore:
    """An archive with two segments, a description, and a quarantined record."""
    store = FolderStore(tmp_path / "archive")
    archive(store, 1, 2)
    Writer(store, Streams()).archive([{**record(3), "eventName": "UPSERT"}], now_ms=now_ms())
    return store


@pytest.fixture
def key(ask) -> Path:
    assert ask("key", "create", "key").code == 0
    return Path("key").absolute()


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def sealing(folder: FolderStore, key: Path) -> list[object]:
    return ["orders", "-a", folder.root, "--signing-key", key]


# --- keys ---


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_a_key_is_made_for_its_owner_alone(ask, tmp_path, kind):
    """Printed is what an auditor compares: the fingerprint of the public key, as openssl and sha256sum give it."""
    answer = ask("key", "create", "key", "--kind", kind)
    public_key = load_pem_public_key((tmp_path / "key.pub").read_bytes())
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (answer.code, answer.out) == (0, f"{sha256(der).hexdigest()}  key.pub\n")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    again = ask("key", "create", "key")
    assert (again.code, again.out) == (4, "")
    assert "is there already" in again.err


@pytest.mark.parametrize("place", ["archive/key", "archive/v1/key", "link/key", "inner/key", "archive/../archive/key"])
def test_no_private_key_lies_inside_an_archive(ask, folder, tmp_path, key, place):
    """Neither by the name that is typed nor by where a link leads: whoever copies an archive would have the key."""
    (tmp_path / "link").symlink_to(folder.root)
    (tmp_path / "inner").symlink_to(folder.root / "v1")
    made = ask("key", "create", place)
    assert (made.code, made.out) == (2, "")
    assert "lies inside the archive" in made.err
    assert not Path(place).exists()
    assert not Path(f"{place}.pub").exists()
    Path(place).write_bytes(key.read_bytes())
    Path(place).chmod(0o600)
    used = ask("seal", *sealing(folder, Path(place)))
    assert (used.code, used.out) == (2, "")
    Path(place).unlink()
    assert "seals" not in {path.name for path in folder.root.rglob("*")}


# --- a folder ---


def test_a_folder_is_sealed(ask, folder, key):
    """The head of the log is all that standard output gets: it can be kept as it is, and pinned."""
    answer = ask("seal", *sealing(folder, key))
    assert (answer.code, answer.head()) == (0, ("ddbtrail/111122223333/eu-west-1/orders", 5))
    assert answer.err == "sealed 1 stream, 2 segments, 1 quarantined record: seals/00000000000000000000.json\n"
    log = read(folder.root, public(key))
    assert log.seals[0]["checkpoint"] == answer.out
    again = ask("seal", *sealing(folder, key))
    assert (again.code, again.head()[1]) == (0, 6)
    assert again.err == "sealed that nothing is new: seals/00000000000000000005.json\n"
    read(folder.root, public(key))


def test_quiet_is_quiet(ask, folder, key):
    """For a scheduler's mail: the checkpoint, and nothing where all is well."""
    answer = ask("seal", *sealing(folder, key), "-q")
    assert (answer.code, answer.err, answer.head()[1]) == (0, "", 5)


def test_no_aws_is_needed_for_a_folder(folder, key):
    """No package of it is imported, no credentials are looked for: an archive on a disk is sealed where it is."""
    script = "import sys; sys.modules['boto3'] = sys.modules['botocore'] = None\nfrom query.cli import run\nsys.exit(run(sys.argv[1:]))"
    tokens = [str(token) for token in ("seal", *sealing(folder, key))]
    ran = subprocess.run(
        [sys.executable, "-c", script, *tokens],
        cwd=key.parent,
        env={"PYTHONPATH": str(REPOSITORY), "HOME": str(key.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert Answer(0, ran.stdout, ran.stderr).head()[1] == 5


def test_evidence_that_fails_its_check_is_told_until_somebody_has_looked(ask, folder, key):
    """Exit code 1 and the name, also with -q; everything else is sealed. Acknowledged, it is told no more."""
    segment = archive(folder, 9)[0]
    path = folder.root / TRAIL.prefix / segment
    path.write_bytes(path.read_bytes()[:-1])
    answer = ask("seal", *sealing(folder, key), "-q")
    assert (answer.code, answer.head()[1]) == (1, 5)
    assert answer.err.splitlines()[0] == f"not sealed: {TRAIL.prefix}{segment}"
    assert "cut short" in answer.err.splitlines()[1]
    assert len(answer.err.splitlines()) == 3
    told = ask(
        "acknowledge", "orders", f"{TRAIL.prefix}{segment}", "--reason", "the disk failed", *sealing(folder, key)[1:]
    )
    assert (told.code, told.head()[1]) == (0, 7)
    assert told.err == "sealed 1 acknowledgement: seals/00000000000000000005.json\n"
    later = ask("seal", *sealing(folder, key))
    assert (later.code, later.head()[1]) == (0, 8)
    path.unlink()
    (entry,) = read(folder.root, public(key)).of_type("acknowledge")
    assert (entry["path"], entry["reason"]) == (segment, "the disk failed")


def test_what_is_acknowledged_may_be_spelled_as_any_report_spells_it(ask, folder, key):
    """With the archive's URL, without it, or inside the trail; one name in the log."""
    name = next((folder.root / TRAIL.prefix / "quarantine").iterdir()).name
    for spelling in (
        f"quarantine/{name}",
        f"{TRAIL.prefix}quarantine/{name}",
        f"{folder.root}/{TRAIL.prefix}quarantine/{name}",
    ):
        reason = f"looked at {spelling}"
        assert ask("acknowledge", "orders", spelling, "--reason", reason, *sealing(folder, key)[1:]).code == 0
    paths = [entry["path"] for entry in read(folder.root, public(key)).of_type("acknowledge")]
    assert paths == [f"quarantine/{name}"] * 3


def test_a_gap_is_acknowledged_by_its_ends(ask, folder, key):
    """As coverage shows it."""
    answer = ask("acknowledge", "orders", GAP, "--reason", "the stream was off", *sealing(folder, key)[1:])
    assert answer.code == 0
    (entry,) = read(folder.root, public(key)).of_type("acknowledge")
    assert (entry["path"], entry["to_ms"] - entry["from_ms"]) == (None, 3_600_000)


def test_a_name_that_is_in_no_archive_is_said_to_be(ask, folder, key):
    """A misspelt acknowledgement settles nothing; one of an object that is gone may well be meant."""
    answer = ask("acknowledge", "orders", "segments/misspelt", "--reason", "x", *sealing(folder, key)[1:])
    assert answer.code == 0
    assert answer.err.splitlines()[0] == f"warning: {TRAIL.prefix}segments/misspelt is not in the archive"


@pytest.mark.parametrize(
    ("what", "reason", "why"),
    [
        ("quarantine", "x", "is no object of the trail"),
        ("../orders/quarantine/x.json", "x", "is no object of the trail"),
        ("/etc/passwd", "x", "is no object of the trail"),
        ("s3://bucket/segments/x", "x", "is no object of the trail"),
        ("v1/account=111122223333/region=eu-west-1/table_name=customers/segments/x", "x", "is no object of the trail"),
        ("2026-01-01T01:00:00Z/2026-01-01T00:00:00Z", "x", "ends before it begins"),
        ("2026-01-01T00:00:00Z/2026-01-01T00:00:00Z", "x", "ends before it begins"),
        ("2026-01-01T00:00:00/2026-01-01T01:00:00", "x", "has no time zone|zone"),
        (GAP, " ", "a reason is needed"),
        (GAP, "\udcff", "is not text in UTF-8"),
        ("segments/\udcff", "x", "is not text in UTF-8"),
    ],
)
def test_what_cannot_be_acknowledged_is_a_mistake_in_what_was_typed(ask, folder, key, what, reason, why):
    """Exit code 2, three lines at most, and nothing is written."""
    answer = ask("acknowledge", "orders", what, "--reason", reason, *sealing(folder, key)[1:])
    assert (answer.code, answer.out) == (2, "")
    assert any(part in answer.err for part in why.split("|")), answer.err
    assert len(answer.err.splitlines()) <= 3
    assert not (folder.root / TRAIL.prefix / "seals").exists()


def test_keys_are_changed_by_the_key_that_goes(ask, folder, key):
    """The old one signs that the new one follows; the wrong one is told what to do."""
    ask("key", "create", "new")
    assert ask("seal", *sealing(folder, key)).code == 0
    wrong = ask("seal", *sealing(folder, Path("new")))
    assert (wrong.code, wrong.out) == (4, "")
    assert "is not signed with this key" in wrong.err
    assert "--next-key" in wrong.err
    handed = ask("seal", *sealing(folder, key), "--next-key", "new.pub")
    assert (handed.code, handed.head()[1]) == (0, 7)
    assert handed.err == "sealed 1 next key: seals/00000000000000000005.json\n"
    late = ask("seal", *sealing(folder, key))
    assert (late.code, late.out) == (4, "")
    assert "was handed over to another key" in late.err
    assert ask("seal", *sealing(folder, Path("new"))).code == 0
    assert ask("seal", *sealing(folder, Path("new")), "--next-key", "new.pub").code == 4
    assert ask("seal", *sealing(folder, Path("new")), "--next-key", "new").code == 2


@pytest.mark.parametrize(
    ("tokens", "code", "why"),
    [
        (["nowhere", "-a", "archive", "--signing-key", "key"], 2, "has no table nowhere"),
        (["orders", "-a", "elsewhere", "--signing-key", "key"], 4, "there is no archive"),
        (["orders", "--signing-key", "key"], 2, "no archive was named"),
        (["orders", "-a", "archive", "--signing-key", "none"], 4, "could not be read"),
        (["orders", "-a", "archive", "--signing-key", "key.pub"], 4, "may be read by others"),
        (["orders", "-a", "archive", "--signing-key", "arn:aws:kms:nonsense"], 4, "is not the ARN of a KMS key"),
        (["orders", "-a", "archive"], 2, "signing-key"),
    ],
)
@pytest.mark.usefixtures("folder", "key")
def test_what_cannot_begin_says_why_and_seals_nothing(ask, tmp_path, tokens, code, why):
    """What failed, and what to type next; no traceback, no empty log."""
    answer = ask("seal", *tokens)
    assert (answer.code, answer.out) == (code, "")
    assert why in answer.err
    assert "Traceback" not in answer.err
    assert [path for path in tmp_path.rglob("*") if path.name == "seals"] == []
    assert not (tmp_path / "elsewhere").exists()


def test_a_log_that_does_not_hold_is_not_continued(ask, folder, key):
    """Exit code 4: not that evidence failed, but that nothing could be done."""
    ask("seal", *sealing(folder, key))
    (path,) = (folder.root / TRAIL.prefix / "seals").iterdir()
    path.write_bytes(path.read_bytes().replace(b'"records":1', b'"records":2'))
    answer = ask("seal", *sealing(folder, key))
    assert (answer.code, answer.out) == (4, "")
    assert "does not continue the log" in answer.err


# --- S3 ---


@pytest.fixture
def on_s3(any_bucket, ask, monkeypatch) -> Iterator[S3Store]:
    """An archive on S3, in the environment of a person who may write it."""
    for name, value in any_bucket.server.environ().items():
        monkeypatch.setenv(name, value)
    with contextlib.closing(any_bucket.server.client("s3")) as client:
        yield S3Store(client, any_bucket.name, "trail")


def on_bucket(any_bucket, key: Path) -> list[object]:
    return ["orders", "-a", f"{any_bucket.url}/trail", "--signing-key", key, "--endpoint-url", any_bucket.server.url]


def test_a_bucket_is_sealed(ask, any_bucket, on_s3, key):
    """The same log as in a folder, by conditional puts."""
    names = archive(on_s3, 1, 2)
    answer = ask("seal", *on_bucket(any_bucket, key))
    assert (answer.code, answer.head()[1]) == (0, 4), answer.err
    archive(on_s3, 3)
    assert ask("seal", *on_bucket(any_bucket, key)).head()[1] == 6
    assert ask("seal", *on_bucket(any_bucket, key), "--sweep").head()[1] == 7
    log = read(on_s3, public(key))
    assert sealed_segments(log)[:2] == sorted(names)
    assert len(log.seals) == 3


def test_lost_answers_and_busy_stores_are_gone_on_from(ask, any_bucket, on_s3, key):
    """A put that was stored and not answered, one that never arrived, and a store that says to slow down: one seal each."""
    with DropProxy(any_bucket.server.url) as proxy:
        tokens = [*on_bucket(any_bucket, key)[:-1], proxy.url]
        for number, fault in enumerate(
            [
                lambda: proxy.drop_after_commit("PUT", "/seals/"),
                lambda: proxy.drop_before("PUT", "/seals/"),
                lambda: proxy.refuse("PUT", "/seals/", "SlowDown"),
                lambda: proxy.refuse("GET", "/segments/", "SlowDown"),
                lambda: proxy.refuse("GET", "prefix=", "InternalError"),
            ]
        ):
            archive(on_s3, number)
            proxy.reset_counters()
            fault()
            answer = ask("seal", *tokens)
            assert (answer.code, proxy.dropped) == (0, 1), answer.err
            log = read(on_s3, public(key))
            assert len(log.seals) == number + 1
            assert len(sealed_segments(log)) == number + 1


def test_what_a_store_refuses_is_told_and_sealed_the_next_time(ask, any_bucket, on_s3, key):
    """Denied at any place: exit code 4, which is not 1, and no seal that says less than there is."""
    archive(on_s3, 1, 2)
    with DropProxy(any_bucket.server.url) as proxy:
        tokens = [*on_bucket(any_bucket, key)[:-1], proxy.url]
        for method, part in (("GET", "/segments/"), ("GET", "/streams/"), ("GET", "quarantine"), ("PUT", "/seals/")):
            proxy.refuse(method, part, "AccessDenied")
            answer = ask("seal", *tokens)
            assert (answer.code, answer.out, proxy.dropped) == (4, "", 1), (method, part, answer.err)
            assert [name for name, _ in on_s3.list(f"{TRAIL.prefix}seals/")] == []
            proxy.reset_counters()
        assert ask("seal", *tokens).head()[1] == 4
    read(on_s3, public(key))


def test_a_conflicting_put_is_made_again(any_bucket, on_s3, key):
    """S3 answers 409 while another put of the name is under way; whoever was first is then seen."""
    archive(on_s3, 1)

    class Conflicting:
        """The client, which answers 409 to the first puts."""

        def __init__(self, client, times: int):
            self.client, self.times = client, times

        def __getattr__(self, name):
            return getattr(self.client, name)

        def put_object(self, **request):
            if self.times:
                self.times -= 1
                raise ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")
            return self.client.put_object(**request)

    store = S3Store(Conflicting(on_s3._client, 3), any_bucket.name, "trail")
    assert len(Sealer(store, TRAIL, load_signer(key)).seal(now_ms()).seals) == 1
    read(on_s3, public(key))


def test_seals_and_segments_are_listed_page_by_page(any_bucket, on_s3, key):
    """A page of S3 has 1,000 names; here it has two: the head of the log, and most of the tail, are on the last."""
    on_s3._client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 2}
    )
    for number in range(5):
        archive(on_s3, number, 10 + number, 20 + number)
        assert Sealer(on_s3, TRAIL, load_signer(key)).seal(now_ms()).entries["segment"] == 3
    assert len(read(on_s3, public(key)).seals) == 5


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "ECC_NIST_EDWARDS25519"])
def test_a_key_of_kms_seals_and_a_disabled_one_does_not(ask, folder, ministack_url, monkeypatch, spec):
    """F25: the signatures hold under the public key that KMS gives; what a disabled key left is sealed when it is back."""
    server = AwsEndpoint(ministack_url)
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    with contextlib.closing(server.client("kms")) as kms:
        arn = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        public_key = load_der_public_key(kms.get_public_key(KeyId=arn)["PublicKey"])
        Path("kms.pub").write_bytes(public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        tokens = ["orders", "-a", folder.root, "--signing-key", arn, "--endpoint-url", ministack_url]
        assert ask("seal", *tokens).head()[1] == 5
        archive(folder, 7)
        kms.disable_key(KeyId=arn)
        answer = ask("seal", *tokens)
        assert (answer.code, answer.out) == (4, "")
        assert "is disabled" in answer.err
        assert len(read(folder.root, Path("kms.pub")).seals) == 1
        kms.enable_key(KeyId=arn)
        assert ask("seal", *tokens).head()[1] == 7
    assert len(sealed_segments(read(folder.root, Path("kms.pub")))) == 3


# --- two processes ---


def pass_by_pass(url: str, key: str) -> None:
    """In a process of its own: a pass for each line, by a sealer that knows nothing yet."""
    store, signer = open_store(url, endpoint_url=os.environ.get("AWS_ENDPOINT_URL")), load_signer(Path(key))
    for _ in sys.stdin:
        done = Sealer(store, TRAIL, signer).seal(now_ms())
        print(json.dumps({"seals": done.seals, "refused": len(done.refused)}), flush=True)


def race(races: int, store, source, url: str, key: Path, environ: dict[str, str]) -> None:
    """Two processes, told to seal at the same time, again and again; what both wrote is one log."""
    command = [sys.executable, "-m", "tests.system.test_seal_cli", url, str(key)]
    settings = {"PATH": os.environ["PATH"], "HOME": str(key.parent), **environ}
    with contextlib.ExitStack() as running:
        racers = [
            running.enter_context(
                subprocess.Popen(
                    command, cwd=REPOSITORY, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(2)
        ]
        written: list[str] = []
        archived: list[str] = []
        for number in range(races):
            archived += archive(store, number)
            for racer in racers:
                racer.stdin.write("seal\n")
                racer.stdin.flush()
            for racer in racers:
                answer = json.loads(racer.stdout.readline())
                assert answer["refused"] == 0
                written += answer["seals"]
        for racer in racers:
            racer.stdin.close()
            assert racer.wait(timeout=30) == 0
    log = read(source, public(key))
    assert sorted(set(written)) == [f"seals/{one['size_before']:020d}.json" for one in log.seals]
    assert sorted(sealed_segments(log)) == sorted(archived)
    assert races < len(log.seals) <= 2 * races


@pytest.mark.parametrize("races", RACES)
def test_two_processes_seal_one_folder(races, tmp_path, ask, key):
    """The link that makes a seal's name fails for the second: it reads what is there, and goes on."""
    race(races, FolderStore(tmp_path / "archive"), tmp_path / "archive", str(tmp_path / "archive"), key, {})


@pytest.mark.parametrize("races", RACES)
def test_two_processes_seal_one_bucket(races, any_bucket, on_s3, key):
    """The same by `If-None-Match`."""
    environ = {name: os.environ[name] for name in any_bucket.server.environ()}
    race(races, on_s3, on_s3, f"{any_bucket.url}/trail", key, environ)


if __name__ == "__main__":
    pass_by_pass(*sys.argv[1:])
