"""What a stream kind tells the engine about its packets. Pure: arrays in, arrays out, no socket and no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64

Octets = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Replies of one batch, shape (n,). `valid` is False where the bytes are not a reply of this format."""

    valid: NDArray[np.bool_]
    stream: Int64
    """index of the stream, from the payload"""
    sequence: Int64
    """64-bit sequence within the stream"""
    nonce: NDArray[np.uint64]


class Codec(Protocol):
    """Encodes requests and decodes replies for all streams of one kind at once."""

    transport: Literal["icmp", "udp"]
    minimum_size: int
    """smallest payload in octets that holds the engine's own fields"""
    timeless: bool
    """a request says nothing about when it is sent, so it can be written before it is due"""

    def encode(
        self, out: Octets, *, family: int, identifier: int, stream: Int64, sequence: Int64, nonce: NDArray[np.uint64]
    ) -> None:
        """Write requests into `out`, shape (n, size): rows are whole transport payloads.

        Octets that no request of this codec ever sets are zero.
        """

    def decode(self, data: Octets, length: Int64, *, family: int, identifier: int) -> Decoded:
        """Read replies from `data`, shape (n, capacity), of which `length` octets a row are there."""

    def decode_quoted(self, data: Octets, length: Int64, *, family: int, identifier: int) -> Decoded:
        """Read our own requests as an ICMP error quotes them: at least the transport header, often more."""
