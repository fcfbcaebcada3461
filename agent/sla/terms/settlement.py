"""What is owed for a period: credit lines with their arithmetic, caps, claims, chronic findings. Types. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal

from agent.sla.terms.money import Money
from agent.sla.terms.remedies import ChronicRule, CreditTerms
from agent.sla.time.calendar import WindowInstants

ClaimState = Literal["not_due", "automatic", "open", "filed", "accepted", "rejected", "lapsed"]


@dataclass(frozen=True, slots=True)
class Claim:
    """State of the claim for one line. deadline: last local date on which it can be made. obstacle: why it cannot be
    made any more or will fail, such as no ticket in time. filed: when it was made; granted: what was accepted of it,
    None where all of it was."""

    state: ClaimState
    deadline: date | None = None
    obstacle: str = ""
    filed: date | None = None
    reference: str = ""
    granted: Money | None = None


@dataclass(frozen=True, slots=True)
class Paid:
    """What a term has paid, or is going to, for a month before the period. year_ns: start of the year of caps that the
    month ends in."""

    amount: Money
    terms: str
    year_ns: int


@dataclass(frozen=True, slots=True)
class CreditLine:
    """One line of the credit note.

    subject: the objective's or the incident's id. steps: the arithmetic in sentences, in order. exact: before rounding
    and caps; amount: what is owed. limited_by: the cap or stacking rule that made it smaller. provisional: the window
    is open, the verdict rests on an estimate, or an entry about an outage is disputed.
    """

    terms: CreditTerms
    subject: str
    window: WindowInstants
    steps: tuple[str, ...]
    exact: Fraction
    amount: Money
    limited_by: str = ""
    claim: Claim | None = None
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class ChronicFinding:
    """met: the rule's condition is fulfilled. incidents, windows: what it rests on. exercise_by: last local date."""

    rule: ChronicRule
    met: bool
    sentence: str
    incidents: tuple[str, ...] = ()
    exercise_by: date | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """lines: every one that was looked at and pays something, in the contract's order. total: sum after all caps.
    charge: monthly charge the credits are a part of, None where there is none (obstacle says so)."""

    lines: tuple[CreditLine, ...]
    total: Money | None
    charge: Money | None
    chronic: tuple[ChronicFinding, ...] = ()
    obstacle: str = ""
    notes: tuple[str, ...] = ()
