"""Tables on a terminal: the one place that knows rich. Plain text where the output is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Final, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

_PADDING: Final = 3
_FEW: Final = 6
Tone = Literal["plain", "good", "bad", "warn", "dim", "strong"]
_STYLES: dict[Tone, str] = {
    "plain": "", "good": "green", "bad": "bold red", "warn": "yellow", "dim": "dim", "strong": "bold",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table with its tone; colour is shown on a terminal only and never carries meaning alone."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Column:
    heading: str
    right: bool = False
    stretch: bool = False
    """takes what width is left and wraps; other columns keep their width"""


Row = Sequence[Cell | str]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: columns, rows, and lines of text above and below."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    above: Sequence[Cell] = ()
    below: Sequence[Cell] = ()

    def least_width(self) -> int:
        """Columns of characters below which numbers would be cut, with a few for every other column."""
        total = 0
        for index, column in enumerate(self.columns):
            wide = max(
                cell_len(_text(row[index]).plain) for row in (*self.rows, [item.heading for item in self.columns])
            )
            total += _PADDING + (wide if column.right else min(wide, _FEW))
        return total

    def _drawing(self, *, folded: bool = False) -> Group:
        """folded: text that does not fit goes on below, instead of being cut. Numbers are never shortened first."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), expand=False)
        for column in self.columns:
            table.add_column(
                column.heading,
                justify="right" if column.right else "left",
                no_wrap=column.right or not (column.stretch or folded),
                overflow="fold" if column.stretch or folded else "ellipsis",
                ratio=None,
            )
        for row in self.rows:
            table.add_row(*(_text(cell) for cell in row))
        return Group(*(_text(cell) for cell in self.above), table, *(_text(cell) for cell in self.below))


def _text(cell: Cell | str) -> Text:
    return Text(cell) if isinstance(cell, str) else Text(cell.text, style=_STYLES[cell.tone])


def print_grid(grid: Grid, stream: IO[str] | None = None, width: int | None = None) -> None:
    """Draw once. Not on a terminal: no colour, and as wide as the content needs."""
    target = stream or sys.stdout
    console = Console(file=target, highlight=False, width=width or (None if target.isatty() else 240))
    if console.width < grid.least_width():
        console.width = grid.least_width()
    console.print(grid._drawing(folded=True))


class Screen:
    """A table updated in place; `print` writes a line above it. Use as a context manager."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._console = Console(file=stream or sys.stdout, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=False, redirect_stdout=False)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal now."""
        return self._console.size.width, self._console.size.height

    def height_of(self, grid: Grid) -> int:
        """Lines the table would take."""
        return len(self._console.render_lines(grid._drawing(), pad=False))

    def draw(self, grid: Grid) -> None:
        self._live.update(grid._drawing(), refresh=True)

    def print(self, cell: Cell | str) -> None:
        self._console.print(_text(cell))
