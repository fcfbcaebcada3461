"""Digests against published values, hmac of the standard library, and packets that were tampered with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core.errors import LocalError
from probes.wire import stamp, stamp_auth, stamp_tlv
from tests.fakes import plain_stamp
from tests.probes.wire.test_stamp_tlv import BODY, tlv

SECRET = bytes(range(32))
KEY = stamp_auth.Key(SECRET)


@pytest.mark.parametrize(
    ("secret", "message", "truncated"),
    [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b"),  # RFC 4231 test case 1
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a7"),  # 3
        (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a"),  # 4
        (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),  # 5, truncated to 128 bits there
        (b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First", "60e431591ee0b67f0d8a26aacbf5b77f"),
    ],
)  # fmt: skip
def test_published_digests(secret: bytes, message: bytes, truncated: str) -> None:
    assert stamp_auth.Key(secret).digests([message, message]) == [bytes.fromhex(truncated)] * 2


@given(st.binary(min_size=16, max_size=200), st.lists(st.binary(max_size=300), max_size=5))
def test_digests_equal_the_plain_ones(secret: bytes, messages: list[bytes]) -> None:
    assert stamp_auth.Key(secret).digests(messages) == [plain_stamp.digest(secret, message) for message in messages]


def test_a_short_key_is_refused_with_a_hint() -> None:
    with pytest.raises(LocalError, match="15 octets is too short") as caught:
        stamp_auth.Key(b"x" * 15)
    assert "16" in caught.value.hint


def signed(n: int, width: int = 160) -> np.ndarray:
    out = np.zeros((n, width), np.uint8)
    stamp.write_requests(
        out, sequence=np.arange(n), stamp=np.arange(n).astype(np.uint64), error=0x8101, ssid=5, authenticated=True
    )
    stamp_auth.sign(out, KEY)
    return out


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_signed_packet_verifies_and_equals_the_plain_one(n: int) -> None:
    out = signed(n)
    assert stamp_auth.verify(out, np.full(n, 112), KEY).all()
    for row in out:
        assert row[96:112].tobytes() == plain_stamp.digest(SECRET, row[:96].tobytes())
    assert not stamp_auth.verify(out, np.full(n, 112), stamp_auth.Key(SECRET[:-1] + b"\xff")).any()


@given(st.integers(0, 111), st.integers(1, 255))
def test_any_changed_octet_of_the_base_packet_is_seen(at: int, change: int) -> None:
    out = signed(3)
    out[1, at] ^= change
    assert stamp_auth.verify(out, np.full(3, 112), KEY).tolist() == [True, False, True]


def test_octets_after_the_base_packet_are_not_signed_by_its_hmac() -> None:
    out = signed(1)
    out[:, 112:] = 0xEE
    assert stamp_auth.verify(out, np.array([160]), KEY).all()


def test_a_packet_that_ends_early_does_not_verify() -> None:
    assert stamp_auth.verify(signed(2), np.array([111, 112]), KEY).tolist() == [False, True]
    assert not stamp_auth.verify(signed(2)[:, :111], np.array([111, 112]), KEY).any()


def with_tlvs(*bodies: bytes) -> tuple[np.ndarray, np.ndarray, stamp_tlv.Tlvs]:
    out = signed(len(bodies), 112 + max(map(len, bodies)))
    for row, body in zip(out, bodies, strict=True):
        row[112 : 112 + len(body)] = np.frombuffer(body, np.uint8)
    length = np.array([112 + len(body) for body in bodies])
    return out, length, stamp_tlv.read(out, length, 112)


def test_the_tlv_digest_covers_sequence_number_and_tlvs_before_it() -> None:
    body = tlv(7, bytes(range(16))) + tlv(8, bytes(16)) + tlv(1, b"padding")
    out, length, found = with_tlvs(body, tlv(4, b"\xb8\0\0\0") + tlv(8, bytes(16)), tlv(4, bytes(4)))
    stamp_auth.sign_tlvs(out, found, KEY, 112)
    assert out[0, 136:152].tobytes() == plain_stamp.digest(SECRET, out[0, :4].tobytes() + tlv(7, bytes(range(16))))
    result = stamp_auth.verify_tlvs(out, found, KEY, 112)
    assert (result.good.tolist(), result.broken.tolist()) == ([True, True, False], [False, False, False])
    for row, at, seen in (
        (0, 3, True),
        (0, 30, False),
        (0, 112, True),
        (0, 131, True),
        (0, 140, True),
        (0, 158, False),
    ):
        tampered = out.copy()
        tampered[row, at] ^= 1
        again = stamp_auth.verify_tlvs(tampered, stamp_tlv.read(tampered, length, 112), KEY, 112)
        assert again.broken[row] == seen, f"octet {at}"


@pytest.mark.parametrize(
    "after", [tlv(7, bytes(16)), tlv(8, bytes(16)), tlv(1, b"") + tlv(200, b""), tlv(1, b"", size=9)]
)
def test_an_hmac_tlv_that_is_not_the_last_does_not_verify(after: bytes) -> None:
    """But for Extra Padding (RFC 8972 section 4.8), even a malformed one, which nothing relies on."""
    out, _, found = with_tlvs(tlv(4, b"\xb8\0\0\0") + tlv(8, bytes(16)) + after)
    stamp_auth.sign_tlvs(out, found, KEY, 112)
    result = stamp_auth.verify_tlvs(out, found, KEY, 112)
    assert result.broken[0] == (after[1] != 1 or len(after) > 4)
    assert result.good[0] != result.broken[0]


def test_an_hmac_tlv_of_another_size_does_not_verify() -> None:
    out, _, found = with_tlvs(tlv(8, bytes(12)), tlv(8, bytes(15), size=16))
    assert stamp_auth.verify_tlvs(out, found, KEY, 112).broken.tolist() == [True, True]


@given(st.lists(BODY, min_size=1, max_size=5), st.booleans())
def test_any_octets_verify_as_the_plain_one_says(bodies: list[bytes], sign: bool) -> None:
    out, length, found = with_tlvs(*bodies, b"")
    if sign:
        stamp_auth.sign_tlvs(out, found, KEY, 112)
    result = stamp_auth.verify_tlvs(out, found, KEY, 112)
    for row in range(len(bodies)):
        expected = plain_stamp.hmac_tlv(out[row, : length[row]].tobytes(), 112, SECRET)
        assert (bool(result.good[row]), bool(result.broken[row])) == (expected is True, expected is False)
