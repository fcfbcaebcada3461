"""Days of a store, and what a check of it found, as JSON documents and tables. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agent.report.samples import Document
from agent.report.terminal import Cell, Column, Grid, Row
from agent.store.records import DayStatus, StoreStatus
from agent.store.sealed.verification import Verified
from probes.core.units import format_bytes

DAYS_SCHEMA = "linkwitness.store-days/1"
VERIFIED_SCHEMA = "linkwitness.store-verified/1"


def document(status: StoreStatus, days: Sequence[DayStatus]) -> Document:
    """Totals and every day."""
    return {
        "schema": DAYS_SCHEMA,
        "store": str(status.path),
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
            for day in days
        ],
    }  # fmt: skip


def grid(status: StoreStatus, days: Sequence[DayStatus]) -> Grid:
    """One row a day."""
    live = status.rows - status.sealed_rows
    above = [
        Cell(f"store {status.path}: {status.rows} samples of {len(status.series)} probes", "strong"),
        Cell(
            f"live: {live} samples, {format_bytes(status.database_bytes + status.wal_bytes)}; "
            f"sealed: {status.sealed_rows} samples, {format_bytes(status.sealed_bytes)}; "
            f"free on this disk: {format_bytes(status.free_bytes)}",
            "dim",
        ),
    ]
    if status.damaged:
        above.append(Cell(f"moved aside as damaged: {', '.join(status.damaged)}", "warn"))
    columns = (
        Column("DAY (UTC)"), Column("STATE"), Column("SAMPLES", right=True), Column("BYTES", right=True),
        Column("BYTES/SAMPLE", right=True), Column("PACKETS"),
    )  # fmt: skip
    return Grid(columns, [_row(day) for day in days], above=above)


def _row(day: DayStatus) -> Row:
    total = day.live + day.sealed
    if not day.sealed:
        return (day.date, "live", str(total), "", "", "")
    state = "sealed" if not day.live else f"sealed, {day.live} live"
    kept = "kept" if day.packets else Cell("none", "dim")
    return (day.date, state, str(total), format_bytes(day.bytes), f"{day.bytes / day.sealed:.1f}", kept)


def verified_document(store: str, found: Verified) -> Document:
    """What was checked, and every finding."""
    return {
        "schema": VERIFIED_SCHEMA,
        "store": store,
        "ok": not found.findings,
        "parts": found.parts,
        "files": found.files,
        "bytes": found.bytes,
        "samples": found.rows,
        "findings": [{"file": str(finding.path), "reason": finding.reason} for finding in found.findings],
    }


def verified_lines(found: Verified) -> list[str]:
    """One line for each finding, and the sum."""
    lines = [f"damaged: {finding.path}: {finding.reason}" for finding in found.findings]
    what = f"{found.rows} samples in {found.files} files of {found.parts} sealed parts ({format_bytes(found.bytes)})"
    return [*lines, f"{what} and the live database: {f'{len(lines)} damaged' if lines else 'whole'}"]
