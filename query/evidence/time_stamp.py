"""Time stamps of RFC 3161: a request for one, and what one says. Pure; DER as far as it is needed, and no further.

Invariant: a stamp is of a manifest only if its imprint is the digest of that manifest. Who made it is not looked at
here: anybody can write bytes that say as much (`query.evidence.authority`).
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

# RFC 3161, 2.4.1: version 1, imprint by SHA-256, a nonce of eight bytes, and the authority's certificate is wanted.
_REQUEST_HEAD: Final = bytes.fromhex("3043020101")
_IMPRINT_HEAD: Final = bytes.fromhex("3031300d060960864801650304020105000420")
_NONCE_HEAD: Final = bytes.fromhex("0208")
_CERTIFICATE_WANTED: Final = bytes.fromhex("0101ff")
NONCE_BYTES: Final = 8

_SIGNED_DATA: Final = bytes.fromhex("2a864886f70d010702")
_TST_INFO: Final = bytes.fromhex("2a864886f70d0109100104")
_ALGORITHMS: Final = {
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}
_INTEGER, _OCTETS, _OID, _TIME, _SEQUENCE, _SET, _INSIDE = 0x02, 0x04, 0x06, 0x18, 0x30, 0x31, 0xA0
_GRANTED: Final = {0, 1}  # granted, and granted with modifications
_LONG: Final = 0x80
_LENGTH_BYTES_MAX: Final = 4
_GENERAL_TIME: Final = re.compile(r"(\d{14})(?:\.\d+)?Z", re.ASCII)


class NotAStamp(ValueError):  # noqa: N818
    """What was read is no time stamp, or not of this manifest; the text says why."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a stamp says: when it was made (epoch ms, whole seconds), of which digest, and for which request."""

    at_ms: int
    algorithm: str
    imprint: bytes
    nonce: bytes | None

    def check(self, manifest: bytes) -> None:
        """Raises NotAStamp unless it is of this manifest."""
        digest = hashlib.new(self.algorithm, manifest).digest()
        if digest != self.imprint:
            raise NotAStamp(f"it is of bytes with the digest {self.imprint.hex()}, the manifest has {digest.hex()}")


def compose_request(manifest: bytes, nonce: bytes) -> bytes:
    """A request for a stamp of a manifest. `nonce` has eight bytes, the first from 1 to 127: a positive number."""
    assert len(nonce) == NONCE_BYTES
    assert 0 < nonce[0] < _LONG
    imprint = _IMPRINT_HEAD + hashlib.sha256(manifest).digest()
    return _REQUEST_HEAD + imprint + _NONCE_HEAD + nonce + _CERTIFICATE_WANTED


def parse_stamp(content: bytes) -> Stamp:
    """What an answer of an authority says. Raises NotAStamp, also for one that refuses."""
    try:
        return _stamp(content)
    except NotAStamp:
        raise
    except (ValueError, IndexError, OverflowError) as error:
        # What is taken apart below has fewer elements than a stamp has, or more.
        raise NotAStamp("it is no time stamp: it is cut short, or other elements are in it") from error


def _stamp(content: bytes) -> Stamp:
    answer = _only(content, _SEQUENCE)
    status, *token = _parts(answer)
    number = int.from_bytes(_first(_body(status, _SEQUENCE), _INTEGER))
    if number not in _GRANTED:
        raise NotAStamp(f"the authority did not grant it: status {number}")
    if len(token) != 1:
        raise NotAStamp("it is no time stamp: granted, and not there")
    kind, wrapped, *_ = _parts(_body(token[0], _SEQUENCE))
    if kind != (_OID, _SIGNED_DATA):
        raise NotAStamp("it is no time stamp: not signed data")
    signed = _parts(_only(_body(wrapped, _INSIDE), _SEQUENCE))
    _, _, inner, *_ = signed
    kind, wrapped, *_ = _parts(_body(inner, _SEQUENCE))
    if kind != (_OID, _TST_INFO):
        raise NotAStamp("it is no time stamp: what was signed is something else")
    return _info(_only(_only(_body(wrapped, _INSIDE), _OCTETS), _SEQUENCE))


def _info(content: bytes) -> Stamp:
    _, _, imprint, _, time, *others = _parts(content)
    algorithm, digest = _parts(_body(imprint, _SEQUENCE))
    name = _ALGORITHMS.get(_first(_body(algorithm, _SEQUENCE), _OID))
    if name is None:
        raise NotAStamp("its imprint is of an algorithm that is not SHA-2")
    nonces = [body for tag, body in others if tag == _INTEGER]
    return Stamp(_instant_ms(_body(time, _TIME)), name, _body(digest, _OCTETS), nonces[0] if nonces else None)


def _instant_ms(text: bytes) -> int:
    found = _GENERAL_TIME.fullmatch(text.decode("ascii", "replace"))
    try:
        if found is None:
            raise ValueError("not in UTC")  # noqa: TRY301  told like what the parser refuses
        made = datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise NotAStamp(f"its time is none: {text!r}") from error
    return (made - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * 1000


# --- DER: tag, length, content ---


def _parts(content: bytes) -> list[tuple[int, bytes]]:
    """The elements of some content, each as tag and content. Raises NotAStamp, IndexError."""
    parts, at = [], 0
    while at < len(content):
        tag, length, at = content[at], content[at + 1], at + 2
        if length >= _LONG:
            size = length - _LONG
            if not 0 < size <= _LENGTH_BYTES_MAX:
                raise NotAStamp("it is no time stamp: not DER")
            length, at = int.from_bytes(content[at : at + size]), at + size
        if at + length > len(content):
            raise NotAStamp("it is no time stamp: it is cut short")
        parts.append((tag, content[at : at + length]))
        at += length
    return parts


def _body(part: tuple[int, bytes], tag: int) -> bytes:
    if part[0] != tag:
        raise NotAStamp(f"it is no time stamp: tag {part[0]:#x} where {tag:#x} should be")
    return part[1]


def _first(content: bytes, tag: int) -> bytes:
    return _body(_parts(content)[0], tag)


def _only(content: bytes, tag: int) -> bytes:
    parts = _parts(content)
    if len(parts) != 1:
        raise NotAStamp("it is no time stamp: more or less than one element")
    return _body(parts[0], tag)
