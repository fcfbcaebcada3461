"""Rows of a statement: figures, moments, windows, faults, exclusions, credits. Types only. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. exact: in its unit, null where there is none; shown: rounded for people, with the unit they read."""

    exact: Fraction | None
    unit: str
    shown: str


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment: UTC ns since 1970, UTC as ISO 8601, and the local time of the contract's zone."""

    ns: int
    utc: str
    local: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """Half-open time [start, end), UTC ns, and what it is called."""

    start_ns: int
    end_ns: int
    label: str


@dataclass(frozen=True, slots=True)
class PartyRow:
    """One side of the contract."""

    role: str
    name: str


@dataclass(frozen=True, slots=True)
class WindowRow:
    """The time a promise is judged over."""

    label: str
    time_zone: str
    start: Instant
    end: Instant
    length: Figure
    closed: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the header or of the methods: what it is and what it says."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class MissingRow:
    """Time that was not measured, and why."""

    reason: str
    duration: Figure


@dataclass(frozen=True, slots=True)
class TimeAccount:
    """Where the time of a window went: window = excluded + measured + the sum of missing (+ edges)."""

    objective: str
    probe: str
    window: WindowRow
    whole: Figure
    excluded: Figure
    counted: Figure
    measured: Figure
    missing: tuple[MissingRow, ...]
    edges: Figure
    """the rest of the window; edges_text says what that is"""
    edges_text: str


@dataclass(frozen=True, slots=True)
class ExclusionRow:
    """An entry that asks for time not to count, and what became of it."""

    id: str
    kind: str
    reason: str
    start: Instant
    end: Instant
    duration: Figure
    taken: Figure
    """what it takes out of the period and no earlier entry does"""
    applied: bool
    standing: str
    sentence: str
    source: str
    entered: Instant
    retroactive: bool
    notified: Instant | None
    confirmed_by: str
    evidence: str


@dataclass(frozen=True, slots=True)
class StampRow:
    """A moment in the life of a fault."""

    stamp: str
    at: Instant


@dataclass(frozen=True, slots=True)
class PauseRow:
    """The repair clock stood, from and to when, and why. end null: it still does."""

    start: Instant
    end: Instant | None
    reason: str
    evidence: str


@dataclass(frozen=True, slots=True)
class TicketRow:
    """A ticket about a fault."""

    id: str
    references: tuple[str, ...]
    cause: str
    note: str


@dataclass(frozen=True, slots=True)
class AttributionRow:
    """Who answers for a fault, who says so, and on what evidence. before: what an entry replaced, newest first."""

    party: str
    by: str
    reasons: tuple[str, ...]
    disputed: str
    before: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One fault on both clocks. number: as marked in the drawing. difference: contract's clock less the measured."""

    number: int
    id: str
    basis: str
    priority: str
    start: Instant
    end: Instant | None
    down: Figure
    counted: Figure
    contract_clock: Figure
    measured_clock: Figure
    paused: Figure
    difference: Figure
    attribution: AttributionRow
    stamps: tuple[StampRow, ...]
    pauses: tuple[PauseRow, ...]
    tickets: tuple[TicketRow, ...]


@dataclass(frozen=True, slots=True)
class RepairRow:
    """Means over the faults that start in the period."""

    count: int
    mttr: Figure
    mttr_measured: Figure
    mttf: Figure
    mtbf: Figure


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """Where the claim for a credit stands. deadline, filed: local dates, ISO 8601. granted: what was accepted of it,
    null where no sum was named."""

    state: str
    text: str
    deadline: str | None
    obstacle: str
    filed: str | None
    reference: str
    granted: Figure


@dataclass(frozen=True, slots=True)
class CreditRow:
    """One line of the credit note with its arithmetic."""

    terms: str
    clause: str
    basis: str
    subject: str
    window: WindowRow
    steps: tuple[str, ...]
    exact: Figure
    amount: Figure
    limited_by: str
    provisional: bool
    claim: ClaimRow | None


@dataclass(frozen=True, slots=True)
class CreditNote:
    """What is owed. total null: there are no credit terms or no charge (obstacle says so)."""

    lines: tuple[CreditRow, ...]
    total: Figure
    charge: Figure
    share: Figure
    obstacle: str
    notes: tuple[str, ...]
    claim_by: str | None
    """earliest date by which something must be claimed"""
    lapsed: Figure
    """of the total: in lines that nobody claimed in time"""
    hindered: Figure
    """of the total: in lines that can be claimed still, and something stands in the way, such as a missing ticket"""


@dataclass(frozen=True, slots=True)
class ChronicRow:
    """A right that repeated failure gives, and whether its condition is met."""

    rule: str
    right: str
    met: bool
    sentence: str
    clause: str
    incidents: tuple[str, ...]
    exercise_by: str | None


@dataclass(frozen=True, slots=True)
class DisputeRow:
    """Something the parties do not agree on, or have to agree on."""

    subject: str
    text: str
