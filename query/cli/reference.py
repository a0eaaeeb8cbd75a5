"""The help of every command as it stands in `docs/cli.md`: `python -m query.cli.reference docs/cli.md` renews it there.

A block belongs to a command by its first line, `$ ddbtrail history --help`; other text of the page is left as it is.
"""

import io
import re
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from query.cli import COMMANDS, GROUPED, make_app

_BLOCK: Final = re.compile(r"```text\n\$ ddbtrail (?P<command>[a-z -]*?) ?--help\n.*?```", re.DOTALL)
_WIDTH: Final = 100


def help_text(command: str) -> str:
    """What `ddbtrail COMMAND --help` prints, `command` being empty for the command itself."""
    console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    tokens = command.split()
    make_app(tokens[0] if tokens else "").help_print(tokens, console=console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().strip().splitlines())


def renewed(page: str) -> str:
    """A page with each of its blocks as the commands say it now."""
    return _BLOCK.sub(lambda found: block(found["command"]), page)


def block(command: str) -> str:
    """The block of one command."""
    return f"```text\n$ ddbtrail {f'{command} ' if command else ''}--help\n{help_text(command)}\n```"


def commands() -> list[str]:
    """Every command that the page must show."""
    grouped = (f"{group} {name}" for group, _, _, members in GROUPED for name, _ in members)
    return ["", *(name for name, *_ in COMMANDS), *grouped]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(renewed(Path(name).read_text(encoding="utf-8")), encoding="utf-8")
