"""Parked lines as JSON document and as a table. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.report.samples import Document, utc
from agent.report.terminal import Cell, Column, Grid
from agent.store.records import PARKED_ROOM, ParkedLine

PARKED_SCHEMA: Final = "linkwitness.sink-parked/1"
_TAG: Final = r",{}=((?:\\.|[^\\, ])*)"


@dataclass(frozen=True, slots=True)
class ParkedAt:
    """Parked lines of one sink: the newest of `kept`; dropped: how many went before for want of room."""

    sink: str
    kept: int
    dropped: int
    lines: Sequence[ParkedLine]


def document(found: Sequence[ParkedAt]) -> Document:
    """Everything as JSON values; null where a line does not tell."""
    return {
        "schema": PARKED_SCHEMA,
        "sinks": [
            {
                "name": item.sink, "parked": item.kept, "dropped": item.dropped, "room": PARKED_ROOM,
                "lines": [_line(line) for line in item.lines],
            }
            for item in found
        ],
    }  # fmt: skip


def _line(line: ParkedLine) -> Document:
    return {
        "id": line.id, "at": utc(line.at_ns), "seq": line.seq, "circuit": tag(line.line, "circuit"),
        "probe": tag(line.line, "probe"), "reason": line.reason, "line": line.line,
    }  # fmt: skip


def grid(found: Sequence[ParkedAt], *, lines: bool) -> Grid:
    """Newest first. lines: with the text of each."""
    columns = [Column("SINK"), Column("PARKED"), Column("CIRCUIT"), Column("PROBE"), Column("REASON", stretch=True)]
    if lines:
        columns.append(Column("LINE", stretch=True))
    rows = [
        (
            Cell(item.sink, "strong"), f"{utc(line.at_ns)[:19]}Z", tag(line.line, "circuit") or "–",
            tag(line.line, "probe") or "–", line.reason, *((line.line,) if lines else ()),
        )
        for item in found
        for line in item.lines
    ]  # fmt: skip
    return Grid(columns, rows, below=[Cell(_sum(item), "bad" if item.dropped else "dim") for item in found])


def _sum(item: ParkedAt) -> str:
    text = f"{item.sink}: {item.kept} parked"
    if len(item.lines) < item.kept:
        text += f", the newest {len(item.lines)} shown"
    if item.dropped:
        text += f"; {item.dropped} older ones went, there is room for {PARKED_ROOM}"
    return text


def tag(line: str, name: str) -> str | None:
    """Value of a tag of a line; None where it has none."""
    found = re.search(_TAG.format(name), line)
    return re.sub(r"\\([,= ])", r"\1", found[1]) if found else None
