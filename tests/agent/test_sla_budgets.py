"""What a target still allows, where it leads, gaps too long to judge over, and where a value came from."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from agent.sla.terms.contract import Coverage, Metric, Objective, Statistic, StatisticType
from agent.sla.verdict import VerdictState, decide
from probes.core.arrays import Int64, Packets
from probes.core.clock import SECOND
from tests.fakes.columns import SPAN
from tests.fakes.contracts import MS, objective, series
from tests.fakes.evaluated import T0, evaluated, kept, row, state_of

T = StatisticType
P95 = Fraction(19, 20)


def promise(metric: Metric, target: str, kind: StatisticType, **how: object) -> Objective:
    return objective(metric, target, Statistic(kind, **how))  # type: ignore[arg-type]


def test_the_budget_of_availability_is_time() -> None:
    """100 intervals of 10 s, 90 %: 100 s allowed. Three high: 30 s used, 70 s left. It goes on as so far."""
    data = series(T0, "." * 50 + "HHH" + "." * 47)
    found = evaluated(promise(Metric.AVAILABILITY, "0.9", T.AVAILABILITY_MEF), data, 100)
    budget = found.findings.budget
    assert budget is not None
    assert (budget.allowed, budget.used, budget.left) == (100 * SECOND, 30 * SECOND, 70 * SECOND)
    assert (budget.noun, budget.projection) == ("ns down", Fraction(97, 100))
    assert found.findings.budget_used == Fraction(3, 10)


def test_the_budget_of_loss_is_packets_of_the_whole_window() -> None:
    """20 samples of a window of 40: 200 packets sent, 3 lost. About 200 more to come (and one at the edge): 1 % of 401
    are 4 allowed: one is left. Three quarters are used: at risk, though 1.5 % is over 1 % as well."""
    loss = promise(Metric.LOSS, "0.01", T.RATIO)
    now = T0 + 20 * SPAN
    found = evaluated(loss, series(T0, "1" + "." * 9 + "2" + "." * 9), 40, now_ns=now)
    budget = found.findings.budget
    assert budget is not None
    assert (budget.allowed, budget.used, budget.noun, budget.projection) == (4, 3, "packets lost", Fraction(3, 200))
    assert state_of(loss, found) is VerdictState.AT_RISK


def test_three_quarters_of_the_packets_are_a_risk() -> None:
    """0.1 % of 10,001 packets are 10; 8 of the 8,100 so far are lost: on the right side, but little is left."""
    loss = promise(Metric.LOSS, "0.001", T.RATIO)
    text = ["."] * 810
    for place in range(8):
        text[place * 100] = "1"
    found = evaluated(loss, series(T0, "".join(text)), 1000, now_ns=T0 + 810 * SPAN)
    assert found.findings.estimate.value == Fraction(8, 8100)
    decision = decide(loss, Fraction(1, 1000), found.findings, closed=False)
    assert decision.state is VerdictState.AT_RISK
    assert decision.reason == "three quarters of the budget of packets lost are used"


def test_slow_packets_and_runs_have_budgets() -> None:
    rows = [row(k, [10 * MS] * 9 + [50 * MS]) for k in range(10)]
    share = evaluated(promise(Metric.RTT, "0.8", T.RATIO_WITHIN, limit=Fraction(30 * MS)), rows, 10).findings.budget
    assert share is not None
    assert (share.allowed, share.used, share.noun) == (20, 10, "packets beyond the limit")
    how = {"limit": Fraction(20 * MS), "bin_ns": SPAN, "run_ns": 2 * SPAN}
    slow = [row(k, [(30 if k in (1, 2) else 10) * MS]) for k in range(5)]
    runs = evaluated(promise(Metric.RTT, "3", T.SUSTAINED, **how), slow, 10, now_ns=T0 + 5 * SPAN).findings.budget
    assert runs is not None
    assert (runs.allowed, runs.used, runs.projection) == (3, 1, 2), "one in half the window: two in all of it"


def test_a_mean_has_no_budget() -> None:
    assert evaluated(promise(Metric.RTT, "1", T.MEAN), [row(0, [10])], 1).findings.budget is None


@pytest.mark.parametrize(("gap_s", "state"), [(20, VerdictState.MET), (30, VerdictState.INCONCLUSIVE)])
def test_a_gap_too_long_forbids_the_estimate(gap_s: int, state: VerdictState) -> None:
    """At most 25 s in a row may be missing. 97 % or 98 % of the window is measured, which would suffice."""
    gap = gap_s // 10
    data = series(T0, "." * 50 + "?" * gap + "." * (50 - gap))
    kept_short = Coverage(Fraction(9, 10), longest_gap_ns=25 * SECOND)
    for metric, target, kind in ((Metric.LOSS, "0.01", T.RATIO), (Metric.AVAILABILITY, "0.999", T.AVAILABILITY_MEF)):
        wanted = replace(promise(metric, target, kind), coverage=kept_short)
        found = evaluated(wanted, data, 100)
        found = replace(found, findings=replace(found.findings, unrecorded=None))
        assert state_of(wanted, found) is state
        if state is VerdictState.INCONCLUSIVE:
            reason = decide(wanted, wanted.target.value, found.findings, closed=True).reason
            assert reason == "too long a time in a row was not measured"


def test_where_a_value_comes_from_is_evidence() -> None:
    rows = [row(0, [n * MS for n in range(1, 11)]), row(1, [n * MS for n in range(11, 21)])]
    asked: list[list[int]] = []
    reader = kept({1: [n * MS for n in range(11, 21)]})

    def counting(probe: str, starts: Int64) -> list[Packets | None]:
        asked.append(starts.tolist())
        return reader(probe, starts)

    wide = evaluated(promise(Metric.RTT, str(25 * MS), T.PERCENTILE, p=P95), rows, 2, packets=counting)
    assert wide.evidence["from"] == "histograms"
    assert "between 18.874 and 19.005 ms by histogram" in wide.details
    assert asked == [], "the target is not in the bucket: nothing is read"
    close = evaluated(promise(Metric.RTT, str(19 * MS), T.PERCENTILE, p=P95), rows, 2, packets=counting)
    assert close.evidence["from"] == "both"
    assert close.findings.estimate.value == 19 * MS
    assert asked == [[T0 + SPAN]], "only the sample that has a packet in the bucket"


def test_packets_that_do_not_fit_the_histogram_decide_nothing() -> None:
    rows = [row(0, [n * MS for n in range(1, 11)]), row(1, [n * MS for n in range(11, 21)])]
    forged = kept({1: [12 * MS] * 10})
    found = evaluated(promise(Metric.RTT, str(19 * MS), T.PERCENTILE, p=P95), rows, 2, packets=forged)
    assert found.evidence["from"] == "histograms"
    assert found.findings.estimate.best != found.findings.estimate.worst


def test_a_percentile_over_days_reads_each_sample_once() -> None:
    """Five thousand samples with a packet in the bucket: asked for in parts, each once."""
    delays = [n * MS for n in range(1, 21)]
    rows = [row(k, delays) for k in range(5_000)]
    seen: list[int] = []

    def reader(_probe: str, starts: Int64) -> list[Packets | None]:
        seen.extend(starts.tolist())
        packet = Packets(np.arange(20, dtype=np.int64), np.array(delays, np.int64), np.zeros(20, np.uint8))
        return [packet] * len(starts)

    found = evaluated(promise(Metric.RTT, str(19 * MS), T.PERCENTILE, p=P95), rows, 5_000, packets=reader)
    assert found.findings.estimate.value == 19 * MS
    assert seen == [T0 + k * SPAN for k in range(5_000)]


def test_ipdv_without_some_packets_is_bounded() -> None:
    """Packets of sample 1 are gone: its ten packets may have had any variation up to the time-out of 3 s."""
    rows = [row(k, [10 * MS, 12 * MS] * 5) for k in range(3)]
    wanted = promise(Metric.JITTER, str(5 * MS), T.PERCENTILE, p=Fraction(1, 2))
    reader = kept({k: [10 * MS, 12 * MS] * 5 for k in (0, 2)})
    found = evaluated(wanted, rows, 3, packets=reader)
    assert found.findings.estimate.value == 2 * MS
    assert found.findings.estimate.best == 2 * MS
    assert found.findings.estimate.worst == 2 * MS, "18 pairs of 2 ms, ten unknown: the 14th of 28 is one of the 18"
    assert found.evidence["unknown_at_most"] == 10
