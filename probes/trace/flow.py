"""What routers hash stays the same for every packet of a trace; what tells packets apart is elsewhere. Pure.

Load balancers choose by addresses, protocol, the first four octets behind the IP header (ports; ICMP type, code and
checksum) and the IPv6 flow label (Augustin et al., "Avoiding traceroute anomalies with Paris traceroute", IMC 2006;
RFC 6438). So these are constant, within a trace and from run to run, and a packet's tag is

    udp    IP identification (IPv4) and the third and fourth octet of the payload; the first two make up for it
    icmp   sequence number; the first two octets of the payload make up for it, so the checksum stays
    tcp    sequence number; the checksum changes with it, ports do not
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOWEST_PORT: Final = 16384
"""Source ports come from 16384..32767, below those that Linux gives out by itself (ip_local_port_range)."""
_PORTS: Final = 16384
STRIDE: Final = 4096
"""Distance of TCP sequence numbers."""
MOST: Final = 60_000
"""Packets of one trace, so that no tag comes twice."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow of packets. `tag_base` and `nonce` are random for each trace, everything else follows from the order."""

    family: int
    protocol: str
    source: str
    target: str
    source_port: int
    port: int
    identifier: int
    """of ICMP echo, 16 bits"""
    flow_label: int
    """20 bits, not 0"""
    checksum: int
    """of UDP and ICMP, neither 0 nor 0xFFFF, which would be one value in one's complement"""
    dscp: int
    tag_base: int
    """32 bits"""
    nonce: int
    """32 bits, in the payload"""

    def tag(self, number: int) -> int:
        """16 bits that are no other packet's of this trace, never 0 (the kernel would choose an identification)."""
        return (self.tag_base + number) % 0xFFFF + 1

    def number(self, tag: int) -> int:
        """Inverse of `tag`, for numbers below 0xFFFF."""
        return (tag - 1 - self.tag_base) % 0xFFFF

    def tcp_sequence(self, number: int) -> int:
        return (self.tag_base + number * STRIDE) & 0xFFFFFFFF

    def tcp_number(self, sequence: int) -> int | None:
        """Inverse of `tcp_sequence`; None for a sequence number that is none of ours."""
        number, rest = divmod((sequence - self.tag_base) & 0xFFFFFFFF, STRIDE)
        return None if rest else number


def source_port(flow: int, attempt: int = 0) -> int:
    """The source port of a flow; `attempt` counts on where others hold it."""
    return LOWEST_PORT + (flow + attempt) % _PORTS


def constants(flow: int) -> tuple[int, int, int]:
    """ICMP identifier, IPv6 flow label and checksum of a flow, from its 32 bits."""
    mixed = flow * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    return (mixed >> 48) % 0xFFFF + 1, (mixed >> 28) % 0xFFFFF + 1, (mixed >> 8) % 0xFFFE + 1


def compensation(found: int, wanted: int) -> int:
    """The 16-bit word that, in place of a zero, turns checksum `found` into `wanted` (RFC 1624, one's complement)."""
    return (found - wanted) % 0xFFFF
