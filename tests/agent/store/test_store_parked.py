"""Parked lines: kept once, taken away again, bounded, every loss counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agent.store import EventRecord, Store, StoreReader
from agent.store import parked as table
from agent.store.records import LIVE_FILE, PARKED_DROPPED
from agent.store.sealed.offline import opened
from probes.core.clock import SystemClock


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "PARKED_ROOM", 10)
    monkeypatch.setattr(table, "PARKED_STEP", 4)


def keep(path: Path, act: Callable[[Store], None]) -> None:
    store = Store.open(path, clock=SystemClock(), site="lab")
    act(store)
    assert store.flush(10)
    assert store.close(10)


def seqs(path: Path, sink: str = "a") -> list[int]:
    with StoreReader.open(path) as reader:
        return [line.seq for line in reader.parked(sink, after=0)]


def test_refused_again_after_a_crash_is_kept_once(tmp_path: Path) -> None:
    def twice(store: Store) -> None:
        for seq, line in ((1, "x"), (2, "y"), (1, "x"), (1, "z")):
            store.park("a", seq, line, "no")
        store.park("b", 1, "x", "no")

    keep(tmp_path, twice)
    keep(tmp_path, twice)
    with StoreReader.open(tmp_path) as reader:
        assert [(line.seq, line.line) for line in reader.parked("a", after=0)] == [(1, "x"), (2, "y"), (1, "z")]
        assert [line.line for line in reader.parked("b")] == ["x"]


def test_taken_away_by_number(tmp_path: Path) -> None:
    keep(tmp_path, lambda store: [store.park("a", seq, "x", "no") for seq in (1, 2, 3)] and None)
    with StoreReader.open(tmp_path) as reader:
        first, _second, third = (line.id for line in reader.parked("a", after=0))
    assert first is not None
    assert third is not None
    keep(tmp_path, lambda store: store.unpark([first, third, 99]))
    assert seqs(tmp_path) == [2]
    with StoreReader.open(tmp_path) as reader:
        assert [line.seq for line in reader.parked("a", after=first)] == [2]
        assert reader.parked("a", after=99) == []


def test_by_hand_while_no_agent_runs_and_the_last_session_is_remembered(tmp_path: Path) -> None:
    keep(tmp_path, lambda store: [store.park("a", seq, "x", "no") for seq in (1, 2, 3)] and None)
    with StoreReader.open(tmp_path) as reader:
        before, ids = reader.status().last_commit_ns, [line.id or 0 for line in reader.parked("a", after=0)]
    with opened(tmp_path, SystemClock()) as writer:
        writer.unpark(ids[:2])
        writer.event(EventRecord("sink", 1, "by hand"))
    assert seqs(tmp_path) == [3]
    with StoreReader.open(tmp_path) as reader:
        assert reader.events(kind="sink")[0].text == "by hand"
        assert reader.status().last_commit_ns == before


@pytest.mark.usefixtures("small")
def test_beyond_the_room_the_oldest_go_and_are_counted_in_one_event(tmp_path: Path) -> None:
    for begin in (0, 11, 22):
        keep(tmp_path, lambda store, begin=begin: [store.park("a", begin + n, "x", "no") for n in range(11)] and None)
        keep(tmp_path, lambda store, begin=begin: store.park("b", begin, "x", "no"))
    assert seqs(tmp_path)[-1] == 32
    kept = len(seqs(tmp_path))
    assert kept <= 10
    assert seqs(tmp_path, "b") == [0, 11, 22]
    with StoreReader.open(tmp_path) as reader:
        [event] = reader.events(kind=PARKED_DROPPED)
    assert event.count == 33 - kept
    assert event.text == table.dropped_text("a")


@pytest.mark.usefixtures("small")
def test_losses_of_another_day_are_another_event(tmp_path: Path) -> None:
    keep(tmp_path, lambda store: store.park("a", 0, "x", "no"))
    with closing(sqlite3.connect(tmp_path / LIVE_FILE, isolation_level=None)) as connection:
        for day in (1, 3):
            now_ns = day * table.COUNT_NS
            for seq in range(11):
                connection.execute(table.INSERT, ("a", now_ns + seq, now_ns, "x", "no"))
            table.make_room(connection, ["a"], now_ns)
    with StoreReader.open(tmp_path) as reader:
        assert len(reader.events(kind=PARKED_DROPPED)) == 2
