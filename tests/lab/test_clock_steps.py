"""The wall clock is set while packets are under way: the engine under a shim, against the link's log.

The shim (clock_shim.c) sets the clock of that one process, and the kernel's stamps on its packets as a real step does:
what came before the step keeps the old time. The machine's clock is never touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from probes.core.arrays import ABSENT
from tests.lab.emulator_log import RoundTrips
from tests.lab.namespaces import Lab
from tests.lab.reported import MS, SECOND, Reported, Run, Running, stream, truth
from tests.lab.stamp_lab import PORT, SYNCHRONISED, Ways, column, stamp_reflector, ways
from tests.lab.wall import WallClock

pytestmark = [pytest.mark.root, pytest.mark.serial]

EVERY_NS = 10 * MS
SPAN_NS = 2 * SECOND
BETWEEN_S = 1.17
"""From one step to the next: longer than replies lie unread, and no multiple of anything the engine does."""
NEAR_NS = 60 * MS
"""Packets so near to a step may be on either side of it in the log."""
IN_FLIGHT = 25
"""Packets at most that a step may cost their one-way delays: those under way, and those of one tick."""
Steps = tuple[int, ...]
MINUTES, SMALL = (90 * SECOND, -90 * SECOND), (200 * MS, -200 * MS, -300 * MS)


@dataclass
class Measured:
    """What the engine reported, and what was true."""

    run: Run
    icmp: RoundTrips
    stamp: Ways
    wall: WallClock

    @property
    def steps(self) -> list[int]:
        """By how much the clock was set, in turn."""
        offsets = [0, *(change.offset_ns for change in self.wall.changes)]
        return np.diff(offsets).tolist()


def measured(
    lab: Lab, wall: WallClock, changes: Sequence[Callable[[], object]], *, module: str = "tests.lab.measure"
) -> Measured:
    """An ICMP and a STAMP stream over a link of 60 ms that loses packets, while the changes are made one by one."""
    seconds = BETWEEN_S * (len(changes) + 1) + 0.6
    settings = {"every_ns": EVERY_NS, "timeout_ns": 400 * MS, "limit": round(seconds * SECOND / EVERY_NS)}
    streams = [stream(lab, "icmp", 4, **settings), stream(lab, "stamp", 4, port=PORT, size=184, **settings)]
    with stamp_reflector(lab):
        running = Running(
            lab, streams, clock=SYNCHRONISED, environment=wall.environment, module=module, span_ns=SPAN_NS
        )
        time.sleep(BETWEEN_S)
        for change in changes:
            change()
            wall.hold(BETWEEN_S)
        run = running.finish(by_time=False)
    log = lab.log()
    return Measured(run, truth(log, "icmp4"), ways(log, 4), wall)


def across(lab: Lab, wall: WallClock, steps: Steps, **settings: str) -> Measured:
    return measured(lab, wall, [lambda by_ns=by_ns: wall.step(by_ns) for by_ns in steps], **settings)


def lossy(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(
        forward={"delay_ns": 30 * MS, "loss": 0.05}, backward={"delay_ns": 30 * MS, "loss": 0.05}, seed="clock"
    )


def assert_true(reported: Reported, rtt_ns: np.ndarray, near_ns: int) -> None:
    """Losses packet by packet, no packet late or out of order, every round trip near the log's."""
    assert reported.count("sent") == len(rtt_ns)
    assert reported.answered().tolist() == (rtt_ns >= 0).tolist()
    assert reported.count("lost") == int((rtt_ns < 0).sum()) > 5
    assert reported.count("late") == reported.count("duplicate") == 0
    assert reported.count("reordered") <= 1, "replies that leave a busy link together may be stamped in the other order"
    beyond = reported.rtt_ns() - rtt_ns[rtt_ns >= 0]
    assert np.abs(beyond).max() < near_ns
    assert abs(np.median(beyond)) < 0.2 * MS


