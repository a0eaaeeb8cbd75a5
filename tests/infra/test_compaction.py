"""The compactor in the template: it reads evidence and changes nothing of it, keeps derived data, and is called, watched
and bounded. And its package: what is in it, and that it fits. How it runs: tests/system/test_compactor.py.

Each promise is a function of a template, so that the same is asked of templates with one thing changed for the worse.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from infra import build
from infra.cloudformation import FUNCTIONS, sam_template
from infra.errors import PackageRefused
from infra.wheels import COMPACTION_LOCK, FROM_THE_RUNTIME, PLATFORMS, PYTHON, locked_wheels, parse_lock
from query import bounded_compactor, compact_handler, compaction_report
from query.compact_handler import CompactionConfig, compact_trails
from query.derived.outgrown import Room, Work, need_of
from tests.infra.resolved import Resolved, allowed, denied
from tests.infra.test_sealer import more, of_parameter, of_resource, of_statement, without
from tests.infra.test_template import ALARMS, ARCHIVE, EVIDENCE, KEY, STREAM, TABLE, TOPIC, TRAIL, anchors
from tests.querying.test_compact_handler import HOUR_MS, NOW_MS, ORDERS, sealed
from tests.system import parts
from tests.system.test_package import ELF_MACHINES

__all__ = ["sealed"]  # a fixture

COMPACTOR = "arn:aws:iam::111122223333:role/trail-compactionrole"
DERIVED = "arn:aws:s3:::trail-derived"
RUNS, SNAPSHOTS = (f"{DERIVED}/ddbtrail/{TRAIL}/{folder}" for folder in ("runs", "snapshots"))
ACTIONS = {
    *("s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject", "kms:Decrypt", "kms:GenerateDataKey"),
    *("logs:CreateLogStream", "logs:PutLogEvents"),
}
OURS = {"service": compaction_report.SERVICE, "table": "orders"}
MB = 1024**2


@pytest.fixture(scope="module")
def template():
    return sam_template()


def made(template, **parameters):
    return Resolved(template, StreamArn=STREAM, **{"CreateCompaction": "true", **parameters})


# --- The promises ---


def nothing_is_made_unless_asked_for(template):
    """It reads the whole trail and costs something: whoever wants it says so. An upgrade changes nothing."""
    assert template["Parameters"]["CreateCompaction"]["Default"] == "false"
    stack = Resolved(template, StreamArn=STREAM)
    assert not [name for name in {**stack.resources, **stack.outputs} if name.startswith("Compact")]
    assert {name for name in made(template).resources if name.startswith("Compact")} == {
        *("CompactionFunction", "CompactionLogs", "CompactionSchedule", "CompactionPermission", "CompactionRetries"),
        *("CompactionRole", "CompactionErrorsAlarm", "CompactionLagAlarm", "CompactionRefusedAlarm"),
    }


def evidence_is_read_and_never_changed(template):
    """Whatever runs in the function: it can neither put nor delete an object of the archive, nor sign."""
    stack = made(template)
    role = stack.role("CompactionRole")
    for folder in ("segments", "seals"):
        assert allowed(role, "s3:GetObject", f"{EVIDENCE}/{folder}/x")
    for folder in ("segments", "seals", "streams", "late", "quarantine", "baselines", "runs", "snapshots"):
        for action in ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObjectRetention"):
            assert not allowed(role, action, f"{EVIDENCE}/{folder}/x"), (action, folder)
    for folder in ("quarantine", "baselines", "late"):
        assert not allowed(role, "s3:GetObject", f"{EVIDENCE}/{folder}/x"), folder
    assert not allowed(role, "s3:GetObject", f"{ARCHIVE}/ddbtrail/{TRAIL.replace('orders', 'orders2')}/segments/x")
    for action in ("kms:Sign", "kms:GetPublicKey", "kms:CreateGrant"):
        assert not allowed(role, action, "arn:aws:kms:eu-west-1:111122223333:key/trail-signingkey")
    assert not allowed(stack.key_policy("SigningKey"), "kms:Sign", "x", principal=COMPACTOR)
    policy = stack.bucket_policy("ArchivePolicy")
    secure = {"secure": "true", "creates": "true", "if_none_match": "*", "principal": COMPACTOR}
    assert denied(policy, "s3:PutObject", f"{EVIDENCE}/seals/x", **secure)
    assert denied(policy, "s3:DeleteObject", f"{EVIDENCE}/segments/x", **secure)


def derived_data_of_one_table_is_kept(template):
    """Put, read and deleted; of this table, in these two folders, and no version of it."""
    role = made(template).role("CompactionRole")
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        for folder in (RUNS, SNAPSHOTS):
            assert allowed(role, action, f"{folder}/d1/x")
            assert not allowed(role, action, f"{folder.replace('orders', 'orders2')}/d1/x")
        assert not allowed(role, action, f"{DERIVED}/ddbtrail/{TRAIL}/segments/x")
        assert not allowed(role, action, f"{DERIVED}/x")
    assert not allowed(role, "s3:DeleteObjectVersion", f"{RUNS}/d1/x")
    for bucket in (ARCHIVE, DERIVED):
        assert allowed(role, "s3:ListBucket", bucket), "without a condition: else what is not there is denied"


def the_compactor_does_these_things_and_no_others(template):
    """Also with every optional parameter given; nobody but Lambda takes the role."""
    stack = made(template, KmsKeyArn=KEY, ArchiveBucket="audit", DerivedBucket="made-again")
    role = stack.role("CompactionRole")
    assert {action for statement in role for action in statement.actions} == ACTIONS
    assert all(statement.effect == "Allow" for statement in role)
    assert allowed(role, "s3:GetObject", f"arn:aws:s3:::audit/ddbtrail/{TRAIL}/segments/x")
    assert allowed(role, "s3:PutObject", f"arn:aws:s3:::made-again/ddbtrail/{TRAIL}/runs/x")
    stars = sorted(
        pattern
        for statement in made(template).role("CompactionRole")
        for pattern in statement.resources
        if "*" in pattern
    )
    assert stars == sorted(
        [
            *(f"{EVIDENCE}/{folder}/*" for folder in ("segments", "seals")),
            *(f"{folder}/*" for folder in (RUNS, SNAPSHOTS)),
            "arn:aws:logs:eu-west-1:111122223333:log-group:trail-compactionlogs:*",
        ]
    )
    only = stack.properties("CompactionRole")
    assert only.keys() == {"AssumeRolePolicyDocument", "Policies"}, "no managed policies"
    assert only["AssumeRolePolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
    for action in ("dynamodb:GetRecords", "dynamodb:DescribeTable", "dynamodb:Scan"):
        assert not allowed(role, action, TABLE)
    for action in ("s3:ListBucket", "s3:GetObject"):
        assert not allowed(role, action, "arn:aws:s3:::trail-onfailure")


def a_key_of_ones_own_is_used_through_s3_only(template):
    """To read segments it must decrypt; not for anybody's mail."""
    role = made(template, KmsKeyArn=KEY).role("CompactionRole")
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert allowed(role, action, KEY, via="s3.eu-west-1.amazonaws.com")
        assert not allowed(role, action, KEY, via="dynamodb.eu-west-1.amazonaws.com")
        assert not allowed(made(template).role("CompactionRole"), action, KEY, via="s3.eu-west-1.amazonaws.com")


