"""STAMP probe (RFC 8762, RFC 8972): delay, variation and loss of each direction, against any STAMP or TWAMP Light
reflector: a router's, or ours (`linkwitness reflect`).
"""

from __future__ import annotations

from probes.core.catalog import Metric, Parameter, StreamKind
from probes.core.clock import MILLISECOND, SECOND
from probes.wire.stamp import PORT, UNAUTHENTICATED_SIZE
from probes.wire.stamp_codec import StampCodec

DEFAULT_SIZE = 184
"""Holds all extensions together, authenticated or not: turning one on never makes a size too small."""

PARAMETERS = (
    Parameter("port", "port", PORT, "UDP port of the reflector", 1, 65535, option="-p"),
    Parameter("every", "duration", SECOND, "time between two packets", MILLISECOND, 3600 * SECOND, option="-i"),
    Parameter("timeout", "duration", 3 * SECOND, "a later reply is lost", MILLISECOND, 60 * SECOND, option="-w"),
    Parameter(
        "size",
        "size",
        DEFAULT_SIZE,
        "octets of UDP payload, filled up with Extra Padding",
        UNAUTHENTICATED_SIZE,
        65000,
        option="-s",
    ),
    Parameter("ttl", "integer", None, "hop limit; the system's if not given", 1, 255, option="-t"),
    Parameter("ssid", "integer", 0, "session identifier (RFC 8972 section 3); 0 is none", 0, 65535),
    Parameter("key", "secret", None, "shared key, 16 octets or more: authenticated mode, HMAC-SHA-256"),
    Parameter("stamps", "choice", "ntp", "format of the timestamps that are sent", choices=("ntp", "ptp")),
    Parameter("follow_up", "boolean", True, "ask when the reply before really left (RFC 8972 section 4.7)"),
    Parameter("class_of_service", "boolean", True, "ask for the DSCP that arrived (RFC 8972 section 4.4)"),
    Parameter("timestamp_information", "boolean", False, "ask what the far clock follows (RFC 8972 section 4.3)"),
    Parameter("direct_measurement", "boolean", False, "ask for the reflector's counters (RFC 8972 section 4.5)"),
)
METRICS = (
    Metric("loss", "ratio", "packets without a reply within the timeout / packets sent (RFC 2680 for round trips)"),
    Metric("delay", "ns", "(T4 - T1) - (T3 - T2), T1 and T4 from this host's kernel (RFC 2681, without residence)"),
    Metric("forward_delay", "ns", "T2 - T1, signed (RFC 7679); withheld unless both clocks are synchronised"),
    Metric("backward_delay", "ns", "T4 - T3, signed (RFC 7679); withheld unless both clocks are synchronised"),
    Metric("residence", "ns", "T3 - T2: time inside the reflector, no part of any delay"),
    Metric("forward_loss", "packets", "gaps in the reflector's own numbering (RFC 7680, RFC 8762 section 4.3)"),
    Metric("backward_loss", "packets", "the rest of the loss"),
    Metric("ipdv", "ns", "|D(i) - D(i-1)| of consecutive packets that both came back (RFC 3393, RFC 5481 section 4.1)"),
    Metric("pdv", "ns", "D(i) - min D of the interval (RFC 5481 section 4.2)"),
    Metric("rfc3550", "ns", "smoothed interarrival jitter (RFC 3550 section 6.4.1)"),
    Metric("duplicate", "packets", "further replies to a packet that was answered (RFC 5560)"),
    Metric("reordered", "packets", "replies overtaken by a later packet's (RFC 4737)"),
)

PROBE = StreamKind(
    name="stamp",
    summary="STAMP: delay, variation and loss of each direction, to any STAMP or TWAMP Light reflector",
    parameters=PARAMETERS,
    metrics=METRICS,
    codec=StampCodec,
    sessions=True,
)
