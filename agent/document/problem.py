"""What is wrong in a document, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from probes.core.errors import LocalError

KeyPath = tuple[str | int, ...]
"""Keys and list indexes from the top of a document down to one value."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `key` reads like `circuits[ACME-1].probes[icmp].every`; empty for the file as a whole."""

    file: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        subject = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}:{self.column}: {subject}{self.message}"


class DocumentError(LocalError):
    """A file that is refused as a whole, with every mistake found in it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
