"""Each direction of the streams whose far ends have clocks: from the stamps of a batch to OneWay and Residence. Pure.

Delay needs both clocks: it is withheld, with the reason, while one of them is not synchronised or evidently wrong.
Variation needs clocks that nobody sets meanwhile, loss needs none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.clock import MILLISECOND, SECOND
from probes.core.model import Counts, Delay, OneWay, PacketState, Residence
from probes.engine.farside import FAR_CLOCK, NO_ESTIMATE, OUR_CLOCK, Numbered, Reflected
from probes.engine.intervals import Batch
from probes.metrics.direction import Tally, joined, split_losses
from probes.metrics.groups import Groups, count_per_stream
from probes.metrics.offset import set_between
from probes.metrics.summary import Carry, IntervalPackets, Summaries, summarise

Flags = NDArray[np.bool_]

SEND_CALL_NS: Final = 2 * MILLISECOND
"""Bound of T1 without a kernel stamp: the packet is one of up to 256 of one system call."""
TAI_UTC_NS: Final = 37 * SECOND
"""TAI - UTC since 2017"""
NEAR_TAI_NS: Final = SECOND // 2

CLOCK_SET: Final = "clock suspect: the far clock was set meanwhile"
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


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a batch says of each of k streams beside delays; lists of length k, None where unknown."""

    lost_backward: list[int]
    """ABSENT where the far end's numbers do not tell"""
    heard: list[int]
    worst: list[int]
    """least error or reason code; ABSENT without replies"""
    reasons: list[str | None]
    """which clock is not fit"""
    bound_ns: list[int]
    forward_more_ns: list[int]
    """what the stamp of sending adds to the bound"""
    backward_more_ns: list[int]
    forward_stamped: list[int]
    backward_stamped: list[int]
    forward_dscp: list[int | None]
    backward_dscp: list[int | None]
    forward_ttl: list[int | None]
    backward_ttl: list[int | None]
    residences: list[Residence | None]


class DirectionMemory:
    """What one interval of a stream leaves to the next, by slot."""

    def __init__(self) -> None:
        self._forward, self._backward = Carry.fresh(0), Carry.fresh(0)
        self._tally = Tally.none()
        self._end_ns: Int64 = np.zeros(0, np.int64)
        """UTC, of the last interval: the next one begins there unless the clock was set"""
        self._newest: Int64 = np.zeros((0, 3), np.int64)
        """sent_ns, forward and backward delay of the last packet that has both"""

    def directions(self, batch: Batch, counts: list[Counts]) -> dict[int, Directions]:
        """By position in the batch, of those streams that have such a far end."""
        far = batch.far
        if far is None:
            return {}
        chosen = np.flatnonzero(far.reflecting)
        slots, fresh = batch.closing.stream[chosen], batch.closing.fresh[chosen]
        self._grow(int(slots.max()) + 1)
        before = np.where(fresh, -1, slots)
        begin_ns, end_ns = batch.closing.begin_ns[chosen], batch.closing.end_ns[chosen]
        stepped, self._end_ns[slots] = begin_ns != self._end_ns[slots], end_ns
        one_ways: list[Summaries] = []
        position = np.full(len(batch.specs), -1, np.int64)
        position[chosen] = np.arange(len(chosen))
        within, across = self._clocks_set(far, position[batch.packets.stream[far.at]], slots, fresh)
        for name, entered_ns, delay_ns in (
            ("_forward", far.entered_ns, far.forward_ns), ("_backward", far.departed_ns, far.backward_ns),
        ):  # fmt: skip
            carry: Carry = getattr(self, name)
            packets = _packets(batch, far, position, entered_ns, delay_ns)
            summaries, after = summarise(packets, len(chosen), carry.take(before).without_delays(stepped | across))
            setattr(self, name, carry.put(slots, after.take(np.where(within, -1, np.arange(len(chosen))))))
            one_ways.append(summaries)
        backward_lost = self._losses(far, chosen, slots, before)
        facts = _facts(far, position[batch.packets.stream[far.at]], len(chosen), _told(far, position, backward_lost))
        return {
            stream: _directions(facts, number, one_ways[0], one_ways[1], counts[stream], clock_set=bool(within[number]))
            for number, stream in enumerate(chosen.tolist())
        }

    def _clocks_set(self, far: Reflected, stream: Int64, slots: Int64, fresh: Flags) -> tuple[Flags, Flags]:
        """Of each stream, whether a clock was set during the interval, and whether one was between the last and this.

        stream: of each of the far end's packets, ascending.
        """
        within, across = np.zeros(len(slots), np.bool_), np.zeros(len(slots), np.bool_)
        known = (far.forward_ns != ABSENT) & (far.backward_ns != ABSENT)
        stream = stream[known]
        rows = np.stack((far.entered_ns, far.forward_ns, far.backward_ns), axis=1)[known]
        groups = Groups.of(stream)
        moved = set_between(*rows.T)
        moved[groups.start] = False
        within[stream[moved]] = True
        before = self._newest[slots[groups.stream]]
        pairs = np.stack((before, rows[groups.start]), axis=1).reshape(-1, 3)
        comparable = (before[:, 0] != ABSENT) & ~fresh[groups.stream]
        across[groups.stream] = set_between(*pairs.T)[1::2] & comparable
        self._newest[slots[groups.stream]] = rows[groups.last]
        return within, across

    def _losses(self, far: Reflected, chosen: Int64, slots: Int64, before: Int64) -> Int64:
        """Packets lost on the way back, shape (chosen,)."""
        number = np.full(max(len(far.reflecting), 1), -1, np.int64)
        number[chosen] = np.arange(len(chosen))
        known = np.full(max(int(self._tally.stream.max(initial=-1)), int(slots.max())) + 1, -1, np.int64)
        known[before[before >= 0]] = np.flatnonzero(before >= 0)
        begun = np.zeros(len(far.reflecting), np.bool_)
        begun[chosen] = before < 0
        carry, _ = joined(self._tally.moved(known), _beginnings(far.numbered, begun).moved(number))
        split = split_losses(
            carry, _tally(far.numbered).moved(number), _tally(far.ahead).moved(number), len(chosen)
        )  # fmt: skip
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
        more = 2 * slots - len(known)
        self._end_ns = np.concatenate((self._end_ns, np.zeros(more, np.int64)))
        self._newest = np.concatenate((self._newest, np.full((more, 3), ABSENT, np.int64)))


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


