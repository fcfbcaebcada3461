"""Deadlines: exact numbers of packets, no drift, no burst."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.core.clock import MILLISECOND, SECOND
from probes.engine.pacing import CATCH_UP_NS, first_due, shortest_spacing, take_due

TICK = 10 * MILLISECOND


@given(
    st.lists(st.integers(MILLISECOND, 5 * SECOND), min_size=1, max_size=8),
    st.lists(st.integers(1, CATCH_UP_NS), min_size=5, max_size=120),
)
def test_every_packet_is_sent_once_and_on_schedule(periods: list[int], waits: list[int]) -> None:
    """Ticks at any times, never later than CATCH_UP_NS: after some time each stream has sent what was due, in order."""
    every = np.array(periods)
    start = np.array([first_due(0, n, period, TICK) for n, period in enumerate(periods)])
    due, sent, now = start.copy(), [[] for _ in periods], 0
    for wait in waits:
        now += wait
        while (taken := take_due(due, every, now, earliest_ns=now)) is not None:
            assert taken.skipped is None
            assert len(set(taken.stream.tolist())) == len(taken.stream)
            for stream, scheduled in zip(taken.stream.tolist(), taken.scheduled_ns.tolist(), strict=True):
                sent[stream].append(scheduled)
    for stream, times in enumerate(sent):
        expected = [] if now < start[stream] else list(range(start[stream], now + 1, periods[stream]))
        assert times == expected


@given(st.integers(MILLISECOND, 5 * SECOND), st.integers(CATCH_UP_NS + 1, 100 * SECOND))
def test_after_a_freeze_one_packet_goes_and_the_rhythm_stays(period: int, frozen: int) -> None:
    due, every = np.array([1000]), np.array([period])
    now = 1000 + frozen
    taken = take_due(due, every, now, earliest_ns=1000)
    assert taken is not None
    assert taken.scheduled_ns.tolist() == [1000]
    missed = frozen // period
    assert (0 if taken.skipped is None else int(taken.skipped[0])) == missed
    assert now < due[0] <= now + period
    assert (due[0] - 1000) % period == 0
    assert take_due(due, every, now, earliest_ns=int(due[0])) is None


def test_catching_up_sends_one_packet_of_a_stream_at_a_time() -> None:
    due, every = np.array([0]), np.array([20 * MILLISECOND])
    late = 100 * MILLISECOND
    numbers = 0
    while (taken := take_due(due, every, late, earliest_ns=0)) is not None:
        assert len(taken.stream) == 1
        numbers += 1
    assert numbers == 6


@given(st.integers(0, 10**15), st.integers(1, 200), st.sampled_from([100, 1000, 10_000]))
def test_phases_lie_on_the_grid_and_within_the_first_period(now: int, ordinal: int, every_ms: int) -> None:
    every = every_ms * MILLISECOND
    due = first_due(now, ordinal, every, TICK)
    assert due % min(TICK, every // 8) == 0
    assert now <= due < now + every + TICK


def test_phases_are_spread_evenly() -> None:
    """A thousand streams of one second: every tick of 10 ms gets about ten."""
    ticks = np.bincount([first_due(0, n, SECOND, TICK) // TICK for n in range(1000)], minlength=100)
    assert ticks.min() >= 8
    assert ticks.max() <= 12


def test_spacing_of_wake_ups() -> None:
    assert shortest_spacing(np.array([SECOND, 5 * SECOND]), TICK) == TICK // 2
    assert shortest_spacing(np.array([SECOND, 40 * MILLISECOND]), TICK) == 40 * MILLISECOND // 8 // 2
    assert shortest_spacing(np.array([SECOND, MILLISECOND]), TICK) == 250_000
    assert shortest_spacing(np.zeros(0, np.int64), TICK) == TICK // 2
