"""Streams whose far end must agree first, watched: agreed, declined, lost, moved, given back. All parts are fakes."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import pytest

import probes.twamp
from agent import negotiations
from agent.watch import RETRY_NS
from probes.core.catalog import Declined, FlowTarget, Session
from probes.core.clock import SECOND
from probes.core.errors import LocalError
from probes.core.model import ProbeSetting, SampleState
from probes.engine.streams import Key
from tests.agent.test_watch import House, circuit

TWAMP = ProbeSetting("twamp", "twamp", {"every": SECOND, "timeout": SECOND, "size": 100, "port": 862, "dscp": 46})
KEY: Key = ("a", "twamp")


@dataclass
class FarSession:
    """Implements probes.core.catalog.Session."""

    port: int
    unheard: bool = False
    trouble: str | None = None
    closed: int = 0

    def ended(self) -> str | None:
        return self.trouble

    def close(self) -> None:
        self.closed += 1


@dataclass
class FarEnd:
    """Asked through a pool that does nothing until the test says so."""

    asked: list[tuple[FlowTarget, dict[str, object], int]] = field(default_factory=list)
    talks: list[tuple[Future[object], Callable[[], object]]] = field(default_factory=list)
    answers: list[Session | Declined | Exception] = field(default_factory=list)
    shut: bool = False

    def arrange(self, target: FlowTarget, parameters: dict[str, object], local_port: int, _: object) -> object:
        self.asked.append((target, dict(parameters), local_port))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def submit(self, call: Callable[..., object], *arguments: object) -> Future[object]:
        future: Future[object] = Future()
        self.talks.append((future, lambda: call(*arguments)))
        return future

    def shutdown(self) -> None:
        self.shut = True

    def talk(self) -> None:
        """Let all that wait have their answers."""
        talks, self.talks = self.talks, []
        for future, call in talks:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except Exception as error:
                    future.set_exception(error)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> FarEnd:
    end = FarEnd()
    monkeypatch.setattr(probes.twamp, "PROBE", replace(probes.twamp.PROBE, arrange=end.arrange))
    monkeypatch.setattr(negotiations, "Workers", lambda *_: end)
    return end


@pytest.fixture
def house(far: FarEnd) -> House:  # noqa: ARG001 (the pool must be replaced first)
    return House()


def test_a_stream_begins_once_its_session_is_agreed(house: House, far: FarEnd) -> None:
    house.watch.add([circuit("a", "192.0.2.9", TWAMP, source="192.0.2.1", interface="eth1")], {})
    house.after(2)
    assert house.engine.running == {}
    far.answers = [FarSession(19_000)]
    far.talk()
    house.after(1)
    (target, parameters, local_port), *others = far.asked
    assert others == []
    assert target == FlowTarget("a", "twamp", "192.0.2.9", "192.0.2.9", "192.0.2.1", "eth1", 46)
    assert parameters == {"port": 862, "size": 100, "timeout": SECOND}
    spec = house.engine.running[KEY]
    assert (spec.port, spec.local_port, spec.address, spec.dscp) == (19_000, local_port, "192.0.2.9", 46)
    house.after(120)
    assert len(far.asked) == 1, "a session that lasts is not negotiated again"
    assert house.samples == []
    assert house.watch.refused() == {}


def test_a_far_end_that_declines_is_invalid_with_the_reason_and_asked_again_after_a_rest(
    house: House, far: FarEnd
) -> None:
    house.watch.add([circuit("a", "192.0.2.9", TWAMP)], {})
    far.answers = [Declined("no thanks", "ask nicely")]
    far.talk()
    house.after(1)
    assert house.watch.refused() == {KEY: "no thanks (hint: ask nicely)"}
    house.after(RETRY_NS / SECOND - 1)
    assert far.talks == [], "it rests"
    house.after(2)
    assert len(far.talks) == 1
    assert {sample.state for sample in house.samples} == {SampleState.INVALID}
    assert {sample.reason for sample in house.samples} == {"no thanks (hint: ask nicely)"}
    far.answers = [FarSession(19_000)]
    far.talk()
    house.after(1)
    assert house.engine.running[KEY].port == 19_000
    assert sum(sample.span_ns for sample in house.samples) == 33 * SECOND, "to the second in which it began"


def test_a_session_that_ends_makes_the_stream_invalid_and_is_negotiated_again(house: House, far: FarEnd) -> None:
    first, second = FarSession(19_000), FarSession(19_001)
    far.answers = [first, second]
    house.watch.add([circuit("a", "192.0.2.9", TWAMP)], {})
    far.talk()
    house.after(5)
    assert KEY in house.engine.running
    first.trouble = "the server has stopped the session"
    house.after(1)
    assert house.engine.running == {}
    assert house.watch.refused() == {KEY: "the server has stopped the session"}
    assert house.engine.impaired == {KEY: "the server has stopped the session"}, "nobody answered for a second or so"
    house.after(RETRY_NS / SECOND - 1)
    assert far.talks == []
    house.after(2)
    far.talk()
    house.after(1)
    assert house.engine.running[KEY].port == 19_001
    assert house.engine.log == [("add", KEY), ("remove", KEY), ("add", KEY)]
    assert {sample.reason for sample in house.samples} == {"the server has stopped the session"}


def silent(house: House, far: FarEnd) -> FarSession:
    """A session that has run and whose far end has not been heard of for long."""
    session = FarSession(19_000)
    far.answers = [session]
    house.watch.add([circuit("a", "192.0.2.9", TWAMP)], {})
    far.talk()
    house.after(60)
    session.unheard = True
    house.after(1)
    return session


def test_an_outage_is_measured_on_while_a_silent_far_end_is_asked_again_and_again(house: House, far: FarEnd) -> None:
    """Silence may be the network's: then it is loss, not missing data."""
    silent(house, far)
    for _ in range(5):
        assert KEY in house.engine.running
        assert len(far.talks) == 1
        far.answers = [Declined("no answer from 192.0.2.9 within 3000 ms", unheard=True)]
        far.talk()
        house.after(RETRY_NS / SECOND)
    assert house.engine.log == [("add", KEY)]
    assert house.watch.refused() == {}
    assert house.samples == []


