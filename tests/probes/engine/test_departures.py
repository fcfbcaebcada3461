"""Packets written ahead of time: the same packets at the same times as without, and all of them can be taken back."""

from __future__ import annotations

import errno
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.core.clock import MILLISECOND, SECOND
from probes.engine.loop import TICK_NS
from probes.engine.pacing import NEVER, due_until
from probes.wire.udp_echo import UdpEchoCodec
from tests.fakes.network import FakeTransport, Refusal, Reply
from tests.probes.engine.test_loop import SPEC, Bench

LIMIT = 50


@given(
    streams=st.lists(
        st.tuples(st.integers(0, 500), st.integers(1, 300), st.integers(1, 20), st.integers(24, 26)),
        min_size=1, max_size=12,
    ),
    until=st.integers(1, 400),
)  # fmt: skip
def test_deadlines_are_those_of_a_plain_loop(streams: list[tuple[int, int, int, int]], until: int) -> None:
    streams = [one for one in streams if one[0] < until] or [(0, 1, 1, 24)]
    due, every, remaining, length = (np.array(column, np.int64) for column in zip(*streams, strict=True))
    found = due_until(due, every, remaining, length, until_ns=until, limit=LIMIT)
    plain = sorted(
        (first + k * period, size, number, k)
        for number, (first, period, left, size) in enumerate(streams)
        for k in range(left)
        if first + k * period < until
    )
    got = list(
        zip(found.due_ns.tolist(), length[found.which].tolist(), found.which.tolist(), found.ordinal.tolist(),
            strict=True)
    )  # fmt: skip
    assert got == plain[: len(got)]
    assert len(got) == len(plain) or 0 < len(got) <= LIMIT
    if len(got) < len(plain):
        assert plain[len(got)][0] > got[-1][0] or sum(one[0] == got[0][0] for one in plain) > LIMIT
    assert found.counts.tolist() == [sum(row[2] == number for row in got) for number in range(len(streams))]


@settings(max_examples=12, deadline=None)
@given(
    periods=st.lists(st.sampled_from([3, 7, 20, 50, 100, 400, 1000]), min_size=1, max_size=6),
    orders=st.lists(
        st.tuples(st.sampled_from(["add", "remove", "mark", "step", "freeze", "late"]), st.integers(1, 700)), max_size=6
    ),
)
def test_whatever_happens_between_each_packet_leaves_once_and_on_its_deadline(
    periods: list[int], orders: list[tuple[str, int]]
) -> None:
    """Commands, clock steps and stops of the process take back what is planned; deadlines and numbers go on."""
    bench = Bench()
    specs = [replace(SPEC, circuit=f"C{n}", every_ns=ms * MILLISECOND) for n, ms in enumerate(periods)]
    bench.add(*specs)
    bench.run(0.4)
    for number, (order, ms) in enumerate(orders):
        if order == "add":
            bench.add(replace(SPEC, circuit=f"N{number}", every_ns=ms * MILLISECOND))
        elif order == "remove":
            bench.engine.remove([specs[number % len(specs)].key])
        elif order == "mark":
            bench.engine.mark("C0", "a run")
        elif order == "step":
            bench.network.step_clock(3600 * SECOND)
        else:
            bench.clock.advance((ms + 300) * MILLISECOND if order == "freeze" else ms // 7 * MILLISECOND)
        bench.run(ms / 1000)
    bench.run(12)
    bench.engine.close(2.0)
    times: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for packet in bench.network.sent:
        times[packet.stream].append((packet.sequence, packet.at_ns))
    undisturbed = not {"freeze", "late"} & {order for order, _ in orders}
    for sent in times.values():
        numbers = [number for number, _ in sent]
        assert numbers == sorted(set(numbers)), "each number once, in order"
        if undisturbed:
            assert all(later - earlier == 1 for earlier, later in pairwise(numbers))
    if undisturbed and "remove" not in {order for order, _ in orders}:  # else a new stream may have the slot
        for slot, spec in enumerate(specs):
            phases = [at_ns % spec.every_ns for _, at_ns in times[slot]]
            assert max(phases, default=0) - min(phases, default=0) < TICK_NS, "late by less than a tick"
    assert sum(sample.counts.lost for sample in bench.samples) == 0
    assert sum(sample.counts.sent for sample in bench.samples) == len(bench.network.sent)


def test_between_two_readings_a_tick_encodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    encode = UdpEchoCodec.encode
    monkeypatch.setattr(UdpEchoCodec, "encode", lambda *a, **k: (calls.append(1), encode(*a, **k))[1])
    bench = Bench()
    bench.add(*(replace(SPEC, circuit=f"C{n}") for n in range(60)))
    bench.run(21)
    moments = {packet.at_ns for packet in bench.network.sent}
    assert len(moments) >= 20 * (SECOND // TICK_NS)
    assert len(calls) < len(moments) / 2


def test_an_idle_engine_does_not_wake_for_nothing() -> None:
    bench = Bench()
    bench.add(SPEC)
    bench.run(1)
    steps, end = 0, bench.clock.monotonic() + 10 * SECOND
    while bench.clock.monotonic() < end:
        bench.clock.sleep_until(bench.engine.step())
        steps += 1
    assert steps <= 60


def test_a_codec_that_needs_the_time_is_written_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UdpEchoCodec, "timeless", False)
    written: list[int] = []
    bench = Bench()
    encode = UdpEchoCodec.encode
    monkeypatch.setattr(
        UdpEchoCodec, "encode", lambda *a, **k: (written.append(bench.clock.monotonic()), encode(*a, **k))[1]
    )
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND), replace(SPEC, circuit="C2"))
    bench.run(21)
    assert written == sorted({packet.at_ns for packet in bench.network.sent})
    assert bench.total("lost") == 0
    assert bench.total("received") == bench.total("sent") > 100


def test_a_refused_packet_among_planned_ones_is_the_only_one_not_sent() -> None:
    bench = Bench()
    bench.network.fate = lambda sent: errno.ENOBUFS if sent.stream == 1 and sent.sequence == 5 else [Reply(MILLISECOND)]
    bench.add(*(replace(SPEC, circuit=f"C{n}") for n in range(3)))
    bench.run(21)
    assert [bench.total("not_sent", f"C{n}") for n in range(3)] == [0, 1, 0]
    assert sum(bench.total("lost", f"C{n}") for n in range(3)) == 0


def test_more_than_the_transport_holds_is_planned_in_turns() -> None:
    """Two hundred and fifty streams of 100 ms and rows for 64 packets: nothing is lost, late or skipped."""
    bench = Bench()
    bench.network.fate = lambda _: [Reply(MILLISECOND)]
    bench.add(*(replace(SPEC, circuit=f"C{n}", every_ns=100 * MILLISECOND) for n in range(250)))
    assert FakeTransport.rows == 64
    bench.run(10.7)
    bench.engine.close(1.0)
    assert {sample.counts.lost + sample.counts.not_sent for sample in bench.samples} == {0}
    assert max(sample.quality.lateness_max_ns or 0 for sample in bench.samples) == 0


def test_an_error_about_a_planned_packet_is_matched() -> None:
    bench = Bench()
    bench.network.fate = lambda _: [Refusal(MILLISECOND)]
    bench.add(SPEC)
    bench.run(12)
    assert bench.of()[0].reason == "port unreachable from 192.0.2.254"


def test_nothing_planned_is_nothing_due() -> None:
    bench = Bench()
    departures = bench.engine._traffic.departures
    assert departures.earliest_ns == NEVER
    departures.revoke()
    departures.enter()
    assert departures.send(bench.engine._watch.glance())
    assert not departures.spent
