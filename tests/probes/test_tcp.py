"""TCP connect probe on real sockets: who was at fault, what was counted, what was timed."""

import dataclasses
import resource
import socket
import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from probes.core import catalog
from probes.core.arrays import ABSENT
from probes.core.catalog import FlowTarget
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.model import Counts, PacketState, Sample, SampleState, StampSource
from probes.engine import connection
from probes.engine.connection import Attempt, Outcome
from probes.metrics import histogram
from probes.tcp import PROBE
from probes.wire.tcp_info import TcpInfo
from tests.probes.two_hosts import TwoHosts, two_hosts

CLOCK = SystemClock()
TARGET = FlowTarget(circuit="C1", probe="tcp", host="localhost", address="127.0.0.1")


def measure(port: int, timeout: int = 2 * SECOND, **changes: object) -> Sample:
    target = dataclasses.replace(TARGET, **changes)  # type: ignore[arg-type]
    return PROBE.measure(target, {"port": port, "timeout": timeout}, CLOCK)


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[tuple[str, int, socket.socket]]:
    address = str(request.param)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
        server.bind((address, 0))
        server.listen(8)
        server.settimeout(5)
        yield address, server.getsockname()[1], server


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_catalogue_finds_it() -> None:
    assert catalog.load("tcp") is PROBE


def test_open_port_is_timed_by_the_kernel(listener: tuple[str, int, socket.socket]) -> None:
    address, port, _ = listener
    sample = measure(port, address=address)
    assert sample.state is SampleState.OK
    assert sample.counts == Counts(sent=1, received=1)
    assert (sample.circuit, sample.probe, sample.kind, sample.remote) == ("C1", "tcp", "tcp", address)
    phases = dict(sample.phases)
    assert sample.delay is not None
    assert sample.quality.stamps is StampSource.KERNEL
    assert sample.delay.sum_ns == sample.delay.p99_ns == phases["kernel_rtt"]
    assert phases["kernel_rtt"] <= phases["connect"] + MILLISECOND
    assert sample.packets is not None
    assert sample.packets.rtt_ns.tolist() == [sample.delay.sum_ns]
    assert sample.packets.state.tolist() == [PacketState.ANSWERED]
    assert sample.histogram is not None
    assert histogram.total(sample.histogram) == 1


def test_the_connection_is_closed_in_order_not_reset(listener: tuple[str, int, socket.socket]) -> None:
    address, port, server = listener
    measure(port, address=address)
    accepted, _ = server.accept()
    with accepted:
        accepted.settimeout(5)
        assert accepted.recv(1) == b""


def test_refused_port_is_rejected_and_its_reset_is_no_delay() -> None:
    sample = measure(closed_port())
    assert sample.state is SampleState.REJECTED
    assert sample.counts == Counts(sent=1, lost=1)
    assert sample.reason == "connection refused by 127.0.0.1"
    assert sample.delay is None
    assert sample.histogram is None
    assert [name for name, _ in sample.phases] == ["rejected"]
    assert sample.packets is not None
    assert sample.packets.rtt_ns.tolist() == [ABSENT]
    assert sample.packets.state.tolist() == [PacketState.REJECTED]


def test_source_address(listener: tuple[str, int, socket.socket]) -> None:
    address, port, server = listener
    source = "::1" if ":" in address else "127.0.0.9"
    assert measure(port, address=address, source=source).state is SampleState.OK
    accepted, peer = server.accept()
    with accepted:
        assert peer[0] == source


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"source": "203.0.113.7"}, "source address 203.0.113.7 is not on this host, or it has no free port"),
        ({"source": "::1"}, "source ::1 and target 127.0.0.1 are of different IP versions"),
        ({"interface": "nosuch0"}, "there is no interface nosuch0 on this host"),
        ({"address": "0.0.0.0"}, "0.0.0.0 is not the address of one host (hint: give a unicast address)"),
        ({"address": "ff02::1"}, "ff02::1 is not the address of one host (hint: give a unicast address)"),
        ({"address": "fe80::9"}, "fe80::9 is a link-local address (hint: name the interface: fe80::9%eth0)"),
        ({"address": "example.invalid"}, "'example.invalid' is not a numeric address"),
    ],
)
def test_what_this_host_cannot_send_is_never_loss(changes: dict[str, object], text: str) -> None:
    sample = measure(9, **changes)
    assert sample.state is SampleState.INVALID
    assert sample.counts == Counts(not_sent=1)
    assert sample.reason == text
    assert sample.packets is not None
    assert sample.packets.state.tolist() == [PacketState.NOT_SENT]


@pytest.mark.serial
def test_no_file_descriptor_left_is_not_sent_and_leaks_nothing(listener: tuple[str, int, socket.socket]) -> None:
    address, port, _ = listener
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    measure(port, address=address)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        sample = measure(port, address=address)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sample.state is SampleState.INVALID
    assert sample.counts == Counts(not_sent=1)
    assert sample.reason == "this process has no file descriptor left (hint: raise LimitNOFILE)"
    assert measure(port, address=address).state is SampleState.OK


