"""The canary: one small datagram a second from this host to itself, stamped by the kernel on its way out and in.

Nothing but this host's own network stack lies between the stamps. A canary that is lost, though others came back, was
lost here: memory, a receive path that no longer gets its turn, a rule somebody put on the loopback.

Over the loopback the kernel delivers before the sending system call returns, as a rule (net/core/dev.c, netif_rx), so a
sender that waited for its own packet would not sleep and measure nothing but its system calls. How late user space has
a packet is only known to somebody whom its arrival wakes: hence a thread that waits at the receiving socket. It alone
is late when this process lacks a CPU; whether a canary came back, and its stamps, are known to the kernel meanwhile.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Final, Protocol

from probes.core.clock import MILLISECOND, Clock
from probes.engine import control
from probes.engine.sockets import WITHOUT_ID

LOST: Final = "a packet from this host to itself was lost"
UNSENT: Final = "a packet from this host to itself could not be sent"
ADDRESS: Final = "127.0.0.1"
PATIENCE_NS: Final = 500 * MILLISECOND
"""A canary that was sent less long ago may still come back."""
JOIN_S: Final = 0.5
_NUMBER: Final = struct.Struct("=Q")
_ANCILLARY: Final = 256
_BATCH: Final = 8
_POLL_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of the last canary; None is not known."""

    stack_ns: int | None = None
    """kernel receive stamp - kernel transmit stamp"""
    user_ns: int | None = None
    """when a thread that waited for it had it - kernel receive stamp; at least so long where it has it not yet"""
    missing: str | None = None
    """why there is none, in words; None where none has ever come back: that says nothing about this host"""


NOTHING: Final = Seen()


