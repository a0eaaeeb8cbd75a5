"""Object names, composed and parsed: where everything of a trail stands below the URL of an archive.

Laws: `parse_x(compose_x(...))` gives back what went in, and a parser accepts only what its composer makes. Names
depend on
the records alone; the one exception, the day in a late marker's name, says when it was written and nothing else.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Self

from archiver.format import FORMAT_VERSION

ROOT: Final = f"v{FORMAT_VERSION}"

# `arn:aws:dynamodb:<region>:<account>:table/<name>/stream/<label>`; the label is the time at which the stream was
# enabled.
# Table names: 3 to 255 of a-z A-Z 0-9 _ - . (*Constraints in Amazon DynamoDB*).
_ACCOUNT: Final = r"(?P<account>[0-9]{12})"
_REGION: Final = r"(?P<region>[a-z]{2,12}[a-z0-9-]{0,20})"
_TABLE: Final = r"(?P<table_name>[A-Za-z0-9_.-]{3,255})"
_LABEL: Final = r"(?P<stream_label>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}Z?)"
_STREAM_ARN: Final = re.compile(rf"arn:aws[a-z-]*:dynamodb:{_REGION}:{_ACCOUNT}:table/{_TABLE}/stream/{_LABEL}")
_TRAIL: Final = re.compile(rf"{ROOT}/account={_ACCOUNT}/region={_REGION}/table_name={_TABLE}/")
_HOUR: Final = r"dt=(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})/hour=(?P<hour>[0-9]{2})"
_SEGMENT: Final = re.compile(rf"segments/{_HOUR}/(?P<first>[0-9]{{40}})-(?P<root>[0-9a-f]{{64}})\.parquet")
_STREAM: Final = re.compile(rf"streams/{_LABEL}\.json")
_QUARANTINED: Final = re.compile(r"quarantine/(?P<digest>[0-9a-f]{64})\.json")
_LATE: Final = re.compile(r"late/(?P<arrived>[0-9]{4}-[0-9]{2}-[0-9]{2})/(?P<segment>segments/.+)")
_BASELINE: Final = re.compile(
    r"baselines/(?P<instant>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z)/"
    r"(?:baseline\.json|part-(?P<part>[0-9]+)-(?P<digest>[0-9a-f]{16})\.parquet)"
)

SEQUENCE_DIGITS: Final = 40
HOUR_MS: Final = 3_600_000
_HOURS_REMEMBERED: Final = 10_000  # a year has fewer, and a listing has many names of each


@dataclass(frozen=True, slots=True, order=True)
class Trail:
    """Everything kept about one table name: 12-digit account, region and table name."""

    account: str
    region: str
    table_name: str

    def __post_init__(self) -> None:
        if _TRAIL.fullmatch(self.prefix) is None:
            raise ValueError(f"not a table of DynamoDB: {self.account}/{self.region}/{self.table_name}")

    @property
    def prefix(self) -> str:
        """The folder of the trail below the archive, with its trailing slash."""
        return f"{ROOT}/account={self.account}/region={self.region}/table_name={self.table_name}/"

    @classmethod
    def parse(cls, name: str) -> tuple[Self, str]:
        """The trail that an object belongs to, and the object's name inside it. Raises ValueError outside any trail."""
        match = _TRAIL.match(name)
        if match is None:
            raise ValueError(f"{name} does not stand in a trail")
        return cls(**match.groupdict()), name[match.end() :]


@dataclass(frozen=True, slots=True)
class StreamSource:
    """One generation of one table's stream: what the ARN in a record says."""

    trail: Trail
    stream_label: str

    @classmethod
    def parse(cls, stream_arn: str) -> Self:
        """From a stream ARN. Raises ValueError for anything else."""
        match = _STREAM_ARN.fullmatch(stream_arn)
        if match is None:
            raise ValueError(f"{stream_arn!r} is not the ARN of a DynamoDB stream")
        found = match.groupdict()
        label = found.pop("stream_label")
        label_time_ms(label)  # a label that is no time would be archived and could not be read
        return cls(Trail(**found), label)


