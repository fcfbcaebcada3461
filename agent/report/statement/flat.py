"""A statement as CSV: one flat table, a `section` column first, for spreadsheets and scripts. Pure.

RFC 4180 with CR LF, UTF-8. Empty is missing. Numbers in base units; `_exact` columns hold fractions. Text that a
spreadsheet would take for a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from agent.report.statement import figures
from agent.report.statement.model import Content, Statement
from agent.report.statement.rows import Figure, Instant, WindowRow

COLUMNS: Final = (
    "section", "contract", "contract_version", "circuit", "id", "name", "window", "start_utc", "end_utc", "state",
    "estimated", "unit", "target", "value", "best", "worst", "margin", "coverage", "budget_allowed", "budget_used",
    "value_exact", "best_exact", "worst_exact", "target_exact", "duration_s", "counted_s", "contract_clock_s",
    "measured_clock_s", "difference_s", "party", "disputed", "amount", "currency", "claim", "deadline",
    "sent", "lost", "p5", "p25", "p75", "p95", "sha256", "text",
)  # fmt: skip
SECTIONS: Final = (
    "result", "missing", "exclusion", "incident", "credit", "chronic", "dispute", "bucket", "hash", "series",
)  # fmt: skip
_SECOND: Final = 10**9
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_NUMBERS: Final = frozenset(
    {"target", "value", "best", "worst", "margin", "coverage", "budget_allowed", "budget_used", "duration_s",
     "counted_s", "contract_clock_s", "measured_clock_s", "difference_s", "amount", "value_exact", "best_exact",
     "worst_exact", "target_exact"}
)  # fmt: skip
Row = dict[str, str]


def as_csv(statement: Statement) -> str:
    """All sections, one after the other."""
    content, header = statement.content, statement.content.header
    common = {"contract": header.contract, "contract_version": header.version, "circuit": header.circuit}
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in _rows(statement, content):
        writer.writerow({name: _safe(name, value) for name, value in (common | row).items()})
    return out.getvalue()


def _safe(name: str, value: str) -> str:
    return f"'{value}" if name not in _NUMBERS and value.startswith(_FORMULA) else value


def _rows(statement: Statement, content: Content) -> Iterable[Row]:
    yield from _results(content)
    yield from _times(content)
    yield from _faults(content)
    yield from _owed(content)
    for dispute in content.disputes:
        yield {"section": "dispute", "id": dispute.subject, "text": dispute.text}
    yield from _buckets(content)
    yield from _hashes(statement, content)


def _results(content: Content) -> Iterable[Row]:
    for row in content.results:
        budget = row.budget
        yield {
            "section": "result", "id": row.objective, "name": row.name, **_window(row.window), "state": row.state,
            "estimated": "yes" if row.estimated else "no", "unit": row.target.unit, "target": _decimal(row.target),
            "value": _decimal(row.value), "best": _decimal(row.best), "worst": _decimal(row.worst),
            "margin": _decimal(row.margin), "coverage": _decimal(row.coverage),
            "budget_allowed": _decimal(budget.allowed) if budget else "",
            "budget_used": _decimal(budget.used) if budget else "",
            "value_exact": _exact(row.value), "best_exact": _exact(row.best), "worst_exact": _exact(row.worst),
            "target_exact": _exact(row.target), "text": row.sentence,
        }  # fmt: skip


def _times(content: Content) -> Iterable[Row]:
    for account in content.time:
        window = _window(account.window)
        for missing in account.missing:
            yield {
                "section": "missing", "id": account.objective, "name": missing.reason, **window,
                "duration_s": _seconds(missing.duration),
            }  # fmt: skip
    for row in content.exclusions:
        yield {
            "section": "exclusion", "id": row.id, "name": row.kind, "start_utc": row.start.utc, "end_utc": row.end.utc,
            "state": "applied" if row.applied else "not applied", "duration_s": _seconds(row.duration),
            "counted_s": _seconds(row.taken), "party": row.confirmed_by,
            "text": f"{row.reason}; {row.sentence or row.standing}",
        }  # fmt: skip


def _faults(content: Content) -> Iterable[Row]:
    for row in content.incidents:
        yield {
            "section": "incident", "id": row.id, "name": row.basis, "start_utc": row.start.utc,
            "end_utc": _utc(row.end), "state": "over" if row.end else "not over", "duration_s": _seconds(row.down),
            "counted_s": _seconds(row.counted), "contract_clock_s": _seconds(row.contract_clock),
            "measured_clock_s": _seconds(row.measured_clock), "difference_s": _seconds(row.difference),
            "party": row.attribution.party, "disputed": row.attribution.disputed,
            "text": "; ".join(row.attribution.reasons),
        }  # fmt: skip


def _owed(content: Content) -> Iterable[Row]:
    for line in content.credit.lines:
        yield {
            "section": "credit", "id": line.terms, "name": line.subject, **_window(line.window),
            "state": "provisional" if line.provisional else "final", "amount": _decimal(line.amount),
            "currency": line.amount.unit, "value_exact": _exact(line.exact),
            "claim": line.claim.state if line.claim else "",
            "deadline": (line.claim.deadline or "") if line.claim else "", "text": "; ".join(line.steps),
        }  # fmt: skip
    for row in content.chronic:
        yield {
            "section": "chronic", "id": row.rule, "name": row.right, "state": "met" if row.met else "not met",
            "deadline": row.exercise_by or "", "text": row.sentence,
        }  # fmt: skip


def _buckets(content: Content) -> Iterable[Row]:
    """Of round-trip time in ns: best is the smallest of the bucket, value the median, worst the largest."""
    chart = content.chart
    for row in chart.buckets if chart else ():
        if row.sent:
            yield {
                "section": "bucket", "id": chart.probe if chart else "", "unit": "ns", "sent": str(row.sent),
                "start_utc": figures.instant(row.start_ns, "UTC").utc, "lost": str(row.lost),
                "value": _whole(row.p50_ns), "best": _whole(row.p0_ns), "worst": _whole(row.p100_ns),
                "p5": _whole(row.p5_ns), "p25": _whole(row.p25_ns), "p75": _whole(row.p75_ns),
                "p95": _whole(row.p95_ns),
            }  # fmt: skip


def _hashes(statement: Statement, content: Content) -> Iterable[Row]:
    proof = content.provenance
    yield {"section": "hash", "id": "content", "sha256": statement.content_sha256}
    yield {"section": "hash", "id": "data", "sha256": proof.data_sha256}
    for digest in proof.digests:
        yield {"section": "hash", "id": digest.of, "sha256": digest.sha256}
    for item in proof.series:
        yield {
            "section": "series", "id": item.probe, "name": item.used_for, "start_utc": _utc(item.first),
            "end_utc": _utc(item.end), "sha256": item.sha256, "text": f"{item.rows} rows: {' '.join(item.columns)}",
        }  # fmt: skip


def _window(window: WindowRow) -> Row:
    return {"window": window.label, "start_utc": window.start.utc, "end_utc": window.end.utc}


def _utc(instant: Instant | None) -> str:
    return instant.utc if instant else ""


def _whole(value: int | None) -> str:
    return "" if value is None else str(value)


def _exact(figure: Figure) -> str:
    return "" if figure.exact is None else str(figure.exact)


def _decimal(figure: Figure) -> str:
    """Shortest decimal that gives the nearest double."""
    return "" if figure.exact is None else _number(figure.exact)


def _seconds(figure: Figure) -> str:
    return "" if figure.exact is None else _number(figure.exact / _SECOND)


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else repr(float(value))
