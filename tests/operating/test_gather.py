"""What is asked, in which order, and what is made of partial answers; botocore's Stubber answers, and refuses what is not
expected. How a whole deployment is seen is in tests/system/test_doctor.py.
"""

import os

import boto3
import pytest
from botocore.stub import Stubber

from query.operate.answers import Missing, Unknown
from query.operate.aws import Asker, Aws
from query.operate.buckets import on_failure_at
from query.operate.canary import Canary
from query.operate.diagnosis import diagnose
from query.operate.facts import HeldBack, StreamReader
from query.operate.finding import Result
from query.operate.gather import Asked, Gathering
from query.table_ref import parse_table_ref
from tests.operating import right

NOW_MS = 1_790_000_000_000
FORMER = right.STREAM_ARN.replace("2026-09-01", "2026-08-01")


@pytest.fixture
def stubs(monkeypatch):
    """Clients of the services that are asked, each answering what a test adds, and nothing else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    clients = {name: boto3.client(name, region_name="eu-west-1") for name in ("dynamodb", "lambda")}
    made = {name: Stubber(client) for name, client in clients.items()}
    for stub in made.values():
        stub.activate()
    made["clients"] = clients
    made["dynamodb"].add_response("describe_table", {"Table": right.table()}, {"TableName": "orders"})
    return made


@pytest.fixture
def gathered(stubs):
    gathered = Gathering(
        asked=Asked(parse_table_ref("orders"), None, None, None),
        data=Aws(region="eu-west-1"),
        kept=Aws(region="eu-west-1"),
        read_trail=lambda _url, _trail: Missing("not asked"),
        now_ms=lambda: NOW_MS,
    )
    clients = stubs["clients"]
    gathered._askers[gathered.data, "dynamodb", None] = Asker(clients["dynamodb"])
    gathered._askers[gathered.data, "lambda", "eu-west-1"] = Asker(clients["lambda"])
    return gathered


def listed(stub, request, *mappings, marker=None):
    answer = {"EventSourceMappings": list(mappings)} | ({"NextMarker": marker} if marker else {})
    stub.add_response("list_event_source_mappings", answer, request)


def described(stub, function=None):
    stub.add_response("get_function_configuration", function or right.function(), {"FunctionName": right.FUNCTION_ARN})


def test_the_mapping_of_the_latest_stream_is_asked_for_first(stubs, gathered):
    """By its stream: an account may have thousands of mappings."""
    listed(stubs["lambda"], {"EventSourceArn": right.STREAM_ARN}, right.mapping())
    described(stubs["lambda"])
    assert gathered.reader == StreamReader(right.mapping(), right.function())
    stubs["lambda"].assert_no_pending_responses()


def test_a_mapping_left_on_a_former_stream_is_found_among_all(stubs, gathered):
    """Nobody reads the new stream; the one that reads the old one is ours. Those of other tables are not looked at."""
    other = right.mapping() | {"EventSourceArn": FORMER.replace("table/orders", "table/orders-2")}
    former = right.mapping() | {"EventSourceArn": FORMER}
    listed(stubs["lambda"], {"EventSourceArn": right.STREAM_ARN})
    listed(stubs["lambda"], {}, other, former)
    described(stubs["lambda"])
    assert gathered.reader == StreamReader(former, right.function())
    stubs["lambda"].assert_no_pending_responses()


def test_mappings_that_were_not_all_read_are_not_none(stubs, gathered):
    """Ours may stand on the page that was not asked for: a ✗ would be as wrong as a ✓."""
    listed(stubs["lambda"], {"EventSourceArn": right.STREAM_ARN}, marker="0")
    for number in range(50):
        listed(stubs["lambda"], {"EventSourceArn": right.STREAM_ARN, "Marker": f"{number}"}, marker=f"{number + 1}")
    assert isinstance(gathered.readers.latest, Unknown)
    assert "not all were read" in gathered.readers.latest.why
    assert gathered.reader == gathered.readers.latest


@pytest.mark.parametrize(
    ("whole", "result"),
    [
        ({"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}, Result.FAILED),
        (
            {"FilterCriteriaError": {"ErrorCode": "AccessDenied", "Message": "kms:Decrypt is missing"}},
            Result.NOT_CHECKED,
        ),
        ({}, Result.NOT_CHECKED),
        (None, Result.NOT_CHECKED),
    ],
)
def test_an_encrypted_filter_is_asked_for_by_itself(stubs, gathered, whole, result):
    """A listing shows it as none, which it is not."""
    encrypted = right.mapping() | {"KMSKeyArn": right.KEY_ARN}
    listed(stubs["lambda"], {"EventSourceArn": right.STREAM_ARN}, encrypted)
    if whole is None:
        stubs["lambda"].add_client_error("get_event_source_mapping", "AccessDeniedException")
    else:
        answer = encrypted | whole
        stubs["lambda"].add_response("get_event_source_mapping", answer, {"UUID": encrypted["UUID"]})
    described(stubs["lambda"])
    facts = right.facts(readers=gathered.readers, reader=gathered.reader)
    findings = {finding.check: finding for finding in diagnose(facts, "orders", allow_mutable=False, now_ms=NOW_MS)}
    assert findings["mapping-filter"].result is result


def test_concurrency_is_asked_of_the_function_itself(stubs, gathered):
    """A mapping may call a version or an alias, which have no reserved concurrency."""
    aliased = right.mapping() | {"FunctionArn": f"{right.FUNCTION_ARN}:live"}
    listed(stubs["lambda"], {"EventSourceArn": right.STREAM_ARN}, aliased)
    stubs["lambda"].add_response(
        "get_function_configuration", right.function(), {"FunctionName": f"{right.FUNCTION_ARN}:live"}
    )
    expected = {"FunctionName": right.FUNCTION_ARN}
    stubs["lambda"].add_response("get_function_concurrency", {"ReservedConcurrentExecutions": 0}, expected)
    assert gathered._concurrency()["ReservedConcurrentExecutions"] == 0


def test_a_table_of_another_account_is_asked_for_by_its_arn(stubs):
    """By its name alone, AWS would look among one's own."""
    client = boto3.client("dynamodb", region_name="us-gov-west-1")
    arn = "arn:aws-us-gov:dynamodb:us-gov-west-1:111122223333:table/orders"
    table = right.table() | {"TableArn": arn}
    gathered = Gathering(
        asked=Asked(parse_table_ref("111122223333/us-gov-west-1/orders"), None, None, None),
        data=Aws(),
        kept=Aws(),
        read_trail=lambda _url, _trail: Missing("not asked"),
        now_ms=lambda: NOW_MS,
    )
    gathered._askers[gathered.data, "dynamodb", "us-gov-west-1"] = Asker(client)
    with Stubber(client) as stub:
        stub.add_response("describe_table", {"Table": table}, {"TableName": arn})
        assert gathered.table == table
        wrote = {
            "TableName": arn,
            "Item": {"pk": {"S": "x"}, "sk": {"N": "1"}, "ddbtrail_canary": {"S": "token"}},
            "ConditionExpression": "attribute_not_exists(#key) OR attribute_exists(#marker)",
            "ExpressionAttributeNames": {"#key": "pk", "#marker": "ddbtrail_canary"},
        }
        stub.add_response("put_item", {}, wrote)
        canary = Canary.of(gathered.table, ["x", "1"], "token")
        assert canary.put(gathered.table_writer, gathered.table_named) is None, "and a canary goes to that one"
        stub.assert_no_pending_responses()
    assert gathered.live_trail.account == "111122223333"


