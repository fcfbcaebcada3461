"""The self-check gate: what a second of trouble does to the samples around it, what is kept of it, when it alarms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from agent.canary import LOST, NOTHING, Seen
from agent.gate import ALARM_EVENT, DAY, IMPAIRED_EVENT, ROW, Gate, judge
from agent.health import HostHealth, HostState
from agent.store.hostseconds import AT, COLUMNS, Breach, HostSeconds
from agent.store.records import EventRecord
from probes.core.arrays import ABSENT
from probes.core.clock import MILLISECOND, SECOND
from tests.fakes.clock import FakeClock

SPAN = 10 * SECOND
FIT = HostState(
    at_ns=0, elapsed_ns=SECOND, load=0.1, stolen=0.0, cpu_pressure=0.9, memory_pressure=0.0, io_pressure=1.0,
    memory_available=0.5, resident=50_000_000, clock_synchronised=True, clock_error_ns=2_000, clock_offset_ns=7,
)  # fmt: skip


class ToldHealth(HostHealth):
    """Says what the test tells it."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self.told = clock, FIT
        self._state = FIT

    def observe(self) -> HostState:
        self._state = replace(self.told, at_ns=self._clock.wall())
        return self._state


class ToldCanary:
    """Says what the test tells it."""

    def __init__(self) -> None:
        self.told, self.sent, self.closed = NOTHING, 0, 0

    def look(self) -> Seen:
        return self.told

    def send(self) -> None:
        self.sent += 1

    def close(self) -> None:
        self.closed += 1


@dataclass
class Bench:
    clock: FakeClock = field(default_factory=FakeClock)
    lateness_ns: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    kept: list[HostSeconds] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.health, self.canary = ToldHealth(self.clock), ToldCanary()
        self.gate = Gate(
            self.clock, self.health, span_ns=SPAN, lateness=lambda: self.lateness_ns,
            counters=lambda: dict(self.counters), carriers_down=lambda: 1, canary=self.canary,
            keep=self.kept.append, event=self.events.append,
        )  # fmt: skip

    def seconds(self, number: int, **told: object) -> None:
        self.health.told = replace(FIT, **told)  # type: ignore[arg-type] # by name
        for _ in range(number):
            self.clock.advance(SECOND)
            self.gate.observe()


def test_a_loaded_host_is_fit_as_long_as_its_packets_leave_in_time() -> None:
    """CPU and disk pressure are kept, but round trips stay true under both: they break no limit."""
    bench = Bench()
    bench.seconds(30)
    assert bench.gate.gate() is None
    assert bench.gate.share() == (30, 0)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"stolen": 0.62}, "the hypervisor stole 62% of this host's CPU time"),
        ({"memory_available": 0.011}, "only 1.1% of this host's memory is available"),
        ({"memory_pressure": 0.7}, "this host stood still 70% of the time for want of memory"),
        ({"elapsed_ns": 4_260 * MILLISECOND}, "this agent did not run for 4.2s"),
    ],
)
def test_an_unfit_second_counts_for_its_interval_and_no_longer(told: dict[str, float], reason: str) -> None:
    bench = Bench()
    bench.seconds(1, **told)
    bench.seconds(9)
    assert bench.gate.gate() == reason
    bench.seconds(3)
    assert bench.gate.gate() is None
    assert bench.gate.share() == (13, 1)


def test_limits_are_broken_beyond_them_only() -> None:
    at_the_limit = replace(FIT, stolen=0.5, memory_available=0.02, memory_pressure=0.5, elapsed_ns=3 * SECOND)
    assert judge(at_the_limit, 500 * MILLISECOND, 0, Seen(100 * MILLISECOND, 60 * SECOND)) == {}
    assert judge(FIT, 500 * MILLISECOND + 1, 0, NOTHING) == {Breach.LATE: "packets left 500ms late"}
    assert judge(FIT, 0, 0, Seen(100 * MILLISECOND + 1)) == {
        Breach.CANARY: "a packet from this host to itself took 100ms"
    }


def test_a_canary_that_is_missing_makes_its_second_unfit_in_its_words() -> None:
    bench = Bench()
    bench.canary.told = Seen(1_200, 60_000)
    bench.seconds(3)
    assert bench.gate.gate() is None
    bench.canary.told = Seen(missing=LOST)
    begin = bench.clock.wall()
    bench.seconds(2)
    bench.canary.told = NOTHING
    bench.seconds(5)
    assert bench.gate.gate() == LOST
    assert bench.gate.share() == (10, 2)
    bench.seconds(8)
    assert bench.gate.gate() is None
    assert [(item.text, item.at_ns, item.end_ns) for item in bench.events] == [
        (f"this host was unfit to measure: {LOST}", begin, begin + 2 * SECOND)
    ]
    bench.gate.close()
    assert (bench.canary.sent, bench.canary.closed) == (18, 1)
    columns = bench.kept[0].values[:, [AT["canary_ns"], AT["canary_user_ns"], AT["breach"]]].tolist()
    assert columns == [[1_200, 60_000, 0]] * 3 + [[ABSENT, ABSENT, 32]] * 2 + [[ABSENT, ABSENT, 0]] * 13