def the_function_is_what_the_package_holds_and_knows_its_places(template):
    """Handler, trail and both URLs as the code reads them."""
    stack = made(template)
    function = stack.properties("CompactionFunction")
    assert function["Handler"] == "query.compact_handler.compact"
    assert function["Runtime"] == f"python{PYTHON}"
    assert function["CodeUri"] == "../build/compactor-arm64.zip"
    assert function["Architectures"] == ["arm64"]
    assert function["Role"] == COMPACTOR
    assert function.get("ReservedConcurrentExecutions") == 1
    assert function["LoggingConfig"] == {"LogGroup": "trail-compactionlogs"}
    variables = function["Environment"]["Variables"]
    assert variables["DDBTRAIL_TABLES"] == "111122223333/eu-west-1/orders"
    config = CompactionConfig.from_environment(variables)
    assert (config.archive_url, config.derived_url) == ("s3://trail-archive/ddbtrail", "s3://trail-derived/ddbtrail")
    assert config.trails == (ORDERS,)
    assert stack.outputs["DerivedUrl"]["Value"] == config.derived_url
    assert stack.outputs["ArchiveUrl"]["Value"] == config.archive_url


def it_has_room_for_what_it_begins(template):
    """Memory, disk and time that the estimate counts with, within what Lambda gives."""
    stack, parameters = made(template, CompactionMemorySize=4_096, EphemeralStorage=5_000), template["Parameters"]
    function = stack.properties("CompactionFunction")
    assert (function["MemorySize"], function.get("EphemeralStorage")) == (4_096, {"Size": 5_000})
    assert function["Timeout"] == 900
    memory, disk = parameters["CompactionMemorySize"], parameters["EphemeralStorage"]
    assert (memory["MaxValue"], disk["MaxValue"]) == (10_240, 10_240), "Lambda's own limits"
    for mb, disk_mb in ((memory["MinValue"], disk["MinValue"]), (memory["Default"], disk["Default"])):
        room = Room(mb * MB, disk_mb * MB, mb / 1_769, function["Timeout"] - 120)
        assert need_of(Work(100_000, 100, 5_800_000), room.cores).exceeds(room) is None, "an ordinary hour fits"


