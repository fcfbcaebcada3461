"""Killed at every step of sealing, release and retention: each sample is read once, and the next pass ends the work."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from agent.store import Store, StoreReader
from agent.store.sealed import manifest, verification
from probes.core.clock import SystemClock
from tests.fakes.samples import ping, some_packets
from tests.fakes.sealed import Told, told

ROOT = Path(__file__).parents[3]
PER_DAY = 8640


def filled(path: Path) -> Told:
    """Two days of two circuits, and what a reader says of them."""
    store = Store.open(path, clock=SystemClock(), site="lab")
    for day in range(2):
        store.append(
            [
                ping(day * PER_DAY - 20_000_000 + n, circuit=circuit, packets=some_packets(n))
                for circuit in ("A", "B")
                for n in range(20)
            ]
        )
    assert store.flush(30.0)
    store.close(10.0)
    with StoreReader.open(path) as reader:
        return told(reader)


def without_packets(found: Told) -> Told:
    """Retention of packets is part of the pass: what must never change is all else."""
    return {
        key: {name: value for name, value in said.items() if name != "packets"} if "columns" in said else said
        for key, said in found.items()
    }


def work(path: Path, fatal: int, *bug: str) -> int | None:
    """One pass; number of its steps, None when it was killed."""
    command = [sys.executable, "-m", "tests.fakes.killed_sealer", str(path), str(fatal), *bug]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False, text=True)
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def first_loss(original: Path, before: Told, place: Path, *bug: str) -> tuple[str | None, int]:
    """Kill at every step of a pass in turn, each time on a copy; what went wrong first, and the number of steps."""
    step = 0
    while True:
        path = place / f"{step}"
        shutil.copytree(original, path)
        finished = work(path, step, *bug) is not None
        with StoreReader.open(path) as reader:
            if without_packets(told(reader)) != without_packets(before):
                return f"after step {step} the reader says something else", step
        if finished:
            return None, step
        assert work(path, 1 << 30) is not None
        with StoreReader.open(path) as reader:
            if without_packets(told(reader)) != without_packets(before):
                return f"after step {step} and another pass the reader says something else", step
            assert reader.status().sealed_rows == reader.status().rows
        assert verification.verify(path).findings == ()
        assert sorted(item.name for item in (path / manifest.FOLDER).iterdir()) == [*manifest.names(path), "lock"]
        shutil.rmtree(path)
        step += 1


def test_rows_that_leave_before_their_files_have_a_name_are_caught(tmp_path: Path) -> None:
    """The harness sees the bug it is made for."""
    before = filled(tmp_path / "original")
    lost, _step = first_loss(tmp_path / "original", before, tmp_path, "early")
    assert lost is not None


def test_killed_at_every_step_nothing_is_lost_or_read_twice(tmp_path: Path) -> None:
    before = filled(tmp_path / "original")
    lost, steps = first_loss(tmp_path / "original", before, tmp_path)
    assert lost is None
    assert steps > 25
