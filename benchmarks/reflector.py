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
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from probes.core.clock import SystemClock
from probes.engine import control
from probes.engine.mmsg import DONT_WAIT, MessageRows, drain, sharpen_timers
from probes.engine.sockets import STAMPING, enlarge_receive_buffer
from probes.reflect.stamp import StampReflector
from probes.wire import ntp_time, stamp, stamp_tlv

ROOT = Path(__file__).parents[1]
NEAR, FAR = f"lw-bench-{os.getpid()}-near", f"lw-bench-{os.getpid()}-far"
NEAR_ADDRESS, FAR_ADDRESS = "10.79.0.1", "10.79.0.2"
PORT = 8862
IRTT_PORT = 2112
BATCH = 64
PRIORITY = ["chrt", "--fifo", "10"]
"""Of servers and load alike: other work on the machine would gather packets into batches for them."""
WARM_UP_S = 1.0
ETH_P_IP = 0x0800
IRTT_HOUR, IRTT_INTERVAL = 3_600_000_000_000, 1000


@dataclass(frozen=True)
class Run:
    """cpu_us: of the server for a reply; replies: a second."""

    cpu_us: float
    replies: float
    sent: int
    answered: int


# The server and the load, each a process of its own inside a namespace.


def reflect(rate: int) -> None:
    reflector = StampReflector(
        FAR_ADDRESS, PORT, allow=[f"{NEAR_ADDRESS}/32"], clock=SystemClock(), rate_per_source=rate
    )
    reflector.start()
    print("ready", flush=True)
    sys.stdin.read()
    reflector.close()
    print(json.dumps(dict(reflector.counters())), flush=True)


def load(protocol: str, rate: float, burst: int, seconds: float) -> None:
    """Send for `seconds` bursts of `burst` packets, `rate` a second (0: as fast as the kernel takes them)."""
    sharpen_timers()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        enlarge_receive_buffer(mine)
        mine.connect((FAR_ADDRESS, PORT if protocol != "irtt" else IRTT_PORT))
        packet = {"stamp": stamp_request, "irtt": irtt_request, "runt": lambda _: bytes(10)}[protocol](mine)
        sent, answered = send(mine, packet, 12 if protocol == "irtt" else 0, rate, burst, seconds)
    print(json.dumps({"sent": sent, "answered": answered}), flush=True)


def stamp_request(_: socket.socket) -> bytes:
    out = np.zeros((1, stamp.UNAUTHENTICATED_SIZE), np.uint8)
    stamp.write_requests(
        out, sequence=np.zeros(1, np.int64), stamp=ntp_time.to_ntp(np.array([time.time_ns()])), error=0x0101, ssid=0,
        authenticated=False,
    )  # fmt: skip
    return out.tobytes()


def irtt_request(mine: socket.socket) -> bytes:
    """Open a test with irtt's server as its client does (version 1; duration, interval, length, all stamps)."""

    def number(tag: int, value: int) -> bytes:
        value, octets = value << 1, bytes([tag])
        while value > 127:
            octets, value = octets + bytes([value & 127 | 128]), value >> 7
        return octets + bytes([value])

    wishes = ((1, 1), (2, IRTT_HOUR), (3, IRTT_INTERVAL), (4, 60), (5, 3), (6, 3), (7, 3))
    mine.send(bytes.fromhex("14a75b01") + b"".join(number(*wish) for wish in wishes))
    mine.settimeout(5)
    reply = mine.recv(2000)
    assert reply[:4] == bytes.fromhex("14a75b03"), reply.hex()
    return (bytes.fromhex("14a75b00") + reply[4:12]).ljust(60, b"\0")


