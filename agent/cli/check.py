"""`linkwitness check`: was the contract kept? A monitoring plugin, a table, or JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.run import DEFAULT_CONFIG
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.assessing import Court
    from agent.cli.sources import Source
    from agent.config import AgentConfig
    from agent.sla.terms.contract import Contract
    from agent.sla.verdict import Verdict
    from probes.core.model import Circuit

FORMATS = ("auto", "plugin", "table", "json")
UNKNOWN = 3
STALE_NS = 5 * 60 * 10**9
"""A circuit of which nothing new came for so long is not known to be all right, whatever its month says."""

_MONTHS = r"\d{4}-\d{2}(\.\.\d{4}-\d{2})?"

Pair = tuple["Circuit", "Contract"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line says, as far as it is not about samples. circuits: of a back-test."""

    config: Path
    period: str | None
    output: str
    circuits: tuple[str, ...]


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONTRACT|CIRCUIT|DRAFT.yaml]",
            help="What to judge; every circuit with a contract if left out. A file is a draft for a back-test.",
        ),
    ] = None,
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file.")] = DEFAULT_CONFIG,
    month: Annotated[
        str | None,
        typer.Option("--month", help="Such as 2026-10; 2026-08..2026-10 is a back-test."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            help="Judge the windows that end in this period: 2026-10-05, 2026-W41, 2026-10, 2026-Q4, 2026; "
            "now if left out.",
        ),
    ] = None,
    circuits: Annotated[
        list[str] | None, typer.Option("--circuit", help="Circuit of a back-test; may be given several times.")
    ] = None,
    source: Annotated[
        str, typer.Option("--from", help="Where the samples are: store, influxdb, or the name of a sink.")
    ] = "store",
    store: Annotated[
        Path | None, typer.Option("--store", help="Directory of the store, instead of the configured one.")
    ] = None,
    output: Annotated[
        str, typer.Option("--format", help="plugin | table | json; auto: a table on a terminal, plugin elsewhere.")
    ] = "auto",
    json_output: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    now: Annotated[
        str | None, typer.Option("--now", help="Judge as if it were this instant, such as 2026-10-31T23:00:00Z.")
    ] = None,
) -> None:
    """Judge circuits by their contract.

    Exit codes: 0 OK (met, on track), 1 WARNING (at risk), 2 CRITICAL (breached), 3 UNKNOWN (inconclusive,
    unmeasurable, or the check could not be made). The first line is that of a monitoring plugin.
    """
    from agent.report.plugin import problem_line

    chosen = "json" if json_output else output
    try:
        if chosen not in FORMATS:
            raise LocalError(f"there is no format {chosen!r}", hint=f"one of: {', '.join(FORMATS)}")
        asked = _Asked(config, period_of(month, window), chosen, tuple(circuits or ()))
        code = _check(name, asked, (source, store), now)
    except LocalError as error:
        first, *more = error.message.splitlines()
        print(problem_line(f"{first} (and {len(more)} more)" if more else first))
        for line in more:
            print(line, file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        raise typer.Exit(UNKNOWN) from None
    except Exception as error:
        print(problem_line(f"internal error: {type(error).__name__}: {error}"))
        raise
    raise typer.Exit(code)


def period_of(month: str | None, window: str | None) -> str | None:
    if month is not None and window is not None:
        raise LocalError("--month and --window are two periods", hint="give one of them")
    if month is not None and re.fullmatch(_MONTHS, month.strip()) is None:
        raise LocalError(f"{month!r} is not a month", hint="write it like 2026-10")
    return month or window


def _check(name: str | None, asked: _Asked, source: tuple[str, Path | None], now: str | None) -> int:
    """source: what --from says, and --store."""
    from agent import contract_files
    from agent.allocation import keep_freed
    from agent.audit import KEPT
    from agent.cli import backtest
    from agent.cli.court import convene
    from agent.cli.crowd import is_crowd, judged_all
    from agent.cli.sources import open_source
    from agent.config import load
    from agent.sla.time.calendar import parse_instant
    from agent.written import Written
    from probes.core.clock import SystemClock

    if not asked.config.is_file():
        raise LocalError(f"there is no configuration at {asked.config}", hint="name one with -c")
    keep_freed(KEPT)
    config = load(asked.config)
    contracts = contract_files.load(config.contracts)
    now_ns = SystemClock().wall() if now is None else parse_instant(now)
    if backtest.is_draft(name) or backtest.is_range(asked.period):
        if asked.period is None:
            raise LocalError("a draft is judged over the past", hint="say which: --month 2026-08..2026-10")
        draft, circuits = backtest.chosen(name, config, contracts, asked.circuits)
        with open_source(config, *source) as samples:
            court = convene(
                samples, config, {**contracts, draft.id: draft}, Written.load(config.contracts, as_of_ns=now_ns), now_ns
            )
            return backtest.run(court, draft, circuits, asked.period, as_json=asked.output == "json")
    if asked.circuits:
        raise LocalError("--circuit is for back-tests", hint="name the circuit itself: linkwitness check CIRCUIT")
    pairs = chosen_pairs(config, contracts, name)
    with open_source(config, *source) as samples:
        present = [pair for pair in pairs if not _absent(config, pair[0], name, samples.since(pair[0].id))]
        written = Written.load(config.contracts, as_of_ns=now_ns)
        verdicts: list[Verdict] = []
        if is_crowd(present, source[0]):
            for found in judged_all(config, contracts, written, source, present, asked.period, now_ns):
                verdicts += found
        else:
            court = convene(samples, config, contracts, written, now_ns)
            for circuit, contract in present:
                verdicts += judged(court, circuit, contract, asked.period)
        silent = {} if asked.period is not None else _silent(samples, [circuit for circuit, _ in present], now_ns)
        return _show(verdicts, asked.output, now_ns, samples.name, silent)


def _silent(samples: Source, circuits: Sequence[Circuit], now_ns: int) -> dict[str, int]:
    """Circuit -> how long nothing new came (ns), where that is longer than its probes explain."""
    found = {}
    for circuit in circuits:
        newest = samples.newest(circuit.id)
        every = [value for probe in circuit.probes if isinstance(value := probe.parameters.get("every"), int)]
        rhythm = min(every, default=0) if len(every) == len(circuit.probes) else None
        if newest is not None and rhythm is not None and now_ns - newest > STALE_NS + 3 * rhythm:
            found[circuit.id] = now_ns - newest
    return found


def judged(court: Court, circuit: Circuit, contract: Contract, period: str | None) -> Sequence[Verdict]:
    """In the windows of now; or in all that end in the period."""
    from agent.sla.docket import docket_at, docket_over
    from agent.sla.time.calendar import parse

    if period is None:
        return court.judgement(contract, circuit, docket_at(contract, court.now_ns)).verdicts
    chosen = parse(period, contract.time_zone)
    if chosen.start_ns > court.now_ns:
        raise LocalError(f"{chosen.label} has not begun in {contract.time_zone}", hint="name a past period, or none")
    verdicts = court.judgement(contract, circuit, docket_over(contract, chosen, court.now_ns)).verdicts
    for verdict in verdicts:
        outside = verdict.window.start_ns < chosen.start_ns or verdict.window.end_ns > chosen.end_ns
        if outside and verdict.window.label != chosen.label:
            which = f"{circuit.id}: {verdict.objective.id}"
            told = f"{verdict.window.label}, its own window, and not {chosen.label}"
            print(f"note: {which} is judged for {told}", file=sys.stderr)
    return verdicts


def chosen_pairs(config: AgentConfig, contracts: Mapping[str, Contract], name: str | None) -> list[Pair]:
    """Circuits with their contract: all, those of a contract, or one circuit. Raises LocalError."""
    bound = [circuit for circuit in config.circuits if circuit.contract is not None]
    wanted = [circuit for circuit in bound if name is None or name in (circuit.id, circuit.contract)]
    if not wanted:
        if any(circuit.id == name for circuit in config.circuits):
            raise LocalError(f"the circuit {name!r} has no contract", hint="give it one: `contract: NAME`")
        known = ", ".join(sorted({circuit.id for circuit in bound} | {str(circuit.contract) for circuit in bound}))
        if name is None or not known:
            raise LocalError("no circuit has a contract", hint="give one: `contract: NAME` in the circuit")
        raise LocalError(f"there is no circuit or contract {name!r}", hint=f"one of: {known}")
    lacking = sorted({str(circuit.contract) for circuit in wanted if circuit.contract not in contracts})
    if lacking:
        raise LocalError(
            f"there is no contract {', '.join(lacking)} in {config.contracts}",
            hint=f"contracts there: {', '.join(sorted(contracts)) or 'none'}",
        )
    return [(circuit, contracts[str(circuit.contract)]) for circuit in wanted]


def _absent(config: AgentConfig, circuit: Circuit, name: str | None, since_ns: int | None) -> bool:
    """A circuit that is discovered on the host and was never found there is left out, unless it was asked for."""
    return circuit.id in config.discover and since_ns is None and name != circuit.id


def _one_each(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Of an objective with several windows the gravest, which says how many there are."""
    from dataclasses import replace

    from agent.sla.verdict import gravest

    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.circuit, verdict.objective.id), []).append(verdict)
    found = []
    for group in groups.values():
        shown = gravest(group)
        if shown is None or len(group) == 1:
            found += group
            continue
        alike = sum(verdict.state is shown.state for verdict in group)
        state = shown.state.value.replace("_", " ")
        found.append(replace(shown, sentence=f"{shown.sentence} ({alike} of {len(group)} windows {state})"))
    return found


def _show(verdicts: list[Verdict], output: str, now_ns: int, source: str, silent: Mapping[str, int]) -> int:
    from agent.report.plugin import exit_code, plugin_line

    shown = _one_each(verdicts)
    code, line = exit_code(shown, silent), plugin_line(shown, silent)
    if output == "json":
        from agent.report.document import check_document

        document = check_document(verdicts, now_ns=now_ns, source=source, code=code, line=line)
        print(json.dumps(document, ensure_ascii=False, indent=2))
        return code
    print(line)
    if verdicts and (output == "table" or (output == "auto" and sys.stdout.isatty())):
        from agent.report.table import verdict_grid
        from agent.report.terminal import print_grid

        print()
        print_grid(verdict_grid(shown))
    return code
