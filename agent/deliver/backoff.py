"""How long to wait before a sink is tried again, and when an HTTP 500 is about the lines.

Pure: the random share comes in as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agent.deliver.answer import LONGEST_WAIT_NS, SHORTEST_WAIT_NS, Answer, Reply
from probes.core.clock import SECOND

HOLD_NS: Final = 30 * SECOND
"""While somebody has to change something, ask this often."""
BROKEN_AFTER: Final = 5
"""The same HTTP 500 so often in a row may be about the lines: they are then searched, as after a refusal."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failures in a row. The wait is uniform between nothing and a bound that doubles: capped, with full jitter."""

    failures: int = 0

    def after(self, reply: Reply) -> Backoff:
        """The state after this answer; anything the server accepted or refused for good starts anew."""
        if reply.answer in (Answer.RETRY, Answer.HOLD):
            return replace(self, failures=min(self.failures + 1, 16))
        return Backoff()

    def wait_ns(self, reply: Reply, share: float) -> int:
        """share: uniform in 0..1. A server that says when to come again is believed, within 1 s to 5 min."""
        if reply.retry_after_ns is not None:
            return reply.retry_after_ns
        if reply.answer is Answer.HOLD:
            return HOLD_NS
        bound = min(LONGEST_WAIT_NS, SHORTEST_WAIT_NS * 2 ** max(0, self.failures - 1))
        return int(bound * share)


class Broken:
    """How often in a row batches of one place were answered by HTTP 500 in the same words."""

    def __init__(self) -> None:
        self._times, self._words = 0, ""

    @property
    def suspicious(self) -> bool:
        """The lines may be why."""
        return self._times >= BROKEN_AFTER

    def count(self, reply: Reply) -> None:
        """One more answer."""
        same = reply.status == 500 and reply.words == self._words
        self._times = 0 if reply.status != 500 else self._times + 1 if same else 1
        self._words = reply.words
