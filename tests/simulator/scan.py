"""Baselines: a scan of the table in two pages, with requests between them.

What it says of an item that is written in between is open; it names the stream that was enabled from its start to its
end, or none.
"""

from __future__ import annotations

from random import Random
from zlib import crc32

from tests.oracle import key_of
from tests.simulator.table import Image, Table


class Scanner:
    """`baselines` are dicts as the oracle takes them, with `rows` (keys, image) for whoever has to store them."""

    def __init__(self, rng: Random, table: Table, key_names: list[str], rate: float):
        self.baselines: list[dict] = []
        self._rng, self._table, self._key_names, self._rate = rng, table, key_names, rate
        self._first_page: dict[bytes, Image] | None = None
        self._since_s, self._label = 0, None

    def step(self) -> None:
        """Begin a scan, go on with the one under way, or end it."""
        if self._first_page is not None:
            if self._rng.random() < 0.5:
                self.finish()
        elif self._rate and self._rng.random() < self._rate:
            self._first_page = {k: v for k, v in self._table.items.items() if crc32(k) % 2}
            self._since_s, self._label = self._now_s(), self._label_now()

    def finish(self) -> None:
        """Read the second page."""
        if self._first_page is None:
            return
        images = self._first_page | {k: v for k, v in self._table.items.items() if not crc32(k) % 2}
        rows = [({name: image[name] for name in self._key_names}, image) for image in images.values()]
        self.baselines.append(
            {
                "s": self._since_s,
                "e": max(self._since_s, self._now_s()),
                "label": self._label if self._label == self._label_now() else None,
                "items": {key_of(keys): image for keys, image in rows},
                "rows": rows,
            }
        )
        self._first_page = None

    def _now_s(self) -> int:
        return self._table.clock.stamp_ms() // 1000

    def _label_now(self) -> str | None:
        return self._table.stream.label if self._table.stream else None
