"""All circuits of one agent failing at once: its own host, uplink or site is suspected, not each circuit. Pure.

One place cannot tell a failure of everything it watches from a failure of its own. Such time is unknown until a second
vantage, or an anchor (any further circuit that goes another way and answers), proves otherwise.

A circuit fails in an interval when more than a tenth of its packets are lost. An interval is of shared fate when every
circuit that was measured in it fails and they have three targets or more. Circuits on this host itself, and those
found on it by `discover` (gateway, resolver), are no witnesses: they answer whatever has become of the uplink.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from ipaddress import ip_address
from typing import Final

import numpy as np

from agent.sla.samples.columns import SampleColumns, present
from agent.sla.samples.feeds import DELAY_KINDS, every_ns, feed, makes_attempts
from agent.sla.samples.measured import feeds_verdict
from agent.sla.terms.contract import Contract, Objective
from agent.sla.time.spans import NOWHERE, Flags, Spans
from probes.core.clock import SECOND
from probes.core.model import Circuit, ProbeSetting, SampleState

FAILING: Final = Fraction(1, 10)
TARGETS: Final = 3
COLUMNS: Final = ("sent", "lost")
ATTEMPT_NS: Final = 60 * SECOND
"""A failed attempt stands for the time until the next one, but for no longer than this."""
APART_NS: Final = 6 * 3600 * SECOND
"""Suspected times that are closer together are read at once."""
FINAL_NS: Final = 180 * SECOND
"""Samples older than this are all there: no probe in use waits longer for its answers."""
PIECES: Final = 10_000
"""Pieces of time remembered; beyond it the memory begins anew."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A circuit by the probe that tells whether it is available. stands_for_ns: of an attempt, else 0."""

    circuit: str
    target: str
    probe: str
    kind: str
    stands_for_ns: int


Read = Callable[[Witness, int, int], SampleColumns]
"""COLUMNS of the witness' samples that start in [start_ns, end_ns)."""


def witnesses(
    circuits: Sequence[Circuit], contracts: Mapping[str, Contract], discovered: Collection[str] = ()
) -> tuple[Witness, ...]:
    """Every circuit that can tell something about the world beyond this site; none where that is too few targets."""
    found = []
    for circuit in circuits:
        if circuit.id in discovered or on_this_host(circuit.target):
            continue
        probe = _teller(circuit, contracts.get(circuit.contract or ""))
        if probe is not None:
            step = min(every_ns(probe) or ATTEMPT_NS, ATTEMPT_NS) if makes_attempts(probe) else 0
            found.append(Witness(circuit.id, circuit.target.casefold(), probe.name, probe.kind, step))
    return tuple(found) if len({item.target for item in found}) >= TARGETS else ()


def _teller(circuit: Circuit, contract: Contract | None) -> ProbeSetting | None:
    promise: Objective | None = contract.availability() if contract is not None else None
    if promise is not None:
        return feed(promise, circuit)
    ranked = [probe for kind in DELAY_KINDS for probe in circuit.probes if probe.kind == kind]
    return ranked[0] if ranked else None


def on_this_host(target: str) -> bool:
    """True where nothing beyond this host answers."""
    try:
        address = ip_address(target)
    except ValueError:
        return target.casefold().rstrip(".") in ("localhost", "localhost.localdomain", "")
    return address.is_loopback or address.is_unspecified


def fails(columns: SampleColumns) -> Flags:
    """True for measured rows that lost more than a tenth, shape (rows,)."""
    sent, lost = columns.column("sent"), columns.column("lost")
    return feeds_verdict(columns) & (sent > 0) & (lost * FAILING.denominator > sent * FAILING.numerator)


def suspects(series: Mapping[str, SampleColumns], grid_ns: int) -> Spans:
    """When any probe of a circuit failed, in whole intervals of the grid."""
    found = NOWHERE
    for columns in series.values():
        if columns.sent is not None and columns.lost is not None:
            rows = fails(columns)
            start = columns.start_ns[rows]
            found = found | Spans.union(start, start + columns.span_ns[rows])
    return found.widened(grid_ns)


