"""What is sent, to whom and how often: one stream's settings, and the settings of all streams as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.block import Series
from probes.core.clock import SECOND
from probes.engine.address import fingerprint
from probes.engine.pacing import NEVER, packets_in

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
    namespace: str | None = None
    pacing: Literal["periodic", "poisson"] = "periodic"
    """every_ns is the period, or the mean of exponentially distributed gaps (RFC 2330 section 11.1.1)"""
    every_ns: int = SECOND
    timeout_ns: int = 3 * SECOND
    size: int = 56
    dscp: int = 0
    ttl: int | None = None
    limit: int | None = None
    """stop after this many packets"""
    local_port: int | None = None
    """send from this one of the engine's UDP ports, as Engine.local_port gave it; None: the engine chooses"""
    extras: tuple[tuple[str, object], ...] = field(default=(), repr=False)
    """the kind's other parameters, by name, sorted and hashable; a secret may be among them"""

    @property
    def key(self) -> Key:
        return (self.circuit, self.probe)

    @property
    def series(self) -> Series:
        return (self.circuit, self.probe, self.kind)


def packets_held(spec: StreamSpec, span_ns: int) -> int:
    """Most packets of a stream that are open or not reported, with intervals of span_ns, and room beyond: a sixteenth
    of a ring stays empty, and it takes a reading and a look until a settled interval is handed on."""
    span = max(span_ns, -(-spec.every_ns // span_ns) * span_ns) + FORGET * spec.timeout_ns
    return packets_in(span * 17 // 16 + 3 * SECOND, spec.every_ns, random=spec.pacing == "poisson") + 8


def spec_of(parameters: Mapping[str, object], **others: object) -> StreamSpec:
    """A stream from its kind's parameters, named as fields; those that are none of a StreamSpec are its extras."""
    known = {name: value for name, value in parameters.items() if name in StreamSpec.__slots__}
    extras = tuple(sorted((name, value) for name, value in parameters.items() if name not in known))
    return StreamSpec(**known, **others, extras=extras)  # type: ignore[arg-type] # checked against the Parameters


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
    forward_ns: Int64
    """one-way delays; ABSENT where the kind has none, and while they are withheld"""
    backward_ns: Int64

    def __len__(self) -> int:
        return len(self.stream)


class StreamTable:
    """All streams; arrays (slots,), grown as needed. A slot is used again once its stream's last interval is out.

    The columns of a slot lie side by side in one matrix, `hot` those that sending needs; the attributes are views.
    """

    def __init__(self) -> None:
        self.specs: dict[int, StreamSpec] = {}
        """streams that are sending or finishing"""
        self.numbers: dict[Key, int] = {}
        """streams that are sending"""
        self.sessions: set[tuple[int, int]] = set()
        """channel and fingerprint of the peer of streams that these tell"""
        self.next_due_ns: Int64 = np.zeros(0, np.int64)
        """monotonic; NEVER while a stream does not send"""
        self.fresh: NDArray[np.bool_] = np.zeros(0, np.bool_)
        """nothing is carried over from an interval before"""
        self.random: NDArray[np.bool_] = np.zeros(0, np.bool_)
        """paced by a Poisson process"""
        self.any_random = False
        self.peer: NDArray[np.uint64] = np.zeros((0, 3), np.uint64)
        """address and port replies come from, as probes.engine.address writes them"""
        self.hot: Int64 = np.zeros((0, 5), np.int64)
        self._cold: Int64 = np.zeros((0, 9), np.int64)
        self.limited = False
        """some stream stops after a number of packets"""
        self.varied_lengths = False
        """not all packets are of one length"""
        self._lengths: set[int] = set()
        self._free: list[int] = []
        self._view()

    def _view(self) -> None:
        hot, cold = self.hot, self._cold
        self.every_ns: Int64 = hot[:, 0]
        self.next_sequence: Int64 = hot[:, 1]
        """goes on where an earlier stream of the slot ended, so that (stream, sequence) never repeats"""
        self.length: Int64 = hot[:, 2]
        """octets of the whole transport payload"""
        self.channel: Int64 = hot[:, 3]
        self.remaining: Int64 = hot[:, 4]
        self.base: Int64 = cold[:, 0]
        """sequence the stream began with"""
        self.begin_ns: Int64 = cold[:, 1]
        """UTC ns, start of the open interval"""
        self.span_ns: Int64 = cold[:, 2]
        self.first: Int64 = cold[:, 3]
        """sequence of the first packet of the open interval"""
        self.skipped: Int64 = cold[:, 4]
        self.corrupt: Int64 = cold[:, 5]
        self.drops: Int64 = cold[:, 6]
        self.start: Int64 = cold[:, 7]
        """what the wire's 32-bit sequence is ahead of ours; ABSENT where the payload carries all of it"""
        self.follows: Int64 = cold[:, 8]
        """1 where the far end tells afterwards when a reply really left"""

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
        self.start[slot], self.follows[slot] = ABSENT, 0
        self.fresh[slot] = True
        self.random[slot] = spec.pacing == "poisson"
        self.any_random |= bool(self.random[slot])
        self.limited |= spec.limit is not None
        self._lengths.add(length)
        self.varied_lengths = len(self._lengths) > 1
        return slot

    def stop(self, slot: int) -> None:
        """The stream sends no more."""
        self.next_due_ns[slot] = NEVER
        self.numbers.pop(self.specs[slot].key, None)

    def release(self, slot: int) -> None:
        """Its last interval has been handed on."""
        self.sessions.discard((int(self.channel[slot]), fingerprint(self.peer[slot])))
        del self.specs[slot]
        self._free.append(slot)

    def earliest_ns(self, grid_ns: int) -> int:
        """The first deadline of all, random ones moved to the grid behind them; NEVER where there is none."""
        if not len(self.next_due_ns):
            return NEVER
        if not self.any_random:
            return int(self.next_due_ns.min())
        random = int(self.next_due_ns[self.random].min(initial=NEVER))
        regular = int(self.next_due_ns[~self.random].min(initial=NEVER))
        return min(regular, random if random == NEVER else -(-random // grid_ns) * grid_ns)

    def sending(self) -> Int64:
        """Slots of the streams that are not stopped, ascending."""
        return np.array(sorted(self.numbers.values()), np.int64)

    def _next_slot(self) -> int:
        slot = len(self.specs) + len(self._free)
        if slot >= len(self.next_due_ns):
            more = max(16, len(self.next_due_ns))
            self.next_due_ns = np.concatenate((self.next_due_ns, np.full(more, NEVER, np.int64)))
            self.fresh = np.concatenate((self.fresh, np.zeros(more, np.bool_)))
            self.random = np.concatenate((self.random, np.zeros(more, np.bool_)))
            self.peer = np.concatenate((self.peer, np.zeros((more, 3), np.uint64)))
            self.hot = np.concatenate((self.hot, np.zeros((more, self.hot.shape[1]), np.int64)))
            self._cold = np.concatenate((self._cold, np.zeros((more, self._cold.shape[1]), np.int64)))
            self._view()
        return slot
