"""Order by number and order by text give one answer, at the last number that fits and the first that does not."""

import pytest

import query
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.engine import Question
from tests.delivery import delivered

T0 = 1_789_430_400
LARGEST_NUMBERED = 10**27 - 1  # 27 digits


def versions(*sequence_numbers):
    """One item, changed once at each of these sequence numbers, all in one second: `n` counts."""
    arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-09-01T00:00:00.000"
    return [
        delivered(
            "MODIFY" if number else "INSERT",
            {"id": {"S": "a"}},
            {"n": {"N": str(number - 1)}} if number else None,
            {"n": {"N": str(number)}},
            sequence_number=sequence_number,
            changed_at_s=T0,
            arn=arn,
            event_id=f"{number:032x}",
        )
        for number, sequence_number in enumerate(sequence_numbers)
    ]


def archived(folder, sequence_numbers, *, batches_of):
    """An archive of these versions, the newest batch written first."""
    records = versions(*sequence_numbers)
    writer = Writer(FolderStore(folder), Streams())
    for start in reversed(range(0, len(records), batches_of)):
        assert not writer.archive(records[start : start + batches_of], now_ms=T0 * 1000).quarantined
    return folder


@pytest.mark.parametrize(
    ("sequence_numbers", "is_by_text"),
    [
        ((10**20, 10**21), False),
        ((99 * 10**24, 10**26), False),
        ((LARGEST_NUMBERED - 1, LARGEST_NUMBERED), False),
        ((LARGEST_NUMBERED, LARGEST_NUMBERED + 1), True),
        ((10**20, 10**27, 10**39), True),
        ((10**39, 10**40 - 1), True),
    ],
)
@pytest.mark.parametrize("cut", ["in one batch", "newest batch first"])
def test_the_greatest_sequence_number_is_the_last_change(tmp_path, monkeypatch, sequence_numbers, is_by_text, cut):
    """Crossing a digit length, and crossing what a number of 127 bits holds beside file and row."""
    records = len(sequence_numbers)
    archived(tmp_path / "archive", sequence_numbers, batches_of=records if cut == "in one batch" else 1)
    asked = []
    run = Question.run
    monkeypatch.setattr(Question, "run", lambda self, name, values=None: (asked.append(name), run(self, name, values)))
    state = query.open(str(tmp_path / "archive")).table("orders").as_of(f"@{T0}")
    (found,) = state.states()
    state.close()
    assert f'"n":{{"N":"{records - 1}"}}' in found.image
    assert ("facts" in asked) is is_by_text
    assert "facts_numbered" in asked, "numbers are tried first"