def test_a_full_backlog_times_out_by_the_deadline() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        held = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            held.append(filler)
        sample = measure(port, timeout=200 * MILLISECOND)
        for filler in held:
            filler.close()
    assert sample.state is SampleState.NO_REPLY
    assert sample.counts == Counts(sent=1, lost=1)
    assert sample.reason is not None
    assert sample.reason.startswith("no answer from 127.0.0.1 within 2")
    assert 200 * MILLISECOND <= sample.span_ns < 2 * SECOND


@pytest.mark.parametrize(
    ("info", "delay", "stamps", "reason"),
    [
        (TcpInfo(1, 20_000, 0, 1448, 0, 0), 20_000, StampSource.KERNEL, None),
        (TcpInfo(1, 0, 0, 1448, 0, 0), 1_000_900_000, StampSource.USER, None),
        (TcpInfo(1, 20_000, 1, 1448, 0, 0), 1_000_900_000, StampSource.USER, "connected after 1 repeated SYN"),
        (None, 1_000_900_000, StampSource.USER, None),
    ],
)
def test_which_clock_gives_the_delay(
    monkeypatch: pytest.MonkeyPatch, info: TcpInfo | None, delay: int, stamps: StampSource, reason: str | None
) -> None:
    attempt = Attempt(Outcome.CONNECTED, 5, 1_000_900_000, None, None, info)
    monkeypatch.setattr("probes.tcp.open_connection", lambda *_: attempt)
    sample = measure(9)
    assert sample.delay is not None
    assert (sample.delay.sum_ns, sample.quality.stamps, sample.reason) == (delay, stamps, reason)
    assert sample.state is SampleState.OK


