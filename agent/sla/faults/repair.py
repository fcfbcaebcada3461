"""Promises on outages as such: how many, how long, how soon repaired; MTTR, MTTF, MTBF. Pure.

An outage belongs to the window it starts in, excluded time left out (MEF 61.1): an outage over the end of a month is
one outage of the month before, with all its time to repair, while its down time is split between the two. MTTR, the
shares repaired in time and percentiles run on the contract's repair clock, the others on the clock that the statistic
names. MTTF = up time / n, MTBF = MTTF + MTTR with both on the measured clock.

Unknown time may hide outages or lengthen them, and one that still lasts has no upper bound to its repair: that is what
best and worst are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from agent.sla.assessment import RepairFigures
from agent.sla.case import Evaluation, Moment, UnusableError, portion
from agent.sla.downtime.outages import Fault, Readings, Terms, counted_from, measured_alone, untimed
from agent.sla.faults.joining import contract_clock
from agent.sla.faults.outage_values import REPAIRS, Bounds, Case, bounds, counts, value_of
from agent.sla.statistic.statistics import Estimate
from agent.sla.terms.contract import Objective, StatisticType
from agent.sla.terms.incidents import ClockTerms, Incident, Stamp
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.period import Period
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.verdict import NO_EVENTS, Budget, EvidenceValue, Findings
from agent.sla.words.wording import plural, spoken

_NAMED: Final = 50
"""Outages that the evidence names."""
_KNOWN: Final = REPAIRS | {
    StatisticType.COUNT,
    StatisticType.TOTAL,
    StatisticType.LONGEST,
    StatisticType.MTTF,
    StatisticType.MTBF,
}
_LENGTHS: Final = REPAIRS - {StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER}


def evaluate_outages(
    objective: Objective, incidents: Sequence[Incident], window: WindowInstants, moment: Moment
) -> Evaluation:
    """Outages of one circuit in a window, by moment.contract's clock, less moment.excluded and moment.credited.

    moment.unknown: when nobody knows whether the circuit was up. Raises UnusableError.
    """
    statistic = objective.statistic
    if statistic.type not in _KNOWN:
        raise UnusableError(f"{statistic.type.value} is no statistic of outages")
    closed = window.closed(moment.now_ns)
    start = window.start_ns if closed else min(max(window.start_ns, moment.since_ns), window.end_ns)
    end = max(start, min(window.end_ns, moment.now_ns))
    case = _case(objective, incidents, moment, start, end)
    before = Spans.of([(start, min(end, moment.since_ns))])
    unseen = NOWHERE if objective.coverage.unknown == "up" else moment.unknown | before
    unknown = unseen if case.hidden or not case.contract_clock else NOWHERE
    readings = case.readings(unknown)
    if objective.coverage.unknown == "down":
        settled = tuple(replace(item, doubtful=False) for item in readings.wide)
        readings, unknown = Readings(settled, settled, settled, NOWHERE), NOWHERE
        unseen = NOWHERE if case.hidden or not case.contract_clock else unseen
    gone = unknown & case.judged
    found = case.here(readings.likely)
    low, high = bounds(case, readings)
    value = value_of(case, readings, gone)
    lacking = _untimed(case)
    if lacking:
        low, high = _with_untimed(case, value, len(found), lacking, (low, high))
    estimate = _sided(objective, value, low, high)
    unrecorded = unknown - moment.known.recorded()
    doubt = _sided(objective, None, *bounds(case, case.readings(unrecorded))) if len(unrecorded & case.judged) else None
    known = (case.judged - unseen).length_ns
    coverage = portion(known, case.judged.length_ns)
    gap = int((gone.end_ns - gone.start_ns).max(initial=0))
    period = Period(window, closed, moment.since_ns, start, end, window.start_ns, window.end_ns)
    out = moment.excluded | moment.credited
    findings = Findings(
        estimate,
        _reach(case, estimate, readings, period, out),
        coverage,
        max(len(found), 1) if statistic.type not in REPAIRS else len(found),
        1,
        _obstacle(case, lacking),
        _used(objective, value),
        doubt,
        _budget(objective, value),
        NO_EVENTS if not found and not lacking and _certain(case, readings, unseen, coverage, gap, doubt) else "",
        gap,
    )
    whole = (Spans.of([(window.start_ns, window.end_ns)]) - out).length_ns
    return Evaluation(
        period,
        findings,
        known,
        portion(known, whole),
        "; ".join(text for text in (_details(case, found, lacking), _unranked(case, incidents)) if text),
        {**_evidence(case, readings, found), "outages_without_repair_time": lacking},
        excluded_ns=moment.excluded.within(start, end).length_ns,
    )


def figures(
    incidents: Sequence[Incident],
    start_ns: int,
    end_ns: int,
    up_ns: int,
    *,
    clock: ClockTerms | None = None,
    out: Spans = NOWHERE,
) -> RepairFigures:
    """Over the incidents that start in [start_ns, end_ns) and of which some time counts; up_ns: time up in it.

    out: excluded or credited time, which neither clock runs in (MEF 61.1). A clock that still runs is in no mean. Whole
    ns, rounded down.
    """
    taken = [item for item in incidents if start_ns <= item.start_ns < end_ns and (item.counted_ns or not item.down_ns)]
    contract = [ns for item in taken if (ns := _contract_ns(item, clock or ClockTerms(), out)) is not None]
    ours = [ns for item in taken if (ns := _measured_ns(item, out)) is not None and item.end_ns is not None]
    mttr = sum(contract) // len(contract) if contract else None
    measured = sum(ours) // len(ours) if ours else None
    mttf = up_ns // len(taken) if taken else None
    mtbf = mttf + measured if mttf is not None and measured is not None else None
    return RepairFigures(len(taken), mttr, measured, mttf, mtbf)


def _contract_ns(item: Incident, clock: ClockTerms, out: Spans) -> int | None:
    """Its reading on the contract's clock without what is out; None while it has none."""
    repair = item.repair
    if repair.contract_ns is None or repair.start_ns is None or repair.stop_ns is None:
        return repair.contract_ns
    if not len(out.within(repair.start_ns, repair.stop_ns)):
        return repair.contract_ns
    return contract_clock(item.stamps, item.tickets, clock, excluded=out).contract_ns


