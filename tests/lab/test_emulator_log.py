"""The reader of the emulator's log, on logs whose truth is known because they are made here."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.lab.emulator import corrupted, is_housekeeping
from tests.lab.emulator_log import PAYLOAD, EmulatorLog, LogError, reordered
from tests.lab.impairment import Reason
from tests.lab.record import HEAD, LAYOUT, MAGIC, Action, Way

NEAR, FAR = "198.51.100.1", "198.51.100.2"
NEAR6, FAR6 = "2001:db8:77::1", "2001:db8:77::2"
MS = 1_000_000


@dataclass
class Row:
    """One record as the emulator writes it."""

    packet: Packet
    way: Way
    number: int
    arrival_ns: int
    hold_ns: int = 5 * MS
    action: Action = Action.PASSED
    reason: Reason = Reason.NONE

    def pack(self) -> bytes:
        frame = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / self.packet)
        left = 0 if self.action is Action.DROPPED else self.arrival_ns + self.hold_ns
        times = (self.arrival_ns, left, left, left + 2000 if left else 0)
        return LAYOUT.pack(self.number, *times, len(frame), self.way, self.action, self.reason, 0, frame[:HEAD])


def request(sequence: int, data: bytes = b"x" * 56) -> Packet:
    return IP(src=NEAR, dst=FAR) / ICMP(type=8, id=77, seq=sequence) / Raw(data)


def reply(sequence: int, data: bytes = b"x" * 56) -> Packet:
    return IP(src=FAR, dst=NEAR) / ICMP(type=0, id=77, seq=sequence) / Raw(data)


def conversation() -> list[Row]:
    """Eight echoes, 10 ms apart: 2 lost going, 3 lost coming back, 5 doubled, 6 overtaken by 7, the rest plain."""
    rows: list[Row] = []
    for sequence in range(8):
        sent = 10 * MS * sequence
        if sequence == 2:
            rows.append(Row(request(2), Way.FORWARD, 100, sent, action=Action.DROPPED, reason=Reason.RANDOM))
            continue
        rows.append(Row(request(sequence), Way.FORWARD, 2 * sequence, sent))
        back = sent + 6 * MS
        if sequence == 3:
            rows.append(Row(reply(3), Way.BACKWARD, 7, back, action=Action.DROPPED, reason=Reason.OUTAGE))
            continue
        hold = 25 * MS if sequence == 6 else 5 * MS
        rows.append(Row(reply(sequence), Way.BACKWARD, 2 * sequence + 1, back, hold_ns=hold))
        if sequence == 5:
            rows.append(Row(reply(5), Way.BACKWARD, 11, back, hold_ns=9 * MS, action=Action.COPIED))
    return rows


def write(folder: Path, rows: list[Row]) -> Path:
    path = folder / "made.log"
    path.write_bytes(MAGIC + b"".join(row.pack() for row in rows))
    return path


def test_an_echo_conversation_is_told_packet_by_packet(tmp_path: Path) -> None:
    log = EmulatorLog.read(write(tmp_path, conversation()))
    trips = log.echo()
    assert list(trips.sequence) == list(range(8))
    expected = ["answered", "answered", "forward", "backward", "answered", "answered", "answered", "answered"]
    assert list(trips.fate) == expected
    assert list(trips.rtt_ns) == [11 * MS, 11 * MS, -1, -1, 11 * MS, 11 * MS, 31 * MS, 11 * MS]
    assert (trips.answered, trips.lost, trips.duplicates, trips.reordered) == (6, 2, 1, 1)
    assert log.reasons() == {"random": 1, "outage": 1}
    assert (log.lost(Way.FORWARD), log.lost(Way.BACKWARD), log.lost()) == (1, 1, 2)
    assert (log.arrived, log.passed, log.copies) == (15, 13, 1)
    assert log.select(way=Way.BACKWARD).reordered() == 1
    assert set(log.select(way=Way.FORWARD).added_ns()) == {5 * MS}
    cut = trips.between(0, 60 * MS)
    assert (len(cut), cut.lost, cut.reordered) == (6, 2, 0)


def test_a_reply_nobody_gave_is_unanswered_not_lost_on_the_link(tmp_path: Path) -> None:
    log = EmulatorLog.read(write(tmp_path, [Row(request(1), Way.FORWARD, 0, 0)]))
    assert list(log.echo().fate) == ["unanswered"]
    assert log.lost() == 0


def test_ipv6_udp_and_tcp_are_decoded_as_scapy_builds_them(tmp_path: Path) -> None:
    data = bytes(range(64))
    rows = [
        Row(IPv6(src=NEAR6, dst=FAR6) / ICMPv6EchoRequest(id=9, seq=3, data=data), Way.FORWARD, 0, 0),
        Row(IPv6(src=FAR6, dst=NEAR6) / ICMPv6EchoReply(id=9, seq=3, data=data), Way.BACKWARD, 1, 7 * MS),
        Row(IPv6(src=NEAR6, dst=FAR6) / UDP(sport=4000, dport=8620) / Raw(data), Way.FORWARD, 2, 20 * MS),
        Row(IPv6(src=FAR6, dst=NEAR6) / UDP(sport=8620, dport=4000) / Raw(data), Way.BACKWARD, 3, 27 * MS),
        Row(IP(src=NEAR, dst=FAR) / UDP(sport=4001, dport=8620) / Raw(data[:10]), Way.FORWARD, 4, 30 * MS),
        Row(IP(src=NEAR, dst=FAR, options=b"\x01" * 4) / TCP(sport=5000, dport=80), Way.FORWARD, 5, 40 * MS),
        Row(ARP(psrc=NEAR, pdst=FAR), Way.FORWARD, 6, 50 * MS),
    ]
    log = EmulatorLog.read(write(tmp_path, rows))
    assert list(log.echo().rtt_ns) == [12 * MS]
    udp = log.udp(8620)
    assert list(udp.fate) == ["answered", "unanswered"]
    assert list(udp.rtt_ns) == [12 * MS, -1]
    assert bytes(udp.payload[0]) == data[:PAYLOAD]
    assert bytes(udp.payload[1]) == data[:10] + bytes(PAYLOAD - 10)
    tcp = log.select(protocol="tcp").frames[0]
    assert (tcp["source_port"], tcp["destination_port"]) == (5000, 80)
    assert len(log.select(source=NEAR6)) == 2
    assert len(log.select(destination=FAR, protocol="udp", source_port=4001)) == 1
    assert len(log.select(family=0)) == 1
    assert len(log.select(start_ns=20 * MS, end_ns=40 * MS)) == 3


def test_a_shuffled_file_reads_the_same(tmp_path: Path) -> None:
    rows = conversation()
    plain = EmulatorLog.read(write(tmp_path, rows)).frames
    assert (EmulatorLog.read(write(tmp_path, rows[::-1])).frames == plain).all()


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [([], 0), ([5], 0), ([1, 2, 3], 0), ([2, 1, 3], 1), ([1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11], 3), ([3, 2, 1], 2)],
)
def test_reordered_as_rfc4737_counts(sequence: list[int], expected: int) -> None:
    """The last but one is the worked example of RFC 4737 section 4.2.2's kind: a late burst of three."""
    assert reordered(np.array(sequence, np.int64)) == expected


