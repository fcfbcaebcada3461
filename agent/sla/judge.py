"""Judge a circuit by its contract: samples in, verdicts out. Pure; the same columns give the same verdict anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent.sla.case import Moment, PacketReader, UnusableError
from agent.sla.docket import Docket, Reading, docket_at, extent_of, readings, wants_incidents
from agent.sla.downtime.timeline import WARM_UP_NS, interval_of, machine_of
from agent.sla.downtime.uptime import down_and_unknown
from agent.sla.exclusion.exclusions import rule
from agent.sla.faults.joining import EVIDENCE, incidents_of, known_at
from agent.sla.hearing import Hearing, Material
from agent.sla.responses import of_circuit
from agent.sla.samples.causes import BEFORE, NOTHING_KNOWN, Circumstances, Gap
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.shared_fate import blameless
from agent.sla.terms.contract import Contract, Metric, Objective
from agent.sla.terms.events import Event
from agent.sla.terms.excluded import Exclusion, ExclusionKind, Ruling
from agent.sla.terms.incidents import Incident, Responsible, Stamp, Ticket
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.hours import spans as open_hours
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.verdict import Verdict, VerdictState
from probes.core.model import Circuit

__all__ = ["NO_RECORD", "Judgement", "Reading", "Record", "Series", "columns_needed", "hear", "judge", "judge_by"]

Series = Mapping[str, SampleColumns]
"""Samples by probe name."""


@dataclass(frozen=True, slots=True)
class Record:
    """What people wrote down beside the measurement. attribute: gives incidents their party, by what stood around."""

    tickets: tuple[Ticket, ...] = ()
    events: tuple[Event, ...] = ()
    attribute: Callable[[tuple[Incident, ...]], tuple[Incident, ...]] | None = None


NO_RECORD = Record()
FOLLOWED_NS: Final = 24 * 3600 * 10**9
"""Outages are followed for so long beyond the windows: the time to repair of the last one belongs to its window."""


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """verdicts: in the order of the docket. incidents: that touch its extent, and earlier ones as far as was asked.
    down: certainly down in that time; counted: without what is excluded. ruling: over the docket's extent."""

    verdicts: tuple[Verdict, ...]
    incidents: tuple[Incident, ...]
    ruling: Ruling
    down: Spans = NOWHERE
    counted: Spans = NOWHERE
    unknown: Spans = NOWHERE
    series: Series = field(default_factory=dict)


def columns_needed(
    contract: Contract, circuit: Circuit, *, now_ns: int, window: WindowInstants | None = None
) -> tuple[Reading, ...]:
    """What to read before judging each objective in its window at now, or in the one that holds the end of another."""
    docket = docket_at(contract, now_ns, window)
    return readings(contract, circuit, docket, now_ns=now_ns, incidents=_extent(contract, docket, now_ns, None))


def judge(
    contract: Contract,
    circuit: Circuit,
    series: Series,
    *,
    now_ns: int,
    window: WindowInstants | None = None,
    measured_since_ns: int | None = None,
    known: Circumstances = NOTHING_KNOWN,
) -> tuple[Verdict, ...]:
    """One verdict for each objective, in the contract's order.

    series: by probe name, as columns_needed asks for. measured_since_ns: start of the circuit's first sample ever;
    None takes the first in the series. window: judge the windows that hold the end of this one instead of now.
    known: gaps this agent recorded, and when all its circuits failed at once. The time before measured_since_ns is
    on record too.
    """
    own = material(contract, circuit, series, now_ns=now_ns, measured_since_ns=measured_since_ns, known=known)
    return hear(contract, own, docket_at(contract, now_ns, window), now_ns=now_ns).verdicts


def material(
    contract: Contract,
    circuit: Circuit,
    series: Series,
    *,
    now_ns: int,
    measured_since_ns: int | None = None,
    known: Circumstances = NOTHING_KNOWN,
) -> Material:
    """The samples of a circuit, of which those of shared fate became missing data where the contract says so."""
    firsts = [int(columns.start_ns[0]) for columns in series.values() if len(columns)]
    since = measured_since_ns if measured_since_ns is not None else min(firsts, default=now_ns)
    if contract.shared_fate == "count":
        known = replace(known, shared=NOWHERE)
    if measured_since_ns is not None:
        known = replace(known, gaps=(*known.gaps, Gap(0, measured_since_ns, BEFORE)))
    seen = {probe: blameless(columns, known.shared) for probe, columns in series.items()}
    return Material(circuit, seen, since, known)


