"""Verdicts worked by hand: every case says what was measured, what follows, and why.

The window is the UTC day 2026-11-03: 8640 intervals of 10 s. `series` writes one letter per interval.
"""

import dataclasses
import random
from datetime import date
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.judge import columns_needed, judge, judge_by
from agent.sla.samples.causes import Circumstances, Gap
from agent.sla.samples.feeds import mismatches
from agent.sla.terms.contract import Coverage, JitterDefinition, Metric, Statistic, StatisticType, Window
from agent.sla.time import calendar
from agent.sla.time.spans import Spans
from agent.sla.verdict import Verdict, VerdictState, by_severity, worst
from probes.core.model import Circuit, ProbeSetting
from tests.fakes.columns import SECOND, SPAN, columns, packets
from tests.fakes.contracts import CIRCUIT, HOUR, ICMP, MS, contract, objective, runs, series

DAY = calendar.parse("2026-11-03", "UTC")
T0 = DAY.start_ns
AFTER = DAY.end_ns + HOUR
DAY_LONG = 8640

AVAILABLE = objective(Metric.AVAILABILITY, "0.999")
P95 = Statistic(StatisticType.PERCENTILE, p=Fraction(95, 100))


def verdict(
    promise, data, now_ns: int = AFTER, *, circuit: Circuit = CIRCUIT, since_ns: int | None = T0, recorded: bool = True
) -> Verdict:
    """recorded: the agent kept a record of every hole in the data, as it does of its own gaps."""
    found = judge(
        contract(promise), circuit, {data.probe: data}, now_ns=now_ns, window=DAY, measured_since_ns=since_ns,
        known=holes(data) if recorded else Circumstances(),
    )  # fmt: skip
    assert len(found) == 1
    return found[0]


def holes(data) -> Circumstances:
    """A gap, `stopped`, for all time of the day without a sample."""
    spacing = data.span_ns if data.kind == "icmp" else np.maximum(data.span_ns, HOUR)
    gone = Spans.of([(T0, DAY.end_ns)]) - Spans.union(data.start_ns, data.start_ns + spacing)
    return Circumstances(tuple(Gap(start, end, "stopped") for start, end in gone))


def day(*parts: tuple[int, str]) -> str:
    """A whole day of good intervals with pieces written over it at these positions."""
    text = ["."] * (DAY_LONG + 6)  # a minute more, for the look-ahead
    for position, piece in parts:
        text[position : position + len(piece)] = piece
    return "".join(text)


# --- availability, closed window -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "target", "state", "estimated", "up", "down", "unknown", "why"),
    [
        ([], "1", "met", False, 8640, 0, 0, "everything measured, nothing lost: 100 %"),
        ([(100, "HHHHHHHH")], "0.999", "met", False, 8632, 8, 0, "8 of 8640 down: 99.907 %"),
        ([(100, "HHHHHHHHH")], "0.999", "breached", False, 8631, 9, 0, "9 of 8640 down: 99.896 %"),
        ([(100, "H" * 27)], "0.996875", "met", False, 8613, 27, 0, "27/8640 = 0.3125 %: exactly the target meets"),
        ([(100, "H" * 28)], "0.996875", "breached", False, 8612, 28, 0, "one interval more breaches"),
        ([(100, "HH"), (200, "HH"), (300, "HH")], "1", "met", False, 8640, 0, 0, "three pairs are no outage"),
        ([(100, "HHH.H.H...")], "0.9995", "breached", False, 8633, 7, 0, "down until the first of three good ones"),
        ([(100, "5" * 60)], "1", "met", False, 8640, 0, 0, "half of the packets lost is not more than C = 50 %"),
        ([(100, "6" * 60)], "0.999", "breached", False, 8580, 60, 0, "60 % lost is"),
        ([(100, "??")], "1", "met", False, 8640, 0, 0, "two unknown intervals cannot have been an outage"),
        ([(100, "???")], "1", "met", True, 8637, 0, 3, "three can: best 100 %, worst 99.965 %; 99.97 % covered"),
        ([(100, "???")], "0.999", "met", False, 8637, 0, 3, "even if they were down: 99.965 % meets 99.9 %"),
        ([(100, "H" * 6), (500, "???")], "0.999", "met", True, 8631, 6, 3, "6 down meets, 9 down would not"),
        ([(100, "H" * 8), (500, "?" * 800)], "0.999", "breached", True, 7832, 8, 800, "8 of 7840 known: 99.898 %"),
        ([(100, "H" * 8), (500, "?" * 1000)], "0.999", "inconclusive", False, 7632, 8, 1000, "88.4 % is below 90 %"),
        ([(100, "H" * 9), (500, "?" * 8000)], "0.999", "breached", False, 631, 9, 8000, "9 down cannot be undone"),
        ([(100, "x" * 9)], "0.999", "met", True, 8631, 0, 9, "impaired samples are unknown, not down"),
        ([(8637, "HHHHHHHHH")], "0.999", "met", False, 8637, 3, 0, "an outage over midnight: three of it are ours"),
        ([(8638, "HH......")], "1", "met", False, 8640, 0, 0, "two at the end and good ones after: no outage"),
        ([(8639, "HHH")], "1", "breached", False, 8639, 1, 0, "the look-ahead after midnight makes the last one down"),
        ([(0, "H" * 8646)], "0.999", "breached", False, 0, 8640, 0, "down all day"),
    ],
)
def test_availability_of_a_closed_day(pieces, target, state, estimated, up, down, unknown, why) -> None:
    found = verdict(objective(Metric.AVAILABILITY, target), series(T0, day(*pieces)))
    evidence = found.evidence
    assert (evidence["intervals_up"], evidence["intervals_down"], evidence["intervals_unknown"]) == (up, down, unknown)
    assert (found.state, found.estimated) == (VerdictState(state), estimated), why
    assert found.value == Fraction(up, up + down)
    assert found.best == Fraction(up + unknown, 8640)
    assert found.worst == Fraction(up, 8640)
    assert found.coverage == Fraction(8640 - unknown, 8640)


