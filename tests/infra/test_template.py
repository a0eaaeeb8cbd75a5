"""The template keeps its promises: least privilege, nothing overwritten or deleted, nothing lost in silence.

Policies are asked, not only read: what they mean counts (tests/infra/resolved.py evaluates them; no emulator here
enforces `s3:if-none-match`). Object Lock, lifecycle, KMS and the S3 failure destination are checked as settings.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from archiver import telemetry
from archiver.format.layout import Trail
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from infra.build import write_templates
from infra.cloudformation import FUNCTIONS, TEMPLATE, TEMPLATE_ARCHITECTURE, plain_template, sam_template, sam_text
from infra.wheels import PLATFORMS, PYTHON
from query.cli import run
from tests.archiving.batches import CHANGED_AT_S, record
from tests.infra.resolved import PSEUDO, Resolved, allowed, denied
from tests.system.parts import REPOSITORY
from tests.system.test_package import PEAK_BYTES_MAX

STREAM = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"
TABLE = STREAM.partition("/stream/")[0]
TRAIL = "v1/account=111122223333/region=eu-west-1/table_name=orders"
ARCHIVE = "arn:aws:s3:::trail-archive"
EVIDENCE = f"{ARCHIVE}/ddbtrail/{TRAIL}"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:ops"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234"
BREAK_GLASS = "arn:aws:iam::111122223333:role/break-glass"
SOMEBODY = "arn:aws:iam::111122223333:role/admin"
BUCKETS = ("Archive", "Derived", "OnFailure")

# *surfaces*: the public contract.
PARAMETERS = {
    *("StreamArn", "ArchiveBucket", "ArchivePrefix", "DerivedBucket", "KeySchema", "KmsKeyArn", "RetentionMode"),
    *("RetentionDays", "BatchSize", "BatchingWindowSeconds", "ParallelizationFactor", "MaximumRecordAgeSeconds"),
    *("StartingPosition", "MemorySize", "AlarmTopicArn", "LagAlarmSeconds", "CreateDashboard", "LogLevel"),
    *("LogRetentionDays", "Architecture", "BreakGlassRoleArn", "RunbookUrl"),
    *("SigningKeyArn", "SigningKeySpec", "SealEveryMinutes", "SealOperatorRoleArn"),
    *("CreateCompaction", "CompactionMemorySize", "EphemeralStorage"),
}
# All that the archiver's role may ever do.
ACTIONS = {
    *("s3:PutObject", "s3:ListBucket", "kms:GenerateDataKey"),
    *("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
    *("dynamodb:DescribeTable", "logs:CreateLogStream", "logs:PutLogEvents"),
}
# Nothing that could reach into a table (a custom resource), be one, or act in its stead.
RESOURCE_TYPES = {
    *("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::IAM::Role", "AWS::Logs::LogGroup"),
    *("AWS::Serverless::Function", "AWS::Lambda::EventSourceMapping", "AWS::IAM::Policy", "AWS::KMS::Key"),
    *("AWS::Events::Rule", "AWS::Lambda::Permission", "AWS::Lambda::EventInvokeConfig"),
    *("AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard"),
}
# "millisecond access" (*Understanding and managing Amazon S3 storage classes*), and more than one zone.
IMMEDIATE = {"STANDARD_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}


@pytest.fixture(scope="module")
def template():
    return sam_template()


@pytest.fixture(scope="module")
def stack(template):
    """As somebody gets it who gives the one required parameter."""
    return Resolved(template, StreamArn=STREAM)


@pytest.fixture(scope="module")
def role(stack):
    return stack.role("ArchiveRole")


# --- The whole ---


def test_cfn_lint_finds_nothing(tmp_path):
    """Neither error nor warning in any region, in the template and in the one that is released."""
    plain = tmp_path / "template.yaml"
    plain.write_text(plain_template())
    command = [Path(sys.executable).with_name("cfn-lint"), "--regions", "ALL_REGIONS", "--", TEMPLATE, plain]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_parameters_are_the_contract_and_one_is_required(template):
    """A name, once released, is in other people's pipelines."""
    assert set(template["Parameters"]) == PARAMETERS
    assert [name for name, given in template["Parameters"].items() if "Default" not in given] == ["StreamArn"]


def test_every_parameter_is_explained_or_says_it_all_by_its_values(template):
    """The console shows nothing else to the person who deploys."""
    silent = {name for name, given in template["Parameters"].items() if not given.get("Description")}
    assert silent == {"LogLevel", "LogRetentionDays", "CreateDashboard", "Architecture"}


@pytest.mark.parametrize(
    ("arn", "is_taken"),
    [
        (STREAM, True),
        (STREAM + "Z", True),
        (STREAM.replace("arn:aws:", "arn:aws-cn:"), True),
        (STREAM.replace("orders", "a" * 3), True),
        (STREAM.replace("orders", "a" * 2), False),
        (TABLE, False),
        ("orders", False),
        (STREAM.replace("111122223333", "1111"), False),
    ],
)
def test_only_the_arn_of_a_stream_is_taken(template, arn, is_taken):
    """A table's name or ARN is what people have at hand; the mapping would fail on it, later and less clearly."""
    assert bool(re.search(template["Parameters"]["StreamArn"]["AllowedPattern"], arn)) == is_taken


