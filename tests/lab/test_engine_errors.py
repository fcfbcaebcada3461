"""Errors of the network and of this host: rejected is not silence, and what never left is not loss."""

import subprocess
import time

import pytest

from tests.lab.namespaces import Lab
from tests.lab.record import Way
from tests.lab.reported import MS, STREAMS, Running, measure, stream, truth

pytestmark = [pytest.mark.root, pytest.mark.serial]


def unlimited_errors(lab: Lab) -> None:
    """ICMP errors for every packet: the kernel's default is one a second."""
    lab.far.sysctl(net__ipv4__icmp_ratelimit=0, net__ipv6__icmp__ratelimit=0)


@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_a_closed_port_is_rejected_and_says_by_whom(lab: Lab, family: int) -> None:
    unlimited_errors(lab)
    lab.link.delay(5)
    name = f"udp{family}"
    reported = measure(lab, [stream(lab, "udp", family, limit=40)]).streams[name]
    assert reported.states() == {"rejected"}
    assert all(s["reason"] == f"port unreachable from {lab.far.address(family)}" for s in reported.samples)
    assert reported.count("sent") == reported.count("lost") == 40
    assert reported.count("not_sent") == 0
    assert len(truth(lab.log(), name)) == 40


REJECTING = """table inet lab {
  chain input {
    type filter hook input priority 0
    ip saddr 198.51.100.1 icmp type echo-request reject with icmp type admin-prohibited
    ip6 saddr 2001:db8:77::1 icmpv6 type echo-request reject with icmpv6 type admin-prohibited
  }
}
"""


def test_a_firewall_that_rejects_is_named(lab: Lab) -> None:
    unlimited_errors(lab)
    lab.far.nft(REJECTING)
    run = measure(lab, [stream(lab, "icmp", family, limit=30) for family in (4, 6)])
    for family in (4, 6):
        reported = run.streams[f"icmp{family}"]
        assert reported.states() == {"rejected"}
        assert all("prohibited" in s["reason"] and lab.far.address(family) in s["reason"] for s in reported.samples)
        assert reported.count("lost") == reported.count("sent") == 30


def test_silence_is_no_reply_and_not_rejected(lab: Lab) -> None:
    lab.far.nft(REJECTING.replace("reject with icmp type admin-prohibited", "drop").replace(
        "reject with icmpv6 type admin-prohibited", "drop"))  # fmt: skip
    run = measure(lab, [stream(lab, "icmp", family, limit=20) for family in (4, 6)])
    assert {state for reported in run.streams.values() for state in reported.states()} == {"no_reply"}


@pytest.mark.parametrize(("kind", "family"), STREAMS, ids=[f"{kind}{family}" for kind, family in STREAMS])
def test_what_this_hosts_queue_dropped_was_not_sent(lab: Lab, kind: str, family: int) -> None:
    """A queue on the near host that takes fewer packets than are sent: those it refuses never reached the link."""
    lab.near.tc("qdisc", "add", "dev", "wan0", "root", "tbf", "rate", "256kbit", "burst", "1600", "limit", "3000")
    lab.far.python("-m", "tests.lab.answer", "8620", lab.far.ipv4, lab.far.ipv6, stdin=subprocess.PIPE)
    time.sleep(0.5)
    reported = measure(lab, [stream(lab, kind, family, every_ns=10 * MS, size=1000, limit=300)]).streams[
        f"{kind}{family}"
    ]
    trips = truth(lab.log(), f"{kind}{family}")
    assert reported.count("not_sent") > 50
    assert reported.count("sent") + reported.count("not_sent") == 300
    assert reported.count("sent") == len(trips)
    assert reported.count("lost") == trips.lost == 0
    assert reported.states() == {"ok"}


def test_an_interface_that_is_down_is_this_hosts_trouble(lab: Lab) -> None:
    running = Running(lab, [stream(lab, "icmp", 4, limit=60)], seconds=60)
    time.sleep(1)
    lab.near.ip("link", "set", "wan0", "down")
    time.sleep(1)
    lab.near.ip("link", "set", "wan0", "up")
    reported = running.finish().streams["icmp4"]
    sent = len(lab.log().select(way=Way.FORWARD, protocol="icmp"))
    assert reported.count("not_sent") > 5
    assert reported.count("sent") == sent
    assert reported.count("sent") + reported.count("not_sent") == 60
    assert reported.count("lost") <= 1
