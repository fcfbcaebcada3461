"""A process that keeps samples and says what it was told is durable, until something happens to it; and the check of
what is there afterwards."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np

from agent.store import Store, StoreReader, livefile, opening, writer
from agent.store.livefile import Batch, LiveFile
from agent.store.records import LIVE_FILE
from agent.store.waiting import Waiting
from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError
from probes.core.model import Sample
from tests.fakes.batches import as_block
from tests.fakes.samples import START, ping, some_packets

PATIENCE_S: Final = 60.0
SINK: Final = "central"
_BASE_NS: Final = 10_000_000


def interval(number: int) -> Sample:
    """The number-th sample: its values tell its number."""
    rtt_ns = _BASE_NS + number
    return ping(number, rtt_ns=rtt_ns, packets=some_packets(rtt_ns))


@dataclass(frozen=True, slots=True)
class Orders:
    """first: number of the first interval to keep. groups: how many groups; 0 is without end.

    bug: "" | early (acknowledges before the commit) | believes (the log as the kernel shows it) | NORMAL or OFF
    (SQLite's `synchronous`). hold: wait for a word before the store is opened. rest_s: pause after each group.
    stays: does not close the store at the end, and waits to be killed. looks: a reader in the same process looks at
    one instant for some groups, and keeps checkpoints from their end.
    """

    path: Path
    first: int = 0
    seed: int = 0
    bug: str = ""
    groups: int = 0
    hold: bool = False
    rest_s: float = 0.0
    largest: int = 40
    checkpoint: int = 0
    stays: bool = False
    looks: bool = False


class EarlyWaiting(Waiting):
    """A bug to be caught: a batch is called durable before it is written."""

    def next_batch(self) -> tuple[Batch, int, int]:
        found = super().next_batch()
        super().settle(*found)
        return found

    def settle(self, batch: Batch, samples: int, notes: int) -> None:
        """Too late: it has been done."""


def _apply(orders: Orders, chance: random.Random) -> None:
    """Put the bug in place, and make checkpoints frequent. Only in the process that is at stake."""
    writer.CHECKPOINT_SAMPLES = orders.checkpoint or chance.choice((40, 400, 20_000))
    if orders.bug == "early":
        writer.Waiting = EarlyWaiting
    elif orders.bug == "believes":
        opening.write_over = lambda *_: None
    elif orders.bug == "forgets":
        livefile.put_again = lambda *_: None
    elif orders.bug:
        original = LiveFile.open

        def careless(*positional: object, **named: object) -> LiveFile:
            file = original(*positional, **named)
            file.connection.execute(f"PRAGMA synchronous = {orders.bug}")
            return file

        LiveFile.open = careless


def keep(orders: Orders, told: Connection, heard: Connection) -> None:
    """`told` gets ("open", pid), ("kept", n), ("cursor", seq), and at the end ("closed", clean) or ("refused", why)."""
    chance = random.Random(orders.seed)
    _apply(orders, chance)
    if orders.hold:
        heard.recv()
    try:
        store = Store.open(orders.path, clock=SystemClock(), site="lab")
    except LocalError as error:
        told.send(("refused", str(error)))
        return
    told.send(("open", os.getpid()))
    uri = f"{(orders.path / LIVE_FILE).as_uri()}?mode=ro"
    looking = sqlite3.connect(uri, uri=True, isolation_level=None) if orders.looks else None
    number = orders.first
    for group in range(orders.groups or 1 << 62):
        if looking is not None and group % 4 in (1, 3):
            looking.execute("BEGIN" if group % 4 == 1 else "COMMIT")
            looking.execute("SELECT count(*) FROM samples").fetchone()
        size = chance.randint(1, orders.largest)
        samples = [interval(n) for n in range(number, number + size)]
        store.append(as_block(samples) if group % 2 else samples)
        number += size
        if not store.flush(PATIENCE_S):
            told.send(("stuck", store.failure() or "no failure told"))
            return
        told.send(("kept", number))
        if group % 3 == 2:
            store.advance(SINK, 1 << 62)
            seq = store.cursor(SINK)
            if store.flush(PATIENCE_S):
                told.send(("cursor", seq))
        if orders.rest_s:
            threading.Event().wait(orders.rest_s)
    if orders.stays:
        told.send(("stays", True))
        heard.recv()
    told.send(("closed", store.close(PATIENCE_S)))


@dataclass
class Told:
    """What the process acknowledged so far."""

    kept: int = 0
    cursor: int = 0
    opened: bool = False
    closed: bool | None = None
    troubles: list[str] = field(default_factory=list)

    def note(self, what: str, value: object) -> None:
        match what, value:
            case "kept", int():
                self.kept = value
            case "cursor", int():
                self.cursor = value
            case "open", _:
                self.opened = True
            case "closed", bool():
                self.closed = value
            case _:
                self.troubles.append(f"{what}: {value}")


class Keeper:
    """The process, from outside."""

    def __init__(self, orders: Orders) -> None:
        context = multiprocessing.get_context("forkserver")
        self._ours, theirs = context.Pipe(duplex=False)
        there, self._word = context.Pipe(duplex=False)
        self.process = context.Process(target=keep, args=(orders, theirs, there))
        self.process.start()
        theirs.close()
        there.close()
        self.told = Told(kept=orders.first)
        self.ended = False
        assert self.process.pid is not None
        self.pid: int = self.process.pid

    def go(self) -> None:
        """The word it holds for."""
        self._word.send("go")

    def listen(self, seconds: float, *, words: int = 1 << 62, until: str = "") -> None:
        """Take in what it says for so long, until it has said so many words or this one, or until it has ended."""
        deadline = time.monotonic() + seconds
        while not self.ended and words > 0 and self._ours.poll(max(0.0, deadline - time.monotonic())):
            try:
                word = self._ours.recv()
                self.told.note(*word)
                words = 0 if word[0] == until else words - 1
            except EOFError:
                self.ended = True

    def kill(self) -> Told:
        """SIGKILL; what it said before counts."""
        os.kill(self.pid, signal.SIGKILL)
        return self.finish()

    def finish(self) -> Told:
        """Listen to its end."""
        self.listen(2 * PATIENCE_S)
        assert self.ended, "the process neither ends nor speaks"
        self.process.join(PATIENCE_S)
        self._ours.close()
        self._word.close()
        return self.told


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a store. lost: what had been acknowledged and is not there; wrong: values that are not those kept."""

    intervals: int
    cursor: int
    lost: list[str]
    wrong: list[str]


def examine(path: Path, told: Told) -> Found:
    """Read the store beside its writer or at rest, and compare."""
    with StoreReader.open(path) as reader:
        rows = reader.read("ACME-1", "icmp", ["rtt_sum_ns", "rtt_max_ns"], 0, 1 << 62)
        status = reader.status()
        cursor = reader.cursors().get(SINK, 0)
        newest = reader.newest(1)
        packets = reader.packets("ACME-1", "icmp", newest[0].sample.start_ns) if newest else None
    numbers = (rows.start_ns - START) // (10 * SECOND)
    there = set(numbers.tolist())
    lost = [f"interval {number}" for number in range(told.kept) if number not in there]
    if cursor < told.cursor:
        lost.append(f"cursor {told.cursor}: it is {cursor}")
    wrong = []
    expected = _BASE_NS + numbers
    if len(rows) and not (
        np.array_equal(rows.column("rtt_max_ns"), expected)
        and np.array_equal(rows.column("rtt_sum_ns"), 10 * expected)
        and packets is not None
        and packets.rtt_ns.tolist() == [expected[-1]] * 10
    ):
        wrong.append("values are not those kept")
    if sorted(there) != list(range(len(there))):
        wrong.append("there are holes before the newest interval")
    if status.newest_seq != len(there) or cursor > status.newest_seq:
        wrong.append(f"{len(there)} samples, newest seq {status.newest_seq}, cursor {cursor}")
    if status.damaged:
        wrong.append(f"moved aside: {status.damaged}")
    return Found(len(there), cursor, lost, wrong)


def integrity(path: Path) -> list[str]:
    """What SQLite itself finds wrong with the live file at rest."""
    with closing(sqlite3.connect(path / LIVE_FILE)) as connection:
        return [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
