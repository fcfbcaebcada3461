"""Money: exact decimal amounts with their currency. Never a float. Pure."""

from __future__ import annotations

import decimal
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from probes.core.errors import ValueFormatError

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

    @property
    def exact(self) -> Fraction:
        return Fraction(self.amount)


_WRITTEN: Final = re.compile(r"(\d{1,3}(?: \d{3})+|\d{1,15})(\.\d{1,9})? ?([A-Z]{3})")
_MOST_PLACES: Final = 6


def parse(text: str) -> Money:
    """`480.00 EUR` or `1 200 EUR`: amount, then the ISO 4217 currency. Raises ValueFormatError."""
    written = _WRITTEN.fullmatch(text.strip())
    if written is None:
        raise ValueFormatError(f"{text!r} is not a sum of money", hint="write it like 480.00 EUR")
    return Money(Decimal(written[1].replace(" ", "") + (written[2] or "")), written[3])


def told(exact: Fraction, currency: str, places: int = 2) -> str:
    """An exact amount for a calculation: all its digits, at least `places`, or six of them and an ellipsis."""
    shown = max(_places(exact), places)
    cut = shown > _MOST_PLACES
    digits = max(_MOST_PLACES, places) if cut else shown
    amount = Rounding(digits, "down").money(exact, currency)
    return f"{amount.amount:,f}{'…' if cut else ''} {currency}".replace(",", " ")


def _places(exact: Fraction) -> int:
    """Decimal places the number needs; more than are shown where it never ends."""
    return next((n for n in range(_MOST_PLACES + 1) if 10**n % exact.denominator == 0), _MOST_PLACES + 1)


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

    @property
    def text(self) -> str:
        """`rounded half up to 2 places`."""
        places = f"{self.places} place" + ("" if self.places == 1 else "s")
        return f"rounded {self.mode.replace('_', ' ')} to {places}"
