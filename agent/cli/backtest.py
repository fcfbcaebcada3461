"""What a contract would have paid over past periods: `check DRAFT --month 2026-08..2026-10`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.assessing import Court
    from agent.config import AgentConfig
    from agent.sla.assessment import Assessment
    from agent.sla.terms.contract import Contract
    from agent.sla.time.calendar import WindowInstants
    from probes.core.model import Circuit

MOST_PERIODS = 120


def is_draft(name: str | None) -> bool:
    """True where the name is that of a file, not of a contract or circuit."""
    return name is not None and (name.endswith((".yaml", ".yml")) or "/" in name)


def is_range(period: str | None) -> bool:
    return period is not None and ".." in period


def read_draft(path: Path, contracts: Mapping[str, Contract]) -> Contract:
    """The contract of a file, with what was excluded from the signed one of the same id. Raises LocalError."""
    from dataclasses import replace

    from agent import contract_files

    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise LocalError(
            f"cannot read {path}: {reason}", hint="name a contract file, a contract or a circuit"
        ) from None
    draft = contract_files.parse(text, str(path))
    signed = contracts.get(draft.id)
    if signed is None:
        return draft
    return replace(draft, exclusions=signed.exclusions, exclusions_digest=signed.exclusions_digest)


def chosen(
    name: str | None, config: AgentConfig, contracts: Mapping[str, Contract], circuits: Sequence[str]
) -> tuple[Contract, list[Circuit]]:
    """The contract to try, and the circuits to try it on. Raises LocalError."""
    if name is not None and is_draft(name):
        draft = read_draft(Path(name), contracts)
        return draft, circuits_for(draft, config, circuits)
    own = next((circuit for circuit in config.circuits if circuit.id == name), None)
    wanted = own.contract if own is not None else name
    if wanted not in contracts or wanted is None:
        known = ", ".join(sorted(contracts)) or "none"
        raise LocalError("a back-test is of one contract", hint=f"name a file, or one of: {known}")
    return contracts[wanted], circuits_for(contracts[wanted], config, circuits or ([own.id] if own else []))


def circuits_for(draft: Contract, config: AgentConfig, wanted: Sequence[str]) -> list[Circuit]:
    """Those named; else those bound to the contract of this id; else all that have what the draft asks for."""
    from agent.sla.samples.feeds import mismatches

    known = {circuit.id: circuit for circuit in config.circuits}
    strange = [name for name in wanted if name not in known]
    if strange:
        raise LocalError(f"there is no circuit {', '.join(strange)}", hint=f"one of: {', '.join(sorted(known))}")
    if wanted:
        return [known[name] for name in wanted]
    bound = [circuit for circuit in config.circuits if circuit.contract == draft.id]
    fitting = bound or [item for item in config.circuits if not mismatches(draft, item, config.span_ns)]
    if not fitting:
        first = next(iter(mismatches(draft, config.circuits[0], config.span_ns)), "") if config.circuits else ""
        raise LocalError(f"no circuit has what {draft.id} is judged by", hint=first or "name one with --circuit")
    return fitting


def periods_of(text: str, zone: str) -> list[WindowInstants]:
    """`2026-08..2026-10`, or one period; in time. Raises LocalError."""
    from agent.sla.time.calendar import parse, previous

    first, _, last = text.partition("..")
    begin, period = parse(first, zone), parse(last or first, zone)
    if begin.unit != period.unit or begin.start_ns > period.start_ns:
        raise LocalError(f"{text!r} is no range of periods", hint="write it like 2026-08..2026-10")
    found = [period]
    while found[-1].start_ns > begin.start_ns:
        found.append(previous(found[-1]))
        if len(found) > MOST_PERIODS:
            raise LocalError(f"{text!r} is more than {MOST_PERIODS} periods", hint="ask for fewer at a time")
    return found[::-1]


def run(court: Court, contract: Contract, circuits: Sequence[Circuit], text: str, *, as_json: bool) -> int:
    """Judge and settle every circuit in every period, and print what would have been paid."""
    from agent.cli.progress import Progress
    from agent.report.backtest import backtest_document, backtest_grid, totals

    periods = periods_of(text, contract.time_zone)
    late = [item for item in periods if item.start_ns > court.now_ns]
    if late:
        raise LocalError(f"{late[0].label} has not begun in {contract.time_zone}", hint="name past periods")
    found: list[Assessment] = []
    with Progress("back-test") as progress:
        for circuit in circuits:
            for period in periods:
                progress.show(f"{len(found)} of {len(circuits) * len(periods)} periods")
                found.append(court.assess(contract, circuit, period)[0])
    if as_json:
        json.dump(backtest_document(contract, found), sys.stdout, ensure_ascii=False, indent=2)
        print()
        return 0
    from agent.report.terminal import print_grid

    print_grid(backtest_grid(found))
    print()
    for line in totals(contract, found):
        print(line)
    return 0
