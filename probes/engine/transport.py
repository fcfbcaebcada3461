"""What the loop needs of a socket, so that a fake network can take its place in tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.codec import AnyCodec, Octets
from probes.engine.address import Peers


@dataclass(frozen=True, slots=True)
class Route:
    """How packets of one stream leave: struct sockaddr, ancillary data."""

    family: int
    name: bytes
    control: bytes
    interface: str | None = None
    """its number is in `control`; looked up anew when the kernel says that it is gone"""


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Packets received, arrays (n,). Valid until the next call of `receive`."""

    data: Octets
    """(n, capacity), from the ICMP header or from the UDP payload on"""
    length: Int64
    """octets the packet has; more than capacity if it was cut"""
    source: Peers
    """(n, 3)"""
    received_ns: Int64
    """kernel receive stamp, UTC, or ABSENT"""
    ttl: Int64
    """TTL or hop limit, or ABSENT"""
    damaged: NDArray[np.bool_] | None
    """wrong checksum; None where the kernel has checked"""
    more: bool
    """the batch is full: there may be more"""
    dscp: Int64 | None = None
    """code point, or ABSENT; None where the socket was not asked for it"""

    def dscp_of(self, rows: Int64) -> Int64:
        """Code points of some rows; ABSENT where unknown."""
        return np.full(len(rows), ABSENT, np.int64) if self.dscp is None else self.dscp[rows]


@dataclass(frozen=True, slots=True, eq=False)
class Refusals:
    """ICMP errors about our packets, arrays (n,)."""

    data: Octets
    """(n, capacity): the quoted packet from its ICMP header or its UDP payload on"""
    length: Int64
    kind: Int64
    """ICMP type"""
    code: Int64
    offender: Peers
    """(n, 3): who sent the error"""
    peer: Peers
    """(n, 3): whom the packet was for; zeros where the kernel does not say"""


@dataclass(frozen=True, slots=True, eq=False)
class Notices:
    """What the error queue held."""

    token: Int64
    """of packets that left, as given to `send`"""
    transmitted_ns: Int64
    """kernel transmit stamps, UTC"""
    refusals: Refusals | None


class Transport(Protocol):
    """One socket that carries all streams of a kind and an IP version."""

    identifier: int
    """ICMP identifier; 0 in UDP"""
    rows: int
    """packets one `send` can take"""

    def settle(self, namespace: str | None, interface: str | None) -> None:
        """It was opened in this network namespace, and sends and receives by this interface only. Told again when the
        interface may have come back."""

    def assign(self, stream: int, route: Route) -> None:
        """Packets of this stream leave so from now on. Rows may have to be written anew."""

    def reserve(self, length: int) -> None:
        """Make room for transport payloads of this many octets, both ways."""

    def outgoing(self, first: int, end: int, length: int) -> Octets:
        """Rows first..end-1, shape (end - first, length), to be written before `send`.

        They hold what was written last, and were zero before that.
        """

    def address(self, stream: Int64) -> None:
        """Rows 0..n-1 are packets of these streams, (n,): they leave by their routes, until rows are written anew."""

    def send(self, first: int, token: Int64) -> NDArray[np.int32] | None:
        """Send rows first..first+n-1, written and addressed before, each of the length last given for it; token (n,).

        errno of each (0 = sent), or None when all were sent.
        """

    def crowded(self) -> bool:
        """So much was sent since the last `receive` that the answers may fill a good part of the receive buffer."""

    def receive(self) -> Arrivals | None:
        """One batch; None when nothing is there."""

    def notices(self) -> Notices | None:
        """All that is in the error queue; None when nothing is there."""

    def drops(self) -> int:
        """Replies this host has dropped for want of buffer since the last call."""

    def owns(self, address: str) -> bool:
        """Whether this host has the address."""

    def local_port(self) -> int:
        """UDP port it sends from."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Channel:
    """One socket, and how to write and read its packets."""

    transport: Transport
    codec: AnyCodec
    family: int
