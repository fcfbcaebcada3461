"""A sink that was away for days is sent what has been sealed meanwhile, and the newest samples all the time."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.config import SinkSettings
from agent.deliver import backoff
from agent.deliver.line import LineEncoder
from agent.deliver.worker import SinkWorker
from agent.store import Store, StoreReader
from agent.store.records import Owed
from agent.store.sealed.manifest import FOLDER
from agent.store.sink_state import oldest_lacking
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Sample
from tests.fakes.samples import START, ping
from tests.fakes.scripted_server import INFLUX_1, Answer, Misbehaviour, Request, Script, ScriptedServer
from tests.fakes.sealed import DAY, release_all, seal_all

OK = Answer(204)
BATCH = 20
A_DAY = 75
DAYS = 4
FIRST_DAY = START // DAY


def of_day(day: int) -> list[Sample]:
    """Of three circuits in turn. No number of batches is a day's samples."""
    return [
        ping(0, circuit=f"ACME-{number % 3}", start_ns=(FIRST_DAY + day) * DAY + number * 10 * SECOND)
        for number in range(A_DAY)
    ]


@dataclass
class Bench:
    """A store whose first days are sealed and have left the live database, and one sink."""

    store: Store
    path: Path
    server: ScriptedServer
    worker: SinkWorker

    def step(self) -> int:
        return self.worker._step()

    def owed(self) -> list[Owed]:
        assert self.store.flush(10)
        with StoreReader.open(self.path) as reader:
            return reader.owed("central")

    def rows_owed(self) -> int:
        return sum(item.rows for item in self.owed())

    def told(self) -> str:
        """What the sink's last event says of its state."""
        assert self.store.flush(10)
        with StoreReader.open(self.path) as reader:
            return reader.events(kind="sink")[0].text.removeprefix("sink central: ").partition(":")[0]

    def drain(self, steps: int = 80) -> None:
        for _ in range(steps):
            self.step()
            if not self.worker.status.lag:
                return
        raise AssertionError(f"still {self.worker.status}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store", clock=SystemClock(), site="lab")
    opened.keep_sinks(["central"])
    opened.cursor("central")
    yield opened
    opened.close(10)


def fill(store: Store, path: Path, sent: int = 0) -> None:
    """All days; the sink has the first `sent` samples. All days but the last leave the live database."""
    for day in range(DAYS):
        store.append(of_day(day))
    assert store.flush(10)
    store.advance("central", sent)
    assert store.flush(10)
    release_all(store, seal_all(path, before_day=FIRST_DAY + DAYS - 1))
    assert store.flush(10)


