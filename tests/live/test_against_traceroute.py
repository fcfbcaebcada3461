"""The same chain of routers, traced by us, by Debian's traceroute and by scamper: the same hops."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from probes import path
from probes.core.catalog import FlowTarget
from probes.core.clock import SystemClock
from tests.lab.chain import Chain
from tests.probes.two_hosts import inside

pytestmark = [pytest.mark.root, pytest.mark.live("traceroute", "scamper"), pytest.mark.serial]

FLAGS = {"udp": "-U", "icmp": "-I", "tcp": "-T"}


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    made = Chain(4)
    for node in made.nodes:
        node.sysctl(net__ipv4__icmp_ratelimit=0, net__ipv6__icmp__ratelimit=0)
    made.nodes[2].nft(
        "table inet silent {\nchain out {\ntype filter hook output priority 0;\n"
        "icmp type time-exceeded drop\nicmpv6 type time-exceeded drop\n}\n}\n"
    )
    yield made
    made.close()


def ours(chain: Chain, family: int, protocol: str) -> tuple[str | None, ...]:
    target = FlowTarget("C-1", "path", chain.target(family), chain.target(family))
    sample = inside(
        chain.near.name, lambda: path.measure(target, {"protocol": protocol, "mtu": False, "probes": 1}, SystemClock())
    )
    assert sample.path is not None
    assert sample.path.reached, sample.reason
    return sample.path.addresses


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", ["udp", "icmp", "tcp"])
def test_traceroute_sees_the_same_hops(chain: Chain, family: int, protocol: str) -> None:
    words = ["traceroute", f"-{family}", "-n", "-q", "1", "-w", "1", "-N", "1", "-m", "8", FLAGS[protocol]]
    said = chain.near.run([*words, chain.target(family)], timeout=60).stdout
    rows = re.findall(r"^\s*(\d+)\s+(.*)$", said, re.MULTILINE)
    theirs = [re.search(r"[0-9a-f.:]*[.:][0-9a-f.:]+(?=\s)", row + " ") for _, row in rows]
    hops = tuple(found[0] if found and "ms" in row else None for found, (_, row) in zip(theirs, rows, strict=True))
    assert hops == ours(chain, family, protocol), said


@pytest.mark.parametrize("family", [4, 6])
def test_scamper_sees_the_same_hops(chain: Chain, family: int) -> None:
    said = chain.near.run(
        ["scamper", "-O", "json", "-c", "trace -P icmp-paris -q 1 -w 1", "-i", chain.target(family)], timeout=60
    ).stdout
    trace = next(item for item in map(json.loads, said.splitlines()) if item["type"] == "trace")
    at = {hop["probe_ttl"]: hop["addr"] for hop in trace["hops"]}
    hops = tuple(at.get(ttl) for ttl in range(1, max(at) + 1))
    assert hops == ours(chain, family, "icmp"), said
