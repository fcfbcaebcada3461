"""Keyed nonces: SipHash-2-4 over whole arrays, and a cache that computes each stream's nonces in blocks. Pure.

Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012). The message is 16 octets: stream and sequence.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64

Words = NDArray[np.uint64]

KEY_SIZE: Final = 16
_BLOCK_BITS: Final = 4
BLOCK: Final = 1 << _BLOCK_BITS
"""Nonces of one stream computed at once: the hash costs the same hundred array operations for one or for thousands."""


def _rotated(word: Words, bits: int) -> Words:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


def _rounds(state: list[Words], count: int) -> None:
    v0, v1, v2, v3 = state
    for _ in range(count):
        v0 = v0 + v1
        v1 = _rotated(v1, 13) ^ v0
        v0 = _rotated(v0, 32)
        v2 = v2 + v3
        v3 = _rotated(v3, 16) ^ v2
        v0 = v0 + v3
        v3 = _rotated(v3, 21) ^ v0
        v2 = v2 + v1
        v1 = _rotated(v1, 17) ^ v2
        v2 = _rotated(v2, 32)
    state[:] = [v0, v1, v2, v3]


def siphash24(key: bytes, words: Words, octets: int) -> Words:
    """SipHash-2-4 of each row of `words`, shape (n, k): whole little-endian 64-bit words of a message.

    `octets` is the message's length. Where it is not 8 * k, the last word holds the remaining octets, zero padded.
    """
    k0, k1 = (np.uint64(int.from_bytes(key[at : at + 8], "little")) for at in (0, 8))
    whole = octets // 8
    state = [
        np.full(len(words), k ^ np.uint64(constant), np.uint64)
        for k, constant in zip(
            (k0, k1, k0, k1),
            (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573),
            strict=True,
        )
    ]
    last = np.full(len(words), np.uint64((octets & 0xFF) << 56), np.uint64)
    if octets % 8:
        last |= words[:, whole]
    for word in (*(words[:, column] for column in range(whole)), last):
        state[3] = state[3] ^ word
        _rounds(state, 2)
        state[0] = state[0] ^ word
    state[2] = state[2] ^ np.uint64(0xFF)
    _rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


class Nonces:
    """Nonces of (stream, sequence) under one secret of 16 octets; memory: 8 * BLOCK octets a stream."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_SIZE:
            raise ValueError(f"a SipHash key has {KEY_SIZE} octets")
        self._secret = secret
        self._cache = np.zeros((BLOCK, 0), np.uint64)
        self._block = np.zeros(0, np.int64)

    def take(self, stream: Int64, sequence: Int64) -> Words:
        """Nonces of packets, arrays (n,), each stream once, all reserved. Cheap where sequences ascend."""
        block = sequence >> _BLOCK_BITS
        missing = self._block[stream] != block
        if missing.any():
            self._fill(stream[missing], block[missing])
        return np.asarray(self._cache[sequence & (BLOCK - 1), stream], np.uint64)

    def compute(self, stream: Int64, sequence: Int64) -> Words:
        """The same values without the cache."""
        words = np.stack((stream, sequence), axis=1).astype(np.uint64)
        return siphash24(self._secret, words, 16)

    def reserve(self, streams: int) -> None:
        """Make room for streams 0 ... streams - 1."""
        if streams <= len(self._block):
            return
        more = max(16, 1 << (streams - 1).bit_length()) - len(self._block)
        self._cache = np.concatenate((self._cache, np.zeros((BLOCK, more), np.uint64)), axis=1)
        self._block = np.concatenate((self._block, np.full(more, -1, np.int64)))

    def _fill(self, stream: Int64, block: Int64) -> None:
        sequence = block[:, None] * BLOCK + np.arange(BLOCK)
        rows = np.broadcast_to(stream[:, None], sequence.shape)
        self._cache[:, stream] = self.compute(rows.ravel(), sequence.ravel()).reshape(-1, BLOCK).T
        self._block[stream] = block
