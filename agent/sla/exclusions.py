"""Time that both parties agreed not to count: entries of a ledger, and what of them holds for one circuit. Pure.

An entry made after its own start is retroactive: it is shown beside the verdict and holds only once somebody has
confirmed it by name. Time that several entries exclude is excluded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from agent.sla.hours import Hours
from agent.sla.objective import CalendarUnit
from agent.sla.spans import NOWHERE, Spans


class ExclusionKind(StrEnum):
    """Why time is taken out."""

    MAINTENANCE = "maintenance"
    EMERGENCY_MAINTENANCE = "emergency_maintenance"
    CUSTOMER = "customer"
    THIRD_PARTY = "third_party"
    FORCE_MAJEURE = "force_majeure"
    ACCESS_REFUSED = "access_refused"
    SUSPENSION = "suspension"
    NO_TICKET = "no_ticket"


@dataclass(frozen=True, slots=True)
class ExclusionTerms:
    """What the contract asks of exclusions of one kind, and what they do. A kind without terms excludes nothing once
    the contract states terms for any kind; a contract that states none takes every confirmed entry.

    notice_ns: notice must have been given so long before the start. hours: only this time may be excluded.
    allowance_ns: at most so much in each `per`. evidence: an entry without it does not apply. approval: role that must
    have confirmed. effect: both takes the time out of numerator and denominator; numerator_only counts it as up.
    overlap: whether time that is excluded and also the provider's fault is out or counts.
    """

    kind: ExclusionKind
    notice_ns: int = 0
    hours: Hours | None = None
    allowance_ns: int | None = None
    per: CalendarUnit = "month"
    evidence: bool = False
    approval: str = ""
    effect: Literal["both", "numerator_only"] = "both"
    overlap: Literal["excluded_wins", "provider_wins"] = "excluded_wins"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """[start_ns, end_ns) does not count, for `reason`. UTC ns. circuits: those it is for, all of the contract if empty.

    entered_ns: when the entry was made. confirmed_by: who agreed to it, or the empty text. notified_ns: when the other
    side was told, None where that is not known. source: the ledger written by hand, an imported notice, a ticket.
    proposed: imported and confirmed by nobody, so that it excludes nothing. cancelled_ns: called off then.
    """

    id: str
    start_ns: int
    end_ns: int
    reason: str
    entered_ns: int
    confirmed_by: str = ""
    circuits: tuple[str, ...] = ()
    kind: ExclusionKind = ExclusionKind.MAINTENANCE
    notified_ns: int | None = None
    evidence: str = ""
    source: Literal["ledger", "notice", "ticket"] = "ledger"
    proposed: bool = False
    cancelled_ns: int | None = None

    @property
    def retroactive(self) -> bool:
        return self.entered_ns > self.start_ns


class Standing(StrEnum):
    """What an entry is worth at the time of judging."""

    APPLIED = "applied"
    UNCONFIRMED = "not applied: entered after its start and confirmed by nobody"
    NOT_ENTERED = "not applied: entered later than this verdict is for"


@dataclass(frozen=True, slots=True)
class Entry:
    """An exclusion that touches a window, with its standing there."""

    exclusion: Exclusion
    standing: Standing


@dataclass(frozen=True, slots=True)
class Ruling:
    """entries: those that touch the window, in the order of their start. time: what those applied exclude, once."""

    entries: tuple[Entry, ...] = ()
    time: Spans = NOWHERE

    def named(self, standing: Standing) -> tuple[Exclusion, ...]:
        return tuple(entry.exclusion for entry in self.entries if entry.standing is standing)

    def evidence(self) -> tuple[Mapping[str, int | str | bool | None], ...]:
        """Every entry, applied or not, in exact numbers."""
        return tuple(
            {
                "id": entry.exclusion.id,
                "reason": entry.exclusion.reason,
                "start_ns": entry.exclusion.start_ns,
                "end_ns": entry.exclusion.end_ns,
                "entered_ns": entry.exclusion.entered_ns,
                "retroactive": entry.exclusion.retroactive,
                "confirmed_by": entry.exclusion.confirmed_by or None,
                "standing": entry.standing.value,
            }
            for entry in self.entries
        )


def standing(exclusion: Exclusion, now_ns: int) -> Standing:
    """Judged as of now_ns; what was entered later was not known then."""
    if exclusion.entered_ns > now_ns:
        return Standing.NOT_ENTERED
    if exclusion.retroactive and not exclusion.confirmed_by:
        return Standing.UNCONFIRMED
    return Standing.APPLIED


def rule(ledger: Iterable[Exclusion], circuit: str, *, start_ns: int, end_ns: int, now_ns: int) -> Ruling:
    """What of the ledger holds for the circuit in [start_ns, end_ns); `time` is not cut to it."""
    touching = sorted(
        (
            item
            for item in ledger
            if (not item.circuits or circuit in item.circuits) and item.start_ns < end_ns and item.end_ns > start_ns
        ),
        key=lambda item: (item.start_ns, item.end_ns, item.id),
    )
    entries = tuple(Entry(item, standing(item, now_ns)) for item in touching)
    applied = [(item.exclusion.start_ns, item.exclusion.end_ns) for item in entries
               if item.standing is Standing.APPLIED]  # fmt: skip
    return Ruling(entries, Spans.of(applied))
