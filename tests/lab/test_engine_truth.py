"""What the engine reports, against the emulator's log of the same packets: IPv4 and IPv6, ICMP and UDP in one run."""

from collections.abc import Callable

import numpy as np
import pytest

from probes.core.model import PacketState
from tests.lab.namespaces import Lab
from tests.lab.reported import MS, SECOND, STREAMS, Running, measure, reflector, stream, truth

pytestmark = [pytest.mark.root, pytest.mark.serial]

NAMES = [f"{kind}{family}" for kind, family in STREAMS]
TOLERANCE_NS = 200_000


@pytest.mark.parametrize("added_ms", [5, 20, 80])
def test_round_trip_times_are_the_logs(make_lab: Callable[..., Lab], added_ms: int) -> None:
    """Medians within 0.2 ms; each packet is the same packet, so the differences are of pairs."""
    half = {"delay_ns": added_ms * MS // 2}
    lab = make_lab(forward=half, backward=half)
    with reflector(lab):
        run = measure(lab, [stream(lab, *which, limit=100) for which in STREAMS])
    assert not run.refused
    log = lab.log()
    for name in NAMES:
        reported, trips = run.streams[name], truth(log, name)
        assert reported.count("sent") == len(trips) == 100
        assert reported.count("lost") == trips.lost == 0
        seen = reported.rtt_ns()
        assert abs(np.median(seen) - np.median(trips.rtt_ns)) < TOLERANCE_NS, name
        assert abs(np.median(seen - trips.rtt_ns)) < TOLERANCE_NS // 2, name
        assert np.median(seen) >= added_ms * MS
        for sample in reported.samples:
            within = trips.between(sample["start_ns"], sample["start_ns"] + sample["span_ns"])
            if len(within) >= 20:
                # By nearest rank, as the sample has it: on a busy machine two ranks may be further apart than that.
                median = np.percentile(within.rtt_ns, 50, method="inverted_cdf")
                assert abs(sample["delay"]["p50_ns"] - median) < TOLERANCE_NS, name
                assert abs(sample["delay"]["sum_ns"] / sample["delay"]["count"] - within.rtt_ns.mean()) < 1.5 * MS


def test_losses_are_the_logs_packet_by_packet(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(
        forward={"loss": 0.06, "delay_ns": 3 * MS}, backward={"loss": 0.04, "delay_ns": 3 * MS}, seed="engine"
    )
    with reflector(lab):
        run = measure(lab, [stream(lab, *which, every_ns=20 * MS, limit=400) for which in STREAMS])
    log = lab.log()
    for name in NAMES:
        reported, trips = run.streams[name], truth(log, name)
        assert reported.count("sent") == len(trips) == 400
        assert reported.count("lost") == trips.lost > 5
        assert reported.count("received") == trips.answered
        assert reported.count("late") == reported.count("not_sent") == reported.count("duplicate") == 0
        assert reported.answered().tolist() == (trips.fate == "answered").tolist(), name
        assert reported.states() == {"ok"}


def test_duplicates_and_reordering_are_counted_as_logged(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(
        forward={"duplicate_every": 11},
        backward={"reorder_every": 17, "reorder_delay_ns": 130 * MS, "duplicate": 0.03},
        seed="order",
    )
    with reflector(lab):
        run = measure(lab, [stream(lab, *which, every_ns=20 * MS, limit=300) for which in STREAMS])
    log = lab.log()
    for name in NAMES:
        reported, trips = run.streams[name], truth(log, name)
        assert reported.count("lost") == trips.lost == 0
        assert reported.count("received") == 300
        assert reported.count("duplicate") == trips.duplicates > 10, name
        assert reported.count("reordered") == trips.reordered > 3, name


def test_late_is_lost_but_its_delay_is_known(make_lab: Callable[..., Lab]) -> None:
    """One in ten replies is held 0.45 s, beyond a timeout of 0.3 s."""
    lab = make_lab(backward={"reorder_every": 10, "reorder_delay_ns": 450 * MS})
    run = measure(lab, [stream(lab, "icmp", 4, every_ns=20 * MS, timeout_ns=300 * MS, limit=200)])
    trips, reported = truth(lab.log(), "icmp4"), run.streams["icmp4"]
    late = trips.rtt_ns > 300 * MS
    assert reported.count("sent") == reported.count("received") + reported.count("lost") == 200
    assert reported.count("lost") == reported.count("late") == late.sum() == 20
    assert reported.count("duplicate") == 0
    packets = reported.packets()
    assert ((packets["state"] == PacketState.LATE) == late).all()
    assert abs(np.median(packets["rtt_ns"][late] - trips.rtt_ns[late])) < TOLERANCE_NS


def test_an_outage_of_seven_seconds_appears_at_the_right_second(lab: Lab) -> None:
    """Samples of one second, so that each whole second of the outage is one without a reply."""
    lab.link.delay(5)
    with reflector(lab):
        streams = [stream(lab, *which, every_ns=100 * MS, limit=140) for which in STREAMS]
        running = Running(lab, streams, seconds=60, span_ns=SECOND)
        begin, stop = lab.link.outage_at_second(3, 7)
        run = running.finish()
    log = lab.log()
    assert set(log.reasons()) == {"outage"}
    for name in NAMES:
        reported, trips = run.streams[name], truth(log, name)
        assert reported.answered().tolist() == (trips.fate == "answered").tolist(), name
        assert reported.count("lost") == trips.lost
        dark = [sample["start_ns"] for sample in reported.samples if sample["state"] == "no_reply"]
        assert dark == list(range(begin, stop, SECOND)), name
        for sample in reported.samples:
            if sample["start_ns"] in dark:
                assert sample["counts"]["lost"] == sample["counts"]["sent"] > 0
                assert sample["delay"] is None
