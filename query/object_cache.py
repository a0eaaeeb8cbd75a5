"""Copies of immutable objects, and of stretches of them, in a folder of this machine.

Invariants: a copy of the right size is the object, or the stretch of it that its name says; a copy is absent or whole;
beyond its limit the least recently used go.
"""

import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from query.source import StoredObject

# Ranges are fetched and kept in whole chunks, so that two questions that overlap fetch nothing twice.
CHUNK_BYTES: Final = 1 << 16
# A longer stretch comes faster in several requests.
_MOST_CHUNKS_A_REQUEST: Final = 128
_STRETCH: Final = re.compile(r"(0|[1-9][0-9]{0,9})-([1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring chunks of an object: the numbers of the first, and of the one after the last.

    The cache keeps one file for each: a file for every chunk would be five times as many to look through.
    """

    stored: StoredObject
    first: int
    stop: int

    @classmethod
    def parse(cls, stored: StoredObject, name: str) -> Self | None:
        """From the name of its copy inside the folder of that object's; None for any other."""
        match = _STRETCH.fullmatch(name)
        return None if match is None else cls(stored, int(match[1]), int(match[2]))

    @property
    def start(self) -> int:
        """The first byte of it in the object."""
        return self.first * CHUNK_BYTES

    @property
    def size_bytes(self) -> int:
        return min(self.stop * CHUNK_BYTES, self.stored.size_bytes) - self.start

    @property
    def copy(self) -> StoredObject:
        """As the cache calls it."""
        return StoredObject(f"{_stretches(self.stored)}/{self.first}-{self.stop}", self.size_bytes)

    def chunks(self, content: bytes) -> dict[int, memoryview]:
        """Its content as chunks by number."""
        view = memoryview(content)
        return {
            number: view[place * CHUNK_BYTES : (place + 1) * CHUNK_BYTES]
            for place, number in enumerate(range(self.first, self.stop))
        }


def _stretches(stored: StoredObject) -> str:
    """The folder of the copies of an object's stretches."""
    return f"{stored.name}.stretches"


def stretches_of(numbers: Iterable[int]) -> list[range]:
    """Chunk numbers as ranges, none longer than a request may be."""
    found: list[range] = []
    for number in sorted(numbers):
        if found and number == found[-1].stop and len(found[-1]) < _MOST_CHUNKS_A_REQUEST:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found


def sliced(chunks: Mapping[int, memoryview], offset: int, length: int) -> bytes:
    first, stop = offset // CHUNK_BYTES, -(-(offset + length) // CHUNK_BYTES)
    whole = b"".join(chunks[number] for number in range(first, stop))
    start = offset - first * CHUNK_BYTES
    return whole if len(whole) == length else whole[start : start + length]


class Cache:
    """Copies of immutable objects and of stretches of them in a folder, the least recently used thrown away beyond a
    limit in bytes.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def path(self, stored: StoredObject) -> Path:
        return self._folder / stored.name

    def has(self, stored: StoredObject) -> bool:
        path = self.path(stored)
        try:
            if path.stat().st_size != stored.size_bytes:
                return False
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def chunks(self, stored: StoredObject, numbers: Iterable[int]) -> dict[int, memoryview]:
        """The content of those of these chunks of an object that there are, by number."""
        waiting, found = set(numbers), dict[int, memoryview]()
        for stretch, copy in self._copies(stored):
            here = waiting.intersection(range(stretch.first, stretch.stop))
            if here and self.has(copy):
                with suppress(FileNotFoundError), self.path(copy).open("rb", buffering=0) as file:
                    for run in stretches_of(here):
                        part = Stretch(stored, run.start, run.stop)
                        content = os.pread(file.fileno(), part.size_bytes, part.start - stretch.start)
                        if len(content) == part.size_bytes:
                            found |= part.chunks(content)
            waiting -= found.keys()
        return found

    def _copies(self, stored: StoredObject) -> Iterator[tuple[Stretch, StoredObject]]:
        """Where there may be content of an object: a copy of it, then those of its stretches."""
        yield Stretch(stored, 0, -(-stored.size_bytes // CHUNK_BYTES)), stored
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder / _stretches(stored)):  # noqa: PTH208  names are all that is needed
                stretch = Stretch.parse(stored, name)
                if stretch is not None:
                    yield stretch, stretch.copy

    def keep(self, stored: StoredObject, content: bytes) -> None:
        path = self.path(stored)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f".partial-{secrets.token_hex(8)}"
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def make_room(self, needed_bytes: int, *, keep: Iterable[StoredObject]) -> None:
        """Throws away old copies until `needed_bytes` fit, but none of `keep`: a question may exceed the limit."""
        kept = {str(self.path(stored)) for stored in keep}
        files = []
        for parent, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(parent, name)  # noqa: PTH118  a hot loop over plain strings
                with suppress(FileNotFoundError):  # another process makes room too
                    stat = os.stat(path)  # noqa: PTH116
                    files.append((stat.st_mtime, stat.st_size, path))
        excess = sum(size for _, size, _ in files) + needed_bytes - self._limit_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            if path not in kept:
                Path(path).unlink(missing_ok=True)
                excess -= size
