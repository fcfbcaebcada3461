"""Packed columns: every value comes back, in few octets where most are alike; sums stand for histograms."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.samples.histograms import DayHistograms, Histograms
from agent.store import Store, StoreReader
from agent.store.sealed import manifest, packed
from agent.store.sealed.manifest import DamagedSeal
from agent.store.sealed.verification import verify
from probes.core.arrays import ABSENT, Int64
from probes.core.errors import LocalError
from probes.metrics.histogram import build
from tests.fakes.samples import MAXIMUM, ping
from tests.fakes.sealed import check_summed, release_all, seal_all

WIDE = st.sampled_from(
    [
        ABSENT,
        0,
        1,
        9,
        10,
        254,
        255,
        256,
        65_534,
        65_535,
        2**24 - 2,
        2**24 - 1,
        2**32 - 2,
        2**32 - 1,
        2**62,
        -1,
        -(2**62),
    ]
)
KEY = ("c", "icmp", "icmp")
EVERYTHING = (-MAXIMUM, MAXIMUM)


def columns(rows: int, name: str = "", values: list[int] | None = None) -> dict[str, Int64]:
    found = {item: np.full(rows, 7) for item in packed.NAMES}
    found["start_ns"] = np.arange(rows) * 10
    return found | ({name: np.array(values, np.int64)} if values else {})


def written(column: str, values: list[int]) -> packed.Packed:
    shape = (np.array([3, 2**32 - 1]), np.array([5, 2**40]))
    data = packed.encode([(("b", "b", "b"), columns(3), shape), (KEY, columns(len(values), column, values), shape)])
    assert packed.rows_of(data) == 3 + len(values)
    found = packed.decode(data)
    assert [part.tolist() for part in found[KEY].merged() or ()] == [part.tolist() for part in shape]
    assert found["b", "b", "b"].column("start_ns").tolist() == [0, 10, 20]
    return found[KEY]


@settings(max_examples=300)
@given(st.lists(WIDE, min_size=1, max_size=60), st.integers(0, 200))
def test_every_value_comes_back(values: list[int], alike: int) -> None:
    given = [*values, *([values[0]] * alike)]
    assert written("rtt_sum_ns", given).column("rtt_sum_ns").tolist() == given


@given(st.lists(st.sampled_from([10, 10, 10, 10, 10, 11, 500, 2**40]), max_size=100), st.integers(-(2**40), 2**40))
def test_every_start_comes_back(steps: list[int], first: int) -> None:
    starts = np.cumsum([first, *steps]).tolist()
    assert written("start_ns", starts).column("start_ns").tolist() == starts


def test_what_is_alike_takes_no_room() -> None:
    few = [10] * 8640
    few[77] = ABSENT
    forms = {
        "start_ns": (list(range(0, 86_400, 10)), "line", 0),
        "sent": ([10] * 8640, "rest", 0),
        "lost": (few, "rest", 1),
        "rtt_sum_ns": (list(range(7, 8647 * 30_000, 30_000))[:8640], "wide", 4),
        "rtt_min_ns": ([20_000_000 + 997 * n for n in range(8640)], "wide", 3),
        "late": ([ABSENT if n % 2 else n % 200 for n in range(8640)], "wide", 1),
    }
    for name, (values, form, number) in forms.items():
        found = written(name, values)
        assert (found.columns[name][0], found.columns[name][3]) == (form, number), name
        assert found.column(name).tolist() == values


def test_a_sum_that_takes_more_room_than_it_is_worth_is_left_out() -> None:
    for rows, buckets, kept in ((300, 90, True), (300, 110, False), (5, 42, True), (5, 43, False)):
        shape = (np.arange(buckets), np.ones(buckets, np.int64))
        found = packed.decode(packed.encode([(KEY, columns(rows), shape)]))[KEY].merged()
        assert (found is not None) == kept, (rows, buckets)


@pytest.mark.parametrize(
    "data", [b"", b"LWPACK1\n", b"PAR1" * 9, b"LWPACK1\n\x02\0\0\0[]"[:-1], b"LWPACK1\n\x02\0\0\0{}"]
)
def test_what_is_no_such_file(data: bytes) -> None:
    if data.endswith(b"{}"):
        assert packed.decode(data) == {}
        return
    with pytest.raises(ValueError, match=r"no file|head|Expecting"):
        packed.decode(data)


def shapes(rows: int) -> Histograms:
    chance = np.random.default_rng(rows)
    some = [build(chance.integers(10, 10**7, 10)) if n % 5 else None for n in range(rows)]
    return Histograms.of(some)


def by_day(whole: Histograms, edges: list[int], asked: list[tuple[int, int]]) -> DayHistograms:
    def load(first: int, last: int) -> Histograms:
        asked.append((first, last))
        return whole[first:last]

    sums = tuple(whole[a:b].merged() if a % 20 == 0 else None for a, b in itertools.pairwise(edges))
    return DayHistograms(whole.there, np.array(edges), sums, load)


@given(st.lists(st.booleans(), min_size=60, max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_sums_are_used_and_say_the_same(flags: list[bool], first: int, last: int) -> None:
    whole, asked = shapes(60), list[tuple[int, int]]()
    days = by_day(whole, [0, 20, 30, 40, 60], asked)
    rows = np.array(flags)
    for one, plain, chosen in ((days, whole, rows), (days[first:last], whole[first:last], rows[first:last])):
        wanted = chosen & plain.there
        for mine, theirs in zip(one.merged_of(wanted), plain.merged_of(wanted), strict=True):
            assert mine.tolist() == theirs.tolist()


def test_single_histograms_are_looked_up_only_where_the_sum_does_not_do() -> None:
    whole, asked = shapes(60), list[tuple[int, int]]()
    days = by_day(whole, [0, 20, 40, 60], asked)
    days.merged_of(whole.there)
    days[20:60].merged_of(whole.there[20:60])
    assert asked == []
    days.merged_of(whole.there & (np.arange(60) != 21) & (np.arange(60) != 41))
    assert asked == [(20, 60)]  # both days at once
    days.merged_of(whole.there & (np.arange(60) != 22) & (np.arange(60) != 42))
    assert asked == [(20, 60)]
    assert [item is None for item in days] == [item is None for item in whole]
    assert asked[1:] == [(0, 60)]


def sealed_away(path: Path, store: Store) -> None:
    samples = [ping(n, histogram=build(np.full(10, 12_000_000 + n % 50 * 100_000))) for n in range(0, 3 * 8640, 600)]
    store.append(samples)
    assert store.flush(10.0)
    release_all(store, seal_all(path))


def test_a_part_without_packed_columns_is_read_from_parquet(
    store: Store, store_path: Path, reader: StoreReader
) -> None:
    sealed_away(store_path, store)
    plain = reader.read("ACME-1", "icmp", (*packed.NAMES[:-1], "histogram"), *EVERYTHING)
    check_summed(reader, plain, *EVERYTHING)
    middle = int(plain.start_ns[20]) + 1
    check_summed(reader, plain.between(middle, MAXIMUM), middle, MAXIMUM)
    (first, *_rest) = manifest.load_all(store_path)
    older = replace(first, files=tuple(file for file in first.files if file.what != manifest.COLUMNS))
    manifest.write(store_path / manifest.FOLDER / first.name, older)
    check_summed(reader, plain, *EVERYTHING)


def test_a_flipped_bit_is_found(store: Store, store_path: Path, reader: StoreReader) -> None:
    sealed_away(store_path, store)
    (first, *_rest) = manifest.load_all(store_path)
    assert verify(store_path).findings == ()
    (file,) = first.of(manifest.COLUMNS)
    path = store_path / manifest.FOLDER / first.name / file.name
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedSeal, match="SHA-256"):
        reader.read("ACME-1", "icmp", ("sent", "lost"), *EVERYTHING)
    assert [finding.path for finding in verify(store_path).findings] == [path]


def test_histograms_that_went_while_they_were_looked_at(store: Store, store_path: Path, reader: StoreReader) -> None:
    sealed_away(store_path, store)
    found = reader.read("ACME-1", "icmp", ("sent", "histogram"), *EVERYTHING, summed=True).histogram
    assert isinstance(found, DayHistograms)
    (first, *_rest) = manifest.load_all(store_path)
    (store_path / manifest.FOLDER / first.name).rename(store_path / "elsewhere")
    found.merged_of(found.there)
    with pytest.raises(LocalError, match="went while they were looked at"):
        found.whole()