def test_the_state_is_inherited_from_before_the_window() -> None:
    # An outage began 20 minutes before midnight and lasts 5 intervals into the day: those 5 are down, though the
    # first of them are followed by a pair of good ones that end nothing.
    data = series(T0 - 120 * SPAN, "." * 100 + "H" * 20 + "HHH.." + "." * 8640)
    found = verdict(objective(Metric.AVAILABILITY, "0.999"), data, since_ns=T0 - 120 * SPAN)
    assert found.evidence["intervals_down"] == 3
    flapping = series(T0 - 120 * SPAN, "." * 100 + "H" * 20 + ".H.H." + "." * 8640)
    found = verdict(objective(Metric.AVAILABILITY, "0.999"), flapping, since_ns=T0 - 120 * SPAN)
    assert found.evidence["intervals_down"] == 4  # down until the run of good ones that starts at the fifth
    (outage,) = found.evidence["outages"]
    assert outage["start_ns"] == T0 - 20 * SPAN
    assert outage["down_in_window_ns"] == 4 * SPAN


def test_without_what_came_before_the_first_intervals_are_unknown_until_a_run_decides() -> None:
    found = verdict(objective(Metric.AVAILABILITY, "0.9"), series(T0, ".H.H" + day()), since_ns=T0 - 10**15)
    assert found.evidence["intervals_unknown"] == 4


def test_dt_of_the_contract_sums_samples() -> None:
    # dt = 60 s: six samples each. Three minutes with 31 of 60 lost are down, the same with 30 of 60 are not.
    statistic = Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=60 * SECOND)
    bad = verdict(objective(Metric.AVAILABILITY, "1", statistic), series(T0, day((600, "H5H1H." * 3))))
    good = verdict(objective(Metric.AVAILABILITY, "1", statistic), series(T0, day((600, "H4H1H." * 3)))).state
    assert bad.evidence["intervals"] == 1440
    assert (bad.evidence["intervals_down"], bad.state, good) == (3, VerdictState.BREACHED, VerdictState.BREACHED)
    even = verdict(objective(Metric.AVAILABILITY, "1", statistic), series(T0, day((600, "H.H.H." * 3))))
    assert (even.evidence["intervals_down"], even.state) == (0, VerdictState.MET)


def test_dt_that_is_no_multiple_of_the_samples_is_refused_with_the_reason() -> None:
    statistic = Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=15 * SECOND)
    found = verdict(objective(Metric.AVAILABILITY, "0.999", statistic), series(T0, day()))
    assert found.state is VerdictState.INCONCLUSIVE
    assert found.sentence.endswith("dt of 15s is not a multiple of the sample interval of 10s")


