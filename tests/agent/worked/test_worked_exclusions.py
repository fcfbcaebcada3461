"""Excluded time worked by hand. Times on the wall of Europe/Berlin unless they end in Z (CET = UTC+1, CEST = UTC+2)."""

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

import pytest

from agent.sla.exclusion.exclusions import Exclusion, ExclusionKind, ExclusionTerms, Standing, rule
from agent.sla.judge import judge
from agent.sla.terms.contract import Metric, Window
from agent.sla.time.calendar import from_datetime
from agent.sla.time.hours import Daily, Hours
from agent.sla.time.spans import Spans
from agent.sla.time.zones import zone
from tests.fakes.columns import SECOND, SPAN
from tests.fakes.contracts import CIRCUIT, HOUR, contract, objective, series
from tests.fakes.worked import Case

MINUTE, DAY = 60 * SECOND, 24 * HOUR
BERLIN = zone("Europe/Berlin").info
MAINTENANCE, CUSTOMER = ExclusionKind.MAINTENANCE, ExclusionKind.CUSTOMER


def ns(text: str) -> int:
    """`2026-11-05 01:00` in Berlin, or with a Z in UTC."""
    moment = datetime.fromisoformat(text)
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=BERLIN))


def entry(name: str, start: str, end: str, entered: str = "2026-01-02 00:00", **more: object) -> Exclusion:
    more.setdefault("notified_ns", ns(entered))
    return Exclusion(name, ns(start), ns(end), "work", ns(entered), **more)  # type: ignore[arg-type]


def terms(kind: ExclusionKind = MAINTENANCE, **more: object) -> ExclusionTerms:
    return ExclusionTerms(kind, **more)  # type: ignore[arg-type]


def nights(start: int, end: int) -> Hours:
    """Every day from hour to hour."""
    return Hours((Daily(frozenset(range(7)), 60 * start, 60 * end),), "Europe/Berlin", text=f"{start}-{end} h")


@dataclass(frozen=True)
class Given:
    """samples: one letter for each 10 s of the window, judged for availability (n = 3) where there are any."""

    start: str
    end: str
    ledger: tuple[Exclusion, ...]
    terms: tuple[ExclusionTerms, ...] = ()
    fault: tuple[tuple[str, str], ...] = ()
    samples: str = ""


@dataclass(frozen=True)
class Expected:
    """ns out, by entry where more than one takes some; ns that count as up; standings that are not `applied`."""

    out: int
    by: dict[str, int] = field(default_factory=dict)
    up: int = 0
    standing: dict[str, Standing] = field(default_factory=dict)
    says: str = ""
    availability: Fraction | None = None


MONTHLY = "2026-11-01 00:00", "2026-12-01 00:00"
HOURLY = "2026-11-03 00:00", "2026-11-03 01:00"
OUTAGE = "." * 120 + "H" * 180 + "." * 60
"""One hour in 360 intervals of 10 s: down from 00:20 to 00:50."""

