"""Who signed the heads of a log, how old the newest is, whether it continues one that was kept: docs/verify.md, *The log*
and *The head*, on logs that are made directly.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archiver.format.log_entry import KeyRotationEntry
from archiver.format.note import SignedNote
from query.errors import UsageError
from query.instant import format_ms
from query.seal_log import SealLog
from query.verify.heads import (
    PinnedCheckpoint,
    check_signatures,
    hand_over_problems,
    pinned_problems,
    time_problems,
)
from tests.querying.logs import AT_MS, MadeLog, acknowledged, at_size, hands_over
from tests.system.tampered import ATTACKER, CUSTOMERS, FIRST_KEY, MINUTE_MS, ORDERS, SECOND_KEY, THIRD_KEY, kept

FIVE_MINUTES_MS = 5 * MINUTE_MS


def findings(log: SealLog, key) -> list[tuple[str, str]]:
    """Code and object of what the signatures come to."""
    return [(problem.code, problem.name) for problem in check_signatures(log, key.public_key).problems]


def name_of(log: SealLog, position: int) -> str:
    return ORDERS.prefix + log.seals[position].name


@pytest.fixture(scope="module")
def handed_over() -> MadeLog:
    """Two seals by the first key, the second of which hands over; then two by the second key, and one by the third."""
    log = MadeLog(FIRST_KEY).add(acknowledged()).add(hands_over(SECOND_KEY))
    return log.add(key=SECOND_KEY).add(hands_over(THIRD_KEY), key=SECOND_KEY).add(key=THIRD_KEY)


# --- signatures ---


def test_without_a_key_nothing_is_said_to_be_signed(handed_over):
    signed = check_signatures(handed_over.read(), None)
    assert [(problem.code, problem.name) for problem in signed.problems] == [("key-not-pinned", ORDERS.prefix)]
    assert signed.keys == ()


@pytest.mark.parametrize("key", [FIRST_KEY, SECOND_KEY, THIRD_KEY], ids=["first", "second", "third"])
def test_each_key_that_was_in_force_leads_on_to_those_after_it(handed_over, key):
    """A key pinned years ago leads on to today's; one that came later covers what is before it by its first head."""
    signed = check_signatures(handed_over.read(), key.public_key)
    assert signed.problems == ()
    following = [FIRST_KEY, SECOND_KEY, THIRD_KEY]
    expected = [one.public_key for one in following[following.index(key) :]]
    assert list(signed.keys) == expected


def test_a_key_that_never_was_in_force_signed_nothing():
    """Each seal is told, from the first on."""
    log = MadeLog(FIRST_KEY).add().add().add().read()
    assert findings(log, ATTACKER) == [("seal-signature", name_of(log, position)) for position in range(3)]


def test_a_seal_by_another_key_is_told_and_no_other_is():
    log = MadeLog(FIRST_KEY).add().add(key=ATTACKER).add().read()
    assert findings(log, FIRST_KEY) == [("seal-signature", name_of(log, 1))]


def test_an_old_key_signs_nothing_after_it_handed_over():
    log = MadeLog(FIRST_KEY).add(hands_over(SECOND_KEY)).add(key=FIRST_KEY).read()
    assert findings(log, FIRST_KEY) == [("seal-signature", name_of(log, 1))]


def test_a_log_of_nothing_is_signed_by_nobody_and_forged_by_nobody():
    """That nothing is sealed is a finding of its own."""
    assert findings(SealLog(ORDERS, (), True), FIRST_KEY) == []


def test_a_key_that_was_handed_over_to_and_has_signed_nothing_proves_nothing():
    """Whoever can write seals could have written that hand-over."""
    log = MadeLog(FIRST_KEY).add().add(hands_over(SECOND_KEY)).read()
    assert findings(log, SECOND_KEY) == [("seal-signature", name_of(log, position)) for position in range(2)]


def test_a_hand_over_to_the_pinned_key_excuses_only_what_is_before_it():
    """What comes after it must be signed by the pinned key, or the log is a stranger's from its beginning."""
    log = MadeLog(ATTACKER).add(hands_over(FIRST_KEY)).add(key=FIRST_KEY).add(key=ATTACKER).read()
    assert findings(log, FIRST_KEY) == [("seal-signature", name_of(log, 0)), ("seal-signature", name_of(log, 2))]