def spans(reported: Reported) -> list[tuple[int, int]]:
    """Begin and end of each sample, in the order in which they were measured."""
    return [(sample["start_ns"], sample["start_ns"] + sample["span_ns"]) for sample in reported.samples]


def cuts(reported: Reported) -> list[tuple[int, int]]:
    """Samples that do not begin where the one before ended: their place, and what lies between, negative backwards."""
    known = spans(reported)
    between = [(n + 1, known[n + 1][0] - known[n][1]) for n in range(len(known) - 1)]
    return [(place, gap_ns) for place, gap_ns in between if gap_ns]


def assert_cut(found: Measured, near_ns: int) -> None:
    """Each step is told once, with its direction; samples end there, those after it have the new clock's labels."""
    told = [text for kind, text in found.run.events if kind == "clock_step"]
    assert [("forward" in text) - ("back" in text) for text in told] == [1 if by > 0 else -1 for by in found.steps]
    for reported in found.run.streams.values():
        # The rest of an interval in which nothing was due has no sample.
        assert [gap_ns for _, gap_ns in cuts(reported)] == pytest.approx(found.steps, abs=20 * MS)
        for begin_ns, end_ns in spans(reported)[:-1]:
            grid_ns = (begin_ns // SPAN_NS + 1) * SPAN_NS
            assert end_ns <= grid_ns + NEAR_NS, "none reaches over the grid, but for the tick that finds a step there"
    sent_ns, labels = found.icmp.sent_ns, found.run.streams["icmp4"].packets()["sent_ns"]
    at_ns = np.array([change.at_ns for change in found.wall.changes])
    clear = np.abs(sent_ns[:, np.newaxis] - at_ns).min(axis=1) > NEAR_NS
    assert np.abs(labels - found.wall.of(sent_ns))[clear].max() < near_ns


def assert_directions(found: Measured) -> None:
    """One-way delays: the log's where both clocks agree, withheld elsewhere; no difference of two clocks anywhere."""
    reported = found.run.streams["stamp4"]
    places = [place for place, _ in cuts(reported)]
    near_ns = min(abs(by_ns) for by_ns in found.steps) // 2
    for number, sample in enumerate(reported.samples):
        offset_ns = sum(found.steps[: sum(place <= number for place in places)])
        for way in ("forward", "backward"):
            one = sample[way]
            delays = np.array(sample["packets"][f"{way}_ns"], np.int64)
            known = delays != ABSENT
            if not known.any():
                assert one["delay"] is one["variation"] is None, "a short one, all of it under way at the step"
                continue
            inside = np.abs(np.diff(delays))[known[1:] & known[:-1]]
            assert inside.max(initial=0) < near_ns
            across = one["variation"]["ipdv_abs_sum_ns"] - inside.sum()
            assert 0 <= across < near_ns, "the pair with the last packet of the sample before"
            assert (one["variation"]["rfc3550_ns"] or 0) < near_ns // 4
            if offset_ns:
                assert (one["withheld"] or "").startswith("clock suspect")
                assert one["delay"] is None
            else:
                assert one["withheld"] is None
                assert 30 * MS <= one["delay"]["minimum_ns"] <= one["delay"]["maximum_ns"] < 30 * MS + near_ns
    unknown = column(reported, "forward_ns")[found.stamp.rtt_ns >= 0] == ABSENT
    assert unknown.sum() <= IN_FLIGHT * len(found.steps)


@pytest.mark.parametrize("steps", [MINUTES, SMALL], ids=["90s", "200ms"])
def test_a_step_loses_nothing_spoils_nothing_and_is_told(
    make_lab: Callable[..., Lab], make_wall: Callable[..., WallClock], steps: Steps, figure: Callable[[str], None]
) -> None:
    found = across(lossy(make_lab), make_wall(), steps)
    near_ns = min(100 * MS, min(abs(by_ns) for by_ns in steps) // 2)
    for name, rtt_ns in (("icmp4", found.icmp.rtt_ns), ("stamp4", found.stamp.rtt_ns)):
        assert_true(found.run.streams[name], rtt_ns, near_ns)
        beyond = found.run.streams[name].rtt_ns() - rtt_ns[rtt_ns >= 0]
        figure(
            f"clock set by {', '.join(f'{by_ns / SECOND:+g} s' for by_ns in steps)}, {name}: of {len(rtt_ns)} sent "
            f"lost {int((rtt_ns < 0).sum())} (exactly the log's), round trip beyond the log's "
            f"{np.median(beyond) / 1000:.1f} us (p50), {np.abs(beyond).max() / 1000:.0f} us (most)"
        )
    assert_cut(found, near_ns)
    assert_directions(found)


def test_slewing_is_no_event_and_cuts_nothing(
    make_lab: Callable[..., Lab], make_wall: Callable[..., WallClock]
) -> None:
    """500 us a second, what adjtimex(2) does at most, for more than a second each way."""
    wall = make_wall()
    changes = [lambda rate=rate: wall.slew(rate) for rate in (500_000, -500_000)]
    found = measured(lossy(make_lab), wall, changes)
    assert found.wall.changes[1].offset_ns > 500_000, "the clock did move"
    assert [text for kind, text in found.run.events if kind == "clock_step"] == []
    for name, rtt_ns in (("icmp4", found.icmp.rtt_ns), ("stamp4", found.stamp.rtt_ns)):
        assert_true(found.run.streams[name], rtt_ns, 100 * MS)
        assert cuts(found.run.streams[name]) == []
        assert {sample["quality"]["stamps"] for sample in found.run.streams[name].samples} == {"kernel"}


def test_a_far_clock_that_is_set_spoils_its_interval_for_both_directions_and_nothing_else(
    make_lab: Callable[..., Lab], make_wall: Callable[..., WallClock]
) -> None:
    """The clock of the reflector: round trips and losses do not care, and nothing compares delays across a step."""
    lab, wall = lossy(make_lab), make_wall()
    limit = round((BETWEEN_S * (len(MINUTES) + 1) + 0.6) * SECOND / EVERY_NS)
    settings = {"port": PORT, "size": 184, "every_ns": EVERY_NS, "timeout_ns": 400 * MS, "limit": limit}
    with stamp_reflector(lab, environment=wall.environment):
        running = Running(lab, [stream(lab, "stamp", 4, **settings)], clock=SYNCHRONISED, span_ns=SECOND // 2)
        time.sleep(BETWEEN_S)
        for by_ns in MINUTES:
            wall.step(by_ns)
            wall.hold(BETWEEN_S)
        run = running.finish(by_time=False)
    true, reported = ways(lab.log(), 4), run.streams["stamp4"]
    assert_true(reported, true.rtt_ns, 100 * MS)
    assert cuts(reported) == []
    assert all(kind != "clock_step" for kind, _ in run.events)
    spoilt = 0
    for sample in reported.samples:
        for way in ("forward", "backward"):
            one = sample[way]
            if "the far clock was set meanwhile" in (one["withheld"] or ""):
                spoilt += 1
                assert one["delay"] is one["variation"] is None
            elif one["variation"] is not None:
                assert one["variation"]["ipdv_abs_sum_ns"] + (one["variation"]["rfc3550_ns"] or 0) < 10 * SECOND
    assert spoilt in (0, 2, 4), "both directions of an interval in which there was a step, not between two"


@pytest.mark.parametrize("fault", ["differences", "stamps"])
def test_the_harness_sees_a_fault(
    make_lab: Callable[..., Lab], make_wall: Callable[..., WallClock], fault: str
) -> None:
    """Seeded: an engine that takes plain differences of stamps; a shim that sets clocks without the kernel's stamps."""
    wall = make_wall(stamps=fault != "stamps")
    module = "tests.lab.measure_unguarded" if fault == "differences" else "tests.lab.measure"
    found = across(lossy(make_lab), wall, (200 * MS,), module=module)
    with pytest.raises(AssertionError):
        assert_true(found.run.streams["icmp4"], found.icmp.rtt_ns, 100 * MS)
