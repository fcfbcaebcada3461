"""Link emulator: a bridge in user space between two interfaces, in a namespace of its own. Run by tests.lab.namespaces.

`python -m tests.lab.emulator --near IF --far IF --log FILE [--seed N] [--spin-us 150]`. Commands come as JSON lines on
standard input, one answer line each on standard output; the end of standard input is the order to stop. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import heapq
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.lab.impairment import CORRUPTED, EXEMPT, Direction, Impairment, Reason, Release
from tests.lab.record import HEAD, LAYOUT, MAGIC, Action, Way

# linux/if_packet.h, asm-generic/socket.h, linux/prctl.h: absent from Python's socket module
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_QDISC_BYPASS = 20
PACKET_IGNORE_OUTGOING = 23
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
ETH_P_ALL = 0x0003
PR_SET_TIMERSLACK = 29

TIMESPEC = struct.Struct("qq")
LONGEST_FRAME = 65_600
FRAMES_A_TURN = 64
LOG_BUFFER = 1 << 18
SECOND = 1_000_000_000
NEIGHBOUR_TYPES = range(130, 138)  # ICMPv6: MLD 130-132, neighbour discovery 133-137
MLD2_REPORT = 143


def is_housekeeping(frame: bytes) -> bool:
    """ARP, neighbour discovery, multicast membership, and whatever is not IP."""
    ether = frame[12:14]
    if ether == b"\x08\x00":
        return frame[23] == 2  # IGMP
    if ether != b"\x86\xdd" or len(frame) < 55:
        return True
    following, kind = frame[20], frame[54]
    if following == 0:  # hop-by-hop options with router alert: MLD
        return True
    return following == 58 and (kind in NEIGHBOUR_TYPES or kind == MLD2_REPORT)


def corrupted(frame: bytes) -> bytes:
    """With the lowest bit of the last octet flipped."""
    return frame[:-1] + bytes((frame[-1] ^ 1,))


def open_interface(name: str) -> socket.socket:
    """A packet socket that sees every frame that comes in by the interface, stamped by the kernel."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with contextlib.suppress(PermissionError):
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    link.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    link.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    link.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    link.setblocking(False)
    link.bind((name, ETH_P_ALL))
    return link


