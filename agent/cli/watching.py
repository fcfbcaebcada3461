"""What `linkwitness run` shows while it runs: a table in place, plain lines, JSON lines, or notices only."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Final, cast

from agent.cli.outlet import Outlet
from agent.cli.watch_table import grid, sample_line, time_of
from agent.log_limit import Limited
from agent.overview import Overview, View
from agent.report.terminal import Cell, Grid, Screen
from probes.core.clock import SystemClock
from probes.core.model import Sample

log = logging.getLogger(__name__)

_PRIORITIES: Final = {
    logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7,
}  # fmt: skip
_NOISY: Final = ("apscheduler",)
"""Libraries that report as a failure what we record as a skipped run."""


@contextmanager
def open_view(output: str, out: Outlet, errors: Outlet) -> Iterator[View]:
    """The view called `output`, on these; log messages go the same way while it is open."""
    if output == "auto":
        output = _automatic(out)
    if output == "table":
        with Screen(cast("IO[str]", out)) as screen:
            table = TableView(screen, out)
            with _logging_to(_ViewHandler(table)):
                yield table
        return
    views = {"lines": LinesView, "json": JsonView, "quiet": QuietView}
    with _logging_to(_stderr_handler(errors)):
        yield views[output](out)


def _automatic(out: Outlet) -> str:
    if os.environ.get("NOTIFY_SOCKET") or os.environ.get("JOURNAL_STREAM"):
        return "quiet"
    return "table" if out.isatty() else "lines"


class TableView:
    """One row per probe, updated in place."""

    def __init__(self, screen: Screen, out: Outlet) -> None:
        self._screen, self._out = screen, out
        self._shown: Grid | None = None
        self._size = (0, 0)

    def started(self, overview: Overview) -> None:
        self._draw(overview)

    def refresh(self, overview: Callable[[], Overview], fresh: Iterable[Sample]) -> None:  # noqa: ARG002 # newest only
        if not self._out.busy:  # a terminal that is stopped or slow gets the newest state later
            self._draw(overview())

    def notice(self, text: str) -> None:
        self._screen.print(f"{_now()} {text}")

    def warn(self, text: str) -> None:
        self._screen.print(Cell(f"{_now()} {text}", "warn"))

    @property
    def gone(self) -> bool:
        return self._out.gone

    def _draw(self, overview: Overview) -> None:
        table = self._fitting(overview)
        if table != self._shown or self._size != self._screen.size:
            self._screen.draw(table)
            self._shown, self._size = table, self._screen.size

    def _fitting(self, overview: Overview) -> Grid:
        """As many rows as the terminal has room for, the worst of them."""
        width, height = self._screen.size
        room = height - 1
        limit = len(overview.rows) if len(overview.rows) <= room else room
        while True:
            table = grid(overview, width, limit)
            excess = self._screen.height_of(table) - room
            if excess <= 0 or limit <= 1:
                return table
            # A row may take several lines: excess says at least how many lines, not rows, have to go.
            limit = max(1, limit - max(1, excess // 3))


class QuietView:
    """Notices only: for the journal."""

    def __init__(self, out: Outlet) -> None:
        self._out = out

    def started(self, overview: Overview) -> None:
        circuits = len({row.circuit for row in overview.rows})
        if circuits:
            log.info("measuring %d circuits, %d probes; store %s", circuits, len(overview.rows), overview.store)
        else:
            log.warning("no circuits are configured: nothing is measured")

    def refresh(self, overview: Callable[[], Overview], fresh: Iterable[Sample]) -> None:
        pass

    def notice(self, text: str) -> None:
        log.info("%s", text)

    def warn(self, text: str) -> None:
        log.warning("%s", text)

    @property
    def gone(self) -> bool:
        """A pipe that was closed is no reason to stop measuring; a terminal that hung up is."""
        return self._out.gone and self._out.isatty()

    def tell_loss(self) -> None:
        """Say on the other way what this way could not carry."""
        news = self._out.news()
        if news is not None:
            log.warning("standard output: %s; measuring goes on", news)


class LinesView(QuietView):
    """One line per sample, and one whenever a circuit's verdict changes."""

    def __init__(self, out: Outlet) -> None:
        super().__init__(out)
        self._states: dict[str, tuple[tuple[str, str], ...]] = {}

    def refresh(self, overview: Callable[[], Overview], fresh: Iterable[Sample]) -> None:
        for sample in fresh:
            self._out.write(f"{sample_line(sample)}\n")
        for circuit, verdicts in {row.circuit: row.verdicts for row in overview().rows}.items():
            states = tuple((verdict.objective.id, str(verdict.state)) for verdict in verdicts)
            if states and states != self._states.get(circuit):
                self._states[circuit] = states
                for verdict in verdicts:
                    self._out.write(f"{_now()} {circuit} verdict {verdict.state}: {verdict.sentence}\n")
        self.tell_loss()


class JsonView(QuietView):
    """One JSON object a line on standard output: every sample."""

    def refresh(self, overview: Callable[[], Overview], fresh: Iterable[Sample]) -> None:  # noqa: ARG002 # samples only
        from agent.report.samples import sample_document

        for sample in fresh:
            self._out.write(f"{json.dumps(sample_document(sample), separators=(',', ':'), ensure_ascii=False)}\n")
        self.tell_loss()


def _now() -> str:
    return time_of(SystemClock().wall())


class _ViewHandler(logging.Handler):
    """Warnings and worse as notices above the table."""

    def __init__(self, view: View) -> None:
        super().__init__(logging.WARNING)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.warn(record.getMessage())


class _JournalFormatter(logging.Formatter):
    """Priority prefixes of sd-daemon(3) for the journal; a time stamp elsewhere."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", " | ")
        if os.environ.get("JOURNAL_STREAM"):
            return f"<{_PRIORITIES.get(record.levelno, 6)}>{text}"
        return f"{time_of(int(record.created * 1e9))} {record.levelname.lower()}: {text}"


def _stderr_handler(errors: Outlet) -> logging.Handler:
    handler = logging.StreamHandler(errors)
    handler.setFormatter(_JournalFormatter("%(message)s"))
    return handler


@contextmanager
def _logging_to(inner: logging.Handler) -> Iterator[None]:
    """Log messages go there, as many as a reader can follow, what is left out counted."""
    root, handler = logging.getLogger(), Limited(inner, SystemClock())
    root.addHandler(handler)
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
