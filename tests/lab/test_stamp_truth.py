"""STAMP in both directions against the emulator's log of the same packets, IPv4 and IPv6 in one run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from probes.core.arrays import ABSENT
from tests.lab.namespaces import Lab
from tests.lab.reported import MS, PACKETS, SECOND, measure, stream
from tests.lab.stamp_lab import PORT, SYNCHRONISED, UNSYNCHRONISED, column, lost, stamp_reflector, ways

pytestmark = [pytest.mark.root, pytest.mark.serial]

FAMILIES = (4, 6)
TOLERANCE_NS = 200_000
LOSSES = ((0.08, 0.15), (0.5, 0.1), (0.0, 0.5))
PERIOD_MS = 8


def streams(lab: Lab, **settings: object) -> list[dict[str, object]]:
    """One to each address of the far host."""
    given = {"port": PORT, "size": 184, "every_ns": 20 * MS, "dscp": 46, "ttl": 61} | settings
    return [stream(lab, "stamp", family, **given) for family in FAMILIES]


def test_delay_of_each_direction_is_the_logs(make_lab: Callable[..., Lab]) -> None:
    """20 ms there, 4 ms back, jitter of 6 and 2 ms: every packet within what the stacks add, in the median 0.1 ms."""
    lab = make_lab(
        forward={"delay_ns": 20 * MS, "jitter_ns": 6 * MS}, backward={"delay_ns": 4 * MS, "jitter_ns": 2 * MS}
    )
    with stamp_reflector(lab):
        run = measure(lab, streams(lab, limit=300), clock=SYNCHRONISED)
    assert not run.refused
    log = lab.log()
    for family in FAMILIES:
        reported, truth = run.streams[f"stamp{family}"], ways(log, family)
        assert reported.count("sent") == len(truth) == 300
        assert reported.count("lost") == 0
        for name, known in (("forward_ns", truth.forward_ns), ("backward_ns", truth.backward_ns)):
            difference = column(reported, name) - known
            assert abs(np.median(difference)) < TOLERANCE_NS // 2, name
            assert (difference > -TOLERANCE_NS).all(), name
        assert abs(np.median(reported.rtt_ns() - truth.rtt_ns)) < TOLERANCE_NS // 2
        for sample in reported.samples:
            forward, backward = sample["forward"], sample["backward"]
            assert forward["withheld"] is backward["withheld"] is None
            assert forward["error_ns"] >= 500_000 + 370_000
            assert 20 * MS <= forward["delay"]["minimum_ns"] <= forward["delay"]["p50_ns"]
            assert 4 * MS <= backward["delay"]["minimum_ns"] <= backward["delay"]["p50_ns"] < 20 * MS
            assert (forward["dscp"], backward["dscp"]) == (46, 0)
            assert (forward["ttl"], backward["ttl"]) == (61, 64)
            assert sample["residence"]["count"] == sample["counts"]["received"]
            assert backward["stamped"] >= sample["counts"]["received"] * 0.8
        for name, known in (("forward", truth.forward_ns), ("backward", truth.backward_ns)):
            sizes = [sample[name]["variation"] for sample in reported.samples]
            assert sum(size["ipdv_pairs"] for size in sizes) == 299
            mean = sum(size["ipdv_abs_sum_ns"] for size in sizes) / 299
            assert abs(mean - np.abs(np.diff(known)).mean()) < TOLERANCE_NS, name


@pytest.mark.parametrize(("forward", "backward"), LOSSES)
@pytest.mark.timeout(120 + PACKETS // 100)
def test_loss_of_each_direction_is_the_logs(
    make_lab: Callable[..., Lab], forward: float, backward: float, figure: Callable[[str], None]
) -> None:
    """Exact over the run, but for losses at its ends that no reply brackets: those are in neither direction.

    LINKWITNESS_LAB_PACKETS=100000 takes seven minutes.
    """
    count = PACKETS // (len(LOSSES) * len(FAMILIES))
    lab = make_lab(
        forward={"loss": forward, "delay_ns": 3 * MS}, backward={"loss": backward, "delay_ns": 3 * MS},
        seed="stamp-loss",
    )  # fmt: skip
    with stamp_reflector(lab):
        specs = streams(lab, every_ns=PERIOD_MS * MS, limit=count)
        seconds = 60 + 2 * count * PERIOD_MS / 1000
        run = measure(lab, specs, seconds=seconds, clock=SYNCHRONISED, span_ns=SECOND)
    log = lab.log()
    for family in FAMILIES:
        reported, truth = run.streams[f"stamp{family}"], ways(log, family)
        assert reported.count("sent") == len(truth) == count
        there, back = int(truth.lost_forward.sum()), int(truth.lost_backward.sum())
        assert there + back > 50
        assert reported.answered().tolist() == (truth.backward_ns >= 0).tolist()
        whole = [sample for sample in reported.samples if sample["forward"]["lost"] is not None]
        assert all(sample in whole for sample in reported.samples[1:-1]), "only what no reply brackets may stay open"
        unknown = sum(s["counts"]["lost"] for s in reported.samples if s not in whole)
        found = [sum(sample[way]["lost"] for sample in whole) for way in ("forward", "backward")]
        assert there - unknown <= found[0] <= there
        assert back - unknown <= found[1] <= back
        assert sum(found) + unknown == there + back
        known = truth.backward_ns >= 0
        beyond = [
            np.median(column(reported, name)[known] - true[known]) / 1000
            for name, true in (("forward_ns", truth.forward_ns), ("backward_ns", truth.backward_ns))
        ]
        figure(
            f"loss {forward} there, {backward} back, stamp{family}: of {count:,} sent lost there {found[0]:,} (log "
            f"{there:,}), back {found[1]:,} (log {back:,}), of unknown direction {unknown}; delay beyond the log's "
            f"{beyond[0]:.1f} us there, {beyond[1]:.1f} us back (p50)"
        )


def test_copies_and_overtaking_are_no_loss(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(
        forward={"duplicate_every": 11, "reorder_every": 13, "reorder_delay_ns": 45 * MS},
        backward={"duplicate": 0.03, "reorder_every": 17, "reorder_delay_ns": 65 * MS},
        seed="stamp-order",
    )
    with stamp_reflector(lab):
        run = measure(lab, streams(lab, limit=300), clock=SYNCHRONISED)
    log = lab.log()
    for family in FAMILIES:
        reported, truth = run.streams[f"stamp{family}"], ways(log, family)
        assert reported.count("lost") == lost(reported, "forward") == lost(reported, "backward") == 0
        assert reported.count("received") == 300
        assert reported.count("duplicate") == truth.duplicates > 20
        assert reported.count("reordered") == truth.reordered > 10


@pytest.mark.parametrize(
    ("offset_ns", "reason"),
    [(SECOND, "clock suspect: a backward delay"), (-SECOND, "clock suspect: a forward delay"),
     (37 * SECOND, "the far clock is about 37 s ahead of this host's: one keeps TAI, the other UTC")],
)  # fmt: skip
def test_a_far_clock_that_is_wrong_costs_no_round_trip(lab: Lab, offset_ns: int, reason: str) -> None:
    lab.link.delay(5)
    with stamp_reflector(lab, offset_ns=offset_ns):
        run = measure(lab, streams(lab, limit=100), clock=SYNCHRONISED)
    log = lab.log()
    for family in FAMILIES:
        reported, truth = run.streams[f"stamp{family}"], ways(log, family)
        assert reported.count("lost") == 0
        assert abs(np.median(reported.rtt_ns() - truth.rtt_ns)) < TOLERANCE_NS // 2
        forward = column(reported, "forward_ns") - offset_ns
        assert abs(np.median(forward[forward != ABSENT] - truth.forward_ns)) < TOLERANCE_NS // 2, "signed, not clipped"
        for sample in reported.samples:
            for way in ("forward", "backward"):
                assert sample[way]["withheld"].startswith(reason)
                assert sample[way]["delay"] is None
                assert sample[way]["lost"] == 0


def test_without_a_synchronised_clock_only_delays_are_missing(lab: Lab) -> None:
    """The far end says that its clock follows nothing; then this host's, as the kernel of any unkept machine says."""
    lab.link.set(forward={"delay_ns": 5 * MS, "jitter_ns": 4 * MS}, backward={"delay_ns": 5 * MS})
    with stamp_reflector(lab, error=UNSYNCHRONISED):
        run = measure(lab, streams(lab, limit=100), clock=SYNCHRONISED)
        own = measure(lab, streams(lab, limit=100), clock=SYNCHRONISED | {"synchronised": False})
    for told, reason in ((run, "the far clock is not synchronised"), (own, "this host's clock is not synchronised")):
        for reported in told.streams.values():
            for sample in reported.samples:
                assert sample["forward"]["withheld"] == sample["backward"]["withheld"] == reason
                assert sample["forward"]["delay"] is sample["forward"]["error_ns"] is None
                assert sample["forward"]["variation"]["ipdv_pairs"] > 0
                assert sample["forward"]["lost"] == 0
                assert sample["delay"]["p50_ns"] > 10 * MS


def test_the_log_of_the_other_direction_is_not_mistaken_for_the_truth(make_lab: Callable[..., Lab]) -> None:
    """The seeded fault of this file: forward and backward exchanged would be noticed."""
    lab = make_lab(forward={"delay_ns": 20 * MS}, backward={"delay_ns": 4 * MS})
    with stamp_reflector(lab):
        run = measure(lab, streams(lab, limit=40), clock=SYNCHRONISED)
    truth = ways(lab.log(), 4)
    assert abs(np.median(column(run.streams["stamp4"], "forward_ns") - truth.backward_ns)) > 10 * MS