def test_each_limit_is_told_once_however_often_it_was_broken() -> None:
    bench = Bench()
    for stolen in (0.7, 0.8, 0.9):
        bench.lateness_ns = 900 * MILLISECOND
        bench.seconds(1, stolen=stolen)
    assert bench.gate.gate() == "the hypervisor stole 70% of this host's CPU time; packets left 900ms late"


def test_dropped_replies_are_impaired_time_but_concern_the_streams_of_one_socket() -> None:
    """The engine marks those itself."""
    bench = Bench()
    bench.counters = {"local_drops": 5}
    bench.seconds(1)
    assert bench.gate.gate() is None
    assert bench.gate.share() == (1, 1)
    bench.seconds(1)
    assert bench.gate.share() == (2, 1)


def test_a_row_holds_a_minute_of_values() -> None:
    bench = Bench()
    bench.counters = {"not_sent": 3}
    bench.lateness_ns = 2 * MILLISECOND
    bench.canary.told = Seen(900)
    bench.seconds(1, stolen=0.25, cpu_pressure=None, clock_offset_ns=7 + SECOND)
    bench.seconds(ROW - 1, clock_offset_ns=7 + SECOND)
    (row,) = bench.kept
    first = dict(zip(COLUMNS, row.values[0].tolist(), strict=True))
    assert first == {
        "at_ns": bench.clock.wall() - (ROW - 1) * SECOND, "elapsed_ns": SECOND, "load_ppm": 100_000,
        "stolen_ppm": 250_000, "cpu_pressure_ppm": ABSENT, "memory_pressure_ppm": 0, "io_pressure_ppm": 1_000_000,
        "memory_available_ppm": 500_000, "lateness_ns": 2 * MILLISECOND, "local_drops": 0, "not_sent": 3,
        "clock_step_ns": SECOND, "clock_error_ns": 2_000, "carriers_down": 1, "breach": 0,
        "canary_ns": 900, "canary_user_ns": ABSENT,
    }  # fmt: skip
    assert row.values[1:, AT["not_sent"]].tolist() == [0] * (ROW - 1)
    assert row.values[1:, AT["clock_step_ns"]].tolist() == [0] * (ROW - 1)


def test_the_end_of_the_agent_keeps_what_has_no_full_row() -> None:
    bench = Bench()
    bench.seconds(ROW + 5)
    bench.seconds(2, stolen=0.9)
    bench.gate.close()
    assert [len(row) for row in bench.kept] == [ROW, 7]
    (event,) = bench.events
    assert (event.kind, event.at_ns, event.end_ns) == (
        IMPAIRED_EVENT, bench.clock.wall() - 2 * SECOND, bench.clock.wall(),
    )  # fmt: skip
    bench.gate.close()
    assert (len(bench.kept), len(bench.events)) == (2, 1)


def test_a_run_of_unfit_seconds_is_one_event() -> None:
    bench = Bench()
    bench.seconds(5)
    begin = bench.clock.wall()
    bench.seconds(4, stolen=0.9)
    bench.seconds(5)
    assert [(item.kind, item.at_ns, item.end_ns) for item in bench.events] == [
        (IMPAIRED_EVENT, begin, begin + 4 * SECOND)
    ]


def test_more_than_a_hundredth_of_the_day_is_alarmed_once_and_shown_until_it_is_past() -> None:
    bench = Bench()
    bench.seconds(3600)
    bench.seconds(36, stolen=0.9)
    assert bench.gate.alarm() is None
    bench.seconds(14, stolen=0.9)
    bench.seconds(10)
    assert bench.gate.share() == (3660, 50)
    alarm = "this host was unfit to measure in 1.37% of the last day (50s): `linkwitness host` says when and why"
    assert bench.gate.alarm() == alarm
    bench.seconds(600)
    assert [item.text for item in bench.events if item.kind == ALARM_EVENT] == [alarm]
    bench.seconds(1000)
    assert bench.gate.alarm() is None


def test_the_first_hour_alarms_nobody() -> None:
    bench = Bench()
    bench.seconds(60, stolen=0.9)
    assert bench.gate.alarm() is None


def test_a_day_is_a_day_and_an_earlier_process_counts() -> None:
    """Rows leave the count once a whole day came after them."""
    bench = Bench()
    values = np.zeros((DAY, len(COLUMNS)), np.int64)
    values[:600, AT["breach"]] = int(Breach.STOLEN)
    bench.gate.remember(HostSeconds(values))
    assert bench.gate.share() == (DAY, 600)
    bench.seconds(600)
    assert bench.gate.share() == (DAY, 0)
