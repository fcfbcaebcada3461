"""What a week without the databases costs: `python benchmarks/backlog.py [DIRECTORY] [--slices N] [--rows N]`.

2,000 streams at 10 s, 200 samples a second, as the agent stores them: live rows, sealed slice by slice by its own
low-priority process although a sink has none of them. Then, each in a process of its own: how fast the sink could be
sent what it is owed and what memory that takes; and how soon the agent is ready again on a store with a week of parts,
of which the manifests are real and the files, which a start does not open, are missing.

By default two slices of an hour and a half are measured; bytes are scaled to seven days (121 million samples) by rows.
Delays are those of benchmarks/sealed.py: ten packets in an interval, exact to the ns, around 20 ms. Seven columns of
such samples are noise of 16 to 21 bits each: `floor` is the entropy of the values by octets, what no compression of
single columns goes below.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import sealed as days

from agent.store import Store, StoreReader, schema
from agent.store.records import LIVE_FILE, NOTHING_LEFT
from agent.store.sealed import manifest, process
from agent.store.sealed.manifest import DAY_NS
from probes.core.arrays import ABSENT
from probes.core.clock import SECOND, SystemClock

STREAMS, SAMPLES, KINDS = 2_000, 121_000_000, 20
SINK = "away"


def fill(path: Path, begin: int, rows: int, seq: int) -> int:
    """Live rows of every stream from the interval `begin` on; returns the next seq."""
    chance = np.random.default_rng(begin)
    packets = [item for _ in range(8) for item in days.some_packets(chance)]
    kinds = [days.day_of(0, days.FIRST_DAY, 1, chance) for _ in range(KINDS)]
    connection = sqlite3.connect(path / LIVE_FILE, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    first = (days.FIRST_DAY * DAY_NS) + begin * 10 * SECOND
    for stream in range(STREAMS):
        found = [
            (stream + 1, seq + n * STREAMS + stream, first + n * 10 * SECOND, *row[3:])
            for n, row in enumerate(_some(kinds[stream % KINDS], stream // KINDS * rows, rows))
        ]
        connection.executemany(schema.INSERT_SAMPLE, found)
        kept = [
            (row[1], row[2], packets[at]) for row, at in zip(found, chance.integers(0, len(packets), rows), strict=True)
        ]
        connection.executemany("INSERT INTO packets VALUES (?, ?, ?)", kept)
    last = first + (rows - 1) * 10 * SECOND
    connection.executemany(
        "INSERT INTO series VALUES (?1, ?2, 'icmp', 'icmp', ?3, ?4, ?4, ?5) "
        "ON CONFLICT DO UPDATE SET first_ns = ?3, last_ns = ?4, newest_ns = ?4, rows = ?5",
        [(n + 1, f"circuit-{n:04}", first, last, rows) for n in range(STREAMS)],
    )
    connection.execute("UPDATE meta SET next_seq = ?", (seq + STREAMS * rows,))
    connection.execute("COMMIT")
    connection.close()
    return seq + STREAMS * rows


def _some(whole: list[tuple[Any, ...]], first: int, rows: int) -> list[tuple[Any, ...]]:
    """Rows from `first` on, round and round: no file holds a row twice."""
    return [whole[at % len(whole)] for at in range(first, first + rows)]


def store_slices(path: Path, slices: int, rows: int) -> list[manifest.Part]:
    """Fill, seal and release, slice by slice, while the sink is away."""
    store = Store.open(path, clock=SystemClock(), site="benchmark")
    store.cursor(SINK)
    store.flush(5.0)
    store.close()
    seq, parts, sealing, leaving, live = 1, [], [], [], 0
    for number in range(slices):
        seq = fill(path, number * (rows + 60), rows, seq)
        live = max(live, (path / LIVE_FILE).stat().st_size)
        store = Store.open(path, clock=SystemClock(), site="benchmark")
        begin = time.perf_counter()
        name = process.seal_one(path, before_day=0, now_ns=time.time_ns(), timeout_s=1800.0, live_bytes=1)
        sealing.append(time.perf_counter() - begin)
        assert name is not None
        begin = time.perf_counter()
        part = manifest.load(path, name)
        assert store.release(part, timeout_s=1800.0) == part.rows
        leaving.append(time.perf_counter() - begin)
        parts.append(part)
        store.close()
    every = sum(part.rows for part in parts)
    print(f"{slices} slices of {parts[0].rows} samples: sealed in {statistics.median(sealing):.1f} s each, "
          f"out of the live database in {statistics.median(leaving):.1f} s; it had {live / every * slices:.0f} bytes "
          f"for each sample, packets included")  # fmt: skip
    week = 0.0
    for what in (manifest.SAMPLES, manifest.HISTOGRAMS, manifest.PACKETS):
        size = sum(file.bytes for part in parts for file in part.of(what)) / every
        week += size if what != manifest.PACKETS else 0.0
        print(f"  {what:<12}{size:>7.2f} bytes a sample {size * SAMPLES / 1e9:>7.2f} GB in 7 days")
    sizes = [days.column_sizes(path, part) for part in parts]
    twenty = sum(size[days.layout_name(name)] for size in sizes for name in days.TWENTY) / every
    print(f"  first 20 columns: {twenty:.2f} bytes a row, {twenty * SAMPLES / 1e9:.2f} GB in 7 days")
    print(
        f"  samples and histograms: {week * SAMPLES / 1e9:.2f} GB in 7 days; floor of the samples: {floor():.1f} bytes"
    )
    return parts


def floor() -> float:
    """Entropy of the octets of every stored integer column, in bytes a sample; start_ns and seq take nothing."""
    from agent.store.rows import SAMPLE_COLUMNS
    from agent.store.sealed import layout

    rows = days.day_of(0, days.FIRST_DAY, 1, np.random.default_rng(1))
    columns = dict(zip(("series", "seq", *SAMPLE_COLUMNS), zip(*rows, strict=True), strict=True))
    total = 0.0
    names = [name for name in layout.STORED_INTEGERS if name != "start_ns"]
    values = {name: np.array([ABSENT if v is None else v for v in columns[name]], np.int64) for name in names}
    for column in layout.to_written(values).values():
        there = column[column != ABSENT]
        if not len(there):
            continue
        octets = (there - there.min()).view(np.uint8).reshape(-1, 8)
        for at in range(8):
            share = np.bincount(octets[:, at], minlength=256) / len(octets)
            total -= float((share[share > 0] * np.log2(share[share > 0])).sum()) / 8
    return total


def a_week_of_parts(path: Path, parts: list[manifest.Part]) -> int:
    """Manifests of seven days of such parts, each owed to the sink; returns how many there are."""
    number = SAMPLES // parts[0].rows
    each = -(-number // 7)
    width = DAY_NS // each
    connection = sqlite3.connect(path / LIVE_FILE, isolation_level=None)
    for at in range(number):
        day = days.FIRST_DAY + 10 + at // each
        start = day * DAY_NS + at % each * width
        part = dataclasses.replace(
            parts[at % len(parts)], day=day, number=at % each + 1, slice_ns=(start, start + width)
        )
        directory = path / manifest.FOLDER / part.name
        directory.mkdir()
        manifest.write(directory, part)
        connection.execute("INSERT INTO owed VALUES (?, ?, 0, 0, ?)", (SINK, part.name, part.rows))
    connection.close()
    return number


def child(what: str, path: Path) -> None:
    """One of the processes: `send` or `start`."""
    begin = time.perf_counter()
    if what == "start":
        store = Store.open(path, clock=SystemClock(), site="benchmark")
        opened = time.perf_counter() - begin
        with StoreReader.open(path) as reader:
            owed = reader.owed(SINK)
            listed = time.perf_counter() - begin
            lag = reader.status().sinks[0].lag
        print(f"  the store takes samples after {opened:.2f} s; {len(owed)} parts owed are known after {listed:.2f} s; "
              f"the lag of {lag} samples after {time.perf_counter() - begin:.2f} s; {memory():.0f} MiB")  # fmt: skip
        store.close()
        return
    rows = 0
    before = memory()
    with StoreReader.open(path) as reader:
        for owed in reader.owed(SINK):
            place = owed.next_row
            while place < NOTHING_LEFT:
                batch, place = reader.owed_batch(dataclasses.replace(owed, next_row=place), 5_000)
                rows += len(batch)
    spent, used = time.perf_counter() - begin, time.process_time()
    print(f"  {rows} samples read as columns {rows / spent:.0f} a second, {rows / used:.0f} a second "
          f"of CPU; {memory():.0f} MiB, {before:.0f} before")  # fmt: skip


def memory() -> float:
    """Resident MiB now, at its greatest."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def beside(what: str, path: Path) -> None:
    subprocess.run([sys.executable, __file__, "--child", what, str(path)], check=True)


def main() -> None:
    """Everything in a temporary directory on the disk that is asked about."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="measure the disk of this directory")
    parser.add_argument("--slices", type=int, default=2)
    parser.add_argument("--rows", type=int, default=540, help="of each of the 2,000 streams in a slice")
    parser.add_argument("--child", choices=("send", "start"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.directory)
        return
    directory = Path(tempfile.mkdtemp(prefix="linkwitness-benchmark-", dir=given.directory))
    try:
        parts = store_slices(directory / "store", given.slices, given.rows)
        print("sending what is owed")
        beside("send", directory / "store")
        number = a_week_of_parts(directory / "store", parts)
        print(f"start with {number} more parts, seven days of samples")
        beside("start", directory / "store")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
