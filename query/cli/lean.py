"""What a command never needs, and would wait for."""

import sys
from importlib.abc import MetaPathFinder


class _Refused(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002  as told
        if fullname == "pandas":
            raise ModuleNotFoundError("no command of ddbtrail uses pandas", name=fullname)


def leave_out_pandas() -> None:
    """For a process that is one command. Arrow imports pandas where it is installed, only to see whether a value is one
    of its own: up to a third of a second. Without it nothing else changes.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _Refused())
