"""What judging costs: `python benchmarks/judge.py [DIRECTORY] [--pandas PYTHON]`.

A month of one circuit at 10 s (259,200 samples with histograms, 2.6 million packets), all of it in sealed days, judged
by a contract of eight objectives as carriers write them: availability, mean, p95 and p99 of delay, p99 of delay
variation, the share of packets in time, loss by month and by day. Judged for the first time (files are looked through
by their SHA-256) and again; reading and judging apart.

Beside it, in pairs one after the other, pandas in a process of its own, which does no more than a mean, a p95 and a
share of available intervals on the same Parquet files: once with the p95 of packets out of the histograms, as we have
it, and once with the cheaper p95 of the samples' own p95, which is the p95 of nothing. `--pandas` names a Python that
has pandas and pyarrow; without it a virtual environment is made and they are installed there.

All times are of work alone: imports, opening and the first use of DuckDB or pyarrow come before.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent import contract_files
from agent.allocation import keep_freed
from agent.audit import KEPT, Bench, Brief
from agent.judging import SHARE
from agent.sla.judge import columns_needed, judge
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.needs import SPARE
from agent.sla.terms.contract import Contract
from agent.store import StoreReader
from agent.store.sealed import manifest
from benchmarks.sealed import DAYS, FIRST_DAY, ROWS, fill, seal
from probes.core.clock import SECOND
from probes.core.model import Circuit, ProbeSetting

DAY_NS = 86400 * SECOND
PAIRS = 9
CONTRACT = """
id: gold
version: "1"
provider: P
customer: C
time_zone: UTC
window: {rolling: 30d}
coverage: {minimum: 90 %}
objectives:
  - {id: availability, metric: availability, statistic: {type: availability_mef, dt: 10s, n: 3}, target: 99.95 %}
  - {id: delay, metric: rtt, statistic: {type: mean}, target: 25ms, only_available_time: true}
  - {id: delay-p95, metric: rtt, statistic: {type: percentile, p: 95}, target: 27ms, only_available_time: true}
  - {id: delay-p99, metric: rtt, statistic: {type: percentile, p: 99}, target: 30ms, only_available_time: true}
  - {id: variation, metric: jitter, statistic: {type: percentile, p: 99, definition: pdv}, target: 9ms}
  - {id: in-time, metric: rtt, statistic: {type: ratio_within, limit: 30ms}, target: 99 %}
  - {id: loss, metric: loss, target: 1 %, only_available_time: true}
  - {id: loss-day, metric: loss, target: 2 %, window: {rolling: 1d}}
"""
PROBE = ProbeSetting("icmp", "icmp", {"every": SECOND, "timeout": 3 * SECOND})


@dataclass(slots=True)
class Times:
    """Wall and processor time of repeated work, seconds."""

    wall: list[float]
    cpu: list[float]

    @staticmethod
    def none() -> Times:
        return Times([], [])

    def add(self, work: Callable[..., Any], *args: Any) -> Any:
        begin, used = time.perf_counter(), time.process_time()
        found = work(*args)
        self.cpu.append(time.process_time() - used)
        self.wall.append(time.perf_counter() - begin)
        return found

    def __str__(self) -> str:
        wall, cpu = (statistics.median(part) * 1e3 for part in (self.wall, self.cpu))
        return f"{wall:>6.1f} ms wall (best {min(self.wall) * 1e3:.1f}), {cpu:>6.1f} ms of CPU"


def circuit_of(number: int) -> Circuit:
    """As benchmarks.sealed names them."""
    return Circuit(f"circuit-{number:03}", f"192.0.2.{number + 1}", probes=(PROBE,), contract="gold")


def contract() -> Contract:
    return contract_files.parse(CONTRACT, "gold.yaml")


def main() -> None:
    """Build the store, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, help="where to put the store; a temporary one if left out")
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--keep", action="store_true", help="use the store that is there, and leave it")
    parser.add_argument("--pandas", help="a Python with pandas and pyarrow; `none` for no comparison")
    chosen = parser.parse_args()
    root = Path(chosen.directory or tempfile.mkdtemp(prefix="lw-judge-"))
    path = root / "store"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not (chosen.keep and path.exists()):
            fill(path, 2, chosen.days)
            seal(path, chosen.days)
        figures(
            path, chosen.days, chosen.pairs, None if chosen.pandas == "none" else pandas_python(root, chosen.pandas)
        )
    finally:
        if not chosen.keep:
            shutil.rmtree(root, ignore_errors=True)


