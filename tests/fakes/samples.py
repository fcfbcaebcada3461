"""Samples of every shape for property tests, and equality that looks into their arrays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from probes.core.arrays import ABSENT, Histogram, Int64, Packets
from probes.core.clock import SECOND, SystemClock
from probes.core.model import (
    Counts,
    Delay,
    Hop,
    Label,
    OneWay,
    Path,
    Quality,
    Rate,
    Residence,
    Sample,
    SampleState,
    StampSource,
    Variation,
)
from probes.metrics.histogram import build

MAXIMUM = (1 << 63) - 1
START = 1_790_000_000 * SECOND

counts = st.integers(0, MAXIMUM)
signed = st.integers(-MAXIMUM, MAXIMUM)
optional = st.none() | counts
texts = st.text(max_size=40)
names = st.text(min_size=1, max_size=20)


def group(kind: type, /, **by_name: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A dataclass with every field drawn: integers unless named, so that a new field cannot be forgotten."""
    values = {field.name: by_name.get(field.name, counts) for field in dataclasses.fields(kind)}
    return st.builds(kind, **values)


@st.composite
def packets(draw: Callable[..., Any]) -> Packets:
    number = draw(st.integers(0, 12))
    column = st.lists(signed | st.just(ABSENT), min_size=number, max_size=number)
    states = draw(st.lists(st.integers(0, 4), min_size=number, max_size=number))
    one_way = [draw(st.none() | column) for _ in range(2)]
    return Packets(
        np.array(draw(column), np.int64),
        np.array(draw(column), np.int64),
        np.array(states, np.uint8),
        *(None if values is None else np.array(values, np.int64) for values in one_way),
    )


@st.composite
def histograms(draw: Callable[..., Any]) -> Histogram:
    buckets = sorted(draw(st.sets(st.integers(0, 8000), max_size=8)))
    numbers = draw(st.lists(st.integers(1, (1 << 32) - 1), min_size=len(buckets), max_size=len(buckets)))
    return Histogram(np.array(buckets, np.int64), np.array(numbers, np.int64))


NEVER_EMPTY = OneWay()
"""A direction of which nothing is known is kept as none."""
directions = group(
    OneWay,
    sent=optional,
    lost=optional,
    delay=st.none() | group(Delay, **dict.fromkeys(("sum_ns", "minimum_ns", "maximum_ns", "p50_ns"), signed)),
    variation=st.none() | group(Variation, ipdv_p95_ns=optional, rfc3550_ns=optional),
    error_ns=optional,
    withheld=st.none() | texts,
    dscp=st.none() | st.integers(0, 63),
    ttl=optional,
    stamped=optional,
    histogram=st.none() | histograms(),
).filter(lambda one: one != NEVER_EMPTY)
hops = group(
    Hop,
    address=st.none() | texts,
    labels=st.lists(group(Label, bottom=st.booleans()), max_size=2).map(tuple),
    error=st.none() | texts,
    **dict.fromkeys(("minimum_ns", "sum_ns", "maximum_ns", "dscp", "mtu"), optional),
)
paths = group(
    Path, protocol=texts, reached=st.booleans(), hops=st.lists(hops, max_size=3).map(tuple), mtu=optional
)  # fmt: skip
rate_fields = [field.name for field in dataclasses.fields(Rate) if field.name not in ("streams", "layer")]
samples = group(
    Sample,
    circuit=names,
    probe=names,
    kind=names,
    start_ns=signed,
    state=st.sampled_from(SampleState),
    counts=st.none() | group(Counts),
    delay=st.none() | group(Delay),
    variation=st.none() | group(Variation),
    rate=st.none() | group(Rate, layer=texts, **dict.fromkeys(rate_fields, optional)),
    remote=st.none() | texts,
    quality=group(
        Quality,
        stamps=st.sampled_from(StampSource),
        lateness_p50_ns=st.none() | signed,
        lateness_max_ns=st.none() | signed,
        clock_synchronised=st.none() | st.booleans(),
        clock_error_ns=optional,
        load=st.none() | st.floats(0, 1),
    ),
    reason=st.none() | texts,
    phases=st.lists(st.tuples(texts, signed), max_size=4).map(tuple),
    packets=st.none() | packets(),
    histogram=st.none() | histograms(),
    forward=st.none() | directions,
    backward=st.none() | directions,
    residence=st.none() | group(Residence),
    path=st.none() | paths,
)


def listed_histogram(histogram: Histogram | None) -> Any:
    return None if histogram is None else (histogram.index.tolist(), histogram.count.tolist())


def plain(sample: Sample) -> Sample:
    """The sample with its arrays as lists, so that == compares all of it. Packets are left out."""
    ways = {
        way: None if one is None else dataclasses.replace(one, histogram=listed_histogram(one.histogram))
        for way, one in (("forward", sample.forward), ("backward", sample.backward))
    }
    return dataclasses.replace(sample, packets=None, histogram=listed_histogram(sample.histogram), **ways)


def listed_packets(found: Packets | None) -> list[list[int] | None] | None:
    def lists(column: Int64 | None) -> list[int] | None:
        return None if column is None else column.tolist()

    columns = None if found is None else (found.sent_ns, found.rtt_ns, found.state, found.forward_ns, found.backward_ns)
    return None if columns is None else [lists(column) for column in columns]


