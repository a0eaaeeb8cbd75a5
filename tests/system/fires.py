"""A real change history with known answers: where it stands, how it is read, how it gets into an archive."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from pathlib import Path

from query.cli import run

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "fires"


def ddbtrail(*words: str) -> list[dict]:
    """Runs a command in this process; gives its JSON Lines. It must succeed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(words))
    assert code == 0, f"{words}: exit {code}: {err.getvalue()}"
    return [json.loads(line) for line in out.getvalue().splitlines()]


def lines(name: str) -> list[dict]:
    with gzip.open(DATA / name, "rt") as file:
        return [json.loads(line) for line in file]
