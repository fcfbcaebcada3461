"""Incidents worked by hand: both clocks, pauses over a change of the clocks, month ends, repair times, who answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest

from agent.sla.case import Moment
from agent.sla.faults.joining import incidents_of
from agent.sla.faults.repair import evaluate_outages, figures
from agent.sla.faults.responsibility import Neighbour, Surroundings, attribute
from agent.sla.terms.contract import Metric, Statistic, StatisticType
from agent.sla.terms.incidents import ClockTerms, Incident, Pause, Responsible, Stamp, Ticket
from agent.sla.time import calendar
from agent.sla.time.calendar import from_datetime
from agent.sla.time.spans import NOWHERE, Spans
from tests.fakes.contracts import contract, objective
from tests.fakes.worked import Case

SECOND = 10**9
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
BERLIN = "Europe/Berlin"
OCTOBER, NOVEMBER = calendar.parse("2026-10", BERLIN), calendar.parse("2026-11", BERLIN)
LATER = "2027-01-01T00:00Z"


def ns(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text))


def time(*pairs: tuple[str, str]) -> Spans:
    return Spans.of((ns(start), ns(end)) for start, end in pairs)


def ticket(name: str, pauses: Sequence[tuple[str, str, str]] = (), priority: str = "", **stamps: str) -> Ticket:
    return Ticket(
        name,
        ("c1",),
        {Stamp(stamp): ns(at) for stamp, at in stamps.items()},
        0,
        tuple(Pause(ns(start), ns(end) if end else None, reason) for start, end, reason in pauses),
        priority,
    )


@dataclass(frozen=True)
class Clocks:
    """Answer: of each incident its record, the contract's clock, what was paused, the measured clock, in minutes."""

    down: Spans
    tickets: tuple[Ticket, ...] = ()
    terms: ClockTerms = field(default_factory=ClockTerms)
    unknown: Spans = NOWHERE
    now: str = LATER

    def incidents(self, out: Spans = NOWHERE) -> tuple[Incident, ...]:
        return incidents_of(
            "c1", self.down, self.unknown, self.down - out, self.tickets, self.terms,
            dt_ns=10 * SECOND, n=3, now_ns=ns(self.now),
        )  # fmt: skip

    def answer(self) -> list[tuple[str, float | None, float, float | None]]:
        return [
            (
                item.basis,
                None if item.repair.contract_ns is None else item.repair.contract_ns / MINUTE,
                item.repair.paused_ns / MINUTE,
                None if item.repair.measured_ns is None else item.repair.measured_ns / MINUTE,
            )
            for item in self.incidents()
        ]


@dataclass(frozen=True)
class Promised:
    """Answer: value, best, worst of the statistic in each window; durations in minutes."""

    kind: StatisticType
    record: Clocks
    windows: tuple[calendar.WindowInstants, ...] = (OCTOBER,)
    out: Spans = NOWHERE
    more: dict[str, Any] = field(default_factory=dict)

    def answer(self) -> list[tuple[Fraction | None, ...]]:
        asked = objective(Metric.OUTAGE, 1, Statistic(self.kind, **self.more))
        terms = contract(asked, clock=self.record.terms)
        when = Moment(ns(self.record.now), 0, self.out, contract=terms, unknown=self.record.unknown)
        scale = 1 if self.kind in (StatisticType.COUNT, StatisticType.RATIO_WITHIN) else MINUTE
        found = []
        for window in self.windows:
            one = evaluate_outages(asked, self.record.incidents(self.out), window, when).findings.estimate
            found.append(tuple(None if item is None else item / scale for item in (one.value, one.best, one.worst)))
        return found


@dataclass(frozen=True)
class Party:
    """Answer: who answers, and by whom."""

    around: Surroundings
    tickets: tuple[Ticket, ...] = ()
    down: Spans = field(default_factory=lambda: time(("2026-10-05T10:00Z", "2026-10-05T11:00Z")))

    def answer(self) -> Responsible:
        return attribute(Clocks(self.down, self.tickets).incidents()[0], self.around).party


