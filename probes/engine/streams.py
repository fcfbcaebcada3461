"""What is sent, to whom and how often: one stream's settings, and the settings of all streams as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.clock import SECOND
from probes.engine.pacing import NEVER

Key = tuple[str, str]
"""(circuit, probe)"""

FORGET: Final = 2
"""A reply is waited for this many timeouts: one for the packet, one more to tell late from lost."""
UNLIMITED: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One probe of one circuit. Times in ns, size in octets of payload, address and source numeric."""

    circuit: str
    probe: str
    kind: str
    address: str
    host: str
    """as configured, for messages"""
    port: int = 0
    source: str | None = None
    interface: str | None = None
    every_ns: int = SECOND
    timeout_ns: int = 3 * SECOND
    size: int = 56
    dscp: int = 0
    ttl: int | None = None
    limit: int | None = None
    """stop after this many packets"""

    @property
    def key(self) -> Key:
        return (self.circuit, self.probe)


@dataclass(frozen=True, slots=True, eq=False)
class PacketEvents:
    """Outcomes of single packets, in the order they became known; arrays and tuples of length n.

    A packet comes once as ANSWERED, LATE, LOST (at its timeout), REJECTED or NOT_SENT. After LOST it may come again
    as LATE. Further copies of a reply come with `duplicate` set.
    """

    keys: Mapping[int, Key]
    """number of a stream (`stream`) to (circuit, probe)"""
    stream: Int64
    sequence: Int64
    """0, 1, 2, ... within the stream"""
    state: NDArray[np.uint8]
    """PacketState"""
    rtt_ns: Int64
    """ABSENT unless ANSWERED or LATE and not a duplicate"""
    duplicate: NDArray[np.bool_]
    ttl: Int64
    """of the reply; ABSENT where unknown"""
    source: tuple[str, ...]
    """who answered or sent the ICMP error; empty if nobody"""
    reason: tuple[str | None, ...]
    """why it was rejected or not sent"""

    def __len__(self) -> int:
        return len(self.stream)


@dataclass(slots=True)
class StreamTable:
    """All streams; arrays (slots,), grown as needed. A slot is used again once its stream's last interval is out."""

    specs: dict[int, StreamSpec] = field(default_factory=dict)
    """streams that are sending or finishing"""
    numbers: dict[Key, int] = field(default_factory=dict)
    """streams that are sending"""
    every_ns: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    next_due_ns: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """monotonic; NEVER while a stream does not send"""
    next_sequence: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """goes on where an earlier stream of the slot ended, so that (stream, sequence) never repeats"""
    base: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """sequence the stream began with"""
    remaining: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    channel: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    length: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """octets of the whole transport payload"""
    begin_ns: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """UTC ns, start of the open interval"""
    span_ns: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    first: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """sequence of the first packet of the open interval"""
    skipped: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    corrupt: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    drops: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    fresh: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """nothing is carried over from an interval before"""
    peer: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, 3), np.uint64))
    """address and port replies come from, as probes.engine.address writes them"""
    _free: list[int] = field(default_factory=list)

    def add(self, spec: StreamSpec, channel: int, length: int, peer: NDArray[np.uint64]) -> int:
        """Give the stream a slot; it does not send before its next_due_ns is set."""
        slot = self._free.pop() if self._free else self._next_slot()
        self.specs[slot], self.numbers[spec.key] = spec, slot
        self.every_ns[slot] = spec.every_ns
        self.next_due_ns[slot] = NEVER
        self.base[slot] = self.first[slot] = self.next_sequence[slot]
        self.remaining[slot] = UNLIMITED if spec.limit is None else spec.limit
        self.channel[slot], self.length[slot], self.peer[slot] = channel, length, peer
        self.skipped[slot] = self.corrupt[slot] = self.drops[slot] = 0
        self.fresh[slot] = True
        return slot

    def stop(self, slot: int) -> None:
        """The stream sends no more."""
        self.next_due_ns[slot] = NEVER
        self.numbers.pop(self.specs[slot].key, None)

    def release(self, slot: int) -> None:
        """Its last interval has been handed on."""
        del self.specs[slot]
        self._free.append(slot)

    def sending(self) -> Int64:
        """Slots of the streams that are not stopped, ascending."""
        return np.array(sorted(self.numbers.values()), np.int64)

    def _next_slot(self) -> int:
        slot = len(self.specs) + len(self._free)
        if slot >= len(self.every_ns):
            for name in ("every_ns", "next_due_ns", "next_sequence", "base", "remaining", "channel", "length",
                         "begin_ns", "span_ns", "first", "skipped", "corrupt", "drops", "fresh", "peer"):  # fmt: skip
                column = getattr(self, name)
                more = np.zeros((max(16, len(column)), *column.shape[1:]), column.dtype)
                setattr(self, name, np.concatenate((column, more)))
            self.next_due_ns[slot:] = NEVER
        return slot
