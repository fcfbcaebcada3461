"""Histograms of many rows as one column: the same as an object for each, whatever is cut, joined or put in order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.sla.samples.histograms import Histograms
from probes.core.arrays import Histogram
from probes.metrics.histogram import build

rows = st.lists(
    st.one_of(
        st.none(), st.lists(st.integers(0, 10**9), max_size=6).map(lambda values: build(np.array(values, np.int64)))
    ),
    max_size=12,
)


def text(item: Histogram | None) -> str | None:
    return None if item is None else item.to_text()


@given(rows, rows, st.integers(0, 12), st.integers(0, 12), st.randoms(use_true_random=False))
def test_it_is_the_list_it_stands_for(one, other, first: int, last: int, chance) -> None:
    column = Histograms.of(one)
    assert [text(item) for item in column] == [text(item) for item in one]
    assert len(column) == len(one)
    assert [text(item) for item in column[first:last]] == [text(item) for item in one[first:last]]
    joined = Histograms.joined((one[first:], column, other))
    assert [text(item) for item in joined] == [text(item) for item in [*one[first:], *one, *other]]
    order = chance.sample(range(len(one)), len(one))
    moved = column.taken(np.array(order, np.int64))
    assert [text(item) for item in moved] == [text(one[at]) for at in order]
    for some, listed in ((moved, [one[at] for at in order]), (joined[first:], [*one[first:], *one, *other][first:])):
        bucket, packets = some.buckets()
        full = [item for item in listed if item is not None]
        assert bucket.tolist() == [value for item in full for value in item.index.tolist()]
        assert packets.tolist() == [value for item in full for value in item.count.tolist()]
