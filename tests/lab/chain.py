"""A chain of routers between two hosts, each in a namespace of its own: near - a - b - c ... - far. Needs root.

Link k (0 is near's) has 10.99.k.0/24 and fd99:k::/64; the end towards near has the address .1, the other .2. So hop k
of a trace from near answers with 10.99.(k-1).2, and `far` is 10.99.n.2 behind n routers.
"""

from __future__ import annotations

import ipaddress
import os
from contextlib import ExitStack

from tests.lab.namespaces import PREFIX, Host, command, remove, started, sweep
from tests.lab.namespaces import _numbers as numbers

_QUIET = (
    "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
    "net.ipv6.conf.default.router_solicitations=0", "net.ipv6.conf.default.keep_addr_on_down=1",
)  # fmt: skip
_FORWARDING = (
    "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0", "net.ipv4.fib_multipath_hash_policy=1", "net.ipv6.fib_multipath_hash_policy=1",
)  # fmt: skip


def address(link: int, end: int, family: int) -> str:
    return f"10.99.{link}.{end}" if family == 4 else str(ipaddress.ip_address(f"fd99:{link}::{end}"))


class Chain:
    """`nodes`: near, the routers, far. A router's interfaces are `near0` and `far0`, the hosts have one of them."""

    def __init__(self, routers: int) -> None:
        sweep()
        self._stack = ExitStack()
        stem = f"{PREFIX}-{os.getpid()}-{started(os.getpid())}-{next(numbers)}"
        names = ["near", *(f"r{chr(ord('a') + k)}" for k in range(routers)), "far"]
        self.nodes = [Host(f"{stem}-{name}", "", "") for name in names]
        try:
            for node in self.nodes:
                command("ip", "netns", "add", node.name)
                self._stack.callback(remove, node.name)
                self._stack.callback(node.close)
                node.run(["sysctl", "-q", "-w", *_QUIET, *_FORWARDING])
                node.ip("link", "set", "lo", "up")
            for link in range(routers + 1):
                self._wire(link)
            self._route()
        except BaseException:
            self._stack.close()
            raise

    @property
    def near(self) -> Host:
        return self.nodes[0]

    @property
    def far(self) -> Host:
        return self.nodes[-1]

    @property
    def links(self) -> int:
        return len(self.nodes) - 1

    def hop(self, ttl: int, family: int = 4) -> str:
        """Who answers at this distance from near."""
        return address(ttl - 1, 2, family)

    def target(self, family: int = 4) -> str:
        return address(self.links - 1, 2, family)

    def mtu(self, link: int, octets: int) -> None:
        """Of both ends of a link."""
        self.nodes[link].ip("link", "set", "far0", "mtu", str(octets))
        self.nodes[link + 1].ip("link", "set", "near0", "mtu", str(octets))

    def close(self) -> None:
        self._stack.close()

    def _wire(self, link: int) -> None:
        here, there = self.nodes[link], self.nodes[link + 1]
        here.ip("link", "add", "far0", "type", "veth", "peer", "name", "near0", "netns", there.name)
        for node, interface, end in ((here, "far0", 1), (there, "near0", 2)):
            node.ip("address", "add", f"{address(link, end, 4)}/24", "dev", interface)
            node.ip("address", "add", f"{address(link, end, 6)}/64", "dev", interface, "nodad")
            node.ip("link", "set", interface, "up")

    def _route(self) -> None:
        """Towards far by default; towards near for the links behind."""
        for place, node in enumerate(self.nodes[:-1]):
            for family in (4, 6):
                node.ip(f"-{family}", "route", "add", "default", "via", address(place, 2, family))
                for link in range(place - 1):
                    net = f"10.99.{link}.0/24" if family == 4 else f"fd99:{link}::/64"
                    node.ip(f"-{family}", "route", "add", net, "via", address(place - 1, 1, family))
        for family in (4, 6):
            self.far.ip(f"-{family}", "route", "add", "default", "via", address(self.links - 1, 1, family))
