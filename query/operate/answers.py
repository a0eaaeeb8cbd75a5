"""What AWS said when it was asked something: a mapping, that there is no such thing, or nothing that can be known.

Invariant: these are three answers, never one. What was not allowed, not reached or cut short is `Unknown` with its
reason, and no check may take it for "none".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such thing, as whoever should have it says; `what` names it."""

    what: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It is not known; `why` is told to a person as it stands."""

    why: str


Said = Mapping[str, Any]
Answer = Said | Missing | Unknown


@dataclass(frozen=True, slots=True)
class Pages:
    """What a listing gave; `is_whole` is False if it was given up before its end."""

    items: tuple[Said, ...]
    is_whole: bool


Listing = Pages | Missing | Unknown


def is_said(answer: Answer | None) -> TypeGuard[Said]:
    """Whether AWS said what there is."""
    return answer is not None and not isinstance(answer, Missing | Unknown)
