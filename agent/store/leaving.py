"""Rows on their way out of the live database: what is old, and what has been sealed. Step by step between commits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from agent.store.livefile import LiveFile


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
    """Samples that start in [start_ns, end_ns), kept up to through_seq in this epoch, with their packets.

    still_sealed: asked before every step; False keeps what is left.
    """

    def __init__(
        self, epoch: str, start_ns: int, end_ns: int, through_seq: int, still_sealed: Callable[[], bool]
    ) -> None:
        self.epoch, self.start_ns, self.end_ns, self.through_seq = epoch, start_ns, end_ns, through_seq
        self.still_sealed = still_sealed
        self.samples = 0
        self.finished = threading.Event()

    def step(self, file: LiveFile, delivered_seq: int, limit: int) -> int:
        if file.epoch != self.epoch or not self.still_sealed():
            return 0
        samples = file.release(self.start_ns, self.end_ns, min(self.through_seq, delivered_seq), limit)
        self.samples += samples
        return samples
