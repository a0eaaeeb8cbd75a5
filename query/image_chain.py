"""The image chain: whether each change of an item finds what the one before it left. Says where changes are missing.

Only an archive of both images can tell. Invariants: nothing is called missing where an image was not carried or where
clocks may disagree; images are compared as values, so another spelling of the same item breaks nothing; an item whose
evidence contradicts itself is left to `conflicts`. What no chain can see is `CANNOT_SEE`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from archiver.format.values import same_attributes
from query.catalog import Evidence
from query.conflicts import EVER, Conflict, find_conflicts
from query.coverage import Coverage
from query.descriptions import Baseline
from query.diff import changed_attributes
from query.engine import Question
from query.plan import CLOCK_MARGIN_MS
from query.rows import Reader

CANNOT_SEE: Final = (
    "the last changes of an item, a life from insert to remove that is missing whole, "
    "and changes that led back to what was there before"
)

MOST_BREAKS: Final = 100_000  # that a list in memory holds


class Cause(StrEnum):
    """Where a break lies."""

    WITHIN_STREAM = "within-stream"
    BETWEEN_STREAMS = "between-streams"  # the stream was disabled and enabled again
    BETWEEN_TABLES = "between-tables"  # the table was deleted and made again
    BESIDE_BASELINE = "beside-baseline"  # a baseline on one side, whose stream is another, or not known


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """A fact at one end of a link: a change, or what a baseline shows of the item.

    `at_ms` (epoch ms) is `changed_at`, or the outer end of the baseline's interval.
    """

    at_ms: int
    stream_label: str | None
    change_id: str | None = None
    baseline: str | None = None


@dataclass(frozen=True, slots=True)
class ImageBreak:
    """Between two neighbouring facts of an item at least one change is missing: `missing` is its operation.

    `changed_attributes` are the top-level names that differ between what was left and what was found.
    """

    item_key: str
    missing: str
    cause: Cause
    since: LinkEnd
    until: LinkEnd
    changed_attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageChain:
    """What the chain of a trail says. `links` counts neighbouring facts, `comparable` those whose images are known.

    `breaks` are in order of time, at most as many as were asked for, of `broken` in all, in `items` items; items in
    `conflicts` are left out.
    """

    links: int
    comparable: int
    broken: int
    items: int
    breaks: tuple[ImageBreak, ...]
    conflicts: tuple[Conflict, ...]


def image_chain(
    question: Question,
    reader: Reader,
    evidence: Evidence,
    coverage: Coverage,
    *,
    since_ms: int | None,
    until_ms: int | None,
    most: int,
) -> ImageChain:
    """The chain of all items; `question` has read the changes. A break that lies wholly outside the half-open range
    (epoch ms) is not counted.
    """
    baselines = [baseline for baseline in evidence.baselines if baseline.description.complete]
    _find_links(question, reader, coverage, baselines)
    links, comparable, suspect, is_contradicted = question.rows("links_told")[0]
    conflicts = find_conflicts(question.rows("range_conflicts", EVER), reader.tellers()) if is_contradicted else ()
    conflicting = {conflict.item_key for conflict in conflicts}
    breaks: list[ImageBreak] = []
    broken, items = 0, set[str]()
    for row in _broken_rows(question, reader, baselines) if suspect else ():
        since, until = (_end(row, side, baselines) for side in ("earlier", "later"))
        is_outside = (since_ms is not None and until.at_ms < since_ms) or (
            until_ms is not None and since.at_ms >= until_ms
        )
        if row["item_key"] in conflicting or is_outside:
            continue
        broken += 1
        items.add(row["item_key"])
        if len(breaks) < most:
            breaks.append(_break(row, since, until))
    return ImageChain(links, comparable, broken, len(items), tuple(breaks), conflicts)


def _find_links(question: Question, reader: Reader, coverage: Coverage, baselines: Sequence[Baseline]) -> None:
    """Makes the relation `links`."""
    labels = [stretch.stream_label for stretch in coverage.stretches]
    question.set("labels", labels)
    question.set("table_numbers", [_tables_before(label, coverage) for label in labels])
    question.run("numbered")
    question.run("chain")
    if question.rows("has_long_numbers")[0][0]:
        question.run("numbered_as_text")
        question.run("chain")
    if baselines:
        _link_baselines(question, reader, coverage, baselines)
    question.run("links")


def _link_baselines(question: Question, reader: Reader, coverage: Coverage, baselines: Sequence[Baseline]) -> None:
    """Puts what baselines show among the changes."""
    question.run("chain_effective")
    told = [
        {
            "number": number,
            "from_ms": baseline.description.from_ms,
            "to_ms": baseline.description.to_ms,
            "table_number": _table_number(baseline, coverage),
        }
        for number, baseline in enumerate(baselines)
    ]
    for one, baseline in zip(told, baselines, strict=True):
        reader.read_baseline(question, "floor", baseline)
        question.run("chain_baseline", {name: one[name] for name in ("number", "from_ms", "table_number")})
    question.set("baselines", told)
    question.set("margin_ms", CLOCK_MARGIN_MS)
    question.run("chain_void")


def _tables_before(label: str, coverage: Coverage) -> int:
    """How many tables of that name were deleted before a stream began."""
    return sum(end.stream_label <= label for end in coverage.ends)


def _table_number(baseline: Baseline, coverage: Coverage) -> int:
    """How many tables of that name were deleted before the one that a baseline is of."""
    label, from_ms = baseline.description.stream_label, baseline.description.from_ms
    if label is not None:
        return _tables_before(label, coverage)
    return sum(end.at_ms <= from_ms for end in coverage.ends)


def _broken_rows(question: Question, reader: Reader, baselines: Sequence[Baseline]) -> Iterator[dict[str, Any]]:
    """The suspect links that do not hold as values either, in order of time."""
    question.run("suspect_images_empty")
    for number, baseline in enumerate(baselines):
        reader.read_baseline(question, "floor", baseline)
        question.run("suspect_images", {"number": number})
    for batch in question.batches("suspect_links"):
        for row in batch.to_pylist():
            left, found = row["left_image"], row["found_image"]
            if left is None or found is None or not same_attributes(left, found):
                yield row


def _break(row: dict[str, Any], since: LinkEnd, until: LinkEnd) -> ImageBreak:
    left, found = row["left_image"], row["found_image"]
    return ImageBreak(
        item_key=row["item_key"],
        missing="INSERT" if left is None else "REMOVE" if found is None else "MODIFY",
        cause=_cause(row),
        since=since,
        until=until,
        changed_attributes=() if left is None or found is None else changed_attributes(left, found),
    )


def _cause(row: dict[str, Any]) -> Cause:
    if row["is_between_tables"]:
        return Cause.BETWEEN_TABLES
    labels = {row["earlier_label"], row["later_label"]}
    if row["earlier_baseline"] is not None or row["later_baseline"] is not None:
        return Cause.BESIDE_BASELINE
    return Cause.WITHIN_STREAM if len(labels) == 1 else Cause.BETWEEN_STREAMS


def _end(row: dict[str, Any], side: str, baselines: Sequence[Baseline]) -> LinkEnd:
    number = row[f"{side}_baseline"]
    if number is None:
        return LinkEnd(row[f"{side}_ms"], row[f"{side}_label"], change_id=row[f"{side}_change_id"])
    baseline = baselines[number]
    description = baseline.description
    at_ms = description.from_ms if side == "earlier" else description.to_ms
    return LinkEnd(at_ms, description.stream_label, baseline=baseline.name.description)
