"""Runs that load a path: one at a time per circuit and per remote, in order, never waiting for ever."""

import threading

from agent.exclusive import MAXIMUM_RUNNING, MAXIMUM_WAITING, ExclusiveRuns, Ticket
from probes.core.clock import SECOND
from tests.fakes.clock import FakeClock


class Bench:
    """Runs that block until released, with a record of what began, ended and was skipped."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.runs = ExclusiveRuns(self.clock)
        self.begun: list[str] = []
        self.skipped: list[tuple[str, str]] = []
        self.release: dict[str, threading.Event] = {}
        self.started: dict[str, threading.Event] = {}

    def ticket(self, identity: str, *keys: str, slip_s: int = 60) -> Ticket:
        self.release[identity], self.started[identity] = threading.Event(), threading.Event()

        def call() -> None:
            self.begun.append(identity)
            self.started[identity].set()
            assert self.release[identity].wait(10)

        return Ticket(identity, keys, call, lambda reason: self.skipped.append((identity, reason)), slip_s * SECOND)

    def has_begun(self, identity: str) -> bool:
        return self.started[identity].wait(5)


def test_runs_that_share_a_remote_go_one_after_the_other() -> None:
    bench = Bench()
    bench.runs.offer(bench.ticket("a", "circuit a", "remote r"))
    bench.runs.offer(bench.ticket("b", "circuit b", "remote r"))
    assert bench.has_begun("a")
    assert bench.begun == ["a"]
    bench.release["a"].set()
    assert bench.has_begun("b")
    bench.release["b"].set()
    assert bench.runs.close("stop", 5)
    assert bench.skipped == []


def test_runs_without_a_common_key_go_side_by_side() -> None:
    bench = Bench()
    bench.runs.offer(bench.ticket("a", "circuit a", "remote r"))
    bench.runs.offer(bench.ticket("b", "circuit b", "remote s"))
    assert bench.has_begun("a")
    assert bench.has_begun("b")
    for release in bench.release.values():
        release.set()
    assert bench.runs.close("stop", 5)


def test_a_later_run_does_not_overtake_one_that_waits_for_the_same_remote() -> None:
    bench = Bench()
    bench.runs.offer(bench.ticket("a", "circuit a", "remote r"))
    bench.runs.offer(bench.ticket("b", "circuit b", "remote r", "remote s"))
    bench.runs.offer(bench.ticket("c", "circuit c", "remote s"))
    assert bench.has_begun("a")
    assert bench.begun == ["a"]
    for release in bench.release.values():
        release.set()
    assert bench.has_begun("b")
    assert bench.has_begun("c")
    assert bench.begun.index("b") < bench.begun.index("c")
    assert bench.runs.close("stop", 5)


def test_a_run_that_waits_too_long_is_skipped_and_says_what_was_in_its_way() -> None:
    bench = Bench()
    bench.runs.offer(bench.ticket("a", "remote r"))
    bench.runs.offer(bench.ticket("b", "remote r", slip_s=60))
    assert bench.has_begun("a")
    bench.clock.advance(59 * SECOND)
    bench.runs.expire()
    assert bench.skipped == []
    bench.clock.advance(2 * SECOND)
    bench.runs.expire()
    assert bench.skipped == [("b", "could not start within 60 s: remote r was in use by a")]
    bench.release["a"].set()
    assert bench.runs.close("stop", 5)
    assert bench.begun == ["a"]


def test_a_run_never_overlaps_or_queues_behind_itself() -> None:
    bench = Bench()
    bench.runs.offer(bench.ticket("a", "remote r"))
    assert bench.has_begun("a")
    first = bench.release["a"]
    bench.runs.offer(bench.ticket("a", "remote r"))
    bench.runs.offer(bench.ticket("b", "remote r"))
    bench.runs.offer(bench.ticket("b", "remote r"))
    assert bench.skipped == [
        ("a", "the previous run is still in progress"),
        ("b", "the previous run is still waiting for its turn"),
    ]
    first.set()
    assert bench.has_begun("b")
    bench.release["b"].set()
    assert bench.runs.close("stop", 5)


def test_closing_skips_what_waits_and_reports_what_still_runs() -> None:
    bench = Bench()
    bench.runs.offer(bench.ticket("a", "remote r"))
    bench.runs.offer(bench.ticket("b", "remote r"))
    assert bench.has_begun("a")
    assert not bench.runs.close("the agent is stopping", 0.01)
    assert bench.skipped == [("b", "the agent is stopping")]
    bench.release["a"].set()
    assert bench.runs.close("the agent is stopping", 5)
    bench.runs.offer(bench.ticket("c"))
    assert bench.skipped[-1] == ("c", "the agent is stopping")


def test_the_number_of_running_and_waiting_runs_is_bounded() -> None:
    bench = Bench()
    total = MAXIMUM_RUNNING + MAXIMUM_WAITING
    for number in range(total + 3):
        bench.runs.offer(bench.ticket(f"run{number}", f"remote {number}"))
    assert len(bench.skipped) == 3
    assert {reason for _, reason in bench.skipped} == {f"{MAXIMUM_WAITING} exclusive runs are waiting already"}
    assert bench.has_begun("run0")
    assert len(bench.begun) <= MAXIMUM_RUNNING
    for release in bench.release.values():
        release.set()
    bench.runs.close("stop", 5)


def test_a_run_that_fails_frees_its_keys_and_is_recorded() -> None:
    bench = Bench()

    def fail() -> None:
        raise RuntimeError("boom")

    bench.runs.offer(Ticket("a", ("remote r",), fail, lambda reason: bench.skipped.append(("a", reason)), SECOND))
    bench.runs.offer(bench.ticket("b", "remote r"))
    assert bench.has_begun("b")
    bench.release["b"].set()
    assert bench.runs.close("stop", 5)
    assert bench.skipped == [("a", "internal error: boom")]
