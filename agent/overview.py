"""What to show of a running agent, and what a run left behind: the frozen data that views draw."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.deliver import SinkStatus
from agent.live import LiveRow, Totals
from agent.store import StoreStatus
from probes.core.model import Sample


@dataclass(frozen=True, slots=True)
class Overview:
    """A running agent at one instant."""

    site: str
    store: Path
    now_ns: int
    """UTC"""
    span_ns: int
    """length of a sample of a stream"""
    rows: tuple[LiveRow, ...]
    totals: Totals
    host_load: float
    clock_synchronised: bool
    sinks: tuple[SinkStatus, ...] = ()
    troubles: tuple[str, ...] = ()
    """what is wrong with the agent itself just now"""
    host_seconds: tuple[int, int] = (0, 0)
    """seconds of the last day in which this host was looked at, and how many of them were impaired"""


class View(Protocol):
    """Somebody who looks on. Calls come from the daemon's main thread and must not wait for anybody."""

    def started(self, overview: Overview) -> None: ...
    def refresh(self, overview: Callable[[], Overview], fresh: Iterable[Sample]) -> None:
        """Once a second. overview: asked only by who shows it, for it takes a while where there are many circuits."""

    def notice(self, text: str) -> None:
        """Something to know: all is well."""

    def warn(self, text: str) -> None:
        """Something to mend."""

    @property
    def gone(self) -> bool:
        """Whoever looked on from a terminal is gone, and with him the means to stop the agent."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run left behind."""

    totals: Totals
    store: StoreStatus
    lost: int = 0
    """samples that could not be kept"""
