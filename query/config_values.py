"""What each setting is read by: the grammar of the values of files, environment and flags.

Invariants: a value is read alike wherever it was given; what does not fit is a ValueError or UsageError that says what
would; paths start where they are written, and nothing is looked up: whether a folder exists is not asked here.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from query.diff import parse_path
from query.key_schema import ANY_TABLE, parse_key_schema, parse_key_schemas
from query.zone import check_zone

OUTPUTS = ("table", "json", "jsonl", "csv", "tsv", "parquet", "md", "html", "ddb-json")
COLORS = ("auto", "always", "never")

_LEAST_SECRET = 16  # characters; whoever has masks could try shorter ones one by one

_SIZE = re.compile(r"(\d{1,15})\s*(?:([KMGT])(i)?B|B)?", re.ASCII)
_UNITS = ("", "K", "M", "G", "T")

Folders = tuple[Path, Path]  # what a relative path starts from, and what `~` means
Parse = Callable[[Any, Folders], Any]


def parse_size(text: str) -> int:
    """Bytes of `20GB` (powers of 1000), `20GiB` (powers of 1024) or plain digits. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is not a size; write 500MB, 20GB or 4GiB")
    size_bytes = int(found[1])
    for _ in range(_UNITS.index(found[2] or "")):
        size_bytes *= 1024 if found[3] else 1000
    return size_bytes


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


def _boolean(value: Any, _folders: Folders) -> bool:
    text = str(value).lower()
    if not isinstance(value, bool | str) or text not in {"true", "false"}:
        raise ValueError(f"{value!r} is neither true nor false")
    return text == "true"


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


def _attribute(value: Any, folders: Folders) -> str:
    """The path of an attribute, as `query.diff` reads it."""
    text = _text(value, folders)
    parse_path(text)
    return text


def _secret(value: Any, _folders: Folders) -> str:
    """A text that nobody guesses; it is in no error."""
    if not isinstance(value, str) or len(value) < _LEAST_SECRET:
        raise ValueError(f"the key must be a text of at least {_LEAST_SECRET} characters, such as openssl rand -hex 32")
    return value


def _texts(value: Any, folders: Folders) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list of texts")
    return tuple(_text(element, folders) for element in value)


def _attributes(value: Any, folders: Folders) -> tuple[str, ...]:
    return tuple(_attribute(element, folders) for element in _texts(value, folders))


# What each name is read by. The names are those of files, of flags, and of DDBTRAIL_* in upper case.
SETTINGS: Mapping[str, Parse] = {
    "archive": _url,
    "derived": _url,
    "on_failure": _url,
    "profile": _text,
    "region": _text,
    "endpoint_url": _text,
    "tz": _zone,
    "output": _one_of(OUTPUTS),
    "color": _one_of(COLORS),
    "check_seals": _boolean,
    "pinned_key": _path,
    "cache_dir": _path,
    "cache_limit": _size_bytes,
    "memory_limit": _size_text,
    "threads": _threads,
    "key_schema": _key_schemas,
    "redaction_key": _secret,
}
# Those that no command shows.
SECRETS = frozenset({"redaction_key"})
TABLE_SETTINGS: Mapping[str, Parse] = {
    "actor_attribute": _attribute,
    "redact": _attributes,
    "canary_keys": _texts,
    "key_schema": _key_schema,
}
