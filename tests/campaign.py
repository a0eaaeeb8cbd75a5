"""Campaigns: the first rounds of each run in `make test`, all the others in `make test-long`."""

from __future__ import annotations

import pytest
from _pytest.mark.structures import ParameterSet


def rounds(in_test: int, in_all: int) -> list[int | ParameterSet]:
    """The numbers of `in_all` rounds, as parameters of a test; those from `in_test` on are `long`."""
    assert 0 < in_test < in_all
    return [*range(in_test), *(pytest.param(number, marks=pytest.mark.long) for number in range(in_test, in_all))]
