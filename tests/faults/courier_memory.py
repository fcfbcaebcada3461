"""A process of its own that delivers a whole backlog and tells the most memory it took: STORE URL SAMPLES."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from agent.config import SinkSettings
from agent.deliver import Delivery
from agent.store import Store
from probes.core.clock import SECOND, SystemClock


def main(path: Path, url: str, count: int) -> None:
    store = Store.open(path, clock=SystemClock(), site="lab")
    sink = SinkSettings("central", url, "v2", org="o", bucket="b", timeout_ns=30 * SECOND)
    delivery = Delivery([sink], store, path, {}, "lab", SystemClock())
    delivery.start()
    deadline = time.monotonic() + 60 + count / 2000
    while delivery.status()[0].written < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"not delivered: {delivery.status()[0]}")
        time.sleep(0.05)
    delivery.close()
    store.close()
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