def the_function_is_called_by_the_hour_and_not_tried_again(template):
    """After the hour is sealed; the next hour does what this one did not."""
    stack = made(template)
    schedule = stack.properties("CompactionSchedule")
    assert schedule["State"] == "ENABLED"
    (minute,) = re.fullmatch(r"cron\((\d+) \* \* \* \? \*\)", schedule["ScheduleExpression"]).groups()
    assert template["Parameters"]["SealEveryMinutes"]["MaxValue"] + 5 <= int(minute) <= 44, "and ended before the hour"
    (target,) = schedule["Targets"]
    assert target["Arn"] == "arn:aws:lambda:eu-west-1:111122223333:function:trail-compactionfunction"
    assert stack.properties("CompactionPermission") == {
        "FunctionName": "trail-compactionfunction",
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/trail-compactionschedule",
    }, "this rule and no other"
    retries = stack.properties("CompactionRetries")
    assert (retries["FunctionName"], retries["Qualifier"]) == ("trail-compactionfunction", "$LATEST")
    assert retries["MaximumRetryAttempts"] == 0
    assert retries["MaximumEventAgeInSeconds"] <= 3_600


def its_alarms_ring_and_are_explained(template):
    """Each watches a metric that is emitted, over more than the time between two calls, and links its runbook."""
    stack = made(template, AlarmTopicArn=TOPIC, RunbookUrl="docs/operations.md")
    function = {"FunctionName": "trail-compactionfunction"}
    expected = {
        "CompactionErrorsAlarm": ("AWS/Lambda", "Errors", function, "Sum", 10_800, 1, "notBreaching"),
        "CompactionLagAlarm": ("ddbtrail", "CompactionLagSeconds", OURS, "Minimum", 7_200, 10_800, "breaching"),
        "CompactionRefusedAlarm": ("ddbtrail", "CompactionRefused", OURS, "Sum", 7_200, 0, "notBreaching"),
    }
    known = anchors(parts.REPOSITORY / "docs" / "operations.md")
    emitted = Path(compaction_report.__file__).read_text()
    found = stack.of_type("AWS::CloudWatch::Alarm")
    assert set(found) == {*ALARMS, "HeartbeatAlarm", *expected}
    for name, wanted in expected.items():
        alarm = found[name]
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
        settings = (alarm["Period"], alarm["Threshold"], alarm["TreatMissingData"])
        assert (alarm["Namespace"], alarm["MetricName"], dimensions, alarm["Statistic"], *settings) == wanted, name
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        assert alarm["EvaluationPeriods"] == 1
        assert alarm["Period"] >= 2 * 3_600, "two calls, so that it does not end and begin with each"
        assert alarm["AlarmActions"] == [TOPIC]
        assert alarm["AlarmDescription"].startswith("warn: "), "no answer is wrong"
        anchor = re.search(r"docs/operations\.md#(\S+)$", alarm["AlarmDescription"])[1]
        assert anchor in known, name
        if alarm["Namespace"] == compaction_report.NAMESPACE:
            assert f'"{alarm["MetricName"]}"' in emitted


