"""What holds for all tests: nobody waits for a disk, and the slowest begin first, so that no worker is left alone with one
at the end.
"""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """No test cuts the power, so none can tell whether a disk was waited for; a bad descriptor is still an error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: os.fstat(descriptor) and None)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the order of all others."""
    items.sort(key=lambda item: item.get_closest_marker("slowest") is None)
