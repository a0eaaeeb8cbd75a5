"""Runs that Spark makes are those that `compact` makes: the same rows in the same order, and, where they lie in as many
parts, the same bytes; and whatever the parts, the verifier has nothing to say against them.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from query.derived.description import RunDescription
from query.derived.live import live_runs
from query.engine import Engine
from query.seal_log import SealMismatch
from query.source import Access, FolderSource
from query.verify.derived_files import DerivedPlace
from query.verify.verification import Demand, Level
from query.verify.verifier import verify
from tests.querying.derived_worlds import TRAIL, Place, World, make_world
from tests.system import parts
from tests.system.tampered import FIRST_KEY

pytestmark = pytest.mark.xdist_group("spark")

WHOLE, SMALL = 256_000_000, 1_500  # bytes in a range of keys: all of a world, or a few of its items
HINTLESS = 44  # a world whose archiver learnt the key schema on its way
LONG_CHUNKS, LONG_SEEDS = 4, 60


def compactor(spark, place: Place, derived: Path, range_bytes: int = WHOLE):
    from query.spark.files import Place as SparkPlace
    from query.spark.runs import SparkCompactor

    access = Access(cache_dir=place.folder / "cache")
    archive = SparkPlace(str(place.archive_folder), access)
    return SparkCompactor(spark, archive, SparkPlace(str(derived), access), place.trail, range_bytes=range_bytes)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder: Path) -> dict[str, pa.Table]:
    """The rows of each live run, in the order of its parts."""
    found = {}
    for run in live_runs(FolderSource(folder), TRAIL):
        read = [pq.ParquetFile(folder / part.name).read() for part in run.parts]
        found[run.name.folder] = pa.concat_tables(read) if read else None
    return found


def descriptions(folder: Path) -> list[RunDescription]:
    return [run.description for run in live_runs(FolderSource(folder), TRAIL)]


def played(seed: int, folder: Path, stage: int | None = None) -> tuple[World, Place]:
    world = make_world(seed)
    assert world is not None
    place = Place(folder, apart=True, key_names=world.key_names)
    return world, place.play(world, len(world.stages) - 1 if stage is None else stage)


def verified(place: Place, derived: Path | None) -> list[tuple[str, str]]:
    """What the verifier finds when it looks at every byte of evidence, and of runs."""
    source = FolderSource(place.archive_folder)
    found = verify(
        source,
        TRAIL,
        Demand(Level.FULL, place.now_ms, FIRST_KEY.public_key),
        open_table=lambda: place.table(with_derived=False),
        workers=1,
        derived=derived and DerivedPlace(FolderSource(derived), lambda: Engine(threads=1)),
    )
    return [(problem.code, problem.detail) for problem in found.problems]


@pytest.mark.parametrize("seed", [16, pytest.param(5, marks=pytest.mark.long)])
def test_spark_makes_the_same_files(seed, spark, tmp_path):
    """Half of the log, and later all of it, so that runs are made of segments, of runs and of both: every object below
    the derived folder is the same, byte for byte."""
    world, place = played(seed, tmp_path, len(make_world(seed).stages) // 2)
    derived = tmp_path / "spark"
    for stage in (len(world.stages) // 2, len(world.stages) - 1):
        place.play(world, stage)
        expected = [(made.name, made.runs, made.segments, made.rows, made.bytes) for made in place.compact()]
        made = compactor(spark, place, derived).compact()
        assert [(one.name, one.runs, one.segments, one.rows, one.bytes) for one in made] == expected
    assert files(derived) == files(place.derived_folder)


def check_many_parts(spark, seed: int, folder: Path) -> int:
    """Compacts once by the reader and once by Spark in many ranges of keys; how many parts that made."""
    _, place = played(seed, folder)
    place.compact()
    derived = folder / "spark"
    compactor(spark, place, derived, SMALL).compact()
    assert rows(derived) == rows(place.derived_folder), f"seed {seed}"
    told = zip(descriptions(derived), descriptions(place.derived_folder), strict=True)
    for ours, other in told:
        assert replace(ours, parts=()) == replace(other, parts=()), f"seed {seed}"
    assert verified(place, derived) == verified(place, None), f"seed {seed}"
    return sum(len(one.parts) for one in descriptions(derived))


def test_many_ranges_of_keys_make_one_run(spark, tmp_path):
    """Each range is sorted and written by a task of its own: parts follow each other by key and are numbered through,
    rows and what is said of them stay the same, and the verifier agrees with every byte. Items of which some rows were
    archived before the key schema was known stand together all the same."""
    assert check_many_parts(spark, HINTLESS, tmp_path) > 4
    place = Place(tmp_path, apart=True, now_ms=make_world(HINTLESS).now_ms)
    told = {(row.item_key, row.pk is None) for row in place.table(with_derived=False).changes()}
    assert {key for key, is_missing in told if is_missing} & {key for key, is_missing in told if not is_missing}
    spoilt = next((tmp_path / "spark").rglob("part-1-*.parquet"))
    content = spoilt.read_bytes()
    spoilt.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    assert verified(place, tmp_path / "spark") != verified(place, None), "the verifier did not look"


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_many_ranges_of_keys_make_one_run_in_many_histories(chunk, spark, tmp_path):
    """The same at length: keys of every kind, key text that is not known, changes told twice, conflicts."""
    seeds = range(chunk * LONG_SEEDS // LONG_CHUNKS, (chunk + 1) * LONG_SEEDS // LONG_CHUNKS)
    assert sum(check_many_parts(spark, seed, tmp_path / str(seed)) for seed in seeds if make_world(seed)) > 100


def test_a_segment_that_is_not_the_sealed_one_is_in_no_run(spark, tmp_path):
    """The task that meets it refuses, nothing is live, and what was put before it is nothing that anybody reads."""
    from query.spark.files import RefusedOnSpark

    _, place = played(5, tmp_path)
    segment = next(one for one in place.table(with_derived=False).evidence.segments if one.is_sealed)
    path = place.archive_folder / segment.stored.name
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(RefusedOnSpark, match="is not the file that was sealed"):
        compactor(spark, place, tmp_path / "spark").compact()
    assert segment.stored.name not in repr(live_runs(FolderSource(tmp_path / "spark"), TRAIL))


@pytest.fixture
def s3():
    """An endpoint of S3 that other processes reach too."""
    with contextlib.ExitStack() as running:
        try:
            yield parts.AwsEndpoint(running.enter_context(parts.ministack()))
        except parts.PartAbsent as absent:
            pytest.skip(str(absent))


@pytest.mark.ministack
def test_tasks_read_evidence_from_s3_and_put_parts_there(s3, spark, tmp_path, monkeypatch):
    """Each task opens both buckets for itself; what lies there in the end is what `compact` puts into a folder."""
    from query.spark.files import Place as SparkPlace
    from query.spark.runs import SparkCompactor

    for name, value in s3.environ().items():
        monkeypatch.setenv(name, value)
    _, place = played(16, tmp_path)
    place.compact()
    access = Access(region=parts.REGION, endpoint_url=s3.url, cache_dir=tmp_path / "cache")
    with contextlib.closing(s3.client("s3")) as client:
        for bucket in ("evidence", "derived"):
            client.create_bucket(Bucket=bucket)
        for name, content in files(place.archive_folder).items():
            client.put_object(Bucket="evidence", Key=f"trail/{name}", Body=content)
        archive, derived = SparkPlace("s3://evidence/trail", access), SparkPlace("s3://derived/runs", access)
        SparkCompactor(spark, archive, derived, place.trail).compact()
        listed = client.list_objects_v2(Bucket="derived")["Contents"]
        found = {one["Key"]: client.get_object(Bucket="derived", Key=one["Key"])["Body"].read() for one in listed}
    assert found == {f"runs/{name}": content for name, content in files(place.derived_folder).items()}


def test_what_a_task_made_again_otherwise_is_not_put(tmp_path):
    """A part is joined from what a task kept; other bytes than those that were told of end the job."""
    from query.spark.runs import _join

    _join(tmp_path / "part", [b"ab", b"c"], hashlib.sha256(b"abc").hexdigest())
    assert (tmp_path / "part").read_bytes() == b"abc"
    with pytest.raises(SealMismatch, match="not the part that was made"):
        _join(tmp_path / "part", [b"ab", b"d"], hashlib.sha256(b"abc").hexdigest())