def sequence_text(sequence_number: str) -> str:
    """A sequence number padded to 40 digits, so that the order of texts is the order of numbers."""
    return sequence_number.zfill(SEQUENCE_DIGITS)


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """A segment's place inside its trail: hour (epoch ms of its start, UTC), first sequence number, root in hex."""

    hour_ms: int
    first_sequence: str
    root: str

    def compose(self) -> str:
        """The name inside the trail."""
        return f"{hour_folder(self.hour_ms)}{self.first_sequence}-{self.root}.parquet"

    @classmethod
    def parse(cls, name: str) -> Self:
        """From a name inside the trail. Raises ValueError for what `compose` never makes."""
        match = _SEGMENT.fullmatch(name)
        if match is None:
            raise ValueError(f"{name} is not the name of a segment")
        return cls(_hour_ms(match["day"], match["hour"]), match["first"], match["root"])


def hour_of(changed_at_ms: int) -> int:
    """The start of the UTC hour that an instant falls into, epoch milliseconds."""
    return changed_at_ms - changed_at_ms % HOUR_MS


def hour_folder(hour_ms: int) -> str:
    """The folder of an hour's segments inside the trail, `segments/dt=YYYY-MM-DD/hour=HH/`."""
    start = datetime.fromtimestamp(hour_ms / 1000, UTC)
    return f"segments/dt={start:%Y-%m-%d}/hour={start:%H}/"


@lru_cache(_HOURS_REMEMBERED)
def _hour_ms(day: str, hour: str) -> int:
    try:
        start = datetime.strptime(f"{day}T{hour}", "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"dt={day}/hour={hour} is not an hour") from error
    return round(start.timestamp() * 1000)


def stream_name(stream_label: str) -> str:
    """The description of a stream, inside its trail."""
    name = f"streams/{stream_label}.json"
    parse_stream_name(name)
    return name


def parse_stream_name(name: str) -> str:
    """The stream label that a description's name carries. Raises ValueError for other names."""
    match = _STREAM.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is not the name of a stream description")
    return match["stream_label"]


def label_time_ms(stream_label: str) -> int:
    """The time written in a stream label (when the stream was enabled), epoch ms, cut to the second.

    Raises ValueError for a label that is no time.
    """
    text = stream_label.removesuffix("Z").partition(".")[0]
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def quarantine_name(digest: str) -> str:
    """A record kept verbatim, inside its trail, or below `v1/` when its trail could not be told."""
    name = f"quarantine/{digest}.json"
    parse_quarantine_name(name)
    return name


def parse_quarantine_name(name: str) -> str:
    """The SHA-256 (hex) in the name of a quarantined record. Raises ValueError for other names."""
    match = _QUARANTINED.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is not the name of a quarantined record")
    return match["digest"]


def late_name(arrived_ms: int, segment: SegmentName) -> str:
    """The empty marker of a segment that arrived over a day after its hour; the day is that of the arrival."""
    return f"late/{datetime.fromtimestamp(arrived_ms / 1000, UTC):%Y-%m-%d}/{segment.compose()}"


def parse_late_name(name: str) -> tuple[str, SegmentName]:
    """Day of arrival (`YYYY-MM-DD`) and segment of a late marker. Raises ValueError for other names."""
    match = _LATE.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is not the name of a late marker")
    _hour_ms(match["arrived"], "00")
    return match["arrived"], SegmentName.parse(match["segment"])


@dataclass(frozen=True, slots=True, order=True)
class BaselineName:
    """A baseline's folder inside its trail, named by the start of the interval it stands for (epoch ms, whole
    seconds)."""

    instant_ms: int

    @property
    def folder(self) -> str:
        start = datetime.fromtimestamp(self.instant_ms / 1000, UTC)
        return f"baselines/{start:%Y-%m-%dT%H-%M-%SZ}/"

    @property
    def description(self) -> str:
        return f"{self.folder}baseline.json"

    def part(self, number: int, digest: str) -> str:
        """The name of part `number`, with the first 16 hex digits of its SHA-256."""
        return f"{self.folder}part-{number}-{digest[:16]}.parquet"

    @classmethod
    def parse(cls, name: str) -> Self:
        """From the name of a part or description. Raises ValueError for other names."""
        match = _BASELINE.fullmatch(name)
        if match is None:
            raise ValueError(f"{name} does not belong to a baseline")
        start = datetime.strptime(match["instant"], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
        return cls(round(start.timestamp() * 1000))
