"""A session with a real TWAMP server as it was on the wire: we read what it said, and say again what we said."""

from pathlib import Path

import numpy as np
import pytest

from probes.core.arrays import ABSENT
from probes.wire import twamp_control as tc
from probes.wire.ntp_time import error_estimate
from probes.wire.twamp_codec import TwampCodec
from probes.wire.twamp_dialogue import Dialogue, State
from tests.fakes import plain_stamp

RECORDED = Path(__file__).parents[2] / "golden" / "twamp-exchange.txt"
PORT = 19127
T1 = 1_796_045_711_652_000_000
"""about when it was"""


def recorded(*who: str) -> list[tuple[str, bytes]]:
    lines = [line.split() for line in RECORDED.read_text("ascii").splitlines() if not line.startswith("#")]
    return [(speaker, bytes.fromhex(octets)) for speaker, octets in lines if speaker in who]


def test_the_conversation_again() -> None:
    dialogue, heard = Dialogue(), []
    ours = iter((
        tc.SetUpResponse(1),
        tc.RequestSession(4, 40_000, PORT, 46, 0xEEB7FA0FA060B4C3, 3 << 32, 46),
        tc.StartSessions(),
        tc.StopSessions(),
    ))  # fmt: skip
    for speaker, octets in recorded("S", "C"):
        if speaker == "S":
            dialogue.receive(octets)
            heard.append(dialogue.next_message())
        else:
            assert dialogue.send(next(ours)) == octets
    assert dialogue.state is State.OVER
    greeting, start, answer, ack = heard
    assert greeting == tc.Greeting(0x0F, 2048)
    assert isinstance(start, tc.ServerStart)
    assert isinstance(answer, tc.AcceptSession)
    assert (start.accept, answer.accept, answer.port, ack) == (0, 0, PORT, tc.StartAck(0))
    assert answer.sid[:4] == bytes([10, 99, 1, 2]), "a server begins a session's name with its address (RFC 4656 3.5)"


def test_the_packets_again() -> None:
    packets = [octets for _, octets in recorded("c", "s")]
    requests, replies = packets[::2], packets[1::2]
    assert {len(packet) for packet in packets} == {60}, "of one size in both directions"
    codec = TwampCodec(dscp=46)
    data = np.frombuffer(b"".join(replies), np.uint8).reshape(3, 60)
    found = codec.replies(data, np.full(3, 60), near_ns=T1)
    asked = [plain_stamp.parse_request(request, False) for request in requests]
    assert found.valid.all()
    assert not found.forged.any()
    assert found.sequence.tolist() == [fields[0] for fields in asked if fields] == [2**32 - 2, 2**32 - 1, 0]
    assert found.stamp.tolist() == [fields[1] for fields in asked if fields]
    assert found.number.tolist() == [0, 1, 2]
    assert found.ttl.tolist() == [64, 64, 64]
    assert (found.departed_ns - found.arrived_ns).tolist() == [10_000, 2_000, 3_000]
    assert (np.abs(found.arrived_ns - T1) < 10**9).all()
    assert found.error_ns.tolist() == [1, 1, 1]
    assert not found.synchronised.any()
    assert (found.dscp == ABSENT).all()
    assert (found.followed == ABSENT).all()


def test_the_requests_are_written_again() -> None:
    for request in (octets for speaker, octets in recorded("c")):
        sequence, stamp, error, _ = plain_stamp.parse_request(request, False) or (0, 0, 0, 0)
        out = np.zeros((1, 60), np.uint8)
        assert error == error_estimate(250_000, synchronised=True, ptp=False)
        TwampCodec().request(
            out, sequence=np.array([sequence]), stamp=np.array([stamp], np.uint64), error_ns=250_000, synchronised=True
        )
        assert out.tobytes() == request
        assert request[14:] == bytes(46), "padding, and no extension in it"


@pytest.mark.parametrize("padding", [b"\x00\x07\x00\x10" + bytes(range(16)), b"\x20\x08\x00\x10" + b"\xff" * 16])
def test_what_a_reflector_pads_with_is_not_an_extension(padding: bytes) -> None:
    (_, reply), *_ = recorded("s")
    data = np.frombuffer(reply[:44] + padding, np.uint8)[None]
    found = TwampCodec().replies(data, np.array([data.shape[1]]), near_ns=T1)
    assert found.valid[0]
    assert (found.followed[0], found.dscp[0]) == (ABSENT, ABSENT)


def test_a_reply_that_ends_after_the_sender_s_error_estimate_counts() -> None:
    (_, reply), *_ = recorded("s")
    data = np.frombuffer(reply[:38], np.uint8)[None]
    found = TwampCodec().replies(data, np.array([38]), near_ns=T1)
    assert (bool(found.valid[0]), found.ttl[0]) == (True, ABSENT)
