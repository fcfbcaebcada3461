"""How the number of an objective is made, step by step, with the document that defines it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.sla.terms.contract import Contract, Metric, Objective, StatisticType, Unit
from agent.sla.terms.objective import JitterDefinition
from agent.sla.words.clauses import length, listed, noun_of, percent, sentence, value
from agent.sla.words.explain_promise import thing
from agent.sla.words.wording import plural

_CODECS: Final = {
    "g711": "G.711 without loss concealment (Ie 0, Bpl 4.3)",
    "g711_plc": "G.711 with loss concealment (Ie 0, Bpl 25.1)",
    "g729a": "G.729A with silence suppression (Ie 11, Bpl 19)",
}


def made(objective: Objective, contract: Contract) -> tuple[str, ...]:
    """Sentences: what one value is, then how the values become one number."""
    if objective.metric is Metric.AVAILABILITY:
        return tuple(_availability(objective, contract))
    if objective.metric is Metric.OUTAGE:
        return tuple(_outages(objective))
    if objective.metric is Metric.EVENT:
        return tuple(_events(objective))
    if objective.metric is Metric.THROUGHPUT:
        return (*_run(objective), *_reduced(objective))
    if objective.metric is Metric.LOSS:
        return (*_loss(contract), *_reduced(objective))
    return (*_one_value(objective, contract), *_reduced(objective))


def _one_value(objective: Objective, contract: Contract) -> Iterator[str]:
    statistic = objective.statistic
    match objective.metric:
        case Metric.RTT:
            yield (
                "The round-trip delay of a packet is the time from sending it to receiving its answer (RFC 2681), "
                "stamped by the kernel of the measuring host where it can."
            )
        case Metric.DELAY:
            yield (
                "The one-way delay of a packet is the time from sending it at one end to receiving it at the other "
                "(RFC 7679); the clocks of both ends must agree."
            )
        case Metric.JITTER:
            yield _jitter(objective)
        case Metric.MOS:
            yield (
                "The MOS is computed from delay and loss of a sample by the E-model (ITU-T G.107, simplified: "
                f"R = 93.2 - Id - Ie,eff) for {_CODECS[statistic.codec]}; it runs from 1 (bad) to 4.5."
            )
    yield from _lost(objective, contract)


def _jitter(objective: Objective) -> str:
    tau = objective.statistic.tau_ns
    return {
        JitterDefinition.IPDV: "The value is |D(i) - D(i-1)|, the difference in delay of two consecutive packets that "
        "both arrived (IPDV: RFC 3393, RFC 5481 section 4.1).",
        JitterDefinition.IFDV: f"The value is |D(b) - D(a)|, the difference in delay of two packets sent "
        f"{length(tau) if tau else 'a set time'} apart that both arrived (IFDV: MEF 10.4 section 8.8.5).",
        JitterDefinition.RFC3550: "The value is the interarrival jitter of RTP, J = J + (|D| - J) / 16, read at the "
        "end of each sample (RFC 3550 section 6.4.1).",
        JitterDefinition.PDV: "The value is the delay of a packet less the smallest delay of the window (PDV: RFC 5481 "
        "section 4.2).",
    }[objective.statistic.definition]


def _lost(objective: Objective, contract: Contract) -> Iterator[str]:
    """What a lost packet is worth to a metric of delay."""
    if objective.metric is Metric.MOS:
        return
    late = f"within {length(contract.measurement.timeout_ns)}" if contract.measurement.timeout_ns else "in time"
    if objective.statistic.lost == "infinite":
        yield f"A packet that is not answered {late} counts as late beyond every limit (RFC 7679)."
    elif objective.metric is Metric.JITTER and statistic_of_pairs(objective):
        yield f"A packet that is not answered {late} makes no pair."
    else:
        yield f"A packet that is not answered {late} has no delay and is left out (RFC 8912): it counts as loss alone."


def statistic_of_pairs(objective: Objective) -> bool:
    """Whether one value takes two packets."""
    return objective.statistic.definition is not JitterDefinition.PDV


def _loss(contract: Contract) -> Iterator[str]:
    timeout = contract.measurement.timeout_ns
    late = length(timeout) if timeout else "the time-out of the probe"
    yield (
        f"A packet is lost when no answer comes back within {late} (RFC 7680, for the way there and back). A packet "
        "that never left the measuring host is not lost, it is missing data."
    )


def _run(objective: Objective) -> Iterator[str]:
    direction = objective.statistic.direction
    which = {
        "forward": "The data flows away from point A",
        "backward": "The data flows towards point A",
        "worst": "Each run measures both directions, and the slower one counts",
        "round_trip": "Each run measures both directions, and the slower one counts",
    }[direction]
    yield (
        "A capacity run fills the circuit for some seconds; its value is the TCP payload that the receiver counted in "
        f"a second (layer 4). {which}."
    )


def _bins(objective: Objective, each: str) -> str:
    """What a bin is worth."""
    bin_text = length(objective.statistic.bin_ns or 0)
    if objective.metric is Metric.LOSS:
        return f"The window is cut into bins of {bin_text}; each has its own share of lost packets."
    return f"The window is cut into bins of {bin_text}; each has the mean of its {each}s."


def _reduced(objective: Objective) -> Iterator[str]:
    """From the values to the number."""
    statistic, each = objective.statistic, thing(objective)
    match statistic.type:
        case StatisticType.MEAN:
            yield f"The number is the sum of all values divided by their count: every {each} weighs the same."
        case StatisticType.BIN_MEAN:
            yield _bins(objective, each)
            yield f"The number is the mean of those: every bin weighs the same, however many {each}s it holds."
        case StatisticType.PERCENTILE if statistic.p is not None:
            yield (
                f"All values of the window are put in order; the number is the smallest that at least "
                f"{percent(statistic.p)} of them do not exceed (nearest rank, RFC 2330 section 11.3)."
            )
        case StatisticType.RATIO:
            yield "The number is all packets lost in the window, divided by all packets sent in it."
        case StatisticType.RATIO_WITHIN | StatisticType.RATIO_OVER:
            yield from _ratio(objective, each)
        case StatisticType.SUSTAINED:
            yield _bins(objective, each)
            yield (
                f"A stretch is a row of such bins, all beyond {_limit(objective)}, of "
                f"{length(statistic.run_ns or 0)} or longer; the number is how many stretches there are."
            )
        case StatisticType.MAX_WINDOW:
            yield (
                f"The number is the worst value over any {length(statistic.span_ns or 0)} of the window, wherever they "
                "begin (on whole samples)."
            )
        case StatisticType.MINIMUM:
            yield "The number is the worst run."
        case StatisticType.CAPACITY:
            yield (
                f"Of each {length(statistic.bin_ns or 0)} the best run counts (maximum capacity, RFC 9097); the number "
                "is the worst of those."
            )


def _ratio(objective: Objective, each: str) -> Iterator[str]:
    statistic = objective.statistic
    if statistic.of == "bins":
        yield _bins(objective, each)
    things = "bins" if statistic.of == "bins" else f"{each}s"
    low = objective.metric in (Metric.THROUGHPUT, Metric.MOS)
    within = statistic.type is StatisticType.RATIO_WITHIN
    beyond = (
        f"that reach {_limit(objective)} or more"
        if low and within
        else f"below {_limit(objective)}"
        if low
        else f"at or below {_limit(objective)}"
        if within
        else f"above {_limit(objective)}"
    )
    yield f"The number is the count of {things} {beyond}, divided by the count of all {things}."


def _limit(objective: Objective) -> str:
    limit = objective.statistic.limit
    units = {Metric.THROUGHPUT: Unit.RATE, Metric.LOSS: Unit.RATIO, Metric.MOS: Unit.MOS}
    if objective.statistic.limit_days is not None:
        return plural(objective.statistic.limit_days, "business day")
    if limit is None:
        return "the limit"
    if objective.metric in (Metric.EVENT, Metric.OUTAGE):
        return value(Unit.DURATION, limit)
    return value(units.get(objective.metric, Unit.DELAY), limit)


def _availability(objective: Objective, contract: Contract) -> Iterator[str]:
    statistic = objective.statistic
    dt = length(statistic.dt_ns) if statistic.dt_ns else "one sample"
    match statistic.type:
        case StatisticType.AVAILABILITY_MEF | StatisticType.AVAILABILITY_SECONDS:
            seconds = statistic.type is StatisticType.AVAILABILITY_SECONDS
            origin = "ITU-T Y.1563, as G.826" if seconds else "MEF 10.4 section 8.8.7"
            yield from _machine(dt, statistic.n, percent(statistic.c), origin)
            yield f"The number is the available time divided by all time of the {noun_of(objective.window)}."
        case StatisticType.HIGH_LOSS_INTERVALS:
            yield from _machine(dt, statistic.n, percent(statistic.c), "MEF 10.4 section 8.8.7")
            yield "The number is how many intervals are lossy while the circuit is available (MEF 10.4 section 8.8.8)."
        case StatisticType.CONSECUTIVE_HIGH_LOSS:
            yield from _machine(dt, statistic.n, percent(statistic.c), "MEF 10.4 section 8.8.7")
            yield (
                f"The number is how many times {statistic.p_intervals} or more intervals in a row are lossy while the "
                "circuit is available (MEF 10.4 section 8.8.9)."
            )
        case StatisticType.AVAILABILITY_BLOCKS:
            yield (
                f"Time is cut into blocks of {length(statistic.block_ns or 0)}. A block is unavailable when more than "
                f"{percent(statistic.c)} of its packets are lost (ITU-T Y.1540 section 7); there is no further rule on "
                "rows of blocks."
            )
            yield f"A block with fewer than {plural(statistic.least_packets, 'packet')} says nothing."
            yield "The number is the count of available blocks divided by the count of all blocks."
        case _:
            yield from _plain_outages(objective)
    if contract.month_basis == "fixed_720h" and objective.window.calendar in ("month", "billing_month"):
        yield "Every month counts as 720 h, however long it was."


def _machine(dt: str, n: int, c: str, origin: str) -> Iterator[str]:
    yield (
        f"Time is cut into intervals of {dt}. An interval is lossy when more than {c} of its packets are lost; "
        f"exactly {c} is not lossy ({origin})."
    )
    row = f"{n} lossy intervals in a row" if n > 1 else "One lossy interval"
    back = f"{n} intervals in a row that are not lossy" if n > 1 else "one interval that is not lossy"
    yield f"{row} {'are' if n > 1 else 'is'} down from the first of them; {back} {'are' if n > 1 else 'is'} up again."


def _plain_outages(objective: Objective) -> Iterator[str]:
    statistic = objective.statistic
    dt = length(statistic.dt_ns) if statistic.dt_ns else "one sample"
    if statistic.clock == "contract":
        yield "An outage lasts as long as the contract's repair clock says, see the section on outages."
    else:
        yield (
            f"The circuit is down from the first of {plural(statistic.n, 'interval')} of {dt} in a row with more than "
            f"{percent(statistic.c)} of their packets lost, until the first of as many without."
        )
    yield from _which_outages(objective)
    yield f"The number is 1 less all outage time divided by the length of the {noun_of(objective.window)}."


def _which_outages(objective: Objective) -> Iterator[str]:
    statistic = objective.statistic
    if statistic.join_ns:
        yield f"Outages less than {length(statistic.join_ns)} apart are one, with the time between them."
    if statistic.minimum_ns:
        start = "from its start" if statistic.count_from == "start" else "only from then on"
        yield f"An outage shorter than {length(statistic.minimum_ns)} does not count; a longer one counts {start}."


def _outages(objective: Objective) -> Iterator[str]:
    statistic = objective.statistic
    if objective.severities:
        yield f"Only outages with a ticket of priority {listed(objective.severities, 'or')} count."
    yield from _which_outages(objective)
    clock = "the contract's repair clock" if statistic.clock == "contract" else "the measured clock"
    noun = noun_of(objective.window)
    match statistic.type:
        case StatisticType.COUNT:
            yield f"An outage belongs to the {noun} in which it starts; the number is how many there are."
        case StatisticType.TOTAL:
            yield f"The number is the outage time within the {noun}, on {clock}, all outages together."
        case StatisticType.LONGEST:
            yield f"The number is the longest outage that starts in the {noun}, on {clock}."
        case StatisticType.MTTF:
            yield f"The number is the time up in the {noun}, divided by the number of outages that start in it (MTTF)."
        case StatisticType.MTBF:
            yield (
                f"The number is MTTF + MTTR: time up in the {noun} per outage that starts in it, and the mean time to "
                "repair (MTBF)."
            )
        case StatisticType.RATIO_WITHIN | StatisticType.RATIO_OVER:
            side = "within" if statistic.type is StatisticType.RATIO_WITHIN else "after more than"
            yield (
                f"The number is how many of the outages that start in the {noun} are repaired {side} "
                f"{_limit(objective)}, divided by how many there are, on the contract's repair clock."
            )
        case StatisticType.PERCENTILE:
            yield "The number is by nearest rank of the times to repair, on the contract's repair clock."
        case _:
            yield (
                f"The number is the time to repair of all outages that start in the {noun}, added up and divided by "
                "their count, on the contract's repair clock (MTTR). Without an outage the promise is kept."
            )


def _events(objective: Objective) -> Iterator[str]:
    terms, statistic = objective.events, objective.statistic
    if terms is None:
        return
    kind = terms.kind
    yield (
        f"Every {kind} is entered with its moments; its time runs from “{terms.start}” to “{terms.end}”"
        + (f", and only during {terms.hours.text or 'the hours named'}." if terms.hours else ", day and night.")
    )
    if terms.pauses:
        cap = f", at most {length(terms.pause_cap_ns)} in all" if terms.pause_cap_ns else ""
        yield f"Its clock stops for: {_reasons(terms.pauses)}{cap}."
    yield {
        "excluded": f"A {kind} that was given up by whoever made it is left out.",
        "late_if_over": f"A {kind} that was given up counts as late if it was over the limit by then, else it is left "
        "out.",
        "late": f"A {kind} that was given up counts as late.",
    }[terms.abandoned]
    if statistic.limit_days is not None:
        yield (
            "The day it begins on does not count; weekends and the holidays of this contract are no business days; it "
            "is in time until the end of the last day."
        )
    if terms.unfinished == "excluded":
        yield f"A {kind} that has no “{terms.end}” yet is left out until it has."
    elif statistic.type in (StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER):
        when = "until it has" if terms.unfinished == "late" else "once it is over the limit, and not before"
        yield f"A {kind} that has no “{terms.end}” yet counts as late {when}."
    elif statistic.type is not StatisticType.COUNT:
        yield f"A {kind} that has no “{terms.end}” yet has taken the time that passed so far, and maybe more."
    noun = noun_of(objective.window)
    match statistic.type:
        case StatisticType.RATIO_WITHIN:
            yield f"The number is how many of the {kind}s that start in the {noun} are in time, divided by all of them."
        case StatisticType.RATIO_OVER:
            yield f"The number is how many of the {kind}s that start in the {noun} are late, divided by all of them."
        case StatisticType.PERCENTILE if statistic.p is not None:
            yield f"The number is the time that {percent(statistic.p)} of them do not exceed (nearest rank)."
        case StatisticType.LONGEST:
            yield f"The number is the longest time of the {kind}s that start in the {noun}."
        case StatisticType.COUNT:
            yield f"The number is how many {kind}s start in the {noun}."
        case StatisticType.TOTAL:
            yield f"The number is the sum of the times of the {kind}s that start in the {noun}."
        case _:
            yield f"The number is the mean time of the {kind}s that start in the {noun}."


def _reasons(reasons: tuple[str, ...]) -> str:
    return listed(reason.replace("_", " ") for reason in reasons)


def counted_time(objective: Objective, contract: Contract) -> tuple[str, ...]:
    """Which time and how much of it must have been measured."""
    found = []
    hours = objective.hours or (contract.hours if objective.metric is not Metric.EVENT else None)
    if hours is not None:
        found.append(f"Only the time {hours.text or 'of the service hours'} counts.")
    if objective.only_available_time:
        found.append("Only packets of time in which the circuit is available count (MEF 10.4).")
    if objective.exclusions is not None:
        kinds = listed(kind.replace("_", " ") for kind in objective.exclusions) or "nothing"
        found.append(f"Of the exclusions of this contract, this objective knows {kinds}.")
    return tuple(sentence(text) for text in (*found, *_coverage(objective)))


def _coverage(objective: Objective) -> Iterator[str]:
    if objective.metric in (Metric.EVENT, Metric.OUTAGE):
        return
    coverage = objective.coverage
    if coverage.minimum:
        yield (
            f"The measured value decides alone only if {percent(coverage.minimum)} of the time was measured; else the "
            "verdict stands only where what is missing could not change it"
        )
    if coverage.longest_gap_ns is not None:
        yield f"nor does it where {length(coverage.longest_gap_ns)} or more in a row are missing"
    if objective.min_samples is not None:
        yield f"It takes at least {plural(objective.min_samples, 'value')}"
    if objective.metric is not Metric.AVAILABILITY:
        return
    if coverage.unknown == "down":
        yield "Time that was not measured counts as down"
    elif coverage.unknown == "up":
        yield "Time that was not measured counts as up"
    if coverage.bridge_ns:
        yield f"Unmeasured time of up to {length(coverage.bridge_ns)} between two times down is down as well"
