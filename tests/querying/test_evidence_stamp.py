"""Time stamps of packages: an authority made of openssl, on this machine, is asked; and nobody else's word is taken."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from query.evidence.time_stamp import NotAStamp, compose_request, parse_stamp
from query.instant import format_ms
from tests.querying.test_evidence import World, checked, outside

__all__ = ["outside"]  # a fixture
CONFIG = """
[tsa]
default_tsa = it
[it]
serial = {folder}/serial
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
signer_digest = sha256
accuracy = secs:1
"""
GRANTED, REJECTED = bytes.fromhex("3003020100"), bytes.fromhex("3003020102")
EXTENSIONS = "extendedKeyUsage = critical, timeStamping\nkeyUsage = critical, digitalSignature\n"


def openssl(*words, **more):
    return subprocess.run(["openssl", *words], capture_output=True, check=True, **more).stdout


class Authority:
    """A time-stamping authority with a certificate of a CA of its own. `spoil` alters what it answers."""

    def __init__(self, folder):
        self.folder, self.ca = folder, folder / "ca.pem"
        (folder / "ts.conf").write_text(CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        (folder / "extensions").write_text(EXTENSIONS)
        make = ("req", "-newkey", "rsa:2048", "-nodes")
        openssl(*make, "-x509", "-days", "3650", "-subj", "/CN=A CA", "-keyout", "ca.key", "-out", "ca.pem", cwd=folder)
        openssl(*make, "-subj", "/CN=An authority", "-keyout", "tsa.key", "-out", "tsa.csr", cwd=folder)
        sign = (
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "3650",
        )
        openssl(*sign, "-extfile", "extensions", "-out", "tsa.pem", cwd=folder)
        self.spoil = lambda query, answer: answer
        self.asked = []

    def answer(self, query):
        self.asked.append(query)
        (self.folder / "query").write_bytes(query)
        signer = ("-config", "ts.conf", "-inkey", "tsa.key", "-signer", "tsa.pem")
        return self.spoil(query, openssl("ts", "-reply", "-queryfile", "query", *signer, cwd=self.folder))

    def stamp(self, content, *more):
        """A stamp of some bytes, asked for by openssl itself."""
        (self.folder / "data").write_bytes(content)
        return self.answer(openssl("ts", "-query", "-data", "data", "-cert", *more, cwd=self.folder))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return World(tmp_path_factory.mktemp("stamp"))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The authority, and where it answers."""
    authority = Authority(tmp_path_factory.mktemp("authority"))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.headers["Content-Type"] == "application/timestamp-query"
            answer = authority.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield authority, f"http://127.0.0.1:{server.server_address[1]}/tsr"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def authority(running):
    running[0].spoil = lambda query, answer: answer
    return running[0]


