"""The layers of scapy that the tracing child uses. The only importer of scapy: never imported by the agent itself.

Not scapy.all, which costs twice the time and memory, reads routes and opens nothing we need.
"""

from __future__ import annotations

import logging

# Scapy warns of interfaces without addresses and of bytes it cannot place: both are none of ours.
logging.getLogger("scapy").setLevel(logging.CRITICAL)

from scapy.contrib.mpls import MPLS, ICMPExtension_MPLS  # noqa: E402
from scapy.layers.inet import (  # noqa: E402
    ICMP,
    IP,
    TCP,
    UDP,
    ICMPerror,
    ICMPExtension_Header,
    ICMPExtension_Object,
    IPerror,
    TCPerror,
    UDPerror,
)
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPerror6,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.packet import Packet, Raw  # noqa: E402

__all__ = [
    "ICMP", "IP", "MPLS", "TCP", "UDP", "ICMPExtension_Header", "ICMPExtension_MPLS", "ICMPExtension_Object",
    "ICMPerror", "ICMPv6DestUnreach", "ICMPv6EchoReply", "ICMPv6EchoRequest", "ICMPv6PacketTooBig",
    "ICMPv6ParamProblem", "ICMPv6TimeExceeded", "IPerror", "IPerror6", "IPv6", "IPv6ExtHdrFragment", "Packet", "Raw",
    "TCPerror", "UDPerror",
]  # fmt: skip
