"""The kernel's own view of a TCP connection: struct tcp_info of linux/tcp.h, read with getsockopt(TCP_INFO). Pure.

     0         1         2          3            4        5        6          7
    +---------+---------+----------+------------+--------+--------+----------+----------+
  0 |  state  |ca_state |retransmit|   probes   |backoff |options | scaling  |  flags   |
    +---------+---------+----------+------------+--------+--------+----------+----------+
  8 | 24 x 32 bits: rto, ato, snd_mss (16), ..., rtt (68), ..., total_retrans (100)      |
    +-----------------------------------------------------------------------------------+
104 | 64 bits: pacing_rate, max_pacing_rate, bytes_acked (120), bytes_received (128), ...|
    +-----------------------------------------------------------------------------------+

Host byte order; times in microseconds. The structure grows with the kernel: only what all since 4.1 have is read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from probes.core.errors import PacketError

SIZE: Final = 136
"""octets to ask the kernel for: up to bytes_received"""

_FIXED: Final = 104
_MICROSECOND: Final = 1_000


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """rtt_ns: smoothed round trip, microsecond resolution, 0 when the kernel has taken no sample; retransmits: segments
    sent again over the life of the connection (SYN included); maximum_segment: octets of payload in one segment."""

    state: int
    rtt_ns: int
    retransmits: int
    maximum_segment: int
    bytes_acked: int | None
    bytes_received: int | None


def decode(data: bytes) -> TcpInfo:
    """Read struct tcp_info. Raises PacketError when it is too short."""
    if len(data) < _FIXED:
        raise PacketError(f"struct tcp_info has {len(data)} octets, at least {_FIXED} are needed")
    (maximum_segment,) = struct.unpack_from("=I", data, 16)
    (rtt_us,) = struct.unpack_from("=I", data, 68)
    (retransmits,) = struct.unpack_from("=I", data, 100)
    acked, received = struct.unpack_from("=QQ", data, 120) if len(data) >= SIZE else (None, None)
    return TcpInfo(data[0], rtt_us * _MICROSECOND, retransmits, maximum_segment, acked, received)
