"""A clock that was set is told by delays that cannot both be true, and by nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.core.clock import MILLISECOND, SECOND
from probes.metrics.offset import set_between

DELAYS = st.lists(st.tuples(st.integers(0, SECOND), st.integers(0, SECOND)), min_size=2, max_size=20)


def delays(true: list[tuple[int, int]], offset_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    forward, backward = np.array(true, np.int64).T
    return np.arange(len(true)) * SECOND, forward + offset_ns, backward - offset_ns


@given(DELAYS, st.integers(-(10**17), 10**17), st.floats(-1, 1))
def test_clocks_that_only_drift_were_not_set(true: list[tuple[int, int]], offset_ns: int, drift: float) -> None:
    drifted = offset_ns + (np.arange(len(true)) * drift * MILLISECOND).astype(np.int64)
    assert not set_between(*delays(true, drifted)).any()


@given(DELAYS, st.integers(0, 19), st.integers(1, 10**17), st.sampled_from([1, -1]))
def test_a_step_longer_than_both_round_trips_is_told_at_its_place(
    true: list[tuple[int, int]], at: int, beyond_ns: int, sign: int
) -> None:
    at = 1 + at % (len(true) - 1)
    step_ns = sum(true[at - 1]) + sum(true[at]) + 2 * MILLISECOND + beyond_ns
    offset_ns = np.where(np.arange(len(true)) >= at, sign * step_ns, 0)
    assert np.flatnonzero(set_between(*delays(true, offset_ns))).tolist() == [at]


def test_nothing_was_set_where_there_is_nothing_to_compare() -> None:
    none, one = np.zeros(0, np.int64), np.ones(1, np.int64)
    assert set_between(none, none, none).tolist() == []
    assert set_between(one, one, one).tolist() == [False]
