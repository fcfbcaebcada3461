"""`linkwitness sink`: how far each database has got, and whether it would take samples now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.run import DEFAULT_CONFIG

if TYPE_CHECKING:
    from agent.cli.sink_trial import SinkReport
    from agent.config import SinkSettings
    from agent.report.sink_status import SinkState
    from agent.store import StoreReader

app = typer.Typer(help="State of the databases delivered to; try one.", no_args_is_help=True)

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="Configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def status(
    config: ConfigOption = DEFAULT_CONFIG,
    store: Annotated[Path | None, typer.Option("--store", help="Directory of the store, instead of a file's.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Show how far each sink has got, what waits, what its server refused for good, and its last trouble.

    Reads the store only: works beside a running agent and after it has stopped. Exits 1 where a sink has samples
    waiting and the last that is known of it is trouble, and where there is no store.
    """
    from agent.report.sink_status import document, grid
    from agent.report.terminal import print_grid

    states = _states(config, store)
    if json_output:
        print(json.dumps(document(states), ensure_ascii=False, indent=2))
    elif states:
        print_grid(grid(states))
    else:
        print("no sink: samples stay in the store")
    raise typer.Exit(1 if any(state.in_trouble for state in states) else 0)


def _states(config: Path, store: Path | None) -> list[SinkState]:
    from agent.config import load
    from agent.store import StoreReader
    from probes.core.clock import SystemClock

    configured: list[str] | None = None
    if store is None:
        settings = load(config)
        store, configured = settings.store.path, [sink.name for sink in settings.sinks]
    with StoreReader.open(store) as reader:
        return _read(reader, configured, SystemClock().wall())


def _read(reader: StoreReader, configured: list[str] | None, now_ns: int) -> list[SinkState]:
    """Sinks of the configuration in its order, then those the store remembers beside."""
    from agent.report.sink_status import EVENT_KIND, SinkState, newest_event

    positions = {position.sink: position for position in reader.status().sinks}
    events = reader.events(kind=EVENT_KIND)
    found = []
    for name in dict.fromkeys([*(configured or ()), *positions]):
        position = positions.get(name)
        waiting = reader.after(position.seq, 1) if position else []
        state = SinkState(
            name, now_ns, position, waiting[0].sample.start_ns if waiting else None, newest_event(name, events),
            next(iter(reader.parked(name, 1)), None), None if configured is None else name in configured,
        )  # fmt: skip
        found.append(state)
    return found


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Sinks to try; all where none is named.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    write: Annotated[
        bool, typer.Option("--write", help="Write one point, linkwitness_agent check=1, into each database.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Ask each configured sink whether it would take samples: server, write path, login, database, clock.

    Writes nothing unless asked to. Exits 1 when a sink would take none.
    """
    from agent.cli.sink_trial import document, examine

    chosen = _chosen(config, names or [])
    reports: list[SinkReport] = []
    for settings in chosen:
        report = examine(settings, write=write)
        reports.append(report)
        if not json_output:
            for finding in report.findings:
                print("\n".join(finding.lines()), flush=True)
    if json_output:
        print(json.dumps(document(reports), ensure_ascii=False, indent=2))
    elif not chosen:
        print("no sink is configured: samples stay in the store")
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def _chosen(config: Path, names: list[str]) -> list[SinkSettings]:
    from agent.config import load
    from probes.core.errors import LocalError

    sinks = load(config).sinks
    known = {sink.name for sink in sinks}
    for name in names:
        if name not in known:
            hint = f"configured: {', '.join(sorted(known)) or 'none'}"
            raise LocalError(f"there is no sink {name!r}", hint=hint)
    return [sink for sink in sinks if not names or sink.name in names]
