"""Lines of a credit note before caps and stacking: what each verdict and each outage earns by each term. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from agent.sla.credit.credit_values import (
    TIME,
    Earned,
    by_band,
    by_proportion,
    by_units,
    by_value,
    counts_downtime,
    shown,
    span,
)
from agent.sla.credit.prices import Tariff, in_service, month_of, tariff
from agent.sla.terms.contract import Contract, Metric, Objective, Unit
from agent.sla.terms.incidents import Incident, Responsible
from agent.sla.terms.money import Money
from agent.sla.terms.remedies import CreditBasis, CreditTerms
from agent.sla.time.calendar import WindowInstants, month_unit, windows_within
from agent.sla.verdict import DOWNTIME, Verdict, VerdictState
from agent.sla.words.definitions import name
from agent.sla.words.wording import moment, plural

OUTAGES: Final = "outages"
"""Subject of a line about all outages of a window together."""
_EXCUSING: Final = (Responsible.CUSTOMER, Responsible.AGENT)
_MONTH_OF_720_H: Final = 720 * 3600 * 10**9


@dataclass(frozen=True, slots=True)
class Draft:
    """A line in the making. order: place of its terms in the contract; exact: what caps have left of it so far.

    incidents: those it is about.
    """

    order: int
    terms: CreditTerms
    subject: str
    window: WindowInstants
    tariff: Tariff
    steps: tuple[str, ...]
    exact: Fraction
    incidents: tuple[Incident, ...] = ()
    provisional: bool = False
    limited_by: str = ""
    earned: Fraction = Fraction(0)
    """exact, before caps and stacking"""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a settlement is about."""

    contract: Contract
    charge: Money | None
    period: WindowInstants
    verdicts: tuple[Verdict, ...]
    incidents: tuple[Incident, ...]
    as_of_ns: int

    def tariff(self, window: WindowInstants) -> Tariff:
        """Of the month in which the window ends."""
        return tariff(self.contract, self.charge, month_of(self.contract, window.end_ns - 1))

    def months(self) -> tuple[WindowInstants, ...]:
        """Those of the contract that end in the period; the period itself where it is shorter, or none ends in it."""
        if self.period.anchor is None and self.period.unit in (None, "day", "week"):
            return (self.period,)
        return windows_within(self.contract, month_unit(self.contract), self.period) or (self.period,)

    def counted_ns(self, incident: Incident, window: WindowInstants | None = None) -> int:
        """Time that counts, of all of it or of the part in the window, by now."""
        begin, end = (window.start_ns, window.end_ns) if window else (incident.start_ns, self.as_of_ns)
        return incident.counted.within(begin, min(end, self.as_of_ns)).length_ns


def excused(incident: Incident) -> str:
    """Why an outage pays nothing whatever the terms; empty where it may."""
    if not incident.counted_ns:
        return "none of its time counts" if incident.down_ns else "no time down was measured"
    attribution = incident.attribution
    if attribution.disputed or attribution.by == "evidence":
        return ""  # what is disputed excuses nothing, and nor does what nobody entered
    others = [ticket.attribution for ticket in incident.tickets if ticket.attribution is not None]
    if any(item.disputed or item.party not in _EXCUSING for item in others):
        return ""  # tickets of one outage that name several parties: the customer's time is excluded, the rest is paid
    if attribution.party in _EXCUSING:
        whose = "the customer" if attribution.party is Responsible.CUSTOMER else "the measuring site"
        return f"{whose} answers for it, entered by {attribution.by}"
    return ""


def drafts(occasion: Occasion) -> Iterator[Draft]:
    """Every line that pays something or might, in the contract's order. Raises UnpayableError."""
    for order, terms in enumerate(occasion.contract.credits):
        found: Iterator[Draft]
        if terms.objective is None:
            found = (
                item for window in occasion.months() for item in _of_outages(occasion, order, terms, None, None, window)
            )
        else:
            found = _of_objective(occasion, order, terms)
        yield from found