# --- availability, open window ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "since", "target", "state", "why"),
    [
        ("." * 360, 0, "0.999", "on_track", "an hour without loss"),
        ("." * 100 + "HHH" + "." * 257, 0, "0.999", "at_risk", "3 of 360 down is 99.17 % so far, budget 8 intervals"),
        ("." * 4000 + "HHH" + "." * 317, 0, "0.999", "on_track", "3 of 4320 down is 99.93 %, 3 of 8.64 used"),
        ("." * 7000 + "H" * 7 + "." * 993, 0, "0.999", "at_risk", "7 of 8000 is 99.9125 %, but 81 % of the budget"),
        ("." * 100 + "H" * 8 + "." * 252, 0, "0.999", "at_risk", "8 of 8640: the rest of the day can still repair it"),
        ("." * 100 + "H" * 9 + "." * 251, 0, "0.999", "breached", "9 of 8640: nothing can repair that"),
        ("." * 358 + "HH", 0, "0.999", "on_track", "two bad ones at the end are not decided yet"),
        ("HH", 0, "0.999", "unmeasurable", "two bad ones are all there is"),
        ("." * 6, 354, "0.999", "on_track", "first measured a minute ago: the time before is held against nobody"),
        ("?" * 300 + "." * 60, 0, "0.999", "unmeasurable", "measured since midnight, but only 17 % of the time"),
        ("?" * 30 + "." * 330, 0, "0.999", "on_track", "91.7 % of the time since midnight is enough"),
    ],
)
def test_availability_of_an_open_day(text: str, since: int, target: str, state: str, why: str) -> None:
    now = T0 + (since + len(text)) * SPAN + 14 * SECOND
    data = series(T0 + since * SPAN, text)
    found = verdict(objective(Metric.AVAILABILITY, target), data, now, since_ns=T0 + since * SPAN)
    assert found.state is VerdictState(state), (why, found.sentence)


def test_the_sentence_of_an_open_day_names_all_numbers() -> None:
    text = "." * 1000 + "HHH" + "." * 509
    found = verdict(objective(Metric.AVAILABILITY, "0.999"), series(T0, text), T0 + 1512 * SPAN + 5 * SECOND)
    assert found.sentence == (
        "availability 99.80 % of 4 h 12 min measured since 2026-11-03 00:00 UTC (target 0.999): "
        "30 s down in 1 outage; budget left 56 s"
    )
    assert found.window_coverage == Fraction(1512, 8640)
    assert found.coverage == 1


def test_samples_not_yet_reported_are_not_missing() -> None:
    # The last sample ended 35 s ago: still on its way, the period ends with it. After 45 s it is a hole.
    data = series(T0, "." * 60)
    assert verdict(AVAILABLE, data, T0 + 60 * SPAN + 35 * SECOND).coverage == 1
    assert verdict(AVAILABLE, data, T0 + 60 * SPAN + 60 * SECOND).coverage == Fraction(60, 62)


def test_nothing_measured_is_said_so_in_both_kinds_of_window() -> None:
    empty = columns([])
    unmeasurable = verdict(AVAILABLE, empty, T0 + HOUR, since_ns=None)
    assert (unmeasurable.state, unmeasurable.value) == (VerdictState.UNMEASURABLE, None)
    assert unmeasurable.sentence == (
        "availability: no verdict for 2026-11-03 (UTC): nothing was measured by probe icmp"
    )
    assert verdict(AVAILABLE, empty).state is VerdictState.INCONCLUSIVE


# --- delay, jitter, loss ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delays", "target", "state", "why"),
    [
        ([10] * 8640, 10 * MS, "met", "the mean is exactly the target"),
        ([10] * 8639 + [11], 10 * MS, "breached", "one sample of 8640 is 1 ms slower"),
        ([10] * 4320 + [20] * 4320, 15 * MS, "met", "half and half: 15 ms"),
    ],
)
def test_mean_delay_of_a_whole_day(delays: list[int], target: int, state: str, why: str) -> None:
    rows = [packets(T0 + k * SPAN, 10, 0, rtt_count=10, rtt_sum_ns=10 * delay * MS) for k, delay in enumerate(delays)]
    data = columns(rows)
    found = verdict(objective(Metric.RTT, target), data)
    assert (found.state, found.estimated) == (VerdictState(state), False), why
    assert found.value == Fraction(sum(delays) * MS, 8640)


def test_a_mean_with_unknown_time_has_no_worst_case_so_coverage_decides() -> None:
    promise = objective(Metric.RTT, 15 * MS)
    most = verdict(promise, series(T0, day((100, "?" * 100))))
    assert (most.state, most.estimated, most.worst) == (VerdictState.MET, True, None)
    # 85400 packets of 10 ms, at most 1001 unknown of 0 ms
    assert most.best == Fraction(85400 * 10 * MS, 85400 + 1001)
    assert most.sentence.endswith(
        "98.84 % of the time was measured; 16 min 40 s not measured: agent stopped 16 min 40 s; "
        "estimated, at best 9.884 ms"
    )
    little = verdict(promise, series(T0, day((100, "?" * 1000))))
    assert (little.state, little.value) == (VerdictState.INCONCLUSIVE, 10 * MS)
    assert little.sentence.endswith(
        "88.42 % of the time was measured; 2 h 46 min not measured: agent stopped 2 h 46 min; "
        "inconclusive: too little was measured (the contract asks for 90 %)"
    )


