"""A real change history with known answers, sealed as it came, over two years: the same 41 tables and 402 histories
before it was compacted, while it is, and after, with what was superseded gone. The data stands beside the repository.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import query.rows
import query.snapshots
from archiver.format.layout import StreamSource
from archiver.sealer import Sealer
from archiver.streams import Streams
from archiver.writer import Writer
from query.derived.live import live_runs
from tests.querying.derived_worlds import Place, WatchedStore
from tests.simulator.memory_store import MemoryStore
from tests.system import test_fires
from tests.system.tampered import FIRST_KEY, MINUTE_MS
from tests.system.test_fires import check_histories, check_instants_in_python, lines

pytestmark = test_fires.pytestmark


@pytest.fixture(scope="module")
def sealed(tmp_path_factory) -> Place:
    """The recorded events in their order, each archived when it happened, in batches, and sealed then. Some are of a
    time before the one that came before them."""
    store = MemoryStore()
    writer = Writer(store, Streams({"fires": ("UniqueId",)}))
    events = lines("events.jsonl.gz")
    trail = StreamSource.parse(events[0]["Records"][0]["eventSourceARN"]).trail
    now_ms, sealer = 0, Sealer(store, trail, FIRST_KEY)
    for event in events:
        records = event["Records"]
        latest_s = max(record["dynamodb"]["ApproximateCreationDateTime"] for record in records)
        now_ms = max(now_ms, round(latest_s * 1000)) + MINUTE_MS
        for start in range(0, len(records), 500):
            writer.archive(records[start : start + 500], now_ms=now_ms)
        assert not sealer.seal(now_ms).refused
    # A day later nothing new has come, and the last hour closes.
    sealer.seal(now_ms + 30 * 60 * MINUTE_MS)
    place = Place(tmp_path_factory.mktemp("fires-sealed"), now_ms=now_ms + 31 * 60 * MINUTE_MS, trail=trail)
    for name, content in store.objects.items():
        path = place.archive_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return place


def check_tables(place: Place, instants: list[dict]) -> None:
    check_instants_in_python(place.table(), instants)


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("is_large", [False, True])
def test_the_same_tables_and_histories_before_while_and_after(is_large, every, sealed, tmp_path, monkeypatch):
    """The known instants, and every version of all 402 items; small as it is, also by the roads of large trails."""
    if is_large:
        monkeypatch.setattr(query.rows, "_KEPT_BYTES", 0)
        monkeypatch.setattr(query.snapshots, "_FEWEST_CHANGES", 500)
    instants = lines("expected.jsonl.gz")
    place = Place(tmp_path / "place", now_ms=sealed.now_ms, trail=sealed.trail)
    place.archive_folder.rmdir()
    place.archive_folder.symlink_to(sealed.archive_folder)  # evidence is only read
    place.apart = True
    place.derived_folder.mkdir()
    chosen = instants[::every]

    def meanwhile(count: int) -> None:
        if count % (53 if every > 1 else 7) == 0:
            check_tables(place, instants[count % 41 : count % 41 + 1])

    opened = place.table()
    made = place.compact(WatchedStore(place.derived_folder, meanwhile))
    assert sum(run.rows for run in made) == 4316
    assert len(made) > 10, "months"
    kept = place.keep()
    assert not kept, "there is no baseline to begin with"
    evidence = place.table().evidence
    assert not evidence.segments, "everything is in runs"
    check_tables(place, chosen)
    check_instants_in_python(opened, instants[3 :: 2 * every])
    if every == 1:
        check_histories(str(place.archive_folder), tmp_path, "--derived", str(place.derived_folder))
    place.collect()
    assert len(live_runs(place.derived(), place.trail)) == len(made)
    longest = max(lines("history.jsonl.gz"), key=lambda line: len(line["versions"]))
    with_runs, without = (
        place.table(with_derived=with_derived).item(json.loads(longest["key"])[0]).history(reverse=True)
        for with_derived in (True, False)
    )
    assert len(with_runs) == 269
    assert [(one.change, one.image, one.valid_to_ms) for one in with_runs] == [
        (one.change, one.image, one.valid_to_ms) for one in without
    ]


def test_compacted_as_it_was_sealed(sealed, tmp_path):
    """Somebody compacts after each of many seals, as a schedule does: runs are merged over two years, and tell the same."""
    place = Place(tmp_path / "place", now_ms=sealed.now_ms, trail=sealed.trail)
    merged = 0
    seals = sorted((sealed.archive_folder / sealed.trail.prefix / "seals").iterdir())
    names = sorted(path for path in sealed.archive_folder.rglob("*") if path.is_file() and path.parent.name != "seals")
    for path in names:
        link(path, sealed, place)
    for number, path in enumerate(seals):
        link(path, sealed, place)
        if number % 7 == 0 or number == len(seals) - 1:
            merged += sum(run.runs > 1 for run in place.compact())
            place.collect()
    check_tables(place, lines("expected.jsonl.gz")[::14])
    assert merged > 0
    whole = Place(tmp_path / "whole", now_ms=sealed.now_ms, trail=sealed.trail)
    for path in (*names, *seals):
        link(path, sealed, whole)
    whole.compact()
    assert [run.name for run in live_runs(place.derived(), place.trail)] == [
        run.name for run in live_runs(whole.derived(), whole.trail)
    ]


def link(path: Path, sealed: Place, place: Place) -> None:
    target = place.archive_folder / path.relative_to(sealed.archive_folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.hardlink_to(path)
