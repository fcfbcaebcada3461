"""Hops, remarks and the state of the sample from findings written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from probes import path as kind
from probes.core.catalog import FlowTarget
from probes.core.clock import SystemClock
from probes.core.errors import PrivilegeError
from probes.core.model import Label, Path, Sample, SampleState, StampSource
from probes.trace import process
from probes.trace.hops import dscp_remarks, path_of
from probes.trace.order import Findings, Order, Purpose, Reply, Said, Shot

TARGET = "198.51.100.9"
ORDER = Order(4, TARGET, "udp", 33434, 1, dscp=46)
STACK = (Label(100, 0, True, 1),)


def shot(
    ttl: int,
    address: str | None,
    rtt: int = 1000,
    *,
    said: Said = Said.EXCEEDED,
    kind_and_code: tuple[int, int] = (11, 0),
    purpose: Purpose = Purpose.HOP,
    size: int = 60,
    **reply: object,
) -> Shot:
    given = {"dscp": 46} | reply
    heard = None if address is None else Reply(address, said, 10**9 + rtt, *kind_and_code, **given)  # type: ignore[arg-type]
    return Shot(ttl, size, purpose, 10**9, reply=heard)


def arrived(ttl: int, rtt: int = 5000) -> Shot:
    return shot(ttl, TARGET, rtt, said=Said.TARGET, kind_and_code=(3, 3))


def findings(*shots: Shot, **other: object) -> Findings:
    return replace(Findings("192.0.2.1", tuple(shots)), **other)  # type: ignore[arg-type] # fields by name


def sample_of(found: Findings, monkeypatch: pytest.MonkeyPatch, **parameters: object) -> Sample:
    monkeypatch.setattr(process, "run", lambda *_: found)
    return kind.measure(FlowTarget("C", "path", "x", TARGET, dscp=46), parameters, SystemClock())


def test_hops_add_up() -> None:
    found = findings(
        shot(1, "a", 100), shot(1, "a", 300), shot(1, None), shot(2, None), shot(2, None),
        shot(3, "c", labels=STACK), arrived(4), arrived(5), shot(6, None), mtu=1500,
    )  # fmt: skip
    path = path_of(ORDER, found)
    assert path.addresses == ("a", None, "c", TARGET)
    assert (path.reached, path.mtu, path.protocol) == (True, 1500, "udp")
    first, silent, third, last = path.hops
    assert (first.sent, first.received, first.minimum_ns, first.sum_ns, first.maximum_ns) == (3, 2, 100, 400, 300)
    assert (silent.sent, silent.received, silent.minimum_ns) == (2, 0, None)
    assert third.labels == STACK
    assert last.error is None, "nobody on the port: the usual end"


def test_a_target_without_a_word_for_that_port_is_told() -> None:
    filtered = shot(1, TARGET, said=Said.TARGET, kind_and_code=(3, 13))
    assert path_of(ORDER, findings(filtered)).hops[0].error == "prohibited by a filter"


def test_what_our_own_kernel_says_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    own = shot(1, "192.0.2.1", said=Said.ERROR, kind_and_code=(3, 1))
    sample = sample_of(findings(own), monkeypatch)
    assert sample.path is not None
    assert sample.path.addresses == (None,)
    assert sample.state is SampleState.NO_REPLY


def test_dscp_rewritten_twice() -> None:
    hops = [shot(1, "a"), shot(2, None), shot(3, "c", dscp=0), shot(4, "d", dscp=0), shot(5, "e", dscp=8)]
    path = path_of(ORDER, findings(*hops))
    assert dscp_remarks(path, 46) == ["DSCP EF until hop 1, CS0 from hop 3", "DSCP CS0 until hop 4, CS1 from hop 5"]
    assert dscp_remarks(path, 0) == [
        "DSCP CS0 as sent, EF from hop 1", "DSCP EF until hop 1, CS0 from hop 3", "DSCP CS0 until hop 4, CS1 from hop 5"
    ]  # fmt: skip
    assert dscp_remarks(Path("udp", False, ()), 46) == []


def test_states_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*shots: Shot, **other: object) -> tuple[str, str | None]:
        sample = sample_of(findings(*shots, **other), monkeypatch)
        assert sample.counts is None, "a path has no loss to be judged"
        assert sample.delay is None
        return str(sample.state), sample.reason

    assert told(shot(1, "a"), arrived(2)) == ("ok", None)
    assert told(shot(1, "a"), shot(2, None)) == (
        "no_reply", f"no answer from {TARGET}; the last hop that answers is 1, a"
    )  # fmt: skip
    assert told(shot(1, None)) == ("no_reply", f"no answer from {TARGET}; no hop answers")
    assert told(shot(1, "a"), shot(2, "a", said=Said.ERROR, kind_and_code=(3, 1))) == (
        "rejected", "host unreachable from a (hop 2)"
    )  # fmt: skip
    assert told(*(shot(n, address) for n, address in enumerate("abcbcb", 1)), looped=True) == (
        "no_reply", "packets go in circles from hop 2 on: b, c"
    )  # fmt: skip
    assert told(shot(1, "a"), shot(1, "b"), arrived(2)) == ("ok", "hop 1 answers as a, b")


def test_a_black_hole_is_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    small = [shot(1, "a"), shot(2, "b"), shot(3, "c"), arrived(4)]
    large = [shot(1, "a", purpose=Purpose.REACH), shot(2, None, purpose=Purpose.REACH)]
    sample = sample_of(findings(*small, *large, mtu=1400, hole=1401), monkeypatch)
    assert sample.reason == "packets above 1400 octets vanish without a word between hop 1 and hop 2"
    assert sample.path is not None
    assert sample.path.mtu == 1400


def test_who_told_the_mtu_has_it() -> None:
    told = shot(255, "b", said=Said.TOO_BIG, kind_and_code=(3, 4), purpose=Purpose.SIZE, mtu=1400)
    path = path_of(ORDER, findings(shot(1, "a"), shot(2, "b"), arrived(3), told, mtu=1400))
    assert [hop.mtu for hop in path.hops] == [None, 1400, None]


def test_stamps_say_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, user = shot(1, "a"), replace(shot(2, "b"), user_stamp=True)
    assert sample_of(findings(kernel), monkeypatch).quality.stamps is StampSource.KERNEL
    assert sample_of(findings(kernel, user), monkeypatch).quality.stamps is StampSource.KERNEL_RECEIVE


def test_trouble_of_this_host_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Findings:
        raise PrivilegeError("not permitted", hint="be root")

    monkeypatch.setattr(process, "run", refuse)
    sample = kind.measure(FlowTarget("C", "path", "x", TARGET), {}, SystemClock())
    assert (sample.state, sample.reason, sample.path) == (SampleState.INVALID, "not permitted (hint: be root)", None)


def test_the_flow_is_that_of_the_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[Order] = []
    monkeypatch.setattr(process, "run", lambda order, *_: orders.append(order) or findings())
    for circuit, probe in (("C", "path"), ("C", "path"), ("D", "path"), ("C", "other")):
        kind.measure(FlowTarget(circuit, probe, "x", TARGET), {}, SystemClock())
    flows = [order.flow for order in orders]
    assert flows[0] == flows[1]
    assert len(set(flows)) == 3
