"""The incidents of one circuit over a period: outages read from its samples, tickets, and what stood around them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, Protocol

from agent.sla.case import Feed, Moment, UnusableError
from agent.sla.docket import Reading
from agent.sla.downtime.timeline import interval_of, machine_of
from agent.sla.downtime.uptime import down_and_unknown
from agent.sla.exclusion.exclusions import rule
from agent.sla.faults.joining import incidents_of
from agent.sla.faults.responsibility import attribute
from agent.sla.samples.causes import BEFORE, Circumstances, Gap
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.feeds import every_ns, feed, makes_attempts
from agent.sla.samples.measured import pace
from agent.sla.samples.needs import columns_for, margins
from agent.sla.samples.shared_fate import FINAL_NS, SharedFate, blameless
from agent.sla.terms.contract import Contract, Metric, Objective, Party, Statistic, StatisticType, Target
from agent.sla.terms.incidents import Incident, Ticket
from agent.sla.time.spans import NOWHERE, Spans
from agent.surroundings import surroundings_of
from probes.core.clock import SECOND
from probes.core.model import Circuit

BEYOND_NS: Final = 24 * 3600 * SECOND
"""So far before and after the period outages are followed to their start and end."""
_USUAL: Final = Objective(
    "availability", Metric.AVAILABILITY, Statistic(StatisticType.AVAILABILITY_MEF), Target(Fraction(1), "100 %")
)
"""What finds outages of circuits to which no availability was promised."""
_NOBODY: Final = Contract("", "", Party("provider", "provider"), Party("customer", "customer"), "UTC", ())


class Samples(Protocol):
    """Where samples and the records of the agent come from."""

    def since(self, circuit: str) -> int | None: ...

    def read(self, circuit: str, reading: Any) -> SampleColumns:
        """Columns of a docket.Reading."""

    def gaps(self, circuit: str, start_ns: int, end_ns: int) -> Sequence[Gap]: ...

    def carrier_down(self, interface: str, start_ns: int, end_ns: int) -> Spans | None: ...


@dataclass(frozen=True, slots=True)
class Site:
    """What one agent knows beside the circuit. discovered: circuits whose target this host found, by role."""

    circuits: tuple[Circuit, ...] = ()
    discovered: Mapping[str, str] | Collection[str] = ()
    fate: SharedFate | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What was measured of a circuit: certainly down and unknown time of [start_ns, end_ns)."""

    start_ns: int
    end_ns: int
    down: Spans
    unknown: Spans
    interval_ns: int
    intervals: int


def incidents_between(
    source: Samples | None,
    circuit: Circuit,
    contract: Contract | None,
    tickets: Sequence[Ticket],
    *,
    start_ns: int,
    end_ns: int,
    now_ns: int,
    site: Site | None = None,
) -> tuple[Incident, ...]:
    """Incidents that touch [start_ns, end_ns), each with its party. source None: by the tickets alone."""
    terms = contract or _NOBODY
    first, last = start_ns - BEYOND_NS, min(now_ns, end_ns + BEYOND_NS)
    record = None if source is None else outages_between(source, circuit, terms, first, last, now_ns, site)
    if record is None:
        record = Record(first, last, NOWHERE, NOWHERE, 0, 1)
    ruling = rule(terms, circuit.id, start_ns=first, end_ns=last, now_ns=now_ns)
    found = incidents_of(
        circuit.id,
        record.down,
        record.unknown,
        Spans.of([(first, last)]) - ruling.time - ruling.up,
        tickets,
        terms.clock,
        dt_ns=record.interval_ns,
        n=record.intervals,
        now_ns=now_ns,
        until_ns=last,
    )
    wanted = [item for item in found if _touches(item, start_ns, end_ns)]
    if source is None or not wanted:
        return tuple(wanted)
    around = surroundings_of(
        source,
        circuit,
        site.circuits if site else (),
        Spans.of(pair for item in wanted for pair in item.down),
        discovered=site.discovered if site else (),
    )
    return tuple(replace(item, attribution=attribute(item, around)) for item in wanted)


def outages_between(
    source: Samples,
    circuit: Circuit,
    contract: Contract,
    start_ns: int,
    end_ns: int,
    now_ns: int,
    site: Site | None = None,
) -> Record | None:
    """Down and unknown time by the contract's availability; None where no probe of the circuit tells it."""
    objective = contract.availability() or _USUAL
    probe, since = feed(objective, circuit), source.since(circuit.id)
    if probe is None or since is None:
        return None
    before_ns, after_ns = margins(objective)
    begin = start_ns - before_ns - (every_ns(probe) or 0 if makes_attempts(probe) else 0)
    reading = Reading(probe.name, probe.kind, columns_for(objective), begin, min(end_ns + after_ns, now_ns), circuit.id)
    columns = source.read(circuit.id, reading)
    if not len(columns):
        return None
    shared = NOWHERE
    if site is not None and site.fate is not None and contract.shared_fate == "unknown":
        shared = site.fate.of({probe.name: columns}, now_ns - FINAL_NS)
    columns = blameless(columns, shared)
    timeout = probe.parameters.get("timeout")
    fed = Feed(
        columns,
        pace(columns, every_ns(probe), attempts=makes_attempts(probe)),
        timeout if isinstance(timeout, int) else None,
    )
    gaps = (*source.gaps(circuit.id, begin, end_ns), Gap(0, since, BEFORE))
    moment = Moment(now_ns, since, known=Circumstances(gaps, shared), contract=contract)
    try:
        down, unknown = down_and_unknown(contract, fed, start_ns, end_ns, moment)
        dt_ns = interval_of(objective, fed)
    except UnusableError:
        return None
    return Record(start_ns, end_ns, down, unknown, dt_ns, machine_of(objective.statistic)[0])


def _touches(incident: Incident, start_ns: int, end_ns: int) -> bool:
    return incident.start_ns < end_ns and (incident.end_ns is None or incident.end_ns > start_ns)
