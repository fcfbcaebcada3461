"""What provider and customer signed, as frozen values: parties, service, objectives, clocks, remedies. Pure.

Targets are exact: durations in ns, ratios 0..1, rates in bit/s, counts, all Fractions. Nothing here is a float.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from agent.sla.terms.excluded import Exclusion, ExclusionTerms
from agent.sla.terms.incidents import ClockTerms
from agent.sla.terms.money import Money, Rounding
from agent.sla.terms.objective import (
    SECOND_NS,
    CalendarUnit,
    Comparison,
    Coverage,
    Direction,
    EventTerms,
    JitterDefinition,
    LostPackets,
    Metric,
    Objective,
    Scope,
    Statistic,
    StatisticType,
    Target,
    Unit,
    Window,
)
from agent.sla.terms.remedies import Cap, ChronicRule, ClaimTerms, CreditTerms, Stacking
from agent.sla.time.hours import Hours

__all__ = [
    "SECOND_NS",
    "CalendarUnit",
    "Comparison",
    "Contract",
    "Coverage",
    "Direction",
    "EventTerms",
    "JitterDefinition",
    "LostPackets",
    "Measurement",
    "Metric",
    "MonthBasis",
    "Objective",
    "Party",
    "PartyRole",
    "Path",
    "Priority",
    "Redundancy",
    "Scope",
    "Service",
    "SharedFatePolicy",
    "Statistic",
    "StatisticType",
    "Target",
    "Tie",
    "Unit",
    "Window",
]

SharedFatePolicy = Literal["unknown", "count"]
"""unknown: may be this agent's own failure, so it widens the bounds; count: held against the circuit like any other."""

PartyRole = Literal["provider", "customer", "subcontractor", "third_party"]

MonthBasis = Literal["calendar", "fixed_720h"]
"""Length of the month that availability is a share of: as long as it was, or 720 h always."""

Record = Literal["ours", "theirs", "agreed"]
"""Whose measurement is final: that of this agent, that of the other side (shown beside ours), or one both agree on."""

Tie = Literal["ours", "theirs", "mean", "better", "worse"]
"""Where both records are good and differ: which of them counts, their mean, or the better or worse for the customer."""

Path = Literal["round_trip", "forward", "backward", "both"]
"""What is measured: there and back, one way, or both ways each for itself. Forward is away from the agent."""


@dataclass(frozen=True, slots=True)
class Party:
    """One side of the contract. locale: language tag of the reports it gets, for the record."""

    id: str
    role: PartyRole
    name: str = ""
    contacts: tuple[str, ...] = ()
    locale: str = ""


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Circuits of which at least k must be up for the service to be (MEF 10.4 section 8.8.11)."""

    members: tuple[str, ...]
    k: int


@dataclass(frozen=True, slots=True)
class Priority:
    """A priority by the name that this contract's promises use. also: what tickets and events call it."""

    name: str
    also: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """What was bought. monthly_charge: of a circuit that has no charge of its own. layer: that of the rates. id: the
    provider's name for it."""

    kind: str = ""
    service_class: str = ""
    endpoints: tuple[str, ...] = ()
    monthly_charge: Money | None = None
    cir_bps: int | None = None
    eir_bps: int | None = None
    layer: str = ""
    redundancy: Redundancy | None = None
    id: str = ""
    priorities: tuple[Priority, ...] = ()

    def priority(self, written: str) -> str:
        """What this contract calls a priority that a ticket or an event has; as it is where it names no such."""
        for item in self.priorities:
            if written.casefold() in (name.casefold() for name in (item.name, *item.also)):
                return item.name
        return written


@dataclass(frozen=True, slots=True)
class Measurement:
    """Who measures, how, and whose record is final. Everything here is said in the report; `record` decides nothing by
    itself: where it is not ours, the verdict says that the other record is final by contract.

    sources: who measures, by name. interval_ns: between two packets. tie: how a difference between two records is
    settled, by people.
    """

    record: Record = "ours"
    method: str = ""
    point_a: str = ""
    point_b: str = ""
    packet_size: int | None = None
    dscp: int | None = None
    timeout_ns: int | None = None
    note: str = ""
    sources: tuple[str, ...] = ()
    path: Path | None = None
    interval_ns: int | None = None
    tie: Tie | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract file. valid_from and valid_to are local dates of time_zone, both inclusive; None is open.

    digest: SHA-256 of the file's text, so that a verdict names the exact terms it was judged by. shared_fate: what
    time is worth in which all circuits of the agent fail at once. exclusions: the ledger of time that does not count,
    and its SHA-256. models: the published clause this contract is shaped after.
    """

    id: str
    version: str
    provider: Party
    customer: Party
    time_zone: str
    objectives: tuple[Objective, ...]
    valid_from: date | None = None
    valid_to: date | None = None
    title: str = ""
    digest: str = ""
    shared_fate: SharedFatePolicy = "unknown"
    exclusions: tuple[Exclusion, ...] = ()
    exclusions_digest: str = ""
    models: str = ""
    others: tuple[Party, ...] = ()
    service: Service = field(default_factory=Service)
    service_start: date | None = None
    measurement: Measurement = field(default_factory=Measurement)
    holidays: tuple[date, ...] = ()
    hours: Hours | None = None
    """service hours of the contract's default mask; None is round the clock"""
    month_basis: MonthBasis = "calendar"
    exclusion_terms: tuple[ExclusionTerms, ...] = ()
    clock: ClockTerms = field(default_factory=ClockTerms)
    currency: str = ""
    rounding: Rounding = field(default_factory=Rounding)
    credits: tuple[CreditTerms, ...] = ()
    credit_caps: tuple[Cap, ...] = ()
    """over all terms together"""
    stacking: Stacking = "sum"
    claims: ClaimTerms | None = None
    chronic: tuple[ChronicRule, ...] = ()
    notes: str = ""
    """precedence of documents, reservations"""

    def availability(self) -> Objective | None:
        """The objective whose state machine defines available time."""
        for objective in self.objectives:
            if objective.metric is Metric.AVAILABILITY:
                return objective
        return None

    def objective(self, identity: str) -> Objective | None:
        """By its id."""
        return next((item for item in self.objectives if item.id == identity), None)
