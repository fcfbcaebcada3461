"""Build SampleColumns by hand: one row per argument list, absent columns filled in."""

from collections.abc import Sequence

import numpy as np

from agent.sla.samples.columns import INTEGER_COLUMNS, SampleColumns
from probes.core.arrays import ABSENT, Histogram
from probes.core.model import SampleState

SECOND = 10**9
SPAN = 10 * SECOND


def columns(
    rows: Sequence[dict[str, object]], *, circuit: str = "c", probe: str = "icmp", kind: str = "icmp"
) -> SampleColumns:
    """Rows as dictionaries of INTEGER_COLUMNS (start_ns needed; span_ns 10 s, state ok by default) and `histogram`."""
    values: dict[str, object] = {}
    for name in INTEGER_COLUMNS:
        default = {"span_ns": SPAN, "state": SampleState.OK.code}.get(name, ABSENT)
        values[name] = np.array([row.get(name, default) for row in rows], np.int64)
    histograms: list[Histogram | None] = [row.get("histogram") for row in rows]  # type: ignore[misc]
    return SampleColumns(circuit=circuit, probe=probe, kind=kind, histogram=histograms, **values)  # type: ignore[arg-type]


def packets(start_ns: int, sent: int, lost: int, **more: object) -> dict[str, object]:
    """A sample with counts; state ok, or no_reply when nothing came back."""
    state = SampleState.OK if sent > lost else SampleState.NO_REPLY
    return {"start_ns": start_ns, "sent": sent, "lost": lost, "received": sent - lost, "state": state.code, **more}
