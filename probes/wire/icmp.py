"""ICMP and ICMPv6 echo with our payload, and the names of ICMP errors. Pure.

      0                   1                   2                   3
      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |     type      |     code      |           checksum            |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |          identifier           |        sequence number        |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |  payload (probes.wire.payload) ...

RFC 792 (echo 8, echo reply 0), RFC 4443 section 4 (128, 129). The sequence number holds the low 16 bits of the
payload's sequence, for those who read a capture; nothing is matched by it. The ICMPv6 checksum covers a pseudo-header
with the source address, which the kernel chooses, so the kernel fills it in.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.codec import Decoded, Octets
from probes.wire import payload
from probes.wire.checksum import internet_checksum

HEADER: Final = 8
ECHO_REQUEST: Final = {4: 8, 6: 128}
ECHO_REPLY: Final = {4: 0, 6: 129}

_FIELD: Final = np.dtype(">u2")
_HEADER: Final = np.dtype(">u8")


class EchoCodec:
    """Implements probes.core.codec.Codec for both IP versions."""

    transport: Literal["icmp", "udp"] = "icmp"
    minimum_size = payload.SIZE
    timeless = True

    def encode(
        self, out: Octets, *, family: int, identifier: int, stream: Int64, sequence: Int64, nonce: NDArray[np.uint64]
    ) -> None:
        """Echo requests, shape (n, 8 + size); the checksum is 0 in ICMPv6."""
        header = ECHO_REQUEST[family] << 56 | identifier << 16
        out[:, :HEADER].view(_HEADER)[:, 0] = (sequence & 0xFFFF).view(np.uint64) | np.uint64(header)
        payload.write(out[:, HEADER:], stream, sequence, nonce)
        if family == 4:
            out[:, 2:4].view(np.uint16)[:, 0] = internet_checksum(out)

    def decode(self, data: Octets, length: Int64, *, family: int, identifier: int) -> Decoded:
        """Echo replies to our identifier that carry our payload."""
        return _read(data, length, ECHO_REPLY[family], identifier)

    def decode_quoted(self, data: Octets, length: Int64, *, family: int, identifier: int) -> Decoded:
        """Our echo requests as an ICMP error quotes them; valid only where the whole payload head is quoted."""
        return _read(data, length, ECHO_REQUEST[family], identifier)


def _read(data: Octets, length: Int64, kind: int, identifier: int) -> Decoded:
    found = payload.read(data[:, HEADER:], length - HEADER)
    header = np.ascontiguousarray(data[:, :HEADER]).view(_FIELD)
    found.valid[:] &= (header[:, 0] == kind << 8) & (header[:, 2] == identifier)
    return found


_UNREACHABLE_4: Final = {
    0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable",
    4: "packet too big", 5: "source route failed", 6: "network unknown", 7: "host unknown", 8: "source host isolated",
    9: "network prohibited", 10: "host prohibited", 11: "network unreachable for this DSCP",
    12: "host unreachable for this DSCP", 13: "prohibited by a filter", 14: "host precedence violation",
    15: "precedence cut off",
}  # fmt: skip
_UNREACHABLE_6: Final = {
    0: "no route", 1: "prohibited by a filter", 2: "beyond the scope of the source", 3: "address unreachable",
    4: "port unreachable", 5: "source address failed the policy", 6: "route rejected",
}  # fmt: skip


def error_text(family: int, kind: int, code: int) -> str:
    """What an ICMP error says: RFC 792, RFC 1812 section 5.2.7.1; ICMPv6: RFC 4443 section 3."""
    if family == 4:
        if kind == 3:
            return _UNREACHABLE_4.get(code, f"unreachable (code {code})")
        if kind == 11:
            return "time to live exceeded" if code == 0 else "fragment reassembly time exceeded"
        if kind == 12:
            return "parameter problem"
    else:
        if kind == 1:
            return _UNREACHABLE_6.get(code, f"unreachable (code {code})")
        if kind == 2:
            return "packet too big"
        if kind == 3:
            return "hop limit exceeded" if code == 0 else "fragment reassembly time exceeded"
        if kind == 4:
            return "parameter problem"
    return f"ICMP type {kind} code {code}"
