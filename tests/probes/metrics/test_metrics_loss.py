"""Loss ratio and RFC 3357 patterns."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np

from probes.core.arrays import ABSENT
from probes.core.model import PacketState
from probes.metrics.loss import is_lost, loss_distances, loss_periods, loss_ratio, noticeable_rate
from tests.probes.metrics import naive
from tests.probes.metrics.drawing import arrays, stream

A, LOST, LATE, NOT_SENT, REJECTED = (np.uint8(state) for state in PacketState)


def test_loss_periods_by_hand() -> None:
    """Packets 4 to 15, of which 5, 6, 7, 11 and 14 are lost.

    Periods: 5-7 of length 3, 11 of length 1, 14 of length 1. Distances: 6-5 = 1, 7-6 = 1, 11-7 = 4, 14-11 = 3.
    With delta = 2, two of five losses are noticeable.
    """
    sequence = np.arange(4, 16)
    state = np.where(np.isin(sequence, (5, 6, 7, 11, 14)), LOST, A).astype(np.uint8)
    periods = loss_periods(np.zeros(12, np.int64), sequence, state)
    assert list(zip(periods.sequence.tolist(), periods.length.tolist(), strict=True)) == [(5, 3), (11, 1), (14, 1)]
    distances = loss_distances(np.zeros(12, np.int64), sequence, state)
    assert distances.tolist() == [ABSENT, 1, 1, 4, 3]
    assert noticeable_rate(distances, 2) == Fraction(2, 5)


def test_a_period_does_not_run_from_one_stream_into_the_next() -> None:
    periods = loss_periods(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([A, LOST, LOST, A], np.uint8))
    assert (periods.stream.tolist(), periods.length.tolist()) == ([0, 1], [1, 1])


def test_not_sent_is_not_lost_and_parts_no_period() -> None:
    """lost, not sent, late, rejected: three losses in a row among the packets that were sent."""
    state = np.array([LOST, NOT_SENT, LATE, REJECTED, A], np.uint8)
    assert is_lost(state).tolist() == [True, False, True, True, False]
    periods = loss_periods(np.zeros(5, np.int64), np.arange(5), state)
    assert (periods.sequence.tolist(), periods.length.tolist()) == ([0], [3])


def test_ratio() -> None:
    assert loss_ratio(1, 3) == Fraction(1, 3)
    assert loss_ratio(0, 0) is None
    assert noticeable_rate(np.zeros(0, np.int64), 1) is None


def test_periods_agree_with_the_naive_implementation() -> None:
    rng = random.Random(3357)
    for _ in range(1000):
        streams = [stream(rng, rng.randrange(30)) for _ in range(rng.randrange(1, 4))]
        packets = arrays(streams)
        found = loss_periods(packets.stream, packets.sequence, packets.state)
        expected = [(n, *period) for n, part in enumerate(streams) for period in naive.loss_periods(part)]
        rows = zip(found.stream.tolist(), found.sequence.tolist(), found.length.tolist(), strict=True)
        assert list(rows) == expected
