"""Which socket the packets of a codec leave by."""

from __future__ import annotations

from functools import partial

from probes.core.codec import AnyCodec, SessionCodec
from probes.engine.channel import SocketTransport
from probes.engine.sockets import open_icmp, open_sessions, open_udp, udp_overflows
from probes.engine.transport import Transport


def open_socket(codec: AnyCodec, family: int, source: str | None, *, hops: bool = False) -> Transport:
    """The real transport; source: of ICMPv6 streams that have one. Raises LocalError, among them PrivilegeError."""
    if codec.transport == "icmp":
        ways = ("ping", "raw") if source is None else ("raw", "ping")
        return SocketTransport(open_icmp(family, ways=ways, source=source, hops=hops))
    if isinstance(codec, SessionCodec):
        return SocketTransport(open_sessions(family, codec.minimum_reply), partial(udp_overflows, family))
    return SocketTransport(open_udp(family, hops=hops), partial(udp_overflows, family))
