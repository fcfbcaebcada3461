"""The APScheduler adapter: monotonic rhythm, no flood and no stall after a clock step, skips are told."""

import threading
from datetime import UTC, datetime, timedelta

import apscheduler.job
import apscheduler.schedulers.base
import apscheduler.schedulers.blocking
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.schedule import MonotonicEvery, Schedule, WallCron, Work
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from tests.fakes.clock import FakeClock


def moment(clock: FakeClock) -> datetime:
    return datetime.fromtimestamp(clock.wall() / SECOND, UTC)


def test_the_rhythm_holds_its_phase_without_drift() -> None:
    # first at +3 s, then every 10 s: due at 3, 13, 23 ... on the monotonic clock, even when fired 40 ms late.
    clock = FakeClock()
    begin = clock.monotonic()
    trigger = MonotonicEvery(clock, 10 * SECOND, 3 * SECOND)
    due = trigger.get_next_fire_time(None, moment(clock))
    for expected in range(3, 103, 10):
        wait = (due - moment(clock)) / timedelta(microseconds=1)
        assert clock.monotonic() + round(wait) * 1000 - begin == pytest.approx(expected * SECOND, abs=2000)
        clock.advance(begin + expected * SECOND + 40 * MILLISECOND - clock.monotonic())
        due = trigger.get_next_fire_time(due, moment(clock))


@given(
    every=st.integers(1, 3600).map(lambda s: s * SECOND),
    step=st.integers(-(10**8), 10**8).map(lambda s: s * SECOND),
    late=st.integers(0, 10**10),
)
def test_a_clock_step_never_yields_more_than_one_run_nor_a_wait_beyond_one_period(
    every: int, step: int, late: int
) -> None:
    clock = FakeClock()
    trigger = MonotonicEvery(clock, every, 0)
    due = trigger.get_next_fire_time(None, moment(clock))
    clock.step(step)
    clock.advance(late)
    now = moment(clock)
    runs = 0
    while due <= now:
        runs += 1
        due = trigger.get_next_fire_time(due, now)
        assert runs <= 1
    fresh = trigger.get_next_fire_time(None, now)
    assert timedelta(0) <= fresh - now <= timedelta(microseconds=every / 1000 + 1)


def test_firing_a_little_early_does_not_fire_the_same_point_twice() -> None:
    clock = FakeClock()
    trigger = MonotonicEvery(clock, 10 * SECOND, 10 * SECOND)
    due = trigger.get_next_fire_time(None, moment(clock))
    clock.advance(10 * SECOND - 3 * MILLISECOND)
    following = trigger.get_next_fire_time(due, due)
    assert following - moment(clock) > timedelta(seconds=9)


def test_cron_does_not_replay_a_month_that_the_clock_jumped_over() -> None:
    cron = WallCron.from_crontab("*/5 * * * *", timezone=UTC)
    before = datetime(2026, 10, 1, 12, 0, 30, tzinfo=UTC)
    due = cron.get_next_fire_time(None, before)
    assert due == datetime(2026, 10, 1, 12, 5, tzinfo=UTC)
    jumped = before + timedelta(days=30)
    assert cron.get_next_fire_time(due, jumped) == datetime(2026, 10, 31, 12, 5, tzinfo=UTC)


def test_cron_fires_each_point_once_when_asked_exactly_on_it() -> None:
    cron = WallCron.from_crontab("15 3 * * *", timezone=UTC)
    point = datetime(2026, 10, 1, 3, 15, tzinfo=UTC)
    assert cron.get_next_fire_time(point, point) == point + timedelta(days=1)


class SteppedDatetime(datetime):
    """Stands in for datetime inside the scheduler: wall time plus a step that the test sets."""

    step = timedelta(0)

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + cls.step


class SteppedClock(SystemClock):
    """The system's clocks, with the wall stepped like SteppedDatetime."""

    def wall(self) -> int:
        return super().wall() + int(SteppedDatetime.step / timedelta(microseconds=1)) * 1000


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> type[SteppedDatetime]:
    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", SteppedDatetime)
    monkeypatch.setattr(apscheduler.schedulers.blocking, "datetime", SteppedDatetime, raising=False)
    SteppedDatetime.step = timedelta(0)
    return SteppedDatetime


