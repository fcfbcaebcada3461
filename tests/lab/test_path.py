"""The path probe through real routers: hops, silence, limits, DSCP, sizes, loops, load balancing and changes."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path as File

import pytest

from agent.paths import CHANGED
from agent.store import StoreReader
from probes import path
from probes.core.catalog import FlowTarget
from probes.core.clock import SystemClock
from probes.core.model import Sample, SampleState, StampSource
from tests.lab.chain import Chain
from tests.lab.namespaces import Host, end
from tests.probes.trace.packets import hashed, make_flow
from tests.probes.two_hosts import inside

pytestmark = [pytest.mark.root, pytest.mark.serial]

ROUTERS = 4
ETH_P_ALL = 3
DROP_EXCEEDED = (
    "table inet silent {{\nchain out {{\ntype filter hook output priority 0;\n"
    "icmp type {} drop\nicmpv6 type {} drop\n}}\n}}\n"
)
FAMILIES = pytest.mark.parametrize("family", [4, 6])


@pytest.fixture(scope="module")
def routers() -> Iterator[Chain]:
    made = Chain(ROUTERS)
    yield made
    made.close()


@pytest.fixture
def chain(routers: Chain) -> Iterator[Chain]:
    """The chain, its firewalls empty and its sizes usual when the test is over."""
    yield routers
    for node in routers.nodes:
        node.nft("flush ruleset")


def trace(chain: Chain, family: int = 4, *, dscp: int = 0, target: str | None = None, **parameters: object) -> Sample:
    address = target or chain.target(family)
    asked = FlowTarget("C-1", "path", address, address, dscp=dscp)
    return inside(chain.near.name, lambda: path.measure(asked, {"mtu": False} | parameters, SystemClock()))


def addresses(sample: Sample) -> tuple[str | None, ...]:
    assert sample.path is not None, sample.reason
    return sample.path.addresses


def all_hops(chain: Chain, family: int) -> tuple[str, ...]:
    return tuple(chain.hop(ttl, family) for ttl in range(1, chain.links + 1))


def captured(node: Host, interface: str, action: Callable[[], object]) -> list[bytes]:
    """IP packets that came in by an interface while the action went on."""

    def opened() -> socket.socket:
        listening = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        listening.bind((interface, ETH_P_ALL))
        listening.setblocking(False)
        return listening

    with inside(node.name, opened) as listening:
        action()
        packets = []
        while True:
            try:
                data, (_, _, kind, *_) = listening.recvfrom(65_535)
            except BlockingIOError:
                return packets
            if kind != socket.PACKET_OUTGOING:
                packets.append(data)


@FAMILIES
@pytest.mark.parametrize("protocol", ["udp", "icmp", "tcp"])
def test_every_hop_is_found_and_the_flow_is_one(chain: Chain, family: int, protocol: str) -> None:
    samples: list[Sample] = []
    seen = captured(
        chain.nodes[1],
        "near0",
        lambda: samples.append(trace(chain, family, protocol=protocol, port=33434, dscp=46, mtu=True)),
    )
    (sample,) = samples
    assert sample.state is SampleState.OK, sample.reason
    assert addresses(sample) == all_hops(chain, family)
    assert sample.path is not None
    assert [(hop.sent, hop.received) for hop in sample.path.hops] == [(3, 3)] * chain.links
    assert {hop.dscp for hop in sample.path.hops[:-1]} == {46}
    assert sample.path.mtu == 1500
    assert sample.counts is None
    assert sample.quality.stamps in (StampSource.KERNEL, StampSource.KERNEL_RECEIVE)
    assert all(hop.minimum_ns is not None and hop.minimum_ns > 0 for hop in sample.path.hops)
    flow = make_flow(family, protocol)
    at, number = (9, {"udp": 17, "icmp": 1, "tcp": 6}) if family == 4 else (6, {"udp": 17, "icmp": 58, "tcp": 6})
    ours = [data for data in seen if data[0] >> 4 == family and data[at] == number[protocol]]
    if protocol == "tcp":  # the kernel resets what the target opens
        ours = [data for data in ours if data[(20 if family == 4 else 40) + 13] == 0x02]
    else:
        ours = [data for data in ours if len(data) == 60]
    if family == 6 and protocol == "icmp":
        ours = [data for data in ours if data[40] == 128]
    assert len(ours) >= 3 * chain.links
    assert len({hashed(flow, data) for data in ours}) == 1


def test_a_hop_that_keeps_silent_is_told_so_and_is_no_loss(chain: Chain) -> None:
    chain.nodes[2].nft(DROP_EXCEEDED.format("time-exceeded", "time-exceeded"))
    sample = trace(chain)
    assert sample.state is SampleState.OK
    expected = list(all_hops(chain, 4))
    assert addresses(sample) == (expected[0], None, *expected[2:])
    assert sample.path is not None
    assert (sample.path.hops[1].sent, sample.path.hops[1].received) == (3, 0)
    assert sample.reason is None


def test_routers_that_limit_their_answers_are_not_made_silent(chain: Chain) -> None:
    """Ten packets for each hop where the kernel gives six answers at once and one a second from then on."""
    trace(chain, probes=3)
    sample = trace(chain, probes=8)
    assert sample.path is not None
    assert addresses(sample) == all_hops(chain, 4)
    assert all(hop.received >= 5 for hop in sample.path.hops), sample.path.hops


@FAMILIES
def test_where_dscp_is_rewritten(chain: Chain, family: int) -> None:
    rewrite = "ip dscp set cs1" if family == 4 else "ip6 dscp set cs1"
    chain.nodes[3].nft(
        f"table inet remark {{\nchain pre {{\ntype filter hook prerouting priority -150;\n{rewrite}\n}}\n}}\n"
    )
    sample = trace(chain, family, dscp=46)
    assert sample.reason == "DSCP EF until hop 2, CS1 from hop 3"
    assert sample.path is not None
    assert [hop.dscp for hop in sample.path.hops] == [46, 46, 8, 8, 8]


@pytest.fixture
def narrow(chain: Chain) -> Iterator[Chain]:
    """The third link takes 1400 octets."""
    chain.mtu(2, 1400)
    yield chain
    chain.mtu(2, 1500)


@pytest.mark.parametrize(("family", "protocol"), [(4, "udp"), (6, "tcp")])
def test_a_narrow_link_is_found_by_what_its_router_tells(narrow: Chain, family: int, protocol: str) -> None:
    sample = trace(narrow, family, protocol=protocol, mtu=True)
    assert sample.path is not None
    assert (sample.path.mtu, sample.reason) == (1400, None)
    assert [hop.mtu for hop in sample.path.hops] == [None, 1400, None, None, None]


def test_a_narrow_link_that_tells_nothing_is_found_by_search(narrow: Chain) -> None:
    narrow.nodes[2].nft(DROP_EXCEEDED.format("destination-unreachable", "packet-too-big"))
    sample = trace(narrow, protocol="icmp", mtu=True)
    assert sample.path is not None
    assert sample.path.mtu == 1400
    assert sample.reason == "packets above 1400 octets vanish without a word between hop 2 and hop 3"


def test_a_target_that_answers_nothing_is_no_reply(chain: Chain) -> None:
    chain.far.nft("table inet mute {\nchain in {\ntype filter hook input priority 0;\nudp dport 33434 drop\n}\n}\n")
    sample = trace(chain, silent=2)
    assert sample.state is SampleState.NO_REPLY
    assert sample.reason == f"no answer from {chain.target()}; the last hop that answers is 4, {chain.hop(4)}"


def test_a_route_that_is_missing_is_rejected(chain: Chain) -> None:
    chain.nodes[3].ip("route", "add", "unreachable", "10.99.4.0/24")
    try:
        sample = trace(chain)
    finally:
        chain.nodes[3].ip("route", "del", "unreachable", "10.99.4.0/24")
    assert sample.state is SampleState.REJECTED
    assert sample.reason == f"host unreachable from {chain.hop(3)} (hop 3)"


def test_packets_that_go_in_circles(chain: Chain) -> None:
    chain.nodes[3].ip("route", "add", "10.77.0.0/16", "via", "10.99.2.1")
    try:
        sample = trace(chain, target="10.77.1.1")
    finally:
        chain.nodes[3].ip("route", "del", "10.77.0.0/16")
    assert sample.state is SampleState.NO_REPLY
    words, _, members = (sample.reason or "").partition(": ")  # a router on the circle may have limited its answers
    assert words in {f"packets go in circles from hop {hop} on" for hop in (2, 3)}
    assert sorted(members.split(", ")) == sorted([chain.hop(2), chain.hop(3)])


def test_without_the_right_to_raw_sockets_the_remedy_is_named(chain: Chain) -> None:
    words = [sys.executable, "-m", "agent.cli.main", "probe", "path", chain.target(), "--json"]
    done = chain.near.run(["setpriv", "--reuid", "65534", "--clear-groups", *words], check=False)
    (run,) = json.loads(done.stdout)["runs"]
    assert done.returncode == 1, done.stderr
    assert run["state"] == "invalid"
    assert "may not open raw sockets" in run["reason"]
    assert "CAP_NET_RAW" in run["reason"]


def test_what_this_host_itself_does_not_send_is_no_silence(chain: Chain) -> None:
    chain.near.nft("table inet own {\nchain out {\ntype filter hook output priority 0;\nudp dport 33434 drop\n}\n}\n")
    forbidden, large = trace(chain), trace(chain, 6, size=2000)
    assert (forbidden.state, large.state) == (SampleState.INVALID, SampleState.INVALID)
    assert forbidden.reason == f"a firewall rule of this host forbids sending to {chain.target()}"
    assert large.reason == f"the interface towards {chain.target(6)} takes no packets of 2000 octets"


def test_the_command_prints_a_table(chain: Chain) -> None:
    words = [sys.executable, "-m", "agent.cli.main", "probe", "path", chain.target(6), "--dscp", "EF"]
    said = chain.near.run(words).stdout.splitlines()
    assert [line.split()[:3] for line in said[2:7]] == [
        [str(ttl), chain.hop(ttl, 6), "3/3"] for ttl in range(1, chain.links + 1)
    ]
    assert all(line.endswith("EF") for line in said[2:7])
    assert any("reached after 5 hops, path MTU 1500 octets" in line for line in said)


@pytest.fixture
def second_link(chain: Chain) -> Iterator[Chain]:
    """Two links from router a to router b; b answers with the address of the link a packet came by."""
    first, second = chain.nodes[1], chain.nodes[2]
    first.ip("link", "add", "far1", "type", "veth", "peer", "name", "near1", "netns", second.name)
    for node, interface, number in ((first, "far1", 1), (second, "near1", 2)):
        node.ip("address", "add", f"10.98.1.{number}/24", "dev", interface)
        node.ip("link", "set", interface, "up")
    second.sysctl(net__ipv4__icmp_errors_use_inbound_ifaddr=1)
    yield chain
    first.ip("link", "del", "far1")
    first.ip("route", "replace", "default", "via", "10.99.1.2")


def test_one_path_for_a_flow_where_packets_are_spread(second_link: Chain) -> None:
    """With ports hashed by router a: packets of a trace stay together, other ports go the other way."""
    second_link.nodes[1].ip(
        "route", "replace", "default", "nexthop", "via", "10.99.1.2", "nexthop", "via", "10.98.1.2"
    )  # fmt: skip
    ways: set[str | None] = set()
    for port in range(33434, 33446):
        sample = trace(second_link, port=port, probes=5, max_hops=2, silent=1, timeout=300_000_000)
        assert sample.path is not None
        assert "answers as" not in (sample.reason or "")
        ways.add(sample.path.addresses[1])
        if len(ways) == 2:
            break
    assert ways == {"10.99.1.2", "10.98.1.2"}


AGENT = """site: chain
interval: 1s
store: {{path: {store}}}
circuits:
  - name: ACME-1
    target: {target}
    probes:
      - {{kind: icmp, every: 100ms, timeout: 500ms}}
      - {{kind: path, mtu: false}}
