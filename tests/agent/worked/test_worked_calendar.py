"""Windows worked by hand: months in which the clock moves, leap days, month ends, billing months, contract years."""

from datetime import date

import pytest

from agent.sla.terms.contract import Window
from agent.sla.time.calendar import parse_instant, window_at
from tests.fakes.worked import Case

HOUR = 3600 * 10**9
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"

Given = tuple[Window, str, str]
"""Window, zone, an instant in it."""
Expected = tuple[str, str, str]
"""First instant, end, length in hours."""

CASES: list[Case[Given, Expected]] = [
    Case(
        "October in Berlin has an hour more",
        """
        On 25 October 2026 at 03:00 the clock goes back to 02:00: summer time (UTC+2) ends, winter time (UTC+1) begins.
        1 October 00:00 +2 = 30 September 22:00 UTC. 1 November 00:00 +1 = 31 October 23:00 UTC.
        31 x 24 h = 744 h, and the hour from 02:00 to 03:00 twice: 745 h.
        """,
        (Window("month"), BERLIN, "2026-10-15T12:00:00Z"),
        ("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", "745"),
    ),
    Case(
        "March in Berlin has an hour less",
        """
        On 29 March 2026 at 02:00 the clock goes on to 03:00.
        1 March 00:00 +1 = 28 February 23:00 UTC. 1 April 00:00 +2 = 31 March 22:00 UTC.
        31 x 24 h = 744 h, less the hour that is left out: 743 h.
        """,
        (Window("month"), BERLIN, "2026-03-15T12:00:00Z"),
        ("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", "743"),
    ),
    Case(
        "November in New York has an hour more",
        """
        Summer time ends on the first Sunday of November, 1 November 2026, at 02:00 (UTC-4 becomes UTC-5).
        1 November 00:00 -4 = 04:00 UTC. 1 December 00:00 -5 = 05:00 UTC.
        30 x 24 h + 1 h = 721 h.
        """,
        (Window("month"), NEW_YORK, "2026-11-20T00:00:00Z"),
        ("2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z", "721"),
    ),
    Case(
        "March in New York has an hour less",
        """
        Summer time begins on the second Sunday of March, 8 March 2026.
        1 March 00:00 -5 = 05:00 UTC. 1 April 00:00 -4 = 04:00 UTC. 31 x 24 h - 1 h = 743 h.
        """,
        (Window("month"), NEW_YORK, "2026-03-20T00:00:00Z"),
        ("2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z", "743"),
    ),
    Case(
        "April on Lord Howe Island has half an hour more",
        """
        The island moves its clocks by half an hour: on 5 April 2026 at 02:00 from UTC+11 to UTC+10:30.
        1 April 00:00 +11 = 31 March 13:00 UTC. 1 May 00:00 +10:30 = 30 April 13:30 UTC.
        30 x 24 h + 0.5 h = 720.5 h.
        """,
        (Window("month"), LORD_HOWE, "2026-04-15T00:00:00Z"),
        ("2026-03-31T13:00:00Z", "2026-04-30T13:30:00Z", "720.5"),
    ),
    Case(
        "October on Lord Howe Island has half an hour less",
        """
        On 4 October 2026 at 02:00 the clock goes on to 02:30, from UTC+10:30 to UTC+11.
        1 October 00:00 +10:30 = 30 September 13:30 UTC. 1 November 00:00 +11 = 31 October 13:00 UTC.
        31 x 24 h - 0.5 h = 743.5 h.
        """,
        (Window("month"), LORD_HOWE, "2026-10-15T00:00:00Z"),
        ("2026-09-30T13:30:00Z", "2026-10-31T13:00:00Z", "743.5"),
    ),
    Case(
        "February of a leap year",
        """
        2028 divides by 4 and is no century: February has 29 days. 29 x 24 h = 696 h.
        The clock of Berlin does not move in February: UTC+1 at both ends.
        """,
        (Window("month"), BERLIN, "2028-02-29T12:00:00Z"),
        ("2028-01-31T23:00:00Z", "2028-02-29T23:00:00Z", "696"),
    ),
    Case(
        "A billing month from the 31st is cut to the month's end",
        """
        Billing day 31. February 2026 has 28 days, so its billing month begins on the 28th.
        The instant is 1 March 00:30 in Berlin: after 28 February, before 31 March.
        28 February 00:00 +1 = 27 February 23:00 UTC. 31 March 00:00 +2 = 30 March 22:00 UTC.
        From 28 February to 31 March: 31 days x 24 h - 1 h (29 March) = 743 h.
        """,
        (Window("billing_month", billing_day=31), BERLIN, "2026-02-28T23:30:00Z"),
        ("2026-02-27T23:00:00Z", "2026-03-30T22:00:00Z", "743"),
    ),
    Case(
        "A billing month from the 15th over the end of summer time",
        """
        Billing day 15: from 15 October to 15 November 2026.
        15 October 00:00 +2 = 14 October 22:00 UTC. 15 November 00:00 +1 = 14 November 23:00 UTC.
        31 days x 24 h + 1 h (25 October) = 745 h.
        """,
        (Window("billing_month", billing_day=15), BERLIN, "2026-11-01T00:00:00Z"),
        ("2026-10-14T22:00:00Z", "2026-11-14T23:00:00Z", "745"),
    ),
    Case(
        "A contract year since 29 February",
        """
        The service began on 29 February 2024. 2025 and 2026 have no such day: the year begins on 28 February.
        28 February 2025 00:00 +1 = 27 February 23:00 UTC, one year later the same. 365 x 24 h = 8760 h.
        """,
        (Window("contract_year", anchor=date(2024, 2, 29)), BERLIN, "2025-12-31T00:00:00Z"),
        ("2025-02-27T23:00:00Z", "2026-02-27T23:00:00Z", "8760"),
    ),
    Case(
        "A contract year that ends on a leap day",
        """
        The same service: the year from 28 February 2027 lasts until 29 February 2028, which exists again.
        365 days from 28 February 2027 to 28 February 2028, and one more: 366 x 24 h = 8784 h.
        """,
        (Window("contract_year", anchor=date(2024, 2, 29)), BERLIN, "2028-02-28T12:00:00Z"),
        ("2027-02-27T23:00:00Z", "2028-02-28T23:00:00Z", "8784"),
    ),
    Case(
        "The week in which a year ends",
        """
        1 January 2027 is a Friday: it lies in the week from Monday, 28 December 2026, to Sunday, 3 January 2027.
        ISO 8601 counts it as week 53 of 2026, as its Thursday lies in 2026. 7 x 24 h = 168 h.
        """,
        (Window("week"), BERLIN, "2027-01-01T12:00:00Z"),
        ("2026-12-27T23:00:00Z", "2027-01-03T23:00:00Z", "168"),
    ),
    Case(
        "Months of 720 hours know no summer time",
        """
        720 h = 30 days of 24 h each from 1 March 2026 00:00 +1 = 28 February 23:00 UTC.
        30 days later it is 30 March 23:00 UTC, in Berlin 31 March 01:00: the next such month begins an hour late.
        """,
        (Window(None, fixed_ns=720 * HOUR, anchor=date(2026, 3, 1)), BERLIN, "2026-03-31T12:00:00Z"),
        ("2026-03-30T23:00:00Z", "2026-04-29T23:00:00Z", "720"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_worked_calendar(case: Case[Given, Expected]) -> None:
    window, zone, instant = case.given
    start, end, hours = case.expected
    found = window_at(window, zone, parse_instant(instant))
    assert (found.start_ns, found.end_ns) == (parse_instant(start), parse_instant(end))
    assert found.length_ns == int(float(hours) * HOUR)
