"""Round trips from kernel stamps, and what a step of the clock must not do to them."""

import operator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.core.arrays import ABSENT
from probes.core.clock import MILLISECOND, SECOND
from probes.engine.roundtrip import DELIVERY_NS, KERNEL, KERNEL_RECEIVE, SLACK_NS, USER, Reading, round_trips

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


TICK = 50 * MILLISECOND
"""How often the clocks are read together: how well it is known when one was set."""


@given(
    sent=st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(0, SECOND)), min_size=1, max_size=12),
    step=st.builds(operator.mul, st.integers(TICK + 1, 3 * SECOND), st.sampled_from((1, -1))),
    stepped=st.integers(0, 2 * SECOND),
    drain=st.integers(0, SECOND),
)
def test_a_step_changes_no_round_trip_that_can_be_told(
    sent: list[tuple[int, int]], step: int, stepped: int, drain: int
) -> None:
    """Replies in one socket, read some time after the step. What is told is right; where two moments of a step explain
    a reply, the shorter delay is taken. The oracle tries every place in the queue where the step may have been."""
    start = 100 * SECOND
    stepped_ns = start + stepped
    after_ns = stepped_ns // TICK * TICK
    reading = Reading(
        max(stepped_ns + drain, after_ns + TICK), OFFSET + step, after_ns, after_ns + TICK, after_ns - SECOND // 2
    )
    came = sorted((start + at + rtt, start + at) for at, rtt in sent)
    came = [(arrival, left) for arrival, left in came if reading.read_after_ns < arrival <= reading.monotonic_ns]
    if not came:
        return
    arrival, left = np.array(came).T
    offset = np.where(left >= reading.stepped_before_ns, OFFSET + step, OFFSET)
    received = arrival + OFFSET + np.where(arrival >= stepped_ns, step, 0)
    # Who sends between the step and the reading that reveals it does not know of it: the kernel's stamp does.
    transmitted = left + OFFSET + np.where(left >= stepped_ns, step, 0)
    called = left + offset
    transmitted = np.where(transmitted >= called, transmitted, ABSENT)
    rtt, source = round_trips(
        transmitted_ns=transmitted, called_ns=called, offset_ns=offset, received_ns=received, now=reading
    )
    true = arrival - left
    unsure = ~np.array([len(found) == 1 for found in _explained(received, called, offset, transmitted, reading)])
    assert (rtt[~unsure] == true[~unsure]).all()
    assert (rtt[unsure] <= true[unsure]).all()
    assert (np.isin(true[unsure] - rtt[unsure], (0, abs(step)))).all()
    assert (source[(arrival >= stepped_ns) & (left < after_ns)] == USER).all()
    assert (source[unsure] == USER).all()


def _explained(
    received: np.ndarray, called: np.ndarray, offset: np.ndarray, transmitted: np.ndarray, now: Reading
) -> list[set[int]]:
    """Delays that each reply can have had: over all places k such that the first k replies came before the step."""
    n = len(received)
    found: list[set[int]] = [set() for _ in range(n)]
    for k in range(n + 1):
        delays = []
        for i in range(n):
            left = called[i] - offset[i]
            knew = offset[i] == now.offset_ns
            arrival = received[i] - (OFFSET if i < k else now.offset_ns)
            first, last = (0, now.stepped_before_ns) if i < k else (now.stepped_after_ns, now.monotonic_ns)
            first = max(first - SLACK_NS, now.read_after_ns - DELIVERY_NS)
            entered = transmitted[i] != ABSENT and now.offset_ns > OFFSET
            entered = entered and transmitted[i] - called[i] > now.offset_ns - offset[i] - SLACK_NS and not knew
            if not first <= arrival <= last + SLACK_NS or arrival < left or (i < k and (knew or entered)):
                break
            if arrival > now.monotonic_ns + SLACK_NS:
                break
            delays.append(int(arrival - left))
        else:
            for i, delay in enumerate(delays):
                found[i].add(delay)
    return found


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
