"""How far long work has got, on standard error: one line that moves on a terminal, nothing elsewhere."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from typing import Final

EVERY_NS: Final = 250_000_000


class Progress:
    """Use as a context manager: SIGTERM then ends the work as Ctrl-C does, and what was shown is wiped away."""

    def __init__(self, what: str) -> None:
        from probes.core.clock import SystemClock

        self._what, self._clock = what, SystemClock()
        self._shown_ns = self._clock.monotonic()
        self._wide = 0

    def __enter__(self) -> Progress:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(self, *_: object) -> None:
        if self._wide:
            print(f"\r{' ' * self._wide}\r", end="", file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """Where a person looks on, four times a second at most."""
        now = self._clock.monotonic()
        if now - self._shown_ns < EVERY_NS or not sys.stderr.isatty():
            return
        self._shown_ns = now
        line = f"{self._what}: {text}"
        print(f"\r{line.ljust(self._wide)}", end="", file=sys.stderr, flush=True)
        self._wide = max(self._wide, len(line))

    def count(self, numbers: Iterable[int], unit: str) -> int:
        """Add up, showing the sum."""
        total = 0
        for number in numbers:
            total += number
            self.show(f"{total} {unit}")
        return total
