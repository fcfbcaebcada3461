"""Whether the interfaces that circuits leave by have a carrier: read once a second from /sys, changes become events.

A loss that lasts less than a second between two readings is told by the kernel's own count of changes. What was
recorded is read back as time without carrier, which is evidence on who answers for an outage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.sla.time.spans import Spans
from agent.store.records import EventRecord
from probes.core.clock import Clock
from probes.core.model import Circuit

DOWN: Final = "carrier_down"
UP: Final = "carrier_up"
MOST: Final = 64
"""Interfaces watched at most, in the order of the circuits."""
_NAME: Final = re.compile(r"[^/\s]{1,15}")


@dataclass(frozen=True, slots=True)
class _State:
    """up: it has a carrier. changes: how often the kernel saw it come or go; None where it does not say."""

    up: bool
    operstate: str
    changes: int | None
    at_ns: int


class Carriers:
    """Remembers the state of each interface. `observe` is called by one thread."""

    def __init__(
        self, clock: Clock, record: Callable[[EventRecord], None], root: Path = Path("/sys/class/net")
    ) -> None:
        self._clock, self._record, self._root = clock, record, root
        self._last: dict[str, _State] = {}

    def down(self) -> int:
        """Interfaces without a carrier at the last look."""
        return sum(not state.up for state in [*self._last.values()])

    def observe(self, circuits: Sequence[Circuit]) -> None:
        """Look at every interface that a circuit names; the first look at one is recorded whatever it shows."""
        wanted = list(dict.fromkeys(item.interface for item in circuits if item.interface))[:MOST]
        for name in [name for name in self._last if name not in wanted]:
            del self._last[name]
        for name in wanted:
            if _NAME.fullmatch(name) is None or name in (".", ".."):
                continue
            state, before = self._read(name), self._last.get(name)
            self._last[name] = state
            if before is None or before.up is not state.up:
                self._tell(name, state, state.at_ns, f"operstate {state.operstate}")
            elif state.up and before.changes is not None and state.changes is not None:
                times = state.changes - before.changes
                if times > 0:  # gone and back between two looks
                    lost = _State(False, state.operstate, state.changes, before.at_ns)
                    self._tell(name, lost, before.at_ns + 1, f"{times} changes within a second")
                    self._tell(name, state, max(state.at_ns, before.at_ns + 2), "back")

    def _read(self, name: str) -> _State:
        where = self._root / name
        operstate = _text(where / "operstate")
        carrier, changes = _text(where / "carrier"), _text(where / "carrier_changes")
        return _State(
            carrier == "1",
            operstate or "absent",
            int(changes) if changes.isdecimal() else None,
            self._clock.wall(),
        )

    def _tell(self, name: str, state: _State, at_ns: int, why: str) -> None:
        words = "has a carrier" if state.up else "has no carrier"
        self._record(EventRecord(UP if state.up else DOWN, at_ns, f"{name} {words}: {why}", reason=_subject(name)))


def _text(path: Path) -> str:
    """Content of a file of /sys; empty where there is none, or where the interface is switched off."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _subject(interface: str) -> str:
    return f"interface {interface}"


def carrier_down(events: Iterable[EventRecord], interface: str, start_ns: int, end_ns: int) -> Spans | None:
    """When the interface had no carrier in [start_ns, end_ns), by the events of the time before and within.

    None where no event says anything about it. An event that sums up several of a minute lasts as long as they did.
    """
    own = [item for item in events if item.reason == _subject(interface) and item.kind in (DOWN, UP)]
    if not own:
        return None
    found: list[tuple[int, int]] = []
    since: int | None = None
    for event in sorted(own, key=lambda item: (item.at_ns, item.kind == UP)):
        last = event.at_ns if event.end_ns is None else event.end_ns
        if event.kind == DOWN:
            since = event.at_ns if since is None else since
        elif since is not None:
            found.append((since, last))
            since = None
    if since is not None:
        found.append((since, end_ns))
    return Spans.of(found).within(start_ns, end_ns)
