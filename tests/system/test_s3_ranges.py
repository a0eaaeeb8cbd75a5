"""Ranges of large objects on S3: fetched once, whole chunks at a time, kept within the limit of the cache, and counted."""

from __future__ import annotations

import contextlib
import os
import random

import pytest

from query.derived.columns import RUN_SCHEMA
from query.derived.ranges import read_groups
from query.errors import UnreadableArchive
from query.s3_source import S3Source
from query.seal_log import SealMismatch
from query.source import Access, StoredObject, open_source
from tests.querying.test_part_index import GROUPS, write_part
from tests.system.drop_proxy import DropProxy

CHUNK = 1 << 16
CONTENT = random.Random(5).randbytes(10 * CHUNK + 100)


def put(bucket, name, content) -> StoredObject:
    with contextlib.closing(bucket.server.client("s3")) as client:
        client.put_object(Bucket=bucket.name, Key=f"trail/{name}", Body=content)
    return StoredObject(name, len(content))


@pytest.fixture
def opened(any_bucket, tmp_path, monkeypatch):
    """A function that opens the archive anew, as another process would, with the cache in one place."""
    for name, value in any_bucket.server.environ().items():
        monkeypatch.setenv(name, value)

    def source(endpoint_url=any_bucket.server.url, **more) -> S3Source:
        access = Access(endpoint_url=endpoint_url, cache_dir=tmp_path / "cache", **more)
        return open_source(f"{any_bucket.url}/trail", access)

    return source


def counted(source):
    return source.traffic.requests, source.traffic.bytes, source.traffic.cached


@pytest.mark.parametrize(
    ("offset", "length", "chunks"),
    [
        (0, 1, 1),
        (CHUNK - 1, 1, 1),
        (CHUNK - 1, 2, 2),
        (CHUNK, CHUNK, 1),
        (3 * CHUNK, 4 * CHUNK + 1, 5),
        (10 * CHUNK + 99, 1, 0),
        (0, len(CONTENT), 10),
    ],
)
def test_a_range_comes_in_whole_chunks(any_bucket, opened, offset, length, chunks):
    """Only a whole chunk can be compared with its digest, and serve the next question."""
    stored = put(any_bucket, "part", CONTENT)
    source = opened()
    assert source.read_ranges([(stored, offset, length)]) == [CONTENT[offset : offset + length]]
    reaches_end = offset + length > 10 * CHUNK
    assert counted(source) == (1, chunks * CHUNK + 100 * reaches_end, 0)


def test_a_second_question_fetches_nothing(any_bucket, opened):
    """In another process too; and one that overlaps fetches only what is not there."""
    stored = put(any_bucket, "part", CONTENT)
    first = opened()
    wanted = [(stored, 5, CHUNK), (stored, 4 * CHUNK, 10), (stored, CHUNK, 3)]
    expected = [CONTENT[5 : CHUNK + 5], CONTENT[4 * CHUNK : 4 * CHUNK + 10], CONTENT[CHUNK : CHUNK + 3]]
    assert first.read_ranges(wanted) == expected
    assert counted(first) == (2, 3 * CHUNK, 0)  # chunks 0 and 1 together, and 4
    second = opened()
    assert second.read_ranges(wanted) == expected
    assert counted(second) == (0, 0, 3 * CHUNK)
    third = opened()
    assert third.read_ranges([(stored, 0, 6 * CHUNK)]) == [CONTENT[: 6 * CHUNK]]
    assert counted(third) == (2, 3 * CHUNK, 3 * CHUNK)  # chunks 2 and 3 together, and 5
    fourth = opened()
    assert fourth.read_ranges([(stored, 0, 6 * CHUNK)]) == [CONTENT[: 6 * CHUNK]]
    assert counted(fourth) == (0, 0, 6 * CHUNK)


def test_what_is_counted_went_over_the_line(any_bucket, opened):
    """As whoever stands between sees it."""
    stored = put(any_bucket, "part", CONTENT)
    with DropProxy(any_bucket.server.url) as proxy:
        source = opened(proxy.url)
        source.read_ranges([(stored, 0, 10), (stored, 5 * CHUNK, 10)])
        assert source.traffic.requests == proxy.requests["GET"] == 2
        assert source.traffic.bytes == proxy.response_bytes["GET"] == 2 * CHUNK


def test_a_whole_copy_serves_every_range(any_bucket, opened):
    """What was fetched as a whole is not fetched again in pieces."""
    stored = put(any_bucket, "part", CONTENT)
    opened().fetch([stored])
    source = opened()
    assert source.read_ranges([(stored, CHUNK - 1, 2 * CHUNK), (stored, 0, len(CONTENT))]) == [
        CONTENT[CHUNK - 1 : 3 * CHUNK - 1],
        CONTENT,
    ]
    assert counted(source) == (0, 0, len(CONTENT))


def test_a_long_stretch_comes_in_several_requests(any_bucket, opened):
    """One connection alone does not fill the line."""
    content = os.urandom(300 * CHUNK + 7)
    stored = put(any_bucket, "part", content)
    source = opened()
    assert source.read_ranges([(stored, 0, len(content))]) == [content]
    assert counted(source) == (3, len(content), 0)


