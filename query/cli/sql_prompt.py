"""The prompt of `ddbtrail sql`: statements over several lines, until a semicolon, with a history that is kept.

Invariant: an error is told and ends nothing; only the end of the input, `.quit` or Ctrl-D does.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from query.cli.exits import FOUND, drop_output, tell
from query.cli.sql import answer
from query.errors import QueryError
from query.surface import RELATIONS, quoted

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.sql_session import SqlSession

_MOST_REMEMBERED: Final = 1000
_FIRST: Final = "ddbtrail> "
_FURTHER: Final = "      ...> "
_HELP: Final = (
    "A statement ends with a semicolon. Words of the prompt: .tables, .help, .quit.",
    "Of each table T there are, as in FROM T.changes LIMIT 10:",
    f"  {', '.join(RELATIONS)}",
    "  as_of(instant), states(instant), compare(from, to), changes_between(since, until),",
    "  history(partition, sort, since => instant, until => instant), blame(partition, sort)",
    "An instant is a text with its zone, as in '2026-09-16T12:00:00Z', or now() - INTERVAL 3 DAYS.",
)


def prompt(run: "Invocation", session: "SqlSession") -> int:
    """Asks for statements until the input ends; always 0."""
    run.note(f"{len(session.schemas)} tables of {run.archive.url}; .help says what there is")
    with _remembered(history_file(os.environ, Path.home())):
        for statement in _statements():
            if statement.startswith("."):
                if statement in {".quit", ".exit"}:
                    break
                _say(statement, session)
            else:
                _answer(run, session, statement)
    return FOUND


def history_file(environ: Mapping[str, str], home: Path) -> Path:
    """Where statements are kept from one session to the next (XDG Base Directory Specification)."""
    state = environ.get("XDG_STATE_HOME") or str(home / ".local" / "state")
    return Path(state) / "ddbtrail" / "sql_history"


def _answer(run: "Invocation", session: "SqlSession", statement: str) -> None:
    try:
        answer(run, session, statement)
        sys.stdout.flush()
    except QueryError as error:
        tell(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    except BrokenPipeError:
        drop_output()


def _say(word: str, session: "SqlSession") -> None:
    lines = {".help": _HELP, ".tables": [quoted(name) if not name.isidentifier() else name for name in session.schemas]}
    print("\n".join(lines.get(word, [f"{word} is no word of the prompt: .tables, .help, .quit"])))


def _statements() -> Iterator[str]:
    """What is typed, each statement once it is whole; Ctrl-C throws away what was begun."""
    begun: list[str] = []
    while True:
        try:
            line = input(_FURTHER if begun else _FIRST)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            begun.clear()
            continue
        if not begun and line.strip().startswith("."):
            yield line.strip()
            continue
        begun += [line] if begun or line.strip() else []
        if line.rstrip().endswith(";"):
            yield "\n".join(begun)
            begun.clear()


@contextlib.contextmanager
def _remembered(path: Path) -> Iterator[None]:
    """The history of earlier sessions, and this one added to it; without it where it cannot be read or kept."""
    try:
        import readline
    except ImportError:  # not every Python has it
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(_MOST_REMEMBERED)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            readline.write_history_file(path)