def test_of_two_hand_overs_to_one_key_the_first_that_fits_counts():
    """First, second, first again: with the first key pinned the log is whole from its beginning; with the second, from
    the hand-over on."""
    log = MadeLog(FIRST_KEY).add(hands_over(SECOND_KEY)).add(hands_over(FIRST_KEY), key=SECOND_KEY)
    log = log.add(hands_over(SECOND_KEY)).add(key=SECOND_KEY)
    for key, keys in ((FIRST_KEY, "1212"), (SECOND_KEY, "212")):
        signed = check_signatures(log.read(), key.public_key)
        assert signed.problems == ()
        assert [{"1": FIRST_KEY, "2": SECOND_KEY}[one].public_key for one in keys] == list(signed.keys)


def test_where_the_first_hand_over_does_not_fit_the_second_may():
    """A stranger's hand-over does not take the true one away."""
    log = (
        MadeLog(FIRST_KEY)
        .add(hands_over(SECOND_KEY))
        .add(key=FIRST_KEY)
        .add(hands_over(SECOND_KEY))
        .add(key=SECOND_KEY)
    )
    assert findings(log.read(), SECOND_KEY) == []


def test_the_seal_that_hands_over_may_be_the_missing_one(handed_over):
    """Then a seal by an unknown key is not called forged: 4, beside the 3 of the hole."""
    log = handed_over.read(without=[1])
    assert findings(log, FIRST_KEY) == [("not-checkable", name_of(log, position)) for position in (1, 2)]
    assert findings(log, SECOND_KEY) == []


def test_a_seal_that_fits_again_after_a_hole_ends_the_doubt():
    """After it, a stranger's seal is a stranger's."""
    log = MadeLog(FIRST_KEY).add().add().add().add(key=ATTACKER).read(without=[1])
    assert findings(log, FIRST_KEY) == [("seal-signature", name_of(log, 2))]


def test_the_doubt_goes_on_until_a_seal_fits():
    log = MadeLog(FIRST_KEY).add().add(hands_over(SECOND_KEY)).add(key=SECOND_KEY).add(key=SECOND_KEY)
    log = log.add(key=FIRST_KEY).read(without=[1])
    assert findings(log, FIRST_KEY) == [("not-checkable", name_of(log, 1)), ("not-checkable", name_of(log, 2))]


def test_a_signature_that_is_not_valid_is_no_doubt_even_after_a_hole():
    """It says to be of the key in force, and is not."""
    log = MadeLog(FIRST_KEY).add().add().add()
    read = log.read(without=[1])
    last = read.read[-1]
    note = last.seal.checkpoint
    [signature] = note.signatures
    spoilt = replace(last.seal, checkpoint=SignedNote(note.text, (replace(signature, signature=bytes(64)),)))
    read = replace(read, read=(read.read[0], replace(last, seal=spoilt)))
    assert findings(read, FIRST_KEY) == [("seal-signature", name_of(read, 1))]


def test_the_beginning_may_be_missing_too():
    """The pinned key may have come into force in any seal that is gone."""
    log = MadeLog(FIRST_KEY).add(hands_over(SECOND_KEY)).add(key=SECOND_KEY).add(key=SECOND_KEY).read(without=[0])
    assert findings(log, SECOND_KEY) == []
    assert findings(log, FIRST_KEY) == [("not-checkable", name_of(log, position)) for position in range(2)]
    shortest = MadeLog(FIRST_KEY).add().add(key=SECOND_KEY).read(without=[0])
    assert findings(shortest, FIRST_KEY) == [("not-checkable", name_of(shortest, 0))]


def test_a_pinned_key_may_begin_after_any_hole_and_not_between():
    """Of a stranger's seals before a hole nobody can say that the pinned key was not handed over to in it; of those after
    a seal that is there, one can."""
    log = MadeLog(FIRST_KEY).add().add(hands_over(SECOND_KEY)).add(key=SECOND_KEY).add(key=SECOND_KEY)
    assert findings(log.read(without=[1]), SECOND_KEY) == []
    stranger = MadeLog(ATTACKER).add().add().add(key=SECOND_KEY).read()
    assert findings(stranger, SECOND_KEY) == [("seal-signature", name_of(stranger, position)) for position in range(2)]


