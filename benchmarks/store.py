"""What keeping every sample costs: `python benchmarks/store.py [DIRECTORY]`.

Durable commits of 500 samples (WAL, synchronous=FULL) through the store, and the same rows through plain sqlite3
executemany into the bare table, alternating in one run: the second is the limit on this disk. Then a month of one
circuit at 10 s (259,200 samples) as four numpy columns, and the same through fetchall.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from agent.store import Store, StoreReader, schema
from agent.store.records import LIVE_FILE
from agent.store.rows import encode
from probes.core.arrays import ABSENT, Histogram
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Counts, Delay, Quality, Sample, SampleState, StampSource, Variation

GROUP = 500
MONTH = 259_200
CIRCUITS = 2
START = 1_790_000_000 * SECOND
END = START + MONTH * 10 * SECOND
PARTS = 10
COLUMNS = ("sent", "received", "rtt_sum_ns", "rtt_p95_ns")


def sample(circuit: int, number: int, values: list[int]) -> Sample:
    """Ten answered packets with eight different delays, as an ICMP stream at one packet a second gives."""
    return Sample(
        f"circuit-{circuit}", "icmp", "icmp", START + number * 10 * SECOND, 10 * SECOND, SampleState.OK,
        Counts(10, 10), Delay(10, *values[:7]), Variation(9, *values[7:11]), remote="198.51.100.7",
        quality=Quality(StampSource.KERNEL, values[11], values[12], 0, True, 1_000_000, 0.25),
        histogram=Histogram(np.arange(8) + values[13] % 4000, np.ones(8, np.int64)),
    )  # fmt: skip


def groups() -> list[list[Sample]]:
    """A tenth of the month for each circuit, in groups of one commit."""
    chance = np.random.default_rng(1)
    found = []
    for first in range(0, MONTH // PARTS, GROUP // CIRCUITS):
        values = chance.integers(10**6, 10**8, (GROUP, 14)).tolist()
        numbers = [(first + at // CIRCUITS, at % CIRCUITS) for at in range(GROUP)]
        found.append([sample(circuit, number, row) for (number, circuit), row in zip(numbers, values, strict=True)])
    return found


def bare(path: Path) -> sqlite3.Connection:
    """A database with the table of samples and nothing else."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(next(table for table in schema.TABLES if "TABLE samples" in table))
    return connection


def write(directory: Path, prepared: list[list[Sample]]) -> None:
    """Group by group, store and limit in turn."""
    store = Store.open(directory / "store", clock=SystemClock(), site="benchmark")
    connection, seq = bare(directory / "bare.sqlite"), 0
    ours, limit = [], []
    for group in prepared:
        begin = time.perf_counter()
        store.append(group)
        assert store.flush(60.0)
        ours.append(time.perf_counter() - begin)
        rows = [(number % CIRCUITS, seq + number, *encode(item)) for number, item in enumerate(group)]
        seq += len(group)
        begin = time.perf_counter()
        connection.execute("BEGIN")
        connection.executemany(schema.INSERT_SAMPLE, rows)
        connection.execute("COMMIT")
        limit.append(time.perf_counter() - begin)
    store.close()
    connection.close()
    total = sum(map(len, prepared))
    print(f"durable commits of {GROUP} samples, {total} samples")
    for name, times, path in (
        ("linkwitness store", ours, directory / "store" / LIVE_FILE),
        ("sqlite3 executemany", limit, directory / "bare.sqlite"),
    ):
        median = statistics.median(times)
        print(f"  {name:<22}{GROUP / median:>10.0f} rows/s  commit p50 {median * 1e3:.1f} ms  "
              f"{path.stat().st_size / total:.0f} bytes/row")  # fmt: skip
    print(f"  ratio {statistics.median(limit) / statistics.median(ours):.2f} of the limit")


def by_columns(path: Path) -> int:
    """As the judge reads."""
    with StoreReader.open(path) as reader:
        return len(reader.read("circuit-1", "icmp", COLUMNS, START, END))


def by_fetchall(path: Path) -> int:
    """As one reads without thinking."""
    names = ("start_ns", "span_ns", "state", *COLUMNS)
    with sqlite3.connect(f"file:{path / LIVE_FILE}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            f"SELECT {', '.join(f'ifnull({name}, {ABSENT})' for name in names)} FROM samples WHERE series = "
            "(SELECT id FROM series WHERE circuit = 'circuit-1') AND start_ns < ? ORDER BY start_ns",
            (END,),
        ).fetchall()
    return len(np.array(rows, np.int64))


def peak_kib() -> int:
    """Peak resident memory of this process since the last reset."""
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1])


def measure(function: Callable[[Path], int], path: Path) -> tuple[float, float]:
    """Seconds of the best of three, and MiB of memory at the peak beyond what was there before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        assert function(path) == MONTH
        times.append(time.perf_counter() - begin)
    return min(times), (peak_kib() - before) / 1024


def read(directory: Path, prepared: list[list[Sample]]) -> None:
    """Fill the month, then read it both ways."""
    store = Store.open(directory / "store", clock=SystemClock(), site="benchmark")
    part_ns = len(prepared) * (GROUP // CIRCUITS) * 10 * SECOND
    for number in range(1, PARTS):
        for group in prepared:
            store.append([replace(item, start_ns=item.start_ns + number * part_ns) for item in group])
            assert store.flush(60.0)
    store.close()
    print(f"a month of one circuit of {CIRCUITS}, {MONTH} samples, {len(COLUMNS)} columns beside time, span and state")
    for name, function in (("linkwitness columns", by_columns), ("sqlite3 fetchall", by_fetchall)):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seconds, grown = pool.submit(measure, function, directory / "store").result(timeout=120)
        print(f"  {name:<22}{seconds:>10.3f} s  {grown:.0f} MiB at the peak")


def main() -> None:
    """Both parts, in a temporary directory on the disk that is asked about."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="measure the disk of this directory")
    directory = Path(tempfile.mkdtemp(prefix="linkwitness-benchmark-", dir=parser.parse_args().directory))
    try:
        prepared = groups()
        write(directory, prepared)
        read(directory, prepared)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
