"""What a sink still has to get from a store, and a sink that gets it."""

from agent.store import Store, StoreReader
from agent.store.records import NOTHING_LEFT
from agent.store.samplebatch import SampleBatch


def due(reader: StoreReader, sink: str, limit: int = 7) -> list[SampleBatch]:
    """Every batch the sink is still to get: what it is owed, then what is live after its cursor. Settles nothing."""
    found = []
    for owed in reader.owed(sink):
        place = owed.next_row
        while place < NOTHING_LEFT:
            batch, place = reader.owed_batch(type(owed)(owed.part, owed.after_seq, place, owed.rows), limit)
            found.append(batch)
    seq = reader.cursors().get(sink, 0)
    while len(batch := reader.after_batch(seq, limit)):
        found.append(batch)
        seq = int(batch.seq[-1])
    return found


def seqs(batches: list[SampleBatch]) -> list[int]:
    """Places in the order of keeping, ascending."""
    return sorted(int(seq) for batch in batches for seq in batch.seq)


def take(store: Store, reader: StoreReader, sink: str, limit: int) -> SampleBatch | None:
    """The next batch, acknowledged: owed first, then live. None when the sink has everything."""
    owed = reader.owed(sink)
    if owed:
        batch, place = reader.owed_batch(owed[0], limit)
        store.settle(sink, owed[0].part, place)
    else:
        batch = reader.after_batch(store.cursor(sink), limit)
        if not len(batch):
            return None
        store.advance(sink, int(batch.seq[-1]))
    assert store.flush(10.0)
    return batch
