"""A statement as plain text of a fixed width, for terminals, mails and files. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from agent.report.statement import figures
from agent.report.statement.layout import between, pairs, table, wrapped
from agent.report.statement.model import Section, Statement
from agent.report.statement.rows import IncidentRow
from agent.report.statement.rules import RULES
from agent.report.statement.smoke import describe
from agent.report.statement.views import accounts, joined, many_windows, promises

WIDTH: Final = 100
_LEAST: Final = 60
_MARKS: Final = {"met": "+", "on_track": "+", "breached": "X", "at_risk": "!", "inconclusive": "?", "unmeasurable": "?"}
_HEADINGS: Final[dict[Section, tuple[str, str]]] = {
    "results": ("PROMISED AND MEASURED", "PROMISED AND MEASURED"),
    "credit": ("CREDITS OWED", "CREDITS AT STAKE"),
    "chart": ("THE PERIOD AT A GLANCE", "THE PERIOD AT A GLANCE"),
    "incidents": ("FAULTS", "FAULTS AND WHO ANSWERS FOR THEM"),
    "exclusions": ("TIME THAT DOES NOT COUNT", "EXCLUSIONS ACCEPTED AND REFUSED"),
    "time": ("WHERE THE TIME WENT", "WHERE THE TIME WENT"),
    "chronic": ("REPEATED FAILURE", "REPEATED FAILURE"),
    "disputes": ("NOT AGREED", "NOT AGREED"),
    "signatures": ("SIGNED BY BOTH PARTIES", "SIGNED BY BOTH PARTIES"),
    "methods": ("HOW EACH NUMBER CAME ABOUT", "HOW EACH NUMBER CAME ABOUT"),
    "provenance": ("PROOF", "PROOF"),
}
Lines = Iterator[str]


def text(statement: Statement, width: int = WIDTH) -> str:
    """The whole report; lines are at most `width` columns unless one word is longer."""
    return "\n".join(line.rstrip() for line in _lines(statement, max(width, _LEAST))) + "\n"


def _lines(statement: Statement, width: int) -> Lines:
    header = statement.content.header
    yield from wrapped(f"SERVICE REPORT FOR THE {statement.audience.upper()}", width)
    yield from wrapped(header.title, width)
    yield from wrapped(f"Circuit {header.circuit}, {header.period.label}", width)
    yield ""
    named = [
        *((party.role.capitalize(), party.name) for party in header.parties),
        ("Contract", f"{header.contract}, version {header.version}"),
        ("Period", f"{header.period.start.local} to {header.period.end.local} ({header.period.length.shown})"),
        ("Judged as of", header.as_of.local + ("" if header.period.closed else "; the period is not over")),
        *((fact.label, fact.text) for fact in header.facts),
    ]
    yield from pairs(named, width)
    yield ""
    yield "=" * width
    yield from wrapped(statement.summary.headline, width)
    for sentence in statement.summary.sentences:
        yield from wrapped(sentence, width, "- ", "  ")
    yield "=" * width
    for name in statement.sections:
        lines = list(_SECTIONS[name](statement, width))
        if lines:
            yield ""
            yield _HEADINGS[name][statement.audience == "provider"]
            yield from lines


def _results(statement: Statement, width: int) -> Lines:
    found = promises(statement.content)
    if not found:
        yield "The contract promises nothing in this period."
        return
    rows = [
        (
            _MARKS[item.row.state],
            item.row.objective,
            item.row.state_text,
            item.row.target_text,
            item.row.value.shown,
            item.row.margin.shown,
            item.row.coverage.shown,
        )
        for item in found
    ]
    head = ("", "promise", "verdict", "promised", "measured", "margin", "time measured")
    yield from table(head, rows, "lllrrrr", width)
    for item in found:
        row, budget = item.row, item.row.budget
        yield ""
        yield from wrapped(f"{row.objective}: {row.name}", width)
        if row.clause:
            yield from wrapped(f"“{row.clause}”", width, "  ", "   ")
        if item.count > 1:
            yield from wrapped(
                f"{item.count} windows: {item.told}; the worst is {row.window.label}", width, "  ", "    "
            )
        if item.bounds != figures.NOTHING:
            yield from wrapped(f"best to worst: {item.bounds}", width, "  ", "    ")
        if budget is not None:
            heading = f"; heading for {budget.projection.shown}" if budget.projection else ""
            told = f"budget, {budget.of}: {budget.used.shown} of {budget.allowed.shown} used, {budget.left.shown} left"
            yield from wrapped(told + heading, width, "  ", "    ")
        if item.note:
            yield from wrapped(item.note, width, "  ", "    ")


def _credit(statement: Statement, width: int) -> Lines:
    credit = statement.content.credit
    if not credit.lines:
        yield f"No credit can be worked out: {credit.obstacle}." if credit.obstacle else "No credit is owed."
    for line in credit.lines:
        provisional = " (provisional)" if line.provisional else ""
        head = f"{line.terms}, {line.subject}, {line.window.label}"
        yield from between(head, line.amount.shown + provisional, width)
        for number, step in enumerate(line.steps, 1):
            yield from wrapped(step, width, f"  {number}. ", "     ")
        if line.limited_by and line.limited_by not in " ".join(line.steps):
            yield from wrapped(f"limited by {line.limited_by}", width, "  ", "    ")
        if line.claim is not None:
            obstacle = f"; {line.claim.obstacle}" if line.claim.obstacle else ""
            yield from wrapped(f"{line.claim.text}{obstacle}", width, "  ", "    ")
    if credit.lines:
        share = f", {credit.share.shown} of {credit.charge.shown}" if credit.share.exact is not None else ""
        yield "-" * width
        yield from between(f"Total{share}", credit.total.shown, width)
    for note in credit.notes:
        yield from wrapped(note, width)


def _chart(statement: Statement, width: int) -> Lines:
    chart = statement.content.chart
    if chart is None:
        yield "Nothing to draw: no round-trip times were measured in this period."
        return
    yield from wrapped(f"Probe {chart.probe}. {describe(chart)}", width)
    for change in chart.clock_changes:
        at = figures.instant(change.at_ns, chart.time_zone)
        yield from wrapped(f"The clocks change at {at.local}: {change.before} to {change.after}.", width)


def _incidents(statement: Statement, width: int) -> Lines:
    content = statement.content
    if not content.incidents:
        yield "No fault is on record in this period."
        return
    head = ("", "from", "counts", "contract", "measured", "difference", "answers")
    rows = [
        (
            str(row.number), row.start.local, row.counted.shown, row.contract_clock.shown,
            row.measured_clock.shown, row.difference.shown, row.attribution.party,
        )
        for row in content.incidents
    ]  # fmt: skip
    yield from table(head, rows, "rlrrrrl", width)
    for row in content.incidents:
        yield ""
        yield from _incident(row, width)
    if content.repair.count:
        means = content.repair
        yield ""
        yield from wrapped(
            f"{means.count} began in the period: mean time to repair {means.mttr.shown} on the contract’s clock, "
            f"{means.mttr_measured.shown} measured; mean time to failure {means.mttf.shown}; between failures "
            f"{means.mtbf.shown}.",
            width,
        )


def _incident(row: IncidentRow, width: int) -> Lines:
    end = row.end.local if row.end else "not over"
    yield from wrapped(
        f"{row.number}. {row.id}, {row.basis}: down {row.down.shown}, {row.start.local} to {end}", width, "", "   "
    )
    reasons = f": {joined(row.attribution.reasons)}" if row.attribution.reasons else "."
    told = [f"{row.attribution.party}, by {row.attribution.by}{reasons}"]
    if row.attribution.disputed:
        told.append(f"DISPUTED: {row.attribution.disputed}")
    told += [f"before: {before}" for before in row.attribution.before]
    for ticket in row.tickets:
        references = f" ({', '.join(ticket.references)})" if ticket.references else ""
        rest = "; ".join(item for item in (ticket.cause, ticket.note) if item)
        told.append(f"ticket {ticket.id}{references}{': ' if rest else ''}{rest}")
    for pause in row.pauses:
        until = pause.end.local if pause.end else "now"
        proof = f" ({pause.evidence})" if pause.evidence else ""
        told.append(f"paused {pause.start.local} to {until}: {pause.reason}{proof}")
    if row.stamps:
        told.append("; ".join(f"{stamp.stamp} {stamp.at.local}" for stamp in row.stamps))
    for line in told:
        yield from wrapped(line, width, "   ", "     ")


def _exclusions(statement: Statement, width: int) -> Lines:
    if not statement.content.exclusions:
        yield "No time is excluded, and nobody asked for any."
    for row in statement.content.exclusions:
        yield from between(f"{row.id}, {row.kind}: {row.reason}", f"{row.taken.shown} taken out", width)
        yield from wrapped(f"{row.start.local} to {row.end.local} ({row.duration.shown})", width, "  ", "    ")
        yield from wrapped(row.sentence or row.standing, width, "  ", "    ")
        told = f"told {row.notified.local}; " if row.notified else ""
        late = ", after its start" if row.retroactive else ""
        agreed = f"agreed by {row.confirmed_by}" if row.confirmed_by else "agreed by nobody"
        yield from wrapped(f"{told}entered {row.entered.local}{late}; {agreed}", width, "  ", "    ")


def _time(statement: Statement, width: int) -> Lines:
    found = accounts(statement.content)
    if not found:
        yield "Nothing was measured."
    for account, names in found:
        yield from wrapped(f"{', '.join(names)} (probe {account.probe or figures.NOTHING})", width)
        parts = [
            ("window", account.whole.shown), ("excluded", account.excluded.shown), ("counts", account.counted.shown),
            ("measured", account.measured.shown),
            *((f"not measured, {row.reason}", row.duration.shown) for row in account.missing),
        ]  # fmt: skip
        if account.edges.exact:
            parts.append((account.edges_text, account.edges.shown))
        yield from pairs([(f"  {name}", value) for name, value in parts], width)


def _chronic(statement: Statement, width: int) -> Lines:
    for row in statement.content.chronic:
        met = f"met, gives the right to {row.right}" if row.met else "not met"
        until = f" by {row.exercise_by}" if row.exercise_by else ""
        yield from wrapped(f"{row.rule}: {met}{until}. {row.sentence}", width, "", "  ")


def _disputes(statement: Statement, width: int) -> Lines:
    if not statement.content.disputes:
        yield "Nothing is disputed on record."
    for number, row in enumerate(statement.content.disputes, 1):
        yield from wrapped(f"{row.subject}: {row.text}", width, f"{number}. ", "   ")


def _signatures(statement: Statement, width: int) -> Lines:
    yield from wrapped(f"Content {statement.content_sha256}", width)
    for party in statement.content.header.parties[:2]:
        yield ""
        yield from wrapped(
            f"{party.name} ({party.role}):  [ ] accepted in full  [ ] except for the items not agreed", width
        )
        rule = "_" * ((width - 26) // 2)
        yield f"Name, date: {rule}  Signature: {rule}"


def _methods(statement: Statement, width: int) -> Lines:
    for method in statement.content.methods:
        yield from wrapped(f"{method.objective}: {method.definition}", width, "", "  ")
        yield from wrapped(method.formula, width, "  ", "    ")
        if method.inputs:
            told = "; ".join(f"{fact.label} {fact.text}" for fact in method.inputs)
            yield from wrapped(f"{method.window}: {told}", width, "  ", "    ")
    many = many_windows(statement.content)
    if many:
        yield ""
        head = ("promise", "window", "verdict", "promised", "measured", "margin", "time measured")
        rows = [
            (row.objective, row.window.label, row.state_text, row.target_text, row.value.shown, row.margin.shown,
             row.coverage.shown)
            for row in many
        ]  # fmt: skip
        yield from table(head, rows, "lllrrrr", width)
    yield ""
    yield from pairs(RULES, width)


def _provenance(statement: Statement, width: int) -> Lines:
    proof = statement.content.provenance
    named = [
        ("Content", statement.content_sha256),
        ("Data", proof.data_sha256),
        *((digest.of.capitalize(), digest.sha256 or "no file") for digest in proof.digests),
        ("Time zone rules", proof.time_zone_rules),
        ("Software", proof.software),
        ("Samples from", statement.source),
        ("Made by", statement.command),
    ]
    yield from pairs([pair for pair in named if pair[1]], width)
    for item in proof.series:
        span = f"{item.first.utc} to {item.end.utc}" if item.first and item.end else "none"
        yield from wrapped(
            f"{item.circuit}, {item.probe} ({item.used_for}): {item.rows} rows, {span}; {', '.join(item.columns)}; "
            f"SHA-256 {item.sha256}",
            width, "", "  ",
        )  # fmt: skip


_SECTIONS: Final[dict[Section, Callable[[Statement, int], Lines]]] = {
    "results": _results,
    "credit": _credit,
    "chart": _chart,
    "incidents": _incidents,
    "exclusions": _exclusions,
    "time": _time,
    "chronic": _chronic,
    "disputes": _disputes,
    "signatures": _signatures,
    "methods": _methods,
    "provenance": _provenance,
}
