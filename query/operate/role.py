"""The questions about the function's role that IAM is asked to simulate.

Each of `iam:SimulatePrincipalPolicy`'s answers is for one resource, so that there is no doubt which one it is of.
"""

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
    _, partition, *_ = stream_arn.split(":")
    account = role_arn.split(":")[4]
    region = stream_arn.split(":")[3]

    def ask(actions: tuple[str, ...], resource: str) -> Trial:
        # What the template's own conditions are about: a key that nobody fills leaves the answer open.
        context = [
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in (
                ("s3:ResourceAccount", account),
                ("kms:ViaService", f"s3.{region}.amazonaws.com"),
                ("s3:if-none-match", "*"),
            )
        ]
        decisions = iam.list(
            "simulate_principal_policy",
            "iam:SimulatePrincipalPolicy",
            "EvaluationResults",
            most_pages=_MOST_PAGES,
            missing={"NoSuchEntity": f"there is no role {role_arn}"},
            PolicySourceArn=role_arn,
            ActionNames=list(actions),
            ResourceArns=[resource],
            ContextEntries=context,
        )
        return Trial(actions, resource, decisions)

    def in_bucket(place: Place, name: str) -> str:
        return f"arn:{partition}:s3:::{place.bucket}/{name}"

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
        bucket = f"arn:{partition}:s3:::{on_failure.bucket}"
        saves = (ask(_PUT, in_bucket(on_failure, _FAILED_BATCH)), ask(_LIST, bucket))
    return Role(
        arn=role_arn,
        writes=tuple(ask(_PUT, resource) for resource in evidence),
        forbidden=tuple(ask(_FORBIDDEN, resource) for resource in evidence[:1]),
        reads_stream=(ask(_READ_STREAM, stream_arn),),
        saves_failures=saves,
        encrypts=(ask(_ENCRYPT, key_arn),) if key_arn.startswith("arn:") else (),
    )
