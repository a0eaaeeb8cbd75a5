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


GUARDS: Final = (
    Guard("archiver/format/merkle.py", (f"{_ARCHIVING}/test_format_merkle.py",)),
    Guard("archiver/format/note.py", (f"{_ARCHIVING}/test_format_note.py",)),
    Guard("archiver/format/log_entry.py", (f"{_ARCHIVING}/test_format_seal.py",)),
    Guard("archiver/format/seal.py", (f"{_ARCHIVING}/test_format_seal.py",)),
    Guard("archiver/format/canonical.py", (f"{_ARCHIVING}/test_format_canonical.py",)),
    Guard("archiver/format/stamp.py", (f"{_ARCHIVING}/test_format_stamp.py",)),
    Guard("archiver/format/envelope.py", (f"{_ARCHIVING}/test_format_record.py",)),
    Guard("archiver/signer.py", (f"{_ARCHIVING}/test_signer.py",)),
    Guard("query/gate.py", (f"{_QUERYING}/test_gate.py",)),
    Guard("query/image_chain.py", (f"{_QUERYING}/test_image_chain.py",), too_long=("histories", "history")),
    Guard("query/completeness.py", (f"{_QUERYING}/test_coverage.py",)),
    Guard("query/held_back.py", (f"{_QUERYING}/test_coverage.py",)),
    Guard(
        "query/conflicts.py",
        (f"{_QUERYING}/test_coverage.py", f"{_QUERYING}/test_image_chain.py"),
        too_long=("histories", "history"),
    ),
    Guard("query/coverage.py", (f"{_QUERYING}/test_coverage.py", f"{_QUERYING}/test_gaps.py")),
)
