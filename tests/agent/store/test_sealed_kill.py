"""Killed at every step of sealing, release and retention: each sample is read once, and the next pass ends the work."""

import multiprocessing
import shutil
import signal
from pathlib import Path

import pytest

from agent.store import Store, StoreReader
from agent.store.sealed import manifest, verification
from probes.core.clock import SystemClock
from tests.fakes import killed_sealer
from tests.fakes.debts import due, seqs
from tests.fakes.samples import ping, some_packets
from tests.fakes.sealed import Told, told

PER_DAY = 8640


def filled(path: Path, days: int = 2, apart: int = 1) -> Told:
    """Days of two circuits with 20 samples each, a sink that has some of them, and what a reader says of it all."""
    store = Store.open(path, clock=SystemClock(), site="lab")
    store.cursor("far")
    for day in range(days):
        store.append(
            [
                ping(day * PER_DAY - 20_000_000 + n * apart, circuit=circuit, packets=some_packets(n))
                for circuit in ("A", "B")
                for n in range(20)
            ]
        )
    assert store.flush(30.0)
    store.advance("far", 17)
    store.close(10.0)
    with StoreReader.open(path) as reader:
        return told(reader)


def without_packets(found: Told) -> Told:
    """Retention of packets is part of the pass: what must never change is all else."""
    return {
        key: {name: value for name, value in said.items() if name != "packets"} if "columns" in said else said
        for key, said in found.items()
    }


FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.fakes.killed_sealer", "tests.fakes.sealed", "agent.store.sealed.parquet"])


def work(path: Path, fatal: int, *, sliced: bool, bug: str | None) -> int | None:
    """One pass; number of its steps, None when it was killed."""
    answer, theirs = FORKED.Pipe()
    process = FORKED.Process(target=killed_sealer.run, args=(path, fatal, sliced, bug, theirs))
    process.start()
    theirs.close()
    process.join(60)
    if process.exitcode == -signal.SIGKILL:
        return None
    assert process.exitcode == 0
    steps: int = answer.recv()
    return steps


def first_loss(
    original: Path, before: Told, place: Path, *, sliced: bool = False, bug: str | None = None
) -> tuple[str | None, int]:
    """Kill at every step of a pass in turn, each time on a copy; what went wrong first, and the number of steps."""
    step = 0
    with StoreReader.open(original) as reader:
        expected = set(seqs(due(reader, "far")))
    while True:
        path = place / f"{step}"
        shutil.copytree(original, path)
        finished = work(path, step, sliced=sliced, bug=bug) is not None
        for again in ("", " and another pass"):
            if again and (finished or work(path, 1 << 30, sliced=sliced, bug=bug) is None):
                break
            with StoreReader.open(path) as reader:
                if without_packets(told(reader)) != without_packets(before):
                    return f"after step {step}{again} the reader says something else", step
                left = seqs(due(reader, "far", 100))
                whole = set(left) == expected if again else set(left) <= expected  # of a part half way out: later
                if not whole or len(left) != len(set(left)):
                    return f"after step {step}{again} a sink is to get other samples", step
                lag = reader.status().sinks[0].lag
                if lag != len(expected):
                    return f"after step {step}{again} the lag is {lag}, not {len(expected)}", step
        if finished:
            return None, step
        with StoreReader.open(path) as reader:
            assert reader.status().sealed_rows == reader.status().rows
        assert verification.verify(path).findings == ()
        assert sorted(item.name for item in (path / manifest.FOLDER).iterdir()) == [*manifest.names(path), "lock"]
        shutil.rmtree(path)
        step += 1


@pytest.mark.parametrize("bug", ["early", "unowed"])
def test_a_seeded_bug_is_caught(tmp_path: Path, bug: str) -> None:
    """Rows that leave before their files have a name; rows that leave without a note of who lacks them."""
    before = filled(tmp_path / "original")
    lost, _step = first_loss(tmp_path / "original", before, tmp_path, bug=bug)
    assert lost is not None


@pytest.mark.parametrize("sliced", [False, True])
def test_killed_at_every_step_nothing_is_lost_or_read_twice(tmp_path: Path, sliced: bool) -> None:
    """Neither by a reader nor by a sink that lacks most of it: whole days, and slices of a day."""
    before = filled(tmp_path / "original", *((1, 30) if sliced else (1, 1)))
    lost, steps = first_loss(tmp_path / "original", before, tmp_path, sliced=sliced)
    assert lost is None
    assert steps > (25 if sliced else 14)
