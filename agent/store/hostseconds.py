"""What the agent noted about its own host, second by second, a minute to a row. Pure.

It is kept so that a dispute can see why a second was not judged, and that the others were fit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

import numpy as np

from probes.core.arrays import ABSENT, Int64
from probes.core.clock import SECOND
from probes.core.errors import LocalError

COLUMNS: Final = (
    "at_ns", "elapsed_ns", "load_ppm", "stolen_ppm", "cpu_pressure_ppm", "memory_pressure_ppm", "io_pressure_ppm",
    "memory_available_ppm", "lateness_ns", "local_drops", "not_sent", "clock_step_ns", "clock_error_ns",
    "carriers_down", "breach", "canary_ns", "canary_user_ns",
)  # fmt: skip
"""Of one second: when it ended (UTC) and how long it was by the monotonic clock; shares in parts per million; the
latest send; replies dropped here; packets that could not be sent; how far the clock was set; its error bound;
interfaces of circuits without carrier; which limits were broken (Breach); how long a packet to this host itself was in
its stack, and how much later user space had it (agent.canary). ABSENT where the host does not tell."""
AT: Final = {name: number for number, name in enumerate(COLUMNS)}
LONGEST_ROW_NS: Final = 3600 * SECOND
"""No row spans more time."""
_FORMAT: Final = 2
_WIDTH: Final = {1: AT["canary_ns"], _FORMAT: len(COLUMNS)}
"""Columns of each format: the first so many of COLUMNS"""
_MOST: Final = 3_600


class Breach(IntFlag):
    """Limits that a second broke. A second with any of them is impaired."""

    STOLEN = 1
    MEMORY = 2
    LATE = 4
    DROPPED = 8
    STALLED = 16
    CANARY = 32


@dataclass(frozen=True, slots=True, eq=False)
class HostSeconds:
    """Seconds in the order in which they were observed, shape (n, len(COLUMNS))."""

    values: Int64

    @staticmethod
    def none() -> HostSeconds:
        """No seconds at all."""
        return HostSeconds(np.zeros((0, len(COLUMNS)), np.int64))

    @property
    def start_ns(self) -> int:
        """UTC ns at which the first of them began; with no seconds 0."""
        if not len(self.values):
            return 0
        return int(self.values[0, AT["at_ns"]] - self.values[0, AT["elapsed_ns"]])

    @property
    def impaired(self) -> int:
        """How many of them broke a limit."""
        return int((self.values[:, AT["breach"]] != 0).sum())

    def __len__(self) -> int:
        return len(self.values)

    def between(self, since_ns: int, until_ns: int) -> HostSeconds:
        """Those that ended in [since_ns, until_ns)."""
        ended = self.values[:, AT["at_ns"]]
        return HostSeconds(self.values[(ended >= since_ns) & (ended < until_ns)])

    def encode(self) -> bytes:
        """Compact bytes: format, then differences down each column, compressed."""
        columns = np.diff(self.values.T, prepend=0) if len(self.values) else self.values.T
        return bytes((_FORMAT,)) + zlib.compress(np.ascontiguousarray(columns).astype("<i8").tobytes(), 6)

    @staticmethod
    def decode(data: bytes) -> HostSeconds:
        """Inverse of encode; columns that the format did not have are ABSENT. Raises LocalError for bytes that are not
        ours or are damaged.
        """
        try:
            if data[0] not in _WIDTH:
                raise ValueError(f"format {data[0]}")
            width = _WIDTH[data[0]]
            limit = _MOST * width * 8
            inflater = zlib.decompressobj()
            body = inflater.decompress(data[1:], limit + 1)
            if len(body) > limit or not inflater.eof or inflater.unused_data or len(body) % (width * 8):
                raise ValueError("length does not fit")
        except (IndexError, ValueError, zlib.error) as error:
            raise LocalError(f"stored host seconds cannot be read: {error}", hint="the row is damaged") from None
        columns = np.frombuffer(body, "<i8").reshape(width, -1).astype(np.int64)
        values = np.full((columns.shape[1], len(COLUMNS)), ABSENT, np.int64)
        with np.errstate(over="ignore"):
            values[:, :width] = np.cumsum(columns, axis=1, dtype=np.int64).T
        return HostSeconds(values)


def joined(parts: Iterable[HostSeconds]) -> HostSeconds:
    """All of them, one after the other."""
    return HostSeconds(np.concatenate([HostSeconds.none().values, *(part.values for part in parts)]))


def second(values: dict[str, int | None]) -> list[int]:
    """One row; what is not given is ABSENT."""
    return [ABSENT if (value := values.get(name)) is None else value for name in COLUMNS]