def send(mine: socket.socket, packet: bytes, at: int, rate: float, burst: int, seconds: float) -> tuple[int, int]:
    rows, replies = MessageRows(burst, len(packet), 8), MessageRows(BATCH, 128, 8)
    rows.data[:, : len(packet)] = np.frombuffer(packet, np.uint8)
    rows.vector_length[:] = len(packet)
    rows.name_pointer[:] = rows.name_length[:] = rows.control_length[:] = 0
    numbers = rows.data[:, at : at + 4].view("<u4" if at else ">u4")[:, 0]
    sent = answered = 0
    start, tick = time.monotonic(), burst / rate if rate else 0.0
    due, drain_at = start, start + 0.02
    while (now := time.monotonic()) < start + seconds:
        numbers[:] = np.arange(sent, sent + burst)
        sent += max(0, rows.send(mine.fileno(), 0, burst))
        if now >= drain_at:
            answered += drained(mine, replies)
            drain_at = now + 0.02
        due += tick
        if rate and (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
    for _ in range(10):
        time.sleep(0.05)
        answered += drained(mine, replies)
    return sent, answered


def drained(mine: socket.socket, replies: MessageRows) -> int:
    total = 0
    for _ in range(1000):
        count = drain(replies, mine.fileno(), DONT_WAIT)
        total += count
        if count < BATCH:
            break
    return total


# Truth: four stamps of each packet, and a capture on both interfaces.


def captured(interface: str, kept: dict[tuple[bool, int], int], until: threading.Event) -> None:
    """Time stamps of the packets on an interface, by whether they are replies and by the sender's sequence number."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        tap.bind((interface, 3))  # ETH_P_ALL: outgoing ones too
        enlarge_receive_buffer(tap)
        tap.setblocking(False)
        while not until.is_set():
            try:
                data, ancillary, _, _ = tap.recvmsg(2048, 256)
            except BlockingIOError:
                time.sleep(0.1)  # nobody waits on the tap: to wake a reader would be part of every packet's way
                continue
            if len(data) < 72 or data[9] != 17:
                continue
            at, reply = (28 + 24, True) if struct.unpack_from(">H", data, 20)[0] == PORT else (28, False)
            seconds, rest = struct.unpack("=qq", ancillary[0][2])
            kept[reply, struct.unpack_from(">I", data, at)[0]] = seconds * 10**9 + rest


def capture(interface: str, seconds: float) -> None:
    kept: dict[tuple[bool, int], int] = {}
    until = threading.Event()
    thread = threading.Thread(target=captured, args=(interface, kept, until))
    thread.start()
    print("ready", flush=True)
    time.sleep(seconds)
    until.set()
    thread.join()
    print(json.dumps([[*key, at] for key, at in kept.items()]), flush=True)


def ask(count: int) -> None:
    """One request a millisecond with Follow-Up Telemetry; T1 to T4 of each, by sequence number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.setsockopt(socket.SOL_SOCKET, control.SO_TIMESTAMPING, STAMPING)
        mine.connect((FAR_ADDRESS, PORT))
        mine.settimeout(1)
        mine.send(stamp_request(mine))  # opens the session and wakes the kernel's stamping
        mine.recv(2048)
        mine.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
        extension = bytes((0x80, stamp_tlv.FOLLOW_UP, 0, 16)) + bytes(16)
        found, numbers = {}, {}
        due = time.monotonic()
        for number in range(1, count + 1):
            mine.send(number.to_bytes(4, "big") + stamp_request(mine)[4:] + extension)
            data, ancillary, _, _ = mine.recvmsg(2048, 512)
            left = mine.recvmsg(2048, 512, socket.MSG_ERRQUEUE)[1]
            reply = np.frombuffer(data, np.uint8).reshape(1, -1)
            fields = stamp.read_replies(reply, np.array([len(data)]), authenticated=False)
            told = stamp_tlv.read_follow_ups(reply, stamp_tlv.read(reply, np.array([len(data)]), 44))
            near = time.time_ns()
            numbers[int(fields.sequence[0])] = number
            t2, t3 = (int(ntp_time.from_ntp(words, near)[0]) for words in (fields.received, fields.stamp))
            found[number] = [kernel_stamp(left), t2, t3, kernel_stamp(ancillary), None]
            if told.method[0]:
                earlier = numbers.get(int(told.sequence[0]))
                if earlier:
                    found[earlier][4] = int(ntp_time.from_ntp(told.stamp, near)[0])
            due += 0.001
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
    print(json.dumps(found), flush=True)


def kernel_stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    data = next(data for level, kind, data in ancillary if (level, kind) == (1, control.SO_TIMESTAMPING))
    seconds, rest = struct.unpack_from("=qq", data)
    return int(seconds * 10**9 + rest)


# The comparison.


def inside(namespace: str, *words: str, core: int | None = None, urgent: bool = True) -> list[str]:
    pinned = ["taskset", "-c", str(core % (os.cpu_count() or 1))] if core is not None else []
    pinned += PRIORITY if pinned and urgent else []
    return ["ip", "netns", "exec", namespace, *pinned, *words]


def part(namespace: str, *words: object, core: int | None = None, urgent: bool = True) -> subprocess.Popen[str]:
    """A part of this file in a process of its own."""
    words = (sys.executable, "-m", "benchmarks.reflector", *words)
    command = inside(namespace, *map(str, words), core=core, urgent=urgent)
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def server(stack: ExitStack, name: str) -> subprocess.Popen[str]:
    if name == "irtt":
        words = inside(FAR, "irtt", "server", "-b", f"{FAR_ADDRESS}:{IRTT_PORT}", "-i", "0", core=0)
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, text=True)
        time.sleep(0.7)
    else:
        process = part(FAR, "--part", "reflect", core=0)
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


