"""A path as a table for people, hop by hop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.cli.probe_summary import milliseconds
from probes.core.model import Hop, Path, Sample
from probes.trace.hops import dscp_name

_HEADS: Final = ("hop", "address", "answered", "min", "mean", "max", "DSCP", "MTU", "MPLS")
_RIGHT: Final = ("hop", "answered", "min", "mean", "max", "MTU")
SILENT: Final = "*"


def lines(sample: Sample) -> list[str]:
    """The table, and what is to be said about it. Delays in ms; a hop that did not answer is shown as `*`."""
    path = sample.path
    if path is None:
        return [f"not measured: {sample.reason}"]
    rows = [_HEADS, *(_row(hop) for hop in path.hops)]
    shown = [place for place in range(len(_HEADS)) if place < 6 or any(row[place] for row in rows[1:])]
    widths = {place: max(len(row[place]) for row in rows) for place in shown}
    said = ["  ".join(_cell(row[place], widths[place], _HEADS[place]) for place in shown).rstrip() for row in rows]
    said += ["", _ending(path, sample)]
    notes = sample.reason.split("; ") if sample.reason else []
    return [*said, *(f"note: {note}" for note in notes)]


def _ending(path: Path, sample: Sample) -> str:
    count = len(path.hops)
    where = f"reached after {count} {'hop' if count == 1 else 'hops'}" if path.reached else "not reached"
    mtu = "" if path.mtu is None else f", path MTU {path.mtu} octets"
    return f"{sample.remote} {where}{mtu}; round trips in ms, stamps: {sample.quality.stamps}"


def _row(hop: Hop) -> tuple[str, ...]:
    mean = hop.sum_ns / hop.received if hop.sum_ns is not None and hop.received else None
    labels = " ".join(f"{label.value}/{label.traffic_class}/{label.ttl}" for label in hop.labels)
    address = hop.address or SILENT
    return (
        str(hop.ttl),
        f"{address} ({hop.error})" if hop.error else address,
        f"{hop.received}/{hop.sent}",
        milliseconds(hop.minimum_ns),
        milliseconds(mean),
        milliseconds(hop.maximum_ns),
        "" if hop.dscp is None else dscp_name(hop.dscp),
        "" if hop.mtu is None else str(hop.mtu),
        labels,
    )


def _cell(text: str, width: int, head: str) -> str:
    return text.rjust(width) if head in _RIGHT else text.ljust(width)


def summary(target: str, samples: Sequence[Sample]) -> str:
    """One line over several runs."""
    reached = sum(sample.path is not None and sample.path.reached for sample in samples)
    paths = {sample.path.addresses for sample in samples if sample.path is not None}
    ways = "one path" if len(paths) == 1 else f"{len(paths)} different paths"
    return f"--- {target} path: reached in {reached} of {len(samples)} runs, {ways}"
