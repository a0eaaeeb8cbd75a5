"""The stack for real, as whoever uses SAM gets it: `sam validate`, `sam build`, `sam deploy` onto MiniStack, which polls
the table's stream and runs the deployed zip. The answers are read back with the command line.

MiniStack runs the zip as a process of its own Python, so it is started from `.sam`, which has Lambda's (3.13). It stands
in for one shard and one container; it does not cut batches, bisect, or limit memory, and it logs what would be metrics.
What it refuses of the template, and what it takes and ignores: tests/infra/on_ministack.py.
"""

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.serialization import load_der_public_key

from archiver.format.seal import Seal, seal_name
from archiver.format.values import comparable_attributes
from archiver.signer import public_pem
from infra import build
from infra.cloudformation import FUNCTIONS, TEMPLATE, sam_template, sam_text
from tests.infra.on_ministack import as_ministack_takes_it
from tests.system import parts
from tests.system.test_package import HERE

# One worker deploys, where pytest-xdist keeps a group together.
pytestmark = [pytest.mark.ministack, pytest.mark.xdist_group("sam")]

SAM_FOLDER = parts.REPOSITORY / ".sam"
STACK = "orders-trail"
TABLE = "orders"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Machine:
    """Somebody's machine: the SAM CLI and ddbtrail on it, and the account that its settings point at."""

    environ: dict[str, str]
    home: Path

    def sam(self, *arguments):
        """What the SAM CLI said. It must succeed."""
        return self._run(SAM_FOLDER / "bin" / "sam", *arguments)

    def ddbtrail(self, *arguments, exit_codes=(0,)):
        """The rows of an answer."""
        program = Path(sys.executable).with_name("ddbtrail")
        printed = self._run(program, *arguments, "-o", "jsonl", exit_codes=exit_codes)
        return [json.loads(line) for line in printed.split("\n") if line]

    def code(self, *arguments):
        """The exit code of a command of ours; what it said is shown if a test fails."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ddbtrail")), *map(str, arguments)],
            env=self.environ,
            cwd=self.home,
            capture_output=True,
            text=True,
        )
        print(done.stdout[-3_000:], done.stderr[-3_000:])
        return done.returncode

    def typed(self, command):
        """A command of ours as it was printed. It must succeed."""
        name, *arguments = command.split()
        return self._run(Path(sys.executable).with_name(name), *arguments)

    def _run(self, program, *arguments, exit_codes=(0,)):
        done = subprocess.run(
            [str(program), *map(str, arguments)], env=self.environ, cwd=self.home, capture_output=True, text=True
        )
        assert done.returncode in exit_codes, (
            f"{program.name} {arguments}\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}"
        )
        return done.stdout


def machine_at(server, home):
    foreign = ("AWS_", "DDBTRAIL_", "PYTHON", "SAM_", "XDG_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    quiet = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "1"}
    return Machine({**own, **server.environ(), **quiet, "HOME": str(home)}, home)


@pytest.fixture(scope="module")
def sam_installed():
    if not (SAM_FOLDER / "bin" / "sam").exists():
        pytest.skip("the SAM CLI is not installed: it needs Python 3.13; install it with: make sam")


@contextlib.contextmanager
def account(**settings):
    """An AWS account of one's own: MiniStack on Lambda's Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDBTRAIL_EMULATORS", str(SAM_FOLDER))
        for name, value in settings.items():
            patch.setenv(name, value)
        with parts.ministack() as url:
            yield parts.AwsEndpoint(url)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The template of this machine's architecture beside its packages, as `make package` leaves them in build/."""
    folder = tmp_path_factory.mktemp("build")
    for kind in build.KINDS:
        build.build(HERE, folder, kind)
    (folder / f"sam-{HERE}.yaml").write_text(sam_text(HERE))
    return folder / f"sam-{HERE}.yaml"


def for_ministack(built, package="archiver", without=()):
    """The built template without what MiniStack refuses, and without these statements of the archive's policy."""
    template = as_ministack_takes_it(sam_template(built))
    document = template["Resources"]["ArchivePolicy"]["Properties"]["PolicyDocument"]
    assert set(without) <= {statement["Sid"] for statement in document["Statement"]}
    document["Statement"] = [statement for statement in document["Statement"] if statement["Sid"] not in without]
    for function in FUNCTIONS:
        code = template["Resources"][function]["Properties"]
        code["CodeUri"] = code["CodeUri"].replace("archiver", package)
    taken = built.with_name("for-ministack.yaml")
    taken.write_text(yaml.dump(template, Dumper=Plain, sort_keys=False))
    return taken


