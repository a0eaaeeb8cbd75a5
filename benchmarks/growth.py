"""How the cost of a question grows with the archive, measured and drawn.

    python -m benchmarks.growth measure CHANGES ARCHIVE DERIVED   adds one size to docs/growth.json
    python -m benchmarks.growth draw                              writes docs/growth.svg from it

The archives are those of `benchmarks.long_trail FOLDER CHANGES 90`, compacted by `ddbtrail compact`. CPU seconds, since
they hold on a machine that does other things too; each figure is the median of DDBTRAIL_BENCH_REPETITIONS processes
(3). The question about one item reads evidence and runs from a folder; what it asks for and what comes is counted.
"""

import json
import math
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from benchmarks.long_trail import Shape
from benchmarks.peers import REPETITIONS, THREADS
from benchmarks.whole_table import MEMORY
from benchmarks.whole_table import run as whole_tables

_DOCS: Final = Path(__file__).parents[1] / "docs"
FIGURES: Final = _DOCS / "growth.json"
PICTURE: Final = _DOCS / "growth.svg"
DAYS: Final = 90


def one_item(archive: Path, derived: Path, key: tuple[str, str]) -> dict[str, float]:
    """The history of one item, to the last change, in a process that has asked nothing before."""
    import query  # noqa: PLC0415

    opened = query.open(str(archive), threads=THREADS, derived_url=str(derived), memory_limit=MEMORY)
    before = resource.getrusage(resource.RUSAGE_SELF)
    changes = sum(1 for _ in opened.table("orders").item(*key).history())
    after = resource.getrusage(resource.RUSAGE_SELF)
    requests, content_bytes = opened.traffic
    return {
        "changes": changes,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "requests": requests,
        "bytes": content_bytes,
    }


def measure(changes: int, archive: Path, derived: Path) -> dict[str, Any]:
    """All figures of one size."""
    found: dict[str, Any] = {"changes": changes, "memory_limit": MEMORY, "load": os.getloadavg()[0]}
    found["bytes"] = {
        kind: sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        for kind, folder in (("segments", archive), ("runs_and_snapshots", derived))
    }
    found["whole_table"] = whole_tables(archive, derived)["cases"]
    found["one_item"] = {}
    for kind, key in Shape(changes, DAYS).example_keys().items():
        turns = []
        for _ in range(REPETITIONS):
            command = [sys.executable, "-m", "benchmarks.growth", "item", str(archive), str(derived), *key]
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            turns.append(json.loads(done.stdout.splitlines()[-1]))
        found["one_item"][kind] = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    return found


# --- the picture ---

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 860, 420, 70, 30, 60, 250
_LINES: Final = {
    "window query over the segments, newest instant": ("whole_table", "newest window 1"),
    "as-of, newest instant, first question": ("whole_table", "newest as_of 1"),
    "as-of, middle instant, first question": ("whole_table", "middle as_of 1"),
    "as-of, oldest instant, first question": ("whole_table", "oldest as_of 1"),
    "scan of the image column, newest instant": ("whole_table", "newest scan 1"),
    "history of a hot item": ("one_item", "hot"),
    "history of an ordinary item": ("one_item", "ordinary"),
}
_COLOURS: Final = ("#8c564b", "#0969da", "#54aeff", "#8250df", "#57606a", "#cf222e", "#1a7f37")
_STYLE: Final = (
    "text{fill:#24292f}.grid{stroke:#d0d7de}.axis{stroke:#57606a}"
    "@media (prefers-color-scheme: dark){text{fill:#e6edf3}.grid{stroke:#30363d}.axis{stroke:#8b949e}}"
)


def draw(sizes: Mapping[str, Any]) -> str:
    """CPU seconds by number of changes, both logarithmic, as SVG."""
    ordered = sorted(sizes.values(), key=lambda one: one["changes"])
    lines = {
        name: [(one["changes"], one[part][case]["cpu_s"]) for one in ordered if case in one[part]]
        for name, (part, case) in _LINES.items()
    }
    seconds = [y for points in lines.values() for _, y in points]
    low, high = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)))
    first, last = (math.log10(one["changes"]) for one in (ordered[0], ordered[-1]))

    def x_of(changes: float) -> float:
        share = (math.log10(changes) - first) / (last - first or 1)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y_of(value: float) -> float:
        return round(_TOP + (high - math.log10(value)) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    def parts() -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"'
            ' font-size="13" role="img" aria-label="CPU seconds of questions by the number of changes in the archive">'
        )
        yield f"<style>{_STYLE}</style>"
        for power in range(low, high + 1):
            y = y_of(10**power)
            yield f'<path class="grid" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}"/>'
            yield f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{10.0**power:g} s</text>'
        for one in ordered:
            x = x_of(one["changes"])
            yield f'<path class="axis" d="M{x} {_HEIGHT - _BOTTOM}v6"/>'
            label = f"{one['changes'] / 1e6:g} million"
            yield f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 22}" text-anchor="middle">{label}</text>'
        middle = (_LEFT + _WIDTH - _RIGHT) // 2
        yield f'<text x="{middle}" y="{_HEIGHT - 14}" text-anchor="middle">changes in the archive, 90 days</text>'
        yield f'<text x="{_LEFT - 50}" y="18">CPU seconds</text>'
        placed: dict[float, float] = {}  # by where lines end, the lowest name so far
        by_end = sorted(zip(lines.items(), _COLOURS, strict=True), key=lambda line: y_of(line[0][1][-1][1]))
        for (name, points), colour in by_end:
            path = "L".join(f"{x_of(x)} {y_of(y)}" for x, y in points)
            yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            for x, y in points:
                yield f'<circle cx="{x_of(x)}" cy="{y_of(y)}" r="3" fill="{colour}"/>'
            end = x_of(points[-1][0]) + 10
            placed[end] = max(placed.get(end, -math.inf) + 16, y_of(points[-1][1]) + 4)
            yield f'<text x="{end}" y="{placed[end]}" font-size="11" style="fill:{colour}">{escape(name)}</text>'
        yield "</svg>"

    return "\n".join(parts()) + "\n"


def _main(arguments: list[str]) -> None:
    known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    match arguments:
        case ["item", archive, derived, *key]:
            print(json.dumps(one_item(Path(archive), Path(derived), (key[0], key[1]))))
        case ["measure", changes, archive, derived]:
            known[changes] = measure(int(changes), Path(archive), Path(derived))
            FIGURES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        case ["draw"]:
            PICTURE.write_text(draw(known), encoding="utf-8")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    _main(sys.argv[1:])
