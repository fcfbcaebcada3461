"""`linkwitness store export` and `store import`: samples out to other tools, and lines of samples in again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

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
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.cli.progress import Progress
    from agent.deliver.intake import Intake, Sort
    from agent.store.importing import Arrived
    from agent.store.sealed.offline import OfflineWriter

WORKPLACE = ".import"
"""Directory inside the store for what is on its way; what a killed import has left goes with the next."""


def export(
    form: Annotated[str, typer.Option("--format", metavar="csv|lines|parquet", help="What to write.")] = "csv",
    circuit: Annotated[list[str] | None, typer.Option("--circuit", help="Only this circuit; may be repeated.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="2026-09-01 or 2026-09-01T12:00:00Z; UTC.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Samples that start before it.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; standard output without it.")] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    ignore_damaged: IgnoreOption = False,
) -> None:
    """Write samples, live and sealed: CSV, Parquet, or the lines that a sink gets. Works beside a running agent.

    A file appears under its name only when it is complete.
    """
    from agent.cli.progress import Progress
    from agent.store import export as exporting

    if form not in ("csv", "lines", "parquet"):
        raise typer.BadParameter("one of csv, lines, parquet", param_hint="--format")
    if form == "parquet" and output is None:
        raise typer.BadParameter("Parquet needs a file: -o FILE", param_hint="--format")
    bounds = (instant(start, "--from", -(1 << 63)), instant(end, "--to", (1 << 63) - 1))
    settings = load(config) if config is not None or store is None else None
    path = path_of(config, store)
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        what = "it is a directory" if output.is_dir() else "there is no such directory"
        raise LocalError(f"{output} cannot be written: {what}", hint="name a file in a directory that exists")
    with Progress("export") as progress, trouble(output or path), reading(path, ignore_damaged) as reader:
        groups = exporting.samples(reader, circuit or (), *bounds)
        if form == "parquet":
            assert output is not None
            total = progress.count(exporting.to_parquet(groups, output), "samples")
        else:
            with _target(output) as stream:
                if form == "csv":
                    written = exporting.to_csv(groups, stream)
                else:
                    from agent.deliver.line import LineEncoder

                    known = {item.id: item for item in settings.circuits} if settings else {}
                    encoder = LineEncoder(reader.status().site, known)
                    written = exporting.to_lines(groups, stream, lambda sample: encoder.encode(sample, text=True))
                shown = output is not None or not sys.stdout.isatty()
                total = progress.count(written, "samples") if shown else sum(written)
    if output is not None:
        print(f"{total} samples written to {output}", file=sys.stderr)


@contextlib.contextmanager
def _target(output: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a file that takes its name once it is complete."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    unfinished = output.with_name(f".{output.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)


def bring(
    files: Annotated[list[str], typer.Argument(metavar="FILE...|-", help="Line protocol, plain or gzip; - is stdin.")],
    config: ConfigOption = None,
    store: StoreOption = None,
    skip_foreign: Annotated[
        bool,
        typer.Option("--skip-foreign", help="Leave out lines that are not of samples, such as other measurements."),
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Import the rest where lines are wrong or contradict what is stored.")
    ] = False,
    any_site: Annotated[bool, typer.Option("--any-site", help="Take samples of other sites than the store's.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done; change nothing.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Bring samples into the store: lines of `store export --format lines`, or as read out of a database.

    Only while no agent runs on the store. All of it or nothing; what is stored is never overwritten. The import is
    recorded: which file (SHA-256), which circuit, how many samples, from when to when.
    """
    from agent.cli.progress import Progress

    path = path_of(config, store)
    with Progress("import") as progress, trouble(path):
        try:
            code = _bring(path, files, progress, (skip_foreign, skip_bad, any_site, dry_run), json_output=json_output)
        except KeyboardInterrupt:
            print("interrupted: nothing was imported", file=sys.stderr)
            raise
    raise typer.Exit(code)


def _bring(
    path: Path, files: list[str], progress: Progress, choice: tuple[bool, bool, bool, bool], *, json_output: bool
) -> int:
    """choice: skip_foreign, skip_bad, any_site, dry_run."""
    from agent.deliver.intake import Intake
    from agent.store import Store
    from agent.store.records import LIVE_FILE
    from agent.store.sealed.offline import opened
    from probes.core.clock import SystemClock

    skip_foreign, skip_bad, any_site, dry_run = choice
    clock = SystemClock()
    fatal: set[Sort] = {"site", *(() if skip_foreign else ("foreign",)), *(() if skip_bad else ("bad", "different"))}
    with contextlib.ExitStack() as stack:
        writer: OfflineWriter | None = None
        fresh = None if (path / LIVE_FILE).exists() else stack.enter_context(_fresh(path))
        if fresh is None:
            writer = stack.enter_context(opened(path, clock))  # before anything is read: an agent may run
        workplace = stack.enter_context(_workplace(path))
        intake = Intake(workplace / "points.sqlite", _site(path) if writer else None, any_site=any_site)
        stack.callback(intake.close)
        for name in files:
            _read(intake, name, progress)
        if writer is None:
            Store.open(path, clock=clock, site=intake.site or "").close()
            writer = stack.enter_context(opened(path, clock))
        arrived = _run(writer, intake, progress, fatal, clock.wall(), dry_run=dry_run)
        refused = any(intake.findings.counts[sort] for sort in fatal)
        if fresh is not None:
            fresh.kept = not refused and not dry_run
    _tell(intake, arrived, "refused" if refused else "dry run" if dry_run else "done", json_output=json_output)
    return 1 if refused else 0


