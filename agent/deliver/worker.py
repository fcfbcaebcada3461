"""Delivery: one thread per sink reads the store after the sink's durable cursor and sends what is there.

The cursor moves only after the server acknowledged. What was sent and not noted before a crash is sent again; the
same series and time stamp overwrite, so that every sample is in the database exactly once. While a backlog drains,
every second request carries the newest samples, so that dashboards stay live.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from agent.config import SinkSettings
from agent.deliver.answer import Answer, Reply
from agent.deliver.backoff import Backoff, Broken
from agent.deliver.batch import Batches, Outcome
from agent.deliver.body import Body
from agent.deliver.debts import Debts
from agent.deliver.line import LineEncoder, LineError
from agent.deliver.sink import Sink
from agent.deliver.status import SinkStatus
from agent.deliver.supply import Consignment, Order, Supply
from agent.deliver.telling import IDLE, OK, Telling
from agent.store import EventRecord, Store, StoreReader
from agent.store.records import NOTHING_LEFT, Owed
from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Circuit, Sample

log = logging.getLogger(__name__)

POLL_NS: Final = 500 * MILLISECOND
BACKLOG_BATCHES: Final = 2
"""More than so many batches behind is a backlog: the newest samples then go first, in turn with the oldest."""
LIVE_NS: Final = 500 * MILLISECOND
"""While a backlog drains, the newest samples are sent at most this often."""
WITNESSES: Final = 4
RATE_BATCHES: Final = 16
CLOSE_S: Final = 5.0
COMMIT_S: Final = 1.0
"""How much of that may go by until the last samples are in the store."""
NO_ROOM: Final = "the store cannot write down what the server refuses"
CUT_S: Final = 1.0
"""What a thread has left after its exchange was cut."""


class Delivery:
    """All sinks of an agent."""

    def __init__(
        self,
        sinks: Sequence[SinkSettings],
        store: Store,
        store_path: Path,
        circuits: Mapping[str, Circuit],
        site: str,
        clock: Clock,
    ) -> None:
        self._store = store
        self._workers = [
            SinkWorker(settings, store, store_path, LineEncoder(site, circuits), clock) for settings in sinks
        ]
        store.keep_sinks([settings.name for settings in sinks])

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Send what is left while the time lasts, then cut; the rest stays for the next start."""
        self._store.flush(min(COMMIT_S, timeout_s))
        for worker in self._workers:
            worker.stop(timeout_s)
        for worker in self._workers:
            worker.join()

    def status(self) -> list[SinkStatus]:
        return [worker.status for worker in self._workers]