def _of_objective(occasion: Occasion, order: int, terms: CreditTerms) -> Iterator[Draft]:
    verdicts = [item for item in occasion.verdicts if item.objective.id == terms.objective]
    for verdict in sorted(verdicts, key=lambda item: (item.window.start_ns, item.window.end_ns)):
        if verdict.window.end_ns > occasion.period.end_ns or verdict.remark == "excused":
            continue  # paid with the period in which its window ends
        if verdict.state is VerdictState.BREACHED:
            yield from _of_breach(occasion, order, terms, verdict)
        elif verdict.state is VerdictState.INCONCLUSIVE:
            yield from _of_doubt(occasion, order, terms, verdict)


def _of_breach(occasion: Occasion, order: int, terms: CreditTerms, verdict: Verdict) -> Iterator[Draft]:
    objective = verdict.objective
    if _by_incident(terms, objective) or (counts_downtime(terms, objective) and terms.minimum_outage_ns):
        yield from _of_outages(occasion, order, terms, objective, verdict, verdict.window)
        return
    costs = occasion.tariff(verdict.window)
    earned = _earned(occasion, terms, costs, verdict, verdict.value)
    bounds = [_earned(occasion, terms, costs, verdict, item) for item in (verdict.best, verdict.worst)]
    if earned is None:
        yield from _of_outages(occasion, order, terms, objective, verdict, verdict.window)
        return
    steps, doubtful = list(earned.steps), verdict.estimated
    most = _most(occasion.contract, terms, costs)
    limits = [Fraction(0) if item is None else _at_most(item.exact, most) for item in bounds]
    if None not in (verdict.best, verdict.worst) and set(limits) != {_at_most(earned.exact, most)}:
        doubtful = True
        steps.append(f"what was not measured could make it {costs.money(min(limits))} to {costs.money(max(limits))}")
    if verdict.estimated:
        steps.append("the value is estimated: the measured part stands for the whole")
    if not earned.exact:
        return
    yield Draft(
        order,
        terms,
        objective.id,
        _named(verdict, costs),
        costs,
        (_promise(verdict), *_part(costs, terms), *steps),
        earned.exact,
        _behind(occasion, verdict),
        provisional=doubtful or verdict.remark == "disputed" or not _over(occasion, verdict),
    )


def _over(occasion: Occasion, verdict: Verdict) -> bool:
    """The window has passed, and of a rolling one the period that it is settled with."""
    rolling = verdict.objective.window.rolling_ns is not None
    return (occasion.period if rolling else verdict.window).closed(occasion.as_of_ns)


def _named(verdict: Verdict, costs: Tariff) -> WindowInstants:
    """The window of a line. A rolling one is called as the month that it is settled with: its own name is the same in
    every month, and a claim goes by it."""
    if verdict.objective.window.rolling_ns is None:
        return verdict.window
    return replace(verdict.window, label=costs.month.label)


def _behind(occasion: Occasion, verdict: Verdict) -> tuple[Incident, ...]:
    """The outages that a breach is made of."""
    if verdict.objective.metric not in (Metric.AVAILABILITY, Metric.OUTAGE):
        return ()
    return tuple(item for item in occasion.incidents if occasion.counted_ns(item, verdict.window))


def _of_doubt(occasion: Occasion, order: int, terms: CreditTerms, verdict: Verdict) -> Iterator[Draft]:
    """Nothing is paid without a verdict; the line says what it could have been."""
    if _by_incident(terms, verdict.objective) or verdict.target is None:
        return
    if in_service(occasion.contract, verdict.window) is None:
        return
    costs, target = occasion.tariff(verdict.window), verdict.target
    bounds = []
    for value in (verdict.best, verdict.worst):
        breached = value is not None and not verdict.objective.meets(value, target)
        earned = _earned(occasion, terms, costs, verdict, value) if breached else None
        most = _most(occasion.contract, terms, costs)
        bounds.append(_at_most(earned.exact, most) if earned is not None else Fraction(0))
    if not max(bounds) and verdict.worst is not None:
        return
    could = " to ".join(costs.money(item) for item in sorted(set(bounds)))
    known = f"it could be {could}" if verdict.worst is not None else "what it could be is not known"
    steps = (_promise(verdict), *_part(costs, terms), f"without a verdict nothing is paid; {known}")
    window = _named(verdict, costs)
    yield Draft(order, terms, verdict.objective.id, window, costs, steps, Fraction(0), provisional=True)


def _most(contract: Contract, terms: CreditTerms, costs: Tariff) -> Fraction | None:
    """The tightest cap that any line of the terms is under."""
    limits = [
        costs.worth(cap.price, terms.day_basis, pro_rata=terms.pro_rata and cap.per in ("month", "objective"))
        for cap in (*terms.caps, *contract.credit_caps)
        if cap.per != "incident"
    ]
    return min(limits, default=None)


def _at_most(exact: Fraction, most: Fraction | None) -> Fraction:
    return exact if most is None else min(exact, most)


def _earned(
    occasion: Occasion, terms: CreditTerms, costs: Tariff, verdict: Verdict, value: Fraction | None
) -> Earned | None:
    """What the objective earns at this value; None where outages must tell."""
    if value is None or verdict.target is None:
        return None
    if not counts_downtime(terms, verdict.objective):
        return by_value(terms, costs, verdict.objective, value, verdict.target, name(verdict.objective))
    if verdict.objective.unit is Unit.DURATION:
        down: Fraction | None = value
    elif verdict.objective.metric is not Metric.AVAILABILITY:
        return None
    elif verdict.budget is not None and verdict.budget.noun == DOWNTIME and value == verdict.value:
        down = verdict.budget.used
    else:
        down = _down_ns(occasion.contract, verdict, value)
    return None if down is None else _by_time(occasion, terms, costs, down, verdict.window, "down")


def _down_ns(contract: Contract, verdict: Verdict, value: Fraction) -> Fraction | None:
    """Time down that an availability means; None where the judged time is not known."""
    if _month_of_720_h(contract, verdict.window):
        return (1 - value) * _MONTH_OF_720_H
    begin, end = verdict.evidence.get("judged_from_ns"), verdict.evidence.get("judged_to_ns")
    gone = verdict.evidence.get("excluded_ns", 0)
    if not (isinstance(begin, int) and isinstance(end, int) and isinstance(gone, int)):
        return None
    return (1 - value) * max(0, end - begin - gone)


def _by_time(
    occasion: Occasion, terms: CreditTerms, costs: Tariff, down_ns: Fraction, window: WindowInstants, what: str
) -> Earned:
    if terms.basis is CreditBasis.PROPORTIONAL:
        valid = in_service(occasion.contract, window) or window
        length = valid.length_ns
        if _month_of_720_h(occasion.contract, window):
            length = _MONTH_OF_720_H
        return by_proportion(terms, costs, down_ns, length, what=what)
    if terms.basis is CreditBasis.PER_UNIT:
        return by_units(terms, costs, TIME, down_ns, what=what)
    return by_band(terms, costs, TIME, down_ns, what=what)


def _month_of_720_h(contract: Contract, window: WindowInstants) -> bool:
    return contract.month_basis == "fixed_720h" and window.unit in ("month", "billing_month")


def _by_incident(terms: CreditTerms, objective: Objective | None) -> bool:
    """Whether each outage has a line of its own."""
    if terms.basis is CreditBasis.PER_EVENT:
        return True
    each = terms.unit is not None and terms.unit.each_incident
    return each and terms.basis is CreditBasis.PER_UNIT and counts_downtime(terms, objective)


def _of_outages(
    occasion: Occasion,
    order: int,
    terms: CreditTerms,
    objective: Objective | None,
    verdict: Verdict | None,
    window: WindowInstants,
) -> Iterator[Draft]:
    """Lines of the window's outages, each for itself or all in one; an outage with a line of its own is in the window
    that it starts in, with all of its time."""
    valid = in_service(occasion.contract, window)
    if valid is None:
        return
    apart = _by_incident(terms, objective)
    taken = [item for item in _payable(occasion, terms, objective) if _lies(occasion, item, valid, apart=apart)]
    costs = occasion.tariff(window)
    head = (*([_promise(verdict)] if verdict is not None else []), *_part(costs, terms))
    open_window = not window.closed(occasion.as_of_ns) or (verdict is not None and verdict.estimated)
    open_window |= any(item.attribution.disputed for item in taken)
    if apart:
        for incident in taken:
            ns = occasion.counted_ns(incident)
            what = "counted" if terms.basis is CreditBasis.PER_EVENT else ""
            earned = _by_time(occasion, terms, costs, Fraction(ns), window, what)
            steps = (*head, _outage(incident, ns, occasion.as_of_ns), *earned.steps)
            if earned.exact:
                open_end = incident.end_ns is None or incident.end_ns > occasion.as_of_ns
                unsettled = open_end or bool(incident.attribution.disputed)
                yield Draft(order, terms, incident.id, window, costs, steps, earned.exact, (incident,), unsettled)
        return
    times = [occasion.counted_ns(item, valid) for item in taken]
    earned = _by_time(occasion, terms, costs, Fraction(sum(times)), window, f"down in {plural(len(taken), 'outage')}")
    if earned.exact:
        listed = (_outage(item, ns, occasion.as_of_ns) for item, ns in zip(taken, times, strict=True))
        subject = objective.id if objective is not None else OUTAGES
        steps = (*head, *listed, *earned.steps)
        yield Draft(order, terms, subject, window, costs, steps, earned.exact, tuple(taken), open_window)


def _payable(occasion: Occasion, terms: CreditTerms, objective: Objective | None) -> Sequence[Incident]:
    """Outages that the terms may pay for, by start."""
    severities = objective.severities if objective is not None else ()
    found = [
        item
        for item in occasion.incidents
        if not excused(item)
        and occasion.counted_ns(item) >= max(1, terms.minimum_outage_ns)
        and (not severities or item.priority in severities)
    ]
    return sorted(found, key=lambda item: (item.start_ns, item.id))


def _lies(occasion: Occasion, incident: Incident, window: WindowInstants, *, apart: bool) -> bool:
    if apart:
        return window.start_ns <= incident.start_ns < window.end_ns
    return occasion.counted_ns(incident, window) > 0


def _promise(verdict: Verdict) -> str:
    """`availability 99.41 % in 2026-10, promised 99.95 %`."""
    objective = verdict.objective
    value = "not measured" if verdict.value is None else shown(objective, verdict.value, verdict.target)
    return f"{name(objective)} {value} in {verdict.window.label}, promised {objective.target.text}"


def _part(costs: Tariff, terms: CreditTerms) -> tuple[str, ...]:
    """The part of the charge that a part of a month has, where the price is taken from it."""
    prices = (terms.price, *(band.price for band in terms.bands))
    taken = terms.basis is CreditBasis.PROPORTIONAL or any(price and price.kind == "percent" for price in prices)
    text = costs.told() if terms.pro_rata and taken else ""
    return (text,) if text else ()


def _outage(incident: Incident, counted_ns: int, as_of_ns: int) -> str:
    """`outage c1-2026-10-03 from 2026-10-03 04:00 UTC to 2026-10-03 06:30 UTC: 2 h 30 min count`."""
    over = incident.end_ns is not None and incident.end_ns <= as_of_ns
    end = f"to {moment(incident.end_ns or 0)}" if over else "still going on"
    disputed = ", and who answers for it is disputed" if incident.attribution.disputed else ""
    return f"outage {incident.id} from {moment(incident.start_ns)} {end}: {span(counted_ns)} count{disputed}"