class _Fresh:
    """A store that this import creates, and whether it is to stay."""

    kept = False


@contextlib.contextmanager
def _fresh(path: Path) -> Iterator[_Fresh]:
    """What was created and is not kept goes again: the directory too, unless somebody else had made it."""
    from agent.store.records import LIVE_FILE

    there = set(path.iterdir()) if path.is_dir() else None
    fresh = _Fresh()
    try:
        yield fresh
    finally:
        if not fresh.kept and there is None:
            shutil.rmtree(path, ignore_errors=True)
        elif not fresh.kept:
            for made in set(path.iterdir()) - (there or set()):
                if made.name.startswith(LIVE_FILE) or made.name in ("lock", "reserve"):
                    made.unlink()


def _site(path: Path) -> str | None:
    """Whose samples the store has; None for an empty one that nobody has named."""
    from agent.store import StoreReader

    with StoreReader.open(path) as reader:
        status = reader.status()
    return status.site if status.site or status.newest_seq else None


def _read(intake: Intake, name: str, progress: Progress) -> None:
    def told(lines: int) -> None:
        progress.show(f"{name}: {lines} lines read")

    if name == "-":
        intake.read("standard input", sys.stdin.buffer, told)
        return
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(Path(name).open("rb"))
        except OSError as error:
            raise LocalError(f"{name}: {error.strerror}", hint="nothing was imported") from None
        intake.read(name, stream, told)


def _run(
    writer: OfflineWriter, intake: Intake, progress: Progress, fatal: set[Sort], now_ns: int, *,
    dry_run: bool,
) -> Arrived:  # fmt: skip
    from agent.store import StoreReader
    from agent.store.importing import Brought, Import

    def refuse(item: Brought, contradiction: str) -> None:
        sample = item.sample
        what = f"the store has another sample of {sample.circuit}/{sample.probe} at {sample.start_ns}: {contradiction}"
        intake.findings.add("different", intake.place(item.source, item.line), what)

    def samples() -> Iterator[Brought]:
        for number, item in enumerate(intake.samples()):
            progress.show(f"{number} samples")
            yield item

    def acceptable() -> bool:
        return not dry_run and not any(intake.findings.counts[sort] for sort in fatal)

    sources = [f"{Path(source.name).name} (SHA-256 {source.sha256})" for source in intake.sources]
    with StoreReader.open(writer.file.path.parent) as reader:
        return Import(writer.file, reader, sources, intake.difference, refuse).run(samples(), now_ns, acceptable)


@contextlib.contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    workplace = path / WORKPLACE
    shutil.rmtree(workplace, ignore_errors=True)
    workplace.mkdir(mode=0o700, parents=True)
    try:
        yield workplace
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


_SORTS: dict[Sort, str] = {
    "bad": "wrong lines", "foreign": "lines that are not of samples", "site": "lines of other sites",
    "different": "samples that contradict the store",
}  # fmt: skip


def _tell(intake: Intake, arrived: Arrived, outcome: str, *, json_output: bool) -> None:
    """Findings on standard error, the sum on standard output; or one JSON object."""
    counts = intake.findings.counts
    if json_output:
        document = {
            "schema": "linkwitness.store-import/1",
            "outcome": outcome,
            "imported": arrived.kept if outcome == "done" else 0,
            "new": arrived.kept,
            "present": arrived.present,
            "sources": [{"name": item.name, "sha256": item.sha256, "lines": item.lines} for item in intake.sources],
            "findings": {
                sort: {
                    "count": counts[sort],
                    "listed": [
                        {"place": item.place, "reason": item.reason} for item in intake.findings.listed.get(sort, [])
                    ],
                }
                for sort in _SORTS
            },
        }
        print(json.dumps(document, ensure_ascii=False, indent=2))
        return
    for sort, listed in intake.findings.listed.items():
        for item in listed:
            print(f"{item.place}: {item.reason}", file=sys.stderr)
        if counts[sort] > len(listed):
            print(f"... and {counts[sort] - len(listed)} more {_SORTS[sort]}", file=sys.stderr)
    found = ", ".join(f"{_SORTS[sort]}: {counts[sort]}" for sort in intake.findings.listed)
    if outcome == "refused":
        hint = "--skip-foreign and --skip-bad leave such lines out, --any-site takes those of other sites"
        raise LocalError(f"nothing was imported: {found}", hint=hint)
    begun = "would be imported" if outcome == "dry run" else "imported"
    print(
        f"{arrived.kept} samples {begun}, {arrived.present} were there already{f'; left out: {found}' if found else ''}"
    )
    for event in arrived.events:
        print(f"  {event.circuit}: {event.count} samples from {event.reason}")
