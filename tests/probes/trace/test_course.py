"""Which hop is asked when, against routers that answer as real ones do; time is simulated."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.core.clock import MILLISECOND, SECOND
from probes.trace.course import AHEAD, Course
from probes.trace.order import Said


@dataclass
class Routers:
    """A path: who answers at each ttl; a router gives `burst` errors at once and one each second from then on."""

    addresses: list[str | None]
    rtt_ns: int = 20 * MILLISECOND
    burst: int = 6
    target: bool = True
    lost: set[tuple[int, int]] = field(default_factory=set)
    """(ttl, count) of packets that are lost"""
    sent: list[tuple[int, int]] = field(default_factory=list)
    """(time, ttl)"""
    answers: dict[int, int] = field(default_factory=dict)
    _tokens: dict[str, tuple[float, int]] = field(default_factory=dict)

    def ask(self, now: int, ttl: int) -> tuple[str, Said] | None:
        count = sum(asked == ttl for _, asked in self.sent)
        self.sent.append((now, ttl))
        place = min(ttl, len(self.addresses)) if self.target else ttl
        address = self.addresses[place - 1] if place <= len(self.addresses) else None
        if address is None or (ttl, count) in self.lost:
            return None
        tokens, since = self._tokens.get(address, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - since) / SECOND)
        self._tokens[address] = (max(0.0, tokens - 1 if tokens >= 1 else tokens), now)
        if tokens < 1:
            return None
        self.answers[ttl] = self.answers.get(ttl, 0) + 1
        return address, Said.TARGET if self.target and place == len(self.addresses) else Said.EXCEEDED


def run(routers: Routers, *, probes: int = 3, max_hops: int = 30, silent: int = 5) -> tuple[Course, int]:
    """The course at its end, and how long it took (ns)."""
    course = Course(max_hops, probes, SECOND, silent)
    now, begin = 10 * SECOND, 10 * SECOND
    coming: list[tuple[int, int, str, Said]] = []
    for _ in range(10_000):
        if course.done(now):
            return course, now - begin
        while coming and coming[0][0] <= now:
            _, ttl, address, said = heapq.heappop(coming)
            course.heard(ttl, address, said, now)
        ttl_now = course.next(now)
        if ttl_now is not None:
            course.sent(ttl_now, now)
            if (answer := routers.ask(now, ttl_now)) is not None:
                heapq.heappush(coming, (now + routers.rtt_ns, ttl_now, *answer))
            continue
        wake = course.wake(now)
        if wake is None:
            continue
        assert wake > now
        now = min(wake, coming[0][0]) if coming else wake
    raise AssertionError("the trace does not end")


def test_every_hop_answers_every_packet_and_fast() -> None:
    routers = Routers([f"r{k}" for k in range(9)])
    course, took = run(routers)
    assert course.end == 9
    assert [routers.answers[ttl] for ttl in range(1, 10)] == [3] * 9
    assert took < 2 * SECOND
    assert sum(ttl > 9 for _, ttl in routers.sent) < AHEAD, "the target is spared"


def test_a_router_that_limits_its_answers_is_not_made_silent() -> None:
    routers = Routers([f"r{k}" for k in range(5)], burst=1)
    _, took = run(routers, probes=3)
    assert all(routers.answers[ttl] >= 2 for ttl in range(1, 6))
    assert took < 10 * SECOND


def test_silent_hops_are_asked_slowly_and_hold_nothing_up() -> None:
    routers = Routers(["a", None, None, "d", None, "f"])
    course, took = run(routers)
    assert course.end == 6
    assert sum(ttl == 2 for _, ttl in routers.sent) == 3
    asked = [at for at, ttl in routers.sent if ttl == 2]
    assert min(later - at for at, later in itertools.pairwise(asked)) >= SECOND
    assert took < 6 * SECOND


def test_the_end_after_silent_hops() -> None:
    routers = Routers(["a", "b"], target=False)
    course, _ = run(routers, silent=4)
    assert course.end is None
    assert max(ttl for _, ttl in routers.sent) == 6
    assert all(sum(asked == ttl for _, asked in routers.sent) == 3 for ttl in range(1, 7))


def test_never_more_hops_than_allowed() -> None:
    routers = Routers([f"r{k}" for k in range(40)])
    run(routers, max_hops=7)
    assert max(ttl for _, ttl in routers.sent) == 7


def test_a_loop_is_noticed_and_a_repeated_address_is_none() -> None:
    course, _ = run(Routers(["a", *["b", "c"] * 15], target=False))
    assert course.looped
    assert course.end is not None
    assert course.end < 10
    course, _ = run(Routers(["a", "b", "b", "b", "c"]))
    assert not course.looped
    assert course.end == 5


def test_an_error_ends_the_path_there() -> None:
    course = Course(30, 3, SECOND, 5)
    for ttl in (1, 2, 3):
        course.sent(ttl, 0)
    course.heard(3, "c", Said.ERROR, MILLISECOND)
    course.heard(2, "b", Said.ERROR, MILLISECOND)
    assert course.end == 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 99).map(str)), min_size=1, max_size=12),
    st.integers(1, 4),
    st.integers(1, 6),
    st.booleans(),
    st.sets(st.tuples(st.integers(1, 12), st.integers(0, 3)), max_size=8),
)
def test_a_trace_ends_and_asks_each_hop_as_often_as_told(
    addresses: list[str | None], probes: int, burst: int, target: bool, lost: set[tuple[int, int]]
) -> None:
    routers = Routers(addresses, burst=burst, target=target, lost=lost)
    course, took = run(routers, probes=probes)
    last = course.end or max(ttl for _, ttl in routers.sent)
    assert all(sum(asked == ttl for _, asked in routers.sent) == probes for ttl in range(1, last + 1))
    assert took < 60 * SECOND


@pytest.mark.parametrize("rtt_ms", [1, 100, 700])
def test_slow_paths(rtt_ms: int) -> None:
    routers = Routers(["a", "b", "c"], rtt_ns=rtt_ms * MILLISECOND)
    assert run(routers)[0].end == 3
    assert routers.answers == dict.fromkeys((1, 2, 3), 3) | {t: n for t, n in routers.answers.items() if t > 3}
