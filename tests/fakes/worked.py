"""Cases worked by hand: every step stands in the text, so that a reader can check them with pencil and paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Given = TypeVar("Given")
Expected = TypeVar("Expected")


@dataclass(frozen=True)
class Case(Generic[Given, Expected]):
    """name: what it shows. steps: the working, line by line, from what is given to what is expected."""

    name: str
    steps: str
    given: Given
    expected: Expected

    def __str__(self) -> str:
        return self.name