"""


def test_an_agent_traces_when_a_stream_falls_silent_and_tells_the_change(second_link: Chain, tmp_path: File) -> None:
    """Traced at the start and every ten minutes, were it not for the stream's change of state."""
    config, store = tmp_path / "agent.yaml", tmp_path / "store"
    config.write_text(AGENT.format(store=store, target=second_link.target()))
    words = [sys.executable, "-m", "agent.cli.main", "run", "-c", str(config), "--output", "lines"]
    with (tmp_path / "agent.log").open("wb") as log:
        agent = second_link.near.popen(words, stdout=log, stderr=log)
        try:
            wait_for(lambda: len(runs(store)) == 1)
            second_link.nodes[1].ip("route", "replace", "default", "via", "10.98.1.2")
            second_link.far.nft(
                "table inet mute {\nchain in {\ntype filter hook input priority 0;\nicmp type echo-request drop\n}\n}\n"
            )
            wait_for(lambda: bool(changes(store)))
        finally:
            end(agent, 20)
    assert len(runs(store)) == 2, (tmp_path / "agent.log").read_text()
    hops = [second_link.hop(ttl) for ttl in range(1, 6)]
    before, now = " ".join(hops), " ".join([hops[0], "10.98.1.2", *hops[2:]])
    assert changes(store) == [
        ("ACME-1", f"ACME-1/path: hop 2 is now 10.98.1.2, was 10.99.1.2; before: {before}; now: {now}")
    ]


def runs(store: File) -> list[int]:
    """When the runs that are kept began."""
    if not (store / "live.sqlite").exists():
        return []
    with StoreReader.open(store) as reader:
        return [item.sample.start_ns for item in reader.samples("ACME-1", "path", 0, 1 << 62)]


def changes(store: File) -> list[tuple[str | None, str]]:
    with StoreReader.open(store) as reader:
        return [(event.circuit, event.text) for event in reader.events() if event.kind == CHANGED]


def wait_for(condition: Callable[[], bool], seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.2)
