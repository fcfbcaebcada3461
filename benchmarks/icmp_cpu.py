"""CPU per ICMP probe, linkwitness beside fping: `python -m benchmarks.icmp_cpu`. Needs root, iproute2 and fping.

1,000 targets on loopback in a network namespace of its own, one probe a second to each, both tools as peers would run
them: the engine with its defaults, fping with one packet a millisecond. After a warm-up, a window of steady state is
measured from outside, the same way for both: CPU of all threads from /proc/PID/task/*/schedstat, probes from the packet
counter of the interface (a probe is two packets there). Pairs run one after the other in alternating order; the figure
is the median of the ratios of the pairs. The kernel's part of an echo (both ways, on loopback) is in both bills.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMESPACE = f"lw-bench-{os.getpid()}"

ENGINE = """
import sys, threading
from probes.core.clock import SystemClock
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec
received, errors = [0], []
def report(samples):
    received[0] += sum(sample.counts.received for sample in samples if sample.counts)
def event(kind, text):
    if kind == "engine_error":
        errors.append(text)
settings = {"tick_ns": round(float(sys.argv[2]) * 1e6)} if sys.argv[2] else {}
engine = Engine(clock=SystemClock(), report=report, event=event, **settings)
engine.start()
addresses = open(sys.argv[1]).read().split()
refused = engine.add([
    StreamSpec(circuit=address, probe="icmp", kind="icmp", address=address, host=address) for address in addresses
])
assert not refused, refused
sys.stdin.read()
engine.close()
print(received[0], len(errors), flush=True)
"""


@dataclass(frozen=True)
class Run:
    """cpu_us: microseconds of CPU for one probe; rate: probes a second; resident: MB."""

    cpu_us: float
    rate: float
    resident: float


def inside(*words: str) -> list[str]:
    return ["ip", "netns", "exec", NAMESPACE, *words]


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def packets() -> int:
    """Packets sent on the loopback interface of the namespace."""
    said = subprocess.run(["ip", "-n", NAMESPACE, "-j", "-s", "link", "show", "lo"], capture_output=True, check=True)
    return int(json.loads(said.stdout)[0]["stats64"]["tx"]["packets"])


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def steady(process: subprocess.Popen[str], warm_up: float, seconds: float) -> Run:
    """Watch a running prober. `ip netns exec` replaces itself, so its process is the prober's."""
    time.sleep(warm_up)
    before = (cpu_ns(process.pid), packets(), time.monotonic())
    time.sleep(seconds)
    after = (cpu_ns(process.pid), packets(), time.monotonic())
    if process.poll() is not None:
        sys.exit(f"the prober ended early: {process.args!r}")
    probes = (after[1] - before[1]) / 2
    if not probes:
        sys.exit(f"the prober sent nothing: {process.args!r}")
    return Run((after[0] - before[0]) / 1e3 / probes, probes / (after[2] - before[2]), resident_mb(process.pid))


def ours(targets: Path, warm_up: float, seconds: float, tick_ms: str) -> Run:
    words = inside(sys.executable, "-c", ENGINE, str(targets), tick_ms)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            run = steady(process, warm_up, seconds)
            output, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    received, errors = map(int, output.split())
    # A prober that does not do its work is cheap: only a complete run counts.
    if errors or received < 0.98 * run.rate * (warm_up + seconds - 2):
        sys.exit(f"not a valid run: {received} replies at {run.rate:.0f} probes/s, {errors} errors of the engine")
    return run


def fping(targets: Path, warm_up: float, seconds: float, options: list[str]) -> Run:
    words = inside("fping", "-q", "-l", "-p", "1000", *options, "-f", str(targets))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            return steady(process, warm_up, seconds)
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20, help="steady state measured (two reports of the engine)")
    parser.add_argument("--warm-up", type=float, default=4)
    parser.add_argument("--fping", default=None, metavar="OPTIONS", help="default: '-i 1' for 1,000 targets")
    parser.add_argument("--tick", default="", metavar="MS", help="tick of the engine (default: its own)")
    arguments = parser.parse_args()
    if os.geteuid() or shutil.which("fping") is None:
        sys.exit("needs root and fping (hint: apt-get install fping)")
    options = (arguments.fping or f"-i {1000 / arguments.targets:g}").split()
    version = subprocess.run(["fping", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; Python", end=" ")
    print(f"{platform.python_version()}; peer: fping {version} {' '.join(options)}; {arguments.targets} targets x 1/s")
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
        with tempfile.NamedTemporaryFile("w", suffix=".targets") as file:
            file.writelines(f"127.0.{1 + n // 250}.{1 + n % 250}\n" for n in range(arguments.targets))
            file.flush()
            compare(Path(file.name), arguments, options)
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


def compare(targets: Path, arguments: argparse.Namespace, options: list[str]) -> None:
    pairs = []
    for number in range(arguments.pairs):
        if number % 2:
            us = ours(targets, arguments.warm_up, arguments.seconds, arguments.tick)
            peer = fping(targets, arguments.warm_up, arguments.seconds, options)
        else:
            peer = fping(targets, arguments.warm_up, arguments.seconds, options)
            us = ours(targets, arguments.warm_up, arguments.seconds, arguments.tick)
        pairs.append((us, peer))
        print(
            f"pair {number + 1}: linkwitness {us.cpu_us:5.1f} us/probe at {us.rate:6.0f}/s, {us.resident:.0f} MB; "
            f"fping {peer.cpu_us:5.1f} us/probe at {peer.rate:6.0f}/s, {peer.resident:.0f} MB"
        )
    ratio = statistics.median(us.cpu_us / peer.cpu_us for us, peer in pairs)
    print(f"ratio linkwitness / fping, median of {len(pairs)} pairs: CPU per probe {ratio:.2f}")


if __name__ == "__main__":
    main()
