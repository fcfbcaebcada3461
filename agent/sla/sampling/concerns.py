"""What keeps a promise from being shown by the probes there are. Types. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
Key = tuple[str | int, ...]
"""Keys and indexes from the top of the contract file down to the value."""


@dataclass(frozen=True, slots=True)
class Concern:
    """path: the value of the contract that does not fit. message: the arithmetic, then what would do."""

    path: Key
    severity: Severity
    message: str
