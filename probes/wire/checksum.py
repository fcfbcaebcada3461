"""Internet checksum over many packets at once (RFC 1071). Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probes.core.codec import Octets

Checksums = NDArray[np.uint16]


def internet_checksum(rows: Octets) -> Checksums:
    """One's complement of the one's complement sum of each row, shape (n,), in the byte order of the octets.

    Stored into the packet as it is (native uint16), it is right on any machine: the sum does not depend on byte order
    (RFC 1071 section 2 B). Rows of odd length count as padded with one zero octet. A packet that carries its right
    checksum gives 0.
    """
    n, size = rows.shape
    even = size & ~1
    words = rows[:, :even] if rows.strides[1] == 1 else np.ascontiguousarray(rows[:, :even])
    total = words.view(np.uint16).sum(axis=1, dtype=np.uint32) if even else np.zeros(n, np.uint32)
    if size & 1:
        last = np.zeros((n, 2), np.uint8)
        last[:, 0] = rows[:, -1]
        total += last.view(np.uint16)[:, 0]
    total = (total >> 16) + (total & 0xFFFF)
    total += total >> 16
    return np.asarray(~total, np.uint32).astype(np.uint16)