def judge_by(
    read: Callable[[Reading], SampleColumns],
    contract: Contract,
    circuit: Circuit,
    *,
    now_ns: int,
    window: WindowInstants | None = None,
    docket: Docket | None = None,
    measured_since_ns: int | None = None,
    gaps: Callable[[int, int], Sequence[Gap]] | None = None,
    shared: Callable[[Series], Spans] | None = None,
    others: Mapping[str, Circuit] | None = None,
    since: Callable[[str], int | None] | None = None,
    record: Record = NO_RECORD,
    packets: PacketReader | None = None,
    incidents_from_ns: int | None = None,
) -> Judgement:
    """Read what is needed through `read`, whatever is behind it, and judge.

    docket: what to judge, else each objective in its window. gaps: those this agent recorded that touch
    [start_ns, end_ns). shared: when all its circuits failed together with the one these series are of. others: circuits
    that an objective's scope may name; since: first sample of those. incidents_from_ns: find outages from there on,
    not only in the docket's extent.
    """
    docket = docket_at(contract, now_ns, window) if docket is None else docket

    def heard(extent: tuple[int, int] | None) -> tuple[Judgement, int]:
        wanted = readings(contract, circuit, docket, now_ns=now_ns, others=others, incidents=extent)
        read_of: dict[str, dict[str, SampleColumns]] = {circuit.id: {}}
        for reading in wanted:
            read_of.setdefault(reading.circuit, {})[reading.probe] = read(reading)
        known = NOTHING_KNOWN
        if wanted and gaps is not None:
            found = gaps(min(item.start_ns for item in wanted), max(item.end_ns for item in wanted))
            known = replace(known, gaps=tuple(found))
        materials = {}
        for identity, series in read_of.items():
            of = known
            if shared is not None and contract.shared_fate == "unknown":
                of = replace(of, shared=shared(series))
            subject = circuit if identity == circuit.id else (others or {})[identity]
            first = measured_since_ns if identity == circuit.id else (since(identity) if since else None)
            materials[identity] = material(contract, subject, series, now_ns=now_ns, measured_since_ns=first, known=of)
        own = materials.pop(circuit.id)
        judged = hear(
            contract, own, docket, now_ns=now_ns, others=materials, record=record, packets=packets, extent=extent
        )  # fmt: skip
        return judged, own.since_ns

    extent = _extent(contract, docket, now_ns, incidents_from_ns)
    judged, since_ns = heard(extent)
    back_to_ns = now_ns if incidents_from_ns is None else since_ns  # where an outage began long ago matters to reports
    while (extent := _wider(judged, extent, back_to_ns, now_ns)) is not None:
        judged, _ = heard(extent)
    return judged


def _wider(found: Judgement, extent: tuple[int, int] | None, back_to_ns: int, now_ns: int) -> tuple[int, int] | None:
    """A longer time to look for outages in, where one reaches beyond what was read; None where none does."""
    if extent is None or not len(found.down):
        return None
    begin, end = extent
    length = 2 * (end - begin + FOLLOWED_NS)
    cut = any(item.end_ns is None and len(item.down) for item in found.incidents) and end < now_ns
    first_ns = begin - WARM_UP_NS
    early = back_to_ns < first_ns and int(found.down.start_ns[0]) <= first_ns
    if not cut and not early:
        return None
    return (max(back_to_ns, begin - length) if early else begin, min(now_ns, end + length) if cut else end)


def _extent(contract: Contract, docket: Docket, now_ns: int, from_ns: int | None) -> tuple[int, int] | None:
    """Where to look for outages; None where nobody asks for them. Without a promise on availability tickets tell."""
    if not docket or (from_ns is None and not wants_incidents(contract)):
        return None
    start, end = extent_of(docket, now_ns)
    return (start if from_ns is None else min(start, from_ns)), min(now_ns, end + FOLLOWED_NS)


