"""One objective in one window: what there is of it, the evaluation that fits it, and the verdict. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from agent.sla.case import Evaluation, Feed, Moment, UnusableError
from agent.sla.docket import subjects
from agent.sla.downtime.uptime import evaluate_availability
from agent.sla.faults.repair import evaluate_outages
from agent.sla.responses import evaluate_events
from agent.sla.samples import causes
from agent.sla.samples.causes import Circumstances
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.feeds import every_ns, feed, makes_attempts, missing_feed
from agent.sla.samples.measured import pace
from agent.sla.samples.nearby import nearby
from agent.sla.statistic.evaluation import evaluate_statistic
from agent.sla.statistic.scope import aggregate, at_least
from agent.sla.terms.contract import Contract, Metric, Objective
from agent.sla.terms.excluded import Ruling
from agent.sla.time.calendar import WindowInstants, within_validity
from agent.sla.time.hours import Hours
from agent.sla.time.zones import zone
from agent.sla.verdict import Decision, EvidenceValue, Verdict, VerdictState, decide
from agent.sla.words.definitions import definition, name
from agent.sla.words.sentence import period_name, sentence
from probes.core.model import Circuit


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What there is of one circuit: its samples by probe, since when, and what is known of the agent meanwhile."""

    circuit: Circuit
    series: Mapping[str, SampleColumns]
    since_ns: int
    known: Circumstances = field(default_factory=Circumstances)

    def feed(self, objective: Objective) -> Feed:
        """Samples that feed the objective. Raises UnusableError."""
        probe = feed(objective, self.circuit)
        if probe is None:
            raise UnusableError(missing_feed(objective))
        columns = self.series.get(probe.name)
        if columns is None or not len(columns):
            raise UnusableError(f"nothing was measured by probe {probe.name}")
        timeout = probe.parameters.get("timeout")
        return Feed(
            columns,
            pace(columns, every_ns(probe), attempts=makes_attempts(probe)),
            timeout if isinstance(timeout, int) else None,
        )


