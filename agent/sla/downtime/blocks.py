"""Blocks of Y.1540 section 7 and seconds of Y.1563, as intervals of an availability machine. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.sla.case import Feed, Moment, UnusableError
from agent.sla.downtime.availability import Intervals, bin_samples
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.from_packets import PacketSource
from agent.sla.samples.measured import STREAM, feeds_verdict, holes, sample_span, told_twice
from agent.sla.terms.contract import Objective
from agent.sla.words.wording import plural, spoken
from probes.core.arrays import Int64
from probes.core.clock import SECOND
from probes.core.model import PacketState

_AT_ONCE = 4096
"""Samples whose packets are asked for together."""


def blocks(objective: Objective, feed: Feed, start_ns: int, end_ns: int) -> Intervals:
    """Blocks of block_ns. What is missing of one may all be lost or all be there: if that leaves no doubt, the block is
    decided. One with fewer packets than the contract asks for is unknown. Raises UnusableError."""
    statistic, columns, pace = objective.statistic, feed.columns, feed.pace
    block = statistic.block_ns
    if block is None:
        raise UnusableError("availability by blocks needs their length")
    if pace.every_ns is not None and block // pace.every_ns < statistic.least_packets:
        raise UnusableError(
            f"a block of {spoken(block)} holds {plural(block // pace.every_ns, 'packet')}, the contract asks for "
            f"{statistic.least_packets}"
        )
    found = bin_samples(columns, block, start_ns, end_ns, pace=pace)
    enough = found.sent >= statistic.least_packets
    if pace.attempts or pace.every_ns is None:
        return replace(found, known=found.known & enough)
    rows = feeds_verdict(columns) & (columns.column("sent") > 0)
    begin = (found.first + np.arange(len(found), dtype=np.int64)) * block
    gone = holes(columns, rows, pace, found.first * block, (found.first + len(found)) * block)
    time = gone.cover(begin, begin + block)
    pieces = np.searchsorted(gone.start_ns, begin + block, "left") - np.searchsorted(gone.end_ns, begin, "right")
    lacking = -(-time // pace.every_ns) + np.where(time > 0, pieces, 0)
    twice = told_twice(columns, rows).touches(begin, begin + block)
    return replace(found, not_sent=found.not_sent + lacking, known=enough & ~twice)


def seconds(feed: Feed, start_ns: int, end_ns: int, moment: Moment) -> Intervals:
    """Intervals of one second, from samples that are no longer, else from packets. Raises UnusableError."""
    span = sample_span(feed.columns)
    if feed.pace.attempts or span is None:
        raise UnusableError("single attempts say nothing about single seconds")
    if SECOND % span == 0:
        return bin_samples(feed.columns, SECOND, start_ns, end_ns, pace=feed.pace)
    if moment.packets is None:
        raise UnusableError(
            f"single seconds need samples of 1 s or the packets themselves; these samples are {spoken(span)} long and "
            "no packets are kept here"
        )
    if feed.pace.every_ns is not None and feed.pace.every_ns > SECOND:
        raise UnusableError(f"a packet every {spoken(feed.pace.every_ns)} says nothing about single seconds")
    packets = moment.packets
    return feed.columns.once(
        ("seconds", start_ns, end_ns), lambda: _from_packets(feed.columns, start_ns, end_ns, packets)
    )


def _from_packets(columns: SampleColumns, start_ns: int, end_ns: int, packets: PacketSource) -> Intervals:
    """A second is known where samples whose packets are there cover it and some packet was sent in it: one without any
    may have begun and ended between two packets."""
    first, last = start_ns // SECOND, -(-end_ns // SECOND)
    size = max(0, last - first)
    rows = np.flatnonzero(
        feeds_verdict(columns)
        & (columns.column("sent") > 0)
        & (columns.start_ns < end_ns)
        & (columns.start_ns + columns.span_ns > start_ns)
    )
    sent, lost, lacking = (np.zeros(size, np.int64) for _ in range(3))
    read = np.zeros(len(columns), np.bool_)
    for at in range(0, len(rows), _AT_ONCE):
        some = rows[at : at + _AT_ONCE]
        for row, item in zip(some.tolist(), packets(columns.probe, columns.start_ns[some]), strict=True):
            if item is None:
                continue
            read[row] = True
            second = (item.sent_ns + columns.start_ns[row]) // SECOND - first
            inside = (second >= 0) & (second < size)
            left = item.state != PacketState.NOT_SENT
            _count(sent, second[inside & left])
            _count(lost, second[inside & left & (item.state != PacketState.ANSWERED)])
            _count(lacking, second[inside & ~left])
    begin = (first + np.arange(size, dtype=np.int64)) * SECOND
    gone = holes(columns, read, STREAM, first * SECOND, last * SECOND)
    whole = ~gone.touches(begin, begin + SECOND) & ~told_twice(columns, read).touches(begin, begin + SECOND)
    return Intervals(first, SECOND, sent, lost, lacking, whole & (sent > 0))


def _count(into: Int64, places: Int64) -> None:
    np.add.at(into, places, 1)
