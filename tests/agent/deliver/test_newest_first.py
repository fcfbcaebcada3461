"""While a backlog drains the newest samples arrive, also past one that makes the server fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import SinkSettings
from agent.deliver.backoff import BROKEN_AFTER, Broken
from agent.deliver.line import LineEncoder
from agent.deliver.worker import SinkWorker
from agent.store import Store, StoreReader
from probes.core.clock import SECOND, SystemClock
from tests.fakes.samples import START, ping
from tests.fakes.scripted_server import INFLUX_1, Answer, Request, ScriptedServer

BACKLOG, MORE, BATCH = 600, 200, 10
ENCODER = LineEncoder("lab", {})
SAMPLES = [ping(0, circuit=f"ACME-{n % 3}", start_ns=START + n * SECOND) for n in range(BACKLOG + MORE)]
LINES = [ENCODER.encode(sample, text=True) for sample in SAMPLES]
BAD = LINES[BACKLOG + 7]

Drained = tuple[int, int, list[int]]
"""Number of the newest sample delivered, the cursor, seqs that are parked."""


def failing(request: Request) -> Answer:
    return Answer(500, body=b'{"error":"panic"}') if BAD in request.lines else Answer(204)


def drain(path: Path, steps: int, prepared: Callable[[SinkWorker], None] = lambda _worker: None) -> Drained:
    """So many steps of a sink with a backlog, while samples come in."""
    store = Store.open(path, clock=SystemClock(), site="lab")
    store.keep_sinks(["central"])
    store.cursor("central")
    store.append(SAMPLES[:BACKLOG])
    assert store.flush(10)
    with ScriptedServer(failing, reads=INFLUX_1) as server:
        settings = SinkSettings("central", server.url, "v1", database="sla", batch=BATCH, timeout_ns=5 * SECOND)
        worker = SinkWorker(settings, store, path, ENCODER, SystemClock())
        prepared(worker)
        for step in range(steps):
            worker._live_at = None  # as if half a second had gone by
            worker._step()
            store.append(SAMPLES[BACKLOG + 5 * step : BACKLOG + 5 * step + 5])
            assert store.flush(10)
        worker._supply.close()
        worker._sink.close()
        worker._reader.close()
        newest = max(LINES.index(line) for line in set(server.stored))
    cursor = store.cursor("central")
    with StoreReader.open(path) as reader:
        parked = [item.seq for item in reader.parked("central")]
    store.close()
    return newest, cursor, parked


def test_one_that_makes_the_server_fail_holds_up_no_newer_ones(tmp_path: Path) -> None:
    newest, cursor, parked = drain(tmp_path / "store", 50)
    assert cursor < BACKLOG, "the backlog is still there"
    assert parked == [LINES.index(BAD) + 1]
    assert newest >= BACKLOG + MORE - 2 * BATCH


def test_a_worker_that_counts_failures_of_the_oldest_only_is_held_up(tmp_path: Path) -> None:
    class Unsuspicious(Broken):
        @property
        def suspicious(self) -> bool:
            return False

    def blind(worker: SinkWorker) -> None:
        worker._broken_newest = Unsuspicious()

    newest, cursor, parked = drain(tmp_path / "store", 50, blind)
    assert cursor < BACKLOG
    assert parked == []
    assert newest < LINES.index(BAD)


@pytest.mark.parametrize("other", [Answer(204), Answer(503, body=b"panic"), Answer(500, body=b"something else")])
def test_only_the_same_failure_in_a_row_is_suspicious(other: Answer) -> None:
    from agent.deliver.answer import classify

    def reply(answer: Answer) -> object:
        return classify(answer.status, answer.headers, answer.body)

    broken, panic = Broken(), Answer(500, body=b"panic")
    for _ in range(BROKEN_AFTER - 1):
        broken.count(reply(panic))  # type: ignore[arg-type]
    assert not broken.suspicious
    broken.count(reply(other))  # type: ignore[arg-type]
    broken.count(reply(panic))  # type: ignore[arg-type]
    assert not broken.suspicious
    for _ in range(BROKEN_AFTER - 1):
        broken.count(reply(panic))  # type: ignore[arg-type]
    assert broken.suspicious
