"""The emulator shown true by others: ping, fping and the kernel. The `lab` fixture audits each log at the end."""

import re
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.lab.emulator_log import LogError, RoundTrips
from tests.lab.namespaces import Lab, LabError
from tests.lab.record import Way

pytestmark = [pytest.mark.root, pytest.mark.serial]

MS = 1_000_000
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])


def ping(lab: Lab, family: int, count: int, *words: str) -> list[tuple[int, float, bool]]:
    """ping from near to far, 100 packets a second: (sequence, RTT in ms, duplicate) of each reply, in order."""
    done = lab.near.run(
        ["ping", "-n", "-i", "0.01", "-c", str(count), "-W", "2", *words, lab.far.address(family)], check=False
    )
    pattern = r"icmp_seq=(\d+) (?:ttl|hlim)=\d+ time=([\d.]+) ms( \(DUP!\))?"
    return [(int(seq), float(rtt), bool(dup)) for seq, rtt, dup in re.findall(pattern, done.stdout)]


@FAMILIES
@pytest.mark.parametrize("added_ms", [0, 5, 40])
def test_each_round_trip_of_ping_is_the_logs(lab: Lab, family: int, added_ms: int) -> None:
    lab.link.delay(added_ms)
    seen = {sequence: rtt for sequence, rtt, _ in ping(lab, family, 150)}
    trips = lab.log().echo()
    assert len(seen) == trips.answered == 150
    difference = [seen[int(seq)] - rtt / MS for seq, rtt in zip(trips.sequence, trips.rtt_ns, strict=True)]
    assert abs(np.median(difference)) < 0.1
    assert np.median(trips.rtt_ns) >= 2 * added_ms * MS
    holds = lab.log().select(protocol="icmp").added_ns() - added_ms * MS
    assert np.median(holds) < 0.3 * MS


@FAMILIES
def test_a_seeded_loss_is_the_loss_ping_saw_packet_by_packet(make_lab: Callable[..., Lab], family: int) -> None:
    lab = make_lab(forward={"loss": 0.08}, backward={"loss": 0.05}, seed="loss")
    seen = {sequence for sequence, _, _ in ping(lab, family, 400)}
    time.sleep(0.1)
    trips = lab.log().echo()
    assert len(trips) == 400
    assert seen == set(trips.sequence[trips.fate == "answered"].tolist())
    assert 5 < (trips.fate == "forward").sum() < 70
    assert 5 < (trips.fate == "backward").sum() < 60
    assert set(lab.log().reasons()) == {"random"}


def test_the_same_seed_gives_the_same_losses_again(make_lab: Callable[..., Lab]) -> None:
    fates: list[list[str]] = []
    for _ in range(2):
        lab = make_lab(forward={"loss": 0.2}, seed="again")
        ping(lab, 4, 100)
        fates.append(lab.log().echo().fate.tolist())
    assert fates[0] == fates[1]
    assert "forward" in fates[0]


