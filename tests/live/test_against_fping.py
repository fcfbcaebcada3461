"""The engine and fping and ping on the same path: the same losses, and medians within 0.1 ms.

Loopback, and a veth pair with losses that any prober meets alike: every fifth packet, or a target that is not there.
(Random loss through the link emulator, judged by its log, is in tests/lab.)
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from probes.core.clock import MILLISECOND
from probes.core.model import Sample
from probes.engine.streams import StreamSpec
from tests.live.engine_run import rtt_ms, run_engine, total
from tests.probes.two_hosts import TwoHosts, two_hosts

pytestmark = [pytest.mark.root, pytest.mark.live("fping", "iputils-ping"), pytest.mark.serial]

COUNT = 150
PERIOD_MS = 20
TOLERANCE_MS = 0.1


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as pair:
        yield pair


def stream(address: str, kind: str = "icmp", port: int = 0) -> StreamSpec:
    return StreamSpec(
        circuit="LIVE-1",
        probe=f"{kind} {address}",
        kind=kind,
        address=address,
        host=address,
        port=port,
        every_ns=PERIOD_MS * MILLISECOND,
        timeout_ns=500 * MILLISECOND,
        limit=COUNT,
    )


def engine(hosts: TwoHosts, addresses: Sequence[str]) -> dict[str, list[Sample]]:
    found = hosts.near_does(lambda: run_engine([stream(address) for address in addresses]))
    return {address: found[f"icmp {address}"] for address in addresses}


def fping(hosts: TwoHosts, addresses: Sequence[str], period_ms: int = PERIOD_MS) -> dict[str, list[float | None]]:
    """Round trips in ms by address, None for a lost one."""
    words = ["ip", "netns", "exec", hosts.near, "fping", "-q", "-C", str(COUNT), "-p", str(period_ms), "-t", "500"]
    done = subprocess.run([*words, "-i", "1", *addresses], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, list[float | None]] = {}
    for line in done.stderr.splitlines():
        address, separator, values = line.partition(" : ")
        if separator and address.strip() in addresses:
            found[address.strip()] = [None if value == "-" else float(value) for value in values.split()]
    assert set(found) == set(addresses), done.stderr
    return found


def median(values: Sequence[float | None]) -> float:
    return float(np.median([value for value in values if value is not None]))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.77.0.2", "fd77::2"])
def test_loss_free_paths(hosts: TwoHosts, address: str) -> None:
    ours = engine(hosts, [address])[address]
    theirs = fping(hosts, [address])[address]
    assert len(theirs) == total(ours, "sent") == total(ours, "received") == COUNT
    assert theirs.count(None) == total(ours, "lost") == 0
    assert abs(float(np.median(rtt_ms(ours))) - median(theirs)) < TOLERANCE_MS


@pytest.mark.parametrize(
    ("address", "match"),
    [("10.77.0.2", "icmp type echo-request"), ("fd77::2", "icmpv6 type echo-request")],
)
def test_every_fifth_packet_lost(hosts: TwoHosts, address: str, match: str) -> None:
    """One prober after the other, so that each meets the whole pattern."""
    name = "fifth6" if ":" in address else "fifth4"
    rule = f"{match} numgen inc mod 5 == 0 drop"
    hosts.nft(f"table inet {name} {{ chain c {{ type filter hook input priority 0; {rule}\n }}\n }}\n", at=hosts.far)
    try:
        ours = engine(hosts, [address])[address]
        theirs = fping(hosts, [address])[address]
    finally:
        hosts.nft(f"delete table inet {name}\n", at=hosts.far)
    assert theirs.count(None) == total(ours, "lost") == COUNT // 5
    assert total(ours, "sent") == COUNT
    assert abs(float(np.median(rtt_ms(ours))) - median(theirs)) < TOLERANCE_MS


def test_present_and_absent_targets_side_by_side(hosts: TwoHosts) -> None:
    """10.77.3.1 is routed to the far host, which drops it without a word."""
    hosts.ip("route add 10.77.3.0/24 via 10.77.0.2")
    hosts.ip("route add blackhole 10.77.3.0/24", at=hosts.far)
    addresses = ["10.77.0.2", "10.77.3.1", "fd77::2"]
    ours = engine(hosts, addresses)
    theirs = fping(hosts, addresses[:2], period_ms=PERIOD_MS)
    assert [theirs[address].count(None) for address in addresses[:2]] == [0, COUNT]
    assert [total(ours[address], "lost") for address in addresses] == [0, COUNT, 0]
    assert [total(ours[address], "not_sent") for address in addresses] == [0, 0, 0]
    assert {sample.state.value for sample in ours["10.77.3.1"]} == {"no_reply"}


def test_ping_agrees(hosts: TwoHosts) -> None:
    words = ["ip", "netns", "exec", hosts.near, "ping", "-n", "-c", str(COUNT), "-i", "0.02", "10.77.0.2"]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    theirs = [float(value) for value in re.findall(r"time=([\d.]+) ms", said)]
    ours = engine(hosts, ["10.77.0.2"])["10.77.0.2"]
    assert len(theirs) == total(ours, "received") == COUNT
    assert abs(float(np.median(rtt_ms(ours))) - float(np.median(theirs))) < TOLERANCE_MS
