"""What a statement says: the same to both parties, the same whenever it is made, whatever the order it was given in."""

import subprocess
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from agent.report.statement import Statement, as_csv, as_json, build, html, text
from agent.report.statement.axes import time_axis
from agent.report.statement.figures import clean, margin, span
from agent.report.statement.views import joined, promises
from agent.sla.assessment import Assessment
from agent.sla.samples.columns import SampleColumns
from agent.sla.terms.contract import Metric, Objective, Statistic, StatisticType, Target
from agent.sla.terms.money import Money
from agent.sla.terms.settlement import ChronicFinding, Settlement
from agent.sla.time.calendar import parse
from agent.sla.verdict import VerdictState
from tests.fakes import assessments as made
from tests.fakes.contracts import series

SOFTWARE = "linkwitness 0.1.0"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def month() -> tuple[Assessment, SampleColumns]:
    return made.real_month()


def statement(assessment: Assessment, series: SampleColumns | None = None, audience: str = "customer") -> Statement:
    given = [series] if series is not None else []
    return build(assessment, given, software=SOFTWARE, audience="provider" if audience == "provider" else "customer")


def test_both_parties_see_the_same_numbers(month: tuple[Assessment, SampleColumns]) -> None:
    customer, provider = statement(*month), statement(*month, audience="provider")
    assert customer.content == provider.content
    assert customer.content_sha256 == provider.content_sha256
    assert customer.sections != provider.sections
    assert set(customer.sections) == set(provider.sections)
    assert customer.summary.headline == provider.summary.headline
    assert customer.summary.sentences != provider.summary.sentences


def test_the_customer_reads_what_is_owed_and_the_provider_what_is_at_stake(
    month: tuple[Assessment, SampleColumns],
) -> None:
    assert statement(*month).summary.sentences == (
        "8 promises in 38 windows: 35 met, 2 breached, 1 inconclusive.",
        "Availability: 99.73 %, promised at least 99.95 %.",
        "Loss (loss-day): 4.10 %, promised at most 1 %.",
        "4 faults: 2 h 30 min 40 s down, of which 1 h 58 min 40 s count.",
        "ExampleTel owes 72.00 EUR, 15 % of the monthly charge; to be claimed by 2026-11-30.",
    )
    assert statement(*month, audience="provider").summary.sentences == (
        "At stake: 72.00 EUR, 15 % of the monthly charge, in 2 credit lines "
        "(1 owed without a claim, 1 not claimed yet).",
        "Availability: 99.73 %, promised at least 99.95 %.",
        "Loss (loss-day): 4.10 %, promised at most 1 %.",
        "4 faults; who answers: provider 3, not known 1; 1 disputed.",
        "1 exclusion accepted (4 h) and 1 not applied.",
        "3 items are not agreed yet; they are listed.",
        "8 promises in 38 windows: 35 met, 2 breached, 1 inconclusive.",
    )


def test_the_order_of_what_is_given_does_not_matter(month: tuple[Assessment, SampleColumns]) -> None:
    assessment, series = month
    other = replace(series, probe="udp")
    turned = replace(assessment, incidents=assessment.incidents[::-1])
    one = build(assessment, {"icmp": series, "udp": other}, software=SOFTWARE, audience="customer")
    two = build(turned, {"udp": other, "icmp": series}, software=SOFTWARE, audience="customer")
    assert html(one) == html(two)
    assert as_json(one) == as_json(two)
    assert as_csv(one) == as_csv(two)
    assert text(one) == text(two)


_MAKE = """
import hashlib
from agent.report.statement import as_csv, as_json, build, html, text
from tests.fakes.assessments import small
assessment, series = small()
made = build(assessment, [series], software="linkwitness 0.1.0", audience="provider")
print([hashlib.sha256(form(made).encode()).hexdigest() for form in (html, as_json, as_csv, text)])
"""


def test_the_same_bytes_in_every_process() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", _MAKE], cwd=ROOT, env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}, check=True,
            capture_output=True, text=True, timeout=60,
        ).stdout
        for seed in ("0", "4711")
    }  # fmt: skip
    assert len(told) == 1