def figures(path: Path, days: int, pairs: int, python: str | None) -> None:
    """Measure one circuit's judgement, and pandas beside it."""
    terms, circuit = contract(), circuit_of(0)
    end = (FIRST_DAY + days) * DAY_NS + 30 * SECOND
    with StoreReader.open(path) as reader:  # the first use of DuckDB, by the other circuit
        reader.read("circuit-001", "icmp", ("sent", "histogram"), FIRST_DAY * DAY_NS, (FIRST_DAY + 1) * DAY_NS)
    bench = Bench(Brief(path, end))
    print(f"{days} days of one circuit, {days * ROWS} samples, {len(terms.objectives)} objectives")
    for kept in (False, True):
        if kept:
            keep_freed(KEPT)
            bench = Bench(Brief(path, end))
        first = Times.none()
        verdicts = first.add(bench.judged, circuit, terms)
        assert all(verdict.value is not None for verdict in verdicts), [verdict.sentence for verdict in verdicts]
        again = Times.none()
        for _ in range(pairs):
            assert again.add(bench.judged, circuit, terms) == verdicts
        how = "as an audit's process does, which keeps the memory it frees" if kept else "as the agent does"
        print(f"judged {how}\n  first time   {first}\n  again        {again}")
    stages(path, terms, circuit, end, pairs)
    limit = 1000 / SHARE
    rate = limit / (statistics.median(again.cpu) * 1000)
    print(f"within the agent's share of a core, a {SHARE}th: {rate:.2f} circuits a second")
    if python is not None:
        beside(path, days, pairs, python, lambda: bench.judged(circuit, terms))


def stages(path: Path, terms: Contract, circuit: Circuit, end: int, pairs: int) -> None:
    """Reading and judging apart."""
    columns, shapes, judging = Times.none(), Times.none(), Times.none()
    with StoreReader.open(path) as reader:
        (wanted,) = columns_needed(terms, circuit, now_ns=end)
        names = [name for name in wanted.columns if name != "histogram" and name not in SPARE]
        for _ in range(pairs):
            args = (wanted.start_ns, wanted.end_ns)
            columns.add(reader.read, circuit.id, "icmp", names, *args)
            shapes.add(reader.read, circuit.id, "icmp", ("histogram",), *args)
            found = reader.read(circuit.id, "icmp", wanted.columns, *args, spare=SPARE, summed=True)
            judging.add(judge_afresh, terms, circuit, found, end)
    print(f"  reading {len(names) + 3} columns      {columns}")
    print(f"  reading every histogram      {shapes} (only where a day is not taken whole)")
    print(f"  judging what was read        {judging}")


def judge_afresh(terms: Contract, circuit: Circuit, found: SampleColumns, now_ns: int) -> None:
    """Without what was worked out before."""
    judge(terms, circuit, {"icmp": replace(found)}, now_ns=now_ns)


def pandas_python(root: Path, chosen: str | None) -> str:
    """A Python that has the peer; never the one that runs the agent."""
    if chosen is not None:
        return chosen
    place = root / "pandas"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "pandas", "pyarrow"], check=True)
    return str(python)


def beside(path: Path, days: int, pairs: int, python: str, ours: Callable[[], Any]) -> None:
    """Ours and theirs in turns."""
    files: dict[str, list[str]] = {manifest.SAMPLES: [], manifest.HISTOGRAMS: []}
    key = (circuit_of(0).id, "icmp", "icmp")
    for part in manifest.load_all(path)[:days]:
        for what, found in files.items():
            found += [
                str(path / manifest.FOLDER / part.name / file.name)
                for file in part.of(what)
                if file.first <= key <= file.last
            ]
    command = [python, str(Path(__file__).parent / "pandas_peer.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None

        def ask(what: dict[str, Any]) -> dict[str, Any]:
            assert peer.stdin is not None
            assert peer.stdout is not None
            peer.stdin.write(json.dumps(what) + "\n")
            peer.stdin.flush()
            answer: dict[str, Any] = json.loads(peer.stdout.readline())
            return answer

        hello = ask({"files": files})
        print(f"beside pandas {hello['pandas']}, pyarrow {hello['pyarrow']}, in {pairs} pairs")
        for name in ("packets", "samples"):
            mine, theirs = Times.none(), Times.none()
            for _ in range(pairs):
                mine.add(ours)
                answer = ask({"do": name})
                theirs.wall.append(answer["wall"])
                theirs.cpu.append(answer["cpu"])
            wall = statistics.median(b / a for a, b in zip(mine.wall, theirs.wall, strict=True))
            cpu = statistics.median(b / a for a, b in zip(mine.cpu, theirs.cpu, strict=True))
            print(f"  p95 of {name}: pandas {theirs}; all eight objectives {mine}")
            print(f"    pandas takes {wall:.2f} times as long, {cpu:.2f} times the CPU, for mean, p95 and a share")
        peer.stdin.close()


if __name__ == "__main__":
    main()
