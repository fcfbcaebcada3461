"""TCP throughput and its CPU bill, linkwitness beside iperf3: `python -m benchmarks.throughput`. Needs iperf3.

Loopback, one stream, one direction, both ends as processes of their own. Pairs run one after the other in alternating
order, so that what else the machine does falls on both; the figure is the median of the ratios of the pairs.
Rate: what the receiver counted. CPU: user and system time of both processes, their start included, per GB received.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

RESPONDER = """
import signal, threading
from probes.core.clock import SystemClock
from probes.reflect.responder import Responder
over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
responder = Responder("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=SystemClock())
responder.start()
print(responder.port, flush=True)
over.wait(120)
responder.close()
"""
PROBE = """
import json, sys
from probes.core.catalog import FlowTarget
from probes.core.clock import SECOND, SystemClock
from probes.throughput import PROBE
port, seconds = int(sys.argv[1]), int(sys.argv[2])
target = FlowTarget("bench", "throughput", "localhost", "127.0.0.1")
sample = PROBE.measure(target, {"port": port, "duration": seconds * SECOND, "direction": "forward"}, SystemClock())
assert sample.rate is not None, sample.reason
print(json.dumps([sample.rate.forward_bps, sample.rate.forward_bytes]))
"""


@dataclass(frozen=True)
class Run:
    """bps: receiver's rate; cpu_per_gb: core-seconds of both ends for 10^9 octets."""

    bps: float
    cpu_per_gb: float


def cpu_of(process: subprocess.Popen[str]) -> float:
    """User and system seconds of an ended child."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def output(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with process.stdout:
        return process.stdout.read()


def ours(seconds: int) -> Run:
    server = start(sys.executable, "-c", RESPONDER)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    client = start(sys.executable, "-c", PROBE, port, str(seconds))
    bps, octets = json.loads(output(client))
    spent = cpu_of(client)
    server.send_signal(signal.SIGTERM)
    output(server)
    spent += cpu_of(server)
    # The CPU was spent on the omitted beginning as well: scale to the whole run.
    return Run(bps, spent / (bps / 8 * seconds / 1e9) if octets else float("nan"))


def iperf3(seconds: int, options: list[str]) -> Run:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    server = start("iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", port, "--forceflush")
    assert server.stdout is not None
    while "listening" not in server.stdout.readline():
        pass
    client = start("iperf3", "-c", "127.0.0.1", "-p", port, "-t", str(seconds), "-J", *options)
    received = json.loads(output(client))["end"]["sum_received"]
    spent = cpu_of(client)
    output(server)
    spent += cpu_of(server)
    return Run(received["bits_per_second"], spent / (received["bytes"] / 1e9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--iperf3", default="", metavar="OPTIONS", help="further options of iperf3, such as '-l 1M'")
    arguments = parser.parse_args()
    if shutil.which("iperf3") is None:
        sys.exit("iperf3 is not installed (hint: apt-get install iperf3)")
    version = subprocess.run(["iperf3", "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; peer: {version}")
    pairs = []
    for number in range(arguments.pairs):
        peer_options = arguments.iperf3.split()
        if number % 2:
            us = ours(arguments.seconds)
            peer = iperf3(arguments.seconds, peer_options)
        else:
            peer = iperf3(arguments.seconds, peer_options)
            us = ours(arguments.seconds)
        pairs.append((us, peer))
        print(
            f"pair {number + 1}: linkwitness {us.bps / 1e9:6.2f} Gbit/s {us.cpu_per_gb:.3f} s/GB, "
            f"iperf3 {peer.bps / 1e9:6.2f} Gbit/s {peer.cpu_per_gb:.3f} s/GB"
        )
    rate = statistics.median(us.bps / peer.bps for us, peer in pairs)
    cpu = statistics.median(us.cpu_per_gb / peer.cpu_per_gb for us, peer in pairs)
    print(f"ratio linkwitness / iperf3, median of {len(pairs)} pairs: rate {rate:.2f}, CPU per GB {cpu:.2f}")


if __name__ == "__main__":
    main()
