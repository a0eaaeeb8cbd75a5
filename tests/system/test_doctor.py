"""`ddbtrail doctor` and `status` about the real template, deployed on MiniStack, whole and with one thing broken.

MiniStack applies neither Object Lock of a stack nor the mapping's MetricsConfig, so both are told as missing here; its
answers to everything else have the shapes of AWS (botocore parses them). It has no metrics, so an age of the iterator is
stubbed at the end. The function is not invoked: what a canary changes is archived by `ddbtrail follow`.
"""

import contextlib
import datetime as dt
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from query.cli import run
from query.operate.answers import Missing, Unknown
from query.operate.aws import Asker, Aws
from query.operate.facts import Lag
from query.operate.gather import Asked, Gathering
from query.table_ref import parse_table_ref
from tests.system.parts import REPOSITORY, AwsEndpoint
from tests.system.refusing_proxy import RefusingProxy
from tests.system.test_stack import Stack

TABLE = "orders"
KEY = {"id": {"S": "HEALTH#1"}}
FOLLOW = [sys.executable, "-c", "import sys; from query.cli import run; sys.exit(run(sys.argv[1:]))", "follow"]
# What MiniStack does not apply, and what the template leaves to the table's owner.
NOT_HERE = {
    "archive-lock": "failed",
    "mapping-metrics": "warning",
    "recovery": "warning",
    "deletion-protection": "warning",
}
EMPTY = {"newest": "warning", "quarantine": "not-checked", "key": "not-checked", "role-key": "not-checked"}
EMPTY |= {"newest-seal": "not-checked"}
UNNAMED = {"derived": "not-checked"}
WHOLE = NOT_HERE | EMPTY | UNNAMED


class Deployed:
    """A table and the stack that archives it."""

    def __init__(self, endpoint: AwsEndpoint) -> None:
        self._clients = contextlib.ExitStack()
        self._endpoint = endpoint
        self._known: dict[str, object] = {}
        table = self.aws("dynamodb").create_table(
            TableName=TABLE,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]
        self.table_arn = table["TableArn"]
        self._stack = Stack(self.aws("cloudformation"))
        given = {"StreamArn": table["LatestStreamArn"], "CodeBucket": "code-of-doctor", "CodePrefix": "v1/"}
        self._upload_stand_in("code-of-doctor", "v1/archiver-arm64.zip")
        self._stack.deploy("create_stack", "stack_create_complete", **given)
        made = self._stack.resources()
        self.archive, self.on_failure = made["Archive"], made["OnFailure"]
        self.function, self.role, self.mapping = made["ArchiveFunction"], made["ArchiveRole"], made["StreamMapping"]
        self.sealer, self.seal_role, self.schedule = made["SealFunction"], made["SealRole"], made["SealSchedule"]
        self.signing_key = self._stack.outputs()["SigningKeyArn"]
        self.url = f"s3://{self.archive}/ddbtrail"

    def _upload_stand_in(self, bucket: str, key: str) -> None:
        """A package that fails: MiniStack calls it with a Python that may have nothing of ours."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as package:
            package.writestr("archiver/handler.py", "def archive(event, context):\n    raise NotImplementedError\n")
        self.aws("s3").create_bucket(Bucket=bucket)
        self.aws("s3").put_object(Bucket=bucket, Key=key, Body=content.getvalue())

    @property
    def stream_arn(self) -> str:
        return self.aws("dynamodb").describe_table(TableName=TABLE)["Table"]["LatestStreamArn"]

    def aws(self, service):
        if service not in self._known:
            client = self._endpoint.client(service)
            self._known[service] = self._clients.enter_context(contextlib.closing(client))
        return self._known[service]

    def remove(self) -> None:
        self._stack.delete()
        self.aws("dynamodb").delete_table(TableName=TABLE)
        self._clients.close()


@pytest.fixture(scope="module")
def deployed(ministack_url):
    """Deployed once: every test leaves it as it found it."""
    deployed = Deployed(AwsEndpoint(ministack_url))
    yield deployed
    deployed.remove()


@pytest.fixture(autouse=True)
def environment(ministack_url, monkeypatch, tmp_path):
    """This machine as a user of MiniStack's account has it: nothing configured but where AWS is."""
    for name in ("DDBTRAIL_ARCHIVE", "DDBTRAIL_ON_FAILURE", "DDBTRAIL_DERIVED", "AWS_PROFILE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in AwsEndpoint(ministack_url).environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def ask(*tokens) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(tokens)
    return code, out.getvalue(), err.getvalue()


def doctor(*tokens) -> tuple[int, dict[str, dict]]:
    """Exit code, and each finding by its code."""
    code, out, err = ask("doctor", TABLE, *tokens)
    findings = [json.loads(line) for line in out.splitlines()]
    assert findings, err
    return code, {finding["check"]: finding for finding in findings}


def status(*tokens) -> tuple[int, dict]:
    code, out, err = ask("status", TABLE, *tokens, "-o", "jsonl")
    assert out, err
    return code, json.loads(out)


def unlike_passed(findings) -> dict[str, str]:
    return {code: finding["result"] for code, finding in findings.items() if finding["result"] != "passed"}


# --- whole ---


@pytest.mark.parametrize("named", [True, False])
def test_a_fresh_stack_is_as_it_should_be(deployed, named):
    """All that is not right is what MiniStack does not apply, what nobody named, and that nothing was written yet.

    Without -a the archive is the function's.
    """
    code, findings = doctor(*(["-a", deployed.url] if named else []))
    assert unlike_passed(findings) == WHOLE | ({} if named else {"function-archive": "not-checked"})
    assert code == 1, "the lock"
    assert deployed.url in findings["function-archive"]["detail"]
    code, findings = doctor("--allow-mutable")
    assert (code, findings["archive-lock"]["result"]) == (0, "warning")


def test_what_the_owner_can_add_is_seen(deployed):
    """The lock, point-in-time recovery, TTL and a place for derived data, by the API itself."""
    dynamodb, s3 = deployed.aws("dynamodb"), deployed.aws("s3")
    s3.create_bucket(Bucket="derived-of-doctor")
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 7}}}
    s3.put_object_lock_configuration(Bucket=deployed.archive, ObjectLockConfiguration=lock)
    dynamodb.update_continuous_backups(
        TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    dynamodb.update_time_to_live(TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})
    os.environ["DDBTRAIL_DERIVED"] = "s3://derived-of-doctor"
    try:
        code, findings = doctor()
    finally:
        del os.environ["DDBTRAIL_DERIVED"]
        dynamodb.update_continuous_backups(
            TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
        )
        dynamodb.update_time_to_live(
            TableName=TABLE, TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires"}
        )
        s3.put_object_lock_configuration(
            Bucket=deployed.archive, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
        )
    assert {"archive-lock", "recovery", "ttl", "derived"}.isdisjoint(unlike_passed(findings))
    assert "GOVERNANCE, 7 days" in findings["archive-lock"]["detail"]
    assert "expires" in findings["ttl"]["detail"]
    assert code == 0


