"""Packets and histogram of a sample: numpy arrays and their compact bytes. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core import packing
from probes.core.errors import LocalError

ABSENT: Final = np.iinfo(np.int64).min
"""Marks a missing value in an int64 array. Never 0, never NaN."""

Int64 = NDArray[np.int64]

SUB_BUCKET_BITS: Final = 7
SUB_BUCKETS: Final = 1 << SUB_BUCKET_BITS
_DEFLATED: Final = 1
_PACKED: Final = 2
"""Formats of stored packets."""
_CHECK: Final = 4
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

    @property
    def flags(self) -> int:
        """Which optional columns there are: 1 forward_ns, 2 backward_ns."""
        return (self.forward_ns is not None) | (self.backward_ns is not None) << 1

    def columns(self) -> list[Int64]:
        """Those that there are."""
        every = (self.sent_ns, self.rtt_ns, self.forward_ns, self.backward_ns)
        return [column for column in every if column is not None]

    def encode(self) -> bytes:
        """Compact bytes; many at once cost less (encode_packets)."""
        return encode_packets([self])[0]

    @staticmethod
    def decode(data: bytes) -> Packets:
        """Inverse of encode. Raises LocalError for bytes that are not ours or are damaged."""
        try:
            version, flags = data[0], data[1]
            if version not in (_DEFLATED, _PACKED) or flags > 3:
                raise ValueError(f"format {version}, flags {flags}")
            columns = 2 + (flags & 1) + (flags >> 1)
            parts, state = _unpacked(data, columns) if version == _PACKED else _inflated(data, columns)
        except (ValueError, IndexError, zlib.error) as error:
            raise LocalError(f"stored packets cannot be read: {error}", hint="the row is damaged") from None
        optional = iter(parts[2:])
        forward = next(optional) if flags & 1 else None
        backward = next(optional) if flags & 2 else None
        return Packets(parts[0], parts[1], state, forward, backward)


def encode_packets(several: Sequence[Packets]) -> list[bytes]:
    """Each one's bytes; those with the same columns cost least at once. ValueError: columns of different lengths."""
    out = [b""] * len(several)
    alike: dict[int, list[int]] = {}
    for place, packets in enumerate(several):
        if any(len(column) != len(packets.state) for column in packets.columns()):
            raise ValueError("columns of packets differ in length")
        alike.setdefault(packets.flags, []).append(place)
    for flags, places in alike.items():
        parts = [several[place] for place in places]
        columns = [np.concatenate(column) for column in zip(*(part.columns() for part in parts), strict=True)]
        edges = np.array([0, *accumulate(len(part) for part in parts)], np.int64)
        encoded = _encoded(flags, columns, np.concatenate([part.state for part in parts]), edges)
        for place, data in zip(places, encoded, strict=True):
            out[place] = data
    return out


def encode_packet_runs(packets: Packets, edges: Int64) -> list[bytes]:
    """Bytes of each of k runs of packets, which end where the next begins; edges: (k + 1,)."""
    return _encoded(packets.flags, packets.columns(), packets.state, edges)


def _encoded(flags: int, columns: Sequence[Int64], state: NDArray[np.uint8], edges: Int64) -> list[bytes]:
    """Short runs that are all answered are packed, those of one length at once; others deflated."""
    sizes = np.diff(edges)
    out: list[bytes | None] = [None] * len(sizes)
    unanswered = np.concatenate(([0], np.cumsum(state != 0)))
    short = (sizes > 0) & (sizes <= packing.MOST_VALUES) & (unanswered[edges[1:]] == unanswered[edges[:-1]])
    for count in np.unique(sizes[short]).tolist():
        chosen = (short & (sizes == count)).nonzero()[0]
        at = edges[chosen][:, np.newaxis] + np.arange(count)
        bodies = packing.pack(np.stack([column[at] for column in columns]))
        head = bytes((_PACKED, flags, count))
        for place, body in zip(chosen.tolist(), bodies, strict=True):
            if body is not None:
                data = head + body
                out[place] = data + zlib.crc32(data).to_bytes(_CHECK, "little")
    return [
        _deflate(flags, [column[first:end] for column in columns], state[first:end]) if data is None else data
        for data, (first, end) in zip(out, pairwise(edges.tolist()), strict=True)
    ]


def _unpacked(data: bytes, columns: int) -> tuple[list[Int64], NDArray[np.uint8]]:
    """Format, flags, count (1 octet), values as packing has them, CRC-32 of all that."""
    if zlib.crc32(data[:-_CHECK]) != int.from_bytes(data[-_CHECK:], "little"):
        raise ValueError("the checksum does not fit")
    return list(packing.unpack(data[3:-_CHECK], columns, data[2])), np.zeros(data[2], np.uint8)


def _deflate(flags: int, columns: list[Int64], state: NDArray[np.uint8]) -> bytes:
    """Format, flags, count (4 octets), then zlib over differenced, byte-shuffled columns and the states."""
    body = _shuffle(columns) + state.astype(np.uint8).tobytes()
    return bytes((_DEFLATED, flags)) + len(state).to_bytes(4, "little") + zlib.compress(body, 6)


def _inflated(data: bytes, columns: int) -> tuple[list[Int64], NDArray[np.uint8]]:
    count = int.from_bytes(data[2:6], "little")
    expected = count * (8 * columns + 1)
    inflater = zlib.decompressobj()
    body = inflater.decompress(data[6:], expected + 1)
    if len(body) != expected or not inflater.eof or inflater.unused_data:
        raise ValueError("length does not fit the count")
    size = 8 * count
    parts = [_unshuffle(body[n * size : (n + 1) * size]) for n in range(columns)]
    return parts, np.frombuffer(body[columns * size :], np.uint8).copy()


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
        return encode_histograms([self])[0]

    @staticmethod
    def from_bytes(data: bytes) -> Histogram:
        """Inverse of to_bytes. Raises LocalError."""
        if len(data) % 8:
            raise LocalError("stored histogram cannot be read", hint="the row is damaged")
        pairs = np.frombuffer(data, _COUNT_DTYPE).reshape(-1, 2).astype(np.int64)
        return _checked(pairs[:, 0].copy(), pairs[:, 1].copy())


def encode_histograms(several: Sequence[Histogram]) -> list[bytes]:
    """Each one's bytes, all at once."""
    if not several:
        return []
    joint = Histogram(
        np.concatenate([histogram.index for histogram in several]),
        np.concatenate([histogram.count for histogram in several]),
    )
    edges = np.array([0, *accumulate(len(histogram.index) for histogram in several)], np.int64)
    return encode_histogram_runs(joint, edges)


def encode_histogram_runs(buckets: Histogram, edges: Int64) -> list[bytes]:
    """Bytes of each of k histograms whose buckets stand one after the other; edges: (k + 1,). Empty for no buckets."""
    pairs = np.empty((len(buckets.index), 2), _COUNT_DTYPE)
    pairs[:, 0], pairs[:, 1] = buckets.index, buckets.count
    data = pairs.tobytes()
    return [data[begin:end] for begin, end in pairwise((2 * pairs.itemsize * edges).tolist())]


def _checked(index: Int64, count: Int64) -> Histogram:
    if (np.diff(index) <= 0).any() or (count <= 0).any() or (index < 0).any():
        raise LocalError("stored histogram cannot be read", hint="the row is damaged")
    return Histogram(index, count)
