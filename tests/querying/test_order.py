"""Order by number and by text give one answer, at the last number that fits and the first that does not; and what one
question has found out serves the next.
"""

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


# --- what a question need not find out again ---


@pytest.fixture
def asked(monkeypatch):
    """The names of the statements that were asked, in order."""
    names = []
    run, rows = Question.run, Question.rows
    monkeypatch.setattr(
        Question, "run", lambda self, name, values=None: (names.append(name), run(self, name, values))[1]
    )
    monkeypatch.setattr(
        Question, "rows", lambda self, name, values=None: (names.append(name), rows(self, name, values))[1]
    )
    return names


def ask(table):
    """What the table was at the last change: images, and the sequence numbers that are told in two ways."""
    state = table.as_of(f"@{T0}")
    answer = [one.image for one in state.states()], [conflict.sequence_number for conflict in state.conflicts]
    state.close()
    return answer


def repeated(folder, *, is_contradicted):
    """An archive in which the last change stands twice: the same, or not."""
    first, second = versions(10**21, 10**21 + 1)
    writer = Writer(FolderStore(folder), Streams())
    writer.archive([first, second], now_ms=T0 * 1000)
    if is_contradicted:
        second["dynamodb"]["NewImage"]["n"] = {"N": "7"}
    writer.archive([second], now_ms=T0 * 1000)
    return query.open(str(folder)).table("orders")


def test_rows_that_repeat_are_compared_once_if_nothing_contradicts(tmp_path, asked):
    """Comparing them is a good part of a question, and evidence does not change between two."""
    table = repeated(tmp_path / "archive", is_contradicted=False)
    answers = [ask(table) for _ in range(4)]
    assert answers == [answers[0]] * 4
    assert (asked.count("tied"), asked.count("range_conflicts")) == (1, 1)


def test_a_contradiction_is_told_by_every_question(tmp_path):
    """Also by the one after the one that looked at everything."""
    table = repeated(tmp_path / "archive", is_contradicted=True)
    for _ in range(4):
        assert ask(table) == ([], [f"{10**21 + 1:040d}"])


def test_a_contradiction_elsewhere_refuses_nothing(tmp_path):
    """That a trail has one says nothing of the items that it is not about, however often is asked."""
    table = repeated(tmp_path / "archive", is_contradicted=True)
    other = [
        {**record, "eventID": f"{number:032x}"} for number, record in enumerate(versions(10**21 + 5, 10**21 + 6), 50)
    ]
    for record in other:
        record["dynamodb"]["Keys"] = {"id": {"S": "b"}}
        for name in {"OldImage", "NewImage"} & record["dynamodb"].keys():
            record["dynamodb"][name]["id"] = {"S": "b"}
    writer = Writer(FolderStore(tmp_path / "archive"), Streams())
    writer.archive(other, now_ms=T0 * 1000)
    writer.archive(other[1:], now_ms=T0 * 1000)
    table = query.open(str(tmp_path / "archive")).table("orders")
    for _ in range(3):
        images, conflicts = ask(table)
        assert [image.count('"S":"b"') for image in images] == [1]
        assert conflicts == [f"{10**21 + 1:040d}"]


def test_numbers_are_tried_once_where_they_do_not_fit(tmp_path, asked):
    """A trail with longer sequence numbers has them in every question."""
    table = query.open(str(archived(tmp_path / "archive", [10**38, 10**38 + 1], batches_of=2))).table("orders")
    assert [ask(table) for _ in range(3)] == [ask(table)] * 3
    assert (asked.count("facts_numbered"), asked.count("facts")) == (1, 4)
