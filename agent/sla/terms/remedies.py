"""What a broken promise costs: credit bands, unit and event prices, caps, claims, chronic rules. Terms only. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Literal

from agent.sla.terms.money import Money
from agent.sla.terms.objective import CalendarUnit


class CreditBasis(StrEnum):
    """The families of credit in carriers' contracts."""

    BAND = "band"
    """price of the band that the objective's value lies in"""
    PER_UNIT = "per_unit"
    """price for each unit of downtime (or of an objective's value), full or started, after a deductible"""
    PER_EVENT = "per_event"
    """for each incident, the price of the band that its duration lies in"""
    EXCESS_ABSOLUTE = "excess_absolute"
    """price of the band that (value - target) lies in, or per unit of it"""
    EXCESS_RELATIVE = "excess_relative"
    """price of the band that (value - target) / target lies in"""
    PROPORTIONAL = "proportional"
    """charge x (downtime - deductible) / window"""


PriceKind = Literal["percent", "mrc_days", "mrc_hours", "fraction", "amount"]
"""Percent of the monthly charge; days or hours of it (by the day basis); a fraction of it (1/720); a sum of money."""

DayBasis = Literal["30", "days_in_month", "365"]
"""A day of the monthly charge: 1/30; 1/28 .. 1/31; 12/365."""


@dataclass(frozen=True, slots=True)
class Price:
    """value: 1 is 100 %, one day, one hour, the whole charge; for `amount`, `money` holds the sum. text: as written."""

    kind: PriceKind
    value: Fraction
    money: Money | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """[low, high) of the value in base units, or (low, high] where upper_inclusive; None is open. Contiguous, in
    ascending order, without holes or overlaps: the loader sees to that."""

    low: Fraction | None
    high: Fraction | None
    price: Price
    upper_inclusive: bool = False
    text: str = ""

    def holds(self, value: Fraction) -> bool:
        if self.upper_inclusive:
            return (self.low is None or value > self.low) and (self.high is None or value <= self.high)
        return (self.low is None or value >= self.low) and (self.high is None or value < self.high)


@dataclass(frozen=True, slots=True)
class CreditUnit:
    """step: of the value, in its base unit (ns for time). started: a unit begun counts whole. deductible: taken off
    first, in the same unit. each_incident: steps are counted for each incident apart, else over the window's sum."""

    step: Fraction
    started: bool = True
    deductible: Fraction = Fraction(0)
    each_incident: bool = False


@dataclass(frozen=True, slots=True)
class Cap:
    """Most that is paid per incident, objective, month, year or contract term, as a price."""

    per: Literal["incident", "objective", "month", "year", "contract"]
    price: Price


@dataclass(frozen=True, slots=True)
class CreditTerms:
    """One way of being paid. objective: its id; None is for incidents (per_unit, per_event, proportional).

    automatic: owed without being claimed. minimum: smaller sums are not paid. cause: shared by terms of which only the
    highest is paid where the contract says `same_cause_highest`.
    """

    id: str
    basis: CreditBasis
    objective: str | None = None
    bands: tuple[Band, ...] = ()
    unit: CreditUnit | None = None
    price: Price | None = None
    """of one unit"""
    caps: tuple[Cap, ...] = ()
    day_basis: DayBasis = "30"
    minimum: Money | None = None
    automatic: bool = False
    cause: str = ""
    """terms without one share a cause where they are about downtime"""
    minimum_outage_ns: int = 0
    """incidents shorter than this pay nothing (per_event, per_unit)"""
    pro_rata: bool = True
    """a month in which the contract was valid for a part only has that part of the charge"""
    text: str = ""


Stacking = Literal["sum", "highest", "same_cause_highest"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """So many days after something. business: only days that are neither weekend nor holiday count. The last moment is
    the end of that local day. month_end: of the month that a line is settled with, which a day's window has as well."""

    days: int
    business: bool = False
    after: Literal["incident_start", "incident_end", "ticket_close", "window_end", "month_end"] = "window_end"


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """How a credit is asked for. ticket_within_ns: a ticket must have been opened so soon after the start."""

    deadline: Deadline
    ticket_within_ns: int | None = None
    channel: str = ""


@dataclass(frozen=True, slots=True)
class ChronicRule:
    """A right that repeated failure gives.

    Met when within [rolling_ns or the calendar unit] at least `count` outages of minimum_ns or longer lie, or outages
    of aggregate_ns together, or when `objective` was missed in missed_windows windows in a row (or, with
    missed_of, in missed_windows of the last missed_of).
    """

    id: str
    right: Literal["terminate", "reroute", "extra_credit", "escalate"]
    count: int | None = None
    minimum_ns: int = 0
    aggregate_ns: int | None = None
    rolling_ns: int | None = None
    calendar: CalendarUnit | None = None
    objective: str | None = None
    missed_windows: int | None = None
    missed_of: int | None = None
    extra: Price | None = None
    exercise: Deadline | None = None
    text: str = ""