AUDITED = {"received": (8, 7), "sent": (7, 7)}
"""What the kernel would have counted for `conversation`."""


def test_the_audit_agrees_with_a_true_log(tmp_path: Path) -> None:
    EmulatorLog.read(write(tmp_path, conversation())).audit(**AUDITED)


def forget_a_drop(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.reason is not Reason.RANDOM]


def forget_a_duplicate(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.action is not Action.COPIED]


def call_a_drop_passed(rows: list[Row]) -> list[Row]:
    for row in rows:
        if row.reason is Reason.RANDOM:
            row.action, row.reason = Action.PASSED, Reason.NONE
    return rows


def call_a_passed_one_dropped(rows: list[Row]) -> list[Row]:
    rows[0].action, rows[0].reason = Action.DROPPED, Reason.RANDOM
    return rows


def swap_directions(rows: list[Row]) -> list[Row]:
    for row in rows:
        row.way = Way(1 - row.way)
    return rows


def write_twice(rows: list[Row]) -> list[Row]:
    return [*rows, rows[0]]


def lose_the_original(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not (row.number == 11 and row.action is Action.PASSED)]


def drop_without_reason(rows: list[Row]) -> list[Row]:
    rows[0].action = Action.DROPPED
    return rows


def leave_before_arriving(rows: list[Row]) -> list[Row]:
    rows[0].hold_ns = -1
    return rows


@pytest.mark.parametrize(
    ("bug", "complaint"),
    [
        (forget_a_drop, "forward: 8 frames arrived, the log knows 7"),
        (forget_a_duplicate, "backward: 7 frames left, the log says 6"),
        (call_a_drop_passed, "forward: 7 frames left, the log says 8"),
        (call_a_passed_one_dropped, "forward: 7 frames left, the log says 6"),
        (swap_directions, "forward: 8 frames arrived, the log knows 7"),
        (write_twice, "frame 0 has two fates"),
        (lose_the_original, "a copy of frame 11 has no original"),
        (drop_without_reason, "a dropped frame without a reason"),
        (leave_before_arriving, "left before it was due"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_log_that_lies_is_caught(tmp_path: Path, bug: object, complaint: str) -> None:
    assert callable(bug)
    path = write(tmp_path, bug(conversation()))
    with pytest.raises(LogError, match=complaint):
        EmulatorLog.read(path).audit(**AUDITED)


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, conversation())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LogError, match="not a whole emulator log"):
        EmulatorLog.read(path)


def test_requests_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    rows = [Row(request(1), Way.FORWARD, number, number * MS) for number in (0, 1)]
    with pytest.raises(LogError, match="cannot be told apart"):
        EmulatorLog.read(write(tmp_path, rows)).echo()


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (ARP(), True),
        (IP() / ICMP(), False),
        (IP() / UDP(), False),
        (IP(proto=2) / Raw(bytes(8)), True),
        (IPv6() / ICMPv6EchoRequest(), False),
        (IPv6(nh=58) / Raw(struct.pack("!B7x", 135)), True),
        (IPv6(nh=58) / Raw(struct.pack("!B7x", 143)), True),
        (IPv6(nh=58) / Raw(struct.pack("!B7x", 1)), False),
        (IPv6(nh=0) / Raw(bytes(16)), True),
    ],
    ids=["arp", "icmp", "udp", "igmp", "echo6", "solicitation", "mld2", "unreachable6", "mld"],
)
def test_housekeeping_is_never_impaired(packet: Packet, expected: bool) -> None:
    assert is_housekeeping(bytes(Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / packet)) is expected


def test_damage_is_one_bit() -> None:
    assert corrupted(b"abc") == b"abb"
