"""One simulated history: a table is written to, its stream is delivered to a handler, things go wrong.

    outcome = simulate(7, handler=lambda event, store: ..., store=MemoryStore())

The handler gets an event `{"Records": [...]}` and the store, and raises to say that it failed. Everything that the
checks need comes back in `Outcome`. Nothing here knows how the handler stores what it gets.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulator import poison
from tests.simulator.clock import Clock
from tests.simulator.destination import failure_document
from tests.simulator.faults import FaultyStore, FunctionKilledError
from tests.simulator.mapping import Batch, Mapping
from tests.simulator.memory_store import MemoryStore
from tests.simulator.outcome import Outcome
from tests.simulator.scan import Scanner
from tests.simulator.scenario import HOUR_MS, Scenario, draw_scenario
from tests.simulator.stream import Emitted, Stream, to_text
from tests.simulator.table import Table
from tests.simulator.values import draw_key_schema, draw_keys, respell
from tests.simulator.workload import Workload

MAX_STEPS = 200_000  # of the mappings in one history; more means that the simulation does not end

Handler = Callable[[dict, Any], Any]


def simulate(
    seed: int,
    *,
    writes: int = 150,
    handler: Handler,
    store: Any = None,
    overrides: dict | None = None,
    has_replay: bool = True,
) -> Outcome:
    """Run one history to its end.

    `overrides` fixes single fields of the `Scenario` that the seed would choose. With `has_replay`, the payloads of the
    on-failure destination are handed to the handler afterwards, as an operator would.
    """
    rng = Random(seed)
    scenario = draw_scenario(rng, overrides)
    return _Run(seed, writes, rng, scenario, handler, MemoryStore(rng) if store is None else store).play(
        has_replay=has_replay
    )


class _Run:
    def __init__(self, seed: int, writes: int, rng: Random, scenario: Scenario, handler: Handler, store: Any):
        # Each part has its own dice, so that a handler that fails does not change what the application writes.
        self._table_rng, self._mapping_rng = Random(rng.getrandbits(64)), Random(rng.getrandbits(64))
        self._writes, self._scenario, self._handler = writes, scenario, handler
        self._store = FaultyStore(store, Random(rng.getrandbits(64)), rate=scenario.put_fault_rate)
        self._clock = Clock(Random(rng.getrandbits(64)), scenario.start_ms, is_skewed=scenario.is_skewed)
        schema = draw_key_schema(rng)
        self._outcome = Outcome(seed, writes, scenario, store, schema)
        self._mappings: list[Mapping] = []
        self._streams: list[Stream] = []
        self._table = Table(
            self._table_rng,
            self._clock,
            self._outcome.table_name,
            partition_key=schema[0][0],
            style=scenario,
            new_stream=self._new_stream,
            damage=self._damage,
        )
        keys = draw_keys(rng, schema, scenario.items)
        self._workload = Workload(self._table_rng, self._table, keys, scenario)
        self._scanner = Scanner(self._table_rng, self._table, [name for name, _ in schema], scenario.baseline_rate)
        self._down_until_ms = 0
        self._steps = 0
        self._lost_responses = 0

    def play(self, *, has_replay: bool) -> Outcome:
        outage_at = int(self._writes * self._scenario.outage_at) if self._scenario.outage_ms else -1
        for n in range(self._writes):
            if n == outage_at:
                self._begin_outage()
            self._change_table()
            self._workload.step()
            self._scanner.step()
            for mapping in self._mappings:
                mapping.pull()
            self._run_until(self._clock.now_ms + self._pause_ms())
        self._scanner.finish()
        self._run_until(None)
        self._store.settle()
        outcome = self._outcome
        outcome.records = sorted((e for s in self._streams for shard in s.shards for e in shard.records), key=_emission)
        for mapping in self._mappings:
            outcome.happened.update(mapping.happened)
            outcome.metrics.update(mapping.metrics)
        outcome.happened.update(self._store.faults)
        outcome.happened.update({"lost response": self._lost_responses, "new label": len(self._streams) - 1})
        outcome.happened["split"] = sum(shard.parent is not None for s in self._streams for shard in s.shards)
        outcome.happened["table made anew"] = len(set(self._table.table_ids.values())) - 1
        outcome.baselines = self._scanner.baselines
        outcome.truth = self._table.truth
        outcome.table_ids = {
            label: table_id if self._scenario.knows_table_ids else None
            for label, table_id in self._table.table_ids.items()
        }
        if has_replay:
            self._replay()
        return outcome

    # The table

    def _change_table(self) -> None:
        """Splits, a stream switched off and on, a table made anew: seldom, and each between two requests."""
        scenario, table, rng = self._scenario, self._table, self._table_rng
        if table.stream and rng.random() < scenario.split_rate:
            table.stream.split()
        if table.stream is None:
            if rng.random() < 0.3:
                table.enable_stream()
        elif rng.random() < scenario.reenable_rate:
            table.disable_stream()
        elif rng.random() < scenario.anew_rate:
            self._scanner.finish()
            table.make_anew()

    def _new_stream(self, label: str, arn: str) -> Stream:
        scenario = self._scenario
        stream = Stream(
            self._table_rng,
            label,
            arn,
            shards=scenario.shards,
            gap=scenario.gap,
            expected_records=self._writes,
            is_padded=scenario.is_padded,
        )
        # A mapping is bound to one stream ARN: a new label needs a second one, which comes late, while the old one drains.
        mapping = Mapping(self._mapping_rng, self._clock, stream, scenario, self._invoke, self._send)
        if self._mappings:
            mapping.disabled_until_ms = self._clock.now_ms + int(self._mapping_rng.random() * HOUR_MS)
        self._mappings.append(mapping)
        self._streams.append(stream)
        return stream

    def _damage(self) -> Callable[[dict], dict] | None:
        rate = self._scenario.poison_rate
        return poison.draw(self._table_rng) if rate and self._table_rng.random() < rate else None

    def _pause_ms(self) -> int:
        luck, long = self._table_rng.random(), self._table_rng.random()
        if self._scenario.pause_ms:
            return int(2 * long * self._scenario.pause_ms)
        hurry = self._scenario.hurry
        if luck < hurry:
            return int(long * 300)
        if luck < hurry + (1 - hurry) * 0.7:
            return int(long * 30_000)
        return int(long * (20 * 60_000 if luck < 0.99 else 3 * HOUR_MS))

    # The mappings

    def _begin_outage(self) -> None:
        ends_ms = self._clock.now_ms + self._scenario.outage_ms
        if self._scenario.outage_kind == "mapping":
            for mapping in self._mappings:
                mapping.disabled_until_ms = max(mapping.disabled_until_ms, ends_ms)
        else:
            self._down_until_ms = ends_ms

    def _run_until(self, end_ms: int | None) -> None:
        """Let the mappings do all that is due, in order of time, until `end_ms` (None: until nothing is left)."""
        while True:
            due = [at for at in (mapping.next_due_ms() for mapping in self._mappings) if at is not None]
            if not due or (end_ms is not None and min(due) > end_ms):
                break
            self._clock.now_ms = max(self._clock.now_ms, min(due))
            for mapping in self._mappings:
                mapping.poll()
            self._steps += 1
            assert self._steps < MAX_STEPS, f"seed {self._outcome.seed}: the simulation does not end"
        if end_ms is not None:
            self._clock.advance(max(0, end_ms - self._clock.now_ms))

    def _invoke(self, records: list[Emitted]) -> tuple[bool, bool]:
        """Call the handler once: (did it succeed, was its failure injected)."""
        store, rng = self._store, self._mapping_rng
        store.begin()
        is_outage = self._clock.now_ms < self._down_until_ms
        store.is_down = is_outage and self._scenario.outage_kind == "store"
        self._outcome.invocations += 1
        if is_outage and self._scenario.outage_kind == "function":
            return False, True
        event = {"Records": [self._deliver(emitted) for emitted in records]}
        try:
            self._handler(event, store)
        except (Exception, FunctionKilledError):
            if not store.did_fault:
                self._note_error()
            return False, store.did_fault
        was_lost = self._scenario.lost_response_rate > 0 and rng.random() < self._scenario.lost_response_rate
        self._lost_responses += was_lost
        return not was_lost, True

    def _deliver(self, emitted: Emitted) -> Any:
        """A fresh copy; of a record that was delivered before, now and then another spelling or another content."""
        scenario, rng = self._scenario, self._mapping_rng
        record = emitted.fresh()
        if not emitted.is_acknowledged or emitted.is_poison:
            return record
        if scenario.respelled_rate and rng.random() < scenario.respelled_rate:
            record["dynamodb"] = _respelled(record["dynamodb"])
            emitted.variants.append(record)
        elif scenario.conflict_rate and rng.random() < scenario.conflict_rate and "NewImage" in record["dynamodb"]:
            record["dynamodb"]["NewImage"]["forged"] = {"S": f"{len(emitted.variants)}"}
            emitted.variants.append(record)
        return json.loads(to_text(record)) if emitted.variants else record

    def _send(self, condition: str, batch: Batch, shard_id: str, arn: str) -> None:
        request_id = f"{self._mapping_rng.getrandbits(128):032x}"
        self._outcome.on_failure.append(
            failure_document(condition, batch, shard_id, arn, request_id, now_ms=self._clock.now_ms)
        )

    def _replay(self) -> None:
        """An operator replays every payload when the trouble is over; what succeeds is as good as acknowledged."""
        for document in self._outcome.on_failure:
            try:
                self._handler(json.loads(document["payload"]), self._store.inner)
            except Exception:
                self._note_error()
        for emitted in self._outcome.records:
            emitted.is_acknowledged = emitted.is_acknowledged or emitted.fate == "destination"

    def _note_error(self) -> None:
        if len(self._outcome.handler_errors) < 3:
            self._outcome.handler_errors.append(traceback.format_exc(limit=-4))


def _emission(emitted: Emitted) -> tuple[int, int]:
    return emitted.at_ms, emitted.index


def _respelled(stream_part: dict) -> dict:
    images = {name: respell({"M": stream_part[name]})["M"] for name in ("NewImage", "OldImage") if name in stream_part}
    time = stream_part["ApproximateCreationDateTime"]
    other = float(time) if isinstance(time, int) else int(time) if time.is_integer() else time
    return {**stream_part, **images, "ApproximateCreationDateTime": other}
