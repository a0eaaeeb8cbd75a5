"""The configuration of the reader, resolved: which of several values for one setting holds.

From low to high: defaults, `~/.config/ddbtrail/config.toml`, `ddbtrail.toml` (in the working folder or the nearest one
above it), the named archive in use, `DDBTRAIL_*` in the environment, flags. Invariant: files are merged name by name,
so that a file nearby adds to an archive described at home and never drops its `redact`. Whether an archive exists is
found out by whoever opens it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from query.config_sources import Found, config_files, from_environ, from_flags, leaves
from query.config_values import SETTINGS, TABLE_SETTINGS, Parse
from query.errors import UsageError
from query.settings import ATTRIBUTES, DEFAULT, Settings, TableSettings


def load(flags: Mapping[str, object], environ: Mapping[str, str], *, cwd: Path, home: Path) -> Settings:
    """The settings that hold for one command.

    `flags` are named as in a file (`archive`, `tz`, `key_schema`, …); None means not given. Raises UsageError naming
    the origin for an unknown key, an ill-typed or impossible value, and a file that cannot be read; TypeError for an
    unknown flag, which is a mistake of the caller.
    """
    if unknown := set(flags) - set(SETTINGS):
        raise TypeError(f"not a flag: {', '.join(sorted(unknown))}")
    files = [found for path in config_files(cwd, home) for found in leaves(path, home)]
    given = {path[0]: found for path, found in files if len(path) == 1}
    archives = {path[1:]: found for path, found in files if path[0] == "archives"}
    typed = from_environ(environ, (cwd, home)) | from_flags(flags, (cwd, home))
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
    values |= {ATTRIBUTES[key]: _checked(SETTINGS[key], found) for key, found in merged.items()}
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
        tables.setdefault(table_name, {})[setting] = _checked(TABLE_SETTINGS[setting], found)
        origins[f"tables.{table_name}.{setting}"] = found[1]
    return {table_name: TableSettings(**values) for table_name, values in tables.items()}, origins


def _checked(parse: Parse, found: Found) -> Any:
    value, origin, folders = found
    try:
        return parse(value, folders)
    except (ValueError, UsageError) as error:
        hint = error.hint if isinstance(error, UsageError) else f"mend {origin}"
        why = error.why if isinstance(error, UsageError) else ""
        raise UsageError(f"{origin}: {error}", why=why, hint=hint) from error