class SinkWorker:
    """Delivers to one sink until stopped."""

    def __init__(
        self, settings: SinkSettings, store: Store, store_path: Path, encoder: LineEncoder, clock: Clock
    ) -> None:
        self._settings, self._store, self._encoder, self._clock = settings, store, encoder, clock
        self._sink = Sink(settings)
        self._reader = StoreReader(store_path)
        self._supply = Supply(self._reader, encoder, settings.name, self._sink.pack)
        self._debts = Debts(self._reader, store, settings.name, clock)
        self._stop = threading.Event()
        self._stop_by: int | None = None
        self._backoff = Backoff()
        self._batches = Batches(settings.batch)
        self._live_from = self._live_to = 0
        """seqs in (live_from, live_to] were delivered ahead of the cursor"""
        self._live_turn = False
        self._live_at: int | None = None
        """monotonic ns when the newest were sent last"""
        self._broken_oldest, self._broken_newest, self._broken_owed = Broken(), Broken(), Broken()
        """apart: while the ones are answered by HTTP 500 for their lines' sake, the others are accepted all the time"""
        self._broken = self._broken_oldest
        """of the batch that is being sent"""
        self._lately: deque[tuple[int, int]] = deque(maxlen=RATE_BATCHES)
        """monotonic ns and size of the batches delivered last"""
        self._telling = _remembered(self._reader, settings.name, IDLE)
        """None: the store cannot be read yet"""
        self._thread = threading.Thread(target=self._run, name=f"sink-{settings.name}", daemon=True)
        self.status = SinkStatus(settings.name, "", "starting", 0, 0, 0, 0)
        with contextlib.suppress(LocalError):  # the disk may refuse just now: asked again before every batch
            self.status = replace(self.status, cursor=store.cursor(settings.name))

    @property
    def _limit(self) -> int:
        """Samples in a batch, now."""
        return self._batches.limit

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stop_by = self._clock.monotonic() + int(timeout_s * SECOND)
        self._stop.set()

    def join(self) -> None:
        """Ends within CUT_S of the time given to `stop`. An exchange that is cut counts as none: it is repeated."""
        if self._thread.is_alive():
            left_ns = 0 if self._stop_by is None else self._stop_by - self._clock.monotonic()
            self._thread.join(max(0, left_ns) / SECOND)
        if self._thread.is_alive():
            self._sink.cut()
            self._thread.join(CUT_S)
        if not self._thread.is_alive():
            self._supply.close()
            self._sink.close()
            self._reader.close()

    def _run(self) -> None:
        while not self._expired():
            last = self._stop.is_set()  # before it looks: what was kept until then is sent
            try:
                wait_ns = self._step()
            except Exception as error:
                # Whatever it is, the delivery must go on: nothing else would tell that it had ended.
                words = str(error) if isinstance(error, LocalError) else f"{type(error).__name__}: {error}"
                log.error("sink %s: %s", self._settings.name, words, exc_info=not isinstance(error, LocalError))
                self._tell("in trouble", words)
                self._backoff = self._backoff.after(Reply(Answer.RETRY))
                wait_ns = max(SECOND, self._backoff.wait_ns(Reply(Answer.RETRY), random.random()))
            if (wait_ns and self.status.lag and self._stop.is_set()) or (last and not self.status.lag):
                return
            if wait_ns:
                self._clock.wait(self._stop, wait_ns)

    def _expired(self) -> bool:
        return self._stop_by is not None and self._clock.monotonic() > self._stop_by

    def _step(self) -> int:
        """Send one batch; how long to wait before the next, 0 for at once."""
        cursor = self._store.cursor(self._settings.name)
        newest, live = self._live_rows(cursor)
        owed = self._debts.oldest()
        self.status = replace(self.status, cursor=cursor, lag=live + self._debts.rows)
        if self._live_to <= cursor:
            self._live_from = self._live_to = 0
        if not live and owed is None:
            self.status = replace(self.status, lag_ns=None)
            self._tell_well("idle" if self.status.state in ("starting", "idle") else "ok")
            return POLL_NS
        outcome, count = self._send_next(cursor, newest, live, owed)
        self._live_turn = not self._live_turn
        return self._settle(outcome, count)

    def _send_next(self, cursor: int, newest: int, live: int, owed: Owed | None) -> tuple[Outcome, int]:
        """The oldest of the backlog, and in turn with it what has come in since."""
        backlog = live > BACKLOG_BATCHES * self._limit
        if not backlog and owed is None:
            self._live_at = None
        live_turn = self._is_live_turn() and newest > max(cursor, self._live_to)
        if live_turn and (backlog or owed is not None):
            self._live_at = self._clock.monotonic()
            if backlog:
                self._broken = self._broken_newest
                outcome, count = self._send_live(newest)
                self._broken.count(outcome.reply)
                return outcome, count
        if owed is not None and not (live_turn and live):
            self._broken = self._broken_owed
            outcome, count = self._send_owed(owed)
        else:
            self._broken = self._broken_oldest
            outcome, count = self._send_oldest(cursor)
        self._broken.count(outcome.reply)
        return outcome, count

    def _live_rows(self, cursor: int) -> tuple[int, int]:
        """seq of the newest sample, and how many there are from the first that is to be sent."""
        extent = self._reader.extent_after(cursor)
        return (0, 0) if extent is None else (extent[1], extent[1] - extent[0] + 1)

    def _is_live_turn(self) -> bool:
        """Every second request, but not so often that the newest samples come a few at a time."""
        due = self._live_at is None or self._clock.monotonic() - self._live_at >= LIVE_NS
        return self._live_turn and due

    def _send_oldest(self, cursor: int) -> tuple[Outcome, int]:
        if self._live_from <= cursor < self._live_to:
            cursor = self._live_to
            self._store.advance(self._settings.name, cursor)
        until = self._live_from if self._live_from > cursor else None
        return self._send(Order(cursor, self._limit, False, until), self._supply.take, self._moved)

    def _send_owed(self, owed: Owed) -> tuple[Outcome, int]:
        """Sealed samples. A part that cannot be read holds up nothing else."""

        def paid(consignment: Consignment, done: int) -> None:
            if done < len(consignment):
                self._debts.paid_some(owed, done)
            else:
                self._debts.paid(owed, consignment.following)

        order = Order.of(owed, self._limit, self._debts.skip(owed))
        try:
            outcome, count = self._send(order, self._supply.take, paid)
        except LocalError as error:
            log.warning("sink %s: %s is put off: %s", self._settings.name, owed.part, error)
            self._debts.put_off(owed, str(error))
            return Outcome(0, (), Reply(Answer.WRITTEN)), 0
        if outcome.reply.answer is Answer.WRITTEN and not count:
            self._debts.paid_all(owed)
        return outcome, count

    def _moved(self, consignment: Consignment, done: int) -> None:
        self._store.advance(self._settings.name, consignment.seq(done - 1))

    def _send_live(self, newest: int) -> tuple[Outcome, int]:
        """Newest samples first. They join the range sent ahead, or begin it."""
        begin = self._live_to or max(self.status.cursor, newest - self._limit)

        def sent_ahead(consignment: Consignment, done: int) -> None:
            self._live_from = self._live_from or begin
            self._live_to = consignment.seq(done - 1)

        return self._send(Order(begin, self._limit, False), self._supply.fresh, sent_ahead)

    def _send(
        self, order: Order, take: Callable[[Order], Consignment], note: Callable[[Consignment, int], None]
    ) -> tuple[Outcome, int]:
        """note: what to remember of a consignment of which so many samples are written or refused."""
        # The sink is opened first: whether the server keeps text decides how a line is written.
        obstacle = self._sink.open()
        if obstacle is not None:
            return Outcome(0, (), obstacle), 0
        order = replace(order, text=self._sink.keeps_text)
        consignment = take(order)
        if take == self._supply.take:
            if consignment.oldest_ns is not None:
                self.status = replace(self.status, lag_ns=max(0, self._clock.wall() - consignment.oldest_ns))
            if consignment.full and consignment.following not in (self._live_from, NOTHING_LEFT):
                self._supply.make_ready(order.following(consignment.following))
        outcome = self._parked(self._offer(consignment), consignment)
        if outcome.done:
            note(consignment, outcome.done)
        return outcome, outcome.done

    def _offer(self, consignment: Consignment) -> Outcome:
        """All at once, as it is ready; where the server refuses that, in parts."""
        whole = None
        if consignment.body is not None and not self._batches.searching:
            whole = self._write(consignment.body)
            if whole.answer is Answer.WRITTEN:
                self._batches.taken(len(consignment))
                return Outcome(len(consignment), consignment.unwritable(), whole)
            if whole.answer not in (Answer.REJECTED, Answer.TOO_LARGE):
                return Outcome(0, (), whole)
            whole = consignment.in_order(whole)
        return self._batches.deliver(
            consignment.single(), self._write, self._witnesses, self._stop.is_set, whole
        )  # fmt: skip

    def _parked(self, outcome: Outcome, consignment: Consignment) -> Outcome:
        """The outcome as far as what is refused could be parked: no sample is passed over that nothing tells of."""
        for number, refusal in enumerate(outcome.refused):
            line = refusal.line
            if not self._store.park(self._settings.name, line.seq, line.text, refusal.words):
                done = int(np.flatnonzero(consignment.lines.seq == line.seq)[0])
                outcome = Outcome(done, outcome.refused[:number], Reply(Answer.RETRY, NO_ROOM))
                break
        for words, count in Counter(refusal.words for refusal in outcome.refused).items():
            log.warning("sink %s refuses %d samples for good: %s", self._settings.name, count, words)
        self.status = replace(self.status, parked=self.status.parked + len(outcome.refused))
        return outcome

    def _write(self, lines: str | Body) -> Reply:
        reply = self._sink.write(lines)
        if reply.status == 500 and self._broken.suspicious:
            return replace(reply, answer=Answer.REJECTED)
        return reply

    def _line(self, sample: Sample) -> str | None:
        try:
            branch = next((name for _, name in reversed(self._reader.branches())), None)
            return self._encoder.encode(sample, text=self._sink.keeps_text, branch=branch)
        except LineError:
            return None

    def _witnesses(self) -> list[str]:
        """The newest samples of each kind, and what went before the batch: the server has taken some of them before."""
        try:
            samples = self._reader.latest()
            before = self._reader.newest(WITNESSES, below=self.status.cursor + 1)
        except LocalError:  # one of them is damaged: the rest of the batch has to do
            return []
        by_kind = list({sample.kind: sample for sample in samples}.values())
        offered = [*by_kind[:WITNESSES], *samples[:WITNESSES], *(item.sample for item in before)]
        lines = (self._line(sample) for sample in offered)
        return list(dict.fromkeys(line for line in lines if line is not None))

    def _settle(self, outcome: Outcome, count: int) -> int:
        reply = outcome.reply
        self._backoff = self._backoff.after(reply)
        self.status = replace(
            self.status, written=self.status.written + count - len(outcome.refused), server=str(self._sink.server or "")
        )
        if reply.answer is Answer.WRITTEN:
            self._lately.append((self._clock.monotonic(), count))
            self.status = replace(self.status, rate=_rate(self._lately))
            self._tell_well("ok")
            return 0
        wait_ns = self._backoff.wait_ns(reply, random.random())
        self._tell("held" if reply.answer is Answer.HOLD else "waiting", reply.words)
        return max(MILLISECOND, wait_ns)

    def _tell_well(self, state: str) -> None:
        """The server takes what it is sent; what cannot be read here is not sent."""
        self._tell("put off" if self._debts.trouble else state, self._debts.trouble)

    def _tell(self, state: str, words: str) -> None:
        """Record a change of state once, not every try."""
        self.status = replace(self.status, state=state, words=words)
        if self._stop.is_set():
            return
        if self._telling is None:
            self._telling = _remembered(self._reader, self._settings.name, state)
        left_out = None if self._telling is None else self._telling.due(state, self._clock.monotonic())
        if left_out is None:
            return
        text = f"sink {self._settings.name}: {state}{f': {words}' if words else ''}"
        if left_out:
            text += f": {left_out} changes before this one are not recorded"
        log.log(logging.INFO if state == "ok" else logging.WARNING, "%s", text)
        self._store.event(EventRecord("sink", self._clock.wall(), text, reason=words or None))


def _remembered(reader: StoreReader, sink: str, state: str) -> Telling | None:
    """From what the store was told last; None where it cannot be read, and `state` is no trouble to be told."""
    beginning = f"sink {sink}: "
    try:
        told = (event.text for event in reader.events(kind="sink") if event.text.startswith(beginning))
        last = next(told, beginning + OK).removeprefix(beginning).partition(":")[0]
    except LocalError:
        return None if state in (OK, IDLE) else Telling()
    return Telling(OK if last == OK else "trouble")


def _rate(lately: Sequence[tuple[int, int]]) -> float | None:
    """Samples a second from the end of the first batch to the end of the last; None for one batch alone."""
    span_ns = lately[-1][0] - lately[0][0]
    return sum(count for _, count in list(lately)[1:]) * SECOND / span_ns if span_ns > 0 else None
