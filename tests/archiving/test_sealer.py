"""The sealer: what it seals, what it never seals, and that it can stop anywhere. Every log is read by the second reader."""

import base64
import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256
from itertools import groupby, pairwise
from pathlib import Path

import boto3
import moto
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import archiver.sealer
from archiver.errors import StoreRefused, StoreUnavailable
from archiver.format.description import BaselineDescription
from archiver.format.layout import BaselineName, SegmentName, StreamSource
from archiver.format.log_entry import AcknowledgeEntry, KeyRotationEntry
from archiver.format.merkle import tree_root
from archiver.format.note import Checkpoint, SignedNote
from archiver.format.seal import Seal, origin_of, seal_name
from archiver.plan import PlannedSegment, plan_segments
from archiver.sealed_log import SealRefused
from archiver.sealer import Sealer, Sealing
from archiver.segment import SegmentFile, check_segment, encode_segment
from archiver.signer import KeyRefused, KmsSigner, LocalSigner, public_key_text
from archiver.store import FolderStore, S3Store
from archiver.streams import Streams
from archiver.unsealed import Unsealed
from archiver.writer import Writer
from tests import second_reader
from tests.archiving.batches import CHANGED_AT_S, arn_of, record, understood
from tests.archiving.strategies import STREAM_ARN
from tests.golden import make
from tests.querying.footers import I64, ROWS_IN_ALL, with_footer
from tests.simulator.memory_store import MemoryStore

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOW_MS = CHANGED_AT_S * 1000 + HOUR_MS // 2
TRAIL = StreamSource.parse(STREAM_ARN).trail
LABEL = StreamSource.parse(STREAM_ARN).stream_label
GOLDEN_NOW_MS = make.ARRIVED_MS + HOUR_MS  # the first label of its orders is over then
LATER = "2026-11-22T00:00:00.000"  # the label of a stream enabled a day before the changes

OLD, NEW, NEWER = (LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in (1, 2, 3))
P256 = LocalSigner(derive_private_key(4, SECP256R1()))


# --- an archive, and its log read by somebody else ---


def archive(store, *records, now_ms: int = NOW_MS) -> list[str]:
    """Archives records as one batch; names, inside the trail, of the segments that it became."""
    report = Writer(store, Streams()).archive(list(records), now_ms=now_ms)
    return [segment.place.compose() for segment in report.segments]


def at(hours: float, number: int = 1, **options) -> dict:
    """A record of a change so many hours after the first one."""
    return record(number, changed_at_s=CHANGED_AT_S + round(hours * 3600), **options)


def seal(store, now_ms: int = NOW_MS, *, signer=OLD, trail=TRAIL, **options) -> Sealing:
    """One pass of a sealer that knows nothing yet, and refuses nothing."""
    done = Sealer(store, trail, signer).seal(now_ms, **options)
    assert done.refused == ()
    return done


def read(store, *keys, trail=TRAIL) -> second_reader.LogRead:
    """The log by the second reader; nothing may be wrong with the archive, and every head is signed by who is in turn."""
    trails, _, problems = second_reader.read_archive(store)
    assert problems == []
    log = trails[trail.prefix].log
    check_signatures(log, *(keys or [OLD]))
    return log


def check_signatures(log: second_reader.LogRead, *signers) -> None:
    """Each head by the key that was handed to; the first is known from elsewhere."""
    turn = iter(signers)
    key = next(turn).public_key
    for seal_, (text, signatures) in zip(log.seals, log.notes, strict=True):
        assert any(is_signed(key, text, *signature) for signature in signatures), seal_["size_before"]
        for entry in seal_["entries"]:
            if entry["type"] == "key-rotation":
                key = next(turn).public_key
                der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                assert base64.b64decode(entry["public_key"]) == der
    assert next(turn, None) is None


def is_signed(key, text: str, name: str, key_id: bytes, signature: bytes) -> bool:
    """By the letter of c2sp.org/signed-note, with cryptography alone."""
    is_p256 = isinstance(key, EllipticCurvePublicKey)
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    named = der if is_p256 else name.encode() + b"\n\x01" + key.public_bytes_raw()
    if name != text.split("\n")[0] or key_id != sha256(named).digest()[:4]:
        return False
    with suppress(InvalidSignature):
        key.verify(signature, text.encode(), *([ECDSA(SHA256())] if is_p256 else []))
        return True
    return False


def types(log: second_reader.LogRead) -> list[list[str]]:
    return [[entry["type"] for entry in seal_["entries"]] for seal_ in log.seals]


def sealed_segments(log: second_reader.LogRead) -> list[str]:
    return [entry["path"] for entry in log.of_type("segment")]


def refusals(done: Sealing, trail=TRAIL) -> dict[str, str]:
    return {refused.name.removeprefix(trail.prefix): refused.why for refused in done.refused}


class CountingStore:
    """Forwards to a store, and counts what is asked."""

    def __init__(self, store):
        self.store = store
        self.asked: list[tuple[str, str]] = []

    def put_if_absent(self, name: str, content: bytes) -> bool:
        self.asked.append(("put", name))
        return self.store.put_if_absent(name, content)

    def get(self, name: str) -> bytes:
        self.asked.append(("get", name))
        return self.store.get(name)

    def list(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, int]]:
        self.asked.append(("list", prefix))
        return self.store.list(prefix, start_after)

    def names(self, kind: str):
        return [name for asked, name in self.asked if asked == kind]


# --- what is sealed ---


@pytest.fixture
def golden() -> MemoryStore:
    """Three tables, six stream labels' worth of odd records, quarantine with and without a trail, a baseline in two parts."""
    store = MemoryStore()
    make.write_events(store)
    make.write_baseline(store)
    return store


def test_everything_that_is_evidence_is_sealed(golden):
    """The first seal names each object of the trail and each that is of no trail, in order, and nothing else."""
    seal(golden, GOLDEN_NOW_MS, trail=make.ORDERS)
    log = read(golden, trail=make.ORDERS)
    assert [kind for kind, _ in groupby(types(log)[0])] == [
        "open",
        "segment",
        "quarantine",
        "baseline",
        "close",
        "interval",
    ]
    inside = {name.removeprefix(make.ORDERS.prefix) for name in golden.objects if name.startswith(make.ORDERS.prefix)}
    homeless = {name for name in golden.objects if name.startswith("v1/quarantine/")}
    assert homeless
    expected = {name for name in inside if not name.startswith(("late/", "seals/")) and "/part-" not in name} | homeless
    assert log.sealed() == expected


@pytest.mark.parametrize("kind", ["segment", "baseline", "streams", "v1/quarantine/", "quarantine/"])
def test_what_appears_later_is_in_the_next_seal(golden, kind):
    """Every kind of evidence, when everything else is sealed already."""
    part = {"segment": "/segments/", "streams": "/streams/", "baseline": "/baseline.json"}.get(kind, kind)
    late = next(
        name
        for name in reversed(golden.objects)
        if part in name and (name.startswith(make.ORDERS.prefix) is not kind.startswith("v1")) and "/late/" not in name
    )
    content = golden.objects.pop(late)
    seal(golden, GOLDEN_NOW_MS, trail=make.ORDERS)
    before = len(read(golden, trail=make.ORDERS).entries)
    golden.objects[late] = content
    seal(golden, GOLDEN_NOW_MS + 1000, trail=make.ORDERS)
    log = read(golden, trail=make.ORDERS)
    (entry, _) = log.entries[before:]
    assert late.endswith(entry.get("path", f"streams/{entry.get('stream_label')}.json"))


