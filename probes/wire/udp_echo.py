"""UDP echo: the datagram's data is our payload and nothing else. Pure.

     +----------------+------------------------------------------+
     | UDP header (8) |  payload (probes.wire.payload, >= 24)    |
     +----------------+------------------------------------------+

Any server of RFC 862 that returns the datagram as it is will do; our own reflector (probes.reflect.echo) marks its
reply.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.codec import Decoded, Octets
from probes.wire import payload


class UdpEchoCodec:
    """Implements probes.core.codec.Codec; `family` and `identifier` do not matter."""

    transport: Literal["icmp", "udp"] = "udp"
    minimum_size = payload.SIZE
    timeless = True

    def encode(
        self,
        out: Octets,
        *,
        family: int,  # noqa: ARG002 (the protocol's)
        identifier: int,  # noqa: ARG002
        stream: Int64,
        sequence: Int64,
        nonce: NDArray[np.uint64],
    ) -> None:
        payload.write(out, stream, sequence, nonce)

    def decode(self, data: Octets, length: Int64, *, family: int, identifier: int) -> Decoded:  # noqa: ARG002
        return payload.read(data, length)

    def decode_quoted(self, data: Octets, length: Int64, *, family: int, identifier: int) -> Decoded:  # noqa: ARG002
        """From the octet after the quoted UDP header on."""
        return payload.read(data, length)
