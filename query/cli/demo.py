"""The command `demo`: a sample archive in a folder, and what to ask it. No AWS."""

import shlex
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from query.cli.progress import Stderr, count
from query.cli.writing import OK, Quiet, exit_code

# Each works in the folder of the sample, as it stands here.
COMMANDS: Final = (
    "history orders 'CUST#1' 'ORDER#0015' -p",
    "blame customers 7",
    "log customers --during 2026-Q3 --attr credit_limit --stat",
    """as-of orders 2026-08-17 --where "item->>'$.status' = 'NEW'\"""",
    "coverage orders --during 2026-Q3",
    "verify customers --pinned-key sample.key.pub --during 2026-Q3",
)


def demo(
    folder: Annotated[Path, Parameter(help="Folder for the sample; it must be empty, or not there yet.")] = Path(
        "ddbtrail-demo"
    ),
    /,
    *,
    quiet: Quiet = False,
) -> int:
    """Write a sample archive into a folder, and say what to ask it.

    Three tables of a shop in the third quarter of 2026, sealed, with deletes, carts that expired, numbers of 38 digits,
    sets, binary, an afternoon without a stream in orders, and a batch of stock that was lost. It is the same every
    time, and needs no AWS. Its key is known to everybody: sign nothing else with it.
    """

    def work(say: Stderr) -> int:
        from query.cli.sample import write_sample

        written = write_sample(folder)
        what = f"{count(written.changes, 'change')} of {count(written.tables, 'table')} in {folder}"
        say.line(what if written.is_new else f"{what}, there already")
        say.line(f"ask it, for example:\n\n  cd {shlex.quote(str(folder))}")
        for command in COMMANDS:
            say.line(f"  ddbtrail {command}")
        return OK

    return exit_code(work, Stderr(quiet))
