"""What waits for a disk is bounded in number and in octets, and so is the memory of the process that waits."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from agent.store import Store, StoreOverflow, StoreReader, waiting
from probes.core.arrays import Packets
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.model import Sample
from tests.fakes.samples import ping
from tests.faults.disks import FULL, obstructed

UNIT: Final = Path(__file__).parents[2] / "systemd" / "linkwitness.service"
PACKETS: Final = 1000
CAP: Final = 2.5
"""Times the bound: what Python and the allocator add."""


def resident_octets() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


def busy(number: int, packets: int) -> Sample:
    """An interval of a fast stream."""
    delays = np.arange(packets) + 10**6 * (number + 1)
    sent = np.arange(packets) * (10 * SECOND // max(1, packets))
    found = Packets(sent, delays, np.zeros(packets, np.uint8)) if packets else None
    return ping(number, rtt_ns=10 * MILLISECOND + number, packets=found)


def wait_in_vain(path: Path, packets: int, unbounded: bool, told: Connection) -> None:
    """Hand in far more than the bound while the disk is full; tell (samples waiting, dropped, octets grown)."""
    if unbounded:
        waiting.WAITING_OCTETS = 1 << 60
    store = Store.open(path, clock=SystemClock(), site="lab")
    store.append([busy(0, packets)])
    assert store.flush(30.0)
    told.send("ready")
    told.recv()
    store.append([busy(1, packets)])
    while store.failure() is None:
        store.flush(0.1)
    begin, dropped = resident_octets(), 0
    for first in range(2, 30_000 if not packets else 6_000, 100):
        try:
            store.append([busy(number, packets) for number in range(first, first + 100)])
        except StoreOverflow as overflow:
            dropped += overflow.dropped
    store.flush(2.0)
    told.send((store.counters()["queued"], dropped, resident_octets() - begin))
    told.recv()
    told.send(store.flush(60.0))
    store.close(30.0)


def grow(place: Path, packets: int, unbounded: bool = False) -> tuple[int, int, int]:
    """The child's answer; afterwards the disk has room again, and all that waited is kept."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=wait_in_vain, args=(place / "store", packets, unbounded, theirs))
    child.start()
    assert ours.recv() == "ready"
    with obstructed(FULL, place):
        ours.send("go on")
        waited, dropped, octets = ours.recv()
    ours.send("go on")
    assert ours.recv() is True
    child.join(60)
    with StoreReader.open(place / "store") as reader:
        assert reader.status().rows == waited + 1
        (gap,) = reader.events(kind="gap")
    assert (gap.count, gap.reason) == (dropped, "disk full")
    return waited, dropped, octets


@pytest.mark.root
@pytest.mark.serial
@pytest.mark.parametrize("packets", [0, PACKETS])
def test_the_memory_of_what_waits_is_bounded(
    memory: Callable[[str], Path], figure: Callable[[str], None], packets: int
) -> None:
    waited, dropped, octets = grow(memory("160m"), packets)
    figure(
        f"waiting for a full disk, {packets} packets a sample: {waited} samples wait, {dropped} dropped, "
        f"{octets / 2**20:.0f} MiB more resident, {octets / waiting.WAITING_OCTETS:.2f} times the bound"
    )
    assert dropped
    assert octets < CAP * waiting.WAITING_OCTETS


@pytest.mark.root
@pytest.mark.serial
def test_the_harness_catches_a_bound_that_counts_samples_only(memory: Callable[[str], Path]) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    place = memory("160m")
    child = context.Process(target=wait_in_vain, args=(place / "store", PACKETS, True, theirs))
    child.start()
    assert ours.recv() == "ready"
    with obstructed(FULL, place):
        ours.send("go on")
        *_, octets = ours.recv()
        child.kill()
        child.join(60)
    assert octets > CAP * waiting.WAITING_OCTETS


def test_the_service_has_a_bound_of_its_own() -> None:
    lines = UNIT.read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("MemoryMax=")] == ["MemoryMax=1G"]