CASES: list[Case[Given, Expected]] = [
    Case(
        "maintenance over an outage takes its part of the outage out of both sides",
        """Window 00:00 to 01:00 = 360 intervals of 10 s. Down 00:20 to 00:50 = 180 intervals.
        Announced 00:15 to 00:45 = 30 min = 180 intervals: out of numerator and denominator.
        Left: 360 - 180 = 180 intervals. Of them down: 00:45 to 00:50 = 30.
        Availability = (180 - 30) / 180 = 150/180 = 5/6.""",
        Given(*HOURLY, (entry("CHG-1", "2026-11-03 00:15", "2026-11-03 00:45"),), samples=OUTAGE),
        Expected(30 * MINUTE, availability=Fraction(5, 6)),
    ),
    Case(
        "work that overruns counts again from the announced end",
        """Announced 00:20 to 00:40; the line is down until 00:50. Only the announced 20 min are out.
        20 min = 120 intervals; left 360 - 120 = 240. Down among them: 00:40 to 00:50 = 60.
        Availability = (240 - 60) / 240 = 180/240 = 3/4.""",
        Given(*HOURLY, (entry("CHG-1", "2026-11-03 00:20", "2026-11-03 00:40"),), samples=OUTAGE),
        Expected(20 * MINUTE, availability=Fraction(3, 4)),
    ),
    Case(
        "notice of exactly seven days is seven days",
        """The contract asks for 7 d. Announced 2026-11-03 02:00 for 2026-11-10 02:00: 7 x 24 h, no clock change
        between (both CET). 7 d >= 7 d: it applies, 02:00 to 04:00 = 2 h are out.""",
        Given(
            *MONTHLY,
            (entry("CHG-1", "2026-11-10 02:00", "2026-11-10 04:00", "2026-11-03 02:00"),),
            (terms(notice_ns=7 * DAY),),
        ),
        Expected(2 * HOUR, says="applied: 2 h out"),
    ),
    Case(
        "notice of seven days less one nanosecond is too short, and nothing of it applies",
        """Announced 2026-11-03 02:00:00.000000001 for 2026-11-10 02:00: 7 d - 1 ns < 7 d.
        The strict reading: the entry does not apply at all, also not from the moment on at which 7 d are over.""",
        Given(
            *MONTHLY,
            (entry("CHG-1", "2026-11-10 02:00", "2026-11-10 04:00", "2026-11-03 02:00",
                   notified_ns=ns("2026-11-03 02:00") + 1),),
            (terms(notice_ns=7 * DAY),),
        ),
        Expected(0, standing={"CHG-1": Standing.NOTICE}, says="1ns too late: the contract asks for 7 d"),
    ),
    Case(
        "seven days over the end of summer time are 168 hours, not seven midnights",
        """Announced 2026-10-20 02:00 CEST = 00:00Z for 2026-10-27 01:00 CET = 00:00Z: exactly 168 h. It applies.
        (The wall shows 6 d 23 h, because 25 October had 25 h.) 01:00 to 03:00 = 2 h.""",
        Given(
            "2026-10-01 00:00", "2026-11-01 00:00",
            (entry("CHG-1", "2026-10-27 01:00", "2026-10-27 03:00", "2026-10-20 02:00"),),
            (terms(notice_ns=7 * DAY),),
        ),
        Expected(2 * HOUR),
    ),
    Case(
        "only the part within the permitted hours is out",
        """Permitted 00:00 to 06:00. Announced 2026-11-04 23:30 to 2026-11-05 01:30 = 2 h.
        23:30 to 24:00 lies outside = 30 min. Out: 00:00 to 01:30 = 1 h 30 min.""",
        Given(
            *MONTHLY,
            (entry("CHG-1", "2026-11-04 23:30", "2026-11-05 01:30"),),
            (terms(hours=nights(0, 6)),),
        ),
        Expected(90 * MINUTE, says="applied in part: 1 h 30 min out; 30 min outside the hours the contract permits"),
    ),
    Case(
        "an allowance is used up by what comes first, the rest counts again",
        """Allowance 8 h a month. Three nights 01:00 to 04:00 = 3 h each.
        First 3 h (3 used), second 3 h (6 used), third: 8 - 6 = 2 h are out, 04:00 - 1 h = from 03:00 on it counts.
        Out: 3 + 3 + 2 = 8 h.""",
        Given(
            *MONTHLY,
            (
                entry("N3", "2026-11-19 01:00", "2026-11-19 04:00"),
                entry("N1", "2026-11-05 01:00", "2026-11-05 04:00"),
                entry("N2", "2026-11-12 01:00", "2026-11-12 04:00"),
            ),
            (terms(allowance_ns=8 * HOUR),),
        ),
        Expected(8 * HOUR, {"N1": 3 * HOUR, "N2": 3 * HOUR, "N3": 2 * HOUR},
                 says="applied in part: 2 h out; 1 h over the allowance of 8 h per month"),
    ),
    Case(
        "each month has its own allowance, also within one night",
        """Allowance 1 h a month. Announced 2026-10-31 22:00 to 2026-11-01 02:00, both CET = 4 h.
        October: 22:00 to 24:00 asked, 22:00 to 23:00 granted. November: 00:00 to 02:00 asked, 00:00 to 01:00 granted.
        The window is the night itself: 1 h + 1 h = 2 h.""",
        Given(
            "2026-10-31 22:00", "2026-11-01 02:00",
            (entry("CHG-1", "2026-10-31 22:00", "2026-11-01 02:00"),),
            (terms(allowance_ns=HOUR),),
        ),
        Expected(2 * HOUR, says="2 h over the allowance of 1 h per month"),
    ),
    Case(
        "an allowance that was used up before the window leaves nothing for it",
        """Allowance 3 h a month; the window is the day 2026-11-12 alone. On 2026-11-05 3 h were used up.
        Left for 2026-11-12: 3 - 3 = 0 h.""",
        Given(
            "2026-11-12 00:00", "2026-11-13 00:00",
            (
                entry("N1", "2026-11-05 01:00", "2026-11-05 04:00"),
                entry("N2", "2026-11-12 01:00", "2026-11-12 04:00"),
            ),
            (terms(allowance_ns=3 * HOUR),),
        ),
        Expected(0, standing={"N2": Standing.ALLOWANCE}),
    ),
    Case(
        "the hour that the wall shows twice is two hours of allowance",
        """2026-10-25, Berlin: 02:00 to 03:00 comes twice (CEST, then CET). Announced 00:00 to 04:00 = 5 h elapsed.
        Permitted 02:00 to 03:00 = 2 h elapsed. Allowance 90 min a day: 90 of the 120 min are out.""",
        Given(
            "2026-10-25 00:00", "2026-10-26 00:00",
            (entry("CHG-1", "2026-10-25 00:00", "2026-10-25 04:00"),),
            (terms(hours=nights(2, 3), allowance_ns=90 * MINUTE, per="day"),),
        ),
        Expected(90 * MINUTE, says="3 h outside the hours"),
    ),
    Case(
        "the hour that the wall skips permits nothing",
        """2026-03-29, Berlin: the clock jumps from 02:00 to 03:00. Permitted 02:00 to 03:00 = no instant at all.
        Announced 01:00 to 04:00 = 2 h elapsed, all of it outside.""",
        Given(
            "2026-03-29 00:00", "2026-03-30 00:00",
            (entry("CHG-1", "2026-03-29 01:00", "2026-03-29 04:00"),),
            (terms(hours=nights(2, 3)),),
        ),
        Expected(0, standing={"CHG-1": Standing.HOURS}, says="2 h outside the hours"),
    ),
    Case(
        "called off before its start it is nothing, called off after its start it ran until then",
        """A: 01:00 to 03:00, called off at 00:59: 0. B: 04:00 to 06:00, called off at 04:40: 40 min.""",
        Given(
            *MONTHLY,
            (
                entry("A", "2026-11-05 01:00", "2026-11-05 03:00", cancelled_ns=ns("2026-11-05 00:59")),
                entry("B", "2026-11-05 04:00", "2026-11-05 06:00", cancelled_ns=ns("2026-11-05 04:40")),
            ),
        ),
        Expected(40 * MINUTE, {"B": 40 * MINUTE}, standing={"A": Standing.CANCELLED}, says="called off at"),
    ),
    Case(
        "a moved window needs notice of its own",
        """Notice 5 d. CHG-1 announced 2026-11-01 for 2026-11-10 01:00 to 03:00; on 2026-11-08 moved to 2026-11-12.
        CHG-1 is called off at 2026-11-08, before its start: 0. CHG-1-2: from 11-08 00:00 to 11-12 01:00 are
        4 d 1 h < 5 d: 0. Nothing is out.""",
        Given(
            *MONTHLY,
            (
                entry("CHG-1", "2026-11-10 01:00", "2026-11-10 03:00", "2026-11-01 00:00",
                      cancelled_ns=ns("2026-11-08 00:00")),
                entry("CHG-1-2", "2026-11-12 01:00", "2026-11-12 03:00", "2026-11-08 00:00"),
            ),
            (terms(notice_ns=5 * DAY),),
        ),
        Expected(0, standing={"CHG-1": Standing.CANCELLED, "CHG-1-2": Standing.NOTICE}),
    ),
    Case(
        "an entry made after the event holds only with a name",
        """A and B are entered 2026-11-06, after 2026-11-05. A has nobody's name: 0. B has: 02:00 to 02:30 = 30 min.""",
        Given(
            *MONTHLY,
            (
                entry("A", "2026-11-05 01:00", "2026-11-05 03:00", "2026-11-06 09:00"),
                entry("B", "2026-11-05 02:00", "2026-11-05 02:30", "2026-11-06 09:00", confirmed_by="J. Smith"),
            ),
        ),
        Expected(30 * MINUTE, {"B": 30 * MINUTE}, standing={"A": Standing.UNCONFIRMED},
                 says="after its start; confirmed by J. Smith"),
    ),
    Case(
        "an imported notice is nothing until somebody confirms it",
        """A: imported a month before, not confirmed: 0. B: imported and confirmed by name: 1 h.
        C: confirmed, but it announces no impact: 0.""",
        Given(
            *MONTHLY,
            (
                entry("A", "2026-11-05 01:00", "2026-11-05 03:00", source="notice", proposed=True),
                entry("B", "2026-11-06 01:00", "2026-11-06 02:00", source="notice", proposed=True, confirmed_by="J. S"),
                entry("C", "2026-11-07 01:00", "2026-11-07 02:00", source="notice", proposed=True, confirmed_by="J. S",
                      impact="NO-IMPACT"),
            ),
        ),
        Expected(HOUR, {"B": HOUR}, standing={"A": Standing.PROPOSED, "C": Standing.NO_IMPACT}),
    ),
    Case(
        "where two kinds overlap each instant is out once, by the terms in their order",
        """Terms: customer first, then maintenance with 2 h a month. Customer 01:00 to 02:00 = 1 h, out by the customer.
        Maintenance 00:30 to 04:00, less 01:00 to 02:00 that is out already: asked 0:30 + 2:00 = 2 h 30 min.
        Allowance 2 h: 00:30 to 01:00 and 02:00 to 03:30. Out together: 1 h + 2 h = 3 h, 01:00 to 02:00 only once.""",
        Given(
            *MONTHLY,
            (
                entry("M", "2026-11-05 00:30", "2026-11-05 04:00"),
                entry("C", "2026-11-05 01:00", "2026-11-05 02:00", kind=CUSTOMER),
            ),
            (terms(CUSTOMER), terms(allowance_ns=2 * HOUR)),
        ),
        Expected(3 * HOUR, {"M": 2 * HOUR, "C": HOUR},
                 says="2 h out; 1 h out by other entries already; 30 min over the allowance"),
    ),
    Case(
        "time that only counts as up is kept apart from time that is out",
        """Maintenance (effect numerator_only) 01:00 to 03:00; customer (both) 02:00 to 04:00, stated second.
        Maintenance takes 2 h as up. Customer: 02:00 to 04:00 less 02:00 to 03:00 = 1 h out.""",
        Given(
            *MONTHLY,
            (
                entry("M", "2026-11-05 01:00", "2026-11-05 03:00"),
                entry("C", "2026-11-05 02:00", "2026-11-05 04:00", kind=CUSTOMER),
            ),
            (terms(effect="numerator_only"), terms(CUSTOMER)),
        ),
        Expected(HOUR, {"M": 2 * HOUR, "C": HOUR}, up=2 * HOUR),
    ),
    Case(
        "time that counts as up stays in the total",
        """Window 00:00 to 01:00 = 360 intervals. Down 00:20 to 00:50 = 180 intervals.
        Announced 00:15 to 00:45, effect numerator_only: those 180 intervals are up, and none leaves the total.
        Down is left 00:45 to 00:50 = 30. Availability = (360 - 30) / 360 = 330/360 = 11/12.""",
        Given(
            *HOURLY, (entry("CHG-1", "2026-11-03 00:15", "2026-11-03 00:45"),), (terms(effect="numerator_only"),),
            samples=OUTAGE,
        ),
        Expected(0, up=30 * MINUTE, says="applied: 30 min counts as up", availability=Fraction(11, 12)),
    ),
    Case(
        "where the provider wins, its own fault counts although it was announced",
        """Announced 01:00 to 03:00 = 2 h. The provider's fault from 02:30 to 04:00: 02:30 to 03:00 = 30 min counts.
        Out: 01:00 to 02:30 = 1 h 30 min.""",
        Given(
            *MONTHLY,
            (entry("CHG-1", "2026-11-05 01:00", "2026-11-05 03:00"),),
            (terms(overlap="provider_wins"),),
            (("2026-11-05 02:30", "2026-11-05 04:00"),),
        ),
        Expected(90 * MINUTE, says="30 min the provider's own fault at the time"),
    ),
    Case(
        "what does not qualify uses up no allowance",
        """Evidence is asked for, 2 h a month. A 01:00 to 03:00 has none: 0, and it uses up nothing.
        B the night after, 01:00 to 03:00, has some: 2 h. D is force majeure, which these terms do not know: 0.""",
        Given(
            *MONTHLY,
            (
                entry("A", "2026-11-05 01:00", "2026-11-05 03:00"),
                entry("B", "2026-11-06 01:00", "2026-11-06 03:00", evidence="CHG-7.pdf"),
                entry("D", "2026-11-07 01:00", "2026-11-07 03:00", kind=ExclusionKind.FORCE_MAJEURE),
            ),
            (terms(evidence=True, allowance_ns=2 * HOUR),),
        ),
        Expected(2 * HOUR, {"B": 2 * HOUR}, standing={"A": Standing.EVIDENCE, "D": Standing.KIND}),
    ),
    Case(
        "hours that stand in the contract are out without an entry",
        """Sundays 02:00 to 04:00 stand in the contract. November 2026 has Sundays 1, 8, 15, 22 and 29: 5 x 2 h = 10 h.
        Announced besides: Sunday 8th 03:00 to 05:00 needs 7 d of notice and has it; 03:00 to 04:00 is out already,
        so it adds 04:00 to 05:00 = 1 h. Out: 10 + 1 = 11 h.""",
        Given(
            *MONTHLY,
            (entry("CHG-1", "2026-11-08 03:00", "2026-11-08 05:00", "2026-11-01 00:00"),),
            (
                terms(hours=Hours((Daily(frozenset({6}), 120, 240),), "Europe/Berlin"), standing=True),
                terms(notice_ns=7 * DAY),
            ),
        ),
        Expected(
            11 * HOUR,
            {"CHG-1": HOUR} | {f"window-202611{day:02d}T0200": 2 * HOUR for day in (1, 8, 15, 22, 29)},
            says="applied in part: 1 h out; 1 h out by other entries already",
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_worked(case: Case[Given, Expected]) -> None:
    given, expected = case.given, case.expected
    start, end = ns(given.start), ns(given.end)
    window = Window(None, end - start)
    signed = contract(
        objective(Metric.AVAILABILITY, "0.9", window=window),
        zone="Europe/Berlin", exclusions=given.ledger, exclusion_terms=given.terms,
    )  # fmt: skip
    fault = Spans.of((ns(first), ns(last)) for first, last in given.fault)
    ruling = rule(signed, "c1", start_ns=start, end_ns=end, now_ns=end + DAY, fault=fault)
    assert ruling.time.within(start, end).length_ns == expected.out, case.steps
    assert ruling.up.within(start, end).length_ns == expected.up, case.steps
    found = {item.exclusion.id: item for item in ruling.entries}
    if expected.by:
        assert {name: item.applied_ns for name, item in found.items() if item.applied_ns} == expected.by, case.steps
    not_applied = {name: item.standing for name, item in found.items() if item.standing is not Standing.APPLIED}
    assert not_applied == expected.standing, case.steps
    assert expected.says in "\n".join(item.sentence for item in ruling.entries), case.steps
    if given.samples:
        data = {"icmp": series(start - 6 * SPAN, "." * 6 + given.samples)}
        (verdict,) = judge(signed, CIRCUIT, data, now_ns=end + 30 * SECOND, measured_since_ns=start - DAY)
        assert verdict.value == verdict.best == verdict.worst == expected.availability, case.steps
