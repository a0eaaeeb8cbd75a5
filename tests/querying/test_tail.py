"""`tail -f` as a process: what is archived while it looks is shown, each change once, until it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import orjson
import pytest

from tests.querying.test_cli import ROOT, change, change_id, write


@pytest.fixture
def followed(tmp_path):
    """A process that follows `who` in an archive of two changes, and the folder."""
    folder = write(tmp_path, [record(1), record(2)])
    told = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "DDBTRAIL_ARCHIVE": str(folder)}
    words = ["tail", "who", "-n", "1", "-f", "--every", "1s", "-o", "jsonl"]
    command = [sys.executable, "-c", "from query.cli import main; main()", *words]
    with subprocess.Popen(command, env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process, tmp_path
        process.kill()


def record(number):
    return change("who", number, "INSERT", {"id": {"S": f"item {number}"}}, None, {"n": {"N": str(number)}})


def shown(process):
    return orjson.loads(process.stdout.readline())["change_id"]


def test_what_comes_is_shown_once_until_it_is_stopped(followed):
    """Over several looks; a batch that is delivered again, beside another change, adds only that one."""
    process, folder = followed
    assert shown(process) == change_id("who", 2)
    write(folder, [record(3)])
    assert shown(process) == change_id("who", 3)
    write(folder, [record(3), record(4)])
    write(folder, [record(5)])
    assert sorted([shown(process), shown(process)]) == sorted([change_id("who", 4), change_id("who", 5)])
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (130, b"")
    assert b"Traceback" not in errors
