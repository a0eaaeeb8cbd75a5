"""The index of a part: what it says is true of the part, whatever else is refused, and it loses no row of a key."""

import random
from hashlib import sha256
from itertools import pairwise

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from archiver.format.canonical import canonical
from query.derived import index as part_index
from query.derived.columns import RUN_SCHEMA
from query.derived.index import CHUNK_BYTES, PartIndex, RowGroup
from query.derived.key_range import KeyRange, RowKey

IMAGE_BYTES = 2_000


def run_rows(keys, *, start=0, image_bytes=IMAGE_BYTES):
    """Rows of a run for these keys in order, with images that do not compress."""
    chance = random.Random(start)
    rows = [
        {
            "change_id": f"{number:064x}",
            "op": "MODIFY",
            "changed_at": 1_788_307_200_000 + number,
            "sequence_number": f"{number:021}",
            "stream_label": "2026-09-01T00:00:00.000",
            "item_key": key.item_key,
            "pk": key.pk,
            "sk": key.sk,
            "old_image": None,
            "new_image": chance.randbytes(image_bytes // 2).hex(),
            "user_identity": None,
            "event": "{}",
            "changed_attributes": ["a", "b"] if number % 3 else None,
            "preceded_at": None,
            "effective_at": 1_788_307_200_000 + number,
            "superseded_at": None,
            "repeats": False,
            "segment": 7,
            "position": number,
        }
        for number, key in enumerate(keys, start)
    ]
    return pa.Table.from_pylist(rows, RUN_SCHEMA)


def write_part(path, groups, **how):
    """A part with these tables as its row groups; its index."""
    with pq.ParquetWriter(path, RUN_SCHEMA, compression="zstd", store_schema=False) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=group.num_rows)
    return PartIndex.of(path, [key_range(group) for group in groups])


def key_range(group):
    first, last = (
        RowKey(*(group.column(name)[row].as_py() for name in ("pk", "sk", "item_key")))
        for row in (0, group.num_rows - 1)
    )
    return KeyRange(first, last)


def key(number):
    return RowKey(f"p{number // 10:05}", f"{number:05}", f'{{"p":{number}}}')


GROUPS = [run_rows([key(number) for number in range(start, start + 100)], start=start) for start in range(0, 800, 100)]


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    path = tmp_path_factory.mktemp("part") / "part-0.parquet"
    return path, write_part(path, GROUPS)


