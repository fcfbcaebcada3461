"""Outages and tickets as both parties keep them: stamps, pauses, who was responsible and why. Types. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from agent.sla.time.spans import NOWHERE, Spans


class Stamp(StrEnum):
    """Moments in the life of a fault. Restored, confirmed and closed are three different things."""

    FAULT = "fault"
    DETECTED = "detected"
    TICKET = "ticket"
    RESPONSE = "response"
    RESTORED = "restored"
    CONFIRMED = "confirmed"
    CLOSED = "closed"


class Responsible(StrEnum):
    """Who answers for an outage."""

    PROVIDER = "provider"
    CUSTOMER = "customer"
    THIRD_PARTY = "third_party"
    AGENT = "agent"
    """the measuring host or its site"""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ClockTerms:
    """Which two stamps count for repair times. FAULT and DETECTED are measured where no ticket gives them; RESTORED is
    the measured end where no ticket gives it. earlier: the start is the earlier of `start` and the ticket (CALNET).

    pauses: reasons that stop the clock; all given reasons if None. pause_cap_ns: no incident is paused longer.
    """

    start: Stamp = Stamp.FAULT
    stop: Stamp = Stamp.RESTORED
    earlier: bool = False
    pauses: tuple[str, ...] | None = None
    pause_cap_ns: int | None = None
    bridge_ns: int = 1800 * 10**9
    """unknown time of at most so long between two outages joins them to one incident"""


@dataclass(frozen=True, slots=True)
class Pause:
    """The clock stands in [start_ns, end_ns); end_ns None: it still does."""

    start_ns: int
    end_ns: int | None
    reason: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who is responsible and why. by: `evidence`, or who entered it. before: the attribution that an entry replaced,
    which stays visible. reasons: sentences, each a piece of evidence."""

    party: Responsible
    by: str
    reasons: tuple[str, ...] = ()
    disputed: str = ""
    """who disputes it and why, or the empty text"""
    before: Attribution | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket of the ledger, all its entries applied. stamps: UTC ns by Stamp. circuits: it is about.

    entered_ns: when the ledger learned of it. references: ticket numbers of both sides.
    """

    id: str
    circuits: tuple[str, ...]
    stamps: Mapping[Stamp, int]
    entered_ns: int
    pauses: tuple[Pause, ...] = ()
    priority: str = ""
    cause: str = ""
    references: tuple[str, ...] = ()
    attribution: Attribution | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """One incident on the contract's clock and on the measured one, ns. contract_ns None: a stamp is missing yet.

    measured_ns: measured start to measured end; None where nothing was measured. paused_ns: taken off contract_ns.
    """

    contract_ns: int | None
    measured_ns: int | None
    paused_ns: int = 0
    start_ns: int | None = None
    stop_ns: int | None = None

    @property
    def difference_ns(self) -> int | None:
        """Contract's clock less the measured one."""
        if self.contract_ns is None or self.measured_ns is None:
            return None
        return self.contract_ns - self.measured_ns


@dataclass(frozen=True, slots=True)
class Incident:
    """One fault: what was measured joined with the tickets about it. UTC ns.

    start_ns, end_ns: the whole fault on either record; end_ns None while it lasts. down: certainly down by measurement
    (empty for a ticket without a measured outage). counted: the part of it that counts, without what is excluded.
    basis: which records there are. id: stable, from circuit and start, or from the ticket.
    """

    id: str
    circuit: str
    start_ns: int
    end_ns: int | None
    basis: Literal["measured", "ticket", "both"]
    down: Spans = NOWHERE
    counted: Spans = NOWHERE
    tickets: tuple[Ticket, ...] = ()
    attribution: Attribution = field(default_factory=lambda: Attribution(Responsible.UNKNOWN, "evidence"))
    repair: Repair = field(default_factory=lambda: Repair(None, None))
    stamps: Mapping[Stamp, int] = field(default_factory=dict)
    """of the measurement and the tickets together"""

    @property
    def priority(self) -> str:
        return next((ticket.priority for ticket in self.tickets if ticket.priority), "")

    @property
    def down_ns(self) -> int:
        return self.down.length_ns

    @property
    def counted_ns(self) -> int:
        return self.counted.length_ns
