"""Blocks of samples in the store: the same rows as of samples one by one."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.store import Store, StoreReader
from agent.store.records import StoreOverflow
from agent.store.rows import SAMPLE_COLUMNS
from agent.store.samples import EncodedSample, encode
from agent.store.waiting import Waiting, block_octets, octets
from probes.core.arrays import ABSENT
from probes.core.block import COLUMNS, SampleBlock
from tests.fakes.batches import as_block, block
from tests.fakes.samples import SteppedClock, listed_packets, plain


def whole(encoded: EncodedSample | str) -> tuple[object, ...]:
    """Series, every column, packets."""
    assert isinstance(encoded, EncodedSample)
    values = dict(zip(encoded.columns, encoded.row, strict=True))
    return encoded.series, [values.get(name) for name in SAMPLE_COLUMNS], encoded.packets


@pytest.mark.parametrize("seed", range(40))
def test_a_block_is_written_as_its_samples_are(seed: int) -> None:
    given = block(random.Random(seed), 12)
    found, expected = ([whole(one) for one in encode(samples)] for samples in (given, list(given)))
    assert found == expected
    light = given.light()
    assert [whole(one) for one in encode(light)] == [whole(one) for one in encode(list(light))]


def test_the_comparison_sees_one_number_that_differs() -> None:
    given = block(random.Random(2), 12)
    expected = [whole(one) for one in encode(list(given))]
    given.values[5, COLUMNS.index("rtt_p95_ns")] += 1
    assert [whole(one) for one in encode(given)] != expected


def test_every_column_of_a_block_is_one_of_the_store() -> None:
    assert set(COLUMNS) <= set(SAMPLE_COLUMNS)
    assert COLUMNS[:2] == ("start_ns", "span_ns")


def test_what_was_kept_is_what_is_read(store: Store, reader: StoreReader) -> None:
    rng = random.Random(7)
    blocks = [block(rng, 30) for _ in range(3)]
    handed: list[SampleBlock] = []
    for number, given in enumerate(blocks):
        values = given.values.copy()
        values[:, 0] += number * 10_000_000_000
        handed.append(replace(given, values=values))
        store.append(handed[-1])
    assert store.flush(10.0)
    kept = [item.sample for item in reader.after(0, 1000)]
    samples = [sample for given in handed for sample in given]
    assert [plain(sample) for sample in kept] == [plain(sample) for sample in samples]
    for sample in samples:
        read = reader.packets(sample.circuit, sample.probe, sample.start_ns)
        assert listed_packets(read) == listed_packets(sample.packets)


def test_the_same_block_again_is_no_news(store: Store, reader: StoreReader) -> None:
    given = block(random.Random(8), 12)
    for _ in range(2):
        store.append(given)
        assert store.flush(10.0)
    assert len(reader.after(0, 100)) == len(given)
    assert store.counters()["repeated"] == len(given)


def test_a_sample_that_no_row_can_hold_is_refused_alone(store: Store, reader: StoreReader) -> None:
    """A block without a value that every row needs."""
    given = block(random.Random(9), 12)
    given.values[3, COLUMNS.index("local_drops")] = ABSENT
    store.append(given)
    assert store.flush(10.0)
    assert len(reader.after(0, 100)) == len(given) - 1
    assert store.counters()["refused"] == 1


@pytest.mark.parametrize("seed", range(10))
def test_what_waits_is_counted_alike(seed: int) -> None:
    given = block(random.Random(seed), 12)
    assert block_octets(given) == [octets(sample) for sample in given]
    assert block_octets(given.light()) == [octets(sample) for sample in given.light()]


def test_the_last_ones_of_a_block_that_finds_no_room_are_dropped() -> None:
    given = block(random.Random(4), 20)
    waiting = Waiting(limit=7)
    assert waiting.put_samples(given) == len(given) - 7
    batch, samples, _ = waiting.next_batch()
    assert [whole(one) for one in batch.samples] == [whole(one) for one in encode(given[:7])]
    assert (samples, waiting.dropped) == (7, len(given) - 7)


def test_nothing_piles_up_while_there_is_no_room() -> None:
    given = block(random.Random(4), 20)
    waiting = Waiting(limit=3)
    for _ in range(50):
        waiting.put_samples(given)
    assert [len(samples) for samples in waiting._incoming] == [3]
    assert waiting.dropped == 50 * len(given) - 3


def test_a_full_store_says_how_many_of_a_block_it_did_not_take(store_path: Path) -> None:
    opened = Store.open(store_path, clock=SteppedClock(), site="s", waiting_samples=5)
    try:
        with pytest.raises(StoreOverflow, match="15"):
            opened.append(repeated(block(random.Random(4), 30), 20))
    finally:
        opened.close(10.0)


def test_samples_as_a_block_are_those_samples() -> None:
    samples = list(block(random.Random(6), 12))
    again = as_block(samples)
    assert [plain(sample) for sample in again] == [plain(sample) for sample in samples]
    assert [listed_packets(sample.packets) for sample in again] == [
        listed_packets(sample.packets) for sample in samples
    ]


def repeated(given: SampleBlock, size: int) -> SampleBlock:
    return given.chosen(np.arange(size) % len(given))
