"""Reads a DynamoDB stream itself, shard by shard, and hands its records over as Lambda would deliver them.

Invariants: a shard is read only when its parent has been read to its end, so that the changes of an item come in order;
a position is written down only after the records before it are archived; records that the stream no longer holds are
never passed over in silence. This is the only file that imports boto3 for streams; time is an argument.
"""

import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from archiver.errors import ArchiverError, NotConfigured, StoreUnavailable, StreamUnavailable
from archiver.format.layout import StreamSource
from archiver.stream import as_delivered

_CHECKPOINT_FORMAT: Final = 1
# Shards split and roll over in hours, not seconds; DescribeStream is limited to 10 calls a second per account
# (*DynamoDB Streams API Reference*). A shard that closes is looked after at once.
_DISCOVERY_S: Final = 30.0
_IDLE_S: Final = 0.25  # "4 times per second per shard", as Lambda polls (*Using AWS Lambda with Amazon DynamoDB*)
_MOST_PAGES: Final = 10_000
# An open shard never says that it has no more for now, and an empty answer may stand before a full one. So many rounds
# in a row without a record count as caught up.
_QUIET_ROUNDS: Final = 8
_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0, 30.0)

_PASSING: Final = frozenset(
    {
        "InternalServerError",
        "InternalFailure",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
    }
)
_SERVER_ERRORS: Final = range(500, 600)


class CheckpointRefused(ArchiverError):  # noqa: N818
    """A checkpoint file is damaged, or belongs to another stream or archive."""


class StreamsApi(Protocol):
    """What is asked of DynamoDB Streams; boto3's client of `dynamodbstreams` has it."""

    def describe_stream(self, **request: Any) -> Mapping[str, Any]: ...
    def get_shard_iterator(self, **request: Any) -> Mapping[str, Any]: ...
    def get_records(self, **request: Any) -> Mapping[str, Any]: ...


