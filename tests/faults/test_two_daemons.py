"""Two daemons start on one store at the same time, often: one has it, the other says who, nothing is interleaved."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

import pytest

from agent.store import Store, StoreReader, directory
from agent.store.directory import Directory, held
from agent.store.records import LIVE_FILE, Owner
from probes.core.clock import SystemClock
from probes.core.errors import LocalError
from tests.agent.running import circuit as circuit_of
from tests.agent.running import free_ports, udp, write
from tests.fakes.samples import ping
from tests.faults.counts import count

RACES: Final = count("RACES", 60, 1_000)
ROUND: Final = 20
"""Races in one directory: the first creates it, the others find what was left."""
KEPT: Final = 3
PATIENCE_S: Final = 60.0


def racer(name: str, unlocked: bool, start: Barrier, heard: Connection) -> None:
    """For every path heard: start together with the other, keep samples if it is ours, tell."""
    if unlocked:
        directory.fcntl.flock = lambda _descriptor, _operation: None  # type: ignore[attr-defined]
    while (order := heard.recv()) is not None:
        path, number = order
        start.wait(PATIENCE_S)
        try:
            store = Store.open(path, clock=SystemClock(), site="lab")
        except LocalError as error:
            heard.send(("refused", os.getpid(), str(error)))
            heard.recv()
            continue
        store.append([ping(number * KEPT + at, circuit=name) for at in range(KEPT)])
        heard.send(("won" if store.flush(PATIENCE_S) else "stuck", os.getpid(), ""))
        heard.recv()
        store.close(PATIENCE_S)


@dataclass
class Outcome:
    races: int = 0
    won: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Pair:
    """Two processes that race as often as wanted."""

    def __init__(self, *, unlocked: bool = False) -> None:
        context = multiprocessing.get_context("forkserver")
        self.start = context.Barrier(2)
        self.pipes: dict[str, Connection] = {}
        self.processes = []
        for name in ("A", "B"):
            self.pipes[name], theirs = context.Pipe()
            self.processes.append(context.Process(target=racer, args=(name, unlocked, self.start, theirs)))
            self.processes[-1].start()
            theirs.close()

    def race(self, path: Path, number: int, outcome: Outcome) -> None:
        """One start of both."""
        for pipe in self.pipes.values():
            pipe.send((path, number))
        said = {}
        for name, pipe in self.pipes.items():
            assert pipe.poll(2 * PATIENCE_S)
            said[name] = pipe.recv()
        winners = [name for name, (what, _, _) in said.items() if what == "won"]
        outcome.races += 1
        if len(winners) != 1:
            outcome.wrong.append(f"race {number}: {said}")
        for name, (what, _, text) in said.items():
            if what == "refused" and winners and f"is in use by process {said[winners[0]][1]}" not in text:
                outcome.wrong.append(f"race {number}: {name} was told {text}")
        for name in winners:
            outcome.won[name] = outcome.won.get(name, 0) + 1
        for pipe in self.pipes.values():
            pipe.send("end")

    def end(self) -> None:
        for pipe in self.pipes.values():
            with contextlib.suppress(OSError):
                pipe.send(None)
        for process in self.processes:
            process.join(PATIENCE_S)
            if process.is_alive():
                process.kill()


def kept_by(path: Path) -> dict[str, set[int]]:
    """Racer -> the races whose samples are there, whole."""
    found: dict[str, set[int]] = {}
    with StoreReader.open(path) as reader:
        for item in reader.after(0, 100_000):
            at = (item.sample.start_ns - ping(0).start_ns) // (10 * 10**9)
            found.setdefault(item.sample.circuit, set()).add(at)
    return {name: {at // KEPT for at in every} for name, every in found.items()}


def races(tmp_path: Path, many: int, *, unlocked: bool = False) -> Outcome:
    outcome, pair = Outcome(), Pair(unlocked=unlocked)
    try:
        for number in range(many):
            path = tmp_path / f"store{number // ROUND}"
            before = dict(outcome.won)
            pair.race(path, number, outcome)
            if outcome.wrong:
                break
            (winner,) = (name for name in outcome.won if outcome.won[name] != before.get(name, 0))
            there = [name for name, found in kept_by(path).items() if number in found]
            if there != [winner]:
                outcome.wrong.append(f"race {number}: {winner} won, samples are of {there}")
    finally:
        pair.end()
    for path in sorted(tmp_path.glob("store*")) if not outcome.wrong else ():
        with contextlib.closing(sqlite3.connect(path / LIVE_FILE)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                outcome.wrong.append(f"{path.name} is not whole")
            seqs = [row[0] for row in connection.execute("SELECT seq FROM samples ORDER BY seq")]
            if seqs != list(range(1, len(seqs) + 1)):
                outcome.wrong.append(f"{path.name}: numbers {seqs}")
    return outcome


@pytest.mark.serial
def test_of_two_daemons_that_start_at_once_one_has_the_store(tmp_path: Path, figure: Callable[[str], None]) -> None:
    outcome = races(tmp_path, RACES)
    won = ", ".join(f"{name} won {number}" for name, number in sorted(outcome.won.items()))
    figure(
        f"two daemons: {outcome.races} races ({won}), {len(outcome.wrong)} with both, neither or interleaved samples"
    )
    assert outcome.wrong == []
    assert sum(outcome.won.values()) == RACES
    assert len(outcome.won) == 2, "it was no race: the same one won every time"


@pytest.mark.serial
def test_the_harness_catches_a_store_without_a_lock(tmp_path: Path) -> None:
    assert races(tmp_path, 5, unlocked=True).wrong


@pytest.mark.serial
def test_the_second_agent_says_who_has_the_store_and_exits_1(tmp_path: Path) -> None:
    configuration = write(tmp_path / "agent", [circuit_of("A", udp(*free_ports(1)))])
    command = (sys.executable, "-m", "agent.cli.main", "run", "-c", str(configuration))
    both = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        while all(process.poll() is None for process in both):
            with contextlib.suppress(subprocess.TimeoutExpired):
                both[0].wait(0.1)
        (loser,) = (process for process in both if process.poll() is not None)
        (winner,) = (process for process in both if process is not loser)
        _, complaint = loser.communicate(timeout=PATIENCE_S)
        assert loser.returncode == 1
        assert f"is in use by process {winner.pid}" in complaint
        assert "Traceback" not in complaint
        assert held(configuration.parent / "store")
        winner.send_signal(signal.SIGTERM)
        winner.communicate(timeout=PATIENCE_S)
        assert winner.returncode == 0
    finally:
        for process in both:
            if process.poll() is None:
                process.kill()
                process.wait()


def hold_with_a_child(path: Path, told: Connection) -> None:
    """Hold the store, and start a process as the sealing is started; then wait to be killed."""
    Store.open(path, clock=SystemClock(), site="lab")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    told.send(child.pid)
    signal.pause()


@pytest.mark.serial
def test_a_child_that_outlives_a_killed_daemon_does_not_keep_its_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold_with_a_child, args=(tmp_path / "store", theirs))
    process.start()
    child = ours.recv()
    try:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(PATIENCE_S)
        os.kill(child, 0)  # it lives
        Directory.claim(tmp_path / "store", Owner(1, "boot", 1)).release()
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100_000, b"[" * 60_000, b'{"pid": "x"}', b"null"])
def test_whatever_stands_in_the_lock_file_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store"
    path.mkdir()
    (path / "lock").write_bytes(content)
    store = Store.open(path, clock=SystemClock(), site="lab")
    with pytest.raises(LocalError, match=f"in use by process {os.getpid()}"):
        Store.open(path, clock=SystemClock(), site="lab")
    assert directory.owner_of(path) is not None
    assert store.close(PATIENCE_S)