def test_after_an_outage_the_stream_goes_over_to_a_new_session(house: House, far: FarEnd) -> None:
    old = silent(house, far)
    far.answers = [FarSession(19_001)]
    far.talk()
    house.after(1)
    assert house.engine.running[KEY].port == 19_001
    assert house.engine.log == [("add", KEY), ("remove", KEY), ("add", KEY)]
    assert (old.closed, house.engine.impaired, house.events, house.samples) == (1, {}, [], [])
    house.after(120)
    assert far.talks == []


def test_a_silent_far_end_that_declines_by_its_own_word_ends_the_stream(house: House, far: FarEnd) -> None:
    silent(house, far)
    far.answers = [Declined("connection refused by 192.0.2.9")]
    far.talk()
    house.after(1)
    assert house.engine.running == {}
    assert house.watch.refused() == {KEY: "connection refused by 192.0.2.9"}
    assert house.engine.impaired == {KEY: "connection refused by 192.0.2.9"}
    house.after(RETRY_NS / SECOND + 1)
    far.answers = [FarSession(19_002)]
    far.talk()
    house.after(1)
    assert house.engine.running[KEY].port == 19_002


def test_the_agent_s_own_failure_in_a_negotiation_touches_nothing_else(house: House, far: FarEnd) -> None:
    far.answers = [ZeroDivisionError("a fault of ours"), FarSession(19_000)]
    house.watch.add([circuit("a", "192.0.2.9", TWAMP), circuit("b", "192.0.2.10", TWAMP)], {})
    far.talk()
    house.after(1)
    assert ("b", "twamp") in house.engine.running
    assert house.watch.refused() == {KEY: "the negotiation has failed: ZeroDivisionError: a fault of ours"}


def test_a_host_that_cannot_send_does_not_ask(house: House, far: FarEnd) -> None:
    house.engine.refusals[KEY] = LocalError("this host has no IPv4", hint="enable it")
    house.watch.add([circuit("a", "192.0.2.9", TWAMP)], {})
    assert (far.talks, far.asked) == ([], [])
    assert house.watch.refused() == {KEY: "this host has no IPv4 (hint: enable it)"}


