"""The layers of a question about a whole table as files on this machine, told apart by rank: the newest has the first.

Invariant: no file is handed out that was not checked; a part of a run or a snapshot is fetched when it is first wanted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from query.derived.live import LiveRun, LiveSnapshot
from query.derived.members import Span
from query.engine import Question
from query.gate import EvidenceFile, Kind
from query.layers import LayerPlan
from query.rows import Reader
from query.source import StoredObject


@dataclass(frozen=True, slots=True)
class Bounds:
    """The ends of what a layer tells, in order (label and sequence number as one text) and in time (epoch ms)."""

    first: str
    last: str
    first_ms: int
    last_ms: int

    @classmethod
    def of(cls, spans: Sequence[Span]) -> "Bounds":
        return cls(
            min(f"{span.stream_label} {span.first_sequence}" for span in spans),
            max(f"{span.stream_label} {span.last_sequence}" for span in spans),
            min(span.first_ms for span in spans),
            max(span.last_ms for span in spans),
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """What tells of items: a run, a snapshot, or the files of a baseline (`made` is None), the first file with this
    rank. `bounds`: None where nothing has a place in the order; `is_cut`: not all that it tells counts at the instant.
    """

    kind: Kind
    rank: int
    made: LiveRun | LiveSnapshot | None = None
    baseline: tuple[EvidenceFile, ...] = ()
    bounds: Bounds | None = None
    is_cut: bool = False

    @property
    def ranks(self) -> range:
        """The ranks of its files."""
        return range(self.rank, self.rank + len(self.baseline if self.made is None else self.made.parts))


class LayerFiles:
    """The layers below the segments of a plan, the newest first, and their files.

    What gives files raises SealMismatch or CorruptSegment for one that is not what it should be, DerivedGone.
    """

    def __init__(self, question: Question, reader: Reader, plan: LayerPlan) -> None:
        self._question = question
        self._reader = reader
        self._parts: dict[int, EvidenceFile] = {}
        self.layers = self._layers(plan)
        self._layer_of = {rank: layer for layer in self.layers for rank in layer.ranks}

    def _layers(self, plan: LayerPlan) -> list[Layer]:
        layers: list[Layer] = []
        rank = 1  # 0 is that of the segments
        for run in plan.runs:
            if run.first_ms <= plan.at_ms:
                bounds = Bounds.of(run.description.spans)
                layers.append(Layer("run", rank, run, bounds=bounds, is_cut=plan.is_cut(run)))
                rank = layers[-1].ranks.stop
        if plan.snapshot is None:
            baseline = tuple(self._reader.read_baseline(self._question, "floor", plan.floor))
            layers.append(Layer("baseline", rank, baseline=baseline))
            self._parts.update(zip(layers[-1].ranks, baseline, strict=True))
        else:
            spans = plan.snapshot.description.spans
            layers.append(Layer("snapshot", rank, plan.snapshot, bounds=Bounds.of(spans) if spans else None))
        return layers

    def kind(self, rank: int) -> Kind:
        """What the file with a rank is."""
        return self._layer_of[rank].kind

    def parts(self, ranks: Iterable[int]) -> dict[int, EvidenceFile]:
        """The files with rows, by rank."""
        wanted = set(ranks)
        self._parts |= self._files({rank: self._described(rank)[0] for rank in wanted - self._parts.keys()})
        return {rank: self._parts[rank] for rank in sorted(wanted)}

    def items(self, layers: Sequence[Layer]) -> dict[int, EvidenceFile]:
        """The items files of some runs and snapshots, each by the rank of its part."""
        return self._files({rank: self._described(rank)[1] for layer in layers for rank in layer.ranks})

    def _described(self, rank: int) -> tuple[tuple[StoredObject, str], tuple[StoredObject, str]]:
        """A part and its items file, each with its digest."""
        layer = self._layer_of[rank]
        assert layer.made is not None  # the files of a baseline are there
        part = layer.made.description.parts[rank - layer.rank]
        own, items = (
            (StoredObject(layer.made.folder + file.name, file.bytes), file.sha256) for file in (part.file, part.items)
        )
        return own, items

    def _files(self, wanted: Mapping[int, tuple[StoredObject, str]]) -> dict[int, EvidenceFile]:
        """All are fetched, and checked, at once."""
        ranks = sorted(wanted)
        stored, digests = [wanted[rank][0] for rank in ranks], [wanted[rank][1] for rank in ranks]
        kinds = [self.kind(rank) for rank in ranks]
        return dict(zip(ranks, self._reader.derived_files(self._question, kinds, stored, digests), strict=True))
