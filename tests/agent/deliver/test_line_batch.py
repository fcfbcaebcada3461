"""Many lines at once are byte for byte the lines written one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.deliver import digits, layout, linebatch
from agent.deliver.line import LineEncoder, LineError
from agent.deliver.linebatch import BatchEncoder, LineBatch
from agent.store import StoredSample
from agent.store.samplebatch import of_samples
from probes.core.arrays import Histogram
from probes.core.model import Circuit, Counts, Delay, OneWay, Rate, Residence, Sample, SampleState, Variation
from tests.fakes import samples as shapes
from tests.fakes.samples import MAXIMUM, ping, stamped

kinds = st.sampled_from(("icmp", "udp", "tcp", "throughput", "other"))
names = st.sampled_from(("ACME-1", "é", "a b,c=d", "bad\n", "", "x" * 300, "tail\\"))
texts = st.none() | st.sampled_from(("", "192.0.2.7", 'he said "no"\\', "a\nb\0c", "é" * 250, "x" * 40_000)) | st.text()
number = st.sampled_from((0, 1, 9, 10, 99, 100, 9_999, 10_000, 10**8, 10**12, 1 << 53, 1 << 62, MAXIMUM)) | st.integers(
    0, 10**13
)
LIMITS = [0, 1, -1, MAXIMUM, -MAXIMUM, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, layout.HIGHEST - 1, layout.HIGHEST]
relaxed = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def histograms(draw: Any) -> Histogram:
    buckets = sorted(draw(st.sets(st.integers(0, 80_000), max_size=draw(st.sampled_from((1, 3, 40))))))
    return Histogram(np.array(buckets, np.int64), np.array([draw(number) % (1 << 32) or 1 for _ in buckets], np.int64))


def some(kind: type, **by_name: Any) -> st.SearchStrategy[Any]:
    integers = dict.fromkeys((name for name in kind.__dataclass_fields__ if name not in by_name), number)
    return st.none() | st.builds(kind, **integers, **by_name)


usual = st.builds(
    Sample, names, st.sampled_from(("icmp", "p 2")), kinds, st.integers(-(10**4), 10**19) | number, number,
    st.sampled_from(SampleState),
    counts=some(Counts), delay=some(Delay),
    variation=some(Variation, ipdv_p95_ns=st.none() | number, rfc3550_ns=st.none() | number),
    rate=some(Rate, layer=st.just("t"), **dict.fromkeys(("forward_bps", "backward_bps"), st.none() | number)),
    remote=texts, reason=texts, histogram=st.none() | histograms(),
)  # fmt: skip
direction = st.builds(
    OneWay, sent=st.none() | number, lost=st.none() | number, delay=some(Delay),
    variation=some(Variation, ipdv_p95_ns=st.none() | number, rfc3550_ns=st.none() | number),
    error_ns=st.none() | number, withheld=texts, dscp=st.none() | st.integers(0, 63), ttl=st.none() | number,
    stamped=st.none() | number,
    histogram=st.none() | histograms(),
).filter(lambda one: one != OneWay())  # fmt: skip
far = st.builds(
    replace, usual, forward=st.none() | direction, backward=st.none() | direction, residence=some(Residence),
    path=st.none() | shapes.paths,
)  # fmt: skip
repeated = st.lists(st.tuples(usual | far | shapes.samples, st.integers(1, 40)), max_size=5)
"""Samples, and how many there are that differ in little: enough of a layout to be written by table, or not."""


def similar(sample: Sample, count: int, chance: np.random.Generator) -> list[Sample]:
    """The sample with other delays, times and packets each time."""
    found = [sample]
    for step in range(1, count):
        one = replace(sample, start_ns=sample.start_ns + step * 10**10)
        if one.delay is not None:
            drawn = [int(value) for value in 10 ** chance.uniform(0, 12, 7)]
            one = replace(one, delay=Delay(one.delay.count, *drawn))
        if one.variation is not None and chance.random() < 0.9:
            one = replace(one, variation=replace(one.variation, ipdv_abs_sum_ns=int(10 ** chance.uniform(0, 10))))
        if one.forward is not None and one.forward.delay is not None:
            drawn = [int(value) for value in 10 ** chance.uniform(0, 12, 7)]
            one = replace(one, forward=replace(one.forward, delay=Delay(one.forward.delay.count, *drawn)))
        found.append(one)
    return found


def plainly(encoder: LineEncoder, samples: Sequence[Sample], text: bool) -> list[bytes]:
    """One by one; empty what is refused."""
    found = []
    for sample in samples:
        try:
            found.append(encoder.encode(sample, text=text).encode("utf-8"))
        except LineError:
            found.append(b"")
    return found


def at_once(encoder: LineEncoder, samples: Sequence[Sample], text: bool) -> LineBatch:
    stored = [StoredSample(number, sample) for number, sample in enumerate(samples, start=7)]
    return BatchEncoder(encoder, text=text).encode(of_samples(stored))


def same(encoder: LineEncoder, samples: Sequence[Sample], text: bool) -> LineBatch:
    found, meant = at_once(encoder, samples, text), plainly(encoder, samples, text)
    assert found.lines() == meant
    assert sorted(found.unwritable) == [row for row, line in enumerate(meant) if not line]
    assert sorted(found.order.tolist()) == [row for row, line in enumerate(meant) if line]
    assert found.seq.tolist() == list(range(7, 7 + len(samples)))
    assert b"".join(found.parts).count(b"\n") == len(found.order)
    return found


@given(repeated, st.booleans(), st.randoms(use_true_random=False), st.integers(0, 1 << 32))
@relaxed
def test_a_batch_is_its_lines(drawn: list[tuple[Sample, int]], text: bool, order: Any, seed: int) -> None:
    chance = np.random.default_rng(seed)
    samples = [one for sample, count in drawn for one in similar(sample, count, chance)]
    order.shuffle(samples)
    encoder = LineEncoder("ams", {"ACME-1": Circuit("ACME-1", "gw", customer="Käse & Co", labels={"pop": "ams 1"})})
    same(encoder, samples, text)


def streams(count: int, **more: Any) -> list[Sample]:
    """Of two circuits, all regular, every delay another."""
    chance = np.random.default_rng(4)
    return [
        replace(
            ping(number), circuit=f"ACME-{number % 2}", delay=Delay(10, *chance.integers(100, 10**8, 7).tolist()),
            variation=Variation(9, *chance.integers(1, 10**7, 4).tolist()), **more,
        )
        for number in range(count)
    ]  # fmt: skip


def test_regular_samples_are_written_by_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not one by one, which would be right too, and slow."""
    histogram = Histogram(np.arange(8) + 2000, np.ones(8, np.int64))
    samples = streams(5000, histogram=histogram)
    meant = plainly(LineEncoder("ams", {}), samples, True)
    monkeypatch.setattr(LineEncoder, "encode", None)
    assert at_once(LineEncoder("ams", {}), samples, True).lines() == meant


