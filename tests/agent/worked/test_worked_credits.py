"""Credits worked by hand. The month is October 2026 in Berlin unless a case says otherwise: 31 days, 745 hours."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from agent.sla.credit.credits import settle
from agent.sla.credit.prices import year_of
from agent.sla.terms.contract import Contract, Metric, Objective, Statistic, StatisticType, Target, Window
from agent.sla.terms.incidents import Attribution, Incident, Responsible
from agent.sla.terms.money import Money, Rounding, parse
from agent.sla.terms.remedies import Band, Cap, CreditBasis, CreditTerms, CreditUnit, Price
from agent.sla.terms.settlement import Paid
from agent.sla.time import calendar
from agent.sla.time.calendar import from_datetime
from agent.sla.time.zones import zone
from agent.sla.verdict import Verdict, VerdictState
from tests.fakes.contracts import CIRCUIT, HOUR, MS, contract
from tests.fakes.credit_note import outage, verdict
from tests.fakes.worked import Case

MINUTE = HOUR // 60
BERLIN = "Europe/Berlin"
MONTH = calendar.parse("2026-10", BERLIN)

AVAILABILITY = Objective(
    "availability",
    Metric.AVAILABILITY,
    Statistic(StatisticType.AVAILABILITY_MEF),
    Target(Fraction("0.9995"), "99.95 %"),
)
DELAY = Objective("delay", Metric.RTT, Statistic(StatisticType.MEAN), Target(Fraction(20 * MS), "20ms"))
QUARTER = replace(AVAILABILITY, window=Window("quarter"))


def percent(text: str) -> Price:
    return Price("percent", Fraction(text) / 100)


def day(value: str = "1") -> Price:
    return Price("mrc_days", Fraction(value))


def share(text: str) -> Fraction:
    """`99.41` per cent."""
    return Fraction(text) / 100


def ns(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=zone(BERLIN).info))


def down(name: str, start: str, length_ns: int, counted_ns: int | None = None) -> Incident:
    """An outage; the first counted_ns of it count."""
    begin = ns(start)
    counted = None if counted_ns is None else [(begin, begin + counted_ns)]
    return outage(name, begin, begin + length_ns, counted)


def measured(value: Fraction, objective: Objective = AVAILABILITY, **more: object) -> Verdict:
    window = more.pop("window", MONTH)
    state = more.pop("state", VerdictState.BREACHED)
    return verdict(objective, window, value, state, **more)  # type: ignore[arg-type]


BANDS = (Band(None, share("99"), percent("25")), Band(share("99"), share("99.5"), percent("10")))
BY_BAND = CreditTerms("credit", CreditBasis.BAND, "availability", BANDS)
BY_HOUR = CreditTerms("downtime", CreditBasis.PER_UNIT, unit=CreditUnit(Fraction(HOUR)), price=day())
EACH = CreditTerms(
    "each", CreditBasis.PER_EVENT,
    bands=(Band(Fraction(5 * MINUTE), Fraction(4 * HOUR), percent("5")), Band(Fraction(4 * HOUR), None, percent("10"))),
)  # fmt: skip
OVER_DELAY = CreditTerms(
    "slow", CreditBasis.EXCESS_ABSOLUTE, "delay",
    bands=(Band(None, Fraction(5 * MS), percent("10"), True), Band(Fraction(5 * MS), None, percent("20"), True)),
)  # fmt: skip


@dataclass(frozen=True)
class Given:
    terms: tuple[CreditTerms, ...]
    verdicts: tuple[Verdict, ...] = ()
    incidents: tuple[Incident, ...] = ()
    charge: str = "480.00 EUR"
    paid: str = ""
    period: str = "2026-10"
    as_of: str = "2026-12-31 12:00"
    more: dict[str, object] = field(default_factory=dict)

    @property
    def contract(self) -> Contract:
        objectives = (AVAILABILITY, DELAY)
        settings: dict[str, object] = {"credits": self.terms, "currency": self.charge.split()[-1], **self.more}
        return contract(*objectives, zone=BERLIN, **settings)


CASES: list[Case[Given, tuple[str, ...]]] = [
    Case(
        "A value inside a band",
        """
        Promised 99.95 %, delivered 99.41 %. Bands: below 99 % 25 %, from 99 % to below 99.5 % 10 %.
        99 <= 99.41 < 99.5: 10 % of 480.00 EUR = 48.00 EUR.
        """,
        Given((BY_BAND,), (measured(share("99.41")),)),
        ("48.00",),
    ),
    Case(
        "A value exactly on an edge belongs to the band above it",
        "Delivered 99 % exactly. Bands hold their lower edge: 99 <= 99 < 99.5: 10 % of 480.00 EUR = 48.00 EUR.",
        Given((BY_BAND,), (measured(share("99")),)),
        ("48.00",),
    ),
    Case(
        "A value just below an edge",
        "Delivered 98.999999 %: below 99 %, so 25 % of 480.00 EUR = 120.00 EUR.",
        Given((BY_BAND,), (measured(share("98.999999")),)),
        ("120.00",),
    ),
    Case(
        "The target itself earns nothing",
        "Delivered 99.95 %, promised 99.95 %: the promise is kept, whatever the bands say.",
        Given((BY_BAND,), (measured(share("99.95"), state=VerdictState.MET),)),
        (),
    ),
    Case(
        "Started hours: 4 h 1 min are five",
        """
        One outage of 4 h 1 min. A day of the charge is 480.00 / 30 = 16.00 EUR. Hours begun: 4 full ones and one begun
        = 5. 5 x 16.00 EUR = 80.00 EUR.
        """,
        Given((BY_HOUR,), incidents=(down("i1", "2026-10-05 03:00", 4 * HOUR + MINUTE),)),
        ("80.00",),
    ),
    Case(
        "Full hours: 4 h 59 min are four",
        "Only full hours count: 4 x 16.00 EUR = 64.00 EUR.",
        Given(
            (replace(BY_HOUR, unit=CreditUnit(Fraction(HOUR), started=False)),),
            incidents=(down("i1", "2026-10-05 03:00", 5 * HOUR - MINUTE),),
        ),
        ("64.00",),
    ),
    Case(
        "Started hours of the sum, not of each outage",
        """
        Two outages of 30 min: together 60 min = 1 h. One hour: 16.00 EUR. (Each for itself it would have been two.)
        """,
        Given(
            (BY_HOUR,),
            incidents=(down("i1", "2026-10-05 03:00", 30 * MINUTE), down("i2", "2026-10-06 03:00", 30 * MINUTE)),
        ),
        ("16.00",),
    ),
    Case(
        "Started hours of each outage",
        "The same two outages, each for itself: 30 min are one hour begun. Two lines of 16.00 EUR.",
        Given(
            (replace(BY_HOUR, unit=CreditUnit(Fraction(HOUR), each_incident=True)),),
            incidents=(down("i1", "2026-10-05 03:00", 30 * MINUTE), down("i2", "2026-10-06 03:00", 30 * MINUTE)),
        ),
        ("16.00", "16.00"),
    ),
    Case(
        "A deductible, and 1/720 of the charge for each hour",
        """
        The first 2 h are free. Down 5 h 30 min: 3 h 30 min are left, four hours begun.
        1/720 of 480.00 EUR = 0.6666... EUR an hour; x 4 = 2.6666... EUR, rounded once: 2.67 EUR.
        """,
        Given(
            (
                replace(
                    BY_HOUR,
                    unit=CreditUnit(Fraction(HOUR), deductible=Fraction(2 * HOUR)),
                    price=Price("fraction", Fraction(1, 720)),
                ),
            ),
            incidents=(down("i1", "2026-10-05 03:00", 5 * HOUR + 30 * MINUTE),),
        ),
        ("2.67",),
    ),
    Case(
        "Excluded time is not paid for",
        "Down for 4 h, of which 1 h counts and 3 h were maintenance: one hour, 16.00 EUR.",
        Given((BY_HOUR,), incidents=(down("i1", "2026-10-05 03:00", 4 * HOUR, HOUR),)),
        ("16.00",),
    ),
    Case(
        "An outage that the customer caused, by an entry",
        "4 h down, and an entry in the ledger says that the customer answers for it: nothing.",
        Given(
            (BY_HOUR,),
            incidents=(
                replace(
                    down("i1", "2026-10-05 03:00", 4 * HOUR), attribution=Attribution(Responsible.CUSTOMER, "noc")
                ),
            ),
        ),
        (),
    ),
    Case(
        "Downtime over the end of the month is split",
        """
        Down from 31 October 22:00 to 1 November 03:00: 2 h in October, 3 h in November.
        October pays 2 x 16.00 EUR = 32.00 EUR.
        """,
        Given((BY_HOUR,), incidents=(down("i1", "2026-10-31 22:00", 5 * HOUR),)),
        ("32.00",),
    ),
    Case(
        "An outage with a line of its own belongs to the month it starts in",
        """
        The same outage, by duration: 5 h lie in `4 h or more`: 10 % of 480.00 EUR = 48.00 EUR, all of it in October.
        """,
        Given((EACH,), incidents=(down("i1", "2026-10-31 22:00", 5 * HOUR),)),
        ("48.00",),
    ),
    Case(
        "Outages by their duration, and one too short",
        """
        4 min: in no band, nothing. 5 min: on the edge of `5 min to below 4 h`, 5 % = 24.00 EUR.
        4 h: on the edge of `4 h or more`, 10 % = 48.00 EUR.
        """,
        Given(
            (EACH,),
            incidents=(
                down("i1", "2026-10-05 03:00", 4 * MINUTE),
                down("i2", "2026-10-06 03:00", 5 * MINUTE),
                down("i3", "2026-10-07 03:00", 4 * HOUR),
            ),
        ),
        ("24.00", "48.00"),
    ),
    Case(
        "The hour that comes twice counts twice",
        """
        Down on 25 October from 01:00 (+2) to 04:00 (+1): the wall shows 3 h, and the hour from 02:00 comes twice:
        4 h. 4 x 16.00 EUR = 64.00 EUR.
        """,
        Given((BY_HOUR,), incidents=(down("i1", "2026-10-25 01:00", 4 * HOUR),)),
        ("64.00",),
    ),
    Case(
        "A cap of a month",
        """
        Ten hours down: 10 x 16.00 EUR = 160.00 EUR. At most 25 % of 480.00 EUR = 120.00 EUR in a month.
        """,
        Given(
            (replace(BY_HOUR, caps=(Cap("month", percent("25")),)),),
            incidents=(down("i1", "2026-10-05 03:00", 10 * HOUR),),
        ),
        ("120.00",),
    ),
    Case(
        "A cap of an outage, then one of a month",
        """
        Each outage earns a day for every hour begun, at most 7 days = 112.00 EUR; a month has at most 160.00 EUR.
        i1 10 h: 160.00, capped to 112.00 EUR. i2 5 h: 80.00 EUR, but only 160.00 - 112.00 = 48.00 EUR are left.
        """,
        Given(
            (
                replace(
                    BY_HOUR,
                    unit=CreditUnit(Fraction(HOUR), each_incident=True),
                    caps=(Cap("incident", day("7")), Cap("month", day("10"))),
                ),
            ),
            incidents=(down("i1", "2026-10-05 03:00", 10 * HOUR), down("i2", "2026-10-12 03:00", 5 * HOUR)),
        ),
        ("112.00", "48.00"),
    ),
    Case(
        "A cap of a year, of which most is used",
        """
        At most 100 % of the monthly charge in a year: 480.00 EUR. 450.00 EUR were paid before: 30.00 EUR are left.
        99.41 % earns 48.00 EUR, of which 30.00 EUR are paid.
        """,
        Given(
            (BY_BAND,), (measured(share("99.41")),), paid="450.00 EUR",
            more={"credit_caps": (Cap("year", percent("100")),)},
        ),
        ("30.00",),
    ),
    Case(
        "Two credits that add up under one cap",
        """
        98 % of the time up: 25 % = 120.00 EUR. Mean delay 26 ms, 6 ms over: more than 5 ms, 20 % = 96.00 EUR.
        All credits of a month are at most 40 % = 192.00 EUR: the first is paid whole, the second 192 - 120 = 72.00 EUR.
        """,
        Given(
            (BY_BAND, OVER_DELAY), (measured(share("98")), measured(Fraction(26 * MS), DELAY)),
            more={"credit_caps": (Cap("month", percent("40")),)},
        ),
        ("120.00", "72.00"),
    ),
    Case(
        "Only the highest credit",
        "The same two credits where only the highest is paid: 120.00 EUR, and the other 0.",
        Given(
            (BY_BAND, OVER_DELAY), (measured(share("98")), measured(Fraction(26 * MS), DELAY)),
            more={"stacking": "highest"},
        ),
        ("120.00", "0.00"),
    ),
    Case(
        "Of credits with one cause the highest, and those of another beside it",
        """
        99.41 % up: 48.00 EUR. The outage that caused it, 4 h: 4 x 16.00 = 64.00 EUR: same cause, the higher is paid.
        The delay has another cause: 3 ms over, up to 5 ms, 10 % = 48.00 EUR.
        """,
        Given(
            (BY_BAND, BY_HOUR, OVER_DELAY), (measured(share("99.41")), measured(Fraction(23 * MS), DELAY)),
            (down("i1", "2026-10-05 03:00", 4 * HOUR),), more={"stacking": "same_cause_highest"},
        ),
        ("0.00", "64.00", "48.00"),
    ),
    Case(
        "An excess exactly on the edge of an upper-inclusive band",
        "Mean delay 25 ms, 5 ms over 20 ms. `up to 5 ms` holds 5 ms: 10 % of 480.00 EUR = 48.00 EUR.",
        Given((OVER_DELAY,), (measured(Fraction(25 * MS), DELAY),)),
        ("48.00",),
    ),
    Case(
        "Per cent exceeded",
        """
        Mean delay 26 ms: 6 ms over 20 ms, 6 / 20 = 30 %. Bands: below 25 % 10 %, from 25 % to below 50 % 20 %, 50 % or
        more 30 %. 20 % of 480.00 EUR = 96.00 EUR.
        """,
        Given(
            (
                CreditTerms(
                    "exceeded", CreditBasis.EXCESS_RELATIVE, "delay",
                    bands=(
                        Band(None, share("25"), percent("10")),
                        Band(share("25"), share("50"), percent("20")),
                        Band(share("50"), None, percent("30")),
                    ),
                ),
            ),
            (measured(Fraction(26 * MS), DELAY),),
        ),
        ("96.00",),
    ),
    Case(
        "1/30 of the charge for each full millisecond over, at most 15 of them",
        """
        Mean delay 22.9 ms: 2.9 ms over, 2 full milliseconds. 2 x 480.00 / 30 = 32.00 EUR, below the cap of 240.00 EUR.
        """,
        Given(
            (
                CreditTerms(
                    "each-ms", CreditBasis.EXCESS_ABSOLUTE, "delay", unit=CreditUnit(Fraction(MS), started=False),
                    price=day(), caps=(Cap("month", day("15")),),
                ),
            ),
            (measured(Fraction(22_900_000), DELAY),),
        ),
        ("32.00",),
    ),
    Case(
        "In proportion to the time down",
        """
        October 2026 has 745 h. Down 7 h 27 min = 447 min; 447 / (745 x 60) = 447 / 44 700 = 1/100 of the month.
        1/100 of 480.00 EUR = 4.80 EUR.
        """,
        Given(
            (CreditTerms("share", CreditBasis.PROPORTIONAL),),
            incidents=(down("i1", "2026-10-05 03:00", 447 * MINUTE),),
        ),
        ("4.80",),
    ),
    Case(
        "In proportion to a month of 720 hours",
        "Where the contract counts 720 h for every month: 7 h 12 min / 720 h = 1/100: 4.80 EUR.",
        Given(
            (CreditTerms("share", CreditBasis.PROPORTIONAL),),
            incidents=(down("i1", "2026-10-05 03:00", 432 * MINUTE),),
            more={"month_basis": "fixed_720h"},
        ),
        ("4.80",),
    ),
    Case(
        "A month in which the contract began on the 15th",
        """
        Valid from 15 to 31 October: 17 of 31 days. 480.00 x 17/31 = 263.2258... EUR.
        10 % of that = 26.3225... EUR, rounded 26.32 EUR.
        """,
        Given((BY_BAND,), (measured(share("99.41")),), more={"valid_from": date(2026, 10, 15)}),
        ("26.32",),
    ),
    Case(
        "A day's charge in February by the days of the month, and the last day of a contract",
        """
        February 2026 has 28 days: a day is 480.00 / 28 = 17.142857... EUR, whatever part of the month is charged.
        Three hours begun: 51.428571... EUR, rounded 51.43 EUR. The outage was on the contract's last day, the 10th.
        """,
        Given(
            (replace(BY_HOUR, day_basis="days_in_month"),), incidents=(down("i1", "2026-02-10 20:00", 150 * MINUTE),),
            period="2026-02", more={"valid_to": date(2026, 2, 10)},
        ),
        ("51.43",),
    ),
    Case(
        "A day of the year, in yen",
        """
        12/365 of 90 000 JPY = 2958.904... JPY a day. The contract rounds to whole yen, downwards: 2958 JPY.
        """,
        Given(
            (replace(BY_HOUR, day_basis="365"),), incidents=(down("i1", "2026-10-05 03:00", HOUR),), charge="90000 JPY",
            more={"rounding": Rounding(0, "down")},
        ),
        ("2958",),
    ),
    Case(
        "Halves to the even digit",
        """
        10 % of 1.25 EUR = 0.125 EUR: exactly between 0.12 and 0.13. Half to even: 0.12 EUR.
        """,
        Given((BY_BAND,), (measured(share("99.41")),), charge="1.25 EUR", more={"rounding": Rounding(2, "half_even")}),
        ("0.12",),
    ),
    Case(
        "Sums too small to be paid",
        "10 % of 9.90 EUR = 0.99 EUR. Less than 1.00 EUR is not paid.",
        Given(
            (replace(BY_BAND, minimum=Money(Decimal("1.00"), "EUR")),), (measured(share("99.41")),), charge="9.90 EUR"
        ),
        ("0.00",),
    ),
    Case(
        "Without a verdict nothing is paid, but it is said what it could have been",
        """
        Between 98.9 % (25 % = 120.00 EUR) and 99.96 % (kept, 0.00 EUR): nobody knows. A line with nothing to pay.
        """,
        Given(
            (BY_BAND,),
            (measured(share("99.4"), state=VerdictState.INCONCLUSIVE, best=share("99.96"), worst=share("98.9")),),
        ),
        ("0.00",),
    ),
    Case(
        "A quarter's promise, paid in the month with which the quarter ends",
        """
        The promise is for the fourth quarter; it is December's report. 99.2 %: 10 % of the monthly charge = 48.00 EUR.
        """,
        Given(
            (BY_BAND,), (measured(share("99.2"), QUARTER, window=calendar.parse("2026-Q4", BERLIN)),), period="2026-12",
            as_of="2027-01-02 00:00",
        ),
        ("48.00",),
    ),
    Case(
        "A quarter that is not over pays nothing in October",
        "The same quarter seen from October's report: it is settled when it is over.",
        Given((BY_BAND,), (measured(share("99.2"), QUARTER, window=calendar.parse("2026-Q4", BERLIN)),)),
        (),
    ),
    Case(
        "Excused",
        "98 % of the time up, and the contract's ledger excuses the month: nothing.",
        Given((BY_BAND,), (measured(share("98"), remark="excused"),)),
        (),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_worked_credits(case: Case[Given, tuple[str, ...]]) -> None:
    given = case.given
    year = year_of(given.contract, calendar.parse(given.period, BERLIN).end_ns - 1)
    settlement = settle(
        given.contract,
        replace(CIRCUIT, monthly_charge=given.charge),
        calendar.parse(given.period, BERLIN),
        given.verdicts,
        given.incidents,
        as_of_ns=ns(given.as_of),
        paid=(Paid(parse(given.paid), given.contract.credits[0].id, year.start_ns),) if given.paid else (),
    )
    assert not settlement.obstacle
    assert tuple(str(line.amount.amount) for line in settlement.lines) == case.expected
    assert settlement.total is not None
    assert settlement.total.amount == sum(Decimal(text) for text in case.expected)


def told(given: Given) -> list[str]:
    settlement = settle(
        given.contract, replace(CIRCUIT, monthly_charge=given.charge), MONTH, given.verdicts, given.incidents,
        as_of_ns=ns(given.as_of),
    )  # fmt: skip
    return [step for line in settlement.lines for step in line.steps]


def test_a_person_can_follow_the_steps() -> None:
    assert told(CASES[0].given) == [
        "availability 99.41 % in 2026-10, promised 99.95 %",
        "availability 99.41 % lies in the band 99 % to below 99.5 %: 10 % of 480.00 EUR = 48.00 EUR",
    ]
    started = next(case for case in CASES if case.name.startswith("Started hours: 4 h 1 min"))
    assert told(started.given) == [
        "outage i1 from 2026-10-05 01:00 UTC to 2026-10-05 05:01 UTC: 4 h 1 min count",
        "down in 1 outage 4 h 1 min",
        "4 h 1 min in units of 1 h, the last one whole even if only started: 5",
        "5 x 480.00 EUR / 30 (= 16.00 EUR) = 80.00 EUR",
    ]
    partial = next(case for case in CASES if "began on the 15th" in case.name)
    assert told(partial.given) == [
        "availability 99.41 % in 2026-10, promised 99.95 %",
        "the contract was valid for 17 of the 31 days of 2026-10: 17/31 of 480.00 EUR = 263.225806… EUR",
        "availability 99.41 % lies in the band 99 % to below 99.5 %: 10 % of 263.225806… EUR = 26.322580… EUR",
        "rounded half up to 2 places: 26.32 EUR",
    ]
    unknown = next(case for case in CASES if case.name.startswith("Without a verdict"))
    assert told(unknown.given)[-1] == "without a verdict nothing is paid; it could be 0.00 EUR to 120.00 EUR"
