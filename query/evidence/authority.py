"""Time-stamping authorities (RFC 3161): asked for a stamp, and, through openssl, whether a stamp is theirs.

The only file that asks the network for anything but the archive, and only where somebody named the address.
"""

import secrets
import ssl
import subprocess
import tempfile
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from query.errors import QueryError, UsageError
from query.evidence.time_stamp import NONCE_BYTES, NotAStamp, compose_request, parse_stamp

_TIMEOUT_S: Final = 30
_ANSWER_BYTES_MAX: Final = 1_000_000
_ASKED: Final = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}


class NotStamped(QueryError):  # noqa: N818  as in `query.errors`
    """An authority gave no stamp, or nobody could look at one."""

    code = "not-stamped"


def check_address(url: str) -> None:
    """Raises UsageError for what is no address of the web, spelled as it is sent."""
    if not _is_address(url):
        raise UsageError(f"{url!r} is no address of a time-stamping authority", hint="type --tsa https://HOST/PATH")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_named = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # brackets without an address in them, or no port
        return False
    return bool(is_named) and url.isascii() and url.isprintable() and " " not in url


def check_certificates(path: Path) -> None:
    """Raises UsageError for a file without certificates in PEM, as openssl reads them."""
    hint = "name a file with the authority's certificates, in PEM"
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=hint)
    if not path.exists():
        raise UsageError(f"there is no {path}", hint=hint)
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        trusted.load_verify_locations(path)
    except ssl.SSLError as error:
        raise UsageError(f"no certificates could be read in {path}", why=error.reason, hint=hint) from error
    except OSError as error:
        raise UsageError(f"{path} could not be read", why=(error.strerror or str(error)).lower(), hint=hint) from error
    if not trusted.cert_store_stats()["x509"]:
        raise UsageError(f"there is no certificate in {path}", hint=hint)


def ask_stamp(url: str, manifest: bytes) -> bytes:
    """A stamp of a manifest, as the authority answered. It gets the digest and a random number, and nothing else.

    Raises NotStamped.
    """
    nonce = bytes([secrets.randbelow(127) + 1]) + secrets.token_bytes(NONCE_BYTES - 1)
    try:
        # `check_address` let http and https through, and nothing else.
        request = Request(url, compose_request(manifest, nonce), _ASKED)  # noqa: S310
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            content: bytes = answer.read(_ANSWER_BYTES_MAX + 1)
        stamp = parse_stamp(content)
        stamp.check(manifest)
        if stamp.nonce != nonce:
            raise NotAStamp("it answers another request")  # noqa: TRY301  told like what the parser refuses
    except (OSError, HTTPException, NotAStamp) as error:
        raise NotStamped(
            f"{url} gave no time stamp",
            why=str(error) or type(error).__name__,
            hint="ask again, name another authority, or leave --tsa out",
        ) from error
    return content


def problem_of_authority(stamp: bytes, manifest: bytes, certificates: Path) -> str | None:
    """What is wrong with the signature of a stamp, by the certificates (PEM) that are trusted; None: nothing.

    `check_certificates` found some. Raises NotStamped without openssl.
    """
    with tempfile.TemporaryDirectory(prefix="ddbtrail-stamp-") as folder:
        data, given = Path(folder, "data"), Path(folder, "stamp")
        data.write_bytes(manifest)
        given.write_bytes(stamp)
        command: list[str | Path] = ["openssl", "ts", "-verify", "-data", data, "-in", given, "-CAfile", certificates]
        try:
            done = subprocess.run(  # noqa: S603  no shell, and nothing in it but names of files
                command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotStamped(
                "nobody could look at the time stamp", why=f"openssl: {error}", hint="install openssl"
            ) from error
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return f"openssl does not take it for the authority's: {said[-1]}"
