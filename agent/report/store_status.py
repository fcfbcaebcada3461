"""The state of a store as JSON document and as tables. Pure: `now_ns` comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.report import host_seconds
from agent.report.samples import Document, one_way_words, path_words, sample_document, utc
from agent.report.terminal import Cell, Column, Grid, Row, Tone
from agent.store.hostseconds import HostSeconds
from agent.store.records import GAP, EventRecord, RunRecord, RunState, StoreStatus
from probes.core.clock import SECOND
from probes.core.model import Sample, SampleState
from probes.core.units import format_bytes, format_duration, format_rate

STATUS_SCHEMA = "linkwitness.status/1"
ABSENT = "–"
SHOWN_GAPS = 20
LOW_SPACE_BYTES = 256 << 20
_TONES: dict[str, Tone] = {
    SampleState.OK: "good", SampleState.NO_REPLY: "bad", SampleState.REJECTED: "bad", SampleState.IMPAIRED: "warn",
    SampleState.INVALID: "warn", RunState.RAN: "good", RunState.SKIPPED: "warn", RunState.FAILED: "bad",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What the status command shows. latest: newest sample of every probe; runs: last due run of every flow probe;
    events: of the last day, newest first; gaps: of the last 30 days, newest record first; paths: of every path probe
    the newest sample that has a path."""

    now_ns: int
    status: StoreStatus
    latest: Sequence[Sample]
    runs: Sequence[RunRecord]
    events: Sequence[EventRecord]
    gaps: Sequence[EventRecord] = ()
    paths: Sequence[Sample] = ()
    host: HostSeconds = field(default_factory=HostSeconds.none)
    """of the last day"""


def document(report: StoreReport) -> Document:
    """Everything as JSON values; times in RFC 3339 and, where they are exact, in ns beside."""
    status = report.status
    owner = status.owner if status.running else None
    return {
        "schema": STATUS_SCHEMA,
        "time": utc(report.now_ns),
        "store": {
            "path": str(status.path),
            "site": status.site,
            "epoch": status.epoch,
            "schema_version": status.schema_version,
            "running": status.running,
            "pid": owner.pid if owner else None,
            "since": utc(owner.started_ns) if owner else None,
            "samples": status.rows,
            "newest_seq": status.newest_seq,
            "first": _utc(status.first_ns),
            "last": _utc(status.last_ns),
            "last_commit": _utc(status.last_commit_ns),
            "database_bytes": status.database_bytes,
            "wal_bytes": status.wal_bytes,
            "free_bytes": status.free_bytes,
            "damaged": list(status.damaged),
        },
        "host": {"seconds": len(report.host), "impaired": report.host.impaired},
        "series": [
            {
                "circuit": item.circuit, "probe": item.probe, "kind": item.kind, "samples": item.rows,
                "first": utc(item.first_ns), "last": utc(item.last_ns),
            }
            for item in status.series
        ],
        "latest": [
            sample_document(sample) | {"age_ns": _age(sample, report)}
            for sample in report.latest
        ],
        "paths": [
            {"circuit": item.circuit, "probe": item.probe, "start": utc(item.start_ns), "age_ns": _age(item, report)}
            | {"hops": len(item.path.hops), "addresses": list(item.path.addresses), "reached": item.path.reached}
            for item in report.paths
            if item.path is not None
        ],
        "runs": [
            {
                "circuit": run.circuit, "probe": run.probe, "kind": run.kind, "state": str(run.state),
                "scheduled": utc(run.scheduled_ns), "started": _utc(run.started_ns), "reason": run.reason,
            }
            for run in report.runs
        ],
        "events": [
            {
                "kind": event.kind, "at": utc(event.at_ns), "end": _utc(event.end_ns), "reason": event.reason,
                "count": event.count, "circuit": event.circuit, "text": event.text,
            }
            for event in report.events
        ],
        "gaps": [
            {
                "begin": utc(gap.at_ns), "end": _utc(gap.end_ns), "reason": gap.reason, "text": gap.text,
                "begin_ns": gap.at_ns, "end_ns": gap.end_ns, "samples": gap.count,
            }
            for gap in report.gaps
        ],
        "sinks": [
            {"name": sink.sink, "seq": sink.seq, "lag": sink.lag, "parked": sink.parked} for sink in status.sinks
        ],
    }  # fmt: skip