def test_fping_agrees_on_counts_and_times(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(forward={"delay_ns": 10 * MS, "loss_every": 10}, backward={"delay_ns": 10 * MS})
    done = lab.near.run(["fping", "-q", "-C", "100", "-p", "10", "-t", "500", lab.far.ipv4], check=False)
    times = done.stderr.split(":", 1)[1].split()
    trips = lab.log().echo()
    assert len(times) == len(trips) == 100
    assert [value == "-" for value in times] == (trips.fate != "answered").tolist()
    assert times.count("-") == 10
    answered = trips.fate == "answered"
    difference = [float(v) - rtt / MS for v, rtt, ok in zip(times, trips.rtt_ns, answered, strict=True) if ok]
    assert abs(np.median(difference)) < 0.2


def test_duplicates_and_overtaken_packets_are_those_ping_saw(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(
        forward={"duplicate_every": 20},
        backward={"reorder_every": 25, "reorder_delay_ns": 55 * MS, "duplicate_every": 30},
    )
    replies = ping(lab, 4, 215)  # ping leaves with its last reply: nothing is doubled or held after the 210th
    time.sleep(0.2)
    trips = lab.log().echo()
    assert sum(dup for _, _, dup in replies) == trips.duplicates == 17
    firsts = [sequence for sequence, _, dup in replies if not dup]
    overtaken = sum(max(firsts[:index]) > value for index, value in enumerate(firsts) if index)
    assert overtaken == trips.reordered > 4
    assert lab.log().copies == 10 + 7


def test_an_outage_begins_and_ends_when_it_was_told_to(lab: Lab) -> None:
    pinging = lab.near.popen(
        ["ping", "-n", "-q", "-i", "0.01", "-c", "250", "-W", "1", lab.far.ipv4], stdout=subprocess.DEVNULL
    )
    start, end = lab.link.outage(0.8, after=0.5)
    pinging.wait(20)
    log = lab.log()
    trips = log.echo()
    inside = (trips.sent_ns >= start) & (trips.sent_ns < end)
    assert (trips.fate[inside] == "forward").all()
    assert inside.sum() > 30
    edge = 5 * MS  # a reply still on its way when the outage began
    assert (trips.fate[(trips.sent_ns < start - edge) | (trips.sent_ns >= end)] == "answered").all()
    assert set(log.reasons()) == {"outage"}


def test_neighbours_are_found_during_an_outage_and_nothing_else_is(lab: Lab) -> None:
    lab.link.outage(30)
    done = lab.near.run(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", lab.far.ipv4], check=False)
    assert "Unreachable" not in done.stdout
    assert (lab.log().echo().fate == "forward").all()
    assert len(lab.log().select(family=0)) >= 2  # ARP passed


def test_a_rate_limit_is_kept_and_its_queue_drops_are_logged(make_lab: Callable[..., Lab]) -> None:
    """1 Mbit/s and 1042-octet frames: 8.3 ms each. 60 at once, of which the queue of 20 kB takes 21."""
    lab = make_lab(forward={"rate_bps": 1_000_000, "queue_bytes": 20_000})
    burst = (
        "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for _ in range(60): s.sendto(bytes(1000), ('198.51.100.2', 9))"
    )
    lab.near.run([sys.executable, "-c", burst])
    time.sleep(0.3)
    log = lab.log().select(way=Way.FORWARD, protocol="udp")
    assert log.reasons().keys() == {"queue"}
    left = log.frames[log.frames["action"] == 0]
    bits = int(left["length"][1:].sum()) * 8
    rate = bits / ((int(left["departure_ns"].max()) - int(left["departure_ns"].min())) / 1e9)
    assert 0.95e6 < rate < 1.02e6
    assert 18 <= log.passed <= 24


def test_damaged_packets_arrive_damaged(make_lab: Callable[..., Lab]) -> None:
    """The far kernel answers no echo with a wrong checksum: each is delivered, and unanswered."""
    lab = make_lab(forward={"corrupt_every": 10})
    replies = ping(lab, 4, 50)
    trips = lab.log().echo()
    assert len(replies) == trips.answered == 45
    assert (trips.fate == "unanswered").sum() == 5


def test_settings_change_while_frames_are_on_their_way(lab: Lab) -> None:
    lab.link.delay(20)
    first = ping(lab, 4, 20)
    lab.link.set(forward={"delay_ns": 0}, backward={"delay_ns": 0, "loss_every": 2})
    second = ping(lab, 4, 20)
    assert min(rtt for _, rtt, _ in first) >= 40
    assert len(second) == 10
    assert np.median([rtt for _, rtt, _ in second]) < 20


def test_a_wrong_setting_is_refused_and_changes_nothing(lab: Lab) -> None:
    with pytest.raises(LabError, match="no such impairment: latency"):
        lab.link.set(forward={"loss": 1.0}, backward={"latency": 3})
    assert len(ping(lab, 4, 3)) == 3


def test_what_is_held_when_the_link_stops_is_logged_as_dropped(lab: Lab) -> None:
    lab.link.delay(3000)
    lab.near.run(["ping", "-q", "-c", "5", "-i", "0.01", "-W", "1", lab.far.ipv4], check=False)
    assert lab.audit().reasons() == {"shutdown": 5}


def test_bulk_tcp_passes_whole(lab: Lab) -> None:
    """Offloads off and full frames: 2 MB arrive as they were sent."""
    server = (
        "import socket,sys; s=socket.create_server(('198.51.100.2', 7000)); print('up', flush=True); c,_=s.accept()\n"
        "n=0\nwhile d:=c.recv(65536): n+=len(d)\nprint(n, flush=True)"
    )
    client = "import socket; c=socket.create_connection(('198.51.100.2', 7000), 5); c.sendall(bytes(2_000_000))"
    far = lab.far.python("-c", server, stdout=subprocess.PIPE)
    assert far.stdout is not None
    assert far.stdout.readline() == "up\n"
    near = lab.near.python("-c", client)
    assert near.wait(20) == 0
    assert far.stdout.readline() == "2000000\n"
    far.wait(5)
    assert int(lab.log().select(protocol="tcp").frames["length"].max()) == 1514


def test_the_audit_catches_an_emulator_that_forgets(lab: Lab) -> None:
    """Frames that pass the interface unseen by the log, and a log that lost one row, do not agree with the kernel."""
    lab.link.set(forward={"loss_every": 5})
    ping(lab, 4, 20)
    log = lab.audit()
    whole = log.frames
    dropped = np.flatnonzero(whole["action"] == 1)
    assert len(dropped) == 4
    counters = {way: (log.select(way=way).arrived, log.select(way=way).passed) for way in Way}
    received, sent = zip(*(counters[way] for way in Way), strict=True)
    log.audit(received, sent)
    log.frames = np.delete(whole, dropped[0])
    with pytest.raises(LogError, match=r"forward: .* frames arrived, the log knows"):
        log.audit(received, sent)
    log.frames = whole


def test_trips_between_two_moments(lab: Lab) -> None:
    ping(lab, 4, 40)
    trips = lab.log().echo()
    middle = int(trips.sent_ns[20])
    parts: list[RoundTrips] = [trips.between(0, middle), trips.between(middle, 2**62)]
    assert [len(part) for part in parts] == [20, 20]
