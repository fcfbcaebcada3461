"""`linkwitness config`: check, show and describe the configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.run import DEFAULT_CONFIG

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.document import Problem
    from agent.sla.terms.contract import Contract

app = typer.Typer(help="Check, show and describe the configuration.", no_args_is_help=True)

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="Configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def check(config: ConfigOption = DEFAULT_CONFIG, json_output: JsonOption = False) -> None:
    """Read the configuration, its drop-ins and its contracts; name every mistake with file, line and column."""
    from agent.document import DocumentError
    from probes.core.errors import LocalError

    problems: tuple[Problem, ...] = ()
    warnings: list[str] = []
    summary = failure = ""
    try:
        summary, warnings = _checked(config)
    except DocumentError as error:
        problems = error.problems
    except LocalError as error:
        failure = str(error)
    good = not problems and not failure
    if json_output:
        print(json.dumps(_report(good, problems, failure) | {"warnings": warnings}, indent=2))
    elif good:
        print(summary)
        for warning in warnings:
            typer.echo(f"warning: {warning}", err=True)
    else:
        for problem in problems:
            print(problem)
        typer.echo(failure or f"{len(problems)} mistake{'s' if len(problems) > 1 else ''}, nothing is used", err=True)
    raise typer.Exit(0 if good else 1)


def _checked(path: Path) -> tuple[str, list[str]]:
    """One line on a configuration that is right, and what it cannot do. Raises LocalError, such as DocumentError."""
    from agent import contract_files
    from agent.config import load
    from agent.document import DocumentError
    from probes.core.errors import LocalError

    problems: list[Problem] = []
    contracts, config = None, None
    try:
        config = load(path)
    except DocumentError as error:
        problems.extend(error.problems)
    try:
        contracts = contract_files.load(path.absolute().parent / "contracts" if config is None else config.contracts)
    except DocumentError as error:
        problems.extend(error.problems)
    if problems or config is None or contracts is None:
        raise DocumentError(problems)
    for circuit in config.circuits:
        if circuit.contract is not None and circuit.contract not in contracts:
            raise LocalError(
                f"circuit {circuit.id}: no file in {config.contracts} has `id: {circuit.contract}`",
                hint=f"known contracts: {', '.join(sorted(contracts)) or 'none'}",
            )
    return _summary(config, len(contracts)), misfits(config, contracts)


def misfits(config: AgentConfig, contracts: Mapping[str, Contract]) -> list[str]:
    """What keeps circuits from being judged by their contracts, a sentence each. The agent runs all the same."""
    from agent.judging import unfit

    return list(unfit(config.circuits, contracts, config.span_ns))


def _summary(config: AgentConfig, contracts: int) -> str:
    probes = sum(len(circuit.probes) for circuit in config.circuits)
    counts = (
        (len(config.circuits), "circuit"),
        (probes, "probe"),
        (len(config.sinks), "sink"),
        (contracts, "contract"),
        (len(config.files), "file"),
    )
    return "ok: " + ", ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counts)


def _report(good: bool, problems: tuple[Problem, ...], failure: str) -> dict[str, object]:
    found: list[dict[str, object]] = [
        {"file": item.file, "line": item.line, "column": item.column, "key": item.key, "message": item.message}
        for item in problems
    ]
    if failure:
        found.append({"file": None, "line": None, "column": None, "key": None, "message": failure})
    return {"schema": "linkwitness.config-check/1", "ok": good, "problems": found}


@app.command()
def show(config: ConfigOption = DEFAULT_CONFIG, json_output: JsonOption = False) -> None:
    """Print the configuration in force: all files joined, defaults filled in, paths absolute. Holds no secret."""
    from agent.config import effective, load
    from agent.document import dump

    values = effective(load(config))
    print(json.dumps(values, indent=2) if json_output else dump(values), end="\n" if json_output else "")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for completion and checking in an editor."""
    from agent.config import json_schema

    print(json.dumps(json_schema(), indent=2))
