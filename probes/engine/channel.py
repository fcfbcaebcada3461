"""A real socket as a Transport: batches out, batches in, stamps and errors from the error queue."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.clock import SECOND
from probes.core.codec import Octets
from probes.core.errors import LocalError
from probes.engine import control, mmsg, sockets
from probes.engine.address import MAPPED, NAME_SIZE, Peers, peers_from_names
from probes.engine.mmsg import MessageRows
from probes.engine.namespaces import inside
from probes.engine.sockets import Endpoint
from probes.engine.transport import Arrivals, Notices, Refusals, Route
from probes.wire.checksum import internet_checksum

_ROWS: Final = 256
"""Packets written and read at once; as many as a channel has streams where these are more, within bounds."""
_MOST_SEND_ROWS: Final = 4096
_MOST_RECEIVE_ROWS: Final = 1024
_FEWEST_ROWS: Final = 16
_SEND_OCTETS: Final = 1 << 20
_RECEIVE_OCTETS: Final = 1 << 20
_CONTROL_OUT: Final = 96
_CONTROL_IN: Final = 192
_ERROR_WIDTH: Final = 192
_TOKENS: Final = 1 << 16
_IPV4_HEADER: Final = 20
_LARGEST_IPV4_HEADER: Final = 60
_SO_MEMINFO: Final = 55
_MEMINFO_DROPS: Final = 8
_BUFFERED_OCTETS: Final = 4096
"""What one packet may take of the receive buffer, twice over: its reply and its stamp, about 830 octets each on
loopback, 2 KiB where a driver receives into halves of pages"""
_MOST_UNREAD: Final = 4096
"""Reading the answers to so many packets takes about 15 ms, in which none is sent."""
_ORIGIN_ICMP: Final = (2, 3)
_ORIGIN_TIMESTAMPING: Final = 4
_MOST_BATCHES: Final = 256

ASYNCHRONOUS: Final = frozenset(
    (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOPROTOOPT, errno.EPROTO, errno.EMSGSIZE,
     errno.EACCES, errno.EOPNOTSUPP, errno.ENONET, errno.EHOSTDOWN, errno.EAGAIN, errno.EINTR)
)  # fmt: skip
"""An ICMP error about an earlier packet makes the next send fail with one of these; asked again, it tells the truth."""
_ATTEMPTS: Final = 3

_STAMP = (socket.SOL_SOCKET, control.SO_TIMESTAMPING)
_ERROR = {4: (socket.IPPROTO_IP, control.IP_RECVERR), 6: (socket.IPPROTO_IPV6, control.IPV6_RECVERR)}
_HOPS = {4: (socket.IPPROTO_IP, control.IP_TTL), 6: (socket.IPPROTO_IPV6, control.IPV6_HOPLIMIT)}
_CLASS = {4: (socket.IPPROTO_IP, control.IP_TOS), 6: (socket.IPPROTO_IPV6, control.IPV6_TCLASS)}
Places = int | Int64
"""A place in the control data that is the same for all rows, or one for each row; -1: not there."""
_OFFENDER_AT = {4: 20, 6: 24}
"""Where in sock_extended_err plus sockaddr the offender's address stands (ip(7), ipv6(7))."""


