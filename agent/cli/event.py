"""`linkwitness event`: calls, requests, notices and their stamps, for promises about how soon something happens."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.run import DEFAULT_CONFIG
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.event_files import Import
    from agent.sla.terms.events import Event

app = typer.Typer(help="Events that promises are about: calls, requests, notices.", no_args_is_help=True)

ConfigOption = Annotated[
    Path, typer.Option("-c", "--config", help=f"Configuration file; names the contracts. Default: {DEFAULT_CONFIG}")
]
ByOption = Annotated[str, typer.Option("--by", metavar="WHO", help="Who enters this.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check and show what would change; enter nothing.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Events: .csv, .json or .jsonl.")],
    by: ByOption,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Enter the events of a file, all of them or none.

    Fields: id, kind; priority, circuits (apart by spaces), abandoned, reference, pauses (REASON START/END; ...). Every
    other field is a stamp of its own name, such as start and end. Times have their zone: 2026-10-05T09:30:00+02:00.
    An event that is imported again replaces what was known of it; the ledger keeps both.
    """
    from agent import event_files

    settings = _settings(config)
    data = event_files.content(file)
    circuits = {circuit.id for circuit in settings.circuits}
    events = event_files.parse(data, str(file), event_files.form_of(file), circuits)
    made = event_files.plan(event_files.load(settings.contracts), events, file.name, data)
    _enter(settings, made, by=by, dry_run=dry_run, json_output=json_output)


@app.command()
def add(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Of the event, such as a ticket's number.")],
    kind: Annotated[str, typer.Option("--kind", help="As the promise names it: call, p1_response ...")],
    by: ByOption,
    stamp: Annotated[
        list[str], typer.Option("--stamp", metavar="NAME=TIME", help="start=2026-10-05T09:30:00Z; may be repeated.")
    ],
    priority: Annotated[str, typer.Option("--priority")] = "",
    circuit: Annotated[list[str] | None, typer.Option("--circuit", help="That it is about; may be repeated.")] = None,
    abandoned: Annotated[str, typer.Option("--abandoned", metavar="TIME", help="Given up then.")] = "",
    pause: Annotated[
        list[str] | None,
        typer.Option("--pause", metavar="'REASON START/END'", help="The clock stood; may be repeated."),
    ] = None,
    reference: Annotated[str, typer.Option("--reference", help="Its number elsewhere.")] = "",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Enter one event, or what is known of it by now in the place of what was."""
    from agent import event_files
    from agent.document import DocumentError

    settings = _settings(config)
    value: dict[str, Any] = {"id": identity, "kind": kind, "priority": priority or None, "abandoned": abandoned or None}
    value |= {"circuits": circuit or None, "reference": reference or None, "pauses": "; ".join(pause or ()) or None}
    for text in stamp:
        name, equals, time = text.partition("=")
        if not equals or name in value:
            raise typer.BadParameter(f"{text!r}: write it like start=2026-10-05T09:30:00Z", param_hint="--stamp")
        value[name] = time
    data = json.dumps([value]).encode()
    circuits = {item.id for item in settings.circuits}
    try:
        events = event_files.parse(data, "", "json", circuits)
    except DocumentError as error:
        text = "\n".join(f"{problem.key}: {problem.message}".removeprefix(": ") for problem in error.problems)
        raise LocalError(text, hint="see `linkwitness event add --help`") from None
    made = event_files.plan(event_files.load(settings.contracts), events, "by hand", data)
    _enter(settings, made, by=by, dry_run=dry_run, json_output=json_output)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Option("--kind", help="Only of this kind.")] = "",
    circuit: Annotated[str, typer.Option("--circuit", help="Only about this circuit.")] = "",
    json_output: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show the events that are known, by their first stamp."""
    from agent import event_files

    events = [
        event
        for event in event_files.load(_settings(config).contracts)
        if kind in ("", event.kind) and (not circuit or circuit in event.circuits)
    ]
    events.sort(key=lambda event: (min(event.stamps.values()), event.id))
    if json_output:
        print(json.dumps([_value(event) for event in events], indent=2, ensure_ascii=False))
        return
    for event in events:
        print(_line(event))
    print(f"{len(events)} event{'' if len(events) == 1 else 's'}", file=sys.stderr)


def _settings(config: Path) -> AgentConfig:
    from agent.config import load

    return load(config)


def _enter(settings: AgentConfig, made: Import, *, by: str, dry_run: bool, json_output: bool) -> None:
    from agent import event_files
    from probes.core.clock import SystemClock

    if not dry_run:
        event_files.enter(settings.contracts, made, at_ns=SystemClock().wall(), by=by)
    if json_output:
        value = {
            "entered": not dry_run,
            "new": [event.id for event in made.new],
            "changed": [event.id for event in made.changed],
            "unchanged": made.unchanged,
        }
        print(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        for word, events in (("new", made.new), ("changed", made.changed)):
            if dry_run:
                for event in events:
                    print(f"{word:<8} {_line(event)}")
        counts = f"{len(made.new)} new, {len(made.changed)} changed, {made.unchanged} known as they are"
        print(f"{counts}{'; nothing was entered' if dry_run else ''}")
    for kind in sorted({event.kind for event in made.entering} - _asked(settings)):
        print(f"note: no contract has a promise about events of kind {kind}", file=sys.stderr)


def _asked(settings: AgentConfig) -> set[str]:
    """Kinds of event that contracts have promises about."""
    from agent import contract_files

    contracts = contract_files.load(settings.contracts).values()
    return {item.events.kind for contract in contracts for item in contract.objectives if item.events is not None}


def _time(ns: int) -> str:
    from agent.sla.words.wording import moment

    return moment(ns)


def _line(event: Event) -> str:
    stamps = [f"{name} {_time(ns)}" for name, ns in sorted(event.stamps.items(), key=lambda pair: pair[::-1])]
    if event.abandoned_ns is not None:
        stamps.append(f"abandoned {_time(event.abandoned_ns)}")
    about = f" [{' '.join(event.circuits)}]" if event.circuits else ""
    priority = f" {event.priority}" if event.priority else ""
    paused = f", {len(event.pauses)} paused" if event.pauses else ""
    return f"{event.id}  {event.kind}{priority}{about}  {', '.join(stamps)}{paused}"


def _value(event: Event) -> dict[str, Any]:
    """For people and programs: ISO 8601 in UTC."""
    from agent.sla.time.calendar import local_time
    from agent.sla.time.zones import zone

    def iso(ns: int | None) -> str | None:
        return None if ns is None else local_time(ns, zone("UTC").info).isoformat().replace("+00:00", "Z")

    return {
        "id": event.id,
        "kind": event.kind,
        "priority": event.priority,
        "circuits": list(event.circuits),
        **{name: iso(ns) for name, ns in event.stamps.items()},
        "abandoned": iso(event.abandoned_ns),
        "pauses": [
            {"reason": item.reason, "start": iso(item.start_ns), "end": iso(item.end_ns), "evidence": item.evidence}
            for item in event.pauses
        ],
        "reference": event.reference,
        "entered": iso(event.entered_ns),
    }
