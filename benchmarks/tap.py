"""A packet tap: what an interface really sent and received, stamped by the kernel, apart from the prober.

`python -m benchmarks.tap INTERFACE FILE` captures ICMP echo over IPv4 until standard input ends, then writes one row a
packet (dtype ROW) to FILE with numpy, and prints how many packets the kernel had to drop.
"""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from probes.engine.mmsg import MessageRows, drain
from probes.wire import payload

ROOT = Path(__file__).parents[1]
ROW = np.dtype(
    [("at_ns", "i8"), ("outgoing", "?"), ("kind", "u1"), ("peer", ">u4"), ("identifier", ">u2"), ("number", ">u2"),
     ("ours", "?"), ("stream", "i8"), ("sequence", "i8")]
)  # fmt: skip
"""at_ns: UTC, kernel stamp; kind: ICMP type; peer: the far address; number: ICMP sequence; stream and sequence: of our
payload, where it is ours"""
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_ETH_P_ALL = 3
"""packets that leave are shown to sockets for all protocols only"""
_OUTGOING = 4
_WIDTH = 64
"""octets kept, from the IP header on: 20 + 8 + payload.SIZE"""


def rows_of(held: MessageRows, n: int) -> np.ndarray:
    """The first n captured packets that are ICMP echo with a plain IP header."""
    data, found = held.data[:n], np.zeros(n, ROW)
    stamps = held.control[:n].view(np.int64)
    found["at_ns"] = stamps[:, 2] * 10**9 + stamps[:, 3]
    found["outgoing"] = held.names[:n, 10] == _OUTGOING
    found["kind"] = data[:, 20]
    source, destination = (np.ascontiguousarray(data[:, at : at + 4]).view(">u4")[:, 0] for at in (12, 16))
    found["peer"] = np.where(found["outgoing"], destination, source)
    for name, at in (("identifier", 24), ("number", 26)):
        found[name] = np.ascontiguousarray(data[:, at : at + 2]).view(">u2")[:, 0]
    decoded = payload.read(data[:, 28 : 28 + payload.SIZE], held.received(n) - 28)
    found["ours"], found["stream"], found["sequence"] = decoded.valid, decoded.stream, decoded.sequence
    return found[(data[:, 0] == 0x45) & (data[:, 9] == 1) & np.isin(found["kind"], (0, 8))]


def main() -> None:
    interface, file = sys.argv[1], Path(sys.argv[2])
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 32 << 20)
    tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    tap.bind((interface, _ETH_P_ALL))
    held, parts = MessageRows(512, _WIDTH, 64), []
    print("ready", flush=True)
    over = False
    while not over:
        over = bool(select.select([sys.stdin], [], [], 0.1)[0])
        while n := drain(held, tap.fileno(), 0):
            parts.append(rows_of(held, n))
    np.save(file, np.concatenate(parts) if parts else np.zeros(0, ROW))
    _, dropped = struct.unpack("II", tap.getsockopt(263, 6, 8))  # SOL_PACKET, PACKET_STATISTICS
    print(dropped, flush=True)


@contextmanager
def tapped(enter: Sequence[str], interface: str, file: Path) -> Iterator[None]:
    """Capture while the block runs; `file` is there afterwards. enter: words that enter the namespace."""
    words = [*enter, sys.executable, "-m", "benchmarks.tap", interface, str(file)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit("the packet tap did not start")
            yield
            output, _ = process.communicate(timeout=60)
            if int(output):
                raise SystemExit(f"no valid run: the packet tap missed {int(output)} packets")
        finally:
            process.kill()


@contextmanager
def veth_pair(stem: str) -> Iterator[list[str]]:
    """Namespaces joined by a veth pair, n0 in the near one; 10.78.0.0/16 answers on the far side. Words to enter."""
    near, far = f"{stem}-near", f"{stem}-far"
    made = []
    try:
        for name in (near, far):
            subprocess.run(["ip", "netns", "add", name], check=True)
            made.append(name)
        for words in (
            f"link add n0 netns {near} type veth peer name f0 netns {far}",
            f"-n {near} link set lo up", f"-n {far} link set lo up",
            f"-n {near} addr add 10.77.0.1/30 dev n0", f"-n {far} addr add 10.77.0.2/30 dev f0",
            f"-n {near} link set n0 up", f"-n {far} link set f0 up",
            f"-n {near} route add 10.78.0.0/16 via 10.77.0.2", f"-n {far} route add local 10.78.0.0/16 dev lo",
        ):  # fmt: skip
            subprocess.run(["ip", *words.split()], check=True)
        yield ["ip", "netns", "exec", near]
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=True)


def addresses(count: int) -> list[str]:
    """That many targets in 10.78.0.0/16."""
    return [f"10.78.{n // 250}.{1 + n % 250}" for n in range(count)]


if __name__ == "__main__":
    main()
