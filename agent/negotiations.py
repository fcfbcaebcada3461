"""Sessions of streams whose far end must agree first: agreed off everybody's thread, looked after, given back.

A negotiation takes seconds with a slow far end, so a few threads do that. What the far end then promises holds for as
long as its session lasts, which `Watch` asks every second.
"""

from __future__ import annotations

import logging
import queue
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final

from agent.workers import Workers
from probes.core.catalog import Arrange, Declined, FlowTarget, Session
from probes.core.clock import Clock
from probes.core.errors import LocalError
from probes.engine.loop import Engine
from probes.engine.streams import Key, StreamSpec

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""negotiations; a far end that stalls holds one of these for ten seconds"""


@dataclass(slots=True)
class _Entry:
    address: str
    local_port: int
    talk: Future[Session | Declined] | None = None
    """while it is being negotiated"""
    session: Session | None = None
    """once it is agreed"""


class Negotiations:
    """Sessions by stream. Not thread-safe; nothing here waits."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._workers = Workers(AT_ONCE, "linkwitness-negotiate")
        self._entries: dict[Key, _Entry] = {}

    def begin(self, spec: StreamSpec, arrange: Arrange) -> None:
        """Start to negotiate for this stream with spec.address, unless that is going on already. A session with the
        same address lasts until there is a new one.

        Raises LocalError when this host cannot do so now.
        """
        entry = self._entries.get(spec.key)
        if entry is not None and entry.address == spec.address and entry.talk is not None:
            return
        if entry is None or entry.address != spec.address:
            self.close(spec.key)
            taken = {entry.local_port for entry in self._entries.values() if entry.address == spec.address}
            entry = _Entry(spec.address, self._engine.local_port(spec, taken))
        target = FlowTarget(
            spec.circuit, spec.probe, spec.host, spec.address, spec.source, spec.interface, spec.dscp
        )  # fmt: skip
        parameters = {"port": spec.port, "size": spec.size, "timeout": spec.timeout_ns}
        try:
            entry.talk = self._workers.submit(arrange, target, parameters, entry.local_port, self._clock)
        except queue.Full:
            raise LocalError("too many sessions wait to be negotiated", hint="are many far ends silent?") from None
        self._entries[spec.key] = entry

    def agreed(self, spec: StreamSpec) -> StreamSpec | Declined | None:
        """What came of a negotiation that is done: the stream as it may run, or why not; None while it goes on."""
        entry = self._entries.get(spec.key)
        if entry is None or entry.talk is None or not entry.talk.done():
            return None
        talk, entry.talk = entry.talk, None
        try:
            found = talk.result(timeout=0)
        except Exception as error:
            log.exception("%s/%s: the negotiation has failed", *spec.key)
            found = Declined(f"the negotiation has failed: {type(error).__name__}: {error}")
        if isinstance(found, Declined):
            if entry.session is None or not found.unheard:
                self.close(spec.key)
            return found
        if entry.session is not None:
            entry.session.close()
        entry.session = found
        return replace(spec, port=found.port, local_port=entry.local_port)

    def ended(self, key: Key) -> str | None:
        """Why the session of a stream that runs is over; it is forgotten then. None while it lasts."""
        entry = self._entries.get(key)
        reason = entry.session.ended() if entry is not None and entry.session is not None else None
        if reason is not None:
            del self._entries[key]
        return reason

    def unheard(self, key: Key) -> bool:
        """Whether the far end of a stream that runs has long been silent, and none has been asked about it yet."""
        entry = self._entries.get(key)
        return entry is not None and entry.talk is None and entry.session is not None and entry.session.unheard

    def close(self, key: Key) -> None:
        """Give a session back, also one that is still being negotiated."""
        entry = self._entries.pop(key, None)
        if entry is not None and entry.session is not None:
            entry.session.close()
        if entry is not None and entry.talk is not None and not entry.talk.cancel():
            entry.talk.add_done_callback(_give_back)

    def close_all(self) -> None:
        """Give back all sessions and begin none any more."""
        for key in list(self._entries):
            self.close(key)
        self._workers.shutdown()


def _give_back(talk: Future[Session | Declined]) -> None:
    if not talk.cancelled() and talk.exception() is None and not isinstance(found := talk.result(), Declined):
        found.close()
