"""What an application does to the table: puts, updates, deletes, no-ops, TTL, transactions, batches."""

from random import Random

from tests.simulator.scenario import Scenario
from tests.simulator.table import Image, ItemWrite, Table
from tests.simulator.values import NAMES, draw_value, respell

# What a request is, by weight: one entry for each two of a hundred.
_KINDS = (
    ["put"] * 13 + ["update"] * 19 + ["delete"] * 5 + ["no-op"] * 4 + ["ttl"] * 2 + ["transaction"] * 3 + ["batch"] * 4
)


class Workload:
    """One writer over a fixed set of item keys."""

    def __init__(self, rng: Random, table: Table, keys: list[Image], scenario: Scenario):
        self._rng, self._table, self._keys = rng, table, keys
        self._has_counter = scenario.has_counter
        self._names = rng.sample([name for name in NAMES if name not in keys[0]], rng.choice([1, 3, 6]))
        self._values = [draw_value(rng) for _ in range(2)]  # without a counter few values, so that images come back
        self._revision = 0

    def step(self) -> None:
        """One request to the table."""
        kind = _KINDS[int(self._rng.random() * len(_KINDS))]
        keys = self._keys[int(self._rng.random() * len(self._keys))]
        if kind == "transaction" or (kind == "batch" and len(self._keys) > 1):
            chosen = self._rng.sample(self._keys, min(len(self._keys), self._rng.randint(1, 5)))
            self._table.write_together([self._one_of_many(kind, chosen_keys) for chosen_keys in chosen])
        elif kind in ("delete", "ttl"):
            self._table.write(keys, None, is_ttl=kind == "ttl")
        elif kind == "no-op":
            held = self._held(keys)
            self._table.write(keys, {name: respell(value) for name, value in held.items()} if held else None)
        elif kind == "put":
            self._table.write(keys, self._put(keys))
        else:
            self._table.write(keys, self._update(keys))

    def _one_of_many(self, kind: str, keys: Image) -> ItemWrite:
        """BatchWriteItem puts and deletes; TransactWriteItems also updates."""
        luck = self._rng.random()
        if luck < 0.2:
            return keys, None
        return keys, self._update(keys) if kind == "transaction" and luck < 0.6 else self._put(keys)

    def _held(self, keys: Image) -> Image | None:
        return self._table.item(keys)

    def _put(self, keys: Image) -> Image:
        image = dict(keys)
        for name in self._names[: int(self._rng.random() * 5)]:
            image[name] = self._value()
        return self._count(image)

    def _update(self, keys: Image) -> Image:
        """UpdateItem makes the item if it is not there."""
        image = dict(self._held(keys) or keys)
        name = self._names[int(self._rng.random() * len(self._names))]
        if self._rng.random() < 0.2:
            image.pop(name, None)
        else:
            image[name] = self._value()
        return self._count(image)

    def _value(self) -> Image:
        return draw_value(self._rng) if self._has_counter else self._rng.choice(self._values)

    def _count(self, image: Image) -> Image:
        if self._has_counter:
            self._revision += 1
            image["rev"] = {"N": str(self._revision)}
        return image
