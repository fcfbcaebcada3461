"""UDP echo reflector: who is answered, from where, and that in = answered + dropped."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError, PrivilegeError
from probes.reflect.echo import DROPPED, EchoReflector
from probes.wire import payload
from probes.wire.udp_echo import UdpEchoCodec
from tests.fakes.clock import FakeClock
from tests.probes.two_hosts import inside, two_hosts

CLOCK = SystemClock()


def request(size: int = 56, sequence: int = 1) -> bytes:
    out = np.zeros((1, size), np.uint8)
    UdpEchoCodec().encode(
        out, family=4, identifier=0, stream=np.array([3]), sequence=np.array([sequence]),
        nonce=np.array([99], np.uint64),
    )  # fmt: skip
    return out.tobytes()


def marked(data: bytes) -> bytes:
    return data[:3] + bytes([payload.REPLY_DIRECTION]) + data[4:]


@pytest.fixture
def reflector() -> Iterator[EchoReflector]:
    made = EchoReflector("::", 0, allow=["127.0.0.0/8", "::1/128"], clock=CLOCK)
    made.start()
    yield made
    made.close()


def asker(family: int = socket.AF_INET, address: str = "127.0.0.1") -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.bind((address, 0))
    opened.settimeout(10)
    return opened


def balanced(counters: dict[str, int]) -> bool:
    return counters["in"] == counters["answered"] + sum(counters[name] for name in DROPPED)


@pytest.mark.parametrize("size", [24, 25, 56, 1472, 9000])
@pytest.mark.parametrize("to", ["127.0.0.1", "127.0.0.77", "::1"])
def test_a_request_comes_back_marked_from_where_it_went(reflector: EchoReflector, size: int, to: str) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with asker(family, "::1" if ":" in to else "127.0.0.1") as mine:
        mine.sendto(request(size), (to, reflector.port))
        data, source = mine.recvfrom(70000)
    assert data == marked(request(size))
    assert source[:2] == (to, reflector.port)


def test_what_is_not_a_request_gets_no_answer(reflector: EchoReflector) -> None:
    with asker() as mine:
        for data in (b"", b"hello", request()[:23], marked(request()), b"LX" + request()[2:], bytes(56)):
            mine.sendto(data, ("127.0.0.1", reflector.port))
        mine.sendto(request(sequence=7), ("127.0.0.1", reflector.port))
        assert mine.recv(2000) == marked(request(sequence=7))
    counters = settled(reflector, 1)
    assert counters["answered"] == 1, "the rest never left the kernel"


def settled(reflector: EchoReflector, count: int) -> dict[str, int]:
    """Counters once `count` datagrams are in them."""
    for _ in range(10_000):
        counters = dict(reflector.counters())
        if counters["in"] >= count:
            break
        reflector._closing.wait(0.001)
    assert balanced(counters)
    return counters


def test_sources_that_are_not_allowed_get_nothing() -> None:
    reflector = EchoReflector("127.0.0.1", 0, allow=["127.0.0.5/32"], clock=CLOCK)
    reflector.start()
    try:
        with asker() as stranger, asker(address="127.0.0.5") as friend:
            stranger.sendto(request(), ("127.0.0.1", reflector.port))
            friend.sendto(request(), ("127.0.0.1", reflector.port))
            assert friend.recv(2000) == marked(request())
            counters = settled(reflector, 2)
            assert (counters["answered"], counters["dropped_source"]) == (1, 1)
            stranger.setblocking(False)
            with pytest.raises(BlockingIOError):
                stranger.recv(100)
    finally:
        reflector.close()


def test_two_reflectors_fall_silent_after_one_packet() -> None:
    """A datagram with a forged source: the other reflector's. Delivered here by sending from its very socket."""
    first = EchoReflector("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=CLOCK)
    second = EchoReflector("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=CLOCK)
    for one in (first, second):
        one.start()
    try:
        with asker() as mine:
            mine.sendto(request(), ("127.0.0.1", first.port))
            reply = mine.recv(2000)
            mine.sendto(reply, ("127.0.0.1", second.port))
            mine.sendto(request(sequence=2), ("127.0.0.1", second.port))
            assert mine.recv(2000) == marked(request(sequence=2)), "the reply was not answered, the request was"
        assert settled(second, 1)["in"] == 1
    finally:
        first.close()
        second.close()


def test_the_rate_of_a_source_is_limited() -> None:
    clock = FakeClock()
    reflector = EchoReflector("127.0.0.1", 0, allow=["127.0.0.0/8"], rate_per_source=20, clock=clock)
    reflector.start()
    try:
        with asker() as flooder, asker(address="127.0.0.5") as other:
            for _ in range(100):
                flooder.sendto(request(), ("127.0.0.1", reflector.port))
            counters = settled(reflector, 100)
            assert (counters["answered"], counters["dropped_rate"]) == (40, 60)
            other.sendto(request(), ("127.0.0.1", reflector.port))
            assert other.recv(2000) == marked(request()), "another source has its own allowance"
            clock.advance(SECOND // 2)
            for _ in range(100):
                flooder.sendto(request(), ("127.0.0.1", reflector.port))
            assert settled(reflector, 201)["answered"] == 40 + 1 + 10
    finally:
        reflector.close()


@pytest.mark.root
def test_well_known_source_ports_get_no_answer(reflector: EchoReflector) -> None:
    """A forged request in the name of a service (echo, chargen, DNS ...) would set two services upon each other."""
    with asker() as friend, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("127.0.0.1", 1023))
        service.sendto(request(), ("127.0.0.1", reflector.port))
        friend.sendto(request(), ("127.0.0.1", reflector.port))
        assert friend.recv(2000) == marked(request())
    counters = settled(reflector, 2)
    assert (counters["answered"], counters["dropped_port"]) == (1, 1)


def test_its_own_port_elsewhere_gets_no_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        forger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        lone = EchoReflector("127.0.0.9", 0, allow=["127.0.0.0/8"], clock=CLOCK)
        lone.start()
        try:
            forger.bind(("127.0.0.8", lone.port))
            forger.sendto(request(), ("127.0.0.9", lone.port))
            counters = settled(lone, 1)
            assert counters["dropped_port"] == 1
        finally:
            lone.close()


def test_a_request_longer_than_a_jumbo_frame_is_dropped_not_cut(reflector: EchoReflector) -> None:
    with asker() as mine:
        mine.sendto(request(9217), ("127.0.0.1", reflector.port))
        mine.sendto(request(9216), ("127.0.0.1", reflector.port))
        assert mine.recv(70000) == marked(request(9216))
    assert settled(reflector, 2)["dropped_size"] == 1


def test_refusals_name_the_remedy(reflector: EchoReflector) -> None:
    with pytest.raises(LocalError, match="allow-list of the reflector is empty"):
        EchoReflector("::", 0, allow=[], clock=CLOCK)
    taken = EchoReflector("::", reflector.port, allow=["::1/128"], clock=CLOCK)
    with pytest.raises(LocalError, match=r"cannot listen on :: UDP port \d+: Address already in use") as error:
        taken.start()
    assert "another reflector" in error.value.hint
    with pytest.raises(LocalError, match="Cannot assign requested address"):
        EchoReflector("203.0.113.9", 0, allow=["::1/128"], clock=CLOCK).start()
    with pytest.raises(LocalError, match="'localhost' is not an address"):
        EchoReflector("localhost", 0, allow=["::1/128"], clock=CLOCK).start()


@pytest.mark.root
def test_low_port_without_privilege_is_a_privilege_error() -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(65534)
            EchoReflector("127.0.0.1", 7, allow=["127.0.0.0/8"], clock=CLOCK).start()
        except PrivilegeError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.root
def test_reply_leaves_from_the_address_asked_and_broadcasts_get_none() -> None:
    with two_hosts() as hosts:
        hosts.ip("addr add 10.77.0.22/24 dev f0", at=hosts.far)
        hosts.ip("addr add fd77::22/64 dev f0 nodad", at=hosts.far)
        reflector = EchoReflector("::", 0, allow=["10.77.0.0/24", "fd77::/64", "fe80::/10"], clock=CLOCK)
        inside(hosts.far, reflector.start)
        try:
            for to in ("10.77.0.2", "10.77.0.22", "fd77::2", "fd77::22"):
                assert inside(hosts.near, lambda to=to: ask(to, reflector.port)) == to
            inside(hosts.near, lambda: broadcast("10.77.0.255", reflector.port))
            counters = settled(reflector, 5)
            assert counters["answered"] == 4
            assert counters["dropped_address"] + counters["dropped_error"] == 1
        finally:
            reflector.close()


def ask(to: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as mine:
        mine.settimeout(10)
        mine.sendto(request(), (to, port))
        return mine.recvfrom(2000)[1][0]


def broadcast(to: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        mine.sendto(request(), (to, port))
