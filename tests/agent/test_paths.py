"""Path samples become events; a stream that changes its state has its path traced, now and then."""

from __future__ import annotations

from agent.paths import AT_ONCE, CHANGED, INBOX, REST_NS, Key, Paths
from probes.core.clock import SECOND
from probes.core.model import Circuit, Hop, Path, ProbeSetting, Rate, Sample, SampleState
from tests.fakes.clock import FakeClock


class House:
    def __init__(self, *circuits: str, known: dict[Key, Sample] | None = None) -> None:
        self.clock = FakeClock()
        self.events: list[tuple[str, str, str]] = []
        self.runs: list[Key] = []
        self.busy: set[Key] = set()
        self.paths = Paths(
            self.clock,
            event=lambda *told: self.events.append(told),
            run_now=self.runs.append,
            running=lambda: self.busy,
        )
        self.paths.add(map(circuit, circuits or ("a",)), known or {})

    def stream(self, *states: SampleState, circuit: str = "a", probe: str = "icmp", kind: str = "icmp") -> list[Key]:
        """The runs begun by these samples, one look a second."""
        before = len(self.runs)
        for state in states:
            self.paths.take([Sample(circuit, probe, kind, 0, SECOND, state)])
            self.tend()
        return self.runs[before:]

    def tend(self, seconds: int = 1) -> list[Key]:
        before = len(self.runs)
        for _ in range(seconds):
            self.clock.advance(SECOND)
            self.paths.tend()
        return self.runs[before:]


def circuit(name: str, *, kinds: tuple[str, ...] = ("icmp", "path")) -> Circuit:
    return Circuit(name, "192.0.2.1", probes=tuple(ProbeSetting(kind, kind, {}) for kind in kinds))


def traced(addresses: str, name: str = "a", state: SampleState = SampleState.OK) -> Sample:
    hops = tuple(Hop(ttl, address, 3, 3) for ttl, address in enumerate(addresses.split(), 1))
    return Sample(name, "path", "path", 0, SECOND, state, remote="t", path=Path("udp", True, hops))


OK, SILENT, REFUSED = SampleState.OK, SampleState.NO_REPLY, SampleState.REJECTED


def test_a_changed_path_is_an_event_of_its_circuit() -> None:
    house = House()
    for addresses in ("x y t", "x y t", "x z t"):
        house.paths.take([traced(addresses)])
        house.tend()
    text = "a/path: hop 2 is now z, was y; before: x y t; now: x z t"
    assert house.events == [(CHANGED, text, "a")]


def test_the_path_kept_before_the_start_counts() -> None:
    house = House(known={("a", "path"): traced("x y t")})
    house.paths.take([traced("x z t")])
    house.paths.look()
    assert len(house.events) == 1


def test_a_run_that_was_no_measurement_changes_nothing() -> None:
    house = House()
    house.paths.take([traced("x y t"), Sample("a", "path", "path", 0, 1, SampleState.INVALID), traced("x y t")])
    house.tend()
    assert house.events == []


def test_a_change_of_state_has_the_path_traced_and_the_way_back_too() -> None:
    house = House()
    assert house.stream(OK, OK) == []
    assert house.stream(SILENT) == [("a", "path")]
    assert house.stream(SILENT, SILENT) == []
    house.tend(REST_NS // SECOND)
    assert house.stream(OK) == [("a", "path")]
    house.tend(REST_NS // SECOND)
    assert house.stream(REFUSED) == [("a", "path")]


def test_once_a_minute_and_what_is_asked_meanwhile_comes_after() -> None:
    house = House()
    assert house.stream(OK, SILENT) == [("a", "path")]
    assert house.stream(*[OK, SILENT] * 5) == []
    assert house.tend(REST_NS // SECOND) == [("a", "path")]
    assert house.tend(REST_NS // SECOND) == []


def test_trouble_of_this_host_is_no_change_of_state() -> None:
    house = House()
    assert house.stream(OK, SampleState.INVALID, SampleState.IMPAIRED, OK) == []
    assert house.stream(SampleState.INVALID, SILENT) == [("a", "path")]


def test_each_stream_has_its_own_state() -> None:
    house = House()
    assert house.stream(OK) == []
    assert house.stream(SILENT, SILENT, probe="udp", kind="udp") == []
    assert house.stream(OK, probe="udp", kind="udp") == [("a", "path")]


def test_paths_and_capacity_runs_ask_for_nothing() -> None:
    house = House()
    house.paths.take([traced("x t"), traced("x t", state=SILENT)])
    rated = [Sample("a", "throughput", "throughput", 0, 1, state, rate=Rate()) for state in (OK, SILENT)]
    house.paths.take(rated)
    assert house.tend() == []


def test_circuits_without_a_path_probe_are_left_alone() -> None:
    house = House()
    house.paths.add([circuit("b", kinds=("icmp",))], {})
    assert house.stream(OK, SILENT, circuit="b") == []


def test_few_at_once_and_none_beside_itself() -> None:
    names = [f"c{n}" for n in range(9)]
    house = House(*names)
    for state in (OK, SILENT):
        house.paths.take([Sample(name, "icmp", "icmp", 0, 1, state) for name in names])
    assert len(house.tend()) == AT_ONCE
    house.busy = set(house.runs)
    assert house.tend(5) == []
    house.busy = set()
    assert house.tend(5) == [(name, "path") for name in names[AT_ONCE:]]
    assert len(house.runs) == len(names)


def test_a_removed_circuit_is_forgotten() -> None:
    house = House("a", "b")
    house.stream(OK, circuit="b")
    house.paths.take([traced("x y t", "b")])
    house.tend()
    house.paths.remove(["b"])
    house.paths.take([traced("x z t", "b")])
    assert house.stream(SILENT, circuit="b") == []
    assert house.events == []
    house.paths.add([circuit("b")], {})
    assert house.stream(SILENT, circuit="b") == [], "its state is not known any more"


def test_the_inbox_is_bounded_and_what_goes_is_counted() -> None:
    house = House()
    for _ in range(INBOX + 5):
        house.paths.take([traced("x t")])
    assert house.paths.dropped == 5
    house.tend()
    house.paths.take([traced("x t")])
    assert house.paths.dropped == 5