def test_time_adds_up(month: tuple[Assessment, SampleColumns]) -> None:
    for account in statement(*month).content.time:
        parts = [account.excluded, account.measured, account.edges, *(row.duration for row in account.missing)]
        assert sum(part.exact or 0 for part in parts) == account.whole.exact
        assert (account.counted.exact or 0) + (account.excluded.exact or 0) == account.whole.exact


def test_a_promise_with_many_windows_shows_its_worst(month: tuple[Assessment, SampleColumns]) -> None:
    found = {item.row.objective: item for item in promises(statement(*month).content)}
    assert found["loss-day"].count == 31
    assert found["loss-day"].row.window.label == "2026-10-25"
    assert found["loss-day"].told == "30 met, 1 breached"
    assert found["availability"].bounds == "99.73 % to 99.13 %"
    assert found["repair"].bounds == "–"


@pytest.mark.parametrize(
    ("state", "headline", "tone"),
    [
        (VerdictState.MET, "All promises were kept", "good"),
        (VerdictState.BREACHED, "The one promise was broken", "bad"),
        (VerdictState.INCONCLUSIVE, "No verdict is possible for this period", "unknown"),
        (VerdictState.AT_RISK, "Nothing is broken yet; 1 result of 1 at risk", "warn"),
    ],
)
def test_the_headline_is_the_worst_there_is(state: VerdictState, headline: str, tone: str) -> None:
    made_of = made.verdict(made.DELAY, state, Fraction(12 * made.MS))
    found = statement(made.assessment(made_of)).summary
    assert (found.headline, found.tone) == (headline, tone)


def test_nothing_at_all_is_a_report_too() -> None:
    empty = made.assessment(settlement=Settlement((), None, None, obstacle="the circuit has no monthly charge"))
    for audience in ("customer", "provider"):
        found = statement(empty, audience=audience)
        assert found.summary.headline == "There is nothing to judge in this period"
        for form in (text(found), html(found)):
            assert "No fault is on record in this period." in form
            assert "No credit can be worked out: the circuit has no monthly charge." in form
        assert as_csv(found).count("\r\n") == 5  # head, two hashes, two files


def test_an_open_period_says_so() -> None:
    early = replace(
        made.assessment(made.verdict(made.DELAY, VerdictState.ON_TRACK, Fraction(1))),
        as_of_ns=made.at("10-12 09:00:00"),
    )
    found = statement(early)
    assert found.summary.headline == "All promises are kept so far"
    assert "the period is not over" in text(found)
    assert "the period is not over" in html(found)


def test_a_right_that_is_met_is_told() -> None:
    assessment, series = made.real_month()
    (finding,) = assessment.settlement.chronic
    met = ChronicFinding(finding.rule, True, "3 outages", finding.incidents, date(2026, 11, 24))
    found = statement(replace(assessment, settlement=replace(assessment.settlement, chronic=(met,))), series)
    told = "Repeated failure (three-in-thirty) gives the right to end the contract, to be used by 2026-11-24."
    assert told in found.summary.sentences


def objective(metric: Metric, kind: StatisticType, target: Fraction) -> Objective:
    return Objective("o", metric, Statistic(kind), Target(target, "t"))


