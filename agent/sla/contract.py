"""What provider and customer signed, as frozen values: parties, objectives, statistics, windows, coverage. Pure.

Targets are exact: durations in ns, ratios 0..1, rates in bit/s, all Fractions. Nothing here is a float.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Final, Literal

from agent.sla.exclusions import Exclusion

SECOND_NS: Final = 10**9


class Metric(StrEnum):
    """What an objective is about."""

    RTT = "rtt"
    """round-trip delay, RFC 2681, of packets answered in time"""
    JITTER = "jitter"
    """delay variation; the statistic names the definition"""
    LOSS = "loss"
    """packets lost / packets sent, RFC 7680 with the probe's timeout as Tmax"""
    THROUGHPUT = "throughput"
    """rate of capacity runs"""
    AVAILABILITY = "availability"
    """share of time up, by the statistic's state machine"""


class StatisticType(StrEnum):
    """How the samples of a window become one number."""

    MEAN = "mean"
    """packet-weighted mean (of runs for throughput)"""
    PERCENTILE = "percentile"
    """nearest rank, RFC 2330 section 11.3, lost packets excluded"""
    RATIO = "ratio"
    """sum of lost / sum of sent"""
    MINIMUM = "minimum"
    """the worst run"""
    AVAILABILITY_MEF = "availability_mef"
    """MEF 10.4 section 8.8.7"""


class JitterDefinition(StrEnum):
    """Jitter is a family of metrics; a number without its definition means nothing."""

    IPDV = "ipdv"
    """|D(i) - D(i-1)| of consecutive packets that both arrived, RFC 3393 and RFC 5481 section 4.1"""
    RFC3550 = "rfc3550"
    """the RTP estimator, RFC 3550 section 6.4.1, at the end of each sample"""
    PDV = "pdv"
    """D(i) - smallest D of the window, RFC 5481 section 4.2"""


Direction = Literal["forward", "backward", "worst"]
"""Forward is away from the agent; worst is the slower direction of each run."""

Comparison = Literal["max", "min"]
"""max: the value must not exceed the target; min: must not fall below. The target itself meets in both."""

CalendarUnit = Literal["day", "month", "quarter", "year"]

SharedFatePolicy = Literal["unknown", "count"]
"""unknown: may be this agent's own failure, so it widens the bounds; count: held against the circuit like any other."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """How to reduce. Fields that a type does not use keep their default.

    p: 0..1 exclusive (percentile). dt_ns: interval of the availability machine, None takes the sample's own; n:
    intervals in a row that change the state; c: loss above which an interval is high.
    """

    type: StatisticType
    p: Fraction | None = None
    definition: JitterDefinition = JitterDefinition.IPDV
    direction: Direction = "worst"
    dt_ns: int | None = None
    n: int = 3
    c: Fraction = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Window:
    """Period a target holds for: a calendar unit in the contract's zone, or the last rolling_ns."""

    calendar: CalendarUnit | None = "month"
    rolling_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the window must be measured before a point estimate may decide. minimum: 0..1."""

    minimum: Fraction = Fraction(9, 10)


@dataclass(frozen=True, slots=True)
class Target:
    """The promised bound in base units (ns, ratio, bit/s), or a share of the circuit's committed rate.

    text: as written in the contract, for reports.
    """

    value: Fraction
    text: str
    of_committed_rate: bool = False


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise. `probe` or `kind` picks what feeds it; neither takes the default of the metric."""

    id: str
    metric: Metric
    statistic: Statistic
    target: Target
    window: Window = field(default_factory=Window)
    coverage: Coverage = field(default_factory=Coverage)
    min_samples: int | None = None
    """smallest number of packets, pairs or runs for a point estimate; None takes what the statistic needs"""
    only_available_time: bool = False
    """count only while the contract's availability machine says available (MEF 10.4)"""
    probe: str | None = None
    kind: str | None = None
    text: str = ""
    """the clause, quoted"""

    @property
    def comparison(self) -> Comparison:
        return "min" if self.metric in (Metric.AVAILABILITY, Metric.THROUGHPUT) else "max"

    def meets(self, value: Fraction, target: Fraction) -> bool:
        """Exact comparison in the objective's direction; equal meets."""
        return value >= target if self.comparison == "min" else value <= target

    @property
    def samples_needed(self) -> int:
        """Fewest values from which the statistic is defined: 1/(1-p) for a percentile, or 1/p where low is bad."""
        if self.min_samples is not None:
            return self.min_samples
        p = self.statistic.p
        if self.statistic.type is not StatisticType.PERCENTILE or p is None or self.metric is Metric.THROUGHPUT:
            return 1
        return -(-1 // (1 - p))


@dataclass(frozen=True, slots=True)
class Party:
    """One side of the contract."""

    id: str
    role: Literal["provider", "customer", "subcontractor", "third_party"]


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract file. valid_from and valid_to are local dates of time_zone, both inclusive; None is open.

    digest: SHA-256 of the file's text, so that a verdict names the exact terms it was judged by. shared_fate: what
    time is worth in which all circuits of the agent fail at once. exclusions: the ledger of time that does not count,
    and its SHA-256.
    """

    id: str
    version: str
    provider: Party
    customer: Party
    time_zone: str
    objectives: tuple[Objective, ...]
    valid_from: date | None = None
    valid_to: date | None = None
    title: str = ""
    digest: str = ""
    shared_fate: SharedFatePolicy = "unknown"
    exclusions: tuple[Exclusion, ...] = ()
    exclusions_digest: str = ""

    def availability(self) -> Objective | None:
        """The objective whose state machine defines available time."""
        for objective in self.objectives:
            if objective.metric is Metric.AVAILABILITY:
                return objective
        return None
