"""What `benchmarks.reflector` runs inside its namespaces, each in a process of its own.

The reflector; the load, which sends to it or to irtt's server; the tap on an interface; and the asker that keeps the
four stamps of each packet.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import sys
import threading
import time
from contextlib import ExitStack

import numpy as np

from probes.core.clock import SystemClock
from probes.engine import control
from probes.engine.mmsg import DONT_WAIT, MessageRows, drain, sharpen_timers
from probes.engine.sockets import STAMPING, enlarge_receive_buffer
from probes.reflect.stamp import StampReflector
from probes.wire import ntp_time, stamp, stamp_tlv

NEAR_ADDRESS, FAR_ADDRESS = "10.79.0.1", "10.79.0.2"
PORT = 8862
IRTT_PORT = 2112
BATCH = 64
ETH_P_IP = 0x0800
IRTT_HOUR, IRTT_INTERVAL = 3_600_000_000_000, 1000


def reflect(rate: int) -> None:
    reflector = StampReflector(
        FAR_ADDRESS, PORT, allow=[f"{NEAR_ADDRESS}/32"], clock=SystemClock(), rate_per_source=rate
    )
    reflector.start()
    print("ready", flush=True)
    sys.stdin.read()
    reflector.close()
    print(json.dumps(dict(reflector.counters())), flush=True)


def load(protocol: str, rate: float, burst: int, senders: int, seconds: float) -> None:
    """Send for `seconds` bursts of `burst` packets, `rate` a second (0: as fast as the kernel takes them), each burst
    from the next of so many senders."""
    sharpen_timers()
    request = {"stamp": stamp_request, "irtt": irtt_request, "runt": lambda _: bytes(10)}[protocol]
    with ExitStack() as stack:
        sources = []
        for _ in range(senders):
            mine = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            enlarge_receive_buffer(mine)
            mine.connect((FAR_ADDRESS, PORT if protocol != "irtt" else IRTT_PORT))
            sources.append(Source(mine, request(mine), 12 if protocol == "irtt" else 0, burst))
        sent, answered = send(sources, burst, rate, seconds)
    print(json.dumps({"sent": sent, "answered": answered}), flush=True)


class Source:
    """A socket and a burst of a packet, whose number stands at `at`."""

    def __init__(self, mine: socket.socket, packet: bytes, at: int, burst: int) -> None:
        self.descriptor = mine.fileno()
        self.rows = MessageRows(burst, len(packet), 8)
        self.rows.data[:, : len(packet)] = np.frombuffer(packet, np.uint8)
        self.rows.vector_length[:] = len(packet)
        self.rows.name_pointer[:] = self.rows.name_length[:] = self.rows.control_length[:] = 0
        self.numbers = self.rows.data[:, at : at + 4].view("<u4" if at else ">u4")[:, 0]


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


def send(sources: list[Source], burst: int, rate: float, seconds: float) -> tuple[int, int]:
    replies = MessageRows(BATCH, 128, 8)
    sent = answered = 0
    start, tick = time.monotonic(), burst / rate if rate else 0.0
    due, drain_at, turns = start, start + 0.02, itertools.cycle(sources)
    while (now := time.monotonic()) < start + seconds:
        source = next(turns)
        source.numbers[:] = np.arange(sent, sent + burst)
        sent += max(0, source.rows.send(source.descriptor, 0, burst))
        if now >= drain_at:
            answered += drained(sources, replies)
            drain_at = now + 0.02
        due += tick
        if rate and (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
    for _ in range(10):
        time.sleep(0.05)
        answered += drained(sources, replies)
    return sent, answered


def drained(sources: list[Source], replies: MessageRows) -> int:
    total = 0
    for source in sources:
        for _ in range(1000):
            count = drain(replies, source.descriptor, DONT_WAIT)
            total += count
            if count < BATCH:
                break
    return total


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


def main() -> None:
    name, *words = sys.argv[1:] or ("nothing",)
    if name == "reflect":
        reflect(10**7)
    elif name == "load":
        load(words[0], float(words[1]), int(words[2]), int(words[3]), float(words[4]))
    elif name == "capture":
        capture(words[0], float(words[1]))
    elif name == "ask":
        ask(int(words[0]))


if __name__ == "__main__":
    main()
