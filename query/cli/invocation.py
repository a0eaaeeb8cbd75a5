"""One run of a reading command: settings resolved, clock read once, archive opened, answers and notes written.

The clock and the environment are read here and nowhere below.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from query.cli.options import Options, Which
from query.cli.output import Target, choose_target
from query.config import load
from query.errors import UsageError
from query.instant import Instant, echo_range, format_ms
from query.period import parse_period
from query.redaction import Redaction, random_key
from query.render.formats import json_document, text_of, write_parquet
from query.render.records import plan_sheet
from query.render.sheet import Sheet, dump
from query.render.text import counted, grouped, size_text, visible
from query.rev import Rev
from query.settings import require_archive
from query.when import parse_when

if TYPE_CHECKING:
    from query.archive import Archive
    from query.plan import ReadPlan
    from query.table import Table

_CONFIGURED: Final = (
    *("archive", "derived", "key_schema", "profile", "region", "endpoint_url", "cache_dir", "memory_limit", "threads"),
    *("output", "tz", "color"),
)


class Invocation:
    """What the commands share. `formats` are what this command takes for `-o` beside what every command takes, `more`
    the settings that only its own flags give.
    """

    def __init__(
        self,
        options: Options,
        *,
        formats: Sequence[str] = (),
        is_paged: bool = False,
        more: Mapping[str, str | None] = {},
    ) -> None:
        flags = {name: getattr(options, name) for name in _CONFIGURED} | dict(more)
        flags["check_seals"] = False if options.no_seals else None
        if flags["output"] in formats:
            flags["output"] = None
        self.options = options
        self.settings = load(flags, os.environ, cwd=Path.cwd(), home=Path.home())
        self.now_ms = time.time_ns() // 1_000_000
        self.target: Target = choose_target(options, self.settings, is_paged=is_paged and not options.no_pager)
        if self.target.output == "ddb-json" and "ddb-json" not in formats:
            raise UsageError("-o ddb-json is for items", why="get and as-of write it", hint="add -o json or -o jsonl")
        if self.target.path is None and not sys.stdout.isatty() and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", newline="")

    # --- the archive ---

    @cached_property
    def archive(self) -> "Archive":
        """The archive in use. Raises UsageError or UnreadableArchive."""
        import query
        from query.cli.lean import take_memory_by_jemalloc

        take_memory_by_jemalloc()
        url = require_archive(self.settings)
        if not self.settings.check_seals:
            self.warn(f"seals are not checked ({self.settings.origins['check_seals']})")
        return query.open(url, settings=self.settings, now_ms=lambda: self.now_ms)

    def table(self, ref: str) -> "Table":
        """The table asked about, with its runs unless evidence alone is to answer. Raises as `Archive.table`."""
        found = self.archive.table(ref, with_derived=not self.options.no_derived)
        self.note_redaction(found.name)
        return found

    def redaction(self, table: "Table") -> Redaction:
        """What is never shown of a table."""
        return table.redaction

    def redaction_of(self, table_name: str) -> Redaction:
        """What is never shown of a table by name, where no trail is read."""
        return Redaction.of(self.settings.table(table_name).redact, self._redaction_key)

    def note_redaction(self, table_name: str) -> None:
        """Says what is masked of a table."""
        paths = self.settings.table(table_name).redact
        if paths:
            alike = "wherever that key is used" if self.settings.redaction_key else "in this answer only"
            self.note(f"redacted: {', '.join(paths)}; equal values have equal masks {alike} (DDBTRAIL_REDACTION_KEY)")

    @cached_property
    def _redaction_key(self) -> bytes:
        return self.settings.redaction_key_bytes or random_key()

    # --- time ---

    def instant_ms(self, text: str, open_table: "Callable[[], Table]") -> int:
        """An end of a range; the table is only opened for `start` and `end`. Raises UsageError."""
        ends = None
        if text.strip() in {"start", "end"}:
            coverage = open_table().coverage()
            if coverage.covered_since_ms is not None and coverage.newest_change_ms is not None:
                ends = coverage.covered_since_ms, coverage.newest_change_ms
        return parse_when(text, now_ms=self.now_ms, zone=self.settings.tz, coverage=ends).ms

    def resolve_range(self, which: Which, open_table: "Callable[[], Table]") -> tuple[int | None, int | None]:
        """The half-open range (epoch ms) that was asked for, echoed on stderr. Raises UsageError."""
        since, until, during = which.since, which.until, which.during
        if during is not None:
            if since is not None or until is not None:
                raise UsageError("a range was given twice", hint="type either --during, or --since and --until")
            period = parse_period(during, now_ms=self.now_ms, zone=self.settings.tz)
            self.note(period.echo)
            return period.since_ms, period.until_ms
        since_ms = None if since is None else self.instant_ms(since, open_table)
        until_ms = None if until is None else self.instant_ms(until, open_table)
        if since_ms is not None and until_ms is not None and since_ms >= until_ms:
            raise UsageError(
                "the range is empty", why=echo_range(since_ms, until_ms, ""), hint="--since must be before --until"
            )
        if since is not None or until is not None:
            self.note(echo_range(since_ms, until_ms, "", zone=self.settings.tz))
        return since_ms, until_ms

    # --- what is said ---

    def note(self, text: str) -> None:
        """Says something about the answer on stderr, unless `-q`."""
        if not self.options.quiet:
            for line in text.splitlines():
                print(visible(line), file=sys.stderr)

    def warn(self, text: str) -> None:
        self.note(f"warning: {text}")

    def note_plan(self, plan: "ReadPlan") -> None:
        """Says what an answer cost."""
        if plan.files:
            self.note(f"read {_extent(plan)}")

    def note_unsealed(self, table: "Table", unsealed: int, what: str) -> None:
        """Says how many of `what` (as in "21 changes") an answer rests on are not sealed yet."""
        if unsealed and table.sealed_to_ms is not None:
            is_one = unsealed == 1
            line = f"{grouped(unsealed)} of {what} {'is' if is_one else 'are'} not sealed yet"
            self.note(f"{line} (sealed to {format_ms(table.sealed_to_ms)})")

    # --- what is written ---

    def write(self, sheet: Sheet, human: Callable[[], Iterable[str]] | None = None) -> None:
        """Writes a sheet, its columns picked with `-c`; `human` is another form of it for people, where it has one."""
        picked = sheet.pick(self.picked_columns)
        target = self.target
        if target.output == "parquet":
            with target.new_file() as path:
                write_parquet(picked, path)
        elif target.output == "table" and human is not None and not self.picked_columns:
            target.write(human())
        else:
            target.write(text_of(picked, target.output, target.look, is_terminal=target.is_terminal))

    def write_document(self, content: dict[str, object]) -> None:
        """Writes one answer as a JSON document, on one line for jsonl."""
        text = json_document(content) if self.target.output == "json" else dump(content) + "\n"
        lines = text.splitlines(keepends=True)
        if self.target.is_terminal:
            lines = [f"{visible(line.rstrip())}\n" for line in lines]
        self.target.write(lines)

    def explain(self, plan: "ReadPlan") -> int:
        """Writes a plan instead of an answer; always 0."""
        if self.target.output in {"json", "jsonl"}:
            requests, size_bytes = self.archive.traffic
            self.write_document({**plan.as_dict(), "planning": {"requests": requests, "bytes": size_bytes}})
            return 0
        self.write(plan_sheet(plan.files))
        self.note(plan.question)
        for step in plan.steps:
            self.note(f"  then {step}" if step is not plan.steps[0] else f"  {step}")
        self.note(_extent(plan))
        return 0

    @property
    def picked_columns(self) -> tuple[str, ...]:
        text = self.options.columns
        return () if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def check_limit(limit: int | None) -> int | None:
    """Raises UsageError for a number that is no limit."""
    if limit is not None and limit < 1:
        raise UsageError(f"-n {limit} shows nothing", hint="type -n 1 or more, or leave it out")
    return limit


def _extent(plan: "ReadPlan") -> str:
    return f"{grouped(len(plan.files))} of {counted(plan.total_files, 'file')}, {size_text(plan.size_bytes)}"


def at_text(at: Instant | Rev) -> str:
    """A moment as it is echoed."""
    return at.spelled if isinstance(at, Instant) else at.text