def streams_client(
    stream_arn: str, *, endpoint_url: str | None = None, region: str | None = None, profile: str | None = None
) -> StreamsApi:
    """A client, for the stream's own region if none is named. Raises ValueError for what is no ARN, NotConfigured."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        session = boto3.Session(profile_name=profile)
    except BotoCoreError as error:
        raise NotConfigured(str(error), hint="correct --profile, or add the profile to ~/.aws/config") from error
    limits = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
    region = region or StreamSource.parse(stream_arn).trail.region
    client: Any = session.client("dynamodbstreams", region_name=region, endpoint_url=endpoint_url, config=limits)
    return client  # type: ignore[no-any-return]


# --- positions ---


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


# --- reading ---


@dataclass
class _Shard:
    shard_id: str
    parent_id: str | None
    position: Position = Position()
    iterator: str | None = None


class _Stopped(Exception):  # noqa: N818
    """The stop event was set while waiting to try again."""


@dataclass
class Follower:
    """Follows one stream: `deliver` gets each batch of records in Lambda's shape and returns when they are archived.

    `pause` waits so many seconds (an event's `wait` ends early when it is set); `monotonic` gives seconds. `losses`
    names every stretch of the stream that was gone before it could be read.
    """

    client: StreamsApi
    stream_arn: str
    checkpoints: CheckpointFile
    deliver: Callable[[list[dict[str, Any]]], object]
    stop: threading.Event
    pause: Callable[[float], object]
    monotonic: Callable[[], float]
    warn: Callable[[str], None] = lambda _message: None
    losses: list[str] = field(default_factory=list)
    _shards: dict[str, _Shard] = field(default_factory=dict)
    _is_disabled: bool = False

    def run(self, *, until_caught_up: bool = False) -> None:
        """Reads until `stop` is set, until the stream is disabled and read to its end, or until it is caught up.

        Caught up: every closed shard is read to its end, every open one has answered several times in a row that it
        holds nothing new, and no new one is listed. Raises StreamUnavailable when the stream cannot be read,
        CheckpointRefused for the file, and what `deliver` raises; the next run reads again what is not yet archived.
        """
        try:
            self._follow(until_caught_up=until_caught_up)
        except _Stopped:
            return

    def _follow(self, *, until_caught_up: bool) -> None:
        discovered_at = self._discover(self.checkpoints.load())
        quiet_rounds = 0
        while not self.stop.is_set():
            readable = self._readable()
            had_news = [self._read(shard) for shard in readable if not self.stop.is_set()]
            quiet_rounds = 0 if any(had_news) else quiet_rounds + 1
            is_quiet = quiet_rounds >= _QUIET_ROUNDS and until_caught_up
            has_ended = any(shard.position.is_finished for shard in readable)
            if has_ended or is_quiet or self.monotonic() - discovered_at >= _DISCOVERY_S:
                known = set(self._shards)
                discovered_at = self._discover(self._positions())
                quiet_rounds = quiet_rounds if known >= set(self._shards) else 0
            if (is_quiet and quiet_rounds) or (self._is_disabled and not self._readable()):
                return
            if quiet_rounds:
                self.pause(_IDLE_S)

    def _positions(self) -> dict[str, Position]:
        return {shard.shard_id: shard.position for shard in self._shards.values()}

    def _readable(self) -> list[_Shard]:
        """Open shards whose parent is finished, or gone: "parent must be finished before child"."""
        return [
            shard
            for shard in self._shards.values()
            if not shard.position.is_finished
            and (shard.parent_id not in self._shards or self._shards[shard.parent_id].position.is_finished)
        ]

    def _discover(self, positions: Mapping[str, Position]) -> float:
        """Brings the shards up to what the stream lists now; seconds of the clock when it began."""
        began = self.monotonic()
        listed = {shard["ShardId"]: shard for shard in self._list_shards()}
        for gone in positions.keys() - listed.keys():
            if not positions[gone].is_finished:
                self._lose(gone, positions[gone], "the stream no longer lists the shard")
        for shard_id, shard in listed.items():
            known = _Shard(shard_id, shard.get("ParentShardId"), positions.get(shard_id, Position()))
            self._shards.setdefault(shard_id, known)
        self._shards = {shard_id: self._shards[shard_id] for shard_id in listed}
        return began

    def _list_shards(self) -> list[Mapping[str, Any]]:
        """Every page: a child whose parent stands on another page must not be taken for an orphan."""
        shards: list[Mapping[str, Any]] = []
        request: dict[str, Any] = {"StreamArn": self.stream_arn}
        for _ in range(_MOST_PAGES):
            page = self._ask(self.client.describe_stream, request)["StreamDescription"]
            shards.extend(page.get("Shards", ()))
            self._is_disabled = page.get("StreamStatus") == "DISABLED"
            if not page.get("LastEvaluatedShardId"):
                return shards
            request["ExclusiveStartShardId"] = page["LastEvaluatedShardId"]
        raise StreamUnavailable(f"{self.stream_arn} lists shards without end", hint="this is no DynamoDB stream")

    def _read(self, shard: _Shard) -> bool:
        """One answer of one shard, archived. False if it held nothing, True if it held records or was the last."""
        try:
            shard.iterator = shard.iterator or self._open(shard)
            answer = self._ask(self.client.get_records, {"ShardIterator": shard.iterator})
        except _Refused as refusal:
            shard.iterator = None  # iterators live 15 minutes; the next one starts from the position
            if refusal.code == "TrimmedDataAccessException":
                self._lose(shard.shard_id, shard.position, "the stream has trimmed it")
                shard.position = Position()
            return False
        records = answer.get("Records", ())
        shard.iterator = answer.get("NextShardIterator")
        if records:
            self._archive([as_delivered(record, self.stream_arn) for record in records])
            shard.position = replace(shard.position, after=_last_sequence_number(records) or shard.position.after)
        if shard.iterator is None:
            shard.position = replace(shard.position, is_finished=True)  # closed, and read to its end
        if records or shard.iterator is None:
            # Archived first, written down second. A stop between the two reads these records once more, and the archive
            # takes a change twice without harm; the other way round it would lose them.
            self.checkpoints.save(self._positions())
        return bool(records) or shard.iterator is None

    def _open(self, shard: _Shard) -> str:
        request = {"StreamArn": self.stream_arn, "ShardId": shard.shard_id}
        if shard.position.after is None:
            request |= {"ShardIteratorType": "TRIM_HORIZON"}
        else:
            request |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": shard.position.after}
        iterator: str = self._ask(self.client.get_shard_iterator, request)["ShardIterator"]
        return iterator

    def _lose(self, shard_id: str, position: Position, why: str) -> None:
        since = "its beginning" if position.after is None else f"sequence number {position.after}"
        loss = f"changes after {since} of shard {shard_id} may be lost: {why} before it was read to that point"
        self.losses.append(loss)
        self.warn(loss)

    # --- trying again ---

    def _archive(self, records: list[dict[str, Any]]) -> None:
        for pause_s in _PAUSES_S:
            try:
                self.deliver(records)
            except StoreUnavailable as error:
                self._wait(pause_s, str(error))
            else:
                return
        self.deliver(records)

    def _ask(self, call: Callable[..., Mapping[str, Any]], request: Mapping[str, Any]) -> Mapping[str, Any]:
        for pause_s in _PAUSES_S:
            try:
                return _answer(call, request)
            except _Passing as error:
                self._wait(pause_s, str(error))
        try:
            return _answer(call, request)
        except _Passing as error:
            raise StreamUnavailable(
                f"{self.stream_arn} could not be read: {error}",
                hint="check network and --endpoint-url and start again: it goes on where it stopped",
            ) from error

    def _wait(self, pause_s: float, why: str) -> None:
        self.warn(f"trying again in {pause_s:g} s: {why}")
        self.pause(pause_s)
        if self.stop.is_set():
            raise _Stopped


class _Passing(Exception):  # noqa: N818
    """Throttling, a server error or the network: asking again can help."""


class _Refused(Exception):  # noqa: N818
    """An iterator that is not good any more, or a position that the stream has trimmed; `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


_OF_ITERATORS: Final = frozenset({"ExpiredIteratorException", "TrimmedDataAccessException"})


def _answer(call: Callable[..., Mapping[str, Any]], request: Mapping[str, Any]) -> Mapping[str, Any]:
    from botocore.exceptions import (  # noqa: PLC0415
        BotoCoreError,
        ClientError,
        ConnectionError,  # noqa: A004
        HTTPClientError,
    )

    try:
        return call(**request)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _OF_ITERATORS:
            raise _Refused(code) from error
        if code in _PASSING or status in _SERVER_ERRORS:
            raise _Passing(str(error)) from error
        raise StreamUnavailable(f"the stream could not be read: {error}", hint=_hint(code)) from error
    except (ConnectionError, HTTPClientError) as error:
        raise _Passing(str(error)) from error
    except BotoCoreError as error:
        raise StreamUnavailable(
            f"the stream could not be read: {error}", hint="check credentials, --profile and --region"
        ) from error


def _hint(code: str) -> str:
    match code:
        case "ResourceNotFoundException":
            return "a stream is gone 24 hours after it was disabled; the table's own: aws dynamodb describe-table"
        case "AccessDeniedException":
            return "allow dynamodb:DescribeStream, dynamodb:GetShardIterator and dynamodb:GetRecords on the stream"
        case _:
            return "check the ARN, credentials, --profile and --region"


def _last_sequence_number(records: Any) -> str | None:
    """Of the last record that has one; a record without goes to quarantine, not into the way."""
    for record in reversed(records):
        number = record.get("dynamodb", {}).get("SequenceNumber")
        if isinstance(number, str):
            return number
    return None
