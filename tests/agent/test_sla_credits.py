"""Credits: against a second way of working them out on random contracts, and what must hold of any settlement."""

import random
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.credit import credit_caps, credit_values, credits
from agent.sla.credit.prices import month_of, year_of
from agent.sla.terms.remedies import CreditBasis
from agent.sla.terms.settlement import Paid, Settlement
from agent.sla.verdict import VerdictState
from tests.fakes.credit_note import OBJECTIVES, Row, Sheet, a_sheet, note, verdict
from tests.faults.counts import count


def settled(sheet: Sheet) -> Settlement:
    year = year_of(sheet.contract, month_of(sheet.contract, sheet.period.start_ns).end_ns - 1)
    return credits.settle(
        sheet.contract, sheet.circuit, sheet.period, sheet.verdicts, sheet.incidents,
        as_of_ns=sheet.as_of_ns, paid=(Paid(sheet.paid, "", year.start_ns),),
    )  # fmt: skip


def rows(settlement: Settlement) -> list[Row]:
    """What is paid, without the lines that pay nothing."""
    found = [(line.terms.id, line.subject, Fraction(line.amount.amount)) for line in settlement.lines]
    return sorted(row for row in found if row[2])


def difference(tries: int) -> str:
    """The first random contract on which the two ways differ, or nothing."""
    for number in range(tries):
        sheet = a_sheet(random.Random(f"credits/{number}"))
        expected = sorted(row for row in note(sheet) if row[2])
        settlement = settled(sheet)
        assert not settlement.obstacle, settlement.obstacle
        if rows(settlement) != expected:
            lines = "\n".join("; ".join(line.steps) for line in settlement.lines)
            return f"{number}: {rows(settlement)} instead of {expected}\n{sheet.contract.credits}\n{lines}"
    return ""


@pytest.mark.timeout(3600)
def test_credits_equal_a_second_way_of_working_them_out() -> None:
    assert not difference(count("CREDITS", 250, 20_000))


BUGS = {
    "a full unit taken for a started one": ("unit.started", "not unit.started"),
    "the deductible forgotten": ("max(_NOTHING, value - unit.deductible)", "value"),
    "the excess taken from the wrong side": ("target - value if low_is_bad else value - target", "value - target"),
}


@pytest.mark.parametrize("bug", BUGS, ids=list(BUGS))
def test_the_second_way_catches(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module with the bug in its text, run in the place of the right one."""
    import inspect
    import types

    right, wrong = BUGS[bug]
    text = inspect.getsource(credit_values)
    assert right in text
    broken = types.ModuleType(credit_values.__name__)
    monkeypatch.setitem(__import__("sys").modules, credit_values.__name__, broken)
    exec(compile(text.replace(right, wrong), "broken", "exec"), broken.__dict__)
    from agent.sla.credit import credit_lines

    for name in ("by_units", "by_value", "by_band", "by_proportion"):
        monkeypatch.setattr(credit_lines, name, getattr(broken, name))
    assert difference(250)


def test_the_second_way_catches_a_cap_that_is_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credit_caps._Pool, "room", property(lambda self: self.limit * 1000))
    assert difference(250)


def test_the_second_way_catches_rounding_that_is_always_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credit_caps.Rounding, "money", lambda self, exact, currency: credit_caps.Money(
        Decimal(-(-exact * 10**self.places // 1)).scaleb(-self.places), currency))  # fmt: skip
    assert difference(250)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_no_cap_is_exceeded_and_no_total_is_negative(seed: int) -> None:
    sheet = a_sheet(random.Random(seed))
    settlement = settled(sheet)
    assert settlement.total is not None
    assert settlement.total.amount == sum(line.amount.amount for line in settlement.lines)
    assert all(line.amount.amount >= 0 for line in settlement.lines)
    for terms in sheet.contract.credits:
        for cap in terms.caps:
            if cap.per == "month" and cap.price.kind == "amount" and cap.price.money is not None:
                paid: dict[str, Decimal] = {}
                for line in settlement.lines:
                    if line.terms == terms:
                        month = str(line.window.first)
                        paid[month] = paid.get(month, Decimal(0)) + line.amount.amount
                assert all(total <= cap.price.money.amount for total in paid.values())
    for cap in sheet.contract.credit_caps:
        if cap.per == "year" and cap.price.kind == "amount" and cap.price.money is not None:
            assert settlement.total.amount + sheet.paid.amount <= max(cap.price.money.amount, sheet.paid.amount)
    for line in settlement.lines:  # every line tells how it came about, and a smaller one why
        assert line.steps
        exact = Fraction(line.amount.amount)
        unit = Fraction(1, 10**sheet.contract.rounding.places)
        assert line.limited_by or abs(exact - line.exact) <= unit or "rounded down" in line.steps[-1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_the_order_of_verdicts_and_incidents_changes_nothing(seed: int, dice: random.Random) -> None:
    sheet = a_sheet(random.Random(seed))
    verdicts, incidents = list(sheet.verdicts), list(sheet.incidents)
    dice.shuffle(verdicts)
    dice.shuffle(incidents)
    mixed = settled(replace(sheet, verdicts=tuple(verdicts), incidents=tuple(incidents)))
    assert mixed.lines == settled(sheet).lines
    assert mixed.total == settled(sheet).total


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 998), st.integers(0, 998))
def test_a_worse_value_never_pays_less(seed: int, one: int, other: int) -> None:
    """Of one term whose bands pay the more the worse the value is."""
    sheet = a_sheet(random.Random(seed))
    terms = next((item for item in sheet.contract.credits if item.objective == "availability"), None)
    if terms is None:
        return
    if terms.bands:
        falling = terms.basis is CreditBasis.BAND
        worths = sorted((price.value for band in terms.bands if (price := band.price)), reverse=falling)
        bands = tuple(
            replace(band, price=replace(band.price, kind="percent", value=worth, money=None))
            for band, worth in zip(terms.bands, worths, strict=True)
        )
        terms = replace(terms, bands=bands)
    contract = replace(sheet.contract, credits=(terms,))
    month = sheet.verdicts[0].window

    def total(thousandths: int) -> Decimal:
        value = verdict(OBJECTIVES[0], month, Fraction(thousandths, 1000), VerdictState.BREACHED)
        found = settled(replace(sheet, contract=contract, verdicts=(value,), incidents=())).total
        assert found is not None
        return found.amount

    worse, better = sorted((one, other))
    assert total(worse) >= total(better)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_more_time_down_never_pays_less(seed: int) -> None:
    """Outages that last longer: of one term by units or in proportion."""
    dice = random.Random(seed)
    sheet = a_sheet(dice)
    terms = next((item for item in sheet.contract.credits if item.objective is None and not item.bands), None)
    if terms is None or not sheet.incidents:
        return
    contract = replace(sheet.contract, credits=(replace(terms, caps=tuple(
        cap for cap in terms.caps if cap.per == "month")),))  # fmt: skip
    longest = sheet.incidents[0]
    more = replace(longest, counted=longest.down)
    before = settled(replace(sheet, contract=contract))
    after = settled(replace(sheet, contract=contract, incidents=(more, *sheet.incidents[1:])))
    assert before.total is not None
    assert after.total is not None
    assert after.total.amount >= before.total.amount
