"""Both directions of an ad-hoc measurement whose far end has a clock: summed up, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from probes.core.arrays import ABSENT, Int64
from probes.core.model import Delay, OneWay, PacketState, Residence, Sample, Variation
from probes.metrics.summary import Carry, IntervalPackets, summarise

DELAY: Final = {
    "forward": "T2 - T1, signed, of packets answered in time, RFC 7679",
    "backward": "T4 - T3, signed, of packets answered in time, RFC 7679",
}
RESIDENCE: Final = "T3 - T2: time inside the far end, no part of any delay"
LOSS: Final = {
    "forward": "gaps in the far end's numbering of its replies, RFC 7680, RFC 8762 section 4.3",
    "backward": "packets lost that were not lost forward",
}


@dataclass(frozen=True, slots=True)
class DirectionTotals:
    """All samples as one; None where no sample has a far end with a clock."""

    forward: OneWay | None = None
    backward: OneWay | None = None
    residence: Residence | None = None
    clock_synchronised: bool | None = None
    clock_error_ns: int | None = None


def totals(samples: Sequence[Sample]) -> DirectionTotals:
    """Delay from the packets of samples in which it is not withheld; all else as the samples add up."""
    told = [sample for sample in samples if sample.forward is not None and sample.backward is not None]
    if not told:
        return DirectionTotals()
    forward, backward = (_one_way(told, name) for name in ("forward", "backward"))
    errors = [sample.quality.clock_error_ns for sample in told]
    return DirectionTotals(
        forward,
        backward,
        _residence([sample.residence for sample in told if sample.residence is not None]),
        all(sample.quality.clock_synchronised for sample in told),
        max((error for error in errors if error is not None), default=None),
    )


def _one_way(samples: Sequence[Sample], name: str) -> OneWay:
    ways: list[OneWay] = [getattr(sample, name) for sample in samples]
    errors = [way.error_ns for way in ways if way.error_ns is not None]
    stamped = [way.stamped for way in ways if way.stamped is not None]
    reasons = dict.fromkeys(way.withheld for way in ways if way.withheld)
    delay, whole = _summary(samples, name, believed=True)[0], _summary(samples, name, believed=False)[1]
    return OneWay(
        sent=_sum([way.sent for way in ways]),
        lost=_sum([way.lost for way in ways]),
        delay=delay,
        variation=joined_variation([way.variation for way in ways if way.variation is not None], whole),
        error_ns=max(errors, default=None),
        withheld="; ".join(reasons) or None,
        dscp=_newest([way.dscp for way in ways]),
        ttl=_newest([way.ttl for way in ways]),
        stamped=sum(stamped) if stamped else None,
    )


def _summary(samples: Sequence[Sample], name: str, *, believed: bool) -> tuple[Delay | None, Variation | None]:
    """Over the packets of all samples, or of those whose delay is not withheld."""
    none = np.zeros(0, np.int64)
    delays: list[Int64] = [none]
    sent: list[Int64] = [none]
    for sample in samples:
        packets, way = sample.packets, getattr(sample, name)
        column = None if packets is None else getattr(packets, f"{name}_ns")
        if packets is None or column is None or (believed and way.withheld):
            continue
        delays.append(np.where(packets.state == PacketState.ANSWERED, column, ABSENT))
        sent.append(packets.sent_ns + sample.start_ns)
    delay_ns = np.concatenate(delays)
    n = len(delay_ns)
    state = np.where(delay_ns == ABSENT, PacketState.LOST, PacketState.ANSWERED).astype(np.uint8)
    zero, absent = np.zeros(n, np.int64), np.full(n, ABSENT, np.int64)
    packed = IntervalPackets(zero, np.arange(n), np.concatenate(sent), delay_ns, state, absent, zero)
    found, _ = summarise(packed, 1, Carry.fresh(1))
    return found.delay(0), found.variation(0)


def joined_variation(known: Sequence[Variation], whole: Variation | None) -> Variation | None:
    """Pairs as the engine saw them: one with a packet whose fate was open at the end is none."""
    if whole is None or not known:
        return None
    pairs = sum(variation.ipdv_pairs for variation in known)
    return replace(
        whole,
        ipdv_pairs=pairs,
        ipdv_abs_sum_ns=sum(variation.ipdv_abs_sum_ns for variation in known),
        ipdv_p95_ns=whole.ipdv_p95_ns if whole.ipdv_pairs == pairs else None,
        rfc3550_ns=known[-1].rfc3550_ns,
    )


def _residence(known: Sequence[Residence]) -> Residence | None:
    if not known:
        return None
    return Residence(
        sum(one.count for one in known),
        sum(one.sum_ns for one in known),
        min(one.minimum_ns for one in known),
        max(one.maximum_ns for one in known),
    )


def _sum(values: Sequence[int | None]) -> int | None:
    """None where a part is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _newest(values: Sequence[int | None]) -> int | None:
    return next((value for value in reversed(values) if value is not None), None)


