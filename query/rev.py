"""Changes by name: what people type for one change of an item.

Laws: `parse_rev(rev.text) == rev`; `@` and digits only, with or without a fraction, is unix seconds and never a change,
so `@id:` makes a change id of any digits. Which change a rev is, only a trail can tell.

    rev = (@ID | first | last)[~N] | ~N
"""

import re
from dataclasses import dataclass
from typing import Literal

from query.errors import UsageError

REV_FORMS = "@9f31c2, @9f31c2~1, @id:123, first, last, last~2, ~1"

UNIX = re.compile(r"@(\d+)(?:\.(\d+))?", re.ASCII)
_REV = re.compile(r"(@id:[^\s~@]+|@(?!id:(?:~|$))[^\s~@]+|first|last)?(?:~(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rev:
    """A change by name: `back` changes before the base. Which change that is, a trail tells."""

    base: Literal["first", "last", "id"]
    change_id_prefix: str | None = None
    back: int = 0

    @property
    def text(self) -> str:
        """The canonical spelling, which `when.parse_when_or_rev` reads back."""
        head = self.base if self.change_id_prefix is None else _change_name(self.change_id_prefix)
        return head + (f"~{self.back}" if self.back else "")


def parse_rev(text: str) -> Rev | None:
    """The change that `text` names, None if it names none. Raises UsageError for unix seconds with `~`."""
    found = _REV.fullmatch(text)
    if not text or found is None or UNIX.fullmatch(text):
        return None
    base, back = found[1] or "last", int(found[2] or 0)
    if not base.startswith("@"):
        return Rev("first" if base == "first" else "last", None, back)
    prefix = base.removeprefix("@id:") if base.startswith("@id:") else base.removeprefix("@")
    if _reads_as_number(prefix) and not base.startswith("@id:"):
        raise UsageError(
            f"cannot read {text!r} as a change",
            why=f"@ and digits only is unix seconds, and ~ counts changes, not seconds: {base} is an instant",
            hint=f"type @id:{prefix}~{back} if it is a change id",
        )
    return Rev("id", prefix, back)


def looks_like_rev(text: str) -> bool:
    """Whether `text` is of the form of a rev, be it one or not."""
    return bool(text) and _REV.fullmatch(text) is not None


def _change_name(prefix: str) -> str:
    """`@9f31c2`; with `@id:` where the bare form would read as unix seconds, a fraction or another word."""
    return f"@id:{prefix}" if _reads_as_number(prefix) or prefix.startswith("id:") else f"@{prefix}"


def _reads_as_number(prefix: str) -> bool:
    return UNIX.fullmatch(f"@{prefix}") is not None