def test_the_plain_template_takes_the_package_of_either_architecture(template):
    """It is what is released: no macro, no rule about one package, nothing of the region it was made in."""
    text = plain_template(code_bucket="releases")
    plain = yaml.safe_load(text)
    assert "Transform" not in plain
    assert "Rules" not in plain
    assert "us-east-1" not in text
    assert set(plain["Parameters"]) == PARAMETERS | {"CodeBucket", "CodePrefix"}
    assert plain["Parameters"]["CodeBucket"]["Default"] == "releases"
    functions = {name: body for name, body in plain["Resources"].items() if body["Type"] == "AWS::Lambda::Function"}
    assert set(functions) == set(FUNCTIONS)
    for name, function in functions.items():
        package = f"${{CodePrefix}}{FUNCTIONS[name]}-${{Architecture}}.zip"
        assert function["Properties"]["Code"]["S3Key"] == {"Fn::Sub": package}
    assert template["Parameters"]["Architecture"]["AllowedValues"] == list(PLATFORMS)
    assert set(plain["Resources"]) == set(template["Resources"]), "nothing was made up on the way"
    assert len(text.encode()) < 51_200, "the largest body that CreateStack takes without a bucket"


@pytest.mark.parametrize("architecture", PLATFORMS)
def test_a_sam_template_carries_one_architecture_and_refuses_the_other(tmp_path, architecture):
    """A function with the other architecture's libraries would deploy, and fail every batch."""
    (tmp_path / "sam.yaml").write_text(sam_text(architecture))
    made, source = sam_template(tmp_path / "sam.yaml"), sam_template()
    for template, carried, folder in ((made, architecture, ""), (source, TEMPLATE_ARCHITECTURE, "../build/")):
        (rule,) = template["Rules"].values()
        assert rule["Assertions"][0]["Assert"] == {"Fn::Equals": [{"Ref": "Architecture"}, carried]}
        assert template["Parameters"]["Architecture"]["Default"] == carried
        # All that may differ is put aside; what is left is one and the same stack.
        del template["Rules"], template["Parameters"]["Architecture"]["Default"]
        for name in FUNCTIONS:
            code = template["Resources"][name]["Properties"].pop("CodeUri")
            assert code == f"{folder}{FUNCTIONS[name]}-{carried}.zip"
    assert made == source


def test_a_release_has_a_template_for_every_way_to_deploy(tmp_path):
    """Beside the packages that they name."""
    names = [path.name for path in write_templates(tmp_path, code_bucket="releases")]
    assert names == ["sam-arm64.yaml", "sam-x86_64.yaml", "template.yaml"]
    assert (tmp_path / "sam-x86_64.yaml").read_text() == sam_text("x86_64")
    assert (tmp_path / "template.yaml").read_text() == plain_template(code_bucket="releases")


def test_plain_cloudformation_is_the_same_stack(template):
    """Whoever deploys without SAM gets every setting, policy, alarm and output that a reviewer has read here."""
    plain = yaml.safe_load(plain_template())
    for section in ("Conditions", "Outputs"):
        assert plain[section] == template[section]
    for name, body in template["Resources"].items():
        if name not in FUNCTIONS:
            assert plain["Resources"][name] == body, name
    for name in FUNCTIONS:
        ours, theirs = (given["Resources"][name]["Properties"] for given in (template, plain))
        assert theirs["Code"]["S3Bucket"] == {"Ref": "CodeBucket"}
        assert {key: value for key, value in ours.items() if key != "CodeUri"} == {
            key: value for key, value in theirs.items() if key not in {"Code", "Tags"}
        }
    for name, given in template["Parameters"].items():
        assert plain["Parameters"][name] == given, name


def test_the_stack_is_made_of_these_kinds_and_no_others(template):
    """The table belongs to someone else: no resource is a table, and no custom resource could change one."""
    assert {resource["Type"] for resource in template["Resources"].values()} == RESOURCE_TYPES


def test_the_function_is_what_the_package_is_built_for(template, stack):
    """Python, handler and archive as the code knows them; the memory that tests/system/test_package.py leaves it."""
    function, memory = stack.properties("ArchiveFunction"), template["Parameters"]["MemorySize"]
    assert function["Runtime"] == f"python{PYTHON}"
    assert function["Handler"] == "archiver.handler.archive"
    assert function["Architectures"] == ["arm64"]
    assert function["Environment"]["Variables"]["DDBTRAIL_ARCHIVE"] == "s3://trail-archive/ddbtrail"
    assert "ReservedConcurrentExecutions" not in function, "it would throttle, or stop, what must not wait"
    assert 120 < function["Timeout"] <= 900, "longer than one object is tried, and what Lambda allows"
    assert memory["MinValue"] * 1024**2 >= 2 * PEAK_BYTES_MAX, "half is left to what differs from the measurement"


