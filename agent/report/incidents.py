"""Incidents and tickets as JSON values and as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.report.samples import utc
from agent.sla.terms.incidents import Attribution, Incident, Stamp, Ticket
from agent.sla.words.wording import moment, plural, spoken

Document = dict[str, Any]


def _time(ns: int | None) -> str | None:
    return None if ns is None else utc(ns)


def ticket_document(ticket: Ticket) -> Document:
    return {
        "id": ticket.id,
        "circuits": list(ticket.circuits),
        "stamps": _stamps(ticket.stamps),
        "entered": _time(ticket.entered_ns),
        "pauses": [
            {
                "start": _time(item.start_ns),
                "end": _time(item.end_ns),
                "reason": item.reason,
                "evidence": item.evidence or None,
            }
            for item in ticket.pauses
        ],
        "priority": ticket.priority or None,
        "cause": ticket.cause or None,
        "references": list(ticket.references),
        "attribution": None if ticket.attribution is None else attribution_document(ticket.attribution),
        "note": ticket.note or None,
    }


def _stamps(stamps: Mapping[Stamp, int]) -> Document:
    return {stamp.value: _time(stamps[stamp]) for stamp in Stamp if stamp in stamps}


def attribution_document(item: Attribution) -> Document:
    return {
        "party": item.party.value,
        "by": item.by,
        "reasons": list(item.reasons),
        "disputed": item.disputed or None,
        "before": None if item.before is None else attribution_document(item.before),
    }


def incident_document(incident: Incident) -> Document:
    """Times in UTC; durations in ns."""
    repair = incident.repair
    return {
        "id": incident.id,
        "circuit": incident.circuit,
        "basis": incident.basis,
        "start": _time(incident.start_ns),
        "end": _time(incident.end_ns),
        "ongoing": incident.end_ns is None,
        "down_ns": incident.down_ns,
        "counted_ns": incident.counted_ns,
        "outages": [{"start": _time(start), "end": _time(end)} for start, end in incident.down],
        "stamps": _stamps(incident.stamps),
        "contract_clock": {
            "start": _time(repair.start_ns),
            "stop": _time(repair.stop_ns),
            "paused_ns": repair.paused_ns,
            "ns": repair.contract_ns,
        },
        "measured_clock_ns": repair.measured_ns,
        "difference_ns": repair.difference_ns,
        "attribution": attribution_document(incident.attribution),
        "tickets": [ticket_document(ticket) for ticket in incident.tickets],
    }


def ticket_lines(ticket: Ticket) -> Iterator[str]:
    priority = f" {ticket.priority}" if ticket.priority else ""
    yield f"{ticket.id}{priority} [{', '.join(ticket.circuits)}] entered {moment(ticket.entered_ns)}"
    for stamp in Stamp:
        if stamp in ticket.stamps:
            yield f"  {stamp.value:<10} {moment(ticket.stamps[stamp])}"
    for pause in ticket.pauses:
        end = "still" if pause.end_ns is None else f"to {moment(pause.end_ns)}"
        evidence = f" ({pause.evidence})" if pause.evidence else ""
        yield f"  paused     {moment(pause.start_ns)} {end}: {pause.reason}{evidence}"
    for name, text in (
        ("cause", ticket.cause), ("reference", ", ".join(ticket.references)), ("note", ticket.note),
    ):  # fmt: skip
        if text:
            yield f"  {name:<10} {text}"


def incident_lines(incident: Incident) -> Iterator[str]:
    """The incident, its clocks, who answers for it and why."""
    end = "still going on" if incident.end_ns is None else f"to {moment(incident.end_ns)}"
    yield f"{incident.id}  {incident.circuit}  from {moment(incident.start_ns)} {end}"
    yield f"  record     {_basis(incident)}"
    if incident.down_ns:
        counted = "" if incident.counted_ns == incident.down_ns else f", {spoken(incident.counted_ns)} of it count"
        yield f"  down       {spoken(incident.down_ns)} measured in {plural(len(incident.down), 'outage')}{counted}"
    yield f"  clocks     {clocks(incident)}"
    yield from attribution_lines(incident.attribution)


def _basis(incident: Incident) -> str:
    names = ", ".join(ticket.id for ticket in incident.tickets)
    return {
        "measured": "measured, no ticket",
        "ticket": f"ticket {names}, no outage measured",
        "both": f"measured, ticket {names}",
    }[incident.basis]


def clocks(incident: Incident) -> str:
    """`contract 3 h 10 min (50 min paused), measured 4 h 2 min, difference -52 min`."""
    repair = incident.repair
    if repair.contract_ns is not None:
        paused = f" ({spoken(repair.paused_ns)} paused)" if repair.paused_ns else ""
        contract = f"contract {spoken(repair.contract_ns)}{paused}"
    elif repair.start_ns is not None:
        contract = f"contract since {moment(repair.start_ns)}, not stopped"
    else:
        contract = "contract not started"
    measured = "nothing measured" if repair.measured_ns is None else f"measured {spoken(repair.measured_ns)}"
    if incident.end_ns is None and repair.measured_ns is not None:
        measured += " so far"
    difference = repair.difference_ns
    if difference is None:
        return f"{contract}, {measured}"
    sign = "-" if difference < 0 else "+" if difference else ""
    return f"{contract}, {measured}, difference {sign}{spoken(abs(difference))}"


def attribution_lines(item: Attribution) -> Iterator[str]:
    party = item.party.value.replace("_", " ")
    yield f"  answers    {party}, by {item.by if item.by != 'evidence' else 'the evidence'}"
    for reason in item.reasons:
        yield f"             - {reason}"
    if item.disputed:
        yield f"  disputed   {item.disputed}"
    if item.before is not None:
        yield "  before that"
        yield from attribution_lines(item.before)


def table(incidents: Sequence[Incident]) -> list[str]:
    """One line each."""
    return [
        f"{item.id:<32} {moment(item.start_ns)}  {item.basis:<8} {clocks(item)}; "
        f"{item.attribution.party.value.replace('_', ' ')}{' (disputed)' if item.attribution.disputed else ''}"
        for item in incidents
    ]