@pytest.mark.parametrize(
    ("found", "value", "told"),
    [
        (objective(Metric.AVAILABILITY, StatisticType.AVAILABILITY_MEF, Fraction("0.9995")), "0.9996", "+0.01 points"),
        (objective(Metric.AVAILABILITY, StatisticType.AVAILABILITY_MEF, Fraction("0.9995")), "0.99949999",
         "−0.000001 points"),
        (objective(Metric.AVAILABILITY, StatisticType.AVAILABILITY_MEF, Fraction("0.9995")), "0.9995", "±0 points"),
        (objective(Metric.RTT, StatisticType.MEAN, Fraction(14 * 10**6)), "11412773", "+2.587 ms"),
        (objective(Metric.RTT, StatisticType.MEAN, Fraction(14 * 10**6)), "14000001", "−0.000001 ms"),
        (objective(Metric.OUTAGE, StatisticType.MTTR, Fraction(4 * made.HOUR)), str(5 * made.HOUR), "−1 h"),
        (objective(Metric.LOSS, StatisticType.RATIO, Fraction("0.0001")), "0.000168", "−0.0068 points"),
        (objective(Metric.LOSS, StatisticType.RATIO, Fraction("0.01")), "0", "+1.00 points"),
        (objective(Metric.OUTAGE, StatisticType.COUNT, Fraction(3)), "1", "+2"),
        (objective(Metric.THROUGHPUT, StatisticType.MINIMUM, Fraction(90_000_000)), "90500000", "+0.50 Mbit/s"),
    ],
)  # fmt: skip
def test_margins(found: Objective, value: str, told: str) -> None:
    assert margin(found, Fraction(value), found.target.value).shown == told


@pytest.mark.parametrize(
    ("ns", "told"),
    [(0, "0 s"), (1, "1 ns"), (10**6, "1 ms"), (1500, "0.001 ms"),
     (14_582_999, "14.582 ms"), (59_500 * 10**6, "59.5 s"), (3600 * 10**9, "1 h"),
     (-90 * 10**9, "−1 min 30 s"), (90_061 * 10**9, "1 d 1 h 1 min 1 s")],
)  # fmt: skip
def test_durations_are_told_whole(ns: int, told: str) -> None:
    assert span(ns) == told


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a\tb\nc", "a b c"), ("\x1b[31mred\x07", "[31mred"), ("\u202egnp.exe", "gnp.exe"), ("  Zürich  ", "Zürich"),
     ("\ufeffx\u2066y", "xy"), ("日本", "日本")],
)  # fmt: skip
def test_text_of_others_is_one_harmless_line(given: str, kept: str) -> None:
    assert clean(given) == kept


def test_sentences_are_joined_as_sentences() -> None:
    assert joined(("Nothing else failed.", "No gateway is watched.")) == "Nothing else failed. No gateway is watched."
    assert joined(("near end answered", "far end did not")) == "near end answered; far end did not."
    assert joined(()) == ""


def test_a_charge_of_nothing_is_no_division() -> None:
    nothing = Settlement((), Money(Decimal(0), "EUR"), Money(Decimal(0), "EUR"))
    assert statement(made.assessment(settlement=nothing)).content.credit.share.exact is None


@pytest.mark.parametrize("zone", ["UTC", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize("period", ["2026", "2026-Q4", "2026-W44", "2026-10-25", "2026-04-05"])
def test_any_period_in_any_zone_can_be_drawn(zone: str, period: str) -> None:
    window = parse(period, zone)
    length = max(window.length_ns // 3000 // (10 * made.SECOND), 1) * 10 * made.SECOND
    found = series(window.start_ns, "." * 20 + "H" * 4 + "." * 20, 11 * made.MS)
    spread = replace(
        found, circuit=made.CIRCUIT.id, start_ns=window.start_ns + np.arange(len(found), dtype=np.int64) * length,
    )  # fmt: skip
    verdict = made.verdict(made.DELAY, VerdictState.MET, Fraction(11 * made.MS), window=window)
    whole = statement(made.assessment(verdict, period=window, as_of_ns=window.end_ns + made.DAY), spread)
    chart = whole.content.chart
    assert chart is not None
    assert sum(row.sent for row in chart.buckets) == int(found.column("sent").sum())
    assert len(chart.buckets) <= 800
    axis = time_axis(chart)
    assert [tick for tick in axis.ticks if tick.label]
    assert [tick.at_ns for tick in axis.ticks] == sorted({tick.at_ns for tick in axis.ticks})
    assert all(window.start_ns <= tick.at_ns <= window.end_ns for tick in axis.ticks)
    assert html(whole).count('class="smoke"') == 1