def lines(total: DirectionTotals, milliseconds: Callable[[float | None], str]) -> list[str]:
    """For people: a line or two per direction, residence, and the clocks."""
    if total.forward is None or total.backward is None:
        return []
    said = [*_way_lines("forward", total.forward, milliseconds), *_way_lines("backward", total.backward, milliseconds)]
    held = total.residence
    if held is not None:
        values = "/".join(milliseconds(ns) for ns in (held.minimum_ns, held.sum_ns / held.count, held.maximum_ns))
        said.append(f"residence min/mean/max = {values} ms inside the far end, no part of any delay")
    if total.backward.stamped is not None and held is not None:
        said.append(
            f"follow-up: {total.backward.stamped} of {held.count} replies with the far kernel's time of sending"
        )
    return [*said, _clock_line(total, milliseconds)]


def _way_lines(name: str, way: OneWay, milliseconds: Callable[[float | None], str]) -> list[str]:
    parts = [
        "loss not known: the far end does not count its replies, or none came after the losses"
        if way.lost is None or way.sent is None
        else f"lost {way.lost} of {way.sent}"
    ]
    if way.variation is not None:
        mean = way.variation.ipdv_mean_ns if way.variation.ipdv_pairs else None
        parts.append(f"jitter mean |IPDV| {milliseconds(mean)} ms, PDV p95 {milliseconds(way.variation.pdv_p95_ns)} ms")
    parts += [f"arrived with DSCP {way.dscp}"] if way.dscp is not None else []
    parts += [f"TTL {way.ttl}"] if way.ttl is not None else []
    said = [f"{name}: {', '.join(parts)}"]
    if way.delay is not None:
        delay = way.delay
        values = (delay.minimum_ns, delay.mean_ns, delay.p50_ns, delay.p95_ns, delay.p99_ns, delay.maximum_ns)
        bound = "" if way.error_ns is None else f", at most {milliseconds(way.error_ns)} ms wrong"
        said.append(f"{name} min/mean/p50/p95/p99/max = {'/'.join(milliseconds(ns) for ns in values)} ms{bound}")
    if way.withheld is not None:
        said.append(f"{name} delay withheld: {way.withheld}")
    return said


def _clock_line(total: DirectionTotals, milliseconds: Callable[[float | None], str]) -> str:
    if not total.clock_synchronised:
        return "clock: this host's is not synchronised; round trips, loss and jitter do not need it"
    return f"clock: synchronised, at most {milliseconds(total.clock_error_ns)} ms wrong"


def documents(
    total: DirectionTotals, delay: Callable[[Delay], dict[str, object]],
    jitter: Callable[[Variation], dict[str, object]],
) -> dict[str, object]:  # fmt: skip
    """`forward`, `backward` and `residence` for the JSON object; null where the kind has none."""
    held = total.residence
    return {
        "forward": _way_document("forward", total.forward, delay, jitter),
        "backward": _way_document("backward", total.backward, delay, jitter),
        "residence": None
        if held is None
        else {
            "definition": RESIDENCE, "count": held.count, "sum_ns": held.sum_ns, "min_ns": held.minimum_ns,
            "max_ns": held.maximum_ns,
        },
    }  # fmt: skip


def _way_document(
    name: str, way: OneWay | None, delay: Callable[[Delay], dict[str, object]],
    jitter: Callable[[Variation], dict[str, object]],
) -> dict[str, object] | None:  # fmt: skip
    if way is None:
        return None
    return {
        "sent": way.sent,
        "lost": way.lost,
        "loss_definition": LOSS[name],
        "delay": None if way.delay is None else delay(way.delay) | {"definition": DELAY[name]},
        "error_ns": way.error_ns,
        "withheld": way.withheld,
        "jitter": None if way.variation is None else jitter(way.variation),
        "dscp": way.dscp,
        "ttl": way.ttl,
        "stamped": way.stamped,
    }
