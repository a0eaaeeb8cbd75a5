"""Runs tests on a module, changed or not, in this process. Only for a process of its own: nothing is put back.

A mutant is tried in one of two ways, which say the same. *Anew*: everything is imported, the module with its change.
*In place*: tests and module are imported once, and for each mutant a fork puts the changed code into the functions that
are there. That is ten times as fast, and only for a function of which not a line ran while tests were imported: then
nothing that is there already can depend on it. Before that the tests run in a fork without any change; if one fails
there, every mutant is tried anew.

Invariants: the module is only ever imported with the code given here; Hypothesis draws the same examples every time,
so a mutant that survives once survives always.
"""

import gc
import inspect
import json
import os
import shutil
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

import hypothesis
import pytest
from _pytest.tmpdir import tmppath_result_key

from tests.mutation.guards import Guard
from tests.mutation.operators import Mutant
from tests.mutation.processes import run_all

OURS: Final = ("archiver", "query", "tests", "infra")
NOT_IN_PLACE: Final = 71  # an exit code: this mutant can only be tried anew


@dataclass(frozen=True, slots=True)
class Seen:
    """What the tests of a module do while it is unchanged: how long each takes (s) and which lines of the module it
    runs, by node id; and the lines that ran before the first of them.
    """

    seconds: dict[str, float]
    lines: dict[str, frozenset[int]]
    before: frozenset[int]

    def order(self, mutant: Mutant | None) -> list[str]:
        """Tests that run the changed lines first; the shortest first. But those of a file stay together, since they
        share what is made for the file.
        """
        lines = mutant.lines if mutant is not None else None

        def rank(test: str) -> tuple[bool, float]:
            return lines is not None and self.lines[test].isdisjoint(lines), self.seconds[test]

        files: dict[str, tuple[bool, float]] = {}
        for test in self.seconds:
            file = _file(test)
            files[file] = min(files.get(file, rank(test)), rank(test))
        return sorted(self.seconds, key=lambda test: (files[_file(test)], _file(test), rank(test)))

    def fits_in_place(self, mutant: Mutant) -> bool:
        return mutant.function is not None and self.before.isdisjoint(mutant.function)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run works: the copy of the project, and a folder for what it leaves."""

    tree: Path
    folder: Path

    def enter(self, name: str) -> list[str]:
        """Makes this process work in the copy. Gives pytest's options for it."""
        os.chdir(self.tree)
        sys.path[:] = [
            str(self.tree),
            *(one for one in sys.path if one and not (Path(one) / "tests/mutation").is_dir()),
        ]
        return ["--rootdir", str(self.tree), f"--basetemp={self.temporary(name)}"]

    def temporary(self, name: str) -> Path:
        return self.folder / f"tmp-{name}"

    def killer(self, number: int | None) -> Path:
        """Where the name of the test that killed a mutant goes."""
        return self.folder / f"killer-{number}"


def observe(guard: Guard, place: Place, told: Path) -> int:
    """Runs the tests on the unchanged module; what they did goes to `told`. Gives pytest's exit code."""
    observer = _Observer(_path(guard, place))
    code = _run(guard, _unchanged(guard, place), [*place.enter("observe"), "--tb=short"], observer)
    lines = {test: sorted(lines) for test, lines in observer.lines.items()}
    told.write_text(json.dumps([observer.seconds, lines, sorted(observer.before)]))
    return code


def read_seen(told: Path) -> Seen:
    """What `observe` wrote."""
    seconds, lines, before = json.loads(told.read_text())
    return Seen(seconds, {test: frozenset(lines[test]) for test in seconds}, frozenset(before))


def attempt(guard: Guard, place: Place, number: int, mutant: Mutant, seen: Seen) -> int:
    """Tries one mutant anew, until a test fails. Gives pytest's exit code."""
    options = [*place.enter(str(number)), "-x", "--tb=no"]
    try:
        return _run(guard, mutant.code(_path(guard, place)), options, _Order(seen.order(mutant), place.killer(number)))
    finally:
        shutil.rmtree(place.temporary(str(number)), ignore_errors=True)


def attempt_in_place(
    guard: Guard,
    place: Place,
    mutants: Sequence[tuple[int, Mutant]],
    seen: Seen,
    told: Path,
    *,
    workers: int,
    cpu_s: int,
) -> int:
    """Tries these mutants in place; a line of `told` for each: number, exit code, and whether its time was up."""
    plugin = _InPlace(guard, place, mutants, seen, told, workers, cpu_s)
    return _run(guard, _unchanged(guard, place), [*place.enter("session"), "-x", "--tb=no"], plugin)


def _file(test: str) -> str:
    return test.partition("::")[0]


