"""Sealing by hand, while no agent runs: holds the store's directory and is its one writer meanwhile."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from agent.store.directory import Directory
from agent.store.identity import shared_through
from agent.store.leaving import Leaving
from agent.store.livefile import Batch, DamagedFile, LiveFile
from agent.store.records import LIVE_FILE, NOTHING_LEFT, EventRecord, Owner, Retired, Unparked
from agent.store.sealed.manifest import Part
from probes.core.clock import Clock, boot_id
from probes.core.errors import LocalError

ROWS: Final = 10_000
"""Removed in one transaction: nobody waits beside."""


class OfflineWriter:
    """Removes sealed rows and parked lines as the agent's writer does; records no start and no stop."""

    def __init__(self, file: LiveFile, clock: Clock) -> None:
        self.file, self._clock = file, clock

    def release(self, part: Part, still_sealed: Callable[[], bool], timeout_s: float = 0.0) -> int:  # noqa: ARG002 # the agent's writer waits
        """Take the part's rows out of the live database; sinks are owed what they lack."""
        total, first, through = 0, True, shared_through(self.file.epochs(), part.epochs, part.through_seq)
        while still_sealed():
            gone = self.file.release(part, through, ROWS, first=first)
            total, first = total + gone, False
            if not gone:
                break
        return total

    def leave(self, leaving: Leaving, timeout_s: float = 0.0) -> bool:  # noqa: ARG002 # the agent's writer waits
        """Have it done."""
        while leaving.step(self.file, 0, ROWS):
            pass
        return True

    def unpark(self, ids: Sequence[int]) -> None:
        """Remove parked lines, durably."""
        self.file.write(Batch(unparked=[Unparked(tuple(ids))]), self._clock.wall(), signs=False)

    def event(self, record: EventRecord) -> None:
        """Keep an event, durably."""
        self.file.write(Batch(events=[record]), self._clock.wall(), signs=False)

    def write_off(self, parts: Sequence[str], losses: Sequence[EventRecord]) -> None:
        """Forget that sinks are owed these parts, durably."""
        settled = {("", part): NOTHING_LEFT for part in parts}
        self.file.write(Batch(events=list(losses), settled=settled), self._clock.wall(), signs=False)

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002 # the agent's writer waits
        """True: everything is durable already."""
        return True

    def retire(self, **_before: float) -> Retired:
        """Nothing: what a hand seals, the agent retires."""
        return Retired(0, 0, True)


@contextlib.contextmanager
def opened(store: Path, clock: Clock) -> Iterator[OfflineWriter]:
    """The store's writer. Raises LocalError: an agent runs, there is no store, or its database is damaged."""
    if not (store / LIVE_FILE).exists():
        raise LocalError(f"there is no store at {store}", hint="`linkwitness run` creates it; or name another")
    owner = Owner(os.getpid(), boot_id(), clock.wall())
    directory = Directory.claim(store, owner)
    try:
        file = LiveFile.open(directory.live, owner=owner, site="")
        try:
            yield OfflineWriter(file, clock)
        finally:
            file.close()
            directory.bear_witness(file.next_seq - 1)
    except (DamagedFile, sqlite3.Error) as error:
        raise LocalError(f"the live database of {store} cannot be used: {error}") from None
    finally:
        directory.release()
