"""`linkwitness sink`: how far each database has got, whether it would take samples now, what it refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import sink_parked
from agent.cli.run import DEFAULT_CONFIG

if TYPE_CHECKING:
    from agent.cli.sink_trial import SinkReport
    from agent.config import SinkSettings
    from agent.report.sink_status import SinkState
    from agent.store import StoreReader, StoreStatus

app = typer.Typer(help="State of the databases delivered to; try one; what one refused.", no_args_is_help=True)

LIVE_S = 30
"""What the running agent tells is not older."""

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
    with StoreReader.open(store, ignore_damaged=True) as reader:
        return _read(reader, configured, SystemClock().wall())


def _read(reader: StoreReader, configured: list[str] | None, now_ns: int) -> list[SinkState]:
    """Sinks of the configuration in its order, then those the store remembers beside."""
    from agent.report.sink_status import EVENT_KIND, SinkState, newest_event
    from agent.store.sink_state import oldest_lacking

    status = reader.status()
    positions = {position.sink: position for position in status.sinks}
    live = _live(status, now_ns)
    events = reader.events(kind=EVENT_KIND)
    found = []
    for name in dict.fromkeys([*(configured or ()), *positions]):
        position = positions.get(name)
        waiting_since = oldest_lacking(reader, name, position.seq) if position and position.lag else None
        state = SinkState(
            name, now_ns, position, waiting_since, newest_event(name, events),
            next(iter(reader.parked(name, 1)), None), None if configured is None else name in configured,
            sink_parked.dropped_of(reader, name), live.get(name, {}),
        )  # fmt: skip
        found.append(state)
    return found


def _live(status: StoreStatus, now_ns: int) -> dict[str, dict[str, object]]:
    """What the running agent tells; nothing where none runs, or what there is comes from one that ended."""
    from agent.store.sink_state import published
    from probes.core.clock import SECOND

    found = published(status.path)
    at_ns, sinks = found.get("at_ns"), found.get("sinks")
    fresh = isinstance(at_ns, int) and abs(now_ns - at_ns) <= LIVE_S * SECOND
    ours = status.running and status.owner is not None and found.get("pid") == status.owner.pid
    if not (fresh and ours and isinstance(sinks, dict)):
        return {}
    return {name: item for name, item in sinks.items() if isinstance(item, dict)}


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Sinks to try; all where none is named.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    write: Annotated[
        bool, typer.Option("--write", help="Write one point, linkwitness_agent check=1, into each database.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Ask each configured sink whether it would take samples: server, write path, login, database, clock, certificate,
    types of its fields, and whether it keeps samples for as long as some of them have been waiting.

    Writes nothing unless asked to. Exits 1 when a sink would take none.
    """
    from agent.cli.sink_trial import document, examine

    chosen, oldest = _chosen(config, names or [])
    reports: list[SinkReport] = []
    for settings in chosen:
        report = examine(settings, write=write, oldest_ns=oldest.get(settings.name))
        reports.append(report)
        if not json_output:
            for finding in report.findings:
                print("\n".join(finding.lines()), flush=True)
    if json_output:
        print(json.dumps(document(reports), ensure_ascii=False, indent=2))
    elif not chosen:
        print("no sink is configured: samples stay in the store")
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


app.command()(sink_parked.parked)
app.command()(sink_parked.retry)
app.command()(sink_parked.drop)


def _chosen(config: Path, names: list[str]) -> tuple[list[SinkSettings], dict[str, int | None]]:
    """The sinks to try, and when the oldest sample began that each does not have."""
    from agent.config import load
    from probes.core.errors import LocalError

    settings = load(config)
    known = {sink.name for sink in settings.sinks}
    for name in names:
        if name not in known:
            hint = f"configured: {', '.join(sorted(known)) or 'none'}"
            raise LocalError(f"there is no sink {name!r}", hint=hint)
    chosen = [sink for sink in settings.sinks if not names or sink.name in names]
    return chosen, _oldest(settings.store.path, [sink.name for sink in chosen])


def _oldest(store: Path, names: list[str]) -> dict[str, int | None]:
    """Nothing where there is no store yet: then nothing waits."""
    from agent.store import StoreReader
    from agent.store.sink_state import oldest_lacking
    from probes.core.errors import LocalError

    try:
        with StoreReader.open(store, ignore_damaged=True) as reader:
            cursors = reader.cursors()
            return {name: oldest_lacking(reader, name, cursors[name]) for name in names if name in cursors}
    except LocalError:
        return {}
