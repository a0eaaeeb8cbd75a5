"""The third-party wheels of a Lambda package: locked with their digests, downloaded once, checked always.

Only this module asks a package index, and only through pip. Invariant: a wheel whose digest the lock does not name is
never read.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.errors import PackageRefused

REPOSITORY: Final = Path(__file__).resolve().parents[1]
LOCK: Final = REPOSITORY / "requirements" / "lambda.txt"
INPUTS: Final = REPOSITORY / "requirements" / "lambda.in"
# The package of the function that compacts holds a reader, so it has a lock of its own.
COMPACTION_LOCK: Final = REPOSITORY / "requirements" / "compaction.txt"
COMPACTION_INPUTS: Final = REPOSITORY / "requirements" / "compaction.in"
CONSTRAINTS: Final = REPOSITORY / "requirements" / "dev.txt"
PYTHON: Final = "3.13"

# Lambda's name of an architecture, and the platforms whose wheels run there: "AL2023 has glibc 2.34" (*Lambda
# runtimes*). One tag is not enough: pip takes tags literally, and the wheels of orjson and obstore carry older
# ones than pyarrow's.
PLATFORMS: Final[Mapping[str, Sequence[str]]] = {
    "arm64": ("manylinux_2_28_aarch64", "manylinux_2_24_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "x86_64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
}

# Powertools' tracer wants botocore. The runtime brings boto3 with all it needs, old or new; create-only puts came to
# put_object in August 2024, before the runtime python3.13 itself. A second copy would cost 25 MB and its own updates.
FROM_THE_RUNTIME: Final = frozenset({"boto3", "botocore", "s3transfer", "urllib3", "python-dateutil", "six"})

_REQUIREMENT: Final = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ \\]+)")
_DIGEST: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_HEAD: Final = "# What the Lambda packages hold beside {}, by digest of wheel. Made by: make lock-lambda\n"


@dataclass(frozen=True, slots=True)
class Locked:
    """One line of the lock: a package, its version, and the SHA-256 (hex) of its wheels, one per architecture."""

    name: str
    version: str
    digests: frozenset[str]

    def compose(self) -> str:
        """The requirement as pip reads it."""
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(self.digests))
        return f"{self.name}=={self.version}{hashes}\n"


def parse_lock(text: str) -> list[Locked]:
    """The requirements of a lock. Raises PackageRefused for one without a digest: it would accept any bytes."""
    locked = []
    for entry in re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip()):
        match, digests = _REQUIREMENT.match(entry), frozenset(_DIGEST.findall(entry))
        if match is None or not digests:
            raise PackageRefused(
                f"{LOCK.name}: {entry!r} is no requirement with digests", hint="type: make lock-lambda"
            )
        locked.append(Locked(match["name"], match["version"], digests))
    return locked


def locked_wheels(architecture: str, folder: Path, *, lock: Path = LOCK) -> list[Path]:
    """The wheels of an architecture in `folder`, in the order of the lock; what is missing is downloaded first.

    Raises PackageRefused when pip cannot get one of them with its digest.
    """
    requirements = parse_lock(lock.read_text())
    found = _by_requirement(requirements, folder)
    if len(found) < len(requirements):
        _download(architecture, folder, lock)
        found = _by_requirement(requirements, folder)
    missing = [requirement.name for requirement in requirements if requirement.name not in found]
    if missing:
        raise PackageRefused(
            f"no wheel for {architecture} has the digest that the lock names: {', '.join(missing)}",
            hint="type: make lock-lambda",
        )
    return [found[requirement.name] for requirement in requirements]


def _by_requirement(requirements: Sequence[Locked], folder: Path) -> dict[str, Path]:
    present = {hashlib.sha256(wheel.read_bytes()).hexdigest(): wheel for wheel in sorted(folder.glob("*.whl"))}
    return {
        requirement.name: present[digest]
        for requirement in requirements
        for digest in requirement.digests & present.keys()
    }


def _download(architecture: str, folder: Path, lock: Path) -> None:
    command = ["download", "--no-deps", "--require-hashes", "--dest", str(folder), "-r", str(lock)]
    _pip([*command, *_target(architecture)])


def make_lock(inputs: Path = INPUTS) -> str:
    """The text of a new lock: what `inputs` needs on every architecture, in the versions that the tests run with."""
    digests: dict[tuple[str, str], set[str]] = {}
    for architecture in PLATFORMS:
        for name, version, digest in _resolve(architecture, inputs):
            digests.setdefault((name, version), set()).add(digest)
    return _HEAD.format("archiver/" if inputs == INPUTS else "query/") + "".join(
        Locked(name, version, frozenset(found)).compose()
        for (name, version), found in sorted(digests.items())
        if name not in FROM_THE_RUNTIME
    )


def _resolve(architecture: str, inputs: Path) -> list[tuple[str, str, str]]:
    """Name, version and digest of every wheel that pip would install. Nothing is installed."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        # pip takes another platform only together with a target folder.
        dry_run = ["--dry-run", "--ignore-installed", "--target", scratch, "--report", str(report)]
        _pip(["install", *dry_run, "-r", str(inputs), "-c", str(CONSTRAINTS), *_target(architecture)])
        chosen: list[dict[str, Any]] = json.loads(report.read_text())["install"]
    return [
        (
            re.sub(r"[-_.]+", "-", wheel["metadata"]["name"]).lower(),
            wheel["metadata"]["version"],
            wheel["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for wheel in chosen
    ]


def _target(architecture: str) -> list[str]:
    platforms = [word for platform in PLATFORMS[architecture] for word in ("--platform", platform)]
    return ["--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON, *platforms]


def _pip(arguments: Sequence[str]) -> None:
    quiet = ("--quiet", "--quiet", "--disable-pip-version-check", "--no-input")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pip", *arguments, *quiet], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PackageRefused(
            f"pip {arguments[0]} ended with code {done.returncode}: {done.stderr.strip()}",
            hint="mend what pip says, and type the same again",
        )


if __name__ == "__main__":
    LOCK.write_text(make_lock())
    COMPACTION_LOCK.write_text(make_lock(COMPACTION_INPUTS))
