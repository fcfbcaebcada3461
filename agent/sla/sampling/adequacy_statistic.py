"""Are there packets enough for the number that the contract promises, and do bins lie on samples? Pure."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from agent.sla.samples.feeds import every_ns, makes_attempts
from agent.sla.sampling.concerns import Concern, Key
from agent.sla.sampling.schedules import asked, counted_share, round_down, shortest
from agent.sla.terms.contract import Contract, JitterDefinition, Metric, Objective, StatisticType
from agent.sla.terms.objective import Unit
from agent.sla.words.clauses import length, percent, rate
from agent.sla.words.wording import plural, spoken
from probes.core.model import Circuit, ProbeSetting
from probes.core.units import format_duration

FEW: Final = 10
"""A share or a percentile with fewer cases than this beyond it jumps with each of them."""
LEAST_IN_BIN: Final = 10
"""Packets of which the mean of a bin should be made."""
_PAYLOAD: Final = 1448
"""Octets of TCP payload in a packet of 1500, with time stamps (RFC 7323)."""
_ON_THE_LINE: Final = {"L1": 1538, "L2": 1518, "L3": 1500}
"""Octets of such a packet by layer: with preamble and gap; with header and FCS; as it is."""


def concerns(
    objective: Objective, contract: Contract, circuit: Circuit, probe: ProbeSetting, span_ns: int, at: Key
) -> Iterator[Concern]:
    """Of one objective on delay, jitter, loss, MOS or throughput."""
    hours = objective.hours or contract.hours
    window = int(shortest(objective.window, contract) * counted_share(hours))
    yield from _bins(objective, probe, span_ns, at)
    yield from _pairs(objective, probe, at)
    if objective.metric is Metric.THROUGHPUT:
        yield from _rate(objective, contract, circuit, probe, at)
    yield from _enough(objective, probe, window, at)


def _rate(
    objective: Objective, contract: Contract, circuit: Circuit, probe: ProbeSetting, at: Key
) -> Iterator[Concern]:
    """What the runs measure against what is promised: direction, a limit of their own, the layer of the rate."""
    wanted, has = objective.statistic.direction, str(probe.parameters.get("direction", "both"))
    if has not in ("both", wanted):
        which = "both directions" if wanted in ("worst", "round_trip") else f"the direction {wanted}"
        message = f"{probe.name} fills the circuit {has} only, and the promise is about {which}"
        yield Concern((*at, "statistic", "direction"), "error", f"{message}: `direction: both` would do")
    if objective.unit is not Unit.RATE:
        return
    committed = circuit.committed_rate_bps or contract.service.cir_bps
    target = objective.target.value * (committed or 0 if objective.target.of_committed_rate else 1)
    limit = probe.parameters.get("limit")
    if isinstance(limit, int) and limit < target:
        message = f"{probe.name} is limited to {rate(limit)}, below the target of {rate(target)}: no `limit` would do"
        yield Concern((*at, "target"), "error", message)
    octets = _ON_THE_LINE.get(contract.service.layer)
    if octets is not None and committed and target > committed * Fraction(_PAYLOAD, octets):
        most = Fraction(_PAYLOAD, octets)
        yield Concern(
            (*at, "target"),
            "error",
            f"the committed rate of {rate(committed)} counts at {contract.service.layer}, and {probe.name} counts TCP "
            f"payload, of which full frames carry {_PAYLOAD}/{octets} = {_tenths(most)}: at most "
            f"{rate(int(committed * most))} can ever be seen, and {rate(target)} is promised; a target of "
            f"{int(most * 100)} % of committed_rate or less would do",
        )


def _tenths(share: Fraction) -> str:
    return f"{int(share * 1000) / 10} %"


def _thing(objective: Objective) -> str:
    return "run" if objective.metric is Metric.THROUGHPUT else "packet"


def _enough(objective: Objective, probe: ProbeSetting, window: int, at: Key) -> Iterator[Concern]:
    """Cases of a window against what the statistic needs, then against what would make it steady."""
    statistic, count = objective.statistic, asked(probe, window)
    needed = objective.samples_needed
    if objective.metric is Metric.THROUGHPUT and statistic.p is not None:
        needed = max(needed, -(-1 // statistic.p))
    have = f"{probe.name} makes {plural(count, _thing(objective))} in {spoken(window)}"
    if count < needed and objective.min_samples is not None:
        yield Concern(
            (*at, "min_samples"),
            "error",
            f"{have}, and the contract wants {needed}; {_faster(window, needed)}",
        )
        return
    match statistic.type:
        case StatisticType.PERCENTILE if statistic.p is not None:
            yield from _percentile(objective, probe, window, count, at)
        case StatisticType.RATIO:
            yield from _share(objective, probe, window, count, objective.target.value, (*at, "target"), "packet")
        case StatisticType.RATIO_WITHIN | StatisticType.RATIO_OVER:
            over = statistic.type is StatisticType.RATIO_OVER
            beyond = objective.target.value if over else 1 - objective.target.value
            bins = statistic.of == "bins" and statistic.bin_ns
            cases = window // statistic.bin_ns if bins and statistic.bin_ns else count
            thing = "bin" if bins else _thing(objective)
            yield from _share(objective, probe, window, cases, beyond, (*at, "target"), thing)
        case StatisticType.MAX_WINDOW if objective.metric is Metric.LOSS and statistic.span_ns:
            span = statistic.span_ns
            cases = asked(probe, span)
            yield from _share(objective, probe, span, cases, objective.target.value, (*at, "target"), "packet")
        case _ if count < needed:
            yield Concern((*at, "statistic"), "error", f"{have}, and it takes {needed}; {_faster(window, needed)}")


def _percentile(objective: Objective, probe: ProbeSetting, window: int, count: int, at: Key) -> Iterator[Concern]:
    p = objective.statistic.p
    if p is None:
        return
    thing = _thing(objective)
    tail = p if objective.metric is Metric.THROUGHPUT else 1 - p
    needed = -(-1 // tail)
    have = f"{probe.name} makes {plural(count, thing)} in {spoken(window)}"
    rank = f"p{float(p * 100):g} needs 1/{'p' if tail == p else '(1-p)'} = {needed}"
    key = (*at, "statistic", "p")
    if count < needed:
        more = f"{have}, and {rank} to be defined; {_faster(window, FEW * needed)}"
        yield Concern(key, "error", more)
    elif count < FEW * needed and thing == "packet":
        beyond = int(count * tail)
        yield Concern(
            key,
            "warning",
            f"{have}, so that {plural(beyond, thing)} lie beyond the p{float(p * 100):g}: it jumps with each of them; "
            f"{_faster(window, FEW * needed)}",
        )


def _share(
    objective: Objective, probe: ProbeSetting, window: int, count: int, beyond: Fraction, key: Key, thing: str
) -> Iterator[Concern]:
    """The step in which a share moves against the share that may be bad."""
    if not 0 < beyond < 1 or count >= FEW / beyond:
        return
    what = "loss" if objective.metric is Metric.LOSS else "the share"
    have = f"{probe.name} makes {plural(count, thing)} in {spoken(window)}"
    if thing == "bin":
        have = f"{spoken(window)} hold {plural(count, thing)}"
    needed = -(-FEW // beyond)
    if count * beyond < 1:
        step = f"one of them is {_percent(Fraction(1, count))}" if count else "that is none"
        message = f"{have}: {step}, more than the {percent(beyond)} that may be bad, so that a single one breaks it"
        yield Concern(key, "error", f"{message}; {_remedy(window, needed, thing)}")
    else:
        message = (
            f"{have}: {what} moves in steps of {_percent(Fraction(1, count))}, and "
            f"{int(count * beyond)} of them may be bad"
        )
        if thing != "run":
            yield Concern(key, "warning", f"{message}; {_remedy(window, needed, thing)}")


def _remedy(window: int, needed: int, thing: str) -> str:
    if thing == "bin":
        return f"it takes {needed} bins, of {length(window // needed)} or less, or a longer window"
    if thing == "run":
        return _faster(window, -(-needed // FEW))
    return _faster(window, needed)


def _faster(window: int, needed: int) -> str:
    """The round pace that makes so many in the window."""
    pace = round_down(window // needed) if needed else None
    if pace is None:
        return f"it takes {needed}: a longer window would do"
    return f"`every: {format_duration(pace)}` would make {window // pace}"


def _percent(ratio: Fraction) -> str:
    """With as many decimals as show it: `0.34 %`."""
    text = percent(ratio)
    return text if "/" not in text and len(text) < 9 else f"{float(ratio * 100):.2g} %"


def _bins(objective: Objective, probe: ProbeSetting, span_ns: int, at: Key) -> Iterator[Concern]:
    """Bins that do not lie on samples, or hold too few packets."""
    statistic, every = objective.statistic, every_ns(probe)
    for name, bin_ns in (("bin", statistic.bin_ns), ("span", statistic.span_ns)):
        if bin_ns is None:
            continue
        key = (*at, "statistic", name)
        if not makes_attempts(probe) and bin_ns % span_ns:
            yield Concern(
                key,
                "error",
                f"a {name} of {length(bin_ns)} is not a multiple of the sample interval of {length(span_ns)}: `{name}: "
                f"{format_duration(-(-bin_ns // span_ns) * span_ns)}` would do",
            )
        if every is None:
            continue
        count, pace = bin_ns // every, round_down(bin_ns // _wanted(objective))
        if not count:
            yield Concern(
                key,
                "error",
                f"{probe.name} asks once in {length(every)}, so that most {name}s of {length(bin_ns)} hold nothing: "
                f"`every: {format_duration(pace or bin_ns)}` would do",
            )
        elif count < LEAST_IN_BIN and objective.metric is not Metric.THROUGHPUT:
            yield Concern(
                key,
                "warning",
                f"a {name} of {length(bin_ns)} holds {plural(count, 'packet')} of one in {length(every)}: each is "
                f"{_percent(Fraction(1, count))} of it; `every: {format_duration(pace or bin_ns)}` would put "
                f"{bin_ns // (pace or bin_ns)} into it",
            )


def _wanted(objective: Objective) -> int:
    return 1 if objective.metric is Metric.THROUGHPUT else LEAST_IN_BIN


def _pairs(objective: Objective, probe: ProbeSetting, at: Key) -> Iterator[Concern]:
    """Pairs a set time apart exist only where packets are."""
    tau, every = objective.statistic.tau_ns, every_ns(probe)
    if objective.statistic.definition is not JitterDefinition.IFDV or objective.metric is not Metric.JITTER:
        return
    if tau is not None and every is not None and tau % every:
        yield Concern(
            (*at, "statistic", "tau"),
            "error",
            f"no two packets lie {length(tau)} apart where {probe.name} sends one in {length(every)}: `tau: "
            f"{format_duration(-(-tau // every) * every)}` would do",
        )
