"""A store as JSON documents and tables: its days, its gaps, what leaves next, and what a check found. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.config.settings import StoreSettings
from agent.report.samples import Document, utc
from agent.report.terminal import Cell, Column, Grid, Row
from agent.store.records import GAP_REASONS, DayStatus, EventRecord, StoreStatus
from agent.store.sealed.manifest import DAY_NS
from agent.store.wholeness import Wholeness
from probes.core.units import format_bytes, format_duration

DAYS_SCHEMA = "linkwitness.store-days/2"
VERIFIED_SCHEMA = "linkwitness.store-verified/2"
SHOWN = 10
"""Gaps and imports in the table; JSON has all that were read."""


@dataclass(frozen=True, slots=True)
class Days:
    """What `store status` shows. gaps and imports: newest first; policy: None where no configuration was read."""

    now_ns: int
    status: StoreStatus
    days: Sequence[DayStatus]
    gaps: Sequence[EventRecord]
    imports: Sequence[EventRecord]
    policy: StoreSettings | None


@dataclass(frozen=True, slots=True)
class Departure:
    """What happens next to a day. what: sealed, packets or samples; at_ns: not before."""

    what: str
    day: str
    at_ns: int


def departures(days: Sequence[DayStatus], policy: StoreSettings) -> list[Departure]:
    """The oldest day that is to be sealed, to lose its packets, and to leave, by age."""
    found = []
    for what, concerned, age in (
        ("sealed", [day for day in days if day.live], policy.seal_after_ns),
        ("packets leave", [day for day in days if day.packets], policy.keep_packets_ns),
        ("samples leave", days, policy.keep_samples_ns),
    ):
        if concerned:
            found.append(Departure(what, concerned[0].date, _end_of(concerned[0].date) + age))
    return found


def _end_of(date: str) -> int:
    return int(datetime.fromisoformat(f"{date}T00:00:00+00:00").astimezone(UTC).timestamp()) * 10**9 + DAY_NS


def document(found: Days) -> Document:
    """Everything, newest gaps first."""
    status, policy = found.status, found.policy
    return {
        "schema": DAYS_SCHEMA,
        "time": utc(found.now_ns),
        "store": str(status.path),
        "site": status.site,
        "running": status.running,
        "circuits": len({series.circuit for series in status.series}),
        "probes": len(status.series),
        "samples": status.rows,
        "sealed_samples": status.sealed_rows,
        "sealed_bytes": status.sealed_bytes,
        "database_bytes": status.database_bytes,
        "wal_bytes": status.wal_bytes,
        "free_bytes": status.free_bytes,
        "damaged": list(status.damaged),
        "days": [
            {
                "date": day.date, "live": day.live, "sealed": day.sealed, "bytes": day.bytes, "parts": day.parts,
                "packets": day.packets,
            }
            for day in found.days
        ],
        "gaps": [_event(event) for event in found.gaps],
        "imports": [_event(event) for event in found.imports],
        "policy": None if policy is None else {
            "seal_after_ns": policy.seal_after_ns, "keep_packets_ns": policy.keep_packets_ns,
            "keep_samples_ns": policy.keep_samples_ns, "keep_bytes": policy.keep_bytes,
        },
        "next": [
            {"what": item.what, "date": item.day, "time": utc(item.at_ns)}
            for item in (departures(found.days, policy) if policy else ())
        ],
    }  # fmt: skip


def _event(event: EventRecord) -> Document:
    return {
        "from": utc(event.at_ns), "to": None if event.end_ns is None else utc(event.end_ns), "reason": event.reason,
        "circuit": event.circuit, "samples": event.count, "text": event.text,
    }  # fmt: skip


def grid(found: Days) -> Grid:
    """One row a day; totals above, gaps, imports and the policy below."""
    status = found.status
    live, circuits = status.rows - status.sealed_rows, len({series.circuit for series in status.series})
    who = f"in use by process {status.owner.pid}" if status.running and status.owner else "no agent runs on it"
    above = [
        Cell(
            f"store {status.path} of site {status.site or '(none)'}: {status.rows} samples of {len(status.series)} "
            f"probes on {circuits} circuits; {who}", "strong",
        ),
        Cell(
            f"live: {live} samples, {format_bytes(status.database_bytes + status.wal_bytes)}; "
            f"sealed: {status.sealed_rows} samples, {format_bytes(status.sealed_bytes)}; "
            f"free on this disk: {format_bytes(status.free_bytes)}",
            "dim",
        ),
    ]  # fmt: skip
    if status.damaged:
        above.append(Cell(f"moved aside as damaged: {', '.join(status.damaged)}", "warn"))
    columns = (
        Column("DAY (UTC)"), Column("STATE"), Column("SAMPLES", right=True), Column("BYTES", right=True),
        Column("BYTES/SAMPLE", right=True), Column("PACKETS"),
    )  # fmt: skip
    below = [*_records("gap", found.gaps), *_records("import", found.imports), *_policy(found)]
    return Grid(columns, [_row(day) for day in found.days], above=above, below=below)


def _row(day: DayStatus) -> Row:
    total = day.live + day.sealed
    if not day.sealed:
        return (day.date, "live", str(total), "", "", "")
    state = "sealed" if not day.live else f"sealed, {day.live} live"
    kept = "kept" if day.packets else Cell("none", "dim")
    return (day.date, state, str(total), format_bytes(day.bytes), f"{day.bytes / day.sealed:.1f}", kept)


def _records(word: str, events: Sequence[EventRecord]) -> list[Cell]:
    if not events:
        return [Cell("no gaps", "dim")] if word == "gap" else []
    lines = [
        Cell(f"{word} {utc(event.at_ns)} to {utc(event.end_ns or event.at_ns)}: {_reason(event)}", "warn")
        for event in events[:SHOWN]
    ]
    if len(events) > SHOWN:
        lines.append(Cell(f"... and {len(events) - SHOWN} earlier {word}s: --json lists them", "dim"))
    return lines


def _reason(event: EventRecord) -> str:
    if event.reason in GAP_REASONS:
        return f"{event.reason}: {event.text}"
    return f"{event.count} samples of {event.circuit} from {event.reason}"


def _policy(found: Days) -> list[Cell]:
    policy = found.policy
    if policy is None:
        return [Cell("what leaves when: not known with --store alone; -c names the configuration", "dim")]
    bytes_kept = "no bound on bytes" if policy.keep_bytes is None else (
        f"at most {format_bytes(policy.keep_bytes)}, "
        f"{format_bytes(found.status.database_bytes + found.status.wal_bytes + found.status.sealed_bytes)} used"
    )  # fmt: skip
    lines = [Cell(
        f"policy: days are sealed after {format_duration(policy.seal_after_ns)}, packets leave after "
        f"{format_duration(policy.keep_packets_ns)}, samples after {format_duration(policy.keep_samples_ns)}; "
        f"{bytes_kept}", "dim",
    )]  # fmt: skip
    for item in departures(found.days, policy):
        when = "at the agent's next hourly pass" if item.at_ns <= found.now_ns else f"from {utc(item.at_ns)} on"
        lines.append(Cell(f"next: {item.day}: {item.what} {when}", "dim"))
    return lines


def verified_document(store: str, found: Wholeness) -> Document:
    """What was checked, and every finding."""
    return {
        "schema": VERIFIED_SCHEMA,
        "store": store,
        "ok": not found.findings,
        "parts": found.sealed.parts,
        "files": found.sealed.files,
        "bytes": found.sealed.bytes,
        "sealed_samples": found.sealed.rows,
        "live_samples": found.live_rows,
        "first_seq": found.first_seq,
        "last_seq": found.last_seq,
        "missing": [{"first": item.first, "last": item.last, "reason": item.reason} for item in found.missing],
        "findings": [{"file": str(finding.path), "reason": finding.reason} for finding in found.findings],
    }


def verified_lines(found: Wholeness) -> list[str]:
    """One line for each finding and each hole that is explained, and the sum."""
    lines = [f"damaged: {finding.path}: {finding.reason}" for finding in found.findings]
    notes = [
        f"note: samples {item.first} to {item.last} are not there: {item.reason}"
        for item in found.missing[:SHOWN]
        if item.reason is not None
    ]
    what = (
        f"{found.sealed.rows} samples in {found.sealed.files} files of {found.sealed.parts} sealed parts "
        f"({format_bytes(found.sealed.bytes)}) and {found.live_rows} in the live database"
    )
    return [*lines, *notes, f"{what}: {f'findings: {len(lines)}' if lines else 'whole'}"]
