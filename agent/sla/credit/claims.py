"""Claims for credits: until when, in what state, and what stands in the way. Deadlines are local dates. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from agent.sla.credit.credit_values import span
from agent.sla.credit.prices import month_of
from agent.sla.terms.contract import Contract
from agent.sla.terms.incidents import Incident, Stamp
from agent.sla.terms.money import Money
from agent.sla.terms.remedies import ClaimTerms, CreditTerms, Deadline
from agent.sla.terms.settlement import Claim
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.hours import business_day_deadline
from agent.sla.time.wall_clock import local_date
from agent.sla.words.wording import moment

FilingState = Literal["filed", "accepted", "rejected"]


@dataclass(frozen=True, slots=True)
class Filing:
    """What became of a claim. filed: local date on which it was made; reference: its number at the provider; amount:
    what was granted."""

    state: FilingState
    filed: date
    reference: str = ""
    note: str = ""
    amount: Money | None = None


def key(circuit: str, terms: str, period: str, subject: str = "") -> str:
    """Name of a claim: `c1/availability-credit/2026-10`, or with the outage it is for at its end."""
    return "/".join(part for part in (circuit, terms, period, subject) if part)


def filing(filed: Mapping[str, Filing], circuit: str, terms: str, period: str, subject: str) -> Filing | None:
    """That of this line, else that of all lines of the terms in the period."""
    return filed.get(key(circuit, terms, period, subject)) or filed.get(key(circuit, terms, period))


def deadline_of(
    contract: Contract, deadline: Deadline, window: WindowInstants, incidents: Sequence[Incident], as_of_ns: int
) -> date | None:
    """Last local date; None while what it runs from has not happened. Of several outages the first one's counts."""
    begin = _runs_from(contract, deadline, window, incidents, as_of_ns)
    if begin is None:
        return None
    zone = contract.time_zone
    day = local_date(begin, zone)
    return business_day_deadline(None, zone, day, deadline.days, deadline.business, contract.holidays)


def claim(
    contract: Contract,
    terms: CreditTerms,
    window: WindowInstants,
    incidents: Sequence[Incident],
    *,
    as_of_ns: int,
    filed: Filing | None = None,
) -> Claim:
    """State of the claim for one line at an instant. incidents: those the line is about."""
    if terms.automatic:
        return Claim("automatic")
    rules = contract.claims
    deadline = deadline_of(contract, rules.deadline, window, incidents, as_of_ns) if rules else None
    obstacle = _obstacle(rules, incidents, as_of_ns) if rules else ""
    if filed is not None:
        if deadline is not None and filed.filed > deadline:
            obstacle = f"made on {filed.filed}, after the last day {deadline}"
        return Claim(filed.state, deadline, obstacle, filed.filed, filed.reference, filed.amount)
    if not _due(contract, window, incidents, as_of_ns):
        return Claim("not_due", deadline, obstacle)
    if deadline is not None and local_date(as_of_ns, contract.time_zone) > deadline:
        return Claim("lapsed", deadline, obstacle)
    return Claim("open", deadline, obstacle)


def _runs_from(
    contract: Contract, deadline: Deadline, window: WindowInstants, incidents: Sequence[Incident], as_of_ns: int
) -> int | None:
    """An instant on the date that the days are counted from."""
    if deadline.after == "month_end":
        return month_of(contract, window.end_ns - 1).end_ns - 1
    if deadline.after == "window_end" or not incidents:
        return window.end_ns - 1
    if deadline.after == "incident_start":
        return min(item.start_ns for item in incidents)
    if deadline.after == "incident_end":
        ends = [item.end_ns for item in incidents if item.end_ns is not None and item.end_ns <= as_of_ns]
        return min(ends, default=None)
    closed = [
        item.stamps[Stamp.CLOSED] for item in incidents if item.stamps.get(Stamp.CLOSED, as_of_ns + 1) <= as_of_ns
    ]
    return min(closed, default=None)


def _due(contract: Contract, window: WindowInstants, incidents: Sequence[Incident], as_of_ns: int) -> bool:
    """Whether it can be claimed yet."""
    deadline = contract.claims.deadline if contract.claims is not None else None
    if deadline is None or deadline.after in ("window_end", "month_end") or not incidents:
        return window.closed(as_of_ns)
    return _runs_from(contract, deadline, window, incidents, as_of_ns) is not None


def _obstacle(rules: ClaimTerms, incidents: Sequence[Incident], as_of_ns: int) -> str:
    """Outages without a ticket in time."""
    reasons = (_lack(rules, incident, _ticket_ns(incident, as_of_ns), as_of_ns) for incident in incidents)
    return "; ".join(reason for reason in reasons if reason)


def _lack(rules: ClaimTerms, incident: Incident, opened_ns: int | None, as_of_ns: int) -> str:
    if rules.ticket_within_ns is None:
        runs_from_close = rules.deadline.after == "ticket_close"
        return f"{incident.id}: no ticket, from whose close the days run" if runs_from_close and not opened_ns else ""
    latest = incident.start_ns + rules.ticket_within_ns
    within = span(rules.ticket_within_ns)
    if opened_ns is None and as_of_ns <= latest:
        return f"{incident.id}: a ticket must be opened by {moment(latest)}"
    if opened_ns is None:
        return f"{incident.id}: no ticket was opened within {within} of its start"
    if opened_ns > latest:
        return (
            f"{incident.id}: its ticket was opened {span(opened_ns - incident.start_ns)} after its start, not {within}"
        )
    return ""


def _ticket_ns(incident: Incident, as_of_ns: int) -> int | None:
    """When the first ticket about it was opened."""
    stamps = [incident.stamps.get(Stamp.TICKET), *(ticket.stamps.get(Stamp.TICKET) for ticket in incident.tickets)]
    return min((stamp for stamp in stamps if stamp is not None and stamp <= as_of_ns), default=None)
