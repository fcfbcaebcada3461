"""Sealed days say exactly what the live database said: before, while and after its rows leave it."""

import dataclasses
import hashlib
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
from agent.store.sealed import layout, manifest, sealing
from agent.store.sealed.manifest import DAY_NS, DamagedSeal
from probes.core.arrays import ABSENT
from probes.core.errors import LocalError
from probes.core.model import Sample
from tests.fakes.samples import START, SteppedClock, ping, samples, some_packets
from tests.fakes.sealed import DAY, FAR, release_all, seal_all, told

FRESH = itertools.count()
PER_DAY = 8640
FIRST_DAY = START // DAY
few_instants = st.integers(-2, 2).flatmap(lambda day: st.integers(0, 3).map(lambda n: day * DAY - 1 + n))
few_names = st.sampled_from(["a", "b", "A'", 'ü"', "\0", "", "𝔘"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sealed")


@settings(max_examples=24, deadline=None)
@given(st.lists(samples, max_size=3), st.lists(samples, max_size=10), st.data())
def test_nothing_changes_when_days_are_sealed(
    place: Path, anywhere: list[Sample], crowded: list[Sample], data: st.DataObject
) -> None:
    crowd = [
        dataclasses.replace(
            sample, circuit=data.draw(few_names), probe=data.draw(few_names), kind=data.draw(few_names),
            start_ns=data.draw(few_instants),
        )
        for sample in crowded
    ]  # fmt: skip
    past = [dataclasses.replace(sample, start_ns=min(sample.start_ns, FAR * DAY)) for sample in anywhere]
    path = place / str(next(FRESH))
    store = Store.open(path, clock=SteppedClock(), site="lab")
    try:
        with StoreReader.open(path) as reader:
            store.append([*past, *crowd])
            assert store.flush(10.0)
            before = told(reader)
            parts = seal_all(path, FAR)
            assert told(reader) == before
            kept = sum(part.rows for part in parts)
            assert release_all(store, parts[:1]) == sum(part.rows for part in parts[:1])
            assert told(reader) == before
            assert release_all(store, parts) == kept - sum(part.rows for part in parts[:1])
            assert told(reader) == before
            assert seal_all(path, FAR) == []
    finally:
        store.close(10.0)


integers = st.integers(-(1 << 63) + 1, (1 << 63) - 1) | st.just(ABSENT) | st.integers(-3, 3)


@given(st.lists(st.tuples(integers, integers, integers, integers, integers), min_size=1))
def test_distances_restore_every_integer(rows: list[tuple[int, ...]]) -> None:
    names = ("rtt_max_ns", "rtt_min_ns", "rtt_p95_ns", "rtt_p99_ns", "pdv_p95_ns")
    values = dict(zip(names, np.array(rows, np.int64).T.copy(), strict=True))
    written = layout.to_written(values)
    for name in names:
        restored = layout.from_written([name], lambda column: written[column])
        assert restored[name].tolist() == values[name].tolist()
        absent = written[layout.written_name(name)] == ABSENT
        assert absent.tolist() == (values[name] == ABSENT).tolist()
        assert layout.written_name(name) in [layout.written_name(needed) for needed in layout.needed([name])]


def two_days(store: Store, circuits: int = 2) -> None:
    """A sample every 10 minutes of three days, the last one unfinished."""
    for day in range(3):
        for circuit in range(circuits):
            store.append(
                [
                    ping(day * PER_DAY + n * 60, circuit=f"C-{circuit}", packets=some_packets(n))
                    for n in range(144 if day < 2 else 20)
                ]
            )
            assert store.flush(30.0)


def test_a_read_over_the_seam_is_whole(store: Store, reader: StoreReader, store_path: Path) -> None:
    two_days(store)
    whole = told(reader)
    parts = seal_all(store_path, FIRST_DAY + 2)
    assert [part.name for part in parts] == ["2026-09-21.1", "2026-09-22.1"]
    assert release_all(store, parts) == sum(part.rows for part in parts)
    assert told(reader) == whole
    edges = [START - 1, START, START + 3, FIRST_DAY * DAY + DAY, FIRST_DAY * DAY + 2 * DAY, START + 3 * DAY]
    full = reader.read("C-1", "icmp", ("start_ns",), 0, START + 9 * DAY).start_ns
    for first, last in itertools.combinations(edges, 2):
        found = reader.read("C-1", "icmp", ("rtt_p95_ns", "histogram"), first, last)
        assert found.start_ns.tolist() == [at for at in full.tolist() if first <= at < last]
        assert len(reader.samples("C-1", "icmp", first, last, 50)) == min(50, len(found))
    assert reader.status().sealed_rows == sum(part.rows for part in parts)
    with closing(sqlite3.connect(store_path / LIVE_FILE)) as connection:
        left = connection.execute("SELECT count(*) FROM samples").fetchone()[0]
        assert left == connection.execute("SELECT count(*) FROM packets").fetchone()[0]
        assert left == len(reader.after(0, 10_000)) < reader.status().rows


def test_packets_of_many_samples_are_those_of_each(store: Store, reader: StoreReader, store_path: Path) -> None:
    two_days(store)
    starts = reader.read("C-1", "icmp", ("start_ns",), 0, START + 9 * DAY).start_ns
    asked = np.concatenate((starts[::-7], starts[:3] + 1, starts[:2]))

    def told_packets() -> list[bytes | None]:
        return [None if item is None else item.encode() for item in reader.packets_of("C-1", "icmp", asked)]

    one_by_one = [reader.packets("C-1", "icmp", int(start)) for start in asked]
    alone = [None if item is None else item.encode() for item in one_by_one]
    assert any(alone)
    assert None in alone
    assert told_packets() == alone
    parts = seal_all(store_path, FIRST_DAY + 2)
    assert told_packets() == alone, "sealed and live at once"
    release_all(store, parts)
    assert told_packets() == alone, "days sealed, the last one live"
    assert reader.packets_of("C-1", "icmp", starts[:0]) == []


def test_a_circuit_that_is_gone_keeps_its_last_sample(store: Store, reader: StoreReader, store_path: Path) -> None:
    store.append([ping(n, circuit="gone") for n in range(3)] + [ping(2 * PER_DAY, circuit="here")])
    assert store.flush(10.0)
    before = [sample.start_ns for sample in reader.latest()]
    release_all(store, seal_all(store_path, FIRST_DAY + 1))
    assert [sample.start_ns for sample in reader.latest()] == before == [ping(2).start_ns, ping(2 * PER_DAY).start_ns]


def test_samples_that_come_to_a_sealed_day_become_a_further_part(
    store: Store, reader: StoreReader, store_path: Path
) -> None:
    """A stepped clock brings samples to a day that is sealed, one of them to an instant that is taken."""
    store.append([ping(n) for n in range(4)])
    assert store.flush(10.0)
    release_all(store, seal_all(store_path))
    store.append([ping(2, rtt_ns=99), ping(50)])
    assert store.flush(10.0)
    starts = [ping(n).start_ns for n in range(4)]
    moved = [*starts[:3], starts[2] + 1, starts[3], ping(50).start_ns]
    for _ in range(2):
        found = reader.read("ACME-1", "icmp", ("rtt_max_ns", "histogram"), 0, START + DAY)
        assert found.start_ns.tolist() == moved
        assert found.column("rtt_max_ns").tolist()[3] == 99
        assert [item.sample.start_ns for item in reader.samples("ACME-1", "icmp", 0, START + DAY)] == moved
        assert sum(series.rows for series in reader.series()) == 6
        parts = seal_all(store_path)
        release_all(store, parts)
    assert [part.name for part in manifest.load_all(store_path)] == ["2026-09-21.1", "2026-09-21.2"]


def test_a_fresh_database_reads_the_sealed_days_of_the_old_one(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock
) -> None:
    two_days(store, circuits=1)
    release_all(store, seal_all(store_path, FIRST_DAY + 1))
    before = reader.read("C-0", "icmp", ("sent",), START, (FIRST_DAY + 1) * DAY).start_ns.tolist()
    store.close(10.0)
    (store_path / LIVE_FILE).write_bytes(b"no database at all" * 1000)
    again = Store.open(store_path, clock=clock, site="lab")
    try:
        again.append([ping(5 * PER_DAY, circuit="C-0")])
        assert again.flush(10.0)
        found = reader.read("C-0", "icmp", ("sent",), START, START + 9 * DAY).start_ns.tolist()
        assert found == [*before, ping(5 * PER_DAY).start_ns]
        assert again.release(manifest.load_all(store_path)[0]) == 0
    finally:
        again.close(10.0)


def test_a_value_that_reads_back_otherwise_seals_nothing(
    store: Store, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check that reads every file back, seen to catch a distance that forgets its reference."""
    store.append([ping(n) for n in range(4)])
    assert store.flush(10.0)
    monkeypatch.setattr("agent.store.sealed.parquet.code_of", lambda _texts, column: f"(length({column}) + 1)::BIGINT")
    with pytest.raises(LocalError, match="reads back otherwise"):
        sealing.seal_next(store_path, before_day=FAR, now_ns=1)
    assert list((store_path / manifest.FOLDER).glob("2026*")) == []


def test_a_column_with_text_in_it_stops_the_day_and_loses_nothing(store: Store, store_path: Path) -> None:
    store.append([ping(n) for n in range(4)])
    assert store.flush(10.0)
    with closing(sqlite3.connect(store_path / LIVE_FILE, isolation_level=None)) as connection:
        connection.execute("UPDATE samples SET sent = 'ten' WHERE seq = 2")
    with pytest.raises(LocalError, match="column sent holds what is no integer"):
        sealing.seal_next(store_path, before_day=FAR, now_ns=1)
    assert manifest.names(store_path) == []


def test_a_newer_manifest_is_refused_politely(store: Store, reader: StoreReader, store_path: Path) -> None:
    store.append([ping(n) for n in range(4)])
    assert store.flush(10.0)
    (part,) = seal_all(store_path)
    path = manifest.path_of(store_path, part.name)
    body = path.read_bytes().partition(b"\n")[0].replace(b'"version": 4', b'"version": 5')
    path.write_bytes(body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n")
    for call in (reader.series, lambda: seal_all(store_path), lambda: told(reader)):
        with pytest.raises(LocalError, match="version 5; this linkwitness knows versions up to 4") as refused:
            call()
        assert not isinstance(refused.value, DamagedSeal)
    assert path.read_bytes().startswith(body)


def test_days_are_whole_utc_days() -> None:
    assert manifest.day_text(FIRST_DAY) == "2026-09-21"
    assert (manifest.day_text(-1), manifest.day_text(0)) == ("1969-12-31", "1970-01-01")
    assert manifest.day_start(-1) == -DAY_NS
