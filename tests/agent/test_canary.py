"""The canary's reasoning: what is lost, what may still come, what says nothing, what is no time at all."""

import errno
import os
from typing import ClassVar

import pytest

from agent import canary
from agent.canary import LOST, NOTHING, PATIENCE_NS, UNSENT, Canary, Seen
from probes.core.clock import MILLISECOND, SECOND
from tests.fakes.clock import FakeClock

STACK_NS, USER_NS = 1_200, 60_000


class FakeNest:
    """Sockets and stack as the test wants them: `fate` of the next canary, `refusal` of sending, `opens` at all."""

    fate: ClassVar[str] = "back"
    refusal: ClassVar[int | None] = None
    opens: ClassVar[bool] = True
    made: ClassVar[list["FakeNest"]]

    def __init__(self, clock: FakeClock) -> None:
        if not type(self).opens:
            raise OSError(errno.EADDRNOTAVAIL, "no loopback")
        self.clock, self.broken, self.closed = clock, False, False
        self.refused: int | None = None
        """errno of this pair alone"""
        self.sent: list[int] = []
        self.there: canary._Arrival | None = None
        type(self).made.append(self)

    def send(self, number: int) -> None:
        refusal = self.refused or type(self).refusal
        if refusal is not None:
            raise OSError(refusal, "refused")
        self.sent.append(number)
        self.left_ns = self.clock.wall()
        self.clock.advance(STACK_NS + USER_NS)
        if type(self).fate == "back":
            self.arrive(number)

    def arrive(self, number: int, step_ns: int = 0) -> None:
        kernel_ns = self.left_ns + STACK_NS + step_ns
        self.there = canary._Arrival(number, kernel_ns, kernel_ns + USER_NS, self.clock.monotonic())

    def arrival(self, number: int) -> "canary._Arrival | None":
        return self.there if self.there is not None and self.there.number == number else None

    def departure_ns(self) -> int | None:
        return self.left_ns

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def nests(monkeypatch: pytest.MonkeyPatch) -> type[FakeNest]:
    class Nests(FakeNest):
        made: ClassVar[list[FakeNest]] = []

    monkeypatch.setattr(canary, "_Nest", Nests)
    return Nests


class Watch:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.canary = Canary(self.clock)

    def seconds(self, number: int) -> list[Seen]:
        """As the gate does it: look, send, a second passes."""
        seen = []
        for _ in range(number):
            seen.append(self.canary.look())
            self.canary.send()
            self.clock.advance(SECOND)
        return seen


def test_it_comes_back_and_both_times_are_told(nests: type[FakeNest]) -> None:
    assert Watch().seconds(3) == [NOTHING, Seen(STACK_NS, USER_NS), Seen(STACK_NS, USER_NS)]
    assert [nest.sent for nest in nests.made] == [[1, 2, 3]]


def test_one_that_never_came_back_says_nothing_however_often(nests: type[FakeNest]) -> None:
    nests.fate = "lost"
    watch = Watch()
    assert watch.seconds(50) == [NOTHING] * 50
    nests.fate, nests.refusal = "back", errno.EPERM
    assert watch.seconds(50) == [NOTHING] * 50
    nests.refusal = None
    assert watch.seconds(3)[-1] == Seen(STACK_NS, USER_NS)


def test_one_that_is_lost_though_others_came_back_is_missing_until_one_comes_back(nests: type[FakeNest]) -> None:
    watch = Watch()
    watch.seconds(2)
    nests.fate = "lost"
    assert watch.seconds(4) == [Seen(STACK_NS, USER_NS)] + [Seen(missing=LOST)] * 3
    nests.fate = "back"
    assert watch.seconds(3) == [Seen(missing=LOST)] + [Seen(STACK_NS, USER_NS)] * 2


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.ENOBUFS, errno.ENETUNREACH, errno.EAGAIN])
def test_what_the_kernel_refuses_to_send_is_missing_in_the_kernels_words(nests: type[FakeNest], refusal: int) -> None:
    watch = Watch()
    watch.seconds(2)
    nests.refusal = refusal
    assert watch.seconds(3)[1:] == [Seen(missing=f"{UNSENT}: {os.strerror(refusal)}")] * 2
    nests.refusal = None
    assert watch.seconds(2)[1] == Seen(STACK_NS, USER_NS)
    assert [nest.closed for nest in nests.made] == [True] * (len(nests.made) - 1) + [False]


def test_a_look_too_early_waits_on_and_sends_no_second_one(nests: type[FakeNest]) -> None:
    watch = Watch()
    watch.seconds(2)
    nests.fate = "late"
    watch.canary.look()
    watch.canary.send()
    watch.clock.advance(PATIENCE_NS // 2)
    assert watch.canary.look() == NOTHING
    watch.canary.send()
    (nest,) = nests.made
    assert nest.sent == [1, 2, 3]
    nest.arrive(3)
    assert watch.canary.look() == Seen(STACK_NS, USER_NS)


def test_one_that_comes_after_it_was_given_up_is_not_taken_for_the_next(nests: type[FakeNest]) -> None:
    watch = Watch()
    watch.seconds(2)
    nests.fate, nests.opens = "lost", False
    assert watch.seconds(2)[1] == Seen(missing=LOST)
    (nest,) = nests.made
    nest.arrive(3)
    assert watch.seconds(1) == [Seen(missing=LOST)]


def test_a_socket_that_broke_is_opened_anew_and_nothing_is_said(nests: type[FakeNest]) -> None:
    watch = Watch()
    watch.seconds(2)
    nests.made[0].refused = errno.EBADF
    assert watch.seconds(2)[1] == Seen(STACK_NS, USER_NS)
    nests.fate = "lost"
    watch.seconds(1)
    nests.made[1].broken = True
    nests.fate = "back"
    assert watch.seconds(2) == [NOTHING, Seen(STACK_NS, USER_NS)]
    assert [nest.closed for nest in nests.made] == [True, True, False]


def test_where_no_sockets_are_to_be_had_nothing_is_said(nests: type[FakeNest]) -> None:
    nests.opens = False
    watch = Watch()
    assert watch.seconds(5) == [NOTHING] * 5
    nests.opens = True
    assert watch.seconds(2)[1] == Seen(STACK_NS, USER_NS)


@pytest.mark.parametrize("step_ns", [3600 * SECOND, -3600 * SECOND, -5 * MILLISECOND])
def test_a_clock_set_between_the_stamps_gives_no_time(nests: type[FakeNest], step_ns: int) -> None:
    nests.fate = "late"
    watch = Watch()
    watch.canary.send()
    nests.made[0].arrive(1, step_ns)
    assert watch.canary.look() == Seen(None, USER_NS)
    nests.fate = "lost"
    assert watch.seconds(2)[1] == Seen(missing=LOST), "it came back all the same"


def test_the_end_closes_the_sockets_and_may_come_twice(nests: type[FakeNest]) -> None:
    watch = Watch()
    watch.seconds(2)
    watch.canary.close()
    watch.canary.close()
    assert [nest.closed for nest in nests.made] == [True]
    assert watch.canary.look() == NOTHING
