"""`linkwitness store`: what is kept, whether it is whole, sealing by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import store_transfer
from agent.cli.store_options import (
    ConfigOption,
    IgnoreOption,
    JsonOption,
    StoreOption,
    instant,
    load,
    path_of,
    reading,
    trouble,
)

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.store.wholeness import Wholeness

app = typer.Typer(help="What is kept: days, checks, sealing by hand, export, import, backup.", no_args_is_help=True)


@app.command()
def status(
    config: ConfigOption = None,
    store: StoreOption = None,
    ignore_damaged: IgnoreOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show every day that has samples: live or sealed, how many, how large; gaps, imports, and what leaves next.

    Reads the store only: works beside a running agent and after it has stopped.
    """
    from agent.report.store_days import Days, document, grid
    from agent.report.terminal import print_grid
    from agent.store.importing import IMPORTED
    from probes.core.clock import SystemClock

    settings = load(config) if config is not None or store is None else None
    with reading(store or path_of(config, store), ignore_damaged) as reader:
        found = Days(
            SystemClock().wall(), reader.status(), reader.days(), reader.gaps(),
            reader.events(kind=IMPORTED), settings.store if settings else None,
        )  # fmt: skip
    if json_output:
        print(json.dumps(document(found), ensure_ascii=False, indent=2))
    else:
        print_grid(grid(found))


@app.command()
def verify(
    config: ConfigOption = None,
    store: StoreOption = None,
    aside: Annotated[
        bool,
        typer.Option(
            "--set-aside", help="Move what is damaged below sealed/ into damaged/ and record the gap. No agent may run."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Check the whole store: every sealed file against its SHA-256 and read whole, the live database's structure,
    the order of keeping without holes, the positions of the sinks, nothing that does not belong there.

    Exits 1 where anything is damaged, and names the file. Works beside a running agent, but for --set-aside.
    """
    from agent.cli.progress import Progress
    from agent.report.store_days import verified_document, verified_lines
    from agent.store import wholeness

    path = path_of(config, store)
    with Progress("verify") as progress, trouble(path):
        if aside:
            found = _set_aside(path, progress)
        else:
            found = wholeness.check(path, lambda part: progress.show(f"{part.name} read"))
    if json_output:
        print(json.dumps(verified_document(str(path), found), ensure_ascii=False, indent=2))
    else:
        print("\n".join(verified_lines(found)))
    raise typer.Exit(1 if found.findings else 0)


def _set_aside(path: Path, progress: object) -> Wholeness:
    """What is left to find after everything that can be moved was moved."""
    from agent.cli.progress import Progress
    from agent.store import wholeness
    from agent.store.sealed.offline import opened
    from probes.core.clock import SystemClock

    assert isinstance(progress, Progress)
    clock = SystemClock()
    with opened(path, clock) as writer:
        found = wholeness.check(path, lambda part: progress.show(f"{part.name} read"))
        for text in wholeness.set_aside(path, found.findings, clock.wall(), writer.event):
            print(text, file=sys.stderr)
        return wholeness.check(path, lambda part: progress.show(f"{part.name} read again"))


@app.command()
def seal(
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="Last day (UTC) to seal; default: by `store.seal_after`."),
    ] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
) -> None:
    """Seal past days now. Only while no agent runs on this store: a running one seals by itself, every hour."""
    from agent.cli.progress import Progress
    from agent.store.sealed.keeper import Keeper
    from agent.store.sealed.offline import opened
    from probes.core.clock import SystemClock

    settings = load(config) if config is not None or store is None else None
    path, clock = path_of(config, store), SystemClock()
    before_day = _before_day(until, clock.wall(), settings)
    with Progress("seal"), trouble(path), opened(path, clock) as writer:
        keeper = Keeper(path, writer, clock, lambda _kind, text: print(text, flush=True))
        try:
            found = keeper.seal(before_day)
        except KeyboardInterrupt:
            print("interrupted: the day that was being sealed stays in the live database", file=sys.stderr)
            raise
    if not found:
        print("no day is ready to be sealed")


@app.command()
def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the copy is, or will be.")],
    config: ConfigOption = None,
    store: StoreOption = None,
) -> None:
    """Copy the store beside a running agent; a copy in the same place is brought up to date.

    Days that are damaged are named, not copied, and the exit code is 1. To restore, put the copy back while no agent
    runs.
    """
    from agent.cli.progress import Progress
    from agent.store.backup import backup as copy
    from probes.core.units import format_bytes

    path = path_of(config, store)
    with Progress("backup") as progress, trouble(directory):
        copied = copy(path, directory, progress.show)
    for finding in copied.findings:
        print(f"damaged, not copied: {finding.path}: {finding.reason}", file=sys.stderr)
    print(
        f"copied: the live database and {copied.new} sealed parts, {format_bytes(copied.bytes)}; "
        f"{copied.known} parts were there already"
    )
    raise typer.Exit(1 if copied.findings else 0)


def _before_day(until: str | None, now_ns: int, settings: AgentConfig | None) -> int:
    from agent.config.settings import StoreSettings
    from agent.store.sealed.manifest import DAY_NS

    if until is None:
        seal_after = settings.store.seal_after_ns if settings else StoreSettings(Path(), 0, 0).seal_after_ns
        return (now_ns - seal_after) // DAY_NS
    day = instant(until, "--until", 0) // DAY_NS
    if day >= now_ns // DAY_NS:
        raise typer.BadParameter("only days that are over can be sealed", param_hint="--until")
    return day + 1


app.command("export")(store_transfer.export)
app.command("import")(store_transfer.bring)
