"""The rows of a run, from the files that it is made of: relations of a question, and at last in their order.

Invariant: of each row what its own images say is derived here, and what its neighbours say only where all are in order.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa

from query.derived.lineage import gathered, with_lineage
from query.derived.segment_table import SealedSegment
from query.engine import Question
from query.gate import EvidenceFile

_ROWS_AT_ONCE: Final = 1 << 11


def read_sources(
    question: Question, runs: Sequence[EvidenceFile], segments: Sequence[EvidenceFile], sealed: Sequence[SealedSegment]
) -> None:
    """Makes the rows of runs and segments the relation `hinted`, in no order."""
    read_unhinted(question, runs, segments, [segment.entry for segment in sealed])
    question.run("run_rows_hinted" if question.rows("run_has_missing_hints")[0][0] else "run_rows_as_hinted")


def read_unhinted(
    question: Question, runs: Sequence[EvidenceFile], segments: Sequence[EvidenceFile], entries: Sequence[int]
) -> None:
    """Makes the rows of runs and segments the relation `unordered`, key text as each of them has it; `entries` are the
    numbers of the segments in the log.
    """
    if runs:
        question.check(runs, "run")
        question.set("run_files", [str(file.path) for file in runs])
        question.run("run_rows_of_runs")
    if segments:
        question.check(segments, "segment")
        question.set("segment_files", [str(file.path) for file in segments])
        question.set("segment_entries", list(entries))
        question.run("run_rows_of_segments")
    origin = {(True, True): "both", (True, False): "runs", (False, True): "segments"}
    question.run(f"run_rows_from_{origin.get((bool(runs), bool(segments)), 'nothing')}")


def rows_in_order(question: Question) -> Iterator[pa.Table]:
    """The rows of `hinted` in the order of a run, each with what its neighbours say of it."""
    # As few at a time as the engine takes them: an item may have 400 KB twice, and a column of Arrow 2 GB.
    return with_lineage(gathered(question.batches("run_rows", rows_at_once=_ROWS_AT_ONCE)))
