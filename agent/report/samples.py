"""A sample as a JSON document. Missing is null; times are UTC; the schema is named in the document."""

from __future__ import annotations

from datetime import UTC, datetime

from probes.core.model import Delay, Quality, Rate, Sample, Variation

SAMPLE_SCHEMA = "linkwitness.sample/1"

Document = dict[str, object]


def sample_document(sample: Sample) -> Document:
    """Everything a sample says except its packets and histogram. Delays in integer ns, `mean` as sum and count."""
    return {
        "schema": SAMPLE_SCHEMA,
        "circuit": sample.circuit,
        "probe": sample.probe,
        "kind": sample.kind,
        "start": utc(sample.start_ns),
        "start_ns": sample.start_ns,
        "span_ns": sample.span_ns,
        "state": str(sample.state),
        "reason": sample.reason,
        "remote": sample.remote,
        "counts": None if sample.counts is None else {
            name: getattr(sample.counts, name)
            for name in ("sent", "received", "lost", "late", "duplicate", "reordered", "corrupt", "not_sent")
        },
        "rtt": _delay(sample.delay),
        "variation": _variation(sample.variation),
        "rate": _rate(sample.rate),
        "phases_ns": dict(sample.phases),
        "quality": _quality(sample.quality),
    }  # fmt: skip


def utc(at_ns: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    whole, rest = divmod(at_ns, 10**9)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 10**6:03d}Z"


def _delay(delay: Delay | None) -> Document | None:
    if delay is None:
        return None
    return {
        "count": delay.count, "sum_ns": delay.sum_ns, "min_ns": delay.minimum_ns, "max_ns": delay.maximum_ns,
        "p50_ns": delay.p50_ns, "p95_ns": delay.p95_ns, "p99_ns": delay.p99_ns, "stddev_ns": delay.stddev_ns,
    }  # fmt: skip


def _variation(variation: Variation | None) -> Document | None:
    if variation is None:
        return None
    return {
        "ipdv_pairs": variation.ipdv_pairs,
        "ipdv_abs_sum_ns": variation.ipdv_abs_sum_ns,
        "ipdv_p95_ns": variation.ipdv_p95_ns,
        "pdv_p95_ns": variation.pdv_p95_ns,
        "rfc3550_ns": variation.rfc3550_ns,
    }


def _rate(rate: Rate | None) -> Document | None:
    if rate is None:
        return None
    return {
        "forward_bps": rate.forward_bps, "backward_bps": rate.backward_bps,
        "forward_bytes": rate.forward_bytes, "backward_bytes": rate.backward_bytes,
        "forward_ns": rate.forward_ns, "backward_ns": rate.backward_ns,
        "forward_retransmits": rate.forward_retransmits, "backward_retransmits": rate.backward_retransmits,
        "streams": rate.streams, "layer": rate.layer,
    }  # fmt: skip


def _quality(quality: Quality) -> Document:
    return {
        "stamps": str(quality.stamps), "lateness_p50_ns": quality.lateness_p50_ns,
        "lateness_max_ns": quality.lateness_max_ns, "local_drops": quality.local_drops,
        "clock_synchronised": quality.clock_synchronised, "clock_error_ns": quality.clock_error_ns,
        "load": quality.load,
    }  # fmt: skip
