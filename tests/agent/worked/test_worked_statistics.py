"""Statistics worked by hand: means of packets and of bins, shares, runs in a row, the worst 15 minutes, MOS, capacity.

A sample is 10 s; `row(k, delays, lost)` is sample number k. Times are ms in the working, ns in the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import pytest

from agent.sla.terms.contract import JitterDefinition, Metric, Objective, Statistic, StatisticType
from agent.sla.time.spans import Spans
from agent.sla.verdict import VerdictState
from tests.fakes.columns import SECOND, SPAN
from tests.fakes.contracts import MS, objective
from tests.fakes.evaluated import T0, evaluated, kept, row, state_of
from tests.fakes.worked import Case

T = StatisticType
MINUTE = 60 * SECOND
MET, BREACHED, UNSURE = VerdictState.MET, VerdictState.BREACHED, VerdictState.INCONCLUSIVE
HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Given:
    promise: Objective
    rows: Sequence[dict[str, object]]
    samples: int
    more: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Then:
    value: Fraction | None
    state: VerdictState
    best: Fraction | None = None
    worst: Fraction | None = None


def ms(value: str | int) -> Fraction:
    return Fraction(value) * MS


def of(metric: Metric, target: str | int | Fraction, kind: StatisticType, **how: object) -> Objective:
    more = {key: how.pop(key) for key in ("coverage", "min_samples") if key in how}
    return objective(metric, str(target), Statistic(kind, **how), **more)  # type: ignore[arg-type]


def steady(samples: int, delay_ms: int = 10, lost: dict[int, int] | None = None) -> list[dict[str, object]]:
    """Ten packets a sample, all with one delay; `lost` of sample k are missing."""
    gone = lost or {}
    return [row(k, [delay_ms * MS] * (10 - gone.get(k, 0)), gone.get(k, 0)) for k in range(samples)]


def spread(values: Sequence[Sequence[int]]) -> list[dict[str, object]]:
    return [row(k, [item * MS for item in part]) for k, part in enumerate(values)]


def run(place: int, forward: int, backward: int) -> dict[str, object]:
    return {"start_ns": T0 + place * SPAN, "forward_bps": forward * 10**6, "backward_bps": backward * 10**6}


def speeds(*values: tuple[int, int]) -> list[dict[str, object]]:
    return [run(k * 6, *pair) for k, pair in enumerate(values)]


RUNS = {"every_ns": MINUTE, "attempts": True}

CASES = [
    Case(
        "the mean of packets weighs packets",
        """Sample 0: 10 ms four times. Sample 1: 40 ms once (three lost). Sum 4*10 + 40 = 80 ms of 5 packets: 16 ms.
        The target of 16 ms is met: equal meets.""",
        Given(of(Metric.RTT, 16 * MS, T.MEAN), [row(0, [10 * MS] * 4), row(1, [40 * MS], 3)], 2),
        Then(ms(16), MET),
    ),
    Case(
        "the mean of bins weighs bins",
        """The same packets, bins of one sample: means 10 and 40, mean of the two 25 ms. The target of 16 ms is
        missed.""",
        Given(
            of(Metric.RTT, 16 * MS, T.BIN_MEAN, bin_ns=SPAN),
            [row(0, [10 * MS] * 4), row(1, [40 * MS], 3)],
            2,
        ),
        Then(ms(25), BREACHED),
    ),
    Case(
        "a bin without an answer has no mean",
        """Samples: 10 ms, all lost, 30 ms. Two bins have a mean: (10 + 30) / 2 = 20 ms; loss is another objective.""",
        Given(
            of(Metric.RTT, 20 * MS, T.BIN_MEAN, bin_ns=SPAN),
            [row(0, [10 * MS] * 2), row(1, [], 2), row(2, [30 * MS] * 2)],
            3,
        ),
        Then(ms(20), MET),
    ),
    Case(
        "an unmeasured bin may have any mean",
        """Bins of 10 s: 10 ms, nothing, 30 ms; time-out 3 s. Best: the hole's packets took 0: (10+0+30)/3 = 40/3 ms.
        Worst: (10+3000+30)/3 = 3040/3 ms. As measured: 20 ms. Coverage is 2/3, below the 9/10 asked for.""",
        Given(
            of(Metric.RTT, 20 * MS, T.BIN_MEAN, bin_ns=SPAN),
            [row(0, [10 * MS] * 10), row(2, [30 * MS] * 10)],
            3,
        ),
        Then(ms(20), UNSURE, ms("40/3"), ms("3040/3")),
    ),
    Case(
        "p95 of twenty packets is the nineteenth",
        """Delays 1..20 ms. ceil(0.95 * 20) = 19: the 19th is 19 ms, its bucket is [18.94, 19.07) ms. The target of
        20 ms
        is above the bucket.""",
        Given(
            of(Metric.RTT, 20 * MS, T.PERCENTILE, p=Fraction(19, 20)),
            spread([range(1, 11), range(11, 21)]),
            2,
        ),
        Then(None, MET),
    ),
    Case(
        "the target in the deciding bucket: the packets tell",
        """The same, target 19 ms: the bucket of 19 ms straddles it. Its packets are read: one of exactly 19 ms. 19
        <= 19.""",
        Given(
            of(Metric.RTT, 19 * MS, T.PERCENTILE, p=Fraction(19, 20)),
            spread([range(1, 11), range(11, 21)]),
            2,
            {"packets": kept({0: [n * MS for n in range(1, 11)], 1: [n * MS for n in range(11, 21)]})},
        ),
        Then(ms(19), MET, ms(19), ms(19)),
    ),
    Case(
        "lost packets as infinite delays",
        """19 packets of 10 ms and one lost, p95 over 20: the 19th is 10 ms.""",
        Given(
            of(Metric.RTT, 11 * MS, T.PERCENTILE, p=Fraction(19, 20), lost="infinite"),
            [row(0, [10 * MS] * 10), row(1, [10 * MS] * 9, 1)],
            2,
        ),
        Then(None, MET),
    ),
    Case(
        "one lost packet more and the percentile is infinite",
        """18 of 10 ms and two lost: the 19th of 20 is a lost one. All that is known: longer than the time-out of 3
        s.""",
        Given(
            of(Metric.RTT, 11 * MS, T.PERCENTILE, p=Fraction(19, 20), lost="infinite"),
            [row(0, [10 * MS] * 10), row(1, [10 * MS] * 8, 2)],
            2,
        ),
        Then(ms(3000), BREACHED, ms(3000), None),
    ),
    Case(
        "95 % of packets within 30 ms, exactly",
        """19 of 20 packets took 20 ms, one 40 ms: 19/20 = 95 %. The target itself meets.""",
        Given(
            of(Metric.RTT, "0.95", T.RATIO_WITHIN, limit=ms(30)),
            spread([[20] * 10, [20] * 9 + [40]]),
            2,
        ),
        Then(Fraction(19, 20), MET, Fraction(19, 20), Fraction(19, 20)),
    ),
    Case(
        "a bucket that the limit cuts leaves bounds",
        """Ten packets: nine of 20 ms, one of 30.01 ms. 30 ms lies in the bucket [29.88, 30.02) ms of the tenth: it may
        be within or not: between 9/10 and 10/10, half of it in the value: 19/20. The target of 92 % is decided by
        nothing that was kept, so by the value.""",
        Given(
            of(Metric.RTT, "0.92", T.RATIO_WITHIN, limit=ms(30)),
            [row(0, [20 * MS] * 9 + [30_010_000])],
            1,
        ),
        Then(Fraction(19, 20), MET, Fraction(1), Fraction(9, 10)),
    ),
    Case(
        "the same with its packets",
        """The packet took 30.01 ms: beyond the limit. 9 of 10 = 90 % < 92 %.""",
        Given(
            of(Metric.RTT, "0.92", T.RATIO_WITHIN, limit=ms(30)),
            [row(0, [20 * MS] * 9 + [30_010_000])],
            1,
            {"packets": kept({0: [20 * MS] * 9 + [30_010_000]})},
        ),
        Then(Fraction(9, 10), BREACHED, Fraction(9, 10), Fraction(9, 10)),
    ),
    Case(
        "a lost packet is beyond every limit where it counts as infinite",
        """Eight of ten within 30 ms, two lost: 8/10.""",
        Given(
            of(Metric.RTT, "0.9", T.RATIO_WITHIN, limit=ms(30), lost="infinite"),
            [row(0, [20 * MS] * 8, 2)],
            1,
        ),
        Then(Fraction(4, 5), BREACHED, Fraction(4, 5), Fraction(4, 5)),
    ),
    Case(
        "share of bins beyond a loss of 1 %",
        """Bins of 20 s = 20 packets. Bins: 0 lost, 1 lost (5 %), 0 lost, 0 lost: one of four is over 1 %: 1/4 >
        1/5.""",
        Given(
            of(Metric.LOSS, "0.2", T.RATIO_OVER, limit=Fraction(1, 100), of="bins", bin_ns=2 * SPAN),
            steady(8, lost={3: 1}),
            8,
        ),
        Then(Fraction(1, 4), BREACHED, Fraction(1, 4), Fraction(1, 4)),
    ),
    Case(
        "a bin exactly at the limit is within",
        """Bins of 10 packets, limit 10 %: one lost of ten is 10 %, not beyond. Two lost are. One of four bins: 3/4.""",
        Given(
            of(Metric.LOSS, "0.75", T.RATIO_WITHIN, limit=Fraction(1, 10), of="bins", bin_ns=SPAN),
            steady(4, lost={0: 1, 1: 1, 2: 2}),
            4,
        ),
        Then(Fraction(3, 4), MET, Fraction(3, 4), Fraction(3, 4)),
    ),
    Case(
        "sustained: three bad bins in a row are one run",
        """Bins of 10 s over 20 ms: 0 1 1 1 0 1 1 0. Runs of 30 s or longer: the first; the second lasts 20 s. 1 >
        0.""",
        Given(
            of(Metric.RTT, 0, T.SUSTAINED, limit=ms(20), bin_ns=SPAN, run_ns=3 * SPAN),
            spread([[10], [30], [30], [30], [10], [30], [30], [10]]),
            8,
        ),
        Then(Fraction(1), BREACHED, Fraction(1), Fraction(1)),
    ),
    Case(
        "sustained: a hole may end a run or join two",
        """Bins: 1 1 ? 1 1, runs of 20 s. The hole within the limit: two runs; beyond: one of 50 s. Best 1, worst 2.
        Both are over the target of 0.""",
        Given(
            of(Metric.RTT, 0, T.SUSTAINED, limit=ms(20), bin_ns=SPAN, run_ns=2 * SPAN),
            [row(k, [30 * MS] * 10) for k in (0, 1, 3, 4)],
            5,
        ),
        Then(Fraction(2), BREACHED, Fraction(1), Fraction(2)),
    ),
    Case(
        "the worst 15 minutes slide by samples",
        """40 min of 10 s samples, ten packets each; in samples 95..104 five of ten are lost: 50 packets within 100 s.
        Bins of 15 min are samples 0..89, 90..179: all 50 in one of them. Any 90 samples that hold all ten: 50 /
        900.""",
        Given(
            of(Metric.LOSS, "0.05", T.MAX_WINDOW, span_ns=15 * MINUTE),
            steady(240, lost=dict.fromkeys(range(95, 105), 5)),
            240,
        ),
        Then(Fraction(50, 900), BREACHED, Fraction(50, 900), Fraction(50, 900)),
    ),
    Case(
        "the worst 15 minutes lie across two quarters of an hour",
        """Five of ten lost in samples 85..94: 25 packets before minute 15 and 25 after it. Two fixed quarters have
        25/900
        each; the sliding one 50/900. The target of 4 % is between them.""",
        Given(
            of(Metric.LOSS, "0.04", T.MAX_WINDOW, span_ns=15 * MINUTE),
            steady(240, lost=dict.fromkeys(range(85, 95), 5)),
            240,
        ),
        Then(Fraction(50, 900), BREACHED),
    ),
    Case(
        "the worst minute leaves excluded time out",
        """12 samples, loss of 5/10 in sample 3 only, which is excluded. Windows of 60 s that touch it do not count; the
        others, from sample 4 on, have no loss.""",
        Given(
            of(Metric.LOSS, "0.01", T.MAX_WINDOW, span_ns=MINUTE),
            steady(12, lost={3: 5}),
            12,
            {"excluded": Spans.of([(T0 + 3 * SPAN, T0 + 4 * SPAN)])},
        ),
        Then(Fraction(0), MET, Fraction(0), Fraction(0)),
    ),
    Case(
        "p50 of |IPDV| comes from packets only",
        """Delays 10 14 11 | 11 20: |IPDV| 4 3 0 9, in order 0 3 4 9; the ceil(0.5 * 4) = 2nd is 3 ms.""",
        Given(
            of(Metric.JITTER, 3 * MS, T.PERCENTILE, p=HALF),
            spread([[10, 14, 11], [11, 20]]),
            2,
            {"packets": kept({0: [10 * MS, 14 * MS, 11 * MS], 1: [11 * MS, 20 * MS]})},
        ),
        Then(ms(3), MET, ms(3), ms(3)),
    ),
    Case(
        "|IPDV| has no pair over a lost packet",
        """10 lost 30 31: only 30 and 31 are neighbours: |IPDV| = 1 ms, share within 5 ms 1/1.""",
        Given(
            of(Metric.JITTER, "1", T.RATIO_WITHIN, limit=ms(5)),
            [row(0, [10 * MS, 30 * MS, 31 * MS], 1)],
            1,
            {"packets": kept({0: [10 * MS, None, 30 * MS, 31 * MS]})},
        ),
        Then(Fraction(1), MET, Fraction(1), Fraction(1)),
    ),
    Case(
        "IFDV of packets 2 s apart",
        """Sent every second, delays 10 12 15 11: pairs (0,2) and (1,3): 5 and 1 ms. p100-like p = 99/100 of two:
        the 2nd.""",
        Given(
            of(
                Metric.JITTER,
                5 * MS,
                T.PERCENTILE,
                p=Fraction(99, 100),
                definition=JitterDefinition.IFDV,
                tau_ns=2 * SECOND,
                min_samples=1,
            ),
            spread([[10, 12, 15, 11]]),
            1,
            {"packets": kept({0: [10 * MS, 12 * MS, 15 * MS, 11 * MS]})},
        ),
        Then(ms(5), MET, ms(5), ms(5)),
    ),
    Case(
        "mean PDV is the mean less the fastest of the window",
        """10 20 | 30 40: mean 25, fastest 10: 15 ms.""",
        Given(
            of(Metric.JITTER, 15 * MS, T.MEAN, definition=JitterDefinition.PDV),
            spread([[10, 20], [30, 40]]),
            2,
        ),
        Then(ms(15), MET, ms(15), ms(15)),
    ),
    Case(
        "MOS of a clean line with 20 ms round trip",
        """d = 10 + 40 buffer + 20 codec = 70 ms: Id = 0.024 * 70 = 1.68. No loss: Ie_eff = 0. R = 93.2 - 1.68 = 91.52.
        MOS = 1 + 0.035*91.52 + 7e-6 * 91.52 * 31.52 * 8.48 = 1 + 3.2032 + 0.171236... = 4.374436, rounded down.""",
        Given(of(Metric.MOS, "4.0", T.MEAN), steady(3, delay_ms=20), 3),
        Then(Fraction(4_374_436, 10**6), MET),
    ),
    Case(
        "MOS with one packet of ten lost, G.711 without concealment",
        """Ie_eff = 95 * 10 / (10 + 4.3) = 66.433567, up to 66.4336. R = 93.2 - 1.68 - 66.4336 = 25.0864.
        MOS = 1 + 0.035*25.0864 + 7e-6 * 25.0864 * (-34.9136) * 74.9136 = 1 + 0.878024 - 0.459295 = 1.418729.""",
        Given(of(Metric.MOS, "3.5", T.MINIMUM), steady(3, delay_ms=20, lost={1: 1}), 3),
        Then(Fraction(1_418_729, 10**6), BREACHED),
    ),
    Case(
        "share of samples with MOS 4 or better",
        """Three of four samples are clean (4.374436), one has 10 % loss (1.418729): 3/4 of them are 4.0 or better.""",
        Given(of(Metric.MOS, "0.75", T.RATIO_WITHIN, limit=Fraction(4)), steady(4, delay_ms=20, lost={1: 1}), 4),
        Then(Fraction(3, 4), MET, Fraction(3, 4), Fraction(3, 4)),
    ),
    Case(
        "normal speed in 90 % of the runs",
        """Slower direction of each run: 95 90 89 92 94: at least 90 in four of five: 80 % < 90 %.""",
        Given(
            of(Metric.THROUGHPUT, "0.9", T.RATIO_WITHIN, limit=Fraction(90_000_000), of="runs"),
            speeds((95, 96), (90, 99), (89, 95), (93, 92), (94, 94)),
            30,
            RUNS,
        ),
        Then(Fraction(4, 5), BREACHED, Fraction(4, 5), Fraction(4, 5)),
    ),
    Case(
        "capacity: the best run of each bin, the worst bin of those",
        """Bins of 2 min: runs 80 95 | 90 70 | 99 60 (slower direction). Best of each 95 90 99; the worst of those
        is 90.""",
        Given(
            of(Metric.THROUGHPUT, 90_000_000, T.CAPACITY, bin_ns=2 * MINUTE),
            speeds((80, 99), (95, 99), (90, 99), (70, 99), (99, 99), (60, 99)),
            36,
            RUNS,
        ),
        Then(Fraction(90_000_000), MET, Fraction(90_000_000), Fraction(90_000_000)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_working_is_what_is_computed(case: Case[Given, Then]) -> None:
    given, then = case.given, case.expected
    found = evaluated(given.promise, given.rows, given.samples, **given.more)
    estimate = found.findings.estimate
    if then.value is not None:
        assert estimate.value == then.value, case.steps
    assert state_of(given.promise, found) is then.state, case.steps
    if then.best is not None:
        assert (estimate.best, estimate.worst) == (then.best, then.worst), case.steps
