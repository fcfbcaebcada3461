"""The peer of benchmarks/judge.py: mean, p95 and a share of available intervals, by pandas, of the same Parquet files.

Runs in a Python of its own. A line of JSON asks, a line of JSON answers: {"files": ...} once, then {"do": "packets"}
or {"do": "samples"}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore] # not a dependency of the product
import pyarrow as pa  # type: ignore[import-not-found,import-untyped,unused-ignore] # not a dependency of the product

Files = Mapping[str, Sequence[str]]
SPAN_NS = 10_000_000_000


def of_packets(files: Files) -> tuple[float, float, float]:
    """Mean and p95 over packets (ns; bucket number), share of intervals with an answer."""
    rows = pd.read_parquet(files["samples"], columns=["start_ns", "state", "sent", "lost", "rtt_count", "rtt_sum_ns"])
    rows = rows[rows.state == 0]
    mean = rows.rtt_sum_ns.sum() / rows.rtt_count.sum()
    buckets = pd.read_parquet(files["histograms"], columns=["bucket", "packets"])
    shape = buckets.groupby("bucket").packets.sum().sort_index()
    p95 = shape.index[np.searchsorted(shape.cumsum(), 0.95 * shape.sum())]
    up = (rows.lost < rows.sent).groupby(rows.start_ns // SPAN_NS).min().mean()
    return float(mean), float(p95), float(up)


def of_samples(files: Files) -> tuple[float, float, float]:
    """The same with the p95 of the samples' own p95, and rows for intervals."""
    names = ["sent", "lost", "rtt_count", "rtt_sum_ns", "rtt_max_ns", "rtt_p95_below_max_ns"]
    rows = pd.read_parquet(files["samples"], columns=names)
    mean = rows.rtt_sum_ns.sum() / rows.rtt_count.sum()
    p95 = (rows.rtt_max_ns - rows.rtt_p95_below_max_ns).quantile(0.95)
    return float(mean), float(p95), float((rows.lost < rows.sent).mean())


def main() -> None:
    """Answer until there is nothing more to answer."""
    files: Files = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "files" in asked:
            files = asked["files"]
            of_packets(files)
            of_samples(files)
            print(json.dumps({"pandas": pd.__version__, "pyarrow": pa.__version__}), flush=True)
            continue
        work = {"packets": of_packets, "samples": of_samples}[asked["do"]]
        begin, used = time.perf_counter(), time.process_time()
        found = work(files)
        spent = {"wall": time.perf_counter() - begin, "cpu": time.process_time() - used, "found": found}
        print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    main()
