"""The sealer in the template: nobody else signs or puts a seal, it does nothing else, and it is called, watched and kept.

Each promise is a function of a template, so that the same promises are asked of templates with one thing changed for the
worse: a promise that nothing breaks is none.
"""

from collections.abc import Callable
from typing import Any

import pytest

from archiver.format.layout import Trail
from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from infra.cloudformation import FUNCTIONS, sam_template
from tests.archiving.batches import CHANGED_AT_S, record
from tests.infra.resolved import Resolved, allowed, denied
from tests.infra.test_template import ARCHIVE, BREAK_GLASS, EVIDENCE, KEY, SOMEBODY, STREAM, TABLE, TRAIL
from tests.system.test_package import PEAK_BYTES_MAX

ROLES = "arn:aws:iam::111122223333:role"
SEALER, ARCHIVER = f"{ROLES}/trail-sealrole", f"{ROLES}/trail-archiverole"
OPERATOR = f"{ROLES}/auditors"
SEAL = f"{EVIDENCE}/seals/00000000000000000000.json"
OWN_KEY = "arn:aws:kms:eu-west-1:111122223333:key/trail-signingkey"
SIGNING_KEY = "arn:aws:kms:eu-west-1:444455556666:key/abcd"
SECURE = {"secure": "true", "creates": "true", "if_none_match": "*"}
ACTIONS = {
    *("s3:GetObject", "s3:ListBucket", "s3:PutObject", "kms:Decrypt", "kms:GenerateDataKey", "kms:Sign"),
    *("kms:GetPublicKey", "logs:CreateLogStream", "logs:PutLogEvents"),
}


@pytest.fixture(scope="module")
def template():
    return sam_template()


def made(template, **parameters):
    return Resolved(template, StreamArn=STREAM, **parameters)


# --- The promises ---


def only_the_sealer_puts_seals(template):
    """By its own role's rights, and by the bucket's policy whoever else has them: an administrator, the archiver."""
    stack = made(template, BreakGlassRoleArn=BREAK_GLASS)
    assert allowed(stack.role("SealRole"), "s3:PutObject", SEAL)
    assert not allowed(stack.role("ArchiveRole"), "s3:PutObject", SEAL)
    policy = stack.bucket_policy("ArchivePolicy")
    for principal in (SOMEBODY, ARCHIVER, BREAK_GLASS, f"{SEALER}-2"):
        assert denied(policy, "s3:PutObject", SEAL, principal=principal, **SECURE)
    assert not denied(policy, "s3:PutObject", SEAL, principal=SEALER, **SECURE)
    assert not denied(policy, "s3:PutObject", f"{EVIDENCE}/segments/x", principal=ARCHIVER, **SECURE)
    other = SEAL.replace("table_name=orders", "table_name=customers")
    assert not denied(policy, "s3:PutObject", other, principal=SOMEBODY, **SECURE), "that one is its own stack's"


def nobody_deletes_or_replaces_a_seal(template):
    """Not the sealer either: a log that can lose its end has none."""
    stack = made(template, BreakGlassRoleArn=BREAK_GLASS)
    policy = stack.bucket_policy("ArchivePolicy")
    for action in (
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:PutObjectRetention",
        "s3:BypassGovernanceRetention",
    ):
        assert not allowed(stack.role("SealRole"), action, SEAL)
        assert denied(policy, action, SEAL, principal=SEALER, secure="true")
    assert denied(policy, "s3:PutObject", SEAL, principal=SEALER, secure="true", creates="true"), (
        "without If-None-Match"
    )


