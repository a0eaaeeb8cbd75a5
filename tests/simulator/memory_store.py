"""A store in memory that keeps a journal of every put."""

from collections.abc import Iterator
from random import Random


class MemoryStore:
    """Create-only objects. With `rng`, names are listed in random order: no reader may lean on the order of files."""

    def __init__(self, rng: Random | None = None):
        self.objects: dict[str, bytes] = {}
        self.journal: list[tuple[str, int, bool]] = []  # name, size in bytes, was it written
        self._rng = rng

    def put_if_absent(self, name: str, content: bytes) -> bool:
        is_new = name not in self.objects
        if is_new:
            self.objects[name] = bytes(content)
        self.journal.append((name, len(content), is_new))
        return is_new

    def get(self, name: str) -> bytes:
        try:
            return self.objects[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def list(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, int]]:
        names = sorted(name for name in self.objects if name.startswith(prefix) and name > start_after)
        if self._rng:
            self._rng.shuffle(names)
        return ((name, len(self.objects[name])) for name in names)
