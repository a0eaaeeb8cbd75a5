"""Which changes several rows tell of, before rows are counted.

Invariants: a run says of itself whether a row repeats another one of it, and which stretch of the order it holds, so
only rows where stretches overlap are looked at; identities are compared as numbers first, and exactly
(`stat_conflicts.sql`, `stat_dropped.sql`) where two are alike.
"""

from collections.abc import Sequence

from query.derived.live import LiveRun
from query.engine import Question
from query.overlaps import EVERYTHING, NOTHING, Shared, Stretch, shared


def find_repeated(question: Question, kinds: Sequence[str], runs: Sequence[LiveRun]) -> bool:
    """Makes the relation `stat_repeated`: identities that several rows of `stat_rows` tell of; False if none can be.

    `kinds` are those of the files that the rows are read from, `segments` and `runs`; neither where they were loaded.
    """
    origin = "rows"
    if "runs" in kinds:
        has_segments = "segments" in kinds
        if _set_doubtful(question, runs, has_segments=has_segments):
            question.run("stat_doubtful_of_runs")
            origin = "both" if has_segments else "runs"
        elif has_segments:
            origin = "segments"
        else:
            return False
    question.run(f"stat_doubtful_from_{origin}")
    question.run("stat_repeated")
    return bool(question.rows("stat_has_repeated")[0][0])


def _set_doubtful(question: Question, runs: Sequence[LiveRun], *, has_segments: bool) -> bool:
    """Names the files of runs of which some rows are to be looked at, and which rows; False if there are none."""
    bounds = question.rows("stat_segments_bounds") if has_segments else []
    others = [Stretch(first, last) for first, last in bounds if first is not None]
    of_parts = [share for run, share in zip(runs, _doubtful(runs, others), strict=True) for _ in run.parts]
    files = [(path, share) for path, share in zip(question.derived_paths, of_parts, strict=True) if share != NOTHING]
    question.set("doubtful_files", [path for path, _ in files])
    question.set("doubtful_to", [share.upto for _, share in files])
    question.set("doubtful_from", [share.since for _, share in files])
    return bool(files)


def _doubtful(runs: Sequence[LiveRun], others: Sequence[Stretch]) -> list[Shared]:
    """Of each run, which of its rows may tell what another row tells too."""
    own = [Stretch.of(run.description.spans) if run.description.spans else None for run in runs]
    found = []
    for place, (run, stretch) in enumerate(zip(runs, own, strict=True)):
        beside = [*others, *(one for at, one in enumerate(own) if one is not None and at != place)]
        if run.description.repeats:
            found.append(EVERYTHING)
        else:
            found.append(NOTHING if stretch is None else shared(stretch, beside))
    return found
