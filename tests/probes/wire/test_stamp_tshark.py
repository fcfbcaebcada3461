"""What tshark reads in our STAMP and TWAMP packets. It knows the base packets; of TLVs it has no notion."""

import json
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from probes.wire import ntp_time, stamp, stamp_tlv
from probes.wire import twamp_control as tc
from tests.probes.wire.test_twamp_recorded import recorded

PORT = 8620
T1, T2, T3 = 1_700_000_000_123_456_789, 1_700_000_000_125_000_001, 1_700_000_000_125_020_000
T1_WORD = int(ntp_time.to_ntp(np.array([T1]))[0])


def pcap(datagrams: list[tuple[int, int, bytes]]) -> bytes:
    """A capture of IPv4/UDP datagrams (source port, destination port, data), link type 101 (raw IP)."""
    data = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for source, destination, payload in datagrams:
        udp = struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload
        data += record(17, b"\xc0\0\2\1", b"\xc0\0\2\2", udp)
    return data


def record(protocol: int, source: bytes, destination: bytes, content: bytes) -> bytes:
    """One packet of a capture."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(content), 1, 0, 64, protocol, 0, source, destination)
    return struct.pack("=IIII", T1 // 10**9, 0, 20 + len(content), 20 + len(content)) + head + content


def conversation(messages: list[tuple[str, bytes]]) -> bytes:
    """A capture of a TCP connection from port 40000 to port 862: what C and S say."""
    data, said = pcap([]), {"C": 1, "S": 1}
    address, port = {"C": b"\x0a\x63\1\1", "S": b"\x0a\x63\1\2"}, {"C": 40000, "S": 862}
    for speaker, octets in messages:
        other = "S" if speaker == "C" else "C"
        numbers = (said[speaker], said[other])
        tcp = struct.pack(">HHIIBBHHH", port[speaker], port[other], *numbers, 0x50, 0x18, 65535, 0, 0)
        data += record(6, address[speaker], address[other], tcp + octets)
        said[speaker] += len(octets)
    return data


def dissected(path: Path, rule: str) -> list[dict[str, str]]:
    """Fields of each packet by name, as tshark shows them."""
    command = ["tshark", "-r", str(path), "-d", rule, "-T", "json", "-o", "ip.check_checksum:FALSE"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


def base(matrix: np.ndarray) -> None:
    stamp.write_requests(
        matrix, sequence=np.array([0x01020304]), stamp=ntp_time.to_ntp(np.array([T1])),
        error=ntp_time.error_estimate(1000, synchronised=True, ptp=False), ssid=0, authenticated=False,
    )  # fmt: skip


@pytest.mark.live("tshark")
def test_tshark_reads_what_we_meant(tmp_path: Path) -> None:
    request = np.zeros((1, 72), np.uint8)
    base(request)
    at = stamp.UNAUTHENTICATED_SIZE
    at += stamp_tlv.write_class_of_service(request[:, at:], 46)
    stamp_tlv.write_follow_up(request[:, at:])
    reply = request.copy()
    stamp.write_replies(
        reply, sequence=np.array([9]), stamp=ntp_time.to_ntp(np.array([T3])), error=0x9980, ssid=0,
        received=ntp_time.to_ntp(np.array([T2])), ttl=57, authenticated=False,
        request=stamp.read_requests(request, np.array([72]), authenticated=False),
    )  # fmt: skip
    capture = tmp_path / "stamp.pcap"
    capture.write_bytes(pcap([(40000, PORT, request.tobytes()), (PORT, 40000, reply.tobytes())]))
    asked, answered = (packet["twamp.test"] for packet in dissected(capture, f"udp.port=={PORT},twamp.test"))

    assert asked["twamp.test.seq_number"] == str(0x01020304)
    assert shows(asked["twamp.test.timestamp"], T1)
    assert answered["twamp.test.seq_number"] == "9"
    assert answered["twamp.test.sender_seq_number"] == str(0x01020304)
    assert shows(answered["twamp.test.timestamp"], T3)
    assert shows(answered["twamp.test.receive_timestamp"], T2)
    assert shows(answered["twamp.test.sender_timestamp"], T1)
    assert int(answered["twamp.test.error_estimate"], 0) == 0x9980
    assert int(answered["twamp.test.sender_error_estimate"], 0) == 0x8587
    assert answered["twamp.test.sender_ttl"] == "57"


def shows(text: str, ns: int) -> bool:
    """Whether tshark's `Nov 14, 2023 22:13:20.123456789 UTC` is this time; it cuts the fraction off, we round it."""
    head, _, fraction = text.removesuffix(" UTC").partition(".")
    seconds = datetime.strptime(head, "%b %d, %Y %H:%M:%S").replace(tzinfo=UTC)
    return ns - (int(seconds.timestamp()) * 10**9 + int(fraction)) in (0, 1)


@pytest.mark.live("tshark")
def test_tshark_reads_our_side_of_twamp_control(tmp_path: Path) -> None:
    """Ours as we write it now; the server's as a real one wrote it."""
    ours = {
        "SetUpResponse": tc.SetUpResponse(1),
        "RequestSession": tc.RequestSession(4, 40000, 19127, 46, T1_WORD, 3 << 32, 46),
        "StartSessions": tc.StartSessions(),
        "StopSessions": tc.StopSessions(),
    }
    written = iter([tc.encode(message) for message in ours.values()])
    spoken = [(who, next(written) if who == "C" else octets) for who, octets in recorded("S", "C")]
    capture = tmp_path / "control.pcap"
    capture.write_bytes(conversation(spoken))
    read = [packet["twamp.control"] for packet in dissected(capture, "tcp.port==862,twamp.control")]
    said = dict(zip(ours, [packet for (who, _), packet in zip(spoken, read, strict=True) if who == "C"], strict=True))
    assert int(said["SetUpResponse"]["twamp.control.mode"]) == 1
    asked = {name.removeprefix("twamp.control."): value for name, value in said["RequestSession"].items()}
    assert (asked["command"], asked["ipvn"]) == ("5", "4")
    assert (asked["sender_port"], asked["receiver_port"], asked["padding_length"]) == ("40000", "19127", "46")
    assert asked["number_of_packets"] == asked["number_of_schedule_slots"] == "0"
    assert shows(asked["start_time"], T1)
    assert float(asked["timeout"]) == 3
    assert int(asked["type-p"], 0) == 46 << 24
    assert said["StartSessions"]["twamp.control.command"] == "2"
    assert said["StopSessions"]["twamp.control.command"] == "3"
    assert said["StopSessions"]["twamp.control.numsessions"] == "1"
