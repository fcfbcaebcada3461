"""What sealed days cost: `python benchmarks/sealed.py [DIRECTORY]`.

Three figures, on the disk of DIRECTORY: sealing a day of 100 circuits at 10 s (864,000 samples with histogram and
packets) by the low-priority process the agent uses; bytes of a row in the files; and a month of one circuit
(259,200 rows) out of 30 sealed days of 8 circuits, which fill files as large as those of 100 circuits do.

Ten packets in an interval, delays from a gamma distribution around 20 ms with spikes, exact to the ns. Packets are of
2,000 different intervals, over and over, because encoding 864,000 would take longer than everything else.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from agent.sla.samples.columns import BASIC_COLUMNS
from agent.store import Store, StoreReader, schema
from agent.store.records import LIVE_FILE
from agent.store.rows import SAMPLE_COLUMNS
from agent.store.sealed import manifest, process
from agent.store.sealed.manifest import DAY_NS
from probes.core.arrays import ABSENT, Packets
from probes.core.clock import SECOND, SystemClock
from probes.metrics.histogram import bucket_of

CIRCUITS, MONTH_CIRCUITS, DAYS, ROWS = 100, 8, 30, 8640
FIRST_DAY = 20_700
FOUR = ("start_ns", "sent", "received", "rtt_p95_ns")
TWENTY = BASIC_COLUMNS[:20]
_ID = "circuit-{:03}"


def day_of(circuit: int, day: int, seq: int, chance: np.random.Generator) -> list[tuple[Any, ...]]:
    """Rows of one circuit and day for INSERT_SAMPLE."""
    delays = 20_000_000 + chance.gamma(2.0, 60_000, (ROWS, 10)).astype(np.int64)
    delays += (chance.random((ROWS, 10)) < 0.01) * chance.integers(0, 5_000_000, (ROWS, 10))
    ordered, varied = np.sort(delays, 1), np.sort(np.abs(np.diff(delays, axis=1)), 1)
    lost = chance.random(ROWS) < 0.001
    start = day * DAY_NS + np.arange(ROWS) * 10 * SECOND
    values: dict[str, object] = dict.fromkeys(SAMPLE_COLUMNS)
    values |= dict.fromkeys(("late", "duplicate", "reordered", "corrupt", "not_sent", "state", "stamps"), 0)
    values |= {"span_ns": 10 * SECOND, "sent": 10, "ipdv_pairs": 9, "local_drops": 0, "clock_synchronised": 1,
               "clock_error_ns": 1_000_000, "load": 0.25, "remote": "198.51.100.7"}  # fmt: skip
    columns = {
        "start_ns": start, "received": 10 - lost, "lost": lost.astype(np.int64), "rtt_count": 10 - lost,
        "rtt_sum_ns": delays.sum(1), "rtt_min_ns": ordered[:, 0], "rtt_max_ns": ordered[:, 9],
        "rtt_p50_ns": ordered[:, 4], "rtt_p95_ns": ordered[:, 9], "rtt_p99_ns": ordered[:, 9],
        "rtt_stddev_ns": delays.std(1).astype(np.int64), "ipdv_abs_sum_ns": varied.sum(1),
        "ipdv_p95_ns": varied[:, 8], "pdv_p95_ns": ordered[:, 9] - ordered[:, 0],
        "rfc3550_ns": chance.gamma(4, 20_000, ROWS).astype(np.int64),
        "lateness_p50_ns": chance.integers(50_000, 150_000, ROWS),
        "lateness_max_ns": chance.integers(100_000, 3_000_000, ROWS),
    }  # fmt: skip
    lists = {name: column.tolist() for name, column in columns.items()} | {"histogram": histograms(delays)}
    at = [lists.get(name) or [values[name]] * ROWS for name in SAMPLE_COLUMNS]
    return [(circuit + 1, seq + number, *row) for number, row in enumerate(zip(*at, strict=True))]


def histograms(delays: np.ndarray) -> list[bytes]:
    """The stored histogram of each row of delays."""
    flat = (np.arange(len(delays))[:, None] << 32 | bucket_of(delays.reshape(-1)).reshape(delays.shape)).reshape(-1)
    found, counts = np.unique(flat, return_counts=True)
    pairs = np.column_stack((found & 0xFFFFFFFF, counts)).astype("<u4")
    ends = np.searchsorted(found >> 32, np.arange(len(delays)), side="right")
    starts = np.concatenate(([0], ends[:-1]))
    return [pairs[first:last].tobytes() for first, last in zip(starts, ends, strict=True)]


def some_packets(chance: np.random.Generator) -> list[bytes]:
    """Packets of 2,000 intervals."""
    return [
        Packets(
            np.arange(10) * SECOND + chance.integers(0, 200_000, 10),
            20_000_000 + chance.gamma(2.0, 60_000, 10).astype(np.int64),
            np.zeros(10, np.uint8),
        ).encode()
        for _ in range(2_000)
    ]


def fill(path: Path, circuits: int, days: int) -> None:
    """A live database with whole days, written without the store's queue."""
    Store.open(path, clock=SystemClock(), site="benchmark").close()
    chance = np.random.default_rng(1)
    packets, seq = some_packets(chance), 1
    connection = sqlite3.connect(path / LIVE_FILE, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    for day in range(FIRST_DAY, FIRST_DAY + days):
        for circuit in range(circuits):
            rows = day_of(circuit, day, seq, chance)
            connection.executemany(schema.INSERT_SAMPLE, rows)
            kept = [(row[1], row[2], packets[row[1] % len(packets)]) for row in rows]
            connection.executemany("INSERT INTO packets VALUES (?, ?, ?)", kept)
            seq += ROWS
    last = (FIRST_DAY + days) * DAY_NS - 10 * SECOND
    connection.executemany(
        "INSERT INTO series VALUES (?, ?, 'icmp', 'icmp', ?, ?, ?, ?)",
        [(n + 1, _ID.format(n), FIRST_DAY * DAY_NS, last, last, days * ROWS) for n in range(circuits)],
    )
    connection.execute("COMMIT")
    connection.close()


def seal(path: Path, days: int) -> None:
    """All days through the agent's own way: process, check, removal from the live database."""
    store = Store.open(path, clock=SystemClock(), site="benchmark")
    times, left = [], []
    spent = cpu_of_children()
    for _ in range(days):
        begin = time.perf_counter()
        name = process.seal_one(path, before_day=FIRST_DAY + days, now_ns=time.time_ns(), timeout_s=600.0)
        times.append(time.perf_counter() - begin)
        assert name is not None
        begin = time.perf_counter()
        part = manifest.load(path, name)
        assert store.release(part, timeout_s=600.0) == part.rows
        left.append(time.perf_counter() - begin)
    store.close()
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows, spent = part.rows, (cpu_of_children() - spent) / days
    print(
        f"sealing a day of {rows} rows: {statistics.median(times):.1f} s in its own process ({spent:.1f} s of CPU, "
        f"{memory:.0f} MiB); {statistics.median(left):.1f} s until the rows had left the live database beside commits"
    )
    for what in (manifest.SAMPLES, manifest.HISTOGRAMS, manifest.COLUMNS, manifest.PACKETS):
        files = part.of(what)
        size = sum(file.bytes for file in files)
        print(f"  {what:<12}{len(files):>4} files {size / 1e6:>8.1f} MB {size / rows:>7.2f} bytes for each sample")
    sizes = column_sizes(path, part)
    for name, wanted in (("first 20 columns", TWENTY), ("all 31 columns", BASIC_COLUMNS)):
        print(f"  {name}: {sum(sizes[layout_name(item)] for item in wanted) / rows:.2f} bytes a row")


def cpu_of_children() -> float:
    """Seconds of processor time of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def layout_name(column: str) -> str:
    """Name in the file."""
    from agent.store.sealed.layout import written_name

    return written_name(column)


def column_sizes(path: Path, part: manifest.Part) -> dict[str, int]:
    """Compressed bytes of every column of the samples."""
    import duckdb

    files = [str(path / manifest.FOLDER / part.name / file.name) for file in part.of(manifest.SAMPLES)]
    found = duckdb.execute(
        "SELECT path_in_schema, sum(total_compressed_size) FROM parquet_metadata(?) GROUP BY 1", [files]
    )
    return dict(found.fetchall())


def read(path: Path) -> None:
    """A month of a circuit in the middle, over and over."""
    start, end = FIRST_DAY * DAY_NS, (FIRST_DAY + DAYS) * DAY_NS
    print(f"a month of one circuit, {DAYS * ROWS} rows, from sealed days")
    with StoreReader.open(path) as reader:
        begin = time.perf_counter()
        reader.read(_ID.format(4), "icmp", ("sent",), start, start + DAY_NS)
        print(f"  {'first use of DuckDB':<28}{(time.perf_counter() - begin) * 1e3:>6.0f} ms")
        for name, columns in (("4 columns", FOUR), ("20 columns", TWENTY), ("all 31 columns", BASIC_COLUMNS),
                              ("4 columns and histograms", (*FOUR, "histogram"))):  # fmt: skip
            times, spent = [], []
            for _ in range(9):
                begin, used = time.perf_counter(), time.process_time()
                found = reader.read(_ID.format(4), "icmp", columns, start, end)
                times.append(time.perf_counter() - begin)
                spent.append(time.process_time() - used)
                assert len(found) == DAYS * ROWS
                assert (found.start_ns != ABSENT).all()
            print(
                f"  {name:<28}{statistics.median(times) * 1e3:>6.0f} ms (best {min(times) * 1e3:.0f}), "
                f"{statistics.median(spent) * 1e3:.0f} ms of CPU"
            )


def main() -> None:
    """Everything in a temporary directory on the disk that is asked about."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="measure the disk of this directory")
    directory = Path(tempfile.mkdtemp(prefix="linkwitness-benchmark-", dir=parser.parse_args().directory))
    try:
        fill(directory / "day", CIRCUITS, 1)
        seal(directory / "day", 1)
        fill(directory / "month", MONTH_CIRCUITS, DAYS)
        seal(directory / "month", DAYS)
        read(directory / "month")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
