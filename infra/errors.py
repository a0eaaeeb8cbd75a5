"""What can go wrong while the stack is built."""


class PackageRefused(Exception):  # noqa: N818
    """The package cannot be made, or must not be deployed; `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint
