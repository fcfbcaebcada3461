"""Prices of a contract as exact money: parts of the monthly charge, days and hours of it, sums. Pure.

Per cent are of the charge of the month, which is smaller where the contract was valid for a part of it only. Days,
hours and fractions are prices of time: they are of the full charge.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from agent.sla.terms.contract import Contract, Window
from agent.sla.terms.money import Money, parse, told
from agent.sla.terms.remedies import DayBasis, Price
from agent.sla.time.calendar import WindowInstants, month_unit, resolve, window_at, within_validity
from agent.sla.time.wall_clock import DAY_NS, local_date
from probes.core.errors import LocalError, ValueFormatError
from probes.core.model import Circuit

_HOURS: Final = 24
_MOST_PLACES: Final = 6


class UnpayableError(LocalError):
    """The credits of a contract cannot be worked out."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a month costs. full: the monthly charge; None where every price is a sum of money. days: of the month.

    valid, of: days in which the contract was valid, of how many.
    """

    month: WindowInstants
    full: Money | None
    currency: str
    places: int
    days: Fraction
    valid: Fraction
    of: Fraction

    @property
    def part(self) -> Fraction:
        return self.valid / self.of

    def worth(self, price: Price, basis: DayBasis = "30", *, pro_rata: bool = True) -> Fraction:
        """The price, exact. Raises UnpayableError."""
        return self._share(price, basis) * (self.part if pro_rata and price.kind == "percent" else 1)

    def _share(self, price: Price, basis: DayBasis) -> Fraction:
        if price.kind == "amount":
            if price.money is None:
                raise UnpayableError(f"the price {price.text!r} has no amount")
            return price.money.exact
        full = self._charge().exact
        if price.kind in ("percent", "fraction"):
            return price.value * full
        day = {"30": Fraction(1, 30), "days_in_month": 1 / self.days, "365": Fraction(12, 365)}[basis] * full
        return price.value * (day if price.kind == "mrc_days" else day / _HOURS)

    def charge(self, *, pro_rata: bool = True) -> Fraction:
        """Of the month, exact. Raises UnpayableError."""
        return self._charge().exact * (self.part if pro_rata else 1)

    def _charge(self) -> Money:
        if self.full is None:
            raise UnpayableError(
                "no monthly charge is known, neither of the circuit nor of the contract",
                hint="write monthly_charge at the circuit or under service in the contract",
            )
        return self.full

    def text(self, price: Price, basis: DayBasis = "30", *, pro_rata: bool = True) -> str:
        """The left side of the calculation: `10 % of 480.00 EUR`, `480.00 EUR / 30`."""
        if price.kind == "amount":
            return str(price.money)
        if price.kind == "percent":
            return f"{plain(price.value * 100)} % of {self.money(self.charge(pro_rata=pro_rata))}"
        if price.kind == "fraction":
            return f"{price.value} of {self.full}"
        divided = {"30": "/ 30", "days_in_month": f"/ {plain(self.days)}", "365": "x 12 / 365"}[basis]
        times = "" if price.value == 1 else f"{plain(price.value)} x "
        return f"{times}{self.full} {divided}" + (f" / {_HOURS}" if price.kind == "mrc_hours" else "")

    def money(self, exact: Fraction) -> str:
        """`48.00 EUR`; an amount that never ends with an ellipsis."""
        return told(exact, self.currency, self.places)

    def told(self) -> str:
        """`valid for 17 of 31 days: 17/31 of 480.00 EUR = 263.225806… EUR`; empty for a whole month."""
        if self.part == 1 or self.full is None:
            return ""
        valid, of = plain(self.valid), plain(self.of)
        return (
            f"the contract was valid for {valid} of the {of} days of {self.month.label}: {valid}/{of} of {self.full} = "
            f"{self.money(self.charge())}"
        )


def plain(value: Fraction, most: int = _MOST_PLACES) -> str:
    """A number as people write it: all its decimals, or so many and an ellipsis."""
    for places in range(most + 1):
        if 10**places % value.denominator == 0:
            return f"{Decimal(int(value * 10**places)).scaleb(-places):f}"
    return f"{Decimal(int(value * 10**most)).scaleb(-most):f}…"


def charge_of(contract: Contract, circuit: Circuit) -> Money | None:
    """The circuit's own charge, else that of the service. Raises UnpayableError for another currency."""
    charge = contract.service.monthly_charge
    if circuit.monthly_charge is not None:
        try:
            charge = parse(circuit.monthly_charge)
        except ValueFormatError as problem:
            raise UnpayableError(f"monthly charge of {circuit.id}: {problem.message}", hint=problem.hint) from None
    if charge is not None and contract.currency and charge.currency != contract.currency:
        raise UnpayableError(
            f"the monthly charge is in {charge.currency}, the contract pays in {contract.currency}",
            hint="write both in the same currency",
        )
    return charge


def month_of(contract: Contract, instant_ns: int) -> WindowInstants:
    """The month of this contract that holds the instant."""
    return resolve(contract, month_unit(contract), instant_ns)


def year_of(contract: Contract, instant_ns: int) -> WindowInstants:
    """The year that caps are per: the contract year, or the calendar year of a contract without a beginning."""
    if contract.service_start is None and contract.valid_from is None:
        return window_at(Window("year"), contract.time_zone, instant_ns)
    return resolve(contract, Window("contract_year"), instant_ns)


def tariff(contract: Contract, charge: Money | None, month: WindowInstants) -> Tariff:
    """What the month costs, with the part of it in which the contract was valid and the service delivered."""
    first, last = local_date(month.start_ns, month.zone), local_date(month.end_ns - 1, month.zone)
    days = Fraction((last - first).days + 1) if month.unit else Fraction(month.length_ns, DAY_NS)
    begin = max(first, contract.valid_from or first, contract.service_start or first)
    end = min(last, contract.valid_to or last)
    valid = days if (begin, end) == (first, last) else Fraction(max(0, (end - begin) // timedelta(days=1) + 1))
    currency = contract.currency or (charge.currency if charge else "")
    return Tariff(month, charge, currency, contract.rounding.places, days, min(valid, days), days)


def in_service(contract: Contract, window: WindowInstants) -> WindowInstants | None:
    """The part of the window in which the contract was valid and the service delivered; None where there is none."""
    return within_validity(contract, window)
