"""A contract in plain language: sentences with numbers checked by hand, and nothing empty for any kind of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from agent.sla.exclusion.exclusions import ExclusionKind, ExclusionTerms
from agent.sla.terms.contract import (
    Contract,
    Coverage,
    EventTerms,
    JitterDefinition,
    Measurement,
    Metric,
    Objective,
    Party,
    Priority,
    Redundancy,
    Scope,
    Service,
    Statistic,
    StatisticType,
    Target,
    Window,
)
from agent.sla.terms.incidents import ClockTerms, Stamp
from agent.sla.terms.money import Money
from agent.sla.terms.remedies import (
    Band,
    Cap,
    ChronicRule,
    ClaimTerms,
    CreditBasis,
    CreditTerms,
    CreditUnit,
    Deadline,
    Price,
)
from agent.sla.time.hours import Daily, Hours
from agent.sla.words.clauses import Clause, Section, Table, length, percent
from agent.sla.words.explain import as_values, explain
from probes.core.model import Circuit, ProbeSetting
from tests.fakes.contracts import contract, objective

MS, SECOND, MINUTE, HOUR = 10**6, 10**9, 60 * 10**9, 3600 * 10**9
DAY = 24 * HOUR
OFFICE = Hours((Daily(frozenset(range(5)), 480, 1080),), "Europe/Berlin", text="Mon-Fri 08:00-18:00 Europe/Berlin")
EUR = Money(Decimal("480.00"), "EUR")


def clauses(sections: tuple[Section, ...]) -> Iterator[Clause]:
    for section in sections:
        yield from section.clauses


def clause(terms: Contract, title: str, circuit: Circuit | None = None) -> Clause:
    return next(item for item in clauses(explain(terms, circuit)) if item.title == title)


def said(terms: Contract, title: str, circuit: Circuit | None = None) -> str:
    """All of a clause in one line, without the examples."""
    found = clause(terms, title, circuit)
    return " ".join((*found.sentences, *(text for detail in found.details for text in detail.sentences)))


def uptime(target: str, window: Window | None = None, **more: object) -> Objective:
    return objective(Metric.AVAILABILITY, target, id="a", window=window or Window("month"), **more)


def first(item: Objective, zone: str = "Europe/Berlin", **more: object) -> str:
    return clause(contract(item, zone=zone, **more), item.id).sentences[0]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        # 0.1 % of 30 x 1440 min = 43.2 min = 43 min 12 s; of 31 x 1440 = 44.64 min = 44 min 38.4 s, rounded down.
        (uptime("0.999"), "In every calendar month, Europe/Berlin, the circuit shall be available at least 99.9 % "
        "of the "
         "time; that is at most 43 min 12 s down in a 30-day month (44 min 38 s in one of 31 days)."),
        # 0.05 % of 7 days = 302.4 s.
        (uptime("0.9995", Window("week")), "In every calendar week, Monday to Sunday, Europe/Berlin, the circuit "
        "shall be "
         "available at least 99.95 % of the time; that is at most 5 min 2 s down in a week."),
        # 0.5 % of 90 days = 10.8 h; of 92 days = 11.04 h = 11 h 2 min 24 s.
        (uptime("0.995", Window("quarter")), "In every calendar quarter, Europe/Berlin, the circuit shall be "
        "available at "
         "least 99.5 % of the time; that is at most 10 h 48 min down in a quarter of 90 days (11 h 2 min 24 s in one "
         "of 92 days)."),
        # 0.01 % of 30 days = 259.2 s.
        (uptime("0.9999", Window(None, 30 * DAY)), "In any 30 days up to the moment of judging, the circuit shall be "
         "available at least 99.99 % of the time; that is at most 4 min 19 s down in a period of 30 days."),
        # 1 % of 720 h = 7.2 h.
        (uptime("0.99", Window(None, None, 720 * HOUR, date(2026, 1, 1))), "In every 720 h, one period after the other "
         "from 1 January 2026, Europe/Berlin, the circuit shall be available at least 99 % of the time; that is at "
         "most "
         "7 h 12 min down in a period of 720 h."),
        (uptime("1"), "In every calendar month, Europe/Berlin, the circuit shall be available all of the time; "
         "any time down that counts breaks the promise."),
    ],
    ids=["month", "week", "quarter", "rolling", "fixed", "all the time"],
)  # fmt: skip
def test_what_an_availability_comes_to(item: Objective, expected: str) -> None:
    assert first(item) == expected


def test_a_month_of_720_hours_is_the_same_every_month() -> None:
    assert first(uptime("0.999"), month_basis="fixed_720h") == (
        "In every calendar month, Europe/Berlin, the circuit shall be available at least 99.9 % of the time; that "
        "is at "
        "most 43 min 12 s down in a month, which counts as 720 h."
    )


def test_service_hours_are_counted_in_a_month_of_the_contract() -> None:
    # January 2026 has 22 weekdays (1 Thursday to 30 Friday): 220 h; 0.1 % are 13.2 min = 13 min 12 s.
    assert first(uptime("0.999"), hours=OFFICE) == (
        "In every calendar month, Europe/Berlin, the circuit shall be available at least 99.9 % of the time; of the "
        "220 h "
        "that count in 2026-01 that is at most 13 min 12 s down."
    )


def test_contract_years_and_billing_months_name_their_first_day() -> None:
    year = first(uptime("0.989", Window("contract_year")), service_start=date(2026, 1, 15))
    assert year.startswith("In every contract year, from 15 January, Europe/Berlin, the circuit")
    # 1.1 % of 365 days = 96.36 h = 96 h 21 min 36 s exactly.
    assert "at most 96 h 21 min 36 s down in a contract year of 365 days" in year
    month = first(uptime("0.99", Window("billing_month", billing_day=15)))
    assert month.startswith("In every billing month, from the 15th, Europe/Berlin, the circuit")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (objective(Metric.RTT, str(14 * MS)), "the mean round-trip delay shall not exceed 14 ms."),
        (objective(Metric.LOSS, "0.001"), "not more than 0.1 % of the packets shall be lost; that is at most 1 "
        "packet in "
         "1 000."),
        (objective(Metric.RTT, str(30 * MS), Statistic(StatisticType.PERCENTILE, p=Fraction(95, 100))),
         "95 % of the packets shall have at most 30 ms of round-trip delay."),
        (objective(Metric.RTT, "0.95", Statistic(StatisticType.RATIO_WITHIN, limit=Fraction(30 * MS))),
         "at least 95 % of the packets shall have a round-trip delay of 30 ms or less."),
        (objective(Metric.JITTER, "0.001", Statistic(StatisticType.RATIO_OVER, limit=Fraction(10 * MS), of="bins",
                                                     bin_ns=5 * MINUTE)),
         "not more than 0.1 % of the bins of 5 min shall have a mean delay variation between consecutive packets "
         "(IPDV) "
         "above 10 ms."),
        (objective(Metric.RTT, "0", Statistic(StatisticType.SUSTAINED, limit=Fraction(75 * MS), bin_ns=5 * MINUTE,
                                              run_ns=4 * HOUR)),
         "there shall be no stretch of 4 h or longer in which every 5 min have a mean round-trip delay above 75 ms."),
        (objective(Metric.LOSS, "0.05", Statistic(StatisticType.MAX_WINDOW, span_ns=15 * MINUTE)),
         "the packet loss over any continuous 15 min shall not exceed 5 %."),
        (objective(Metric.THROUGHPUT, "0.9", Statistic(StatisticType.CAPACITY, bin_ns=DAY, direction="backward"),
                   share=True),
         "the best capacity run of every 24 h shall reach at least 90 % of the committed rate towards point A."),
        (objective(Metric.MOS, "4", Statistic(StatisticType.MEAN)), "the mean voice quality (MOS) shall not be below a "
         "MOS of 4."),
        (objective(Metric.OUTAGE, str(4 * HOUR), Statistic(StatisticType.MTTR), severities=("P1",)),
         "the mean time to repair outages of priority P1 (MTTR) shall not exceed 4 h."),
        (objective(Metric.OUTAGE, "3", Statistic(StatisticType.COUNT)), "there shall be at most 3 outages."),
        (objective(Metric.EVENT, "0.95", Statistic(StatisticType.RATIO_WITHIN, limit=Fraction(20 * SECOND)),
                   events=EventTerms("call", "ringing", "answered")),
         "at least 95 % of the calls shall get from “ringing” to “answered” within 20 s."),
        (objective(Metric.AVAILABILITY, "60", Statistic(StatisticType.HIGH_LOSS_INTERVALS, dt_ns=SECOND)),
         "there shall be at most 60 intervals of 1 s with more than 50 % of the packets lost while the circuit is "
         "available."),
        (objective(Metric.AVAILABILITY, "5",
                   Statistic(StatisticType.CONSECUTIVE_HIGH_LOSS, dt_ns=SECOND, p_intervals=5)),
         "there shall be at most 5 runs of 5 or more intervals in a row, each of 1 s with more than 50 % of the "
         "packets "
         "lost while the circuit is available."),
    ],
    ids=lambda value: f"{value.metric}-{value.statistic.type}" if isinstance(value, Objective) else "",
)  # fmt: skip
def test_the_promise_in_one_sentence(item: Objective, expected: str) -> None:
    assert first(replace(item, window=Window("month"))) == f"In every calendar month, Europe/Berlin, {expected}"


def test_a_share_of_the_rate_is_worked_out() -> None:
    item = objective(Metric.THROUGHPUT, "0.9", share=True)
    circuit = Circuit("C-1", "192.0.2.9", committed_rate_bps=50_000_000)
    assert "The committed rate is 50 Mbit/s; 90 % of it is 45 Mbit/s." in said(contract(item), item.id, circuit)
    assert "The committed rate is that of the circuit." in said(contract(item), item.id)


def credit(basis: CreditBasis, **more: object) -> CreditTerms:
    return CreditTerms("credit", basis, **more)  # type: ignore[arg-type]


def ten(percents: int) -> Price:
    return Price("percent", Fraction(percents, 100))


def paying(terms: CreditTerms, *objectives: Objective, **more: object) -> Clause:
    made = contract(*objectives, zone="Europe/Berlin", currency="EUR", service=Service(monthly_charge=EUR),
                    credits=(terms,), valid_from=date(2026, 1, 1), **more)  # fmt: skip
    return clause(made, "credit")


def test_bands_with_an_example_in_money() -> None:
    bands = (Band(None, Fraction(995, 1000), ten(25)), Band(Fraction(995, 1000), Fraction(999, 1000), ten(10)))
    found = paying(credit(CreditBasis.BAND, objective="a", bands=bands), uptime("0.999"))
    assert found.table is not None
    assert found.table.rows == (
        ("99.5 % or more, below 99.9 %", "10 % of the monthly charge", "48.00 EUR"),
        ("below 99.5 %", "25 % of the monthly charge", "120.00 EUR"),
    )
    # The middle of 99.5 and 99.9 is 99.7; below 99.5, half of a band's width of 0.4 further on lies 99.3.
    assert found.examples == (
        "At 99.7 % the customer gets 10 % of 480.00 EUR = 48.00 EUR.",
        "At 99.3 % the customer gets 25 % of 480.00 EUR = 120.00 EUR.",
    )


def test_started_hours_at_a_day_each() -> None:
    unit = CreditUnit(Fraction(HOUR), started=True)
    found = paying(credit(CreditBasis.PER_UNIT, unit=unit, price=Price("mrc_days", Fraction(1))), uptime("1"))
    assert found.sentences[0] == (
        "For every begun or full hour of downtime, the customer gets 1 day of the monthly charge."
    )
    # 2.5 h are three hours begun; a day is 480 / 30 = 16; three are 48.
    assert found.examples == (
        "Down 2 h 30 min; 2 h 30 min in units of 1 h, the last one whole even if only started: 3; "
        "3 x 480.00 EUR / 30 (= 16.00 EUR) = 48.00 EUR.",
    )


def test_a_720th_for_full_hours_beyond_two() -> None:
    unit = CreditUnit(Fraction(HOUR), started=False, deductible=Fraction(2 * HOUR), each_incident=True)
    found = paying(credit(CreditBasis.PER_UNIT, unit=unit, price=Price("fraction", Fraction(1, 720))), uptime("1"))
    # 4.5 h less 2 h are 2.5 h: two full hours; 480 / 720 = 0.666...; two are 1.333..., paid 1.33.
    assert found.examples == (
        "Down 4 h 30 min, less the first 2 h: 2 h 30 min; 2 h 30 min in full units of 1 h: 2; "
        "2 x 1/720 of 480.00 EUR (= 0.666666… EUR) = 1.333333… EUR, paid 1.33 EUR.",
    )


def test_every_outage_by_its_length() -> None:
    bands = (Band(Fraction(5 * MINUTE), Fraction(4 * HOUR), ten(5)), Band(Fraction(4 * HOUR), None, ten(10)))
    found = paying(credit(CreditBasis.PER_EVENT, bands=bands), uptime("1"))
    # The middle of 5 and 240 min is 122.5, the nearest whole minute 123 = 2 h 3 min.
    assert found.examples[0] == "For an outage of 2 h 3 min the customer gets 5 % of 480.00 EUR = 24.00 EUR."
    assert found.table is not None
    assert found.table.rows[1] == ("4 h or more", "10 % of the monthly charge", "48.00 EUR")


def test_full_milliseconds_above_the_target() -> None:
    item = objective(Metric.RTT, str(45 * MS), window=Window("month"), id="d")
    unit = CreditUnit(Fraction(MS), started=False)
    found = paying(
        credit(CreditBasis.EXCESS_ABSOLUTE, objective="d", unit=unit, price=Price("fraction", Fraction(1, 30))), item
    )
    assert found.sentences[1] == "For every full ms the customer gets 1/30 of the monthly charge."
    # 3.5 ms above 45 ms is 48.5 ms: three full ms, three thirtieths of 480 = 48.
    assert found.examples == (
        "48.500 ms lies 3.500 ms above the target of 45 ms; 3.500 ms in full units of 1 ms: 3; "
        "3 x 1/30 of 480.00 EUR (= 16.00 EUR) = 48.00 EUR.",
    )


def test_per_cent_above_the_target() -> None:
    item = objective(Metric.RTT, str(10 * MS), window=Window("month"), id="d")
    bands = (Band(Fraction(0), Fraction(1, 10), ten(10)), Band(Fraction(1, 10), None, ten(20)))
    found = paying(credit(CreditBasis.EXCESS_RELATIVE, objective="d", bands=bands), item)
    # The middle of 0 and 10 % is 5 %: 10.5 ms.
    assert found.examples[0] == (
        "10.500 ms lies 0.500 ms above the target of 10 ms; 0.500 ms / 10 ms = 5 %; "
        "an excess of 5 % lies in the band 0 % to below 10 %: 10 % of 480.00 EUR = 48.00 EUR."
    )


def test_the_share_of_the_month() -> None:
    found = paying(credit(CreditBasis.PROPORTIONAL, unit=CreditUnit(Fraction(HOUR), deductible=Fraction(2 * HOUR))),
                   uptime("1"))  # fmt: skip
    # Six hours of 720: 480 x 6 / 720 = 4.
    assert found.examples == (
        "Down 8 h, less the first 2 h: 6 h; 480.00 EUR x 6 h / 30 d = 4.00 EUR.",
    )  # fmt: skip


def test_caps_stacking_rounding_and_an_unknown_charge() -> None:
    terms = credit(CreditBasis.BAND, objective="a", bands=(Band(None, Fraction(1), ten(10)),),
                   caps=(Cap("month", ten(50)),), minimum=Money(Decimal("1.00"), "EUR"), automatic=True)  # fmt: skip
    made = contract(uptime("1"), currency="EUR", credits=(terms, replace(terms, id="second")),
                    credit_caps=(Cap("year", Price("mrc_days", Fraction(7))),), stacking="highest")  # fmt: skip
    found = said(made, "credit")
    assert "It is at most 50 % of the monthly charge (500.00 EUR) in a month." in found
    assert "A sum below 1.00 EUR is not paid." in found
    assert "It is owed without being asked for." in found
    together = said(made, "All credits together")
    assert "Of several credits in one month, only the highest is paid." in together
    # 7 / 30 of 1000.
    assert "All credits together are at most 7 days of the monthly charge (233.33 EUR) in a year." in together
    assert "No monthly charge is known here: the examples take one of 1 000.00 EUR." in together
    assert "to 2 decimal places, half a unit up." in together


@pytest.mark.parametrize(
    ("deadline", "expected"),
    [
        # The example's month is April 2026, the first of 30 days. 30 days after 30 April is 30 May.
        (Deadline(30), "For a period that ends on 30 April 2026, the last day is 30 May 2026."),
        # Friday 1 May is a holiday: the seven days are 4 to 8 May and 11 and 12 May.
        (Deadline(7, business=True), "For a period that ends on 30 April 2026, the last day is 12 May 2026."),
        (Deadline(3, after="incident_end"), "For an outage that ends on 16 April 2026, the last day is 19 April 2026."),
    ],
)
def test_claims_with_their_dates(deadline: Deadline, expected: str) -> None:
    terms = credit(CreditBasis.BAND, objective="a", bands=(Band(None, Fraction(1), ten(10)),))
    made = contract(uptime("1"), credits=(terms,), claims=ClaimTerms(deadline, 72 * HOUR, "the portal"),
                    holidays=(date(2026, 5, 1),))  # fmt: skip
    found = clause(made, "Claims")
    assert found.examples == (expected,)
    assert "A ticket must have been opened within 3 days of the start of the outage." in found.sentences
    assert "The claim goes to: the portal." in found.sentences


def test_rights_of_repeated_failure() -> None:
    made = contract(
        uptime("1"),
        chronic=(
            ChronicRule("one", "terminate", count=3, minimum_ns=30 * MINUTE, rolling_ns=30 * DAY,
                        exercise=Deadline(30, after="incident_end")),
            ChronicRule("two", "reroute", aggregate_ns=24 * HOUR, calendar="month"),
            ChronicRule("three", "extra_credit", objective="a", missed_windows=3, missed_of=6, extra=ten(100)),
        ),
    )  # fmt: skip
    assert clause(made, "one").sentences[:2] == (
        "When there are three or more outages of 30 min or longer in any 30 days, the customer may terminate the "
        "contract "
        "for this circuit.",
        "This must be declared within 30 days after the end of the outage.",
    )
    assert clause(made, "two").sentences[0] == (
        "When all outages in one month together last 24 h or longer, the customer may demand another route."
    )
    assert clause(made, "three").sentences[0] == (
        "When “a” is missed in three of six months, the customer gets 100 % of the monthly charge more."
    )


def test_exclusions_say_what_they_take() -> None:
    made = contract(
        uptime("1"),
        exclusion_terms=(
            ExclusionTerms(ExclusionKind.MAINTENANCE, 7 * DAY, OFFICE, 8 * HOUR, "month", True, "customer"),
            ExclusionTerms(ExclusionKind.FORCE_MAJEURE, effect="numerator_only", overlap="provider_wins"),
        ),
    )
    assert said(made, "Planned maintenance") == (
        "It takes a notice at least 7 days before it begins; later, and the time counts. Only the time Mon-Fri "
        "08:00-18:00 Europe/Berlin can be excluded. At most 8 h are excluded in a month; what goes beyond counts "
        "again. An "
        "entry without evidence does not hold. It must have been confirmed by the customer. The time leaves the "
        "total as "
        "well: it is neither up nor down. Where another cause falls into the same time, the time stays excluded."
    )
    assert said(made, "Force majeure") == (
        "It needs no notice in advance. The time counts as up and stays in the total. Where the provider is at "
        "fault at "
        "the same time, the time counts as down."
    )


def test_the_repair_clock_names_its_two_stamps_and_its_pauses() -> None:
    clock = ClockTerms(Stamp.DETECTED, Stamp.CONFIRMED, True, ("customer_unavailable", "access_refused"), 4 * HOUR)
    made = contract(uptime("1"), objective(Metric.OUTAGE, "1", Statistic(StatisticType.MTTR)), clock=clock)
    assert said(made, "The repair clock").startswith(
        "It runs from the moment the fault was detected or the opening of the ticket, whichever is earlier, to the "
        "customer's confirmation that the service works. It stops for: customer unavailable and access refused, for at "
        "most 4 h of an outage; for nothing else."
    )
    assert "Nothing stops it." in said(replace(made, clock=ClockTerms(pauses=())), "The repair clock")
    assert "every pause that is entered" in said(replace(made, clock=ClockTerms()), "The repair clock")


def test_events_with_hours_pauses_and_those_given_up() -> None:
    events = EventTerms(
        "request", "opened", "response", ("P1",), OFFICE, "late_if_over", ("waiting_for_customer",), HOUR
    )
    item = objective(Metric.EVENT, str(30 * MINUTE), Statistic(StatisticType.LONGEST), events=events)
    found = said(contract(item), item.id)
    assert "every request of priority P1 shall get from “opened” to “response” within 30 min" in found
    assert "and only during Mon-Fri 08:00-18:00 Europe/Berlin." in found
    assert "Its clock stops for: waiting for customer, at most 1 h in all." in found
    assert "given up counts as late if it was over the limit by then" in found


def test_service_parties_measurement_and_probes() -> None:
    made = replace(
        contract(uptime("1"), zone="Europe/Berlin"),
        provider=Party("provider", "provider", "ExampleTel", ("noc@example.net",)),
        customer=Party("customer", "customer", "ACME"),
        others=(Party("duct-owner", "third_party", "City Ducts"),),
        valid_from=date(2026, 1, 1), valid_to=date(2028, 12, 31), models="nobody in particular",
        service=Service("e-line", "gold", ("AMS", "FRA"), EUR, 10**8, 10**7, "L2", Redundancy(("A", "B"), 1)),
        measurement=Measurement("theirs", "pings", "AMS", "FRA", 200, 46, 3 * SECOND, "twice a second", ("hub", "edge"),
                                "both", SECOND),
    )  # fmt: skip
    probe = ProbeSetting("icmp", "icmp", {"every": SECOND, "size": 200, "timeout": 3 * SECOND})
    circuit = Circuit("C-1", "192.0.2.9", dscp=46, probes=(probe,), monthly_charge="500.00 EUR", site="Rotterdam")
    parties = clause(made, "Parties and time")
    assert parties.sentences == (
        "ExampleTel provides, ACME buys.",
        "City Ducts takes part as third party.",
        "Valid from 1 January 2026 to 31 December 2028, both days included.",
        "Shaped after nobody in particular.",
    )
    assert parties.table is not None
    assert parties.table.rows == (("ExampleTel", "provider", "noc@example.net"),)
    service = said(made, "What was bought", circuit)
    assert "The service is e-line class gold. It connects AMS and FRA." in service
    assert "Its committed rate (CIR) is 100 Mbit/s, counted at L2." in service
    assert "it is up while at least 1 circuit of them is up" in service
    assert "The monthly charge of circuit C-1 is 500.00 EUR." in service
    record = said(made, "Whose record is final", circuit)
    assert record.startswith("The other side's record is final; this measurement is shown beside it")
    assert "The packets have 200 octets and code point EF (46). A packet without an answer after 3 s is lost." in record
    assert "Measured by hub and edge." in record
    assert "What is measured is the way there and the way back, each for itself." in record
    assert "One packet is sent in 1 s." in record
    agreed = replace(made, measurement=Measurement("agreed", tie="worse"))
    assert "Where two records differ, the one that is worse for the customer counts." in said(
        agreed, "Whose record is final"
    )
    named = replace(made, service=Service(id="EL-1", priorities=(Priority("P1", ("1", "critical"), "down"),)))
    assert said(named, "What was bought").startswith("The provider calls the service EL-1.")
    assert clause(named, "Priorities").table == Table(
        ("priority", "also called", "meaning"), (("P1", "1, critical", "down"),)
    )
    assert said(made, "Probes of circuit C-1", circuit) == (
        "Icmp to 192.0.2.9, every 1 s, 200 octets, time-out 3 s, code point EF (46)."
    )


def every_objective() -> Iterator[Objective]:
    """Every metric with every statistic and every extra that has words of its own."""
    for metric in Metric:
        for kind in StatisticType:
            statistic = Statistic(kind, p=Fraction(95, 100), limit=Fraction(30 * MS), bin_ns=5 * MINUTE, run_ns=HOUR,
                                  span_ns=15 * MINUTE, tau_ns=SECOND, block_ns=5 * MINUTE, minimum_ns=MINUTE,
                                  join_ns=MINUTE)  # fmt: skip
            events = EventTerms("call") if metric is Metric.EVENT else None
            yield Objective(f"{metric}-{kind}", metric, statistic, Target(Fraction(1, 2), "x"), events=events)
    plain = objective(Metric.AVAILABILITY, "0.99", id="scope", scope=Scope(("A", "B"), "at_least", 1))
    yield plain
    yield replace(plain, id="worst", scope=Scope(("A", "B"), "worst"))
    yield replace(plain, id="contract-clock", statistic=Statistic(StatisticType.AVAILABILITY_OUTAGE, clock="contract"))
    for definition in JitterDefinition:
        yield objective(Metric.JITTER, "1", Statistic(StatisticType.MEAN, definition=definition), id=definition.value)
    coverage = Coverage(Fraction(9, 10), HOUR, MINUTE, "down")
    yield objective(Metric.LOSS, "0", id="all", coverage=coverage, min_samples=5, only_available_time=True,
                    exclusions=("maintenance",), hours=OFFICE)  # fmt: skip
    yield objective(Metric.LOSS, "0", id="up", coverage=replace(coverage, unknown="up"))


@pytest.mark.parametrize("item", list(every_objective()), ids=lambda item: item.id)
def test_no_objective_is_without_words(item: Objective) -> None:
    found = clause(contract(item), item.id)
    texts = [*found.sentences, *(text for detail in found.details for text in detail.sentences)]
    for text in texts:
        assert complete(text), text
    assert found.details, "how the number is made"
    assert texts[0].startswith(("In every", "On every", "In any"))


def complete(text: str) -> bool:
    """A sentence of people: no names of our own, no hole, an end."""
    return bool(
        re.fullmatch(r"[A-Z0-9“|].*[.:]", text)
        and not re.search(r"None|Fraction|  | ,|StatisticType|\bn/a\b|\.\.|\(\)|_", text)
    )


@pytest.mark.parametrize("text", ["", "the mean.", "It is None.", "It is  so.", "It is so", "For bin_mean."])
def test_holes_are_seen(text: str) -> None:
    assert not complete(text)


def test_the_same_contract_gives_the_same_words_and_json_has_every_clause() -> None:
    made = contract(*every_objective())
    assert explain(made) == explain(made)
    values = as_values(made, explain(made))
    sections = values["sections"]
    assert isinstance(sections, list)
    numbers = [item["number"] for section in sections for item in section["clauses"]]
    assert numbers[:2] == ["1.1", "2.1"]
    assert len(numbers) == len(set(numbers)) == sum(len(section.clauses) for section in explain(made))


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0 s"), (100 * MS, "100 ms"), (1500 * MS, "1.5 s"), (90 * SECOND, "1 min 30 s"), (24 * HOUR, "24 h"),
     (36 * HOUR, "36 h"), (7 * DAY, "7 days"), (4 * HOUR + 5 * SECOND, "4 h 5 s")],
)  # fmt: skip
def test_lengths_are_exact(ns: int, text: str) -> None:
    assert length(ns) == text


def test_shares_are_exact() -> None:
    assert percent(Fraction(9995, 10000)) == "99.95 %"
    assert percent(Fraction(1, 3)) == "100/3 of a per cent"
