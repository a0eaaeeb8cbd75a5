"""Where the tail begins: what a log may not name yet is looked for from here on (docs/format.md, Seals)."""

from typing import Final

from archiver.format.layout import HOUR_MS

TAIL_MS: Final = 26 * HOUR_MS  # before the end of what was sealed
