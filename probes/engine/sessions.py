"""Streams that a socket's peers tell apart: which socket each gets, and whose packet a reply is.

A session is the 4-tuple of addresses and ports (RFC 8762 section 4), so a second stream to a peer gets a socket of its
own. The wire's sequence has 32 bits and a random start; the newest packet says which of our 64-bit ones it means.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core import catalog
from probes.core.arrays import ABSENT, Int64
from probes.core.catalog import StreamKind
from probes.core.clock import SECOND, ClockQuality
from probes.core.codec import AnyCodec, Reflections, SessionCodec
from probes.core.errors import LocalError
from probes.engine.address import Peers, fingerprint, fingerprints, peer_of
from probes.engine.farside import FAR_CLOCK, NO_ESTIMATE, OUR_CLOCK, FarSide
from probes.engine.flight import FlightTable
from probes.engine.streams import StreamSpec, StreamTable
from probes.engine.transport import Channel, Transport

OpenTransport = Callable[[AnyCodec, int, str | None], Transport]
"""A transport for a codec and an IP version (4 or 6), of all streams or of those from one source. Raises LocalError."""

QUALITY_NS: Final = SECOND
"""How often the kernel is asked how good this host's clock is."""
MOST_SESSIONS: Final = 256
"""streams to one peer"""

_WORD: Final = 1 << 32
_LARGEST_ERROR_NS: Final = 1 << 60
_Make = tuple[object, ...]


class Channels:
    """Opens sockets and chooses one for each stream. Used under the engine's lock."""

    def __init__(self, open_transport: OpenTransport, channels: list[Channel], table: StreamTable) -> None:
        self._open, self._channels, self._table = open_transport, channels, table
        self._codecs: dict[_Make, AnyCodec] = {}
        self._numbers: dict[tuple[_Make, int, str | None, int], int] = {}

    def codec(self, spec: StreamSpec) -> AnyCodec:
        """How packets of this stream are written. Raises LocalError for a kind or parameters that make no stream."""
        kind = catalog.load(spec.kind)
        if not isinstance(kind, StreamKind):
            raise LocalError(f"{spec.kind} is not a stream of packets", hint="stream kinds: icmp, udp, stamp")
        make, extras = _make(spec, kind.sessions), dict(spec.extras)
        if make not in self._codecs:
            self._codecs[make] = kind.codec(dscp=spec.dscp, **extras) if kind.sessions else kind.codec(**extras)
        return self._codecs[make]

    def channel(self, spec: StreamSpec, codec: AnyCodec, family: int, source: str | None) -> int:
        """Number of the socket for this stream. Raises LocalError."""
        make = _make(spec, isinstance(codec, SessionCodec))
        if not isinstance(codec, SessionCodec):
            return self._number(make, codec, family, source, 0)
        peer = fingerprint(peer_of(spec.address, spec.port))
        for ordinal in range(MOST_SESSIONS):
            number = self._number(make, codec, family, None, ordinal)
            ours = spec.local_port is None or spec.local_port == self._channels[number].transport.local_port()
            if ours and (number, peer) not in self._table.sessions:
                self._table.sessions.add((number, peer))
                return number
        raise LocalError(f"there are {MOST_SESSIONS} streams to {spec.host} already", hint="measure it less often")

    def local_port(self, spec: StreamSpec, codec: AnyCodec, family: int, avoid: Container[int]) -> int:
        """UDP port of a socket for this stream, none of `avoid`. Raises LocalError."""
        make = _make(spec, isinstance(codec, SessionCodec))
        for ordinal in range(MOST_SESSIONS):
            number = self._number(make, codec, family, None, ordinal)
            port = self._channels[number].transport.local_port()
            if port not in avoid:
                return port
        raise LocalError(f"there are {MOST_SESSIONS} streams to {spec.host} already", hint="measure it less often")

    def _number(self, make: _Make, codec: AnyCodec, family: int, source: str | None, ordinal: int) -> int:
        number = self._numbers.get((make, family, source, ordinal))
        if number is None:
            channel = Channel(self._open(codec, family, source), codec, family)
            number = self._numbers[make, family, source, ordinal] = len(self._channels)
            self._channels.append(channel)
        return number


