"""The hash of the data: against a second way of making the bytes, and the same whatever the store did with them."""

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.report.statement.fingerprint import columns_of, data_sha256, series_sha256
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.histograms import Histograms
from agent.sla.samples.texts import Texts
from agent.store import Store, StoreReader
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Counts, Delay, Sample, SampleState
from probes.metrics.histogram import build
from tests.fakes.columns import columns
from tests.fakes.sealed import release_all, seal_all

NEEDED = ("sent", "lost", "rtt_count", "histogram")


def series() -> SampleColumns:
    made = [
        {"start_ns": 0, "sent": 3, "histogram": build(np.array([5, 7, 10**7], np.int64))},
        {"start_ns": 10**10, "sent": 2},
        {"start_ns": 2 * 10**10, "sent": 1, "histogram": build(np.array([10**9], np.int64))},
    ]
    shapes = [None, build(np.array([-5, 7], np.int64)), None]
    made_of = columns(made, circuit="c 1", probe="icmp")
    return replace(made_of, forward_withheld=[None, "Käse, no clock", ""], backward_histogram=shapes)


def slowly(item: SampleColumns) -> str:
    """The bytes as the documentation describes them, one number at a time."""
    names = columns_of(item)
    data = (
        f'linkwitness.columns/1 "{item.circuit}" "{item.probe}" "{item.kind}" {len(item)} {" ".join(names)}\n'.encode()
    )
    for name in names:
        if name.endswith("withheld"):
            octets = [None if text is None else text.encode() for text in getattr(item, name)]
            data += b"".join(struct.pack("<q", -1 if one is None else len(one)) for one in octets)
            data += b"".join(one for one in octets if one is not None)
            continue
        if not name.endswith("histogram"):
            data += b"".join(struct.pack("<q", value) for value in item.column(name).tolist())
            continue
        found = list(getattr(item, name))
        data += b"".join(struct.pack("<q", -1 if one is None else len(one.index)) for one in found)
        for one in found:
            if one is not None:
                pairs = zip(one.index.tolist(), one.count.tolist(), strict=True)
                data += b"".join(struct.pack("<II", bucket, packets) for bucket, packets in pairs)
    return hashlib.sha256(data).hexdigest()


def test_the_bytes_are_as_documented() -> None:
    assert series_sha256(series()) == slowly(series())
    some = replace(series(), histogram=None, lost=None)
    assert series_sha256(some) == slowly(some) != series_sha256(series())


def test_the_form_in_memory_does_not_matter() -> None:
    item = series()
    flat = replace(item, histogram=Histograms.of(item.histogram or ()))
    assert item.forward_withheld is not None
    flat = replace(flat, forward_withheld=Texts.of(item.forward_withheld))
    other = replace(item, forward_withheld=[None, "another", ""])
    assert series_sha256(other) == slowly(other) != series_sha256(item)
    assert series_sha256(flat) == series_sha256(item)
    rows = replace(flat.between(10**10, 10**12))
    assert series_sha256(rows) == slowly(rows)


@pytest.mark.parametrize("name", ["sent", "start_ns", "state", "lost"])
def test_one_changed_number_changes_the_hash(name: str) -> None:
    item = series()
    values = item.column(name).copy()
    values[1] += 1
    assert series_sha256(replace(item, **{name: values})) != series_sha256(item)


def test_the_order_of_the_series_does_not_matter() -> None:
    one, two = ("c", "icmp", "a" * 64), ("c", "udp", "b" * 64)
    assert data_sha256([one, two]) == data_sha256([two, one]) != data_sha256([one])
    text = f'{"a" * 64}  "c" "icmp"\n{"b" * 64}  "c" "udp"\n'
    assert data_sha256([one, two]) == hashlib.sha256(text.encode()).hexdigest()


def test_live_and_sealed_samples_have_the_same_hash(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="test")
    for number in range(40):
        histogram = build(np.array([10**7 + number, 2 * 10**7], np.int64))
        delay = Delay(2, 3 * 10**7, 10**7, 2 * 10**7, 10**7, 2 * 10**7, 2 * 10**7, 0)
        counts = Counts(sent=2, received=2, lost=0)
        store.append([
            Sample("c", "icmp", "icmp", number * 6000 * SECOND, 10 * SECOND, SampleState.OK, counts, delay,
                   histogram=histogram)
        ])  # fmt: skip
    assert store.flush(30.0)

    def hashed() -> str:
        with StoreReader.open(tmp_path / "store") as reader:
            found = reader.read("c", "icmp", NEEDED, 0, 10**15, "icmp")
            assert len(found) == 40
            return series_sha256(found)

    live = hashed()
    parts = seal_all(tmp_path / "store", before_day=2)
    assert parts
    assert release_all(store, parts) > 0
    store.close(30.0)
    assert hashed() == live
