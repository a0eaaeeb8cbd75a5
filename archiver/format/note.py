"""Signed notes and checkpoints: the text that a seal is signed in, as c2sp.org/signed-note and c2sp.org/tlog-checkpoint
write it. Composes and parses; nothing is signed or checked here.

Laws: `parse` accepts exactly what `compose` makes (one spelling of base64, of numbers, of line ends), so that no two
texts say the same; a checkpoint has no extension lines and is of a tree that has leaves.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from archiver.format.merkle import DIGEST_BYTES

# "MUST accept at least up to 16 signatures": those of the log and of whoever has countersigned.
SIGNATURES_MAX: Final = 64
NOTE_BYTES_MAX: Final = 1_000_000

_KEY_ID_BYTES: Final = 4
_ED25519: Final = 1  # the signature type identifier of Ed25519
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_NAME: Final = re.compile(r"[^\s+]+")
_SIGNATURE_LINE: Final = re.compile(r"— (?P<name>[^ ]+) (?P<signature>[A-Za-z0-9+/]+=*)\n")
_SIZE: Final = re.compile(r"[1-9][0-9]{0,18}")


def ed25519_key_id(key_name: str, public_key: bytes) -> bytes:
    """The id of an Ed25519 key (32 bytes) under a name: 4 bytes. It proves nothing: a key is pinned whole."""
    return sha256(key_name.encode() + b"\n" + bytes([_ED25519]) + public_key).digest()[:_KEY_ID_BYTES]


def ecdsa_key_id(public_key_info: bytes) -> bytes:
    """The id of an ECDSA key, from its SubjectPublicKeyInfo in DER: 4 bytes."""
    return sha256(public_key_info).digest()[:_KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature of a note: who says to have made it (name, and 4 bytes of key id), and its bytes."""

    key_name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if _KEY_NAME.fullmatch(self.key_name) is None or _CONTROL.search(self.key_name):
            raise ValueError(f"{self.key_name!r} is no key name: it is empty, or has a space or a plus")
        if len(self.key_id) != _KEY_ID_BYTES or not self.signature:
            raise ValueError(
                f"the signature of {self.key_name} has no key id of {_KEY_ID_BYTES} bytes, or nothing else"
            )

    @property
    def line(self) -> str:
        return f"— {self.key_name} {b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text, which ends a line, and its signatures, in order. What is signed is `text` in UTF-8."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        if not self.text.endswith("\n") or _CONTROL.search(self.text):
            raise ValueError("the text of a note ends in a newline and has no other control character")
        if not 0 < len(self.signatures) <= SIGNATURES_MAX:
            raise ValueError(f"a note has 1 to {SIGNATURES_MAX} signatures, not {len(self.signatures)}")

    def compose(self) -> bytes:
        """The note as it is stored and shown."""
        return (self.text + "\n" + "".join(one.line for one in self.signatures)).encode()

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises ValueError for what `compose` would not have written."""
        if len(content) > NOTE_BYTES_MAX:
            raise ValueError(f"a note of {len(content)} bytes is longer than {NOTE_BYTES_MAX}")
        text, separator, lines = content.decode("utf-8", errors="strict").rpartition("\n\n")
        if not separator:
            raise ValueError("a note has an empty line between its text and its signatures")
        note = cls(text + "\n", tuple(_signatures(lines)))
        assert note.compose() == content, "every part was parsed strictly"
        return note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: whose it is, how many leaves it has, and its RFC 6962 root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if _KEY_NAME.fullmatch(self.origin) is None or _CONTROL.search(self.origin):
            raise ValueError(f"{self.origin!r} is no origin: it is empty, or has a space or a plus")
        if _SIZE.fullmatch(str(self.size)) is None:
            raise ValueError(f"a checkpoint is of a log with leaves, not of {self.size}")
        if len(self.root) != DIGEST_BYTES:
            raise ValueError(f"a root has {DIGEST_BYTES} bytes, not {len(self.root)}")

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for any other text than `text` gives: extension lines, leading zeros, an empty tree."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:  # noqa: PLR2004  three lines, each ended
            raise ValueError("a checkpoint has three lines: origin, size, root")
        if _SIZE.fullmatch(lines[1]) is None:
            raise ValueError(f"{lines[1]!r} is no size of a log with leaves")
        return cls(lines[0], int(lines[1]), _base64(lines[2]))


def _signatures(lines: str) -> Iterable[NoteSignature]:
    at = 0
    while at < len(lines):
        found = _SIGNATURE_LINE.match(lines, at)
        if found is None:
            raise ValueError("a line after the empty one is no signature")
        content = _base64(found["signature"])
        yield NoteSignature(found["name"], content[:_KEY_ID_BYTES], content[_KEY_ID_BYTES:])
        at = found.end()


def _base64(text: str) -> bytes:
    """Base64 in its one spelling (RFC 4648 §4 with padding, unused bits zero)."""
    try:
        content = b64decode(text, validate=True)
    except Base64Error as error:
        raise ValueError(f"{text[:60]!r} is not base64: {error}") from error
    if b64encode(content).decode() != text:
        raise ValueError(f"{text[:60]!r} is base64 in another spelling than its own")
    return content
