"""`ddbtrail coverage`: what is covered, what each detector found and cannot see, and the exit code that scripts use."""

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import query
from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import Trail, label_time_ms
from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.canary_chain import COUNTER
from query.cli import run
from query.completeness import BLIND_TO
from query.coverage import Coverage, LabelSpan, Stretch, TableEnd, coverage_of
from tests.archiving.failures import on_failure
from tests.archiving.test_baseline import MadeExport
from tests.querying.test_canary_chain import canary_changes
from tests.querying.test_image_chain import LABEL, LATER_LABEL, ONE, T0, THREE, TWO, change

ARN = f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{LABEL}"
INTACT = [change(1, "INSERT", None, ONE), change(2, "MODIFY", ONE, TWO)]
BROKEN = [change(1, "INSERT", None, ONE), change(4, "MODIFY", THREE, TWO)]
ELSEWHERE = {"second-reader", "reconciliation", "canary"}


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A function that archives records into a folder and gives its path."""
    for name in ("DDBTRAIL_ARCHIVE", "DDBTRAIL_ON_FAILURE", "DDBTRAIL_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "archive"

    def made(*records):
        Writer(FolderStore(folder), Streams()).archive(list(records), now_ms=T0 * 1000)
        return str(folder)

    return made


def report(capsys, *tokens):
    """Exit code and document of `coverage -o json`."""
    code = run(["coverage", "orders", "-o", "json", *tokens])
    return code, json.loads(capsys.readouterr().out)


def results(document):
    return {detector["check"]: detector["result"] for detector in document["detectors"]}


# --- what is covered ---


def stretches_of(starts, lengths):
    made = [
        Stretch(f"{number}", start, start + length)
        for number, (start, length) in enumerate(zip(sorted(starts), lengths, strict=True))
    ]
    return [*made[:-1], Stretch(made[-1].stream_label, made[-1].since_ms, None)]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), min_size=1, max_size=5),
    st.integers(0, 40),
    st.integers(1, 60),
)
def test_what_is_uncovered_is_what_no_label_covers(told, since_ms, length):
    """Instant by instant, also where the stretches of two streams overlap: one rule, asked in two ways."""
    coverage = Coverage(tuple(stretches_of([start for start, _ in told], [length for _, length in told])))
    until_ms = since_ms + length
    parts = coverage.uncovered(since_ms, until_ms)
    told_of = {at for part in parts for at in range(part.since_ms, part.until_ms)}
    assert told_of == {at for at in range(since_ms, until_ms) if coverage.covering(at) is None}
    assert all(one.until_ms < other.since_ms or one.cause != other.cause for one, other in pairwise(parts))
    assert all((part.cause == "before-coverage") == coverage.is_before(part.since_ms) for part in parts)


@pytest.mark.parametrize(
    ("ends", "cause"),
    [((), "between-streams"), ((TableEnd(50, "b"),), "between-tables"), ((TableEnd(1, "a"),), "between-streams")],
)
def test_a_gap_says_whether_another_table_begins_after_it(ends, cause):
    """A stream that was off and a table that was made anew are explained to an auditor in different words."""
    coverage = Coverage((Stretch("a", 0, 10), Stretch("b", 50, None)), ends)
    (gap,) = coverage.uncovered(0, 100)
    assert (gap.since_ms, gap.until_ms, gap.cause) == (10, 50, cause)


def test_each_of_several_gaps_has_its_own_cause():
    """Also beside a stream of which a single record is left: its stretch is an instant."""
    stretches = (Stretch("a", 0, 10), Stretch("b", 20, 20), Stretch("c", 50, None))
    for end, causes in (("b", ["between-tables", "between-streams"]), ("c", ["between-streams", "between-tables"])):
        parts = Coverage(stretches, (TableEnd(0, end),)).uncovered(0, 100)
        assert [(part.since_ms, part.until_ms) for part in parts] == [(10, 20), (20, 50)]
        assert [part.cause for part in parts] == causes


@pytest.mark.parametrize(
    ("stretches", "gaps"),
    [
        ([], ()),
        ([Stretch("a", 0, None)], ()),
        ([Stretch("a", 0, 10), Stretch("b", 10, None)], ()),
        ([Stretch("a", 0, 10), Stretch("b", 11, None)], ((10, 11),)),
        ([Stretch("a", 0, 10), Stretch("b", 9, None)], ()),
        ([Stretch("a", 0, 10), Stretch("b", 20, 30), Stretch("c", 40, None)], ((10, 20), (30, 40))),
        ([Stretch("a", 0, None), Stretch("b", 20, None)], ()),
    ],
)
def test_a_gap_lies_between_the_end_of_one_stream_and_the_beginning_of_the_next(stretches, gaps):
    """Streams that touch or overlap leave none, and one that goes on has no end."""
    assert Coverage(tuple(stretches)).gaps == gaps


def test_a_stretch_begins_with_its_first_instant_and_ends_before_its_last():
    """Half open on either side of a gap; without anything archived nothing is covered."""
    coverage = Coverage((Stretch("a", 10, 20), Stretch("b", 30, None)))
    assert coverage.covered_since_ms == 10
    assert coverage.covered == ((10, 20), (30, None))
    assert [coverage.covering(at) for at in (9, 10, 19, 20, 29, 30, 99)] == [None, "a", "a", None, None, "b", "b"]
    assert [coverage.is_before(at) for at in (9, 10, 20)] == [True, False, False]
    assert Coverage(()).covered_since_ms is None
    assert Coverage(()).covering(10) is None


def test_a_table_lasts_from_its_first_label_until_that_of_the_next():
    """Told by an instant and by a label, at the last of one table and the first of the next."""
    coverage = Coverage((), (TableEnd(10, "b"), TableEnd(20, "d")))
    tables = [("", "b"), ("b", "d"), ("d", "~")]
    assert [coverage.table_at(at) for at in (9, 10, 19, 20)] == [tables[0], tables[1], tables[1], tables[2]]
    assert [coverage.table_of(label) for label in "abcde"] == [*tables[:1], *tables[1:2] * 2, *tables[2:] * 2]


LABELS = ["2026-09-01T00:00:00.000", "2026-09-02T00:00:00.000", "2026-09-03T00:00:00.000", "2026-09-04T00:00:00.000"]


def stream(label, table_id):
    arn = f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{label}"
    return StreamDescription(arn, (("id", "S"),), table_id, None)


def test_coverage_is_put_together_from_records_and_baselines_of_each_label():
    """In order of label whatever the order of what is told; a baseline widens the stretch of its own stream only."""
    spans = [LabelSpan(LABELS[1], 50, 60), LabelSpan(LABELS[0], 10, 20), LabelSpan(LABELS[2], 70, 80)]

    def baseline(from_ms, to_ms, label):
        return BaselineDescription(True, from_ms, to_ms, 0, (("id", "S"),), "", (), label, None)

    beside = [
        baseline(5, 25, LABELS[0]),
        baseline(15, 18, LABELS[0]),
        baseline(0, 99, None),
        baseline(71, 99, LABELS[2]),
    ]
    coverage = coverage_of(spans, {}, beside)
    assert coverage == Coverage(
        (Stretch(LABELS[0], 5, 25), Stretch(LABELS[1], 50, 60), Stretch(LABELS[2], 70, None)), (), 80
    )
    assert coverage_of([], {}) == Coverage((), (), None)
    assert spans[0].longest_file_rows == 0, "no file was read"


def test_a_table_ends_where_the_id_changes():
    """A label without an id belongs to the table before it, also when the same id comes after it."""
    spans = [LabelSpan(label, 10, 20) for label in LABELS]
    ids = {LABELS[0]: "one", LABELS[2]: "one", LABELS[3]: "two"}
    coverage = coverage_of(spans, {label: stream(label, table_id) for label, table_id in ids.items()})
    assert coverage.ends == (TableEnd(label_time_ms(LABELS[3]), LABELS[3]),)
    unknown = {LABELS[0]: stream(LABELS[0], None), LABELS[1]: stream(LABELS[1], "two")}
    assert coverage_of(spans, unknown).ends == ()


# --- the report ---


def test_a_whole_trail_exits_0_and_names_what_was_not_checked(archive, capsys):
    """And does not call itself complete: three detectors are named that nobody asked."""
    code, document = report(capsys, "-a", archive(*INTACT))
    assert code == 0
    expected = dict.fromkeys(("coverage", "image-chain", "quarantine", "conflicts"), "passed")
    assert results(document) == expected | dict.fromkeys(("held-back", *ELSEWHERE), "not-checked")
    assert (document["links"], document["links_compared"], document["missing"]) == (1, 1, [])
    told = {detector["check"]: detector["cannot_see"] for detector in document["detectors"]}
    assert all(told[check] for check in results(document))
    assert "complete" not in json.dumps(document)


def test_every_detector_says_what_it_cannot_see():
    """Who reads "passed" must know of what."""
    detectors = {"coverage", "image-chain", "held-back", "quarantine", "conflicts"} | ELSEWHERE
    assert set(BLIND_TO) == detectors


def test_a_break_exits_3_and_names_item_and_changes(archive, capsys):
    """Which item, between which changes: what somebody has to look for."""
    code, document = report(capsys, "-a", archive(*BROKEN))
    assert code == 3
    assert results(document)["image-chain"] == "failed"
    (missing,) = document["missing"]
    assert missing["item_key"] == {"id": "a"}
    assert (missing["since_change_id"], missing["until_change_id"]) == (f"{1:032x}", f"{4:032x}")
    assert (missing["missing"], missing["op"], missing["changed_attributes"]) == ("image-break", "MODIFY", ["n"])


@pytest.mark.parametrize(
    ("during", "code"),
    [
        (("--since", f"@{T0 + 5}"), 0),
        (("--since", f"@{T0 + 4}"), 3),
        (("--until", f"@{T0 + 2}"), 3),
        (("--during", "2026-09-15"), 3),
    ],
)
def test_a_range_leaves_out_breaks_outside_it(archive, capsys, during, code):
    """A known old gap must not fail every report for ever."""
    assert report(capsys, "-a", archive(*BROKEN), *during)[0] == code


def test_a_range_before_the_trail_is_not_whole(archive, capsys):
    """No finding in no time at all is not good news."""
    assert run(["coverage", "orders", "-a", archive(*INTACT), "--until", f"@{T0 + 1}"]) == 3
    assert "covers nothing before 2026-09-15T00:00:01Z" in capsys.readouterr().err


def test_a_gap_between_streams_exits_3_with_its_stretch(archive, capsys):
    """Its changes are lost, though no item may tell."""
    later = change(1, "MODIFY", TWO, ONE, label=LATER_LABEL, at_s=T0 + 7200)
    code, document = report(capsys, "-a", archive(*INTACT, later))
    assert code == 3
    assert results(document) | {"coverage": "failed", "image-chain": "passed"} == results(document)
    (gap,) = document["missing"]
    assert (gap["missing"], gap["since"], gap["until"]) == ("uncovered", "2026-09-15T00:00:02Z", "2026-09-15T02:00:00Z")


def test_a_record_in_quarantine_exits_3(archive, capsys):
    """It was received, and no answer uses it; also one that does not say its table."""
    folder = archive(*INTACT, {"not": "a record"})
    code, document = report(capsys, "-a", folder)
    assert (code, results(document)["quarantine"]) == (3, "failed")


def test_a_conflict_exits_3(archive, capsys):
    """Evidence that contradicts itself is not whole evidence."""
    folder = archive(change(1, "INSERT", None, ONE))
    archive(change(1, "INSERT", None, TWO))
    code, document = report(capsys, "-a", folder)
    assert (code, results(document)["conflicts"]) == (3, "failed")


def test_without_images_the_chain_warns_that_it_saw_nothing(archive, capsys):
    """A chain that compared nothing has not passed."""
    keys_only = [change(n, "MODIFY", view="KEYS_ONLY") for n in (1, 2)]
    code, document = report(capsys, "-a", archive(*keys_only))
    assert (code, results(document)["image-chain"]) == (0, "warning")


# --- what is held back ---


@pytest.fixture
def destination(tmp_path):
    """A function that puts on-failure records into a folder, named as Lambda names them, and gives its path."""
    folder = tmp_path / "on-failure" / "aws" / "lambda" / "mapping" / "shardId-1" / "2026" / "09" / "15"
    folder.mkdir(parents=True)

    def made(*documents):
        for number, document in enumerate(documents):
            (folder / f"2026-09-15T00.00.00-{number}").write_text(
                document if isinstance(document, str) else json.dumps(document)
            )
        return str(tmp_path / "on-failure")

    return made


@pytest.mark.parametrize(
    ("documents", "result", "told"),
    [
        ([], "passed", "nothing of this table"),
        ([on_failure(INTACT, ARN)], "passed", "all of 1 object"),
        ([on_failure(INTACT, ARN), on_failure(INTACT[:1], ARN)], "passed", "all of 2 objects"),
        ([on_failure([*INTACT, change(3, "REMOVE", TWO)], ARN)], "failed", "1 change not archived, of 1 object"),
        ([on_failure([change(2, "MODIFY", ONE, TWO, key="b")], ARN)], "failed", "1 change not archived"),
        ([on_failure(INTACT, ARN, has_payload=False)], "failed", "1 object that cannot be told of"),
        (
            [on_failure([*INTACT, {**INTACT[0], "dynamodb": {**INTACT[0]["dynamodb"], "Keys": {}}}], ARN)],
            "failed",
            "1 object that cannot",
        ),
        (["not json"], "failed", "1 object that cannot be told of"),
        (["[" * 100_000], "failed", "1 object that cannot be told of"),
        (["{}"], "failed", "1 object that cannot be told of"),
        ([on_failure(INTACT, ARN.replace("orders", "others"))], "passed", "nothing of this table"),
    ],
)
def test_what_is_held_back_is_compared_with_what_is_archived(archive, destination, capsys, documents, result, told):
    """An object that stays in the bucket after its replay is no alarm; one that nobody understands is."""
    code, document = report(capsys, "-a", archive(*INTACT), "--on-failure", destination(*documents))
    (found,) = (detector for detector in document["detectors"] if detector["check"] == "held-back")
    assert found["result"] == result
    assert told in found["detail"]
    assert code == (0 if result == "passed" else 3)
    if result == "failed":
        assert found["fix"] == "ddbtrail replay orders"


def test_the_number_of_a_held_back_change_may_be_spelled_with_zeros(archive, destination, capsys):
    """Sequence numbers are numbers: a stream that pads them names the same change."""
    padded = change(1, "INSERT", None, ONE)
    padded["dynamodb"]["SequenceNumber"] = padded["dynamodb"]["SequenceNumber"].zfill(30)
    _, document = report(capsys, "-a", archive(*INTACT), "--on-failure", destination(on_failure([padded], ARN)))
    assert results(document)["held-back"] == "passed"


def test_many_held_back_changes_are_compared_a_part_at_a_time(archive, destination, capsys, monkeypatch):
    """And none is left out where one part ends."""
    monkeypatch.setattr("query.held_back._IDENTITIES_AT_ONCE", 2)
    monkeypatch.setattr("query.held_back._OBJECTS_AT_ONCE", 2)
    records = [change(n, "MODIFY", ONE, TWO) for n in range(10, 17)]
    documents = [on_failure(records[:3], ARN), on_failure(records[3:4], ARN), on_failure(records[4:], ARN)]
    _, document = report(capsys, "-a", archive(*INTACT), "--on-failure", destination(*documents))
    (found,) = (detector for detector in document["detectors"] if detector["check"] == "held-back")
    assert "7 changes not archived, of 3 objects" in found["detail"]


def test_a_destination_that_cannot_be_read_exits_4_but_never_hides_a_break(archive, capsys, tmp_path):
    """It was asked for, and nobody looked; what is known to be missing says so first."""
    nowhere = str(tmp_path / "nowhere")
    code, document = report(capsys, "-a", archive(*INTACT), "--on-failure", nowhere)
    assert (code, results(document)["held-back"]) == (4, "not-checked")
    archive(change(9, "REMOVE", THREE))
    assert report(capsys, "-a", archive(*INTACT), "--on-failure", nowhere)[0] == 3


# --- the table, or an export of it ---

EXPORT_S = 1_793_777_314  # after T0, and long ago


@pytest.fixture
def export(tmp_path):
    """A function that makes a full export of items and gives its folder."""

    def made(*items, **damage):
        written = MadeExport(tmp_path / "export", [[{"id": {"S": name}, **image} for name, image in items]])
        written.summary |= damage
        return str(written.write())

    return made


def reconciliation(document):
    (found,) = (detector for detector in document["detectors"] if detector["check"] == "reconciliation")
    return found["result"], found["detail"]


def test_a_trail_in_runs_is_compared_too(archive, export, capsys, tmp_path):
    """And none that could not be compared at all passes."""
    folder = Path(archive(*INTACT))
    create_key(tmp_path / "key")
    trail = query.open(str(folder)).trail("orders")
    for hours in (2, 30):
        Sealer(FolderStore(folder), trail, load_signer(tmp_path / "key")).seal((T0 + hours * 3_600) * 1000)
    assert run(["compact", "orders", "-a", str(folder), "-q"]) == 0
    assert query.open(str(folder)).table("orders").evidence.runs
    capsys.readouterr()
    other = export(("a", ONE))
    code, document = report(capsys, "-a", str(folder), "--reconcile", other)
    assert (code, reconciliation(document)[0], document["reconciliation"]["items_compared"]) == (3, "failed", 1)
    verify = ["verify", "orders", "-a", str(folder), "--pinned-key", str(tmp_path / "key.pub"), "--max-age", "90000h"]
    assert run([*verify, "--reconcile", other, "-o", "json"]) == 3
    assert [one["code"] for one in json.loads(capsys.readouterr().out)["findings"]] == ["not-reconciled"]
    archive(change(3, "MODIFY", TWO, THREE, at_s=1_793_777_280))  # while the export was made
    assert run([*verify, "--reconcile", other, "-o", "json"]) == 4
    assert [one["code"] for one in json.loads(capsys.readouterr().out)["findings"]] == ["not-checkable"]


def test_a_table_that_holds_what_the_trail_says_passes(archive, export, capsys):
    """And it is said how many items were compared, and what that cannot see."""
    code, document = report(capsys, "-a", archive(*INTACT), "--reconcile", export(("a", TWO)))
    assert (code, reconciliation(document)) == (0, ("passed", "1 item compared"))
    assert document["reconciliation"] == {
        "since": "2026-11-04T07:27:34Z",
        "until": "2026-11-04T07:29:35Z",
        "items": 1,
        "items_compared": 1,
        "items_changed_meanwhile": 0,
        "items_unknown": 0,
        "items_in_conflict": 0,
        "items_settled": 0,
        "items_different": 0,
    }


@pytest.mark.parametrize(
    ("items", "told", "op", "cause"),
    [
        ([("a", THREE)], "1 with another content", "MODIFY", "differs"),
        ([], "1 that the table does not have", "REMOVE", "not-in-table"),
        ([("a", TWO), ("b", ONE)], "1 that the trail does not have", "INSERT", "missing-in-archive"),
    ],
)
def test_an_item_that_the_table_holds_otherwise_exits_3(archive, export, capsys, items, told, op, cause):
    """The last change of an item is lost, and no image says so: which item, since which change, until when."""
    tokens = ["-a", archive(*INTACT), "--reconcile", export(*items), "--from-beginning"]
    code, document = report(capsys, *tokens)
    assert (code, reconciliation(document)[0]) == (3, "failed")
    assert told in reconciliation(document)[1]
    (missing,) = document["missing"]
    assert (missing["missing"], missing["op"], missing["cause"]) == ("reconciliation", op, cause)
    assert missing["until"] == "2026-11-04T07:29:35Z"
    assert missing["since_change_id"] == (None if op == "INSERT" else f"{2:032x}")
    assert missing["since"] == (None if op == "INSERT" else "2026-09-15T00:00:02Z")
    assert run(["coverage", "orders", "-o", "table", "--full", *tokens]) == 3
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("missing"))
    assert f"  {'no change' if op == 'INSERT' else '@'}" in line
    assert f"  {op}" in line
    assert line.endswith(f"table 2026-11-04T07:29:35Z  {cause}")


def test_items_of_which_the_trail_cannot_tell_are_a_warning(archive, export, capsys):
    """They may rest since before the trail began; nobody is accused, and nobody is told that all is well."""
    code, document = report(capsys, "-a", archive(*INTACT), "--reconcile", export(("a", TWO), ("b", ONE)))
    assert (code, reconciliation(document)) == (
        0,
        ("warning", "1 item compared; 1 of which the trail cannot tell"),
    )


def test_a_comparison_of_nothing_is_none(archive, export, capsys):
    """Where the trail can tell of no item, nobody has looked."""
    spoiled = change(1, "INSERT", None, ONE)
    spoiled["eventName"] = "UPSERT"
    tokens = ["--reconcile", export(("b", ONE)), "--key-schema", "id"]
    _, document = report(capsys, "-a", archive(spoiled), *tokens)
    told = "no item could be compared (0 items compared; 1 of which the trail cannot tell)"
    assert reconciliation(document) == ("not-checked", told)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"exportType": "INCREMENTAL_EXPORT"}, "a baseline needs a full export"),
        ({"tableArn": "arn:aws:dynamodb:eu-west-1:111122223333:table/others"}, "is of 111122223333/eu-west-1/others"),
        ({"itemCount": 7}, "manifest-summary.json says 7"),
    ],
)
def test_an_export_that_is_not_the_one_meant_exits_4(archive, export, capsys, damage, told):
    """It was asked for, and nothing was compared. Found out at its beginning or at its end."""
    code, document = report(capsys, "-a", archive(*INTACT), "--reconcile", export(("a", THREE), **damage))
    assert (code, reconciliation(document)[0], document["missing"]) == (4, "not-checked", [])
    assert told in reconciliation(document)[1]


def test_a_file_of_the_export_that_was_changed_exits_4(archive, export, capsys):
    """Its checksum is in the manifest: what somebody made of it afterwards accuses nobody."""
    folder = Path(export(("a", TWO)))
    (data,) = (folder / "data").iterdir()
    data.write_bytes(data.read_bytes() + b"?")
    code, document = report(capsys, "-a", archive(*INTACT), "--reconcile", str(folder))
    assert (code, reconciliation(document)[0]) == (4, "not-checked")
    assert "MD5" in reconciliation(document)[1]


def test_items_without_the_key_are_no_items_of_this_table(archive, capsys, tmp_path):
    """The place is told, as `baseline` tells it."""
    folder = MadeExport(tmp_path / "export", [[{"id": {"S": "a"}, **TWO}, {"pk": {"S": "b"}}]]).write()
    code, document = report(capsys, "-a", archive(*INTACT), "--reconcile", str(folder))
    assert (code, reconciliation(document)[0]) == (4, "not-checked")
    assert "line 2 has no attribute 'id'" in reconciliation(document)[1]


def test_two_things_to_compare_with_are_refused(archive, capsys):
    """One comparison, one line."""
    assert run(["coverage", "orders", "-a", archive(*INTACT), "--scan", "--reconcile", "x"]) == 2
    assert "either --reconcile EXPORT or --scan" in capsys.readouterr().err


def test_what_differs_shortly_after_an_export_is_looked_at_again(archive, export, capsys, monkeypatch):
    """The record was on its way: the second look sees the archive as it is then, and what still differs."""
    now_ms = (EXPORT_S + 3_600) * 1000
    monkeypatch.setattr("query.cli.table_items.now_ms", lambda: now_ms)
    folder = archive(*INTACT, change(3, "INSERT", None, ONE, key="b"))
    waited = []

    def arrive(seconds):
        waited.append(seconds)
        archive(change(5, "MODIFY", TWO, THREE))

    # Of this module alone: threads of others may sleep meanwhile.
    monkeypatch.setattr("query.cli.reconciling.time", SimpleNamespace(sleep=arrive))
    tokens = ["-a", folder, "--reconcile", export(("a", THREE), ("b", TWO)), "--settle", "90s"]
    code, document = report(capsys, *tokens)
    assert (waited, code) == ([90.0], 3)
    assert [missing["item_key"] for missing in document["missing"]] == [{"id": "b"}]
    assert "1 settled at a second look" in reconciliation(document)[1]
    now_ms += 24 * 3_600_000
    monkeypatch.setattr("query.cli.table_items.now_ms", lambda: now_ms)
    assert report(capsys, *tokens)[0] == 3
    assert waited == [90.0], "what a stream no longer keeps is on its way no more"


# --- canaries ---


def test_a_canary_is_continuous_and_fresh_or_the_exit_code_says_so(archive, capsys, monkeypatch, tmp_path):
    """Where a number is left out, the place is told like any other; a key that the configuration names is looked at too."""
    records = canary_changes(1, 2, 3, 5)[:3]
    folder = archive(*records)
    asked = ["-a", folder, "--canary", "a", "--canary-every", "5m", "--until", f"@{T0 + 900}"]
    code, document = report(capsys, *asked)
    assert (code, results(document)["canary"]) == (0, "passed")
    (found,) = (detector for detector in document["detectors"] if detector["check"] == "canary")
    assert found["detail"] == "3 changes, counter 1 to 3, at most 300 s apart, the newest 300 s old"
    code, document = report(capsys, *asked[:-1], f"@{T0 + 1201}")
    assert (code, results(document)["canary"]) == (3, "failed")
    archive(change(9, "MODIFY", {COUNTER: {"N": "4"}}, {COUNTER: {"N": "5"}}, at_s=T0 + 1200))
    (tmp_path / "ddbtrail.toml").write_text(
        f'default_archive = "h"\n[archives.h]\nurl = "{folder}"\n[archives.h.tables.orders]\ncanary_keys = ["a", "b"]\n'
    )
    code, document = report(capsys, "--until", f"@{T0 + 1500}")
    assert code == 3
    told = [detector["detail"] for detector in document["detectors"] if detector["check"] == "canary"]
    assert [text[:10] for text in told] == ["canary 1: ", "canary 2: "]
    assert "1 break in 4 changes" in told[0]
    assert "no change in this range" in told[1]
    kinds = [(missing["missing"], missing["cause"], missing["item_key"]) for missing in document["missing"]]
    assert ("canary-break", "canary-counter", {"id": "a"}) in kinds


def test_a_canary_without_a_counter_is_a_warning(archive, capsys):
    """What doctor writes has none: its chain of images is looked at, and no number."""
    code, document = report(capsys, "-a", archive(*INTACT), "--canary", "a", "--until", f"@{T0 + 9}")
    (found,) = (detector for detector in document["detectors"] if detector["check"] == "canary")
    assert (code, found["result"]) == (0, "warning")
    assert "2 changes without a counter" in found["detail"]


def test_a_canary_in_conflict_exits_4_beside_the_conflict(archive, capsys):
    """Which of its contents is true nobody knows."""
    folder = archive(change(1, "INSERT", None, ONE))
    archive(change(1, "INSERT", None, TWO))
    code, document = report(capsys, "-a", folder, "--canary", "a")
    assert (code, results(document)["canary"], results(document)["conflicts"]) == (3, "not-checked", "failed")


# --- how it is shown ---


def test_people_see_marks_items_and_short_ids(archive, capsys):
    """The ids are those that every other command takes."""
    folder = archive(
        *BROKEN,
        change(8, "INSERT", None, ONE, key="b"),
        change(11, "MODIFY", TWO, ONE, key="b"),
    )
    assert run(["coverage", "orders", "-o", "table", "-a", folder]) == 3
    out = capsys.readouterr().out
    assert "✗ image-chain: 2 breaks in 2 items" in out
    assert "✓ coverage" in out
    lines = [line for line in out.splitlines() if line.startswith("missing")]
    shown = [[word for word in line.split() if word.startswith("@")] for line in lines]
    assert len(shown) == 2
    for pair, numbers in zip(shown, [(1, 4), (8, 11)], strict=True):
        for short, number in zip(pair, numbers, strict=True):
            assert f"{number:032x}".startswith(short.removeprefix("@id:").removeprefix("@"))
    assert "image-chain cannot see" in out


def test_rows_go_to_a_pipe_and_the_detectors_to_stderr(archive, capsys):
    """One row for each place, the same names in every format."""
    assert run(["coverage", "orders", "-o", "csv", "-a", archive(*BROKEN)]) == 3
    told = capsys.readouterr()
    header, row = told.out.splitlines()
    assert header.startswith("missing,cause,since,until,item_key,op,")
    assert row.startswith("image-break,within-stream,2026-09-15T00:00:01Z,2026-09-15T00:00:04Z,")
    assert "held-back: not-checked" in told.err


def test_keys_are_masked_as_in_every_answer(archive, capsys, tmp_path):
    """A report goes to people who may not see what the table holds."""
    folder = archive(*BROKEN)
    config = (
        f'default_archive = "here"\n[archives.here]\nurl = "{folder}"\n[archives.here.tables.orders]\nredact = ["id"]\n'
    )
    (tmp_path / "ddbtrail.toml").write_text(config)
    for output in ("json", "jsonl", "csv", "table"):
        run(["coverage", "orders", "-o", output])
        out = capsys.readouterr().out
        assert "[redacted:" in out, output
        assert '"a"' not in out, output


def test_an_empty_trail_covers_nothing(archive, capsys, tmp_path):
    """A table whose first record was not understood has a trail with nothing in it."""
    spoiled = change(1, "INSERT", None, ONE)
    spoiled["eventName"] = "UPSERT"
    folder = archive(spoiled)
    assert (tmp_path / "archive" / Trail("111122223333", "eu-west-1", "orders").prefix / "quarantine").is_dir()
    code, document = report(capsys, "-a", folder)
    assert (code, document["requested"], document["covered"]) == (3, None, [])
    assert results(document)["coverage"] == "failed"


def test_python_gives_the_same(archive):
    """The image chain is not only a command."""
    chain = query.open(archive(*BROKEN)).table("orders").image_chain()
    assert [(found.item_key, found.missing) for found in chain.breaks] == [('{"id":{"S":"a"}}', "MODIFY")]
