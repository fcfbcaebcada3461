"""Samples that claim the same instant, clocks that step, positions of sinks, retention."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.store import EventRecord, RunRecord, RunState, Store, StoreReader
from probes.core.model import Sample
from tests.fakes.samples import START, SteppedClock, listed_packets, ping, some_packets

SECOND = 10**9


def keep(store: Store, samples: Sequence[Sample]) -> None:
    store.append(samples)
    assert store.flush(10.0)


def starts(reader: StoreReader) -> list[int]:
    return [item.sample.start_ns for item in reader.after(0, 10_000)]


def test_the_same_sample_again_is_no_news(store: Store, reader: StoreReader) -> None:
    keep(store, [ping(1), ping(2), ping(1)])
    keep(store, [ping(2), ping(3)])
    assert starts(reader) == [ping(n).start_ns for n in (1, 2, 3)]
    assert store.counters()["repeated"] == 2
    assert reader.series()[0].rows == 3


def test_another_sample_at_a_taken_instant_moves_on_and_overwrites_nothing(store: Store, reader: StoreReader) -> None:
    """The wall clock stepped back one hour: what is measured then claims instants that are taken."""
    first = [ping(n, rtt_ns=1000 + n) for n in range(5)]
    again = [ping(n, rtt_ns=2000 + n) for n in range(5)]
    third = [ping(n, rtt_ns=3000 + n) for n in range(5)]
    for samples in (first, again, third, again):
        keep(store, samples)
    kept = [item.sample for item in reader.after(0, 100)]
    expected = first + [
        dataclasses.replace(sample, start_ns=sample.start_ns + moved)
        for moved, samples in ((1, again), (2, third)) for sample in samples
    ]  # fmt: skip
    assert kept == expected
    assert (store.counters()["moved"], store.counters()["repeated"]) == (10, 5)


def test_packets_of_a_moved_sample_stay_with_it(store: Store, reader: StoreReader) -> None:
    one, two = (ping(1, rtt_ns=rtt, packets=some_packets(rtt)) for rtt in (5, 6))
    keep(store, [one, two])
    assert listed_packets(reader.packets("ACME-1", "icmp", one.start_ns)) == listed_packets(one.packets)
    assert listed_packets(reader.packets("ACME-1", "icmp", one.start_ns + 1)) == listed_packets(two.packets)


@settings(max_examples=30, deadline=None)
@given(plan=st.lists(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=8), max_size=6))
def test_placing_equals_the_naive_rule(
    tmp_path_factory: pytest.TempPathFactory, plan: list[list[tuple[int, int]]]
) -> None:
    path = tmp_path_factory.mktemp("place")
    naive: dict[int, int] = {}
    store = Store.open(path, clock=SteppedClock(), site="lab")
    for batch in plan:
        keep(store, [ping(0, start_ns=START + at, rtt_ns=value) for at, value in batch])
        for at, value in batch:
            while at in naive and naive[at] != value:
                at += 1
            naive[at] = value
    with StoreReader.open(path) as reader:
        found = {item.sample.start_ns - START: item.sample.delay for item in reader.after(0, 1000)}
        assert {at: delay.minimum_ns for at, delay in found.items() if delay} == naive
        assert sum(item.rows for item in reader.series()) == len(naive)
    assert store.close(10.0)


def test_a_cursor_moves_forward_only_and_never_beyond_what_is_durable(store: Store, reader: StoreReader) -> None:
    assert store.cursor("central") == 0
    store.advance("central", 50)
    assert store.cursor("central") == 0
    keep(store, [ping(n) for n in range(10)])
    store.advance("central", 7)
    store.advance("central", 3)
    assert store.cursor("central") == 7
    assert store.flush(10.0)
    assert reader.cursors() == {"central": 7}
    (sink,) = reader.status().sinks
    assert (sink.seq, sink.lag, sink.parked) == (7, 3, 0)


def test_cursors_and_parked_lines_survive_a_restart(store_path: Path, clock: SteppedClock) -> None:
    store = Store.open(store_path, clock=clock, site="lab")
    keep(store, [ping(n) for n in range(10)])
    store.park("central", 4, "ping value=1", "field type conflict")
    store.advance("central", 4)
    assert store.close(10.0)
    store = Store.open(store_path, clock=clock, site="lab")
    assert store.cursor("central") == 4
    store.keep_sinks(["other"])
    assert store.flush(10.0)
    with StoreReader.open(store_path) as reader:
        (line,) = reader.parked("central")
        assert (line.seq, line.line, line.reason) == (4, "ping value=1", "field type conflict")
        assert reader.cursors() == {}
    assert store.close(10.0)


def test_numbers_are_not_used_twice_even_when_all_samples_have_gone(store_path: Path, clock: SteppedClock) -> None:
    store = Store.open(store_path, clock=clock, site="lab")
    keep(store, [ping(n) for n in range(10)])
    assert store.retire(packets_before_ns=START * 2, samples_before_ns=START * 2).samples == 10
    assert store.close(10.0)
    store = Store.open(store_path, clock=clock, site="lab")
    keep(store, [ping(11)])
    with StoreReader.open(store_path) as reader:
        assert [item.seq for item in reader.after(0, 10)] == [11]
    assert store.close(10.0)


def test_retention_takes_packets_and_samples_separately(store: Store, reader: StoreReader) -> None:
    some = some_packets(5)
    keep(store, [ping(n, circuit=name, packets=some) for name in ("A", "B") for n in range(3000)])
    done = store.retire(packets_before_ns=ping(2000).start_ns, samples_before_ns=ping(1000).start_ns)
    assert (done.samples, done.done) == (2000, True)
    for name in ("A", "B"):
        assert reader.read(name, "icmp", [], 0, 2 * START).start_ns[0] == ping(1000).start_ns
        assert [reader.packets(name, "icmp", ping(n).start_ns) is None for n in (1000, 1999, 2000)] == [
            True,
            True,
            False,
        ]
    assert [(item.rows, item.first_ns) for item in reader.series()] == [(2000, ping(1000).start_ns)] * 2


def test_retention_waits_for_every_sink(store: Store, reader: StoreReader) -> None:
    keep(store, [ping(n) for n in range(100)])
    assert store.cursor("slow") == 0
    store.advance("fast", 90)
    assert store.retire(packets_before_ns=0, samples_before_ns=2 * START).samples == 0
    store.advance("slow", 40)
    assert store.retire(packets_before_ns=0, samples_before_ns=2 * START).samples == 40
    assert reader.after(0, 1)[0].seq == 41


def test_runs_and_events_newest_first(store: Store, reader: StoreReader) -> None:
    ran = RunRecord("A", "tcp", "tcp", RunState.RAN, 100, 105)
    skipped = RunRecord("A", "tput", "throughput", RunState.SKIPPED, 200, reason="another run on this circuit")
    failed = RunRecord("A", "tcp", "tcp", RunState.FAILED, 300, 301, "name not resolved: \udc80")
    for record in (ran, skipped, failed):
        store.note(record)
    store.event(EventRecord("clock_step", 50, "wall clock +1 s"))
    store.event(EventRecord("gap", 10, "frozen", end_ns=70, reason="freeze", count=2, circuit="A"))
    assert store.flush(10.0)
    failed = dataclasses.replace(failed, reason="name not resolved: \\udc80")
    assert reader.runs() == [failed, skipped, ran]
    assert reader.runs("A", "tput") == [skipped]
    assert reader.runs(since_ns=250) == [failed]
    assert reader.newest_runs() == [failed, skipped]
    assert reader.last_runs() == {("A", "tcp"): 105}
    assert [event.kind for event in reader.events()] == ["gap", "clock_step", "start"]
    assert [event.kind for event in reader.events(60, 80)] == ["gap"]
    assert reader.events(kind="gap")[0].circuit == "A"