def examine(doubt: Spans, told_by: Sequence[Witness], read: Read, grid_ns: int) -> Spans:
    """The part of `doubt` that is of shared fate. Reads no more than the doubt that the witnesses so far have left."""
    failed: dict[str, Spans] = {}
    for witness in told_by:
        for begin, end in _clusters(doubt):
            columns = read(witness, begin - witness.stands_for_ns, end)
            rows = fails(columns)
            well = feeds_verdict(columns) & (columns.column("sent") > 0) & ~rows
            doubt = doubt - _held(columns, well, 0).widened(grid_ns)
            bad = _held(columns, rows, witness.stands_for_ns).widened(grid_ns)
            failed[witness.target] = failed.get(witness.target, NOWHERE) | bad
        if not len(doubt):
            return NOWHERE
    return doubt & _at_least(TARGETS, list(failed.values()))


def _held(columns: SampleColumns, rows: Flags, least_ns: int) -> Spans:
    start = columns.start_ns[rows]
    return Spans.union(start, start + np.maximum(columns.span_ns[rows], max(least_ns, 1)))


def _clusters(spans: Spans) -> Iterator[tuple[int, int]]:
    """Hulls of what lies close together."""
    if len(spans):
        yield from spans.grown(APART_NS // 2).within(int(spans.start_ns[0]), int(spans.end_ns[-1]))


def _at_least(count: int, sets: Sequence[Spans]) -> Spans:
    """Time that so many of the sets hold."""
    edges = np.concatenate([NOWHERE.start_ns, *(item.start_ns for item in sets), *(item.end_ns for item in sets)])
    change = np.concatenate([np.ones(sum(map(len, sets)), np.int64), np.full(sum(map(len, sets)), -1, np.int64)])
    order = np.lexsort((-change, edges))
    held = np.cumsum(change[order])[:-1] >= count
    at = edges[order]
    return Spans.union(at[:-1][held], at[1:][held])


class SharedFate:
    """Remembers what was found, so that no settled time is examined twice, whichever circuit asks."""

    def __init__(self, told_by: Sequence[Witness], read: Read, grid_ns: int) -> None:
        self._told_by, self._read, self._grid_ns = tuple(told_by), read, grid_ns
        self._examined = self._found = NOWHERE

    def of(self, series: Mapping[str, SampleColumns], settled_ns: int) -> Spans:
        """When the circuit with these samples failed together with all others; samples before settled_ns are final."""
        if not self._told_by:
            return NOWHERE
        if len(self._examined) > PIECES:
            self._examined = self._found = NOWHERE
        doubt = suspects(series, self._grid_ns)
        fresh = doubt - self._examined
        found = examine(fresh, self._told_by, self._read, self._grid_ns) if len(fresh) else NOWHERE
        settled = settled_ns // self._grid_ns * self._grid_ns
        self._examined = self._examined | fresh.within(0, settled)
        known, self._found = self._found | found, self._found | found.within(0, settled)
        return doubt & known


def blameless(columns: SampleColumns, shared: Spans) -> SampleColumns:
    """Samples of shared fate become missing data: those that lost packets, and capacity runs of that time.

    A failure does not begin and end with a sample: one that lost packets right beside it belongs to it.
    """
    if not len(shared) or not len(columns):
        return columns
    rows = shared.grown(int(columns.span_ns.max())).touches(columns.start_ns, columns.start_ns + columns.span_ns)
    bad = np.zeros(len(columns), np.bool_)
    for values, least in ((columns.lost, 1), (columns.forward_bps, 0), (columns.backward_bps, 0)):
        if values is not None:
            bad |= present(values) & (values >= least)
    rows &= bad & feeds_verdict(columns)
    return replace(columns, state=np.where(rows, SampleState.IMPAIRED.code, columns.state))
