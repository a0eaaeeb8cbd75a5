"""Virtual time: one true clock that only moves forward, and the stamp that records get from it.

"ApproximateCreationDateTime ... rounded down to the closest second" (DynamoDB Streams API Reference, *StreamRecord*).
Stamps are approximate and made on many machines: here they also stall and step back.
"""

from random import Random

BACKWARD_STEPS_MS = (1_000, 2_000, 7_000, 90_000, 3_700_000)


class Clock:
    """`now_ms` is true time (ages, retries, expiry); `stamp_ms()` is what a record says."""

    def __init__(self, rng: Random, now_ms: int, *, is_skewed: bool):
        self.now_ms = now_ms
        self._rng = rng
        self._is_skewed = is_skewed
        self._skew_ms = 0
        self._stalled_at_ms: int | None = None

    def advance(self, elapsed_ms: int) -> None:
        self.now_ms += elapsed_ms
        if not self._is_skewed:
            return
        luck = self._rng.random()
        if luck < 0.01:
            self._skew_ms -= self._rng.choice(BACKWARD_STEPS_MS)
        elif luck < 0.02:
            self._skew_ms = 0
        elif luck < 0.04:
            self._stalled_at_ms = None if self._stalled_at_ms else self.now_ms + self._skew_ms

    def stamp_ms(self) -> int:
        return self._stalled_at_ms or self.now_ms + self._skew_ms
