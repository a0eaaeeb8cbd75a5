"""How far a stream is archived, kept in a file between two runs.

Invariants: the file is whole or not there, whenever a run is stopped; it belongs to one stream and one archive, and is
refused for any other; a position that cannot be read is never taken for "nothing yet". What is parsed is only what is
composed here.
"""

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from archiver.errors import ArchiverError

_CHECKPOINT_FORMAT: Final = 1


class CheckpointRefused(ArchiverError):  # noqa: N818
    """A checkpoint file is damaged, or belongs to another stream or archive."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a shard is archived: the last sequence number (None: nothing yet), and whether that was its end."""

    after: str | None = None
    is_finished: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """Positions by shard id in a JSON file, which belongs to one stream and one archive.

    Against another archive the same positions would leave out whatever stands before them.
    """

    path: Path
    stream_arn: str
    archive_url: str

    def load(self) -> dict[str, Position]:
        """The positions last saved, none without a file. Raises CheckpointRefused."""
        try:
            bound, positions = _parse_checkpoint(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointRefused(
                f"the checkpoint {self.path} cannot be read: {error!r}",
                hint="remove it to read the stream from its beginning; what is archived is not harmed by that",
            ) from error
        if bound != (self.stream_arn, self.archive_url):
            raise CheckpointRefused(
                f"the checkpoint {self.path} is of {bound[0]} into {bound[1]}, "
                f"not of {self.stream_arn} into {self.archive_url}",
                hint="name another file with --checkpoint",
            )
        return positions

    def save(self, positions: Mapping[str, Position]) -> None:
        """Replaces the file, whole or not at all. Raises CheckpointRefused if it cannot be written."""
        try:
            _replace(self.path, _compose_checkpoint(self.stream_arn, self.archive_url, positions))
        except OSError as error:
            raise CheckpointRefused(
                f"the checkpoint {self.path} cannot be written: {error.strerror}",
                hint="name a file in a folder of your own with --checkpoint",
            ) from error


def _compose_checkpoint(stream_arn: str, archive_url: str, positions: Mapping[str, Position]) -> bytes:
    shards = {shard: {"after": at.after, "finished": at.is_finished} for shard, at in sorted(positions.items())}
    content = {"format": _CHECKPOINT_FORMAT, "stream_arn": stream_arn, "archive": archive_url, "shards": shards}
    return json.dumps(content, indent=1).encode()


def _parse_checkpoint(content: bytes) -> tuple[tuple[str, str], dict[str, Position]]:
    """Stream and archive it belongs to, and positions by shard id."""
    members = json.loads(content)
    if members["format"] != _CHECKPOINT_FORMAT:
        raise ValueError(f"format {members['format']!r} is not known")
    positions = {shard: Position(at["after"], at["finished"]) for shard, at in members["shards"].items()}
    for shard, at in positions.items():
        if not (at.after is None or re.fullmatch(r"[0-9]+", at.after)) or not isinstance(at.is_finished, bool):
            raise ValueError(f"shard {shard} has no position")
    return (members["stream_arn"], members["archive"]), positions


def _replace(path: Path, content: bytes) -> None:
    """A name of its own, fsync, rename, fsync of the folder: a stop anywhere leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
