"""Runs that load a path go one at a time, per circuit and per remote; what must wait keeps its turn or expires."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from probes.core.clock import SECOND, Clock

log = logging.getLogger(__name__)

MAXIMUM_WAITING = 256
MAXIMUM_RUNNING = 4
"""Even without a common key: more at once would measure this host instead of the circuits."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One exclusive run that is due. It occupies all `keys` while `call` runs."""

    id: str
    keys: tuple[str, ...]
    call: Callable[[], None]
    skipped: Callable[[str], None]
    slip_ns: int


@dataclass(slots=True)
class _Waiting:
    ticket: Ticket
    deadline_ns: int


@dataclass(slots=True)
class _State:
    running: dict[str, Ticket] = field(default_factory=dict)
    waiting: list[_Waiting] = field(default_factory=list)
    closed: bool = False


class ExclusiveRuns:
    """First come, first served among runs that share a key; runs without a common key go side by side."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._state = _State()

    def offer(self, ticket: Ticket) -> None:
        """Start the run, or let it wait for at most its slip time. One run of an id is waiting or running at a time."""
        with self._changed:
            reason = self._refusal(ticket)
            if reason is None:
                deadline = self._clock.monotonic() + ticket.slip_ns
                self._state.waiting.append(_Waiting(ticket, deadline))
        if reason is not None:
            ticket.skipped(reason)
        self._start_free()

    def withdraw(self, identity: str) -> None:
        """Forget what waits under this id: nobody wants it any more."""
        with self._changed:
            self._state.waiting = [entry for entry in self._state.waiting if entry.ticket.id != identity]

    def expire(self) -> None:
        """Skip what has waited past its slip time. Called once a second."""
        now = self._clock.monotonic()
        with self._changed:
            expired = [entry for entry in self._state.waiting if entry.deadline_ns <= now]
            self._state.waiting = [entry for entry in self._state.waiting if entry.deadline_ns > now]
            blockers = [self._blocker(entry.ticket) for entry in expired]
        for entry, blocker in zip(expired, blockers, strict=True):
            waited = entry.ticket.slip_ns / SECOND
            entry.ticket.skipped(f"could not start within {waited:g} s: {blocker or 'too many exclusive runs at once'}")
        self._start_free()

    def close(self, reason: str, timeout_s: float) -> bool:
        """Skip everything that waits; True when nothing runs any more within the timeout."""
        with self._changed:
            self._state.closed = True
            waiting, self._state.waiting = self._state.waiting, []
        for entry in waiting:
            entry.ticket.skipped(reason)
        with self._changed:
            return self._changed.wait_for(lambda: not self._state.running, timeout_s)

    def _refusal(self, ticket: Ticket) -> str | None:
        if self._state.closed:
            return "the agent is stopping"
        if ticket.id in self._state.running:
            return "the previous run is still in progress"
        if any(entry.ticket.id == ticket.id for entry in self._state.waiting):
            return "the previous run is still waiting for its turn"
        if len(self._state.waiting) >= MAXIMUM_WAITING:
            return f"{MAXIMUM_WAITING} exclusive runs are waiting already"
        return None

    def _blocker(self, ticket: Ticket) -> str | None:
        for other in self._state.running.values():
            shared = set(other.keys) & set(ticket.keys)
            if shared:
                return f"{min(shared)} was in use by {other.id}"
        return None

    def _start_free(self) -> None:
        with self._changed:
            ready: list[Ticket] = []
            taken = {key for ticket in self._state.running.values() for key in ticket.keys}
            rest: list[_Waiting] = []
            for entry in self._state.waiting:
                if taken.isdisjoint(entry.ticket.keys) and len(self._state.running) < MAXIMUM_RUNNING:
                    ready.append(entry.ticket)
                    self._state.running[entry.ticket.id] = entry.ticket
                else:
                    rest.append(entry)
                taken.update(entry.ticket.keys)
            self._state.waiting = rest
        for ticket in ready:
            threading.Thread(target=self._run, args=(ticket,), name=f"exclusive-{ticket.id}", daemon=True).start()

    def _run(self, ticket: Ticket) -> None:
        try:
            ticket.call()
        except Exception as error:
            log.exception("exclusive run %s failed", ticket.id)
            ticket.skipped(f"internal error: {error}")
        finally:
            with self._changed:
                del self._state.running[ticket.id]
                self._changed.notify_all()
            self._start_free()
