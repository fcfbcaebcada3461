"""Edges of a month, by hand: outages over them, clocks that change, contracts that begin, caps of a year."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from agent.assessing import Court
from agent.claim_files import ClaimName
from agent.cli.main import run
from agent.sla.assessment import Assessment
from agent.sla.credit.claims import Filing, FilingState
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.shared_fate import SharedFate
from agent.sla.terms.contract import Contract, Metric, Service, Statistic, StatisticType, Window
from agent.sla.terms.excluded import Exclusion
from agent.sla.terms.incidents import ClockTerms, Stamp
from agent.sla.terms.money import Money
from agent.sla.terms.remedies import Band, Cap, ChronicRule, CreditBasis, CreditTerms, CreditUnit, Price
from agent.sla.time.calendar import parse, parse_instant
from agent.sla.verdict import VerdictState
from agent.store import Store
from agent.written import Written
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Circuit, Counts, Delay, ProbeSetting, Sample, SampleState
from tests.agent.test_assessment_oracle import Rows, percent
from tests.fakes.columns import columns, packets
from tests.fakes.contracts import HOUR, contract, objective

MINUTE = 60 * SECOND
EUR_70 = Money(Decimal("70.00"), "EUR")
SPAN = 10 * MINUTE
LATER = parse_instant("2026-11-20T00:00:00Z")
CIRCUIT = Circuit("c1", "192.0.2.9", probes=(ProbeSetting("icmp", "icmp", {"every": MINUTE}),), contract="test")
MONTH = Window("month")
MEF = Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=SPAN, n=1)
UP = objective(Metric.AVAILABILITY, "0.9999", MEF, id="up", window=MONTH)
REPAIR = objective(Metric.OUTAGE, HOUR, Statistic(StatisticType.MTTR), id="repair", window=MONTH)
SHARE = CreditTerms("share", CreditBasis.PROPORTIONAL, objective="up", unit=CreditUnit(Fraction(SECOND)))
EACH = CreditTerms("each", CreditBasis.PER_UNIT, price=percent(1), unit=CreditUnit(Fraction(HOUR), each_incident=True))
TENTH = CreditTerms("tenth", CreditBasis.BAND, objective="up", bands=(Band(None, None, percent(10)),))


def rows(begin: str, end: str, *outages: tuple[str, str]) -> SampleColumns:
    """A sample of ten packets every ten minutes; all lost in the outages."""
    down = [(parse_instant(first), parse_instant(last)) for first, last in outages]
    return columns([
        packets(at, 10, 10 if any(first <= at < last for first, last in down) else 0, span_ns=SPAN)
        for at in range(parse_instant(begin), parse_instant(end), SPAN)
    ])  # fmt: skip


def signed(*promises: Any, credits: Sequence[CreditTerms] = (), **more: Any) -> Contract:
    charge = Service(monthly_charge=Money(Decimal("480.00"), "EUR"))
    return contract(*promises, service=charge, currency="EUR", shared_fate="count", credits=tuple(credits), **more)


def month_of(
    promise: Contract, samples: SampleColumns, label: str, claims: Mapping[ClaimName, Filing] | None = None
) -> Assessment:
    fate = SharedFate((), lambda *_: samples, SPAN)
    bench = Court(Rows(samples), {"c1": CIRCUIT}, Written(claims=claims or {}), fate, LATER)
    return bench.assess(promise, CIRCUIT, parse(label, promise.time_zone))[0]


def paid(found: Assessment) -> dict[str, Decimal]:
    return {item.terms.id: item.amount.amount for item in found.settlement.lines if item.amount.amount}


def value(found: Assessment, name: str) -> Fraction | None:
    return next(item.value for item in found.verdicts if item.objective.id == name)


@pytest.mark.parametrize(("end", "hours"), [("2026-11-01T05:00:00Z", 6), ("2026-11-04T05:00:00Z", 78)])
def test_an_outage_over_the_end_of_a_month_is_paid_once_and_whole(end: str, hours: int) -> None:
    samples = rows("2026-09-30T00:00:00Z", "2026-11-19T00:00:00Z", ("2026-10-31T23:00:00Z", end))
    promise = signed(UP, REPAIR, credits=(EACH, SHARE))
    october, november = month_of(promise, samples, "2026-10"), month_of(promise, samples, "2026-11")
    assert value(october, "repair") == hours * HOUR
    assert value(november, "repair") is None
    assert value(october, "up") == 1 - Fraction(1, 31 * 24)
    # each: 480 x 1 % for each of the hours, in October; share: 480 x 1 h / 744 h, and the rest of November so far
    assert paid(october) == {"each": Decimal("4.80") * hours, "share": Decimal("0.65")}
    assert set(paid(november)) == {"share"}
    assert not any(line.provisional for line in october.settlement.lines)
    assert [item.end_ns for item in october.incidents] == [parse_instant(end)]
    assert [item.id for item in october.incidents] == [item.id for item in november.incidents]


def test_an_outage_of_two_months_has_one_name_and_one_beginning() -> None:
    down = ("2026-09-10T00:00:00Z", "2026-11-05T00:00:00Z")
    samples = rows("2026-08-30T00:00:00Z", "2026-11-19T00:00:00Z", down)
    promise = signed(UP, REPAIR, credits=(EACH, SHARE))
    found = [month_of(promise, samples, label) for label in ("2026-09", "2026-10", "2026-11")]
    assert {item.id for month in found for item in month.incidents} == {"c1-20260910T000000Z"}
    assert [value(month, "repair") for month in found] == [56 * 24 * HOUR, None, None]
    assert [value(month, "up") for month in found] == [Fraction(9, 30), 0, Fraction(14, 18)]


def test_a_month_with_a_change_of_clocks_has_an_hour_more() -> None:
    samples = rows("2026-09-29T00:00:00Z", "2026-11-02T00:00:00Z", ("2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"))
    found = month_of(signed(UP, credits=(SHARE,), zone="Europe/Berlin"), samples, "2026-10")
    assert value(found, "up") == 1 - Fraction(2, 31 * 24 + 1)
    assert paid(found) == {"share": Decimal("1.29")}  # 480 x 2 / 745 = 1.288...


def test_a_contract_that_begins_within_the_month_pays_its_part() -> None:
    samples = rows("2026-09-29T00:00:00Z", "2026-11-02T00:00:00Z", ("2026-10-10T00:00:00Z", "2026-10-10T09:00:00Z"),
                   ("2026-10-20T00:00:00Z", "2026-10-20T01:00:00Z"))  # fmt: skip
    found = month_of(signed(UP, credits=(TENTH, EACH), valid_from=date(2026, 10, 15)), samples, "2026-10")
    assert value(found, "up") == 1 - Fraction(1, 17 * 24)
    # 10 % of 480 x 17/31 = 26.32; of the outages only the one in the contract's time: 1 % of 263.2258
    assert paid(found) == {"tenth": Decimal("26.32"), "each": Decimal("2.63")}


def test_what_was_before_the_service_is_neither_judged_nor_counted() -> None:
    samples = rows("2026-09-29T00:00:00Z", "2026-11-02T00:00:00Z", ("2026-10-01T00:00:00Z", "2026-10-10T00:00:00Z"))
    often = ChronicRule("again", "terminate", count=1, rolling_ns=720 * HOUR)
    for begins in ({"valid_from": date(2026, 10, 15)}, {"service_start": date(2026, 10, 15)}):
        found = month_of(signed(UP, credits=(TENTH, EACH), chronic=(often,), **begins), samples, "2026-10")
        assert (value(found, "up"), paid(found)) == (1, {})
        assert not found.settlement.chronic[0].met
    over = month_of(signed(UP, credits=(TENTH,), valid_to=date(2026, 9, 30)), samples, "2026-10")
    assert over.settlement.lines == ()


def test_outages_without_tickets_are_told_where_tickets_are_what_counts() -> None:
    samples = rows("2026-09-29T00:00:00Z", "2026-11-02T00:00:00Z", ("2026-10-10T00:00:00Z", "2026-10-10T01:00:00Z"))
    how = Statistic(StatisticType.AVAILABILITY_OUTAGE, dt_ns=SPAN, n=1, clock="contract")
    found = month_of(signed(replace(UP, statistic=how), clock=ClockTerms(start=Stamp.TICKET)), samples, "2026-10")
    (verdict,) = found.verdicts
    assert (verdict.state, verdict.estimated, verdict.worst) == (VerdictState.MET, True, None)
    assert "1 outage has no repair time: no ticket starts the clock" in verdict.sentence


def test_a_circuit_first_measured_within_the_month_is_not_judged_by_half_of_it() -> None:
    samples = rows("2026-10-25T00:00:00Z", "2026-11-02T00:00:00Z", ("2026-10-26T00:00:00Z", "2026-10-26T00:20:00Z"))
    found = month_of(signed(UP, credits=(TENTH,)), samples, "2026-10")
    assert found.verdicts[0].state is VerdictState.BREACHED  # 20 minutes are too many, whatever went before
    easy = replace(UP, target=replace(UP.target, value=Fraction("0.999")))
    assert month_of(signed(easy, credits=(TENTH,)), samples, "2026-10").verdicts[0].state is VerdictState.INCONCLUSIVE


def test_a_day_that_is_excluded_as_a_whole_has_no_verdict_and_pays_nothing() -> None:
    samples = rows("2026-09-29T00:00:00Z", "2026-11-02T00:00:00Z", ("2026-10-10T03:00:00Z", "2026-10-10T09:00:00Z"))
    begin, end = parse_instant("2026-10-10T00:00:00Z"), parse_instant("2026-10-11T00:00:00Z")
    work = Exclusion("CHG-1", begin, end, "planned work", begin - HOUR, "both")
    daily = replace(UP, window=Window("day"))
    found = month_of(signed(daily, credits=(TENTH, EACH), exclusions=(work,)), samples, "2026-10")
    assert [item.state for item in found.verdicts].count(VerdictState.MET) == 30
    assert found.verdicts[9].state is VerdictState.INCONCLUSIVE
    assert "all of it is excluded" in found.verdicts[9].sentence
    assert paid(found) == {}


@pytest.mark.parametrize(
    ("begins", "left"), [(None, "0.00"), (date(2025, 10, 1), "48.00"), (date(2025, 9, 1), "24.00")]
)
def test_the_cap_of_a_year_is_that_of_the_contract_year(begins: date | None, left: str) -> None:
    """August, September and October each earn 10 %; a year pays at most 15 %, 72.00."""
    outages = [(f"2026-{month:02}-10T00:00:00Z", f"2026-{month:02}-10T02:00:00Z") for month in (8, 9, 10)]
    samples = rows("2026-07-30T00:00:00Z", "2026-11-02T00:00:00Z", *outages)
    promise = signed(UP, credits=(TENTH,), credit_caps=(Cap("year", percent(15)),), valid_from=begins)
    assert paid(month_of(promise, samples, "2026-10")).get("tenth", Decimal("0.00")) == Decimal(left)


@pytest.mark.parametrize(("august", "owed"), [("accepted", "10.00"), ("rejected", "24.00"), ("filed", "0.00")])
def test_a_claim_that_was_answered_counts_as_it_was_answered(august: FilingState, owed: str) -> None:
    """72.00 a year, 48.00 a month: of what August asked 14.00 were granted, nothing, or it is still open."""
    outages = [(f"2026-{month:02}-10T00:00:00Z", f"2026-{month:02}-10T02:00:00Z") for month in (8, 9, 10)]
    samples = rows("2026-07-30T00:00:00Z", "2026-11-02T00:00:00Z", *outages)
    promise = signed(UP, credits=(TENTH,), credit_caps=(Cap("year", percent(15)),))
    granted = Money(Decimal("14.00"), "EUR") if august == "accepted" else None
    answer = {ClaimName("test", "c1", "tenth", "2026-08"): Filing(august, date(2026, 9, 3), amount=granted)}
    assert paid(month_of(promise, samples, "2026-10", answer)).get("tenth", Decimal("0.00")) == Decimal(owed)


def test_a_claim_accepted_as_it_was_made_counts_in_full() -> None:
    """72.00 a year: August's 48.00 were accepted and no other sum named, so September has 24.00 and October nothing."""
    outages = [(f"2026-{month:02}-10T00:00:00Z", f"2026-{month:02}-10T02:00:00Z") for month in (8, 9, 10)]
    samples = rows("2026-07-30T00:00:00Z", "2026-11-02T00:00:00Z", *outages)
    promise = signed(UP, credits=(TENTH,), credit_caps=(Cap("year", percent(15)),))
    answer = {ClaimName("test", "c1", "tenth", "2026-08"): Filing("accepted", date(2026, 9, 3))}
    assert paid(month_of(promise, samples, "2026-09", answer)) == {"tenth": Decimal("24.00")}
    assert paid(month_of(promise, samples, "2026-10", answer)) == {}


