"""How long a person waits before anything happens: the start of the command line, against that of Python itself."""

import statistics
import subprocess
import sys
import time
from typing import Any, Final

STARTS: Final = 9
COMMANDS: Final = {
    "python": [sys.executable, "-c", "pass"],
    "ddbtrail --help": [sys.executable, "-c", "from query.cli import main; main()", "--help"],
    "ddbtrail --version": [sys.executable, "-c", "from query.cli import main; main()", "--version"],
}


def run() -> dict[str, Any]:
    """Median wall seconds of each command, in turns."""
    turns: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(STARTS):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=False, capture_output=True)
            turns[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in turns.items()}


def report(results: dict[str, Any]) -> str:
    """The results as text."""
    return "\n".join(["start, wall s", *(f"{name:22}{seconds:8.3f}" for name, seconds in results.items())])
