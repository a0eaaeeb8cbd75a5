"""Checks the proof of one change record, with nothing of ddbtrail: `python verify_proof.py PROOF KEY.pub`.

Written from docs/format.md (sections 9, 10 and 15), to be read before it is run. It needs Python 3.9 or newer and, for
the signature alone, the package `cryptography`. It prints what is proved. Exit codes: 0 the proof holds, 1 it does not,
2 it was called wrongly, 4 a file cannot be read.
"""

# ruff: noqa: INP001  it is read and run by itself

import json
import re
import sys
from base64 import b64decode, b64encode
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

# fmt: off
MEMBERS = {"format", "checkpoint", "entry_index", "entry_path", "envelope", "record_index", "record_path", "segment",
           "shown"}
ENVELOPE = {"v", "event_id", "event_name", "keys", "old", "new", "stream_arn", "seq", "ts", "extra"}
ENVELOPE_MAYBE = {"region", "event_version", "view_type", "size_bytes", "user_identity"}
TEXTS = {"type", "path", "stream_label", "file_sha256", "root", "first_sequence", "last_sequence", "writer"}
COUNTS = {"bytes", "records", "first_changed_at_ms", "last_changed_at_ms"}
DIGEST, SEQUENCE = r"[0-9a-f]{64}", r"[0-9]{40}"
ARN = (
    r"arn:aws[a-z-]*:dynamodb:(?P<region>[a-z]{2,12}[a-z0-9-]{0,20}):(?P<account>[0-9]{12}):"
    r"table/(?P<table>[A-Za-z0-9_.-]{3,255})/stream/(?P<label>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}Z?)"
)
SEGMENT = rf"segments/dt=([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})/hour=([0-9]{{2}})/({SEQUENCE})-({DIGEST})\.parquet"
NOTE = (r"(?P<text>(?P<origin>[^\n]+)\n(?P<size>[1-9][0-9]{0,18})\n(?P<root>[^\n]+)\n)\n"
        r"— (?P<name>[^ \n]+) (?P<mark>[^\n]+)\n")
# fmt: on
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  Python 3.9 has no datetime.UTC
LARGEST_INTEGER, DEEPEST, HOUR_MS, FROM_2012_S, TO_2100_S = 2**53, 68, 3_600_000, 1_325_376_000, 4_102_444_800


class Refused(ValueError):  # noqa: N818
    """The proof does not hold."""


def need(holds: object, why: str) -> None:
    if not holds:
        raise Refused(why)


