"""The stand-alone checker of proofs, held against the package's own: two programs that share no code must agree."""

import ast
import base64
import functools
import importlib.util
import json
import random
import shutil
import subprocess
import sys
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric import padding as padding_of_rsa

from archiver.format.merkle import inclusion_path, tree_root
from archiver.signer import public_pem
from query.instant import format_ms
from query.prove import NotProved, check_proof
from tests.archiving.proofs import (
    LOG_LEAVES,
    NONSENSE,
    ORIGIN,
    OTHER_SIGNER,
    OTHERWISE_SPELLED,
    P256_SIGNER,
    SENSE,
    SIGNER,
    Forge,
    block,
    padding,
    signed,
    spelled,
    worked,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
CHECKER = DOCS / "verify_proof.py"
PEM = public_pem(SIGNER.public_key)


@functools.cache
def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_proof", CHECKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what each of the two says ---


def by_package(content: bytes, signer: Any = SIGNER) -> dict[str, Any] | None:
    """What the package says is proved; None if nothing. Whatever else it raises is a bug."""
    try:
        proof = check_proof(content, signer.public_key)
    except NotProved:
        return None
    envelope, trail, shown = proof.envelope, proof.envelope.source.trail, proof.shown
    return {
        "table": f"{trail.account}/{trail.region}/{trail.table_name}",
        "change id": envelope.change_id,
        "operation": envelope.op,
        "changed at": format_ms(envelope.changed_at_ms),
        "sequence number": envelope.sequence_number,
        "shown": shown
        and {
            name: None if text is None else json.loads(text)
            for name, text in (("keys", shown.keys), ("old", shown.old), ("new", shown.new))
        },
        "log": (proof.head.size, proof.head.root, proof.entry_index),
        "segment": proof.segment.path,
    }


def by_checker(content: bytes, signer: Any = SIGNER) -> dict[str, Any] | None:
    """The same of the stand-alone checker, in the same words."""
    try:
        proved = checker().check(content, public_pem(signer.public_key))
    except (ValueError, RecursionError):
        return None
    made = datetime.fromisoformat(proved["changed at"])
    return {
        **{name: proved[name] for name in ("table", "change id", "operation", "shown", "segment")},
        "changed at": format_ms(round(made.timestamp() * 1000)),
        "sequence number": proved["sequence number"].zfill(40),
        "log": (proved["log size"], base64.b64decode(proved["log root"]), proved["entry"]),
    }


def both(content: bytes, signer: Any = SIGNER) -> bool:
    """Whether both say that something is proved; they must say the same."""
    first, second = by_package(content, signer), by_checker(content, signer)
    assert first == second, f"the package says {first}, the stand-alone checker {second}, of {content!r}"
    return first is not None


# --- the program ---


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", CHECKER, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def files(tmp_path):
    (tmp_path / "proof.json").write_bytes((block("proof") + "\n").encode())
    (tmp_path / "KEY.pub").write_text(block("proof-key") + "\n")
    return tmp_path


def test_the_worked_example_is_proved(files):
    """By a Python that has nothing of ours on its path."""
    done = run(files / "proof.json", files / "KEY.pub")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PROVED: this log holds this change\n")
    lines = dict(line.strip().split(maxsplit=1) for line in done.stdout.splitlines()[1:] if "(" not in line)
    assert lines["table"] == '"111122223333/eu-west-1/orders"'
    assert lines["operation"] == '"MODIFY"'
    assert "PAID" in lines["shown"]
    info = b"".join(block("proof-key").encode().splitlines()[1:-1])
    for text in (
        '"2026-11-23T06:15:30.000+00:00"',
        f'  key (SHA-256)   "{sha256(base64.b64decode(info)).hexdigest()}"\n',
    ):
        assert text in done.stdout
    assert done.stdout.isascii(), "nothing in a value can steer a terminal"


def test_exit_codes_say_what_happened(files):
    """A script compares them: not proved is another thing than not checked."""
    (files / "other.pub").write_bytes(public_pem(OTHER_SIGNER.public_key))
    (files / "bent.json").write_text(block("proof"))
    (files / "bent.pub").write_text("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n")
    proof, key = files / "proof.json", files / "KEY.pub"
    assert run(proof, files / "other.pub").returncode == 1
    assert run(files / "bent.json", key).returncode == 1
    assert run(proof, files / "bent.pub").returncode == 1
    assert run(proof).returncode == run(proof, key, key).returncode == run(proof, proof).returncode == 2
    assert run(files / "absent", key).returncode == run(proof, files / "absent").returncode == 4
    assert run(files / "bent.json", key).stdout == "NOT PROVED: a file in another spelling than its own\n"
    assert run().stderr == "usage: python verify_proof.py PROOF KEY.pub\n"
    assert f"{proof} is no public key" in run(proof, proof).stderr
    assert "No such file" in run(files / "absent", key).stderr
    (files / "deep.json").write_bytes(b"[" * 100_000)
    assert run(files / "deep.json", key).returncode == 1


def test_it_imports_the_standard_library_and_one_routine():
    """An auditor need not install us, and reads one file."""
    tree = ast.parse(CHECKER.read_text(encoding="utf-8"))
    places: dict[str, set[str]] = {}
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Module)]:
        for node in ast.iter_child_nodes(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
                for name in names:
                    where = function.name if isinstance(function, ast.FunctionDef) else "module"
                    places.setdefault(str(name).partition(".")[0], set()).add(where)
    outside = {name: where for name, where in places.items() if name not in sys.stdlib_module_names}
    assert outside == {"cryptography": {"check_signature"}}


# --- the rules, one by one ---


def forged(change: Any) -> Forge:
    forge = Forge.of(worked(0))
    change(forge)
    return forge


@pytest.mark.parametrize(("name", "change", "reason"), [(name, change, why) for name, change, _, why in NONSENSE])
def test_a_proof_that_says_nonsense_is_refused(name, change, reason):
    """Each rule of docs/format.md §15 broken once, in a proof that is sealed and signed."""
    content = forged(change).sealed()
    with pytest.raises(ValueError, match=reason.replace("*", r"\*")):
        checker().check(content, PEM)
    assert not both(content)


@pytest.mark.parametrize(("name", "change"), SENSE)
def test_a_proof_of_what_can_be_is_proved_by_both(name, change):
    """And both say the same of it."""
    forge = forged(change)
    assert both(forge.sealed(), forge.signer)


@pytest.mark.parametrize("other", OTHERWISE_SPELLED, ids=range(len(OTHERWISE_SPELLED)))
def test_a_proof_in_another_spelling_is_refused(other):
    """Other bytes for the same content, and files that are no proof at all: refused, and nothing crashes."""
    assert not both(other)


@pytest.mark.parametrize("path", [{}, "", None, [[]], [1], ["ab" * 33], {"ab" * 32: 1}])
@pytest.mark.parametrize("name", ["record_path", "entry_path"])
def test_a_path_is_a_list_of_digests(name, path):
    """Also in a tree of one leaf, where it is empty."""
    forge = Forge.of(worked(0))
    forge.rows, forge.entries, forge.members["entry_index"] = padding(1), padding(1), 0
    members = json.loads(forge.sealed())
    assert both(spelled(members) + b"\n")
    assert members[name] == []
    members[name] = path
    assert not both(spelled(members) + b"\n")


@pytest.mark.parametrize("size", range(1, 41))
def test_every_path_up_to_40_leads_to_the_root(size):
    """From its own place only, and only at its full length."""
    leaves = padding(size)
    root = tree_root(leaves)
    root_of = checker().root_of
    for index, leaf in enumerate(leaves):
        path = [digest.hex() for digest in inclusion_path(leaves, index)]
        assert root_of(leaf, index, size, path) == root
        wrong = [(index, [*path, root.hex()]), (index, path[::-1]), *((index, path[:-1]) for _ in path[:1])]
        wrong += [(other, path) for other in range(-1, size + 1) if other != index]
        for place, other in wrong:
            if (place, other) == (index, path):
                continue
            try:
                assert root_of(leaf, place, size, other) != root
            except ValueError:
                continue


@pytest.mark.parametrize("signer", [SIGNER, P256_SIGNER], ids=["ed25519", "p256"])
@pytest.mark.parametrize("other", [OTHER_SIGNER, SIGNER, P256_SIGNER], ids=["other", "ed25519", "p256"])
def test_only_the_key_that_signed_proves(signer, other):
    """The key is the reviewer's; nothing in the file can choose it."""
    assert both(worked(1, signer=signer).compose(), other) == (signer is other)


def with_mark(proof: Any, mark: bytes | str) -> bytes:
    """A proof with another key id and signature; bytes are written in base64."""
    members = json.loads(proof.compose())
    text = mark if isinstance(mark, str) else base64.b64encode(mark).decode()
    members["checkpoint"] = f"{proof.checkpoint.text}\n— {ORIGIN} {text}\n"
    return spelled(members) + b"\n"


@pytest.mark.parametrize("signer", [SIGNER, P256_SIGNER], ids=["ed25519", "p256"])
def test_a_signature_is_checked_and_so_is_the_id_of_its_key(signer):
    """Each alone: a right id does not make up for a wrong signature, nor the other way round."""
    proof = worked(0, signer=signer)
    key_id, signature = proof.signature.key_id, proof.signature.signature
    right = base64.b64encode(key_id + signature).decode()
    assert both(with_mark(proof, right), signer)
    another = worked(1, signer=OTHER_SIGNER).signature
    elsewhere = signer.sign(ORIGIN, proof.checkpoint.text + "more\n").signature
    for mark in (
        *(key_id + signature[:-1] + bytes([signature[-1] ^ 1]), key_id + elsewhere, key_id + another.signature),
        *(
            another.key_id + signature,
            bytes(4) + signature,
            key_id,
            key_id + b"\x00",
            signature,
            key_id + signature * 2,
        ),
        *(f"{right}=", right.rstrip("="), f"{right[:8]}\n{right[8:]}", f" {right}", f"{right[:9]}*{right[9:]}", "é"),
    ):
        assert mark == right or not both(with_mark(proof, mark), signer), mark
    last = max(place for place, character in enumerate(right) if character != "=")
    unused = {0: "", 1: "BCD", 2: "BCDEFGHIJKLMNOP"}[right.count("=")]
    for character in unused:  # bits that no byte needs
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        other = alphabet[alphabet.index(right[last]) | alphabet.index(character)]
        assert other == right[last] or not both(with_mark(proof, right[:last] + other + right[last + 1 :]), signer)


def test_a_key_of_another_kind_proves_nothing():
    """Though its signature is valid and its id right: the format knows two kinds."""
    text = worked(0).checkpoint.text.encode()
    wrong = ec.generate_private_key(ec.SECP384R1())
    rsa_key = rsa.generate_private_key(65_537, 2_048)
    signed_by = {
        wrong: wrong.sign(text, ec.ECDSA(hashes.SHA256())),
        rsa_key: rsa_key.sign(text, padding_of_rsa.PKCS1v15(), hashes.SHA256()),
    }
    for key, signature in signed_by.items():
        public = key.public_key()
        info = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        content = with_mark(worked(0), sha256(info).digest()[:4] + signature)
        with pytest.raises(ValueError, match="another kind"):
            checker().check(content, public_pem(public))
    # SubjectPublicKeyInfo on secp112r1, which cryptography knows by its number alone.
    unheard_of = bytes.fromhex("3032301006072a8648ce3d020106052b81040006031e0004" + "00" * 28)
    pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(unheard_of) + b"-----END PUBLIC KEY-----\n"
    with pytest.raises(ValueError, match="another kind"):
        checker().check(PROOFS[0], pem)


# --- campaigns ---

PROOFS = [
    worked(number, shows=shows, signer=signer).compose()
    for number in range(3)
    for shows in (True, False)
    for signer in (SIGNER, P256_SIGNER)
]


def test_every_proof_with_one_byte_changed_is_refused():
    """Wherever it lies: other values for each byte, each bit once, and each byte left out or doubled."""
    for content, signer, bits in ((PROOFS[0], SIGNER, range(8)), (PROOFS[7], P256_SIGNER, (0, 5))):
        assert both(content, signer)
        for place, byte in enumerate(content):
            before, after = content[:place], content[place + 1 :]
            for bit in bits:
                assert not both(before + bytes([byte ^ 1 << bit]) + after, signer)
            assert not both(before + after, signer)
            assert not both(before + bytes([byte, byte]) + after, signer)


POOL: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 2**53, 2**53 + 1, 2**64, -(2**63), 0.5, 1.0, 1e300, "", "0", "1", "x", [], {}),
    *([0], {"S": "x"}, "INSERT", "REMOVE", "MODIFY", "segment", "open", "ab" * 32, "AB" * 32, "9" * 40, "0" * 40),
    *(
        1_795_414_530,
        "1795414530.5",
        "1795414530.50",
        "1e9",
        "inf",
        "\ufeff",
        "é",
        "e\u0301",
        "\x00",
        "\u2028",
        "\ud800",
    ),
    *("٣" * 21, " ", "\n", "aws:dynamodb", ORIGIN, f"{ORIGIN}\n1\n", [[[[]]]], {"a": {"b": [1, "c"]}}, "ab" * 31),
]


