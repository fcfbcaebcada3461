"""What judging costs: `python benchmarks/judge.py [DIRECTORY]`.

A month of one circuit at 10 s (259,200 samples with histograms) out of a store of two circuits, all days but the last
sealed, judged by a contract of seven objectives as carriers write them: availability, mean and p99 of delay, p99 of
delay variation, loss by month and by day. Three figures: the first judgement, reading alone, and the same again as the
agent does it all the time. Beside it the limit: judging may take a twentieth of a core, so at t ms a judgement there
are 50/t of them each second. All in CPU time, which is what that share is of.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent import contract_files
from agent.judging import SHARE, judge_stored
from agent.recorded import Recorded, fate_in
from agent.sla.judge import columns_needed
from agent.sla.shared_fate import witnesses
from agent.store import StoreReader
from benchmarks.sealed import DAYS, FIRST_DAY, fill, seal
from probes.core.clock import SECOND
from probes.core.model import Circuit, ProbeSetting

DAY_NS = 86400 * SECOND
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
  - {id: delay-p99, metric: rtt, statistic: {type: percentile, p: 99}, target: 30ms, only_available_time: true}
  - {id: variation, metric: jitter, statistic: {type: percentile, p: 99, definition: pdv}, target: 9ms}
  - {id: jitter, metric: jitter, statistic: {type: mean}, target: 3ms, only_available_time: true}
  - {id: loss, metric: loss, target: 1 %, only_available_time: true}
  - {id: loss-day, metric: loss, target: 2 %, window: {rolling: 1d}}
"""


def main() -> None:
    """Build the store, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, help="where to put the store; a temporary one if left out")
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--keep", action="store_true", help="use the store that is there, and leave it")
    chosen = parser.parse_args()
    root = Path(chosen.directory or tempfile.mkdtemp(prefix="lw-judge-"))
    path = root / "store"
    try:
        if not (chosen.keep and path.exists()):
            root.mkdir(parents=True, exist_ok=True)
            fill(path, 2, chosen.days)
            seal(path, chosen.days - 1)
        figures(path, chosen.days)
    finally:
        if not chosen.keep:
            shutil.rmtree(root, ignore_errors=True)


def figures(path: Path, days: int) -> None:
    """Measure one circuit's judgement."""
    contract = contract_files.parse(CONTRACT, "gold.yaml")
    probe = ProbeSetting("icmp", "icmp", {"every": SECOND, "timeout": 3 * SECOND})
    circuits = [Circuit(f"circuit-{n:03}", f"192.0.2.{n + 1}", probes=(probe,), contract="gold") for n in range(2)]
    end = (FIRST_DAY + days) * DAY_NS + 30 * SECOND
    with StoreReader.open(path) as reader:
        recorded, fate = Recorded(reader), fate_in(reader, witnesses(circuits, {"gold": contract}), 10 * SECOND)

        def judged(now_ns: int) -> float:
            begin = time.process_time()
            found = judge_stored(reader, circuits[0], contract, now_ns=now_ns, recorded=recorded, fate=fate)
            spent = time.process_time() - begin
            assert all(verdict.value is not None for verdict in found), [verdict.sentence for verdict in found]
            return spent

        def read_only() -> float:
            begin = time.process_time()
            for item in columns_needed(contract, circuits[0], now_ns=end):
                reader.read(circuits[0].id, item.probe, item.columns, item.start_ns, item.end_ns)
            return time.process_time() - begin

        first = judged(end)
        reading = statistics.median(read_only() for _ in range(5))
        whole = statistics.median(judged(end) for _ in range(7))
    limit = 1000 / SHARE
    print(f"first judgement of a month of one circuit: {first * 1000:.0f} ms; reading alone: {reading * 1000:.0f} ms")
    print(
        f"the same again: {whole * 1000:.0f} ms, {limit / (whole * 1000):.2f} circuits a second within a "
        f"{SHARE}th of a core"
    )


if __name__ == "__main__":
    main()
