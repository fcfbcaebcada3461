"""The live database damaged while no agent runs: found at the start or at a read, never a sample that was not stored.

SQLite has no checksums: it finds pages that are no pages any more, and rows that stand where they cannot. What a
changed octet inside a number does is measured in docs/faults.md and found once the day is sealed, not here.
"""

from __future__ import annotations

import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.store import Store, StoreReader
from agent.store.records import LIVE_FILE
from probes.core.arrays import Histogram
from probes.core.errors import LocalError
from probes.core.model import Sample
from tests.fakes.samples import MAXIMUM, SteppedClock, ping, plain, some_packets
from tests.faults.counts import count

PAGE = 4096
SECTOR = 512
SEED = 20_261_123
CIRCUITS = "abcd"
Kept = dict[tuple[str, int], Sample]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store at rest."""
    path = tmp_path_factory.mktemp("live") / "store"
    store = Store.open(path, clock=SteppedClock(), site="lab")
    shape = Histogram(np.array([3, 9]), np.array([4, 6]))
    for circuit in CIRCUITS:
        store.append([
            ping(n, circuit=circuit, rtt_ns=10**7 + n, histogram=shape, packets=some_packets(n)) for n in range(300)
        ])  # fmt: skip
    assert store.flush(10.0)
    assert store.close()
    return path


def kept(path: Path) -> Kept:
    """Every sample that a reader gives."""
    with StoreReader.open(path) as reader:
        return {
            (name, item.sample.start_ns): plain(item.sample)
            for name in CIRCUITS
            for item in reader.samples(name, "icmp", -MAXIMUM, MAXIMUM, 1 << 30)
        }


def zeros(page: bytearray, _chance: random.Random) -> None:
    page[:] = bytes(PAGE)


def noise(page: bytearray, chance: random.Random) -> None:
    page[:] = chance.randbytes(PAGE)


def lost_sector(page: bytearray, chance: random.Random) -> None:
    at = SECTOR * chance.randrange(PAGE // SECTOR)
    page[at : at + SECTOR] = bytes(SECTOR)


def torn(page: bytearray, chance: random.Random) -> None:
    at = SECTOR * chance.randrange(1, PAGE // SECTOR)
    page[at:] = chance.randbytes(PAGE - at)


Damage = Callable[[bytearray, random.Random], None]


def copy_with(stopped: Path, place: Path, content: bytes) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(stopped, place)
    (place / LIVE_FILE).write_bytes(content)


def judged(found: Kept, truth: Kept) -> str:
    if any(truth.get(key) != sample for key, sample in found.items()):
        return "invented"
    return "truth" if len(found) == len(truth) else "missing"


def outcome(place: Path, truth: Kept) -> tuple[str, str]:
    """What a reader says before a start, and what the store says after it."""
    try:
        before = judged(kept(place), truth)
    except LocalError:
        before = "refused"
    with StoreReaderless(place) as aside:
        return before, aside if aside != "kept" else judged(kept(place), truth)


class StoreReaderless:
    """Start and stop the store's writer; says whether the damaged database was moved aside with its evidence."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._content = (place / LIVE_FILE).read_bytes()

    def __enter__(self) -> str:
        store = Store.open(self._place, clock=SteppedClock(), site="lab")
        store.close()
        moved = list((self._place / "damaged").glob("*.sqlite"))
        if not moved:
            return "kept"
        assert [path.read_bytes() == self._content for path in moved] == [True], "the evidence was changed"
        with StoreReader.open(self._place) as reader:
            assert [event.kind for event in reader.events(kind="damaged")] == ["damaged"]
            assert [event.reason for event in reader.events(kind="gap")] == ["damaged"]
        return "moved aside"

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("damage", [zeros, noise, lost_sector, torn])
@pytest.mark.timeout(3600)
def test_a_damaged_page_is_found_and_nothing_is_invented(
    stopped: Path, tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    truth, whole = kept(stopped), (stopped / LIVE_FILE).read_bytes()
    chance, seen = random.Random(SEED), Counter[tuple[str, str]]()
    for _ in range(count("LIVE_DAMAGE", 12, 1000)):
        at = PAGE * chance.randrange(len(whole) // PAGE)
        page = bytearray(whole[at : at + PAGE])
        damage(page, chance)
        if page == whole[at : at + PAGE]:
            continue
        copy_with(stopped, tmp_path / "store", whole[:at] + page + whole[at + PAGE :])
        seen[outcome(tmp_path / "store", truth)] += 1
    print(f"{damage.__name__}: (read before a start, after it): {dict(seen)}")
    assert not [pair for pair in seen if "invented" in pair]
    assert all(after in ("moved aside", "truth") for _before, after in seen)