def _beginnings(numbered: Numbered, begun: Flags) -> Tally:
    """What comes before the first packet of streams that have just begun: a new session counts its replies from 0.

    One that goes on from an earlier stream has a number that so few packets do not explain.
    """
    heard = np.flatnonzero(numbered.lag != ABSENT)
    first = heard[Groups.of(numbered.stream[heard]).start]
    before = first - np.searchsorted(numbered.stream, numbered.stream[first])
    first = first[begun[numbered.stream[first]] & (numbered.number[first] <= before)]
    zero = np.zeros(len(first), np.int64)
    number = numbered.sequence[first] + numbered.lag[first] - numbered.number[first] - 1
    return Tally(numbered.stream[first], number, zero, zero)


def _tally(numbered: Numbered) -> Tally:
    number = np.where(
        numbered.lag == ABSENT, ABSENT, numbered.sequence + np.where(numbered.lag == ABSENT, 0, numbered.lag)
    )
    return Tally(numbered.stream, number, numbered.lost.astype(np.int64), numbered.extra)


def _told(far: Reflected, position: Int64, backward_lost: Int64) -> Int64:
    """ABSENT where the far end does not number its replies itself: its numbers are never ahead of ours."""
    lag = far.numbered.lag
    own = np.zeros(len(backward_lost), np.bool_)
    own[position[far.numbered.stream[(lag != ABSENT) & (lag != 0)]]] = True
    return np.where(own, backward_lost, ABSENT)


def _facts(far: Reflected, stream: Int64, streams: int, lost_backward: Int64) -> _Facts:
    """stream: of each row, ascending."""
    heard = far.error_ns != ABSENT
    of, error_ns = stream[heard], far.error_ns[heard]
    groups = Groups.of(of)
    followed = far.correction_ns != ABSENT
    corrected = Groups.of(stream[followed])
    heard_count = groups.spread(groups.size, streams, 0)
    followed_count = corrected.spread(corrected.size, streams, 0)
    stamped = count_per_stream(stream, heard & far.transmitted, streams)
    correction_ns = corrected.spread(_extreme(np.maximum, corrected, far.correction_ns[followed]), streams, 0)
    reasons: list[str | None] = [None] * streams
    for code, text in reversed(REASONS.items()):
        for number in np.unique(of[error_ns == code]).tolist():
            reasons[number] = text
    return _Facts(
        lost_backward=lost_backward.tolist(),
        heard=heard_count.tolist(),
        worst=groups.spread(_extreme(np.minimum, groups, error_ns), streams).tolist(),
        reasons=reasons,
        bound_ns=groups.spread(_extreme(np.maximum, groups, error_ns), streams).tolist(),
        forward_more_ns=np.where(stamped == heard_count, 0, SEND_CALL_NS).tolist(),
        # Some T3 are the far kernel's, the others what its program took for it: as wrong as those were.
        backward_more_ns=np.where(followed_count < heard_count, correction_ns, 0).tolist(),
        forward_stamped=stamped.tolist(),
        backward_stamped=followed_count.tolist(),
        forward_dscp=_newest(stream, far.forward_dscp, streams),
        backward_dscp=_newest(stream, far.backward_dscp, streams),
        forward_ttl=_newest(stream, far.forward_ttl, streams),
        backward_ttl=_newest(stream, far.backward_ttl, streams),
        residences=_residences(stream, far.residence_ns, streams),
    )


