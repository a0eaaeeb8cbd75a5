"""What one seed chooses before anything happens: the table, the mapping, and what will go wrong.

Drawn first and once, so that the same seed with fewer writes meets the same world (`check.shrink`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from random import Random

HOUR_MS = 3_600_000
RETENTION_MS = (
    24 * HOUR_MS
)  # "All data in DynamoDB Streams is subject to a 24-hour lifetime." (*Change data capture ...*)

# Moments at which hours, days, months and a leap day turn; runs start a little before one of them.
STARTS_S = (
    1_798_761_600,  # 2027-01-01T00:00Z
    1_835_395_200,  # 2028-02-29T00:00Z
    1_835_481_600,  # 2028-03-01T00:00Z
    1_795_413_600,  # 2026-11-23T06:00Z
    1_604_188_800,  # 2020-11-01T00:00Z
)


@dataclass(frozen=True, slots=True)
class Scenario:
    # the table and its stream
    items: int = 6
    has_counter: bool = True  # each write raises `rev`; without it images come back to what they were
    view_type: str = "NEW_AND_OLD_IMAGES"
    event_version: str = "1.1"
    has_null_identity: bool = False
    has_unknown_field: bool = False
    time_style: str = "int"  # how the creation time is spelled: int, float, fraction, minute
    shards: int = 1
    split_rate: float = 0.0
    gap: str = "small"
    is_padded: bool = False
    poison_rate: float = 0.0
    anew_rate: float = 0.0  # the table is deleted and made again
    reenable_rate: float = 0.0  # the stream is disabled for some writes, then enabled
    baseline_rate: float = 0.0
    knows_table_ids: bool = True
    # time
    start_ms: int = STARTS_S[0] * 1000
    is_skewed: bool = False
    hurry: float = 0.6  # the share of writes that follow within 300 ms
    pause_ms: int = 0  # a steady pace instead: about so long between two requests. Never drawn
    # the mapping
    batch_size: int = 100
    window_ms: int = 1_000
    payload_limit_bytes: int = 6_291_456
    lanes: int = 1
    is_bisecting: bool = True
    max_retries: int = -1
    max_age_ms: int = -1
    has_destination: bool = True
    denies_destination: bool = False  # the role may not put there: what is discarded is gone. Never drawn
    longest_backoff_ms: int = 4 * HOUR_MS  # between two attempts; the real one is not documented. Never drawn
    restart_rate: float = 0.0
    restart_batch_sizes: tuple[int, ...] = ()  # what a restart chooses of; none: of all there are. Never drawn
    restart_lanes: tuple[int, ...] = ()
    duplicate_rate: float = 0.0
    respelled_rate: float = 0.0  # of the duplicates: sets in another order, the time as another kind of number
    # Of the duplicates: another content under the same identity. Never drawn; set it with no put faults, because a delivery
    # that failed may or may not have left its content behind.
    conflict_rate: float = 0.0
    # faults
    put_fault_rate: float = 0.0
    lost_response_rate: float = 0.0  # the function ended well, Lambda never heard
    throttle_rate: float = 0.0
    outage_ms: int = 0
    outage_kind: str = "store"  # or "function" (it fails before it does anything), or "mapping" (disabled)
    outage_at: float = 0.5  # the share of the writes after which it begins

    def spell_time(self, stamp_ms: int) -> float:
        """A stamp as the creation time of a record: seconds, cut down (a fraction is one that binary holds exactly)."""
        if self.time_style == "fraction":
            return stamp_ms // 125 / 8
        grain_s = 60 if self.time_style == "minute" else 1  # old samples and DynamoDB Local cut to the minute
        seconds = stamp_ms // (1000 * grain_s) * grain_s
        return float(seconds) if self.time_style == "float" else seconds


def draw_scenario(rng: Random, overrides: dict | None = None) -> Scenario:
    """A world for one seed; `overrides` replaces single fields afterwards and draws nothing."""

    def seldom(chance: float, value: float, otherwise: float = 0.0) -> float:
        return value if rng.random() < chance else otherwise

    scenario = Scenario(
        items=rng.choice([1, 2, 4, 8, 20]),
        has_counter=rng.random() < 0.6,
        view_type=rng.choices(["NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"], [92, 4, 2, 2])[0],
        event_version=rng.choices(["1.1", "1.0", "9.9"], [90, 5, 5])[0],
        has_null_identity=rng.random() < 0.05,
        has_unknown_field=rng.random() < 0.05,
        time_style=rng.choices(["int", "float", "fraction", "minute"], [50, 42, 4, 4])[0],
        shards=rng.choice([1, 1, 2, 4]),
        split_rate=seldom(0.4, 0.02),
        gap=rng.choices(["unit", "small", "wide"], [2, 7, 1])[0],
        is_padded=rng.random() < 0.1,
        poison_rate=seldom(0.36, rng.choice([0.01, 0.05, 0.2])),
        anew_rate=seldom(0.15, 0.01),
        reenable_rate=seldom(0.15, 0.01),
        baseline_rate=seldom(0.3, 0.015),
        knows_table_ids=rng.random() < 0.85,
        start_ms=rng.choice(STARTS_S) * 1000 - int(rng.random() * 2 * HOUR_MS),
        is_skewed=rng.random() < 0.6,
        hurry=rng.choice([0.3, 0.6, 0.9, 0.98]),
        batch_size=draw_batch_size(rng),
        window_ms=rng.choice([0, 0, 1_000, 5_000, 60_000, 300_000]),
        payload_limit_bytes=int(seldom(0.2, rng.choice([2_000, 10_000, 50_000]), 6_291_456)),
        lanes=draw_lanes(rng),
        is_bisecting=rng.random() < 0.5,
        max_retries=int(seldom(0.4, rng.choice([0, 1, 2, 5]), -1)),
        max_age_ms=int(seldom(0.4, rng.choice([60_000, HOUR_MS, 12 * HOUR_MS]), -1)),
        restart_rate=seldom(0.4, rng.choice([0.02, 0.1])),
        duplicate_rate=seldom(0.5, rng.choice([0.05, 0.3])),
        respelled_rate=seldom(0.2, 0.3),
        put_fault_rate=seldom(0.5, rng.choice([0.02, 0.1, 0.4])),
        lost_response_rate=seldom(0.3, 0.05),
        throttle_rate=seldom(0.2, 0.1),
        outage_ms=int(seldom(0.1, rng.choice([600_000, 3 * HOUR_MS, 25 * HOUR_MS, 40 * HOUR_MS]))),
        outage_kind=rng.choice(["store", "mapping"]),
        outage_at=rng.random(),
    )
    unknown = set(overrides or {}) - {field.name for field in fields(Scenario)}
    assert not unknown, f"no such field of Scenario: {sorted(unknown)}"
    return replace(scenario, **overrides) if overrides else scenario


def draw_batch_size(rng: Random) -> int:
    """BatchSize: 1 to 10,000 (API *CreateEventSourceMapping*)."""
    return rng.choice([1, 2, 3, 5, 10, 25, 100, 1_000, 10_000])


def draw_lanes(rng: Random) -> int:
    """ParallelizationFactor: 1 to 10 (API *CreateEventSourceMapping*)."""
    return rng.choice([1, 1, 2, 3, 10])
