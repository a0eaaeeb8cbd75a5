"""A store that fails, and a function that is killed, at any put.

Each kind leaves something else behind: nothing written (refused, killed before), everything written but nobody told
(answer lost, killed after), or the object appears later, when the batch may already be on its way again (late).
"""

from collections.abc import Iterator
from random import Random
from typing import Any

REFUSED, ANSWER_LOST, KILLED_BEFORE, KILLED_AFTER, LATE = (
    "refused",
    "answer lost",
    "killed before",
    "killed after",
    "late",
)
KINDS = (REFUSED, ANSWER_LOST, KILLED_BEFORE, KILLED_AFTER, LATE)


class StoreUnavailableError(OSError):
    """The store did not answer, or refused; the caller cannot know whether the object is there."""


class FunctionKilledError(BaseException):
    """The process ended (timeout, memory, host): no handler can catch it and go on."""


class FaultyStore:
    """Wraps a store. `rate` is the chance that a put goes wrong, `script` a list of kinds for the next puts (None: well)."""

    def __init__(self, store: Any, rng: Random, *, rate: float = 0.0, script: list[str | None] | None = None):
        self.inner = store
        self.rate = rate
        self.is_down = False  # an outage: every put is refused
        self.did_fault = False  # since `begin`
        self.faults: dict[str, int] = dict.fromkeys(KINDS, 0)
        self._rng = rng
        self._script = script or []
        self._late: list[tuple[str, bytes]] = []

    def begin(self) -> None:
        """A new invocation starts; puts that were under way for longer than the last one may arrive now."""
        self.did_fault = False
        if self._late and self._rng.random() < 0.5:
            self.settle()

    def settle(self) -> None:
        """Every put that is still under way arrives."""
        while self._late:
            self.inner.put_if_absent(*self._late.pop())

    def put_if_absent(self, name: str, content: bytes) -> bool:
        kind = self._draw()
        if kind is None:
            return self.inner.put_if_absent(name, content)
        self.did_fault = True
        self.faults[kind] += 1
        if kind in (ANSWER_LOST, KILLED_AFTER):
            self.inner.put_if_absent(name, content)
        if kind == LATE:
            self._late.append((name, bytes(content)))
        if kind in (REFUSED, ANSWER_LOST):
            raise StoreUnavailableError(f"put of {name}: {kind}")
        raise FunctionKilledError(f"at the put of {name}: {kind}")

    def get(self, name: str) -> bytes:
        return self.inner.get(name)

    def list(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, int]]:
        return self.inner.list(prefix, start_after)

    def _draw(self) -> str | None:
        if self._script:
            return self._script.pop(0)
        if self.is_down:
            return REFUSED
        if self.rate and self._rng.random() < self.rate:
            return KINDS[int(self._rng.random() * len(KINDS))]
        return None
