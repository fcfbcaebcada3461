"""Judge a circuit by its contract: samples in, verdicts out. Pure; the same columns give the same verdict anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from agent.sla import causes
from agent.sla.calendar import WindowInstants, window_at, within_validity
from agent.sla.case import Evaluation, Feed, Moment, UnusableError
from agent.sla.causes import BEFORE, NOTHING_KNOWN, Circumstances, Gap
from agent.sla.columns import SampleColumns
from agent.sla.contract import Contract, Metric, Objective
from agent.sla.definitions import definition, name
from agent.sla.evaluation import evaluate_statistic
from agent.sla.exclusions import Ruling, Standing, rule
from agent.sla.feeds import every_ns, feed, makes_attempts, missing_feed
from agent.sla.measured import pace
from agent.sla.needs import columns_for, margins
from agent.sla.period import SETTLING_NS
from agent.sla.shared_fate import blameless
from agent.sla.spans import NOWHERE, Spans
from agent.sla.statistics import Estimate
from agent.sla.uptime import evaluate_availability
from agent.sla.verdict import UNRECORDED, Decision, EvidenceValue, Findings, Verdict, VerdictState, decide
from agent.sla.wording import moment, plural, quantity, share, spoken
from agent.sla.zones import zone
from probes.core.model import Circuit


@dataclass(frozen=True, slots=True)
class Reading:
    """What the judge must be given of one probe: these columns (and start_ns, span_ns, state) of [start_ns, end_ns)."""

    probe: str
    kind: str
    columns: tuple[str, ...]
    start_ns: int
    end_ns: int


_NAMED: Final = 3
"""Exclusions that a sentence names; the evidence has all of them."""

Series = Mapping[str, SampleColumns]
"""Samples by probe name."""


def window_of(contract: Contract, objective: Objective, now_ns: int, chosen: WindowInstants | None) -> WindowInstants:
    """The objective's own window at `now`, or the one that holds the end of the chosen period.

    A rolling window is always closed, so it ends where samples have settled: the newest could never be in it.
    """
    if objective.window.calendar is None:
        settled_ns = now_ns - SETTLING_NS
        return window_at(objective.window, contract.time_zone, min(settled_ns, chosen.end_ns if chosen else settled_ns))
    if chosen is None:
        return window_at(objective.window, contract.time_zone, now_ns)
    return window_at(objective.window, contract.time_zone, min(now_ns, chosen.end_ns - 1))


def columns_needed(
    contract: Contract, circuit: Circuit, *, now_ns: int, window: WindowInstants | None = None
) -> tuple[Reading, ...]:
    """What to read before judging, at most one reading for each probe of the circuit."""
    needed: dict[str, Reading] = {}

    def want(objective: Objective, instants: WindowInstants) -> None:
        probe = feed(objective, circuit)
        if probe is None:
            return
        start, end, columns = instants.start_ns, instants.end_ns, set(columns_for(objective))
        before_ns, after_ns = margins(objective)
        start, end = start - before_ns, end + after_ns
        if makes_attempts(probe):
            start -= every_ns(probe) or 0  # the last one before the window stands for the time until the next
        before = needed.get(probe.name)
        if before is not None:
            start, end = min(start, before.start_ns), max(end, before.end_ns)
            columns |= set(before.columns)
        needed[probe.name] = Reading(probe.name, probe.kind, tuple(sorted(columns)), start, min(end, now_ns))

    for objective in contract.objectives:
        instants = within_validity(contract, window_of(contract, objective, now_ns, window))
        if instants is None:
            continue
        want(objective, instants)
        available = contract.availability()
        if objective.only_available_time and available is not None:
            want(available, instants)
    return tuple(needed.values())


def judge(
    contract: Contract,
    circuit: Circuit,
    series: Series,
    *,
    now_ns: int,
    window: WindowInstants | None = None,
    measured_since_ns: int | None = None,
    known: Circumstances = NOTHING_KNOWN,
) -> tuple[Verdict, ...]:
    """One verdict for each objective, in the contract's order.

    series: by probe name, as columns_needed asks for. measured_since_ns: start of the circuit's first sample ever;
    None takes the first in the series. window: judge the windows that hold the end of this one instead of now.
    known: gaps this agent recorded, and when all its circuits failed at once. The time before measured_since_ns is
    on record too.
    """
    firsts = [int(columns.start_ns[0]) for columns in series.values() if len(columns)]
    since = measured_since_ns if measured_since_ns is not None else min(firsts, default=now_ns)
    if contract.shared_fate == "count":
        known = replace(known, shared=NOWHERE)
    if measured_since_ns is not None:
        known = replace(known, gaps=(*known.gaps, Gap(0, measured_since_ns, BEFORE)))
    seen = {probe: blameless(columns, known.shared) for probe, columns in series.items()}
    cases, machines = [], Moment(now_ns, since).machines
    for objective in contract.objectives:
        instants = window_of(contract, objective, now_ns, window)
        ruling = rule(
            contract, circuit.id, start_ns=instants.start_ns, end_ns=instants.end_ns, now_ns=now_ns, objective=objective
        )
        when = Moment(now_ns, since, ruling.time, known, machines, credited=ruling.up, contract=contract)
        cases.append(_Case(contract, circuit, objective, instants, when, ruling))
    return tuple(case.verdict(seen) for case in cases)


def judge_by(
    read: Callable[[Reading], SampleColumns],
    contract: Contract,
    circuit: Circuit,
    *,
    now_ns: int,
    window: WindowInstants | None = None,
    measured_since_ns: int | None = None,
    gaps: Callable[[int, int], Sequence[Gap]] | None = None,
    shared: Callable[[Series], Spans] | None = None,
) -> tuple[Verdict, ...]:
    """Read what is needed through `read`, whatever is behind it, and judge.

    gaps: those this agent recorded that touch [start_ns, end_ns). shared: when all its circuits failed together with
    the one these series are of.
    """
    readings = columns_needed(contract, circuit, now_ns=now_ns, window=window)
    series = {reading.probe: read(reading) for reading in readings}
    known = NOTHING_KNOWN
    if readings and gaps is not None:
        found = gaps(min(item.start_ns for item in readings), max(item.end_ns for item in readings))
        known = replace(known, gaps=tuple(found))
    if shared is not None and contract.shared_fate == "unknown":
        known = replace(known, shared=shared(series))
    return judge(
        contract, circuit, series, now_ns=now_ns, window=window, measured_since_ns=measured_since_ns, known=known
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One objective of one circuit in one window."""

    contract: Contract
    circuit: Circuit
    objective: Objective
    window: WindowInstants
    when: Moment
    ruling: Ruling

    def verdict(self, series: Series) -> Verdict:
        target = self._target()
        try:
            if target is None:
                raise UnusableError("the circuit has no committed_rate to take a share of")
            evaluation = self._evaluate(series, target)
        except UnusableError as obstacle:
            return self._without_value(target, str(obstacle))
        found = evaluation.findings
        decision = decide(self.objective, target, found, closed=evaluation.period.closed)
        return Verdict(
            contract=self.contract.id,
            circuit=self.circuit.id,
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
            sentence=_sentence(self.objective, evaluation, decision, target, self.ruling),
            evidence=self._evidence(evaluation, decision),
        )

    def _target(self) -> Fraction | None:
        wanted, rate = self.objective.target, self.circuit.committed_rate_bps
        if not wanted.of_committed_rate:
            return wanted.value
        return None if rate is None else wanted.value * rate

    def _evaluate(self, series: Series, target: Fraction) -> Evaluation:
        window = within_validity(self.contract, self.window)
        if window is None:
            raise UnusableError(f"the contract is not valid in {self.window.label}")
        samples = self._samples(self.objective, series)
        when = replace(self.when, known=self.when.known.of(samples.columns.probe))
        if self.objective.metric is Metric.AVAILABILITY:
            return evaluate_availability(self.objective, samples, window, target, when)
        clock = self.contract.availability() if self.objective.only_available_time else None
        available = (clock, self._samples(clock, series)) if clock is not None else None
        return evaluate_statistic(self.objective, samples, window, when, available)

    def _samples(self, objective: Objective, series: Series) -> Feed:
        probe = feed(objective, self.circuit)
        if probe is None:
            raise UnusableError(missing_feed(objective))
        columns = series.get(probe.name)
        if columns is None or not len(columns):
            raise UnusableError(f"nothing was measured by probe {probe.name}")
        timeout = probe.parameters.get("timeout")
        return Feed(
            columns,
            pace(columns, every_ns(probe), attempts=makes_attempts(probe)),
            timeout if isinstance(timeout, int) else None,
        )

    def _without_value(self, target: Fraction | None, reason: str) -> Verdict:
        closed = self.window.closed(self.when.now_ns)
        state = VerdictState.INCONCLUSIVE if closed else VerdictState.UNMEASURABLE
        return Verdict(
            contract=self.contract.id,
            circuit=self.circuit.id,
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
            sentence=f"{name(self.objective)}: no verdict for {_period_name(self.window)}: {reason}",
            evidence={**self._terms(), "reason": reason},
        )

    def _terms(self) -> dict[str, EvidenceValue]:
        probe = feed(self.objective, self.circuit)
        return {
            "contract_version": self.contract.version,
            "contract_sha256": self.contract.digest,
            "time_zone_rules": zone(self.window.zone).law,
            "target": self.objective.target.text,
            "probe": probe.name if probe else None,
            "kind": probe.kind if probe else None,
            "definition": definition(self.objective),
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


def _period_name(window: WindowInstants) -> str:
    return f"the {window.label}" if window.unit is None else f"{window.label} ({window.zone})"


def _sentence(
    objective: Objective, evaluation: Evaluation, decision: Decision, target: Fraction, ruling: Ruling
) -> str:
    """`availability 99.93 % of 4 h 12 min measured since 2026-11-01 00:00 UTC (target 99.9 %): 18 s down in ...`."""
    period, found = evaluation.period, evaluation.findings
    what = f"{name(objective)} {quantity(objective, found.estimate.value, target)}"
    if period.closed:
        basis = f"{spoken(evaluation.measured_ns)} measured in {_period_name(period.window)}"
    else:
        basis = f"{spoken(evaluation.measured_ns)} measured since {moment(period.start_ns)}"
    parts = [evaluation.details, *_excluded(evaluation, ruling)]
    if found.coverage < 1:
        parts.append(f"{share(found.coverage)} of the time was measured")
        if evaluation.missing:
            parts.append(causes.told(evaluation.missing))
    if decision.reason:
        parts.append(_reason(objective, decision, found))
    elif decision.estimated and period.closed:
        parts.append(f"estimated, {_between(objective, found.estimate, target)}")
    promised = objective.target.text
    if objective.target.of_committed_rate:
        promised += f" = {quantity(objective, target)}"
    link = "of" if objective.metric is Metric.AVAILABILITY else "over"
    return f"{what} {link} {basis} (target {promised}): {'; '.join(part for part in parts if part)}"


def _excluded(evaluation: Evaluation, ruling: Ruling) -> list[str]:
    """`2 h excluded: planned maintenance (CHG-1)`, and how many entries are not applied."""
    parts = []
    if evaluation.excluded_ns:
        period = evaluation.period
        names = [f"{item.reason} ({item.id})" for item in ruling.named(Standing.APPLIED)
                 if item.start_ns < period.end_ns and item.end_ns > period.start_ns]  # fmt: skip
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        parts.append(f"{spoken(evaluation.excluded_ns)} excluded: {', '.join(names[:_NAMED])}{more}")
    open_entries = ruling.named(Standing.UNCONFIRMED)
    if open_entries:
        names = [item.id for item in open_entries]
        parts.append(f"{plural(len(names), 'retroactive exclusion')} not applied: {', '.join(names[:_NAMED])}")
    return parts


def _reason(objective: Objective, decision: Decision, found: Findings) -> str:
    if decision.reason == UNRECORDED:
        return f"{decision.state}: {decision.reason}, {_between(objective, found.unrecorded or found.estimate, None)}"
    if decision.state in (VerdictState.INCONCLUSIVE, VerdictState.UNMEASURABLE):
        asked = f" (the contract asks for {share(objective.coverage.minimum)})"
        short = found.estimate.value is not None and found.count >= found.needed
        return f"{decision.state}: {decision.reason}{asked if short else ''}"
    return decision.reason


def _between(objective: Objective, estimate: Estimate, target: Fraction | None) -> str:
    low, high = sorted((estimate.best, estimate.worst), key=lambda value: (value is None, value))
    if low is None:
        return "the unmeasured time could change it"
    if high is None:
        known = "at best" if low == estimate.best else "at worst"
        return f"{known} {quantity(objective, low, target)}"
    return f"between {quantity(objective, low, target)} and {quantity(objective, high, target)}"
