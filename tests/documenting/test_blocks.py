"""Every block of every page is run, or read as what it is, or stands in a table with the reason why not.

The blocks of a page are typed one after the other, as a reader would, in a folder with the archive of the pages
(`demo-archive`) or, on the pages about the sample, in an empty one. What a page shows below a command is what the
command prints, on stdout and stderr or on stdout alone, `…` being whatever varies.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from functools import cache

import pytest
from markdown_it import MarkdownIt

import query
from query.cli import make_app
from query.cli.sample import write_sample
from tests.documenting.blocks import PAGES, ROOT, Block, Step, blocks_of, is_shown, read
from tests.documenting.terminal import Terminal
from tests.querying.test_docs import record, write_archive

pytestmark = pytest.mark.xdist_group("pages")

# --- what is not run, and why ---

# Commands by how they begin. Those of ddbtrail are parsed all the same.
NOT_RUN = {
    "make ": "needs the emulators or minutes; CI types make test, and tests/system/test_demo.py the demo",
    "pip install": "asks the network",
    "aws ": "needs an AWS account",
    "sam ": "needs an AWS account; tests/system/test_sam.py deploys to an emulator",
    "sed … infra/": "is filled in by hand; tests/infra/test_template.py reads the policy",
    "python -m query.spark": "needs Spark; tests/engines/test_engines_page.py reads the arguments",
    "ddbtrail doctor": "needs an AWS account; tests/operating and tests/system/test_doctor.py",
    "ddbtrail status": "needs an AWS account; tests/operating",
    "ddbtrail follow": "needs a stream; tests/system/test_follow_ministack.py",
    "ddbtrail baseline orders --scan": "needs a table; tests/archiving",
    "ddbtrail replay": "needs an on-failure bucket; tests/system/test_replay.py",
    "ddbtrail tail orders -f": "goes on for ever; tests/querying/test_cli.py ends it",
    "ddbtrail athena": "reads S3 alone; tests/querying/test_athena.py",
}

# Whole blocks, by page and first line.
NOT_READ = {
    ("README.md", "$ make demo"): "what make demo prints, shortened; tests/system/test_demo.py runs it",
    ("infra/README.md", "$ make package"): "what it prints; tests/infra builds the packages",
    ("docs/engines.md", "from pyspark.sql import SparkSession"): "needs Spark; tests/engines/test_engines_page.py",
    ("docs/engines.md", "SELECT changed_at, op, new_image FROM orders_runs"): "a table of Athena; the same test",
    ("docs/format.md", 'segment     = trail "segments/" hour "/" sequence "-" digest ".parquet"'): "a grammar",
    ("docs/format.md", "ddbtrail/<account>/<region>/<table>"): "the lines of a checkpoint, by name",
    (
        "docs/format.md",
        'run       = trail "runs/d1/" 20DIGIT "-" 20DIGIT "/" ( part / items / index / segments / "run.json" )',
    ): ("a grammar"),
}

# --- where it is run ---

SAMPLE_PAGES = {
    "docs/index.md": False,
    "docs/tutorial.md": False,
    "docs/questions.md": True,
    "docs/notebooks.md": True,
}  # whether the sample is there already
STANDS_FOR = {
    "s3://acme-audit/ddbtrail": "demo-archive",
    "s3://audit-archive": "demo-archive",
    "s3://ARCHIVE-BUCKET/ddbtrail": "demo-archive",
    "s3://acme-derived/ddbtrail": "derived",
    "s3://DERIVED-BUCKET/ddbtrail": "derived",
    "compact TABLE": "compact orders",
    "python docs/verify_proof.py": f"python {ROOT}/docs/verify_proof.py",
    "python verify_proof.py": f"python {ROOT}/docs/verify_proof.py",
}
_SEALED = ("ddbtrail key create orders.key", "ddbtrail seal orders --signing-key orders.key > orders.checkpoint")
# What a page takes for granted.
BEFORE = {
    "docs/evidence.md": (*_SEALED, "cp orders.key.pub orders.pub", "ddbtrail key create reviewer.key"),
    "docs/operations.md": (*_SEALED, "cp orders.key.pub orders.pub"),
    "docs/proofs.md": (*_SEALED, "cp orders.key.pub KEY.pub", "cp orders.checkpoint FILE"),
    "docs/verify.md": (
        *_SEALED,
        "cp orders.key.pub orders.pub",
        "cp -r demo-archive copy",
        "cp -r demo-archive copy-of-q3",
    ),
}
# Exit codes other than 0, where no remark says so to the reader.
ANSWERS = {
    ("README.md", "ddbtrail log orders --since 2h --op remove"): 1,  # nothing happened in the last two hours
    # The archive of the pages begins in September.
    ("README.md", "ddbtrail coverage orders --during 2026-Q3"): 3,
    (
        "docs/verify.md",
        "ddbtrail verify orders -a ./copy-of-q3 --pinned-key orders.pub --during 2026-Q3 --full -o json > report.json",
    ): 3,
    ("README.md", "ddbtrail evidence build orders --during 2026-Q3 -O q3.zip"): 3,
    (
        "docs/evidence.md",
        "ddbtrail evidence build orders --during 2026-Q3 -O q3-orders.zip --pinned-key orders.pub --signing-key reviewer.key",
    ): 3,
}


@cache
def all_blocks() -> tuple[Block, ...]:
    return tuple(block for page in PAGES for block in read(page))


def reason_not_to_read(block: Block) -> str | None:
    return NOT_READ.get((block.page, block.text.partition("\n")[0]))


def reason_not_to_run(step: Step) -> str | None:
    return next((reason for start, reason in NOT_RUN.items() if step.command.startswith(start)), None)


def test_every_fence_of_every_page_is_a_block():
    """A fence that the reader of blocks does not see would never be run."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fences = sum(line.lstrip().startswith("```") for line in text.splitlines())
        assert fences == 2 * len(read(page)), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_block_is_made_by_indenting_it(page):
    """It has no language, and nobody runs it. The page of mutants is written so, one a line."""
    kinds = [token.type for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))]
    assert kinds.count("code_block") == 0 or page.name == "mutation.md"


@pytest.mark.parametrize(
    ("shown", "is_it"),
    [
        (("a", "b"), True),
        (("a", "b", "c"), False),
        (("a",), False),
        (("a", "…"), True),
        (("…", "b"), True),
        (("a", "…", "b"), True),  # also no line at all
        (("…", "c"), False),
        (("…a", "b…"), True),
        (("a.", "b"), False),
        (("b", "a"), False),
    ],
)
def test_what_is_shown_has_to_be_printed(shown, is_it):
    """A comparison that takes everything for the same would hold every page right."""
    assert is_shown("a  \nb\n\n", shown) is is_it


def test_a_block_is_read_as_it_is_typed():
    text = "- x\n\n    ```console\n    $ a 'b # c' \\\n        d    # 7, exit code 3\n    out\n      more\n\n    $ e\n    ```\n"
    (block,) = blocks_of("page", text)
    assert (block.line, block.language, block.label) == (3, "console", "")
    first, second = block.steps
    assert (first.command, first.exit_code, first.shown) == ("a 'b # c' d", 3, ("out", "  more"))
    assert (second.command, second.exit_code, second.shown) == ("e", 0, ())


