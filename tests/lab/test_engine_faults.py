"""A host in trouble, and a link at its worst: what the engine reports, against the emulator's log."""

import os
import signal
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.lab.namespaces import Lab
from tests.lab.record import Way
from tests.lab.reported import MS, PACKETS, SECOND, STREAMS, Running, measure, reflector, stream, truth

pytestmark = [pytest.mark.root, pytest.mark.serial]

LOSSES = (0.0, 0.1, 0.5)
PERIOD_MS = 8


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.timeout(120 + PACKETS // 100)
def test_loss_jitter_reordering_and_copies_are_the_logs(
    make_lab: Callable[..., Lab], loss: float, figure: Callable[[str], None]
) -> None:
    """Both IP versions, ICMP and UDP: every count, every packet's fate, and each round trip.

    LINKWITNESS_LAB_PACKETS=100000 takes four minutes.
    """
    count = PACKETS // (len(LOSSES) * len(STREAMS))
    lab = make_lab(
        forward={"delay_ns": 2 * MS, "jitter_ns": 6 * MS, "ordered": False, "loss": loss / 2, "duplicate": 0.05},
        backward={"delay_ns": 2 * MS, "loss": loss / 2, "reorder": 0.05, "reorder_delay_ns": 40 * MS},
        seed=f"worst{loss}",
    )
    with reflector(lab):
        specs = [stream(lab, *which, every_ns=PERIOD_MS * MS, limit=count) for which in STREAMS]
        run = measure(lab, specs, seconds=60 + 2 * count * PERIOD_MS / 1000)
    log = lab.log()
    for name, reported in run.streams.items():
        trips = truth(log, name)
        assert reported.count("sent") == len(trips) == count, name
        assert reported.count("lost") == trips.lost, name
        fates = (trips.fate == "answered").tolist()
        assert reported.answered().tolist() == fates, name
        assert loss == 0 or np.roll(reported.answered(), 1).tolist() != fates, "a shift by one packet is seen"
        assert reported.count("duplicate") == trips.duplicates, name
        assert reported.count("late") == reported.count("corrupt") == 0, name
        answered = trips.rtt_ns[trips.fate == "answered"]
        beyond = float(np.median(reported.rtt_ns() - answered))
        assert abs(beyond) < 0.1 * MS, name
        if loss == 0:
            assert reported.count("lost") == 0
        # Replies that leave the link within microseconds of each other may be stamped in the other order.
        assert abs(reported.count("reordered") - trips.reordered) <= 1 + len(trips) // 100, name
        figure(
            f"loss {loss}, {name}: of {count:,} sent lost {trips.lost:,}, copies {trips.duplicates:,} (exactly the "
            f"log's), reordered {reported.count('reordered'):,} (log {trips.reordered:,}), round trip beyond the log's "
            f"{beyond / 1000:.1f} us (p50)"
        )
    assert set(run.streams) == {f"{kind}{family}" for kind, family in STREAMS}


def test_a_frozen_process_loses_nothing_and_says_that_it_stood_still(lab: Lab) -> None:
    """Stopped for three seconds with packets under way: their replies wait in the kernel, stamped in time."""
    lab.link.delay(50)
    running = Running(lab, [stream(lab, "icmp", family, every_ns=20 * MS, limit=300) for family in (4, 6)])
    time.sleep(2)
    os.kill(running.process.pid, signal.SIGSTOP)
    time.sleep(3)
    os.kill(running.process.pid, signal.SIGCONT)
    run = running.finish()
    log = lab.log()
    for family in (4, 6):
        reported, trips = run.streams[f"icmp{family}"], truth(log, f"icmp{family}")
        assert reported.count("sent") == len(trips)
        assert reported.count("lost") == trips.lost == 0
        assert reported.count("not_sent") > 100, "what was due meanwhile was never sent"
        assert "no_reply" not in reported.states()
        assert np.median(reported.rtt_ns() - trips.rtt_ns) < 0.2 * MS
        assert reported.rtt_ns().max() < SECOND, "no packet waited for the process"
        assert (np.diff(np.sort(trips.sent_ns)) < 5 * MS).sum() < 10, "no burst on wake"
        impaired = [sample for sample in reported.samples if sample["state"] == "impaired"]
        assert impaired
        assert all("stood still" in sample["reason"] for sample in impaired)


@pytest.mark.parametrize("family", [4, 6])
def test_a_source_address_that_goes_and_comes_back(lab: Lab, family: int) -> None:
    """Meanwhile nothing is sent, which is told with its reason, and nothing is lost."""
    own, length = lab.near.address(family), {4: 24, 6: 64}[family]
    lab.link.delay(5)
    running = Running(lab, [stream(lab, "icmp", family, every_ns=20 * MS, limit=250, source=own)])
    time.sleep(1)
    lab.near.ip("address", "del", f"{own}/{length}", "dev", "wan0")
    time.sleep(1.5)
    lab.near.ip("address", "add", f"{own}/{length}", "dev", "wan0", *(["nodad"] if family == 6 else []))
    reported = running.finish().streams[f"icmp{family}"]
    trips = truth(lab.log(), f"icmp{family}")
    assert reported.count("not_sent") > 20
    assert reported.count("sent") + reported.count("not_sent") == 250
    assert abs(reported.count("sent") - len(trips)) <= 1
    answered = reported.answered()
    assert answered[-20:].all(), "measured again once the address is back"
    # A reply that arrives while the host has no such address is not for it: at most those under way.
    assert reported.count("lost") <= 2
    assert any(f"source address {own} is not on this host" in (s["reason"] or "") for s in reported.samples)


def test_the_hosts_address_changes_under_a_stream_without_a_source(lab: Lab) -> None:
    """A new lease: the stream goes on from the new address, in the same samples."""
    lab.link.delay(5)
    running = Running(lab, [stream(lab, "icmp", 4, every_ns=20 * MS, limit=250)])
    time.sleep(1)
    lab.near.ip("address", "add", "198.51.100.7/24", "dev", "wan0")
    lab.near.ip("address", "del", "198.51.100.1/24", "dev", "wan0")
    time.sleep(0.2)
    lab.near.ip("address", "replace", "198.51.100.7/24", "dev", "wan0")
    reported = running.finish().streams["icmp4"]
    forward = lab.log().select(way=Way.FORWARD, protocol="icmp", family=4)
    sources = {tuple(row[:4]) for row in forward.frames["source"].tolist()}
    assert sources == {(198, 51, 100, 1), (198, 51, 100, 7)}
    assert reported.count("sent") == len(forward)
    assert reported.answered()[-50:].all()
    assert reported.count("lost") <= 2
