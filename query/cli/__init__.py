"""The command `ddbtrail`: which commands there are, and what becomes of their errors.

Each group of commands has a module, imported when one of its commands runs, so that the start costs nothing that is not
used. Exit codes are the same for every command: `docs/cli.md` lists them.
"""

import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

from cyclopts import App, Group, Parameter

from query.cli.exits import ended
from query.cli.lean import leave_out_pandas

_ONE_ITEM: Final = Group("One item", sort_key=1)
_A_TABLE: Final = Group("A table", sort_key=2)
_PROVE: Final = Group("Prove", sort_key=3)
_ELSEWHERE: Final = Group("Use elsewhere", sort_key=4)
_OPERATE: Final = Group("Operate", sort_key=5)
_CONFIGURE: Final = Group("Configure", sort_key=6)
_ABOUT: Final = Group("About", sort_key=7)
_OPTIONS: Final = Group("Options", sort_key=8)

# (command, where it is, group, help): the help stands here so that listing the commands imports none of them.
COMMANDS: Final = (
    ("history", "query.cli.item:history", _ONE_ITEM, "Show the changes of an item, newest first."),
    ("get", "query.cli.item:get", _ONE_ITEM, "Show an item as it was at an instant, or as it is now."),
    ("diff", "query.cli.item:diff", _ONE_ITEM, "Show what differs between two versions of an item."),
    ("blame", "query.cli.blame:blame", _ONE_ITEM, "Show which change set each attribute of an item, and by whom."),
    ("log", "query.cli.table:log", _A_TABLE, "Show the changes of a whole table, newest first."),
    ("as-of", "query.cli.table:as_of", _A_TABLE, "Show a whole table as it was at an instant."),
    (
        "compare",
        "query.cli.compare:compare",
        _A_TABLE,
        "Show which items of a table were added, removed or modified between two moments.",
    ),
    ("stats", "query.cli.counts:stats", _A_TABLE, "Show a table in figures."),
    (
        "tail",
        "query.cli.tail:tail",
        _A_TABLE,
        "Show the newest changes of a table, oldest first, and with -f those that come.",
    ),
    (
        "coverage",
        "query.cli.coverage:coverage",
        _PROVE,
        "Show what the trail of a table covers, and where something is missing.",
    ),
    ("verify", "query.cli.verify:verify", _PROVE, "Verify the trail of a table against its signed log."),
    (
        "seal",
        "query.cli.sealing:seal",
        _PROVE,
        "Sign which evidence the trail of a table has, as the next seal of its log.",
    ),
    (
        "acknowledge",
        "query.cli.sealing:acknowledge",
        _PROVE,
        "Sign that somebody has looked at an object or at a gap, and why it is so.",
    ),
    ("prove", "query.cli.prove:prove", _PROVE, "Write the proof of one change."),
    ("verify-proof", "query.cli.prove:verify_proof", _PROVE, "Check the proof of one change against a public key."),
    ("sql", "query.cli.sql:sql", _ELSEWHERE, "Ask in SQL what the trails of an archive tell."),
    (
        "duckdb",
        "query.cli.duckdb:duckdb",
        _ELSEWHERE,
        "Write a script with which a plain DuckDB reads the trails of an archive.",
    ),
    (
        "athena",
        "query.cli.athena:athena",
        _ELSEWHERE,
        "Write the statements with which Athena reads the trail of a table.",
    ),
    ("archive", "query.cli.archive:archive", _OPERATE, "Archive recorded Lambda events of DynamoDB streams."),
    ("follow", "query.cli.follow:follow", _OPERATE, "Read a DynamoDB stream and archive it."),
    (
        "baseline",
        "query.cli.import_baseline:baseline",
        _OPERATE,
        "Import the whole table, so that items which never change are known too.",
    ),
    (
        "compact",
        "query.cli.compacting:compact",
        _OPERATE,
        "Rewrite sealed changes in order of keys, so that answers stay fast as the archive grows.",
    ),
    (
        "gc",
        "query.cli.compacting:gc",
        _OPERATE,
        "Delete runs that a larger one covers, and what an interrupted compaction left behind.",
    ),
    ("replay", "query.cli.replay:replay", _OPERATE, "Archive the batches that Lambda gave up on."),
    ("doctor", "query.cli.doctor:doctor", _OPERATE, "Check that a table is archived as it should be."),
    ("status", "query.cli.status:status", _OPERATE, "Show how the archiving of a table goes."),
    ("cost", "query.cli.cost:cost", _OPERATE, "Show what archiving a table costs a month, line by line."),
    ("tables", "query.cli.configure:tables", _CONFIGURE, "List the tables of an archive."),
    ("demo", "query.cli.demo:demo", _CONFIGURE, "Write a sample archive into a folder, and say what to ask it."),
)

# (word before the command, help, group, ((command, where it is), ...))
GROUPED: Final = (
    (
        "evidence",
        "Build packages of evidence, and check them.",
        _PROVE,
        (("build", "query.cli.evidence:build"), ("verify", "query.cli.evidence_check:verify")),
    ),
    ("key", "Make the keys that sign seals.", _PROVE, (("create", "query.cli.sealing:key_create"),)),
    ("config", "Show the configuration.", _CONFIGURE, (("show", "query.cli.configure:show"),)),
)


def _worth_showing(default: object) -> object:
    """A default that is more than "not given"."""
    return default if default and default is not True else None


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"ddbtrail {version('ddbtrail')}"
    except PackageNotFoundError:
        return "ddbtrail, run from a source tree that is not installed"


def _told_by(place: str) -> str:
    """What a command says of itself: its docstring, each paragraph on one line for the terminal to wrap."""
    module, _, name = place.partition(":")
    told = inspect.getdoc(getattr(import_module(module), name)) or ""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in told.split("\n\n"))


def make_app(chosen: str = "") -> App:
    """The command line. What `chosen` says of itself comes from its own docstring, all others are only listed."""
    app = App(
        name="ddbtrail",
        help="What happened to an item of DynamoDB, and what was the table then? Answers from your own archive.",
        version=_version,
        default_parameter=Parameter(show_default=_worth_showing),
        group_commands=_ABOUT,
        group_parameters=_OPTIONS,
        help_formatter="plain",
        help_format="plaintext",
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for position, (name, place, group, help_text) in enumerate(COMMANDS):
        told = _told_by(place) if name == chosen else help_text
        app.command(place, name=name, group=group, help=told, sort_key=position)
    for group_name, group_help, group, commands in GROUPED:
        grouped = App(name=group_name, help=group_help, group=group, group_commands=group)
        for name, place in commands:
            grouped.command(place, name=name, help=_told_by(place) if chosen == group_name else None)
        app.command(grouped)
    return app


def run(tokens: Sequence[str]) -> int:
    """Runs one command; its exit code. Errors are told on stderr."""
    app = make_app(tokens[0] if tokens else "")
    return ended(lambda: app(list(tokens)), tokens)


def main() -> NoReturn:
    """The entry point of the command, which has the process for itself."""
    leave_out_pandas()
    sys.exit(run(sys.argv[1:]))