# --- an on-failure folder, as `aws s3 sync` leaves it ---


def no_s3():
    raise AssertionError("a folder is not asked of S3")


def test_a_folder_of_failed_batches_is_counted(tmp_path):
    """Every file below it, the oldest by its time."""
    for name, age_s in (("a", 10), ("deep/er/b", 20)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 5)
        os.utime(path, (NOW_MS / 1_000 - age_s, NOW_MS / 1_000 - age_s))
    found = on_failure_at(no_s3, str(tmp_path))
    assert found.held_back == HeldBack(str(tmp_path), 2, 10, NOW_MS - 20_000, is_whole=True)
    assert found.lifecycle is None


def test_an_empty_folder_holds_nothing_back_and_an_absent_one_is_missing(tmp_path):
    """Empty is good news, absent is none."""
    assert on_failure_at(no_s3, str(tmp_path)).held_back.objects == 0
    assert isinstance(on_failure_at(no_s3, str(tmp_path / "no")).held_back, Missing)


def test_a_folder_that_may_not_be_read_is_unknown(tmp_path, monkeypatch):
    """Not empty: not read. The system's refusal is raised for it, since root is refused nothing."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    held_back = on_failure_at(no_s3, str(tmp_path)).held_back
    assert held_back == Unknown(f"{tmp_path} could not be read: Permission denied")
