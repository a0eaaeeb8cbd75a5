"""The command `doctor`: whether a table is archived as it should be, check by check, and what to do where it is not."""

import re
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from query.cli.operating import OPERATING, Operating, gathering, open_archive, wall_ms
from query.cli.options import Table

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.operate.finding import Finding
    from query.operate.gather import Gathering

_WAIT: Final = re.compile(r"(\d{1,5}) ?([smh])", re.ASCII)
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600}


def doctor(
    table: Table,
    /,
    *,
    canary: Annotated[
        tuple[str, ...],
        Parameter(
            consume_multiple=True,
            negative=(),
            help="WRITE an item with this key into the table, and wait until the archive has it. It stays there.",
        ),
    ] = (),
    wait: Annotated[str, Parameter(help="How long to wait for the canary: 90s, 5m.")] = "5m",
    allow_mutable: Annotated[
        bool, Parameter(negative=(), help="An archive without Object Lock is meant: warn, and do not fail.")
    ] = False,
    options: Operating = OPERATING,
) -> int:
    """Check that a table is archived as it should be: stream, mapping, function, role, buckets, archive.

    Every check only reads, before a deployment and after. A tick is right, a cross is wrong and ! a warning, each with
    what to do; - was not checked, and why. Read-only permissions are enough; one that is missing is named.

    Only --canary writes: it puts one item into your table, with the key values given and the attribute
    ddbtrail_canary, and leaves it there. It replaces nothing but an earlier canary. Choose a key that your
    application ignores.

    Exit code 1 says that something is wrong, 4 that nothing is known to be wrong, and that something without which
    nobody can tell could not be checked.
    """
    from query.cli.invocation import Invocation
    from query.operate.diagnosis import diagnose
    from query.operate.finding import exit_code
    from query.render.findings import finding_lines, finding_sheet

    wait_s = parse_wait(wait)
    run = Invocation(options, more={"on_failure": options.on_failure})
    gathered = gathering(run, options, table)
    findings = list(diagnose(gathered.facts(), table, allow_mutable=allow_mutable, now_ms=wall_ms()))
    if canary:
        findings.append(_fly(run, gathered, canary, wait_s, findings))
    run.write(finding_sheet(findings), lambda: finding_lines(findings, run.target.look, run.target.encoding))
    return exit_code(findings)


def parse_wait(text: str) -> int:
    """Seconds of `90s`, `5m` or `1h`. Raises UsageError."""
    from query.errors import UsageError

    found = _WAIT.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise UsageError(f"{text!r} is no time to wait", hint="type for example --wait 90s or --wait 5m")
    return int(found[1]) * _UNITS_S[found[2]]


def _fly(
    run: "Invocation", gathered: "Gathering", typed: Sequence[str], wait_s: int, findings: Sequence["Finding"]
) -> "Finding":
    """Writes a canary and waits for it. Nothing is written where nobody could look for it."""
    from query.errors import QueryError
    from query.operate.answers import Unknown, is_said
    from query.operate.canary import CODE, Canary, Lookout, told, watch
    from query.operate.finding import not_checked

    url, trail = gathered.archive_url, gathered.live_trail
    if not is_said(gathered.table) or trail is None or url is None or isinstance(gathered.trail, Unknown):
        why = "no archive is named" if url is None else "table or archive could not be read"
        return not_checked(CODE, f"{why}: nothing was written").essential()
    flown = Canary.of(gathered.table, typed, secrets.token_hex(16))
    lookout = Lookout(open_archive(run.settings, url), trail, flown.token)
    refused = flown.put(gathered.table_writer, gathered.table_named)
    if refused is not None:
        return refused
    run.note(f"wrote the canary into {gathered.table_named}; waiting up to {wait_s} s for it")
    try:
        seconds = watch(lambda: lookout.sees(wall_ms()), wait_s=wait_s, monotonic=time.monotonic, pause=time.sleep)
    except QueryError as error:  # the checks before it were made, and the item is written: both are to be told
        why = f"written, and then the archive could not be read: {error.message}; the item stays in the table"
        return not_checked(CODE, why).essential()
    return told(seconds, wait_s, findings, {} if seconds is not None else gathered.mapping_now())
