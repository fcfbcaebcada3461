"""Round trips from kernel stamps, and what a step of the clock must not do to them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.core.arrays import ABSENT
from probes.core.clock import MILLISECOND, SECOND
from probes.engine.roundtrip import KERNEL, KERNEL_RECEIVE, USER, Reading, round_trips

OFFSET = 1_800_000_000 * SECOND


def one(transmitted: int, called: int, offset: int, received: int, now: Reading) -> tuple[int, int]:
    rtt, source = round_trips(
        transmitted_ns=np.array([transmitted]),
        called_ns=np.array([called]),
        offset_ns=np.array([offset]),
        received_ns=np.array([received]),
        now=now,
    )
    return int(rtt[0]), int(source[0])


def test_kernel_stamps_decide() -> None:
    now = Reading(10 * SECOND, OFFSET)
    sent = 9 * SECOND + OFFSET
    assert one(sent + 50_000, sent, OFFSET, sent + 2_050_000, now) == (2_000_000, KERNEL)


def test_without_a_transmit_stamp_the_call_counts() -> None:
    now = Reading(10 * SECOND, OFFSET)
    sent = 9 * SECOND + OFFSET
    assert one(ABSENT, sent, OFFSET, sent + 2_050_000, now) == (2_050_000, KERNEL_RECEIVE)


def test_without_a_receive_stamp_the_monotonic_clock_counts() -> None:
    now = Reading(10 * SECOND, OFFSET)
    sent = 9 * SECOND + OFFSET
    assert one(sent, sent, OFFSET, ABSENT, now) == (SECOND, USER)


@given(
    rtt=st.integers(0, 3 * SECOND),
    step=st.one_of(st.integers(-(10**17), -SECOND), st.integers(SECOND, 10**17)),
    before_reply=st.booleans(),
    drain=st.integers(1, 100 * MILLISECOND),
)
def test_a_step_changes_no_round_trip(rtt: int, step: int, before_reply: bool, drain: int) -> None:
    """Steps of a second to three years, before or after the reply: the right delay or, where it cannot be told, the
    time until the reply was read; never negative, never far off."""
    called = 5 * SECOND
    arrival = called + rtt
    now_ns = arrival + drain
    stepped = called + rtt // 2 if before_reply else arrival + drain // 2
    received = arrival + OFFSET + (step if before_reply else 0)
    now = Reading(now_ns, OFFSET + step, max(called, stepped - 50 * MILLISECOND), now_ns)
    got, source = one(called + OFFSET, called + OFFSET, OFFSET, received, now)
    assert source == USER
    assert got == rtt or rtt <= got <= rtt + drain + MILLISECOND


@given(
    transmitted=st.integers(-(10**10), 10**10),
    received=st.integers(-(10**10), 10**10),
    elapsed=st.integers(0, 10**10),
    change=st.integers(-(10**10), 10**10),
    after=st.integers(0, 10**10),
)
def test_never_negative_never_longer_than_it_took(
    transmitted: int, received: int, elapsed: int, change: int, after: int
) -> None:
    called = 20 * SECOND
    now = Reading(called + elapsed, OFFSET + change, min(after, called + elapsed), called + elapsed)
    got, _ = one(called + OFFSET + transmitted, called + OFFSET, OFFSET, called + OFFSET + received, now)
    assert 0 <= got <= elapsed + 2 * MILLISECOND


def test_slewing_is_not_a_step() -> None:
    now = Reading(10 * SECOND, OFFSET + 400_000)
    sent = 9 * SECOND + OFFSET
    assert one(sent, sent, OFFSET, sent + 5_000_000, now) == (5_000_000, KERNEL)
