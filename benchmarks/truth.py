"""How true a round trip is, linkwitness and fping against a packet tap: `python -m benchmarks.truth`. Root and fping.

1,000 ICMP streams, a packet a second each, over a veth pair between namespaces. A packet tap on the same interface, in
a process of its own, has kernel stamps of the same packets (AF_PACKET, as tcpdump has them). Each round trip that is
reported is compared with the tap's of the same packet: ours matched by stream and sequence in the payload, fping's by
address and number. Three times: idle; beside 16 processes that only burn CPU; the same with the prober at nice 19. What
is called lost although its reply was on the wire in time, and intervals called an outage although they had replies, are
counted from the tap. The far side answers in the kernel of the same host.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.tap import ROOT, addresses, tapped, veth_pair
from probes.core.model import PacketState

HOGS = 16
TIMEOUT_NS = 3 * 10**9

ENGINE = """
import json, sys
from pathlib import Path
import numpy as np
from probes.core.clock import SECOND, SystemClock
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec
told = json.loads(sys.argv[1])
samples, packets = [], []
engine = Engine(clock=SystemClock(), report=samples.extend, span_ns=5 * SECOND)
hand_over = engine.reporter.hand_over_batch
def overheard(batch):
    own = batch.packets
    packets.append(np.stack((batch.closing.stream[own.stream], own.sequence, own.rtt_ns, own.state, own.sent_ns)))
    hand_over(batch)
engine.reporter.hand_over_batch = overheard
engine.start()
refused = engine.add([
    StreamSpec(circuit=address, probe="icmp", kind="icmp", address=address, host=address)
    for address in told["addresses"]
])
assert not refused, refused
print("ready", flush=True)
sys.stdin.read()
engine.close(4.0)
np.save(told["file"], np.concatenate(packets, axis=1))
print(json.dumps([(s.circuit, s.start_ns, s.span_ns) for s in samples if s.state == "no_reply"]), flush=True)
print(sum(s.state == "impaired" for s in samples), len(samples), flush=True)
"""


@dataclass(frozen=True)
class Compared:
    """Differences, reported minus tapped, in us; what was wrongly called lost; wrongly called an outage."""

    difference_us: np.ndarray
    sent: int
    falsely_lost: int
    false_outages: int
    remark: str = ""

    def __str__(self) -> str:
        if not len(self.difference_us):
            return f"nothing to compare: {self.sent} packets{self.remark}"
        p50 = np.median(self.difference_us)
        p99 = np.percentile(np.abs(self.difference_us), 99)
        low, high = np.percentile(self.difference_us, [0.1, 99.9])
        return (
            f"median {p50:+7.1f} us, 99 % within {p99:7.1f} us (0.1 to 99.9 %: {low:+.1f} to {high:+.1f}), "
            f"{len(self.difference_us)} of {self.sent} packets compared, {self.falsely_lost} falsely lost, "
            f"{self.false_outages} false outages{self.remark}"
        )


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """Processes that burn CPU at the priority of this one."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def tapped_trips(rows: np.ndarray, request: np.ndarray, reply: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys and round trips of the first reply to each request; `request` and `reply` are keys of all rows."""
    asked = rows["outgoing"] & (rows["kind"] == 8)
    answered = ~rows["outgoing"] & (rows["kind"] == 0)
    keys, first = np.unique(request[asked], return_index=True)
    answers, earliest = np.unique(reply[answered], return_index=True)
    both, at, other = np.intersect1d(keys, answers, assume_unique=True, return_indices=True)
    return both, rows["at_ns"][answered][earliest[other]] - rows["at_ns"][asked][first[at]]


