"""The stack is deployed, updated and deleted on MiniStack, as plain CloudFormation: what `make package` releases.

What MiniStack ignores or refuses, and where it is asserted instead: tests/infra/on_ministack.py. The function is not
invoked here: MiniStack runs it with its own Python, and this one has another. test_sam.py invokes the real one.
"""

import contextlib
import io
import zipfile

import pytest
import yaml
from botocore.exceptions import ClientError

from infra.cloudformation import plain_template, plain_text
from tests.infra.on_ministack import as_ministack_takes_it
from tests.system.parts import AwsEndpoint

STACK = "orders-trail"


@pytest.fixture
def aws(ministack_url):
    """A function that gives a client of a service; all are closed at the end."""
    server = AwsEndpoint(ministack_url)
    with contextlib.ExitStack() as clients:
        yield lambda service: clients.enter_context(contextlib.closing(server.client(service)))


@pytest.fixture
def stream_arn(aws):
    """The stream of a table that belongs to someone else."""
    dynamodb = aws("dynamodb")
    table = dynamodb.create_table(
        TableName="orders",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    yield table["LatestStreamArn"]
    dynamodb.delete_table(TableName="orders")


@pytest.fixture
def code_bucket(aws):
    """A bucket with a package in it: a stand-in, since nobody invokes it here."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        package.writestr("archiver/handler.py", "def archive(event, context):\n    raise NotImplementedError\n")
    s3 = aws("s3")
    s3.create_bucket(Bucket="code")
    for architecture in ("arm64", "x86_64"):
        for package in ("archiver", "compactor"):
            s3.put_object(Bucket="code", Key=f"v1/{package}-{architecture}.zip", Body=content.getvalue())
    return "code"


def template_for_ministack():
    """The released template, as text."""
    return plain_text(as_ministack_takes_it(yaml.safe_load(plain_template())))


class Stack:
    """One stack, and what became of it."""

    def __init__(self, cloudformation):
        self.api = cloudformation

    def deploy(self, kind, waiter, **parameters):
        given = [{"ParameterKey": name, "ParameterValue": str(value)} for name, value in parameters.items()]
        getattr(self.api, kind)(
            StackName=STACK, TemplateBody=template_for_ministack(), Parameters=given, Capabilities=["CAPABILITY_IAM"]
        )
        self._wait(waiter)

    def delete(self):
        self.api.delete_stack(StackName=STACK)
        self._wait("stack_delete_complete")

    def resources(self):
        """Physical ids by logical id."""
        found = self.api.describe_stack_resources(StackName=STACK)["StackResources"]
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}

    def outputs(self):
        (stack,) = self.api.describe_stacks(StackName=STACK)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def _wait(self, waiter):
        self.api.get_waiter(waiter).wait(StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def test_the_stack_is_deployed_updated_and_deleted_and_the_evidence_stays(aws, stream_arn, code_bucket):
    """The life of a stack in one test: each step stands on the one before."""
    stack, given = (
        Stack(aws("cloudformation")),
        {"StreamArn": stream_arn, "CodeBucket": code_bucket, "CodePrefix": "v1/"},
    )

    stack.deploy("create_stack", "stack_create_complete", **given)
    made, outputs = stack.resources(), stack.outputs()
    template = yaml.safe_load(template_for_ministack())
    expected = {name for name, body in template["Resources"].items() if body.get("Condition") != "Compacts"}
    assert set(made) == expected, "everything, with one parameter of its own"
    mapping = aws("lambda").get_event_source_mapping(UUID=made["StreamMapping"])
    assert mapping["EventSourceArn"] == stream_arn
    assert (mapping["BatchSize"], mapping["MaximumRecordAgeInSeconds"]) == (10_000, 43_200)
    assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": f"arn:aws:s3:::{made['OnFailure']}"}}
    function = aws("lambda").get_function_configuration(FunctionName=made["ArchiveFunction"])
    assert function["Architectures"] == ["arm64"]
    assert function["Environment"]["Variables"]["DDBTRAIL_ARCHIVE"] == f"s3://{made['Archive']}/ddbtrail"
    assert outputs["ArchiveUrl"] == f"s3://{made['Archive']}/ddbtrail"
    assert outputs["Next2ImportABaseline"] == f"ddbtrail baseline orders --scan -a s3://{made['Archive']}/ddbtrail"
    alarms = aws("cloudwatch").describe_alarms()["MetricAlarms"]
    assert len(alarms) == len([name for name in expected if name.endswith("Alarm")])
    sealer = aws("lambda").get_function_configuration(FunctionName=outputs["SealFunctionName"])
    assert sealer["Handler"] == "archiver.handler.seal"
    told = sealer["Environment"]["Variables"]
    assert told["DDBTRAIL_SEAL_TABLE"] == "000000000000/us-east-1/orders"
    assert told["DDBTRAIL_SIGNING_KEY"] == outputs["SigningKeyArn"]
    key = aws("kms").describe_key(KeyId=outputs["SigningKeyArn"])["KeyMetadata"]
    assert (key["KeySpec"], key["KeyUsage"], key["KeyState"]) == ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY", "Enabled")
    (target,) = aws("events").list_targets_by_rule(Rule=made["SealSchedule"])["Targets"]
    assert target["Arn"] == sealer["FunctionArn"]
    s3 = aws("s3")
    s3.put_object(Bucket=made["Archive"], Key="ddbtrail/v1/evidence", Body=b"of a change", IfNoneMatch="*")
    policy = s3.get_bucket_policy(Bucket=made["Archive"])["Policy"]

    changed = {"MemorySize": 1_024, "Architecture": "x86_64", "BatchingWindowSeconds": 120, "RetentionMode": "NONE"}
    stack.deploy("update_stack", "stack_update_complete", **given, **changed)
    assert stack.resources() == made, "an upgrade replaces nothing"
    function = aws("lambda").get_function_configuration(FunctionName=made["ArchiveFunction"])
    assert (function["MemorySize"], function["Architectures"]) == (1_024, ["x86_64"])
    assert aws("lambda").get_event_source_mapping(UUID=made["StreamMapping"])["MaximumBatchingWindowInSeconds"] == 120

    stack.deploy("update_stack", "stack_update_complete", **given, **changed, CreateCompaction="true")
    compacting = stack.resources()
    assert made.items() <= compacting.items(), "whoever asks for compaction later changes nothing else"
    assert compacting.keys() - made.keys() == template["Resources"].keys() - expected
    compactor = aws("lambda").get_function_configuration(FunctionName=stack.outputs()["CompactionFunctionName"])
    assert (compactor["Handler"], compactor["MemorySize"]) == ("query.compact_handler.compact", 3_538)
    assert compactor["EphemeralStorage"] == {"Size": 10_240}
    told = compactor["Environment"]["Variables"]
    assert told["DDBTRAIL_TABLES"] == "000000000000/us-east-1/orders"
    assert told["DDBTRAIL_DERIVED"] == stack.outputs()["DerivedUrl"] == f"s3://{made['Derived']}/ddbtrail"
    (target,) = aws("events").list_targets_by_rule(Rule=compacting["CompactionSchedule"])["Targets"]
    assert target["Arn"] == compactor["FunctionArn"]
    stack.deploy("update_stack", "stack_update_complete", **given, **changed)
    assert stack.resources() == made, "and whoever no longer does, neither"

    stack.delete()
    kept = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert {made["Archive"], made["Derived"], made["OnFailure"]} <= kept
    assert s3.get_object(Bucket=made["Archive"], Key="ddbtrail/v1/evidence")["Body"].read() == b"of a change"
    assert s3.get_bucket_policy(Bucket=made["Archive"])["Policy"] == policy, "its protection stays with it"
    for gone in (
        lambda: aws("lambda").get_function(FunctionName=made["ArchiveFunction"]),
        lambda: aws("lambda").get_event_source_mapping(UUID=made["StreamMapping"]),
        lambda: aws("iam").get_role(RoleName=made["ArchiveRole"]),
        lambda: aws("lambda").get_function(FunctionName=made["SealFunction"]),
        lambda: aws("events").describe_rule(Name=made["SealSchedule"]),
    ):
        with pytest.raises(ClientError, match=r"NoSuchEntity|ResourceNotFound|404|not found"):
            gone()
    assert aws("cloudwatch").describe_alarms()["MetricAlarms"] == []
    key = aws("kms").describe_key(KeyId=made["SigningKey"])["KeyMetadata"]
    assert key["KeyState"] == "Enabled", "without it no other stack could go on with the log"


def test_a_second_stack_takes_the_archive_of_the_first(aws, stream_arn, code_bucket):
    """After a removal, or for another table: the bucket is given, and neither made nor touched."""
    s3 = aws("s3")
    s3.create_bucket(Bucket="kept-archive")
    stack = Stack(aws("cloudformation"))
    given = {"StreamArn": stream_arn, "CodeBucket": code_bucket, "CodePrefix": "v1/", "ArchiveBucket": "kept-archive"}
    stack.deploy("create_stack", "stack_create_complete", **given)
    assert not {"Archive", "ArchivePolicy"} & stack.resources().keys()
    outputs = stack.outputs()
    assert outputs["ArchiveUrl"] == "s3://kept-archive/ddbtrail"
    assert "infra/archive-bucket-policy.json" in outputs["ArchiveBucketPolicy"]
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket="kept-archive")
    stack.delete()


def test_a_table_instead_of_a_stream_is_refused_before_anything_is_made(aws, code_bucket):
    """The likeliest mistake, and the constraint says so."""
    stack = Stack(aws("cloudformation"))
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
    with pytest.raises(ClientError, match="must be the ARN of a stream"):
        stack.deploy("create_stack", "stack_create_complete", StreamArn=arn, CodeBucket=code_bucket)
