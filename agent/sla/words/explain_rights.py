"""How credits are claimed, until when, and what repeated failure allows, in plain language. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from agent.sla.terms.contract import Contract
from agent.sla.terms.remedies import ChronicRule, ClaimTerms, Deadline
from agent.sla.time.hours import business_day_deadline
from agent.sla.time.wall_clock import local_date
from agent.sla.words.clauses import Clause, day, length, listed, noun_of, number, sentence
from agent.sla.words.explain_price import example, price_text
from probes.core.model import Circuit

_AFTER: Final = {
    "incident_start": "the start of the outage",
    "incident_end": "the end of the outage",
    "ticket_close": "the closing of the ticket",
    "window_end": "the end of the period",
    "month_end": "the end of the month",
}


def deadline_text(deadline: Deadline) -> str:
    """`30 days after the end of the outage`."""
    kind = "business day" if deadline.business else "day"
    return f"{deadline.days} {kind}{'' if deadline.days == 1 else 's'} after {_AFTER[deadline.after]}"


def claims(contract: Contract, circuit: Circuit | None) -> Iterator[Clause]:
    """How to ask for a credit."""
    if not contract.credits:
        return
    if contract.claims is None:
        if not all(terms.automatic for terms in contract.credits):
            yield Clause("Claims", ("A credit that must be claimed can be claimed at any time: there is no deadline.",))
        return
    last = local_date(example(contract, circuit).month.end_ns - 1, contract.time_zone)
    yield Clause("Claims", tuple(_claim(contract.claims)), examples=(_dated(contract.claims.deadline, contract, last),))


def _claim(terms: ClaimTerms) -> Iterator[str]:
    yield f"A credit must be claimed within {deadline_text(terms.deadline)}, until the end of that day."
    if terms.deadline.business:
        yield "Weekends and the holidays of this contract are not business days."
    if terms.ticket_within_ns is not None:
        yield f"A ticket must have been opened within {length(terms.ticket_within_ns)} of the start of the outage."
    if terms.channel:
        yield sentence(f"The claim goes to: {terms.channel}")


def _dated(deadline: Deadline, contract: Contract, last: date) -> str:
    """The deadline of a period that ends on `last`, or of an outage in the middle of it."""
    day_of, what = last, "a period that ends on"
    if deadline.after == "month_end":
        what = "a month that ends on"
    elif deadline.after != "window_end":
        day_of = last - timedelta(days=14)
        what = {
            "incident_start": "an outage that starts on",
            "incident_end": "an outage that ends on",
            "ticket_close": "a ticket that is closed on",
        }[deadline.after]
    until = business_day_deadline(None, contract.time_zone, day_of, deadline.days, deadline.business, contract.holidays)
    return f"For {what} {day(day_of)}, the last day is {day(until)}."


def chronic(contract: Contract) -> Iterator[Clause]:
    """Each rule with the right it gives."""
    for rule in contract.chronic:
        yield Clause(rule.id, tuple(_chronic(rule, contract)), rule.text)
    if any(rule.count is not None or rule.aggregate_ns is not None for rule in contract.chronic):
        yield Clause(
            "Outages that count",
            (
                "Time that is excluded does not count, nor does an outage that somebody entered as the customer's or "
                "the measuring site's own.",
            ),
        )


def _chronic(rule: ChronicRule, contract: Contract) -> Iterator[str]:
    right = {
        "terminate": "the customer may terminate the contract for this circuit",
        "reroute": "the customer may demand another route",
        "escalate": "the matter is escalated",
        "extra_credit": f"the customer gets {price_text(rule.extra)} more" if rule.extra else "the customer gets more",
    }[rule.right]
    yield sentence(f"{_condition(rule, contract)}, {right}")
    if rule.exercise is not None:
        yield f"This must be declared within {deadline_text(rule.exercise)}."


def _condition(rule: ChronicRule, contract: Contract) -> str:
    where = "at any time"
    if rule.rolling_ns is not None:
        where = f"in any {length(rule.rolling_ns)}"
    elif rule.calendar is not None:
        where = f"in one {rule.calendar.replace('_', ' ')}"
    found = []
    if rule.count is not None:
        least = f" of {length(rule.minimum_ns)} or longer" if rule.minimum_ns else ""
        found.append(f"there are {number(rule.count)} or more outages{least} {where}")
    if rule.aggregate_ns is not None:
        found.append(f"all outages {where} together last {length(rule.aggregate_ns)} or longer")
    if rule.objective is not None and rule.missed_windows is not None:
        objective = contract.objective(rule.objective)
        noun = noun_of(objective.window) if objective is not None else "window"
        if rule.missed_of is None:
            found.append(f"“{rule.objective}” is missed in {number(rule.missed_windows)} {noun}s in a row")
        else:
            found.append(
                f"“{rule.objective}” is missed in {number(rule.missed_windows)} of {number(rule.missed_of)} {noun}s"
            )
    return f"When {listed(found, 'or')}" if found else "When it is met"
