"""What a contract would have paid, as a table and as a document. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from agent.report.document import Document, verdict_document
from agent.report.samples import utc
from agent.report.table import TONES
from agent.report.terminal import Cell, Column, Grid, Row
from agent.sla.assessment import Assessment
from agent.sla.terms.contract import Contract
from agent.sla.terms.money import Money
from agent.sla.verdict import VerdictState, worst
from agent.sla.words.wording import plural, spoken

BACKTEST_SCHEMA = "linkwitness.backtest/1"


def backtest_grid(found: Sequence[Assessment]) -> Grid:
    """One row for each circuit and period."""
    columns = (
        Column("circuit"),
        Column("period"),
        Column("verdict"),
        Column("outages", right=True),
        Column("down", right=True),
        Column("credit", right=True),
        Column("why", stretch=True),
    )
    return Grid(columns, [_row(item) for item in found])


def _row(item: Assessment) -> Row:
    gravest = worst(item.verdicts)
    state = gravest.state if gravest else VerdictState.UNMEASURABLE
    down_ns = sum(incident.counted_ns for incident in item.incidents)
    return (
        item.circuit.id,
        item.period.label,
        Cell(state.value.replace("_", " "), TONES[state]),
        str(item.repair.count),
        spoken(down_ns),
        str(item.settlement.total) if item.settlement.total is not None else "–",
        "; ".join(_reasons(item)) or "all met",
    )


def _reasons(item: Assessment) -> Iterator[str]:
    if item.settlement.obstacle:
        yield item.settlement.obstacle
    for line in item.settlement.lines:
        if line.amount.amount:
            yield f"{line.terms.id}: {line.amount}"
    breached: dict[str, int] = {}
    unsure: dict[str, int] = {}
    for verdict in item.verdicts:
        counts = (
            breached
            if verdict.state is VerdictState.BREACHED
            else unsure
            if verdict.state in (VerdictState.INCONCLUSIVE, VerdictState.UNMEASURABLE)
            else None
        )
        if counts is not None:
            counts[verdict.objective.id] = counts.get(verdict.objective.id, 0) + 1
    for word, counts in (("breached", breached), ("inconclusive", unsure)):
        if counts:
            named = (name if times == 1 else f"{name} ({times} times)" for name, times in counts.items())
            yield f"{word}: {', '.join(named)}"


def totals(contract: Contract, found: Sequence[Assessment]) -> list[str]:
    """`gold 2026-01 would have paid 96.00 EUR for 3 circuits over 2026-08 to 2026-10.`"""
    sums = _sums(found)
    periods = sorted({(item.period.start_ns, item.period.label) for item in found})
    over = periods[0][1] if len(periods) == 1 else f"{periods[0][1]} to {periods[-1][1]}"
    circuits = plural(len({item.circuit.id for item in found}), "circuit")
    paid = " and ".join(str(money) for money in sums) or "nothing"
    lines = [f"{contract.id} {contract.version} would have paid {paid} for {circuits} over {over}."]
    late = [item for item in found if item.first_sample_ns is None or item.first_sample_ns > item.period.start_ns]
    if late:
        lines.append(f"{len(late)} of {plural(len(found), 'period')} began before the first sample of the circuit.")
    if any(line.provisional for item in found for line in item.settlement.lines):
        lines.append("Lines of open windows and of estimated verdicts are in it.")
    return lines


def _sums(found: Sequence[Assessment]) -> list[Money]:
    sums: dict[str, Decimal] = {}
    for item in found:
        total = item.settlement.total
        if total is not None:
            sums[total.currency] = sums.get(total.currency, Decimal(0)) + total.amount
    return [Money(amount, currency) for currency, amount in sorted(sums.items())]


def backtest_document(contract: Contract, found: Sequence[Assessment]) -> Document:
    """Everything of it, for machines."""
    return {
        "schema": BACKTEST_SCHEMA,
        "contract": contract.id,
        "version": contract.version,
        "sha256": contract.digest,
        "total": [{"amount": str(money.amount), "currency": money.currency} for money in _sums(found)],
        "periods": [_period(item) for item in found],
    }


def _period(item: Assessment) -> Document:
    settlement = item.settlement
    return {
        "circuit": item.circuit.id,
        "period": item.period.label,
        "start": utc(item.period.start_ns),
        "end": utc(item.period.end_ns),
        "outages": item.repair.count,
        "down_ns": sum(incident.counted_ns for incident in item.incidents),
        "credit": None
        if settlement.total is None
        else {"amount": str(settlement.total.amount), "currency": settlement.total.currency},
        "obstacle": settlement.obstacle or None,
        "lines": [
            {
                "terms": line.terms.id,
                "subject": line.subject,
                "amount": str(line.amount.amount),
                "steps": list(line.steps),
                "limited_by": line.limited_by or None,
                "provisional": line.provisional,
            }
            for line in settlement.lines
        ],
        "verdicts": [verdict_document(verdict) for verdict in item.verdicts],
    }
