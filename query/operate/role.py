"""The questions about the function's role that IAM is asked to simulate.

Each of `iam:SimulatePrincipalPolicy`'s answers is for one resource, so that there is no doubt which one it is of.
"""

from dataclasses import dataclass
from typing import Final

from archiver.format.layout import ROOT, SegmentName, Trail, late_name, quarantine_name, stream_name
from query.operate.aws import Asker
from query.operate.facts import Place, Role, Trial

_PUT: Final = ("s3:PutObject",)
_LIST: Final = ("s3:ListBucket",)
_ENCRYPT: Final = ("kms:GenerateDataKey",)
_READ_STREAM: Final = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
_FORBIDDEN: Final = (
    *("s3:GetObject", "s3:DeleteObject", "s3:DeleteObjectVersion"),
    *("s3:PutObjectRetention", "s3:PutObjectLegalHold", "s3:BypassGovernanceRetention"),
)
_MOST_PAGES: Final = 10

# Names as the archiver makes them; a permission for a folder of the trail holds for any.
_SEGMENT: Final = SegmentName(0, "0" * 40, "0" * 64)
_EVIDENCE: Final = (
    _SEGMENT.compose(),
    stream_name("2000-01-01T00:00:00.000"),
    late_name(0, _SEGMENT),
    quarantine_name("0" * 64),
)
# Where Lambda puts failed batches (*Retain discarded records for a DynamoDB event source in Lambda*).
_FAILED_BATCH: Final = "aws/lambda/00000000-0000-0000-0000-000000000000/shardId-0/batch"


@dataclass(frozen=True, slots=True)
class Simulated:
    """A role whose policies IAM simulates; `region` is that of the table."""

    iam: Asker
    role_arn: str
    region: str

    def ask(self, actions: tuple[str, ...], resource: str) -> Trial:
        """May it do these actions on this resource?"""
        # What the template's own conditions are about: a key that nobody fills leaves the answer open.
        context = [
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in (
                ("s3:ResourceAccount", self.role_arn.split(":")[4]),
                ("kms:ViaService", f"s3.{self.region}.amazonaws.com"),
                ("s3:if-none-match", "*"),
            )
        ]
        decisions = self.iam.list(
            "simulate_principal_policy",
            "iam:SimulatePrincipalPolicy",
            "EvaluationResults",
            most_pages=_MOST_PAGES,
            missing={"NoSuchEntity": f"there is no role {self.role_arn}"},
            PolicySourceArn=self.role_arn,
            ActionNames=list(actions),
            ResourceArns=[resource],
            ContextEntries=context,
        )
        return Trial(actions, resource, decisions)

    def in_bucket(self, place: Place, name: str) -> str:
        """The ARN of an object, in the partition of the role."""
        return f"arn:{self.role_arn.split(':')[1]}:s3:::{place.bucket}/{name}"


def role_of(
    iam: Asker,
    role_arn: str,
    *,
    stream_arn: str,
    trail: Trail | None,
    archive: Place | None,
    on_failure: Place | None,
    key_arn: str,
) -> Role:
    """What a role may do with one stream, one trail, and the buckets as far as they are known."""
    simulated = Simulated(iam, role_arn, region=stream_arn.split(":")[3])
    ask, in_bucket = simulated.ask, simulated.in_bucket
    evidence = (
        ()
        if archive is None or trail is None
        else (
            *(in_bucket(archive, f"{archive.folder}{trail.prefix}{name}") for name in _EVIDENCE),
            in_bucket(archive, f"{archive.folder}{ROOT}/{_EVIDENCE[-1]}"),  # of a record that names no table
        )
    )
    saves: tuple[Trial, ...] = ()
    if on_failure is not None:
        bucket = in_bucket(on_failure, "").rstrip("/")
        saves = (ask(_PUT, in_bucket(on_failure, _FAILED_BATCH)), ask(_LIST, bucket))
    return Role(
        arn=role_arn,
        writes=tuple(ask(_PUT, resource) for resource in evidence),
        forbidden=tuple(ask(_FORBIDDEN, resource) for resource in evidence[:1]),
        reads_stream=(ask(_READ_STREAM, stream_arn),),
        saves_failures=saves,
        encrypts=(ask(_ENCRYPT, key_arn),) if key_arn.startswith("arn:") else (),
    )
