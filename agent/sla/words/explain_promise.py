"""What an objective promises, in one plain sentence, and what that comes to. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from agent.sla.terms.contract import Contract, Metric, Objective, StatisticType, Unit
from agent.sla.terms.objective import JitterDefinition, unit_of
from agent.sla.time.calendar import WindowInstants, day_start, resolve
from agent.sla.time.hours import Hours, worked
from agent.sla.time.zones import zone
from agent.sla.words.clauses import (
    counted,
    decimal,
    examples_of,
    first_day,
    length,
    listed,
    number,
    percent,
    period,
    rate,
    sentence,
    target_text,
    value,
)
from probes.core.clock import SECOND
from probes.core.model import Circuit

_AVAILABILITY: Final = frozenset(
    {
        StatisticType.AVAILABILITY_MEF,
        StatisticType.AVAILABILITY_SECONDS,
        StatisticType.AVAILABILITY_BLOCKS,
        StatisticType.AVAILABILITY_OUTAGE,
    }
)
_JITTER: Final = {
    JitterDefinition.IPDV: "delay variation between consecutive packets (IPDV)",
    JitterDefinition.IFDV: "inter-frame delay variation (IFDV)",
    JitterDefinition.RFC3550: "interarrival jitter (RFC 3550)",
    JitterDefinition.PDV: "delay variation above the smallest delay (PDV)",
}
_WAYS: Final = {
    "forward": " away from point A",
    "backward": " towards point A",
    "worst": " in the worse direction",
    "round_trip": "",
}


def measure(objective: Objective) -> str:
    """What is measured: `round-trip delay`, `one-way delay away from point A`."""
    direction = objective.statistic.direction
    way = _WAYS[direction]
    match objective.metric:
        case Metric.RTT:
            return "round-trip delay"
        case Metric.DELAY:
            return f"one-way delay{way}"
        case Metric.JITTER:
            return f"{_JITTER[objective.statistic.definition]}{way}"
        case Metric.LOSS:
            return f"packet loss{way}"
        case Metric.MOS:
            return f"voice quality (MOS){way}"
        case Metric.THROUGHPUT:
            return f"throughput{_WAYS['worst'] if direction == 'round_trip' else way}"
        case Metric.AVAILABILITY:
            return "availability"
        case _:
            return "time to repair"


def subject(objective: Objective) -> str:
    """`the circuit`, or the circuits that the promise is about together."""
    scope = objective.scope
    if scope is None:
        return "the circuit"
    together = listed(scope.members)
    if scope.aggregation == "at_least":
        up = "is" if scope.k == 1 else "are"
        return f"the group of {together}, which is up while at least {number(scope.k)} of them {up} up,"
    return f"each of {together}" if scope.aggregation == "worst" else f"the mean of {together}"


def promise(objective: Objective, contract: Contract, circuit: Circuit | None = None) -> tuple[str, ...]:
    """The promise itself, then what it comes to."""
    comes_to = _comes_to(objective, contract)
    first = sentence(f"{period(objective.window, contract)}, {_shall(objective)}{comes_to and '; '}{comes_to}")
    more = [*_in_rate(objective, contract, circuit)]
    if objective.scope is not None and objective.metric is not Metric.AVAILABILITY:
        more.append(_together(objective))
    if objective.target.value != 1 or objective.statistic.type not in _AVAILABILITY:
        more.append(_edge(objective))
    return (first, *more)


def _shall(objective: Objective) -> str:
    kind = objective.statistic.type
    if objective.metric is Metric.EVENT:
        return _event(objective)
    if objective.metric is Metric.OUTAGE:
        return _outages(objective)
    if kind in _AVAILABILITY:
        share = "all" if objective.target.value == 1 else f"at least {target_text(objective)}"
        return f"{subject(objective)} shall be available {share} of the time"
    if kind in (StatisticType.HIGH_LOSS_INTERVALS, StatisticType.CONSECUTIVE_HIGH_LOSS):
        return _high_loss(objective)
    if objective.metric is Metric.THROUGHPUT:
        return _throughput(objective)
    if objective.metric is Metric.LOSS and kind is StatisticType.RATIO:
        where = measure(objective).removeprefix("packet loss")
        return f"not more than {target_text(objective)} of the packets shall be lost{where}"
    return _measured(objective)


def _bound(objective: Objective) -> str:
    verb = "shall not be below" if objective.comparison == "min" else "shall not exceed"
    return f"{verb} {target_text(objective)}"


def _limit(objective: Objective) -> str:
    limit = objective.statistic.limit
    if objective.statistic.limit_days is not None:
        return counted(objective.statistic.limit_days, "business day")
    unit = unit_of(objective.metric, StatisticType.MEAN if objective.metric is not Metric.LOSS else StatisticType.RATIO)
    return "its limit" if limit is None else value(unit, limit)


def _low_is_bad(objective: Objective) -> bool:
    return objective.metric in (Metric.THROUGHPUT, Metric.MOS)


def _measured(objective: Objective) -> str:
    """Delay, jitter, loss and MOS by a statistic."""
    statistic, what = objective.statistic, measure(objective)
    match statistic.type:
        case StatisticType.PERCENTILE if statistic.p is not None:
            good = f"more than {percent(1 - statistic.p)}" if _low_is_bad(objective) else percent(statistic.p)
            reach = "reach at least" if _low_is_bad(objective) else "have at most"
            return f"{good} of the {thing(objective)}s shall {reach} {target_text(objective)} of {what}"
        case StatisticType.RATIO_WITHIN:
            side = "or more" if _low_is_bad(objective) else "or less"
            return (
                f"at least {target_text(objective)} of the {_things(objective)} shall have {_article(objective)}{what} "
                f"of {_limit(objective)} {side}"
            )
        case StatisticType.RATIO_OVER:
            side = "below" if _low_is_bad(objective) else "above"
            return (
                f"not more than {target_text(objective)} of the {_things(objective)} shall have "
                f"{_article(objective)}{what} {side} {_limit(objective)}"
            )
        case StatisticType.SUSTAINED:
            side = "below" if _low_is_bad(objective) else "above"
            return (
                f"{_at_most(objective, 'stretch', 'stretches')} of {length(statistic.run_ns or 0)} or longer in which "
                f"every {length(statistic.bin_ns or 0)} have a {_mean(objective)} {side} {_limit(objective)}"
            )
        case StatisticType.MAX_WINDOW:
            return f"the {_mean(objective)} over any continuous {length(statistic.span_ns or 0)} {_bound(objective)}"
        case StatisticType.BIN_MEAN:
            return f"the mean of all {length(statistic.bin_ns or 0)} means of {what} {_bound(objective)}"
        case StatisticType.MINIMUM:
            return f"the smallest {what} {_bound(objective)}"
        case _:
            return f"the mean {what} {_bound(objective)}"


def _mean(objective: Objective) -> str:
    return measure(objective) if objective.metric is Metric.LOSS else f"mean {measure(objective)}"


def thing(objective: Objective) -> str:
    """What has one value: a packet, a pair of them, a sample, a run."""
    if objective.metric is Metric.THROUGHPUT:
        return "run"
    if objective.metric is Metric.MOS:
        return "sample"
    if objective.metric is Metric.JITTER:
        return {JitterDefinition.RFC3550: "sample", JitterDefinition.PDV: "packet"}.get(
            objective.statistic.definition, "pair"
        )
    return "packet"


def _things(objective: Objective) -> str:
    if objective.statistic.of == "bins":
        return f"bins of {length(objective.statistic.bin_ns or 0)}"
    return f"{thing(objective)}s"


def _article(objective: Objective) -> str:
    return "a mean " if objective.statistic.of == "bins" and objective.metric is not Metric.LOSS else "a "


def _at_most(objective: Objective, one: str, many: str) -> str:
    """`there shall be no stretch`, `there shall be at most 3 stretches`."""
    count = objective.target.value
    if count == 0:
        return f"there shall be no {one}"
    return f"there shall be at most {decimal(count)} {one if count == 1 else many}"


def _high_loss(objective: Objective) -> str:
    statistic = objective.statistic
    interval = f"of {length(statistic.dt_ns)}" if statistic.dt_ns else "of one sample"
    lossy = f"{interval} with more than {percent(statistic.c)} of the packets lost while the circuit is available"
    if statistic.type is StatisticType.HIGH_LOSS_INTERVALS:
        return f"{_at_most(objective, 'interval', 'intervals')} {lossy}"
    times = f"{statistic.p_intervals} or more intervals in a row, each {lossy}"
    return f"{_at_most(objective, 'run', 'runs')} of {times}"


def _throughput(objective: Objective) -> str:
    statistic, where = objective.statistic, measure(objective).removeprefix("throughput")
    target = target_text(objective)
    match statistic.type:
        case StatisticType.MINIMUM:
            return f"every capacity run shall reach at least {target}{where}"
        case StatisticType.PERCENTILE if statistic.p is not None:
            return f"more than {percent(1 - statistic.p)} of the capacity runs shall reach at least {target}{where}"
        case StatisticType.CAPACITY:
            every = length(statistic.bin_ns or 0)
            return f"the best capacity run of every {every} shall reach at least {target}{where}"
        case StatisticType.RATIO_WITHIN:
            return f"at least {target} of the {_things(objective)} shall reach {_limit(objective)} or more{where}"
        case StatisticType.RATIO_OVER:
            return f"not more than {target} of the {_things(objective)} shall stay below {_limit(objective)}{where}"
        case StatisticType.MEAN:
            return f"the mean of all capacity runs{where} {_bound(objective)}"
        case _:
            return _measured(objective)


def _outages(objective: Objective) -> str:
    statistic, target = objective.statistic, target_text(objective)
    which = f" of priority {listed(objective.severities, 'or')}" if objective.severities else ""
    match statistic.type:
        case StatisticType.COUNT:
            return _at_most(objective, f"outage{which}", f"outages{which}")
        case StatisticType.TOTAL:
            return f"all outages{which} together shall not last longer than {target}"
        case StatisticType.LONGEST:
            return f"no outage{which} shall last longer than {target}"
        case StatisticType.MTTF:
            return f"the mean time from repair to the next outage{which} (MTTF) shall not be below {target}"
        case StatisticType.MTBF:
            return f"the mean time between outages{which} (MTBF) shall not be below {target}"
        case StatisticType.RATIO_WITHIN:
            return f"at least {target} of the outages{which} shall be repaired within {_limit(objective)}"
        case StatisticType.RATIO_OVER:
            return f"not more than {target} of the outages{which} shall take longer than {_limit(objective)} to repair"
        case StatisticType.PERCENTILE if statistic.p is not None:
            return f"{percent(statistic.p)} of the outages{which} shall be repaired within {target}"
        case _:
            return f"the mean time to repair{which and ' outages' + which} (MTTR) shall not exceed {target}"


def _event(objective: Objective) -> str:
    terms, statistic, target = objective.events, objective.statistic, target_text(objective)
    if terms is None:
        return f"the time of events {_bound(objective)}"
    which = f" of priority {listed(terms.priorities, 'or')}" if terms.priorities else ""
    things, one = f"{terms.kind}s{which}", f"{terms.kind}{which}"
    way = f"from “{terms.start}” to “{terms.end}”"
    match statistic.type:
        case StatisticType.RATIO_WITHIN:
            return f"at least {target} of the {things} shall get {way} within {_limit(objective)}"
        case StatisticType.RATIO_OVER:
            return f"not more than {target} of the {things} shall take longer than {_limit(objective)} {way}"
        case StatisticType.PERCENTILE if statistic.p is not None:
            return f"{percent(statistic.p)} of the {things} shall get {way} within {target}"
        case StatisticType.LONGEST:
            return f"every {one} shall get {way} within {target}"
        case StatisticType.COUNT:
            return _at_most(objective, one, things)
        case StatisticType.TOTAL:
            return f"all {things} together shall take at most {target} {way}"
        case _:
            return f"the {things} shall take at most {target} on average {way}"


def _comes_to(objective: Objective, contract: Contract) -> str:
    """The allowance in minutes or packets."""
    target = objective.target.value
    if objective.statistic.type in _AVAILABILITY:
        if target == 1:
            return "any time down that counts breaks the promise"
        hours = objective.hours or contract.hours
        if hours is not None:
            window, counted_ns = _example(objective, contract, hours)
            allowed = _time(counted_ns * (1 - target))
            return f"of the {length(counted_ns)} that count in {window.label} that is at most {allowed} down"
        parts = [
            f"{_time((1 - target) * ns)} {'down in a ' if not index else 'in '}{name}"
            for index, (name, _, ns) in enumerate(examples_of(objective.window, contract))
        ]
        rest = f" ({', '.join(parts[1:])})" if parts[1:] else ""
        return f"that is at most {parts[0]}{rest}"
    if objective.statistic.type is StatisticType.RATIO and 0 < target < 1:
        return f"that is at most {_one_in(target)}"
    return ""


def _example(objective: Objective, contract: Contract, hours: Hours) -> tuple[WindowInstants, int]:
    """The first whole window of the contract, and ns of it in the hours."""
    start_ns = day_start(first_day(contract), zone(contract.time_zone).info)
    window = resolve(contract, objective.window, start_ns)
    if window.start_ns < start_ns:
        window = resolve(contract, objective.window, window.end_ns)
    return window, worked(hours, window.start_ns, window.end_ns)


def _time(exact: Fraction) -> str:
    """Rounded down to a second."""
    return length(int(exact) // SECOND * SECOND)


def _one_in(ratio: Fraction) -> str:
    return f"{counted(ratio.numerator, 'packet')} in {ratio.denominator:_}".replace("_", " ")


def _in_rate(objective: Objective, contract: Contract, circuit: Circuit | None) -> list[str]:
    """A share of the committed rate, in bit/s."""
    if not objective.target.of_committed_rate:
        return []
    committed = circuit.committed_rate_bps if circuit is not None else None
    committed = committed or contract.service.cir_bps
    if committed is None:
        return ["The committed rate is that of the circuit."]
    wanted = objective.target.value * committed
    share = percent(objective.target.value)
    return [f"The committed rate is {rate(committed)}; {share} of it is {rate(wanted)}."]


def _together(objective: Objective) -> str:
    scope = objective.scope
    if scope is None:
        return ""
    together = listed(scope.members)
    if scope.aggregation == "mean":
        return f"The promise is about {together} together: the mean of their values counts."
    return f"The promise is about {together} together: the worst of them counts."


def _edge(objective: Objective) -> str:
    """Whether the target itself is good enough."""
    if objective.unit is Unit.COUNT:
        return "A number equal to the limit keeps the promise."
    if objective.target.value == 1 and objective.unit is Unit.RATIO and objective.comparison == "min":
        return "Nothing less than 100 % keeps the promise."
    if objective.target.of_committed_rate:
        return "A value equal to that keeps the promise."
    return f"A value of exactly {target_text(objective)} keeps the promise."
