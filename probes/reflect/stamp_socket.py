"""The socket of a STAMP reflector: filter, ancillary data, receive stamps and buffers set before the first packet."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

from probes.core.errors import LocalError, PrivilegeError
from probes.engine import control, packet_filter
from probes.engine.sockets import enlarge_receive_buffer

PRIVILEGED: Final = 1024
WAKE_S: Final = 0.2
"""how long a wait for a packet lasts, and so how soon the end is noticed"""
_IP_RECVTOS: Final = 13
_IPV6_RECVTCLASS: Final = 66
_SO_MEMINFO: Final = 55
_DROPS: Final = 8
_BIND_HINT: Final = (
    "ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= of the unit), or choose a port from 1024 on "
    "and tell the senders"
)


def open_endpoint(listen: str, port: int, shortest: int) -> socket.socket:
    """Bound to numeric `listen` ("::" takes IPv4 too) and UDP `port`; only datagrams of `shortest` octets or more.

    Blocking, with a deadline of WAKE_S. Raises LocalError, PrivilegeError where the port is not permitted.
    """
    try:
        address = ipaddress.ip_address(listen)
    except ValueError:
        raise LocalError(f"{listen!r} is not an address", hint="listen on 127.0.0.1, 0.0.0.0 or ::") from None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    endpoint = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        # The filter comes before the address, so that nothing unfiltered is ever queued.
        packet_filter.attach(endpoint, packet_filter.datagrams(shortest))
        _prepare(endpoint)
        endpoint.bind((listen, port))
    except PermissionError:
        endpoint.close()
        raise PrivilegeError(f"not permitted to answer STAMP on UDP port {port}", hint=_BIND_HINT) from None
    except OSError as error:
        endpoint.close()
        raise LocalError(
            f"cannot listen on {listen} UDP port {port}: {error.strerror}",
            hint="is another STAMP or TWAMP reflector running, or is this not an address of this host?",
        ) from None
    return endpoint


def adopt(endpoint: socket.socket, shortest: int) -> None:
    """Make a bound UDP socket that was opened by somebody else one like `open_endpoint` gives. Raises LocalError."""
    try:
        packet_filter.attach(endpoint, packet_filter.datagrams(shortest))
        endpoint.setblocking(True)
        _prepare(endpoint, bound=True)
    except OSError as error:
        raise LocalError(f"the socket passed for STAMP cannot be used: {error.strerror}") from None


def dropped_by_kernel(endpoint: socket.socket) -> int:
    """Datagrams the kernel dropped at this socket, modulo 2^32: too short for the filter, or no room to queue them."""
    try:
        memory = endpoint.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
    except OSError:
        return 0
    return int(struct.unpack_from("=I", memory, 4 * _DROPS)[0]) if len(memory) > 4 * _DROPS else 0


def _prepare(endpoint: socket.socket, *, bound: bool = False) -> None:
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 0, int(WAKE_S * 1_000_000)))
    enlarge_receive_buffer(endpoint)
    options = [
        (socket.IPPROTO_IP, control.IP_RECVTTL, 1),
        (socket.IPPROTO_IP, _IP_RECVTOS, 1),
    ]
    if endpoint.family == socket.AF_INET:
        options += [(socket.IPPROTO_IP, control.IP_PKTINFO, 1)]
    else:
        options += [] if bound else [(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)]
        options += [
            (socket.IPPROTO_IPV6, control.IPV6_RECVPKTINFO, 1),
            (socket.IPPROTO_IPV6, control.IPV6_RECVHOPLIMIT, 1),
            (socket.IPPROTO_IPV6, _IPV6_RECVTCLASS, 1),
        ]
    for option in options:
        endpoint.setsockopt(*option)
