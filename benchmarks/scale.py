"""Ten thousand circuits in one process: `python -m benchmarks.scale`. Needs root and iproute2.

10,000 ICMP streams, a packet a second each, over a veth pair between namespaces; samples are shown and stored as the
daemon does it. CPU of all threads from outside (/proc/PID/task/*/schedstat), peak memory from VmHWM. Everything about
the packets is from a packet tap with kernel stamps, not from the engine's word: in a window of whole seconds every
stream must have sent one packet a second, exactly; its intervals are compared with one second, and its last packet with
the first plus whole seconds (drift). `--targets 1000` for another number.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.icmp_cpu import ENGINE, ROOT, cpu_ns
from benchmarks.tap import addresses, tapped, veth_pair

SECOND = 10**9


def peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")) / 1e6


def run(enter: list[str], folder: Path, arguments: argparse.Namespace) -> tuple[float, float, tuple[int, int]]:
    """(share of a core, peak MB, window in UTC ns); the tap's file is folder/tap.npy."""
    targets = folder / "targets"
    targets.write_text("\n".join(addresses(arguments.targets)))
    told = {"targets": str(targets), "store": str(folder / "store"), "settings": {}}
    words = [*enter, sys.executable, "-c", ENGINE, json.dumps(told)]
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with tapped(enter, "n0", folder / "tap.npy"), subprocess.Popen(words, text=True, cwd=ROOT, **pipes) as engine:
        try:
            time.sleep(arguments.warm_up)
            before, begin, begin_ns = cpu_ns(engine.pid), time.monotonic(), time.time_ns()
            time.sleep(arguments.seconds)
            share = (cpu_ns(engine.pid) - before) / SECOND / (time.monotonic() - begin)
            window = (begin_ns, begin_ns + int(arguments.seconds) * SECOND)
            peak = peak_mb(engine.pid)
            output, _ = engine.communicate(timeout=120)
        finally:
            engine.kill()
    received, errors, unkept = map(int, output.split())
    print(f"reported: {received} replies, {errors} errors of the engine, {unkept} samples not kept")
    return share, peak, window


def judge(rows: np.ndarray, window: tuple[int, int], streams: int, seconds: int) -> None:
    """Print what the tap says of the packets of the window."""
    sent = rows[rows["outgoing"] & (rows["kind"] == 8) & (rows["at_ns"] >= window[0]) & (rows["at_ns"] < window[1])]
    sent = sent[np.lexsort((sent["at_ns"], sent["stream"]))]
    counts = np.bincount(sent["stream"], minlength=streams)
    exact = int((counts == seconds).sum())
    print(f"on the wire: {len(sent)} packets in {seconds} s; {exact} of {streams} streams sent {seconds} exactly, "
          f"{int((counts == 0).sum())} none")  # fmt: skip
    same = np.diff(sent["stream"]) == 0
    steps = np.diff(sent["sequence"])[same]
    errors = np.abs(np.diff(sent["at_ns"])[same] - SECOND)[steps == 1] / 1e6
    p50, p99 = np.percentile(errors, [50, 99])
    print(f"interval error: median {p50:.3f} ms, 99th percentile {p99:.2f} ms; {int((steps != 1).sum())} gaps")
    first = np.flatnonzero(np.diff(sent["stream"], prepend=-1))
    last = np.append(first[1:], len(sent)) - 1
    lasted = (sent["at_ns"][last] - sent["at_ns"][first]) % SECOND
    drift = np.minimum(lasted, SECOND - lasted) / 1e6
    p50, p99 = np.percentile(drift, [50, 99])
    print(f"drift, last packet minus first less whole seconds: median {p50:.3f} ms, 99th percentile {p99:.2f} ms")
    answered = rows[~rows["outgoing"] & (rows["kind"] == 0)]
    print(f"replies on the wire: {len(answered)} over the whole run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--warm-up", type=float, default=15)
    arguments = parser.parse_args()
    if os.geteuid():
        sys.exit("needs root")
    folder = Path(tempfile.mkdtemp(prefix="linkwitness-benchmark-", dir="."))
    try:
        with veth_pair(f"lw-scale-{os.getpid()}") as enter:
            share, peak, window = run(enter, folder.resolve(), arguments)
        rate = arguments.targets
        print(f"{arguments.targets} streams, 1/s each, samples stored: {share:.1%} of one core "
              f"({share * 1e6 / rate:.1f} us/probe), {peak:.0f} MB resident at most")  # fmt: skip
        judge(np.load(folder / "tap.npy"), window, arguments.targets, arguments.seconds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
