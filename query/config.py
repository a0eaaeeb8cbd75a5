"""The configuration of the reader, and where each value came from.

From low to high: defaults, `~/.config/ddbtrail/config.toml`, `ddbtrail.toml` (in the working folder or the nearest one
above it), the named archive in use, `DDBTRAIL_*` in the environment, flags. Files are merged name by name, so that a
file nearby adds to an archive described at home and never drops its `redact`. Configuration files are the only thing
read here; whether an archive exists is found out by whoever opens it.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from query.errors import UsageError
from query.key_schema import parse_key_schema, parse_key_schemas
from query.zone import check_zone

FILE_NAME = "ddbtrail.toml"
HOME_FILE = Path(".config/ddbtrail/config.toml")
OUTPUTS = ("table", "json", "jsonl", "csv", "tsv", "parquet", "md", "html", "ddb-json")
COLORS = ("auto", "always", "never")
ANY_TABLE = "*"  # no table can bear that name: the key schema that `--key-schema pk,sk` gives without one
DEFAULT = "default"

_DEFAULT_CACHE_LIMIT_BYTES = 10_000_000_000
_SIZE = re.compile(r"(\d{1,15})\s*(?:([KMGT])(i)?B|B)?", re.ASCII)
_UNITS = ("", "K", "M", "G", "T")

Folders = tuple[Path, Path]  # what a relative path starts from, and what `~` means
Found = tuple[Any, str, Folders]  # a value as it was given, its origin, the folders its paths start from


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What is configured of one table of an archive."""

    actor_attribute: str | None = None
    redact: tuple[str, ...] = ()
    key_schema: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The resolved configuration. None means: not given, the one who uses it decides.

    URLs are `s3://bucket/prefix` or absolute folders. `origins` says of each name, as it is typed in a file, where its
    value came from. Sizes are bytes; `memory_limit` is a size as DuckDB reads it.
    """

    archive_url: str | None = None
    archive_name: str | None = None
    derived_url: str | None = None
    on_failure_url: str | None = None
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    tz: str | None = None
    output: str | None = None
    color: str = "auto"
    cache_dir: Path = Path()
    cache_limit_bytes: int = _DEFAULT_CACHE_LIMIT_BYTES
    memory_limit: str | None = None
    threads: int | None = None
    key_schema: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables: Mapping[str, TableSettings] = field(default_factory=dict)
    archive_names: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    def key_schema_for(self, table_name: str) -> tuple[str, ...] | None:
        """The configured key attributes of a table, partition key first; None if nothing says."""
        named = self.key_schema.get(table_name) or self.key_schema.get(ANY_TABLE)
        return named or self.table(table_name).key_schema

    def table(self, table_name: str) -> TableSettings:
        """What is configured of a table in the archive in use."""
        return self.tables.get(table_name, TableSettings())

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """(name, value, origin) of every setting, as `ddbtrail config show --origin` prints them."""
        for name, attribute in _ATTRIBUTES.items():
            yield name, getattr(self, attribute), self.origins.get(name, DEFAULT)
        for table_name, table in sorted(self.tables.items()):
            for attribute in table.__slots__:
                name = f"tables.{table_name}.{attribute}"
                yield name, getattr(table, attribute), self.origins.get(name, DEFAULT)


def load(flags: Mapping[str, object], environ: Mapping[str, str], *, cwd: Path, home: Path) -> Settings:
    """The settings that hold for one command.

    `flags` are named as in a file (`archive`, `tz`, `key_schema`, …); None means not given. Raises UsageError naming
    the origin for an unknown key, an ill-typed or impossible value, and a file that cannot be read; TypeError for an
    unknown flag, which is a mistake of the caller.
    """
    if unknown := set(flags) - set(_SETTINGS):
        raise TypeError(f"not a flag: {', '.join(sorted(unknown))}")
    files = [found for path in _files(cwd, home) for found in _leaves(path, home)]
    given = {path[0]: found for path, found in files if len(path) == 1}
    archives = {path[1:]: found for path, found in files if path[0] == "archives"}
    typed = _from_environ(environ, (cwd, home)) | _from_flags(flags, (cwd, home))
    chosen = typed.get("archive") or given.pop("default_archive", None)
    given.pop("default_archive", None)
    names = tuple(dict.fromkeys(path[0] for path in archives))
    name = str(chosen[0]) if chosen and chosen[0] in names else None
    described = {path[1]: found for path, found in archives.items() if path[0] == name and len(path) == 2}  # noqa: PLR2004
    merged = given | described | typed
    merged.pop("url", None)
    if chosen is not None:
        merged["archive"] = chosen if name is None else _url_of(name, described, chosen)
    return _settings(merged, _tables(name, archives), name, names, home)


def require_archive(settings: Settings) -> str:
    """The URL or folder of the archive in use. Raises UsageError if none was named."""
    if settings.archive_url is None:
        known = f"configured archives: {', '.join(settings.archive_names)}" if settings.archive_names else ""
        raise UsageError(
            "no archive was named",
            why=known or "no flag, environment variable or configuration file names one",
            hint="add -a s3://bucket/prefix or -a FOLDER, or set DDBTRAIL_ARCHIVE",
        )
    return settings.archive_url


def parse_size(text: str) -> int:
    """Bytes of `20GB` (powers of 1000), `20GiB` (powers of 1024) or plain digits. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is not a size; write 500MB, 20GB or 4GiB")
    size_bytes = int(found[1])
    for _ in range(_UNITS.index(found[2] or "")):
        size_bytes *= 1024 if found[3] else 1000
    return size_bytes