def test_a_mean_that_no_unknown_packet_could_save_is_breached_at_any_coverage() -> None:
    # 2000 packets of 100 ms and at most 84401 of 0 ms: still 2.3 ms.
    found = verdict(objective(Metric.RTT, 2 * MS), series(T0, "." * 200, 100 * MS))
    assert (found.state, found.estimated) == (VerdictState.BREACHED, False)


@pytest.mark.parametrize(
    ("slow", "state", "why"),
    [
        (432, "met", "95 % of 8640 samples, 8208, are fast: p95 is the last fast one"),
        (433, "breached", "one slow sample more and p95 is slow"),
    ],
)
def test_a_percentile_on_the_edge(slow: int, state: str, why: str) -> None:
    def row(k: int, delay: int) -> dict[str, object]:
        names = ("rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_p99_ns")
        return packets(T0 + k * SPAN, 10, 0, rtt_count=10, rtt_sum_ns=10 * delay, **dict.fromkeys(names, delay))

    data = columns([row(k, (20 if k < slow else 10) * MS) for k in range(DAY_LONG)])
    found = verdict(objective(Metric.RTT, 10 * MS, P95), data)
    assert (found.state, found.estimated) == (VerdictState(state), False), why


def test_a_percentile_needs_enough_packets() -> None:
    # p99.9 needs 1000 packets; 900 of them do not make one, 1000 do.
    statistic = Statistic(StatisticType.PERCENTILE, p=Fraction(999, 1000))
    promise = objective(Metric.RTT, 20 * MS, statistic)
    few = verdict(promise, series(T0, "." * 90), T0 + 90 * SPAN)
    assert few.state is VerdictState.UNMEASURABLE
    assert few.sentence.endswith("unmeasurable: 900 measured values are too few for this statistic, it needs 1000")
    assert verdict(promise, series(T0, "." * 100), T0 + 100 * SPAN).state is VerdictState.ON_TRACK
    fewer = dataclasses.replace(promise, min_samples=900)
    assert verdict(fewer, series(T0, "." * 90), T0 + 90 * SPAN).state is VerdictState.ON_TRACK


@pytest.mark.parametrize(
    ("pieces", "target", "state", "estimated", "why"),
    [
        ([], "0", "met", False, "nothing lost of nothing unknown"),
        ([(5, "1")], "0", "breached", False, "one packet lost"),
        ([(5, "H" * 864)], "0.1", "met", False, "8640 of 86400 is exactly 10 %"),
        ([(5, "H" * 864), (2000, "1")], "0.1", "breached", False, "one packet more"),
        ([(5, "?")], "0.001", "met", False, "at most 11 unknown packets of 86401: 0.013 % at worst"),
        ([(5, "?" * 10)], "0.001", "met", True, "at most 101 unknown of 86401: 0.117 % at worst, 0 as measured"),
        ([(5, "?" * 10), (900, "H" * 9)], "0.001", "breached", False, "90 of at most 86401 lost is 0.104 % at best"),
        ([(5, "?" * 800), (900, "H" * 8)], "0.001", "breached", True, "80 of 78400 is 0.102 %, of 86401 0.093 %"),
        ([(5, "?" * 900), (1000, "H" * 8)], "0.001", "inconclusive", False, "the same with 89.6 % covered"),
        ([(5, "x" * 10)], "0", "met", True, "impaired samples lost half of their packets: not the network's"),
    ],
)
def test_loss_of_a_closed_day(pieces, target: str, state: str, estimated: bool, why: str) -> None:
    found = verdict(objective(Metric.LOSS, target), series(T0, day(*pieces)))
    assert (found.state, found.estimated) == (VerdictState(state), estimated), (why, found.sentence)


def test_loss_of_an_open_day_is_breached_only_beyond_repair() -> None:
    promise = objective(Metric.LOSS, "0.01")
    now = T0 + 360 * SPAN + SECOND
    # 40 of 3600 lost: 1.1 %, but 40 of 86400 would be 0.05 %.
    assert verdict(promise, series(T0, "." * 356 + "HHHH"), now).state is VerdictState.AT_RISK
    # 870 of 3600 lost: of at most 86401 packets of the day that is more than 1 %.
    assert verdict(promise, series(T0, "." * 273 + "H" * 87), now).state is VerdictState.BREACHED
    assert verdict(promise, series(T0, "." * 359 + "1"), now).state is VerdictState.ON_TRACK


