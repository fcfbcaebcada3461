"""Outages found in the series joined with the tickets about them: incidents, with both clocks. Pure.

Two outages are one where all time between them is unknown and no longer than the contract bridges. A ticket is about
every outage of its circuits that it overlaps; one that overlaps none is about the nearest within a tolerance, because
people look at the clock on the wall and open tickets late. A ticket without an end reaches as far as outages follow
one another within the tolerance: one that nobody closed does not swallow the outages of the months after it. What
tickets and outages hang together is one incident; tickets about no measured outage that overlap are one as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final

import numpy as np

from agent.sla.terms.incidents import Attribution, ClockTerms, Incident, Repair, Responsible, Stamp, Ticket
from agent.sla.time.calendar import local_time
from agent.sla.time.spans import NOWHERE, Spans
from probes.core.clock import SECOND

TOLERANCE_NS: Final = 3600 * SECOND
"""A ticket and an outage no further apart than this are about the same fault, where nothing is nearer."""
EVIDENCE: Final = "evidence"
"""The author of an attribution that nobody entered."""

_EARLIEST: Final = (Stamp.FAULT, Stamp.DETECTED, Stamp.TICKET, Stamp.RESPONSE)
"""Of several tickets the first of these counts; of the others the last."""
_ENDS: Final = (Stamp.RESTORED, Stamp.CONFIRMED)


@dataclass(frozen=True, slots=True)
class _Outage:
    """Certainly down, bridged time apart. end_ns is that of the last certain one. ongoing: its end is not known."""

    start_ns: int
    end_ns: int
    down: tuple[tuple[int, int], ...]
    ongoing: bool


def incidents_of(
    circuit_id: str,
    down: Spans,
    unknown: Spans,
    counted: Spans,
    tickets: Sequence[Ticket],
    clock: ClockTerms,
    *,
    dt_ns: int,
    now_ns: int,
    n: int = 1,
    until_ns: int | None = None,
    tolerance_ns: int = TOLERANCE_NS,
) -> tuple[Incident, ...]:
    """Incidents of one circuit by their start, as known at now_ns.

    down: certainly down. unknown: nobody knows. counted: time that counts, or the part of `down` that does. n
    intervals of dt_ns in a row make an outage, so that it could be known after them. until_ns: the circuit was watched
    until then, None is now; an outage from whose end to then all is unknown still lasts.
    """
    until = now_ns if until_ns is None else min(until_ns, now_ns)
    outages = _bridged(down, unknown, clock.bridge_ns, until)
    known = sorted(
        (known_at(item, now_ns) for item in tickets if circuit_id in item.circuits and item.entered_ns <= now_ns),
        key=lambda item: (item.entered_ns, item.id),
    )
    groups = _Groups(len(outages) + len(known))
    for place, ticket in enumerate(known):
        for index in _about(ticket, outages, tolerance_ns):
            groups.join(len(outages) + place, index)
    alone = [place for place in range(len(known)) if groups.single(len(outages) + place)]
    for index, place in enumerate(alone):
        for other in alone[index + 1 :]:
            if _meet(known[place], known[other]):
                groups.join(len(outages) + place, len(outages) + other)
    found = [
        _incident(
            circuit_id,
            [outages[item] for item in group if item < len(outages)],
            [known[item - len(outages)] for item in group if item >= len(outages)],
            counted,
            clock,
            detect_ns=n * dt_ns,
            now_ns=now_ns,
        )
        for group in groups.all()
    ]
    return tuple(sorted(found, key=lambda item: (item.start_ns, item.id)))


def known_at(ticket: Ticket, now_ns: int) -> Ticket:
    """The ticket without stamps and pauses of a later time."""
    return Ticket(
        ticket.id,
        ticket.circuits,
        {stamp: at for stamp, at in ticket.stamps.items() if at <= now_ns},
        ticket.entered_ns,
        tuple(item for item in ticket.pauses if item.start_ns <= now_ns),
        ticket.priority,
        ticket.cause,
        ticket.references,
        ticket.attribution,
        ticket.note,
    )


def contract_clock(
    stamps: Mapping[Stamp, int],
    tickets: Iterable[Ticket],
    clock: ClockTerms,
    *,
    excluded: Spans = NOWHERE,
    running_at_ns: int | None = None,
) -> Repair:
    """The repair time by the contract's two stamps, less the pauses it names and what is excluded; never below 0.

    running_at_ns: where the clock has begun and not stopped, its reading at this instant. Without it contract_ns is
    None for such a clock. measured_ns is left open.
    """
    begins = [stamps[clock.start]] if clock.start in stamps else []
    if clock.earlier and Stamp.TICKET in stamps:
        begins.append(stamps[Stamp.TICKET])
    begin, stop = min(begins, default=None), stamps.get(clock.stop)
    end = running_at_ns if stop is None else stop
    if begin is None or end is None:
        return Repair(None, None, 0, begin, stop)
    whole = end - begin if end > begin else 0
    running = clock_spans(tickets, clock, begin, end, excluded=excluded).length_ns
    paused = whole - running - excluded.within(begin, end).length_ns
    return Repair(running, None, paused, begin, stop)


def clock_spans(
    tickets: Iterable[Ticket], clock: ClockTerms, start_ns: int, end_ns: int, *, excluded: Spans = NOWHERE
) -> Spans:
    """When the clock runs in [start_ns, end_ns): not in excluded time, and not in pauses, of which the first
    pause_cap_ns count."""
    running = Spans.of([(start_ns, end_ns)]) - excluded
    stands = pauses_of(tickets, clock, start_ns, end_ns) - excluded
    if clock.pause_cap_ns is not None:
        stands = first_of(stands, clock.pause_cap_ns)
    return running - stands


def first_of(spans: Spans, ns: int) -> Spans:
    """The first ns of them."""
    before = np.concatenate(([0], np.cumsum(spans.end_ns - spans.start_ns)[:-1])) if len(spans) else spans.start_ns
    return Spans.union(spans.start_ns, np.minimum(spans.end_ns, spans.start_ns + np.maximum(ns - before, 0)))


def pauses_of(tickets: Iterable[Ticket], clock: ClockTerms, start_ns: int, end_ns: int) -> Spans:
    """When the clock stands in [start_ns, end_ns): pauses for reasons the contract names, each instant once."""
    return Spans.of(
        (pause.start_ns, end_ns if pause.end_ns is None else pause.end_ns)
        for ticket in tickets
        for pause in ticket.pauses
        if clock.pauses is None or pause.reason in clock.pauses
    ).within(start_ns, end_ns)


def bridges(down: Spans, unknown: Spans, bridge_ns: int) -> Spans:
    """Unknown time between two that are down, no longer than bridge_ns: it passes as down in the list of outages."""
    gaps = zip(down.end_ns[:-1].tolist(), down.start_ns[1:].tolist(), strict=True)
    return Spans.of((start, end) for start, end in gaps if end - start <= bridge_ns and _all(unknown, start, end))


def incident_id(circuit: str, start_ns: int) -> str:
    """`c1-20261003T040000Z`: the circuit and the start of the measured outage."""
    rest = start_ns % SECOND
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{circuit}-{local_time(start_ns - rest, UTC):%Y%m%dT%H%M%S}{fraction}Z"


def extent(ticket: Ticket) -> tuple[int, int | None] | None:
    """Start and end of the fault by the ticket; end None where it does not say, nothing where it has no stamp."""
    if not ticket.stamps:
        return None
    start = ticket.stamps.get(Stamp.FAULT, min(ticket.stamps.values()))
    end = next((ticket.stamps[stamp] for stamp in _ENDS if stamp in ticket.stamps), None)
    return start, None if end is None else max(start, end)


def _bridged(down: Spans, unknown: Spans, bridge_ns: int, until_ns: int) -> list[_Outage]:
    whole = down | bridges(down, unknown, bridge_ns)
    parts = list(down)
    found, at = [], 0
    for start, end in whole:
        first = at
        while at < len(parts) and parts[at][0] < end:
            at += 1
        ongoing = end >= until_ns or _all(unknown, end, until_ns)
        found.append(_Outage(start, end, tuple(parts[first:at]), ongoing))
    return found


def _all(spans: Spans, start_ns: int, end_ns: int) -> bool:
    """True where all of [start_ns, end_ns) lies inside."""
    return spans.within(start_ns, end_ns).length_ns == end_ns - start_ns


def _about(ticket: Ticket, outages: Sequence[_Outage], tolerance_ns: int) -> Iterator[int]:
    """Places of the outages the ticket is about."""
    reach = extent(ticket)
    if reach is None:
        return
    start, end = reach
    if end is None:
        yield from _chain(ticket, start, outages, tolerance_ns)
        return
    inside = [place for place, item in enumerate(outages) if _distance(item, start, end) == 0]
    yield from inside or _nearest(outages, start, end, tolerance_ns)


def _chain(ticket: Ticket, start_ns: int, outages: Sequence[_Outage], tolerance_ns: int) -> Iterator[int]:
    """From the outage nearest to the start of a ticket without an end on, as long as they follow one another."""
    limit = ticket.stamps.get(Stamp.CLOSED)
    for place in _nearest(outages, start_ns, start_ns, tolerance_ns):
        yield place
        reach = outages[place].end_ns
        for later in range(place + 1, len(outages)):
            begin = outages[later].start_ns
            if begin - reach > tolerance_ns or (limit is not None and begin > limit):
                return
            yield later
            reach = outages[later].end_ns


def _nearest(outages: Sequence[_Outage], start_ns: int, end_ns: int, tolerance_ns: int) -> list[int]:
    """The place of the nearest outage within the tolerance; of two as near the one before."""
    ranked = sorted((_distance(item, start_ns, end_ns), place) for place, item in enumerate(outages))
    return [ranked[0][1]] if ranked and ranked[0][0] <= tolerance_ns else []


def _distance(outage: _Outage, start_ns: int, end_ns: int) -> int:
    """ns between them, 0 where they meet. An outage that still lasts has no later side."""
    after = 0 if outage.ongoing else start_ns - outage.end_ns
    return max(0, after, outage.start_ns - end_ns)


def _meet(one: Ticket, other: Ticket) -> bool:
    """True where two tickets are about the same time."""
    first, second = extent(one), extent(other)
    if first is None or second is None:
        return False
    return first[0] <= (second[0] if second[1] is None else second[1]) and second[0] <= (
        first[0] if first[1] is None else first[1]
    )


class _Groups:
    """What hangs together: union of sets, the smallest member stands for each."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._joined = [False] * count

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        self._parent[second] = first
        self._joined[one] = self._joined[other] = True

    def single(self, item: int) -> bool:
        return not self._joined[item]

    def all(self) -> list[list[int]]:
        """Members of each group, ascending."""
        groups: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            groups.setdefault(self._root(item), []).append(item)
        return list(groups.values())

    def _root(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item


def _incident(
    circuit: str,
    outages: Sequence[_Outage],
    tickets: Sequence[Ticket],
    counted: Spans,
    clock: ClockTerms,
    *,
    detect_ns: int,
    now_ns: int,
) -> Incident:
    down = Spans.of(pair for outage in outages for pair in outage.down)
    stamps = _stamps(outages, tickets, detect_ns, now_ns)
    repair = contract_clock(stamps, tickets, clock)
    measured = outages[-1].end_ns - outages[0].start_ns if outages else None
    reaches = [reach for ticket in tickets if (reach := extent(ticket)) is not None]
    starts = [item.start_ns for item in outages] + [start for start, _ in reaches]
    ends = [item.end_ns for item in outages] + [end for _, end in reaches if end is not None]
    if any(item.ongoing for item in outages):
        ends = []
    elif not outages:
        ends = ends or [ticket.stamps[Stamp.CLOSED] for ticket in tickets if Stamp.CLOSED in ticket.stamps]
    start = min(starts, default=min((ticket.entered_ns for ticket in tickets), default=now_ns))
    return Incident(
        incident_id(circuit, outages[0].start_ns) if outages else _ticket_name(circuit, tickets),
        circuit,
        start,
        max(start, *ends) if ends else None,
        "both" if outages and tickets else "measured" if outages else "ticket",
        down,
        down & counted,
        tuple(tickets),
        entered(tickets) or Attribution(Responsible.UNKNOWN, EVIDENCE),
        Repair(repair.contract_ns, measured, repair.paused_ns, repair.start_ns, repair.stop_ns),
        stamps,
    )


def _ticket_name(circuit: str, tickets: Sequence[Ticket]) -> str:
    first = tickets[0]
    return first.id if len(first.circuits) == 1 else f"{first.id}/{circuit}"


def _stamps(outages: Sequence[_Outage], tickets: Sequence[Ticket], detect_ns: int, now_ns: int) -> dict[Stamp, int]:
    """Those of the tickets, and measured ones where no ticket has them."""
    measured: dict[Stamp, int] = {}
    if outages:
        measured[Stamp.FAULT] = outages[0].start_ns
        if outages[0].start_ns + detect_ns <= now_ns:
            measured[Stamp.DETECTED] = outages[0].start_ns + detect_ns
        if not any(item.ongoing for item in outages):
            measured[Stamp.RESTORED] = outages[-1].end_ns
    found = {}
    for stamp in Stamp:
        given = [ticket.stamps[stamp] for ticket in tickets if stamp in ticket.stamps]
        if given:
            found[stamp] = min(given) if stamp in _EARLIEST else max(given)
        elif stamp in measured:
            found[stamp] = measured[stamp]
    return found


def entered(tickets: Sequence[Ticket]) -> Attribution | None:
    """The attribution that people entered: that of the ticket entered last; those of the others stand before it."""
    found: Attribution | None = None
    for ticket in tickets:
        mine = ticket.attribution
        if mine is not None:
            found = mine if found is None else behind(mine, found)
    return found


def behind(attribution: Attribution, older: Attribution) -> Attribution:
    """The attribution with `older` at the far end of what it replaced."""
    before = older if attribution.before is None else behind(attribution.before, older)
    return Attribution(attribution.party, attribution.by, attribution.reasons, attribution.disputed, before)
