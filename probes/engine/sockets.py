"""Opens the sockets of the stream probes: stamps, error queue, filter and buffers set; and says why it cannot.

ICMP: the unprivileged echo socket (SOCK_DGRAM, icmp(7)) is taken where net.ipv4.ping_group_range allows it. It gives
the same kernel stamps, the kernel hands it its own replies only, and it spares the host: every raw socket is handed a
copy of every reply to anybody. The raw socket (CAP_NET_RAW) is the second choice.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from probes.core.errors import LocalError, PrivilegeError
from probes.engine import control, packet_filter
from probes.engine.mmsg import sharpen_timers

__all__ = ["Endpoint", "open_icmp", "open_sessions", "open_udp", "sharpen_timers"]

_TX_SOFTWARE, _RX_SOFTWARE, _SOFTWARE = 2, 8, 16
_OPT_ID, _OPT_TSONLY = 128, 2048
STAMPING: Final = _TX_SOFTWARE | _RX_SOFTWARE | _SOFTWARE | _OPT_ID | _OPT_TSONLY
WITHOUT_ID: Final = STAMPING & ~_OPT_ID
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_RECEIVE_BUFFER: Final = 16 << 20
"""20,000 small replies: two seconds of a frozen process at 10,000 packets a second"""
_SEND_BUFFER: Final = 2 << 20
_RECEIVE_CLASS: Final = (socket.IPPROTO_IPV6, control.IPV6_RECVTCLASS)
_AF: Final = {4: socket.AF_INET, 6: socket.AF_INET6}

_ICMP_HINT: Final = (
    "allow ICMP sockets for this user's group: sysctl -w net.ipv4.ping_group_range='0 2147483647'; "
    "or run as the linkwitness service, which holds CAP_NET_RAW (AmbientCapabilities=)"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An open socket and what its packets look like."""

    socket: socket.socket
    family: int
    identifier: int
    raw: bool
    """received IPv4 packets begin with the IP header, and checksums are ours to write and check"""
    source: str | None = None
    """the address it is bound to"""
    classes: bool = False
    """the code point of each packet received is reported"""


def open_icmp(
    family: int, *, ways: tuple[str, ...] = ("ping", "raw"), source: str | None = None, hops: bool = False
) -> Endpoint:
    """An ICMP echo socket, tried in the order of `ways`. hops: have the TTL of replies reported.

    source: bind to this address. Needed for unprivileged ICMPv6 only: such a socket ignores the source address given
    with a packet (ping_v6_sendmsg of Linux), all others heed it.
    Raises PrivilegeError when none is permitted, LocalError when the host lacks the IP version.
    """
    protocol = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
    for way in ways:
        try:
            opened = socket.socket(_AF[family], socket.SOCK_DGRAM if way == "ping" else socket.SOCK_RAW, protocol)
        except PermissionError:
            continue
        except OSError as error:
            raise _unusable(family, error) from None
        try:
            return _prepare_icmp(opened, family, raw=way == "raw", source=source, hops=hops)
        except OSError as error:
            opened.close()
            raise _unusable(family, error) from None
    raise PrivilegeError("this process may not send ICMP echo requests", hint=_ICMP_HINT)


def open_udp(family: int, *, hops: bool = False) -> Endpoint:
    """An unconnected UDP socket on a port the kernel chooses. Raises LocalError."""
    opened = _bound(family, packet_filter.echo_datagrams())
    try:
        _prepare(opened, family, hops=hops)
    except OSError as error:
        opened.close()
        raise _unusable(family, error) from None
    return Endpoint(opened, family, 0, False)


def _bound(family: int, program: Sequence[packet_filter.Instruction]) -> socket.socket:
    try:
        opened = socket.socket(_AF[family], socket.SOCK_DGRAM)
    except OSError as error:
        raise _unusable(family, error) from None
    try:
        if family == 6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        packet_filter.attach(opened, program)
        opened.bind(("0.0.0.0" if family == 4 else "::", 0))
    except OSError as error:
        opened.close()
        raise _unusable(family, error) from None
    return opened


