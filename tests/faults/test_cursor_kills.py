"""SIGKILL between the server's 204 and the saving of the cursor: what is sent again overwrites, nothing is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from agent.store import StoreReader
from tests.fakes.point_server import PointServer
from tests.faults.counts import count
from tests.faults.courier import SINK, Errand, start
from tests.faults.delivery_rig import Books, books

KILLS: Final = count("CURSOR_KILLS", 40, 1000)
SAMPLES: Final = 12
BATCH: Final = 4
PATIENCE_S: Final = 60.0


class Telling(PointServer):
    """Says when the answer to a write has been sent."""

    def __init__(self) -> None:
        super().__init__(dialect="1.x")
        self.answered = threading.Semaphore(0)

    def _answered(self, *_: object) -> None:
        self.answered.release()


@dataclass
class Tally:
    kills: int = 0
    between: int = 0
    """kills after the server acknowledged what the cursor does not know"""
    books: Books | None = None


def rounds(home: Path, kills: int, bug: str = "") -> Tally:
    """One store, one server; the agent is killed `kills` times, then left in peace until it has sent everything."""
    tally, chance, path = Tally(), random.Random(3), home / "store"
    with Telling() as server:
        for number in range(kills):
            while server.answered.acquire(blocking=False):
                continue
            process = start(Errand(path, server.url, number * SAMPLES, SAMPLES, BATCH, bug))
            for _ in range(chance.randint(1, 3)):
                assert server.answered.acquire(timeout=PATIENCE_S), "nothing arrives"
            threading.Event().wait(chance.choice((0.0, 0.0, 0.002, 0.02, 0.1)))
            process.kill()
            process.join(PATIENCE_S)
            tally.kills += 1
            with StoreReader.open(path) as reader:
                known = reader.cursors().get(SINK, 0)
                wanted = {item.sample.start_ns for item in reader.after(known, 1_000_000)}
            tally.between += any(key[2] in wanted for key in server.points)
        process = start(Errand(path, server.url, kills * SAMPLES, 1, BATCH, bug))
        with StoreReader.open(path) as reader:
            for _ in range(int(PATIENCE_S / 0.05)):
                if reader.cursors().get(SINK, 0) > kills * SAMPLES:
                    break
                threading.Event().wait(0.05)
        threading.Event().wait(0.5 if bug else 0.0)
        process.kill()
        process.join(PATIENCE_S)
        tally.books = books(path, server)
    return tally


@pytest.mark.serial
def test_killed_between_the_acknowledgement_and_the_cursor(tmp_path: Path, figure: Callable[[str], None]) -> None:
    found = rounds(tmp_path, KILLS)
    figure(
        f"SIGKILL between 204 and cursor: {found.kills} kills, {found.between} of them between; {found.books}; "
        f"{len(found.books.lost) if found.books else '?'} lost, {len(found.books.twice) if found.books else '?'} twice"
    )
    assert found.books is not None
    assert found.books.balanced, str(found.books)
    assert found.books.samples == KILLS * SAMPLES + 1
    assert found.between >= KILLS // 2


@pytest.mark.serial
def test_it_catches_a_sink_that_acknowledges_before_it_sends(tmp_path: Path) -> None:
    found = rounds(tmp_path, 4, "hasty")
    assert found.books is not None
    assert found.books.lost
