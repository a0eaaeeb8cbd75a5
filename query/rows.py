"""Files of evidence and of runs to the rows of a question: fetched, checked, handed to the engine."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from archiver.format.layout import SegmentName, Trail
from query.catalog import Evidence, SegmentFile
from query.coverage import LabelSpan, spans_by_label
from query.derived.by_key import RunsByKey, Wanted
from query.derived.live import LiveRun, LiveSnapshot, read_snapshot, snapshot_names
from query.derived.names import SnapshotName
from query.derived.segment_table import SealedSegment, read_segment_table
from query.descriptions import Baseline
from query.engine import Question
from query.errors import DerivedGone, UnreadableArchive
from query.gate import EvidenceFile, Kind
from query.plan import PlannedFile, changes_between, segments_between
from query.sealed import missing
from query.selection import Selection
from query.source import Source, StoredObject
from query.tellers import Tellers

# Up to this much compressed evidence is read once and kept (DuckDB spills it beyond its memory limit): where a trail is
# small or made of many small files, opening them again for every step would cost more than all the rest.
_KEPT_BYTES: Final = 64_000_000


@dataclass(slots=True)
class Learnt:
    """What earlier questions found out about the segments of a trail, so that later ones need not.

    Numbers too long for `facts_numbered`; changes that several rows tell of; whether any two rows contradict each other
    (None: nobody has asked).
    """

    has_long_numbers: bool = False
    has_repeats: bool = False
    has_conflicts: bool | None = None


class Reader:
    """Opens the evidence of one trail, and the runs made of it, for questions on one engine.

    `everything` is all that there is; `derived` is where its runs lie. The rows of a small trail stay in the engine,
    which holds those of one reader: any other on it keeps none (`keeps_rows`).
    """

    def __init__(
        self,
        source: Source,
        trail: Trail,
        everything: Selection,
        derived: Source | None = None,
        *,
        keeps_rows: bool = True,
    ) -> None:
        self.source = source
        self._keeps_rows = keeps_rows
        self.derived = derived
        self.learnt = Learnt()
        self.everything = everything
        self._trail = trail
        self._loaded: list[EvidenceFile] | None = None
        self._snapshots: list[SnapshotName] | None = None
        self._by_key = None if derived is None else RunsByKey(derived)

    def beside(self, everything: Selection) -> "Reader":
        """A reader of the same trail to which only this much exists."""
        return Reader(self.source, self._trail, everything, self.derived, keeps_rows=False)

    def tellers(self, selection: Selection | None = None) -> Tellers:
        """What the rows of a selection say of the segments they come from."""
        chosen = selection or self.everything
        return Tellers(self._trail, chosen.segments, chosen.runs, source=self.source, derived=self.derived)

    def read_segments(self, question: Question, segments: Sequence[SegmentFile]) -> None:
        """Makes the rows of segments the relation `changes`. Raises as `read`."""
        self.read(question, Selection(tuple(segments)))

    def read(self, question: Question, selection: Selection | None = None) -> None:
        """Makes the rows of a selection, or of everything, the relation `changes`.

        Raises SealMismatch or CorruptSegment for a file that is not what it should be, UnreadableArchive for one that
        is gone, SealedObjectMissing for one that only its seal tells of, DerivedGone for a part of a run.
        """
        chosen = selection or self.everything
        is_kept = self._keeps_rows and chosen == self.everything and chosen.size_bytes <= _KEPT_BYTES
        if not is_kept or not (chosen.segments or chosen.runs):
            question.read_changes(self._fetch(chosen.segments), self._fetch_runs(chosen.runs))
            return
        if self._loaded is None:
            segments, runs = self._fetch(chosen.segments), self._fetch_runs(chosen.runs)
            with question.beside() as loading:
                loading.load_changes(segments, runs)
            self._loaded = [*segments, *runs]
        question.use_loaded(self._loaded)

    def between(self, evidence: Evidence, since_ms: int | None, until_ms: int | None) -> Selection:
        """What can hold a change in a half-open range of `changed_at` (epoch ms): of a run that reaches far beyond it,
        the segments that it was made of instead.
        """
        chosen = changes_between(evidence, since_ms, until_ms)
        if self.derived is None or (since_ms is None and until_ms is None):
            return chosen
        runs: list[LiveRun] = []
        segments = list(chosen.segments)
        for run in chosen.runs:
            own = [one for one in read_segment_table(self.derived, run) if one.entry >= run.name.start]
            files = [_segment_file(self._trail, one) for one in own]
            inside = segments_between(files, since_ms, until_ms)
            size = sum(part.size_bytes for part in run.parts)
            if 2 * sum(one.stored.size_bytes for one in inside) < size:
                segments += inside
            else:
                runs.append(run)
        return Selection(tuple(sorted(segments, key=lambda one: one.stored)), tuple(runs))

    def read_items(self, question: Question, wanted: Wanted, selection: Selection | None = None) -> None:
        """Makes the relation `changes` of a selection: its segments, and of its runs those rows that are wanted."""
        chosen = selection or self.everything
        if not chosen.runs or self._by_key is None or wanted.is_everything or self._loaded is not None:
            self.read(question, chosen)
            return
        with ThreadPoolExecutor(1) as beside:  # each waits for answers of its own
            files = beside.submit(self._fetch, chosen.segments)
            rows = self._by_key.rows(chosen.runs, wanted)
        question.read_changes(files.result(), [], rows_of_runs=rows)

    def parts_of_items(self, wanted: Wanted) -> list[PlannedFile] | None:
        """What is read of runs for what is wanted, from their indexes; None: they are read whole. Raises as `read`."""
        runs = self.everything.runs
        if self._by_key is None or wanted.is_everything:
            return None
        reason = "row groups of a run that may hold it"
        return [
            PlannedFile(part.name, size_bytes, reason, is_sealed=True, requests=ranges)
            for part, size_bytes, ranges in self._by_key.extents(runs, wanted)
        ]

    def layer(self, question: Question, kind: Kind, parts: Sequence[StoredObject], digests: Sequence[str]) -> None:
        """Makes the rows of a run or a snapshot the relation `layer`. Raises as `read`."""
        files = self.derived_files(question, [kind] * len(parts), parts, digests)
        question.set("layer_files", [str(file.path) for file in files])
        question.run(f"layer_of_{kind}")

    def derived_files(
        self, question: Question, kinds: Sequence[Kind], parts: Sequence[StoredObject], digests: Sequence[str]
    ) -> list[EvidenceFile]:
        """Parts of runs and snapshots as local files that were checked, all at once. Raises as `read`."""
        assert self.derived is not None
        files = derived_files(self.derived, parts, digests)
        question.check_each(list(zip(files, kinds, strict=True)))
        return files

    def snapshot(self, evidence: Evidence, floor: Baseline, at_ms: int) -> LiveSnapshot | None:
        """The newest snapshot at or before an instant that was made of a baseline, and of this log."""
        if self.derived is None:
            return None
        if self._snapshots is None:
            self._snapshots = sorted(snapshot_names(self.derived, self._trail), key=lambda name: name.at_ms)
        end = evidence.runs[-1].name.end if evidence.runs else 0
        for name in reversed(self._snapshots):
            if name.at_ms <= at_ms and name.end <= end:
                found = read_snapshot(self.derived, self._trail, name)
                if found is not None and self._is_of(found, floor):
                    return found
        return None

    def _is_of(self, snapshot: LiveSnapshot, floor: Baseline) -> bool:
        """Whether a snapshot was made of a baseline, and its last seal is one of this log."""
        description, made_of = snapshot.description, snapshot.description.baseline
        if made_of is None or made_of.name != floor.name.description:
            return False
        if made_of.sha256 != sha256(floor.description.compose()).hexdigest():
            return False
        (seal,) = self.source.read([self._trail.prefix + description.seal.name], anew=True)
        return seal is not None and sha256(seal).hexdigest() == description.seal.sha256

    def spans(self, question: Question, selection: Selection | None = None) -> list[LabelSpan]:
        """For each stream label its first and last change, and the rows of the longest file: of all runs, as they say
        themselves, and of the segments that were read.
        """
        chosen = selection or self.everything
        return merged_spans(question, self.everything.runs, has_segments=bool(chosen.segments))

    def read_baseline(self, question: Question, relation: str, baseline: Baseline | None) -> list[EvidenceFile]:
        """Makes a baseline the relation `floor` or `ceiling`, its digests checked first; its parts as local files."""
        if baseline is None:
            question.read_baseline(relation, [])
            return []
        paths = self.source.fetch(baseline.parts)
        described = zip(paths, baseline.description.parts, baseline.parts, strict=True)
        files = [
            EvidenceFile(path, stored.name, sha256=part.sha256, is_sealed=bool(baseline.is_sealed))
            for path, part, stored in described
        ]
        question.read_baseline(relation, files)
        return files

    def _fetch_runs(self, runs: Sequence[LiveRun]) -> list[EvidenceFile]:
        if not runs:
            return []
        assert self.derived is not None
        return run_files(self.derived, runs)

    def _fetch(self, segments: Sequence[SegmentFile]) -> list[EvidenceFile]:
        gone = [segment.stored.name for segment in segments if segment.is_missing]
        if gone:
            raise missing(gone)
        try:
            paths = self.source.fetch([segment.stored for segment in segments])
        except FileNotFoundError as error:
            raise UnreadableArchive(
                f"{error} is gone",
                why=f"it was listed a moment ago, one of {len(segments)} segments",
                hint="evidence is never deleted by ddbtrail: find out who did, and restore the object's version",
            ) from error
        return [
            EvidenceFile(path, segment.stored.name, segment.place.root, segment.sha256, bool(segment.is_sealed))
            for path, segment in zip(paths, segments, strict=True)
        ]


def _segment_file(trail: Trail, sealed: SealedSegment) -> SegmentFile:
    stored = StoredObject(trail.prefix + sealed.path, sealed.bytes)
    return SegmentFile(SegmentName.parse(sealed.path), stored, is_sealed=True, sha256=sealed.file_sha256)


def run_files(derived: Source, runs: Sequence[LiveRun]) -> list[EvidenceFile]:
    """The parts of runs as local files. Raises DerivedGone for one that is gone, UnreadableArchive."""
    stored = [part for run in runs for part in run.parts]
    return derived_files(derived, stored, [part.file.sha256 for run in runs for part in run.description.parts])


def derived_files(derived: Source, stored: Sequence[StoredObject], digests: Sequence[str]) -> list[EvidenceFile]:
    """Files of derived data, each with the digest (hex) that its description states. Raises as `run_files`."""
    try:
        paths = derived.fetch(stored)
    except FileNotFoundError as error:
        raise DerivedGone(str(error)) from error
    return [
        EvidenceFile(path, one.name, sha256=digest) for path, one, digest in zip(paths, stored, digests, strict=True)
    ]


def merged_spans(question: Question, runs: Sequence[LiveRun], *, has_segments: bool) -> list[LabelSpan]:
    """The spans of runs, by their descriptions, and of the segments that a question has read."""
    found = [LabelSpan(*row) for row in question.rows("label_spans")] if has_segments else []
    for run in runs:
        longest = max((part.rows for part in run.description.parts), default=0)
        found += [LabelSpan(one.stream_label, one.first_ms, one.last_ms, longest) for one in run.description.spans]
    return spans_by_label(found)
