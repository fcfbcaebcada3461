"""A batch of samples as columns holds what it was made of, whole, cut, chosen and joined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.store import StoredSample
from agent.store.samplebatch import Buckets, empty, join, of_samples
from probes.core.arrays import ABSENT, Histogram
from probes.core.model import Counts, Quality, Rate, Sample
from tests.fakes import samples as shapes
from tests.fakes.samples import ping, plain

stored_lists = st.lists(st.builds(StoredSample, st.integers(1, 1 << 40), shapes.samples), max_size=8)
relaxed = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def as_delivered(sample: Sample) -> Sample:
    """As far as a batch has it."""
    rate = sample.rate
    if rate is not None:
        rate = replace(rate, layer=Rate().layer, forward_retransmits=None, backward_retransmits=None)
    return plain(replace(sample, rate=rate, quality=Quality(), phases=()))


def listed(batch: Any) -> list[tuple[int, Sample]]:
    return [(item.seq, plain(item.sample)) for item in (batch.stored(row) for row in range(len(batch)))]


@given(stored_lists, st.data())
@relaxed
def test_every_way_to_take_a_batch_apart(stored: list[StoredSample], data: st.DataObject) -> None:
    batch = of_samples(stored)
    meant = [(item.seq, as_delivered(item.sample)) for item in stored]
    assert listed(batch) == meant
    first, last = sorted(data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9))))
    assert listed(batch.between(first, last)) == meant[first:last]
    assert listed(join([batch.between(0, first), empty(), batch.between(first, len(batch))])) == meant
    rows = data.draw(st.lists(st.integers(0, len(stored) - 1), max_size=6)) if stored else []
    assert listed(batch.chosen(np.array(rows, np.int64))) == [meant[row] for row in rows]


def test_what_is_no_integer_concerns_its_row_alone() -> None:
    wrong: Any = [1 << 63, -(1 << 63) - 1, 1.5, float("nan"), float("inf"), True, "7"]
    stored = [StoredSample(1, ping(1))]
    stored += [StoredSample(2 + at, replace(ping(2 + at), counts=Counts(sent=value))) for at, value in enumerate(wrong)]
    batch = of_samples(stored)
    assert sorted(batch.unreadable) == list(range(1, 1 + len(wrong)))
    assert all(column[1:].tolist() == [ABSENT] * len(wrong) for column in batch.integers.values())
    assert listed(batch.between(0, 1)) == [(1, as_delivered(ping(1)))]
    assert sorted(join([batch.between(1, 3), batch.between(0, 2)]).unreadable) == [0, 1, 3]


def test_damaged_blobs_are_named_and_leave_the_others() -> None:
    good = Histogram(np.array([3, 9]), np.array([1, 2])).to_bytes()
    falling = np.array([[9, 1], [3, 1]], "<u4").tobytes()
    no_packets = np.array([[9, 0]], "<u4").tobytes()
    buckets, damaged = Buckets.from_blobs([good, None, b"", good[:5], falling, good, no_packets, good])
    assert damaged == [3, 4, 6]
    found = [buckets.histogram(row) for row in range(8)]
    assert [item if item is None else item.to_text() for item in found] == [
        "3:1;9:2", None, "", None, None, "3:1;9:2", None, "3:1;9:2",
    ]  # fmt: skip
