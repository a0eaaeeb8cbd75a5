"""The command `status`: how far behind the archive of a table is, and what is held back from it."""

from query.cli.operating import OPERATING, Operating, gathering, wall_ms
from query.cli.options import Table


def status(table: Table, /, *, options: Operating = OPERATING) -> int:
    """Show how the archiving of a table goes: the mapping, how late it is, what was archived last, what is held back.

    Figures that could not be had are null, and say why. In json, ages are in seconds and sizes in bytes. The newest
    seal is shown with its age and the size of its log; whether it is true, ddbtrail verify says.

    Exit code 1 says that it does not go well: the mapping is not enabled, its last batch failed, records are over 15
    minutes late, the on-failure bucket is not empty, or the newest seal is over two hours old. 4 says that this could
    not be seen.
    """
    from query.cli.invocation import Invocation
    from query.operate.diagnosis import Health, examine
    from query.operate.finding import exit_code
    from query.render.findings import HealthView, finding_lines, health_sheet

    run = Invocation(options, more={"on_failure": options.on_failure})
    gathered = gathering(run, options, table)
    health = Health(reader=gathered.reader, lag=gathered.lag(), trail=gathered.trail, on_failure=gathered.on_failure)
    now_ms = wall_ms()
    findings = list(examine(health, table, now_ms))
    view = HealthView(gathered.live_trail, health, findings, now_ms)
    run.write(health_sheet(view), lambda: finding_lines(findings, run.target.look, run.target.encoding))
    return exit_code(findings)
