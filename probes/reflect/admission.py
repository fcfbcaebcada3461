"""Who may talk to a reflector or responder, and how often: an allow-list of networks, a token bucket for each source.

Pure but for the state of the buckets; `now` is an argument. The table has a fixed size, so any number of invented
sources costs the same memory; IPv6 sources are limited by their /64, because one host has 2^64 addresses of it.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from probes.core.clock import SECOND
from probes.core.errors import LocalError

_TABLE: Final = 1024

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AllowList:
    """Networks that are answered. Empty is refused: answering everybody must be written down as 0.0.0.0/0."""

    def __init__(self, networks: Sequence[str]) -> None:
        if not networks:
            raise LocalError(
                "the allow-list of the reflector is empty", hint="name the networks: allow: [192.0.2.0/24]"
            )
        try:
            self._networks = tuple(ipaddress.ip_network(network) for network in networks)
        except ValueError as error:
            raise LocalError(f"the allow-list of the reflector is wrong: {error}", hint="like 192.0.2.0/24") from None

    def __contains__(self, source: Address) -> bool:
        return any(source in network for network in self._networks)


class SourceRate:
    """At most `rate` a second and `burst` at once from one source."""

    def __init__(self, rate: int, burst: int) -> None:
        self._rate = rate
        self._burst = burst * SECOND
        self._buckets: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def admit(self, source: Address, now_ns: int) -> bool:
        """Take one token of the source's bucket; False when it is empty. now_ns is monotonic."""
        return self.take(rate_key(source), now_ns)

    def take(self, key: int, now_ns: int) -> bool:
        """The same for a source whose `rate_key` is known."""
        return self.take_of(1, key, now_ns) == 1

    def take_of(self, wanted: int, key: int, now_ns: int) -> int:
        """Take up to `wanted` tokens at once; how many there were."""
        level, seen_ns = self._buckets.pop(key, (self._burst, now_ns))
        level = min(self._burst, level + (now_ns - seen_ns) * self._rate)
        admitted = min(wanted, level // SECOND)
        self._buckets[key] = (level - admitted * SECOND, now_ns)
        if len(self._buckets) > _TABLE:
            self._buckets.popitem(last=False)
        return admitted


def rate_key(source: Address) -> int:
    """What the bucket of a source is found by."""
    return int(source) if source.version == 4 else int(source) >> 64 | 1 << 64


def source_of(address: object) -> Address:
    """The source of a socket address tuple; IPv4 behind a dual-stack socket counts as IPv4."""
    if not isinstance(address, tuple):
        raise TypeError("not an internet socket address")
    source = ipaddress.ip_address(str(address[0]).partition("%")[0])
    if isinstance(source, ipaddress.IPv6Address) and source.ipv4_mapped is not None:
        return source.ipv4_mapped
    return source
