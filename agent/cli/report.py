"""`linkwitness report`: what was promised and kept in a period, for both parties, from one frozen data set."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from agent.cli.run import DEFAULT_CONFIG
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.assessing import Court
    from agent.report.statement import Statement
    from agent.sla.samples.columns import SampleColumns
    from agent.sla.terms.contract import Contract
    from agent.sla.time.calendar import WindowInstants
    from probes.core.model import Circuit

FORMATS: Final = {"html": ".html", "json": ".json", "csv": ".csv", "text": ".txt"}
AUDIENCES: Final = ("provider", "customer")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")

Pair = tuple["Circuit", "Contract"]


@dataclass(frozen=True, slots=True)
class _Wish:
    """The command line. period: as written, None for the month before `now_ns`."""

    config: Path
    period: str | None
    output: str
    audience: Literal["provider", "customer"]
    target: Path | None
    now_ns: int
    source: str
    store: Path | None


def command(
    name: Annotated[str, typer.Argument(metavar="CONTRACT|CIRCUIT", help="What to report on.")],
    circuit: Annotated[str | None, typer.Option("--circuit", help="Only this one of the contract's circuits.")] = None,
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file.")] = DEFAULT_CONFIG,
    month: Annotated[
        str | None, typer.Option("--month", help="Month, such as 2026-10; the one before this if left out.")
    ] = None,
    window: Annotated[
        str | None, typer.Option("--window", help="Another period: 2026-10-05, 2026-W40, 2026-Q4, 2026.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--format", help="html | json | csv | text; by the ending of the file, else text."),
    ] = None,
    audience: Annotated[
        str, typer.Option("--for", help="provider | customer: the same numbers, told in another order.")
    ] = "customer",
    target: Annotated[
        Path | None, typer.Option("-o", "--output", help="File, or directory for one file a circuit.")
    ] = None,
    source: Annotated[
        str, typer.Option("--from", help="Where the samples are: store, influxdb, or the name of a sink.")
    ] = "store",
    store: Annotated[
        Path | None, typer.Option("--store", help="Directory of the store, instead of the configured one.")
    ] = None,
    now: Annotated[
        str | None, typer.Option("--now", help="Report as if it were this instant, such as 2026-11-03T09:00:00Z.")
    ] = None,
) -> None:
    """Write the report of a period: verdicts, faults, exclusions, credits, and the proof of what they rest on.

    The report for the provider and that for the customer hold the same numbers and the same hash of the data. The same
    command with the same --now gives the same bytes. Several circuits take a directory: -o DIRECTORY.
    """
    from agent.cli.check import period_of
    from agent.sla.time.calendar import parse_instant
    from probes.core.clock import SECOND, SystemClock

    now_ns = SystemClock().wall() // SECOND * SECOND if now is None else parse_instant(now)
    wish = _Wish(
        config, period_of(month, window), _format(output, target), _audience(audience), target, now_ns, source, store
    )
    _report(name, circuit, wish)


def _format(output: str | None, target: Path | None) -> str:
    if output is None:
        endings = {suffix: name for name, suffix in FORMATS.items()} | {".htm": "html"}
        return endings.get(target.suffix.lower(), "text") if target is not None else "text"
    if output not in FORMATS:
        raise LocalError(f"there is no format {output!r}", hint=f"one of: {', '.join(FORMATS)}")
    return output


def _audience(text: str) -> Literal["provider", "customer"]:
    if text == "provider":
        return "provider"
    if text == "customer":
        return "customer"
    raise LocalError(f"nobody is called {text!r} in a contract", hint=f"--for {' or --for '.join(AUDIENCES)}")


def _report(name: str, only: str | None, wish: _Wish) -> None:
    from agent import contract_files
    from agent.cli.check import chosen_pairs
    from agent.cli.court import convene
    from agent.cli.sources import open_source
    from agent.config import load
    from agent.written import Written

    if not wish.config.is_file():
        raise LocalError(f"there is no configuration at {wish.config}", hint="name one with -c")
    config = load(wish.config)
    contracts = contract_files.load(config.contracts)
    pairs = [pair for pair in chosen_pairs(config, contracts, name) if only in (None, pair[0].id)]
    if not pairs:
        raise LocalError(f"{only} is not a circuit of {name}", hint="leave out --circuit to report on all of them")
    if len(pairs) > 1 and not _is_directory(wish.target):
        names = ", ".join(circuit.id for circuit, _ in pairs)
        raise LocalError(
            f"{name} has {len(pairs)} circuits, each with a report of its own: {names}",
            hint="choose one with --circuit, or write them into a directory: -o DIRECTORY/",
        )
    files = _ledgers(config.contracts)
    with open_source(config, wish.source, wish.store) as samples:
        court = convene(samples, config, contracts, Written.load(config.contracts, as_of_ns=wish.now_ns), wish.now_ns)
        for pair in pairs:
            statement, label = _statement(court, pair, wish, samples.name, files)
            _put(statement, f"{pair[0].id}-{label}-{wish.audience}", wish)


def _is_directory(target: Path | None) -> bool:
    """A directory that is there, or a name without an ending."""
    return target is not None and (target.is_dir() or not target.suffix)


def _statement(court: Court, pair: Pair, wish: _Wish, source: str, files: Mapping[str, str]) -> tuple[Statement, str]:
    """One circuit's statement, and the name of its period."""
    from importlib import metadata

    from agent.report.statement import build
    from agent.report.statement.drawing import complete, pick

    circuit, contract = pair
    period = _period(contract, wish)
    assessment, series = court.assess(contract, circuit, period)
    given = list(series.values())
    statement = build(
        assessment,
        given,
        software=f"linkwitness {metadata.version('linkwitness')}",
        audience=wish.audience,
        drawn=None if complete(pick(given, circuit.id)) else _drawn(court, circuit, period),
        command=_command(circuit, period.label, wish),
        source=source,
        files=files,
    )
    return statement, period.label


