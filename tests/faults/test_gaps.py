"""A real agent is frozen, frozen by the kernel's freezer, killed, stopped: each gap has its begin, end and reason."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.store import EventRecord, StoreReader
from probes.core.clock import SECOND
from tests.agent.running import Agent, circuit, free_ports, udp, write
from tests.fakes.kept import rows_in

FROZEN_S = 2.5
GROUPS = Path("/sys/fs/cgroup")


def gaps(store: Path) -> list[EventRecord]:
    """Oldest first; freezes that this machine imposed by itself are shorter than what is tested."""
    with StoreReader.open(store) as reader:
        found = reader.gaps()
    return [gap for gap in reversed(found) if gap.reason != "frozen" or (gap.end_ns or 0) - gap.at_ns >= 2 * SECOND]


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def covers(gap: EventRecord, begin_ns: int, end_ns: int, slack_ns: int = SECOND) -> bool:
    """The gap is the time from begin to end, give or take a second."""
    assert gap.end_ns is not None
    return abs(gap.at_ns - begin_ns) <= slack_ns and abs(gap.end_ns - end_ns) <= slack_ns


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    (port,) = free_ports(1)
    return write(tmp_path / "agent", [circuit("A", udp(port))])


@pytest.mark.serial
def test_frozen_killed_and_stopped(configuration: Path, figure: Callable[[str], None]) -> None:
    store = configuration.parent / "store"
    with Agent(configuration) as agent:
        until(lambda: rows_in(store) >= 2)
        stopped = time.time_ns()
        agent.send(signal.SIGSTOP)
        time.sleep(FROZEN_S)
        agent.send(signal.SIGCONT)
        went_on = time.time_ns()
        until(lambda: len(gaps(store)) == 1)
        known = rows_in(store)
        until(lambda: rows_in(store) > known)
        killed = time.time_ns()
        agent.send(signal.SIGKILL)
        assert agent.ended() == -signal.SIGKILL
    with Agent(configuration) as agent:
        until(lambda: len(gaps(store)) == 2)
        started = time.time_ns()
        assert agent.end() == 0
        ended = time.time_ns()
    with Agent(configuration) as agent:
        until(lambda: len(gaps(store)) == 3)
        again = time.time_ns()
        assert agent.end() == 0
    frozen, crashed, off = gaps(store)
    assert [gap.reason for gap in (frozen, crashed, off)] == ["frozen", "crashed", "stopped"]
    assert covers(frozen, stopped, went_on)
    assert covers(crashed, killed, started, 3 * SECOND)  # the last commit, and the time a start takes
    assert covers(off, ended, again, 3 * SECOND)
    with StoreReader.open(store) as reader:
        lost = sum(
            item.sample.counts.lost
            for item in reader.after(0, 1000)
            if item.sample.counts is not None
            and item.sample.start_ns < went_on
            and item.sample.start_ns + item.sample.span_ns > stopped
            and item.sample.state.measured
        )
    figure(f"gaps: frozen, crashed and stopped recorded with begin and end; {lost} packets lost to the freeze")


class Group:
    """A control group of its own, of the older kind (a hierarchy of the freezer) or the newer one."""

    def __init__(self) -> None:
        older = (GROUPS / "freezer").is_dir()
        self.path = (GROUPS / "freezer" if older else GROUPS) / f"lwgaps{os.getpid()}"
        self._file, self._words = ("freezer.state", ("THAWED", "FROZEN")) if older else ("cgroup.freeze", ("0", "1"))

    def take(self, process: int) -> None:
        (self.path / "cgroup.procs").write_text(str(process))

    def freeze(self, frozen: bool) -> None:
        (self.path / self._file).write_text(self._words[frozen])


@pytest.fixture
def group() -> Iterator[Group]:
    found = Group()
    found.path.mkdir()
    yield found
    found.freeze(False)
    until(lambda: not (found.path / "cgroup.procs").read_text())
    found.path.rmdir()


@pytest.mark.root
@pytest.mark.serial
def test_frozen_by_the_control_group(configuration: Path, group: Group) -> None:
    store = configuration.parent / "store"
    with Agent(configuration) as agent:
        until(lambda: rows_in(store) >= 2)
        group.take(agent.process.pid)
        frozen_at = time.time_ns()
        group.freeze(True)
        time.sleep(FROZEN_S)
        group.freeze(False)
        thawed_at = time.time_ns()
        until(lambda: len(gaps(store)) == 1)
        assert agent.end() == 0
    (gap,) = gaps(store)
    assert gap.reason == "frozen"
    assert covers(gap, frozen_at, thawed_at)
