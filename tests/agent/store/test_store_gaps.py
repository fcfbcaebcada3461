"""The record of the time in which nothing was kept: stopped, crashed, frozen, asleep, a clock that was wrong. Pure."""

import pytest

from agent.store.records import GAP_REASONS, EventRecord, Owner
from agent.store.session import PreviousSession, Start, disturbed, gaps_before, unmeasured
from probes.engine.clockwatch import Disturbance

SECOND = 10**9
HOUR = 3600 * SECOND
YEAR = 365 * 24 * HOUR
T = 1_790_000_000 * SECOND
OWNER = Owner(100, "boot b", T)
Gap = tuple[int, int | None, str | None]


def seen(records: list[EventRecord]) -> list[Gap]:
    return [(record.at_ns, record.end_ns, record.reason) for record in records]


def before(
    *, unclean: bool = True, last: int = T, boot: str = "boot b", boot_ns: int = 10 * HOUR,
    now: int = T + HOUR, now_boot: int = 11 * HOUR, newest: int | None = None, restored: bool = False,
) -> list[EventRecord]:  # fmt: skip
    start = Start(now, now_boot, newest, restored)
    return gaps_before(PreviousSession(unclean, last, boot, 99, boot_ns), OWNER, start)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"unclean": False}, "stopped"),
        ({}, "crashed"),
        ({"boot": "boot a"}, "host restarted"),
        ({"boot": "boot a", "unclean": False}, "stopped"),
        ({"restored": True}, "restored"),
        ({"restored": True, "unclean": False}, "stopped"),
    ],
)
def test_how_the_last_session_ended(given: dict[str, object], reason: str) -> None:
    (gap,) = before(**given)  # type: ignore[arg-type]
    assert seen([gap]) == [(T, T + HOUR, reason)]
    assert reason in GAP_REASONS


def test_the_clock_was_set_forward_while_the_agent_was_stopped() -> None:
    (gap,) = before(now=T + 10 * YEAR, now_boot=11 * HOUR, unclean=False)
    assert seen([gap]) == [(T, T + 10 * YEAR, "stopped")]
    assert "the clock was set forward by" in gap.text


def test_the_clock_was_set_back_while_the_agent_was_stopped_the_boot_clock_knows_how_long() -> None:
    back, gap = before(now=T - 5 * HOUR, now_boot=12 * HOUR, unclean=False)
    assert seen([back, gap]) == [
        (T - 7 * HOUR, T, "clock set back"), (T - 7 * HOUR, T - 5 * HOUR, "stopped"),
    ]  # fmt: skip


def test_the_clock_was_years_ahead_in_another_boot() -> None:
    back, gap = before(last=T + 10 * YEAR, boot="boot a", now=T, now_boot=60 * SECOND)
    assert seen([back, gap]) == [
        (T - 60 * SECOND, T + 10 * YEAR, "clock set back"), (T - 60 * SECOND, T, "host restarted"),
    ]  # fmt: skip
    assert "is not known, because the clock was ahead" in gap.text


def test_the_clock_was_years_behind_in_another_boot_samples_tell_where_the_gap_begins() -> None:
    assert seen(before(last=0, boot="boot a", now=T, newest=T - HOUR)) == [(T - HOUR, T, "host restarted")]
    assert seen(before(last=T - HOUR, boot="boot a", now=T, newest=5)) == [(T - HOUR, T, "host restarted")]


def test_slewing_is_no_step() -> None:
    assert len(before(now=T + HOUR - 3 * SECOND, unclean=False)) == 1
    assert "set forward" not in before(now=T + HOUR + 3 * SECOND, unclean=False)[0].text


def test_a_store_of_the_first_release_did_not_note_the_boot_clock() -> None:
    assert seen(before(boot_ns=0)) == [(T, T + HOUR, "crashed")]
    assert seen(before(boot_ns=0, now=T - HOUR)) == [
        (T - HOUR, T, "clock set back"), (T - HOUR, T - HOUR, "crashed"),
    ]  # fmt: skip


def test_a_gap_recorded_by_a_clock_that_was_years_ahead_is_cut_where_it_is_known_better() -> None:
    """Stopped at T; started an hour later with a clock ten years ahead; half an hour later all is well again."""
    first = before(now=T + 10 * YEAR + HOUR, unclean=False)
    last = T + 10 * YEAR + HOUR + HOUR // 2
    second = before(last=last, boot_ns=11 * HOUR, now=T + 2 * HOUR, now_boot=11 * HOUR + HOUR // 2, unclean=False)
    assert seen(unmeasured([*first, *second])) == [
        (T, T + HOUR + HOUR // 2, "stopped"),
        (T + HOUR + HOUR // 2, last, "clock set back"),
        (T + HOUR + HOUR // 2, T + 2 * HOUR, "stopped"),
    ]


def test_gaps_that_a_wrong_clock_put_into_the_future_are_left_out() -> None:
    wrong = EventRecord("gap", T + YEAR, "frozen", T + YEAR + SECOND, "frozen")
    right = EventRecord("gap", T - HOUR, "frozen", T - HOUR + SECOND, "frozen")
    back = EventRecord("clock_step", T, "set back", T + 2 * YEAR, "clock set back")
    later = EventRecord("gap", T + HOUR, "frozen", T + HOUR + SECOND, "frozen")
    assert unmeasured([right, wrong, back, later]) == [right, back, later]


def test_events_that_are_no_gaps() -> None:
    assert unmeasured([EventRecord("start", T, "started"), EventRecord("gap", T, "of an older release")]) == []


def test_what_the_engine_notices() -> None:
    record = disturbed(Disturbance("gap", "this process stood still for 3s", True, "frozen", T, T + 3 * SECOND))
    assert record == EventRecord("gap", T, "this process stood still for 3s", T + 3 * SECOND, "frozen")
    assert unmeasured([record]) == [record]
