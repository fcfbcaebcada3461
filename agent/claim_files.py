"""Claims for credits as they were made and answered: an append-only ledger beside the contracts.

A claim is named by contract, circuit, credit term and period as the settlement shows them, and by the outage where a
line is about a single one. It is filed, then accepted or rejected; a rejected one can be filed again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from agent import ledger
from agent.sla.credit.claims import Filing, FilingState, key
from agent.sla.credit.prices import month_of, year_of
from agent.sla.terms.contract import Contract
from agent.sla.terms.money import Money, parse
from agent.sla.terms.settlement import Paid
from agent.sla.time import calendar
from agent.sla.time.calendar import WindowInstants
from probes.core.errors import LocalError, ValueFormatError

FILE: Final = "claims.jsonl"
_DATED: Final = re.compile(r" from (\d{4}-\d{2}-\d{2})")
"""In the name of a window that is no plain calendar unit: `month from 2026-10-15`."""


class ClaimError(LocalError):
    """A claim that cannot be entered as it stands."""


@dataclass(frozen=True, slots=True)
class ClaimName:
    """Which claim. subject: an outage's id, empty for all lines of the term in the period."""

    contract: str
    circuit: str
    terms: str
    period: str
    subject: str = ""

    @property
    def key(self) -> str:
        return key(self.circuit, self.terms, self.period, self.subject)

    def __str__(self) -> str:
        return f"{self.contract}: {self.key}"


def load(contracts: Path, *, as_of_ns: int | None = None) -> dict[ClaimName, Filing]:
    """Every claim as it stood at as_of_ns, in the order they were first filed. Raises LedgerError."""
    entries = ledger.read(contracts / FILE)
    return _standing([entry for entry in entries if as_of_ns is None or entry.at_ns <= as_of_ns])


def of_contract(filings: Mapping[ClaimName, Filing], contract: str) -> dict[str, Filing]:
    """Those of one contract, by claims.key(): what a settlement takes."""
    return {name.key: filing for name, filing in filings.items() if name.contract == contract}


def file(contracts: Path, name: ClaimName, on: date, reference: str, note: str, *, at_ns: int, by: str) -> None:
    """The claim was made. Raises ClaimError where it stands already, LedgerError."""

    def check(entries: Sequence[ledger.Entry]) -> None:
        before = _standing(entries).get(name)
        if before is not None and before.state != "rejected":
            raise ClaimError(
                f"{name} was {before.state} already, on {before.filed}", hint="see `linkwitness claim list`"
            )

    content = {"state": "filed", **_named(name), "on": on.isoformat(), "reference": reference, "note": note}
    ledger.append(contracts / FILE, content, at_ns=at_ns, by=by, check=check)


def answer(
    contracts: Path, name: ClaimName, state: FilingState, amount: Money | None, note: str, *, at_ns: int, by: str
) -> None:
    """The provider accepted or rejected the claim. Raises ClaimError where it was not filed, LedgerError."""

    def check(entries: Sequence[ledger.Entry]) -> None:
        before = _standing(entries).get(name)
        if before is None:
            raise ClaimError(f"{name} was never filed", hint="enter it first with `linkwitness claim file`")
        if before.state != "filed":
            raise ClaimError(f"{name} was {before.state} already", hint="file it again to reopen it")

    content = {"state": state, **_named(name), "note": note, "amount": str(amount) if amount else ""}
    ledger.append(contracts / FILE, content, at_ns=at_ns, by=by, check=check)


def granted_before(
    filings: Mapping[ClaimName, Filing], contract: Contract, circuit: str, period: WindowInstants
) -> tuple[Paid, ...]:
    """The sums granted for windows that ended before the period. A claim accepted as it was made names none."""
    found = []
    for name, filing in filings.items():
        ours = (name.contract, name.circuit, filing.state) == (contract.id, circuit, "accepted")
        end_ns = _end_of(contract, name.period) if ours and filing.amount is not None else 0
        if filing.amount is not None and 0 < end_ns <= period.start_ns:
            year = year_of(contract, month_of(contract, end_ns - 1).end_ns - 1)
            found.append(Paid(filing.amount, name.terms, year.start_ns))
    return tuple(found)


def _end_of(contract: Contract, period: str) -> int:
    """End of the window of this name; of a month that begins on some day, that of the contract's month."""
    dated = _DATED.search(period)
    try:
        window = calendar.parse(dated[1] if dated else period, contract.time_zone)
    except ValueFormatError:
        return 0
    if dated is None:
        return window.end_ns
    return (year_of if period.startswith("year") else month_of)(contract, window.start_ns).end_ns


def _named(name: ClaimName) -> dict[str, str]:
    return {
        "contract": name.contract,
        "circuit": name.circuit,
        "terms": name.terms,
        "period": name.period,
        "subject": name.subject,
    }


def _standing(entries: Sequence[ledger.Entry]) -> dict[ClaimName, Filing]:
    found: dict[ClaimName, Filing] = {}
    for entry in entries:
        value: dict[str, Any] = dict(entry.content)
        name = ClaimName(value["contract"], value["circuit"], value["terms"], value["period"], value.get("subject", ""))
        if value["state"] == "filed":
            found[name] = Filing(
                "filed", date.fromisoformat(value["on"]), value.get("reference", ""), value.get("note", "")
            )
        else:
            amount = parse(value["amount"]) if value.get("amount") else None
            note = value.get("note") or found[name].note
            found[name] = replace(found[name], state=value["state"], note=note, amount=amount)
    return found
