"""What an ad-hoc measurement amounts to: one summary over all its samples, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from agent.cli import directions
from agent.cli.directions import DirectionTotals
from agent.cli.request import Request
from agent.report.samples import utc
from probes.core.arrays import ABSENT
from probes.core.catalog import StreamKind
from probes.core.clock import MILLISECOND
from probes.core.model import Counts, Delay, Sample, StampSource, Variation
from probes.core.units import format_duration
from probes.metrics.summary import Carry, IntervalPackets, summarise

SCHEMA: Final = "linkwitness.probe/1"
MEAN_IPDV: Final = "mean |IPDV| of neighbours both received, RFC 3393, RFC 5481 section 4.1"
PDV: Final = "delay less the smallest, RFC 5481 section 4.2"
RFC3550: Final = "estimator in order of arrival, RFC 3550 section 6.4.1"
RTT: Final = "round trip of packets received in time, RFC 2681; percentiles by nearest rank, RFC 2330 section 11.3"

_WORST_STAMPS: Final = (StampSource.USER, StampSource.KERNEL_RECEIVE, StampSource.KERNEL)


@dataclass(frozen=True, slots=True)
class Totals:
    """All samples of one measurement as if they were one interval."""

    counts: Counts
    delay: Delay | None
    variation: Variation | None
    stamps: StampSource | None
    lateness_max_ns: int | None
    local_drops: int
    start_ns: int | None
    reasons: tuple[str, ...]
    """why samples were not ok, each once"""
    directions: DirectionTotals = field(default_factory=DirectionTotals)


def totals(samples: Sequence[Sample]) -> Totals:
    """Exact over the whole measurement: delay from all packets, counts and pairs as the samples add up."""
    ordered = sorted(samples, key=lambda sample: sample.start_ns)
    whole, _ = summarise(_packets(ordered), 1, Carry.fresh(1))
    known = [sample.counts for sample in ordered if sample.counts is not None]
    heard = {sample.quality.stamps for sample in ordered if sample.delay is not None}
    lateness = [s.quality.lateness_max_ns for s in ordered if s.quality.lateness_max_ns is not None]
    return Totals(
        counts=Counts(*(sum(getattr(counts, item.name) for counts in known) for item in fields(Counts))),
        delay=whole.delay(0),
        variation=directions.joined_variation(
            [sample.variation for sample in ordered if sample.variation is not None], whole.variation(0)
        ),
        stamps=next((stamps for stamps in _WORST_STAMPS if stamps in heard), None),
        lateness_max_ns=max(lateness, default=None),
        local_drops=sum(sample.quality.local_drops for sample in ordered),
        start_ns=ordered[0].start_ns if ordered else None,
        reasons=tuple(dict.fromkeys(sample.reason for sample in ordered if sample.reason)),
        directions=directions.totals(ordered),
    )


def _packets(ordered: Sequence[Sample]) -> IntervalPackets:
    parts = [(sample.start_ns, sample.packets) for sample in ordered if sample.packets is not None]
    none = np.zeros(0, np.int64)
    sent_ns = np.concatenate([none, *(packets.sent_ns + start_ns for start_ns, packets in parts)])
    n = len(sent_ns)
    return IntervalPackets(
        stream=np.zeros(n, np.int64),
        sequence=np.arange(n, dtype=np.int64),
        sent_ns=sent_ns,
        rtt_ns=np.concatenate([none, *(packets.rtt_ns for _, packets in parts)]),
        state=np.concatenate([np.zeros(0, np.uint8), *(packets.state for _, packets in parts)]),
        lateness_ns=np.full(n, ABSENT, np.int64),
        duplicates=np.zeros(n, np.int64),
    )


def milliseconds(ns: float | None) -> str:
    return "–" if ns is None else f"{ns / 1e6:.3f}"


def percent(part: int, whole: int) -> str:
    """Loss in per cent, never rounded to a 0 or a 100 it is not."""
    if not whole:
        return "–"
    text = f"{100 * part / whole:.2f}".rstrip("0").rstrip(".")
    if part and text == "0":
        return "< 0.01 %"
    return "> 99.99 %" if part != whole and text == "100" else f"{text} %"


def lines(request: Request, total: Totals, duration_ns: int) -> list[str]:
    """The closing lines for people."""
    counts, delay = total.counts, total.delay
    stream = isinstance(request.kind, StreamKind)
    said = [
        f"--- {request.target} {request.kind.name}: {counts.sent} sent in {_rounded(duration_ns)}",
        f"received {counts.received}, lost {counts.lost} ({percent(counts.lost, counts.sent)})"
        + (f" of which late {counts.late}" if counts.late else ""),
    ]
    beside = [f"duplicates {counts.duplicate}", f"reordered {counts.reordered} (RFC 4737)"] if stream else []
    beside += [f"corrupt {counts.corrupt}"] if counts.corrupt else []
    beside += [f"not sent {counts.not_sent}: no loss, this host did not send them"] if counts.not_sent else []
    said[1] = ", ".join([said[1], *beside])
    if delay is not None:
        values = (
            delay.minimum_ns, delay.mean_ns, delay.p50_ns, delay.p95_ns, delay.p99_ns, delay.maximum_ns,
            delay.stddev_ns,
        )  # fmt: skip
        said.append(f"rtt min/mean/p50/p95/p99/max/stddev = {'/'.join(milliseconds(ns) for ns in values)} ms")
    if stream and total.variation is not None:
        said.append(_jitter_line(total.variation))
    said += directions.lines(total.directions, milliseconds)
    if total.stamps is not None:
        late = "" if total.lateness_max_ns is None else f"; sent at most {milliseconds(total.lateness_max_ns)} ms late"
        said.append(f"stamps: {total.stamps}{late}")
    if total.local_drops:
        said.append(f"this host dropped {total.local_drops} replies for want of buffer")
    said += [f"note: {reason}" for reason in total.reasons]
    return said


def _rounded(ns: int) -> str:
    return format_duration(ns // MILLISECOND * MILLISECOND)


def _jitter_line(variation: Variation) -> str:
    mean = variation.ipdv_mean_ns if variation.ipdv_pairs else None
    pairs = "pair" if variation.ipdv_pairs == 1 else "pairs"
    return (
        f"jitter mean |IPDV| {milliseconds(mean)} ms (RFC 3393, {variation.ipdv_pairs} {pairs}), "
        f"RFC 3550 {milliseconds(variation.rfc3550_ns)} ms, PDV p95 {milliseconds(variation.pdv_p95_ns)} ms (RFC 5481)"
    )


def document(request: Request, total: Totals, duration_ns: int, *, interrupted: bool) -> dict[str, object]:
    """The whole measurement as one JSON object; missing is null, delays are integer ns unless they are means."""
    counts = total.counts
    return {
        "schema": SCHEMA,
        "kind": request.kind.name,
        "target": request.target,
        "address": request.address,
        "source": request.source,
        "interface": request.interface,
        "dscp": request.dscp,
        "parameters": _parameters(request),
        "count": request.count,
        "start": None if total.start_ns is None else utc(total.start_ns),
        "start_ns": total.start_ns,
        "duration_ns": duration_ns,
        "interrupted": interrupted,
        "replied": counts.received > 0,
        "counts": {
            "sent": counts.sent, "received": counts.received, "lost": counts.lost, "late": counts.late,
            "duplicate": counts.duplicate, "reordered": counts.reordered, "corrupt": counts.corrupt,
            "not_sent": counts.not_sent,
        },
        "loss_ratio": counts.lost / counts.sent if counts.sent else None,
        "rtt": None if total.delay is None else _rtt(total.delay),
        "jitter": None if total.variation is None else _jitter(total.variation),
        **directions.documents(total.directions, _rtt, _jitter),
        "quality": {
            "clock_synchronised": total.directions.clock_synchronised,
            "clock_error_ns": total.directions.clock_error_ns,
            "stamps": None if total.stamps is None else str(total.stamps),
            "lateness_max_ns": total.lateness_max_ns,
            "local_drops": total.local_drops,
        },
        "notes": list(total.reasons),
    }  # fmt: skip


def _parameters(request: Request) -> dict[str, object]:
    """By name with the unit in it: every_ns, limit_bps, size."""
    units = {"duration": "_ns", "rate": "_bps"}
    return {
        parameter.name + units.get(parameter.type, ""): value
        if parameter.type != "secret" or value is None
        else str(value)
        for parameter in request.kind.parameters
        for value in (request.parameters.get(parameter.name),)
    }


def _rtt(delay: Delay) -> dict[str, object]:
    return {
        "definition": RTT, "count": delay.count, "sum_ns": delay.sum_ns, "mean_ns": delay.mean_ns,
        "min_ns": delay.minimum_ns, "p50_ns": delay.p50_ns, "p95_ns": delay.p95_ns, "p99_ns": delay.p99_ns,
        "max_ns": delay.maximum_ns, "stddev_ns": delay.stddev_ns,
    }  # fmt: skip


def _jitter(variation: Variation) -> dict[str, object]:
    pairs = variation.ipdv_pairs
    return {
        "ipdv": {
            "definition": MEAN_IPDV, "pairs": pairs, "mean_ns": variation.ipdv_mean_ns if pairs else None,
            "p95_ns": variation.ipdv_p95_ns,
        },
        "pdv": {"definition": PDV, "p95_ns": variation.pdv_p95_ns},
        "rfc3550": {"definition": RFC3550, "value_ns": variation.rfc3550_ns},
    }  # fmt: skip
