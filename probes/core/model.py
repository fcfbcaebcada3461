"""The central types. int64 ns everywhere, ratios 0..1, the unit in the name; absent is None, never 0 and never NaN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # numpy stays out of `linkwitness --help`
    from probes.core.arrays import Histogram, Packets


class SampleState(StrEnum):
    """What one interval of a stream, or one flow run, was. `code` is the stable integer of the store and the sinks."""

    OK = "ok"
    """at least one valid reply, in a window this host was fit to measure"""
    NO_REPLY = "no_reply"
    """packets left this host and none came back in time"""
    REJECTED = "rejected"
    """the network or the target answered with an error (ICMP unreachable, TCP reset)"""
    IMPAIRED = "impaired"
    """this host was in trouble, or measured through its own load: shown, but not judged"""
    INVALID = "invalid"
    """no measurement: name not resolved, not permitted, nothing could be sent"""

    @property
    def code(self) -> int:
        return _STATE_CODES[self]

    @staticmethod
    def from_code(code: int) -> SampleState:
        """Raises ValueError for a code that is not ours."""
        for state, known in _STATE_CODES.items():
            if known == code:
                return state
        raise ValueError(f"no sample state has the code {code}")

    @property
    def measured(self) -> bool:
        """True where the sample may feed a verdict. All else is missing data."""
        return self in (SampleState.OK, SampleState.NO_REPLY, SampleState.REJECTED)


_STATE_CODES = {
    SampleState.OK: 0,
    SampleState.NO_REPLY: 1,
    SampleState.REJECTED: 2,
    SampleState.IMPAIRED: 3,
    SampleState.INVALID: 4,
}


class PacketState(IntEnum):
    """Fate of one packet of a stream."""

    ANSWERED = 0
    LOST = 1
    LATE = 2
    """answered after the timeout, before it was forgotten: lost for the contract, its delay is known"""
    NOT_SENT = 3
    """never left this host: missing data, not loss"""
    REJECTED = 4
    """an ICMP error came back: lost, with a reason"""


class StampSource(StrEnum):
    """Where the two ends of a round-trip time were stamped."""

    KERNEL = "kernel"
    """kernel transmit and kernel receive stamps for every packet"""
    KERNEL_RECEIVE = "kernel-receive"
    """at least one transmit stamp is from user space"""
    USER = "user"
    """at least one receive stamp is from user space"""


@dataclass(frozen=True, slots=True)
class Counts:
    """Packets (or attempts) of a sample. sent = received + lost; late and rejected packets are part of `lost`.

    `not_sent` never left this host and is in no other count. `duplicate`, `reordered` (RFC 4737: distinct arrivals
    with a sequence smaller than expected) and `corrupt` are counted beside.
    """

    sent: int = 0
    received: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    reordered: int = 0
    corrupt: int = 0
    not_sent: int = 0


@dataclass(frozen=True, slots=True)
class Delay:
    """Round-trip delay of the `count` packets received in time (RFC 2681). Exact: mean = sum_ns / count.

    Percentiles by nearest rank (RFC 2330 section 11.3) over received packets.
    """

    count: int
    sum_ns: int
    minimum_ns: int
    maximum_ns: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    stddev_ns: int

    @property
    def mean_ns(self) -> float:
        return self.sum_ns / self.count


@dataclass(frozen=True, slots=True)
class Variation:
    """Delay variation, each definition under its own name. Exact: mean |IPDV| = ipdv_abs_sum_ns / ipdv_pairs.

    ipdv: RFC 3393 selection of RFC 5481 section 4.1, |D(i) - D(i-1)| over consecutive packets that both arrived;
    pdv: RFC 5481 section 4.2, D(i) - min D of the interval; rfc3550: section 6.4.1 estimator at the interval's end.
    """

    ipdv_pairs: int
    ipdv_abs_sum_ns: int
    ipdv_p95_ns: int | None
    """None where no pair arrived, as when every second packet is lost"""
    pdv_p95_ns: int
    rfc3550_ns: int | None
    """None before the stream's second arrival"""

    @property
    def ipdv_mean_ns(self) -> float:
        return self.ipdv_abs_sum_ns / self.ipdv_pairs


@dataclass(frozen=True, slots=True)
class Rate:
    """A capacity run, per direction; forward is away from this host. TCP payload octets, so layer 4 goodput."""

    forward_bps: int | None = None
    backward_bps: int | None = None
    forward_bytes: int | None = None
    backward_bytes: int | None = None
    forward_ns: int | None = None
    backward_ns: int | None = None
    streams: int = 1
    layer: str = "tcp payload"
    forward_retransmits: int | None = None
    backward_retransmits: int | None = None
    """segments the sender of that direction had to send again"""