def _make(spec: StreamSpec, sessions: bool) -> _Make:
    """What streams of one codec have in common."""
    return (spec.kind, spec.extras, spec.dscp) if sessions else (spec.kind, spec.extras)


class Sessions:
    """Names of replies, and what far ends say, for all sockets of SessionCodecs. Used by the engine's thread."""

    def __init__(self, table: StreamTable, flight: FlightTable, quality: Callable[[], ClockQuality]) -> None:
        self._table, self._flight, self._ask = table, flight, quality
        self.far = FarSide(flight)
        self._index: dict[int, tuple[NDArray[np.uint64], Int64]] = {}
        self._quality = ClockQuality(False, None, None)
        self._asked_at_ns: int | None = None

    def began(self) -> None:
        """A stream has been added."""
        self._index.clear()

    def clock(self, monotonic_ns: int) -> ClockQuality:
        """How good this host's clock is, not older than QUALITY_NS."""
        if self._asked_at_ns is None or monotonic_ns - self._asked_at_ns >= QUALITY_NS:
            self._quality, self._asked_at_ns = self._ask(), monotonic_ns
        return self._quality

    def wire(self, stream: Int64, sequence: Int64) -> Int64:
        """32-bit sequences as they are sent; arrays (n,)."""
        return np.asarray((sequence + self._table.start[stream]) % _WORD, np.int64)

    def find(self, channel: int, peers: Peers) -> Int64:
        """Slots of the streams that send to these peers, (n, 3), through this socket; -1 where there is none."""
        marks, slots = self._index.get(channel) or self._indexed(channel)
        if not len(slots):
            return np.full(len(peers), -1, np.int64)
        wanted = fingerprints(peers)
        at = np.minimum(np.searchsorted(marks, wanted), len(marks) - 1)
        found, table = slots[at], self._table
        same = (table.peer[found] == peers).all(axis=1) & (table.channel[found] == channel)
        return np.where(same & (self._flight.mask[found] > 0), found, -1)

    def sequence(self, stream: Int64, wire: Int64) -> Int64:
        """The newest sequence already sent that is this one on the wire; arrays (n,), streams that exist."""
        following = self._table.next_sequence[stream]
        back = (self.wire(stream, following) - wire - 1) % _WORD
        return np.asarray(following - 1 - back, np.int64)

    def errors(self, found: Reflections, monotonic_ns: int) -> Int64:
        """Bound of both clocks' error for each reply, or why there is none; shape (n,)."""
        own = self.clock(monotonic_ns)
        if not own.synchronised or own.maximum_error_ns is None:
            return np.full(len(found.valid), OUR_CLOCK, np.int64)
        known = found.error_ns != ABSENT
        bound = np.where(known, np.minimum(found.error_ns, _LARGEST_ERROR_NS), 0) + own.maximum_error_ns
        return np.where(known, np.where(found.synchronised, bound, FAR_CLOCK), NO_ESTIMATE)

    def note_follow_ups(self, stream: Int64, followed: Int64, left_ns: Int64) -> None:
        """What replies, arrays (n,), say about earlier ones; ABSENT where they say nothing."""
        told = followed != ABSENT
        if not told.any():
            return
        stream, followed = stream[told], followed[told]
        used = self.far.followed(stream, followed, left_ns[told])
        self._table.follows[stream[used]] = 1

    def _indexed(self, channel: int) -> tuple[NDArray[np.uint64], Int64]:
        table = self._table
        slots = np.array([slot for slot in table.specs if table.channel[slot] == channel], np.int64)
        marks = fingerprints(table.peer[slots])
        order = np.argsort(marks)
        self._index[channel] = marks[order], slots[order]
        return self._index[channel]
