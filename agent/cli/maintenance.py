"""`linkwitness maintenance`: notices of carriers and windows by hand, and who agreed that they do not count."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.run import DEFAULT_CONFIG
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.config import AgentConfig

KINDS = (
    "maintenance", "emergency_maintenance", "customer", "third_party", "force_majeure", "access_refused", "suspension",
    "no_ticket",
)  # fmt: skip
ROLES = ("provider", "customer", "subcontractor", "third_party")

app = typer.Typer(help="Maintenance: import notices, confirm, move, call off.", no_args_is_help=True)

ConfigOption = Annotated[
    Path, typer.Option("-c", "--config", help=f"Configuration file; names the contracts. Default: {DEFAULT_CONFIG}")
]
ByOption = Annotated[str, typer.Option("--by", metavar="NAME", help="Who enters this.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the maintenance, as `list` shows it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")]
KindOption = Annotated[str, typer.Option("--kind", help=f"One of: {', '.join(KINDS)}.")]
EvidenceOption = Annotated[str, typer.Option("--evidence", help="Where the agreement can be looked up.")]
StartOption = Annotated[str, typer.Option("--start", metavar="TIME", help="Such as 2026-11-05T01:00:00Z.")]
EndOption = Annotated[str, typer.Option("--end", metavar="TIME", help="Such as 2026-11-05T03:00:00Z.")]
NotifiedOption = Annotated[
    str, typer.Option("--notified", metavar="TIME", help="When the other side was told, if it was.")
]


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.ics...", help="Notices with X-MAINTNOTE properties.")],
    by: ByOption = "import",
    kind: KindOption = "maintenance",
    received: Annotated[
        str, typer.Option("--received", metavar="TIME", help="When they came; what they say themselves if left out.")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json_output: JsonOption = False,
) -> None:
    """Take notices into the ledger. They are proposals: none excludes any time until somebody confirms it by name.

    Objects are matched with circuits by their names and labels. A later SEQUENCE replaces an earlier one; the files
    are kept as they came. Exits 1 where a file could not be read.
    """
    from agent.cli.maintenance_import import Importing, take
    from agent.report.maintenance import work_document

    settings = _settings(config)
    now_ns = _now()
    names = {item.id: tuple(item.labels.values()) for item in settings.circuits}
    _one_of(kind, KINDS, "--kind")
    how = Importing(settings.contracts, names, kind, by, now_ns, _instant(received))
    done, failed = [], False
    for path in files:
        try:
            done += take(path, how)
        except LocalError as error:
            failed = True
            print(f"error: {error.message}", file=sys.stderr)
            if error.hint:
                print(f"hint: {error.hint}", file=sys.stderr)
    if json_output:
        values = [
            {"file": item.file, "maintenance": item.notice.maintenance, "outcome": item.what,
             "unknown_objects": list(item.strangers), "work": None if item.work is None else work_document(item.work)}
            for item in done
        ]  # fmt: skip
        _print_json({"schema": "linkwitness.maintenance-import/1", "notices": values, "failed": failed})
    else:
        for item in done:
            print(item.line())
    raise typer.Exit(1 if failed else 0)


@app.command()
def add(
    start: StartOption,
    end: EndOption,
    reason: ReasonOption,
    by: ByOption,
    identity: Annotated[str, typer.Option("--id", help="Its name, such as a change number.")],
    circuit: Annotated[list[str] | None, typer.Option("--circuit", help="That it is for; may be repeated.")] = None,
    contract: Annotated[str, typer.Option("--contract", help="Only by this contract; all its circuits.")] = "",
    kind: KindOption = "maintenance",
    notified: NotifiedOption = "",
    evidence: EvidenceOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json_output: JsonOption = False,
) -> None:
    """Enter a window by hand. One that has begun already excludes nothing until somebody confirms it."""
    settings = _settings(config)
    _one_of(kind, KINDS, "--kind")
    known = {item.id for item in settings.circuits}
    for name in circuit or ():
        _one_of(name, sorted(known), "--circuit")
    if contract:
        from agent import contract_files

        _one_of(contract, sorted(contract_files.load(settings.contracts)), "--contract")
    content = {
        "do": "add", "id": _word(identity), "start_ns": _instant(start), "end_ns": _instant(end), "kind": kind,
        "reason": _line(reason, "--reason"), "circuits": list(circuit or ()), "contract": contract or None,
        "notified_ns": _past(notified), "evidence": evidence,
    }  # fmt: skip
    _enter(settings, content, by, json_output=json_output)


@app.command()
def confirm(
    identity: IdArgument,
    by: ByOption,
    role: Annotated[str, typer.Option("--role", help=f"For which party: {', '.join(ROLES)}.")] = "",
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json_output: JsonOption = False,
) -> None:
    """Agree, by name, that this time does not count. Of a maintenance that was moved, the newest window."""
    if role:
        _one_of(role, ROLES, "--role")
    content = {"do": "confirm", "role": role, "reason": reason}
    _about(_settings(config), identity, content, by, json_output=json_output)


@app.command()
def reject(
    identity: IdArgument,
    by: ByOption,
    reason: ReasonOption,
    config: ConfigOption = DEFAULT_CONFIG,
    json_output: JsonOption = False,
) -> None:
    """Say that this time counts. It stays in the ledger and in reports, with the reason."""
    content = {"do": "reject", "reason": _line(reason, "--reason")}
    _about(_settings(config), identity, content, by, json_output=json_output)


@app.command()
def cancel(
    identity: IdArgument,
    by: ByOption,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="When it was called off; now if left out.")] = "",
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json_output: JsonOption = False,
) -> None:
    """Call it off: before its start it excludes nothing, after its start only the time until then."""
    content = {"do": "cancel", "cancelled_ns": _instant(at), "reason": reason}
    _about(_settings(config), identity, content, by, json_output=json_output)


@app.command()
def move(
    identity: IdArgument,
    start: StartOption,
    end: EndOption,
    by: ByOption,
    notified: NotifiedOption = "",
    evidence: EvidenceOption = "",
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json_output: JsonOption = False,
) -> None:
    """Give it another time: the old window is called off, the new one needs notice and confirmation of its own."""
    content = {
        "do": "move", "start_ns": _instant(start), "end_ns": _instant(end), "notified_ns": _past(notified),
        "evidence": evidence, "reason": reason,
    }  # fmt: skip
    _about(_settings(config), identity, content, by, json_output=json_output)


@app.command()
def show(identity: IdArgument, config: ConfigOption = DEFAULT_CONFIG, json_output: JsonOption = False) -> None:
    """All that is known of one maintenance: its windows, its notice, who did what."""
    from agent import maintenance_ledger
    from agent.report.maintenance import work_document, work_lines

    work, _ = maintenance_ledger.load(_settings(config).contracts).book.find(identity)
    if json_output:
        _print_json(work_document(work))
    else:
        print("\n".join(work_lines(work)))


@app.command("list")
def list_(
    month: Annotated[str, typer.Option("--month", help="Such as 2026-10; the current one if left out.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json_output: JsonOption = False,
) -> None:
    """Every window of the month and after, by hand and imported, and what it is worth by each contract."""
    from agent import contract_files, maintenance_ledger
    from agent.report.maintenance import list_document, list_grid, rows
    from agent.report.terminal import print_grid
    from agent.sla.terms.contract import Window
    from agent.sla.time.calendar import parse, window_at

    settings = _settings(config)
    contracts = contract_files.load(settings.contracts)
    now_ns = _now()
    months = {
        name: parse(month, item.time_zone) if month else window_at(Window("month"), item.time_zone, now_ns)
        for name, item in contracts.items()
    }
    circuits = {name: [item.id for item in settings.circuits if item.contract == name] for name in contracts}
    found = rows(contracts, circuits, months, now_ns)
    book = maintenance_ledger.load(settings.contracts).book
    if json_output:
        _print_json(list_document(found, book, now_ns))
    elif found or book.works:
        print_grid(list_grid(found, book))
    else:
        print("no maintenance is known")


def _settings(config: Path) -> AgentConfig:
    from agent.config import load

    return load(config)


def _now() -> int:
    from probes.core.clock import SystemClock

    return SystemClock().wall()


def _instant(text: str) -> int | None:
    from agent.sla.time.calendar import parse_instant

    return parse_instant(text) if text else None


def _past(text: str) -> int | None:
    found = _instant(text)
    if found is not None and found > _now():
        raise typer.BadParameter("nobody was told in the future", param_hint="--notified")
    return found


def _one_of(value: str, allowed: tuple[str, ...] | list[str], option: str) -> None:
    if value not in allowed:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(allowed) or 'none'}", param_hint=option)


def _line(text: str, option: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 200:
        raise typer.BadParameter("one line of 1 to 200 characters, for whoever asks later", param_hint=option)
    return text.strip()


def _word(text: str) -> str:
    import re

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", text):
        raise typer.BadParameter("letters, digits, `.`, `_` and `-`, 60 at most", param_hint="--id")
    return text


def _about(settings: AgentConfig, identity: str, content: Mapping[str, Any], by: str, *, json_output: bool) -> None:
    """An entry about the version that the user means now, whatever comes after it."""
    from agent import maintenance_ledger

    work, place = maintenance_ledger.load(settings.contracts).book.find(identity)
    _enter(settings, {**content, "id": work.id, "version": place + 1}, by, json_output=json_output)


def _enter(settings: AgentConfig, content: Mapping[str, Any], by: str, *, json_output: bool) -> None:
    from agent import maintenance_ledger
    from agent.report.maintenance import work_document, work_lines

    work = maintenance_ledger.enter(settings.contracts, content, at_ns=_now(), by=_line(by, "--by"))
    if json_output:
        _print_json(work_document(work))
    else:
        print("\n".join(work_lines(work)))
        print("a running agent judges by it after its next reload", file=sys.stderr)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
