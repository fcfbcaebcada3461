"""A running agent as a table: one row per probe, the worst first where the terminal is too low for all. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from agent.deliver import SinkStatus
from agent.live import LiveRow
from agent.overview import Overview
from agent.report.terminal import Cell, Column, Grid, Tone
from agent.sla.contract import Metric
from agent.sla.verdict import Verdict, worst
from agent.sla.wording import quantity
from probes.core.clock import SECOND
from probes.core.model import Sample, SampleState
from probes.core.units import format_rate

ABSENT: Final = "–"
_COLUMNS: Final = (
    Column("CIRCUIT"), Column("PROBE"), Column("LATENCY", right=True), Column("JITTER", right=True),
    Column("LOSS", right=True), Column("THROUGHPUT", right=True), Column("AVAILABILITY", right=True),
    Column("VERDICT"), Column("NOTE", stretch=True),
)  # fmt: skip
_TONES: Final[dict[str, Tone]] = {
    "met": "good", "on_track": "good", "breached": "bad", "at_risk": "warn",
}  # fmt: skip
_LONGEST_NAME: Final = 32
_OLD_NS: Final = 60 * SECOND
_FINE: Final = 6


def grid(overview: Overview, limit: int | None = None) -> Grid:
    """The table. limit: at most so many probes, then the worst, and a line says how many are not shown."""
    chosen, hidden = overview.rows, 0
    if limit is not None and limit < len(overview.rows):
        chosen = tuple(sorted(overview.rows, key=urgency)[:limit])  # stable: in the order of the configuration
        hidden = len(overview.rows) - limit
    rows, before = [], None
    for row in chosen:
        rows.append(_cells(row, overview, first=row.circuit != before))
        before = row.circuit
    return Grid(_COLUMNS, rows, _above(overview), _below(overview, hidden))


def urgency(row: LiveRow) -> int:
    """0 for the worst: nothing comes back; breached; not measured; at risk; some loss; impaired; then all else."""
    state = row.sample.state if row.sample is not None else None
    lowest = worst(row.verdicts)
    counts = row.sample.counts if row.sample is not None else None
    found = (
        row.refused is None and state in (SampleState.NO_REPLY, SampleState.REJECTED),
        lowest is not None and str(lowest.state) == "breached",
        row.refused is not None or state is SampleState.INVALID,
        lowest is not None and str(lowest.state) == "at_risk",
        counts is not None and counts.lost > 0,
        state is SampleState.IMPAIRED,
    )
    return found.index(True) if True in found else _FINE


def _above(overview: Overview) -> tuple[Cell, ...]:
    totals = overview.totals
    title = f"linkwitness at {overview.site}: {totals.samples} samples, {totals.packets} packets"
    if not overview.rows:
        return (Cell(title, "strong"), Cell("no circuits are configured: nothing is measured", "warn"))
    return (Cell(title, "strong"),)


def _below(overview: Overview, hidden: int) -> tuple[Cell, ...]:
    clock = "clock synchronised" if overview.clock_synchronised else "clock not synchronised (round trips are exact)"
    more = f"{hidden} more probe{'s are' if hidden > 1 else ' is'} not shown; those above are the worst"
    return (
        *((Cell(more, "strong"),) if hidden else ()),
        *(Cell(trouble, "warn") for trouble in overview.troubles),
        Cell(f"store {overview.store}; host load {overview.host_load:.0%}; {clock}", "dim"),
        *(_sink(sink) for sink in overview.sinks),
        Cell("latency: mean round trip; jitter: mean |IPDV|, RFC 3393; Ctrl-C stops and keeps everything", "dim"),
    )


def _sink(sink: SinkStatus) -> Cell:
    return Cell(f"sink {sink}", "dim" if sink.state in ("ok", "idle", "starting") else "warn")


def _cells(row: LiveRow, overview: Overview, *, first: bool) -> tuple[Cell | str, ...]:
    sample = row.sample
    name = row.circuit if len(row.circuit) <= _LONGEST_NAME else f"{row.circuit[: _LONGEST_NAME - 1]}…"
    return (
        Cell(name if first else "", "strong"), row.probe, _latency(sample), _jitter(sample), _loss(sample),
        throughput(sample), Cell(_availability(row.verdicts) if first else ""),
        _verdict(row) if first else Cell(""), note(row, overview),
    )  # fmt: skip


def _latency(sample: Sample | None) -> Cell:
    if sample is None or sample.delay is None:
        return Cell(ABSENT, "dim")
    return Cell(f"{sample.delay.mean_ns / 1e6:.3f} ms")


def _jitter(sample: Sample | None) -> Cell:
    if sample is None or sample.variation is None or not sample.variation.ipdv_pairs:
        return Cell(ABSENT, "dim")
    return Cell(f"{sample.variation.ipdv_mean_ns / 1e6:.3f} ms")


def _loss(sample: Sample | None) -> Cell:
    if sample is None or sample.counts is None or not sample.counts.sent:
        return Cell(ABSENT, "dim")
    lost, sent = sample.counts.lost, sample.counts.sent
    return Cell(f"{lost}/{sent}", "bad" if lost else "plain")


def throughput(sample: Sample | None) -> Cell:
    """Both directions of a capacity run, ↑ away from this host."""
    if sample is None or sample.rate is None:
        return Cell(ABSENT, "dim")
    rates = (("↑", sample.rate.forward_bps), ("↓", sample.rate.backward_bps))
    return Cell(" ".join(f"{arrow}{format_rate(rate)}" for arrow, rate in rates if rate is not None) or ABSENT)


def _availability(verdicts: Sequence[Verdict]) -> str:
    for verdict in verdicts:
        if verdict.objective.metric is Metric.AVAILABILITY and verdict.value is not None:
            return quantity(Metric.AVAILABILITY, verdict.value, verdict.target)
    return ABSENT


def _verdict(row: LiveRow) -> Cell:
    if not row.judged:
        return Cell("no contract", "dim")
    lowest = worst(row.verdicts)
    if lowest is None:
        return Cell("…", "dim")
    state = str(lowest.state)
    return Cell(state.replace("_", " "), _TONES.get(state, "dim"))


def note(row: LiveRow, overview: Overview) -> Cell:
    """Why there is no number, how old it is, or how it was stamped."""
    sample = row.sample
    if row.refused is not None:
        return Cell(row.refused, "warn")
    if row.running:
        return Cell("running now", "dim")
    if sample is None:
        return Cell("first interval is being measured" if row.next_run_ns is None else _next(row, overview), "dim")
    if sample.state is not SampleState.OK:
        return Cell(sample.reason or sample.state.replace("_", " "), "warn")
    age_ns = overview.now_ns - sample.start_ns - sample.span_ns
    if row.next_run_ns is None and age_ns > _OLD_NS + 2 * overview.span_ns:
        return Cell(f"no sample since {_clock_time(sample.start_ns + sample.span_ns)}", "warn")
    if row.next_run_ns is not None and age_ns > _OLD_NS:
        return Cell(f"of {_clock_time(sample.start_ns)}, {_next(row, overview)}", "dim")
    return Cell(sample.reason or f"{sample.quality.stamps} stamps", "warn" if sample.reason else "dim")


def _next(row: LiveRow, overview: Overview) -> str:
    left_ns = (row.next_run_ns or 0) - overview.now_ns
    if left_ns <= _OLD_NS:
        return f"next run in {max(0, -(-left_ns // SECOND))} s"
    if left_ns < 12 * 3600 * SECOND:
        return f"next run at {_clock_time(row.next_run_ns or 0)}"
    return f"next run {datetime.fromtimestamp((row.next_run_ns or 0) // SECOND, UTC):%Y-%m-%d %H:%M} UTC"


def _clock_time(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // SECOND, UTC):%H:%M:%S} UTC"


def sample_line(sample: Sample) -> str:
    """One sample as one plain line: time, circuit, probe, state, then what was measured."""
    parts = [time_of(sample.start_ns), f"{sample.circuit}/{sample.probe}", str(sample.state)]
    if sample.delay is not None:
        delay = sample.delay
        parts.append(
            f"rtt mean {delay.mean_ns / 1e6:.3f} p95 {delay.p95_ns / 1e6:.3f} max {delay.maximum_ns / 1e6:.3f} ms"
        )
    if sample.variation is not None and sample.variation.ipdv_pairs:
        parts.append(f"jitter {sample.variation.ipdv_mean_ns / 1e6:.3f} ms")
    if sample.counts is not None and sample.counts.sent:
        parts.append(f"lost {sample.counts.lost}/{sample.counts.sent}")
    if sample.rate is not None:
        parts.append(f"throughput {throughput(sample).text}")
    if sample.reason:
        parts.append(f"({sample.reason})")
    return " ".join(parts)


def time_of(at_ns: int) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return f"{datetime.fromtimestamp(at_ns // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"
