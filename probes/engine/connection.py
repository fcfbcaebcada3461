"""One TCP connection attempt of a flow probe: options, deadline, and who was at fault when it did not come about.

Where an error came from is read from the socket's error queue (IP_RECVERR, ip(7)), not guessed from the errno: the
kernel reports `EHOSTUNREACH` for a local route as well as for an ICMP message of a router.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final

from probes.core.catalog import FlowTarget
from probes.core.clock import MILLISECOND, Clock
from probes.core.errors import LocalError, PacketError
from probes.wire import tcp_info
from probes.wire.tcp_info import TcpInfo

_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_ORIGIN_ICMP: Final = (2, 3)
"""sock_extended_err.ee_origin: SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6 (linux/errqueue.h)"""

_UNREACHABLE_4: Final = {
    0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable",
    5: "source route failed", 6: "network unknown", 7: "host unknown", 9: "network prohibited", 10: "host prohibited",
    11: "network unreachable for this DSCP", 12: "host unreachable for this DSCP", 13: "prohibited by a filter",
}  # fmt: skip
"""Codes of ICMP type 3: RFC 792, RFC 1812 section 5.2.7.1."""
_UNREACHABLE_6: Final = {
    0: "no route", 1: "prohibited by a filter", 2: "beyond the scope of the source", 3: "address unreachable",
    4: "port unreachable", 5: "source address failed the policy", 6: "route rejected",
}  # fmt: skip
"""Codes of ICMPv6 type 1: RFC 4443 section 3.1."""
_TIME_EXCEEDED: Final = {4: 11, 6: 3}
_UNREACHABLE: Final = {4: 3, 6: 1}
_NO_NEIGHBOUR: Final = {4: (3, 1), 6: (1, 3)}


class Outcome(Enum):
    """How an attempt ended."""

    CONNECTED = "connected"
    REJECTED = "rejected"
    """a reset, or an ICMP error of another host"""
    SILENT = "silent"
    """the SYN left, nothing came back in time"""
    LOCAL = "local"
    """this host could not send: not the network's fault"""


_REFUSED: Final = "connection refused by"
_RESET: Final = "connection reset by"


@dataclass(frozen=True, slots=True)
class Attempt:
    """`socket` is there only when connected: non-blocking, and the caller's to close. elapsed_ns is monotonic."""

    outcome: Outcome
    started_ns: int
    elapsed_ns: int
    socket: socket.socket | None = None
    reason: str | None = None
    info: TcpInfo | None = None

    @property
    def declined(self) -> bool:
        """The target itself said no; not a router, nor silence."""
        return self.outcome is Outcome.REJECTED and (self.reason or "").startswith((_REFUSED, _RESET))


def open_connection(target: FlowTarget, port: int, timeout_ns: int, clock: Clock) -> Attempt:
    """Connect to target.address and port within timeout_ns. Never raises for anything the network or the host does."""
    started = clock.wall()
    begin = clock.monotonic()
    connection: socket.socket | None = None
    try:
        family, address = _numeric(target.address, port)
        _check(target)
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        _prepare(connection, family, target)
        started = clock.wall()
        begin = clock.monotonic()
        code = connection.connect_ex(address)
        own = str(connection.getsockname()[0]).partition("%")[0]
        if code == errno.EINPROGRESS:
            code = _settle(connection, begin + timeout_ns, clock)
        elapsed = clock.monotonic() - begin
        if code == 0:
            attempt = Attempt(Outcome.CONNECTED, started, elapsed, connection, None, connection_info(connection))
            connection = None
            return attempt
        outcome, reason = _judge(connection, family, code, target, own, elapsed)
        return Attempt(outcome, started, elapsed, None, reason)
    except (OSError, LocalError) as error:
        reason = _local_reason(error, target) if isinstance(error, OSError) else str(error)
        return Attempt(Outcome.LOCAL, started, clock.monotonic() - begin, None, reason)
    finally:
        if connection is not None:
            connection.close()


def connection_info(connection: socket.socket) -> TcpInfo | None:
    """TCP_INFO of a connection; None where the system has none."""
    try:
        return tcp_info.decode(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.SIZE))
    except (OSError, PacketError):
        return None


