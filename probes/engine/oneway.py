"""Each direction of the streams whose far ends have clocks: from the stamps of a batch to OneWay and Residence. Pure.

Delay needs both clocks: it is withheld, with the reason, while one of them is not synchronised or evidently wrong.
Variation and loss need neither.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from probes.core.arrays import ABSENT, Int64
from probes.core.clock import MILLISECOND, SECOND
from probes.core.model import Counts, OneWay, PacketState, Residence
from probes.engine.farside import FAR_CLOCK, NO_ESTIMATE, OUR_CLOCK, Numbered, Reflected
from probes.engine.intervals import Batch
from probes.metrics.direction import Tally, joined, split_losses
from probes.metrics.summary import Carry, IntervalPackets, Summaries, summarise

SEND_CALL_NS: Final = 2 * MILLISECOND
"""Bound of T1 without a kernel stamp: the packet is one of up to 256 of one system call."""
TAI_UTC_NS: Final = 37 * SECOND
"""TAI - UTC since 2017"""
NEAR_TAI_NS: Final = SECOND // 2

REASONS: Final = {
    OUR_CLOCK: "this host's clock is not synchronised",
    FAR_CLOCK: "the far clock is not synchronised",
    NO_ESTIMATE: "the far end gives no estimate of its clock's error",
}


@dataclass(frozen=True, slots=True)
class Directions:
    """Both ways of one stream and interval."""

    forward: OneWay
    backward: OneWay
    residence: Residence | None


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Rows of one stream in a Reflected."""

    far: Reflected
    rows: slice

    def column(self, name: str) -> Int64:
        """Known values."""
        values: Int64 = getattr(self.far, name)[self.rows]
        return np.asarray(values[values != ABSENT])

    def newest(self, name: str) -> int | None:
        values = self.column(name)
        return int(values[-1]) if len(values) else None


class DirectionMemory:
    """What one interval of a stream leaves to the next, by slot."""

    def __init__(self) -> None:
        self._forward, self._backward = Carry.fresh(0), Carry.fresh(0)
        self._tally = Tally.none()

    def directions(self, batch: Batch, counts: list[Counts]) -> dict[int, Directions]:
        """By position in the batch, of those streams that have such a far end."""
        far = batch.far
        if far is None:
            return {}
        chosen = np.flatnonzero(far.reflecting)
        slots, fresh = batch.closing.stream[chosen], batch.closing.fresh[chosen]
        self._grow(int(slots.max()) + 1)
        before = np.where(fresh, -1, slots)
        one_ways: list[Summaries] = []
        position = np.full(len(batch.specs), -1, np.int64)
        position[chosen] = np.arange(len(chosen))
        for name, entered_ns, delay_ns in (
            ("_forward", far.entered_ns, far.forward_ns), ("_backward", far.departed_ns, far.backward_ns),
        ):  # fmt: skip
            carry: Carry = getattr(self, name)
            packets = _packets(batch, far, position, entered_ns, delay_ns)
            summaries, after = summarise(packets, len(chosen), carry.take(before))
            setattr(self, name, carry.put(slots, after))
            one_ways.append(summaries)
        backward_lost = self._losses(far, chosen, slots, before)
        edges = np.searchsorted(position[batch.packets.stream[far.at]], np.arange(len(chosen) + 1)).tolist()
        found = {}
        for number, stream in enumerate(chosen.tolist()):
            part = _Part(far, slice(edges[number], edges[number + 1]))
            numbers = far.numbered.lag[far.numbered.stream == stream]
            lost = int(backward_lost[number]) if _counts(numbers) else ABSENT
            found[stream] = _of(part, number, one_ways[0], one_ways[1], counts[stream], lost)
        return found

    def _losses(self, far: Reflected, chosen: Int64, slots: Int64, before: Int64) -> Int64:
        """Packets lost on the way back, shape (chosen,)."""
        number = np.full(max(len(far.reflecting), 1), -1, np.int64)
        number[chosen] = np.arange(len(chosen))
        known = np.full(max(int(self._tally.stream.max(initial=-1)), int(slots.max())) + 1, -1, np.int64)
        known[before[before >= 0]] = np.flatnonzero(before >= 0)
        split = split_losses(
            self._tally.moved(known), _tally(far.numbered).moved(number), _tally(far.ahead).moved(number), len(chosen)
        )
        others = self._tally.where(~np.isin(self._tally.stream, slots))
        self._tally, _ = joined(
            others, replace(split.carry, stream=slots[split.carry.stream]).moved(np.arange(int(slots.max()) + 1))
        )
        return split.backward

    def _grow(self, slots: int) -> None:
        if slots <= len(self._forward):
            return
        known = np.arange(len(self._forward))
        self._forward = Carry.fresh(2 * slots).put(known, self._forward)
        self._backward = Carry.fresh(2 * slots).put(known, self._backward)


def delay_columns(far: Reflected | None, packets: int) -> tuple[Int64 | None, Int64 | None]:
    """Forward and backward delay of every packet of a batch, ABSENT where unknown."""
    if far is None:
        return None, None
    columns = []
    for values in (far.forward_ns, far.backward_ns):
        column = np.full(packets, ABSENT, np.int64)
        column[far.at] = values
        columns.append(column)
    return columns[0], columns[1]


