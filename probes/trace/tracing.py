"""One trace from its order to its findings: hops, then the path MTU, then how far a size gets that vanishes."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable
from typing import Final

from probes.core.clock import MILLISECOND, Clock
from probes.core.errors import LocalError
from probes.trace.course import Course
from probes.trace.flow import Flow, constants
from probes.trace.order import Findings, Order, Purpose, Said
from probes.trace.session import Session
from probes.trace.sizing import PATIENCE, PAUSE, TRIES, SizeSearch
from probes.trace.sockets import Wire

Tell = Callable[[int, int, int], None]
"""packets sent, answers, farthest ttl"""
FAR: Final = 255
"""ttl of a packet that is to reach the target"""
_FAILURES: Final = 3
_SPACING: Final = 5 * MILLISECOND


def trace(order: Order, clock: Clock, tell: Tell) -> Findings:
    """Carry out an order. Raises LocalError where this host cannot."""
    identifier, flow_label, checksum = constants(order.flow)
    target = order.target.partition("%")[0]
    flow = Flow(
        order.family, order.protocol, "", target, 0, order.port, identifier, flow_label, checksum, order.dscp,
        secrets.randbits(32), secrets.randbits(32),
    )  # fmt: skip
    with Wire(order, flow, clock) as wire:
        return _Trace(order, wire, clock, tell).findings()


class _Trace:
    def __init__(self, order: Order, wire: Wire, clock: Clock, tell: Tell) -> None:
        self._order, self._wire, self._clock, self._tell = order, wire, clock, tell
        self._session = Session(wire, order, clock)
        self._until = clock.monotonic() + order.budget_ns
        self._course = Course(order.max_hops, order.probes, order.timeout_ns, order.silent)
        self._farthest = 0

    def findings(self) -> Findings:
        self._hops()
        if not self._session.shots and self._session.reason is not None:
            raise LocalError(self._session.reason)
        search, unsized = self._size() if self._order.mtu else (None, None)
        if search is not None and search.hole is not None and unsized is None:
            self._reach(search.hole)
        self._session.note_departures()
        return Findings(
            source=self._wire.flow.source,
            shots=self._session.shots,
            not_sent=self._session.not_sent,
            reason=self._session.reason,
            looped=self._course.looped,
            mtu=search.proven if search is not None and unsized is None else None,
            hole=search.hole if search is not None and unsized is None else None,
            unsized=unsized,
            exhausted=self._over,
            unreadable=self._session.unreadable,
        )

    @property
    def _over(self) -> bool:
        return self._clock.monotonic() >= self._until

    @property
    def _hopeless(self) -> bool:
        """This host sends nothing at all."""
        return not self._session.shots and self._session.not_sent >= _FAILURES

    def _hops(self) -> None:
        course, now = self._course, self._clock.monotonic()
        while not course.done(now) and not self._over and not self._hopeless:
            ttl = course.next(now)
            if ttl is not None:
                self._session.send(ttl, self._order.size, Purpose.HOP)
                course.sent(ttl, now)
                self._farthest = max(self._farthest, ttl)
                self._hear(now)
            else:
                self._hear(course.wake(now) or now)
            now = self._clock.monotonic()

    def _hear(self, until_ns: int) -> None:
        """Answers to packets that ask for hops."""
        for heard in self._session.hear(min(until_ns, self._until)):
            own = heard.reply.address == self._wire.flow.source != self._wire.flow.target
            if heard.shot.purpose is Purpose.HOP and not own:
                self._course.heard(heard.shot.ttl, heard.reply.address, heard.reply.said, self._clock.monotonic())
        self._tell(len(self._session.shots), self._session.answered, self._farthest)

    def _size(self) -> tuple[SizeSearch | None, str | None]:
        """The search after its end; and why it says nothing, where it does not."""
        trips = [
            shot.reply.at_ns - shot.at_ns
            for shot in self._session.shots
            if shot.reply is not None and shot.reply.said is Said.TARGET
        ]
        if not trips:
            return None, "the target did not answer"
        order = self._order
        low = min(order.size if order.protocol != "tcp" else 60, self._wire.mtu)
        search = SizeSearch(
            order.family, low, self._wire.mtu, max(0, *trips), order.timeout_ns, order.protocol == "udp"
        )  # fmt: skip
        while not search.done and not self._over:
            now = self._clock.monotonic()
            size = search.next(now)
            if size is not None:
                error = self._session.send(FAR, size, Purpose.SIZE)
                if error is not None and error.errno == errno.EMSGSIZE:
                    search.limited(size)
                    continue
                search.sent(now)
            self._listen(search, max(search.wake(), now + 1))
        if search.dead or not search.proven:
            return search, "the target did not answer when the path MTU was looked for"
        return search, None if search.done else "the search for the path MTU did not end in time"

    def _listen(self, search: SizeSearch, until_ns: int) -> None:
        for heard in self._session.hear(min(until_ns, self._until)):
            if heard.shot.purpose is not Purpose.SIZE:
                continue
            if heard.reply.said is Said.TOO_BIG:
                search.refused(heard.shot.size, heard.reply.mtu)
            elif heard.reply.said is Said.TARGET:
                search.arrived(heard.shot.size)
        self._tell(len(self._session.shots), self._session.answered, self._farthest)

    def _reach(self, size: int) -> None:
        """Which hops still get a packet of this size? Each is asked TRIES times at most, until it answers."""
        end = self._course.end or self._farthest
        silent = set(range(1, end))
        for attempt in range(TRIES):
            for ttl in sorted(silent):
                self._session.send(ttl, size, Purpose.REACH)
                self._session.hear(self._clock.monotonic() + _SPACING)
            until = self._clock.monotonic() + (PATIENCE if attempt == 0 else PAUSE)
            while self._clock.monotonic() < min(until, self._until) and silent:
                self._session.hear(until)
                silent -= {
                    shot.ttl for shot in self._session.shots if shot.purpose is Purpose.REACH and shot.reply is not None
                }
            self._tell(len(self._session.shots), self._session.answered, self._farthest)