def hear(
    contract: Contract,
    own: Material,
    docket: Docket,
    *,
    now_ns: int,
    others: Mapping[str, Material] | None = None,
    record: Record = NO_RECORD,
    packets: PacketReader | None = None,
    extent: tuple[int, int] | None = None,
) -> Judgement:
    """Everything of the docket, with the incidents it rests on. extent: [start, end) to find outages in.

    The clock of a repair runs on after the window: what does not count is looked up as far as it may reach.
    """
    extent = _extent(contract, docket, now_ns, None) if extent is None else extent
    plain = Moment(
        now_ns, own.since_ns, contract=contract, events=_events(contract, record, own), packets=packets, known=own.known
    )
    down, unknown = _down(contract, own, plain, extent)
    dt_ns, n = _machine(contract, own)
    written = tuple(
        replace(known_at(item, now_ns), priority=contract.service.priority(item.priority))
        for item in record.tickets
        if item.entered_ns <= now_ns
    )
    contract = _with_tickets(contract, own.circuit, written)
    over = extent if extent is not None else (extent_of(docket, now_ns) if docket else (now_ns, now_ns))
    over = (over[0] - WARM_UP_NS, over[1])  # an outage that began before has its excluded part there
    mine = tuple(item for item in written if own.circuit.id in item.circuits)
    fault = _fault(mine, now_ns)
    whole = rule(contract, own.circuit.id, start_ns=over[0], end_ns=over[1], now_ns=now_ns, fault=fault)
    counted = down - whole.time - whole.up
    incidents: tuple[Incident, ...] = ()
    if extent is not None:
        incidents = incidents_of(
            own.circuit.id, down, unknown, counted, mine, contract.clock,
            dt_ns=dt_ns, n=n, now_ns=now_ns, until_ns=extent[1],
        )  # fmt: skip
    if record.attribute is not None and incidents:
        incidents = record.attribute(incidents)
    verdicts = []
    for sitting in docket:
        objective, window = sitting.objective, sitting.window
        ruling = rule(
            contract, own.circuit.id, start_ns=window.start_ns, end_ns=window.end_ns, now_ns=now_ns,
            objective=objective, fault=fault,
        )  # fmt: skip
        reach, wide = window, ruling
        if objective.metric is Metric.OUTAGE or objective.statistic.clock == "contract":
            reach = replace(window, start_ns=min(over[0], window.start_ns), end_ns=max(window.end_ns, now_ns))
            wide = rule(
                contract, own.circuit.id, start_ns=reach.start_ns, end_ns=reach.end_ns, now_ns=now_ns,
                objective=objective, fault=fault,
            )  # fmt: skip
        when = replace(
            plain,
            contract=contract,
            excluded=wide.time | _closed_hours(contract, objective, reach, now_ns),
            credited=wide.up,
            incidents=incidents,
            unknown=unknown,
            grain_ns=dt_ns * n,
        )
        verdict = Hearing(contract, objective, window, own, when, ruling, others or {}).verdict()
        verdicts.append(_remarked(verdict, incidents))
    return Judgement(tuple(verdicts), incidents, whole, down, counted, unknown, own.series)


def _events(contract: Contract, record: Record, own: Material) -> tuple[Event, ...]:
    """Of the circuit, with their priorities as the contract calls them."""
    found = of_circuit(record.events, own.circuit.id)
    if not contract.service.priorities:
        return tuple(found)
    return tuple(replace(item, priority=contract.service.priority(item.priority)) for item in found)


def _down(
    contract: Contract, own: Material, moment: Moment, extent: tuple[int, int] | None
) -> tuple[Spans, Spans]:  # fmt: skip
    available = contract.availability()
    if extent is None or available is None:
        return NOWHERE, NOWHERE
    try:
        feed = own.feed(available)
        when = replace(moment, known=own.known.of(feed.columns.probe))
        return down_and_unknown(contract, feed, extent[0] - WARM_UP_NS, extent[1], when)
    except UnusableError:
        return NOWHERE, Spans.of([extent])


def _machine(contract: Contract, own: Material) -> tuple[int, int]:
    """Length of an interval and how many in a row change the state; 0 and 1 where nothing is measured."""
    available = contract.availability()
    if available is not None:
        with contextlib.suppress(UnusableError):
            return interval_of(available, own.feed(available)), machine_of(available.statistic)[0]
    return 0, 1