@pytest.mark.parametrize("form", ["{name}", "{region}/{name}", "{account}/{region}/{name}", "{table}", "{stream}"])
def test_a_table_is_named_in_every_way(deployed, form):
    """Name, region, account, its ARN or that of its stream."""
    _, _, _, region, account, _ = deployed.table_arn.split(":", 5)
    named = form.format(
        name=TABLE, region=region, account=account, table=deployed.table_arn, stream=deployed.stream_arn
    )
    code, out, err = ask("doctor", named, "--allow-mutable", "-c", "check,result")
    assert code == 0, err
    assert '{"check":"mapping","result":"passed"}' in out


def test_a_table_of_another_region_is_not_taken_for_it(deployed):
    """Where AWS is asked and what was named are two things: the ARN that comes back decides."""
    code, out, err = ask("doctor", f"eu-west-1/{TABLE}", "--region", "us-east-1")
    assert (code, out) == (2, "")
    assert f"not eu-west-1/{TABLE}" in err


def test_a_table_that_is_not_there_is_wrong(deployed):
    """Answered, and the answer is no."""
    code, out, _ = ask("doctor", "no-such-table")
    findings = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [finding["check"] for finding in findings if finding["result"] != "not-checked"] == ["table"]


# --- with one thing broken ---


def of_mapping(undo, **change):
    def broken(deployed):
        update = deployed.aws("lambda").update_event_source_mapping
        update(UUID=deployed.mapping, **change)
        return lambda: update(UUID=deployed.mapping, **undo)

    return broken


def of_function(**change):
    def broken(deployed):
        api = deployed.aws("lambda")
        before = api.get_function_configuration(FunctionName=deployed.function)
        api.update_function_configuration(FunctionName=deployed.function, **change)
        return lambda: api.update_function_configuration(
            FunctionName=deployed.function, **{name: before[name] for name in change}
        )

    return broken


