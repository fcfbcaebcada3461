"""How long to wait before a sink is tried again. Pure: the random share comes in as an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agent.deliver.answer import LONGEST_WAIT_NS, SHORTEST_WAIT_NS, Answer, Reply
from probes.core.clock import SECOND

HOLD_NS: Final = 30 * SECOND
"""While somebody has to change something, ask this often."""


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
