"""The time grammar: every form means one instant, and what could mean two is refused."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import whenever
from hypothesis import given
from hypothesis import strategies as st

from query.errors import NaiveTimeError, UsageError
from query.instant import Instant, echo_range, format_ms
from query.period import Period, parse_period
from query.rev import Rev
from query.when import parse_when, parse_when_or_rev
from query.zone import check_zone


def ms(*clock):
    """Epoch milliseconds of a UTC clock, by the standard library alone."""
    return int(datetime(*clock, tzinfo=UTC).timestamp() * 1000)


NOW = ms(2026, 11, 23, 10, 30, 15)  # a Monday
PARIS = "Europe/Paris"

INSTANTS = [
    ("2026-09-16T12:00Z", ms(2026, 9, 16, 12)),
    ("2026-09-16T12:00:05Z", ms(2026, 9, 16, 12, 0, 5)),
    ("2026-09-16 12:00:05Z", ms(2026, 9, 16, 12, 0, 5)),
    ("2026-09-16T12:00:05.5Z", ms(2026, 9, 16, 12, 0, 5) + 500),
    ("2026-09-16T12:00:05.123999999Z", ms(2026, 9, 16, 12, 0, 5) + 123),
    ("2026-09-16T12:00+02:00", ms(2026, 9, 16, 10)),
    ("2026-09-16T12:00-00:30", ms(2026, 9, 16, 12, 30)),
    ("2026-01-01T00:00:00+14:00", ms(2025, 12, 31, 10)),
    ("2024-02-29T23:59:59Z", ms(2024, 2, 29, 23, 59, 59)),
    ("2025-12-31T23:59:59.999Z", ms(2026, 1, 1) - 1),
    ("1969-12-31T23:59:59.250Z", -750),
    ("0001-01-01", ms(1, 1, 1)),
    ("2026-09-16", ms(2026, 9, 16)),
    ("@0", 0),
    ("@1602179021", 1602179021000),
    ("@1602179021.5", 1602179021500),
    ("@1602179021.0009", 1602179021000),
    ("now", NOW),
    ("today", ms(2026, 11, 23)),
    ("yesterday", ms(2026, 11, 22)),
    ("0s", NOW),
    ("30s", NOW - 30_000),
    ("90m ago", NOW - 5_400_000),
    ("1.5h", NOW - 5_400_000),
    ("3d", NOW - 3 * 86_400_000),
    ("3 days ago", NOW - 3 * 86_400_000),
    ("1 week", NOW - 7 * 86_400_000),
    ("2w", NOW - 14 * 86_400_000),
    ("1 second", NOW - 1000),
    ("5 minutes", NOW - 300_000),
    ("  now ", NOW),
]


@pytest.mark.parametrize(("text", "expected"), INSTANTS, ids=[text for text, _ in INSTANTS])
def test_each_form_means_one_instant(text, expected):
    """The grammar is the contract of every command that takes a time."""
    instant = parse_when(text, now_ms=NOW)
    assert instant == Instant(expected, text, format_ms(expected))
    assert parse_when_or_rev(text, now_ms=NOW) == instant


@given(st.integers(ms(1, 1, 1), ms(9999, 12, 31, 23, 59, 59) + 999))
def test_what_is_printed_can_be_typed(instant_ms):
    """People paste times from output back into the prompt, so the spelling reads back as the same instant."""
    assert parse_when(format_ms(instant_ms), now_ms=instant_ms).ms == instant_ms


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),
    st.integers(-18 * 60, 18 * 60),
)
def test_text_and_aware_datetime_agree(moment, offset_minutes):
    """The standard library computes the same instant from the same wall clock and offset."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    assert parse_when(aware.isoformat(), now_ms=ms(9999, 12, 31)).ms == parse_when(aware, now_ms=ms(9999, 12, 31)).ms


def test_whole_seconds_are_printed_without_a_fraction():
    """Change times have whole seconds today, and `.000` on each would be noise."""
    assert [format_ms(at) for at in (ms(2026, 7, 1), ms(2026, 7, 1) + 7, -1)] == [
        "2026-07-01T00:00:00Z",
        "2026-07-01T00:00:00.007Z",
        "1969-12-31T23:59:59.999Z",
    ]


def test_objects_of_python_are_instants():
    """Notebooks pass what they hold; a fraction below the millisecond is cut like in text, also before 1970."""
    assert parse_when(datetime(2026, 9, 16, 0, 0, 0, 999_999, tzinfo=UTC), now_ms=NOW).ms == ms(2026, 9, 16) + 999
    assert parse_when(whenever.Instant.from_utc(2026, 9, 16), now_ms=NOW).ms == ms(2026, 9, 16)
    before = whenever.Instant.from_timestamp(-1, unit="nanosecond")
    assert parse_when(before, now_ms=NOW).ms == -1


