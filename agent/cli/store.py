"""`linkwitness store`: what is kept, whether it is whole, sealing by hand, export."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from agent.cli.run import DEFAULT_CONFIG

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.store import StoreReader

app = typer.Typer(help="What is kept: days, checks, sealing by hand, export.", no_args_is_help=True)

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="Configuration file; names the store.")]
StoreOption = Annotated[Path | None, typer.Option("--store", help="Directory of the store, instead of a file's.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
IgnoreOption = Annotated[
    bool, typer.Option("--ignore-damaged", help="Read without the sealed days that are damaged, and name them.")
]


@app.command()
def status(
    config: ConfigOption = DEFAULT_CONFIG,
    store: StoreOption = None,
    ignore_damaged: IgnoreOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show every day that has samples: live or sealed, how many, how large.

    Reads the store only: works beside a running agent and after it has stopped.
    """
    from agent.report.store_days import document, grid
    from agent.report.terminal import print_grid

    with _reader(_path(config, store), ignore_damaged) as reader:
        found, days = reader.status(), reader.days()
    if json_output:
        print(json.dumps(document(found, days), ensure_ascii=False, indent=2))
    else:
        print_grid(grid(found, days))


@app.command()
def verify(config: ConfigOption = DEFAULT_CONFIG, store: StoreOption = None, json_output: JsonOption = False) -> None:
    """Check every sealed file against its SHA-256, read it whole, and check the structure of the live database.

    Exits 1 where anything is damaged, and names the file. Works beside a running agent.
    """
    from agent.report.store_days import verified_document, verified_lines
    from agent.store.sealed.verification import verify as verify_store

    path = _path(config, store)
    found = verify_store(path)
    if json_output:
        print(json.dumps(verified_document(str(path), found), ensure_ascii=False, indent=2))
    else:
        print("\n".join(verified_lines(found)))
    raise typer.Exit(1 if found.findings else 0)


@app.command()
def seal(
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="Last day (UTC) to seal; default: by `store.seal_after`."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    store: StoreOption = None,
) -> None:
    """Seal past days now. Only while no agent runs on this store: a running one seals by itself, every hour.

    A day that a sink does not have whole is left live.
    """
    from agent.store.sealed.keeper import Keeper
    from agent.store.sealed.offline import opened
    from probes.core.clock import SystemClock

    settings = None if store is not None else _load(config)
    path, clock = store or _path(config, None), SystemClock()
    before_day = _before_day(until, clock.wall(), settings)
    with opened(path, clock) as writer:
        found = Keeper(path, writer, clock, lambda _kind, text: print(text)).seal(before_day)
    if not found:
        print("no day is ready to be sealed")


@app.command()
def export(
    form: Annotated[str, typer.Option("--format", metavar="csv|lines|parquet", help="What to write.")] = "csv",
    circuit: Annotated[list[str] | None, typer.Option("--circuit", help="Only this circuit; may be repeated.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="2026-09-01 or 2026-09-01T12:00:00Z; UTC.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Samples that start before it.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; standard output without it.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    store: StoreOption = None,
    ignore_damaged: IgnoreOption = False,
) -> None:
    """Write samples, live and sealed, a row or line of line protocol each. Works beside a running agent.

    A file appears under its name only when it is complete.
    """
    from agent.store import export as exporting

    if form not in ("csv", "lines", "parquet"):
        raise typer.BadParameter("one of csv, lines, parquet", param_hint="--format")
    if form == "parquet" and output is None:
        raise typer.BadParameter("Parquet needs a file: -o FILE", param_hint="--format")
    bounds = (_instant(start, "--from", -(1 << 63)), _instant(end, "--to", (1 << 63) - 1))
    settings = None if store is not None else _load(config)
    with _reader(store or _path(config, None), ignore_damaged) as reader:
        groups = exporting.samples(reader, circuit or (), *bounds)
        if form == "parquet":
            assert output is not None
            sum(exporting.to_parquet(groups, output))
            return
        with _target(output) as stream:
            if form == "csv":
                sum(exporting.to_csv(groups, stream))
            else:
                from agent.deliver.line import LineEncoder

                known = {item.id: item for item in settings.circuits} if settings else {}
                encoder = LineEncoder(reader.status().site, known)
                sum(exporting.to_lines(groups, stream, lambda sample: encoder.encode(sample, text=True)))


def _load(config: Path) -> AgentConfig:
    from agent.config import load

    return load(config)


def _path(config: Path, store: Path | None) -> Path:
    return store or _load(config).store.path


@contextlib.contextmanager
def _reader(path: Path, ignore_damaged: bool) -> Iterator[StoreReader]:
    from agent.store import StoreReader

    with StoreReader.open(path, ignore_damaged=ignore_damaged) as reader:
        yield reader
        for damage in reader.left_out():
            print(f"left out: {damage.message}", file=sys.stderr)


def _before_day(until: str | None, now_ns: int, settings: AgentConfig | None) -> int:
    from agent.config.settings import StoreSettings
    from agent.store.sealed.manifest import DAY_NS

    if until is None:
        seal_after = settings.store.seal_after_ns if settings else StoreSettings(Path(), 0, 0).seal_after_ns
        return (now_ns - seal_after) // DAY_NS
    day = _instant(until, "--until", 0) // DAY_NS
    if day >= now_ns // DAY_NS:
        raise typer.BadParameter("only days that are over can be sealed", param_hint="--until")
    return day + 1


def _instant(text: str | None, option: str, otherwise: int) -> int:
    """UTC ns of a date or an RFC 3339 time."""
    from datetime import UTC, datetime, timedelta

    if text is None:
        return otherwise
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write it like 2026-09-01 or 2026-09-01T12:00:00Z", param_hint=option) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


@contextlib.contextmanager
def _target(output: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a file that takes its name once it is complete."""
    if output is None:
        yield sys.stdout
        return
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        unfinished.rename(output)
    finally:
        unfinished.unlink(missing_ok=True)
