"""`linkwitness status`: what the store holds and how its keeper and its sinks are doing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.run import DEFAULT_CONFIG

if TYPE_CHECKING:
    from agent.report.store_status import StoreReport


def command(
    config: Annotated[
        Path, typer.Option("-c", "--config", help="Configuration file; names the store.")
    ] = DEFAULT_CONFIG,
    store: Annotated[Path | None, typer.Option("--store", help="Directory of the store, instead of a file's.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the newest sample of every probe, the last runs, what waits for the sinks, the events of the last
    day, and every gap of the last 30 days with its reason.

    Reads the store only: works beside a running agent and after it has stopped. Exits 1 when there is no store.
    """
    from agent.report.store_status import document, grids
    from agent.report.terminal import print_grid

    report = _read(store or _configured(config))
    if json_output:
        print(json.dumps(document(report), ensure_ascii=False, indent=2))
        return
    for number, grid in enumerate(grids(report)):
        if number:
            print()
        print_grid(grid)


def _configured(config: Path) -> Path:
    from agent.config import load

    return load(config).store.path


def _read(path: Path) -> StoreReport:
    from agent.report.store_status import StoreReport
    from agent.store import StoreReader
    from probes.core.clock import SECOND, SystemClock

    now = SystemClock().wall()
    with StoreReader.open(path) as reader:
        return StoreReport(
            now, reader.status(), reader.latest(), reader.newest_runs(), reader.events(now - 86_400 * SECOND, limit=50),
            reader.gaps(now - 30 * 86_400 * SECOND), reader.last_paths(), reader.host(now - 86_400 * SECOND),
        )  # fmt: skip
