"""The bytes of evidence beside what the log says of them, file by file, on all cores.

Invariants: bytes are digested before anything parses them, and the same bytes are parsed; a file that cannot be read is
a finding of its own and stops no other; one file a worker is in memory. What runs in another process is a plain
function here.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Self

from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import (
    ROOT,
    BaselineName,
    SegmentName,
    StreamSource,
    Trail,
    parse_quarantine_name,
    parse_stream_name,
)
from archiver.format.log_entry import SegmentEntry
from query.coverage import LabelSpan
from query.errors import UnreadableArchive
from query.evidence_rows import check_baseline_part, check_segment_file
from query.source import Source, StoredObject
from query.verify.problem import Problem

_FILES_AT_ONCE: Final = 256
# Starting processes takes half a second: fewer bytes than this are read sooner than that.
_WORTH_PROCESSES_BYTES: Final = 8_000_000
_NO_MEMORY: Final = "there is not enough memory to read it"


@dataclass(frozen=True, slots=True)
class Check:
    """One object to look at: what its bytes must digest to (hex; None: nobody said), and what else it must be.

    `entry` is what the log says of a segment, `items` what a baseline says of its part; with `reads_rows`, every row is
    looked at too. `key_names` are the key attributes in schema order, by stream label, as far as they are known.
    """

    stored: StoredObject
    trail: Trail
    sha256: str | None = None
    entry: SegmentEntry | None = None
    reads_rows: bool = False
    key_schema: tuple[tuple[str, str], ...] = ()
    items: int | None = None
    key_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def inside(self) -> str:
        """The name as entries have it."""
        return self.stored.name.removeprefix(self.trail.prefix)


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one check: records or items whose rows were looked at, what a segment that no entry names covers,
    and a finding's code and words, if any.
    """

    stored: StoredObject
    rows: int = 0
    span: LabelSpan | None = None
    code: str = ""
    why: str = ""

    def problem(self) -> Problem | None:
        return Problem(self.code, self.stored.name, self.why) if self.code else None


def check_contents(source: Source, checks: Iterable[Check], *, workers: int | None = None) -> Iterator[Checked]:
    """Carries checks out, in order; each as soon as it is done."""
    waiting = iter(checks)
    some = list(islice(waiting, _FILES_AT_ONCE))
    with _Workers(workers or os.cpu_count() or 1) as pool, ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(_located, source, some)
        while some:
            located = coming.result()
            some = list(islice(waiting, _FILES_AT_ONCE))
            coming = ahead.submit(_located, source, some)  # fetched while the ones before them are looked at
            done = 0
            try:
                for checked in pool.map(located):
                    done += 1
                    yield checked
            except BrokenExecutor:
                # The machine ended a process, most likely for its memory. Nobody knows which file was too much for it.
                why = "a process that read it was ended"
                yield from (_refused(check, "unreadable", why) for check, _, _ in located[done:])
                pool.renew()


