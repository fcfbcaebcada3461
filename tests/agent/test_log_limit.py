"""No storm fills the journal or the store: a line a second at most in the long run, every line left out is counted."""

import logging
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.log_limit import ALL_BURST, BURST, KINDS, TELL_NS, Limited, LogLimit, kind_of
from agent.store import EventRecord, Store, StoreReader
from agent.store.event_limit import ALWAYS, PER_MINUTE, EventLimit
from agent.store.event_limit import KINDS as EVENT_KINDS
from agent.store.records import GAP, STOP
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from tests.fakes.clock import FakeClock


class Journal(logging.Handler):
    """Lines with the second they came in."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((self._clock.monotonic(), record.getMessage()))


class Storm:
    """A logger of ours behind the limit, and timers that fire as the clock is advanced."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.journal = Journal(self.clock)
        self._timers: list[tuple[int, Callable[[], None]]] = []
        self.handler = Limited(self.journal, self.clock, after=self._after)
        self.sent = 0

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._timers.append((self.clock.monotonic() + int(seconds * SECOND), act))

    def advance(self, nanoseconds: int) -> None:
        self.clock.advance(nanoseconds)
        due = [act for at, act in self._timers if at <= self.clock.monotonic()]
        self._timers = [item for item in self._timers if item[0] > self.clock.monotonic()]
        for act in due:
            act()

    def log(self, text: str, *args: object, level: int = logging.WARNING, name: str = "agent.deliver.worker") -> None:
        self.sent += 1
        self.handler.handle(logging.LogRecord(name, level, __file__, 1, text, args, None))

    @property
    def accounted(self) -> int:
        """Lines that were shown, and those that shown lines say were left out."""
        total = 0
        for _, line in self.journal.lines:
            summed = re.match(r"(\d+) log lines suppressed: ", line)
            more = re.search(r"\((\d+) more like this suppressed\)$", line)
            total += int(summed[1]) if summed else 1 + int(more[1] if more else 0)
        return total

    def worst(self, seconds: int) -> int:
        """Most lines within any stretch of so many seconds."""
        times = [at for at, _ in self.journal.lines]
        return max(sum(begin <= at < begin + seconds * SECOND for at in times) for begin in times)


def circuits_fail_and_recover(storm: Storm) -> None:
    """A thousand circuits, each of which fails and recovers every twenty seconds."""
    first = storm.sent // 2 % 1000
    for circuit in range(first, first + 100):
        storm.log("%s cannot be resolved: %s", f"c{circuit}", "timed out")
        storm.log("%s is back", f"c{circuit}", level=logging.INFO, name="agent.watch")


def sink_flaps(storm: Storm) -> None:
    for number in range(50):
        storm.log("sink central: connection refused (attempt %d)", number)
        storm.log("sink central: delivering again", level=logging.INFO)


def disk_flaps(storm: Storm) -> None:
    for number in range(20):
        storm.log("the store cannot write: %s", f"no space left on device ({number})", level=logging.ERROR)
        storm.log("the store writes again", name="agent.store.writer")


def every_line_is_another(storm: Storm) -> None:
    """The worst: texts made up outside of our sources."""
    for number in range(200):
        word = "".join(random.Random(number).choices("abcdefgh", k=8))
        storm.log(f"{word} {storm.sent} happened", level=logging.ERROR, name=f"library.{word}")


@pytest.mark.parametrize("blow", [circuits_fail_and_recover, sink_flaps, disk_flaps, every_line_is_another])
def test_a_storm_of_ten_minutes_is_a_line_a_second_at_most_and_all_is_counted(
    blow: Callable[[Storm], None], figure: Callable[[str], None]
) -> None:
    storm = Storm()
    for _ in range(300):
        blow(storm)
        storm.advance(2 * SECOND)
    assert len(storm.journal.lines) <= ALL_BURST + 600 + 1
    for seconds in (1, 60, 300):
        assert storm.worst(seconds) <= ALL_BURST + seconds
    sustained = [at for at, _ in storm.journal.lines if at >= storm.journal.lines[0][0] + 120 * SECOND]
    assert len(sustained) <= 480 + 1, "in the long run a line a second"
    for _ in range(3):
        storm.advance(TELL_NS)
    assert storm.accounted == storm.sent
    figure(f"log, {blow.__name__}: {storm.sent:,} lines in ten minutes, {len(storm.journal.lines)} shown, all counted")


