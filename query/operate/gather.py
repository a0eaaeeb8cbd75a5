"""Gathers the facts: who is asked what, in which account and region, about the table, its readers and the archive.

Every question is a read. Invariants: what was listed in part is not known; nothing is asked about a thing that is known
to be missing; the account of the table (`data`) and that of the archive (`kept`) may be two.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Final

from archiver.format.layout import Trail
from query.errors import UsageError
from query.operate.answers import Answer, Missing, Unknown, is_said
from query.operate.aws import Asker, Aws
from query.operate.buckets import archive_bucket, locked_bucket, on_failure_at
from query.operate.checks_bucket import default_encryption
from query.operate.checks_mapping import bucket_of, destination_of
from query.operate.facts import (
    Bucket,
    Clock,
    Facts,
    Lag,
    OnFailure,
    Place,
    Readers,
    Role,
    Sealing,
    StreamReader,
    TrailFacts,
)
from query.operate.role import role_of
from query.operate.sealing import sealing_of
from query.operate.stream_readers import concurrency_of, lag_of, mapping_of, readers_of
from query.table_ref import TableRef

UNREAD_TABLE: Final = Unknown("the table could not be read")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked about: a table, and the places that flags and configuration name."""

    table: TableRef
    archive_url: str | None
    on_failure_url: str | None
    derived_url: str | None