def _measured_ns(item: Incident, out: Spans) -> int | None:
    """First to last interval down without what is out; None where nothing was measured."""
    if item.repair.measured_ns is None or not len(item.down):
        return item.repair.measured_ns
    return item.repair.measured_ns - out.within(int(item.down.start_ns[0]), int(item.down.end_ns[-1])).length_ns


def _case(objective: Objective, incidents: Sequence[Incident], moment: Moment, start: int, end: int) -> Case:
    statistic, contract = objective.statistic, moment.contract
    clock = contract.clock if contract is not None else ClockTerms()
    by_clock = statistic.clock == "contract" or statistic.type in REPAIRS
    out = moment.excluded | moment.credited
    wanted = objective.severities
    return Case(
        objective,
        Terms(statistic, clock, out, moment.now_ns, moment.grain_ns),
        start,
        end,
        Spans.of([(start, end)]) - out,
        tuple(item for item in incidents if not wanted or item.priority in wanted),
        by_clock,
        # No ticket, no priority: what nobody measured has neither, and no clock that a ticket starts.
        not wanted and (not by_clock or measured_alone(clock)),
    )


def _sided(objective: Objective, value: Fraction | None, low: Fraction | None, high: Fraction | None) -> Estimate:
    return Estimate(value, low, high) if objective.comparison == "max" else Estimate(value, high, low)


def _reach(case: Case, estimate: Estimate, readings: Readings, period: Period, out: Spans) -> Fraction | None:
    """The best value the whole window can still have."""
    kind = case.objective.statistic.type
    if period.closed or kind in (StatisticType.COUNT, StatisticType.TOTAL, StatisticType.LONGEST):
        return estimate.best
    if kind in REPAIRS:
        return Fraction(int(case.objective.comparison == "min"))
    fewest, _ = counts(case, readings)
    rest = period.rest(out)
    return None if estimate.best is None or not fewest else estimate.best + Fraction(rest) / fewest


def _certain(
    case: Case, readings: Readings, unseen: Spans, coverage: Fraction, gap_ns: int, doubt: Estimate | None
) -> bool:
    """Whether no outage seen is no outage. A measured number decides by its bounds like any other. Where tickets alone
    tell of outages, none is no outage only where somebody looked."""
    if not len(unseen & case.judged):
        return True
    if case.contract_clock and not case.hidden:
        return coverage >= case.objective.coverage.minimum
    if not case.doubtful(readings):
        return True
    objective = case.objective
    if objective.statistic.type in (StatisticType.COUNT, StatisticType.TOTAL, StatisticType.LONGEST):
        return False
    most = objective.coverage.longest_gap_ns
    return doubt is None and coverage >= objective.coverage.minimum and (most is None or gap_ns <= most)


def _untimed(case: Case) -> int:
    """Measured outages of the judged time that the contract's clock says nothing about: a ticket is missing."""
    if not case.contract_clock:
        return 0
    found = 0
    for item in case.incidents:
        down = item.down - case.terms.out
        inside = len(down) and case.start_ns <= int(down.start_ns[0]) < case.end_ns
        found += bool(inside and down.length_ns >= case.terms.statistic.minimum_ns and untimed(case.terms, item))
    return found


