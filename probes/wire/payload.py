"""What every echo probe carries: whose it is, which one, and proof that we sent it. Pure.

      0                   1                   2                   3
      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |      'L'      |      'W'      |    version    |   direction   |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                            stream                             |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                                                               |
     +                           sequence                            +
     |                                                               |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                                                               |
     +                             nonce                             +
     |                                                               |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                     padding, all zero ...                     |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

All numbers in network byte order. version is 1. direction is 1 in a request; our reflector makes it 2 in its reply and
answers requests only, so two reflectors can never answer each other. ICMP hosts and plain echo servers (RFC 862)
return the request as it is, and that is a reply too. stream counts the streams of the sending process, sequence the
packets of the stream; nonce is a keyed hash of both (SipHash-2-4 under a secret of the process) that nobody off the
path can guess.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.codec import Decoded, Octets

SIZE: Final = 24
"""octets of the fields before the padding"""
VERSION: Final = 1
REQUEST: Final = 0x4C570101
"""first 32 bits of a request: magic, version, direction"""
REPLY: Final = 0x4C570102
"""first 32 bits of a reply made by our reflector"""
DIRECTION_OFFSET: Final = 3
REPLY_DIRECTION: Final = 2

_WORD: Final = np.dtype(">u8")
_HEAD: Final = np.uint64(REQUEST << 32)
_LOW: Final = np.uint64(0xFFFFFFFF)


def write(out: Octets, stream: Int64, sequence: Int64, nonce: NDArray[np.uint64]) -> None:
    """Write requests into `out`, shape (n, size >= SIZE); the padding is left as it is."""
    words = out[:, :SIZE].view(_WORD)
    words[:, 0] = stream.view(np.uint64) | _HEAD
    words[:, 1] = sequence
    words[:, 2] = nonce


def read(data: Octets, length: Int64) -> Decoded:
    """Read requests or replies from the first octets of each row; `length` octets of a row are there."""
    n = len(length)
    if data.shape[1] < SIZE:
        nothing = np.zeros(n, np.int64)
        return Decoded(np.zeros(n, np.bool_), nothing, nothing, np.zeros(n, np.uint64))
    words = np.ascontiguousarray(data[:, :SIZE]).view(_WORD).astype(np.uint64)
    head = words[:, 0] >> np.uint64(32)
    sequence = words[:, 1].astype(np.int64)
    valid = ((head == REQUEST) | (head == REPLY)) & (length >= SIZE) & (sequence >= 0)
    return Decoded(valid, (words[:, 0] & _LOW).astype(np.int64), sequence, words[:, 2])
