"""The storage format, version 1: standard library and orjson only, no I/O, no clock.

`docs/format.md` is the specification; these modules are its one implementation, shared by the archiver and the reader.
"""

from typing import Final

FORMAT_VERSION: Final = 1