def test_an_outage_has_no_delay_and_says_so() -> None:
    found = verdict(objective(Metric.RTT, 10 * MS), series(T0, "H" * 60), T0 + 60 * SPAN)
    assert found.state is VerdictState.UNMEASURABLE
    assert "no packet was answered" in found.sentence


def test_jitter_by_each_definition() -> None:
    rows = [
        packets(T0 + k * SPAN, 10, 0, ipdv_pairs=9, ipdv_abs_sum_ns=9 * MS, rfc3550_ns=2 * MS, rtt_count=10,
                **{f"rtt_{name}_ns": 10 * MS for name in ("min", "p50")},
                **{f"rtt_{name}_ns": 15 * MS for name in ("p95", "p99", "max")})
        for k in range(DAY_LONG)
    ]  # fmt: skip
    data = columns(rows)
    ipdv = verdict(objective(Metric.JITTER, 1 * MS), data)
    assert (ipdv.state, ipdv.value) == (VerdictState.MET, 1 * MS)
    rtp = Statistic(StatisticType.MEAN, definition=JitterDefinition.RFC3550)
    assert verdict(objective(Metric.JITTER, 1 * MS, rtp), data).value == 2 * MS
    # One packet of ten took 15 ms: p95 of the day is 15, the smallest 10, so PDV p95 is 5 ms.
    pdv = Statistic(StatisticType.PERCENTILE, p=Fraction(95, 100), definition=JitterDefinition.PDV)
    found = verdict(objective(Metric.JITTER, 5 * MS, pdv), data)
    assert (found.state, found.value) == (VerdictState.MET, 5 * MS)
    assert found.sentence.startswith("jitter p95 PDV 5 ms over 1 d measured in 2026-11-03 (UTC) (target 5000000): ")


# --- available time --------------------------------------------------------------------------------------------------


def test_only_available_time_leaves_the_outage_to_the_objective_on_availability() -> None:
    text = day((100, "H" * 100), (500, "1" * 10), (700, "HH"))
    promises = (
        dataclasses.replace(AVAILABLE, id="up"),
        objective(Metric.LOSS, "0.001"),
        objective(Metric.LOSS, "0.001", id="available", only_available_time=True),
    )
    up, loss, available = judge(
        contract(*promises), CIRCUIT, {"icmp": series(T0, text)}, now_ns=AFTER, window=DAY, measured_since_ns=T0
    )
    assert up.evidence["intervals_down"] == 100
    assert (loss.value, loss.state) == (Fraction(1030, 86400), VerdictState.BREACHED)
    # 10 single packets and 20 of a pair that was no outage, of 8540 intervals
    assert (available.value, available.state) == (Fraction(30, 85400), VerdictState.MET)
    assert available.evidence["samples_excluded_unavailable"] == 100
    assert available.coverage == 1


def test_time_of_doubtful_availability_is_not_measured_time() -> None:
    # H?? may have been an outage of three: its 10 lost packets count or do not.
    promises = (AVAILABLE, objective(Metric.LOSS, "0.0001", id="loss", only_available_time=True))
    data = series(T0, day((100, "H??")))
    found = judge(
        contract(*promises), CIRCUIT, {"icmp": data}, now_ns=AFTER, window=DAY, measured_since_ns=T0, known=holes(data),
    )[1]  # fmt: skip
    assert found.value == 0
    assert found.best == 0
    assert found.worst == Fraction(21 + 10, 86370 + 31)
    assert found.state is VerdictState.MET
    assert found.estimated


# --- throughput ------------------------------------------------------------------------------------------------------

M = 10**6


@pytest.mark.parametrize(
    ("statistic", "rates", "state", "why"),
    [
        (Statistic(StatisticType.MINIMUM), [(95, 99)] * 24, "met", "the slower direction of every run reaches 95"),
        (Statistic(StatisticType.MINIMUM), [(95, 99)] * 23 + [(99, 94)], "breached", "one run in one direction missed"),
        (Statistic(StatisticType.MINIMUM, direction="forward"), [(95, 20)] * 24, "met", "backward is not promised"),
        (Statistic(StatisticType.MINIMUM, direction="backward"), [(95, 20)] * 24, "breached", "here it is"),
        (Statistic(StatisticType.MEAN), [(90, 99)] * 12 + [(100, 100)] * 12, "met", "mean of 90 and 100"),
        (Statistic(StatisticType.PERCENTILE, p=Fraction(1, 10)), [(1, 1)] * 2 + [(99, 99)] * 22, "met", "3rd of 24"),
        (Statistic(StatisticType.PERCENTILE, p=Fraction(1, 10)), [(1, 1)] * 3 + [(99, 99)] * 21, "breached", "3rd"),
    ],
)
def test_throughput_of_a_closed_day(statistic: Statistic, rates, state: str, why: str) -> None:
    data = runs([(T0 + k * HOUR + 7 * SECOND, f * M, b * M) for k, (f, b) in enumerate(rates)])
    found = verdict(objective(Metric.THROUGHPUT, 95 * M, statistic), data)
    assert (found.state, found.estimated) == (VerdictState(state), False), why
    assert found.coverage == 1


