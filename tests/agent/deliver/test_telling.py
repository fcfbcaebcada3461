"""What is recorded of a sink that comes and goes: enough to see it, no storm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.deliver.telling import BURST, OK, WINDOW_NS, Telling
from probes.core.clock import MILLISECOND, SECOND


def test_each_change_once() -> None:
    telling = Telling()
    asked = ["idle", "ok", "waiting", "waiting", "held", "held", "ok", "ok", "idle", "waiting"]
    told = [state for number, state in enumerate(asked) if telling.due(state, number * SECOND) is not None]
    assert told == ["waiting", "held", "ok", "waiting"]


def test_trouble_of_an_earlier_session_ends_with_a_word() -> None:
    assert Telling("trouble").due("ok", 0) == 0
    assert Telling("trouble").due("waiting", 0) == 0
    assert Telling("ok").due("ok", 0) is None


def test_a_sink_that_comes_and_goes_ten_times_a_second_for_an_hour() -> None:
    telling, recorded, left_out = Telling(), 0, 0
    for number in range(36_000):
        before = telling.due(("waiting", "ok")[number % 2], number * 100 * MILLISECOND)
        if before is not None:
            recorded, left_out = recorded + 1, left_out + before
    assert recorded <= (3600 * SECOND // WINDOW_NS + 1) * BURST, "a third of a line a second at most"
    assert left_out > 15_000, "and told how many"


@given(st.lists(st.tuples(st.sampled_from(["ok", "waiting", "held", "idle"]), st.integers(0, 5 * SECOND))))
def test_never_too_many_and_what_lasts_is_recorded(steps: list[tuple[str, int]]) -> None:
    telling, now, times, last = Telling(), 0, [], OK
    for state, pause_ns in steps:
        now += pause_ns
        if telling.due(state, now) is not None:
            times.append(now)
            last = state
    assert all(later - first >= WINDOW_NS for first, later in zip(times, times[BURST:], strict=False))
    state = steps[-1][0] if steps else OK
    if state not in ("idle", last):
        assert telling.due(state, now + WINDOW_NS) is not None
