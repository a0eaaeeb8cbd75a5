"""The newest change of a trail: found in the newest hour, and nothing before it is read."""

import pytest

from archiver.format.layout import Trail
from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.errors import UnreadableArchive
from query.operate.answers import Missing, Unknown
from query.operate.facts import Sealed
from query.operate.tail import newest_hour, read_tail
from query.source import FolderSource
from tests.archiving.batches import CHANGED_AT_S, DAY_S, HOUR_S, arn_of, record

TRAIL = Trail("111122223333", "eu-west-1", "orders")


class Watched(FolderSource):
    """A folder that notes what was read of it."""

    def __init__(self, root):
        super().__init__(root)
        self.fetched = []

    def fetch(self, wanted):
        self.fetched += [stored.name for stored in wanted]
        return super().fetch(wanted)


@pytest.fixture
def archive(tmp_path):
    """An archive, and a function that archives changes of these times (epoch seconds)."""
    writer = Writer(FolderStore(tmp_path), Streams({"orders": ("id",)}))
    numbers = iter(range(1, 1_000))

    def add(*times_s):
        records = [record(next(numbers), arn=arn_of("orders"), changed_at_s=at_s) for at_s in times_s]
        writer.archive(records, now_ms=(CHANGED_AT_S + DAY_S) * 1_000)

    return tmp_path, add


def tail(folder):
    return read_tail(lambda: FolderSource(folder), TRAIL)


def test_the_newest_change_is_the_newest_by_its_time(archive):
    """Not the last that was written, nor the last by sequence number."""
    folder, add = archive
    add(CHANGED_AT_S + 3 * HOUR_S + 59, CHANGED_AT_S + 3 * HOUR_S + 7)
    add(CHANGED_AT_S - DAY_S)
    add(CHANGED_AT_S + 2 * HOUR_S + 3_599)
    assert tail(folder).newest_ms == (CHANGED_AT_S + 3 * HOUR_S + 59) * 1_000
    assert tail(folder).key_schemas == {"2026-01-01T00:00:00.000": (("id", "S"),)}


def test_only_the_newest_hour_is_read(archive):
    """A trail of years costs two listings of folders and one hour of files."""
    folder, add = archive
    for day in range(5):
        add(CHANGED_AT_S - day * DAY_S)
    source = Watched(folder)
    read_tail(lambda: source, TRAIL)
    segments = [name for name in source.fetched if "/segments/" in name]
    assert len(segments) == 1
    assert "dt=2026-11-23/hour=00" in segments[0]


def test_a_folder_left_empty_is_not_the_newest_hour(archive):
    """As a stop between making a folder and the file in it leaves it."""
    folder, add = archive
    add(CHANGED_AT_S)
    (folder / TRAIL.prefix / "segments/dt=2026-11-24/hour=05").mkdir(parents=True)
    assert tail(folder).newest_ms == CHANGED_AT_S * 1_000
    assert len(newest_hour(FolderSource(folder), TRAIL)) == 1


def test_quarantine_is_counted(archive):
    """By a listing alone."""
    folder, add = archive
    add(CHANGED_AT_S)
    assert tail(folder).quarantined == 0
    quarantine = folder / TRAIL.prefix / "quarantine"
    quarantine.mkdir()
    for digest in ("a" * 64, "b" * 64):
        (quarantine / f"{digest}.json").write_text("{}")
    assert tail(folder).quarantined == 2


def test_a_trail_without_a_change_has_no_newest(archive):
    """A baseline may come first."""
    folder, _ = archive
    (folder / TRAIL.prefix).mkdir(parents=True)
    assert (tail(folder).newest_ms, tail(folder).quarantined) == (None, 0)


def test_another_table_is_not_this_one(archive):
    """Nothing of it is an answer of its own."""
    folder, add = archive
    add(CHANGED_AT_S)
    found = read_tail(lambda: FolderSource(folder), Trail("111122223333", "eu-west-1", "customers"))
    assert found == Missing(f"{folder} has nothing of 111122223333/eu-west-1/customers yet")


@pytest.mark.parametrize("name", ["segments/dt=2026-11-24/hour=00/foreign.parquet", "streams/foreign.json"])
def test_what_does_not_belong_is_not_passed_over(archive, name):
    """An age that was taken from the rest might be wrong."""
    folder, add = archive
    add(CHANGED_AT_S)
    path = folder / TRAIL.prefix / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}")
    assert isinstance(tail(folder), Unknown)
    assert "foreign" in tail(folder).why


def test_a_damaged_segment_is_unknown(archive):
    """Its digest is checked as for every answer."""
    folder, add = archive
    add(CHANGED_AT_S)
    (segment,) = (folder / TRAIL.prefix / "segments").rglob("*.parquet")
    content = bytearray(segment.read_bytes())
    content[100] ^= 1
    segment.write_bytes(content)
    assert isinstance(tail(folder), Unknown)


def test_an_archive_that_cannot_be_opened_is_unknown(tmp_path):
    """Absent, denied: nobody knows what it holds."""

    def refuse():
        raise UnreadableArchive("could not read it", why="access denied", hint="grant it")

    assert read_tail(refuse, TRAIL) == Unknown("could not read it; access denied")
    assert isinstance(tail(tmp_path / "no"), Unknown)


def test_the_newest_seal_is_the_last_of_the_log(archive, tmp_path_factory):
    """Its time, and how long the log is with it; of those before it nothing is read."""
    folder, add = archive
    key = tmp_path_factory.mktemp("key") / "key"
    create_key(key)
    sealer = Sealer(FolderStore(folder), TRAIL, load_signer(key))
    add(CHANGED_AT_S)
    assert tail(folder).sealed is None, "archived is not sealed"
    entries = 0
    FolderStore(folder).put_if_absent(f"{TRAIL.prefix}seals/readme.txt", b"somebody was here")
    for later_s in (600, 1_500, 2_400):
        sealing = sealer.seal((CHANGED_AT_S + later_s) * 1_000)
        entries += sum(sealing.entries.values())
        assert tail(folder).sealed == Sealed(entries, (CHANGED_AT_S + later_s) * 1_000)
    watched = Watched(folder)
    read_tail(lambda: watched, TRAIL)
    assert sum("/seals/" in name for name in watched.fetched) == 1


def test_what_is_no_seal_is_told_and_hides_nothing_else(archive):
    """Somebody put it there: the rest of the tail is known all the same."""
    folder, add = archive
    add(CHANGED_AT_S)
    FolderStore(folder).put_if_absent(f"{TRAIL.prefix}seals/00000000000000000000.json", b"{}")
    found = tail(folder)
    assert isinstance(found.sealed, Unknown)
    assert "00000000000000000000.json is no seal" in found.sealed.why
    assert found.newest_ms == CHANGED_AT_S * 1_000
