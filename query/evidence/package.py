"""The container of a package: its manifest, and a zip archive that is one text of its files.

Invariants: the manifest names every file but itself, its signature and its time stamp, as `sha256sum` reads it; a zip
archive holds the files in order, uncompressed, without times, so that the same files make the same bytes and any
other byte shows.
"""

import re
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO, Final, cast

MANIFEST: Final = "MANIFEST.sha256"
SIGNATURE: Final = "MANIFEST.sig"
TIME_STAMP: Final = "MANIFEST.tsr"
SIGNING_KEY: Final = "SIGNING-KEY.pem"
# What no manifest can name.
BESIDE: Final = (MANIFEST, SIGNATURE, TIME_STAMP)

_LINE: Final = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})")
_FOLDER: Final = re.compile(r"[A-Za-z0-9_.-]{1,300}")
_MANIFEST_BYTES_MAX: Final = 1_000_000
# The first day that a zip archive can name, and a regular file that anybody may read.
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644 << 16
_UNIX: Final = 3
_COPIED_BYTES: Final = 1 << 20
# What zipfile raises for bytes that are no zip archive, or a damaged one.
_DAMAGED: Final = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, struct.error)


class NotAPackage(ValueError):  # noqa: N818
    """What was read is no package, or no whole one; the text says why."""