def the_dashboard_shows_its_alarms(template):
    """And stays JSON, with and without."""
    for asked, count in (("true", 16), ("false", 13)):
        (dashboard,) = made(template, CreateCompaction=asked).of_type("AWS::CloudWatch::Dashboard").values()
        shown = json.loads(dashboard["DashboardBody"])["widgets"][0]["properties"]["alarms"]
        assert len(set(shown)) == len(shown) == count


def the_bucket_of_another_account_lets_it_read(template):
    """What is printed for its owner allows what the role is allowed there, and nothing else."""
    stack = made(template, ArchiveBucket="trail-archive")
    command = stack.outputs["CompactionBucketPolicy"]["Value"]
    printed = subprocess.run(command, shell=True, cwd=parts.REPOSITORY, capture_output=True, text=True, check=True)
    statements = json.loads(printed.stdout)["Statement"]
    assert all((one["Effect"], one["Principal"]) == ("Allow", {"AWS": COMPACTOR}) for one in statements)
    listed = [
        (one["Action"], sorted(one["Resource"] if isinstance(one["Resource"], list) else [one["Resource"]]))
        for one in statements
    ]
    role = [
        (action, sorted(resource for resource in statement.resources if resource.startswith(ARCHIVE)))
        for statement in stack.role("CompactionRole")
        for action in statement.actions
    ]
    assert sorted(listed) == sorted(one for one in role if one[1])
    assert "CompactionBucketPolicy" not in made(template).outputs
    assert "CompactionBucketPolicy" not in made(template, ArchiveBucket="audit", CreateCompaction="false").outputs


def the_derived_bucket_holds_nothing_for_ever(template):
    """No lock: what is in it can be made again. What is current stays; uploads that ended nowhere go."""
    derived = made(template).properties("Derived")
    assert not [name for name in derived if name.startswith("ObjectLock")]
    (rule,) = derived["LifecycleConfiguration"]["Rules"]
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] <= 7
    assert not {"ExpirationInDays", "ExpirationDate", "Transitions"} & rule.keys()


PROMISES = [
    nothing_is_made_unless_asked_for,
    evidence_is_read_and_never_changed,
    derived_data_of_one_table_is_kept,
    the_compactor_does_these_things_and_no_others,
    a_key_of_ones_own_is_used_through_s3_only,
    the_function_is_what_the_package_holds_and_knows_its_places,
    it_has_room_for_what_it_begins,
    the_function_is_called_by_the_hour_and_not_tried_again,
    its_alarms_ring_and_are_explained,
    the_dashboard_shows_its_alarms,
    the_bucket_of_another_account_lets_it_read,
    the_derived_bucket_holds_nothing_for_ever,
]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_template_keeps_its_promise(template, promise):
    """As the promise says."""
    promise(template)


# --- Templates with one thing changed for the worse ---


def of_variables(**variables):
    return lambda template: template["Resources"]["CompactionFunction"]["Properties"]["Environment"][
        "Variables"
    ].update(variables)


def unconditional(name):
    return lambda template: template["Resources"][name].pop("Condition")


def of_rule(**members):
    return lambda template: template["Resources"]["Derived"]["Properties"]["LifecycleConfiguration"]["Rules"][0].update(
        members
    )


def trusted(template):
    template["Resources"]["CompactionRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"].append(
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    )


def signs(template):
    template["Resources"]["SealSigns"]["Properties"]["Roles"].append({"Ref": "CompactionRole"})


def less_on_the_dashboard(template):
    given = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][1]
    given["CompactionAlarms"] = ""


def another_policy(template):
    template["Outputs"]["CompactionBucketPolicy"]["Value"]["Fn::Sub"][0] = "cat infra/archive-bucket-policy.json"


