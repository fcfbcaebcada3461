"""`linkwitness run`: the daemon in the foreground, shown as a table, as plain lines, as JSON lines, or not at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent.overview import Kept

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
    from agent.cli.outlet import Outlet
    from agent.cli.watching import open_view
    from agent.daemon import Daemon
    from agent.notify import Notifier
    from probes.core.clock import SystemClock

    chosen = "json" if json_lines else output
    if chosen not in OUTPUTS:
        raise typer.BadParameter(f"{chosen!r} is not one of {', '.join(OUTPUTS)}", param_hint="--output")
    _must_exist(config)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with Outlet(1, encoding) as out, Outlet(2, encoding) as errors:
        with open_view(chosen, out, errors) as view:
            kept = Daemon(config, clock=SystemClock(), view=view, notifier=Notifier()).run()
        errors.write(last_words(kept, config))


def _must_exist(config: Path) -> None:
    """Raises LocalError with the way to a configuration."""
    from probes.core.errors import LocalError

    try:
        found = config.exists()
    except OSError as error:
        raise LocalError(f"{config} cannot be read: {error.strerror}", hint="may this user read it?") from None
    if found:
        return
    example = Path("config/agent.yaml")
    hint = "name one with -c FILE; `linkwitness config schema` describes it, config/agent.yaml of the source is one"
    if config == DEFAULT_CONFIG and example.is_file():
        hint = f"try the one that runs on any host: linkwitness run -c {example}"
    raise LocalError(f"there is no configuration at {config}", hint=hint)


def last_words(kept: Kept, config: Path) -> str:
    """What was kept and where, and how to look at it."""
    from probes.core.units import format_bytes

    store = kept.store
    size = format_bytes(store.database_bytes + store.wal_bytes)
    lines = [
        f"Stopped. Kept {kept.totals.samples - kept.lost} samples of {kept.totals.packets} packets in this run;",
        f"the store {store.path} holds {store.rows} samples ({size}).",
    ]
    if kept.lost:
        lines.append(f"{kept.lost} samples could not be kept; the events in the store say when and why.")
    lines += [f"Sink {sink.sink}: {sink.lag or 'no'} samples not yet delivered." for sink in store.sinks]
    lines.append(f"Look at them: linkwitness status -c {config}; linkwitness check -c {config}")
    return "".join(f"{line}\n" for line in lines)