# What a parameter is named after, and where it must arrive: (resource, path to the setting), value given, value there.
REACHES = [
    ("BatchSize", ("StreamMapping", "BatchSize"), 7, 7),
    ("BatchingWindowSeconds", ("StreamMapping", "MaximumBatchingWindowInSeconds"), 7, 7),
    ("ParallelizationFactor", ("StreamMapping", "ParallelizationFactor"), 7, 7),
    ("MaximumRecordAgeSeconds", ("StreamMapping", "MaximumRecordAgeInSeconds"), 7_200, 7_200),
    ("StartingPosition", ("StreamMapping", "StartingPosition"), "LATEST", "LATEST"),
    ("MemorySize", ("ArchiveFunction", "MemorySize"), 1_024, 1_024),
    ("Architecture", ("ArchiveFunction", "Architectures"), "x86_64", ["x86_64"]),
    ("KeySchema", ("ArchiveFunction", "Environment", "Variables", "DDBTRAIL_KEY_SCHEMA"), "orders=a,b", "orders=a,b"),
    ("LogLevel", ("ArchiveFunction", "Environment", "Variables", "POWERTOOLS_LOG_LEVEL"), "DEBUG", "DEBUG"),
    ("LogRetentionDays", ("ArchiveLogs", "RetentionInDays"), 7, 7),
    ("LagAlarmSeconds", ("LagAlarm", "Threshold"), 600, "600000"),
    ("Architecture", ("SealFunction", "Architectures"), "x86_64", ["x86_64"]),
    ("LogLevel", ("SealFunction", "Environment", "Variables", "POWERTOOLS_LOG_LEVEL"), "DEBUG", "DEBUG"),
    ("LogRetentionDays", ("SealLogs", "RetentionInDays"), 7, 7),
    ("SigningKeyArn", ("SealFunction", "Environment", "Variables", "DDBTRAIL_SIGNING_KEY"), KEY, KEY),
    ("SigningKeySpec", ("SigningKey", "KeySpec"), "ECC_NIST_P256", "ECC_NIST_P256"),
    ("SealEveryMinutes", ("SealSchedule", "ScheduleExpression"), 5, "rate(5 minutes)"),
]


@pytest.mark.parametrize(
    ("parameter", "path", "given", "expected"), REACHES, ids=[f"{case[0]}-{case[1][0]}" for case in REACHES]
)
def test_a_parameter_reaches_the_setting_it_is_named_after(template, parameter, path, given, expected):
    """A parameter that does nothing is worse than none: its owner believes it."""
    resource, *names = path
    setting = Resolved(template, StreamArn=STREAM, **{parameter: given}).properties(resource)
    for name in names:
        setting = setting[name]
    assert setting == expected


def test_the_dashboard_can_be_left_out(template):
    """It costs money."""
    assert not Resolved(template, StreamArn=STREAM, CreateDashboard="false").of_type("AWS::CloudWatch::Dashboard")


def test_the_outputs_are_the_next_three_commands_and_they_exist(template, capsys):
    """What is printed after a deployment is typed next, as it stands; also where the archive is another account's."""
    for archive in ("", "audit"):
        outputs = Resolved(template, StreamArn=STREAM, ArchiveBucket=archive).outputs
        url, on_failure = f"s3://{archive or 'trail-archive'}/ddbtrail", "s3://trail-onfailure"
        assert (outputs["ArchiveUrl"]["Value"], outputs["OnFailureUrl"]["Value"]) == (url, on_failure)
        commands = [output["Value"] for name, output in sorted(outputs.items()) if name.startswith("Next")]
        assert commands == [
            f"ddbtrail doctor orders -a {url} --on-failure {on_failure}",
            f"ddbtrail baseline orders --scan -a {url}",
            f"ddbtrail status orders -a {url} --on-failure {on_failure}",
        ]
        assert "ddbtrail replay TABLE -a <ArchiveUrl> --on-failure <this>" in outputs["OnFailureUrl"]["Description"]
    promised = [*commands, outputs["OnFailureUrl"]["Description"], outputs["Next1AskTheDoctor"]["Description"]]
    for text in promised[:-1]:
        name, *rest = re.search(r"ddbtrail (.+)", text)[1].split()
        assert_understood(name, {word for word in rest if word.startswith("-")}, capsys)
    assert_understood("doctor", {"--canary"}, capsys)
    assert "--canary KEY" in promised[-1]


def assert_understood(command, options, capsys):
    """The command is there and has these options."""
    capsys.readouterr()
    assert run([command, "--help"]) == 0, command
    known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out))
    assert options <= known, f"ddbtrail {command} has no {options - known}"


# --- The mapping ---


def test_no_record_is_lost_or_narrowed_in_silence(stack):
    """Every one of these settings, if it were otherwise, loses data without anybody being told."""
    mapping = stack.properties("StreamMapping")
    assert mapping == {
        "EventSourceArn": STREAM,
        "FunctionName": "trail-archivefunction",
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 10_000,
        "MaximumBatchingWindowInSeconds": 60,
        "ParallelizationFactor": 1,
        "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": 43_200,
        "BisectBatchOnFunctionError": True,
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::trail-onfailure"}},
        "MetricsConfig": {"Metrics": ["EventCount"]},
    }, "no filter, no partial responses, nothing else"


def test_the_bounds_of_the_mapping_leave_time_to_save_what_is_stuck(template):
    """Above 10 records a window is required; the stream forgets at 24 hours, and saving takes part of them.

    Below an hour a short outage of S3 would send everything to the on-failure bucket; -1 would never send anything.
    """
    parameters = template["Parameters"]
    assert parameters["BatchingWindowSeconds"]["MinValue"] >= 1
    assert parameters["MaximumRecordAgeSeconds"]["MaxValue"] <= 20 * 3_600
    assert parameters["MaximumRecordAgeSeconds"]["MinValue"] >= 3_600
    assert parameters["LagAlarmSeconds"]["MinValue"] > parameters["BatchingWindowSeconds"]["MaxValue"]


