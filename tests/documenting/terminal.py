"""A terminal for what pages show: ddbtrail runs in this process, everything else in bash."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from query.cli import run
from tests.documenting.blocks import unquoted


class Typed(NamedTuple):
    """What came of a command: stdout and stderr as a terminal shows them, and stdout alone."""

    code: int
    printed: str = ""
    answer: str = ""


class Terminal:
    """Commands typed one after the other in a folder, which is the home too; `stands_for` replaces what they name."""

    def __init__(self, folder: Path, monkeypatch, stands_for: Mapping[str, str] | None = None):
        self._monkeypatch = monkeypatch
        self._stands_for = stands_for or {}
        for name in [name for name in os.environ if name.startswith("DDBTRAIL_")]:
            monkeypatch.delenv(name)
        for name, value in {"HOME": folder, "DDBTRAIL_OUTPUT": "table", "COLUMNS": "100", "NO_COLOR": "1"}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.chdir(folder)

    def type(self, command: str) -> Typed:
        for name, ours in self._stands_for.items():
            command = command.replace(name, ours)
        first, rest = _cut(command)
        words = [os.path.expanduser(word) for word in shlex.split(first)]
        match words:
            case ["cd", folder]:
                self._monkeypatch.chdir(folder)
                return Typed(0)
            case ["export", *settings]:
                self._monkeypatch.setenv("PWD", str(Path.cwd()))
                for setting in settings:
                    self._monkeypatch.setenv(*os.path.expandvars(setting).split("=", 1))
                return Typed(0)
            case ["ddbtrail", *arguments]:
                return _ddbtrail(arguments, rest)
        return _bash(command)


def _cut(command: str) -> tuple[str, str]:
    """A command, and what is done with its output: `> file` or `| …`."""
    found = re.search(r"[|>]", unquoted(command))
    return (command, "") if found is None else (command[: found.start()], command[found.start() :])


def _ddbtrail(arguments: list[str], rest: str) -> Typed:
    answer, printed = io.StringIO(), io.StringIO()
    stdout = answer if rest else _Both(answer, printed)
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(printed):
        code = run(arguments)
    if rest.startswith("|"):
        piped = _bash(rest[1:], answer.getvalue())
        return Typed(piped.code, printed.getvalue() + piped.printed, piped.answer)
    if rest:
        Path(rest[1:].strip()).write_text(answer.getvalue(), encoding="utf-8")
        return Typed(code, printed.getvalue())
    return Typed(code, printed.getvalue(), answer.getvalue())


def _bash(command: str, given: str = "") -> Typed:
    done = subprocess.run(
        ["bash", "-c", command], input=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return Typed(done.returncode, done.stdout, done.stdout)


class _Both(io.StringIO):
    """What is written here goes to two places."""

    def __init__(self, *places: io.StringIO):
        super().__init__()
        self._places = places

    def write(self, text: str) -> int:
        for place in self._places:
            place.write(text)
        return len(text)
