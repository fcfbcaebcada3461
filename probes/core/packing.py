"""Short columns of int64 values as offsets of as many bits as they need, many samples at once. Pure.

zlib takes 8 us for the twenty values of a usual sample, whatever its level, and a tenth more octets than this.
The layout of c columns with n values each, little-endian:

    step      6 octets, signed; the first column's values are offsets from a line that rises by it from value to value
    c times   least offset: 6 octets, signed; bits of one value: 1 octet
    c times   n values less the least, lowest bit first, filled up to whole octets
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]

MOST_VALUES: Final = 64
"""In a column. One value far from the others widens all of them, and zlib is no longer dear."""
_LIMIT: Final = 1 << 44
_WORD: Final = 6
_WIDEST: Final = 8 * _WORD


def pack(columns: Int64) -> list[bytes | None]:
    """Octets of each of k samples, None where a value is not within 2^44 of 0; `columns`: (c, k, n), n of 1 to 64."""
    _, samples, count = columns.shape
    fits = np.asarray(((columns >= -_LIMIT) & (columns < _LIMIT)).all(axis=(0, 2)))
    values = np.where(fits[:, np.newaxis], columns, 0)
    step = (values[0, :, -1] - values[0, :, 0]) // max(count - 1, 1)
    values[0] -= step[:, np.newaxis] * np.arange(count)
    least = values.min(axis=2)
    values -= least[:, :, np.newaxis]
    width = np.frexp(values.max(axis=2).astype(np.float64))[1].astype(np.uint8)  # exact: below 2^48
    heads = np.hstack(
        [_words(step), *(part for low, bits in zip(least, width, strict=True) for part in (_words(low), bits[:, None]))]
    )
    size, data = heads.shape[1], heads.tobytes()
    parts = [[data[size * number : size * (number + 1)]] for number in range(samples)]
    for column, bits in zip(values, width, strict=True):
        _add(parts, column, bits)
    return [b"".join(part) if fit else None for part, fit in zip(parts, fits.tolist(), strict=True)]


def unpack(data: bytes, columns: int, count: int) -> Int64:
    """Inverse of pack for one sample, shape (columns, count). Raises ValueError for octets that are none of it."""
    head = _WORD + columns * (_WORD + 1)
    if len(data) < head or not 0 < count <= MOST_VALUES:
        raise ValueError("length does not fit the count")
    out = np.empty((columns, count), np.int64)
    at = head
    for number in range(columns):
        begin = _WORD + number * (_WORD + 1)
        width = data[begin + _WORD]
        size = -(-count * width // 8)
        if width > _WIDEST or at + size > len(data):
            raise ValueError("length does not fit the count")
        bits = np.unpackbits(np.frombuffer(data, np.uint8, size, at), bitorder="little")[: count * width]
        whole = np.zeros((count, 64), np.uint8)
        whole[:, :width] = bits.reshape(count, width)
        offsets = np.packbits(whole, axis=1, bitorder="little").view("<i8")[:, 0]
        out[number] = offsets + _word(data, begin)
        at += size
    if at != len(data):
        raise ValueError("length does not fit the count")
    out[0] += _word(data, 0) * np.arange(count)
    return out


def _add(parts: list[list[bytes]], values: Int64, width: UInt8) -> None:
    """Append each sample's values, of so many bits each; samples of equal width at once."""
    samples, count = values.shape
    octets = np.ascontiguousarray(_words(values.reshape(-1)))
    bits = np.unpackbits(octets, axis=1, bitorder="little").reshape(samples, count, _WIDEST)
    for wide in np.unique(width).tolist():
        chosen = np.flatnonzero(width == wide)
        packed = np.packbits(bits[chosen, :, :wide].reshape(len(chosen), count * wide), axis=1, bitorder="little")
        size, data = packed.shape[1], packed.tobytes()
        for number, place in enumerate(chosen.tolist()):
            parts[place].append(data[size * number : size * (number + 1)])


def _words(values: Int64) -> UInt8:
    """The six low octets of each, shape (n, 6)."""
    return np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(-1, 8)[:, :_WORD]


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _WORD], "little", signed=True)
