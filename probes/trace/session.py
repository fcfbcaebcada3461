"""Sends packets and joins them with their answers: everything that touches the wire in one trace."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import Final

from probes.core.clock import MILLISECOND, Clock
from probes.core.errors import PacketError
from probes.trace.craft import craft
from probes.trace.dissect import Answer, read_icmp, read_tcp, read_udp
from probes.trace.flow import MOST, Flow
from probes.trace.order import Order, Purpose, Reply, Shot
from probes.trace.sockets import Wire, local_reason

GLANCE_NS: Final = 100 * MILLISECOND
"""No wait is longer, so that somebody can be told how it goes."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer, told once: the packet it belongs to and what it says."""

    shot: Shot
    reply: Reply


class Session:
    """One trace on open sockets."""

    def __init__(self, wire: Wire, order: Order, clock: Clock) -> None:
        self._wire, self._order, self._clock = wire, order, clock
        self._flow = wire.flow
        # A SYN carries no data: sizes are looked for with echo requests.
        self._sizing = replace(self._flow, protocol="icmp") if order.protocol == "tcp" else self._flow
        self._shots: list[Shot] = []
        self._flows: list[Flow] = []
        self._numbers: dict[int, int] = {}
        """number of a packet by the number of its sending"""
        self.not_sent = 0
        self.reason: str | None = None
        self.unreadable = 0

    @property
    def shots(self) -> tuple[Shot, ...]:
        return tuple(self._shots)

    @property
    def answered(self) -> int:
        return sum(shot.reply is not None for shot in self._shots)

    def send(self, ttl: int, size: int, purpose: Purpose) -> OSError | None:
        """Sends one packet; the error where it could not leave, which is counted and told."""
        if len(self._shots) >= MOST:
            return OSError(errno.ENOBUFS, "too many packets in one trace")
        flow = self._flow if purpose is Purpose.HOP else self._sizing
        packet = craft(flow, len(self._shots), ttl=ttl, size=size, whole=purpose is not Purpose.HOP)
        at_ns = self._clock.wall()
        try:
            sent = self._wire.send(packet)
        except OSError as error:
            if purpose is Purpose.HOP or error.errno != errno.EMSGSIZE:
                self.not_sent += 1
                self.reason = local_reason(error, self._order)
            return error
        self._numbers[sent] = len(self._shots)
        self._shots.append(Shot(ttl, size, purpose, at_ns, True))
        self._flows.append(flow)
        return None

    def hear(self, until_ns: int) -> list[Heard]:
        """Answers that came until now, or the first ones that come until the monotonic time."""
        self._wire.wait(min(until_ns, self._clock.monotonic() + GLANCE_NS))
        self.note_departures()
        heard = []
        for kind, data, sender, at_ns, user_stamp in self._wire.received():
            answer = self._read(kind, data, sender)
            if answer is None or answer.number >= len(self._shots):
                continue
            shot = self._shots[answer.number]
            if shot.reply is not None:
                continue
            reply = Reply(
                sender, answer.said, at_ns, answer.type, answer.code, user_stamp, answer.labels, answer.dscp, answer.mtu
            )
            self._shots[answer.number] = replace(shot, reply=reply)
            heard.append(Heard(shot, reply))
        return heard

    def note_departures(self) -> None:
        """Takes the kernel's transmit stamps."""
        for sent, at_ns in self._wire.departed():
            number = self._numbers.pop(sent, None)
            if number is not None:
                self._shots[number] = replace(self._shots[number], at_ns=at_ns, user_stamp=False)

    def _read(self, kind: str, data: bytes, sender: str) -> Answer | None:
        for flow in dict.fromkeys((self._flow, self._sizing)):
            try:
                answer = self._read_as(kind, data, sender, flow)
            except PacketError:
                self.unreadable += 1
                continue
            if answer is not None and answer.number < len(self._flows) and self._flows[answer.number] == flow:
                return answer
        return None

    @staticmethod
    def _read_as(kind: str, data: bytes, sender: str, flow: Flow) -> Answer | None:
        if kind == "tcp":
            return read_tcp(data, flow, sender) if flow.protocol == "tcp" else None
        if kind == "udp":
            return read_udp(data, flow) if sender == flow.target else None
        return read_icmp(data, flow, sender)
