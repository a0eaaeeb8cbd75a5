"""Evidence files to the rows of a question: fetched, checked, handed to the engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from query.catalog import Baseline, SegmentFile
from query.coverage import LabelSpan
from query.engine import Question
from query.errors import UnreadableArchive
from query.gate import EvidenceFile
from query.sealed import missing
from query.source import Source

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
    """Opens the evidence of one trail for questions on one engine."""

    def __init__(self, source: Source, segments: Sequence[SegmentFile]) -> None:
        self.source = source
        self.learnt = Learnt()
        self._segments = segments
        self._loaded: list[EvidenceFile] | None = None

    def read_segments(self, question: Question, segments: Sequence[SegmentFile]) -> None:
        """Makes segments the relation `changes`. Raises SealMismatch or CorruptSegment for one that is not what it
        should be, UnreadableArchive for one that is gone, SealedObjectMissing for one that only its seal tells of.
        """
        is_all = len(segments) == len(self._segments)
        if not segments or not is_all or sum(file.stored.size_bytes for file in segments) > _KEPT_BYTES:
            question.read_segments(self._fetch(segments))
            return
        if self._loaded is None:
            files = self._fetch(segments)
            with question.beside() as loading:
                loading.load_segments(files)
            self._loaded = files
        question.use_loaded(self._loaded)

    def read_all_segments(self, question: Question) -> list[str]:
        """Makes all segments of the trail the relation `changes`; their names, in order of `file_index`."""
        self.read_segments(question, self._segments)
        return [segment.stored.name for segment in self._segments]

    def read_baseline(self, question: Question, relation: str, baseline: Baseline | None) -> None:
        """Makes a baseline the relation `floor` or `ceiling`, its digests checked first."""
        if baseline is None:
            question.read_baseline(relation, [])
            return
        paths = self.source.fetch(baseline.parts)
        described = zip(paths, baseline.description.parts, baseline.parts, strict=True)
        question.read_baseline(
            relation,
            [
                EvidenceFile(path, stored.name, sha256=part.sha256, is_sealed=bool(baseline.is_sealed))
                for path, part, stored in described
            ],
        )

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


def label_spans(question: Question) -> list[LabelSpan]:
    """The stream labels among the rows read, with their first and last change."""
    return [LabelSpan(*row) for row in question.rows("label_spans")]