def test_a_hand_over_to_what_is_no_key_is_told_and_leads_nowhere():
    """It is in the log, and signed: the key in force stays."""
    log = MadeLog(FIRST_KEY).add(KeyRotationEntry("AAAA"), acknowledged()).add(hands_over(SECOND_KEY)).read()
    assert [(one.code, one.name) for one in hand_over_problems(log)] == [("log-inconsistent", name_of(log, 0))]
    assert findings(log, FIRST_KEY) == []


# --- the checkpoint that was kept ---


def continues(log: SealLog, checkpoint: PinnedCheckpoint, *keys) -> list[str]:
    found = list(pinned_problems(log, checkpoint, [key.public_key for key in keys]))
    assert {problem.name for problem in found} <= {ORDERS.prefix}
    return [problem.code for problem in found]


def test_a_log_continues_every_head_it_ever_had_or_could_have_had(handed_over):
    """At the end of a seal and between two; whichever of its keys signed it."""
    log = handed_over.read()
    for size in range(1, log.size + 1):
        for key in (FIRST_KEY, SECOND_KEY):
            assert continues(log, at_size(handed_over, size, key), FIRST_KEY, SECOND_KEY) == [], size


def test_a_log_that_is_shorter_was_rolled_back(handed_over):
    """Before anybody asks who signed what was kept, or what is missing besides: its key may be in a seal that is gone."""
    shorter = handed_over.read(without=[3, 4])
    assert continues(shorter, handed_over.head(2), FIRST_KEY, SECOND_KEY) == []
    assert continues(shorter, handed_over.head(3), FIRST_KEY) == ["rolled-back"]
    assert continues(handed_over.read(without=[0, 3, 4]), handed_over.head(3), FIRST_KEY) == ["rolled-back"]
    assert continues(SealLog(ORDERS, (), True), handed_over.head(0), FIRST_KEY) == ["rolled-back"]


def test_a_log_with_another_root_at_that_size_was_rewritten(handed_over):
    other = MadeLog(FIRST_KEY).add(acknowledged("another history")).add().add()
    assert continues(handed_over.read(), other.head(0), FIRST_KEY) == ["checkpoint-forked"]
    assert continues(handed_over.read(), at_size(other, 1, FIRST_KEY), FIRST_KEY) == ["checkpoint-forked"]


def test_a_checkpoint_of_another_trail_is_not_of_this_log(handed_over):
    """Even where it would be too long for it, or its log has holes: it is the first thing to know."""
    other = MadeLog(FIRST_KEY, trail=CUSTOMERS).add().add().add().add().add().add().add().add().add().add()
    for position in (0, -1):
        assert continues(handed_over.read(), other.head(position), FIRST_KEY) == ["checkpoint-forked"]


def test_a_log_with_holes_can_be_compared_with_nothing(handed_over):
    log = handed_over.read(without=[1])
    assert continues(log, handed_over.head(0), FIRST_KEY) == ["not-checkable"]


def test_a_checkpoint_must_be_signed_by_the_pinned_key_or_one_after_it(handed_over):
    log, size = handed_over.read(), handed_over.seals[2].after.size
    assert continues(log, at_size(handed_over, size, SECOND_KEY), SECOND_KEY, THIRD_KEY) == []
    assert continues(log, at_size(handed_over, size, THIRD_KEY), SECOND_KEY, THIRD_KEY) == []
    assert continues(log, at_size(handed_over, size, ATTACKER), SECOND_KEY, THIRD_KEY) == ["checkpoint-signature"]


def test_without_a_pinned_key_the_roots_are_compared_all_the_same(handed_over):
    """Whoever kept it knows where it is from."""
    log = handed_over.read()
    assert continues(log, at_size(handed_over, 3, ATTACKER)) == []
    other = MadeLog(FIRST_KEY).add(acknowledged("another history"))
    assert continues(log, other.head(0)) == ["checkpoint-forked"]


def test_a_countersigned_checkpoint_may_be_pinned_with_all_its_signatures(handed_over):
    """Those of witnesses are passed over."""
    head = handed_over.head(1)
    witness = ATTACKER.sign("witness.example/w1", head.note.text)
    for signatures in ((witness, *head.note.signatures), (*head.note.signatures, witness)):
        assert continues(handed_over.read(), kept(SignedNote(head.note.text, signatures)), FIRST_KEY) == []


def test_a_checkpoint_is_read_as_it_was_printed(handed_over, tmp_path):
    path = tmp_path / "kept.txt"
    path.write_bytes(handed_over.seals[1].checkpoint.compose())
    read = PinnedCheckpoint.load(path)
    assert (read.note, read.head) == (handed_over.seals[1].checkpoint, handed_over.seals[1].head)
    assert read.file == str(path)


