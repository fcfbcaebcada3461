"""A damaged row of the live database, and a store without room: neither holds up, nor loses, what else there is."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from agent.config import SinkSettings
from agent.deliver.line import LineEncoder
from agent.deliver.worker import NO_ROOM, SinkWorker
from agent.store import Store, StoreReader
from agent.store.records import LIVE_FILE
from agent.store.waiting import Waiting
from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError
from tests.fakes.samples import START, ping
from tests.fakes.scripted_server import INFLUX_1, Answer, Request, ScriptedServer

ROWS = 60
BATCH = 20
SAMPLES = [ping(0, circuit=f"ACME-{n % 3}", start_ns=START + n * 10 * SECOND) for n in range(ROWS)]
LINES = [LineEncoder("lab", {}).encode(sample, text=True) for sample in SAMPLES]
DAMAGES = (
    "sent = 'x'", "histogram = x'010203'", "state = 77", "stamps = 'x'", "remote = x'80'",
    "remote = CAST(x'80' AS TEXT)", "reason = CAST(x'6180' AS TEXT)", "phases = CAST(x'80' AS TEXT)", "load = 'x'",
    "remote = CAST(x'80' AS TEXT), sent = 'x'",
)  # fmt: skip


def open_store(path: Path) -> Store:
    store = Store.open(path, clock=SystemClock(), site="lab")
    store.keep_sinks(["central"])
    store.cursor("central")
    return store


def worker_of(store: Store, path: Path, server: ScriptedServer) -> SinkWorker:
    settings = SinkSettings("central", server.url, "v1", database="sla", batch=BATCH, timeout_ns=5 * SECOND)
    return SinkWorker(settings, store, path, LineEncoder("lab", {}), SystemClock())


def close(worker: SinkWorker) -> None:
    worker._supply.close()
    worker._sink.close()
    worker._reader.close()


@pytest.mark.parametrize("change", DAMAGES)
@pytest.mark.parametrize("victim", [1, BATCH + 5, ROWS])
def test_the_other_samples_arrive(tmp_path: Path, change: str, victim: int) -> None:
    path = tmp_path / "store"
    store = open_store(path)
    store.append(SAMPLES)
    assert store.flush(10)
    assert store.close()
    with sqlite3.connect(path / LIVE_FILE) as connection:
        connection.execute(f"UPDATE samples SET {change} WHERE seq = ?", (victim,))
    connection.close()
    store = open_store(path)
    with ScriptedServer([Answer(204)], reads=INFLUX_1) as server:
        worker = worker_of(store, path, server)
        for _ in range(2 * ROWS // BATCH):
            worker._step()
        close(worker)
        missing = Counter(LINES) - Counter(server.stored)
    assert store.cursor("central") == ROWS
    assert set(missing) <= {LINES[victim - 1]}
    assert store.flush(10)
    with StoreReader.open(path) as reader:
        assert [item.seq for item in reader.parked("central")] == [victim] * len(missing)
    store.close()


def test_a_worker_that_decodes_every_row_is_held_up_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store"
    store = open_store(path)
    store.append(SAMPLES)
    assert store.flush(10)
    with sqlite3.connect(path / LIVE_FILE) as connection:
        connection.execute("UPDATE samples SET state = 77 WHERE seq = 1")
    connection.close()

    def extent(reader: StoreReader, seq: int) -> tuple[int, int]:
        return reader.after(seq, 1)[0].seq, reader.newest(1)[0].seq

    monkeypatch.setattr(StoreReader, "extent_after", extent)
    with ScriptedServer([Answer(204)], reads=INFLUX_1) as server:
        worker = worker_of(store, path, server)
        with pytest.raises(LocalError, match="cannot be read"):
            worker._step()
        close(worker)
        assert server.stored == []
    store.close()


def test_a_refused_sample_that_cannot_be_parked_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store"
    store = open_store(path)
    store.append(SAMPLES)
    assert store.flush(10)
    bad = set(LINES[3:BATCH:4])
    room = [2]

    def refuse(request: Request) -> Answer:
        return Answer(400, body=b'{"error":"conflict"}') if bad & set(request.lines) else Answer(204)

    put = Waiting.put_note

    def full(waiting: Waiting, record: object) -> bool:
        if type(record).__name__ != "ParkedLine":
            return put(waiting, record)  # type: ignore[arg-type]
        room[0] -= 1
        return room[0] >= 0 and put(waiting, record)  # type: ignore[arg-type]

    monkeypatch.setattr(Waiting, "put_note", full)
    with ScriptedServer(refuse, reads=INFLUX_1) as server:
        worker = worker_of(store, path, server)
        assert worker._step() > 0
        assert (worker.status.state, worker.status.words, worker.status.parked) == ("waiting", NO_ROOM, 2)
        assert store.cursor("central") == LINES.index(sorted(bad, key=LINES.index)[2]), "up to the third, which waits"
        room[0] = ROWS
        for _ in range(10):
            worker._step()
        close(worker)
        assert set(server.stored) == set(LINES) - bad
    assert store.flush(10)
    with StoreReader.open(path) as reader:
        assert {item.line for item in reader.parked("central")} == bad
    store.close()
