"""Samples as columns for delivery: the same samples that are read one by one, from the live database."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.store import Store, StoreReader
from agent.store.records import LIVE_FILE
from agent.store.samplebatch import SampleBatch, of_samples
from probes.core.arrays import ABSENT, Histogram
from probes.core.model import Sample
from tests.fakes.samples import SteppedClock, ping, samples

FRESH = itertools.count()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("batches")


def listed(batch: SampleBatch) -> list[tuple[object, ...]]:
    """Everything a batch holds, row by row."""
    return [
        (
            batch.keys[int(batch.key[row])], int(batch.seq[row]),
            {name: int(column[row]) for name, column in batch.integers.items()},
            batch.remote[row], batch.reason[row],
            None if (shape := batch.buckets.histogram(row)) is None else (shape.index.tolist(), shape.count.tolist()),
        )
        for row in range(len(batch))
    ]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(samples, max_size=8), st.integers(0, 5), st.integers(1, 9))
def test_a_batch_is_the_samples_read_one_by_one(place: Path, given_: list[Sample], after: int, limit: int) -> None:
    path = place / str(next(FRESH))
    store = Store.open(path, clock=SteppedClock(), site="lab")
    try:
        store.append(given_)
        assert store.flush(10.0)
        with StoreReader.open(path) as reader:
            batch = reader.after_batch(after, limit)
            assert listed(batch) == listed(of_samples(reader.after(after, limit)))
            assert not batch.unreadable
    finally:
        store.close(10.0)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [("sent", "'ten'", "column sent holds 'ten'"), ("reason", "x'00'", "text"), ("histogram", "x'0102'", "histogram"),
     ("histogram", "'text'", "histogram"), ("rtt_sum_ns", "1.5", "column rtt_sum_ns holds 1.5")],
)  # fmt: skip
def test_one_damaged_row_is_told_and_the_others_are_whole(
    store: Store, reader: StoreReader, store_path: Path, column: str, value: str, why: str
) -> None:
    shape = Histogram(np.array([3, 9]), np.array([4, 6]))
    store.append([ping(n, histogram=shape) for n in range(5)])
    assert store.flush(10.0)
    whole = listed(reader.after_batch(0, 10))
    with closing(sqlite3.connect(store_path / LIVE_FILE, isolation_level=None)) as connection:
        connection.execute(f"UPDATE samples SET {column} = {value} WHERE seq = 3")
    batch = reader.after_batch(0, 10)
    assert list(batch.unreadable) == [2]
    assert why in batch.unreadable[2]
    assert all(column[2] == ABSENT for column in batch.integers.values())
    found = listed(batch)
    assert found[:2] + found[3:] == whole[:2] + whole[3:]
