"""What a stream kind tells the engine about its packets. Pure: arrays in, arrays out, no socket and no clock.

Two sorts of kinds. A Codec's packets carry what names them, and all its streams share a socket. A SessionCodec's far
end has a clock and a format of its own: there the peer's address and port name the stream within a socket, 32 bits of
sequence the packet, and the stamp of its sending, whose lowest bits are keyed random, proves that it is ours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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


@dataclass(frozen=True, slots=True, eq=False)
class Reflections:
    """Replies of one batch from far ends that stamp and number them, arrays (n,). Times: UTC ns by the far clock."""

    valid: NDArray[np.bool_]
    """a reply of this format, and genuine where that can be told"""
    forged: NDArray[np.bool_]
    """a reply by its form, but whoever made it does not hold the key"""
    sequence: Int64
    """of the request, as it came back: 32 bits"""
    stamp: NDArray[np.uint64]
    """of the request, as it came back"""
    number: Int64
    """the far end's own sequence of its replies, 32 bits; one that keeps no state copies ours"""
    arrived_ns: Int64
    """T2; ABSENT where the octets are no time"""
    departed_ns: Int64
    """T3; likewise"""
    error_ns: Int64
    """bound of the far clock's error; ABSENT where it gives none"""
    synchronised: NDArray[np.bool_]
    """the far clock follows UTC, as far as it knows"""
    ttl: Int64
    """TTL or hop limit our request arrived with; ABSENT where it is not told"""
    dscp: Int64
    """code point our request arrived with; ABSENT where it is not told"""
    followed: Int64
    """number of the earlier reply that `followed_ns` is about; ABSENT where there is none"""
    followed_ns: Int64
    """when that reply left in truth"""


@dataclass(frozen=True, slots=True, eq=False)
class Quoted:
    """Our own requests as ICMP errors quote them, arrays (n,)."""

    valid: NDArray[np.bool_]
    sequence: Int64
    stamp: NDArray[np.uint64]


class SessionCodec(ABC):
    """Encodes requests and decodes replies of a socket whose streams are of one make and go to different peers."""

    transport: Literal["udp"] = "udp"
    timeless = False
    """its requests say when they are sent"""
    minimum_size: int
    """smallest UDP payload in octets"""
    minimum_reply: int
    """datagrams shorter than this are no replies"""

    @abstractmethod
    def stamps(self, wall_ns: int, nonce: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Words (n,) that say `wall_ns` to within a few microseconds; what is below that comes from the nonces (n,)."""

    @abstractmethod
    def request(
        self, out: Octets, *, sequence: Int64, stamp: NDArray[np.uint64], error_ns: int | None, synchronised: bool
    ) -> None:
        """Write requests into `out`, shape (n, size). sequence: 32 bits; error_ns, synchronised: of this host's clock.

        Rows hold what was written last, by whichever codec, and were zero before that.
        """

    @abstractmethod
    def replies(self, data: Octets, length: Int64, *, near_ns: int) -> Reflections:
        """Read replies from `data`, shape (n, capacity), of which `length` octets a row are there.

        near_ns: UTC about now, which decides what a stamp that repeats every 136 years means.
        """

    @abstractmethod
    def quoted(self, data: Octets, length: Int64) -> Quoted:
        """Read our own requests as an ICMP error quotes them, from the octet after the UDP header on."""


AnyCodec = Codec | SessionCodec
