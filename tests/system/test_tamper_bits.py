"""Bit rot, or a hand that is light: one bit flipped in every byte of every object. Each time the whole verifier runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from query.verify.verification import Level
from tests.system.tampered import CUSTOMERS, Reviewer, Sealed, reference, smallest

CHUNKS, LONG_CHUNKS = 4, 8
BITS = 8


@pytest.fixture(scope="module")
def reviewer() -> Iterator[Reviewer]:
    """Reads into memory where there is a file system for that."""
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Reviewer(Path(folder), level=Level.QUICK)


def flips(sealed: Sealed, chunk: int, chunks: int) -> Iterator[tuple[str, int, int]]:
    """Each byte once, each time another of its bits; every `chunks`-th of them."""
    names = [name for name in sorted(sealed.objects) if not name.startswith(CUSTOMERS.prefix)]
    places = ((name, place, place % BITS) for name in names for place in range(len(sealed.objects[name])))
    return (found for number, found in enumerate(places) if number % chunks == chunk)


def spoil_all(sealed: Sealed, reviewer: Reviewer, chunk: int, chunks: int) -> int:
    """How many bytes were spoilt, all of them seen as tampering (exit 1)."""
    spoilt = sealed.copy()
    source = reviewer.source(spoilt)
    count = 0
    for name, place, bit in flips(sealed, chunk, chunks):
        content = bytearray(sealed.objects[name])
        content[place] ^= 1 << bit
        spoilt.objects[name] = bytes(content)
        # Rows are asked only after everything else was found sound, and can add no tampering that a digest did not.
        found = reviewer.verify(spoilt, source, asks_rows=False)
        assert found.exit_code == 1, f"bit {bit} of byte {place} of {name}: {found.counts}"
        spoilt.objects[name] = sealed.objects[name]
        count += 1
    return count


@pytest.fixture(scope="module")
def small() -> Sealed:
    return smallest()


def test_the_small_archive_has_one_of_each_kind_and_is_verified(small, reviewer):
    """Seal, segment, description, baseline, part, marker, a record set aside in the trail and one beside it."""
    kinds = {name.removeprefix("v1/").partition("table_name=orders/")[2].partition("/")[0] for name in small.objects}
    assert kinds == {"seals", "segments", "streams", "baselines", "late", "quarantine", ""}
    assert [len(name) for name in small.objects if name.startswith("v1/quarantine/")]
    assert len(small.named("baselines/")) == 2
    found = replace(reviewer, level=Level.FULL).verify(small)
    assert found.exit_code == 0, found.problems


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_one_bit_of_any_byte_is_tampering(small, reviewer, chunk):
    """All bytes of all evidence are covered by a digest that is signed, so each is 1: none is merely missing."""
    count = spoil_all(small, reviewer, chunk, CHUNKS)
    assert count > 1_500


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_one_bit_of_any_byte_of_a_longer_log_is_tampering(reviewer, chunk):
    """The same with six seals, a hand-over to another key, and every type of entry."""
    count = spoil_all(reference(), reviewer, chunk, LONG_CHUNKS)
    assert count > 3_000


@pytest.mark.long
@pytest.mark.parametrize("bit", range(BITS))
def test_every_bit_of_a_seal_is_signed(small, reviewer, bit):
    """Seals are text, in which a bit may turn one legal character into another: all eight bits of every byte."""
    spoilt = small.copy()
    source = reviewer.source(spoilt)
    for name in small.seals:
        for place in range(len(small.objects[name])):
            content = bytearray(small.objects[name])
            content[place] ^= 1 << bit
            spoilt.objects[name] = bytes(content)
            found = reviewer.verify(spoilt, source, asks_rows=False)
            assert found.exit_code == 1, f"bit {bit} of byte {place} of {name}: {found.counts}"
        spoilt.objects[name] = small.objects[name]
