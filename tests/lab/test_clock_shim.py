"""The shim itself: every clock and every stamp of a process is set, at one moment, and no other clock."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.namespaces import ROOT, end
from tests.lab.wall import SECOND, WallClock

pytestmark = [pytest.mark.root, pytest.mark.serial]

WALL = ("time_ns", "clock_gettime", "coarse", "time", "gettimeofday", "timespec_get")
HOUR = 3600 * SECOND
NEAR = 60 * SECOND
"""However busy the machine is; steps are of hours."""


class Reader:
    """tests.lab.clock_reader under a shim."""

    def __init__(self, wall: WallClock) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.clock_reader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=ROOT, env=os.environ | wall.environment,
        )  # fmt: skip

    def ask(self, what: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture
def wall(make_wall: Callable[..., WallClock]) -> WallClock:
    return make_wall()


@pytest.fixture
def reader(wall: WallClock) -> Iterator[Reader]:
    started = Reader(wall)
    yield started
    end(started.process)


def ahead(ns: int) -> int:
    """Whole hours that a reading is ahead of this machine's clock."""
    difference = ns - time.time_ns()
    hours = round(difference / HOUR)
    assert abs(difference - hours * HOUR) < NEAR
    return hours


def test_every_clock_of_the_process_is_set_and_no_other(wall: WallClock, reader: Reader) -> None:
    assert {ahead(reader.ask("read")["clocks"][name]) for name in WALL} == {0}
    for by_hours, hours in ((5, 5), (-7, -2), (2, 0)):
        wall.step(by_hours * HOUR)
        wall.hold(0.02)
        clocks = reader.ask("read")["clocks"]
        assert {name: ahead(clocks[name]) for name in WALL} == dict.fromkeys(WALL, hours)
        assert abs(clocks["monotonic"] - time.monotonic_ns()) < NEAR
        assert abs(clocks["boot"] - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) < NEAR


def test_stamps_are_of_the_clock_that_held_when_the_packet_passed(wall: WallClock, reader: Reader) -> None:
    """One packet before each step, read after all of them: as in a socket, each kept the time it was stamped with."""
    for by_hours in (5, -7):
        reader.ask("send")
        time.sleep(0.05)
        wall.step(by_hours * HOUR)
        wall.hold(0.02)
    reader.ask("send")
    found = reader.ask("read")
    for name, stamps in (*found["stamps"].items(), ("left", found["left"])):
        assert [ahead(ns) for ns in stamps] == [0, 5, -2], name


def test_a_slewed_clock_gains_what_it_was_told(wall: WallClock, reader: Reader) -> None:
    """So fast that a busy machine does not matter: an hour in each second."""
    change = wall.slew(HOUR)
    wall.hold(1.0)
    true_ns = time.time_ns()
    gained = reader.ask("read")["clocks"]["time_ns"] - true_ns
    assert HOUR * (true_ns - change.at_ns) // SECOND <= gained
    wall.slew(0)
    wall.hold(0.02)
    assert abs(reader.ask("read")["clocks"]["time_ns"] - time.time_ns() - wall.changes[-1].offset_ns) < NEAR