class Plain(yaml.SafeDumper):
    """Writes the translator's own dict and str types as what they are."""


Plain.add_multi_representer(dict, lambda dumper, value: dumper.represent_dict(value))
Plain.add_multi_representer(str, lambda dumper, value: dumper.represent_str(str(value)))


class Orders:
    """The table of somebody else, and every state that its writes have left."""

    def __init__(self, dynamodb):
        self.api, self.states, self.written = dynamodb, [{}], []
        table = dynamodb.create_table(
            TableName=TABLE,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.stream_arn = table["TableDescription"]["LatestStreamArn"]

    def put(self, key, **attributes):
        image = {"id": {"S": key}, **attributes}
        self.api.put_item(TableName=TABLE, Item=image)
        self._changed(key, image)

    def delete(self, key):
        self.api.delete_item(TableName=TABLE, Key={"id": {"S": key}})
        self._changed(key, None)

    def _changed(self, key, image):
        before, after = self.states[-1], {**self.states[-1], key: image}
        if image is None:
            del after[key]
        op = "REMOVE" if image is None else "MODIFY" if key in before else "INSERT"
        self.written.append((op, key))
        self.states.append(after)

    def some_writes(self, first, count):
        """Items that come, change and go; with what JSON, Parquet and floats would damage."""
        for number in range(first, first + count):
            self.put(f"o-{number}", n={"N": f"{number}.00000000000000000000000000001"}, b={"S": "hé\n\u2028😀"})
            if number % 2:
                self.put(f"o-{number}", tags={"SS": ["x", "y"]}, deep={"M": {"": {"L": [{"NULL": True}]}}})
            if number % 3 == 0:
                self.delete(f"o-{number}")


@dataclass(frozen=True)
class Trail:
    """What the archive answers about the table, asked with the command line."""

    machine: Machine
    url: str

    def arrives(self, orders, log):
        """Waits until as many changes are archived as were made; then they are the ones that were made, in order."""
        deadline = time.monotonic() + PATIENCE_S
        while (archived := sum(table["changes"] for table in self._ask("tables"))) < len(orders.written):
            assert time.monotonic() < deadline, f"{archived} of {len(orders.written)} archived\n{log()}"
            time.sleep(0.5)
        changes = self._ask("log", TABLE, "--since", "1d")[::-1]
        assert [(change["op"], change["item_key"]["id"]) for change in changes] == orders.written
        return changes

    def answers(self, orders, changes):
        """The table now, the table right after one change in the middle, and one item: as they were."""
        middle = len(changes) // 2
        for when, state in (
            ("now", orders.states[-1]),
            (f"@{changes[middle]['change_id']}", orders.states[middle + 1]),
        ):
            found = {row["item_key"]["id"]: row["image"] for row in self._ask("as-of", TABLE, when)}
            assert comparable(found) == comparable(state), when
        key = orders.written[-1][1]
        history = [version["op"] for version in self._ask("history", TABLE, key)]
        assert history[::-1] == [op for op, written in orders.written if written == key]

    def is_verified(self, pinned, head):
        """The exit code of a reviewer who pinned the public key and a checkpoint."""
        pins = ("--pinned-key", pinned, "--pinned-checkpoint", head)
        return self.machine.code("verify", TABLE, "-a", self.url, *pins)

    def _ask(self, command, *arguments):
        return self.machine.ddbtrail(command, *arguments, "-a", self.url)


def comparable(images):
    return {key: comparable_attributes(image) for key, image in images.items()}


@dataclass(frozen=True)
class Deployed:
    """The stack as it is now, asked through the account's own interfaces."""

    client: object

    def outputs(self):
        (stack,) = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def resources(self):
        found = self.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}

    def function(self):
        return self.client("lambda").get_function_configuration(FunctionName=self.resources()["ArchiveFunction"])

    def seal(self):
        """What the function that seals answers when it is called."""
        answer = self.client("lambda").invoke(FunctionName=self.outputs()["SealFunctionName"])
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    def public_key(self):
        """What a reviewer pins (PEM), as the stack's output says it is fetched."""
        told = self.client("kms").get_public_key(KeyId=self.outputs()["SigningKeyArn"])
        return public_pem(load_der_public_key(told["PublicKey"]))

    def mapping(self):
        return self.client("lambda").get_event_source_mapping(UUID=self.resources()["StreamMapping"])

    def log(self):
        """What the function has said, for a test that fails."""
        logs, group = self.client("logs"), self.resources()["ArchiveLogs"]
        streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        said = (
            event["message"]
            for stream in streams
            for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        )
        return "\n".join(said)


