"""A sample as a JSON document. Missing is null; times are UTC; the schema is named in the document."""

from __future__ import annotations

from datetime import UTC, datetime

from probes.core.model import Delay, Hop, OneWay, Path, Quality, Rate, Residence, Sample, Variation

SAMPLE_SCHEMA = "linkwitness.sample/1"

Document = dict[str, object]


def sample_document(sample: Sample) -> Document:
    """Everything a sample says except its packets and histograms. Delays in integer ns, `mean` as sum and count."""
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
        "forward": _one_way(sample.forward),
        "backward": _one_way(sample.backward),
        "residence": _residence(sample.residence),
        "path": None if sample.path is None else path_document(sample.path),
    }  # fmt: skip


def path_document(path: Path) -> Document:
    """A path as JSON values; what a hop did not tell is null."""
    return {
        "protocol": path.protocol,
        "reached": path.reached,
        "mtu": path.mtu,
        "hops": [_hop(hop) for hop in path.hops],
    }


def path_words(path: Path) -> str:
    """`12 hops, 2 of them silent, MTU 1500`; says so where the last hop is not the target."""
    parts = [f"{len(path.hops)} hop{'' if len(path.hops) == 1 else 's'}"]
    silent = sum(hop.address is None for hop in path.hops)
    if silent:
        parts.append(f"{silent} of them silent")
    if path.mtu is not None:
        parts.append(f"MTU {path.mtu}")
    return ", ".join(parts) + ("" if path.reached else "; target not reached")


def one_way_words(sample: Sample) -> str:
    """Mean delay each way and the greater error of both; why there is none; empty for what measures no direction."""
    means = [
        f"{arrow}{one.delay.mean_ns / 1e6:.3f}"
        for arrow, one in (("↑", sample.forward), ("↓", sample.backward))
        if one is not None and one.delay is not None and one.delay.count
    ]
    ways = [one for one in (sample.forward, sample.backward) if one is not None]
    if not means:
        return next((f"one way withheld: {one.withheld}" for one in ways if one.withheld), "")
    errors = [one.error_ns for one in ways if one.error_ns is not None]
    return f"{' '.join(means)}{f' ±{max(errors) / 1e6:.3f}' if errors else ''} ms"


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


def _one_way(one: OneWay | None) -> Document | None:
    if one is None:
        return None
    return {
        "sent": one.sent, "lost": one.lost, "delay": _delay(one.delay), "variation": _variation(one.variation),
        "error_ns": one.error_ns, "withheld": one.withheld, "dscp": one.dscp, "ttl": one.ttl,
        "stamped": one.stamped,
    }  # fmt: skip


def _residence(one: Residence | None) -> Document | None:
    if one is None:
        return None
    return {"count": one.count, "sum_ns": one.sum_ns, "min_ns": one.minimum_ns, "max_ns": one.maximum_ns}


def _hop(hop: Hop) -> Document:
    return {
        "ttl": hop.ttl, "address": hop.address, "sent": hop.sent, "received": hop.received,
        "min_ns": hop.minimum_ns, "sum_ns": hop.sum_ns, "max_ns": hop.maximum_ns, "dscp": hop.dscp, "mtu": hop.mtu,
        "error": hop.error,
        "labels": [
            {"value": item.value, "traffic_class": item.traffic_class, "bottom": item.bottom, "ttl": item.ttl}
            for item in hop.labels
        ],
    }  # fmt: skip


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
