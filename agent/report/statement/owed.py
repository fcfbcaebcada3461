"""What is owed in a statement: credit lines with their arithmetic, claims with their dates, chronic findings. Pure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from agent.report.statement import figures
from agent.report.statement.figures import clean
from agent.report.statement.rows import ChronicRow, ClaimRow, CreditNote, CreditRow, Figure
from agent.sla.terms.money import Money
from agent.sla.terms.remedies import CreditBasis
from agent.sla.terms.settlement import ChronicFinding, Claim, CreditLine, Settlement

BASES: Final = {
    CreditBasis.BAND: "by the band of the value",
    CreditBasis.PER_UNIT: "for each unit of time",
    CreditBasis.PER_EVENT: "for each fault",
    CreditBasis.EXCESS_ABSOLUTE: "by the distance from the target",
    CreditBasis.EXCESS_RELATIVE: "by the distance from the target in per cent",
    CreditBasis.PROPORTIONAL: "in proportion to the time down",
}
RIGHTS: Final = {
    "terminate": "end the contract",
    "reroute": "have the circuit rerouted",
    "extra_credit": "an extra credit",
    "escalate": "escalate",
}
_WAITING: Final = frozenset({"not_due", "open"})


def note(settlement: Settlement, as_of_ns: int) -> CreditNote:
    """The credit note of the period."""
    total, charge = settlement.total, settlement.charge
    share = Fraction(total.exact, charge.exact) if total and charge and charge.amount else None
    deadlines = [
        line.claim.deadline
        for line in settlement.lines
        if line.claim is not None and line.claim.deadline is not None and line.claim.state in _WAITING
    ]
    return CreditNote(
        lines=tuple(_line(line, as_of_ns) for line in settlement.lines),
        total=figures.money(total),
        charge=figures.money(charge),
        share=figures.ratio(share),
        obstacle=clean(settlement.obstacle),
        notes=tuple(clean(text) for text in settlement.notes),
        claim_by=min(deadlines).isoformat() if deadlines else None,
        lapsed=figures.money(_sum(settlement, lambda claim: claim.state == "lapsed")),
        hindered=figures.money(_sum(settlement, lambda claim: claim.state in _WAITING and bool(claim.obstacle))),
    )


def _sum(settlement: Settlement, wanted: Callable[[Claim], bool]) -> Money | None:
    """Of the lines whose claim stands so; None where nothing is in total."""
    if settlement.total is None:
        return None
    found = [line.amount.amount for line in settlement.lines if line.claim is not None and wanted(line.claim)]
    return Money(sum(found, Decimal(0)), settlement.total.currency)


def _line(line: CreditLine, as_of_ns: int) -> CreditRow:
    terms, currency = line.terms, line.amount.currency
    return CreditRow(
        terms=clean(terms.id),
        clause=clean(terms.text),
        basis=BASES[terms.basis],
        subject=clean(line.subject),
        window=figures.window(line.window, as_of_ns),
        steps=tuple(clean(step) for step in line.steps),
        exact=Figure(line.exact, currency, f"{decimal(line.exact)} {currency}"),
        amount=figures.money(line.amount),
        limited_by=clean(line.limited_by),
        provisional=line.provisional,
        claim=None if line.claim is None else _claim(line.claim),
    )


def decimal(value: Fraction) -> str:
    """All digits where there are at most six after the point, else six and an ellipsis."""
    places = next((n for n in range(7) if 10**n % value.denominator == 0), None)
    digits = 6 if places is None else max(places, 2)
    scaled = abs(value.numerator) * 10**digits // value.denominator
    sign = "−" if value < 0 else ""
    return f"{sign}{scaled // 10**digits}.{scaled % 10**digits:0{digits}}" + ("…" if places is None else "")


def _claim(claim: Claim) -> ClaimRow:
    return ClaimRow(
        claim.state,
        _claim_text(claim),
        claim.deadline.isoformat() if claim.deadline else None,
        clean(claim.obstacle),
        claim.filed.isoformat() if claim.filed else None,
        clean(claim.reference),
        figures.money(claim.granted),
    )


def _claim_text(claim: Claim) -> str:
    until = f" until {claim.deadline.isoformat()}" if claim.deadline else ""
    claimed = f"claimed on {claim.filed.isoformat()}" if claim.filed else "claimed"
    claimed += f" ({clean(claim.reference)})" if claim.reference else ""
    granted = f": {claim.granted}" if claim.granted else ""
    return {
        "not_due": f"can be claimed when the window is over{until and ',' + until}",
        "automatic": "owed without a claim",
        "open": f"can be claimed{until}",
        "filed": f"{claimed}, not answered yet",
        "accepted": f"{claimed} and accepted{granted}",
        "rejected": f"{claimed} and rejected",
        "lapsed": f"not claimed{until}: lapsed",
    }[claim.state]


def chronic(finding: ChronicFinding) -> ChronicRow:
    rule = finding.rule
    return ChronicRow(
        clean(rule.id),
        RIGHTS[rule.right],
        finding.met,
        clean(finding.sentence),
        clean(rule.text),
        tuple(clean(item) for item in finding.incidents),
        finding.exercise_by.isoformat() if finding.exercise_by else None,
    )