@pytest.fixture(scope="module")
def stamped(made, running, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stamped") / "it"
    assert made.build(folder, "--tsa", running[1]) == 0
    return folder


def said_at(stamp, tmp_path):
    """When a stamp was made, by openssl, as epoch seconds."""
    (tmp_path / "said").write_bytes(stamp)
    lines = openssl("ts", "-reply", "-in", str(tmp_path / "said"), "-text", text=True).splitlines()
    (text,) = [line.partition(": ")[2] for line in lines if line.startswith("Time stamp: ")]
    return int(subprocess.run(["date", "-d", text, "+%s"], capture_output=True, check=True, text=True).stdout)


# --- a package that was stamped ---


def test_the_stamp_is_of_the_manifest(authority, stamped, tmp_path, capsys):
    """By openssl, as HOW-TO-VERIFY says; evidence verify says when, and that it did not look at the authority."""
    shutil.copy(authority.ca, tmp_path / "CA.pem")
    lines = (stamped / "HOW-TO-VERIFY.txt").read_text().splitlines()
    (command,) = [line.partition(": ")[2] for line in lines if "openssl ts -verify" in line]
    command = command.replace("CA.pem", str(tmp_path / "CA.pem"))
    assert subprocess.run(["sh", "-c", command], cwd=stamped, capture_output=True).returncode == 0
    assert checked(stamped, "-o", "json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    at_ms = said_at((stamped / "MANIFEST.tsr").read_bytes(), tmp_path) * 1000
    assert told["stamped_at"] == format_ms(at_ms)
    assert (told["has_time_stamp"], told["is_authority_checked"]) == (True, False)
    assert "anybody can make such a time stamp" in err
    assert checked(stamped, "-o", "json", "--tsa-ca", str(authority.ca)) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["is_authority_checked"]
    assert "anybody" not in err
    assert checked(stamped, "-o", "table") == 0
    assert "its authority was not checked" in capsys.readouterr().out


def test_the_authority_gets_a_digest_and_nothing_else(authority, stamped):
    """What is asked is what openssl understands as a request of this manifest, each time with another number."""
    manifest = (stamped / "MANIFEST.sha256").read_bytes()
    (authority.folder / "q").write_bytes(authority.asked[0])
    text = openssl("ts", "-query", "-in", "q", "-text", cwd=authority.folder, text=True)
    assert "Hash Algorithm: sha256" in text
    assert "Certificate required: yes" in text
    query = authority.asked[0]
    assert sha256(manifest).digest() in query
    assert len(query) == len(compose_request(manifest, b"\x01" * 8)) == 69


def test_in_a_zip_archive_it_stands_last(made, running, authority, tmp_path):
    """As what nobody can make twice."""
    assert made.build(tmp_path / "it.zip", "--tsa", running[1]) == 0
    assert checked(tmp_path / "it.zip", "--tsa-ca", str(authority.ca)) == 0
    assert len({query[-14:] for query in authority.asked}) == len(authority.asked)


@pytest.mark.usefixtures("authority")
def test_the_same_package_without_a_stamp_is_the_same(made, stamped, tmp_path):
    """So that a stamp can be had later, and taken along to a package that was built again."""
    assert made.build(tmp_path / "it") == 0
    assert (tmp_path / "it" / "MANIFEST.sha256").read_bytes() == (stamped / "MANIFEST.sha256").read_bytes()


# --- stamps of something else ---


def test_a_stamp_of_other_bytes_is_found(authority, stamped, tmp_path, capsys):
    """By the same authority, rightly signed."""
    shutil.copytree(stamped, tmp_path / "it")
    (tmp_path / "it" / "MANIFEST.tsr").write_bytes(authority.stamp(b"other bytes"))
    assert checked(tmp_path / "it") == 1
    assert sha256(b"other bytes").hexdigest() in capsys.readouterr().out


@pytest.mark.parametrize("algorithm", ["-sha256", "-sha384", "-sha512"])
def test_stamps_that_others_asked_for_are_read(authority, stamped, tmp_path, algorithm):
    """By openssl, with and without a number, of any digest of SHA-2."""
    manifest = (stamped / "MANIFEST.sha256").read_bytes()
    shutil.copytree(stamped, tmp_path / "it")
    for more in ((), ("-no_nonce",)):
        stamp = authority.stamp(manifest, algorithm, *more)
        assert parse_stamp(stamp).at_ms == said_at(stamp, tmp_path) * 1000
        (tmp_path / "it" / "MANIFEST.tsr").write_bytes(stamp)
        assert checked(tmp_path / "it", "--tsa-ca", str(authority.ca)) == 0


def test_a_stamp_of_another_authority_is_found(authority, stamped, tmp_path, capsys):
    """Of which the reviewer has no certificate; without one it cannot be told."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    shutil.copytree(stamped, tmp_path / "it")
    (tmp_path / "it" / "MANIFEST.tsr").write_bytes(other.stamp((stamped / "MANIFEST.sha256").read_bytes()))
    assert checked(tmp_path / "it") == 0
    assert checked(tmp_path / "it", "--tsa-ca", str(other.ca)) == 0
    assert checked(tmp_path / "it", "--tsa-ca", str(authority.ca)) == 1
    (tmp_path / "it" / "MANIFEST.tsr").unlink()
    assert checked(tmp_path / "it", "--tsa-ca", str(authority.ca)) == 1
    assert "MANIFEST.tsr is missing, and an authority was named" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.pem", "there is no"),
        (".", "is a folder"),
        ("empty.pem", "no certificates could be read"),
        ("key.pem", "no certificates could be read"),
        ("torn.pem", "no certificates could be read"),
    ],
)
def test_certificates_that_are_none_are_the_reviewers_mistake(authority, stamped, tmp_path, capsys, name, words):
    """Exit code 2, not the 1 of a package that was altered; also where the package has no stamp, or is altered too."""
    for file, content in (
        ("empty.pem", ""),
        ("key.pem", (authority.folder / "ca.key").read_text()),
        ("torn.pem", authority.ca.read_text()[:300]),
    ):
        (tmp_path / file).write_text(content)
    shutil.copytree(stamped, tmp_path / "it")
    (tmp_path / "it" / "MANIFEST.tsr").unlink()
    for package in (stamped, tmp_path / "it"):
        assert checked(package, "--tsa-ca", str(tmp_path / name)) == 2
        assert words in capsys.readouterr().err


def test_no_flipped_bit_makes_it_another_stamp(authority, stamped, tmp_path, capsys):
    """With the authority's certificates each is found; without, none is read as of another manifest or fails otherwise."""
    content = (stamped / "MANIFEST.tsr").read_bytes()
    manifest = (stamped / "MANIFEST.sha256").read_bytes()
    chance = random.Random(3)
    shutil.copytree(stamped, tmp_path / "it")
    for place in chance.sample(range(len(content)), 30):
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << chance.randrange(8)
        (tmp_path / "it" / "MANIFEST.tsr").write_bytes(spoilt)
        code = checked(tmp_path / "it", "--tsa-ca", str(authority.ca))
        said = openssl_takes(authority, manifest, bytes(spoilt))
        assert code == (0 if said else 1), place
    for place in range(len(content)):
        for spoilt in (content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]):
            try:
                parse_stamp(spoilt).check(manifest)
            except NotAStamp:
                continue
            assert len(spoilt) == len(content)
    capsys.readouterr()


@given(st.binary(max_size=80))
@example(bytes.fromhex("3000"))
@example(bytes.fromhex("30053003020100"))
def test_any_bytes_are_a_stamp_or_none(content):
    """What others wrote into a package, or an authority answered, is never a fault of ours."""
    with contextlib.suppress(NotAStamp):
        format_ms(parse_stamp(content).at_ms)


@given(data=st.data())
def test_any_spoilt_stamp_is_a_stamp_or_none(stamped, data):
    """Bytes replaced, taken out and put in, all through what is read of it: each finding is one in words."""
    content = (stamped / "MANIFEST.tsr").read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, 260))
        end = start + data.draw(st.integers(0, 3))
        content = content[:start] + data.draw(st.binary(max_size=3)) + content[end:]
    with contextlib.suppress(NotAStamp):
        format_ms(parse_stamp(content).at_ms)


