"""What docs/sql.md shows is what happens: its statements are answered, its Python prints what it says."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

import query
from query.surface import RELATIONS
from tests.querying.test_docs import ROOT, archive

PAGE = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
__all__ = ["archive"]  # the fixture of the README: one archive for all pages


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


STATEMENTS = [one.strip() for block in blocks("sql") for one in block.split(";\n") if one.strip()]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_of_the_page_is_answered(statement, archive):
    """A reader pastes it, and the archive of the README has rows for it."""
    opened = query.open(str(archive / "demo-archive"))
    assert opened.sql(statement).arrow().schema.names


def test_the_python_of_the_page_prints_what_it_says(archive, monkeypatch):
    monkeypatch.chdir(archive)
    (block,) = blocks("python")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block, "docs/sql.md", "exec"), {})
    assert out.getvalue().strip() == block.split("# ")[1].strip()


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_page_tells_of_every_relation(relation):
    assert f"T.{relation}" in PAGE