def _fault(tickets: Sequence[Ticket], now_ns: int) -> Spans:
    """When the provider was at fault by an undisputed entry."""
    found = []
    for ticket in tickets:
        attribution, stamps = ticket.attribution, sorted(ticket.stamps.values())
        if attribution is None or attribution.disputed or attribution.party is not Responsible.PROVIDER or not stamps:
            continue
        ended = [ticket.stamps[stamp] for stamp in _ENDS if stamp in ticket.stamps]
        found.append((stamps[0], min(ended, default=now_ns)))
    return Spans.of(found)


_ENDS = (Stamp.RESTORED, Stamp.CONFIRMED, Stamp.CLOSED)


def _closed_hours(contract: Contract, objective: Objective, window: WindowInstants, now_ns: int) -> Spans:
    """Time outside the service hours; of events the clock itself knows their hours."""
    hours = objective.hours or contract.hours
    if hours is None or objective.events is not None:
        return NOWHERE
    whole = Spans.of([(window.start_ns, max(window.start_ns, min(window.end_ns, now_ns)))])
    return whole - open_hours(hours, window.start_ns, window.end_ns)


_TAKEN_BY = {
    Responsible.CUSTOMER: ExclusionKind.CUSTOMER,
    Responsible.THIRD_PARTY: ExclusionKind.THIRD_PARTY,
}


def _with_tickets(contract: Contract, circuit: Circuit, tickets: Sequence[Ticket]) -> Contract:
    """Outages that an undisputed entry lays at the door of the customer or of a third party are exclusions of that
    kind: confirmed by whoever made the entry, and as subject to the contract's terms as any other. They end when the
    fault did: what is closed days later was not down for days. Entries that are for other circuits alone are left out:
    a site may have thousands."""
    found = []
    for ticket in tickets:
        attribution = ticket.attribution
        if circuit.id not in ticket.circuits or attribution is None or attribution.disputed:
            continue
        kind = _TAKEN_BY.get(attribution.party)
        reach = _fault_of(ticket)
        if kind is None or attribution.by == EVIDENCE or reach is None:
            continue
        found.append(
            Exclusion(
                id=ticket.id,
                start_ns=reach[0],
                end_ns=reach[1],
                reason=f"fault of the {attribution.party.value.replace('_', ' ')}",
                entered_ns=ticket.entered_ns,
                confirmed_by=attribution.by,
                circuits=(circuit.id,),
                kind=kind,
                evidence="; ".join(attribution.reasons),
                source="ticket",
            )
        )
    mine = tuple(item for item in contract.exclusions if not item.circuits or circuit.id in item.circuits)
    if not found and len(mine) == len(contract.exclusions):
        return contract
    return replace(contract, exclusions=(*mine, *found))


def _fault_of(ticket: Ticket) -> tuple[int, int] | None:
    """From the first stamp to the end of the fault, or to the last stamp of one that has no end; None for no time."""
    stamps = sorted(ticket.stamps.values())
    if not stamps:
        return None
    ended = [ticket.stamps[stamp] for stamp in _ENDS if stamp in ticket.stamps]
    end = min(ended, default=stamps[-1])
    return (stamps[0], end) if end > stamps[0] else None


def _remarked(verdict: Verdict, incidents: Sequence[Incident]) -> Verdict:
    """disputed: an incident in the window is. excused: a breach of a promise on outages, all of which entries lay at
    the door of the customer or of the measuring site. Of a third party the contract's terms for exclusions decide."""
    begin, until = verdict.window.start_ns, verdict.window.end_ns
    inside = [item for item in incidents if item.start_ns < until and (item.end_ns is None or item.end_ns > begin)]
    if any(item.attribution.disputed for item in inside):
        return replace(verdict, remark="disputed")
    objective = verdict.objective
    about_outages = objective.metric in (Metric.AVAILABILITY, Metric.OUTAGE) and objective.scope is None
    if verdict.state is not VerdictState.BREACHED or not about_outages:
        return verdict
    others = [item for item in inside if item.counted.within(begin, until).length_ns]
    if others and all(_excusing(item) for item in others):
        return replace(verdict, remark="excused")
    return verdict


def _excusing(incident: Incident) -> bool:
    """Whether entries, none against another, lay it at the door of the customer or of the measuring site."""
    entered = [ticket.attribution for ticket in incident.tickets if ticket.attribution is not None]
    parties = {item.party for item in (*entered, incident.attribution)}
    return incident.attribution.by != EVIDENCE and parties <= {Responsible.CUSTOMER, Responsible.AGENT}