ALL_OF_THE_ARCHIVE = {"Fn::Sub": "${Archive.Arn}/*"}
WORSE = [
    (nothing_is_made_unless_asked_for, of_parameter("CreateCompaction", Default="true")),
    (nothing_is_made_unless_asked_for, unconditional("CompactionFunction")),
    (nothing_is_made_unless_asked_for, unconditional("CompactionLagAlarm")),
    (evidence_is_read_and_never_changed, more("CompactionRole", "ReadEvidence", "Action", "s3:PutObject")),
    (evidence_is_read_and_never_changed, more("CompactionRole", "ReadEvidence", "Action", "s3:DeleteObject")),
    (evidence_is_read_and_never_changed, more("CompactionRole", "KeepDerivedData", "Resource", ALL_OF_THE_ARCHIVE)),
    (evidence_is_read_and_never_changed, more("CompactionRole", "ReadEvidence", "Resource", ALL_OF_THE_ARCHIVE)),
    (evidence_is_read_and_never_changed, signs),
    (derived_data_of_one_table_is_kept, more("CompactionRole", "KeepDerivedData", "Action", "s3:DeleteObjectVersion")),
    (derived_data_of_one_table_is_kept, more("CompactionRole", "KeepDerivedData", "Resource", f"{DERIVED}/*")),
    (derived_data_of_one_table_is_kept, of_statement("CompactionRole", "KeepDerivedData", Action="s3:PutObject")),
    (
        derived_data_of_one_table_is_kept,
        of_statement("CompactionRole", "ListBoth", Condition={"StringLike": {"s3:prefix": "ddbtrail/*"}}),
    ),
    (
        the_compactor_does_these_things_and_no_others,
        more("CompactionRole", "ReadEvidence", "Action", "s3:GetObjectAcl"),
    ),
    (the_compactor_does_these_things_and_no_others, trusted),
    (
        the_compactor_does_these_things_and_no_others,
        of_resource("CompactionRole", ManagedPolicyArns=["arn:aws:iam::aws:policy/AmazonS3FullAccess"]),
    ),
    (
        a_key_of_ones_own_is_used_through_s3_only,
        of_statement("CompactionRole", "DecryptAndEncryptThroughS3", Condition={}),
    ),
    (
        the_function_is_what_the_package_holds_and_knows_its_places,
        of_resource("CompactionFunction", Handler="archiver.handler.seal"),
    ),
    (
        the_function_is_what_the_package_holds_and_knows_its_places,
        of_resource("CompactionFunction", CodeUri="../build/archiver-arm64.zip"),
    ),
    (
        the_function_is_what_the_package_holds_and_knows_its_places,
        of_resource("CompactionFunction", Role={"Fn::GetAtt": ["SealRole", "Arn"]}),
    ),
    (
        the_function_is_what_the_package_holds_and_knows_its_places,
        without("CompactionFunction", "ReservedConcurrentExecutions"),
    ),
    (
        the_function_is_what_the_package_holds_and_knows_its_places,
        of_variables(DDBTRAIL_DERIVED={"Fn::Sub": "s3://${Archive}/ddbtrail"}),
    ),
    (the_function_is_what_the_package_holds_and_knows_its_places, of_variables(DDBTRAIL_TABLES="1/2/3")),
    (it_has_room_for_what_it_begins, without("CompactionFunction", "EphemeralStorage")),
    (it_has_room_for_what_it_begins, of_resource("CompactionFunction", MemorySize=512)),
    (it_has_room_for_what_it_begins, of_resource("CompactionFunction", Timeout=60)),
    (it_has_room_for_what_it_begins, of_parameter("CompactionMemorySize", MinValue=512)),
    (it_has_room_for_what_it_begins, of_parameter("EphemeralStorage", Default=256)),
    (the_function_is_called_by_the_hour_and_not_tried_again, of_resource("CompactionSchedule", State="DISABLED")),
    (
        the_function_is_called_by_the_hour_and_not_tried_again,
        of_resource("CompactionSchedule", ScheduleExpression="cron(5 * * * ? *)"),
    ),
    (the_function_is_called_by_the_hour_and_not_tried_again, without("CompactionPermission", "SourceArn")),
    (the_function_is_called_by_the_hour_and_not_tried_again, of_resource("CompactionRetries", MaximumRetryAttempts=2)),
    (its_alarms_ring_and_are_explained, of_resource("CompactionLagAlarm", Statistic="Maximum")),
    (its_alarms_ring_and_are_explained, of_resource("CompactionLagAlarm", TreatMissingData="notBreaching")),
    (its_alarms_ring_and_are_explained, of_resource("CompactionRefusedAlarm", MetricName="CompactionsRefused")),
    (its_alarms_ring_and_are_explained, of_resource("CompactionRefusedAlarm", Period=300)),
    (
        its_alarms_ring_and_are_explained,
        of_resource("CompactionErrorsAlarm", AlarmDescription="warn: see docs/operations.md#nowhere"),
    ),
    (the_dashboard_shows_its_alarms, less_on_the_dashboard),
    (the_bucket_of_another_account_lets_it_read, another_policy),
    (the_derived_bucket_holds_nothing_for_ever, of_resource("Derived", ObjectLockEnabled=True)),
    (the_derived_bucket_holds_nothing_for_ever, of_rule(ExpirationInDays=30)),
]