class SocketTransport:
    """Implements probes.engine.transport.Transport. Used by one thread."""

    def __init__(self, endpoint: Endpoint, overflowed: Callable[[], int] | None = None) -> None:
        """overflowed: datagrams all sockets of the host dropped for want of buffer; see `drops`."""
        self._endpoint = endpoint
        self._namespace: str | None = None
        self._descriptor = endpoint.socket.fileno()
        self.identifier = endpoint.identifier
        self.rows = self._wanted = _ROWS
        self._length = 128
        buffered = endpoint.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._room = min(buffered // _BUFFERED_OCTETS, _MOST_UNREAD)
        self._unread = 0
        """packets sent since the last `receive`"""
        self._streams: set[int] = set()
        self._names = np.zeros((0, NAME_SIZE), np.uint8)
        self._controls = np.zeros((0, _CONTROL_OUT), np.uint8)
        self._routes = np.zeros((0, 3), np.uint64)
        """addresses of a stream's name and control data, and the length of the latter"""
        self._uniform_length = 0
        self._fit()
        self._tokens = np.full(_TOKENS, -1, np.int64)
        self._next_stamp = 0
        self._unnumbered: list[Int64] = []
        self._held: list[Notices] = []
        self._source_gone = False
        self._drops = self._dropped()
        self._overflowed = overflowed
        self._overflows = overflowed() if overflowed is not None else 0

    def settle(self, namespace: str | None, interface: str | None) -> None:
        self._namespace = namespace
        if interface is not None:
            with contextlib.suppress(OSError):  # before Linux 5.7 only with CAP_NET_RAW; the route names it as well
                device = interface.encode() + b"\0"
                self._endpoint.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)

    def assign(self, stream: int, route: Route) -> None:
        if stream >= len(self._names):
            more = max(16, stream + 1, 2 * len(self._names)) - len(self._names)
            self._names = np.concatenate((self._names, np.zeros((more, NAME_SIZE), np.uint8)))
            self._controls = np.concatenate((self._controls, np.zeros((more, _CONTROL_OUT), np.uint8)))
            routes = np.zeros((len(self._names), 3), np.uint64)
            routes[: len(self._routes), 2] = self._routes[:, 2]
            each = np.arange(len(routes), dtype=np.uint64)
            routes[:, 0] = self._names.ctypes.data + each * np.uint64(NAME_SIZE)
            routes[:, 1] = self._controls.ctypes.data + each * np.uint64(_CONTROL_OUT)
            self._routes = routes
        self._streams.add(stream)
        if self._wanted < min(len(self._streams), _MOST_SEND_ROWS):
            self._wanted *= 2
            self._fit()
        self._names[stream] = 0
        self._names[stream, : len(route.name)] = np.frombuffer(route.name, np.uint8)
        self._controls[stream, : len(route.control)] = np.frombuffer(route.control, np.uint8)
        self._routes[stream, 2] = len(route.control)

    def reserve(self, length: int) -> None:
        if length > self._length:
            self._length = length
            self._fit()

    def outgoing(self, first: int, end: int, length: int) -> Octets:
        if length != self._uniform_length:
            self._out.vector_length[first:end] = length
            self._uniform_length = 0
            if first == 0:
                self._out.vector_length[:] = length
                self._uniform_length = length
        return self._out.data[first:end, :length]

    def address(self, stream: Int64) -> None:
        out, n = self._out, len(stream)
        routes = self._routes[stream]
        out.name_pointer[:n] = routes[:, 0]
        out.control_pointer[:n] = routes[:, 1]
        out.control_length[:n] = routes[:, 2]

    def send(self, first: int, token: Int64) -> NDArray[np.int32] | None:
        n = len(token)
        if self._source_gone:
            return np.full(n, errno.EADDRNOTAVAIL, np.int32)
        done = self._out.send(self._descriptor, first, first + n)
        if done == n:
            self._sent(token)
            return None
        return self._send_rest(first, token, max(done, 0), -min(done, 0))

    def crowded(self) -> bool:
        return self._unread > self._room

    def _send_rest(self, first: int, token: Int64, done: int, failure: int) -> NDArray[np.int32]:
        """Go on behind the packet that stopped the batch; a packet is given up when the error is its own."""
        n = len(token)
        errors = np.zeros(n, np.int32)
        self._sent(token[:done])
        attempts = 0
        while done < n:
            if failure:
                attempts += 1
                if failure not in ASYNCHRONOUS or attempts >= _ATTEMPTS:
                    errors[done] = failure
                    done, attempts = done + 1, 0
                    self._restart_stamps()
                else:
                    self._endpoint.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                failure = 0
                continue
            count = self._out.send(self._descriptor, first + done, first + n)
            if count > 0:
                self._sent(token[done : done + count])
                done, attempts = done + count, 0
            else:
                failure = -count or errno.EAGAIN
        return errors

    def receive(self) -> Arrivals | None:
        rows, family = self._in, self._endpoint.family
        self._unread = 0
        n = mmsg.drain(rows, self._descriptor, mmsg.TRUNCATED_LENGTH)
        if not n:
            return None
        held = rows.control[:n]
        stamp_at, hops_at, class_at = _places(held, rows.received_control(n), (_STAMP, _HOPS[family], _CLASS[family]))
        data, length, damaged = rows.data[:n], rows.received(n), None
        if self._endpoint.raw and family == 4:
            data, length = _without_ip_header(data, length)
            damaged = _damaged(data, length)
        source = peers_from_names(rows.names[:n], family)
        hops = _fields(held.view(np.int32), hops_at, 0)
        ttl = np.where(hops > 0, hops, ABSENT)
        dscp = _code_points(held, class_at) if self._endpoint.classes else None
        return Arrivals(data, length, source, _stamps(held, stamp_at), ttl, damaged, n == rows.rows, dscp)

    def notices(self) -> Notices | None:
        self._number()
        held, self._held = self._held, []
        tokens, stamps = [part.token for part in held], [part.transmitted_ns for part in held]
        refusals = [part.refusals for part in held if part.refusals is not None]
        for _ in range(_MOST_BATCHES):
            n = mmsg.drain(self._errors, self._descriptor, mmsg.ERROR_QUEUE)
            if not n:
                break
            self._read_errors(n, tokens, stamps, refusals)
            if n < self._errors.rows:
                break
        if not tokens and not refusals:
            return None
        if len(tokens) != 1:
            none = np.zeros(0, np.int64)
            tokens, stamps = [np.concatenate([none, *tokens])], [np.concatenate([none, *stamps])]
        return Notices(tokens[0], stamps[0], _joined(refusals) if refusals else None)

    def drops(self) -> int:
        """A UDP socket counts what its filter refuses as well: there the host's count of full buffers decides."""
        if self._endpoint.source is not None:
            # A bound socket goes on sending from an address that this host has lost; nobody could answer.
            self._source_gone = not self.owns(self._endpoint.source)
        before, self._drops = self._drops, self._dropped()
        dropped = (self._drops - before) & 0xFFFFFFFF
        if dropped and self._overflowed is not None:
            with contextlib.suppress(LocalError), inside(self._namespace):
                overflows_before, self._overflows = self._overflows, self._overflowed()
                dropped = min(dropped, max(0, self._overflows - overflows_before))
        return dropped

    def owns(self, address: str) -> bool:
        try:
            with inside(self._namespace):
                return sockets.is_own_address(address)
        except LocalError:
            return False  # the namespace is gone, and its addresses with it

    def local_port(self) -> int:
        return int(self._endpoint.socket.getsockname()[1])

    def close(self) -> None:
        self._endpoint.socket.close()

    def _fit(self) -> None:
        """Rows for the streams and the longest payload that there are. What was written in them is lost."""
        width = self._length + _LARGEST_IPV4_HEADER
        self.rows = max(_FEWEST_ROWS, min(self._wanted, _SEND_OCTETS // self._length))
        received = min(self._wanted, _MOST_RECEIVE_ROWS)
        self._out = MessageRows(self.rows, self._length, 8)
        self._in = MessageRows(max(_FEWEST_ROWS, min(received, _RECEIVE_OCTETS // width)), width, _CONTROL_IN)
        self._errors = MessageRows(received, _ERROR_WIDTH, _CONTROL_IN)
        self._uniform_length = 0
        self._out.name_length[:] = 16 if self._endpoint.family == 4 else 28

    def _sent(self, token: Int64) -> None:
        if len(token):
            self._unread += len(token)
            self._unnumbered.append(token)

    def _number(self) -> None:
        """Give the tokens of what has left the numbers that the kernel's stamps will name."""
        for token in self._unnumbered:
            at = self._next_stamp & (_TOKENS - 1)
            if at + len(token) <= _TOKENS:
                self._tokens[at : at + len(token)] = token
            else:
                self._tokens[np.arange(at, at + len(token)) & (_TOKENS - 1)] = token
            self._next_stamp = (self._next_stamp + len(token)) & 0xFFFFFFFF
        self._unnumbered.clear()

    def _restart_stamps(self) -> None:
        """Whether a refused datagram took a number depends on where the kernel refused it: count anew."""
        held = self.notices()
        if held is not None:
            self._held.append(held)
        sockets.restart_stamp_numbers(self._endpoint.socket)
        self._next_stamp = 0

    def _dropped(self) -> int:
        try:
            memory = self._endpoint.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
        except OSError:
            return 0
        return int(struct.unpack_from("=I", memory, 4 * _MEMINFO_DROPS)[0]) if len(memory) > 4 * _MEMINFO_DROPS else 0

    def _read_errors(self, n: int, tokens: list[Int64], stamps: list[Int64], refusals: list[Refusals]) -> None:
        rows, family = self._errors, self._endpoint.family
        held = rows.control[:n]
        stamp_at, error_at = _places(held, rows.received_control(n), (_STAMP, _ERROR[family]))
        origin = _fields(held, error_at, 4)
        left = origin == _ORIGIN_TIMESTAMPING
        if left.any():
            number = _fields(held.view(np.uint32), error_at, 12 >> 2)
            stamp = _stamps(held, stamp_at)
            left &= stamp != ABSENT
            if not left.all():
                number, stamp = number[left], stamp[left]
            tokens.append(self._tokens[number & np.uint32(_TOKENS - 1)])
            stamps.append(stamp)
        if (wrong := np.flatnonzero(np.isin(origin, _ORIGIN_ICMP))).size:
            refusals.append(self._refusals(held, error_at, wrong, rows.received(n)))

    def _refusals(self, held: Octets, error_at: Places, wrong: Int64, length: Int64) -> Refusals:
        family = self._endpoint.family
        kind, code = (_fields(held, error_at, offset)[wrong].astype(np.int64) for offset in (5, 6))
        at = np.broadcast_to(error_at, len(held))[wrong] + _OFFENDER_AT[family]
        peer = peers_from_names(self._errors.names[wrong], family)
        return Refusals(self._errors.data[wrong], length[wrong], kind, code, _offenders(held[wrong], at, family), peer)


def _places(held: Octets, length: Int64, wanted: Sequence[tuple[int, int]]) -> list[Places]:
    """Where the data of each wanted control message begins: one place for all rows if possible; -1 if nowhere."""
    layout = control.common_layout(held, length)
    if layout is not None:
        return [layout.get(key, -1) for key in wanted]
    return [*control.locate(held, length, wanted)]


def _fields(held: NDArray[Any], at: Places, offset: int) -> NDArray[Any]:
    """The number `offset` numbers behind a place; ABSENT (or 0 in unsigned types) where there is no place."""
    nothing = ABSENT if held.dtype == np.int64 else 0
    if isinstance(at, int):
        if at < 0:
            return np.full(len(held), nothing, held.dtype)
        return np.asarray(held[:, at // held.itemsize + offset])
    values = held[np.arange(len(held)), np.maximum(at, 0) // held.itemsize + offset]
    return np.asarray(np.where(at >= 0, values, held.dtype.type(nothing)))


def _stamps(held: Octets, at: Places) -> Int64:
    """Kernel stamps from SCM_TIMESTAMPING (struct timespec, the software one first); ABSENT where there is none."""
    words = held.view(np.int64)
    seconds = _fields(words, at, 0)
    if isinstance(at, int) and at >= 0 and seconds.all():
        return np.asarray(seconds * SECOND + _fields(words, at, 1), np.int64)
    known = seconds > 0
    return np.where(known, np.where(known, seconds, 0) * SECOND + _fields(words, at, 1), ABSENT)


def _code_points(held: Octets, at: Places) -> Int64:
    """From the octet of IP_TOS, or the first of the int of IPV6_TCLASS: ip(7), ipv6(7). ABSENT where there is none."""
    known = np.broadcast_to(np.asarray(at) >= 0, len(held))
    return np.where(known, _fields(held, at, 0).astype(np.int64) >> 2, ABSENT)


def _offenders(held: Octets, at: Int64, family: int) -> Peers:
    rows = np.arange(len(held))[:, None]
    peers = np.zeros((len(held), 3), np.uint64)
    if family == 4:
        octets = np.ascontiguousarray(held[rows, at[:, None] + np.arange(4)])
        peers[:, 1] = octets.view(">u4")[:, 0].astype(np.uint64) | np.uint64(MAPPED)
    else:
        octets = np.ascontiguousarray(held[rows, at[:, None] + np.arange(16)])
        peers[:, :2] = octets.view(">u8")
    return peers


def _without_ip_header(data: Octets, length: Int64) -> tuple[Octets, Int64]:
    header = (data[:, 0] & 15).astype(np.int64) * 4
    if (header == _IPV4_HEADER).all():
        return data[:, _IPV4_HEADER:], length - _IPV4_HEADER
    moved = np.zeros((len(data), data.shape[1] - _IPV4_HEADER), np.uint8)
    for row, size in enumerate(header):
        rest = data[row, size:]
        moved[row, : len(rest)] = rest
    return moved, length - header


def _damaged(data: Octets, length: Int64) -> NDArray[np.bool_]:
    """Raw IPv4 sockets are handed packets before the kernel has looked at the ICMP checksum."""
    size = int(length[0])
    if 8 <= size <= data.shape[1] and (length == size).all():
        return np.asarray(internet_checksum(data[:, :size]) != 0)
    damaged = length < 8
    for size in np.unique(length[~damaged]).tolist():
        if size <= data.shape[1]:
            rows = length == size
            damaged[rows] = internet_checksum(data[rows, :size]) != 0
    return damaged


def _joined(parts: list[Refusals]) -> Refusals:
    if len(parts) == 1:
        return parts[0]
    return Refusals(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Refusals)))
