"""An ordered stop with deadlines: the parts end in reverse order of their start, each told how long it has."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from probes.core.clock import SECOND, Clock

log = logging.getLogger(__name__)

TOTAL_S = 14.0
"""All steps together, below the 30 s that the service manager waits."""
HURRIED_S = 1.0
"""What is left of it once somebody cannot wait."""
STEP_HURRIED_S = 0.2
GRACE_S = 1.0
"""How much longer than it may a step is waited for before the next one begins."""


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    call: Callable[[float], object]
    limit_s: float


class Closing:
    """Collects what must end. `begin` ends it in a thread of its own, so that nothing that hangs holds the caller."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps: list[_Step] = []
        self._finished = threading.Event()
        self._deadline_ns = 0
        self._hurried = False
        self._current = ""

    def add(self, name: str, call: Callable[[float], object], limit_s: float = 2.0) -> None:
        """`call` gets the seconds it may take, at most limit_s. Later ones are called first."""
        self._steps.append(_Step(name, call, limit_s))

    def begin(self, done: Callable[[], None]) -> None:
        """Start to end everything; `done` is called when all of it has ended."""
        self._deadline_ns = self._clock.monotonic() + int(TOTAL_S * SECOND)
        threading.Thread(target=self._run, args=(done,), name="closing", daemon=True).start()

    def hurry(self) -> None:
        """Give what is left next to no time."""
        if not self._hurried:
            self._hurried = True
            self._deadline_ns = min(self._deadline_ns, self._clock.monotonic() + int(HURRIED_S * SECOND))

    @property
    def finished(self) -> bool:
        return self._finished.is_set()

    @property
    def overdue(self) -> str | None:
        """The step that still runs although all the time is over."""
        late = not self.finished and self._clock.monotonic() > self._deadline_ns
        return self._current if late else None

    def _run(self, done: Callable[[], None]) -> None:
        while self._steps:
            step = self._steps.pop()
            self._current = step.name
            left_s = max(0.0, (self._deadline_ns - self._clock.monotonic()) / SECOND)
            limit_s = min(step.limit_s, left_s, STEP_HURRIED_S if self._hurried else left_s)
            ending = threading.Thread(target=_end, args=(step, limit_s), name=f"closing-{step.name}", daemon=True)
            ending.start()
            ending.join(limit_s + GRACE_S)
            if ending.is_alive() and self._steps:
                log.error("%s did not end in time and is left behind", step.name)
            else:
                ending.join()  # the last one is what all others are stored in: the caller decides how long
        self._finished.set()
        done()


def _end(step: _Step, limit_s: float) -> None:
    try:
        step.call(limit_s)
    except Exception:
        log.exception("%s could not be closed in order", step.name)
