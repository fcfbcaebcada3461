"""What an evaluation is given and what it gives back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from agent.sla.downtime.availability import Availability
from agent.sla.samples.causes import Cause, Circumstances
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.measured import Pace
from agent.sla.terms.contract import Contract
from agent.sla.terms.events import Event
from agent.sla.terms.incidents import Incident
from agent.sla.time.period import Period
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.verdict import EvidenceValue, Findings
from probes.core.arrays import Int64, Packets


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Findings, the period they are for, measured time in it, and what there is to say about them.

    missing: why the rest was not measured. excluded_ns: agreed not to count, in whole intervals of the evaluation.
    """

    period: Period
    findings: Findings
    measured_ns: int
    window_coverage: Fraction
    details: str
    evidence: Mapping[str, EvidenceValue]
    missing: tuple[Cause, ...] = ()
    excluded_ns: int = 0


@dataclass(frozen=True, slots=True)
class Feed:
    """Samples of one probe with its pace. timeout_ns: no answer in time takes longer; None where that is not known."""

    columns: SampleColumns
    pace: Pace
    timeout_ns: int | None = None


PacketReader = Callable[[str, Int64], Sequence[Packets | None]]
"""Packets of the samples of the named probe that start at these instants, None for each that has none any more."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When the judge looks: now, since when the circuit has been measured at all, what does not count, what is known
    of this agent. machines: runs of the availability machine that several objectives of one judgement need; memo:
    other things that they share.

    excluded: agreed not to count, and time outside the service hours. credited: agreed to count as up. contract: whose
    objective it is. incidents: of the circuit. events: of the contract. packets: None where none can be had.
    unknown: of which nobody knows whether the circuit was up, for what hangs on outages. grain_ns: no outage and no
    time between two is shorter, by the machine that finds them; 0 where that is not known.
    """

    now_ns: int
    since_ns: int
    excluded: Spans = NOWHERE
    known: Circumstances = field(default_factory=Circumstances)
    machines: dict[tuple[str, str, int, int, int], Availability] = field(default_factory=dict)
    credited: Spans = NOWHERE
    contract: Contract | None = None
    incidents: tuple[Incident, ...] = ()
    events: tuple[Event, ...] = ()
    packets: PacketReader | None = None
    unknown: Spans = NOWHERE
    grain_ns: int = 0
    memo: dict[object, object] = field(default_factory=dict)


class UnusableError(Exception):
    """The objective cannot be evaluated on this probe; the message says why."""


def portion(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(0)