def no_concurrency(deployed):
    api = deployed.aws("lambda")
    api.put_function_concurrency(FunctionName=deployed.function, ReservedConcurrentExecutions=0)
    return lambda: api.delete_function_concurrency(FunctionName=deployed.function)


def of_bucket(put, delete, *, bucket="archive", **change):
    """A setting that the bucket has not, and is deleted afterwards."""

    def broken(deployed):
        s3, name = deployed.aws("s3"), getattr(deployed, bucket)
        getattr(s3, put)(Bucket=name, **change)
        return lambda: getattr(s3, delete)(Bucket=name)

    return broken


def without_policy(deployed):
    s3 = deployed.aws("s3")
    policy = s3.get_bucket_policy(Bucket=deployed.archive)["Policy"]
    s3.delete_bucket_policy(Bucket=deployed.archive)
    return lambda: s3.put_bucket_policy(Bucket=deployed.archive, Policy=policy)


def without_versions(deployed):
    s3 = deployed.aws("s3")
    s3.put_bucket_versioning(Bucket=deployed.archive, VersioningConfiguration={"Status": "Suspended"})
    return lambda: s3.put_bucket_versioning(Bucket=deployed.archive, VersioningConfiguration={"Status": "Enabled"})


def without_block(deployed):
    s3 = deployed.aws("s3")
    block = s3.get_public_access_block(Bucket=deployed.archive)["PublicAccessBlockConfiguration"]
    s3.delete_public_access_block(Bucket=deployed.archive)
    return lambda: s3.put_public_access_block(Bucket=deployed.archive, PublicAccessBlockConfiguration=block)


def held_back(deployed):
    s3, key = deployed.aws("s3"), f"aws/lambda/{deployed.mapping}/shardId-1/2026/11/23/batch"
    s3.put_object(Bucket=deployed.on_failure, Key=key, Body=b"x" * 1_234)
    return lambda: s3.delete_object(Bucket=deployed.on_failure, Key=key)


def a_role_that_reads(deployed):
    iam = deployed.aws("iam")
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{deployed.archive}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=deployed.role, PolicyName="more", PolicyDocument=policy)
    return lambda: iam.delete_role_policy(RoleName=deployed.role, PolicyName="more")


def a_role_without_rights(deployed):
    iam = deployed.aws("iam")
    (name,) = iam.list_role_policies(RoleName=deployed.role)["PolicyNames"]
    document = json.dumps(iam.get_role_policy(RoleName=deployed.role, PolicyName=name)["PolicyDocument"])
    iam.delete_role_policy(RoleName=deployed.role, PolicyName=name)
    return lambda: iam.put_role_policy(RoleName=deployed.role, PolicyName=name, PolicyDocument=document)


def a_schedule_that_is_off(deployed):
    deployed.aws("events").disable_rule(Name=deployed.schedule)
    return lambda: deployed.aws("events").enable_rule(Name=deployed.schedule)


def a_key_that_is_off(deployed):
    deployed.aws("kms").disable_key(KeyId=deployed.signing_key)
    return lambda: deployed.aws("kms").enable_key(KeyId=deployed.signing_key)


def a_sealer_without_rights(deployed):
    iam, kept = deployed.aws("iam"), {}
    for name in iam.list_role_policies(RoleName=deployed.seal_role)["PolicyNames"]:
        kept[name] = json.dumps(iam.get_role_policy(RoleName=deployed.seal_role, PolicyName=name)["PolicyDocument"])
        iam.delete_role_policy(RoleName=deployed.seal_role, PolicyName=name)
    assert kept
    return lambda: [
        iam.put_role_policy(RoleName=deployed.seal_role, PolicyName=name, PolicyDocument=document)
        for name, document in kept.items()
    ]


def an_archiver_that_signs(deployed):
    iam = deployed.aws("iam")
    statement = {"Effect": "Allow", "Action": "kms:Sign", "Resource": deployed.signing_key}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=deployed.role, PolicyName="signs", PolicyDocument=policy)
    return lambda: iam.delete_role_policy(RoleName=deployed.role, PolicyName="signs")


RULE = {
    "LifecycleConfiguration": {
        "Rules": [{"ID": "cleanup", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}]
    }
}
NO_FILTER = {"FilterCriteria": {"Filters": []}}
FILTER = {"FilterCriteria": {"Filters": [{"Pattern": '{"eventName":["INSERT"]}'}]}}

