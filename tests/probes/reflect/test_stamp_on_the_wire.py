"""STAMP reflectors between two hosts (namespaces, real packets): forged sources, broadcasts, both IP versions."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from probes.reflect.stamp import StampReflector
from tests.probes.reflect.stamp_asking import CLOCK, KEY, plain, settled, signed
from tests.probes.two_hosts import TwoHosts, inside, two_hosts

pytestmark = pytest.mark.root
ALLOW = ("10.77.0.0/24", "fd77::/64", "fe80::/10")
PORT = 8862


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as both:
        both.ip("addr add 10.77.0.22/24 dev f0", at=both.far)
        both.ip("addr add fd77::22/64 dev f0 nodad", at=both.far)
        yield both


def started(namespace: str, port: int, **settings: object) -> StampReflector:
    reflector = StampReflector("::", port, **{"allow": ALLOW, "clock": CLOCK} | settings)  # type: ignore[arg-type]
    inside(namespace, reflector.start)
    return reflector


def forged(source: str, target: str, sport: int, dport: int, payload: bytes) -> bytes:
    """A UDP packet with any source address, from the IP header on."""
    here, there = ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed
    size = 8 + len(payload)
    summed = here + there + struct.pack(">HHHHHH", 17, size, sport, dport, size, 0) + payload
    words = struct.unpack(f">{len(summed) // 2}H", summed)
    code = (-sum(words) % 0xFFFF) or 0xFFFF
    datagram = struct.pack(">HHHH", sport, dport, size, code) + payload
    if ":" in source:
        return struct.pack(">IHBB", 6 << 28, size, 17, 64) + here + there + datagram
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 1, 0, 64, 17, 0) + here + there + datagram


def inject(packet: bytes, target: str) -> None:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(packet, (target, 0))


def spoof(hosts: TwoHosts, family: int, near: int, far: int, request: bytes) -> None:
    """One datagram to the far reflector in the name of the near one."""
    here, there = ("10.77.0.1", "10.77.0.2") if family == 4 else ("fd77::1", "fd77::2")
    inside(hosts.near, lambda: inject(forged(here, there, near, far, request), there))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("near", "far", "key"),
    [(PORT, PORT, None), (862, 862, None), (9862, PORT, None), (9862, PORT, KEY)],
    ids=["same-port", "862", "other-port", "signed"],
)
def test_two_reflectors_and_one_forged_datagram_exchange_at_most_one_packet(
    hosts: TwoHosts, family: int, near: int, far: int, key: bytes | None
) -> None:
    pair = started(hosts.near, near, key=key), started(hosts.far, far, key=key)
    try:
        spoof(hosts, family, near, far, signed() if key else plain())
        settled(pair[1], 1)
        time.sleep(0.1)
        answered = [reflector.counters()["answered"] for reflector in pair]
        taken = [reflector.counters()["in"] for reflector in pair]
    finally:
        for reflector in pair:
            reflector.close()
    assert sum(answered) <= 1
    assert sum(taken) <= 2


def test_without_the_guards_they_would_go_on(hosts: TwoHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded: the harness sees the loop that the shape of a reply stops."""
    monkeypatch.setattr("probes.reflect.answering.Answering._is_reply", lambda *_: False)
    pair = started(hosts.near, 9862), started(hosts.far, PORT)
    try:
        spoof(hosts, 4, 9862, PORT, plain())
        settled(pair[0], 20)
    finally:
        for reflector in pair:
            reflector.close()


@pytest.mark.parametrize("to", ["10.77.0.2", "10.77.0.22", "fd77::2", "fd77::22"])
def test_the_reply_leaves_from_the_address_asked(hosts: TwoHosts, to: str) -> None:
    reflector = started(hosts.far, 862)
    try:
        data, source = inside(hosts.near, lambda: ask(to, 862))
    finally:
        reflector.close()
    assert (source[:2], len(data), data[40]) == ((to, 862), 44, 64)


def ask(to: str, port: int) -> tuple[bytes, tuple[str, int]]:
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.settimeout(10)
        mine.sendto(plain(), (to, port))
        return mine.recvfrom(2000)


def test_broadcasts_groups_and_our_own_addresses_get_nothing(hosts: TwoHosts) -> None:
    reflector = started(hosts.far, PORT)
    try:
        inside(hosts.near, lambda: send_to_all("10.77.0.255"))
        inside(hosts.near, lambda: inject(forged("fd77::22", "fd77::2", 5000, PORT, plain()), "fd77::2"))
        counters = settled(reflector, 2)
        assert counters["answered"] == 0
        # Behind a dual-stack socket a broadcast is found out when the kernel refuses to answer from its address.
        assert counters["dropped_address"] + counters["dropped_error"] == 2
    finally:
        reflector.close()


def send_to_all(to: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        mine.sendto(plain(), (to, PORT))


def test_runts_do_not_keep_requests_from_their_answers(hosts: TwoHosts) -> None:
    """A flood that the kernel's filter ends; every request beside it is answered."""
    reflector = started(hosts.far, PORT, gather_ns=0)
    flooding = threading.Event()

    def flood() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.connect(("10.77.0.2", PORT))
            sent = 0
            while not flooding.is_set() and sent < 200_000:
                mine.send(b"runt")
                sent += 1
        return sent

    def legitimate() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.settimeout(10)
            mine.connect(("10.77.0.2", PORT))
            for number in range(500):
                mine.send(plain(number))
                assert mine.recv(2000)[24:28] == number.to_bytes(4, "big")
        flooding.set()
        return 500

    sent: list[int] = []
    flooder = threading.Thread(target=lambda: sent.append(inside(hosts.near, flood)))
    try:
        flooder.start()
        assert inside(hosts.near, legitimate) == 500
        flooder.join(30)
        counters = settled(reflector, 500)
    finally:
        flooding.set()
        reflector.close()
    assert (counters["in"], counters["answered"]) == (500, 500)
    assert counters["kernel_dropped"] == sent[0]
