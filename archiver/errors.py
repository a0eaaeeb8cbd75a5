"""What can go wrong while evidence is written. The type says whether sending the same batch again can help."""


class ArchiverError(Exception):
    """Base of everything the archiver raises on purpose; `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NotConfigured(ArchiverError):  # noqa: N818
    """The environment does not say where or how to write. A retry cannot help."""


class NotAnEvent(ArchiverError):  # noqa: N818
    """What was received is no event of a DynamoDB stream. A retry cannot help; nothing was written."""


class StoreUnavailable(ArchiverError):  # noqa: N818
    """The archive did not take an object. A retry can help: the batch is not acknowledged."""


class StoreRefused(ArchiverError):  # noqa: N818
    """The archive will not take objects until somebody mends it (denied, missing bucket, full disk)."""


class NotEvidence(ArchiverError):  # noqa: N818
    """A file does not hold what its name and columns promise."""


class ExportRefused(ArchiverError):  # noqa: N818
    """A table export is incomplete, damaged or of a kind that no baseline can be made from."""


class StreamUnavailable(ArchiverError):  # noqa: N818
    """A DynamoDB stream could not be read. A retry can help."""
