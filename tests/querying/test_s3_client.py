"""Credentials, region and endpoint of S3 are those that boto3 would find, whichever way they are found."""

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Thread
from typing import ClassVar

import boto3
import obstore
import pytest
from botocore.exceptions import PartialCredentialsError

from query import s3_client
from query.errors import UnreadableArchive
from query.source import Access

SEEDS = 200
ENDPOINTS = ("http://here:9000", "https://there.example")
VARIABLES = {
    "AWS_ACCESS_KEY_ID": ("AKIDENV", "AKIDENV", "AKIDENV", ""),
    "AWS_SECRET_ACCESS_KEY": ("secret-env", "secret-env", "secret-env", ""),
    "AWS_DEFAULT_REGION": ("eu-west-1", "eu-west-1", ""),
    "AWS_REGION": ("ap-south-1",),
    "AWS_ENDPOINT_URL": (*ENDPOINTS, ""),
    "AWS_ENDPOINT_URL_S3": ("http://only-s3:1", ""),
    "AWS_PROFILE": ("other",),
    "AWS_DEFAULT_PROFILE": ("other",),
    "AWS_SESSION_TOKEN": ("token", ""),
    "AWS_SECURITY_TOKEN": ("older",),
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": ("true", "false"),
}
LIKELY = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}
CONFIG = """
[default]
region = us-west-2
aws_access_key_id = AKIDFILE
aws_secret_access_key = secret-file
{default}
[profile other]
region = us-east-2
aws_access_key_id = AKIDOTHER
aws_secret_access_key = secret-other
{other}
[services mine]
s3 =
  endpoint_url = http://of-s3-in-the-file:3
dynamodb =
  endpoint_url = http://of-dynamodb:4
"""
CREDENTIALS = """
[default]
aws_access_key_id = AKIDSHARED
aws_secret_access_key = secret-shared
{line}
"""
LINES = ("", "endpoint_url = http://of-all-in-the-file:2", "services = mine", "ignore_configured_endpoint_urls = true")


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Sets the whole environment that AWS clients look at; files of AWS's at home, or elsewhere, by their content."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))

    def drawn(variables, config=None, *, credentials=None, is_elsewhere=False):
        for kind, name, text in (
            ("config", "AWS_CONFIG_FILE", config),
            ("credentials", "AWS_SHARED_CREDENTIALS_FILE", credentials),
        ):
            path = tmp_path / ("elsewhere" if is_elsewhere else ".aws") / kind
            if text is not None:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
                if is_elsewhere:  # botocore finds it by this name too
                    monkeypatch.setenv(name, f"$HOME/elsewhere/{kind}")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return drawn


def draw(rng):
    variables = {
        name: rng.choice(values)
        for name, values in VARIABLES.items()
        if rng.random() < (0.9 if name in LIKELY else 0.15)
    }
    config = CONFIG.format(default=rng.choice(LINES), other=rng.choice(LINES)) if rng.random() < 0.5 else None
    access = Access(
        profile="other" if config and rng.random() < 0.2 else None,
        region="sa-east-1" if rng.random() < 0.3 else None,
        endpoint_url=ENDPOINTS[0] if rng.random() < 0.3 else None,
    )
    if config is None:
        variables = {name: value for name, value in variables.items() if "PROFILE" not in name}
    credentials = CREDENTIALS.format(line=rng.choice(LINES[:2])) if rng.random() < 0.2 else None
    return variables, {"config": config, "credentials": credentials, "is_elsewhere": rng.random() < 0.3}, access


def found_by_boto3(access):
    """Region, endpoint (None: that of AWS) and keys; None without keys."""
    session = boto3.Session(profile_name=access.profile, region_name=access.region)
    try:
        credentials = session.get_credentials()
    except PartialCredentialsError:
        return None
    if credentials is None:
        return None
    frozen = credentials.get_frozen_credentials()
    region = session.region_name or "us-east-1"
    url = session.client("s3", region_name=region, endpoint_url=access.endpoint_url).meta.endpoint_url
    return (
        region,
        None if "amazonaws.com" in url else url,
        (frozen.access_key, frozen.secret_key, frozen.token or None),
    )


def found_by_us(access):
    quick = s3_client._in_environment(access, os.environ)
    found = quick or s3_client._by_botocore("bucket", access)
    told = found.credentials()
    return found.region, found.endpoint_url, (told["access_key_id"], told["secret_access_key"], told["token"] or None)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_found_is_what_boto3_finds(seed, environment):
    """The environment, the configuration, profiles and arguments, each over the other as AWS says."""
    variables, files, access = draw(Random(seed))
    environment(variables, **files)
    wanted = found_by_boto3(access)
    if wanted is None:
        with pytest.raises(UnreadableArchive, match="no credentials for s3://bucket"):
            found_by_us(access)
        return
    assert found_by_us(access) == wanted


def test_drawn_environments_take_both_ways(monkeypatch, tmp_path):
    """And often."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = []
    for seed in range(SEEDS):
        variables, files, access = draw(Random(seed))
        if files["config"] or files["credentials"]:
            variables["AWS_CONFIG_FILE"] = "somewhere"
        found.append(s3_client._in_environment(access, variables) is not None)
    assert SEEDS / 10 < sum(found) < SEEDS * 9 / 10


def test_a_profile_that_is_not_there_is_told(environment):
    """With the word that the AWS CLI says it with."""
    environment({}, CONFIG.format(default="", other=""))
    with pytest.raises(UnreadableArchive, match="no credentials for s3://bucket") as raised:
        s3_client.s3_client("bucket", Access(profile="nobody"))
    assert "nobody" in raised.value.why


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_in_the_environment_has_to_be_there_beside_keys(name, environment):
    """Whoever names an account wants to know that it was not this one."""
    environment({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", name: "nobody"})
    with pytest.raises(UnreadableArchive, match="no credentials for s3://bucket"):
        s3_client.s3_client("bucket", Access(region="eu-west-1", endpoint_url=ENDPOINTS[0]))


@pytest.mark.parametrize(("keys", "is_imported"), [({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, False), ({"AWS_PROFILE": "other"}, True)])  # fmt: skip
def test_keys_in_the_environment_need_no_botocore(keys, is_imported, environment, tmp_path):
    """It is a tenth of a second of every question from a function or a build."""
    environment({}, CONFIG.format(default="", other="") if is_imported else None)
    code = (
        "import sys; from query.s3_client import s3_client; from query.source import Access; "
        "s3_client('bucket', Access(region='eu-west-1')); print('botocore' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | keys, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(is_imported)


class Asked(BaseHTTPRequestHandler):
    """A server that notes what it is asked with, and has nothing."""

    headers_seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self):
        self.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("token", [None, "", "token"])
def test_requests_bear_the_token_that_boto3_would_send(token, environment):
    """obstore knows more names of a token than AWS, and takes an empty one for one."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_TOKEN": "junk"}
        environment(keys if token is None else keys | {"AWS_SESSION_TOKEN": token})
        access = Access(region="eu-west-1", endpoint_url=f"http://127.0.0.1:{server.server_port}")
        assert s3_client._in_environment(access, os.environ) is not None
        client = s3_client.s3_client("bucket", access)
        with pytest.raises(FileNotFoundError):
            obstore.get(client, "x")
        server.shutdown()
    assert Asked.headers_seen[-1].get("x-amz-security-token") == (token or None)