def _extreme(choose: np.ufunc, groups: Groups, values: Int64) -> Int64:
    return np.asarray(choose.reduceat(values, groups.start), np.int64) if len(groups.start) else values


def _newest(stream: Int64, values: Int64, streams: int) -> list[int | None]:
    """The last known value of each stream."""
    known = values != ABSENT
    groups = Groups.of(stream[known])
    found: list[int | None] = [None] * streams
    for number, value in zip(groups.stream.tolist(), values[known][groups.last].tolist(), strict=True):
        found[number] = value
    return found


def _residences(stream: Int64, held_ns: Int64, streams: int) -> list[Residence | None]:
    known = held_ns != ABSENT
    groups, values = Groups.of(stream[known]), held_ns[known]
    columns = (
        groups.size,
        groups.total(values),
        _extreme(np.minimum, groups, values),
        _extreme(np.maximum, groups, values),
    )
    found: list[Residence | None] = [None] * streams
    for number, *numbers in zip(groups.stream.tolist(), *(column.tolist() for column in columns), strict=True):
        found[number] = Residence(*numbers)
    return found


def _directions(
    facts: _Facts, number: int, forward: Summaries, backward: Summaries, counts: Counts, *, clock_set: bool
) -> Directions:
    """clock_set: delays before and after that are not to be compared."""
    lost = facts.lost_backward[number]
    lost_backward = None if lost == ABSENT else lost + counts.late
    lost_forward = None if lost_backward is None else counts.lost - lost_backward
    delays = forward.delay(number), backward.delay(number)
    bounds: tuple[int | None, int | None] = (None, None)
    if facts.heard[number] and facts.worst[number] >= 0:
        bound = facts.bound_ns[number]
        bounds = (bound + facts.forward_more_ns[number], bound + facts.backward_more_ns[number])
    reason = _reason(facts.reasons[number], delays, bounds)
    if clock_set:
        reason = CLOCK_SET if reason is None else f"{reason}; {CLOCK_SET}"
    shown = reason is None
    heard = facts.heard[number] > 0
    there = OneWay(
        sent=None if lost_forward is None else counts.sent,
        lost=lost_forward,
        delay=delays[0] if shown else None,
        variation=None if clock_set else forward.variation(number),
        error_ns=bounds[0],
        withheld=reason,
        dscp=facts.forward_dscp[number],
        histogram=forward.histogram(number) if shown else None,
        ttl=facts.forward_ttl[number],
        stamped=facts.forward_stamped[number] if heard else None,
    )
    back = OneWay(
        sent=None if lost_forward is None else counts.sent - lost_forward,
        lost=lost_backward,
        delay=delays[1] if shown else None,
        variation=None if clock_set else backward.variation(number),
        error_ns=bounds[1],
        withheld=reason,
        dscp=facts.backward_dscp[number],
        histogram=backward.histogram(number) if shown else None,
        ttl=facts.backward_ttl[number],
        stamped=facts.backward_stamped[number] if heard else None,
    )
    return Directions(there, back, facts.residences[number])


def _reason(
    unfit: str | None, delays: tuple[Delay | None, Delay | None], bounds: tuple[int | None, int | None]
) -> str | None:
    """Why the delays are withheld; None where they may be believed, or there are none."""
    forward, backward = delays
    if forward is None or backward is None:
        return unfit
    ahead_ns = (forward.minimum_ns - backward.minimum_ns) // 2
    if abs(abs(ahead_ns) - TAI_UTC_NS) <= NEAR_TAI_NS:
        side = "ahead of" if ahead_ns > 0 else "behind"
        mismatch = f"the far clock is about 37 s {side} this host's: one keeps TAI, the other UTC"
        return mismatch if unfit is None else f"{unfit}; {mismatch}"
    for name, delay, bound in zip(("forward", "backward"), (forward, backward), bounds, strict=True):
        if unfit is None and bound is not None and delay.minimum_ns < -bound:
            return (
                f"clock suspect: a {name} delay of {delay.minimum_ns / 1e6:.3f} ms is beyond its error bound of "
                f"{bound / 1e6:.3f} ms"
            )
    return unfit