# --- sources ---


def _files(cwd: Path, home: Path) -> list[Path]:
    """The configuration files that exist, lowest first."""
    nearest = next((folder / FILE_NAME for folder in (cwd, *cwd.parents) if (folder / FILE_NAME).is_file()), None)
    return [path for path in (home / HOME_FILE, nearest) if path is not None and path.is_file()]


def _leaves(path: Path, home: Path) -> list[tuple[tuple[str, ...], Found]]:
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


def _from_environ(environ: Mapping[str, str], folders: Folders) -> dict[str, Found]:
    """Settings by `DDBTRAIL_<NAME>`. An empty variable counts as not set, as is usual in shells and containers."""
    variables = {name: f"DDBTRAIL_{name.upper()}" for name in _SETTINGS}
    return {
        name: (environ[variable], variable, folders) for name, variable in variables.items() if environ.get(variable)
    }


def _from_flags(flags: Mapping[str, object], folders: Folders) -> dict[str, Found]:
    return {name: (value, f"--{name.replace('_', '-')}", folders) for name, value in flags.items() if value is not None}


# --- resolving ---


def _url_of(name: str, described: Mapping[str, Found], chosen: Found) -> Found:
    """Where a named archive is; its origin says who named it and which file describes it."""
    if "url" not in described:
        raise UsageError(
            f"archive {name!r} has no url",
            why=f"{chosen[1]} names it, and no file says where it is",
            hint=f'add url = "s3://bucket/prefix" below [archives.{name}]',
        )
    url, origin, folders = described["url"]
    return url, f"{chosen[1]} is {name!r}; {origin}", folders


def _settings(
    merged: Mapping[str, Found],
    tables: tuple[dict[str, TableSettings], dict[str, str]],
    name: str | None,
    names: tuple[str, ...],
    home: Path,
) -> Settings:
    values: dict[str, Any] = {"cache_dir": home / ".cache/ddbtrail"}
    values |= {_ATTRIBUTES[key]: _parsed(key, found) for key, found in merged.items()}
    origins = {key: found[1] for key, found in merged.items()} | tables[1]
    archive = values.get("archive_url")
    if archive is not None and "derived" not in merged and not archive.startswith("s3://"):
        values["derived_url"] = archive
        origins["derived"] = f"{DEFAULT}: the archive's own folder"
    return Settings(**values, archive_name=name, archive_names=names, tables=tables[0], origins=origins)


def _tables(
    name: str | None, archives: Mapping[tuple[str, ...], Found]
) -> tuple[dict[str, TableSettings], dict[str, str]]:
    """What is configured of the tables of the archive `name`, and the origin of each value."""
    tables: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    for path, found in archives.items():
        if path[0] != name or len(path) != 4:  # noqa: PLR2004  archive, "tables", table, setting
            continue
        _, _, table_name, setting = path
        tables.setdefault(table_name, {})[setting] = _checked(_TABLE_SETTINGS[setting], found)
        origins[f"tables.{table_name}.{setting}"] = found[1]
    return {table_name: TableSettings(**values) for table_name, values in tables.items()}, origins