def set_dscp(connection: socket.socket, family: int, dscp: int) -> None:
    """Mark outgoing packets with a six-bit code point (RFC 2474). Raises OSError."""
    if family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    else:
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def milliseconds_until(deadline_ns: int, clock: Clock) -> int:
    """Time left for poll(2), rounded up so that a wait never ends before its deadline; 0 when it has passed."""
    return max(0, -(-(deadline_ns - clock.monotonic()) // MILLISECOND))


def _numeric(address: str, port: int) -> tuple[int, tuple[object, ...]]:
    try:
        found = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    except socket.gaierror:
        raise LocalError(f"{address!r} is not a numeric address") from None
    return found[0][0], found[0][4]


def _check(target: FlowTarget) -> None:
    """Refuse what connect() would misunderstand: 0.0.0.0 is this host to it, and link-local needs an interface."""
    address, _, scope = target.address.partition("%")
    host = ipaddress.ip_address(address)
    if host.is_unspecified or host.is_multicast or host == ipaddress.IPv4Address("255.255.255.255"):
        raise LocalError(f"{target.address} is not the address of one host", hint="give a unicast address")
    if host.version == 6 and host.is_link_local and not scope and target.interface is None:
        raise LocalError(f"{address} is a link-local address", hint=f"name the interface: {address}%eth0")


def _prepare(connection: socket.socket, family: int, target: FlowTarget) -> None:
    if family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        connection.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    set_dscp(connection, family, target.dscp)
    if target.interface is not None:
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, target.interface.encode() + b"\0")
        except PermissionError:
            raise LocalError(
                f"not permitted to bind to interface {target.interface}",
                hint="Linux 5.7 or newer, or CAP_NET_RAW, is needed",
            ) from None
        except OSError:
            raise LocalError(f"there is no interface {target.interface} on this host") from None
    if target.source is not None:
        source_family, source = _numeric(target.source, 0)
        if source_family != family:
            raise LocalError(f"source {target.source} and target {target.address} are of different IP versions")
        # The port is chosen by connect(): otherwise all circuits together share one pool of local ports.
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind(source)


def _settle(connection: socket.socket, deadline_ns: int, clock: Clock) -> int:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    while not poll.poll(milliseconds_until(deadline_ns, clock)):
        if clock.monotonic() >= deadline_ns:
            return errno.ETIMEDOUT
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _judge(
    connection: socket.socket, family: int, code: int, target: FlowTarget, own: str, elapsed_ns: int
) -> tuple[Outcome, str]:
    if code == errno.ETIMEDOUT:
        return Outcome.SILENT, f"no answer from {target.address} within {elapsed_ns // MILLISECOND} ms"
    message = _icmp_message(connection, family)
    if message is not None:
        offender, text, unresolved = message
        if offender != own or offender == target.address:
            return Outcome.REJECTED, f"{text} from {offender}"
        if unresolved:
            # Our kernel itself says "host unreachable" when ARP or neighbour discovery gets no answer.
            return Outcome.SILENT, f"no neighbour answers ARP or ND on the way to {target.address}"
        return Outcome.LOCAL, f"a firewall rule of this host rejects packets to {target.address} ({text})"
    if code == errno.ECONNREFUSED:
        return Outcome.REJECTED, f"{_REFUSED} {target.address}"
    if code == errno.ECONNRESET:
        return Outcome.REJECTED, f"{_RESET} {target.address}"
    return Outcome.LOCAL, _local_reason(OSError(code, os.strerror(code)), target)


def _icmp_message(connection: socket.socket, family: int) -> tuple[str, str, bool] | None:
    """Offender, meaning, and whether hosts make this one when no neighbour answers; None when none is queued."""
    try:
        _, controls, _, _ = connection.recvmsg(256, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except OSError:
        return None
    for _, _, control in controls:
        if len(control) < 32:
            continue
        _, origin, kind, code, _, _, _ = struct.unpack_from("=IBBBBII", control)
        if origin not in _ORIGIN_ICMP:
            continue
        version = 4 if family == socket.AF_INET else 6
        raw = control[20:24] if version == 4 else control[24:40]
        offender = str(ipaddress.ip_address(raw))
        if kind == _UNREACHABLE[version]:
            table = _UNREACHABLE_4 if version == 4 else _UNREACHABLE_6
            text = table.get(code, f"unreachable (code {code})")
        elif kind == _TIME_EXCEEDED[version]:
            text = "time to live exceeded"
        else:
            text = f"ICMP type {kind} code {code}"
        return offender, text, (kind, code) == _NO_NEIGHBOUR[version]
    return None


def _local_reason(error: OSError, target: FlowTarget) -> str:
    address = target.address
    known = {
        errno.ENETUNREACH: f"this host has no route to {address}",
        errno.EHOSTUNREACH: f"a route of this host makes {address} unreachable",
        errno.EINVAL: f"a blackhole route of this host covers {address}",
        errno.EACCES: f"a prohibit route of this host covers {address}",
        errno.EPERM: f"a firewall rule of this host forbids sending to {address}",
        errno.EMFILE: "this process has no file descriptor left (hint: raise LimitNOFILE)",
        errno.ENFILE: "this host has no file descriptor left (hint: raise fs.file-max)",
        errno.ENODEV: f"there is no interface {target.interface} on this host",
        errno.ENETDOWN: f"the interface towards {address} is down",
    }
    if error.errno == errno.EADDRNOTAVAIL:
        if target.source is not None:
            return f"source address {target.source} is not on this host, or it has no free port"
        return "this host has no free port or source address"
    text = known.get(error.errno or 0)
    return text if text is not None else f"{error.strerror or error} (errno {error.errno})"