@dataclass
class Gathering:
    """The facts of one table, each asked for once, when it is first needed.

    `read_trail` gives what an archive (its URL) holds of a trail; `now_ms` is this machine's clock.
    """

    asked: Asked
    data: Aws
    kept: Aws
    read_trail: Callable[[str, Trail], TrailFacts | Missing | Unknown]
    now_ms: Callable[[], int]
    _askers: dict[tuple[Aws, str, str | None], Asker] = field(default_factory=dict)

    def facts(self) -> Facts:
        """Everything that `doctor` looks at. Raises UsageError if the table found is not the one that was named."""
        return Facts(
            table=self.table,
            backups=self._beside_table("describe_continuous_backups", "dynamodb:DescribeContinuousBackups"),
            ttl=self._beside_table("describe_time_to_live", "dynamodb:DescribeTimeToLive"),
            readers=self.readers,
            reader=self.reader,
            concurrency=self._concurrency(),
            archive_url=self.archive_url,
            is_archive_assumed=self.asked.archive_url is None,
            bucket=self._archive_bucket,
            trail=self.trail,
            on_failure=self.on_failure,
            derived_url=self.asked.derived_url,
            derived=self._derived_bucket(),
            role=self._role(),
            sealing=self._sealing(),
            seals_folder=f"{self.live_trail.prefix if self.live_trail else ''}seals/",
            clock=self.clock,
        )

    # --- the table ---

    @cached_property
    def table(self) -> Answer:
        """The described table."""
        return self._described[0]

    @property
    def clock(self) -> Clock | Unknown:
        return self._described[1]

    @property
    def live_trail(self) -> Trail | None:
        """The trail of the table that was described."""
        arn = self.table.get("TableArn") if is_said(self.table) else None
        if not isinstance(arn, str):
            return None
        try:
            _, _, _, region, account, resource = arn.split(":", 5)
            return Trail(account, region, resource.removeprefix("table/"))
        except ValueError:  # an emulator's own idea of an ARN
            return None

    @cached_property
    def _described(self) -> tuple[Answer, Clock | Unknown]:
        sent_ms = self.now_ms()
        answer = self._ask_table("describe_table", "dynamodb:DescribeTable")
        received_ms = self.now_ms()
        if not is_said(answer):
            return answer, Unknown("AWS gave no time")
        table: Any = answer["Table"]
        self._check_meant(str(table.get("TableArn")))
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        try:
            date_ms = round(parsedate_to_datetime(date).timestamp() * 1_000)
        except (TypeError, ValueError):
            return table, Unknown("AWS gave no time")
        return table, Clock(sent_ms, received_ms, date_ms)

    def _beside_table(self, operation: str, action: str) -> Answer:
        return self._ask_table(operation, action) if is_said(self.table) else UNREAD_TABLE

    def _ask_table(self, operation: str, action: str) -> Answer:
        ref = self.asked.table
        codes = ("ResourceNotFoundException", "TableNotFoundException")
        gone = dict.fromkeys(codes, f"there is no table {ref.text}")
        asker = self._asker(self.data, "dynamodb", ref.region)
        return asker.ask(operation, action, missing=gone, TableName=self.table_named)

    def _check_meant(self, arn: str) -> None:
        ref, parts = self.asked.table, arn.split(":")
        region, account = (parts[3], parts[4]) if len(parts) > 4 else ("", "")  # noqa: PLR2004  an ARN's parts
        if ref.account not in {None, account} or ref.region not in {None, region}:
            hint = "choose another --profile or --region, or type the name that is meant"
            raise UsageError(f"the table that answers is {arn}, not {ref.text}", hint=hint)

    @property
    def table_named(self) -> str:
        """What the table is asked for by, in every request: its name, or its ARN where the account was typed."""
        return _name_or_arn(self.asked.table)

    @property
    def table_writer(self) -> Asker:
        """For the canary, the one thing that is ever written."""
        return self._asker(self.data, "dynamodb", self.asked.table.region)

    # --- who reads its stream ---

    @cached_property
    def readers(self) -> Readers:
        return readers_of(self._lambda, self.table) if is_said(self.table) else Readers(UNREAD_TABLE, UNREAD_TABLE)

    @cached_property
    def reader(self) -> StreamReader | Missing | Unknown:
        """The mapping that archives, and its function."""
        return self.readers.ours(self.asked.archive_url)

    def mapping_now(self) -> Mapping[str, object]:
        """The mapping that archives, asked for once more; empty if there is none or it is not known."""
        if isinstance(self.reader, Missing | Unknown):
            return {}
        answer = mapping_of(self._lambda, self.reader.mapping)
        return answer if is_said(answer) else self.reader.mapping

    def _concurrency(self) -> Answer:
        if isinstance(self.reader, Missing | Unknown):
            return Unknown("there is no function of ddbtrail")
        return concurrency_of(self._lambda, self.reader.mapping)

    @property
    def _lambda(self) -> Asker:
        return self._asker(self.data, "lambda", self._region)

    @property
    def _region(self) -> str | None:
        """The table's region, where neither flag nor AWS's own settings name one."""
        return self.live_trail.region if self.live_trail else self.asked.table.region

    # --- the archive, and what lies beside it ---

    @property
    def archive_url(self) -> str | None:
        """The archive that was named, else the one that the function writes to."""
        if self.asked.archive_url is not None:
            return self.asked.archive_url
        return None if isinstance(self.reader, Missing | Unknown) else self.reader.archive_url

    @cached_property
    def trail(self) -> TrailFacts | Missing | Unknown | None:
        if self.archive_url is None:
            return None
        return UNREAD_TABLE if self.live_trail is None else self.read_trail(self.archive_url, self.live_trail)

    @cached_property
    def _archive_bucket(self) -> Bucket | None:
        place = Place.of(self.archive_url or "")
        if place is None:
            return None
        return archive_bucket(self._asker(self.kept, "s3"), lambda region: self._asker(self.kept, "kms", region), place)

    @cached_property
    def on_failure(self) -> OnFailure | None:
        url = self.asked.on_failure_url
        if url is None and isinstance(self.reader, StreamReader):
            bucket = bucket_of(destination_of(self.reader.mapping) or "")
            url = None if bucket is None else f"s3://{bucket}"
        return None if url is None else on_failure_at(lambda: self._asker(self.data, "s3"), url)

    def _derived_bucket(self) -> Bucket | None:
        place = Place.of(self.asked.derived_url or "")
        return None if place is None else locked_bucket(self._asker(self.kept, "s3"), place)

    # --- the function ---

    def lag(self) -> Lag | Missing | Unknown:
        """How old the records of the newest batch were, as CloudWatch has it; Missing without a recent batch."""
        if isinstance(self.reader, Missing | Unknown):
            return self.reader if isinstance(self.reader, Unknown) else Missing("there is no function of ddbtrail")
        cloudwatch = self._asker(self.data, "cloudwatch", self._region)
        return lag_of(cloudwatch, self.reader.mapping, self.now_ms())

    # --- the role ---

    def _role(self) -> Role | Missing | Unknown:
        if isinstance(self.reader, Missing | Unknown):
            return self.reader if isinstance(self.reader, Unknown) else Missing("there is no function of ddbtrail")
        if not is_said(self.reader.function) or not self.reader.function.get("Role"):
            return Unknown("the function's role is not known")
        bucket = self._archive_bucket
        encryption = bucket.encryption if bucket else None
        return role_of(
            self._asker(self.data, "iam"),
            str(self.reader.function["Role"]),
            stream_arn=str(self.reader.mapping.get("EventSourceArn")),
            trail=self.live_trail,
            archive=bucket.place if bucket else None,
            on_failure=Place.of(self.on_failure.url) if self.on_failure else None,
            key_arn=str(default_encryption(encryption).get("KMSMasterKeyID") or "") if is_said(encryption) else "",
        )

    # --- the sealer ---

    def _sealing(self) -> Sealing:
        if self.live_trail is None:
            return Sealing(function=UNREAD_TABLE)
        function = self.reader.function if isinstance(self.reader, StreamReader) else None
        role = function.get("Role") if is_said(function) else None
        return sealing_of(
            self._lambda,
            lambda: self._asker(self.data, "events", self._region),
            lambda region: self._asker(self.data, "kms", region),
            lambda: self._asker(self.data, "iam"),
            trail=self.live_trail,
            archive_url=self.archive_url,
            archiver_role=None if role is None else str(role),
        )

    def _asker(self, aws: Aws, service: str, region: str | None = None) -> Asker:
        place = (aws, service, region)
        if place not in self._askers:
            self._askers[place] = aws.asker(service, region=region)
        return self._askers[place]


def _name_or_arn(ref: TableRef) -> str:
    """What DescribeTable is asked for: a table of another account is known by its ARN alone."""
    if ref.account is None or ref.region is None:
        return ref.table_name
    starts = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    partition = next((found for start, found in starts.items() if ref.region.startswith(start)), "aws")
    return f"arn:{partition}:dynamodb:{ref.region}:{ref.account}:table/{ref.table_name}"
