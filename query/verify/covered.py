"""What a trail covers, from its log and from the few rows that are not sealed yet; no sealed segment is opened.

Invariant: the rules of coverage are those of every answer (`query.coverage`); a gap is closed only by an
acknowledgement that names the whole of it.
"""

from collections.abc import Iterable, Iterator

from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import Trail, parse_stream_name
from query.coverage import Coverage, LabelSpan, coverage_of
from query.instant import format_ms
from query.source import Source
from query.verify.inventory import Inventory
from query.verify.problem import Problem
from query.verify.statements import Statements


def coverage_by_log(source: Source, held: Inventory, unsealed: Iterable[LabelSpan]) -> Coverage:
    """The stretches that the trail covers. Every description was checked before: raises ValueError for one that is
    none, and UnreadableArchive.
    """
    spans: dict[str, LabelSpan] = {}
    for span in unsealed:
        _widen(spans, span)
    for entry in held.said.segments.values():
        _widen(spans, LabelSpan(entry.stream_label, entry.first_changed_at_ms, entry.last_changed_at_ms))
    there = {**held.sealed, **held.unsealed}
    names = [name for name in there if name.startswith(("streams/", "baselines/"))]
    paths = source.fetch([there[name] for name in names])
    contents = {name: path.read_bytes() for name, path in zip(names, paths, strict=True)}
    streams = {
        parse_stream_name(name): StreamDescription.parse(content)
        for name, content in contents.items()
        if name.startswith("streams/")
    }
    baselines = [
        BaselineDescription.parse(content) for name, content in contents.items() if name.startswith("baselines/")
    ]
    return coverage_of(list(spans.values()), streams, baselines)


def _widen(spans: dict[str, LabelSpan], span: LabelSpan) -> None:
    known = spans.get(span.stream_label, span)
    first_ms, last_ms = min(known.first_ms, span.first_ms), max(known.last_ms, span.last_ms)
    spans[span.stream_label] = LabelSpan(span.stream_label, first_ms, last_ms)


def gap_problems(
    coverage: Coverage, trail: Trail, said: Statements, *, since_ms: int | None, until_ms: int | None, now_ms: int
) -> Iterator[Problem]:
    """Stretches of a range (epoch ms; None: the whole trail) that are not covered, and that nobody acknowledged."""
    first_ms = coverage.covered_since_ms
    if first_ms is None:  # what is not sealed yet lies outside the range, and there is nothing else
        yield Problem("outside-coverage", trail.prefix, "no change that was looked at covers any time")
        return
    since_ms = first_ms if since_ms is None else since_ms
    until_ms = now_ms if until_ms is None else min(until_ms, now_ms)
    if since_ms >= until_ms:
        told = f"{format_ms(since_ms)}/{format_ms(until_ms)} is no time that the trail could cover"
        yield Problem("outside-coverage", trail.prefix, told)
        return
    for part in coverage.uncovered(since_ms, until_ms):
        if said.has_acknowledged(part.since_ms, part.until_ms):
            continue
        code = "outside-coverage" if part.cause == "before-coverage" else "gap"
        where = f"{format_ms(part.since_ms)}/{format_ms(part.until_ms)}"
        yield Problem(code, trail.prefix, f"{where} is not covered: {part.cause}")
