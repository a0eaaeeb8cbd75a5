"""Whether a trail is complete over a range: what each detector found, and what it cannot see. Pure.

No detector sees everything, so each is a line of its own and none is summed up as "complete" (`docs/answers.md`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from query.coverage import Stretch, Uncovered
from query.held_back import HeldBack
from query.image_chain import CANNOT_SEE, ImageChain
from query.instant import format_ms
from query.operate.finding import Finding, Result, failed, not_checked, passed, warned
from query.render.text import counted, grouped

COVERAGE: Final = "coverage"
IMAGE_CHAIN: Final = "image-chain"
HELD_BACK: Final = "held-back"
QUARANTINE: Final = "quarantine"
CONFLICTS: Final = "conflicts"

# What each detector is blind to, in the words that are shown.
BLIND_TO: Final = {
    COVERAGE: "that the newest stream is off or its trigger disabled, and records that expired between two others: "
    "ask ddbtrail status and doctor",
    IMAGE_CHAIN: CANNOT_SEE,
    HELD_BACK: "batches that Lambda dropped without telling anybody",
    QUARANTINE: "records that were never received",
    CONFLICTS: "a forgery that is the only record of its change",
}
# Detectors that this command does not have.
ELSEWHERE: Final = (
    ("second-reader", "nobody else has read this stream to compare with"),
    (
        "reconciliation",
        "a baseline (ddbtrail baseline TABLE --scan) is a link of the image chain of items that rest for two hours",
    ),
    ("canary", "ddbtrail doctor TABLE --canary KEY writes one and waits for it"),
)


@dataclass(frozen=True, slots=True)
class Completeness:
    """What was found over `since_ms` until before `until_ms` (epoch ms; None: the trail is empty).

    `held_back` is None if no on-failure destination was named, or a text that says why it could not be read;
    `quarantined` counts records that were not understood, of the trail and of no trail.
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

    def findings(self) -> Iterator[Finding]:
        """One for each detector, in order."""
        yield self._coverage()
        yield self._image_chain()
        yield self._held_back()
        yield self._quarantine()
        yield self._conflicts()
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
            f"{counted(len(self.uncovered), 'stretch', 'stretches')} not covered, {lost_ms // 1000} s in all",
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

    @property
    def exit_code(self) -> int:
        """3 if anything is missing or not to be trusted, else 4 if something asked for was not looked at, else 0."""
        found = list(self.findings())
        if any(finding.result is Result.FAILED for finding in found):
            return 3
        return 4 if any(finding.is_essential and finding.result is Result.NOT_CHECKED for finding in found) else 0
