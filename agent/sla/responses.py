"""Event objectives: how soon calls are answered, faults responded to, notices given, by imported events. Pure.

The clock of an event runs from its start stamp to its end stamp, in service hours only where there are any, and stands
during pauses with an agreed reason. An event belongs to the window that it starts in. One that has no end yet is late
once it is over the limit; until then nobody knows, and that widens the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Final

from agent.sla.case import Evaluation, Moment, UnusableError
from agent.sla.statistic.statistics import Estimate
from agent.sla.terms.contract import Contract, EventTerms, Objective, StatisticType
from agent.sla.terms.events import Event
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.hours import business_day_deadline, worked
from agent.sla.time.period import Period
from agent.sla.time.spans import Spans
from agent.sla.time.wall_clock import day_start, local_date
from agent.sla.time.zones import zone as zone_named
from agent.sla.verdict import NO_EVENTS, Budget, EvidenceValue, Findings
from agent.sla.words.wording import plural

_STILL_TO_COME: Final = 10**9
"""More events than any window will bring: what an open one may still reach."""
_NAMED: Final = 50
"""Late events that the evidence names."""
_SHARES: Final = (StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER)
_TIMES: Final = (
    StatisticType.MEAN,
    StatisticType.MTTR,
    StatisticType.PERCENTILE,
    StatisticType.LONGEST,
    StatisticType.TOTAL,
)


@dataclass(frozen=True, slots=True)
class Response:
    """One event of the window. elapsed_ns: on its clock, so far where it is not over. over: its end is known."""

    event: Event
    start_ns: int
    elapsed_ns: int
    over: bool
    abandoned: bool = False


def evaluate_events(
    objective: Objective, events: Sequence[Event], window: WindowInstants, moment: Moment
) -> Evaluation:
    """Share in time, mean, percentile, longest or number of the events that start in the window.

    events: of the circuit and of the whole contract. Raises UnusableError.
    """
    terms = objective.events
    if terms is None:
        raise UnusableError("it is not said which events count")
    if not objective.statistic.limited and objective.statistic.type in _SHARES:
        raise UnusableError("it is not said within which time an event is in time")
    end = min(window.end_ns, max(window.start_ns, moment.now_ns))
    asked = [event for event in events if _asked(event, terms)]
    found = [response(event, terms, moment.now_ns) for event in asked if _starts(event, terms, window.start_ns, end)]
    bound = _Bound.of(objective, moment.contract)
    taken = [item for item in found if not _left_out(item, terms, bound)]
    taken.sort(key=lambda item: (item.start_ns, item.event.id))
    period = Period(
        window, window.closed(moment.now_ns), moment.since_ns, window.start_ns, end, window.start_ns, window.end_ns
    )
    evidence: dict[str, EvidenceValue] = {
        "events": len(taken),
        "events_open": sum(not item.over for item in taken),
        "events_abandoned_left_out": sum(item.abandoned for item in found) - sum(item.abandoned for item in taken),
        "events_unfinished_left_out": sum(not item.over for item in found) - sum(not item.over for item in taken),
        "events_without_start": sum(terms.start not in event.stamps for event in asked),
        "events_ever": len(asked),
        "event_kind": terms.kind,
        "hours": terms.hours.text if terms.hours else None,
    }
    length = end - window.start_ns
    if not taken:
        known = "" if asked else f", no {terms.kind} has ever been imported"
        value = Fraction(int(objective.comparison == "min")) if objective.statistic.type not in _TIMES else None
        findings = Findings(Estimate(value, value, value), value, Fraction(1), 0, 0, remark=NO_EVENTS)
        return Evaluation(period, findings, length, _part(window, length), f"no {terms.kind}{known}", evidence)
    late = _late(objective, terms, taken, bound)
    findings, details = _found(objective, terms, taken, late, closed=period.closed)
    evidence["late"] = tuple(
        {"id": item.event.id, "start_ns": item.start_ns, "elapsed_ns": item.elapsed_ns, "open": not item.over}
        for item in late[:_NAMED]
    )
    evidence["late_count"] = len(late)
    return Evaluation(period, findings, length, _part(window, length), details, evidence)


def response(event: Event, terms: EventTerms, now_ns: int) -> Response:
    """The event on its clock, as far as it is known at `now`."""
    start = event.stamps[terms.start]
    stop, over, abandoned = event.stamps.get(terms.end), True, False
    if stop is not None and stop > now_ns:
        stop = None
    given_up = event.abandoned_ns
    if given_up is not None and given_up <= now_ns and (stop is None or given_up < stop):
        stop, abandoned = given_up, True
    if stop is None:
        stop, over = now_ns, False
    return Response(event, start, elapsed(event, terms, start, stop), over, abandoned)


def elapsed(event: Event, terms: EventTerms, start_ns: int, stop_ns: int) -> int:
    """ns on the clock from start to stop: service time less agreed pauses, of which no more than the cap counts."""
    total = worked(terms.hours, start_ns, stop_ns)
    stands = Spans.of(
        (pause.start_ns, stop_ns if pause.end_ns is None else pause.end_ns)
        for pause in event.pauses
        if pause.reason in terms.pauses
    ).within(start_ns, stop_ns)
    paused = sum(worked(terms.hours, begin, end) for begin, end in stands)
    if terms.pause_cap_ns is not None:
        paused = min(paused, terms.pause_cap_ns)
    return total - paused


def _asked(event: Event, terms: EventTerms) -> bool:
    return event.kind == terms.kind and (not terms.priorities or event.priority in terms.priorities)


def _starts(event: Event, terms: EventTerms, start_ns: int, end_ns: int) -> bool:
    begin = event.stamps.get(terms.start)
    return begin is not None and start_ns <= begin < end_ns


@dataclass(frozen=True, slots=True)
class _Bound:
    """When an event is late: over ns on its clock, or after the end of the so manieth business day after its first."""

    ns: Fraction | None
    days: int | None
    zone: str
    holidays: tuple[date, ...]

    @staticmethod
    def of(objective: Objective, contract: Contract | None) -> _Bound:
        statistic = objective.statistic
        zone, holidays = (contract.time_zone, contract.holidays) if contract is not None else ("UTC", ())
        return _Bound(statistic.limit, statistic.limit_days, zone, holidays)

    def passed(self, item: Response) -> bool | None:
        """None where there is no limit."""
        if self.days is not None:
            first = local_date(item.start_ns, self.zone)
            last = business_day_deadline(None, self.zone, first, self.days, True, self.holidays)
            return item.start_ns + item.elapsed_ns >= day_start(last + timedelta(days=1), zone_named(self.zone).info)
        return None if self.ns is None else item.elapsed_ns > self.ns


def _left_out(item: Response, terms: EventTerms, bound: _Bound) -> bool:
    if not item.over:
        return terms.unfinished == "excluded"
    if not item.abandoned or terms.abandoned == "late":
        return False
    return terms.abandoned == "excluded" or not bound.passed(item)


def _late(objective: Objective, terms: EventTerms, taken: Sequence[Response], bound: _Bound) -> list[Response]:
    """Those certainly over the limit, or over the target where there is none; those given up that count; and those
    without an end where the contract says so."""
    if not objective.statistic.limited and objective.statistic.type not in _TIMES:
        return []

    def late(item: Response) -> bool:
        passed = bound.passed(item)
        over = item.elapsed_ns > objective.target.value if passed is None else passed
        return over or item.abandoned or (not item.over and terms.unfinished == "late")

    return [item for item in taken if late(item)]


def _found(
    objective: Objective, terms: EventTerms, taken: Sequence[Response], late: Sequence[Response], *, closed: bool
) -> tuple[Findings, str]:
    estimate: Estimate
    reach: Fraction | None
    kind, count = objective.statistic.type, len(taken)
    lost = {id(item) for item in late}
    waiting = sum(not item.over and id(item) not in lost for item in taken)
    budget = None
    if kind in _SHARES:
        estimate, most = _shares(count, len(late), waiting)
        reach = most
        allowed = (1 - objective.target.value if kind is StatisticType.RATIO_WITHIN else objective.target.value) * count
        budget = Budget(Fraction(allowed // 1), Fraction(len(late)), f"{terms.kind}s late")
        if kind is StatisticType.RATIO_OVER:
            estimate, reach = _complement(estimate), 1 - most
    elif kind is StatisticType.COUNT:
        number = Fraction(len(late) if objective.statistic.limited else count)
        more = waiting if objective.statistic.limited else 0
        estimate, reach = Estimate(number, number, number + more), number
    elif kind in _TIMES:
        estimate, reach = _times(objective, taken)
    else:
        raise UnusableError(f"there is no {kind} of events")
    decided = count - waiting
    findings = Findings(
        estimate, reach, Fraction(decided, count) if closed else Fraction(1), decided, objective.samples_needed,
        "" if decided else "no event is over yet", budget=budget,
    )  # fmt: skip
    details = plural(count, terms.kind)
    if objective.statistic.limited:
        details = f"{len(late)} of {details} late"
    return findings, details + (f", {waiting} still open" if waiting else "")


def _shares(count: int, late: int, waiting: int) -> tuple[Estimate, Fraction]:
    """Share in time with its bounds, and the most it may become by events still to come."""
    within, decided = count - late - waiting, count - waiting
    value = Fraction(within, decided) if decided else None
    best = Fraction(within + waiting, count)
    reach = Fraction(count - late + _STILL_TO_COME, count + _STILL_TO_COME) if late else Fraction(1)
    return Estimate(value, best, Fraction(within, count)), reach


def _complement(estimate: Estimate) -> Estimate:
    parts = (None if item is None else 1 - item for item in (estimate.value, estimate.best, estimate.worst))
    return Estimate(*parts)


def _times(objective: Objective, taken: Sequence[Response]) -> tuple[Estimate, Fraction | None]:
    """Mean, percentile, longest or sum of the times. An open event lasts at least as long as it does already, and
    nobody knows how long in the end."""
    over = [item.elapsed_ns for item in taken if item.over]
    so_far = [item.elapsed_ns for item in taken]
    waiting = len(so_far) - len(over)
    best = _reduced(objective, so_far)
    worst = _reduced(objective, [*over, *([None] * waiting)])
    value = _reduced(objective, over) if over else None
    if value is not None and best is not None:
        value = max(value, best)
    growing = objective.statistic.type in (StatisticType.LONGEST, StatisticType.TOTAL)
    return Estimate(value, best, worst), best if growing else Fraction(0)


def _reduced(objective: Objective, times: Sequence[int | None]) -> Fraction | None:
    """The statistic of these times; None in them is endless, and so may the result be."""
    finite = sorted(time for time in times if time is not None)
    kind = objective.statistic.type
    if kind is StatisticType.PERCENTILE:
        p = objective.statistic.p or Fraction(1, 2)
        rank = max(1, -(-p * len(times) // 1))
        return Fraction(finite[int(rank) - 1]) if rank <= len(finite) else None
    if len(finite) < len(times):
        return None
    if kind is StatisticType.LONGEST:
        return Fraction(finite[-1])
    return Fraction(sum(finite), 1 if kind is StatisticType.TOTAL else len(finite))


def _part(window: WindowInstants, length_ns: int) -> Fraction:
    return Fraction(length_ns, window.length_ns) if window.length_ns else Fraction(0)


def of_circuit(events: Sequence[Event], circuit: str) -> list[Event]:
    """Those about the circuit, and those about none in particular."""
    return [event for event in events if not event.circuits or circuit in event.circuits]