def test_a_cap_of_the_contract_reaches_back_over_years_and_one_of_a_year_does_not() -> None:
    """
    Contract years begin in September. June and October each earn 48.00. 60.00 a year: October has all of its 48.00.
    70.00 ever: 22.00 are left of it, whether June was left open or 48.00 of it were granted.
    """
    outages = [(f"2026-{month:02}-10T00:00:00Z", f"2026-{month:02}-10T02:00:00Z") for month in (6, 10)]
    samples = rows("2026-05-30T00:00:00Z", "2026-11-02T00:00:00Z", *outages)
    by_year, ever = Cap("year", percent(Fraction(25, 2))), Cap("contract", Price("amount", Fraction(70), EUR_70))
    begins = date(2025, 9, 1)
    granted = {
        ClaimName("test", "c1", "tenth", "2026-06"): Filing(
            "accepted", date(2026, 7, 3), amount=Money(Decimal("48.00"), "EUR")
        )
    }
    for caps, left in (((by_year,), "48.00"), ((ever,), "22.00"), ((by_year, ever), "22.00")):
        promise = signed(UP, credits=(TENTH,), credit_caps=caps, valid_from=begins)
        for claims in ({}, granted):
            assert paid(month_of(promise, samples, "2026-10", claims)) == {"tenth": Decimal(left)}, (caps, claims)