def the_sealer_does_these_things_and_no_others(template):
    """Also with every optional parameter given."""
    stack = made(template, KmsKeyArn=KEY, ArchiveBucket="audit", SigningKeyArn=SIGNING_KEY)
    statements = stack.role("SealRole")
    assert {action for statement in statements for action in statement.actions} == ACTIONS
    assert all(statement.effect == "Allow" for statement in statements)
    stars = sorted(
        pattern for statement in made(template).role("SealRole") for pattern in statement.resources if "*" in pattern
    )
    assert stars == sorted(
        [
            f"{EVIDENCE}/*",
            f"{ARCHIVE}/ddbtrail/v1/quarantine/*",
            f"{EVIDENCE}/seals/*",
            "arn:aws:logs:eu-west-1:111122223333:log-group:trail-seallogs:*",
        ]
    )
    role = made(template).role("SealRole")
    for folder in ("segments", "streams", "late", "quarantine", "baselines", "seal"):
        assert not allowed(role, "s3:PutObject", f"{EVIDENCE}/{folder}/x")
    assert not allowed(role, "s3:GetObject", f"{ARCHIVE}/ddbtrail/{TRAIL.replace('orders', 'orders2')}/segments/x")
    for action in ("dynamodb:GetRecords", "dynamodb:DescribeStream", "dynamodb:DescribeTable", "dynamodb:Scan"):
        assert not allowed(role, action, STREAM)
        assert not allowed(role, action, TABLE)
    for bucket in ("trail-onfailure", "trail-derived"):
        for action in ("s3:ListBucket", "s3:GetObject", "s3:PutObject"):
            assert not allowed(role, action, f"arn:aws:s3:::{bucket}")
            assert not allowed(role, action, f"arn:aws:s3:::{bucket}/x")


def only_the_sealer_signs(template):
    """Key policy and IAM both: an administrator with every right in IAM still cannot, nor make somebody who can."""
    stack = made(template)
    assert allowed(stack.role("SealRole"), "kms:Sign", OWN_KEY)
    assert allowed(stack.role("SealRole"), "kms:GetPublicKey", OWN_KEY)
    assert not allowed(stack.role("SealRole"), "kms:Sign", KEY), "that one key"
    assert not [
        statement for statement in stack.role("ArchiveRole") if any("kms" in action for action in statement.actions)
    ]
    policy = stack.key_policy("SigningKey")
    assert allowed(policy, "kms:Sign", OWN_KEY, principal=SEALER)
    for action in ("kms:Sign", "kms:CreateGrant", "kms:DeriveSharedSecret", "kms:ReplicateKey"):
        assert not allowed(policy, action, OWN_KEY, principal=SOMEBODY)
        assert not allowed(policy, action, OWN_KEY, principal=ARCHIVER)
    for action in ("kms:PutKeyPolicy", "kms:DescribeKey", "kms:GetPublicKey", "kms:CancelKeyDeletion", "kms:EnableKey"):
        assert allowed(policy, action, OWN_KEY, principal=SOMEBODY), "nobody could mend, or see, the key"


def the_key_outlives_the_stack(template):
    """Deleting a stack by mistake must leave 30 days, and a new stack must be able to go on with the key."""
    key = template["Resources"]["SigningKey"]
    assert (key.get("DeletionPolicy"), key.get("UpdateReplacePolicy")) == ("Retain", "Retain")
    assert key["Properties"]["PendingWindowInDays"] == 30
    assert key["Properties"]["KeyUsage"] == "SIGN_VERIFY"
    spec = template["Parameters"]["SigningKeySpec"]
    assert (spec["Default"], spec["AllowedValues"]) == (
        "ECC_NIST_EDWARDS25519",
        ["ECC_NIST_EDWARDS25519", "ECC_NIST_P256"],
    )


def a_given_key_is_used_and_none_is_made(template):
    """Of another account, say: then that account's policy has its say too."""
    stack = made(template, SigningKeyArn=SIGNING_KEY)
    assert not stack.of_type("AWS::KMS::Key")
    assert allowed(stack.role("SealRole"), "kms:Sign", SIGNING_KEY)
    assert not allowed(stack.role("SealRole"), "kms:Sign", OWN_KEY)
    assert stack.outputs["SigningKeyArn"]["Value"] == SIGNING_KEY
    assert made(template).outputs["SigningKeyArn"]["Value"] == OWN_KEY


def the_role_is_taken_by_lambda_and_by_the_operator_who_was_named(template):
    """Acknowledging and rotating are done by people, under this role, or nobody could."""
    by_lambda = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    by_operator = {"Effect": "Allow", "Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"}
    for given, expected in (("", [by_lambda]), (OPERATOR, [by_lambda, by_operator])):
        role = made(template, SealOperatorRoleArn=given).properties("SealRole")
        assert role["AssumeRolePolicyDocument"]["Statement"] == expected
        assert role.keys() == {"AssumeRolePolicyDocument", "Policies"}, "no managed policies"


