"""What `linkwitness run` shows while it runs: a table in place, plain lines, JSON lines, or notices only."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from agent.daemon import Overview, View
from agent.live import LiveRow
from agent.report.terminal import Cell, Column, Grid, Screen
from agent.sla.contract import Metric
from agent.sla.verdict import Verdict, worst
from agent.sla.wording import quantity
from probes.core.clock import SystemClock
from probes.core.model import Sample, SampleState
from probes.core.units import format_rate

_COLUMNS = (
    Column("CIRCUIT"), Column("PROBE"), Column("LATENCY", right=True), Column("JITTER", right=True),
    Column("LOSS", right=True), Column("THROUGHPUT", right=True), Column("AVAILABILITY", right=True),
    Column("VERDICT"), Column("NOTE", stretch=True),
)  # fmt: skip
ABSENT = "–"
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


@contextmanager
def open_view(output: str) -> Iterator[View]:
    """The view called `output`; log messages go the same way while it is open."""
    if output == "auto":
        output = _automatic()
    if output == "table":
        with Screen() as screen:
            view = TableView(screen)
            with _logging_to(_ViewHandler(view)):
                yield view
        return
    views = {"lines": LinesView, "json": JsonView, "quiet": QuietView}
    with _logging_to(_stderr_handler()):
        yield views[output]()


def _automatic() -> str:
    if os.environ.get("NOTIFY_SOCKET") or os.environ.get("JOURNAL_STREAM"):
        return "quiet"
    return "table" if sys.stdout.isatty() else "lines"


class TableView:
    """One row per probe, updated in place."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def started(self, overview: Overview) -> None:
        self._screen.draw(grid(overview))

    def refresh(self, overview: Overview, fresh: Sequence[Sample]) -> None:  # noqa: ARG002 # the table shows the newest
        self._screen.draw(grid(overview))

    def notice(self, text: str) -> None:
        self._screen.print(Cell(f"{_now()} {text}", "warn"))


class QuietView:
    """Notices only: for the journal."""

    def started(self, overview: Overview) -> None:
        logging.getLogger(__name__).info("measuring %d probes; store %s", len(overview.rows), overview.store)

    def refresh(self, overview: Overview, fresh: Sequence[Sample]) -> None:
        pass

    def notice(self, text: str) -> None:
        logging.getLogger(__name__).warning("%s", text)