def ours(enter: list[str], folder: Path, targets: list[str], seconds: float, nice: int, load: int) -> Compared:
    told = {"addresses": targets, "file": str(folder / "ours.npy")}
    words = [*enter, "nice", "-n", str(nice), sys.executable, "-c", ENGINE, json.dumps(told)]
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with tapped(enter, "n0", folder / "tap.npy"), subprocess.Popen(words, text=True, cwd=ROOT, **pipes) as engine:
        try:
            assert engine.stdout is not None
            if engine.stdout.readline() != "ready\n":
                raise SystemExit("the engine did not start")
            with hogs(load):
                time.sleep(seconds)
            output, _ = engine.communicate(timeout=120)
        finally:
            engine.kill()
    outages, remark = output.splitlines()
    impaired, samples = remark.split()
    stream, sequence, rtt_ns, state, _ = np.load(folder / "ours.npy")
    rows = np.load(folder / "tap.npy")
    rows = rows[rows["ours"]]
    key = rows["stream"] << 32 | rows["sequence"]
    keys, true_ns = tapped_trips(rows, key, key)
    reported = stream << 32 | sequence
    _, at, place = np.intersect1d(reported, keys, assume_unique=True, return_indices=True)
    answered = state[at] == PacketState.ANSWERED
    lost = (state[at] == PacketState.LOST) & (true_ns[place] < TIMEOUT_NS)
    replies = rows[~rows["outgoing"] & (rows["kind"] == 0)]
    false_outages = 0
    for circuit, start_ns, span_ns in json.loads(outages):
        peer = int.from_bytes(bytes(map(int, circuit.split("."))), "big")
        within = (replies["at_ns"] >= start_ns) & (replies["at_ns"] < start_ns + span_ns)
        false_outages += bool((within & (replies["peer"] == peer)).any())
    difference = (rtt_ns[at] - true_ns[place])[answered] / 1e3
    remark = f", {impaired} of {samples} samples impaired"
    return Compared(difference, int((state != PacketState.NOT_SENT).sum()), int(lost.sum()), false_outages, remark)


def fping(enter: list[str], folder: Path, targets: list[str], seconds: float, nice: int, load: int) -> Compared:
    """It numbers the packets of a target from 0, and prints ms with as many digits as make three."""
    count = str(max(2, int(seconds)))
    words = [
        *enter,
        "nice",
        "-n",
        str(nice),
        "fping",
        "-q",
        "-C",
        count,
        "-p",
        "1000",
        "-i",
        "1",
        "-t",
        "3000",
        "-f",
        "-",
    ]
    patience = 4 * seconds + 20
    with (
        tapped(enter, "n0", folder / "tap.npy"),
        subprocess.Popen(words, text=True, **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)) as prober,
    ):
        try:
            with hogs(load):
                _, said = prober.communicate("\n".join(targets), timeout=patience)
        except subprocess.TimeoutExpired:
            return Compared(np.zeros(0), 0, 0, 0, f", not done after {patience:g} s")
        finally:
            prober.kill()
    rows = np.load(folder / "tap.npy")
    rows = rows[~rows["ours"]]
    rows = rows[np.argsort(rows["at_ns"], kind="stable")]
    asked = np.flatnonzero(rows["outgoing"] & (rows["kind"] == 8))
    order = asked[np.argsort(rows["peer"][asked], kind="stable")]
    starts = np.flatnonzero(np.diff(rows["peer"][order].astype(np.int64), prepend=-1))
    ordinal = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    packet = rows["identifier"].astype(np.int64) << 16 | rows["number"]
    wire = rows["peer"].astype(np.int64) << 32 | packet
    keys, true_ns = tapped_trips(rows, wire, wire)
    truth = dict(zip(keys.tolist(), true_ns.tolist(), strict=True))
    number = {(int(rows["peer"][at]), int(n)): int(wire[at]) for at, n in zip(order, ordinal, strict=True)}
    difference, sent, lost = [], 0, 0
    for line in said.splitlines():
        if (match := re.fullmatch(r"([\d.]+)\s+: (.*)", line)) is None:
            continue
        peer = int.from_bytes(bytes(map(int, match[1].split("."))), "big")
        for place, word in enumerate(match[2].split()):
            true = truth.get(number.get((peer, place), -1))
            sent += 1
            if word == "-":
                lost += true is not None and true < TIMEOUT_NS
            elif true is not None:
                difference.append(float(word) * 1e3 - true / 1e3)
    return Compared(np.array(difference), sent, lost, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--hogs", type=int, default=HOGS)
    arguments = parser.parse_args()
    if os.geteuid() or shutil.which("fping") is None:
        sys.exit("needs root and fping (hint: apt-get install fping)")
    folder = Path(tempfile.mkdtemp(prefix="linkwitness-benchmark-", dir=".")).resolve()
    targets = addresses(arguments.targets)
    print(
        f"{arguments.targets} streams, 1/s each, {arguments.seconds:g} s; round trip reported minus round trip tapped"
    )
    try:
        with veth_pair(f"lw-truth-{os.getpid()}") as enter:
            for name, count, nice in (
                ("idle", 0, 0),
                (f"{arguments.hogs} hogs", arguments.hogs, 0),
                (f"{arguments.hogs} hogs, prober at nice 19", arguments.hogs, 19),
            ):
                for prober in (ours, fping):
                    found = prober(enter, folder, targets, arguments.seconds, nice, count)
                    print(f"{name}: {'linkwitness' if prober is ours else 'fping':<11} {found}", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
