"""The shards of a stream and which of them may be read: parents before children. Pure.

Invariants: a shard is readable only when its parent is read to its end or listed no more ("parent must be finished
before child"), so that the changes of an item come in order; what is known of a shard outlives a new listing, and a
shard that is gone unfinished is named, never dropped in silence.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archiver.checkpoint import Position


@dataclass
class Shard:
    """A shard: how far it is archived, and the iterator that reads on from there, None if one must be asked for."""

    shard_id: str
    parent_id: str | None
    position: Position
    iterator: str | None = None


@dataclass
class Lineage:
    """The shards of one stream, in the order in which it lists them."""

    _shards: dict[str, Shard] = field(default_factory=dict)

    @property
    def shard_ids(self) -> frozenset[str]:
        return frozenset(self._shards)

    def positions(self) -> dict[str, Position]:
        """How far each shard is archived, by shard id."""
        return {shard.shard_id: shard.position for shard in self._shards.values()}

    def readable(self) -> list[Shard]:
        """The shards that are not finished, and whose parent is finished or gone."""
        return [
            shard
            for shard in self._shards.values()
            if not shard.position.is_finished
            and (shard.parent_id not in self._shards or self._shards[shard.parent_id].position.is_finished)
        ]

    def renew(self, shards: Iterable[Mapping[str, Any]], positions: Mapping[str, Position]) -> dict[str, Position]:
        """Takes over the shards that DescribeStream lists now, new ones at their saved `positions`.

        Gives the positions, by shard id, of those it lists no more although they were not finished.
        """
        listed = {shard["ShardId"]: shard for shard in shards}
        for shard_id, shard in listed.items():
            known = Shard(shard_id, shard.get("ParentShardId"), positions.get(shard_id, Position()))
            self._shards.setdefault(shard_id, known)
        self._shards = {shard_id: self._shards[shard_id] for shard_id in listed}
        return {gone: at for gone, at in positions.items() if gone not in listed and not at.is_finished}
