"""Time that both parties agreed not to count: a ledger, the contract's terms for it, and what holds. Types. Pure.

An entry made after its own start is retroactive: it is shown beside the verdict and holds only once somebody has
confirmed it by name. An imported one is a proposal, whenever it came, until somebody confirms it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from agent.sla.terms.objective import CalendarUnit
from agent.sla.time.hours import Hours
from agent.sla.time.spans import NOWHERE, Spans


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
    overlap: whether time that is excluded and also the provider's fault is out or counts. standing: the hours are out
    by themselves, without any entry: both agreed to them when they signed.
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
    standing: bool = False


@dataclass(frozen=True, slots=True)
class Exclusion:
    """[start_ns, end_ns) does not count, for `reason`. UTC ns. circuits: those it is for, all of the contract if empty.

    entered_ns: when the entry was made. confirmed_by: who agreed to it, or the empty text; confirmed_role: for which
    party; confirmed_ns: when, None where that is not known. notified_ns: when the other side was told, None where that
    is not known. source: the ledger written by hand, an imported notice, a ticket, an entry made by a command, hours
    that stand in the contract itself.
    proposed: imported, so that it excludes nothing until it is confirmed. cancelled_ns: called off then. rejected: who
    rejected it and why, at rejected_ns. impact: as the notice says it (BCOP: NO-IMPACT, REDUCED-REDUNDANCY, DEGRADED,
    OUTAGE). remark: what became of it, such as the entry it was moved to.
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
    source: Literal["ledger", "notice", "ticket", "entry", "contract"] = "ledger"
    proposed: bool = False
    cancelled_ns: int | None = None
    confirmed_role: str = ""
    confirmed_ns: int | None = None
    rejected: str = ""
    rejected_ns: int | None = None
    impact: str = ""
    remark: str = ""

    @property
    def retroactive(self) -> bool:
        return self.entered_ns > self.start_ns

    def confirmed(self, now_ns: int) -> bool:
        """True where somebody had agreed to it by then."""
        return bool(self.confirmed_by) and (self.confirmed_ns is None or self.confirmed_ns <= now_ns)

    def until_ns(self, now_ns: int) -> int:
        """Its end, or when it was called off, as known by then; its start if that was before."""
        if self.cancelled_ns is None or self.cancelled_ns > now_ns:
            return self.end_ns
        return max(self.start_ns, min(self.end_ns, self.cancelled_ns))


class Standing(StrEnum):
    """What an entry is worth at the time of judging."""

    APPLIED = "applied"
    UNCONFIRMED = "not applied: entered after its start and confirmed by nobody"
    NOT_ENTERED = "not applied: entered later than this verdict is for"
    PROPOSED = "not applied: imported and confirmed by nobody"
    REJECTED = "not applied: rejected"
    CANCELLED = "not applied: called off before"
    NO_IMPACT = "not applied: announced without any impact"
    OBJECTIVE = "not applied: this objective takes out no time of this kind"
    KIND = "not applied: the contract takes out no time of this kind"
    NOTICE = "not applied: announced too late"
    EVIDENCE = "not applied: the contract asks for evidence and there is none"
    APPROVAL = "not applied: not confirmed by the party the contract names"
    HOURS = "not applied: outside the hours the contract permits"
    FAULT = "not applied: the provider's own fault at the time"
    ALLOWANCE = "not applied: the allowance was used up before"


@dataclass(frozen=True, slots=True)
class Entry:
    """An exclusion that touches a window, with its standing there.

    applied: time that this entry and none before it takes out, not cut to the window; applied_ns: of that, in the
    window. sentence: its standing in plain words.
    """

    exclusion: Exclusion
    standing: Standing
    applied: Spans = NOWHERE
    applied_ns: int = 0
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    """entries: those that touch the window, in the order of their start. time: what those applied take out, once.
    up: what those applied make count as up. No instant is in both; neither is cut to the window."""

    entries: tuple[Entry, ...] = ()
    time: Spans = NOWHERE
    up: Spans = NOWHERE

    def named(self, standing: Standing) -> tuple[Exclusion, ...]:
        return tuple(entry.exclusion for entry in self.entries if entry.standing is standing)

    def within(self, start_ns: int, end_ns: int) -> Ruling:
        """The same for a part of the window: only entries that touch it, with what they take out in it."""
        return replace(
            self,
            entries=tuple(
                replace(entry, applied_ns=entry.applied.within(start_ns, end_ns).length_ns)
                for entry in self.entries
                if entry.exclusion.start_ns < end_ns and entry.exclusion.end_ns > start_ns
            ),
        )

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
                "kind": entry.exclusion.kind.value,
                "source": entry.exclusion.source,
                "notified_ns": entry.exclusion.notified_ns,
                "cancelled_ns": entry.exclusion.cancelled_ns,
                "evidence": entry.exclusion.evidence or None,
                "applied_ns": entry.applied_ns,
                "sentence": entry.sentence,
            }
            for entry in self.entries
        )
