"""Names: bounded, with a deadline, never waiting."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait

import pytest

from probes.core.errors import ResolutionError
from probes.engine import resolve
from probes.engine.resolve import Resolver

ANSWERS = {
    "both.example": ["2001:db8::1", "192.0.2.1"],
    "six.example": ["2001:db8::6"],
}


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """`slow.example` does not answer before this is set."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> list[str]:
    names: list[str] = []

    def answer(host: str, _port: object, family: int = 0, _kind: int = 0) -> list[tuple[object, ...]]:
        names.append(host)
        if host == "slow.example":
            gate.wait(30)
            return [(socket.AF_INET, 2, 17, "", ("192.0.2.77", 0))]
        found = [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, 2, 17, "", (one, 0)) for one in ANSWERS.get(host, [])
        ]
        found = [entry for entry in found if family in (0, entry[0])]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    monkeypatch.setattr(resolve.socket, "getaddrinfo", answer)
    return names


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver(workers=2, timeout_s=20)
    yield made
    made.close()


def test_ipv4_comes_first_unless_told_otherwise(resolver: Resolver) -> None:
    assert resolver.lookup("both.example", None).result(10) == "192.0.2.1"
    assert resolver.lookup("both.example", 6).result(10) == "2001:db8::1"
    assert resolver.lookup("six.example", None).result(10) == "2001:db8::6"


def test_a_numeric_address_asks_nobody(resolver: Resolver, asked: list[str]) -> None:
    assert resolver.lookup("192.0.2.5", None).result(0) == "192.0.2.5"
    assert resolver.lookup("::1", 6).result(0) == "::1"
    with pytest.raises(ResolutionError, match=r"192\.0\.2\.5 is not an IPv6 address"):
        resolver.lookup("192.0.2.5", 6).result(0)
    assert asked == []


def test_a_name_that_does_not_exist(resolver: Resolver) -> None:
    with pytest.raises(ResolutionError, match=r"no\.example cannot be resolved: Name or service not known") as error:
        resolver.lookup("no.example", None).result(10)
    assert error.value.hint


def test_a_name_too_long_for_dns_is_an_answer_too(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(ResolutionError, match="cannot be resolved"):
        resolver.lookup("a" * 70 + ".invalid", None).result(10)


def test_a_hanging_resolver_ends_at_the_deadline_and_the_next_question_is_asked(gate: threading.Event) -> None:
    resolver = Resolver(workers=1, timeout_s=0.05)
    try:
        futures = [resolver.lookup("slow.example", None), resolver.lookup("both.example", None)]
        wait(futures, 10)
        for future in futures:
            with pytest.raises(ResolutionError, match=r"was not resolved within 0\.05 s"):
                future.result(0)
        gate.set()
        assert answered(resolver, "both.example") == "192.0.2.1"
    finally:
        resolver.close()


def answered(resolver: Resolver, host: str) -> str:
    for _ in range(200):
        future = resolver.lookup(host, None)
        wait([future], 10)
        if future.exception(0) is None:
            return future.result(0)
    raise AssertionError(f"{host} never answered")


def test_the_same_question_is_asked_once(resolver: Resolver, gate: threading.Event, asked: list[str]) -> None:
    first = resolver.lookup("slow.example", None)
    assert resolver.lookup("slow.example", None) is first
    gate.set()
    assert first.result(10) == "192.0.2.77"
    assert asked.count("slow.example") == 1


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> None:
    monkeypatch.setattr(resolve, "_WAITING", 3)
    resolver = Resolver(workers=0, timeout_s=20)
    futures = [resolver.lookup(f"n{number}.example", None) for number in range(5)]
    assert [future.done() for future in futures] == [False, False, False, True, True]
    with pytest.raises(ResolutionError, match="3 names are waiting"):
        futures[4].result(0)
    gate.set()
    resolver.close()
    for future in futures[:3]:
        with pytest.raises(ResolutionError, match="the resolver is closed"):
            future.result(1)
    late: Future[str] = resolver.lookup("both.example", None)
    with pytest.raises(ResolutionError, match="the resolver is closed"):
        late.result(0)
