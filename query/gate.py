"""The gate before the query engine: no file of evidence is parsed before its bytes are checked.

A sealed file must have the digest that its seal says, and nothing else of it is looked at before. Of any other are
checked its own digest, its kind, its format, the root that its name promises and, where a baseline states one, its
digest. All of that is looked for as bytes, so a damaged file never reaches a parser. What the gate cannot tell of a
file that is not sealed is whether somebody wrote another one and stamped it anew.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final, Literal

from archiver.format import FORMAT_VERSION
from archiver.format.columns import METADATA_FORMAT, METADATA_KIND, METADATA_ROOT
from archiver.format.stamp import check_stamp, has_pair
from query.errors import CorruptSegment, DerivedGone, UnreadableArchive
from query.sealed import check_sealed

Kind = Literal["segment", "baseline", "run", "snapshot"]

# Hashing lets other threads run, so files are checked on all cores; a handful of small files is not worth the threads.
_FILES_PER_THREAD: Final = 16
_BYTES_PER_THREAD: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """A local file to be read: the object it holds (for messages), and the root that its name promises or the digest
    that its seal or its baseline states, each in hex, where there is one. `is_sealed`: the digest is vouched for by a
    seal, be it through a sealed baseline.
    """

    path: Path
    name: str
    root: str | None = None
    sha256: str | None = None
    is_sealed: bool = False


class Gate:
    """Lets whole evidence through, and remembers what passed: evidence never changes, so one look a process is enough
    for a file that has kept its size and its times.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or os.cpu_count() or 1
        self._passed: set[tuple[EvidenceFile, Kind, int, int, int]] = set()

    def check(self, files: Sequence[EvidenceFile], kind: Kind) -> None:
        """Raises SealMismatch or CorruptSegment, naming the object, for the first file that is not what was sealed, or
        not whole evidence of this kind.
        """
        self.check_each([(file, kind) for file in files])

    def check_each(self, files: Sequence[tuple[EvidenceFile, Kind]]) -> None:
        """The same for files of several kinds."""
        # What a file looks like is noted before it is read: one that is replaced in between is read once more.
        seen = [(file, kind, *_looks(file, kind)) for file, kind in files]
        fresh = [look for look in seen if look not in self._passed]
        is_much = len(fresh) >= 2 * _FILES_PER_THREAD or sum(look[2] for look in fresh) >= 2 * _BYTES_PER_THREAD
        if not is_much:
            for file, kind, *_ in fresh:
                _check_file(file, kind)
        else:
            # The largest begin first: no core is left alone with one at the end.
            in_turn = sorted(fresh, key=lambda look: -look[2])
            with ThreadPoolExecutor(self._threads) as threads:
                checks = {look: threads.submit(_check_file, look[0], look[1]) for look in in_turn}
                try:
                    for look in fresh:
                        checks[look].result()
                finally:
                    for check in checks.values():
                        check.cancel()  # of no use where one failed
        self._passed.update(fresh)


def _looks(file: EvidenceFile, kind: Kind) -> tuple[int, int, int]:
    """Size in bytes, and the times of the last change of content and of the file itself, in ns."""
    try:
        status = file.path.stat()
    except FileNotFoundError as error:
        raise gone(file, kind) from error
    except OSError as error:
        raise corrupt(file, str(error)) from error
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _check_file(file: EvidenceFile, kind: Kind) -> None:
    try:
        if kind in {"run", "snapshot"}:
            with file.path.open("rb") as opened:  # large: not all of it in memory
                check_sealed(file.name, file_digest(opened, "sha256").hexdigest(), file.sha256 or "none")
            return
        content = file.path.read_bytes()
        if file.is_sealed:
            check_sealed(file.name, sha256(content).hexdigest(), file.sha256 or "none")
        if not has_pair(content, METADATA_KIND, kind.encode()):
            raise ValueError(f"it is no {kind} of ddbtrail")  # noqa: TRY301  told like what the format leaf refuses
        if not has_pair(content, METADATA_FORMAT, str(FORMAT_VERSION).encode()):
            raise ValueError(f"it is not of format {FORMAT_VERSION}")  # noqa: TRY301
        if file.root is not None and not has_pair(content, METADATA_ROOT, file.root.encode()):
            raise ValueError("its root is not the one in its name")  # noqa: TRY301
        if file.is_sealed:
            return  # every byte is the one that was sealed, the stamp too
        check_stamp(content)
        if file.sha256 is not None and sha256(content).hexdigest() != file.sha256:
            raise ValueError(f"its digest is not the one that its baseline states, {file.sha256[:16]}")  # noqa: TRY301
    except FileNotFoundError as error:
        raise gone(file, kind) from error
    except (ValueError, OSError) as error:
        raise corrupt(file, str(error)) from error


def gone(file: EvidenceFile, kind: Kind) -> UnreadableArchive:
    """The error for a file that was there a moment ago. What is derived may go, and is chosen anew."""
    return DerivedGone(file.name) if kind in {"run", "snapshot"} else corrupt(file, "it is gone")


def corrupt(file: EvidenceFile, why: str) -> CorruptSegment:
    """The error for a file that cannot be read as evidence."""
    return CorruptSegment(
        f"{file.name} cannot be read as evidence",
        why=why,
        hint="no answer is given from a part of the archive: restore the object from the bucket's versions",
    )
