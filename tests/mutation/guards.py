"""Which tests are meant to guard which module. A mutant is tried against these and no others."""

from dataclasses import dataclass
from typing import Final

_ARCHIVING, _QUERYING = "tests/archiving", "tests/querying"


@dataclass(frozen=True, slots=True)
class Guard:
    """The test files of a module, and those of their tests (by a part of the name) that take too long to be tried on
    every mutant.
    """

    module: str
    tests: tuple[str, ...]
    too_long: tuple[str, ...] = ()


_HISTORIES: Final = ("histories", "history")  # simulated ones take minutes
_SEALS: Final = (f"{_ARCHIVING}/test_format_seal.py",)
_TAMPER: Final = ("tests/system/test_tamper.py", "tests/system/test_tamper_faults.py")
# Every pair of objects, every object cut short: they hold no rule that a single attack does not hold.
_PAIRS: Final = ("in_the_place_of_any_other", "change_places", "cut_short", "process_that_is_killed", "disk_full")
_COVERAGE: Final = (f"{_QUERYING}/test_coverage.py",)

GUARDS: Final = (
    Guard("archiver/format/merkle.py", (f"{_ARCHIVING}/test_format_merkle.py",)),
    Guard("archiver/format/note.py", (f"{_ARCHIVING}/test_format_note.py",)),
    Guard("archiver/format/log_entry.py", _SEALS),
    Guard("archiver/format/seal.py", _SEALS),
    Guard("archiver/format/canonical.py", (f"{_ARCHIVING}/test_format_canonical.py",)),
    Guard("archiver/format/stamp.py", (f"{_ARCHIVING}/test_format_stamp.py",)),
    Guard("archiver/format/envelope.py", (f"{_ARCHIVING}/test_format_record.py",)),
    Guard("archiver/format/proof.py", (f"{_ARCHIVING}/test_format_proof.py",)),
    Guard("archiver/format/row_check.py", (f"{_ARCHIVING}/test_row_check.py",)),
    Guard(
        "archiver/format/bulk_check.py",
        (f"{_ARCHIVING}/test_bulk_check.py", f"{_ARCHIVING}/test_row_check.py"),
        too_long=("every_byte", "any_row", "known_attributes", "can_be_delivered"),
    ),
    Guard("archiver/format/shapes.py", (f"{_ARCHIVING}/test_shapes.py",)),
    Guard("archiver/format/claims.py", (f"{_QUERYING}/test_claims.py",)),
    Guard("archiver/signer.py", (f"{_ARCHIVING}/test_signer.py", f"{_ARCHIVING}/test_signer_kms.py")),
    Guard("archiver/sealer.py", (f"{_ARCHIVING}/test_sealer.py",)),
    Guard("archiver/sealed_log.py", (f"{_ARCHIVING}/test_sealer.py",)),
    Guard("archiver/unsealed.py", (f"{_ARCHIVING}/test_sealer.py",)),
    Guard("query/note_check.py", (f"{_QUERYING}/test_note_check.py",)),
    Guard("query/seal_log.py", (f"{_QUERYING}/test_seal_log.py",)),
    Guard("query/verify/checks.py", (f"{_QUERYING}/test_verify_checks.py",)),
    Guard("query/verify/contents.py", (f"{_QUERYING}/test_verify_contents.py", f"{_QUERYING}/test_verify_machine.py")),
    Guard("query/verify/covered.py", (f"{_QUERYING}/test_verify_covered.py",)),
    Guard("query/verify/heads.py", (f"{_QUERYING}/test_verify_heads.py",)),
    Guard("query/verify/inventory.py", (f"{_QUERYING}/test_verify_inventory.py",)),
    Guard("query/verify/problem.py", (f"{_QUERYING}/test_verify_findings.py",)),
    Guard("query/verify/statements.py", (f"{_QUERYING}/test_verify_inventory.py",)),
    Guard("query/verify/verification.py", (f"{_QUERYING}/test_verify_findings.py",)),
    Guard("query/verify/verifier.py", (f"{_QUERYING}/test_verify_verifier.py",)),
    Guard("query/evidence_rows.py", (f"{_QUERYING}/test_evidence_rows.py", f"{_QUERYING}/test_claims.py")),
    Guard("query/prove.py", (f"{_QUERYING}/test_prove.py",)),
    Guard("query/gate.py", (f"{_QUERYING}/test_gate.py",)),
    Guard("query/image_chain.py", (f"{_QUERYING}/test_image_chain.py",), too_long=_HISTORIES),
    Guard("query/completeness.py", _COVERAGE),
    Guard("query/held_back.py", _COVERAGE),
    Guard("query/conflicts.py", (*_COVERAGE, f"{_QUERYING}/test_image_chain.py"), too_long=_HISTORIES),
    Guard("query/coverage.py", (*_COVERAGE, f"{_QUERYING}/test_gaps.py")),
    Guard("query/reconcile.py", (f"{_QUERYING}/test_reconcile.py",)),
    Guard("query/canary_chain.py", (f"{_QUERYING}/test_canary_chain.py",)),
)
