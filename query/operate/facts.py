"""What is known of a table, its stream, whoever reads it, and where it is archived: the facts that checks are made on.

Frozen, and as AWS gave them: an `Answer` keeps apart what is, what is not, and what nobody could see. Times are epoch
ms, sizes bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from archiver.format.description import KeySchema
from query.operate.answers import Answer, Listing, Missing, Unknown

HANDLER: Final = "archiver.handler.archive"
SEAL_HANDLER: Final = "archiver.handler.seal"
ARCHIVE_VARIABLE: Final = "DDBTRAIL_ARCHIVE"
KEY_SCHEMA_VARIABLE: Final = "DDBTRAIL_KEY_SCHEMA"
SEAL_TABLE_VARIABLE: Final = "DDBTRAIL_SEAL_TABLE"
SIGNING_KEY_VARIABLE: Final = "DDBTRAIL_SIGNING_KEY"


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and where in it, of `s3://bucket/prefix`; a folder has neither and is not a Place."""

    bucket: str
    prefix: str

    @classmethod
    def of(cls, url: str) -> "Place | None":
        scheme, mark, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        return cls(bucket, prefix.strip("/")) if mark and scheme == "s3" and bucket else None

    @property
    def folder(self) -> str:
        """What the names of its objects begin with."""
        return f"{self.prefix}/" if self.prefix else ""


@dataclass(frozen=True, slots=True)
class StreamReader:
    """An event source mapping of the table's stream, and the configuration of the function that it calls."""

    mapping: Mapping[str, object]
    function: Answer

    @property
    def is_ours(self) -> bool | None:
        """Whether it archives; None if that cannot be seen."""
        if isinstance(self.function, Missing | Unknown):
            return None
        if self.function.get("Handler") == HANDLER:
            return True
        environment = environment_of(self.function)
        return None if isinstance(environment, Unknown) else ARCHIVE_VARIABLE in environment

    @property
    def archive_url(self) -> str | None:
        """Where its function archives to, None if it does not say."""
        if isinstance(self.function, Missing | Unknown):
            return None
        environment = environment_of(self.function)
        return None if isinstance(environment, Unknown) else environment.get(ARCHIVE_VARIABLE) or None


def environment_of(function: Mapping[str, object]) -> Mapping[str, str] | Unknown:
    """The variables of a function. Lambda leaves them out, with an error, for who may not decrypt them."""
    environment = function.get("Environment") or {}
    assert isinstance(environment, Mapping)
    if environment.get("Error"):
        return Unknown("the function's variables are encrypted: needs kms:Decrypt on its key")
    return environment.get("Variables") or {}


@dataclass(frozen=True, slots=True)
class Readers:
    """Who reads the latest stream; and, asked only where none of them is ours, who reads former streams."""

    latest: tuple[StreamReader, ...] | Unknown
    former: tuple[StreamReader, ...] | Unknown = ()

    def ours(self, archive_url: str | None) -> StreamReader | Missing | Unknown:
        """The one that archives, to this archive if several do."""
        former = () if isinstance(self.former, Unknown) else self.former
        latest = () if isinstance(self.latest, Unknown) else self.latest
        for readers in (latest, former):
            archiving = [reader for reader in readers if reader.is_ours]
            archiving.sort(key=lambda reader: not is_same_url(reader.archive_url, archive_url))
            if archiving:
                return archiving[0]
            unseen = [reader for reader in readers if reader.is_ours is None]
            if unseen:
                return _unseen(unseen[0])
        if isinstance(self.latest, Unknown):
            return self.latest
        return Missing("no event source mapping of this account and region archives the stream")

    @property
    def archiving(self) -> int:
        """How many of the latest stream's readers are known to archive."""
        return 0 if isinstance(self.latest, Unknown) else sum(1 for reader in self.latest if reader.is_ours)


def _unseen(reader: StreamReader) -> Unknown:
    name = str(reader.mapping.get("FunctionArn", "a function")).rpartition(":")[2]
    if isinstance(reader.function, Unknown):
        return Unknown(f"a mapping calls {name}, and what that is cannot be seen: {reader.function.why}")
    if isinstance(reader.function, Missing):
        return Unknown(f"a mapping calls {name}, and what that was cannot be seen: the function is gone")
    environment = environment_of(reader.function)
    assert isinstance(environment, Unknown)
    return environment


def is_same_url(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.rstrip("/") == other.rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The settings of a bucket. What is not asked of it is None: a bucket for derived data needs no lifecycle."""

    place: Place
    head: Answer
    lock: Answer
    versioning: Answer | None = None
    public_access: Answer | None = None
    encryption: Answer | None = None
    key: Answer | None = None
    policy: Answer | None = None
    lifecycle: Answer | None = None
    tiering: Answer | None = None


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The objects in the on-failure bucket or folder; `is_whole` is False if there are more."""

    url: str
    objects: int
    size_bytes: int
    oldest_ms: int | None
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFailure:
    """Where failed batches go: the URL, what lies there, and the bucket's lifecycle (None for a folder)."""

    url: str
    held_back: HeldBack | Missing | Unknown
    lifecycle: Answer | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """The newest seal, as it says itself: the size of the log with it, and when it was made (epoch ms)."""

    size: int
    sealed_at_ms: int


@dataclass(frozen=True, slots=True)
class TrailFacts:
    """What the archive holds of the table: key schemas by stream label, newest change, records in quarantine, newest
    seal (None: it was never sealed).
    """

    key_schemas: Mapping[str, KeySchema]
    newest_ms: int | None
    quarantined: int
    sealed: Sealed | Unknown | None = None


@dataclass(frozen=True, slots=True)
class Lag:
    """How old the oldest record of a batch was when it was handed over (ms), and when that was measured."""

    age_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Clock:
    """When a question was sent and its answer received, by this machine, and what the answer's Date said, cut to the
    second.
    """

    sent_ms: int
    received_ms: int
    date_ms: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One simulated question: may the role do these actions on this resource? `decisions` by action."""

    actions: tuple[str, ...]
    resource: str
    decisions: Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What the function's role may do, as IAM simulates its policies; empty where there is nothing to ask about."""

    arn: str
    writes: tuple[Trial, ...] = ()
    forbidden: tuple[Trial, ...] = ()
    reads_stream: tuple[Trial, ...] = ()
    saves_failures: tuple[Trial, ...] = ()
    encrypts: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """The function that seals the trail, the rules that call it, and its key; None where there was nothing to ask.

    `seals` is what its role must be able to do, `others` what the archiver's role must not.
    """

    function: Answer
    rules: tuple[Answer, ...] | Unknown = ()
    key_arn: str = ""
    key: Answer | None = None
    public_key: Answer | None = None
    seals: tuple[Trial, ...] = ()
    others: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the checks of `doctor` look at. None: there was nothing to ask about.

    `archive_url` is the archive that was named, or else (`is_archive_assumed`) the one the function writes to;
    `seals_folder` is where in it the trail's seals stand, as far as the table is known.
    """

    table: Answer
    backups: Answer
    ttl: Answer
    readers: Readers
    reader: StreamReader | Missing | Unknown
    concurrency: Answer
    archive_url: str | None
    is_archive_assumed: bool
    bucket: Bucket | None
    trail: TrailFacts | Missing | Unknown | None
    on_failure: OnFailure | None
    derived_url: str | None
    derived: Bucket | None
    role: Role | Missing | Unknown
    sealing: Sealing
    seals_folder: str
    clock: Clock | Unknown
