"""Verdicts as JSON: what was promised, what was measured, exact fractions beside decimals, null for missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from agent.report.samples import utc
from agent.sla.terms.contract import Unit
from agent.sla.verdict import EvidenceValue, Verdict
from agent.sla.words.definitions import definition

CHECK_SCHEMA = "linkwitness.check/1"
UNITS = {
    Unit.DELAY: "ns", Unit.RATIO: "ratio", Unit.RATE: "bit/s", Unit.MOS: "mos", Unit.COUNT: "count",
    Unit.DURATION: "ns",
}  # fmt: skip

Document = dict[str, object]


def check_document(verdicts: Sequence[Verdict], *, now_ns: int, source: str, code: int, line: str) -> Document:
    """All verdicts of one check, with the plugin's line and exit code."""
    return {
        "schema": CHECK_SCHEMA,
        "now": utc(now_ns),
        "source": source,
        "exit_code": code,
        "summary": line,
        "verdicts": [verdict_document(verdict) for verdict in verdicts],
    }


def verdict_document(verdict: Verdict) -> Document:
    """One verdict. `value` and its kin are decimals in base units, `*_exact` the same as a fraction."""
    objective = verdict.objective
    return {
        "contract": verdict.contract,
        "circuit": verdict.circuit,
        "objective": objective.id,
        "clause": objective.text or None,
        "metric": objective.metric.value,
        "unit": UNITS[objective.unit],
        "definition": verdict.evidence.get("definition", definition(objective)),
        "comparison": objective.comparison,
        "target_text": objective.target.text,
        "window": {
            "label": verdict.window.label,
            "time_zone": verdict.window.zone,
            "start": utc(verdict.window.start_ns),
            "end": utc(verdict.window.end_ns),
            "start_ns": verdict.window.start_ns,
            "end_ns": verdict.window.end_ns,
        },
        "state": verdict.state.value,
        "estimated": verdict.estimated,
        **_number("target", verdict.target),
        **_number("value", verdict.value),
        **_number("best", verdict.best),
        **_number("worst", verdict.worst),
        **_number("coverage", verdict.coverage),
        **_number("window_coverage", verdict.window_coverage),
        "remark": verdict.remark or None,
        "budget": _budget(verdict),
        "sentence": verdict.sentence,
        "evidence": {key: _plain(value) for key, value in verdict.evidence.items()},
    }


def _budget(verdict: Verdict) -> Document | None:
    """What the target still allows, in its own unit."""
    budget = verdict.budget
    if budget is None:
        return None
    return {
        "of": budget.noun,
        **_number("allowed", budget.allowed),
        **_number("used", budget.used),
        **_number("left", budget.left),
        **_number("projection", budget.projection),
        "text": budget.text or None,
    }


def _number(name: str, value: Fraction | None) -> Document:
    return {name: None if value is None else float(value), f"{name}_exact": None if value is None else str(value)}


def _plain(value: EvidenceValue) -> object:
    if isinstance(value, Fraction):
        return {"decimal": float(value), "exact": str(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
