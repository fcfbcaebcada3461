"""Path: which routers a packet to the target passes, how long each takes to answer, and what they do to packets.

Traceroute that keeps its flow: whatever load balancers hash is the same for every packet and from run to run (Paris
traceroute, see probes.trace.flow), so the hops are those of one path. A hop that does not answer is silent, not
lossy: routers answer such packets when they have time, at most so many a second, or never. So a sample of this kind
has no counts and no delay that could be judged; the numbers stand with each hop of `path`.

A run happens in a process of its own (probes.trace.child), which crafts and dissects packets with scapy and needs
CAP_NET_RAW. Only the process that runs traces has scapy in it.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Final

from probes.core.catalog import FlowKind, FlowTarget, Metric, Parameter
from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Path, Quality, Sample, SampleState, StampSource
from probes.trace import process
from probes.trace.hops import path_of, remarks
from probes.trace.order import PROTOCOLS, Findings, Order, Purpose

_PORTS: Final = {"udp": 33434, "tcp": 80, "icmp": 0}
"""33434 is traceroute's; ICMP has no ports."""
_BUDGET: Final = 60 * SECOND


def measure(target: FlowTarget, parameters: Mapping[str, object], clock: Clock) -> Sample:
    """One trace; ends by two minutes and a half at most, usually after some seconds.

    `parameters` may hold `progress`, called about ten times a second with (packets sent, answers, farthest ttl); what
    it raises ends the run at once and is passed on.
    """
    begin, started_ns = clock.monotonic(), clock.wall()
    progress = parameters.get("progress")
    path, quality = None, Quality()
    reason: str | None
    try:
        order = _order(target, parameters)
        found = process.run(order, clock, progress if callable(progress) else None)
    except LocalError as error:
        state, reason = SampleState.INVALID, str(error)
    else:
        path = path_of(order, found)
        state, reason = _outcome(target, order, found, path)
        quality = Quality(stamps=_stamps(found))
    return Sample(
        circuit=target.circuit,
        probe=target.probe,
        kind=PROBE.name,
        start_ns=started_ns,
        span_ns=max(1, clock.monotonic() - begin),
        state=state,
        remote=target.address,
        quality=quality,
        reason=reason,
        path=path,
    )


def _order(target: FlowTarget, parameters: Mapping[str, object]) -> Order:
    values = {parameter.name: parameter.default for parameter in PROBE.parameters} | dict(parameters)

    def integer(name: str) -> int:
        value = values[name]
        if not isinstance(value, int):
            raise TypeError(f"{name} is an integer")
        return value

    try:
        family = ipaddress.ip_address(target.address).version
    except ValueError:
        raise LocalError(f"{target.address!r} is not a numeric address") from None
    protocol = str(values["protocol"])
    return Order(
        family=family,
        target=target.address,
        protocol=protocol,
        port=_PORTS[protocol] if values["port"] is None else integer("port"),
        flow=_flow(target, protocol),
        source=target.source,
        interface=target.interface,
        dscp=target.dscp,
        max_hops=integer("max_hops"),
        probes=integer("probes"),
        timeout_ns=integer("timeout"),
        size=integer("size"),
        silent=integer("silent"),
        mtu=bool(values["mtu"]),
        budget_ns=_BUDGET,
    )


def _flow(target: FlowTarget, protocol: str) -> int:
    """The same 32 bits for the same circuit and probe, so that a path is compared with itself."""
    text = "\0".join((target.circuit, target.probe, target.host, protocol))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def _outcome(target: FlowTarget, order: Order, found: Findings, path: Path) -> tuple[SampleState, str | None]:
    """ok: the target answered. A path that ends before it is not loss: it says how far packets are seen."""
    notes = remarks(order, found, path)
    last = next((hop for hop in reversed(path.hops) if hop.address is not None), None)
    if path.reached:
        state = SampleState.OK
    elif last is not None and last.error is not None:
        state = SampleState.REJECTED
        notes.insert(0, f"{last.error} from {last.address} (hop {last.ttl})")
    elif found.looped and last is not None:
        state = SampleState.NO_REPLY
        first = next(hop.ttl for hop in path.hops if hop.address == last.address)
        circle = dict.fromkeys(hop.address for hop in path.hops if hop.ttl >= first and hop.address is not None)
        notes.insert(0, f"packets go in circles from hop {first} on: {', '.join(circle)}")
    else:
        state = SampleState.NO_REPLY
        where = "no hop answers" if last is None else f"the last hop that answers is {last.ttl}, {last.address}"
        notes.insert(0, f"no answer from {target.address}; {where}")
    return state, "; ".join(notes) or None


def _stamps(found: Findings) -> StampSource:
    answered = [shot for shot in found.shots if shot.reply is not None and shot.purpose is Purpose.HOP]
    if any(shot.reply is not None and shot.reply.user_stamp for shot in answered) or not answered:
        return StampSource.USER
    return StampSource.KERNEL_RECEIVE if any(shot.user_stamp for shot in answered) else StampSource.KERNEL


PROBE: Final = FlowKind(
    name="path",
    summary="Path: every hop towards the target, its delay, MPLS labels, rewritten DSCP, and the path MTU",
    parameters=(
        Parameter("protocol", "choice", "udp", "what is sent", choices=PROTOCOLS),
        Parameter(
            "port", "port", None, "destination port; 33434 (udp) or 80 (tcp) if not given", 1, 65535, option="-p"
        ),
        Parameter(
            "every", "duration", 600 * SECOND, "time between runs, beside those after a change of state", 10 * SECOND,
            option="-i",
        ),
        Parameter("max_hops", "integer", 30, "hops at most", 1, 64, option="-m"),
        Parameter("probes", "integer", 3, "packets for each hop", 1, 10, option="-n"),
        Parameter(
            "timeout", "duration", SECOND, "how long the answer to a packet is waited for", 100 * MILLISECOND,
            5 * SECOND, option="-w",
        ),
        Parameter("silent", "integer", 5, "end after so many hops in a row that do not answer", 1, 30),
        Parameter("size", "size", 60, "octets of a whole IP packet (udp, icmp)", 60, 9000, option="-s"),
        Parameter("mtu", "boolean", True, "look for the path MTU, with packets that may not be fragmented"),
    ),
    metrics=(
        Metric("hop address", "address", "source of the answer to packets with this ttl (RFC 792, RFC 4443)"),
        Metric("hop delay", "ns", "round trip to the hop: kernel transmit stamp to kernel receive stamp"),
        Metric("hop sent, received", "packets", "packets with this ttl and answers to them; fewer answers are no loss"),
        Metric("hop labels", "MPLS", "label stack a packet had on arrival at the hop (RFC 4950)"),
        Metric("hop dscp", "code point", "DSCP of our packet as the hop quotes it"),
        Metric("mtu", "octets", "largest IP packet the target answered (RFC 1191, RFC 8201, search as in RFC 8899)"),
    ),
    measure=measure,
    single=True,
)  # fmt: skip
