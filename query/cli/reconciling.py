"""A trail beside the table itself, or an export of it, for the commands that compare them: coverage, verify.

What differs is looked at once more before it is told: a record may have been on its way.
"""

import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.reconcile import Reconciliation
    from query.table import Table as Trail

_MOST_LOOKED_AT_AGAIN: Final = 10_000  # items, one by one


def reconciled(
    run: "Invocation", table: "Trail", export: str | None, settle_ms: int, *, is_from_beginning: bool
) -> "Reconciliation | str":
    """The trail beside an export, or else beside the live table; a text if that cannot be read.

    What differs is looked at again with the archive as it is then: a record may have been on its way.
    """
    from query.cli.table_items import ItemsUnreadable, exported_items, scanned_items
    from query.cli.writing import DataSource
    from query.reconcile import reconcile

    data = DataSource(run.options.endpoint_url, run.options.region, run.options.profile)
    try:
        if export is None:
            items = scanned_items(table, data)
        else:
            items = exported_items(export, table, data, run.settings.key_schema_for(table.name))
        refresh = partial(run.archive.table, _spelled(table), with_derived=False)
        compare = partial(reconcile, is_from_beginning=is_from_beginning, refresh=refresh)
        found = compare(table, items.batches, from_ms=items.from_ms, to_ms=items.to_ms)
        if not 0 < found.different <= _MOST_LOOKED_AT_AGAIN or not items.may_be_late:
            return found
        run.note(f"{found.different} items differ; looking again in {settle_ms // 1000} s (--settle)")
        time.sleep(settle_ms / 1000)
        keys = [one.item_key for one in found.differences]
        later = items.again(keys)
        again = compare(table, later.batches, from_ms=later.from_ms, to_ms=later.to_ms, item_keys=keys)
        return found.confirmed_by(again)
    except ItemsUnreadable as error:
        return f"{error.message}; {error.hint}"


def _spelled(table: "Trail") -> str:
    return f"{table.trail.account}/{table.trail.region}/{table.name}"
