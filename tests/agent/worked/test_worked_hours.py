"""Service hours worked by hand: weekends, holidays, and days on which the clock moves."""

from datetime import date

import pytest

from agent.sla.time.calendar import parse_instant
from agent.sla.time.hours import Daily, Hours, after, business_day_deadline, worked
from tests.fakes.worked import Case

MINUTE = 60 * 10**9
WEEK, EVERY_DAY, SUNDAY = frozenset(range(5)), frozenset(range(7)), frozenset({6})
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
CHRISTMAS = frozenset({date(2026, 12, 25), date(2026, 12, 26)})


def office(zone: str, holidays: str = "exclude", dates: frozenset[date] = frozenset()) -> Hours:
    """Monday to Friday from 08:00 to 18:00."""
    return Hours((Daily(WEEK, 480, 1080),), zone, holidays, dates)  # type: ignore[arg-type]


def nights(zone: str) -> Hours:
    """Every day from 01:00 to 05:00."""
    return Hours((Daily(EVERY_DAY, 60, 300),), zone)


Given = tuple[Hours, str, str]
"""Hours, from, to."""

CASES: list[Case[Given, int]] = [
    Case(
        "An ordinary week",
        "Monday 5 to Monday 12 October 2026, Mon-Fri 08:00-18:00: 5 days x 10 h = 50 h = 3000 min.",
        (office(BERLIN), "2026-10-05T00:00:00+02:00", "2026-10-12T00:00:00+02:00"),
        3000,
    ),
    Case(
        "From Friday afternoon to Monday morning",
        """
        Friday 9 October 16:30 to 18:00: 90 min. Saturday and Sunday: nothing.
        Monday 12 October 08:00 to 09:15: 75 min. 90 + 75 = 165 min.
        """,
        (office(BERLIN), "2026-10-09T16:30:00+02:00", "2026-10-12T09:15:00+02:00"),
        165,
    ),
    Case(
        "Office hours do not feel the end of summer time",
        """
        Friday 23 October 2026 17:00 (+2) to Monday 26 October 09:00 (+1). The clock goes back on Sunday at 03:00.
        Friday 17:00 to 18:00: 60 min. Monday 08:00 to 09:00, both in winter time: 60 min. Together 120 min,
        though 65 h have passed and the clock on the wall says 64.
        """,
        (office(BERLIN), "2026-10-23T17:00:00+02:00", "2026-10-26T09:00:00+01:00"),
        120,
    ),
    Case(
        "A night with an hour twice",
        """
        01:00 to 05:00 on 25 October 2026 in Berlin: 01 to 02, 02 to 03 (summer), 02 to 03 again (winter), 03 to 04,
        04 to 05. That is 5 h = 300 min.
        """,
        (nights(BERLIN), "2026-10-25T00:00:00+02:00", "2026-10-25T12:00:00+01:00"),
        300,
    ),
    Case(
        "A night that lacks an hour",
        "01:00 to 05:00 on 29 March 2026 in Berlin: 01 to 02, then 03 to 05. That is 3 h = 180 min.",
        (nights(BERLIN), "2026-03-29T00:00:00+01:00", "2026-03-29T12:00:00+02:00"),
        180,
    ),
    Case(
        "The night of 1 November in New York",
        "At 02:00 it becomes 01:00 again. 01 to 02 twice, 02 to 05 once: 5 h = 300 min.",
        (nights(NEW_YORK), "2026-11-01T00:00:00-04:00", "2026-11-01T12:00:00-05:00"),
        300,
    ),
    Case(
        "Half an hour twice on Lord Howe Island",
        "On 5 April 2026 at 02:00 it becomes 01:30: 01:30 to 02:00 comes twice. 4 h + 30 min = 270 min.",
        (nights(LORD_HOWE), "2026-04-05T00:00:00+11:00", "2026-04-05T12:00:00+10:30"),
        270,
    ),
    Case(
        "Half an hour left out on Lord Howe Island",
        "On 4 October 2026 at 02:00 it becomes 02:30. 4 h - 30 min = 210 min.",
        (nights(LORD_HOWE), "2026-10-04T00:00:00+10:30", "2026-10-04T12:00:00+11:00"),
        210,
    ),
    Case(
        "Christmas takes a Friday out",
        """
        21 to 28 December 2026, Mon-Fri 08:00-18:00. Holidays: Friday 25 and Saturday 26 December.
        Monday to Thursday: 4 x 10 h = 40 h = 2400 min; the Saturday would not have counted anyway.
        """,
        (office(BERLIN, dates=CHRISTMAS), "2026-12-21T00:00:00+01:00", "2026-12-28T00:00:00+01:00"),
        2400,
    ),
    Case(
        "Hours of holidays only",
        """
        The same week, for a service that runs on holidays only: Friday 25 December 08:00 to 18:00 = 600 min. The 26th
        is a Saturday, and the hours are those of Monday to Friday.
        """,
        (office(BERLIN, "only", CHRISTMAS), "2026-12-21T00:00:00+01:00", "2026-12-28T00:00:00+01:00"),
        600,
    ),
    Case(
        "Two stretches that overlap count once",
        """
        Mon-Fri 08:00-18:00 and every day 12:00-20:00. Monday 5 October: 08:00 to 20:00 = 12 h. Sunday 4 October:
        12:00 to 20:00 = 8 h. Together 20 h = 1200 min.
        """,
        (
            Hours((Daily(WEEK, 480, 1080), Daily(EVERY_DAY, 720, 1200)), BERLIN),
            "2026-10-04T00:00:00+02:00",
            "2026-10-06T00:00:00+02:00",
        ),
        1200,
    ),
    Case(
        "A day that Samoa left out",
        """
        From Thursday 29 December 2011 12:00 (UTC-10) to Saturday 31 December 12:00 (UTC+14) 24 h pass: Friday never
        was. Mon-Fri 08:00-18:00: Thursday 12:00 to 18:00 = 6 h = 360 min; Saturday does not count.
        """,
        (office("Pacific/Apia"), "2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00"),
        360,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_worked_hours(case: Case[Given, int]) -> None:
    hours, start, end = case.given
    assert worked(hours, parse_instant(start), parse_instant(end)) == case.expected * MINUTE


AFTER: list[Case[Given, int]] = [
    Case(
        "Two hours from Friday 17:00",
        "Friday 23 October 17:00 to 18:00 is one hour, Monday 26 October 08:00 to 09:00 the second: Monday 09:00 +1.",
        (office(BERLIN), "2026-10-23T17:00:00+02:00", "2026-10-26T09:00:00+01:00"),
        120,
    ),
    Case(
        "Four hours at night when an hour comes twice",
        """
        From 25 October 2026 00:00: hours 1 to 2, 2 to 3, 2 to 3 again, 3 to 4 make 4 h: it is 04:00 +1.
        """,
        (nights(BERLIN), "2026-10-25T00:00:00+02:00", "2026-10-25T04:00:00+01:00"),
        240,
    ),
    Case(
        "The end of a working day is not the start of the next",
        "10 h from Monday 08:00 are over on Monday at 18:00, not on Tuesday at 08:00.",
        (office(BERLIN), "2026-10-05T08:00:00+02:00", "2026-10-05T18:00:00+02:00"),
        600,
    ),
]


@pytest.mark.parametrize("case", AFTER, ids=str)
def test_worked_ends(case: Case[Given, int]) -> None:
    hours, start, end = case.given
    assert after(hours, parse_instant(start), case.expected * MINUTE) == parse_instant(end)


DEADLINES: list[Case[tuple[date, int, bool], date]] = [
    Case(
        "Thirty days after a month's end",
        "October ends on the 31st. 30 days later: 30 November (November has 30 days).",
        (date(2026, 10, 31), 30, False),
        date(2026, 11, 30),
    ),
    Case(
        "Seven business days after a month's end",
        """
        31 October 2026 is a Saturday. Mon 2, Tue 3, Wed 4, Thu 5, Fri 6 November are five; Mon 9 and Tue 10 make seven.
        """,
        (date(2026, 10, 31), 7, True),
        date(2026, 11, 10),
    ),
    Case(
        "Five business days over Christmas and New Year",
        """
        From Wednesday 23 December 2026: Thu 24 is the first; Fri 25 and Sat 26 are holidays, Sun 27 is none.
        Mon 28, Tue 29, Wed 30 are two to four, Thu 31 is the fifth.
        """,
        (date(2026, 12, 23), 5, True),
        date(2026, 12, 31),
    ),
    Case(
        "One business day before a leap day",
        "28 February 2028 is a Monday; the next day is Tuesday, 29 February.",
        (date(2028, 2, 28), 1, True),
        date(2028, 2, 29),
    ),
]


@pytest.mark.parametrize("case", DEADLINES, ids=str)
def test_worked_deadlines(case: Case[tuple[date, int, bool], date]) -> None:
    day, days, business = case.given
    assert business_day_deadline(None, BERLIN, day, days, business, CHRISTMAS) == case.expected