class Emulator:
    """Reads frames, holds them as their fate says, sends them, and logs what it did."""

    def __init__(self, near: str, far: str, log: Path, *, seed: str, spin_ns: int) -> None:
        self.links = (open_interface(near), open_interface(far))  # indexed by the Way a frame comes from
        self.directions = (Direction(f"{seed}/forward"), Direction(f"{seed}/backward"))
        self.spin_ns = spin_ns
        self.held: list[tuple[int, int, int, Release, bytes, int, int]] = []
        self.number = 0
        self.order = 0
        self.frames = [0, 0]
        self.overflowed = [0, 0]
        self.running = True
        self.buffer = bytearray(MAGIC)
        self.log = log.open("wb", buffering=0)
        self.command = b""

    def run(self) -> None:
        """Until told to stop."""
        sources = [*self.links, sys.stdin]
        while self.running:
            now = self.send_due()
            timeout = None
            if self.held:
                timeout = max(0, self.held[0][0] - now - self.spin_ns) / SECOND
            ready, _, _ = select.select(sources, [], [], timeout)
            for way, link in enumerate(self.links):
                if link in ready:
                    self.read(link, way)
            if sys.stdin in ready:
                self.read_commands()
            if len(self.buffer) > LOG_BUFFER:
                self.flush()

    def read(self, link: socket.socket, way: int) -> None:
        for _ in range(FRAMES_A_TURN):
            try:
                frame, ancillary, _, _ = link.recvmsg(LONGEST_FRAME, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # ENETDOWN once, after the interface went down
                continue
            arrival = time.time_ns()
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, rest = TIMESPEC.unpack(data)
                    arrival = seconds * SECOND + rest
            self.accept(frame, arrival, way)

    def accept(self, frame: bytes, arrival: int, way: int) -> None:
        number, self.number = self.number, self.number + 1
        self.frames[way] += 1
        if is_housekeeping(frame):
            self.hold(Release(arrival, EXEMPT, 0), frame, number, arrival, way)
            return
        fate = self.directions[way].decide(arrival, len(frame))
        if fate.reason:
            self.record(number, arrival, 0, 0, 0, frame, way, Action.DROPPED, fate.reason, 0)
        for release in fate.releases:
            self.hold(release, frame, number, arrival, way)

    def hold(self, release: Release, frame: bytes, number: int, arrival: int, way: int) -> None:
        self.order += 1
        heapq.heappush(self.held, (release.due_ns, self.order, number, release, frame, arrival, way))

    def send_due(self) -> int:
        """Send what is due; returns the time of the last look at the clock."""
        now = time.time_ns()
        while self.held and self.held[0][0] <= now:
            due, _, number, release, frame, arrival, way = heapq.heappop(self.held)
            sent = corrupted(frame) if release.flags & CORRUPTED else frame
            action = Action.COPIED if release.copy else Action.PASSED
            departure = time.time_ns()
            try:
                self.links[1 - way].send(sent)
                now = time.time_ns()
                self.record(number, arrival, due, departure, now, sent, way, action, Reason.NONE, release.flags)
            except OSError:
                now = time.time_ns()
                self.drop_held(number, arrival, frame, way, release, Reason.SEND_ERROR)
        return now

    def drop_held(self, number: int, arrival: int, frame: bytes, way: int, release: Release, reason: Reason) -> None:
        """A frame that could not leave. A copy that could not has no record: its frame has one."""
        if not release.copy:
            self.record(number, arrival, 0, 0, 0, frame, way, Action.DROPPED, reason, release.flags)

    def record(
        self,
        number: int,
        arrival: int,
        due: int,
        departure: int,
        released: int,
        frame: bytes,
        way: int,
        action: Action,
        reason: Reason,
        flags: int,
    ) -> None:
        values = (number, arrival, due, departure, released, len(frame), way, action, reason, flags, frame[:HEAD])
        self.buffer += LAYOUT.pack(*values)

    def flush(self) -> None:
        self.log.write(self.buffer)
        self.buffer.clear()

    def statistics(self) -> dict[str, object]:
        """Counters of this process; `overflowed` are frames the kernel dropped before it could read them."""
        for way, link in enumerate(self.links):
            _, drops = struct.unpack("II", link.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            self.overflowed[way] += drops
        return {"frames": self.frames, "overflowed": self.overflowed, "held": len(self.held)}

    def read_commands(self) -> None:
        data = os.read(sys.stdin.fileno(), 65_536)
        if not data:
            self.running = False
            return
        *lines, self.command = (self.command + data).split(b"\n")
        for line in lines:
            try:
                answer = self.obey(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                answer = {"error": str(error)}
            print(json.dumps({"at_ns": time.time_ns(), **answer}), flush=True)

    def obey(self, command: dict[str, object]) -> dict[str, object]:
        """`set` {forward: {...}, backward: {...}} changes settings; `flush` writes the log; `stop` ends."""
        if "set" in command:
            changed = {}
            for way in Way:
                direction = self.directions[way]
                changes = command["set"].get(way.name.lower(), {})  # type: ignore[attr-defined]
                changed[way] = direction.impairment.changed(changes)
            for way in Way:
                if command["set"].get(way.name.lower()):  # type: ignore[attr-defined]
                    self.directions[way].set(changed[way])
            return {way.name.lower(): asdict(self.directions[way].impairment) for way in Way}
        if "flush" in command:
            self.flush()
            return self.statistics()
        if "stop" in command:
            self.running = False
            return {}
        raise ValueError(f"no such command: {', '.join(command)}")

    def close(self) -> None:
        """What is still held is dropped, and the log says so."""
        for _, _, number, release, frame, arrival, way in sorted(self.held, key=lambda entry: entry[1]):
            self.drop_held(number, arrival, frame, way, release, Reason.SHUTDOWN)
        self.flush()
        self.log.close()
        print(json.dumps({"stopped": time.time_ns(), **self.statistics(), "held": 0}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="link emulator between two interfaces")
    parser.add_argument("--near", required=True)
    parser.add_argument("--far", required=True)
    parser.add_argument("--log", required=True, type=Path)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--spin-us", type=int, default=150)
    parser.add_argument("--settings", default="{}", help="JSON: forward and backward impairments at the start")
    options = parser.parse_args()
    emulator = Emulator(options.near, options.far, options.log, seed=options.seed, spin_ns=options.spin_us * 1000)
    for name, changes in json.loads(options.settings).items():
        emulator.directions[Way[name.upper()]].set(Impairment().changed(changes))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    wake_exactly()
    print(json.dumps({"ready": time.time_ns(), "pid": os.getpid()}), flush=True)
    try:
        emulator.run()
    finally:
        with contextlib.suppress(BrokenPipeError):
            emulator.close()


def wake_exactly() -> None:
    """Wake as exactly as the kernel can, ahead of ordinary load where that is allowed."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


if __name__ == "__main__":
    main()
