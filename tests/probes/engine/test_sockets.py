"""The engine on real sockets: every way to send ICMP, UDP, stamps, per-packet options, and the errors of this host."""

from __future__ import annotations

import os
import pickle
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.codec import Codec
from probes.core.errors import LocalError, PrivilegeError
from probes.core.model import Sample, SampleState, StampSource
from probes.engine import loop
from probes.engine.channel import SocketTransport
from probes.engine.loop import Engine
from probes.engine.sockets import is_own_address, open_icmp, udp_overflows
from probes.engine.streams import StreamSpec
from probes.engine.transport import Transport
from probes.reflect.echo import EchoReflector
from tests.probes.two_hosts import TwoHosts, inside, run, two_hosts

CLOCK = SystemClock()


def spec(address: str, *, kind: str = "icmp", **more: object) -> StreamSpec:
    settings: dict[str, object] = {"every_ns": 20 * MILLISECOND, "timeout_ns": SECOND, "limit": 20, **more}
    circuit = str(settings.pop("circuit", "C"))
    return StreamSpec(circuit, kind, kind, address, address, **settings)  # type: ignore[arg-type]


class Measurement:
    """Runs streams to their end in the caller's network namespace."""

    def __init__(self, *specs: StreamSpec, open_transport: loop.OpenTransport | None = None) -> None:
        self.samples: list[Sample] = []
        self.ttl: list[int] = []
        self.engine = Engine(
            clock=CLOCK, report=self.samples.extend, observe=lambda events: self.ttl.extend(events.ttl.tolist()),
            open_transport=open_transport, drain_ns=20 * MILLISECOND,
        )  # fmt: skip
        self.refused = self.engine.add(specs)
        self.engine.start()

    def finish(self) -> Measurement:
        deadline = time.monotonic() + 30
        while not self.engine.done() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.engine.close(0.1)
        return self

    def count(self, name: str) -> int:
        return sum(getattr(sample.counts, name) for sample in self.samples)

    def states(self) -> set[SampleState]:
        return {sample.state for sample in self.samples}

    def reasons(self) -> set[str | None]:
        return {sample.reason for sample in self.samples}


def measured(*specs: StreamSpec, open_transport: loop.OpenTransport | None = None) -> Measurement:
    return Measurement(*specs, open_transport=open_transport).finish()


def icmp_by(way: str) -> loop.OpenTransport:
    def opened(codec: Codec, family: int, source: str | None) -> Transport:
        assert codec.transport == "icmp"
        return SocketTransport(open_icmp(family, ways=(way,), source=source, hops=True))

    return opened


def all_well(done: Measurement, packets: int) -> None:
    assert done.refused == {}
    assert done.count("sent") == done.count("received") == packets
    assert [done.count(name) for name in ("lost", "late", "duplicate", "corrupt", "not_sent")] == [0] * 5
    assert done.states() == {SampleState.OK}
    assert {sample.quality.stamps for sample in done.samples} == {StampSource.KERNEL}
    rtt = np.concatenate([sample.packets.rtt_ns for sample in done.samples if sample.packets is not None])
    assert len(rtt) == packets
    assert 0 < np.median(rtt) < 5 * MILLISECOND


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as made:
        yield made


@pytest.fixture
def own_hosts() -> Iterator[TwoHosts]:
    """For tests that break something."""
    with two_hosts() as made:
        yield made


