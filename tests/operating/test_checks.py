"""The checks of `doctor` and `status` over facts: every one right, wrong, and not known. No AWS is asked here."""

import datetime as dt
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from infra.cloudformation import plain_template
from query.operate.answers import Missing, Pages, Unknown
from query.operate.diagnosis import Health, diagnose, examine
from query.operate.facts import Bucket, Clock, HeldBack, Lag, Place, Readers, Sealed, Sealing, StreamReader, TrailFacts
from query.operate.finding import Finding, Result, exit_code, failed, not_checked, passed, warned
from query.render.text import duration
from tests.operating import right

PASSED, FAILED, WARNING, NOT_CHECKED = Result.PASSED, Result.FAILED, Result.WARNING, Result.NOT_CHECKED
DENIED = Unknown("not allowed: needs some:Action")
ROOT = Path(__file__).resolve().parents[2]


def found(facts, *, allow_mutable: bool = False) -> dict[str, Finding]:
    findings = list(diagnose(facts, "orders", allow_mutable=allow_mutable, now_ms=right.NOW_MS))
    by_code = {finding.check: finding for finding in findings}
    assert len(by_code) == len(findings), "a code is told once"
    return by_code


def statement(number, **changed):
    """A change of one statement of the right policy."""
    return lambda statements: statements[number].update(changed)


def without(number):
    return lambda statements: statements.pop(number)


def no_condition_but(number, condition):
    return lambda statements: statements[number].update(Condition=condition)


def on_failure(**changed):
    return right.facts(on_failure=replace(right.on_failure(), **changed))


def held_back(objects, *, is_whole=True):
    return HeldBack(right.ON_FAILURE, objects, objects * 100, right.NOW_MS - 3_600_000, is_whole)


def encrypted(**default):
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    return {"ServerSideEncryptionConfiguration": rules}


def role(**trials):
    return right.facts(role=replace(right.role(), **trials))


def sealing(**changed):
    return right.facts(sealing=right.sealing(**changed))


def sealed_by(arn):
    """A right deployment with a bucket policy that lets another role seal."""
    condition = {"ArnNotEquals": {"aws:PrincipalArn": arn}}
    return right.with_policy(statement(3, Condition=condition))


def trailed(**changed):
    return right.facts(trail=replace(right.facts().trail, **changed))


def several_readers(*others, latest=True):
    """The right reader, and others that are not ours."""
    foreign = tuple(
        StreamReader({"FunctionArn": f"{right.FUNCTION_ARN}-{number}"}, {"Handler": "app.handler", "Environment": {}})
        for number in others
    )
    return Readers((right.facts().reader, *foreign))


OTHER_READER = StreamReader(right.mapping() | {"UUID": "other"}, right.function())


def rule(**changed):
    return right.sealing().rules[0] | changed


GLOBAL = {"Replicas": [{"RegionName": "us-east-1"}]}
FORMER_ARN = right.STREAM_ARN.replace("2026-09-01", "2026-08-01")

