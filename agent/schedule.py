"""APScheduler adapter: flow probes and housekeeping, safe against clock steps, exclusive runs one at a time.

APScheduler thinks in wall time. Two things keep a clock step from hurting: the triggers here never enumerate missed
runs (a step forward yields at most one run), and a watcher compares wall with monotonic time every second and
reschedules all jobs after a step (a step back stalls nothing).
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, JobEvent
from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from agent.exclusive import ExclusiveRuns, Ticket
from agent.workers import Workers
from probes.core.clock import SECOND, Clock

log = logging.getLogger(__name__)

STEP_NS = SECOND
"""A change of wall minus monotonic time beyond this is a step, not a slew."""

FLOW_THREADS = 32
"""Attempts that wait for targets that are down must not hold up those at targets that are up."""

RunClass = Literal["exclusive", "normal", "prompt", "background"]
"""prompt: short housekeeping that must not queue behind flow probes; background: work that may take long"""
Skipped = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Work:
    """One recurring piece of work.

    `call` does it; `skipped` is told the reason of every run that did not happen. Exclusive work also gives `keys`:
    what it occupies (its circuit, its remote), asked for when a run is due.
    """

    id: str
    call: Callable[[], None]
    every_ns: int | None = None
    cron: str | None = None
    first_after_ns: int = 0
    run_class: RunClass = "normal"
    skipped: Skipped = lambda _reason: None
    keys: Callable[[], Iterable[str]] = tuple
    slip_ns: int = 300 * SECOND
    """an exclusive run that cannot start within this time is skipped"""


class MonotonicEvery(BaseTrigger):  # type: ignore[misc] # apscheduler has no type information
    """Fires at phase + k * every on the monotonic clock, whatever the wall clock does."""

    def __init__(self, clock: Clock, every_ns: int, first_after_ns: int) -> None:
        self._clock, self._every = clock, every_ns
        self._phase = clock.monotonic() + first_after_ns

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The next due point after now. Half a period of guard, so that slewed clocks never fire one point twice."""
        monotonic = self._clock.monotonic()
        after = monotonic if previous is None else monotonic + self._every // 2
        passed = (after - self._phase) // self._every + 1 if after >= self._phase else 0
        due = self._phase + passed * self._every
        return now + timedelta(microseconds=(due - monotonic) / 1000)


class WallCron(CronTrigger):  # type: ignore[misc] # apscheduler has no type information
    """Cron in UTC that never returns a point in the past: a step forward does not replay what it jumped over."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        after = now if previous is None else max(now, previous + timedelta(microseconds=1))
        following: datetime | None = super().get_next_fire_time(None, after)
        return following


class _Pool(BasePoolExecutor):  # type: ignore[misc] # apscheduler has no type information
    """APScheduler's executor on daemon threads: a run that hangs never keeps the process from ending."""

    def __init__(self, size: int, name: str) -> None:
        super().__init__(Workers(size, name))


class Schedule:
    """Runs Work in a bounded pool until closed. Thread-safe."""

    def __init__(
        self, clock: Clock, *, workers: int = FLOW_THREADS, event: Callable[[str, str], None] | None = None
    ) -> None:
        self._clock = clock
        self._event = event or (lambda _kind, _text: None)
        self._works: dict[str, Work] = {}
        self._exclusive = ExclusiveRuns(clock)
        self._stop = threading.Event()
        self._progress = clock.monotonic()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={
                "default": _Pool(workers, "flow"),
                "prompt": _Pool(2, "prompt"),
                "background": _Pool(2, "background"),
            },
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_listener(self._on_event, EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)
        self._watcher = threading.Thread(target=self._watch, name="schedule-watch", daemon=True)

    def start(self) -> None:
        self._scheduler.start()
        self._watcher.start()

    def add(self, work: Work) -> None:
        """Add or replace the work of this id."""
        trigger = self._trigger(work)
        self._works[work.id] = work
        self._scheduler.add_job(
            self._fire,
            trigger,
            args=(work.id,),
            id=work.id,
            replace_existing=True,
            executor=work.run_class if work.run_class in ("prompt", "background") else "default",
        )

    def remove(self, ids: Iterable[str]) -> None:
        """Forget work, also what waits for its turn; a run in progress ends by itself. Unknown ids are ignored."""
        for identity in ids:
            if self._works.pop(identity, None) is not None:
                with contextlib.suppress(JobLookupError):
                    self._scheduler.remove_job(identity)
                self._exclusive.withdraw(identity)

    def run_now(self, identity: str) -> None:
        """Begin a run of this work as soon as a thread is free, beside its rhythm. Unknown ids are ignored."""
        with contextlib.suppress(JobLookupError):
            self._scheduler.modify_job(identity, next_run_time=datetime.fromtimestamp(self._clock.wall() / SECOND, UTC))

    def next_runs(self) -> dict[str, datetime]:
        """Work id -> next due time (UTC)."""
        return {job.id: job.next_run_time for job in self._scheduler.get_jobs() if job.next_run_time}

    def progress(self) -> int:
        """Monotonic ns of the last second in which the watcher and the scheduler's own thread were alive."""
        return self._progress

    def close(self, timeout_s: float = 5.0) -> bool:
        """Stop firing, skip what waits, wait for what runs; False when something still ran at the deadline."""
        self._stop.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        idle = self._exclusive.close("the agent is stopping", timeout_s)
        if self._watcher.is_alive():
            self._watcher.join(timeout_s)
        return idle

    def _trigger(self, work: Work) -> BaseTrigger:
        if work.cron is not None:
            return WallCron.from_crontab(work.cron, timezone=UTC)
        if work.every_ns is None:
            raise ValueError(f"work {work.id} has neither every_ns nor cron")
        return MonotonicEvery(self._clock, work.every_ns, work.first_after_ns)

    def _fire(self, identity: str) -> None:
        work = self._works.get(identity)
        if work is None or self._stop.is_set():
            return
        if work.run_class != "exclusive":
            work.call()
            return
        ticket = Ticket(work.id, tuple(work.keys()), work.call, work.skipped, work.slip_ns)
        self._exclusive.offer(ticket)

    def _on_event(self, event: JobEvent) -> None:
        work = self._works.get(event.job_id)
        if event.code == EVENT_JOB_MAX_INSTANCES and work is not None:
            work.skipped("the previous run is still in progress")
        elif event.code == EVENT_JOB_ERROR:
            log.error("scheduled work %s failed: %s", event.job_id, event.exception)
            if work is not None:
                work.skipped(f"internal error: {event.exception}")

    def _watch(self) -> None:
        offset = self._clock.wall() - self._clock.monotonic()
        while not self._clock.wait(self._stop, SECOND):
            current = self._clock.wall() - self._clock.monotonic()
            if abs(current - offset) > STEP_NS:
                self._resume_after_step(current - offset)
            offset = current
            self._exclusive.expire()
            if self._scheduler.running and self._scheduler._thread.is_alive():
                self._progress = self._clock.monotonic()

    def _resume_after_step(self, step_ns: int) -> None:
        text = f"wall clock stepped by {step_ns / SECOND:+.3f} s; all scheduled work is re-timed"
        log.warning("%s", text)
        self._event("clock_step", text)
        for job in self._scheduler.get_jobs():
            if job.id in self._works:
                self._scheduler.reschedule_job(job.id, trigger=job.trigger)
