"""The child's sockets: whole IP packets out, answers in, both with the kernel's time stamps.

Packets leave by a raw socket that takes the IP header from us (raw(7), IPPROTO_RAW), so that ttl, DSCP, identification
and flow label are ours; it ignores path MTUs the kernel has cached (IP_PMTUDISC_PROBE). Another raw socket gets the
ICMP answers, one more those of TCP. The source port is held by a socket of its own, so that nobody else has it.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.errors import LocalError, PrivilegeError
from probes.trace import packet_filter
from probes.trace.flow import Flow, source_port
from probes.trace.order import Order

SO_TIMESTAMPING: Final = 37
_STAMPING: Final = 2 | 8 | 16 | 128 | 2048
"""transmit and receive in software, report them, number transmitted packets, without their content"""
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3
_ERROR_QUEUE: Final = ((socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25))
"""IP_RECVERR, IPV6_RECVERR: sock_extended_err (linux/errqueue.h)"""
_ICMP_FILTER, _ICMP6_FILTER = 1, 1
_MSG_PROBE: Final = 0x10
"""linux/socket.h: find the route and check the size, do not send"""
_LARGEST_PACKET: Final = 65_535
_PORTS_TRIED: Final = 64
_RECEIVE_BUFFER: Final = 1 << 20
_MOST_AT_ONCE: Final = 256
_AF: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_LEVEL: Final = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
PRIVILEGE_HINT: Final = (
    "run as root, or as the linkwitness service, which holds CAP_NET_RAW (AmbientCapabilities=); "
    "by hand: setpriv --inh-caps +net_raw --ambient-caps +net_raw linkwitness ..."
)

Received = tuple[str, bytes, str, int, bool]
"""kind (icmp, tcp, udp), octets, sender, UTC ns, whether that is a stamp of user space"""


class Wire:
    """Open sockets of one trace; a context manager. Raises LocalError where this host cannot trace."""

    def __init__(self, order: Order, flow: Flow, clock: Clock) -> None:
        """flow: with source and source_port still open; see `flow` for them filled in."""
        self._clock = clock
        self._order = order
        self._stack = contextlib.ExitStack()
        self._sends = 0
        try:
            with _explained(order):
                self._open(flow)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, flow: Flow) -> None:
        order, family = self._order, self._order.family
        icmp = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
        self._out = self._socket(socket.SOCK_RAW, socket.IPPROTO_RAW)
        option = _IP_MTU_DISCOVER if family == 4 else _IPV6_MTU_DISCOVER
        self._out.setsockopt(_LEVEL[family], option, _PROBE)
        self._out.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _STAMPING)
        self._to = _destination(order)
        self.flow = replace(flow, source=self._source())
        self.flow = replace(self.flow, source_port=self._hold_port(order.flow))
        self.mtu = self._interface_mtu()
        self._inlets: dict[int, tuple[str, socket.socket]] = {}
        opened = self._socket(socket.SOCK_RAW, icmp)
        _only_answers(opened, family)
        self._listen("icmp", opened, packet_filter.icmp_answers(self.flow))
        if order.protocol == "tcp":
            opened = self._socket(socket.SOCK_RAW, socket.IPPROTO_TCP)
            self._listen("tcp", opened, packet_filter.tcp_answers(self.flow))
        elif order.protocol == "udp":
            self._listen("udp", self._held, None)
        self._poll = select.poll()
        for descriptor in (*self._inlets, self._out.fileno()):
            self._poll.register(descriptor, select.POLLIN if descriptor in self._inlets else 0)

    def send(self, packet: bytes) -> int:
        """Sends one packet; its number for `departed`. Raises OSError when it does not leave."""
        self._out.sendto(packet, self._to)
        self._sends += 1
        return self._sends - 1

    def wait(self, until_ns: int) -> None:
        """Until something has come or the monotonic time is reached."""
        left = until_ns - self._clock.monotonic()
        if left > 0:
            self._poll.poll(-(-left // MILLISECOND))

    def departed(self) -> Iterator[tuple[int, int]]:
        """Number and UTC ns of packets the kernel has handed to the interface."""
        for _ in range(_MOST_AT_ONCE):
            try:
                _, controls, _, _ = self._out.recvmsg(1, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            stamp, number = _stamp(controls), None
            for level, kind, data in controls:
                if (level, kind) in _ERROR_QUEUE and len(data) >= 16:
                    number = struct.unpack_from("=I", data, 12)[0]
            if stamp is not None and number is not None:
                yield number, stamp

    def received(self) -> Iterator[Received]:
        """What has come until now."""
        for kind, inlet in self._inlets.values():
            for _ in range(_MOST_AT_ONCE):
                try:
                    data, controls, _, address = inlet.recvmsg(65_535, 512)
                except OSError:
                    break
                stamp = _stamp(controls)
                sender = str(address[0]).partition("%")[0]
                if kind == "udp" and address[1] != self.flow.port:
                    continue
                yield kind, data, sender, stamp if stamp is not None else self._clock.wall(), stamp is None

    def _socket(self, kind: int, protocol: int) -> socket.socket:
        opened = self._stack.enter_context(socket.socket(_AF[self._order.family], kind, protocol))
        opened.setblocking(False)
        if self._order.interface is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._order.interface.encode() + b"\0")
        return opened

    def _listen(self, kind: str, opened: socket.socket, program: bytes | None) -> None:
        if program is not None:
            packet_filter.attach(opened, program)
        opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _STAMPING & ~2)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._inlets[opened.fileno()] = (kind, opened)

    def _source(self) -> str:
        """The address packets to the target leave with."""
        with self._socket(socket.SOCK_DGRAM, 0) as trial:
            if self._order.source is not None:
                trial.bind((self._order.source, 0))
            trial.connect((self._to[0], self._order.port or 9, *self._to[2:]))
            return str(trial.getsockname()[0]).partition("%")[0]

    def _hold_port(self, flow: int) -> int:
        kind = socket.SOCK_STREAM if self._order.protocol == "tcp" else socket.SOCK_DGRAM
        self._held = self._socket(kind, 0)
        if self._order.protocol == "icmp":
            return 0
        for attempt in range(_PORTS_TRIED):
            port = source_port(flow, attempt)
            try:
                self._held.bind((self.flow.source, port, *self._to[2:]))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
        raise LocalError(f"the source ports from {source_port(flow)} on are in use")

    def _interface_mtu(self) -> int:
        """Octets that the interface towards the target takes in one packet: the kernel is asked, nothing is sent."""
        low, high = 68, _LARGEST_PACKET
        while low < high:
            middle = (low + high + 1) // 2
            try:
                self._out.sendto(bytes(middle), _MSG_PROBE, self._to)
                low = middle
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                high = middle - 1
        return low


def _destination(order: Order) -> tuple[str, int, int, int] | tuple[str, int]:
    address, _, zone = order.target.partition("%")
    host = ipaddress.ip_address(address)
    if host.is_unspecified or host.is_multicast or host == ipaddress.IPv4Address("255.255.255.255"):
        raise LocalError(f"{order.target} is not the address of one host", hint="give a unicast address")
    if order.family == 4:
        return address, 0
    name = zone or (order.interface if host.is_link_local else None) or ""
    if host.is_link_local and not name:
        raise LocalError(f"{address} is a link-local address", hint=f"name the interface: {address}%eth0")
    return address, 0, 0, int(name) if name.isdigit() else socket.if_nametoindex(name) if name else 0


def _only_answers(opened: socket.socket, family: int) -> None:
    """Kinds of message nobody here reads are not even copied: raw(7) ICMP_FILTER, RFC 3542 section 3.2."""
    if family == 4:
        opened.setsockopt(socket.IPPROTO_RAW, _ICMP_FILTER, struct.pack("=I", ~_mask(0, 3, 11, 12) & 0xFFFFFFFF))
    else:
        blocked = [0xFFFFFFFF] * 8
        for kind in (1, 2, 3, 4, 129):
            blocked[kind >> 5] &= ~(1 << (kind & 31))
        opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *blocked))


def _mask(*kinds: int) -> int:
    return sum(1 << kind for kind in kinds)


def _stamp(controls: list[tuple[int, int, bytes]]) -> int | None:
    """The kernel's software stamp, UTC ns; None where there is none."""
    for level, kind, data in controls:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING) and len(data) >= 16:
            seconds, nanoseconds = struct.unpack_from("=qq", data)
            return (seconds * SECOND + nanoseconds) or None
    return None


