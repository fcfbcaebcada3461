"""Can this schedule show what the contract promises? Every concern with its arithmetic and what would do. Pure.

An error: the promise can never be shown kept, or broken, with these probes. A warning: it can, but coarsely, or by
other packets than the contract names.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from agent.sla.samples.feeds import (
    ONE_WAY_KINDS,
    RATE_KINDS,
    every_ns,
    feed,
    makes_attempts,
    missing_feed,
    needs_probe,
    one_way,
)
from agent.sla.sampling import adequacy_availability, adequacy_statistic
from agent.sla.sampling.concerns import Concern, Key
from agent.sla.sampling.schedules import longest, round_up
from agent.sla.terms.contract import SECOND_NS, Contract, JitterDefinition, Metric, Objective, StatisticType
from agent.sla.words.clauses import DAY, length, percent
from agent.sla.words.explain_terms import code_point
from agent.sla.words.wording import spoken
from probes.core.model import Circuit, ProbeSetting
from probes.core.units import format_duration

__all__ = ["Concern", "concerns"]

_OF_PAIRS: Final = (JitterDefinition.IPDV, JitterDefinition.IFDV)
_DAYS_TO_JUDGE: Final = 5
"""Left for judging and reporting a window once it is over."""


def concerns(
    contract: Contract, circuit: Circuit, span_ns: int, *, packets_ns: int | None = None, samples_ns: int | None = None
) -> tuple[Concern, ...]:
    """What of the contract this circuit's probes cannot show, in the contract's order.

    span_ns: length of a sample. packets_ns, samples_ns: how long the store keeps them, None where that is not known.
    """
    found: list[Concern] = []
    for index, objective in enumerate(contract.objectives):
        at: Key = ("objectives", index)
        probe = feed(objective, circuit)
        if probe is None:
            found += _without_probe(objective, contract, at)
        else:
            found += _objective(objective, contract, circuit, probe, span_ns, at)
            found += _kept(objective, span_ns, packets_ns, samples_ns, at)
        if objective.target.of_committed_rate and circuit.committed_rate_bps is None:
            found.append(Concern((*at, "target"), "error", "the circuit has no committed_rate to take a share of"))
    found += adequacy_availability.least_outages(contract, circuit, span_ns)
    found += _other_packets(contract, circuit)
    return tuple(found)


def _without_probe(objective: Objective, contract: Contract, at: Key) -> Iterator[Concern]:
    if objective.metric is Metric.OUTAGE and contract.availability() is None:
        message = "no objective on availability finds outages here: only tickets tell of them"
        yield Concern(at, "warning", message)
    if not needs_probe(objective):
        return
    if one_way(objective) and contract.measurement.record == "theirs":
        message = "the circuit has no probe that measures one way: only the other side's record can show this"
        yield Concern((*at, "metric"), "warning", message)
    else:
        yield Concern((*at, "metric"), "error", missing_feed(objective))


def _objective(
    objective: Objective, contract: Contract, circuit: Circuit, probe: ProbeSetting, span_ns: int, at: Key
) -> Iterator[Concern]:
    if objective.metric is Metric.AVAILABILITY:
        yield from adequacy_availability.concerns(objective, contract, probe, span_ns, at)
    else:
        yield from adequacy_statistic.concerns(objective, contract, circuit, probe, span_ns, at)
    yield from _coverage(objective, circuit, probe, span_ns, at)


def _kept(
    objective: Objective, span_ns: int, packets_ns: int | None, samples_ns: int | None, at: Key
) -> Iterator[Concern]:
    """A window that is longer than the store remembers can never be judged whole."""
    longest_ns = longest(objective.window)
    singly = _singly(objective, span_ns)
    for what, kept_ns, needed in (("packets", packets_ns, singly), ("samples", samples_ns, True)):
        if needed and kept_ns is not None and kept_ns < longest_ns:
            days = -(-longest_ns // DAY) + _DAYS_TO_JUDGE
            own = f"this {objective.statistic.type.value} takes the packets themselves, which"
            why = own if what == "packets" else what
            yield Concern(
                (*at, "window"),
                "error",
                f"{why} are kept for {length(kept_ns)}, and the window lasts up to {spoken(longest_ns)}: "
                f"`keep_{what}: {days}d` would do",
            )
            return


def _singly(objective: Objective, span_ns: int) -> bool:
    """Whether the packets themselves are needed: for single pairs, and for seconds out of longer samples."""
    statistic = objective.statistic
    if objective.metric is not Metric.JITTER or statistic.definition not in _OF_PAIRS:
        return statistic.type is StatisticType.AVAILABILITY_SECONDS and SECOND_NS % span_ns != 0
    shares = statistic.type in (StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER) and statistic.of == "packets"
    return shares or statistic.type is StatisticType.PERCENTILE


def _coverage(objective: Objective, circuit: Circuit, probe: ProbeSetting, span_ns: int, at: Key) -> Iterator[Concern]:
    """Coverage that the schedule itself rules out: gaps between runs, and time that capacity runs take away."""
    coverage, every = objective.coverage, every_ns(probe)
    if coverage.longest_gap_ns is not None and every is not None and every > coverage.longest_gap_ns:
        yield Concern(
            (*at, "coverage", "longest_gap"),
            "error",
            f"{probe.name} asks once in {length(every)}, and a gap of {length(coverage.longest_gap_ns)} is too long: "
            f"no window ever suffices; `every: {format_duration(coverage.longest_gap_ns)}` or less would do",
        )
    if makes_attempts(probe):
        return
    for loader in circuit.probes:
        taken = _taken_away(loader, span_ns)
        if taken is None:
            continue
        share, needed_ns = taken
        if 1 - share < coverage.minimum:
            wanted = round_up(int(needed_ns / (1 - coverage.minimum))) if coverage.minimum < 1 else None
            remedy = f"`every: {format_duration(wanted)}` or more would do" if wanted else "no pace would do"
            yield Concern(
                (*at, "coverage", "minimum"),
                "error",
                f"{loader.name} loads the circuit {length(int(needed_ns))} of every {length(every_ns(loader) or 0)}, "
                f"when nothing else is judged: at most {_down(1 - share)} of the time is covered, and the contract "
                f"wants {percent(coverage.minimum)}; {remedy}, or a circuit of its own for {loader.name}",
            )


def _taken_away(loader: ProbeSetting, span_ns: int) -> tuple[Fraction, int] | None:
    """Share of time in which a capacity probe keeps others from being judged, and ns of one run in whole samples."""
    every, duration = every_ns(loader), loader.parameters.get("duration")
    if loader.kind != "throughput" or every is None or not isinstance(duration, int):
        return None
    both = 2 if loader.parameters.get("direction", "both") == "both" else 1
    samples = -(-both * duration // span_ns) + 1  # a run begins anywhere in a sample
    return min(Fraction(1), Fraction(samples * span_ns, every)), samples * span_ns


def _down(share: Fraction) -> str:
    """Per cent with one decimal, rounded down."""
    tenths = int(share * 1000)
    return f"{tenths // 10}.{tenths % 10} %"


def _other_packets(contract: Contract, circuit: Circuit) -> Iterator[Concern]:
    """Packets that are not those the contract names, once for each probe."""
    terms = contract.measurement
    probes = {probe.name: probe for item in contract.objectives if (probe := feed(item, circuit)) is not None}
    for probe in probes.values():
        timeout, size = probe.parameters.get("timeout"), probe.parameters.get("size")
        if terms.timeout_ns is not None and isinstance(timeout, int) and probe.kind != "throughput":
            yield from _time_out(probe, timeout, terms.timeout_ns)
        if terms.packet_size is not None and isinstance(size, int) and size != terms.packet_size:
            yield Concern(
                ("measurement", "packet_size"),
                "warning",
                f"{probe.name} sends {size} octets, the contract is about {terms.packet_size}: `size: "
                f"{terms.packet_size}B` would do",
            )
        yield from _other_pace(probe, contract)
        own = probe.parameters.get("dscp")
        dscp = own if isinstance(own, int) else circuit.dscp
        if terms.dscp is not None and dscp != terms.dscp:
            yield Concern(
                ("measurement", "dscp"),
                "warning",
                f"{probe.name} sends code point {code_point(dscp)}, the contract is about {code_point(terms.dscp)}: "
                f"`dscp: {terms.dscp}` would do",
            )


def _other_pace(probe: ProbeSetting, contract: Contract) -> Iterator[Concern]:
    """A slower pace than the contract's, and a way that the probe does not measure."""
    terms, every = contract.measurement, every_ns(probe)
    if terms.interval_ns is not None and every is not None and every > terms.interval_ns and not makes_attempts(probe):
        yield Concern(
            ("measurement", "interval"),
            "warning",
            f"{probe.name} sends one packet in {length(every)}, the contract is about one in "
            f"{length(terms.interval_ns)}: `every: {format_duration(terms.interval_ns)}` would do",
        )
    if terms.path in ("forward", "backward", "both") and probe.kind not in (*ONE_WAY_KINDS, *RATE_KINDS):
        yield Concern(
            ("measurement", "path"),
            "warning",
            f"{probe.name} measures the way there and back together, the contract is about "
            f"{'each way' if terms.path == 'both' else f'the way {terms.path}'}",
        )


def _time_out(probe: ProbeSetting, timeout: int, wanted: int) -> Iterator[Concern]:
    remedy = f"`timeout: {format_duration(wanted)}` would do"
    if timeout > wanted:
        yield Concern(
            ("measurement", "timeout"),
            "error",
            f"{probe.name} waits {length(timeout)} for an answer, and by the contract a packet is lost after "
            f"{length(wanted)}: answers in between count as arrived; {remedy}",
        )
    elif timeout < wanted:
        yield Concern(
            ("measurement", "timeout"),
            "warning",
            f"{probe.name} gives up after {length(timeout)}, and by the contract a packet is lost after "
            f"{length(wanted)}: answers in between count as lost; {remedy}",
        )
