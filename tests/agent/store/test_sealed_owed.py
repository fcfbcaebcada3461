"""Samples that leave the live database before every sink has them: each sink gets each of them, once."""

import dataclasses
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config.settings import StoreSettings
from agent.store import Store, StoreReader, writer
from agent.store.records import LOST, NOTHING_LEFT
from agent.store.samplebatch import SampleBatch
from agent.store.sealed import manifest, process, retention, slices
from agent.store.sealed.keeper import Keeper, notes_of
from agent.store.sealed.manifest import FOLDER, DamagedSeal
from agent.store.sealed.sealing import seal_next
from probes.core.arrays import Histogram
from probes.core.model import Sample
from tests.fakes.debts import due, seqs, take
from tests.fakes.samples import START, SteppedClock, ping, plain, samples, some_packets
from tests.fakes.sealed import DAY, FAR, release_all, seal_all, told

FRESH = itertools.count()
FIRST_DAY = START // DAY
PER_DAY = 8640


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("owed")


def sent(batches: list[SampleBatch]) -> dict[int, Sample]:
    """By seq, what a database outside would get; every seq once."""
    every = [batch.stored(row) for batch in batches for row in range(len(batch))]
    assert len({item.seq for item in every}) == len(every)
    return {item.seq: plain(item.sample) for item in every}


near = st.builds(lambda day, number: FIRST_DAY * DAY + day * DAY + number * 10**9, st.integers(0, 2), st.integers(0, 9))
few = st.sampled_from(["a", "b", "Ü'"])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(samples, near, few, few), min_size=1, max_size=12), st.data())
def test_what_is_owed_is_what_would_have_been_sent(
    place: Path, drawn: list[tuple[Sample, int, str, str]], data: st.DataObject
) -> None:
    given_ = [
        dataclasses.replace(sample, start_ns=start, circuit=circuit, probe=probe)
        for sample, start, circuit, probe in drawn
    ]
    path = place / str(next(FRESH))
    store = Store.open(path, clock=SteppedClock(), site="lab")
    try:
        store.cursor("far")
        store.append(given_)
        assert store.flush(10.0)
        with StoreReader.open(path) as reader:
            cursor = data.draw(st.integers(0, reader.status().newest_seq))
            store.advance("far", cursor)
            assert store.flush(10.0)
            before = sent(due(reader, "far"))
            kept = data.draw(st.integers(FIRST_DAY, FIRST_DAY + 3))
            parts = seal_all(path, kept)
            assert sent(due(reader, "far")) == before
            release_all(store, parts)
            assert sent(due(reader, "far", data.draw(st.integers(1, 9)))) == before
            assert reader.status().sinks[0].lag >= len(before)
            taken = []
            while (batch := take(store, reader, "far", data.draw(st.integers(1, 9)))) is not None:
                taken.append(batch)
            assert sent(taken) == before
            assert (notes_of(path), reader.status().sinks[0].lag) == ([], 0)
    finally:
        store.close(10.0)


def fill(store: Store, days: int, rows: int = 20, circuits: int = 2) -> None:
    shape = Histogram(np.array([3, 9]), np.array([4, 6]))
    for day in range(days):
        store.append(
            [
                ping(day * PER_DAY + n * 60, circuit=f"C-{c}", histogram=shape, packets=some_packets(n + 1))
                for n in range(rows)
                for c in range(circuits)
            ]
        )
    assert store.flush(30.0)


