"""Judging in turns: its share of a core, nobody starved, no verdict of the past. The judge itself is a fake here."""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import agent.judging
from agent.judging import FIRST_SHARE, REST_NS, SHARE, TURN_NS, Judging, unfit
from agent.sla.terms.contract import Contract, Metric
from agent.sla.verdict import Verdict
from agent.store import Store
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.errors import LocalError
from probes.core.model import Circuit, ProbeSetting
from tests.fakes.clock import FakeClock
from tests.fakes.contracts import contract, objective

HOUR = 3600 * SECOND
CONTRACT = contract(objective(Metric.LOSS, "0.01"))
ICMP = ProbeSetting("icmp", "icmp", {"every": SECOND})


class Bench:
    """A judging whose judge takes `cost_ns` of a fake clock for each circuit."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, circuits: int) -> None:
        Store.open(path, clock=SystemClock(), site="test").close()
        self.clock = FakeClock()
        self.cost_ns: Callable[[str], int] = lambda _: MILLISECOND
        self.judged: list[tuple[int, str]] = []
        self.taken: list[str] = []
        self.judging = Judging(path, self.clock, self._take)
        self.circuits = [Circuit(f"c{number}", "192.0.2.1", contract="test") for number in range(circuits)]
        self.during: Callable[[str], None] = lambda _: None
        monkeypatch.setattr(agent.judging, "judge_stored", self._judge)
        self.judging.set(self.circuits, {"test": CONTRACT})

    def _judge(
        self, _reader: object, circuit: Circuit, _contract: Contract, *, now_ns: int, **_: object
    ) -> tuple[Verdict, ...]:
        assert now_ns == self.clock.wall()
        self.judged.append((self.clock.monotonic(), circuit.id))
        self.clock.advance(self.cost_ns(circuit.id))
        self.during(circuit.id)
        return ()

    def _take(self, circuit: str, _verdicts: Sequence[Verdict]) -> None:
        self.taken.append(circuit)

    def run(self, seconds: int) -> None:
        """The scheduler calls once a second, never twice at a time."""
        end = self.clock.monotonic() + seconds * SECOND
        while self.clock.monotonic() < end:
            begin = self.clock.monotonic()
            self.judging.advance()
            self.clock.advance(max(0, begin + SECOND - self.clock.monotonic()))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Bench]:
    return lambda circuits: Bench(tmp_path / "store", monkeypatch, circuits)


def test_a_big_store_and_many_circuits_cost_one_share_of_a_core(bench: Callable[[int], Bench]) -> None:
    made = bench(50)
    made.cost_ns = lambda _: SECOND
    made.run(600)
    first = [circuit for _, circuit in made.judged[:50]]
    assert sorted(first) == sorted(circuit.id for circuit in made.circuits), "everybody once before anybody twice"
    assert made.judged[49][0] - made.judged[0][0] <= 50 * (1 + FIRST_SHARE + 1) * SECOND
    done = len(made.judged)
    made.run(3600)
    spent = (len(made.judged) - done) * SECOND
    assert spent <= 3600 * SECOND // SHARE + SECOND
    counts = Counter(circuit for _, circuit in made.judged)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_small_stores_are_judged_as_often_as_they_rest(bench: Callable[[int], Bench]) -> None:
    made = bench(50)
    made.cost_ns = lambda _: 2 * MILLISECOND
    made.run(120)
    for circuit in made.circuits:
        times = [at for at, name in made.judged if name == circuit.id]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert len(times) >= 12
        assert min(gaps) >= REST_NS
        assert max(gaps) <= REST_NS + 5 * SECOND


def test_one_turn_takes_up_circuits_for_its_time_only(bench: Callable[[int], Bench]) -> None:
    made = bench(50)
    made.cost_ns = lambda _: 20 * MILLISECOND
    made.judging.advance()
    assert len(made.judged) == TURN_NS // (20 * MILLISECOND) + 1


def test_a_circuit_that_cannot_be_judged_starves_nobody_and_is_told_once(
    bench: Callable[[int], Bench], caplog: pytest.LogCaptureFixture
) -> None:
    made = bench(3)

    def fail(circuit: str) -> None:
        if circuit == "c0":
            raise ZeroDivisionError("by zero")
        if circuit == "c1":
            raise LocalError("column missing")

    made.during = fail
    with caplog.at_level(logging.ERROR, "agent.judging"):
        made.run(60)
    assert Counter(made.taken).keys() == {"c2"}
    assert len(made.taken) >= 8
    assert sorted(record.getMessage() for record in caplog.records) == [
        "c0 was not judged: by zero", "c1 was not judged: column missing",
    ]  # fmt: skip


def test_a_verdict_on_what_was_changed_meanwhile_is_not_taken(bench: Callable[[int], Bench]) -> None:
    made = bench(2)
    other = Circuit("c0", "192.0.2.2", contract="test")

    def change(_: str) -> None:
        made.during = lambda _: None
        made.judging.set([other], {"test": CONTRACT})

    made.during = change
    made.judging.advance()
    assert made.taken == []
    made.run(2)
    assert made.taken == ["c0"]


def test_what_a_reload_left_alone_keeps_its_turn_and_what_changed_comes_first(bench: Callable[[int], Bench]) -> None:
    made = bench(3)
    made.run(1)
    made.clock.advance(SECOND)
    changed = [made.circuits[0], Circuit("c1", "192.0.2.7", contract="test"), made.circuits[2]]
    before = len(made.judged)
    made.judging.set(changed, {"test": CONTRACT})
    made.judging.advance()
    assert [circuit for _, circuit in made.judged[before:]] == ["c1"]


def test_circuits_without_a_known_contract_are_left_out(bench: Callable[[int], Bench]) -> None:
    made = bench(1)
    made.judging.set([Circuit("a", "x"), Circuit("b", "x", contract="gone")], {"test": CONTRACT})
    made.run(10)
    assert made.judged == []


def test_what_does_not_fit_is_told_for_each_circuit() -> None:
    circuits = [
        Circuit("fits", "x", contract="test", probes=(ICMP,)), Circuit("bare", "x", contract="test"),
        Circuit("free", "x"), Circuit("lost", "x", contract="gone"),
    ]  # fmt: skip
    assert list(unfit(circuits, {"test": CONTRACT}, 10 * SECOND)) == [
        "circuit bare, contract test: objective loss: the circuit has no probe of kind stamp or twamp or udp or icmp "
        "or tcp",
        "circuit lost is not judged: there is no contract gone",
    ]