@pytest.mark.parametrize("damage", ["cut", "gone", "renamed"])
def test_a_copy_that_is_not_whole_is_fetched_again(any_bucket, opened, tmp_path, damage):
    """A full disk, or somebody who cleans up."""
    stored = put(any_bucket, "part", CONTENT)
    opened().read_ranges([(stored, 0, 3 * CHUNK)])
    (copy,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    if damage == "cut":
        copy.write_bytes(copy.read_bytes()[:-1])
    elif damage == "gone":
        copy.unlink()
    else:
        copy.rename(copy.with_name(".partial-0-3"))
    source = opened()
    assert source.read_ranges([(stored, 0, 3 * CHUNK)]) == [CONTENT[: 3 * CHUNK]]
    assert counted(source) == (1, 3 * CHUNK, 0)


def test_the_limit_of_the_cache_holds_for_ranges(any_bucket, opened, tmp_path):
    """What was used least recently goes first, and a question that needs more than all of it is answered."""
    stored = put(any_bucket, "part", CONTENT)
    source = opened(cache_limit_bytes=4 * CHUNK)
    for chunk in range(8):
        source.read_ranges([(stored, chunk * CHUNK, CHUNK)])
        held = [path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert sum(held) == min(chunk + 1, 4) * CHUNK
    assert counted(source) == (8, 8 * CHUNK, 0)
    source.read_ranges([(stored, 7 * CHUNK, CHUNK)])
    assert counted(source) == (8, 8 * CHUNK, CHUNK)
    assert source.read_ranges([(stored, 0, len(CONTENT))]) == [CONTENT]


def test_a_stretch_that_was_used_again_stays(any_bucket, opened):
    """Least recently used, not least recently fetched."""
    stored = put(any_bucket, "part", CONTENT)
    source = opened(cache_limit_bytes=3 * CHUNK)
    for chunk in (0, 1, 2, 0, 3, 0):
        source.read_ranges([(stored, chunk * CHUNK, CHUNK)])
    assert counted(source) == (4, 4 * CHUNK, 2 * CHUNK)


def test_copies_that_are_being_used_may_go(any_bucket, opened):
    """Another process may make room at any moment: what was found before is not looked for again."""
    stored = put(any_bucket, "part", CONTENT)
    opened().read_ranges([(stored, 0, 3 * CHUNK)])
    source = opened(cache_limit_bytes=CHUNK)  # so that making room for the rest throws it away
    assert source.read_ranges([(stored, 0, 5 * CHUNK)]) == [CONTENT[: 5 * CHUNK]]


def test_an_object_that_has_gone_is_named(any_bucket, opened):
    """So that the question can be planned once more."""
    with pytest.raises(FileNotFoundError, match=r"^runs/d1/none\.parquet$"):
        opened().read_ranges([(StoredObject("runs/d1/none.parquet", 100), 0, 100)])


def test_an_object_that_ends_too_early_is_an_error(any_bucket, opened, tmp_path):
    """Fewer bytes than were asked for are no answer, and nothing of them is kept."""
    put(any_bucket, "part", CONTENT)
    for start in (10 * CHUNK, 11 * CHUNK):
        with pytest.raises(UnreadableArchive, match="part"):
            opened().read_ranges([(StoredObject("part", 12 * CHUNK), start, CHUNK)])
    with pytest.raises(UnreadableArchive, match=f"part has {len(CONTENT)} bytes, and {len(CONTENT) + 1} were expected"):
        opened().read_ranges([(StoredObject("part", len(CONTENT)), 0, len(CONTENT) + 1)])
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_every_road_counts(any_bucket, opened):
    """Lists, whole objects and small ones: what came and what a copy gave instead."""
    stored = put(any_bucket, "x/part", CONTENT)
    source, seen = opened(), []
    for ask in (
        lambda: source.folders(""),
        lambda: source.objects("x/"),
        lambda: source.fetch([stored]),
        lambda: source.fetch([stored]),
        lambda: list(source.versions("x/")),
    ):
        before = counted(source)
        ask()
        seen.append(tuple(now - then for now, then in zip(counted(source), before, strict=True)))
    assert seen == [(1, 0, 0), (1, 0, 0), (1, len(CONTENT), 0), (0, 0, len(CONTENT)), (1, 0, 0)]
    small = put(any_bucket, "x/small", b"0123456789")
    other = opened()
    assert other.read([small.name]) == [b"0123456789"]
    assert counted(other) == (1, 10, 0)
    assert other.read([small.name]) == [b"0123456789"]
    assert counted(other) == (1, 10, 10)


def test_row_groups_are_read_from_s3_and_then_from_here(any_bucket, opened, tmp_path):
    """The whole road: few requests, few bytes, the same rows; and a changed object is refused."""
    path = tmp_path / "part.parquet"
    index = write_part(path, GROUPS)
    stored = put(any_bucket, "runs/part.parquet", path.read_bytes())
    for requests in (2, 0):
        source = opened()
        table = read_groups(source, [(stored, index, (1, 6))], RUN_SCHEMA.names)
        assert table.to_pylist() == [*GROUPS[1].to_pylist(), *GROUPS[6].to_pylist()]
        assert source.traffic.requests == requests
    changed = bytearray(path.read_bytes())
    changed[index.groups[3].offset] ^= 1
    put(any_bucket, "runs/part.parquet", bytes(changed))
    with pytest.raises(SealMismatch, match=r"runs/part\.parquet"):
        read_groups(opened(), [(stored, index, (3,))], RUN_SCHEMA.names)
