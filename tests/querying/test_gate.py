"""The gate before the engine: each file is looked at once a process, and again if it is not the file it was."""

import os
from hashlib import sha256

import pytest

import query
from archiver.segment import encode_baseline_part
from query import gate
from query.errors import CorruptSegment
from query.gate import EvidenceFile, Gate
from query.seal_log import SealMismatch
from tests.querying.test_order import T0, archived


@pytest.fixture
def checked(monkeypatch):
    """The files whose digests were taken, in order."""
    looked_at = []
    check_stamp = gate.check_stamp
    monkeypatch.setattr(gate, "check_stamp", lambda content: (looked_at.append(len(content)), check_stamp(content)))
    return looked_at


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive of three segments, each question reading the files anew."""
    monkeypatch.setattr("query.rows._KEPT_BYTES", 0)
    return archived(tmp_path / "archive", [10**21, 10**21 + 1, 10**21 + 2], batches_of=1)


def ask(table):
    state = table.as_of(f"@{T0}")
    found = [one.image for one in state.states()]
    state.close()
    return found


def test_a_file_is_hashed_once_for_all_questions(archive, checked):
    """A second question on 1.3 GB must not read all of it again."""
    table = query.open(str(archive)).table("orders")
    assert ask(table) == ask(table)
    assert len(checked) == 3


def test_another_process_looks_for_itself(archive, checked):
    """What passed is remembered nowhere but in the engine that asked."""
    for _ in range(2):
        ask(query.open(str(archive)).table("orders"))
    assert len(checked) == 6


@pytest.mark.parametrize("keeps_its_times", [False, True])
def test_a_file_that_changed_between_two_questions_is_refused(archive, keeps_its_times):
    """Also one that was given its old time back: the time of the file itself nobody can set."""
    table = query.open(str(archive)).table("orders")
    ask(table)
    damaged = sorted(archive.glob("v1/*/*/*/segments/*/*/*.parquet"))[1]
    content, status = bytearray(damaged.read_bytes()), damaged.stat()
    content[content.rindex(b'{"N":"') + 6] ^= 1  # a digit of an image, which the engine reads without complaint
    damaged.write_bytes(bytes(content))
    if keeps_its_times:
        os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptSegment, match=damaged.name):
        ask(table)


# --- one file at a time, by each thing that is looked for ---

ITEM = b'{"id":{"S":"a"}}'
PART = encode_baseline_part([(ITEM, "a", None, ITEM)])


@pytest.fixture
def part(tmp_path):
    """A function that gives the file of a part of a baseline as it is told to be, with other bytes if they are given."""
    path = tmp_path / "part.parquet"

    def made(content=PART, **told):
        path.write_bytes(content)
        return EvidenceFile(path, "baselines/part.parquet", **told)

    return made


@pytest.fixture
def segment(archive):
    """A function that gives the file of a segment as it is told to be; its root is in its name."""
    path = min(archive.glob("v1/*/*/*/segments/*/*/*.parquet"))

    def made(**told):
        return EvidenceFile(path, path.name, **{"root": path.stem.partition("-")[2], **told})

    return made


def refused(file, kind="baseline"):
    """Why a file is refused; None if it is not."""
    try:
        Gate().check([file], kind)
    except CorruptSegment as error:
        return error.why
    return None


def digest_of(content):
    return sha256(content).hexdigest()


def test_whole_evidence_refused(part, segment):
    """With what is known of it, and where less is known."""
    assert refused(part()) is None
    assert refused(part(sha256=digest_of(PART))) is None
    assert refused(segment(), "segment") is None
    assert refused(segment(root=None), "segment") is None
    assert refused(segment(sha256=digest_of(segment().path.read_bytes())), "segment") is None


def test_each_rule_refuses_alone(part, segment):
    """Each by a file in which nothing else is wrong; the bytes are looked for before any parser sees them."""
    assert refused(part(), "segment") == "it is no segment of ddbtrail"
    assert refused(segment(), "baseline") == "it is no baseline of ddbtrail"
    pair = b"ddbtrail.format\x18\x011"
    assert pair in PART
    assert refused(part(PART.replace(pair, pair[:-1] + b"2"))) == "it is not of format 1"
    assert refused(segment(root="0" * 64), "segment") == "its root is not the one in its name"
    assert refused(part(PART.replace(b'"S":"a"', b'"S":"b"'))).startswith("its bytes have digest")
    assert refused(part(sha256="0" * 64)) == f"its digest is not the one that its baseline states, {'0' * 16}"


def test_what_cannot_be_read_is_no_evidence(part, tmp_path):
    """It says whether the file is gone; anything else in the words of the system."""
    file = part()
    file.path.unlink()
    assert refused(file) == "it is gone"
    with pytest.raises(CorruptSegment, match=r"baselines/part\.parquet cannot be read as evidence"):
        Gate().check([file], "baseline")
    file.path.mkdir()
    assert "Is a directory" in refused(file)
    (tmp_path / "file").write_bytes(b"")
    assert "Not a directory" in refused(EvidenceFile(tmp_path / "file" / "below", "below"))


def test_of_a_sealed_file_every_byte_is_the_one_that_was_sealed(part, segment, checked):
    """Then its own digest adds nothing; kind and root are still looked for, since the name is not under the digest."""
    assert refused(part(sha256=digest_of(PART), is_sealed=True)) is None
    assert refused(segment(sha256=digest_of(segment().path.read_bytes()), is_sealed=True), "segment") is None
    assert checked == []
    assert refused(part(sha256=digest_of(PART), is_sealed=True), "segment") == "it is no segment of ddbtrail"
    sealed = segment(sha256=digest_of(segment().path.read_bytes()), is_sealed=True, root="0" * 64)
    assert refused(sealed, "segment") == "its root is not the one in its name"
    for told in ({"sha256": "0" * 64}, {}):
        with pytest.raises(SealMismatch):
            Gate().check([part(is_sealed=True, **told)], "baseline")


def test_what_passed_as_one_kind_has_not_passed_as_another(part):
    """Nor does a look at one file vouch for one that is told otherwise."""
    gate = Gate()
    gate.check([part()], "baseline")
    with pytest.raises(CorruptSegment):
        gate.check([part()], "segment")
    with pytest.raises(CorruptSegment):
        gate.check([part(sha256="0" * 64)], "baseline")


@pytest.mark.parametrize("count", [31, 32, 40])
def test_many_files_are_checked_like_few(tmp_path, checked, count):
    """On threads or without: each once, and one that is not whole stops the question and is never taken for passed."""
    files = []
    for number in range(count):
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(PART)
        files.append(EvidenceFile(path, path.name))
    gate = Gate()
    gate.check(files, "baseline")
    gate.check(files, "baseline")
    assert len(checked) == count
    files[-2].path.write_bytes(PART[:-1])
    for _ in range(2):
        with pytest.raises(CorruptSegment, match=f"{count - 2}.parquet"):
            gate.check(files, "baseline")
    with pytest.raises(CorruptSegment, match=f"{count - 2}.parquet"):
        Gate().check(files, "baseline")