@contextlib.contextmanager
def machine_and_client(home, **settings):
    """An account, a machine that uses it, and a function that gives clients of it."""
    with account(**settings) as server, contextlib.ExitStack() as clients:
        yield (
            machine_at(server, home),
            lambda service: clients.enter_context(contextlib.closing(server.client(service))),
        )


def deploy(machine, template, **parameters):
    given = [f"{name}={value}" for name, value in parameters.items()]
    names = ["--stack-name", STACK, "--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"]
    return machine.sam("deploy", "--template", template, *names, "--parameter-overrides", *given)


def test_sam_finds_the_template_valid_and_lints_it(sam_installed, tmp_path):
    """The SAM CLI brings its own rules and its own translator, of other versions than the tests' ones."""
    machine = machine_at(parts.AwsEndpoint("http://127.0.0.1:9"), tmp_path)  # it must not need AWS for that
    assert "is a valid SAM Template" in machine.sam("validate", "--lint", "--template", TEMPLATE)


def test_sam_build_leaves_the_package_alone(sam_installed, built, tmp_path):
    """The package is built by us, reproducibly; `sam build`, which people type by habit, must not make another."""
    machine = machine_at(parts.AwsEndpoint("http://127.0.0.1:9"), tmp_path)
    out = tmp_path / ".aws-sam" / "build"
    machine.sam("build", "--template", built, "--build-dir", out)
    assert [path.name for path in out.iterdir()] == ["template.yaml"], "nothing was built"
    for function, name in FUNCTIONS.items():
        code = sam_template(out / "template.yaml")["Resources"][function]["Properties"]["CodeUri"]
        assert (out / code).resolve() == built.with_name(f"{name}-{HERE}.zip")


@pytest.mark.slowest  # it waits for a schedule
def test_the_stack_lives_on_sam_and_its_archive_outlives_it(sam_installed, built, tmp_path):
    """Deployed, written to, asked, upgraded, removed, deployed again on what was kept: each step stands on the one
    before. Every change is there once, and no object has a second version.
    """
    with machine_and_client(tmp_path) as (machine, client):
        orders, stack = Orders(client("dynamodb")), Deployed(client)
        orders.some_writes(0, 10)  # before there is a stack: TRIM_HORIZON reads what the stream still has

        printed = deploy(machine, for_ministack(built), StreamArn=orders.stream_arn, BatchingWindowSeconds=1)
        made, outputs = stack.resources(), stack.outputs()
        trail = Trail(machine, outputs["ArchiveUrl"])
        _, baseline, status = (value for name, value in sorted(outputs.items()) if name.startswith("Next"))
        assert "Next1AskTheDoctor" in printed, "SAM prints the outputs when it is done"
        assert stack.function()["Runtime"] == "python3.13"
        assert stack.function()["Architectures"] == [HERE]
        assert stack.function()["CodeSha256"] == sha256_of(built.with_name(f"archiver-{HERE}.zip"))
        trail.arrives(orders, stack.log)
        machine.typed(baseline)
        # 1: MiniStack's mapping says "OK - 19 records" of its last batch, where AWS says "OK", which is what status knows.
        (shown,) = machine.ddbtrail(*status.split()[1:], exit_codes=(0, 1))
        assert (shown["mapping_state"], shown["held_back_objects"]) == ("Enabled", 0)
        assert {found["check"] for found in shown["findings"] if found["result"] == "failed"} <= {"last-result"}
        assert stack.seal()["segment"] >= 1
        pinned, head = tmp_path / "orders.pub", tmp_path / "head"
        pinned.write_bytes(stack.public_key())
        head.write_bytes(newest_seal(client("s3"), made["Archive"]).checkpoint.compose())
        # As often as it may, to see it: the countdown begins again, and two steps on it has run out.
        every = {"Name": made["SealSchedule"], "ScheduleExpression": "rate(1 minute)", "State": "ENABLED"}
        client("events").put_rule(**every)
        called_at = time.monotonic()
        orders.some_writes(10, 20)
        trail.answers(orders, trail.arrives(orders, stack.log))

        upgrade_package(built)
        deploy(machine, for_ministack(built, "upgraded"), MemorySize=1_024)
        assert stack.resources() == made, "an upgrade replaces nothing"
        assert stack.function()["CodeSha256"] == sha256_of(built.with_name(f"upgraded-{HERE}.zip"))
        assert (stack.function()["MemorySize"], stack.mapping()["MaximumBatchingWindowInSeconds"]) == (1_024, 1)
        orders.some_writes(30, 10)
        changes = trail.arrives(orders, stack.log)
        size = newest_seal(client("s3"), made["Archive"]).after.size
        while (after := newest_seal(client("s3"), made["Archive"])).after.size == size:
            assert time.monotonic() - called_at < 60 + PATIENCE_S, "the schedule called nothing"
            time.sleep(1)
        assert after.size_before >= size
        assert stack.seal()["seals"] == 1
        assert trail.is_verified(pinned, head) == 0
        key = stack.outputs()["SigningKeyArn"]

        machine.sam("delete", "--stack-name", STACK, "--no-prompts")
        with pytest.raises(ClientError, match="ResourceNotFound"):
            client("lambda").get_function(FunctionName=made["ArchiveFunction"])
        trail.answers(orders, changes)
        kept = versions(client("s3"), made["Archive"])
        orders.some_writes(40, 5)  # nobody watches, the stream remembers

        deploy(
            machine,
            for_ministack(built),
            StreamArn=orders.stream_arn,
            BatchingWindowSeconds=1,
            ArchiveBucket=made["Archive"],
            SigningKeyArn=key,
        )
        assert stack.outputs()["ArchiveUrl"] == trail.url
        trail.answers(orders, trail.arrives(orders, stack.log))
        assert trail.is_verified(pinned, head) == 0, "what is not sealed yet is within its time"
        assert stack.seal()["segment"] >= 1, "the key outlived its stack, and the log goes on"
        assert trail.is_verified(pinned, head) == 0
        after = versions(client("s3"), made["Archive"])
        assert kept.items() <= after.items(), "what was archived is left alone"
        assert {len(found) for found in after.values()} == {1}, "and nothing was written a second time"


