"""Every kind of availability against plain loops, and its bounds against every way the unknown could have been.

`.` is a low interval, `H` a high one, `?` an unknown one, of ten packets each; `5` loses five of ten.
"""

import itertools
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from agent.sla.case import Feed, Moment
from agent.sla.downtime import availability, outage_time, plain_outage, timeline, uptime
from agent.sla.samples import tally
from agent.sla.samples.measured import Pace
from agent.sla.statistic.scope import at_least
from agent.sla.statistic.statistics import Estimate
from agent.sla.terms.contract import Metric, Objective, Scope, Statistic, StatisticType
from agent.sla.terms.objective import Coverage
from agent.sla.time.spans import Spans
from tests.fakes.columns import SECOND, SPAN
from tests.fakes.contracts import objective, series
from tests.fakes.evaluated import T0, evaluated, window
from tests.faults.counts import count

T = StatisticType
MINUTE = 60 * SECOND
KINDS = (
    T.AVAILABILITY_MEF, T.AVAILABILITY_BLOCKS, T.AVAILABILITY_OUTAGE, T.HIGH_LOSS_INTERVALS, T.CONSECUTIVE_HIGH_LOSS,
)  # fmt: skip


def machine(high: list[bool], n: int, *, up: bool = True) -> list[bool]:
    """MEF 10.4 section 8.8.7, letter by letter, True is available."""
    found: list[bool] = []
    for k in range(len(high)):
        ahead = high[k : k + n]
        before = found[-1] if found else up
        if before and len(ahead) == n and all(ahead):
            found.append(False)
        elif not before and len(ahead) == n and not any(ahead):
            found.append(True)
        else:
            found.append(before)
    return found


def plainly(how: Statistic, text: str, out: set[int], first: int, length: int) -> Fraction | None:
    """The value of a window [first, first + length) of a text without `?`."""
    if how.type is T.AVAILABILITY_BLOCKS:
        return _blocks(how, text, out, first, length)
    n, judged = how.n, [k for k in range(first, first + length) if k not in out]
    high = [letter == "H" for letter in text]
    up = machine(high, n)
    if not judged:
        return None
    if how.type is T.AVAILABILITY_MEF:
        return Fraction(sum(up[k] for k in judged), len(judged))
    if how.type is T.AVAILABILITY_OUTAGE:
        counted = _outages(how, up)
        return 1 - Fraction(len(counted & set(judged)), len(judged))
    marks = [up[k] and high[k] and k not in out for k in range(first, first + length)]
    if how.type is T.HIGH_LOSS_INTERVALS:
        return Fraction(sum(marks))
    return Fraction(sum(1 for mark, run in itertools.groupby(marks) if mark and len(list(run)) >= how.p_intervals))


def _outages(how: Statistic, up: list[bool]) -> set[int]:
    """Intervals of outages, joined, long enough, from where they count."""
    runs: list[list[int]] = []
    for k in range(len(up)):
        if up[k]:
            continue
        if (runs and (k - runs[-1][-1] - 1) * SPAN < how.join_ns) or (runs and k == runs[-1][-1] + 1):
            runs[-1].extend(range(runs[-1][-1] + 1, k + 1))
        else:
            runs.append([k])
    found: set[int] = set()
    for run in runs:
        if len(run) * SPAN >= how.minimum_ns:
            skipped = how.minimum_ns // SPAN if how.count_from == "threshold" else 0
            found |= set(run[skipped:])
    return found


def _blocks(how: Statistic, text: str, out: set[int], first: int, length: int) -> Fraction | None:
    per = (how.block_ns or SPAN) // SPAN
    states = []
    for begin in range(first, first + length, per):
        places = range(begin, begin + per)
        if begin + per > first + length or any(k in out for k in places):
            continue
        lost = sum(10 if text[k] == "H" else 0 for k in places)
        states.append(Fraction(lost, 10 * per) <= how.c)
    return Fraction(sum(states), len(states)) if states else None


