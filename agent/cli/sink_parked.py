"""`linkwitness sink parked|retry|drop`: lines that a server refused for good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.run import DEFAULT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.config import AgentConfig, SinkSettings
    from agent.deliver.requests import Done, Request
    from agent.report.parked_lines import ParkedAt
    from agent.store import StoreReader

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="Configuration file.")]
StoreOption = Annotated[Path | None, typer.Option("--store", help="Directory of the store, instead of a file's.")]
SinkOption = Annotated[str | None, typer.Option("--sink", help="Only this sink.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
WaitOption = Annotated[float, typer.Option("--wait", help="Seconds to wait for the running agent's answer.")]


def parked(
    sink: SinkOption = None,
    lines: Annotated[bool, typer.Option("--lines", help="Show the text of each line.")] = False,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="At most so many of each sink.")] = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """List what servers refused for good: when, which circuit, and why in the server's words. Newest first.

    Reads the store only: works beside a running agent and after it has stopped.
    """
    from agent.report.parked_lines import document, grid
    from agent.report.terminal import print_grid
    from agent.store import StoreReader

    path = store or _load(config).store.path
    with StoreReader.open(path) as reader:
        found = [_parked_at(reader, name, limit) for name in ([sink] if sink else _names(reader, config, store))]
    if json_output:
        print(json.dumps(document(found), ensure_ascii=False, indent=2))
    elif any(item.kept or item.dropped for item in found):
        print_grid(grid([item for item in found if item.kept or item.dropped], lines=lines))
    else:
        print("nothing is parked: every sample was accepted, or waits")


def retry(sink: SinkOption = None, config: ConfigOption = DEFAULT_CONFIG, wait: WaitOption = 30.0) -> None:
    """Offer parked lines to their server again; those it accepts are parked no longer.

    Beside a running agent the agent does it, because it alone writes its store; otherwise it is done here. Exits 1
    where some are still refused.
    """
    settings = _load(config)
    from agent.store import StoreReader

    chosen = [_settings(settings, sink)] if sink else list(settings.sinks)
    with StoreReader.open(settings.store.path) as reader:
        chosen = [item for item in chosen if reader.parked(item.name, 1)]
    if not chosen:
        print("nothing is parked")
        return
    failed = False
    for item in chosen:
        done = _retry_one(settings.store.path, item, wait)
        failed = failed or done.failed
    raise typer.Exit(1 if failed else 0)


def drop(
    sink: Annotated[str, typer.Option("--sink", help="The sink whose parked lines are given up.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept as an event in the store.")],
    config: ConfigOption = DEFAULT_CONFIG,
    store: StoreOption = None,
    wait: WaitOption = 30.0,
) -> None:
    """Give up all parked lines of a sink, for a reason that is kept. The samples themselves stay in the store.

    Beside a running agent the agent does it, because it alone writes its store; otherwise it is done here.
    """
    if not reason.strip():
        raise typer.BadParameter("say why, for whoever asks later", param_hint="--reason")
    from agent.deliver import parked as lines
    from agent.deliver.requests import Done
    from agent.store import StoreReader
    from agent.store.sealed.offline import opened
    from probes.core.clock import SystemClock

    path, clock = store or _load(config).store.path, SystemClock()

    def here() -> Done:
        with opened(path, clock) as keeper, StoreReader.open(path) as reader:
            gone = lines.drop(sink, reader, keeper, clock.wall(), reason.strip())
            return Done(f"{gone} parked lines dropped", gone)

    done = _by_agent_or_here(path, sink, "drop", reason.strip(), wait, here)
    raise typer.Exit(1 if done.failed else 0)


def _retry_one(path: Path, settings: SinkSettings, wait_s: float) -> Done:
    from agent.deliver import parked as lines
    from agent.deliver.requests import Done
    from agent.store import StoreReader
    from agent.store.sealed.offline import opened
    from probes.core.clock import SystemClock

    clock = SystemClock()

    def here() -> Done:
        with opened(path, clock) as keeper, StoreReader.open(path) as reader:
            found = lines.retry(settings, reader, keeper, clock.wall(), lambda: False)
            return Done(str(found), found.accepted, failed=bool(found.left))

    return _by_agent_or_here(path, settings.name, "retry", "", wait_s, here)


def _by_agent_or_here(path: Path, sink: str, action: str, reason: str, wait_s: float, here: Callable[[], Done]) -> Done:
    """Says which of both it was."""
    from agent.deliver import requests
    from agent.store.directory import held, owner_of
    from probes.core.clock import SystemClock

    clock = SystemClock()
    if not held(path):
        done = here()
        print(f"sink {sink}: {done.text} (done here: no agent is running on {path})")
        return done
    owner = owner_of(path)
    who = f"the running agent (process {owner.pid})" if owner else "the running agent"
    request = requests.ask(path, "drop" if action == "drop" else "retry", sink, clock.wall(), reason)
    answered = _await(path, request, wait_s)
    if answered is None:
        text = f"{who} has not answered within {wait_s:g} s; it still may: the events of `linkwitness status` will tell"
        print(f"sink {sink}: {text}")
        return requests.Done(text, failed=True)
    print(f"sink {sink}: {answered.text} (done by {who})")
    return answered


def _await(path: Path, request: Request, wait_s: float) -> Done | None:
    import threading

    from agent.deliver.requests import answer_to
    from probes.core.clock import MILLISECOND, SECOND, SystemClock

    clock, never = SystemClock(), threading.Event()
    give_up = clock.monotonic() + int(wait_s * SECOND)
    while (done := answer_to(path, request)) is None:
        if clock.monotonic() >= give_up:
            return None
        clock.wait(never, 100 * MILLISECOND)
    return done


def _load(config: Path) -> AgentConfig:
    from agent.config import load

    return load(config)


def _settings(config: AgentConfig, name: str) -> SinkSettings:
    from probes.core.errors import LocalError

    for item in config.sinks:
        if item.name == name:
            return item
    known = ", ".join(sorted(item.name for item in config.sinks)) or "none"
    raise LocalError(f"there is no sink {name!r}", hint=f"configured: {known}")


def _names(reader: StoreReader, config: Path, store: Path | None) -> list[str]:
    configured = [] if store is not None else [item.name for item in _load(config).sinks]
    return list(dict.fromkeys([*configured, *(position.sink for position in reader.status().sinks)]))


def _parked_at(reader: StoreReader, sink: str, limit: int) -> ParkedAt:
    from agent.report.parked_lines import ParkedAt

    kept = len(reader.parked(sink, 1 << 31))
    return ParkedAt(sink, kept, dropped_of(reader, sink), reader.parked(sink, limit))


def dropped_of(reader: StoreReader, sink: str) -> int:
    """Parked lines of the sink that went for want of room, as far as events are kept."""
    from agent.store.parked import dropped_text
    from agent.store.records import PARKED_DROPPED

    events = reader.events(kind=PARKED_DROPPED, limit=100_000)
    return sum(event.count or 0 for event in events if event.text == dropped_text(sink))