@pytest.mark.parametrize("value", [datetime(2026, 9, 16), whenever.PlainDateTime(2026, 9, 16), "2026-09-16T12:00"])
def test_a_naive_time_is_refused_with_the_fix(value):
    """Guessing a zone gives a wrong answer that looks right."""
    with pytest.raises(NaiveTimeError, match="has no time zone") as caught:
        parse_when(value, now_ms=NOW)
    assert caught.value.code == "naive-time"
    assert "utc" in caught.value.hint or "Z" in caught.value.hint


@pytest.mark.parametrize("value", [5, 5.0, True, None, date(2026, 9, 16)])
def test_other_objects_are_refused(value):
    """A bare number may be seconds or milliseconds; only `@` says which."""
    with pytest.raises(UsageError, match="is not a time"):
        parse_when(value, now_ms=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "tomorrow", "noon", "3", "3 months", "3 fortnights ago", "-3d", "3D", "ago", "NOW", "2026-9-1",
        "2026-09-16T12Z", "2026-09-16T12:00z", "2026-09-16T12:00+0200", "2026-09-16T12:00:00,5Z", "20260916",
        "2026-09-16T12:00:00.Z", "2026-09-16T12:00:00.1234567890Z", "2026-09-16T12:00 Z", "@", "@1.", "@ 1",
        "２０２６-09-16", "@٣", "2026-09-16Z", "@-5~", "~", "first~",
    ],
)  # fmt: skip
def test_unknown_words_are_refused_with_the_accepted_forms(text):
    """The message is where most people first meet the grammar."""
    with pytest.raises(UsageError) as caught:
        parse_when(text, now_ms=NOW)
    assert "2026-09-16T12:00:00Z" in caught.value.hint
    assert "3d ago" in caught.value.hint


@pytest.mark.parametrize("text", ["2026", "2026-Q3", "2026-09", "2026-W38", "last-week", "last-month", "last-quarter"])
def test_a_period_is_no_instant(text):
    """`as-of 2026-Q3` could mean either end, so the person decides."""
    with pytest.raises(UsageError) as caught:
        parse_when_or_rev(text, now_ms=NOW)
    assert "is a period, not an instant" in caught.value.why
    assert "~1" in caught.value.hint


@pytest.mark.parametrize("text", ["@9f31c2", "first", "last~2", "~1", "@id:12"])
def test_a_change_is_no_instant_where_only_instants_fit(text):
    """`--since last` would need a key to mean anything."""
    with pytest.raises(UsageError) as caught:
        parse_when(text, now_ms=NOW)
    assert "names a change" in caught.value.why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2025-02-29", "2025-02 has 28 days"),
        ("2100-02-29T00:00Z", "2100-02 has 28 days"),
        ("2026-04-31", "2026-04 has 30 days"),
        ("2026-13-01", "month"),
        ("2026-00-01", "month"),
        ("0000-01-01", "year"),
        ("2026-09-16T24:00Z", "hour"),
        ("2026-09-16T12:60Z", "minute"),
        ("2026-09-16T12:00:61Z", "second"),
        ("2016-12-31T23:59:60Z", "leap seconds"),
        ("2026-09-16T12:00+18:01", "not within"),
        ("2026-09-16T12:00+01:60", "not within"),
    ],
)
def test_dates_and_times_that_do_not_exist_say_why(text, why):
    """The first value outside each bound is refused, not rolled over into the next unit."""
    with pytest.raises(UsageError) as caught:
        parse_when(text, now_ms=NOW)
    assert why in caught.value.why


def test_now_is_the_last_instant_allowed():
    """The state of tomorrow is not known; the state of this millisecond is."""
    assert parse_when(format_ms(NOW), now_ms=NOW).ms == NOW
    for text in (format_ms(NOW + 1), "2026-11-24", "@99999999999999999999"):
        with pytest.raises(UsageError, match="in the future"):
            parse_when(text, now_ms=NOW)
    with pytest.raises(UsageError, match="in the future"):
        parse_when(datetime(2027, 1, 1, tzinfo=UTC), now_ms=NOW)


