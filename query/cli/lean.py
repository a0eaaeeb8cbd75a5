"""What a process that is one command does without, and how it takes memory. Nobody else's process is changed so."""

import os
import sys
from contextlib import suppress
from importlib.abc import MetaPathFinder


class _Refused(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002  as told
        if fullname == "pandas":
            raise ModuleNotFoundError("no command of ddbtrail uses pandas", name=fullname)


def leave_out_pandas() -> None:
    """Arrow imports pandas where it is installed, only to see whether a value is one of its own: up to a third of a
    second. Without it nothing else changes.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _Refused())


def take_memory_by_jemalloc() -> None:
    """Arrow decodes into memory of mimalloc, which asks for huge pages: where memory is in pieces, making room for them
    takes half a second of the first whole table. Where Arrow has no other, or somebody chose, all stays as it is.
    """
    if os.environ.get("ARROW_DEFAULT_MEMORY_POOL"):
        return
    import pyarrow as pa

    with suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())
