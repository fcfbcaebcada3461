"""Statistics by hand and by brute force: values exact, bounds that hold whatever the unknown packets were."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.statistic import statistics
from probes.core.arrays import ABSENT
from probes.metrics import histogram
from tests.fakes.columns import SPAN, columns, packets

MS = 10**6
P95 = Fraction(95, 100)


def ranked(values: list[int], p: Fraction) -> int:
    """Nearest rank, RFC 2330 11.3: the smallest x with at least p of all values <= x."""
    return next(x for x in sorted(values) if Fraction(sum(v <= x for v in values), len(values)) >= p)


def exact(values: list[int], p: Fraction) -> statistics.Reduction:
    array = np.array(values, np.int64)
    return statistics.percentile(array, array, np.ones_like(array), p, {})


def sample(start: int, delays: list[int], lost: int = 0, *, with_histogram: bool = True) -> dict[str, object]:
    array = np.array(delays, np.int64)
    row = packets(start, len(delays) + lost, lost, late=0)
    if delays:
        steps = np.abs(np.diff(array))
        row |= {
            "rtt_count": len(delays), "rtt_sum_ns": int(array.sum()),
            "rtt_min_ns": int(array.min()), "rtt_max_ns": int(array.max()),
            "rtt_p50_ns": ranked(delays, Fraction(1, 2)), "rtt_p95_ns": ranked(delays, P95),
            "rtt_p99_ns": ranked(delays, Fraction(99, 100)),
            "ipdv_pairs": len(steps), "ipdv_abs_sum_ns": int(steps.sum()),
        }  # fmt: skip
        row["histogram"] = histogram.build(array) if with_histogram else None
    return row


ALL = np.array([True])


@pytest.mark.parametrize(
    ("values", "p", "expected", "why"),
    [
        ([1], 50, 1, "ceil(0.5) = 1st of one"),
        ([1, 2], 50, 1, "ceil(1.0) = 1st of two"),
        ([1, 2, 3], 50, 2, "ceil(1.5) = 2nd"),
        ([10, 20, 30, 40], 75, 30, "ceil(3.0) = 3rd, no interpolation"),
        ([10, 20, 30, 40], 76, 40, "ceil(3.04) = 4th"),
        (list(range(1, 101)), 95, 95, "the 95th of 1..100"),
        (list(range(1, 21)), 95, 19, "ceil(19.0) = 19th: exactly 95 % are at or below it"),
        (list(range(1, 22)), 95, 20, "ceil(19.95) = 20th"),
        (list(range(1, 20)), 95, 19, "ceil(18.05) = 19th: with 19 values the largest"),
        ([5] * 99 + [1000], 99, 5, "one of a hundred does not move p99"),
        ([5] * 98 + [1000] * 2, 99, 1000, "two do"),
        (list(range(1, 1001)), "99.9", 999, "ceil(999.0) = 999th"),
    ],
)
def test_percentiles_by_nearest_rank(values: list[int], p: int | str, expected: int, why: str) -> None:
    estimate = exact(values, Fraction(p) / 100).at(0)
    assert (estimate.value, estimate.best, estimate.worst) == (expected, expected, expected), why


def test_bounds_of_a_percentile_by_hand() -> None:
    # 20 values 1..20, p95. Known alone: the 19th. One more, unknown: rank ceil(0.95 * 21) = 20.
    # Worst, it is huge: the 20th of (1..20, huge) is 20. Best, it is 0: the 20th of (0, 1..20) is 19.
    one = exact(list(range(1, 21)), P95).at(1)
    assert (one.value, one.best, one.worst) == (19, 19, 20)
    # Two unknown: rank ceil(20.9) = 21; worst: the 21st of (1..20, huge, huge) is huge, so there is no bound.
    two = exact(list(range(1, 21)), P95).at(2)
    assert (two.best, two.worst) == (19, None)
    # Twenty unknown: rank ceil(38.0) = 38; best: the 38th of (twenty zeros, 1..20) is 18.
    assert exact(list(range(1, 21)), P95).at(20).best == 18
    # p50 of two values and four unknown: rank 3 of (0, 0, 0, 0, 7, 9) is 0.
    assert exact([7, 9], Fraction(1, 2)).at(4).best == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=8),
    st.integers(0, 3),
    st.sampled_from([Fraction(1, 2), Fraction(9, 10), P95, Fraction(99, 100)]),
)
def test_percentile_bounds_hold_for_any_unknown_values(values: list[int], unknown: int, p: Fraction) -> None:
    estimate = exact(values, p).at(unknown)
    assert estimate.value == ranked(values, p)
    assert estimate.best is not None
    seen = set()
    for received in range(unknown + 1):  # the others were lost and have no delay
        for hidden in itertools.combinations_with_replacement((0, 5, 15, 31, 10**9), received):
            truth = ranked([*values, *hidden], p)
            seen.add(truth)
            assert estimate.best <= truth
            assert estimate.worst is None or truth <= estimate.worst
    assert estimate.best in seen
    assert (10**9 if estimate.worst is None else estimate.worst) in seen


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.integers(1, 10**8), max_size=40), min_size=1, max_size=5), st.booleans())
def test_a_percentile_of_histograms_or_of_summaries_bounds_the_true_one(parts: list[list[int]], kept: bool) -> None:
    data = columns([sample(k * SPAN, part, 1, with_histogram=kept) for k, part in enumerate(parts)])
    rows = np.ones(len(parts), np.bool_)
    everything = [value for part in parts for value in part]
    found = statistics.delay_percentile(data, rows, P95)
    estimate = found.at(0)
    assert found.count == len(everything)
    if not everything:
        assert estimate.value is None
        return
    truth = ranked(everything, P95)
    assert estimate.best <= truth <= estimate.worst
    assert estimate.best <= estimate.value <= estimate.worst
    if kept:
        assert abs(estimate.value - truth) <= truth * Fraction(1, 128)
    assert bool(found.note) != (kept or not everything)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 10**8), min_size=2, max_size=40), st.data())
def test_splitting_and_order_of_samples_change_nothing(delays: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(delays) - 1))
    whole = columns([sample(0, delays)])
    split = columns([sample(0, delays[:cut]), sample(SPAN, delays[cut:])])
    swapped = columns([sample(0, delays[cut:]), sample(SPAN, delays[:cut])])
    two = np.ones(2, np.bool_)
    for reduce in (
        statistics.delay_mean,
        statistics.loss_ratio,
        lambda c, r: statistics.delay_percentile(c, r, P95),
        lambda c, r: statistics.pdv_percentile(c, r, P95),
    ):
        expected = reduce(whole, ALL).at(3)
        assert reduce(split, two).at(3) == expected
        assert reduce(swapped, two).at(3) == expected


def test_mean_delay_is_packet_weighted_and_exact() -> None:
    # 9 packets of 10 ms and one sample of 1 packet of 20 ms: 110 / 10 = 11 ms, not (10 + 20) / 2 = 15.
    data = columns([sample(0, [10 * MS] * 9), sample(SPAN, [20 * MS])])
    assert statistics.delay_mean(data, np.ones(2, np.bool_)).at(0).value == 11 * MS
    # 1, 1 and 2 ns: 4/3, kept as such.
    assert statistics.delay_mean(columns([sample(0, [1, 1, 2])]), ALL).at(0).value == Fraction(4, 3)


def test_bounds_of_a_mean_by_hand() -> None:
    # 10 packets of 10 ms, 10 unknown: at best all 0, so 5 ms; at worst without limit.
    estimate = statistics.delay_mean(columns([sample(0, [10 * MS] * 10)]), ALL).at(10)
    assert (estimate.value, estimate.best, estimate.worst) == (10 * MS, 5 * MS, None)


def test_lost_packets_are_in_the_ratio_and_not_in_the_delay() -> None:
    data = columns([sample(0, [10 * MS] * 8, lost=2)])
    assert statistics.delay_mean(data, ALL).at(0).value == 10 * MS
    assert statistics.loss_ratio(data, ALL).at(0).value == Fraction(1, 5)
    assert statistics.loss_ratio(data, ALL).counts == {"sent": 10, "lost": 2, "late": 0}


def test_bounds_of_a_loss_ratio_by_hand() -> None:
    # 2 of 10 lost, 10 unknown: at best 2/20, at worst 12/20.
    estimate = statistics.loss_ratio(columns([sample(0, [MS] * 8, lost=2)]), ALL).at(10)
    assert (estimate.value, estimate.best, estimate.worst) == (Fraction(1, 5), Fraction(1, 10), Fraction(3, 5))
    nothing = statistics.loss_ratio(columns([{"start_ns": 0, "sent": 0, "lost": 0}]), ALL).at(5)
    assert (nothing.value, nothing.best, nothing.worst) == (None, 0, 1)


def test_mean_ipdv_by_hand() -> None:
    # |12-10| + |11-12| + |15-11| = 2 + 1 + 4 = 7 over 3 pairs
    data = columns([sample(0, [10, 12, 11, 15])])
    assert statistics.ipdv_mean(data, ALL).at(0).value == Fraction(7, 3)
    assert statistics.ipdv_mean(data, ALL).at(4).best == 1


def test_pdv_percentile_by_hand() -> None:
    # Delays 100..119 ns (exact buckets), p95 is 118, the smallest 100: PDV p95 = 18.
    data = columns([sample(0, list(range(100, 120)))])
    assert statistics.pdv_percentile(data, ALL, P95).at(0) == statistics.Estimate(18, 18, 18)
    # One unknown packet: p95 at worst 119, and it may have taken 0 ns: 119 - 0. At best 118 - 100.
    assert statistics.pdv_percentile(data, ALL, P95).at(1) == statistics.Estimate(18, 18, 119)


def test_rfc3550_is_the_mean_of_the_estimator_at_the_end_of_each_sample() -> None:
    rows = [packets(k * SPAN, 10, 0, rfc3550_ns=value) for k, value in enumerate([100, 200, 600])]
    data = columns([*rows, packets(3 * SPAN, 10, 10)])
    four = np.ones(4, np.bool_)
    assert statistics.rfc3550(data, four, None).at(0).value == 300
    assert statistics.rfc3550(data, four, Fraction(1, 2)).at(0).value == 200


def runs(*pairs: tuple[int | None, int | None]) -> np.ndarray:
    rows = []
    for index, (forward, backward) in enumerate(pairs):
        rows.append({
            "start_ns": index * SPAN,
            "forward_bps": ABSENT if forward is None else forward,
            "backward_bps": ABSENT if backward is None else backward,
        })  # fmt: skip
    return statistics.run_rates(columns(rows), "worst")


def test_the_worst_direction_is_taken_run_by_run() -> None:
    assert runs((100, 90), (80, 95), (None, 90), (70, None)).tolist() == [90, 80, ABSENT, ABSENT]


@pytest.mark.parametrize(
    ("how", "mean_of", "unknown", "value", "best", "worst", "why"),
    [
        (None, False, 0, 60, 60, 60, "the smallest run"),
        (None, False, 1, 60, 60, 0, "an unknown run may have been 0, but cannot lift the minimum"),
        (None, True, 0, 80, 80, 80, "(60 + 80 + 100) / 3"),
        (None, True, 1, 80, None, 60, "at worst 240 / 4; at best without limit"),
        (Fraction(1, 2), False, 0, 80, 80, 80, "the 2nd of three"),
        (Fraction(1, 2), False, 1, 80, 80, 60, "the 2nd of (0, 60, 80, 100), or of (60, 80, 100, huge)"),
        (Fraction(1, 10), False, 3, 60, 60, 0, "the 1st of (0, 0, 0, 60, ...) or of (60, ...)"),
        (Fraction(9, 10), False, 3, 100, None, 100, "the 6th of six: huge at best, 100 at worst"),
    ],
)  # fmt: skip
def test_throughput_by_hand(how, mean_of, unknown, value, best, worst, why: str) -> None:
    reduction = statistics.of_runs(np.array([100, 60, 80], np.int64), how, {}, mean_of=mean_of)
    assert reduction.at(unknown) == statistics.Estimate(value, best, worst), why


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=6),
    st.integers(0, 3),
    st.sampled_from([None, Fraction(1, 10), Fraction(1, 2), Fraction(9, 10)]),
)
def test_run_bounds_hold_for_any_unknown_runs(rates: list[int], unknown: int, p: Fraction | None) -> None:
    estimate = statistics.of_runs(np.array(rates, np.int64), p, {}).at(unknown)
    for hidden in itertools.combinations_with_replacement((0, 7, 10**9), unknown):
        every = [*rates, *hidden]
        truth = min(every) if p is None else ranked(every, p)
        assert estimate.worst <= truth
        assert estimate.best is None or truth <= estimate.best
