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

from query.cli import run
from tests.documenting.blocks import unquoted


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

    def type(self, command: str) -> tuple[int, str]:
        """The exit code of a command, and what it printed on stdout and stderr, in that order in time."""
        for name, ours in self._stands_for.items():
            command = command.replace(name, ours)
        first, rest = _cut(command)
        words = [os.path.expanduser(word) for word in shlex.split(first)]
        match words:
            case ["cd", folder]:
                self._monkeypatch.chdir(folder)
                return 0, ""
            case ["export", *settings]:
                self._monkeypatch.setenv("PWD", str(Path.cwd()))
                for setting in settings:
                    self._monkeypatch.setenv(*os.path.expandvars(setting).split("=", 1))
                return 0, ""
            case ["ddbtrail", *arguments]:
                return _ddbtrail(arguments, rest)
        return _bash(command)


def _cut(command: str) -> tuple[str, str]:
    """A command, and what is done with its output: `> file` or `| …`."""
    found = re.search(r"[|>]", unquoted(command))
    return (command, "") if found is None else (command[: found.start()], command[found.start() :])


def _ddbtrail(arguments: list[str], rest: str) -> tuple[int, str]:
    printed = io.StringIO()
    answer = io.StringIO() if rest else printed
    with contextlib.redirect_stdout(answer), contextlib.redirect_stderr(printed):
        code = run(arguments)
    if rest.startswith(">"):
        Path(rest[1:].strip()).write_text(answer.getvalue(), encoding="utf-8")
    elif rest:
        code, more = _bash(rest[1:], answer.getvalue())
        return code, printed.getvalue() + more
    return code, printed.getvalue()


def _bash(command: str, given: str = "") -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", command], input=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout
