"""What is owed for a period: lines with their arithmetic, caps, claims, and what repeated failure gives. Pure.

Only a breach pays. A promise without a verdict pays nothing, and its line says what it could have been; an open window
gives lines that are provisional. Incidents of which no time counts pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from agent.sla.credit.chronic import History, findings
from agent.sla.credit.claims import Filing, claim, filing
from agent.sla.credit.credit_caps import Owed, owed
from agent.sla.credit.credit_lines import Draft, Occasion, drafts, excused
from agent.sla.credit.prices import UnpayableError, charge_of, month_of, tariff, year_of
from agent.sla.terms.contract import Contract
from agent.sla.terms.incidents import Incident
from agent.sla.terms.money import Money
from agent.sla.terms.remedies import CreditBasis, CreditTerms
from agent.sla.terms.settlement import ChronicFinding, CreditLine, Paid, Settlement
from agent.sla.time.calendar import WindowInstants
from agent.sla.verdict import Verdict, VerdictState
from probes.core.model import Circuit


def settle(
    contract: Contract,
    circuit: Circuit,
    period: WindowInstants,
    verdicts: Sequence[Verdict],
    incidents: Sequence[Incident],
    *,
    as_of_ns: int,
    earlier: Sequence[Verdict] = (),
    earlier_incidents: Sequence[Incident] = (),
    paid: Sequence[Paid] = (),
    filed: Mapping[str, Filing] | None = None,
) -> Settlement:
    """Everything owed for the windows that end in the period, and for its outages.

    earlier, earlier_incidents: of the time before, for chronic rules and for windows that began before the period.
    paid: for months before the period. filed: claims made, by claims.key().
    """
    known = _merged(incidents, earlier_incidents)
    chronic = findings(History(contract, period, known, (*earlier, *verdicts), as_of_ns))
    if not contract.credits and not any(item.rule.extra for item in chronic):
        return Settlement((), None, _charge(contract, circuit), chronic)
    try:
        charge = charge_of(contract, circuit)
        occasion = Occasion(contract, charge, period, tuple(verdicts), known, as_of_ns)
        _check_currencies(contract, charge)
        found = [*drafts(occasion), *_extra(occasion, chronic)]
        lines = owed(contract, found, paid)
    except UnpayableError as problem:
        return Settlement((), None, _charge(contract, circuit), chronic, obstacle=str(problem))
    currency = contract.currency or (charge.currency if charge else "")
    total = sum((line.amount.amount for line in lines), Decimal(0).scaleb(-contract.rounding.places))
    return Settlement(
        tuple(_line(contract, circuit, line, as_of_ns, filed or {}) for line in lines),
        Money(total, currency) if currency else None,
        charge,
        chronic,
        notes=tuple(_notes(occasion, paid)),
    )


def _merged(incidents: Iterable[Incident], earlier: Iterable[Incident]) -> tuple[Incident, ...]:
    """Both by start, each once."""
    by_id = {item.id: item for item in (*earlier, *incidents)}
    return tuple(sorted(by_id.values(), key=lambda item: (item.start_ns, item.id)))


def _charge(contract: Contract, circuit: Circuit) -> Money | None:
    try:
        return charge_of(contract, circuit)
    except UnpayableError:
        return None


def _check_currencies(contract: Contract, charge: Money | None) -> None:
    """All prices are in the currency of the charge. Raises UnpayableError."""
    expected = contract.currency or (charge.currency if charge else "")
    prices = [
        price
        for terms in contract.credits
        for price in (terms.price, *(band.price for band in terms.bands), *(cap.price for cap in terms.caps))
    ]
    prices += [cap.price for cap in contract.credit_caps] + [rule.extra for rule in contract.chronic]
    for price in prices:
        if price is not None and price.money is not None and price.money.currency != expected:
            raise UnpayableError(
                f"the price {price.money} is not in {expected or 'any known currency'}",
                hint="write all prices and the monthly charge in the contract's currency",
            )


def _extra(occasion: Occasion, chronic: Iterable[ChronicFinding]) -> Iterable[Draft]:
    """Credits that chronic rules give on top."""
    for number, found in enumerate(chronic):
        rule = found.rule
        if not found.met or rule.right != "extra_credit" or rule.extra is None:
            continue
        end = min(occasion.period.end_ns, max(occasion.as_of_ns, occasion.period.start_ns + 1))
        costs = tariff(occasion.contract, occasion.charge, month_of(occasion.contract, end - 1))
        exact = costs.worth(rule.extra)
        left = costs.text(rule.extra)
        steps = (found.sentence, left if rule.extra.kind == "amount" else f"{left} = {costs.money(exact)}")
        terms = CreditTerms(rule.id, CreditBasis.PER_EVENT, price=rule.extra, text=rule.text)
        involved = tuple(item for item in occasion.incidents if item.id in found.incidents)
        yield Draft(
            len(occasion.contract.credits) + number,
            terms,
            rule.id,
            occasion.period,
            costs,
            steps,
            exact,
            involved,
            provisional=not occasion.period.closed(occasion.as_of_ns),
        )


def _line(contract: Contract, circuit: Circuit, line: Owed, as_of_ns: int, filed: Mapping[str, Filing]) -> CreditLine:
    draft = line.draft
    made = filing(filed, circuit.id, draft.terms.id, draft.window.label, draft.subject)
    state = None
    if line.amount.amount:
        state = claim(contract, draft.terms, draft.window, draft.incidents, as_of_ns=as_of_ns, filed=made)
    return CreditLine(
        draft.terms,
        draft.subject,
        draft.window,
        draft.steps,
        draft.earned,
        line.amount,
        draft.limited_by,
        state,
        draft.provisional,
    )


def _notes(occasion: Occasion, paid: Sequence[Paid]) -> Iterable[str]:
    """What a reader would look for among the lines in vain."""
    for incident in occasion.incidents:
        reason = excused(incident)
        if reason and occasion.period.start_ns <= incident.start_ns < occasion.period.end_ns:
            yield f"outage {incident.id} pays nothing: {reason}"
    terms = {item.objective for item in occasion.contract.credits}
    for verdict in occasion.verdicts:
        if verdict.objective.id not in terms:
            continue
        if verdict.state is VerdictState.BREACHED and verdict.remark == "excused":
            yield f"{verdict.objective.id} in {verdict.window.label} is excused and pays nothing"
        elif verdict.window.end_ns > occasion.period.end_ns:
            yield f"{verdict.objective.id}: {verdict.window.label} is settled when it is over"
    caps = {cap.per for cap in occasion.contract.credit_caps}
    caps |= {cap.per for item in occasion.contract.credits for cap in item.caps}
    year_ns = year_of(occasion.contract, month_of(occasion.contract, occasion.period.start_ns).end_ns - 1).start_ns
    for per, when, taken in (
        ("year", "in the year", [item for item in paid if item.year_ns == year_ns]),
        ("contract", "under the contract", paid),
    ):
        total = sum((item.amount.amount for item in taken), Decimal(0))
        if per in caps and total:
            yield f"{Money(total, taken[0].amount.currency)} were paid earlier {when} and count towards its caps"
