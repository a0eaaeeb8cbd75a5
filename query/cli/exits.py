"""How a command ends: exit codes, and errors as three lines on stderr: what failed, why, what to type next."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from cyclopts import CycloptsError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from query.errors import QueryError, UsageError
from query.render.text import visible

FOUND: Final = 0
NOT_FOUND: Final = 1
NOT_COVERED: Final = 3
FAILED: Final = 4
INTERRUPTED: Final = 130  # as a shell reports a program that SIGINT ended

DEBUG: Final = "DDBTRAIL_DEBUG"


def ended(command: Callable[[], object], tokens: Sequence[str]) -> int:
    """Runs a command to its end, output flushed, and gives the exit code."""
    try:
        code = command()
        sys.stdout.flush()
    except QueryError as error:
        return tell(error)
    except CycloptsError as error:
        return tell(_usage_error(error, tokens))
    except KeyboardInterrupt:
        drop_output()
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough: that is no failure.
        drop_output()
        return FOUND
    except Exception as error:  # noqa: BLE001  the last resort: a person gets a line, and a way to the rest
        drop_output()
        return _unexpected(error)
    return code if isinstance(code, int) else FOUND


def tell(error: QueryError) -> int:
    """Tells an error on stderr; its exit code."""
    tell_lines(error.three_lines().splitlines())
    return error.exit_code


def tell_lines(lines: Iterable[str]) -> None:
    """Writes lines to stderr, what could steer a terminal made visible; below a traceback, if one was asked for."""
    _trace()
    for line in lines:
        print(visible(line), file=sys.stderr)


def _unexpected(error: Exception) -> int:
    if not _trace():
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        hint = f"set {DEBUG}=1 for the traceback"
        print(f"ddbtrail failed: {visible(' '.join(what.split()))} ({hint})", file=sys.stderr)
    return FAILED


def _trace() -> bool:
    """Prints the traceback of the error being handled, if it was asked for."""
    if not os.environ.get(DEBUG):
        return False
    traceback.print_exc()
    return True


def drop_output() -> None:
    """Throws away what is still buffered, so that the interpreter does not fail over it on its way out."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- mistakes in what was typed ---


def _usage_error(error: CycloptsError, tokens: Sequence[str]) -> UsageError:
    """What the command line's parser says, as three lines."""
    error.verbose = False
    what, why = _what_and_why(error)
    chain = " ".join(error.command_chain or ())
    hint = f"type ddbtrail {chain} --help" if chain else "type ddbtrail --help"
    if isinstance(error, UnknownOptionError):
        hint += "; a key that begins with a dash goes after --"
    if tokens and tokens[0].startswith("-"):
        hint = "type the command first: ddbtrail tables -a ARCHIVE"
    return UsageError(what, why=why, hint=hint)


def _what_and_why(error: CycloptsError) -> tuple[str, str]:
    if isinstance(error, UnusedCliTokensError):
        return f"too many arguments: {' '.join(error.unused_tokens or ())}", ""
    what, _, why = " ".join(str(error).split()).partition(". ")
    if isinstance(error, UnknownCommandError):
        # The parser's own list of commands is cut short.
        suggestion, _, _ = why.partition(" Available commands")
        why = suggestion if suggestion.startswith("Did you mean") else ""
    return what[:1].lower() + what[1:].rstrip("."), why[:1].lower() + why[1:].rstrip(".")