def test_milliseconds_after_at_are_explained():
    """Thirteen digits are the commonest mistake with unix time, and the year 52741 says nothing to anyone."""
    with pytest.raises(UsageError) as caught:
        parse_when("@1602179021123", now_ms=NOW)
    assert "@1602179021.123" in caught.value.hint
    assert parse_when("@1602179021.123", now_ms=NOW).ms == 1602179021123


def test_before_the_year_1_is_refused():
    """The calendar ends there, and so does what can be printed."""
    for text in ("999999999999999w", "0001-01-01T00:00+00:01"):
        with pytest.raises(UsageError, match="too long ago"):
            parse_when(text, now_ms=NOW)


def test_start_and_end_are_those_of_coverage():
    """They spare a look at `tables`; without a trail they mean nothing and are refused."""
    coverage = (ms(2026, 1, 4), ms(2026, 11, 1))
    assert parse_when("start", now_ms=NOW, coverage=coverage).ms == coverage[0]
    assert parse_when("end", now_ms=NOW, coverage=coverage).ms == coverage[1]
    with pytest.raises(UsageError, match="'end' cannot be used here"):
        parse_when("end", now_ms=NOW)


def test_a_configured_zone_reads_local_times():
    """Summer and winter differ by an hour, days begin at local midnight, and an offset in the text wins."""
    cases = {
        "2026-07-01T12:00": ms(2026, 7, 1, 10),
        "2026-01-01T12:00:00.25": ms(2026, 1, 1, 11) + 250,
        "2026-07-01T12:00Z": ms(2026, 7, 1, 12),
        "2026-07-01": ms(2026, 6, 30, 22),
        "today": ms(2026, 11, 22, 23),
        "yesterday": ms(2026, 11, 21, 23),
    }
    assert {text: parse_when(text, now_ms=NOW, zone=PARIS).ms for text in cases} == cases


@pytest.mark.parametrize(
    ("text", "what", "candidates"),
    [
        ("2026-10-25T02:30", "happens twice", ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")),
        ("2026-03-29T02:30", "does not exist", ("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00")),
    ],
)
def test_clock_changes_are_refused_with_both_candidates(text, what, candidates):
    """Either guess would be an hour off for somebody."""
    with pytest.raises(UsageError, match=what) as caught:
        parse_when(text, now_ms=NOW, zone=PARIS)
    assert all(candidate in caught.value.hint for candidate in candidates)
    assert all(parse_when(candidate, now_ms=NOW) for candidate in candidates)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-29T01:59:59", ms(2026, 3, 29, 0, 59, 59)),
        ("2026-03-29T03:00:00", ms(2026, 3, 29, 1)),
        ("2026-10-25T01:59:59", ms(2026, 10, 24, 23, 59, 59)),
        ("2026-10-25T03:00:00", ms(2026, 10, 25, 2)),
    ],
)
def test_the_seconds_beside_a_clock_change_are_plain(text, expected):
    """Only the hour that is skipped or repeated is in doubt, not its neighbours."""
    assert parse_when(text, now_ms=NOW, zone=PARIS).ms == expected


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("America/Sao_Paulo", "2018-11-04", ms(2018, 11, 4, 3)),  # midnight is skipped
        ("America/Havana", "2025-11-02", ms(2025, 11, 2, 4)),  # midnight happens twice
        ("America/Toronto", "1919-03-31", ms(1919, 3, 31, 4, 30)),  # clocks jump from 23:30 to 00:30
    ],
)
def test_a_day_begins_at_its_first_moment(zone, day, expected):
    """Where midnight is skipped or repeated the day still has a start, and no question arises."""
    assert parse_when(day, now_ms=NOW, zone=zone).ms == expected
    assert parse_period(day, now_ms=NOW, zone=zone).since_ms == expected


@pytest.mark.parametrize("zone", ["Nowhere/Town", "+02:00", "", "../UTC"])
def test_an_unknown_zone_is_refused(zone):
    """A misspelt zone that fell back to UTC would shift every answer."""
    with pytest.raises(UsageError, match="is not a time zone"):
        check_zone(zone)
    with pytest.raises(UsageError, match="is not a time zone"):
        parse_when("2026-09-16T12:00", now_ms=NOW, zone=zone)


# --- changes by name ---

