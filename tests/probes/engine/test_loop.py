"""The whole engine on a fake clock and a fake network: what is sent, what is counted, what is said."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from probes.core.arrays import ABSENT
from probes.core.clock import MILLISECOND, SECOND
from probes.core.errors import LocalError
from probes.core.model import PacketState, Sample, SampleState, StampSource
from probes.core.units import format_duration
from probes.engine.loop import DRAIN_NS, TICK_NS, Engine
from probes.engine.streams import PacketEvents, StreamSpec
from tests.fakes.clock import FakeClock
from tests.fakes.network import FakeNetwork, Fate, Refusal, Reply, Sent

SPAN = 10 * SECOND
SPEC = StreamSpec("C1", "udp", "udp", "192.0.2.1", "target.example", port=8620)
WALL = 1_800_000_000 * SECOND


class Bench:
    """An engine without threads, driven second by second."""

    def __init__(self, **options: object) -> None:
        self.clock = FakeClock(WALL, 5_000 * SECOND)
        self.network = FakeNetwork(self.clock)
        self.samples: list[Sample] = []
        self.notes: list[tuple[str, str]] = []
        self.events: list[PacketEvents] = []
        observe = self.events.append if options.pop("observed", False) else None
        self.engine = Engine(
            clock=self.clock, report=self.samples.extend, event=lambda kind, text: self.notes.append((kind, text)),
            open_transport=self.network.open, observe=observe, **options,
        )  # fmt: skip

    def add(self, *specs: StreamSpec) -> dict[tuple[str, str], LocalError]:
        return self.engine.add(specs)

    def run(self, seconds: float) -> None:
        end = self.clock.monotonic() + int(seconds * SECOND)
        while (now := self.clock.monotonic()) < end:
            wake = self.engine.step()
            assert wake > now
            self.clock.sleep_until(min(wake, end))
        self.engine.reporter.work_off()

    def of(self, circuit: str = "C1") -> list[Sample]:
        return [sample for sample in self.samples if sample.circuit == circuit]

    def total(self, name: str, circuit: str = "C1") -> int:
        return sum(getattr(sample.counts, name) for sample in self.of(circuit))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def scripted(fates: dict[int, Fate]) -> Callable[[Sent], Fate]:
    """Fate by sequence; all else comes back after 20 ms."""
    return lambda sent: fates.get(sent.sequence, [Reply(20 * MILLISECOND)])


def test_samples_follow_one_another_without_a_gap_and_lie_on_utc(bench: Bench) -> None:
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND))
    bench.run(35)
    samples = bench.of()
    assert len(samples) == 3
    assert [sample.start_ns % SPAN for sample in samples[1:]] == [0, 0]
    for earlier, later in pairwise(samples):
        assert earlier.start_ns + earlier.span_ns == later.start_ns
    assert [sample.counts.sent for sample in samples[1:]] == [100, 100]
    sample = samples[1]
    assert sample.state is SampleState.OK
    assert sample.reason is None
    assert sample.remote == "192.0.2.1"
    assert sample.counts.received == 100
    assert sample.delay is not None
    assert sample.delay.minimum_ns == sample.delay.maximum_ns == 20 * MILLISECOND
    assert sample.quality.stamps is StampSource.KERNEL
    assert sample.quality.lateness_max_ns == 0
    assert sample.packets is not None
    assert len(sample.packets) == 100
    assert (sample.packets.sent_ns >= 0).all()
    assert (sample.packets.sent_ns < SPAN).all()
    assert sample.histogram is not None
    assert sample.histogram.count.sum() == 100


def test_intervals_shorter_than_what_lies_between_two_readings_are_handed_on() -> None:
    bench = Bench(span_ns=SECOND // 2)
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND, timeout_ns=200 * MILLISECOND, limit=50))
    bench.run(8)
    assert bench.engine.done()
    assert bench.total("sent") >= 45
    assert len(bench.of()) >= 9


def test_a_thousand_streams_send_exactly_what_is_due(bench: Bench) -> None:
    bench.add(*(replace(SPEC, circuit=f"C{n}", every_ns=SECOND) for n in range(1000)))
    bench.run(31)
    sent = defaultdict(list)
    for packet in bench.network.sent:
        sent[packet.stream].append(packet.at_ns)
    assert len(sent) == 1000
    assert {len(times) for times in sent.values()} <= {30, 31}
    assert all((np.diff(times) == SECOND).all() for times in sent.values())
    full = [sample for sample in bench.samples if sample.start_ns > WALL and sample.span_ns == SPAN]
    assert len(full) >= 1000
    assert {sample.counts.sent for sample in full} == {10}
    wakes = {packet.at_ns for packet in bench.network.sent}
    assert len(wakes) <= 31 * 100 + 2, "streams share their wake-ups"


def test_fates_of_packets_are_counted_apart(bench: Bench) -> None:
    bench.network.fate = scripted(
        {
            10: [],
            11: [Reply(20 * MILLISECOND), Reply(21 * MILLISECOND), Reply(5 * SECOND)],
            12: [Reply(4 * SECOND)],
            13: errno.ENOBUFS,
            14: [Refusal(30 * MILLISECOND)],
            15: [Reply(20 * MILLISECOND, change=lambda data: data.__setitem__(20, data[20] ^ 1))],
            16: [Reply(20 * MILLISECOND, source="192.0.2.66")],
            17: [Reply(1500 * MILLISECOND)],
            18: [Reply(20 * MILLISECOND, change=lambda data: data.extend(b"more"))],
            19: [Reply(9 * SECOND)],
            21: [Reply(1500 * MILLISECOND)],
        }
    )
    bench.add(SPEC)
    bench.run(45)
    assert bench.total("sent") + bench.total("not_sent") == sum(
        packet.sequence <= 39 and packet.at_ns < 5_000 * SECOND + 40 * SECOND for packet in bench.network.sent
    )
    assert bench.total("not_sent") == 1
    assert bench.total("lost") == 7  # 10, 12, 14, 15, 16, 18, 19
    assert bench.total("late") == 1
    assert bench.total("duplicate") == 2
    assert bench.total("corrupt") == 2
    assert bench.total("reordered") == 1
    counters = bench.engine.counters()
    assert counters["foreign"] == 1
    assert counters["forged"] == 1
    second = bench.of()[1]
    assert second.packets is not None
    expected = [
        PacketState.LOST, PacketState.ANSWERED, PacketState.LATE, PacketState.NOT_SENT, PacketState.REJECTED,
        PacketState.LOST, PacketState.LOST, PacketState.ANSWERED, PacketState.LOST, PacketState.LOST,
    ]  # fmt: skip
    assert second.packets.state.tolist() == expected
    assert second.packets.rtt_ns[2] == 4 * SECOND
    assert second.reason == "1 not sent: the send queue of this host is full"


def test_a_late_reply_is_never_the_answer_to_another_packet(bench: Bench) -> None:
    """Delay constantly a second over the timeout: everything is late, nothing is answered."""
    bench.network.fate = lambda _: [Reply(4 * SECOND)]
    bench.add(replace(SPEC, every_ns=200 * MILLISECOND))
    bench.run(40)
    assert bench.total("received") == 0
    assert bench.total("late") == bench.total("lost") == bench.total("sent") > 100
    assert {sample.state for sample in bench.of()} == {SampleState.NO_REPLY}


def test_an_outage_is_no_reply_and_is_reported_after_the_forget_time(bench: Bench) -> None:
    bench.network.fate = lambda sent: [] if sent.at_ns >= 5_010 * SECOND else [Reply(MILLISECOND)]
    bench.add(SPEC)
    bench.run(24.9)
    assert [sample.state for sample in bench.of()] == [SampleState.OK]
    bench.run(1)
    assert [sample.state for sample in bench.of()] == [SampleState.OK, SampleState.NO_REPLY]
    assert bench.of()[1].counts.lost == 10
    assert bench.of()[1].delay is None


def test_rejected_names_the_error_and_who_sent_it(bench: Bench) -> None:
    bench.network.fate = lambda _: [Refusal(5 * MILLISECOND, 3, 3, "192.0.2.1")]
    bench.add(SPEC)
    bench.run(15)
    sample = bench.of()[0]
    assert sample.state is SampleState.REJECTED
    assert sample.reason == "port unreachable from 192.0.2.1"
    assert sample.counts.lost == sample.counts.sent == 10


@pytest.mark.parametrize(
    ("kind", "code", "state", "reason"),
    [
        (3, 1, SampleState.NO_REPLY, "no neighbour answers ARP or ND on the way to 192.0.2.1"),
        (
            3, 13, SampleState.INVALID,
            "a firewall rule of this host rejects packets to 192.0.2.1 (prohibited by a filter)",
        ),
    ],
)  # fmt: skip
def test_errors_this_host_made_itself(bench: Bench, kind: int, code: int, state: SampleState, reason: str) -> None:
    bench.network.own.add("192.0.2.9")
    bench.network.fate = lambda _: [Refusal(5 * MILLISECOND, kind, code, "192.0.2.9")]
    bench.add(SPEC)
    bench.run(25)
    assert bench.of()[0].state is state
    assert bench.of()[0].reason == reason


def test_an_off_path_error_without_the_nonce_changes_nothing(bench: Bench) -> None:
    bench.add(SPEC)
    bench.run(2)
    transport = bench.network.transports[0]
    forged = bytearray(bench.network.sent[-1].data)
    forged[-40] ^= 1
    sent = bench.network.sent[-1]
    transport._refusals.append((0, 0, replace(sent, data=bytes(forged[:16]) + bytes(40)), Refusal(0)))
    bench.run(20)
    assert bench.total("lost") == 0
    assert bench.engine.counters()["unmatched_errors"] == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENETUNREACH, "this host has no route to 192.0.2.1"),
        (errno.EPERM, "a firewall rule of this host forbids sending to 192.0.2.1"),
        (errno.EADDRNOTAVAIL, "this host has no source address for 192.0.2.1"),
        (errno.EMSGSIZE, "the packet is larger than the path of this host allows"),
        (errno.EIO, "Input/output error (errno 5)"),
    ],
)
def test_what_never_left_is_not_lost(bench: Bench, code: int, reason: str) -> None:
    bench.network.fate = lambda _: code
    bench.add(SPEC)
    bench.run(15)
    sample = bench.of()[0]
    assert sample.state is SampleState.INVALID
    assert sample.reason == reason
    assert (sample.counts.sent, sample.counts.lost, sample.counts.not_sent) == (0, 0, 10)
    assert sample.quality.lateness_max_ns is None


@pytest.mark.parametrize("seconds", [3600, -3600, 1, -1, 10**8, -(10**8)])
@pytest.mark.parametrize("at", [13.005, 13.5, 13.01999, 13.0201])
def test_a_clock_step_changes_no_round_trip_and_cuts_the_interval(bench: Bench, seconds: int, at: float) -> None:
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND))
    bench.run(at)
    bench.network.step_clock(seconds * SECOND)
    bench.run(27)
    assert bench.notes == [
        (
            "clock_step",
            f"the clock was set {'forward' if seconds > 0 else 'back'} by {format_duration(abs(seconds) * SECOND)}",
        )
    ]
    samples = bench.of()
    assert bench.total("lost") == bench.total("reordered") == 0
    cut = [index for index, (a, b) in enumerate(pairwise(samples)) if a.start_ns + a.span_ns != b.start_ns]
    assert len(cut) == 1
    assert samples[cut[0] + 1].start_ns - (samples[cut[0]].start_ns + samples[cut[0]].span_ns) == pytest.approx(
        seconds * SECOND, abs=200 * MILLISECOND
    )
    for sample in samples:
        assert sample.packets is not None
        assert sample.state is SampleState.OK
        rtt = sample.packets.rtt_ns
        assert ((rtt >= 20 * MILLISECOND) & (rtt <= 140 * MILLISECOND)).all()
    assert np.median(np.concatenate([sample.packets.rtt_ns for sample in samples])) == 20 * MILLISECOND
    total = sum(sample.span_ns for sample in samples)
    assert total == pytest.approx(10 * SECOND * (total // (10 * SECOND)), abs=10 * SECOND)


@pytest.mark.parametrize("step_ms", [200, -200, 60, -60])
@pytest.mark.parametrize("at", [13.0051, 13.2501, 13.4499])
def test_packets_in_flight_across_a_small_step_keep_their_round_trips(bench: Bench, step_ms: int, at: float) -> None:
    """Half a second of replies may wait to be read, and a step back makes their stamps mean two moments: the queue's
    order tells which."""
    bench.add(replace(SPEC, every_ns=10 * MILLISECOND))
    bench.network.fate = lambda _: [Reply(130 * MILLISECOND)]
    bench.run(at)
    bench.network.step_clock(step_ms * MILLISECOND)
    bench.run(27)
    trips = np.concatenate([sample.packets.rtt_ns for sample in bench.of() if sample.packets is not None])
    assert (trips == 130 * MILLISECOND).all()
    assert bench.total("lost") == bench.total("late") == bench.total("reordered") == 0


def test_a_freeze_skips_sends_marks_the_intervals_and_loses_nothing(bench: Bench) -> None:
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND))
    bench.run(13.05)
    before = len(bench.network.sent)
    bench.clock.advance(15 * SECOND)
    bench.engine.step()
    assert len(bench.network.sent) == before + 1, "one probe on wake, no burst"
    bench.run(20)
    gaps = [text for kind, text in bench.notes if kind == "gap"]
    assert gaps == ["this process stood still for 15s"]
    impaired = [sample for sample in bench.of() if sample.state is SampleState.IMPAIRED]
    assert len(impaired) == 2
    assert all(sample.reason == "this process stood still for 15s" for sample in impaired)
    assert bench.total("lost") == 0
    assert bench.total("not_sent") >= 148
    times = [packet.at_ns for packet in bench.network.sent]
    assert (np.diff(times)[np.diff(times) < 10 * SECOND] >= 10 * MILLISECOND).all()


def test_replies_that_waited_out_a_freeze_count_with_their_kernel_stamps(bench: Bench) -> None:
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND))
    bench.run(12.005)
    bench.clock.advance(4 * SECOND)
    bench.run(15)
    assert bench.total("lost") == 0
    delays = [sample.delay for sample in bench.of() if sample.delay is not None]
    assert {delay.maximum_ns for delay in delays} == {20 * MILLISECOND}


def test_local_drops_impair(bench: Bench) -> None:
    bench.add(SPEC)
    bench.run(5)
    bench.network.dropped = 3
    bench.run(20)
    first, second = bench.of()[:2]
    assert first.state is SampleState.IMPAIRED
    assert first.quality.local_drops == 3
    assert first.reason == "this host dropped replies for want of receive buffer"
    assert second.state is SampleState.OK
    assert second.quality.local_drops == 0


def test_a_mark_impairs_what_it_overlaps_on_its_circuit_only(bench: Bench) -> None:
    bench.add(SPEC, replace(SPEC, circuit="C2"))
    bench.run(15)
    bench.engine.mark("C1", "throughput run on this circuit")
    bench.run(10)
    bench.engine.mark("C1", None)
    bench.run(30)
    states = [sample.state is SampleState.IMPAIRED for sample in bench.of("C1")]
    assert states == [False, True, True, False, False][: len(states)]
    assert not any(sample.state is SampleState.IMPAIRED for sample in bench.of("C2"))


def test_the_gate_impairs_the_interval_that_ends() -> None:
    reasons = iter([None, "host out of memory", None, None, None, None])
    bench = Bench(gate=lambda: next(reasons))
    bench.add(SPEC)
    bench.run(45)
    assert [sample.reason for sample in bench.of()[:3]] == [None, "host out of memory", None]


def test_without_stamps_the_sample_says_so(bench: Bench) -> None:
    bench.network.transmit_stamps = False
    bench.add(SPEC)
    bench.run(21)
    assert {sample.quality.stamps for sample in bench.of()} == {StampSource.KERNEL_RECEIVE}
    bench.network.fate = lambda _: [Reply(20 * MILLISECOND, stamped=False)]
    bench.run(30)
    assert bench.of()[-1].quality.stamps is StampSource.USER
    assert bench.of()[-1].delay.maximum_ns <= 20 * MILLISECOND + DRAIN_NS + TICK_NS


def test_removing_a_stream_reports_its_interval_and_loses_nothing(bench: Bench) -> None:
    bench.network.fate = lambda _: [Reply(500 * MILLISECOND)]
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND), replace(SPEC, circuit="C2"))
    bench.run(13.02)
    bench.engine.remove([("C1", "udp")])
    bench.engine.add([replace(SPEC, address="192.0.2.7", every_ns=100 * MILLISECOND)])
    bench.network.addresses = {2: "192.0.2.7"}
    bench.run(20)
    samples = bench.of()
    assert {sample.state for sample in samples} == {SampleState.OK}
    assert bench.total("lost") == 0
    assert len({(sample.circuit, sample.probe, sample.start_ns) for sample in samples}) == len(samples)
    assert {sample.remote for sample in samples} == {"192.0.2.1", "192.0.2.7"}
    assert len(bench.of("C2")) >= 2


def test_a_stream_whose_far_end_gave_it_up_counts_no_packet_that_may_have_gone_unanswered(bench: Bench) -> None:
    """Neither the open interval nor the one before it whose packets are still out; other streams go on."""
    bench.network.fate = lambda sent: [Reply(20 * MILLISECOND)] if sent.at_ns < 5_019 * SECOND else []
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND), replace(SPEC, circuit="C2", every_ns=100 * MILLISECOND))
    bench.run(20.5)
    bench.engine.remove([("C1", "udp")], "the far end has stopped")
    bench.run(15)
    first, *rest = bench.of()
    assert (first.state, first.counts.lost) == (SampleState.OK, 0)
    assert [sample.state for sample in rest] == [SampleState.IMPAIRED] * 2
    assert {sample.reason for sample in rest} == {"the far end has stopped"}
    assert sum(sample.counts.lost for sample in rest) > 0
    assert SampleState.IMPAIRED not in {sample.state for sample in bench.of("C2")}


def test_slots_are_used_again_and_sequences_never(bench: Bench) -> None:
    seen: set[tuple[int, int]] = set()
    for _ in range(4):
        bench.add(SPEC)
        bench.run(12)
        bench.engine.remove([SPEC.key])
        bench.run(8)
    for packet in bench.network.sent:
        assert (packet.stream, packet.sequence) not in seen
        seen.add((packet.stream, packet.sequence))
    assert {packet.stream for packet in bench.network.sent} == {0}
    assert bench.total("lost") == 0


def test_close_waits_for_what_is_in_flight(bench: Bench) -> None:
    bench.network.fate = lambda _: [Reply(300 * MILLISECOND)]
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND))
    bench.run(5.01)
    bench.engine.close(2.0)
    assert len(bench.of()) == 1
    assert bench.of()[0].state is SampleState.OK
    assert bench.of()[0].counts.lost == 0
    assert bench.of()[0].span_ns < SPAN
    assert all(transport.closed for transport in bench.network.transports)


def test_close_in_an_outage_is_neither_loss_nor_answer(bench: Bench) -> None:
    bench.network.fate = lambda sent: [] if sent.sequence > 40 else [Reply(MILLISECOND)]
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND))
    bench.run(5.01)
    bench.engine.close(0.5)
    sample = bench.of()[-1]
    assert sample.state is SampleState.IMPAIRED
    assert sample.reason == "stopped with packets in flight"
    assert sample.counts.lost == 0


def test_a_limited_stream_ends(bench: Bench) -> None:
    bench.add(replace(SPEC, every_ns=200 * MILLISECOND, limit=4))
    assert not bench.engine.done()
    bench.run(0.7)
    assert not bench.engine.done()
    bench.run(1)
    assert bench.engine.done()
    assert len(bench.network.sent) == 4
    bench.run(30)
    assert len(bench.of()) == 1
    assert bench.of()[0].counts.received == 4


def test_a_limited_stream_without_replies_ends_after_its_timeout(bench: Bench) -> None:
    bench.network.fate = lambda _: []
    bench.add(replace(SPEC, every_ns=200 * MILLISECOND, timeout_ns=SECOND, limit=2))
    bench.run(1.1)
    assert not bench.engine.done()
    bench.run(0.1 + (DRAIN_NS + TICK_NS) / SECOND)
    assert bench.engine.done()


def test_the_observer_hears_of_every_packet_once() -> None:
    bench = Bench(observed=True, drain_ns=100 * MILLISECOND)
    bench.network.fate = scripted(
        {1: [], 2: errno.EPERM, 3: [Refusal(MILLISECOND)], 4: [Reply(MILLISECOND), Reply(2 * MILLISECOND)],
         5: [Reply(1500 * MILLISECOND)]}
    )  # fmt: skip
    bench.add(replace(SPEC, every_ns=100 * MILLISECOND, timeout_ns=SECOND, limit=7))
    bench.run(5)
    told = [
        (int(events.sequence[row]), PacketState(int(events.state[row])).name, bool(events.duplicate[row]),
         events.reason[row], events.source[row])
        for events in bench.events
        for row in range(len(events))
    ]  # fmt: skip
    assert sorted(told, key=lambda event: (event[0], event[2], event[1] != "LOST")) == [
        (0, "ANSWERED", False, None, "192.0.2.1"),
        (1, "LOST", False, None, ""),
        (2, "NOT_SENT", False, "a firewall rule of this host forbids sending to 192.0.2.1", ""),
        (3, "REJECTED", False, "port unreachable from 192.0.2.254", "192.0.2.254"),
        (4, "ANSWERED", False, None, "192.0.2.1"),
        (4, "ANSWERED", True, None, "192.0.2.1"),
        (5, "LOST", False, None, ""),
        (5, "LATE", False, None, "192.0.2.1"),
        (6, "ANSWERED", False, None, "192.0.2.1"),
    ]
    events = bench.events[0]
    assert events.keys[int(events.stream[0])] == ("C1", "udp")
    assert events.rtt_ns[0] == 20 * MILLISECOND
    assert events.ttl[0] == 64
    assert all((batch.rtt_ns[batch.duplicate] == ABSENT).all() for batch in bench.events)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"address": "not-an-address"}, "target 'not-an-address' is not a numeric address"),
        ({"address": "224.0.0.1"}, "224.0.0.1 is not the address of one host"),
        ({"address": "0.0.0.0"}, "0.0.0.0 is not the address of one host"),
        ({"address": "fe80::1"}, "fe80::1 is a link-local address"),
        ({"interface": "nosuch0"}, "there is no interface 'nosuch0' on this host"),
        ({"source": "203.0.113.7"}, "source 203.0.113.7 is not an address of this host"),
        ({"source": "::1"}, "source ::1 and the target are of different IP versions"),
        ({"size": 23}, "size 23 B is out of range"),
        ({"size": 70000}, "size 70000 B is out of range"),
        ({"every_ns": 0}, "a stream needs a period of 1 ms or more and a timeout"),
        ({"every_ns": MILLISECOND, "timeout_ns": 600 * SECOND}, "too many packets would be in flight"),
        ({"kind": "tcp"}, "tcp is not a stream of packets"),
        ({"kind": "nosuch"}, "there is no probe kind 'nosuch'"),
    ],
)
def test_a_stream_that_cannot_run_is_refused_and_the_others_run(
    bench: Bench, change: dict[str, object], message: str
) -> None:
    refused = bench.add(replace(SPEC, circuit="BAD", **change), SPEC)  # type: ignore[arg-type]
    assert set(refused) == {("BAD", "udp")}
    assert refused["BAD", "udp"].message == message
    assert refused["BAD", "udp"].hint
    bench.run(12)
    assert bench.of()[0].state is SampleState.OK
    again = bench.add(SPEC)
    assert again[SPEC.key].message == "C1/udp is being measured already"


def test_streams_slower_than_the_interval_get_longer_ones(bench: Bench) -> None:
    bench.add(replace(SPEC, every_ns=25 * SECOND))
    bench.run(100)
    full = [sample for sample in bench.of() if sample.span_ns == 30 * SECOND]
    assert len(full) >= 2
    assert all(sample.start_ns % (30 * SECOND) == 0 and sample.counts.sent >= 1 for sample in full)


def test_sizes_and_channels_mix_in_one_tick(bench: Bench) -> None:
    specs = [replace(SPEC, circuit=f"C{n}", size=24 + 100 * (n % 5), every_ns=SECOND) for n in range(200)]
    specs += [replace(SPEC, circuit=f"V{n}", address="2001:db8::1") for n in range(5)]
    bench.network.addresses = dict.fromkeys(range(200, 205), "2001:db8::1")
    bench.add(*specs)
    bench.run(21)
    lengths = {packet.stream: len(packet.data) for packet in bench.network.sent}
    assert {lengths[slot] for slot in range(5)} == {24, 124, 224, 324, 424}
    assert len(bench.network.transports) == 2
    assert {sample.state for sample in bench.samples} == {SampleState.OK}
    assert sum(sample.counts.lost for sample in bench.samples) == 0
    assert bench.engine.counters().get("foreign", 0) == 0


def test_sequences_across_16_and_32_bits_on_the_wire(bench: Bench) -> None:
    for base in (2, 2**16 - 5, 2**32 - 5):
        bench.engine._table.next_sequence[:] = base
        bench.add(replace(SPEC, every_ns=500 * MILLISECOND))
        bench.run(12)
        bench.engine.remove([SPEC.key])
        bench.run(8)
    assert bench.total("lost") == 0
    assert {base for base in (2**16, 2**32) if any(p.sequence == base for p in bench.network.sent)} == {2**16, 2**32}


def test_a_failing_receiver_does_not_stop_the_engine() -> None:
    bench = Bench()
    bench.engine.reporter.start()

    def fail(_: object) -> None:
        raise ValueError("receiver")

    bench.engine.reporter._report = fail
    bench.add(SPEC)
    end = bench.clock.monotonic() + 45 * SECOND
    while bench.clock.monotonic() < end:
        bench.clock.sleep_until(bench.engine.step())
    assert bench.engine.reporter.close(10)
    assert len(bench.network.sent) == 45


@pytest.mark.parametrize(("rate", "timeout_ms"), [(100, 3000), (102, 3000), (63, 10_000), (58, 10_000)])
def test_a_silent_stream_skips_nothing_whatever_the_size_of_its_ring(bench: Bench, rate: int, timeout_ms: int) -> None:
    bench.network.fate = lambda _: []
    bench.add(replace(SPEC, every_ns=SECOND // rate, timeout_ns=timeout_ms * MILLISECOND))
    bench.run(40 + 3 * timeout_ms / 1000)
    assert bench.engine.counters().get("overrun", 0) == 0
    assert all(sample.counts.not_sent == 0 for sample in bench.of())
