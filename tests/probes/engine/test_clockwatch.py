"""Steps, suspends and freezes are told apart."""

import pytest

from probes.core.clock import MILLISECOND, SECOND
from probes.engine.clockwatch import ClockWatch
from tests.fakes.clock import FakeClock


class SleepyClock(FakeClock):
    """Can be suspended: boot time and wall time go on, monotonic time does not."""

    asleep_ns = 0

    def boot(self) -> int:
        return self.monotonic() + self.asleep_ns

    def suspend(self, nanoseconds: int) -> None:
        self.asleep_ns += nanoseconds
        self.step(nanoseconds)


class PreemptedClock(FakeClock):
    """The process loses the CPU between two readings, some times in a row."""

    pauses = 0

    def wall(self) -> int:
        value = super().wall()
        if self.pauses:
            self.pauses -= 1
            self.advance(5 * MILLISECOND)
        return value


def test_nothing_happened() -> None:
    clock = FakeClock()
    watch = ClockWatch(clock)
    clock.advance(90 * MILLISECOND)
    before, now, found = watch.tick()
    assert found == ()
    assert now.monotonic_ns - before.monotonic_ns == 90 * MILLISECOND
    assert now.wall_ns == clock.wall()


@pytest.mark.parametrize(
    "step", [51 * MILLISECOND, -51 * MILLISECOND, 3600 * SECOND, -(10**8) * SECOND, 10**8 * SECOND]
)
def test_a_step_of_the_clock(step: int) -> None:
    clock = FakeClock(wall_ns=2 * 10**18)
    watch = ClockWatch(clock)
    clock.advance(10 * MILLISECOND)
    clock.step(step)
    before, now, found = watch.tick()
    assert [(one.kind, one.impairs) for one in found] == [("clock_step", False)]
    assert ("back" in found[0].text) == (step < 0)
    assert found[0].reason == ("clock set back" if step < 0 else "clock set forward")
    assert found[0].end_ns - found[0].begin_ns == abs(step)
    assert (found[0].begin_ns if step < 0 else found[0].end_ns) == now.wall_ns
    assert now.offset_ns - before.offset_ns == step
    assert (now.stepped_after_ns, now.stepped_before_ns) == (before.monotonic_ns, now.monotonic_ns)
    clock.advance(MILLISECOND)
    _, later, found = watch.tick()
    assert found == ()
    assert (later.stepped_after_ns, later.stepped_before_ns) == (now.stepped_after_ns, now.stepped_before_ns)


def test_slewing_is_no_step() -> None:
    clock = FakeClock()
    watch = ClockWatch(clock)
    for _ in range(100):
        clock.advance(100 * MILLISECOND)
        clock.step(50_000)
        assert watch.tick()[2] == ()


def test_a_suspend_is_not_called_a_step() -> None:
    clock = SleepyClock()
    watch = ClockWatch(clock)
    clock.suspend(600 * SECOND)
    found = watch.tick()[2]
    assert [(one.kind, one.text, one.impairs) for one in found] == [("suspend", "this host slept for 10m", True)]
    assert (found[0].reason, found[0].end_ns - found[0].begin_ns) == ("host slept", 600 * SECOND)
    assert found[0].end_ns == clock.wall()


def test_a_freeze() -> None:
    clock = FakeClock()
    watch = ClockWatch(clock)
    clock.advance(SECOND)
    assert watch.tick()[2] == ()
    clock.advance(2500 * MILLISECOND)
    found = watch.tick()[2]
    assert [(one.kind, one.text) for one in found] == [("gap", "this process stood still for 2.5s")]
    assert (found[0].reason, found[0].end_ns - found[0].begin_ns) == ("frozen", 2500 * MILLISECOND)
    assert found[0].end_ns == clock.wall()


def test_frozen_while_the_clock_is_set_forward_is_told_apart() -> None:
    clock = FakeClock()
    watch = ClockWatch(clock)
    start = clock.wall()
    clock.advance(5 * SECOND)
    clock.step(3600 * SECOND)
    step, freeze = watch.tick()[2]
    assert (step.reason, step.begin_ns, step.end_ns) == ("clock set forward", start + 5 * SECOND, clock.wall())
    assert (freeze.reason, freeze.begin_ns, freeze.end_ns) == ("frozen", start, start + 5 * SECOND)


@pytest.mark.parametrize("pauses", [1, 2, 3])
def test_losing_the_cpu_between_two_clocks_is_no_step(pauses: int) -> None:
    clock = PreemptedClock()
    watch = ClockWatch(clock)
    clock.pauses = pauses
    before, now, found = watch.tick()
    assert found == ()
    assert now.offset_ns == before.offset_ns


class Preempted(FakeClock):
    """A busy host: the reader of the clocks has to wait for a CPU between two of them."""

    wait_ns = 0

    def boot(self) -> int:
        read = super().boot()
        self.advance(self.wait_ns)
        return read

    def monotonic(self) -> int:
        read = super().monotonic()
        self.advance(self.wait_ns)
        return read


def test_waiting_for_a_cpu_between_two_clocks_is_no_sleep() -> None:
    clock = Preempted()
    watch = ClockWatch(clock)
    for wait_ms in (0, 97, 0, 300, 0):
        clock.wait_ns = wait_ms * MILLISECOND
        clock.advance(10 * MILLISECOND)
        _, _, found = watch.tick()
        assert [item.kind for item in found if item.kind == "suspend"] == []