def test_a_description_that_comes_later_opens_its_label_once_more():
    """First with null, then with the digest, then never again."""
    store = MemoryStore()
    archive(store, at(0))
    description = store.objects.pop(f"{TRAIL.prefix}streams/{LABEL}.json")
    seal(store)
    seal(store, NOW_MS + 1)
    store.objects[f"{TRAIL.prefix}streams/{LABEL}.json"] = description
    seal(store, NOW_MS + 2)
    seal(store, NOW_MS + 3)
    opened = [entry["description_sha256"] for entry in read(store).of_type("open")]
    assert opened == [None, sha256(description).hexdigest()]
    assert types(read(store)) == [["open", "segment", "interval"], ["interval"], ["open", "interval"], ["interval"]]


def test_an_empty_interval_is_a_statement():
    """Nothing arrived, and that is signed too; also for a trail in which nothing ever did."""
    store = MemoryStore()
    for number in range(3):
        assert seal(store, NOW_MS + number).entries == {"interval": 1}
    intervals = [(entry["from_ms"], entry["to_ms"]) for entry in read(store).entries]
    assert intervals == [(NOW_MS, NOW_MS), (NOW_MS, NOW_MS + 1), (NOW_MS + 1, NOW_MS + 2)]


def test_the_first_interval_begins_with_the_first_hour():
    """Without a seal every hour is tail."""
    store = MemoryStore()
    archive(store, at(-400, 1))
    archive(store, at(0, 2))
    seal(store)
    (interval,) = read(store).of_type("interval")
    assert (interval["from_ms"], interval["to_ms"]) == (CHANGED_AT_S * 1000 - 400 * HOUR_MS, NOW_MS)


@pytest.mark.parametrize(
    ("hours", "is_sealed"),
    [(-26, True), (-27, False), (0, True), (1, True), (2, False)],
    ids=["first hour of the tail", "the hour before", "this hour", "the next hour", "the one after"],
)
def test_the_tail_has_two_ends(hours, is_sealed):
    """26 hours back from the end of the last interval, one hour ahead of the clock: the last inside, the first outside."""
    store = MemoryStore()
    archive(store, at(-400, 1))
    seal(store)
    (segment,) = archive(store, at(hours, 2), now_ms=CHANGED_AT_S * 1000 + round(hours * HOUR_MS))
    seal(store)
    assert (segment in sealed_segments(read(store))) is is_sealed
    seal(store, NOW_MS + HOUR_MS, sweep=True)
    assert segment in sealed_segments(read(store))


