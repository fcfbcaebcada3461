"""The canary in network namespaces of its own: real sockets, a real loopback that is taken away and given back."""

import itertools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from agent.canary import LOST, UNSENT, Canary
from agent.gate import Gate
from agent.store.hostseconds import AT, Breach, HostSeconds
from agent.store.records import EventRecord
from probes.core.arrays import ABSENT
from probes.core.clock import SECOND, SystemClock
from tests.agent.test_gate import SPAN, ToldHealth
from tests.lab.namespaces import PREFIX, command, started
from tests.probes.two_hosts import inside

pytestmark = pytest.mark.root

PACE_S = 0.2
"""Real time that stands for a second."""
DROP_INPUT = (
    "add table inet c; add chain inet c i { type filter hook input priority 0; }; add rule inet c i iif lo drop"
)
DROP_OUTPUT = DROP_INPUT.replace("hook input", "hook output").replace("iif lo", "oif lo")
_serial = itertools.count()


class HurriedClock(SystemClock):
    """Runs ahead of the kernel's monotonic clock when told to."""

    ahead_ns = 0

    def monotonic(self) -> int:
        return super().monotonic() + self.ahead_ns


class Watch:
    """A gate of this namespace, whose host is fit in every other way."""

    def __init__(self) -> None:
        self.clock = HurriedClock()
        self.canary = Canary(self.clock)
        self.kept: list[HostSeconds] = []
        self.events: list[EventRecord] = []
        self.gate = Gate(
            self.clock, ToldHealth(self.clock), span_ns=SPAN, lateness=lambda: 0, counters=dict,
            carriers_down=lambda: 0, canary=self.canary, keep=self.kept.append, event=self.events.append,
        )  # fmt: skip

    def seconds(self, number: int) -> None:
        for _ in range(number):
            self.gate.observe()
            time.sleep(PACE_S)
            self.clock.ahead_ns += SECOND

    def close(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """All seconds."""
        self.gate.close()
        return np.concatenate([part.values for part in self.kept])


@contextmanager
def namespace(*, loopback: bool) -> Iterator[str]:
    name = f"{PREFIX}-{os.getpid()}-{started(os.getpid())}-canary{next(_serial)}"
    command("ip", "netns", "add", name)
    try:
        if loopback:
            command("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=20)


def lo(name: str, state: str) -> Callable[[], object]:
    return lambda: command("ip", "-n", name, "link", "set", "lo", state)


def nft(name: str, rules: str) -> Callable[[], object]:
    return lambda: command("ip", "netns", "exec", name, "nft", rules)


@pytest.mark.parametrize("harm", ["down", "input", "output"])
def test_a_loopback_that_fails_makes_the_host_unfit_until_it_works_again(harm: str) -> None:
    with namespace(loopback=True) as name:
        begin, end, words = {
            "down": (lo(name, "down"), lo(name, "up"), LOST),
            "input": (nft(name, DROP_INPUT), nft(name, "delete table inet c"), LOST),
            "output": (nft(name, DROP_OUTPUT), nft(name, "delete table inet c"), f"{UNSENT}: Operation not permitted"),
        }[harm]

        def scene() -> Watch:
            watch = Watch()
            watch.seconds(4)
            begin()
            watch.seconds(3)
            assert watch.gate.gate() == words
            end()
            watch.seconds(4)
            return watch

        watch = inside(name, scene)
        seconds = watch.close()
    # The canary of the last good second is back already, that of the last bad one was gone before it was mended.
    assert seconds[:, AT["breach"]].tolist() == [0] * 5 + [int(Breach.CANARY)] * 3 + [0] * 3
    stack, user = seconds[:, AT["canary_ns"]], seconds[:, AT["canary_user_ns"]]
    assert (stack[5:8] == ABSENT).all()
    # The kernel may still be about to stamp at all when the first ones are sent.
    back = np.concatenate([stack[2:5], stack[8:]])
    assert (back >= 0).sum() >= 5
    assert 0 <= np.median(back[back >= 0]) < 1_000_000
    assert (user[stack != ABSENT] >= 0).all()
    assert [event.text for event in watch.events] == [f"this host was unfit to measure: {words}"]


@pytest.mark.parametrize("harm", ["never up", "always dropped"])
def test_a_host_that_never_had_a_loopback_is_fit(harm: str) -> None:
    with namespace(loopback=harm != "never up") as name:
        if harm != "never up":
            nft(name, DROP_INPUT)()

        def scene() -> Watch:
            watch = Watch()
            watch.seconds(6)
            (lo(name, "up") if harm == "never up" else nft(name, "delete table inet c"))()
            watch.seconds(4)
            return watch

        watch = inside(name, scene)
        seconds = watch.close()
    assert not watch.events
    assert (seconds[:, AT["breach"]] == 0).all()
    assert (seconds[:6, AT["canary_ns"]] == ABSENT).all()
    assert seconds[-1, AT["canary_ns"]] >= 0


def test_sockets_that_break_are_opened_anew_and_the_end_leaves_nothing() -> None:
    before = threading.active_count()

    def scene() -> Watch:
        watch = Watch()
        watch.seconds(2)
        watch.canary._nest._sender.close()
        watch.seconds(2)
        watch.canary._nest._receiver.close()
        watch.seconds(3)
        return watch

    with namespace(loopback=True) as name:
        watch = inside(name, scene)
        seconds = watch.close()
    assert (seconds[:, AT["breach"]] == 0).all()
    assert seconds[-1, AT["canary_ns"]] >= 0
    assert threading.active_count() == before
    assert "canary" not in [thread.name for thread in threading.enumerate()]