def test_the_lag_is_exact_at_every_step(
    store: Store, reader: StoreReader, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two days, a sink in the middle of the first; rows leave seven at a time and are looked at in between."""
    monkeypatch.setattr(writer, "LEAVING_ROWS", 7)
    for sink, seq in (("far", 0), ("middle", 13)):
        store.cursor(sink)
        fill(store, 1) if sink == "far" else fill_day_two(store)
        store.advance(sink, seq)
    assert store.flush(10.0)
    lags = {"far": 80, "middle": 67}
    seen = []

    def looked() -> bool:
        seen.append(({item.sink: item.lag for item in reader.status().sinks}, reader.owed("far")))
        return True

    (first, second) = seal_all(store_path, FAR)
    assert store.release(first, looked) == 40
    assert len(seen) == 7
    assert all(look == (lags, []) for look in seen[:-1])
    assert [owed.rows for owed in reader.owed("middle")] == [27]
    assert {item.sink: item.lag for item in reader.status().sinks} == lags
    owed = reader.owed("middle")[0]
    assert seqs([reader.owed_batch(owed, 100)[0]]) == list(range(14, 41))
    store.release(second)
    while (batch := take(store, reader, "far", 9)) is not None:
        lags["far"] -= len(batch)
        assert {item.sink: item.lag for item in reader.status().sinks}["far"] == lags["far"]
    assert lags["far"] == 0


def fill_day_two(store: Store) -> None:
    store.append([ping(PER_DAY + n * 60, circuit=f"C-{c}") for n in range(20) for c in range(2)])
    assert store.flush(30.0)


def test_a_debt_outlives_a_restart_and_goes_with_its_sink(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock
) -> None:
    for sink in ("far", "gone"):
        store.cursor(sink)
    fill(store, 2)
    release_all(store, seal_all(store_path, FAR))
    first = reader.owed("far")[0]
    _batch, place = reader.owed_batch(first, 11)
    store.settle("far", first.part, place)
    assert store.flush(10.0)
    left = seqs(due(reader, "far"))
    assert (len(left), reader.owed("far")[0].next_row) == (69, 11)
    store.close(10.0)
    again = Store.open(store_path, clock=clock, site="lab")
    try:
        assert seqs(due(reader, "far")) == left
        again.keep_sinks(["far"])
        assert (again.cursor("new"), again.flush(10.0)) == (0, True)
        assert (reader.owed("gone"), reader.owed("new")) == ([], [])
        assert {note.sink for note in notes_of(store_path)} == {"far"}
        again.settle("far", first.part, 3)
        assert again.flush(10.0)
        assert reader.owed("far")[0].next_row == 11, "a debt never grows again"
    finally:
        again.close(10.0)


def test_a_damaged_or_missing_part_stops_nothing_else(store: Store, reader: StoreReader, store_path: Path) -> None:
    store.cursor("far")
    fill(store, 2)
    parts = seal_all(store_path, FAR)
    release_all(store, parts)
    first, second = reader.owed("far")
    path = store_path / FOLDER / parts[0].name / parts[0].of("samples")[0].name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedSeal, match="SHA-256"):
        reader.owed_batch(first, 5)
    assert len(reader.owed_batch(second, 100)[0]) == 40
    retention.retire(store_path, parts[:1], [])
    batch, place = reader.owed_batch(first, 5)
    assert (len(batch), place) == (0, NOTHING_LEFT)
    assert [owed.part for owed in reader.owed("far")] == [second.part]


def policy(path: Path, **more: int) -> StoreSettings:
    values = {"keep_packets_ns": 1000 * DAY, "keep_samples_ns": 1000 * DAY, "seal_after_ns": DAY} | more
    return StoreSettings(path, **values)


def at(clock: SteppedClock, day: float) -> None:
    """Set the wall clock to so many days after the first sample's day began."""
    clock.offset_ns = 0
    clock.offset_ns = FIRST_DAY * DAY + int(day * DAY) - clock.wall()


@pytest.fixture
def keeper(store: Store, store_path: Path, clock: SteppedClock) -> Keeper:
    return Keeper(store_path, store, clock, lambda _kind, _text: None)


def seal_here(path: Path, *, timeout_s: float, stop: object, **what: int) -> str | None:  # noqa: ARG001 # the process'
    """What the process does, without the process."""
    part = seal_next(path, **what)
    return None if part is None else part.name


def test_a_large_live_database_is_sealed_slice_by_slice_whatever_the_sinks_have(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock, keeper: Keeper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of two days, closed slots only, in slices of at most 30 rows; later the rest of the days."""
    monkeypatch.setattr(slices, "MOST_ROWS", 30)
    monkeypatch.setattr(process, "seal_one", seal_here)
    store.cursor("far")
    fill(store, 2)
    before, owing = told(reader), sent(due(reader, "far"))
    last = ping(PER_DAY + 19 * 60).start_ns
    slot = last // slices.SLOT_NS * slices.SLOT_NS
    clock.offset_ns = slot + slices.SLOT_NS + slices.CLOSED_NS - 10**11 - (clock.wall() - clock.offset_ns)
    keeper.work(policy(store_path, seal_after_ns=30 * DAY, live_bytes=1))
    parts = manifest.load_all(store_path)
    assert len(parts) >= 4
    assert all(part.rows <= 30 and part.slice_ns is not None for part in parts)
    assert all(one.end_ns <= other.start_ns for one, other in itertools.pairwise(parts))
    assert all(part.start_ns // DAY == (part.end_ns - 1) // DAY for part in parts)
    left = reader.after_batch(0, 100)
    assert len(left)
    assert left.start_ns.min() >= slot, "what is not closed stays live"
    assert (told(reader), sent(due(reader, "far"))) == (before, owing)
    at(clock, 10)
    keeper.work(policy(store_path))
    assert not len(reader.after_batch(0, 100))
    assert (told(reader), sent(due(reader, "far"))) == (before, owing)
    assert [day.sealed for day in reader.days()] == [40, 40]


def test_a_small_live_database_is_left_alone(store: Store, store_path: Path, keeper: Keeper) -> None:
    fill(store, 2)
    keeper.watch(policy(store_path, seal_after_ns=100_000 * DAY))
    hourly = keeper._thread
    assert hourly is not None
    hourly.join(60)
    assert manifest.names(store_path) == []
    keeper.watch(policy(store_path, seal_after_ns=100_000 * DAY))
    assert keeper._thread is hourly, "not again within the hour"
    keeper.watch(policy(store_path, seal_after_ns=100_000 * DAY, live_bytes=1))
    assert keeper._thread is not hourly
    keeper._thread.join(60)
    assert len(manifest.names(store_path)) == 2


def test_late_samples_of_a_sealed_slice_become_a_further_part(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock, keeper: Keeper
) -> None:
    fill(store, 1)
    at(clock, 5)
    keeper.work(policy(store_path, seal_after_ns=30 * DAY, live_bytes=1))
    store.append([ping(61, circuit="C-0"), ping(60, circuit="C-0", rtt_ns=7), ping(5000, circuit="C-0")])
    assert store.flush(10.0)
    before = told(reader)
    late = seal_next(store_path, before_day=0, now_ns=clock.wall(), live_bytes=1)
    assert late is not None
    assert late.rows == 2, "sealed and still there: not sealed again with what follows"
    assert told(reader) == before
    keeper.work(policy(store_path, seal_after_ns=30 * DAY, live_bytes=1))
    assert told(reader) == before
    assert not len(reader.after_batch(0, 10))
    assert sum(day.sealed for day in reader.days()) == 43


def test_what_a_sink_is_owed_leaves_last_and_is_recorded(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock, keeper: Keeper
) -> None:
    """By age never; by bytes after everything that no sink is owed."""
    store.cursor("far")
    store.cursor("near")
    fill(store, 4)
    release_all(store, seal_all(store_path, FAR))
    names = manifest.names(store_path)
    for name in names[2:]:
        store.settle("far", name, NOTHING_LEFT)
    for name in names[1:]:
        store.settle("near", name, NOTHING_LEFT)
    assert store.flush(10.0)
    at(clock, 100)
    keeper.work(policy(store_path, keep_packets_ns=DAY, keep_samples_ns=DAY))
    assert manifest.names(store_path) == names[:2]
    assert reader.events(kind=LOST) == []
    sizes = [part.bytes for part in manifest.load_all(store_path)]
    rest = sum(path.stat().st_size for path in store_path.glob("live.sqlite*"))
    keeper._retire(rest + sizes[1] + 100_000, {"packets_before_ns": 0, "samples_before_ns": 0})
    assert manifest.names(store_path) == names[:2]
    keeper._retire(1, {"packets_before_ns": 0, "samples_before_ns": 0})
    assert manifest.names(store_path) == []
    lost = reader.events(kind=LOST)
    assert sorted((event.text.split()[1], event.count) for event in lost) == [("far", 80), ("near", 40)]
    assert (notes_of(store_path), seqs(due(reader, "far"))) == ([], [])


def test_parts_that_a_sink_is_owed_are_planned_to_leave_last(store: Store, store_path: Path) -> None:
    fill(store, 4)
    parts = seal_all(store_path, FAR)
    whole = sum(part.bytes for part in parts)
    bounds = {"packets_before_ns": 0, "samples_before_ns": 0, "live_bytes": 0, "owed": {parts[0].name}}
    gone, _bare = retention.plan(parts, keep_bytes=whole // 2, **bounds)
    assert parts[0] not in gone
    gone, _bare = retention.plan(parts, keep_bytes=0, **bounds)
    assert [part.name for part in gone] == [part.name for part in [*parts[1:], parts[0]]]


def test_debts_of_parts_that_somebody_took_away_are_written_off(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock, keeper: Keeper
) -> None:
    store.cursor("far")
    fill(store, 2)
    release_all(store, seal_all(store_path, FAR))
    name = manifest.names(store_path)[0]
    shutil.rmtree(store_path / FOLDER / name)
    at(clock, 1)
    keeper.work(policy(store_path))
    assert [(event.count, event.reason) for event in reader.events(kind=LOST)] == [(40, "its files are gone")]
    assert [owed.part for owed in reader.owed("far")] == manifest.names(store_path)
