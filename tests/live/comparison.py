"""What the live tests of delivery share: sinks, samples that keep coming, and the databases compared with the store."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

import numpy as np

from agent.config import SinkSettings
from agent.deliver import Delivery, readback
from agent.sla.samples.columns import INTEGER_COLUMNS, SampleColumns
from agent.store import Store, StoreReader
from probes.core.arrays import ABSENT
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from tests.fakes.series import CIRCUITS, sample_series
from tests.live.servers import InfluxDB1, VictoriaMetrics

COLUMNS: Final = (*INTEGER_COLUMNS, "histogram")
PROBES: Final = [(circuit, kind) for circuit in CIRCUITS for kind in ("icmp", "udp", "tcp", "throughput")]
MEASUREMENTS: Final = {"icmp": "ping", "udp": "udp_echo", "tcp": "net_response", "throughput": "throughput"}
DEADLINE_S: Final = 60.0


def influx_sink(server: InfluxDB1, **more: object) -> SinkSettings:
    return SinkSettings("influx", server.url, "auto", database="sla", timeout_ns=5 * SECOND, **more)


def victoria_sink(server: VictoriaMetrics) -> SinkSettings:
    return SinkSettings("victoria", server.url, "v2", org="lab", bucket="sla", timeout_ns=5 * SECOND)


def delivery(store: Store, path: Path, *sinks: SinkSettings) -> Delivery:
    opened = Delivery(sinks, store, path, {}, "lab", SystemClock())
    opened.start()
    return opened


def wait_until_delivered(store: Store, path: Path, *sinks: str) -> None:
    assert store.flush(10)
    deadline = time.monotonic() + DEADLINE_S
    with StoreReader.open(path) as reader:
        newest = reader.status().newest_seq
        while any(store.cursor(sink) < newest for sink in sinks):
            assert time.monotonic() < deadline, "not delivered in time"
            time.sleep(0.05)


def kept(path: Path, circuit: str, probe: str) -> SampleColumns:
    with StoreReader.open(path) as reader:
        return reader.read(circuit, probe, COLUMNS, 0, 2**62)


def differences(one: SampleColumns, other: SampleColumns) -> list[str]:
    """Names of the columns that are not equal, value by value."""
    found = [name for name in INTEGER_COLUMNS if not np.array_equal(one.column(name), other.column(name))]
    texts = [[h.to_text() if h else None for h in columns.histogram or ()] for columns in (one, other)]
    return found + ([] if texts[0] == texts[1] else ["histogram"])


def in_influx(sink: SinkSettings, path: Path) -> list[str]:
    """What differs between the store and the database, over all probes."""
    found = []
    for circuit, probe in PROBES:
        back = readback.read(sink, circuit, probe, COLUMNS, 0, 2**62)
        here = kept(path, circuit, probe)
        if len(here) != len(back):
            found.append(f"{circuit}/{probe}: {len(here)} kept, {len(back)} in the database")
        found += [f"{circuit}/{probe}: {name}" for name in differences(here, back) if len(here) == len(back)]
    return found


def in_victoria(server: VictoriaMetrics, path: Path) -> list[str]:
    """What differs between the store and the database: it keeps float64 and milliseconds, and no text."""
    found = []
    for circuit, probe in PROBES:
        here = kept(path, circuit, probe)
        quoted = circuit.replace("\\", "\\\\").replace('"', '\\"')
        for column in INTEGER_COLUMNS[1:]:
            values = here.column(column)
            present = values != ABSENT
            name = f'{MEASUREMENTS[probe]}_{column}{{circuit="{quoted}"}}'
            series = [server.shown(name, int(present.sum()))] if present.any() else server.export(name)
            times = [item["timestamps"] for item in series]
            if times != ([(here.start_ns[present] // MILLISECOND).tolist()] if present.any() else []):
                found.append(f"{circuit}/{probe}: times of {column}")
            elif present.any() and series[0]["values"] != values[present].astype(np.float64).tolist():
                found.append(f"{circuit}/{probe}: {column}")
    return found


def arriving(store: Store, stop: threading.Event) -> threading.Thread:
    """Samples that keep coming, fifty at a time, until told to stop.

    All of one week, so of one shard: killed while it creates a shard, InfluxDB 1.6 leaves it unusable and answers 500
    to it for ever. Then the samples of that shard are parked, which is not what is asked here.
    """

    def feed() -> None:
        for number in range(400):
            store.append(list(sample_series(50, seed=number, begin_ns=10**18 + 1 + number * 130 * SECOND)))
            if stop.wait(0.02):
                return

    thread = threading.Thread(target=feed)
    thread.start()
    return thread
