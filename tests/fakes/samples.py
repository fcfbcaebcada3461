"""Samples of every shape for property tests, and equality that looks into their arrays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from probes.core.arrays import ABSENT, Histogram, Int64, Packets
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Counts, Delay, Quality, Rate, Sample, SampleState, StampSource, Variation

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
)


def plain(sample: Sample) -> Sample:
    """The sample with its arrays as lists, so that == compares all of it. Packets are left out."""
    histogram = sample.histogram
    listed = None if histogram is None else (histogram.index.tolist(), histogram.count.tolist())
    return dataclasses.replace(sample, packets=None, histogram=listed)  # type: ignore[arg-type]


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


def some_packets(rtt_ns: int) -> Packets:
    """Ten packets, all answered after rtt_ns."""
    return Packets(np.arange(10) * SECOND, np.full(10, rtt_ns), np.zeros(10, np.uint8))


class SteppedClock(SystemClock):
    """The real clock, with a wall clock that somebody can set."""

    def __init__(self) -> None:
        self.offset_ns = 0

    def wall(self) -> int:
        return super().wall() + self.offset_ns