@dataclass(frozen=True, slots=True)
class Hearing:
    """One objective of one circuit in one window. others: material of the circuits in the objective's scope, by id."""

    contract: Contract
    objective: Objective
    window: WindowInstants
    own: Material
    when: Moment
    ruling: Ruling
    others: Mapping[str, Material] = field(default_factory=dict)

    def verdict(self) -> Verdict:
        target = self._target()
        try:
            if target is None:
                raise UnusableError("the circuit has no committed_rate to take a share of")
            window = within_validity(self.contract, self.window)
            if window is None:
                raise UnusableError(f"the contract is not valid in {self.window.label}")
            evaluation = self._evaluate(window, target)
        except UnusableError as obstacle:
            return self._without_value(target, str(obstacle))
        found = evaluation.findings
        decision = decide(self.objective, target, found, closed=evaluation.period.closed)
        return Verdict(
            contract=self.contract.id,
            circuit=self.own.circuit.id,
            objective=self.objective,
            window=evaluation.period.window,
            state=decision.state,
            value=found.estimate.value,
            best=found.estimate.best,
            worst=found.estimate.worst,
            target=target,
            coverage=found.coverage,
            window_coverage=evaluation.window_coverage,
            estimated=decision.estimated,
            sentence=sentence(self.objective, evaluation, decision, target, self.ruling, self._hours()),
            evidence=self._evidence(evaluation, decision),
            budget=found.budget,
            remark=found.remark,
        )

    def _target(self) -> Fraction | None:
        wanted, rate = self.objective.target, self.own.circuit.committed_rate_bps
        if not wanted.of_committed_rate:
            return wanted.value
        return None if rate is None else wanted.value * rate

    def _evaluate(self, window: WindowInstants, target: Fraction) -> Evaluation:
        objective = self.objective
        if objective.metric is Metric.EVENT:
            return evaluate_events(objective, self.when.events, window, self.when)
        if objective.metric is Metric.OUTAGE:
            return evaluate_outages(objective, self.when.incidents, window, self.when)
        if objective.scope is None:
            return self._of(self.own, window, target)
        return self._of_scope(window, target)

    def _of_scope(self, window: WindowInstants, target: Fraction) -> Evaluation:
        scope = self.objective.scope
        materials = {**self.others, self.own.circuit.id: self.own}
        missing = [item for item in scope.members if item not in materials] if scope else []
        if scope is None or missing:
            raise UnusableError(f"this agent does not know the circuit {', '.join(missing)}")
        members = [materials[item] for item in scope.members]
        if scope.aggregation == "at_least":
            feeds = {item.circuit.id: item.feed(self.objective) for item in members}
            return at_least(self.objective, feeds, window, target, self.when)
        parts = [(item.circuit.id, self._of(item, window, target)) for item in members]
        return aggregate(self.objective, parts)

    def _of(self, material: Material, window: WindowInstants, target: Fraction) -> Evaluation:
        samples = material.feed(self.objective)
        when = replace(
            self.when, since_ns=material.since_ns, known=material.known.of(samples.columns.probe),
            machines=self.when.machines if material is self.own else {},
            memo=self.when.memo if material is self.own else {},
            packets=self.when.packets if material is self.own else None,
        )  # fmt: skip
        clock = self.contract.availability() if self.objective.only_available_time else None
        promises = [item for item in (self.objective, clock) if item is not None]
        samples = nearby(samples, window, when.now_ns, promises)
        if self.objective.metric is Metric.AVAILABILITY:
            return evaluate_availability(self.objective, samples, window, target, when)
        available = None
        if clock is not None:
            available = clock, nearby(material.feed(clock), window, when.now_ns, promises)
        return evaluate_statistic(self.objective, samples, window, when, available)

    def _without_value(self, target: Fraction | None, reason: str) -> Verdict:
        closed = self.window.closed(self.when.now_ns)
        state = VerdictState.INCONCLUSIVE if closed else VerdictState.UNMEASURABLE
        return Verdict(
            contract=self.contract.id,
            circuit=self.own.circuit.id,
            objective=self.objective,
            window=self.window,
            state=state,
            value=None,
            best=None,
            worst=None,
            target=target,
            coverage=Fraction(0),
            window_coverage=Fraction(0),
            estimated=False,
            sentence=f"{name(self.objective)}: no verdict for {period_name(self.window)}: {reason}",
            evidence={**self._terms(), "reason": reason},
        )

    def _hours(self) -> Hours | None:
        return None if self.objective.events is not None else self.objective.hours or self.contract.hours

    def _terms(self) -> dict[str, EvidenceValue]:
        probe = feed(self.objective, self.own.circuit)
        hours = self._hours()
        scope = self.objective.scope
        return {
            "contract_version": self.contract.version,
            "contract_sha256": self.contract.digest,
            "time_zone_rules": zone(self.window.zone).law,
            "target": self.objective.target.text,
            "probe": probe.name if probe else None,
            "kind": probe.kind if probe else None,
            "definition": definition(self.objective),
            "record": self.contract.measurement.record,
            "service_hours": hours.text if hours else None,
            "circuits": tuple(scope.members) if scope else None,
            "exclusions": self.ruling.evidence(),
            "exclusions_sha256": self.contract.exclusions_digest or None,
        }

    def _evidence(self, evaluation: Evaluation, decision: Decision) -> dict[str, EvidenceValue]:
        period, found = evaluation.period, evaluation.findings
        dt = evaluation.evidence.get("dt_ns")
        return {
            **self._terms(),
            "definition": definition(self.objective, dt if isinstance(dt, int) else None),
            "judged_from_ns": period.start_ns,
            "judged_to_ns": period.end_ns,
            "first_measured_ns": period.since_ns,
            "measured_ns": evaluation.measured_ns,
            "not_measured": causes.evidence(evaluation.missing),
            "excluded_ns": evaluation.excluded_ns,
            "coverage_minimum": self.objective.coverage.minimum,
            "values": found.count,
            "values_needed": found.needed,
            "best_for_whole_window": found.whole_best,
            "reason": decision.reason or None,
            **evaluation.evidence,
        }


def members_of(objective: Objective, circuit: Circuit, others: Mapping[str, Circuit]) -> tuple[str, ...]:
    """Ids of the circuits beside its own that an objective needs."""
    return tuple(item.id for item in subjects(objective, circuit, others) if item.id != circuit.id)
