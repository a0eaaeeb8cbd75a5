"""The notebooks, run from top to bottom as a reader would run them; what they find is what the story of the sample tells."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import orjson
import pytest

from query.cli.sample_story import tables

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ROOT = NOTEBOOKS.parent
pytestmark = [
    pytest.mark.xdist_group("notebooks"),
    # What the client of the kernel does with sockets and loops is its own affair.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]  # fmt: skip

RUN = """
import sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], as_version=4)
book.cells.append(nbformat.v4.new_code_cell(sys.argv[3]))
client = NotebookClient(
    book, timeout=None, startup_timeout=3600, iopub_timeout=3600, kernel_name="python3",
    resources={"metadata": {"path": sys.argv[2]}},
)
client.execute()
nbformat.write(book, sys.argv[2] + "/executed.ipynb")
"""


@pytest.fixture
def environment(tmp_path):
    """A machine that knows nothing of AWS, and on which nobody ran a notebook before."""
    home = tmp_path / "home"
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "XDG_CONFIG_HOME")
    folders = {name: str(home / name.lower()) for name in names}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), **folders}


@pytest.fixture
def execute(tmp_path, environment):
    """Runs a notebook in a process of its own; the executed one, and what some of its names hold at the end, as JSON."""

    def run(name, **wanted):
        folder = tmp_path / "desk"
        folder.mkdir()
        names = ", ".join(f"{name!r}: {expression}" for name, expression in wanted.items())
        asked = f"import json; print(json.dumps({{{names}}}, default=str))"
        command = [sys.executable, "-c", RUN, str(NOTEBOOKS / f"{name}.ipynb"), str(folder), asked]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        book = nbformat.read(folder / "executed.ipynb", as_version=4)
        assert [
            output for cell in book.cells for output in cell.get("outputs", ()) if output.output_type == "error"
        ] == []
        return book, json.loads(book.cells[-1].outputs[0].text)

    return run


def pages(book):
    """The HTML that the notebook shows."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    return [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]


def records_of(table, *, lost=False):
    """What the stream of a table of the story delivered, in order; or what was delivered and lost."""
    return [one for batch in table.batches for one in batch.records if batch.is_lost == lost]


def both(record):
    return [record["dynamodb"][side] for side in ("OldImage", "NewImage")]


def limits(record):
    return [int(image["credit_limit"]["N"]) for image in both(record)]


def raise_of_customer_7():
    """The change that lifted the limit of customer 7 beyond 10 000, and the next one that set it."""
    of_7 = [one for one in records_of(tables()[0]) if one["dynamodb"]["Keys"]["number"] == {"N": "7"}]
    changed = [one for one in of_7 if limits(one)[0] != limits(one)[1]]
    (place,) = [place for place, one in enumerate(changed) if limits(one)[1] > 10_000]
    return changed[place], changed[place + 1]


def check_what_happened(told):
    raised, lowered = raise_of_customer_7()
    between_s = lowered["dynamodb"]["ApproximateCreationDateTime"] - raised["dynamodb"]["ApproximateCreationDateTime"]
    assert told["change_id"] == raised["eventID"]
    assert told["actor"] == raised["dynamodb"]["NewImage"]["updated_by"]["S"]
    assert [told["before"], told["after"]] == limits(raised)
    assert told["days"] == pytest.approx(between_s / 86_400)
    assert told["others"] == [raised["eventID"]]
    assert told["ok"] is True


WHAT_HAPPENED = {
    "change_id": "raised['change_id'][0]",
    "actor": "version.actor",
    "before": "int(version.prev.item['credit_limit'])",
    "after": "int(version.item['credit_limit'])",
    "days": "days",
    "others": "[change.change_id for change in others]",
    "ok": "verified.ok",
}


def test_what_happened_to_this_item(execute):
    """Who raised the limit, from what to what, for how long; and that it is sealed."""
    book, told = execute("what_happened", **WHAT_HAPPENED)
    check_what_happened(told)
    shown = "".join(pages(book))
    assert "mallory" in shown
    assert "verified: every check that was asked for passed" in shown
    assert "4000 0000" not in nbformat.writes(book), "also not in the text that is kept beside a page"