def test_the_function_works_with_its_own_role_which_reaches_no_further(sam_installed, built, tmp_path):
    """With signatures and policies enforced (AUTH), by an evaluator that is not the tests' own.

    Two statements of the archive's policy would refuse every put here: OnlyCreate, since MiniStack never fills the key
    `s3:if-none-match`, and OnlyTls, since it speaks HTTP. The second is put back to see it refuse. MiniStack compares
    aws:PrincipalArn with the session's ARN, where AWS gives the role's. So the break-glass role is not tried, and
    OnlySealerSeals, in the bucket's and in the key's policy, would refuse the sealer too: the first is left out, the
    second is seen to refuse it, and then the key's policy names the role as a principal.
    """
    with machine_and_client(tmp_path, AUTH="true") as (machine, client), contextlib.ExitStack() as clients:
        iam, orders, stack = client("iam"), Orders(client("dynamodb")), Deployed(client)
        trust, everything = policy("sts:AssumeRole", Principal="*"), policy("*", Resource="*")
        admin_arn = iam.create_role(RoleName="admin", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName="admin", PolicyName="everything", PolicyDocument=everything)
        deploy(
            machine,
            for_ministack(built, without={"OnlyCreate", "OnlyTls", "OnlySealerSeals"}),
            StreamArn=orders.stream_arn,
            BatchingWindowSeconds=1,
        )
        orders.some_writes(0, 10)
        made, outputs = stack.resources(), stack.outputs()
        Trail(machine, outputs["ArchiveUrl"]).arrives(orders, stack.log)

        with pytest.raises(AssertionError, match="kms:Sign"):
            stack.seal()
        let_sign(client("kms"), outputs["SigningKeyArn"], outputs["SealRoleArn"])
        assert stack.seal()["segment"] >= 1, "by its own role, which may read and list what it seals"
        function, admin, sealer = (
            clients.enter_context(contextlib.closing(as_role(client("sts"), arn)))
            for arn in (outputs["ArchiveRoleArn"], admin_arn, outputs["SealRoleArn"])
        )
        archive, trail = made["Archive"], "ddbtrail/v1/account=000000000000/region=us-east-1/table_name=orders"
        segment, *_ = (name for name in versions(client("s3"), archive) if "/segments/" in name)
        as_admin, as_archiver = (
            clients.enter_context(contextlib.closing(as_role(client("sts"), arn, "kms")))
            for arn in (admin_arn, outputs["ArchiveRoleArn"])
        )
        message = {"Message": b"a forged head", "MessageType": "RAW", "SigningAlgorithm": "ED25519_SHA_512"}
        for signer in (as_admin, as_archiver):
            with pytest.raises(ClientError, match="AccessDenied"):
                signer.sign(KeyId=outputs["SigningKeyArn"], **message)
        assert as_admin.get_public_key(KeyId=outputs["SigningKeyArn"])["KeySpec"] == "ECC_NIST_EDWARDS25519"
        for refused in (
            lambda: function.list_objects_v2(Bucket=archive),
            lambda: function.get_object(Bucket=archive, Key=segment),
            lambda: function.delete_object(Bucket=archive, Key=segment),
            lambda: function.put_object(Bucket=archive, Key=f"{trail}/seals/x", Body=b""),
            lambda: function.put_object(Bucket=archive, Key=segment.replace("orders", "customers"), Body=b""),
            lambda: function.put_object(Bucket=made["Derived"], Key="x", Body=b""),
            lambda: function.list_objects_v2(Bucket=made["Derived"]),
            lambda: function.get_object(Bucket=made["OnFailure"], Key="aws/lambda/x"),
            lambda: admin.delete_object(Bucket=archive, Key=segment),
            lambda: sealer.delete_object(Bucket=archive, Key=f"{trail}/{seal_name(0)}"),
            lambda: sealer.put_object(Bucket=archive, Key=segment, Body=b""),
            lambda: sealer.put_object(Bucket=archive, Key=f"{trail}/quarantine/x", Body=b""),
            lambda: sealer.put_object(Bucket=archive, Key=f"{trail.replace('orders', 'others')}/seals/x", Body=b""),
            lambda: sealer.get_object(Bucket=archive, Key=segment.replace("orders", "customers")),
            lambda: sealer.list_objects_v2(Bucket=made["OnFailure"]),
            lambda: sealer.get_object(Bucket=made["OnFailure"], Key="aws/lambda/x"),
            lambda: function.put_object(Bucket=archive, Key=f"{trail}/{seal_name(0)}", Body=b""),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                refused()
        assert admin.get_object(Bucket=archive, Key=segment)["ContentLength"] > 0
        function.put_object(Bucket=archive, Key=f"{trail}/quarantine/x", Body=b"")  # its credentials are good
        assert sealer.get_object(Bucket=archive, Key=segment)["ContentLength"] > 0
        sealer.put_object(Bucket=archive, Key=f"{trail}/seals/x", Body=b"")

        shipped = sam_template(built)["Resources"]["ArchivePolicy"]["Properties"]["PolicyDocument"]["Statement"]
        (tls,) = (statement for statement in shipped if statement["Sid"] == "OnlyTls")
        tls = {**tls, "Resource": [f"arn:aws:s3:::{archive}", f"arn:aws:s3:::{archive}/*"]}
        kept = json.loads(client("s3").get_bucket_policy(Bucket=archive)["Policy"])
        client("s3").put_bucket_policy(
            Bucket=archive, Policy=json.dumps({**kept, "Statement": [*kept["Statement"], tls]})
        )
        with pytest.raises(ClientError, match="explicit deny in a resource-based policy"):
            function.put_object(Bucket=archive, Key=f"{trail}/segments/x", Body=b"")


def let_sign(kms, key, role_arn):
    """The key's policy with the role itself as the principal, in place of the account under a condition."""
    shipped = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    (signs,) = (statement for statement in shipped["Statement"] if statement["Sid"] == "OnlySealerSigns")
    assert signs.pop("Condition") == {"ArnEquals": {"aws:PrincipalArn": role_arn}}
    signs["Principal"] = {"AWS": role_arn}
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(shipped))


def newest_seal(s3, bucket):
    """The last seal of the table's log."""
    *_, name = sorted(name for name in versions(s3, bucket) if "/seals/" in name)
    return Seal.parse(s3.get_object(Bucket=bucket, Key=name)["Body"].read())


def policy(action, **more):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, **more}]})


def as_role(sts, arn, service="s3"):
    """A client of somebody who has assumed the role."""
    given = sts.assume_role(RoleArn=arn, RoleSessionName="somebody")["Credentials"]
    return boto3.client(
        service,
        endpoint_url=sts.meta.endpoint_url,
        region_name=parts.REGION,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        config=Config(s3={"addressing_style": "path"}),
    )


def sha256_of(package):
    """As Lambda says it."""
    return base64.b64encode(hashlib.sha256(package.read_bytes()).digest()).decode()


def upgrade_package(built):
    """The next release: another package, of which one file is enough to know it by."""
    package, upgraded = (built.with_name(f"{name}-{HERE}.zip") for name in ("archiver", "upgraded"))
    upgraded.write_bytes(package.read_bytes())
    with zipfile.ZipFile(upgraded, "a") as archive:
        archive.writestr("archiver/upgraded.txt", "of the next release\n")


def versions(s3, bucket):
    """Names, and the versions of each."""
    found = {}
    for version in s3.list_object_versions(Bucket=bucket)["Versions"]:
        found.setdefault(version["Key"], []).append(version["VersionId"])
    return found