WHOLE = time(("2026-10-05T09:00Z", "2026-10-05T12:00Z"))
HOUR_DOWN = time(("2026-10-05T10:00Z", "2026-10-05T11:00Z"))


def well(name: str, provider: str = "Other", target: str = "") -> Neighbour:
    return Neighbour(name, target or name, provider, "", NOWHERE, WHOLE)


def failed(name: str, provider: str = "ExampleTel", site: str = "") -> Neighbour:
    return Neighbour(name, name, provider, site, HOUR_DOWN, WHOLE - HOUR_DOWN)


def around(**more: Any) -> Surroundings:
    return Surroundings(
        **({"provider": "ExampleTel", "target": "c1", "interface": "eth1", "carrier_down": NOWHERE} | more)
    )


TICKET_CLOCK = ClockTerms(Stamp.TICKET, Stamp.RESTORED, pauses=("customer_unavailable",))
ONE_HOUR = Clocks(HOUR_DOWN)
MONTH_END = Clocks(time(("2026-10-31T22:00Z", "2026-11-01T02:00Z")))
THREE = Clocks(
    time(
        ("2026-10-05T10:00Z", "2026-10-05T10:30Z"),
        ("2026-10-10T10:00Z", "2026-10-10T11:00Z"),
        ("2026-10-20T10:00Z", "2026-10-20T11:30Z"),
    )
)

