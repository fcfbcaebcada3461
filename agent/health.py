"""Is this host fit to measure right now? Read once a second; what it says goes into every sample.

The engine finds by itself what only it can see (freezes, clock steps, full receive buffers). Here is what the rest of
the host tells: CPU time taken by others, CPU time the hypervisor stole, memory that is about to run out.
"""

from dataclasses import dataclass

import psutil

from probes.core.clock import Clock, clock_quality

STOLEN_LIMIT = 0.5
"""Share of the last second's CPU time stolen by the hypervisor beyond which this host was not really running."""
MEMORY_LIMIT = 0.02
"""Share of memory available below which the kernel is reclaiming instead of working."""


@dataclass(frozen=True, slots=True)
class HostState:
    """One second of this host. Shares are 0..1; resident is octets of this process."""

    at_ns: int
    load: float
    stolen: float
    memory_available: float
    resident: int
    clock_synchronised: bool
    clock_error_ns: int | None

    @property
    def unfit(self) -> str | None:
        """Why samples of this second are not to be judged; None when the host was fit."""
        if self.stolen > STOLEN_LIMIT:
            return f"the hypervisor stole {self.stolen:.0%} of this host's CPU time"
        if self.memory_available < MEMORY_LIMIT:
            return f"only {self.memory_available:.1%} of this host's memory is available"
        return None


class HostHealth:
    """Samples the host when told to. An unfit second counts for `hold_ns`, so that its whole interval is marked."""

    def __init__(self, clock: Clock, *, hold_ns: int) -> None:
        self._clock, self._hold_ns = clock, hold_ns
        self._process = psutil.Process()
        self._unfit: tuple[int, str] | None = None
        self._times = psutil.cpu_times()
        self._state = self._read()

    @property
    def state(self) -> HostState:
        return self._state

    def observe(self) -> None:
        """Read the host. Called once a second."""
        self._state = self._read()
        unfit = self._state.unfit
        if unfit is not None:
            self._unfit = (self._clock.monotonic() + self._hold_ns, unfit)

    def gate(self) -> str | None:
        """The engine's question when it closes an interval: why this host was unfit during it, or None."""
        held = self._unfit
        return held[1] if held is not None and self._clock.monotonic() <= held[0] else None

    def _read(self) -> HostState:
        times = psutil.cpu_times()
        spent = {name: getattr(times, name) - getattr(self._times, name) for name in times._fields}
        # Linux counts guest time inside user time as well.
        total = sum(spent.values()) - spent.get("guest", 0.0) - spent.get("guest_nice", 0.0)
        self._times = times
        idle, stolen = spent.get("idle", 0.0) + spent.get("iowait", 0.0), spent.get("steal", 0.0)
        memory, quality = psutil.virtual_memory(), clock_quality()
        return HostState(
            at_ns=self._clock.wall(),
            load=min(1.0, max(0.0, 1.0 - (idle + stolen) / total)) if total > 0 else 0.0,
            stolen=min(1.0, max(0.0, stolen / total)) if total > 0 else 0.0,
            memory_available=memory.available / memory.total,
            resident=self._process.memory_info().rss,
            clock_synchronised=quality.synchronised,
            clock_error_ns=quality.maximum_error_ns,
        )