def ping(number: int, *, circuit: str = "ACME-1", probe: str = "icmp", rtt_ns: int = 12_000_000, **more: Any) -> Sample:
    """The number-th interval of an ICMP stream, ten packets, all answered after rtt_ns."""
    values: dict[str, Any] = {
        "start_ns": START + number * 10 * SECOND,
        "counts": Counts(sent=10, received=10),
        "delay": Delay(10, 10 * rtt_ns, rtt_ns, rtt_ns, rtt_ns, rtt_ns, rtt_ns, 0),
        "variation": Variation(9, 0, 0, 0, 0),
        "remote": "192.0.2.7",
        "state": SampleState.OK,
    }
    return Sample(circuit, probe, "icmp", span_ns=10 * SECOND, **(values | more))


def stamped(number: int, forward_ns: list[int], backward_ns: list[int], **more: Any) -> Sample:
    """The number-th interval of a STAMP stream: one-way delays of its packets, ABSENT where that direction lost one.

    Its packets, histograms and every number are those of the delays; the far end took 3 us.
    """
    ways = [np.array(forward_ns, np.int64), np.array(backward_ns, np.int64)]
    there = ways[1] != ABSENT
    rtt = np.where(there, ways[0] + ways[1], ABSENT)
    arrived = int((ways[0] != ABSENT).sum())
    count = int(there.sum())
    values: dict[str, Any] = {
        "circuit": "ACME-1", "probe": "stamp", "kind": "stamp",
        "start_ns": START + number * 10 * SECOND,
        "state": SampleState.OK if count else SampleState.NO_REPLY,
        "counts": Counts(len(rtt), count, len(rtt) - count),
        "delay": _delay_of(rtt[there]),
        "variation": _variation_of(rtt),
        "histogram": build(rtt[there]) if count else None,
        "forward": _one_way(ways[0], there, len(rtt), len(rtt) - arrived),
        "backward": _one_way(ways[1], there, arrived, arrived - count),
        "residence": Residence(count, 3000 * count, 3000, 3000) if count else None,
        "packets": Packets(
            np.arange(len(rtt)) * (10 * SECOND // len(rtt)), rtt, np.where(there, 0, 1).astype(np.uint8),
            np.where(there, ways[0], ABSENT), ways[1],
        ),
        "quality": Quality(StampSource.KERNEL, clock_synchronised=True, clock_error_ns=20_000),
    } | more  # fmt: skip
    return Sample(span_ns=10 * SECOND, **values)


def _one_way(values: Int64, there: Any, sent: int, lost: int) -> OneWay:
    known = values[there]
    return OneWay(
        sent, lost, _delay_of(known), _variation_of(np.where(there, values, ABSENT)), 20_000, None, 46,
        build(known) if len(known) else None, 62, len(known),
    )  # fmt: skip


def _delay_of(values: Int64) -> Delay | None:
    if not len(values):
        return None
    ranked = np.sort(values)
    p50, p95, p99 = (int(ranked[-(-len(ranked) * p // 100) - 1]) for p in (50, 95, 99))
    least, most = int(ranked[0]), int(ranked[-1])
    return Delay(len(values), int(values.sum()), least, most, p50, p95, p99, int(np.std(values)))


def _variation_of(values: Int64) -> Variation | None:
    """Of packets in the order of sending, ABSENT where one did not arrive."""
    known = np.sort(values[values != ABSENT])
    if not len(known):
        return None
    pairs = np.abs(np.diff(values))[(values[1:] != ABSENT) & (values[:-1] != ABSENT)]
    ranked = np.sort(pairs)
    ipdv = int(ranked[-(-len(ranked) * 95 // 100) - 1]) if len(ranked) else None
    pdv = int(known[-(-len(known) * 95 // 100) - 1] - known[0])
    return Variation(len(pairs), int(pairs.sum()), ipdv, pdv, int(pairs.sum()) // 16 if len(pairs) else None)


def traced(number: int, *addresses: str | None, **more: Any) -> Sample:
    """The number-th run of a path probe."""
    hops = tuple(
        Hop(
            ttl,
            address,
            3,
            0 if address is None else 3,
            *((None,) * 3 if address is None else (10**6, 4 * 10**6, 10**7)),
        )
        for ttl, address in enumerate(addresses, 1)
    )
    values: dict[str, Any] = {
        "circuit": "ACME-1", "probe": "path", "start_ns": START + number * 600 * SECOND, "state": SampleState.OK,
        "path": Path("udp", True, hops, 1500),
    } | more  # fmt: skip
    return Sample(kind="path", span_ns=2 * SECOND, **values)


def some_packets(rtt_ns: int) -> Packets:
    """Ten packets, all answered after rtt_ns."""
    return Packets(np.arange(10) * SECOND, np.full(10, rtt_ns), np.zeros(10, np.uint8))


class SteppedClock(SystemClock):
    """The real clock, with a wall clock that somebody can set."""

    def __init__(self) -> None:
        self.offset_ns = 0

    def wall(self) -> int:
        return super().wall() + self.offset_ns