def any_place(rng: random.Random, value: Any) -> tuple[Any, Any]:
    """A container somewhere in a JSON value, and one of its names or places."""
    found = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        members = list(one) if isinstance(one, dict) else list(range(len(one))) if isinstance(one, list) else []
        found += [(one, name) for name in members]
        waiting += [one[name] for name in members]
    return rng.choice(found)


def bytes_changed(rng: random.Random, content: bytes) -> bytes:
    """One to three edits of bytes."""
    edited = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place, end = sorted(rng.randrange(len(edited) + 1) for _ in range(2))
        match rng.randrange(8):
            case 0 | 1:
                edited[min(place, len(edited) - 1)] ^= 1 << rng.randrange(8)
            case 2:
                edited[min(place, len(edited) - 1)] = rng.choice(b'0123456789abcdefABCDEF"\\{}[]:,. +/=-\n\r\t')
            case 3:
                edited[place:place] = bytes([rng.randrange(256)])
            case 4:
                del edited[place : place + rng.choice((1, 2, 64))]
            case 5:
                edited[place:place] = edited[place:end][:200]
            case 6:
                del edited[place:]
            case 7:
                edited += rng.choice((b"\n", b" ", b"{}", b"\x00", content))
        edited = edited or bytearray(b"{")
    return bytes(edited)