# (what is wrong, facts, code, result, a word of the detail or of the fix)
WRONG = [
    ("a table that is not there", right.facts(table=Missing("there is no table orders")), "table", FAILED, "no table"),
    ("a table being made", right.with_table(TableStatus="CREATING"), "table", FAILED, "CREATING"),
    ("a table being deleted", right.with_table(TableStatus="DELETING"), "table", FAILED, "DELETING"),
    ("a table being updated", right.with_table(TableStatus="UPDATING"), "table", WARNING, "UPDATING"),
    ("no stream", right.with_table(StreamSpecification=None), "stream", FAILED, "update-table"),
    (
        "a stream that is off",
        right.with_table(StreamSpecification={"StreamEnabled": False}),
        "stream",
        FAILED,
        "no stream",
    ),
    *(
        (
            f"a stream of {view}",
            right.with_table(StreamSpecification={"StreamEnabled": True, "StreamViewType": view}),
            "view-type",
            FAILED,
            view,
        )
        for view in ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE")
    ),
    ("three readers", right.facts(readers=several_readers(1, 2)), "consumers", WARNING, "3 Lambda mappings"),
    (
        "two readers of a global table",
        replace(right.with_table(**GLOBAL), readers=several_readers(1)),
        "consumers",
        WARNING,
        "global table",
    ),
    ("replicas", right.with_table(**GLOBAL), "global-table", WARNING, "us-east-1"),
    (
        "no recovery",
        right.facts(
            backups={
                "ContinuousBackupsDescription": {
                    "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"}
                }
            }
        ),
        "recovery",
        WARNING,
        "baseline --scan",
    ),
    ("no protection", right.with_table(DeletionProtectionEnabled=False), "deletion-protection", WARNING, "off"),
    ("a clock behind", right.facts(clock=Clock(0, 200, 6_000)), "clock", WARNING, "5 s behind"),
    ("a clock ahead", right.facts(clock=Clock(8_000, 8_200, 1_000)), "clock", WARNING, "6 s ahead"),
    ("no mapping", right.facts(reader=Missing("none"), readers=Readers(())), "mapping", FAILED, "deploy"),
    (
        "two mappings of ours",
        right.facts(readers=Readers((right.facts().reader, OTHER_READER))),
        "mapping",
        WARNING,
        "2 mappings",
    ),
    ("a former stream", right.with_mapping(EventSourceArn=FORMER_ARN), "mapping-stream", FAILED, "re-created"),
    ("a mapping that is off", right.with_mapping(State="Disabled"), "mapping-state", FAILED, "--enabled"),
    ("a mapping going off", right.with_mapping(State="Disabling"), "mapping-state", FAILED, "Disabling"),
    ("a mapping being deleted", right.with_mapping(State="Deleting"), "mapping-state", FAILED, "deploy"),
    ("a mapping being made", right.with_mapping(State="Creating"), "mapping-state", WARNING, "Creating"),
    (
        "a batch that fails",
        right.with_mapping(LastProcessingResult="PROBLEM: Function call failed"),
        "mapping-result",
        FAILED,
        "PROBLEM",
    ),
    ("a result nobody knows", right.with_mapping(LastProcessingResult="FAILED"), "mapping-result", FAILED, "FAILED"),
    ("LATEST", right.with_mapping(StartingPosition="LATEST"), "mapping-start", FAILED, "LATEST"),
    (
        "a filter",
        right.with_mapping(FilterCriteria={"Filters": [{"Pattern": "{}"}]}),
        "mapping-filter",
        FAILED,
        "without a trace",
    ),
    ("no bisecting", right.with_mapping(BisectBatchOnFunctionError=False), "mapping-bisect", WARNING, "--bisect"),
    ("few retries", right.with_mapping(MaximumRetryAttempts=3), "mapping-retries", WARNING, "3 retries"),
    ("no retries", right.with_mapping(MaximumRetryAttempts=0), "mapping-retries", WARNING, "0 retries"),
    ("no limit of age", right.with_mapping(MaximumRecordAgeInSeconds=-1), "mapping-age", FAILED, "no limit"),
    ("too old", right.with_mapping(MaximumRecordAgeInSeconds=72_001), "mapping-age", FAILED, "72001 s"),
    ("too young", right.with_mapping(MaximumRecordAgeInSeconds=3_599), "mapping-age", WARNING, "3599 s"),
    ("no destination", right.with_mapping(DestinationConfig=None), "mapping-destination", FAILED, "is lost"),
    (
        "an empty destination",
        right.with_mapping(DestinationConfig={"OnFailure": {}}),
        "mapping-destination",
        FAILED,
        "is lost",
    ),
    *(
        (
            f"a destination of {service}",
            right.with_mapping(
                DestinationConfig={"OnFailure": {"Destination": f"arn:aws:{service}:eu-west-1:111122223333:dead"}}
            ),
            "mapping-destination",
            WARNING,
            "no payload",
        )
        for service in ("sqs", "sns")
    ),
    (
        "partial responses",
        right.with_mapping(FunctionResponseTypes=["ReportBatchItemFailures"]),
        "mapping-responses",
        FAILED,
        "ReportBatchItemFailures",
    ),
    ("a tumbling window", right.with_mapping(TumblingWindowInSeconds=60), "mapping-tumbling", FAILED, "60 s"),
    ("no window", right.with_mapping(MaximumBatchingWindowInSeconds=0), "mapping-window", WARNING, "0 s"),
    ("no metrics", right.with_mapping(MetricsConfig=None), "mapping-metrics", WARNING, "EventCount"),
    ("other metrics", right.with_mapping(MetricsConfig={"Metrics": []}), "mapping-metrics", WARNING, "EventCount"),
    ("another handler", right.with_function(Handler="app.handler"), "function-handler", WARNING, "app.handler"),
    ("a failed function", right.with_function(State="Failed", StateReason="gone"), "function-handler", FAILED, "gone"),
    ("another runtime", right.with_function(Runtime="python3.11"), "function-runtime", WARNING, "python3.11"),
    ("too little memory", right.with_function(MemorySize=511), "function-memory", WARNING, "511 MB"),
    ("another archive", right.facts(archive_url="s3://other/x"), "function-archive", FAILED, "s3://other/x"),
    ("no archive", right.with_variables(), "function-archive", FAILED, "not set"),
    (
        "no concurrency",
        right.facts(concurrency={"ReservedConcurrentExecutions": 0}),
        "function-concurrency",
        FAILED,
        "cannot run",
    ),
    ("another key in the archive", trailed(key_schemas={right.LABEL: (("id", "S"),)}), "key", FAILED, "id S"),
    ("another type of it", trailed(key_schemas={right.LABEL: (("pk", "S"), ("sk", "S"))}), "key", FAILED, "sk S"),
    (
        "another key of the function",
        right.with_variables(DDBTRAIL_ARCHIVE=right.ARCHIVE, DDBTRAIL_KEY_SCHEMA="orders=sk,pk"),
        "key",
        FAILED,
        "sk,pk",
    ),
    (
        "a key that cannot be read",
        right.with_variables(DDBTRAIL_ARCHIVE=right.ARCHIVE, DDBTRAIL_KEY_SCHEMA="orders"),
        "key",
        FAILED,
        "every batch fails",
    ),
    (
        "no reading of the stream",
        role(reads_stream=(right.trial("implicitDeny", "a:b"),)),
        "role-stream",
        FAILED,
        "a:b",
    ),
    ("no writing", role(writes=(right.trial("explicitDeny", "s3:PutObject"),)), "role-archive", FAILED, "s3:PutObject"),
    (
        "one of several folders",
        role(writes=(right.trial("allowed", "s3:PutObject"), right.trial("implicitDeny", "s3:PutObject"))),
        "role-archive",
        FAILED,
        "s3:PutObject",
    ),
    (
        "a role that may read",
        role(forbidden=(right.trial("allowed", "s3:GetObject"),)),
        "role-no-more",
        FAILED,
        "s3:GetObject",
    ),
    (
        "no saving",
        role(saves_failures=(right.trial("implicitDeny", "s3:ListBucket"),)),
        "role-on-failure",
        FAILED,
        "List",
    ),
    ("no key", role(encrypts=(right.trial("implicitDeny", "kms:GenerateDataKey"),)), "role-key", FAILED, "kms:"),
    ("no bucket", right.with_bucket(head=Missing("there is no bucket")), "archive-bucket", FAILED, "deploy"),
    ("never versioned", right.with_bucket(versioning={}), "archive-versioning", FAILED, "off"),
    ("suspended", right.with_bucket(versioning={"Status": "Suspended"}), "archive-versioning", FAILED, "Suspended"),
    ("no lock", right.with_bucket(lock=Missing("off")), "archive-lock", FAILED, "--allow-mutable"),
    (
        "a lock without retention",
        right.with_bucket(lock={"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}),
        "archive-lock",
        FAILED,
        "no default retention",
    ),
    ("a retention of no days", right.with_bucket(lock=right.lock(Days=0)), "archive-lock", FAILED, "no default"),
    ("no block", right.with_bucket(public_access=Missing("none")), "archive-public-access", FAILED, "blocks no"),
    (
        "one block open",
        right.with_bucket(
            public_access={
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": False,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                }
            }
        ),
        "archive-public-access",
        FAILED,
        "BlockPublicPolicy",
    ),
    ("no encryption", right.with_bucket(encryption=Missing("none")), "archive-encryption", FAILED, "no default"),
    *(
        (
            f"a key that is {state}",
            right.with_bucket(key={"KeyMetadata": {"KeyState": state}}),
            "archive-encryption",
            FAILED,
            state,
        )
        for state in ("Disabled", "PendingDeletion")
    ),
    ("a key that is gone", right.with_bucket(key=Missing("gone")), "archive-encryption", FAILED, "missing"),
    ("no policy: TLS", right.with_bucket(policy=Missing("none")), "archive-tls", FAILED, "archive-bucket-policy"),
    ("no policy: create", right.with_bucket(policy=Missing("none")), "archive-create-only", FAILED, "second version"),
    ("no policy: delete", right.with_bucket(policy=Missing("none")), "archive-deletes", FAILED, "delete marker"),
    ("no statement for TLS", right.with_policy(without(0)), "archive-tls", FAILED, "TLS"),
    ("an Allow for TLS", right.with_policy(statement(0, Effect="Allow")), "archive-tls", FAILED, "TLS"),
    ("no statement for creation", right.with_policy(without(1)), "archive-create-only", FAILED, "If-None-Match"),
    (
        "creation where the header is there",
        right.with_policy(no_condition_but(1, {"Null": {"s3:if-none-match": "false"}})),
        "archive-create-only",
        FAILED,
        "If-None-Match",
    ),
    (
        "creation of one prefix",
        right.with_policy(statement(1, Resource="arn:aws:s3:::acme-audit/other/*")),
        "archive-create-only",
        FAILED,
        "If-None-Match",
    ),
    (
        "creation by one user",
        right.with_policy(statement(1, Principal={"AWS": "arn:aws:iam::111122223333:user/bob"})),
        "archive-create-only",
        FAILED,
        "If-None-Match",
    ),
    (
        "creation from one network",
        right.with_policy(
            no_condition_but(1, {"Null": {"s3:if-none-match": "true"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
        ),
        "archive-create-only",
        FAILED,
        "If-None-Match",
    ),
    ("no statement for deletes", right.with_policy(without(2)), "archive-deletes", FAILED, "s3:DeleteObject"),
    (
        "markers allowed",
        right.with_policy(statement(2, Action=["s3:DeleteObjectVersion"])),
        "archive-deletes",
        FAILED,
        "s3:DeleteObject ",
    ),
    (
        "unlocking allowed",
        right.with_policy(statement(2, Action=["s3:DeleteObject*"])),
        "archive-deletes",
        WARNING,
        "s3:PutObjectRetention",
    ),
    (
        "an element nobody knows",
        right.with_policy(statement(2, Unless="Tuesday")),
        "archive-deletes",
        FAILED,
        "s3:DeleteObject",
    ),
    (
        "everyone spared",
        right.with_policy(no_condition_but(2, {"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}})),
        "archive-deletes",
        FAILED,
        "s3:DeleteObject",
    ),
    (
        "other exceptions",
        right.with_policy(lambda statements: statements[2].update(NotPrincipal=statements[2].pop("Principal"))),
        "archive-deletes",
        FAILED,
        "s3:DeleteObject",
    ),
    ("expiry", right.with_rule(Filter={}, Expiration={"Days": 400}), "archive-lifecycle", FAILED, "expires objects"),
    (
        "expiry on a day",
        right.with_rule(Prefix="", Expiration={"Date": "2030-01-01T00:00:00Z"}),
        "archive-lifecycle",
        FAILED,
        "expires objects",
    ),
    (
        "expiry of what is tagged",
        right.with_rule(Filter={"And": {"Prefix": "ddbtrail/v1/", "Tags": []}}, Expiration={"Days": 1}),
        "archive-lifecycle",
        FAILED,
        "expires objects",
    ),
    (
        "expiry of versions",
        right.with_rule(Filter={}, NoncurrentVersionExpiration={"NoncurrentDays": 30}),
        "archive-lifecycle",
        FAILED,
        "expires versions",
    ),
    *(
        (
            f"a move to {storage_class}",
            right.with_rule(Filter={"Prefix": "ddb"}, Transitions=[{"Days": 90, "StorageClass": storage_class}]),
            "archive-lifecycle",
            FAILED,
            storage_class,
        )
        for storage_class in ("GLACIER", "DEEP_ARCHIVE", "SOMETHING_NEW")
    ),
    (
        "archive tiers",
        right.with_bucket(
            tiering={"IsTruncated": False, "IntelligentTieringConfigurationList": [{"Id": "a", "Status": "Enabled"}]}
        ),
        "archive-tiering",
        FAILED,
        "Intelligent-Tiering of a",
    ),
    (
        "another on-failure bucket",
        on_failure(url="s3://other"),
        "on-failure",
        FAILED,
        "--on-failure s3://acme-failures",
    ),
    ("another folder of it", on_failure(url=f"{right.ON_FAILURE}/typo"), "on-failure", FAILED, "s3://acme-failures"),
    ("a batch held back", on_failure(held_back=held_back(1)), "on-failure-empty", FAILED, "ddbtrail replay orders"),
    ("many", on_failure(held_back=held_back(20_000, is_whole=False)), "on-failure-empty", FAILED, "more than 20 000"),
    (
        "a listing cut short",
        on_failure(held_back=held_back(0, is_whole=False)),
        "on-failure-empty",
        FAILED,
        "more than 0",
    ),
    ("no on-failure bucket", on_failure(held_back=Missing("no bucket")), "on-failure-empty", FAILED, "deploy"),
    (
        "failures that expire",
        on_failure(lifecycle={"Rules": [{"Status": "Enabled", "Expiration": {"Days": 7}}]}),
        "on-failure-lifecycle",
        FAILED,
        "expires objects",
    ),
    (
        "failures moved away",
        on_failure(lifecycle={"Rules": [{"Status": "Enabled", "Transitions": [{"StorageClass": "GLACIER"}]}]}),
        "on-failure-lifecycle",
        FAILED,
        "GLACIER",
    ),
    (
        "derived data in the archive",
        right.facts(
            derived_url=right.ARCHIVE, derived=Bucket(place=Place("acme-audit", "ddbtrail"), head={}, lock=right.lock())
        ),
        "derived",
        WARNING,
        "own bucket",
    ),
    (
        "derived data under a lock",
        right.facts(derived=Bucket(place=Place("acme-derived", ""), head={}, lock=right.lock())),
        "derived",
        WARNING,
        "locked",
    ),
    (
        "no place for derived data",
        right.facts(derived=Bucket(place=Place("x", ""), head=Missing("no bucket x"), lock=Missing("no bucket x"))),
        "derived",
        FAILED,
        "no bucket x",
    ),
    ("nothing of the table", right.facts(trail=Missing("nothing of it")), "newest", WARNING, "--canary"),
    ("no change", trailed(newest_ms=None), "newest", WARNING, "no change is archived yet"),
    ("quarantine", trailed(quarantined=2), "quarantine", WARNING, "2 records"),
    ("no sealer", right.facts(sealing=Sealing(function=Missing("none"))), "seal-function", WARNING, "ddbtrail seal"),
    (
        "a failed sealer",
        sealing(function=right.sealer() | {"State": "Failed", "StateReason": "gone"}),
        "seal-function",
        FAILED,
        "gone",
    ),
    ("a schedule that is off", sealing(rules=(rule(State="DISABLED"),)), "seal-schedule", FAILED, "DISABLED"),
    ("a rule for events", sealing(rules=(rule(ScheduleExpression=""),)), "seal-schedule", FAILED, "nothing is sealed"),
    ("no schedule", sealing(rules=()), "seal-schedule", WARNING, "no rule"),
    *(
        (f"a key that is {state}", sealing(key=right.signing_key(KeyState=state)), "seal-key", FAILED, state)
        for state in ("Disabled", "PendingDeletion", "Unavailable")
    ),
    (
        "a key to be deleted",
        sealing(key=right.signing_key(KeyState="PendingDeletion", DeletionDate=dt.datetime(2026, 12, 24))),
        "seal-key",
        FAILED,
        "2026-12-24",
    ),
    ("a key of RSA", sealing(key=right.signing_key(KeySpec="RSA_2048")), "seal-key", FAILED, "RSA_2048"),
    ("a key to agree on", sealing(key=right.signing_key(KeyUsage="KEY_AGREEMENT")), "seal-key", FAILED, "AGREEMENT"),
    ("no key", sealing(key=Missing("there is no key x")), "seal-key", FAILED, "cannot be continued"),
    ("no signing", sealing(seals=(right.trial("implicitDeny", "kms:Sign"),)), "seal-role", FAILED, "kms:Sign"),
    ("an archiver that signs", sealing(others=(right.trial("allowed", "kms:Sign"),)), "seal-only", FAILED, "kms:Sign"),
    (
        "an archiver that seals",
        sealing(others=(right.trial("implicitDeny", "kms:Sign"), right.trial("allowed", "s3:PutObject"))),
        "seal-only",
        FAILED,
        "s3:PutObject",
    ),
    ("no policy: seals", right.with_bucket(policy=Missing("none")), "archive-seals", FAILED, "add a seal"),
    ("no statement for seals", right.with_policy(without(3)), "archive-seals", FAILED, "add a seal"),
    ("another sealer", sealed_by("arn:aws:iam::111122223333:role/former"), "archive-seals", FAILED, "role/former"),
    ("any sealer", sealed_by("arn:aws:iam::*:role/seal"), "archive-seals", FAILED, "add a seal"),
    (
        "two sealers, of whom one is denied by each statement",
        right.with_policy(lambda s: s.append(s[3] | {"Condition": {"ArnNotEquals": {"aws:PrincipalArn": "arn:x"}}})),
        "archive-seals",
        FAILED,
        "arn:x",
    ),
    ("no sealer at all", right.with_policy(lambda s: s[3].pop("Condition")), "archive-seals", FAILED, "lets nobody"),
    (
        "seals of another table",
        right.with_policy(
            statement(3, Resource=f"arn:aws:s3:::acme-audit/ddbtrail/{right.SEALS}".replace("orders", "o"))
        ),
        "archive-seals",
        FAILED,
        "add a seal",
    ),
    (
        "no sealer, and no statement for one",
        replace(right.with_policy(without(3)), sealing=Sealing(function=Missing("none"))),
        "archive-seals",
        WARNING,
        "add a seal",
    ),
    ("never sealed", trailed(sealed=None), "newest-seal", WARNING, "nothing is sealed yet"),
    ("an old seal", trailed(sealed=Sealed(3, right.NOW_MS - 7_201_000)), "newest-seal", FAILED, "2.0 h ago"),
    ("no seal by its content", trailed(sealed=Unknown("x is no seal")), "newest-seal", FAILED, "x is no seal"),
]


def test_a_right_deployment_has_nothing_to_mend():
    """Else a person learns to overlook what doctor says."""
    findings = found(right.facts())
    assert {code: finding for code, finding in findings.items() if finding.result is not PASSED} == {}
    assert exit_code(findings.values()) == 0


@pytest.mark.parametrize(
    ("facts", "code", "result", "word"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_is_wrong_is_told_with_its_fix(facts, code, result, word):
    """Each mistake by itself turns the check that is about it."""
    finding = found(facts)[code]
    assert (finding.result, finding.is_essential) == (result, False), finding
    assert word in f"{finding.detail} {finding.fix}"
    assert finding.fix


def test_every_check_can_fail():
    """A check that nothing turns is a decoration. `ttl` is for information."""
    assert set(found(right.facts())) - {case[2] for case in WRONG} == {"ttl"}


RIGHT = [
    ("two readers", right.facts(readers=several_readers(1)), "consumers"),
    ("strong consistency", right.with_table(**GLOBAL, MultiRegionConsistency="STRONG"), "global-table"),
    ("no expiring items", right.facts(ttl={"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}), "ttl"),
    ("a clock 5 s behind", right.facts(clock=Clock(0, 1_000, 6_000)), "clock"),
    ("a clock 5 s ahead", right.facts(clock=Clock(7_000, 7_200, 1_000)), "clock"),
    ("nothing yet", right.with_mapping(LastProcessingResult="No records processed"), "mapping-result"),
    ("an empty filter", right.with_mapping(FilterCriteria={"Filters": []}), "mapping-filter"),
    ("1 hour", right.with_mapping(MaximumRecordAgeInSeconds=3_600), "mapping-age"),
    ("20 hours", right.with_mapping(MaximumRecordAgeInSeconds=72_000), "mapping-age"),
    ("a window of 1 s", right.with_mapping(MaximumBatchingWindowInSeconds=1), "mapping-window"),
    ("some concurrency", right.facts(concurrency={"ReservedConcurrentExecutions": 1}), "function-concurrency"),
    ("an archive with a slash", right.facts(archive_url=f"{right.ARCHIVE}/"), "function-archive"),
    ("no key told", right.with_variables(DDBTRAIL_ARCHIVE=right.ARCHIVE), "key"),
    ("governance", right.with_bucket(lock=right.lock("GOVERNANCE", Days=1)), "archive-lock"),
    ("years", right.with_bucket(lock=right.lock(Years=7)), "archive-lock"),
    ("S3's own key", right.with_bucket(encryption=encrypted(SSEAlgorithm="AES256"), key=None), "archive-encryption"),
    ("no break-glass", right.with_policy(lambda statements: statements[2].pop("Condition")), "archive-deletes"),
    (
        "plain creation",
        right.with_policy(no_condition_but(1, {"Null": {"s3:if-none-match": True}})),
        "archive-create-only",
    ),
    ("AWS for everybody", right.with_policy(statement(1, Principal={"AWS": ["*"]})), "archive-create-only"),
    ("a prefix above", right.with_policy(statement(1, Resource="arn:aws:s3:::acme-audit/ddb*")), "archive-create-only"),
    ("one statement alone", right.with_bucket(policy={"Policy": '{"Statement": {}}'}), "archive-bucket"),
    ("no rules", right.with_bucket(lifecycle=Missing("none")), "archive-lifecycle"),
    ("a rule that is off", right.with_rule(Filter={}, Status="Disabled", Expiration={"Days": 1}), "archive-lifecycle"),
    ("a rule elsewhere", right.with_rule(Filter={"Prefix": "logs/"}, Expiration={"Days": 1}), "archive-lifecycle"),
    ("instant Glacier", right.with_rule(Transitions=[{"StorageClass": "GLACIER_IR"}]), "archive-lifecycle"),
    ("a seal of two hours", trailed(sealed=Sealed(3, right.NOW_MS - 7_200_000)), "newest-seal"),
    ("P-256", sealing(key=right.signing_key(KeySpec="ECC_NIST_P256")), "seal-key"),
    ("one of two rules", sealing(rules=(rule(State="DISABLED"), rule())), "seal-schedule"),
    ("all seals", right.with_policy(statement(3, Resource="arn:aws:s3:::acme-audit/*")), "archive-seals"),
    ("a sealer of one's own", replace(right.facts(), sealing=Sealing(function=Missing("none"))), "archive-seals"),
    ("Lambda's own folder", on_failure(url=f"{right.ON_FAILURE}/aws/lambda"), "on-failure"),
    (
        "tiers that are off",
        right.with_bucket(
            tiering={"IsTruncated": False, "IntelligentTieringConfigurationList": [{"Id": "a", "Status": "Disabled"}]}
        ),
        "archive-tiering",
    ),
]


@pytest.mark.parametrize(("facts", "code"), [case[1:] for case in RIGHT], ids=[case[0] for case in RIGHT])
def test_what_is_as_good_as_the_template_passes(facts, code):
    """The last value inside of each bound, and the other ways to say the same."""
    assert found(facts)[code].result is PASSED, found(facts)[code]


def test_an_archive_that_is_meant_to_be_mutable_only_warns():
    """RetentionMode=NONE is a choice that the template offers."""
    facts = right.with_bucket(lock=Missing("off"))
    assert found(facts, allow_mutable=True)["archive-lock"].result is WARNING
    assert exit_code(found(facts, allow_mutable=True).values()) == 0
    assert exit_code(found(facts).values()) == 1


# --- what is not known is never good ---


def all_unknown():
    """Every fact that could not be had, each for one reason."""
    bucket = Bucket(place=Place("acme-audit", "ddbtrail"), **dict.fromkeys(BUCKET_FACTS, DENIED))
    return right.facts(
        **dict.fromkeys(("table", "backups", "ttl", "reader", "concurrency", "trail", "role", "clock"), DENIED),
        sealing=Sealing(function=DENIED),
        readers=Readers(DENIED, DENIED),
        bucket=bucket,
        on_failure=replace(right.on_failure(), held_back=DENIED, lifecycle=DENIED),
        derived=replace(bucket, place=Place("acme-derived", "")),
    )


BUCKET_FACTS = tuple(field.name for field in fields(Bucket) if field.name != "place")


def test_where_nothing_was_seen_nothing_is_good_nor_bad():
    """The worst that doctor could say is ✓ about what it never looked at."""
    findings = found(all_unknown())
    assert {finding.result for finding in findings.values()} == {NOT_CHECKED}
    assert set(findings) == set(found(right.facts())), "every check is told, also the ones that did not run"
    assert exit_code(findings.values()) == 4


OF_POLICY = {"archive-tls", "archive-create-only", "archive-deletes", "archive-seals"}
# (facts with one thing unknown, the checks that then have not looked, whether nobody can tell without it)
UNKNOWN = [
    (
        right.facts(table=DENIED),
        {"table", "stream", "view-type", "consumers", "global-table", "deletion-protection", "mapping-stream", "key"},
        True,
    ),
    (right.with_table(LatestStreamArn=None), {"stream", "mapping-stream"}, True),
    (right.with_table(StreamSpecification={"StreamEnabled": True}), {"view-type"}, True),
    (right.with_table(DeletionProtectionEnabled=None), {"deletion-protection"}, False),
    (right.facts(backups=DENIED), {"recovery"}, False),
    (right.facts(backups={}), {"recovery"}, False),
    (right.facts(ttl=DENIED), {"ttl"}, False),
    (right.facts(ttl={}), {"ttl"}, False),
    (right.facts(clock=DENIED), {"clock"}, False),
    (right.facts(readers=Readers(DENIED)), {"consumers"}, False),
    (right.with_mapping(State=None), {"mapping-state"}, True),
    (right.with_mapping(LastProcessingResult=None), {"mapping-result"}, False),
    (right.with_mapping(StartingPosition=None), {"mapping-start"}, False),
    (right.with_mapping(KMSKeyArn=right.KEY_ARN), {"mapping-filter"}, False),
    (right.with_mapping(FilterCriteriaError={"ErrorCode": "AccessDenied"}), {"mapping-filter"}, False),
    (right.with_mapping(BisectBatchOnFunctionError=None), {"mapping-bisect"}, False),
    (right.with_mapping(MaximumRetryAttempts=None), {"mapping-retries"}, False),
    (right.with_mapping(MaximumRecordAgeInSeconds=None), {"mapping-age"}, False),
    (right.with_mapping(MaximumBatchingWindowInSeconds=None), {"mapping-window"}, False),
    (right.with_function(Handler=None), {"function-handler"}, False),
    (right.with_function(Runtime=None), {"function-runtime"}, False),
    (right.with_function(MemorySize=None), {"function-memory"}, False),
    (right.with_function(Environment={"Error": {"ErrorCode": "AccessDenied"}}), {"function-archive"}, False),
    (right.facts(is_archive_assumed=True), {"function-archive"}, False),
    (right.facts(concurrency=DENIED), {"function-concurrency"}, False),
    (right.facts(role=DENIED), {"role-stream", "role-archive", "role-no-more", "role-on-failure", "role-key"}, False),
    (
        right.facts(role=right.Role(arn="x")),
        {f"role-{of}" for of in ("stream", "archive", "no-more", "on-failure", "key")},
        False,
    ),
    (
        role(writes=(right.trial("allowed"), replace(right.trial("allowed", "s3:PutObject"), decisions=DENIED))),
        {"role-archive"},
        False,
    ),
    (
        role(forbidden=(replace(right.trial("x", "s3:GetObject"), decisions=Pages((), is_whole=True)),)),
        {"role-no-more"},
        False,
    ),
    (
        role(forbidden=(right.trial("implicitDeny", "s3:GetObject", missing=("aws:SourceIp",)),)),
        {"role-no-more"},
        False,
    ),
    (role(writes=(right.trial("allowed", "s3:PutObject", missing=("aws:SourceIp",)),)), {"role-archive"}, False),
    (role(writes=(right.trial("whatever", "s3:PutObject"),)), {"role-archive"}, False),
    (
        role(
            writes=(
                replace(
                    right.trial("allowed", "s3:PutObject"),
                    decisions=Pages(right.trial("allowed", "s3:PutObject").decisions.items, is_whole=False),
                ),
            )
        ),
        {"role-archive"},
        False,
    ),
    (right.with_bucket(head=DENIED), {"archive-bucket"}, True),
    (right.with_bucket(versioning=DENIED), {"archive-versioning"}, False),
    (right.with_bucket(lock=DENIED), {"archive-lock"}, False),
    (right.with_bucket(public_access=DENIED), {"archive-public-access"}, False),
    (right.with_bucket(encryption=DENIED), {"archive-encryption"}, False),
    (right.with_bucket(encryption={}), {"archive-encryption"}, False),
    (right.with_bucket(key=DENIED), {"archive-encryption"}, False),
    (right.with_bucket(policy=DENIED), OF_POLICY, False),
    (right.with_bucket(policy={"Policy": "no JSON"}), OF_POLICY, False),
    (right.with_bucket(policy={}), OF_POLICY, False),
    (right.with_bucket(lifecycle=DENIED), {"archive-lifecycle"}, False),
    (right.with_bucket(lifecycle={}), {"archive-lifecycle"}, False),
    (right.with_bucket(tiering=DENIED), {"archive-tiering"}, False),
    (right.with_bucket(tiering={}), {"archive-tiering"}, False),
    (right.with_bucket(tiering={"IsTruncated": True}), {"archive-tiering"}, False),
    (right.facts(on_failure=None), {"on-failure", "on-failure-empty", "on-failure-lifecycle"}, False),
    (on_failure(held_back=DENIED), {"on-failure-empty"}, True),
    (on_failure(lifecycle=DENIED), {"on-failure-lifecycle"}, False),
    (right.facts(derived_url=None, derived=None), {"derived"}, False),
    (right.facts(derived=None), {"derived"}, False),
    (right.facts(derived=Bucket(place=Place("acme-derived", ""), head=DENIED, lock=DENIED)), {"derived"}, False),
    (right.facts(trail=DENIED), {"newest", "quarantine", "newest-seal"}, True),
    (
        right.facts(sealing=Sealing(function=DENIED)),
        {"seal-function", "seal-schedule", "seal-key", "seal-role", "seal-only"},
        False,
    ),
    (sealing(rules=DENIED), {"seal-schedule"}, False),
    (sealing(rules=(DENIED,)), {"seal-schedule"}, False),
    (sealing(rules=(rule(State="DISABLED"), DENIED)), {"seal-schedule"}, False),
    (sealing(key=DENIED), {"seal-key"}, False),
    (sealing(public_key=DENIED), {"seal-key"}, False),
    (sealing(key_arn=""), {"seal-key"}, False),
    (sealing(key_arn="/etc/key"), {"seal-key"}, False),
    (sealing(seals=()), {"seal-role"}, False),
    (sealing(others=()), {"seal-only"}, False),
    (sealing(seals=(replace(right.trial("x", "kms:Sign"), decisions=DENIED),)), {"seal-role"}, False),
    (sealing(others=(replace(right.trial("x", "kms:Sign"), decisions=DENIED),)), {"seal-only"}, False),
]


@pytest.mark.parametrize(("facts", "codes", "is_essential"), UNKNOWN)
def test_what_was_not_seen_is_not_checked(facts, codes, is_essential):
    """Denied, unreachable, cut short, or simply not said: none of them is a yes, and no other check suffers for it."""
    findings = found(facts)
    unseen = {code for code, finding in findings.items() if finding.result is NOT_CHECKED}
    assert unseen == codes
    assert not any(finding.result in {FAILED, WARNING} for finding in findings.values())
    assert exit_code(findings.values()) == (4 if is_essential else 0)


def test_every_check_can_be_left_out():
    """None of them claims to have looked whatever happens; these say what a mapping says by leaving a member out."""
    said_by_absence = {"mapping-destination", "mapping-responses", "mapping-tumbling", "mapping-metrics"}
    alone = {code for _, codes, _ in UNKNOWN for code in codes}
    assert set(found(right.facts())) - alone == said_by_absence | {"mapping"}
    without = found(right.facts(reader=DENIED))
    assert all(without[code].result is NOT_CHECKED for code in said_by_absence | {"mapping"})


def test_a_folder_is_not_asked_about_its_lock():
    """The checks of S3 do not apply to it, and are told as such."""
    findings = found(right.facts(archive_url="/srv/archive", bucket=None))
    told = {code: finding for code, finding in findings.items() if code.startswith("archive-")}
    assert len(told) == 11
    assert {finding.result for finding in told.values()} == {NOT_CHECKED}
    assert all("is a folder" in finding.detail for code, finding in told.items() if code != "archive-seals")
    assert not any(finding.is_essential for finding in told.values())


# --- which mapping is ours ---


def reader(function, **mapping):
    return StreamReader(right.mapping() | mapping, function)


FOREIGN = reader({"Handler": "app.handler", "Environment": {"Variables": {"X": "1"}}}, UUID="foreign")
HIDDEN = reader({"Handler": "app.handler", "Environment": {"Error": {"ErrorCode": "AccessDenied"}}}, UUID="hidden")
OURS = reader(right.function(), UUID="ours")


@pytest.mark.parametrize(
    ("readers", "expected"),
    [
        (Readers((FOREIGN, OURS)), OURS),
        (Readers((reader(DENIED), OURS)), OURS),
        (
            Readers((reader({"Handler": "wrapped.it", "Environment": {"Variables": {"DDBTRAIL_ARCHIVE": "x"}}}),)),
            "wrapped.it",
        ),
        (Readers((FOREIGN,)), Missing),
        (Readers(()), Missing),
        (Readers((FOREIGN,), (OURS,)), OURS),
        (Readers((FOREIGN,), DENIED), Missing),
        (Readers((FOREIGN, HIDDEN)), Unknown),
        (Readers((reader(DENIED),)), Unknown),
        (Readers((reader(Missing("the function is gone")),)), Unknown),
        (Readers(DENIED), Unknown),
        (Readers((FOREIGN,), (reader(DENIED),)), Unknown),
    ],
)
def test_ours_is_the_mapping_whose_function_archives(readers, expected):
    """By its handler, or by the archive it is given; one that cannot be seen may be it, and is not taken for foreign."""
    ours = readers.ours(right.ARCHIVE)
    if isinstance(expected, type):
        assert isinstance(ours, expected)
    elif isinstance(expected, str):
        assert ours.function["Handler"] == expected
    else:
        assert ours is expected


def test_of_several_the_one_of_this_archive_is_ours():
    """Two archives of one table are legitimate; the other one must not be blamed here."""
    other = reader(right.function() | {"Environment": {"Variables": {"DDBTRAIL_ARCHIVE": "s3://other/x"}}})
    assert Readers((other, OURS)).ours(right.ARCHIVE) is OURS
    assert Readers((OURS, other)).ours("s3://other/x") is other


# --- status ---


def health(**changed) -> Health:
    facts = right.facts()
    going_well = Health(
        reader=facts.reader, lag=Lag(41_000, right.NOW_MS), trail=facts.trail, on_failure=facts.on_failure
    )
    return replace(going_well, **changed)


def with_reader(**mapping):
    return health(reader=StreamReader(right.mapping() | mapping, right.function()))


def with_held_back(found):
    return health(on_failure=replace(right.on_failure(), held_back=found))


@pytest.mark.parametrize(
    ("changed", "code", "result", "exit_with"),
    [
        (health(), "mapping", PASSED, 0),
        (health(lag=Lag(900_000, right.NOW_MS)), "lag", PASSED, 0),
        (health(lag=Lag(900_001, right.NOW_MS)), "lag", FAILED, 1),
        (health(lag=Missing("no batch")), "lag", NOT_CHECKED, 0),
        (health(lag=DENIED), "lag", NOT_CHECKED, 4),
        (with_reader(State="Disabled"), "mapping", FAILED, 1),
        (with_reader(State="Updating"), "mapping", WARNING, 0),
        (health(reader=Missing("none")), "mapping", FAILED, 1),
        (health(reader=DENIED), "mapping", NOT_CHECKED, 4),
        (with_reader(LastProcessingResult="PROBLEM: x"), "last-result", FAILED, 1),
        (with_held_back(held_back(3)), "held-back", FAILED, 1),
        (with_held_back(DENIED), "held-back", NOT_CHECKED, 4),
        (health(on_failure=None), "held-back", NOT_CHECKED, 0),
        (health(on_failure=replace(right.on_failure(), url=f"{right.ON_FAILURE}/typo")), "on-failure", FAILED, 1),
        (health(trail=DENIED), "newest", NOT_CHECKED, 4),
        (health(trail=None), "newest", NOT_CHECKED, 0),
        (health(trail=TrailFacts({}, right.NOW_MS, 1)), "quarantine", WARNING, 0),
        (health(trail=TrailFacts({}, right.NOW_MS, 0)), "newest-seal", WARNING, 0),
        (health(), "newest-seal", PASSED, 0),
        (health(trail=TrailFacts({}, right.NOW_MS, 0, Sealed(1, right.NOW_MS - 7_201_000))), "newest-seal", FAILED, 1),
        (health(trail=None), "newest-seal", NOT_CHECKED, 0),
    ],
)
def test_status_is_well_only_if_it_was_seen_to_be(changed, code, result, exit_with):
    """Healthy means: enabled, on time, nothing held back; and that each was looked at."""
    findings = list(examine(changed, "orders", right.NOW_MS))
    (about,) = [finding for finding in findings if finding.check == code]
    assert about.result is result, about
    assert exit_code(findings) == exit_with


# --- findings ---


def test_what_is_wrong_outweighs_what_was_not_seen():
    """1 is an answer; 4 is none."""
    unseen = not_checked("a", "why").essential()
    assert exit_code([]) == 0
    assert exit_code([passed("a", "b"), warned("a", "b", "c"), not_checked("a", "b")]) == 0
    assert exit_code([unseen]) == 4
    assert exit_code([unseen, failed("a", "b", "c")]) == 1


def test_a_complaint_without_a_fix_is_a_mistake_of_ours():
    """A person is never told of something without what to do."""
    for complain in (failed, warned):
        with pytest.raises(ValueError, match="what to do"):
            complain("a", "b", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(-5, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "120 min"), (7_200, "2.0 h")],
        *[(172_799, "48.0 h"), (172_800, "2.0 d")],
    ],
)
def test_durations_are_short(seconds, text):
    """One unit, and enough digits to act on."""
    assert duration(seconds) == text


# --- the two other places that say the same ---


def test_the_right_settings_are_those_of_the_template():
    """What doctor asks for is what the stack gives, or the two drift apart."""
    template = yaml.safe_load(plain_template())
    resources, parameters = template["Resources"], template["Parameters"]
    mapped = resources["StreamMapping"]["Properties"]
    settings = {
        name: parameters[value["Ref"]]["Default"] if isinstance(value, dict) and "Ref" in value else value
        for name, value in mapped.items()
        if name in right.mapping() and name not in {"EventSourceArn", "DestinationConfig"}
    }
    assert len(settings) == 8, settings
    assert settings == {name: right.mapping()[name] for name in settings}
    function = resources["ArchiveFunction"]["Properties"]
    assert (function["Handler"], function["Runtime"]) == (right.function()["Handler"], right.function()["Runtime"])
    assert parameters["MemorySize"]["MinValue"] == right.function()["MemorySize"]
    assert (parameters["MaximumRecordAgeSeconds"]["MinValue"], parameters["MaximumRecordAgeSeconds"]["MaxValue"]) == (
        3_600,
        72_000,
    )
    assert parameters["LagAlarmSeconds"]["Default"] == 900


def test_the_essential_checks_are_the_documented_ones():
    """Exit code 4 hangs on them."""
    unseen = [facts for facts, *_ in UNKNOWN] + [right.facts(reader=DENIED), all_unknown()]
    essential = {code for facts in unseen for code, finding in found(facts).items() if finding.is_essential}
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"\n(`table`[^|]*?)\s+are those\s+without which nobody can tell", page)
    assert set(re.findall("`([a-z-]+)`", sentence)) == essential | {"canary"}


def test_every_code_stands_in_the_documentation():
    """Scripts compare codes: they are looked up there."""
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    (sentence,) = re.findall("The checks, in `findings`, are ([^.]*)[.]", page)
    assert re.findall("`([a-z-]+)`", sentence) == [finding.check for finding in examine(health(), "orders", 0)]
    table = page.split("### Is it archived as it should be?")[1].split("### How does it go?")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = [code.strip(" `") for row in rows for code in row.split(",")]
    assert sorted(documented) == sorted([*found(right.facts()), "canary"])