def open_sessions(family: int, least: int) -> Endpoint:
    """A UDP socket for replies of at least so many octets, whose TTL and code point are reported. Raises LocalError."""
    opened = _bound(family, packet_filter.datagrams(least))
    level, option = (socket.IPPROTO_IP, control.IP_RECVTOS) if family == 4 else _RECEIVE_CLASS
    try:
        opened.setsockopt(level, option, 1)
        _prepare(opened, family, hops=True)
    except OSError as error:
        opened.close()
        raise _unusable(family, error) from None
    return Endpoint(opened, family, 0, False, classes=True)


def restart_stamp_numbers(opened: socket.socket) -> None:
    """Transmit stamps count datagrams from 0 again: setting SOF_TIMESTAMPING_OPT_ID anew resets the counter."""
    opened.setsockopt(socket.SOL_SOCKET, control.SO_TIMESTAMPING, WITHOUT_ID)
    opened.setsockopt(socket.SOL_SOCKET, control.SO_TIMESTAMPING, STAMPING)


def is_own_address(address: str) -> bool:
    """Whether this host (network namespace) has the numeric address."""
    if ":" in address:
        try:
            held = Path("/proc/thread-self/net/if_inet6").read_text("ascii")
        except OSError:
            return False
        return ipaddress.IPv6Address(address).packed.hex() in held
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((address, 0))
        except OSError:
            return False
    return True


def udp_overflows(family: int) -> int:
    """UDP datagrams this host (network namespace) has dropped because a socket's buffer was full; 0 if it won't say."""
    try:
        if family == 4:
            lines = [line.split() for line in Path("/proc/thread-self/net/snmp").read_text("ascii").splitlines()]
            names, values = [line for line in lines if line[0] == "Udp:"]
            return int(values[names.index("RcvbufErrors")])
        lines = [line.split() for line in Path("/proc/thread-self/net/snmp6").read_text("ascii").splitlines()]
        return next(int(line[1]) for line in lines if line[0] == "Udp6RcvbufErrors")
    except (OSError, ValueError, StopIteration):
        return 0


def _prepare_icmp(opened: socket.socket, family: int, *, raw: bool, source: str | None, hops: bool) -> Endpoint:
    if raw:
        identifier = secrets.randbelow(0xFFFF) + 1
        packet_filter.only_echo_replies(opened, family)
    else:
        opened.bind((source or ("0.0.0.0" if family == 4 else "::"), 0))
        identifier = opened.getsockname()[1]
    packet_filter.attach(opened, packet_filter.echo_replies(family, identifier, raw=raw))
    _prepare(opened, family, hops=hops)
    return Endpoint(opened, family, identifier, raw, source if not raw else None)


def _prepare(opened: socket.socket, family: int, *, hops: bool) -> None:
    opened.setblocking(False)
    if family == 4:
        opened.setsockopt(socket.IPPROTO_IP, control.IP_RECVERR, 1)
        opened.setsockopt(socket.IPPROTO_IP, control.IP_RECVTTL, int(hops))
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, control.IPV6_RECVERR, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, control.IPV6_RECVHOPLIMIT, int(hops))
    opened.setsockopt(socket.SOL_SOCKET, control.SO_TIMESTAMPING, STAMPING)
    enlarge(opened, _SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    enlarge(opened, _SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BUFFER)


def enlarge_receive_buffer(opened: socket.socket) -> None:
    """As large as this process may make it."""
    enlarge(opened, _SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def enlarge(opened: socket.socket, force: int, plain: int, octets: int) -> None:
    """Past the limit of the system where CAP_NET_ADMIN allows it, up to the limit otherwise."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, force, octets // 2)  # the kernel doubles it
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, plain, octets // 2)


def _unusable(family: int, error: OSError) -> LocalError:
    if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT):
        return LocalError(f"this host has no IPv{family}", hint=f"enable IPv{family}, or probe an address it has")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return LocalError("no file descriptor left for a socket", hint="raise LimitNOFILE or fs.file-max")
    return LocalError(f"cannot open an IPv{family} socket: {os.strerror(error.errno or 0)}")