def changed_somewhere(rng: random.Random, value: Any) -> None:
    """One edit of a JSON value, in place."""
    place, name = any_place(rng, value)
    match rng.randrange(8):
        case 0 | 1 | 2:
            place[name] = rng.choice(POOL)
        case 3:
            del place[name]
        case 4:
            if isinstance(place, dict):
                place[rng.choice(["beside", "", "format", "v", "extra", "region", "\uffff", "😀", "shown"])] = (
                    rng.choice(POOL)
                )
            else:
                place.insert(rng.randrange(len(place) + 1), rng.choice([*POOL, *place]))
        case 5:
            other, other_name = any_place(rng, value)
            place[name], other[other_name] = other[other_name], place[name]
        case 6:
            if type(place[name]) is int:
                place[name] += rng.choice((-1, 1, 2**53))
            elif isinstance(place[name], str) and place[name]:
                at = rng.randrange(len(place[name]))
                place[name] = place[name][:at] + rng.choice('0aZ~"é\n+') + place[name][at + 1 :]
        case 7:
            if isinstance(place[name], list):
                place[name] = place[name][::-1]


def otherwise_spelled(rng: random.Random, value: Any) -> bytes:
    """The same value as another text, or members that stand twice."""
    if isinstance(value, dict):
        names = list(value)
        if rng.random() < 0.3:
            rng.shuffle(names)
        if names and rng.random() < 0.3:
            names.insert(rng.randrange(len(names)), rng.choice(names))
        space = b" " if rng.random() < 0.1 else b""
        return (
            b"{"
            + b",".join(spelled(name) + space + b":" + otherwise_spelled(rng, value[name]) for name in names)
            + b"}"
        )
    if isinstance(value, str) and rng.random() < 0.1:
        return json.dumps(value).encode()
    if type(value) is int and rng.random() < 0.1:
        return rng.choice((f"{value}.0", f"{value}e0", f"-{value}", f"0{value}")).encode()
    return spelled(value)