def test_no_changed_byte_of_a_stamp_is_a_fault(stamped):
    """Every value at every place of its head, where an element that is missing or empty would be unpacked."""
    content = (stamped / "MANIFEST.tsr").read_bytes()
    for place in range(250):
        for value in {0, 1, 2, 3, 4, 5, 6, 10, 24, 48, 49, 127, 128, 160, 255, *range(content[place])}:
            with contextlib.suppress(NotAStamp):
                parse_stamp(content[:place] + bytes([value]) + content[place + 1 :])


def test_a_bad_stamp_hides_no_other_finding(stamped, tmp_path, capsys):
    """Exit code 1, and the file that was altered is named beside it."""
    for number, content in enumerate((b"0\x00", b"", b"0" * 2_000_000, bytes.fromhex("30053003020100"))):
        folder = tmp_path / str(number)
        shutil.copytree(stamped, folder)
        (folder / "MANIFEST.tsr").write_bytes(content)
        (folder / "changes.csv").write_text("other")
        assert checked(folder) == 1
        out = capsys.readouterr().out
        assert "MANIFEST.tsr: it is no time stamp" in out
        assert "changes.csv was altered" in out


def openssl_takes(authority, manifest, stamp):
    (authority.folder / "m").write_bytes(manifest)
    (authority.folder / "s").write_bytes(stamp)
    command = ["openssl", "ts", "-verify", "-data", "m", "-in", "s", "-CAfile", "ca.pem"]
    return subprocess.run(command, cwd=authority.folder, capture_output=True).returncode == 0


# --- no stamp ---


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda query, answer: b"<html>", "it is no time stamp"),
        (lambda query, answer: answer[:200], "it is cut short"),
        (lambda query, answer: b"0\x00", "it is no time stamp"),
        (lambda query, answer: bytes.fromhex("30053003020102"), "did not grant it: status 2"),
        (lambda query, answer: answer.replace(GRANTED, REJECTED, 1), "did not grant it: status 2"),
        (lambda query, answer: answer.replace(query[24:56], bytes(32)), "it is of bytes with the digest"),
        (lambda query, answer: answer.replace(query[-11:-3], b"\x01" * 8), "it answers another request"),
    ],
)
def test_what_is_no_stamp_of_this_manifest_leaves_no_package(made, running, authority, tmp_path, capsys, spoil, words):
    """Exit code 4: whoever asked for a stamp does not get a package without one."""
    authority.spoil = spoil
    assert made.build(tmp_path / "it", "--tsa", running[1]) == 4
    assert words in capsys.readouterr().err
    assert not (tmp_path / "it").exists()


def test_an_authority_that_cannot_be_asked(made, tmp_path, capsys):
    """Nobody listens there: 4. Nothing that is asked over the web: 2, before anything is read."""
    assert made.build(tmp_path / "it", "--tsa", "http://127.0.0.1:9/tsr") == 4
    assert "gave no time stamp" in capsys.readouterr().err
    bad = (
        "http://[bad",
        "http://h:99999/",
        "http://h:0/",
        "http://h:x/",
        "http://h/\u00e9",
        "http://h /",
        "http://h/\n",
    )
    for url in ("file:///etc/passwd", "nonsense", "http:///x", *bad):
        assert made.build(tmp_path / "it", "--tsa", url) == 2
        assert "is no address of a time-stamping authority" in capsys.readouterr().err
    assert not (tmp_path / "it").exists()