def the_function_is_what_the_package_holds_and_knows_its_trail(template):
    """Handler, key, table and archive as the code reads them; the same package and settings as the archiver's."""
    stack = made(template)
    function, archiver = (stack.properties(name) for name in ("SealFunction", "ArchiveFunction"))
    assert function["Handler"] == "archiver.handler.seal"
    for setting in ("CodeUri", "Runtime", "Architectures"):
        assert function[setting] == archiver[setting], setting
    assert function["Role"] == SEALER
    variables = function["Environment"]["Variables"]
    assert variables["DDBTRAIL_ARCHIVE"] == archiver["Environment"]["Variables"]["DDBTRAIL_ARCHIVE"]
    assert variables["DDBTRAIL_SEAL_TABLE"] == "111122223333/eu-west-1/orders"
    assert variables["DDBTRAIL_SIGNING_KEY"] == OWN_KEY
    assert function["MemorySize"] * 1024**2 >= 2 * PEAK_BYTES_MAX, "half is left to what differs from the measurement"
    assert function["Timeout"] == 900, "the first sealing of an old archive takes long"
    assert "ReservedConcurrentExecutions" not in function, "an account with a quota of 10 could not deploy"
    assert function["LoggingConfig"] == {"LogGroup": "trail-seallogs"}


def the_function_is_called_by_the_schedule_and_tried_again(template):
    """A rule that may not call, or calls something else, is a log that ends without anybody noticing for two hours."""
    stack = made(template)
    schedule = stack.properties("SealSchedule")
    assert (schedule["ScheduleExpression"], schedule["State"]) == ("rate(15 minutes)", "ENABLED")
    (target,) = schedule["Targets"]
    assert target["Arn"] == "arn:aws:lambda:eu-west-1:111122223333:function:trail-sealfunction"
    assert target["RetryPolicy"]["MaximumRetryAttempts"] >= 1
    assert stack.properties("SealPermission") == {
        "FunctionName": "trail-sealfunction",
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/trail-sealschedule",
    }, "this rule and no other"
    retries = stack.properties("SealRetries")
    assert (retries["FunctionName"], retries["Qualifier"]) == ("trail-sealfunction", "$LATEST")
    assert retries["MaximumRetryAttempts"] >= 1
    assert retries["MaximumEventAgeInSeconds"] <= 15 * 60, "the next call is as good"
    every = template["Parameters"]["SealEveryMinutes"]
    assert every["Default"] == 15
    assert every["MinValue"] >= 2, "rate(1 minutes) is refused"
    assert template["Resources"]["SealSchedule"].get("DependsOn") == "SealSigns"


def alarms_see_every_call(template):
    """A window shorter than the time between two calls would end with each of them, or never see two failures."""
    stack, longest_s = made(template), template["Parameters"]["SealEveryMinutes"]["MaxValue"] * 60
    alarms = {name: stack.properties(name) for name in ("SealAgeAlarm", "SealErrorsAlarm", "RefusedAlarm")}
    windows = {name: alarm["Period"] * alarm["EvaluationPeriods"] for name, alarm in alarms.items()}
    assert windows["SealAgeAlarm"] == 2 * 3_600
    assert min(windows.values()) >= longest_s
    tries = 1 + stack.properties("SealRetries")["MaximumRetryAttempts"]
    assert tries * windows["SealErrorsAlarm"] // longest_s > alarms["SealErrorsAlarm"]["Threshold"], (
        "a total failure rings"
    )


PROMISES: list[Callable[[dict[str, Any]], None]] = [
    only_the_sealer_puts_seals,
    nobody_deletes_or_replaces_a_seal,
    the_sealer_does_these_things_and_no_others,
    only_the_sealer_signs,
    the_key_outlives_the_stack,
    a_given_key_is_used_and_none_is_made,
    the_role_is_taken_by_lambda_and_by_the_operator_who_was_named,
    the_function_is_what_the_package_holds_and_knows_its_trail,
    the_function_is_called_by_the_schedule_and_tried_again,
    alarms_see_every_call,
]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_template_keeps_its_promise(template, promise):
    """As the promise says."""
    promise(template)


