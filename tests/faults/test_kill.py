"""SIGKILL at random points, opening and checkpoints included: nothing acknowledged is lost, every start succeeds."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from agent.store import StoreReader
from tests.faults.counts import count
from tests.faults.keeper import Keeper, Orders, examine, integrity

KILLS: Final = count("KILLS", 300, 10_000)
ROUNDS: Final = 20
"""Kills that one store goes through."""
SIDE_BY_SIDE: Final = 3
LONGEST_S: Final = 0.12


@dataclass
class Tally:
    kills: int = 0
    acknowledged: int = 0
    present: int = 0
    unopened: int = 0
    refused: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.kills += other.kills
        self.acknowledged += other.acknowledged
        self.present += other.present
        self.unopened += other.unopened
        self.refused += other.refused
        self.lost += other.lost
        self.wrong += other.wrong


def one_store(path: Path, seed: int, rounds: int, bug: str = "") -> Tally:
    """Start, kill, look, start again in the same directory."""
    tally, chance = Tally(), random.Random(seed)
    first = cursor = 0
    for number in range(rounds):
        keeper = Keeper(Orders(path, first, seed * 1_000 + number, bug))
        if chance.random() < 0.3:
            keeper.listen(LONGEST_S * 20, words=chance.randint(1, 12))
        else:
            keeper.listen(chance.uniform(0, LONGEST_S))
        told = keeper.kill()
        told.cursor = max(told.cursor, cursor)
        tally.kills += 1
        tally.unopened += not told.opened
        tally.refused += told.troubles
        if not (path / "live.sqlite").exists():
            continue
        if not told.opened and not first:
            continue  # killed while the file was being created: the next start is the proof
        found = examine(path, told)
        tally.lost += [f"seed {seed}, kill {number}: {what}" for what in found.lost]
        tally.wrong += [f"seed {seed}, kill {number}: {what}" for what in found.wrong]
        tally.acknowledged += told.kept - first
        first, cursor = found.intervals, found.cursor
    tally.present = first
    tally.wrong += [f"seed {seed}: {what}" for what in integrity(path)]
    last = Keeper(Orders(path, first, seed, groups=1)).finish()
    tally.refused += last.troubles
    with StoreReader.open(path) as reader:
        gaps = {event.reason for event in reader.events(kind="gap")}
    if gaps - {"crashed"} or not last.closed:
        tally.wrong.append(f"seed {seed}: gaps {gaps}, last close {last.closed}")
    shutil.rmtree(path)
    return tally


@pytest.mark.serial
def test_nothing_acknowledged_is_lost_over_many_kills(tmp_path: Path, figure: Callable[[str], None]) -> None:
    total = Tally()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for tally in pool.map(
            lambda seed: one_store(tmp_path / str(seed), seed, min(ROUNDS, KILLS - seed * ROUNDS)),
            range(-(-KILLS // ROUNDS)),
        ):
            total.add(tally)
    figure(
        f"SIGKILL: {total.kills} kills ({total.unopened} of them before the store was open), "
        f"{total.acknowledged} samples acknowledged, {len(total.lost)} lost, {total.present - total.acknowledged} kept "
        f"without an acknowledgement, {len(total.refused)} refused starts, {len(total.wrong)} wrong"
    )
    assert (total.lost, total.refused, total.wrong) == ([], [], [])
    assert total.kills == KILLS
    assert total.acknowledged > 10 * KILLS


@pytest.mark.serial
def test_the_harness_catches_a_writer_that_acknowledges_too_early(tmp_path: Path) -> None:
    assert any(one_store(tmp_path / str(seed), seed, ROUNDS, "early").lost for seed in range(20))
