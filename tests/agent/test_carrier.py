"""The carrier of interfaces: what is recorded, what is read back, and a real pair of interfaces that goes down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.carrier import DOWN, MOST, UP, Carriers, carrier_down
from agent.store import EventRecord
from probes.core.clock import SECOND
from probes.core.model import Circuit
from tests.fakes.clock import FakeClock
from tests.lab.namespaces import PREFIX

ROOT = Path(__file__).parents[2]


class Interfaces:
    """A directory like /sys/class/net, and what a watch over it records."""

    def __init__(self, root: Path, *names: str) -> None:
        self.root, self.clock = root, FakeClock()
        self.events: list[EventRecord] = []
        self.watch = Carriers(self.clock, self.events.append, root)
        self.circuits = [Circuit(f"c{index}", "192.0.2.1", interface=name) for index, name in enumerate(names)]
        for name in names:
            self.set(name, "1", "up", 1)

    def set(self, name: str, carrier: str, operstate: str, changes: int) -> None:
        (self.root / name).mkdir(exist_ok=True)
        for file, text in (("carrier", carrier), ("operstate", operstate), ("carrier_changes", str(changes))):
            (self.root / name / file).write_text(f"{text}\n")

    def look(self) -> list[tuple[str, int, str]]:
        """One second later: kind, instant and text of what is recorded anew."""
        before = len(self.events)
        self.clock.advance(SECOND)
        self.watch.observe(self.circuits)
        return [(item.kind, item.at_ns, item.text) for item in self.events[before:]]


def test_the_first_look_and_every_change_are_recorded(tmp_path: Path) -> None:
    net = Interfaces(tmp_path, "eth0", "eth0")
    assert [item[::2] for item in net.look()] == [(UP, "eth0 has a carrier: operstate up")]
    assert net.look() == []
    net.set("eth0", "0", "lowerlayerdown", 2)
    (change,) = net.look()
    assert change[::2] == (DOWN, "eth0 has no carrier: operstate lowerlayerdown")
    assert net.look() == []
    net.set("eth0", "1", "up", 3)
    assert [item[0] for item in net.look()] == [UP]


def test_a_loss_between_two_looks_is_told_by_the_count_of_changes(tmp_path: Path) -> None:
    net = Interfaces(tmp_path, "eth0")
    net.look()
    start = net.clock.wall()
    net.set("eth0", "1", "up", 3)
    found = net.look()
    assert [item[0] for item in found] == [DOWN, UP]
    assert found[0][2] == "eth0 has no carrier: 2 changes within a second"
    spans = carrier_down(net.events, "eth0", 0, net.clock.wall() + SECOND)
    assert spans is not None
    assert list(spans) == [(start + 1, start + SECOND)]


def test_an_interface_that_is_gone_or_switched_off_has_no_carrier(tmp_path: Path) -> None:
    net = Interfaces(tmp_path, "eth0")
    for name in ("carrier", "operstate", "carrier_changes"):
        (tmp_path / "eth0" / name).unlink()
    assert [item[::2] for item in net.look()] == [(DOWN, "eth0 has no carrier: operstate absent")]


def test_names_that_are_no_interface_are_not_looked_for(tmp_path: Path) -> None:
    net = Interfaces(tmp_path)
    net.circuits = [Circuit(f"c{name}", "192.0.2.1", interface=name) for name in ("../x", "..", ".", "a b", "x" * 16)]
    net.circuits.append(Circuit("plain", "192.0.2.1"))
    assert net.look() == []


def test_only_so_many_are_watched_and_those_no_longer_wanted_are_forgotten(tmp_path: Path) -> None:
    net = Interfaces(tmp_path, *(f"eth{number}" for number in range(MOST + 5)))
    assert len(net.look()) == MOST
    kept, net.circuits = net.circuits, []
    assert net.look() == []
    net.circuits = kept[:1]
    assert len(net.look()) == 1


def event(kind: str, at_ns: int, interface: str = "eth0", end_ns: int | None = None) -> EventRecord:
    return EventRecord(kind, at_ns, "text", end_ns, f"interface {interface}")


@pytest.mark.parametrize(
    ("events", "down"),
    [
        ([], None),
        ([event(UP, 5, "eth1")], None),
        ([event(UP, 5)], []),
        ([event(DOWN, 5), event(UP, 8)], [(5, 8)]),
        ([event(UP, 8), event(DOWN, 5)], [(5, 8)]),
        ([event(DOWN, 5)], [(5, 100)]),
        ([event(DOWN, 5), event(DOWN, 7), event(UP, 9), event(DOWN, 20), event(UP, 30)], [(5, 9), (20, 30)]),
        ([event(DOWN, 5), event(UP, 6, end_ns=50), event(UP, 60)], [(5, 50)]),
        ([event(DOWN, 5), event(UP, 8, "eth1"), event("stop", 9)], [(5, 100)]),
    ],
)
def test_what_was_recorded_is_read_back(events: list[EventRecord], down: list[tuple[int, int]] | None) -> None:
    found = carrier_down(events, "eth0", 0, 100)
    assert (None if found is None else list(found)) == down


WATCHED = """
import json, subprocess, sys
from agent.carrier import Carriers, carrier_down
from probes.core.clock import SystemClock
from probes.core.model import Circuit
events = []
watch = Carriers(SystemClock(), events.append)
circuits = [Circuit("c1", "192.0.2.1", interface="lwa")]
for words in ([], ["lwb", "down"], [], ["lwb", "up"], [], ["lwa", "down"], ["lwa", "up"]):
    if words:
        subprocess.run(["ip", "link", "set", *words], check=True)
    watch.observe(circuits)
print(json.dumps([[item.kind, item.text] for item in events]))
"""


@pytest.mark.root
def test_a_cable_that_is_pulled_and_put_back() -> None:
    """The far end of a pair goes down and up, then the near one: both are losses of the carrier."""
    name = f"{PREFIX}-carrier-{id(object()):x}"[:24]
    inside = ["ip", "netns", "exec", name]
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        pair = "ip link add lwa type veth peer name lwb && ip link set lwa up && ip link set lwb up"
        subprocess.run([*inside, "sh", "-c", pair], check=True)
        done = subprocess.run(
            [*inside, sys.executable, "-c", WATCHED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    found = json.loads(done.stdout)
    assert [kind for kind, _ in found] == [UP, DOWN, UP, DOWN, UP]
    for place in (1, 3):  # the kernel's word for the state comes a moment after the carrier has gone
        assert found[place][1].startswith("lwa has no carrier: operstate ")