def test_a_stream_the_engine_refuses_gives_its_session_back(house: House, far: FarEnd) -> None:
    session = FarSession(19_000)
    far.answers = [session]
    house.watch.add([circuit("a", "192.0.2.9", TWAMP)], {})
    house.engine.refusals[KEY] = LocalError("too many packets")
    far.talk()
    house.after(1)
    assert session.closed == 1
    assert house.watch.refused() == {KEY: "too many packets"}


def test_two_streams_to_one_far_end_send_from_different_ports(house: House, far: FarEnd) -> None:
    """Or a server that answers from one port for all could not tell them apart."""
    other = replace(TWAMP, name="twamp-2")
    far.answers = [FarSession(862), FarSession(862), FarSession(862)]
    house.watch.add([circuit("a", "192.0.2.9", TWAMP, other), circuit("b", "192.0.2.10", TWAMP)], {})
    far.talk()
    house.after(1)
    ports = {key: spec.local_port for key, spec in house.engine.running.items()}
    assert ports["a", "twamp"] != ports["a", "twamp-2"]
    assert ports["b", "twamp"] == ports["a", "twamp"]


def test_a_stream_moves_with_its_name_and_its_session_is_negotiated_anew(house: House, far: FarEnd) -> None:
    house.watch.add([circuit("a", "router.example", TWAMP)], {})
    house.resolver.answer("192.0.2.9")
    old = FarSession(19_000)
    far.answers = [old, FarSession(19_001)]
    house.after(1)
    far.talk()
    house.after(1)
    house.after(301)
    house.resolver.answer("192.0.2.10")
    house.after(1)
    assert old.closed == 1
    assert house.engine.running == {}, "nobody answers for the old session any more"
    assert house.events == [("address_changed", "a/twamp: router.example is now 192.0.2.10, was 192.0.2.9")]
    far.talk()
    house.after(1)
    assert house.engine.running[KEY].address == "192.0.2.10"
    assert house.engine.running[KEY].port == 19_001


def test_a_name_that_moves_during_a_negotiation_is_asked_at_its_new_address_only(house: House, far: FarEnd) -> None:
    house.watch.add([circuit("a", "router.example", TWAMP)], {})
    house.resolver.answer("192.0.2.9")
    house.after(1)
    (slow, _), *_ = far.talks
    slow.set_running_or_notify_cancel()
    far.talks = []
    house.after(301)
    house.resolver.answer("192.0.2.10")
    house.after(1)
    late = FarSession(19_000)
    slow.set_result(late)
    assert late.closed == 1
    far.answers = [FarSession(19_001)]
    far.talk()
    house.after(1)
    assert (house.engine.running[KEY].address, house.engine.running[KEY].port) == ("192.0.2.10", 19_001)


def test_removal_gives_the_session_back(house: House, far: FarEnd) -> None:
    session = FarSession(19_000)
    far.answers = [session]
    house.watch.add([circuit("a", "192.0.2.9", TWAMP)], {})
    far.talk()
    house.after(1)
    house.watch.remove(["a"])
    assert session.closed == 1
    assert house.engine.log == [("add", KEY), ("remove", KEY)]


@pytest.mark.parametrize("begun", [False, True])
def test_removal_during_a_negotiation_starts_nothing_and_gives_back_what_comes_of_it(
    house: House, far: FarEnd, begun: bool
) -> None:
    house.watch.add([circuit("a", "192.0.2.9", TWAMP)], {})
    (future, _), *_ = far.talks
    if begun:
        future.set_running_or_notify_cancel()
    house.watch.remove(["a"])
    session = FarSession(19_000)
    if begun:
        future.set_result(session)
    house.after(5)
    assert session.closed == int(begun)
    assert future.cancelled() != begun
    assert house.engine.running == {}


def test_the_end_gives_all_sessions_back_after_the_streams(house: House, far: FarEnd) -> None:
    sessions = [FarSession(19_000), FarSession(19_001)]
    far.answers = [*sessions]
    house.watch.add([circuit("a", "192.0.2.9", TWAMP), circuit("b", "192.0.2.10", TWAMP)], {})
    far.talk()
    house.after(1)
    house.watch.stop()
    house.watch.finish()
    assert [session.closed for session in sessions] == [1, 1]
    assert house.engine.running == {}
    assert far.shut
