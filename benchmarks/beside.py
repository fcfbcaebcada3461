"""What sealing does to the times of sending: `python benchmarks/beside.py [DIRECTORY]`. Needs root (ICMP).

An engine with 1,000 ICMP streams over loopback, a packet a second each, in a process of its own. Beside it nothing, or
the agent's low-priority process that seals a day of 100 circuits (864,000 samples), then their removal from the live
database by the writer, as the agent does it. Windows alternate. Of every sample (ten packets, or five at the edge of a
window) the median lateness and the greatest are taken: how late packets left after they were due.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import sealed as days

from agent.store import Store
from agent.store.sealed import manifest, process
from probes.core.clock import SystemClock

TICK_NS, SPAN_S, WINDOW_S = 10_000_000, 5, 30
ENGINE = """
import json, sys, threading
from probes.core.clock import SECOND, SystemClock
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec
kept = []
def report(samples):
    kept.extend((s.start_ns, s.span_ns, s.quality.lateness_p50_ns, s.quality.lateness_max_ns) for s in samples)
engine = Engine(clock=SystemClock(), report=report, span_ns=5 * SECOND)
engine.start()
addresses = [f"127.1.{n // 250}.{n % 250 + 1}" for n in range(1000)]
refused = engine.add([StreamSpec(circuit=a, probe="icmp", kind="icmp", address=a, host=a) for a in addresses])
assert not refused, refused
sys.stdin.read()
engine.close()
json.dump(kept, sys.stdout)
"""


def windows(path: Path, pairs: int) -> list[tuple[str, int, int]]:
    """(what ran beside the engine, from, to) in UTC ns."""
    found = []
    last_day = days.FIRST_DAY + 1
    for _ in range(pairs):
        begin = time.time_ns()
        time.sleep(WINDOW_S)
        found.append(("nothing", begin, time.time_ns()))
        begin = time.time_ns()
        name = process.seal_one(path, before_day=last_day, now_ns=time.time_ns(), timeout_s=600.0)
        found.append(("sealing", begin, time.time_ns()))
        assert name is not None
        shutil.rmtree(path / manifest.FOLDER / name)
    name = process.seal_one(path, before_day=last_day, now_ns=time.time_ns(), timeout_s=600.0)
    assert name is not None
    store = Store.open(path, clock=SystemClock(), site="benchmark")
    begin = time.time_ns()
    store.release(manifest.load(path, name), timeout_s=600.0)
    found.append(("rows leave", begin, time.time_ns()))
    store.close()
    return found


def main() -> None:
    """Everything in a temporary directory on the disk that is asked about."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="measure the disk of this directory")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--circuits", type=int, default=100)
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="linkwitness-benchmark-", dir=given.directory))
    try:
        days.fill(directory / "store", given.circuits, 1)
        root = str(Path(__file__).parents[1])
        with subprocess.Popen(
            [sys.executable, "-c", ENGINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        ) as engine:
            time.sleep(3 * SPAN_S)
            found = windows(directory / "store", given.pairs)
            time.sleep(2 * SPAN_S)
            output, _ = engine.communicate()
    finally:
        shutil.rmtree(directory)
    samples = json.loads(output)
    for what in dict.fromkeys(name for name, _, _ in found):
        spans = [(begin, end) for name, begin, end in found if name == what]
        inside = [
            (middle, greatest)
            for start, span, middle, greatest in samples
            if middle is not None and any(begin <= start and start + span <= end for begin, end in spans)
        ]
        seconds = sum(end - begin for begin, end in spans) / 1e9
        late = sum(greatest > TICK_NS for _, greatest in inside) / max(1, len(inside))
        print(
            f"beside {what:<12}{seconds:>6.0f} s {len(inside):>7} samples: median lateness "
            f"{statistics.median(middle for middle, _ in inside) / 1e3 if inside else 0:.0f} us, "
            f"{100 * late:.2f} % with a packet more than a tick (10 ms) late"
        )


if __name__ == "__main__":
    main()
