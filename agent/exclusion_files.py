"""Ledgers of excluded time, one beside each contract: strict YAML, every mistake at once with file, line and column.

The ledger of `gold.yaml` is `exclusions/gold.yaml` in the same directory: what was signed and what is added month by
month keep their own files, and a verdict names the digest of both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

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
from agent.sla.calendar import local_time, parse_instant
from agent.sla.exclusions import Exclusion
from agent.sla.zones import zone
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
    confirmed_by: Annotated[str | None, as_line()] = None
    circuits: Annotated[Items[Annotated[str, as_word("the name of a circuit")]], Field(min_length=1)] = ()

    def contradictions(self) -> Iterator[Contradiction]:
        if self.end <= self.start:
            yield ("end",), "it ends no later than it starts"

    def built(self) -> Exclusion:
        return Exclusion(
            self.id,
            self.start,
            self.end,
            self.reason,
            self.entered_at,
            self.confirmed_by or "",
            self.circuits,
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
    return found, problems


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAXIMUM_SIZE + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def json_schema() -> dict[str, Any]:
    """JSON Schema of a ledger, for editors."""
    return schema(LedgerFile)
