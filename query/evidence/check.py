"""Whether a package is as it was built: every file and every byte, offline, without the archive."""

from dataclasses import dataclass
from pathlib import Path

from query.errors import QueryError, UsageError
from query.evidence.authority import check_certificates, problem_of_authority
from query.evidence.package import (
    BESIDE,
    MANIFEST,
    SIGNATURE,
    SIGNING_KEY,
    TIME_STAMP,
    NotAPackage,
    OpenPackage,
    open_package,
    parse_manifest,
)
from query.evidence.time_stamp import NotAStamp, parse_stamp
from query.note_check import PublicKey, check_detached, fingerprint, parse_public_pem


class UnreadablePackage(QueryError):  # noqa: N818  as in `query.errors`
    """A package could not be read; nothing is said about it."""

    code = "unreadable-package"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: `problems` in words, none if the package is as it was built.

    `key_sha256` is the fingerprint of the key that signed it (None: it is not signed), `is_pinned` whether that is the
    key that the reviewer gave. `stamped_at_ms` is what its time stamp says (epoch ms; None: there is none, or none of
    this manifest), `is_authority_checked` whether it was found to be one of the authority that the reviewer named.
    """

    files: int
    problems: tuple[str, ...]
    key_sha256: str | None = None
    is_pinned: bool = False
    has_time_stamp: bool = False
    stamped_at_ms: int | None = None
    is_authority_checked: bool = False


def check_package(path: Path, pinned: PublicKey | None = None, authority: Path | None = None) -> Checked:
    """Checks a package in a zip archive or a folder; `authority` is a file of certificates (PEM) that its time stamp
    has to lead to. Raises UsageError if there is no package or no certificate, UnreadablePackage, NotStamped.
    """
    if not path.exists():
        raise UsageError(f"there is no {path}", hint="name the file or the folder of a package")
    if authority is not None:
        check_certificates(authority)
    try:
        try:
            opened = open_package(path)
        except NotAPackage as error:
            return Checked(0, (str(error),))
        try:
            return _checked(opened, pinned, authority)
        finally:
            opened.close()
    except OSError as error:
        raise UnreadablePackage(
            f"{path} could not be read", why=(error.strerror or str(error)).lower(), hint="check its permissions"
        ) from error


def _checked(opened: OpenPackage, pinned: PublicKey | None, authority: Path | None) -> Checked:
    names = set(opened.names)
    try:
        if MANIFEST not in names:
            raise NotAPackage(f"{MANIFEST} is missing")  # noqa: TRY301  told like what the parser refuses
        manifest = opened.read(MANIFEST)
        digests = parse_manifest(manifest)
    except NotAPackage as error:
        return Checked(len(names), (str(error),))
    problems = [f"{name} is missing" for name in sorted(digests.keys() - names)]
    problems += [f"{name} was added" for name in sorted(names - digests.keys() - set(BESIDE))]
    for name in sorted(names & digests.keys()):
        problems += _altered(opened, name, digests[name])
    key, of_signature = _signed(opened, names, digests, manifest, pinned)
    stamped_at_ms, of_stamp = _stamped(opened, names, manifest, authority)
    return Checked(
        len(names),
        (*problems, *of_signature, *of_stamp),
        key_sha256=None if key is None else fingerprint(key),
        is_pinned=pinned is not None and key is not None and not of_signature,
        has_time_stamp=TIME_STAMP in names,
        stamped_at_ms=stamped_at_ms,
        is_authority_checked=authority is not None and not of_stamp,
    )


def _altered(opened: OpenPackage, name: str, digest: str) -> list[str]:
    try:
        found = opened.digest(name)
    except NotAPackage as error:
        return [str(error)]
    return [] if found == digest else [f"{name} was altered: its SHA-256 is {found}, the manifest says {digest}"]


def _signed(
    opened: OpenPackage, names: set[str], digests: dict[str, str], manifest: bytes, pinned: PublicKey | None
) -> tuple[PublicKey | None, list[str]]:
    """The key that signed the manifest, and what is wrong with that. A package that names a key was signed."""
    if SIGNING_KEY not in digests:
        wrong = [f"{SIGNATURE} was added"] if SIGNATURE in names else []
        return None, wrong + (["it is not signed, and a key was pinned"] if pinned is not None else [])
    if SIGNING_KEY not in names or SIGNATURE not in names:
        return None, [f"{SIGNATURE} is missing"] if SIGNATURE not in names else []
    try:
        key = parse_public_pem(opened.read(SIGNING_KEY))
        if pinned is not None and fingerprint(pinned) != fingerprint(key):
            return key, [f"it is signed with the key {fingerprint(key)}, pinned is {fingerprint(pinned)}"]
        check_detached(manifest, opened.read(SIGNATURE), key)
    except ValueError as error:
        return None, [f"{SIGNATURE}: {error}"]
    return key, []


def _stamped(
    opened: OpenPackage, names: set[str], manifest: bytes, authority: Path | None
) -> tuple[int | None, list[str]]:
    """When its time stamp says that the manifest was there, and what is wrong with that."""
    if TIME_STAMP not in names:
        return None, [f"{TIME_STAMP} is missing, and an authority was named"] if authority is not None else []
    try:
        content = opened.read(TIME_STAMP)
        stamp = parse_stamp(content)
        stamp.check(manifest)
    except (NotAStamp, NotAPackage) as error:
        return None, [f"{TIME_STAMP}: {error}"]
    problem = None if authority is None else problem_of_authority(content, manifest, authority)
    return stamp.at_ms, [] if problem is None else [f"{TIME_STAMP}: {problem}"]
