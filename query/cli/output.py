"""Where an answer goes and in which format: stdout, a pager or a file.

Invariant: a file is written beside its name and renamed when it is whole; a command that fails leaves none behind.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from query.cli.options import Options
from query.config_values import OUTPUTS
from query.errors import QueryError, UsageError
from query.render.formats import EXTENSIONS
from query.render.text import Look
from query.settings import Settings

_FOR_PEOPLE: Final = "table"
_FOR_PIPES: Final = "jsonl"


@dataclass(frozen=True, slots=True)
class Target:
    """A format and a place: `path` is None for stdout. `look` is how a person there sees it."""

    output: str
    path: Path | None
    look: Look
    is_paged: bool = False

    @property
    def is_terminal(self) -> bool:
        return self.path is None and sys.stdout.isatty()

    @property
    def encoding(self) -> str:
        """What text is encoded in there: files are UTF-8, a terminal has an encoding of its own."""
        return "utf-8" if self.path is not None else sys.stdout.encoding or "utf-8"

    def write(self, pieces: Iterable[str]) -> None:
        """Writes text. Raises QueryError if a file cannot be written."""
        if self.path is not None:
            with self.new_file() as path, path.open("w", encoding="utf-8", newline="") as file:
                file.writelines(pieces)
        elif self.is_paged:
            _page(pieces)
        else:
            sys.stdout.writelines(pieces)

    @contextmanager
    def new_file(self) -> Iterator[Path]:
        """A path to write a whole file to; afterwards the file has its name, or is copied to stdout."""
        folder = None if self.path is None else self.path.parent
        with _told(self.path), tempfile.TemporaryDirectory(prefix=".ddbtrail-", dir=folder) as beside:
            path = Path(beside, "output")
            yield path
            if self.path is not None:
                path.replace(self.path)
                return
            sys.stdout.flush()
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)


def choose_target(options: Options, settings: Settings, *, is_paged: bool) -> Target:
    """The target that flags, file name, configuration and terminal mean together. Raises UsageError."""
    path = None if options.output_file is None else Path(options.output_file)
    output = options.output or (None if path is None else _format_of(path)) or settings.output
    is_terminal = path is None and sys.stdout.isatty()
    output = output or (_FOR_PEOPLE if is_terminal else _FOR_PIPES)
    if output == "parquet" and is_terminal:
        raise UsageError("Parquet cannot be shown on a terminal", hint="add -O FILE.parquet, or redirect the output")
    look = Look(
        width=shutil.get_terminal_size().columns if is_terminal and not options.full else None,
        is_coloured=path is None and _is_coloured(settings.color, is_terminal=is_terminal),
        is_full=options.full,
        zone=settings.tz,
    )
    return Target(output, path, look, is_paged=is_paged and is_terminal and output == _FOR_PEOPLE)


def _format_of(path: Path) -> str:
    try:
        return EXTENSIONS[path.suffix.lower()]
    except KeyError as error:
        raise UsageError(
            f"the ending of {path} names no format",
            why=f"endings are {', '.join(EXTENSIONS)}",
            hint=f"add -o with one of {', '.join(OUTPUTS)}",
        ) from error


def _is_coloured(color: str, *, is_terminal: bool) -> bool:
    """`--color` decides, then NO_COLOR (no-color.org: set and not empty), then FORCE_COLOR, then the terminal."""
    if color != "auto":
        return color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal and os.environ.get("TERM") != "dumb"


@contextmanager
def _told(path: Path | None) -> Iterator[None]:
    """Turns what the system says about a file into an error that names it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        name = "the temporary folder" if path is None else str(path)
        why = error.strerror or str(error)
        if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            hint = "type -O with a file in a folder that exists"
            raise UsageError(f"could not write {name}", why=why.lower(), hint=hint) from error
        raise QueryError(
            f"could not write {name}", why=why.lower(), hint="free space, or choose another file"
        ) from error


def _page(pieces: Iterable[str]) -> None:
    """Shows text in the user's pager; straight on the terminal where there is none."""
    command = os.environ.get("PAGER", "less")
    if not command or command == "cat" or shutil.which(command.split()[0]) is None:
        sys.stdout.writelines(pieces)
        return
    # As git does: quit if it fits on one screen, let colours through, leave the text on the screen.
    environ = {"LESS": "FRX", **os.environ}
    pager = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, text=True, encoding="utf-8", env=environ)  # noqa: S603  PAGER is the user's own
    assert pager.stdin is not None
    # The person may have seen enough before the end; the pager ends by itself.
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt), pager.stdin:
        pager.stdin.writelines(pieces)
    _wait(pager)


def _wait(pager: "subprocess.Popen[str]") -> None:
    """Waits for the pager: Ctrl-C is for it, not for us."""
    while True:
        try:
            pager.wait()
        except KeyboardInterrupt:
            continue
        return
