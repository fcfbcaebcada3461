"""What a broken promise costs, by the table and by examples worked with the same arithmetic as a credit note. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from agent.sla.credit.credit_values import TIME, Earned, by_excess, by_proportion, by_units, counts_downtime
from agent.sla.terms.contract import Contract, Objective, Unit
from agent.sla.terms.remedies import Band, Cap, CreditBasis, CreditTerms
from agent.sla.words.clauses import HOUR, Clause, Table, examples_of, length, noun_of, sentence, value
from agent.sla.words.definitions import name
from agent.sla.words.explain_price import DAYS, Example, band_text, example, price_text, within
from agent.sla.words.wording import plural
from probes.core.model import Circuit

_PER: Final = {
    "incident": "for one outage",
    "objective": "for one promise in a month",
    "month": "in a month",
    "year": "in a year",
    "contract": "over the whole contract",
}
_STACKING: Final = {
    "sum": "Credits of several clauses add up.",
    "highest": "Of several credits in one month, only the highest is paid.",
    "same_cause_highest": "Where several credits have the same cause, only the highest of them is paid.",
}
_ROUNDING: Final = {
    "half_up": "half a unit up",
    "half_even": "half a unit to the even digit",
    "down": "down",
    "up": "up",
}
_TO_SHOW: Final = 2
"""Bands that examples are worked for."""


def credits(contract: Contract, circuit: Circuit | None) -> Iterator[Clause]:
    """Every credit clause with its table and example, then what limits them all."""
    if not contract.credits:
        yield Clause("No credits", ("No money is owed under this contract when a promise is broken.",))
        return
    case = example(contract, circuit)
    for terms in contract.credits:
        yield _credit(terms, case, circuit)
    yield Clause("All credits together", tuple(_together(case)))


def _together(case: Example) -> Iterator[str]:
    contract = case.contract
    yield "Only a broken promise or an outage pays; a promise that cannot be judged pays nothing."
    if len(contract.credits) > 1:
        yield _STACKING[contract.stacking]
    for cap in contract.credit_caps:
        yield sentence(f"All credits together are at most {_cap(cap, case)}")
    if any(terms.pro_rata and _of_charge(terms) for terms in contract.credits):
        yield "In a month that the contract was valid for only in part, per cent are of that part of the charge."
    places = plural(contract.rounding.places, "decimal place")
    yield f"Every line is rounded once, after its caps, to {places}, {_ROUNDING[contract.rounding.mode]}."
    if case.known:
        yield f"The examples are worked with the monthly charge of {case.tariff.full}."
    else:
        yield f"No monthly charge is known here: the examples take one of {case.tariff.full}."


def _cap(cap: Cap, case: Example) -> str:
    text = price_text(cap.price)
    if cap.price.kind != "amount":
        text += f" ({case.paid(case.worth(cap.price, '30'))})"
    return f"{text} {_PER[cap.per]}"


Worded = tuple[list[str], Table | None, list[str]]
"""Sentences, table, examples."""


def _credit(terms: CreditTerms, case: Example, circuit: Circuit | None) -> Clause:
    objective = case.contract.objective(terms.objective) if terms.objective else None
    head, table, examples = _worded(terms, objective, case, circuit)
    return Clause(terms.id, (*head, *_limits(terms, case)), terms.text, table, tuple(examples))


def _worded(terms: CreditTerms, objective: Objective | None, case: Example, circuit: Circuit | None) -> Worded:
    match terms.basis:
        case CreditBasis.PER_EVENT:
            return _by_event(terms, objective, case)
        case CreditBasis.PER_UNIT:
            return _by_unit(terms, objective, case)
        case CreditBasis.PROPORTIONAL:
            return _in_proportion(terms, objective, case)
        case CreditBasis.BAND if objective is not None:
            return _by_band(terms, objective, case)
        case _ if objective is not None:
            return _by_excess(terms, objective, case, circuit)
    return [], None, []


def _where(objective: Objective) -> str:
    return f"Where promise “{objective.id}” is broken in a {noun_of(objective.window)}, "


def _ordered(terms: CreditTerms, objective: Objective | None) -> list[Band]:
    """The mildest first."""
    rising = terms.basis is CreditBasis.BAND and objective is not None and objective.comparison == "min"
    return list(reversed(terms.bands)) if rising else list(terms.bands)


def _table(
    terms: CreditTerms, bands: list[Band], case: Example, unit: Unit, what: str, kept: Fraction | None = None
) -> Table:
    rows = [
        (band_text(band, unit, kept), price_text(band.price), case.paid(case.worth(band.price, terms.day_basis)))
        for band in bands
    ]
    return Table((what, "credit", f"of {case.tariff.full}"), tuple(rows))


def _neighbour(bands: list[Band], index: int) -> Band | None:
    return next((bands[other] for other in (index - 1, index + 1) if 0 <= other < len(bands)), None)


def _by_band(terms: CreditTerms, objective: Objective, case: Example) -> Worded:
    bands = _ordered(terms, objective)
    head = [f"{_where(objective)}its value decides the credit. The target itself earns nothing."]
    examples = []
    for index, band in enumerate(bands[:_TO_SHOW]):
        shown = value(objective.unit, within(band, objective.unit, _neighbour(bands, index)))
        examples.append(f"At {shown} the customer gets {case.working(band.price, terms.day_basis)}.")
    kept = None if objective.target.of_committed_rate else objective.target.value
    return head, _table(terms, bands, case, objective.unit, f"value of {objective.id}", kept), examples


def _by_event(terms: CreditTerms, objective: Objective | None, case: Example) -> Worded:
    whose = f" (of “{objective.id}”)" if objective is not None else ""
    if terms.price is not None and not terms.bands:
        text = f"For every outage{whose}, the customer gets {price_text(terms.price)}."
        return [text], None, [f"For one outage: {case.working(terms.price, terms.day_basis)}."]
    bands = _ordered(terms, objective)
    examples = []
    for index, band in enumerate(bands[:_TO_SHOW]):
        shown = value(Unit.DURATION, within(band, Unit.DURATION, _neighbour(bands, index)))
        examples.append(f"For an outage of {shown} the customer gets {case.working(band.price, terms.day_basis)}.")
    head = [f"For every single outage{whose}, its own duration decides the credit."]
    return head, _table(terms, bands, case, Unit.DURATION, "duration of the outage"), examples


def _step(unit: Unit, step: Fraction) -> str:
    """`hour`, `ms`, `15 min`."""
    if unit is Unit.DURATION:
        return {HOUR: "hour", HOUR * 24: "day", HOUR // 60: "minute"}.get(int(step), length(int(step)))
    text = value(unit, step)
    return text.removeprefix("1 ")


def _worked(earned: Earned, case: Example) -> str:
    """The steps of the credit note, then what is paid."""
    last = earned.steps[-1]
    paid = case.paid(earned.exact)
    return sentence(f"{'; '.join(earned.steps)}{'' if last.endswith(paid) else f', paid {paid}'}")


def _by_unit(terms: CreditTerms, objective: Objective | None, case: Example) -> Worded:
    unit, price = terms.unit, terms.price
    if unit is None or price is None:
        return [], None, []
    downtime = counts_downtime(terms, objective)
    kind = Unit.DURATION if downtime or objective is None else objective.unit
    measure = TIME if downtime or objective is None else objective
    what = "downtime" if downtime or objective is None else f"the value of “{objective.id}”"
    beyond = f" beyond the first {value(kind, unit.deductible)}" if unit.deductible else ""
    begun = "begun or full" if unit.started else "full"
    first = f"for every {begun} {_step(kind, unit.step)} of {what}{beyond}, the customer gets {price_text(price)}"
    head = [sentence(first if objective is None else _where(objective) + first)]
    if downtime:
        head.append(
            "The time of each outage is counted for itself."
            if unit.each_incident
            else "The time of all outages of the window is added up first."
        )
    amount = unit.deductible + unit.step * Fraction(5, 2)
    called = "down" if downtime or objective is None else name(objective)
    return head, None, [_worked(by_units(terms, case.tariff, measure, amount, what=called), case)]


def _by_excess(terms: CreditTerms, objective: Objective, case: Example, circuit: Circuit | None) -> Worded:
    relative = terms.basis is CreditBasis.EXCESS_RELATIVE
    side = "below" if objective.comparison == "min" else "above"
    how = f"how far the value lies {side} the target" + (", as a share of the target" if relative else "")
    kind = Unit.RATIO if relative else objective.unit
    target = _target(objective, case.contract, circuit)
    head, table = [f"{_where(objective)}the credit goes by {how}."], None
    if terms.unit is not None and terms.price is not None:
        begun = "begun or full" if terms.unit.started else "full"
        beyond = f" after the first {value(kind, terms.unit.deductible)}" if terms.unit.deductible else ""
        step = _step(kind, terms.unit.step)
        head.append(f"For every {begun} {step}{beyond} the customer gets {price_text(terms.price)}.")
        excesses = [terms.unit.deductible + terms.unit.step * Fraction(7, 2)]
    else:
        bands = _ordered(terms, objective)
        table = _table(terms, bands, case, kind, "beyond the target by", Fraction(0))
        excesses = [within(band, kind, _neighbour(bands, index)) for index, band in enumerate(bands[:_TO_SHOW])]
    examples = []
    for excess in excesses:
        gap = excess * target if relative else excess
        reached = target - gap if objective.comparison == "min" else target + gap
        examples.append(_worked(by_excess(terms, case.tariff, objective, reached, target), case))
    return head, table, examples if target else []


def _target(objective: Objective, contract: Contract, circuit: Circuit | None) -> Fraction:
    """In base units; zero for a share of a rate that nobody states."""
    if not objective.target.of_committed_rate:
        return objective.target.value
    committed = (circuit.committed_rate_bps if circuit is not None else None) or contract.service.cir_bps
    return objective.target.value * (committed or 0)


def _in_proportion(terms: CreditTerms, objective: Objective | None, case: Example) -> Worded:
    free = terms.unit.deductible if terms.unit is not None else Fraction(0)
    beyond = f" beyond the first {length(int(free))}" if free else ""
    window = (objective or case.contract.objectives[0]).window
    noun = noun_of(window)
    text = f"the customer gets the part of the monthly charge that the downtime{beyond} is of the {noun}"
    head = [sentence(text if objective is None else _where(objective) + text)]
    whole = examples_of(window, case.contract)[0][2]
    earned = by_proportion(terms, case.tariff, free + 6 * HOUR, whole, what="down")
    return head, None, [_worked(earned, case)]


def _limits(terms: CreditTerms, case: Example) -> Iterator[str]:
    if _uses(terms, "mrc_days") or _uses(terms, "mrc_hours"):
        yield sentence(f"A day of the monthly charge is {DAYS[terms.day_basis]}")
        if _uses(terms, "mrc_hours"):
            yield "An hour of it is 1/24 of a day."
    if terms.minimum_outage_ns:
        yield f"An outage shorter than {length(terms.minimum_outage_ns)} earns nothing."
    for cap in terms.caps:
        yield sentence(f"It is at most {_cap(cap, case)}")
    if terms.minimum is not None:
        yield f"A sum below {terms.minimum} is not paid."
    if not terms.pro_rata and _of_charge(terms):
        yield "It is of the full charge, even in a month that the contract was valid for only in part."
    yield "It is owed without being asked for." if terms.automatic else "It must be claimed."


def _of_charge(terms: CreditTerms) -> bool:
    """Whether a part of a month makes it smaller."""
    return _uses(terms, "percent") or terms.basis is CreditBasis.PROPORTIONAL


def _uses(terms: CreditTerms, kind: str) -> bool:
    prices = [terms.price, *(band.price for band in terms.bands), *(cap.price for cap in terms.caps)]
    return any(price is not None and price.kind == kind for price in prices)
