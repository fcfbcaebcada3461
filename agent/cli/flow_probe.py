"""Ad-hoc flow probe: one attempt after another, a line for each, a summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Final

from agent.cli import path_table, probe_summary
from agent.cli.request import Request
from agent.report.samples import sample_document
from probes.core.catalog import FlowKind, FlowTarget
from probes.core.clock import SECOND, Clock
from probes.core.model import Rate, Sample, SampleState
from probes.core.units import format_bytes, format_duration, format_rate

_CLEAR_LINE: Final = "\r\x1b[K"


def run(request: Request, kind: FlowKind, clock: Clock) -> int:
    """Attempt until the count is reached or Ctrl-C; returns the exit code. Raises LocalError."""
    target = FlowTarget(
        circuit=request.target, probe=kind.name, host=request.target, address=request.address, source=request.source,
        interface=request.interface, dscp=request.dscp,
    )  # fmt: skip
    shown: type[_Progress | _TraceProgress] = _TraceProgress if kind.single else _Progress
    progress = shown() if sys.stderr.isatty() and not request.as_json and not request.quiet else None
    parameters = request.parameters | ({} if progress is None else {"progress": progress.show})
    if not request.as_json:
        print(_heading(request), flush=True)
    samples: list[Sample] = []
    interrupted = False
    began = due = clock.monotonic()
    try:
        while request.count is None or len(samples) < request.count:
            clock.sleep_until(due)
            sample = kind.measure(target, parameters, clock)
            samples.append(sample)
            if progress is not None:
                progress.clear()
            if not request.quiet and not request.as_json:
                print("\n".join(path_table.lines(sample)) if kind.single else line(len(samples), sample), flush=True)
            due = max(due + (request.integer("every") or SECOND), clock.monotonic())
    except KeyboardInterrupt:
        interrupted = True
        if progress is not None:
            progress.clear()
    _close(request, samples, clock.monotonic() - began, interrupted=interrupted)
    answered = any(sample.state is SampleState.OK for sample in samples)
    return 130 if interrupted else 0 if answered else 1


def _heading(request: Request) -> str:
    port = request.integer("port")
    return f"{request.kind.name} {request.target} ({request.address})" + (f", port {port}" if port else "")


def line(number: int, sample: Sample) -> str:
    """One attempt as one line."""
    outcome = {
        SampleState.OK: "ok", SampleState.NO_REPLY: "no reply", SampleState.REJECTED: "rejected",
        SampleState.IMPAIRED: "impaired", SampleState.INVALID: "not measured",
    }[sample.state]  # fmt: skip
    parts = [f"{outcome}: attempt={number}"]
    if sample.delay is not None:
        parts.append(f"time={sample.delay.sum_ns / 1e6:.3f} ms ({sample.quality.stamps} stamps)")
    if sample.rate is not None:
        parts.append(rates(sample.rate))
    loaded = [f"{name.removesuffix('_loaded_rtt')} {ns / 1e6:.3f} ms" for name, ns in sample.phases if "loaded" in name]
    if loaded:
        parts.append(f"rtt under load {', '.join(loaded)}")
    if sample.reason:
        parts.append(sample.reason)
    return " ".join(parts)


def rates(rate: Rate) -> str:
    """`forward 94.1 Mbit/s (50.5 MiB in 4.5s, 3 retransmits)`, and the same backward."""
    said = []
    for name, bps, octets, ns, again in (
        ("forward", rate.forward_bps, rate.forward_bytes, rate.forward_ns, rate.forward_retransmits),
        ("backward", rate.backward_bps, rate.backward_bytes, rate.backward_ns, rate.backward_retransmits),
    ):
        if octets is None or ns is None:
            continue
        speed = "not measured" if bps is None else format_rate(bps)
        repeated = "" if again is None else f", {again} retransmits"
        said.append(f"{name} {speed} ({format_bytes(octets)} in {ns / SECOND:.1f}s{repeated})")
    return ", ".join(said)


def _close(request: Request, samples: Sequence[Sample], duration_ns: int, *, interrupted: bool) -> None:
    total = probe_summary.totals(samples)
    if request.as_json:
        said = probe_summary.document(request, total, duration_ns, interrupted=interrupted)
        said["replied"] = any(sample.state is SampleState.OK for sample in samples)
        said["runs"] = [sample_document(sample) for sample in samples]
        print(json.dumps(said, ensure_ascii=False))
        return
    if isinstance(request.kind, FlowKind) and request.kind.single:
        if len(samples) != 1 or request.quiet:
            print(path_table.summary(request.target, samples))
    elif any(sample.rate is not None for sample in samples):
        print("\n".join(["", *_throughput_lines(request, samples, duration_ns)]))
    else:
        print("\n".join(["", *probe_summary.lines(request, total, duration_ns)]))


def _throughput_lines(request: Request, samples: Sequence[Sample], duration_ns: int) -> list[str]:
    good = sum(sample.state is SampleState.OK for sample in samples)
    said = [f"--- {request.target} {request.kind.name}: {good} of {len(samples)} runs complete"]
    said[0] += f" in {format_duration(duration_ns // 10**8 * 10**8)}"
    for name in ("forward", "backward"):
        found = [getattr(sample.rate, f"{name}_bps") for sample in samples if sample.rate is not None]
        speeds = [bps for bps in found if bps is not None]
        if speeds:
            values = (min(speeds), sum(speeds) // len(speeds), max(speeds))
            said.append(f"{name} min/mean/max = {' / '.join(format_rate(bps) for bps in values)} (TCP payload)")
    return said


class _Progress:
    """One line on the terminal that is written over while a run goes on."""

    def __init__(self) -> None:
        self._last = ("", 0, 0)

    def show(self, direction: str, ns: int, octets: int) -> None:
        name, then_ns, then_octets = self._last
        if direction != name or ns < then_ns:
            then_ns, then_octets = 0, 0
        self._last = (direction, ns, octets)
        speed = format_rate((octets - then_octets) * 8 * SECOND // max(1, ns - then_ns))
        print(f"{_CLEAR_LINE}{direction} {ns / SECOND:.1f}s {speed}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        print(_CLEAR_LINE, end="", file=sys.stderr, flush=True)


class _TraceProgress:
    """One line on the terminal that tells how far a trace has come."""

    def show(self, sent: int, answered: int, hop: int) -> None:
        said = f"hop {hop}: {sent} packets, {answered} answers" if sent else "starting"
        print(f"{_CLEAR_LINE}{said}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        print(_CLEAR_LINE, end="", file=sys.stderr, flush=True)
