"""`linkwitness incident`: tickets of both sides and the outages they are about, on both clocks, with who answers."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.run import DEFAULT_CONFIG
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.sla.terms.incidents import Ticket

STAMPS = ("fault", "detected", "ticket", "response", "restored", "confirmed", "closed")
PARTIES = ("provider", "customer", "third_party", "agent", "unknown")

app = typer.Typer(help="Incidents: tickets, their clocks, who answers for an outage.", no_args_is_help=True)

ConfigOption = Annotated[
    Path, typer.Option("-c", "--config", help=f"Configuration file; names the contracts. Default: {DEFAULT_CONFIG}")
]
ByOption = Annotated[
    str | None, typer.Option("--by", metavar="WHO", help="Who enters this; your login name if left out.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TicketArgument = Annotated[str, typer.Argument(metavar="TICKET", help="Id of the ticket, as `list` shows it.")]
AtOption = Annotated[str, typer.Option("--at", metavar="TIME", help="Such as 2026-11-05T01:00:00Z; now if left out.")]
BecauseOption = Annotated[str, typer.Option("--because", metavar="TEXT", help="The reason; kept in the ledger.")]


@app.command()
def add(
    circuit: Annotated[list[str], typer.Option("--circuit", help="That it is about; may be repeated.")],
    stamp: Annotated[
        list[str] | None,
        typer.Option(
            "--stamp", metavar="NAME=TIME", help=f"One of {', '.join(STAMPS)}; repeatable. Left out: ticket=now."
        ),
    ] = None,
    identity: Annotated[str | None, typer.Option("--id", help="Its name; a number of our own if left out.")] = None,
    priority: Annotated[str, typer.Option("--priority", help="Such as P1.")] = "",
    cause: Annotated[str, typer.Option("--cause", help="What it was.")] = "",
    reference: Annotated[
        list[str] | None, typer.Option("--reference", help="Its number elsewhere; repeatable.")
    ] = None,
    note: Annotated[str, typer.Option("--note")] = "",
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Open a ticket."""
    from agent import incident_files

    settings = _settings(config)
    known = {item.id for item in settings.circuits}
    for name in circuit:
        if name not in known:
            raise LocalError(f"there is no circuit {name!r}", hint=f"one of: {', '.join(sorted(known)) or 'none'}")
    now_ns = _now()
    stamps = dict(_stamp(text) for text in stamp or ()) or {"ticket": now_ns}
    ticket: dict[str, Any] = {
        "id": identity or incident_files.next_id(incident_files.load(settings.contracts)),
        "circuits": list(dict.fromkeys(circuit)),
        "stamps_ns": stamps,
    }
    for name, value in (("priority", priority), ("cause", cause), ("references", reference), ("note", note)):
        if value:
            ticket[name] = value
    _name(ticket["id"])
    _enter(settings, {"action": "add", "ticket": ticket}, by, now_ns, json_output)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Tickets: .csv, .json or .jsonl.")],
    update: Annotated[bool, typer.Option("--update", help="Rows of known tickets change them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show what would change.")] = False,
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Enter the tickets of a file, all of them or none.

    Columns: id, circuits; fault, detected, ticket, response, restored, confirmed, closed; priority, cause, references,
    note, pauses (REASON START/END). Several of one kind are apart by semicolons. Times have their zone:
    2026-10-05T09:30:00+02:00. A ticket is known by its id and its references; without --update a known one is refused.
    """
    from agent import incident_files, incident_import

    settings, now_ns = _settings(config), _now()
    found = incident_import.parse(
        incident_import.content(file),
        file,
        incident_files.load(settings.contracts),
        now_ns=now_ns,
        circuits={item.id for item in settings.circuits},
        update=update,
    )
    content = found.content()
    if content is not None and not dry_run:
        incident_files.enter(settings.contracts, content, at_ns=now_ns, by=_author(by))
    if json_output:
        value = {
            "schema": "linkwitness.incident-import/1", "entered": content is not None and not dry_run,
            "new": [item.id for item in found.new], "updated": [item["id"] for item in found.updates],
            "unchanged": found.unchanged,
        }  # fmt: skip
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    tail = "; nothing was entered" if dry_run or content is None else ""
    print(f"{len(found.new)} new, {len(found.updates)} changed, {found.unchanged} known as they are{tail}")


@app.command("stamp")
def stamp_(
    identity: TicketArgument,
    name: Annotated[str, typer.Argument(metavar="STAMP", help=f"One of {', '.join(STAMPS)}.")],
    at: AtOption = "",
    correct: Annotated[bool, typer.Option("--correct", help="Replace a stamp that is there; both stay.")] = False,
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Say when something happened: the response, the restoration, the confirmation."""
    _one_of(name, STAMPS, "stamp")
    now_ns = _now()
    content = {"action": "stamp", "id": identity, "stamp": name, "at_ns": _instant(at, now_ns)}
    if correct:
        content["correct"] = True
    _enter(_settings(config), content, by, now_ns, json_output)


