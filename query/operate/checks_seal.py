"""Checks of sealing: that a function does it by a schedule, with a key that can be used and nobody else uses, and that
the newest seal is young.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

from query.instant import format_ms
from query.operate.answers import Answer, Missing, Unknown, is_said
from query.operate.checks_role import may, may_not
from query.operate.checks_trail import Trailed
from query.operate.facts import Bucket, Sealing, TrailFacts
from query.operate.finding import Finding, failed, not_checked, passed, unsaid, warned
from query.operate.policy import Denial, denials, excepted
from query.render.text import counted, duration

MOST_SEAL_AGE_S: Final = 7_200  # as SealAgeAlarm of infra/template.yaml, and verify
_CODES: Final = ("seal-schedule", "seal-key", "seal-role", "seal-only")
_KINDS: Final = {"ECC_NIST_EDWARDS25519": "Ed25519", "ECC_NIST_P256": "P-256"}
_FIX: Final = "compare SealRole and SealSigns with infra/template.yaml, and deploy it again"


def check_sealing(sealing: Sealing) -> Iterator[Finding]:
    """The function, what calls it, its key, its rights, and that the archiver's role has none of them."""
    function = sealing.function
    if not is_said(function):
        yield _no_function(function)
        why = function.why if isinstance(function, Unknown) else "there is no function that seals"
        yield from (not_checked(code, why) for code in _CODES)
        return
    state = function.get("State")
    if state == "Failed":
        why = f"the function's state is Failed: {function.get('StateReason', 'no reason was given')}"
        yield failed("seal-function", why, "deploy the stack again")
    else:
        yield passed("seal-function", f"{function.get('FunctionName')} seals the trail")
    yield _schedule(sealing.rules)
    yield _key(sealing)
    nowhere = "no key of KMS is known"
    yield may("seal-role", sealing.seals, "sign, read evidence and put seals", nowhere, _FIX)
    others = "sign for it: take kms:Sign and seals/ from ArchiveRole"
    yield may_not("seal-only", sealing.others, others, "no other role or no key of KMS is known")


def _no_function(function: Answer) -> Finding:
    if isinstance(function, Missing):
        fix = "deploy the stack again, or let ddbtrail seal run by a schedule of your own"
        return warned("seal-function", f"{function.what}: nothing proves what is archived", fix)
    return unsaid("seal-function", function)


def _schedule(rules: Sequence[Answer] | Unknown) -> Finding:
    code, fix = "seal-schedule", "deploy the stack again, or aws events enable-rule --name …"
    if isinstance(rules, Unknown):
        return not_checked(code, rules)
    said = [rule for rule in rules if is_said(rule)]
    running = [rule for rule in said if rule.get("State") == "ENABLED" and rule.get("ScheduleExpression")]
    if running:
        return passed(code, ", ".join(sorted(str(rule["ScheduleExpression"]) for rule in running)))
    if len(said) < len(rules):
        return unsaid(code, next(rule for rule in rules if not is_said(rule)))
    if said:
        names = ", ".join(sorted(f"{rule.get('Name')} is {rule.get('State')}" for rule in said))
        return failed(code, f"{names}: nothing is sealed", fix)
    return warned(code, "no rule of EventBridge calls the function; a schedule of another kind is not seen", fix)