def compose_manifest(digests: Mapping[str, str]) -> bytes:
    """The manifest of files by name, SHA-256 in hex, in order of name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def parse_manifest(content: bytes) -> dict[str, str]:
    """The digests in a manifest. Raises NotAPackage for anything that `compose_manifest` never makes."""
    if len(content) > _MANIFEST_BYTES_MAX:
        raise NotAPackage(f"{MANIFEST} has {len(content)} bytes")
    found = [_LINE.fullmatch(line) for line in content.decode("ascii", "replace").split("\n")[:-1]]
    digests = {line["name"]: line["digest"] for line in found if line is not None}
    if not digests or compose_manifest(digests) != content or not digests.keys().isdisjoint(BESIDE):
        raise NotAPackage(f"{MANIFEST} is no list of files in order")
    return digests


def digest_of(file: IO[bytes]) -> str:
    """SHA-256 of a file from where it stands, in hex."""
    digest = sha256()
    while piece := file.read(_COPIED_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def in_order(names: Iterable[str]) -> list[str]:
    """Names as they stand in a zip archive: what a signature may change comes last."""
    return sorted(names, key=lambda name: (BESIDE.index(name) + 1 if name in BESIDE else 0, name))


def write_zip(files: Mapping[str, Path], folder: str, target: Path) -> None:
    """Writes files as one zip archive, in which they lie in a folder."""
    with target.open("wb") as written, _new_zip(_Forward(written)) as archive:
        for name in in_order(files):
            size = files[name].stat().st_size
            with files[name].open("rb") as file, archive.open(_member(folder, name, size), "w") as member:
                _copy(file, member)


class OpenPackage:
    """A package that is read where it is: files by name. Nothing of it is believed, and nothing is unpacked."""

    def __init__(self, names: Mapping[str, Path | zipfile.ZipInfo], archive: zipfile.ZipFile | None = None) -> None:
        self._names = names
        self._archive = archive

    @property
    def names(self) -> list[str]:
        return sorted(self._names)

    def open(self, name: str) -> IO[bytes]:
        """One file. Raises NotAPackage if its zip archive is damaged there, OSError."""
        found = self._names[name]
        if isinstance(found, Path):
            return found.open("rb")
        assert self._archive is not None
        try:
            return self._archive.open(found)
        except _DAMAGED as error:
            raise NotAPackage(f"{name} cannot be read: {error}") from error

    def digest(self, name: str) -> str:
        """SHA-256 of a file. Raises as `open`."""
        try:
            with self.open(name) as file:
                return digest_of(file)
        except _DAMAGED as error:
            raise NotAPackage(f"{name} cannot be read: {error}") from error

    def read(self, name: str) -> bytes:
        """A small file. Raises as `open`."""
        try:
            with self.open(name) as file:
                return file.read(_MANIFEST_BYTES_MAX + 1)
        except _DAMAGED as error:
            raise NotAPackage(f"{name} cannot be read: {error}") from error

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()


def open_package(path: Path) -> OpenPackage:
    """A package in a folder or a zip archive. Raises NotAPackage for a zip archive that is not as `write_zip` makes
    them, to the last byte, and for a folder that holds more than files; OSError.
    """
    return _open_folder(path) if path.is_dir() else _open_zip(path)


def _open_folder(path: Path) -> OpenPackage:
    others = sorted(entry.name for entry in path.iterdir() if entry.is_symlink() or not entry.is_file())
    if others:
        raise NotAPackage(f"{others[0]} is no file")
    return OpenPackage({entry.name: entry for entry in path.iterdir()})


def _open_zip(path: Path) -> OpenPackage:
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise NotAPackage(f"it is no whole zip archive: {error}") from error
    try:
        members = archive.infolist()
        folders = {member.filename.rpartition("/")[0] for member in members}
        names = [member.filename.rpartition("/")[2] for member in members]
        folder = folders.pop() if len(folders) == 1 else ""
        if not _FOLDER.fullmatch(folder) or len(set(names)) != len(names) or names != in_order(names):
            raise NotAPackage("its files do not lie in one folder, each once and in order")  # noqa: TRY301
        size = path.stat().st_size
        if any(not 0 <= member.header_offset < size for member in members):
            raise NotAPackage("its directory leads beyond it")  # noqa: TRY301
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise NotAPackage("its files are packed otherwise than a package's")  # noqa: TRY301
        opened = OpenPackage(dict(zip(names, members, strict=True)), archive)
        _check_made_anew(path, opened, members, folder)
    except BaseException:
        archive.close()
        raise
    return opened


def _check_made_anew(path: Path, opened: OpenPackage, members: list[zipfile.ZipInfo], folder: str) -> None:
    """Raises NotAPackage unless the archive is, byte for byte, what its files make: else something stands between
    them, or says other things of them.
    """
    with path.open("rb") as file:
        beside = _Beside(file)
        with _new_zip(beside) as anew:
            for member in members:
                name = member.filename.rpartition("/")[2]
                try:
                    with opened.open(name) as content, anew.open(_member(folder, name, member.file_size), "w") as copy:
                        _copy(content, copy)
                except _DAMAGED as error:
                    raise NotAPackage(f"{name} cannot be read: {error}") from error
        if not beside.is_equal or file.read(1):
            raise NotAPackage("bytes of the zip archive beside its files are not those of a package")


class _Beside:
    """A file that is not written but compared: bytes as they would be, beside those that are there."""

    def __init__(self, there: IO[bytes]) -> None:
        self._there = there
        self.is_equal = True

    def write(self, content: bytes) -> int:
        self.is_equal &= self._there.read(len(content)) == bytes(content)
        return len(content)

    def flush(self) -> None:
        pass


class _Forward:
    """A file that nobody goes back in: a zip archive then says sizes and checksums behind each file, also where it is
    only compared.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, content: bytes) -> int:
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()


def _new_zip(file: "_Forward | _Beside") -> zipfile.ZipFile:
    return zipfile.ZipFile(
        cast("IO[bytes]", file), "w", zipfile.ZIP_STORED
    )  # nothing but write and flush is asked of it


def _member(folder: str, name: str, size: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(f"{folder}/{name}", _NO_TIME)
    member.compress_type, member.create_system, member.external_attr = zipfile.ZIP_STORED, _UNIX, _MODE
    member.file_size = size
    return member


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    for piece in _pieces(source):
        target.write(piece)


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(_COPIED_BYTES):
        yield piece
