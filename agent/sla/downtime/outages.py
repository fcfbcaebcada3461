"""Outages as a promise on outages counts them, and what unknown time could make of them. Pure.

Three readings of the same record: `likely` is the one a value is taken from, unknown time between two that are down
bridged as the contract says; `sure` holds no unknown time at all; `wide` all of it. No true course of events has less
down time than `sure` or more than `wide`, and every true outage lies within one of `wide`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.sla.faults.joining import bridges, clock_spans, contract_clock, first_of
from agent.sla.terms.contract import Statistic
from agent.sla.terms.incidents import ClockTerms, Incident, Stamp
from agent.sla.time.spans import NOWHERE, Spans


@dataclass(frozen=True, slots=True)
class Fault:
    """One outage on one clock. start_ns: which window it belongs to. spans: when its clock ran. running: it still
    does. doubtful: some of it is unknown time."""

    start_ns: int
    spans: Spans
    running: bool
    incidents: tuple[Incident, ...] = ()
    doubtful: bool = False

    @property
    def length_ns(self) -> int:
        return self.spans.length_ns

    def starts_in(self, start_ns: int, end_ns: int) -> bool:
        return start_ns <= self.start_ns < end_ns


@dataclass(frozen=True, slots=True)
class Terms:
    """What counts: out is excluded or credited time. grain_ns: no outage and no time between two is shorter."""

    statistic: Statistic
    clock: ClockTerms
    out: Spans
    now_ns: int
    grain_ns: int = 0

    @property
    def shortest_ns(self) -> int:
        return max(self.statistic.minimum_ns, self.grain_ns)

    @property
    def least_ns(self) -> int:
        """Least time of an outage that counts."""
        return self.shortest_ns - (self.statistic.minimum_ns if self.statistic.count_from == "threshold" else 0)

    @property
    def apart_ns(self) -> int:
        return max(self.statistic.join_ns, self.grain_ns)


@dataclass(frozen=True, slots=True)
class Readings:
    """likely, sure and wide, by start. unknown: what of the unknown time may be an outage."""

    likely: tuple[Fault, ...]
    sure: tuple[Fault, ...]
    wide: tuple[Fault, ...]
    unknown: Spans


def measured(terms: Terms, incidents: Sequence[Incident], unknown: Spans, *, hidden: bool) -> Readings:
    """On the measured clock. hidden: unknown time may hold outages of its own."""

    def bridged(incident: Incident) -> Spans:
        return incident.down | bridges(incident.down, unknown, terms.clock.bridge_ns)

    raw = _measured(terms, incidents, bridged)
    bare = [part for fault in _measured(terms, incidents, lambda incident: incident.down) for part in _apart(fault)]
    doubt = unknown - terms.out if hidden else _beside(unknown - terms.out, [item.spans for item in raw])
    return _readings(terms, raw, bare, doubt)


def by_contract(terms: Terms, incidents: Sequence[Incident], unknown: Spans, *, hidden: bool) -> Readings:
    """On the contract's clock; incidents on which it never began, or can never stop, are left out."""
    raw = [fault for incident in incidents if (fault := _clocked(terms, incident)) is not None]
    doubt = unknown - terms.out if hidden else NOWHERE
    return _readings(terms, raw, raw, doubt)


def untimed(terms: Terms, incident: Incident) -> bool:
    """The contract's clock takes a stamp from tickets, and there is none about this outage."""
    clock = terms.clock
    if incident.tickets:
        begun = clock.start in incident.stamps or (clock.earlier and Stamp.TICKET in incident.stamps)
        return bool(len(incident.down)) and not begun
    return not measured_alone(clock)


def measured_alone(clock: ClockTerms) -> bool:
    """The measurement gives both stamps of the clock where no ticket does."""
    return clock.start in (Stamp.FAULT, Stamp.DETECTED) and clock.stop is Stamp.RESTORED


def counted_from(terms: Terms, fault: Fault) -> Spans:
    """The part of its time that counts: all, or from the moment on at which it was long enough."""
    if terms.statistic.count_from == "start" or not terms.statistic.minimum_ns:
        return fault.spans
    return fault.spans - first_of(fault.spans, terms.statistic.minimum_ns)


def _measured(terms: Terms, incidents: Iterable[Incident], spans_of: Callable[[Incident], Spans]) -> list[Fault]:
    found = []
    for incident in incidents:
        spans = spans_of(incident) - terms.out
        if len(spans):
            found.append(Fault(int(spans.start_ns[0]), spans, incident.end_ns is None, (incident,)))
    return found


