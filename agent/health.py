"""How this host is just now: CPU time, stolen time, stalls for want of CPU, memory or disk, and the clock.

What is read here is judged by agent.gate. The engine finds by itself what only it can see (freezes, clock steps, full
receive buffers, late sends).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from probes.core.clock import MICROSECOND, Clock, clock_quality

PRESSURE: Final = Path("/proc/pressure")
RESOURCES: Final = ("cpu", "memory", "io")


@dataclass(frozen=True, slots=True)
class HostState:
    """This host between two readings, elapsed_ns apart (monotonic). Shares are 0..1; resident: octets of this process.

    A pressure is the share of time in which some task waited for the resource (Linux PSI, "some"; of memory "full":
    nothing ran at all); None where the kernel does not tell.
    """

    at_ns: int
    """UTC"""
    elapsed_ns: int
    load: float
    stolen: float
    cpu_pressure: float | None
    memory_pressure: float | None
    io_pressure: float | None
    memory_available: float
    resident: int
    clock_synchronised: bool
    clock_error_ns: int | None
    clock_offset_ns: int
    """wall - monotonic"""


class HostHealth:
    """Reads the host when told to; `state` is what was found last."""

    def __init__(self, clock: Clock, *, pressure: Path = PRESSURE) -> None:
        self._clock, self._pressure = clock, pressure
        self._process = psutil.Process()
        self._times = psutil.cpu_times()
        self._stalled_us = self._stalls()
        self._read_ns = clock.monotonic()
        self._state = self._read()

    @property
    def state(self) -> HostState:
        return self._state

    def observe(self) -> HostState:
        """Read the host. Called once a second."""
        self._state = self._read()
        return self._state

    def _read(self) -> HostState:
        now = self._clock.monotonic()
        elapsed, self._read_ns = now - self._read_ns, now
        load, stolen = self._cpu()
        before, self._stalled_us = self._stalled_us, self._stalls()
        shares = {
            name: _share(before.get(name), self._stalled_us.get(name), elapsed // MICROSECOND) for name in RESOURCES
        }
        memory, quality, wall = psutil.virtual_memory(), clock_quality(), self._clock.wall()
        return HostState(
            at_ns=wall,
            elapsed_ns=elapsed,
            load=load,
            stolen=stolen,
            cpu_pressure=shares["cpu"],
            memory_pressure=shares["memory"],
            io_pressure=shares["io"],
            memory_available=memory.available / memory.total,
            resident=self._process.memory_info().rss,
            clock_synchronised=quality.synchronised,
            clock_error_ns=quality.maximum_error_ns,
            clock_offset_ns=wall - now,
        )

    def _cpu(self) -> tuple[float, float]:
        """Shares of CPU time in use and stolen by the hypervisor since the last reading."""
        times = psutil.cpu_times()
        spent = {name: getattr(times, name) - getattr(self._times, name) for name in times._fields}
        # Linux counts guest time inside user time as well.
        total = sum(spent.values()) - spent.get("guest", 0.0) - spent.get("guest_nice", 0.0)
        self._times = times
        if total <= 0:
            return 0.0, 0.0
        idle, stolen = spent.get("idle", 0.0) + spent.get("iowait", 0.0), spent.get("steal", 0.0)
        return min(1.0, max(0.0, 1.0 - (idle + stolen) / total)), min(1.0, max(0.0, stolen / total))

    def _stalls(self) -> dict[str, int]:
        """Microseconds stalled since boot, by resource (https://docs.kernel.org/accounting/psi.html)."""
        found: dict[str, int] = {}
        for name in RESOURCES:
            try:
                lines = (self._pressure / name).read_text("ascii").splitlines()
            except OSError:
                continue
            wanted = "full" if name == "memory" else "some"
            for line in lines:
                kind, *values = line.split()
                if kind == wanted and values and values[-1].startswith("total="):
                    found[name] = int(values[-1].removeprefix("total="))
        return found


def _share(before: int | None, after: int | None, elapsed_us: int) -> float | None:
    if before is None or after is None or elapsed_us <= 0:
        return None
    return min(1.0, max(0.0, (after - before) / elapsed_us))


def parts_per_million(share: float | None) -> int | None:
    """A share as whole parts in a million; None stays None."""
    return None if share is None else round(share * 1_000_000)
