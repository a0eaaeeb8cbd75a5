"""What a command never needs, and would wait for."""

import sys
from importlib.abc import MetaPathFinder
from typing import Final

_LEFT_OUT: Final = {"numpy", "pandas"}


class _Refused(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002  as told
        if fullname in _LEFT_OUT:
            raise ModuleNotFoundError(f"no command of ddbtrail uses {fullname}", name=fullname)


def take_numpy() -> None:
    """For a command whose SQL calls functions in Python: DuckDB takes those only where NumPy can be imported."""
    _LEFT_OUT.discard("numpy")


def leave_out_frames() -> None:
    """For a process that is one command. Arrow imports NumPy and pandas where they are installed, only to see whether a
    value is one of theirs: up to half a second. Without them nothing else changes.
    """
    if _LEFT_OUT.isdisjoint(sys.modules):
        sys.meta_path.insert(0, _Refused())