REVS = [
    ("first", Rev("first")),
    ("last", Rev("last")),
    ("last~2", Rev("last", None, 2)),
    ("@9f31c2", Rev("id", "9f31c2")),
    ("@9f31c2~1", Rev("id", "9f31c2", 1)),
    ("@id:123456", Rev("id", "123456")),
    ("@id:123456~3", Rev("id", "123456", 3)),
    ("@id:12.5", Rev("id", "12.5")),
    ("@f07f8ca4-b0b2-6cb9-c4e5-e77e69f274ee", Rev("id", "f07f8ca4-b0b2-6cb9-c4e5-e77e69f274ee")),
    ("@12345678-1234", Rev("id", "12345678-1234")),
    ("@1e5", Rev("id", "1e5")),
    ("@first", Rev("id", "first")),
    ("@id:id:x", Rev("id", "id:x")),
]


@pytest.mark.parametrize(("text", "rev"), REVS)
def test_change_names_read_both_ways(text, rev):
    """What we print beside a change must name that change when it is typed."""
    assert parse_when_or_rev(text, now_ms=NOW) == rev
    assert rev.text == text


@given(
    st.text(min_size=1).filter(lambda text: not set(text) & {"~", "@"} and text == "".join(text.split())),
    st.integers(0, 999_999_999),
)
def test_any_change_id_can_be_named(prefix, back):
    """An eventID is an opaque text: 32 hex digits from streams, a UUID or anything else from elsewhere."""
    for rev in (Rev("id", prefix, back), Rev("first", None, back), Rev("last", None, back)):
        assert parse_when_or_rev(rev.text, now_ms=NOW) == rev


def test_a_bare_tilde_counts_from_the_last_change():
    """`~1` is the short form of the state before the last change."""
    assert parse_when_or_rev("~1", now_ms=NOW) == Rev("last", None, 1)
    assert parse_when_or_rev("~0", now_ms=NOW) == Rev("last")


def test_at_and_digits_is_a_time_even_where_a_change_fits():
    """The two must never trade places by the length of a number."""
    assert parse_when_or_rev("@123456", now_ms=NOW) == Instant(123456000, "@123456", "1970-01-02T10:17:36Z")
    with pytest.raises(UsageError) as caught:
        parse_when_or_rev("@123456~1", now_ms=NOW)
    assert "@id:123456~1" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["@", "@id:", "@id:~1", "@a b", "@a~", "@a~x", "@a~~1", "first~-1", "~1000000000", "@a@b"]
)
def test_malformed_change_names_are_refused(text):
    """The hint shows the forms of both kinds where both are accepted."""
    with pytest.raises(UsageError) as caught:
        parse_when_or_rev(text, now_ms=NOW)
    assert "@9f31c2~1" in caught.value.hint


# --- periods ---

PERIODS = [
    ("2025", (2025, 1, 1), (2026, 1, 1)),
    ("2026", (2026, 1, 1), (2027, 1, 1)),
    ("2026-Q1", (2026, 1, 1), (2026, 4, 1)),
    ("2026-Q3", (2026, 7, 1), (2026, 10, 1)),
    ("2025-Q4", (2025, 10, 1), (2026, 1, 1)),
    ("2024-02", (2024, 2, 1), (2024, 3, 1)),
    ("2025-12", (2025, 12, 1), (2026, 1, 1)),
    ("2020-W53", (2020, 12, 28), (2021, 1, 4)),
    ("2026-W01", (2025, 12, 29), (2026, 1, 5)),
    ("2026-W38", (2026, 9, 14), (2026, 9, 21)),
    ("2024-02-29", (2024, 2, 29), (2024, 3, 1)),
    ("2025-12-31", (2025, 12, 31), (2026, 1, 1)),
    ("today", (2026, 11, 23), (2026, 11, 24)),
    ("yesterday", (2026, 11, 22), (2026, 11, 23)),
    ("last-week", (2026, 11, 16), (2026, 11, 23)),
    ("last-month", (2026, 10, 1), (2026, 11, 1)),
    ("last-quarter", (2026, 7, 1), (2026, 10, 1)),
]


@pytest.mark.parametrize(("text", "since", "until"), PERIODS, ids=[case[0] for case in PERIODS])
def test_periods_are_half_open(text, since, until):
    """A period ends where the next begins, so that none is counted twice and no last second is lost."""
    assert parse_period(text, now_ms=NOW) == Period(ms(*since), ms(*until), text)


