"""What the engine's thread is told to do, and the reasons why circuits do not count at present."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from probes.engine.intervals import Intervals
from probes.engine.streams import Key, StreamSpec, StreamTable
from probes.engine.transport import Route


@dataclass(frozen=True, slots=True)
class Add:
    """Start a stream."""

    spec: StreamSpec
    route: Route
    channel: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Stop a stream. impaired: why what it measured last does not count."""

    key: Key
    impaired: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Samples of this circuit are IMPAIRED for the reason; None: no longer."""

    circuit: str
    reason: str | None


class Marks:
    """The marks in force."""

    def __init__(self, table: StreamTable, intervals: Intervals) -> None:
        self._table, self._intervals = table, intervals
        self._reasons: dict[str, str] = {}

    def apply(self, mark: Mark) -> None:
        """From now on; the open interval is impaired at once."""
        if mark.reason is None:
            self._reasons.pop(mark.circuit, None)
            return
        self._reasons[mark.circuit] = mark.reason
        slots = [slot for slot, spec in self._table.specs.items() if spec.circuit == mark.circuit]
        self._intervals.impair(slots, mark.reason, closing=False)

    def opened(self, slots: Iterable[int]) -> None:
        """New intervals of these streams are open."""
        for slot in slots if self._reasons else ():
            reason = self._reasons.get(self._table.specs[slot].circuit)
            if reason is not None:
                self._intervals.remarks.impair(slot, reason)
