"""The live database damaged while no agent runs: found at the start or at a read, never a sample that was not stored.

SQLite has no checksums: a start finds pages that are no pages any more, and rows that stand where they cannot. A page
that stands where another should, and a changed octet inside a number, are for `store verify`, which looks at the whole
file and at what the numbers of a sample say of each other.
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

from agent.store import Store, StoreReader, wholeness
from agent.store.records import LIVE_FILE
from probes.core.errors import LocalError
from probes.core.model import Sample
from probes.metrics.histogram import build
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
    for circuit in CIRCUITS:
        store.append([
            ping(n, circuit=circuit, rtt_ns=10**7 + n, histogram=build(np.full(10, 10**7 + n)), packets=some_packets(n))
            for n in range(300)
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
    for _ in range(count("LIVE_DAMAGE", 8, 1000)):
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


def misplaced(whole: bytes, chance: random.Random) -> bytes:
    """One page is a copy of another, as a write that went astray leaves it."""
    at, source = (PAGE * chance.randrange(len(whole) // PAGE) for _ in range(2))
    return whole[:at] + whole[source : source + PAGE] + whole[at + PAGE :]


def one_bit(whole: bytes, chance: random.Random) -> bytes:
    content = bytearray(whole)
    content[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    return bytes(content)


@pytest.mark.parametrize(("damage", "share"), [(misplaced, 0.0), (one_bit, 0.25)])
@pytest.mark.timeout(3600)
def test_what_a_start_cannot_see_is_found_by_verify(
    stopped: Path, tmp_path: Path, damage: Callable[[bytes, random.Random], bytes], share: float
) -> None:
    """share: of the damages, at most so many change a number without any trace. That is not nothing: see docs."""
    truth, whole = kept(stopped), (stopped / LIVE_FILE).read_bytes()
    assert wholeness.check(stopped).findings == []
    place, chance, seen = tmp_path / "store", random.Random(SEED), Counter[tuple[str, str]]()
    number = count("LIVE_VERIFY", 10, 1000)
    for _ in range(number):
        content = damage(whole, chance)
        if content == whole:
            continue
        copy_with(stopped, place, content)
        try:
            said = judged(kept(place), truth)
        except LocalError:
            said = "refused"
        seen[said, "found" if wholeness.check(place).findings else "not found"] += 1
    print(f"{damage.__name__}: (read, verify): {dict(seen)}")
    assert seen["missing", "not found"] == seen["refused", "not found"] == 0
    assert seen["invented", "not found"] <= max(share * number, 3 if share else 0)
