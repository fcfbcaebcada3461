"""Every statistic once more, in plain loops over packets: what evaluation is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from agent.sla.terms.contract import JitterDefinition, Metric, Objective, StatisticType

T = StatisticType
PACKETS = 10


@dataclass(frozen=True)
class Heard:
    """One sample of ten packets: the delay of each that was answered, how many were lost; pairs: |IPDV| it holds."""

    delays: tuple[int, ...]
    lost: int
    pairs: tuple[int, ...] = ()
    smoothed: int = 0

    @property
    def sent(self) -> int:
        return len(self.delays) + self.lost


Told = dict[int, Heard]
"""Samples by their place in the window."""


def statistic(objective: Objective, told: Told, length: int, *, per: int = 1) -> Fraction | None:
    """The value; None where nothing has one. per: samples in a bin or a worst window."""
    how = objective.statistic
    kind = how.type
    if kind is T.BIN_MEAN:
        means = [value for value in _means(objective, told, length, per) if value is not None]
        return sum(means, Fraction(0)) / len(means) if means else None
    if kind is T.SUSTAINED:
        return Fraction(_runs(_beyond(objective, told, length, per), -(-(how.run_ns or 0) // (how.bin_ns or 1))))
    if kind is T.MAX_WINDOW:
        pick = min if objective.metric is Metric.MOS else max
        slid = [_mean(objective, [told[k] for k in range(at, at + per) if k in told]) for at in range(length - per + 1)]
        return pick((value for value in slid if value is not None), default=None)
    if kind in (T.RATIO_WITHIN, T.RATIO_OVER):
        return _share(objective, told, length, per)
    values = _values(objective, told)
    if kind is T.RATIO or kind is T.MEAN:
        return _mean(objective, [told[k] for k in sorted(told)])
    if not values:
        return None
    if kind is T.MINIMUM:
        return min(values)
    return _nearest(values, how.p or Fraction(1, 2))


def _nearest(values: Sequence[Fraction], p: Fraction) -> Fraction:
    ordered = sorted(values)
    for rank, value in enumerate(ordered, 1):
        if Fraction(rank, len(ordered)) >= p:
            return value
    return ordered[-1]


def _values(objective: Objective, told: Told) -> list[Fraction]:
    """What a percentile is of."""
    if objective.metric is Metric.MOS:
        return [mos(item, objective.statistic.codec) for item in told.values()]
    if objective.metric is Metric.JITTER and objective.statistic.definition is JitterDefinition.RFC3550:
        return [Fraction(item.smoothed) for item in told.values() if item.delays]
    delays = [delay for item in told.values() for delay in item.delays]
    base = min(delays, default=0) if objective.metric is Metric.JITTER else 0
    return [Fraction(delay - base) for delay in delays]


def _mean(objective: Objective, items: Sequence[Heard]) -> Fraction | None:
    if objective.metric is Metric.LOSS:
        sent = sum(item.sent for item in items)
        return Fraction(sum(item.lost for item in items), sent) if sent else None
    if objective.metric is Metric.JITTER and objective.statistic.definition is JitterDefinition.IPDV:
        values = [Fraction(pair) for item in items for pair in item.pairs]
    else:
        values = _values(objective, dict(enumerate(items)))
    return sum(values, Fraction(0)) / len(values) if values else None


def _bins(told: Told, length: int, per: int) -> list[list[Heard]]:
    """The last bin takes what is less than half a bin."""
    number = max(1, (2 * length + per) // (2 * per))
    ends = [per * (k + 1) for k in range(number - 1)] + [length]
    return [[told[k] for k in range(first, end) if k in told] for first, end in zip([0, *ends], ends, strict=False)]


def _means(objective: Objective, told: Told, length: int, per: int) -> list[Fraction | None]:
    return [_mean(objective, items) for items in _bins(told, length, per)]


def _beyond(objective: Objective, told: Told, length: int, per: int) -> list[bool | None]:
    limit = objective.statistic.limit or Fraction(0)
    found: list[bool | None] = []
    for items, mean in zip(_bins(told, length, per), _means(objective, told, length, per), strict=True):
        if objective.statistic.lost == "infinite" and any(item.lost for item in items):
            found.append(True)
        elif mean is None:
            found.append(None)
        else:
            found.append(mean < limit if objective.metric is Metric.MOS else mean > limit)
    return found


def _runs(flags: Sequence[bool | None], length: int) -> int:
    found, now = 0, 0
    for flag in flags:
        now = now + 1 if flag else 0
        if now == length:
            found += 1
    return found


def _share(objective: Objective, told: Told, length: int, per: int) -> Fraction | None:
    how = objective.statistic
    limit = how.limit or Fraction(0)
    if how.of == "bins" or objective.metric is Metric.LOSS:
        flags = [flag for flag in _beyond(objective, told, length, per) if flag is not None]
    elif objective.metric is Metric.MOS:
        flags = [value < limit for value in _values(objective, told)]
    else:
        flags = [value > limit for value in _values(objective, told)]
        if how.lost == "infinite":
            flags += [True] * sum(item.lost for item in told.values())
    if not flags:
        return None
    over = Fraction(sum(flags), len(flags))
    return over if how.type is T.RATIO_OVER else 1 - over


def mos(item: Heard, codec: str) -> Fraction:
    """E-model of G.107, simplified, by its formula; each impairment rounded up to 0.0001, MOS down to a millionth."""
    if not item.delays:
        return Fraction(1)
    ie, bpl, coding = {"g711": (0, "4.3", 20), "g711_plc": (0, "25.1", 20), "g729a": (11, "19", 25)}[codec]
    mean = ceil(Fraction(sum(item.delays), len(item.delays)))
    d = Fraction(ceil(Fraction(mean, 2)), 10**6) + 40 + coding
    delay = Fraction(24, 1000) * d + Fraction(11, 100) * max(Fraction(0), d - Fraction("177.3"))
    percent = Fraction(100 * item.lost, item.sent)
    loss = (95 - ie) * percent / (percent + Fraction(bpl))
    r = Fraction("93.2") - ie - Fraction(ceil(delay * 10**4), 10**4) - Fraction(ceil(loss * 10**4), 10**4)
    if r <= 0:
        return Fraction(1)
    value = 1 + Fraction(35, 1000) * r + Fraction(7, 10**6) * r * (r - 60) * (100 - r)
    return max(Fraction(1), Fraction(floor(value * 10**6), 10**6))
