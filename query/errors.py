"""What can go wrong when an archive is asked: one class for each answer a person can act on.

Every error says what failed, why, and what to type next. The exit codes are those of the command line: 1 the
answer is no, 2 the question was wrong, 3 the archive does not cover it, 4 the archive could not be read or
checked. `code` never changes once released: scripts compare it.
"""

# ruff: noqa: N818  the names are answers, and part of the public surface: `except query.NotYetCreated`

from typing import ClassVar


class QueryError(Exception):
    """Base of all errors of the reader. `message`, `why`, `hint`: a line each, lower case, no full stop."""

    exit_code: ClassVar[int] = 4
    code: ClassVar[str] = "query-error"

    def __init__(self, message: str, *, hint: str, why: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.hint = hint

    def three_lines(self) -> str:
        """What failed, why, and what to type next; without the second line where there is nothing to add."""
        return "\n".join(line for line in (self.message, self.why, self.hint) if line)


class UsageError(QueryError):
    """The question cannot be understood as it was typed."""

    exit_code = 2
    code = "usage"


class NaiveTimeError(UsageError):
    """A time without a zone: there is no telling which instant it means."""

    code = "naive-time"


class UnknownTable(UsageError):
    """The archive holds no trail of that name."""

    code = "unknown-table"


class AmbiguousTable(UsageError):
    """The archive holds several trails of that name, in different accounts or regions."""

    code = "ambiguous-table"


class KeyMismatch(UsageError):
    """The key given does not fit the key schema of the table."""

    code = "key-mismatch"


class UnreadableArchive(QueryError):
    """The archive is missing, denied, of another format version, or not an archive."""

    code = "unreadable-archive"


class DerivedGone(UnreadableArchive):
    """A file of a run or a snapshot has gone since it was chosen: whoever asked chooses once more."""

    code = "derived-gone"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is gone",
            why="runs and snapshots went while the question was answered, twice",
            hint="run the command again, or add --no-derived to answer from evidence alone",
        )


class CorruptSegment(UnreadableArchive):
    """A file of the archive is truncated, damaged or not ours; nothing was answered from the rest."""

    code = "corrupt-segment"


class UnwritableStore(QueryError):
    """What was derived could not be put, or taken away, where derived data is kept."""

    code = "unwritable-store"


class IdentityConflict(QueryError):
    """Two segments hold the same change with different content, and the answer rests on that item."""

    code = "identity-conflict"


class EngineFailure(QueryError):
    """DuckDB could not run the query: out of memory, out of disk, or a mistake of ours."""

    code = "engine-failure"


class NoVersion(QueryError):
    """The item has no version at that instant; the subclass says which of the three reasons it is."""

    exit_code = 1
    code = "no-version"


class NotYetCreated(NoVersion):
    """The item did not exist yet."""

    code = "not-yet-created"


class AlreadyDeleted(NoVersion):
    """The item existed before and was deleted. `last_version` is what it held last, None if not known."""

    code = "already-deleted"

    def __init__(self, message: str, *, hint: str, why: str = "", last_version: object = None) -> None:
        super().__init__(message, hint=hint, why=why)
        self.last_version = last_version


class OutsideCoverage(NoVersion):
    """The trail cannot tell. `covered` is the covered stretches, as (since_ms, until_ms) pairs; None: it goes on."""

    exit_code = 3
    code = "outside-coverage"

    def __init__(
        self, message: str, *, hint: str, why: str = "", covered: tuple[tuple[int, int | None], ...] = ()
    ) -> None:
        super().__init__(message, hint=hint, why=why)
        self.covered = covered


class IncompleteCoverageWarning(UserWarning):
    """The answer is complete for what the trail covers, and the trail does not cover all that was asked."""
