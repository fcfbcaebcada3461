"""The closing summary: exact over all samples, worded and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from agent.cli.probe_summary import document, lines, percent, totals
from agent.cli.request import Request
from probes.core.arrays import ABSENT, Packets
from probes.core.catalog import Parameter, StreamKind
from probes.core.model import PacketState, Quality, Sample, SampleState, StampSource
from probes.metrics.summary import Carry, IntervalPackets, summarise

MS = 1_000_000
START_NS = 1_800_000_000 * 10**9
A, LOST, LATE, NOT_SENT, REJECTED = PacketState

KIND = StreamKind(
    "udp", "UDP echo",
    (
        Parameter("every", "duration", 1000 * MS, ""), Parameter("size", "size", 56, ""),
        Parameter("ttl", "integer", None, ""),
    ),
    (), lambda: None,  # type: ignore[arg-type,return-value]
)  # fmt: skip
REQUEST = Request(KIND, "far.example", "192.0.2.7", {"every": 1000 * MS, "size": 56, "ttl": None}, count=8)


def samples(*parts: list[tuple[PacketState, int | None]]) -> list[Sample]:
    """Intervals of packets a second apart, round trips in ms, as the engine reports them."""
    found, carry, first = [], Carry.fresh(1), 0
    for fates in parts:
        n = len(fates)
        sent_ns = np.arange(n) * 1000 * MS
        rtt_ns = np.array([ABSENT if ms is None else ms * MS for _, ms in fates])
        state = np.array([state for state, _ in fates], np.uint8)
        start_ns, none = START_NS + first * 1000 * MS, np.zeros(n, np.int64)
        packets = IntervalPackets(none, np.arange(first, first + n), start_ns + sent_ns, rtt_ns, state, none, none)
        summary, carry = summarise(packets, 1, carry)
        found.append(
            Sample(
                "c", "udp", "udp", start_ns, n * 1000 * MS, SampleState.OK, summary.counts(0), summary.delay(0),
                summary.variation(0), quality=Quality(StampSource.KERNEL, lateness_max_ns=40_000),
                packets=Packets(sent_ns, rtt_ns, state),
            )
        )  # fmt: skip
        first += n
    return found


def test_summary_by_hand() -> None:
    """Eight packets in two samples: 10 14 lost 12 | late not-sent 20 rejected.

    sent 7, received 4, lost 3 (42.86 %), late 1. rtt sum 56: mean 14; sorted 10 12 14 20: p50 12, p95 and p99 20.
    Neighbours both received: 10-14 only, |IPDV| 4. RFC 3550 over arrivals 10 14 12 150 20: 16.527 (see the metrics'
    tests). PDV p95 20 - 10.
    """
    first, second = samples(
        [(A, 10), (A, 14), (LOST, None), (A, 12)], [(LATE, 150), (NOT_SENT, None), (A, 20), (REJECTED, None)]
    )
    assert first.counts is not None
    assert second.counts is not None
    first = replace(first, counts=replace(first.counts, duplicate=1, corrupt=1))
    second = replace(
        second,
        counts=replace(second.counts, duplicate=2),
        quality=Quality(StampSource.KERNEL_RECEIVE, lateness_max_ns=90_000, local_drops=3),
        reason="host unreachable",
    )
    total = totals([second, first])
    assert lines(REQUEST, total, 7_016_400_000) == [
        "--- far.example udp: 7 sent in 7.016s",
        "received 4, lost 3 (42.86 %) of which late 1, duplicates 3, reordered 0 (RFC 4737), corrupt 1, "
        "not sent 1: no loss, this host did not send them",
        "rtt min/mean/p50/p95/p99/max/stddev = 10.000/14.000/12.000/20.000/20.000/20.000/3.742 ms",
        "jitter mean |IPDV| 4.000 ms (RFC 3393, 1 pair), RFC 3550 16.527 ms, PDV p95 10.000 ms (RFC 5481)",
        "stamps: kernel-receive; sent at most 0.090 ms late",
        "this host dropped 3 replies for want of buffer",
        "note: host unreachable",
    ]
    said = json.loads(json.dumps(document(REQUEST, total, 7_016_400_000, interrupted=False)))
    assert said["schema"] == "linkwitness.probe/1"
    assert said["parameters"] == {"every_ns": 1000 * MS, "size": 56, "ttl": None}
    assert said["counts"]["lost"] == 3
    assert said["loss_ratio"] == 3 / 7
    assert said["rtt"]["mean_ns"] == 14 * MS
    assert said["jitter"]["ipdv"]["pairs"] == 1
    assert said["start"] == "2027-01-15T08:00:00.000Z"
    assert said["replied"] is True


def test_nothing_at_all_is_null_not_zero() -> None:
    total = totals([])
    assert lines(REQUEST, total, 1_000 * MS) == [
        "--- far.example udp: 0 sent in 1s",
        "received 0, lost 0 (–), duplicates 0, reordered 0 (RFC 4737)",
    ]
    said = document(REQUEST, total, 0, interrupted=True)
    assert (said["rtt"], said["jitter"], said["loss_ratio"], said["start"]) == (None, None, None, None)
    assert (said["replied"], said["interrupted"]) == (False, True)


def test_one_reply_has_no_jitter() -> None:
    total = totals(samples([(A, 10)]))
    assert "jitter mean |IPDV| – ms (RFC 3393, 0 pairs), RFC 3550 – ms" in lines(REQUEST, total, MS)[3]
    jitter = document(REQUEST, total, MS, interrupted=False)["jitter"]
    assert isinstance(jitter, dict)
    assert jitter["ipdv"]["mean_ns"] is None
    assert jitter["rfc3550"]["value_ns"] is None


def test_a_packet_whose_fate_is_open_makes_no_pair() -> None:
    """Stopped with the second of three packets in flight: 10 and 12 ms are no neighbours; no p95 of pairs."""
    (cut,) = samples([(A, 10), (LOST, None), (A, 12)])
    assert cut.packets is not None
    kept = [0, 2]
    packets = Packets(cut.packets.sent_ns[kept], cut.packets.rtt_ns[kept], cut.packets.state[kept])
    variation = totals([replace(cut, packets=packets)]).variation
    assert variation is not None
    assert (variation.ipdv_pairs, variation.ipdv_abs_sum_ns, variation.ipdv_p95_ns) == (0, 0, None)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 10, "0 %"), (1, 3, "33.33 %"), (10, 10, "100 %"), (1, 10**6, "< 0.01 %"), (10**6 - 1, 10**6, "> 99.99 %"),
     (0, 0, "–"), (1, 10, "10 %")],
)  # fmt: skip
def test_percent_is_never_rounded_to_what_it_is_not(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text
