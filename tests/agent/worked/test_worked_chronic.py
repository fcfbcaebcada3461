"""Chronic rules and claims worked by hand: counts at the boundary, hours together, months in a row, deadlines."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from agent.sla.credit.claims import Filing, claim, key
from agent.sla.credit.credits import settle
from agent.sla.terms.contract import Metric, Objective, Statistic, StatisticType, Target
from agent.sla.terms.incidents import Incident, Stamp
from agent.sla.terms.remedies import Band, ChronicRule, ClaimTerms, CreditBasis, CreditTerms, Deadline, Price
from agent.sla.terms.settlement import Settlement
from agent.sla.time import calendar
from agent.sla.time.calendar import from_datetime
from agent.sla.time.zones import zone
from agent.sla.verdict import Verdict, VerdictState
from tests.fakes.contracts import CIRCUIT, HOUR, contract
from tests.fakes.credit_note import outage, verdict
from tests.fakes.worked import Case

MINUTE, DAY = HOUR // 60, 24 * HOUR
BERLIN = "Europe/Berlin"
OBJECTIVE = Objective(
    "availability", Metric.AVAILABILITY, Statistic(StatisticType.AVAILABILITY_MEF), Target(Fraction("0.999"), "99.9 %")
)


def ns(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=zone(BERLIN).info))


def down(name: str, start: str, length_ns: int, counted_ns: int | None = None) -> Incident:
    begin = ns(start)
    return outage(name, begin, begin + length_ns, None if counted_ns is None else [(begin, begin + counted_ns)])


def month(label: str, *, breached: bool = True, state: VerdictState | None = None) -> Verdict:
    window = calendar.parse(label, BERLIN)
    value = Fraction("0.99") if breached else Fraction(1)
    return verdict(OBJECTIVE, window, value, state or (VerdictState.BREACHED if breached else VerdictState.MET))


THREE = ChronicRule(
    "three", "terminate", count=3, minimum_ns=30 * MINUTE, rolling_ns=30 * DAY,
    exercise=Deadline(30, after="incident_end"),
)  # fmt: skip
DAY_IN_MONTH = ChronicRule("day", "reroute", aggregate_ns=24 * HOUR, calendar="month")
DAY_IN_THIRTY = replace(DAY_IN_MONTH, calendar=None, rolling_ns=30 * DAY)
IN_A_ROW = ChronicRule(
    "months", "terminate", objective="availability", missed_windows=3, exercise=Deadline(30, after="window_end")
)


@dataclass(frozen=True)
class Given:
    rule: ChronicRule
    incidents: tuple[Incident, ...] = ()
    earlier: tuple[Incident, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    before: tuple[Verdict, ...] = ()
    period: str = "2026-11"
    as_of: str = "2026-12-15 00:00"
    more: dict[str, object] = field(default_factory=dict)

    def settlement(self) -> Settlement:
        return settle(
            contract(OBJECTIVE, zone=BERLIN, chronic=(self.rule,), currency="EUR", **self.more),
            replace(CIRCUIT, monthly_charge="480.00 EUR"),
            calendar.parse(self.period, BERLIN),
            self.verdicts,
            self.incidents,
            as_of_ns=ns(self.as_of),
            earlier=self.before,
            earlier_incidents=self.earlier,
        )


Expected = tuple[bool, tuple[str, ...], date | None]
"""Met, the outages it rests on, last day to use the right."""

CASES: list[Case[Given, Expected]] = [
    Case(
        "Three outages within thirty days",
        """
        5 November, 20 November and 29 November, each of 30 min or longer: the first and the third start 24 days apart.
        The third ended on 29 November at 04:00; 30 days later is 29 December.
        """,
        Given(
            THREE,
            (
                down("i1", "2026-11-05 03:00", HOUR),
                down("i2", "2026-11-20 03:00", 30 * MINUTE),
                down("i3", "2026-11-29 03:00", HOUR),
            ),
        ),
        (True, ("i1", "i2", "i3"), date(2026, 12, 29)),
    ),
    Case(
        "One of them a second too short",
        "The second outage lasts 29 min 59 s: only two of 30 min or longer.",
        Given(
            THREE,
            (
                down("i1", "2026-11-05 03:00", HOUR),
                down("i2", "2026-11-20 03:00", 30 * MINUTE - HOUR // 3600),
                down("i3", "2026-11-29 03:00", HOUR),
            ),
        ),
        (False, (), None),
    ),
    Case(
        "One of them mostly excluded",
        "The second lasts 2 h, of which 20 min count: shorter than 30 min, so two are left.",
        Given(
            THREE,
            (
                down("i1", "2026-11-05 03:00", HOUR),
                down("i2", "2026-11-20 03:00", 2 * HOUR, 20 * MINUTE),
                down("i3", "2026-11-29 03:00", HOUR),
            ),
        ),
        (False, (), None),
    ),
    Case(
        "The third exactly thirty days after the first",
        """
        2 November 12:00 and 2 December 12:00, both in winter time: 30 x 24 h apart to the second. A window of 30 days
        is half-open, so it cannot hold both starts: two.
        """,
        Given(
            THREE,
            (down("i3", "2026-12-02 12:00", HOUR),),
            (down("i1", "2026-11-02 12:00", HOUR), down("i2", "2026-11-20 12:00", HOUR)),
            period="2026-12",
            as_of="2027-01-15 00:00",
        ),
        (False, (), None),
    ),
    Case(
        "The third one second less than thirty days after the first",
        """
        2 November 12:00:01 and 2 December 12:00:00: one second less than 30 days, so all three lie in one window.
        It ended at 13:00 on 2 December; 30 days later is 1 January 2027.
        """,
        Given(
            THREE,
            (down("i3", "2026-12-02 12:00", HOUR),),
            (down("i1", "2026-11-02 12:00:01", HOUR), down("i2", "2026-11-20 12:00", HOUR)),
            period="2026-12",
            as_of="2027-01-15 00:00",
        ),
        (True, ("i1", "i2", "i3"), date(2027, 1, 1)),
    ),
    Case(
        "The end of summer time makes thirty days on the wall longer",
        """
        2 October 12:00 (+2) to 1 November 12:00 (+1): 30 days on the wall, 30 x 24 h + 1 h in time. Not within 30 days.
        """,
        Given(
            THREE,
            (down("i3", "2026-11-01 12:00", HOUR),),
            (down("i1", "2026-10-02 12:00", HOUR), down("i2", "2026-10-20 12:00", HOUR)),
        ),
        (False, (), None),
    ),
    Case(
        "Complete in an earlier month",
        """
        All three lie in October: that was October's finding. In November there was none, so November has no new one.
        """,
        Given(
            THREE,
            (),
            (
                down("i1", "2026-10-05 03:00", HOUR),
                down("i2", "2026-10-10 03:00", HOUR),
                down("i3", "2026-10-29 03:00", HOUR),
            ),
        ),
        (False, (), None),
    ),
    Case(
        "Exactly a day of outages in a calendar month",
        "10 h + 8 h + 6 h = 24 h in November: at least 24 h.",
        Given(
            DAY_IN_MONTH,
            (
                down("i1", "2026-11-05 03:00", 10 * HOUR),
                down("i2", "2026-11-20 03:00", 8 * HOUR),
                down("i3", "2026-11-29 03:00", 6 * HOUR),
            ),
        ),
        (True, ("i1", "i2", "i3"), None),
    ),
    Case(
        "The part of an outage in another month does not count for this one",
        """
        From 31 October 22:00 to 1 November 04:00: 4 h in November. 4 + 10 + 9 = 23 h, less than 24 h.
        """,
        Given(
            DAY_IN_MONTH,
            (down("i2", "2026-11-05 03:00", 10 * HOUR), down("i3", "2026-11-20 03:00", 9 * HOUR)),
            (down("i1", "2026-10-31 22:00", 6 * HOUR),),
        ),
        (False, (), None),
    ),
    Case(
        "But it does for thirty days in a row",
        "The same outages within 30 days: 6 + 10 + 9 = 25 h.",
        Given(
            DAY_IN_THIRTY,
            (down("i2", "2026-11-05 03:00", 10 * HOUR), down("i3", "2026-11-20 03:00", 9 * HOUR)),
            (down("i1", "2026-10-31 22:00", 6 * HOUR),),
        ),
        (True, ("i1", "i2", "i3"), None),
    ),
    Case(
        "Three months missed in a row",
        """
        September, October and November missed. November ends on the 30th; 30 days later is 30 December.
        """,
        Given(IN_A_ROW, verdicts=(month("2026-11"),), before=(month("2026-09"), month("2026-10"))),
        (True, (), date(2026, 12, 30)),
    ),
    Case(
        "A month without a verdict breaks the row",
        "September missed, of October nobody knows, November missed: one in a row.",
        Given(
            IN_A_ROW,
            verdicts=(month("2026-11"),),
            before=(month("2026-08"), month("2026-09"), month("2026-10", state=VerdictState.INCONCLUSIVE)),
        ),
        (False, (), None),
    ),
    Case(
        "Three of the last six months",
        "June, September and November missed of June to November: 3 of 6.",
        Given(
            replace(IN_A_ROW, missed_of=6, exercise=None),
            verdicts=(month("2026-11"),),
            before=(
                month("2026-06"), month("2026-07", breached=False), month("2026-08", breached=False), month("2026-09"),
                month("2026-10", breached=False),
            ),
        ),
        (True, (), None),
    ),
    Case(
        "The seventh month does not count",
        "May, September and November missed: May is not among June to November, so 2 of 6.",
        Given(
            replace(IN_A_ROW, missed_of=6, exercise=None),
            verdicts=(month("2026-11"),),
            before=(month("2026-05"), month("2026-09")),
        ),
        (False, (), None),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_worked_chronic(case: Case[Given, Expected]) -> None:
    (found,) = case.given.settlement().chronic
    assert (found.met, found.incidents, found.exercise_by) == case.expected
    assert found.sentence.startswith(f"{found.rule.id}: ")


def test_an_extra_credit_becomes_a_line() -> None:
    # 100 % of 480.00 EUR for the third outage in thirty days.
    rule = replace(THREE, right="extra_credit", extra=Price("percent", Fraction(1)))
    settlement = replace(CASES[0].given, rule=rule).settlement()
    (line,) = settlement.lines
    assert line.amount.amount == Decimal("480.00")
    assert line.steps[-1] == "100 % of 480.00 EUR = 480.00 EUR"
    assert settlement.total == line.amount
    assert not replace(CASES[1].given, rule=rule).settlement().lines


# Claims.

TERMS = CreditTerms(
    "credit", CreditBasis.BAND, "availability", (Band(None, Fraction("0.999"), Price("percent", Fraction(1, 10))),)
)
OCTOBER = calendar.parse("2026-10", BERLIN)
HOLIDAYS = (date(2026, 12, 25), date(2026, 12, 26))


def ticketed(incident: Incident, **stamps: str) -> Incident:
    return replace(incident, stamps={Stamp(name): ns(text) for name, text in stamps.items()})


@dataclass(frozen=True)
class Asked:
    deadline: Deadline
    as_of: str
    incidents: tuple[Incident, ...] = ()
    ticket_within_ns: int | None = None
    filed: Filing | None = None
    terms: CreditTerms = TERMS
    window: str = "2026-10"


CLAIMS: list[Case[Asked, tuple[str, date | None, str]]] = [
    Case(
        "Seven business days after the month",
        "31 October is a Saturday; Mon 2 to Fri 6 November are five, Mon 9 and Tue 10 make seven. On the 10th: open.",
        Asked(Deadline(7, True), "2026-11-10 23:59"),
        ("open", date(2026, 11, 10), ""),
    ),
    Case(
        "A minute later it has lapsed",
        "11 November 00:00 is the day after the last one.",
        Asked(Deadline(7, True), "2026-11-11 00:00"),
        ("lapsed", date(2026, 11, 10), ""),
    ),
    Case(
        "Over Christmas",
        """
        Claims for 22 December, an outage that ended on Tuesday. Five business days: Wed 23, Thu 24, (Fri 25 and Sat 26
        are holidays,) Mon 28, Tue 29, Wed 30.
        """,
        Asked(
            Deadline(5, True, "incident_end"), "2026-12-30 12:00", (down("i1", "2026-12-22 03:00", HOUR),),
            window="2026-12",
        ),
        ("open", date(2026, 12, 30), ""),
    ),
    Case(
        "Before the month is over",
        "On 20 October nothing can be claimed yet; the last day will be 30 November.",
        Asked(Deadline(30), "2026-10-20 00:00"),
        ("not_due", date(2026, 11, 30), ""),
    ),
    Case(
        "Thirty days after the ticket was closed",
        "Closed on 12 October at 23:30: 30 days after the 12th is 11 November.",
        Asked(
            Deadline(30, after="ticket_close"), "2026-11-01 00:00",
            (ticketed(down("i1", "2026-10-10 03:00", HOUR), ticket="2026-10-10 03:20", closed="2026-10-12 23:30"),),
        ),
        ("open", date(2026, 11, 11), ""),
    ),
    Case(
        "Of a day, seven business days after its month",
        """
        The window is 5 October, and it is over. Its month ends on Saturday 31 October: as above, 10 November. After the
        end of the window itself it would be 14 October.
        """,
        Asked(Deadline(7, True, "month_end"), "2026-10-06 00:00", window="2026-10-05"),
        ("open", date(2026, 11, 10), ""),
    ),
    Case(
        "A ticket that is not closed yet",
        "The days run from its close: no last day yet.",
        Asked(
            Deadline(30, after="ticket_close"), "2026-11-01 00:00",
            (ticketed(down("i1", "2026-10-10 03:00", HOUR), ticket="2026-10-10 03:20"),),
        ),
        ("not_due", None, ""),
    ),
    Case(
        "No ticket within 72 hours",
        "The outage began on 10 October 03:00, the ticket came on 13 October 03:01: 72 h 1 min, 3 d 1 min.",
        Asked(
            Deadline(30), "2026-11-05 00:00",
            (ticketed(down("i1", "2026-10-10 03:00", HOUR), ticket="2026-10-13 03:01"),), 72 * HOUR,
        ),
        ("open", date(2026, 11, 30), "i1: its ticket was opened 3 d 1 min after its start, not 3 d"),
    ),
    Case(
        "A ticket within 72 hours to the second",
        "Opened exactly 72 h after the start: in time.",
        Asked(
            Deadline(30), "2026-11-05 00:00",
            (ticketed(down("i1", "2026-10-10 03:00", HOUR), ticket="2026-10-13 03:00"),), 72 * HOUR,
        ),
        ("open", date(2026, 11, 30), ""),
    ),
    Case(
        "Filed a day late",
        "The last day was 30 November, it was filed on 1 December.",
        Asked(Deadline(30), "2026-12-05 00:00", filed=Filing("filed", date(2026, 12, 1))),
        ("filed", date(2026, 11, 30), "made on 2026-12-01, after the last day 2026-11-30"),
    ),
    Case(
        "Owed without a claim",
        "The term is automatic: no last day, nothing to do.",
        Asked(Deadline(30), "2026-12-05 00:00", terms=replace(TERMS, automatic=True)),
        ("automatic", None, ""),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CLAIMS, ids=str)
def test_worked_claims(case: Case[Asked, tuple[str, date | None, str]]) -> None:
    asked = case.given
    signed = contract(
        OBJECTIVE, zone=BERLIN, holidays=HOLIDAYS, claims=ClaimTerms(asked.deadline, asked.ticket_within_ns)
    )
    found = claim(
        signed, asked.terms, calendar.parse(asked.window, BERLIN), asked.incidents, as_of_ns=ns(asked.as_of),
        filed=asked.filed,
    )  # fmt: skip
    assert (found.state, found.deadline, found.obstacle) == case.expected


def test_a_filed_claim_is_found_by_its_line() -> None:
    signed = contract(OBJECTIVE, zone=BERLIN, currency="EUR", credits=(TERMS,))
    settlement = settle(
        signed,
        replace(CIRCUIT, monthly_charge="480.00 EUR"),
        OCTOBER,
        (month("2026-10"),),
        (),
        as_of_ns=ns("2026-12-01 00:00"),
        filed={key(CIRCUIT.id, "credit", "2026-10"): Filing("accepted", date(2026, 11, 2))},
    )
    (line,) = settlement.lines
    assert line.claim is not None
    assert line.claim.state == "accepted"
