"""JSON documents from a file or a pipe: one, or JSON Lines of many; plain, gzip or zstd, told by the first bytes.

Invariants: of JSON Lines never more than one line is in memory; an object that names a member twice comes out as
`RepeatedMembers`, so that nobody chooses between the two in silence; whatever cannot be read is an error that names
file and line, never a skipped line.
"""

import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from archiver.errors import ArchiverError
from archiver.segment import open_zstd
from archiver.stream import RepeatedMembers

_GZIP: Final = b"\x1f\x8b"  # RFC 1952 §2.3.1
_ZSTD: Final = b"\x28\xb5\x2f\xfd"  # RFC 8878 §3.1.1
_LONGEST_MAGIC: Final = 4
# Lambda hands over at most 6 MB; a line may be an array of many events. Beyond this it is no recording.
_LARGEST_BYTES: Final = 512 * 1024 * 1024
ONE_A_LINE: Final = (
    'a recording holds Lambda events, {"Records": [...]}, one a line (jq -c makes it so) or in one array'
)


class UnreadableRecording(ArchiverError):  # noqa: N818
    """A file of recorded events is missing, damaged or not JSON at some line. What came before it stands."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where an event stands: file, line (from 1) and, in an array, its place (from 1)."""

    file: str
    line: int
    element: int | None = None

    def __str__(self) -> str:
        place = f"{self.file} line {self.line}"
        return place if self.element is None else f"{place}, event {self.element}"


def iter_documents(opened: Callable[[], IO[bytes]], name: str) -> Iterator[tuple[Location, Any]]:
    """Every JSON document of a source: one a line, or all of it if its first line is not complete.

    `opened` opens the source, which is closed when the last document was taken (standard input stays open). Raises
    UnreadableRecording, naming file and line, after everything before it.
    """
    here = Location(name, 0)
    is_first = True
    try:
        with _decompressed(opened()) as file:
            for number, line in enumerate(iter(lambda: file.readline(_LARGEST_BYTES + 1), b""), start=1):
                here = Location(name, number)
                text = _text(line, here)
                if not text.strip():
                    continue
                try:
                    document = parse_json(text.rstrip(), str(here))
                except UnreadableRecording as refusal:
                    # Only the first line may open a document of several lines: later, a broken line is a broken line.
                    if not is_first:
                        raise
                    document = _parse_rest(text, file, here, refusal)
                is_first = False
                yield here, document
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableRecording(
            f"{name} cannot be read after line {here.line}: {reason}"
            if here.line
            else f"{name} cannot be read: {reason}",
            hint="name a file that exists and is whole, or - for standard input; archiving it again is harmless",
        ) from error


def _decompressed(raw: Any) -> IO[bytes]:
    first = raw.read(_LONGEST_MAGIC)
    file = io.BufferedReader(_Rejoined(first, raw))
    if first.startswith(_GZIP):
        return _Ungzipped(file)
    return open_zstd(file) if first == _ZSTD else file


class _Ungzipped(io.BufferedReader):
    """A gzip stream that closes what it reads from."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(gzip.GzipFile(fileobj=file))
        self._compressed = file

    def close(self) -> None:
        super().close()
        self._compressed.close()


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were already taken: a pipe cannot be wound back."""

    def __init__(self, first: bytes, rest: io.BufferedReader) -> None:
        self._first, self._rest = first, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._first[: len(buffer)] or self._rest.read1(len(buffer))
        self._first = self._first[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        if self._rest is not sys.stdin.buffer:
            self._rest.close()
        super().close()


def _text(line: bytes, here: Location) -> str:
    if len(line) > _LARGEST_BYTES:
        raise UnreadableRecording(f"{here} is longer than {_LARGEST_BYTES} bytes", hint=ONE_A_LINE)
    try:
        return line.decode("utf-8-sig" if here.line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableRecording(
            f"{here} is not UTF-8: {error.reason} at byte {error.start}", hint=ONE_A_LINE
        ) from error


# --- text to documents ---


def parse_json(text: str, what: str) -> Any:
    """The document in a text; `what` names it in errors. Raises UnreadableRecording."""
    try:
        return json.loads(text, object_pairs_hook=_members)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno} column {error.colno}"
        raise UnreadableRecording(f"{what} is not JSON: {error.msg} at {at}", hint=ONE_A_LINE) from error
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond every limit
        raise UnreadableRecording(f"{what} cannot be read: {error}", hint=ONE_A_LINE) from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else RepeatedMembers(pairs)


def _parse_rest(first_line: str, file: IO[bytes], here: Location, refusal: UnreadableRecording) -> Any:
    """The one document that begins with a line which is none itself; raises `refusal` if that line is all there is."""
    rest = file.read(_LARGEST_BYTES + 1)
    if not rest.strip():
        raise refusal
    try:
        return parse_json(first_line + _text(rest, here), here.file)
    except UnreadableRecording as error:
        raise UnreadableRecording(f"{refusal}; taken as one document, {error}", hint=ONE_A_LINE) from error