def edited(rng: random.Random, content: bytes) -> bytes:
    """Structure changed, and not sealed anew."""
    members = json.loads(content)
    others = [json.loads(rng.choice(PROOFS)) for _ in range(2)]
    match rng.randrange(8):
        case 0 | 1 | 2:
            for _ in range(rng.choice((1, 1, 2))):
                changed_somewhere(rng, members)
        case 3:
            return otherwise_spelled(rng, members) + rng.choice((b"\n", b"\n", b""))
        case 4:
            members["record_path"], members["entry_path"] = members["entry_path"], members["record_path"]
        case 5:
            for name in rng.sample(sorted(members), rng.randrange(1, 5)):
                members[name] = others[0][name]
        case 6:
            origin = rng.choice((ORIGIN, ORIGIN.replace("orders", "others")))
            leaves = rng.choice((LOG_LEAVES, LOG_LEAVES[:2], [*LOG_LEAVES, LOG_LEAVES[1]], LOG_LEAVES[::-1]))
            signer = rng.choice((SIGNER, OTHER_SIGNER, P256_SIGNER))
            members["checkpoint"] = signed(origin, leaves, signer).compose().decode()
        case 7:
            name = rng.choice(("record", "entry"))
            members[f"{name}_index"] = rng.randrange(-1, 5)
            path = members[f"{name}_path"]
            path[rng.randrange(len(path) + 1) :] = rng.choice(([], path[:1], ["00" * 32]))
    return spelled(members) + b"\n"


