"""What a broken promise costs: credit terms, caps, claims, chronic rules."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Literal

from agent.config.notation import as_line, as_word
from agent.contract_language.band_values import Scale, band_value, step_value
from agent.contract_language.readers import as_currency, as_days, as_money, as_price, as_value
from agent.contract_language.time_sections import DAY
from agent.document import Contradiction, Field, Items, Model, as_duration
from agent.sla.terms.contract import CalendarUnit
from agent.sla.terms.money import Money, Rounding
from agent.sla.terms.remedies import (
    Band,
    Cap,
    ChronicRule,
    ClaimTerms,
    CreditBasis,
    CreditTerms,
    CreditUnit,
    Deadline,
    Price,
    Stacking,
)
from probes.core.clock import SECOND

AFTER = Literal["incident_start", "incident_end", "ticket_close", "window_end", "month_end"]
_BANDED = (CreditBasis.BAND, CreditBasis.PER_EVENT, CreditBasis.EXCESS_ABSOLUTE, CreditBasis.EXCESS_RELATIVE)
_EXCESS = (CreditBasis.EXCESS_ABSOLUTE, CreditBasis.EXCESS_RELATIVE)
_OF_OBJECTIVE = (CreditBasis.BAND, *_EXCESS)


class BandSection(Model):
    """From one value up to another; an edge left out is open."""

    low: Annotated[str | None, as_value()] = Field(default=None, alias="from")
    high: Annotated[str | None, as_value()] = Field(default=None, alias="to")
    credit: Annotated[Price, as_price()]
    text: Annotated[str, as_line(200)] = ""

    def built(self, scale: Scale, upper: bool) -> Band:
        low = None if self.low is None else band_value(scale, self.low)
        high = None if self.high is None else band_value(scale, self.high)
        return Band(low, high, self.credit, upper, self.text)


class UnitSection(Model):
    """Units of downtime or of a value that are counted; `step` in the unit of what is counted."""

    step: Annotated[str | None, as_value(("1h", "1ms", "0.1 %"))] = None
    started: bool = True
    deductible: Annotated[str | None, as_value(("2h", "0 %"))] = None
    each_incident: bool = False

    def built(self, scale: Scale) -> CreditUnit:
        step = Fraction(3600 * SECOND) if self.step is None else step_value(scale, self.step)
        off = Fraction(0) if self.deductible is None else band_value(scale, self.deductible)
        return CreditUnit(step, self.started, off, self.each_incident)


class CapSection(Model):
    """Most that is paid."""

    per: Literal["incident", "objective", "month", "year", "contract"]
    price: Annotated[Price, as_price()]

    def built(self) -> Cap:
        return Cap(self.per, self.price)


def repeated_caps(caps: tuple[CapSection, ...]) -> Iterator[Contradiction]:
    seen: set[str] = set()
    for index, cap in enumerate(caps):
        if cap.per in seen:
            yield ("caps", index, "per"), f"there is a cap per {cap.per} already"
        seen.add(cap.per)


class TermsSection(Model):
    """One way of being paid."""

    id: Annotated[str, as_word("the name of a credit")]
    basis: Literal["band", "per_unit", "per_event", "excess_absolute", "excess_relative", "proportional"]
    objective: Annotated[str | None, as_word("the name of an objective")] = None
    edges: Literal["lower", "upper"] = "lower"
    bands: Annotated[Items[BandSection], Field(max_length=100)] = ()
    unit: UnitSection | None = None
    price: Annotated[Price | None, as_price()] = None
    caps: Items[CapSection] = ()
    day_basis: Literal["30", "days_in_month", "365"] = "30"
    minimum: Annotated[Money | None, as_money()] = None
    automatic: bool = False
    cause: Annotated[str | None, as_word("the name of a cause")] = None
    minimum_outage: Annotated[int | None, as_duration(0, 31 * DAY)] = None
    pro_rata: bool = True
    text: Annotated[str, as_line(500)] = ""

    def contradictions(self) -> Iterator[Contradiction]:
        basis = CreditBasis(self.basis)
        if basis in _OF_OBJECTIVE and self.objective is None:
            yield (), f"{self.basis} needs the `objective` whose value it is about"
        if basis is CreditBasis.PER_EVENT and self.objective is not None:
            yield ("objective",), "per_event is about outages, not about an objective"
        if basis in _BANDED and not self.bands and not (basis in _EXCESS and self.unit is not None):
            yield (), f"{self.basis} needs its `bands`"
        if self.bands and basis not in _BANDED:
            yield ("bands",), f"{self.basis} has no bands"
        if self.bands and self.unit is not None:
            yield ("unit",), "give `bands` or `unit` with a `price`, not both"
        if basis is CreditBasis.PER_UNIT and self.unit is None:
            yield (), "per_unit needs its `unit`, such as `unit: {step: 1h}`"
        if self.unit is not None and self.price is None and basis is not CreditBasis.PROPORTIONAL:
            yield (), "a unit needs its `price`, such as `price: 1 day`"
        if self.price is not None and self.unit is None:
            yield ("price",), "a price is of a `unit`, such as `unit: {step: 1h}`"
        if basis is CreditBasis.PROPORTIONAL and self.price is not None:
            yield ("price",), "proportional has no price: it is the charge by the share of downtime"
        yield from repeated_caps(self.caps)

    def built(self, scale: Scale) -> CreditTerms:
        upper = self.edges == "upper"
        bands = sorted(
            (item.built(scale, upper) for item in self.bands),
            key=lambda item: (item.low is not None, item.low or 0, item.high or 0),
        )
        return CreditTerms(
            id=self.id,
            basis=CreditBasis(self.basis),
            objective=self.objective,
            bands=tuple(bands),
            unit=self.unit.built(scale) if self.unit else None,
            price=self.price,
            caps=tuple(cap.built() for cap in self.caps),
            day_basis=self.day_basis,
            minimum=self.minimum,
            automatic=self.automatic,
            cause=self.cause or "",
            minimum_outage_ns=self.minimum_outage or 0,
            pro_rata=self.pro_rata,
            text=self.text,
        )


class RoundingSection(Model):
    """How a line becomes an amount that can be paid."""

    places: Annotated[int, Field(ge=0, le=4)] = 2
    mode: Literal["half_up", "half_even", "down", "up"] = "half_up"


class CreditsSection(Model):
    """All credits of a contract."""

    currency: Annotated[str, as_currency()]
    rounding: RoundingSection | None = None
    stacking: Stacking = "sum"
    caps: Items[CapSection] = ()
    terms: Annotated[Items[TermsSection], Field(min_length=1, max_length=200)]

    def contradictions(self) -> Iterator[Contradiction]:
        yield from repeated_caps(self.caps)
        seen: set[str] = set()
        for index, terms in enumerate(self.terms):
            if terms.id in seen:
                yield ("terms", index, "id"), f"there is a credit {terms.id!r} already"
            seen.add(terms.id)
        yield from self._strange_money()

    def _strange_money(self) -> Iterator[Contradiction]:
        def strange(money: Money | None) -> bool:
            return money is not None and money.currency != self.currency

        message = f"is not in the contract's currency, {self.currency}"
        for index, cap in enumerate(self.caps):
            if strange(cap.price.money):
                yield ("caps", index, "price"), f"{cap.price.text} {message}"
        for number, terms in enumerate(self.terms):
            at = ("terms", number)
            if strange(terms.minimum):
                yield (*at, "minimum"), f"{terms.minimum} {message}"
            if terms.price is not None and strange(terms.price.money):
                yield (*at, "price"), f"{terms.price.text} {message}"
            for index, band in enumerate(terms.bands):
                if strange(band.credit.money):
                    yield (*at, "bands", index, "credit"), f"{band.credit.text} {message}"
            for index, cap in enumerate(terms.caps):
                if strange(cap.price.money):
                    yield (*at, "caps", index, "price"), f"{cap.price.text} {message}"

    def rounded(self) -> Rounding:
        return Rounding(self.rounding.places, self.rounding.mode) if self.rounding else Rounding()


class ClaimsSection(Model):
    """How a credit is asked for."""

    within: Annotated[tuple[int, bool], as_days()]
    after: AFTER = "window_end"
    ticket_within: Annotated[int | None, as_duration(SECOND, 366 * DAY)] = None
    channel: Annotated[str, as_line(200)] = ""

    def built(self) -> ClaimTerms:
        return ClaimTerms(Deadline(*self.within, self.after), self.ticket_within, self.channel)


class ExerciseSection(Model):
    """Until when a right can be used."""

    within: Annotated[tuple[int, bool], as_days()]
    after: AFTER = "incident_end"


class ChronicSection(Model):
    """A right that repeated failure gives."""

    id: Annotated[str, as_word("the name of a rule")]
    right: Literal["terminate", "reroute", "extra_credit", "escalate"]
    count: Annotated[int | None, Field(ge=1, le=1000)] = None
    minimum: Annotated[int | None, as_duration(0, 366 * DAY)] = None
    aggregate: Annotated[int | None, as_duration(SECOND, 366 * DAY)] = None
    within: Annotated[int | None, as_duration(SECOND, 366 * DAY)] = None
    calendar: CalendarUnit | None = None
    objective: Annotated[str | None, as_word("the name of an objective")] = None
    missed_windows: Annotated[int | None, Field(ge=1, le=100)] = None
    missed_of: Annotated[int | None, Field(ge=1, le=100)] = None
    extra: Annotated[Price | None, as_price()] = None
    exercise: ExerciseSection | None = None
    text: Annotated[str, as_line(500)] = ""

    def contradictions(self) -> Iterator[Contradiction]:
        about_outages = self.count is not None or self.aggregate is not None
        if not about_outages and self.missed_windows is None:
            yield (), "a chronic rule needs a condition: `count`, `aggregate` or `missed_windows`"
        if about_outages and (self.within is None) == (self.calendar is None):
            yield (), "outages are counted `within: 30d` or in a `calendar: month`: give one of them"
        if self.missed_windows is not None and self.objective is None:
            yield (), "missed windows are of an `objective`: name it"
        if self.missed_windows is not None and about_outages:
            yield ("missed_windows",), "a rule counts outages or missed windows, not both"
        if self.objective is not None and self.missed_windows is None:
            yield ("objective",), "an objective is missed in `missed_windows`"
        if self.missed_of is not None and (self.missed_windows is None or self.missed_of < self.missed_windows):
            yield ("missed_of",), "must be `missed_windows` or more"
        if self.minimum is not None and not about_outages:
            yield ("minimum",), "only outages that are counted have a minimum"
        if (self.right == "extra_credit") != (self.extra is not None):
            if self.extra is None:
                yield (), "extra_credit needs how much: `extra: 100 %`"
            else:
                yield ("extra",), "only extra_credit has `extra`"

    def built(self) -> ChronicRule:
        exercise = Deadline(*self.exercise.within, self.exercise.after) if self.exercise else None
        return ChronicRule(
            self.id, self.right, self.count, self.minimum or 0, self.aggregate, self.within, self.calendar,
            self.objective, self.missed_windows, self.missed_of, self.extra, exercise, self.text,
        )  # fmt: skip
