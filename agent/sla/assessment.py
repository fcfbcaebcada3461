"""Everything that both parties must agree on for one circuit and one period, frozen. Types. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agent.sla.exclusion.exclusions import Ruling
from agent.sla.terms.contract import Contract
from agent.sla.terms.incidents import Incident
from agent.sla.terms.settlement import Settlement
from agent.sla.time.calendar import WindowInstants
from agent.sla.verdict import Verdict
from probes.core.model import Circuit


@dataclass(frozen=True, slots=True)
class RepairFigures:
    """Over the incidents that start in the period. ns; None where there is none to take a mean of.

    mttr_ns on the contract's clock, mttr_measured_ns on the measured one; MTTF = up time / n, MTBF = MTTF + MTTR
    (measured).
    """

    count: int
    mttr_ns: int | None
    mttr_measured_ns: int | None
    mttf_ns: int | None
    mtbf_ns: int | None


@dataclass(frozen=True, slots=True)
class Assessment:
    """verdicts: one for each objective and window that ends in the period, in the contract's order, windows in time.

    incidents: those that touch the period, by start. ruling: exclusions that touch it, applied or not. as_of_ns: the
    instant it is judged from.
    """

    contract: Contract
    circuit: Circuit
    period: WindowInstants
    as_of_ns: int
    verdicts: tuple[Verdict, ...]
    incidents: tuple[Incident, ...]
    repair: RepairFigures
    ruling: Ruling
    settlement: Settlement
    first_sample_ns: int | None
