"""`linkwitness claim`: what was claimed from the provider, and what became of it."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.run import DEFAULT_CONFIG
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.claim_files import ClaimName
    from agent.sla.credit.claims import FilingState
    from agent.sla.terms.contract import Contract
    from agent.sla.terms.money import Money

app = typer.Typer(help="Claims for credits: made, accepted, rejected.", no_args_is_help=True)

ContractArgument = Annotated[str, typer.Argument(metavar="CONTRACT")]
CircuitArgument = Annotated[str, typer.Argument(metavar="CIRCUIT")]
TermsArgument = Annotated[str, typer.Argument(metavar="TERM", help="The credit term's id, as in the contract.")]
PeriodArgument = Annotated[str, typer.Argument(metavar="PERIOD", help="As the credit line names it: 2026-10.")]
SubjectOption = Annotated[str, typer.Option("--subject", help="The outage, where a line is about a single one.")]
ByOption = Annotated[str, typer.Option("--by", metavar="WHO", help="Who enters this.")]
NoteOption = Annotated[str, typer.Option("--note", help="For whoever reads it later.")]
ConfigOption = Annotated[
    Path, typer.Option("-c", "--config", help=f"Configuration file; names the contracts. Default: {DEFAULT_CONFIG}")
]


@app.command()
def file(
    contract: ContractArgument,
    circuit: CircuitArgument,
    terms: TermsArgument,
    period: PeriodArgument,
    by: ByOption,
    subject: SubjectOption = "",
    on: Annotated[str, typer.Option("--on", metavar="DATE", help="Day on which it was made; today.")] = "",
    reference: Annotated[str, typer.Option("--reference", help="Its number at the provider.")] = "",
    note: NoteOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """The claim was made."""
    from agent import claim_files
    from agent.sla.time.wall_clock import local_date
    from probes.core.clock import SystemClock

    contracts, name, signed = _claim(config, contract, circuit, terms, period, subject)
    now = SystemClock().wall()
    day = _date(on) if on else local_date(now, signed.time_zone)
    claim_files.file(contracts, name, day, reference, note, at_ns=now, by=by)
    print(f"filed on {day}: {name}")


@app.command()
def accept(
    contract: ContractArgument,
    circuit: CircuitArgument,
    terms: TermsArgument,
    period: PeriodArgument,
    by: ByOption,
    subject: SubjectOption = "",
    amount: Annotated[str, typer.Option("--amount", metavar="'48.00 EUR'", help="What was granted.")] = "",
    note: NoteOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """The provider granted it."""
    from agent.sla.terms.money import parse

    granted = parse(amount) if amount else None
    _answer(config, (contract, circuit, terms, period, subject), "accepted", granted, note, by)


@app.command()
def reject(
    contract: ContractArgument,
    circuit: CircuitArgument,
    terms: TermsArgument,
    period: PeriodArgument,
    by: ByOption,
    subject: SubjectOption = "",
    note: NoteOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """The provider turned it down."""
    _answer(config, (contract, circuit, terms, period, subject), "rejected", None, note, by)


@app.command("list")
def list_(
    contract: Annotated[str, typer.Option("--contract", help="Only of this contract.")] = "",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show every claim as it stands."""
    from agent import claim_files
    from agent.config import load

    found = claim_files.load(load(config).contracts)
    chosen = {name: filing for name, filing in found.items() if contract in ("", name.contract)}
    if json_output:
        values = [
            {
                "contract": name.contract,
                "circuit": name.circuit,
                "terms": name.terms,
                "period": name.period,
                "subject": name.subject,
                "state": filing.state,
                "filed": str(filing.filed),
                "reference": filing.reference,
                "note": filing.note,
                "amount": str(filing.amount) if filing.amount else None,
            }
            for name, filing in chosen.items()
        ]
        print(json.dumps(values, indent=2, ensure_ascii=False))
        return
    for name, filing in chosen.items():
        amount = f" {filing.amount}" if filing.amount else ""
        extra = "".join(f", {text}" for text in (filing.reference, filing.note) if text)
        print(f"{filing.state}{amount}  {name}, filed on {filing.filed}{extra}")
    print(f"{len(chosen)} claim{'' if len(chosen) == 1 else 's'}", file=sys.stderr)


def _answer(
    config: Path, names: tuple[str, str, str, str, str], state: FilingState, granted: Money | None, note: str, by: str
) -> None:
    from agent import claim_files
    from probes.core.clock import SystemClock

    contracts, name, _ = _claim(config, *names)
    claim_files.answer(contracts, name, state, granted, note, at_ns=SystemClock().wall(), by=by)
    print(f"{state}: {name}")


def _claim(
    config: Path, contract: str, circuit: str, terms: str, period: str, subject: str
) -> tuple[Path, ClaimName, Contract]:
    """Directory of the contracts, the claim's name, and its contract. Raises LocalError for what there is not."""
    from agent import contract_files
    from agent.claim_files import ClaimName
    from agent.config import load

    settings = load(config)
    contracts = contract_files.load(settings.contracts)
    signed = contracts.get(contract)
    if signed is None:
        raise LocalError(f"there is no contract {contract}", hint=f"known: {', '.join(sorted(contracts)) or 'none'}")
    circuits = [item.id for item in settings.circuits if item.contract == contract]
    if circuit not in circuits:
        text = f"no circuit {circuit} has the contract {contract}"
        raise LocalError(text, hint=f"known: {', '.join(circuits) or 'none'}")
    known = [*(item.id for item in signed.credits), *(rule.id for rule in signed.chronic if rule.extra is not None)]
    if terms not in known:
        raise LocalError(f"{contract} has no credit {terms}", hint=f"known: {', '.join(known) or 'none'}")
    if "/" in period + subject or not period.strip():
        raise LocalError(f"{period!r} is not a period", hint="write it as the credit line names it, like 2026-10")
    return settings.contracts, ClaimName(contract, circuit, terms, period, subject), signed


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write it like 2026-10-05", param_hint="--on") from None