class _Workers:
    """Threads for digests, which let each other run; processes for rows, which do not. Made when first needed."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._threads: Executor | None = None
        self._processes: Executor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._threads, self._processes):
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def renew(self) -> None:
        """Forgets processes that are gone."""
        self._processes = None

    def map(self, located: Sequence[tuple[Check, Path | None, str]]) -> Iterator[Checked]:
        rows = sum(check.stored.size_bytes for check, _, _ in located if check.reads_rows)
        if self._workers == 1 or (rows and rows < _WORTH_PROCESSES_BYTES and self._processes is None):
            return map(_look, located)
        if rows:
            # Not forked: other threads of this process may hold locks.
            self._processes = self._processes or ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"))
            return self._processes.map(_look, located, chunksize=4)
        self._threads = self._threads or ThreadPoolExecutor(self._workers)
        return self._threads.map(_look, located)


def _located(source: Source, checks: Sequence[Check]) -> list[tuple[Check, Path | None, str]]:
    """Where the objects are on this machine; or, one by one, why not."""
    try:
        paths = source.fetch([check.stored for check in checks])
    except (OSError, UnreadableArchive):
        return [_located_one(source, check) for check in checks]
    return [(check, path, "") for check, path in zip(checks, paths, strict=True)]


def _located_one(source: Source, check: Check) -> tuple[Check, Path | None, str]:
    try:
        return check, source.fetch([check.stored])[0], ""
    except FileNotFoundError:
        return check, None, ""
    except OSError as error:  # there is no room for a copy, for example
        return check, None, error.strerror or str(error)
    except UnreadableArchive as error:
        return check, None, f"{error.message}: {error.why}"


def _look(located: tuple[Check, Path | None, str]) -> Checked:
    check, path, why = located
    if path is None:
        return _refused(check, "unreadable", why) if why else _refused(check, "object-missing", "it is gone")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _refused(check, "object-missing", "it is gone")
    except OSError as error:
        return _refused(check, "unreadable", error.strerror or str(error))
    except MemoryError:
        return _refused(check, "unreadable", _NO_MEMORY)
    found = sha256(content).hexdigest()
    if check.sha256 is not None and found != check.sha256:
        return _mismatch(check, content, found, check.sha256)
    if check.entry is not None and check.entry.bytes != len(content):
        told = f"the log says {check.entry.bytes} bytes, it has {len(content)}, and the digest that the log says"
        return _refused(check, "entry-disagrees", told)
    try:
        return _rows(check, content)
    except _Disagreement as error:
        return _refused(check, "entry-disagrees", str(error))
    except MemoryError:
        return _refused(check, "unreadable", _NO_MEMORY)
    except Exception as error:  # noqa: BLE001  what no parser takes is not evidence, however it says so
        return _refused(check, "unsound", str(error) or type(error).__name__)


def _refused(check: Check, code: str, why: str) -> Checked:
    return Checked(check.stored, code=code, why=why)


def _mismatch(check: Check, content: bytes, found: str, said: str) -> Checked:
    """Another digest than the log says. A segment whose records are all there was only written anew."""
    why = f"its digest is {found[:16]}…, the log says {said[:16]}…"
    if check.entry is not None:
        try:
            check_segment_file(content, check.trail, SegmentName.parse(check.entry.path))
        except Exception:  # noqa: BLE001  these bytes are anybody's, and may break a parser in any way
            return _refused(check, "digest-mismatch", why)
        return _refused(check, "re-encoded", why)
    return _refused(check, "digest-mismatch", why)


class _Disagreement(ValueError):  # noqa: N818
    """A sound segment is not what its entry says."""


def _rows(check: Check, content: bytes) -> Checked:
    """Whether an object is what its name says. Raises ValueError."""
    inside = check.inside
    kind = inside.partition("/")[0]
    match kind:
        case "segments" if check.reads_rows:
            return _segment_rows(check, content, SegmentName.parse(inside))
        case "streams":
            described = StreamDescription.parse(content).stream_arn
            if StreamSource.parse(described) != StreamSource(check.trail, parse_stream_name(inside)):
                raise ValueError(f"it describes {described}")
        case "quarantine" | "v1":
            if sha256(content).hexdigest() != parse_quarantine_name(inside.removeprefix(f"{ROOT}/")):
                raise ValueError("its digest is not its name")
        case "baselines" if inside.endswith("/baseline.json"):
            place, description = BaselineName.parse(inside), BaselineDescription.parse(content)
            if description.from_ms - description.from_ms % 1000 != place.instant_ms:
                raise ValueError("it begins at another instant than its name says")
        case "baselines" if check.reads_rows:
            items = check_baseline_part(content, check.key_schema)
            if check.items not in {None, items}:
                raise _Disagreement(f"its baseline says {check.items} items, it holds {items}")
            return Checked(check.stored, items)
    return Checked(check.stored)


def _segment_rows(check: Check, content: bytes, place: SegmentName) -> Checked:
    entry = check.entry
    names = None if entry is None else check.key_names.get(entry.stream_label)
    rows = check_segment_file(content, check.trail, place, names)
    if entry is not None:
        told = (
            entry.stream_label,
            entry.records,
            entry.last_sequence,
            entry.first_changed_at_ms,
            entry.last_changed_at_ms,
            entry.writer,
        )
        seen = (
            rows.stream_label,
            rows.records,
            rows.last_sequence,
            rows.first_changed_at_ms,
            rows.last_changed_at_ms,
            rows.writer,
        )
        if told != seen:
            raise _Disagreement(f"the log says {told}, its rows say {seen}")
        return Checked(check.stored, rows.records)
    names = check.key_names.get(rows.stream_label)
    if names is not None:  # only its rows said of which stream it is
        check_segment_file(content, check.trail, place, names)
    span = LabelSpan(rows.stream_label, rows.first_changed_at_ms, rows.last_changed_at_ms, rows.records)
    return Checked(check.stored, rows.records, span)
