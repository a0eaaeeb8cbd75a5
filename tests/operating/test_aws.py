"""What AWS answers is sorted into said, missing and unknown; errors come from botocore's Stubber, which parses as it does.

How MiniStack answers, refused call by refused call, is in tests/system/test_doctor.py.
"""

import io
import json
from contextlib import redirect_stderr, redirect_stdout

import boto3
import pytest
from botocore.exceptions import NoRegionError, ProfileNotFound
from botocore.stub import Stubber

from query.cli import run
from query.operate.answers import Missing, Pages, Unknown
from query.operate.aws import Asker, Aws, AwsUnavailable

NOWHERE = "http://127.0.0.1:1"
SETTINGS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No setting of the caller, and no file of AWS's: credentials that no one takes."""
    for name in (*SETTINGS, "DDBTRAIL_ARCHIVE", "DDBTRAIL_ON_FAILURE", "DDBTRAIL_DERIVED"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)


def stubbed(service):
    client = boto3.client(service, endpoint_url=NOWHERE)
    return client, Stubber(client)


GONE = {"ResourceNotFoundException": "there is no table orders"}


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDeniedException", 400, Unknown("not allowed: needs dynamodb:DescribeTable")),
        ("AccessDenied", 403, Unknown("not allowed: needs dynamodb:DescribeTable")),
        ("403", 403, Unknown("not allowed: needs dynamodb:DescribeTable")),
        ("UnauthorizedOperation", 403, Unknown("not allowed: needs dynamodb:DescribeTable")),
        ("ResourceNotFoundException", 400, Missing("there is no table orders")),
        ("NoSuchEntity", 404, Unknown("AWS answered NoSuchEntity to dynamodb:DescribeTable: as it says")),
        ("ExpiredTokenException", 400, Unknown("AWS does not take the credentials: ExpiredTokenException")),
        ("UnrecognizedClientException", 400, Unknown("AWS does not take the credentials: UnrecognizedClientException")),
        ("SignatureDoesNotMatch", 403, Unknown("AWS does not take the credentials: SignatureDoesNotMatch")),
        ("ValidationException", 400, Unknown("AWS answered ValidationException to dynamodb:DescribeTable: as it says")),
    ],
)
def test_an_error_is_missing_only_if_its_code_says_so(code, status, expected):
    """Whatever else went wrong, nobody has seen that there is nothing."""
    client, stub = stubbed("dynamodb")
    stub.add_client_error("describe_table", code, "as it says", status)
    with stub:
        answer = Asker(client).ask("describe_table", "dynamodb:DescribeTable", missing=GONE, TableName="orders")
    assert answer == expected


def test_what_cannot_be_reached_is_unknown():
    """A closed port, at once; botocore has tried again before."""
    answer = Aws(endpoint_url=NOWHERE).asker("dynamodb").ask("describe_table", "a:b", missing=GONE, TableName="x")
    assert isinstance(answer, Unknown)
    assert answer.why.startswith("not reached: Could not connect")


