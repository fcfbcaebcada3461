"""A running agent as a table: one row per probe, the worst first where the terminal is too low for all. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from agent.deliver import SinkStatus
from agent.live import LiveRow
from agent.overview import Overview
from agent.report.samples import one_way_words, path_words
from agent.report.terminal import Cell, Column, Grid, Tone
from agent.sla.terms.contract import Metric
from agent.sla.verdict import Verdict, worst
from agent.sla.words.wording import quantity
from probes.core.clock import SECOND
from probes.core.model import Sample, SampleState
from probes.core.units import format_rate

ABSENT: Final = "–"
WIDE: Final = 150
_HEADINGS: Final = {
    "circuit": Column("CIRCUIT"), "probe": Column("PROBE"), "latency": Column("LATENCY", right=True),
    "jitter": Column("JITTER", right=True), "loss": Column("LOSS", right=True),
    "throughput": Column("THROUGHPUT", right=True), "number": Column("LATENCY/RATE", right=True),
    "available": Column("AVAILABLE", right=True), "verdict": Column("VERDICT"), "note": Column("NOTE"),
}  # fmt: skip
_FORMS: Final[tuple[tuple[str, ...], ...]] = (
    ("circuit", "probe", "latency", "jitter", "loss", "throughput", "available", "verdict", "note"),
    ("circuit", "probe", "number", "jitter", "loss", "available", "verdict", "note"),
    ("circuit", "probe", "number", "jitter", "loss", "available", "verdict"),
    ("circuit", "probe", "number", "jitter", "loss", "verdict"),
    ("circuit", "probe", "number", "loss", "verdict"),
)
"""Widest first. Numbers are never cut: what has no room is left out, and notes that have none go below the table."""
_GAP: Final = 3
_NOTE_ROOM: Final = 30
_NAMED: Final = 3
"""probes named before a remark they share"""
_NAME_ROOM: Final = 20
_LONGEST_NAME: Final = 32
_SHORTEST_NAME: Final = 6
_TONES: Final[dict[str, Tone]] = {
    "met": "good", "on_track": "good", "breached": "bad", "at_risk": "warn",
}  # fmt: skip
_OLD_NS: Final = 60 * SECOND
_FINE: Final = 6

Cells = dict[str, Cell]


def grid(overview: Overview, width: int = WIDE, limit: int | None = None) -> Grid:
    """The table for a terminal of this width. limit: at most so many probes, then the worst of them, and a line says
    how many are not shown.
    """
    chosen, hidden = overview.rows, 0
    if limit is not None and limit < len(overview.rows):
        chosen = tuple(sorted(overview.rows, key=urgency)[:limit])  # stable: in the order of the configuration
        hidden = len(overview.rows) - limit
    rows, before = [], None
    for row in chosen:
        rows.append(_cells(row, overview, first=row.circuit != before))
        before = row.circuit
    form, room = _form(rows, width)
    remarks = _remarks(chosen, rows, room.get("note", 0))
    table = [[_shortened(cells[name], room.get(name, width)) for name in form] for cells in rows]
    return Grid([_HEADINGS[name] for name in form], table, _above(overview), (*remarks, *_below(overview, hidden)))


def _form(rows: Sequence[Cells], width: int) -> tuple[tuple[str, ...], dict[str, int]]:
    """The widest form that fits, and the room for names and notes in it."""
    longest = min(_LONGEST_NAME, max((len(cells["circuit"].text) for cells in rows), default=0))
    form, left = _FORMS[-1], 0
    for form in _FORMS:
        left = width - sum(_width(name, rows) + _GAP for name in form if name != "circuit")
        if left >= min(longest, _NAME_ROOM):
            break
    name = max(_SHORTEST_NAME, min(left, longest))
    return form, {"circuit": name} | ({"note": _NOTE_ROOM + left - name} if "note" in form else {})


def _width(name: str, rows: Sequence[Cells]) -> int:
    if name == "note":
        return _NOTE_ROOM
    return max(len(_HEADINGS[name].heading), *(len(cells[name].text) for cells in rows), 0)


def _shortened(cell: Cell, room: int) -> Cell:
    return cell if len(cell.text) <= room else Cell(f"{cell.text[: room - 1]}…", cell.tone)


def _remarks(chosen: Sequence[LiveRow], rows: Sequence[Cells], room: int) -> list[Cell]:
    """Below the table: notes it has no room for. Without a column for them, those that say why there is no number."""
    subjects: dict[Cell, list[str]] = {}
    for row, cells in zip(chosen, rows, strict=True):
        remark = cells["note"]
        if len(remark.text) > room and (room or remark.tone == "warn" or row.sample is None):
            subjects.setdefault(remark, []).append(f"{row.circuit}/{row.probe}")
    found = [Cell(f"{_some(names)}: {remark.text}", remark.tone) for remark, names in subjects.items()]
    return sorted(found, key=lambda cell: cell.tone != "warn")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


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
        Cell(f"store {overview.store}; host load {overview.host_load:.0%}{_fitness(overview)}; {clock}", "dim"),
        *(_sink(sink) for sink in overview.sinks),
        Cell("latency: mean round trip; jitter: mean |IPDV|, RFC 3393; Ctrl-C stops and keeps everything", "dim"),
    )


def _fitness(overview: Overview) -> str:
    """The share of the last day in which this host was unfit to measure, where there was any."""
    seconds, impaired = overview.host_seconds
    return f", unfit {impaired / seconds:.2%} of the last day" if impaired else ""


def _sink(sink: SinkStatus) -> Cell:
    return Cell(f"sink {sink}", "dim" if sink.state in ("ok", "idle", "starting") else "warn")


def _cells(row: LiveRow, overview: Overview, *, first: bool) -> Cells:
    sample = None if _stale(row, overview) else row.sample
    latency, rate = _latency(sample), throughput(sample)
    return {
        "circuit": Cell(row.circuit if first else "", "strong"),
        "probe": Cell(row.probe),
        "latency": latency,
        "jitter": _jitter(sample),
        "loss": _loss(sample),
        "throughput": rate,
        "number": latency if rate.text == ABSENT else rate,
        "available": Cell(_availability(row.verdicts) if first else ""),
        "verdict": _verdict(row) if first else Cell(""),
        "note": note(row, overview),
    }


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
    directions = (("↑", sample.rate.forward_bps), ("↓", sample.rate.backward_bps))
    rates = [(arrow, *format_rate(rate).rsplit(" ", 1)) for arrow, rate in directions if rate is not None]
    if len({unit for *_, unit in rates}) == 1:
        return Cell(f"{' '.join(f'{arrow}{number}' for arrow, number, _ in rates)} {rates[0][2]}")
    return Cell(" ".join(f"{arrow}{number} {unit}" for arrow, number, unit in rates) or ABSENT)


def _availability(verdicts: Sequence[Verdict]) -> str:
    for verdict in verdicts:
        if verdict.objective.metric is Metric.AVAILABILITY and verdict.value is not None:
            return quantity(verdict.objective, verdict.value, verdict.target)
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
        return Cell("first interval under way" if row.next_run_ns is None else _next(row, overview), "dim")
    if sample.state is not SampleState.OK:
        return Cell(sample.reason or sample.state.replace("_", " "), "warn")
    if _stale(row, overview):
        return Cell(f"no sample since {_clock_time(sample.start_ns + sample.span_ns)} UTC", "warn")
    if row.next_run_ns is not None and overview.now_ns - sample.start_ns - sample.span_ns > _OLD_NS:
        found = "" if sample.path is None else f"{path_words(sample.path)}, "
        return Cell(f"{found}of {_clock_time(sample.start_ns)}, {_next(row, overview)}", "dim")
    return Cell(sample.reason or _measured(sample), "warn" if sample.reason else "dim")


def _measured(sample: Sample) -> str:
    """What has no column: the path, delays one way, or else how the packets were stamped."""
    if sample.path is not None:
        return path_words(sample.path)
    return one_way_words(sample) or f"{sample.quality.stamps} stamps"


def _stale(row: LiveRow, overview: Overview) -> bool:
    """A stream's sample so old that showing its numbers would say that all is well."""
    if row.sample is None or row.next_run_ns is not None or row.running:
        return False
    return overview.now_ns - row.sample.start_ns - row.sample.span_ns > _OLD_NS + 2 * overview.span_ns


def _next(row: LiveRow, overview: Overview) -> str:
    left_ns = (row.next_run_ns or 0) - overview.now_ns
    if left_ns <= _OLD_NS:
        return f"next run in {max(0, -(-left_ns // SECOND))} s"
    if left_ns < 12 * 3600 * SECOND:
        return f"next {_clock_time(row.next_run_ns or 0)} UTC"
    return f"next {datetime.fromtimestamp((row.next_run_ns or 0) // SECOND, UTC):%Y-%m-%d %H:%M} UTC"


def _clock_time(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // SECOND, UTC):%H:%M:%S}"


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
    if words := one_way_words(sample):
        parts.append(f"one way {words}" if sample.forward and sample.forward.delay else words)
    if sample.path is not None:
        parts.append(f"path {path_words(sample.path)}")
    if sample.reason:
        parts.append(f"({sample.reason})")
    return " ".join(parts)


def time_of(at_ns: int) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return f"{datetime.fromtimestamp(at_ns // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"