def test_the_tests_that_reasons_name_are_there():
    named = [
        name for reason in (*NOT_RUN.values(), *NOT_READ.values()) for name in re.findall(r"tests/[\w/.]+", reason)
    ]
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_nothing_stands_in_the_tables_that_is_on_no_page():
    """A reason that outlived its block hides the next one that begins so."""
    first_lines = {(block.page, block.text.partition("\n")[0]) for block in all_blocks()}
    assert set(NOT_READ) <= first_lines
    steps = [step for block in all_blocks() if reason_not_to_read(block) is None for step in block.steps]
    for start in NOT_RUN:
        assert any(step.command.startswith(start) for step in steps), start
    for page, command in ANSWERS:
        assert any(block.page == page and command in {step.command for step in block.steps} for block in all_blocks())
    texts = {block.page: "" for block in all_blocks()}
    for block in all_blocks():
        texts[block.page] += block.text
    for name in STANDS_FOR:
        assert any(name in text for text in texts.values()), name
    assert set(BEFORE) | set(SAMPLE_PAGES) <= set(texts)


@pytest.mark.parametrize("page", sorted({block.page for block in all_blocks()}))
def test_the_blocks_of_a_page_do_what_it_says(page, tmp_path, monkeypatch):
    steps = [step for block in all_blocks() if block.page == page for step in block.steps]
    if shutil.which("openssl") is None and any(step.command.startswith("openssl ") for step in steps):
        pytest.skip("openssl is not installed: apt-get install openssl")
    if page in SAMPLE_PAGES:
        terminal = Terminal(tmp_path, monkeypatch)
        if SAMPLE_PAGES[page]:
            write_sample(tmp_path / "ddbtrail-demo")
            terminal.type("cd ddbtrail-demo")
    else:
        write_archive(tmp_path)
        event = {"Records": [record(6, "INSERT", "0006", None, {"status": {"S": "NEW"}})]}
        (tmp_path / "events.jsonl").write_text(json.dumps(event), encoding="utf-8")
        terminal = Terminal(tmp_path, monkeypatch, STANDS_FOR)
        monkeypatch.setenv("DDBTRAIL_ARCHIVE", str(tmp_path / "demo-archive"))
    for command in BEFORE.get(page, ()):
        typed = terminal.type(command)
        assert typed.code == 0, f"{command}: {typed.printed}"
    names: dict = {}
    for block in all_blocks():
        if block.page == page and reason_not_to_read(block) is None:
            check(block, terminal, names)


