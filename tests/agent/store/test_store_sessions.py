"""How a store is claimed, left, found damaged, found newer; what its record says about it."""

import contextlib
import multiprocessing
import os
import sqlite3
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from agent.store import EventRecord, Store, StoreReader, schema
from agent.store.directory import Directory
from agent.store.records import LIVE_FILE, Owner
from probes.core.clock import SystemClock
from probes.core.errors import LocalError
from tests.fakes.samples import SteppedClock, ping

HOUR = 3600 * 10**9


def gaps(path: Path) -> list[EventRecord]:
    with StoreReader.open(path) as reader:
        return reader.events(kind="gap")


def leave_running(path: Path, clock: SteppedClock) -> None:
    """A session that was killed: its last commit is there, its end is not."""
    store = Store.open(path, clock=clock, site="lab")
    store.append([ping(n) for n in range(5)])
    assert store.close(10.0)
    with sqlite3.connect(path / LIVE_FILE, isolation_level=None) as connection:
        connection.execute("UPDATE meta SET running = 1")
    connection.close()


def test_a_first_start_has_no_gap(store: Store, reader: StoreReader) -> None:
    assert store.flush(10.0)
    assert [event.kind for event in reader.events()] == ["start"]
    status = reader.status()
    assert (status.running, status.site, status.rows, status.schema_version) == (True, "ams-edge-01", 0, 3)
    assert status.owner is not None
    assert status.owner.pid == os.getpid()
    assert len(status.epoch) == 16
    assert status.free_bytes > 0


def test_a_clean_stop_leaves_a_gap_called_stopped(store_path: Path, clock: SteppedClock) -> None:
    store = Store.open(store_path, clock=clock, site="lab")
    assert store.close(10.0)
    with StoreReader.open(store_path) as reader:
        stop = reader.events()[0]
        assert (stop.kind, reader.status().running) == ("stop", False)
    clock.offset_ns += HOUR
    store = Store.open(store_path, clock=clock, site="lab")
    (gap,) = gaps(store_path)
    assert gap.reason == "stopped"
    assert abs(gap.at_ns - stop.at_ns) < 10**9
    assert gap.end_ns is not None
    assert gap.end_ns - gap.at_ns >= HOUR
    assert store.close(10.0)


def test_an_end_without_a_stop_leaves_a_gap_called_crashed(store_path: Path, clock: SteppedClock) -> None:
    leave_running(store_path, clock)
    clock.offset_ns += HOUR
    store = Store.open(store_path, clock=clock, site="lab")
    (gap,) = gaps(store_path)
    assert gap.reason == "crashed"
    assert f"process {os.getpid()} ended without a clean stop" in gap.text
    assert store.close(10.0)


def test_a_clock_that_went_back_between_two_sessions_leaves_a_gap_as_long_as_it_was(
    store_path: Path, clock: SteppedClock
) -> None:
    leave_running(store_path, clock)
    clock.offset_ns -= 24 * HOUR
    store = Store.open(store_path, clock=clock, site="lab")
    (gap,) = gaps(store_path)
    assert gap.end_ns is not None
    assert 0 <= gap.end_ns - gap.at_ns < 60 * 10**9
    assert gap.end_ns <= clock.wall()
    with StoreReader.open(store_path) as reader:
        (back,) = reader.events(kind="clock_step")
    assert (back.reason, back.at_ns) == ("clock set back", gap.at_ns)
    assert back.end_ns is not None
    assert 24 * HOUR - 10**9 < back.end_ns - back.at_ns < 24 * HOUR + 10**9
    assert store.close(10.0)


def test_a_closed_store_takes_nothing_more(store_path: Path, clock: SteppedClock) -> None:
    store = Store.open(store_path, clock=clock, site="lab")
    store.append([ping(1)])
    assert store.close(10.0)
    assert store.close(10.0)
    with pytest.raises(LocalError, match="closed"):
        store.append([ping(2)])
    assert not (store_path / f"{LIVE_FILE}-wal").exists()
    with StoreReader.open(store_path) as reader:
        assert len(reader.after(0, 10)) == 1


def hold(path: Path, held: Connection) -> None:
    store = Store.open(path, clock=SystemClock(), site="other")
    held.send(os.getpid())
    held.recv()
    store.close(10.0)


def test_a_second_daemon_is_told_who_has_the_store(store_path: Path) -> None:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(store_path, theirs))
    process.start()
    owner = ours.recv()
    with pytest.raises(LocalError, match=f"in use by process {owner}"):
        Store.open(store_path, clock=SystemClock(), site="lab")
    with StoreReader.open(store_path) as reader:
        assert reader.status().running
    ours.send("end")
    process.join(30)
    assert process.exitcode == 0
    assert Store.open(store_path, clock=SystemClock(), site="lab").close(10.0)


