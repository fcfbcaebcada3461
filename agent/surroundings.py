"""What stood around the outages of a circuit, read from the samples of its neighbours, only around the outages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from agent.sla.docket import Reading
from agent.sla.faults.responsibility import AROUND_NS, Neighbour, Surroundings
from agent.sla.samples.causes import Gap
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.feeds import DELAY_KINDS, every_ns, makes_attempts
from agent.sla.samples.measured import feeds_verdict
from agent.sla.samples.shared_fate import APART_NS, ATTEMPT_NS, COLUMNS, fails, on_this_host
from agent.sla.time.spans import NOWHERE, Flags, Spans
from probes.core.model import Circuit, ProbeSetting

MOST: Final = 64
"""Other circuits that are looked at: those of the same provider and site first."""
PIECES: Final = 200
"""Pieces of time around outages that are looked at; the newest."""


class Samples(Protocol):
    """Where samples and the records of the agent come from."""

    def read(self, circuit: str, reading: Any) -> SampleColumns:
        """Columns of a docket.Reading."""

    def gaps(self, circuit: str, start_ns: int, end_ns: int) -> Sequence[Gap]: ...

    def carrier_down(self, interface: str, start_ns: int, end_ns: int) -> Spans | None: ...


def surroundings_of(
    source: Samples,
    circuit: Circuit,
    circuits: Sequence[Circuit],
    outages: Spans,
    *,
    discovered: Mapping[str, str] | Collection[str] = (),
) -> Surroundings:
    """Of all outages of one circuit together. discovered: circuits whose target this host found, by role where known.

    Circuits on this host itself, and those it found, are no witnesses to the world outside; the gateway is one to the
    site's own side.
    """
    names = {item.id: item for item in circuits}
    gateway = _gateway(circuits, discovered)
    ends = {name for name in (circuit.near_end, circuit.far_end, gateway) if name}
    others = [
        item
        for item in circuits
        if item.id != circuit.id and item.id not in ends and item.id not in discovered and not on_this_host(item.target)
    ]
    others.sort(key=lambda item: (item.provider != circuit.provider, item.site != circuit.site, item.id))
    around = outages.grown(AROUND_NS)

    def neighbour(name: str | None) -> Neighbour | None:
        other = names.get(name or "")
        return None if other is None or other.id == circuit.id else _look(source, other, around)

    first, last = _extent(around)
    return Surroundings(
        provider=circuit.provider or "",
        site=circuit.site or "",
        target=circuit.target.casefold(),
        near_end=neighbour(circuit.near_end),
        far_end=neighbour(circuit.far_end),
        gateway=neighbour(gateway),
        interface=circuit.interface or "",
        carrier_down=source.carrier_down(circuit.interface, first, last) if circuit.interface and len(around) else None,
        others=tuple(_look(source, item, around) for item in others[:MOST]),
        gaps=tuple((gap.reason, gap.start_ns, gap.end_ns) for gap in _gaps(source, circuit, around)),
    )


def _gateway(circuits: Sequence[Circuit], discovered: Mapping[str, str] | Collection[str]) -> str | None:
    if not isinstance(discovered, Mapping):
        return None
    return next((item.id for item in circuits if discovered.get(item.id) == "gateway"), None)


def _extent(spans: Spans) -> tuple[int, int]:
    return (int(spans.start_ns[0]), int(spans.end_ns[-1])) if len(spans) else (0, 0)


def _pieces(spans: Spans) -> Iterator[tuple[int, int]]:
    """Hulls of what lies close together, the newest PIECES of them."""
    if len(spans):
        hulls = list(spans.grown(APART_NS // 2).within(*_extent(spans)))
        yield from hulls[-PIECES:]


def _look(source: Samples, other: Circuit, around: Spans) -> Neighbour:
    """How another circuit fared in that time, by the probe that tells best whether it is there."""
    probe = _teller(other)
    failed = well = NOWHERE
    if probe is not None:
        stands_ns = min(every_ns(probe) or ATTEMPT_NS, ATTEMPT_NS) if makes_attempts(probe) else 0
        for begin, end in _pieces(around):
            columns = source.read(other.id, Reading(probe.name, probe.kind, COLUMNS, begin - stands_ns, end, other.id))
            bad = fails(columns)
            good = feeds_verdict(columns) & (columns.column("sent") > 0) & ~bad
            failed = failed | (_held(columns, bad, stands_ns) & around)
            well = well | (_held(columns, good, stands_ns) & around)
    return Neighbour(other.id, other.target.casefold(), other.provider or "", other.site or "", failed, well - failed)


def _teller(circuit: Circuit) -> ProbeSetting | None:
    return next((probe for kind in DELAY_KINDS for probe in circuit.probes if probe.kind == kind), None)


def _held(columns: SampleColumns, rows: Flags, least_ns: int) -> Spans:
    start = columns.start_ns[rows]
    return Spans.union(start, start + np.maximum(columns.span_ns[rows], max(least_ns, 1)))


def _gaps(source: Samples, circuit: Circuit, around: Spans) -> Iterator[Gap]:
    """The agent's own: runs that did not take place say nothing about it."""
    for begin, end in _pieces(around):
        yield from (gap for gap in source.gaps(circuit.id, begin, end) if gap.probe is None)
