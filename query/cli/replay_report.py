"""What `replay` says: a line for each object that is settled or foreseen, and what became of all of them.

Results go to stdout, counts to stderr. Invariants: a line is true from the moment it is written, whatever comes later;
a reader that closes the pipe ends the lines, never the work.
"""

import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from query.cli.exits import FAILED, FOUND, NOT_COVERED
from query.cli.progress import count
from query.instant import format_ms
from query.render.text import visible

if TYPE_CHECKING:
    from archiver.replay import Foreseen, Records, Replayed, Trouble

_NAMED_TABLES: Final = 5


def foreseen_text(foreseen: "Foreseen") -> str:
    batch = foreseen.batch
    of_what = f"{batch.source.trail.table_name}, {batch.condition or 'no reason told'}"
    if foreseen.records is None:
        records = "records" if batch.records is None else count(batch.records, "record")
        return f"{of_what}, {records} to be read from the stream: shard {batch.shard_id}, {batch.range_text}"
    told = [of_what, count(foreseen.records, "record")]
    if foreseen.oldest_ms is not None and foreseen.newest_ms is not None:
        told.append(f"changed_at {format_ms(foreseen.oldest_ms)} to {format_ms(foreseen.newest_ms)}")
    if foreseen.quarantined:
        told.append(f"{foreseen.quarantined} of them for quarantine")
    return ", ".join(told)


def records_text(records: "Records", archive_url: str) -> list[str]:
    told = f"{records.archived_now} archived now, {records.there_already} there already"
    if records.repeated:
        told += f", {records.repeated} twice in a batch"
    return [
        f"{count(records.received, 'record')}: {told}, {records.quarantined} quarantined",
        *(
            f"  kept verbatim in {archive_url.rstrip('/')}/{folder}/, the first one because: {reason}"
            for folder, reason in records.quarantined_in.items()
        ),
    ]


@dataclass
class Tally:
    """What became of all objects so far. `objects` counts the one that is being handled too."""

    url: str
    objects: int = 0
    replayed: int = 0
    settled: int = 0
    of_others: int = 0
    others: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    _hints: set[str] = field(default_factory=set)

    def add(self, became: "Replayed") -> None:
        self.replayed += became.batches > 0 and not became.troubles
        self.settled += became.is_settled
        self.of_others += bool(became.others) and not became.batches and not became.troubles
        self.others.update({trail.table_name: number for trail, number in became.others.items()})
        self.troubles.update(trouble.kind.name for trouble in became.troubles)

    def hint_once(self, trouble: "Trouble") -> str:
        """The hint of a trouble, empty if it was given before: a thousand objects may have one cause."""
        is_new = trouble.hint not in self._hints
        self._hints.add(trouble.hint)
        return trouble.hint if is_new else ""

    @property
    def exit_code(self) -> int:
        """What could not be done outweighs what cannot be done: it may succeed another time."""
        return FAILED if self.troubles["FAILED"] else NOT_COVERED if self.troubles.total() else FOUND

    def objects_text(self, verb: str) -> str:
        told = [f"{self.replayed} {verb}"]
        if self.others:
            named = ", ".join(f"{name} {number}" for name, number in self.others.most_common(_NAMED_TABLES))
            more = ", …" if len(self.others) > _NAMED_TABLES else ""
            told.append(f"{self.of_others} of other tables ({named}{more})")
        told += [f"{number} {kind.lower().replace('_', ' ')}" for kind, number in sorted(self.troubles.items())]
        return f"{count(self.objects, 'object')} below {self.url}: {', '.join(told)}"

    def settled_text(self) -> str:
        if not self.settled:
            return "no object may be deleted"
        return f"{count(self.settled, 'object')} may be deleted: the lines on standard output do that, for these alone"


class Lines:
    """Results, a line each and at once, so that what is done is known if the rest fails."""

    def __init__(self) -> None:
        # A progress bar takes `sys.stdout` over while it runs and shows on stderr what is printed: right for a terminal
        # and wrong for a pipe.
        self._pipe = None if sys.stdout.isatty() else sys.stdout
        self._is_closed = False
        if self._pipe is not None and hasattr(self._pipe, "reconfigure"):
            self._pipe.reconfigure(encoding="utf-8", errors="surrogateescape")

    def write(self, line: str) -> None:
        if self._is_closed:
            return
        try:
            print(visible(line) if self._pipe is None else line, file=self._pipe, flush=True)
        except BrokenPipeError:
            assert self._pipe is not None, "a terminal is no pipe"
            self._is_closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._pipe.fileno())  # nothing is left to fail at the end