def grids(report: StoreReport) -> list[Grid]:
    """The tables, those without rows left out: probes, runs, sinks, events."""
    probes = Grid(
        (
            Column("CIRCUIT"), Column("PROBE"), Column("STATE"), Column("LATENCY", right=True),
            Column("JITTER", right=True), Column("LOSS", right=True), Column("THROUGHPUT", right=True),
            Column("AGE", right=True), Column("NOTE", stretch=True),
        ),
        [_probe_row(sample, report) for sample in report.latest],
        above=_headline(report),
    )  # fmt: skip
    runs = Grid(
        (Column("FLOW PROBE"), Column("LAST DUE"), Column("RUN"), Column("REASON", stretch=True)),
        [_run_row(run) for run in report.runs],
    )
    sinks = Grid(
        (
            Column("SINK"),
            Column("DELIVERED TO", right=True),
            Column("WAITING", right=True),
            Column("PARKED", right=True),
        ),
        [
            (sink.sink, str(sink.seq), str(sink.lag), Cell(str(sink.parked), "warn" if sink.parked else "plain"))
            for sink in report.status.sinks
        ],
    )
    events = Grid(
        (Column("LAST DAY"), Column("EVENT"), Column("FOR", right=True), Column("WHAT", stretch=True)),
        [_event_row(event) for event in report.events],
    )
    gaps = Grid(
        (Column("GAP FROM"), Column("TO"), Column("FOR", right=True), Column("REASON"), Column("WHAT", stretch=True)),
        [_gap_row(gap) for gap in report.gaps[:SHOWN_GAPS]],
    )
    return [probes, *(grid for grid in (runs, sinks, events, gaps) if grid.rows)]


def _utc(at_ns: int | None) -> str | None:
    return None if at_ns is None else utc(at_ns)


def _headline(report: StoreReport) -> list[Cell]:
    status = report.status
    if status.running and status.owner is not None:
        who = f"kept by process {status.owner.pid} since {_time(status.owner.started_ns)}"
    else:
        who = f"no agent is running; last commit {_time(status.last_commit_ns)}"
    size = format_bytes(status.database_bytes + status.wal_bytes)
    span = f" from {_time(status.first_ns)} to {_time(status.last_ns)}" if status.rows else ""
    lines = [
        Cell(f"site {status.site}, store {status.path}: {who}", "strong"),
        Cell(f"{status.rows} samples{span}; {size}, epoch {status.epoch}", "dim"),
    ]
    low = status.free_bytes < LOW_SPACE_BYTES
    lines.append(Cell(f"free on this disk: {format_bytes(status.free_bytes)}", "bad" if low else "dim"))
    if len(report.host):
        lines.append(Cell(host_seconds.headline(report.host), "warn" if report.host.impaired else "dim"))
    if status.damaged:
        lines.append(Cell(f"moved aside as damaged: {', '.join(status.damaged)}", "warn"))
    return lines


def _time(at_ns: int | None) -> str:
    return ABSENT if at_ns is None else f"{utc(at_ns)[:19]}Z"


def _seconds(ns: int) -> str:
    """A duration to the second: precise enough for ages and gaps."""
    return format_duration(max(0, ns) // SECOND * SECOND)


def _age(sample: Sample, report: StoreReport) -> int:
    return report.now_ns - sample.start_ns - sample.span_ns


def _note(sample: Sample, report: StoreReport) -> Cell:
    """What is worth a remark: the reason, the last path of a path probe, delays one way, how packets were stamped."""
    last = next((item for item in report.paths if (item.circuit, item.probe) == (sample.circuit, sample.probe)), sample)
    if last.path is not None:
        words = path_words(last.path)
        if last.start_ns != sample.start_ns:
            words = f"last path {_seconds(_age(last, report))} ago: {words}"
        return Cell(f"{sample.reason}; {words}") if sample.reason else Cell(words, "dim")
    if sample.reason:
        return Cell(sample.reason)
    return Cell(one_way_words(sample) or ("" if sample.delay is None else f"{sample.quality.stamps} stamps"), "dim")


def _probe_row(sample: Sample, report: StoreReport) -> Row:
    delay, variation, counts, rate = sample.delay, sample.variation, sample.counts, sample.rate
    rates = [] if rate is None else [("↑", rate.forward_bps), ("↓", rate.backward_bps)]
    return (
        Cell(sample.circuit, "strong"),
        sample.probe,
        Cell(sample.state.replace("_", " "), _TONES[sample.state]),
        ABSENT if delay is None or not delay.count else f"{delay.mean_ns / 1e6:.3f} ms",
        ABSENT if variation is None or not variation.ipdv_pairs else f"{variation.ipdv_mean_ns / 1e6:.3f} ms",
        ABSENT if counts is None or not counts.sent else f"{counts.lost}/{counts.sent}",
        " ".join(f"{arrow}{format_rate(bps)}" for arrow, bps in rates if bps is not None) or ABSENT,
        _seconds(_age(sample, report)),
        _note(sample, report),
    )


def _run_row(run: RunRecord) -> Row:
    state = Cell(str(run.state), _TONES[run.state])
    return (f"{run.circuit}/{run.probe}", _time(run.scheduled_ns), state, run.reason or "")


def _gap_row(gap: EventRecord) -> Row:
    end_ns = gap.at_ns if gap.end_ns is None else gap.end_ns
    return (_time(gap.at_ns), _time(end_ns), _seconds(end_ns - gap.at_ns), Cell(gap.reason or "", "warn"), gap.text)


def _event_row(event: EventRecord) -> Row:
    lasted = "" if event.end_ns is None else _seconds(event.end_ns - event.at_ns)
    name = Cell(event.kind.replace("_", " "), "warn" if event.kind == GAP else "plain")
    return (_time(event.at_ns), name, lasted, f"{event.circuit}: {event.text}" if event.circuit else event.text)
