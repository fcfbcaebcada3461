"""The real clock, on which nobody waits long; it remembers how long it was asked to."""

from __future__ import annotations

import threading

from probes.core.clock import MILLISECOND, SystemClock


class ShortClock(SystemClock):
    """Waits a millisecond for everything. journal: gets ("wait", ns) for every wait but those of `poll_ns`."""

    def __init__(self, poll_ns: int, journal: list[tuple[str, object]] | None = None) -> None:
        self._poll_ns = poll_ns
        self.journal = [] if journal is None else journal

    def wait(self, event: threading.Event, timeout_ns: int) -> bool:
        if timeout_ns != self._poll_ns:
            self.journal.append(("wait", timeout_ns))
        return super().wait(event, min(timeout_ns, MILLISECOND))
