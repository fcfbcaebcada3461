"""Seconds of this host as JSON document and as table. Pure."""

from __future__ import annotations

from typing import Final

from agent.report.samples import Document, utc
from agent.report.terminal import Cell, Column, Grid
from agent.store.hostseconds import AT, COLUMNS, Breach, HostSeconds
from probes.core.arrays import ABSENT, Int64
from probes.core.clock import MICROSECOND, MILLISECOND
from probes.core.units import format_duration

SCHEMA: Final = "linkwitness.host/1"
WORDS: Final = {
    Breach.STOLEN: "CPU stolen", Breach.MEMORY: "no memory", Breach.LATE: "sent late",
    Breach.DROPPED: "replies dropped",
    Breach.STALLED: "agent stood still", Breach.CANARY: "own stack lost or held a packet",
}  # fmt: skip
_NOTHING: Final = "–"
_MILLION: Final = 1_000_000


def headline(seconds: HostSeconds) -> str:
    """One sentence on all of them."""
    total, impaired = len(seconds), seconds.impaired
    if not total:
        return "no second of this host was observed"
    if not impaired:
        return f"this host was fit to measure in all {total} seconds observed"
    return f"this host was unfit to measure in {impaired} of {total} seconds observed ({impaired / total:.2%})"


def document(seconds: HostSeconds, since_ns: int, until_ns: int) -> Document:
    """Every second under the names of its columns; what the host did not tell is null."""
    return {
        "schema": SCHEMA,
        "since": utc(since_ns),
        "until": utc(until_ns),
        "observed": len(seconds),
        "impaired": seconds.impaired,
        "seconds": [
            {name: None if value == ABSENT else value for name, value in zip(COLUMNS, row, strict=True)}
            | {"breach": reasons(row[AT["breach"]])}
            for row in seconds.values.tolist()
        ],
    }


def reasons(breach: int) -> list[str]:
    """The limits that were broken, in words."""
    return [WORDS[limit] for limit in Breach if breach & limit]


def grid(seconds: HostSeconds, *, everything: bool) -> Grid:
    """The impaired seconds, or all of them with how long the canary took."""
    broken = seconds.values[:, AT["breach"]] != 0
    rows = seconds.values if everything else seconds.values[broken]
    return Grid(
        (
            Column("SECOND UNTIL"), Column("LOAD", right=True), Column("STOLEN", right=True),
            Column("WAITED CPU/MEM/IO", right=True), Column("MEMORY FREE", right=True), Column("LATEST", right=True),
            Column("DROPPED", right=True), Column("NOT SENT", right=True),
            *([Column("STACK/USER", right=True)] if everything else []), Column("WHY UNFIT", stretch=True),
        ),
        [_row(row, canary=everything) for row in rows],
        above=[Cell(headline(seconds), "strong")],
    )  # fmt: skip


def _row(row: Int64, *, canary: bool) -> tuple[str | Cell, ...]:
    values = dict(zip(COLUMNS, row.tolist(), strict=True))
    waited = "/".join(_share(values[f"{name}_pressure_ppm"]) for name in ("cpu", "memory", "io"))
    latest = values["lateness_ns"] // MILLISECOND * MILLISECOND
    notes = reasons(values["breach"])
    if values["clock_step_ns"]:
        notes.append(f"clock set by {format_duration(values['clock_step_ns'] // MILLISECOND * MILLISECOND)}")
    if values["carriers_down"] > 0:
        notes.append(f"{values['carriers_down']} interfaces without carrier")
    return (
        f"{utc(values['at_ns'])[:19]}Z",
        _share(values["load_ppm"]),
        _share(values["stolen_ppm"]),
        waited,
        _share(values["memory_available_ppm"]),
        format_duration(latest) if latest else "< 1ms",
        str(values["local_drops"]),
        str(values["not_sent"]),
        *([f"{_short(values['canary_ns'])}/{_short(values['canary_user_ns'])}"] if canary else []),
        Cell("; ".join(notes), "warn" if values["breach"] else "plain"),
    )


def _share(ppm: int) -> str:
    return _NOTHING if ppm == ABSENT else f"{ppm / _MILLION:.0%}"


def _short(ns: int) -> str:
    """Whole microseconds or milliseconds, rounded up."""
    if ns == ABSENT:
        return _NOTHING
    unit = MICROSECOND if ns < MILLISECOND else MILLISECOND
    return format_duration(-(-ns // unit) * unit)
