"""Response times worked by hand: service hours over weekends and holidays, pauses, abandoned calls, open cases."""

from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction

import pytest

from agent.sla.case import Moment
from agent.sla.responses import evaluate_events
from agent.sla.terms.contract import EventTerms, Metric, Objective, Statistic, StatisticType, Target, Window
from agent.sla.terms.events import Event
from agent.sla.terms.incidents import Pause
from agent.sla.time import calendar
from agent.sla.time.calendar import from_datetime
from agent.sla.time.hours import Daily, Hours
from agent.sla.time.zones import zone
from agent.sla.verdict import VerdictState, decide
from tests.fakes.contracts import contract
from tests.fakes.worked import Case

SECOND = 10**9
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
BERLIN = "Europe/Berlin"
OCTOBER = calendar.parse("2026-10", BERLIN)
OFFICE = Hours(
    (Daily(frozenset(range(5)), 480, 1080),), BERLIN, "exclude", frozenset({date(2026, 12, 25), date(2026, 12, 26)})
)


def ns(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=zone(BERLIN).info))


def event(name: str, start: str, end: str = "", kind: str = "call", **more: object) -> Event:
    stamps = {"start": ns(start)} | ({"end": ns(end)} if end else {})
    return Event(name, kind, stamps, 0, **more)  # type: ignore[arg-type]


def pause(start: str, end: str, reason: str = "waiting_for_customer") -> Pause:
    return Pause(ns(start), ns(end) if end else None, reason)


def promise(
    target: str | Fraction, kind: StatisticType = StatisticType.RATIO_WITHIN, limit_ns: int | None = 20 * SECOND,
    p: Fraction | None = None, **terms: object,
) -> Objective:  # fmt: skip
    days = terms.pop("days", None)
    statistic = Statistic(kind, p=p, limit=None if limit_ns is None else Fraction(limit_ns), limit_days=days)  # type: ignore[arg-type]
    wanted = Target(Fraction(target), str(target))
    return Objective("o", Metric.EVENT, statistic, wanted, Window("month"), events=EventTerms("call", **terms))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Given:
    objective: Objective
    events: tuple[Event, ...]
    now: str = "2026-12-31 00:00"
    holidays: tuple[date, ...] = ()
    window: calendar.WindowInstants = field(default=OCTOBER)


Expected = tuple[VerdictState, Fraction | None, Fraction | None, Fraction | None]
"""State, value, best, worst."""


def calls(*seconds: int) -> tuple[Event, ...]:
    """One call a minute, each answered after so many seconds."""
    first = ns("2026-10-05 10:00")
    return tuple(
        Event(f"T-{index}", "call", {"start": first + index * MINUTE, "end": first + index * MINUTE + wait * SECOND}, 0)
        for index, wait in enumerate(seconds)
    )


DAY_OF_WORK = promise("1", limit_ns=2 * HOUR, hours=OFFICE)

