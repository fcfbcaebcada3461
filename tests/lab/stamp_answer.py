"""A plain STAMP reflector in this namespace until standard input ends.

`python -m tests.lab.stamp_answer PORT OFFSET_NS ERROR ADDRESS...`: one packet at a time, T2 and the follow-up from the
kernel, T3 just before sending; OFFSET_NS is what its clock is wrong by, ERROR its error estimate.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

from tests.fakes import stamp_octets

TIMESTAMPING = 37
FLAGS = 2 | 8 | 16 | 128 | 2048
RECEIVE_TOS, RECEIVE_TTL, RECEIVE_ERRORS = (0, 13), (0, 12), (0, 11)
RECEIVE_CLASS, RECEIVE_HOPS, RECEIVE_ERRORS_6 = (41, 66), (41, 51), (41, 25)


@dataclass
class Session:
    """State of one 4-tuple."""

    count: int = 0
    datagram: int = -1
    """number of its last reply among all of the socket"""


@dataclass
class Reflector:
    endpoint: socket.socket
    offset_ns: int
    error: int
    sessions: dict[object, Session] = field(default_factory=dict)
    left: dict[int, int] = field(default_factory=dict)
    """true departure by number of the datagram"""
    sent: int = 0

    def answer(self) -> None:
        data, held, _, peer = self.endpoint.recvmsg(2048, 512)
        found = {(level, kind): value for level, kind, value in held}
        seconds, rest = struct.unpack_from("qq", found[socket.SOL_SOCKET, TIMESTAMPING])
        tos = found.get((0, 1)) or found.get((41, 67)) or b"\0"
        ttl = found.get((0, 2)) or found.get((41, 52)) or b"\0"
        self._read_departures()
        session = self.sessions.setdefault(peer[:2], Session())
        left = self.left.pop(session.datagram, None)
        before = None if left is None else (session.count - 1, self._word(left))
        out = stamp_octets.reply(
            data, number=session.count, t2=self._word(seconds * 10**9 + rest), t3=self._word(time.time_ns()),
            error=self.error, ttl=ttl[0], dscp=tos[0] >> 2, count=session.count + 1, before=before,
        )  # fmt: skip
        self.endpoint.sendto(out, peer)
        session.count, session.datagram = session.count + 1, self.sent
        self.sent += 1

    def _word(self, utc_ns: int) -> int:
        return stamp_octets.word(utc_ns + self.offset_ns)

    def _read_departures(self) -> None:
        while True:
            try:
                _, held, *_ = self.endpoint.recvmsg(0, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            found = {(level, kind): value for level, kind, value in held}
            error = found.get(RECEIVE_ERRORS) or found.get(RECEIVE_ERRORS_6)
            if error is None or (socket.SOL_SOCKET, TIMESTAMPING) not in found:
                continue
            seconds, rest = struct.unpack_from("qq", found[socket.SOL_SOCKET, TIMESTAMPING])
            self.left[struct.unpack_from("I", error, 12)[0]] = seconds * 10**9 + rest


def opened(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    endpoint = socket.socket(family, socket.SOCK_DGRAM)
    ipv6 = family == socket.AF_INET6
    options = (RECEIVE_CLASS, RECEIVE_HOPS, RECEIVE_ERRORS_6) if ipv6 else (RECEIVE_TOS, RECEIVE_TTL, RECEIVE_ERRORS)
    for level, option in options:
        endpoint.setsockopt(level, option, 1)
    endpoint.setsockopt(socket.SOL_SOCKET, TIMESTAMPING, FLAGS)
    endpoint.bind((address, port))
    return endpoint


def main() -> None:
    port, offset_ns, error = (int(word) for word in sys.argv[1:4])
    reflectors = {
        endpoint.fileno(): Reflector(endpoint, offset_ns, error)
        for endpoint in (opened(address, port) for address in sys.argv[4:])
    }
    print("ready", *(reflector.endpoint.getsockname()[1] for reflector in reflectors.values()), flush=True)
    watched = select.poll()
    watched.register(0, select.POLLIN)
    for descriptor in reflectors:
        watched.register(descriptor, select.POLLIN)
    while True:
        for descriptor, event in watched.poll():
            if descriptor == 0:
                return
            if event & select.POLLIN:
                reflectors[descriptor].answer()
            elif event & select.POLLERR:
                reflectors[descriptor]._read_departures()


if __name__ == "__main__":
    main()
