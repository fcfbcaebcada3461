"""Sets of time against sets of seconds: a second implementation that cannot be wrong."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.sla.time.spans import NOWHERE, Spans

LAST = 60
pairs = st.lists(st.tuples(st.integers(0, LAST), st.integers(0, LAST)), max_size=12)


def seconds(spans: Spans) -> set[int]:
    return {second for start, end in spans for second in range(start, end)}


def naive(intervals: list[tuple[int, int]]) -> set[int]:
    return {second for second in range(LAST) if any(start <= second < end for start, end in intervals)}


@given(pairs, pairs)
def test_arithmetic_agrees_with_sets_of_seconds(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    first, second = Spans.of(one), Spans.of(other)
    a, b = naive(one), naive(other)
    assert seconds(first) == a
    assert first.length_ns == len(a), "no second twice, however many intervals hold it"
    for found, expected in ((first | second, a | b), (first & second, a & b), (first - second, a - b)):
        assert seconds(found) == expected
        assert all(end < start for end, start in zip(found.end_ns[:-1], found.start_ns[1:], strict=True))
        assert bool((found.start_ns < found.end_ns).all())


@given(pairs, pairs, st.integers(1, 7))
def test_questions_agree_with_sets_of_seconds(
    one: list[tuple[int, int]], asked: list[tuple[int, int]], grid: int
) -> None:
    spans, held = Spans.of(one), naive(one)
    start = np.array([min(pair) for pair in asked], np.int64)
    end = np.array([max(pair) + 1 for pair in asked], np.int64)
    wanted = [set(range(first, last)) for first, last in zip(start.tolist(), end.tolist(), strict=True)]
    assert spans.touches(start, end).tolist() == [bool(held & each) for each in wanted]
    assert spans.cover(start, end).tolist() == [len(held & each) for each in wanted]
    assert spans.holds(start).tolist() == [first in held for first in start.tolist()]
    touched = {second // grid for second in held}
    assert {second // grid for second in seconds(spans.widened(grid))} == touched
    assert spans.widened(grid).length_ns == grid * len(touched)
    assert seconds(spans.within(10, 40)) == held & set(range(10, 40))


def test_nothing() -> None:
    assert len(NOWHERE) == len(Spans.of([])) == len(Spans.of([(5, 5), (7, 3)])) == 0
    assert NOWHERE.length_ns == 0
    some = Spans.of([(1, 4)])
    assert list(some - NOWHERE) == list(some | NOWHERE) == [(1, 4)]
    assert list(NOWHERE & some) == list(NOWHERE - some) == []
    assert list(some.grown(2)) == [(-1, 6)]
