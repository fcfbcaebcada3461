"""A process that may open nothing more: what it has open goes on, what it lacks is said and is never the circuit's
fault, nothing leaks, and all comes back by itself."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from agent.store import Store, StoreReader
from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError
from probes.core.model import SampleState
from tests.agent.running import Agent, circuit, free_ports, reflector, tcp, udp, write
from tests.fakes.samples import ping

LIMIT: Final = 64
NOTHING_MORE: Final = 3
"""All descriptors below are taken, so that the next open fails (EMFILE)."""
STARVING: Final = 6
"""Intervals of a second without a descriptor."""


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def limit(pid: int, number: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, LIMIT))


@pytest.mark.root
@pytest.mark.serial
def test_an_agent_without_descriptors_goes_on_and_recovers(tmp_path: Path, figure: Callable[[str], None]) -> None:
    echo, responder, sink = free_ports(3)
    config = write(
        tmp_path / "agent", [circuit("A", udp(echo, "50ms"), tcp(responder))],
        reflector=reflector(echo, responder),
        sinks=[{"name": "central", "url": f"http://127.0.0.1:{sink}", "api": "v1", "database": "sla"}],
    )  # fmt: skip
    with Agent(config, through=("prlimit", f"--nofile={LIMIT}")) as agent:
        pid = agent.process.pid
        agent.line("A/udp ok", count=4)
        agent.line("A/tcp ok")
        before = descriptors(pid)
        limit(pid, NOTHING_MORE)
        shown = len(agent.line("A/udp ok"))
        agent.line("A/tcp invalid")
        agent.send(signal.SIGHUP)
        agent.line("configuration refused")
        agent.line("A/udp ok", count=shown + STARVING)
        limit(pid, LIMIT)
        tried = len(agent.line("A/tcp ok"))
        agent.line("A/tcp ok", count=tried + 3)
        after = descriptors(pid)
        assert agent.end() == 0, agent.text
    assert "Traceback" not in agent.text
    with agent.reader() as reader:
        samples = [item.sample for item in reader.after(0, 10**6)]
    starts = [sample.start_ns for sample in samples if sample.probe == "udp"]
    steps = {later - earlier for earlier, later in itertools.pairwise(starts[1:])}
    flows = [sample for sample in samples if sample.probe == "tcp"]
    starved = [sample for sample in flows if sample.state is SampleState.INVALID]
    figure(
        f"no descriptors: {len(starts)} intervals of the stream in a row, {len(starved)} of {len(flows)} runs of the "
        f"flow probe invalid for it, the others fine; {before} descriptors before, {after} after"
    )
    assert steps == {SECOND}
    assert {sample.state for sample in flows} == {SampleState.OK, SampleState.INVALID}
    assert {sample.reason for sample in starved} == {
        "this process has no file descriptor left (hint: raise LimitNOFILE)"
    }
    assert after <= before + 1


def test_a_store_that_cannot_open_anything_waits_and_opens_when_it_can(tmp_path: Path) -> None:
    path = tmp_path / "store"
    assert Store.open(path, clock=SystemClock(), site="lab").close(10.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = descriptors_of_this()
    resource.setrlimit(resource.RLIMIT_NOFILE, (NOTHING_MORE, hard))
    try:
        store = Store.open(path, clock=SystemClock(), site="lab")
        store.append([ping(n) for n in range(10)])
        assert not store.flush(0.2)
        assert "open" in (store.failure() or "")
        with pytest.raises(LocalError, match="cannot be read"):
            StoreReader.open(path)
        with pytest.raises(LocalError, match="not open yet"):
            store.cursor("central")
        deadline = time.monotonic() + 30
        while store.counters()["failures"] < 3:
            assert time.monotonic() < deadline
            store.flush(0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert store.flush(30.0)
    with StoreReader.open(path) as reader:
        assert [item.sample.start_ns for item in reader.after(0, 100)] == [ping(n).start_ns for n in range(10)]
    assert store.close(10.0)
    assert opened_since(before) == 0


def test_the_harness_counts_a_leak() -> None:
    before = descriptors_of_this()
    with Path("/dev/null").open("rb"):
        assert descriptors_of_this() == before + 1


def opened_since(before: int) -> int:
    """How many are open beyond so many, once what is being closed is closed."""
    deadline = time.monotonic() + 10
    while descriptors_of_this() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    return max(0, descriptors_of_this() - before)


def descriptors_of_this() -> int:
    return descriptors(os.getpid())