def _packets(batch: Batch, far: Reflected, position: Int64, entered_ns: Int64, delay_ns: Int64) -> IntervalPackets:
    """The batch's packets as one direction saw them; without a delay there, a packet is like a lost one."""
    known = delay_ns != ABSENT
    n = len(far.at)
    state = batch.packets.state[far.at]
    unheard = ~known & ((state == PacketState.ANSWERED) | (state == PacketState.LATE))
    return IntervalPackets(
        stream=position[batch.packets.stream[far.at]],
        sequence=batch.packets.sequence[far.at],
        sent_ns=entered_ns,
        rtt_ns=delay_ns,
        state=np.where(unheard, np.uint8(PacketState.LOST), state),
        lateness_ns=np.full(n, ABSENT, np.int64),
        duplicates=np.zeros(n, np.int64),
    )


def _tally(numbered: Numbered) -> Tally:
    number = np.where(
        numbered.lag == ABSENT, ABSENT, numbered.sequence + np.where(numbered.lag == ABSENT, 0, numbered.lag)
    )
    return Tally(numbered.stream, number, numbered.lost.astype(np.int64), numbered.extra)


def _counts(lag: Int64) -> bool:
    """Whether the far end numbers its replies itself; one that copies our numbers is never ahead of them."""
    known = lag[lag != ABSENT]
    return bool(len(known)) and bool((known != 0).any())


def _of(
    part: _Part, number: int, forward: Summaries, backward: Summaries, counts: Counts, lost_backward: int
) -> Directions:
    errors = part.column("error_ns")
    bound = int(errors.max()) if len(errors) and int(errors.min()) >= 0 else None
    there, back = (
        _one_way(part, summaries, number, way) for summaries, way in ((forward, "forward"), (backward, "backward"))
    )
    if lost_backward != ABSENT:
        lost_forward = counts.lost - counts.late - lost_backward
        there = replace(there, sent=counts.sent, lost=lost_forward)
        back = replace(back, sent=counts.sent - lost_forward, lost=lost_backward + counts.late)
    if bound is not None:
        there, back = (
            replace(way, error_ns=bound + extra)
            for way, extra in ((there, _send_error(part)), (back, _stamp_error(part)))
        )
    reason = _reason(errors, there, back)
    if reason is not None:
        there, back = (replace(way, delay=None, histogram=None, withheld=reason) for way in (there, back))
    return Directions(there, back, _residence(part.column("residence_ns")))


def _one_way(part: _Part, summaries: Summaries, number: int, way: str) -> OneWay:
    heard = part.far.error_ns[part.rows] != ABSENT
    stamped = (
        int((part.far.transmitted[part.rows] & heard).sum()) if way == "forward" else len(part.column("correction_ns"))
    )
    return OneWay(
        delay=summaries.delay(number),
        variation=summaries.variation(number),
        dscp=part.newest(f"{way}_dscp"),
        histogram=summaries.histogram(number),
        ttl=part.newest(f"{way}_ttl"),
        stamped=stamped if heard.any() else None,
    )


def _send_error(part: _Part) -> int:
    heard = part.far.error_ns[part.rows] != ABSENT
    return 0 if part.far.transmitted[part.rows][heard].all() else SEND_CALL_NS


def _stamp_error(part: _Part) -> int:
    """Some replies have a T3 of the far kernel, others only what its program took for it: as wrong as those were."""
    corrections, heard = part.column("correction_ns"), len(part.column("error_ns"))
    return int(corrections.max()) if 0 < len(corrections) < heard else 0


def _reason(errors: Int64, forward: OneWay, backward: OneWay) -> str | None:
    """Why the delays are withheld; None where they may be believed, or there are none."""
    if not len(errors):
        return None
    worst = int(errors.min())
    reason = next((text for code, text in REASONS.items() if (errors == code).any()), None) if worst < 0 else None
    if forward.delay is None or backward.delay is None:
        return reason
    ahead_ns = (forward.delay.minimum_ns - backward.delay.minimum_ns) // 2
    if abs(abs(ahead_ns) - TAI_UTC_NS) <= NEAR_TAI_NS:
        side = "ahead of" if ahead_ns > 0 else "behind"
        mismatch = f"the far clock is about 37 s {side} this host's: one keeps TAI, the other UTC"
        return mismatch if reason is None else f"{reason}; {mismatch}"
    for name, way in (("forward", forward), ("backward", backward)):
        if (
            reason is None
            and way.delay is not None
            and way.error_ns is not None
            and way.delay.minimum_ns < -way.error_ns
        ):
            return (
                f"clock suspect: a {name} delay of {way.delay.minimum_ns / 1e6:.3f} ms is beyond its error bound of "
                f"{way.error_ns / 1e6:.3f} ms"
            )
    return reason


def _residence(held_ns: Int64) -> Residence | None:
    if not len(held_ns):
        return None
    return Residence(len(held_ns), int(held_ns.sum()), int(held_ns.min()), int(held_ns.max()))