class LinesView(QuietView):
    """One line per sample, and one whenever a circuit's verdict changes."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[tuple[str, str], ...]] = {}

    def refresh(self, overview: Overview, fresh: Sequence[Sample]) -> None:
        for sample in fresh:
            print(sample_line(sample))
        for circuit, verdicts in {row.circuit: row.verdicts for row in overview.rows}.items():
            states = tuple((verdict.objective.id, str(verdict.state)) for verdict in verdicts)
            if states and states != self._states.get(circuit):
                self._states[circuit] = states
                for verdict in verdicts:
                    print(f"{_now()} {circuit} verdict {verdict.state}: {verdict.sentence}")
        sys.stdout.flush()


class JsonView(QuietView):
    """One JSON object a line on standard output: every sample."""

    def refresh(self, overview: Overview, fresh: Sequence[Sample]) -> None:  # noqa: ARG002 # samples only
        from agent.report.samples import sample_document

        for sample in fresh:
            print(json.dumps(sample_document(sample), separators=(",", ":"), ensure_ascii=False))
        sys.stdout.flush()


def grid(overview: Overview) -> Grid:
    """The table of a running agent."""
    shown: set[str] = set()
    rows = []
    for row in overview.rows:
        rows.append(_cells(row, first=row.circuit not in shown))
        shown.add(row.circuit)
    totals = overview.totals
    clock = "clock synchronised" if overview.clock_synchronised else "clock not synchronised (round trips are exact)"
    above = (Cell(f"linkwitness at {overview.site}: {totals.samples} samples, {totals.packets} packets", "strong"),)
    below = (
        Cell(f"store {overview.store}; host load {overview.host_load:.0%}; {clock}", "dim"),
        *(Cell(f"sink {sink}", "dim") for sink in overview.sinks),
        Cell("latency: mean round trip; jitter: mean |IPDV|, RFC 3393; Ctrl-C stops and keeps everything", "dim"),
    )
    return Grid(_COLUMNS, rows, above, below)


def _cells(row: LiveRow, *, first: bool) -> tuple[Cell | str, ...]:
    sample = row.sample
    verdict = _verdict_cell(row) if first else Cell("")
    available = _availability(row.verdicts) if first else ""
    note = Cell(row.refused, "warn") if row.refused else _note(row)
    name = Cell(row.circuit if first else "", "strong")
    return (
        name, row.probe, _latency(sample), _jitter(sample), _loss(sample), _throughput(sample), available, verdict,
        note,
    )  # fmt: skip


def _latency(sample: Sample | None) -> Cell:
    if sample is None or sample.delay is None:
        return Cell(ABSENT, "dim")
    return Cell(f"{sample.delay.mean_ns / 1e6:.3f} ms")


def _jitter(sample: Sample | None) -> Cell:
    if sample is None or sample.variation is None or not sample.variation.ipdv_pairs:
        return Cell(ABSENT, "dim")
    return Cell(f"{sample.variation.ipdv_mean_ns / 1e6:.3f} ms")


def _loss(sample: Sample | None) -> Cell:
    if sample is None or sample.counts is None or not sample.counts.sent:
        return Cell(ABSENT, "dim")
    lost, sent = sample.counts.lost, sample.counts.sent
    return Cell(f"{lost}/{sent}", "bad" if lost else "plain")


def _throughput(sample: Sample | None) -> Cell:
    if sample is None or sample.rate is None:
        return Cell(ABSENT, "dim")
    rates = (("↑", sample.rate.forward_bps), ("↓", sample.rate.backward_bps))
    return Cell(" ".join(f"{arrow}{format_rate(rate)}" for arrow, rate in rates if rate is not None) or ABSENT)


def _availability(verdicts: Sequence[Verdict]) -> str:
    for verdict in verdicts:
        if verdict.objective.metric is Metric.AVAILABILITY and verdict.value is not None:
            return quantity(Metric.AVAILABILITY, verdict.value, verdict.target)
    return ABSENT


def _verdict_cell(row: LiveRow) -> Cell:
    if not row.judged:
        return Cell("no contract", "dim")
    lowest = worst(row.verdicts)
    if lowest is None:
        return Cell("…", "dim")
    state = str(lowest.state)
    tones = {"met": "good", "on_track": "good", "breached": "bad", "at_risk": "warn"}
    return Cell(state.replace("_", " "), tones.get(state, "dim"))  # type: ignore[arg-type] # values of Tone


def _note(row: LiveRow) -> Cell:
    sample = row.sample
    if sample is None:
        return Cell("first interval is being measured", "dim")
    if sample.state is SampleState.OK:
        return Cell(f"{sample.quality.stamps} stamps", "dim")
    return Cell(sample.reason or sample.state.replace("_", " "), "warn")


def sample_line(sample: Sample) -> str:
    """One sample as one plain line: time, circuit, probe, state, then what was measured."""
    parts = [_time(sample.start_ns), f"{sample.circuit}/{sample.probe}", str(sample.state)]
    if sample.delay is not None:
        delay = sample.delay
        parts.append(
            f"rtt mean {delay.mean_ns / 1e6:.3f} p95 {delay.p95_ns / 1e6:.3f} max {delay.maximum_ns / 1e6:.3f} ms"
        )
    if sample.variation is not None and sample.variation.ipdv_pairs:
        parts.append(f"jitter {sample.variation.ipdv_mean_ns / 1e6:.3f} ms")
    if sample.counts is not None and sample.counts.sent:
        parts.append(f"lost {sample.counts.lost}/{sample.counts.sent}")
    if sample.rate is not None:
        parts.append(f"throughput {_throughput(sample).text}")
    if sample.reason:
        parts.append(f"({sample.reason})")
    return " ".join(parts)


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _now() -> str:
    return _time(SystemClock().wall())


class _ViewHandler(logging.Handler):
    def __init__(self, view: View) -> None:
        super().__init__(logging.WARNING)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.notice(record.getMessage())


class _JournalFormatter(logging.Formatter):
    """Priority prefixes of sd-daemon(3) for the journal; a time stamp elsewhere."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", " | ")
        if os.environ.get("JOURNAL_STREAM"):
            return f"<{_PRIORITIES.get(record.levelno, 6)}>{text}"
        return f"{_now()} {record.levelname.lower()}: {text}"


def _stderr_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter("%(message)s"))
    return handler


@contextmanager
def _logging_to(handler: logging.Handler) -> Iterator[None]:
    root = logging.getLogger()
    previous = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(previous)
