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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the order of all others."""
    items.sort(key=lambda item: item.get_closest_marker("slowest") is None)


def pytest_configure() -> None:
    """Nothing that is imported or collected is garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Ten thousand tests and what they import stay to the end: no search for garbage need go through them again."""
    gc.enable()
    gc.freeze()
