"""ICMP echo probe (IPv4 and IPv6): the round trip to any host that answers a ping."""

from __future__ import annotations

from probes.core.catalog import PACING, Metric, Parameter, StreamKind
from probes.core.clock import MILLISECOND, SECOND
from probes.wire import payload
from probes.wire.icmp import EchoCodec

PARAMETERS = (
    Parameter("every", "duration", SECOND, "time between two packets", MILLISECOND, 3600 * SECOND, option="-i"),
    PACING,
    Parameter("timeout", "duration", 3 * SECOND, "a later reply is lost", MILLISECOND, 60 * SECOND, option="-w"),
    Parameter("size", "size", 56, "payload octets", payload.SIZE, 65000, option="-s"),
    Parameter("ttl", "integer", None, "hop limit; the system's if not given", 1, 255, option="-t"),
)
METRICS = (
    Metric("loss", "ratio", "packets without a reply within the timeout / packets sent (RFC 2680 for round trips)"),
    Metric("delay", "ns", "round trip, kernel transmit stamp to kernel receive stamp (RFC 2681)"),
    Metric("ipdv", "ns", "|D(i) - D(i-1)| of consecutive packets that both came back (RFC 3393, RFC 5481 section 4.1)"),
    Metric("pdv", "ns", "D(i) - min D of the interval (RFC 5481 section 4.2)"),
    Metric("rfc3550", "ns", "smoothed interarrival jitter (RFC 3550 section 6.4.1)"),
    Metric("duplicate", "packets", "further replies to a packet that was answered (RFC 5560)"),
    Metric("reordered", "packets", "replies overtaken by a later packet's (RFC 4737)"),
)

PROBE = StreamKind(
    name="icmp",
    summary="ICMP echo (ping): round-trip delay, variation and loss to any host that answers",
    parameters=PARAMETERS,
    metrics=METRICS,
    codec=EchoCodec,
)
