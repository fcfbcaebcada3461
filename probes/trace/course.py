"""Which hop is asked next: in parallel over ttls, slowly for each of them. Pure; `now` is monotonic ns.

Linux answers one sender with six errors at once and one a second from then on (net.ipv4.icmp_ratelimit,
icmp_ratemask), other routers with fewer. So a hop is asked one packet after another, quickly while it answers, and no
sooner than after SLOW where it did not; and the first packets run at most AHEAD hops before the answers, so that the
target gets few packets too many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from probes.core.clock import MILLISECOND
from probes.trace.order import Said

AHEAD: Final = 3
SPACING: Final = 2 * MILLISECOND
"""Between any two packets."""
QUICK: Final = 60 * MILLISECOND
"""From an answer to the next packet for the same hop."""
SLOW: Final = 1100 * MILLISECOND
"""From a packet without an answer to the next one for the same hop."""
PATIENCE: Final = 300 * MILLISECOND
"""A first packet holds up further hops for so long, or twice the slowest round trip seen."""
LOOPS: Final = 3
"""Times that an address has come, with others between, when it is a loop."""


@dataclass(slots=True)
class _Hop:
    sent: int = 0
    answered: int = 0
    asked_ns: int = 0
    """when the newest packet was sent"""
    first_ns: int = 0
    due_ns: int = 0
    heard: bool = False
    """the newest packet was answered"""


@dataclass(slots=True)
class Course:
    """The state of a trace. Ask `next`, tell `sent` and `heard`."""

    max_hops: int
    probes: int
    timeout_ns: int
    silent: int
    end: int | None = None
    """ttl beyond which nothing is to be learnt: the target, an error, a loop"""
    looped: bool = False
    _hops: dict[int, _Hop] = field(default_factory=dict)
    _places: dict[str, list[int]] = field(default_factory=dict)
    _slowest_ns: int = 0
    _free_ns: int = 0

    def next(self, now: int) -> int | None:
        """The ttl to send to now; None for none yet, or none any more."""
        if now < self._free_ns:
            return None
        for ttl in self._open():
            if self._hops[ttl].sent < self.probes and now >= self._hops[ttl].due_ns:
                return ttl
        return self._fresh(now)

    def wake(self, now: int) -> int | None:
        """When `next` may have an answer, or time runs out for one; None when all is done."""
        if self.done(now):
            return None
        times = []
        for ttl in self._open():
            hop = self._hops[ttl]
            times.append(hop.due_ns if hop.sent < self.probes else hop.asked_ns + self.timeout_ns)
            if not hop.answered:
                times.append(hop.first_ns + self._patience())
        return max(self._free_ns, min((time for time in times if time > now), default=now + SPACING))

    def done(self, now: int) -> bool:
        """Every hop within reach was asked often enough, and has answered or had its time."""
        if self._next_ttl() is not None:
            return False
        return all(
            hop.sent >= self.probes and (hop.heard or now >= hop.asked_ns + self.timeout_ns)
            for hop in map(self._hops.__getitem__, self._open())
        )

    def sent(self, ttl: int, now: int) -> None:
        """A packet went out, or could not."""
        hop = self._hops.setdefault(ttl, _Hop(first_ns=now))
        hop.sent += 1
        hop.asked_ns, hop.due_ns, hop.heard = now, now + SLOW, False
        self._free_ns = now + SPACING

    def heard(self, ttl: int, address: str, said: Said, now: int) -> None:
        """An answer to a packet of this ttl."""
        hop = self._hops[ttl]
        hop.answered += 1
        hop.heard = True
        self._slowest_ns = max(self._slowest_ns, now - hop.asked_ns)
        hop.due_ns = min(hop.due_ns, now + QUICK)
        if said is not Said.EXCEEDED:
            self.end = ttl if self.end is None else min(self.end, ttl)
            return
        places = self._places.setdefault(address, [])
        if ttl not in places:
            places.append(ttl)
        if len(places) >= LOOPS and max(places) - min(places) > len(places) - 1:
            self.looped = True
            self.end = max(places) if self.end is None else min(self.end, max(places))

    def _open(self) -> list[int]:
        """Hops that were asked and are within the path, nearest first."""
        return [ttl for ttl in sorted(self._hops) if self.end is None or ttl <= self.end]

    def _patience(self) -> int:
        return min(self.timeout_ns, max(PATIENCE, 2 * self._slowest_ns))

    def _next_ttl(self) -> int | None:
        """The first ttl that was not asked yet and should be."""
        asked = max(self._hops, default=0)
        answered = max((ttl for ttl, hop in self._hops.items() if hop.answered), default=0)
        beyond = asked >= self.max_hops or asked - answered >= self.silent
        return None if self.end is not None or beyond else asked + 1

    def _fresh(self, now: int) -> int | None:
        since = now - self._patience()
        waiting = sum(not hop.answered and hop.first_ns > since for hop in self._hops.values())
        return self._next_ttl() if waiting < AHEAD else None