@dataclass(frozen=True, slots=True)
class OneWay:
    """One direction of a sample whose far end stamps packets with a clock of its own (STAMP, TWAMP).

    Loss needs a far end that counts (RFC 8762 section 4.3, stateful); delay (RFC 7679) needs both clocks; variation
    needs neither clock's offset, which cancels. `delay` may be negative within `error_ns` and is never clipped.
    """

    sent: int | None = None
    """packets that entered this direction; None where the far end does not number its replies"""
    lost: int | None = None
    delay: Delay | None = None
    """None while it is withheld, and where nothing arrived"""
    variation: Variation | None = None
    """None where nothing arrived, and where a clock was set meanwhile"""
    error_ns: int | None = None
    """bound of the error of `delay`: both clocks, and stamps taken in user space"""
    withheld: str | None = None
    """why there is no delay although packets arrived, such as a clock that is not synchronised"""
    dscp: int | None = None
    """code point with which the newest packet of this direction arrived"""
    histogram: Histogram | None = None
    ttl: int | None = None
    """TTL or hop limit with which the newest packet of this direction arrived"""
    stamped: int | None = None
    """answered packets whose sending into this direction a kernel stamped: forward this host's, backward the far one's,
    as its follow-up tells (RFC 8972 section 4.7)"""


@dataclass(frozen=True, slots=True)
class Residence:
    """Time packets spent inside the far end, T3 - T2, over the `count` answered packets. No part of the delay."""

    count: int
    sum_ns: int
    minimum_ns: int
    maximum_ns: int


@dataclass(frozen=True, slots=True)
class Label:
    """One entry of an MPLS label stack, RFC 3032 section 2.1."""

    value: int
    traffic_class: int
    bottom: bool
    ttl: int


@dataclass(frozen=True, slots=True)
class Hop:
    """What answered at one distance. A silent hop (`address` None) is not loss: it may only not answer."""

    ttl: int
    address: str | None
    sent: int
    received: int
    minimum_ns: int | None = None
    sum_ns: int | None = None
    maximum_ns: int | None = None
    """round trip to this hop over the `received` answers"""
    labels: tuple[Label, ...] = ()
    """MPLS label stack the packet had on arrival, RFC 4950"""
    dscp: int | None = None
    """code point of our packet as this hop quotes it; None where it is not quoted"""
    mtu: int | None = None
    """next-hop MTU it told, RFC 1191, RFC 8201"""
    error: str | None = None
    """an answer other than `time exceeded`, in words"""


@dataclass(frozen=True, slots=True)
class Path:
    """Hops towards the target at one moment, for one flow that routers hash alike (Paris traceroute)."""

    protocol: str
    """udp, icmp or tcp"""
    reached: bool
    """the last hop is the target"""
    hops: tuple[Hop, ...]
    mtu: int | None = None
    """path MTU in octets, where it was looked for"""

    @property
    def addresses(self) -> tuple[str | None, ...]:
        """Who answered at ttl 1, 2, ...; None for silence."""
        return tuple(hop.address for hop in self.hops)


@dataclass(frozen=True, slots=True)
class Quality:
    """How far the numbers of a sample can be trusted."""

    stamps: StampSource = StampSource.USER
    lateness_p50_ns: int | None = None
    lateness_max_ns: int | None = None
    """send time minus scheduled time"""
    local_drops: int = 0
    """replies this host received and dropped for want of buffer"""
    clock_synchronised: bool | None = None
    clock_error_ns: int | None = None
    load: float | None = None
    """share of this host's CPU time in use, 0..1"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One stream and one interval, or one flow run. Identified by (circuit, probe, start_ns).

    start_ns: UTC ns of the interval's start; span_ns: its length. `phases` are the named parts of a flow attempt in
    ns. `packets` is None where the kind has none or they have been retired; the histogram is kept for ever.
    """

    circuit: str
    probe: str
    kind: str
    start_ns: int
    span_ns: int
    state: SampleState
    counts: Counts | None = None
    delay: Delay | None = None
    variation: Variation | None = None
    rate: Rate | None = None
    remote: str | None = None
    quality: Quality = field(default_factory=Quality)
    reason: str | None = None
    phases: tuple[tuple[str, int], ...] = ()
    packets: Packets | None = None
    histogram: Histogram | None = None
    forward: OneWay | None = None
    """away from this host"""
    backward: OneWay | None = None
    residence: Residence | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class ProbeSetting:
    """One probe of a circuit as configured. `parameters` are in the kind's base units (ns, bytes, bit/s)."""

    name: str
    """unique within the circuit; the kind's name unless the operator chose one"""
    kind: str
    parameters: Mapping[str, object]
    schedule: str | None = None
    """five-field cron expression (UTC) of a flow probe, instead of `every`"""


@dataclass(frozen=True, slots=True)
class Circuit:
    """One customer circuit and what is measured on it."""

    id: str
    target: str
    customer: str | None = None
    provider: str | None = None
    site: str | None = None
    source: str | None = None
    interface: str | None = None
    dscp: int = 0
    family: int | None = None
    """4 or 6; None takes what the target resolves to, IPv4 first"""
    committed_rate_bps: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    probes: tuple[ProbeSetting, ...] = ()
    contract: str | None = None
    monthly_charge: str | None = None
    """decimal amount and ISO 4217 currency, as written: `480.00 EUR`"""
    near_end: str | None = None
    """circuit of this agent that stands for the near side, such as the provider's edge at this site"""
    far_end: str | None = None
    """circuit that reaches the far side another way"""
    namespace: str | None = None
    """network namespace of this host that it is reached from; None is the agent's own"""
