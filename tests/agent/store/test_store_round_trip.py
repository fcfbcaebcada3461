"""What goes into the store comes out of it: whole, in order, and as columns."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.samples.columns import BASIC_COLUMNS, INTEGER_COLUMNS, READABLE_COLUMNS
from agent.store import Store, StoreReader
from agent.store.columnar import CHUNK
from probes.core.arrays import ABSENT
from probes.core.errors import LocalError
from probes.core.model import Delay, Residence, Sample, Variation
from tests.fakes.samples import MAXIMUM, START, SteppedClock, listed_histogram, listed_packets, ping, plain, samples

FRESH = itertools.count()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, StoreReader]]:
    path = tmp_path_factory.mktemp("round") / "store"
    store = Store.open(path, clock=SteppedClock(), site="lab")
    with StoreReader.open(path) as reader:
        yield store, reader
    store.close(10.0)


def naive_value(sample: Sample, column: str) -> int:
    """One cell of the column form, taken from the sample by hand."""
    if column in ("start_ns", "span_ns"):
        return int(getattr(sample, column))
    if column == "state":
        return sample.state.code
    for part, names in (
        (sample.counts, dict(zip(INTEGER_COLUMNS[3:11], INTEGER_COLUMNS[3:11], strict=True))),
        (sample.delay, {"rtt_count": "count", "rtt_sum_ns": "sum_ns", "rtt_min_ns": "minimum_ns",
                        "rtt_max_ns": "maximum_ns", "rtt_p50_ns": "p50_ns", "rtt_p95_ns": "p95_ns",
                        "rtt_p99_ns": "p99_ns", "rtt_stddev_ns": "stddev_ns"}),
        (sample.variation, dict(zip(INTEGER_COLUMNS[19:24], INTEGER_COLUMNS[19:24], strict=True))),
        (sample.rate, dict(zip(BASIC_COLUMNS[24:], BASIC_COLUMNS[24:], strict=True))),
        *naive_far_end(sample),
    ):  # fmt: skip
        if column in names:
            value = None if part is None else getattr(part, names[column])
            return ABSENT if value is None else int(value)
    raise AssertionError(column)


def naive_far_end(sample: Sample) -> Iterator[tuple[object, dict[str, str]]]:
    """Parts of a sample and the columns of their attributes."""
    words = {"minimum_ns": "min_ns", "maximum_ns": "max_ns"}
    for way, one in (("forward", sample.forward), ("backward", sample.backward)):
        yield one, {f"{way}_{name}": name for name in ("sent", "lost", "error_ns", "dscp", "ttl", "stamped")}
        names = [field.name for field in dataclasses.fields(Delay)]
        yield one and one.delay, {f"{way}_delay_{words.get(name, name)}": name for name in names}
        yield one and one.variation, {f"{way}_{field.name}": field.name for field in dataclasses.fields(Variation)}
    names = [field.name for field in dataclasses.fields(Residence)]
    yield sample.residence, {f"residence_{words.get(name, name)}": name for name in names}


@settings(max_examples=80, deadline=None)
@given(drawn=st.lists(samples, min_size=1, max_size=6))
def test_a_sample_comes_back_as_it_was(both: tuple[Store, StoreReader], drawn: list[Sample]) -> None:
    store, reader = both
    before = reader.status().newest_seq
    own = [dataclasses.replace(sample, circuit=f"{next(FRESH)} {sample.circuit}") for sample in drawn]
    store.append(own)
    assert store.flush(10.0)
    kept = reader.after(before, 100)
    assert [item.seq for item in kept] == list(range(before + 1, before + 1 + len(own)))
    assert [plain(item.sample) for item in kept] == [plain(sample) for sample in own]
    for sample in own:
        found = reader.packets(sample.circuit, sample.probe, sample.start_ns)
        assert listed_packets(found) == listed_packets(sample.packets)


@settings(max_examples=40, deadline=None)
@given(drawn=st.lists(samples, min_size=1, max_size=12, unique_by=lambda sample: sample.start_ns))
def test_columns_hold_what_the_samples_hold(both: tuple[Store, StoreReader], drawn: list[Sample]) -> None:
    store, reader = both
    circuit = f"columns {next(FRESH)}"
    own = [dataclasses.replace(sample, circuit=circuit, probe="p", kind="k") for sample in drawn]
    store.append(own)
    assert store.flush(10.0)
    columns = reader.read(circuit, "p", READABLE_COLUMNS, -MAXIMUM, MAXIMUM)
    expected = sorted((sample for sample in own if sample.start_ns < MAXIMUM), key=lambda sample: sample.start_ns)
    for name in INTEGER_COLUMNS:
        assert columns.column(name).tolist() == [naive_value(sample, name) for sample in expected]
    ways = [(None if one is None else one) for sample in expected for one in (sample.forward, sample.backward)]
    assert [listed_histogram(item) for item in columns.histogram or ()] == [
        listed_histogram(sample.histogram) for sample in expected
    ]
    for at, way in enumerate(("forward", "backward")):
        own = [None if one is None else (listed_histogram(one.histogram), one.withheld) for one in ways[at::2]]
        found = zip(getattr(columns, f"{way}_histogram"), getattr(columns, f"{way}_withheld"), strict=True)
        assert [(listed_histogram(item), text) for item, text in found] == [one or (None, None) for one in own]


def test_only_the_columns_asked_for_are_read(store: Store, reader: StoreReader) -> None:
    store.append([ping(number) for number in range(20)])
    assert store.flush(10.0)
    columns = reader.read("ACME-1", "icmp", ["lost", "rtt_p95_ns"], START + 10 * 10**9, START + 30 * 10**9)
    assert columns.start_ns.tolist() == [START + 10 * 10**9, START + 20 * 10**9]
    assert columns.kind == "icmp"
    assert columns.lost is not None
    assert columns.lost.tolist() == [0, 0]
    assert columns.sent is None
    assert columns.histogram is None


def test_a_series_longer_than_one_chunk_is_read_whole(store: Store, reader: StoreReader) -> None:
    total = CHUNK + 700
    for first in range(0, total, 10_000):
        store.append([ping(number, rtt_ns=number) for number in range(first, min(total, first + 10_000))])
        assert store.flush(30.0)
    columns = reader.read("ACME-1", "icmp", ["rtt_max_ns"], START, MAXIMUM)
    assert columns.rtt_max_ns is not None
    assert np.array_equal(columns.rtt_max_ns, np.arange(total))
    assert len(reader.read("ACME-1", "icmp", ["histogram"], START, MAXIMUM)) == total


def test_what_is_not_there_is_empty_and_what_cannot_be_is_said(store: Store, reader: StoreReader) -> None:
    assert store.flush(10.0)
    assert len(reader.read("nobody", "icmp", ["sent", "histogram"], 0, MAXIMUM)) == 0
    assert reader.packets("nobody", "icmp", 0) is None
    assert (reader.series(), reader.after(0, 10), reader.newest(10), reader.latest()) == ([], [], [], [])
    with pytest.raises(LocalError, match="no column 'rtt'"):
        reader.read("nobody", "icmp", ["rtt"], 0, MAXIMUM)


def test_order_of_keeping_from_both_ends(store: Store, reader: StoreReader) -> None:
    store.append([ping(number) for number in range(10)])
    assert store.flush(10.0)
    assert [item.seq for item in reader.after(3, 4)] == [4, 5, 6, 7]
    assert [item.seq for item in reader.newest(3)] == [10, 9, 8]
    assert [item.seq for item in reader.newest(3, above=5, below=8)] == [7, 6]


def test_a_probe_that_changed_its_kind_reads_as_the_newer_one(store: Store, reader: StoreReader) -> None:
    store.append([ping(5), dataclasses.replace(ping(1, rtt_ns=7), kind="udp")])
    assert store.flush(10.0)
    assert reader.read("ACME-1", "icmp", [], 0, MAXIMUM).kind == "udp"
    assert reader.read("ACME-1", "icmp", [], 0, MAXIMUM, kind="icmp").start_ns.tolist() == [START + 50 * 10**9]
    assert [(item.kind, item.rows) for item in reader.series()] == [("icmp", 1), ("udp", 1)]


def test_a_text_that_utf8_cannot_carry_is_kept_escaped(store: Store, reader: StoreReader) -> None:
    store.append([ping(1), ping(2, reason="refused by \udcff"), ping(3)])
    assert store.flush(10.0)
    assert [item.sample.reason for item in reader.after(0, 10)] == [None, "refused by \\udcff", None]
    assert store.counters()["refused"] == 0


def test_a_value_no_row_can_hold_is_refused_alone_and_said(store: Store, reader: StoreReader) -> None:
    impossible = [ping(2, rtt_ns=1 << 64), ping(3, start_ns=1 << 70), dataclasses.replace(ping(4), span_ns=None)]  # type: ignore[arg-type]
    store.append([ping(1), *impossible, ping(5)])
    assert store.flush(10.0)
    assert [item.sample.start_ns for item in reader.after(0, 10)] == [ping(1).start_ns, ping(5).start_ns]
    assert store.counters()["refused"] == 3
    (event,) = reader.events(kind="refused")
    assert event.count == 3
    assert "ACME-1/icmp" in event.text


def test_the_newest_sample_of_every_probe(store: Store, reader: StoreReader) -> None:
    store.append([ping(1), ping(2), ping(9, circuit="B", probe="udp"), ping(1, circuit="B", probe="udp")])
    assert store.flush(10.0)
    kept_last = [(sample.circuit, sample.start_ns) for sample in reader.latest()]
    assert kept_last == [("ACME-1", ping(2).start_ns), ("B", ping(1).start_ns)]


def test_reader_in_a_directory_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no store at"):
        StoreReader.open(tmp_path)
