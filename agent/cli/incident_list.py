"""What `linkwitness incident list`, `show` and `verify` look at and print."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import contract_files, incident_files, ledger
from agent.incident_reading import Site, incidents_between
from agent.report import incidents as report
from agent.report.samples import utc
from agent.sla.terms.contract import Window
from agent.sla.time.calendar import WindowInstants, parse, window_at
from agent.sla.words.wording import moment
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.cli.sources import StoreSource
    from agent.config import AgentConfig
    from agent.sla.samples.shared_fate import SharedFate
    from agent.sla.terms.contract import Contract
    from agent.sla.terms.incidents import Incident, Ticket


@dataclass(frozen=True, slots=True)
class Listing:
    """Incidents of each circuit in its period. measured: there is a store to read outages from."""

    period: str
    measured: bool
    incidents: tuple[Incident, ...]


def incidents(settings: AgentConfig, name: str | None, month: str, store: Path | None, now_ns: int) -> Listing:
    """Of one circuit or all, as known at now_ns. Raises LocalError."""
    chosen = [item for item in settings.circuits if name in (None, item.id)]
    if not chosen:
        raise LocalError(f"there is no circuit {name!r}", hint=f"one of: {', '.join(i.id for i in settings.circuits)}")
    contracts = contract_files.load(settings.contracts)
    tickets = incident_files.load(settings.contracts, as_of_ns=now_ns)
    source = _source(store or settings.store.path)
    try:
        fate = _fate(source, settings, contracts) if source is not None else None
        site = Site(settings.circuits, settings.discover, fate)
        found: list[Incident] = []
        labels = []
        for circuit in chosen:
            contract = contracts.get(circuit.contract or "")
            period = _period(month, contract, now_ns)
            labels.append(period.label)
            found += incidents_between(
                source, circuit, contract, tickets,
                start_ns=period.start_ns, end_ns=min(period.end_ns, now_ns), now_ns=now_ns, site=site,
            )  # fmt: skip
    finally:
        if source is not None:
            source.__exit__()
    found.sort(key=lambda item: (item.start_ns, item.circuit, item.id))
    return Listing(", ".join(dict.fromkeys(labels)), source is not None, tuple(found))


def _period(month: str, contract: Contract | None, now_ns: int) -> WindowInstants:
    zone = contract.time_zone if contract is not None else "UTC"
    return parse(month, zone) if month else window_at(Window("month"), zone, now_ns)


def _source(path: Path) -> StoreSource | None:
    """The store, where there is one; without it tickets stand alone."""
    from agent.cli.sources import StoreSource

    try:
        return StoreSource(path)
    except LocalError as error:
        print(f"note: no outages are measured here: {error.message}", file=sys.stderr)
        return None


def _fate(source: StoreSource, settings: AgentConfig, contracts: Mapping[str, Contract]) -> SharedFate:
    from agent.sla.docket import Reading
    from agent.sla.samples.shared_fate import COLUMNS, SharedFate, witnesses

    read: Any = source.read
    return SharedFate(
        witnesses(settings.circuits, contracts, settings.discover),
        lambda witness, start, end: read(
            witness.circuit, Reading(witness.probe, witness.kind, COLUMNS, start, end, witness.circuit)
        ),
        settings.span_ns,
    )


def print_incidents(listing: Listing, now_ns: int, *, json_output: bool) -> None:
    if json_output:
        value = {
            "schema": "linkwitness.incidents/1",
            "now": utc(now_ns),
            "period": listing.period,
            "measured": listing.measured,
            "incidents": [report.incident_document(item) for item in listing.incidents],
        }
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    for line in report.table(listing.incidents):
        print(line)
    if not listing.incidents:
        print(f"no incident in {listing.period}")


def show(
    settings: AgentConfig, identity: str, month: str, store: Path | None, now_ns: int, *, json_output: bool
) -> None:
    """One ticket with its entries, and the incidents it is about; or one incident. Raises LocalError."""
    tickets = {item.id: item for item in incident_files.load(settings.contracts)}
    ticket = tickets.get(identity)
    period = month or (moment(min(ticket.stamps.values()))[:7] if ticket is not None else "")
    listing = incidents(settings, None, period, store, now_ns)
    concerned = [item for item in listing.incidents if identity in (item.id, *(each.id for each in item.tickets))]
    if ticket is None and not concerned:
        raise LocalError(
            f"there is no ticket and no incident {identity} in {listing.period}", hint="see `incident list`"
        )
    names = [identity] if ticket is not None else [each.id for item in concerned for each in item.tickets]
    entries = [entry for name in dict.fromkeys(names) for entry in incident_files.history(settings.contracts, name)]
    if json_output:
        value = {
            "schema": "linkwitness.incident/1",
            "ticket": None if ticket is None else report.ticket_document(ticket),
            "incidents": [report.incident_document(item) for item in concerned],
            "entries": [_entry(item) for item in entries],
        }
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    _print(ticket, concerned, entries)


def _print(ticket: Ticket | None, concerned: Sequence[Incident], entries: Sequence[ledger.Entry]) -> None:
    if ticket is not None:
        print("\n".join(report.ticket_lines(ticket)))
    for incident in concerned:
        print("\n".join(report.incident_lines(incident)))
    for entry in entries:
        print(f"  entry {entry.number:<4} {moment(entry.at_ns)} by {entry.by}: {entry.content['action']}")


def _entry(entry: ledger.Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": utc(entry.at_ns),
        "by": entry.by,
        "sha256": entry.sha256,
        "content": dict(entry.content),
    }


def verify(contracts: Path, *, set_aside: bool, now_ns: int, json_output: bool) -> bool:
    """Every ledger of the directory; True where all are whole."""
    found = []
    for path in sorted(contracts.glob("*.jsonl")):
        value: dict[str, Any] = {"ledger": str(path), "entries": 0, "sha256": None, "set_aside": None, "problem": None}
        try:
            if set_aside:
                aside = ledger.set_aside(path, at_ns=now_ns)
                value["set_aside"] = None if aside is None else str(aside)
            entries = ledger.read(path)
            value |= {"entries": len(entries), "sha256": entries[-1].sha256 if entries else None}
        except LocalError as error:
            value["problem"] = error.message
        found.append(value)
    if json_output:
        print(json.dumps({"schema": "linkwitness.ledgers/1", "ledgers": found}, indent=2, ensure_ascii=False))
    else:
        for value in found:
            print(_verified(value))
        if not found:
            print(f"no ledger in {contracts}")
    return all(value["problem"] is None for value in found)


def _verified(value: Mapping[str, Any]) -> str:
    if value["problem"]:
        return f"broken: {value['problem']}"
    aside = f"; a torn line was moved to {value['set_aside']}" if value["set_aside"] else ""
    last = f", the last has SHA-256 {value['sha256']}" if value["sha256"] else ""
    return f"whole: {value['ledger']}, {value['entries']} entries{last}{aside}"
