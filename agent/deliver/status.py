"""How one sink stands, as the agent shows it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from probes.core.clock import SECOND
from probes.core.units import format_duration

LAG_SHOWN_NS: Final = 60 * SECOND


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """One sink now. words: what the trouble is, if there is any.

    lag: samples after the cursor; lag_ns: age of the oldest of them; rate: samples delivered a second, lately.
    """

    name: str
    server: str
    state: str
    cursor: int
    lag: int
    written: int
    parked: int
    words: str = ""
    lag_ns: int | None = None
    rate: float | None = None

    def __str__(self) -> str:
        behind = "up to date" if not self.lag else f"{self.lag} samples behind"
        if self.lag and self.lag_ns is not None and self.lag_ns >= LAG_SHOWN_NS:
            behind += f", the oldest from {format_duration(self.lag_ns // SECOND * SECOND)} ago"
        text = f"{self.name} ({self.server or 'not recognised yet'}): {self.state}, {behind}, {self.written} delivered"
        if self.parked:
            text += f", {self.parked} refused for good"
        return f"{text}; {self.words}" if self.words else text