def check(block: Block, terminal: Terminal, names: dict) -> None:
    """Runs or reads one block; `names` are those of the Python blocks before it on its page."""
    if block.steps:
        for step in block.steps:
            check_step(block, step, terminal)
        return
    match block.language:
        case "python":
            check_python(block, names)
        case "sql":
            for statement in filter(str.strip, block.text.split(";\n")):
                assert query.open(archive_of(block)).sql(statement).arrow().schema.names, block.name
        case "json":
            for document in [block.text] if block.text.startswith(("{\n", "[\n")) else block.text.splitlines():
                json.loads(document)
        case "toml":
            tomllib.loads(block.text)
        case "sh":
            assert is_used(block.label), f"{block.name}: no test runs it"
            subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
        case "text" if block.label:
            assert is_used(block.label), f"{block.name}: no test reads it"
        case _:
            pytest.fail(f"{block.name}: nobody runs or reads a block of {block.language or 'no language'} like this")


def check_step(block: Block, step: Step, terminal: Terminal) -> None:
    if reason_not_to_run(step) is not None:
        if step.command.startswith("ddbtrail "):
            arguments = shlex.split(step.command.partition(" >")[0])[1:]
            make_app(arguments[0]).parse_args(arguments, exit_on_error=False, print_error=False)
        return
    typed = terminal.type(step.command)
    said = f"{block.name}: $ {step.command}\n{typed.printed}"
    assert typed.code == ANSWERS.get((block.page, step.command), step.exit_code), said
    if step.shown:
        assert is_shown(typed.printed, step.shown) or is_shown(typed.answer, step.shown), said


def check_python(block: Block, names: dict) -> None:
    """Statement by statement: a remark behind a `print` is what it prints."""
    lines = block.text.splitlines()
    for statement in ast.parse(block.text).body:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(ast.Module([statement], []), block.name, "exec"), names)
        _, _, remark = lines[statement.end_lineno - 1][statement.end_col_offset :].partition("# ")
        if remark and ast.unparse(statement).startswith("print("):
            assert is_shown(out.getvalue(), (remark,)), f"{block.name}: {ast.unparse(statement)}\n{out.getvalue()}"


def archive_of(block: Block) -> str:
    return "archive" if block.page in SAMPLE_PAGES else "demo-archive"


@cache
def is_used(label: str) -> bool:
    """Whether a test names a worked example."""
    texts = (path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py"))
    return any(label in text or f"{label.rpartition('-')[0]}-{{" in text for text in texts)
