"""One thing that `linkwitness doctor` looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    """measuring works, but something is missing or worse than it could be"""
    FAIL = "fail"
    """the agent cannot do what it is configured to do"""


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` is what to do next; empty where there is nothing to do."""

    subject: str
    state: State
    text: str
    remedy: str = ""

    def lines(self) -> list[str]:
        """For a terminal: state, subject and text; the remedy below."""
        first = f"{self.state:<4}  {self.subject}: {self.text}"
        return [first, f"      remedy: {self.remedy}"] if self.remedy else [first]
