"""What one value earns: band, units, excess, proportion, each with its working in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from agent.sla.credit.prices import Tariff, plain
from agent.sla.terms.contract import SECOND_NS, Metric, Objective, Unit
from agent.sla.terms.remedies import Band, CreditBasis, CreditTerms, CreditUnit, Price
from agent.sla.words.wording import Measure, Plain, quantity

TIME: Final = Plain(Unit.DURATION, "max")
_NOTHING: Final = Fraction(0)
_PLACES: Final = 6
_NANOSECONDS: Final = 9
_STEPS: Final = ((86400 * SECOND_NS, "d"), (3600 * SECOND_NS, "h"), (60 * SECOND_NS, "min"))


@dataclass(frozen=True, slots=True)
class Earned:
    """exact: what is earned; steps: the working, line by line."""

    exact: Fraction
    steps: tuple[str, ...] = ()


def span(ns: Fraction | int) -> str:
    """`2 h 30 min`, `45 s`, `1.5 s`: all of it, nothing rounded."""
    rest, parts = Fraction(ns), []
    for scale, name in _STEPS:
        whole, rest = divmod(rest, scale)
        if whole:
            parts.append(f"{whole} {name}")
    if rest or not parts:
        parts.append(f"{plain(rest / SECOND_NS, _NANOSECONDS)} s")
    return " ".join(parts)


def shown(measure: Measure, value: Fraction, *edges: Fraction | None) -> str:
    """The value with digits enough to tell it from the nearest of the edges, times in full."""
    if measure.unit is Unit.DURATION:
        return span(value)
    if measure.unit is Unit.RATIO and 10**_PLACES % value.denominator == 0:
        return f"{plain(value * 100)} %"
    near = min((edge for edge in edges if edge is not None), key=lambda edge: abs(edge - value), default=None)
    return quantity(measure, value, near)


def band_text(measure: Measure, band: Band) -> str:
    """`99 % to below 99.5 %`, `over 4 h up to 8 h`, `below 99 %`, `4 h or more`."""
    low = None if band.low is None else shown(measure, band.low)
    high = None if band.high is None else shown(measure, band.high)
    if low is None and high is None:
        return "any value"
    if band.upper_inclusive:
        return f"over {low} up to {high}" if low and high else f"over {low}" if low else f"up to {high}"
    return f"{low} to below {high}" if low and high else f"{low} or more" if low else f"below {high}"


def by_band(
    terms: CreditTerms, tariff: Tariff, measure: Measure, value: Fraction, *, what: str, target: Fraction | None = None
) -> Earned:
    """Price of the band that the value lies in; without bands, the price of the terms."""
    price, where = terms.price, ""
    if terms.bands:
        band = next((item for item in terms.bands if item.holds(value)), None)
        if band is None:
            return Earned(_NOTHING, (f"{what} {shown(measure, value, target)} lies in no band: nothing",))
        price, where = band.price, f" lies in the band {band_text(measure, band)}"
        what = f"{what} {shown(measure, value, band.low, band.high, target)}"
    else:
        what = f"{what} {shown(measure, value, target)}"
    if price is None:
        return Earned(_NOTHING, (f"{what}{where}: no price is written",))
    exact = tariff.worth(price, terms.day_basis, pro_rata=terms.pro_rata)
    return Earned(exact, (f"{what}{where}: {_priced(terms, tariff, price, exact)}",))


def by_units(terms: CreditTerms, tariff: Tariff, measure: Measure, value: Fraction, *, what: str) -> Earned:
    """Price for each unit of the value, full or started, after the deductible."""
    unit, price = terms.unit, terms.price
    if unit is None or price is None:
        return Earned(_NOTHING, (f"{what} {shown(measure, value)}: no unit or no price is written",))
    rest, steps = _less(unit, measure, value, what)
    count = -(-rest // unit.step) if unit.started else rest // unit.step
    step = shown(measure, unit.step)
    if unit.started:
        steps.append(f"{shown(measure, rest)} in units of {step}, the last one whole even if only started: {count}")
    else:
        steps.append(f"{shown(measure, rest)} in full units of {step}: {count}")
    each = tariff.worth(price, terms.day_basis, pro_rata=terms.pro_rata)
    exact = count * each
    if count:
        left = tariff.text(price, terms.day_basis, pro_rata=terms.pro_rata)
        steps.append(f"{count} x {left}{_equals(tariff, price, each)} = {tariff.money(exact)}")
    return Earned(exact, tuple(steps))


def by_excess(terms: CreditTerms, tariff: Tariff, objective: Objective, value: Fraction, target: Fraction) -> Earned:
    """How far the value lies beyond the target, in its unit or as a share of the target, by bands or by units."""
    low_is_bad = objective.comparison == "min"
    excess = max(_NOTHING, target - value if low_is_bad else value - target)
    beyond = Plain(objective.unit, "max")
    side = "below" if low_is_bad else "above"
    steps = [
        f"{shown(objective, value, target)} lies {shown(beyond, excess)} {side} the target of "
        f"{shown(objective, target)}"
    ]
    measure, amount = beyond, excess
    if terms.basis is CreditBasis.EXCESS_RELATIVE:
        if not target:
            return Earned(_NOTHING, (*steps, "there is no share of a target of zero: nothing"))
        measure, amount = Plain(Unit.RATIO, "max"), excess / abs(target)
        steps.append(f"{shown(beyond, excess)} / {shown(objective, target)} = {plain(amount * 100)} %")
    if terms.unit is not None:
        found = by_units(terms, tariff, measure, amount, what="")
    else:
        found = by_band(terms, tariff, measure, amount, what="an excess of")
    return Earned(found.exact, (*steps, *found.steps))


def by_proportion(terms: CreditTerms, tariff: Tariff, down_ns: Fraction, window_ns: int, *, what: str) -> Earned:
    """Charge x (downtime - deductible) / window."""
    unit = terms.unit or CreditUnit(Fraction(SECOND_NS))
    rest, steps = _less(unit, TIME, down_ns, what)
    charge = tariff.charge(pro_rata=terms.pro_rata)
    exact = charge * min(rest / window_ns, Fraction(1)) if window_ns else _NOTHING
    steps.append(f"{tariff.money(charge)} x {span(rest)} / {span(window_ns)} = {tariff.money(exact)}")
    return Earned(exact, tuple(steps))


def by_value(
    terms: CreditTerms, tariff: Tariff, objective: Objective, value: Fraction, target: Fraction, name: str
) -> Earned:
    """Of a term on an objective whose own value decides. name: of the statistic."""
    if terms.basis in (CreditBasis.EXCESS_ABSOLUTE, CreditBasis.EXCESS_RELATIVE):
        return by_excess(terms, tariff, objective, value, target)
    if terms.basis is CreditBasis.PER_UNIT:
        return by_units(terms, tariff, objective, value, what=name)
    return by_band(terms, tariff, objective, value, what=name, target=target)


def counts_downtime(terms: CreditTerms, objective: Objective | None) -> bool:
    """Whether time down decides, not the value of an objective."""
    if terms.basis is CreditBasis.PROPORTIONAL or objective is None:
        return True
    share_of_time = objective.metric is Metric.AVAILABILITY and objective.unit is Unit.RATIO
    return terms.basis is CreditBasis.PER_UNIT and share_of_time


def _less(unit: CreditUnit, measure: Measure, value: Fraction, what: str) -> tuple[Fraction, list[str]]:
    """What is left after the deductible."""
    if not unit.deductible:
        return value, [f"{what} {shown(measure, value)}"] if what else []
    rest = max(_NOTHING, value - unit.deductible)
    free = shown(measure, unit.deductible)
    left = f"{shown(measure, value)}, less the first {free}: {shown(measure, rest)}"
    return rest, [f"{what} {left}" if what else left]


def _priced(terms: CreditTerms, tariff: Tariff, price: Price, exact: Fraction) -> str:
    left = tariff.text(price, terms.day_basis, pro_rata=terms.pro_rata)
    return left if price.kind == "amount" else f"{left} = {tariff.money(exact)}"


def _equals(tariff: Tariff, price: Price, each: Fraction) -> str:
    """` (= 16.00 EUR)` after a price that is not a sum itself."""
    return "" if price.kind == "amount" else f" (= {tariff.money(each)})"
