"""A process that keeps samples and says what it was told is durable, until somebody kills it."""

import random
from multiprocessing.connection import Connection
from pathlib import Path

from agent.store import Store, writer
from agent.store.livefile import Batch
from agent.store.waiting import Waiting
from probes.core.clock import SystemClock
from tests.fakes.samples import ping, some_packets


class EagerWaiting(Waiting):
    """The bug the kill test must catch: a batch is called durable before it is written."""

    def next_batch(self) -> tuple[Batch, int, int]:
        found = super().next_batch()
        super().settle(*found)
        return found

    def settle(self, batch: Batch, samples: int, notes: int) -> None:
        """Too late: it has been done."""


def keep_until_killed(path: Path, first: int, seed: int, told: Connection, eager: bool) -> None:
    """Append groups of random size from the first-th interval on; `told` gets ("kept", n) and ("cursor", seq)."""
    if eager:
        writer.Waiting = EagerWaiting  # type: ignore[misc] # only in the process that will be killed
    chance = random.Random(seed)
    store = Store.open(path, clock=SystemClock(), site="lab")
    number = first
    while True:
        group = chance.randint(1, 40)
        store.append([ping(n, packets=some_packets(n)) for n in range(number, number + group)])
        number += group
        if not store.flush(30.0):
            return
        told.send(("kept", number))
        if chance.random() < 0.3:
            store.advance("central", 1 << 62)
            seq = store.cursor("central")
            if store.flush(30.0):
                told.send(("cursor", seq))
