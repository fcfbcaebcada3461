"""Contracts, circuits and series for tests of the judge: short to write, plain to read."""

from collections.abc import Sequence
from fractions import Fraction

from agent.sla.samples.columns import SampleColumns
from agent.sla.terms.contract import (
    Contract,
    Coverage,
    Metric,
    Objective,
    Party,
    Statistic,
    StatisticType,
    Target,
    Window,
)
from probes.core.model import Circuit, ProbeSetting
from tests.fakes.columns import SECOND, SPAN, columns, packets

HOUR = 3600 * SECOND
MS = 10**6

ICMP = ProbeSetting("icmp", "icmp", {"every": SECOND})
HOURLY = ProbeSetting("throughput", "throughput", {"every": HOUR})
CIRCUIT = Circuit("c1", "192.0.2.9", committed_rate_bps=100_000_000, probes=(ICMP, HOURLY), contract="test")


def objective(metric: Metric, target: str | int, statistic: Statistic | None = None, **more: object) -> Objective:
    """target: exact decimal in base units (ratio, ns, bit/s)."""
    usual = {
        Metric.AVAILABILITY: Statistic(StatisticType.AVAILABILITY_MEF),
        Metric.LOSS: Statistic(StatisticType.RATIO),
        Metric.THROUGHPUT: Statistic(StatisticType.MINIMUM),
    }
    chosen = statistic or usual.get(metric) or Statistic(StatisticType.MEAN)
    wanted = Target(Fraction(target), str(target), bool(more.pop("share", False)))
    values = {"id": metric.value, "coverage": Coverage(Fraction(9, 10)), "window": Window("day")} | more
    return Objective(metric=metric, statistic=chosen, target=wanted, **values)  # type: ignore[arg-type]


def contract(*objectives: Objective, zone: str = "UTC", **more: object) -> Contract:
    return Contract("test", "1", Party("provider", "provider"), Party("customer", "customer"), zone, objectives, **more)  # type: ignore[arg-type]


def series(start_ns: int, text: str, delay_ns: int = 10 * MS, *, probe: str = "icmp") -> SampleColumns:
    """Samples of 10 packets, one per 10 s, one per letter: `.` all answered after delay_ns, `H` all lost, `5` so
    many lost (1 to 9), `?` nothing measured, `x` impaired."""
    rows = []
    for index, letter in enumerate(text):
        if letter == "?":
            continue
        lost = {".": 0, "H": 10, "x": 5}.get(letter, int(letter) if letter.isdigit() else 0)
        got = 10 - lost
        row = packets(start_ns + index * SPAN, 10, lost, late=0)
        if got:
            row |= {
                "rtt_count": got, "rtt_sum_ns": got * delay_ns, "rtt_min_ns": delay_ns, "rtt_max_ns": delay_ns,
                "rtt_p50_ns": delay_ns, "rtt_p95_ns": delay_ns, "rtt_p99_ns": delay_ns,
                "ipdv_pairs": got - 1, "ipdv_abs_sum_ns": 0, "rfc3550_ns": 0,
            }  # fmt: skip
        if letter == "x":
            row["state"] = 3
        rows.append(row)
    return columns(rows, probe=probe)


def runs(pairs: Sequence[tuple[int, int, int]], *, probe: str = "throughput") -> SampleColumns:
    """Capacity runs as (start_ns, forward bit/s, backward bit/s), 10 s each."""
    return columns(
        [{"start_ns": at, "forward_bps": forward, "backward_bps": back} for at, forward, back in pairs],
        probe=probe,
        kind="throughput",
    )
