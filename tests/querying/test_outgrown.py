"""What outgrows a place is refused before it is begun, and made smaller; what fits is not."""

from datetime import UTC, datetime

import pytest

from query.derived.levels import Piece
from query.derived.names import RunName
from query.derived.outgrown import Need, Room, Work, need_of, smaller_runs

# A function of 3,538 MB and 10,240 MB of disk, as infra/template.yaml makes it.
LAMBDA = Room(3_538 * 1024**2, 10_240 * 1024**2, cores=2.0, seconds=780)


def piece(start, end, at, *, is_run=False):
    """Entries from `start` to `end`, of the hour, day or month of an ISO instant."""
    return Piece(RunName(start, end), round(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() * 1000), is_run)


def small(rows):
    """Rows with two images of 210 bytes, which compress to 58."""
    return Work(rows, objects=max(1, rows // 5_000), bytes=rows * 58)


@pytest.mark.parametrize(
    ("rows", "images_bytes_stored", "disk", "seconds"),
    [(3_439_347, 58, 2_841_000_000, 32.7), (60_000, 1_765, 108_000_000, 7.8)],
    ids=["two images of 210 bytes", "two images of 2,000, random words"],
)
def test_the_estimate_is_no_less_than_what_was_measured(rows, images_bytes_stored, disk, seconds):
    """On two cores, each twice as fast as a vCPU is taken to be; docs/operations.md has the figures."""
    need = need_of(Work(rows, rows // 5_000, rows * images_bytes_stored), cores=2.0)
    assert disk <= need.disk_bytes <= 15 * disk
    assert 2 * seconds <= need.seconds <= 5 * seconds


def test_a_row_of_two_images_of_210_bytes_takes_1100_bytes_on_disk():
    """As measured, beyond what does not grow."""
    more = need_of(small(2_000_000), 2).disk_bytes - need_of(small(1_000_000), 2).disk_bytes
    assert 1_100 <= more / 1_000_000 <= 1_300


@pytest.mark.parametrize(
    ("rows", "fits"), [(0, True), (1_000, True), (8_000_000, True), (9_500_000, False), (10**9, False)]
)
def test_the_function_of_the_template_makes_runs_of_eight_million_rows(rows, fits):
    """More would fill its disk; docs/operations.md says the figure."""
    why = need_of(small(rows), LAMBDA.cores).exceeds(LAMBDA)
    assert (why is None) == fits
    if why:
        assert "of disk" in why


@pytest.mark.parametrize(
    ("need", "why"),
    [
        (Need(100, 100, 100.0), None),
        (Need(100, 101, 100.0), "disk"),
        (Need(101, 100, 100.0), "memory"),
        (Need(100, 100, 100.1), "time"),
    ],
)
def test_the_last_that_fits_and_the_first_that_does_not(need, why):
    """What there is may be used up."""
    told = need.exceeds(Room(100, 100, 1.0, 100.0))
    assert (told is None) if why is None else (f"of {why}" in told)


def test_both_figures_are_told():
    """Whoever reads the log decides by them."""
    told = Need(0, 12_345_000_000, 0.0).exceeds(Room(10**9, 10_000_000_000, 1.0, 1.0))
    assert told == "it takes 12,345 MB of disk, and there are 10,000"


def test_more_processors_take_less_time_and_not_less_disk():
    """And half a processor is no mistake."""
    one, four, half = (need_of(small(1_000_000), cores) for cores in (1.0, 4.0, 0.5))
    assert four.seconds < one.seconds < half.seconds
    assert four.disk_bytes == one.disk_bytes == half.disk_bytes


def test_a_month_is_made_of_days_a_day_of_hours_an_hour_of_seals():
    """The longest time that cuts it is taken, and nothing is lost or put into another order."""
    month = tuple(
        piece(
            10 * number + quarter,
            10 * number + quarter + 1,
            f"2026-10-{1 + number // 24:02}T{number % 24:02}:{15 * quarter:02}",
        )
        for number in range(48)
        for quarter in range(4)
    )
    days = smaller_runs(month)
    assert [len(day) for day in days] == [96, 96]
    hours = smaller_runs(days[0])
    assert [len(hour) for hour in hours] == [4] * 24
    seals = smaller_runs(hours[0])
    assert seals == [(one,) for one in hours[0]]
    for made, whole in ((days, month), (hours, days[0]), (seals, hours[0])):
        assert tuple(one for group in made for one in group) == whole
    assert smaller_runs(seals[0]) == [], "nothing is smaller than a seal"


def test_what_is_a_run_already_is_left_as_it_is():
    """A month of days that are there gives nothing; the hours of its last day still become a day."""
    days = [piece(day, day + 1, f"2026-10-{day + 1:02}T23:59", is_run=True) for day in range(30)]
    assert smaller_runs(days) == []
    hours = [piece(30 + hour, 31 + hour, f"2026-10-31T{hour:02}:59", is_run=True) for hour in range(23)]
    rest = [piece(53, 54, "2026-10-31T23:15")]
    assert smaller_runs([*days, *hours, *rest]) == [(*hours, *rest)]


def test_a_seal_alone_in_its_day_becomes_a_run():
    """Else what comes after it could stand on nothing."""
    alone, others = piece(0, 1, "2026-10-01T10:00"), [piece(n, n + 1, "2026-10-02T10:00", is_run=True) for n in (1, 2)]
    assert smaller_runs([alone, *others]) == [(alone,), tuple(others)]
