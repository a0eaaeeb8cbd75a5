"""Runs tests on a module, changed or not, in this process. Only for a process of its own: nothing is put back.

Invariants: the module is only ever imported with the code given here; Hypothesis draws the same examples every time,
so a mutant that survives once survives always.
"""

import json
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import hypothesis
import pytest

from tests.mutation.guards import Guard

OURS = ("archiver", "query", "tests", "infra")


@dataclass(frozen=True, slots=True)
class Seen:
    """One test on the unchanged module: how long it took, and which lines of the module it ran."""

    seconds: float
    lines: frozenset[int]


Told = dict[str, Seen]  # by node id


def observe(guard: Guard, options: Sequence[str], told: Path) -> int:
    """Runs the tests on the unchanged module; what they did goes to `told`. Gives pytest's exit code."""
    path = str(Path(guard.module).resolve())
    observer = _Observer(path)
    code = _run(guard, compile(Path(path).read_bytes(), path, "exec"), [*options, "--tb=short"], observer)
    told.write_text(
        json.dumps({test: [observer.seconds[test], sorted(observer.lines[test])] for test in observer.seconds})
    )
    return code


def read_told(told: Path) -> Told:
    """What `observe` wrote."""
    return {test: Seen(seconds, frozenset(lines)) for test, (seconds, lines) in json.loads(told.read_text()).items()}


def attempt(guard: Guard, code: CodeType, order: Sequence[str], options: Sequence[str], told: Path) -> int:
    """Runs the tests on a changed module until one fails, in this order; its name goes to `told`. Gives pytest's exit
    code.
    """
    return _run(guard, code, [*options, "-x", "--tb=no"], _Order(order, told))


def _run(guard: Guard, code: CodeType, options: Sequence[str], plugin: object) -> int:
    for name in [name for name in sys.modules if name.split(".")[0] in OURS and not name.startswith("tests.mutation")]:
        del sys.modules[name]
    path = Path(guard.module)
    sys.meta_path.insert(0, _Finder(".".join(path.with_suffix("").parts), code))
    profile = hypothesis.settings(
        database=None,
        deadline=None,
        derandomize=True,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=(hypothesis.HealthCheck.too_slow,),
    )
    hypothesis.settings.register_profile("mutants", profile)
    hypothesis.settings.load_profile("mutants")
    # Hypothesis is loaded before pytest can rewrite its asserts, which are not ours to read.
    fixed = ["-q", "-p", "no:xdist", "-m", "not long", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    left_out = ["-k", " and ".join(f"not {name}" for name in guard.too_long)] if guard.too_long else []
    return int(pytest.main([*guard.tests, *fixed, *left_out, *options], plugins=[plugin]))


class _Finder(MetaPathFinder):
    def __init__(self, module: str, code: CodeType) -> None:
        self._module, self._code = module, code

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname != self._module:
            return None
        loader = _Loader(fullname, self._code.co_filename)
        loader.code = self._code
        return spec_from_file_location(fullname, self._code.co_filename, loader=loader)


class _Loader(SourceFileLoader):
    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


class _Observer:
    """A plugin of pytest: which lines of one file each test runs, and how long it takes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._now: set[int] = set()
        self.lines: dict[str, set[int]] = defaultdict(set)
        self.seconds: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._now = self.lines[item.nodeid]
        threading.settrace(self._enter)
        sys.settrace(self._enter)
        try:
            return (yield)  # type: ignore[misc]
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        return self._line if frame.f_code.co_filename == self._path else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        self._now.add(frame.f_lineno)
        return self._line


class _Order:
    """A plugin of pytest: tests in a given order, and the name of the one that failed."""

    def __init__(self, order: Sequence[str], told: Path) -> None:
        self._place, self._told = {test: place for place, test in enumerate(order)}, told

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self._place.get(item.nodeid, len(self._place)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._told.write_text(report.nodeid)