def test_it_says_where_row_groups_lie_and_what_every_chunk_digests_to(part):
    """All that a reader needs to read some rows of the part, and to know that they are right."""
    path, index = part
    content = path.read_bytes()
    assert index.size_bytes == len(content)
    assert index.rows == 800
    assert index.chunk_count == -(-len(content) // CHUNK_BYTES) > 8
    for chunk in range(index.chunk_count):
        start, end = index.chunk_range(chunk)
        assert sha256(content[start:end]).digest() == index.digest(chunk)
    assert end == len(content)
    assert content[index.footer_offset :] == index.footer
    assert index.groups[0].offset == 4
    assert [group.rows for group in index.groups] == [100] * 8
    assert all(before.end == after.offset for before, after in pairwise(index.groups))
    assert index.metadata(index.all_groups()).num_rows == 800


def test_parse_and_compose_are_inverse(part):
    """One file for one index, and one index for one file."""
    _, index = part
    assert PartIndex.parse(index.compose()) == index
    assert PartIndex.parse(index.compose()).compose() == index.compose()


def test_the_file_is_what_the_format_says(part):
    """Anybody with zstd, JSON and SHA-256 can read it."""
    path, index = part
    line, _, rest = zstandard.decompress(index.compose()).partition(b"\n")
    members = orjson.loads(line)
    assert list(members) == ["bytes", "chunk_bytes", "footer_offset", "format", "groups", "rows"]
    assert list(members["groups"][0]) == ["bytes", "first", "last", "offset", "rows"]
    assert members["groups"][0]["last"] == ["p00009", "00099", '{"p":99}']
    assert (members["chunk_bytes"], members["format"], members["rows"]) == (65_536, 1, 800)
    assert rest == index.digests + path.read_bytes()[members["footer_offset"] :]


# --- what is refused ---


def recomposed(index, change=lambda members: None, *, digests=None, footer=None, line=None):
    """The file of an index with something of it changed."""
    members = orjson.loads(index._plain().partition(b"\n")[0])
    change(members)
    plain = (line or canonical)(members) + b"\n"
    plain += (index.digests if digests is None else digests) + (index.footer if footer is None else footer)
    return zstandard.compress(plain)


def set_member(name, value):
    return lambda members: members.update({name: value})


def set_group(number, name, value):
    return lambda members: members["groups"][number].update({name: value})


def swap_groups(members):
    groups = members["groups"]
    groups[1], groups[2] = groups[2], groups[1]


MEMBERS = {
    "an empty group that counts": lambda members: (members["groups"][3].update(rows=0), members.update(rows=700)),
    "no groups, and no rows": lambda members: members.update(groups=[], rows=0),
    "another format": set_member("format", 2),
    "another size of chunks": set_member("chunk_bytes", 32_768),
    "a size that is true": set_member("bytes", True),
    "a size as text": set_member("bytes", "9"),
    "no size": set_member("bytes", 0),
    "a negative size": set_member("bytes", -1),
    "a larger size": lambda members: members.update(bytes=members["bytes"] + 1),
    "a size of many chunks": set_member("bytes", 10**15),
    "a footer further on": lambda members: members.update(footer_offset=members["footer_offset"] + 1),
    "other rows": set_member("rows", 801),
    "a member nobody knows": set_member("more", 1),
    "no groups": set_member("groups", []),
    "groups that are none": set_member("groups", 5),
    "a group without a place": lambda members: members["groups"][3].pop("offset"),
    "a group with more": set_group(3, "more", 1),
    "a group that is empty": set_group(3, "bytes", 0),
    "a group without rows": set_group(3, "rows", 0),
    "a group in the magic": set_group(0, "offset", 3),
    "a group over the next": lambda members: members["groups"][3].update(bytes=members["groups"][3]["bytes"] + 1),
    "a group over the footer": lambda members: members["groups"][-1].update(
        bytes=members["groups"][-1]["bytes"] + 10**6
    ),
    "groups out of order": swap_groups,
    "a group before its keys": set_group(3, "first", ["p00001", "00010", '{"p":10}']),
    "keys the wrong way": set_group(3, "first", ["p00040", "00400", '{"p":400}']),
    "a key of two": set_group(3, "first", ["p", "s"]),
    "a key without an item": set_group(3, "first", ["p00030", "00300", None]),
}


@pytest.mark.parametrize("change", MEMBERS.values(), ids=MEMBERS.keys())
def test_members_that_do_not_add_up_are_refused(part, change):
    """Every sum, order and type is looked at before a place is believed."""
    _, index = part
    with pytest.raises(ValueError):
        PartIndex.parse(recomposed(index, change))


def test_what_is_changed_for_those_refusals_is_accepted_unchanged(part):
    """A rule that refuses everything refuses these too."""
    _, index = part
    assert PartIndex.parse(recomposed(index)) == index


@pytest.mark.parametrize("line", [lambda one: orjson.dumps(one, option=orjson.OPT_INDENT_2), lambda one: b" " + canonical(one), lambda _: b"[]", lambda _: b"7", lambda _: b"{"])  # fmt: skip
def test_another_spelling_is_refused(part, line):
    """Two files for one index would have two digests."""
    _, index = part
    with pytest.raises(ValueError):
        PartIndex.parse(recomposed(index, line=line))


def test_a_digest_more_or_less_is_refused(part):
    """The footer would begin elsewhere."""
    _, index = part
    for digests in (index.digests[:-32], index.digests + bytes(32), index.digests[:-1], b""):
        with pytest.raises(ValueError):
            PartIndex.parse(recomposed(index, digests=digests))
        with pytest.raises(ValueError, match="it has not a digest a chunk"):
            PartIndex(index.size_bytes, index.groups, digests, index.footer)


def test_a_footer_that_is_not_whole_is_refused(part):
    """Its own length says how long it is."""
    _, index = part
    for footer in (
        index.footer[1:],
        b"\x00" + index.footer,
        index.footer[:-1] + b"2",
        index.footer[:-5] + b"\x7fPAR1",
        b"",
    ):
        with pytest.raises(ValueError):
            PartIndex.parse(recomposed(index, footer=footer))
        with pytest.raises(ValueError):
            PartIndex(index.size_bytes, index.groups, index.digests, footer)


@pytest.fixture
def long_footer(tmp_path):
    """A part whose footer covers whole chunks: many groups of one row."""
    groups = [run_rows([key(number)], start=number, image_bytes=10) for number in range(120)]
    index = write_part(tmp_path / "long.parquet", groups)
    assert index.chunk_count - -(-index.footer_offset // CHUNK_BYTES) > 1
    return index


def test_true_is_no_number(long_footer):
    """Of one row: in Python it is one, and JSON would have two spellings of it."""
    with pytest.raises(ValueError, match="expected a whole number, not True"):
        PartIndex.parse(recomposed(long_footer, set_group(3, "rows", True)))


def test_a_footer_with_another_digest_is_refused(long_footer):
    """What tells where everything lies is checked like everything."""
    assert PartIndex.parse(long_footer.compose()) == long_footer
    for place in (-200, -30_000, -(long_footer.size_bytes % CHUNK_BYTES) - 5):
        footer = bytearray(long_footer.footer)
        footer[place] ^= 1
        with pytest.raises(ValueError, match="its footer has another digest"):
            PartIndex.parse(recomposed(long_footer, footer=bytes(footer)))


def test_a_footer_that_says_otherwise_is_refused(part):
    """The decoder goes where the footer says, the digests are where the groups say."""
    _, index = part
    group = index.groups[3]
    for other in (
        RowGroup(group.offset, group.size_bytes - 1, group.rows, group.keys),
        RowGroup(group.offset + 1, group.size_bytes - 1, group.rows, group.keys),
        RowGroup(group.offset, group.size_bytes, group.rows + 1, group.keys),
    ):
        groups = (*index.groups[:3], other, *index.groups[4:])
        lying = PartIndex(index.size_bytes, groups, index.digests, index.footer)
        assert lying.metadata((2, 4)).num_rows == 800
        with pytest.raises(ValueError, match="its footer says otherwise"):
            lying.metadata((2, 3))
    fewer = PartIndex(index.size_bytes, index.groups[:7], index.digests, index.footer)
    with pytest.raises(ValueError, match="its footer says otherwise"):
        fewer.metadata((2,))


def with_footer(index, footer):
    """An index with another footer of the same length, and a last chunk to it."""
    last = sha256(footer[-(index.size_bytes % CHUNK_BYTES) :]).digest()
    return PartIndex(index.size_bytes, index.groups, index.digests[:-32] + last, footer)


def test_a_footer_that_is_no_footer_is_refused(part):
    """As long as it says, and nothing that can be read; or encrypted, or not as long."""
    _, index = part
    with pytest.raises(ValueError, match="it has no footer of a part"):
        with_footer(index, index.footer[:-4] + b"PARE")
    with pytest.raises(ValueError, match="not as long as the footer says"):
        with_footer(index, index.footer[:-8] + (len(index.footer) - 9).to_bytes(4, "little") + b"PAR1")
    nonsense = with_footer(index, bytes(len(index.footer) - 8) + index.footer[-8:])
    with pytest.raises(ValueError, match="its footer cannot be read"):
        nonsense.metadata((2,))


@pytest.mark.parametrize(
    "change",
    {
        "not zstd": lambda content: b"x" + content[1:],
        "cut": lambda content: content[:-1],
        "cut in half": lambda content: content[: len(content) // 2],
        "nothing": lambda _: b"",
        "its magic alone": lambda content: content[:4],
        "its head alone": lambda content: content[:5],
        "a byte more": lambda content: content + b"\x00",
        "an empty frame more": lambda content: content + zstandard.compress(b""),
        "the same once more": lambda content: content + content,
        "something to skip behind it": lambda content: content + b"\x50\x2a\x4d\x18\x01\x00\x00\x00x",
        "something to skip before it": lambda content: b"\x50\x2a\x4d\x18\x01\x00\x00\x00x" + content,
    }.items(),
    ids=lambda change: change[0],
)
def test_anything_but_one_frame_is_refused(part, change):
    """A decompressor takes several frames for one, and skips some."""
    _, index = part
    with pytest.raises(ValueError):
        PartIndex.parse(change[1](index.compose()))


@pytest.mark.parametrize("level", [1, 3, 19])
@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("says_size", [False, True])
def test_it_may_be_compressed_by_another_hand(part, level, checksum, says_size):
    """Another version of zstd writes another frame for the same index."""
    _, index = part
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=says_size)
    assert PartIndex.parse(compressor.compress(index._plain())) == index


def test_a_bomb_is_refused(monkeypatch):
    """A few KB that become gigabytes fill the memory before anything can be checked."""
    monkeypatch.setattr(part_index, "MOST_INDEX_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="larger than 1048576 bytes"):
        PartIndex.parse(zstandard.compress(bytes(1 << 24)))


def test_an_index_that_nobody_would_read_is_not_made(part, monkeypatch):
    """Better no run than one that is published and refused."""
    _, index = part
    monkeypatch.setattr(part_index, "MOST_INDEX_BYTES", len(index._plain()))
    assert PartIndex.parse(index.compose()) == index
    monkeypatch.setattr(part_index, "MOST_INDEX_BYTES", len(index._plain()) - 1)
    with pytest.raises(ValueError, match="it is larger than"):
        index.compose()


def test_every_flipped_bit_is_refused_or_of_another_index(part):
    """Whoever knows the digest of the index never gets here; whoever does not still reads no nonsense."""
    _, index = part
    content = index.compose()
    for place in range(0, len(content), 37):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        try:
            found = PartIndex.parse(bytes(flipped))
        except ValueError:
            continue
        assert PartIndex.parse(found.compose()) == found


def test_of_another_number_of_groups_no_index_is_made(part):
    """Each row group has its keys."""
    path, index = part
    with pytest.raises(ValueError, match="8 row groups"):
        PartIndex.of(path, [group.keys for group in index.groups[1:]])


def test_of_what_is_no_part_no_index_is_made(tmp_path):
    """A ValueError, as of every other thing that does not fit."""
    path = tmp_path / "part-0.parquet"
    path.write_bytes(b"PAR1 something else PAR1")
    with pytest.raises(ValueError, match="no Parquet file"):
        PartIndex.of(path, [])


def test_a_row_group_in_several_pieces_has_no_index():
    """What lies between its column chunks would be taken for part of it."""
    column = {"has_dictionary_page": False, "total_compressed_size": 10}

    class Group:
        num_columns, num_rows = 2, 1

        def __init__(self, *offsets):
            self._offsets = offsets

        def column(self, number):
            return type("Column", (), {**column, "data_page_offset": self._offsets[number]})

    assert part_index._lies(Group(4, 14)) == (4, 20, 1)
    for offsets in ((4, 15), (4, 13), (14, 4)):
        with pytest.raises(ValueError, match="do not follow each other"):
            part_index._lies(Group(*offsets))


# --- which row groups ---


def test_a_key_is_looked_for_where_it_can_stand(part):
    """In one group as a rule, in none if it falls between two."""
    _, index = part
    assert index.groups_for([key(0)]) == (0,)
    assert index.groups_for([key(99)]) == (0,)
    assert index.groups_for([key(100)]) == (1,)
    assert index.groups_for([key(799), key(250), key(251)]) == (2, 7)
    assert index.groups_for([RowKey("p00009", "00099", '{"p":99}x')]) == ()
    assert index.groups_for([RowKey(None, None, "a"), RowKey("q", None, "a")]) == ()
    assert index.groups_for([]) == ()
    assert index.all_groups() == tuple(range(8))


def test_a_partition_is_looked_for_in_all_its_groups(part):
    """One partition key may fill many groups, or lie across the border of two."""
    _, index = part
    assert index.groups_for_partition("p00009") == (0,)
    assert index.groups_for_partition("p00010") == (1,)
    assert index.groups_for_partition("p00080") == ()


@pytest.mark.parametrize("seed", range(20))
def test_no_row_of_a_key_or_a_partition_is_left_out(seed):
    """Whatever the keys: those without hints, those that fill several groups, those that differ in the last text only."""
    chance = random.Random(seed)
    texts = [None, "", "a", "a\x00", "b", "é", "\uffff", "\U00010000"]
    keys = sorted(RowKey(chance.choice(texts), chance.choice(texts), chance.choice("xyz")) for _ in range(60))
    cuts = sorted({0, 60, *(chance.randrange(60) for _ in range(9))})
    rows = [keys[start:end] for start, end in pairwise(cuts)]
    groups = tuple(RowGroup(4 + number, 1, len(some), KeyRange(some[0], some[-1])) for number, some in enumerate(rows))
    footer = bytes(4) + b"PAR1"
    content = bytes(4 + len(groups)) + footer
    index = PartIndex(len(content), groups, sha256(content).digest(), footer)
    for one in [*keys, RowKey("c", None, "x"), RowKey(None, "c", "x")]:
        assert index.groups_for([one]) == tuple(n for n, group in enumerate(groups) if group.keys.may_hold(one))
        assert {n for n, some in enumerate(rows) if one in some} <= set(index.groups_for([one]))
    for pk in texts[1:]:
        found = index.groups_for_partition(pk)
        assert {n for n, some in enumerate(rows) if any(one.pk in {None, pk} for one in some)} <= set(found)
    two = [keys[3], keys[50]]
    assert index.groups_for(two) == tuple(sorted({*index.groups_for(two[:1]), *index.groups_for(two[1:])}))
