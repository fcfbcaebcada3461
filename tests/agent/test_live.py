"""What is known right now, from blocks and from single samples."""

from __future__ import annotations

import random

from agent.live import FRESH, Live
from tests.fakes.batches import block
from tests.fakes.samples import ping, plain


def test_newest_and_totals_of_blocks_and_samples() -> None:
    live, given = Live(), block(random.Random(1), 12)
    single = ping(3)
    live.take(given)
    live.take([single])
    for sample in given.light():
        found = live.newest((sample.circuit, sample.probe))
        assert found is not None
        assert plain(found) == plain(sample)
        assert found.packets is None
    assert live.newest((single.circuit, single.probe)) is not None
    assert live.newest(("nobody", "icmp")) is None
    sent = sum(sample.counts.sent for sample in (*given, single) if sample.counts)
    assert (live.totals().samples, live.totals().packets) == (len(given) + 1, sent)


def test_fresh_samples_are_told_once_in_their_order_and_the_newest_stay() -> None:
    live, rng = Live(), random.Random(2)
    blocks = [block(rng, 40) for _ in range(3)]
    for given in blocks:
        live.take(given)
    expected = [plain(sample) for given in blocks for sample in given.light()]
    assert [plain(sample) for sample in live.fresh()] == expected
    assert not list(live.fresh())
    for number in range(FRESH + 50):
        live.take([ping(number)])
    starts = [sample.start_ns for sample in live.fresh()]
    assert starts == [ping(number).start_ns for number in range(50, FRESH + 50)]


def test_a_circuit_that_is_gone_is_forgotten() -> None:
    live, given = Live(), block(random.Random(1), 12)
    live.take(given)
    gone = given.series[0][0]
    live.forget([gone])
    assert live.newest(given.series[0][:2]) is None
    assert live.newest(given.series[1][:2]) is not None


def test_what_is_asked_for_again_is_made_once() -> None:
    live, given = Live(), block(random.Random(1), 12)
    live.take(given)
    key = given.series[2][:2]
    assert live.newest(key) is live.newest(key)
    live.take(given[2:3])
    assert plain(live.newest(key) or ping(0)) == plain(given.light()[2])