BROKEN = [
    (of_mapping({"Enabled": True}, Enabled=False), {"mapping-state": "failed"}),
    (of_mapping({"MaximumRecordAgeInSeconds": 43_200}, MaximumRecordAgeInSeconds=-1), {"mapping-age": "failed"}),
    (of_mapping({"MaximumRetryAttempts": -1}, MaximumRetryAttempts=2), {"mapping-retries": "warning"}),
    (of_mapping({"BisectBatchOnFunctionError": True}, BisectBatchOnFunctionError=False), {"mapping-bisect": "warning"}),
    (
        of_mapping({"FunctionResponseTypes": []}, FunctionResponseTypes=["ReportBatchItemFailures"]),
        {"mapping-responses": "failed"},
    ),
    (of_mapping(NO_FILTER, **FILTER), {"mapping-filter": "failed"}),
    (of_function(MemorySize=256), {"function-memory": "warning"}),
    (of_function(Runtime="python3.12"), {"function-runtime": "warning"}),
    (
        of_function(Environment={"Variables": {"DDBTRAIL_ARCHIVE": "s3://elsewhere/x"}}),
        {"function-archive": "failed"},
    ),
    (no_concurrency, {"function-concurrency": "failed"}),
    (without_versions, {"archive-versioning": "failed"}),
    (without_block, {"archive-public-access": "failed"}),
    (
        without_policy,
        dict.fromkeys(("archive-tls", "archive-create-only", "archive-deletes", "archive-seals"), "failed"),
    ),
    (
        of_bucket("put_bucket_lifecycle_configuration", "delete_bucket_lifecycle", **RULE),
        {"archive-lifecycle": "failed"},
    ),
    (
        of_bucket("put_bucket_lifecycle_configuration", "delete_bucket_lifecycle", bucket="on_failure", **RULE),
        {"on-failure-lifecycle": "failed"},
    ),
    (held_back, {"on-failure-empty": "failed"}),
    (a_role_that_reads, {"role-no-more": "failed"}),
    (a_role_without_rights, {"role-stream": "failed", "role-archive": "failed", "role-on-failure": "failed"}),
    (a_schedule_that_is_off, {"seal-schedule": "failed"}),
    (a_key_that_is_off, {"seal-key": "failed"}),
    (a_sealer_without_rights, {"seal-role": "failed"}),
    (an_archiver_that_signs, {"seal-only": "failed"}),
]


@pytest.mark.parametrize(("broken", "expected"), BROKEN)
def test_one_broken_thing_is_one_complaint(deployed, broken, expected):
    """Broken by the API of AWS, told by its check, and by no other."""
    mend = broken(deployed)
    try:
        code, findings = doctor("-a", deployed.url)
    finally:
        mend()
    assert unlike_passed(findings) == WHOLE | expected
    assert code == 1
    assert all(findings[check]["fix"] for check in expected)


def test_what_was_broken_is_mended(deployed):
    """What doctor says is of now: nothing of the tests above is left in its answer."""
    assert unlike_passed(doctor("-a", deployed.url)[1]) == WHOLE


# --- without a permission ---