def test_the_twin_in_marimo_finds_the_same(tmp_path, environment):
    """The same questions as cells of a script, for whoever reads notebooks as code."""
    asked = ", ".join(f"{name!r}: {expression}" for name, expression in WHAT_HAPPENED.items())
    script = (
        f"import json, runpy; app = runpy.run_path({str(NOTEBOOKS / 'what_happened.py')!r})['app']; "
        f"_, names = app.run(); print(json.dumps(eval({'{' + asked + '}'!r}, dict(names)), default=str))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    check_what_happened(json.loads(done.stdout.splitlines()[-1]))


def test_the_twin_in_marimo_runs_as_a_script(tmp_path, environment):
    """`python what_happened.py`: how it is run without a browser."""
    command = [sys.executable, str(NOTEBOOKS / "what_happened.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_quarterly_review(execute):
    """Complete, verified, every change of the attribute once, and the one that nobody approved by name."""
    book, told = execute(
        "quarterly_review",
        changes="[change.change_id for change in changes]",
        outside="outside.select('change_id', 'actor').rows()",
        uncertain="uncertain['change_id'].to_list()",
        sampled="sampled['item_key'].to_list()",
        again="frame.select('item_key').unique(maintain_order=True).sample(SAMPLE, seed=SEED, shuffle=True)['item_key'].to_list()",
        differences="compared.stat()['attribute'][ATTRIBUTE]",
    )
    begin, end = 1_782_864_000, 1_790_812_800  # 1 July and 1 October 2026
    quarter = [
        one
        for one in records_of(tables()[0])
        if begin <= one["dynamodb"]["ApproximateCreationDateTime"] < end and limits(one)[0] != limits(one)[1]
    ]
    assert sorted(told["changes"]) == sorted(one["eventID"] for one in quarter)
    carried = [one for one in quarter if len({image["updated_by"]["S"] for image in both(one)}) == 1]
    assert sorted(told["uncertain"]) == sorted(one["eventID"] for one in carried)
    assert carried
    raised, _ = raise_of_customer_7()
    assert told["outside"] == [[raised["eventID"], "mallory"]]
    assert told["sampled"] == told["again"]
    assert len(set(told["sampled"])) == 5
    first, last = {}, {}
    for one in quarter:
        number = one["dynamodb"]["Keys"]["number"]["N"]
        first.setdefault(number, limits(one)[0])
        last[number] = limits(one)[1]
    assert told["differences"] == sum(first[number] != last[number] for number in first)
    shown = "".join(pages(book))
    assert 'class="gap"' in shown
    assert re.search(r"\d+ items of which the trail cannot tell, left out", shown)
    assert "4000 0000" not in nbformat.writes(book), "also not in the text that is kept beside a page"


def test_reconcile_with_the_live_table(execute):
    """The items of the batch that was lost: those that no later change tells of differ, the others break a chain."""
    book, told = execute(
        "reconcile",
        differences="{one.item_key: one.kind.value for one in report.differences}",
        breaks="[[lost.item_key, lost.since.change_id, lost.until.change_id] for lost in chain.breaks]",
        compared="[report.items, report.touched, report.unknown]",
    )
    stock = tables()[2]
    keys = {orjson.dumps(one["dynamodb"]["Keys"]).decode(): one["eventName"] for one in records_of(stock, lost=True)}
    gone = next(place for place, batch in enumerate(stock.batches) if batch.is_lost)
    later = {
        orjson.dumps(one["dynamodb"]["Keys"]).decode() for batch in stock.batches[gone + 1 :] for one in batch.records
    }
    kinds = {"INSERT": "missing-in-archive", "MODIFY": "differs"}
    assert told["differences"] == {key: kinds[op] for key, op in keys.items() if key not in later}
    assert sorted(key for key, _, _ in told["breaks"]) == sorted(keys.keys() & later)
    assert told["compared"] == [len(stock.items), 0, 0]
    assert any("missing-in-archive" in page for page in pages(book))


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_output_is_kept(path):
    """What a notebook shows is somebody's data; and a diff of it is nobody's reading."""
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert cells
    assert [cell for cell in cells if cell.outputs or cell.execution_count is not None] == []
