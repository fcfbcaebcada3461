"""Prices of credits in words and worked in money, and round values for examples. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from agent.sla.clauses import decimal, percent, value
from agent.sla.contract import Contract, Unit
from agent.sla.money import Money
from agent.sla.remedies import Band, DayBasis, Price
from probes.core.model import Circuit

DAYS: Final[dict[DayBasis, tuple[Fraction, str]]] = {
    "30": (Fraction(1, 30), "1/30 of the monthly charge"),
    "days_in_month": (Fraction(1, 30), "the monthly charge divided by the days of the month"),
    "365": (Fraction(12, 365), "12/365 of the monthly charge"),
}
_SCALES: Final = {
    Unit.RATIO: Fraction(1, 100),
    Unit.DELAY: Fraction(10**6),
    Unit.RATE: Fraction(10**6),
    Unit.DURATION: Fraction(60 * 10**9),
}
_SAMPLE_CHARGE: Final = Decimal(1000)


@dataclass(frozen=True, slots=True)
class Charge:
    """Monthly charge that examples are worked with. known: it is the one of the circuit or service."""

    money: Money
    known: bool


def charge_of(contract: Contract, circuit: Circuit | None) -> Charge:
    """The circuit's charge, else that of the service, else a round sum."""
    if circuit is not None and circuit.monthly_charge:
        amount, _, currency = circuit.monthly_charge.strip().rpartition(" ")
        try:
            return Charge(Money(Decimal(amount.replace(" ", "")), currency), known=True)
        except InvalidOperation:
            pass  # not written as a sum of money: a round one serves the example
    if contract.service.monthly_charge is not None:
        return Charge(contract.service.monthly_charge, known=True)
    return Charge(Money(_SAMPLE_CHARGE.quantize(Decimal("0.01")), contract.currency or "EUR"), known=False)


def price_text(price: Price) -> str:
    """`10 % of the monthly charge`, `1 day of the monthly charge`, `25.00 EUR`."""
    if price.kind == "amount" and price.money is not None:
        return str(price.money)
    if price.kind == "percent":
        return f"{percent(price.value)} of the monthly charge"
    if price.kind == "fraction":
        return f"{price.value} of the monthly charge"
    unit = "day" if price.kind == "mrc_days" else "hour"
    return f"{decimal(price.value)} {unit}{'' if price.value == 1 else 's'} of the monthly charge"


def worth(price: Price, charge: Charge, basis: DayBasis) -> Fraction:
    """The price in money, exact; a day by the basis, in a month of 30 days where that matters."""
    whole = Fraction(charge.money.amount)
    day_share = DAYS[basis][0]
    match price.kind:
        case "amount":
            return Fraction(price.money.amount) if price.money is not None else Fraction(0)
        case "mrc_days":
            return price.value * day_share * whole
        case "mrc_hours":
            return price.value * day_share / 24 * whole
        case _:
            return price.value * whole


def money(contract: Contract, charge: Charge, exact: Fraction) -> str:
    return str(contract.rounding.money(exact, charge.money.currency))


def _factor(price: Price, basis: DayBasis) -> str:
    """The price as the left side of a calculation: `10 % of`, `1/30 of`."""
    if price.kind == "percent":
        return percent(price.value)
    if price.kind == "fraction":
        return str(price.value)
    share = DAYS[basis][0] * price.value
    return str(share if price.kind == "mrc_days" else share / 24)


def working(contract: Contract, charge: Charge, price: Price, basis: DayBasis, times: int = 1) -> str:
    """`10 % of 480.00 EUR = 48.00 EUR`, `2 x 1/720 of 480.00 EUR = 1.33 EUR`."""
    total = times * worth(price, charge, basis)
    many = f"{times} x " if times != 1 else ""
    if price.kind == "amount":
        return f"{many}{price.money} = {money(contract, charge, total)}" if times != 1 else str(price.money)
    return f"{many}{_factor(price, basis)} of {charge.money} = {money(contract, charge, total)}"


def band_text(band: Band, unit: Unit) -> str:
    """`99.5 % or more, below 99.95 %`, with the edges as they are written."""
    low = None if band.low is None else value(unit, band.low)
    high = None if band.high is None else value(unit, band.high)
    if band.upper_inclusive:
        words = (f"more than {low}" if low else "", f"up to {high}" if high else "")
    else:
        words = (f"{low} or more" if low else "", f"below {high}" if high else "")
    return ", ".join(word for word in words if word) or "any value"


def within(band: Band, unit: Unit, other: Band | None) -> Fraction:
    """A round value well inside the band, for an example. other: a neighbour, whose width an open side takes."""
    scale = {Unit.RATIO: Fraction(1, 100), Unit.DELAY: Fraction(10**6), Unit.RATE: Fraction(10**6)}.get(
        unit, Fraction(1)
    )
    if unit is Unit.DURATION:
        scale = Fraction(60 * 10**9)
    low, high = band.low, band.high
    width = None
    if other is not None and other.low is not None and other.high is not None:
        width = other.high - other.low
    if low is None and high is None:
        return scale
    if low is None:
        low = max(Fraction(0), high - (width or high)) if high is not None else Fraction(0)
    if high is None:
        high = low + (width or low or scale)
    return _roundest(low / scale, high / scale) * scale


def _roundest(low: Fraction, high: Fraction) -> Fraction:
    """The number with the fewest decimals strictly between, nearest to the middle."""
    middle = (low + high) / 2
    for digits in range(12):
        step = Fraction(1, 10**digits)
        near = (middle / step + Fraction(1, 2)).__floor__() * step
        if low < near < high:
            return near
    return middle
