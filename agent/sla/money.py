"""Money: exact decimal amounts with their currency. Never a float. Pure."""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

RoundingMode = Literal["half_up", "half_even", "down", "up"]

MODES: Final = {
    "half_up": decimal.ROUND_HALF_UP,
    "half_even": decimal.ROUND_HALF_EVEN,
    "down": decimal.ROUND_DOWN,
    "up": decimal.ROUND_UP,
}


@dataclass(frozen=True, slots=True)
class Money:
    """amount in units of the ISO 4217 currency, exact."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount:,f} {self.currency}".replace(",", " ")


@dataclass(frozen=True, slots=True)
class Rounding:
    """How an exact amount becomes one that can be paid: once a line of the credit note, after its caps."""

    places: int = 2
    mode: RoundingMode = "half_up"

    def money(self, exact: Fraction, currency: str) -> Money:
        """The exact amount, rounded."""
        whole = abs(exact) * 10**self.places
        digits = Decimal(whole.numerator // whole.denominator)
        rest = whole - whole.numerator // whole.denominator
        if rest:  # one digit tells below, at and above the half
            digits += Decimal("0.5") if rest == Fraction(1, 2) else Decimal("0.25" if rest < Fraction(1, 2) else "0.75")
        rounded = digits.to_integral_value(MODES[self.mode]).scaleb(-self.places)
        return Money(-rounded if exact < 0 else rounded, currency)
