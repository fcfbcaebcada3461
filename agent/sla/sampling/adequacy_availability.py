"""Can this pace see the outages that the contract counts, and tell the share of time that it promises? Pure."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from agent.sla.samples.feeds import every_ns, feed, makes_attempts
from agent.sla.sampling.concerns import Concern, Key
from agent.sla.sampling.schedules import counted_share, round_down, shortest
from agent.sla.terms.contract import SECOND_NS, Contract, Metric, Objective, StatisticType
from agent.sla.terms.objective import Unit
from agent.sla.terms.remedies import CreditBasis
from agent.sla.words.clauses import HOUR, length, percent
from agent.sla.words.wording import plural, spoken
from probes.core.model import Circuit, ProbeSetting
from probes.core.units import format_duration

LEAST_PACKETS: Final = 10
"""Packets in an interval from which its loss can be told in steps of a tenth; MEF SOAM takes no fewer."""
_LONGEST_DT_NS: Final = HOUR
_HALF: Final = Fraction(1, 2)


def interval(objective: Objective, probe: ProbeSetting, span_ns: int) -> int | None:
    """dt of the machine (length of a block) on this probe in ns; None where a timetable gives none."""
    statistic = objective.statistic
    if statistic.type is StatisticType.AVAILABILITY_SECONDS:
        return SECOND_NS
    if statistic.type is StatisticType.AVAILABILITY_BLOCKS:
        return statistic.block_ns
    if statistic.dt_ns is not None:
        return statistic.dt_ns
    if not makes_attempts(probe):
        return span_ns
    every = every_ns(probe)
    return None if every is None else 2 * every


def seen(objective: Objective, probe: ProbeSetting, span_ns: int) -> int | None:
    """The shortest outage that is certain to be seen as one, in ns."""
    dt = interval(objective, probe, span_ns)
    if dt is None:
        return None
    return dt if objective.statistic.type is StatisticType.AVAILABILITY_BLOCKS else dt * objective.statistic.n


def concerns(objective: Objective, contract: Contract, probe: ProbeSetting, span_ns: int, at: Key) -> Iterator[Concern]:
    """Of one objective on availability."""
    dt, every = interval(objective, probe, span_ns), every_ns(probe)
    if dt is None:
        message = f"{probe.name} follows a timetable: it gives no availability unless the contract states dt"
        yield Concern((*at, "statistic"), "error", message)
        return
    name = _named(objective)
    seconds = objective.statistic.type is StatisticType.AVAILABILITY_SECONDS
    if seconds and makes_attempts(probe):
        message = f"{probe.name} makes single attempts, which say nothing about single seconds: a stream would do"
        yield Concern((*at, "statistic"), "error", message)
        return
    if not makes_attempts(probe) and dt % span_ns and not seconds:
        yield Concern(
            (*at, "statistic", name),
            "error",
            f"{name} of {length(dt)} is not a multiple of the sample interval of {length(span_ns)}: "
            f"`{name}: {format_duration(-(-dt // span_ns) * span_ns)}`, or `interval: {_divisor(dt)}` in the "
            "configuration, would do",
        )
    if every is not None:
        yield from _packets(objective, probe, dt, every, at)
    yield from _allowance(objective, contract, probe, span_ns, at)
    yield from _least_outage(objective, probe, span_ns, at)


def _named(objective: Objective) -> str:
    return "block" if objective.statistic.type is StatisticType.AVAILABILITY_BLOCKS else "dt"


def _divisor(dt: int) -> str:
    return format_duration(round_down(dt) or dt)


def _packets(objective: Objective, probe: ProbeSetting, dt: int, every: int, at: Key) -> Iterator[Concern]:
    """Packets in an interval against the loss that it must tell."""
    statistic, name, count = objective.statistic, _named(objective), dt // every
    key = (*at, "statistic", name)
    if not count:
        yield Concern(
            key,
            "error",
            f"{probe.name} asks once in {length(every)}, so that most intervals of {length(dt)} hold no packet: "
            f"`every: {format_duration(round_down(dt // LEAST_PACKETS) or dt)}`, or `{name}: "
            f"{format_duration(LEAST_PACKETS * every)}`, would do",
        )
        return
    if statistic.type is StatisticType.AVAILABILITY_BLOCKS and count < statistic.least_packets:
        wanted = round_down(dt // statistic.least_packets)
        yield Concern(
            (*at, "statistic", "least_packets"),
            "error",
            f"a block of {length(dt)} holds {plural(count, 'packet')} of one in {length(every)}, and the contract "
            f"wants {statistic.least_packets}: no block ever says anything; "
            + (f"`every: {format_duration(wanted)}` would do" if wanted else "longer blocks would do"),
        )
    least = int(statistic.c * count) + 1
    reached = Fraction(least, count)
    fine = statistic.c * count < 1 and statistic.c > 0 and not (count <= 2 and statistic.c >= _HALF)
    if fine or (count < LEAST_PACKETS and statistic.c not in (0, _HALF) and reached - statistic.c > Fraction(1, 20)):
        needed = max(LEAST_PACKETS, -(-statistic.c.denominator // statistic.c.numerator))
        yield Concern(
            key,
            "warning",
            f"{plural(count, 'packet')} in {length(dt)}: loss moves in steps of {_step(count)}, and {least} of {count} "
            f"lost, {_step(count, least)}, is the first above c = {percent(statistic.c)}; "
            f"{_finer(dt, every, needed, name)}",
        )


def _step(count: int, part: int = 1) -> str:
    """`10 %`, or `33.3 %` where it does not end."""
    ratio = Fraction(part, count)
    exact = percent(ratio)
    return exact if "/" not in exact and len(exact) < 7 else f"{round(ratio * 1000) / 10} %"


def _finer(dt: int, every: int, needed: int, name: str) -> str:
    """A pace, else an interval, that puts so many packets into one interval."""
    pace = round_down(dt // needed)
    longer = needed * every
    if longer <= _LONGEST_DT_NS and (pace is None or longer <= 2 * dt):
        return f"`{name}: {format_duration(longer)}` would hold {needed}"
    return f"`every: {format_duration(pace)}` would put {dt // pace} into it" if pace else f"it takes {needed}"


def _allowance(
    objective: Objective, contract: Contract, probe: ProbeSetting, span_ns: int, at: Key
) -> Iterator[Concern]:
    """The shortest outage that can be seen against the time that may be down."""
    if objective.unit is not Unit.RATIO or objective.target.value >= 1:
        return
    dt, least = interval(objective, probe, span_ns), seen(objective, probe, span_ns)
    if dt is None or least is None:
        return
    window = shortest(objective.window, contract) * counted_share(objective.hours or contract.hours)
    allowed = int((1 - objective.target.value) * window)
    if 2 * least <= allowed:
        return
    beyond = least > allowed
    verdict = (
        "one outage breaks the promise, and one as long as is allowed is not seen"
        if beyond
        else "two such outages break the promise"
    )
    yield Concern(
        (*at, "target"),
        "error" if beyond else "warning",
        f"{percent(objective.target.value)} of {spoken(int(window))} allows {spoken(allowed)} down, and the shortest "
        f"outage that {probe.name} is sure to see lasts {_product(objective, dt)}: {verdict}; "
        f"{_quicker(objective, probe, allowed)}",
    )


def _product(objective: Objective, dt: int) -> str:
    n = objective.statistic.n
    if n == 1 or objective.statistic.type is StatisticType.AVAILABILITY_BLOCKS:
        return length(dt)
    return f"{length(n * dt)} (n x dt = {n} x {length(dt)})"


def _quicker(objective: Objective, probe: ProbeSetting, allowed: int) -> str:
    """dt (and the pace for it) that is at most half of what is allowed."""
    n = 1 if objective.statistic.type is StatisticType.AVAILABILITY_BLOCKS else objective.statistic.n
    dt = round_down(allowed // (2 * n))
    if dt is None:
        return "no schedule would do"
    if makes_attempts(probe) and objective.statistic.dt_ns is None:
        pace = round_down(dt // 2)
        return f"`every: {format_duration(pace)}` would do" if pace else "no schedule would do"
    packets = 2 if makes_attempts(probe) else LEAST_PACKETS
    pace = round_down(dt // packets)
    with_pace = f" with `every: {format_duration(pace)}`" if pace is not None else ""
    return f"`{_named(objective)}: {format_duration(dt)}`{with_pace} would do"


def _least_outage(objective: Objective, probe: ProbeSetting, span_ns: int, at: Key) -> Iterator[Concern]:
    """Outages that the contract counts and the pace does not see."""
    least, wanted = seen(objective, probe, span_ns), objective.statistic.minimum_ns
    if least is not None and wanted and objective.statistic.clock == "measured" and least > wanted:
        yield Concern((*at, "statistic", "minimum_outage"), "error", _unseen(objective, probe, least, wanted))


def _unseen(objective: Objective, probe: ProbeSetting, least: int, wanted: int) -> str:
    n = objective.statistic.n
    remedy = f"`dt: {format_duration(round_down(wanted // n) or wanted)}` would do"
    return (
        f"the contract counts outages from {length(wanted)} on, and {probe.name} is sure to see them from "
        f"{length(least)} on (n x dt = {n} x {length(least // n)}); {remedy}"
    )


def least_outages(contract: Contract, circuit: Circuit, span_ns: int) -> Iterator[Concern]:
    """Outages that other clauses count: objectives on outages, credits for each, chronic rules."""
    machine = contract.availability()
    probe = feed(machine, circuit) if machine is not None else None
    least = seen(machine, probe, span_ns) if machine is not None and probe is not None else None
    if machine is None or probe is None or least is None:
        return
    for key, wanted in _counted_from(contract):
        if 0 < wanted < least:
            yield Concern(key, "error", _unseen(machine, probe, least, wanted))


def _counted_from(contract: Contract) -> Iterator[tuple[Key, int]]:
    """Where the contract says how long an outage must be, in ns."""
    for index, objective in enumerate(contract.objectives):
        if objective.metric is Metric.OUTAGE:
            yield ("objectives", index, "statistic", "minimum_outage"), objective.statistic.minimum_ns
    for index, terms in enumerate(contract.credits):
        if terms.minimum_outage_ns:
            yield ("credits", "terms", index, "minimum_outage"), terms.minimum_outage_ns
        elif terms.basis is CreditBasis.PER_EVENT and terms.bands and terms.bands[0].low is not None:
            yield ("credits", "terms", index, "bands"), int(terms.bands[0].low)
    for index, rule in enumerate(contract.chronic):
        yield ("chronic", index, "minimum"), rule.minimum_ns
