"""Tests of a group go to one worker, which makes once what they share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="module")
def shared() -> list[str]:
    return []


@pytest.mark.xdist_group("groups")
def test_the_scheduler_sees_the_group_of_a_mark(request):
    """It takes groups from behind the `@` of a name, and nothing fails where there is none."""
    assert request.node.nodeid.endswith("@groups") == ("PYTEST_XDIST_WORKER" in os.environ)


def test_the_scheduler_sees_what_is_made_for_a_file(request, shared):
    """No mark is needed for that."""
    assert shared == []
    assert request.node.nodeid.endswith("@tests/test_groups.py") == ("PYTEST_XDIST_WORKER" in os.environ)


def test_other_tests_go_wherever_there_is_room(request):
    """A group of all would leave the other workers without work."""
    assert "@" not in request.node.nodeid
