"""A sync that fails, on a kernel that then forgets the pages: what is acknowledged later survives a power cut all the
same, because nothing is built on octets whose sync has failed."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from agent.store import Store
from probes.core.clock import SystemClock
from tests.faults import forgetful
from tests.faults.counts import count
from tests.faults.forgetful import Disk
from tests.faults.injection import counted, store_paths, traced
from tests.faults.keeper import Keeper, Orders, examine, integrity

CUTS: Final = count("SYNCS", 9, 100_000)
GROUPS: Final = 12
SIDE_BY_SIDE: Final = 3
LENGTHS: Final = (1, 2, 3)
"""So many syncs fail in a row: that of the commit, and those by which SQLite wants to leave the file in order."""


@dataclass
class Cut:
    """One run with failing syncs, cut off after its last acknowledgement."""

    name: str
    failed: int = 0
    acknowledged: int = 0
    bad: list[str] = field(default_factory=list)


def cut(place: Path, rule: str | None, bug: str = "", looks: bool = False) -> Cut:
    place.mkdir(parents=True)
    store, log, after = place / "store", place / "log", place / "after"
    # a checkpoint would heal what the bug has done: the database gets what the log only seemed to have
    checkpoint = 100_000 if bug == "believes" else 15 if looks else 40
    keeper = Keeper(
        Orders(
            store, groups=GROUPS, hold=True, largest=12, checkpoint=checkpoint, seed=7, bug=bug, stays=True, looks=looks
        )
    )  # fmt: skip
    with traced(
        keeper.pid, log, rule=rule, paths=store_paths(store), calls=forgetful.CALLS, more=("-y", "-xx", "-s", "1048576")
    ):
        keeper.go()
        keeper.listen(60, until="stays")
        told = keeper.kill()
    disk = Disk(log)
    disk.leave(store, after)
    outcome = Cut(rule or "plain", disk.failed, told.kept, [text for text in told.troubles if text != "stays: True"])
    again = Store.open(after, clock=SystemClock(), site="lab")
    found = examine(after, told)
    assert again.close(60)
    outcome.bad += [*found.lost[:3], *found.wrong, *integrity(after)]
    outcome.bad = [f"{outcome.name}: {what}" for what in outcome.bad]
    return outcome


def rules(syncs: int) -> list[str]:
    return [f"fdatasync,fsync:error=EIO:when={first}..{first + length - 1}" for length in LENGTHS
            for first in range(1, syncs + 1)]  # fmt: skip


def cut_all(place: Path, chosen: list[str], bug: str = "", looks: bool = False) -> list[Cut]:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(lambda item: cut(place / str(item[0]), item[1], bug, looks), enumerate(chosen)))


def syncs_in(place: Path, looks: bool = False) -> int:
    plain = cut(place, None, "", looks)
    assert (plain.bad, plain.failed) == ([], 0)
    calls = counted(place / "log")
    return calls["fdatasync"] + calls["fsync"]


@pytest.mark.root("strace")
@pytest.mark.parametrize("looks", [False, True], ids=["alone", "beside a reader"])
def test_what_is_acknowledged_after_a_failed_sync_survives_a_power_cut(
    tmp_path: Path, figure: Callable[[str], None], looks: bool
) -> None:
    found = rules(syncs_in(tmp_path / "plain", looks))
    chosen = random.Random(3).sample(found, min(CUTS, len(found)))
    if looks:  # one place alone is the one that matters: the sync after a checkpoint that the reader cut short
        single = found[: len(found) // len(LENGTHS)]
        chosen = list(dict.fromkeys([*single[len(single) // 2 :], *chosen]))
    outcomes = cut_all(tmp_path, chosen, "", looks)
    bad = [what for outcome in outcomes for what in outcome.bad]
    failed = sum(outcome.failed for outcome in outcomes)
    figure(
        f"failed syncs that the kernel forgets{', beside a reader' if looks else ''}: {len(chosen)} of {len(found)} "
        f"places, {failed} syncs failed, power cut after the last of "
        f"{sum(outcome.acknowledged for outcome in outcomes)} acknowledged samples: {len(bad)} bad"
    )
    assert bad == []
    assert failed >= len(chosen)


@pytest.mark.root("strace")
def test_the_harness_catches_a_store_that_believes_its_log(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """The bug opens the log as the kernel shows it."""
    syncs = syncs_in(tmp_path / "plain")
    chosen = [rule for n in range(8, syncs, 4) for rule in rules(syncs) if rule.endswith(f"={n}..{n + 1}")]
    bad = [what for outcome in cut_all(tmp_path, chosen, "believes") for what in outcome.bad]
    figure(f"failed syncs, control: a store that believes its log is caught {len(bad)} times at {len(chosen)} places")
    assert any("interval" in what for what in bad)


@pytest.mark.root("strace")
def test_the_harness_catches_a_store_that_forgets_what_a_checkpoint_began(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """The bug leaves to SQLite what is to be moved again."""
    syncs = syncs_in(tmp_path / "plain", looks=True)
    single = rules(syncs)[:syncs]
    bad: list[str] = []
    # The one place that matters is where the reader cut a checkpoint short: it moves a little from run to run.
    for turn, first in product(range(3), (*range(15, syncs, SIDE_BY_SIDE), *range(0, 15, SIDE_BY_SIDE))):
        some = cut_all(tmp_path / f"{turn}-{first}", single[first : first + SIDE_BY_SIDE], "forgets", looks=True)
        bad += [what for outcome in some for what in outcome.bad]
        if bad:
            break
    figure(f"failed syncs, control: a store that leaves checkpoints to SQLite is caught: {bad[-1:]}")
    assert bad
