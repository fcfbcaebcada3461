"""Nothing acknowledged is lost to SIGKILL; and a writer that acknowledges too early is caught by the same harness."""

import multiprocessing
import os
import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.store import Store, StoreReader
from agent.store.records import LIVE_FILE
from probes.core.clock import SystemClock
from tests.fakes.killed_writer import keep_until_killed
from tests.fakes.samples import ping

ROUNDS = 30


def run_and_kill(path: Path, first: int, seed: int, eager: bool) -> tuple[int, int]:
    """One process, killed after a random number of acknowledgements; returns (intervals kept, cursor) as told."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=keep_until_killed, args=(path, first, seed, theirs, eager))
    process.start()
    theirs.close()
    kept, cursor, words = first, 0, random.Random(seed).randint(1, 12)
    try:
        while True:
            if words == 0:
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
            words -= 1
            assert ours.poll(60)
            what, value = ours.recv()
            kept, cursor = (value, cursor) if what == "kept" else (kept, value)
    except EOFError:
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
    return kept, cursor


def inspect(path: Path, told_kept: int, told_cursor: int) -> tuple[list[str], int]:
    """Open as the next daemon would; returns (what was acknowledged and is not there, number of intervals there)."""
    store = Store.open(path, clock=SystemClock(), site="lab")
    with StoreReader.open(path) as reader:
        numbers = {item.sample.start_ns for item in reader.after(0, 100_000)}
        status = reader.status()
        cursor = reader.cursors().get("central", 0)
        assert cursor <= status.newest_seq
        assert reader.events(kind="gap")[0].reason == "crashed"
        assert status.damaged == ()
        assert sum(item.rows for item in reader.series()) == len(numbers)
    assert store.close(30.0)
    with closing(sqlite3.connect(path / LIVE_FILE)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (len(numbers),)
        assert connection.execute("SELECT count(*) FROM packets").fetchone() == (len(numbers),)
    lost = [f"interval {n}" for n in range(told_kept) if ping(n).start_ns not in numbers]
    if cursor < told_cursor:
        lost.append(f"cursor {told_cursor}, there is {cursor}")
    return lost, len(numbers)


@pytest.fixture(autouse=True)
def preloaded() -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.fakes.killed_writer"])


def test_the_harness_catches_a_writer_that_acknowledges_too_early(store_path: Path) -> None:
    lost: list[str] = []
    for seed in range(ROUNDS):
        path = store_path / str(seed)
        kept, cursor = run_and_kill(path, 0, seed, eager=True)
        lost += inspect(path, kept, cursor)[0]
        if lost:
            break
    assert lost


def test_nothing_acknowledged_is_lost_over_many_kills(store_path: Path) -> None:
    first = 0
    for seed in range(ROUNDS):
        kept, cursor = run_and_kill(store_path, first, seed, eager=False)
        lost, there = inspect(store_path, kept, cursor)
        assert lost == []
        first = there
    assert first > ROUNDS
