"""What committing costs the probes beside it: `python benchmarks/store_engine.py [DIRECTORY]`.

1,000 UDP streams, one packet a second each, over loopback from an engine pinned to one core with the store in the same
process, while 20,000 samples a second are handed in and committed (WAL, synchronous=FULL); alternating in one run with
the same engine and a store at rest. The reflector runs in a process of its own on the other cores. Send lateness is
how much later than due a packet left: of every interval the packet in the middle and the latest.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from agent.store import Store, StoreOverflow
from benchmarks.store import sample
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.model import Sample
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec
from probes.reflect.echo import EchoReflector

RATE = 20_000
STREAMS = 1_000
SECONDS = 10.0
ROUNDS = 3
PORTION = 500
CIRCUITS = 100


def reflect(cores: set[int], told: Connection) -> None:
    """Answer until told to stop."""
    os.sched_setaffinity(0, cores)
    reflector = EchoReflector("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=SystemClock(), rate_per_source=100_000)
    reflector.start()
    told.send(reflector.port)
    told.recv()
    reflector.close()


def portions() -> list[list[Sample]]:
    """A second's samples; handed in again with later starts they are the next second's."""
    chance = np.random.default_rng(1)
    values = chance.integers(10**6, 10**8, (RATE, 14)).tolist()
    made = [sample(at % CIRCUITS, at // CIRCUITS, row) for at, row in enumerate(values)]
    return [made[first : first + PORTION] for first in range(0, RATE, PORTION)]


def later(item: Sample, second: int) -> Sample:
    """The same, so many seconds on: as cheap as a producer's own object would be."""
    fields = {name: getattr(item, name) for name in Sample.__slots__}
    return Sample(**fields | {"start_ns": item.start_ns + second * (RATE // CIRCUITS) * 10 * SECOND})


def prepare(made: list[list[Sample]], first: int, seconds: int) -> list[list[Sample]]:
    """Everything to hand in, made beforehand: making samples is not what is measured."""
    return [[later(item, first + second) for item in portion] for second in range(seconds) for portion in made]


def feed(store: Store, prepared: Sequence[list[Sample]], stop: threading.Event) -> int:
    """Hand them in at RATE; returns how many found no room."""
    begin, dropped = time.monotonic(), 0
    for number, portion in enumerate(prepared):
        if stop.wait(max(0.0, begin + number * PORTION / RATE - time.monotonic())):
            break
        try:
            store.append(portion)
        except StoreOverflow as overflow:
            dropped += overflow.dropped
    return dropped


def probe(store: Store, port: int, prepared: Sequence[list[Sample]]) -> tuple[float, float, float, float, int]:
    """(committed a second, lateness p50 ms, lateness p99 ms, share of the core, dropped) of SECONDS."""
    found: list[Sample] = []
    engine = Engine(clock=SystemClock(), report=found.extend, span_ns=SECOND)
    specs = [
        StreamSpec(f"S{number}", "udp", "udp", "127.0.0.1", "here", port=port, every_ns=SECOND, timeout_ns=SECOND)
        for number in range(STREAMS)
    ]
    assert not engine.add(specs)
    engine.start()
    time.sleep(2.0)
    skip = len(found)
    before, used, begin = store.counters()["committed"], cpu(), time.monotonic()
    dropped = feed(store, prepared, threading.Event())
    time.sleep(max(0.0, begin + SECONDS - time.monotonic()))
    spent = time.monotonic() - begin
    committed, used = store.counters()["committed"] - before, cpu() - used
    engine.close()
    assert store.flush(60.0)
    lateness = [item.quality for item in found[skip:] if item.quality.lateness_max_ns is not None]
    middle = statistics.median(item.lateness_p50_ns or 0 for item in lateness) / MILLISECOND
    high = float(np.percentile([item.lateness_max_ns or 0 for item in lateness], 99)) / MILLISECOND
    return committed / spent, middle, high, used / spent, dropped


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="measure the disk of this directory")
    directory = Path(tempfile.mkdtemp(prefix="linkwitness-benchmark-", dir=parser.parse_args().directory))
    cores = os.sched_getaffinity(0)
    core = min(cores)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    reflector = context.Process(target=reflect, args=(cores - {core} or cores, theirs), daemon=True)
    reflector.start()
    port = ours.recv()
    os.sched_setaffinity(0, {core})
    store = Store.open(directory / "store", clock=SystemClock(), site="benchmark")
    try:
        made, rows = portions(), {"at rest": list[tuple[float, ...]](), "committing": list[tuple[float, ...]]()}
        for number, name in itertools.product(range(ROUNDS), rows):
            seconds = int(SECONDS) if name == "committing" else 0
            rows[name].append(probe(store, port, prepare(made, number * int(SECONDS), seconds)))
        print(f"{STREAMS} streams and {RATE} samples a second on one core, durable (FULL), median of {ROUNDS} pairs")
        for name, values in rows.items():
            committed, middle, high, share, dropped = (
                statistics.median(column) for column in zip(*values, strict=True)
            )
            print(f"  store {name:<11}{committed:>8.0f} committed/s  send lateness p50 {middle:.2f}, p99 {high:.2f} ms"
                  f"  {share:.0%} of the core  {dropped:.0f} dropped")  # fmt: skip
        pairs = zip(rows["committing"], rows["at rest"], strict=True)
        print(f"  ratio of p50 {statistics.median(one[1] / other[1] for one, other in pairs):.2f}")
        ours.send("stop")
        reflector.join(10)
    finally:
        store.close()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
