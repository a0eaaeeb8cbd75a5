"""The Lambda packages: reproducible zips of our modules and the locked wheels, each for every architecture.

Laws: a package depends on the sources, the lock and the Python that compresses, on nothing else: no clock, no file
mode, no order of a folder. The archiver's holds no reader (`query`, duckdb), the compactor's nothing that writes
evidence or signs; none holds an SDK (the runtime brings boto3), and each stays below its limit. A package that breaks
this is refused, not written.
"""

import argparse
import fnmatch
import hashlib
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.cloudformation import plain_template, sam_text
from infra.errors import PackageRefused
from infra.wheels import COMPACTION_LOCK, LOCK, PLATFORMS, REPOSITORY, locked_wheels

BUILD: Final = REPOSITORY / "build"
# "250 MB, the maximum size of the contents of a deployment package, including layers and custom runtimes, unzipped"
# (*Lambda quotas*). 50 MB of it are left to layers that a company's own tools insist on.
UNZIPPED_BYTES_MAX: Final = 200_000_000


# The first representable time of a zip; any fixed one would do.
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
_READABLE_BY_ALL: Final = 0o100644 << 16  # the function runs as another user than the one that unpacks
_UNIX: Final = 3


# Of no use to a function: the record of an installation, commands, and what a compiler needs.
_DROPPED: Final = ("*.dist-info/RECORD", "*.data/scripts/*", "*/tests/*", "*.pyx", "*.pxi", "*.pxd", "*.pyi", "*.h")
# DuckDB's imitation of Spark.
_DROPPED_OF_DUCKDB: Final = ("experimental/*", "polars_io.py", "query_graph/*")
# pyarrow is made for more than Parquet. Every pattern was tried: import, write and read work without. What looks as
# if it could go and cannot: libarrow_substrait, _dataset, _acero and _compute, which lib.so links.
_DROPPED_OF_PYARROW: Final = (
    *("libarrow_flight*", "libarrow_python_flight*", "_flight*", "flight.py"),
    *("libarrow_s3*", "_s3fs*", "_gcsfs*", "_azurefs*", "_hdfs*", "_orc*", "orc.py", "_dataset*", "dataset.py"),
    *("_feather*", "feather.py", "_substrait*", "substrait.py", "_csv*", "csv.py", "_json*", "json.py"),
    *("_acero*", "acero.py", "include/*", "includes/*", "src/*"),
    # A wheel has no symbolic links: each of these is there three times, and the loader asks for `.so.2600` only.
    *("libarrow_python.so", "libarrow_python.so.*.*.*"),
    *("libarrow_python_parquet_encryption.so", "libarrow_python_parquet_encryption.so.*.*.*"),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of package: its name, which of our files it holds (a pattern of their paths), the lock of its wheels, what
    it must not hold (top-level names) and why, and the most bytes that it may have unzipped.
    """

    name: str
    ours: re.Pattern[str]
    lock: Path
    refused: frozenset[str]
    why: str
    unzipped_bytes_max: int


_SDK: Final = frozenset({"boto3", "botocore"})
# The archiver must not be able to read, let alone answer; and a second SDK would age beside the runtime's.
ARCHIVER: Final = Kind(
    "archiver",
    re.compile(r"archiver/.+\.py"),
    LOCK,
    _SDK | {"query", "duckdb", "_duckdb"},
    "it only writes, with the runtime's boto3: mend requirements/lambda.in, type: make lock-lambda",
    UNZIPPED_BYTES_MAX,
)
# Who makes runs reads evidence and knows its format. It cannot archive or seal, and has nothing to sign with. Commands,
# and the libraries that only they need, are for people.
COMPACTOR: Final = Kind(
    "compactor",
    re.compile(r"archiver/(__init__|format/\w+)\.py|query/(?!(cli|operate|render|spark|verify)/).+\.(py|sql)"),
    COMPACTION_LOCK,
    _SDK | {"cryptography", "cyclopts", "rich"},
    "it only makes runs, with the runtime's boto3: mend requirements/compaction.in, type: make lock-lambda",
    UNZIPPED_BYTES_MAX,
)
KINDS: Final = (ARCHIVER, COMPACTOR)


@dataclass(frozen=True, slots=True)
class Package:
    """A package that was written: sizes in bytes, SHA-256 of the zip in hex."""

    path: Path
    kind: Kind
    zipped_bytes: int
    unzipped_bytes: int
    sha256: str

    def __str__(self) -> str:
        zipped, unzipped, limit = (
            size / 1_000_000 for size in (self.zipped_bytes, self.unzipped_bytes, self.kind.unzipped_bytes_max)
        )
        return f"{self.path}  {zipped:.1f} MB, unzipped {unzipped:.1f} of {limit:.0f} MB  sha256 {self.sha256}"


def package_contents(wheels: Sequence[Path], sources: Path = REPOSITORY, *, kind: Kind = ARCHIVER) -> dict[str, bytes]:
    """Name and content of every file of a package. Raises PackageRefused for one that must not be deployed."""
    contents = dict(_ours(sources, kind))
    for wheel in wheels:
        for name, content in _of_wheel(wheel):
            if name in contents:
                raise PackageRefused(f"{name} is in two wheels, one of them {wheel.name}", hint="drop one of them")
            contents[name] = content
    refuse_unfit(contents, kind)
    return contents


def _ours(sources: Path, kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Our own files, and our version, which each segment and each run names as its writer."""
    for top in ("archiver", "query"):
        for path in sorted((sources / top).rglob("*.*")):
            name = path.relative_to(sources).as_posix()
            if kind.ours.fullmatch(name):
                yield name, path.read_bytes()
    project = tomllib.loads((sources / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    yield f"{name}-{version}.dist-info/METADATA", metadata.encode()


def _of_wheel(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith("/") or _is_dropped(name):
                continue
            if re.match(r"[^/]+\.data/", name):
                raise PackageRefused(
                    f"{wheel.name} wants an installer for {name}", hint="teach infra/build.py where such files go"
                )
            yield name, archive.read(name)


def _is_dropped(name: str) -> bool:
    folder, _, inside = name.partition("/")
    of_folder = {"pyarrow": _DROPPED_OF_PYARROW, "duckdb": _DROPPED_OF_DUCKDB}.get(folder, ())
    return _matches(name, _DROPPED) or _matches(inside, of_folder)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def refuse_unfit(contents: Mapping[str, bytes], kind: Kind = ARCHIVER) -> None:
    """Raises PackageRefused for contents with what its kind must not hold, or too large for Lambda."""
    foreign = sorted({top for name in contents if (top := re.split(r"[/.-]", name)[0]) in kind.refused})
    foreign += sorted(name for name in contents if name.startswith("archiver/") and not kind.ours.fullmatch(name))
    if foreign:
        raise PackageRefused(f"the {kind.name}'s package would hold {', '.join(foreign)}", hint=kind.why)
    unzipped_bytes = sum(map(len, contents.values()))
    if unzipped_bytes > kind.unzipped_bytes_max:
        largest = sorted(contents, key=lambda name: -len(contents[name]))[:3]
        raise PackageRefused(
            f"the package has {unzipped_bytes:,} bytes unzipped, more than {kind.unzipped_bytes_max:,}",
            hint=f"drop more in infra/build.py; the largest files are {', '.join(largest)}",
        )


def write_package(contents: Mapping[str, bytes], path: Path, kind: Kind = ARCHIVER) -> Package:
    """Writes the zip: names in order, one time, one mode. The same contents give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.external_attr, entry.create_system = _READABLE_BY_ALL, _UNIX
            archive.writestr(entry, contents[name], zipfile.ZIP_DEFLATED)
    zipped = path.read_bytes()
    return Package(path, kind, len(zipped), sum(map(len, contents.values())), hashlib.sha256(zipped).hexdigest())


def build(architecture: str, out: Path = BUILD, kind: Kind = ARCHIVER) -> Package:
    """Makes `<kind>-<architecture>.zip` in `out`; wheels that are missing are downloaded first."""
    folder = BUILD / "wheels" / architecture
    folder.mkdir(parents=True, exist_ok=True)
    contents = package_contents(locked_wheels(architecture, folder, lock=kind.lock), kind=kind)
    return write_package(contents, out / f"{kind.name}-{architecture}.zip", kind)


def write_templates(out: Path = BUILD, *, code_bucket: str = "") -> list[Path]:
    """Writes what deploys the packages that lie beside it: for SAM one for each architecture, as plain CloudFormation
    one for both.
    """
    texts = {f"sam-{architecture}.yaml": sam_text(architecture) for architecture in PLATFORMS}
    texts["template.yaml"] = plain_template(code_bucket=code_bucket)
    for name, text in texts.items():
        (out / name).write_text(text)
    return [out / name for name in texts]


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the packages, and the templates that deploy them; 1 if one of them is refused."""
    parser = argparse.ArgumentParser(prog="python -m infra.build", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=BUILD, help="folder of what is made (build)")
    parser.add_argument("--code-bucket", default="", help="bucket that the template takes the packages from by default")
    options = parser.parse_args(arguments)
    try:
        for kind in KINDS:
            for architecture in PLATFORMS:
                print(build(architecture, options.out, kind))
    except PackageRefused as refused:
        print(f"error: {refused}\nhint: {refused.hint}", file=sys.stderr)
        return 1
    for template in write_templates(options.out, code_bucket=options.code_bucket):
        print(template)
    return 0


if __name__ == "__main__":
    sys.exit(main())
