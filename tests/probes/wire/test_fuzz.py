"""Hostile inputs to every parser, few of them here (`python -m benchmarks.fuzz --inputs 1e7` for many); and that the
harness finds what is wrong with a parser when something is.
"""

import struct

import numpy as np
import pytest

from benchmarks import fuzz
from probes.core.errors import PacketError
from probes.wire import stamp, stamp_tlv, twamp_control

INPUTS = 20_000


def test_nothing_is_found() -> None:
    assert fuzz.fuzz(fuzz.PARSERS, INPUTS, seed=2) == {}


def trusts_lengths(data: fuzz.Octets, length: fuzz.Lengths) -> object:
    """Reads the octet after the first TLV wherever its length says that it is."""
    size = data[:, 46].astype(np.int64) << 8 | data[:, 47]
    there = length >= 48
    return np.where(there, data[np.arange(len(data)), np.where(there, 47 + size, 0)], 0)


def takes_the_first_for_all(data: fuzz.Octets, length: fuzz.Lengths) -> object:
    """Finds the TLVs of the first row and believes that all others have theirs there."""
    tlvs = stamp_tlv.read(data[:1], length[:1], 44)
    return np.repeat(tlvs.find(stamp_tlv.FOLLOW_UP), len(data))


def reads_past_the_end(data: fuzz.Octets, length: fuzz.Lengths) -> object:
    """Whether there are enough octets is asked of the whole buffer, so rubbish behind a short packet counts."""
    longest = np.full(len(data), length.max())
    return stamp.read_requests(data, longest, authenticated=False)


def writes_into_its_input(data: fuzz.Octets, length: fuzz.Lengths) -> object:
    tlvs = stamp_tlv.read(data, length, 44)
    stamp_tlv.answer_flags(data, tlvs)
    return tlvs.find(1)


def loses_rows(data: fuzz.Octets, length: fuzz.Lengths) -> object:
    return stamp.read_replies(data[length > 3], length[length > 3], authenticated=False)


def overflows(data: fuzz.Octets, _: fuzz.Lengths) -> object:
    return np.log(data[:, 0])


def lets_struct_errors_out(data: bytes) -> object:
    return struct.unpack(">I", data[:4])


def fails_once_in_a_million(data: bytes) -> object:
    if data[:1] == b"\5" and data[1:2] == b"\x04" and data[65:66] == b"\xff":
        raise IndexError("the rare one")
    return twamp_control.decode(twamp_control.RequestSession, data[:112])


@pytest.mark.parametrize(
    ("parser", "count", "complaint"),
    [
        (trusts_lengths, 10_000, "IndexError"),
        (takes_the_first_for_all, 200_000, "another order"),
        (fuzz.heedless(reads_past_the_end), 10_000, "behind the end"),
        (writes_into_its_input, 10_000, "written to"),
        (loses_rows, 10_000, "answers to"),
        (overflows, 10_000, "RuntimeWarning"),
        (fuzz.each(lets_struct_errors_out), 10_000, "struct|error: unpack"),
        (fuzz.each(fails_once_in_a_million), 1_000_000, "the rare one"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_seeded_bug_is_found(parser: fuzz.Parser, count: int, complaint: str) -> None:
    finding = fuzz.fuzz({"it": parser}, count)["it"]
    assert any(word in str(finding) for word in complaint.split("|")), finding


def test_packet_errors_are_answers() -> None:
    def always(_: bytes) -> object:
        raise PacketError("no")

    assert fuzz.fuzz({"it": fuzz.each(always)}, 5000) == {}


def test_a_finding_comes_again_and_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(fuzz.PARSERS, "payload", trusts_lengths)
    assert fuzz.main(["--parser", "payload", "--parser", "stamp_tlv", "--inputs", "5e3"]) == 1
    first, second, total = capsys.readouterr().out.splitlines()
    assert first.startswith("payload: IndexError")
    assert "stamp_tlv: 8,192 inputs, nothing found" in second
    assert total.startswith("2 parsers, 8,192 inputs each, 1 findings")
    octets = bytes.fromhex(first.partition("octets: ")[2].partition(")")[0])
    row = np.zeros((1, max(len(octets), 48)), np.uint8)
    row[0, : len(octets)] = np.frombuffer(octets, np.uint8)
    with pytest.raises(IndexError):
        trusts_lengths(row, np.array([len(octets)]))
