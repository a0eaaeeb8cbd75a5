"""A file of prices, read entry by entry: TOML in which nothing is missing, misspelled or left to chance.

Invariant: a file is complete and holds nothing else. What is wrong in it is an error that names the file, the line
where there is one, and the entry; nothing is filled in from another file.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from query.errors import UsageError

HINT: Final = "copy the file query/operate/prices.toml of ddbtrail and change its values"
_SECTIONS: Final = frozenset({"about", "price", "assumption"})
_SAID: Final = frozenset({"unit", "evidence"})
_DIVISOR: Final = "per"
_HEADING: Final = re.compile(r"\s*\[([^\[\]]+)\]")
_ASSIGNED: Final = re.compile(r"\s*([\w-]+)\s*=")


class PriceFile:
    """The text of a file and what it says. Raises UsageError for what is no TOML or has other sections than ours."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        try:
            self._document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{name} is not TOML", why=str(error).lower(), hint=HINT) from error
        self._check_names(self._document, _SECTIONS, "")

    def about(self, key: str) -> str:
        """A text that the file says of itself."""
        value = self._table("about").get(key)
        if not isinstance(value, str):
            raise self._error(f"about.{key}", "is missing", "it is a text")
        return value

    def entries(self, section: str, names: set[str], numbers: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The entries of a section, by name: some numbers, each checked, a unit, and the evidence for them."""
        self._check_names(self._table(section), names, section)
        return {name: self._entry(f"{section}.{name}", numbers) for name in self._document[section]}

    def _entry(self, full: str, numbers: Sequence[str]) -> dict[str, Any]:
        entry = self._table(full)
        self._check_names(entry, {*numbers, *_SAID}, full)
        for key in sorted(_SAID):
            if not isinstance(entry[key], str) or not entry[key].strip():
                raise self._error(f"{full}.{key}", "is no text")
        return {**entry, **{key: self._number(f"{full}.{key}", entry[key]) for key in numbers}}

    def _number(self, full: str, value: object) -> float:
        is_divisor = full.endswith(f".{_DIVISOR}")
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not math.isfinite(value)
            or value < 0
            or (is_divisor and value == 0)
        ):
            wanted = "a number above 0" if is_divisor else "a number, 0 or more"
            raise self._error(full, f"is {value!r}", f"it has to be {wanted}")
        return float(value)

    def _table(self, full: str) -> Mapping[str, Any]:
        found: Any = self._document
        for key in full.split("."):
            found = found[key]
        if not isinstance(found, dict):
            raise self._error(full, "is not a table")
        return found

    def _check_names(self, found: Mapping[str, Any], wanted: frozenset[str] | set[str], above: str) -> None:
        for key in found:
            if key not in wanted:
                raise self._error(f"{above}.{key}".lstrip("."), "is not known", f"known: {', '.join(sorted(wanted))}")
        for key in sorted(wanted - found.keys()):
            raise self._error(f"{above}.{key}".lstrip("."), "is missing")

    def _error(self, full: str, what: str, why: str = "") -> UsageError:
        return UsageError(f"{self._name}{self._line_of(full)}: {full} {what}", why=why, hint=HINT)

    def _line_of(self, full: str) -> str:
        """`, line 7` for the entry's own heading or its assignment below one; nothing if it is written another way."""
        heading, (above, _, key) = "", full.rpartition(".")
        for number, line in enumerate(self._text.splitlines(), 1):
            if found := _HEADING.match(line):
                heading = found[1].strip()
                if f"{heading}.".startswith(f"{full}."):
                    return f", line {number}"
            elif (found := _ASSIGNED.match(line)) and (heading, found[1]) == (above, key):
                return f", line {number}"
        return ""
