"""Money: exact sums against the decimal module, rounding of every mode, prices of every kind."""

from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sla.credit import prices
from agent.sla.credit.prices import Tariff, UnpayableError
from agent.sla.terms.contract import Contract, Window
from agent.sla.terms.money import MODES, Money, Rounding, parse, told
from agent.sla.terms.remedies import Price
from agent.sla.time import calendar
from probes.core.errors import ValueFormatError
from tests.fakes.contracts import CIRCUIT, contract

OCTOBER = calendar.parse("2026-10", "UTC")


def costs(signed: Contract | None = None, charge: str | None = "480.00 EUR", month: str = "2026-10") -> Tariff:
    full = parse(charge) if charge else None
    return prices.tariff(signed or contract(currency="EUR"), full, calendar.parse(month, "UTC"))


@given(st.fractions(-(10**9), 10**9, max_denominator=10**6), st.integers(0, 6), st.sampled_from(list(MODES)))
def test_rounding_equals_that_of_decimals(exact: Fraction, places: int, mode: str) -> None:
    with localcontext(prec=60):
        quotient = Decimal(exact.numerator) / Decimal(exact.denominator)
        expected = quotient.quantize(Decimal(1).scaleb(-places), MODES[mode])
    assert Rounding(places, mode).money(exact, "EUR").amount == expected  # type: ignore[arg-type]


@given(st.integers(0, 10**12), st.integers(0, 6), st.sampled_from(list(MODES)))
def test_halves_are_halves(whole: int, places: int, mode: str) -> None:
    """The hard case of every mode: exactly between two amounts."""
    exact = Fraction(2 * whole + 1, 2 * 10**places)
    got = Fraction(Rounding(places, mode).money(exact, "EUR").amount) * 10**places  # type: ignore[arg-type]
    up = {"half_up": True, "up": True, "down": False, "half_even": whole % 2 == 1}[mode]
    assert got == whole + up


@given(st.decimals(0, 10**9, places=2))
def test_what_is_written_is_read_back(amount: Decimal) -> None:
    money = Money(amount, "EUR")
    assert parse(str(money)) == money
    assert money.exact == Fraction(amount)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("480.00 EUR", Money(Decimal("480.00"), "EUR")),
        ("1 200 EUR", Money(Decimal(1200), "EUR")),
        ("90000JPY", Money(Decimal(90000), "JPY")),
        (" 0.5 USD ", Money(Decimal("0.5"), "USD")),
    ],
)
def test_sums_of_money(text: str, expected: Money) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "EUR", "480", "480,00 EUR", "-1 EUR", "1e3 EUR", "480.00 eur", "48 00 EUR", "£5"])
def test_what_is_no_sum_of_money(text: str) -> None:
    with pytest.raises(ValueFormatError, match="sum of money"):
        parse(text)


@pytest.mark.parametrize(
    ("exact", "expected"),
    [
        (Fraction(48), "48.00 EUR"),
        (Fraction(1, 8), "0.125 EUR"),
        (Fraction(480, 31), "15.483870… EUR"),
        (Fraction(2, 3), "0.666666… EUR"),
        (Fraction(12345678), "12 345 678.00 EUR"),
    ],
)
def test_amounts_in_a_calculation(exact: Fraction, expected: str) -> None:
    assert told(exact, "EUR") == expected


@pytest.mark.parametrize(
    ("price", "basis", "worth", "text"),
    [
        (Price("percent", Fraction(1, 10)), "30", Fraction(48), "10 % of 480.00 EUR"),
        (Price("mrc_days", Fraction(1)), "30", Fraction(16), "480.00 EUR / 30"),
        (Price("mrc_days", Fraction(1)), "days_in_month", Fraction(480, 31), "480.00 EUR / 31"),
        (Price("mrc_days", Fraction(3)), "365", Fraction(480 * 12 * 3, 365), "3 x 480.00 EUR x 12 / 365"),
        (Price("mrc_hours", Fraction(1)), "30", Fraction(480, 720), "480.00 EUR / 30 / 24"),
        (Price("fraction", Fraction(1, 720)), "30", Fraction(480, 720), "1/720 of 480.00 EUR"),
        (Price("amount", Fraction(0), Money(Decimal("25.00"), "EUR")), "30", Fraction(25), "25.00 EUR"),
    ],
)
def test_prices(price: Price, basis: prices.DayBasis, worth: Fraction, text: str) -> None:
    assert costs().worth(price, basis) == worth
    assert costs().text(price, basis) == text


def test_a_part_of_a_month() -> None:
    signed = contract(currency="EUR", valid_from=date(2026, 10, 3), service_start=date(2026, 10, 15))
    tariff = costs(signed)
    assert tariff.part == Fraction(17, 31)
    assert tariff.told().startswith("the contract was valid for 17 of the 31 days of 2026-10")
    assert tariff.worth(Price("percent", Fraction(1))) == Fraction(480 * 17, 31)
    assert tariff.worth(Price("percent", Fraction(1)), pro_rata=False) == 480
    assert tariff.worth(Price("mrc_days", Fraction(1))) == 16
    assert costs(contract(valid_to=date(2026, 9, 30))).part == 0
    assert costs(contract(valid_to=date(2026, 10, 31))).part == 1


def test_a_billing_month_has_its_own_days() -> None:
    window = calendar.window_at(Window("billing_month", billing_day=15), "UTC", OCTOBER.end_ns)
    tariff = prices.tariff(contract(valid_from=date(2026, 10, 20)), parse("31.00 EUR"), window)
    # 15 October to 14 November: 31 days; from the 20th on 26 of them.
    assert (tariff.days, tariff.part) == (31, Fraction(26, 31))


def test_a_charge_that_is_not_known() -> None:
    with pytest.raises(UnpayableError, match="no monthly charge"):
        costs(charge=None).worth(Price("percent", Fraction(1)))
    assert costs(charge=None).worth(Price("amount", Fraction(0), Money(Decimal(5), "EUR"))) == 5
    with pytest.raises(UnpayableError, match="in USD, the contract pays in EUR"):
        prices.charge_of(contract(currency="EUR"), _circuit("5.00 USD"))
    with pytest.raises(UnpayableError, match="monthly charge of c1"):
        prices.charge_of(contract(), _circuit("a lot"))
    assert prices.charge_of(contract(), CIRCUIT) is None


def _circuit(charge: str) -> prices.Circuit:
    from dataclasses import replace

    return replace(CIRCUIT, monthly_charge=charge)
