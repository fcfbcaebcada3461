"""No storm of events fills the database: a few of a kind are kept each minute, the rest become one with a count. Pure.

What the record of measured time rests on (gaps, starts and stops, clock steps, damage) is never summed up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agent.store import records
from agent.store.records import EventRecord
from probes.core.clock import SECOND

PER_MINUTE: Final = 20
MINUTE_NS: Final = 60 * SECOND
KINDS: Final = 100
"""Kinds counted apart; further ones share one count."""
ALWAYS: Final = frozenset((
    records.GAP, records.CLOCK_STEP, records.IDENTITY, records.START, records.STOP, records.DAMAGED,
))  # fmt: skip
OTHERS: Final = "others"


@dataclass(slots=True)
class _Minute:
    """One kind since begin_ns (monotonic): how many were kept, and the last of those that were not, with their number.

    first_ns: wall time of the first that was not kept.
    """

    begin_ns: int
    kept: int = 0
    more: int = 0
    first_ns: int = 0
    last: EventRecord | None = None


class EventLimit:
    """Not thread-safe. now_ns is monotonic."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Minute] = {}

    def admit(self, record: EventRecord, now_ns: int) -> list[EventRecord]:
        """What is to be kept now: the record, unless its kind has had its share, and sums of minutes that are over."""
        due = self.over(now_ns, all_of_them=record.kind == records.STOP)
        if record.kind in ALWAYS:
            return [*due, record]
        kind = record.kind if record.kind in self._kinds or len(self._kinds) < KINDS else OTHERS
        minute = self._kinds.setdefault(kind, _Minute(now_ns))
        if minute.kept < PER_MINUTE:
            minute.kept += 1
            return [*due, record]
        if not minute.more:
            minute.first_ns = record.at_ns
        minute.more += 1
        minute.last = record
        return due

    def over(self, now_ns: int, *, all_of_them: bool = False) -> list[EventRecord]:
        """One event for each kind that had more than its share in a minute that is over, or in the one that runs."""
        ended = [kind for kind, item in self._kinds.items() if all_of_them or now_ns - item.begin_ns >= MINUTE_NS]
        return [summed for kind in ended if (summed := _sum(self._kinds.pop(kind))) is not None]


def _sum(minute: _Minute) -> EventRecord | None:
    if minute.last is None:
        return None
    last = minute.last
    text = f"{minute.more} more of this kind in a minute, the last: {last.text}"
    begin, end = min(minute.first_ns, last.at_ns), max(minute.first_ns, last.at_ns)
    return replace(last, at_ns=begin, end_ns=end, text=text, count=minute.more, circuit=None)
