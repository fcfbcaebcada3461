"""One direction of packets, both, and what is said where there is none."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from agent.sla.case import UnusableError
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.from_packets import answers, neighbours
from agent.sla.samples.needs import columns_for
from agent.sla.terms.contract import JitterDefinition, Metric, Statistic, StatisticType
from probes.core.arrays import Packets
from probes.core.model import PacketState
from probes.metrics import histogram
from tests.fakes.columns import columns
from tests.fakes.contracts import MS, objective
from tests.fakes.evaluated import evaluated, row

T = StatisticType


def both(forward: list[list[int]], backward: list[list[int]], lost: int = 0) -> SampleColumns:
    """Ten packets a sample; delays in ms of those that arrived, each way."""
    rows = [row(k, [30 * MS] * 10) for k in range(len(forward))]
    plain = columns(rows)
    more: dict[str, object] = {}
    for way, parts in (("forward", forward), ("backward", backward)):
        values = [np.array(part, np.int64) * MS for part in parts]
        count = np.array([len(part) for part in values], np.int64)
        more |= {
            f"{way}_sent": count + lost, f"{way}_lost": np.full(len(parts), lost, np.int64),
            f"{way}_delay_count": count,
            f"{way}_delay_sum_ns": np.array([part.sum() for part in values], np.int64),
            f"{way}_delay_min_ns": np.array([part.min() for part in values], np.int64),
            f"{way}_delay_max_ns": np.array([part.max() for part in values], np.int64),
            f"{way}_histogram": [histogram.build(part) for part in values],
        }  # fmt: skip
    return replace(plain, **more)


DATA = both([[10, 20], [30, 40]], [[5, 5], [5, 65]])


@pytest.mark.parametrize(
    ("way", "kind", "expected", "why"),
    [
        ("forward", Statistic(T.MEAN), 25, "(10 + 20 + 30 + 40) / 4"),
        ("backward", Statistic(T.MEAN), 20, "(5 + 5 + 5 + 65) / 4"),
        ("worst", Statistic(T.MEAN), 25, "the greater of 25 and 20"),
        ("worst", Statistic(T.MAX_WINDOW, span_ns=10 * 10**9), 35, "forward 15 35, backward 5 35"),
        ("forward", Statistic(T.BIN_MEAN, bin_ns=10 * 10**9), 25, "(15 + 35) / 2"),
    ],
)
def test_delay_of_a_direction(way: str, kind: Statistic, expected: int, why: str) -> None:
    promise = objective(Metric.DELAY, 25 * MS, replace(kind, direction=way))
    assert evaluated(promise, DATA, 2, every_ns=None).findings.estimate.value == expected * MS, why


def test_the_worse_direction_names_both() -> None:
    promise = objective(Metric.DELAY, 25 * MS, Statistic(T.MEAN, direction="worst"))
    found = evaluated(promise, DATA, 2, every_ns=None)
    assert [part["of"] for part in found.evidence["parts"]] == ["backward", "forward"]
    assert found.details.startswith("worst of 2: ")


def test_loss_and_pdv_of_a_direction() -> None:
    lossy = both([[10] * 8] * 2, [[10] * 8] * 2, lost=2)
    loss = objective(Metric.LOSS, "0.1", Statistic(T.RATIO, direction="forward"))
    assert evaluated(loss, lossy, 2, every_ns=None).findings.estimate.value == Fraction(2, 10)
    pdv = Statistic(T.MEAN, direction="backward", definition=JitterDefinition.PDV)
    assert evaluated(objective(Metric.JITTER, MS, pdv), DATA, 2, every_ns=None).findings.estimate.value == 15 * MS


def test_mos_of_a_direction_takes_the_delay_whole() -> None:
    """10 ms forward is d = 10 + 60 = 70 ms, as half of a round trip of 20 ms is."""
    data = both([[10, 10]], [[90, 90]])
    promise = objective(Metric.MOS, "4", Statistic(T.MEAN, direction="forward"))
    found = evaluated(promise, data, 1, every_ns=None)
    assert found.findings.estimate.value == Fraction(4_374_436, 10**6)
    assert found.evidence["owd_estimated"] is False


@pytest.mark.parametrize("step_ms", [90_000, -90_000])
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_packets_on_either_side_of_a_step_of_a_clock_are_no_neighbours(way: str, step_ms: int) -> None:
    """The far clock is set before the fourth of six packets, in the first of two samples that follow each other."""
    true, step = np.array([10, 12, 10, 10, 12, 10]), np.array([0, 0, 0, 1, 1, 1]) * step_ms
    state = np.full(6, PacketState.ANSWERED.value, np.uint8)
    samples = [
        Packets(np.arange(6) * 1000 * MS, np.full(6, 20 * MS), state, (true + offset) * MS, (true - offset) * MS)
        for offset in (step, np.full(6, step_ms))
    ]
    judged = replace(columns([row(0, [30 * MS] * 6), row(1, [30 * MS] * 6)]), way=way)
    found = answers(judged, np.ones(2, np.bool_), lambda _probe, _starts: samples)
    assert neighbours(found).tolist() == [2 * MS, 2 * MS, 2 * MS, 2 * MS, 0, 2 * MS, 2 * MS, 0, 2 * MS, 2 * MS]


def test_what_no_probe_stamps_is_said() -> None:
    plain = columns([row(0, [10 * MS])])
    promise = objective(Metric.DELAY, MS, Statistic(T.MEAN, direction="forward"))
    with pytest.raises(UnusableError, match="does not measure forward by itself"):
        evaluated(promise, plain, 1)
    ipdv = objective(Metric.JITTER, MS, Statistic(T.MEAN, direction="forward"))
    with pytest.raises(UnusableError, match="keeps no ipdv in this direction"):
        evaluated(ipdv, replace(DATA, forward_ipdv_pairs=None), 2)


@pytest.mark.parametrize(
    ("metric", "how", "words"),
    [
        (Metric.LOSS, Statistic(T.PERCENTILE, p=Fraction(1, 2)), "loss has no statistic percentile"),
        (Metric.RTT, Statistic(T.MINIMUM), "rtt has no statistic minimum"),
        (Metric.RTT, Statistic(T.CAPACITY, bin_ns=10**10), "rtt has no capacity"),
        (Metric.RTT, Statistic(T.MEAN, lost="infinite"), "a mean of infinite delays"),
        (Metric.RTT, Statistic(T.BIN_MEAN, bin_ns=25 * 10**9), "bins of 25s are not a multiple"),
        (Metric.RTT, Statistic(T.MAX_WINDOW, span_ns=25 * 10**9), "windows of 25s are not a multiple"),
        (Metric.RTT, Statistic(T.RATIO_WITHIN), "needs a limit"),
        (Metric.JITTER, Statistic(T.PERCENTILE, p=Fraction(1, 2)), "needs the packets themselves"),
        (Metric.JITTER, Statistic(T.BIN_MEAN, definition=JitterDefinition.PDV), "PDV is about the fastest packet"),
        (Metric.JITTER, Statistic(T.MEAN, definition=JitterDefinition.IFDV), "needs the packets themselves"),
        (Metric.AVAILABILITY, Statistic(T.AVAILABILITY_SECONDS), "samples of 1 s or the packets themselves"),
        (Metric.AVAILABILITY, Statistic(T.AVAILABILITY_BLOCKS, block_ns=25 * 10**9), "not a multiple"),
        (
            Metric.AVAILABILITY, Statistic(T.AVAILABILITY_BLOCKS, block_ns=20 * 10**9, least_packets=1000),
            "holds 20 packets, the contract asks for 1000",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_said_in_plain_words(metric: Metric, how: Statistic, words: str) -> None:
    rows = [row(k, [10 * MS] * 10) for k in range(4)]
    with pytest.raises(UnusableError, match=words):
        evaluated(objective(metric, "1", how), rows, 4)


def test_columns_asked_for_are_columns_there_are() -> None:
    known = set(SampleColumns.__dataclass_fields__)
    for metric in (
        Metric.RTT,
        Metric.DELAY,
        Metric.JITTER,
        Metric.LOSS,
        Metric.MOS,
        Metric.THROUGHPUT,
        Metric.AVAILABILITY,
    ):
        for kind in T:
            for definition in JitterDefinition:
                for lost in ("excluded", "infinite"):
                    how = Statistic(kind, definition=definition, lost=lost)
                    assert set(columns_for(objective(metric, "1", how))) <= known


def test_only_what_is_asked_for_is_needed() -> None:
    """Every statistic that samples give works on just the columns it asks for."""
    full = columns([row(k, [10 * MS, 12 * MS], 1, rfc3550_ns=5) for k in range(6)])
    always = ("circuit", "probe", "kind", "start_ns", "span_ns", "state")
    for metric in (Metric.RTT, Metric.JITTER, Metric.LOSS, Metric.MOS, Metric.AVAILABILITY):
        for kind in T:
            for definition in JitterDefinition:
                for lost in ("excluded", "infinite"):
                    for of in ("packets", "bins"):
                        how = Statistic(
                            kind, p=Fraction(1, 2), limit=Fraction(1), bin_ns=20 * 10**9, run_ns=20 * 10**9,
                            span_ns=20 * 10**9, block_ns=20 * 10**9, definition=definition, lost=lost, of=of,
                        )  # fmt: skip
                        promise = objective(metric, "1", how)
                        wanted = {*always, *columns_for(promise)}
                        kept = {name: getattr(full, name) for name in wanted}
                        try:
                            evaluated(promise, SampleColumns(**kept), 6)  # type: ignore[arg-type]
                        except UnusableError:
                            continue
