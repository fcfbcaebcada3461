"""What judging a thousand circuits costs: `python benchmarks/audit.py [DIRECTORY]`.

Months of circuits at 10 s (259,200 samples with histograms each) out of sealed days, judged by the contract of eight
objectives of benchmarks/judge.py with two processes: 100, 300 and 1,000 of them, so that what each costs can be seen
to stay the same. All times include starting the processes. Memory is the sum of what every process ever had at most.

The store: the sealed days of a few real circuits, whose files are copied under as many names as are asked for (8 MB a
circuit, 8 GB for a thousand). `--links` makes hard links instead, which costs no disk; but then each file's SHA-256 is
looked at once for all its names, which flatters.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent.audit import Brief, judge_many
from agent.sla.samples.shared_fate import witnesses
from agent.store.sealed import manifest
from benchmarks.judge import circuit_of, contract
from benchmarks.sealed import DAYS, FIRST_DAY, ROWS, fill, seal
from probes.core.clock import SECOND

DAY_NS = 86400 * SECOND
REAL, COUNTS, WORKERS = 4, (100, 300, 1000), 2
WANTED = (manifest.SAMPLES, manifest.HISTOGRAMS, manifest.COLUMNS)


def main() -> None:
    """Build the store, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, help="where to put the store; a temporary one if left out")
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--real", type=int, default=REAL, help="circuits with data of their own")
    parser.add_argument("--circuits", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--links", action="store_true", help="hard links instead of copies")
    parser.add_argument("--keep", action="store_true", help="use what is there, and leave it")
    chosen = parser.parse_args()
    root = Path(chosen.directory or tempfile.mkdtemp(prefix="lw-audit-"))
    real, many = root / "real", root / "many"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not (chosen.keep and real.exists()):
            fill(real, chosen.real, chosen.days)
            seal(real, chosen.days)
        if not (chosen.keep and many.exists()):
            multiply(real, many, max(chosen.circuits), chosen.links)
        figures(many, chosen.days, chosen.circuits, chosen.workers)
    finally:
        if not chosen.keep:
            shutil.rmtree(root, ignore_errors=True)


def multiply(real: Path, many: Path, circuits: int, links: bool) -> None:
    """A store with the sealed days of `real` under many names; the live database is that of `real`, which is empty."""
    shutil.copytree(real, many, ignore=shutil.ignore_patterns("*.parquet", "*.packed", manifest.MANIFEST))
    for part in manifest.load_all(real):
        source, goal = (place / manifest.FOLDER / part.name for place in (real, many))
        series = [item for item in part.series if item.probe == "icmp"]
        own = {
            (item.key, what): file
            for item in series
            for what in WANTED
            for file in part.of(what)
            if file.first == file.last == item.key
        }
        files, names = [], []
        for number in range(circuits):
            item = series[number % len(series)]
            named = replace(item, circuit=circuit_of(number).id)
            names.append(named)
            for what in WANTED:
                file = own[item.key, what]
                name = f"{what}.{number:05}{Path(file.name).suffix}"
                (os.link if links else shutil.copyfile)(source / file.name, goal / name)
                files.append(replace(file, name=name, first=named.key, last=named.key))
        order = sorted(range(circuits), key=lambda at: names[at].key)
        total = sum(item.rows for item in names)
        manifest.write(
            goal,
            replace(
                part,
                rows=total,
                files=tuple(sorted(files, key=lambda file: WANTED.index(file.what))),
                series=tuple(names[at] for at in order),
            ),
        )


def figures(path: Path, days: int, counts: list[int], workers: int) -> None:
    """Judge so many circuits each time."""
    terms, end = contract(), (FIRST_DAY + days) * DAY_NS + 30 * SECOND
    print(
        f"{days} days of each circuit, {days * ROWS} samples, {len(terms.objectives)} objectives, {workers} processes"
    )
    for count in counts:
        circuits = [circuit_of(number) for number in range(count)]
        brief = Brief(path, end, told_by=witnesses(circuits, {"gold": terms}))
        begin, used = time.perf_counter(), cpu()
        most, judged = 0, 0
        for verdicts in judge_many(brief, [(circuit, terms) for circuit in circuits], workers):
            assert all(verdict.value is not None for verdict in verdicts), [item.sentence for item in verdicts]
            judged += 1
            if judged % 10 == 0 or judged == count:
                most = max(most, sum(peak(pid) for pid in family()))
        wall, spent = time.perf_counter() - begin, cpu() - used
        print(
            f"  {judged:>5} circuit-months: {wall:>6.1f} s, {spent:>6.1f} s of CPU; "
            f"{wall / judged * 1e3:.1f} ms and {spent / judged * 1e3:.1f} ms of CPU each; {most / 1024:.0f} MiB"
        )


def cpu() -> float:
    """Processor seconds of this process and of those that have ended."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in found)


def family() -> list[int]:
    """This process and those it started."""
    children = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return [os.getpid(), *(int(pid) for group in children for pid in group)]


def peak(pid: int) -> int:
    """KiB that the process had at most."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


if __name__ == "__main__":
    main()
