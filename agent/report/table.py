"""Verdicts as a table for people: one row for each objective, and a sentence for each that needs attention. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.report.terminal import Cell, Column, Grid, Tone
from agent.sla.verdict import Verdict, VerdictState, by_severity
from agent.sla.words.definitions import name
from agent.sla.words.wording import quantity, share

TONES: Final[dict[VerdictState, Tone]] = {
    VerdictState.MET: "good",
    VerdictState.ON_TRACK: "good",
    VerdictState.AT_RISK: "warn",
    VerdictState.BREACHED: "bad",
    VerdictState.INCONCLUSIVE: "dim",
    VerdictState.UNMEASURABLE: "dim",
}
_GOOD: Final = (VerdictState.MET, VerdictState.ON_TRACK)


def state_cell(verdict: Verdict) -> Cell:
    """`on track`, `met (estimated)`, in the tone of the state."""
    estimated = (
        " (estimated)" if verdict.estimated and verdict.state in (VerdictState.MET, VerdictState.BREACHED) else ""
    )
    return Cell(verdict.state.value.replace("_", " ") + estimated, TONES[verdict.state])


def verdict_grid(verdicts: Sequence[Verdict]) -> Grid:
    """All verdicts in the order given; below, in full, those that are not good or have time excluded, worst first."""
    columns = (
        Column("circuit"),
        Column("objective"),
        Column("statistic"),
        Column("verdict"),
        Column("value", right=True),
        Column("target", right=True),
        Column("measured", right=True),
        Column("window"),
    )
    rows = [
        (
            verdict.circuit,
            verdict.objective.id,
            name(verdict.objective),
            state_cell(verdict),
            quantity(verdict.objective, verdict.value, verdict.target),
            ("at least " if verdict.objective.comparison == "min" else "at most ") + verdict.objective.target.text,
            share(verdict.coverage),
            verdict.window.label,
        )
        for verdict in verdicts
    ]
    below = [
        Cell(f"{verdict.circuit}: {verdict.sentence}", TONES[verdict.state])
        for verdict in by_severity(verdicts)
        if verdict.state not in _GOOD or verdict.evidence.get("exclusions")
    ]
    return Grid(columns, rows, below=below)