@pytest.mark.serial
@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(days=30), timedelta(days=-365)])
def test_the_running_schedule_goes_on_after_a_step(stepped: type[SteppedDatetime], step: timedelta) -> None:
    ran = threading.Semaphore(0)
    events: list[str] = []
    schedule = Schedule(SteppedClock(), event=lambda kind, _text: events.append(kind))
    schedule.add(Work("beat", ran.release, every_ns=200 * MILLISECOND))
    schedule.start()
    try:
        assert ran.acquire(timeout=5)
        stepped.step = step
        for _ in range(10):
            assert ran.acquire(timeout=5), "the schedule stalled after the step"
        assert events == ["clock_step"]
        # Ten periods were seen; a flood would have queued thousands behind them.
        extra = 0
        while ran.acquire(timeout=0):
            extra += 1
        assert extra < 20
    finally:
        schedule.close()


@pytest.mark.serial
def test_the_step_bench_catches_a_trigger_that_trusts_wall_time(stepped: type[SteppedDatetime]) -> None:
    from apscheduler.schedulers.background import BackgroundScheduler

    ran = threading.Semaphore(0)
    plain = BackgroundScheduler(timezone=UTC)
    plain.add_job(ran.release, "interval", seconds=0.2, max_instances=1)
    plain.start()
    try:
        assert ran.acquire(timeout=5)
        stepped.step = timedelta(hours=-1)
        while ran.acquire(timeout=1.0):
            pass
        assert not ran.acquire(timeout=1.0), "the bench should have seen the plain scheduler stall"
    finally:
        plain.shutdown(wait=False)


def test_work_that_is_still_running_when_due_again_is_skipped_with_the_reason() -> None:
    release, skipped = threading.Event(), threading.Event()
    reasons: list[str] = []

    def note(reason: str) -> None:
        reasons.append(reason)
        skipped.set()

    schedule = Schedule(SystemClock())
    schedule.add(Work("slow", lambda: release.wait(10) and None, every_ns=50 * MILLISECOND, skipped=note))
    schedule.start()
    try:
        assert skipped.wait(5)
    finally:
        release.set()
        schedule.close()
    assert reasons[0] == "the previous run is still in progress"


def test_removed_work_does_not_run_again_and_unknown_ids_are_ignored() -> None:
    ran = threading.Semaphore(0)
    schedule = Schedule(SystemClock())
    schedule.add(Work("once", ran.release, every_ns=20 * MILLISECOND))
    schedule.start()
    try:
        assert ran.acquire(timeout=5)
        schedule.remove(["once", "never heard of"])
        assert schedule.next_runs() == {}
    finally:
        schedule.close()


def test_a_run_beside_the_rhythm_comes_at_once_and_unknown_ids_are_ignored() -> None:
    ran = threading.Semaphore(0)
    schedule = Schedule(SystemClock())
    schedule.add(Work("rare", ran.release, every_ns=3600 * SECOND, first_after_ns=3600 * SECOND))
    schedule.start()
    try:
        schedule.run_now("never heard of")
        schedule.run_now("rare")
        assert ran.acquire(timeout=5)
        assert set(schedule.next_runs()) == {"rare"}
    finally:
        schedule.close()


def test_work_that_raises_is_reported_and_goes_on() -> None:
    reasons: list[str] = []
    twice = threading.Semaphore(0)

    def fail() -> None:
        twice.release()
        raise RuntimeError("boom")

    schedule = Schedule(SystemClock())
    schedule.add(Work("bad", fail, every_ns=20 * MILLISECOND, skipped=reasons.append))
    schedule.start()
    try:
        assert twice.acquire(timeout=5)
        assert twice.acquire(timeout=5)
    finally:
        schedule.close()
    assert "internal error: boom" in reasons
