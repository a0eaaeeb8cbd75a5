"""The commands about single changes that somebody else shall believe: prove, verify-proof."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from query.cli.exits import FOUND, NOT_FOUND
from query.cli.options import DEFAULTS, NamedKey, Options, Table
from query.errors import UsageError

if TYPE_CHECKING:
    from archiver.format.proof import Proof
    from query.cli.invocation import Invocation
    from query.rev import Rev

PublicKeyFile = Annotated[Path, Parameter(help="Public key of the log, as its owner gave it to you.")]


def prove(
    table: Table,
    /,
    *key_and_change: Annotated[str, Parameter(help="Key values in schema order, then the change: @9f31c2, last, ~1.")],
    named_key: NamedKey = (),
    digests_only: Annotated[
        bool, Parameter(negative=(), help="Withhold key and images: the proof holds their digests.")
    ] = False,
    checkpoint_of: Annotated[
        Path | None, Parameter(help="Prove against the newest checkpoint of this public key: after it was replaced.")
    ] = None,
    pinned_checkpoint: Annotated[
        Path | None, Parameter(help="Prove against this checkpoint, the one that the reviewer has kept.")
    ] = None,
    options: Options = DEFAULTS,
) -> int:
    """Write the proof of one change: a file that anybody can check without the archive.

    It leads from the change to the signed head of the log, the newest one if no other is asked for. Exit code 3 says
    that the change is not sealed yet. A digest hides little where the values are few: whoever can guess one can try it.
    """
    from query.cli.invocation import Invocation
    from query.instant import format_ms
    from query.note_check import load_public_key
    from query.prove import Chosen, prove_change
    from query.render.text import visible
    from query.verify.heads import PinnedCheckpoint
    from query.versioned import version_at

    *key, rev = _key_and_change(key_and_change)
    if checkpoint_of is not None and pinned_checkpoint is not None:
        raise UsageError(
            "a checkpoint was chosen twice", hint="type either --checkpoint-of KEY.pub or --pinned-checkpoint FILE"
        )
    chosen = Chosen(
        key=None if checkpoint_of is None else load_public_key(checkpoint_of),
        pinned=None if pinned_checkpoint is None else PinnedCheckpoint.load(pinned_checkpoint).head,
    )
    if options.output not in {None, "json"}:
        raise UsageError(f"a proof is not written as {options.output}", hint="leave -o out, or type -o json")
    run = Invocation(options)
    found = run.archive.table(table, with_derived=False)
    if run.redaction(found).paths and not digests_only:
        raise UsageError(
            f"attributes of {found.name} are redacted",
            why="a proof shows whole images, or only their digests",
            hint="add --digests-only",
        )
    item = found.item(*key, named=named_key)
    change = version_at(rev, item.versions, item.named).change
    assert change is not None, "versions that a history names begin with a change"
    proof, seal = prove_change(run.archive.source, change, chosen, digests_only=digests_only)
    text = proof.compose().decode()
    run.target.write([f"{visible(text.rstrip())}\n" if run.target.is_terminal else text])
    run.note(
        f"proves @{change.change_id} ({change.op} at {format_ms(change.changed_at_ms)}) in the log of "
        f"{seal.after.size} entries, sealed at {format_ms(seal.interval.sealed_at_ms)}"
    )
    return FOUND


def verify_proof(
    file: Annotated[Path, Parameter(help="File that ddbtrail prove wrote.")],
    /,
    *,
    pinned_key: PublicKeyFile,
    pinned_checkpoint: Annotated[
        Path | None, Parameter(help="Checkpoint that you have kept: the proof must lead to this very one.")
    ] = None,
    options: Options = DEFAULTS,
) -> int:
    """Check the proof of one change against a public key.

    Needs the file and the key, and neither the archive nor the network. Exit code 0 says that it is proved, 1 that it
    is not, 4 that the file could not be read. The key must come from its owner, not with the proof.
    """
    from query.cli.invocation import Invocation
    from query.note_check import fingerprint, load_public_key
    from query.prove import NotProved, UnreadableProof, check_proof
    from query.verify.heads import PinnedCheckpoint

    key = load_public_key(pinned_key)
    pinned = None if pinned_checkpoint is None else PinnedCheckpoint.load(pinned_checkpoint).head
    run = Invocation(options)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UnreadableProof(
            f"{file} could not be read", why=(error.strerror or str(error)).lower(), hint="name the file of a proof"
        ) from error
    is_told = run.target.output == "table"
    try:
        proof = check_proof(content, key, pinned)
    except NotProved as error:
        if is_told:
            raise
        run.write_document(
            {"verified": False, "reason": f"{error.message}: {error.why}", "key_sha256": fingerprint(key)}
        )
        return NOT_FOUND
    document = _document(run, proof, fingerprint(key), is_pinned=pinned is not None)
    if is_told:
        run.target.write(_lines(document))
    else:
        run.write_document(document)
    return FOUND


def _key_and_change(arguments: tuple[str, ...]) -> "tuple[Any, ...]":
    """The key values, and after them the change."""
    from query.rev import parse_rev

    rev: Rev | None = parse_rev(arguments[-1]) if arguments else None
    if rev is None:
        raise UsageError(
            f"{arguments[-1]!r} names no change" if arguments else "no change was named",
            why="the last word is the change; an id of digits only is written @id:123",
            hint="type ddbtrail prove TABLE KEY @ID with an id from ddbtrail history",
        )
    return *arguments[:-1], rev


def _document(run: "Invocation", proof: "Proof", key_sha256: str, *, is_pinned: bool) -> dict[str, Any]:
    """What is proved, as plain data; images pass the redaction of the settings."""
    import orjson

    from query.instant import format_ms

    envelope, head, shown = proof.envelope, proof.head, proof.shown
    trail = envelope.source.trail
    redaction = run.redaction_of(trail.table_name)

    def masked(text: bytes | None) -> Any:
        return None if text is None else orjson.loads(redaction.image(text.decode()) or "null")

    return {
        "verified": True,
        "account": trail.account,
        "region": trail.region,
        "table_name": trail.table_name,
        "change_id": envelope.change_id,
        "op": envelope.op,
        "changed_at": format_ms(envelope.changed_at_ms),
        "sequence_number": envelope.sequence_number,
        "stream_label": envelope.source.stream_label,
        "user_identity": orjson.loads(envelope.text).get("user_identity"),
        "is_withheld": shown is None,
        "keys": shown and masked(shown.keys),
        "old_image": shown and masked(shown.old),
        "new_image": shown and masked(shown.new),
        "keys_sha256": envelope.keys,
        "old_image_sha256": envelope.old,
        "new_image_sha256": envelope.new,
        "segment": proof.segment.path,
        "log_size": head.size,
        "log_root": head.root.hex(),
        "entry_index": proof.entry_index,
        "key_sha256": key_sha256,
        "is_pinned_checkpoint": is_pinned,
    }


def _lines(document: dict[str, Any]) -> list[str]:
    """The same in words."""
    from query.render.sheet import dump
    from query.render.text import visible

    def told(name: str) -> str:
        if document[f"{name}_sha256"] is None:
            return "none"
        return f"withheld, SHA-256 {document[f'{name}_sha256']}" if document["is_withheld"] else dump(document[name])

    trail = f"{document['account']}/{document['region']}/{document['table_name']}"
    pairs = {
        "table": trail,
        "item key": told("keys"),
        "operation": document["op"],
        "changed at": document["changed_at"],
        "change": f"@{document['change_id']}, sequence number {document['sequence_number'].lstrip('0')}",
        "old image": told("old_image"),
        "new image": told("new_image"),
        "made by": "not said" if document["user_identity"] is None else dump(document["user_identity"]),
        "segment": document["segment"],
        "log": f"entry {document['entry_index']} of {document['log_size']}, root {document['log_root']}",
        "key": f"SHA-256 {document['key_sha256']}",
        "checkpoint": "the pinned one" if document["is_pinned_checkpoint"] else "signed, none was pinned",
    }
    head = "verified: the signed log holds this change; that nothing else happened, it does not say\n"
    return [head, *(visible(f"  {name:12}{text}") + "\n" for name, text in pairs.items())]