ARCHIVE_SETTINGS = {
    "versioning": ("s3:GetBucketVersioning", {"archive-versioning"}),
    "object-lock": ("s3:GetBucketObjectLockConfiguration", {"archive-lock"}),
    "publicAccessBlock": ("s3:GetBucketPublicAccessBlock", {"archive-public-access"}),
    "encryption": ("s3:GetEncryptionConfiguration", {"archive-encryption"}),
    "policy": ("s3:GetBucketPolicy", {"archive-tls", "archive-create-only", "archive-deletes", "archive-seals"}),
    "lifecycle": ("s3:GetLifecycleConfiguration", {"archive-lifecycle", "on-failure-lifecycle"}),
    "intelligent-tiering": ("s3:GetIntelligentTieringConfiguration", {"archive-tiering"}),
}
OF_ROLE = {"role-stream", "role-archive", "role-no-more", "role-on-failure", "role-key", "seal-role", "seal-only"}
OF_SEALER = {"seal-function", "seal-schedule", "seal-key", "seal-role", "seal-only"}
# (what is refused, the permission that must be named, the checks that have not looked, whether 4 is the answer)
REFUSED = [
    (r"\.DescribeContinuousBackups", "dynamodb:DescribeContinuousBackups", {"recovery"}, False),
    (r"\.DescribeTimeToLive", "dynamodb:DescribeTimeToLive", {"ttl"}, False),
    (r"GET /.*/concurrency", "lambda:GetFunctionConcurrency", {"function-concurrency"}, False),
    (r"GET /[^/]*/functions/?(\?| )", "lambda:ListFunctions", OF_SEALER, False),
    (r"\.ListRuleNamesByTarget", "events:ListRuleNamesByTarget", {"seal-schedule"}, False),
    (r"\.DescribeRule", "events:DescribeRule", {"seal-schedule"}, False),
    (r"\.DescribeKey", "kms:DescribeKey", {"seal-key"}, False),
    (r"SimulatePrincipalPolicy", "iam:SimulatePrincipalPolicy", OF_ROLE, False),
    (r"HEAD /orders-trail-archive[^/]*", "s3:ListBucket", {"archive-bucket"}, True),
    (r"GET /orders-trail-onfailure[^/]*\?.*list-type", "s3:ListBucket", {"on-failure-empty"}, True),
    *((rf"\?{name}", action, checks, False) for name, (action, checks) in ARCHIVE_SETTINGS.items()),
]


@pytest.fixture(scope="module")
def proxy(ministack_url):
    with RefusingProxy(ministack_url) as proxy:
        yield proxy


