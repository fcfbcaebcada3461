"""Delay variation that only single packets show: of neighbours, and of packets sent a fixed time apart. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.sla.samples.columns import SampleColumns
from agent.sla.time.spans import Flags
from probes.core.arrays import ABSENT, Int64, Packets
from probes.core.model import PacketState
from probes.metrics.offset import set_between

PacketSource = Callable[[str, Int64], Sequence[Packets | None]]
_AT_ONCE: Final = 4096
"""Samples whose packets are asked for together."""


def answered(packets: Packets, way: str) -> tuple[Int64, Int64] | None:
    """(places among the packets, delays in ns) of those answered in time, that way or there and back (`round_trip`).

    None where the packets were not stamped in that direction.
    """
    if way == "round_trip":
        places = np.flatnonzero(packets.state == PacketState.ANSWERED)
        return places, packets.rtt_ns[places]
    delays = packets.forward_ns if way == "forward" else packets.backward_ns
    if delays is None:
        return None
    places = np.flatnonzero((packets.state == PacketState.ANSWERED) & (delays != ABSENT))
    return places, delays[places]


def _left_out(packets: Packets, way: str) -> Int64:
    """How many places to leave out up to each packet, shape (n,): one where a clock was set that the delays are by."""
    forward, backward = packets.forward_ns, packets.backward_ns
    counted = np.zeros(len(packets), np.int64)
    if way != "round_trip" and forward is not None and backward is not None:
        both = np.flatnonzero((forward != ABSENT) & (backward != ABSENT))
        counted[both] = set_between(packets.sent_ns[both], forward[both], backward[both])
    return np.cumsum(counted)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Packets of many samples in order of sending. sent_ns: UTC; place: number among all packets, neighbours differ
    by one, and what may not be compared is further apart: samples that do not follow each other, packets between which
    a clock was set. Only answered packets are here. delay_ns: there and back, or of the direction asked for."""

    sent_ns: Int64
    delay_ns: Int64
    place: Int64
    without: Flags
    """of the rows asked for: True where the sample has no packets any more"""


def answers(columns: SampleColumns, rows: Flags, packets: PacketSource) -> Answers:
    """Read the packets of those rows, which are in order, in the direction that the columns are about."""
    asked = np.flatnonzero(rows)
    start = columns.start_ns[asked]
    follows = np.zeros(len(asked), np.bool_)
    follows[1:] = start[1:] == (start + columns.span_ns[asked])[:-1]
    sent, delay, place = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    without = np.ones(len(asked), np.bool_)
    reached, before = 0, False
    for first in range(0, len(asked), _AT_ONCE):
        found = packets(columns.probe, start[first : first + _AT_ONCE])
        for offset, item in enumerate(found):
            number = first + offset
            told = None if item is None else answered(item, columns.way)
            if item is None or told is None:
                before = False
                continue
            without[number] = False
            reached += 0 if follows[number] and before else 1
            kept, values = told
            sent.append(item.sent_ns[kept] + start[number])
            delay.append(values)
            left_out = _left_out(item, columns.way)
            place.append(kept + reached + left_out[kept])
            reached += len(item) + int(left_out[-1:].sum())
            before = True
    return Answers(np.concatenate(sent), np.concatenate(delay), np.concatenate(place), without)


def neighbours(found: Answers) -> Int64:
    """|D(i) - D(i-1)| of packets sent one after the other that were both answered, RFC 5481 section 4.1."""
    pair = np.diff(found.place) == 1
    return np.asarray(np.abs(np.diff(found.delay_ns))[pair], np.int64)


def apart(found: Answers, tau_ns: int, every_ns: int) -> Int64:
    """|D(b) - D(a)| for each answered packet a and the packet b sent nearest to tau_ns after it, where it was sent
    within half of every_ns of that instant and answered, MEF 10.4 section 8.8.5."""
    order = np.argsort(found.sent_ns, kind="stable")
    sent, delay = found.sent_ns[order], found.delay_ns[order]
    if len(sent) < _PAIR:
        return np.zeros(0, np.int64)
    wanted = sent + tau_ns
    after = np.clip(np.searchsorted(sent, wanted), 1, len(sent) - 1)
    nearest = after - (wanted - sent[after - 1] <= sent[after] - wanted)
    close = (2 * np.abs(sent[nearest] - wanted) <= every_ns) & (nearest != np.arange(len(sent)))
    return np.asarray(np.abs(delay[nearest] - delay)[close], np.int64)


_PAIR: Final = 2
