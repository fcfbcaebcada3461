"""A disk that refuses: what waits stays in memory up to a bound, what does not fit is counted and becomes a gap."""

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store import EventRecord, Store, StoreOverflow, StoreReader
from agent.store.livefile import Batch, LiveFile
from agent.store.samples import Placed
from agent.store.waiting import WAITING_NOTES, Waiting
from tests.fakes.samples import SteppedClock, ping, some_packets

BOUND = 200


@pytest.fixture
def small(store_path: Path, clock: SteppedClock) -> Iterator[Store]:
    opened = Store.open(store_path, clock=clock, site="lab", waiting_samples=BOUND)
    yield opened
    opened.close(1.0)


def limit_pages(store: Store, pages: int) -> None:
    """SQLite then says SQLITE_FULL, as it does on a full disk."""
    assert store._file is not None
    store._file.connection.execute(f"PRAGMA max_page_count = {pages}")


def append_until(store: Store, total: int, step: int = 50) -> int:
    """Append `total` samples step by step; returns how many were dropped."""
    dropped = 0
    for first in range(0, total, step):
        try:
            store.append([ping(n) for n in range(first, min(total, first + step))])
        except StoreOverflow as overflow:
            dropped += overflow.dropped
    return dropped


def test_full_then_room_again(small: Store, store_path: Path) -> None:
    limit_pages(small, 1)
    assert append_until(small, 500) == 500 - BOUND
    assert not small.flush(0.05)
    counters = small.counters()
    assert (counters["queued"], counters["dropped"], counters["committed"]) == (BOUND, 500 - BOUND, 0)
    assert small.failure() == "database or disk is full"
    assert counters["failures"] > 0
    assert counters["failing_ns"] > 0
    limit_pages(small, 1 << 30)
    assert small.flush(30.0)
    while small.failure() is not None:  # told a moment after it is durable; the test's time limit is the deadline
        small.flush(0.01)
    with StoreReader.open(store_path) as reader:
        assert [item.sample for item in reader.after(0, 1000)] == [ping(n) for n in range(BOUND)]
        (gap,) = reader.events(kind="gap")
    assert (gap.reason, gap.count) == ("overflow", 500 - BOUND)
    assert (gap.at_ns, gap.end_ns) == (ping(BOUND).start_ns, ping(500).start_ns)


def test_the_writer_shows_progress_while_the_disk_is_full(small: Store) -> None:
    """The watchdog must not kill what waits in memory."""
    limit_pages(small, 1)
    small.append([ping(n) for n in range(BOUND)])
    assert not small.flush(0.05)
    before, failures = small.progress(), small.counters()["failures"]
    while small.counters()["failures"] == failures:
        small.flush(0.2)
    assert small.progress() > before


def test_a_close_on_a_full_disk_is_reported_as_unclean(store_path: Path, clock: SteppedClock) -> None:
    store = Store.open(store_path, clock=clock, site="lab")
    limit_pages(store, 1)
    store.append([ping(n) for n in range(100)])
    assert not store.flush(0.05)
    assert not store.close(0.1)
    assert store.counters()["dropped"] == 100


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY])
def test_a_commit_that_fails_is_tried_again_and_nothing_is_lost(
    store: Store, reader: StoreReader, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """After an I/O error the file is opened anew: the kernel forgets a failed fsync (PostgreSQL, 2018)."""
    original, failures, opened = LiveFile.write, [3], store._file

    def write(file: LiveFile, batch: Batch, now_ns: int, **more: bool) -> Placed:
        if failures[0]:
            failures[0] -= 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = code
            raise error
        return original(file, batch, now_ns, **more)

    monkeypatch.setattr(LiveFile, "write", write)
    store.append([ping(n) for n in range(10)])
    assert store.flush(30.0)
    assert store.counters()["failures"] == 3
    assert [item.sample for item in reader.after(0, 100)] == [ping(n) for n in range(10)]
    assert (store._file is opened) == (code == sqlite3.SQLITE_BUSY)


def call_damaged(monkeypatch: pytest.MonkeyPatch, epoch: str, times: int) -> None:
    """SQLite finds damage at so many writes to the database of this epoch."""
    original, left = LiveFile.write, [times]

    def write(file: LiveFile, batch: Batch, now_ns: int, **more: bool) -> Placed:
        if left[0] and file.epoch == epoch:
            left[0] -= 1
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        return original(file, batch, now_ns, **more)

    monkeypatch.setattr(LiveFile, "write", write)


def test_damage_found_while_running_is_moved_aside_and_numbers_go_on(
    store: Store, reader: StoreReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append([ping(n) for n in range(10)])
    assert store.flush(10.0)
    store.advance("central", 10)
    assert store.flush(10.0)
    epoch = reader.status().epoch
    call_damaged(monkeypatch, epoch, 1 << 62)
    store.append([ping(n) for n in range(10, 20)])
    assert store.flush(30.0)
    assert [item.seq for item in reader.after(0, 100)] == list(range(11, 21))
    assert [event.kind for event in reader.events()] == ["damaged"]
    assert (reader.cursors(), store.cursor("central")) == ({"central": 10}, 10)
    assert reader.status().epoch not in ("", epoch)
    assert len(reader.status().damaged) == 1


def test_damage_found_once_may_be_a_read_that_failed_and_is_not_believed(
    store: Store, reader: StoreReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append([ping(n) for n in range(10)])
    assert store.flush(10.0)
    call_damaged(monkeypatch, reader.status().epoch, 1)
    store.append([ping(n) for n in range(10, 20)])
    assert store.flush(30.0)
    assert [item.seq for item in reader.after(0, 100)] == list(range(1, 21))
    assert (reader.status().damaged, store.counters()["failures"]) == ((), 1)


def test_notes_are_bounded_too() -> None:
    waiting = Waiting()
    for number in range(WAITING_NOTES + 7):
        waiting.put_note(EventRecord("e", number, "x"))
    assert (len(waiting), waiting.dropped_notes) == (WAITING_NOTES, 7)


def test_what_was_handed_in_during_a_commit_is_not_settled_with_it() -> None:
    waiting = Waiting()
    waiting.put_samples([ping(1)])
    waiting.put_note(EventRecord("e", 1, "first"))
    waiting.put_cursor("s", 5)
    batch, samples, notes = waiting.next_batch()
    waiting.put_samples([ping(2)])
    waiting.put_note(EventRecord("e", 2, "second"))
    waiting.put_cursor("s", 6)
    waiting.settle(batch, samples, notes)
    assert len(waiting) == 3
    assert not waiting.wait_settled(0)
    batch, samples, notes = waiting.next_batch()
    assert ([event.text for event in batch.events], batch.cursors, len(batch.samples)) == (["second"], {"s": 6}, 1)
    waiting.settle(batch, samples, notes)
    assert waiting.wait_settled(0)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "lwstore", str(place)], check=True, timeout=10)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=10)


