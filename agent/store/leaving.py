"""Rows on their way out of the live database: what is old, and what has been sealed. Step by step between commits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from agent.store import unreadable
from agent.store.identity import shared_through
from agent.store.livefile import LiveFile
from agent.store.sealed.manifest import Part


class Leaving(Protocol):
    """One removal. `step` runs on the writer's thread, one transaction each time, and returns the rows removed."""

    finished: threading.Event

    def step(self, file: LiveFile, delivered_seq: int, limit: int) -> int: ...


class Retirement:
    """Packets and samples that start before these UTC ns; samples no further than every sink has them."""

    def __init__(self, packets_before_ns: int, samples_before_ns: int) -> None:
        self.packets_before_ns, self.samples_before_ns = packets_before_ns, samples_before_ns
        self.samples = self.packets = 0
        self.finished = threading.Event()

    def step(self, file: LiveFile, delivered_seq: int, limit: int) -> int:
        samples, packets, records = file.retire(self.packets_before_ns, self.samples_before_ns, delivered_seq, limit)
        self.samples += samples
        self.packets += packets
        return samples + packets + records


class Release:
    """Samples that a part holds, with their packets: those of its day that are the same in both histories.

    still_sealed: asked before every step; False keeps what is left.
    """

    def __init__(self, part: Part, still_sealed: Callable[[], bool]) -> None:
        self.part, self.still_sealed = part, still_sealed
        self.samples = 0
        self.finished = threading.Event()
        self._first = True

    def step(self, file: LiveFile, delivered_seq: int, limit: int) -> int:  # noqa: ARG002 # what a sink lacks is owed
        if not self.still_sealed():
            return 0
        part = self.part
        through = shared_through(file.epochs(), part.epochs, part.through_seq)
        samples = file.release(part, through, limit, first=self._first)
        self._first = False
        self.samples += samples
        return samples


class Expulsion:
    """Rows that are no samples any more."""

    def __init__(self, found: Sequence[unreadable.Unreadable], now_ns: int) -> None:
        self.samples = 0
        self.finished = threading.Event()
        self._left, self._now_ns = list(found), now_ns

    def step(self, file: LiveFile, delivered_seq: int, limit: int) -> int:  # noqa: ARG002 # no sink is sent them
        now, self._left = self._left[:limit], self._left[limit:]
        with file.transaction():
            gone = unreadable.remove(file.connection, now, self._now_ns)
        self.samples += gone
        return len(now)
