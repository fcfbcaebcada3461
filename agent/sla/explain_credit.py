"""What a broken promise costs, by the table and by an example worked in money. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from agent.sla.clauses import HOUR, Clause, Table, examples_of, length, noun_of, sentence, value
from agent.sla.contract import Contract, Metric, Objective, Unit
from agent.sla.explain_price import DAYS, Charge, band_text, charge_of, money, price_text, within, working, worth
from agent.sla.remedies import Band, Cap, CreditBasis, CreditTerms
from agent.sla.wording import plural
from probes.core.model import Circuit

_PER: Final = {
    "incident": "for one outage",
    "objective": "for one promise",
    "month": "in a month",
    "year": "in a year",
    "contract": "over the whole contract",
}
_STACKING: Final = {
    "sum": "Credits of several clauses add up.",
    "highest": "Of several credits for the same time, only the highest is paid.",
    "same_cause_highest": "Where several credits have the same cause, only the highest of them is paid.",
}


def credits(contract: Contract, circuit: Circuit | None) -> Iterator[Clause]:
    """Every credit clause with its table and example, then what limits them all."""
    charge = charge_of(contract, circuit)
    if not contract.credits:
        yield Clause("No credits", ("No money is owed under this contract when a promise is broken.",))
        return
    for terms in contract.credits:
        yield _credit(contract, terms, charge)
    yield Clause("All credits together", tuple(_together(contract, charge)))


def _together(contract: Contract, charge: Charge) -> Iterator[str]:
    yield _STACKING[contract.stacking]
    for cap in contract.credit_caps:
        yield sentence(f"All credits together are at most {_cap(cap, charge, contract)}")
    mode = {
        "half_up": "half a unit up",
        "half_even": "half a unit to the even digit",
        "down": "down",
        "up": "up",
    }[contract.rounding.mode]
    places = contract.rounding.places
    yield f"Every line is rounded once, after its caps, to {plural(places, 'decimal place')}, {mode}."
    if charge.known:
        yield f"The examples are worked with the monthly charge of {charge.money}."
    else:
        yield f"No monthly charge is known here: the examples take one of {charge.money}."


def _cap(cap: Cap, charge: Charge, contract: Contract) -> str:
    text = price_text(cap.price)
    if cap.price.kind != "amount":
        text += f" ({money(contract, charge, worth(cap.price, charge, '30'))})"
    return f"{text} {_PER[cap.per]}"


def _credit(contract: Contract, terms: CreditTerms, charge: Charge) -> Clause:
    objective = contract.objective(terms.objective) if terms.objective else None
    head, table, examples = {
        CreditBasis.BAND: _by_band,
        CreditBasis.PER_UNIT: _by_unit,
        CreditBasis.PER_EVENT: _by_event,
        CreditBasis.EXCESS_ABSOLUTE: _by_excess,
        CreditBasis.EXCESS_RELATIVE: _by_excess,
        CreditBasis.PROPORTIONAL: _in_proportion,
    }[terms.basis](contract, terms, objective, charge)
    return Clause(terms.id, (*head, *_limits(contract, terms, charge)), terms.text, table, tuple(examples))


Worded = tuple[list[str], Table | None, list[str]]
"""Sentences, table, examples."""


def _bands(contract: Contract, terms: CreditTerms, charge: Charge, unit: Unit, what: str) -> Table:
    """Best band first, as the file may have them either way."""
    best_first = list(terms.bands)
    if terms.basis is CreditBasis.BAND and _rising(contract, terms):
        best_first.reverse()
    rows = tuple(
        (
            band_text(band, unit),
            price_text(band.price),
            money(contract, charge, worth(band.price, charge, terms.day_basis)),
        )
        for band in best_first
    )
    return Table((what, "credit", f"of {charge.money}"), tuple(rows))


def _rising(contract: Contract, terms: CreditTerms) -> bool:
    """Whether a greater value is better."""
    objective = contract.objective(terms.objective) if terms.objective else None
    return objective is not None and objective.comparison == "min"


def _neighbour(bands: tuple[Band, ...], index: int) -> Band | None:
    for other in (index - 1, index + 1):
        if 0 <= other < len(bands):
            return bands[other]
    return None


def _in_each(contract: Contract, terms: CreditTerms, charge: Charge, unit: Unit, before: str, after: str) -> list[str]:
    """An example for the mildest band and one for the next."""
    order = list(range(len(terms.bands)))
    if _rising(contract, terms) and terms.basis is CreditBasis.BAND:
        order.reverse()
    found = []
    for index in order[:2]:
        band = terms.bands[index]
        shown = within(band, unit, _neighbour(terms.bands, index))
        paid = working(contract, charge, band.price, terms.day_basis)
        found.append(f"{before} {value(unit, shown)}{after} the customer gets {paid}.")
    return found


def _by_band(contract: Contract, terms: CreditTerms, objective: Objective | None, charge: Charge) -> Worded:
    if objective is None:
        return [], None, []
    head = [
        f"Where promise “{objective.id}” is broken in a {noun_of(objective.window)}, its value decides the credit. The "
        "target itself earns nothing."
    ]
    table = _bands(contract, terms, charge, objective.unit, f"value of {objective.id}")
    return head, table, _in_each(contract, terms, charge, objective.unit, "At", "")


def _unit_text(unit: Unit, step: Fraction) -> str:
    if unit is Unit.DURATION:
        return {HOUR: "hour", HOUR * 24: "day", HOUR // 60: "minute"}.get(int(step), length(int(step)))
    text = value(unit, step)
    return text.removeprefix("1 ") if text.startswith("1 ") else text


def _what(objective: Objective | None) -> tuple[str, Unit]:
    """What is counted in units, and in which."""
    if objective is None or objective.metric is Metric.AVAILABILITY:
        return "downtime", Unit.DURATION
    return f"the value of “{objective.id}”", objective.unit


def _steps(amount: Fraction, deductible: Fraction, step: Fraction, *, started: bool) -> int:
    rest = max(Fraction(0), amount - deductible)
    return int(-(-rest // step)) if started else int(rest // step)


def _by_unit(contract: Contract, terms: CreditTerms, objective: Objective | None, charge: Charge) -> Worded:
    unit, price = terms.unit, terms.price
    if unit is None or price is None:
        return [], None, []
    what, kind = _what(objective)
    step = _unit_text(kind, unit.step)
    beyond = f" beyond the first {value(kind, unit.deductible)}" if unit.deductible else ""
    begun = "begun or full" if unit.started else "full"
    head = [sentence(f"For every {begun} {step} of {what}{beyond}, the customer gets {price_text(price)}")]
    if kind is Unit.DURATION:
        head.append(
            "The time of each outage is counted for itself."
            if unit.each_incident
            else "The time of all outages of the window is added up first."
        )
    amount = unit.deductible + unit.step * Fraction(5, 2)
    count = _steps(amount, unit.deductible, unit.step, started=unit.started)
    less = (
        f" less {value(kind, unit.deductible)} leaves {value(kind, amount - unit.deductible)},"
        if unit.deductible
        else ""
    )
    name = "of downtime" if kind is Unit.DURATION else ""
    example = (
        f"{value(kind, amount)} {name}:{less} {count} {begun} times one {step}: "
        f"{working(contract, charge, price, terms.day_basis, count)}."
    )
    return head, None, [example.replace(" :", ":")]


def _by_event(contract: Contract, terms: CreditTerms, objective: Objective | None, charge: Charge) -> Worded:
    head = ["For every single outage, its own duration decides the credit"]
    if objective is not None:
        head[0] += f" (outages of “{objective.id}”)"
    head[0] += "."
    if terms.price is not None and not terms.bands:
        paid = working(contract, charge, terms.price, terms.day_basis, 2)
        return [f"For every outage, the customer gets {price_text(terms.price)}."], None, [f"For two outages: {paid}."]
    table = _bands(contract, terms, charge, Unit.DURATION, "duration of the outage")
    return head, table, _in_each(contract, terms, charge, Unit.DURATION, "For an outage of", "")


def _by_excess(contract: Contract, terms: CreditTerms, objective: Objective | None, charge: Charge) -> Worded:
    if objective is None:
        return [], None, []
    relative = terms.basis is CreditBasis.EXCESS_RELATIVE
    side = "below" if objective.comparison == "min" else "above"
    how = f"how far the value lies {side} the target" + (", as a share of the target" if relative else "")
    kind = Unit.RATIO if relative else objective.unit
    if terms.unit is not None and terms.price is not None:
        return _excess_units(contract, terms, objective, charge, kind, how)
    head = [f"Where promise “{objective.id}” is broken in a {noun_of(objective.window)}, the credit goes by {how}."]
    table = _bands(contract, terms, charge, kind, "beyond the target by")
    examples = []
    for index, band in enumerate(terms.bands[:2]):
        shown = within(band, kind, _neighbour(terms.bands, index))
        reached = _reached(objective, shown, relative=relative)
        reach = (
            f"At {reached}, {value(kind, shown)} {side} the target,"
            if reached
            else f"{value(kind, shown)} {side} the target,"
        )
        examples.append(f"{reach} the customer gets {working(contract, charge, band.price, terms.day_basis)}.")
    return head, table, examples


def _reached(objective: Objective, excess: Fraction, *, relative: bool) -> str:
    """The value that lies so far beyond the target, where the target is known."""
    if objective.target.of_committed_rate:
        return ""
    target = objective.target.value
    gap = excess * target if relative else excess
    reached = target - gap if objective.comparison == "min" else target + gap
    return value(objective.unit, reached) if reached >= 0 else ""


def _excess_units(
    contract: Contract, terms: CreditTerms, objective: Objective, charge: Charge, kind: Unit, how: str
) -> Worded:
    unit, price = terms.unit, terms.price
    if unit is None or price is None:
        return [], None, []
    begun = "begun or full" if unit.started else "full"
    step = _unit_text(kind, unit.step)
    beyond = f", after the first {value(kind, unit.deductible)}" if unit.deductible else ""
    head = [
        f"Where promise “{objective.id}” is broken in a {noun_of(objective.window)}, the credit goes by {how}.",
        f"For every {begun} {step}{beyond} the customer gets {price_text(price)}.",
    ]
    excess = unit.deductible + unit.step * Fraction(7, 2)
    count = _steps(excess, unit.deductible, unit.step, started=unit.started)
    reached = _reached(objective, excess, relative=terms.basis is CreditBasis.EXCESS_RELATIVE)
    at = (
        f"At {reached}, {value(kind, excess)} beyond the target"
        if reached
        else f"{value(kind, excess)} beyond the target"
    )
    return (
        head,
        None,
        [f"{at}: {count} {begun} times {step}: {working(contract, charge, price, terms.day_basis, count)}."],
    )


def _in_proportion(contract: Contract, terms: CreditTerms, objective: Objective | None, charge: Charge) -> Worded:
    free = terms.unit.deductible if terms.unit is not None else Fraction(0)
    beyond = f" beyond the first {length(int(free))}" if free else ""
    window = objective.window if objective is not None else contract.objectives[0].window
    noun = noun_of(window)
    head = [
        f"The customer gets the part of the monthly charge that the downtime{beyond} is of the {noun}: "
        f"charge x downtime / length of the {noun}."
    ]
    _, text, whole = examples_of(window, contract)[0]
    down = int(free) + 6 * HOUR
    exact = Fraction(charge.money.amount) * 6 * HOUR / whole
    less = f" less {length(int(free))} leaves 6 h," if free else ""
    paid = money(contract, charge, exact)
    return head, None, [f"{length(down)} of downtime in {text}:{less} {charge.money} x 6 h / {text} = {paid}."]


def _limits(contract: Contract, terms: CreditTerms, charge: Charge) -> Iterator[str]:
    if _uses(terms, "mrc_days") or _uses(terms, "mrc_hours"):
        yield sentence(f"A day of the monthly charge is {DAYS[terms.day_basis][1]}") + (
            " An hour is 1/24 of a day." if _uses(terms, "mrc_hours") else ""
        )
    if terms.minimum_outage_ns:
        yield f"An outage shorter than {length(terms.minimum_outage_ns)} earns nothing."
    for cap in terms.caps:
        yield sentence(f"It is at most {_cap(cap, charge, contract)}")
    if terms.minimum is not None:
        yield f"A sum below {terms.minimum} is not paid."
    if terms.pro_rata:
        yield "A month that the contract was valid for only in part has that part of the charge."
    yield "It is owed without being asked for." if terms.automatic else "It must be claimed."


def _uses(terms: CreditTerms, kind: str) -> bool:
    prices = [terms.price, *(band.price for band in terms.bands), *(cap.price for cap in terms.caps)]
    return any(price is not None and price.kind == kind for price in prices)
