"""One promise of a contract: metric, statistic, target, window, and what counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Final, Literal

from agent.sla.time.hours import Hours

SECOND_NS: Final = 10**9


class Unit(StrEnum):
    """Base unit of a value, and with it how people write it."""

    DELAY = "delay"
    """ns, written as ms"""
    RATIO = "ratio"
    """0..1, written as %"""
    RATE = "rate"
    """bit/s"""
    MOS = "mos"
    """1..4.5"""
    COUNT = "count"
    DURATION = "duration"
    """ns, written as h, min, s"""


class Metric(StrEnum):
    """What an objective is about."""

    RTT = "rtt"
    """round-trip delay, RFC 2681, of packets answered in time"""
    DELAY = "delay"
    """one-way delay, RFC 7679, in the statistic's direction"""
    JITTER = "jitter"
    """delay variation; the statistic names the definition"""
    LOSS = "loss"
    """packets lost / packets sent, RFC 7680 with the probe's timeout as Tmax"""
    MOS = "mos"
    """listening quality by the E-model, G.107 simplified"""
    THROUGHPUT = "throughput"
    """rate of capacity runs"""
    AVAILABILITY = "availability"
    """share of time up, by the statistic's state machine"""
    OUTAGE = "outage"
    """outages as such: how many, how long, how fast repaired"""
    EVENT = "event"
    """imported events: answered, responded, notified in time"""


class StatisticType(StrEnum):
    """How the samples of a window become one number."""

    MEAN = "mean"
    """packet-weighted mean (of runs for throughput)"""
    BIN_MEAN = "bin_mean"
    """mean of the means of bins of bin_ns, each bin of equal weight"""
    PERCENTILE = "percentile"
    """nearest rank, RFC 2330 section 11.3"""
    RATIO = "ratio"
    """sum of lost / sum of sent"""
    RATIO_WITHIN = "ratio_within"
    """share of packets, bins, runs or events at or within `limit`"""
    RATIO_OVER = "ratio_over"
    """share of packets, bins or runs beyond `limit`"""
    SUSTAINED = "sustained"
    """number of runs of bins in a row beyond `limit` that last run_ns or longer"""
    MAX_WINDOW = "max_window"
    """the worst mean (loss: ratio) over any continuous span_ns"""
    MINIMUM = "minimum"
    """the worst run"""
    CAPACITY = "capacity"
    """the best run of each bin_ns, the worst bin of those (RFC 9097 maximum capacity, TKG 57)"""
    AVAILABILITY_MEF = "availability_mef"
    """MEF 10.4 section 8.8.7"""
    AVAILABILITY_SECONDS = "availability_seconds"
    """Y.1563, G.826: the same machine with dt 1 s, n 10, C 50 %"""
    AVAILABILITY_BLOCKS = "availability_blocks"
    """Y.1540 section 7: blocks of block_ns, down where loss > c, no hysteresis"""
    AVAILABILITY_OUTAGE = "availability_outage"
    """1 - plain outage time / window"""
    HIGH_LOSS_INTERVALS = "high_loss_intervals"
    """MEF 10.4 section 8.8.8: number of available intervals with high loss"""
    CONSECUTIVE_HIGH_LOSS = "consecutive_high_loss"
    """MEF 10.4 section 8.8.9: number of runs of `p_intervals` or more of them"""
    COUNT = "count"
    """how many outages"""
    TOTAL = "total"
    """outage time of the window"""
    LONGEST = "longest"
    """the longest outage"""
    MTTR = "mttr"
    """mean of the contract's repair clock over outages that start in the window"""
    MTTF = "mttf"
    MTBF = "mtbf"


class JitterDefinition(StrEnum):
    """Jitter is a family of metrics; a number without its definition means nothing."""

    IPDV = "ipdv"
    """|D(i) - D(i-1)| of consecutive packets that both arrived, RFC 3393 and RFC 5481 section 4.1"""
    IFDV = "ifdv"
    """|D(b) - D(a)| of packets sent tau_ns apart, MEF 10.4 section 8.8.5"""
    RFC3550 = "rfc3550"
    """the RTP estimator, RFC 3550 section 6.4.1, at the end of each sample"""
    PDV = "pdv"
    """D(i) - smallest D of the window, RFC 5481 section 4.2"""


