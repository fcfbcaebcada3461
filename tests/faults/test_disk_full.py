"""A disk that is full or read-only, while the store runs and when it starts: what waits stays in memory within a bound,
what the bound cuts off is recorded exactly, and all is well again as soon as the disk is."""

from __future__ import annotations

import contextlib
import itertools
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from agent.store import EventRecord, Store, StoreOverflow, StoreReader
from probes.core.clock import SystemClock
from tests.agent.running import Agent, circuit, free_ports, reflector, udp, write
from tests.fakes.samples import ping, some_packets
from tests.faults.counts import count
from tests.faults.disks import FULL, READ_ONLY, Obstacle, fill, obstructed, obstructed_now

ROUNDS: Final = count("FULL_DISKS", 5, 200)
BOUND: Final = 200
STEP: Final = 20
OBSTACLES: Final = pytest.mark.parametrize("obstacle", [FULL, READ_ONLY], ids=lambda obstacle: obstacle.name)


class Filling:
    """Hands numbered samples to a store and remembers what became of them."""

    def __init__(self, store: Store) -> None:
        self.store, self.number, self.dropped = store, 0, list[int]()

    def append(self, size: int = STEP) -> None:
        numbers = range(self.number, self.number + size)
        self.number += size
        try:
            self.store.append([ping(n, packets=some_packets(n)) for n in numbers])
        except StoreOverflow as overflow:
            self.dropped += numbers[size - overflow.dropped :]

    def kept(self) -> list[int]:
        gone = set(self.dropped)
        return [ping(n).start_ns for n in range(self.number) if n not in gone]


def writer_of(store: Store) -> int:
    """The thread that writes."""
    assert store._thread.native_id is not None
    return store._thread.native_id


def gap_of(dropped: list[int]) -> tuple[int, int, int]:
    """(first instant, last instant, number)"""
    return ping(dropped[0]).start_ns, ping(dropped[-1] + 1).start_ns, len(dropped)


def seconds_until_flushed(store: Store) -> float:
    begin = time.monotonic()
    assert store.flush(30.0), store.failure()
    while store.failure():
        assert time.monotonic() < begin + 30.0
        time.sleep(0.01)
    return time.monotonic() - begin


@pytest.mark.root
@pytest.mark.serial
@OBSTACLES
def test_nothing_accepted_is_lost_and_what_was_dropped_is_recorded_exactly(
    memory: Callable[[str], Path], figure: Callable[[str], None], obstacle: Obstacle
) -> None:
    place = memory("24m")
    store = Store.open(place / "store", clock=SystemClock(), site="lab", waiting_samples=BOUND)
    filling, expected, back = Filling(store), [], []
    for _ in range(ROUNDS):
        filling.append()
        assert store.flush(10.0)
        before = len(filling.dropped)
        with obstructed_now(obstacle, place / "store", writer_of(store)):
            filling.append()
            while not re.search(obstacle.words, store.failure() or ""):
                filling.append(1)
                store.flush(0.05)
            while len(filling.dropped) < before + 3 * STEP:
                filling.append()
            assert store.counters()["queued"] == BOUND
        expected.append(gap_of(filling.dropped[before:]))
        back.append(seconds_until_flushed(store))
    with StoreReader.open(place / "store") as reader:
        assert [item.sample.start_ns for item in reader.after(0, 10**6)] == filling.kept()
        gaps = reader.events(kind="gap")[::-1]
    assert [(gap.at_ns, gap.end_ns, gap.count) for gap in gaps] == expected
    assert {gap.reason for gap in gaps} == {obstacle.reason}
    assert store.close(10.0)
    figure(
        f"disk {obstacle.name}: {ROUNDS} times, {filling.number} samples: {len(filling.dropped)} dropped and recorded "
        f"exactly, 0 others lost; normal {statistics.median(back):.2f} s after it ended (median)"
    )
    assert statistics.median(back) < 1.0