def test_of_many_that_claim_at_once_one_wins(tmp_path: Path) -> None:
    owner = Owner(1, "boot", 1)
    for _ in range(100):
        start, won = threading.Barrier(4), []

        def claim(start: threading.Barrier = start, won: list[Directory] = won) -> None:
            start.wait(10)
            with contextlib.suppress(LocalError):
                won.append(Directory.claim(tmp_path, owner))

        threads = [threading.Thread(target=claim) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(won) == 1
        won[0].release()


def test_a_place_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a directory")
    with pytest.raises(LocalError, match="cannot be used") as raised:
        Store.open(tmp_path / "store", clock=SystemClock(), site="lab")
    assert raised.value.hint


def test_a_newer_store_is_left_alone(store_path: Path, clock: SteppedClock) -> None:
    leave_running(store_path, clock)
    with sqlite3.connect(store_path / LIVE_FILE) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    before = (store_path / LIVE_FILE).read_bytes()
    for opener in (lambda: Store.open(store_path, clock=clock, site="lab"), lambda: StoreReader.open(store_path)):
        with pytest.raises(LocalError, match="store version 9; this linkwitness knows versions up to 3"):
            opener()
    assert (store_path / LIVE_FILE).read_bytes() == before
    assert not (store_path / "damaged").exists()


@pytest.mark.parametrize("tables", [False, True])
def test_a_store_that_is_being_created_is_not_read_yet(store_path: Path, clock: SteppedClock, tables: bool) -> None:
    """What a reader can meet in the first moments, and what a kill in them leaves."""
    store_path.mkdir()
    with sqlite3.connect(store_path / LIVE_FILE) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        if tables:
            schema.bring_up(connection, store_path / LIVE_FILE)
    connection.close()
    with pytest.raises(LocalError, match="is being created"):
        StoreReader.open(store_path)
    store = Store.open(store_path, clock=clock, site="lab")
    with StoreReader.open(store_path) as reader:
        assert reader.status().damaged == ()
    assert store.close(10.0)


def garbage(path: Path) -> None:
    path.write_bytes(b"\x5a" * 50_000)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def one_page_of_zeros(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(bytes(4096))


def broken_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not SQLite format")


def another_programs_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE meta(a, b)")
    connection.close()


@pytest.mark.parametrize("damage", [garbage, cut_in_half, one_page_of_zeros, broken_header, another_programs_database])
def test_a_damaged_database_is_moved_aside_and_the_start_goes_on(
    store_path: Path, clock: SteppedClock, damage: object
) -> None:
    assert callable(damage)
    store = Store.open(store_path, clock=clock, site="lab")
    store.append([ping(n) for n in range(2000)])
    assert store.close(10.0)
    with StoreReader.open(store_path) as reader:
        epoch = reader.status().epoch
    damage(store_path / LIVE_FILE)
    broken = (store_path / LIVE_FILE).read_bytes()
    store = Store.open(store_path, clock=clock, site="lab")
    store.append([ping(3000)])
    assert store.flush(10.0)
    with StoreReader.open(store_path) as reader:
        status = reader.status()
        assert status.epoch != epoch
        (name,) = status.damaged
        (event,) = reader.events(kind="damaged")
        assert name in event.text
        (gap,) = reader.events(kind="gap")
        assert gap.reason == "damaged"
        assert [item.sample.start_ns for item in reader.after(0, 10)] == [ping(3000).start_ns]
    assert (store_path / "damaged" / name).read_bytes() == broken
    assert store.close(10.0)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 5000])
def test_a_stray_log_beside_the_database_does_no_harm(store_path: Path, clock: SteppedClock, content: bytes) -> None:
    leave_running(store_path, clock)
    (store_path / f"{LIVE_FILE}-wal").write_bytes(content)
    store = Store.open(store_path, clock=clock, site="lab")
    with StoreReader.open(store_path) as reader:
        assert len(reader.after(0, 10)) == 5
    assert store.close(10.0)


def test_every_cut_of_the_log_leaves_whole_commits(store_path: Path, clock: SteppedClock, tmp_path: Path) -> None:
    """What a power cut can leave of the WAL: any length. The store starts, and holds a prefix of what was kept."""
    store = Store.open(store_path, clock=clock, site="lab")
    for first in range(0, 30, 3):
        store.append([ping(n) for n in range(first, first + 3)])
        assert store.flush(10.0)
    database = (store_path / LIVE_FILE).read_bytes()
    log = (store_path / f"{LIVE_FILE}-wal").read_bytes()
    assert store.close(10.0)
    seen = set()
    for number, length in enumerate(range(len(log), 0, -9973)):
        copy = tmp_path / f"copy{number}"
        copy.mkdir()
        (copy / LIVE_FILE).write_bytes(database)
        (copy / f"{LIVE_FILE}-wal").write_bytes(log[:length])
        again = Store.open(copy, clock=clock, site="lab")
        with StoreReader.open(copy) as reader:
            kept = [item.sample.start_ns for item in reader.after(0, 100)]
        assert kept == [ping(n).start_ns for n in range(len(kept))]
        assert len(kept) % 3 == 0
        seen.add(len(kept))
        assert again.close(10.0)
    assert 30 in seen
    assert len(seen) > 5
