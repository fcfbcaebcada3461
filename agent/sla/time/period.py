"""The part of a window that is judged now: whole sample intervals, from the first measurement, up to what has settled.

Pure. In an open window the future and the time before the circuit was first measured are held against nobody; in a
closed window all of it counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.measured import Pace, sample_span
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.spans import NOWHERE, Spans
from probes.core.clock import SECOND

SETTLING_NS: Final = 30 * SECOND
"""Time a sample may take from its end to the reader: time-out, late replies, commit, delivery."""


@dataclass(frozen=True, slots=True)
class Period:
    """UTC ns; [start_ns, end_ns) is judged, [whole_start_ns, whole_end_ns) is the window in whole intervals.

    since_ns: first measurement of the circuit ever. closed: the window has passed.
    """

    window: WindowInstants
    closed: bool
    since_ns: int
    start_ns: int
    end_ns: int
    whole_start_ns: int
    whole_end_ns: int

    def rest(self, excluded: Spans = NOWHERE) -> int:
        """ns of the window that are not judged yet, or never will be, without what does not count."""
        whole = Spans.of([(self.whole_start_ns, self.whole_end_ns)]) - excluded
        return (whole - Spans.of([(self.start_ns, self.end_ns)])).length_ns


def judged_period(
    window: WindowInstants, columns: SampleColumns, pace: Pace, grid_ns: int, *, now_ns: int, since_ns: int
) -> Period:
    """Cut the window to multiples of grid_ns."""
    whole_start, whole_end = -(-window.start_ns // grid_ns) * grid_ns, window.end_ns // grid_ns * grid_ns
    whole_end = max(whole_start, whole_end)
    closed = window.closed(now_ns)
    start, end = whole_start, whole_end
    if not closed:
        start = min(max(start, since_ns // grid_ns * grid_ns), whole_end)
        settled = now_ns if pace.attempts else max(_reported(columns, now_ns), now_ns - SETTLING_NS - grid_ns)
        end = min(max(settled // grid_ns * grid_ns, start), whole_end)
    return Period(window, closed, since_ns, start, end, whole_start, whole_end)


def sample_grid(columns: SampleColumns, pace: Pace) -> int:
    """Samples of a stream lie on multiples of their length; attempts lie anywhere."""
    return 1 if pace.attempts else sample_span(columns) or 1


def _reported(columns: SampleColumns, now_ns: int) -> int:
    ends = (columns.start_ns + columns.span_ns)[columns.start_ns < now_ns]
    return int(ends.max()) if len(ends) else 0
