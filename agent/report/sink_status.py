"""How far the sinks have got, as JSON document and as a table. Pure: `now_ns` comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.report.samples import Document, utc
from agent.report.terminal import Cell, Column, Grid, Row
from agent.store.records import EventRecord, ParkedLine, SinkPosition
from probes.core.clock import SECOND
from probes.core.units import format_duration

SINK_STATUS_SCHEMA = "linkwitness.sink-status/1"
EVENT_KIND = "sink"
_GOOD = "ok"


@dataclass(frozen=True, slots=True)
class SinkState:
    """One sink as the store knows it.

    position: None where it has never been started; waiting_since_ns: start of the oldest sample it does not have;
    event: its last recorded change of state; parked: the line its server refused last; configured: None where no
    configuration was read.
    """

    name: str
    now_ns: int
    position: SinkPosition | None
    waiting_since_ns: int | None
    event: EventRecord | None
    parked: ParkedLine | None
    configured: bool | None

    @property
    def state(self) -> str:
        """In one word or two, as recorded when it last changed."""
        if self.configured is False:
            return "not configured"
        if self.position is None:
            return "not started"
        if self.event is None:
            return _GOOD
        return self.event.text.removeprefix(f"sink {self.name}: ").partition(":")[0]

    @property
    def in_trouble(self) -> bool:
        return self.configured is not False and self.state not in (_GOOD, "not started") and self.lag > 0

    @property
    def lag(self) -> int:
        """Samples it does not have yet."""
        return self.position.lag if self.position else 0

    @property
    def lag_ns(self) -> int | None:
        """Age of the oldest of them."""
        return None if self.waiting_since_ns is None else max(0, self.now_ns - self.waiting_since_ns)

    @property
    def words(self) -> str:
        return (self.event.reason or "") if self.event and self.state != _GOOD else ""


def newest_event(name: str, events: Sequence[EventRecord]) -> EventRecord | None:
    """The last change of this sink's state; events are newest first."""
    return next((event for event in events if event.text.startswith(f"sink {name}: ")), None)


def document(states: Sequence[SinkState]) -> Document:
    """Everything as JSON values; null where it is not known."""
    return {
        "schema": SINK_STATUS_SCHEMA,
        "ok": not any(state.in_trouble for state in states),
        "sinks": [_sink_document(state) for state in states],
    }


def _sink_document(state: SinkState) -> Document:
    parked, position = state.parked, state.position
    return {
        "name": state.name,
        "configured": state.configured,
        "state": state.state,
        "since": utc(state.event.at_ns) if state.event else None,
        "words": state.words or None,
        "cursor": position.seq if position else None,
        "lag": state.lag,
        "lag_ns": state.lag_ns,
        "parked": position.parked if position else 0,
        "last_parked": None
        if parked is None
        else {"at": utc(parked.at_ns), "seq": parked.seq, "reason": parked.reason, "line": parked.line},
    }


def grid(states: Sequence[SinkState]) -> Grid:
    """One row a sink; below, what each server refused last."""
    columns = (
        Column("SINK"), Column("STATE"), Column("CURSOR", right=True), Column("WAITING", right=True),
        Column("OLDEST", right=True), Column("PARKED", right=True), Column("NOTE", stretch=True),
    )  # fmt: skip
    below = [
        Cell(f"{state.name} refused sample {state.parked.seq} last: {state.parked.reason}", "warn")
        for state in states
        if state.parked is not None
    ]
    return Grid(columns, [_row(state) for state in states], below=below)


def _row(state: SinkState) -> Row:
    position, oldest = state.position, state.lag_ns
    parked = position.parked if position else 0
    return (
        Cell(state.name, "strong"),
        Cell(state.state, "bad" if state.in_trouble else "good" if state.state == _GOOD else "dim"),
        str(position.seq) if position else "–",
        str(state.lag),
        "–" if oldest is None else format_duration(oldest // SECOND * SECOND),
        Cell(str(parked), "warn" if parked else "plain"),
        state.words,
    )