def test_each_term_has_a_cap_of_the_year_of_its_own() -> None:
    """The first term pays 48.00 a month and 72.00 a year, the second 4.80 for each hour of an outage: 9.60 a month."""
    outages = [(f"2026-{month:02}-10T00:00:00Z", f"2026-{month:02}-10T02:00:00Z") for month in (9, 10)]
    samples = rows("2026-08-30T00:00:00Z", "2026-11-02T00:00:00Z", *outages)
    tenth = replace(TENTH, caps=(Cap("year", percent(15)),))
    promise = signed(UP, credits=(tenth, EACH))
    assert paid(month_of(promise, samples, "2026-09")) == {"tenth": Decimal("48.00"), "each": Decimal("9.60")}
    assert paid(month_of(promise, samples, "2026-10")) == {"tenth": Decimal("24.00"), "each": Decimal("9.60")}


def test_the_mean_time_to_repair_of_a_report_is_that_of_the_promise() -> None:
    """Two hours, of which one was maintenance, and one hour: (1 + 1) / 2 on both clocks, in both places."""
    work = Exclusion("w", parse_instant("2026-10-10T00:00:00Z"), parse_instant("2026-10-10T01:00:00Z"), "work", 0)
    samples = rows("2026-09-29T00:00:00Z", "2026-11-02T00:00:00Z", ("2026-10-10T00:00:00Z", "2026-10-10T02:00:00Z"),
                   ("2026-10-20T00:00:00Z", "2026-10-20T01:00:00Z"))  # fmt: skip
    found = month_of(signed(UP, REPAIR, exclusions=(work,)), samples, "2026-10")
    assert value(found, "repair") == HOUR
    assert (found.repair.count, found.repair.mttr_ns, found.repair.mttr_measured_ns) == (2, HOUR, HOUR)
    assert found.repair.mtbf_ns is not None
    assert found.repair.mttf_ns == found.repair.mtbf_ns - HOUR


