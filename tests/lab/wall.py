"""A wall clock that a test sets while a program runs: clock_shim.c, built here, and the schedule it follows.

The machine's clock is never touched: the emulator and its log go on by it, programs under the shim do not.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_name("clock_shim.c")
SECOND = 1_000_000_000
_HEAD = struct.Struct("=qq")
_CHANGE = struct.Struct("=qqq")
_CHANGES = 64
_SIZE = _HEAD.size + _CHANGES * _CHANGE.size


def build(folder: Path) -> Path:
    """The shim as a library for LD_PRELOAD. Raises CalledProcessError."""
    library = folder / "clock_shim.so"
    words = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE]
    subprocess.run(words, check=True, timeout=60)
    return library


@dataclass(frozen=True, slots=True)
class Change:
    """From at_ns of the machine's clock on: offset_ns then, and growing by rate_ppb ns a second."""

    at_ns: int
    offset_ns: int
    rate_ppb: int = 0

    def offset_at(self, true_ns: int) -> int:
        return self.offset_ns + self.rate_ppb * (true_ns - self.at_ns) // SECOND


class WallClock:
    """The wall clock of the programs started with `environment`. UTC of the machine is called true."""

    def __init__(self, library: Path, path: Path, *, stamps: bool = True) -> None:
        """stamps=False is a seeded fault: clocks are set, the kernel's stamps are not."""
        path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        _HEAD.pack_into(self._memory, 0, 0, int(stamps))
        self.changes: list[Change] = []
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIM": str(path)}

    def step(self, by_ns: int, *, after_s: float = 0.05) -> Change:
        """Set it by so much, a moment from now: whoever looks then, sees the same."""
        at_ns = time.time_ns() + round(after_s * SECOND)
        return self._change(at_ns, self.offset_at(at_ns) + by_ns, 0)

    def slew(self, rate_ppb: int) -> Change:
        """From now on it gains so many ns a second."""
        at_ns = time.time_ns() + SECOND // 20
        return self._change(at_ns, self.offset_at(at_ns), rate_ppb)

    def hold(self, seconds: float) -> None:
        """Wait for so long after the newest change has come."""
        time.sleep(max(0.0, (self.changes[-1].at_ns - time.time_ns()) / SECOND) + seconds)

    def offset_at(self, true_ns: int) -> int:
        known = [change for change in self.changes if change.at_ns <= true_ns]
        return known[-1].offset_at(true_ns) if known else 0

    def of(self, true_ns: np.ndarray) -> np.ndarray:
        """What it said at these instants."""
        return np.array([int(at) + self.offset_at(int(at)) for at in true_ns], np.int64)

    def _change(self, at_ns: int, offset_ns: int, rate_ppb: int) -> Change:
        change, count = Change(at_ns, offset_ns, rate_ppb), len(self.changes)
        assert count < _CHANGES
        assert not count or self.changes[-1].at_ns < at_ns
        _CHANGE.pack_into(self._memory, _HEAD.size + count * _CHANGE.size, at_ns, offset_ns, rate_ppb)
        struct.pack_into("=q", self._memory, 0, count + 1)
        self.changes.append(change)
        return change
