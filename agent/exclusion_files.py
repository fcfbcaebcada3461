"""Ledgers of excluded time, one beside each contract: strict YAML, every mistake at once with file, line and column.

The ledger of `gold.yaml` is `exclusions/gold.yaml` in the same directory: what was signed and what is added month by
month keep their own files, and a verdict names the digest of both. The ledger of maintenance, `maintenance.jsonl`, is
for all contracts: what it says of circuits is added to each contract, and bears on those circuits alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from agent import maintenance_ledger
from agent.config.notation import as_line, as_word
from agent.config.reading import listed
from agent.document import (
    Contradiction,
    DocumentError,
    Field,
    Items,
    Model,
    Problem,
    Reads,
    read,
    require,
    schema,
    shown,
)
from agent.document.tree import MAXIMUM_SIZE
from agent.ledger import LedgerError
from agent.maintenance_ledger import MaintenanceLedger
from agent.sla.terms.excluded import Exclusion, ExclusionKind
from agent.sla.time.calendar import local_time, parse_instant
from agent.sla.time.zones import zone
from probes.core.errors import LocalError

DIRECTORY: Final = "exclusions"
_SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Entries in the order of the file, and the SHA-256 of its text."""

    entries: tuple[Exclusion, ...] = ()
    digest: str = ""


def _as_instant() -> Reads:
    def take(value: object) -> int:
        try:
            if isinstance(value, str):
                return parse_instant(value)
        except LocalError as error:
            raise LocalError(f"{error.message}: {error.hint}") from None
        raise LocalError(f"{shown(value)} is not an instant: write it like 2026-10-31T23:00:00Z")

    example = {"type": "string", "format": "date-time", "examples": ["2026-10-31T23:00:00Z"]}
    return Reads(take, example, lambda ns: local_time(ns, zone("UTC").info).isoformat())


class _Entry(Model):
    id: Annotated[str, as_word("the name of an exclusion")]
    start: Annotated[int, _as_instant()]
    end: Annotated[int, _as_instant()]
    reason: Annotated[str, as_line(200)]
    entered_at: Annotated[int, _as_instant()]
    kind: Literal[
        "maintenance",
        "emergency_maintenance",
        "customer",
        "third_party",
        "force_majeure",
        "access_refused",
        "suspension",
        "no_ticket",
    ] = "maintenance"
    notified_at: Annotated[int | None, _as_instant()] = None
    evidence: Annotated[str | None, as_line(500)] = None
    cancelled_at: Annotated[int | None, _as_instant()] = None
    confirmed_by: Annotated[str | None, as_line()] = None
    confirmed_role: Literal["provider", "customer", "subcontractor", "third_party"] | None = None
    circuits: Annotated[Items[Annotated[str, as_word("the name of a circuit")]], Field(min_length=1)] = ()

    def contradictions(self) -> Iterator[Contradiction]:
        if self.end <= self.start:
            yield ("end",), "it ends no later than it starts"
        if self.confirmed_role is not None and self.confirmed_by is None:
            yield ("confirmed_role",), "say who confirmed it: `confirmed_by`"

    def built(self) -> Exclusion:
        return Exclusion(
            self.id,
            self.start,
            self.end,
            self.reason,
            self.entered_at,
            self.confirmed_by or "",
            self.circuits,
            ExclusionKind(self.kind),
            self.notified_at,
            self.evidence or "",
            cancelled_ns=self.cancelled_at,
            confirmed_role=self.confirmed_role or "",
        )


class LedgerFile(Model):
    """Time that does not count, as written."""

    exclusions: Annotated[Items[_Entry], Field(max_length=10_000)]

    def contradictions(self) -> Iterator[Contradiction]:
        seen: set[str] = set()
        for index, entry in enumerate(self.exclusions):
            if entry.id in seen:
                yield ("exclusions", index, "id"), f"there is an exclusion {entry.id!r} already"
            seen.add(entry.id)


def parse(text: str | bytes, file: str) -> Ledger:
    """One ledger. Raises DocumentError with every problem of the text."""
    value = require(read(text, file), LedgerFile)
    data = text.encode() if isinstance(text, str) else text
    return Ledger(tuple(entry.built() for entry in value.exclusions), hashlib.sha256(data).hexdigest())


def load(contracts: Path, known: Collection[str]) -> tuple[dict[str, Ledger], list[Problem]]:
    """Ledgers beside the contracts of a directory, by the contract's id, and what is wrong with them.

    Raises LocalError for a file that cannot be read.
    """
    found: dict[str, Ledger] = {}
    problems: list[Problem] = []
    for path in (item for item in listed(contracts / DIRECTORY) or () if item.suffix in _SUFFIXES):
        if path.stem in found:
            problems.append(Problem(str(path), 1, 1, "", f"there is a ledger of {path.stem} already"))
        elif path.stem not in known:
            near = ", ".join(sorted(known)) or "none"
            text = f"there is no contract {path.stem}: a ledger has the name of its contract (known: {near})"
            problems.append(Problem(str(path), 1, 1, "", text))
        else:
            try:
                found[path.stem] = parse(_content(path), str(path))
            except DocumentError as error:
                problems.extend(error.problems)
    try:
        maintenance = maintenance_ledger.load(contracts)
    except LedgerError as error:
        path = contracts / maintenance_ledger.FILE
        problems.append(
            Problem(str(path), error.line or 1, 1, "", error.message.removeprefix(f"{path}:{error.line}: "))
        )
        return found, problems
    if maintenance.digest:
        found = {identity: _joined(found.get(identity, Ledger()), maintenance, identity) for identity in known}
    return found, problems


def _joined(ledger: Ledger, maintenance: MaintenanceLedger, contract: str) -> Ledger:
    """Both ledgers of a contract; the digest is that of the only one there is, or over both of them."""
    both = f"{ledger.digest}\n{maintenance.digest}\n".encode()
    digest = hashlib.sha256(both).hexdigest() if ledger.digest else maintenance.digest
    return Ledger((*ledger.entries, *maintenance.book.exclusions(contract)), digest)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAXIMUM_SIZE + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def json_schema() -> dict[str, Any]:
    """JSON Schema of a ledger, for editors."""
    return schema(LedgerFile)
