"""What tshark reads in our STAMP and TWAMP packets. It knows the base packets; of TLVs it has no notion."""

import json
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from probes.wire import ntp_time, stamp, stamp_tlv

PORT = 8620
T1, T2, T3 = 1_700_000_000_123_456_789, 1_700_000_000_125_000_001, 1_700_000_000_125_020_000


def pcap(datagrams: list[tuple[int, int, bytes]]) -> bytes:
    """A capture of IPv4/UDP datagrams (source port, destination port, data), link type 101 (raw IP)."""
    data = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for source, destination, payload in datagrams:
        udp = struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
        packet = head + udp
        data += struct.pack("=IIII", T1 // 10**9, 0, len(packet), len(packet)) + packet
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
