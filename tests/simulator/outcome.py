"""What one simulated history was: the model that the checks compare with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.oracle import Oracle, identity_of
from tests.simulator.scenario import Scenario
from tests.simulator.stream import Emitted


@dataclass
class Outcome:
    """The model of one history. Every list is in order of emission.

    `records` are all that the streams held; what became of each is on it (`Emitted.fate`, `is_acknowledged`).
    `on_failure` are the documents of the S3 destination. `truth` maps a stamp in ms to the items of the table after it.
    """

    seed: int
    writes: int
    scenario: Scenario
    store: Any
    key_schema: list[tuple[str, str]]
    records: list[Emitted] = field(default_factory=list)
    on_failure: list[dict] = field(default_factory=list)
    handler_errors: list[str] = field(default_factory=list)  # tracebacks of failures that nobody injected
    baselines: list[dict] = field(default_factory=list)
    table_ids: dict[str, str | None] = field(default_factory=dict)
    truth: dict[int, dict[bytes, dict]] = field(default_factory=dict)
    invocations: int = 0
    happened: Counter[str] = field(default_factory=Counter)  # what went otherwise than well, by name
    metrics: Counter[str] = field(default_factory=Counter)  # of the mappings, as CloudWatch names them
    table_name: str = "orders"

    @property
    def poison(self) -> list[Any]:
        """What must be in quarantine, verbatim."""
        return [e.record for e in self.records if e.is_poison and not is_excused(e)]

    @cached_property
    def identities(self) -> dict[tuple, Emitted]:
        """Identity -> record, for all that can be understood."""
        return {identity_of(e.record): e for e in self.records if not e.is_poison}

    @cached_property
    def expected(self) -> dict[tuple, Emitted]:
        """Of these, what the simulator did not take away."""
        return {identity: e for identity, e in self.identities.items() if not is_excused(e)}

    @cached_property
    def excused(self) -> dict[tuple, Emitted]:
        """Of these, what expired at the source, was denied at the destination or waits there unreplayed: may be archived."""
        return {identity: e for identity, e in self.identities.items() if is_excused(e)}

    def oracle(self, archived: Iterable[tuple] = (), *, baselines: bool = True) -> Oracle:
        """The truth about what the archive holds. `archived` (identities) says which of the excused records it got."""
        got = set(archived)
        held = [*self.expected.values(), *(e for identity, e in self.excused.items() if identity in got)]
        records = [record for e in held for record in (e.record, *e.variants)]
        return Oracle(records, baselines=self.baselines if baselines else (), table_ids=self.table_ids)


def is_excused(emitted: Emitted) -> bool:
    return not emitted.is_acknowledged and emitted.fate in ("expired", "destination", "denied")