def local_reason(error: OSError, order: Order) -> str:
    """Why this host could not send, in words."""
    known = {
        errno.ENETUNREACH: f"this host has no route to {order.target}",
        errno.EHOSTUNREACH: f"a route of this host makes {order.target} unreachable",
        errno.EINVAL: f"a blackhole route of this host covers {order.target}",
        errno.EACCES: f"a prohibit route of this host covers {order.target}",
        errno.EPERM: f"a firewall rule of this host forbids sending to {order.target}",
        errno.EADDRNOTAVAIL: f"source address {order.source} is not on this host",
        errno.ENODEV: f"there is no interface {order.interface} on this host",
        errno.ENXIO: f"there is no interface {order.interface} on this host",
        errno.ENETDOWN: f"the interface towards {order.target} is down",
        errno.EMSGSIZE: f"the interface towards {order.target} takes no packets of {order.size} octets",
        errno.EMFILE: "no file descriptor left for a socket",
        errno.EAFNOSUPPORT: f"this host has no IPv{order.family}",
    }
    return known.get(error.errno or 0) or f"{error.strerror or error} (errno {error.errno})"


@contextlib.contextmanager
def _explained(order: Order) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        if error.errno == errno.EPERM and not _may_open_raw():
            raise PrivilegeError("this process may not open raw sockets", hint=PRIVILEGE_HINT) from None
        raise LocalError(local_reason(error, order)) from None
    except OSError as error:
        raise LocalError(local_reason(error, order)) from None


def _may_open_raw() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except OSError:
        return False
    return True
