"""Faults and excluded time of a statement: both clocks, who answers for it, what was accepted and refused. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agent.report.statement import figures
from agent.report.statement.figures import clean
from agent.report.statement.rows import (
    AttributionRow,
    DisputeRow,
    ExclusionRow,
    IncidentRow,
    PauseRow,
    RepairRow,
    StampRow,
    TicketRow,
)
from agent.report.statement.views import joined
from agent.sla.assessment import Assessment, RepairFigures
from agent.sla.exclusion.exclusions import Entry, Standing
from agent.sla.terms.incidents import Attribution, Incident, Responsible, Stamp
from agent.sla.verdict import Verdict

PARTIES: Final = {
    Responsible.PROVIDER: "provider",
    Responsible.CUSTOMER: "customer",
    Responsible.THIRD_PARTY: "third party",
    Responsible.AGENT: "measuring host",
    Responsible.UNKNOWN: "not known",
}
_BASES: Final = {"measured": "measured, no ticket", "ticket": "ticket, not measured", "both": "measured and ticket"}
_BY_EVIDENCE: Final = "evidence"


def incident(found: Incident, number: int, zone: str) -> IncidentRow:
    """One fault as a row."""
    repair = found.repair
    return IncidentRow(
        number=number,
        id=clean(found.id),
        basis=_BASES[found.basis],
        priority=clean(found.priority),
        start=figures.instant(found.start_ns, zone),
        end=figures.perhaps(found.end_ns, zone),
        down=figures.duration(found.down_ns),
        counted=figures.duration(found.counted_ns),
        contract_clock=figures.duration(repair.contract_ns),
        measured_clock=figures.duration(repair.measured_ns),
        paused=figures.duration(repair.paused_ns),
        difference=figures.signed(repair.difference_ns),
        attribution=attribution(found.attribution),
        stamps=tuple(
            StampRow(stamp.value, figures.instant(found.stamps[stamp], zone))
            for stamp in Stamp
            if stamp in found.stamps
        ),
        pauses=tuple(
            PauseRow(
                figures.instant(pause.start_ns, zone), figures.perhaps(pause.end_ns, zone), clean(pause.reason),
                clean(pause.evidence),
            )
            for ticket in found.tickets
            for pause in ticket.pauses
        ),
        tickets=tuple(
            TicketRow(
                clean(ticket.id), tuple(clean(item) for item in ticket.references), clean(ticket.cause),
                clean(ticket.note),
            )
            for ticket in found.tickets
        ),
    )  # fmt: skip


def attribution(found: Attribution) -> AttributionRow:
    return AttributionRow(
        party=PARTIES[found.party],
        by=clean(found.by),
        reasons=tuple(clean(reason) for reason in found.reasons),
        disputed=clean(found.disputed),
        before=tuple(_replaced(found.before)),
    )


def _replaced(found: Attribution | None) -> Iterable[str]:
    while found is not None:
        why = f": {joined([clean(reason) for reason in found.reasons])}" if found.reasons else ""
        yield f"{PARTIES[found.party]}, by {clean(found.by)}{why}"
        found = found.before


def exclusion(entry: Entry, zone: str) -> ExclusionRow:
    """One entry as a row."""
    item = entry.exclusion
    return ExclusionRow(
        id=clean(item.id),
        kind=item.kind.value.replace("_", " "),
        reason=clean(item.reason),
        start=figures.instant(item.start_ns, zone),
        end=figures.instant(item.end_ns, zone),
        duration=figures.duration(item.end_ns - item.start_ns),
        taken=figures.duration(entry.applied_ns),
        applied=entry.standing is Standing.APPLIED,
        standing=entry.standing.value,
        sentence=clean(entry.sentence),
        source=item.source,
        entered=figures.instant(item.entered_ns, zone, whole=True),
        retroactive=item.retroactive,
        notified=None if item.notified_ns is None else figures.instant(item.notified_ns, zone, whole=True),
        confirmed_by=clean(item.confirmed_by),
        evidence=clean(item.evidence),
    )


def repair(found: RepairFigures) -> RepairRow:
    return RepairRow(
        found.count,
        figures.average(found.mttr_ns),
        figures.average(found.mttr_measured_ns),
        figures.average(found.mttf_ns),
        figures.average(found.mtbf_ns),
    )


def disputes(assessment: Assessment, exclusions: Iterable[ExclusionRow]) -> tuple[DisputeRow, ...]:
    """What is not agreed: disputed faults and verdicts, faults nobody answers for, entries that wait for a yes."""
    found = [
        DisputeRow(f"fault {clean(item.id)}", clean(item.attribution.disputed))
        for item in assessment.incidents
        if item.attribution.disputed
    ]
    found += [DisputeRow(f"result {clean(item.objective.id)}, {clean(item.window.label)}", "disputed")
              for item in assessment.verdicts if _disputed(item)]  # fmt: skip
    found += [
        DisputeRow(f"fault {clean(item.id)}", "it is not known who answers for it")
        for item in assessment.incidents
        if item.attribution.party is Responsible.UNKNOWN and item.counted_ns and not item.attribution.disputed
    ]
    found += [DisputeRow(f"exclusion {row.id}", row.sentence or row.standing) for row in exclusions if not row.applied]
    return tuple(found)


def _disputed(verdict: Verdict) -> bool:
    return verdict.remark == "disputed"
