"""The trails of an archive, told by its folders, and the one that a reference names."""

import difflib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from archiver.format.layout import ROOT, Trail
from query.errors import AmbiguousTable, UnknownTable, UnreadableArchive
from query.source import Source
from query.table_ref import TableRef

_CLOSE_NAMES: Final = 3
_LISTINGS: Final = 2


def trails(source: Source) -> list[Trail]:
    """The trails of an archive, in order; none if it is empty. Raises UnreadableArchive for another format version."""
    with ThreadPoolExecutor(_LISTINGS) as together:
        roots, accounts = together.submit(source.folders, ""), together.submit(source.folders, f"{ROOT}/")
    versions = [name for name in roots.result() if name[:1] == "v" and name[1:].isdigit()]
    others = [name for name in versions if name != ROOT]
    if others:  # also beside our own: then ours is only the older part of the trail
        raise UnreadableArchive(
            f"the archive at {source.url} is of format {', '.join(others)}",
            why=f"this version of ddbtrail reads format {ROOT} only",
            hint="upgrade ddbtrail, or read it with the version that wrote it",
        )
    found = []
    for account in accounts.result():
        if not account.startswith("account="):
            continue
        for region in source.folders(f"{ROOT}/{account}/"):
            for table in source.folders(f"{ROOT}/{account}/{region}/"):
                with suppress(ValueError):  # a folder that no table has is not asked for, and stops no other
                    found.append(Trail.parse(f"{ROOT}/{account}/{region}/{table}/")[0])
    return sorted(found)


def find_trail(known: Sequence[Trail], ref: TableRef) -> Trail:
    """The one trail that a reference names. Raises UnknownTable (with the closest names) or AmbiguousTable."""
    matches = [
        trail
        for trail in known
        if trail.table_name == ref.table_name
        and ref.region in {None, trail.region}
        and ref.account in {None, trail.account}
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(f"{trail.account}/{trail.region}/{trail.table_name}" for trail in matches)
        raise AmbiguousTable(
            f"{len(matches)} trails are called {ref.table_name}",
            why=f"candidates: {names}",
            hint="write region/name or account/region/name",
        )
    tables = sorted({trail.table_name for trail in known})
    close = difflib.get_close_matches(ref.table_name, tables, _CLOSE_NAMES, 0.5)
    why = f"closest: {', '.join(close)}" if close else f"it has {', '.join(tables[:10]) or 'no tables at all'}"
    raise UnknownTable(
        f"the archive has no table {ref.text}", why=why, hint="ddbtrail tables lists what the archive holds"
    )