# --- Who may do what ---


def test_the_role_may_do_these_things_and_no_others(template):
    """Also with every optional parameter given: no Get, no Delete, no retention, no wildcard among the actions."""
    full = Resolved(template, StreamArn=STREAM, KmsKeyArn=KEY, BreakGlassRoleArn=BREAK_GLASS, ArchiveBucket="audit")
    only = full.properties("ArchiveRole")
    assert only.keys() == {"AssumeRolePolicyDocument", "Policies"}, "no managed policies"
    (trust,) = only["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }, "nobody but Lambda takes the role"
    assert full.properties("ArchiveFunction")["Role"] == "arn:aws:iam::111122223333:role/trail-archiverole"
    statements = full.role("ArchiveRole")
    assert {action for statement in statements for action in statement.actions} == ACTIONS
    assert all(statement.effect == "Allow" for statement in statements)


def test_no_resource_of_the_role_is_wider_than_it_must_be(role):
    """A star is allowed at the end of a name that holds a sequence number, a digest, or what Lambda makes up."""
    stars = sorted(pattern for statement in role for pattern in statement.resources if "*" in pattern)
    assert stars == sorted(
        [
            *(f"{EVIDENCE}/{folder}/*" for folder in ("segments", "streams", "late", "quarantine")),
            f"{ARCHIVE}/ddbtrail/v1/quarantine/*",
            f"{TABLE}/stream/*",
            "arn:aws:s3:::trail-onfailure/aws/lambda/*",
            "arn:aws:logs:eu-west-1:111122223333:log-group:trail-archivelogs:*",
        ]
    )


def test_every_statement_is_explained_beside_it(template):
    """The reviewer reads the template: a permission without a reason is a question, a star most of all."""
    lines = TEMPLATE.read_text().splitlines()
    sids = [
        statement["Sid"]
        for kind in ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::S3::BucketPolicy", "AWS::KMS::Key")
        for resource in template["Resources"].values()
        if resource["Type"] == kind
        for statement in _raw_statements(resource["Properties"])
    ]
    assert len(sids) >= 22
    for sid in sids:
        places = [number for number, line in enumerate(lines) if line.strip() in {f"- Sid: {sid}", f"Sid: {sid}"}]
        assert places, sid
        for place in places:
            around = lines[place - 3 : place] + lines[place + 1 : place + 4]
            assert any("#" in line for line in around), f"{sid}, line {place + 1}"


def _raw_statements(properties):
    documents = [
        properties.get("PolicyDocument"),
        properties.get("KeyPolicy"),
        *(policy["PolicyDocument"] for policy in properties.get("Policies", ())),
    ]
    for document in filter(None, documents):
        for statement in document["Statement"]:
            yield statement.get("Fn::If", [None, statement])[1]


def test_the_role_may_put_every_object_that_the_archiver_writes(role, tmp_path):
    """The real names: segments, descriptions, late markers, quarantine with and without a trail."""
    store = FolderStore(tmp_path)
    arrived_ms = (CHANGED_AT_S + 3 * 86_400) * 1_000
    without_key = record(9, arn=STREAM)
    del without_key["dynamodb"]["Keys"]
    batch = [record(1, arn=STREAM), without_key, "not even a record"]
    Writer(store, Streams(key_schema={"orders": ("id",)})).archive(batch, now_ms=arrived_ms)
    names = [name for name, _ in store.list("v1/")]
    assert {name.removeprefix(f"{TRAIL}/").split("/")[0] for name in names} == {
        *("segments", "streams", "late", "quarantine"),
        "v1",  # quarantine of what names no table
    }
    for name in names:
        assert allowed(role, "s3:PutObject", f"{ARCHIVE}/ddbtrail/{name}"), name


@pytest.mark.parametrize(
    "name",
    [
        f"ddbtrail/{TRAIL}/seals/00000000000000000000.json",
        f"ddbtrail/{TRAIL}/baselines/2026-01-01T00-00-00Z/baseline.json",
        f"ddbtrail/{TRAIL.replace('orders', 'orders2')}/segments/x.parquet",
        f"ddbtrail/{TRAIL.replace('orders', 'customers')}/quarantine/x.json",
        f"ddbtrail/{TRAIL.replace('eu-west-1', 'us-east-1')}/segments/x.parquet",
        f"{TRAIL}/segments/x.parquet",
        "ddbtrail/anything",
    ],
)
def test_the_role_may_put_nothing_else_into_the_archive(role, name):
    """Who archives one table can neither seal, nor invent a baseline, nor write into another table's trail."""
    assert not allowed(role, "s3:PutObject", f"{ARCHIVE}/{name}")


@pytest.mark.parametrize(
    "action",
    [
        *("s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObjectRetention"),
        *("s3:PutObjectLegalHold", "s3:BypassGovernanceRetention", "s3:PutObjectAcl", "s3:PutObjectTagging"),
        *("s3:ListBucket", "s3:PutBucketPolicy", "s3:PutLifecycleConfiguration", "s3:PutBucketVersioning"),
    ],
)
def test_the_role_can_neither_read_nor_delete_nor_change_retention(role, action):
    """Compromised code of the function must not be able to look at, hide or shorten what is archived."""
    for resource in (ARCHIVE, f"{EVIDENCE}/segments/dt=2026-11-23/hour=00/x.parquet", "arn:aws:s3:::trail-derived/x"):
        assert not allowed(role, action, resource, bucket_account="111122223333")


def test_the_role_reads_its_stream_and_no_item_of_the_table(role):
    """The table belongs to someone else."""
    for action in (
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
    ):
        assert allowed(role, action, STREAM)
        assert not allowed(role, action, STREAM.replace("orders", "orders2"))
    assert allowed(role, "dynamodb:DescribeTable", TABLE)
    for action in ("dynamodb:GetItem", "dynamodb:Scan", "dynamodb:PutItem", "dynamodb:UpdateTable"):
        assert not allowed(role, action, TABLE)


def test_lambda_can_save_failed_batches_with_this_role_in_this_account_only(role):
    """Both permissions are demanded; a bucket of that name in another account must not receive payloads."""
    bucket = "arn:aws:s3:::trail-onfailure"
    for action, resource in (
        ("s3:PutObject", f"{bucket}/aws/lambda/uuid/shard/2026/11/23/x"),
        ("s3:ListBucket", bucket),
    ):
        assert allowed(role, action, resource, bucket_account="111122223333")
        assert not allowed(role, action, resource, bucket_account="444455556666")


def test_a_key_of_ones_own_is_used_for_nothing_but_putting(template):
    """GenerateDataKey through S3; Decrypt would be reading."""
    role = Resolved(template, StreamArn=STREAM, KmsKeyArn=KEY).role("ArchiveRole")
    assert allowed(role, "kms:GenerateDataKey", KEY, via="s3.eu-west-1.amazonaws.com")
    assert not allowed(role, "kms:GenerateDataKey", KEY, via="dynamodb.eu-west-1.amazonaws.com")
    assert not allowed(role, "kms:Decrypt", KEY, via="s3.eu-west-1.amazonaws.com")


def test_nothing_is_overwritten_whoever_puts(stack):
    """The header is demanded of everybody; the parts of a multipart upload cannot carry it, their completion does."""
    policy, name = stack.bucket_policy("ArchivePolicy"), f"{EVIDENCE}/segments/x.parquet"
    secure = {"secure": "true", "principal": SOMEBODY}
    assert denied(policy, "s3:PutObject", name, creates="true", **secure)
    assert not denied(policy, "s3:PutObject", name, creates="true", if_none_match="*", **secure)
    assert not denied(policy, "s3:PutObject", name, creates="false", **secure)


@pytest.mark.parametrize(
    "action",
    [
        *("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObjectRetention", "s3:PutObjectLegalHold"),
        "s3:BypassGovernanceRetention",
    ],
)
def test_nothing_is_deleted_but_by_the_break_glass_role(template, action):
    """DeleteObject only adds a marker, but the marker hides the object and frees its name for a forgery."""
    name = f"{EVIDENCE}/segments/x.parquet"
    without = Resolved(template, StreamArn=STREAM).bucket_policy("ArchivePolicy")
    assert denied(without, action, name, secure="true", principal=SOMEBODY)
    assert denied(without, action, name, secure="true", principal=BREAK_GLASS)
    given = Resolved(template, StreamArn=STREAM, BreakGlassRoleArn=BREAK_GLASS).bucket_policy("ArchivePolicy")
    assert denied(given, action, name, secure="true", principal=SOMEBODY)
    assert not denied(given, action, name, secure="true", principal=BREAK_GLASS)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_buckets_speak_tls_only_and_their_policies_allow_nobody_anything(stack, bucket):
    """Access is given by identity policies, or by the owner of another account's bucket."""
    policy, arn = stack.bucket_policy(f"{bucket}Policy"), f"arn:aws:s3:::trail-{bucket.lower()}"
    assert {statement.effect for statement in policy} == {"Deny"}
    for action, resource in (("s3:GetObject", f"{arn}/x"), ("s3:PutObject", f"{arn}/x"), ("s3:ListBucket", arn)):
        assert denied(policy, action, resource, secure="false", if_none_match="*")
        assert not denied(policy, action, resource, secure="true", if_none_match="*", creates="true")


# --- Buckets ---


@pytest.mark.parametrize("bucket", BUCKETS)
def test_buckets_are_private_versioned_encrypted_and_outlive_the_stack(template, stack, bucket):
    """Also their policies: a retained bucket without its policy is unprotected."""
    properties = stack.properties(bucket)
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    for key, expected in (("", {"SSEAlgorithm": "aws:kms"}), (KEY, {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY})):
        resolved = Resolved(template, StreamArn=STREAM, KmsKeyArn=key).properties(bucket)
        (rule,) = resolved["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule == {"BucketKeyEnabled": True, "ServerSideEncryptionByDefault": expected}
    for name in (bucket, f"{bucket}Policy"):
        assert (template["Resources"][name]["DeletionPolicy"], template["Resources"][name]["UpdateReplacePolicy"]) == (
            "Retain",
            "Retain",
        )
    assert "BucketName" not in properties, "a fixed name could not be made again beside the retained bucket"


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE", "NONE"])
def test_the_archive_is_locked_as_asked(template, mode):
    """With NONE the lock is on and holds nothing: a retention can be set later without another bucket."""
    archive = Resolved(template, StreamArn=STREAM, RetentionMode=mode, RetentionDays=2_555).properties("Archive")
    assert archive["ObjectLockEnabled"] is True
    expected = {"ObjectLockEnabled": "Enabled"}
    if mode != "NONE":
        expected["Rule"] = {"DefaultRetention": {"Mode": mode, "Days": 2_555}}
    assert archive["ObjectLockConfiguration"] == expected


def test_whoever_decides_nothing_gets_a_lock_that_can_still_be_lifted(template):
    """A year, in GOVERNANCE: not nothing, and nothing that excludes erasure. A lock of no days would be refused."""
    parameters = template["Parameters"]
    assert (parameters["RetentionMode"]["Default"], parameters["RetentionDays"]["Default"]) == ("GOVERNANCE", 365)
    assert parameters["RetentionDays"]["MinValue"] == 1
    assert parameters["RetentionMode"]["AllowedValues"] == ["NONE", "GOVERNANCE", "COMPLIANCE"]


def test_every_lifecycle_rule_is_on(stack):
    """One that is disabled looks the same to a hasty reader."""
    rules = [rule for bucket in BUCKETS for rule in stack.properties(bucket)["LifecycleConfiguration"]["Rules"]]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    assert len(rules) >= len(BUCKETS)


def test_the_lifecycle_never_expires_evidence_and_keeps_it_at_hand(stack):
    """An expired segment is a hole; one in a class with retrieval hours is an answer that comes tomorrow."""
    archive = stack.properties("Archive")
    lifecycle = archive["LifecycleConfiguration"]
    assert lifecycle["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    classes = {move["StorageClass"] for rule in lifecycle["Rules"] for move in rule.get("Transitions", ())}
    assert classes
    assert classes <= IMMEDIATE
    assert "IntelligentTieringConfigurations" not in archive, "its archive tiers would not be immediate"
    known = {"Id", "Status", "Transitions", "AbortIncompleteMultipartUpload"}
    assert all(rule.keys() <= known for rule in lifecycle["Rules"]), "nothing expires"


def test_the_failed_batches_are_kept_until_somebody_deletes_them(stack):
    """They may be the only copy. Only versions that were deleted on purpose go, a month later."""
    for rule in stack.properties("OnFailure")["LifecycleConfiguration"]["Rules"]:
        assert not {"ExpirationInDays", "ExpirationDate", "Transitions"} & rule.keys()
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}, "docs/operations.md, Held back, says so"


def test_old_versions_of_derived_data_go_and_nothing_locks_it(stack):
    """It can be made again."""
    derived = stack.properties("Derived")
    assert not {name for name in derived if name.startswith("ObjectLock")}
    (rule,) = derived["LifecycleConfiguration"]["Rules"]
    assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] <= 30, "what is made again would be paid for twice"
    assert "ExpirationInDays" not in rule, "what is current is in use"


def test_buckets_that_are_given_are_not_made_and_not_touched(template):
    """The archive of an audit account belongs to that account."""
    given = Resolved(template, StreamArn=STREAM, ArchiveBucket="audit", DerivedBucket="derived", ArchivePrefix="a/b")
    assert set(given.of_type("AWS::S3::Bucket")) == {"OnFailure"}
    assert set(given.of_type("AWS::S3::BucketPolicy")) == {"OnFailurePolicy"}
    assert allowed(given.role("ArchiveRole"), "s3:PutObject", f"arn:aws:s3:::audit/a/b/{TRAIL}/segments/x")
    assert not allowed(given.role("ArchiveRole"), "s3:PutObject", f"{EVIDENCE}/segments/x")
    assert given.outputs["ArchiveUrl"]["Value"] == "s3://audit/a/b"
    assert given.properties("ArchiveFunction")["Environment"]["Variables"]["DDBTRAIL_ARCHIVE"] == "s3://audit/a/b"


def test_the_policy_for_a_given_bucket_is_printed_and_says_the_same(template):
    """One statement forgotten there, and an archive in the audit account is weaker than one made here."""
    own = Resolved(template, StreamArn=STREAM, BreakGlassRoleArn=BREAK_GLASS)
    given = Resolved(template, StreamArn=STREAM, BreakGlassRoleArn=BREAK_GLASS, ArchiveBucket="trail-archive")
    printed = subprocess.run(
        given.outputs["ArchiveBucketPolicy"]["Value"],
        shell=True,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    statements = json.loads(printed.stdout)["Statement"]
    denials = [statement for statement in statements if statement["Effect"] == "Deny"]
    assert denials == own.properties("ArchivePolicy")["PolicyDocument"]["Statement"]
    allowed_to = {
        role: sorted(
            (statement.actions, sorted(statement.resources)) for statement in own.role(role) if in_archive(statement)
        )
        for role in ("ArchiveRole", "SealRole")
    }
    printed_for = {}
    for allowance in (statement for statement in statements if statement["Effect"] == "Allow"):
        (arn,) = allowance["Principal"].values()
        resources = allowance["Resource"] if isinstance(allowance["Resource"], list) else [allowance["Resource"]]
        printed_for.setdefault(arn, []).append(([allowance["Action"]], sorted(resources)))
    assert {arn: sorted(found) for arn, found in printed_for.items()} == {
        f"arn:aws:iam::111122223333:role/trail-{role.lower()}": expected for role, expected in allowed_to.items()
    }
    assert len({statement["Sid"] for statement in statements}) == len(statements)
    assert "ArchiveBucketPolicy" not in own.outputs


def in_archive(statement):
    """Whether a statement of a role is about the archive's bucket."""
    return all(resource.startswith(ARCHIVE) for resource in statement.resources)


def test_nothing_takes_it_for_granted_that_the_partition_is_aws(template, monkeypatch):
    """China's and GovCloud's ARNs begin otherwise; a policy with the wrong ones is refused, or protects nothing."""
    monkeypatch.setitem(PSEUDO, "AWS::Partition", "aws-cn")
    given = Resolved(template, StreamArn=STREAM.replace("arn:aws:", "arn:aws-cn:"), ArchiveBucket="audit")
    command = given.outputs["ArchiveBucketPolicy"]["Value"]
    printed = subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert printed.count("arn:aws-cn:s3:::audit") >= 8
    for text in (printed, json.dumps(given.resources), json.dumps(given.outputs)):
        assert "arn:aws:" not in text.replace("arn:aws:|arn:aws-cn:", "")


# --- Alarms ---


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alarm_links_a_section_of_the_runbook(template):
    """At three in the morning the link is all there is."""
    stack = Resolved(template, StreamArn=STREAM, AlarmTopicArn=TOPIC, RunbookUrl="docs/operations.md")
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    assert len(alarms) == 13
    known = anchors(REPOSITORY / "docs" / "operations.md")
    for name, alarm in alarms.items():
        severity, _, text = alarm["AlarmDescription"].partition(": ")
        link = re.search(r"(\S+)#(\S+)$", text)
        assert severity in {"warn", "page"}, name
        assert link, name
        assert (REPOSITORY / link[1]).exists()
        assert link[2] in known, name
        assert alarm["AlarmActions"] == [TOPIC]


def test_without_a_topic_alarms_are_made_and_name_none(stack):
    """The stack deploys with one parameter; the console still shows red."""
    for alarm in stack.of_type("AWS::CloudWatch::Alarm").values():
        assert not {"AlarmActions", "OKActions"} & alarm.keys()


FUNCTION = {"FunctionName": "trail-archivefunction"}
SEALER = {"FunctionName": "trail-sealfunction"}
MAPPING = {"EventSourceMappingUUID": "trail-streammapping"}
OURS = {"service": telemetry.SERVICE, "table": "orders"}
# Which metric, of what, and what of it: as *Types of metrics for Lambda functions* names them. IteratorAge: "the age of
# the last record in the event"; the counts of events are per mapping; DestinationDeliveryFailures is per function.
ALARMS = {
    "LagAlarm": ("AWS/Lambda", "IteratorAge", FUNCTION, "Maximum", "> 900000"),
    "CriticalLagAlarm": ("AWS/Lambda", "IteratorAge", FUNCTION, "Maximum", "> 14400000"),
    "HeldBackAlarm": ("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", MAPPING, "Sum", "> 0"),
    "DroppedAlarm": ("AWS/Lambda", "DroppedEventCount", MAPPING, "Sum", "> 0"),
    "UndeliveredAlarm": ("AWS/Lambda", "DestinationDeliveryFailures", FUNCTION, "Sum", "> 0"),
    "ErrorsAlarm": ("AWS/Lambda", "Errors", FUNCTION, "Sum", "> 0"),
    "ThrottlesAlarm": ("AWS/Lambda", "Throttles", FUNCTION, "Sum", "> 0"),
    "PollingAlarm": ("AWS/Lambda", "PolledEventCount", MAPPING, "SampleCount", "< 1"),
    "QuarantineAlarm": ("ddbtrail", "RecordsQuarantined", OURS, "Sum", "> 0"),
    "SealAgeAlarm": ("ddbtrail", "SealAgeSeconds", OURS, "Minimum", "> 0"),
    "SealErrorsAlarm": ("AWS/Lambda", "Errors", SEALER, "Sum", "> 1"),
    "RefusedAlarm": ("ddbtrail", "EvidenceRefused", OURS, "Sum", "> 0"),
}
# Sealing goes by the half hour: its calls may be 30 minutes apart.
PERIODS = {"SealAgeAlarm": 7_200, "SealErrorsAlarm": 1_800, "RefusedAlarm": 1_800}


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_watches_the_metric_that_its_runbook_speaks_of(stack, name):
    """With another name, dimension or direction it never rings, and looks healthy for ever."""
    alarm = stack.properties(name)
    sign = {"GreaterThanThreshold": ">", "LessThanThreshold": "<"}[alarm["ComparisonOperator"]]
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
    limit = f"{sign} {alarm['Threshold']}"
    assert (alarm["Namespace"], alarm["MetricName"], dimensions, alarm["Statistic"], limit) == ALARMS[name]
    assert alarm["Period"] == PERIODS.get(name, 300)
    assert alarm["TreatMissingData"] == ("breaching" if name in {"PollingAlarm", "SealAgeAlarm"} else "notBreaching")


@pytest.mark.parametrize(
    ("writes", "calls", "rings"),
    [(5, None, True), (5, 0, True), (5, 1, False), (0, None, False), (None, None, False), (None, 3, False)],
)
def test_the_heartbeat_is_missed_when_the_table_writes_and_the_function_is_silent(stack, writes, calls, rings):
    """Its expression, evaluated; None is a period without data points. Two such periods, ten minutes, ring."""
    alarm = stack.properties("HeartbeatAlarm")
    metrics = {metric["Id"]: metric for metric in alarm["Metrics"]}
    (asked,) = (metric for metric in metrics.values() if metric.get("ReturnData", True))
    python = re.sub(r"FILL\((\w+), (\d+)\)", r"(\2 if \1 is None else \1)", asked["Expression"])
    condition, yes, no = re.fullmatch(r"IF\((.+), (\d), (\d)\)", python.replace(" AND ", " and ")).groups()
    value = int(yes) if eval(condition, {}, {"writes": writes, "calls": calls}) else int(no)
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
    assert (value > 0) == rings
    watched = {
        name: (metrics[name]["MetricStat"]["Metric"]["MetricName"], metrics[name]["MetricStat"]["Metric"]["Dimensions"])
        for name in ("writes", "calls")
    }
    assert watched == {
        "writes": ("ConsumedWriteCapacityUnits", [{"Name": "TableName", "Value": "orders"}]),
        "calls": ("Invocations", [{"Name": "FunctionName", "Value": FUNCTION["FunctionName"]}]),
    }
    periods = {metrics[name]["MetricStat"]["Period"] for name in watched}
    assert (periods, alarm["EvaluationPeriods"]) == ({300}, 2)


def test_every_alarm_is_asked_about_by_one_of_these_tests(stack):
    """A new one joins the table above, or is forgotten."""
    assert set(stack.of_type("AWS::CloudWatch::Alarm")) == {*ALARMS, "HeartbeatAlarm"}


def test_alarms_ring_when_they_should(stack):
    """15 minutes to warn, 4 hours to page, long before 12 hours of retries and 24 of the stream."""
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    assert float(alarms["LagAlarm"]["Threshold"]) == 15 * 60 * 1_000
    assert float(alarms["CriticalLagAlarm"]["Threshold"]) == 4 * 3_600 * 1_000
    for name in ("ErrorsAlarm", "ThrottlesAlarm"):
        assert alarms[name]["Period"] * alarms[name]["EvaluationPeriods"] == 15 * 60


def test_alarms_and_dashboard_use_the_metrics_that_the_archiver_emits(stack):
    """A misspelt metric is an alarm that never rings."""
    alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
    watched = {alarm["MetricName"] for alarm in alarms if alarm.get("Namespace") == telemetry.NAMESPACE}
    assert watched == {"RecordsQuarantined", "SealAgeSeconds", "EvidenceRefused"}
    emitted = set(
        re.findall(
            r'"([A-Z][A-Za-z]+)": \(MetricUnit|values\["([A-Z][A-Za-z]+)"\]', Path(telemetry.__file__).read_text()
        )
    )
    emitted = {name for pair in emitted for name in pair if name}
    used = set(
        re.findall(
            rf'\["{telemetry.NAMESPACE}", "(\w+)", "service", "([\w-]+)"',
            stack.properties("Dashboard")["DashboardBody"],
        )
    )
    assert used
    assert {name for name, _ in used} | watched <= emitted
    assert {service for _, service in used} == {telemetry.SERVICE}


def test_the_dashboard_shows_every_alarm(stack):
    """And is JSON, which CloudFormation does not check before it is deployed."""
    (dashboard,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    shown = json.loads(dashboard["DashboardBody"])["widgets"][0]["properties"]["alarms"]
    assert len(shown) == len(stack.of_type("AWS::CloudWatch::Alarm"))
    assert len(set(shown)) == len(shown)


def test_the_dashboard_asks_for_metrics_that_lambda_has(stack):
    """By function or by mapping, as the alarms do."""
    (dashboard,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"])["widgets"]
    asked = [metric for widget in widgets for metric in widget["properties"].get("metrics", ())]
    assert {metric[0] for metric in asked} == {"AWS/Lambda", telemetry.NAMESPACE}
    of_function = {"Invocations", "Errors", "Throttles", "Duration"}
    of_mapping = {"PolledEventCount", "OnFailureDestinationDeliveredEventCount", "DroppedEventCount"}
    known = {(name, *FUNCTION.items()) for name in of_function} | {(name, *MAPPING.items()) for name in of_mapping}
    known |= {(name, *SEALER.items()) for name in ("Errors", "Duration")}
    assert {(name, (key, value)) for namespace, name, key, value, *_ in asked if namespace == "AWS/Lambda"} == known


def test_the_trail_in_the_template_is_the_one_of_the_format(role):
    """The folder is composed in two languages: here and in archiver.format.layout."""
    prefix = Trail("111122223333", "eu-west-1", "orders").prefix
    assert allowed(role, "s3:PutObject", f"{ARCHIVE}/ddbtrail/{prefix}segments/x")
