"""The fates the emulator hands out, without any network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.impairment import CORRUPTED, REORDERED, SECOND, Direction, Fate, Impairment, Reason

MS = 1_000_000


def fates(link: Impairment, count: int = 1000, *, seed: str = "7", every_ns: int = MS, size: int = 100) -> list[Fate]:
    direction = Direction(seed)
    direction.set(link)
    return [direction.decide(index * every_ns, size) for index in range(count)]


def test_an_unimpaired_link_passes_at_once() -> None:
    for index, fate in enumerate(fates(Impairment(), 10)):
        assert fate.reason is Reason.NONE
        assert [(release.due_ns, release.flags, release.copy) for release in fate.releases] == [(index * MS, 0, 0)]


def test_every_nth_is_exact_and_its_count_survives_other_settings() -> None:
    dropped = [index for index, fate in enumerate(fates(Impairment(loss_every=10), 100)) if fate.reason]
    assert dropped == list(range(9, 100, 10))
    direction = Direction("1", Impairment(loss_every=4))
    reasons = []
    for index in range(8):
        if index == 2:
            direction.set(direction.impairment.changed({"delay_ns": 5}))
        reasons.append(direction.decide(index, 60).reason)
    assert [index for index, reason in enumerate(reasons) if reason is Reason.EVERY] == [3, 7]


def test_the_seed_alone_decides_and_a_delay_changes_no_fate() -> None:
    lossy = Impairment(loss=0.1, duplicate=0.05)
    first = [(fate.reason, len(fate.releases)) for fate in fates(lossy)]
    assert first == [(fate.reason, len(fate.releases)) for fate in fates(lossy)]
    slower = lossy.changed({"delay_ns": 30 * MS, "jitter_ns": MS})
    assert first == [(fate.reason, len(fate.releases)) for fate in fates(slower)]
    assert first != [(fate.reason, len(fate.releases)) for fate in fates(lossy, seed="8")]
    assert 60 < sum(reason is Reason.RANDOM for reason, _ in first) < 140


def test_outages_and_loss_periods_are_half_open() -> None:
    link = Impairment(outages=((100 * MS, 200 * MS),), loss_periods=((300 * MS, 400 * MS, 1.0),))
    by_reason: dict[Reason, list[int]] = {}
    for index, fate in enumerate(fates(link)):
        by_reason.setdefault(fate.reason, []).append(index)
    assert by_reason[Reason.OUTAGE] == list(range(100, 200))
    assert by_reason[Reason.PERIOD] == list(range(300, 400))


def test_jitter_keeps_order_unless_told_otherwise() -> None:
    link = Impairment(delay_ns=5 * MS, jitter_ns=10 * MS)
    due = [fate.releases[0].due_ns for fate in fates(link)]
    assert due == sorted(due)
    loose = [fate.releases[0].due_ns for fate in fates(link.changed({"ordered": False}))]
    assert loose != sorted(loose)
    assert all(5 * MS <= value - index * MS < 15 * MS for index, value in enumerate(loose))


def test_a_frame_to_be_overtaken_waits_longer_and_holds_no_other_up() -> None:
    link = Impairment(delay_ns=MS, reorder_every=5, reorder_delay_ns=10 * MS)
    for index, fate in enumerate(fates(link, 20)):
        overtaken = index % 5 == 4
        assert fate.releases[0].due_ns == index * MS + MS + (10 * MS if overtaken else 0)
        assert fate.releases[0].flags == (REORDERED if overtaken else 0)


def test_duplicates_and_damage() -> None:
    link = Impairment(duplicate_every=3, duplicate_delay_ns=7, corrupt_every=2)
    got = fates(link, 6)
    assert [len(fate.releases) for fate in got] == [1, 1, 2, 1, 1, 2]
    original, copy = got[2].releases
    assert (copy.due_ns - original.due_ns, copy.copy) == (7, 1)
    assert [fate.releases[0].flags == CORRUPTED for fate in got] == [False, True] * 3


def test_a_rate_serialises_frames_and_its_queue_is_bounded() -> None:
    """1 Mbit/s and 125-octet frames: 1 ms each. 10 frames at once, room for 3 that wait."""
    link = Impairment(rate_bps=1_000_000, queue_bytes=375)
    got = fates(link, 10, every_ns=0, size=125)
    assert [fate.releases[0].due_ns for fate in got if fate.releases] == [MS, 2 * MS, 3 * MS, 4 * MS]
    assert [fate.reason for fate in got[4:]] == [Reason.QUEUE] * 6


@given(
    loss=st.floats(0, 1),
    duplicate=st.floats(0, 1),
    jitter=st.integers(0, SECOND),
    rate=st.sampled_from([0, 64_000, 10_000_000]),
    gaps=st.lists(st.integers(0, SECOND), min_size=1, max_size=50),
)
def test_a_frame_is_dropped_or_released_never_both_and_never_early(
    loss: float, duplicate: float, jitter: int, rate: int, gaps: list[int]
) -> None:
    direction = Direction("9", Impairment(loss=loss, duplicate=duplicate, jitter_ns=jitter, rate_bps=rate))
    now = 0
    for gap in gaps:
        now += gap
        fate = direction.decide(now, 1000)
        assert bool(fate.reason) != bool(fate.releases)
        assert all(release.due_ns >= now for release in fate.releases)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="no such impairment: latency"):
        Impairment().changed({"latency": 5})
