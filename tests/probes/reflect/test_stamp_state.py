"""What a STAMP reflector remembers: replay window against plain sets, small tables, flows, the row-wise twin."""

from __future__ import annotations

import ipaddress
import random
import resource
import socket
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.core.clock import SECOND
from probes.engine import control
from probes.reflect import flows
from probes.reflect.admission import AllowList, SourceRate
from probes.reflect.flows import Flows
from probes.reflect.stamp_sessions import BETWEEN_STEPS, FRESH_NS, GOES_ON, WINDOW, ReplayWindow, SessionTable
from probes.wire import ntp_time, stamp, stamp_answer


class PlainWindow:
    """The rule of the window with a set of everything ever seen."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.newest: int | None = None
        self.newest_ns = 0
        self.history: list[str] = []

    def admit(self, sequence: int, sent_ns: int) -> bool:
        if self.newest is None:
            admitted = True
        else:
            ahead = (sequence - self.newest + 2**31) % 2**32 - 2**31
            if sent_ns < self.newest_ns - FRESH_NS:
                if not 0 < ahead <= GOES_ON or self.history[-BETWEEN_STEPS:] != ["ahead"] * BETWEEN_STEPS:
                    return False
                self.newest_ns = sent_ns
                self.history.append("set back")
            elif ahead > 0:
                self.history.append("ahead")
            if ahead > 0:
                admitted = True
            elif -ahead < WINDOW:
                admitted = sequence not in self.seen
                if admitted:
                    self.seen.add(sequence)
                    self.newest_ns = max(self.newest_ns, sent_ns)
                return admitted
            elif sent_ns <= self.newest_ns:
                return False
            else:
                admitted, self.seen = True, set()
        self.newest, self.newest_ns = sequence, max(self.newest_ns, sent_ns)
        self.seen.add(sequence)
        return admitted


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from([0, 5, 2**31 - 3, 2**32 - 4]),
    steps=st.lists(
        st.tuples(
            st.one_of(
                st.integers(-3, 3),
                st.just(1),
                st.sampled_from([-WINDOW - 1, -WINDOW, -WINDOW + 1, WINDOW, GOES_ON, GOES_ON + 1, 2**31]),
            ),
            st.one_of(st.just(SECOND), st.sampled_from([-FRESH_NS - 1, -FRESH_NS, -5, 0, 1, SECOND])),
        ),
        max_size=60,
    ),
)
def test_the_replay_window_is_the_plain_rule(start: int, steps: list[tuple[int, int]]) -> None:
    window, simple = ReplayWindow(), PlainWindow()
    sequence, sent_ns = start, 10**18
    for number, (step, later) in enumerate([(0, 0), *steps]):
        sequence, sent_ns = (sequence + step) % 2**32, sent_ns + later
        assert window.admit(sequence, sent_ns) == simple.admit(sequence, sent_ns), number


@pytest.mark.parametrize("back_s", [61, 90, 86_400, 10**8])
def test_a_sender_whose_clock_is_set_back_is_answered_and_its_recording_is_not(back_s: int) -> None:
    window, sent_ns = ReplayWindow(), 2 * 10**18
    before = [(2**32 - 20 + n, sent_ns + n * SECOND) for n in range(40)]
    after = [(sequence + 40, at - back_s * SECOND) for sequence, at in before]
    for sequence, at in (*before, *after):
        assert window.admit(sequence % 2**32, at)
    for sequence, at in (*before, *after):
        assert not window.admit(sequence % 2**32, at), "each once, whatever clock it is of"


@pytest.mark.parametrize("ahead", [1000, 5000, GOES_ON, GOES_ON + 1])
def test_recordings_under_numbers_to_come_are_answered_one_in_many_and_cost_the_sender_nothing(ahead: int) -> None:
    """Whoever has the signed requests of other sessions may hold some whose numbers are near: a rare chance."""
    window, recorded = ReplayWindow(), 0
    for n in range(400):
        assert window.admit(n, 2 * 10**18 + n * SECOND), n
        recorded += window.admit(2 * n + ahead, 10**18 + n)
    assert recorded <= 400 // BETWEEN_STEPS


def test_a_window_that_forgets_one_request_is_caught() -> None:
    """Seeded: the bit of the newest request is not kept."""

    class Forgetful(ReplayWindow):
        def _restart(self, sequence: int, sent_ns: int) -> None:
            super()._restart(sequence, sent_ns)
            self._bits = 0

    window, simple = Forgetful(), PlainWindow()
    assert window.admit(1, 5) == simple.admit(1, 5)
    assert window.admit(1, 5) != simple.admit(1, 5)


def test_a_million_random_sources_cost_no_memory() -> None:
    noise = random.Random(1)
    rate, table = SourceRate(100, 200), SessionTable()
    allow = AllowList(["0.0.0.0/1", "128.0.0.0/1"])
    known = Flows(socket.AF_INET, 862, allow, lambda _: True)
    ancillary = control.message(0, control.IP_PKTINFO, struct.pack("=i4s4s", 2, b"\x0a\0\0\1", b"\x0a\0\0\1"))

    def knock(times: int) -> None:
        for now in range(times):
            name = struct.pack("=H", 2) + noise.randbytes(6)
            flow = known.find(name, ancillary, now)
            if not flow.refusal and rate.take(flow.rate_key, now):
                table.find((flow.identity, noise.randrange(65536))).received += 1

    knock(30_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    knock(30_000)
    for now in range(1_000_000):
        rate.take(noise.getrandbits(32), now)
        table.find((noise.randbytes(16), now & 0xFFFF))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
    assert len(table) == 4096
    assert len(rate._buckets) == 1024


def test_one_host_of_ipv6_is_its_network() -> None:
    rate = SourceRate(10, 10)
    address = ipaddress.ip_address("2001:db8::")
    admitted = sum(rate.admit(address + number, 0) for number in range(1000))
    assert admitted == 10


@pytest.mark.parametrize(
    ("source", "port", "to", "header", "refusal"),
    [
        ("192.0.2.1", 5000, "10.0.0.1", "10.0.0.1", ""),
        ("192.0.2.1", 1023, "10.0.0.1", "10.0.0.1", "dropped_port"),
        ("192.0.2.1", 862, "10.0.0.1", "10.0.0.1", "dropped_port"),
        ("192.0.2.1", 8862, "10.0.0.1", "10.0.0.1", "dropped_port"),
        ("198.51.100.1", 5000, "10.0.0.1", "10.0.0.1", "dropped_source"),
        ("224.0.0.1", 5000, "10.0.0.1", "10.0.0.1", "dropped_address"),
        ("255.255.255.255", 5000, "10.0.0.1", "10.0.0.1", "dropped_address"),
        ("0.0.0.0", 5000, "10.0.0.1", "10.0.0.1", "dropped_address"),
        ("192.0.2.9", 5000, "10.0.0.1", "10.0.0.1", "dropped_address"),
        ("192.0.2.1", 5000, "10.0.0.1", "10.0.0.255", "dropped_address"),
        ("192.0.2.1", 5000, "10.0.0.1", "224.0.0.1", "dropped_address"),
        ("2001:db8::1", 5000, "2001:db8::2", "", ""),
        ("2001:db8::9", 5000, "2001:db8::2", "", "dropped_address"),
        ("2001:db8::1", 5000, "ff02::1", "", "dropped_address"),
        ("ff02::1", 5000, "2001:db8::2", "", "dropped_address"),
        ("::ffff:192.0.2.1", 5000, "::ffff:10.0.0.1", "", ""),
        ("::ffff:198.51.100.1", 5000, "::ffff:10.0.0.1", "", "dropped_source"),
    ],
)
def test_guards_of_a_flow(
    source: str, port: int, to: str, header: str, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = frozenset(map(ipaddress.ip_address, ("192.0.2.9", "2001:db8::9", "10.0.0.1", "2001:db8::2")))
    monkeypatch.setattr(flows, "own_addresses", lambda: own)
    allow = AllowList(["192.0.2.0/24", "224.0.0.0/4", "255.255.255.255/32", "0.0.0.0/32", "2001:db8::/32", "ff00::/8"])
    packed, there = ipaddress.ip_address(source).packed, ipaddress.ip_address(to).packed
    if ":" in source:
        family, name = socket.AF_INET6, struct.pack(">HHI16sI", 10, port, 0, packed, 0)
        said = control.message(41, control.IPV6_PKTINFO, there + bytes(4))
    else:
        family, name = socket.AF_INET, struct.pack(">HH4s", 2, port, packed)
        said = control.message(0, control.IP_PKTINFO, bytes(4) + there + ipaddress.ip_address(header).packed)
    assert Flows(family, 8862, allow, lambda _: True).find(name, said, 0).refusal == refusal


def test_own_addresses_are_those_of_this_host() -> None:
    own = flows.own_addresses()
    assert ipaddress.ip_address("127.0.0.1") in own
    assert ipaddress.ip_address("192.0.2.77") not in own


@given(ns=st.integers(0, 2**62), ptp=st.booleans())
def test_words_are_those_of_the_array_functions(ns: int, ptp: bool) -> None:
    word = stamp_answer.word_of(ns, ptp)
    (expected,) = (ntp_time.to_ptp if ptp else ntp_time.to_ntp)(np.array([ns])).tolist()
    assert word == expected
    (back,) = (ntp_time.from_ptp if ptp else ntp_time.from_ntp)(np.array([word], np.uint64), ns).tolist()
    assert stamp_answer.ns_of(word, ptp, ns) == back == ns


@pytest.mark.parametrize("form", [stamp_answer.UNAUTHENTICATED, stamp_answer.AUTHENTICATED])
def test_the_row_wise_twin_writes_what_the_array_functions_write(form: stamp_answer.Form) -> None:
    noise = random.Random(4)
    for _ in range(50):
        request = np.frombuffer(noise.randbytes(form.size), np.uint8)[None].copy()
        read = stamp.read_requests(request, np.array([form.size]), authenticated=form.authenticated)
        sequence, word, error, ssid, _ = form.request.unpack_from(request.tobytes())
        assert (sequence, word, error, ssid) == (read.sequence[0], read.stamp[0], read.error[0], read.ssid[0])
        number, t3, own, t2, ttl = (noise.getrandbits(bits) for bits in (32, 64, 16, 64, 8))
        out, mine = np.zeros((1, form.size), np.uint8), bytearray(form.size)
        stamp.write_replies(
            out, sequence=np.array([number]), stamp=np.array([t3], np.uint64), error=own, ssid=read.ssid,
            received=np.array([t2], np.uint64), request=read, ttl=ttl, authenticated=form.authenticated,
        )  # fmt: skip
        form.reply.pack_into(mine, 0, number, 0, own, ssid, t2, sequence, word, error, ttl)
        stamp_answer.WORD.pack_into(mine, form.stamp, t3)
        assert bytes(mine) == out.tobytes()
