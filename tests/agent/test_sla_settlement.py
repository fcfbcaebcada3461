"""What a settlement says beside its sums: what is provisional, what could have been, what stands in the way."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from agent.sla.credit.credits import settle
from agent.sla.terms.contract import Contract, Metric, Objective, Service, Statistic, StatisticType, Target, Window
from agent.sla.terms.incidents import Attribution, Incident, Responsible
from agent.sla.terms.money import Money, parse
from agent.sla.terms.remedies import Band, Cap, CreditBasis, CreditTerms, CreditUnit, Price
from agent.sla.terms.settlement import Settlement
from agent.sla.time import calendar
from agent.sla.time.spans import NOWHERE
from agent.sla.verdict import Verdict, VerdictState
from tests.fakes.contracts import CIRCUIT, HOUR, contract
from tests.fakes.credit_note import outage, verdict

ZONE = "Europe/Berlin"
OCTOBER = calendar.parse("2026-10", ZONE)
AFTER = OCTOBER.end_ns + HOUR
UP = Objective(
    "up", Metric.AVAILABILITY, Statistic(StatisticType.AVAILABILITY_MEF), Target(Fraction("0.999"), "99.9 %")
)
TENTH = CreditTerms(
    "tenth", CreditBasis.BAND, "up",
    (Band(None, Fraction("0.99"), Price("percent", Fraction(1, 4))),
     Band(Fraction("0.99"), Fraction("0.999"), Price("percent", Fraction(1, 10)))),
)  # fmt: skip
HOURLY = CreditTerms(
    "hourly", CreditBasis.PER_UNIT, unit=CreditUnit(Fraction(HOUR)), price=Price("mrc_days", Fraction(1))
)
CHARGED = replace(CIRCUIT, monthly_charge="480.00 EUR")


def signed(*terms: CreditTerms, **more: object) -> Contract:
    return contract(UP, zone=ZONE, credits=terms, currency="EUR", **more)


def found(
    terms: CreditTerms, *verdicts: Verdict, incidents: tuple[Incident, ...] = (), now: int = AFTER, **more: object
) -> Settlement:
    return settle(signed(terms, **more), CHARGED, OCTOBER, verdicts, incidents, as_of_ns=now)


def judged(value: str, state: VerdictState = VerdictState.BREACHED, **more: object) -> Verdict:
    return verdict(UP, OCTOBER, Fraction(value), state, **more)


def at(hours: int) -> int:
    return OCTOBER.start_ns + hours * HOUR


def test_an_open_window_is_provisional() -> None:
    (line,) = found(TENTH, judged("0.98"), now=at(500)).lines
    assert line.provisional
    assert line.claim is not None
    assert line.claim.state == "not_due"
    assert not found(TENTH, judged("0.98", VerdictState.AT_RISK), now=at(500)).lines
    (closed,) = found(TENTH, judged("0.98")).lines
    assert not closed.provisional


def test_an_outage_that_still_lasts_is_provisional_and_pays_by_now() -> None:
    lasting = replace(outage("i1", at(700), AFTER + 50 * HOUR), end_ns=None)
    apart = replace(HOURLY, unit=CreditUnit(Fraction(HOUR), each_incident=True))
    (line,) = found(apart, incidents=(lasting,)).lines
    assert line.provisional
    assert line.amount.amount == (745 - 700 + 1) * 16  # by an hour after the month: its own line takes all of it
    (total,) = found(HOURLY, incidents=(lasting,)).lines
    assert total.amount.amount == 45 * 16  # added up, it ends with the month
    assert "still going on" in " ".join(total.steps)


def test_an_estimate_is_provisional_and_says_so() -> None:
    (line,) = found(TENTH, judged("0.995", estimated=True, best=Fraction("0.9995"), worst=Fraction("0.98"))).lines
    assert line.provisional
    assert line.amount.amount == Decimal("48.00")
    assert line.steps[-2:] == (
        "what was not measured could make it 0.00 EUR to 120.00 EUR",
        "the value is estimated: the measured part stands for the whole",
    )


def test_a_sure_breach_whose_band_is_not_sure() -> None:
    (line,) = found(TENTH, judged("0.992", best=Fraction("0.995"), worst=Fraction("0.98"))).lines
    assert line.provisional
    assert line.steps[-1] == "what was not measured could make it 48.00 EUR to 120.00 EUR"
    (sure,) = found(TENTH, judged("0.992", best=Fraction("0.995"), worst=Fraction("0.991"))).lines
    assert not sure.provisional


def test_what_could_have_been_is_under_the_caps_too() -> None:
    capped = replace(TENTH, caps=(Cap("month", Price("percent", Fraction(1, 5))),))
    (line,) = found(capped, judged("0.995", VerdictState.INCONCLUSIVE, best=Fraction(1), worst=Fraction("0.98"))).lines
    assert line.steps[-1] == "without a verdict nothing is paid; it could be 0.00 EUR to 96.00 EUR"  # 20 %, not 25 %
    (sure,) = found(capped, judged("0.985", best=Fraction("0.989"), worst=Fraction("0.98"))).lines
    assert not sure.provisional


def test_no_bound_no_range() -> None:
    (line,) = found(TENTH, judged("0.992", VerdictState.INCONCLUSIVE, worst=None)).lines
    assert line.steps[-1] == "without a verdict nothing is paid; what it could be is not known"
    assert line.claim is None
    kept = judged("0.9999", VerdictState.INCONCLUSIVE, worst=Fraction("0.9995"))
    assert not found(TENTH, kept).lines  # whatever was not measured, nothing could be owed


def test_downtime_of_an_availability_objective_is_paid_only_where_it_is_broken() -> None:
    terms = replace(HOURLY, objective="up")
    value = 1 - Fraction(5, 2 * 745)  # 2 h 30 min of 745 h
    exact = str(value)
    (line,) = found(terms, judged(exact)).lines
    assert line.amount.amount == Decimal("48.00")  # three hours begun
    assert line.steps[1:] == (
        "down 2 h 30 min",
        "2 h 30 min in units of 1 h, the last one whole even if only started: 3",
        "3 x 480.00 EUR / 30 (= 16.00 EUR) = 48.00 EUR",
    )
    assert not found(terms, judged("1", VerdictState.MET), incidents=(outage("i1", at(1), at(3)),)).lines


def test_without_a_budget_the_outages_tell() -> None:
    terms = replace(HOURLY, objective="up")
    incidents = (outage("i1", at(1), at(3)), outage("i2", at(10), at(11)))
    (line,) = found(terms, judged("0.99", budget=None), incidents=incidents).lines
    assert line.amount.amount == Decimal("48.00")
    assert line.subject == "up"


def test_outage_time_on_the_contracts_clock_by_an_objective_of_its_own() -> None:
    total = Objective(
        "outage-time", Metric.OUTAGE, Statistic(StatisticType.TOTAL, clock="contract"), Target(Fraction(0), "0s")
    )
    terms = replace(HOURLY, objective="outage-time")
    broken = verdict(total, OCTOBER, Fraction(5 * HOUR + 1), VerdictState.BREACHED)
    settlement = settle(
        contract(total, zone=ZONE, credits=(terms,), currency="EUR"), CHARGED, OCTOBER, (broken,), (), as_of_ns=AFTER
    )
    (line,) = settlement.lines
    assert line.amount.amount == 6 * 16


def test_outages_that_pay_nothing_are_named() -> None:
    excluded = outage("i1", at(1), at(3), [])
    silent = replace(outage("i2", at(5), at(6)), down=NOWHERE, counted=NOWHERE)
    customer = replace(
        outage("i3", at(10), at(11)),
        attribution=Attribution(Responsible.CUSTOMER, "anna"),
    )
    inferred = replace(outage("i4", at(20), at(21)), attribution=Attribution(Responsible.CUSTOMER, "evidence"))
    settlement = found(HOURLY, incidents=(excluded, silent, customer, inferred))
    assert settlement.notes == (
        "outage i1 pays nothing: none of its time counts",
        "outage i2 pays nothing: no time down was measured",
        "outage i3 pays nothing: the customer answers for it, entered by anna",
    )
    (line,) = settlement.lines  # inference alone excludes nothing
    assert line.amount.amount == Decimal("16.00")


def test_a_charge_is_the_circuits_own_or_that_of_the_service() -> None:
    both = signed(TENTH, service=Service(monthly_charge=parse("100.00 EUR")))
    (own,) = settle(both, CHARGED, OCTOBER, (judged("0.995"),), (), as_of_ns=AFTER).lines
    (common,) = settle(both, CIRCUIT, OCTOBER, (judged("0.995"),), (), as_of_ns=AFTER).lines
    assert (str(own.amount), str(common.amount)) == ("48.00 EUR", "10.00 EUR")


def test_what_stands_in_the_way_is_told() -> None:
    none = settle(signed(TENTH), CIRCUIT, OCTOBER, (judged("0.995"),), (), as_of_ns=AFTER)
    assert (none.lines, none.total) == ((), None)
    assert none.obstacle.startswith("no monthly charge is known")
    other = settle(
        signed(TENTH), replace(CIRCUIT, monthly_charge="1.00 USD"), OCTOBER, (judged("0.995"),), (), as_of_ns=AFTER
    )
    assert other.obstacle.startswith("the monthly charge is in USD, the contract pays in EUR")
    foreign = replace(TENTH, caps=(Cap("month", Price("amount", Fraction(0), Money(Decimal(5), "USD"))),))
    assert found(foreign, judged("0.995")).obstacle.startswith("the price 5 USD is not in EUR")


def test_a_contract_without_credits_owes_nothing() -> None:
    settlement = settle(contract(UP, zone=ZONE), CHARGED, OCTOBER, (judged("0.5"),), (), as_of_ns=AFTER)
    assert (settlement.lines, settlement.total, settlement.obstacle) == ((), None, "")
    assert settlement.charge == parse("480.00 EUR")


def test_an_outage_before_the_service_began_earns_nothing() -> None:
    begun = date(2026, 10, 10)
    assert not found(HOURLY, incidents=(outage("i1", at(1), at(3)),), service_start=begun).lines
    (line,) = found(HOURLY, incidents=(outage("i1", at(9 * 24 - 1), at(9 * 24 + 2)),), service_start=begun).lines
    assert line.amount.amount == 2 * 16


def test_billing_months_are_the_months_of_all_credits() -> None:
    billed = Objective(
        "loss", Metric.LOSS, Statistic(StatisticType.RATIO), Target(Fraction(0), "0 %"),
        Window("billing_month", billing_day=15),
    )  # fmt: skip
    terms = contract(billed, zone=ZONE, credits=(HOURLY,), currency="EUR")
    early = outage("i0", at(-20), at(-18))  # in September, and in the billing month from 15 September
    late = outage("i1", at(20 * 24), at(20 * 24 + 1))  # 21 October: in the billing month that ends in November
    settlement = settle(terms, CHARGED, OCTOBER, (), (late,), as_of_ns=AFTER, earlier_incidents=(early,))
    (line,) = settlement.lines
    assert line.window.label == "month from 2026-09-15"
    assert line.amount.amount == 2 * 16


def test_a_week_is_settled_as_it_is() -> None:
    week = calendar.parse("2026-W41", ZONE)
    settlement = settle(
        signed(HOURLY), CHARGED, week, (), (outage("i1", week.start_ns, week.start_ns + HOUR),), as_of_ns=AFTER
    )
    (line,) = settlement.lines
    assert line.window == week
