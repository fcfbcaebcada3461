"""Who signed what: parties, service, measurement, terms of exclusions, the repair clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Annotated, Any, Literal

from agent.config.notation import as_line, as_word
from agent.contract_language.objective_section import KINDS, MOST_MEMBERS, Members
from agent.contract_language.readers import as_money
from agent.contract_language.time_sections import DAY, HoursSection
from agent.document import Contradiction, Field, Items, Model, as_dscp, as_duration, as_rate, as_size
from agent.sla.terms.contract import (
    CalendarUnit,
    Measurement,
    Party,
    PartyRole,
    Path,
    Priority,
    Redundancy,
    Service,
    Tie,
)
from agent.sla.terms.excluded import ExclusionKind, ExclusionTerms
from agent.sla.terms.incidents import ClockTerms, Stamp
from agent.sla.terms.money import Money
from probes.core.clock import MILLISECOND, SECOND

STAMPS = tuple(item.value for item in Stamp)


class SideSection(Model):
    """Provider or customer with contacts."""

    name: Annotated[str, as_line()]
    contacts: Items[Annotated[str, as_line()]] = ()
    locale: Annotated[str, as_line(35)] = ""

    def built(self, role: PartyRole) -> Party:
        return Party(self.name, role, self.name, self.contacts, self.locale)


def side(value: str | SideSection, role: PartyRole) -> Party:
    return value.built(role) if isinstance(value, SideSection) else Party(value, role)


class PartySection(Model):
    """Somebody else the contract names."""

    id: Annotated[str, as_word("the name of a party")]
    role: Literal["provider", "customer", "subcontractor", "third_party"]
    name: Annotated[str, as_line()] = ""
    contacts: Items[Annotated[str, as_line()]] = ()
    locale: Annotated[str, as_line(35)] = ""

    def built(self) -> Party:
        return Party(self.id, self.role, self.name, self.contacts, self.locale)


class RedundancySection(Model):
    """Circuits of which `k` must be up."""

    members: Members
    k: Annotated[int, Field(ge=1, le=MOST_MEMBERS)]

    def contradictions(self) -> Iterator[Contradiction]:
        if len(set(self.members)) < len(self.members):
            yield ("members",), "a circuit is named twice"
        if self.k > len(self.members):
            yield ("k",), f"there are only {len(self.members)} members"


class PrioritySection(Model):
    """What one priority of this contract is called elsewhere."""

    name: Annotated[str, as_word("a priority")]
    also: Items[Annotated[str, as_line(60)]] = ()
    text: Annotated[str, as_line(200)] = ""

    def built(self) -> Priority:
        return Priority(self.name, self.also, self.text)


class ServiceSection(Model):
    """What was bought."""

    id: Annotated[str, as_line()] = ""
    kind: Annotated[str, as_line()] = ""
    service_class: Annotated[str, as_line()] = Field(default="", alias="class")
    endpoints: Items[Annotated[str, as_line()]] = ()
    monthly_charge: Annotated[Money | None, as_money()] = None
    cir: Annotated[int | None, as_rate(0)] = None
    eir: Annotated[int | None, as_rate(0)] = None
    layer: Literal["L1", "L2", "L3", "L4"] | None = None
    redundancy: RedundancySection | None = None
    priorities: Annotated[Items[PrioritySection], Field(max_length=20)] = ()

    def contradictions(self) -> Iterator[Contradiction]:
        seen: dict[str, str] = {}
        for index, item in enumerate(self.priorities):
            names = [(("name",), item.name), *((("also", place), name) for place, name in enumerate(item.also))]
            for key, name in names:
                if name.casefold() in seen:
                    yield ("priorities", index, *key), f"{name!r} is a name of {seen[name.casefold()]} already"
                seen.setdefault(name.casefold(), item.name)

    def built(self) -> Service:
        group = Redundancy(self.redundancy.members, self.redundancy.k) if self.redundancy else None
        return Service(
            self.kind,
            self.service_class,
            self.endpoints,
            self.monthly_charge,
            self.cir,
            self.eir,
            self.layer or "",
            group,
            self.id,
            tuple(item.built() for item in self.priorities),
        )


class MeasurementSection(Model):
    """Who measures, how, and whose record is final."""

    record: Literal["ours", "theirs", "agreed"] = "ours"
    sources: Items[Annotated[str, as_line()]] = ()
    method: Annotated[str, as_line(200)] = ""
    path: Path | None = None
    interval: Annotated[int | None, as_duration(MILLISECOND, DAY)] = None
    tie: Tie | None = None
    point_a: Annotated[str, as_line()] = ""
    point_b: Annotated[str, as_line()] = ""
    packet_size: Annotated[int | None, as_size(1, 65_535)] = None
    dscp: Annotated[int | None, as_dscp()] = None
    timeout: Annotated[int | None, as_duration(1, 3600 * SECOND)] = None
    note: Annotated[str, as_line(500)] = ""

    def contradictions(self) -> Iterator[Contradiction]:
        if self.tie is not None and self.record != "agreed":
            yield ("tie",), f"`record: {self.record}` is one record: only of `record: agreed` there are two that differ"

    def built(self) -> Measurement:
        return Measurement(
            self.record, self.method, self.point_a, self.point_b, self.packet_size, self.dscp, self.timeout, self.note,
            self.sources, self.path, self.interval, self.tie,
        )  # fmt: skip


class ExclusionSection(Model):
    """What the contract asks of exclusions of one kind."""

    kind: Literal[KINDS]  # type: ignore[valid-type]
    notice: Annotated[int | None, as_duration(0, 366 * DAY)] = None
    hours: HoursSection | None = None
    allowance: Annotated[int | None, as_duration(0, 366 * DAY)] = None
    per: CalendarUnit | None = None
    evidence: bool = False
    approval: Literal["provider", "customer", "subcontractor", "third_party"] | None = None
    effect: Literal["both", "numerator_only"] = "both"
    overlap: Literal["excluded_wins", "provider_wins"] = "excluded_wins"
    standing: bool = False

    def contradictions(self) -> Iterator[Contradiction]:
        if self.standing and self.hours is None:
            yield ("standing",), "only `hours` can stand in a contract without an entry"
        if self.standing:
            for key in ("notice", "evidence", "approval"):
                if getattr(self, key):
                    yield (key,), "what stands in the contract is agreed to already: `standing` asks for nothing more"
        if self.per is not None and self.allowance is None:
            yield ("per",), "there is no `allowance` to count"

    def built(self, time_zone: str, holidays: Iterable[date]) -> ExclusionTerms:
        hours = self.hours.built(time_zone, holidays) if self.hours else None
        return ExclusionTerms(
            ExclusionKind(self.kind), self.notice or 0, hours, self.allowance, self.per or "month", self.evidence,
            self.approval or "", self.effect, self.overlap, self.standing,
        )  # fmt: skip


class ClockSection(Model):
    """Which two stamps count for repair times, and what stops the clock."""

    start: Literal[STAMPS] = "fault"  # type: ignore[valid-type]
    stop: Literal[STAMPS] = "restored"  # type: ignore[valid-type]
    earlier: bool = False
    pauses: Items[Annotated[str, as_word("a reason")]] | None = None
    pause_cap: Annotated[int | None, as_duration(0, 366 * DAY)] = None
    bridge: Annotated[int | None, as_duration(0, DAY)] = None

    def contradictions(self) -> Iterator[Contradiction]:
        if STAMPS.index(self.stop) <= STAMPS.index(self.start):
            yield ("stop",), f"a clock that starts at {self.start} stops later (order: {', '.join(STAMPS)})"

    def built(self) -> ClockTerms:
        plain = ClockTerms()
        values: dict[str, Any] = {"pauses": self.pauses, "pause_cap_ns": self.pause_cap, "earlier": self.earlier}
        return ClockTerms(
            Stamp(self.start),
            Stamp(self.stop),
            bridge_ns=plain.bridge_ns if self.bridge is None else self.bridge,
            **values,
        )