def drawn(chance: random.Random, kind: StatisticType) -> tuple[Objective, str, str, set[int], int, int]:
    """(promise, the truth, what was seen of it, intervals excluded, first interval of the window, its length)."""
    n = chance.randint(1, 4)
    how = Statistic(kind, n=n, p_intervals=chance.randint(1, 3))
    per = 1
    if kind is T.AVAILABILITY_BLOCKS:
        per = chance.choice((1, 2, 3, 6))
        how = Statistic(kind, block_ns=per * SPAN, c=chance.choice((Fraction(0), Fraction(1, 5), Fraction(1, 2))))
    if kind is T.AVAILABILITY_OUTAGE:
        how = replace(
            how, n=chance.randint(1, 2), minimum_ns=chance.randint(0, 3) * SPAN, join_ns=chance.randint(0, 3) * SPAN,
            count_from=chance.choice(("start", "threshold")),
        )  # fmt: skip
    promise = objective(Metric.AVAILABILITY, "0.9", how, coverage=Coverage(Fraction(9, 10)))
    early, length, late = per * chance.randint(0, 2), per * chance.randint(1, 14 // per), 12
    stay, now = chance.choice((0.5, 0.8)), "."
    truth = ""
    for _ in range(early + length + late):
        now = now if chance.random() < stay else chance.choice(".H")
        truth += now
    holes = chance.choice((0.0, 0.1, 0.4))
    seen = "".join("?" if chance.random() < holes else letter for letter in truth)
    out = {k for k in range(early, early + length) if chance.random() < chance.choice((0.0, 0.0, 0.3))}
    return promise, truth, seen, out, early, length


def found_of(promise: Objective, seen: str, out: set[int], early: int, length: int) -> Estimate:
    data = series(T0 - early * SPAN, seen)
    if not len(data):
        data = series(T0 - (early + 1) * SPAN, ".")
    excluded = Spans.of((T0 + (k - early) * SPAN, T0 + (k - early + 1) * SPAN) for k in out)
    found = evaluated(promise, data, length, excluded=excluded, since_ns=T0 - early * SPAN)
    return found.findings.estimate


def wrong(seed: int, kind: StatisticType) -> str:
    """Empty where all is right."""
    chance = random.Random(seed)
    promise, truth, seen, out, early, length = drawn(chance, kind)
    estimate = found_of(promise, seen, out, early, length)
    expected = plainly(promise.statistic, truth, out, early, length)
    name = f"{seed} {promise.statistic}: {truth} {seen} {sorted(out)} [{early}, +{length})"
    if expected is None:
        return "" if estimate.value is None else f"{name}: {estimate.value} of nothing"
    if "?" not in seen:
        exact = (expected,) * 3
        got = (estimate.value, estimate.best, estimate.worst)
        return "" if got == exact else f"{name}: {got} is not {expected}"
    low, high = (estimate.worst, estimate.best) if promise.comparison == "min" else (estimate.best, estimate.worst)
    if low is None or high is None or not low <= expected <= high:
        return f"{name}: {expected} is not within {low} .. {high}"
    return ""


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", KINDS)
def test_every_availability_is_what_plain_loops_make_of_it(kind: StatisticType) -> None:
    found = [text for seed in range(count("AVAILABILITY", 500, 100_000)) if (text := wrong(seed, kind))]
    assert found == []


@pytest.mark.parametrize("bug", ["strict", "ahead", "inherited", "excluded", "joined", "minimum", "unknown"])
def test_the_harness_catches_a_seeded_bug(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (T.AVAILABILITY_OUTAGE,) if bug in ("joined", "minimum") else KINDS
    if bug == "strict":  # >= C instead of > C
        high = availability.Intervals.high
        monkeypatch.setattr(availability.Intervals, "high", lambda self, c: high(self, c - Fraction(1, 10**6)))
    elif bug == "ahead":  # one interval less than n decides
        states = availability.states
        monkeypatch.setattr(availability, "states", lambda high, n, **how: states(high, max(1, n - 1), **how))
    elif bug == "inherited":  # the month starts up whatever was before
        monkeypatch.setattr(timeline, "WARM_UP_NS", 0)
        assess = timeline.assess
        monkeypatch.setattr(timeline, "assess", lambda *args, **how: assess(*args, **{**how, "initial": True}))
    elif bug == "excluded":  # the ratio forgets what is excluded
        monkeypatch.setattr(Spans, "touches", lambda _self, start, _end: np.zeros(len(start), np.bool_))
    elif bug == "joined":  # outages exactly as far apart as the gap are joined
        outages = plain_outage.outages
        monkeypatch.setattr(
            plain_outage, "outages", lambda down, join, least: outages(down, join + 1 if join else 0, least)
        )
    elif bug == "minimum":  # one as long as the minimum does not count
        outages = plain_outage.outages
        monkeypatch.setattr(
            plain_outage, "outages", lambda down, join, least: outages(down, join, least + 1 if least else 0)
        )
    else:  # unknown time is up
        bounds = availability.bounds
        monkeypatch.setattr(availability, "bounds", lambda high, known, n, **how: bounds(high, known | True, n, **how))
    assert any(wrong(seed, kind) for kind in kinds for seed in range(700))


def test_bounds_of_the_machine_are_reached() -> None:
    """Best and worst are not only sound: some completion of the unknown intervals gives each of them (MEF, blocks)."""
    for seed in range(count("REACHED", 150, 5_000)):
        chance = random.Random(-seed)
        kind = chance.choice((T.AVAILABILITY_MEF, T.AVAILABILITY_BLOCKS))
        promise, _, seen, out, early, length = drawn(chance, kind)
        holes = [k for k, letter in enumerate(seen) if letter == "?"]
        if not 0 < len(holes) <= 8:
            continue
        estimate = found_of(promise, seen, out, early, length)
        values = set()
        for letters in itertools.product(".H", repeat=len(holes)):
            whole = list(seen)
            for place, letter in zip(holes, letters, strict=True):
                whole[place] = letter
            values.add(plainly(promise.statistic, "".join(whole), out, early, length))
        if None in values:
            continue
        assert estimate.best is not None
        if kind is T.AVAILABILITY_MEF:
            assert (estimate.worst, estimate.best) == (min(values), max(values)), (seen, early, length)
        else:
            assert estimate.worst <= min(values) <= max(values) <= estimate.best


def test_two_halves_of_a_window_are_the_whole() -> None:
    """The machine carries its state over the cut, so that the intervals of both halves add up."""
    for seed in range(150):
        chance = random.Random(seed)
        text = "".join(chance.choice("..HHH?") for _ in range(30))
        promise = objective(Metric.AVAILABILITY, "0.9", Statistic(T.AVAILABILITY_MEF, n=chance.randint(1, 4)))
        cut = chance.randint(1, 19)
        data = series(T0, text)
        parts = [
            evaluated(promise, data, cut),
            evaluated(promise, data, 20 - cut, start=cut),
            evaluated(promise, data, 20),
        ]
        for name in ("intervals", "intervals_up", "intervals_down", "intervals_unknown"):
            first, second, whole = (item.evidence[name] for item in parts)
            assert first + second == whole, (seed, name)


def test_a_group_is_what_its_members_are_together() -> None:
    for seed in range(120):
        chance = random.Random(seed)
        n, k = chance.randint(1, 3), chance.randint(1, 3)
        texts = ["".join(chance.choice("..HH") for _ in range(24)) for _ in range(3)]
        feeds = {name: Feed(series(T0, text), Pace(SECOND, False)) for name, text in zip("abc", texts, strict=True)}
        how = Statistic(T.AVAILABILITY_MEF, n=n)
        promise = objective(Metric.AVAILABILITY, "0.9", how, scope=Scope(("a", "b", "c"), "at_least", k))
        states = [machine([letter == "H" for letter in text], n) for text in texts]
        expected = Fraction(sum(sum(state[at] for state in states) >= k for at in range(20)), 20)
        moment = Moment(T0 + 10**15, T0)
        found = at_least(promise, feeds, window(20), Fraction(9, 10), moment)
        assert found.findings.estimate == Estimate(expected, expected, expected)
        turned = at_least(promise, dict(reversed(feeds.items())), window(20), Fraction(9, 10), moment)
        assert (turned.findings, turned.evidence) == (found.findings, found.evidence)


def test_the_modules_seeded_above_are_those_that_judge() -> None:
    assert outage_time.counted is plain_outage.counted
    assert uptime.timeline is timeline.timeline
    assert outage_time.summed is tally.summed