CASES: list[Case[Any, Any]] = [
    Case(
        "Measured alone: fault to restored",
        "Down 10:00 to 11:00. No ticket, so fault and restored are measured: 60 min on both clocks.",
        ONE_HOUR,
        [("measured", 60, 0, 60)],
    ),
    Case(
        "The clock of the contract starts with the ticket",
        """
        Down 10:00 to 11:00, ticket at 10:20, no restored stamp in it: the measured end stops the clock.
        11:00 - 10:20 = 40 min; measured 60 min; difference -20 min.
        """,
        Clocks(HOUR_DOWN, (ticket("T1", ticket="2026-10-05T10:20Z"),), TICKET_CLOCK),
        [("both", 40, 0, 60)],
    ),
    Case(
        "Without a ticket a clock that a ticket starts never begins",
        "Start stamp ticket, and there is none: no contract time. Measured 60 min.",
        Clocks(HOUR_DOWN, (), TICKET_CLOCK),
        [("measured", None, 0, 60)],
    ),
    Case(
        "A pause over the night the clocks go back",
        """
        25 October 2026, Berlin: 03:00 CEST becomes 02:00 CET. Ticket 00:30 CEST = 24 Oct 22:30 UTC; restored 06:00 CET
        = 05:00 UTC: 6 h 30 min. Paused from 02:30 CEST (00:30 UTC) to 02:30 CET (01:30 UTC): both read 02:30 on the
        wall, but one hour passes. 6 h 30 min - 1 h = 5 h 30 min = 330 min.
        """,
        Clocks(
            NOWHERE,
            (
                ticket(
                    "T1", [("2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "customer_unavailable")],
                    ticket="2026-10-25T00:30+02:00", restored="2026-10-25T06:00+01:00",
                ),
            ),
            TICKET_CLOCK,
        ),
        [("ticket", 330, 60, None)],
    ),
    Case(
        "A pause over the night the clocks go forward",
        """
        29 March 2026, Berlin: 02:00 CET becomes 03:00 CEST. Ticket 01:00 CET = 00:00 UTC, restored 04:00 CEST = 02:00
        UTC: 2 h. Paused 01:30 CET (00:30 UTC) to 03:30 CEST (01:30 UTC): two hours on the wall, one hour of time.
        120 - 60 = 60 min.
        """,
        Clocks(
            NOWHERE,
            (
                ticket(
                    "T1", [("2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00", "customer_unavailable")],
                    ticket="2026-03-29T01:00+01:00", restored="2026-03-29T04:00+02:00",
                ),
            ),
            TICKET_CLOCK,
        ),
        [("ticket", 60, 60, None)],
    ),
    Case(
        "Pauses overlap, one has no agreed reason, and there is a cap",
        """
        Ticket 10:00, restored 16:00: 360 min. customer_unavailable 11:00 to 13:00 and 12:00 to 14:00: together 180 min.
        `weather` from 14:00 to 15:00 is not agreed: nothing. Cap 2 h: 120 min come off. 360 - 120 = 240 min.
        """,
        Clocks(
            NOWHERE,
            (
                ticket(
                    "T1",
                    [
                        ("2026-10-05T11:00Z", "2026-10-05T13:00Z", "customer_unavailable"),
                        ("2026-10-05T12:00Z", "2026-10-05T14:00Z", "customer_unavailable"),
                        ("2026-10-05T14:00Z", "2026-10-05T15:00Z", "weather"),
                    ],
                    ticket="2026-10-05T10:00Z", restored="2026-10-05T16:00Z",
                ),
            ),
            ClockTerms(Stamp.TICKET, Stamp.RESTORED, pauses=("customer_unavailable",), pause_cap_ns=2 * HOUR),
        ),
        [("ticket", 240, 120, None)],
    ),
    Case(
        "A pause reaches beyond the repair and one began before it",
        """
        Ticket 10:00, restored 12:00. Paused 09:00 to 10:30: 30 min of it lie in the repair. Paused from 11:45 without
        an end: 15 min until 12:00. 120 - 45 = 75 min.
        """,
        Clocks(
            NOWHERE,
            (
                ticket(
                    "T1",
                    [
                        ("2026-10-05T09:00Z", "2026-10-05T10:30Z", "customer_unavailable"),
                        ("2026-10-05T11:45Z", "", "customer_unavailable"),
                    ],
                    ticket="2026-10-05T10:00Z", restored="2026-10-05T12:00Z",
                ),
            ),
            TICKET_CLOCK,
        ),
        [("ticket", 75, 45, None)],
    ),
    Case(
        "The earlier of alarm and ticket",
        """
        CALNET: the earlier of the alarm or the ticket. Detected 30 s after the fault at 10:00 (3 intervals of 10 s):
        10:00:30. Ticket at 09:50: earlier. Confirmed 11:10. 11:10 - 09:50 = 80 min; measured 60.
        """,
        Clocks(
            HOUR_DOWN,
            (ticket("T1", ticket="2026-10-05T09:50Z", confirmed="2026-10-05T11:10Z"),),
            ClockTerms(Stamp.DETECTED, Stamp.CONFIRMED, earlier=True),
        ),
        [("both", 80, 0, 60)],
    ),
    Case(
        "A ticket opened half an hour after all was over",
        """
        Down 10:00 to 11:00, ticket 11:30 within the tolerance of an hour: the same incident. The clock would run from
        11:30 to 11:00, so it reads 0. A ticket of 12:30 is 90 min away: an incident of its own, which has no end.
        """,
        Clocks(
            HOUR_DOWN,
            (ticket("T1", ticket="2026-10-05T11:30Z"), ticket("T2", ticket="2026-10-05T12:30Z")),
            TICKET_CLOCK,
        ),
        [("both", 0, 0, 60), ("ticket", None, 0, None)],
    ),
    Case(
        "Two tickets of both sides and a flapping circuit are one incident",
        """
        Down 10:00 to 10:10, 10:30 to 10:40 and 10:50 to 11:00. The provider's ticket 10:05, restored 11:05, covers all
        three; the customer's 10:32 without an end begins in the second. Clock: first ticket 10:05 to 11:05 = 60 min.
        Measured: first start 10:00 to last end 11:00 = 60 min.
        """,
        Clocks(
            time(
                ("2026-10-05T10:00Z", "2026-10-05T10:10Z"),
                ("2026-10-05T10:30Z", "2026-10-05T10:40Z"),
                ("2026-10-05T10:50Z", "2026-10-05T11:00Z"),
            ),
            (
                ticket("P", ticket="2026-10-05T10:05Z", restored="2026-10-05T11:05Z"),
                ticket("C", ticket="2026-10-05T10:32Z"),
            ),
            TICKET_CLOCK,
        ),
        [("both", 60, 0, 60)],
    ),
    Case(
        "Unknown time is bridged up to 30 min, and not a minute longer",
        """
        Down 10:00-10:10, unknown to 10:40 (30 min), down to 10:50, unknown to 11:21 (31 min), down to 11:30.
        The first gap is bridged: 10:00 to 10:50 = 50 min. The second is not: 11:21 to 11:30 = 9 min.
        """,
        Clocks(
            time(
                ("2026-10-05T10:00Z", "2026-10-05T10:10Z"),
                ("2026-10-05T10:40Z", "2026-10-05T10:50Z"),
                ("2026-10-05T11:21Z", "2026-10-05T11:30Z"),
            ),
            unknown=time(("2026-10-05T10:10Z", "2026-10-05T10:40Z"), ("2026-10-05T10:50Z", "2026-10-05T11:21Z")),
        ),
        [("measured", 50, 0, 50), ("measured", 9, 0, 9)],
    ),
    Case(
        "An outage that still lasts",
        """
        Down since 10:00, now 10:45, paused by its ticket since 10:30. No end: the contract's clock has no reading yet.
        Measured so far: 45 min.
        """,
        Clocks(
            time(("2026-10-05T10:00Z", "2026-10-05T10:45Z")),
            (ticket("T1", [("2026-10-05T10:30Z", "", "customer_unavailable")], ticket="2026-10-05T10:05Z"),),
            TICKET_CLOCK,
            now="2026-10-05T10:45Z",
        ),
        [("both", None, 0, 45)],
    ),
    Case(
        "Over the end of the month: down time is split",
        """
        Berlin: October ends at 31 Oct 24:00 CET = 23:00 UTC. Down 22:00 to 02:00 UTC: 60 min in October, 180 in
        November.
        """,
        Promised(StatisticType.TOTAL, MONTH_END, (OCTOBER, NOVEMBER)),
        [(60, 60, 60), (180, 180, 180)],
    ),
    Case(
        "Over the end of the month: the outage is one of October",
        "It starts in October: 1 there, 0 in November (MEF 61.1).",
        Promised(StatisticType.COUNT, MONTH_END, (OCTOBER, NOVEMBER)),
        [(1, 1, 1), (0, 0, 0)],
    ),
    Case(
        "Over the end of the month: all its time to repair is October's",
        "240 min, all of it in October; November has no outage to take a mean of.",
        Promised(StatisticType.MTTR, MONTH_END, (OCTOBER, NOVEMBER)),
        [(240, 240, 240), (None, None, None)],
    ),
    Case(
        "MTTR of three",
        "30 + 60 + 90 = 180 min; 180 / 3 = 60 min.",
        Promised(StatisticType.MTTR, THREE),
        [(60, 60, 60)],
    ),
    Case(
        "MTTF of three in a month of 745 hours",
        "October in Berlin has 31 x 24 + 1 = 745 h = 44700 min. Down 180. Up 44520; 44520 / 3 = 14840 min.",
        Promised(StatisticType.MTTF, THREE),
        [(14840, 14840, 14840)],
    ),
    Case(
        "MTBF is MTTF and MTTR",
        "14840 + 60 = 14900 min, which is the whole month through three: 44700 / 3 = 14900.",
        Promised(StatisticType.MTBF, THREE),
        [(14900, 14900, 14900)],
    ),
    Case(
        "Minimum of an hour, counted from the hour on",
        """
        30 min is too short. 60 min is long enough exactly; from the hour on 0 min count. 90 min: 30 min count.
        Total 0 + 30 = 30 min.
        """,
        Promised(StatisticType.TOTAL, THREE, more={"minimum_ns": HOUR, "count_from": "threshold"}),
        [(30, 30, 30)],
    ),
    Case(
        "Maintenance takes an outage out of the mean, and a part of another",
        """
        Excluded 5 Oct 10:00-10:30 and 20 Oct 10:00-11:00. The first outage lies in it altogether: out. The third counts
        from 11:00 on: 30 min. (60 + 30) / 2 = 45 min.
        """,
        Promised(
            StatisticType.MTTR, THREE,
            out=time(("2026-10-05T10:00Z", "2026-10-05T10:30Z"), ("2026-10-20T10:00Z", "2026-10-20T11:00Z")),
        ),
        [(45, 45, 45)],
    ),
    Case(
        "Repaired within an hour: exactly an hour is within",
        "30 and 60 min are within 60, 90 is not: 2 of 3.",
        Promised(StatisticType.RATIO_WITHIN, THREE, more={"limit": Fraction(HOUR)}),
        [(Fraction(2, 3), Fraction(2, 3), Fraction(2, 3))],
    ),
    Case(
        "Unknown time beside an outage may belong to it",
        "Down 60 min, the 20 min after it unknown: the longest is 60 as measured, at best 60, at worst 80.",
        Promised(
            StatisticType.LONGEST, Clocks(HOUR_DOWN, unknown=time(("2026-10-05T11:00Z", "2026-10-05T11:20Z"))),
        ),
        [(60, 60, 80)],
    ),
    Case(
        "Party: the interface had no carrier",
        "Rule 1 comes before all others, even where every other circuit stayed well.",
        Party(around(carrier_down=time(("2026-10-05T10:00Z", "2026-10-05T10:59Z")), others=(well("c2"),))),
        Responsible.AGENT,
    ),
    Case(
        "Party: the near end failed as well",
        "Rule 2: what stands for the site's own side was gone too.",
        Party(around(near_end=failed("edge"), others=(well("c2"),))),
        Responsible.AGENT,
    ),
    Case(
        "Party: all circuits of the agent failed",
        "Rule 3: three targets failed, none stayed well, no near end and no gateway tells otherwise.",
        Party(around(others=(failed("c2"), failed("c3", "Other")))),
        Responsible.UNKNOWN,
    ),
    Case(
        "Party: all circuits failed, but the gateway stayed well",
        "The site's own side was up, so rule 3 is silent. All that failed are of ExampleTel; rule 7: provider.",
        Party(around(gateway=well("gateway"), others=(failed("c2"), failed("c3")))),
        Responsible.PROVIDER,
    ),
    Case(
        "Party: circuits of two providers failed, a third stayed well",
        "Rule 4: what two providers share is neither's alone.",
        Party(around(others=(failed("c2", "Other"), well("c3", "Third")))),
        Responsible.UNKNOWN,
    ),
    Case(
        "Party: the far end, reached another way, failed as well",
        "Rule 5: the far site itself may have lost power.",
        Party(around(far_end=failed("far-4g", "Mobile"), near_end=well("edge"))),
        Responsible.UNKNOWN,
    ),
    Case(
        "Party: all of one provider failed and the others stayed well",
        "Rule 6: c2 of the same provider failed with it, c3 of another stayed well.",
        Party(around(others=(failed("c2"), well("c3")))),
        Responsible.PROVIDER,
    ),
    Case(
        "Party: near end well, far end well",
        "Rule 7: the fault lies between the two.",
        Party(around(near_end=well("edge"), far_end=well("far-4g"))),
        Responsible.PROVIDER,
    ),
    Case(
        "Party: nothing measured beside it",
        "Rule 8: nobody can say.",
        Party(around()),
        Responsible.UNKNOWN,
    ),
    Case(
        "Party: a ticket without a measured outage",
        "There is nothing to hold beside others: unknown, whatever stood around.",
        Party(around(others=(well("c2"),)), (ticket("T1", ticket="2026-10-05T10:20Z"),), NOWHERE),
        Responsible.UNKNOWN,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_worked_incidents(case: Case[Any, Any]) -> None:
    assert case.given.answer() == case.expected


def test_figures_of_the_three() -> None:
    """(30 + 60 + 90) / 3 = 60 min; up 44700 - 180 = 44520 min, / 3 = 14840; 14840 + 60 = 14900."""
    found = figures(THREE.incidents(), OCTOBER.start_ns, OCTOBER.end_ns, 44520 * MINUTE)
    assert (found.count, found.mttr_ns, found.mttr_measured_ns) == (3, 60 * MINUTE, 60 * MINUTE)
    assert (found.mttf_ns, found.mtbf_ns) == (14840 * MINUTE, 14900 * MINUTE)