@pytest.fixture
def bench(store: Store, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    opened: list[Bench] = []

    def build(script: Script) -> Bench:
        server = ScriptedServer(script, reads=INFLUX_1)
        server.__enter__()
        settings = SinkSettings("central", server.url, "v1", database="sla", batch=BATCH, timeout_ns=5 * SECOND)
        worker = SinkWorker(settings, store, tmp_path / "store", LineEncoder("lab", {}), SystemClock())
        opened.append(Bench(store, tmp_path / "store", server, worker))
        return opened[-1]

    yield build
    for item in opened:
        item.worker._supply.close()
        item.worker._sink.close()
        item.worker._reader.close()
        item.server.__exit__()


def lines(days: range = range(DAYS)) -> list[str]:
    encoder = LineEncoder("lab", {})
    return [encoder.encode(sample, text=True) for day in days for sample in of_day(day)]


@pytest.mark.parametrize("sent", [0, 1, A_DAY, A_DAY + 30])
def test_what_was_sealed_arrives_once_and_nothing_else_does(
    store: Store, tmp_path: Path, bench: Callable[..., Bench], sent: int
) -> None:
    fill(store, tmp_path / "store", sent)
    rig = bench([OK])
    assert rig.rows_owed() >= (DAYS - 1) * A_DAY - sent
    rig.drain()
    assert Counter(rig.server.stored) == Counter(lines()[sent:])
    assert rig.owed() == []
    assert store.cursor("central") == DAYS * A_DAY
    assert rig.worker.status.written == DAYS * A_DAY - sent


def test_newest_samples_do_not_wait_for_sealed_ones(store: Store, tmp_path: Path, bench: Callable[..., Bench]) -> None:
    fill(store, tmp_path / "store")
    rig = bench([OK])
    newest = lines(range(DAYS - 1, DAYS))[-1]
    steps = 0
    while newest not in rig.server.stored:
        assert rig.step() == 0
        steps += 1
    assert steps <= 2
    assert rig.rows_owed() >= (DAYS - 2) * A_DAY
    assert rig.worker.status.lag_ns is not None
    assert rig.worker.status.lag_ns > DAY, "the oldest is what counts"


def test_a_live_sample_that_makes_the_server_fail_does_not_hold_up_the_others_until_all_sealed_ones_are_sent(
    store: Store, tmp_path: Path, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "BATCH", A_DAY // 2 + 1)
    monkeypatch.setattr(backoff, "BROKEN_AFTER", 2)
    fill(store, tmp_path / "store")
    live = lines(range(DAYS - 1, DAYS))
    rig = bench(lambda request: Answer(500, body=b"panic") if live[5] in request.lines else OK)
    while not set(live) - {live[5]} <= set(rig.server.stored):
        rig.worker._live_at = None  # as if half a second had gone by
        rig.step()
        assert rig.rows_owed(), "sealed samples are still to come"
    assert live[5] not in rig.server.stored


def test_nothing_is_settled_before_the_server_has_it(store: Store, tmp_path: Path, bench: Callable[..., Bench]) -> None:
    fill(store, tmp_path / "store")
    troubles = [Answer(503), Misbehaviour("cut"), OK, Answer(401), Misbehaviour("half"), Answer(413), OK, Answer(500)]
    rig = bench([*troubles * 3, OK])
    for _ in range(200):
        rig.step()
        left = {(item.part, item.next_row): item.rows for item in rig.owed()}
        stored = len(set(rig.server.stored) & set(lines(range(DAYS - 1))))
        assert sum(left.values()) >= (DAYS - 1) * A_DAY - stored
        if not rig.worker.status.lag:
            break
    assert set(rig.server.stored) == set(lines())
    assert rig.owed() == []


def test_the_bench_catches_a_debt_that_is_settled_too_early(
    store: Store, tmp_path: Path, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, tmp_path / "store")
    offer = SinkWorker._offer

    def hasty(worker: SinkWorker, consignment: object) -> object:
        order = consignment.order  # type: ignore[attr-defined]
        if order.owed is not None:
            worker._debts.paid(order.owed, consignment.following)  # type: ignore[attr-defined]
        return offer(worker, consignment)  # type: ignore[arg-type]

    monkeypatch.setattr(SinkWorker, "_offer", hasty)
    rig = bench([Answer(503), OK])
    rig.drain()
    assert set(rig.server.stored) < set(lines())


def test_after_a_restart_it_goes_on_where_it_was(store: Store, tmp_path: Path, bench: Callable[..., Bench]) -> None:
    fill(store, tmp_path / "store")
    for _ in range(5):
        rig = bench([OK])
        for _ in range(3):
            rig.step()
        assert store.flush(10)
    rig = bench([OK])
    rig.drain()
    assert store.cursor("central") == DAYS * A_DAY
    assert rig.owed() == []
    total = DAYS * A_DAY
    assert rig.worker.status.written <= total - 5 * BATCH, "what was settled is not sent again"


def test_refused_lines_of_a_sealed_day_are_parked_and_the_rest_delivered(
    store: Store, tmp_path: Path, bench: Callable[..., Bench]
) -> None:
    fill(store, tmp_path / "store")
    bad = set(lines()[0:60:7])

    def refuse(request: Request) -> Answer:
        return Answer(400, body=b'{"error":"conflict"}') if bad & set(request.lines) else OK

    rig = bench(refuse)
    rig.drain(200)
    assert set(rig.server.stored) == set(lines()) - bad
    assert rig.owed() == []
    with StoreReader.open(rig.path) as reader:
        assert {item.line for item in reader.parked("central")} == bad


def test_a_part_that_cannot_be_read_holds_up_nothing_else(
    store: Store, tmp_path: Path, bench: Callable[..., Bench]
) -> None:
    fill(store, tmp_path / "store")
    [samples, *_] = sorted((tmp_path / "store" / FOLDER).rglob("samples*.parquet"))
    samples.write_bytes(samples.read_bytes()[:-100] + bytes(100))
    rig = bench([OK])
    for _ in range(40):
        rig.step()
    assert set(rig.server.stored) == set(lines(range(1, DAYS)))
    assert rig.worker.status.lag == A_DAY
    assert [item.rows for item in rig.owed()] == [A_DAY]
    assert "samples" in rig.worker.status.words
    assert rig.worker.status.state == "put off"
    assert rig.told() == "put off"


def test_a_manifest_that_cannot_be_read_holds_up_nothing_else_and_no_debt_is_forgotten(
    store: Store, tmp_path: Path, bench: Callable[..., Bench]
) -> None:
    fill(store, tmp_path / "store")
    [first, *_] = sorted((tmp_path / "store" / FOLDER).rglob("manifest.json"))
    whole = first.read_bytes()
    first.write_bytes(whole.replace(b'"rows"', b'"rowz"', 1))
    rig = bench([OK])
    for _ in range(40):
        rig.step()
    assert set(rig.server.stored) == set(lines(range(1, DAYS)))
    assert [item.rows for item in rig.owed()] == [A_DAY]
    assert (rig.worker.status.lag, rig.worker.status.state) == (A_DAY, "put off")
    first.write_bytes(whole)
    rig.worker._debts._put_off.clear()
    rig.drain()
    assert Counter(rig.server.stored) == Counter(lines())
    assert rig.told() == "ok"


@pytest.mark.parametrize("pattern", ["samples*.parquet", "manifest.json"])
def test_the_status_of_sinks_needs_no_sealed_file(store: Store, tmp_path: Path, pattern: str) -> None:
    fill(store, tmp_path / "store", sent=A_DAY + 30)
    damaged = sorted((tmp_path / "store" / FOLDER).rglob(pattern))[1]
    damaged.write_bytes(damaged.read_bytes()[:-20] + bytes(20))
    with StoreReader.open(tmp_path / "store", ignore_damaged=True) as reader:
        [sink] = reader.status().sinks
        oldest = oldest_lacking(reader, "central", sink.seq)
    assert sink.lag == DAYS * A_DAY - A_DAY - 30
    assert oldest == (FIRST_DAY + 1) * DAY, "no later than what it lacks"
