"""Plain outage time: how long outages lasted, whole ones joined, short ones left out. Pure.

Outages closer than join_ns are one, from the first to the last; one shorter than minimum_ns does not count; the others
count from their start, or from the moment they had lasted minimum_ns. More time down never means less outage time, so
that unknown time as up and as down gives the bounds.
"""

from __future__ import annotations

import numpy as np

from agent.sla.terms.contract import Statistic
from agent.sla.time.spans import NOWHERE, Spans


def outages(down: Spans, join_ns: int, minimum_ns: int) -> Spans:
    """The whole outages: joined where less than join_ns apart, those shorter than minimum_ns left out."""
    if not len(down):
        return NOWHERE
    first = np.concatenate(([True], down.start_ns[1:] - down.end_ns[:-1] >= max(join_ns, 1)))
    last = np.concatenate((first[1:], [True]))
    start, end = down.start_ns[first], down.end_ns[last]
    long = end - start >= minimum_ns
    return Spans(start[long], end[long])


def counted(statistic: Statistic, down: Spans) -> Spans:
    """What of that time counts."""
    found = outages(down, statistic.join_ns, statistic.minimum_ns)
    if statistic.count_from == "start":
        return found
    return Spans.union(found.start_ns + statistic.minimum_ns, found.end_ns)


def bridged(down: Spans, unknown: Spans, bridge_ns: int) -> Spans:
    """Down, and unknown time of at most bridge_ns right between two times down."""
    if not bridge_ns or not len(down):
        return down
    between = np.isin(unknown.start_ns, down.end_ns) & np.isin(unknown.end_ns, down.start_ns)
    short = between & (unknown.end_ns - unknown.start_ns <= bridge_ns)
    return down | Spans(unknown.start_ns[short], unknown.end_ns[short])
