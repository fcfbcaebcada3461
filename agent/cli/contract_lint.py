"""What `linkwitness contract lint` finds: mistakes of the text, and promises that the probes cannot show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.cli.contract import SUFFIXES
from agent.document import DocumentError, Problem, read_file
from agent.sla.sampling.adequacy import concerns
from agent.sla.sampling.concerns import Severity
from agent.sla.words.clauses import listed
from agent.sla.words.wording import plural
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.document import Document
    from agent.sla.terms.contract import Contract
    from probes.core.model import Circuit

_NAMED: Final = 3
"""Circuits, or contracts, that a line names."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One line: how bad, where, and what."""

    severity: Severity
    problem: Problem

    def __str__(self) -> str:
        place = self.problem
        key = f"{place.key}: " if place.key else ""
        return f"{place.file}:{place.line}:{place.column}: {self.severity}: {key}{place.message}"


@dataclass(slots=True)
class Findings:
    """files: looked at. unbound: contracts that no circuit has, so that no schedule was looked at."""

    files: int = 0
    remarks: list[Remark] = field(default_factory=list)
    unbound: list[str] = field(default_factory=list)
    configured: bool = False

    @property
    def good(self) -> bool:
        return not self._count("error")

    def _count(self, severity: Severity) -> int:
        return sum(remark.severity == severity for remark in self.remarks)

    def lines(self) -> Iterator[str]:
        yield from map(str, self.remarks)

    def summary(self) -> str:
        text = f"{plural(self.files, 'contract')}, {plural(self._count('error'), 'error')}, "
        text += plural(self._count("warning"), "warning")
        if not self.configured:
            return f"{text}; no configuration, so no schedule was looked at (name one with --config)"
        if self.unbound:
            which = listed(self.unbound) if len(self.unbound) <= _NAMED else f"{len(self.unbound)} of them"
            return f"{text}; no circuit has {which}, so no schedule was looked at there"
        return text

    def values(self) -> dict[str, object]:
        """For JSON."""
        return {
            "schema": "linkwitness.contract-lint/1",
            "ok": self.good,
            "contracts": self.files,
            "without_circuit": self.unbound,
            "findings": [
                {
                    "severity": remark.severity,
                    "file": remark.problem.file,
                    "line": remark.problem.line,
                    "column": remark.problem.column,
                    "key": remark.problem.key,
                    "message": remark.problem.message,
                }
                for remark in self.remarks
            ],
        }


def look(path: Path | None, config: AgentConfig | None) -> Findings:
    """Look at a file, at all files of a directory, or at the configuration's contracts. Raises LocalError."""
    from agent import contract_files

    place = path or (config.contracts if config is not None else Path())
    found = Findings(configured=config is not None)
    if not place.exists():
        raise LocalError(f"there is no {place}", hint="name a contract file or a directory of them")
    if place.is_dir():
        files = sorted(item for item in place.iterdir() if item.suffix in SUFFIXES and not item.name.startswith("."))
        try:
            contract_files.load(place)
        except DocumentError as error:
            found.remarks += [Remark("error", problem) for problem in error.problems]
    else:
        files = [place]
    for file in files:
        _look_at(file, config, found, alone=not place.is_dir())
    return found


def _look_at(file: Path, config: AgentConfig | None, found: Findings, *, alone: bool) -> None:
    from agent import contract_files

    found.files += 1
    document = read_file(file)
    try:
        contract = contract_files.parse(file.read_bytes().decode("utf-8", "replace"), str(file))
    except DocumentError as error:
        if alone:  # else the directory as a whole has told it
            found.remarks += [Remark("error", problem) for problem in error.problems]
        return
    if config is None:
        return
    circuits = [item for item in config.circuits if item.contract == contract.id]
    if not circuits:
        found.unbound.append(contract.id)
    found.remarks += _unfit(document, contract, circuits, config)
    if circuits:
        found.remarks += _strangers(document, contract, {item.id for item in config.circuits})


def _strangers(document: Document, contract: Contract, known: set[str]) -> Iterator[Remark]:
    """Circuits that promises are about together, and that nobody measures."""
    for index, objective in enumerate(contract.objectives):
        for number, member in enumerate(objective.scope.members if objective.scope is not None else ()):
            if member not in known:
                path = ("objectives", index, "scope", "members", number)
                yield Remark("error", document.problem(path, f"no circuit of the configuration is named {member}"))


def _unfit(document: Document, contract: Contract, circuits: list[Circuit], config: AgentConfig) -> Iterator[Remark]:
    """Each concern once, with the circuits that have it, in the order of the file."""
    held: dict[tuple[Severity, tuple[str | int, ...], str], list[str]] = {}
    kept = config.store
    for circuit in circuits:
        for concern in concerns(
            contract, circuit, config.span_ns, packets_ns=kept.keep_packets_ns, samples_ns=kept.keep_samples_ns
        ):
            held.setdefault((concern.severity, concern.path, concern.message), []).append(circuit.id)
    remarks = [
        Remark(severity, document.problem(path, f"{_names(names)}: {message}"))
        for (severity, path, message), names in held.items()
    ]
    yield from sorted(remarks, key=lambda remark: (remark.problem.line, remark.problem.column))


def _names(names: list[str]) -> str:
    rest = len(names) - _NAMED
    shown = names if rest <= 0 else [*names[:_NAMED], f"{rest} more"]
    return f"circuit{'s' if len(names) > 1 else ''} {listed(shown)}"
