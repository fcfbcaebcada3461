"""Streams and runs in other network namespaces than the process's own, and sockets held to their interface."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.errors import LocalError, PrivilegeError
from probes.core.model import Sample
from probes.engine import namespaces
from probes.engine.loop import Engine
from probes.engine.namespaces import inside
from probes.engine.streams import StreamSpec
from tests.probes.two_hosts import TwoHosts, run, two_hosts

CLOCK = SystemClock()


def here() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


@pytest.fixture
def customers() -> Iterator[tuple[TwoHosts, TwoHosts]]:
    """Two customers with the same addresses, each in namespaces of its own."""
    with two_hosts() as one, two_hosts() as other:
        yield one, other


def measured(*specs: StreamSpec) -> tuple[Counter[str], dict[tuple[str, str], LocalError]]:
    """Packets answered, by circuit, and what was refused."""
    samples: list[Sample] = []
    engine = Engine(clock=CLOCK, report=samples.extend)
    engine.start()
    refused = engine.add(specs)
    until = CLOCK.monotonic() + 15 * SECOND
    while not engine.done() and CLOCK.monotonic() < until and len(refused) < len(specs):
        CLOCK.sleep_until(CLOCK.monotonic() + 50 * MILLISECOND)
    engine.close(3)
    received: Counter[str] = Counter({one.circuit: 0 for one in specs})
    for sample in samples:
        assert sample.counts is not None
        received[sample.circuit] += sample.counts.received
    return received, refused


def spec(circuit: str, namespace: str, kind: str = "icmp", address: str = "10.77.0.2", **more: object) -> StreamSpec:
    return StreamSpec(
        circuit, kind, kind, address, address, every_ns=20 * MILLISECOND, timeout_ns=SECOND, limit=20,
        namespace=namespace, **more,  # type: ignore[arg-type] # fields by name
    )  # fmt: skip


@pytest.mark.root
@pytest.mark.serial
def test_two_customers_with_the_same_addresses_are_told_apart(customers: tuple[TwoHosts, TwoHosts]) -> None:
    one, other = customers
    other.ip("link set f0 down", at=other.far)
    before = here()
    received, refused = measured(
        spec("one", one.near), spec("other", other.near), spec("six", one.near, address="fd77::2"),
        spec("named", one.near, interface="n0", source="10.77.0.1"),
    )  # fmt: skip
    assert refused == {}
    assert here() == before
    assert (received["one"], received["six"]) == (20, 20)
    assert received["named"] == 20
    assert received["other"] == 0


@pytest.mark.root
@pytest.mark.serial
def test_addresses_and_interfaces_are_looked_for_inside(customers: tuple[TwoHosts, TwoHosts]) -> None:
    one, other = customers
    other.ip("addr add 10.77.0.9/24 dev n0")
    _, refused = measured(
        spec("a", one.near, source="10.77.0.9"), spec("b", one.near, interface="f0"), spec("c", "no-such-place"),
    )  # fmt: skip
    words = {key[0]: str(error) for key, error in refused.items()}
    assert "10.77.0.9 is not an address of this host" in words["a"]
    assert "there is no interface 'f0'" in words["b"]
    assert "there is no network namespace 'no-such-place'" in words["c"]
    received, refused = measured(spec("a", other.near, source="10.77.0.9"))
    assert (refused, received["a"]) == ({}, 20)


@pytest.mark.root
def test_a_thread_comes_back_whatever_happens_inside(customers: tuple[TwoHosts, TwoHosts]) -> None:
    one, _ = customers
    before = here()

    def fail() -> None:
        with inside(one.near):
            assert here() != before
            assert [name for _, name in socket.if_nameindex() if name != "lo"] == ["n0"]
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    assert here() == before
    with inside(None):
        assert here() == before


@pytest.mark.root
@pytest.mark.serial
def test_a_reply_by_another_interface_is_not_taken(customers: tuple[TwoHosts, TwoHosts]) -> None:
    """With its interface named, a stream's socket is held to it: replies that are routed another way do not count."""
    one, _ = customers
    for name, peer, near, far in (("n1", "f1", "10.78.0.1/24", "10.78.0.2/24"),):
        one.ip(f"link add {name} type veth peer name {peer} netns {one.far}")
        one.ip(f"addr add {near} dev {name}")
        one.ip(f"link set {name} up")
        one.ip(f"addr add {far} dev {peer}", at=one.far)
        one.ip(f"link set {peer} up", at=one.far)
    # The far end sends what is for 10.77.0.1 back by the other link.
    one.ip("route add 10.77.0.1/32 via 10.78.0.1 dev f1", at=one.far)
    for name in ("all", "n0", "n1"):
        run(["ip", "netns", "exec", one.near, "sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=0"])
    received, _ = measured(spec("held", one.near, interface="n0"), spec("free", one.near))
    assert received["free"] == 20
    assert received["held"] == 0


def test_what_is_no_namespace_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "FOLDER", tmp_path)
    with pytest.raises(LocalError, match="there is no network namespace 'x'"), inside("x"):
        raise AssertionError
    (tmp_path / "x").write_text("")
    with pytest.raises(LocalError) as told, inside("x"):
        raise AssertionError
    assert "is no network namespace" in str(told.value) or isinstance(told.value, PrivilegeError)