def measured(name: str, rate: float, burst: int, seconds: float) -> Run:
    with ExitStack() as stack:
        process = server(stack, name)
        sender = part(NEAR, "--part", "load", name, rate, burst, seconds + WARM_UP_S + 0.5, core=1, urgent=rate > 0)
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


def beside(rate: int, burst: int, pairs: int, seconds: float) -> None:
    kept = []
    for number in range(pairs):
        names = ("stamp", "irtt") if number % 2 else ("irtt", "stamp")
        runs = {name: measured(name, rate, burst, seconds) for name in names}
        kept.append((runs["stamp"], runs["irtt"]))
    ours, peers = [run.cpu_us for run, _ in kept], [run.cpu_us for _, run in kept]
    ratio = statistics.median(run.cpu_us / peer.cpu_us for run, peer in kept)
    print(
        f"{rate:>6} packets/s in bursts of {burst:>2}: linkwitness {statistics.median(ours):5.1f} us/packet "
        f"({min(ours):.1f} to {max(ours):.1f}), irtt server {statistics.median(peers):5.1f} ({min(peers):.1f} to "
        f"{max(peers):.1f}), ratio {ratio:.2f} (median of {pairs} pairs); {loaded()}"
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
            tap = part(namespace, "--part", "capture", interface, 3 + count * 0.0025)
            stack.callback(tap.wait)
            stack.callback(tap.kill)
            assert tap.stdout is not None
            assert tap.stdout.readline() == "ready\n"
            taps.append(tap)
        asker = part(NEAR, "--part", "ask", count, core=1)
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
        runts = part(NEAR, "--part", "load", "runt", 200_000, 50, seconds + 2)
        time.sleep(0.7)
        legitimate = part(NEAR, "--part", "load", "stamp", 1000, 1, seconds)
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
        for rate, burst in ((1000, 1), (10_000, 1), (10_000, 10)):
            beside(rate, burst, arguments.pairs, arguments.seconds)
        saturated(arguments.seconds)
        truth(arguments.truth)
        flooded(arguments.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--truth", type=int, default=2000, metavar="PACKETS")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        name, *words = arguments.part
        if name == "reflect":
            reflect(10**7)
        elif name == "load":
            load(words[0], float(words[1]), int(words[2]), float(words[3]))
        elif name == "capture":
            capture(words[0], float(words[1]))
        else:
            ask(int(words[0]))
        return
    if os.geteuid() or shutil.which("irtt") is None:
        sys.exit("needs root and irtt (hint: apt-get install irtt)")
    compared(arguments)


if __name__ == "__main__":
    main()
