"""A sample of items that anybody can draw again: by the digests of a seed and of their keys. Pure.

Invariant: which items are drawn depends on the seed and on the set of items alone, not on their order, and not on a
generator of numbers of ours.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from query.errors import UsageError
from query.redaction import Redaction
from query.render.text import counted, grouped
from query.seal_log import SealLog

POPULATION: Final = "population.txt"
# The keys of a population are held in memory.
MOST_ITEMS: Final = 1_000_000
# What needs no quoting where it is typed.
_SEED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


@dataclass(frozen=True, slots=True)
class Draw:
    """How many items are drawn, by which seed, and where that is from, in words."""

    size: int
    seed: str
    origin: str

    def rank(self, item_key: str) -> str:
        """SHA-256, in hex, of seed, line feed and item key: canonical DynamoDB JSON."""
        return sha256(f"{self.seed}\n{item_key}".encode()).hexdigest()

    def of(self, item_keys: Collection[str], contradicted: Collection[str], redaction: Redaction) -> "Drawn":
        """The items with the smallest ranks; of those `contradicted` evidence contradicts itself. Raises UsageError if
        a key is masked.
        """
        if any(redaction.key(key) != key for key in item_keys):
            raise masked_keys()
        ranked = tuple(sorted((self.rank(key), key) for key in item_keys))
        drawn = tuple(key for _, key in ranked[: self.size])
        return Drawn(self, ranked, drawn, tuple(key for key in drawn if key in contradicted))


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn: ranks and keys of all items in order of rank, the keys of the first, and of those the ones about
    which evidence contradicts itself, so that the package has no change of them.
    """

    draw: Draw
    population: tuple[tuple[str, str], ...]
    item_keys: tuple[str, ...]
    contradicted: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """The population as text: rank, a space, key."""
        yield from (f"{rank} {key}\n" for rank, key in self.population)

    def told(self) -> Iterator[tuple[str, str]]:
        """The sample as pairs of names and texts."""
        drawn, items = grouped(len(self.item_keys)), counted(len(self.population), "item")
        yield "sample", f"{drawn} of {items} with such changes"
        yield "seed", f"{self.draw.seed} ({self.draw.origin})"
        how = "the smallest SHA-256 of seed, line feed and item key; all of them in order"
        yield "drawn by", f"{how}: {POPULATION}, of which the first {drawn} are the sample"
        if self.contradicted:
            yield "drawn, but left out", f"evidence contradicts itself: {' '.join(self.contradicted)}"


def masked_keys() -> UsageError:
    """The error for a sample of items whose keys are masked."""
    return UsageError(
        "no sample can be drawn where keys are redacted",
        why="by masks, whoever has the redaction key could choose; by keys, anybody could try keys until one fits",
        hint="name the items with --scope, or leave --sample out",
    )


def check_draw(size: int, seed: str | None) -> None:
    """Raises UsageError for a sample or a seed that is none."""
    if size < 1:
        raise UsageError(f"a sample of {size} items is none", hint="type --sample with how many items are to be drawn")
    if seed is not None and not _SEED.fullmatch(seed):
        raise UsageError(
            f"{seed!r} is no seed",
            why="a seed has up to 100 letters, digits, dots, dashes, colons or underscores",
            hint="type for example --seed 2026Q3",
        )


def draw(size: int, seed: str | None, log: SealLog, until_ms: int) -> Draw:
    """How a sample is drawn. Without a seed it is the root of the log's first head that reaches the end of the period
    (epoch ms), so that it stays the same as the log grows. `check_draw` let both through. Raises UsageError.
    """
    reaching = next((seal.head for seal in log.seals if seal.interval.to_ms >= until_ms), None)
    if reaching is not None and seed in {None, reaching.root.hex()}:
        of = f"root of the log's first head that reaches the end of the period, {reaching.size} entries"
        return Draw(size, reaching.root.hex(), of)
    if seed is None:
        raise UsageError(
            "no head of the log gives a seed",
            why="the log does not reach the end of the period",
            hint="type --seed, or ask again after the next seal",
        )
    return Draw(size, seed, "given by whoever built the package")
