"""Watch: what runs, what does not and why, on a clock that stands still; engine, schedule and resolver are fakes."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import probes.path
import probes.tcp
import probes.throughput
from agent.config import SecretSource
from agent.flows import COSTLY_APART_NS, FIRST_EXCLUSIVE_NS, FIRST_FLOW_SPREAD_NS
from agent.store import RunRecord, RunState
from agent.watch import REFRESH_NS, RETRY_NS, Watch
from probes.core.catalog import FlowTarget
from probes.core.clock import MILLISECOND, SECOND
from probes.core.errors import LocalError, PrivilegeError
from probes.core.model import Circuit, Counts, ProbeSetting, Rate, Sample, SampleState
from tests.fakes.clock import FakeClock
from tests.fakes.parts import FakeEngine, FakeResolver, FakeSchedule

SPAN = 10 * SECOND
MINUTE = 60 * SECOND
ICMP = ProbeSetting("icmp", "icmp", {"every": SECOND, "timeout": SECOND, "size": 56})
UDP = ProbeSetting("udp", "udp", {"every": 100 * MILLISECOND, "timeout": SECOND, "size": 200, "port": 8620, "dscp": 34})
TCP = ProbeSetting("tcp", "tcp", {"every": 10 * SECOND, "port": 443})
STAMP = ProbeSetting(
    "stamp", "stamp", {"every": SECOND, "timeout": SECOND, "size": 184, "port": 862, "ssid": 7, "follow_up": True}
)
CAPACITY = ProbeSetting("throughput", "throughput", {"every": 60 * MINUTE, "duration": SECOND})

PATH = ProbeSetting("path", "path", {"every": 10 * MINUTE})

Measure = Callable[[FlowTarget, Mapping[str, object], object], Sample]


class House:
    """A watch in a house of fakes. The clock starts on the grid of intervals."""

    def __init__(self) -> None:
        self.clock = FakeClock(wall_ns=1_800_000_000 * SECOND)
        self.engine, self.resolver, self.schedule = FakeEngine(), FakeResolver(), FakeSchedule()
        self.samples: list[Sample] = []
        self.runs: list[RunRecord] = []
        self.events: list[tuple[str, str]] = []
        self.watch = Watch(
            engine=self.engine, schedule=self.schedule, resolver=self.resolver, clock=self.clock, span_ns=SPAN,
            record=self.samples.extend, ran=self.runs.append, event=lambda *told: self.events.append(told),
        )  # fmt: skip

    def after(self, seconds: float) -> None:
        """Time goes by in steps of a second, each tended."""
        left = round(seconds * SECOND)
        while left > 0:
            step = min(left, SECOND)
            self.clock.advance(step)
            self.watch.tend()
            left -= step


@pytest.fixture
def house() -> House:
    return House()


def circuit(name: str, target: str, *probes: ProbeSetting, **more: object) -> Circuit:
    return Circuit(name, target, probes=probes or (ICMP,), **more)  # type: ignore[arg-type]


def ok(target: FlowTarget, kind: str, **more: object) -> Sample:
    counts = Counts(sent=1, received=1)
    return Sample(target.circuit, target.probe, kind, 1, 1, SampleState.OK, counts, remote=target.address, **more)  # type: ignore[arg-type]


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Measure], None]:
    """Replace what a flow kind does."""

    def put(kind: str, measure: Measure) -> None:
        module = {"path": probes.path, "tcp": probes.tcp, "throughput": probes.throughput}[kind]
        monkeypatch.setattr(module, "PROBE", replace(module.PROBE, measure=measure))

    return put


# streams


def test_an_address_is_measured_at_once_with_its_parameters(house: House) -> None:
    house.watch.add([circuit("a", "192.0.2.9", UDP, source="192.0.2.1", interface="eth1", dscp=46)], {})
    spec = house.engine.running["a", "udp"]
    assert (spec.address, spec.host, spec.source, spec.interface) == ("192.0.2.9", "192.0.2.9", "192.0.2.1", "eth1")
    assert (spec.every_ns, spec.timeout_ns, spec.size, spec.port, spec.dscp) == (10**8, SECOND, 200, 8620, 34)
    assert house.resolver.asked == []
    assert house.watch.refused() == {}


def test_a_probe_without_a_code_point_has_the_circuit_s(house: House) -> None:
    house.watch.add([circuit("a", "192.0.2.9", ICMP, dscp=46)], {})
    assert house.engine.running["a", "icmp"].dscp == 46


def test_a_name_is_measured_once_it_is_known_and_nobody_waits_for_it(house: House) -> None:
    house.watch.add([circuit("a", "router.example", family=6)], {})
    house.after(2)
    assert house.engine.running == {}
    house.resolver.answer("2001:db8::1")
    house.watch.tend()
    assert house.engine.running["a", "icmp"].address == "2001:db8::1"
    assert house.resolver.asked == [("router.example", 6, None)]
    assert house.samples == []


def test_a_name_that_fails_makes_only_its_own_stream_invalid(house: House) -> None:
    house.watch.add([circuit("bad", "no.example"), circuit("good", "192.0.2.9")], {})
    house.resolver.fail("no.example cannot be resolved")
    house.watch.tend()
    assert house.watch.refused() == {("bad", "icmp"): "no.example cannot be resolved"}
    assert set(house.engine.running) == {("good", "icmp")}


def test_a_stream_that_does_not_run_has_one_invalid_sample_per_interval(house: House) -> None:
    begin = house.clock.wall()
    house.watch.add([circuit("bad", "no.example")], {})
    house.resolver.fail("no such name")
    house.after(25)
    assert [(sample.start_ns - begin, sample.span_ns) for sample in house.samples] == [(0, SPAN), (SPAN, SPAN)]
    assert {(sample.state, sample.reason, sample.kind) for sample in house.samples} == {
        (SampleState.INVALID, "no such name", "icmp")
    }
    assert all(sample.counts is None for sample in house.samples)


def test_invalid_time_begins_and_ends_with_the_second(house: House) -> None:
    house.after(4)
    house.watch.add([circuit("late", "no.example")], {})
    begin = house.clock.wall()
    house.resolver.fail("no such name")
    house.after(RETRY_NS // SECOND + 1)
    house.resolver.answer("192.0.2.7")
    house.after(1)
    running = house.clock.wall()
    house.after(20)
    spans = [(sample.start_ns, sample.start_ns + sample.span_ns) for sample in house.samples]
    assert spans[0][0] == begin
    assert spans[-1][1] == running
    assert all(end == start for (_, end), (start, _) in pairwise(spans))
    assert all(start // SPAN == (end - 1) // SPAN for start, end in spans)


def test_a_jump_of_the_clock_does_not_invent_a_past(house: House) -> None:
    house.watch.add([circuit("bad", "no.example")], {})
    house.resolver.fail("no such name")
    house.after(3)
    house.clock.step(86_400 * SECOND)
    house.watch.tend()
    assert house.samples == []
    house.after(20)
    assert [sample.span_ns for sample in house.samples] == [SPAN, SPAN]
    house.clock.step(-86_400 * SECOND)
    house.watch.tend()
    house.after(30)
    assert all(sample.span_ns <= SPAN for sample in house.samples)
    assert len({sample.start_ns for sample in house.samples}) == len(house.samples)
    assert len(house.samples) in (4, 5)


def test_a_late_look_leaves_no_interval_out(house: House) -> None:
    begin = house.clock.wall()
    house.watch.add([circuit("bad", "no.example")], {})
    house.resolver.fail("no such name")
    house.watch.tend()
    house.clock.advance(4 * SPAN + SECOND)
    house.watch.tend()
    assert [(sample.start_ns - begin, sample.span_ns) for sample in house.samples] == [
        (number * SPAN, SPAN) for number in range(4)
    ]


def test_a_name_that_failed_is_tried_again_after_its_rest(house: House) -> None:
    house.watch.add([circuit("a", "no.example")], {})
    house.resolver.fail("not yet")
    house.watch.tend()
    house.after(RETRY_NS // SECOND - 1)
    assert len(house.resolver.asked) == 1
    house.after(1)
    assert len(house.resolver.asked) == 2
    house.resolver.answer("192.0.2.7")
    house.watch.tend()
    assert house.engine.running["a", "icmp"].address == "192.0.2.7"
    assert house.watch.refused() == {}


def test_a_stream_moves_with_its_name_and_says_so(house: House) -> None:
    house.watch.add([circuit("a", "router.example"), circuit("b", "192.0.2.9")], {})
    house.resolver.answer("192.0.2.7")
    house.watch.tend()
    house.after(REFRESH_NS // SECOND)
    assert house.resolver.asked[-1] == ("router.example", None, "192.0.2.7")
    house.resolver.answer("192.0.2.8")
    house.watch.tend()
    assert house.engine.running["a", "icmp"].address == "192.0.2.8"
    assert house.events == [("address_changed", "a/icmp: router.example is now 192.0.2.8, was 192.0.2.7")]
    assert [entry for entry in house.engine.log if entry[1] == ("a", "icmp")] == [
        ("add", ("a", "icmp")), ("remove", ("a", "icmp")), ("add", ("a", "icmp")),
    ]  # fmt: skip
    assert house.engine.log.count(("remove", ("b", "icmp"))) == 0


def test_a_stream_in_use_goes_on_when_its_name_fails(house: House) -> None:
    house.watch.add([circuit("a", "router.example")], {})
    house.resolver.answer("192.0.2.7")
    house.watch.tend()
    house.after(REFRESH_NS // SECOND)
    house.resolver.fail("resolver down")
    house.after(20)
    assert house.engine.running["a", "icmp"].address == "192.0.2.7"
    assert house.watch.refused() == {}
    assert house.samples == []


def test_a_refused_stream_is_invalid_with_the_remedy_and_tried_again(house: House) -> None:
    house.engine.refusals["a", "icmp"] = PrivilegeError("ICMP is not permitted", hint="grant CAP_NET_RAW")
    house.watch.add([circuit("a", "192.0.2.9", ICMP, UDP)], {})
    text = "ICMP is not permitted (hint: grant CAP_NET_RAW)"
    assert house.watch.refused() == {("a", "icmp"): text}
    assert set(house.engine.running) == {("a", "udp")}
    house.after(10)
    assert [(sample.probe, sample.reason) for sample in house.samples] == [("icmp", text)]
    house.engine.refusals.clear()
    house.after(RETRY_NS // SECOND - 10)
    assert set(house.engine.running) == {("a", "udp"), ("a", "icmp")}
    assert house.watch.refused() == {}


def test_a_moved_stream_that_is_refused_at_its_new_address_is_invalid_from_then_on(house: House) -> None:
    house.watch.add([circuit("a", "router.example")], {})
    house.resolver.answer("192.0.2.7")
    house.watch.tend()
    house.after(REFRESH_NS // SECOND)
    house.engine.refusals["a", "icmp"] = LocalError("no route")
    house.resolver.answer("2001:db8::1")
    house.watch.tend()
    moved = house.clock.wall()
    assert house.engine.running == {}
    house.after(10)
    assert [sample.start_ns for sample in house.samples] == [moved]


def test_removal_while_a_name_is_looked_up_starts_nothing(house: House) -> None:
    house.watch.add([circuit("a", "router.example")], {})
    house.watch.remove(["a"])
    house.resolver.answer("192.0.2.7")
    house.after(40)
    assert house.engine.running == {}
    assert house.samples == []
    assert house.watch.refused() == {}


def test_removal_and_return_under_the_same_name_waits_for_its_own_look_up(house: House) -> None:
    house.watch.add([circuit("a", "old.example")], {})
    old = house.resolver.futures[-1]
    house.watch.remove(["a"])
    house.watch.add([circuit("a", "new.example")], {})
    old.set_result("192.0.2.1")
    house.watch.tend()
    assert house.engine.running == {}
    house.resolver.answer("192.0.2.2")
    house.watch.tend()
    assert house.engine.running["a", "icmp"].address == "192.0.2.2"


def test_removal_of_an_invalid_stream_records_it_to_the_second(house: House) -> None:
    house.watch.add([circuit("a", "no.example")], {})
    house.resolver.fail("no such name")
    house.after(3)
    house.watch.remove(["a"])
    assert [(sample.span_ns, sample.state) for sample in house.samples] == [(3 * SECOND, SampleState.INVALID)]


def test_threads_that_tend_add_and_remove_never_disagree_with_the_engine(house: House) -> None:
    house.resolver.known = {f"n{number}.example": f"192.0.2.{number}" for number in range(8)}
    failures: list[BaseException] = []
    over = threading.Event()

    def tend() -> None:
        try:
            while not over.is_set():
                house.watch.tend()
                house.watch.refused()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=tend) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        names = [f"c{number}" for number in range(8)]
        house.watch.add([circuit(name, f"n{number}.example") for number, name in enumerate(names)], {})
        house.watch.remove(names)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert house.engine.running == {}


# flow probes


def test_a_run_is_recorded_with_its_sample(house: House, measuring: Callable[[str, Measure], None]) -> None:
    measuring("tcp", lambda target, _parameters, _clock: ok(target, "tcp"))
    house.watch.add([circuit("a", "192.0.2.9", TCP)], {})
    house.schedule.fire("a/tcp")
    (sample,) = house.samples
    assert (sample.circuit, sample.probe, sample.state, sample.remote) == ("a", "tcp", SampleState.OK, "192.0.2.9")
    wall = house.clock.wall()
    assert house.runs == [RunRecord("a", "tcp", "tcp", RunState.RAN, wall, wall)]


def test_a_run_whose_name_fails_is_an_invalid_sample_and_a_failed_run(
    house: House, measuring: Callable[[str, Measure], None]
) -> None:
    measuring("tcp", lambda *_: pytest.fail("nothing can be measured"))
    house.watch.add([circuit("a", "no.example", TCP)], {})
    house.resolver.lookup = _failing  # type: ignore[method-assign]
    house.schedule.fire("a/tcp")
    (sample,) = house.samples
    assert (sample.state, sample.reason, sample.counts) == (SampleState.INVALID, "no such name", Counts(not_sent=1))
    assert [(run.state, run.reason, run.started_ns) for run in house.runs] == [
        (RunState.FAILED, "no such name", None)
    ]  # fmt: skip


def _failing(host: str, family: int | None, keep: str | None = None) -> object:
    resolver = FakeResolver()
    future = resolver.lookup(host, family, keep)
    resolver.fail("no such name")
    return future


def test_a_skipped_run_is_recorded_with_its_reason(house: House) -> None:
    house.watch.add([circuit("a", "192.0.2.9", TCP)], {})
    house.schedule.works["a/tcp"].skipped("the previous run is still in progress")
    assert house.samples == []
    assert [(run.state, run.reason, run.started_ns) for run in house.runs] == [
        (RunState.SKIPPED, "the previous run is still in progress", None)
    ]  # fmt: skip


def test_a_bug_in_a_kind_is_a_failed_run_and_no_more(house: House, measuring: Callable[[str, Measure], None]) -> None:
    def broken(*_: object) -> Sample:
        raise ZeroDivisionError("by zero")

    measuring("throughput", broken)
    house.watch.add([circuit("a", "192.0.2.9", CAPACITY)], {})
    house.schedule.fire("a/throughput")
    assert house.samples == []
    assert [(run.state, run.reason) for run in house.runs] == [(RunState.FAILED, "internal error: by zero")]
    assert house.engine.marks[-1] == ("a", None)


def test_a_run_that_loads_its_circuit_marks_it_for_its_whole_length(
    house: House, measuring: Callable[[str, Measure], None]
) -> None:
    during: list[list[tuple[str, str | None]]] = []

    def measure(target: FlowTarget, *_: object) -> Sample:
        during.append(list(house.engine.marks))
        return ok(target, "throughput", rate=Rate(forward_bps=1))

    measuring("throughput", measure)
    house.watch.add([circuit("a", "192.0.2.9", CAPACITY)], {})
    house.schedule.fire("a/throughput")
    assert during == [[("a", "throughput run on this circuit")]]
    assert house.engine.marks == [("a", "throughput run on this circuit"), ("a", None)]


def test_a_flow_run_that_overlaps_a_load_is_impaired_on_that_circuit_only(
    house: House, measuring: Callable[[str, Measure], None]
) -> None:
    started, finish = threading.Event(), threading.Event()

    def load(target: FlowTarget, *_: object) -> Sample:
        started.set()
        assert finish.wait(20)
        return ok(target, "throughput")

    measuring("throughput", load)
    measuring("tcp", lambda target, _parameters, _clock: ok(target, "tcp"))
    house.watch.add([circuit("a", "192.0.2.9", TCP, CAPACITY), circuit("b", "192.0.2.10", TCP)], {})
    thread = house.schedule.fire_aside("a/throughput")
    assert started.wait(20)
    assert house.watch.running() == {("a", "throughput")}
    house.schedule.fire("a/tcp")
    house.schedule.fire("b/tcp")
    finish.set()
    thread.join(20)
    house.clock.advance(1)
    house.schedule.fire("a/tcp")
    states = [(sample.circuit, sample.probe, sample.state) for sample in house.samples]
    assert states == [
        ("a", "tcp", SampleState.IMPAIRED), ("b", "tcp", SampleState.OK), ("a", "throughput", SampleState.OK),
        ("a", "tcp", SampleState.OK),
    ]  # fmt: skip
    assert house.samples[0].reason == "throughput run on this circuit"


def test_a_flow_run_that_began_before_a_load_and_ended_after_it_is_impaired(
    house: House, measuring: Callable[[str, Measure], None]
) -> None:
    def through(target: FlowTarget, *_: object) -> Sample:
        house.clock.advance(1)
        house.schedule.fire("a/throughput")
        return ok(target, "tcp")

    measuring("throughput", lambda target, *_: ok(target, "throughput"))
    measuring("tcp", through)
    house.watch.add([circuit("a", "192.0.2.9", TCP, CAPACITY)], {})
    house.schedule.fire("a/tcp")
    assert house.samples[-1].state is SampleState.IMPAIRED


def test_two_names_of_one_host_share_its_lock_and_a_name_keeps_its_address(
    house: House, measuring: Callable[[str, Measure], None]
) -> None:
    addresses: list[str] = []

    def measure(target: FlowTarget, *_: object) -> Sample:
        addresses.append(target.address)
        return ok(target, "throughput")

    measuring("throughput", measure)
    house.resolver.known = {"one.example": "192.0.2.9", "other.example": "192.0.2.9"}
    house.watch.add([circuit("a", "one.example", CAPACITY), circuit("b", "other.example", CAPACITY)], {})
    keys = {identity: tuple(work.keys()) for identity, work in house.schedule.works.items()}
    assert keys == {
        "a/throughput": ("circuit a", "remote 192.0.2.9"), "b/throughput": ("circuit b", "remote 192.0.2.9"),
    }  # fmt: skip
    house.schedule.fire("a/throughput")
    assert addresses == ["192.0.2.9"]
    assert house.resolver.asked[-1] == ("one.example", None, "192.0.2.9")


def test_a_restart_keeps_the_rhythm_of_runs_that_load_a_circuit(house: House) -> None:
    hour = 60 * MINUTE
    ago = {"fresh": None, "recent": 20 * MINUTE, "long": 3 * hour, "future": -5 * hour}
    last = {(name, "throughput"): house.clock.wall() - past for name, past in ago.items() if past is not None}
    house.watch.add([circuit(name, "192.0.2.9", CAPACITY) for name in ago], last)
    first = {name: house.schedule.works[f"{name}/throughput"].first_after_ns for name in ago}
    soon = range(FIRST_EXCLUSIVE_NS, FIRST_EXCLUSIVE_NS + FIRST_FLOW_SPREAD_NS)
    assert first["fresh"] in soon
    assert first["recent"] == 40 * MINUTE
    assert first["long"] in soon
    assert first["future"] == hour, "a clock that was ahead must not put the next run off for longer than the period"


def test_a_timetable_is_handed_on_as_it_is(house: House) -> None:
    nightly = ProbeSetting("throughput", "throughput", {"every": SECOND}, schedule="15 3 * * *")
    house.watch.add([circuit("a", "192.0.2.9", nightly)], {})
    work = house.schedule.works["a/throughput"]
    assert (work.cron, work.every_ns, work.run_class) == ("15 3 * * *", None, "exclusive")


def test_removal_stops_everything_of_a_circuit_and_nothing_of_another(
    house: House, measuring: Callable[[str, Measure], None]
) -> None:
    measuring("tcp", lambda target, _parameters, _clock: ok(target, "tcp"))
    house.watch.add([circuit("a", "192.0.2.9", ICMP, TCP, CAPACITY), circuit("b", "192.0.2.9", ICMP, TCP)], {})
    stale = house.schedule.works["a/tcp"]
    house.watch.remove(["a"])
    assert set(house.schedule.works) == {"b/tcp"}
    assert set(house.engine.running) == {("b", "icmp")}
    stale.call()
    stale.skipped("too late")
    assert (house.samples, house.runs) == ([], [])
    assert set(house.watch.next_runs()) == {("b", "tcp")}


def test_removal_cuts_a_run_that_loads_the_circuit(house: House, measuring: Callable[[str, Measure], None]) -> None:
    measuring("throughput", _cut_when_told(lambda: house.watch.remove(["a"])))
    house.watch.add([circuit("a", "192.0.2.9", CAPACITY)], {})
    house.schedule.fire("a/throughput")
    assert house.samples == []
    assert [(run.state, run.reason) for run in house.runs] == [(RunState.FAILED, "cut short: no longer configured")]
    assert house.engine.marks[-1] == ("a", None)


def test_the_stop_cuts_a_run_that_loads_a_circuit(house: House, measuring: Callable[[str, Measure], None]) -> None:
    measuring("throughput", _cut_when_told(house.watch.stop))
    house.watch.add([circuit("a", "192.0.2.9", CAPACITY, TCP)], {})
    house.schedule.fire("a/throughput")
    house.schedule.fire("a/tcp")
    house.watch.finish()
    assert [(run.state, run.reason) for run in house.runs] == [(RunState.FAILED, "cut short: the agent is stopping")]


def _cut_when_told(tell: Callable[[], None]) -> Measure:
    """A run that heeds `progress` as the real one does; in the middle of it somebody wants it to end."""

    def measure(_target: FlowTarget, parameters: Mapping[str, object], _clock: object) -> Sample:
        progress = parameters["progress"]
        assert callable(progress)
        progress("forward", 1, 1)
        tell()
        progress("forward", 2, 2)
        pytest.fail("the run went on")

    return measure


def test_a_run_that_does_not_end_with_the_agent_is_recorded_once(
    house: House, measuring: Callable[[str, Measure], None]
) -> None:
    started, finish = threading.Event(), threading.Event()

    def hang(target: FlowTarget, *_: object) -> Sample:
        started.set()
        finish.wait(20)
        return ok(target, "tcp")

    measuring("tcp", hang)
    house.watch.add([circuit("a", "192.0.2.9", TCP), circuit("bad", "no.example")], {})
    house.resolver.fail("no such name")
    thread = house.schedule.fire_aside("a/tcp")
    assert started.wait(20)
    house.after(2)
    house.watch.stop()
    house.watch.finish()
    finish.set()
    thread.join(20)
    assert [(run.state, run.reason) for run in house.runs] == [(RunState.FAILED, "cut short: the agent is stopping")]
    assert [(sample.circuit, sample.span_ns) for sample in house.samples] == [("bad", 2 * SECOND)]


# paths


def test_path_runs_do_not_all_begin_at_once(house: House) -> None:
    house.watch.add([circuit(f"c{n}", "192.0.2.9", PATH) for n in range(9)], {})
    begins = [house.schedule.works[f"c{n}/path"].first_after_ns for n in range(9)]
    for place, begin in enumerate(begins):
        assert 0 <= begin - place * COSTLY_APART_NS < FIRST_FLOW_SPREAD_NS


def test_a_stream_that_changes_its_state_has_its_path_traced(house: House) -> None:
    house.watch.add([circuit("a", "192.0.2.9", ICMP, PATH), circuit("b", "192.0.2.8", ICMP)], {})
    for state in (SampleState.OK, SampleState.NO_REPLY):
        house.watch.hear([Sample(name, "icmp", "icmp", 0, SPAN, state) for name in ("a", "b")])
    assert house.schedule.wanted == [], "not in the thread that hands over samples"
    house.after(1)
    assert house.schedule.wanted == ["a/path"]


@pytest.mark.parametrize("how", ["removal", "stop"])
def test_a_trace_in_progress_is_cut(house: House, measuring: Callable[[str, Measure], None], how: str) -> None:
    measuring("path", _cut_when_told(house.watch.stop if how == "stop" else lambda: house.watch.remove(["a"])))
    house.watch.add([circuit("a", "192.0.2.9", PATH)], {})
    house.schedule.fire("a/path")
    assert house.samples == []
    assert [run.state for run in house.runs] == [RunState.FAILED]
    assert house.engine.marks == []


def test_parameters_that_the_engine_has_no_field_for_go_along_sorted(house: House) -> None:
    house.watch.add([circuit("C1", "192.0.2.1", STAMP, dscp=46)], {})
    spec = house.engine.running["C1", "stamp"]
    assert (spec.port, spec.size, spec.dscp, spec.every_ns) == (862, 184, 46, SECOND)
    assert spec.extras == (("follow_up", True), ("ssid", 7))


def test_a_secret_is_read_before_the_engine_is_told_and_its_absence_is_a_reason(house: House, tmp_path: Path) -> None:
    key = tmp_path / "key"
    probe = replace(STAMP, parameters={**STAMP.parameters, "key": SecretSource(file=key)})
    house.watch.add([circuit("C1", "192.0.2.1", probe), circuit("C2", "192.0.2.2")], {})
    assert "cannot be read" in house.watch.refused()["C1", "stamp"]
    assert ("C2", "icmp") in house.engine.running
    assert ("C1", "stamp") not in house.engine.running
    key.write_text("0123456789abcdef\n", "utf-8")
    key.chmod(0o600)
    house.after(RETRY_NS / SECOND + 1)
    assert dict(house.engine.running["C1", "stamp"].extras)["key"] == b"0123456789abcdef"
    assert "0123456789abcdef" not in repr(house.engine.running["C1", "stamp"])
    assert house.watch.refused() == {}
