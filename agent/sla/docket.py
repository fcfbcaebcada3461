"""What is to be judged: objectives with their windows, and the samples that must be read for them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.sla.downtime.timeline import WARM_UP_NS
from agent.sla.samples.feeds import every_ns, feed, makes_attempts
from agent.sla.samples.needs import columns_for, margins
from agent.sla.terms.contract import Contract, Metric, Objective, StatisticType
from agent.sla.time.calendar import (
    WindowInstants,
    month_unit,
    resolve,
    windows_ending_in,
    windows_within,
    within_validity,
)
from agent.sla.time.period import SETTLING_NS
from probes.core.model import Circuit


@dataclass(frozen=True, slots=True)
class Reading:
    """What the judge must be given of one probe: these columns (and start_ns, span_ns, state) of [start_ns, end_ns)."""

    probe: str
    kind: str
    columns: tuple[str, ...]
    start_ns: int
    end_ns: int
    circuit: str


@dataclass(frozen=True, slots=True)
class Sitting:
    """One objective in one window."""

    objective: Objective
    window: WindowInstants


Docket = tuple[Sitting, ...]


def window_of(contract: Contract, objective: Objective, now_ns: int, chosen: WindowInstants | None) -> WindowInstants:
    """The objective's own window at `now`, or the one that holds the end of the chosen period.

    A rolling window is always closed, so it ends where samples have settled: the newest could never be in it.
    """
    if objective.window.rolling_ns is not None:
        settled_ns = now_ns - SETTLING_NS
        return resolve(contract, objective.window, min(settled_ns, chosen.end_ns if chosen else settled_ns))
    if chosen is None:
        return resolve(contract, objective.window, now_ns)
    return resolve(contract, objective.window, min(now_ns, chosen.end_ns - 1))


def docket_at(contract: Contract, now_ns: int, chosen: WindowInstants | None = None) -> Docket:
    """Every objective in its window at `now`, or in the one that holds the end of the chosen period."""
    return tuple(Sitting(item, window_of(contract, item, now_ns, chosen)) for item in contract.objectives)


def docket_over(contract: Contract, period: WindowInstants, now_ns: int) -> Docket:
    """Every objective in each of its windows that ends in the period; of those that have not begun, none.

    Where the period is not over, the windows that hold `now` come last; an objective without any window that ends in
    the period (a year seen from a month) is heard in the one that holds the period's end. Of a rolling window, those
    that end with the months of the period.
    """
    found: list[Sitting] = []
    for objective in contract.objectives:
        if objective.window.rolling_ns:
            windows = _rolling(contract, objective, period, now_ns)
        else:
            windows = [
                item
                for item in windows_ending_in(contract, objective, period)
                if item.start_ns < now_ns and within_validity(contract, item) is not None
            ]
        found += [Sitting(objective, item) for item in windows or [window_of(contract, objective, now_ns, period)]]
    return tuple(found)


def _rolling(contract: Contract, objective: Objective, period: WindowInstants, now_ns: int) -> list[WindowInstants]:
    """One for each month of the contract that ends in the period, ending with it: credits are settled month by month.
    One that ends with the period where no month ends there."""
    ends = [item for item in windows_within(contract, month_unit(contract), period) if item.start_ns < now_ns]
    if not ends or ends[-1].end_ns < min(period.end_ns, now_ns):
        ends.append(period)
    found = [window_of(contract, objective, now_ns, end) for end in ends]
    if len(found) > 1:
        found = [replace(item, label=f"{item.label} of {end.label}") for item, end in zip(found, ends, strict=True)]
    return [item for item in found if within_validity(contract, item) is not None]


def extent_of(docket: Docket, now_ns: int) -> tuple[int, int]:
    """From the start of the first window to the end of the last, or to now."""
    start = min(item.window.start_ns for item in docket)
    return start, max(start, min(now_ns, max(item.window.end_ns for item in docket)))


def wants_incidents(contract: Contract) -> bool:
    """True where a verdict, a credit or a right hangs on single outages."""
    return (
        any(
            item.metric is Metric.OUTAGE or item.statistic.type is StatisticType.AVAILABILITY_OUTAGE
            for item in contract.objectives
        )
        or any(terms.objective is None for terms in contract.credits)
        or bool(contract.chronic)
    )


def readings(
    contract: Contract,
    circuit: Circuit,
    docket: Docket,
    *,
    now_ns: int,
    others: Mapping[str, Circuit] | None = None,
    incidents: tuple[int, int] | None = None,
) -> tuple[Reading, ...]:
    """What to read before judging, at most one reading for each probe of each circuit.

    others: circuits that an objective's scope may name, by id. incidents: [start, end) to find outages in.
    """
    needed: dict[tuple[str, str], Reading] = {}
    for objective, window, subject in _wanted(contract, circuit, docket, others or {}, incidents):
        probe = feed(objective, subject)
        if probe is None:
            continue
        columns = set(columns_for(objective))
        before_ns, after_ns = margins(objective)
        start, end = window[0] - before_ns, window[1] + after_ns
        if makes_attempts(probe):
            start -= every_ns(probe) or 0  # the last one before the window stands for the time until the next
        known = needed.get((subject.id, probe.name))
        if known is not None:
            start, end = min(start, known.start_ns), max(end, known.end_ns)
            columns |= set(known.columns)
        needed[subject.id, probe.name] = Reading(
            probe.name, probe.kind, tuple(sorted(columns)), start, min(end, now_ns), subject.id
        )
    return tuple(needed.values())


def _wanted(
    contract: Contract,
    circuit: Circuit,
    docket: Docket,
    others: Mapping[str, Circuit],
    incidents: tuple[int, int] | None,
) -> Iterator[tuple[Objective, tuple[int, int], Circuit]]:
    """Objective, time and circuit of everything that feeds a verdict."""
    available = contract.availability()
    for sitting in docket:
        valid = within_validity(contract, sitting.window)
        if valid is None:
            continue
        extent = (valid.start_ns, valid.end_ns)
        for subject in subjects(sitting.objective, circuit, others):
            yield sitting.objective, extent, subject
            if sitting.objective.only_available_time and available is not None:
                yield available, extent, subject
    if incidents is not None and available is not None:
        yield available, (incidents[0] - WARM_UP_NS, incidents[1]), circuit


def subjects(objective: Objective, circuit: Circuit, others: Mapping[str, Circuit]) -> Sequence[Circuit]:
    """The circuits an objective is about, those that are known."""
    if objective.scope is None:
        return (circuit,)
    known = {**others, circuit.id: circuit}
    return tuple(known[name] for name in objective.scope.members if name in known)