Direction = Literal["round_trip", "forward", "backward", "worst"]
"""Forward is away from the agent; worst is the worse of the two (of each run for throughput, which takes round_trip for
worst as well)."""

Comparison = Literal["max", "min"]
"""max: the value must not exceed the target; min: must not fall below. The target itself meets in both."""

CalendarUnit = Literal["day", "week", "month", "quarter", "year", "contract_year", "billing_month"]

LostPackets = Literal["excluded", "infinite"]
"""A lost packet has no delay (RFC 8912), or an infinite one (RFC 7679)."""

Codec = Literal["g711", "g711_plc", "g729a"]

UnknownTime = Literal["bounds", "down", "up"]
"""Unmeasured time widens the bounds, or counts as down, or as up."""

_AVAILABILITY: Final = frozenset(
    {
        StatisticType.AVAILABILITY_MEF,
        StatisticType.AVAILABILITY_SECONDS,
        StatisticType.AVAILABILITY_BLOCKS,
        StatisticType.AVAILABILITY_OUTAGE,
    }
)
_COUNTS: Final = frozenset(
    {
        StatisticType.SUSTAINED,
        StatisticType.HIGH_LOSS_INTERVALS,
        StatisticType.CONSECUTIVE_HIGH_LOSS,
        StatisticType.COUNT,
    }
)
_SHARES: Final = frozenset({StatisticType.RATIO, StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER})
_HIGH_IS_GOOD: Final = frozenset(
    {
        *_AVAILABILITY,
        StatisticType.RATIO_WITHIN,
        StatisticType.MINIMUM,
        StatisticType.CAPACITY,
        StatisticType.MTTF,
        StatisticType.MTBF,
    }
)
_METRIC_UNITS: Final = {
    Metric.RTT: Unit.DELAY,
    Metric.DELAY: Unit.DELAY,
    Metric.JITTER: Unit.DELAY,
    Metric.LOSS: Unit.RATIO,
    Metric.MOS: Unit.MOS,
    Metric.THROUGHPUT: Unit.RATE,
    Metric.AVAILABILITY: Unit.RATIO,
    Metric.OUTAGE: Unit.DURATION,
    Metric.EVENT: Unit.DURATION,
}


def unit_of(metric: Metric, statistic: StatisticType) -> Unit:
    """Of the value, and so of the target."""
    if statistic in _COUNTS:
        return Unit.COUNT
    if statistic in _SHARES or statistic in _AVAILABILITY:
        return Unit.RATIO
    return _METRIC_UNITS[metric]


def comparison_of(metric: Metric, statistic: StatisticType) -> Comparison:
    if statistic in _COUNTS or statistic is StatisticType.RATIO_OVER:
        return "max"
    return "min" if statistic in _HIGH_IS_GOOD or metric in (Metric.THROUGHPUT, Metric.MOS) else "max"


