"""Bursts that a STAMP reflector answers as one, beside the same packets answered row by row and octet by octet."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.core.clock import SECOND
from probes.engine.control import IP_TTL
from probes.reflect import runs
from probes.reflect.admission import AllowList, SourceRate
from probes.reflect.answering import BATCH, Answering
from probes.reflect.flows import Flows
from probes.reflect.stamp_socket import open_endpoint
from probes.wire.stamp import SHORTEST_REQUEST
from probes.wire.stamp_tlv import CLASS_OF_SERVICE, EXTRA_PADDING
from tests.fakes.clock import FakeClock
from tests.fakes.plain_reflector import reply
from tests.probes.reflect.stamp_asking import CLOCK, asker, plain, reflecting, settled, silent, tlv
from tests.probes.reflect.test_stamp import seen_in

SENDERS = 3
MORE = (
    b"", bytes(1), bytes(20), tlv(EXTRA_PADDING, b"U" * 20), tlv(EXTRA_PADDING, b"U" * 20) + bytes(4),
    tlv(CLASS_OF_SERVICE, bytes(4)), tlv(EXTRA_PADDING, bytes(8))[:-2],
)  # fmt: skip
"""behind the fields: nothing, padding, extensions, one cut short"""
ALWAYS, NEVER = 1, BATCH + 1


@dataclass(frozen=True)
class Burst:
    sender: int
    packets: tuple[bytes, ...]
    ttl: int = 64


class Standing(FakeClock):
    """Tells the wall clock's time, but for buckets and pauses it stands."""

    def wall(self) -> int:
        return CLOCK.wall()


@contextmanager
def answering(listen: str = "127.0.0.1", tokens: int = 10**6, *, stateful: bool = True) -> Iterator[Answering]:
    with open_endpoint(listen, 0, SHORTEST_REQUEST) as endpoint:
        port = endpoint.getsockname()[1]
        flows = Flows(endpoint.family, port, AllowList(["127.0.0.0/8", "::1/128"]), lambda _: True)
        rate = SourceRate(1, tokens)
        yield Answering(
            endpoint, flows, rate, Standing(), key=None, stateful=stateful, reply_dscp=frozenset(), gather_ns=0
        )


def exchanged(
    bursts: list[Burst], fewest: int, monkeypatch: pytest.MonkeyPatch, *, to: str = "127.0.0.1", tokens: int = 10**6,
    stateful: bool = True, listen: str = "127.0.0.1", kinds: int = 64,
) -> tuple[list[list[bytes]], dict[str, int]]:  # fmt: skip
    """What each sender got for bursts that all lie in the reflector's queue before it looks, and the counters."""
    monkeypatch.setattr(runs, "FEWEST", fewest)
    monkeypatch.setattr("probes.reflect.answering.FEWEST", fewest)
    monkeypatch.setattr(runs, "KINDS", kinds)
    counted: dict[str, int] = {}
    with ExitStack() as stack:
        reflector = stack.enter_context(answering(listen, tokens, stateful=stateful))
        mine = [stack.enter_context(asker(to)) for _ in range(SENDERS)]
        port = reflector._endpoint.getsockname()[1]
        for burst in bursts:
            if ":" not in to:
                mine[burst.sender].setsockopt(socket.IPPROTO_IP, IP_TTL, burst.ttl)
            for packet in burst.packets:
                mine[burst.sender].sendto(packet, (to, port))
        while counted.get("in", 0) < sum(len(burst.packets) for burst in bursts):
            for name, number in reflector.turn().items():
                counted[name] = counted.get(name, 0) + number
        return [received(one) for one in mine], counted


def received(mine: socket.socket) -> list[bytes]:
    mine.setblocking(False)
    found = []
    while True:
        try:
            found.append(mine.recv(70_000))
        except BlockingIOError:
            return found


def untimed(replies: list[list[bytes]]) -> list[list[bytes]]:
    """Without T2 and T3."""
    return [[data[:4] + data[12:16] + data[24:] for data in of] for of in replies]


def stamps(data: bytes) -> tuple[int, int]:
    """T2 and T3."""
    return int.from_bytes(data[16:24], "big"), int.from_bytes(data[4:12], "big")