def test_a_share_of_the_committed_rate() -> None:
    data = runs([(T0 + k * HOUR, 91 * M, 90 * M) for k in range(24)])
    found = verdict(objective(Metric.THROUGHPUT, "0.9", share=True), data)
    assert (found.state, found.target) == (VerdictState.MET, 90 * M)
    assert "(target 0.9 = 90 Mbit/s): 24 runs" in found.sentence
    bare = dataclasses.replace(CIRCUIT, committed_rate_bps=None)
    without = verdict(objective(Metric.THROUGHPUT, "0.9", share=True), data, circuit=bare)
    assert without.state is VerdictState.INCONCLUSIVE
    assert without.sentence.endswith("the circuit has no committed_rate to take a share of")


def test_missing_runs_may_have_been_anything() -> None:
    data = runs([(T0 + k * HOUR, 99 * M, 99 * M) for k in range(24) if k != 5])
    found = verdict(objective(Metric.THROUGHPUT, 95 * M), data)
    assert (found.state, found.estimated, found.worst) == (VerdictState.MET, True, 0)
    assert found.coverage == Fraction(23, 24)
    few = runs([(T0 + k * HOUR, 99 * M, 99 * M) for k in range(12)])
    assert verdict(objective(Metric.THROUGHPUT, 95 * M), few).state is VerdictState.INCONCLUSIVE


def test_one_run_below_the_minimum_cannot_be_repaired_in_an_open_day() -> None:
    data = runs([(T0 + 5 * SECOND, 90 * M, 99 * M)])
    assert verdict(objective(Metric.THROUGHPUT, 95 * M), data, T0 + HOUR).state is VerdictState.BREACHED
    mean = objective(Metric.THROUGHPUT, 95 * M, Statistic(StatisticType.MEAN))
    assert verdict(mean, data, T0 + HOUR).state is VerdictState.AT_RISK


def test_runs_without_a_result_are_missing_not_zero() -> None:
    rows = [{"start_ns": T0 + k * HOUR, "state": 1 if k % 2 else 0} for k in range(24)]
    for row in rows[::2]:
        row |= {"forward_bps": 99 * M, "backward_bps": 99 * M}
    found = verdict(objective(Metric.THROUGHPUT, 95 * M), columns(rows, probe="throughput", kind="throughput"))
    assert (found.state, found.value) == (VerdictState.INCONCLUSIVE, 99 * M)


def test_a_timetable_counts_runs_that_failed_against_coverage() -> None:
    nightly = ProbeSetting("throughput", "throughput", {"every": HOUR}, schedule="15 3 * * *")
    circuit = dataclasses.replace(CIRCUIT, probes=(ICMP, nightly))
    data = runs([(T0 + 3 * HOUR, 99 * M, 99 * M)])
    found = verdict(objective(Metric.THROUGHPUT, 95 * M), data, circuit=circuit)
    assert (found.state, found.estimated, found.coverage) == (VerdictState.MET, False, 1)


# --- which probe, which window, what to read -------------------------------------------------------------------------


def test_the_feed_is_chosen_from_the_configuration() -> None:
    udp = ProbeSetting("echo", "udp", {"every": SECOND})
    circuit = dataclasses.replace(CIRCUIT, probes=(ICMP, udp))
    loss = objective(Metric.LOSS, "0.01")
    data = series(T0, day(), probe="echo")
    assert verdict(loss, data, circuit=circuit).evidence["probe"] == "echo"
    # The preferred probe is silent: the other one must not step in for it.
    silent = verdict(loss, series(T0, day()), circuit=circuit)
    assert silent.state is VerdictState.INCONCLUSIVE
    assert silent.sentence.endswith("nothing was measured by probe echo")
    named = dataclasses.replace(loss, probe="icmp")
    assert verdict(named, series(T0, day()), circuit=circuit).state is VerdictState.MET
    absent = verdict(dataclasses.replace(loss, kind="stamp"), data, circuit=circuit)
    assert absent.sentence.endswith("the circuit has no probe of kind stamp")