def test_a_year_is_its_quarters_months_and_weeks():
    """Periods of each kind follow one another without gap or overlap across the whole year."""
    for names in (
        [f"2024-Q{quarter}" for quarter in range(1, 5)] + ["2025"],
        [f"2024-{month:02}" for month in range(1, 13)] + ["2025-01"],
        [f"2020-W{week:02}" for week in range(1, 54)] + ["2021-W01"],
    ):
        periods = [parse_period(name, now_ms=NOW, zone=PARIS) for name in names]
        assert [period.until_ms for period in periods[:-1]] == [period.since_ms for period in periods[1:]]


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1)))
def test_relative_periods_end_before_today(moment):
    """`last-…` is a whole unit already over, of its own length, and next to the one that holds now."""
    now_ms = int(moment.replace(tzinfo=UTC).timestamp() * 1000)
    days = {
        name: (period.until_ms - period.since_ms) // 86_400_000
        for name in ("last-week", "last-month", "last-quarter")
        if (period := parse_period(name, now_ms=now_ms)).until_ms <= now_ms
    }
    assert days["last-week"] == 7
    assert 28 <= days["last-month"] <= 31
    assert 90 <= days["last-quarter"] <= 92


def test_last_quarter_crosses_the_year():
    """In February the last quarter lies in the year before."""
    assert parse_period("last-quarter", now_ms=ms(2026, 2, 28)) == Period(
        ms(2025, 10, 1), ms(2026, 1, 1), "last-quarter"
    )
    assert parse_period("last-month", now_ms=ms(2026, 1, 1)).since_ms == ms(2025, 12, 1)


def test_days_with_a_clock_change_have_23_or_25_hours():
    """A local day is what its people lived through, not 24 hours."""
    hours = {
        day: (period.until_ms - period.since_ms) / 3_600_000
        for day in ("2026-03-28", "2026-03-29", "2026-10-25")
        if (period := parse_period(day, now_ms=NOW, zone=PARIS))
    }
    assert hours == {"2026-03-28": 24, "2026-03-29": 23, "2026-10-25": 25}


def test_a_running_period_may_reach_beyond_now_but_not_begin_there():
    """`2026-Q4` in November is a fair question; `2027` is a mistake."""
    assert parse_period("2026-Q4", now_ms=NOW).until_ms == ms(2027, 1, 1)
    assert parse_period("2026-11-24", now_ms=ms(2026, 11, 24)).since_ms == ms(2026, 11, 24)
    with pytest.raises(UsageError, match="has not begun"):
        parse_period("2026-11-24", now_ms=ms(2026, 11, 24) - 1)


def test_a_day_that_a_zone_skipped_is_refused():
    """Samoa went from 29 to 31 December 2011; an empty answer would look like silence."""
    with pytest.raises(UsageError, match="is not a day in Pacific/Apia"):
        parse_period("2011-12-30", now_ms=NOW, zone="Pacific/Apia")


@pytest.mark.parametrize(
    "text",
    ["", "2026-Q0", "2026-Q5", "2026-13", "2026-00", "2026-W00", "2026-W54", "2025-W53", "26", "2026-q3", "2025-02-29",
     "0000", "9999", "next-week", "3d", "now", "2026-09-16T00:00Z", "2026-W1", "@1602179021", "2026-Q3-01"],
)  # fmt: skip
def test_what_is_no_period_is_refused(text):
    """2025 has no week 53, and an instant has no length."""
    with pytest.raises(UsageError):
        parse_period(text, now_ms=NOW)


def test_the_resolved_range_is_echoed():
    """The person sees which instants were meant, and in which zone."""
    period = parse_period("2026-Q3", now_ms=NOW)
    echoed = "2026-07-01T00:00:00Z ≤ t < 2026-10-01T00:00:00Z (2026-Q3, UTC)"
    assert period.echo == echoed == echo_range(period.since_ms, period.until_ms, "2026-Q3")
    assert parse_period("2026-07-01", now_ms=NOW, zone=PARIS).echo == (
        "2026-06-30T22:00:00Z ≤ t < 2026-07-01T22:00:00Z (2026-07-01, Europe/Paris)"
    )
    assert echo_range(None, 0, "") == "t < 1970-01-01T00:00:00Z (UTC)"
    assert echo_range(0, None, "--since 0") == "1970-01-01T00:00:00Z ≤ t (--since 0, UTC)"


def test_an_error_is_three_lines():
    """What failed, why, and what to type next, in the manner of the house: lower case, no full stop."""
    with pytest.raises(UsageError) as caught:
        parse_when("2026-09-16T12:00", now_ms=NOW)
    assert caught.value.three_lines() == (
        "'2026-09-16T12:00' has no time zone\n"
        "it would be a different instant in every zone, and none is configured\n"
        "type 2026-09-16T12:00Z for UTC, add an offset such as +02:00, or set --tz Europe/Paris"
    )
    assert (str(caught.value), caught.value.exit_code) == ("'2026-09-16T12:00' has no time zone", 2)
