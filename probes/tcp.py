"""TCP connect: does the port accept a connection, and how long is the handshake?

Delay is the time from the first SYN to its SYN-ACK. The kernel measures it itself (tcpi_rtt, microseconds), between
the moment it hands the SYN down and the moment the answer comes up, so it stays true when this process has to wait for
a CPU: stamps `kernel`. Where the SYN had to be repeated the kernel's figure is ambiguous (RFC 6298 section 3), so the
whole time of connect() counts: stamps `user`, and the reason says so. Both figures are kept as phases.

The connection is closed in order (FIN), not reset: a reset reads as a fault in the target's logs. The TIME_WAIT that
remains here holds one local port towards this one target and port for 60 s.

One fault of this host looks like the network's: a firewall rule of its own that drops the SYN without a word. The
kernel does not tell the socket (it does for UDP and ICMP), so that shows as `no_reply`; a `reject` rule is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from probes.core.arrays import ABSENT, Packets
from probes.core.catalog import FlowKind, FlowTarget, Metric, Parameter
from probes.core.clock import SECOND, Clock
from probes.core.model import Counts, Delay, PacketState, Quality, Sample, SampleState, StampSource
from probes.engine.connection import Attempt, Outcome, open_connection
from probes.metrics.histogram import build

_TIMEOUT: Final = 3 * SECOND

_STATES: Final = {
    Outcome.CONNECTED: (SampleState.OK, Counts(sent=1, received=1), PacketState.ANSWERED),
    Outcome.REJECTED: (SampleState.REJECTED, Counts(sent=1, lost=1), PacketState.REJECTED),
    Outcome.SILENT: (SampleState.NO_REPLY, Counts(sent=1, lost=1), PacketState.LOST),
    Outcome.LOCAL: (SampleState.INVALID, Counts(not_sent=1), PacketState.NOT_SENT),
}


def measure(target: FlowTarget, parameters: Mapping[str, object], clock: Clock) -> Sample:
    """One connection attempt; ends by `timeout`. parameters: port, timeout (ns)."""
    port, timeout_ns = parameters["port"], parameters.get("timeout", _TIMEOUT)
    if not isinstance(port, int) or not isinstance(timeout_ns, int):
        raise TypeError("port and timeout are integers")
    attempt = open_connection(target, port, timeout_ns, clock)
    if attempt.socket is not None:
        attempt.socket.close()
    return _sample(target, attempt)


def _sample(target: FlowTarget, attempt: Attempt) -> Sample:
    state, counts, fate = _STATES[attempt.outcome]
    delay_ns, stamps, reason = None, StampSource.USER, attempt.reason
    phases: tuple[tuple[str, int], ...] = ()
    if attempt.outcome is Outcome.CONNECTED:
        delay_ns, stamps, reason = _handshake(attempt)
        phases = (("connect", attempt.elapsed_ns),)
        if attempt.info is not None and attempt.info.rtt_ns:
            phases += (("kernel_rtt", attempt.info.rtt_ns),)
    elif attempt.outcome is Outcome.REJECTED:
        phases = (("rejected", attempt.elapsed_ns),)
    packets = Packets(
        np.zeros(1, np.int64),
        np.array([ABSENT if delay_ns is None else delay_ns], np.int64),
        np.array([fate], np.uint8),
    )
    delay = None
    if delay_ns is not None:
        delay = Delay(1, delay_ns, delay_ns, delay_ns, delay_ns, delay_ns, delay_ns, 0)
    return Sample(
        circuit=target.circuit,
        probe=target.probe,
        kind=PROBE.name,
        start_ns=attempt.started_ns,
        span_ns=max(1, attempt.elapsed_ns),
        state=state,
        counts=counts,
        delay=delay,
        remote=target.address,
        quality=Quality(stamps=stamps),
        reason=reason,
        phases=phases,
        packets=packets,
        histogram=None if delay_ns is None else build(np.array([delay_ns], np.int64)),
    )


def _handshake(attempt: Attempt) -> tuple[int, StampSource, str | None]:
    info = attempt.info
    if info is None or (not info.rtt_ns and not info.retransmits):
        return attempt.elapsed_ns, StampSource.USER, None
    if info.retransmits:
        return attempt.elapsed_ns, StampSource.USER, f"connected after {info.retransmits} repeated SYN"
    return info.rtt_ns, StampSource.KERNEL, None


PROBE: Final = FlowKind(
    name="tcp",
    summary="TCP connect: is the port open, and how long does the handshake take",
    parameters=(
        Parameter("port", "port", None, "TCP port to connect to", minimum=1, maximum=65535, required=True, option="-p"),
        Parameter("every", "duration", 10 * SECOND, "time between attempts", minimum=SECOND, option="-i"),
        Parameter(
            "timeout",
            "duration",
            _TIMEOUT,
            "an attempt without an answer ends after this long; the SYN is repeated after 1 s and 3 s",
            minimum=SECOND // 100,
            maximum=60 * SECOND,
            option="-w",
        ),
    ),
    metrics=(
        Metric("delay", "ns", "first SYN to SYN-ACK; by the kernel (tcpi_rtt) unless the SYN had to be repeated"),
        Metric("connect", "ns", "phase: connect() as this process saw it, repeated SYNs included"),
        Metric("kernel_rtt", "ns", "phase: round trip of the handshake by the kernel, microsecond resolution"),
        Metric("rejected", "ns", "phase: time until the reset or ICMP error; never counted as delay"),
        Metric("loss", "ratio", "attempts without a connection over attempts made"),
    ),
    measure=measure,
)