@pytest.mark.parametrize(
    ("promise", "change"), WORSE, ids=[f"{number}-{case[0].__name__}" for number, case in enumerate(WORSE)]
)
def test_a_promise_can_be_broken(promise, change):
    """By each of these changes; or it would hold whatever the template said."""
    worse = sam_template()
    change(worse)
    with pytest.raises(AssertionError):
        promise(worse)


def test_every_promise_was_broken_once():
    """A new one joins the changes above."""
    assert {promise for promise, _ in WORSE} == set(PROMISES)


# --- The role, asked about what the compactor really does ---


class Watched:
    """A source or a store that keeps a list of what it was asked, as S3 would name it."""

    def __init__(self, place, arn, asked):
        self.place, self.arn, self.asked = place, arn, asked

    def __getattr__(self, name):
        return getattr(self.place, name)

    def _ask(self, action, *names):
        self.asked.update((action, f"{self.arn}/ddbtrail/{name}") for name in names)

    def folders(self, prefix):
        self.asked.add(("s3:ListBucket", self.arn))
        return self.place.folders(prefix)

    def objects(self, prefix, **between):
        self.asked.add(("s3:ListBucket", self.arn))
        return self.place.objects(prefix, **between)

    def fetch(self, wanted):
        self._ask("s3:GetObject", *(stored.name for stored in wanted))
        return self.place.fetch(wanted)

    def read(self, names, **anew):
        self._ask("s3:GetObject", *names)
        return self.place.read(names, **anew)

    def read_ranges(self, wanted):
        self._ask("s3:GetObject", *(stored.name for stored, _, _ in wanted))
        return self.place.read_ranges(wanted)

    def put_if_absent(self, name, path):
        self._ask("s3:PutObject", name)
        return self.place.put_if_absent(name, path)

    def held(self, prefix):
        self.asked.add(("s3:ListBucket", self.arn))
        return self.place.held(prefix)

    def delete(self, names):
        listed = list(names)
        self._ask("s3:DeleteObject", *listed)
        return self.place.delete(listed)


