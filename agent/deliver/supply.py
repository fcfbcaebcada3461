"""What goes to a sink next: read, encoded and compressed, the next batch already while the server works on this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from agent.deliver.answer import Reply
from agent.deliver.batch import Line, Refusal
from agent.deliver.body import Body
from agent.deliver.line import LineEncoder
from agent.deliver.linebatch import BatchEncoder, LineBatch
from agent.store import StoreReader
from agent.store.records import Owed
from agent.store.samplebatch import SampleBatch


@dataclass(frozen=True, slots=True)
class Order:
    """Which batch: `limit` samples. text: the server keeps text fields.

    place: those after this seq in the live database, kept up to `until`; or, where `part` is named, those from this row
    of a sealed part on, as far as they are `owed`. skip: samples from there on that the sink has.
    """

    place: int
    limit: int
    text: bool
    until: int | None = None
    part: str = ""
    owed: Owed | None = field(default=None, compare=False)
    skip: int = 0

    @staticmethod
    def of(owed: Owed, limit: int, skip: int) -> Order:
        """Of a sealed part."""
        return Order(owed.next_row, limit, False, part=owed.part, owed=owed, skip=skip)

    def following(self, place: int) -> Order:
        """The batch after this one."""
        owed = None if self.owed is None else replace(self.owed, next_row=place)
        return replace(self, place=place, owed=owed, skip=0)


@dataclass(frozen=True, slots=True, eq=False)
class Consignment:
    """A batch as it is sent. full: as many samples as were ordered, so that more are likely to follow.

    body: None where no line could be written; following: where the next batch begins; oldest_ns: start of the first
    sample.
    """

    order: Order
    lines: LineBatch
    body: Body | None
    following: int
    full: bool
    oldest_ns: int | None

    def __len__(self) -> int:
        return len(self.lines)

    def seq(self, number: int) -> int:
        """Place of a sample in the order of keeping."""
        return int(self.lines.seq[number])

    def unwritable(self) -> tuple[Refusal, ...]:
        """The samples that have no line."""
        found = sorted(self.lines.unwritable.items())
        return tuple(Refusal(Line(self.seq(number), "", words), words) for number, words in found)

    def in_order(self, reply: Reply) -> Reply:
        """The answer to `body`, as if its lines had stood in the order of the samples."""
        if not reply.blamed:
            return reply
        place = np.argsort(np.argsort(self.lines.order)) + 1
        blamed = {int(place[at - 1]): words for at, words in reply.blamed.items() if 0 < at <= len(place)}
        return replace(reply, blamed=blamed)

    def single(self) -> list[Line]:
        """Every sample's line, for the search of those a server refuses."""
        return [
            Line(seq, text.decode("utf-8"), self.lines.unwritable.get(number, ""))
            for number, (seq, text) in enumerate(zip(self.lines.seq.tolist(), self.lines.lines(), strict=True))
        ]


class Supply:
    """Of one sink. At most two batches are held: the one taken last, and the one after it. One thread at a time.

    pack: how lines become the body of a request.
    """

    def __init__(
        self, reader: StoreReader, plain: LineEncoder, name: str, pack: Callable[[Iterable[bytes]], Body]
    ) -> None:
        self._reader, self._pack = reader, pack
        self._encoders = {text: BatchEncoder(plain, text=text, branches=reader.branches) for text in (False, True)}
        self._pool = ThreadPoolExecutor(1, f"sink-{name}-ahead")
        self._ahead: tuple[Order, Future[Consignment]] | None = None
        self._taken: Consignment | None = None

    def take(self, order: Order) -> Consignment:
        """The batch ordered, perhaps made ready before. Raises LocalError."""
        if self._taken is not None and self._taken.full and self._taken.order == order:
            return self._taken
        ahead, self._ahead, self._taken = self._ahead, None, None
        if ahead is not None and ahead[0] == order:
            self._taken = ahead[1].result()
        else:
            if ahead is not None:
                ahead[1].cancel()
            self._taken = self._made(order)
        return self._taken

    def make_ready(self, order: Order) -> None:
        """Begin with the batch that is likely to be ordered next."""
        if self._ahead is None or self._ahead[0] != order:
            self._ahead = (order, self._pool.submit(self._made, order))

    def fresh(self, order: Order) -> Consignment:
        """The batch ordered, besides those taken in turn."""
        return self._made(order)

    def close(self) -> None:
        """Ends what is being made ready; a batch takes a fraction of a second."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _made(self, order: Order) -> Consignment:
        batch, following = self._read(order)
        full = len(batch) >= order.limit + order.skip
        if order.skip:
            batch = batch.between(order.skip, len(batch))
        if order.until is not None and len(batch):
            within = int((batch.seq <= order.until).sum())
            if within < len(batch):
                batch = batch.between(0, within) if within else batch
                following = int(batch.seq[-1])
        lines = self._encoders[order.text].encode(batch)
        body = None
        if lines.parts:
            body = self._pack(lines.parts)
            if body.encoding == "identity":
                lines = replace(lines, parts=(body.data,))  # not twice in memory
        return Consignment(order, lines, body, following, full, int(batch.start_ns[0]) if len(batch) else None)

    def _read(self, order: Order) -> tuple[SampleBatch, int]:
        """The batch, and where the next one begins."""
        limit = order.limit + order.skip
        if order.owed is not None:
            return self._reader.owed_batch(order.owed, limit)
        batch = self._reader.after_batch(order.place, limit)
        return batch, int(batch.seq[-1]) if len(batch) else order.place
