"""`ddbtrail verify` as people and scripts run it: real processes, exit codes, reports; and the page that explains them."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archiver.signer import public_pem
from query.cli import run
from query.verify.problem import CODES, Verdict
from tests.system.tampered import (
    ATTACKER,
    CUSTOMERS,
    FIRST_KEY,
    ORDERS,
    Sealed,
    reference,
)

DDBTRAIL = [sys.executable, "-c", "from query.cli import main; main()"]
PAGE = Path(__file__).parents[2] / "docs" / "verify.md"
REPORT = {
    *("table_name", "trail", "archive", "exit_code", "level", "verified_at", "key_fingerprint", "pinned_checkpoint"),
    *("max_age_s", "requested", "covered", "checkpoint", "sealed_to", "sealed_at", "totals", "verdicts", "codes"),
    *("findings", "not_checked"),
}


class Desk:
    """A reviewer's desk: an archive that somebody may have spoilt, a public key, a checkpoint that was kept."""

    def __init__(self, folder: Path, sealed: Sealed):
        self.archive, self.sealed, self.folder = folder / "archive", sealed, folder
        sealed.write_to(self.archive)
        self.key, self.checkpoint = folder / "key.pub", folder / "checkpoint.txt"
        self.key.write_bytes(public_pem(FIRST_KEY.public_key))
        self.checkpoint.write_bytes(sealed.seal(-1).checkpoint.compose())

    def path(self, name: str) -> Path:
        return self.archive / name

    def tokens(self, *more: str, table: str = "orders", key: Path | None = None) -> list[str]:
        return ["verify", table, "-a", str(self.archive), "--pinned-key", str(key or self.key), *more]

    def verify(self, *more: str, **options) -> subprocess.CompletedProcess[str]:
        """A process of its own, with nothing of this machine's configuration."""
        return subprocess.run(
            [*DDBTRAIL, *self.tokens(*more, **options)], env=environ(), capture_output=True, text=True, cwd=self.folder
        )


def environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DDBTRAIL_", "AWS_"))}
    return {**kept, "HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}


@pytest.fixture
def desk(tmp_path) -> Desk:
    """As of now, since the command reads the clock."""
    return Desk(tmp_path, reference(time.time_ns() // 1_000_000))


# --- the report ---


@pytest.mark.parametrize("level", ["--quick", "--full"])
def test_a_sealed_archive_is_verified(desk, level):
    """Offline, in a process that has no AWS: the answer is 0, and says what nobody looked at."""
    done = desk.verify(level, "--pinned-checkpoint", str(desk.checkpoint), "-o", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert report.keys() >= REPORT
    assert (report["exit_code"], report["findings"], report["codes"]) == (0, [], {})
    assert report["level"] == level[2:]
    assert report["checkpoint"].encode() == desk.checkpoint.read_bytes()
    assert report["pinned_checkpoint"]["size"] == desk.sealed.seal(-1).head.size
    assert {entry["check"] for entry in report["not_checked"]} == {"versions", "failed batches", "reconciliation"}
    totals = report["totals"]
    assert (totals["seals"], totals["segments"], totals["records"]) == (6, 7, 9)
    assert (totals["rows_checked"] > 0) == (level == "--full")


def test_people_get_a_line_for_each_thing_and_a_verdict(desk):
    """The last line says it in words; nothing is told by colour alone."""
    done = desk.verify("--full", "-o", "table")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "verified: every check that was asked for passed"
    assert [line for line in lines if line.startswith("✓ log: 6 seals valid")]


def test_a_finding_says_what_where_and_what_to_do(desk):
    """A person must be able to go on from it."""
    name = desk.sealed.segments[0]
    desk.path(name).write_bytes(desk.path(name).read_bytes() + b"x")
    done = desk.verify("-o", "table")
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert line.startswith(f"✗ digest-mismatch: {name.removeprefix(ORDERS.prefix)[:40]}")
    assert CODES["digest-mismatch"][1] in line
    assert done.stdout.splitlines()[-1].startswith("TAMPERED")


def test_names_cannot_steer_the_terminal_or_break_the_report(desk):
    """Whoever can write to the archive chooses the names in it, also names that are no text."""
    folder = desk.path(ORDERS.prefix) / "segments"
    (folder / "\x1b[2J\u202eevil.parquet").write_bytes(b"x")
    (folder / os.fsdecode(b"\xff.parquet")).write_bytes(b"x")
    for form in ("table", "json", "jsonl", "csv"):
        done = subprocess.run([*DDBTRAIL, *desk.tokens("-o", form)], env=environ(), capture_output=True)
        assert done.returncode == 1, (form, done.stdout, done.stderr)
        assert b"foreign-object" in done.stdout, (form, done.stderr)
        assert b"\x1b[2J" not in done.stderr
        if form in {"table", "json", "jsonl"}:
            assert b"\x1b" not in done.stdout


# --- one of each class of attack, by its exit code ---


def flip(desk: Desk, name: str) -> None:
    content = bytearray(desk.path(name).read_bytes())
    content[len(content) // 2] ^= 4
    desk.path(name).write_bytes(bytes(content))


def delete_all(desk: Desk) -> None:
    for name in desk.sealed.objects:
        desk.path(name).unlink()


def rename_segment(desk: Desk) -> None:
    name = desk.sealed.segments[0]
    desk.path(name).rename(desk.path(name).with_name(desk.path(name).name.replace("1-", "2-", 1)))


def delete_last(desk: Desk, count: int = 1) -> None:
    for name in desk.sealed.seals[-count:]:
        desk.path(name).unlink()


def swap_trails(desk: Desk) -> None:
    one, other = desk.path(ORDERS.prefix), desk.path(CUSTOMERS.prefix)
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def unannounced(desk: Desk) -> None:
    """A sound segment of another trail's making, in an hour that was sealed long ago."""
    from tests.system.test_tamper import forge_segment

    spoilt = desk.sealed.copy()
    name = forge_segment(spoilt, -40)
    desk.path(name).parent.mkdir(parents=True, exist_ok=True)
    desk.path(name).write_bytes(spoilt.objects[name])


CASES = {
    "a bit of a segment": (lambda desk: flip(desk, desk.sealed.segments[1]), (), 1),
    "a bit of a seal": (lambda desk: flip(desk, desk.sealed.seals[1]), (), 1),
    "a bit of a baseline": (lambda desk: flip(desk, desk.sealed.named("baselines/")[1]), (), 1),
    "a segment deleted": (lambda desk: desk.path(desk.sealed.segments[1]).unlink(), (), 3),
    "a middle seal deleted": (lambda desk: desk.path(desk.sealed.seals[2]).unlink(), (), 3),
    "the newest seal deleted, checkpoint pinned": (delete_last, ("--pinned-checkpoint", "checkpoint.txt"), 3),
    "the newest two deleted": (lambda desk: delete_last(desk, 2), (), 3),
    "a segment renamed": (rename_segment, (), 1),
    "trails swapped": (swap_trails, (), 1),
    "a forged segment in an old hour": (unannounced, (), 1),
    "everything deleted": (delete_all, (), 3),
    "a limit that the newest seal exceeds": (lambda _: None, ("--max-age", "1m"), 3),
    "a limit that it does not": (lambda _: None, ("--max-age", "10m"), 0),
    "since a checkpoint": (lambda _: None, ("--since-checkpoint", "checkpoint.txt"), 0),
    "a period before the trail": (lambda _: None, ("--during", "2020"), 3),
    "until before the trail": (lambda _: None, ("--until", "2020-01-01T00:00:00Z"), 3),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_attack_ends_the_process_with_its_code(desk, case):
    """Through a real process: what a cron job sees."""
    attack, more, expected = CASES[case]
    attack(desk)
    done = desk.verify(*more, "-o", "json")
    assert done.returncode == expected, done.stdout + done.stderr
    assert json.loads(done.stdout)["exit_code"] == expected


def test_a_trail_that_nobody_knows_is_incomplete(desk):
    """Not a mistake of whoever typed it: it may have been there yesterday."""
    done = desk.verify("-o", "json", table="nowhere")
    assert done.returncode == 3
    assert json.loads(done.stdout)["codes"] == {"no-trail": 1}


def test_without_a_key_nothing_is_verified(desk):
    """Whoever made the archive could have made the seals."""
    done = subprocess.run(
        [*DDBTRAIL, "verify", "orders", "-a", str(desk.archive), "-o", "json"], env=environ(), capture_output=True
    )
    assert done.returncode == 4
    assert json.loads(done.stdout)["codes"] == {"key-not-pinned": 1}


def test_the_key_of_somebody_else_is_tampering(desk):
    """Or the reviewer's mistake: nobody can tell, so it is told as the worse of the two."""
    other = desk.folder / "other.pub"
    other.write_bytes(public_pem(ATTACKER.public_key))
    assert desk.verify(key=other).returncode == 1


def test_an_archive_that_is_not_there_cannot_be_checked(desk):
    """A wrong path is neither empty nor whole."""
    done = subprocess.run(
        [*DDBTRAIL, "verify", "orders", "-a", str(desk.folder / "nowhere"), "--pinned-key", str(desk.key)],
        env=environ(),
        capture_output=True,
    )
    assert done.returncode == 4


@pytest.mark.parametrize(
    "more",
    [
        ("--quick", "--full"),
        ("--max-age", "soon"),
        ("--max-age", "-1h"),
        ("--pinned-checkpoint", "key.pub"),
        ("--pinned-checkpoint", "nowhere.txt"),
        ("--pinned-checkpoint", "checkpoint.txt", "--since-checkpoint", "checkpoint.txt"),
        ("--during", "2026-13"),
        ("--since", "2026-11-02T00:00:00Z", "--until", "2026-11-01T00:00:00Z"),
    ],
    ids=" ".join,
)
def test_a_mistake_in_what_was_typed_is_2(desk, more, monkeypatch):
    """Never a verdict on the archive."""
    monkeypatch.chdir(desk.folder)
    assert run(desk.tokens(*more)) == 2


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_holds_no_public_key_is_2(desk, content):
    """A private key too: a reviewer should not have it."""
    desk.key.write_bytes(content)
    assert run(desk.tokens()) == 2


# --- fail closed ---


def test_a_reader_that_has_seen_enough_does_not_make_it_0(desk):
    """`ddbtrail verify ... | head -1` closes the pipe: the exit code is still that of the archive."""
    flip(desk, desk.sealed.segments[1])
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run([*DDBTRAIL, *desk.tokens()], env=environ(), stdout=closed, stderr=subprocess.PIPE)
    assert done.returncode == 1, done.stderr


@pytest.mark.parametrize("is_spoilt", [False, True], ids=["sound", "spoilt"])
def test_a_report_that_cannot_be_written_does_not_make_it_0(desk, is_spoilt):
    """The disk is full: nobody will read that all is well, so it is 4; what was found stays what it is."""
    if is_spoilt:
        flip(desk, desk.sealed.segments[1])
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*DDBTRAIL, *desk.tokens("-o", "json")], env=environ(), stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == (1 if is_spoilt else 4), done.stderr


def test_what_is_no_file_is_not_waited_for(desk):
    """A pipe among the segments would be read for ever; a link to nothing is not the object that its name says."""
    name = desk.path(desk.sealed.segments[1])
    for make in (
        lambda: os.mkfifo(name),
        lambda: name.symlink_to("/nonexistent"),
        lambda: name.symlink_to("/dev/zero"),
    ):
        name.unlink()
        make()
        done = subprocess.run([*DDBTRAIL, *desk.tokens()], env=environ(), capture_output=True, timeout=60)
        assert done.returncode == 4, done.stdout


@pytest.mark.parametrize("megabytes", [400, 500, 600, 1_000])
def test_a_process_without_memory_accuses_nobody(desk, megabytes):
    """What a machine cannot hold was not looked at, and is no evidence of anything: 4, or an end without a verdict (a
    library that gives up ends the process). 0 only with a report that says so."""
    limit = megabytes * 1_000_000
    done = subprocess.run(
        [*DDBTRAIL, *desk.tokens("--full", "-o", "json")],
        env={**environ(), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode not in {1, 2, 3}, (done.stdout, done.stderr)
    if done.returncode == 0:
        report = json.loads(done.stdout)
        assert (report["exit_code"], report["findings"]) == (0, [])
        assert report["totals"]["rows_checked"] > report["totals"]["records"]


# --- the page ---


def test_the_page_explains_every_code():
    """A code that nobody explains is a riddle; one that is explained and gone is another."""
    rows = re.findall(r"^\| `([a-z-]+)` \| ([134]) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {code: str(verdict.value) for code, (verdict, _) in CODES.items()}
    assert len(rows) == len(CODES)


def test_every_verdict_is_an_exit_code_and_the_worst_one_counts():
    """1 outranks 3, and 3 outranks 4."""
    assert [verdict.value for verdict in Verdict] == [1, 3, 4]