def _key(sealing: Sealing) -> Finding:
    code, key = "seal-key", sealing.key
    if not sealing.key_arn:
        return not_checked(code, "the function does not say which key it signs with")
    if not sealing.key_arn.startswith("arn:"):
        return not_checked(code, "it signs with a key in a file, not with one of KMS")
    fix = "docs/operations.md, The signing key is disabled, or to be deleted"
    if isinstance(key, Missing):
        return failed(code, f"{key.what}: the log cannot be continued", fix)
    if not is_said(key):
        return unsaid(code, key)
    told: dict[str, Any] = key.get("KeyMetadata") or {}
    state, spec, usage = told.get("KeyState"), told.get("KeySpec"), told.get("KeyUsage")
    if state != "Enabled":
        until = f", on {told['DeletionDate']:%Y-%m-%d}" if told.get("DeletionDate") else ""
        return failed(code, f"the key is {state}{until}: nothing is sealed", fix)
    if usage != "SIGN_VERIFY" or spec not in _KINDS:
        why = f"the key is {spec} for {usage}: seals are signed with Ed25519 or P-256"
        return failed(code, why, "deploy with SigningKeyArn of a key for that, or with none")
    if not is_said(sealing.public_key):
        why = sealing.public_key.why if isinstance(sealing.public_key, Unknown) else "it was not asked"
        return not_checked(code, f"{_KINDS[spec]}, enabled; its public key: {why}")
    fingerprint = sha256(sealing.public_key["PublicKey"]).hexdigest()
    return passed(code, f"{_KINDS[spec]}, enabled; SHA-256 of its public key is {fingerprint}")


def check_archive_seals(bucket: Bucket | None, sealing: Sealing, seals: str) -> Finding:
    """That the bucket's policy lets nobody but the sealer's role put below `seals`, the folder of the trail's seals."""
    code, fix = "archive-seals", "put the policy of infra/archive-bucket-policy.json on the bucket"
    if bucket is None:
        return not_checked(code, "the archive is not in S3, or none is named")
    if isinstance(bucket.head, Missing):
        return not_checked(code, f"there is no bucket {bucket.place.bucket}")
    answer = bucket.policy
    if isinstance(answer, Unknown) or answer is None:
        return unsaid(code, answer)
    found: tuple[Denial, ...] = ()
    if not isinstance(answer, Missing):
        try:
            found = denials(answer.get("Policy") or "")
        except ValueError as error:
            return not_checked(code, f"the bucket policy is not understood: {error}")
    objects = f":s3:::{bucket.place.bucket}/{bucket.place.folder}{seals}"
    held = [denial for denial in found if _covers_in_any_partition(denial, objects)]
    spared = {excepted(denial.conditions) for denial in held} - {None}
    if not spared:
        why = "the bucket policy lets whoever may put into the bucket add a seal, after which nobody can"
        return (failed if is_said(sealing.function) else warned)(code, why, fix)
    role = sealing.function.get("Role") if is_said(sealing.function) else None
    shown = ", ".join(sorted(arn for one in spared for arn in one or ())) or "nobody"
    if role is not None and any(role not in (one or ()) for one in spared):
        why = f"the bucket policy lets {shown} seal, and the function's role is {role}"
        return failed(code, why, f"{fix}; its role has changed (docs/operations.md, Removal)")
    return passed(code, f"the bucket policy denies putting seals to everybody, but to {shown}")


def _covers_in_any_partition(denial: Denial, objects: str) -> bool:
    partitions = {resource.split(":")[1] for resource in denial.resources if resource.count(":") > 1}
    return any(denial.covers("s3:PutObject", f"arn:{partition}{objects}") for partition in partitions)


def check_newest_seal(trail: Trailed, now_ms: int) -> Finding:
    """How old the newest seal is, and how long the log; whether it is true is for verify to say."""
    code = "newest-seal"
    if isinstance(trail, Unknown):
        return not_checked(code, trail)
    if not isinstance(trail, TrailFacts):
        return not_checked(code, "no archive is named" if trail is None else trail.what)
    sealed = trail.sealed
    if isinstance(sealed, Unknown):
        return failed(code, sealed.why, "ddbtrail verify says what is wrong with the log")
    if sealed is None:
        why = "nothing is sealed yet: lock and IAM alone protect what is archived"
        return warned(code, why, "wait 15 minutes, or ddbtrail seal; then give the public key to whoever verifies")
    age_s = (now_ms - sealed.sealed_at_ms) // 1_000
    size = counted(sealed.size, "entry", "entries")
    told = f"{format_ms(sealed.sealed_at_ms)}, {duration(age_s)} ago; the log has {size}"
    if age_s > MOST_SEAL_AGE_S:
        return failed(code, f"the newest seal is of {told}", "docs/operations.md, Seal stale")
    return passed(code, f"the newest seal is of {told}")