@pytest.mark.parametrize(("label", "left"), [("2026-Q4", "24.00"), ("2026-10", "24.00")])
def test_a_quarter_knows_what_was_paid_earlier_in_the_year(label: str, left: str) -> None:
    samples = rows("2026-08-30T00:00:00Z", "2026-11-02T00:00:00Z", ("2026-09-10T00:00:00Z", "2026-09-10T02:00:00Z"),
                   ("2026-10-10T00:00:00Z", "2026-10-10T02:00:00Z"))  # fmt: skip
    promise = signed(UP, credits=(TENTH,), credit_caps=(Cap("year", percent(15)),))
    assert paid(month_of(promise, samples, label)) == {"tenth": Decimal(left)}


def test_a_fixed_window_far_in_the_past_is_judged_without_a_sample() -> None:
    fixed = replace(UP, window=Window(None, fixed_ns=720 * HOUR, anchor=date(2026, 1, 1)))
    samples = rows("2026-10-25T00:00:00Z", "2026-11-02T00:00:00Z")
    found = month_of(signed(fixed, credits=(TENTH, SHARE)), samples, "1999-03")
    assert {item.state for item in found.verdicts} == {VerdictState.INCONCLUSIVE}
    assert paid(found) == {}


def test_the_part_of_a_price_by_hand() -> None:
    assert Price("percent", Fraction(1, 10)) == replace(percent(10), text="")


CONFIG = """
site: test
interval: 5m
store: {path: store}
contracts: contracts
circuits:
  - {name: c1, target: 192.0.2.7, contract: gold, monthly_charge: "480.00 EUR", probes: [{kind: icmp, every: 1m}]}
"""
GOLD = """
id: gold
version: "1"
provider: P
customer: C
time_zone: UTC
objectives:
  - {id: up, metric: availability, statistic: {type: availability_mef, dt: 5m, n: 1}, target: 99.9 %}
  - {id: loss, metric: loss, target: 0.1 %}
  - {id: repair, metric: outage, statistic: {type: mttr}, target: 2h}
credits:
  currency: EUR
  terms:
    - id: pay
      objective: up
      basis: band
      bands: [{from: 99.5 %, to: 99.9 %, credit: 10 %}, {to: 99.5 %, credit: 25 %}]
    - {id: each, basis: per_event, bands: [{from: 1h, to: 4h, credit: 5 %}, {from: 4h, credit: 10 %}]}
"""


