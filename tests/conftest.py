"""What holds for all tests: the slowest begin first, so that no worker is left alone with one at the end."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the order of all others."""
    items.sort(key=lambda item: item.get_closest_marker("slowest") is None)
