"""Text as a terminal may show it: nothing in a value can move the cursor, change a colour or reorder a line.

Invariant: what `visible` returns holds no control, bidirectional or invisible character; a width is in terminal cells.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

# C0 and C1 controls, DEL, soft hyphen, line separators, zero-width and bidirectional characters, tags, lone surrogates.
_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
ELLIPSIS: Final = "…"
_SHORTEST_ELIDED: Final = 8  # below that, both ends of a value say nothing


@dataclass(frozen=True, slots=True)
class Look:
    """How a person sees the output: the width in cells (None: no limit), colours, everything in full, a second zone."""

    width: int | None = None
    is_coloured: bool = False
    is_full: bool = False
    zone: str | None = None

    def paint(self, text: str, style: str) -> str:
        """Text in a style of `STYLES`, as it is where colours are off."""
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.is_coloured and text else text


# Basic colours only: they follow the terminal's theme. Each goes with a mark or a word, never alone.
STYLES: Final = {"+": "32", "-": "31", "~": "33", "id": "36", "head": "1", "dim": "2"}


def visible(text: str) -> str:
    """Text with every character that a terminal would act on, or not show, written as its JSON escape."""
    return _UNSEEN.sub(_escaped, text)


def width_of(text: str) -> int:
    """Cells that visible text takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def elide(text: str, width: int) -> str:
    """Text cut in its middle to at most `width` cells, since both ends of a value tell most of it."""
    if width_of(text) <= width:
        return text
    if width < _SHORTEST_ELIDED:
        return _head(text, max(width - 1, 0)) + ELLIPSIS
    front = width // 2
    return _head(text, front) + ELLIPSIS + _head(text[::-1], width - 1 - front)[::-1]


def pad(text: str, width: int, *, is_right: bool = False) -> str:
    """Text filled up with blanks to `width` cells."""
    blanks = " " * max(width - width_of(text), 0)
    return blanks + text if is_right else text + blanks


def grouped(number: int) -> str:
    """`18 204 771`."""
    return f"{number:,}".replace(",", " ")


def amount(number: float) -> str:
    """`172 800`, `12.50`, `0.0063`: fewer decimals the larger it is, `0.000014` at the least."""
    if number >= 1000:  # noqa: PLR2004
        return grouped(round(number))
    return f"{number:.2f}" if number >= 1 or number == 0 else f"{number:.4f}" if number >= 0.01 else f"{number:.6f}"  # noqa: PLR2004


def size_text(size_bytes: int) -> str:
    """`1.8 MB`: powers of 1000, as `--max-scan` reads them."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"  # noqa: PLR2004
        size /= 1000
    return f"{size:.1f} TB"


def duration(seconds: int) -> str:
    """`41 s`, `12 min`, `5.2 h`, `3.1 d`; a time that lies ahead is a clock's difference and counts as none."""
    seconds = max(seconds, 0)
    if seconds < 120:  # noqa: PLR2004  two minutes
        return f"{seconds} s"
    for unit_s, name, limit in ((60, "min", 120), (3_600, "h", 48)):
        if seconds < unit_s * limit:
            value = seconds / unit_s
            return f"{value:.0f} {name}" if name == "min" else f"{value:.1f} {name}"
    return f"{seconds / 86_400:.1f} d"


def counted(number: int, what: str, many: str = "") -> str:
    """`1 file`, `31 files`; `many` is the plural where it does not end in s alone."""
    return f"{grouped(number)} {what if number == 1 else many or f'{what}s'}"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    short = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    if short is not None:
        return short
    if code <= 0xFFFF:  # noqa: PLR2004  the last code point that one JSON escape can name
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _head(text: str, width: int) -> str:
    """The longest beginning that fits into `width` cells."""
    taken = 0
    for position, character in enumerate(text):
        taken += _cells(character)
        if taken > width:
            return text[:position]
    return text