def test_hours_ahead_wait_until_their_time():
    """Creation times are DynamoDB's: a clock that is behind seals them later, and not never."""
    store = MemoryStore()
    segments = [*archive(store, at(3, 1)), *archive(store, at(30, 2))]
    sealer = Sealer(store, TRAIL, OLD)
    sealed_in = [sealer.seal(NOW_MS + quarter * HOUR_MS // 4).entries.get("segment", 0) for quarter in range(4 * 64)]
    passes = [quarter / 4 + 0.5 for quarter, segments in enumerate(sealed_in) for _ in range(segments)]
    assert passes == [2.0, 29.0]  # hours after the first change; once, for as long as they are in the tail
    assert sealed_segments(read(store)) == segments


@pytest.mark.parametrize("days", [2, 31])
def test_what_is_announced_late_is_sealed_once(days):
    """However old its hour is; the marker may be seen for two days and more, and is acted on once."""
    store = MemoryStore()
    archive(store, at(0, 1))
    seal(store)
    now_ms = NOW_MS + days * DAY_MS
    (late,) = archive(store, at(-500, 2), now_ms=now_ms)
    for hours in range(0, 80, 4):
        seal(store, now_ms + hours * HOUR_MS)
    assert sealed_segments(read(store)).count(late) == 1


def test_what_is_announced_again_may_be_sealed_again():
    """A replay a month later announces what is sealed long since: the entry repeats, and says the same in every member."""
    store = MemoryStore()
    (segment,) = archive(store, at(0))
    later_ms = NOW_MS + 31 * DAY_MS
    for days in range(32):
        seal(store, NOW_MS + days * DAY_MS)
    archive(store, at(0), now_ms=later_ms)
    for minutes in range(5):
        seal(store, later_ms + minutes * 60_000)
    assert sealed_segments(read(store)) == [segment, segment]


@pytest.mark.parametrize("has_marker", [False, True])
def test_a_sweep_finds_what_the_tail_left(has_marker):
    """A segment that nobody announced is found by whoever looks at every hour; one with a marker by its day."""
    store = MemoryStore()
    archive(store, at(0, 1))
    seal(store, NOW_MS + 10 * DAY_MS)
    arrived_ms = NOW_MS + (5 * DAY_MS if has_marker else 0)  # days before the tail of the last seal, or no marker
    (left,) = archive(store, at(1, 2), now_ms=arrived_ms)
    assert seal(store, NOW_MS + 10 * DAY_MS + 1).entries == {"interval": 1}
    done = seal(store, NOW_MS + 10 * DAY_MS + 2, sweep=True)
    assert done.entries == {"segment": 1, "interval": 1}
    log = read(store)
    assert sealed_segments(log)[-1] == left
    assert log.entries[-1]["from_ms"] == CHANGED_AT_S * 1000 + HOUR_MS
    assert seal(store, NOW_MS + 10 * DAY_MS + 3, sweep=True).entries == {"interval": 1}


def test_a_marker_without_its_segment_waits():
    """A writer was stopped between the two; the retry fills it in."""
    store = MemoryStore()
    archive(store, at(0, 1))
    seal(store)
    (late,) = archive(store, at(-500, 2))
    content = store.objects.pop(TRAIL.prefix + late)
    assert seal(store, NOW_MS + 1).entries == {"interval": 1}
    store.objects[TRAIL.prefix + late] = content
    assert seal(store, NOW_MS + 2).entries == {"segment": 1, "interval": 1}
    read(store)


@pytest.mark.parametrize("limits", [(3, 10**9), (10**9, 3)], ids=["by segments", "by records"])
@pytest.mark.parametrize("segments", [1, 2, 3, 4, 7])
def test_much_becomes_several_seals(monkeypatch, limits, segments):
    """Only the last of them has looked at everything, so the ones before it claim no time; the oldest change is first."""
    monkeypatch.setattr(archiver.sealer, "SEGMENTS_PER_SEAL", limits[0])
    monkeypatch.setattr(archiver.sealer, "RECORDS_PER_SEAL", limits[1])
    store = MemoryStore()
    hours = [-3, 5, -20, 0, -1, 4, 2][:segments]
    names = [name for number, hour in enumerate(hours) for name in archive(store, at(hour, number))]
    now_ms = NOW_MS + 6 * HOUR_MS
    done = seal(store, now_ms)
    log = read(store)
    assert [len([kind for kind in kinds if kind == "segment"]) for kinds in types(log)] == {
        1: [1],
        2: [2],
        3: [3, 0],
        4: [3, 1],
        7: [3, 3, 1],
    }[segments]
    assert sealed_segments(log) == sorted(names)
    assert done.seals == [f"seals/{one['size_before']:020d}.json" for one in log.seals]
    assert done.entries["segment"] == segments
    *others, last = log.of_type("interval")
    first_ms = (CHANGED_AT_S + min(hours) * 3600) * 1000
    assert {(one["from_ms"], one["to_ms"], one["sealed_at_ms"]) for one in others} <= {(first_ms, first_ms, now_ms)}
    assert (last["from_ms"], last["to_ms"]) == (first_ms, now_ms)


def test_notices_lead_to_the_notices_before_them():
    """Found from the head without the seals between; the second reader compares each link with the whole log."""
    store = MemoryStore()
    for number, records in enumerate([[at(0)], [], [], [{"eventSource": "aws:s3"}], [], [at(0, 2)], []]):
        archive(store, *records)
        seal(store, NOW_MS + number)
    links = [entry["previous_notice"] for entry in read(store).of_type("interval")]
    assert links == [None, 0, 0, 0, 5, 5, 5]


def test_a_label_is_closed_when_a_later_one_is_a_day_and_more_old():
    """Once; and what still arrives of it afterwards is sealed all the same."""
    store = MemoryStore()
    archive(store, at(0, 1), at(0, 2, arn=arn_of("orders", LATER)))
    begun_ms = CHANGED_AT_S * 1000 - DAY_MS
    seal(store, begun_ms + 26 * HOUR_MS)
    assert read(store).of_type("close") == []
    seal(store, begun_ms + 26 * HOUR_MS + 1)
    seal(store, begun_ms + 27 * HOUR_MS)
    assert read(store).of_type("close") == [{"type": "close", "stream_label": LABEL}]
    (segment,) = archive(store, at(1, 3))
    seal(store, begun_ms + 28 * HOUR_MS)
    log = read(store)
    assert segment in sealed_segments(log)
    assert [entry["stream_label"] for entry in log.of_type("open")] == [LABEL, LATER]


def test_segments_that_come_while_it_is_sealed_are_for_the_next_seal():
    """Whatever was not listed is not claimed: the tail reaches back behind every interval."""
    store = MemoryStore()
    expected = archive(store, at(0, 1))

    class BusyStore(CountingStore):
        number = 100

        def come(self):
            BusyStore.number += 1
            if BusyStore.number < 150:
                expected.extend(archive(store, at(BusyStore.number % 20, BusyStore.number)))

        def get(self, name):
            self.come()
            return super().get(name)

        def put_if_absent(self, name, content):
            self.come()
            return super().put_if_absent(name, content)

        def list(self, prefix, start_after=""):
            found = list(super().list(prefix, start_after))
            self.come()
            return iter(found)

    now_ms = NOW_MS + 20 * HOUR_MS
    sealer = Sealer(BusyStore(store), TRAIL, OLD)
    for number in range(12):
        sealer.seal(now_ms + number)
    assert len(expected) == 50
    assert sorted(sealed_segments(read(store))) == sorted(expected)


# --- acknowledgements, keys, clocks ---

ACKNOWLEDGED = AcknowledgeEntry(None, 1_000, 2_000, "nobody was there")


def test_an_acknowledgement_is_an_entry_once():
    """Asked for twice, the log says it already; another reason is another statement."""
    store = MemoryStore()
    for number, entry in enumerate([ACKNOWLEDGED, ACKNOWLEDGED, replace(ACKNOWLEDGED, reason="but somebody was")]):
        seal(store, NOW_MS + number, also=[entry])
    assert [len(kinds) for kinds in types(read(store))] == [2, 1, 2]
    assert read(store).entries[0] == {
        "type": "acknowledge",
        "path": None,
        "from_ms": 1_000,
        "to_ms": 2_000,
        "reason": "nobody was there",
    }


def test_a_key_hands_over_to_the_next():
    """Signed by the old key; from the next seal on by the new one, which hands over in its turn, and back."""
    store = MemoryStore()
    now = iter(range(NOW_MS, NOW_MS + 100))
    chain = [OLD, NEW, P256, OLD, NEW]
    for signer, following in pairwise(chain):
        seal(store, next(now), signer=signer)
        seal(store, next(now), signer=signer, also=[KeyRotationEntry(public_key_text(following.public_key))])
        with pytest.raises(SealRefused, match="handed over to another key"):
            seal(store, next(now), signer=signer)
    seal(store, next(now), signer=chain[-1])
    assert len(read(store, *chain).seals) == 9


def test_a_key_may_be_handed_back_at_once():
    """A rotation that nobody sealed after is undone by the next one."""
    store = MemoryStore()
    seal(store, signer=OLD, also=[KeyRotationEntry(public_key_text(NEW.public_key))])
    seal(store, NOW_MS + 1, signer=NEW, also=[KeyRotationEntry(public_key_text(OLD.public_key))])
    seal(store, NOW_MS + 2, signer=OLD)
    read(store, OLD, NEW, OLD)


@pytest.mark.parametrize("signer", [NEW, P256], ids=["another", "another kind"])
def test_the_wrong_key_writes_nothing(signer):
    """A log whose heads are signed by two keys, and no rotation between, convinces nobody."""
    store = MemoryStore()
    seal(store)
    before = dict(store.objects)
    with pytest.raises(SealRefused, match="not signed with this key"):
        seal(store, NOW_MS + 1, signer=signer)
    assert store.objects == before


def test_a_key_does_not_follow_itself():
    """The seal that hands over is the one whose signature its follower cannot check: not to be made without need."""
    store = MemoryStore()
    with pytest.raises(SealRefused, match="the next key is the one that signs now"):
        seal(store, also=[KeyRotationEntry(public_key_text(OLD.public_key))])
    assert store.objects == {}


def test_nobody_hands_over_to_the_key_that_is_in_turn():
    """Whoever can write among the seals and has no key could else have our key go on from entries of their own."""
    store = MemoryStore()
    archive(store, at(0))
    seal(store)
    head = Seal.parse(store.objects[TRAIL.prefix + seal_name(0)])
    forge(store, head, KeyRotationEntry(public_key_text(OLD.public_key)), signer=NEWER)
    before = dict(store.objects)
    with pytest.raises(SealRefused, match="not signed with this key"):
        seal(store, NOW_MS + 1)
    assert store.objects == before


def forge(store, last: Seal, *entries, signer=NEWER, **members) -> Seal:
    """Puts a seal after `last` that is right in all but who signed it, and in `members`."""
    interval = replace(last.interval, from_ms=last.interval.to_ms, previous_notice=0)
    content = store.objects[TRAIL.prefix + last.name]
    following = (*entries, members.pop("interval", interval))
    after = last.after
    for entry in following:
        after = after.append(archiver.sealer.entry_leaf(entry))
    text = Checkpoint(origin_of(TRAIL), after.size, after.root).text
    note = SignedNote(text, (signer.sign(origin_of(TRAIL), text),))
    made = replace(Seal(last.after.size, sha256(content).hexdigest(), following, after, note), **members)
    store.objects[TRAIL.prefix + made.name] = made.compose()
    return made


class FailingKms:
    """A client of KMS whose n-th signature (from 0) fails with an error of KMS."""

    def __init__(self, client, number: int, code: str):
        self.client, self.left, self.code = client, number, code

    def get_public_key(self, **request):
        return self.client.get_public_key(**request)

    def sign(self, **request):
        self.left -= 1
        if self.left == -1:
            raise ClientError({"Error": {"Code": self.code, "Message": "refused by the test"}}, "Sign")
        return self.client.sign(**request)


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "AccessDeniedException", "DisabledException", "KMSInvalidStateException"]
)
@pytest.mark.parametrize("signed", [0, 1, 2])
def test_a_key_of_kms_that_does_not_sign_is_told_and_made_up_for(monkeypatch, code, signed):
    """Throttled, denied or disabled, before the first seal or between two: what was sealed is whole, the rest comes later."""
    monkeypatch.setattr(archiver.sealer, "SEGMENTS_PER_SEAL", 1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    store = MemoryStore()
    segments = archive(store, at(-1, 1)) + archive(store, at(0, 2))
    with moto.mock_aws():
        client = boto3.client("kms", region_name="eu-west-1")
        arn = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        signer = KmsSigner(FailingKms(client, signed, code), arn)
        sealer = Sealer(store, TRAIL, signer)
        with pytest.raises(KeyRefused, match=code) as refused:
            sealer.seal(NOW_MS)
        assert refused.value.hint
        assert len(read(store, signer).seals if signed else []) == signed
        assert len([name for name in store.objects if "/seals/" in name]) == signed
        sealer.seal(NOW_MS + 1)
        client.close()
    log = read(store, signer)
    assert sealed_segments(log) == segments
    assert log.of_type("interval")[-1]["to_ms"] == NOW_MS + 1


def test_a_clock_far_behind_seals_nothing():
    """Time in the log never falls, and a seal that hides which clock was wrong would be worse than none."""
    store = MemoryStore()
    seal(store)
    with pytest.raises(SealRefused, match="300 s from now"):
        seal(store, NOW_MS - 300_001)
    assert seal(store, NOW_MS - 300_000).sealed_at_ms == NOW_MS


def test_two_machines_keep_their_time_well_enough():
    """A clock a little behind goes on at the time of the last seal."""
    store = MemoryStore()
    archive(store, at(0, 1))
    for number, offset_ms in enumerate([0, -1, -300_000, 5, 0]):
        archive(store, at(0, 10 + number))
        seal(store, NOW_MS + offset_ms)
    log = read(store)
    assert [entry["sealed_at_ms"] - NOW_MS for entry in log.of_type("interval")] == [0, 0, 0, 5, 5]
    assert len(sealed_segments(log)) == 6


# --- what is not sealed ---


@cache
def segment_of_many() -> tuple[str, bytes]:
    """A segment of the golden archive with few rows: name inside the trail, content."""
    store = MemoryStore()
    (name,) = archive(store, at(0, 1), at(0, 2), at(0, 3, item="b"))
    return name, store.objects[TRAIL.prefix + name]


def test_no_bit_of_a_segment_may_differ():
    """Each byte with one bit flipped, somewhere different in each, and each prefix at a few lengths: none is sealed."""
    name, content = segment_of_many()
    place = SegmentName.parse(name)
    store = MemoryStore()
    found = Unsealed(store, TRAIL)
    tried = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        store.objects[TRAIL.prefix + name] = bytes(damaged)
        assert found.segment(place) is None, position
        tried += 1
    for length in range(0, len(content), 97):
        store.objects[TRAIL.prefix + name] = content[:length]
        assert found.segment(place) is None, length
        tried += 1
    assert len(found.refused) == tried > 2_000
    store.objects[TRAIL.prefix + name] = content
    entry = found.segment(place)
    assert entry is not None
    assert entry.file_sha256 == sha256(content).hexdigest()


def encoded(place: SegmentName, rows, source: StreamSource | None = None, *, is_renamed: bool = True):
    """A segment that states its own digest and says what it likes: (place, content). `is_renamed`: its name fits its rows."""
    (planned,) = plan_segments(understood([at(0)]))
    if is_renamed and rows:
        place = SegmentName(place.hour_ms, rows[0].sequence_number, tree_root([row.leaf for row in rows]).hex())
    made = replace(planned, source=source or planned.source, place=place, rows=tuple(rows))
    return place, encode_segment(made)


@cache
def wrong_segments():
    """Each is a whole Parquet file with its own digest right: what is wrong shows only to who looks at the rows."""
    (good,) = plan_segments(understood([at(0, 1), at(0, 2), at(0, 3)]))
    one, two, three = good.rows
    place = good.place
    elsewhere = understood([at(0, 1, arn=arn_of("customers"))])
    label = StreamSource(TRAIL, LATER)
    return {
        "a row left out": encoded(place, [one, two], is_renamed=False),
        "a row changed": encoded(place, [one, two, understood([at(0, 3, item="c")])[0]], is_renamed=False),
        "rows in another order": encoded(place, [two, one, three]),
        "a row there twice": encoded(place, [one, one, two]),
        "no rows": encoded(place, [], is_renamed=False),
        "another first sequence number": encoded(replace(place, first_sequence=two.sequence_number), good.rows, is_renamed=False),
        "another root in its name": encoded(replace(place, root="0" * 64), good.rows, is_renamed=False),
        "another hour": encoded(replace(place, hour_ms=place.hour_ms - HOUR_MS), good.rows),
        "another time than its record": encoded(place, [one._replace(changed_at_ms=one.changed_at_ms + 1)]),
        "another number than its record": encoded(place, [one._replace(sequence_number=two.sequence_number)]),
        "another item than its record": encoded(place, [one._replace(item_key=b'{"id":{"S":"z"}}')]),
        "another key text than its key": encoded(place, [one._replace(pk="z")]),
        "another label than its records": encoded(place, good.rows, label),
        "another table": encoded(place, elsewhere),
        "text that is not canonical": encoded(place, [one._replace(new_image=one.new_image.replace(b":", b": "))]),
        "an event that is a list": encoded(place, [one._replace(event=b"[]")]),
        "an event that is no JSON": encoded(place, [one._replace(event=b"{")]),
        "an event without a stream": encoded(place, [one._replace(event=b"{}")]),
        "an event whose stream is null": encoded(place, [one._replace(event=b'{"dynamodb":null}')]),
        "an item key that is a number": encoded(place, [one._replace(item_key=b"1")]),
        "an image that is a list": encoded(place, [one._replace(new_image=b"[]")]),
        "an image as deep as a well": encoded(place, [one._replace(new_image=b"[" * 5_000 + b"]" * 5_000)]),
        "an unknown operation": encoded(place, [one._replace(op="UPSERT")]),
    }  # fmt: skip


@pytest.mark.parametrize("what", wrong_segments())
def test_a_segment_that_is_not_what_it_says_is_reported_and_the_rest_is_sealed(what):
    """Whoever can write a segment cannot make the sealer sign it, nor keep it from signing the others."""
    place, content = wrong_segments()[what]
    store = MemoryStore()
    good = archive(store, at(0, 7)) + archive(store, at(0.1, 8))
    store.objects[TRAIL.prefix + place.compose()] = content
    done = Sealer(store, TRAIL, OLD).seal(NOW_MS)
    assert list(refusals(done)) == [place.compose()]
    assert all(refusals(done).values())
    del store.objects[TRAIL.prefix + place.compose()]
    log = read(store)
    assert sealed_segments(log) == sorted(good)
    assert {entry["stream_label"] for entry in log.of_type("open")} == {LABEL}


def test_key_text_stands_in_the_order_of_the_schema():
    """Where the key schema is known, key text in the other order would hide rows from whoever looks for a key."""
    store = MemoryStore()
    make.write_events(store)
    name, content = next(
        (name, content) for name, content in store.objects.items() if name.startswith(f"{make.ORDERS.prefix}segments/")
    )
    place = SegmentName.parse(name.removeprefix(make.ORDERS.prefix))
    file = SegmentFile.open(content)
    source = StreamSource(make.ORDERS, file.stream_label)
    rows = check_segment(content, source, place)
    swapped = [row._replace(pk=row.sk, sk=row.pk) for row in rows]
    assert swapped != rows
    store.objects[name] = encode_segment(PlannedSegment(source, place, tuple(swapped)))
    done = Sealer(store, make.ORDERS, OLD).seal(GOLDEN_NOW_MS)
    assert list(refusals(done, make.ORDERS)) == [place.compose()]


def test_a_footer_that_miscounts_its_rows_is_not_sealed():
    """Engines count by it, and no leaf covers it."""
    store = MemoryStore()
    (path,) = archive(store, at(0, 1), at(0, 2))

    def miscount(footer):
        footer[ROWS_IN_ALL] = I64, 3

    store.objects[TRAIL.prefix + path] = with_footer(store.objects[TRAIL.prefix + path], miscount)
    assert "3 rows" in refusals(Sealer(store, TRAIL, OLD).seal(NOW_MS))[path]


def test_a_segment_is_whatever_stands_under_its_name_when_it_is_read():
    """The right segment under another segment's name, and a baseline's part in its place."""
    store = MemoryStore()
    first, second = archive(store, at(0, 1)) + archive(store, at(0, 2))
    store.objects[TRAIL.prefix + first] = store.objects[TRAIL.prefix + second]
    make.write_baseline(store)
    part = next(content for name, content in store.objects.items() if "/part-" in name)
    third = replace(SegmentName.parse(second), root="1" * 64).compose()
    store.objects[TRAIL.prefix + third] = part
    for name in [name for name in store.objects if "/baselines/" in name]:
        del store.objects[name]
    done = Sealer(store, TRAIL, OLD).seal(NOW_MS)
    assert set(refusals(done)) == {first, third}
    assert done.entries == {"open": 1, "segment": 1, "interval": 1}


HOUR_FOLDER = "segments/dt=2026-11-23/hour=00/"
FOREIGN = {
    f"{HOUR_FOLDER}notes.txt": b"x",
    f"{HOUR_FOLDER}{'0' * 40}-{'0' * 64}.parquet.tmp": b"x",
    f"{HOUR_FOLDER}{'0' * 39}-{'0' * 64}.parquet": b"x",
    f"{HOUR_FOLDER}{'0' * 40}-{'A' * 64}.parquet": b"x",
    f"segments/dt=2026-11-23/hour=00/hour=00/{'0' * 40}-{'0' * 64}.parquet": b"x",
    "streams/orders.json": b"{}",
    "streams/2026-99-99T00:00:00.000.json": b"{}",
    f"streams/{LATER}.json": b"{}",
    "quarantine/readme.json": b"{}",
    f"quarantine/{'0' * 64}.json": b"{}",
    "baselines/readme": b"x",
    "baselines/2026-11-23T00-00-00Z/baseline.json": b"[]",
    "late/2026-11-23/readme": b"",
    "late/readme": b"",
    f"late/2026-11-23/{HOUR_FOLDER}{'0' * 40}-{'0' * 64}.parquet": b"content",
    "seals/readme": b"x",
    "seals/": b"",
    "seals/00000000000000000000.json.tmp": b"x",
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("passes", ["first", "later", "sweep"])
def test_foreign_objects_are_reported_and_stop_nothing(name, passes):
    """Evidence may be locked for good, and so may rubbish: the sealer tells of it, and seals the rest."""
    store = MemoryStore()
    archive(store, at(0, 1))
    if passes != "first":
        seal(store)
    (segment,) = archive(store, at(0, 2))
    store.objects[TRAIL.prefix + name] = FOREIGN[name]
    done = Sealer(store, TRAIL, OLD).seal(NOW_MS + 1, sweep=passes == "sweep")
    assert list(refusals(done)) == [name]
    del store.objects[TRAIL.prefix + name]
    assert segment in sealed_segments(read(store))


def test_what_was_acknowledged_is_no_longer_reported():
    """From the acknowledging seal on; it is still not sealed, and what is wrong beside it is still told."""
    store = MemoryStore()
    archive(store, at(0, 1))
    names = [f"{HOUR_FOLDER}notes.txt", f"quarantine/{'0' * 64}.json"]
    for name in names:
        store.objects[TRAIL.prefix + name] = b"x"
    sealer = Sealer(store, TRAIL, OLD)
    assert set(refusals(sealer.seal(NOW_MS))) == set(names)
    reviewed = AcknowledgeEntry(names[0], None, None, "a note of Ada's")
    assert set(refusals(sealer.seal(NOW_MS + 1, also=[reviewed]))) == {names[1]}
    assert set(refusals(Sealer(store, TRAIL, OLD).seal(NOW_MS + 2))) == {names[1]}


def test_a_quarantined_record_without_a_trail_can_be_acknowledged():
    """By its whole name, in each trail that counts it."""
    store = MemoryStore()
    name = f"v1/quarantine/{'0' * 64}.json"
    store.objects[name] = b"x"
    sealer = Sealer(store, TRAIL, OLD)
    assert refusals(sealer.seal(NOW_MS)) == {name: "its digest is not its name"}
    assert sealer.seal(NOW_MS + 1, also=[AcknowledgeEntry(name, None, None, "seen")]).refused == ()


def test_a_description_of_another_stream_is_not_sealed():
    """The label is, since it has segments; with null, as long as nothing true describes it."""
    store = MemoryStore()
    archive(store, at(0))
    name = f"streams/{LABEL}.json"
    content = store.objects[TRAIL.prefix + name]
    for other in (content.replace(b"/orders/", b"/others/"), content.replace(LABEL.encode(), LATER.encode())):
        assert other != content
        damaged = MemoryStore()
        damaged.objects = {**store.objects, TRAIL.prefix + name: other}
        done = Sealer(damaged, TRAIL, OLD).seal(NOW_MS)
        assert list(refusals(done)) == [name]
        damaged.objects[TRAIL.prefix + name] = content
        seal(damaged, NOW_MS + 1)
        digests = [entry["description_sha256"] for entry in read(damaged).of_type("open")]
        assert digests == [None, sha256(content).hexdigest()]


def test_a_description_that_changed_after_it_was_sealed_is_reported():
    """No third entry opens a label: that would make two statements of one object true."""
    store = MemoryStore()
    archive(store, at(0))
    seal(store)
    name = f"streams/{LABEL}.json"
    content = store.objects[TRAIL.prefix + name]
    store.objects[TRAIL.prefix + name] = content.replace(b"NEW_AND_OLD_IMAGES", b"KEYS_ONLY")
    done = Sealer(store, TRAIL, OLD).seal(NOW_MS + 1)
    assert refusals(done) == {name: "it is not the description that was sealed"}
    assert done.entries == {"interval": 1}


def test_a_description_that_is_gone_opens_nothing_anew():
    """Its digest stands in the log: that it is missing is for whoever verifies to find, and there they do."""
    store = MemoryStore()
    archive(store, at(0, 1))
    seal(store)
    archive(store, at(0, 2))
    del store.objects[f"{TRAIL.prefix}streams/{LABEL}.json"]
    assert seal(store, NOW_MS + 1).entries == {"segment": 1, "interval": 1}
    assert any("is sealed, and gone" in problem for problem in second_reader.read_archive(store)[2])


def baseline(**changes) -> MemoryStore:
    """A trail with one baseline, whose description says otherwise in `changes`."""
    store = MemoryStore()
    make.write_baseline(store)
    name = next(name for name in store.objects if name.endswith("baseline.json"))
    described = BaselineDescription.parse(store.objects[name])
    if "parts" in changes:
        changes["parts"] = tuple(changes["parts"](part) for part in described.parts)
    store.objects[name] = replace(described, **changes).compose()
    return store


def wrong_baselines() -> dict[str, MemoryStore]:
    missing, cut, flipped, swapped, moved = (baseline() for _ in range(5))
    for store in (missing, cut, flipped, swapped):
        part = max(name for name in store.objects if "/part-" in name)
        content = store.objects[part]
        if store is missing:
            del store.objects[part]
        if store is cut:
            store.objects[part] = content[:-1]
        if store is flipped:
            store.objects[part] = content[:99] + bytes([content[99] ^ 1]) + content[100:]
        if store is swapped:
            store.objects[part] = b"x" * len(content)
    for name in list(moved.objects):
        moved.objects[name.replace("11-00-00Z", "11-00-01Z")] = moved.objects.pop(name)
    return {
        "a part missing": missing,
        "a part cut short": cut,
        "a part with one bit flipped": flipped,
        "a part replaced": swapped,
        "at another instant": moved,
        "parts of another size": baseline(parts=lambda part: replace(part, bytes=part.bytes + 1)),
        "parts of another digest": baseline(parts=lambda part: replace(part, sha256="0" * 64)),
        "parts outside": baseline(parts=lambda part: replace(part, name=f"../../{part.name}")),
        "parts without a name": baseline(parts=lambda part: replace(part, name="")),
        "parts called as a description": baseline(parts=lambda part: replace(part, name="baseline.json")),
    }


@pytest.mark.parametrize("what", wrong_baselines())
def test_a_baseline_that_is_not_whole_is_not_sealed(what):
    """It would stand for a table; its description alone proves nothing."""
    store = wrong_baselines()[what]
    done = Sealer(store, make.ORDERS, OLD).seal(make.ARRIVED_MS)
    assert [name.rpartition("/")[2] for name in refusals(done, make.ORDERS)] == ["baseline.json"]
    assert done.entries == {"interval": 1}


def test_parts_are_not_read_before_all_are_there():
    """They may be many gigabytes, and a baseline that is not whole is looked at again every quarter of an hour."""
    store = CountingStore(wrong_baselines()["a part missing"])
    Sealer(store, make.ORDERS, OLD).seal(make.ARRIVED_MS)
    assert [name for name in store.names("get") if "/part-" in name] == []


def test_orphaned_parts_are_no_findings():
    """An import that was stopped leaves them; nothing says that they mean anything."""
    store = baseline()
    store.objects.pop(make.ORDERS.prefix + BaselineName(make.BASELINE_FROM_MS).description)
    assert seal(store, make.ARRIVED_MS, trail=make.ORDERS).entries == {"interval": 1}


def test_a_segment_that_goes_between_listing_and_reading_is_reported():
    """Nothing is ever deleted: a seal that passes over it would sign that nothing was there."""
    store = MemoryStore()
    first, second = archive(store, at(0, 1)) + archive(store, at(1, 2))

    class Losing(CountingStore):
        def get(self, name):
            if name.endswith(first):
                raise FileNotFoundError(name)
            return super().get(name)

    done = Sealer(Losing(store), TRAIL, OLD).seal(NOW_MS + HOUR_MS)
    assert refusals(done) == {first: "it was listed, and is gone"}
    assert done.entries["segment"] == 1
    assert second in store.objects[TRAIL.prefix + seal_name(0)].decode()


# --- what the log itself may look like ---


def grown(seals: int = 4) -> tuple[MemoryStore, list[Seal]]:
    """A log of several seals, each with a segment."""
    store = MemoryStore()
    for number in range(seals):
        archive(store, at(0, number + 1))
        seal(store, NOW_MS + number)
    return store, [Seal.parse(store.objects[name]) for name in sorted(store.objects) if "/seals/" in name]


@cache
def broken_logs():
    def without(number):
        store, seals = grown()
        del store.objects[TRAIL.prefix + seals[number].name]
        return store

    def with_content(number, change):
        store, seals = grown()
        name = TRAIL.prefix + seals[number].name
        store.objects[name] = change(store.objects[name])
        return store

    def forged(**members):
        store, seals = grown()
        forge(store, seals[-1], **members)
        return store

    def from_elsewhere():
        other = MemoryStore()
        seal(other, trail=replace(TRAIL, region="eu-west-2"))
        return next(iter(other.objects.values()))

    def alone(content):
        store = MemoryStore()
        store.objects[TRAIL.prefix + seal_name(0)] = content
        return store

    return {
        "the seal before the last is gone": without(-2),
        "the first one is gone": without(0),
        "the last one was cut": with_content(-1, lambda content: content[:-1]),
        "the last one is empty": with_content(-1, lambda _: b""),
        "the last one was respelled": with_content(-1, lambda content: content + b"\n"),
        "the last one names another object": with_content(
            -1, lambda content: content.replace(b"hour=00/", b"hour=01/", 1)
        ),
        "the last one has another time": with_content(
            -1, lambda content: content.replace(b'"sealed_at_ms":%d' % (NOW_MS + 3), b'"sealed_at_ms":%d' % (NOW_MS + 4))
        ),
        "the one before it has another writer": with_content(-2, lambda content: content.replace(b"ddbtrail 0", b"ddbtrail 9")),
        "the last one is null where nothing may be": with_content(
            -1, lambda content: json.dumps({**json.loads(content), "entries": [{"type": "quarantine", "path": None, "bytes": 1}]}).encode()
        ),
        "a seal by nobody we know": forged(),
        "a seal of another trail": alone(from_elsewhere()),
        "the first one is of another trail": with_content(0, lambda _: from_elsewhere()),
        "the first one is another one": with_content(0, lambda _: grown()[0].objects[TRAIL.prefix + grown()[1][2].name]),
    }  # fmt: skip


def broken(what: str) -> MemoryStore:
    store = MemoryStore()
    store.objects = dict(broken_logs()[what].objects)
    return store


@pytest.mark.parametrize("is_idle", [False, True], ids=["busy", "idle"])
@pytest.mark.parametrize("what", broken_logs())
def test_nothing_is_built_on_a_log_that_does_not_hold(what, is_idle):
    """Whoever comes next would sign what somebody else has forged. Told, and nothing written."""
    store = broken(what)
    before = dict(store.objects)
    if is_idle:
        store.objects = {name: content for name, content in before.items() if "/segments/" not in name}
    else:
        archive(store, at(0, 99))
    with pytest.raises(SealRefused) as refused:
        Sealer(store, TRAIL, OLD).seal(NOW_MS + 10)
    assert refused.value.hint
    assert {name for name in store.objects if "/seals/" in name} == {name for name in before if "/seals/" in name}


@pytest.mark.parametrize("what", [what for what in broken_logs() if what != "a seal by nobody we know"])
def test_the_second_reader_sees_the_same(what):
    """By which every log of these tests is read; who has signed is checked beside it."""
    assert second_reader.read_archive(broken(what))[2] != []


def test_a_head_that_is_not_signed_by_the_key_in_turn_is_seen():
    """The check of every head in these tests is one that can fail."""
    with pytest.raises(AssertionError):
        read(broken("a seal by nobody we know"))


def test_an_older_seal_of_the_tail_is_checked_before_its_entries_are_believed():
    """A segment left out of the log would be hidden by a seal that pretends to name it."""
    store, seals = grown(6)
    name = TRAIL.prefix + seals[2].name
    store.objects[name] = store.objects[name].replace(b"ddbtrail 0", b"ddbtrail 9")
    archive(store, at(0, 99))
    with pytest.raises(SealRefused, match=r"seals/0+7.json does not continue the log"):
        Sealer(store, TRAIL, OLD).seal(NOW_MS + 10)


# --- what it costs ---


def many_seals(number: int, minutes: int, *, segments_in_last: int = 0) -> tuple[MemoryStore, int]:
    """So many seals, one every few minutes, with a segment each for the last ones; and the time of the last."""
    store = MemoryStore()
    sealer = Sealer(store, TRAIL, OLD)
    now_ms = NOW_MS
    for count in range(number):
        now_ms = NOW_MS + count * minutes * 60_000
        if number - count <= segments_in_last:
            archive(store, record(count + 1, changed_at_s=now_ms // 1000), now_ms=now_ms)
        sealer.seal(now_ms)
    return store, now_ms


def test_an_idle_pass_reads_the_end_of_the_log_only():
    """1,000 seals of which nothing is needed: a sealer that knows nothing reads two, and one that knows them none."""
    store, now_ms = many_seals(1_000, 15)
    counting = CountingStore(store)
    sealer = Sealer(counting, TRAIL, OLD)
    sealer.seal(now_ms + 1)
    assert len(counting.names("get")) == 2
    assert len(counting.names("list")) == 7
    counting.asked.clear()
    sealer.seal(now_ms + 2)
    assert counting.names("get") == []
    assert len(counting.names("put")) == 1


def test_a_busy_trail_is_read_back_as_far_as_its_tail_has_segments():
    """Everything in the tail is sealed: the last seal that names one of them is the last that is read."""
    store, now_ms = many_seals(300, 15, segments_in_last=50)
    counting = CountingStore(store)
    Sealer(counting, TRAIL, OLD).seal(now_ms + 1)
    seals = {name for name in counting.names("get") if "/seals/" in name}
    assert len(seals) <= 52
    assert len(seals) == len([name for name in counting.names("get") if "/seals/" in name])
    read(store)


def test_a_busy_trail_is_read_back_for_little_more_than_its_tail():
    """A segment that no seal names can only be known to be new by all that may name it: 26 hours and three more."""
    store, now_ms = many_seals(180, 15, segments_in_last=180)
    archive(store, record(1_000, changed_at_s=now_ms // 1000), now_ms=now_ms)
    counting = CountingStore(store)
    assert Sealer(counting, TRAIL, OLD).seal(now_ms + 1).entries == {"segment": 1, "interval": 1}
    assert len([name for name in counting.names("get") if "/seals/" in name]) <= (26 + 4) * 4
    read(store)


# --- stopped anywhere ---


class Stopped(BaseException):
    """The process is no more. No `except Exception` catches it."""


class StoppingStore(CountingStore):
    """Ends at the n-th point: before or after each call, and between any two names of a listing."""

    def __init__(self, store, point: int):
        super().__init__(store)
        self.left = point

    def reach(self):
        self.left -= 1
        if self.left == 0:
            raise Stopped

    def put_if_absent(self, name, content):
        self.reach()
        is_new = super().put_if_absent(name, content)
        self.reach()
        return is_new

    def get(self, name):
        self.reach()
        content = super().get(name)
        self.reach()
        return content

    def list(self, prefix, start_after=""):
        for entry in super().list(prefix, start_after):
            self.reach()
            yield entry
        self.reach()


def evidence_of_all_kinds() -> MemoryStore:
    """Two labels, late and quarantined records, a baseline; part of it sealed already."""
    store = MemoryStore()
    archive(store, at(-5, 1), at(-4, 2))
    seal(store, NOW_MS - HOUR_MS)
    archive(store, at(-500, 3), at(0, 4), at(0, 5, arn=arn_of("orders", LATER)), {"eventSource": "aws:s3"})
    archive(store, at(0, 6), {**at(0, 7), "eventName": "UPSERT"})
    archive(store, at(-1, 8))
    scratch = MemoryStore()
    make.write_baseline(scratch)
    store.objects |= {
        TRAIL.prefix + name.removeprefix(make.ORDERS.prefix): content for name, content in scratch.objects.items()
    }
    return store


def statements(log: second_reader.LogRead) -> list[str]:
    """What the log says, whoever said it when: every entry but the intervals, in order."""
    return [json.dumps(entry) for entry in log.entries if entry["type"] != "interval"]


@pytest.mark.parametrize("per_seal", [2, 5_000])
def test_stopped_anywhere_and_run_again_the_log_says_the_same(monkeypatch, per_seal):
    """I9, at every point of its I/O: what is left is a whole log, and the next pass completes it."""
    monkeypatch.setattr(archiver.sealer, "SEGMENTS_PER_SEAL", per_seal)
    undisturbed = evidence_of_all_kinds()
    before = dict(undisturbed.objects)
    seal(undisturbed)
    expected = statements(read(undisturbed))
    seals_left: set[int] = set()
    seals_before = sum("/seals/" in name for name in before)
    for point in range(1, 1_000):
        store = MemoryStore()
        store.objects = dict(before)
        try:
            Sealer(StoppingStore(store, point), TRAIL, OLD).seal(NOW_MS)
        except Stopped:
            log = read(store)
            seals_left.add(len(log.seals))
            assert expected[: len(statements(log))] == statements(log), point
        else:
            break
        seal(store)
        assert statements(read(store)) == expected, point
    assert 40 < point < 999
    assert seals_left == set(range(seals_before, len(read(undisturbed).seals) + 1))


@pytest.mark.parametrize("per_seal", [2, 5_000])
def test_a_sealer_that_met_an_error_anywhere_can_be_used_again(monkeypatch, per_seal):
    """In a container that stays: what it remembers of the log is still true after any failure, before a call or after."""
    monkeypatch.setattr(archiver.sealer, "SEGMENTS_PER_SEAL", per_seal)
    undisturbed = evidence_of_all_kinds()
    before = dict(undisturbed.objects)
    seal(undisturbed)
    expected = statements(read(undisturbed))

    class Failing(StoppingStore):
        def reach(self):
            self.left -= 1
            if self.left == 0:
                raise StoreUnavailable("lost")

    for point in range(1, 1_000):
        store = MemoryStore()
        store.objects = dict(before)
        sealer = Sealer(Failing(store, point), TRAIL, OLD)
        try:
            sealer.seal(NOW_MS)
        except StoreUnavailable:
            read(store)
        else:
            break
        assert sealer.seal(NOW_MS).refused == ()
        assert statements(read(store)) == expected, point
    assert 40 < point < 999


# --- listings ---


class BrokenListing(CountingStore):
    """The listing of one folder ends in an error after so many names."""

    def __init__(self, store, folder: str, names: int):
        super().__init__(store)
        self.folder, self.number = folder, names

    def list(self, prefix, start_after=""):
        for number, entry in enumerate(super().list(prefix, start_after)):
            if prefix == self.folder and number == self.number:
                raise StoreUnavailable("the second page was lost")
            yield entry


FOLDERS = [f"{TRAIL.prefix}{kind}/" for kind in ("seals", "segments", "late", "streams", "quarantine", "baselines")]


@pytest.mark.parametrize("folder", [*FOLDERS, "v1/quarantine/"])
def test_a_listing_that_fails_in_the_middle_seals_nothing(folder):
    """What was not listed to its end was not looked at: no seal may say so."""
    store = evidence_of_all_kinds()
    before = dict(store.objects)
    for names in range(20):
        try:
            Sealer(BrokenListing(store, folder, names), TRAIL, OLD).seal(NOW_MS)
        except StoreUnavailable:
            assert store.objects == before
        else:
            break
    assert 0 < names < 19


def test_a_page_that_says_there_are_more_and_not_where_is_an_error():
    """boto3 takes a page without a token for the last one, whatever else the page says."""
    client = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    page = {"IsTruncated": True, "KeyCount": 1, "Contents": [{"Key": "a/b", "Size": 1}]}
    with Stubber(client) as stubbed:
        stubbed.add_response("list_objects_v2", page)
        with pytest.raises(StoreUnavailable, match="was cut short"):
            list(S3Store(client, "bucket", "").list("a/"))
        stubbed.add_response("list_objects_v2", page | {"IsTruncated": False})
        assert list(S3Store(client, "bucket", "").list("a/")) == [("a/b", 1)]
    client.close()


@pytest.mark.parametrize("part", ["segments", "dt=2026-11-23", "hour=00", "seals", "quarantine"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_looked_into_seals_nothing(tmp_path, monkeypatch, part, code):
    """A disk that is failing, or another owner: a listing without it would pass for the whole."""
    store = FolderStore(tmp_path)
    archive(store, at(0, 1), {**at(0, 7), "eventName": "UPSERT"})
    seal(store)
    scandir = os.scandir

    def failing(folder):
        if Path(folder).name == part:
            raise OSError(code, os.strerror(code), str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises((StoreRefused, StoreUnavailable), match=part):
        Sealer(store, TRAIL, OLD).seal(NOW_MS + 1)
    monkeypatch.undo()
    assert len(read(tmp_path).seals) == 1


class ShortStore(CountingStore):
    """Lists only the first names below a prefix that mentions `part`, as if there were no more."""

    def __init__(self, store, part: str, names: int):
        super().__init__(store)
        self.part, self.number = part, names

    def list(self, prefix, start_after=""):
        found = list(super().list(prefix, start_after))
        return iter(found[: self.number] if self.part in prefix else found)


@pytest.mark.parametrize("hidden", range(1, 5))
def test_a_stale_listing_of_seals_never_forks_the_log(hidden):
    """The name of the next seal is taken, so the sealer looks again; while it is not shown the end, it gives up."""
    store, seals = grown(4)
    before = dict(store.objects)

    class StaleStore(CountingStore):
        def list(self, prefix, start_after=""):
            ends = tuple(one.name for one in seals[-hidden:])
            return (entry for entry in super().list(prefix, start_after) if not entry[0].endswith(ends))

    with pytest.raises(SealRefused, match="others keep sealing"):
        Sealer(StaleStore(store), TRAIL, OLD).seal(NOW_MS + 10)
    assert store.objects == before


def test_a_listing_of_seals_that_is_short_is_asked_for_the_rest():
    """What was thought to be the end is taken, so the sealer looks behind it."""
    store, _ = grown(4)
    Sealer(ShortStore(store, "/seals/", 1), TRAIL, OLD).seal(NOW_MS + 10)
    assert len(read(store).seals) == 5


def test_segments_that_a_listing_left_out_are_found_by_the_next():
    """A stale listing is made good: the tail reaches 26 hours behind every interval."""
    store = MemoryStore()
    segments = [name for number in range(6) for name in archive(store, at(number, number))]
    now_ms = NOW_MS + 5 * HOUR_MS
    Sealer(ShortStore(store, "/segments/", 2), TRAIL, OLD).seal(now_ms)
    assert sealed_segments(read(store)) == segments[:2]
    seal(store, now_ms + 15 * 60_000)
    assert sealed_segments(read(store)) == segments


def test_random_reads_of_the_clock_never_make_time_fall():
    """A clock that jumps to and fro by less than machines differ: every segment sealed, and time in order."""
    store = MemoryStore()
    expected = []
    for number in range(60):
        expected += archive(store, at(number / 10, number))
        jitter_ms = (number * 7_919) % 300_000
        seal(store, NOW_MS + number * 60_000 * 6 - jitter_ms)
    seal(store, NOW_MS + 7 * HOUR_MS)
    assert sorted(sealed_segments(read(store))) == sorted(expected)