def test_the_role_may_do_all_that_the_compactor_does(template, sealed, tmp_path, monkeypatch):
    """The real requests: hours, then days of them, then what they were made of is deleted."""
    asked = set()
    opened, stored = compact_handler.open_source, compact_handler.open_derived
    config = CompactionConfig(str(sealed), str(tmp_path / "derived"), (ORDERS,), None, 3_538)

    def open_watched(url, access):
        return Watched(opened(url, access), ARCHIVE if url == config.archive_url else DERIVED, asked)

    monkeypatch.setattr(compact_handler, "open_source", open_watched)
    monkeypatch.setattr(
        compact_handler, "open_derived", lambda url, access: Watched(stored(url, access), DERIVED, asked)
    )
    too_large = Room(10**12, 0, 2.0, 780)
    assert compact_trails(config, now_ms=NOW_MS, remaining_s=lambda: 900.0, room=too_large)["refused"]
    with monkeypatch.context() as patch:
        patch.setattr(bounded_compactor, "wanted_runs", hours_only(bounded_compactor.wanted_runs))
        compact_trails(config, now_ms=NOW_MS, remaining_s=lambda: 900.0)
    compact_trails(config, now_ms=NOW_MS, remaining_s=lambda: 900.0)
    later_ms = round(max(path.stat().st_mtime for path in tmp_path.rglob("run.json")) * 1_000) + 25 * HOUR_MS
    assert compact_trails(config, now_ms=later_ms, remaining_s=lambda: 900.0)["deleted"]
    role = made(template).role("CompactionRole")
    assert [one for one in asked if not allowed(role, *one)] == []
    assert {action for action, _ in asked} == {"s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject"}
    read = {name.split(f"{TRAIL}/")[1].split("/")[0] for action, name in asked if action == "s3:GetObject"}
    assert read == {"segments", "seals", "runs"}, "all that ReadEvidence allows is needed"


def hours_only(wanted_runs):
    """What is wanted, hour by hour."""
    return lambda pieces: [
        some for group in wanted_runs(pieces) for some in bounded_compactor.smaller_runs(group) or [group]
    ]


# --- The package ---


def wheels(architecture):
    folder = build.BUILD / "wheels" / architecture
    folder.mkdir(parents=True, exist_ok=True)
    return locked_wheels(architecture, folder, lock=COMPACTION_LOCK)


@pytest.mark.parametrize("architecture", PLATFORMS)
def test_the_package_fits_and_can_neither_write_evidence_nor_sign(architecture):
    """Lambda takes 250 MB with layers; DuckDB and Arrow are most of it."""
    contents = build.package_contents(wheels(architecture), kind=build.COMPACTOR)
    unzipped = sum(map(len, contents.values()))
    print(f"{architecture}: {unzipped / 1e6:.1f} MB unzipped in {len(contents)} files")
    assert unzipped <= build.UNZIPPED_BYTES_MAX
    ours = {name for name in contents if name.startswith(("archiver/", "query/"))}
    assert {name for name in ours if name.startswith("archiver/") and "/format/" not in name} == {
        "archiver/__init__.py"
    }
    assert {"query/compact_handler.py", "query/sql/run_rows.sql"} <= ours
    assert not [name for name in ours if name.startswith(("query/cli/", "query/operate/"))]
    assert not [name for name in contents if name.startswith(("cryptography", "boto3", "cyclopts"))]
    for name in (name for name in contents if ".so" in name):
        assert int.from_bytes(contents[name][18:20], "little") == ELF_MACHINES[architecture], name


@pytest.mark.parametrize("name", ["archiver/signer.py", "archiver/handler.py", "boto3/x.py", "cryptography/x.py"])
def test_a_package_with_what_writes_evidence_or_signs_is_refused(name):
    """Nobody's mistake in a lock or a pattern gives the function more than it needs."""
    good = {"query/compact_handler.py": b"", "archiver/format/layout.py": b""}
    build.refuse_unfit(good, build.COMPACTOR)
    with pytest.raises(PackageRefused, match="the compactor's package would hold"):
        build.refuse_unfit({**good, name: b""}, build.COMPACTOR)


def test_the_lock_is_of_the_versions_that_the_tests_run_with():
    """And names nothing that the runtime brings."""
    locked = parse_lock(COMPACTION_LOCK.read_text())
    pinned = set((COMPACTION_LOCK.parent / "dev.txt").read_text().replace("_", "-").lower().split())
    assert {f"{requirement.name}=={requirement.version}" for requirement in locked} <= pinned
    names = {requirement.name for requirement in locked}
    assert {"duckdb", "pyarrow", "obstore", "orjson"} <= names
    assert not FROM_THE_RUNTIME & names


def test_each_function_has_a_package_that_is_built():
    """And every package a function."""
    assert {kind.name for kind in build.KINDS} == set(FUNCTIONS.values())
