"""A network without sockets: a transport for the packet engine that delivers what a script says, on a fake clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from probes.core.arrays import ABSENT, Int64
from probes.core.codec import AnyCodec, Decoded, Octets, SessionCodec
from probes.engine.address import Peers, peer_of
from probes.engine.transport import Arrivals, Notices, Refusals, Route
from probes.wire import payload
from tests.fakes.clock import FakeClock


@dataclass(frozen=True)
class Reply:
    """One datagram that comes back. `after_ns` None: at once."""

    after_ns: int
    change: Callable[[bytearray], None] | None = None
    source: str | None = None
    stamped: bool = True
    data: bytes | Callable[[], bytes] | None = None
    """what comes instead of the request itself; made when it comes"""
    dscp: int = 0


@dataclass(frozen=True)
class Refusal:
    """An ICMP error that comes back."""

    after_ns: int
    kind: int = 3
    code: int = 3
    offender: str = "192.0.2.254"


Fate = list[Reply | Refusal] | int
"""What happens to a packet: what comes back, or the errno the kernel refuses it with."""


@dataclass
class Sent:
    stream: int
    sequence: int
    at_ns: int
    data: bytes
    socket: int = 0
    """number of the transport it left through"""


@dataclass
class FakeNetwork:
    """Every packet's fate is `fate(sent)`; by default it comes back after 20 ms. UDP rows: the payload alone."""

    clock: FakeClock
    fate: Callable[[Sent], Fate] = field(default=lambda _: [Reply(20_000_000)])
    addresses: dict[int, str] = field(default_factory=dict)
    """address of each slot, for the source of replies"""
    sent: list[Sent] = field(default_factory=list)
    transmit_stamps: bool = True
    dropped: int = 0
    own: set[str] = field(default_factory=set)
    port: int = 8620
    """that replies come from"""
    routes: dict[int, Route] = field(default_factory=dict)
    transports: list[FakeTransport] = field(default_factory=list)

    def open(self, codec: AnyCodec, family: int, _source: str | None) -> FakeTransport:
        assert codec.transport == "udp"
        transport = FakeTransport(self, family, None if isinstance(codec, SessionCodec) else payload.read)
        self.transports.append(transport)
        return transport

    def wall_at(self, monotonic_ns: int) -> int:
        """Kernel stamp of an event: steps of the clock since then do not change it."""
        return self.unset_at(monotonic_ns) + sum(step for at, step in self.steps if at <= monotonic_ns)

    def unset_at(self, monotonic_ns: int) -> int:
        """What a clock says that nobody has set."""
        return monotonic_ns + self._first_offset

    def __post_init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self._first_offset = self.clock.wall() - self.clock.monotonic()

    def step_clock(self, nanoseconds: int) -> None:
        self.clock.step(nanoseconds)
        self.steps.append((self.clock.monotonic(), nanoseconds))


