"""Coverage: the stretches of time a trail can answer for, the gaps between them, and the ends of tables. Pure.

The rules are those of `docs/answers.md`, *Coverage* and *Facts*; before seals exist, a label's stretch begins with the
earliest thing known of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import label_time_ms
from query.shown import Shown

FIRST_TABLE = ""  # sorts before every stream label
NO_LATER_TABLE = "~"  # sorts after every stream label


@dataclass(frozen=True, slots=True)
class LabelSpan:
    """The records of one stream label: earliest and latest `changed_at` (epoch ms), and the rows of the longest file
    that was read.
    """

    stream_label: str
    first_ms: int
    last_ms: int
    longest_file_rows: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch covered by one label, from `since_ms` until before `until_ms`; None: still going on. Epoch ms."""

    stream_label: str
    since_ms: int
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A stretch that the trail cannot answer for, from `since_ms` until before `until_ms` (epoch ms), and why.

    `cause` is `before-coverage`, `between-streams` or `between-tables`.
    """

    since_ms: int
    until_ms: int
    cause: str


@dataclass(frozen=True, slots=True)
class TableEnd:
    """A table was deleted and made again: at this instant (epoch ms), which `stream_label` began."""

    at_ms: int
    stream_label: str


@dataclass(frozen=True, slots=True)
class Coverage(Shown):
    """What a trail can answer for. `stretches` in order of label; `newest_change_ms` None without any change."""

    stretches: tuple[Stretch, ...]
    ends: tuple[TableEnd, ...] = ()
    newest_change_ms: int | None = None

    @property
    def covered_since_ms(self) -> int | None:
        """Where coverage begins (epoch ms); None without any record or baseline."""
        return min((stretch.since_ms for stretch in self.stretches), default=None)

    @property
    def covered(self) -> tuple[tuple[int, int | None], ...]:
        """Each stretch as (since, until) in epoch ms; None: still going on."""
        return tuple((stretch.since_ms, stretch.until_ms) for stretch in self.stretches)

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """Open intervals between one stretch and the next (epoch ms); changes in them are lost."""
        pairs = pairwise(self.stretches)
        return tuple(
            (earlier.until_ms, later.since_ms)
            for earlier, later in pairs
            if earlier.until_ms is not None and earlier.until_ms < later.since_ms
        )

    def uncovered(self, since_ms: int, until_ms: int) -> tuple[Uncovered, ...]:
        """The parts of a half-open range (epoch ms) that `covering` has no label for, in order."""
        turns = {turn for since, until in self.covered for turn in (since, until) if turn is not None}
        points = sorted({since_ms, until_ms, *(turn for turn in turns if since_ms < turn < until_ms)})
        parts: list[Uncovered] = []
        for start_ms, end_ms in pairwise(points):
            if self.covering(start_ms) is not None:
                continue
            cause = self._cause(start_ms)
            if parts and (parts[-1].until_ms, parts[-1].cause) == (start_ms, cause):
                start_ms = parts.pop().since_ms  # noqa: PLW2901  one stretch that something else turned in
            parts.append(Uncovered(start_ms, end_ms, cause))
        return tuple(parts)

    def _cause(self, at_ms: int) -> str:
        """Why no label covers an instant."""
        if self.is_before(at_ms):
            return "before-coverage"
        begun = max(stretch.stream_label for stretch in self.stretches if stretch.since_ms <= at_ms)
        following = min(stretch.stream_label for stretch in self.stretches if stretch.stream_label > begun)
        is_of_another_table = any(begun < end.stream_label <= following for end in self.ends)
        return "between-tables" if is_of_another_table else "between-streams"

    def covering(self, at_ms: int) -> str | None:
        """The stream label that covers an instant; None before coverage and in a gap."""
        for stretch in reversed(self.stretches):
            if stretch.since_ms <= at_ms:
                return stretch.stream_label if stretch.until_ms is None or at_ms < stretch.until_ms else None
        return None

    def is_before(self, at_ms: int) -> bool:
        """Whether an instant lies before everything that is covered."""
        return all(at_ms < stretch.since_ms for stretch in self.stretches)

    def table_at(self, at_ms: int) -> tuple[str, str]:
        """The first label of the table that an instant belongs to, and that of the next table."""
        return self._table(lambda end: end.at_ms <= at_ms)

    def table_of(self, stream_label: str) -> tuple[str, str]:
        """The first label of the table that a label belongs to, and that of the next table."""
        return self._table(lambda end: end.stream_label <= stream_label)

    def _table(self, is_past: Callable[[TableEnd], bool]) -> tuple[str, str]:
        past = [end.stream_label for end in self.ends if is_past(end)]
        later = [end.stream_label for end in self.ends if not is_past(end)]
        return max(past, default=FIRST_TABLE), min(later, default=NO_LATER_TABLE)


def spans_by_label(spans: Iterable[LabelSpan]) -> list[LabelSpan]:
    """One span for each label, in order, of several that tell of it."""
    by_label: dict[str, list[LabelSpan]] = {}
    for span in spans:
        by_label.setdefault(span.stream_label, []).append(span)
    return [
        LabelSpan(
            label,
            min(span.first_ms for span in several),
            max(span.last_ms for span in several),
            max(span.longest_file_rows for span in several),
        )
        for label, several in sorted(by_label.items())
    ]


def coverage_of(
    spans: Sequence[LabelSpan],
    streams: Mapping[str, StreamDescription],
    baselines: Sequence[BaselineDescription] = (),
) -> Coverage:
    """Coverage from the records of each label, the descriptions of streams, and the baselines taken beside them."""
    ordered = sorted(spans, key=lambda span: span.stream_label)
    stretches = []
    for span in ordered:
        named = [baseline for baseline in baselines if baseline.stream_label == span.stream_label]
        since_ms = min([span.first_ms, *(baseline.from_ms for baseline in named)])
        until_ms = max([span.last_ms, *(baseline.to_ms for baseline in named)])
        stretches.append(Stretch(span.stream_label, since_ms, None if span is ordered[-1] else until_ms))
    return Coverage(
        stretches=tuple(stretches),
        ends=_table_ends([span.stream_label for span in ordered], streams),
        newest_change_ms=max((span.last_ms for span in spans), default=None),
    )


def _table_ends(labels: Sequence[str], streams: Mapping[str, StreamDescription]) -> tuple[TableEnd, ...]:
    """Where the table id changes between neighbouring labels. A label without one belongs to the table before it."""
    ends = []
    current: str | None = None
    for label in labels:
        table_id = streams[label].table_id if label in streams else None
        if table_id is not None:
            if current is not None and table_id != current:
                ends.append(TableEnd(label_time_ms(label), label))
            current = table_id
    return tuple(ends)
