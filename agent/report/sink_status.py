"""How far the sinks have got, as JSON document and as a table. Pure: `now_ns` comes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.report.samples import Document, utc
from agent.report.terminal import Cell, Column, Grid, Row
from agent.store.records import EventRecord, ParkedLine, SinkPosition
from probes.core.clock import SECOND
from probes.core.units import format_duration

SINK_STATUS_SCHEMA = "linkwitness.sink-status/1"
EVENT_KIND = "sink"
_GOOD = "ok"
ABSENT = "–"


@dataclass(frozen=True, slots=True)
class SinkState:
    """One sink as the store knows it.

    position: None where it has never been started; waiting_since_ns: start of the oldest sample it does not have;
    event: its last recorded change of state; parked: the line its server refused last; configured: None where no
    configuration was read; dropped: parked lines that went for want of room; live: what the running agent tells of
    it (server, rate, findings), empty where none runs.
    """

    name: str
    now_ns: int
    position: SinkPosition | None
    waiting_since_ns: int | None
    event: EventRecord | None
    parked: ParkedLine | None
    configured: bool | None
    dropped: int = 0
    live: Mapping[str, Any] = field(default_factory=dict)

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

    @property
    def server(self) -> str:
        return str(self.live.get("server") or "")

    @property
    def rate(self) -> float | None:
        """Samples a second that it took lately; None where no agent runs or nothing was sent."""
        rate = self.live.get("rate")
        return float(rate) if isinstance(rate, int | float) and not isinstance(rate, bool) else None

    @property
    def drain_ns(self) -> int | None:
        """When it would have everything at this rate, if nothing came in meanwhile. None while it takes nothing."""
        if self.position is None:
            return None
        if not self.lag:
            return 0
        return int(self.lag / self.rate * SECOND) if self.rate and self.state == _GOOD else None

    @property
    def findings(self) -> list[tuple[str, str, str]]:
        """What the agent found wrong with it at its start: state, text, remedy."""
        found = self.live.get("findings")
        items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
        return [(str(item.get("state")), str(item.get("text")), str(item.get("remedy") or "")) for item in items]


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
        "server": state.server or None,
        "state": state.state,
        "since": utc(state.event.at_ns) if state.event else None,
        "words": state.words or None,
        "cursor": position.seq if position else None,
        "lag": state.lag,
        "lag_ns": state.lag_ns,
        "oldest": None if state.waiting_since_ns is None else utc(state.waiting_since_ns),
        "rate": state.rate,
        "drain_ns": state.drain_ns,
        "parked": position.parked if position else 0,
        "parked_dropped": state.dropped,
        "last_parked": None
        if parked is None
        else {"at": utc(parked.at_ns), "seq": parked.seq, "reason": parked.reason, "line": parked.line},
        "findings": [
            {"state": found, "text": text, "remedy": remedy or None} for found, text, remedy in state.findings
        ],
    }


def grid(states: Sequence[SinkState]) -> Grid:
    """One row a sink; below, what each server refused last, and what was found when the agent started."""
    columns = (
        Column("SINK"), Column("STATE"), Column("SINCE"), Column("CURSOR", right=True), Column("WAITING", right=True),
        Column("OLDEST", right=True), Column("RATE", right=True), Column("DRAINED IN", right=True),
        Column("PARKED", right=True), Column("NOTE", stretch=True),
    )  # fmt: skip
    return Grid(columns, [_row(state) for state in states], below=[cell for state in states for cell in _below(state)])


def _row(state: SinkState) -> Row:
    position, oldest, drain_ns = state.position, state.lag_ns, state.drain_ns
    parked = position.parked if position else 0
    return (
        Cell(state.name, "strong"),
        Cell(state.state, "bad" if state.in_trouble else "good" if state.state == _GOOD else "dim"),
        ABSENT if state.event is None else f"{utc(state.event.at_ns)[:19]}Z",
        str(position.seq) if position else ABSENT,
        str(state.lag),
        ABSENT if oldest is None else _seconds(oldest),
        ABSENT if state.rate is None else f"{state.rate:.{0 if state.rate >= 10 else 1}f}/s",
        ABSENT if drain_ns is None else _seconds(drain_ns),
        Cell(str(parked), "warn" if parked else "plain"),
        state.words or state.server,
    )


def _below(state: SinkState) -> list[Cell]:
    lines = []
    if state.parked is not None:
        lines.append(Cell(f"{state.name} refused sample {state.parked.seq} last: {state.parked.reason}", "warn"))
    if state.dropped:
        text = f"{state.name}: {state.dropped} parked lines went, the oldest first, for want of room"
        lines.append(Cell(text, "bad"))
    for found, text, remedy in state.findings:
        if found != _GOOD:
            lines.append(Cell(f"{state.name}: {text}{f' (remedy: {remedy})' if remedy else ''}", "warn"))
    return lines


def _seconds(ns: int) -> str:
    return format_duration(ns // SECOND * SECOND)
