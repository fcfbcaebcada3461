"""The STAMP reflector beside irtt's server: `python -m benchmarks.reflector`. Needs root, iproute2 and irtt (Debian).

Two network namespaces and a veth pair; the reflector in one, the load in the other, each on a core of its own. The same
batched generator sends to both servers: to ours STAMP packets, to irtt's server packets of its own protocol, after the
handshake its client makes. Measured from outside, the same way for both: CPU of all threads of the server from
/proc/PID/task/*/schedstat, replies from the packet counter of its interface. Pairs run in alternating order; ratios are
medians over pairs. A virtual machine's absolute figures drift; the load average is printed with them.

Then: how fast on one core and how fast without a loss; T2 and the Follow-Up Telemetry against a packet capture of the
same packets (packet sockets on both interfaces, kernel stamps); requests answered while runts flood the port.
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
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reflector_parts import BATCH, FAR_ADDRESS, IRTT_PORT, NEAR_ADDRESS

ROOT = Path(__file__).parents[1]
NEAR, FAR = f"lw-bench-{os.getpid()}-near", f"lw-bench-{os.getpid()}-far"
PRIORITY = ["chrt", "--fifo", "10"]
"""Of servers and load alike: other work on the machine would gather packets into batches for them."""
WARM_UP_S = 1.0


@dataclass(frozen=True)
class Run:
    """cpu_us: of the server for a reply; replies: a second."""

    cpu_us: float
    replies: float
    sent: int
    answered: int


def inside(namespace: str, *words: str, core: int | None = None, urgent: bool = True) -> list[str]:
    pinned = ["taskset", "-c", str(core % (os.cpu_count() or 1))] if core is not None else []
    pinned += PRIORITY if pinned and urgent else []
    return ["ip", "netns", "exec", namespace, *pinned, *words]


def part(namespace: str, *words: object, core: int | None = None, urgent: bool = True) -> subprocess.Popen[str]:
    """One of benchmarks.reflector_parts."""
    words = (sys.executable, "-m", "benchmarks.reflector_parts", *words)
    command = inside(namespace, *map(str, words), core=core, urgent=urgent)
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def server(stack: ExitStack, name: str) -> subprocess.Popen[str]:
    if name == "irtt":
        words = inside(FAR, "irtt", "server", "-b", f"{FAR_ADDRESS}:{IRTT_PORT}", "-i", "0", core=0)
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, text=True)
        time.sleep(0.7)
    else:
        process = part(FAR, "reflect", core=0)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def cpu_ns(pid: int) -> int:
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def replies_sent() -> int:
    said = subprocess.run(["ip", "-n", FAR, "-j", "-s", "link", "show", "f0"], capture_output=True, check=True)
    return int(json.loads(said.stdout)[0]["stats64"]["tx"]["packets"])


def measured(name: str, rate: float, burst: int, seconds: float, senders: int = 1) -> Run:
    with ExitStack() as stack:
        process = server(stack, name)
        whole = seconds + WARM_UP_S + 0.5
        sender = part(NEAR, "load", name, rate, burst, senders, whole, core=1, urgent=rate > 0)
        stack.callback(sender.wait)
        stack.callback(sender.kill)
        time.sleep(WARM_UP_S + 0.5)  # the interpreter of the load starts meanwhile
        before = (cpu_ns(process.pid), replies_sent(), time.monotonic())
        time.sleep(seconds)
        after = (cpu_ns(process.pid), replies_sent(), time.monotonic())
        said = json.loads(sender.communicate(timeout=30)[0])
    replies = after[1] - before[1]
    if not replies:
        sys.exit(f"{name} answered nothing")
    cpu_us = (after[0] - before[0]) / 1e3 / replies
    return Run(cpu_us, replies / (after[2] - before[2]), said["sent"], said["answered"])


def beside(rate: int, burst: int, senders: int, pairs: int, seconds: float) -> None:
    kept = []
    for number in range(pairs):
        names = ("stamp", "irtt") if number % 2 else ("irtt", "stamp")
        runs = {name: measured(name, rate, burst, seconds, senders) for name in names}
        kept.append((runs["stamp"], runs["irtt"]))
    ours, peers = [run.cpu_us for run, _ in kept], [run.cpu_us for _, run in kept]
    ratio = statistics.median(run.cpu_us / peer.cpu_us for run, peer in kept)
    print(
        f"{rate:>6} packets/s in bursts of {burst:>2}, senders: {senders}: "
        f"linkwitness {statistics.median(ours):5.1f} us/packet ({min(ours):.1f} to {max(ours):.1f}), "
        f"irtt server {statistics.median(peers):5.1f} ({min(peers):.1f} to {max(peers):.1f}), "
        f"ratio {ratio:.2f} (median of {pairs} pairs); {loaded()}"
    )
    lost = sum(run.sent - run.answered for run, _ in kept)
    print(f"       not answered: linkwitness {lost}, irtt {sum(run.sent - run.answered for _, run in kept)}")


def loaded() -> str:
    return f"load average {os.getloadavg()[0]:.1f}"


def saturated(seconds: float) -> None:
    runs = [measured("stamp", 0, BATCH, seconds) for _ in range(3)]
    fastest = statistics.median(run.replies for run in runs)
    cost = statistics.median(run.cpu_us for run in runs)
    print(
        f"saturated: {fastest:.0f} replies/s, {cost:.2f} us of CPU each, so {1e6 / cost:.0f}/s on a core of its own; "
        f"{loaded()}"
    )
    run = measured("stamp", 20_000, 20, seconds)
    print(f"20,000 packets/s: {run.sent} sent, {run.sent - run.answered} not answered, {run.cpu_us:.1f} us; {loaded()}")


def truth(count: int) -> None:
    with ExitStack() as stack:
        server(stack, "stamp")
        taps = []
        for namespace, interface in ((NEAR, "n0"), (FAR, "f0")):
            tap = part(namespace, "capture", interface, 3 + count * 0.0025)
            stack.callback(tap.wait)
            stack.callback(tap.kill)
            assert tap.stdout is not None
            assert tap.stdout.readline() == "ready\n"
            taps.append(tap)
        asker = part(NEAR, "ask", count, core=1)
        ours = {int(key): value for key, value in json.loads(asker.communicate(timeout=60)[0]).items()}
        near, far = ({(bool(r), n): at for r, n, at in json.loads(tap.communicate(timeout=60)[0])} for tap in taps)
    whole = [
        (stamps, near[False, n], far[False, n], far[True, n], near[True, n])
        for n, stamps in ours.items()
        if stamps[4] is not None and {(False, n), (True, n)} <= near.keys() & far.keys()
    ]
    arrival = [(t2 - c2) / 1e3 for (_, t2, _, _, _), _, c2, _, _ in whole]
    leaving = [(left - c3) / 1e3 for (_, _, _, _, left), _, _, c3, _ in whole]
    forward = [((t2 - t1) - (c2 - c1)) / 1e3 for (t1, t2, _, _, _), c1, c2, _, _ in whole]
    user = [((t4 - t3) - (c4 - c3)) / 1e3 for (_, _, t3, t4, _), _, _, c3, c4 in whole]
    told = [((t4 - left) - (c4 - c3)) / 1e3 for (_, _, _, t4, left), _, _, c3, c4 in whole]
    print(f"against the capture, {len(whole)} of {count} packets at 1,000/s, us: {loaded()}")
    for name, values in (
        ("T2, arrival", arrival), ("follow-up, leaving", leaving), ("forward T2-T1", forward), ("backward T4-T3", user),
        ("backward, follow-up", told),
    ):  # fmt: skip
        ordered = sorted(values)
        low, high = ordered[len(ordered) // 100], ordered[-1 - len(ordered) // 100]
        print(f"  {name:<20} median {statistics.median(values):+6.2f}, p1 {low:+.2f}, p99 {high:+.2f}")


def flooded(seconds: float) -> None:
    with ExitStack() as stack:
        server(stack, "stamp")
        runts = part(NEAR, "load", "runt", 200_000, 50, 1, seconds + 2)
        time.sleep(0.7)
        legitimate = part(NEAR, "load", "stamp", 1000, 1, 1, seconds)
        said = json.loads(legitimate.communicate(timeout=60)[0])
        flood = json.loads(runts.communicate(timeout=60)[0])
    print(
        f"under {flood['sent'] / (seconds + 2):.0f} runts/s: {said['sent']} requests, "
        f"{said['sent'] - said['answered']} not answered; {loaded()}"
    )


def compared(arguments: argparse.Namespace) -> None:
    words = subprocess.run(["irtt", "version"], capture_output=True, text=True, check=True).stdout.split()
    print(f"machine: {os.cpu_count()} cores, Linux {platform.release()}; Python {platform.python_version()}", end="; ")
    print(f"peer: irtt {words[2] if len(words) > 2 else ''}")
    sys.stdout.flush()
    with ExitStack() as stack:
        for namespace in (NEAR, FAR):
            subprocess.run(["ip", "netns", "add", namespace], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "del", namespace], check=True)
        link = f"ip link add n0 netns {NEAR} type veth peer name f0 netns {FAR}"
        subprocess.run(link.split(), check=True)
        for namespace, interface, address in ((NEAR, "n0", NEAR_ADDRESS), (FAR, "f0", FAR_ADDRESS)):
            for words_ in (f"addr add {address}/24 dev {interface}", f"link set {interface} up", "link set lo up"):
                subprocess.run(["ip", "-n", namespace, *words_.split()], check=True)
        for rate, burst, senders in ((1000, 1, 1), (10_000, 1, 1), (10_000, 10, 1), (10_000, 10, 8)):
            beside(rate, burst, senders, arguments.pairs, arguments.seconds)
        saturated(arguments.seconds)
        truth(arguments.truth)
        flooded(arguments.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--truth", type=int, default=2000, metavar="PACKETS")
    arguments = parser.parse_args()
    if os.geteuid() or shutil.which("irtt") is None:
        sys.exit("needs root and irtt (hint: apt-get install irtt)")
    compared(arguments)


if __name__ == "__main__":
    main()