def test_storms_of_our_own_kinds_leave_the_journal_readable() -> None:
    storm = Storm()
    for _ in range(300):
        for blow in (circuits_fail_and_recover, sink_flaps, disk_flaps):
            blow(storm)
        storm.advance(2 * SECOND)
    assert len(storm.journal.lines) <= 6 * (BURST + 600 // 20 + 1) + 600 // 60 + 1
    kinds = {re.sub(r"\d+|c\d+", "#", line.split(":")[0]) for _, line in storm.journal.lines}
    assert len(kinds) >= 6, "one kind does not drown another"


def test_an_error_is_heard_in_a_storm_of_warnings() -> None:
    storm = Storm()
    for number in range(100):
        storm.log(f"warning of kind {'x' * (number % 37)}")
    storm.log("the store is gone", level=logging.ERROR, name="agent.store.writer")
    assert storm.journal.lines[-1][1] == "the store is gone"


def test_what_comes_seldom_passes_as_it_is() -> None:
    storm = Storm()
    for number in range(100):
        storm.log("%s was not judged: %s", "c1", f"reason {number}")
        storm.advance(25 * SECOND)
    assert [line for _, line in storm.journal.lines] == [f"c1 was not judged: reason {k}" for k in range(100)]


def test_the_number_left_out_stands_on_the_next_line_or_in_a_summary() -> None:
    storm = Storm()
    for _ in range(BURST + 7):
        storm.log("sink %s is down", "central")
    storm.advance(20 * SECOND)
    storm.log("sink %s is down", "central")
    assert storm.journal.lines[-1][1] == "sink central is down (7 more like this suppressed)"
    for _ in range(5):
        storm.log("sink %s is down", "central")
    storm.advance(2 * TELL_NS)
    assert storm.journal.lines[-1][1] == "5 log lines suppressed: 5 like 'sink %s is down'"
    before = len(storm.journal.lines)
    storm.advance(10 * TELL_NS)
    assert len(storm.journal.lines) == before, "told once"


def test_the_end_tells_what_is_not_told_yet() -> None:
    storm = Storm()
    for _ in range(BURST + 3):
        storm.log("x %s", 1)
    storm.handler.close()
    assert storm.journal.lines[-1][1] == "3 log lines suppressed: 3 like 'x %s'"


def test_memory_is_bounded_however_many_kinds_there_are() -> None:
    limit = LogLimit()
    for number in range(20 * KINDS):
        limit.admit((f"logger{number}", logging.INFO, "text"), number * MILLISECOND)
    assert len(limit._kinds) <= KINDS + 1
    assert len(limit._left_out) <= KINDS + 1
    limit.admit(("later", logging.INFO, "text"), 10**15)
    assert sum(limit._left_out.values()) <= 20 * KINDS


def test_kinds_are_told_by_the_source_s_text() -> None:
    def kind(text: str, *args: object) -> str:
        return kind_of(logging.LogRecord("agent.x", logging.INFO, "f", 1, text, args, None))[2]

    assert kind("%s was not judged: %s", "c1", "why") == kind("%s was not judged: %s", "c2", "else")
    assert kind("%s", "sink 1 is down since 12:30") == kind("%s", "sink 2 is down since 12:41")
    assert kind("%s", "one thing") != kind("%s", "another")


@pytest.fixture
def unlimited() -> Iterator[None]:
    """The seeded bug: a limit that admits everything."""
    right = LogLimit.admit
    LogLimit.admit = lambda *_: 0  # type: ignore[method-assign]
    yield
    LogLimit.admit = right  # type: ignore[method-assign]


@pytest.mark.usefixtures("unlimited")
def test_the_harness_catches_a_limit_that_is_none() -> None:
    storm = Storm()
    for _ in range(10):
        sink_flaps(storm)
        storm.advance(2 * SECOND)
    assert storm.worst(60) > ALL_BURST + 60


# --- events ----------------------------------------------------------------------------------------------------------


def test_a_storm_of_events_is_a_few_a_minute_and_a_sum() -> None:
    limit, kept = EventLimit(), []
    sent = 0
    for second in range(600):
        for number in range(50):
            record = EventRecord("sink", second * SECOND + number, f"sink central: attempt {sent}", circuit="c1")
            kept += limit.admit(record, second * SECOND)
            sent += 1
    kept += limit.over(10**15)
    assert len(kept) <= 10 * (PER_MINUTE + 1)
    assert sum(record.count or 1 for record in kept) == sent
    sums = [record for record in kept if record.count]
    assert len(sums) == 10
    assert sums[0].text.startswith(
        f"{3000 - PER_MINUTE} more of this kind in a minute, the last: sink central: attempt "
    )
    assert sums[0].end_ns is not None
    assert 0 <= sums[0].at_ns < sums[0].end_ns < 60 * SECOND


def test_gaps_and_sessions_are_never_summed_up() -> None:
    limit = EventLimit()
    for kind in ALWAYS - {STOP}:
        for number in range(500):
            assert limit.admit(EventRecord(kind, number, "x"), 0) == [EventRecord(kind, number, "x")]


def test_kinds_are_bounded_too() -> None:
    limit = EventLimit()
    kept = [record for number in range(10_000) for record in limit.admit(EventRecord(f"kind{number}", 0, "x"), 0)]
    assert len(kept) <= EVENT_KINDS + PER_MINUTE
    assert sum(record.count or 1 for record in [*kept, *limit.over(10**12)]) == 10_000


def test_the_store_keeps_the_sum_of_a_storm_before_its_stop(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="test")
    for number in range(1000):
        store.event(EventRecord("flap", number, f"number {number}"))
        store.event(EventRecord(GAP, number, "gap", number + 1, "frozen"))
    assert store.close(30.0)
    with StoreReader.open(tmp_path / "store") as reader:
        flaps = reader.events(kind="flap", limit=5000)
        assert sum(record.count or 1 for record in flaps) == 1000
        assert len(flaps) <= 2 * (PER_MINUTE + 1)
        assert len([item for item in reader.events(kind=GAP, limit=5000) if item.text == "gap"]) == 1000
        assert reader.events(limit=1)[0].kind == STOP
