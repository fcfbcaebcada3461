"""Delivery against real servers: written, read back and compared value by value; nothing lost, nothing twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agent.config import SinkSettings
from agent.deliver import readback
from agent.deliver.batch import Outcome
from agent.deliver.supply import Consignment
from agent.deliver.worker import SinkWorker
from agent.store import Store, StoreReader
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Sample
from tests.fakes.series import BEGIN_NS, CIRCUITS, sample_series
from tests.live.comparison import (
    DEADLINE_S,
    arriving,
    delivery,
    in_influx,
    in_victoria,
    influx_sink,
    kept,
    victoria_sink,
    wait_until_delivered,
)
from tests.live.servers import InfluxDB1, VictoriaMetrics

pytestmark = [pytest.mark.live("influxdb", "victoria-metrics"), pytest.mark.serial]


@pytest.fixture
def influx() -> Iterator[InfluxDB1]:
    with InfluxDB1() as server:
        server.create("sla")
        yield server


@pytest.fixture
def victoria() -> Iterator[VictoriaMetrics]:
    with VictoriaMetrics() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store", clock=SystemClock(), site="lab")
    yield opened
    opened.close()


def append(store: Store, samples: Sequence[Sample]) -> None:
    for begin in range(0, len(samples), 500):
        store.append(samples[begin : begin + 500])
        assert store.flush(10)


def test_influxdb_1_gives_back_every_value(influx: InfluxDB1, store: Store, tmp_path: Path) -> None:
    sink = influx_sink(influx, batch=700)
    append(store, list(sample_series(4000)))
    opened = delivery(store, tmp_path / "store", sink)
    wait_until_delivered(store, tmp_path / "store", "influx")
    opened.close()
    assert opened.status()[0].server.startswith("InfluxDB 1.6")
    assert opened.status()[0].parked == 0
    assert in_influx(sink, tmp_path / "store") == []
    here = kept(tmp_path / "store", CIRCUITS[0], "icmp")
    # The samples are built so that this comparison means something: odd integers above 2**53, ns that are no ms.
    assert (here.column("rtt_sum_ns") > 2**53).any()
    assert (here.start_ns % 1_000_000 != 0).all()
    listed = {(item.circuit, item.probe, item.kind): item.rows for item in readback.series(sink)}
    with StoreReader.open(tmp_path / "store") as reader:
        assert listed == {(item.circuit, item.probe, item.kind): item.rows for item in reader.series()}


def test_the_comparison_catches_one_changed_value(influx: InfluxDB1, store: Store, tmp_path: Path) -> None:
    sink = influx_sink(influx)
    append(store, list(sample_series(200)))
    opened = delivery(store, tmp_path / "store", sink)
    wait_until_delivered(store, tmp_path / "store", "influx")
    opened.close()
    start = int(kept(tmp_path / "store", CIRCUITS[0], "icmp").start_ns[2])
    line = f"ping,circuit={CIRCUITS[0]},kind=icmp,probe=icmp,site=lab lost=99i {start}"
    influx.post_body("/write?db=sla&precision=ns", line)
    assert in_influx(sink, tmp_path / "store") == [f"{CIRCUITS[0]}/icmp: lost"]


def test_victoria_metrics_has_every_sample_through_the_client_library(
    victoria: VictoriaMetrics, store: Store, tmp_path: Path
) -> None:
    # VictoriaMetrics keeps float64 and milliseconds: integers beyond 2**53 are rounded, time stamps cut.
    append(store, list(sample_series(2000)))
    opened = delivery(store, tmp_path / "store", victoria_sink(victoria))
    wait_until_delivered(store, tmp_path / "store", "victoria")
    opened.close()
    assert opened.status()[0].server == "VictoriaMetrics"
    assert in_victoria(victoria, tmp_path / "store") == []
    assert victoria.export('{__name__=~".*_(histogram|reason|remote)"}') == []


def interrupted(
    server: InfluxDB1 | VictoriaMetrics, store: Store, path: Path, sink: SinkSettings, halt: Callable[[], None]
) -> None:
    """Stop the server in the middle of a stream of samples, start it again, and wait until everything is through."""
    stop = threading.Event()
    opened = delivery(store, path, sink)
    feeder = arriving(store, stop)
    try:
        time.sleep(1.5)
        halt()
        time.sleep(2.5)
        assert opened.status()[0].state == "waiting"
        server.start()
        time.sleep(1.5)
    finally:
        stop.set()
        feeder.join()
    wait_until_delivered(store, path, sink.name)
    opened.close()


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_influxdb_stopped_and_started_again_gets_every_sample_once(
    influx: InfluxDB1, store: Store, tmp_path: Path, way: str
) -> None:
    sink = influx_sink(influx, batch=100)
    interrupted(influx, store, tmp_path / "store", sink, influx.stop if way == "stop" else influx.kill)
    assert in_influx(sink, tmp_path / "store") == []


def test_victoria_metrics_stopped_and_started_again_gets_every_sample_once(
    victoria: VictoriaMetrics, store: Store, tmp_path: Path
) -> None:
    interrupted(victoria, store, tmp_path / "store", victoria_sink(victoria), victoria.stop)
    assert in_victoria(victoria, tmp_path / "store") == []


def test_the_interruption_catches_a_cursor_that_moves_before_the_acknowledgement(
    influx: InfluxDB1, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = SinkWorker._offer

    def hasty(worker: SinkWorker, consignment: Consignment) -> Outcome:
        if len(consignment):
            store.advance("influx", consignment.seq(len(consignment) - 1))
        return send(worker, consignment)

    monkeypatch.setattr(SinkWorker, "_offer", hasty)
    sink = influx_sink(influx, batch=100)
    interrupted(influx, store, tmp_path / "store", sink, influx.stop)
    assert in_influx(sink, tmp_path / "store") != []


def test_a_backlog_drains_while_the_newest_samples_go_first(influx: InfluxDB1, store: Store, tmp_path: Path) -> None:
    append(store, list(sample_series(6000)))
    sink = influx_sink(influx, batch=50)
    path = tmp_path / "store"
    opened = delivery(store, path, sink)
    fresh = list(sample_series(8, seed=9, begin_ns=2 * 10**18))
    store.append(fresh)
    assert store.flush(10)
    deadline = time.monotonic() + DEADLINE_S
    while not len(readback.read(sink, CIRCUITS[0], "icmp", (), 2 * 10**18, 2**62)):
        assert time.monotonic() < deadline
    behind = store.cursor("influx")
    wait_until_delivered(store, path, "influx")
    opened.close()
    assert behind < 6000, "the newest sample should have arrived before the backlog was through"
    assert in_influx(sink, path) == []


def test_a_database_that_is_missing_holds_everything_and_says_so(
    influx: InfluxDB1, store: Store, tmp_path: Path
) -> None:
    append(store, list(sample_series(40)))
    sink = SinkSettings("influx", influx.url, "v1", database="nowhere", timeout_ns=5 * SECOND)
    opened = delivery(store, tmp_path / "store", sink)
    deadline = time.monotonic() + DEADLINE_S
    while opened.status()[0].state != "held":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    opened.close()
    assert "nowhere" in opened.status()[0].words
    assert store.cursor("influx") == 0
    assert opened.status()[0].parked == 0


def test_one_poisoned_sample_is_parked_with_the_reason_and_delays_nobody(
    influx: InfluxDB1, store: Store, tmp_path: Path
) -> None:
    # The database has `lost` of tcp as a float: every integer is a type conflict, and the server says so.
    influx.post_body(
        "/write?db=sla&precision=ns", f"net_response,circuit=x,kind=tcp,probe=tcp,site=lab lost=1.5 {BEGIN_NS}"
    )
    append(store, [sample for sample in sample_series(400) if sample.kind != "tcp" or sample.counts is not None])
    sink = influx_sink(influx, batch=100)
    opened = delivery(store, tmp_path / "store", sink)
    wait_until_delivered(store, tmp_path / "store", "influx")
    opened.close()
    assert store.flush(10)
    with StoreReader.open(tmp_path / "store") as reader:
        parked = reader.parked("influx")
        tcp = sum(item.rows for item in reader.series() if item.kind == "tcp")
    assert len(parked) == tcp
    assert all("field type conflict" in item.reason and item.line.startswith("net_response,") for item in parked)
    assert [line for line in in_influx(sink, tmp_path / "store") if "/tcp" not in line] == []
