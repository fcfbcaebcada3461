"""The number of a promise on outages, and the smallest and largest that unknown time allows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from agent.sla.case import UnusableError
from agent.sla.downtime.outages import Fault, Readings, Terms, by_contract, counted_from, measured
from agent.sla.terms.contract import Objective, StatisticType
from agent.sla.terms.incidents import Incident
from agent.sla.time.spans import NOWHERE, Spans

REPAIRS: Final = frozenset(
    {
        StatisticType.MTTR,
        StatisticType.MEAN,
        StatisticType.PERCENTILE,
        StatisticType.RATIO_WITHIN,
        StatisticType.RATIO_OVER,
    }
)
"""Statistics of the times to repair."""

Bounds = tuple[Fraction | None, Fraction | None]
"""Smallest and largest value; None is no finite bound."""


@dataclass(frozen=True, slots=True)
class Case:
    """One objective on outages. [start_ns, end_ns) is judged; judged: of that, what is not excluded."""

    objective: Objective
    terms: Terms
    start_ns: int
    end_ns: int
    judged: Spans
    incidents: tuple[Incident, ...]
    contract_clock: bool
    hidden: bool

    def readings(self, unknown: Spans) -> Readings:
        reading = by_contract if self.contract_clock else measured
        return reading(self.terms, self.incidents, unknown, hidden=self.hidden)

    def here(self, faults: Sequence[Fault]) -> list[Fault]:
        return [item for item in faults if item.starts_in(self.start_ns, self.end_ns)]

    def doubtful(self, readings: Readings) -> list[Fault]:
        """Those that unknown time could put into the judged time or change there."""
        return [item for item in readings.wide if item.doubtful and len(item.spans.within(self.start_ns, self.end_ns))]

    def lengths(self, faults: Sequence[Fault]) -> list[int]:
        return [counted_from(self.terms, item).length_ns for item in faults]

    def down(self, faults: Sequence[Fault]) -> int:
        """ns in the judged time."""
        parts = Spans.of(pair for item in faults for pair in counted_from(self.terms, item))
        return parts.within(self.start_ns, self.end_ns).length_ns


def value_of(case: Case, readings: Readings, gone: Spans) -> Fraction | None:
    kind, found = case.objective.statistic.type, case.here(readings.likely)
    if kind is StatisticType.COUNT:
        return Fraction(len(found))
    if kind is StatisticType.TOTAL:
        return Fraction(case.down(readings.likely))
    lengths = case.lengths(found)
    if kind is StatisticType.LONGEST:
        return Fraction(max(lengths, default=0))
    if not found:
        return None
    if kind in REPAIRS:
        return _reduced(case.objective, lengths)
    down = case.down(readings.likely)
    up = Fraction((case.judged - gone).length_ns - down + _bridged(readings, gone), len(found))
    return up if kind is StatisticType.MTTF else up + Fraction(sum(lengths), len(lengths))


def _bridged(readings: Readings, gone: Spans) -> int:
    """Unknown time that passes as down is in neither up nor measured time: it must not be taken off twice."""
    return (Spans.of(pair for item in readings.likely for pair in item.spans) & gone).length_ns


def bounds(case: Case, readings: Readings) -> Bounds:
    kind = case.objective.statistic.type
    if kind is StatisticType.COUNT:
        return counts(case, readings)
    if kind is StatisticType.TOTAL:
        return Fraction(case.down(readings.sure)), Fraction(case.down(readings.wide))
    if kind is StatisticType.LONGEST:
        return _longest(case, readings)
    if kind in REPAIRS:
        return _repairs(case, readings)
    fewest, most = counts(case, readings)
    total = case.judged.length_ns
    least: Fraction | None = Fraction(0)
    if most is not None:
        least = Fraction(total - case.down(readings.wide)) / most if most else None
    longest = Fraction(total - case.down(readings.sure)) / fewest if fewest else None
    if kind is StatisticType.MTTF:
        return least, longest
    short, long = _means(case, readings)
    low = None if least is None or short is None else least + short
    return low, None if longest is None or long is None else longest + long


def counts(case: Case, readings: Readings) -> Bounds:
    """How many outages start in the judged time, at least and at most."""
    low, high = 0, 0
    shortest, apart = case.terms.shortest_ns, case.terms.apart_ns
    bounded = True
    for fault in readings.wide:
        if not fault.doubtful:
            low, high = low + len(case.here([fault])), high + len(case.here([fault]))
            continue
        inside = _inside(case, fault, readings.sure)
        low += bool(inside) and fault.start_ns >= case.start_ns
        here = fault.spans.within(case.start_ns, case.end_ns)
        if not len(here & readings.unknown):  # at most those that are certain, however long they are
            high += max(len(inside), len(here - readings.unknown))
            continue
        if not shortest:
            bounded = False
            continue
        room = _from(fault, case.start_ns).length_ns
        high += max(len(inside), (room + apart) // (shortest + apart))
    return Fraction(low), Fraction(high) if bounded else None


def _inside(case: Case, fault: Fault, faults: Sequence[Fault]) -> list[Fault]:
    """Those of the faults that start in the judged time and lie within this one."""
    return [item for item in case.here(faults) if len(item.spans) and len(item.spans & fault.spans)]


def _from(fault: Fault, start_ns: int) -> Spans:
    return fault.spans.within(start_ns, int(fault.spans.end_ns[-1])) if len(fault.spans) else NOWHERE


def _longest(case: Case, readings: Readings) -> Bounds:
    sure = [
        length
        for fault in readings.wide
        if fault.start_ns >= case.start_ns
        for length in case.lengths(_inside(case, fault, readings.sure) if fault.doubtful else case.here([fault]))
    ]
    most, running = _most(case, readings)
    return Fraction(max(sure, default=0)), None if running else Fraction(max(most, default=0))


def _most(case: Case, readings: Readings) -> tuple[list[int], bool]:
    """The greatest length of each outage that starts, or may start, in the judged time; whether one still lasts."""
    found, running = [], False
    for fault in readings.wide:
        if fault.doubtful:
            mine = _from(fault, case.start_ns)
            if len(mine.within(case.start_ns, case.end_ns)):
                found.append(mine.length_ns)
                running |= fault.running
        elif case.here([fault]):
            found += case.lengths([fault])
            running |= fault.running
    return found, running


def _means(case: Case, readings: Readings) -> Bounds:
    """Of the lengths of outages that start in the judged time."""
    sure = case.lengths(case.here(readings.sure))
    doubtful = case.doubtful(readings)
    _, running = _most(case, readings)
    low: Fraction | None
    if not doubtful:
        low = Fraction(sum(sure), len(sure)) if sure else None
        return low, None if running or not sure else low
    _, count = counts(case, readings)
    if count is None or any(item.start_ns < case.start_ns for item in doubtful) or not sure:
        low = Fraction(case.terms.least_ns)
    else:
        more, least = int(count) - len(sure), case.terms.least_ns
        low = min(Fraction(sum(sure), len(sure)), Fraction(sum(sure) + more * least, len(sure) + more))
    return low, None if running else _highest_mean(case, readings)


def _highest_mean(case: Case, readings: Readings) -> Fraction:
    """Those that are certain as long as they can be, and of the others each that raises the mean."""
    certain: list[int] = []
    others: list[int] = []
    for fault in readings.wide:
        if not fault.doubtful:
            certain += case.lengths(case.here([fault]))
        elif len(_from(fault, case.start_ns).within(case.start_ns, case.end_ns)):
            needed = fault.start_ns >= case.start_ns and _inside(case, fault, readings.sure)
            (certain if needed else others).append(_from(fault, case.start_ns).length_ns)
    total, count = sum(certain), len(certain)
    for length in sorted(others, reverse=True):
        if not count or length * count > total:
            total, count = total + length, count + 1
    return Fraction(total, count) if count else Fraction(0)


def _repairs(case: Case, readings: Readings) -> Bounds:
    """Bounds of a statistic of repair times."""
    kind = case.objective.statistic.type
    if kind in (StatisticType.MTTR, StatisticType.MEAN):
        return _means(case, readings)
    found = case.here(readings.likely)
    if not case.doubtful(readings):
        if not found:
            return None, None
        least = _reduced(case.objective, case.lengths(found))
        if not any(item.running for item in found):
            return least, least
        if kind is StatisticType.PERCENTILE:
            return least, None
        limit = int(case.objective.statistic.limit or 0)
        lengths = case.lengths(found)
        ends = [limit + 1 if item.running else length for item, length in zip(found, lengths, strict=True)]
        return _between(least, _reduced(case.objective, ends))
    if kind is StatisticType.PERCENTILE:
        most, running = _most(case, readings)
        return Fraction(case.terms.least_ns), None if running else Fraction(max(most, default=0))
    return Fraction(0), Fraction(1)


def _between(one: Fraction, other: Fraction) -> Bounds:
    return min(one, other), max(one, other)


def _reduced(objective: Objective, lengths: Sequence[int]) -> Fraction:
    """Of one length at least."""
    statistic = objective.statistic
    if statistic.type is StatisticType.PERCENTILE:
        if statistic.p is None:
            raise UnusableError("it is not said which percentile")
        ranked = sorted(lengths)
        return Fraction(ranked[max(0, -(-statistic.p * len(ranked) // 1) - 1)])
    if statistic.type in (StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER):
        if statistic.limit is None:
            raise UnusableError("it is not said within which time an outage is repaired in time")
        within = sum(length <= statistic.limit for length in lengths)
        good = within if statistic.type is StatisticType.RATIO_WITHIN else len(lengths) - within
        return Fraction(good, len(lengths))
    return Fraction(sum(lengths), len(lengths))
