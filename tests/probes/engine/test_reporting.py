"""Blocks of samples against samples made one by one."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from probes.core.arrays import ABSENT, Packets
from probes.core.clock import ClockQuality
from probes.core.model import PacketState, Quality, Sample, SampleState, StampSource
from probes.engine.intervals import Batch
from probes.engine.oneway import DirectionMemory
from probes.engine.reporting import samples_of
from probes.metrics.summary import Summaries
from tests.fakes.batches import QUALITIES, batch, block
from tests.fakes.samples import listed_packets, plain

ROUNDS = 60


def one_by_one(given: Batch, found: Summaries, clock: ClockQuality) -> list[Sample]:
    """A sample of each stream that had something to send, from the numbers of that stream alone."""
    made = []
    for number, spec in enumerate(given.specs):
        closing, remarks = given.closing, given.closing.remarks
        slot = int(closing.stream[number])
        counts = found.counts(number, int(closing.corrupt[number]))
        counts = replace(counts, not_sent=counts.not_sent + int(closing.skipped[number]))
        unsent = remarks.unsent.get(slot)
        state, reason = SampleState.OK, None
        if unsent and counts.not_sent:
            reason = f"{counts.not_sent} not sent: {unsent}"
        if not counts.received:
            state, reason = SampleState.NO_REPLY, remarks.silent.get(slot) or reason
            if slot in remarks.rejected:
                state, reason = SampleState.REJECTED, remarks.rejected[slot]
        if not counts.sent:
            state, reason = SampleState.INVALID, unsent or "nothing was sent"
        if slot in remarks.impaired:
            state, reason = SampleState.IMPAIRED, "; ".join(remarks.impaired[slot])
        elif not counts.sent and not counts.not_sent:
            continue
        mine = np.flatnonzero(given.packets.stream == number)
        answered = [at for at in mine if given.packets.rtt_ns[at] >= 0]
        left = [at for at in mine if given.packets.state[at] != PacketState.NOT_SENT]
        codes = [int(given.stamps[at]) for at in answered] or [int(not given.transmitted[at]) for at in left] or [0]
        late = [int(found.lateness_p50_ns[number]), int(found.lateness_max_ns[number])]
        p50, highest = (None if value == ABSENT or not counts.sent else value for value in late)
        begin = int(closing.begin_ns[number])
        made.append(
            Sample(
                *(spec.circuit, spec.probe, spec.kind, begin, int(closing.end_ns[number]) - begin, state, counts),
                found.delay(number), found.variation(number), remote=spec.address, reason=reason,
                quality=Quality(
                    (StampSource.KERNEL, StampSource.KERNEL_RECEIVE, StampSource.USER)[max(codes)],
                    p50, highest, int(closing.drops[number]), clock.synchronised, clock.maximum_error_ns,
                ),
                packets=Packets(
                    given.packets.sent_ns[mine] - begin, given.packets.rtt_ns[mine], given.packets.state[mine]
                ),
                histogram=found.histogram(number),
            )
        )  # fmt: skip
    return made


def plainly(sample: Sample) -> tuple[object, ...]:
    """What == can compare."""
    return plain(sample), listed_packets(sample.packets)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_block_is_the_samples_made_one_by_one(seed: int) -> None:
    rng = random.Random(seed)
    given, found = batch(rng)
    clock = rng.choice(QUALITIES)
    expected = [plainly(sample) for sample in one_by_one(given, found, clock)]
    found_block, both_ways = samples_of(given, found, clock, DirectionMemory())
    assert [plainly(sample) for sample in found_block] == expected
    assert not both_ways


def test_the_comparison_sees_one_number_that_differs() -> None:
    given, found = batch(random.Random(1))
    made, _ = samples_of(given, found, QUALITIES[0], DirectionMemory())
    expected = [plainly(sample) for sample in made]
    assert made.packets is not None
    for spoil in (made.values[0], made.packets.rtt_ns, made.packets.sent_ns):
        spoil[-1] += 1
        assert [plainly(sample) for sample in made] != expected
        spoil[-1] -= 1


@pytest.mark.parametrize("seed", range(20))
def test_a_part_of_a_block_is_those_samples(seed: int) -> None:
    rng = random.Random(seed)
    whole = block(rng, 9)
    every = [plainly(sample) for sample in whole]
    assert len(whole) == len(every)
    rows = [rng.randrange(len(whole)) for _ in range(rng.randrange(12))] if every else []
    assert [plainly(sample) for sample in whole.chosen(np.array(rows, np.int64))] == [every[row] for row in rows]
    for part in (slice(0, 0), slice(2), slice(3, None), slice(1, 7, 2), slice(None, None, -1)):
        assert [plainly(sample) for sample in whole[part]] == every[part]
    for number in range(-len(every), len(every)):
        assert plainly(whole[number]) == every[number]
    for number in (len(every), -len(every) - 1):
        with pytest.raises(IndexError):
            whole[number]


def test_a_light_block_has_no_packets_and_all_else() -> None:
    whole = block(random.Random(3), 9)
    light = whole.light()
    assert [plainly(replace(sample, packets=None, histogram=None)) for sample in whole] == list(map(plainly, light))
    assert [sample.packets for sample in light[1:3]] == [None, None]


def test_states_and_columns_are_those_of_the_samples() -> None:
    whole = block(random.Random(5), 9)
    assert whole.states() == [sample.state for sample in whole]
    assert whole.column("sent").tolist() == [sample.counts.sent if sample.counts else None for sample in whole]
