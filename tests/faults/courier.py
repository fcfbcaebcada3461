"""A process that keeps and delivers samples until it is killed; see test_cursor_kills."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from dataclasses import dataclass
from pathlib import Path

from agent.config import SinkSettings
from agent.deliver import Delivery
from agent.deliver.answer import Answer, Reply
from agent.deliver.sink import Sink
from agent.store import Store
from probes.core.clock import SECOND, SystemClock
from tests.fakes.samples import ping

SINK = "central"


@dataclass(frozen=True, slots=True)
class Errand:
    """first and count: samples to keep before anything is sent. bug: "" | hasty (acknowledges before it sends)."""

    path: Path
    url: str
    first: int
    count: int
    batch: int
    bug: str = ""


def _hasty() -> None:
    """As a client that batches in the background: what is handed over counts as written, and is sent later."""
    write, turns = Sink.write, itertools.count(1)

    def later(sink: Sink, lines: str) -> Reply:
        timer = threading.Timer(0.4 * next(turns), write, (sink, lines))
        timer.daemon = True
        timer.start()
        return Reply(Answer.WRITTEN)

    Sink.write = later  # type: ignore[method-assign]


def carry(errand: Errand) -> None:
    if errand.bug:
        _hasty()
    store = Store.open(errand.path, clock=SystemClock(), site="lab")
    store.append(
        [ping(number, rtt_ns=10_000_000 + number) for number in range(errand.first, errand.first + errand.count)]
    )
    store.flush(60)
    settings = SinkSettings(SINK, errand.url, "v1", database="sla", batch=errand.batch, timeout_ns=20 * SECOND)
    Delivery([settings], store, errand.path, {}, "lab", SystemClock()).start()
    threading.Event().wait(120)


def start(errand: Errand) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("forkserver").Process(target=carry, args=(errand,), daemon=True)
    process.start()
    return process
