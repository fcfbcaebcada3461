"""Packets and histogram of a sample: numpy arrays and their compact bytes. Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.errors import LocalError

ABSENT: Final = np.iinfo(np.int64).min
"""Marks a missing value in an int64 array. Never 0, never NaN."""

Int64 = NDArray[np.int64]

SUB_BUCKET_BITS: Final = 7
SUB_BUCKETS: Final = 1 << SUB_BUCKET_BITS
_PACKETS_FORMAT: Final = 1
_COUNT_DTYPE: Final = np.dtype("<u4")


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """Every packet of one sample, in sending order; arrays of shape (n,).

    sent_ns: send time minus the sample's start_ns; rtt_ns: round trip, ABSENT unless state is ANSWERED or LATE;
    state: PacketState codes (uint8); forward_ns, backward_ns: one-way delays or None where the protocol has none.
    """

    sent_ns: Int64
    rtt_ns: Int64
    state: NDArray[np.uint8]
    forward_ns: Int64 | None = None
    backward_ns: Int64 | None = None

    def __len__(self) -> int:
        return len(self.sent_ns)

    def encode(self) -> bytes:
        """Compact bytes: version, presence flags, count, then zlib over differenced, byte-shuffled columns."""
        columns = [self.sent_ns, self.rtt_ns]
        flags = 0
        for bit, column in ((1, self.forward_ns), (2, self.backward_ns)):
            if column is not None:
                flags |= bit
                columns.append(column)
        body = _shuffle(columns) + self.state.astype(np.uint8).tobytes()
        return bytes((_PACKETS_FORMAT, flags)) + len(self).to_bytes(4, "little") + zlib.compress(body, 6)

    @staticmethod
    def decode(data: bytes) -> Packets:
        """Inverse of encode. Raises LocalError for bytes that are not ours or are damaged."""
        try:
            version, flags, count = data[0], data[1], int.from_bytes(data[2:6], "little")
            if version != _PACKETS_FORMAT or flags > 3:
                raise ValueError(f"format {version}, flags {flags}")
            columns = 2 + (flags & 1) + (flags >> 1)
            expected = count * (8 * columns + 1)
            inflater = zlib.decompressobj()
            body = inflater.decompress(data[6:], expected + 1)
            if len(body) != expected or not inflater.eof or inflater.unused_data:
                raise ValueError("length does not fit the count")
        except (ValueError, IndexError, zlib.error) as error:
            raise LocalError(f"stored packets cannot be read: {error}", hint="the row is damaged") from None
        size = 8 * count
        parts = [_unshuffle(body[n * size : (n + 1) * size]) for n in range(columns)]
        optional = iter(parts[2:])
        forward = next(optional) if flags & 1 else None
        backward = next(optional) if flags & 2 else None
        state = np.frombuffer(body[columns * size :], np.uint8).copy()
        return Packets(parts[0], parts[1], state, forward, backward)


def _shuffle(columns: list[Int64]) -> bytes:
    """Each column's differences, zigzag, lowest octets of all first; differences wrap around."""
    values = np.array(columns, np.int64)
    difference = values.copy()
    difference[:, 1:] -= values[:, :-1]
    zigzag = ((difference << 1) ^ (difference >> 63)).astype("<u8", copy=False)
    return zigzag.view(np.uint8).reshape(*zigzag.shape, 8).transpose(0, 2, 1).tobytes()


def _unshuffle(data: bytes) -> Int64:
    octets = np.frombuffer(data, np.uint8).reshape(8, -1)
    zigzag = np.ascontiguousarray(octets.T).view("<u8").reshape(-1).astype(np.uint64)
    difference = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    with np.errstate(over="ignore"):
        return np.cumsum(difference, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Sparse log-linear histogram of delays in ns: 128 buckets per octave, so a bucket is at most 0.79 % wide.

    index: bucket numbers, strictly ascending, int64 (k,); count: packets in each, int64 (k,). Two histograms merge
    exactly, because the buckets are the same for all. See probes.metrics.histogram for the arithmetic.
    """

    index: Int64
    count: Int64

    def to_text(self) -> str:
        """`bucket:count` pairs joined by `;` in bucket order; empty for no packets."""
        return ";".join(
            f"{index}:{count}" for index, count in zip(self.index.tolist(), self.count.tolist(), strict=True)
        )

    @staticmethod
    def from_text(text: str) -> Histogram:
        """Inverse of to_text. Raises LocalError."""
        try:
            pairs = [pair.split(":") for pair in text.split(";")] if text else []
            index = np.array([int(pair[0]) for pair in pairs], np.int64)
            count = np.array([int(pair[1]) for pair in pairs], np.int64)
        except (ValueError, IndexError, OverflowError):
            raise LocalError("stored histogram cannot be read", hint="the row is damaged") from None
        return _checked(index, count)

    def to_bytes(self) -> bytes:
        """Little-endian uint32 pairs (bucket, count)."""
        return np.column_stack((self.index, self.count)).astype(_COUNT_DTYPE).tobytes()

    @staticmethod
    def from_bytes(data: bytes) -> Histogram:
        """Inverse of to_bytes. Raises LocalError."""
        if len(data) % 8:
            raise LocalError("stored histogram cannot be read", hint="the row is damaged")
        pairs = np.frombuffer(data, _COUNT_DTYPE).reshape(-1, 2).astype(np.int64)
        return _checked(pairs[:, 0].copy(), pairs[:, 1].copy())


def _checked(index: Int64, count: Int64) -> Histogram:
    if (np.diff(index) <= 0).any() or (count <= 0).any() or (index < 0).any():
        raise LocalError("stored histogram cannot be read", hint="the row is damaged")
    return Histogram(index, count)
