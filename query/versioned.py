"""What has versions, an item or a collection: its history, and the choice of one version by name.

Invariants: a history is newest first unless asked the other way round, and `total` counts all changes, whatever was
selected; which change a name means is settled here alone, and a name that fits several is refused. Pure: the versions
are there already.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from query.answer import Change, Version
from query.diff import changes as attribute_changes
from query.diff import parse_path, touches
from query.errors import NoVersion, UsageError
from query.history import History
from query.plan import ReadPlan
from query.redaction import Redaction
from query.rev import Rev


class Versioned(ABC):
    """An item, or the items of a collection together."""

    @property
    @abstractmethod
    def redaction(self) -> Redaction:
        """What is masked where it is shown."""

    @property
    @abstractmethod
    def plan(self) -> ReadPlan:
        """What its history reads."""

    @property
    @abstractmethod
    def versions(self) -> Sequence[Version]:
        """Its versions, oldest first. Raises IdentityConflict where evidence contradicts itself about the one item."""

    def history(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        ops: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> History:
        """Its versions, newest first; `changed_at` from `since_ms` (inclusive) to `until_ms` (exclusive).

        Raises IdentityConflict if evidence contradicts itself about an item; a collection leaves such items out and
        lists them in `conflicts`.
        """
        versions = self.versions
        chosen = [
            version
            for version in versions
            if version.change and _is_chosen(version.change, since_ms, until_ms, ops, attributes)
        ]
        if not reverse:
            chosen.reverse()
        first = versions[0].change if versions else None
        return History(
            chosen[:limit], total=len(versions), first_change=first, plan=self.plan, redaction=self.redaction
        )


def version_at(rev: Rev, versions: Sequence[Version], item_key: str) -> Version:
    """The version of an item that a rev names, of all its versions. Raises NoVersion, UsageError."""
    index = _index_of(rev, versions, item_key) - rev.back
    if index < 0:
        raise NoVersion(
            f"{rev.text} lies before the first recorded change of {item_key}",
            why=f"{len(versions)} changes are recorded",
            hint="ddbtrail history lists them",
        )
    return versions[index]


def _index_of(rev: Rev, versions: Sequence[Version], item_key: str) -> int:
    if rev.base == "first":
        return 0
    if rev.base == "last":
        return len(versions) - 1
    prefix = rev.change_id_prefix or ""
    found = [index for index, version in enumerate(versions) if (version.change_id or "").startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoVersion(
            f"no change of {item_key} has an id that begins with {prefix}",
            hint="ddbtrail history lists its changes",
        )
    raise UsageError(
        f"{rev.text} fits {len(found)} changes of {item_key}",
        why=", ".join(f"@{versions[index].change_id}" for index in found[:5]),
        hint="write more of the id",
    )


def _is_chosen(
    change: Change,
    since_ms: int | None,
    until_ms: int | None,
    ops: Sequence[str] | None,
    attributes: Sequence[str] | None,
) -> bool:
    if since_ms is not None and change.changed_at_ms < since_ms:
        return False
    if until_ms is not None and change.changed_at_ms >= until_ms:
        return False
    if ops and change.op not in ops:
        return False
    return not attributes or _touches(change, attributes)


def _touches(change: Change, attributes: Sequence[str]) -> bool:
    """Whether a change is about one of some attributes, given by name or by nested path."""
    asked = [parse_path(name) for name in attributes]
    found = attribute_changes(change.old_image, change.new_image)
    return any(touches(one.steps, path) for one in found for path in asked)