@pytest.mark.parametrize(("pattern", "action", "checks", "is_essential"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_missing_permission_is_named_and_never_a_yes(deployed, proxy, pattern, action, checks, is_essential):
    """Each call by itself, refused in AWS's own words: only what hangs on it is not checked."""
    command = ("-a", deployed.url, "--endpoint-url", proxy.url, "--allow-mutable")
    with proxy.refusing(pattern):
        code, findings = doctor(*command)
    assert unlike_passed(findings) == WHOLE | {"archive-lock": "warning"} | dict.fromkeys(checks, "not-checked")
    named = {findings[check]["detail"] for check in checks - {"role-key"}}
    assert named == {f"not allowed: needs {action}"}
    assert code == (4 if is_essential else 0)


def test_the_key_that_signs_is_told_by_its_fingerprint(deployed, proxy):
    """To be compared with the file that a reviewer got; where it cannot be had, the check is none."""
    told = deployed.aws("kms").get_public_key(KeyId=deployed.signing_key)
    _, findings = doctor("-a", deployed.url)
    assert hashlib.sha256(told["PublicKey"]).hexdigest() in findings["seal-key"]["detail"]
    assert "Ed25519" in findings["seal-key"]["detail"]
    with proxy.refusing(r"\.GetPublicKey"):
        _, findings = doctor("-a", deployed.url, "--endpoint-url", proxy.url)
    assert findings["seal-key"]["result"] == "not-checked"
    assert "needs kms:GetPublicKey" in findings["seal-key"]["detail"]


@pytest.mark.parametrize(
    ("pattern", "action", "still_known"),
    [
        (r"\.DescribeTable", "dynamodb:DescribeTable", {"archive-bucket", "archive-versioning"}),
        (r"GET /.*/event-source-mappings", "lambda:ListEventSourceMappings", {"stream", "archive-bucket"}),
        (r"GET /.*/configuration", "lambda:GetFunctionConfiguration", {"stream", "consumers", "archive-bucket"}),
    ],
)
def test_without_the_first_answers_little_is_known(deployed, proxy, pattern, action, still_known):
    """No mapping can be told to be ours, and none is said to be missing: 4, and nothing about it is ✓ or ✗."""
    command = ("-a", deployed.url, "--endpoint-url", proxy.url, "--allow-mutable")
    with proxy.refusing(pattern):
        code, findings = doctor(*command)
        status_code, figures = status(*command[:-1])
    assert (code, status_code) == (4, 4)
    assert any(f"needs {action}" in finding["detail"] for finding in findings.values())
    about = {check for check in findings if check.startswith(("mapping", "function", "role", "on-failure", "key"))}
    assert {findings[check]["result"] for check in about} == {"not-checked"}
    assert {findings[check]["result"] for check in still_known} == {"passed"}
    assert (figures["mapping_state"], figures["held_back_objects"]) == (None, None)


def test_an_archive_that_may_not_be_listed_is_4(deployed, proxy):
    """The reader's own client is refused here, not boto3."""
    command = ("-a", deployed.url, "--endpoint-url", proxy.url)
    with proxy.refusing(r"GET /orders-trail-archive[^/]*/?\?.*(list-type|delimiter)"):
        code, findings = doctor(*command, "--allow-mutable")
        status_code, figures = status(*command)
    assert (code, status_code) == (4, 4)
    assert {findings[check]["result"] for check in ("newest", "quarantine")} == {"not-checked"}
    assert "s3:ListBucket" in findings["newest"]["detail"]
    assert figures["newest_change"] is None


def test_metrics_that_may_not_be_read_are_no_lag_of_zero(deployed, proxy):
    """MiniStack has no datapoints, which is one answer; refused is another."""
    code, figures = status("--endpoint-url", proxy.url)
    (lag,) = [finding for finding in figures["findings"] if finding["check"] == "lag"]
    assert (code, lag["result"], lag["detail"]) == (0, "not-checked", "no batch in the last 3 hours")
    with proxy.refusing(r"GetMetricStatistics"):
        code, figures = status("--endpoint-url", proxy.url)
    (lag,) = [finding for finding in figures["findings"] if finding["check"] == "lag"]
    assert (code, lag["detail"]) == (4, "not allowed: needs cloudwatch:GetMetricStatistics")
    assert figures["iterator_age_s"] is None


def test_the_age_of_the_iterator_is_that_of_the_newest_datapoint(deployed):
    """Datapoints come in no order (*GetMetricStatistics*); stubbed, since MiniStack has none."""
    gathered = Gathering(
        asked=Asked(parse_table_ref(TABLE), None, None, None),
        data=Aws(),
        kept=Aws(),
        read_trail=lambda _url, _trail: Missing("not asked"),
        now_ms=lambda: 1_790_000_000_000,
    )
    assert gathered.lag() == Missing("no batch in the last 3 hours")
    client = boto3.client("cloudwatch")
    times = [dt.datetime(2026, 9, 21, 14, minute, tzinfo=dt.UTC) for minute in (3, 9, 6)]
    points = [{"Timestamp": at, "Maximum": 1_000.0 * at.minute, "Unit": "Milliseconds"} for at in times]
    with Stubber(client) as stub:
        stub.add_response("get_metric_statistics", {"Label": "IteratorAge", "Datapoints": points})
        stub.add_client_error("get_metric_statistics", "InternalServiceFault", http_status_code=400)
        gathered._askers[gathered.data, "cloudwatch", gathered._region] = Asker(client)
        assert gathered.lag() == Lag(9_000, round(times[1].timestamp() * 1_000))
        assert isinstance(gathered.lag(), Unknown)


# --- alive ---


@contextlib.contextmanager
def following(deployed, tmp_path):
    """`ddbtrail follow` beside us, archiving what the function would."""
    command = [*FOLLOW, "--stream", deployed.stream_arn, "-a", deployed.url, "--checkpoint", "position.json"]
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environ, stderr=log, cwd=tmp_path)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def test_a_canary_is_seen_in_the_archive(deployed, tmp_path):
    """Written, archived by somebody else, found; then the figures of status speak of it."""
    dynamodb = deployed.aws("dynamodb")
    with following(deployed, tmp_path):
        code, out, err = ask(
            "doctor", deployed.table_arn, "--canary", "HEALTH#1", "--wait", "60s", "-c", "check,result,detail"
        )
        first = dynamodb.get_item(TableName=TABLE, Key=KEY)["Item"]
        again, findings = doctor("--canary", "HEALTH#1", "--wait", "60s", "--allow-mutable")
    log = Path("log").read_text()
    assert (code, "waiting up to 60 s" in err) == (1, True), log
    seen = json.loads(out.splitlines()[-1])
    assert (seen["check"], seen["result"]) == ("canary", "passed"), log
    assert "the item stays in the table" in seen["detail"]
    assert findings["canary"]["result"] == "passed", "one that replaces the first is a change of its own"
    assert dynamodb.get_item(TableName=TABLE, Key=KEY)["Item"]["ddbtrail_canary"] != first["ddbtrail_canary"]
    # MiniStack's own poller has called the stand-in for our function meanwhile, and tells so.
    results = {findings[check]["result"] for check in ("newest", "quarantine", "key")}
    assert (results, again) == ({"passed"}, 0 if findings["mapping-result"]["result"] == "passed" else 1)

    _, figures = status()
    assert figures["table_name"] == TABLE
    assert 0 <= figures["newest_change_age_s"] < 60
    assert (figures["held_back_objects"], figures["held_back_bytes"], figures["quarantined"]) == (0, 0, 0)


def test_a_canary_spares_what_is_no_canary(deployed):
    """An item of the user stands there: it is left, and doctor says so."""
    dynamodb = deployed.aws("dynamodb")
    item = {"id": {"S": "CUST#7"}, "total": {"N": "21.10"}}
    dynamodb.put_item(TableName=TABLE, Item=item)
    stored = dynamodb.get_item(TableName=TABLE, Key={"id": item["id"]})["Item"]
    code, findings = doctor("--canary", "CUST#7", "--wait", "1s")
    assert (code, findings["canary"]["result"]) == (1, "failed")
    assert dynamodb.get_item(TableName=TABLE, Key={"id": item["id"]})["Item"] == stored


def test_a_canary_that_may_not_be_written_is_4(deployed, proxy):
    """The one permission that is no read, named."""
    command = ("--canary", "HEALTH#2", "--wait", "1s", "--endpoint-url", proxy.url, "--allow-mutable")
    with proxy.refusing(r"\.PutItem"):
        _, findings = doctor(*command)
    assert findings["canary"] | {"fix": None} == {
        "check": "canary",
        "result": "not-checked",
        "detail": "not allowed: needs dynamodb:PutItem",
        "fix": None,
    }
    assert "Item" not in deployed.aws("dynamodb").get_item(TableName=TABLE, Key={"id": {"S": "HEALTH#2"}})


def test_an_archive_that_breaks_away_during_the_wait_is_4(deployed, proxy):
    """The canary is in the table by then: that is said, and what was checked before it too."""
    command = ("--canary", "HEALTH#4", "--wait", "30s", "--endpoint-url", proxy.url, "-a", deployed.url)
    with proxy.refusing(r"GET /orders-trail-archive[^/]*/?\?.*start-after"):
        _, findings = doctor(*command, "--allow-mutable")
    assert findings["canary"]["result"] == "not-checked"
    assert "written, and then" in findings["canary"]["detail"]
    assert findings["table"]["result"] == "passed"
    assert "Item" in deployed.aws("dynamodb").get_item(TableName=TABLE, Key={"id": {"S": "HEALTH#4"}})


def test_a_canary_that_nobody_archives_is_not_seen(deployed):
    """The stand-in for the function fails: within the wait nothing arrives, and the batching window is named."""
    code, findings = doctor("--canary", "HEALTH#3", "--wait", "2s")
    assert (code, findings["canary"]["result"]) == (1, "failed")
    assert "--wait 120s" in findings["canary"]["fix"]


def test_status_says_what_is_held_back(deployed):
    """How many, how large, since when; and that this is no health."""
    mend = held_back(deployed)
    try:
        code, figures = status()
    finally:
        mend()
    assert (code, figures["is_healthy"]) == (1, False)
    assert (figures["held_back_objects"], figures["held_back_bytes"]) == (1, 1_234)
    now = dt.datetime.now(dt.UTC)
    assert abs((dt.datetime.fromisoformat(figures["held_back_oldest"]) - now).total_seconds()) < 60


# --- last, since the mapping stays on the former stream ---


def test_a_re_created_stream_is_told_with_its_new_arn(deployed):
    """Both the mapping that is left behind, and what to deploy with; then again with a mapping of the new stream."""
    dynamodb, api = deployed.aws("dynamodb"), deployed.aws("lambda")
    dynamodb.update_table(TableName=TABLE, StreamSpecification={"StreamEnabled": False})
    code, findings = doctor()
    assert (code, findings["stream"]["result"]) == (1, "failed")
    specification = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    dynamodb.update_table(TableName=TABLE, StreamSpecification=specification)
    code, findings = doctor()
    assert (code, findings["mapping-stream"]["result"]) == (1, "failed")
    assert f"StreamArn={deployed.stream_arn}" in findings["mapping-stream"]["fix"]
    added = api.create_event_source_mapping(
        EventSourceArn=deployed.stream_arn, FunctionName=deployed.function, StartingPosition="LATEST"
    )
    try:
        code, findings = doctor()
    finally:
        api.delete_event_source_mapping(UUID=added["UUID"])
    assert (findings["mapping-stream"]["result"], findings["mapping-start"]["result"]) == ("passed", "failed")
