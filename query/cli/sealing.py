"""The commands that make and continue the signed log of a trail: key create, seal, acknowledge.

Invariants: a private key never lies inside an archive; what was sealed is printed as the checkpoint to pin, on standard
output; evidence that failed its check is told, also with `-q`, and the exit code says so.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter

from archiver.format.layout import ROOT, Trail, parse_quarantine_name
from archiver.format.log_entry import AcknowledgeEntry, KeyRotationEntry, LogEntry
from query.cli.exits import NOT_FOUND, tell_lines
from query.cli.progress import Stderr, count
from query.cli.writing import (
    OK,
    Archive,
    DataSource,
    Destination,
    EndpointUrl,
    Profile,
    Quiet,
    Region,
    exit_code,
    now_ms,
)
from query.errors import UsageError

if TYPE_CHECKING:
    from archiver.sealer import Sealing
    from archiver.signer import PublicKey, Signer

_GAP: Final = re.compile(r"(?P<since>[^/]+)/(?P<until>[^/]+)")

# What entries of each type are, to a person; every seal has an interval.
_WORDS: Final = {
    "open": "stream",
    "close": "closed stream",
    "segment": "segment",
    "quarantine": "quarantined record",
    "baseline": "baseline",
    "acknowledge": "acknowledgement",
    "key-rotation": "next key",
}

SigningKey = Annotated[
    str, Parameter(help="File that ddbtrail key create wrote, or of a KMS key its ARN or alias/NAME.")
]
Table = Annotated[str, Parameter(help="Table: name, region/name, account/region/name or ARN.")]


def key_create(
    path: Annotated[Path, Parameter(help="File for the private key; the public one gets .pub after it.")],
    /,
    *,
    kind: Annotated[Literal["ed25519", "p256"], Parameter(help="Ed25519, or ECDSA over P-256.")] = "ed25519",
    quiet: Quiet = False,
) -> int:
    """Make a key that signs seals, and its public key.

    Only the owner may read the private key. Whoever verifies pins the public one: give it to them yourself, since a key
    that comes out of the archive proves nothing.
    """

    def work(say: Stderr) -> int:
        from archiver.signer import create_key
        from query.note_check import fingerprint

        _refuse_inside_archive(path)
        public_key = create_key(path, kind)
        say.line(f"private key {path}, public key {path}.pub")
        print(f"{fingerprint(public_key)}  {path}.pub")
        return OK

    return exit_code(work, Stderr(quiet))


def seal(
    table: Table,
    /,
    *,
    signing_key: SigningKey,
    archive: Archive = None,
    sweep: Annotated[
        bool, Parameter(negative=(), help="Look at every hour, not only at those where something new is expected.")
    ] = False,
    next_key: Annotated[
        Path | None, Parameter(help="Public key that signs from the next seal on; this one hands over to it.")
    ] = None,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    profile: Profile = None,
    quiet: Quiet = False,
) -> int:
    """Sign which evidence the trail of a table has, as the next seal of its log.

    Each object is checked before it is sealed. Standard output gets the signed head of the log: three lines and a
    signature, to be kept where nobody who can write the archive can reach them, and given to verify as
    --pinned-checkpoint.

    Exit code 1 says that some evidence failed its check and was not sealed.
    """

    def work(say: Stderr) -> int:
        also: list[LogEntry] = []
        if next_key is not None:
            also.append(KeyRotationEntry(_public_key_text(next_key)))
        return _sealed(table, source, archive, signing_key, say, also=also, sweep=sweep)

    source = DataSource(endpoint_url, region, profile)
    return exit_code(work, Stderr(quiet))


def acknowledge(
    table: Table,
    what: Annotated[str, Parameter(help="Name of an object, or a stretch of time: SINCE/UNTIL, as coverage shows it.")],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why it is so, for whoever reads the log in years.")],
    signing_key: SigningKey,
    archive: Archive = None,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    profile: Profile = None,
    quiet: Quiet = False,
) -> int:
    """Sign that somebody has looked at an object or at a gap, and why it is so.

    A quarantined record, or a stretch of time for which there is no evidence, counts as missing until then. The
    statement is an entry of the log, in a seal of its own, with everything else that was not sealed yet.
    """

    def work(say: Stderr) -> int:
        from query.when import parse_when

        _check_texts(what, reason)
        gap = _GAP.fullmatch(what) if what.count("/") == 1 and "T" in what.partition("/")[0] else None
        if gap is not None:
            since, until = (parse_when(gap[end], now_ms=now_ms()).ms for end in ("since", "until"))
            if since >= until:
                raise UsageError(f"{what} ends before it begins", hint="type SINCE/UNTIL")
            return _sealed(
                table, source, archive, signing_key, say, also=[AcknowledgeEntry(None, since, until, reason)]
            )
        return _sealed(table, source, archive, signing_key, say, about=(what, reason))

    source = DataSource(endpoint_url, region, profile)
    return exit_code(work, Stderr(quiet))


def _sealed(
    table: str,
    source: DataSource,
    archive: str | None,
    signing_key: str,
    say: Stderr,
    *,
    also: Sequence[LogEntry] = (),
    about: tuple[str, str] | None = None,
    sweep: bool = False,
) -> int:
    """One pass of a sealer; `about` is an object to acknowledge, and why."""
    from archiver.sealer import Sealer
    from query.cli.operating import open_archive
    from query.table_ref import parse_table_ref
    from query.trails import find_trail, trails

    into = Destination.resolve(archive, None, source)
    trail = find_trail(trails(open_archive(into.settings, into.url)), parse_table_ref(table))
    store = into.store()
    if about is not None:
        path = _path_in_trail(about[0], trail, into.url)
        also = [*also, AcknowledgeEntry(path, None, None, about[1])]
        name = path if path.startswith(f"{ROOT}/") else trail.prefix + path
        if all(found != name for found, _ in store.list(name)):
            say.warning(f"{name} is not in the archive")
    sealer = Sealer(store, trail, _signer(signing_key, source))
    done = sealer.seal(now_ms(), sweep=sweep, also=also)
    _tell(done, say)
    return NOT_FOUND if done.refused else OK


def _tell(done: "Sealing", say: Stderr) -> None:
    what = ", ".join(count(done.entries[kind], word) for kind, word in _WORDS.items() if kind in done.entries)
    more = f", the last of {len(done.seals)}" if len(done.seals) > 1 else ""
    say.line(f"sealed {what or 'that nothing is new'}: {done.seals[-1]}{more}")
    for refused in done.refused:
        tell_lines([f"not sealed: {refused.name}", f"  {refused.why}"])
    if done.refused:
        tell_lines(["everything else was sealed; compare the object's versions in the bucket: ddbtrail verify"])
    if done.head is not None:
        print(done.head.compose().decode(), end="")


# --- keys ---


def _signer(signing_key: str, source: DataSource) -> "Signer":
    from archiver.signer import open_signer

    if not signing_key.startswith("arn:"):
        _refuse_inside_archive(Path(signing_key))
    return open_signer(signing_key, profile=source.profile, region=source.region, endpoint_url=source.endpoint_url)


def _refuse_inside_archive(path: Path) -> None:
    """Whoever may read an archive may not sign for it."""
    parents = (*path.absolute().parents, *path.resolve().parents)  # by the name that was typed, and where that leads
    folder = next((parent for parent in parents if any((parent / ROOT).glob("account=*"))), None)
    if folder is not None:
        raise UsageError(
            f"{path} lies inside the archive {folder}",
            why="whoever can read or write the archive could then sign for it",
            hint="keep the key somewhere else",
        )


def _public_key_text(path: Path) -> str:
    from archiver.signer import public_key_text
    from query.note_check import load_public_key

    key: PublicKey = load_public_key(path)
    return public_key_text(key)


# --- what is acknowledged ---


def _check_texts(what: str, reason: str) -> None:
    hint = 'add --reason "what was found, by whom, where it is written down"'
    if not reason.strip():
        raise UsageError("a reason is needed", hint=hint)
    try:
        f"{what} {reason}".encode()
    except UnicodeEncodeError as error:  # the terminal's bytes, where they are not UTF-8
        raise UsageError("the name or the reason is not text in UTF-8", hint=hint) from error


def _path_in_trail(what: str, trail: Trail, archive_url: str) -> str:
    """The name of an object as entries have it, from how a person or a report spells it."""
    prefix = urlsplit(archive_url).geturl().rstrip("/") + "/"
    name = what.removeprefix(prefix).removeprefix(trail.prefix)
    is_inside = not name.startswith(("/", f"{ROOT}/", ".")) and "://" not in name and "/" in name
    try:
        if not is_inside:
            parse_quarantine_name(name.removeprefix(f"{ROOT}/"))
    except ValueError as error:
        raise UsageError(
            f"{what} is no object of the trail of {trail.table_name}",
            why=f"names there begin with {trail.prefix}",
            hint="type it as ddbtrail verify shows it; or a stretch of time, 2026-08-14T02:10:00Z/2026-08-14T02:31:00Z",
        ) from error
    return name
