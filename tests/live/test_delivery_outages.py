"""Real servers killed, stopped, frozen and slowed, both at once, while samples come: each sample once in each."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.config import SinkSettings
from agent.store import Store, StoreReader
from probes.core.clock import SECOND, SystemClock
from tests.fakes.series import sample_series
from tests.live.comparison import (
    arriving,
    delivery,
    in_influx,
    in_victoria,
    influx_sink,
    victoria_sink,
    wait_until_delivered,
)
from tests.live.servers import Database, InfluxDB1, VictoriaMetrics

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


def freeze(server: Database) -> None:
    assert server.process is not None
    os.killpg(server.process.pid, signal.SIGSTOP)


def thaw(server: Database) -> None:
    assert server.process is not None
    os.killpg(server.process.pid, signal.SIGCONT)


def quick(sink: SinkSettings) -> SinkSettings:
    """Gives up on a frozen server after a second."""
    from dataclasses import replace

    return replace(sink, timeout_ns=SECOND, batch=100)


def test_both_at_once_each_with_its_own_cursor(
    influx: InfluxDB1, victoria: VictoriaMetrics, store: Store, tmp_path: Path
) -> None:
    path, stop = tmp_path / "store", threading.Event()
    one, two = quick(influx_sink(influx)), quick(victoria_sink(victoria))
    opened = delivery(store, path, one, two)
    feeder = arriving(store, stop)
    apart = 0
    try:
        time.sleep(1)
        influx.kill()
        time.sleep(1.5)
        apart = max(apart, store.cursor("victoria") - store.cursor("influx"))
        freeze(victoria)
        influx.start()
        time.sleep(2.5)
        apart = max(apart, store.cursor("influx") - store.cursor("victoria"))
        assert {status.name: status.state for status in opened.status()}["victoria"] == "waiting"
        thaw(victoria)
        freeze(influx)
        time.sleep(2)
        victoria.stop()
        thaw(influx)
        time.sleep(0.5)
        influx.stop()
        time.sleep(1)
        victoria.start()
        influx.start()
        time.sleep(1)
    finally:
        stop.set()
        feeder.join()
    wait_until_delivered(store, path, "influx", "victoria")
    opened.close()
    assert apart > 100, "one goes on while the other is away"
    assert in_influx(one, path) == []
    assert in_victoria(victoria, path) == []
    with StoreReader.open(path) as reader:
        assert reader.parked("influx") == reader.parked("victoria") == []


class Throttle:
    """A line of so many octets a second in front of a server."""

    def __init__(self, port: int, rate: int) -> None:
        self._port, self._rate = port, rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(8192):
                time.sleep(len(data) / self._rate)
                target.sendall(data)
        except OSError:
            pass
        for channel in (source, target):
            try:
                channel.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def test_a_slow_line_with_deadlines_that_are_missed(influx: InfluxDB1, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "store"
    samples = list(sample_series(1500))
    for begin in range(0, len(samples), 500):
        store.append(samples[begin : begin + 500])
        assert store.flush(10)
    with closing(Throttle(influx.port, 200_000)) as throttle:
        slow = SinkSettings(
            "influx", f"http://127.0.0.1:{throttle.port}", "v1", database="sla", batch=200, timeout_ns=3 * SECOND
        )
        opened = delivery(store, path, slow)
        wait_until_delivered(store, path, "influx")
        opened.close()
    assert in_influx(influx_sink(influx), path) == []


def test_a_frozen_server_is_left_alone_and_found_again(influx: InfluxDB1, store: Store, tmp_path: Path) -> None:
    path, sink = tmp_path / "store", quick(influx_sink(influx))
    store.append(list(sample_series(400)))
    assert store.flush(10)
    freeze(influx)
    opened = delivery(store, path, sink)
    deadline = time.monotonic() + 30
    while "did not answer within 1 s" not in opened.status()[0].words:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    thaw(influx)
    wait_until_delivered(store, path, "influx")
    opened.close()
    assert in_influx(sink, path) == []
