"""Names of derived data inside a trail, composed and parsed: runs and snapshots below the derived URL.

Laws: `parse(compose(x)) == x`, and a parser accepts only what its composer makes. Pure.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from archiver.format.seal import SIZE_DIGITS

DERIVATION: Final = "d1"  # how rows are derived: another one reads none of this
RUNS: Final = f"runs/{DERIVATION}/"
SNAPSHOTS: Final = f"snapshots/{DERIVATION}/"
_SIZE: Final = rf"[0-9]{{{SIZE_DIGITS}}}"
_RUN: Final = re.compile(rf"(?P<start>{_SIZE})-(?P<end>{_SIZE})")
_SNAPSHOT: Final = re.compile(
    rf"(?P<end>{_SIZE})-(?P<at>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}-[0-9]{{2}}-[0-9]{{2}}Z)"
)
_PART: Final = re.compile(r"part-(?P<number>0|[1-9][0-9]{0,9})-(?P<digest>[0-9a-f]{16})\.parquet")
_SEGMENTS: Final = re.compile(r"segments-(?P<digest>[0-9a-f]{16})\.parquet")


@dataclass(frozen=True, slots=True, order=True)
class RunName:
    """A run's folder: it covers the entries of the log from `start` until before `end`."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end < 10**SIZE_DIGITS:
            raise ValueError(f"no run covers the entries from {self.start} to {self.end}")

    @property
    def folder(self) -> str:
        """The folder inside the trail, with its trailing slash."""
        return f"{RUNS}{self.start:0{SIZE_DIGITS}d}-{self.end:0{SIZE_DIGITS}d}/"

    @property
    def description(self) -> str:
        """What makes the run live, once it exists."""
        return f"{self.folder}run.json"

    @classmethod
    def parse(cls, folder: str) -> Self:
        """From the last part of the folder's name, without a slash. Raises ValueError."""
        match = _RUN.fullmatch(folder)
        if match is None:
            raise ValueError(f"{folder} is not the name of a run")
        return cls(int(match["start"]), int(match["end"]))


@dataclass(frozen=True, slots=True, order=True)
class SnapshotName:
    """A snapshot's folder: the table at an instant (epoch ms, whole seconds), as the entries before `end` tell it."""

    end: int
    at_ms: int

    def __post_init__(self) -> None:
        if not 0 < self.end < 10**SIZE_DIGITS or self.at_ms % 1000:
            raise ValueError(f"no snapshot is at {self.at_ms} ms of {self.end} entries")

    @property
    def folder(self) -> str:
        at = datetime.fromtimestamp(self.at_ms / 1000, UTC)
        return f"{SNAPSHOTS}{self.end:0{SIZE_DIGITS}d}-{at:%Y-%m-%dT%H-%M-%SZ}/"

    @property
    def description(self) -> str:
        return f"{self.folder}snapshot.json"

    @classmethod
    def parse(cls, folder: str) -> Self:
        """From the last part of the folder's name, without a slash. Raises ValueError."""
        match = _SNAPSHOT.fullmatch(folder)
        if match is None:
            raise ValueError(f"{folder} is not the name of a snapshot")
        at = datetime.strptime(match["at"], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
        return cls(int(match["end"]), round(at.timestamp()) * 1000)


def part_name(number: int, digest: str) -> str:
    """The name of part `number` inside its folder, with the first 16 hex digits of its SHA-256."""
    return f"part-{number}-{digest[:16]}.parquet"


def index_name(part: str) -> str:
    """The name of a part's index."""
    return part.removesuffix(".parquet") + ".idx"


def items_name(part: str) -> str:
    """The name of a part's items file."""
    return part.removesuffix(".parquet") + ".items"


def segments_name(digest: str) -> str:
    """The name of the table of segments that a run was made from."""
    return f"segments-{digest[:16]}.parquet"


def check_part_name(name: str, number: int, digest: str) -> None:
    """Raises ValueError unless that is the name of part `number` with that SHA-256."""
    if _PART.fullmatch(name) is None or name != part_name(number, digest):
        raise ValueError(f"{name!r} is not the name of part {number} with the digest {digest}")


def check_segments_name(name: str, digest: str) -> None:
    """Raises ValueError unless that is the name of a table of segments with that SHA-256."""
    if _SEGMENTS.fullmatch(name) is None or name != segments_name(digest):
        raise ValueError(f"{name!r} is not the name of the segments with the digest {digest}")


def is_derived_name(name: str) -> bool:
    """Whether a name inside a trail belongs to runs or snapshots, of whatever derivation."""
    return name.startswith(("runs/", "snapshots/"))
