"""SipHash-2-4: the published vectors, a plain second implementation, and the cache in front of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.engine.nonce import BLOCK, Nonces, siphash24

KEY = bytes(range(16))
VECTORS = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    8: 0x93F5F5799A932462,
    15: 0xA129CA6149BE45E5,
    16: 0x3F2ACC7F57C29BDB,
}
"""Length to hash, for the messages 00 01 02 ... (appendix A of the paper and vectors.h of the reference code)."""
M = 2**64 - 1


def plain(key: bytes, message: bytes) -> int:
    def rotated(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & M

    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = (v[0] + v[1]) & M
            v[1] = rotated(v[1], 13) ^ v[0]
            v[0] = rotated(v[0], 32)
            v[2] = (v[2] + v[3]) & M
            v[3] = rotated(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & M
            v[3] = rotated(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & M
            v[1] = rotated(v[1], 17) ^ v[2]
            v[2] = rotated(v[2], 32)

    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def words_of(message: bytes) -> np.ndarray:
    padded = message + bytes(-len(message) % 8)
    return np.frombuffer(padded, "<u8").astype(np.uint64).reshape(1, -1)


@pytest.mark.parametrize("length", VECTORS)
def test_published_vectors(length: int) -> None:
    message = bytes(range(length))
    assert int(siphash24(KEY, words_of(message), length)[0]) == plain(KEY, message) == VECTORS[length]


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=40))
def test_equals_the_plain_implementation(key: bytes, message: bytes) -> None:
    assert int(siphash24(key, words_of(message), len(message))[0]) == plain(key, message)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 300)), min_size=1, max_size=30, unique_by=lambda p: p[0]))
def test_cached_nonces_are_those_of_stream_and_sequence(pairs: list[tuple[int, int]]) -> None:
    nonces = Nonces(KEY)
    nonces.reserve(51)
    stream, sequence = np.array(pairs).T
    for shift in (0, 1, BLOCK, 2 * BLOCK - 1, 3):
        taken = nonces.take(stream, sequence + shift)
        for (one, number), value in zip(pairs, taken.tolist(), strict=True):
            message = one.to_bytes(8, "little") + (number + shift).to_bytes(8, "little")
            assert value == plain(KEY, message)


def test_another_secret_gives_other_nonces() -> None:
    stream, sequence = np.zeros(100, np.int64), np.arange(100)
    first, second = Nonces(KEY).compute(stream, sequence), Nonces(bytes(16)).compute(stream, sequence)
    assert not (first == second).any()
    assert len(np.unique(first)) == 100
