"""Proofs for tests: the worked example of the page, and a forge that seals whatever it is told.

A forge has the key of the log. What it makes leads up to a head with a valid signature, so a checker that refuses it
does so for what it says, and not for a digest.
"""

from __future__ import annotations

import copy
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from archiver.format.layout import SegmentName, StreamSource, hour_of
from archiver.format.log_entry import IntervalEntry, OpenEntry, SegmentEntry, entry_leaf
from archiver.format.merkle import inclusion_path, leaf_digest, tree_root
from archiver.format.note import Checkpoint, SignedNote
from archiver.format.proof import Proof, prove_row
from archiver.format.record import change_record
from archiver.signer import LocalSigner

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
ORIGIN = "ddbtrail/111122223333/eu-west-1/orders"
# Secret key of the first test of RFC 8032 §7.1, and of the second.
SIGNER = LocalSigner(
    Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
)
OTHER_SIGNER = LocalSigner(
    Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
)
P256_SIGNER = LocalSigner(generate_private_key(SECP256R1()))


def block(name: str) -> str:
    """A worked example of the page."""
    found = re.search(rf"^```\w+ {name}\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"the page has no block {name}"
    return found[1]


DELIVERED = [json.loads(block(f"delivered-{letter}")) for letter in "abc"]
SOURCE = StreamSource.parse(DELIVERED[0]["eventSourceARN"])
ROWS = [change_record(one, SOURCE, ("pk", "sk")) for one in DELIVERED]
LEAVES = [row.leaf for row in ROWS]
PLACE = SegmentName(hour_of(ROWS[0].changed_at_ms), ROWS[0].sequence_number, tree_root(LEAVES).hex())
SEGMENT = SegmentEntry(
    path=PLACE.compose(),
    stream_label=SOURCE.stream_label,
    file_sha256="5e" * 32,
    bytes=6_193,
    records=3,
    root=PLACE.root,
    first_sequence=ROWS[0].sequence_number,
    last_sequence=ROWS[2].sequence_number,
    first_changed_at_ms=ROWS[0].changed_at_ms,
    last_changed_at_ms=ROWS[2].changed_at_ms,
    writer="ddbtrail 1",
)
LOG = [
    OpenEntry(SOURCE.stream_label, None),
    SEGMENT,
    IntervalEntry(PLACE.hour_ms, PLACE.hour_ms + 1_800_000, PLACE.hour_ms + 1_800_000, None),
]
LOG_LEAVES = [entry_leaf(entry) for entry in LOG]


def signed(origin: str, leaves: Sequence[bytes], signer: LocalSigner = SIGNER) -> SignedNote:
    text = Checkpoint(origin, len(leaves), tree_root(leaves)).text
    return SignedNote(text, (signer.sign(origin, text),))


def worked(number: int, *, shows: bool = True, signer: LocalSigner = SIGNER) -> Proof:
    """The proof of one of the three records of the page."""
    return prove_row(
        ROWS[number],
        shows=shows,
        rows=LEAVES,
        row_index=number,
        segment=SEGMENT,
        entries=LOG_LEAVES,
        entry_index=1,
        checkpoint=signed(ORIGIN, LOG_LEAVES, signer),
    )


def spelled(value: Any) -> bytes:
    """Any JSON value in canonical spelling as far as it has one, also what the format refuses."""
    return json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return {name: _sorted(value[name]) for name in names}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def padding(number: int) -> list[bytes]:
    """Leaves of which nobody knows the content."""
    return [sha256(f"leaf {index}".encode()).digest() for index in range(number)]


@dataclass
class Forge:
    """A proof in the making. Whatever is changed is sealed as if it had always been so."""

    members: dict[str, Any]
    rows: list[bytes] = field(default_factory=lambda: padding(3))
    entries: list[bytes] = field(default_factory=lambda: padding(5))
    origin: str = ORIGIN
    signature_name: str | None = None
    signer: LocalSigner = SIGNER
    keeps_digests: bool = False  # leave the digests of what is shown as they are
    keeps_root: bool = False  # leave root and name of the segment as they are
    keeps_count: bool = False
    head: str = "{origin}\n{size}\n{root}\n"  # what is signed
    note: str = "{head}\n— {name} {mark}\n"  # and how it is written

    @classmethod
    def of(cls, proof: Proof) -> Forge:
        return cls(json.loads(proof.compose()))

    def sealed(self) -> bytes:
        members = copy.deepcopy(self.members)
        envelope, segment, shown = members["envelope"], members["segment"], members["shown"]
        if isinstance(shown, dict) and isinstance(envelope, dict) and not self.keeps_digests:
            for name in {"keys", "old", "new"} & shown.keys() & envelope.keys():
                domain = b"ddbtrail/v1/key\x00" if name == "keys" else b"ddbtrail/v1/image\x00"
                value = shown[name]
                envelope[name] = None if value is None else sha256(domain + spelled(value)).hexdigest()
        members["record_path"], root = _placed(self.rows, members["record_index"], spelled(envelope))
        if isinstance(segment, dict) and not self.keeps_root:
            if isinstance(segment.get("root"), str) and isinstance(segment.get("path"), str):
                segment["path"] = segment["path"].replace(segment["root"], root.hex())
            segment["root"] = root.hex()
        if isinstance(segment, dict) and not self.keeps_count:
            segment["records"] = len(self.rows)
        members["entry_path"], root = _placed(self.entries, members["entry_index"], spelled(segment))
        text = self.head.format(origin=self.origin, size=len(self.entries), root=b64encode(root).decode())
        signature = self.signer.sign(self.origin, text)
        name, mark = self.signature_name or self.origin, b64encode(signature.key_id + signature.signature).decode()
        members["checkpoint"] = self.note.format(head=text, name=name, mark=mark)
        return spelled(members) + b"\n"


def _placed(others: list[bytes], index: Any, text: bytes) -> tuple[list[str], bytes]:
    """The path of a text among leaves, and the root; it stands at 0 where the index is none."""
    place = index if type(index) is int and 0 <= index < len(others) else 0
    leaves = [*others[:place], leaf_digest(text), *others[place + 1 :]]
    return [digest.hex() for digest in inclusion_path(leaves, place)], tree_root(leaves)


# --- what is sealed, signed and nonsense: one rule of docs/format.md §15 broken each ---


def _deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


def _put(*path: str, value: Any) -> Any:
    """Sets a member, in a proof with everything shown."""

    def change(forge: Forge) -> None:
        place = forge.members
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


def _drop(*path: str) -> Any:
    def change(forge: Forge) -> None:
        place = forge.members
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return change


def _set(**attributes: Any) -> Any:
    def change(forge: Forge) -> None:
        for name, value in attributes.items():
            setattr(forge, name, value)

    return change


def _all(*changes: Any) -> Any:
    def change(forge: Forge) -> None:
        for one in changes:
            one(forge)

    return change


def _digest(name: str, value: Any) -> Any:
    return _all(_put("shown", value=None), _put("envelope", name, value=value))


def _shown_otherwise(name: str, value: Any) -> Any:
    return _all(_set(keeps_digests=True), _put("shown", name, value=value))


def _renamed(first: str, hour: str = "06", day: str = "2026-11-23") -> Any:
    def change(forge: Forge) -> None:
        segment = forge.members["segment"]
        segment["first_sequence"] = first
        segment["path"] = f"segments/dt={day}/hour={hour}/{first}-{segment['root']}.parquet"

    return change


def _labelled(arn: str) -> Any:
    label = arn.rpartition("/")[2]
    return _all(_put("envelope", "stream_arn", value=arn), _put("segment", "stream_label", value=label))


def _within(day: str, hour: str, second: int) -> Any:
    """A record of this second in a segment of nothing else."""
    times = [_put("segment", f"{end}_changed_at_ms", value=second * 1000) for end in ("first", "last")]
    return _all(_renamed(_SEQUENCE, hour, day), _put("envelope", "ts", value=second), *times)


_SEQUENCE = "0000000000000000442158450000000001745043"
_HOUR_MS = 1_795_413_600_000
_ARN = DELIVERED[0]["eventSourceARN"]

# A name; what is done to the proof of the first record; a word of the reason that `Proof.parse` gives, and one of the
# reason that docs/verify_proof.py gives.
NONSENSE: list[tuple[str, Any, str, str]] = [
    ("format 2", _put("format", value=2), "format 2", "another format"),
    ("format true", _put("format", value=True), "format True", "another format"),
    ("no format", _drop("format"), "format", "members"),
    ("a member more", _put("beside", value=1), "beside", "members"),
    # shown
    ("shown as a list", _put("shown", value=[]), "shown", "another thing is shown"),
    ("an image more", _put("shown", "other", value={}), "other", "another thing is shown"),
    ("an image less", _drop("shown", "old"), "old", "another thing is shown"),
    ("no key", _all(_set(keeps_digests=True), _put("shown", "keys", value=None)), "keys", "keys is no object"),
    ("a key that is a text", _put("shown", "keys", value="a"), "keys", "keys is no object"),
    ("an image that is a list", _put("shown", "new", value=[]), "new", "new is no object"),
    ("an image that is false", _put("shown", "old", value=False), "old", "old is no object"),
    ("another key", _shown_otherwise("keys", {"pk": {"S": "CUST#8"}}), "key is not", "keys is another"),
    ("another old image", _shown_otherwise("old", {}), "old image", "old is another"),
    ("another new image", _shown_otherwise("new", {}), "new image", "new is another"),
    ("an image that the record had", _shown_otherwise("new", None), "new image", "new is another"),
    # envelope
    ("envelope null", _put("envelope", value=None), "envelope", "envelope that is none"),
    *(
        (
            f"envelope without {name}",
            _all(_put("shown", value=None), _drop("envelope", name)),
            name,
            "envelope that is none",
        )
        for name in ("v", "event_id", "event_name", "keys", "old", "new", "stream_arn", "seq", "ts", "extra")
    ),
    ("envelope with another member", _put("envelope", "beside", value=1), "beside", "envelope that is none"),
    ("envelope of version 2", _put("envelope", "v", value=2), "version 2", "another version"),
    ("envelope of version true", _put("envelope", "v", value=True), "version True", "another version"),
    ("event_id empty", _put("envelope", "event_id", value=""), "event_id", "id of its change"),
    ("event_id a number", _put("envelope", "event_id", value=7), "event_id", "id of its change"),
    ("event_name unknown", _put("envelope", "event_name", value="UPSERT"), "event_name", "operation"),
    ("event_name a list", _put("envelope", "event_name", value=["MODIFY"]), "event_name", "operation"),
    ("seq of 20 digits", _put("envelope", "seq", value="4" * 20), "seq is", "sequence number that is none"),
    ("seq of 41 digits", _put("envelope", "seq", value="0" + _SEQUENCE), "seq is", "sequence number that is none"),
    ("seq in other digits", _put("envelope", "seq", value="٤" * 25), "seq is", "sequence number that is none"),
    (
        "seq with a newline",
        _put("envelope", "seq", value=_SEQUENCE[9:] + "\n"),
        "seq is",
        "sequence number that is none",
    ),
    ("seq a number", _put("envelope", "seq", value=1), "seq is", "sequence number that is none"),
    ("keys null", _digest("keys", None), "SHA-256", "without a digest"),
    ("keys in capitals", _digest("keys", "AB" * 32), "SHA-256", "without a digest"),
    ("old no digest", _digest("old", "ab" * 31), "SHA-256", "no digest of an image"),
    ("new no digest", _digest("new", 7), "SHA-256", "no digest of an image"),
    ("new a digest and more", _digest("new", "ab" * 33), "SHA-256", "no digest of an image"),
    (
        "an ARN of a queue",
        _put("envelope", "stream_arn", value="arn:aws:sqs:eu-west-1:111122223333:orders"),
        "ARN",
        "ARN",
    ),
    ("an ARN and more", _put("envelope", "stream_arn", value=f"{_ARN}\n"), "ARN", "ARN"),
    ("a label that is no time", _put("envelope", "stream_arn", value=_ARN.replace("-10-", "-13-")), "month", "month"),
    ("ts true", _put("envelope", "ts", value=True), "ApproximateCreationDateTime", "time that is none"),
    ("ts null", _put("envelope", "ts", value=None), "ApproximateCreationDateTime", "time that is none"),
    ("ts an integer as text", _put("envelope", "ts", value="1795414530"), "canonical", "time that is none"),
    ("ts a whole number as text", _put("envelope", "ts", value="1795414530.0"), "canonical", "time that is none"),
    ("ts with a zero more", _put("envelope", "ts", value="1795414530.50"), "canonical", "time that is none"),
    ("ts no number", _put("envelope", "ts", value="nan"), "2012", "2012"),
    ("ts before 2012", _put("envelope", "ts", value=1_325_375_999), "2012", "2012"),
    ("ts in 2100", _put("envelope", "ts", value=4_102_444_800), "2012", "2012"),
    ("extra a list", _put("envelope", "extra", value=[]), "DynamoDB", "another service"),
    ("another service", _put("envelope", "extra", "eventSource", value="aws:kinesis"), "DynamoDB", "another service"),
    ("no service", _drop("envelope", "extra", "eventSource"), "DynamoDB", "another service"),
    # segment
    ("segment null", _put("segment", value=None), "segment", "no entry"),
    (
        "an entry of type open",
        _put("segment", value={"type": "open", "stream_label": "2026-10-01T09:30:00.000", "description_sha256": None}),
        "segment",
        "no entry",
    ),
    ("a segment of another type", _put("segment", "type", value="baseline"), "segment", "no entry"),
    ("a segment with another member", _put("segment", "beside", value=1), "beside", "no entry"),
    *(
        (f"a segment without {name}", _drop("segment", name), name, "no entry")
        for name in (
            "path",
            "stream_label",
            "file_sha256",
            "bytes",
            "first_sequence",
            "last_sequence",
            "first_changed_at_ms",
            "last_changed_at_ms",
            "writer",
        )
    ),
    ("bytes true", _put("segment", "bytes", value=True), "bytes", "count"),
    ("bytes below zero", _put("segment", "bytes", value=-1), "bytes", "count"),
    ("bytes zero", _put("segment", "bytes", value=0), "empty", "empty segment"),
    ("records zero", _all(_set(keeps_count=True), _put("segment", "records", value=0)), "empty", "empty segment"),
    ("file_sha256 short", _put("segment", "file_sha256", value="5e" * 31), "file_sha256", "out of form"),
    ("last_sequence short", _put("segment", "last_sequence", value="9" * 39), "last_sequence", "out of form"),
    ("no writer", _put("segment", "writer", value=""), "writer", "writer"),
    ("a writer null", _put("segment", "writer", value=None), "writer", "writer"),
    ("path null", _put("segment", "path", value=None), "null", "not of a segment"),
    ("a path out of the grammar", _put("segment", "path", value="segments/x.parquet"), "name of a segment", "not of a"),
    ("an hour that is none", _renamed(_SEQUENCE, hour="24"), "hour", "does not match"),
    ("a day that is none", _renamed(_SEQUENCE, day="2026-11-31"), "hour", "day"),
    (
        "another root than its name",
        _all(_set(keeps_root=True), _put("segment", "root", value="ab" * 32)),
        "named after",
        "named otherwise",
    ),
    (
        "another first_sequence than its name",
        _put("segment", "first_sequence", value="0" * 40),
        "named after",
        "named otherwise",
    ),
    ("last before first", _put("segment", "last_sequence", value="0" * 40), "ends before", "ends before"),
    ("ends before it begins", _put("segment", "last_changed_at_ms", value=_HOUR_MS), "ends before", "another hour"),
    (
        "changes of the hour before",
        _put("segment", "first_changed_at_ms", value=_HOUR_MS - 1),
        "another hour",
        "another hour",
    ),
    (
        "changes of the next hour",
        _put("segment", "last_changed_at_ms", value=_HOUR_MS + 3_600_000),
        "another hour",
        "another hour",
    ),
    ("named after another hour", _renamed(_SEQUENCE, hour="07"), "another hour", "another hour"),
    # one trail, one segment, one time
    (
        "another root",
        _all(_set(keeps_root=True), _put("envelope", "event_id", value="x")),
        "root of its segment",
        "not in the segment",
    ),
    (
        "a record before its segment",
        _put("envelope", "seq", value=f"{int(_SEQUENCE) - 1}"),
        "sequence number of the",
        "record of another segment",
    ),
    (
        "a record after its segment",
        _put("envelope", "seq", value=f"{int(_SEQUENCE) + 3}"),
        "sequence number of the",
        "record of another segment",
    ),
    ("a time before its segment", _put("envelope", "ts", value="1795414529.999"), "time of the record", "another time"),
    ("a time after its segment", _put("envelope", "ts", value="1795414532.251"), "time of the record", "another time"),
    ("another account", _set(origin=ORIGIN.replace("3333", "3334")), "another trail", "several trails"),
    ("another region", _set(origin=ORIGIN.replace("west", "east")), "another trail", "several trails"),
    ("another table", _set(origin=ORIGIN + "2"), "another trail", "several trails"),
    (
        "another label",
        _put("segment", "stream_label", value="2026-10-01T09:30:01.000"),
        "another stream",
        "another stream",
    ),
    ("signed by a witness", _set(signature_name="witness.example"), "one signature", "several trails"),
    # the checkpoint, signed as it stands
    ("a size with a zero before it", _set(head="{origin}\n0{size}\n{root}\n"), "size", "out of form"),
    ("a line more", _set(head="{origin}\n{size}\n{root}\nmore\n"), "three lines", "out of form"),
    ("a line less", _set(head="{origin}\n{size}\n"), "three lines", "out of form"),
    ("an empty line less", _set(note="{head}— {name} {mark}\n"), "empty line", "out of form"),
    ("an empty line more", _set(note="{head}\n\n— {name} {mark}\n"), "control|three lines", "out of form"),
    ("another dash", _set(note="{head}\n- {name} {mark}\n"), "no signature", "out of form"),
    ("no newline at the end", _set(note="{head}\n— {name} {mark}"), "no signature", "out of form"),
    ("a second signature", _set(note="{head}\n— {name} {mark}\n— w {mark}\n"), "one signature", "out of form"),
    ("a root of another spelling", _set(head="{origin}\n{size}\n{root}=\n"), "base64", "not in the log"),
    # numbers and depth
    ("an integer beyond 2**53", _put("envelope", "extra", "more", value=2**53 + 1), "canonical form", "number"),
    ("an integer beyond 64 bits", _put("envelope", "extra", "more", value=-(2**70)), "canonical form", "number"),
    ("a fraction", _put("envelope", "extra", "more", value=0.5), "canonical form", "number"),
    ("a whole number with a point", _put("envelope", "extra", "more", value=1.0), "canonical form", "number"),
    ("nested to 69 levels", _put("envelope", "extra", "more", value=_deep(66)), "deeper", "depth"),
]

# The same proof with something else that a record can have: each must be accepted.
SENSE: list[tuple[str, Any]] = [
    ("as it is", _all()),
    ("withheld", _put("shown", value=None)),
    ("an image that the record lacks", _put("shown", "old", value=None)),
    ("an empty image", _put("shown", "old", value={})),
    ("an image that is no item", _put("shown", "old", value={"a": 1})),
    ("seq of 21 digits", _all(_renamed("0" * 40), _put("envelope", "seq", value="4" * 21))),
    ("seq of 40 digits", _put("envelope", "seq", value=_SEQUENCE)),
    ("the first of its segment", _put("envelope", "seq", value=f"{int(_SEQUENCE)}")),
    ("the last of its segment", _put("envelope", "seq", value=f"{int(_SEQUENCE) + 2}")),
    ("the first time", _put("envelope", "ts", value="1795414530.0001")),
    ("the last time", _put("envelope", "ts", value="1795414532.2509")),
    ("the first second of all", _within("2012-01-01", "00", 1_325_376_000)),
    ("the last second of all", _within("2099-12-31", "23", 4_102_444_799)),
    (
        "a whole hour",
        _all(
            _put("segment", "first_changed_at_ms", value=_HOUR_MS),
            _put("segment", "last_changed_at_ms", value=_HOUR_MS + 3_599_999),
        ),
    ),
    ("a segment of one change", _put("segment", "last_sequence", value=_SEQUENCE)),
    ("a time within", _put("envelope", "ts", value=1_795_414_531)),
    ("a label with a Z", _labelled(_ARN + "Z")),
    ("a label of another precision", _labelled(_ARN.removesuffix(".000"))),
    ("another partition", _put("envelope", "stream_arn", value=_ARN.replace("arn:aws:", "arn:aws-cn:"))),
    ("identity null", _put("envelope", "user_identity", value=None)),
    (
        "without what may be missing",
        _all(*(_drop("envelope", name) for name in ("region", "event_version", "view_type", "size_bytes"))),
    ),
    ("2**53", _put("envelope", "extra", "more", value=[2**53, -(2**53)])),
    ("nested to 68 levels", _put("envelope", "extra", "more", value=_deep(65))),
    (
        "names that UTF-16 sorts otherwise",
        _put("envelope", "extra", "\uffff", value={"😀": 1, "\ue000": 2, "\ud7ff": '\x00\x7f\u2028"\\'}),
    ),
    ("one record", _set(rows=padding(1))),
    ("one entry", _all(_set(entries=padding(1)), _put("entry_index", value=0))),
    ("the last of many", _all(_set(rows=padding(40)), _put("record_index", value=39))),
    ("signed with P-256", _set(signer=P256_SIGNER)),
]


_WORKED = worked(0).compose()
# The worked example as other bytes that say the same, or nothing.
OTHERWISE_SPELLED: list[bytes] = [
    _WORKED.rstrip(b"\n"),
    _WORKED + b"\n",
    _WORKED + b" ",
    _WORKED.replace(b"\n", b"\r\n"),
    b"\xef\xbb\xbf" + _WORKED,
    b" " + _WORKED,
    _WORKED.decode().encode("utf-16"),
    _WORKED.decode().encode("utf-32-be"),
    _WORKED.replace(b'"format":1', b'"format": 1'),
    _WORKED.replace(b'"format":1', b'"format":1,"format":1'),
    _WORKED.replace(b'"format":1', b'"format":2,"format":1'),
    _WORKED.replace(b'"format":1', b'"format":1.0'),
    _WORKED.replace(b'"format":1', b'"format":1e0'),
    _WORKED.replace(b'"format":1', b'"format":01'),
    _WORKED.replace(b"MODIFY", b"\\u004dODIFY"),
    _WORKED.replace("café".encode(), b"caf\\u00e9"),
    _WORKED.replace(b"\xe2\x80\x94", b"\\u2014"),
    json.dumps(dict(reversed(json.loads(_WORKED).items())), separators=(",", ":"), ensure_ascii=False).encode() + b"\n",
    json.dumps(json.loads(_WORKED), indent=1, ensure_ascii=False).encode() + b"\n",
    spelled(json.loads(_WORKED)),
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 900 + b"]" * 900 + b"\n",
    b"",
    b"\n",
    b"null\n",
    b"[]\n",
    b"{}\n",
    b'"format"\n',
    b"\xff\n",
]
