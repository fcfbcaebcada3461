"""Promises on outages: against a second implementation, and bounds against every course that events can have taken."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest

from agent.sla.case import Moment, UnusableError
from agent.sla.faults import repair
from agent.sla.faults.joining import incidents_of
from agent.sla.faults.repair import evaluate_outages, figures
from agent.sla.terms.contract import Coverage, Metric, Objective, Statistic, StatisticType
from agent.sla.terms.incidents import ClockTerms, Incident, Repair, Stamp, Ticket
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.verdict import NO_EVENTS, VerdictState, decide
from tests.fakes.contracts import contract, objective

LENGTH, START, END, LATER = 40, 8, 32, 1000
KINDS = (
    StatisticType.COUNT, StatisticType.TOTAL, StatisticType.LONGEST, StatisticType.MTTR, StatisticType.MTTF,
    StatisticType.MTBF,
)  # fmt: skip
BEYOND = (StatisticType.PERCENTILE, StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER)
NO_BRIDGE = ClockTerms(bridge_ns=0)


def promise(kind: StatisticType, target: str | int = 3, **more: object) -> Objective:
    statistic = {
        name: more.pop(name) for name in ("minimum_ns", "join_ns", "count_from", "p", "limit", "clock") if name in more
    }
    return objective(Metric.OUTAGE, target, Statistic(kind, **statistic), **more)  # type: ignore[arg-type]


def spans(text: str, letters: str) -> Spans:
    return Spans.of((at, at + 1) for at, found in enumerate(text) if found in letters)


def found_in(text: str, tickets: tuple[Ticket, ...] = (), clock: ClockTerms = NO_BRIDGE) -> tuple[Incident, ...]:
    down = spans(text, "D")
    return incidents_of("c1", down, spans(text, "?"), down, tickets, clock, dt_ns=1, now_ns=LATER, until_ns=len(text))


def evaluated(text: str, asked: Objective, clock: ClockTerms = NO_BRIDGE, grain: int = 0):  # type: ignore[no-untyped-def]
    moment = Moment(LATER, 0, contract=contract(asked, clock=clock), unknown=spans(text, "?"), grain_ns=grain)
    window = WindowInstants(START, END, "window", "UTC")
    return evaluate_outages(asked, found_in(text, clock=clock), window, moment)


def naive(text: str, asked: Objective) -> Fraction | None:
    """By instants. All of the text is D or U, and it ends with U."""
    statistic = asked.statistic
    runs: list[list[int]] = []
    for at, letter in enumerate(text):
        if letter == "D" and runs and at - runs[-1][-1] - 1 < max(statistic.join_ns, 1):
            runs[-1] += range(runs[-1][-1] + 1, at + 1)
        elif letter == "D":
            runs.append([at])
    runs = [run for run in runs if len(run) >= statistic.minimum_ns]
    begins = [run[0] for run in runs]
    if statistic.count_from == "threshold":
        runs = [run[statistic.minimum_ns :] for run in runs]
    here = [run for begin, run in zip(begins, runs, strict=True) if START <= begin < END]
    down = sum(START <= at < END for run in runs for at in run)
    lengths = sorted(len(run) for run in here)
    if statistic.type is StatisticType.COUNT:
        return Fraction(len(here))
    if statistic.type is StatisticType.TOTAL:
        return Fraction(down)
    if statistic.type is StatisticType.LONGEST:
        return Fraction(max(lengths, default=0))
    if not here:
        return None
    mttr = Fraction(sum(lengths), len(here))
    if statistic.type is StatisticType.MTTR:
        return mttr
    if statistic.type is StatisticType.PERCENTILE:
        assert statistic.p is not None
        return Fraction(next(item for item in lengths if sum(x <= item for x in lengths) >= statistic.p * len(lengths)))
    if statistic.type in BEYOND:
        good = sum(
            (item <= (statistic.limit or 0)) == (statistic.type is StatisticType.RATIO_WITHIN) for item in lengths
        )
        return Fraction(good, len(lengths))
    mttf = Fraction(END - START - down, len(here))
    return mttf if statistic.type is StatisticType.MTTF else mttf + mttr


def drawn(seed: int, unknown: int) -> tuple[str, Objective]:
    dice = random.Random(seed)
    text = ""
    while len(text) < LENGTH:
        text += dice.choice("UD") * dice.randint(1, 6)
    letters = list(text[: LENGTH - 1] + "U")
    holes = 0
    while holes < unknown:
        at, length = dice.randrange(LENGTH - 5), dice.randint(1, 4)
        for place in range(at, min(at + length, at + unknown - holes)):
            holes += letters[place] != "?"
            letters[place] = "?"
    kind = dice.choice((*KINDS, *BEYOND))
    asked = promise(
        kind,
        minimum_ns=dice.choice((0, 0, 2, 3)),
        join_ns=dice.choice((0, 0, 2, 4)),
        count_from=dice.choice(("start", "threshold")),
        p=Fraction(dice.choice((1, 2, 3)), 4) if kind is StatisticType.PERCENTILE else None,
        limit=Fraction(dice.randint(1, 5)) if kind in BEYOND[1:] else None,
    )
    return "".join(letters), asked


def test_another_way_of_counting_gives_the_same_numbers() -> None:
    for seed in range(1200):
        text, asked = drawn(seed, 0)
        estimate = evaluated(text, asked).findings.estimate
        assert estimate.value == naive(text, asked), (seed, text, asked.statistic)
        if estimate.value is not None:
            assert estimate.best == estimate.worst == estimate.value, (seed, text, asked.statistic)


def outside(seeds: range) -> list[tuple[int, str, StatisticType]]:
    """Seeds for which some course of the unknown time gives a number beyond the bounds."""
    found = []
    for seed in seeds:
        text, asked = drawn(seed, 6)
        estimate = evaluated(text, asked, grain=seed % 2).findings.estimate
        low, high = estimate.best, estimate.worst
        if asked.comparison == "min":
            low, high = high, low
        holes = [at for at, letter in enumerate(text) if letter == "?"]
        for course in itertools.product("DU", repeat=len(holes)):
            letters = list(text)
            for at, letter in zip(holes, course, strict=True):
                letters[at] = letter
            value = naive("".join(letters), asked)
            if value is not None and ((low is not None and value < low) or (high is not None and value > high)):
                found.append((seed, text, asked.statistic.type))
                break
    return found


def test_no_course_of_events_lies_beyond_the_bounds() -> None:
    assert outside(range(500)) == []


def test_the_search_catches_bounds_that_forget_hidden_outages(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = repair.bounds

    def certain(case, readings):  # type: ignore[no-untyped-def]
        return honest(case, type(readings)(readings.likely, readings.sure, readings.sure, NOWHERE))

    monkeypatch.setattr(repair, "bounds", certain)
    assert len(outside(range(60))) > 10


def test_bounds_are_tight_where_everything_is_known() -> None:
    text = "U" * 10 + "D" * 4 + "U" * 26
    for kind, value in zip(KINDS, (1, 4, 4, 4, 20, 24), strict=True):
        estimate = evaluated(text, promise(kind)).findings.estimate
        assert (estimate.best, estimate.value, estimate.worst) == (value, value, value), kind


def test_no_outage_is_a_promise_kept() -> None:
    for kind in (*KINDS, StatisticType.RATIO_WITHIN):
        asked = promise(kind, "0", limit=Fraction(1))
        found = evaluated("U" * LENGTH, asked).findings
        assert found.remark == NO_EVENTS
        assert decide(asked, Fraction(0), found, closed=True).state is VerdictState.MET


def test_no_outage_seen_with_time_unknown_is_no_promise_kept() -> None:
    """No record of why: what was taken away could have been the outage."""
    asked = promise(StatisticType.COUNT, 0)
    found = evaluated("U" * 20 + "??" + "U" * 18, asked).findings
    assert found.remark == ""
    assert decide(asked, Fraction(0), found, closed=True).state is VerdictState.INCONCLUSIVE
    mttr = promise(StatisticType.MTTR, 4)
    assert decide(mttr, Fraction(4), evaluated("U" * 20 + "??" + "U" * 18, mttr).findings, closed=True).state is (
        VerdictState.INCONCLUSIVE
    )


def test_two_outages_and_unknown_time_between_them() -> None:
    text = "U" * 10 + "DDD" + "??" + "DDD" + "U" * 22
    asked = promise(StatisticType.COUNT, 1, minimum_ns=2)
    estimate = evaluated(text, asked).findings.estimate
    assert (estimate.best, estimate.value) == (1, 2)
    bridged = evaluated(text, promise(StatisticType.LONGEST), ClockTerms(bridge_ns=2)).findings.estimate
    assert (bridged.best, bridged.value, bridged.worst) == (3, 8, 8)


def test_unknown_may_be_agreed_to_be_down_or_up() -> None:
    text = "U" * 10 + "DD" + "???" + "U" * 25
    for policy, value in (("up", 2), ("down", 5)):
        asked = promise(StatisticType.TOTAL, coverage=Coverage(unknown=policy))  # type: ignore[arg-type]
        estimate = evaluated(text, asked).findings.estimate
        assert (estimate.best, estimate.value, estimate.worst) == (value, value, value)


def test_only_outages_of_the_priorities_count() -> None:
    text = "U" * 10 + "DD" + "U" * 10 + "DDDD" + "U" * 14
    ticket = Ticket("T1", ("c1",), {Stamp.FAULT: 10, Stamp.RESTORED: 12}, 12, priority="P1")
    asked = promise(StatisticType.TOTAL, severities=("P1",))
    window = WindowInstants(START, END, "window", "UTC")
    moment = Moment(LATER, 0, contract=contract(asked, clock=NO_BRIDGE))
    incidents = found_in(text, (ticket,), NO_BRIDGE)
    assert len(incidents) == 2
    assert evaluate_outages(asked, incidents, window, moment).findings.estimate.value == 2


def test_an_outage_that_still_lasts_has_no_upper_bound() -> None:
    text = "U" * 30 + "D" * 10
    asked = promise(StatisticType.MTTR, 5)
    moment = Moment(LENGTH, 0, contract=contract(asked, clock=NO_BRIDGE))
    down = spans(text, "D")
    incidents = incidents_of("c1", down, NOWHERE, down, [], NO_BRIDGE, dt_ns=1, now_ns=LENGTH)
    assert incidents[0].end_ns is None
    window = WindowInstants(START, END, "window", "UTC")
    found = evaluate_outages(asked, incidents, window, moment)
    estimate = found.findings.estimate
    assert (estimate.best, estimate.value, estimate.worst) == (10, 10, None)
    assert decide(asked, Fraction(5), found.findings, closed=True).state is VerdictState.BREACHED
    assert decide(asked, Fraction(20), found.findings, closed=True).state is VerdictState.MET
    assert "still going on" in found.details


def test_an_open_window_can_still_be_repaired_or_not() -> None:
    text = "U" * 10 + "DD" + "U" * 8
    down = spans(text, "D")
    incidents = incidents_of("c1", down, NOWHERE, down, [], NO_BRIDGE, dt_ns=1, now_ns=20)
    window = WindowInstants(START, END, "window", "UTC")
    for kind, target, state in (
        (StatisticType.COUNT, 0, VerdictState.BREACHED),
        (StatisticType.COUNT, 1, VerdictState.ON_TRACK),
        (StatisticType.TOTAL, 2, VerdictState.AT_RISK),
        (StatisticType.MTTR, 1, VerdictState.AT_RISK),
        (StatisticType.MTTF, 23, VerdictState.BREACHED),
        (StatisticType.MTTF, 22, VerdictState.AT_RISK),
    ):
        asked = promise(kind, target)
        found = evaluate_outages(asked, incidents, window, Moment(20, 0, contract=contract(asked, clock=NO_BRIDGE)))
        assert decide(asked, Fraction(target), found.findings, closed=False).state is state, (kind, target)


def test_what_is_no_statistic_of_outages_is_refused() -> None:
    with pytest.raises(UnusableError, match="no statistic of outages"):
        evaluated("U" * LENGTH, promise(StatisticType.SUSTAINED))


def test_figures_of_a_period() -> None:
    def incident(name: str, start: int, measured: int | None, ours: int | None, end: int | None) -> Incident:
        down = NOWHERE if measured is None else Spans.of([(start, start + measured)])
        return Incident(name, "c1", start, end, "both", down, down, repair=Repair(ours, measured))

    found = [incident("a", 10, 4, 6, 14), incident("b", 20, 8, None, 28), incident("c", 30, None, 12, 42)]
    got = figures(found, 10, 40, 90)
    assert (got.count, got.mttr_ns, got.mttr_measured_ns, got.mttf_ns, got.mtbf_ns) == (3, 9, 6, 30, 36)
    none = figures(found, 50, 60, 10)
    assert (none.count, none.mttr_ns, none.mttr_measured_ns, none.mttf_ns, none.mtbf_ns) == (0, None, None, None, None)
