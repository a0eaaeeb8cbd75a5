"""The Lambda packages: reproducible zips of archiver/ and the locked wheels, one per architecture.

Laws: a package depends on the sources, the lock and the Python that compresses, on nothing else: no clock, no file
mode, no order of a folder. It holds no reader (`query`, duckdb) and no SDK (the runtime brings boto3), and stays below
its limit; a package that breaks this is refused, not written.
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
from infra.wheels import PLATFORMS, REPOSITORY, locked_wheels

BUILD: Final = REPOSITORY / "build"
# "250 MB, the maximum size of the contents of a deployment package, including layers and custom runtimes, unzipped"
# (*Lambda quotas*). 50 MB of it are left to layers that a company's own tools insist on.
UNZIPPED_BYTES_MAX: Final = 200_000_000

# The first representable time of a zip; any fixed one would do.
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
_READABLE_BY_ALL: Final = 0o100644 << 16  # the function runs as another user than the one that unpacks
_UNIX: Final = 3

# The archiver must not be able to read, let alone answer; and a second SDK would age beside the runtime's.
_REFUSED: Final = frozenset({"query", "duckdb", "_duckdb", "boto3", "botocore"})

# Of no use to a function: the record of an installation, commands, and what a compiler needs.
_DROPPED: Final = ("*.dist-info/RECORD", "*.data/scripts/*", "*/tests/*", "*.pyx", "*.pxi", "*.pxd", "*.pyi", "*.h")
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
class Package:
    """A package that was written: sizes in bytes, SHA-256 of the zip in hex."""

    path: Path
    zipped_bytes: int
    unzipped_bytes: int
    sha256: str

    def __str__(self) -> str:
        zipped, unzipped, limit = (
            size / 1_000_000 for size in (self.zipped_bytes, self.unzipped_bytes, UNZIPPED_BYTES_MAX)
        )
        return f"{self.path}  {zipped:.1f} MB, unzipped {unzipped:.1f} of {limit:.0f} MB  sha256 {self.sha256}"


def package_contents(wheels: Sequence[Path], sources: Path = REPOSITORY) -> dict[str, bytes]:
    """Name and content of every file of a package. Raises PackageRefused for one that must not be deployed."""
    contents = dict(_archiver(sources))
    for wheel in wheels:
        for name, content in _of_wheel(wheel):
            if name in contents:
                raise PackageRefused(f"{name} is in two wheels, one of them {wheel.name}", hint="drop one of them")
            contents[name] = content
    refuse_unfit(contents)
    return contents


def _archiver(sources: Path) -> Iterator[tuple[str, bytes]]:
    """The archiver's modules, and its version, which each segment names as its writer."""
    for module in sorted((sources / "archiver").rglob("*.py")):
        yield module.relative_to(sources).as_posix(), module.read_bytes()
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
    return _matches(name, _DROPPED) or (folder == "pyarrow" and _matches(inside, _DROPPED_OF_PYARROW))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def refuse_unfit(contents: Mapping[str, bytes]) -> None:
    """Raises PackageRefused for contents with a reader or an SDK in it, or too large for Lambda."""
    foreign = sorted({top for name in contents if (top := re.split(r"[/.-]", name)[0]) in _REFUSED})
    if foreign:
        raise PackageRefused(
            f"the archiver's package would hold {', '.join(foreign)}",
            hint="it only writes, with the runtime's boto3: mend requirements/lambda.in, type: make lock-lambda",
        )
    unzipped_bytes = sum(map(len, contents.values()))
    if unzipped_bytes > UNZIPPED_BYTES_MAX:
        largest = sorted(contents, key=lambda name: -len(contents[name]))[:3]
        raise PackageRefused(
            f"the package has {unzipped_bytes:,} bytes unzipped, more than {UNZIPPED_BYTES_MAX:,}",
            hint=f"drop more in infra/build.py; the largest files are {', '.join(largest)}",
        )


def write_package(contents: Mapping[str, bytes], path: Path) -> Package:
    """Writes the zip: names in order, one time, one mode. The same contents give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.external_attr, entry.create_system = _READABLE_BY_ALL, _UNIX
            archive.writestr(entry, contents[name], zipfile.ZIP_DEFLATED)
    zipped = path.read_bytes()
    return Package(path, len(zipped), sum(map(len, contents.values())), hashlib.sha256(zipped).hexdigest())


def build(architecture: str, out: Path = BUILD) -> Package:
    """Makes `archiver-<architecture>.zip` in `out`; wheels that are missing are downloaded first."""
    folder = BUILD / "wheels" / architecture
    folder.mkdir(parents=True, exist_ok=True)
    return write_package(package_contents(locked_wheels(architecture, folder)), out / f"archiver-{architecture}.zip")


def write_templates(out: Path = BUILD, *, code_bucket: str = "") -> list[Path]:
    """Writes what deploys the packages that lie beside it: for SAM one each, as plain CloudFormation one for both."""
    texts = {f"sam-{architecture}.yaml": sam_text(architecture) for architecture in PLATFORMS}
    texts["template.yaml"] = plain_template(code_bucket=code_bucket)
    for name, text in texts.items():
        (out / name).write_text(text)
    return [out / name for name in texts]


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds both packages, and the templates that deploy them; 1 if one of them is refused."""
    parser = argparse.ArgumentParser(prog="python -m infra.build", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=BUILD, help="folder of what is made (build)")
    parser.add_argument("--code-bucket", default="", help="bucket that the template takes the packages from by default")
    options = parser.parse_args(arguments)
    try:
        for architecture in PLATFORMS:
            print(build(architecture, options.out))
    except PackageRefused as refused:
        print(f"error: {refused}\nhint: {refused.hint}", file=sys.stderr)
        return 1
    for template in write_templates(options.out, code_bucket=options.code_bucket):
        print(template)
    return 0


if __name__ == "__main__":
    sys.exit(main())