def _with_untimed(case: Case, value: Fraction | None, timed: int, lacking: int, known: Bounds) -> Bounds:
    """(least, most): a ticket that is still to be entered may give each of them any time to repair, or it never
    counts."""
    kind, (low, high) = case.objective.statistic.type, known
    if kind in _LENGTHS:
        return (None if value is None else Fraction(0)), None
    if kind in REPAIRS:
        good = value * timed if value is not None else Fraction(0)
        return good / (timed + lacking), (good + lacking) / (timed + lacking)
    if kind is StatisticType.COUNT:
        return low, None if high is None else high + lacking
    if kind in (StatisticType.TOTAL, StatisticType.LONGEST):
        return low, None
    return None, high


def _without_repair_time(case: Case, lacking: int) -> str:
    """`3 outages have no repair time: no ticket starts the clock`."""
    clock = case.terms.clock
    verb = "stops" if clock.start in (Stamp.FAULT, Stamp.DETECTED) else "starts"
    return f"{plural(lacking, 'outage')} {'has' if lacking == 1 else 'have'} no repair time: no ticket {verb} the clock"


def _unranked(case: Case, incidents: Sequence[Incident]) -> str:
    """Measured outages that no ticket gives a priority, where the promise is about some priorities alone."""
    if not case.objective.severities:
        return ""
    number = 0
    for item in incidents:
        down = item.down - case.terms.out
        inside = len(down) and case.start_ns <= int(down.start_ns[0]) < case.end_ns
        number += bool(inside and not item.priority and down.length_ns >= case.terms.statistic.minimum_ns)
    return f"{plural(number, 'outage')} without a ticket that gives a priority" if number else ""


def _obstacle(case: Case, lacking: int) -> str:
    if lacking:
        return _without_repair_time(case, lacking)
    return "no outage was seen, and too much is not known to say that there was none" if case.judged else ""


def _used(objective: Objective, value: Fraction | None) -> Fraction | None:
    if objective.statistic.type is not StatisticType.TOTAL or value is None:
        return None
    allowed = objective.target.value
    return value / allowed if allowed else Fraction(int(value > 0))


def _budget(objective: Objective, value: Fraction | None) -> Budget | None:
    kind, allowed = objective.statistic.type, objective.target.value
    if value is None or kind not in (StatisticType.COUNT, StatisticType.TOTAL):
        return None
    if kind is StatisticType.COUNT:
        return Budget(allowed, value, "outages", text=f"{plural(int(value), 'outage')} of {int(allowed)}")
    text = f"{spoken(int(value))} of {spoken(int(allowed))} of outage time"
    return Budget(allowed, value, "outage time", text=text)


def _details(case: Case, found: Sequence[Fault], lacking: int) -> str:
    if lacking and not found:
        alone = case.objective.statistic.type in REPAIRS  # the reason why there is no verdict tells of them
        return "no outage with a ticket" + ("" if alone else f", {_without_repair_time(case, lacking)}")
    if not found:
        return "no outage"
    lengths = case.lengths(found)
    if len(found) == 1:
        parts = [f"1 outage of {spoken(lengths[0])}"]
    else:
        whole = f"{spoken(sum(lengths))} in all, the longest {spoken(max(lengths))}"
        parts = [plural(len(found), "outage"), whole]
    running = sum(item.running for item in found)
    if running:
        parts.append("still going on" if len(found) == 1 else f"{running} of them still going on")
    if lacking:
        parts.append(_without_repair_time(case, lacking))
    return ", ".join(parts)


def _evidence(case: Case, readings: Readings, found: Sequence[Fault]) -> dict[str, EvidenceValue]:
    return {
        "clock": "contract" if case.contract_clock else "measured",
        "outages_in_window": len(found),
        "outages": tuple(_said(case, fault) for fault in found[:_NAMED]),
        "outage_ns_in_window": case.down(readings.likely),
        "unknown_ns": (readings.unknown & case.judged).length_ns,
        "incidents_without_ticket": sum(item.basis == "measured" for item in case.incidents if _touches(case, item)),
        "tickets_without_measured_outage": sum(
            item.basis == "ticket" for item in case.incidents if _touches(case, item)
        ),
    }


def _touches(case: Case, incident: Incident) -> bool:
    return case.start_ns <= incident.start_ns < case.end_ns


def _said(case: Case, fault: Fault) -> dict[str, EvidenceValue]:
    return {
        "ids": tuple(item.id for item in fault.incidents),
        "start_ns": fault.start_ns,
        "duration_ns": counted_from(case.terms, fault).length_ns,
        "ongoing": fault.running,
        "measured_ns": sum(item.repair.measured_ns or 0 for item in fault.incidents),
        "contract_ns": fault.incidents[0].repair.contract_ns if len(fault.incidents) == 1 else None,
    }
