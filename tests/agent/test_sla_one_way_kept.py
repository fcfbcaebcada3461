"""One-way objectives by samples that were kept: live and sealed say the same, which is what the packets say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from agent.sla.docket import Reading
from agent.sla.samples.columns import SampleColumns
from agent.sla.terms.contract import JitterDefinition, Metric, Statistic, StatisticType
from agent.sla.verdict import Verdict
from agent.store import Store, StoreReader
from agent.store.sealed import layout
from probes.core.model import Sample
from probes.metrics.voice import sample_mos
from tests.fakes.contracts import MS, objective
from tests.fakes.evaluated import ranked
from tests.fakes.one_way import CIRCUIT, ROWS, WITHHELD, judged, promises, stream
from tests.fakes.samples import SteppedClock
from tests.fakes.sealed import release_all, seal_all

T = StatisticType
SAMPLES = stream()
Judge = Callable[..., tuple[Verdict, ...]]


def reading(reader: StoreReader) -> Callable[[Reading], SampleColumns]:
    return lambda wanted: reader.read(wanted.circuit, wanted.probe, wanted.columns, wanted.start_ns, wanted.end_ns)


def packets_of(reader: StoreReader) -> Callable[..., list[object]]:
    return lambda probe, starts: reader.packets_of(CIRCUIT.id, probe, starts)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Store, StoreReader, Path]]:
    path = tmp_path / "store"
    store = Store.open(path, clock=SteppedClock(), site="lab")
    with StoreReader.open(path) as reader:
        yield store, reader, path
    store.close(10.0)


def delays(way: str, samples: list[Sample] = SAMPLES) -> list[list[int]]:
    """Of the answered packets of each sample."""
    found = []
    for sample in samples:
        assert sample.packets is not None
        values = getattr(sample.packets, f"{way}_ns")
        found.append([int(value) for value in values[sample.packets.state == 0]])
    return found


def test_live_and_sealed_say_the_same_word_for_word(kept: tuple[Store, StoreReader, Path]) -> None:
    store, reader, path = kept
    store.append(SAMPLES)
    assert store.flush(30.0)
    live = judged(reading(reader), promises())
    assert len(live) == len(promises())
    assert all(verdict.value is not None for verdict in live), [item.sentence for item in live if item.value is None]
    by_packets = judged(reading(reader), promises(), packets_of(reader))
    release_all(store, seal_all(path))
    assert judged(reading(reader), promises()) == live
    assert judged(reading(reader), promises(), packets_of(reader)) == by_packets


def test_values_are_those_of_the_packets(kept: tuple[Store, StoreReader, Path]) -> None:
    store, reader, _ = kept
    store.append(SAMPLES)
    assert store.flush(30.0)
    found = judged(reading(reader), promises(), packets_of(reader))
    ways = {way: [value for row in delays(way) for value in row] for way in ("forward", "backward")}
    forward, backward = ways["forward"], ways["backward"]
    mean, p95, p99, low = found[0], found[1], found[2], found[3]
    assert mean.value == Fraction(sum(forward), len(forward))
    for verdict, exact in ((p95, ranked(backward, Fraction(95, 100))), (p99, ranked(backward, Fraction(99, 100)))):
        assert verdict.best <= exact <= verdict.worst
        assert verdict.worst - verdict.best <= exact // 100
    # The twentieth part is below zero; the packets of the bucket that the target cuts say how far.
    assert low.best <= ranked(forward, Fraction(5, 100)) <= low.worst < 0
    within = found[5]
    share = min(Fraction(sum(value <= 8 * MS for value in way), len(way)) for way in ways.values())
    assert abs(within.value - share) <= Fraction(2, len(backward))  # half of the bucket that the limit cuts
    pairs = [sample.forward.variation for sample in SAMPLES if sample.forward and sample.forward.variation]
    assert found[7].value == Fraction(sum(v.ipdv_abs_sum_ns for v in pairs), sum(v.ipdv_pairs for v in pairs))
    assert found[10].value == Fraction(sum(forward), len(forward)) - min(forward)
    counts = [(sample.forward, sample.backward) for sample in SAMPLES]
    loss = [
        Fraction(sum(one.lost for one in way if one), sum(one.sent for one in way if one))  # type: ignore[misc]
        for way in zip(*counts, strict=True)
    ]
    assert (found[11].value, found[12].value) == (loss[0], max(loss))
    scores = []
    for rows, way in zip((delays("forward"), delays("backward")), zip(*counts, strict=True), strict=True):
        mean_ns = np.array([max(0, -(-sum(row) // len(row))) for row in rows])
        lost, sent = (np.array([getattr(one, name) for one in way]) for name in ("lost", "sent"))
        values = sample_mos(mean_ns, lost, sent, "g711")
        scores.append(Fraction(int(values.sum()), len(values) * 10**6))
    assert found[13].value == min(scores)


def test_jitter_of_single_packets_comes_from_the_packets_of_the_direction(
    kept: tuple[Store, StoreReader, Path],
) -> None:
    store, reader, path = kept
    store.append(SAMPLES)
    assert store.flush(30.0)
    how = Statistic(T.PERCENTILE, p=Fraction(95, 100), definition=JitterDefinition.IPDV, direction="backward")
    promise = (objective(Metric.JITTER, 9 * MS, how),)
    steps = []
    last = None
    for sample in SAMPLES:
        assert sample.packets is not None
        for state, delay in zip(sample.packets.state.tolist(), sample.packets.backward_ns.tolist(), strict=True):
            if state == 0 and last is not None:
                steps.append(abs(delay - last))
            last = delay if state == 0 else None
    (live,) = judged(reading(reader), promise, packets_of(reader))
    assert live.value == ranked(steps, Fraction(95, 100))
    release_all(store, seal_all(path))
    assert judged(reading(reader), promise, packets_of(reader)) == (live,)
    (without,) = judged(reading(reader), promise)
    assert without.value is None
    assert "needs the packets themselves" in without.sentence


def test_what_is_withheld_is_missing_with_its_reason_and_never_zero(kept: tuple[Store, StoreReader, Path]) -> None:
    store, reader, path = kept
    gone = range(100, 160)
    samples = stream(withheld=gone)
    store.append(samples)
    assert store.flush(30.0)
    live = judged(reading(reader), promises())
    delay, loss, ipdv = live[0], live[11], live[7]
    left = [value for number, row in enumerate(delays("forward", samples)) if number not in gone for value in row]
    assert delay.value == Fraction(sum(left), len(left))
    assert f"not measured: {WITHHELD} 10 min" in delay.sentence
    assert delay.coverage == Fraction(ROWS - 60, ROWS + 2)
    # Neither loss nor the difference of two delays needs the offset of a clock.
    assert loss.coverage == ipdv.coverage == Fraction(ROWS, ROWS + 2)
    assert WITHHELD not in loss.sentence + ipdv.sentence
    release_all(store, seal_all(path))
    assert judged(reading(reader), promises()) == live


def test_withheld_throughout_there_is_no_value(kept: tuple[Store, StoreReader, Path]) -> None:
    store, reader, _ = kept
    store.append(stream(withheld=range(ROWS)))
    assert store.flush(30.0)
    found = judged(reading(reader), promises())
    for verdict in (found[0], found[3], found[10]):
        assert verdict.value is None
        assert WITHHELD in verdict.sentence, verdict.sentence
    assert found[2].value is None or found[2].best != found[2].worst, "one direction of the worse of both is unknown"
    assert found[11].value is not None


def test_a_seeded_bug_is_caught(kept: tuple[Store, StoreReader, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealed files that forget what came back."""
    store, reader, path = kept
    store.append(SAMPLES[:60])
    assert store.flush(30.0)
    live = judged(reading(reader), promises())
    release_all(store, seal_all(path))
    plain = layout.selected
    monkeypatch.setattr(
        layout,
        "selected",
        lambda names, groups: ["NULL" if name == "backward_lost" else name for name in plain(names, groups)],
    )
    assert judged(reading(reader), promises()) != live
