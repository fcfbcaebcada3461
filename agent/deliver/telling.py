"""Which changes of a sink's state are recorded: each once, and of one that comes and goes not every one. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from probes.core.clock import SECOND

BURST: Final = 20
WINDOW_NS: Final = 60 * SECOND
"""At most BURST changes are recorded within this time; the next that is recorded tells how many were not."""
OK: Final = "ok"
IDLE: Final = "idle"
"""Nothing to send yet: never recorded."""


class Telling:
    """state: the one recorded last, in an earlier session perhaps; any word for trouble that is not known closer."""

    def __init__(self, state: str = OK) -> None:
        self._recorded = self._now = state
        self._times: deque[int] = deque(maxlen=BURST)
        self._left_out = 0

    def due(self, state: str, now_ns: int) -> int | None:
        """None where nothing is to be recorded; else the number of changes that were not, before this one.

        A change that may not be recorded now is so later, if it lasts: ask with every try.
        """
        changed, self._now = state != self._now, state
        if state in (IDLE, self._recorded):
            return None
        if len(self._times) == BURST and now_ns - self._times[0] < WINDOW_NS:
            self._left_out += changed
            return None
        self._times.append(now_ns)
        self._recorded = state
        before, self._left_out = self._left_out, 0
        return before
