"""Which function seals a trail, what calls it, and what is made of answers that are partial; botocore's Stubber answers."""

import boto3
import pytest
from botocore.stub import Stubber

from archiver.format.layout import Trail
from query.operate.answers import Missing, Unknown
from query.operate.aws import Asker
from query.operate.sealing import sealing_of
from tests.operating import right

TRAIL = Trail("111122223333", "eu-west-1", "orders")
FOREIGN = {"FunctionName": "app", "Handler": "app.handler"}


def sealer(name="orders-seal", handler="archiver.handler.seal", **variables):
    """A function that was told to seal, as ListFunctions gives it."""
    told = right.sealer()["Environment"]["Variables"] | variables
    return right.sealer() | {"FunctionName": name, "Handler": handler, "Environment": {"Variables": told}}


@pytest.fixture
def stubs(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    clients = {name: boto3.client(name, region_name="eu-west-1") for name in ("lambda", "events", "kms", "iam")}
    made = {name: Stubber(client) for name, client in clients.items()}
    for stub in made.values():
        stub.activate()
    made["clients"] = clients
    return made


def asked(stubs, archive_url=right.ARCHIVE, archiver_role=None):
    asker = {name: Asker(client) for name, client in stubs["clients"].items()}
    regions = []

    def kms(region):
        regions.append(region)
        return asker["kms"]

    sealing = sealing_of(
        asker["lambda"],
        lambda: asker["events"],
        kms,
        lambda: asker["iam"],
        trail=TRAIL,
        archive_url=archive_url,
        archiver_role=archiver_role,
    )
    for name in ("lambda", "events", "kms", "iam"):
        stubs[name].assert_no_pending_responses()
    return sealing, regions


def listed(stubs, *pages):
    for number, functions in enumerate(pages):
        request = {} if number == 0 else {"Marker": f"{number}"}
        more = {"NextMarker": f"{number + 1}"} if number + 1 < len(pages) else {}
        stubs["lambda"].add_response("list_functions", {"Functions": functions} | more, request)


def no_schedule(stubs):
    stubs["events"].add_response("list_rule_names_by_target", {"RuleNames": []}, {"TargetArn": right.SEALER_ARN})


def no_key(stubs):
    for operation in ("describe_key", "get_public_key"):
        stubs["kms"].add_client_error(operation, "NotFoundException", expected_params={"KeyId": right.SIGNING_KEY_ARN})


def simulated(stubs, role, actions, resource, decision="allowed"):
    given = [
        {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for name, value in (
            ("s3:ResourceAccount", "111122223333"),
            ("kms:ViaService", "s3.eu-west-1.amazonaws.com"),
            ("s3:if-none-match", "*"),
        )
    ]
    results = [{"EvalActionName": action, "EvalDecision": decision} for action in actions]
    stubs["iam"].add_response(
        "simulate_principal_policy",
        {"EvaluationResults": results},
        {"PolicySourceArn": role, "ActionNames": actions, "ResourceArns": [resource], "ContextEntries": given},
    )


def test_everything_about_the_sealer_is_asked(stubs):
    """On whatever page it stands; the key in its own region; both roles about the key and about the trail's seals."""
    other = sealer("customers-seal", DDBTRAIL_SEAL_TABLE="111122223333/eu-west-1/customers")
    listed(stubs, [FOREIGN, other], [sealer()])
    rule = {"Name": "every", "State": "ENABLED", "ScheduleExpression": "rate(15 minutes)"}
    stubs["events"].add_response("list_rule_names_by_target", {"RuleNames": ["every"]}, {"TargetArn": right.SEALER_ARN})
    stubs["events"].add_response("describe_rule", rule, {"Name": "every"})
    key = {"KeyMetadata": {"KeyId": "x", "KeyState": "Enabled"}}
    stubs["kms"].add_response("describe_key", key, {"KeyId": right.SIGNING_KEY_ARN})
    stubs["kms"].add_response("get_public_key", {"PublicKey": b"DER"}, {"KeyId": right.SIGNING_KEY_ARN})
    trail = f"arn:aws:s3:::acme-audit/ddbtrail/{TRAIL.prefix}"
    seal = f"{trail}seals/00000000000000000000.json"
    archiver = "arn:aws:iam::111122223333:role/orders-trail"
    simulated(stubs, right.SEAL_ROLE_ARN, ["kms:Sign", "kms:GetPublicKey"], right.SIGNING_KEY_ARN)
    segment = f"{trail}segments/dt=1970-01-01/hour=00/{'0' * 40}-{'0' * 64}.parquet"
    simulated(stubs, right.SEAL_ROLE_ARN, ["s3:GetObject"], segment)
    simulated(stubs, right.SEAL_ROLE_ARN, ["s3:ListBucket"], "arn:aws:s3:::acme-audit")
    simulated(stubs, right.SEAL_ROLE_ARN, ["s3:PutObject"], seal)
    simulated(stubs, archiver, ["kms:Sign"], right.SIGNING_KEY_ARN, "implicitDeny")
    simulated(stubs, archiver, ["s3:PutObject"], seal, "implicitDeny")
    sealing, regions = asked(stubs, archiver_role=archiver)
    assert sealing.function["FunctionName"] == "orders-seal"
    assert [rule["ScheduleExpression"] for rule in sealing.rules] == ["rate(15 minutes)"]
    assert sealing.key["KeyMetadata"]["KeyState"] == "Enabled"
    assert sealing.public_key["PublicKey"] == b"DER"
    assert (len(sealing.seals), len(sealing.others), regions) == (4, 2, ["eu-west-1"])


def test_of_two_that_seal_the_table_the_one_of_this_archive_is_meant(stubs):
    """A second archive of one table is legitimate."""
    listed(
        stubs,
        [
            sealer("other", DDBTRAIL_ARCHIVE="s3://other/x", DDBTRAIL_SIGNING_KEY="/key"),
            sealer(DDBTRAIL_SIGNING_KEY="/key"),
        ],
    )
    no_schedule(stubs)
    sealing, _ = asked(stubs)
    assert sealing.function["FunctionName"] == "orders-seal"
    assert (sealing.key_arn, sealing.key, sealing.seals) == ("/key", None, ()), "a key in a file is not asked of KMS"


@pytest.mark.parametrize("functions", [[], [FOREIGN], [sealer(DDBTRAIL_SEAL_TABLE="111122223333/us-east-1/orders")]])
def test_no_function_for_the_trail_is_missing(stubs, functions):
    """All were read, and none was told to seal it."""
    listed(stubs, functions)
    assert isinstance(asked(stubs)[0].function, Missing)


def test_a_sealer_whose_variables_are_hidden_may_be_ours(stubs):
    """Said to be missing it would be a complaint about nothing."""
    listed(stubs, [sealer() | {"Environment": {"Error": {"ErrorCode": "AccessDenied"}}}])
    function = asked(stubs)[0].function
    assert isinstance(function, Unknown)
    assert "kms:Decrypt" in function.why


def test_functions_that_were_not_all_read_are_not_none(stubs):
    """Ours may stand on the page that was not asked for."""
    listed(stubs, *[[FOREIGN]] * 50, [sealer()])
    function = asked(stubs)[0].function
    assert isinstance(function, Unknown)
    assert "not all were read" in function.why


def test_a_denied_listing_names_the_permission(stubs):
    """And nothing else is asked."""
    stubs["lambda"].add_client_error("list_functions", "AccessDeniedException")
    assert asked(stubs)[0].function == Unknown("not allowed: needs lambda:ListFunctions")


def test_a_key_that_is_gone_is_missing_and_not_unknown(stubs):
    """The worst that can happen to a log must not read like a lack of rights."""
    listed(stubs, [sealer() | {"Role": ""}])
    no_schedule(stubs)
    no_key(stubs)
    sealing, _ = asked(stubs)
    assert isinstance(sealing.key, Missing)
    assert (sealing.rules, sealing.seals) == ((), ())
