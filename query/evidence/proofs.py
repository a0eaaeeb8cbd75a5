"""Proofs in a package: that the segments it was made from stand in the signed log, one change of each for all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from query.answer import Change
from query.note_check import PublicKey, public_pem
from query.prove import Chosen, NotSealed, Prover
from query.seal_log import SealLog
from query.source import Source

PROOFS: Final = "proofs.jsonl"
CHECKPOINT: Final = "checkpoint.txt"
SIGNED: Final = "checkpoint.signed"
CHECKPOINT_SIGNATURE: Final = "checkpoint.sig"
LOG_KEY: Final = "LOG-KEY.pem"
# Each proof looks at every leaf of the log.
MOST_PROOFS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Proved:
    """How many segments are proved, how many are not sealed, and how many were beyond `MOST_PROOFS`."""

    proofs: int = 0
    not_sealed: int = 0
    left_out: int = 0


def write_proofs(
    source: Source,
    log: SealLog,
    first_of: Mapping[str, Change],
    folder: Path,
    key: PublicKey | None,
    *,
    digests_only: bool,
) -> Proved:
    """Writes one proof a line, as `ddbtrail prove` makes them, and the head that all of them lead to: the newest one
    signed with `key`, or without a key the newest. Writes nothing for a trail without seals.
    """
    try:
        prover = Prover(source, log, Chosen(key=key))
    except NotSealed:
        return Proved(not_sealed=len(first_of))
    note = prover.seal.checkpoint
    (folder / CHECKPOINT).write_bytes(note.compose())
    (folder / SIGNED).write_bytes(note.text.encode())
    (folder / CHECKPOINT_SIGNATURE).write_bytes(note.signatures[0].signature)
    if key is not None:
        (folder / LOG_KEY).write_bytes(public_pem(key))
    proofs = not_sealed = 0
    chosen = sorted(first_of)
    with (folder / PROOFS).open("wb") as file:
        for segment in chosen[:MOST_PROOFS]:
            try:
                proof, _ = prover.prove(first_of[segment], digests_only=digests_only)
            except NotSealed:
                not_sealed += 1
                continue
            file.write(proof.compose())
            proofs += 1
    return Proved(proofs, not_sealed, max(len(chosen) - MOST_PROOFS, 0))
