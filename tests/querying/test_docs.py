"""What the README shows is what happens: its Python block and its commands run on an archive like the demo's."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from query.cli.reference import commands, help_text
from tests.delivery import delivered

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-09-01T00:00:00.000"
NOW_MS = 1_790_000_000_000


def record(
    number: int, op: str, order: str, old: dict | None, new: dict | None, *, event_id: str | None = None
) -> dict:
    return delivered(
        op,
        {"customer": {"S": "CUST#7"}, "order": {"S": order}},
        old,
        new,
        sequence_number=4_000_000_000_000_000_000_000 + number,
        changed_at_s=1_788_300_000 + number * 60,
        arn=ARN,
        event_id=event_id or f"{number:032x}",
        size_bytes=100,
    )


def write_archive(folder: Path) -> None:
    """A small archive under the names that the pages use, in `demo-archive`."""
    new, paid = {"status": {"S": "NEW"}, "total": {"N": "21.10"}}, {"status": {"S": "PAID"}, "total": {"N": "24.11"}}
    records = [
        record(1, "INSERT", "0001", None, new),
        record(2, "MODIFY", "0001", new, paid),
        record(3, "INSERT", "ORDER#0001", None, new),
        record(4, "MODIFY", "ORDER#0001", new, paid, event_id=f"{'9f31c2':0<32}"),
        record(5, "REMOVE", "0002", new, None),
    ]
    writer = Writer(FolderStore(folder / "demo-archive"), Streams({"orders": ("customer", "order")}))
    writer.archive(records, now_ms=NOW_MS)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    write_archive(folder)
    return folder


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_python_block_runs(archive, monkeypatch):
    """A reader pastes it first."""
    monkeypatch.chdir(archive)
    (block,) = blocks("python")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block, "README.md", "exec"), {})
    assert out.getvalue().splitlines()[0] == "24.11"
    assert "('status', 'NEW', 'PAID')" in out.getvalue()


def questions() -> list[str]:
    """The commands of *Ask*, without their remarks."""
    section = README.split("## Ask")[1].split("## ")[0]
    commands = [line.removeprefix("$ ddbtrail ") for line in section.splitlines() if line.startswith("$ ddbtrail ")]
    assert len(commands) == 7
    return commands


@pytest.mark.parametrize("command", questions())
def test_the_commands_of_the_readme_run(command, archive, tmp_path, monkeypatch):
    """Each question gets an answer (0), or the answer no (1, 3); none is a usage error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DDBTRAIL_ARCHIVE", str(archive / "demo-archive"))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(shlex.split(command, comments=True))
    assert code in {0, 1, 3}, err.getvalue()
    assert "Traceback" not in err.getvalue()
    if "-O" in command:
        assert os.listdir(tmp_path) == ["q2-close.parquet"]


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("infra/*.md")])


@cache
def every_help():
    return {name: help_text(name) for name in commands()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_option_that_a_page_names_exists(page):
    """Somebody types it at three in the morning."""
    helps = every_help()
    named = re.findall(
        r"(?:^\$ |`)ddbtrail ([a-z][a-z-]*(?: show| create| build| verify)?)([^`\n]*)",
        page.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    for name, rest in named:
        assert name in helps, f"{page.name}: ddbtrail {name}"
        for option in re.findall(r"(?<=\s)--?[a-zA-Z][a-z-]*", rest.split("#")[0].split(" | ")[0]):
            assert option == "--help" or re.search(rf"(?<![\w-]){option}(?![\w-])", helps[name]), (
                f"{page.name}: ddbtrail {name} {option}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page):
    """A page that was moved leaves no dead link behind."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