# --- Templates with one thing changed for the worse ---


def properties(template, name):
    return template["Resources"][name]["Properties"]


def statement(template, resource, sid):
    """A statement, also one that stands under a condition."""
    body = properties(template, resource)
    documents = [body.get("PolicyDocument"), body.get("KeyPolicy")]
    documents += [policy["PolicyDocument"] for policy in body.get("Policies", ())]
    found = [one.get("Fn::If", [None, one])[1] for document in documents if document for one in document["Statement"]]
    (wanted,) = (one for one in found if one["Sid"] == sid)
    return wanted


def removed(resource, sid):
    def change(template):
        document = properties(template, resource)["PolicyDocument"]["Statement"]
        document[:] = [one for one in document if one["Sid"] != sid]

    return change


def of_statement(resource, sid, **members):
    return lambda template: statement(template, resource, sid).update(members)


def more(resource, sid, member, *values):
    def change(template):
        found = statement(template, resource, sid)
        present = found[member] if isinstance(found[member], list) else [found[member]]
        found[member] = [*present, *values]

    return change


def of_resource(resource, **settings):
    return lambda template: properties(template, resource).update(settings)


def without(resource, setting):
    return lambda template: properties(template, resource).pop(setting)


def of_variables(**variables):
    return lambda template: properties(template, "SealFunction")["Environment"]["Variables"].update(variables)


def of_parameter(name, **settings):
    return lambda template: template["Parameters"][name].update(settings)


def not_retained(template):
    del template["Resources"]["SigningKey"]["DeletionPolicy"]


def not_retained_when_replaced(template):
    template["Resources"]["SigningKey"]["UpdateReplacePolicy"] = "Delete"


def at_once(template):
    del template["Resources"]["SealSchedule"]["DependsOn"]


