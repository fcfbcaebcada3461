"""`linkwitness contract`: check contract files, say them in plain language, list and describe them."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent.cli.run import DEFAULT_CONFIG

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.sla.terms.contract import Contract
    from agent.sla.words.clauses import Clause, Section, Table
    from probes.core.model import Circuit

WIDTH: Final = 92
"""Columns of `explain`, on every terminal the same: two people look at one text."""
SUFFIXES: Final = (".yaml", ".yml")
_QUANTITY: Final = re.compile(r"(\d) (?=%|ms\b|s\b|min\b|h\b|d\b|days?\b|[kMG]?bit/s|[A-Z]{3}\b|octets|\d{3}\b)")

app = typer.Typer(help="Check contract files, say them in plain language.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigOption = Annotated[
    Path | None, typer.Option("-c", "--config", help=f"Configuration with the circuits; {DEFAULT_CONFIG} if left out.")
]


@app.command()
def lint(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE|DIRECTORY]", help="What to look at; the configured contracts if left out."),
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """Name every mistake with file, line and column, and every promise that the circuits' probes cannot show."""
    from agent.cli.contract_lint import look

    found = look(path, configured(config, needed=path is None))
    if json_output:
        print(json.dumps(found.values(), indent=2))
    else:
        for line in found.lines():
            print(line)
        typer.echo(found.summary(), err=not found.good)
    raise typer.Exit(0 if found.good else 1)


@app.command()
def explain(
    file: Annotated[str, typer.Argument(metavar="FILE|CONTRACT", help="A contract file, or a configured contract.")],
    circuit: Annotated[
        str | None, typer.Option("--circuit", help="Name this circuit's rate, charge and probes in the text.")
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say a contract in plain language, clause by clause, with worked examples."""
    from agent.sla.words.explain import as_values
    from agent.sla.words.explain import explain as in_words

    by_name = not Path(file).is_file() and not file.endswith(SUFFIXES)
    settings = configured(config, needed=circuit is not None or by_name)
    contract = _contract(file, settings)
    sections = in_words(contract, _circuit(circuit, contract, settings))
    if json_output:
        print(json.dumps(as_values(contract, sections), indent=2, ensure_ascii=False))
    else:
        print("\n".join(text(contract, sections)))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a contract file, for completion and checking in an editor."""
    from agent.contract_files import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command("list")
def list_command(
    directory: Annotated[
        Path | None, typer.Argument(help="Directory of contracts; that of the configuration if left out.")
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """Contracts with their parties, validity and circuits."""
    from agent import contract_files

    settings = configured(config, needed=directory is None)
    place = directory or (settings.contracts if settings is not None else Path())
    rows = [_summary(item, settings) for item in contract_files.load(place).values()]
    if json_output:
        print(json.dumps({"schema": "linkwitness.contract-list/1", "contracts": rows}, indent=2, ensure_ascii=False))
        return
    for row in rows:
        print(_line(row))
    if not rows:
        typer.echo(f"no contracts in {place}", err=True)


def configured(path: Path | None, *, needed: bool) -> AgentConfig | None:
    """The configuration that was named, else the usual one where there is one. Raises LocalError, DocumentError."""
    from agent.config import load

    if path is None and not needed and not DEFAULT_CONFIG.is_file():
        return None
    return load(path or DEFAULT_CONFIG)


def _contract(name: str, settings: AgentConfig | None) -> Contract:
    """By its file, else by its id among those configured. Raises LocalError."""
    from agent import contract_files
    from agent.document import read_file
    from probes.core.errors import LocalError

    path = Path(name)
    if path.is_file() or name.endswith(SUFFIXES):
        read_file(path)  # tells what stands in the way
        return contract_files.parse(path.read_bytes().decode("utf-8", "replace"), str(path))
    known = contract_files.load(settings.contracts) if settings is not None else {}
    if name in known:
        return known[name]
    raise LocalError(
        f"{name} is neither a file nor a configured contract",
        hint=f"configured contracts: {', '.join(sorted(known)) or 'none'}",
    )


def _circuit(name: str | None, contract: Contract, settings: AgentConfig | None) -> Circuit | None:
    """The circuit that was named; the only one of the contract if none was. Raises LocalError."""
    from probes.core.errors import LocalError

    circuits = settings.circuits if settings is not None else ()
    if name is None:
        bound = [item for item in circuits if item.contract == contract.id]
        return bound[0] if len(bound) == 1 else None
    for item in circuits:
        if item.id == name:
            return item
    known = ", ".join(item.id for item in circuits) or "none"
    raise LocalError(f"there is no circuit {name}", hint=f"configured circuits: {known}")


def text(contract: Contract, sections: tuple[Section, ...]) -> Iterator[str]:
    """Wrapped lines."""
    head = contract.title or contract.id
    yield from _wrapped(head)
    yield f"Contract {contract.id}, version {contract.version}"
    for place, section in enumerate(sections, 1):
        yield ""
        yield f"{place}. {section.heading.upper()}"
        for index, clause in enumerate(section.clauses, 1):
            yield ""
            yield from _clause(f"{place}.{index}", clause)


def _clause(mark: str, clause: Clause) -> Iterator[str]:
    indent = "     "
    yield f"{mark:<5}{clause.title}"
    if clause.quote:
        yield from _wrapped(f"“{clause.quote}”", indent, " ")
    yield from _wrapped(" ".join(clause.sentences), indent)
    for detail in clause.details:
        yield from _wrapped(f"{detail.label}: {' '.join(detail.sentences)}", indent, "  ")
    if clause.table is not None:
        yield ""
        yield from (f"{indent}{line}" for line in _grid(clause.table))
        yield from [""] if clause.examples else []
    for example in clause.examples:
        yield from _wrapped(f"Example: {example}", indent, " " * len("Example: "))


def _wrapped(text: str, indent: str = "", hanging: str = "") -> Iterator[str]:
    """Lines of at most WIDTH columns; a number keeps its unit beside it."""
    joined = _QUANTITY.sub("\\1\u00a0", text)
    for line in textwrap.wrap(
        joined, WIDTH, initial_indent=indent, subsequent_indent=indent + hanging, break_on_hyphens=False
    ):
        yield line.replace("\u00a0", " ")


def _grid(table: Table) -> Iterator[str]:
    rows = (table.head, *table.rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    for index, row in enumerate(rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if index == 0:
            yield "  ".join("-" * width for width in widths)


def _summary(contract: Contract, settings: AgentConfig | None) -> dict[str, object]:
    circuits = [] if settings is None else [item.id for item in settings.circuits if item.contract == contract.id]
    return {
        "id": contract.id,
        "version": contract.version,
        "title": contract.title,
        "provider": contract.provider.name or contract.provider.id,
        "customer": contract.customer.name or contract.customer.id,
        "valid_from": contract.valid_from.isoformat() if contract.valid_from else None,
        "valid_to": contract.valid_to.isoformat() if contract.valid_to else None,
        "objectives": len(contract.objectives),
        "models": contract.models,
        "circuits": circuits,
        "digest": contract.digest,
    }


def _line(row: dict[str, object]) -> str:
    valid = " to ".join(str(row[key]) if row[key] else "…" for key in ("valid_from", "valid_to"))
    circuits = row["circuits"]
    bound = f"; circuits: {', '.join(circuits)}" if isinstance(circuits, list) and circuits else ""
    return (
        f"{row['id']} {row['version']}: {row['title'] or 'no title'}\n"
        f"    {row['provider']} for {row['customer']}, valid {valid}, "
        f"{row['objectives']} {'objective' if row['objectives'] == 1 else 'objectives'}{bound}"
    )
