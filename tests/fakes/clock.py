"""A clock that moves only when told to, and whose wall time can be stepped apart from its monotonic time."""

import threading


class FakeClock:
    """Implements probes.core.clock.Clock. `wait` returns at once: tests drive time by `advance` and `step`."""

    def __init__(self, wall_ns: int = 1_800_000_000_000_000_000, monotonic_ns: int = 1_000_000_000_000) -> None:
        self._wall, self._monotonic = wall_ns, monotonic_ns

    def wall(self) -> int:
        return self._wall

    def monotonic(self) -> int:
        return self._monotonic

    def boot(self) -> int:
        return self._monotonic

    def sleep_until(self, monotonic_ns: int) -> None:
        self.advance(max(0, monotonic_ns - self._monotonic))

    def wait(self, event: threading.Event, timeout_ns: int) -> bool:
        if not event.is_set():
            self.advance(timeout_ns)
        return event.is_set()

    def advance(self, nanoseconds: int) -> None:
        self._wall += nanoseconds
        self._monotonic += nanoseconds

    def step(self, nanoseconds: int) -> None:
        """Somebody set the wall clock."""
        self._wall += nanoseconds
