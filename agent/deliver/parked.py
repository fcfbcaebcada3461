"""Lines that a server refused: offered again, or given up. Whoever writes the store does it: the agent, or a hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from agent.config import SinkSettings
from agent.deliver.answer import Answer
from agent.deliver.batch import Batches, Line
from agent.deliver.sink import Sink
from agent.store import EventRecord, StoreReader
from agent.store.records import ParkedLine

PARKED_EVENT: Final = "parked"
"""Event kind: parked lines were offered again or dropped; `count` of them are parked no longer."""
PAGE: Final = 500
UNWRITABLE: Final = "it cannot be written as a line"


class Keeper(Protocol):
    """The one writer of the store."""

    def unpark(self, ids: Sequence[int]) -> None: ...
    def event(self, record: EventRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class Retried:
    """accepted: lines that are parked no longer; left: those still refused or not offered; words: why, in short."""

    accepted: int
    left: int
    words: str = ""

    def __str__(self) -> str:
        text = f"{self.accepted} parked lines accepted, {self.left} left"
        return f"{text}: {self.words}" if self.words and self.left else text


def retry(
    settings: SinkSettings, reader: StoreReader, keeper: Keeper, now_ns: int, stopping: Callable[[], bool]
) -> Retried:
    """Offer every parked line of the sink again, the oldest first. What is accepted is taken out of the table."""
    sink = Sink(settings)
    try:
        found = _offer_all(settings, sink, reader, keeper, stopping)
    finally:
        sink.close()
    text = f"sink {settings.name}: {found}"
    keeper.event(EventRecord(PARKED_EVENT, now_ns, text, reason=found.words or None, count=found.accepted))
    return found


def _offer_all(
    settings: SinkSettings, sink: Sink, reader: StoreReader, keeper: Keeper, stopping: Callable[[], bool]
) -> Retried:
    batches, accepted, left, words, after = Batches(PAGE), 0, 0, "", 0
    while page := reader.parked(settings.name, PAGE, after=after):
        after = _id(page[-1])
        lines = [Line(_id(item), item.line, "" if item.line else UNWRITABLE) for item in page]
        outcome = None
        while lines:
            outcome = batches.deliver(lines, lambda text: sink.write(text), tuple, stopping)
            refused = {refusal.line.seq: refusal.words for refusal in outcome.refused}
            taken = [line.seq for line in lines[: outcome.done] if line.seq not in refused]
            if taken:
                keeper.unpark(taken)
            accepted += len(taken)
            left += len(refused)
            words = next(iter(refused.values()), words)
            lines = lines[outcome.done :]
            if outcome.reply.answer is not Answer.WRITTEN:
                words = outcome.reply.words or words
                left += len(lines)
                break
        if stopping() or (outcome is not None and outcome.reply.answer is Answer.RETRY):
            left += _count_after(reader, settings.name, after)
            break
    return Retried(accepted, left, words)


def drop(sink: str, reader: StoreReader, keeper: Keeper, now_ns: int, reason: str) -> int:
    """Give up all parked lines of a sink; why is kept as an event. Returns how many there were."""
    gone, after = 0, 0
    while page := reader.parked(sink, PAGE, after=after):
        after = _id(page[-1])
        keeper.unpark([_id(item) for item in page])
        gone += len(page)
    if gone:
        text = f"sink {sink}: {gone} parked lines dropped by hand: {reason}"
        keeper.event(EventRecord(PARKED_EVENT, now_ns, text, reason=reason, count=gone))
    return gone


def _count_after(reader: StoreReader, sink: str, after: int) -> int:
    count = 0
    while page := reader.parked(sink, PAGE, after=after):
        count, after = count + len(page), _id(page[-1])
    return count


def _id(line: ParkedLine) -> int:
    assert line.id is not None, "what was read has a number"
    return line.id