def test_a_thread_that_waits_for_the_processor_does_not_add_to_the_delay(
    listener: tuple[str, int, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, port, _ = listener
    settle = connection._settle
    paused = threading.Event()

    def late(opened: socket.socket, deadline: int, clock: SystemClock) -> int:
        code = settle(opened, deadline, clock)
        paused.wait(0.3)
        return code

    monkeypatch.setattr(connection, "_settle", late)
    sample = measure(port, address=address)
    assert sample.delay is not None
    assert dict(sample.phases)["connect"] >= 300 * MILLISECOND
    assert sample.delay.sum_ns < 200 * MILLISECOND


def test_error_queue_of_a_local_origin_is_not_taken_for_the_network() -> None:
    class Queue:
        def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
            local = struct.pack("=IBBBBII", 113, 1, 0, 0, 0, 0, 0) + bytes(16)
            return b"", [(0, 11, local)], 0, None

    assert connection._icmp_message(Queue(), socket.AF_INET) is None  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as pair:
        yield pair


LOCAL_ROUTES = [
    ("10.90.0.1", "blackhole 10.90.0.0/24", "a blackhole route of this host covers 10.90.0.1"),
    ("10.91.0.1", "unreachable 10.91.0.0/24", "a route of this host makes 10.91.0.1 unreachable"),
    ("10.92.0.1", "prohibit 10.92.0.0/24", "a prohibit route of this host covers 10.92.0.1"),
    ("10.93.0.1", None, "this host has no route to 10.93.0.1"),
    ("fd90::1", "unreachable fd90::/64", "a route of this host makes fd90::1 unreachable"),
    ("fd91::1", None, "this host has no route to fd91::1"),
]


@pytest.mark.root
@pytest.mark.parametrize(("address", "route", "text"), LOCAL_ROUTES)
def test_routes_of_this_host_are_not_the_networks_fault(
    hosts: TwoHosts, address: str, route: str | None, text: str
) -> None:
    if route:
        hosts.ip(f"route add {route}")
    sample = hosts.near_does(lambda: measure(80, address=address))
    assert (sample.state, sample.counts, sample.reason) == (SampleState.INVALID, Counts(not_sent=1), text)


REMOTE_ROUTES = [
    ("10.95.0.1", "10.77.0.2", "unreachable 10.95.0.0/24", "host unreachable from 10.77.0.2"),
    ("10.96.0.1", "10.77.0.2", "prohibit 10.96.0.0/24", "prohibited by a filter from 10.77.0.2"),
    ("fd95::1", "fd77::2", "unreachable fd95::/64", "no route from fd77::2"),
    ("fd96::1", "fd77::2", "prohibit fd96::/64", "prohibited by a filter from fd77::2"),
]


@pytest.mark.root
@pytest.mark.parametrize(("address", "via", "route", "text"), REMOTE_ROUTES)
def test_icmp_errors_of_a_router_are_rejections_that_name_it(
    hosts: TwoHosts, address: str, via: str, route: str, text: str
) -> None:
    hosts.ip(f"route add {route.split()[1]} via {via}")
    hosts.ip(f"route add {route}", at=hosts.far)
    sample = hosts.near_does(lambda: measure(80, address=address))
    assert (sample.state, sample.counts, sample.reason) == (SampleState.REJECTED, Counts(sent=1, lost=1), text)


@pytest.mark.root
@pytest.mark.parametrize("address", ["10.98.0.1", "fd98::1"])
def test_blackhole_beyond_the_first_hop_is_no_reply_by_the_deadline(hosts: TwoHosts, address: str) -> None:
    network, via = ("fd98::/64", "fd77::2") if ":" in address else ("10.98.0.0/24", "10.77.0.2")
    hosts.ip(f"route add {network} via {via}")
    hosts.ip(f"route add blackhole {network}", at=hosts.far)
    sample = hosts.near_does(lambda: measure(80, timeout=250 * MILLISECOND, address=address))
    assert (sample.state, sample.counts) == (SampleState.NO_REPLY, Counts(sent=1, lost=1))
    assert sample.delay is None
    assert 250 * MILLISECOND <= sample.span_ns < 2 * SECOND


@pytest.mark.root
def test_a_neighbour_that_does_not_answer_is_no_reply_and_says_so(hosts: TwoHosts) -> None:
    sample = hosts.near_does(lambda: measure(80, timeout=6 * SECOND, address="10.77.0.66"))
    assert (sample.state, sample.counts) == (SampleState.NO_REPLY, Counts(sent=1, lost=1))
    assert sample.reason == "no neighbour answers ARP or ND on the way to 10.77.0.66"


@pytest.mark.root
def test_firewalls_near_and_far(hosts: TwoHosts) -> None:
    reject = "table inet t {{ chain c {{ type filter hook {hook} priority 0; tcp dport {port} reject\n }}\n }}\n"
    hosts.nft(reject.format(hook="output", port=4001))
    hosts.nft(reject.format(hook="input", port=4002), at=hosts.far)
    own = hosts.near_does(lambda: measure(4001, address="10.77.0.2"))
    assert (own.state, own.counts) == (SampleState.INVALID, Counts(not_sent=1))
    assert own.reason == "a firewall rule of this host rejects packets to 10.77.0.2 (port unreachable)"
    other = hosts.near_does(lambda: measure(4002, address="10.77.0.2"))
    assert (other.state, other.reason) == (SampleState.REJECTED, "port unreachable from 10.77.0.2")


@pytest.mark.root
def test_lost_syn_is_seen_in_the_delay_and_named(hosts: TwoHosts) -> None:
    every_other = "tcp dport 4003 numgen inc mod 2 == 0 drop"
    hosts.nft(f"table inet l {{ chain c {{ type filter hook input priority 0; {every_other}\n }}\n }}\n", at=hosts.far)
    server = hosts.far_does(socket.socket)
    with server:
        server.bind(("10.77.0.2", 4003))
        server.listen(4)
        sample = hosts.near_does(lambda: measure(4003, timeout=5 * SECOND, address="10.77.0.2"))
    assert sample.state is SampleState.OK
    assert sample.reason == "connected after 1 repeated SYN"
    assert sample.delay is not None
    assert sample.delay.sum_ns == dict(sample.phases)["connect"] > 900 * MILLISECOND
    assert np.array_equal(sample.packets.rtt_ns if sample.packets else [], [sample.delay.sum_ns])


@pytest.mark.root
@pytest.mark.parametrize(("address", "match"), [("10.77.0.2", "ip dscp != ef"), ("fd77::2", "ip6 dscp != ef")])
def test_dscp_is_on_the_first_packet(hosts: TwoHosts, address: str, match: str) -> None:
    port = 4010 if ":" in address else 4011
    rule = f"tcp dport {port} {match} reject"
    hosts.nft(f"table inet d {{ chain c {{ type filter hook input priority 0; {rule}\n }}\n }}\n", at=hosts.far)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with hosts.far_does(lambda: socket.socket(family)) as server:
        server.bind((address, port))
        server.listen(4)
        assert hosts.near_does(lambda: measure(port, address=address, dscp=46)).state is SampleState.OK
        assert hosts.near_does(lambda: measure(port, address=address)).state is SampleState.REJECTED


@pytest.mark.root
def test_bound_to_an_interface_that_does_not_lead_there(hosts: TwoHosts) -> None:
    with hosts.far_does(socket.socket) as server:
        server.bind(("10.77.0.2", 0))
        server.listen(4)
        port = server.getsockname()[1]
        assert hosts.near_does(lambda: measure(port, address="10.77.0.2", interface="n0")).state is SampleState.OK
        astray = hosts.near_does(lambda: measure(port, SECOND // 5, address="10.77.0.2", interface="lo"))
    assert astray.state in (SampleState.INVALID, SampleState.NO_REPLY)
