"""An hour of a STAMP stream, a contract on both its directions, and the judgement by whatever holds the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from agent.sla.docket import Reading
from agent.sla.judge import judge_by
from agent.sla.samples.columns import SampleColumns
from agent.sla.terms.contract import JitterDefinition, Metric, Objective, Statistic, StatisticType, Window
from agent.sla.verdict import Verdict
from probes.core.arrays import ABSENT, Int64, Packets
from probes.core.clock import SECOND
from probes.core.model import Circuit, ProbeSetting, Sample
from tests.fakes.contracts import MS, contract, objective
from tests.fakes.samples import START, stamped

ROWS = 360
WITHHELD = "the far end's clock is not synchronised"
STAMP = ProbeSetting("stamp", "stamp", {"every": SECOND, "timeout": 3 * SECOND})
CIRCUIT = Circuit("ACME-1", "192.0.2.9", probes=(STAMP,), contract="test")
T = StatisticType
J = JitterDefinition


def stream(*, withheld: Sequence[int] = (), seed: int = 8) -> list[Sample]:
    """Ten packets an interval. The first of each goes forward in less than no time, by the clocks."""
    chance = np.random.default_rng(seed)
    found = []
    for number in range(ROWS):
        forward, backward = chance.integers(2 * MS, 9 * MS, 10), chance.integers(4 * MS, 30 * MS, 10)
        forward[0] = -chance.integers(1, 20_000)
        lost = chance.random((2, 10)) < (0.004, 0.02)[number % 2]
        forward[lost[0]] = ABSENT
        backward[lost[0] | lost[1]] = ABSENT
        sample = stamped(number, forward.tolist(), backward.tolist())
        if number in withheld:
            assert sample.forward is not None
            gone = replace(sample.forward, delay=None, histogram=None, error_ns=None, withheld=WITHHELD)
            sample = replace(sample, forward=gone)
        found.append(sample)
    return found


def promises() -> tuple[Objective, ...]:
    """Of every metric that has directions, each direction and the worse of both."""
    made: list[tuple[Metric, str | int, Statistic]] = [
        (Metric.DELAY, 6 * MS, Statistic(T.MEAN, direction="forward")),
        (Metric.DELAY, 20 * MS, Statistic(T.PERCENTILE, p=Fraction(95, 100), direction="backward")),
        (Metric.DELAY, 9 * MS, Statistic(T.PERCENTILE, p=Fraction(99, 100), direction="worst")),
        (Metric.DELAY, -10_000, Statistic(T.PERCENTILE, p=Fraction(5, 100), direction="forward")),
        (Metric.DELAY, 20 * MS, Statistic(T.BIN_MEAN, bin_ns=60 * SECOND, direction="backward")),
        (Metric.DELAY, "0.9", Statistic(T.RATIO_WITHIN, limit=Fraction(8 * MS), direction="worst")),
        (Metric.DELAY, 25 * MS, Statistic(T.PERCENTILE, p=Fraction(1, 2), lost="infinite", direction="backward")),
        (Metric.JITTER, 3 * MS, Statistic(T.MEAN, definition=J.IPDV, direction="forward")),
        (Metric.JITTER, 9 * MS, Statistic(T.MEAN, definition=J.RFC3550, direction="backward")),
        (Metric.JITTER, 25 * MS, Statistic(T.PERCENTILE, p=Fraction(95, 100), definition=J.PDV, direction="worst")),
        (Metric.JITTER, 9 * MS, Statistic(T.MEAN, definition=J.PDV, direction="forward")),
        (Metric.LOSS, "0.005", Statistic(T.RATIO, direction="forward")),
        (Metric.LOSS, "0.1", Statistic(T.RATIO, direction="worst")),
        (Metric.MOS, "4", Statistic(T.MEAN, direction="worst")),
    ]
    return tuple(
        objective(metric, target, how, id=f"{metric.value}-{number}", window=Window("day"))
        for number, (metric, target, how) in enumerate(made)
    )


def judged(
    read: Callable[[Reading], SampleColumns],
    objectives: Sequence[Objective],
    packets: Callable[[str, Int64], Sequence[Packets | None]] | None = None,
) -> tuple[Verdict, ...]:
    """By the hour's samples, looked at a minute after its end."""
    return judge_by(
        read, contract(*objectives), CIRCUIT, now_ns=START + (ROWS * 10 + 60) * SECOND, measured_since_ns=START,
        packets=packets,
    ).verdicts  # fmt: skip