def test_what_a_circuit_lacks_for_its_contract_is_told_before_anything_is_measured() -> None:
    odd = Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=15 * SECOND)
    promises = (
        objective(Metric.AVAILABILITY, "0.9", odd),
        objective(Metric.THROUGHPUT, "0.9", share=True),
        objective(Metric.LOSS, "0.1", probe="main"),
    )
    poor = dataclasses.replace(CIRCUIT, probes=(ICMP,), committed_rate_bps=None)
    assert mismatches(contract(*promises), poor, SPAN) == (
        "objective availability: dt of 15s is not a multiple of the sample interval of 10s",
        "objective throughput: the circuit has no probe of kind throughput",
        "objective throughput: the circuit has no committed_rate to take a share of",
        "objective loss: the circuit has no probe named main",
    )
    assert mismatches(contract(AVAILABLE, objective(Metric.THROUGHPUT, "0.9", share=True)), CIRCUIT, SPAN) == ()


def test_a_contract_is_judged_only_while_it_is_valid() -> None:
    promise = objective(Metric.LOSS, "0.01")
    early = contract(promise, valid_from=date(2027, 1, 1))
    (found,) = judge(early, CIRCUIT, {"icmp": series(T0, day())}, now_ns=AFTER, window=DAY, measured_since_ns=T0)
    assert found.sentence.endswith("the contract is not valid in 2026-11-03")
    assert columns_needed(early, CIRCUIT, now_ns=AFTER, window=DAY) == ()


def test_each_objective_keeps_its_own_window() -> None:
    monthly = objective(Metric.LOSS, "0.01", window=Window("month"))
    rolling = objective(Metric.LOSS, "0.01", id="hour", window=Window(None, HOUR))
    series_by_probe = {"icmp": series(T0, day())}
    now = T0 + 12 * HOUR + SECOND
    found = judge(contract(monthly, rolling), CIRCUIT, series_by_probe, now_ns=now, measured_since_ns=T0)
    assert [verdict.window.label for verdict in found] == ["2026-11", "last 1h"]
    assert [verdict.state for verdict in found] == [VerdictState.ON_TRACK, VerdictState.MET]
    # Asked for a past day, the rolling one ends with it.
    past = judge(contract(rolling), CIRCUIT, series_by_probe, now_ns=AFTER, window=DAY, measured_since_ns=T0)
    assert past[0].window.end_ns == DAY.end_ns


def test_what_is_read_is_what_is_needed() -> None:
    pdv = Statistic(StatisticType.PERCENTILE, p=Fraction(95, 100), definition=JitterDefinition.PDV)
    promises = (AVAILABLE, objective(Metric.RTT, 1), objective(Metric.JITTER, 1, pdv), objective(Metric.THROUGHPUT, 1))
    icmp, rate = columns_needed(contract(*promises), CIRCUIT, now_ns=AFTER, window=DAY)
    assert (icmp.probe, rate.probe) == ("icmp", "throughput")
    assert {"sent", "lost", "rtt_sum_ns", "rtt_count", "histogram", "rtt_min_ns"} <= set(icmp.columns)
    assert rate.columns == ("backward_bps", "forward_bps")
    assert icmp.start_ns <= DAY.start_ns - 24 * HOUR
    assert DAY.end_ns < icmp.end_ns <= AFTER
    assert (rate.start_ns, rate.end_ns) == (DAY.start_ns - HOUR, DAY.end_ns), "and the last run before it"


def test_judging_with_only_the_columns_that_were_asked_for() -> None:
    data = {"icmp": series(T0, day()), "throughput": runs([(T0 + k * HOUR, 99 * M, 99 * M) for k in range(24)])}
    everything = {field.name for field in dataclasses.fields(data["icmp"]) if field.init}

    def read(reading):
        kept = {"circuit", "probe", "kind", "start_ns", "span_ns", "state", *reading.columns}
        return dataclasses.replace(data[reading.probe], **dict.fromkeys(everything - kept)).between(
            reading.start_ns, reading.end_ns
        )

    pdv = Statistic(StatisticType.PERCENTILE, p=Fraction(95, 100), definition=JitterDefinition.PDV)
    rtp = Statistic(StatisticType.MEAN, definition=JitterDefinition.RFC3550)
    promises = [AVAILABLE, objective(Metric.LOSS, 1), objective(Metric.THROUGHPUT, 1)]
    promises += [objective(Metric.RTT, 10 * MS, item) for item in (None, P95)]
    promises += [objective(Metric.JITTER, 1, item) for item in (None, pdv, rtp)]
    for promise in promises:
        (found,) = judge_by(read, contract(promise), CIRCUIT, now_ns=AFTER, window=DAY, measured_since_ns=T0).verdicts
        assert found.state is VerdictState.MET, found.sentence


