"""UDP echo reflector: the far end of the udp probe. Guards first, then a reply of exactly the request's size.

Order of the guards: the kernel lets in only datagrams that begin like our requests (so a flood of anything else costs
no wake-up, and a reply is never answered); then the size, the source port (never a well-known service or another
reflector), the source address (on the allow-list, one host, not a group), and the rate of the source. The reply goes
to where the request came from, from the address it was sent to, with the same DSCP and ECN cleared.

Every datagram that passed the kernel's filter is counted under `in` and under exactly one other name, so at any moment
in = answered + the sum of dropped_*.
"""

from __future__ import annotations

import errno
import ipaddress
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from probes.core.arrays import Int64
from probes.core.clock import Clock
from probes.core.errors import LocalError, PrivilegeError
from probes.engine import control, packet_filter
from probes.engine.mmsg import TRUNCATED_LENGTH, MessageRows, drain
from probes.reflect.admission import Address, AllowList, SourceRate
from probes.wire import payload

BATCH: Final = 64
MAXIMUM_SIZE: Final = 9216
"""Octets of payload: jumbo frames. Larger requests are dropped, never truncated."""
PRIVILEGED_PORTS: Final = 1024
DROPPED: Final = ("dropped_size", "dropped_port", "dropped_address", "dropped_source", "dropped_rate", "dropped_error")
_RECEIVE_BUFFER: Final = 4 * 1024 * 1024
_CONTROL: Final = 128
_POLL_MS: Final = 500
_REMEMBERED: Final = 4096
_IP_RECVTOS: Final = 13
_IPV6_RECVTCLASS: Final = 66
_TRAFFIC_CLASS: Final = ((socket.IPPROTO_IP, control.IP_TOS), (socket.IPPROTO_IPV6, control.IPV6_TCLASS))


@dataclass(frozen=True, slots=True)
class _Peer:
    """What was decided on one source and one local address; `refusal` is a counter's name or empty."""

    source: Address
    refusal: str
    ancillary: bytes


class EchoReflector:
    """Listens on `listen` (numeric; "::" takes IPv4 too) and UDP `port` (0: any) once started."""

    def __init__(
        self, listen: str, port: int, *, allow: Sequence[str], rate_per_source: int = 5000, clock: Clock
    ) -> None:
        self._listen, self._port = listen.strip("[]"), port
        self._allow = AllowList(allow)
        self._rate = SourceRate(rate_per_source, 2 * rate_per_source)
        self._clock = clock
        self._lock = threading.Lock()
        self._counters = dict.fromkeys(("in", "answered", *DROPPED), 0)
        self._peers: dict[tuple[bytes, bytes], _Peer] = {}
        self._endpoint: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def port(self) -> int:
        """The port in use; what was asked for before start()."""
        return self._port

    def counters(self) -> Mapping[str, int]:
        """Datagrams since the start: in = answered + the sum of dropped_*."""
        with self._lock:
            return dict(self._counters)

    def start(self) -> None:
        """Raises LocalError when the address cannot be had."""
        self._endpoint = self._open()
        self._port = self._endpoint.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="echo-reflector", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering; returns when the thread has ended."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(2 + _POLL_MS / 1000)
        if self._endpoint is not None:
            self._endpoint.close()

    def _open(self) -> socket.socket:
        try:
            address = ipaddress.ip_address(self._listen)
        except ValueError:
            raise LocalError(f"{self._listen!r} is not an address", hint="listen on 127.0.0.1, 0.0.0.0 or ::") from None
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        endpoint = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            # The filter comes before the address, so that nothing unfiltered is ever queued.
            packet_filter.attach(endpoint, packet_filter.echo_requests())
            _prepare(endpoint)
            endpoint.bind((self._listen, self._port))
        except PermissionError as error:
            endpoint.close()
            raise PrivilegeError(
                f"UDP port {self._port} may not be used: {error.strerror}", hint="choose a port from 1024 on"
            ) from None
        except OSError as error:
            endpoint.close()
            raise LocalError(
                f"cannot listen on {self._listen} UDP port {self._port}: {error.strerror}",
                hint="is another reflector running, or is this not an address of this host?",
            ) from None
        return endpoint

    def _serve(self) -> None:
        endpoint = self._endpoint
        assert endpoint is not None
        requests = MessageRows(BATCH, MAXIMUM_SIZE, _CONTROL)
        replies = MessageRows(BATCH, MAXIMUM_SIZE, _CONTROL)
        poll = select.poll()
        poll.register(endpoint, select.POLLIN)
        while not self._closing.is_set():
            if not poll.poll(_POLL_MS):
                continue
            try:
                count = drain(requests, endpoint.fileno(), TRUNCATED_LENGTH)
            except OSError:
                return
            if count:
                self._answer(endpoint, requests, replies, count)

    def _answer(self, endpoint: socket.socket, requests: MessageRows, replies: MessageRows, count: int) -> None:
        lengths = requests.received(count)
        controls = requests.received_control(count)
        tally = Counter({"in": count})
        now = self._clock.monotonic()
        chosen: list[int] = []
        for row in range(count):
            peer = self._peer(endpoint.family, requests, row, int(controls[row]))
            refusal = peer.refusal or self._refusal(peer, int(lengths[row]), now)
            if refusal:
                tally[refusal] += 1
                continue
            _write(replies, len(chosen), peer.ancillary)
            chosen.append(row)
        if chosen:
            _copy(requests, replies, np.array(chosen, np.int64), lengths)
            answered = _send(endpoint, replies, len(chosen))
            tally.update(answered=answered, dropped_error=len(chosen) - answered)
        with self._lock:
            for name, number in tally.items():
                self._counters[name] += number

    def _refusal(self, peer: _Peer, length: int, now_ns: int) -> str:
        if length > MAXIMUM_SIZE or length < payload.SIZE:
            return "dropped_size"
        return "" if self._rate.admit(peer.source, now_ns) else "dropped_rate"

    def _peer(self, family: int, requests: MessageRows, row: int, control_length: int) -> _Peer:
        name = requests.names[row, :28].tobytes()
        ancillary = requests.control[row, :control_length].tobytes()
        peer = self._peers.get((name, ancillary))
        if peer is None:
            if len(self._peers) >= _REMEMBERED:
                self._peers.clear()
            peer = self._peers[name, ancillary] = self._decide(family, name, ancillary)
        return peer

    def _decide(self, family: int, name: bytes, ancillary: bytes) -> _Peer:
        port = int.from_bytes(name[2:4], "big")
        packed = name[4:8] if family == socket.AF_INET else name[8:24]
        source: Address = ipaddress.ip_address(packed)
        if isinstance(source, ipaddress.IPv6Address) and source.ipv4_mapped is not None:
            source = source.ipv4_mapped
        refusal = ""
        if port < PRIVILEGED_PORTS or port == self._port:
            refusal = "dropped_port"
        elif (
            source.is_multicast
            or source.is_unspecified
            or source == ipaddress.IPv4Address("255.255.255.255")
            or not _to_one_host(family, ancillary)
        ):
            refusal = "dropped_address"
        elif source not in self._allow:
            refusal = "dropped_source"
        return _Peer(source, refusal, _reply_control(family, ancillary))