@dataclass(frozen=True, slots=True)
class Statistic:
    """How to reduce. Fields that a type does not use keep their default. Durations in ns.

    p: 0..1 exclusive (percentile). limit: in the metric's unit (ratio_within, ratio_over, sustained). of: what a share
    counts. bin_ns: length of bins, aligned to the window's start. run_ns: of sustained. span_ns: of max_window.
    tau_ns: distance of pairs (ifdv). dt_ns: interval of the availability machine, None takes the sample's own; n:
    intervals in a row that change the state; c: loss above which an interval is high; p_intervals: of
    consecutive_high_loss. block_ns, least_packets: of availability_blocks (T_av, M_av). minimum_ns: outages shorter
    than this do not count; join_ns: outages closer than this are one; count_from: whether an outage counts from its
    start or from the moment it was minimum_ns long; clock: of availability_outage and of outages, measured or that
    of the contract's ClockTerms.
    """

    type: StatisticType
    p: Fraction | None = None
    definition: JitterDefinition = JitterDefinition.IPDV
    direction: Direction = "round_trip"
    dt_ns: int | None = None
    n: int = 3
    c: Fraction = Fraction(1, 2)
    limit: Fraction | None = None
    of: Literal["packets", "bins", "runs"] = "packets"
    lost: LostPackets = "excluded"
    bin_ns: int | None = None
    run_ns: int | None = None
    span_ns: int | None = None
    tau_ns: int | None = None
    p_intervals: int = 2
    block_ns: int | None = None
    least_packets: int = 1
    minimum_ns: int = 0
    join_ns: int = 0
    count_from: Literal["start", "threshold"] = "start"
    clock: Literal["measured", "contract"] = "measured"
    codec: Codec = "g711"
    limit_days: int | None = None
    """of events, in place of limit: the end of the so manieth business day after the day they start on"""

    @property
    def limited(self) -> bool:
        return self.limit is not None or self.limit_days is not None


@dataclass(frozen=True, slots=True)
class Window:
    """Period a target holds for: a calendar unit in the contract's zone, the last rolling_ns, or one fixed_ns after
    the other from the start of the local date `anchor` on (a month of 720 h).

    contract_year begins at the contract's service start; billing_month on day `billing_day` of each month.
    """

    calendar: CalendarUnit | None = "month"
    rolling_ns: int | None = None
    fixed_ns: int | None = None
    anchor: date | None = None
    billing_day: int = 1


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the window must be measured before a point estimate may decide. minimum: 0..1.

    longest_gap_ns: a longer gap in a row forbids the estimate, whatever the share. bridge_ns: unknown time of at most
    so long between two times that are down is down, in the outage list (MEF bounds are not touched).
    """

    minimum: Fraction = Fraction(9, 10)
    longest_gap_ns: int | None = None
    bridge_ns: int = 0
    unknown: UnknownTime = "bounds"


@dataclass(frozen=True, slots=True)
class Target:
    """The promised bound in base units (ns, ratio, bit/s, count), or a share of the circuit's committed rate.

    text: as written in the contract, for reports.
    """

    value: Fraction
    text: str
    of_committed_rate: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """The promise is about several circuits together. members: their ids. aggregation: the worst of them, their mean,
    or at_least k of them up at the same instant (availability only)."""

    members: tuple[str, ...]
    aggregation: Literal["worst", "mean", "at_least"] = "worst"
    k: int = 1


@dataclass(frozen=True, slots=True)
class EventTerms:
    """Of an objective on events: which, and how their time runs.

    kind: of the events, such as call, mail, response, notice. start, end: names of the two stamps. priorities: only
    these, all if empty. hours: only this time counts, None is all. abandoned: what becomes of events that their
    originator gave up: left out, or counted as late if they were over the limit by then, or always as late.
    unfinished: an event without its end is late once it is over the limit, and not decided until then; or it is left
    out until it has its end; or it is late until then.
    """

    kind: str
    start: str = "start"
    end: str = "end"
    priorities: tuple[str, ...] = ()
    hours: Hours | None = None
    abandoned: Literal["excluded", "late_if_over", "late"] = "excluded"
    pauses: tuple[str, ...] = ()
    """reasons for which the clock stops"""
    pause_cap_ns: int | None = None
    unfinished: Literal["late_if_over", "excluded", "late"] = "late_if_over"


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
    hours: Hours | None = None
    """only this time counts; None takes the contract's"""
    exclusions: tuple[str, ...] | None = None
    """kinds of exclusion that hold for this objective; None takes all the contract knows"""
    scope: Scope | None = None
    events: EventTerms | None = None
    severities: tuple[str, ...] = ()
    """of outages: only incidents of these priorities, all if empty"""

    @property
    def unit(self) -> Unit:
        return unit_of(self.metric, self.statistic.type)

    @property
    def comparison(self) -> Comparison:
        return comparison_of(self.metric, self.statistic.type)

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
        return -(-1 // (p if self.comparison == "min" else 1 - p))
