"""What the store recorded about this agent itself, as the judge takes it: gaps, and runs that did not take place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.carrier import DOWN, UP, carrier_down
from agent.sla.samples.causes import Gap
from agent.sla.samples.shared_fate import COLUMNS, SharedFate, Witness
from agent.sla.time.spans import Spans
from agent.store import RunState, StoreReader
from agent.store.records import EventRecord
from agent.store.session import unmeasured
from probes.core.clock import SECOND

EVENTS: Final = 20_000
"""Newest events looked at, and newest runs of a circuit."""
AGAIN_NS: Final = 30 * SECOND
"""Events are read again after this time."""


class Recorded:
    """Gaps of one store. Remembers them for a moment, because every circuit asks for the same."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self._since_ns = self._until_ns = 0
        self._gaps: list[EventRecord] = []

    def gaps(self, circuit: str, start_ns: int, end_ns: int) -> list[Gap]:
        """Those of the agent and of the circuit that touch [start_ns, end_ns), and runs that were due and not made."""
        if start_ns < self._since_ns or end_ns > self._until_ns or not self._until_ns:
            self._since_ns, self._until_ns = start_ns, end_ns + AGAIN_NS
            events = self._reader.events(start_ns, self._until_ns, limit=EVENTS)
            self._gaps = unmeasured(reversed(events))
        found = [
            Gap(item.at_ns, item.end_ns, item.reason or item.text)
            for item in self._gaps
            if item.end_ns is not None
            and item.at_ns < end_ns
            and item.end_ns > start_ns
            and item.circuit in (None, circuit)
        ]
        return found + self._skipped(circuit, start_ns, end_ns)

    def carrier_down(self, interface: str, start_ns: int, end_ns: int) -> Spans | None:
        """When the interface had no carrier in [start_ns, end_ns); None where nothing is recorded about it."""
        events = [event for kind in (DOWN, UP) for event in self._reader.events(0, end_ns, kind=kind, limit=EVENTS)]
        return carrier_down(events, interface, start_ns, end_ns)

    def _skipped(self, circuit: str, start_ns: int, end_ns: int) -> list[Gap]:
        runs = self._reader.runs(circuit, since_ns=start_ns, limit=EVENTS)
        return [
            Gap(run.scheduled_ns, run.scheduled_ns, f"run {run.state}", run.probe)
            for run in runs
            if run.state is not RunState.RAN and run.scheduled_ns < end_ns
        ]


def fate_in(reader: StoreReader, told_by: Sequence[Witness], grid_ns: int) -> SharedFate:
    """When all circuits fail together, by what this store has of them."""
    return SharedFate(
        told_by,
        lambda witness, start, end: reader.read(witness.circuit, witness.probe, COLUMNS, start, end, kind=witness.kind),
        grid_ns,
    )