def _send(endpoint: socket.socket, replies: MessageRows, count: int) -> int:
    """How many replies the kernel took; one that it refuses does not keep the others back."""
    first = answered = 0
    while first < count:
        done = replies.send(endpoint.fileno(), first, count)
        if done > 0:
            answered += done
            first += done
        elif -done not in (errno.EAGAIN, errno.EINTR) or not select.select([], [endpoint], [], 0.1)[1]:
            first += 1
    return answered


def _prepare(endpoint: socket.socket) -> None:
    endpoint.setblocking(False)
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    if endpoint.family == socket.AF_INET:
        endpoint.setsockopt(socket.IPPROTO_IP, control.IP_PKTINFO, 1)
        endpoint.setsockopt(socket.IPPROTO_IP, _IP_RECVTOS, 1)
        return
    endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    endpoint.setsockopt(socket.IPPROTO_IPV6, control.IPV6_RECVPKTINFO, 1)
    endpoint.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVTCLASS, 1)
    endpoint.setsockopt(socket.IPPROTO_IP, _IP_RECVTOS, 1)


def _reply_control(family: int, ancillary: bytes) -> bytes:
    """Local address and DSCP of the request, turned into those of the reply. Only link-local fixes the interface."""
    parts, at = b"", 0
    while at + control.HEADER <= len(ancillary):
        size, level, kind = struct.unpack_from("=Qii", ancillary, at)
        data = ancillary[at + control.HEADER : at + size]
        if family == socket.AF_INET and (level, kind) == (socket.IPPROTO_IP, control.IP_PKTINFO):
            parts += control.message(level, kind, bytes(4) + data[4:8] + bytes(4))
        elif (level, kind) == (socket.IPPROTO_IPV6, control.IPV6_PKTINFO):
            local = ipaddress.IPv6Address(data[:16])
            parts += control.message(level, kind, data[:16] + (data[16:20] if local.is_link_local else bytes(4)))
        elif (level, kind) in _TRAFFIC_CLASS and data[0] & 0xFC:
            parts += control.message(level, kind, struct.pack("=i", data[0] & 0xFC))
        at += (size + 7) & ~7 if size >= control.HEADER else len(ancillary)
    return parts


def _to_one_host(family: int, ancillary: bytes) -> bool:
    """Whether a request was sent to this host alone: a broadcast would be answered by every reflector that hears it."""
    at = 0
    while at + control.HEADER <= len(ancillary):
        size, level, kind = struct.unpack_from("=Qii", ancillary, at)
        data = ancillary[at + control.HEADER : at + size]
        if family == socket.AF_INET and (level, kind) == (socket.IPPROTO_IP, control.IP_PKTINFO):
            return data[4:8] == data[8:12]  # the address here, and the one in the packet's header
        if (level, kind) == (socket.IPPROTO_IPV6, control.IPV6_PKTINFO):
            return data[0] != 0xFF
        at += (size + 7) & ~7 if size >= control.HEADER else len(ancillary)
    return False


def _write(replies: MessageRows, row: int, ancillary: bytes) -> None:
    replies.control[row, : len(ancillary)] = np.frombuffer(ancillary, np.uint8)
    replies.control_length[row] = len(ancillary)


def _copy(requests: MessageRows, replies: MessageRows, rows: Int64, lengths: Int64) -> None:
    """Data and addresses of the chosen requests, marked as replies, each of its request's length."""
    count, widest = len(rows), int(lengths[rows].max())
    replies.data[:count, :widest] = requests.data[rows, :widest]
    replies.data[:count, payload.DIRECTION_OFFSET] = payload.REPLY_DIRECTION
    replies.names[:count] = requests.names[rows]
    replies.name_length[:count] = requests.name_length[rows]
    replies.vector_length[:count] = lengths[rows]
