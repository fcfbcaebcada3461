"""What one sink is owed of sealed parts: which batch is next, and how far the sink has got."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent.store import Store, StoreReader
from agent.store.records import NOTHING_LEFT, Owed
from probes.core.clock import SECOND, Clock

LOOK_NS: Final = SECOND
"""The store's notes are read again after this time."""
PUT_OFF_NS: Final = 60 * SECOND
"""A part that cannot be read is tried again after this time; the others go on."""


class Debts:
    """The store's notes, and what was settled since they were read: a settlement becomes durable a little later."""

    def __init__(self, reader: StoreReader, store: Store, sink: str, clock: Clock) -> None:
        self._reader, self._store, self._sink, self._clock = reader, store, sink, clock
        self._notes: list[Owed] = []
        self._looked: int | None = None
        self._row: dict[str, int] = {}
        """part -> rows in file order that are done with"""
        self._skip: dict[str, int] = {}
        """part -> samples of the next batch that are done with"""
        self._put_off: dict[str, tuple[int, str]] = {}
        """part -> until when, and why"""

    def oldest(self) -> Owed | None:
        """Of the oldest part that can be read, what is left."""
        now = self._clock.monotonic()
        if self._looked is None or now - self._looked >= LOOK_NS:
            self._notes, self._looked = self._reader.owed(self._sink), now
            kept = {note.part for note in self._notes}
            self._row = {part: row for part, row in self._row.items() if part in kept}
            self._skip = {part: skip for part, skip in self._skip.items() if part in kept}
            self._put_off = {part: why for part, why in self._put_off.items() if why[0] > now and part in kept}
        return next((left for left in map(self._left, self._notes) if left and left.part not in self._put_off), None)

    @property
    def trouble(self) -> str:
        """Why a part is put off; empty where none is."""
        return next((words for _until, words in self._put_off.values()), "")

    @property
    def rows(self) -> int:
        """Samples owed, as far as is known."""
        return sum(left.rows for left in map(self._left, self._notes) if left is not None)

    def skip(self, owed: Owed) -> int:
        """Samples of the next batch of this part that the sink has."""
        return self._skip.get(owed.part, 0)

    def paid(self, owed: Owed, next_row: int) -> None:
        """The sink has the part up to this row in file order."""
        self._row[owed.part] = next_row
        self._skip.pop(owed.part, None)
        self._store.settle(self._sink, owed.part, next_row)

    def paid_all(self, owed: Owed) -> None:
        """There is nothing more of this part."""
        self.paid(owed, NOTHING_LEFT)

    def paid_some(self, owed: Owed, samples: int) -> None:
        """The sink has some more samples of the next batch. Not durable: they are sent again after a restart."""
        self._skip[owed.part] = self.skip(owed) + samples

    def put_off(self, owed: Owed, words: str) -> None:
        """The part cannot be read now."""
        self._put_off[owed.part] = (self._clock.monotonic() + PUT_OFF_NS, words)

    def _left(self, note: Owed) -> Owed | None:
        row = self._row.get(note.part, 0)
        if row <= note.next_row:
            return note
        if row >= NOTHING_LEFT:
            return None
        return replace(note, next_row=row, rows=max(0, note.rows - (row - note.next_row)))