@pytest.mark.parametrize("content", [b"", b"no note", b"\xff", None], ids=["empty", "text", "bytes", "a folder"])
def test_what_is_no_checkpoint_is_a_mistake_of_whoever_typed_it(tmp_path, content):
    """And it says which file, and why."""
    path: Path = tmp_path / "kept.txt"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        PinnedCheckpoint.load(path)
    assert str(path) in refused.value.message
    assert refused.value.why
    if content is None:
        assert refused.value.why == "Is a directory"


def test_a_note_that_is_no_checkpoint_is_none(tmp_path):
    """Signed, and of something else."""
    path = tmp_path / "note.txt"
    text = "hello\n"
    path.write_bytes(SignedNote(text, (FIRST_KEY.sign("hello", text),)).compose())
    with pytest.raises(UsageError):
        PinnedCheckpoint.load(path)


def test_a_rewritten_log_names_the_file_that_shows_it(handed_over):
    """A reviewer may keep several."""
    [problem] = pinned_problems(handed_over.read(), MadeLog(FIRST_KEY).add(acknowledged("other")).head(0), [])
    assert "kept.txt" in problem.detail


# --- time ---


def times(log: SealLog, now_ms: int, *, max_age_ms: int | None = None, until_ms: int | None = None):
    found = time_problems(log, ORDERS, now_ms=now_ms, max_age_ms=max_age_ms, until_ms=until_ms)
    return [(problem.code, problem.name) for problem in found]


def test_clocks_may_differ_by_five_minutes_and_no_more():
    """Each seal of a time to come is told."""
    log = MadeLog(FIRST_KEY).add().add().add().read()
    made_ms = [seal.interval.sealed_at_ms for seal in log.seals]
    assert times(log, made_ms[2] - FIVE_MINUTES_MS) == []
    assert times(log, made_ms[2] - FIVE_MINUTES_MS - 1) == [("seal-in-future", name_of(log, 2))]
    assert times(log, made_ms[1] - FIVE_MINUTES_MS - 1) == [
        ("seal-in-future", name_of(log, position)) for position in (1, 2)
    ]


def test_the_newest_seal_may_be_as_old_as_was_said():
    log = MadeLog(FIRST_KEY).add().add().read()
    newest_ms = log.seals[-1].interval.sealed_at_ms
    assert times(log, newest_ms + 7_000, max_age_ms=7_000) == []
    assert times(log, newest_ms + 7_001, max_age_ms=7_000) == [("stale", ORDERS.prefix)]
    assert times(log, newest_ms + 10**9, max_age_ms=None) == []
    assert times(log, newest_ms + 1, max_age_ms=0) == [("stale", ORDERS.prefix)], "0 is an age, and not none"


def test_a_stale_log_says_since_when_and_for_how_long():
    """In seconds, as `--max-age` is told."""
    log = MadeLog(FIRST_KEY).add().read()
    [problem] = time_problems(log, ORDERS, now_ms=AT_MS + 2_000_500, max_age_ms=0, until_ms=None)
    assert format_ms(AT_MS) in problem.detail
    assert "2000 s ago" in problem.detail


def test_a_period_is_sealed_when_the_log_reaches_to_its_end():
    """It matters how far the newest seal looked, not when it was made; and of a period that still lasts, only what has
    passed can be sealed."""
    log = MadeLog(FIRST_KEY).add().add(to_ms=AT_MS + 30_000, sealed_at_ms=AT_MS + 90_000).read()
    now_ms = AT_MS + 10**9
    assert times(log, now_ms, until_ms=AT_MS + 30_000) == []
    assert times(log, now_ms, until_ms=AT_MS + 30_001) == [("period-not-sealed", ORDERS.prefix)]
    assert times(log, AT_MS + 30_000, until_ms=now_ms) == []
    assert times(log, AT_MS + 30_001, until_ms=now_ms) == [("period-not-sealed", ORDERS.prefix)]
    assert times(log, now_ms, until_ms=0) == []


def test_without_seals_nothing_can_be_proved():
    """And that is the one finding: there is no newest seal that could be old."""
    assert times(SealLog(ORDERS, (), True), AT_MS, max_age_ms=0, until_ms=AT_MS) == [("no-seals", ORDERS.prefix)]
