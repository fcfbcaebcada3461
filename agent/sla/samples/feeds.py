"""Which probe of a circuit feeds an objective. Pure.

Chosen from the configuration, not from the data: a probe that is silent must not be replaced by one that is not.
"""

from __future__ import annotations

from typing import Final

from agent.sla.terms.contract import Contract, Metric, Objective, StatisticType
from probes.core.model import Circuit, ProbeSetting
from probes.core.units import format_duration

STREAM_KINDS: Final = ("stamp", "twamp", "udp", "icmp")
"""Kinds whose samples hold many packets and lie on multiples of their length; a sample of any other is one attempt."""
DELAY_KINDS: Final = (*STREAM_KINDS, "tcp")
"""Preferred first: protocols made for measuring, then echo (often rate-limited), then single attempts."""
RATE_KINDS: Final = ("throughput",)
ONE_WAY_KINDS: Final = ("stamp", "twamp")
"""Kinds whose packets are stamped at both ends."""


def one_way(objective: Objective) -> bool:
    """True where the objective is about one direction of packets. A throughput run has both by itself."""
    if objective.metric in (Metric.THROUGHPUT, Metric.AVAILABILITY, Metric.OUTAGE, Metric.EVENT):
        return False
    return objective.metric is Metric.DELAY or objective.statistic.direction != "round_trip"


def needs_probe(objective: Objective) -> bool:
    """False for outages, which the contract's availability objective finds, and for events, which are imported."""
    return objective.metric not in (Metric.OUTAGE, Metric.EVENT)


def kinds_for(objective: Objective) -> tuple[str, ...]:
    """Kinds of probe that can feed the objective, preferred first."""
    if not needs_probe(objective):
        return ()
    if one_way(objective):
        return tuple(kind for kind in ONE_WAY_KINDS if objective.kind in (None, kind))
    if objective.kind is not None:
        return (objective.kind,)
    if objective.metric is Metric.THROUGHPUT:
        return RATE_KINDS
    if objective.metric in (Metric.JITTER, Metric.MOS):
        return STREAM_KINDS
    return DELAY_KINDS


def feed(objective: Objective, circuit: Circuit) -> ProbeSetting | None:
    """The probe the objective names, or the first of the preferred kind; None when the circuit has none, and for
    outages and events."""
    if not needs_probe(objective):
        return None
    if objective.probe is not None:
        named = next((probe for probe in circuit.probes if probe.name == objective.probe), None)
        return named if named is None or not one_way(objective) or named.kind in ONE_WAY_KINDS else None
    for kind in kinds_for(objective):
        for probe in circuit.probes:
            if probe.kind == kind:
                return probe
    return None


def makes_attempts(probe: ProbeSetting) -> bool:
    """True where a sample is one try, however long that took: told by the kind, because a try may outlast its pace."""
    return probe.kind not in STREAM_KINDS


def every_ns(probe: ProbeSetting) -> int | None:
    """Time between packets or runs; None when the probe follows a timetable."""
    value = probe.parameters.get("every")
    return value if isinstance(value, int) and probe.schedule is None else None


def mismatches(contract: Contract, circuit: Circuit, span_ns: int) -> tuple[str, ...]:
    """What keeps this contract from being judged on this circuit, in plain sentences; empty when all fits."""
    found = []
    for objective in contract.objectives:
        probe = feed(objective, circuit)
        if probe is None and needs_probe(objective):
            found.append(f"objective {objective.id}: {missing_feed(objective)}")
        if objective.target.of_committed_rate and circuit.committed_rate_bps is None:
            found.append(f"objective {objective.id}: the circuit has no committed_rate to take a share of")
        seconds = objective.statistic.type is StatisticType.AVAILABILITY_SECONDS  # those are told from packets
        dt_ns = None if seconds else objective.statistic.dt_ns
        if dt_ns is not None and probe is not None and not makes_attempts(probe) and dt_ns % span_ns:
            found.append(
                f"objective {objective.id}: dt of {format_duration(dt_ns)} is not a multiple of the sample interval of "
                f"{format_duration(span_ns)}"
            )
    return tuple(found)


def missing_feed(objective: Objective) -> str:
    """Why there is nothing to judge."""
    if objective.probe is not None and not one_way(objective):
        return f"the circuit has no probe named {objective.probe}"
    if one_way(objective):
        kinds = " or ".join(kinds_for(objective) or ONE_WAY_KINDS)
        named = f" named {objective.probe}" if objective.probe is not None else ""
        return f"the circuit has no probe{named} of kind {kinds}, which stamps packets at both ends"
    return f"the circuit has no probe of kind {' or '.join(kinds_for(objective))}"
