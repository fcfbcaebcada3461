"""TWAMP probe (RFC 5357): delay, variation and loss of each direction, against a router's TWAMP server.

The session is agreed over TWAMP-Control first, in unauthenticated (open) mode; the packets are as STAMP's. Against a
reflector without control (TWAMP Light) use the kind stamp.
"""

from __future__ import annotations

from probes.core.catalog import Metric, Parameter, StreamKind
from probes.core.clock import MILLISECOND, SECOND
from probes.engine.twamp_session import arrange
from probes.wire.stamp import UNAUTHENTICATED_SIZE
from probes.wire.twamp_codec import TwampCodec
from probes.wire.twamp_control import PORT

PROBE = StreamKind(
    name="twamp",
    summary="TWAMP: delay, variation and loss of each direction, to a TWAMP server that is asked for a session",
    parameters=(
        Parameter("port", "port", PORT, "TCP port of the server's control", 1, 65535, option="-p"),
        Parameter("every", "duration", SECOND, "time between two packets", MILLISECOND, 600 * SECOND, option="-i"),
        Parameter("timeout", "duration", 3 * SECOND, "a later reply is lost", MILLISECOND, 60 * SECOND, option="-w"),
        Parameter("size", "size", 100, "octets of UDP payload, both ways", UNAUTHENTICATED_SIZE, 65000, option="-s"),
        Parameter("ttl", "integer", None, "hop limit; the system's if not given", 1, 255, option="-t"),
    ),
    metrics=(
        Metric("loss", "ratio", "packets without a reply within the timeout / packets sent (RFC 2680 for round trips)"),
        Metric("delay", "ns", "(T4 - T1) - (T3 - T2), T1 and T4 from this host's kernel (RFC 2681, without residence)"),
        Metric("forward_delay", "ns", "T2 - T1, signed (RFC 7679); withheld unless both clocks are synchronised"),
        Metric("backward_delay", "ns", "T4 - T3, signed (RFC 7679); withheld unless both clocks are synchronised"),
        Metric("residence", "ns", "T3 - T2: time inside the reflector, no part of any delay"),
        Metric("forward_loss", "packets", "gaps in the reflector's own numbering (RFC 7680, RFC 5357 section 4.2.1)"),
        Metric("backward_loss", "packets", "the rest of the loss"),
        Metric("ipdv", "ns", "|D(i) - D(i-1)| of consecutive packets that both came back (RFC 3393, RFC 5481 4.1)"),
        Metric("pdv", "ns", "D(i) - min D of the interval (RFC 5481 section 4.2)"),
        Metric("rfc3550", "ns", "smoothed interarrival jitter (RFC 3550 section 6.4.1)"),
        Metric("duplicate", "packets", "further replies to a packet that was answered (RFC 5560)"),
        Metric("reordered", "packets", "replies overtaken by a later packet's (RFC 4737)"),
    ),
    codec=TwampCodec,
    sessions=True,
    arrange=arrange,
)