@pytest.mark.root
@OBSTACLES
@pytest.mark.parametrize("before", ["new", "clean", "killed"])
def test_a_start_under_the_obstacle_measures_and_keeps_all_from_its_beginning(
    memory: Callable[[str], Path], obstacle: Obstacle, before: str
) -> None:
    place = memory("24m")
    path, earlier = place / "store", 0
    if before != "new":
        first = Filling(Store.open(path, clock=SystemClock(), site="lab"))
        first.append()
        assert first.store.flush(10.0)
        earlier = first.number
        log = (path / "live.sqlite-wal").read_bytes()
        assert first.store.close(10.0)
        if before == "killed":
            (path / "live.sqlite-wal").write_bytes(log)
    with obstructed(obstacle, place):
        store = Store.open(path, clock=SystemClock(), site="lab", waiting_samples=BOUND)
        filling = Filling(store)
        filling.number = 1000
        filling.append()
        while not re.search(obstacle.words, store.failure() or ""):
            filling.append()
            store.flush(0.05)
        while len(filling.dropped) < STEP:
            filling.append()
    assert seconds_until_flushed(store) < 30
    with StoreReader.open(path) as reader:
        found = [item.sample.start_ns for item in reader.after(0, 10**6)]
        (gap,) = (event for event in reader.events(kind="gap") if event.count)
        starts = reader.events(kind="start")
    assert found == [ping(n).start_ns for n in range(earlier)] + filling.kept()[1000:]
    assert (gap.at_ns, gap.end_ns, gap.count, gap.reason) == (*gap_of(filling.dropped), obstacle.reason)
    assert len(starts) == (1 if before == "new" else 2)
    assert store.close(10.0)


@pytest.mark.root
def test_a_stop_on_a_full_disk_writes_what_it_cost_from_the_reserve(memory: Callable[[str], Path]) -> None:
    place = memory("8m")
    store = Store.open(place / "store", clock=SystemClock(), site="lab", waiting_samples=BOUND)
    filling = Filling(store)
    filling.append()
    assert store.flush(10.0)
    fill(place)
    while not filling.dropped:
        filling.append()
        store.flush(0.0 if store.failure() else 0.3)
    queued = store.counters()["queued"]
    assert not store.close(0.1)
    with StoreReader.open(place / "store") as reader:
        gap = reader.events(kind="gap")[0]
        rows = reader.status().rows
        assert reader.events(limit=1)[0].kind == "stop"
    lost = filling.number - rows
    assert lost == queued + len(filling.dropped)
    assert (gap.at_ns, gap.end_ns, gap.count) == gap_of(list(range(rows, filling.number)))
    assert gap.reason == "disk full"


def test_the_harness_catches_a_gap_that_is_not_exact() -> None:
    """A record that forgets the last sample it is about."""
    dropped = list(range(10, 20))
    wrong = EventRecord("gap", ping(10).start_ns, "", ping(19).start_ns, "disk full", 10)
    assert (wrong.at_ns, wrong.end_ns, wrong.count) != gap_of(dropped)


@pytest.mark.root
@pytest.mark.serial
@OBSTACLES
def test_the_agent_starts_measures_and_goes_on(
    memory: Callable[[str], Path], figure: Callable[[str], None], obstacle: Obstacle
) -> None:
    """Twice under the obstacle, at the start and later: no exit, no interval missing, loud meanwhile."""
    place = memory("24m")
    echo, responder = free_ports(2)
    config = write(place / "agent", [circuit("A", udp(echo, "50ms"))], reflector=reflector(echo, responder))
    with contextlib.ExitStack() as stack:
        with obstructed(obstacle, place):
            agent = stack.enter_context(Agent(config))
            agent.line("the store cannot write, samples wait in memory")
            agent.line("A/udp (ok|impaired)", count=3)
            begun = resident_kib(agent.process.pid)
        agent.line("the store writes again")
        with obstructed_now(obstacle, place / "agent" / "store", agent.process.pid, follow=True):
            agent.line("the store cannot write, samples wait in memory", count=2)
            shown = len(agent.line("A/udp (ok|impaired)"))
            agent.line("A/udp (ok|impaired)", count=shown + 3)
            grown = resident_kib(agent.process.pid) - begun
        agent.line("the store writes again", count=2)
        assert agent.end() == 0, agent.text
    with agent.reader() as reader:
        starts = [item.sample.start_ns for item in reader.after(0, 10**6)]
        states = {item.sample.state for item in reader.after(0, 10**6)}
        kinds = [event.kind for event in reader.events()]
    steps = [(later - earlier) / 1e9 for earlier, later in itertools.pairwise(starts)]
    figure(f"agent, disk {obstacle.name} at the start and later: {len(starts)} intervals, {steps.count(1.0)} in a row, "
           f"{grown} KiB more resident memory")  # fmt: skip
    assert set(steps[1:]) == {1.0}
    assert states <= {"ok", "impaired"}, states
    assert "gap" not in kinds
    assert grown < 40_000


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]
