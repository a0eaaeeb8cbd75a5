"""Which table a baseline is of, and what is known of it that its items cannot say: its key, and the stream that was on.

Invariant: nothing is guessed. A table that is not the one named is refused, a key that nobody knows is asked for, and a
stream that is not known to have been on is said to be missing.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archiver.format.layout import StreamSource, Trail
from query.cli.progress import Stderr
from query.errors import UsageError

if TYPE_CHECKING:
    from archiver.export import Export
    from archiver.streams import DescribeTable
    from query.settings import Settings


def live_table(export: "Export", describe: "DescribeTable", say: Stderr) -> Mapping[str, Any]:
    """The table as it is now, if it is still the one that was exported; empty if it is not, or cannot be asked."""
    from archiver.streams import TableUnreadable

    try:
        live = describe(StreamSource(export.trail, ""))
    except TableUnreadable as error:
        say.warning(f"could not describe {export.trail.table_name}: {error}")
        return {}
    if live.get("TableId") != export.table_id:
        say.warning(f"{export.trail.table_name} is another table today than the one that was exported")
        return {}
    return live


def key_of(
    trail: Trail, settings: "Settings", live: Mapping[str, Any], described: Mapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Key attributes in order, and their types as far as known; an export holds whole items and does not say."""
    from archiver.tables import key_of_table

    known = [key_of_table(live)] if live else []
    known += [(stream.key_names, dict(stream.key_schema)) for stream in described.values()]
    configured = settings.key_schema_for(trail.table_name)
    if configured is not None:
        return configured, next((types for names, types in known if names == configured), {})
    if not known:
        raise UsageError(
            f"the key of {trail.table_name} is not known",
            why="an export holds whole items, and neither live table nor archive says which attributes are the key",
            hint="add --key-schema pk,sk: partition key, then sort key",
        )
    return known[0]


def explain_label(label: str | None, say: Stderr) -> None:
    """Warns of what it means that no stream is known to have been on."""
    if label is None:
        say.warning(
            "no stream is known to have been on while this baseline was taken, so it adds no coverage: an instant is "
            "answered from it only where a change on the other side of the gap agrees (docs/answers.md, Coverage); "
            "if one was on, stop and add --stream-label"
        )


def check_table(given: str, trail: Trail, what: str) -> None:
    """Raises UsageError if `what` is of another table than the one that was typed."""
    from archiver.tables import trail_of_table

    names = (trail.account, trail.region, trail.table_name)
    try:
        is_meant = trail_of_table(given) == trail if given.startswith("arn:") else _ends_with(names, given.split("/"))
    except ValueError:
        is_meant = False
    if not is_meant:
        raise UsageError(f"{what} is of {'/'.join(names)}, not of {given}", hint=f"type {trail.table_name}")


def _ends_with(names: tuple[str, ...], given: list[str]) -> bool:
    return list(names[-len(given) :]) == given


def name_and_region(table: str) -> tuple[str, str | None]:
    """The name of a table as it was typed, and its region if that was typed too."""
    if table.startswith("arn:"):
        return table.rpartition("/")[2], table.split(":")[3] if table.count(":") > 3 else None  # noqa: PLR2004
    parts = table.split("/")
    return parts[-1], parts[-2] if len(parts) > 1 else None
