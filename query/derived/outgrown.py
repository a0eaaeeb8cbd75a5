"""Whether a run can be made where memory, disk and time are given, and what is made instead where it cannot. Pure.

The figures were measured (docs/operations.md, Compaction). A run that would be too large is not begun: stopped in the
middle it would cost its time again, call after call, and never be there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from query.derived.levels import Piece

# A second and a vCPU. Two cores here made 100,000 to 180,000 rows with images of 210 bytes, and sorted 115 MB of images
# of 2,000; a vCPU of Lambda is taken for half of such a core (`core_factor` of query/operate/prices.toml).
_ROWS_PER_S: Final = 45_000
_SORTED_BYTES_PER_S: Final = 50_000_000
_OBJECTS_PER_S: Final = 200  # to be fetched: 64 at once, none in less than 0.3 s
_START_S: Final = 10.0

# What a row takes while it is sorted: 1,100 bytes with two images of 210, in 58 bytes of a segment. How well images
# compress is not known before they are read: random words do 2.3 times. What does better than this is left to the
# engine, which fails when memory or disk is full.
_ROW_SORTED_BYTES: Final = 680
_EXPANSION: Final = 8
_OUTPUT_BYTES: Final = 300_000_000  # a part that is being put, and the next one

# The engine spilled six times its memory and was not tried with much more. Beside it Python, Arrow and the parts took
# 0.3 to 0.6 GB; with images of 2,000 bytes it failed below 1 GB of its own.
_SORTED_TO_MEMORY: Final = 8
_FEWEST_SORT_BYTES: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Work:
    """What a run is made of: rows, the objects that hold them, and their bytes as they are stored."""

    rows: int
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to make it with: memory and disk in bytes, virtual processors, and seconds for one run."""

    memory_bytes: int
    disk_bytes: int
    cores: float
    seconds: float

    @property
    def sort_bytes(self) -> int:
        """The memory that the engine may have: half of it."""
        return self.memory_bytes // 2


@dataclass(frozen=True, slots=True)
class Need:
    """What a run takes: memory and disk in bytes, and seconds."""

    memory_bytes: int
    disk_bytes: int
    seconds: float

    def exceeds(self, room: Room) -> str | None:
        """Which of it there is too little of, with both figures; None where there is enough."""
        for what, unit, needed, given in (
            ("disk", "MB", self.disk_bytes / 1e6, room.disk_bytes / 1e6),
            ("memory", "MB", self.memory_bytes / 1e6, room.memory_bytes / 1e6),
            ("time", "s", self.seconds, room.seconds),
        ):
            if needed > given:
                return f"it takes {needed:,.0f} {unit} of {what}, and there are {given:,.0f}"
        return None


def need_of(work: Work, cores: float) -> Need:
    """What a run takes, with so many processors."""
    sorted_bytes = work.rows * _ROW_SORTED_BYTES + work.bytes * _EXPANSION
    return Need(
        memory_bytes=2 * max(_FEWEST_SORT_BYTES, sorted_bytes // _SORTED_TO_MEMORY),
        disk_bytes=work.bytes + sorted_bytes + _OUTPUT_BYTES,
        seconds=_START_S
        + work.objects / _OBJECTS_PER_S
        + (work.rows / _ROWS_PER_S + sorted_bytes / _SORTED_BYTES_PER_S) / cores,
    )


def smaller_runs(pieces: Sequence[Piece]) -> list[tuple[Piece, ...]]:
    """The runs to be made instead of one that is too large, in order: of days, of hours, or of single seals.

    Whoever comes later with more room merges them, and what is sealed is in a run meanwhile. What is a run already is
    left as it is; a single seal gives none.
    """
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H", None):
        groups = [
            tuple(piece for _, piece in members)
            for _, members in groupby(enumerate(pieces), key=lambda numbered: _period(form, *numbered))
        ]
        if len(groups) > 1:
            return [group for group in groups if len(group) > 1 or not group[0].is_run]
    return []


def _period(form: str | None, number: int, piece: Piece) -> str:
    return str(number) if form is None else datetime.fromtimestamp(piece.until_ms / 1000, UTC).strftime(form)