@pytest.mark.root
@pytest.mark.parametrize("size", [24, 57, 1000])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.77.0.2", "fd77::2"])
@pytest.mark.parametrize("way", ["raw", "ping"])
def test_icmp_both_ways_both_families(hosts: TwoHosts, way: str, address: str, size: int) -> None:
    hosts.near_does(lambda: run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"]))
    done = hosts.near_does(lambda: measured(spec(address, size=size), open_transport=icmp_by(way)))
    all_well(done, 20)
    assert set(done.ttl) == {64}


@pytest.mark.parametrize("size", [24, 57, 1000, 8000])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1"])
def test_udp_as_an_ordinary_program(address: str, size: int) -> None:
    reflector = EchoReflector("::", 0, allow=["127.0.0.0/8", "::1/128"], clock=CLOCK)
    reflector.start()
    try:
        done = measured(spec(address, kind="udp", port=reflector.port, size=size))
    finally:
        reflector.close()
    all_well(done, 20)
    assert set(done.ttl) == {64}
    assert reflector.counters()["answered"] == 20


def test_a_plain_echo_server_will_do() -> None:
    """RFC 862: the datagram comes back as it went."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)

        def serve() -> None:
            for _ in range(20):
                data, source = server.recvfrom(2000)
                server.sendto(data, source)

        thread = threading.Thread(target=serve)
        thread.start()
        done = measured(spec("127.0.0.1", kind="udp", port=server.getsockname()[1]))
        thread.join(20)
    all_well(done, 20)


@pytest.mark.root
def test_raw_is_taken_where_ping_sockets_are_not_allowed_and_the_other_way_round(own_hosts: TwoHosts) -> None:
    def opened(family: int) -> bool:
        endpoint = open_icmp(family)
        endpoint.socket.close()
        return endpoint.raw

    assert own_hosts.near_does(lambda: [opened(4), opened(6)]) == [True, True]
    own_hosts.near_does(lambda: run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"]))
    assert own_hosts.near_does(lambda: [opened(4), opened(6)]) == [False, False]


def as_nobody(action: Callable[[], object]) -> object:
    """Run in a child process of an unprivileged user; what it returns, or the LocalError it raises."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                outcome = action()
            except LocalError as error:
                outcome = (type(error), error.message, error.hint)
            os.write(writing, pickle.dumps(outcome))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(data)


def report(done: Measurement) -> tuple[object, ...]:
    stamps = {sample.quality.stamps for sample in done.samples}
    return ({key: str(error) for key, error in done.refused.items()}, done.count("received"), done.states(), stamps)


@pytest.mark.root
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.77.0.2", "fd77::2"])
def test_an_ordinary_user_measures_where_the_group_range_allows_it(own_hosts: TwoHosts, address: str) -> None:
    own_hosts.near_does(lambda: run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"]))
    outcome = own_hosts.near_does(lambda: as_nobody(lambda: report(measured(spec(address)))))
    assert outcome == ({}, 20, {SampleState.OK}, {StampSource.KERNEL})


@pytest.mark.root
def test_an_ordinary_user_who_may_not_is_told_the_remedies(own_hosts: TwoHosts) -> None:
    kind, message, hint = own_hosts.near_does(lambda: as_nobody(lambda: open_icmp(4)))  # type: ignore[misc]
    assert issubclass(kind, PrivilegeError)
    assert message == "this process may not send ICMP echo requests"
    assert "net.ipv4.ping_group_range" in hint
    assert "CAP_NET_RAW" in hint
    assert "setcap" not in hint


class Tap:
    """What arrives on an interface, from the IP header on."""

    def __init__(self, interface: str, family: int) -> None:
        protocol = 0x0800 if family == 4 else 0x86DD
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
        self._socket.bind((interface, protocol))
        self._socket.setblocking(False)

    def packets(self) -> list[bytes]:
        found: list[bytes] = []
        while True:
            try:
                data, address = self._socket.recvfrom(2000)
            except BlockingIOError:
                self._socket.close()
                return found
            if address[2] != socket.PACKET_OUTGOING:
                found.append(data)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["icmp-raw", "icmp-ping", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_source_dscp_ttl_and_interface_are_each_packets_own(own_hosts: TwoHosts, kind: str, family: int) -> None:
    """One socket, four streams with settings of their own; the far end sees each stream's."""
    added = {4: "10.77.0.11", 6: "fd77::11"}[family]
    # Of several addresses the kernel takes the oldest in IPv4, the newest in IPv6: ask for the other one.
    default, second = {4: ("10.77.0.1", added), 6: (added, "fd77::1")}[family]
    target = {4: "10.77.0.2", 6: "fd77::2"}[family]
    own_hosts.near_does(lambda: run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"]))
    own_hosts.ip(f"addr add {added}/{24 if family == 4 else 64} dev n0 {'nodad' if family == 6 else ''}")
    tap = own_hosts.far_does(lambda: Tap("f0", family))
    reflector = EchoReflector("::", 0, allow=["10.77.0.0/24", "fd77::/64"], clock=CLOCK)
    own_hosts.far_does(reflector.start)
    name, _, way = kind.partition("-")
    common: dict[str, object] = {"kind": name, "port": reflector.port if name == "udp" else 0}
    specs = [
        spec(target, circuit="plain", **common),
        spec(target, circuit="marked", dscp=46, **common),
        spec(target, circuit="short", ttl=7, **common),
        spec(target, circuit="other", source=second, interface="n0", dscp=10, ttl=9, **common),
    ]
    try:
        done = own_hosts.near_does(lambda: measured(*specs, open_transport=icmp_by(way) if way else None))
    finally:
        reflector.close()
    all_well(done, 80)
    seen: Counter[tuple[str, int, int]] = Counter()
    for packet in tap.packets():
        if family == 4 and packet[9] in (1, 17):
            seen[socket.inet_ntop(socket.AF_INET, packet[12:16]), packet[1] >> 2, packet[8]] += 1
        elif family == 6 and (packet[6] == 17 or (packet[6] == 58 and packet[40] == 128)):
            dscp = (int.from_bytes(packet[:2], "big") >> 4 & 0xFF) >> 2
            seen[socket.inet_ntop(socket.AF_INET6, packet[8:24]), dscp, packet[7]] += 1
    expected = {(default, 0, 64): 20, (default, 46, 64): 20, (default, 0, 7): 20, (second, 10, 9): 20}
    assert {key: seen[key] for key in expected} == expected


NFT_DROP_OUTPUT = """table inet t {
  chain o {
    type filter hook output priority 0
    ip daddr 10.77.0.2 drop
  }
}
"""


@pytest.mark.root
@pytest.mark.parametrize("kind", ["icmp", "udp"])
@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ("route del 10.77.0.0/24", "this host has no route to 10.77.0.2"),
        ("route add unreachable 10.77.0.2/32", "a route of this host makes 10.77.0.2 unreachable"),
        ("route add prohibit 10.77.0.2/32", "a prohibit route of this host covers 10.77.0.2"),
        ("route add blackhole 10.77.0.2/32", "a blackhole route of this host covers 10.77.0.2"),
        ("nft", "a firewall rule of this host forbids sending to 10.77.0.2"),
    ],
)
def test_what_this_host_refuses_is_not_sent(own_hosts: TwoHosts, kind: str, prepare: str, reason: str) -> None:
    if prepare == "nft":
        own_hosts.nft(NFT_DROP_OUTPUT)
    else:
        own_hosts.ip(prepare)
    done = own_hosts.near_does(lambda: measured(spec("10.77.0.2", kind=kind, port=9 if kind == "udp" else 0)))
    assert (done.count("sent"), done.count("lost"), done.count("not_sent")) == (0, 0, 20)
    assert done.states() == {SampleState.INVALID}
    assert done.reasons() == {reason}


@pytest.mark.root
def test_one_bad_stream_among_good_ones_takes_nobody_with_it(own_hosts: TwoHosts) -> None:
    """All of them in every batch: sendmmsg stops at the bad one, goes on behind it, and the stamps stay in step."""
    own_hosts.ip("route add prohibit 203.0.113.0/24")
    own_hosts.nft(NFT_DROP_OUTPUT)
    own_hosts.ip("addr add 10.77.0.12/24 dev f0", at=own_hosts.far)
    addresses = ["10.77.0.12", "203.0.113.1", "10.77.0.12", "10.77.0.2", "10.77.0.12"]
    specs = [spec(address, circuit=f"{n} {address}", every_ns=10 * MILLISECOND, limit=50)
             for n, address in enumerate(addresses)]  # fmt: skip
    done = own_hosts.near_does(lambda: measured(*specs))
    for sample in done.samples:
        if "10.77.0.12" in sample.circuit:
            assert sample.state is SampleState.OK
            assert sample.counts.lost == 0
            assert sample.quality.stamps is not StampSource.USER
        else:
            assert sample.state is SampleState.INVALID
    assert done.count("received") == 150
    assert done.count("not_sent") == 100


@pytest.mark.root
@pytest.mark.parametrize("kind", ["icmp", "udp"])
@pytest.mark.parametrize("address", ["10.77.0.99", "fd77::99"])
def test_a_silent_neighbour_is_no_reply_and_is_named(hosts: TwoHosts, kind: str, address: str) -> None:
    quick = spec(address, kind=kind, port=9 if kind == "udp" else 0, timeout_ns=5 * SECOND, limit=5)
    done = hosts.near_does(lambda: measured(quick))
    assert done.states() == {SampleState.NO_REPLY}
    assert done.count("lost") == done.count("sent") == 5
    assert done.reasons() == {f"no neighbour answers ARP or ND on the way to {address}"}


@pytest.mark.root
@pytest.mark.parametrize("address", ["10.77.0.2", "fd77::2"])
def test_refused_by_the_target_is_rejected(own_hosts: TwoHosts, address: str) -> None:
    own_hosts.far_does(lambda: run(["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]))
    done = own_hosts.near_does(lambda: measured(spec(address, kind="udp", port=9)))
    assert done.states() == {SampleState.REJECTED}
    assert done.reasons() == {f"port unreachable from {address}"}
    assert done.count("lost") == done.count("sent") == 20
    assert done.count("not_sent") == 0


@pytest.mark.root
@pytest.mark.parametrize("family", [4, 6])
def test_time_to_live_exceeded_names_the_hop(own_hosts: TwoHosts, family: int) -> None:
    target = {4: "203.0.113.5", 6: "2001:db8:5::5"}[family]
    hop = {4: "10.77.0.2", 6: "fd77::2"}[family]
    own_hosts.ip(f"-{family} route add {target} via {hop}")
    own_hosts.ip(f"-{family} route add {target} dev f0", at=own_hosts.far)
    own_hosts.far_does(lambda: run(["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]))
    done = own_hosts.near_does(lambda: measured(spec(target, ttl=1)))
    text = "time to live exceeded" if family == 4 else "hop limit exceeded"
    assert done.states() == {SampleState.REJECTED}
    assert done.reasons() == {f"{text} from {hop}"}


@pytest.mark.root
@pytest.mark.parametrize("kind", ["icmp-raw", "icmp-ping", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_source_address_that_went_away_and_came_back(own_hosts: TwoHosts, kind: str, family: int) -> None:
    own_hosts.near_does(lambda: run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"]))
    source, target = {4: ("10.77.0.33", "10.77.0.2"), 6: ("fd77::33", "fd77::2")}[family]
    address = f"{source}/{24 if family == 4 else 64} dev n0"
    own_hosts.ip(f"addr add {address} {'nodad' if family == 6 else ''}")
    reflector = EchoReflector("::", 0, allow=["10.77.0.0/24", "fd77::/64"], clock=CLOCK)
    own_hosts.far_does(reflector.start)
    name, _, way = kind.partition("-")
    one = spec(target, kind=name, source=source, limit=120, port=reflector.port if name == "udp" else 0)
    running = own_hosts.near_does(lambda: Measurement(one, open_transport=icmp_by(way) if way else None))
    time.sleep(0.6)
    own_hosts.ip(f"addr del {address}")
    time.sleep(0.8)
    own_hosts.ip(f"addr add {address} {'nodad' if family == 6 else ''}")
    done = running.finish()
    reflector.close()
    assert done.count("not_sent") > 5
    # Late are the first ones to a new IPv6 address: the far host's neighbour discovery takes a second.
    assert done.count("lost") - done.count("late") <= 6, "those on their way, and what left before it was noticed"
    assert done.count("received") + done.count("late") > 60
    assert {str(reason).partition(": ")[2] for reason in done.reasons() if reason} == {
        f"source address {source} is not on this host"
    }


@pytest.mark.root
def test_an_interface_that_comes_back_has_a_new_number(own_hosts: TwoHosts) -> None:
    running = own_hosts.near_does(lambda: Measurement(spec("10.77.0.2", interface="n0", limit=150)))
    time.sleep(0.8)
    own_hosts.ip("link del n0")
    time.sleep(0.4)
    own_hosts.ip(f"link add n0 type veth peer name f0 netns {own_hosts.far}")
    own_hosts.ip("addr add 10.77.0.1/24 dev n0")
    own_hosts.ip("addr add 10.77.0.2/24 dev f0", at=own_hosts.far)
    own_hosts.ip("link set f0 up", at=own_hosts.far)
    own_hosts.ip("link set n0 up")
    done = running.finish()
    packets = [sample.packets for sample in done.samples if sample.packets is not None]
    last = np.concatenate([part.state for part in packets])[-20:]
    assert (last == 0).all(), "measured again over the new interface"
    assert done.count("not_sent") > 0


def drained_once_a_second(open_transport: loop.OpenTransport) -> list[Sample]:
    """Five hundred packets a second for two seconds."""
    samples: list[Sample] = []
    engine = Engine(clock=CLOCK, report=samples.extend, drain_ns=SECOND, open_transport=open_transport)
    engine.add([spec("10.77.0.2", every_ns=2 * MILLISECOND, limit=1000)])
    engine.start()
    time.sleep(3.5)
    engine.close(0.1)
    return samples


@pytest.mark.root
def test_a_small_receive_buffer_is_read_before_it_is_full(own_hosts: TwoHosts) -> None:
    """The kernel's default, which holds some 250 replies with their transmit stamps."""

    def small(_codec: Codec, family: int, _source: str | None) -> Transport:
        endpoint = open_icmp(family)
        endpoint.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 212_992)
        return SocketTransport(endpoint)

    samples = own_hosts.near_does(lambda: drained_once_a_second(small))
    assert {sample.state for sample in samples} == {SampleState.OK}
    assert all(sample.quality.local_drops == 0 for sample in samples)


@pytest.mark.root
def test_a_small_receive_buffer_that_overflows_impairs_and_is_never_loss_of_the_network(own_hosts: TwoHosts) -> None:
    """Drained once a second only, with room for a few replies."""

    def tight(_codec: Codec, family: int, _source: str | None) -> Transport:
        endpoint = open_icmp(family)
        transport = SocketTransport(endpoint)  # which believes in the buffer it was given
        endpoint.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        return transport

    samples = own_hosts.near_does(lambda: drained_once_a_second(tight))
    assert {sample.state for sample in samples} == {SampleState.IMPAIRED}
    assert {sample.reason for sample in samples} == {"this host dropped replies for want of receive buffer"}
    assert all(sample.quality.local_drops > 0 for sample in samples)


def test_strangers_datagrams_never_reach_the_engine_and_are_no_local_drops() -> None:
    reflector = EchoReflector("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=CLOCK)
    reflector.start()
    ports: list[int] = []

    def noted(codec: Codec, family: int, source: str | None) -> Transport:
        transport = loop.open_socket(codec, family, source)
        ports.append(transport._endpoint.socket.getsockname()[1])  # type: ignore[attr-defined]
        return transport

    running = Measurement(spec("127.0.0.1", kind="udp", port=reflector.port, limit=50), open_transport=noted)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for number in range(200):
            stranger.sendto(b"garbage" * (number % 20), ("127.0.0.1", ports[0]))
    done = running.finish()
    reflector.close()
    all_well(done, 50)
    assert {sample.quality.local_drops for sample in done.samples} == {0}
    assert done.engine.counters().get("foreign", 0) == 0


@pytest.mark.root
@pytest.mark.parametrize("way", ["raw", "ping"])
def test_forged_and_repeated_replies_are_counted_and_not_believed(own_hosts: TwoHosts, way: str) -> None:
    """The far host answers each request itself: once wrongly, once rightly, twice more."""
    own_hosts.near_does(lambda: run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"]))
    own_hosts.far_does(lambda: run(["sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"]))
    with forger(own_hosts):
        done = own_hosts.near_does(lambda: measured(spec("10.77.0.2"), open_transport=icmp_by(way)))
    assert done.count("received") == done.count("sent") == 20
    assert done.count("duplicate") == 40
    assert done.count("corrupt") == 20
    assert done.engine.counters()["forged"] == 20


@contextmanager
def forger(hosts: TwoHosts) -> Iterator[None]:
    requests = hosts.far_does(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    requests.settimeout(0.2)
    stop = threading.Event()

    def answer() -> None:
        while not stop.is_set():
            try:
                packet, source = requests.recvfrom(2000)
            except TimeoutError:
                continue
            if packet[20] != 8:
                continue
            wrong = bytearray(packet[20:])
            wrong[-33] ^= 1  # the nonce's last octet: 56 octets of payload, 32 of them padding
            for body in (bytes(wrong), packet[20:], packet[20:], packet[20:]):
                requests.sendto(echo_reply(body), source)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)
        requests.close()


def echo_reply(request: bytes) -> bytes:
    reply = bytearray(b"\0\0\0\0" + request[4:])
    total = sum(struct.unpack(f"!{len(reply) // 2}H", reply))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    reply[2:4] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(reply)


def own_addresses(addresses: Sequence[str]) -> list[bool]:
    return [is_own_address(address) for address in addresses]


@pytest.mark.root
def test_own_addresses(hosts: TwoHosts) -> None:
    link_local = hosts.near_does(lambda: run(["ip", "-6", "-o", "addr", "show", "dev", "n0", "scope", "link"]))
    mine = link_local.split("inet6 ")[1].split("/")[0]
    asked = ["127.0.0.1", "10.77.0.1", "10.77.0.2", "::1", "fd77::1", "fd77::2", mine, "fe80::1"]
    assert inside(hosts.near, partial(own_addresses, asked)) == [True, True, False, True, True, False, True, False]


def test_overflows_can_be_read() -> None:
    assert udp_overflows(4) >= 0
    assert udp_overflows(6) >= 0
