"""Signed notes and checkpoints: the published examples, both directions, and one spelling only."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.merkle import leaf_digest
from archiver.format.note import (
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    Checkpoint,
    NoteSignature,
    SignedNote,
    ecdsa_key_id,
    ed25519_key_id,
)
from tests.archiving.strategies import PROPERTY

# The example of golang.org/x/mod/sumdb/note, with its verifier key `PeterNeumann+c74f20a3+ARpc...`.
NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
KEY = bytes.fromhex("1a5cd907143c384c41e830c5bce12aa8817ec5649aaabf2c31388b35b2d744d6")
# The example of c2sp.org/tlog-checkpoint.
CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
ROOT = leaf_digest(b"")
SIGNATURE = NoteSignature("log", b"abcd", b"signature")


def test_a_note_of_another_implementation_is_read_and_its_signature_holds():
    """The bytes that are signed are the text with its last newline, and nothing of the signature lines."""
    note = SignedNote.parse(NOTE.encode())
    (signature,) = note.signatures
    assert signature.key_name == "PeterNeumann"
    assert signature.key_id == bytes.fromhex("c74f20a3") == ed25519_key_id("PeterNeumann", KEY)
    Ed25519PublicKey.from_public_bytes(KEY).verify(signature.signature, note.text.encode())
    assert note.compose() == NOTE.encode()


def test_the_checkpoint_of_the_specification_is_read():
    """Origin, size and root of the published example, and back to the same bytes."""
    note = SignedNote.parse(CHECKPOINT.encode())
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert b64encode(checkpoint.root) == b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    assert checkpoint.text == note.text


def test_the_id_of_an_ecdsa_key_is_that_of_its_spki():
    """As the witnesses compute it: SHA-256 of the DER alone, with no name and no type byte."""
    assert ecdsa_key_id(b"abc").hex() == "ba7816bf"  # FIPS 180-2, the digest of "abc"


NAMES = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="+"), min_size=1, max_size=20
)
LINES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=30)


@PROPERTY
@given(
    st.lists(LINES, min_size=1, max_size=4),
    st.lists(
        st.tuples(NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=70)), min_size=1, max_size=4
    ),
)
def test_a_note_that_was_composed_is_parsed_to_the_same(lines, signatures):
    """Texts with empty lines and with lines that look like signatures included."""
    note = SignedNote("".join(f"{line}\n" for line in lines), tuple(NoteSignature(*one) for one in signatures))
    assert SignedNote.parse(note.compose()) == note


@PROPERTY
@given(st.integers(0, len(CHECKPOINT.encode()) - 1), st.integers(0, 255))
def test_a_changed_byte_makes_another_note_or_none(position, value):
    """No byte of a checkpoint can be changed without it saying something else."""
    content = bytearray(CHECKPOINT.encode())
    if content[position] == value:
        return
    content[position] = value
    try:
        found = SignedNote.parse(bytes(content))
    except ValueError:
        return
    assert found != SignedNote.parse(CHECKPOINT.encode())
    assert found.compose() == bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty line"),
        (b"text\n", "empty line"),
        (b"text\n\n", "1 to 64 signatures"),
        (b"text\n\nno signature\n", "no signature"),
        (CHECKPOINT.encode()[:-1], "no signature"),
        (CHECKPOINT.encode() + b"\n", "1 to 64 signatures"),
        (CHECKPOINT.encode() + b"x", "no signature"),
        (CHECKPOINT.replace("— ", "- ").encode(), "no signature"),
        (CHECKPOINT.replace("\n", "\r\n").encode(), "empty line"),
        (CHECKPOINT.replace("AYQ8=", "AYQ9=").encode(), "another spelling"),
        (CHECKPOINT.replace("AYQ8=", "AYQ8").encode(), "base64"),
        (CHECKPOINT.replace("AYQ8=", "AYQ8==").encode(), "base64|spelling"),
        (b"text\n\n\xe2\x80\x94 name AAAAAA==\n", "nothing else"),
        (b"te\tt\n\n" + SIGNATURE.line.encode(), "control"),
        (b"text\n\n\xe2\x80\x94 na+me AAAAAAA=\n", "plus"),
        (b"text\xff\n\n" + SIGNATURE.line.encode(), "utf-8"),
        (b"text\n\n" + SIGNATURE.line.encode() * (SIGNATURES_MAX + 1), "1 to 64 signatures"),
        (b"text\n\nbefore " + SIGNATURE.line.encode(), "no signature"),
        (b"text\n\n" + SIGNATURE.line.encode() + b"between " + SIGNATURE.line.encode(), "no signature"),
        (b"x" * 1_000_001, "longer"),
    ],
)
def test_what_compose_would_not_write_is_no_note(content, reason):
    """Where two spellings are taken, two readers can be told different things."""
    with pytest.raises(ValueError, match=rf"(?i){reason}"):
        SignedNote.parse(content)


def test_as_many_signatures_as_are_allowed_are_read():
    """The last number inside the limit."""
    assert len(SignedNote.parse(b"text\n\n" + SIGNATURE.line.encode() * SIGNATURES_MAX).signatures) == SIGNATURES_MAX


def test_a_note_may_be_as_long_as_the_limit():
    """The last length inside it."""
    rest = len(SignedNote("\n", (SIGNATURE,)).compose())
    content = SignedNote("x" * (NOTE_BYTES_MAX - rest) + "\n", (SIGNATURE,)).compose()
    assert len(content) == NOTE_BYTES_MAX == 1_000_000
    assert SignedNote.parse(content).compose() == content


@pytest.mark.parametrize("code", [code for code in range(0x20) if code != 0x0A])
@pytest.mark.parametrize("wrong", ["{}b", "a{}b", "a{}"])
def test_no_control_character_stands_anywhere(code, wrong):
    """What a terminal obeys instead of showing would let a note look like another."""
    text = wrong.format(chr(code))
    with pytest.raises(ValueError, match="control"):
        SignedNote(f"{text}\n", (SIGNATURE,))
    with pytest.raises(ValueError, match="no key name"):
        NoteSignature(text, b"abcd", b"signature")
    with pytest.raises(ValueError, match="no origin"):
        Checkpoint(text, 1, ROOT)


@pytest.mark.parametrize("key_id", [b"", b"abc", b"abcde"])
def test_a_key_id_has_four_bytes(key_id):
    """With another length, the line would be read with a part of the signature as its id, or the other way round."""
    with pytest.raises(ValueError, match="4 bytes"):
        NoteSignature("log", key_id, b"signature")


def test_the_text_of_a_note_ends_a_line():
    """Else the empty line before the signatures would end it, and what was signed would not be what is parsed."""
    with pytest.raises(ValueError, match="newline"):
        SignedNote("text", (SIGNATURE,))


def test_a_root_in_characters_that_base64_has_not_is_refused_for_that():
    """Decoders that skip what they do not know are how one root gets many spellings."""
    text = b64encode(ROOT).decode()
    with pytest.raises(ValueError, match="not base64"):
        Checkpoint.parse(f"log\n1\n{text[:4]}*{text[4:]}\n")


@pytest.mark.parametrize(
    "text",
    [
        "log\n1\n",
        "log\n01\n{root}\n",
        "log\n0\n{root}\n",
        "log\n-1\n{root}\n",
        "log\n+1\n{root}\n",
        "log\n1 \n{root}\n",
        "log\n١\n{root}\n",
        "log\n10000000000000000000\n{root}\n",
        "\n1\n{root}\n",
        "a log\n1\n{root}\n",
        "a+log\n1\n{root}\n",
        "log\n1\n{root}",
        "log\n1\n{root}\n\n",
        "log\n1\n{root}\nextension\n",
        "log\n1\n{root}\nunended",
        "log\n1\nAAAA\n",
        "log\n1\n{root}=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text):
    """Leading zeros, an empty tree and what stands after the root are where forgeries have hidden before."""
    with pytest.raises(ValueError, match=r"."):
        Checkpoint.parse(text.replace("{root}", b64encode(ROOT).decode()))


@pytest.mark.parametrize("size", [1, 2, 10**18, 10**19 - 1])
def test_a_checkpoint_comes_back_as_it_was(size):
    """From the first size to the last."""
    checkpoint = Checkpoint("ddbtrail/111122223333/eu-west-1/orders", size, ROOT)
    assert Checkpoint.parse(checkpoint.text) == checkpoint
    with pytest.raises(ValueError, match="leaves"):
        Checkpoint("log", 10**19, ROOT)
