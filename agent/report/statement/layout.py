"""Lines, pairs and tables of plain text of a fixed width. Pure."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_GAP: Final = "  "
_QUANTITY: Final = re.compile(r"(?<=\d) (?=(?:[nµm]?s|min|h|d|[kMG]?bit/s|[A-Z]{3,4}|points)\b|%)")
_FEWEST: Final = 6
"""Columns a cell keeps, however narrow the page."""


def columns(text: str) -> int:
    """Columns a terminal needs for the text: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def wrapped(text: str, width: int, first: str = "", hanging: str = "") -> Iterator[str]:
    """Lines of at most `width` columns; a number keeps its unit beside it, a long word is cut."""
    lines = textwrap.wrap(
        _QUANTITY.sub("\u00a0", text), width, initial_indent=first, subsequent_indent=hanging, break_on_hyphens=False
    )
    yield from (line.replace("\u00a0", " ") for line in lines or [first.rstrip()])


def pairs(items: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Name and text in two columns."""
    found = list(items)
    wide = min(max((columns(name) for name, _ in found), default=0), width // 3)
    for name, text in found:
        yield from wrapped(text, width, padded(name, wide, "l") + _GAP, " " * wide + _GAP)


def between(left: str, right: str, width: int) -> Iterator[str]:
    """One text at each margin; the left one wraps."""
    *before, last = list(wrapped(left, width - columns(right) - len(_GAP)))
    yield from before
    yield padded(last, width - columns(right), "l") + right


def table(head: Sequence[str], rows: Sequence[Sequence[str]], sides: str, width: int) -> Iterator[str]:
    """Columns as wide as needed; where that is more than `width`, cells wrap at words, and then within. sides: l, r."""
    every = [[row[place] for row in (head, *rows)] for place in range(len(head))]
    wide = [max(columns(cell) for cell in cells) for cells in every]
    least = [max(columns(word) for cell in cells for word in _words(cell)) for cells in every]
    room = width - len(_GAP) * (len(head) - 1)
    while sum(wide) > room:
        most = max(range(len(wide)), key=lambda place: (wide[place] - least[place], wide[place]))
        if wide[most] <= least[most]:
            left = [place for place in range(len(wide)) if wide[place] > _FEWEST]
            if not left:
                break
            most = max(left, key=lambda place: (sides[place] == "l", wide[place]))
            least[most] = wide[most] - 1
        wide[most] -= 1
    for number, row in enumerate((head, *rows)):
        yield from _row(row, wide, sides)
        if number == 0:
            yield _GAP.join("-" * max(each, 1) for each in wide)


def _words(text: str) -> list[str]:
    """What is not broken; a number with its unit is one."""
    return _QUANTITY.sub("\u00a0", text).split(" ") or [""]


def _row(row: Sequence[str], wide: Sequence[int], sides: str) -> Iterator[str]:
    cells = [list(wrapped(cell, each)) or [""] for cell, each in zip(row, wide, strict=True)]
    for line in range(max(len(cell) for cell in cells)):
        parts = [cell[line] if line < len(cell) else "" for cell in cells]
        yield _GAP.join(padded(*each) for each in zip(parts, wide, sides, strict=True)).rstrip()


def padded(text: str, width: int, side: str) -> str:
    space = " " * max(width - columns(text), 0)
    return space + text if side == "r" else text + space