def _parsed(name: str, found: Found) -> Any:
    return _checked(_SETTINGS[name], found)


def _checked(parse: Callable[[Any, Folders], Any], found: Found) -> Any:
    value, origin, folders = found
    try:
        return parse(value, folders)
    except (ValueError, UsageError) as error:
        hint = error.hint if isinstance(error, UsageError) else f"mend {origin}"
        why = error.why if isinstance(error, UsageError) else ""
        raise UsageError(f"{origin}: {error}", why=why, hint=hint) from error


# --- values ---


def _text(value: Any, _folders: Folders) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def _url(value: Any, folders: Folders) -> str:
    """An S3 URL without a trailing slash, or an absolute folder."""
    text = str(value) if isinstance(value, Path) else _text(value, folders)
    scheme, mark, rest = text.partition("://")
    if mark and scheme == "s3":
        if not rest.split("/")[0]:
            raise ValueError(f"{text!r} names no bucket; write s3://bucket/prefix")
        return text.rstrip("/")
    if mark and not (scheme == "file" and rest.startswith("/")):
        raise ValueError(f"{text!r} is neither s3://bucket/prefix nor a folder")
    return str(_path(rest if mark else text, folders))


def _path(value: Any, folders: Folders) -> Path:
    """An absolute path: relative ones start where they are written, `~` is the home folder."""
    base, home = folders
    text = str(value) if isinstance(value, Path) else _text(value, folders)
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return Path(base, text)


def _zone(value: Any, folders: Folders) -> str:
    return check_zone(_text(value, folders))


def _one_of(choices: tuple[str, ...]) -> Callable[[Any, Folders], str]:
    def parse(value: Any, folders: Folders) -> str:
        if _text(value, folders) not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return str(value)

    return parse


def _size_bytes(value: Any, folders: Folders) -> int:
    return parse_size(str(value) if type(value) is int else _text(value, folders))


def _size_text(value: Any, folders: Folders) -> str:
    """A size that DuckDB reads as we do: it refuses digits without a unit."""
    _size_bytes(value, folders)
    text = str(value).strip()
    return f"{text}B" if text.isdecimal() else text


def _threads(value: Any, _folders: Folders) -> int:
    text = value.strip() if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= 1024:  # noqa: PLR2004
        raise ValueError(f"{value!r} is not a number of threads from 1 to 1024")
    return int(text)


def _key_schemas(value: Any, folders: Folders) -> dict[str, tuple[str, ...]]:
    text = _text(value, folders)
    return parse_key_schemas(text) if "=" in text else {ANY_TABLE: parse_key_schema(text)}


def _key_schema(value: Any, folders: Folders) -> tuple[str, ...]:
    return parse_key_schema(_text(value, folders))


def _texts(value: Any, folders: Folders) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list of texts")
    return tuple(_text(element, folders) for element in value)


# What each name is read by. The names are those of files, of flags, and of DDBTRAIL_* in upper case.
_SETTINGS: Mapping[str, Callable[[Any, Folders], Any]] = {
    "archive": _url,
    "derived": _url,
    "on_failure": _url,
    "profile": _text,
    "region": _text,
    "endpoint_url": _text,
    "tz": _zone,
    "output": _one_of(OUTPUTS),
    "color": _one_of(COLORS),
    "cache_dir": _path,
    "cache_limit": _size_bytes,
    "memory_limit": _size_text,
    "threads": _threads,
    "key_schema": _key_schemas,
}
_ATTRIBUTES = {name: name for name in _SETTINGS} | {
    "archive": "archive_url",
    "derived": "derived_url",
    "on_failure": "on_failure_url",
    "cache_limit": "cache_limit_bytes",
}
_TABLE_SETTINGS: Mapping[str, Callable[[Any, Folders], Any]] = {
    "actor_attribute": _text,
    "redact": _texts,
    "key_schema": _key_schema,
}
_OF_AN_ARCHIVE = ("url", "derived", "on_failure", "profile", "region", "endpoint_url")
_FILE_KEYS: Mapping[str, Any] = {
    **{name: True for name in _SETTINGS if name != "archive"},
    "default_archive": True,
    "archives": {"*": {**dict.fromkeys(_OF_AN_ARCHIVE, True), "tables": {"*": dict.fromkeys(_TABLE_SETTINGS, True)}}},
}