@app.command()
def pause(
    identity: TicketArgument,
    reason: Annotated[str, typer.Argument(metavar="REASON", help="As the contract names it: customer_unavailable ...")],
    at: AtOption = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Its end, where it is over.")] = "",
    evidence: Annotated[str, typer.Option("--evidence", help="Where it can be looked up.")] = "",
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Stop the contract's clock for a reason. Only reasons that the contract names stop it."""
    now_ns = _now()
    content: dict[str, Any] = {"action": "pause", "id": identity, "start_ns": _instant(at, now_ns)}
    content |= {"reason": _word(reason)} | ({"evidence": evidence} if evidence else {})
    if until:
        content["end_ns"] = _instant(until, now_ns)
    _enter(_settings(config), content, by, now_ns, json_output)


@app.command()
def resume(
    identity: TicketArgument,
    at: AtOption = "",
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Let the contract's clock run again."""
    now_ns = _now()
    content = {"action": "resume", "id": identity, "at_ns": _instant(at, now_ns)}
    _enter(_settings(config), content, by, now_ns, json_output)


@app.command()
def attribute(
    identity: TicketArgument,
    party: Annotated[str, typer.Argument(metavar="PARTY", help=f"One of {', '.join(PARTIES)}.")],
    because: BecauseOption,
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Say who answers for it. What the evidence says, and what was said before, stays visible behind it."""
    _one_of(party, PARTIES, "party")
    content = {"action": "attribute", "id": identity, "party": party, "reasons": [because]}
    _enter(_settings(config), content, by, _now(), json_output)


@app.command()
def dispute(
    identity: TicketArgument,
    because: BecauseOption,
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Disagree with who answers for it. It changes nothing and stays visible."""
    _enter(_settings(config), {"action": "dispute", "id": identity, "reason": because}, by, _now(), json_output)


@app.command()
def close(
    identity: TicketArgument,
    at: AtOption = "",
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Close the ticket. That is not when the service was restored: stamp that by itself."""
    now_ns = _now()
    content = {"action": "close", "id": identity, "at_ns": _instant(at, now_ns)}
    _enter(_settings(config), content, by, now_ns, json_output)


@app.command()
def note(
    identity: TicketArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Add a remark."""
    _enter(_settings(config), {"action": "note", "id": identity, "text": text}, by, _now(), json_output)


@app.command()
def reference(
    identity: TicketArgument,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="Of the ticket elsewhere.")],
    by: ByOption = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Add the ticket's number on the other side."""
    _enter(_settings(config), {"action": "reference", "id": identity, "reference": number}, by, _now(), json_output)


@app.command("list")
def list_(
    circuit: Annotated[str | None, typer.Argument(metavar="[CIRCUIT]", help="All circuits if left out.")] = None,
    month: Annotated[
        str, typer.Option("--month", help="Such as 2026-10, or 2026-Q4; the current one if left out.")
    ] = "",
    store: Annotated[
        Path | None, typer.Option("--store", help="Directory of the store, instead of the configured one.")
    ] = None,
    now: Annotated[str, typer.Option("--now", metavar="TIME", help="As known at this instant.")] = "",
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Incidents of the month: outages measured, joined with tickets, on both clocks, with who answers for them."""
    from agent.cli.incident_list import incidents, print_incidents

    settings = _settings(config)
    now_ns = _instant(now, _now())
    print_incidents(incidents(settings, circuit, month, store, now_ns), now_ns, json_output=json_output)


@app.command()
def show(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Of a ticket, or of an incident as `list` shows it.")],
    month: Annotated[
        str, typer.Option("--month", help="Where to look for an incident; the current month if left out.")
    ] = "",
    store: Annotated[
        Path | None, typer.Option("--store", help="Directory of the store, instead of the configured one.")
    ] = None,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """All that is known of one: stamps, pauses, clocks, party with evidence, and every entry with its author."""
    from agent.cli.incident_list import show as shown

    shown(_settings(config), identity, month, store, _now(), json_output=json_output)


@app.command()
def verify(
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Move a last line without an end into a file of its own.")
    ] = False,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Check every ledger beside the contracts (*.jsonl) line by line. Exits 1 where one is broken."""
    from agent.cli.incident_list import verify as verified

    good = verified(_settings(config).contracts, set_aside=set_aside, now_ns=_now(), json_output=json_output)
    raise typer.Exit(0 if good else 1)


def _enter(settings: AgentConfig, content: dict[str, Any], by: str | None, now_ns: int, json_output: bool) -> None:
    from agent import incident_files

    made = incident_files.enter(settings.contracts, content, at_ns=now_ns, by=_author(by))
    _told(made.tickets, made.number, json_output)


def _told(tickets: Sequence[Ticket], number: int, json_output: bool) -> None:
    from agent.report.incidents import ticket_document, ticket_lines

    if json_output:
        value = {"schema": "linkwitness.incident-entry/1", "entry": number, "ticket": ticket_document(tickets[0])}
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    for ticket in tickets:
        print("\n".join(ticket_lines(ticket)))


def _settings(config: Path) -> AgentConfig:
    from agent.config import load

    return load(config)


def _now() -> int:
    from probes.core.clock import SystemClock

    return SystemClock().wall()


def _author(by: str | None) -> str:
    if by is not None:
        return by
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        raise LocalError("nobody knows who you are", hint="say it with --by") from None


def _instant(text: str, now_ns: int) -> int:
    from agent.sla.time.calendar import parse_instant

    return parse_instant(text) if text else now_ns


def _stamp(text: str) -> tuple[str, int]:
    name, mark, at = text.partition("=")
    if not mark:
        raise LocalError(f"{text!r} is not a stamp", hint="write it like restored=2026-10-05T09:30:00Z")
    _one_of(name, STAMPS, "stamp")
    return name, _instant(at, 0)


def _one_of(value: str, known: Sequence[str], what: str) -> None:
    if value not in known:
        raise LocalError(f"there is no {what} {value!r}", hint=f"one of: {', '.join(known)}")


def _name(text: str) -> None:
    from agent.incident_import import NAME

    if NAME.fullmatch(text) is None:
        raise LocalError(f"{text!r} is not a name", hint="no spaces, no `/` and no `;`, at most 120 characters")


def _word(text: str) -> str:
    from agent.incident_import import WORD

    if WORD.fullmatch(text) is None:
        raise LocalError(
            f"{text!r} is not a reason", hint="small letters, digits and underscores: as contracts name it"
        )
    return text
