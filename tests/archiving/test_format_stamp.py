"""A file's own digest: every bit is under it, and nothing that a table's users write can pass for it."""

from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archiver.format.columns import METADATA_DIGEST, METADATA_KIND, METADATA_ROOT
from archiver.format.stamp import UNSTAMPED, check_stamp, has_pair, stamp
from archiver.segment import encode_baseline_part

ITEM = b'{"pk":{"S":"CUST#1"}}'
PART = encode_baseline_part([(ITEM, "CUST#1", None, ITEM)])


def with_metadata(pairs, values=("CUST#1",), **options):
    """A Parquet file with statistics and these pairs, in order."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, pa.schema([("pk", pa.string())]), store_schema=False, **options) as writer:
        writer.write_table(pa.table({"pk": list(values)}))
        for key, value in pairs:
            writer.add_key_value_metadata({key: value})
    return bytes(sink.getvalue())


def test_a_stamped_file_is_whole():
    check_stamp(PART)


def test_every_flipped_bit_is_found():
    """In pages, page headers, footer, lengths and magic: all of it, not a sample."""
    for place in range(len(PART)):
        for bit in range(8):
            damaged = bytearray(PART)
            damaged[place] ^= 1 << bit
            with pytest.raises(ValueError):
                check_stamp(bytes(damaged))


@pytest.mark.parametrize("kept", [0, 1, 4, 11, 12, len(PART) // 2, len(PART) - 1])
def test_a_file_that_was_cut_short_is_found(kept):
    with pytest.raises(ValueError):
        check_stamp(PART[:kept])


@pytest.mark.parametrize("extra", [b"\n", b"PAR1", PART])
def test_a_longer_file_is_found(extra):
    with pytest.raises(ValueError):
        check_stamp(PART + extra)


def test_stamping_changes_the_digest_only_and_the_file_still_reads():
    unstamped = with_metadata([(METADATA_DIGEST, UNSTAMPED.encode())])
    stamped = stamp(unstamped)
    assert len(stamped) == len(unstamped)
    changed = [place for place, (one, other) in enumerate(zip(unstamped, stamped, strict=True)) if one != other]
    assert changed[-1] - changed[0] < 64
    assert pq.read_table(pa.BufferReader(stamped)).to_pylist() == [{"pk": "CUST#1"}]
    check_stamp(stamped)


def test_a_file_without_a_digest_is_neither_stamped_nor_checked():
    for refuse in (stamp, check_stamp):
        with pytest.raises(ValueError, match="states no digest"):
            refuse(with_metadata([]))


def test_an_unstamped_file_is_refused():
    with pytest.raises(ValueError, match="digest"):
        check_stamp(with_metadata([(METADATA_DIGEST, UNSTAMPED.encode())]))


def test_a_value_that_looks_like_metadata_is_not_taken_for_it():
    """Whoever writes items chooses keys, and the least and greatest key of a file stand in its footer."""
    forged_digest = b"\x18\x0fddbtrail.digest\x18\x40".decode() + UNSTAMPED
    forged_root = b"\x18\x0dddbtrail.root\x18\x02ff\x00".decode()
    content = stamp(
        with_metadata(
            [(METADATA_ROOT, b"00"), (METADATA_DIGEST, UNSTAMPED.encode())], values=[forged_digest, forged_root]
        )
    )
    check_stamp(content)
    stated = pq.read_metadata(pa.BufferReader(content)).metadata[METADATA_DIGEST]
    assert stated == sha256(content.replace(stated, UNSTAMPED.encode())).hexdigest().encode(), "as a parser finds it"
    assert has_pair(content, METADATA_ROOT, b"00")
    assert not has_pair(content, METADATA_ROOT, b"ff")


def test_nothing_before_the_footer_is_taken_for_metadata():
    """Values in pages can spell a whole pair, and a file whose footer lacks one must not borrow it from them."""
    forged = f"\x18\x0fddbtrail.digest\x18\x40{UNSTAMPED}\x00\x18\x0dddbtrail.root\x18\x02ff\x00"
    content = with_metadata([], values=["", forged, "~"], compression="none", use_dictionary=False)
    assert forged.encode() in content
    assert not has_pair(content, METADATA_ROOT, b"ff")
    for refuse in (stamp, check_stamp):
        with pytest.raises(ValueError, match="states no digest"):
            refuse(content)


MAGIC = b"PAR1"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (MAGIC, "too short"),
        (b"xxx" + MAGIC, "too short"),
        (MAGIC + bytes(3) + MAGIC, "too short"),
        (MAGIC + bytes(4) + MAGIC, "states no digest"),
        (MAGIC + bytes(4) + b"PAR2", "does not end"),
        (MAGIC + b"footer" + (6).to_bytes(4, "little") + MAGIC, "states no digest"),
        (MAGIC + b"footer" + (7).to_bytes(4, "little") + MAGIC, "longer than the file"),
        (MAGIC + b"footer" + (2**32 - 1).to_bytes(4, "little") + MAGIC, "longer than the file"),
    ],
)
def test_what_has_no_footer_is_refused_for_that(content, reason):
    """By the last length inside and the first outside; nothing is read from before the file."""
    for refuse in (stamp, check_stamp, lambda file: has_pair(file, METADATA_ROOT, b"00") or check_stamp(file)):
        with pytest.raises(ValueError, match=reason):
            refuse(content)


def test_a_pair_is_found_whole_or_not_at_all():
    assert has_pair(PART, METADATA_KIND, b"baseline")
    assert not has_pair(PART, METADATA_KIND, b"baselin")
    assert not has_pair(PART, METADATA_KIND, b"segment")
