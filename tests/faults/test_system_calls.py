"""Every system call of the store failing in turn: it goes on or ends with a clear error, nothing acknowledged is lost,
and the next start works."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from agent.store import Store
from probes.core.clock import SystemClock
from tests.faults.counts import count
from tests.faults.injection import counted, injected, store_paths, traced
from tests.faults.keeper import Keeper, Orders, Told, examine, integrity

FAULTS: Final = count("CALLS", 40, 100_000)
LASTING: Final = count("LASTING", 6, 400)
GROUPS: Final = 8
ERRORS: Final = ("EIO", "ENOSPC")
MORE_ERRORS: Final = {
    "pwrite64": ("EINTR", "EDQUOT"), "ftruncate": ("EINTR",), "openat": ("EINTR", "EMFILE", "EROFS"),
    "fdatasync": ("EDQUOT",), "fcntl": ("ENOLCK",), "mkdir": ("EROFS",), "unlink": ("EROFS",),
}  # fmt: skip
RESTING_S: Final = 1.2
SIDE_BY_SIDE: Final = 3
SYNCS: Final = ("fdatasync", "fsync")
GARBAGE: Final = b"\x5a" * 40_960


@dataclass(frozen=True, slots=True)
class Fault:
    """The number-th call of each thread fails, and all later ones where it lasts."""

    call: str
    what: str
    number: int
    lasts: bool = False

    @property
    def rule(self) -> str:
        return f"{self.call}:{self.what}:when={self.number}{'+' if self.lasts else ''}"


@dataclass
class Outcome:
    """What became of one run. bad: what must not be."""

    fault: Fault
    hits: int
    told: Told
    bad: list[str]

    @property
    def kind(self) -> str:
        if self.told.troubles:
            return "refused the start"
        return "went on" if self.told.closed else "stop noted as unclean"


def orders(store: Path, bug: str = "") -> Orders:
    return Orders(store, groups=GROUPS, hold=True, largest=12, checkpoint=20, seed=5, bug=bug)


def garbage(store: Path) -> None:
    """A database that no start can read: it has to be moved aside."""
    assert Store.open(store, clock=SystemClock(), site="lab").close(60)
    (store / "live.sqlite").write_bytes(GARBAGE)


def killed(store: Path) -> None:
    """A database with a log that nobody has tidied up."""
    before = Keeper(Orders(store, seed=5, checkpoint=100_000))
    before.listen(60, words=5)
    before.kill()


def run(
    place: Path, fault: Fault | None = None, prepare: Callable[[Path], None] | None = None, bug: str = ""
) -> tuple[Told, Path, int]:
    """One process from the start of the store to its end, with one fault; returns (told, log of calls, exit code)."""
    store, log = place / "store", place / "log"
    place.mkdir()
    if prepare:
        prepare(store)
    keeper = Keeper(orders(store, bug))
    lasts = fault is not None and fault.lasts
    with traced(keeper.pid, log, rule=fault.rule if fault else None, paths=store_paths(store)):
        keeper.go()
        keeper.listen(RESTING_S if lasts else 60)
    told = keeper.finish()
    return told, log, keeper.process.exitcode or 0


def attempt(place: Path, fault: Fault, prepare: Callable[[Path], None] | None, bug: str = "") -> Outcome:
    told, log, code = run(place, fault, prepare, bug)
    store = place / "store"
    bad = [f"exit code {code}"] if code else []
    bad += [text for text in told.troubles if not text.startswith("refused: the store ")]
    if not told.troubles and told.closed is None:
        bad.append("ended without a word")
    try:
        again = Store.open(store, clock=SystemClock(), site="lab")
        found = examine(store, told)
        if not again.close(60):
            bad.append("the next stop is unclean")
        bad += [*found.lost, *integrity(store)]
        bad += [what for what in found.wrong if not (prepare is garbage and what.startswith("moved aside"))]
        if prepare is garbage and not any(
            path.read_bytes() == GARBAGE for path in (store / "damaged").glob("live-*.sqlite")
        ):
            bad.append("the damaged file is gone")
    except Exception as error:
        bad.append(f"next start: {error!r}")
    outcome = Outcome(fault, injected(log), told, [f"{fault.rule}: {what}" for what in bad[:3]])
    shutil.rmtree(place)
    return outcome


def faults(calls: Counter[str]) -> list[Fault]:
    """Every ordinal of every call with every error; writes also write nothing, and are interrupted."""
    found = [
        Fault(call, f"error={error}", number)
        for call, times in sorted(calls.items())
        for number in range(1, times + 1)
        for error in (*ERRORS, *MORE_ERRORS.get(call, ()))
    ]
    return found + [Fault("pwrite64", "retval=0", number) for number in range(1, calls["pwrite64"] + 1)]


def attempt_all(
    place: Path, chosen: list[Fault], prepare: Callable[[Path], None] | None = None
) -> tuple[list[str], Counter[str], int]:
    """(what must not be, outcomes by kind, faults that were met)"""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        outcomes = list(pool.map(lambda item: attempt(place / str(item[0]), item[1], prepare), enumerate(chosen)))
    bad = [what for outcome in outcomes for what in outcome.bad]
    return bad, Counter(outcome.kind for outcome in outcomes), sum(outcome.hits > 0 for outcome in outcomes)


def choose(found: list[Fault], number: int) -> list[Fault]:
    """Every call with every error once, then as many of each call as of any other, if there are so many."""
    chance = random.Random(number)
    chosen = list({(fault.call, fault.what): fault for fault in chance.sample(found, len(found))}.values())
    found = [fault for fault in found if fault not in chosen]
    number -= len(chosen)
    by_call = [chance.sample(of_call, len(of_call)) for call in sorted({fault.call for fault in found})
               if (of_call := [fault for fault in found if fault.call == call])]  # fmt: skip
    more: list[Fault] = []
    while len(more) < min(number, len(found)):
        more += [of_call.pop() for of_call in by_call if of_call]
    return chosen + more[: max(0, number)]


@pytest.mark.root("strace")
@pytest.mark.parametrize(("state", "prepare"), [("new", None), ("killed", killed), ("damaged", garbage)])
def test_every_call_failing_in_turn(
    tmp_path: Path, figure: Callable[[str], None], state: str, prepare: Callable[[Path], None] | None
) -> None:
    _, log, _ = run(tmp_path / "plain", None, prepare)
    calls = counted(log)
    found = faults(calls)
    chosen = choose(found, FAULTS)
    bad, kinds, hits = attempt_all(tmp_path, chosen, prepare)
    figure(
        f"failing calls, {state} store: {len(chosen)} of {len(found)} faults ({dict(sorted(calls.items()))}), "
        f"{hits} met; {dict(kinds)}; {len(bad)} with a loss, a crash or a next start that fails"
    )
    assert bad == []
    assert hits > len(chosen) // 2


@pytest.mark.root("strace")
def test_a_call_that_fails_for_a_while(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """From the n-th call on every one fails, for a second; then the disk is well again and all is kept."""
    _, log, _ = run(tmp_path / "plain")
    found = [
        Fault(fault.call, fault.what, fault.number, True)
        for fault in faults(counted(log))
        if fault.what != "error=EINTR" and fault.call in ("pwrite64", "openat", "ftruncate", *SYNCS)
    ]
    chosen = choose(found, LASTING)
    bad, kinds, hits = attempt_all(tmp_path, chosen)
    figure(f"calls failing for {RESTING_S} s: {len(chosen)} of {len(found)}, {hits} met; {dict(kinds)}; {len(bad)} bad")
    assert bad == []
    assert hits


@pytest.mark.root("strace")
def test_the_harness_catches_an_acknowledgement_without_a_write(tmp_path: Path) -> None:
    """The seeded bug acknowledges first: where every write then fails, what it said was kept is not there."""
    _, log, _ = run(tmp_path / "plain")
    last = counted(log)["pwrite64"]
    outcomes = [
        attempt(tmp_path / str(number), Fault("pwrite64", "error=EIO", number, True), None, "early")
        for number in range(last // 4, last, max(1, last // 6))
    ]
    assert any("interval" in what for outcome in outcomes for what in outcome.bad)
