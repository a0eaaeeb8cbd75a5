"""The job as a person types it: what it writes, what it says, and how it ends."""

from __future__ import annotations

import contextlib
import io
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from query.derived.live import live_runs
from query.instant import format_ms
from query.source import FolderSource
from tests.engines.test_spark_answers import played, read_states
from tests.querying.derived_worlds import TRAIL
from tests.simulator.real import LONG_AFTER_MS

pytestmark = pytest.mark.xdist_group("spark")

CONFLICTING, QUIET = 9, 44  # a world with conflicts and gaps; one without conflicts


@pytest.fixture
def job(spark, tmp_path, monkeypatch) -> Any:
    """Runs a command in the session of these tests, with no configuration of the person who runs them."""
    import query.spark.__main__ as main

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    @contextlib.contextmanager
    def shared():
        yield spark

    monkeypatch.setattr(main, "_session", shared)
    # Worlds are of any year, and an instant after now is refused.
    monkeypatch.setattr("query.cli.invocation.time", SimpleNamespace(time_ns=lambda: LONG_AFTER_MS * 1_000_000))

    def typed(command: str) -> tuple[int, str]:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            code = main.main(shlex.split(command))
        return code, err.getvalue()

    return typed


def written(folder: Path) -> list[dict]:
    return [row for path in folder.glob("*.parquet") for row in pq.ParquetFile(path).read().to_pylist()]


def test_a_table_is_written_as_of_an_instant(job, tmp_path):
    """Items that existed; what is not known is counted, an item in conflict is named, and the exit code is 4."""
    world, place = played(CONFLICTING, tmp_path / "world")
    table = place.table(with_derived=False)
    asked = ((at_ms, read_states(table, at_ms)) for at_ms in world.times)
    at_ms, (expected, conflicting) = next(one for one in asked if one[1][1] and "existed" in repr(one[1][0].values()))
    when = format_ms(at_ms)
    code, err = job(f"as-of orders {when} --to {tmp_path / 'out'} -a {place.archive_folder}")
    assert code == 4, err
    existed = {key: told[2] for key, told in expected.items() if told[0] == "existed"}
    assert {row["item_key"] for row in written(tmp_path / "out")} == existed.keys()
    assert all(f"contradicts itself about {key}" in err for key in conflicting)
    assert f"{len(existed)} item" in err
    unknown = sum(told[0] == "unknown" for told in expected.values())
    assert (f"{unknown} item" in err and "unknown then" in err) or not unknown


def test_every_version_is_written_and_strict_is_heeded(job, tmp_path):
    """One row for each change, of a table without conflicts; and of one item, asked by its key."""
    world, place = played(QUIET, tmp_path / "world")
    changes = place.table(with_derived=False).changes()
    archive = f"-a {place.archive_folder}"
    code, err = job(f"history orders --to {tmp_path / 'all'} {archive}")
    assert code == 0, err
    assert {row["change_id"] for row in written(tmp_path / "all")} == {change.change_id for change in changes}
    key = changes.changes[0].item_key
    code, err = job(f"history orders --key {shlex.quote(key)} --to {tmp_path / 'one'} {archive}")
    assert code == 0, err
    assert {row["change_id"] for row in written(tmp_path / "one")} == {
        c.change_id for c in changes if c.item_key == key
    }
    before = format_ms(world.times[0] - 86_400_000)
    asked = f"as-of orders {before} {archive} --strict --to"
    code, err = job(f"{asked} {tmp_path / 'before'}")
    assert (code, written(tmp_path / "before")) == (3, []), err
    code, err = job(f"{asked} {tmp_path / 'all-of-it'} --all")
    assert {row["outcome"] for row in written(tmp_path / "all-of-it")} == {"unknown"}


def test_compact_makes_runs_that_the_reader_takes(job, tmp_path):
    """As `ddbtrail compact` says it, and the reader answers from them."""
    _, place = played(QUIET, tmp_path / "world")
    code, err = job(f"compact orders -a {place.archive_folder} --derived {tmp_path / 'derived'}")
    assert code == 0, err
    runs = live_runs(FolderSource(tmp_path / "derived"), TRAIL)
    assert runs
    assert all(run.name.folder in err for run in runs)
    assert f"{len(runs)} runs made" in err


@pytest.mark.parametrize(
    ("typed", "code", "told"),
    [
        ("as-of orders nonsense --to out", 2, "nonsense"),
        ("as-of nothing now --to out", 2, "no table nothing"),
        ("as-of orders now", 2, "--to"),
        ("as-of orders @abc --to out", 2, "a cut at a change"),
        ("sell orders", 2, "sell"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(typed, code, told, job, tmp_path):
    """Exit code 2, in words, and nothing is written."""
    _, place = played(QUIET, tmp_path / "world")
    found, err = job(f"{typed} -a {place.archive_folder}")
    assert (found, told in err) == (code, True), err
    assert not (tmp_path / "out").exists()


def test_runs_never_go_into_an_archive_in_s3(job):
    """Its objects may be locked for years."""
    code, err = job("compact orders -a s3://acme-audit/ddbtrail")
    assert code == 2
    assert "--derived s3://" in err


def test_what_must_not_be_shown_is_not_written(job, tmp_path):
    """Spark writes images as they are, so a table of which something is redacted is refused, with the way on."""
    _, place = played(QUIET, tmp_path / "world")
    (tmp_path / "ddbtrail.toml").write_text(
        f'[archives.here]\nurl = "{place.archive_folder}"\n[archives.here.tables.orders]\nredact = ["status"]\n'
    )
    code, err = job(f"as-of orders now --to {tmp_path / 'out'} -a here")
    assert code == 2
    assert "status of orders must not be shown" in err
    assert not (tmp_path / "out").exists()
