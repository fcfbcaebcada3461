"""Reading sealed days fast says what reading them plainly says: narrow types, spare columns, files found by search."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sla.samples.columns import INTEGER_COLUMNS
from agent.sla.samples.needs import SPARE
from agent.store import Store, StoreReader
from agent.store.sealed import layout, manifest, parquet
from agent.store.sealed.manifest import HISTOGRAMS, SAMPLES, Part, SealedFile, SealedSeries
from probes.core.model import Counts, Delay, Sample
from probes.metrics.histogram import build
from tests.fakes.samples import MAXIMUM, ping
from tests.fakes.sealed import release_all, seal_all, told

EVERYTHING = (-MAXIMUM, MAXIMUM)


def sealed_away(path: Path, store: Store, samples: list[Sample]) -> None:
    store.append(samples)
    assert store.flush(10.0)
    release_all(store, seal_all(path))


def with_histogram(number: int, **more: Any) -> Sample:
    return ping(number, histogram=build(np.full(10, 12_000_000 + number * 1000)), **more)


@pytest.mark.parametrize(
    "sample",
    [
        ping(0, counts=Counts(sent=65_535, received=65_535)),
        ping(0, counts=Counts(sent=65_536, received=65_535)),
        ping(0, delay=Delay(10, 10, 4_294_967_295, 4_294_967_295, 0, 0, 0, 0)),
        ping(0, delay=Delay(10, 10, 4_294_967_296, 4_294_967_296, 0, 0, 0, 0)),
        ping(0, delay=Delay(10, 10, -5, 4, 4, 4, 4, 0)),
        ping(0, histogram=build(np.full(70_000, 12_000_000))),
        ping(0, delay=None, counts=None),
    ],
    ids=["fits", "count", "longest", "long", "negative", "bucket", "absent"],
)
def test_values_beyond_the_narrow_types(store: Store, store_path: Path, reader: StoreReader, sample: Sample) -> None:
    store.append([sample, ping(1)])
    assert store.flush(10.0)
    before = told(reader)
    release_all(store, seal_all(store_path))
    assert told(reader) == before


def test_a_value_that_does_not_fit_is_noticed(
    store: Store, store_path: Path, reader: StoreReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bool] = []
    plain = parquet._columns
    monkeypatch.setattr(parquet, "_columns", lambda *args: (read.append(bool(args[-1])), plain(*args))[1])
    sealed_away(store_path, store, [ping(0), ping(1, counts=Counts(sent=65_536, received=65_536))])
    read.clear()  # what was read back when it was sealed
    assert reader.read("ACME-1", "icmp", ["received"], *EVERYTHING).column("received").tolist() == [10, 65_536]
    assert read == [True, False]


def test_spare_columns_are_left_out_where_every_sample_has_its_histogram(
    store: Store, store_path: Path, reader: StoreReader
) -> None:
    day = 8640
    sealed_away(store_path, store, [with_histogram(0), with_histogram(1, counts=Counts(10, 0, 10), delay=None)])
    wanted = ["sent", "rtt_count", "rtt_min_ns", *SPARE, "histogram"]
    found = reader.read("ACME-1", "icmp", wanted, *EVERYTHING, spare=SPARE)
    assert [getattr(found, name) for name in SPARE] == [None] * len(SPARE)
    assert found.column("rtt_min_ns").tolist()[0] == 12_000_000
    store.append([ping(day)])  # live, and without a histogram
    assert store.flush(10.0)
    whole = reader.read("ACME-1", "icmp", wanted, *EVERYTHING)
    spared = reader.read("ACME-1", "icmp", wanted, *EVERYTHING, spare=SPARE)
    for name in INTEGER_COLUMNS:
        one, other = getattr(whole, name), getattr(spared, name)
        assert (one is None) == (other is None), name
        assert one is None or one.tolist() == other.tolist(), name
    none = reader.read("ACME-1", "icmp", ["sent", *SPARE], *EVERYTHING, spare=SPARE)
    assert none.column("rtt_max_ns").tolist() == whole.column("rtt_max_ns").tolist()


def test_every_narrow_column_is_one_of_the_files() -> None:
    written = {layout.written_name(name) for name in layout.STORED_INTEGERS} | set(layout.BUCKETS.values())
    assert set(layout.NARROW) <= written


names = st.tuples(*(st.sampled_from(["a", "b", "c", "d"]) for _ in range(3)))


@given(st.sets(names, min_size=1), st.integers(1, 4), names)
def test_files_and_series_are_found_by_search(keys: set[tuple[str, str, str]], size: int, wanted: Any) -> None:
    series = sorted(keys)
    files = []
    for what in (SAMPLES, HISTOGRAMS):
        for at in range(0, len(series), size):
            some = series[at : at + size]
            files.append(SealedFile(f"{what}{at}", what, 1, "00" * 32, len(some), some[0], some[-1]))
    listed = Part(
        1, 1, "e", 1, 1, 2, len(series), 1, tuple(files), tuple(SealedSeries(*key, 1, 2, 3, 4, 5) for key in series)
    )
    read = manifest.decode(Path("m"), manifest.encode(listed))
    for part in (listed, read):
        for key in (*series, wanted):
            for what in (SAMPLES, HISTOGRAMS):
                plain = [file for file in files if file.what == what and file.first <= key <= file.last]
                assert manifest.files_of(part, what, key) == plain
            assert manifest.holds(part, key) == (key in keys)
            same = [item for item in listed.series if (item.circuit, item.probe) == key[:2]]
            assert list(manifest.series_of(part, *key[:2])) == same
    assert dataclasses.replace(read, files=listed.files, series=listed.series, epochs=()) == listed
