"""Second implementation of the interval summary: one packet at a time, as the RFCs tell it, in plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, isqrt

from probes.core.model import PacketState


@dataclass
class Packet:
    sequence: int
    sent_ns: int
    state: PacketState
    rtt_ns: int | None = None
    lateness_ns: int | None = None
    duplicates: int = 0

    @property
    def received(self) -> bool:
        return self.state is PacketState.ANSWERED

    @property
    def arrived(self) -> bool:
        return self.state in (PacketState.ANSWERED, PacketState.LATE)


def nearest_rank(values: list[int], percent: int) -> int:
    """RFC 2330 section 11.3: the smallest value v with (number of values <= v) / n >= p."""
    for value in sorted(values):
        if sum(other <= value for other in values) * 100 >= percent * len(values):
            return value
    raise AssertionError("no values")


def standard_deviation(values: list[int]) -> int:
    """To the nearest ns, by exact integers: n^2 var = n sum(x^2) - (sum x)^2."""
    n = len(values)
    scaled = n * sum(x * x for x in values) - sum(values) ** 2
    return round(Fraction(isqrt(scaled * 10**12), n * 10**6))


@dataclass
class Stream:
    """One stream, interval after interval."""

    previous: Packet | None = None
    transit: int | None = None
    jitter: Fraction = Fraction(0)
    pairs: int = 0
    next_expected: int = 0
    arrivals: list[tuple[int, int]] = field(default_factory=list)

    def interval(self, packets: list[Packet]) -> dict[str, int | None]:
        received = [p.rtt_ns for p in packets if p.received and p.rtt_ns is not None]
        lateness = [p.lateness_ns for p in packets if p.lateness_ns is not None]
        out: dict[str, int | None] = {
            "sent": sum(p.state is not PacketState.NOT_SENT for p in packets),
            "received": len(received),
            "lost": sum(p.state in (PacketState.LOST, PacketState.LATE, PacketState.REJECTED) for p in packets),
            "late": sum(p.state is PacketState.LATE for p in packets),
            "not_sent": sum(p.state is PacketState.NOT_SENT for p in packets),
            "duplicate": sum(p.duplicates for p in packets),
            "rtt_count": len(received),
            "rtt_sum_ns": sum(received) if received else None,
            "rtt_min_ns": min(received, default=None),
            "rtt_max_ns": max(received, default=None),
            "rtt_p50_ns": nearest_rank(received, 50) if received else None,
            "rtt_p95_ns": nearest_rank(received, 95) if received else None,
            "rtt_p99_ns": nearest_rank(received, 99) if received else None,
            "rtt_stddev_ns": standard_deviation(received) if received else None,
            "pdv_p95_ns": nearest_rank([x - min(received) for x in received], 95) if received else None,
            "lateness_p50_ns": nearest_rank(lateness, 50) if lateness else None,
            "lateness_max_ns": max(lateness, default=None),
        }
        return out | self._ipdv(packets) | self._jitter(packets)

    def _ipdv(self, packets: list[Packet]) -> dict[str, int | None]:
        sizes = []
        for packet in packets:
            before, self.previous = self.previous, packet
            if before and before.received and packet.received and packet.sequence == before.sequence + 1:
                assert before.rtt_ns is not None
                assert packet.rtt_ns is not None
                sizes.append(abs(packet.rtt_ns - before.rtt_ns))
        return {
            "ipdv_pairs": len(sizes),
            "ipdv_abs_sum_ns": sum(sizes),
            "ipdv_p95_ns": nearest_rank(sizes, 95) if sizes else None,
        }

    def _jitter(self, packets: list[Packet]) -> dict[str, int | None]:
        arrived = sorted((p.sent_ns + (p.rtt_ns or 0), p.sequence, p.rtt_ns or 0) for p in packets if p.arrived)
        for _, _, transit in arrived:
            if self.transit is not None:
                self.jitter += (abs(transit - self.transit) - self.jitter) / 16
                self.pairs += 1
            self.transit = transit
        return {"rfc3550_ns": round(self.jitter) if arrived and self.pairs else None}


def reordered(packets: list[Packet]) -> set[int]:
    """Sequence numbers that RFC 4737 section 3.3 calls reordered in a whole stream, with NextExp stepped by hand."""
    next_expected, found = 0, set()
    for _, sequence in sorted((p.sent_ns + (p.rtt_ns or 0), p.sequence) for p in packets if p.arrived):
        if sequence < next_expected:
            found.add(sequence)
        else:
            next_expected = sequence + 1
    return found


def arrivals(packets: list[Packet]) -> list[int]:
    """Sequence numbers in order of arrival."""
    return [sequence for _, sequence in sorted((p.sent_ns + (p.rtt_ns or 0), p.sequence) for p in packets if p.arrived)]


def extent(arrived: list[int], i: int) -> int:
    """RFC 4737 section 4.2.2, word by word: i - j for the smallest j < i with s[j] > s[i]."""
    return next((i - j for j in range(i) if arrived[j] > arrived[i]), 0)


def n_reordering(arrived: list[int], i: int) -> int:
    """RFC 4737 section 5.4: the largest n with s[j] > s[i] for all i - n <= j < i."""
    n = 0
    while n < i and arrived[i - n - 1] > arrived[i]:
        n += 1
    return n


def rating(one_way_ns: int, lost: int, sent: int, codec: str) -> Fraction:
    """R of G.107 simplified, exact: delay in ms, loss in per cent, and what the codec adds."""
    ie, bpl, own_ms = {"g711": (0, "4.3", 20), "g711_plc": (0, "25.1", 20), "g729a": (11, "19", 25)}[codec]
    d = Fraction(one_way_ns, 10**6) + 40 + own_ms
    delay = Fraction("0.024") * d + (Fraction("0.11") * (d - Fraction("177.3")) if d > Fraction("177.3") else 0)
    ppl = Fraction(100 * lost, sent)
    return Fraction("93.2") - delay - ie - (95 - ie) * ppl / (ppl + Fraction(bpl))


def loss_periods(packets: list[Packet]) -> list[tuple[int, int]]:
    """(first sequence, length) of each run of lost packets among those sent."""
    found: list[tuple[int, int]] = []
    running = False
    for packet in packets:
        if packet.state is PacketState.NOT_SENT:
            continue
        if packet.received:
            running = False
        elif running:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((packet.sequence, 1))
            running = True
    return found


def rank(count: int, p: Fraction) -> int:
    return ceil(p * count)
