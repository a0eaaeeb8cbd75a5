"""Derived data in S3: puts that create only, listings with times, deletes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from query.derived.store import Held, check_derived
from query.errors import UnreadableArchive, UnwritableStore
from query.s3_client import s3_client
from query.source import Access


class S3Store:
    """Derived data in an S3 bucket. Needs `s3:PutObject`, `s3:ListBucket`, and `s3:DeleteObject` for what goes."""

    def __init__(self, url: str, bucket: str, prefix: str, access: Access) -> None:
        self.url = url
        self._prefix = f"{prefix}/" if prefix else ""
        self._client: Any = s3_client(bucket, access)

    def prepare(self) -> None:
        """A bucket is made by whoever owns the account."""

    def put_if_absent(self, name: str, path: Path) -> bool:
        import obstore  # noqa: PLC0415
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415

        check_derived(name)
        with self._errors(name, "s3:PutObject"):
            try:
                # One request, since only a whole put can be conditional; a part has at most 5 GB.
                obstore.put(self._client, self._prefix + name, path, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def held(self, prefix: str) -> list[Held]:
        import obstore  # noqa: PLC0415

        found = []
        with self._errors(prefix, "s3:ListBucket"):
            for page in obstore.list(self._client, prefix=self._prefix + prefix, chunk_size=1000):
                for meta in page:
                    written_ms = round(meta["last_modified"].timestamp() * 1000)
                    found.append(Held(meta["path"].removeprefix(self._prefix), meta["size"], written_ms))
        return sorted(found, key=lambda held: held.name)

    def delete(self, names: Iterable[str]) -> None:
        import obstore  # noqa: PLC0415

        listed = list(names)
        for name in listed:
            check_derived(name)
        for start in range(0, len(listed), 1000):
            with self._errors(listed[start], "s3:DeleteObject"):
                obstore.delete(self._client, [self._prefix + name for name in listed[start : start + 1000]])

    @contextmanager
    def _errors(self, name: str, action: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError  # noqa: PLC0415

        try:
            yield
        except (BaseError, OSError) as error:
            text = " ".join(str(error).split())[:300]
            is_denied = isinstance(error, PermissionDeniedError | PermissionError) or "AccessDenied" in text
            kind = UnreadableArchive if action == "s3:ListBucket" else UnwritableStore
            raise kind(
                f"could not reach {self.url} for {name}",
                why=f"access denied: {action} is missing" if is_denied else text,
                hint=f"grant {action} on runs/ and snapshots/ of it, or choose another --profile"
                if is_denied
                else "check credentials, --endpoint-url and the network, then run the command again",
            ) from error
