"""Whether a trail is complete over a range: what each detector found, and what it cannot see. Pure.

No detector sees everything, so each is a line of its own and none is summed up as "complete" (`docs/answers.md`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from query import canary_chain, reconcile, second_reader
from query.canary_chain import COUNTER, CanaryChain
from query.coverage import Stretch, Uncovered
from query.held_back import HeldBack
from query.image_chain import CANNOT_SEE, ImageChain
from query.instant import format_ms
from query.operate.finding import Finding, Result, failed, not_checked, passed, warned
from query.reconcile import Difference, Reconciliation
from query.render.text import counted, duration, grouped

COVERAGE: Final = "coverage"
IMAGE_CHAIN: Final = "image-chain"
HELD_BACK: Final = "held-back"
QUARANTINE: Final = "quarantine"
CONFLICTS: Final = "conflicts"
RECONCILIATION: Final = "reconciliation"
SECOND_READER: Final = "second-reader"
CANARY: Final = "canary"

# What each detector is blind to, in the words that are shown.
BLIND_TO: Final = {
    COVERAGE: "that the newest stream is off or its trigger disabled, and records that expired between two others: "
    "ask ddbtrail status and doctor",
    IMAGE_CHAIN: CANNOT_SEE,
    HELD_BACK: "batches that Lambda dropped without telling anybody",
    QUARANTINE: "records that were never received",
    CONFLICTS: "a forgery that is the only record of its change",
    RECONCILIATION: reconcile.CANNOT_SEE,
    CANARY: canary_chain.CANNOT_SEE,
    SECOND_READER: second_reader.CANNOT_SEE,
}
# The detector that is a command of its own.
ELSEWHERE: Final = (
    (SECOND_READER, "ddbtrail follow --compare --stream ARN reads the stream itself, and compares each change"),
)


@dataclass(frozen=True, slots=True)
class Completeness:
    """What was found over `since_ms` until before `until_ms` (epoch ms; None: the trail is empty).

    `held_back` is None if no on-failure destination was named, or a text that says why it could not be read;
    `quarantined` counts records that were not understood, of the trail and of no trail; `reconciliation` is None if
    nothing to compare with was named, or a text like `held_back`; `canaries` are the chains of those that were named,
    or a text in place of one that could not be read.
    """

    table_name: str
    since_ms: int | None
    until_ms: int | None
    newest_change_ms: int | None
    stretches: tuple[Stretch, ...]
    uncovered: tuple[Uncovered, ...]
    chain: ImageChain
    held_back: HeldBack | str | None
    quarantined: int
    reconciliation: Reconciliation | str | None = None
    canaries: tuple[CanaryChain | str, ...] = ()

    def findings(self) -> Iterator[Finding]:
        """One for each detector, in order."""
        yield self._coverage()
        yield self._image_chain()
        yield self._held_back()
        yield self._quarantine()
        yield self._conflicts()
        yield self._reconciliation()
        yield from self._canaries()
        for name, why in ELSEWHERE:
            yield not_checked(name, why)

    def _coverage(self) -> Finding:
        if self.since_ms is None:
            return failed(COVERAGE, "nothing is archived", "ddbtrail doctor TABLE says why nothing arrives")
        if not self.uncovered:
            return passed(COVERAGE, f"covered from {format_ms(self.since_ms)}, without a gap between streams")
        lost_ms = sum(part.until_ms - part.since_ms for part in self.uncovered)
        return failed(
            COVERAGE,
            f"{counted(len(self.uncovered), 'stretch', 'stretches')} not covered, {duration(lost_ms // 1000)} in all",
            "its changes are not recoverable; narrow the range, or import a baseline to know the state after it",
        )

    def _image_chain(self) -> Finding:
        chain = self.chain
        whole = f"{counted(chain.comparable, 'link')} compared"
        unknown = chain.links - chain.comparable
        if unknown:
            whole += f"; of {grouped(unknown)} more the stream carried no image"
        if chain.broken:
            where = f"{counted(chain.broken, 'break')} in {counted(chain.items, 'item')}"
            return failed(
                IMAGE_CHAIN,
                f"{where}: changes are missing there ({whole})",
                "look for them with ddbtrail replay and, inside 24 hours, ddbtrail follow",
            )
        if chain.links and not chain.comparable:
            return warned(
                IMAGE_CHAIN, whole, "the stream has to carry NEW_AND_OLD_IMAGES; its owner can enable it anew"
            )
        return passed(IMAGE_CHAIN, whole)

    def _held_back(self) -> Finding:
        held = self.held_back
        if held is None:
            return not_checked(HELD_BACK, "no on-failure destination was named: --on-failure s3://BUCKET")
        if isinstance(held, str):
            return not_checked(HELD_BACK, held).essential()
        if held.missing or held.unclear:
            told = [f"{counted(held.missing, 'change')} not archived"] if held.missing else []
            told += [f"{counted(len(held.unclear), 'object')} that cannot be told of"] if held.unclear else []
            return failed(
                HELD_BACK,
                f"{' and '.join(told)}, of {counted(held.objects, 'object')} in {held.url}",
                f"ddbtrail replay {self.table_name}",
            )
        if held.objects:
            return passed(HELD_BACK, f"all of {counted(held.objects, 'object')} in {held.url} is archived")
        return passed(HELD_BACK, f"nothing of this table in {held.url}")

    def _quarantine(self) -> Finding:
        if not self.quarantined:
            return passed(QUARANTINE, "no record was set aside")
        return failed(
            QUARANTINE,
            f"{counted(self.quarantined, 'record')} set aside because they were not understood; no answer uses them",
            "docs/operations.md, Quarantine",
        )

    def _conflicts(self) -> Finding:
        conflicts = self.chain.conflicts
        if not conflicts:
            return passed(CONFLICTS, "no two rows tell one change in two ways")
        return failed(
            CONFLICTS,
            f"{counted(len(conflicts), 'change')} told in two ways; no answer rests on those items",
            f"ddbtrail log {self.table_name} --conflicts",
        )

    def _reconciliation(self) -> Finding:
        found = self.reconciliation
        if found is None:
            return not_checked(RECONCILIATION, "nothing to compare with was named: --scan, or --reconcile EXPORT")
        if isinstance(found, str):
            return not_checked(RECONCILIATION, found).essential()
        whole = _compared(found)
        if found.different:
            kinds = [one.kind for one in found.differences]
            told = [f"{grouped(kinds.count(kind))} {_KINDS[kind]}" for kind in Difference if kind in kinds]
            return failed(
                RECONCILIATION,
                f"{counted(found.different, 'item')} not as the trail says: {', '.join(told)} ({whole})",
                "look for their changes with ddbtrail replay and, inside 24 hours, ddbtrail follow",
            )
        if found.items and not found.compared:
            return not_checked(RECONCILIATION, f"no item could be compared ({whole})").essential()
        if found.unknown:
            return warned(
                RECONCILIATION,
                whole,
                "ddbtrail baseline TABLE --scan makes them known; --from-beginning says that the trail began with the "
                "table",
            )
        return passed(RECONCILIATION, whole)

    def _canaries(self) -> Iterator[Finding]:
        if not self.canaries:
            yield not_checked(CANARY, "no canary was named: --canary KEY, or canary_keys in ddbtrail.toml")
        for number, found in enumerate(self.canaries, start=1):
            # By number: a key may be one that is never shown. Where its chain breaks, the item is named.
            named = f"canary {number}: " if len(self.canaries) > 1 else ""
            finding = _canary(found)
            yield replace(finding, detail=named + finding.detail)

    @property
    def exit_code(self) -> int:
        """3 if anything is missing or not to be trusted, else 4 if something asked for was not looked at, else 0."""
        found = list(self.findings())
        if any(finding.result is Result.FAILED for finding in found):
            return 3
        return 4 if any(finding.is_essential and finding.result is Result.NOT_CHECKED for finding in found) else 0


_KINDS: Final = {
    Difference.MISSING_IN_ARCHIVE: "that the trail does not have",
    Difference.NOT_IN_TABLE: "that the table does not have",
    Difference.DIFFERS: "with another content",
}


def _compared(found: Reconciliation) -> str:
    rest = [
        f"{grouped(number)} {what}"
        for number, what in (
            (found.touched, "changed meanwhile"),
            (found.unknown, "of which the trail cannot tell"),
            (found.conflicts, "in conflict"),
            (found.settled, "settled at a second look"),
        )
        if number
    ]
    return "; ".join([f"{counted(found.compared, 'item')} compared", *rest])


def _canary(found: CanaryChain | str) -> Finding:
    if isinstance(found, str):
        return not_checked(CANARY, found).essential()
    if found.newest_ms is None:
        return failed(CANARY, "it has no change in this range", "ddbtrail doctor says what is broken")
    told = counted(found.changes, "change")
    if found.counted:
        told += f", counter {found.first_counter} to {found.last_counter}"
    age_s = (found.until_ms - found.newest_ms) // 1000
    told += f", at most {found.longest_ms // 1000} s apart, the newest {age_s} s old"
    if found.breaks:
        return failed(
            CANARY,
            f"{counted(len(found.breaks), 'break')} in {told}",
            "changes were lost on the way: ddbtrail replay and, inside 24 hours, ddbtrail follow",
        )
    if found.is_silent:
        return failed(CANARY, f"silent: {told}", "see whether its writer runs; then ddbtrail doctor")
    if found.counted < found.changes:
        return warned(
            CANARY,
            f"{told}; {counted(found.changes - found.counted, 'change')} without a counter",
            f"let its writer add one to {COUNTER} each time: nothing else tells that no change was left out",
        )
    if found.has_rested:
        return warned(CANARY, told, "its writer rested, or was throttled: the counter lacks nothing")
    return passed(CANARY, told)
