"""Prices of credits in words, the month that examples are worked in, and round values for them. Pure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from agent.sla.credit.prices import Tariff, UnpayableError, charge_of, month_of, tariff
from agent.sla.terms.contract import Contract, Unit
from agent.sla.terms.money import Money
from agent.sla.terms.remedies import Band, DayBasis, Price
from agent.sla.time.calendar import WindowInstants, day_start
from agent.sla.time.zones import zone
from agent.sla.words.clauses import decimal, first_day, percent, value
from probes.core.model import Circuit

DAYS: Final[dict[DayBasis, str]] = {
    "30": "1/30 of the monthly charge",
    "days_in_month": "the monthly charge divided by the days of the month",
    "365": "12/365 of the monthly charge",
}
_SCALES: Final = {
    Unit.RATIO: Fraction(1, 100),
    Unit.DELAY: Fraction(10**6),
    Unit.RATE: Fraction(10**6),
    Unit.DURATION: Fraction(60 * 10**9),
}
_SAMPLE_CHARGE: Final = Decimal("1000.00")
_TRIED: Final = 15
_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Example:
    """What examples are worked with: a whole month of 30 days and its tariff. known: the charge is the real one."""

    contract: Contract
    tariff: Tariff
    known: bool

    @property
    def month(self) -> WindowInstants:
        return self.tariff.month

    def worth(self, price: Price, basis: DayBasis) -> Fraction:
        """Exact."""
        return self.tariff.worth(price, basis)

    def paid(self, exact: Fraction) -> str:
        """Rounded as the contract rounds a line."""
        return str(self.contract.rounding.money(exact, self.tariff.currency))

    def working(self, price: Price, basis: DayBasis) -> str:
        """`10 % of 480.00 EUR = 48.00 EUR`."""
        left = self.tariff.text(price, basis)
        return left if price.kind == "amount" else f"{left} = {self.paid(self.worth(price, basis))}"


def example(contract: Contract, circuit: Circuit | None) -> Example:
    """With the circuit's charge, else that of the service, else a round sum."""
    charge = None
    with suppress(UnpayableError):  # another currency, or not written as a sum: a round one serves the example
        charge = charge_of(contract, circuit or Circuit("", ""))
    shown = charge or Money(_SAMPLE_CHARGE, contract.currency or "EUR")
    return Example(contract, _usual_month(contract, shown), charge is not None)


def _usual_month(contract: Contract, charge: Money) -> Tariff:
    """The first whole month of 30 days that the contract is valid for, or what comes nearest to it."""
    info = zone(contract.time_zone).info
    day, found = first_day(contract), []
    for _ in range(_TRIED):
        costs = tariff(contract, charge, month_of(contract, day_start(day, info)))
        if costs.part == 1:
            found.append(costs)
            if costs.days == _DAYS:
                return costs
        day += timedelta(days=28)
    return found[0] if found else tariff(contract, charge, month_of(contract, day_start(day, info)))


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


def band_text(band: Band, unit: Unit, kept: Fraction | None = None) -> str:
    """`99.5 % or more, below 99.95 %`, with the edges as they are written. kept: the target, which earns nothing."""
    low = None if band.low is None else value(unit, band.low)
    high = None if band.high is None else value(unit, band.high)
    above = band.upper_inclusive or (band.low is not None and band.low == kept)
    words = (
        (f"more than {low}" if above else f"{low} or more") if low else "",
        (f"up to {high}" if band.upper_inclusive else f"below {high}") if high else "",
    )
    return ", ".join(word for word in words if word) or "any value"


def within(band: Band, unit: Unit, other: Band | None) -> Fraction:
    """A round value well inside the band, for an example. other: a neighbour, whose width an open side takes."""
    scale = _SCALES.get(unit, Fraction(1))
    low, high = band.low, band.high
    width = None
    if other is not None and other.low is not None and other.high is not None:
        width = other.high - other.low
    if low is None and high is None:
        return scale
    if low is None:
        low = max(Fraction(0), high - (width or _beside(high, unit))) if high is not None else Fraction(0)
    if high is None:
        high = low + (width or low or scale)
    return _roundest(low / scale, high / scale) * scale


def _beside(edge: Fraction, unit: Unit) -> Fraction:
    """How far an open side goes for an example: near the target where that is close to all of it."""
    if unit is Unit.RATIO and edge > Fraction(1, 2):
        return 2 * (1 - edge) or Fraction(1, 100)
    return edge


def _roundest(low: Fraction, high: Fraction) -> Fraction:
    """The number with the fewest decimals strictly between, nearest to the middle."""
    middle = (low + high) / 2
    for digits in range(12):
        step = Fraction(1, 10**digits)
        near = (middle / step + Fraction(1, 2)).__floor__() * step
        if low < near < high:
            return near
    return middle
