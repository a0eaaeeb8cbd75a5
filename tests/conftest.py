"""What holds for all tests: nobody waits for a disk, what AWS's services look like is read once a process, what is there
for all of them is not searched for garbage, and the slowest begin first, so that no worker is left alone with one at the
end.
"""

import functools
import gc
import os
from collections.abc import Iterator

import pytest
from botocore.loaders import JSONFileLoader


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """No test cuts the power, so none can tell whether a disk was waited for; a bad descriptor is still an error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: os.fstat(descriptor) and None)
        yield


@pytest.fixture(scope="session", autouse=True)
def models_once() -> Iterator[None]:
    """A boto3 session reads megabytes of JSON about each service that it is asked for, and every command makes a session;
    the clients of one session share them too."""
    with pytest.MonkeyPatch.context() as patch:
        read, loader = JSONFileLoader.load_file, JSONFileLoader()
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: known(path))
        known = functools.cache(lambda path: read(loader, path))
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slowest first. For workers of pytest-xdist then all that goes to one worker together, so that no group is left to
    the end; otherwise the order stays."""
    groups = {item: _group(item) for item in items} if hasattr(config, "workerinput") else {}
    for item, group in groups.items():
        if group is not None:
            # pytest-xdist 3.8 writes the group behind a name (`_nodeid`) that pytest 9.2 does not read any more, and the
            # scheduler, which takes it from there, would tear every group apart.
            item._id = type(item._id).parse(f"{item.nodeid}@{group}")
    items.sort(key=lambda item: (item.get_closest_marker("slowest") is None, groups.get(item) is None))


def _group(item: pytest.Item) -> str | None:
    """What a test shares with others and is made once a worker: what its mark says, or what is made for its file."""
    mark = item.get_closest_marker("xdist_group")
    if mark is not None:
        return mark.args[0]
    made = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
    is_shared = any(fixtures[-1].scope == "module" for fixtures in made)
    return item.nodeid.partition("::")[0] if is_shared else None


def pytest_configure() -> None:
    """Nothing that is imported or collected is garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Ten thousand tests and what they import stay to the end: no search for garbage need go through them again."""
    gc.enable()
    gc.freeze()
