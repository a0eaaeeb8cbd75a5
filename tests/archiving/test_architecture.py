"""The rules of the house, checked on the syntax tree: what each module may import, and who may ask for the time."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(HOUSE).as_posix() for top in ("archiver", "query") for path in (HOUSE / top).rglob("*.py")
)
ARCHIVER = [module for module in MODULES if module.startswith("archiver/")]
FORMAT = [module for module in MODULES if module.startswith("archiver/format/")]
QUERY = [module for module in MODULES if module.startswith("query/")]

# The few files that may import what is heavy, or reaches outside.
BOTO3 = {
    *(f"archiver/{name}.py" for name in ("store", "tables", "streams_api", "export_files", "held_back", "signer")),
    "query/s3_client.py",
    "query/s3_source.py",
    "query/operate/aws.py",
}
WRITING_COMMANDS = {
    f"query/cli/{name}.py"
    for name in ("archive", "follow", "import_baseline", "replay", "sealing", "table_meant", "writing")
} | {
    # These write nothing, and read what the archiver reads: a stream, an export, a live table.
    "query/cli/second_reading.py",
    "query/cli/table_items.py",
    # It signs a package of evidence, with the keys that sign seals.
    "query/cli/evidence_signing.py",
    # It writes the sample archive, as any archive is written.
    "query/cli/sample.py",
}
# The edges: the Lambda function, the commands, and `query.open`, whose callers may give a clock of their own.
CLOCKS = {"archiver/handler.py", "query/__init__.py", "query/opening.py", "query/compact_handler.py"}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((HOUSE / module).read_text(encoding="utf-8"), module)


def runtime_nodes(module: str) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING`: types cost nothing at run time."""
    waiting: list[ast.AST] = [tree(module)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def imported(module: str) -> set[str]:
    """Dotted names that a module imports, anywhere in it, `from x import y` as `x.y`."""
    found: set[str] = set()
    for node in runtime_nodes(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "__import__",
            "importlib.import_module",
            "import_module",
        }:
            name = node.args[0]
            found.add(str(name.value) if isinstance(name, ast.Constant) else f"computed in {module}")
    return found


def packages(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(module)}


def importers(*names: str) -> set[str]:
    return {module for module in MODULES if packages(module) & set(names)}


def test_there_is_something_to_check():
    """A rule over no files holds for ever."""
    assert len(FORMAT) > 5
    assert len(ARCHIVER) > 12
    assert len(QUERY) > 5


@pytest.mark.parametrize("module", FORMAT)
def test_the_format_needs_the_standard_library_and_orjson_only(module):
    """It is the one thing that archiver, reader and anybody's verifier share: it must be loadable anywhere.

    What checks whole columns at once needs columns; each row can be checked without it.
    """
    allowed = set(sys.stdlib_module_names) | {"orjson", "archiver"}
    if module == "archiver/format/bulk_check.py":
        allowed.add("pyarrow")
    assert packages(module) <= allowed
    ours = {name for name in imported(module) if name.startswith("archiver")}
    assert all(name.startswith("archiver.format") for name in ours)


@pytest.mark.parametrize("module", FORMAT)
def test_the_format_does_no_input_or_output(module):
    """Pure functions of values: what a file or a clock says is an argument."""
    assert packages(module).isdisjoint(
        {"os", "io", "pathlib", "shutil", "socket", "subprocess", "tempfile", "time", "threading"}
    )
    calls = {ast.unparse(node.func) for node in ast.walk(tree(module)) if isinstance(node, ast.Call)}
    assert calls.isdisjoint({"open", "print", "input"})


@pytest.mark.parametrize("module", ARCHIVER)
def test_the_archiver_knows_nothing_of_the_reader(module):
    """The function that writes evidence is small, and no bug of a reader can reach it."""
    assert packages(module).isdisjoint({"query", "duckdb"})


@pytest.mark.parametrize("module", sorted(set(QUERY) - WRITING_COMMANDS))
def test_the_reader_knows_the_archiver_only_by_its_format(module):
    """The format is the interface between them; the commands that read or write what it does are the one exception."""
    ours = {name for name in imported(module) if name.partition(".")[0] == "archiver"}
    assert {name for name in ours if not f"{name}.".startswith("archiver.format.")} == set()


def test_boto3_is_imported_where_aws_is_asked_something():
    """Credentials, retries and endpoints are a concern of few files, and a start without AWS does not pay for them."""
    assert importers("boto3", "botocore", "s3transfer") <= BOTO3


def test_parquet_is_known_to_one_file_of_the_archiver():
    """It is an encoding. One other file knows columns in memory, and none that the function starts with imports that."""
    assert importers("pyarrow") & set(ARCHIVER) == {"archiver/segment.py", "archiver/format/bulk_check.py"}
    assert {module for module in ARCHIVER if "pyarrow.parquet" in imported(module)} == {"archiver/segment.py"}


def test_cryptography_is_imported_where_one_signs_and_where_one_checks():
    """Two files that share nothing: what is signed by the one is judged by the other."""
    assert importers("cryptography") == {"archiver/signer.py", "query/note_check.py"}


def test_duckdb_is_imported_in_two_files():
    """Limits and access to files are set where a connection is made: one for our statements, one for a person's."""
    assert importers("duckdb") <= {"query/engine.py", "query/locked.py"}


def test_spark_is_known_to_its_job_alone():
    """It is an extra: everything else runs where it is not installed, and nothing starts a JVM by accident."""
    job = {module for module in QUERY if module.startswith("query/spark/")}
    assert importers("pyspark", "py4j") <= job
    assert importers("pyspark")
    assert not {module for module in set(MODULES) - job if any(n.startswith("query.spark") for n in imported(module))}


def test_what_prints_is_imported_in_one_file():
    """It is an extra: a package is built where it is not installed, and none but `--pdf` waits for it."""
    assert importers("weasyprint") == {"query/evidence/pdf.py"}
    users = {module for module in MODULES if any(name.startswith("query.evidence.pdf") for name in imported(module))}
    assert {module for module in users if _imports_at_once(module, "query.evidence.pdf")} == set()


def _imports_at_once(module: str, name: str) -> bool:
    """Whether a module imports another when it is imported itself, not only in a function or for types."""
    return any(isinstance(node, ast.ImportFrom) and node.module == name for node in tree(module).body)


def clock_readings(module: str) -> set[str]:
    """Expressions of a module that read the wall clock."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            owner, _, name = text.rpartition(".")
            last = owner.rpartition(".")[2]
            if (last, name) in {
                *(("time", clock) for clock in ("time", "time_ns", "gmtime", "localtime", "ctime", "strftime")),
                *((kind, clock) for kind in ("datetime", "date", "dt") for clock in ("now", "utcnow", "today")),
                *((kind, "now") for kind in ("Instant", "ZonedDateTime", "PlainDateTime", "OffsetDateTime")),
            }:
                found.add(text)
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found |= {
                f"time.{alias.name}" for alias in node.names if alias.name in {"time", "time_ns", "gmtime", "localtime"}
            }
    return found


def may_read_a_clock(module: str) -> bool:
    return module in CLOCKS or module.startswith("query/cli/")


@pytest.mark.parametrize("module", [module for module in MODULES if not may_read_a_clock(module)])
def test_clocks_are_read_at_the_edges_only(module):
    """Everywhere else time is an argument, so that any instant can be tested; waiting by a monotonic clock is no reading."""
    assert clock_readings(module) == set()


def test_the_rule_about_clocks_can_fail():
    """The handler does read one, so the rule sees what it looks for."""
    assert clock_readings("archiver/handler.py") == {"time.time_ns"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_named_after_what_it_holds(module):
    """A name that fits anything collects everything."""
    assert set(Path(module).with_suffix("").parts).isdisjoint(
        {"utils", "util", "helpers", "common", "manager", "process", "misc"}
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_module_opens_with_what_it_is_for(module):
    """Someone who opens a file reads first what it alone may do."""
    assert ast.get_docstring(tree(module)), f"{module} has no docstring"


PLACEHOLDER = re.compile(r"\$?\{\w*(?:![rsa])?(?::[^}']*)?\}|%\(\w+\)[sdr]|%[sdr]")
SQL = sorted(path.relative_to(HOUSE).as_posix() for path in (HOUSE / "query").rglob("*.sql"))


@pytest.mark.parametrize("file", SQL or [None])
def test_sql_has_parameters_and_no_placeholders_of_python(file):
    """A value that is formatted into SQL is SQL; parameters are not."""
    if file is None:
        pytest.skip("no .sql files yet")
    text = "\n".join(line.partition("--")[0] for line in (HOUSE / file).read_text(encoding="utf-8").splitlines())
    assert PLACEHOLDER.findall(text) == []


def test_the_rule_about_sql_can_fail():
    """It sees every way in which Python fills a text, and no parameter of DuckDB."""
    assert PLACEHOLDER.findall("a {} b {name!r} c %s d %(name)s e ${name} f {0:d}") == [
        *("{}", "{name!r}", "%s", "%(name)s", "${name}", "{0:d}")
    ]
    assert PLACEHOLDER.findall("SELECT $name, ?, 7 % 2, {'a': 1}, '5%'") == []


@pytest.mark.parametrize("module", ARCHIVER)
def test_powertools_deserialisers_stay_off_the_write_path(module):
    """They damage or refuse legal numbers, and boto3's do too: evidence is kept as it was delivered."""
    names = imported(module)
    assert not any("data_classes" in name or "utilities" in name for name in names)
    assert not any(name.startswith("boto3.dynamodb.types") for name in names)