def trusted(principal):
    return lambda template: properties(template, "SealRole")["AssumeRolePolicyDocument"]["Statement"].append(
        {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    )


def archiver_arn(condition):
    return {condition: {"aws:PrincipalArn": {"Fn::GetAtt": ["ArchiveRole", "Arn"]}}}


def archiver_signs(template):
    properties(template, "SealSigns")["Roles"].append({"Ref": "ArchiveRole"})


WORSE = [
    (only_the_sealer_puts_seals, removed("ArchivePolicy", "OnlySealerSeals")),
    (
        only_the_sealer_puts_seals,
        of_statement("ArchivePolicy", "OnlySealerSeals", Condition=archiver_arn("ArnNotEquals")),
    ),
    (only_the_sealer_puts_seals, of_statement("ArchivePolicy", "OnlySealerSeals", Effect="Allow")),
    (only_the_sealer_puts_seals, of_statement("ArchivePolicy", "OnlySealerSeals", Action="s3:GetObject")),
    (only_the_sealer_puts_seals, of_statement("ArchivePolicy", "OnlySealerSeals", Condition={})),
    (only_the_sealer_puts_seals, more("ArchivePolicy", "OnlySealerSeals", "Resource", {"Fn::Sub": "${Archive.Arn}/*"})),
    (only_the_sealer_puts_seals, of_statement("SealRole", "PutSeals", Resource="arn:aws:s3:::other/*")),
    (only_the_sealer_puts_seals, more("ArchiveRole", "PutEvidence", "Resource", {"Fn::Sub": "${Archive.Arn}/*"})),
    (nobody_deletes_or_replaces_a_seal, removed("ArchivePolicy", "NobodyDeletes")),
    (nobody_deletes_or_replaces_a_seal, removed("ArchivePolicy", "OnlyCreate")),
    (nobody_deletes_or_replaces_a_seal, more("SealRole", "PutSeals", "Action", "s3:DeleteObject")),
    (the_sealer_does_these_things_and_no_others, more("SealRole", "ReadEvidence", "Action", "s3:GetObjectVersion")),
    (
        the_sealer_does_these_things_and_no_others,
        more("SealRole", "PutSeals", "Resource", {"Fn::Sub": "${Archive.Arn}/*"}),
    ),
    (the_sealer_does_these_things_and_no_others, of_statement("SealRole", "ReadEvidence", Resource="*")),
    (
        the_sealer_does_these_things_and_no_others,
        more("SealRole", "ListTheArchive", "Resource", {"Fn::GetAtt": ["OnFailure", "Arn"]}),
    ),
    (the_sealer_does_these_things_and_no_others, of_statement("SealSigns", "SignSeals", Action="kms:*")),
    (only_the_sealer_signs, archiver_signs),
    (only_the_sealer_signs, of_statement("SealSigns", "SignSeals", Resource="*")),
    (only_the_sealer_signs, of_statement("SealSigns", "SignSeals", Action="kms:GetPublicKey")),
    (only_the_sealer_signs, of_statement("SigningKey", "OnlySealerSigns", Condition={})),
    (only_the_sealer_signs, of_statement("SigningKey", "OnlySealerSigns", Condition=archiver_arn("ArnEquals"))),
    (only_the_sealer_signs, of_statement("SigningKey", "AccountManages", Action="kms:*")),
    (only_the_sealer_signs, more("SigningKey", "AccountManages", "Action", "kms:CreateGrant")),
    (only_the_sealer_signs, of_statement("SigningKey", "AccountManages", Action="kms:Describe*")),
    (only_the_sealer_signs, of_statement("SigningKey", "OnlySealerSigns", Principal="*")),
    (the_key_outlives_the_stack, not_retained),
    (the_key_outlives_the_stack, not_retained_when_replaced),
    (the_key_outlives_the_stack, of_resource("SigningKey", PendingWindowInDays=7)),
    (the_key_outlives_the_stack, of_resource("SigningKey", KeyUsage="ENCRYPT_DECRYPT")),
    (the_key_outlives_the_stack, of_parameter("SigningKeySpec", AllowedValues=["RSA_2048"])),
    (
        a_given_key_is_used_and_none_is_made,
        of_statement("SealSigns", "SignSeals", Resource={"Fn::GetAtt": ["SigningKey", "Arn"]}),
    ),
    (a_given_key_is_used_and_none_is_made, lambda template: template["Resources"]["SigningKey"].pop("Condition")),
    (the_role_is_taken_by_lambda_and_by_the_operator_who_was_named, trusted({"AWS": "*"})),
    (the_role_is_taken_by_lambda_and_by_the_operator_who_was_named, trusted({"Service": "ec2.amazonaws.com"})),
    (
        the_role_is_taken_by_lambda_and_by_the_operator_who_was_named,
        of_resource("SealRole", ManagedPolicyArns=["arn:aws:iam::aws:policy/AmazonS3FullAccess"]),
    ),
    (
        the_function_is_what_the_package_holds_and_knows_its_trail,
        of_resource("SealFunction", Handler="archiver.handler.archive"),
    ),
    (the_function_is_what_the_package_holds_and_knows_its_trail, of_resource("SealFunction", Runtime="python3.12")),
    (
        the_function_is_what_the_package_holds_and_knows_its_trail,
        of_resource("SealFunction", Role={"Fn::GetAtt": ["ArchiveRole", "Arn"]}),
    ),
    (the_function_is_what_the_package_holds_and_knows_its_trail, of_resource("SealFunction", MemorySize=256)),
    (the_function_is_what_the_package_holds_and_knows_its_trail, of_resource("SealFunction", Timeout=30)),
    (
        the_function_is_what_the_package_holds_and_knows_its_trail,
        of_resource("SealFunction", ReservedConcurrentExecutions=1),
    ),
    (the_function_is_what_the_package_holds_and_knows_its_trail, of_variables(DDBTRAIL_SEAL_TABLE="orders")),
    (the_function_is_what_the_package_holds_and_knows_its_trail, of_variables(DDBTRAIL_ARCHIVE="s3://other")),
    (the_function_is_called_by_the_schedule_and_tried_again, of_resource("SealSchedule", State="DISABLED")),
    (
        the_function_is_called_by_the_schedule_and_tried_again,
        of_resource("SealSchedule", ScheduleExpression="rate(1 day)"),
    ),
    (the_function_is_called_by_the_schedule_and_tried_again, without("SealPermission", "SourceArn")),
    (
        the_function_is_called_by_the_schedule_and_tried_again,
        of_resource("SealPermission", FunctionName={"Ref": "ArchiveFunction"}),
    ),
    (the_function_is_called_by_the_schedule_and_tried_again, of_resource("SealRetries", MaximumRetryAttempts=0)),
    (
        the_function_is_called_by_the_schedule_and_tried_again,
        of_resource("SealRetries", MaximumEventAgeInSeconds=21_600),
    ),
    (the_function_is_called_by_the_schedule_and_tried_again, of_parameter("SealEveryMinutes", MinValue=1)),
    (the_function_is_called_by_the_schedule_and_tried_again, at_once),
    (alarms_see_every_call, of_parameter("SealEveryMinutes", MaxValue=60)),
    (alarms_see_every_call, of_resource("RefusedAlarm", Period=300)),
    (alarms_see_every_call, of_resource("SealAgeAlarm", Period=86_400)),
    (alarms_see_every_call, of_resource("SealErrorsAlarm", Threshold=2)),
    (alarms_see_every_call, of_resource("SealRetries", MaximumRetryAttempts=0)),
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


# --- The role, asked about what the sealer really does ---


class Watched:
    """A store that keeps a list of what it was asked."""

    def __init__(self, store):
        self.store, self.asked = store, set()

    def put_if_absent(self, name, content):
        self.asked.add(("s3:PutObject", name))
        return self.store.put_if_absent(name, content)

    def get(self, name):
        self.asked.add(("s3:GetObject", name))
        return self.store.get(name)

    def list(self, prefix, start_after=""):
        self.asked.add(("s3:ListBucket", ""))
        return self.store.list(prefix, start_after)


def test_the_role_may_do_all_that_the_sealer_does(template, tmp_path):
    """The real requests of two sealings: segments, descriptions, quarantine of both kinds, and its own seals again."""
    store = FolderStore(tmp_path / "archive")
    create_key(tmp_path / "key")
    without_key = record(9, arn=STREAM)
    del without_key["dynamodb"]["Keys"]
    now_ms = (CHANGED_AT_S + 3 * 86_400) * 1_000
    batch = [record(1, arn=STREAM), without_key, "not even a record"]
    Writer(store, Streams(key_schema={"orders": ("id",)})).archive(batch, now_ms=now_ms)
    signer, watched = load_signer(tmp_path / "key"), Watched(store)
    for later_ms in (0, 900_000):
        sealing = Sealer(watched, Trail("111122223333", "eu-west-1", "orders"), signer).seal(now_ms + later_ms)
        assert not sealing.refused
    role = made(template).role("SealRole")
    refused = [
        (action, name)
        for action, name in watched.asked
        if not allowed(role, action, f"{ARCHIVE}/ddbtrail/{name}" if name else ARCHIVE)
    ]
    assert refused == []
    assert {action for action, _ in watched.asked} == {"s3:PutObject", "s3:GetObject", "s3:ListBucket"}
    read = {name.removeprefix(f"{TRAIL}/").split("/")[0] for action, name in watched.asked if action == "s3:GetObject"}
    assert read == {"segments", "streams", "quarantine", "seals", "v1"}


def test_a_key_of_ones_own_is_used_through_s3_only(template):
    """To read segments it must decrypt; not for anybody's mail."""
    role = made(template, KmsKeyArn=KEY).role("SealRole")
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert allowed(role, action, KEY, via="s3.eu-west-1.amazonaws.com")
        assert not allowed(role, action, KEY, via="dynamodb.eu-west-1.amazonaws.com")
        assert not allowed(made(template).role("SealRole"), action, KEY, via="s3.eu-west-1.amazonaws.com")


def test_every_function_is_known_to_the_build():
    """Each gets its package; another one would be deployed with a path of this repository."""
    functions = {
        name for name, body in sam_template()["Resources"].items() if body["Type"] == "AWS::Serverless::Function"
    }
    assert functions == set(FUNCTIONS)
