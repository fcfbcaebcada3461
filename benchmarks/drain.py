"""A backlog drained to a real VictoriaMetrics: `python -m benchmarks.drain [DIRECTORY]`.

A store with a million samples (100 circuits) and an agent's delivery beside it, in a process of its own, while 200
samples a second come in. Printed are samples a second, the lag of the newest samples meanwhile, the process's memory
and CPU, and what the database has at the end. Beside it, in the same run, the limit: the same bodies, made ready
before, posted by a bare loop to another VictoriaMetrics.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent.config import SinkSettings
from agent.deliver import Delivery
from agent.deliver.body import compressed, plain
from agent.deliver.line import LineEncoder
from agent.deliver.supply import Order, Supply
from agent.store import Store, StoreReader
from benchmarks.encode import CIRCUIT, samples
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Sample
from tests.live.servers import VictoriaMetrics

CIRCUITS = {f"ACME-AMS-{number:04}": replace(CIRCUIT, id=f"ACME-AMS-{number:04}") for number in range(100)}
LIVE = {f"LIVE-{number:04}": replace(CIRCUIT, id=f"LIVE-{number:04}") for number in range(20)}
ALL = CIRCUITS | LIVE
LIVE_RATE = 200
BATCH = 5000
GROUP = 500
DEADLINE_S = 600.0
SINK = "victoria"


@dataclass(frozen=True)
class Drained:
    """What one delivery did. lags_s: every 50 ms, how long the oldest of the newest samples had been in the store."""

    delivered: int
    live: int
    ready_s: float
    seconds: float
    cpu_s: float
    lags_s: list[float]
    peak_mib: tuple[float, float]
    parked: int


def fill(path: Path, count: int, end_ns: int) -> None:
    """The backlog: the last intervals of all circuits before end_ns."""
    source, names = samples(4000), list(CIRCUITS)
    store = Store.open(path, clock=SystemClock(), site="benchmark")
    first_ns = end_ns - -(-count // len(names)) * 10 * SECOND
    for begin in range(0, count, GROUP):
        group = [
            replace(
                source[number % len(source)],
                circuit=names[number % len(names)],
                start_ns=first_ns + number // len(names) * 10 * SECOND,
            )
            for number in range(begin, min(count, begin + GROUP))
        ]
        store.append(group)
        assert store.flush(60.0)
    store.close()


def seal(path: Path) -> int:
    """All of it leaves the live database, owed to the sink. How many samples are owed."""
    from tests.fakes.sealed import release_all, seal_all  # which would make the measured process larger

    store = Store.open(path, clock=SystemClock(), site="benchmark")
    store.keep_sinks([SINK])
    store.cursor(SINK)
    assert store.flush(60.0)
    release_all(store, seal_all(path))
    store.close()
    with StoreReader.open(path) as reader:
        return sum(item.rows for item in reader.owed(SINK))


def resident_mib() -> tuple[float, float]:
    """Of this process, and what of it is its own and not pages of programme files."""
    found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(found["VmRSS"].split()[0]) / 1024, int(found["RssAnon"].split()[0]) / 1024


class Live:
    """Samples that come in while the backlog drains: a tenth of a second's worth at a time, of a second ago each."""

    def __init__(self, store: Store) -> None:
        self._store, self._source = store, samples(200)
        self.appended: list[tuple[int, float]] = []
        """samples so far, and when"""
        self._count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        names, step = list(LIVE), LIVE_RATE // 10
        while not self._stop.wait(0.1):
            now_ns = time.time_ns() // 10**6 * 10**6
            self._store.append([self._sample(name, now_ns) for name in names[:step]])
            self._count += step
            self.appended.append((self._count, time.monotonic()))

    def _sample(self, name: str, now_ns: int) -> Sample:
        return replace(self._source[self._count % len(self._source)], circuit=name, start_ns=now_ns - SECOND)

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self._count


def drain(path: Path, url: str, count: int) -> Drained:
    """In a process of its own: until the backlog and what came in meanwhile is acknowledged."""
    begin = time.monotonic()
    store = Store.open(path, clock=SystemClock(), site="benchmark")
    sink = SinkSettings(SINK, url, "v2", org="benchmark", bucket="sla", batch=BATCH, timeout_ns=30 * SECOND)
    delivery = Delivery([sink], store, path, ALL, "ams-edge-01", SystemClock())
    delivery.start()
    ready_s = time.monotonic() - begin
    [worker] = delivery._workers
    cpu, begin, live, lags, peak = time.process_time(), time.monotonic(), Live(store), list[float](), (0.0, 0.0)
    while worker.status.written < count:
        assert time.monotonic() - begin < DEADLINE_S, worker.status
        newest = max(worker._live_to, store.cursor(SINK)) - count
        waiting = next((at for number, at in live.appended if number > newest), None)
        lags.append(0.0 if waiting is None else time.monotonic() - waiting)
        peak = max(peak, resident_mib())
        time.sleep(0.05)
    seconds, cpu_s = time.monotonic() - begin, time.process_time() - cpu
    total = count + live.stop()
    store.flush(10.0)
    while store.cursor(SINK) < total:
        assert time.monotonic() - begin < DEADLINE_S, worker.status
        time.sleep(0.05)
    delivery.close()
    store.close()
    return Drained(count, total - count, ready_s, seconds, cpu_s, lags, peak, worker.status.parked)


