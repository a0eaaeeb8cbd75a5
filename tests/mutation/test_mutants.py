"""The runner itself: which mutants it makes, that they are mutants, and that it can tell a killed one from a survivor."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.guards import GUARDS
from tests.mutation.operators import mutants_of
from tests.mutation.report import read_reasons

ROOT = Path(__file__).parents[2]


def names_of(source):
    return [mutant.name for mutant in mutants_of(source)]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("X = 2", ["module: X = 2 => X = 3", "module: X = 2 => X = 1"]),
        ("X = b'ab'", ["module: X = b'ab' => X = b'ab~'"]),
        (
            "X = re.compile('a+')",
            [f"module: re.compile('a+') => re.compile('{other}')" for other in ("a",)],
        ),
        (
            "def f(a, b):\n    if a < b:\n        raise ValueError(a + 1)",
            [
                "f: a < b => True",
                "f: a < b => False",
                "f: a < b => a <= b",
                "f: a < b => a >= b",
                "f: raise ValueError(a + 1) => pass",
            ],
        ),
        (
            "class A:\n    @property\n    def f(self):\n        '''Text.'''\n        return not self.a or self.b",
            [
                "A.f: return not self.a or self.b => return None",
                "A.f: not self.a or self.b => not self.a and self.b",
                "A.f: not self.a or self.b => self.b",
                "A.f: not self.a or self.b => not self.a",
                "A.f: not self.a => self.a",
            ],
        ),
        ("def f(a):\n    g(a[1:])", ["f: g(a[1:]) => pass", "f: 1: => :", "f: 1: => 2:", "f: 1: => 0:"]),
        ("def f(a, b):\n    g(a, b)", ["f: g(a, b) => pass", "f: g(a, b) => g(b, a)"]),
        ("def f(a: int = 1) -> 'A':\n    assert a == 1", ["f: 1 => 2", "f: 1 => 0"]),
        ("def f(a):\n    x = a.fullmatch()", ["f: a.fullmatch() => a.match()", "f: a.fullmatch() => a.search()"]),
        (
            "try:\n    pass\nexcept (A, B):\n    f()",
            ["module: (A, B) => (B,)", "module: (A, B) => (A,)", "module: f() => pass"],
        ),
        ("def f(a):\n    x = f'{a:04d}-'\n    y = f'{a} is not a good one'", ["f: f'{a:04d}-' => f'{a:04d}-~'"]),
        ("def f(a):\n    e = KeyRefused('a' + 'b', hint='c')", []),
        ("X: TypeAlias = int | str\nY = Literal['a']", []),
    ],
)
def test_these_are_the_mutants_of(source, names):
    """Whatever a kind of change stops making is never tried again, and nobody misses it."""
    assert names_of(source) == names


def test_the_same_change_in_two_places_has_two_names():
    """Else the reason for one would excuse the other."""
    assert names_of("A = f(1)\nB = f(1)") == [
        "module: f(1) => f(2)",
        "module: f(1) => f(0)",
        "module: f(1) => f(2) #2",
        "module: f(1) => f(0) #2",
    ]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.module)
def test_every_mutant_of_a_guarded_module_is_another_module(guard):
    """One that says the same as the source could only survive, and one left in the tree would spoil all after it."""
    source = (ROOT / guard.module).read_text()
    mutants = mutants_of(source)
    assert len({mutant.name for mutant in mutants}) == len(mutants) > 0
    unchanged = ast.dump(ast.parse(source))
    for mutant in mutants:
        former = mutant.place.put(mutant.node)
        assert ast.dump(mutant.tree) != unchanged, mutant.name
        mutant.place.put(former)
    assert ast.dump(mutants[0].tree) == unchanged


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.module)
def test_every_reason_is_for_a_mutant_that_is_made(guard):
    """What was explained once must not excuse what the code says now."""
    names = {mutant.name for mutant in mutants_of((ROOT / guard.module).read_text())}
    assert set(read_reasons().get(guard.module, {})) <= names
    assert set(read_reasons()) <= {guard.module for guard in GUARDS}


TRIAL = """
import sys
from pathlib import Path
from tests.mutation import trial
from tests.mutation.guards import GUARDS
from tests.mutation.operators import mutants_of
way, name, folder, tree = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path.cwd()
guard, place, seen = GUARDS[0], trial.Place(tree, folder), trial.Seen({}, {}, frozenset())
mutant = next(one for one in mutants_of(Path(guard.module).read_text()) if one.name == name)
if way == "anew":
    print(7, trial.attempt(guard, place, 7, mutant, seen))
else:
    told = folder / "told"
    trial.attempt_in_place(guard, place, [(7, mutant)], seen, told, workers=1, cpu_s=60)
    print(told.read_text())
"""


@pytest.mark.parametrize("way", ["anew", "in place"])
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("check_consistency: last == 0 => False", 1),
        ("check_consistency: node % 2 == 0 and node => node % 2 == 0", 0),
    ],
    ids=["a rule", "another spelling"],
)
def test_a_trial_tells_a_killed_mutant_from_a_survivor(tmp_path, way, name, code):
    """The rate is worth as much as this."""
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, way, name, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    told = done.stdout.replace("[", "").replace(",", "").split()
    assert ["7", str(code)] in [told[at : at + 2] for at in range(len(told))], done.stdout + done.stderr
    assert (tmp_path / "killer-7").exists() == bool(code)
