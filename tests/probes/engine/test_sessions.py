"""Streams to far ends with clocks: four stamps, both directions, on a fake clock and a fake network."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from probes.core.arrays import ABSENT
from probes.core.clock import MILLISECOND, SECOND, ClockQuality
from probes.core.errors import LocalError
from probes.core.model import PacketState, Sample, SampleState
from probes.engine.loop import Engine
from probes.engine.streams import PacketEvents, StreamSpec
from tests.fakes.clock import FakeClock
from tests.fakes.far_end import FarEnd, Way
from tests.fakes.network import FakeNetwork, Refusal, Reply
from tests.fakes.stamp_octets import PTP

MS = MILLISECOND
WALL = 1_800_000_000 * SECOND
SPEC = StreamSpec("C1", "stamp", "stamp", "192.0.2.1", "far.example", port=862, size=184, every_ns=100 * MS)
KEY = b"0123456789abcdef"
OUR_ERROR_NS = 400_000
FAR_ERROR_NS = 15


class Bench:
    """An engine without threads against one reflector."""

    def __init__(self, *, quality: ClockQuality | None = None, observed: bool = False, **far: object) -> None:
        self.clock = FakeClock(WALL, 5_000 * SECOND)
        self.network = FakeNetwork(self.clock, port=862)
        self.far = FarEnd(self.network, **far)  # type: ignore[arg-type]
        self.network.fate = self.far.fate
        self.quality = quality or ClockQuality(True, 1_000, OUR_ERROR_NS)
        self.samples: list[Sample] = []
        self.events: list[PacketEvents] = []
        self.engine = Engine(
            clock=self.clock, report=self.samples.extend, open_transport=self.network.open,
            quality=lambda: self.quality, observe=self.events.append if observed else None,
        )  # fmt: skip

    def add(self, *specs: StreamSpec) -> dict[tuple[str, str], LocalError]:
        return self.engine.add(specs)

    def run(self, seconds: float) -> None:
        end = self.clock.monotonic() + int(seconds * SECOND)
        while self.clock.monotonic() < end:
            self.clock.sleep_until(min(self.engine.step(), end))
        self.engine.reporter.work_off()

    def of(self, circuit: str = "C1") -> list[Sample]:
        return [sample for sample in self.samples if sample.circuit == circuit]

    def total(self, name: str) -> int:
        return sum(getattr(sample.counts, name) for sample in self.samples)

    def lost(self, way: str) -> int:
        ways = [getattr(sample, way) for sample in self.samples]
        assert all(one is not None and one.lost is not None for one in ways)
        return sum(one.lost for one in ways)


def test_four_stamps_give_both_directions_and_residence_apart() -> None:
    """3 ms there, 2 ms inside, 7 ms back: round trip 10 ms; errors: ours 0.4 ms and theirs 15 ns."""
    bench = Bench()
    bench.add(SPEC)
    bench.run(31)
    sample = bench.of()[1]
    assert sample.state is SampleState.OK
    assert sample.delay is not None
    assert (sample.delay.minimum_ns, sample.delay.maximum_ns) == pytest.approx((10 * MS, 10 * MS), abs=2)
    forward, backward = sample.forward, sample.backward
    assert forward is not None
    assert backward is not None
    assert forward.delay is not None
    assert backward.delay is not None
    assert forward.delay.count == backward.delay.count == 100
    assert forward.delay.p50_ns == pytest.approx(3 * MS, abs=2)
    assert backward.delay.p50_ns == pytest.approx(7 * MS, abs=2)
    assert (forward.sent, forward.lost, backward.sent, backward.lost) == (100, 0, 100, 0)
    assert forward.error_ns == OUR_ERROR_NS + FAR_ERROR_NS
    assert forward.withheld is backward.withheld is None
    assert (forward.dscp, backward.dscp) == (46, 34)
    assert (forward.ttl, backward.ttl) == (57, 64)
    assert (forward.stamped, backward.stamped) == (100, 100)
    assert sample.residence is not None
    assert sample.residence.count == 100
    assert sample.residence.sum_ns == pytest.approx(200 * MS, abs=200)
    assert forward.histogram is not None
    assert forward.histogram.count.sum() == 100
    assert sample.packets is not None
    assert sample.packets.forward_ns is not None
    assert sample.packets.backward_ns is not None
    assert sample.packets.forward_ns == pytest.approx(np.full(100, 3 * MS), abs=2)
    assert sample.packets.backward_ns == pytest.approx(np.full(100, 7 * MS), abs=2)


def test_the_wire_starts_at_random_and_every_stamp_is_its_own() -> None:
    bench = Bench()
    bench.add(SPEC, replace(SPEC, circuit="C2"))
    bench.run(5)
    words = {request.data[4:12] for request in bench.far.requests}
    assert len(words) == len(bench.far.requests)
    first = {request.stream: int.from_bytes(request.data[:4], "big") for request in reversed(bench.far.requests)}
    assert len(set(first.values())) == 2
    assert max(first.values()) > 1000
    for stream in first:
        numbers = [int.from_bytes(r.data[:4], "big") for r in bench.far.requests if r.stream == stream]
        assert [(number - first[stream]) % 2**32 for number in numbers] == list(range(len(numbers)))
    stamp = int.from_bytes(bench.far.requests[0].data[4:12], "big")
    wall = bench.network.wall_at(bench.far.requests[0].at_ns)
    assert abs(((stamp >> 32) - 2_208_988_800) * SECOND + ((stamp & 0xFFFFFFFF) * SECOND >> 32) - wall) < 2_000


def test_streams_to_one_peer_have_sockets_of_their_own_and_others_share() -> None:
    bench = Bench()
    bench.network.addresses = {slot: f"192.0.2.{1 + slot % 5}" for slot in range(10)}
    specs = [replace(SPEC, circuit=f"C{n}", address=f"192.0.2.{1 + n % 5}") for n in range(10)]
    bench.add(*specs)
    bench.run(25)
    used = {request.stream: request.socket for request in bench.far.requests}
    assert [used[slot] for slot in range(10)] == [0] * 5 + [1] * 5
    assert bench.total("lost") == 0
    assert bench.engine.counters().get("foreign", 0) == 0
    bench.engine.remove([specs[0].key])
    bench.run(20)
    bench.add(replace(SPEC, circuit="again", address="192.0.2.1"))
    bench.run(5)
    assert len(bench.network.transports) == 2, "a socket is used again when the stream of that peer is over"
    assert {request.socket for request in bench.far.requests if request.at_ns > bench.clock.monotonic() - SECOND} == {
        0,
        1,
    }


def test_streams_of_another_make_do_not_share_a_socket() -> None:
    bench = Bench()
    bench.network.addresses = {slot: f"192.0.2.{1 + slot}" for slot in range(3)}
    bench.add(
        SPEC,
        replace(SPEC, circuit="C2", address="192.0.2.2", dscp=46),
        replace(SPEC, circuit="C3", address="192.0.2.3", extras=(("ssid", 77),)),
    )
    bench.run(2)
    assert {request.stream: request.socket for request in bench.far.requests} == {0: 0, 1: 1, 2: 2}
    by_stream = {request.stream: request.data for request in bench.far.requests}
    assert [int.from_bytes(by_stream[slot][14:16], "big") for slot in range(3)] == [0, 0, 77]
    assert by_stream[1][44 + 20 + 4] == 46 << 2, "replies are asked to carry the stream's code point"


@pytest.mark.parametrize("hours", [1, -1])
def test_a_step_of_our_clock_changes_no_round_trip_and_gives_no_false_delay(hours: int) -> None:
    bench = Bench(apart=True)
    bench.add(SPEC)
    bench.run(13.0251)
    bench.network.step_clock(hours * 3600 * SECOND)
    bench.run(30)
    assert bench.total("lost") == 0
    trips = np.concatenate([sample.packets.rtt_ns for sample in bench.samples if sample.packets is not None])
    assert (trips >= 10 * MS - 2).all()
    assert (trips <= 10 * MS + 130 * MS).all()
    before = [sample for sample in bench.samples if sample.start_ns < WALL + 13 * SECOND and sample.start_ns >= WALL]
    for sample in before:
        assert sample.packets is not None
        assert sample.packets.forward_ns is not None
        known = sample.packets.forward_ns != ABSENT
        assert sample.packets.forward_ns[known] == pytest.approx(np.full(known.sum(), 3 * MS), abs=2)
    assert all(sample.forward.withheld for sample in bench.samples if sample not in before), "the far clock is off now"


@pytest.mark.parametrize("step_s", [1, -1])
def test_variation_of_a_direction_does_not_compare_delays_across_a_step(step_s: int) -> None:
    """No packet is under way when the clock is set: the last one before and the first one after are neighbours."""
    bench = Bench(apart=True)
    bench.add(SPEC)
    bench.run(13.07)
    bench.network.step_clock(step_s * SECOND)
    bench.run(27)
    for sample in bench.of():
        for way in (sample.forward, sample.backward):
            assert way is not None
            assert way.variation is not None
            assert way.variation.ipdv_abs_sum_ns < 1000
            assert (way.variation.rfc3550_ns or 0) < 1000
    pairs = sum(s.forward.variation.ipdv_pairs for s in bench.of() if s.forward and s.forward.variation)
    assert pairs == bench.total("received") - 2, "one pair less than packets, and none across the step"


@pytest.mark.parametrize("offset_s", [1.0, -1.0])
def test_a_far_clock_that_is_wrong_is_suspect_and_round_trips_do_not_care(offset_s: float) -> None:
    bench = Bench(offset_ns=int(offset_s * SECOND))
    bench.add(SPEC)
    bench.run(21)
    sample = bench.of()[0]
    assert sample.delay is not None
    assert sample.delay.p50_ns == pytest.approx(10 * MS, abs=2)
    assert sample.forward is not None
    assert sample.backward is not None
    way, value = ("backward", "-993.000") if offset_s > 0 else ("forward", "-997.000")
    reason = f"clock suspect: a {way} delay of {value} ms is beyond its error bound of 0.400 ms"
    assert sample.forward.withheld == sample.backward.withheld == reason
    assert sample.forward.delay is sample.backward.delay is None
    assert sample.forward.histogram is None
    assert sample.forward.variation is not None
    assert sample.forward.variation.ipdv_abs_sum_ns < 1000
    assert (sample.forward.lost, sample.backward.lost) == (0, 0)
    assert sample.packets is not None
    assert sample.packets.forward_ns is not None
    assert np.median(sample.packets.forward_ns) == pytest.approx(offset_s * SECOND + 3 * MS, abs=2), "never clipped"


@pytest.mark.parametrize("step_s", [1, -1])
def test_a_far_clock_that_is_set_while_we_measure(step_s: int) -> None:
    """The interval of the step and those after it are suspect, those before are not; packets inside the far end at that
    moment have a residence that nobody believes."""
    bench = Bench(residence_ns=30 * MS, steps=[(5_025 * SECOND, step_s * SECOND)])
    bench.add(SPEC)
    bench.run(52)
    told = [sample.forward.withheld for sample in bench.of() if sample.forward is not None]
    assert told[:2] == [None, None]
    assert all((reason or "").startswith("clock suspect") for reason in told[2:])
    assert [(reason or "").endswith("the far clock was set meanwhile") for reason in told[:4]] == [
        False,
        False,
        True,
        False,
    ]
    for way in ("forward", "backward"):
        variations = [getattr(sample, way).variation for sample in bench.of()]
        assert variations[2] is None
        assert all(one.ipdv_abs_sum_ns + one.rfc3550_ns < 1000 for one in variations if one is not None)
    assert bench.total("lost") == 0
    trips = np.concatenate([sample.packets.rtt_ns for sample in bench.samples if sample.packets is not None])
    assert trips == pytest.approx(np.full(len(trips), 10 * MS), abs=2)


@pytest.mark.parametrize("step_s", [1, -1])
@pytest.mark.parametrize("packets", [20, 99, 100])
def test_a_request_inside_the_far_end_while_its_clock_is_set_hides_nothing(step_s: int, packets: int) -> None:
    """Its stamps are of two clocks and bound no offset: it has no delay. Amid an interval, and at its ends."""
    bench = Bench(residence_ns=30 * MS)
    bench.add(SPEC)
    bench.run(10.2)
    first = next(
        request.at_ns for request in bench.far.requests if bench.network.wall_at(request.at_ns) >= WALL + 10**10
    )
    bench.far.steps.append((first + packets * 100 * MS + 13 * MS, step_s * SECOND))
    bench.run(35)
    unknown, told = 0, []
    for sample in bench.of():
        assert sample.packets is not None
        for way, column in ((sample.forward, sample.packets.forward_ns), (sample.backward, sample.packets.backward_ns)):
            assert way is not None
            assert column is not None
            unknown += int((column == ABSENT).sum())
            told.append("set meanwhile" in (way.withheld or ""))
            if way.variation is not None:
                assert way.variation.ipdv_abs_sum_ns + (way.variation.rfc3550_ns or 0) < 1000
    assert unknown == 2
    assert sum(told) == (2 if packets == 20 else 0)
    trips = np.concatenate([sample.packets.rtt_ns for sample in bench.of() if sample.packets is not None])
    assert np.median(trips) == pytest.approx(10 * MS, abs=2)
    assert trips.max() <= 40 * MS + 2


@pytest.mark.parametrize("step_s", [1, -1])
def test_a_far_clock_that_is_set_between_two_intervals(step_s: int) -> None:
    """Neither has both clocks in it, and the pair across the boundary is none."""
    bench = Bench(steps=[(5_020 * SECOND, step_s * SECOND)])
    bench.add(SPEC)
    bench.run(55)
    samples = bench.of()
    assert not any("set meanwhile" in (sample.forward.withheld or "") for sample in samples if sample.forward)
    for way in ("forward", "backward"):
        variations = [getattr(sample, way).variation for sample in samples]
        assert all(one.ipdv_abs_sum_ns + one.rfc3550_ns < 1000 for one in variations)
        assert sum(one.ipdv_pairs for one in variations) == bench.total("received") - 2


def test_a_small_negative_delay_within_the_bound_is_shown_as_it_is() -> None:
    bench = Bench(offset_ns=-300_000, forward=Way(lambda _: 100_000))
    bench.add(SPEC)
    bench.run(21)
    forward = bench.of()[0].forward
    assert forward is not None
    assert forward.delay is not None
    assert forward.withheld is None
    assert forward.delay.minimum_ns == pytest.approx(-200_000, abs=2)


@pytest.mark.parametrize(("offset_s", "side"), [(37, "ahead of"), (-37, "behind")])
def test_tai_against_utc_is_named(offset_s: int, side: str) -> None:
    bench = Bench(offset_ns=offset_s * SECOND, error=0x8601 | PTP)
    bench.add(SPEC)
    bench.run(21)
    sample = bench.of()[0]
    assert sample.forward is not None
    assert sample.forward.withheld == f"the far clock is about 37 s {side} this host's: one keeps TAI, the other UTC"
    assert sample.delay is not None
    assert sample.delay.p50_ns == pytest.approx(10 * MS, abs=2)


@pytest.mark.parametrize(
    ("quality", "error", "reason"),
    [
        (ClockQuality(False, None, 16 * SECOND), 0x8601, "this host's clock is not synchronised"),
        (ClockQuality(True, None, None), 0x8601, "this host's clock is not synchronised"),
        (None, 0x0601, "the far clock is not synchronised"),
        (None, 0x8600, "the far end gives no estimate of its clock's error"),
    ],
)
def test_withheld_while_a_clock_is_not_synchronised(quality: ClockQuality | None, error: int, reason: str) -> None:
    bench = Bench(quality=quality, error=error, forward=Way(lambda turn: (3 + turn % 2) * MS))
    bench.add(SPEC)
    bench.run(31)
    sample = bench.of()[1]
    for way in (sample.forward, sample.backward):
        assert way is not None
        assert way.withheld == reason
        assert way.delay is way.error_ns is way.histogram is None
        assert way.variation is not None
        assert way.variation.ipdv_pairs == 100
        assert way.lost == 0
    assert sample.forward is not None
    assert sample.forward.variation is not None
    assert sample.forward.variation.ipdv_mean_ns == pytest.approx(MS, abs=2)
    assert sample.forward.variation.pdv_p95_ns == pytest.approx(MS, abs=2)
    assert sample.delay is not None
    assert sample.delay.maximum_ns == pytest.approx(11 * MS, abs=2)


def test_a_clock_that_lost_its_source_withholds_the_intervals_it_touches() -> None:
    bench = Bench()
    bench.add(SPEC)
    bench.run(15)
    bench.far.error = 0x0601
    bench.run(5)
    bench.far.error = 0x8601
    bench.run(21)
    told = [sample.forward.withheld for sample in bench.of() if sample.forward is not None]
    assert told[:3] == [None, "the far clock is not synchronised", None]


def test_the_error_we_send_is_the_kernels() -> None:
    bench = Bench()
    bench.add(SPEC)
    bench.run(3)
    bench.quality = ClockQuality(False, None, None)
    bench.run(3)
    first, last = (int.from_bytes(bench.far.requests[at].data[12:14], "big") for at in (0, -1))
    assert first >> 15 == 1
    assert OUR_ERROR_NS <= ((first & 255) << (first >> 8 & 63)) * SECOND / 2**32 <= OUR_ERROR_NS * 1.01
    assert last >> 15 == 0
    assert ((last & 255) << (last >> 8 & 63)) / 2**32 >= 16


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shuffled", [False, True])
def test_loss_of_each_direction(seed: int, shuffled: bool) -> None:
    """Random loss both ways and copies on the way back: exact. Where requests overtake one another, within 2 %.

    The split of every sample adds up.
    """
    rng = random.Random(seed)
    rates = [rng.choice((0.0, 0.02, 0.2, 0.5)) for _ in range(2)]
    fates = [[rng.random() < rate for _ in range(1000)] for rate in rates]
    there, back = ([rng.choice((0, 0, 0, 0, 150)) * MS for _ in range(1000)] for _ in range(2))
    copies = [rng.random() < 0.05 for _ in range(1000)]
    bench = Bench(
        forward=Way(lambda n: 3 * MS + there[n] * shuffled, lambda n: 5 < n < 250 and fates[0][n]),
        backward=Way(lambda n: 7 * MS + back[n], lambda n: 5 < n < 250 and fates[1][n], lambda n: copies[n]),
    )
    bench.add(SPEC)
    bench.run(48)
    allowed = bench.total("sent") // 50 if shuffled else 0
    assert abs(bench.lost("forward") - bench.far.lost_forward) <= allowed
    assert abs(bench.lost("backward") - bench.far.lost_backward) <= allowed
    for sample in bench.samples:
        assert sample.forward is not None
        assert sample.backward is not None
        assert sample.counts is not None
        assert sample.forward.lost + sample.backward.lost == sample.counts.lost
        assert sample.forward.sent == sample.counts.sent
        assert sample.backward.sent == sample.counts.sent - sample.forward.lost


def test_requests_that_arrive_twice_take_two_numbers_and_are_no_loss() -> None:
    bench = Bench(forward=Way(lambda _: 3 * MS, lambda n: n % 10 == 5, lambda n: n % 4 == 0))
    bench.add(SPEC)
    bench.run(61)
    assert bench.lost("forward") == bench.total("lost") > 40
    assert bench.lost("backward") == 0
    assert bench.total("duplicate") > 100


@pytest.mark.parametrize("first_number", [0, 1000])
def test_the_first_losses_of_a_session_have_a_direction_if_it_counts_from_0(first_number: int) -> None:
    """Two requests lost, then an answer; where the numbers go on from an earlier stream, that is not known."""
    bench = Bench(
        forward=Way(lambda _: 3 * MS, lambda n: n < 2), backward=Way(lambda _: 7 * MS, lambda n: n == 2),
        first_number=first_number,
    )  # fmt: skip
    bench.add(SPEC)
    bench.run(31)
    first, second = (sample.forward for sample in bench.of()[:2])
    assert first is not None
    assert second is not None
    assert first.lost == (2 if first_number == 0 else None)
    assert second.lost == 0


def test_a_slow_stream_is_not_kept_waiting_for_its_next_packet() -> None:
    bench = Bench()
    bench.add(replace(SPEC, every_ns=25 * SECOND, timeout_ns=SECOND))
    bench.run(34)
    assert len(bench.of()) == 1
    assert bench.of()[0].forward is not None
    assert bench.of()[0].forward.lost == 0


def test_losses_before_any_later_reply_have_no_direction() -> None:
    bench = Bench(backward=Way(lambda _: 7 * MS, lambda n: n >= 150))
    bench.add(SPEC)
    bench.run(45)
    first, second, third = bench.of()[:3]
    assert first.forward is not None
    assert first.forward.lost == 0
    for sample in (second, third):
        assert sample.forward is not None
        assert sample.forward.lost is sample.forward.sent is None
        assert sample.counts is not None
        assert sample.counts.lost > 0
    assert third.forward is not None
    assert third.forward.delay is None
    assert third.forward.withheld is None
    assert third.state is SampleState.NO_REPLY


@pytest.mark.parametrize("counters", [False, True])
def test_a_stateless_reflector_tells_no_direction_unless_it_counts(counters: bool) -> None:
    bench = Bench(stateful=False, forward=Way(lambda _: 3 * MS, lambda n: n % 9 == 4))
    bench.add(replace(SPEC, extras=(("direct_measurement", counters),)))
    bench.run(41)
    assert bench.total("lost") > 20
    if counters:
        assert (bench.lost("forward"), bench.lost("backward")) == (bench.total("lost"), 0)
        return
    for sample in bench.samples:
        assert sample.forward is not None
        assert sample.forward.sent is sample.forward.lost is None
        assert sample.forward.delay is not None


def test_a_restarted_reflector_loses_nothing() -> None:
    bench = Bench(backward=Way(lambda _: 7 * MS, lambda n: n % 20 == 3))
    bench.add(SPEC)
    bench.run(14)
    bench.far.restart()
    bench.run(40)
    told = [sample.forward.lost for sample in bench.of() if sample.forward is not None]
    assert told[0] == 0
    assert told[1] is None, "the numbers of this interval go on and begin anew"
    assert set(told[2:]) == {0}


def test_the_follow_up_puts_the_time_of_sending_right() -> None:
    """T3 is 40 us early: without the follow-up that would be part of the way back and of the round trip."""
    lines = []
    for asked in (True, False):
        bench = Bench(stamp_lag_ns=40_000)
        bench.add(replace(SPEC, extras=(("follow_up", asked),)))
        bench.run(41)
        sample = bench.of()[1]
        assert sample.backward is not None
        assert sample.backward.delay is not None
        assert sample.delay is not None
        assert sample.residence is not None
        lines.append(
            (
                sample.backward.stamped, round(sample.backward.delay.p50_ns, -2), round(sample.delay.p50_ns, -2),
                round(sample.residence.maximum_ns, -2), sample.backward.error_ns,
            )
        )  # fmt: skip
    followed, plain = lines
    assert followed == (100, 7 * MS, 10 * MS, 2 * MS, OUR_ERROR_NS + FAR_ERROR_NS)
    assert plain == (0, 7 * MS + 40_000, 10 * MS + 40_000, 2 * MS - 40_000, OUR_ERROR_NS + FAR_ERROR_NS)


def test_replies_whose_follow_up_is_lost_widen_the_bound() -> None:
    """Every tenth reply is lost, and with it what it says about the one before."""
    bench = Bench(stamp_lag_ns=40_000, backward=Way(lambda _: 7 * MS, lambda n: n % 10 == 7))
    bench.add(SPEC)
    bench.run(31)
    backward = bench.of()[1].backward
    assert backward is not None
    assert backward.stamped == 80
    assert backward.delay is not None
    assert backward.delay.count == 90
    assert backward.error_ns == pytest.approx(OUR_ERROR_NS + FAR_ERROR_NS + 40_000, abs=2)


@pytest.mark.parametrize("stamps", ["ntp", "ptp"])
@pytest.mark.parametrize("key", [None, KEY])
def test_both_modes_and_both_formats(stamps: str, key: bytes | None) -> None:
    bench = Bench(key=key, error=0x8601 | (PTP if stamps == "ptp" else 0))
    extras = (("direct_measurement", True), ("key", key), ("stamps", stamps), ("timestamp_information", True))
    bench.add(replace(SPEC, extras=extras))
    bench.run(31)
    sample = bench.of()[1]
    assert sample.counts is not None
    assert (sample.counts.sent, sample.counts.lost) == (100, 0)
    assert sample.forward is not None
    assert sample.backward is not None
    assert sample.forward.delay is not None
    assert sample.forward.delay.p50_ns == pytest.approx(3 * MS, abs=2)
    assert sample.backward.stamped == 100
    assert sample.forward.dscp == 46


def test_a_reply_with_a_wrong_digest_is_forged_and_counted() -> None:
    def damage(data: bytearray) -> None:
        data[20] ^= 1

    bench = Bench(key=KEY)
    plain = bench.far.fate
    bench.network.fate = lambda sent: [
        replace(reply, change=damage if bench.far.turns[sent.stream] % 5 == 0 else None) for reply in plain(sent)
    ]
    bench.add(replace(SPEC, extras=(("key", KEY),)))
    bench.run(31)
    sample = bench.of()[1]
    assert sample.counts is not None
    assert (sample.counts.lost, sample.counts.corrupt) == (20, 20)
    assert sample.backward is not None
    assert sample.backward.lost == 20
    assert bench.engine.counters()["forged"] >= 40


def test_a_guessed_stamp_is_forged() -> None:
    """Right peer, right sequence, a stamp that is off by its lowest bit."""

    def damage(data: bytearray) -> None:
        data[35] ^= 1

    bench = Bench()
    plain = bench.far.fate
    bench.network.fate = lambda sent: [replace(reply, change=damage) for reply in plain(sent)] + plain(sent)
    bench.add(SPEC)
    bench.run(12)
    assert bench.total("lost") == 0
    assert bench.engine.counters()["forged"] >= bench.total("corrupt") > 90


def test_late_duplicate_replayed_and_foreign_replies_as_for_other_kinds() -> None:
    bench = Bench(backward=Way(lambda n: 400 * MS if n % 10 == 2 else 7 * MS, lambda _: False, lambda n: n % 10 == 6))
    plain = bench.far.fate

    def fate(sent: object) -> list[Reply]:
        replies = plain(sent)  # type: ignore[arg-type]
        strange = [replace(replies[0], source="192.0.2.99")]
        return replies + strange + [replace(replies[0], after_ns=replies[0].after_ns + 20 * SECOND)]

    bench.network.fate = fate  # type: ignore[assignment]
    bench.add(replace(SPEC, timeout_ns=300 * MS))
    bench.run(41)
    sample = bench.of()[1]
    assert sample.counts is not None
    assert (sample.counts.sent, sample.counts.received, sample.counts.lost, sample.counts.late) == (100, 90, 10, 10)
    assert sample.counts.duplicate == 10
    assert sample.counts.reordered == 10
    counters = bench.engine.counters()
    assert counters["foreign"] >= 200
    assert counters["forgotten"] >= 100
    assert sample.forward is not None
    assert sample.forward.lost == 0
    assert sample.packets is not None
    late = sample.packets.state == PacketState.LATE
    assert sample.packets.rtt_ns[late] == pytest.approx(np.full(10, 403 * MS), abs=2)


def test_replies_in_truth_order_despite_residence() -> None:
    """A reply held 180 ms inside the far end arrives after the next one: reordered, though its delay is the same."""
    bench = Bench()
    plain = bench.far.fate

    def fate(sent: object) -> list[Reply]:
        bench.far.residence_ns = 180 * MS if bench.far.turns[0] % 10 == 3 else 2 * MS
        return plain(sent)  # type: ignore[arg-type]

    bench.network.fate = fate  # type: ignore[assignment]
    bench.add(SPEC)
    bench.run(31)
    sample = bench.of()[1]
    assert sample.counts is not None
    assert sample.counts.reordered == 10
    assert sample.delay is not None
    assert sample.delay.maximum_ns == pytest.approx(10 * MS, abs=2)
    assert sample.residence is not None
    assert sample.residence.maximum_ns == pytest.approx(180 * MS, abs=2)


def test_a_residence_that_cannot_be_is_not_taken_off() -> None:
    """The far clock jumps inside the far end, or its stamps are nonsense: the round trip then holds all there was."""
    for residence in (-5 * MS, 20 * MS):
        bench = Bench()
        bench.far.stamp_lag_ns = 2 * MS - residence
        bench.add(replace(SPEC, extras=(("follow_up", False),)))
        bench.run(21)
        sample = bench.of()[0]
        assert sample.delay is not None
        assert sample.delay.p50_ns == 12 * MS
        assert sample.residence is None


def test_reflectors_that_know_no_extensions_and_short_replies() -> None:
    bench = Bench(extensions=False)
    plain = bench.far.fate
    bench.network.fate = lambda sent: [
        replace(reply, change=lambda data: data.__delitem__(slice(44, None))) for reply in plain(sent)
    ]
    bench.add(SPEC)
    bench.run(31)
    sample = bench.of()[1]
    assert sample.counts is not None
    assert sample.counts.lost == 0
    assert sample.forward is not None
    assert sample.backward is not None
    assert sample.forward.dscp is None
    assert (sample.forward.ttl, sample.backward.dscp, sample.backward.stamped) == (57, 34, 0)


@pytest.mark.parametrize("start", [0, 2**32 - 60])
def test_the_wires_sequence_wraps(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.engine.loop.secrets.randbits", lambda _: start)
    bench = Bench(forward=Way(lambda _: 3 * MS, lambda n: n < 150 and n % 9 == 4), first_number=2**32 - 30)
    bench.add(SPEC)
    bench.run(31)
    assert bench.total("received") > 170
    assert bench.lost("forward") == bench.far.lost_forward
    assert bench.of()[1].backward.stamped > 70  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(3))
def test_a_far_end_that_writes_nonsense_spoils_only_its_own_one_way_values(seed: int) -> None:
    """All octets but the echoed sequence and T1 are random: number, T2, T3, error, extensions."""
    rng = random.Random(seed)

    def garble(data: bytearray) -> None:
        data[:24], data[36:] = rng.randbytes(24), rng.randbytes(len(data) - 36)
        if rng.random() < 0.5:  # well-formed extensions with senseless values, from a clock that claims to be right
            data[12:14], data[44:48] = b"\xbf\xff", bytes((0, 7, 0, 16))

    bench = Bench()
    plain = bench.far.fate
    bench.network.addresses = {1: "192.0.2.2"}
    bench.network.fate = lambda sent: [
        replace(reply, change=None if sent.stream else garble, source=None) for reply in plain(sent)
    ]
    bench.add(SPEC, replace(SPEC, circuit="C2", address="192.0.2.2"))
    bench.run(41)
    assert len(bench.of()) == len(bench.of("C2")) >= 3
    assert bench.total("lost") == 0
    for sample in bench.of():
        assert sample.packets is not None
        assert (sample.packets.rtt_ns >= 0).all()
        assert (sample.packets.rtt_ns <= 12 * MS + 2).all()
    for sample in bench.of("C2"):
        assert sample.forward is not None
        assert sample.forward.delay is not None
        assert sample.forward.delay.p50_ns == pytest.approx(3 * MS, abs=2)
        assert sample.forward.lost == 0


def test_an_icmp_error_finds_its_stream() -> None:
    bench = Bench()
    bench.network.fate = lambda _: [Refusal(5 * MS, 3, 3, "192.0.2.1")]
    bench.add(SPEC)
    bench.run(15)
    sample = bench.of()[0]
    assert sample.state is SampleState.REJECTED
    assert sample.reason == "port unreachable from 192.0.2.1"
    assert bench.engine.counters().get("unmatched_errors", 0) == 0


def test_without_transmit_stamps_the_bound_is_wider_and_said() -> None:
    bench = Bench()
    bench.network.transmit_stamps = False
    bench.add(SPEC)
    bench.run(21)
    forward, backward = bench.of()[0].forward, bench.of()[0].backward
    assert forward is not None
    assert backward is not None
    assert forward.stamped == 0
    assert forward.error_ns == OUR_ERROR_NS + FAR_ERROR_NS + 2 * MS
    assert backward.error_ns == OUR_ERROR_NS + FAR_ERROR_NS


def test_the_observer_is_told_delays_only_where_they_may_be_shown() -> None:
    told = {}
    for synchronised in (True, False):
        bench = Bench(observed=True, quality=ClockQuality(synchronised, 1_000, OUR_ERROR_NS))
        bench.add(replace(SPEC, limit=5))
        bench.run(3)
        told[synchronised] = np.concatenate([events.forward_ns for events in bench.events])
    assert told[True] == pytest.approx(np.full(5, 3 * MS), abs=2)
    assert (told[False] == ABSENT).all()


def test_sizes_mix_and_a_size_too_small_is_refused() -> None:
    bench = Bench()
    bench.network.addresses = {slot: f"192.0.2.{1 + slot}" for slot in range(4)}
    sizes = enumerate((72, 73, 76, 1400))
    refused = bench.add(
        *(replace(SPEC, circuit=f"C{n}", address=f"192.0.2.{1 + n}", size=size) for n, size in sizes),
        replace(SPEC, circuit="C9", size=71),
        replace(SPEC, circuit="C8", extras=(("key", b"short"),)),
    )  # fmt: skip
    assert refused["C9", "stamp"].message == "size 71 B is out of range"
    assert refused["C9", "stamp"].hint == "from 72 B to 65000 B"
    assert refused["C8", "stamp"].message == "a STAMP key of 5 octets is too short"
    bench.run(21)
    assert {len(request.data) for request in bench.far.requests} == {72, 73, 76, 1400}
    assert bench.total("lost") == 0
    assert {sample.forward.lost for sample in bench.samples if sample.forward is not None} == {0}
    assert {request.socket for request in bench.far.requests} == {0}


def test_icmp_like_kinds_beside_it_have_no_directions() -> None:
    bench = Bench()
    bench.network.addresses = {1: "192.0.2.1"}
    bench.network.fate = lambda sent: bench.far.fate(sent) if sent.sequence < 0 else [Reply(20 * MS)]
    bench.add(SPEC, replace(SPEC, circuit="U", probe="udp", kind="udp", port=862, size=56))
    bench.run(21)
    assert {sample.kind for sample in bench.samples} == {"stamp", "udp"}
    for sample in bench.samples:
        assert sample.counts is not None
        assert sample.counts.lost == 0
        assert (sample.forward is None) == (sample.kind == "udp")
        assert sample.packets is not None
        assert (sample.packets.forward_ns is None) == (sample.kind == "udp")
