"""`linkwitness host`: was this host fit to measure? Its seconds as the agent noted them, and why some do not count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.run import DEFAULT_CONFIG


def command(
    config: Annotated[
        Path, typer.Option("-c", "--config", help="Configuration file; names the store.")
    ] = DEFAULT_CONFIG,
    store: Annotated[Path | None, typer.Option("--store", help="Directory of the store, instead of a file's.")] = None,
    since: Annotated[str, typer.Option("--since", help="How far back, such as 10m, 24h or 7d.")] = "24h",
    everything: Annotated[bool, typer.Option("--all", help="Show the fit seconds as well.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object with every second.")] = False,
) -> None:
    """Show the seconds in which this host was not fit to measure, with what was found: CPU time stolen by the
    hypervisor, memory, late packets, dropped replies, packets to itself that were lost. Samples of such seconds are
    kept and not judged.

    A second is kept with its row, once a minute. Exits 1 when there is no store.
    """
    from agent.config import load
    from agent.report import host_seconds
    from agent.report.terminal import print_grid
    from agent.store import StoreReader
    from probes.core.clock import SystemClock
    from probes.core.errors import ValueFormatError
    from probes.core.units import parse_duration

    try:
        span = parse_duration(since)
    except ValueFormatError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    until = SystemClock().wall()
    with StoreReader.open(store or load(config).store.path) as reader:
        seconds = reader.host(until - span, until)
    if json_output:
        print(json.dumps(host_seconds.document(seconds, until - span, until), ensure_ascii=False))
        return
    print_grid(host_seconds.grid(seconds, everything=everything))
