"""The sender's side of STAMP: octets by hand and by struct, whatever comes back, and hostile rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core.arrays import ABSENT
from probes.core.errors import LocalError
from probes.wire.stamp_codec import StampCodec
from tests.fakes import stamp_octets

NOW_NS = 1_796_000_000_123_456_789
KEY = b"0123456789abcdef"
ALL = {"timestamp_information": True, "direct_measurement": True}


def requests(codec: StampCodec, size: int, count: int = 3, first: int = 2**32 - 2) -> np.ndarray:
    out = np.zeros((count, size), np.uint8)
    sequence = (first + np.arange(count)) % 2**32
    stamp = codec.stamps(NOW_NS, np.arange(count, dtype=np.uint64) * np.uint64(0x123456789))
    codec.request(out, sequence=sequence, stamp=stamp, error_ns=1_000_000, synchronised=True)
    return out


def answered(out: np.ndarray, key: bytes | None = None, **changes: object) -> np.ndarray:
    given_ = {
        "number": 5, "t2": stamp_octets.word(NOW_NS + 1000), "t3": stamp_octets.word(NOW_NS + 3000), "error": 0x8601,
        "ttl": 61, "dscp": 46, "count": 9, "before": (4, stamp_octets.word(NOW_NS - 77)),
    } | changes  # fmt: skip
    rows = [stamp_octets.reply(row.tobytes(), key=key, **given_) for row in out]  # type: ignore[arg-type]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1).copy()


def lengths(data: np.ndarray) -> np.ndarray:
    return np.full(len(data), data.shape[1], np.int64)


def test_a_request_by_hand() -> None:
    """Error 1 ms: 4294968 units of 2^-32 s, rounded up to 132 * 2^15: scale 15, multiplier 132, S set, Z clear."""
    row = requests(StampCodec(ssid=0x1234, dscp=46), 80)[0]
    assert row[:4].tobytes() == b"\xff\xff\xff\xfe"
    assert row[12:16].tobytes() == b"\x8f\x84\x12\x34"
    assert not row[16:44].any()
    assert row[44:48].tolist() == [0x80, 7, 0, 16]
    assert row[64:69].tolist() == [0x80, 4, 0, 4, 46 << 2]
    assert row[72:76].tolist() == [0x80, 1, 0, 4]
    assert not row[76:].any()


@pytest.mark.parametrize(
    "wall_ns", [NOW_NS, 1_796_000_000_999_999_999, 1_796_000_000_000_000_000, 2_085_978_496 * 10**9]
)
@pytest.mark.parametrize(("stamps", "bits"), [("ntp", 12), ("ptp", 10)])
def test_stamps_say_the_time_and_end_in_the_nonce(stamps: str, bits: int, wall_ns: int) -> None:
    nonce = np.array([0, 2**64 - 1, 0x123456789ABCDEF], np.uint64)
    words = StampCodec(stamps=stamps).stamps(wall_ns, nonce)  # type: ignore[arg-type]
    for word, random in zip(words.tolist(), nonce.tolist(), strict=True):
        assert word & (1 << bits) - 1 == random & (1 << bits) - 1
        seconds, rest = word >> 32, word & 0xFFFFFFFF
        utc = (
            (seconds * 10**9 + rest)
            if stamps == "ptp"
            else ((seconds - stamp_octets.EPOCH) * 10**9 + (rest * 10**9 >> 32))
        )
        assert rest < 10**9 or stamps == "ntp"
        assert abs((utc - wall_ns + 2**31 * 10**9) % (2**32 * 10**9) - 2**31 * 10**9) <= 1_600


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("size", [184, 187, 188, 1400])
def test_there_and_back(key: bytes | None, size: int) -> None:
    """stamp_octets checks digests and flags with hmac and struct; 0 to 3 octets that hold no padding TLV stay zero."""
    codec = StampCodec(key=key, **ALL)  # type: ignore[arg-type]
    out = requests(codec, size)
    found = codec.replies(answered(out, key), lengths(out), near_ns=NOW_NS)
    assert found.valid.all()
    assert not found.forged.any()
    assert found.sequence.tolist() == [2**32 - 2, 2**32 - 1, 0]
    assert (found.stamp == codec.stamps(NOW_NS, np.arange(3, dtype=np.uint64) * np.uint64(0x123456789))).all()
    assert found.number.tolist() == [5] * 3
    assert found.arrived_ns.tolist() == [NOW_NS + 1000] * 3
    assert found.departed_ns.tolist() == [NOW_NS + 3000] * 3
    assert found.synchronised.all()
    assert found.ttl.tolist() == [61] * 3
    assert found.dscp.tolist() == [46] * 3
    assert found.followed.tolist() == [4] * 3
    assert found.followed_ns.tolist() == [NOW_NS - 77] * 3
    quoted = codec.quoted(out[:, :32], np.full(3, 32))
    assert quoted.valid.all()
    assert (quoted.sequence == found.sequence).all()
    assert (quoted.stamp == found.stamp).all()


def test_what_a_reflector_does_not_understand_says_nothing() -> None:
    codec = StampCodec()
    data = answered(requests(codec, 184))
    for row, (place, flag) in enumerate(((44, 0x80), (44, 0x40), (44, 0x20))):
        data[row, place] = flag
    found = codec.replies(data, lengths(data), near_ns=NOW_NS)
    assert found.valid.all()
    assert found.followed.tolist() == [ABSENT] * 3
    assert found.dscp.tolist() == [46, 46, ABSENT], "where our extensions did not verify there, none counts"


def test_one_flipped_bit_of_a_signed_reply_is_forged_or_says_nothing() -> None:
    codec = StampCodec(key=KEY)
    good = answered(requests(codec, 184, 1), KEY)
    rows = np.repeat(good, 184, axis=0)
    rows[np.arange(184), np.arange(184)] ^= 1
    found = codec.replies(rows, lengths(rows), near_ns=NOW_NS)
    assert found.forged[:112].all()
    assert not found.valid[:112].any()
    assert found.valid[112:].all(), "the base packet is sound"
    # Behind the base: follow-up (20), class of service (8), HMAC TLV (20), padding. Octet 140 holds the HMAC TLV's own
    # flags, whose reserved bits nothing covers.
    covered = np.r_[112:140, 141:160]
    assert (found.followed[covered] == ABSENT).all()
    assert (found.dscp[covered] == ABSENT).all()
    assert (found.followed[164:] != ABSENT).all()


def test_a_clock_that_runs_free_is_not_synchronised_whatever_it_claims() -> None:
    codec = StampCodec(follow_up=False, class_of_service=False, timestamp_information=True)
    data = answered(requests(codec, 52))
    data[1, 48] = 5
    found = codec.replies(data, lengths(data), near_ns=NOW_NS)
    assert found.synchronised.tolist() == [True, False, True]


def test_a_stateless_reflectors_counter_stands_for_its_number() -> None:
    codec = StampCodec(direct_measurement=True)
    data = answered(requests(codec, 184), number=None)
    assert codec.replies(data, lengths(data), near_ns=NOW_NS).number.tolist() == [8] * 3
    plain = StampCodec()
    data = answered(requests(plain, 184), number=None)
    assert plain.replies(data, lengths(data), near_ns=NOW_NS).number.tolist() == [2**32 - 2, 2**32 - 1, 0]


def test_short_keys_are_refused() -> None:
    with pytest.raises(LocalError, match="too short"):
        StampCodec(key=b"short")


@pytest.mark.parametrize("key", [None, KEY])
def test_rows_are_clean_whatever_was_in_them_before(key: bytes | None) -> None:
    codec = StampCodec(key=key, **ALL)  # type: ignore[arg-type]
    fresh, used = np.zeros((2, 200), np.uint8), np.full((2, 200), 0xAA, np.uint8)
    for out in (fresh, used):
        stamp = codec.stamps(NOW_NS, np.zeros(2, np.uint64))
        codec.request(out, sequence=np.arange(2), stamp=stamp, error_ns=None, synchronised=True)
    assert (fresh == used).all()
    assert fresh[0, 12 if key is None else 24] < 0x80, "an error that is not known is not synchronised"


SIGNED, PLAIN = StampCodec(key=KEY, **ALL), StampCodec(**ALL)  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=240), min_size=1, max_size=6), st.integers(0, 300), st.booleans())
def test_no_octets_make_it_fail(rows: list[bytes], declared: int, signed: bool) -> None:
    """Random rows, and lengths that are not those of the rows: nothing is valid that is too short, nothing raises."""
    codec = SIGNED if signed else PLAIN
    data = np.zeros((len(rows), 256), np.uint8)
    for number, row in enumerate(rows):
        data[number, : len(row)] = np.frombuffer(row, np.uint8)
    length = np.array([declared, *(len(row) for row in rows[1:])], np.int64)
    found = codec.replies(data, length, near_ns=NOW_NS)
    assert not (found.valid & (length < (112 if signed else 38))).any()
    assert not (found.valid & found.forged).any()
    assert not (found.valid & signed).any()
    codec.quoted(data[:, :100], length)


@given(st.binary(min_size=184, max_size=184), st.integers(44, 183), st.integers(0, 255))
def test_a_reply_changed_anywhere_behind_its_base_never_fails(noise: bytes, place: int, value: int) -> None:
    data = answered(requests(PLAIN, 184))
    data[0, place] = value
    data[1, 44:] = np.frombuffer(noise, np.uint8)[44:]
    found = PLAIN.replies(data, lengths(data), near_ns=NOW_NS)
    assert found.valid.all()
    assert found.followed[2] == 4