def test_attempts_give_availability_in_intervals_of_twice_their_spacing() -> None:
    tcp = ProbeSetting("tcp", "tcp", {"every": SPAN})
    circuit = dataclasses.replace(CIRCUIT, probes=(tcp,))
    rows = [packets(T0 + k * SPAN + (k % 7) * MS, 1, int(100 <= k < 106), span_ns=3 * MS) for k in range(DAY_LONG)]
    found = verdict(AVAILABLE, columns(rows, probe="tcp", kind="tcp"), circuit=circuit)
    assert found.evidence["dt_ns"] == 2 * SPAN
    assert (found.evidence["intervals"], found.evidence["intervals_down"]) == (4320, 3)


# --- properties ------------------------------------------------------------------------------------------------------


def test_order_of_verdicts() -> None:
    base = verdict(AVAILABLE, series(T0, day()))
    states = ["met", "on_track", "unmeasurable", "inconclusive", "at_risk", "breached"]
    verdicts = [dataclasses.replace(base, state=VerdictState(state)) for state in states]
    random.Random(1).shuffle(verdicts)
    assert worst(verdicts).state is VerdictState.BREACHED
    assert worst([]) is None
    order = [item.state.value for item in by_severity(verdicts)]
    assert order[:2] == ["breached", "at_risk"]
    assert order[4:] == ["on_track", "met"]


SHORT = calendar.WindowInstants(T0, T0 + 60 * SPAN, "ten minutes", "UTC")
PROMISES = (
    objective(Metric.AVAILABILITY, "0.9"),
    objective(Metric.AVAILABILITY, "0.95", Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=2 * SPAN, n=2)),
    objective(Metric.LOSS, "0.05"),
    objective(Metric.LOSS, "0.02", only_available_time=True),
    objective(Metric.RTT, 12 * MS),
    objective(Metric.RTT, 15 * MS, P95),
)


def judged_short(rows: list[dict[str, object]], now_ns: int) -> list[Verdict]:
    promises = tuple(
        dataclasses.replace(item, id=f"o{k}", window=Window(None, 60 * SPAN), coverage=Coverage(Fraction(1, 2)))
        for k, item in enumerate(PROMISES)
    )
    return list(judge(
        contract(*promises), CIRCUIT, {"icmp": columns(rows)}, now_ns=now_ns, window=SHORT, measured_since_ns=T0
    ))  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.text("...HH1357", min_size=63, max_size=63), st.randoms())
def test_deleting_data_never_turns_met_into_breached_or_back(text: str, chance: random.Random) -> None:
    rows = []
    for k, letter in enumerate(text):
        lost = {".": 0, "H": 10}.get(letter, int(letter) if letter.isdigit() else 0)
        got, delay = 10 - lost, chance.choice((5, 10, 14, 20)) * MS
        marks = dict.fromkeys([f"rtt_{n}_ns" for n in ("min", "p50", "p95", "p99", "max")], delay) if got else {}
        more = {"rtt_count": got, "rtt_sum_ns": got * delay, **marks} if got else {}
        rows.append(packets(T0 + k * SPAN, 10, lost, late=0, **more))
    now = SHORT.end_ns + HOUR
    full = judged_short(rows, now)
    for share in (0.1, 0.4, 0.8):
        kept = [row for row in rows if chance.random() >= share]
        for before, after in zip(full, judged_short(kept, now), strict=True):
            certain = not (before.estimated or after.estimated)
            if certain:
                assert {before.state, after.state} != {VerdictState.MET, VerdictState.BREACHED}, before.objective
            if before.worst is not None and before.worst == before.best and after.evidence.get("values"):
                low, high = sorted((after.best, after.worst if after.worst is not None else 10**18))
                assert low <= before.worst <= high


@settings(max_examples=100, deadline=None)
@given(st.text("...HH15?x", min_size=60, max_size=60), st.randoms())
def test_the_same_columns_give_the_same_verdict(text: str, chance: random.Random) -> None:
    data = series(T0, text)
    now = T0 + chance.choice((30, 60, 70)) * SPAN
    promises = contract(*PROMISES[:3])
    first = judge(promises, CIRCUIT, {"icmp": data}, now_ns=now, measured_since_ns=T0)
    again = judge(promises, CIRCUIT, {"icmp": data}, now_ns=now, measured_since_ns=T0)
    assert first == again
    for found in first:
        assert 0 <= found.window_coverage <= found.coverage <= 1
        assert found.sentence
        assert np.iinfo(np.int64).min not in found.evidence.values()
