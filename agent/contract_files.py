"""Contract files: strict YAML to Contract, every mistake at once with file, line and column."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from agent import exclusion_files
from agent.config.reading import listed
from agent.contract_language import band_values
from agent.contract_language.contract_file import ContractFile
from agent.contract_language.statistic_section import USUAL
from agent.document import Document, DocumentError, Problem, read, require, schema
from agent.document.tree import MAXIMUM_SIZE
from agent.sla.terms.contract import Contract, Metric, StatisticType
from agent.sla.terms.objective import unit_of
from agent.sla.terms.targets import parse_target
from probes.core.errors import LocalError

_SUFFIXES: Final = (".yaml", ".yml")


def parse(text: str, file: str) -> Contract:
    """One contract. Raises DocumentError with every problem of the text."""
    return _contract(read(text, file), text.encode())


def load(directory: Path) -> dict[str, Contract]:
    """All contracts (`*.yaml`, `*.yml`) of a directory by id, each with its ledger; none where it does not exist.

    Raises DocumentError with every problem of all files, LocalError for a file that cannot be read.
    """
    found: dict[str, tuple[Contract, Document]] = {}
    problems: list[Problem] = []
    for path in (item for item in listed(directory) or () if item.suffix in _SUFFIXES):
        content = _content(path)
        document = read(content, str(path))
        try:
            contract = _contract(document, content)
        except DocumentError as error:
            problems.extend(error.problems)
            continue
        if contract.id != path.stem:
            message = f"the file of this contract must be named {contract.id}.yaml: circuits find it by that name"
            problems.append(document.problem(("id",), message))
        elif contract.id in found:
            first = found[contract.id][1].position(("id",))
            problems.append(document.problem(("id",), f"the contract {contract.id!r} is defined already in {first}"))
        else:
            found[contract.id] = (contract, document)
    names = {path.stem for path in listed(directory) or () if path.suffix in _SUFFIXES}
    ledgers, wrong = exclusion_files.load(directory, names)
    if problems or wrong:
        raise DocumentError([*problems, *wrong])
    return {identity: _with(contract, ledgers.get(identity)) for identity, (contract, _) in found.items()}


def _with(contract: Contract, ledger: exclusion_files.Ledger | None) -> Contract:
    if ledger is None:
        return contract
    return replace(contract, exclusions=ledger.entries, exclusions_digest=ledger.digest)


def _contract(document: Document, content: bytes) -> Contract:
    """Raises DocumentError."""
    value = require(document, ContractFile, [*_wrong_targets(document), *band_values.problems(document)])
    return value.built(hashlib.sha256(content).hexdigest(), document.data if isinstance(document.data, dict) else {})


def _wrong_targets(document: Document) -> Iterator[Problem]:
    """Targets that do not fit their metric, found even where another key of the objective is wrong too."""
    objectives = document.at(("objectives",))
    for index in range(len(objectives) if isinstance(objectives, list) else 0):
        path = ("objectives", index)
        metric, target = document.at((*path, "metric")), document.at((*path, "target"))
        if metric not in list(Metric) or isinstance(target, bool) or not isinstance(target, int | float | str):
            continue
        statistic = document.at((*path, "statistic", "type")) or USUAL.get(Metric(str(metric)))
        kind = StatisticType(str(statistic)) if statistic in list(StatisticType) else StatisticType.MEAN
        try:
            parse_target(unit_of(Metric(str(metric)), kind), Metric(str(metric)), str(target))
        except LocalError as error:
            yield document.problem((*path, "target"), f"{error.message}: {error.hint}" if error.hint else error.message)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAXIMUM_SIZE + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def json_schema() -> dict[str, Any]:
    """JSON Schema of a contract file, for editors."""
    return schema(ContractFile)
