"""The ledger of claims: filed, accepted, rejected, filed again; nothing out of order."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from agent import claim_files
from agent.claim_files import ClaimError, ClaimName
from agent.sla.credit.claims import Filing
from agent.sla.terms.contract import Window
from agent.sla.terms.money import Money, parse
from agent.sla.time import calendar
from tests.fakes.contracts import contract

NAME = ClaimName("gold", "C-1", "availability-credit", "2026-10")
DAY = date(2026, 11, 3)


def test_a_claim_is_filed_then_answered(tmp_path: Path) -> None:
    claim_files.file(tmp_path, NAME, DAY, "CLM-1", "by mail", at_ns=1, by="me")
    assert claim_files.load(tmp_path) == {NAME: Filing("filed", DAY, "CLM-1", "by mail")}
    granted = Money(Decimal("48.00"), "EUR")
    claim_files.answer(tmp_path, NAME, "accepted", granted, "", at_ns=2, by="me")
    assert claim_files.load(tmp_path) == {NAME: Filing("accepted", DAY, "CLM-1", "by mail", granted)}
    assert claim_files.of_contract(claim_files.load(tmp_path), "gold") == {
        "C-1/availability-credit/2026-10": Filing("accepted", DAY, "CLM-1", "by mail", granted)
    }
    assert claim_files.of_contract(claim_files.load(tmp_path), "silver") == {}


def test_a_rejected_claim_may_be_filed_again(tmp_path: Path) -> None:
    claim_files.file(tmp_path, NAME, DAY, "", "", at_ns=1, by="me")
    claim_files.answer(tmp_path, NAME, "rejected", None, "too late", at_ns=2, by="me")
    claim_files.file(tmp_path, NAME, date(2026, 11, 5), "", "", at_ns=3, by="me")
    assert claim_files.load(tmp_path)[NAME] == Filing("filed", date(2026, 11, 5))


def test_nothing_out_of_order(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="never filed"):
        claim_files.answer(tmp_path, NAME, "accepted", None, "", at_ns=1, by="me")
    claim_files.file(tmp_path, NAME, DAY, "", "", at_ns=1, by="me")
    with pytest.raises(ClaimError, match="filed already, on 2026-11-03"):
        claim_files.file(tmp_path, NAME, DAY, "", "", at_ns=2, by="me")
    claim_files.answer(tmp_path, NAME, "accepted", None, "", at_ns=3, by="me")
    with pytest.raises(ClaimError, match="accepted already"):
        claim_files.answer(tmp_path, NAME, "rejected", None, "", at_ns=4, by="me")
    assert claim_files.load(tmp_path)[NAME].state == "accepted"


def test_claims_for_one_outage_stand_apart(tmp_path: Path) -> None:
    one = ClaimName("gold", "C-1", "each-outage", "2026-10", "I-1")
    claim_files.file(tmp_path, one, DAY, "", "", at_ns=1, by="me")
    claim_files.file(tmp_path, NAME, DAY, "", "", at_ns=2, by="me")
    assert [name.key for name in claim_files.load(tmp_path)] == [
        "C-1/each-outage/2026-10/I-1",
        "C-1/availability-credit/2026-10",
    ]


def test_what_was_granted_earlier_in_the_year(tmp_path: Path) -> None:
    signed = replace(contract(zone="Europe/Berlin", service_start=date(2026, 3, 1)), id="gold")
    for number, (period, amount) in enumerate(
        [
            ("2026-02", "1.00 EUR"),  # in the contract year before
            ("2026-03", "2.00 EUR"),
            ("2026-09", "4.00 EUR"),
            ("month from 2026-04-15", "8.00 EUR"),
            ("2026-10", "16.00 EUR"),  # the period itself
            ("odd", "32.00 EUR"),
        ]
    ):
        name = replace(NAME, period=period)
        claim_files.file(tmp_path, name, DAY, "", "", at_ns=number, by="me")
        claim_files.answer(tmp_path, name, "accepted", parse(amount), "", at_ns=number, by="me")
    filings = claim_files.load(tmp_path)
    october = calendar.parse("2026-10", "Europe/Berlin")
    found = claim_files.granted_before(filings, signed, "C-1", october)
    this_year = calendar.resolve(signed, Window("contract_year"), october.start_ns).start_ns
    assert [str(item.amount) for item in found if item.year_ns == this_year] == ["2.00 EUR", "4.00 EUR", "8.00 EUR"]
    assert [str(item.amount) for item in found if item.year_ns != this_year] == ["1.00 EUR"]
    assert {item.terms for item in found} == {"availability-credit"}
    assert claim_files.granted_before(filings, signed, "C-2", october) == ()
