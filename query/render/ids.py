"""Change ids as people see them: `@9f31c2`, short, but never to be taken for another change shown, nor for a time."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from query.rev import Rev

_SHORTEST: Final = 6


def short_ids(change_ids: Iterable[str]) -> dict[str, str]:
    """The name of each change: the beginning of its id, long enough to be no other's and to hold a letter.

    `@` and digits only would be unix seconds; an id without any letter is written `@id:…`.
    """
    ordered = sorted(set(change_ids))
    lengths = dict.fromkeys(ordered, _SHORTEST)
    for one, other in pairwise(ordered):
        shared = _shared(one, other) + 1
        lengths[one] = max(lengths[one], shared)
        lengths[other] = max(lengths[other], shared)
    return {change_id: _name(change_id, length) for change_id, length in lengths.items()}


def _shared(one: str, other: str) -> int:
    """How many characters two ids have in common at their beginning."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def _name(change_id: str, length: int) -> str:
    letter = next((place for place, character in enumerate(change_id) if not character.isdecimal()), None)
    if letter is not None:
        length = max(length, letter + 1)
    return Rev("id", change_id[:length]).text
