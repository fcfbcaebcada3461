"""A contract as written, and the contract it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any

from agent.config.notation import as_line, as_word
from agent.contract_language.band_values import scale_of
from agent.contract_language.credit_sections import ChronicSection, ClaimsSection, CreditsSection
from agent.contract_language.objective_section import ObjectiveSection
from agent.contract_language.party_sections import (
    ClockSection,
    ExclusionSection,
    MeasurementSection,
    PartySection,
    ServiceSection,
    SideSection,
    side,
)
from agent.contract_language.readers import as_date, as_zone
from agent.contract_language.time_sections import CoverageSection, HoursSection, WindowSection
from agent.document import Contradiction, Field, Items, Model
from agent.sla.terms.contract import Contract, Measurement, Metric, MonthBasis, Service, SharedFatePolicy
from agent.sla.terms.incidents import ClockTerms
from agent.sla.terms.money import Rounding
from agent.sla.terms.remedies import CreditTerms


class ContractFile(Model):
    """A contract as written."""

    id: Annotated[str, as_word("the name of a contract")]
    version: Annotated[str, as_line()]
    title: Annotated[str, as_line(200)] = ""
    models: Annotated[str, as_line(300)] = ""
    provider: Annotated[str, as_line()] | SideSection
    customer: Annotated[str, as_line()] | SideSection
    parties: Annotated[Items[PartySection], Field(max_length=50)] = ()
    time_zone: Annotated[str, as_zone()]
    valid_from: Annotated[date | None, as_date()] = None
    valid_to: Annotated[date | None, as_date()] = None
    service_start: Annotated[date | None, as_date()] = None
    service: ServiceSection | None = None
    measurement: MeasurementSection | None = None
    holidays: Annotated[Items[Annotated[date, as_date()]], Field(max_length=2000)] = ()
    hours: HoursSection | None = None
    month_basis: MonthBasis = "calendar"
    window: WindowSection | None = None
    coverage: CoverageSection | None = None
    shared_fate: SharedFatePolicy = "unknown"
    exclusions: Annotated[Items[ExclusionSection], Field(max_length=20)] = ()
    clock: ClockSection | None = None
    objectives: Annotated[Items[ObjectiveSection], Field(min_length=1, max_length=1000)]
    credits: CreditsSection | None = None
    claims: ClaimsSection | None = None
    chronic: Annotated[Items[ChronicSection], Field(max_length=50)] = ()
    notes: Annotated[str, as_line(2000)] = ""

    def contradictions(self) -> Iterator[Contradiction]:
        if self.valid_from and self.valid_to and self.valid_from > self.valid_to:
            yield ("valid_to",), f"the contract ends before it starts ({self.valid_from})"
        yield from _repeated("objectives", "objective", self.objectives)
        yield from _repeated("parties", "party", self.parties)
        yield from _repeated("chronic", "rule", self.chronic)
        seen: set[date] = set()
        for index, day in enumerate(self.holidays):
            if day in seen:
                yield ("holidays", index), f"{day} is a holiday already"
            seen.add(day)
        yield from self._repeated_kinds()
        yield from self._undefined_availability()
        yield from self._unknown_objectives()
        yield from self._years_without_start()
        yield from self._empty_hours()
        yield from self._strange_money()
        if self.claims is not None and self.credits is None:
            yield ("claims",), "there are no `credits` to claim"

    def _repeated_kinds(self) -> Iterator[Contradiction]:
        seen: set[str] = set()
        for index, terms in enumerate(self.exclusions):
            if terms.kind in seen:
                yield ("exclusions", index, "kind"), f"there are terms for {terms.kind} already"
            seen.add(terms.kind)

    def _undefined_availability(self) -> Iterator[Contradiction]:
        if any(objective.metric == Metric.AVAILABILITY.value for objective in self.objectives):
            return
        for index, objective in enumerate(self.objectives):
            if objective.only_available_time:
                message = "available time is not defined: the contract has no objective on availability"
                yield ("objectives", index, "only_available_time"), message
            if objective.metric == Metric.OUTAGE.value:
                message = "outages are not defined: the contract has no objective on availability"
                yield ("objectives", index, "metric"), message

    def _unknown_objectives(self) -> Iterator[Contradiction]:
        known = [objective.id for objective in self.objectives]
        named: list[tuple[tuple[str | int, ...], str | None]] = [
            (("chronic", index, "objective"), rule.objective) for index, rule in enumerate(self.chronic)
        ]
        for index, terms in enumerate(self.credits.terms if self.credits else ()):
            named.append((("credits", "terms", index, "objective"), terms.objective))
        for path, name in named:
            if name is not None and name not in known:
                yield path, f"there is no objective {name!r} (allowed: {', '.join(known)})"

    def _years_without_start(self) -> Iterator[Contradiction]:
        if self.service_start or self.valid_from:
            return
        message = "a contract_year begins with the service: give `service_start` or `valid_from`"
        if self.window is not None and self.window.calendar == "contract_year":
            yield ("window", "calendar"), message
        for index, objective in enumerate(self.objectives):
            if objective.window is not None and objective.window.calendar == "contract_year":
                yield ("objectives", index, "window", "calendar"), message
        for index, rule in enumerate(self.chronic):
            if rule.calendar == "contract_year":
                yield ("chronic", index, "calendar"), message
        for index, terms in enumerate(self.exclusions):
            if terms.per == "contract_year":
                yield ("exclusions", index, "per"), message

    def _empty_hours(self) -> Iterator[Contradiction]:
        if self.holidays:
            return
        found: list[tuple[tuple[str | int, ...], HoursSection | None]] = [(("hours",), self.hours)]
        found += [(("exclusions", index, "hours"), item.hours) for index, item in enumerate(self.exclusions)]
        for index, item in enumerate(self.objectives):
            found.append((("objectives", index, "hours"), item.hours))
            found.append((("objectives", index, "events", "hours"), item.events.hours if item.events else None))
        for path, hours in found:
            if hours is not None and hours.holidays == "only":
                yield (*path, "holidays"), "the contract has no `holidays`: no time would count"

    def _strange_money(self) -> Iterator[Contradiction]:
        """Sums outside `credits` that are not in its currency."""
        if self.credits is None:
            return
        message = f"is not in the contract's currency, {self.credits.currency}"
        charge = self.service.monthly_charge if self.service else None
        if charge is not None and charge.currency != self.credits.currency:
            yield ("service", "monthly_charge"), f"{charge} {message}"
        for index, rule in enumerate(self.chronic):
            money = rule.extra.money if rule.extra else None
            if money is not None and money.currency != self.credits.currency:
                yield ("chronic", index, "extra"), f"{money} {message}"

    def built(self, digest: str, raw: Mapping[str, Any]) -> Contract:
        """raw: the same as plain data, for what depends on several sections."""
        zone, days = self.time_zone, self.holidays
        return Contract(
            id=self.id,
            version=self.version,
            provider=side(self.provider, "provider"),
            customer=side(self.customer, "customer"),
            time_zone=zone,
            objectives=tuple(item.built(self.window, self.coverage, zone, days) for item in self.objectives),
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            title=self.title,
            digest=digest,
            shared_fate=self.shared_fate,
            models=self.models,
            others=tuple(item.built() for item in self.parties),
            service=self.service.built() if self.service else Service(),
            service_start=self.service_start,
            measurement=self.measurement.built() if self.measurement else Measurement(),
            holidays=days,
            hours=self.hours.built(zone, days) if self.hours else None,
            month_basis=self.month_basis,
            exclusion_terms=tuple(item.built(zone, days) for item in self.exclusions),
            clock=self.clock.built() if self.clock else ClockTerms(),
            currency=self.credits.currency if self.credits else "",
            rounding=self.credits.rounded() if self.credits else Rounding(),
            credits=tuple(self._credits(raw)),
            credit_caps=tuple(cap.built() for cap in self.credits.caps) if self.credits else (),
            stacking=self.credits.stacking if self.credits else "sum",
            claims=self.claims.built() if self.claims else None,
            chronic=tuple(rule.built() for rule in self.chronic),
            notes=self.notes,
        )

    def _credits(self, raw: Mapping[str, Any]) -> Iterator[CreditTerms]:
        if self.credits is None:
            return
        for terms, written in zip(self.credits.terms, raw["credits"]["terms"], strict=True):
            scale = scale_of(written, raw["objectives"])
            if scale is not None:
                yield terms.built(scale)


def _repeated(key: str, noun: str, items: tuple[Any, ...]) -> Iterator[Contradiction]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item.id in seen:
            yield (key, index, "id"), f"there is {'an' if noun[0] in 'aeiou' else 'a'} {noun} {item.id!r} already"
        seen.add(item.id)