def resealed(rng: random.Random) -> bytes:
    """Anything at all, sealed and signed as if it had been so for ever."""
    forge = Forge.of(worked(rng.randrange(3), shows=rng.random() < 0.7))
    forge.rows, forge.entries = padding(rng.randrange(1, 41)), padding(rng.randrange(1, 41))
    forge.members["record_index"] = rng.randrange(len(forge.rows))
    forge.members["entry_index"] = rng.randrange(len(forge.entries))
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        if rng.random() < 0.3:
            change = rng.choice([*[one for _, one, *_ in NONSENSE], *[one for _, one in SENSE]])
            try:
                change(forge)
            except (KeyError, TypeError):
                continue  # an edit before has taken away what this one changes
        else:
            part = rng.choice(("envelope", "envelope", "segment", "shown", ""))
            whole = forge.members if not part or not forge.members.get(part) else forge.members[part]
            if isinstance(whole, dict | list):
                changed_somewhere(rng, whole)
    forge.keeps_digests = rng.random() < 0.1
    forge.keeps_root = rng.random() < 0.05
    forge.keeps_count = rng.random() < 0.05
    forge.signer = SIGNER
    try:
        return forge.sealed()
    except (TypeError, KeyError, AttributeError, ValueError):
        return spelled(forge.members) + b"\n"  # what cannot be sealed at all is tried as it is


def mutated(seed: int) -> bytes:
    rng = random.Random(seed)
    content = rng.choice(PROOFS)
    match rng.randrange(3):
        case 0:
            return bytes_changed(rng, content)
        case 1:
            return edited(rng, content)
        case _:
            return resealed(rng)


def campaign(seeds: range) -> dict[str, int]:
    """How many mutated proofs both accept and both refuse; the first on which they differ is told with its seed."""
    counts = {"proved": 0, "refused": 0}
    for seed in seeds:
        content = mutated(seed)
        try:
            counts["proved" if both(content) else "refused"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    return counts


def test_the_two_checkers_agree_on_mutated_proofs():
    """Bytes, structure, and nonsense that is sealed and signed; a good part of them says something that can be."""
    counts = campaign(range(5_000))
    assert counts["proved"] > 500, counts
    assert counts["refused"] > 2_500, counts


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_the_two_checkers_differ_on_none_of_100_000_mutated_proofs(part):
    """A rule that one of them has and the other has not is a hole in one, or a false alarm in the other."""
    counts = campaign(range(100_000 + part * 25_000, 100_000 + (part + 1) * 25_000))
    assert counts["proved"] > 2_500, counts
    assert sum(counts.values()) == 25_000


# --- by hand ---


def recipe(name: str) -> str:
    page = (DOCS / "proofs.md").read_text(encoding="utf-8")
    return page.split(f"```sh by-hand-{name}\n")[1].split("\n```")[0]


@pytest.mark.parametrize("number", range(3))
def test_the_page_shows_how_to_check_by_hand(number, tmp_path):
    """With the tools that it names, in the order in which it names them."""
    missing = [tool for tool in ("openssl", "jq", "sha256sum", "base64", "xxd") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    proof = worked(number)
    (tmp_path / "proof.json").write_bytes(proof.compose())
    (tmp_path / "KEY.pub").write_bytes(PEM)

    def sh(name: str) -> list[str]:
        done = subprocess.run(["sh", "-euc", recipe(name)], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert sh("signature") == ["Signature Verified Successfully"]
    assert sh("leaf") == [block(f"leaf-{'abc'[number]}")]
    if proof.envelope.new is not None:
        assert sh("image") == [proof.envelope.new] * 2
    assert sh("root") == [proof.segment.root] * 2 + [proof.head.root.hex()] * 2