def test_check_report_and_back_test_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="test")
    down = parse_instant("2026-10-31T22:00:00Z"), parse_instant("2026-11-01T03:00:00Z")
    for at in range(parse_instant("2026-09-30T00:00:00Z"), parse_instant("2026-11-02T00:00:00Z"), SPAN // 2):
        lost = 10 if down[0] <= at < down[1] else 0
        delay = Delay(10, 10**8, 10**7, 10**7, 10**7, 10**7, 10**7, 0) if not lost else None
        state = SampleState.NO_REPLY if lost else SampleState.OK
        store.append([Sample("c1", "icmp", "icmp", at, SPAN // 2, state, Counts(10, 10 - lost, lost), delay)])
    store.flush(60)
    store.close(30)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "gold.yaml").write_text(GOLD)
    (tmp_path / "draft.yaml").write_text(GOLD)
    (tmp_path / "agent.yaml").write_text(CONFIG)
    usual = ["-c", str(tmp_path / "agent.yaml"), "--now", "2026-11-20T00:00:00Z", "--month", "2026-10"]

    def told(*words: str) -> Any:
        run([*words, *usual])
        return json.loads(capsys.readouterr().out)

    checked = told("check", "gold", "--json")
    tried = told("check", str(tmp_path / "draft.yaml"), "--json")["periods"][0]
    reported = told("report", "gold", "--format", "json")
    states = {item["objective"]: (item["state"], item["value_exact"]) for item in checked["verdicts"]}
    assert states["up"] == ("breached", "371/372")
    assert states["repair"] == ("breached", str(5 * HOUR))
    assert {item["objective"]: (item["state"], item["value_exact"]) for item in tried["verdicts"]} == states
    theirs = {
        item["objective"]: (item["state"], item["value"]["exact"]["exact"]) for item in reported["content"]["results"]
    }
    assert theirs == states
    # 5 hours are 10 % for the outage that began in October, though two of them count for the month; and 10 % by band
    assert [(item["terms"], item["amount"]) for item in tried["lines"]] == [("pay", "48.00"), ("each", "48.00")]
    assert reported["summary"]["sentences"][-1] == "P owes 96.00 EUR, 20 % of the monthly charge."


ROLLING = replace(UP, window=Window(None, rolling_ns=30 * 24 * HOUR))
MONTHLY_OUTAGES = [(f"2026-{month:02}-20T00:00:00Z", f"2026-{month:02}-20T02:00:00Z") for month in (7, 8, 9)]


def test_a_quarter_settles_a_rolling_window_month_by_month() -> None:
    """Each month ends with an outage in its last 30 days, and each earns 10 %: the quarter pays what its months do."""
    samples = rows("2026-06-01T00:00:00Z", "2026-10-02T00:00:00Z", *MONTHLY_OUTAGES)
    promise = signed(ROLLING, credits=(TENTH,))
    quarter = month_of(promise, samples, "2026-Q3")
    assert [(line.window.label, str(line.amount)) for line in quarter.settlement.lines] == [
        ("2026-07", "48.00 EUR"), ("2026-08", "48.00 EUR"), ("2026-09", "48.00 EUR"),
    ]  # fmt: skip
    assert [paid(month_of(promise, samples, f"2026-{month:02}"))["tenth"] for month in (7, 8, 9)] == [Decimal(48)] * 3


def test_a_claim_for_a_rolling_window_is_that_of_its_month_alone() -> None:
    samples = rows("2026-06-01T00:00:00Z", "2026-10-02T00:00:00Z", *MONTHLY_OUTAGES)
    promise = signed(ROLLING, credits=(TENTH,), credit_caps=(Cap("year", percent(15)),))
    granted = Filing("accepted", date(2026, 8, 3), amount=Money(Decimal("40.00"), "EUR"))
    claims = {ClaimName("test", "c1", "tenth", "2026-07"): granted}
    july, august = (month_of(promise, samples, label, claims).settlement.lines[0] for label in ("2026-07", "2026-08"))
    assert july.claim is not None
    assert august.claim is not None
    assert (july.claim.state, july.claim.granted, august.claim.state) == ("accepted", granted.amount, "open")
    assert str(august.amount) == "32.00 EUR"  # 72.00 a year, of which 40.00 were granted
