"""Where settings come from: configuration files, the environment and flags, each value with its origin.

Configuration files are the only thing read here. Invariants: a key that is not known is refused, with the nearest one
that is; a value is passed on as it was given; a file that cannot be read is an error, never an empty file.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from query.config_values import SETTINGS, TABLE_SETTINGS, Folders
from query.errors import UsageError

FILE_NAME = "ddbtrail.toml"
HOME_FILE = Path(".config/ddbtrail/config.toml")

Found = tuple[Any, str, Folders]  # a value as it was given, its origin, the folders its paths start from

_OF_AN_ARCHIVE = ("url", "derived", "on_failure", "profile", "region", "endpoint_url", "pinned_key", "check_seals")
_FLAGS = {"check_seals": "--no-seals"}  # those that are not called as the setting is
_FILE_KEYS: Mapping[str, Any] = {
    **{name: True for name in SETTINGS if name != "archive"},
    "default_archive": True,
    "archives": {"*": {**dict.fromkeys(_OF_AN_ARCHIVE, True), "tables": {"*": dict.fromkeys(TABLE_SETTINGS, True)}}},
}


def config_files(cwd: Path, home: Path) -> list[Path]:
    """The configuration files that exist, lowest first."""
    nearest = next((folder / FILE_NAME for folder in (cwd, *cwd.parents) if (folder / FILE_NAME).is_file()), None)
    return [path for path in (home / HOME_FILE, nearest) if path is not None and path.is_file()]


def leaves(path: Path, home: Path) -> list[tuple[tuple[str, ...], Found]]:
    """Every value of a file by its path of keys, with its origin. Unknown keys are refused."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML", why=str(error), hint=f"mend {path}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=str(error), hint=f"check who may read {path}") from error
    return [
        (keys, (value, f"{path}: {'.'.join(keys)}", (path.parent, home)))
        for keys, value in _walk(document, (), _FILE_KEYS, path)
    ]


def _walk(
    document: Mapping[str, Any], above: tuple[str, ...], known: Mapping[str, Any], path: Path
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Paths of keys and values below a table of the file; `known` is its shape, `*` standing for any name."""
    for key, value in document.items():
        shape = known.get(key, known.get("*"))
        keys = (*above, key)
        if shape is None:
            raise _unknown_key(key, above, list(known), path)
        if isinstance(shape, Mapping) != isinstance(value, dict):
            what = "a table" if isinstance(shape, Mapping) else "a single value"
            raise UsageError(f"{path}: {'.'.join(keys)} must be {what}", why=f"it is {value!r}", hint=f"mend {path}")
        if isinstance(shape, Mapping):
            yield from _walk(value, keys, shape, path)
        else:
            yield keys, value


def _unknown_key(key: str, above: tuple[str, ...], known: list[str], path: Path) -> UsageError:
    closest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    where = f"[{'.'.join(above)}]" if above else "the top of the file"
    return UsageError(
        f"{path}: unknown key {key!r} in {where}",
        why=f"known there: {', '.join(sorted(known))}",
        hint=f"did you mean {closest[0]!r}?" if closest else f"remove {key!r} from {path}",
    )


def from_environ(environ: Mapping[str, str], folders: Folders) -> dict[str, Found]:
    """Settings by `DDBTRAIL_<NAME>`. An empty variable counts as not set, as is usual in shells and containers."""
    variables = {name: f"DDBTRAIL_{name.upper()}" for name in SETTINGS}
    return {
        name: (environ[variable], variable, folders) for name, variable in variables.items() if environ.get(variable)
    }


def from_flags(flags: Mapping[str, object], folders: Folders) -> dict[str, Found]:
    """The settings that were given as flags, by name."""
    given = {name: value for name, value in flags.items() if value is not None}
    return {name: (value, _FLAGS.get(name, f"--{name.replace('_', '-')}"), folders) for name, value in given.items()}