def _period(contract: Contract, wish: _Wish) -> WindowInstants:
    """The one asked for, or the calendar month that ended last."""
    from agent.sla.time.calendar import calendar_window, parse, previous
    from agent.sla.time.wall_clock import local_date

    if wish.period is None:
        zone = contract.time_zone
        return previous(calendar_window("month", local_date(wish.now_ns, zone), zone))
    period = parse(wish.period, contract.time_zone)
    if period.start_ns > wish.now_ns:
        raise LocalError(f"{period.label} has not begun in {contract.time_zone}", hint="name a past period")
    return period


def _drawn(court: Court, circuit: Circuit, period: WindowInstants) -> SampleColumns | None:
    """The stream with delays that a drawing can be made of, read for that; None where the circuit has none."""
    from agent.report.statement.drawing import COLUMNS
    from agent.sla.docket import Reading
    from agent.sla.samples.feeds import makes_attempts

    streams = [probe for probe in circuit.probes if not makes_attempts(probe)]
    if not streams:
        return None
    probe = streams[0]
    end_ns = max(period.start_ns, min(period.end_ns, court.now_ns))
    reading = Reading(probe.name, probe.kind, COLUMNS, period.start_ns, end_ns, circuit.id)
    found = court.samples.read(circuit.id, reading)
    return found if len(found) else None


def _ledgers(contracts: Path) -> dict[str, str]:
    """SHA-256 of the ledgers beside the contracts, those that there are."""
    import hashlib

    from agent import claim_files, event_files, incident_files, maintenance_ledger

    found = {}
    for module in (incident_files, event_files, claim_files, maintenance_ledger):
        path = contracts / module.FILE
        if path.is_file():
            found[f"ledger {module.FILE}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _command(circuit: Circuit, label: str, wish: _Wish) -> str:
    """What makes this very report again."""
    from agent.report.statement.figures import instant

    words = ["linkwitness", "report", circuit.id, "--window", label, "--now", instant(wish.now_ns, "UTC").utc]
    words += ["--for", wish.audience, "--format", wish.output]
    if wish.config != DEFAULT_CONFIG:
        words += ["-c", str(wish.config)]
    if wish.source != "store":
        words += ["--from", wish.source]
    if wish.store is not None:
        words += ["--store", str(wish.store)]
    return shlex.join(words)


def _put(statement: Statement, stem: str, wish: _Wish) -> None:
    from agent.report import statement as forms

    target = wish.target
    if target is None and wish.output == "text":
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        sys.stdout.write(forms.text(statement) if width is None else forms.text(statement, width))
        return
    form = {"html": forms.html, "json": forms.as_json, "csv": forms.as_csv, "text": forms.text}[wish.output]
    made = form(statement)
    if target is None:
        sys.stdout.write(made)
        return
    if _is_directory(target):
        target = target / (_UNSAFE.sub("_", stem) + FORMATS[wish.output])
    _write(target, made.encode())
    print(f"{target}: {statement.summary.headline}; content {statement.content_sha256[:16]}", file=sys.stderr)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all. Raises LocalError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(data)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise LocalError(
            f"{path}: {error.strerror or error}", hint="is there room, and may this user write there?"
        ) from None