def both_ways(count: int) -> list[Sample]:
    """Of a STAMP probe: every delay another, none below zero, nothing withheld."""
    chance = np.random.default_rng(5)
    return [
        stamped(number, *(chance.integers(10**6, 10**8, 8).tolist() for _ in range(2)), circuit=f"ACME-{number % 2}")
        for number in range(count)
    ]


def test_samples_of_both_ways_are_written_by_table(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = both_ways(400)
    assert samples[0].forward is not None
    why = "the far end's clock is not synchronised"
    none = replace(samples[0].forward, delay=None, histogram=None, withheld=why)
    samples += [replace(sample, forward=none, backward=replace(none, lost=None)) for sample in both_ways(100)]
    meant = plainly(LineEncoder("ams", {}), samples, True)
    assert b"forward_delay_p99_ns=" in meant[0]
    monkeypatch.setattr(LineEncoder, "encode", None)
    assert at_once(LineEncoder("ams", {}), samples, True).lines() == meant


@pytest.mark.parametrize("value", LIMITS)
def test_one_way_integers_at_their_limits_among_regular_ones(value: int) -> None:
    """A delay below zero is written as it is, by whichever encoder."""
    samples = both_ways(60)
    for place, name in enumerate(("sum_ns", "minimum_ns", "p50_ns", "maximum_ns")):
        way = samples[10 * place].backward
        assert way is not None
        assert way.delay is not None
        changed = replace(way, delay=replace(way.delay, **{name: value}), error_ns=value)
        samples[10 * place] = replace(samples[10 * place], backward=changed)
    samples[51] = replace(samples[51], residence=Residence(value, value, value, value))
    found = same(LineEncoder("ams", {}), samples, True)
    assert not found.unwritable
    assert f"backward_delay_min_ns={value}i".encode() in found.lines()[10]


def test_half_of_a_part_is_for_the_plain_encoder() -> None:
    batch = of_samples([StoredSample(n, sample) for n, sample in enumerate(both_ways(60))])
    batch.integers["forward_delay_p50_ns"][5] = batch.integers["residence_sum_ns"][6] = np.iinfo(np.int64).min
    batch.integers["backward_ipdv_p95_ns"][7] = np.iinfo(np.int64).min
    found = BatchEncoder(LineEncoder("ams", {}), text=True).encode(batch)
    assert sorted(found.unwritable) == [5, 6]
    assert b"backward_ipdv_pairs" in found.lines()[7]
    assert b"backward_ipdv_p95_ns" not in found.lines()[7]


def test_every_shape_is_a_number_of_its_own() -> None:
    bits = [*layout._BIT.values(), *layout._FAR_BIT.values()]
    assert set(layout._BIT) | set(layout._LEADER) >= set(layout.BATCH_INTEGERS)
    assert len(set(bits)) == len(bits)
    assert max(layout._BIT.values()) < layout._CLASS
    assert min(layout._FAR_BIT.values()) == layout._CLASS + layout._CLASS_BITS
    most = int(layout._classes(np.array([layout.MOST_BUCKETS]))[0])
    assert most < 1 << layout._CLASS_BITS
    assert most << layout._FAR_CLASS < 1 << 63


@pytest.mark.parametrize("value", LIMITS)
def test_integers_at_their_limits_among_regular_ones(value: int) -> None:
    samples = streams(60)
    for place, name in enumerate(("sum_ns", "minimum_ns", "stddev_ns", "count")):
        odd = samples[10 * place + 3]
        assert odd.delay is not None
        samples[10 * place + 3] = replace(odd, delay=replace(odd.delay, **{name: value}))
    samples[50] = replace(samples[50], start_ns=value)
    samples[51] = replace(samples[51], counts=Counts(value, 1, value))
    found = same(LineEncoder("ams", {}), samples, True)
    assert not found.unwritable


@pytest.mark.parametrize("value", [1 << 63, float("nan"), float("inf"), 2.5, True, "7"])
def test_no_integer_concerns_its_row_alone(value: Any) -> None:
    samples = streams(60)
    samples[20] = replace(samples[20], counts=Counts(value))
    found = same(LineEncoder("ams", {}), samples, True)
    assert list(found.unwritable) == [20]
    assert repr(value) in found.unwritable[20]


def test_a_value_missing_from_its_group_is_refused() -> None:
    encoder = LineEncoder("ams", {})
    batch = of_samples([StoredSample(n, sample) for n, sample in enumerate(streams(60))])
    batch.integers["received"][5] = batch.integers["rtt_sum_ns"][6] = np.iinfo(np.int64).min
    found = BatchEncoder(encoder, text=True).encode(batch)
    assert sorted(found.unwritable) == [5, 6]
    assert "received" in found.unwritable[5]


def test_a_seeded_bug_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits without the zeros between: 10,001 as 11."""
    monkeypatch.setattr(digits, "_LAST", np.tile(digits._LAST[:10_000], 2))
    with pytest.raises(AssertionError):
        same(LineEncoder("ams", {}), streams(60), False)


def test_tables_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = streams(300)
    whole = at_once(LineEncoder("ams", {}), samples, True)
    monkeypatch.setattr(linebatch, "TABLE", 5000)
    assert at_once(LineEncoder("ams", {}), samples, True).lines() == whole.lines()


def test_nothing() -> None:
    assert at_once(LineEncoder("ams", {}), [], True).lines() == []


@given(st.lists(st.integers(0, 10**15 - 1) | st.integers(0, 200) | st.integers(0, 10**9).map(lambda n: n * 1000)))
@relaxed
def test_digits_are_pythons(values: list[int]) -> None:
    def read(words: digits.Words) -> list[str]:
        return [row.tobytes().replace(b"\0", b"").decode() for row in np.ascontiguousarray(words.T)]

    array = np.array([0, *values], np.int64)
    highest = max((0, *values))
    assert read(digits.integers(array, digits.words_of(highest))) == [str(value) for value in array.tolist()]
    whole = digits.words_of(highest // 10**6)
    assert read(digits.milliseconds(array, whole)) == [repr(value / 1e6) for value in array.tolist()]
