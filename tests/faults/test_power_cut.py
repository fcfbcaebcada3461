"""Power cuts: what the disk holds at a random instant is mounted and started from."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from agent.store import Store
from probes.core.clock import SystemClock
from tests.faults.counts import count
from tests.faults.keeper import Found, Keeper, Orders, Told, examine, integrity
from tests.faults.volume import Volume

CUTS: Final = count("POWER_CUTS", 200, 1_000)
CUTS_A_DISK: Final = 20
LONGEST_S: Final = 0.15
CONTROLS: Final = 20


def stopped(pid: int) -> bool:
    """Every thread of the process stands still."""
    states = [task / "stat" for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(path.read_text("ascii").rpartition(")")[2].split()[0] == "T" for path in states)


def freeze(keeper: Keeper) -> Told:
    """Stop the process where it is. What it had said by then was acknowledged before the cut."""
    os.kill(keeper.pid, signal.SIGSTOP)
    while not stopped(keeper.pid):
        keeper.listen(0.001)
    keeper.listen(0)
    return Told(keeper.told.kept, keeper.told.cursor, keeper.told.opened)


def start_after(disk: Volume, told: Told, name: str) -> Found:
    """Mount what a power cut would leave now, start the store in it, look."""
    after = disk.after_power_cut(name)
    try:
        store = Store.open(after.path / "store", clock=SystemClock(), site="lab")
        found = examine(after.path / "store", told)
        assert store.close(60)
        found.wrong.extend(integrity(after.path / "store"))
        return found
    finally:
        after.remove()


def cut_many(volume: Callable[[], Volume], seed: int, cuts: int, bug: str = "") -> tuple[list[str], list[str], int]:
    """(lost, wrong, acknowledged samples seen at all cuts)"""
    disk, chance = volume(), random.Random(seed)
    keeper = Keeper(Orders(disk.path / "store", seed=seed, bug=bug, rest_s=0.002, checkpoint=chance.choice((40, 400))))
    lost, wrong, acknowledged = [], [], 0
    try:
        keeper.listen(60, words=2)
        for number in range(cuts):
            keeper.listen(chance.uniform(0, LONGEST_S))
            told = freeze(keeper)
            found = start_after(disk, told, f"cut{seed}-{number}")
            lost += [f"seed {seed}, cut {number}: {what}" for what in found.lost]
            wrong += [f"seed {seed}, cut {number}: {what}" for what in found.wrong]
            acknowledged += told.kept
            os.kill(keeper.pid, signal.SIGCONT)
    finally:
        keeper.kill()
    disk.remove()
    return lost, wrong, acknowledged


@pytest.mark.root("e2fsprogs", "mount")
@pytest.mark.serial
def test_nothing_acknowledged_is_lost_to_power_cuts(
    volume: Callable[[], Volume], figure: Callable[[str], None]
) -> None:
    lost, wrong, acknowledged = [], [], 0
    for seed in range(-(-CUTS // CUTS_A_DISK)):
        found = cut_many(volume, seed, min(CUTS_A_DISK, CUTS - seed * CUTS_A_DISK))
        lost += found[0]
        wrong += found[1]
        acknowledged += found[2]
    figure(
        f"power cuts: {CUTS} images, each started: {acknowledged} acknowledged samples looked for, {len(lost)} lost, "
        f"{len(wrong)} wrong or refused"
    )
    assert (lost, wrong) == ([], [])
    assert acknowledged > 10 * CUTS


@pytest.mark.root("e2fsprogs", "mount")
@pytest.mark.serial
@pytest.mark.parametrize("bug", ["NORMAL", "OFF"])
def test_the_harness_catches_a_store_that_does_not_sync(
    volume: Callable[[], Volume], figure: Callable[[str], None], bug: str
) -> None:
    cuts = 0
    lost: list[str] = []
    while not lost and cuts < CONTROLS:
        disk = volume()
        keeper = Keeper(Orders(disk.path / "store", seed=cuts, bug=bug, checkpoint=100_000))
        keeper.listen(60, words=6)
        told = freeze(keeper)
        after = disk.after_power_cut(f"control-{bug}-{cuts}")
        try:
            store = Store.open(after.path / "store", clock=SystemClock(), site="lab")
            lost = examine(after.path / "store", told).lost
            store.close(60)
        finally:
            after.remove()
            keeper.kill()
        disk.remove()
        cuts += 1
    figure(f"power cuts, control: synchronous={bug} caught at image {cuts}: {len(lost)} acknowledged samples lost")
    assert lost
