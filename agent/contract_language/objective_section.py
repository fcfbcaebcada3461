"""One promise of a contract: metric, statistic, target, window, scope, events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Annotated, Literal

from agent.config.notation import as_line, as_word
from agent.contract_language.readers import as_kind, as_value
from agent.contract_language.statistic_section import USUAL, StatisticSection, business_days, unfit, usual_of
from agent.contract_language.time_sections import DAY, CoverageSection, HoursSection, WindowSection
from agent.document import Contradiction, Field, Items, Model, as_duration
from agent.sla.terms.contract import Coverage, EventTerms, Metric, Objective, Scope, Statistic, StatisticType, Window
from agent.sla.terms.excluded import ExclusionKind
from agent.sla.terms.objective import unit_of
from agent.sla.terms.targets import parse_target
from probes.core.clock import SECOND

MOST_MEMBERS = 1000
Members = Annotated[
    Items[Annotated[str, as_word("the name of a circuit")]], Field(min_length=1, max_length=MOST_MEMBERS)
]
KINDS = tuple(item.value for item in ExclusionKind)


class ScopeSection(Model):
    """The promise is about several circuits together."""

    members: Members
    aggregation: Literal["worst", "mean", "at_least"] = "worst"
    k: Annotated[int | None, Field(ge=1, le=MOST_MEMBERS)] = None

    def contradictions(self) -> Iterator[Contradiction]:
        seen: set[str] = set()
        for index, member in enumerate(self.members):
            if member in seen:
                yield ("members", index), f"{member!r} is a member already"
            seen.add(member)
        if self.aggregation == "at_least" and self.k is None:
            yield (), "at_least needs `k`: how many circuits must be up"
        if self.aggregation != "at_least" and self.k is not None:
            yield ("k",), "only `aggregation: at_least` has a `k`"
        if self.k is not None and self.k > len(self.members):
            yield ("k",), f"there are only {len(self.members)} members"

    def built(self) -> Scope:
        return Scope(self.members, self.aggregation, self.k or 1)


class EventSection(Model):
    """Which events an objective is about, and how their time runs."""

    kind: Annotated[str, as_word("a kind of event")]
    start: Annotated[str, as_word("the name of a stamp")] = "start"
    end: Annotated[str, as_word("the name of a stamp")] = "end"
    priorities: Items[Annotated[str, as_word("a priority")]] = ()
    hours: HoursSection | None = None
    abandoned: Literal["excluded", "late_if_over", "late"] = "excluded"
    pauses: Items[Annotated[str, as_word("a reason")]] = ()
    pause_cap: Annotated[int | None, as_duration(SECOND, 366 * DAY)] = None
    unfinished: Literal["late_if_over", "excluded", "late"] = "late_if_over"

    def contradictions(self) -> Iterator[Contradiction]:
        if self.start == self.end:
            yield ("end",), "it is the stamp the time starts at"
        if self.pause_cap is not None and not self.pauses:
            yield ("pause_cap",), "there are no `pauses` to cap"

    def built(self, time_zone: str, holidays: Iterable[date]) -> EventTerms:
        hours = self.hours.built(time_zone, holidays) if self.hours else None
        return EventTerms(
            self.kind, self.start, self.end, self.priorities, hours, self.abandoned, self.pauses, self.pause_cap,
            self.unfinished,
        )  # fmt: skip


class ObjectiveSection(Model):
    """One promise."""

    id: Annotated[str, as_word("the name of an objective")]
    text: Annotated[str, as_line(500)] = ""
    metric: Literal["rtt", "delay", "jitter", "loss", "mos", "throughput", "availability", "outage", "event"]
    statistic: StatisticSection | None = None
    target: Annotated[str, as_value()]
    window: WindowSection | None = None
    coverage: CoverageSection | None = None
    min_samples: Annotated[int | None, Field(ge=1, le=10**9)] = None
    only_available_time: bool = False
    probe: Annotated[str | None, as_word("the name of a probe")] = None
    kind: Annotated[str | None, as_kind()] = None
    hours: HoursSection | None = None
    exclusions: Items[Literal[KINDS]] | None = None  # type: ignore[valid-type]
    scope: ScopeSection | None = None
    events: EventSection | None = None
    severities: Items[Annotated[str, as_word("a priority")]] = ()

    def contradictions(self) -> Iterator[Contradiction]:
        metric = Metric(self.metric)
        yield from unfit(metric, self.statistic)
        if self.probe is not None and self.kind is not None:
            yield ("kind",), "give `probe` or `kind`, not both"
        if self.only_available_time and metric is Metric.AVAILABILITY:
            yield ("only_available_time",), "availability itself cannot be limited to available time"
        elif self.only_available_time and metric in (Metric.OUTAGE, Metric.EVENT):
            yield ("only_available_time",), f"{metric} cannot be limited to available time"
        if (self.events is None) is (metric is Metric.EVENT):
            message = "an objective on events needs `events: {kind: ...}`" if self.events is None else ""
            yield ((), message) if message else (("events",), "only `metric: event` has events")
        if self.events is not None and self.hours is not None:
            yield ("hours",), "of events give the hours in `events`"
        if self.events is not None and self.statistic is not None and business_days(metric, self.statistic.limit):
            for key in ("hours", "pauses"):
                if getattr(self.events, key):
                    yield ("events", key), "a limit in business days runs from date to date, without hours and pauses"
        if self.severities and metric is not Metric.OUTAGE:
            yield ("severities",), "only `metric: outage` has severities"
        if self.scope is not None:
            yield from self._unfit_scope(metric)

    def _unfit_scope(self, metric: Metric) -> Iterator[Contradiction]:
        if metric in (Metric.OUTAGE, Metric.EVENT):
            yield ("scope",), f"{metric} is of one circuit"
        kind = StatisticType(self.statistic.type) if self.statistic else USUAL.get(metric)
        if (
            self.scope is not None
            and self.scope.aggregation == "at_least"
            and kind is not StatisticType.AVAILABILITY_MEF
        ):
            yield ("scope", "aggregation"), "at_least is of `availability_mef` only (MEF 10.4 8.8.11)"

    def built(
        self,
        window: WindowSection | None,
        coverage: CoverageSection | None,
        time_zone: str,
        holidays: Iterable[date],
    ) -> Objective:
        metric = Metric(self.metric)
        own_window, own_coverage = self.window or window, self.coverage or coverage
        statistic = self.statistic.built(metric) if self.statistic else Statistic(USUAL[metric], of=usual_of(metric))
        return Objective(
            id=self.id,
            metric=metric,
            statistic=statistic,
            target=parse_target(unit_of(metric, statistic.type), metric, self.target),
            window=own_window.built() if own_window else Window(),
            coverage=own_coverage.built() if own_coverage else Coverage(),
            min_samples=self.min_samples,
            only_available_time=self.only_available_time,
            probe=self.probe,
            kind=self.kind,
            text=self.text,
            hours=self.hours.built(time_zone, holidays) if self.hours else None,
            exclusions=self.exclusions,
            scope=self.scope.built() if self.scope else None,
            events=self.events.built(time_zone, holidays) if self.events else None,
            severities=self.severities,
        )
