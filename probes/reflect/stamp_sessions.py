"""What a stateful reflector remembers of each session: its own count, true send times, and which requests it has seen.

Pure. A session is one sender towards one address of ours: addresses, ports, and the SSID where it is not zero (RFC 8972
section 3). The table has a fixed size; the session that was silent longest makes room for a new one, and is counted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from probes.core.clock import SECOND

SESSIONS: Final = 4096
WINDOW: Final = 1024
"""requests that may overtake each other"""
FRESH_NS: Final = 60 * SECOND
"""How far T1 may lie behind the newest of its session, or off our clock where the sender's is synchronised. More than
37 s: a PTP clock may keep TAI."""
GOES_ON: Final = 1 << 16
"""A sender whose clock was set back is known by this: it goes on within so many numbers. Two hours at ten a second."""
BETWEEN_STEPS: Final = 16
"""Requests from one step back to the next: what is recorded from another session never comes in a row."""
_UNTOLD: Final = 64
_HALF: Final = 1 << 31
_ALL: Final = (1 << 32) - 1
_MASK: Final = (1 << WINDOW) - 1

Identity = tuple[bytes, int]
"""Socket address and own address as the kernel gives them, and the SSID."""


class ReplayWindow:
    """Admits each request of a session once. An HMAC proves the key, not that the packet is new."""

    __slots__ = ("_bits", "_newest_ns", "_sequence", "_steady")

    def __init__(self) -> None:
        self._sequence = 0
        self._steady = 0
        """requests ahead since the sender's clock was set back last"""
        self._newest_ns: int | None = None
        self._bits = 0
        """bit n: the request n before the newest was seen"""

    def admit(self, sequence: int, sent_ns: int) -> bool:
        """Whether a verified request is new; then it is remembered. sent_ns: T1.

        Ahead in sequence is new while T1 is not old, or if it is the next one of a sender whose clock was set back.
        Behind is new if it was not seen in the window. Far behind is a sender that began again, if its T1 is later than
        any before: a recording carries old times.
        """
        if self._newest_ns is None:
            self._restart(sequence, sent_ns)
            return True
        ahead = (sequence - self._sequence) & _ALL
        if sent_ns < self._newest_ns - FRESH_NS:
            if not 0 < ahead <= GOES_ON or self._steady < BETWEEN_STEPS:
                return False
            self._steady, self._newest_ns = -1, sent_ns
        if 0 < ahead < _HALF:
            self._bits = (self._bits << ahead | 1) & _MASK if ahead < WINDOW else 1
            self._sequence = sequence
            self._newest_ns = max(self._newest_ns, sent_ns)
            self._steady += 1
            return True
        behind = -ahead & _ALL
        if behind < WINDOW:
            if self._bits >> behind & 1:
                return False
            self._bits |= 1 << behind
            self._newest_ns = max(self._newest_ns, sent_ns)
            return True
        if sent_ns <= self._newest_ns:
            return False
        self._restart(sequence, sent_ns)
        return True

    def _restart(self, sequence: int, sent_ns: int) -> None:
        self._sequence, self._newest_ns, self._bits = sequence, sent_ns, 1


class Session:
    """One sender as the reflector knows it."""

    __slots__ = ("received", "replay", "sent", "untold")

    def __init__(self) -> None:
        self.received = self.sent = 0
        """accepted requests, and replies to them"""
        self.replay = ReplayWindow()
        self.untold: deque[tuple[int, int]] | None = None
        """number and true send time (ns) of replies that no Follow-Up Telemetry has told yet, oldest first; None where
        none was ever asked for"""

    def left(self, number: int, sent_ns: int) -> None:
        """Reply `number` left this host at sent_ns by the kernel's stamp."""
        if self.untold is None:
            self.untold = deque(maxlen=_UNTOLD)
        self.untold.append((number, sent_ns))


class SessionTable:
    """At most `size` sessions."""

    def __init__(self, size: int = SESSIONS) -> None:
        self._size = size
        self._sessions: OrderedDict[Identity, Session] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, identity: Identity) -> Session:
        """The session, newly begun where it is not known."""
        session = self._sessions.get(identity)
        if session is not None:
            self._sessions.move_to_end(identity)
            return session
        if len(self._sessions) >= self._size:
            self._sessions.popitem(last=False)
            self.evicted += 1
        session = self._sessions[identity] = Session()
        return session
