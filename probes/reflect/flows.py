"""What a reflector decides once for packets that look alike: who sent them, whether they may be answered, and how.

Alike are packets with the same socket address and the same ancillary data (own address, interface, hop limit, traffic
class). What was decided is remembered in a table of fixed size that holds nothing but these decisions, so forgetting
it costs time and nothing else.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from probes.core.clock import SECOND
from probes.engine import control
from probes.reflect.admission import Address, AllowList, rate_key

PRIVILEGED_PORTS: Final = 1024
REMEMBERED: Final = 4096
OWN_FOR_NS: Final = 10 * SECOND
"""how long a list of this host's addresses is good"""
UNKNOWN_TTL: Final = 255
"""RFC 8762 section 4.3.1: where the reflector cannot know"""

_PKTINFO: Final = (socket.IPPROTO_IP, control.IP_PKTINFO)
_PKTINFO_6: Final = (socket.IPPROTO_IPV6, control.IPV6_PKTINFO)
_HOPS: Final = ((socket.IPPROTO_IP, control.IP_TTL), (socket.IPPROTO_IPV6, control.IPV6_HOPLIMIT))
_TRAFFIC_CLASS: Final = ((socket.IPPROTO_IP, control.IP_TOS), (socket.IPPROTO_IPV6, control.IPV6_TCLASS))
_ON_WIRE: Final = (socket.SOL_SOCKET, control.SO_TIMESTAMPING)
_TX_SOFTWARE: Final = struct.pack("=I", 2)
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Flow:
    """One kind of packet. `refusal`: name of the counter it is dropped under, or empty."""

    refusal: str
    rate_key: int
    identity: bytes
    """socket address and own address: a session but for its SSID"""
    ttl: int
    dscp: int
    ecn: int
    plain: bool
    """answered without a key, although the reflector has one"""
    local: bytes
    """control data of a reply: from the address asked"""
    usual: bytes
    """the same with the DSCP of the request"""
    class_kind: tuple[int, int]
    """level and type of the control message for a traffic class"""

    def ancillary(self, dscp: int | None, stamped: bool) -> bytes:
        """Control data of a reply with this DSCP (None: the request's); stamped: the kernel is to say when it left."""
        parts = self.usual if dscp is None else self.local + _class(self.class_kind, dscp)
        return parts + control.message(*_ON_WIRE, _TX_SOFTWARE) if stamped else parts


class Flows:
    """Decides on flows, for a socket of `family` (AF_INET or AF_INET6, which may take IPv4 too) on `port`."""

    def __init__(self, family: int, port: int, allow: AllowList, plain: Callable[[Address], bool]) -> None:
        """plain: who is answered without a key, of those who are allowed."""
        self._family, self._port = family, port
        self._allow, self._plain = allow, plain
        self._name_size = 8 if family == socket.AF_INET else 28
        self._known: dict[tuple[bytes, bytes], Flow] = {}
        self._own: frozenset[Address] = frozenset()
        self._own_until_ns = -1

    def find(self, name: bytes, ancillary: bytes, now_ns: int) -> Flow:
        """The flow of a packet with this socket address and control data, the kernel's time stamp left out."""
        flow = self._known.get((name, ancillary))
        if flow is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            flow = self._known[name, ancillary] = self._decide(name, ancillary, now_ns)
        return flow

    def _decide(self, name: bytes, ancillary: bytes, now_ns: int) -> Flow:
        source = _source(self._family, name)
        said = dict(control.messages(ancillary))
        hops = next((said[kind] for kind in _HOPS if kind in said), None)
        mapped = self._family != socket.AF_INET and isinstance(source, ipaddress.IPv4Address)
        class_kind = _TRAFFIC_CLASS[self._family != socket.AF_INET and not mapped]
        traffic = next((said[kind][0] for kind in _TRAFFIC_CLASS if kind in said), 0)
        local = _local(said)
        return Flow(
            refusal=self._refusal(source, int.from_bytes(name[2:4], "big"), said, now_ns),
            rate_key=rate_key(source),
            identity=name[: self._name_size] + local,
            ttl=UNKNOWN_TTL if hops is None else struct.unpack_from("=i", hops)[0] & 255,
            dscp=traffic >> 2,
            ecn=traffic & 3,
            plain=self._plain(source),
            local=local,
            usual=local + _class(class_kind, traffic >> 2),
            class_kind=class_kind,
        )

    def _refusal(self, source: Address, port: int, said: Mapping[tuple[int, int], bytes], now_ns: int) -> str:
        if source not in self._allow:
            return "dropped_source"
        if port < PRIVILEGED_PORTS or port == self._port:
            return "dropped_port"
        if (
            source.is_multicast
            or source.is_unspecified
            or source == _BROADCAST
            or not _to_one_host(said)
            or (not source.is_loopback and source in self._own_addresses(now_ns))
        ):
            return "dropped_address"
        return ""

    def _own_addresses(self, now_ns: int) -> frozenset[Address]:
        if now_ns >= self._own_until_ns:
            self._own, self._own_until_ns = own_addresses(), now_ns + OWN_FOR_NS
        return self._own


def own_addresses() -> frozenset[Address]:
    """Addresses of this host (network namespace). What comes from one of them is forged: only loopback addresses are
    kept from coming over a wire by the kernel itself."""
    found: set[Address] = set()
    for name, read in (("fib_trie", _local_in_trie), ("if_inet6", _local_in_list)):
        try:
            found |= read(Path(f"/proc/thread-self/net/{name}").read_text("ascii"))
        except OSError:
            continue
    return frozenset(found)


def _local_in_trie(text: str) -> set[Address]:
    """Leaves of the routing table that the kernel itself is the end of."""
    lines = text.splitlines()
    return {
        ipaddress.IPv4Address(line.split()[-1])
        for line, below in itertools.pairwise(lines)
        if "/32 host LOCAL" in below and "|--" in line
    }


def _local_in_list(text: str) -> set[Address]:
    return {ipaddress.IPv6Address(bytes.fromhex(line.split()[0])) for line in text.splitlines() if line.strip()}


def _class(kind: tuple[int, int], dscp: int) -> bytes:
    return control.message(*kind, struct.pack("=i", dscp << 2)) if dscp else b""


def _source(family: int, name: bytes) -> Address:
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(name[4:8])
    source = ipaddress.IPv6Address(name[8:24])
    return source if source.ipv4_mapped is None else source.ipv4_mapped


def _to_one_host(said: Mapping[tuple[int, int], bytes]) -> bool:
    """Whether a request was sent to this host alone: a broadcast would be answered by every reflector that hears it."""
    if _PKTINFO in said:
        return said[_PKTINFO][4:8] == said[_PKTINFO][8:12]  # the address here, and the one in the packet's header
    return _PKTINFO_6 in said and said[_PKTINFO_6][0] != 0xFF


def _local(said: Mapping[tuple[int, int], bytes]) -> bytes:
    """The address a request was sent to as that of the reply. Only link-local fixes the interface."""
    if _PKTINFO in said:
        return control.message(*_PKTINFO, bytes(4) + said[_PKTINFO][4:8] + bytes(4))
    if _PKTINFO_6 not in said:
        return b""
    packed = said[_PKTINFO_6][:16]
    interface = said[_PKTINFO_6][16:20] if ipaddress.IPv6Address(packed).is_link_local else bytes(4)
    return control.message(*_PKTINFO_6, packed + interface)
