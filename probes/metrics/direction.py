"""In which direction packets were lost, from the numbers of a far end that counts its replies (RFC 8762 section 4.3).

For all streams at once; pure. Between two replies the far end's numbers have gone up by what it sent: what of it has
not come was lost backward, and every other lost packet forward. Requests that overtook one another shuffle the
numbers, so losses are counted between *anchors*: replies with a greater number than all before and a smaller one than
all after. A request that arrived twice takes two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64

Flags = NDArray[np.bool_]

_APART: Final = np.int64(1 << 40)
"""more than the numbers of a stream in one call lie apart"""
_MOST_OUT_OF_PLACE: Final = 64
"""replies between two anchors; with more, the far end has begun to count anew"""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Packets sent, in order, sorted by stream; arrays (n,). A row may stand for several lost packets."""

    stream: Int64
    number: Int64
    """of the reply, going on beyond 32 bits; ABSENT where none came"""
    lost: Int64
    """packets lost, in this row"""
    extra: Int64
    """numbers the packet took beyond the first"""

    @staticmethod
    def none() -> Tally:
        return Tally(*(np.zeros(0, np.int64) for _ in range(4)))

    def where(self, chosen: Flags) -> Tally:
        return Tally(self.stream[chosen], self.number[chosen], self.lost[chosen], self.extra[chosen])

    def moved(self, number: Int64) -> Tally:
        """Stream s becomes number[s]; rows of -1 are left out, the others sorted anew and otherwise kept in order."""
        stream = number[self.stream]
        kept = self.where(stream >= 0)
        stream = stream[stream >= 0]
        order = np.argsort(stream, kind="stable")
        return Tally(stream[order], kept.number[order], kept.lost[order], kept.extra[order])


def joined(*parts: Tally) -> tuple[Tally, Int64]:
    """The parts one after the other within each stream, and the part that each row is of."""
    stream = np.concatenate([part.stream for part in parts])
    order = np.argsort(stream, kind="stable")
    columns = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("number", "lost", "extra"))
    of = np.repeat(np.arange(len(parts)), [len(part.stream) for part in parts])
    return Tally(stream[order], *columns), of[order]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Arrays (streams,). backward: packets of the interval that were lost on the way back; ABSENT where the numbers do
    not tell, as long as no later reply has come."""

    backward: Int64
    carry: Tally
    """what the next interval needs"""


def split_losses(carry: Tally, interval: Tally, ahead: Tally, streams: int) -> Split:
    """`carry`: from the interval before; `ahead`: what is known of packets sent after this one.

    Which was which of the losses between two anchors is not known; where intervals meet there, each gets its share.
    Where requests overtake one another, one that overtook and was lost has its number behind the anchor that follows
    it: there the losses between all anchors of the interval are taken together.
    """
    rows, part = joined(carry, interval, ahead)
    backward = np.zeros(streams, np.int64)
    if not len(part):
        return Split(backward, Tally.none())
    seen = rows.number != ABSENT
    anchor = _anchors(rows, seen)
    begins = anchor | _first_of_stream(rows.stream)
    start = np.flatnonzero(begins)
    stream, number = rows.stream[start], rows.number[start]
    closed = np.zeros(len(start), np.bool_)
    closed[:-1] = stream[1:] == stream[:-1]
    known = anchor[start] & closed
    following = np.append(number[1:], 0)
    inside = np.add.reduceat(seen.astype(np.int64), start) - 1
    inside += np.add.reduceat(rows.extra, start)
    missing = np.where(known, following, 0) - np.where(known, number, 0) - 1 - inside
    before, mine, after = (np.add.reduceat(np.where(part == n, rows.lost, 0), start) for n in range(3))
    total = before + mine + after
    lost_backward = np.clip(missing, 0, total)
    share = _share(lost_backward, total, before + mine) - _share(lost_backward, total, before)
    shuffled = np.zeros(streams, np.bool_)
    shuffled[rows.stream[seen & ~anchor]] = True
    whole = known & (before + after == 0) & shuffled[stream]
    np.add.at(backward, stream, np.where(known & ~whole, share, 0))
    backward += np.clip(_total(stream, whole, missing, streams), 0, _total(stream, whole, mine, streams))
    backward[stream[~known & (mine > 0)]] = ABSENT
    past = part < 2
    return Split(backward, _carried(rows.where(past), (part == 1)[past], anchor[past]))


def _share(part: Int64, whole: Int64, reached: Int64) -> Int64:
    """How much of `part` lies in the first `reached` of `whole`, spread evenly."""
    return np.asarray(part * reached // np.maximum(whole, 1), np.int64)


def _total(stream: Int64, chosen: Flags, values: Int64, streams: int) -> Int64:
    total = np.zeros(streams, np.int64)
    np.add.at(total, stream[chosen], values[chosen])
    return total


def _anchors(rows: Tally, seen: Flags) -> Flags:
    """Replies in the place that their number says, whatever the order of the others."""
    anchor = np.zeros(len(seen), np.bool_)
    at = np.flatnonzero(seen)
    if not len(at):
        return anchor
    stream, number = rows.stream[at], rows.number[at]
    first = np.flatnonzero(_first_of_stream(stream))
    size = np.diff(first, append=len(at))
    place = (
        number - np.repeat(np.minimum.reduceat(number, first), size) + np.repeat(np.arange(len(first)), size) * _APART
    )
    greatest = np.maximum.accumulate(place)
    smallest = np.minimum.accumulate(place[::-1])[::-1]
    anchor[at] = (place == greatest) & (place == smallest)
    return anchor


def _carried(rows: Tally, mine: Flags, anchor: Flags) -> Tally:
    """From each stream's last anchor on, losses added to the reply before them: one row in ordinary times.

    Without an anchor nearby, as after a restart of the far end, the interval's last reply is the new beginning.
    """
    seen = rows.number != ABSENT
    if not seen.any():
        return Tally.none()
    n = len(seen)
    index = np.arange(n)
    last_anchor, last_seen = (_last(rows.stream, flags) for flags in (anchor, seen & mine))
    replies = np.cumsum(seen)
    far_back = replies[last_seen] - replies[last_anchor] > _MOST_OUT_OF_PLACE
    from_row = np.where((last_seen >= 0) & ((last_anchor < 0) | far_back), last_seen, np.maximum(last_anchor, 0))
    kept = index >= from_row
    owner = np.maximum.accumulate(np.where(seen, index, -1))
    own = (owner >= 0) & (rows.stream[np.maximum(owner, 0)] == rows.stream)
    lost = np.zeros(n, np.int64)
    chosen = kept & own
    np.add.at(lost, owner[chosen], rows.lost[chosen])
    left = kept & seen
    return Tally(rows.stream[left], rows.number[left], lost[left], rows.extra[left])


def _last(stream: Int64, flags: Flags) -> Int64:
    """Position of the last flagged row of each row's stream, shape (n,); -1 where there is none."""
    at = np.flatnonzero(flags)
    newest = np.full(int(stream[-1]) + 1, -1, np.int64)
    newest[stream[at]] = at
    return np.asarray(newest[stream], np.int64)


def _first_of_stream(stream: Int64) -> Flags:
    first = np.ones(len(stream), np.bool_)
    first[1:] = stream[1:] != stream[:-1]
    return first
