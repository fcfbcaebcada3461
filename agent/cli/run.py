"""`linkwitness run`: the daemon in the foreground, shown as a table, as plain lines, as JSON lines, or not at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent.daemon import Kept

DEFAULT_CONFIG = Path("/etc/linkwitness/agent.yaml")
OUTPUTS = ("auto", "table", "lines", "json", "quiet")


def command(
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file.")] = DEFAULT_CONFIG,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            help="What to show: auto | table | lines | json | quiet. Auto: a table on a terminal, notices only under "
            "systemd, lines elsewhere.",
        ),
    ] = "auto",
    json_lines: Annotated[bool, typer.Option("--json", help="Short for --output json: one sample per line.")] = False,
) -> None:
    """Measure the configured circuits until stopped (Ctrl-C or SIGTERM); SIGHUP reads the configuration again."""
    from agent.cli.watching import open_view
    from agent.daemon import Daemon
    from agent.notify import Notifier
    from probes.core.clock import SystemClock
    from probes.core.errors import LocalError

    chosen = "json" if json_lines else output
    if chosen not in OUTPUTS:
        raise typer.BadParameter(f"{chosen!r} is not one of {', '.join(OUTPUTS)}", param_hint="--output")
    if not config.is_file():
        raise LocalError(
            f"there is no configuration at {config}",
            hint="name one with -c, for example -c config/agent.yaml of the source tree",
        )
    with open_view(chosen) as view:
        kept = Daemon(config, clock=SystemClock(), view=view, notifier=Notifier()).run()
    _tell(kept, config)


def _tell(kept: Kept, config: Path) -> None:
    """The last words: what was kept and where, and how to look at it."""
    from probes.core.units import format_bytes

    store = kept.store
    size = format_bytes(store.database_bytes + store.wal_bytes)
    lines = [
        f"Stopped. Kept {kept.totals.samples} samples of {kept.totals.packets} packets in this run;",
        f"the store {store.path} holds {store.rows} samples ({size}).",
    ]
    lines += [f"Sink {sink.sink}: {sink.lag or 'no'} samples not yet delivered." for sink in store.sinks]
    lines.append(f"Look at them: linkwitness status -c {config}; linkwitness check -c {config}")
    for line in lines:
        print(line, file=sys.stderr)