def bodies(path: Path, count: int, gzip: bool) -> list[bytes]:
    """The requests of the first `count` samples, as delivery makes them for a server on this host, or elsewhere."""
    found = []
    with StoreReader.open(path) as reader:
        supply = Supply(reader, LineEncoder("ams-edge-01", ALL), "benchmark", compressed if gzip else plain)
        order = Order(0, BATCH, False)
        while order.place < count:
            consignment = supply.take(order)
            assert consignment.body is not None
            found.append(consignment.body.data)
            order = replace(order, place=consignment.following)
        supply.close()
    return found


def post(server: VictoriaMetrics, ready: list[bytes], count: int, gzip: bool) -> float:
    """Samples a second of a loop that does nothing else."""
    headers = {"Content-Encoding": "gzip"} if gzip else {}
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    begin = time.monotonic()
    for body in ready:
        connection.request("POST", "/api/v2/write?org=-&bucket=sla&precision=ns", body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 204
    return count / (time.monotonic() - begin)


def cpu_of(server: VictoriaMetrics) -> float:
    """CPU seconds of the server so far."""
    assert server.process is not None
    words = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def shown(server: VictoriaMetrics, expected: int) -> int:
    """Samples in the database: the values of a field that every sample has."""
    deadline = time.monotonic() + 60.0
    while True:
        found = sum(len(series["values"]) for series in server.export('{__name__="ping_span_ns"}'))
        if found >= expected or time.monotonic() > deadline:
            return found
        time.sleep(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="where the store is made, for its disk")
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--sealed", action="store_true", help="the backlog has been sealed and left the live database")
    parser.add_argument("--limit", type=int, default=250_000, help="samples that the bare loop posts")
    chosen = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="linkwitness-drain-", dir=chosen.directory))
    try:
        run(directory / "store", chosen.samples, min(chosen.limit, chosen.samples), chosen.sealed)
    finally:
        shutil.rmtree(directory)


def run(path: Path, count: int, limit: int, sealed: bool) -> None:
    end_ns = (time.time_ns() // SECOND - 60) * SECOND
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        pool.submit(fill, path, count, end_ns).result()
        if sealed:
            assert pool.submit(seal, path).result() == count
    where = "in sealed parts" if sealed else "in the live database"
    print(f"{count:,} samples of {len(CIRCUITS)} circuits {where}; batches of {BATCH}")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool, VictoriaMetrics() as server:
        done = pool.submit(drain, path, server.url, count).result()
        server_us = cpu_of(server) / (done.delivered + done.live) * 1e6
        found = shown(server, done.delivered + done.live)
    rate = done.delivered / done.seconds
    lags = sorted(done.lags_s)
    print(
        f"  delivery: {rate:,.0f} samples/s, {done.cpu_s / (done.delivered + done.live) * 1e6:.1f} us of CPU each "
        f"(the server: {server_us:.1f}); memory {done.peak_mib[0]:.0f} MiB at the peak, "
        f"{done.peak_mib[1]:.0f} of them its own; ready after {done.ready_s:.2f} s"
    )
    print(
        f"  lag of the newest meanwhile: p50 {statistics.median(lags):.2f} s, p99 {lags[len(lags) * 99 // 100]:.2f} s, "
        f"most {lags[-1]:.2f} s; {done.live} of them came in"
    )
    print(f"  in the database: {found:,} of {done.delivered + done.live:,}; parked {done.parked}")
    for gzip in () if sealed else (False, True):
        ready = bodies(path, limit, gzip)
        with VictoriaMetrics() as server:
            bare = post(server, ready, limit, gzip)
            server_us = cpu_of(server) / limit * 1e6
        del ready
        print(
            f"  limit: {bare:,.0f} samples/s by a bare loop of ready-made requests{', with gzip' if gzip else ''} "
            f"(the server: {server_us:.1f} us of CPU each); ratio {rate / bare:.2f}"
        )


if __name__ == "__main__":
    main()
