"""Maintenance as JSON documents and as tables: what is known of a work, and what it is worth by each contract. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.report.samples import Document, utc
from agent.report.terminal import Cell, Column, Grid, Tone
from agent.sla.exclusion.exclusions import rule
from agent.sla.exclusion.maintenance import Book, Work
from agent.sla.terms.contract import Contract
from agent.sla.terms.excluded import Entry, Exclusion, Standing
from agent.sla.time.calendar import WindowInstants
from agent.sla.words.wording import spoken

LIST_SCHEMA: Final = "linkwitness.maintenance-list/1"
WORK_SCHEMA: Final = "linkwitness.maintenance/1"
_TONES: Final[dict[Standing, Tone]] = {
    Standing.APPLIED: "good",
    Standing.PROPOSED: "warn",
    Standing.UNCONFIRMED: "warn",
}


@dataclass(frozen=True, slots=True)
class Row:
    """An entry by one contract, for the circuits on which its standing is the same. period: the month, or `later`."""

    contract: str
    circuits: tuple[str, ...]
    entry: Entry
    period: str


def rows(
    contracts: Mapping[str, Contract],
    circuits: Mapping[str, Sequence[str]],
    months: Mapping[str, WindowInstants],
    now_ns: int,
) -> list[Row]:
    """Every exclusion that touches the month of its contract, or comes after it. circuits, months: by contract."""
    found: list[Row] = []
    for name, contract in contracts.items():
        month = months[name]
        last = max((item.end_ns for item in contract.exclusions), default=month.end_ns)
        periods = [(month.start_ns, month.end_ns, month.label)]
        if last > month.end_ns:
            periods.append((month.end_ns, last, "later"))
        for start, end, label in periods:
            same: dict[tuple[str, str], tuple[Entry, list[str]]] = {}
            for circuit in circuits.get(name, ()):
                for entry in rule(contract, circuit, start_ns=start, end_ns=end, now_ns=now_ns).entries:
                    if label == "later" and entry.exclusion.start_ns < month.end_ns:
                        continue
                    same.setdefault((entry.exclusion.id, entry.sentence), (entry, []))[1].append(circuit)
            found += [Row(name, tuple(whose), entry, label) for entry, whose in same.values()]
    return found


def strangers(book: Book) -> list[Work]:
    """Works of notices that name none of our circuits, and so bear on nothing."""
    return [work for work in book.works.values() if work.contract is None and not work.newest.circuits]


def list_document(found: Sequence[Row], book: Book, now_ns: int) -> Document:
    return {
        "schema": LIST_SCHEMA,
        "as_of": utc(now_ns),
        "entries": [
            {
                "contract": row.contract,
                "circuits": list(row.circuits),
                "period": row.period,
                **_version(row.entry.exclusion),
                "standing": row.entry.standing.name.lower(),
                "applied_ns": row.entry.applied_ns,
                "sentence": row.entry.sentence,
            }
            for row in found
        ],
        "for_no_circuit": [work_document(work) for work in strangers(book)],
    }


def list_grid(found: Sequence[Row], book: Book) -> Grid:
    columns = (
        Column("CONTRACT"), Column("PERIOD"), Column("MAINTENANCE"), Column("CIRCUITS"), Column("FROM"), Column("TO"),
        Column("OUT", right=True), Column("STANDING", stretch=True),
    )  # fmt: skip
    table = [
        (
            row.contract, row.period, Cell(row.entry.exclusion.id, "strong"), ", ".join(row.circuits),
            _minute(row.entry.exclusion.start_ns), _minute(row.entry.exclusion.end_ns),
            spoken(row.entry.applied_ns) if row.entry.applied_ns else "–",
            Cell(row.entry.sentence, _TONES.get(row.entry.standing, "dim")),
        )
        for row in found
    ]  # fmt: skip
    below = [
        Cell(f"{work.id} names no circuit of this site: {', '.join(_objects(work)) or 'nothing'}", "dim")
        for work in strangers(book)
    ]
    return Grid(columns, table, below=below)


def _objects(work: Work) -> list[str]:
    return [] if work.notice is None else [name for name, _ in work.notice.objects]


def _minute(at_ns: int) -> str:
    return f"{utc(at_ns)[:16]}Z"


def _version(item: Exclusion) -> Document:
    return {
        "id": item.id,
        "kind": item.kind.value,
        "source": item.source,
        "start": utc(item.start_ns),
        "end": utc(item.end_ns),
        "reason": item.reason,
        "impact": item.impact or None,
        "entered": utc(item.entered_ns),
        "retroactive": item.retroactive,
        "notified": None if item.notified_ns is None else utc(item.notified_ns),
        "confirmed_by": item.confirmed_by or None,
        "confirmed_role": item.confirmed_role or None,
        "confirmed": None if item.confirmed_ns is None else utc(item.confirmed_ns),
        "rejected": item.rejected or None,
        "cancelled": None if item.cancelled_ns is None else utc(item.cancelled_ns),
        "evidence": item.evidence or None,
        "remark": item.remark or None,
    }


def work_document(work: Work) -> Document:
    """Everything that is known of one work."""
    notice = work.notice
    return {
        "schema": WORK_SCHEMA,
        "id": work.id,
        "contract": work.contract,
        "notice": None
        if notice is None
        else {
            "provider": notice.provider,
            "maintenance": notice.maintenance,
            "account": notice.account or None,
            "uid": notice.uid or None,
            "sequence": notice.sequence,
            "status": notice.status,
            "impact": notice.impact,
            "issued": utc(notice.stamped_ns),
            "objects": [{"id": name, "impact": how} for name, how in notice.objects],
        },
        "versions": [{**_version(item), "circuits": list(item.circuits)} for item in work.versions],
        "history": [{"at": utc(deed.at_ns), "by": deed.by, "what": deed.words} for deed in work.history],
    }


def work_lines(work: Work) -> Iterator[str]:
    """The same for people."""
    yield work.id
    if work.notice is not None:
        notice = work.notice
        yield f"  notice {notice.maintenance} of {notice.provider}, sequence {notice.sequence}, {notice.status.lower()}"
    for item in work.versions:
        whose = ", ".join(item.circuits) or (f"all of {work.contract}" if work.contract else "no circuit of this site")
        yield f"  {item.id}: {_minute(item.start_ns)} to {_minute(item.end_ns)}, {whose}: {item.reason}"
        yield f"    {state(item)}"
        told = "not known" if item.notified_ns is None else _minute(item.notified_ns)
        yield f"    announced: {told}; evidence: {item.evidence or 'none'}"
    for deed in work.history:
        yield f"  {_minute(deed.at_ns)} {deed.by}: {deed.words}"


def state(item: Exclusion) -> str:
    """In a few words, before any contract is asked."""
    parts = [item.impact.lower()] if item.impact else []
    if item.rejected:
        parts.append(f"rejected {item.rejected}")
    elif item.confirmed_by:
        role = f" for the {item.confirmed_role.replace('_', ' ')}" if item.confirmed_role else ""
        parts.append(f"confirmed by {item.confirmed_by}{role}")
    elif item.proposed:
        parts.append("proposed: excludes nothing until it is confirmed")
    elif item.retroactive:
        parts.append("entered after its start: excludes nothing until it is confirmed")
    else:
        parts.append("entered before its start")
    if item.cancelled_ns is not None:
        parts.append(f"called off at {_minute(item.cancelled_ns)}")
    if item.remark:
        parts.append(item.remark)
    return "; ".join(parts)
