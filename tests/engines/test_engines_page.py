"""What docs/engines.md shows is what happens."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from tests.engines.test_trino import Runs, through_trino, told_in_runs
from tests.querying.derived_worlds import Place, make_world
from tests.querying.test_docs import NOW_MS, record

pytestmark = pytest.mark.xdist_group("spark")

PAGE = (Path(__file__).parents[2] / "docs/engines.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return found


def test_the_python_block_runs(spark, tmp_path, monkeypatch):
    """Pasted into a session, over an archive under the name that it uses."""
    new = {"status": {"S": "NEW"}}
    writer = Writer(FolderStore(tmp_path / "demo-archive"), Streams({"orders": ("customer", "order")}))
    records = [record(1, "INSERT", "0001", None, new), record(2, "MODIFY", "0001", new, {"status": {"S": "PAID"}})]
    writer.archive([*records, record(3, "REMOVE", "0002", new, None)], now_ms=NOW_MS)
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block("python"), "engines.md", "exec"), {})
    assert re.search(r"MODIFY\| +1", out.getvalue())
    *_, item = out.getvalue().splitlines()
    assert item.startswith('{"customer":{"S":"CUST#7"},"order":{"S":"0001"}}')
    assert '"PAID"' in item
    assert "0002" not in out.getvalue()


def test_the_sql_block_runs(tmp_path):
    """The rows of one partition key, from the table over the runs."""
    world = make_world(16)
    place = Place(tmp_path, apart=True, key_names=world.key_names).play(world, len(world.stages) - 1)
    place.compact()
    runs = Runs(place)
    (pk,) = {row["pk"] for row in runs.rows("runs")} & {change.pk for change in place.table().changes().changes[:1]}
    asked = through_trino(block("sql").replace("orders_runs", "audit.orders_runs")).replace("'CUST#7'", "?")
    found = runs._connection.execute(asked, [pk]).fetchall()
    in_runs = told_in_runs(world, runs)
    identities = [(change, (*change.order, change.item_key)) for change in place.table().changes(reverse=True)]
    expected = [change for change, identity in identities if change.pk == pk and identity in in_runs]
    assert expected
    assert [row[1:] for row in found] == [(change.op, change.new_image) for change in expected]


@pytest.mark.parametrize("command", re.findall(r"^\$ python -m query\.spark (.*)$", PAGE, re.MULTILINE))
def test_the_commands_of_the_job_are_understood(command):
    """Every command and option exists, and takes what is typed."""
    from query.spark.__main__ import app

    app.parse_args(shlex.split(command), exit_on_error=False, print_error=False)


def test_there_are_three_of_them():
    """A rule over none holds for ever."""
    assert len(re.findall(r"^\$ python -m query\.spark (compact|as-of|history)", PAGE, re.MULTILINE)) == 3
