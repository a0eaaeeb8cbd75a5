"""The command evidence verify: whether a package is as it was built."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from query.cli.exits import FOUND, NOT_FOUND
from query.cli.options import DEFAULTS, Options

_SHOWN: Final = 10


def verify(
    package: Annotated[Path, Parameter(help="A package: its zip archive, or its folder.")],
    /,
    *,
    pinned_key: Annotated[
        Path | None, Parameter(help="Public key (PEM) that must have signed it, got from its owner.")
    ] = None,
    tsa_ca: Annotated[
        Path | None, Parameter(help="Certificates (PEM) of the authority whose time stamp it must have; needs openssl.")
    ] = None,
    options: Options = DEFAULTS,
) -> int:
    """Check that a package of evidence is as it was built: every file, every byte, and its signature.

    Needs the package and nothing else. Exit code 0 says that it is, 1 that something was altered, added or taken away.
    Without --pinned-key the signature is checked with the key in the package: compare its fingerprint with its owner.
    A time stamp has to be of this package. Whether it is its authority's is only checked with --tsa-ca.
    """
    from query.cli.invocation import Invocation
    from query.evidence.check import check_package
    from query.instant import format_ms
    from query.note_check import load_public_key

    run = Invocation(options)
    checked = check_package(package, None if pinned_key is None else load_public_key(pinned_key), tsa_ca)
    document = {
        "verified": not checked.problems,
        "files": checked.files,
        "problems": list(checked.problems),
        "key_sha256": checked.key_sha256,
        "is_pinned_key": checked.is_pinned,
        "has_time_stamp": checked.has_time_stamp,
        "stamped_at": None if checked.stamped_at_ms is None else format_ms(checked.stamped_at_ms),
        "is_authority_checked": checked.is_authority_checked,
    }
    if run.target.output == "table":
        run.target.write(_lines(document))
    else:
        run.write_document(document)
    if not checked.problems:
        if checked.key_sha256 is None:
            run.warn("the package is not signed: whoever changed a file could have changed its manifest too")
        elif not checked.is_pinned:
            run.warn("the key came with the package: compare its fingerprint with its owner, or add --pinned-key")
    if checked.stamped_at_ms is not None and not checked.is_authority_checked:
        run.warn("anybody can make such a time stamp: add --tsa-ca with the authority's certificates")
    return NOT_FOUND if checked.problems else FOUND


def _lines(document: dict[str, object]) -> Iterator[str]:
    from query.render.text import visible

    problems = document["problems"]
    assert isinstance(problems, list)
    for problem in problems[:_SHOWN]:
        yield f"{visible(problem)}\n"
    if len(problems) > _SHOWN:
        yield f"… {len(problems) - _SHOWN} more (-o json)\n"
    signed = f"signed with {document['key_sha256']}" if document["key_sha256"] else "not signed"
    stamped = f", time stamp of {document['stamped_at']}" if document["stamped_at"] else ""
    stamped += " (its authority was not checked)" if stamped and not document["is_authority_checked"] else ""
    files = f"{document['files']} files"
    yield f"ALTERED: {files}\n" if problems else f"verified: {files}, {signed}{stamped}\n"