def _path(guard: Guard, place: Place) -> str:
    return str((place.tree / guard.module).resolve())


def _unchanged(guard: Guard, place: Place) -> CodeType:
    path = _path(guard, place)
    return compile(Path(path).read_bytes(), path, "exec")


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
    # Output is captured in memory, since forks share files. Hypothesis is loaded before pytest can rewrite its asserts,
    # which are not ours to read.
    fixed = [
        "-q",
        "--capture=sys",
        "-p",
        "no:xdist",
        "-m",
        "not long",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
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
        self.before: set[int] = set()
        self._now = self.before
        self._trace(self._enter)
        self.lines: dict[str, set[int]] = defaultdict(set)
        self.seconds: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._now = self.lines[item.nodeid]
        self._trace(self._enter)
        try:
            return (yield)  # type: ignore[misc]
        finally:
            self._trace(None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        _make_what_a_file_shares(session)
        self._trace(None)

    def _trace(self, enter: Any) -> None:
        threading.settrace(enter)
        sys.settrace(enter)

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


class _InPlace:
    """A plugin of pytest: instead of running the tests once, runs them in a fork for each mutant."""

    def __init__(
        self,
        guard: Guard,
        place: Place,
        mutants: Sequence[tuple[int, Mutant]],
        seen: Seen,
        told: Path,
        workers: int,
        cpu_s: int,
    ) -> None:
        self._path, self._unchanged = _path(guard, place), _unchanged(guard, place)
        self._place, self._mutants, self._seen, self._told = place, mutants, seen, told
        self._workers, self._cpu_s = workers, cpu_s

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        _make_what_a_file_shares(session)
        gc.unfreeze()  # what tests/conftest.py has put aside is not among all objects
        functions = [one for one in gc.get_objects() if isinstance(one, FunctionType)]
        ours = [one for one in functions if one.__code__.co_filename == self._path]
        gc.freeze()
        (control,) = run_all([(None, self._trial(session, ours, None, None))], 1, 4 * self._cpu_s)
        tasks = ((number, self._trial(session, ours, number, mutant)) for number, mutant in self._mutants)
        with self._told.open("w") as file:
            if control[1] != 0:  # some test does not pass in a fork, so its failing would say nothing of a mutant
                file.writelines(f"{json.dumps([number, NOT_IN_PLACE, False])}\n" for number, _ in self._mutants)
                return True
            for number, code, is_late in run_all(tasks, self._workers, self._cpu_s):
                file.write(f"{json.dumps([number, code, is_late])}\n")
                file.flush()
                shutil.rmtree(self._place.temporary(str(number)), ignore_errors=True)
        return True

    def _trial(
        self, session: pytest.Session, functions: Sequence[FunctionType], number: int | None, mutant: Mutant | None
    ) -> Callable[[], int]:
        def work() -> int:
            if mutant is not None and not _put_in_place(functions, self._unchanged, mutant.code(self._path)):
                return NOT_IN_PLACE
            factory = session.config._tmp_path_factory  # type: ignore[attr-defined]  # this fork's own folder
            factory._given_basetemp, factory._basetemp = self._place.temporary(str(number)), None
            order = _Order(self._seen.order(mutant), self._place.killer(number))
            order.pytest_collection_modifyitems(session.items)
            session.config.pluginmanager.register(order)
            session._setupstate.teardown_exact(session.items[0])  # it may be of another file than what was made
            for item, following in zip(session.items, [*session.items[1:], None], strict=True):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    return 1
            return 0

        return work


def _make_what_a_file_shares(session: pytest.Session) -> None:
    """The fixtures of the first file that are wider than a test, as its first test meets them."""
    first, *others = session.items
    session._setupstate.setup(first)
    first.stash[tmppath_result_key] = {}  # a temporary folder asks when it is taken down how its test ended
    session._setupstate.teardown_exact(others[0] if others else None)
    first._initrequest()  # type: ignore[attr-defined]  # what was its own was taken down


def _put_in_place(functions: Sequence[FunctionType], unchanged: CodeType, changed: CodeType) -> bool:
    """Gives the functions whose code differs the changed one; whether that could be done."""
    pairs = list(_differing(unchanged, changed))
    for before, after in pairs:
        live = [one for one in functions if one.__code__ == before]
        if not live or len(before.co_freevars) != len(after.co_freevars):
            return False
        for one in live:
            one.__code__ = after
    return bool(pairs)


def _differing(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """The outermost functions that differ, below a module or the body of a class."""
    for one, other in zip(_codes(before), _codes(after), strict=True):
        if one.co_flags & inspect.CO_OPTIMIZED:
            if one != other:
                yield one, other
        else:
            yield from _differing(one, other)


def _codes(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]