def _apart(fault: Fault) -> list[Fault]:
    """Outages that only bridged time makes one: those that no ticket joins."""
    if any(item.tickets for item in fault.incidents):
        return [fault]
    last = int(fault.spans.end_ns[-1])
    return [
        replace(fault, start_ns=start, spans=Spans.of([(start, end)]), running=fault.running and end == last)
        for start, end in fault.spans
    ]


def _clocked(terms: Terms, incident: Incident) -> Fault | None:
    """An incident that took place in excluded time alone is none."""
    if untimed(terms, incident):
        return None
    lasts = incident.end_ns is None and len(incident.down)
    at_ns = int(incident.down.end_ns[-1]) if lasts else terms.now_ns  # of what was not read nothing is said
    repair = contract_clock(incident.stamps, incident.tickets, terms.clock, running_at_ns=at_ns)
    begin = repair.start_ns
    if begin is None or begin > terms.now_ns:
        return None
    down = incident.down - terms.out
    if len(incident.down) and not len(down):
        return None
    stop = repair.stop_ns
    end = at_ns if stop is None else stop
    spans = clock_spans(incident.tickets, terms.clock, begin, end, excluded=terms.out)
    if end > begin and len(Spans.of([(begin, end)]) - terms.out) == 0:
        return None
    start = int(down.start_ns[0]) if len(down) else incident.stamps.get(Stamp.FAULT, begin)
    return Fault(start, spans, stop is None, (incident,))


def _readings(terms: Terms, raw: Sequence[Fault], bare: Sequence[Fault], doubt: Spans) -> Readings:
    return Readings(
        tuple(_counting(terms, _joined(terms, raw))),
        tuple(_counting(terms, _joined(terms, bare))),
        tuple(_counting(terms, _joined(terms, _widest(raw, doubt)))),
        doubt,
    )


def _joined(terms: Terms, faults: Iterable[Fault]) -> list[Fault]:
    """Those that are closer together than join_ns as one, with the time between them."""
    found: list[Fault] = []
    for fault in sorted(faults, key=_order):
        last = found[-1] if found else None
        end = _end(last) if last is not None else 0
        if last is None or not terms.statistic.join_ns or _begin(fault) - end >= terms.statistic.join_ns:
            found.append(fault)
            continue
        between = Spans.of([(end, _begin(fault))]) - terms.out
        found[-1] = Fault(
            min(last.start_ns, fault.start_ns),
            last.spans | between | fault.spans,
            last.running or fault.running,
            last.incidents + fault.incidents,
            last.doubtful or fault.doubtful,
        )
    return found


def _counting(terms: Terms, faults: Iterable[Fault]) -> list[Fault]:
    return [item for item in faults if item.length_ns >= terms.statistic.minimum_ns]


def _widest(faults: Sequence[Fault], doubt: Spans) -> list[Fault]:
    """What each could be at most: with all unknown time that touches it; and unknown time by itself."""
    pieces = Spans.of(pair for fault in faults for pair in fault.spans) | doubt
    holder = np.arange(len(pieces))
    for fault in faults:
        mine = _places(pieces, fault.spans)
        if len(mine):
            holder[np.isin(holder, holder[mine])] = holder[mine].min()
    found = []
    for each in np.unique(holder).tolist():
        own = np.flatnonzero(holder == each)
        spans = Spans.union(pieces.start_ns[own], pieces.end_ns[own])
        inside = [fault for fault in faults if len(fault.spans) and holder[_places(pieces, fault.spans)[0]] == each]
        begin = int(spans.start_ns[0])
        unsure = len(spans & doubt) > 0
        start = begin if unsure or not inside else min(fault.start_ns for fault in inside)
        running = any(fault.running for fault in inside)
        concerned = tuple(item for fault in inside for item in fault.incidents)
        found.append(Fault(start, spans, running, concerned, unsure))
    return found + [replace(fault) for fault in faults if not len(fault.spans)]


def _places(pieces: Spans, spans: Spans) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Which piece each of the spans lies in."""
    return np.searchsorted(pieces.start_ns, spans.start_ns, "right") - 1


def _beside(unknown: Spans, known: Sequence[Spans]) -> Spans:
    """Unknown time that touches time that is down: it may lengthen an outage."""
    down = Spans.of(pair for spans in known for pair in spans)
    whole = down | unknown
    if not len(unknown) or not len(down):
        return NOWHERE
    touching = np.unique(_places(whole, down))
    return Spans.union(whole.start_ns[touching], whole.end_ns[touching]) & unknown


def _order(fault: Fault) -> tuple[int, int]:
    return _begin(fault), fault.start_ns


def _begin(fault: Fault) -> int:
    return int(fault.spans.start_ns[0]) if len(fault.spans) else fault.start_ns


def _end(fault: Fault) -> int:
    return int(fault.spans.end_ns[-1]) if len(fault.spans) else fault.start_ns
