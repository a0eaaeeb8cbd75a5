"""Checks of the archive's bucket: that evidence is written once, is kept, and can be read at once.

The right settings are those of `infra/template.yaml`; a setting that could not be read is not checked.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from query.operate.answers import Answer, Missing, Unknown, is_said
from query.operate.facts import Bucket
from query.operate.finding import Finding, failed, not_checked, passed, unsaid, warned
from query.operate.lifecycle import check_lifecycle
from query.operate.policy import ONLY_OVERWRITING, ONLY_WITHOUT_TLS, Denial, denials, excepted, undenied
from query.render.text import counted

_BLOCKS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_DELETIONS: Final = ("s3:DeleteObject", "s3:DeleteObjectVersion")
_UNLOCKINGS: Final = ("s3:PutObjectRetention", "s3:BypassGovernanceRetention")
_POLICY_FIX: Final = "put the policy of infra/archive-bucket-policy.json on the bucket"
_POLICY_CODES: Final = ("archive-tls", "archive-create-only", "archive-deletes")
_CODES: Final = (
    *("archive-versioning", "archive-lock", "archive-public-access", "archive-encryption"),
    *(*_POLICY_CODES, "archive-lifecycle", "archive-tiering"),
)


def check_archive_bucket(archive_url: str | None, bucket: Bucket | None, *, allow_mutable: bool) -> Iterator[Finding]:
    """That evidence can be written once, is kept, and can be read at once."""
    if bucket is None:
        why = "no archive is named" if archive_url is None else f"{archive_url} is a folder: it has no settings of S3"
        yield from (not_checked(code, why) for code in ("archive-bucket", *_CODES))
        return
    name = bucket.place.bucket
    if isinstance(bucket.head, Missing):
        yield failed("archive-bucket", bucket.head.what, "deploy the stack, or correct -a")
        yield from (not_checked(code, f"there is no bucket {name}") for code in _CODES)
        return
    if isinstance(bucket.head, Unknown):
        yield not_checked("archive-bucket", bucket.head).essential()
    else:
        yield passed("archive-bucket", f"{name} is there")
    yield _versioning(bucket.versioning)
    yield _lock(bucket.lock, allow_mutable=allow_mutable)
    yield _public_access(bucket.public_access)
    yield _encryption(bucket.encryption, bucket.key)
    yield from _policy(bucket)
    yield check_lifecycle("archive-lifecycle", bucket.lifecycle, bucket.place, keeps_versions=True)
    yield _tiering(bucket.tiering)


def _versioning(answer: Answer | None) -> Finding:
    code = "archive-versioning"
    if not is_said(answer):
        return unsaid(code, answer)
    status = answer.get("Status")
    if status == "Enabled":
        return passed(code, "on")
    why = f"{'off' if status is None else status}: what is overwritten or deleted is gone"
    return failed(code, why, "aws s3api put-bucket-versioning --versioning-configuration Status=Enabled --bucket …")


def _lock(answer: Answer | None, *, allow_mutable: bool) -> Finding:
    code = "archive-lock"
    if isinstance(answer, Unknown) or answer is None:
        return unsaid(code, answer)
    lock = {} if isinstance(answer, Missing) else answer.get("ObjectLockConfiguration") or {}
    retention = (lock.get("Rule") or {}).get("DefaultRetention") or {}
    mode, days = retention.get("Mode"), retention.get("Days") or (retention.get("Years") or 0) * 365
    if lock.get("ObjectLockEnabled") == "Enabled" and mode in {"GOVERNANCE", "COMPLIANCE"} and days:
        weakness = "" if mode == "COMPLIANCE" else "; who may bypass governance can still delete"
        return passed(code, f"{mode}, {counted(days, 'day')} from each object's creation{weakness}")
    why = "Object Lock is off" if not lock else "Object Lock has no default retention"
    why = f"{why}: an administrator can delete or replace evidence"
    fix = "deploy with RetentionMode and RetentionDays, or set a default retention on the bucket"
    if allow_mutable:
        return warned(code, why, fix)
    return failed(code, why, f"{fix}; if that is meant, add --allow-mutable")


def _public_access(answer: Answer | None) -> Finding:
    code, fix = "archive-public-access", "aws s3api put-public-access-block with all four set to true"
    if isinstance(answer, Missing):
        return failed(code, "the bucket blocks no public access itself", fix)
    if not is_said(answer):
        return unsaid(code, answer)
    blocked = answer.get("PublicAccessBlockConfiguration") or {}
    open_ = [block for block in _BLOCKS if blocked.get(block) is not True]
    return failed(code, f"not set: {', '.join(open_)}", fix) if open_ else passed(code, "all four blocks are on")


def _encryption(answer: Answer | None, key: Answer | None) -> Finding:
    code = "archive-encryption"
    if isinstance(answer, Missing):
        why = "the bucket says no default encryption"
        return failed(code, why, "deploy the template, or aws s3api put-bucket-encryption")
    if not is_said(answer):
        return unsaid(code, answer)
    default = default_encryption(answer)
    algorithm = default.get("SSEAlgorithm")
    if not algorithm:
        return not_checked(code, "the bucket's encryption could not be understood")
    if not default.get("KMSMasterKeyID"):
        return passed(code, f"{algorithm}, by a key that AWS keeps")
    if key is None or isinstance(key, Unknown):
        return not_checked(code, f"{algorithm}; its key: {'not asked' if key is None else key.why}")
    state = "missing" if isinstance(key, Missing) else (key.get("KeyMetadata") or {}).get("KeyState")
    if state == "Enabled":
        return passed(code, f"{algorithm}, by the key {default['KMSMasterKeyID']}, which is enabled")
    why = f"the key {default['KMSMasterKeyID']} is {state}: nothing can be written or read"
    return failed(code, why, "enable the key, or cancel its deletion: a deleted key is the end of the archive")


def default_encryption(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """How a bucket encrypts what is put without saying so; empty if it cannot be understood."""
    rules: list[Mapping[str, Any]] = (answer.get("ServerSideEncryptionConfiguration") or {}).get("Rules") or [{}]
    return rules[0].get("ApplyServerSideEncryptionByDefault") or {}


def _policy(bucket: Bucket) -> Iterator[Finding]:
    answer = bucket.policy
    if isinstance(answer, Unknown) or answer is None:
        yield from (unsaid(code, answer) for code in _POLICY_CODES)
        return
    found: tuple[Denial, ...] = ()
    if not isinstance(answer, Missing):
        try:
            found = denials(answer.get("Policy") or "")
        except ValueError as error:
            yield from (not_checked(code, f"the bucket policy is not understood: {error}") for code in _POLICY_CODES)
            return
    objects = f"arn:{_partition(found)}:s3:::{bucket.place.bucket}/{bucket.place.folder}v1/"
    if undenied(found, ["s3:GetObject", "s3:PutObject"], objects, lambda given: given == ONLY_WITHOUT_TLS):
        yield failed("archive-tls", "the bucket policy does not deny access without TLS", _POLICY_FIX)
    else:
        yield passed("archive-tls", "the bucket policy denies access without TLS")
    if undenied(found, ["s3:PutObject"], objects, lambda given: given in ONLY_OVERWRITING):
        why = "the bucket policy does not deny a put without If-None-Match: a name can get a second version"
        yield failed("archive-create-only", why, _POLICY_FIX)
    else:
        yield passed("archive-create-only", "the bucket policy denies a put without If-None-Match")
    yield _deletes(found, objects)


def _deletes(found: tuple[Denial, ...], objects: str) -> Finding:
    code = "archive-deletes"
    open_ = undenied(found, _DELETIONS, objects, lambda given: excepted(given) is not None)
    if open_:
        why = f"the bucket policy does not deny {', '.join(open_)} to everybody: a delete marker hides evidence"
        return failed(code, why, _POLICY_FIX)
    open_ = undenied(found, _UNLOCKINGS, objects, lambda given: excepted(given) is not None)
    if open_:
        return warned(code, f"deletes are denied, {', '.join(open_)} not", _POLICY_FIX)
    held = [denial for denial in found if denial.covers(_DELETIONS[0], objects)]
    spared = sorted({arn for denial in held for arn in excepted(denial.conditions) or ()})
    but = f", but to {', '.join(spared)}" if spared else ""
    return passed(code, f"the bucket policy denies deleting and unlocking to everybody{but}")


def _partition(found: tuple[Denial, ...]) -> str:
    """The partition that the policy itself speaks of: an S3 ARN names no region to tell it by."""
    arns = [resource for denial in found for resource in denial.resources if resource.count(":") > 1]
    return arns[0].split(":")[1] if arns else "aws"


def _tiering(answer: Answer | None) -> Finding:
    code = "archive-tiering"
    if not is_said(answer):
        return unsaid(code, answer)
    if answer.get("IsTruncated") is not False:
        return not_checked(code, "not all Intelligent-Tiering configurations of the bucket were read")
    active = [one for one in answer.get("IntelligentTieringConfigurationList") or () if one.get("Status") != "Disabled"]
    if active:
        why = f"Intelligent-Tiering of {active[0].get('Id')} archives objects: each must be restored before it is read"
        return failed(code, why, "remove that configuration")
    return passed(code, "no archive tiers")