class FakeTransport:
    """Implements probes.engine.transport.Transport."""

    identifier = 0
    rows = 64

    def __init__(self, network: FakeNetwork, family: int, read: Callable[[Octets, Int64], Decoded] | None) -> None:
        """read: what the packets carry; None where only their sockets tell streams apart."""
        self._network, self._family, self._read = network, family, read
        self._buffer = np.zeros((self.rows, 2048), np.uint8)
        self._lengths = np.zeros(self.rows, np.int64)
        self._streams = np.zeros(self.rows, np.int64)
        self._coming: list[tuple[int, int, Sent, Reply]] = []
        self._refusals: list[tuple[int, int, Sent, Refusal]] = []
        self._stamps: list[tuple[int, int]] = []
        self.closed = False

    def assign(self, stream: int, route: Route) -> None:
        self._network.routes[stream] = route

    def reserve(self, length: int) -> None:
        assert length <= self._buffer.shape[1]

    def outgoing(self, first: int, end: int, length: int) -> np.ndarray:
        self._lengths[first:end] = length
        return self._buffer[first:end, :length]

    def address(self, stream: np.ndarray) -> None:
        self._streams[: len(stream)] = stream

    def crowded(self) -> bool:
        return False

    def send(self, first: int, token: np.ndarray) -> np.ndarray | None:
        network, errors, length = self._network, np.zeros(len(token), np.int32), self._lengths
        now = network.clock.monotonic()
        for number, slot in enumerate(self._streams[first : first + len(token)].tolist()):
            row = first + number
            data = self._buffer[row, : length[row]].tobytes()
            sequence = -1
            if self._read is not None:
                found = self._read(self._buffer[row : row + 1, : length[row]], length[row : row + 1])
                assert found.valid[0]
                assert found.stream[0] == slot
                sequence = int(found.sequence[0])
            sent = Sent(slot, sequence, now, data, network.transports.index(self))
            network.sent.append(sent)
            fate = network.fate(sent)
            if isinstance(fate, int):
                errors[number] = fate
                continue
            if network.transmit_stamps:
                self._stamps.append((int(token[number]), network.wall_at(now)))
            for event in fate:
                if isinstance(event, Reply):
                    self._coming.append((now + event.after_ns, len(self._coming), sent, event))
                else:
                    self._refusals.append((now + event.after_ns, len(self._refusals), sent, event))
        return errors if errors.any() else None

    def receive(self) -> Arrivals | None:
        now = self._network.clock.monotonic()
        ready = sorted((entry for entry in self._coming if entry[0] <= now), key=lambda entry: entry[:2])
        if not ready:
            return None
        entries = ready[: self.rows]
        for entry in entries:
            self._coming.remove(entry)
        data = np.zeros((len(entries), 2048), np.uint8)
        length = np.zeros(len(entries), np.int64)
        source = np.zeros((len(entries), 3), np.uint64)
        stamps = np.zeros(len(entries), np.int64)
        for row, (at, _, sent, reply) in enumerate(entries):
            octets = bytearray(
                sent.data if reply.data is None else reply.data() if callable(reply.data) else reply.data
            )
            if reply.change is not None:
                reply.change(octets)
            data[row, : len(octets)] = np.frombuffer(bytes(octets), np.uint8)
            length[row] = len(octets)
            source[row] = self._peer(sent, reply)
            stamps[row] = self._network.wall_at(at) if reply.stamped else ABSENT
        ttl = np.full(len(entries), 64, np.int64)
        dscp = None if self._read is not None else np.array([reply.dscp for *_, reply in entries], np.int64)
        return Arrivals(data, length, source, stamps, ttl, None, len(ready) > len(entries), dscp)

    def notices(self) -> Notices | None:
        now = self._network.clock.monotonic()
        stamps, self._stamps = self._stamps, []
        errors = [entry for entry in self._refusals if entry[0] <= now]
        self._refusals = [entry for entry in self._refusals if entry[0] > now]
        if not stamps and not errors:
            return None
        token = np.array([token for token, _ in stamps], np.int64)
        return Notices(token, np.array([stamp for _, stamp in stamps], np.int64), _refusals(errors, self._network.port))

    def drops(self) -> int:
        dropped, self._network.dropped = self._network.dropped, 0
        return dropped

    def owns(self, address: str) -> bool:
        return address in self._network.own

    def local_port(self) -> int:
        return 40000 + self._network.transports.index(self)

    def close(self) -> None:
        self.closed = True

    def _peer(self, sent: Sent, reply: Reply) -> Peers:
        return peer_of(reply.source or self._network.addresses.get(sent.stream, "192.0.2.1"), self._network.port)


def _refusals(errors: list[tuple[int, int, Sent, Refusal]], port: int) -> Refusals | None:
    if not errors:
        return None
    data = np.zeros((len(errors), 192), np.uint8)
    for row, (_, _, sent, _) in enumerate(errors):
        data[row, : min(192, len(sent.data))] = np.frombuffer(sent.data[:192], np.uint8)
    return Refusals(
        data,
        np.array([len(sent.data) for _, _, sent, _ in errors], np.int64),
        np.array([refusal.kind for *_, refusal in errors], np.int64),
        np.array([refusal.code for *_, refusal in errors], np.int64),
        np.stack([peer_of(refusal.offender, 0) for *_, refusal in errors]),
        np.stack([peer_of("192.0.2.1", port)] * len(errors)),
    )