def test_without_credentials_nothing_is_known(monkeypatch):
    """The question never leaves the machine."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    answer = Aws().asker("dynamodb").ask("describe_table", "a:b", missing=GONE, TableName="x")
    assert isinstance(answer, Unknown)
    assert answer.why.startswith("no credentials: ")


def pages(stub, count, *, is_last):
    for number in range(count):
        answer = {"EventSourceMappings": [{"UUID": f"{number:036}"}]}
        if number < count - 1 or not is_last:
            answer["NextMarker"] = f"{number + 1}"
        stub.add_response("list_event_source_mappings", answer)


@pytest.mark.parametrize(("count", "is_last", "items", "is_whole"), [(1, True, 1, True), (3, True, 3, True)])
def test_a_listing_is_read_to_its_end(count, is_last, items, is_whole):
    """Every page: who reads a stream may stand on the last one."""
    client, stub = stubbed("lambda")
    pages(stub, count, is_last=is_last)
    with stub:
        listed = Asker(client).list("list_event_source_mappings", "a:b", "EventSourceMappings", most_pages=3)
    assert isinstance(listed, Pages)
    assert (len(listed.items), listed.is_whole) == (items, is_whole)


def test_a_listing_given_up_says_so():
    """One page more than the limit, and the whole is not known."""
    client, stub = stubbed("lambda")
    pages(stub, 4, is_last=True)
    with stub:
        listed = Asker(client).list("list_event_source_mappings", "a:b", "EventSourceMappings", most_pages=3)
    assert (len(listed.items), listed.is_whole) == (3, False)


def test_a_listing_that_breaks_off_is_unknown():
    """Half of the pages are no answer."""
    client, stub = stubbed("lambda")
    pages(stub, 1, is_last=False)
    stub.add_client_error("list_event_source_mappings", "AccessDeniedException")
    with stub:
        listed = Asker(client).list("list_event_source_mappings", "lambda:List", "EventSourceMappings", most_pages=3)
    assert listed == Unknown("not allowed: needs lambda:List")


def test_a_wrong_profile_or_no_region_is_said_before_anything_is_asked(monkeypatch):
    """Every check would say the same: one error with what to mend is better."""
    with pytest.raises(AwsUnavailable, match="AWS cannot be asked") as wrong:
        Aws(profile="nobody").asker("dynamodb")
    assert isinstance(wrong.value.__cause__, ProfileNotFound)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(AwsUnavailable) as none:
        Aws().asker("dynamodb")
    assert isinstance(none.value.__cause__, NoRegionError)


def ask(*tokens):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(tokens)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("command", ["doctor", "status"])
def test_a_table_that_cannot_be_asked_about_is_4(command):
    """Not 1: nobody knows that anything is wrong; and never 0."""
    code, out, err = ask(command, "orders", "--endpoint-url", NOWHERE)
    assert code == 4, err
    rows = [json.loads(line) for line in out.splitlines()]
    findings = rows[0]["findings"] if command == "status" else rows
    assert {finding["result"] for finding in findings} == {"not-checked"}


@pytest.mark.parametrize("command", ["doctor", "status"])
@pytest.mark.parametrize(
    ("tokens", "exit_code", "said"),
    [
        (("orders", "--profile", "nobody"), 4, "nobody"),
        (("orders", "--endpoint-url", "no url"), 4, "--endpoint-url"),
        (("or/de/rs/x",), 2, "does not name a table"),
        (("orders", "-a", "ftp://x"), 2, "ftp://x"),
        (("orders", "--on-failure", "ftp://x"), 2, "--on-failure"),
    ],
)
def test_what_was_typed_wrong_is_three_lines(command, tokens, exit_code, said):
    """No traceback, and what to type next."""
    code, out, err = ask(command, *tokens)
    assert (code, out) == (exit_code, "")
    assert said in err
    assert 2 <= len(err.splitlines()) <= 3


@pytest.mark.parametrize("wait", ["0s", "5", "m", "-1s", "1.5m", "100000s", "5 min"])
def test_a_wait_is_a_number_and_a_unit(wait):
    """A typing error must not become a write into the table with no time to see it."""
    code, _, err = ask("doctor", "orders", "--canary", "x", f"--wait={wait}", "--endpoint-url", NOWHERE)
    assert code == 2
    assert "--wait 90s" in err


def test_no_canary_is_written_where_nobody_could_look_for_it():
    """The one write of doctor comes after every question that it hangs on; not flown is not known: 4."""
    code, out, _ = ask("doctor", "orders", "--canary", "x", "--endpoint-url", NOWHERE)
    last = json.loads(out.splitlines()[-1])
    assert code == 4
    assert (last["check"], last["result"]) == ("canary", "not-checked")
    assert "nothing was written" in last["detail"]
