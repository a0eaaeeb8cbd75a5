"""What a reviewer asks of a whole table, in the words of the command line: log, stat, compare, reconcile.

Invariant: names, times and their ends mean what they mean there; all else is that of `Table.changes` and `Table.as_of`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from query.errors import UsageError
from query.instant import Instant
from query.operations import parse_operations
from query.time_range import parse_range

if TYPE_CHECKING:
    from query.change_stat import ChangeStat
    from query.changes import Changes
    from query.compare import Comparison
    from query.item import Item
    from query.reconcile import Reconciliation
    from query.rev import Rev
    from query.table import Table, When

Answer = TypeVar("Answer")


class Reviewed(ABC):
    """A table; `_now_ms` and `_zone` are what its times are read by."""

    _now_ms: Callable[[], int]
    _zone: str | None

    @abstractmethod
    def resolve(self, when: "When") -> "Instant | Rev":
        """A `when` as an instant or a revision."""

    @abstractmethod
    def asked(self, work: "Callable[[Table], Answer]") -> Answer:
        """What `work` finds out of this table."""

    def log(
        self,
        *,
        since: "When | None" = None,
        until: "When | None" = None,
        during: str | None = None,
        op: str | None = None,
        actor: str | None = None,
        attr: str | Sequence[str] = (),
        where: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> "Changes":
        """Its changes, newest first: `since` inclusive, `until` exclusive, or `during` a period such as `2026-Q3`.

        `op` is `insert,modify,remove`, `attr` a name or path or several, `where` a SQL condition as of `ddbtrail log`.
        Raises UsageError; else as `Table.changes`.
        """
        asked = self._asked(since, until, during, op, actor, attr) | {
            "where": where,
            "limit": limit,
            "reverse": reverse,
        }
        return self.asked(lambda table: table.changes(**asked))

    def stat(
        self,
        *,
        since: "When | None" = None,
        until: "When | None" = None,
        during: str | None = None,
        op: str | None = None,
        actor: str | None = None,
        attr: str | Sequence[str] = (),
    ) -> "ChangeStat":
        """How many changes there are, by op, actor, attribute and day. Raises as `log`."""
        from query.change_stat import change_stat  # noqa: PLC0415  it asks tables

        asked = self._asked(since, until, during, op, actor, attr)
        return self.asked(lambda table: change_stat(table, **asked))

    def compare(self, older: "When", newer: "When" = "now") -> "Comparison":
        """Which items were added, removed or modified from one moment to another; both as `as_of` takes them."""
        from query.compare import compare  # noqa: PLC0415  it asks tables

        return self.asked(lambda table: compare(table, older, newer))

    def items(self, keys: Any) -> "list[Item]":
        """Its items of some keys, each once: a data frame with the key attributes as columns, or with `item_key`; or
        keys one by one. Raises KeyMismatch or UsageError, with the row; also for a masked key, which is no key.
        """
        from query.frames import keys_of  # noqa: PLC0415  Arrow takes its time

        table = cast("Table", self)
        found = keys_of(table.key_schema, keys, table=table.name, redaction=table.redaction)
        return [table.item(key) for key in found]

    def reconcile(self, rows: Any, *, since: "When", until: "When" = "now") -> "Reconciliation":
        """What the trail says that the table held, beside `rows`: every item of it, as it was read meanwhile.

        `rows` is a data frame with a column `image` (DynamoDB JSON as text), or the items themselves as boto3's client
        gives them. An item that changed from a minute before `since` on, or up to a minute after `until`, is not
        compared. Each row is looked at once: a record may still be on its way to the archive.
        Raises UsageError for what is no item, for an item that is there twice, and for one that was shown masked;
        UnreadableArchive.
        """
        from query.frames import held_rows, images_of  # noqa: PLC0415  Arrow takes its time
        from query.reconcile import reconcile  # noqa: PLC0415

        if since is None:
            raise UsageError(
                "reconcile was not told since when the rows were read",
                why="an item that changed while they were read is not compared",
                hint="give since the instant before the first row was read, as '2026-10-01T00:00:00Z'",
            )
        since_ms, until_ms = self._end_ms(since), None if until == "now" else self._end_ms(until)
        held = held_rows(rows)  # derived data may go while it is read, and then the rows are read once more

        def read(table: "Table") -> "Reconciliation":
            items = images_of(table.key_schema, held, table=table.name, redaction=table.redaction)
            return reconcile(table, items, from_ms=since_ms, to_ms=until_ms)

        return self.asked(read)

    def _asked(
        self,
        since: "When | None",
        until: "When | None",
        during: str | None,
        op: str | None,
        actor: str | None,
        attr: str | Sequence[str],
    ) -> dict[str, Any]:
        """What `Table.changes` is asked."""
        since_ms, until_ms = parse_range(
            since, until, during, now_ms=self._now_ms(), zone=self._zone, end_ms=self._end_ms
        )
        return {
            "since_ms": since_ms,
            "until_ms": until_ms,
            "ops": parse_operations(op),
            "actor": actor,
            "attributes": [attr] if isinstance(attr, str) else attr,
        }

    def _end_ms(self, when: "When") -> int:
        at = self.resolve(when)
        if not isinstance(at, Instant):
            raise UsageError(f"{at.text} is a change, not an instant", hint="a range of time has instants at its ends")
        return at.ms