CASES: list[Case[Given, Expected]] = [
    Case(
        "95 % in 20 s, met to the call",
        """
        20 calls: 18 answered in 5 s, one in exactly 20 s, one in 21 s. In time: 18 + 1 = 19. 19/20 = 95 %: kept.
        """,
        Given(promise("0.95"), calls(*[5] * 18, 20, 21)),
        (VerdictState.MET, Fraction(19, 20), Fraction(19, 20), Fraction(19, 20)),
    ),
    Case(
        "95 % in 20 s, missed by one call",
        "20 calls, two of them late: 18/20 = 90 %.",
        Given(promise("0.95"), calls(*[5] * 18, 21, 21)),
        (VerdictState.BREACHED, Fraction(9, 10), Fraction(9, 10), Fraction(9, 10)),
    ),
    Case(
        "A call belongs to the month it begins in",
        """
        The first call begins on 30 September 23:59:50 and is answered in October: it is September's. The second begins
        on 31 October 23:59:59 and is answered in November after 30 s: October's, and late. 0 of 1 in time.
        """,
        Given(
            promise("0.95"),
            (
                event("a", "2026-09-30 23:59:50", "2026-10-01 00:00:20"),
                event("b", "2026-10-31 23:59:59", "2026-11-01 00:00:29"),
            ),
        ),
        (VerdictState.BREACHED, Fraction(0), Fraction(0), Fraction(0)),
    ),
    Case(
        "Two hours over a weekend",
        """
        From Friday 9 October 17:00 to Monday 12 October 09:00: Friday 17 to 18 is 1 h, Monday 08 to 09 is 1 h: 2 h, in
        time to the second.
        """,
        Given(DAY_OF_WORK, (event("a", "2026-10-09 17:00", "2026-10-12 09:00"),)),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "Two hours and a second",
        "One second later it is late.",
        Given(DAY_OF_WORK, (event("a", "2026-10-09 17:00", "2026-10-12 09:00:01"),)),
        (VerdictState.BREACHED, Fraction(0), Fraction(0), Fraction(0)),
    ),
    Case(
        "Over the night in which the clock goes back",
        """
        From Friday 23 October 17:30 (+2) to Monday 26 October 09:30 (+1): 30 min and 90 min are 2 h of service time.
        """,
        Given(DAY_OF_WORK, (event("a", "2026-10-23 17:30", "2026-10-26 09:30"),)),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "Over Christmas",
        """
        From Thursday 24 December 17:00 to Monday 28 December 09:00: Thursday 1 h, Friday is a holiday, Saturday and
        Sunday do not count, Monday 1 h. 2 h: in time.
        """,
        Given(
            DAY_OF_WORK, (event("a", "2026-12-24 17:00", "2026-12-28 09:00"),), now="2027-01-31 00:00",
            window=calendar.parse("2026-12", BERLIN),
        ),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "A report at night begins to count in the morning",
        "Reported on Monday at 23:00, answered on Tuesday at 10:00: 08:00 to 10:00 is 2 h.",
        Given(DAY_OF_WORK, (event("a", "2026-10-05 23:00", "2026-10-06 10:00"),)),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "A pause that the customer is the reason of",
        """
        Monday 09:00 to 12:00 is 3 h. From 09:30 to 11:00 the provider waited for the customer: 3 h - 1 h 30 min = 1 h
        30 min: within 2 h.
        """,
        Given(
            promise("1", limit_ns=2 * HOUR, hours=OFFICE, pauses=("waiting_for_customer",)),
            (event("a", "2026-10-05 09:00", "2026-10-05 12:00",
                   pauses=(pause("2026-10-05 09:30", "2026-10-05 11:00"),)),),
        ),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "A pause is worth at most its cap, and other reasons nothing",
        """
        The same, with pauses of at most 30 min: 3 h - 30 min = 2 h 30 min: late. The hour of `lunch` never counted.
        """,
        Given(
            promise("1", limit_ns=2 * HOUR, hours=OFFICE, pauses=("waiting_for_customer",), pause_cap_ns=30 * MINUTE),
            (event("a", "2026-10-05 09:00", "2026-10-05 12:00",
                   pauses=(pause("2026-10-05 09:30", "2026-10-05 11:00"),
                           pause("2026-10-05 11:00", "2026-10-05 12:00", "lunch"))),),
        ),
        (VerdictState.BREACHED, Fraction(0), Fraction(0), Fraction(0)),
    ),
    Case(
        "A pause at night takes nothing off",
        """
        Monday 17:00 to Tuesday 09:00: 2 h. A pause from 18:00 to 08:00 lies outside the hours: 2 h - 0 = 2 h.
        """,
        Given(
            promise("1", limit_ns=2 * HOUR, hours=OFFICE, pauses=("waiting_for_customer",)),
            (event("a", "2026-10-05 17:00", "2026-10-06 09:00",
                   pauses=(pause("2026-10-05 18:00", "2026-10-06 08:00"),)),),
        ),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "Abandoned calls are left out",
        "3 calls: one answered in 5 s, one late, one given up after 60 s. 1 of 2.",
        Given(
            promise("0.5"),
            (*calls(5, 30), event("x", "2026-10-05 11:00", abandoned_ns=ns("2026-10-05 11:01"))),
        ),
        (VerdictState.MET, Fraction(1, 2), Fraction(1, 2), Fraction(1, 2)),
    ),
    Case(
        "Abandoned calls count as late where they had waited too long",
        """
        Given up after 60 s: over 20 s, late. Given up after 10 s: left out. Answered in 5 s: in time. 1 of 2.
        """,
        Given(
            promise("0.5", abandoned="late_if_over"),
            (
                *calls(5),
                event("x", "2026-10-05 11:00", abandoned_ns=ns("2026-10-05 11:01")),
                event("y", "2026-10-05 12:00", abandoned_ns=ns("2026-10-05 12:00:10")),
            ),
        ),
        (VerdictState.MET, Fraction(1, 2), Fraction(1, 2), Fraction(1, 2)),
    ),
    Case(
        "An open case that is not over the limit yet",
        """
        Seen on 31 October 23:59:55 from the month's end on, 5 s after the last call: nobody knows of that one.
        3 in time, 1 open. Known: 3/3. Best 4/4, worst 3/4 = 75 %, below 80 %: no verdict, as only 3 of 4 are known.
        """,
        Given(
            promise("0.8", limit_ns=20 * SECOND),
            (*calls(5, 5, 5), event("x", "2026-10-31 23:59:55")),
            now="2026-11-01 00:00",
        ),
        (VerdictState.INCONCLUSIVE, Fraction(1), Fraction(1), Fraction(3, 4)),
    ),
    Case(
        "An open case over the limit is late whatever becomes of it",
        "The same, seen a minute later: 65 s, over 20 s. 3 of 4 = 75 %.",
        Given(
            promise("0.8", limit_ns=20 * SECOND),
            (*calls(5, 5, 5), event("x", "2026-10-31 23:59:55")),
            now="2026-11-01 00:01",
        ),
        (VerdictState.BREACHED, Fraction(3, 4), Fraction(3, 4), Fraction(3, 4)),
    ),
    Case(
        "Only these priorities",
        "One P1 in time, one P3 late: the promise is for P1. 1 of 1.",
        Given(
            promise("1", priorities=("P1",)),
            (
                event("a", "2026-10-05 09:00", "2026-10-05 09:00:05", priority="P1"),
                event("b", "2026-10-05 09:00", "2026-10-05 09:30", priority="P3"),
            ),
        ),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "Nothing has happened",
        "No call in October: nothing could be late. Kept, with the remark that there were none.",
        Given(promise("0.95"), (event("a", "2026-11-05 09:00", "2026-11-05 09:30"),)),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "The mean of response times",
        "10 s, 20 s and 60 s: 90 / 3 = 30 s. Promised at most 30 s: kept.",
        Given(promise(str(30 * SECOND), StatisticType.MEAN, None), calls(10, 20, 60)),
        (VerdictState.MET, Fraction(30 * SECOND), Fraction(30 * SECOND), Fraction(30 * SECOND)),
    ),
    Case(
        "The 90th percentile by nearest rank",
        """
        Ten times of 1 s to 10 s: the rank is 0.9 x 10 = 9, the ninth smallest is 9 s. Promised at most 8 s: broken.
        """,
        Given(promise(str(8 * SECOND), StatisticType.PERCENTILE, None, Fraction(9, 10)), calls(*range(1, 11))),
        (VerdictState.BREACHED, Fraction(9 * SECOND), Fraction(9 * SECOND), Fraction(9 * SECOND)),
    ),
    Case(
        "The longest, while one is still open",
        """
        Closed ones took 5 s and 10 s; one is open for 65 s. The longest is at least 65 s: over 60 s, broken already.
        """,
        Given(
            promise(str(60 * SECOND), StatisticType.LONGEST, None),
            (*calls(5, 10), event("x", "2026-10-31 23:59:55")),
            now="2026-11-01 00:01",
        ),
        (VerdictState.BREACHED, Fraction(65 * SECOND), Fraction(65 * SECOND), None),
    ),
    Case(
        "At most one late notice in a month",
        "Three notices within 15 min: after 10, 16 and 20 min. Two are late; one was allowed.",
        Given(promise("1", StatisticType.COUNT, 15 * MINUTE), calls(600, 960, 1200)),
        (VerdictState.BREACHED, Fraction(2), Fraction(2), Fraction(2)),
    ),
    Case(
        "Five business days, to the last moment and one second more",
        """
        Both placed on Monday 5 October, which does not count: 6, 7, 8, 9 and, after the weekend, 12 October. Until the
        12th 24:00 is in time: the first is, at 23:59:59; the second, at 24:00, is not. 1/2.
        """,
        Given(
            promise("0.9", limit_ns=None, days=5),
            (
                event("a", "2026-10-05 16:00", "2026-10-12 23:59:59"),
                event("b", "2026-10-05 08:00", "2026-10-13 00:00"),
            ),
        ),
        (VerdictState.BREACHED, Fraction(1, 2), Fraction(1, 2), Fraction(1, 2)),
    ),
    Case(
        "Three business days over a holiday and a change of the clocks",
        """
        Placed on Friday 23 October. The weekend does not count, in which the clocks are set back, nor does Monday 26, a
        holiday: 27, 28 and 29 October. Delivered on the 29th at 17:00: in time.
        """,
        Given(
            promise("1", limit_ns=None, days=3), (event("a", "2026-10-23 10:00", "2026-10-29 17:00"),),
            holidays=(date(2026, 10, 26),),
        ),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "An order that nobody delivered, before its last day is over and after",
        """
        Placed on Monday 5 October with 2 business days, to the end of the 7th. On the 8th at 00:00 it is late, of two:
        the other was delivered the same day. 1/2.
        """,
        Given(
            promise("0.9", limit_ns=None, days=2),
            (event("a", "2026-10-05 10:00"), event("b", "2026-10-05 10:00", "2026-10-05 12:00")),
            now="2026-11-08 00:00",
        ),
        (VerdictState.BREACHED, Fraction(1, 2), Fraction(1, 2), Fraction(1, 2)),
    ),
    Case(
        "Open cases are left out where the contract says so",
        "Two answered in 5 s, one open for months: of the two, two are in time.",
        Given(promise("1", unfinished="excluded"), (*calls(5, 5), event("x", "2026-10-06 10:00"))),
        (VerdictState.MET, Fraction(1), Fraction(1), Fraction(1)),
    ),
    Case(
        "Open cases are late where the contract says so",
        "Two answered in 5 s, one that began 10 s ago: within its limit still, and late until it has its end: 2/3.",
        Given(
            promise("0.6", unfinished="late"), (*calls(5, 5), event("x", "2026-10-31 23:59:55")),
            now="2026-11-01 00:00:05",
        ),
        (VerdictState.MET, Fraction(2, 3), Fraction(2, 3), Fraction(2, 3)),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_worked_events(case: Case[Given, Expected]) -> None:
    given = case.given
    now = ns(given.now)
    signed = contract(given.objective, zone=BERLIN, holidays=given.holidays)
    found = evaluate_events(given.objective, given.events, given.window, Moment(now, 0, contract=signed)).findings
    decision = decide(given.objective, given.objective.target.value, found, closed=given.window.closed(now))
    estimate = found.estimate
    assert (decision.state, estimate.value, estimate.best, estimate.worst) == case.expected