class Sentinel(Protocol):
    """What the gate asks: what became of the last canary, and to send the next."""

    def look(self) -> Seen: ...
    def send(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Arrival:
    number: int
    kernel_ns: int | None
    user_ns: int
    monotonic_ns: int


class Canary:
    """`look`, `send` and `close` from one thread at a time. No OSError leaves it. `look` does not wait, the others at
    most JOIN_S, for the end of a thread whose sockets are given up.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nest: _Nest | None = None
        self._number = 0
        self._sent_ns: int | None = None
        """monotonic; None while no canary is out"""
        self._unsent: str | None = None
        self._came_back = self._stale = False

    def look(self) -> Seen:
        """What became of the canary sent last; NOTHING while it may still come back."""
        if self._unsent is not None:
            text, self._unsent = self._unsent, None
            return self._missing(text)
        nest, sent_ns = self._nest, self._sent_ns
        if nest is None or sent_ns is None:
            return NOTHING
        arrival = nest.arrival(self._number)
        if arrival is None and not nest.broken and self._clock.monotonic() - sent_ns < PATIENCE_NS:
            return NOTHING
        self._sent_ns = None
        if arrival is None:
            self._stale = True
            return NOTHING if nest.broken else self._missing(LOST)
        self._came_back = True
        return _seen(nest.departure_ns(), arrival, arrival.monotonic_ns - sent_ns)

    def send(self) -> None:
        """The next one, unless the last is still out."""
        if self._sent_ns is not None:
            return
        if self._nest is None or self._stale:
            self._renew()
        # A socket that broke is no fault of the stack: a fresh one is tried before anything is said.
        for last in (False, True):
            if self._nest is None:
                return
            self._number += 1
            before = self._clock.monotonic()
            try:
                self._nest.send(self._number)
            except OSError as error:
                self._unsent = f"{UNSENT}: {os.strerror(error.errno or 0)}"
                if not last:
                    self._renew()
            else:
                self._sent_ns, self._unsent = before, None
                return

    def close(self) -> None:
        """Close the sockets and end the thread that waits."""
        if self._nest is not None:
            self._nest.close()
        self._nest = self._sent_ns = self._unsent = None

    def _missing(self, text: str) -> Seen:
        return Seen(missing=text) if self._came_back else NOTHING

    def _renew(self) -> None:
        """Fresh sockets. Where none are to be had (no loopback, no descriptor) the old ones stay, unless broken."""
        old = self._nest
        try:
            self._nest = _Nest(self._clock)
        except (OSError, RuntimeError):
            if old is None or not old.broken:
                return
            self._nest = None
        self._stale = False
        if old is not None:
            old.close()


class _Nest:
    """Two sockets on the loopback, connected to each other, and the thread that waits at the receiving one.

    Two, because a socket with a transmit stamp to fetch is ready (POLLERR) before its packet has arrived.
    Raises OSError where there is no loopback, RuntimeError where no thread can be started.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._arrival: _Arrival | None = None
        self._closing = False
        self.broken = False
        self._sender, self._receiver = _connected()
        self._thread = threading.Thread(target=self._wait, name="canary", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._shut()
            raise

    def send(self, number: int) -> None:
        """Raises OSError when the kernel does not take it."""
        self._sender.send(_NUMBER.pack(number))

    def arrival(self, number: int) -> _Arrival | None:
        """That of the canary with the number, fetched from the kernel where the thread that waits has it not yet."""
        with self._lock:
            self._fetch()
            found = self._arrival
        return found if found is not None and found.number == number else None

    def departure_ns(self) -> int | None:
        """Kernel transmit stamp (UTC) of what was sent since the last call."""
        found = None
        for _ in range(_BATCH):
            try:
                _, ancillary, _, _ = self._sender.recvmsg(0, _ANCILLARY, socket.MSG_ERRQUEUE)
            except OSError:
                break
            found = _stamp(ancillary) or found
        return found

    def close(self) -> None:
        self._closing = True
        try:
            self._receiver.shutdown(socket.SHUT_RD)
        except OSError:
            self.broken = True
        self._thread.join(JOIN_S)

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._receiver, select.POLLIN)
        while not self._closing and not self.broken:
            ready = poll.poll(_POLL_MS)
            with self._lock:
                self._fetch()
            self.broken |= any(events != select.POLLIN for _, events in ready)
        self._shut()

    def _fetch(self) -> None:
        """What is there, without waiting."""
        for _ in range(_BATCH):
            try:
                data, ancillary, _, _ = self._receiver.recvmsg(_NUMBER.size, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                self.broken = True
                return
            if len(data) == _NUMBER.size:
                self._arrival = _Arrival(
                    _NUMBER.unpack(data)[0], _stamp(ancillary), self._clock.wall(), self._clock.monotonic()
                )

    def _shut(self) -> None:
        self._sender.close()
        self._receiver.close()


def _connected() -> tuple[socket.socket, socket.socket]:
    """Sender and receiver, on ports the kernel chooses; they hear nobody but each other. Raises OSError."""
    opened: list[socket.socket] = []
    try:
        for _ in range(2):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.append(one)
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, control.SO_TIMESTAMPING, WITHOUT_ID)
            one.bind((ADDRESS, 0))
        sender, receiver = opened
        sender.connect(receiver.getsockname())
        receiver.connect(sender.getsockname())
    except OSError:
        for one in opened:
            one.close()
        raise
    return sender, receiver


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """Software stamp (UTC ns) of struct scm_timestamping; None where there is none."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, control.SO_TIMESTAMPING) and len(data) >= 16:
            seconds, rest = struct.unpack_from("=qq", data)
            return int(seconds * 1_000_000_000 + rest) or None
    return None


def _seen(departure_ns: int | None, arrival: _Arrival, elapsed_ns: int) -> Seen:
    """elapsed_ns: from before it was sent until user space had it, by the monotonic clock, which nobody sets."""
    if arrival.kernel_ns is None:
        return NOTHING
    user = arrival.user_ns - arrival.kernel_ns
    stack = None if departure_ns is None else arrival.kernel_ns - departure_ns
    # Parts of a whole. Beyond it the wall clock was set meanwhile, and the difference is no time.
    return Seen(_part(stack, elapsed_ns), _part(user, elapsed_ns))


def _part(ns: int | None, whole_ns: int) -> int | None:
    return ns if ns is not None and 0 <= ns <= whole_ns else None