def fill(place: Path) -> None:
    descriptor = os.open(place / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.suppress(OSError):
            while os.write(descriptor, bytes(4096)):
                pass
    finally:
        os.close(descriptor)


@pytest.mark.root
def test_a_real_full_disk(tiny_disk: Path, clock: SteppedClock) -> None:
    path = tiny_disk / "store"
    store = Store.open(path, clock=clock, site="lab", waiting_samples=BOUND)
    store.append([ping(n) for n in range(100)])
    assert store.flush(10.0)
    fill(tiny_disk)
    dropped, number = 0, 100
    while store.failure() is None:
        store.append([ping(n, packets=some_packets(5)) for n in range(number, number + 50)])
        number += 50
        store.flush(0.5)
    while not dropped:
        try:
            store.append([ping(number, packets=some_packets(5))])
            number += 1
        except StoreOverflow as overflow:
            dropped += overflow.dropped
    assert store.failure()
    (tiny_disk / "filler").unlink()
    assert store.flush(30.0)
    with StoreReader.open(path) as reader:
        assert [item.sample.start_ns for item in reader.after(0, 10**6)] == [ping(n).start_ns for n in range(number)]
        (gap,) = reader.events(kind="gap")
        assert gap.count == dropped
    assert store.close(10.0)


@pytest.mark.root
def test_the_reserve_pays_for_the_record_of_a_stop_on_a_full_disk(tiny_disk: Path, clock: SteppedClock) -> None:
    path = tiny_disk / "store"
    store = Store.open(path, clock=clock, site="lab")
    fill(tiny_disk)
    number = 0
    while store.failure() is None:
        store.append([ping(n, packets=some_packets(5)) for n in range(number, number + 50)])
        number += 50
        store.flush(0.5)
    queued = store.counters()["queued"]
    assert queued > 0
    assert not store.close(0.1)
    with StoreReader.open(path) as reader:
        stop, gap = reader.events(limit=2)
        assert (stop.kind, gap.kind, gap.count) == ("stop", "gap", queued)
        assert reader.status().rows == number - queued
    (tiny_disk / "filler").unlink()
    again = Store.open(path, clock=clock, site="lab")
    assert again.close(10.0)


@pytest.mark.root
def test_a_start_on_a_full_disk_takes_the_reserve_and_goes_on(tiny_disk: Path, clock: SteppedClock) -> None:
    path = tiny_disk / "store"
    assert Store.open(path, clock=clock, site="lab").close(10.0)
    fill(tiny_disk)
    store = Store.open(path, clock=clock, site="lab")
    for first in range(0, 8000, 1000):
        store.append([ping(n, packets=some_packets(n)) for n in range(first, first + 1000)])
        store.flush(0.5)
    assert store.failure()
    (tiny_disk / "filler").unlink()
    assert store.flush(30.0)
    assert store.counters()["committed"] == 8000
    assert store.close(10.0)
