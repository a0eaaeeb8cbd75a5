"""What is said while evidence is written: lines, warnings, a bar on a terminal, and what became of all batches.

Invariants: everything goes to stderr, nothing but errors with `-q`; a warning is said once; what is remembered is
bounded by the kinds of news, not by the number of records.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.writer import BatchReport


@dataclass
class Stderr:
    """Everything that is said while a command runs; `-q` leaves only its errors."""

    is_quiet: bool
    _warned: set[str] = field(default_factory=set)

    def line(self, text: str) -> None:
        if not self.is_quiet:
            print(text, file=sys.stderr)

    def warning(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.line(f"warning: {text}")

    @contextmanager
    def counting(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A progress bar while the body runs, on a terminal; gives a function that takes how many more are done."""
        if self.is_quiet or not sys.stderr.isatty():
            yield lambda _more: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda more: progress.advance(task, more)


@dataclass
class Total:
    """What became of all batches so far."""

    archive_url: str
    archived: int = 0
    segments: int = 0
    segments_written: int = 0
    repeated: int = 0
    quarantined: int = 0
    first_quarantined: dict[str, str] = field(default_factory=dict)

    def add(self, report: "BatchReport") -> int:
        """Takes a batch in; how many records it had."""
        self.archived += report.archived
        self.segments += len(report.segments)
        self.segments_written += report.segments_written
        self.repeated += report.repeated
        self.quarantined += len(report.quarantined)
        for record in report.quarantined:
            # One for each folder is enough to say where they are, and bounds what is remembered.
            self.first_quarantined.setdefault(record.name.rpartition("/")[0], record.reason)
        return report.received

    def summary(self) -> str:
        there = self.segments - self.segments_written
        lines = [
            f"archived {count(self.archived, 'record')} in {count(self.segments, 'segment')}"
            + (f", {count(there, 'segment')} of them there already" if there else "")
            + (f", {count(self.repeated, 'record')} twice in a batch" if self.repeated else "")
            + f"; {count(self.quarantined, 'record')} quarantined"
        ]
        lines += [
            f"  kept verbatim in {self.archive_url.rstrip('/')}/{folder}/, the first one because: {reason}"
            for folder, reason in self.first_quarantined.items()
        ]
        return "\n".join(lines)


def count(number: int, what: str) -> str:
    """`1 record`, `12 345 records`."""
    return f"{number:,}".replace(",", " ") + f" {what}{'' if number == 1 else 's'}"
