"""The rows that can matter to one window: a day is not judged by passing over the month that was read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agent.sla.case import Feed
from agent.sla.downtime.timeline import machine_of
from agent.sla.samples.measured import sample_span
from agent.sla.samples.needs import margins
from agent.sla.statistic.direction import one_way
from agent.sla.terms.contract import Objective
from agent.sla.time.calendar import WindowInstants
from probes.core.clock import SECOND

_SLACK_NS: Final = 3600 * SECOND
"""Beside what the objectives ask for: windows are widened to whole intervals."""
_WORTH: Final = 2
"""The rows are cut where less than one in so many is left."""


def nearby(feed: Feed, window: WindowInstants, now_ns: int, promises: Sequence[Objective]) -> Feed:
    """The feed with the rows near the window, or all of it: whatever the promises make of the window is the same.

    What is told by all rows stays so: the pace, the longest sample, and whether there is any.
    """
    columns, span_ns = feed.columns, sample_span(feed.columns)
    if span_ns is None or any(one_way(item) for item in promises) or columns.in_order() is not columns:
        return feed
    step = max(span_ns, 2 * (feed.pace.every_ns or 0))
    beside = [margins(item) for item in promises]
    runs = max(machine_of(item.statistic)[0] for item in promises)
    slack = _SLACK_NS + (runs + 4) * step
    first_ns = window.start_ns - slack - max(before for before, _ in beside)
    last_ns = window.end_ns + slack + max(after for _, after in beside)
    if not window.closed(now_ns):  # an open window ends with the last row there is
        last_ns = max(last_ns, int(columns.start_ns[-1]) + 1)
    near = columns.cut(first_ns, last_ns)
    if not len(near) or _WORTH * len(near) > len(columns):
        return feed
    near.derived["sample_span"] = span_ns
    return replace(feed, columns=near)
