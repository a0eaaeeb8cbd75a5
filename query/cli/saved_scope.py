"""A scope that is kept as a file, and reviewed like code: what evidence build is asked, as TOML.

Invariant: each thing is said once, in the file or on the command line; what nobody knows is refused.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from query.cli.options import Which
from query.errors import UsageError

if TYPE_CHECKING:
    from query.table import Table as Trail

_TEXT: Final = "a text in quotes"
_TEXTS: Final = 'a list of texts, such as ["orders"]'
_COUNT: Final = "a whole number"
_KNOWN: Final[Mapping[str, str]] = {
    "tables": _TEXTS,
    "since": _TEXT,
    "until": _TEXT,
    "during": _TEXT,
    "attr": _TEXTS,
    "op": _TEXT,
    "actor": _TEXT,
    "items": _TEXT,
    "sample": _COUNT,
    "seed": _TEXT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the words of the command line say: which changes, a file of items, how many of them are drawn, by what."""

    which: Which
    items: str | None
    sample: int | None
    seed: str | None


def with_saved(asked: Asked, table: "Trail") -> Asked:
    """The same with what a saved scope says, if `asked.items` is one (`.toml`). Raises UsageError."""
    if asked.items is None or not asked.items.lower().endswith(".toml"):
        return asked
    path = Path(asked.items)
    saved = _read(path)
    _check_table(saved.pop("tables", None), table, path)
    typed = {one.name: getattr(asked.which, one.name) for one in fields(asked.which)}
    typed |= {"sample": asked.sample, "seed": asked.seed}
    for name in saved:
        if name != "items" and typed[name]:
            raise UsageError(
                f"--{name} was typed, and {path} has {name} too", hint="say it once: leave one of them out"
            )
    if not {"since", "until", "during"}.isdisjoint(saved) and (
        asked.which.since or asked.which.until or asked.which.during
    ):
        raise UsageError(f"a period was typed, and {path} has one too", hint="say it once: leave one of them out")
    which = {name: value for name, value in saved.items() if name in typed and name not in {"sample", "seed"}}
    if "attr" in which:
        which["attr"] = tuple(which["attr"])
    items = saved.get("items")
    return Asked(
        which=replace(asked.which, **which),
        items=None if items is None else str(path.parent / items),
        sample=saved.get("sample", asked.sample),
        seed=saved.get("seed", asked.seed),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"could not read {path}", why=why, hint="type the path of a saved scope") from error
    except ValueError as error:
        raise UsageError(f"{path} is not valid TOML", why=str(error), hint=f"mend {path}") from error
    for name, value in document.items():
        if name not in _KNOWN:
            closest = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.5)
            raise UsageError(
                f"{path}: nobody knows {name!r}",
                why=f"known: {', '.join(_KNOWN)}",
                hint=f"did you mean {closest[0]!r}?" if closest else f"remove {name!r} from {path}",
            )
        if not _is(value, _KNOWN[name]):
            raise UsageError(f"{path}: {name} must be {_KNOWN[name]}", why=f"it is {value!r}", hint=f"mend {path}")
    return document


def _is(value: object, kind: str) -> bool:
    if kind == _TEXTS:
        return isinstance(value, list) and bool(value) and all(isinstance(one, str) and one for one in value)
    return type(value) is int if kind == _COUNT else isinstance(value, str) and bool(value)


def _check_table(names: list[str] | None, table: "Trail", path: Path) -> None:
    trail = table.trail
    full = f"{trail.account}/{trail.region}/{trail.table_name}"
    if names is not None and not any(full == name or full.endswith(f"/{name}") for name in names):
        raise UsageError(
            f"{path} is not about {table.name}", why=f"its tables: {', '.join(names)}", hint="type one of those"
        )
