"""The only reader of time. Everything else takes `now` as an argument or a Clock as a parameter.

All values are int nanoseconds. `wall` labels (UTC since 1970), `monotonic` schedules (CLOCK_MONOTONIC: stops in
suspend), `boot` reveals suspend (CLOCK_BOOTTIME runs on).
"""

import ctypes
import os
import threading
import time
from dataclasses import dataclass
from typing import Protocol

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


class Clock(Protocol):
    """What a module that must read time is given."""

    def wall(self) -> int: ...
    def monotonic(self) -> int: ...
    def boot(self) -> int: ...
    def sleep_until(self, monotonic_ns: int) -> None: ...
    def wait(self, event: threading.Event, timeout_ns: int) -> bool: ...


class SystemClock:
    """The kernel's clocks."""

    def wall(self) -> int:
        return time.time_ns()

    def monotonic(self) -> int:
        return time.monotonic_ns()

    def boot(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def sleep_until(self, monotonic_ns: int) -> None:
        """Sleep to an absolute point on the monotonic clock; returns at once when it has passed."""
        remaining = monotonic_ns - time.monotonic_ns()
        if remaining > 0:
            time.sleep(remaining / SECOND)

    def wait(self, event: threading.Event, timeout_ns: int) -> bool:
        """Wait for the event, at most timeout_ns; True if it was set."""
        return event.wait(max(0, timeout_ns) / SECOND)


@dataclass(frozen=True, slots=True)
class ClockQuality:
    """State of the kernel's clock discipline (adjtimex(2)); errors in ns, None where unknown."""

    synchronised: bool
    estimated_error_ns: int | None
    maximum_error_ns: int | None


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_sec", ctypes.c_long),
        ("time_usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


def clock_quality() -> ClockQuality:
    """Ask the kernel how good the wall clock is. A kernel that refuses counts as not synchronised."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()
    state = libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        return ClockQuality(False, None, None)
    synchronised = state != _TIME_ERROR and not timex.status & _STA_UNSYNC
    return ClockQuality(synchronised, timex.esterror * MICROSECOND, timex.maxerror * MICROSECOND)


def boot_id() -> str:
    """Identity of this boot of the kernel (random UUID), or "unknown"."""
    try:
        descriptor = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY)
    except OSError:
        return "unknown"
    try:
        return os.read(descriptor, 64).decode("ascii").strip()
    finally:
        os.close(descriptor)