def canonical(value: object, level: int = 0) -> str:
    """RFC 8785 for what evidence holds: no fractions, no integers beyond 2**53."""
    if value is None or isinstance(value, (str, bool)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and abs(value) <= LARGEST_INTEGER:
        return str(value)
    need(isinstance(value, (list, dict)) and level < DEEPEST, "a number or a depth that evidence never has")
    if isinstance(value, list):
        return "[" + ",".join(canonical(one, level + 1) for one in value) + "]"
    names = sorted(value, key=lambda name: name.encode("utf-16-be"))
    return "{" + ",".join(f"{canonical(name)}:{canonical(value[name], level + 1)}" for name in names) + "}"


def leaf_of(value: object) -> bytes:
    """RFC 6962: the leaf of a text is the digest of a zero byte and the text."""
    return sha256(b"\x00" + canonical(value).encode()).digest()


def root_of(leaf: bytes, index: object, size: int, path: object) -> bytes:
    """RFC 6962, 2.1.1, read backwards: the last digest of a path is the other side of the topmost node."""
    need(type(index) is int and 0 <= index < size, "an index beyond its tree")
    need(type(path) is list and all(matches(DIGEST, one) for one in path), "a path that is not one of digests")
    if size == 1:
        need(not path, "a path that is too long")
        return leaf
    need(path, "a path that is too short")
    split, other = 1 << (size - 1).bit_length() - 1, bytes.fromhex(path[-1])
    if index < split:
        return sha256(b"\x01" + root_of(leaf, index, split, path[:-1]) + other).digest()
    return sha256(b"\x01" + other + root_of(leaf, index - split, size - split, path[:-1])).digest()


def matches(pattern: str, value: object) -> "re.Match[str] | None":
    return re.fullmatch(pattern, value) if isinstance(value, str) else None


def check_signature(pem: bytes, name: str, text: str, mark: bytes) -> str:
    """The one routine that the standard library lacks. `mark` is the id of the key and the signature; the digest of
    the key (SubjectPublicKeyInfo, DER) is returned.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415

    as_der = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    as_bytes = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    try:
        key = serialization.load_pem_public_key(pem)
        digest = sha256(key.public_bytes(*as_der))
        if isinstance(key, ed25519.Ed25519PublicKey):
            named = name.encode() + b"\n\x01" + key.public_bytes(*as_bytes)
            need(mark[:4] == sha256(named).digest()[:4], "a signature of another key")
            key.verify(mark[4:], text.encode())
        else:
            need(isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1", "a key of another kind")
            need(mark[:4] == digest.digest()[:4], "a signature of another key")
            key.verify(mark[4:], text.encode(), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm):
        raise Refused("the signature is not valid, or the key is of another kind") from None
    return digest.hexdigest()


def milliseconds(created: object) -> int:
    """When the change was made: seconds as an integer, or as the text of a double that is none."""
    seconds = float(created) if isinstance(created, str) else created
    is_text = isinstance(created, str) and repr(seconds) == created and not seconds.is_integer()
    need(is_text or type(created) is int, "a time that is none")
    need(FROM_2012_S <= seconds < TO_2100_S, "a time before 2012, or after 2099")
    return int(Decimal(created) * 1000)


def check_envelope(envelope: object) -> "re.Match[str]":
    """The envelope of section 9; its stream."""
    need(
        type(envelope) is dict and ENVELOPE <= envelope.keys() <= ENVELOPE | ENVELOPE_MAYBE, "an envelope that is none"
    )
    need(type(envelope["v"]) is int and envelope["v"] == 1, "an envelope of another version")
    need(matches(r"(?s).+", envelope["event_id"]), "an envelope without the id of its change")
    need(envelope["event_name"] in ("INSERT", "MODIFY", "REMOVE"), "an operation that is none")
    need(matches(r"[0-9]{21,40}", envelope["seq"]), "a sequence number that is none")
    need(matches(DIGEST, envelope["keys"]), "a key without a digest")
    need(
        all(envelope[one] is None or matches(DIGEST, envelope[one]) for one in ("old", "new")), "no digest of an image"
    )
    extra = envelope["extra"]
    need(type(extra) is dict and extra.get("eventSource") == "aws:dynamodb", "a record of another service")
    arn = matches(ARN, envelope["stream_arn"])
    need(arn, "an ARN that is not of a stream")
    datetime.fromisoformat(arn["label"].removesuffix("Z").partition(".")[0])
    return arn


def check_segment(entry: object) -> None:
    """The entry of type `segment` of section 10."""
    need(type(entry) is dict and entry.keys() == TEXTS | COUNTS and entry["type"] == "segment", "no entry of a segment")
    need(all(type(entry[name]) is int and entry[name] >= 0 for name in COUNTS), "a count that is none")
    need(entry["records"] and entry["bytes"], "an empty segment")
    need(matches(DIGEST, entry["file_sha256"]) and matches(SEQUENCE, entry["last_sequence"]), "a segment out of form")
    need(matches(r"(?s).+", entry["writer"]), "a segment without a writer")
    place = matches(SEGMENT, entry["path"])
    need(place, "a name that is not of a segment")
    need([place[3], place[4]] == [entry["first_sequence"], entry["root"]], "a segment that is named otherwise")
    start = datetime.strptime(f"{place[1]}T{place[2]}+0000", "%Y-%m-%dT%H%z")
    first, last = entry["first_changed_at_ms"], entry["last_changed_at_ms"]
    hour_ms = (start - EPOCH) // timedelta(milliseconds=1)
    need(hour_ms <= first <= last < hour_ms + HOUR_MS, "a segment with changes of another hour")
    need(entry["first_sequence"] <= entry["last_sequence"], "a segment that ends before it begins")


def check(content: bytes, pem: bytes) -> "dict[str, object]":
    """What a proof proves; ValueError if it does not hold. `pem` is the public key that the reviewer has pinned."""
    proof = json.loads(content.decode("utf-8"))
    need(canonical(proof).encode() + b"\n" == content, "a file in another spelling than its own")
    need(type(proof) is dict and proof.keys() == MEMBERS, "members are missing, or nobody knows them")
    need(type(proof["format"]) is int and proof["format"] == 1, "a proof of another format")
    envelope, entry, shown = proof["envelope"], proof["segment"], proof["shown"]
    stream, made_ms = check_envelope(envelope), milliseconds(envelope["ts"])
    check_segment(entry)
    note = matches(NOTE, proof["checkpoint"])
    need(note, "a checkpoint out of form")

    # The key and the images lead to the envelope, the envelope to its segment, the segment to the log.
    if shown is not None:
        need(
            type(shown) is dict and shown.keys() == {"keys", "old", "new"}, "another thing is shown than key and images"
        )
        for name, value in shown.items():
            need(type(value) is dict or (value is None and name != "keys"), f"{name} is no object")
            text = f"ddbtrail/v1/{'key' if name == 'keys' else 'image'}\x00{canonical(value)}".encode()
            need(envelope[name] == (None if value is None else sha256(text).hexdigest()), f"{name} is another one")
    root = root_of(leaf_of(envelope), proof["record_index"], entry["records"], proof["record_path"])
    need(root.hex() == entry["root"], "the record is not in the segment")
    root = root_of(leaf_of(entry), proof["entry_index"], int(note["size"]), proof["entry_path"])
    need(b64encode(root).decode() == note["root"], "the segment is not in the log")

    # All of it is of one trail, and the head of its log is signed.
    origin = f"ddbtrail/{stream['account']}/{stream['region']}/{stream['table']}"
    need(origin == note["origin"] == note["name"], "the record, the log and the signature are of several trails")
    need(entry["stream_label"] == stream["label"], "a record of another stream")
    need(entry["first_sequence"] <= envelope["seq"].zfill(40) <= entry["last_sequence"], "a record of another segment")
    need(entry["first_changed_at_ms"] <= made_ms <= entry["last_changed_at_ms"], "a record of another time")
    mark = b64decode(note["mark"], validate=True)
    need(b64encode(mark).decode() == note["mark"], "base64 in another spelling than its own")
    fingerprint = check_signature(pem, origin, note["text"], mark)
    return {
        "table": f"{stream['account']}/{stream['region']}/{stream['table']}",
        "change id": envelope["event_id"],
        "operation": envelope["event_name"],
        "changed at": (EPOCH + timedelta(milliseconds=made_ms)).isoformat(timespec="milliseconds"),
        "sequence number": envelope["seq"],
        "shown": shown,
        "log size": int(note["size"]),
        "log root": note["root"],
        "entry": proof["entry_index"],
        "segment": entry["path"],
        "key (SHA-256)": fingerprint,
    }


def main(arguments: "list[str]") -> int:
    if len(arguments) != 2:  # noqa: PLR2004
        print("usage: python verify_proof.py PROOF KEY.pub", file=sys.stderr)
        return 2
    try:
        content, pem = (Path(name).read_bytes() for name in arguments)
    except OSError as error:
        print(f"not checked: {error}", file=sys.stderr)
        return 4
    if not pem.startswith(b"-----BEGIN PUBLIC KEY-----"):
        print(f"not checked: {arguments[1]} is no public key in PEM", file=sys.stderr)
        return 2
    try:
        proved = check(content, pem)
    except (ValueError, RecursionError) as error:
        print(f"NOT PROVED: {error}")
        return 1
    print("PROVED: this log holds this change")
    for name, value in proved.items():
        print(f"  {name:16}{json.dumps(value)}")  # ASCII: nothing in a value can steer a terminal
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