@pytest.mark.parametrize(
    ("error", "more", "size"),
    [
        (0x0101, b"", 44), (0x0101, b"", 41), (0x8101, b"", 43), (0xC133, bytes(3), 47), (0x0101, b"\0\0\xff\xff", 48),
        (0x4101, bytes(1428), 1472), (0xC133, tlv(EXTRA_PADDING, bytes(range(90))), 138),
    ],
)  # fmt: skip
def test_a_burst_is_what_a_plain_reflector_would_say(
    error: int, more: bytes, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = tuple(
        plain(2**32 - 7 + n & 0xFFFFFFFF, ssid=9, error=error, stamp=n << 33, more=more)[:size] for n in range(100)
    )
    (replies, *_), counted = exchanged([Burst(0, requests)], ALWAYS, monkeypatch)
    assert counted == {"in": 100, "answered": 100}
    seen = [seen_in(data.ljust(44, b"\0"), authenticated=False) for data in replies]
    assert [one.number for one in seen] == list(range(100))
    assert replies == [reply(*pair, authenticated=False) for pair in zip(requests, seen, strict=True)]
    times = [stamps(data) for data in replies]
    assert times == sorted(times)
    assert len({t2 for t2, _ in times}) > 90, "each has the stamp of its own arrival"
    assert all(t2 <= t3 for t2, t3 in times)


def test_bursts_of_strangers_get_nothing() -> None:
    with (
        reflecting(allow=["127.0.0.1/32"], gather_ns=5_000_000) as reflector,
        asker() as friend,
        asker("127.0.0.2") as stranger,
    ):
        for _ in range(4):
            for number in range(30):
                friend.sendto(plain(number), ("127.0.0.1", reflector.port))
            for number in range(30):
                stranger.sendto(plain(number), ("127.0.0.1", reflector.port))
        counters = settled(reflector, 240)
        assert (counters["answered"], counters["dropped_source"]) == (120, 120)
        assert silent(stranger)


@st.composite
def bursts(draw: st.DrawFn) -> list[Burst]:
    """Up to two batches of packets of some senders; most in runs, some odd ones among them."""
    found, left = [], 100
    while left > 0 and len(found) < 8:
        size = min(left, draw(st.sampled_from([1, 2, 6, 10, 30, 64])))
        left -= size
        error = draw(st.sampled_from([0x0101, 0x8105, 0x4101]))
        more = draw(st.sampled_from(MORE))
        first, ssid = draw(st.sampled_from([0, 2**32 - 3])), draw(st.sampled_from([0, 5]))
        packets = [plain(first + n & 0xFFFFFFFF, ssid=ssid, error=error, more=more) for n in range(size)]
        if draw(st.booleans()):
            odd = draw(
                st.sampled_from([bytes(41), plain(9, stamp=3)[:43], plain(5, ssid=3), bytes(20), shaped(0), shaped(1)])
            )
            packets[draw(st.integers(0, size - 1))] = odd
        found.append(Burst(draw(st.integers(0, SENDERS - 1)), tuple(packets), draw(st.sampled_from([64, 5]))))
    return found


def shaped(padding: int) -> bytes:
    """Like a reply, and like one but for its padding."""
    return plain()[:16] + b"\xee" * 8 + plain()[:14] + bytes((0, 0, 64, padding, 0, 0))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given=bursts(),
    stateful=st.booleans(),
    tokens=st.sampled_from([7, 40, 10**6]),
    to=st.sampled_from(["127.0.0.1", "::1"]),
)
def test_runs_are_answered_like_rows(
    monkeypatch: pytest.MonkeyPatch, given: list[Burst], stateful: bool, tokens: int, to: str
) -> None:
    listen = "::" if ":" in to else "127.0.0.1"
    by_row = exchanged(given, NEVER, monkeypatch, to=to, listen=listen, stateful=stateful, tokens=tokens)
    for fewest, kinds in ((ALWAYS, 64), (6, 64), (ALWAYS, 2)):
        by_run = exchanged(
            given, fewest, monkeypatch, to=to, listen=listen, stateful=stateful, tokens=tokens, kinds=kinds
        )
        assert untimed(by_run[0]) == untimed(by_row[0])
        assert by_run[1] == by_row[1]
    assert by_row[1]["in"] == sum(number for name, number in by_row[1].items() if name != "in")


def test_a_run_that_takes_in_too_much_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded: fields that differ within a run are not looked at."""
    given = [Burst(0, tuple(plain(n, ssid=n // 20) for n in range(40)))]
    by_row = exchanged(given, NEVER, monkeypatch)
    assert exchanged(given, ALWAYS, monkeypatch)[1] == by_row[1]
    fits = runs.Stretch.fits

    def careless(stretch: runs.Stretch, kind: runs.Kind, first: int) -> bool:
        stretch.said[...] = stretch.said[0]
        return fits(stretch, kind, first)

    monkeypatch.setattr(runs.Stretch, "fits", careless)
    monkeypatch.setattr(runs.Runs, "split", lambda _, count: [(0, count, None)])
    assert untimed(exchanged(given, ALWAYS, monkeypatch)[0]) != untimed(by_row[0])


def test_addresses_of_both_families_take_turns() -> None:
    """IPv6 leaves longer ancillary data in the rows than IPv4 overwrites."""
    with answering("::") as reflector, asker("127.0.0.1") as old, asker("::1") as new:
        port = reflector._endpoint.getsockname()[1]
        for turn in range(6):
            mine, to = ((old, "127.0.0.1"), (new, "::1"))[turn % 2]
            requests = [plain(n) for n in range(20)]
            for request in requests:
                mine.sendto(request, (to, port))
            assert reflector.turn() == {"in": 20, "answered": 20}
            kind = reflector._runs._last
            assert kind is not None
            assert kind.flow.identity[:2] == (10).to_bytes(2, "little")
            replies = received(mine)
            assert replies == [
                reply(request, seen_in(data, authenticated=False), authenticated=False)
                for request, data in zip(requests, replies, strict=True)
            ]


def test_tokens_of_a_run_are_those_of_its_packets() -> None:
    for wanted in (1, 5, 9, 30):
        at_once, one_by_one = SourceRate(10, 20), SourceRate(10, 20)
        for now in (0, 0, SECOND // 2, 10 * SECOND, 10 * SECOND + 1):
            assert at_once.take_of(wanted, 7, now) == sum(one_by_one.take(7, now) for _ in range(wanted))
        assert at_once._buckets == one_by_one._buckets
